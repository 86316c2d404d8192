"""Laws of the geometry of SPD matrices, as checks on given problems.

What a metric promises in theory is measured on the matrices that it will be used for: the laws that
every Riemannian distance obeys, those of single metrics (Pennec et al. 2006; Arsigny et al. 2007;
Bhatia et al. 2019), and agreement with libraries other than geomstats, which computes them (scipy, POT). A
law that a metric must *not* obey is a check as well: it has to be broken by more than rounding could.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

from ired.instruments.core.states import array, symmetric
from ired.instruments.geometry import metrics
from ired.instruments.geometry.metrics import METRICS, RiemannianMetric

TOLERANCE = 1e-8
BROKEN = 1e-3  # a law that does not hold is off by more than this for some matrix
INVERSION = ("affine-invariant", "log-Euclidean")  # metrics to which A and A⁻¹ are alike


@dataclass(frozen=True)
class Law:
    """One law under one metric.

    error: the largest relative error over the matrices that it was tried on; tolerance: what rounding
    may leave; expected: whether the law is to hold. One that is not must err by more than `tolerance`.
    """

    law: str
    metric: str
    error: float
    tolerance: float
    expected: bool = True

    @property
    def holds(self) -> bool:
        """Whether it is as expected; never so where the error is not a number."""
        return self.error <= self.tolerance if self.expected else self.error > self.tolerance

    def __str__(self) -> str:
        sign = "≤" if self.expected else ">"
        return f"{self.metric}: {self.law}: {self.error:.2e}, expected {sign} {self.tolerance:g}"


def law_columns(laws: list[Law]) -> dict[str, list]:
    """Tidy columns, one row per law and metric."""
    rows = [asdict(law) | {"holds": law.holds} for law in laws]
    return {name: [row[name] for row in rows] for name in rows[0]}


def spd_laws(A: Tensor, generator: torch.Generator, library: int = 8) -> list[Law]:
    """All laws on problems A (P, n, n), 4 ≤ P, and their inverses.

    `library` problems are shown to other libraries, one of which takes seconds to import (0: none).

    Raises ValueError naming a problem that is not SPD.
    """
    if len(A) < 4:
        raise ValueError(f"the laws need at least 4 problems, not {len(A)}")
    A = metrics.require_spd(A.double(), "problem")
    laws = [
        *(law for metric in METRICS.values() for law in riemannian(metric, A)),
        *invariances(A, generator),
        *mean_laws(A),
        *(libraries(A[:library]) if library else ()),
    ]
    order = {name: i for i, name in enumerate(METRICS)}
    return sorted(laws, key=lambda law: order[law.metric])


def riemannian(metric: RiemannianMetric, A: Tensor) -> Iterator[Law]:
    """What every Riemannian metric promises, between each problem P and the next ones Q, R, S."""
    P, Q, R, S = (A.roll(-shift, 0) for shift in range(4))
    name, far = metric.name, metric.distance(P, Q)
    V, W, X = metric.log(P, Q), metric.log(P, R), metric.log(P, S)

    def law(what: str, measured: Tensor, expected: Tensor, scale: Tensor | None = None) -> Law:
        return Law(what, name, worst(measured, expected, scale), TOLERANCE)

    yield law("d(P, Q) = d(Q, P)", metric.distance(Q, P), far)
    yield law("d(P, P) = 0", metric.distance(P, P), torch.zeros_like(far), far)
    direct, around = metric.distance(P, R), far + metric.distance(Q, R)
    yield law("triangle inequality", (direct - around).relu(), torch.zeros_like(far), direct)
    yield law("exp undoes log", metric.exp(P, V), Q)
    yield law("log undoes exp", metric.log(P, metric.exp(P, W / 2)), W / 2)
    yield law("d is the length of log", metric.inner(P, V, V).sqrt(), far)
    times = torch.linspace(0, 1, 5, dtype=A.dtype, device=A.device)
    along = metric.geodesic(P, Q, times)
    ends = torch.stack([P, Q], 1)
    yield law("geodesics run from P to Q", along[:, [0, -1]], ends)
    steps = metric.distance(along[:, :-1], along[:, 1:])
    yield law("equal parts of a geodesic", steps, far[:, None].expand_as(steps) / 4)
    yield law("geodesics add up", steps.sum(-1), far)

    there, across = metric.transport(P, Q, W), metric.transport(P, Q, X)
    size = (metric.inner(P, W, W) * metric.inner(P, X, X)).sqrt()
    yield law("transport is an isometry", metric.inner(Q, there, across), metric.inner(P, W, X), size)
    yield law("transport keeps a geodesic's velocity", metric.transport(P, Q, V), -metric.log(Q, P))

    few = P[:8]  # n(n+1)/2 matrices each
    basis = metric.basis(few)
    # One row after the other: all at once would be gigabytes.
    gram = torch.stack([metric.inner(few[:, None], basis, V[:, None]) for V in basis.unbind(1)], -1)
    unit = torch.eye(basis.shape[1], dtype=A.dtype, device=A.device).expand_as(gram)
    yield law("the basis is orthonormal", gram, unit)


def invariances(A: Tensor, generator: torch.Generator) -> Iterator[Law]:
    """Which metrics see congruence, rotation and inversion, and where A and A⁻¹ lie to each other."""
    P, Q = A, A.roll(-1, 0)
    inverse, swapped, n = metrics.power(P, -1), metrics.power(Q, -1), A.shape[-1]
    draws = torch.randn(2, len(A), n, n, generator=generator, dtype=A.dtype).to(A.device)
    U, V = torch.linalg.qr(draws).Q
    # Congruences that stretch by 1/2 to 2, in axes of their own.
    stretch = torch.rand(len(A), 1, n, generator=generator, dtype=A.dtype).to(A.device)
    C = (U * 4 ** (stretch - 0.5)) @ V.mT
    for name, metric in METRICS.items():
        far = metric.distance(P, Q)
        for what, mapped, kept in (
            ("congruence", (_congruent(C, P), _congruent(C, Q)), name == "affine-invariant"),
            ("rotation", (_congruent(U, P), _congruent(U, Q)), True),
            ("inversion", (inverse, swapped), name in INVERSION),
        ):
            error = worst(metric.distance(*mapped), far)
            yield Law(
                law=f"invariant under {what}",
                metric=name,
                error=error,
                tolerance=TOLERANCE if kept else BROKEN,
                expected=kept,
            )
        size = torch.linalg.eigvalsh(P).log().norm(dim=-1)
        error, kept = worst(metric.distance(P, inverse), 2 * size), name in INVERSION
        yield Law(
            law="d(A, A⁻¹) = 2‖log A‖", metric=name, error=error, tolerance=TOLERANCE if kept else BROKEN, expected=kept
        )
        half = torch.full((1,), 0.5, dtype=A.dtype, device=A.device)
        middle = metric.geodesic(P, inverse, half)[:, 0]
        error = worst(middle, torch.eye(n, dtype=A.dtype, device=A.device).expand_as(middle))
        yield Law(
            law="I is midway from A to A⁻¹",
            metric=name,
            error=error,
            tolerance=TOLERANCE if kept else BROKEN,
            expected=kept,
        )


def mean_laws(A: Tensor) -> Iterator[Law]:
    """Karcher means: of matrices that commute, of two, of many, and of inverses.

    Eigenvalues of commuting matrices are averaged one by one: as the exponential of the mean logarithm
    (affine-invariant, log-Euclidean), the squared mean root (Bures-Wasserstein), or the mean.
    """
    values, U = torch.linalg.eigh(A)
    commuting = symmetric((U[:1] * values[:, None, :]) @ U[:1].mT)
    geometric = values.log().mean(0).exp()
    for name, metric in METRICS.items():
        spectrum = {"Bures-Wasserstein": values.sqrt().mean(0) ** 2, "Euclidean": values.mean(0)}
        expected = (U[0] * spectrum.get(name, geometric)) @ U[0].mT
        error = worst(metric.mean(commuting)[None], expected[None])
        yield Law("mean of commuting matrices", name, error, TOLERANCE)
        halfway = metric.geodesic(A[0], A[1], torch.full((1,), 0.5, dtype=A.dtype, device=A.device))
        yield Law("mean of two is midway", name, worst(metric.mean(A[:2])[None], halfway), TOLERANCE)
        mean, kept = metric.mean(A), name in INVERSION
        logs = metric.log(mean, A)
        pull, size = logs.mean(0), metric.inner(mean, logs, logs).mean().sqrt()
        slope = metric.inner(mean, pull, pull).sqrt() / size
        yield Law("logarithms at the mean sum to 0", name, float(slope), TOLERANCE)
        answers = metric.mean(metrics.power(A, -1))
        error = worst(answers[None], metrics.power(mean, -1)[None])
        yield Law(
            law="mean of inverses = inverse of mean",
            metric=name,
            error=error,
            tolerance=TOLERANCE if kept else BROKEN,
            expected=kept,
        )


def libraries(A: Tensor) -> Iterator[Law]:
    """Libraries that share nothing with ours: scipy's generalised eigenvalues, and POT; to the next problem."""
    import ot
    from scipy.linalg import eigvalsh

    centre = np.zeros(A.shape[-1])
    for name, library, distance in (
        ("affine-invariant", "scipy", lambda p, q: np.linalg.norm(np.log(eigvalsh(q, p)))),
        ("Bures-Wasserstein", "POT", lambda p, q: ot.gaussian.bures_wasserstein_distance(centre, centre, p, q)),
    ):
        P, Q = A, A.roll(-1, 0)
        theirs = P.new_tensor([distance(*pair) for pair in zip(array(P), array(Q), strict=True)])
        yield Law(f"{library}: distance", name, worst(METRICS[name].distance(P, Q), theirs), TOLERANCE)


def worst(measured: Tensor, expected: Tensor, scale: Tensor | None = None) -> float:
    """Largest ‖measured − expected‖/scale over the first dimension; scale (P,) is ‖expected‖ unless given."""
    difference = (measured - expected).flatten(1).norm(dim=1) if measured.dim() > 1 else (measured - expected).abs()
    if scale is None:
        scale = expected.flatten(1).norm(dim=1) if expected.dim() > 1 else expected.abs()
    return float((difference / scale).max())


def _congruent(C: Tensor, M: Tensor) -> Tensor:
    return symmetric(C @ M @ C.mT)
