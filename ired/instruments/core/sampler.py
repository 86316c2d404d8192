"""Samplers: what an instrument is handed in order to sample from any energy, and one that is known to be exact."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Protocol

from torch import Tensor

from ired.model.protocol import Energy


class Sampler(Protocol):
    """Samples from energies; `ired.model.sampling.AnnealedSampler` is the one that scripts use.

    Called with an energy, problems A (B, n, n) or what was prepared of them, and states `start` (B, d) it gives
    states (B, d), sampled from landscape `first` on (the last one by default) in `inner_steps` of descent (its
    own number by default). The callback sees every step: stage, landscape, inner, y (B, d).
    """

    def __call__(
        self,
        energy: Energy,
        A: Any,
        start: Tensor,
        inner_steps: int | None = None,
        first: int | None = None,
        callback: Callable[[Any], None] | None = None,
        differentiable: bool = False,
    ) -> Tensor: ...

    def answers(self, energy: Energy, A: Any, start: Tensor, **how: Any) -> Tensor:
        """The same, as answers (B, d) at noise zero."""


def denoised(
    energy: Energy,
    A: Any,
    start: Tensor,
    first: int | None = None,
    callback: Callable[[Any], None] = lambda step: None,
    clip: float = float("inf"),
) -> Tensor:
    """One denoising step in every landscape, from states `start` (B, d) of landscape `first` on, to states (B, d).

    Exact on ideal landscapes: what known answers are sampled with. Estimates of the answer are clipped on the way
    to the next landscape, and the last one is not.
    """
    y, first = start, energy.schedule.K - 1 if first is None else first
    for k in reversed(range(first + 1)):
        root = energy.schedule.at("sqrt_alpha_bar", k, y)
        y = y - energy.schedule.at("sigma", k, y) * energy.gradient(A, y, k)
        callback(SimpleNamespace(stage="denoise", landscape=k, inner=0, y=y))
        y = y / root
        if k:
            y = y.clamp(-clip, clip) * energy.schedule.at("sqrt_alpha_bar", k - 1, y)
    return y
