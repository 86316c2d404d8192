"""Known answers of slices and of equivariance: bowls are their quadratic forms, reference energies have no axes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ired.instruments.core import states
from ired.instruments.core.check import Check, compare
from ired.instruments.core.reference_energies import References
from ired.instruments.core.sampler import denoised
from ired.instruments.landscape import equivariance, slices
from ired.instruments.landscape.equivariance import TURNS
from ired.model.protocol import Energy

WEIGHT = 3.0
DRAWS = 4000  # turns whose moments are taken


def check_slices(references: References, generator: torch.Generator) -> list[Check]:
    """Slices of bowls are their quadratic forms; a displaced bowl's minimum is seen."""
    name, A, ideal, algebraic = "slices", references.A, references.ideal, references.algebraic
    y0 = states.answers(ideal, A)
    k = references.landscapes[1 % len(references.landscapes)]
    s = states.sigma(ideal, k)
    chosen = slices.random_directions(ideal, y0, generator)
    offsets = states.unit_directions(ideal, len(A), generator=generator, like=y0)
    mark = states.centre(ideal, y0, k) + 2 * s * offsets
    measured = slices.energy_slices(ideal, A, y0, k, chosen, 2.0, 9, marks={"state": mark})
    grid = np.linspace(-2, 2, 9)
    U, V = np.meshgrid(grid, grid)
    shape = slices.shape_of(measured)
    across = np.hypot(measured.marks["state"].u, measured.marks["state"].v)
    checks = [
        compare(name, "grid in units of σ", [grid, grid], [measured.u, measured.v], 1e-12),
        compare(name, "ideal slice is (u² + v²)/2", (U**2 + V**2) / 2, measured.gap, 1e-8),
        compare(name, "gap of a mark at distance 2σ", 2.0, measured.marks["state"].gap, 1e-8),
        compare(
            name,
            "in-plane and out-of-plane distance of that mark",
            2.0,
            np.hypot(across, measured.marks["state"].out),
            1e-8,
        ),
        compare(name, "curvatures of the ideal slice", 1.0, shape.curvature, 1e-8),
        compare(name, "anisotropy of the ideal slice", 0.0, shape.anisotropy, 1e-8),
        compare(name, "share of the ideal slice below the answer", 0.0, shape.below, 0.0),
        compare(name, "correlation of the ideal slice with itself", 1.0, shape.ideal_correlation, 1e-9),
        compare(name, "ideal minima on the border", 0.0, shape.minimum_on_border, 0.0),
    ]

    measured = slices.energy_slices(algebraic, A, y0, k, chosen, 2.0, 9)
    M = s * states.array(chosen.axes @ algebraic.hessian(A, y0, k) @ chosen.axes.mT)
    UV = np.stack([U, V], -1)
    form = np.einsum("rci,pij,rcj->prc", UV, M, UV) / 2
    shape = slices.shape_of(measured)
    low, high = np.linalg.eigvalsh(M).T
    scale = high.max()
    checks += [
        compare(name, "algebraic slice is its quadratic form", 0, (measured.gap - form) / scale, 1e-8),
        compare(name, "fit of a quadratic to it", 1.0, shape.fit, 1e-9),
        compare(name, "its slope at the answer", 0.0, shape.slope / scale, 1e-8),
        compare(name, "its anisotropy", (high - low) / (high + low), shape.anisotropy, 1e-7),
    ]

    step = torch.tensor([1.0, -0.5]).to(y0)
    root = states.centre(ideal, torch.ones(1).to(y0), k)
    displaced = y0 + s * (step[:, None] * chosen.axes).sum(1) / root
    shape = slices.shape_of(slices.energy_slices(ideal, A, displaced, k, chosen, 2.0, 17))
    grid = np.linspace(-2, 2, 17)
    U, V = np.meshgrid(grid, grid)
    below = ((U + 1) ** 2 + (V - 0.5) ** 2 < 1.25 - 1e-9).mean()
    checks += [
        compare(name, "minimum of a displaced bowl", [-1.0, 0.5], shape.minimum, 1e-9),
        compare(name, "its distance", math.hypot(1, 0.5), shape.minimum_distance, 1e-9),
        compare(name, "its gap", -0.625, shape.minimum_gap, 1e-8),
        compare(name, "share of its slice below the stated answer", below, shape.below, 1e-12),
    ]
    return checks


