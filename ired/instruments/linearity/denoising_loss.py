"""Denoising loss by landscape, of several energies on the same noised answers (denoising score matching, Vincent 2011).

The mean square of ∇_y E − ε at √ᾱ y₀ + σ ε over the basis coordinates of a state: what training minimises. 0 is the
ideal energy's, which knows the answer; 1 that of no gradient at all. An affine energy can do no better than the best
affine denoiser, mean ᾱc_i/(ᾱc_i + σ²) with c_i the error variances of least squares: give it among the energies (a
prediction of the answer by least squares on other problems, seen as an energy), and differences to it are paired. A
learned energy that does not lie below it has learned nothing beyond it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pandas import DataFrame
from torch import Tensor

from ired.instruments.core import states
from ired.instruments.statistics.intervals import Interval, fieller, student_intervals
from ired.model.protocol import Energy

AT_ONCE = 512  # problems


@dataclass(frozen=True)
class DenoisingLosses:
    """landscapes: (L,); losses: by energy (L, P), of each problem, averaged over its states."""

    landscapes: NDArray
    losses: Mapping[str, NDArray]

    def loss(self, name: str, level: float = 0.95) -> Interval:
        """Of an energy, arrays (L,): Student's t over problems, of which there are hundreds."""
        return student_intervals(self.losses[name], level)

    def difference(self, name: str, control: str, level: float = 0.95) -> Interval:
        """How much more an energy loses than a control on the same states, arrays (L,), over problems."""
        return student_intervals(self.losses[name] - self.losses[control], level)

    def ratios(self, name: str, control: str, level: float = 0.95) -> DataFrame:
        """An energy's loss over a control's, a row (value, low, high) a landscape: Fieller's interval over problems."""
        ends = fieller(self.losses[name], self.losses[control], level)
        return DataFrame(dict(zip(("value", "low", "high"), (1 + end for end in ends), strict=True)))

    def table(self, control: str, level: float = 0.95) -> DataFrame:
        """Rows of energy, landscape, loss and difference (to `control`, whose own is 0), each with _low and _high, at
        a level that is corrected for the number of landscapes (Bonferroni)."""
        level = 1 - (1 - level) / len(self.landscapes)
        rows = []
        for name in self.losses:
            columns = self.loss(name, level).columns("loss")
            columns |= self.difference(name, control, level).columns("difference")
            rows += [
                {"energy": name, "landscape": int(k)} | {c: float(values[i]) for c, values in columns.items()}
                for i, k in enumerate(self.landscapes)
            ]
        return DataFrame(rows)


@torch.no_grad()
def denoising_losses(
    energies: Mapping[str, Energy],
    A: Tensor,
    landscapes: Sequence[int],
    generator: torch.Generator,
    count: int = 2,
) -> DenoisingLosses:
    """Of `count` noised answers of each problem A (P, n, n), the same for all energies.

    Raises ValueError where energies have different coordinates or landscapes: their states are not the same then.
    """
    first = next(iter(energies.values()))
    for name, energy in energies.items():
        alike = energy.schedule.K == first.schedule.K and torch.equal(
            energy.schedule.alpha_bar, first.schedule.alpha_bar
        )
        if energy.coordinates != first.coordinates or not alike:
            raise ValueError(f"'{name}' has other coordinates or landscapes: losses on its states cannot be compared")
    y0, losses = states.answers(first, A), {name: np.empty((len(landscapes), len(A))) for name in energies}
    parts = torch.arange(len(A), device=A.device).split(AT_ONCE)
    for i, k in enumerate(landscapes):
        y, epsilon = states.noised(first, y0, k, count, generator)
        for name, energy in energies.items():
            for part in parts:
                missed = energy.gradient(energy.prepare(A[part]), y[part], k) - epsilon[part]
                squares = first.coordinates.to_basis(missed).pow(2).mean((1, 2))
                losses[name][i, states.array(part)] = states.array(squares)
    return DenoisingLosses(np.array(landscapes), losses)
