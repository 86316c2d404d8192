"""Known answers of slices: bowls are their quadratic forms, a displaced minimum is seen."""

from __future__ import annotations

import math

import numpy as np
import torch

from ired.instruments.core import states
from ired.instruments.core.check import Check, compare
from ired.instruments.core.reference_energies import References
from ired.instruments.landscape import slices


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
