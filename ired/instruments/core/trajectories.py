"""Sampling paths: every state that a sampler passes, kept as one tensor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ired.instruments.core.sampler import Sampler
from ired.model.protocol import Energy

KEPT = ("start", "denoise", "descend")


@dataclass(frozen=True)
class Paths:
    """States of P problems after each of S steps of sampling.

    stage: S names, of `KEPT`; landscape: (S,) k of the step; inner: (S,) number of the descent step
    in its landscape, 0 for the others; y: (S, P, d) states as landscape k knows them, around √ᾱ_k y₀;
    end: (P, d) what the sampler returned.
    """

    stage: tuple[str, ...]
    landscape: NDArray
    inner: NDArray
    y: Tensor
    end: Tensor

    def clean(self, energy: Energy) -> Tensor:
        """The matrices (S, P, n, n) that the states stand for, decode(y / √ᾱ_k).

        In high landscapes a state is little more than noise, and this reads it √ᾱ_k⁻¹-fold (204-fold
        at k = 9 of ten); after a denoising step it is the clean estimate, within the sampler's clip.
        """
        root = energy.schedule.sqrt_alpha_bar.to(self.y)[torch.as_tensor(self.landscape)]
        return energy.coordinates.decode(self.y / root[:, None, None].to(self.y.device))

    def denoised(self) -> Tensor:
        """States (K, P, d) after the denoising step of each landscape."""
        return self._by_landscape([i for i, stage in enumerate(self.stage) if stage == "denoise"])

    def leaving(self) -> Tensor:
        """States (K, P, d) with which the path leaves each landscape, in that landscape's scale."""
        return self._by_landscape([i for i, stage in enumerate(self.stage) if stage != "start"])

    def _by_landscape(self, steps: list[int]) -> Tensor:
        last = {int(self.landscape[i]): i for i in steps}
        return self.y[[last[k] for k in range(len(last))]]


def record(sample: Sampler | Callable[..., Tensor], energy: Energy, A: Any, start: Tensor) -> Paths:
    """Everything that a sampler, or a sampler's `answers`, passes from `start` (P, d) on to problems A (P, n, n)."""
    steps: list[Any] = []
    end = sample(energy, A, start, callback=lambda step: steps.append(step) if step.stage in KEPT else None)
    if not steps:
        raise ValueError("the sampler has shown no step")
    return Paths(
        stage=tuple(step.stage for step in steps),
        landscape=np.array([step.landscape for step in steps]),
        inner=np.array([step.inner for step in steps]),
        y=torch.stack([step.y.detach() for step in steps]),
        end=end.detach(),
    )


def pack_paths(paths: Paths) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors (states and ends in float32) and what names their steps, for a file."""
    tensors = {"states": paths.y.float(), "end": paths.end.float()}
    note = {"stage": list(paths.stage), "landscape": paths.landscape.tolist(), "inner": paths.inner.tolist()}
    return tensors, note


def unpack_paths(tensors: dict[str, Tensor], note: dict[str, Any]) -> Paths:
    """What `pack_paths` wrote, in float64."""
    return Paths(
        stage=tuple(note["stage"]),
        landscape=np.array(note["landscape"]),
        inner=np.array(note["inner"]),
        y=tensors["states"].double(),
        end=tensors["end"].double(),
    )
