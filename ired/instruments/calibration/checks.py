"""Known answers: every instrument on energies whose landscapes are known in closed form.

The energies come from the caller (`References`), so that what is calibrated is what will be used:
its coordinates, its landscapes, its machine. A check that fails means that the instrument must not
be believed, whatever it says about a trained model.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from ired.instruments.accuracy import predictors
from ired.instruments.core import states
from ired.instruments.landscape import gradient_field, hessian, minima, slices
from ired.instruments.statistics import intervals
from ired.model.protocol import Energy


@dataclass(frozen=True)
class Check:
    """One known answer: passed when |measured − expected| ≤ tolerance."""

    instrument: str
    what: str
    expected: float
    measured: float
    tolerance: float

    @property
    def passed(self) -> bool:
        return abs(self.measured - self.expected) <= self.tolerance

    @property
    def share(self) -> float:
        """The part of the tolerance that the error takes up, at most 1e9."""
        return min(abs(self.measured - self.expected) / max(self.tolerance, 1e-300), 1e9)

    def __str__(self) -> str:
        return (
            f"{self.instrument}: {self.what}: expected {self.expected:.6g}, "
            f"measured {self.measured:.6g} (tolerance {self.tolerance:g})"
        )


class Miscalibrated(Exception):
    """Instruments missed known answers: which, with the two numbers."""

    exit_status = 1


@dataclass(frozen=True)
class References:
    """Energies with known landscapes, in float64.

    ideal: E = ‖y − √ᾱ_k y₀‖²/(2σ_k); algebraic: Hessian scale²·A² ⊗ I and minimum √ᾱ_k y₀;
    well: Σ(y_i² − 1)² over few (at most 5) basis coordinates; quadratic(H, centre): the planted
    quadratic on the same coordinates as ideal; A: (P, n, n) problems, 2 ≤ P.
    """

    ideal: Energy
    algebraic: Energy
    well: Energy
    quadratic: Callable[[Tensor, Tensor], Energy]
    A: Tensor

    @property
    def landscapes(self) -> tuple[int, ...]:
        """The sharpest, a middle and the blurriest landscape."""
        last = self.ideal.schedule.K - 1
        return tuple(sorted({0, last // 2, last}))

    def planted(self, diagonal: Tensor) -> Energy:
        """The quadratic with these curvatures (size,) along basis coordinates, around 0."""
        basis = states.state_basis(self.ideal, self.A)
        H = basis.mT @ (diagonal.to(basis)[:, None] * basis)
        return self.quadratic(H, H.new_zeros(len(H)))


def compare(
    instrument: str, what: str, expected: ArrayLike, measured: ArrayLike, tolerance: float
) -> Check:
    """The check of arrays at the place where they differ most (NaN differs more than anything)."""
    expected, measured = np.broadcast_arrays(
        np.asarray(expected, dtype=np.float64), np.asarray(measured, dtype=np.float64)
    )
    away = np.abs(measured - expected).ravel()
    worst = int(np.where(np.isnan(away), np.inf, away).argmax())
    return Check(
        instrument, what, float(expected.ravel()[worst]), float(measured.ravel()[worst]), tolerance
    )


def relative(
    instrument: str, what: str, expected: ArrayLike, measured: ArrayLike, tolerance: float
) -> Check:
    """The same with measured/expected against 1, for numbers of many sizes."""
    return compare(instrument, what, 1.0, np.asarray(measured) / np.asarray(expected), tolerance)


def to_scale(
    instrument: str, what: str, expected: ArrayLike, measured: ArrayLike, tolerance: float
) -> Check:
    """The same with both over the largest number expected: of many numbers of either sign some are
    next to nothing by chance, and their relative errors are of no size."""
    size = np.abs(expected).max()
    return compare(
        instrument, what, np.asarray(expected) / size, np.asarray(measured) / size, tolerance
    )


def calibrate(references: References, generator: torch.Generator) -> list[Check]:
    """All checks of all instruments of the first phase."""
    checks = (
        check_statistics, check_slices, check_field, check_hessian, check_minima, check_predictors
    )  # fmt: skip
    return [found for check in checks for found in check(references, generator)]


def check_statistics(references: References, generator: torch.Generator) -> list[Check]:
    """Intervals cover what they promise on simulated data; the problem is the unit."""
    rng = np.random.default_rng(int(torch.randint(2**31, (), generator=generator)))
    rounds = 1000
    hits = 0
    for _ in range(rounds):
        found = intervals.mean_interval(rng.normal(1, 3, 5))
        hits += found.low <= 1 <= found.high
    # Four binomial standard errors of 0.95 over 1000 rounds are 0.028.
    checks = [Check("statistics", "Student t coverage at 5 units", 0.95, hits / rounds, 0.03)]
    rounds, hits = 300, 0
    for _ in range(rounds):
        found = intervals.bootstrap_interval(rng.normal(1, 3, 40), resamples=499)
        hits += found.low <= 1 <= found.high
    checks.append(Check("statistics", "BCa coverage at 40 units", 0.94, hits / rounds, 0.055))
    groups = np.repeat(np.arange(40), 25)
    values = rng.normal(size=40)[groups]
    spread = [
        found.high - found.low
        for found in (
            intervals.bootstrap_interval(values, groups=groups),
            intervals.bootstrap_interval(values),
        )
    ]
    checks.append(
        Check(
            "statistics", "clustered over naive width for 25 equal points per problem",
            5.0, spread[0] / spread[1], 1.0,
        )
    )  # fmt: skip
    p = intervals.adjust([0.01, 0.04, 0.03, 0.5])
    checks.append(
        compare("statistics", "Benjamini-Hochberg", [0.04, 0.16 / 3, 0.16 / 3, 0.5], p, 1e-12)
    )
    same = intervals.mean_interval(np.full(30, 0.7))
    checks.append(Check("statistics", "width for constant data", 0, same.high - same.low, 0))
    return checks


def check_slices(references: References, generator: torch.Generator) -> list[Check]:
    """Slices of bowls are their quadratic forms; a displaced bowl's minimum is found."""
    name, A, ideal, algebraic = "slices", references.A, references.ideal, references.algebraic
    y0 = states.answers(ideal, A)
    k = references.landscapes[1 % len(references.landscapes)]
    s = states.sigma(ideal, k)
    chosen = slices.random_directions(ideal, y0, generator)
    away = states.directions(ideal, len(A), generator=generator, like=y0)
    mark = states.centre(ideal, y0, k) + 2 * s * away
    found = slices.measure(ideal, A, y0, k, chosen, 2.0, 9, marks={"state": mark})
    grid = np.linspace(-2, 2, 9)
    U, V = np.meshgrid(grid, grid)
    shape = slices.shape_of(found)
    across = np.hypot(found.marks["state"].u, found.marks["state"].v)
    checks = [
        compare(name, "grid in units of σ", [grid, grid], [found.u, found.v], 1e-12),
        compare(name, "ideal slice is (u² + v²)/2", (U**2 + V**2) / 2, found.gap, 1e-8),
        compare(name, "gap of a mark at distance 2σ", 2.0, found.marks["state"].gap, 1e-8),
        compare(
            name, "in-plane and out-of-plane distance of that mark",
            2.0, np.hypot(across, found.marks["state"].out), 1e-8,
        ),
        compare(name, "curvatures of the ideal slice", 1.0, shape.curvature, 1e-8),
        compare(name, "anisotropy of the ideal slice", 0.0, shape.anisotropy, 1e-8),
        compare(name, "share of the ideal slice below the answer", 0.0, shape.below, 0.0),
        compare(name, "correlation of the ideal slice with itself", 1.0,
                shape.ideal_correlation, 1e-9),
        compare(name, "ideal minima on the border", 0.0, shape.minimum_on_border, 0.0),
    ]  # fmt: skip

    found = slices.measure(algebraic, A, y0, k, chosen, 2.0, 9)
    M = s * states.array(chosen.axes @ algebraic.hessian(A, y0, k) @ chosen.axes.mT)
    UV = np.stack([U, V], -1)
    form = np.einsum("rci,pij,rcj->prc", UV, M, UV) / 2
    shape = slices.shape_of(found)
    low, high = np.linalg.eigvalsh(M).T
    scale = high.max()
    checks += [
        compare(name, "algebraic slice is its quadratic form", 0, (found.gap - form) / scale, 1e-8),
        compare(name, "fit of a quadratic to it", 1.0, shape.fit, 1e-9),
        compare(name, "its slope at the answer", 0.0, shape.slope / scale, 1e-8),
        compare(name, "its anisotropy", (high - low) / (high + low), shape.anisotropy, 1e-7),
    ]

    step = torch.tensor([1.0, -0.5]).to(y0)
    root = states.centre(ideal, torch.ones(1).to(y0), k)
    other = y0 + s * (step[:, None] * chosen.axes).sum(1) / root
    shape = slices.shape_of(slices.measure(ideal, A, other, k, chosen, 2.0, 17))
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


