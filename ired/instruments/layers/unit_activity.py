"""Dead and dormant units (Sokar et al. 2023, arXiv 2302.12902): who does nothing, passes straight through, or bends.

swish'(u) lies between −0.0998 and 1.0998 and goes to 0 for u → −∞ and to 1 for u → ∞: within NEAR =
0.1 of one of these a unit is off or linear, in the tail where gradients die, or where nothing is
bent. Off and dead units have been counted for ReLU (Lu et al. 2019, arXiv 1903.06733).
A unit that never leaves a small neighbourhood bends nothing either, wherever it sits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ired.instruments.core import states
from ired.instruments.layers.forward_backward import LAYERS, Network, passage
from ired.instruments.statistics import intervals
from ired.instruments.statistics.intervals import Interval

SORTS = ("dead", "off", "linear", "straight", "bent")
DEAD, NEAR, ALWAYS, STRAIGHT = 0.01, 0.1, 0.99, 0.99


@dataclass(frozen=True)
class Census:
    """Units of the three layers in L landscapes, over all states; arrays (L, 3 layers, width).

    spread: standard deviation of the output over its layer's root mean square of these; off,
    linear: share of states with |swish'| ≤ NEAR, |swish' − 1| ≤ NEAR; straightness: squared
    correlation of pre-activation and output (1 where neither varies).
    """

    landscapes: NDArray
    spread: NDArray
    off: NDArray
    linear: NDArray
    straightness: NDArray

    def sorts(self) -> NDArray:
        """Index into SORTS, the first that holds (L, 3, width).

        dead: spread below DEAD; off, linear: in at least ALWAYS of the states; straight: otherwise an
        affine function of its pre-activation up to 1 − STRAIGHT of the variance; bent: the rest.
        """
        holds = [
            self.spread < DEAD,
            self.off >= ALWAYS,
            self.linear >= ALWAYS,
            self.straightness > STRAIGHT,
        ]
        return np.select(holds, range(4), 4)

    def dead(self, level: float = 0.95) -> dict[str, Interval]:
        """Share of a layer's units that are dead in every landscape: its upper end is an exact limit,
        one-sided at `level` (an Interval of level 2·level − 1)."""
        nowhere = (self.spread < DEAD).all(0)
        return {
            layer: intervals.proportion_interval(int(row.sum()), len(row), 2 * level - 1)
            for layer, row in zip(LAYERS, nowhere, strict=True)
        }

    def columns(self) -> dict[str, NDArray]:
        """Share of units of every sort, one row per landscape, layer and sort."""
        share = np.stack([(self.sorts() == i).mean(-1) for i in range(len(SORTS))], -1)
        return states.tidy_columns({"landscape": self.landscapes, "layer": LAYERS, "sort": SORTS}, share=share)


@torch.no_grad()
def census(network: Network, A: Tensor, z: Tensor) -> Census:
    """Over problems A (P, n, n) and their states z (K, P, M, size), in every landscape."""
    collected: dict[str, list[Tensor]] = {n: [] for n in ("spread", "off", "linear", "straightness")}
    for k in range(len(z)):
        p = passage(network, A, z[k], k)
        u, h, bend = (torch.stack([x.flatten(0, 1) for x in layers]) for layers in (p.u, p.h, p.bend))
        deviation = h.std(1, correction=0)
        # What rounding leaves of a constant is no spread.
        level = 1e-12 * h.abs().amax(1)
        deviation = torch.where(deviation > level, deviation, 0)
        size = deviation.pow(2).mean(-1, keepdim=True).sqrt()
        collected["spread"].append(deviation / size.clamp_min(torch.finfo(h.dtype).tiny))
        collected["off"].append((bend.abs() <= NEAR).double().mean(1))
        collected["linear"].append(((bend - 1).abs() <= NEAR).double().mean(1))
        collected["straightness"].append(_squared_correlation(u, h))
    parts = {name: states.array(torch.stack(values)) for name, values in collected.items()}
    return Census(np.arange(len(z)), **parts)


def _squared_correlation(u: Tensor, h: Tensor) -> Tensor:
    """Over states, (layers, width) of (layers, N, width)."""
    a, b = (x - x.mean(1, keepdim=True) for x in (u, h))
    product, size = (a * b).sum(1).pow(2), a.pow(2).sum(1) * b.pow(2).sum(1)
    return torch.where(size > 0, product / size.clamp_min(torch.finfo(u.dtype).tiny), 1.0)
