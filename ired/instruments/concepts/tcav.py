"""Testing with CAVs (TCAV; Kim et al., ICML 2018): how the energy changes along a concept activation vector, beside
random ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ired.instruments.core import states
from ired.instruments.core.states import array
from ired.instruments.statistics.intervals import Interval, proportion_interval
from ired.model.protocol import Energy

Cell = tuple[str, int]  # layer and landscape


@dataclass(frozen=True)
class Slopes:
    """∂E/∂h of a layer's activations at F fresh problems, each (F, width).

    energy: of E at a noised answer; gap: of E there less E at the answer, each at its activations.
    """

    energy: NDArray
    gap: NDArray


def slopes(
    energy: Energy, A: Tensor, y0: Tensor, k: int, layers: Sequence[str], generator: torch.Generator
) -> dict[str, Slopes]:
    """Of problems A (F, n, n) with answers y0 (F, d), at one noised answer of each in landscape k."""
    y = states.noised(energy, y0, k, count=1, generator=generator)[0][:, 0]
    by_layer, prepared = {}, energy.prepare(A)
    at = [energy.activations(prepared, state, k) for state in (y, states.centre(energy, y0, k))]
    for layer in layers:
        there, home = (_slope(energy, layer, h[layer], prepared=prepared, k=k) for h in at)
        by_layer[layer] = Slopes(energy=array(there), gap=array(there - home))
    return by_layer


def all_slopes(
    energy: Energy,
    A: Tensor,
    y0: Tensor,
    landscapes: Sequence[int],
    layers: Sequence[str],
    generator: torch.Generator,
) -> dict[Cell, Slopes]:
    """`slopes` of all layers in all landscapes."""
    by_cell = {}
    for k in landscapes:
        here = slopes(energy, A, y0, k, layers=layers, generator=generator)
        by_cell |= {(layer, k): here[layer] for layer in layers}
    return by_cell


def _slope(energy: Energy, layer: str, h: Tensor, prepared: object, k: int) -> Tensor:
    with torch.enable_grad():
        h = h.detach().requires_grad_()
        return torch.autograd.grad(energy.resume(layer, h, prepared, k).sum(), h)[0]


@dataclass(frozen=True)
class Tcav:
    """Testing with CAVs, for one CAV and R random ones at F problems.

    score (1 + R,): share of the problems at which the derivative along the CAV is positive (0 counts half); mean
    (1 + R,): mean derivative along it, which is of length 1. The first is the concept's.
    """

    score: NDArray
    mean: NDArray
    problems: int

    def interval(self, level: float = 0.95) -> Interval:
        """Of the score, exact over problems."""
        return proportion_interval(round(self.score[0] * self.problems), self.problems, level)

    def p(self, what: str) -> float:
        """Two-sided, by the rank among the random CAVs, of "score" or "mean"."""
        values = getattr(self, what)
        # What differs by rounding is the same.
        slack = 1e-9 * np.abs(values).max()
        above = (values >= values[0] - slack).sum()
        below = (values <= values[0] + slack).sum()
        return float(min(1.0, 2 * min(above, below) / len(values)))


def tcav(cav: NDArray, random: NDArray, slopes: NDArray) -> Tcav:
    """Derivatives along a CAV (width,) and random ones (R, width), given slopes (F, width).

    The random ones come from the same pairs with labels swapped, so under the null (labels that mean nothing) the
    concept's rank among them is uniform, whatever distribution scores have. That matters here: where all slopes nearly
    agree, every direction scores 0 or 1, and a t-test on the scores, as in Kim et al., would not hold. R bounds what
    can be found: no p is below 2/(R + 1).
    """
    every = np.concatenate([cav[None], random]).astype(slopes.dtype)
    along = every @ slopes.T
    score = ((along > 0).mean(1) + (along >= 0).mean(1)) / 2
    return Tcav(score.astype(np.float64), along.mean(1, dtype=np.float64), len(slopes))
