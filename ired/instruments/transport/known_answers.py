"""Known answers of optimal transport: shifts, Gaussians, entropy, straight lines, ideal energies."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ired.instruments.core import states
from ired.instruments.core.check import Check, compare
from ired.instruments.core.random_directions import normal
from ired.instruments.core.reference_energies import References
from ired.instruments.core.states import array, symmetric
from ired.instruments.geometry import metrics
from ired.instruments.transport import annealing, answer_clouds, distances, energy_ranking


def check_transport(generator: torch.Generator) -> list[Check]:
    """Distances between clouds whose transport is known in closed form."""
    name = "transport"
    X, shift = normal(60, 3, generator=generator), torch.tensor([1.0, -2.0, 0.5]).double()
    moved = X[torch.randperm(60, generator=generator)] + shift
    cost, within, within_moved = (distances.squared(*pair) for pair in ((X, moved), (X, X), (moved, moved)))
    scale = float(np.median(within))
    least = shift.pow(2).sum().item()
    ladder = [distances.entropic(cost, share * scale) - least for share in (1, 0.3, 0.1)]
    line = array(normal(40, 2, generator=generator))
    C, D = (M @ M.mT + 0.1 * torch.eye(3) for M in normal(2, 3, 3, generator=generator))
    closed = metrics.METRICS["Bures-Wasserstein"].distance(C, D).item()
    samples = normal(2, 500, 3, generator=generator)
    first = samples[0] @ torch.linalg.cholesky(C).mT
    second = samples[1] @ torch.linalg.cholesky(D).mT + shift
    whole = math.hypot(closed, shift.norm().item())
    planted = _exactly(samples[0], C), _exactly(samples[1], D) + shift
    return [
        Check(
            name,
            "exact transport of a shifted cloud",
            expected=shift.norm().item(),
            measured=distances.exact(cost),
            tolerance=1e-9,
        ),
        Check(
            name,
            "Gaussian transport of a shifted cloud",
            expected=shift.norm().item(),
            measured=distances.gaussian(X, moved),
            tolerance=1e-7,
        ),
        Check(
            name,
            "debiased transport of a shifted cloud",
            expected=shift.norm().item(),
            measured=distances.debiased(cost, within, within_moved, 0.3 * scale),
            tolerance=1e-4,
        ),
        # A root: 1e-10 of rounding and of mass still misplaced is 1e-5.
        Check(
            name,
            "debiased transport of a cloud to itself",
            expected=0,
            measured=distances.debiased(within, within, within, 0.3 * scale),
            tolerance=1e-5,
        ),
        Check(
            name,
            "entropic cost falls towards the exact one, from above",
            expected=1,
            measured=ladder[0] > ladder[1] > ladder[2] > 0,
            tolerance=0,
        ),
        compare(
            name,
            "one dimension: sorted differences",
            np.sqrt((np.diff(np.sort(line, 0), axis=1) ** 2).mean()),
            distances.sorted_line(line[:, 0], line[:, 1]),
            1e-12,
        ),
        Check(
            name,
            "Bures distance of Gaussians with these moments",
            expected=whole,
            measured=distances.gaussian(*planted),
            tolerance=1e-8,
        ),
        # 500 points in three dimensions: their sampling error, and the bias of exact transport.
        Check(
            name,
            "exact transport between samples of Gaussians is Bures's",
            expected=1,
            measured=distances.exact(distances.squared(first, second)) / whole,
            tolerance=0.15,
        ),
    ]


def check_transport_answers(generator: torch.Generator) -> list[Check]:
    """Congruence leaves affine-invariant costs alone; a planted change is seen and none is not."""
    name = "transport_answers"
    Y = _spd(150, 3, generator)
    turned = normal(3, 3, generator=generator) + 2 * torch.eye(3)
    X, Z = Y[:30], Y[30:60]
    before, after = (
        answer_clouds.affine_squared(*pair) for pair in ((X, Z), (turned @ X @ turned.mT, turned @ Z @ turned.mT))
    )
    direct = metrics.METRICS["affine-invariant"].distance(X[:, None], Z[None]) ** 2
    checks = [
        compare(name, "affine-invariant costs under congruence", before, after, 1e-8),
        compare(name, "affine-invariant costs, one by one", array(direct), before, 1e-8),
    ]
    draws = _spd(24 * 40, 3, generator).unflatten(0, (24, 40))
    for ground in (answer_clouds.euclidean(), answer_clouds.affine_invariant(Y[60:])):
        yardstick = answer_clouds.Yardstick.of(
            ground=ground, truths=Y[:40], fit=Y[60:], axes=6, share=0.3, few=40
        )  # all axes
        clouds = {"scaled": 3.0 * draws[0]} | {f"same {i}": draws[i] for i in range(1, 5)}
        compared = answer_clouds.compare_clouds(yardstick, clouds, draws[5:])
        p = [[row["p"] for row in compared if row["answers"].startswith(name)] for name in ("scaled", "same")]
        checks += [
            compare(name, f"p of three times the answers, {ground.name}", 1 / 20, p[0], 1e-12),
            # Uniform where nothing has changed; four clouds share one null and one set of truths.
            Check(
                name,
                f"mean p of true answers, {ground.name}",
                expected=0.5,
                measured=float(np.mean(p[1])),
                tolerance=0.42,
            ),
        ]
    return checks


def check_transport_path(generator: torch.Generator) -> list[Check]:
    """Straight lines are straight; two sides of a square are 1/√2; crossing particles are not optimal."""
    name = "transport_path"
    X = normal(60, 3, generator=generator)
    t = torch.linspace(1, 2, 4, dtype=torch.float64)[:, None, None]
    east, north = 9 * torch.eye(3, dtype=torch.float64)[:2]
    axes = distances.principal_axes(X, 3)
    measured = {
        "scaled": _measure(X * t, X, axes),
        "square": _measure(torch.stack([X, X + east, X + east + north]), X, axes),
        "mirrored": _measure(torch.stack([X + 0 * t[0], 0 * X, -X]), X, axes),
    }
    scaled, square, mirrored = measured.values()
    size = X.pow(2).sum(-1).mean().sqrt().item()
    return [
        Check(name, "straightness of scaling", expected=1, measured=scaled.straightness, tolerance=1e-9),
        Check(
            name, "Gaussian straightness of scaling", expected=1, measured=scaled.gaussian_straightness, tolerance=1e-7
        ),
        compare(name, "straightness of its particles", 1, scaled.particle_straightness, 1e-9),
        Check(name, "optimality of scaling", expected=1, measured=scaled.optimality, tolerance=1e-9),
        compare(name, "transport of each step of scaling", size / 3, scaled.steps, 1e-9),
        Check(
            name,
            "straightness of two sides of a square",
            expected=math.sqrt(0.5),
            measured=square.straightness,
            tolerance=1e-9,
        ),
        compare(name, "the same in blocks of particles", math.sqrt(0.5), square.blocks, 1e-9),
        compare(name, "the same of particles", math.sqrt(0.5), square.particle_straightness, 1e-9),
        # Mirrored particles go straight, yet the cloud hardly changes: none goes where it should.
        compare(name, "straightness of mirrored particles", 1, mirrored.particle_straightness, 1e-9),
        Check(
            name,
            "whether mirroring is less than half straight and optimal",
            expected=1,
            measured=max(mirrored.straightness, mirrored.optimality) < 0.5,
            tolerance=0,
        ),
    ]


def check_transport_energy(references: References, generator: torch.Generator) -> list[Check]:
    """The ideal energy ranks answers as L2 does, exactly, and nothing is left beyond it."""
    name, energy = "transport_energy", references.ideal
    Y = symmetric(torch.linalg.inv(references.A))
    made = energy_ranking.candidates(Y, 8, generator)
    measured = energy_ranking.candidate_distances(made)
    k, sigma = references.landscapes[1], states.sigma(energy, references.landscapes[1])
    gaps = energy_ranking.candidate_gaps(energy, references.A, made, k, 2, generator)
    # E = ‖y − √ᾱ_k y₀‖²/(2σ_k), in units of σ_k.
    ratio = energy.schedule.alpha_bar[k].item() / (2 * sigma**2 * energy.coordinates.scale**2)
    expected, ok = ratio * measured["L2"] ** 2, made.definite
    rows = energy_ranking.correlate_gaps(gaps["noised"], measured, made)
    rho = rows["rho"][rows["distance"] == "L2"]
    turned = made.kind == energy_ranking.KINDS.index("turned")
    covariance = distances.bures(Y[:, None].expand_as(made.C), made.C)
    return [
        compare(name, "gaps of the ideal energy, ±noise", expected[ok], gaps["noised"][ok], 1e-8),
        compare(name, "gaps of the ideal energy, clean", expected[ok], gaps["clean"][ok], 1e-8),
        compare(name, "its rank correlation with L2", 1, rho, 1e-12),
        compare(name, "what it knows beyond L2", 0, rows["partial"], 1e-12),
        compare(name, "spectra of turned candidates", 0, measured["spectra"][:, turned], 0),
        compare(
            name, "Bures distances, by rotated roots", array(covariance)[ok], measured["Bures-Wasserstein"][ok], 1e-7
        ),
    ]


def _measure(Z: Tensor, X: Tensor, axes: distances.Axes) -> annealing.Annealing:
    return annealing.annealing_transport(np.arange(len(Z)), Z, X, axes, blocks=3, largest=60)


def _exactly(X: Tensor, C: Tensor) -> Tensor:
    """X (N, m) with mean 0 and covariance C exactly."""
    X = X - X.mean(0)
    L = torch.linalg.cholesky(X.mT @ X / (len(X) - 1))
    return torch.linalg.solve_triangular(L, X.mT, upper=False).mT @ torch.linalg.cholesky(C).mT


def _spd(count: int, n: int, generator: torch.Generator) -> Tensor:
    R = normal(count, n, n, generator=generator)
    return R @ R.mT / n + 0.3 * torch.eye(n, dtype=torch.float64)