class Tilted:
    """An energy with a preferred axis: weight·(y's first entry) is added in all landscapes."""

    def __init__(self, base: Energy, weight: float):
        self.coordinates, self.schedule = base.coordinates, base.schedule
        self.base, self.weight = base, weight

    def prepare(self, A: Any) -> Any:
        return self.base.prepare(A)

    def energy(self, A: Any, y: Tensor, k: int) -> Tensor:
        return self.base.energy(A, y, k) + self.weight * y[..., 0]

    def gradient(self, A: Any, y: Tensor, k: int) -> Tensor:
        g = self.base.gradient(A, y, k).clone()
        g[..., 0] += self.weight
        return g


def check_equivariance(references: References, generator: torch.Generator) -> list[Check]:
    """Turns are what they are said to be; energies without axes err by 0, a planted axis by hand."""
    name, A = "equivariance", references.A
    y0, checks = states.answers(references.ideal, A), _turns(A.shape[-1], generator)
    for who, energy in (("ideal", references.ideal), ("algebraic", references.algebraic)):
        walk = denoised if who == "ideal" else None  # one step answers exactly there alone
        cases = equivariance.measure_equivariance(energy, A, y0, generator, states=64, sampler=walk).alike
        errors = [alike.error for alike in cases.values()]
        checks.append(compare(name, f"errors of the {who} energy", 0, errors, 1e-9))
        if who == "ideal":  # its scores are noise, and that of two problems has nothing in common
            levels = [cases[turns, "score"].reference for turns in TURNS]
            entries = len(A) * 64 * energy.coordinates.size
            checks.append(compare(name, "level of unrelated scores", 2**0.5, levels, 4 * entries**-0.5))
    tilted = Tilted(references.ideal, WEIGHT)
    y, _ = states.noised(tilted, y0, 0, 8, generator)
    for turns, draw in TURNS.items():
        Q = draw(len(A), A.shape[-1], generator).to(A)
        # The turned score has the axis q qᵀ with q = Qe₁ where the score of what is turned has e₁e₁ᵀ.
        by_hand = 8 * WEIGHT**2 * (2 - 2 * Q[:, 0, 0] ** 2)
        turned = equivariance.score_equivariance(tilted, A, y, 0, Q)
        text = f"of a planted axis, {turns}"
        checks.append(compare(name, f"error of the score {text}", by_hand, turned.missed, 1e-8))
        row = torch.einsum("pa,pmab,pb->pm", Q[:, 0], y.unflatten(-1, Q.shape[1:]), Q[:, 0])
        moved = WEIGHT * (row - y[..., 0])
        by_hand = (moved - moved.mean(1, keepdim=True)).pow(2).sum(1)
        turned = equivariance.gap_equivariance(tilted, A, y, 0, Q)
        checks.append(compare(name, f"error of gaps {text}", by_hand, turned.missed, 1e-8))
    return checks


def _turns(n: int, generator: torch.Generator) -> list[Check]:
    """Moments of the first entry: mean 0, mean square 1/n; of Haar's trace: mean square 1."""
    name, checks = "equivariance", []
    eye = np.eye(n)
    for turns, draw in TURNS.items():
        Q = states.array(draw(DRAWS, n, generator))
        first = Q[:, 0, 0]
        spread = (first**2).std() / DRAWS**0.5
        checks += [
            compare(name, f"QQᵀ of {turns}", eye, Q @ Q.swapaxes(1, 2), 1e-12),
            Check(
                name, f"mean entry of {turns}", expected=0.0, measured=first.mean(), tolerance=4 / (n * DRAWS) ** 0.5
            ),
            Check(
                name, f"mean squared entry of {turns}", expected=1 / n, measured=(first**2).mean(), tolerance=4 * spread
            ),
            # Traces of either group have mean square 1; fourth moments are at most 4.
            Check(
                name,
                f"mean squared trace of {turns}",
                expected=1.0,
                measured=(np.trace(Q, axis1=1, axis2=2) ** 2).mean(),
                tolerance=8 / DRAWS**0.5,
            ),
        ]
    return checks