def check_field(references: References, generator: torch.Generator) -> list[Check]:
    """Ideal gradients point home; twisted and stretched ones are caught with their size."""
    name, A, ideal, algebraic = "field", references.A, references.ideal, references.algebraic
    c, landscapes = ideal.coordinates, references.landscapes
    y0 = states.answers(ideal, A)
    found = gradient_field.gradient_field(ideal, A, y0, landscapes, (0.1, 1.0, 10.0), 4, generator)
    odd = 0 if c.symmetric else c.n * (c.n - 1) // 2
    checks = [
        compare(name, "cosine of the ideal gradient with the way home", 1, found.cosine, 1e-9),
        compare(name, "its radial size", 1, found.radial, 1e-8),
        compare(name, "its tangential size", 0, found.tangential, 1e-6),
    ]
    found = gradient_field.gradient_field(ideal, A, y0, landscapes[:1], (1.0,), 1000, generator)
    checks.append(
        Check(name, "its antisymmetric share", odd / c.size, found.antisymmetric.mean(), 0.03)
    )

    found = gradient_field.score_error(ideal, A, y0, landscapes, 200, generator)
    bar = np.array([ideal.schedule.alpha_bar[k].item() for k in landscapes])[:, None]
    power = states.array(y0.pow(2).sum(-1)) / c.size
    blind = bar / (1 - bar) * power
    pooled = blind.mean(-1)
    checks += [
        compare(name, "score error of the ideal landscape", 0,
                [found.error, found.symmetric, found.antisymmetric], 1e-12),
        relative(name, "error of y_k/σ_k", blind, found.blind, 1e-8),
        relative(name, "error of the best multiple of y_k", pooled / (1 + pooled),
                 found.shrunk.mean(-1), 0.15),
    ]  # fmt: skip
    found = gradient_field.score_error(_Stretched(ideal, 2.0), A, y0, landscapes, 500, generator)
    checks += [
        compare(name, "score error of twice the gradient", 1, found.error.mean(-1), 0.12),
        compare(name, "its symmetric part", 1, found.symmetric.mean(-1), 0.12),
        compare(name, "its antisymmetric part", 1.0 if odd else 0.0,
                found.antisymmetric.mean(-1), 0.15),
    ]  # fmt: skip

    for energy, label in ((ideal, "ideal"), (algebraic, "algebraic")):
        found = gradient_field.conservation(energy, A, y0, landscapes, generator)
        checks += [
            compare(name, f"{label} {part}", 0, getattr(found, part), 1e-6)
            for part in ("asymmetry", "loop", "path", "hessian")
        ]
    strength, turned = 0.5, 2 * (c.size // 2)
    twisted = _Twisted(ideal, strength)
    found = gradient_field.conservation(twisted, A, y0, landscapes, generator, pairs=100)
    size = math.sqrt(c.size + strength**2 * turned)
    checks += [
        relative(name, "asymmetry of a twisted gradient", 2 * strength * math.sqrt(turned) / size,
                 found.asymmetry.mean(), 0.15),
        relative(name, "its distance from the Hessian", strength * math.sqrt(turned) / size,
                 found.hessian, 0.1),
        Check(name, "share of loops that see the twist", 1, (found.loop > 1e-5).mean(), 0),
    ]  # fmt: skip
    found = gradient_field.conservation(_Stretched(ideal, 2.0), A, y0, landscapes, generator)
    checks += [
        Check(name, "share of paths that see a stretched gradient", 1,
              (found.path > 1e-5).mean(), 0),
        compare(name, "its Hessian against its Jacobian", 0.5, found.hessian, 1e-6),
    ]  # fmt: skip

    found = gradient_field.divergence(ideal, A, states.at_answers(ideal, y0, landscapes), landscapes)
    checks += [
        compare(name, "ideal divergence", 1, found.total, 1e-9),
        compare(name, "ideal symmetric divergence", 1, found.symmetric, 1e-9),
        compare(name, "ideal antisymmetric divergence", 1.0 if odd else 0.0,
                found.antisymmetric, 1e-9),
    ]  # fmt: skip
    found = gradient_field.descents(
        ideal, A, y0, landscapes, (0.5, 5.0), 2, generator, steps=200, tolerance=1e-8
    )
    checks += [
        compare(name, "share of ideal descents that converge", 1, found.converged, 0),
        compare(name, "distance of their ends from the answer", 0, found.distance, 1e-6),
        compare(name, "gap of their ends", 0, found.gap, 1e-6),
        compare(name, "gradient at their ends", 0, found.gradient, 1e-8),
    ]
    return checks


def check_hessian(references: References, generator: torch.Generator) -> list[Check]:
    """Spectra of I, of A² ⊗ I, and of planted Hessians."""
    name, A, ideal, algebraic = "hessian", references.A, references.ideal, references.algebraic
    c, landscapes = ideal.coordinates, references.landscapes
    m = c.size
    y = states.at_answers(ideal, states.answers(ideal, A), landscapes)
    found = hessian.spectra(ideal, A, y, landscapes)
    exact = {
        "eigenvalues": 1, "gauss_newton": 1, "residual": 0, "symmetric": 1, "coupling": 0,
        "participation": m, "entropy_rank": m, "condition": 1, "ideal_scale": 1,
        "ideal_distance": 0, "ideal_distance_raw": 0, "algebraic_cosine_centred": 0,
        "algebraic_spearman": 0,
    }  # fmt: skip
    checks = [
        compare(name, f"ideal {part.replace('_', ' ')}", value, getattr(found, part), 1e-7)
        for part, value in exact.items()
    ]
    odd = 0 if c.symmetric else c.n * (c.n - 1) // 2
    checks += [
        compare(name, "ideal inertia", [0, 0, m], found.inertia, 0),
        compare(name, "ideal antisymmetric trace", odd, found.antisymmetric.sum(-1), 1e-7),
    ]

    found = hessian.spectra(algebraic, A, y, landscapes)
    squares = torch.linalg.svdvals(A).flip(-1) ** 2
    if c.symmetric:
        rows, cols = torch.triu_indices(c.n, c.n, device=A.device)
        squares = (squares[:, rows] + squares[:, cols]) / 2
    else:
        squares = squares.repeat_interleave(c.n, dim=1)
    scales = np.array([states.sigma(algebraic, k) for k in landscapes])[:, None, None]
    expected = scales * c.scale**2 * states.array(squares.sort(-1).values)
    checks += [
        relative(name, "algebraic eigenvalues", expected, found.eigenvalues, 1e-6),
        relative(name, "condition number of A", states.array(torch.linalg.cond(A)),
                 found.kappa, 1e-7),
        relative(name, "algebraic condition number is κ(A)²", found.kappa**2,
                 found.condition, 1e-5),
        compare(name, "cosine with the algebraic Hessian", 1, found.algebraic_cosine, 1e-9),
        compare(name, "its centred cosine", 1, found.algebraic_cosine_centred, 1e-9),
        compare(name, "rank correlation with the algebraic Hessian", 1,
                found.algebraic_spearman, 1e-6),
    ]  # fmt: skip
    fold = np.linalg.norm(expected - expected.mean(-1, keepdims=True), axis=-1)
    checks.append(
        relative(name, "distance of the algebraic Hessian from multiples of I",
                 fold / np.linalg.norm(expected, axis=-1), found.ideal_distance, 1e-6)
    )  # fmt: skip

    curvature = torch.ones(m, dtype=A.dtype)
    curvature[:3] = torch.tensor([-2.0, -1e-3, 0.0])
    k = landscapes[-1:]
    split = _Parts(references.planted(curvature))
    found = hessian.spectra(split, A, torch.zeros_like(y[:1]), k)
    s, level = states.sigma(ideal, k[0]), np.sort(curvature.numpy())
    checks += [
        compare(name, "planted inertia", [2, 1, m - 3], found.inertia, 0),
        compare(name, "planted eigenvalues", s * level, found.eigenvalues, 1e-8),
        compare(name, "planted Gauss-Newton part", 3 * s * level, found.gauss_newton, 1e-8),
        compare(name, "planted residual part", -2 * s * level[::-1], found.residual, 1e-8),
        compare(name, "participation of planted eigenvalues",
                np.abs(level).sum() ** 2 / (level**2).sum(), found.participation, 1e-7),
    ]  # fmt: skip
    if not c.symmetric:
        first = states.symmetric_basis(c.n, A)[0]
        last = states.antisymmetric_basis(c.n, A)[0]
        H = torch.outer(first, last) + torch.outer(last, first)
        coupled = references.quadratic(H, H.new_zeros(len(H)))
        found = hessian.spectra(coupled, A, torch.zeros_like(y[:1]), k)
        checks.append(compare(name, "planted coupling", 1, found.coupling, 1e-9))
    kappa = torch.arange(100.0).flip(0)
    strata = hessian.stratified_by_condition(kappa, 20, generator)
    checks.append(
        compare(name, "one problem per stratum", np.arange(20), kappa[strata].numpy() // 5, 0)
    )
    return checks


def check_minima(references: References, generator: torch.Generator) -> list[Check]:
    """Convex bowls have one minimum and every segment convex; a double well 2^m minima."""
    name, A, ideal, algebraic = "minima", references.A, references.ideal, references.algebraic
    c, landscapes = ideal.coordinates, references.landscapes
    y0 = states.answers(ideal, A)
    checks = []
    for energy, label in ((ideal, "ideal"), (algebraic, "algebraic")):
        found = minima.convexity(energy, A, y0, landscapes, (0.1, 10.0), 10, generator)
        checks += [
            compare(name, f"{label} convexity: {part}", 1, getattr(found, part), 0)
            for part in ("share", "rays", "positive")
        ]
        if energy is ideal:
            checks.append(compare(name, "ideal curvature", 1, found.curvature, 1e-4))
        # Far starts and ill-conditioned bowls: Newton's method finishes them.
        found = minima.find_minima(energy, A, y0, landscapes, (0.1, 1.0, 20.0), 2, generator)
        expected = {
            "minima": 1, "saddles": 0, "flat": 0, "unconverged": 0, "found": 1, "basin": 1,
            "lowest_is_nearest": 1, "outcome": minima.MINIMUM, "label": 0,
        }  # fmt: skip
        checks += [
            compare(name, f"{label} {part.replace('_', ' ')}", value, getattr(found, part), 0)
            for part, value in expected.items()
        ]
        checks += [
            compare(name, f"{label} {part.replace('_', ' ')}", 0, getattr(found, part), 1e-5)
            for part in (
                "distance", "gap", "gradient", "nearest_distance", "nearest_gap",
                "lowest_distance", "lowest_gap",
            )
        ]  # fmt: skip

    down = references.planted(-torch.ones(c.size))
    found = minima.convexity(down, A, y0, landscapes[:1], (1.0,), 10, generator)
    checks.append(compare(name, "convexity of a hilltop", 0, found.share + found.rays, 0))
    found = minima.find_minima(down, A, y0, landscapes[:1], (1.0,), 2, generator)
    checks.append(compare(name, "descents that escape down a hill", 2, found.escaped, 0))
    valley = torch.ones(c.size)
    valley[0] = 0
    found = minima.find_minima(
        references.planted(valley), A, y0, landscapes[:1], (1.0,), 2, generator
    )
    checks += [
        compare(name, "descents into a flat valley", 2, found.flat, 0),
        compare(name, "minima of a flat valley", 0, found.minima, 0),
    ]

    found = minima.sharpness(ideal, A, y0, landscapes, generator, count=4)
    checks += [
        compare(name, "ideal sharpness", 1, found.curvature, 1e-8),
        compare(name, "ideal radius", 1, found.radius, 1e-7),
        compare(name, "ideal radius reached", 1, found.reached, 0),
        compare(name, "ideal profile is r²", found.radii[:, None] ** 2, found.profile, 1e-6),
    ]
    wrong = minima.other_answers(y0, 1)
    found = minima.energy_gaps(ideal, A, y0, landscapes, {"other": wrong}, generator, noised=200)
    bar = np.array([ideal.schedule.alpha_bar[k].item() for k in landscapes])[:, None, None]
    squares = states.array((wrong - y0[:, None]).pow(2).sum(-1))
    checks += [
        relative(name, "ideal gap of another answer", bar / (1 - bar) * squares / 2,
                 found.gap["other"], 1e-6),
        relative(name, "ideal gap of noised answers", c.size / 2,
                 found.gap["noised"].mean((1, 2)), 0.15),
        compare(name, "rate at which the ideal landscape is right", 1, found.rate("other"), 0),
    ]  # fmt: skip

    well, m = references.well, references.well.coordinates.size
    eye = torch.eye(well.coordinates.n, dtype=A.dtype, device=A.device)[None]
    grid = torch.tensor(list(itertools.product([-1.0, 0.0, 1.0], repeat=m))).to(A)
    start = well.coordinates.from_basis(grid)[None]
    k = landscapes[:1]
    found = minima.find_minima(
        well, eye, torch.zeros_like(start[:, 0]), k, (1.0,), 4, generator, extra=start[None]
    )
    reach = math.sqrt(m) / states.noise_radius(well, k[0])
    checks += [
        compare(name, "minima of a double well", 2**m, found.minima, 0),
        compare(name, "saddles and maxima of a double well", 3**m - 2**m, found.saddles, 0),
        relative(name, "distance of its minima", reach, found.nearest_distance, 1e-7),
        relative(name, "distance of its ends", reach, found.distance, 1e-7),
        relative(name, "depth of its minima", -m / states.sigma(well, k[0]),
                 [found.nearest_gap, found.lowest_gap], 1e-9),
    ]  # fmt: skip
    seen = minima.critical_points(well, eye, start, k[0])
    zeros = states.array((grid == 0).sum(-1))
    checks.append(
        compare(name, "inertia of its critical points", zeros, states.array(seen.negative[0]), 0)
    )
    return checks


def check_predictors(references: References, generator: torch.Generator) -> list[Check]:
    """Least squares and the network find a planted map of A, least squares also one of A² that it may see."""
    n = references.A.shape[-1]
    batches = []
    for _ in range(4):
        R = torch.randn(4 * n * n, n, n, generator=generator, dtype=torch.float64,
                        device=generator.device)  # fmt: skip
        A = R @ R.mT / n + torch.eye(n, dtype=R.dtype, device=R.device)
        batches.append((A, 2 * A - 3, A @ A))
    A = batches[0][0]
    found = predictors.fit((a, linear) for a, linear, _ in batches)
    checks = [
        compare("predictors", "error of least squares on a planted affine map", 0,
                states.array((found["least_squares"](A) - (2 * A - 3)).abs().amax()), 1e-7),
        compare("predictors", "training mean",
                states.array(torch.cat([linear for _, linear, _ in batches]).mean(0)),
                states.array(found["mean"](A[:1])[0]), 1e-9),
    ]  # fmt: skip
    found = predictors.fit((a, squared) for a, _, squared in batches)
    worst = states.array((found["least_squares_squared"](A) - A @ A).abs().amax())
    checks.append(Check("predictors", "error on a planted map of A²", 0, float(worst), 1e-6))
    blind = found["zero"].mse(A, A).mean() / A.pow(2).mean()
    checks.append(Check("predictors", "relative error of zero", 1, float(blind), 1e-12))

    few = torch.randn(n, 2, generator=generator, dtype=A.dtype, device=A.device)

    def planted(A: Tensor) -> Tensor:
        """An affine map that sees three directions of A: few enough for a network that is quick to train."""
        return few @ (2 * A[:, :2, :2] - 3) @ few.mT

    def fresh(count: int):
        while True:
            R = torch.randn(count, n, n, generator=generator, dtype=A.dtype, device=A.device)
            seen = R @ R.mT / n + torch.eye(n, dtype=R.dtype, device=R.device)
            yield seen, planted(seen)

    network = predictors.Regression(fresh(predictors.BATCH), hidden=64, steps=300)
    seen, answer = next(fresh(1000))
    missed = network.mse(seen, answer).mean() / answer.var(0).mean()
    checks.append(
        Check("predictors", "relative error of the network on a planted affine map", 0, float(missed), 0.02)
    )
    return checks


class Around:
    """An energy with one thing changed."""

    def __init__(self, energy: Energy):
        self._energy = energy
        self.coordinates, self.schedule = energy.coordinates, energy.schedule

    def __getattr__(self, name: str) -> Any:
        return getattr(self._energy, name)


class Layered(Around):
    """The ideal energy as a network of one layer: h = basis coordinates of y − √ᾱ_k y₀, E = ‖h‖²/2σ_k."""

    def prepare(self, A: Tensor) -> Tensor:
        return A

    def activations(self, A: Any, y: Tensor, k: int | Tensor) -> dict[str, Tensor]:
        y0 = states.answers(self, A)
        y0 = y0[:, None] if y.dim() == 3 else y0
        home = self.schedule.at("sqrt_alpha_bar", k, y) * y0
        return {"fc1": self.coordinates.to_basis(y - home)}

    def resume(self, layer: str, h: Tensor, A: Any, k: int | Tensor) -> Tensor:
        return (h * h / self.schedule.at("sigma", k, h)).sum(-1) / 2


class _Stretched(Around):
    """A gradient that is a multiple of what it should be."""

    def __init__(self, energy: Energy, factor: float):
        super().__init__(energy)
        self.factor = factor

    def gradient(self, A: Any, y: Tensor, k: int | Tensor) -> Tensor:
        return self.factor * self._energy.gradient(A, y, k)


class _Twisted(Around):
    """The ideal gradient with Ry/σ_k added, R antisymmetric: the gradient of no energy."""

    def __init__(self, energy: Energy, strength: float):
        super().__init__(energy)
        self.strength = strength

    def gradient(self, A: Any, y: Tensor, k: int | Tensor) -> Tensor:
        z = self.coordinates.to_basis(y)
        turned = torch.zeros_like(z)
        last = 2 * (z.shape[-1] // 2)
        turned[..., 0:last:2] = -z[..., 1:last:2]
        turned[..., 1:last:2] = z[..., 0:last:2]
        added = self.coordinates.from_basis(turned) / self.schedule.at("sigma", k, y)
        return self._energy.gradient(A, y, k) + self.strength * added


class _Parts(Around):
    """A Hessian H that says that it is 3H − 2H."""

    def hessian_parts(self, A: Any, y: Tensor, k: int | Tensor) -> tuple[Tensor, Tensor]:
        H = self._energy.hessian(A, y, k)
        return 3 * H, -2 * H
