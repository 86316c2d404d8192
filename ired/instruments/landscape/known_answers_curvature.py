"""Known answers of Hessians and minima: known spectra, planted valleys, hilltops and wells."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ired.instruments.core import states
from ired.instruments.core.check import Check, compare, relative
from ired.instruments.core.reference_energies import References, WrappedEnergy
from ired.instruments.landscape import hessian, metrics, minima
from ired.model.protocol import Energy


def check_hessian(references: References, generator: torch.Generator) -> list[Check]:
    """Spectra of I, of A² ⊗ I and other functions of A, and of planted Hessians."""
    name, A, ideal, algebraic = "hessian", references.A, references.ideal, references.algebraic
    c, landscapes = ideal.coordinates, references.landscapes
    m = c.size
    y = states.at_answers(ideal, states.answers(ideal, A), landscapes)
    spectra = hessian.hessian_spectra(ideal, A, y, landscapes)
    exact = {
        "eigenvalues": 1,
        "gauss_newton": 1,
        "residual": 0,
        "symmetric": 1,
        "coupling": 0,
        "participation": m,
        "entropy_rank": m,
        "condition": 1,
        "ideal_scale": 1,
        "ideal_distance": 0,
        "ideal_distance_raw": 0,
        **{f"{function}_cosine_centred": 0 for function in hessian.FUNCTIONS},
        "algebraic_spearman": 0,
    }
    checks = [
        compare(name, f"ideal {part.replace('_', ' ')}", value, getattr(spectra, part), 1e-7)
        for part, value in exact.items()
    ]
    odd = 0 if c.symmetric else c.n * (c.n - 1) // 2
    checks += [
        compare(name, "ideal inertia", [0, 0, m], spectra.inertia, 0),
        compare(name, "ideal antisymmetric trace", odd, spectra.antisymmetric.sum(-1), 1e-7),
    ]

    spectra = hessian.hessian_spectra(algebraic, A, y, landscapes)
    squares = torch.linalg.svdvals(A).flip(-1) ** 2
    if c.symmetric:
        rows, cols = torch.triu_indices(c.n, c.n, device=A.device)
        squares = (squares[:, rows] + squares[:, cols]) / 2
    else:
        squares = squares.repeat_interleave(c.n, dim=1)
    scales = np.array([states.sigma(algebraic, k) for k in landscapes])[:, None, None]
    expected = scales * c.scale**2 * states.array(squares.sort(-1).values)
    checks += [
        relative(name, "algebraic eigenvalues", expected, spectra.eigenvalues, 1e-6),
        relative(name, "condition number of A", states.array(torch.linalg.cond(A)), spectra.kappa, 1e-7),
        relative(name, "algebraic condition number is κ(A)²", spectra.kappa**2, spectra.condition, 1e-5),
        compare(name, "cosine with the algebraic Hessian", 1, spectra.algebraic_cosine, 1e-9),
        compare(name, "its centred cosine", 1, spectra.algebraic_cosine_centred, 1e-9),
        compare(name, "rank correlation with the algebraic Hessian", 1, spectra.algebraic_spearman, 1e-6),
    ]
    fold = np.linalg.norm(expected - expected.mean(-1, keepdims=True), axis=-1)
    checks.append(
        relative(
            name,
            "distance of the algebraic Hessian from multiples of I",
            fold / np.linalg.norm(expected, axis=-1),
            spectra.ideal_distance,
            1e-6,
        )
    )
    for function, of in hessian.FUNCTIONS.items():
        spectra = hessian.hessian_spectra(FunctionOfProblem(ideal, of), A, y, landscapes)
        measured = getattr(spectra, f"{function}_cosine_centred")
        checks.append(compare(name, f"traceless cosine with a planted function of A: {function}", 1, measured, 1e-9))

    curvature = torch.ones(m, dtype=A.dtype)
    curvature[:3] = torch.tensor([-2.0, -1e-3, 0.0])
    k = landscapes[-1:]
    split = _Parts(references.planted(curvature))
    spectra = hessian.hessian_spectra(split, A, torch.zeros_like(y[:1]), k)
    s, level = states.sigma(ideal, k[0]), np.sort(curvature.numpy())
    checks += [
        compare(name, "planted inertia", [2, 1, m - 3], spectra.inertia, 0),
        compare(name, "planted eigenvalues", s * level, spectra.eigenvalues, 1e-8),
        compare(name, "planted Gauss-Newton part", 3 * s * level, spectra.gauss_newton, 1e-8),
        compare(name, "planted residual part", -2 * s * level[::-1], spectra.residual, 1e-8),
        compare(
            name,
            "participation of planted eigenvalues",
            np.abs(level).sum() ** 2 / (level**2).sum(),
            spectra.participation,
            1e-7,
        ),
    ]
    if not c.symmetric:
        first = states.symmetric_basis(c.n, A)[0]
        last = states.antisymmetric_basis(c.n, A)[0]
        H = torch.outer(first, last) + torch.outer(last, first)
        coupled = references.quadratic(H, H.new_zeros(len(H)))
        spectra = hessian.hessian_spectra(coupled, A, torch.zeros_like(y[:1]), k)
        checks.append(compare(name, "planted coupling", 1, spectra.coupling, 1e-9))
    kappa = torch.arange(100.0).flip(0)
    strata = hessian.stratified_by_condition(kappa, 20, generator)
    checks.append(compare(name, "one problem per stratum", np.arange(20), kappa[strata].numpy() // 5, 0))
    return checks


def check_minima(references: References, generator: torch.Generator) -> list[Check]:
    """Convex bowls have one minimum and every segment convex; a double well 2^m minima."""
    name, A, ideal, algebraic = "minima", references.A, references.ideal, references.algebraic
    c, landscapes = ideal.coordinates, references.landscapes
    y0 = states.answers(ideal, A)
    checks = []
    for energy, label in ((ideal, "ideal"), (algebraic, "algebraic")):
        measured = metrics.convexity(energy, A, y0, landscapes, (0.1, 10.0), 10, generator)
        checks += [
            compare(name, f"{label} convexity: {part}", 1, getattr(measured, part), 0)
            for part in ("share", "rays", "positive")
        ]
        if energy is ideal:
            checks.append(compare(name, "ideal curvature", 1, measured.curvature, 1e-4))
        # Far starts and ill-conditioned bowls: Newton's method finishes them.
        measured = minima.find_minima(energy, A, y0, landscapes, (0.1, 1.0, 20.0), 2, generator)
        expected = {
            "minima": 1,
            "saddles": 0,
            "flat": 0,
            "unconverged": 0,
            "found": 1,
            "basin": 1,
            "lowest_is_nearest": 1,
            "inside_minima": 1,
            "outside_minima": 0,
            "lowest_inside": 1,
            "inside_lowest_is_nearest": 1,
            "outcome": minima.MINIMUM,
            "label": 0,
        }
        checks += [
            compare(name, f"{label} {part.replace('_', ' ')}", value, getattr(measured, part), 0)
            for part, value in expected.items()
        ]
        checks += [
            compare(name, f"{label} {part.replace('_', ' ')}", 0, getattr(measured, part), 1e-5)
            for part in (
                "distance",
                "gap",
                "gradient",
                "nearest_distance",
                "inside_distance",
                "nearest_gap",
                "lowest_distance",
                "lowest_gap",
            )
        ]

    checks += _two_minima(references, y0, generator)

    down = references.planted(-torch.ones(c.size))
    measured = metrics.convexity(down, A, y0, landscapes[:1], (1.0,), 10, generator)
    checks.append(compare(name, "convexity of a hilltop", 0, measured.share + measured.rays, 0))
    measured = minima.find_minima(down, A, y0, landscapes[:1], (1.0,), 2, generator)
    checks.append(compare(name, "descents that escape down a hill", 2, measured.escaped, 0))
    valley = torch.ones(c.size)
    valley[0] = 0
    measured = minima.find_minima(references.planted(valley), A, y0, landscapes[:1], (1.0,), 2, generator)
    checks += [
        compare(name, "descents into a flat valley", 2, measured.flat, 0),
        compare(name, "minima of a flat valley", 0, measured.minima, 0),
    ]

    measured = metrics.sharpness(ideal, A, y0, landscapes, generator, count=4)
    checks += [
        compare(name, "ideal sharpness", 1, measured.curvature, 1e-8),
        compare(name, "ideal radius", 1, measured.radius, 1e-7),
        compare(name, "ideal radius reached", 1, measured.reached, 0),
        compare(name, "ideal profile is r²", measured.radii[:, None] ** 2, measured.profile, 1e-6),
    ]
    wrong = metrics.other_answers(y0, 1)
    measured = metrics.energy_gaps(ideal, A, y0, landscapes, {"other": wrong}, generator, noised=200)
    bar = np.array([ideal.schedule.alpha_bar[k].item() for k in landscapes])[:, None, None]
    squares = states.array((wrong - y0[:, None]).pow(2).sum(-1))
    checks += [
        relative(name, "ideal gap of another answer", bar / (1 - bar) * squares / 2, measured.gap["other"], 1e-6),
        relative(name, "ideal gap of noised answers", c.size / 2, measured.gap["noised"].mean((1, 2)), 0.15),
        compare(name, "rate at which the ideal landscape is right", 1, measured.rate("other"), 0),
    ]

    well, m = references.well, references.well.coordinates.size
    eye = torch.eye(well.coordinates.n, dtype=A.dtype, device=A.device)[None]
    grid = torch.tensor(list(itertools.product([-1.0, 0.0, 1.0], repeat=m))).to(A)
    start = well.coordinates.from_basis(grid)[None]
    k = landscapes[:1]
    measured = minima.find_minima(well, eye, torch.zeros_like(start[:, 0]), k, (1.0,), 4, generator, extra=start[None])
    reach = math.sqrt(m) / states.noise_radius(well, k[0])
    checks += [
        compare(name, "minima of a double well", 2**m, measured.minima, 0),
        compare(name, "saddles and maxima of a double well", 3**m - 2**m, measured.saddles, 0),
        relative(name, "distance of its minima", reach, measured.nearest_distance, 1e-7),
        relative(name, "distance of its ends", reach, measured.distance, 1e-7),
        relative(
            name,
            "depth of its minima",
            -m / states.sigma(well, k[0]),
            [measured.nearest_gap, measured.lowest_gap],
            1e-9,
        ),
    ]
    critical = minima.critical_points(well, eye, start, k[0])
    zeros = states.array((grid == 0).sum(-1))
    checks.append(compare(name, "inertia of its critical points", zeros, states.array(critical.negative[0]), 0))
    return checks


def _two_minima(references: References, y0: Tensor, generator: torch.Generator) -> list[Check]:
    """The answer inside the box, and a lower minimum outside it."""
    name, k = "minima", references.landscapes[:2]
    energy = TwoMinima(references.ideal, 2 * y0.abs().max().item())
    lower = torch.stack([energy.lower(references.A, i) for i in k])
    measured = minima.find_minima(
        energy, references.A, y0, k, (0.1,), 1, generator, extra=lower[:, :, None], clip=energy.clip
    )
    reach = np.array([[energy.reach(i) / states.noise_radius(energy, i)] for i in k])
    expected = {
        "minima": 2,
        "inside_minima": 1,
        "outside_minima": 1,
        "lowest_inside": 0,
        "lowest_is_nearest": 0,
        "inside_lowest_is_nearest": 1,
    }
    checks = [
        compare(
            name, f"planted inside and outside the box: {part.replace('_', ' ')}", value, getattr(measured, part), 0
        )
        for part, value in expected.items()
    ]
    depth = np.array([[-((energy.reach(i) / states.sigma(energy, i)) ** 2) / 24] for i in k])
    return checks + [
        compare(name, "distance of the planted minimum inside", 0, measured.inside_distance, 1e-5),
        relative(name, "distance of the planted minimum outside", reach, measured.outside_distance, 1e-6),
        relative(name, "depth of the planted minimum outside", depth, measured.lowest_gap, 1e-6),
    ]


class TwoMinima(WrappedEnergy):
    """The ideal bowl, but for the first basis coordinate u·reach from the answer: (reach²/σ)·∫u(u − ¼)(u − 1)du.

    It has minima at u = 0, the answer, and at u = 1, lower by reach²/24σ and three boxes away, where clip is more
    than every entry of the answers.
    """

    def __init__(self, energy: Energy, clip: float):
        super().__init__(energy)
        self.clip = clip

    def reach(self, k: int) -> float:
        return 3 * self.clip * self.schedule.sqrt_alpha_bar[k].item()

    def lower(self, A: Tensor, k: int) -> Tensor:
        """The minimum outside (P, d)."""
        first = states.state_basis(self, A)[0]
        return states.centre(self, states.answers(self, A), k) + self.reach(k) * first

    def energy_and_gradient(self, A: Any, y: Tensor, k: int) -> tuple[Tensor, Tensor]:
        bowl, gradient = self._energy.energy_and_gradient(A, y, k)
        s, R, first = states.sigma(self, k), self.reach(k), states.state_basis(self, y)[0]
        u = s * gradient @ first / R
        turned = u * (u - 0.25) * (u - 1) - u
        level = u**4 / 4 - 5 * u**3 / 12 - 3 * u**2 / 8
        return bowl + R**2 / s * level, gradient + R / s * turned[..., None] * first

    def energy(self, A: Any, y: Tensor, k: int) -> Tensor:
        return self.energy_and_gradient(A, y, k)[0]

    def gradient(self, A: Any, y: Tensor, k: int) -> Tensor:
        return self.energy_and_gradient(A, y, k)[1]

    def hessian(self, A: Any, y: Tensor, k: int) -> Tensor:
        s, first = states.sigma(self, k), states.state_basis(self, y)[0]
        u = s * self._energy.gradient(A, y, k) @ first / self.reach(k)
        bend = (3 * u**2 - 2.5 * u + 0.25 - 1) / s
        return self._energy.hessian(A, y, k) + bend[:, None, None] * torch.outer(first, first)


class FunctionOfProblem(WrappedEnergy):
    """With the Hessian f(A) ⊗ I, as it is on the space of states; f of A's eigenvalues."""

    def __init__(self, energy: Energy, function: Callable[[Tensor], Tensor]):
        super().__init__(energy)
        self.function = function

    def hessian_parts(self, A: Any, y: Tensor, k: int | Tensor) -> tuple[Tensor, Tensor]:
        values, vectors = torch.linalg.eigh(A)
        S = (vectors * self.function(values)[:, None]) @ vectors.mT
        eye = torch.eye(A.shape[-1], dtype=A.dtype, device=A.device)
        basis = states.state_basis(self, A)
        P = basis.mT @ basis
        H = P @ torch.stack([torch.kron(part, eye) for part in S]) @ P
        return H, torch.zeros_like(H)


class _Parts(WrappedEnergy):
    """A Hessian H that says that it is 3H − 2H."""

    def hessian_parts(self, A: Any, y: Tensor, k: int | Tensor) -> tuple[Tensor, Tensor]:
        H = self._energy.hessian(A, y, k)
        return 3 * H, -2 * H
