"""Known answers of the geometry of SPD matrices: its laws, distances by hand, planted departures."""

from __future__ import annotations

import math

import numpy as np
import torch

from ired.instruments.core import states
from ired.instruments.core.check import Check, compare
from ired.instruments.core.states import symmetric
from ired.instruments.geometry import answer_errors, metric_laws, metrics


def check_spd_laws(generator: torch.Generator) -> list[Check]:
    """Each metric keeps its laws on random problems, and has the distances that are known by hand."""
    name, (A,) = "spd_laws", _problems(1, 6, 4, generator)
    laws = metric_laws.spd_laws(A, generator, library=0)  # SETUP-4 is not to wait for other libraries
    checks = [
        Check(name, f"{law.metric}: {law.law}", expected=0.0, measured=law.error, tolerance=law.tolerance)
        for law in laws
        if law.expected
    ]
    checks += [
        Check(name, f"{law.metric}: {law.law}, does not hold", expected=1.0, measured=law.holds, tolerance=0.0)
        for law in laws
        if not law.expected
    ]
    # diag(1, 1) and diag(e², 4): logarithms 2 and log 4, roots e − 1 and 1, differences e² − 1 and 3.
    I = torch.eye(2, dtype=torch.float64)
    D = torch.diag(torch.tensor([math.e**2, 4.0], dtype=torch.float64))
    by_hand = {
        "affine-invariant": math.hypot(2, math.log(4)),
        "log-Euclidean": math.hypot(2, math.log(4)),
        "Bures-Wasserstein": math.hypot(math.e - 1, 1),
        "Euclidean": math.hypot(math.e**2 - 1, 3),
    }
    for metric, expected in by_hand.items():
        distance = metrics.METRICS[metric].distance(I, D).item()
        checks.append(Check(name, f"{metric}: distance by hand", expected=expected, measured=distance, tolerance=1e-10))
    off = 1.01 * metrics.METRICS["affine-invariant"].distance(A, A.roll(1, 0))
    right = metrics.METRICS["affine-invariant"].distance(A, A.roll(1, 0))
    distance = metric_laws.worst(off, right)
    return [
        *checks,
        Check(name, "an error of 1 %, as it is measured", expected=0.01, measured=distance, tolerance=1e-12),
    ]


def check_spd_answers(generator: torch.Generator) -> list[Check]:
    """Planted departures are measured; errors that the metric calls small beat noise, noise does not."""
    name = "spd_answers"
    # Eigenvalues 3, 1, −1, antisymmetric part of norm √8: ‖M‖² = 11 + 8, the cone √(1 + 8) away.
    M = torch.diag(torch.tensor([3.0, 1.0, -1.0], dtype=torch.float64))
    M[0, 1], M[1, 0] = 2.0, -2.0
    departure, whole = answer_errors.departure(M), math.sqrt(19)
    departed = (M - metrics.nearest(M)).norm().item() / whole
    checks = [
        compare(name, "planted antisymmetric part", math.sqrt(8) / whole, departure.asymmetry, 1e-12),
        compare(name, "planted negative eigenvalues", 1, departure.negative, 0),
        compare(name, "planted lowest eigenvalue", -1 / 3, departure.lowest, 1e-12),
        compare(name, "distance to the cone", 3 / whole, departure.distance, 1e-12),
        compare(name, "distance to the nearest semidefinite matrix", departed, departure.distance, 1e-12),
    ]
    A, E = _problems(2, 60, 4, generator)
    Y, n = metrics.power(A, -1), 4
    # E has the size of problems: an error along each direction in proportion to the answer there.
    end, near = symmetric(Y @ E @ Y), torch.tensor([0.05])
    small = metrics.METRICS["affine-invariant"].geodesic(Y, end, near)[:, 0]
    epsilon = symmetric(torch.randn(9, len(Y), n, n, generator=generator, dtype=torch.float64))
    noise = answer_errors.matched_noise(Y, small, epsilon)
    size = [states.array((M - Y).flatten(-2).norm(dim=-1)) for M in (small, noise)]
    checks.append(compare(name, "size of matched noise", *size, 1e-12))
    for what, M, expected, tolerance in (
        ("errors in proportion", small, 1.0, 0.25),
        # Two standard deviations of a mean of 60 shares, each spread over (0, 1), and a half.
        ("noise itself", noise[0], 0.5, 0.1 * 1.5),
    ):
        compared, _ = answer_errors.compare_all(M, Y, epsilon[1:])
        nearer = compared["nearer"][0]
        checks.append(
            Check(name, f"{what}: share nearer than noise", expected=expected, measured=nearer, tolerance=tolerance)
        )
        checks.append(
            Check(
                name, f"{what}: Euclidean, by construction", expected=0.5, measured=compared["nearer"][3], tolerance=0.0
            )
        )
    by_hand = answer_errors.compare_with_noise(
        np.array([1.0, np.inf, np.inf, 2.0]),
        np.array([[2.0, 1.0, np.inf, 2.0], [np.inf, 4.0, np.inf, 1.0]]),
    )
    checks.append(compare(name, "wins and ties by hand", [1, 0, 0.5, 0.25], by_hand.wins, 0))
    checks.append(
        compare(name, "log ratios by hand", [-math.log(2), math.log(2) / 2], by_hand.log_ratio[[0, 3]], 1e-12)
    )
    # Half of the answers 1, half 4: means 2, (3/2)² and 5/2 under the three kinds of metrics.
    numbers = torch.tensor([1.0, 4, 1, 4], dtype=torch.float64)
    mixed = numbers[:, None, None] * torch.eye(2, dtype=torch.float64)
    spectra, table = answer_errors.karcher_means({"problems": mixed, "answers": metrics.power(mixed, -1)})
    means = np.array(spectra["eigenvalue"]).reshape(4, 2, 2)[:, 0]
    expected = np.array([[2], [2], [2.25], [2.5]])
    checks.append(compare(name, "Karcher means by hand", expected, means, 1e-10))
    swelling = np.log([1, 1, 2.25 / 2, 2.5 / 2])
    compared = np.array(table["swelling"]).reshape(4, 2)[:, 0]
    return [*checks, compare(name, "their swelling", swelling, compared, 1e-10)]


def _problems(sets: int, count: int, n: int, generator: torch.Generator) -> torch.Tensor:
    R = 2 * torch.rand(sets, count, n, n, generator=generator, dtype=torch.float64) - 1
    return 2 * R @ R.mT + 0.5 * torch.eye(n, dtype=torch.float64)
