"""What an instrument is handed in order to sample from any energy: annealed inference with its settings fixed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor

from ired.model.protocol import Energy


class Sampler(Protocol):
    """Samples from energies; `ired.model.sampling.Sampler` is the one that scripts use.

    Called with an energy, problems A (B, n, n) or what was prepared of them, and states `start` (B, d) it gives
    states (B, d), sampled from landscape `first` on (the last one by default) in `inner_steps` of descent (its
    own number by default). The callback sees every step: stage, landscape, inner, y (B, d).
    """

    def __call__(
        self, energy: Energy, A: Any, start: Tensor, inner_steps: int | None = None, first: int | None = None,
        callback: Callable[[Any], None] | None = None, differentiable: bool = False,
    ) -> Tensor: ...  # fmt: skip

    def answers(self, energy: Energy, A: Any, start: Tensor, **how: Any) -> Tensor:
        """The same, as answers (B, d) at noise zero."""
