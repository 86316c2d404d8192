"""First-order eigenvalue perturbation: errors and gradients split into an eigenvalue and an eigenvector part.

In the eigenbasis of the true inverse, Y = U Λ Uᵀ, a symmetric deviation D moves eigenvalue i by
(UᵀDU)_ii and turns eigenvector j towards i by (UᵀDU)_ij / (λ_j − λ_i) (Rayleigh; Kato 1966, II.2;
Stewart and Sun 1990, V.2.3): the diagonal of UᵀDU is the eigenvalue part, the rest the eigenvector
part. Eigenvalues nearer to each other than a tolerance make one group, whose eigenvectors nobody can
tell apart: the whole block of a group belongs to the eigenvalue part. An antisymmetric deviation is a
third part. The squared sizes of the three add up to ‖D‖².

First order means small: a multiple of I has no eigenvectors, so that its deviation is all eigenvalue
part, whatever it knows of them. What holds for deviations of any size stands in `eigen_exchange`.

On the energy of a prediction m(A) the parts are those of the prediction's own errors, from the first step of sampling
on; a linear map of A alone, which shares its eigenvectors, has no eigenvector part but the noise's. What such an energy
shows as well says nothing of a learned one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ired.instruments.core import states as points
from ired.instruments.geometry import metrics
from ired.instruments.statistics.intervals import Interval, spearman_interval, student_interval
from ired.model.protocol import Energy

TOLERANCE = 1e-8  # of the largest eigenvalue; eigh errs by a few 1e-16 of it
Score = Callable[[Tensor, int, Tensor], Tensor]  # of states (P, M, d), k and their noise


@dataclass(frozen=True)
class Frame:
    """Eigenbases of P true inverses. values (P, n) rise; vectors (P, n, n) in columns; groups (P, n)
    number the eigenspaces: neighbours closer than the tolerance share one."""

    values: Tensor
    vectors: Tensor
    groups: Tensor

    @classmethod
    def of(cls, Y: Tensor, tolerance: float = TOLERANCE) -> Frame:
        """Of symmetric positive definite Y (P, n, n); tolerance is relative to the largest eigenvalue.

        Raises ValueError (see `metrics.require_spd`) where a matrix is none."""
        values, vectors = torch.linalg.eigh(metrics.require_spd(Y, "true inverse"))
        apart = values.diff(dim=-1) > tolerance * values[:, -1:]
        first = torch.zeros_like(values[:, :1], dtype=torch.long)
        return cls(values, vectors, torch.cat([first, apart.cumsum(-1)], dim=-1))

    @property
    def n(self) -> int:
        return self.values.shape[-1]

    def first(self, count: int) -> Frame:
        """The eigenbases of the first problems."""
        return Frame(*(getattr(self, part.name)[:count] for part in fields(self)))

    @property
    def condition(self) -> NDArray:
        """Condition numbers (P,)."""
        return points.array(self.values[:, -1] / self.values[:, 0])

    @property
    def together(self) -> Tensor:
        """Which pairs of eigenvectors belong to one group, (P, n, n) bool."""
        return self.groups[:, :, None] == self.groups[:, None, :]

    @property
    def isotropic(self) -> Tensor:
        """Share of isotropic symmetric noise in the eigenvalue part, (P,): its share of the
        dimensions, n/(n(n+1)/2) = 2/(n+1) where all eigenvalues are distinct."""
        dimensions = self.together.to(self.values).sum((-2, -1)) + self.n  # Σ m(m+1) over groups of m
        return dimensions / (self.n * (self.n + 1))

    def turned(self, D: Tensor) -> Tensor:
        """Uᵀ D U of D (..., P, n, n)."""
        return self.vectors.mT @ D @ self.vectors

    def random_basis(self, D: Tensor) -> Tensor:
        """Expected share of symmetric D (..., P, n, n) in the eigenvalue part, were U drawn uniformly.

        An error with a trace lies on every basis's diagonal, whatever it has seen: for a space of
        dimension m, E‖PDP‖² = a‖D‖² + b(tr D)² (the second moments of Haar projectors), which for
        m = 1 is (2‖D‖² + (tr D)²) / (n(n+2)). NaN where D = 0."""
        n = self.n
        m = self.together.sum(-1).to(self.values)  # each group is counted m times, with weight 1/m
        b = (n - m) / (n * (n + 2) * max(n - 1, 1))
        a = (m + 2) / (n * (n + 2)) - b
        trace = D.diagonal(dim1=-2, dim2=-1).sum(-1) ** 2
        return a.sum(-1) + b.sum(-1) * trace / D.pow(2).sum((-2, -1))


@dataclass(frozen=True)
class Parts:
    """Squared Frobenius norms of the parts of deviations: tensors or arrays of one shape.

    random: the share that the same deviations would have in uniformly drawn eigenbases (it depends
    on their trace alone), see `Frame.random_basis`.
    """

    eigenvalue: Tensor | NDArray
    eigenvector: Tensor | NDArray
    antisymmetric: Tensor | NDArray
    random: Tensor | NDArray

    @property
    def symmetric(self) -> Tensor | NDArray:
        return self.eigenvalue + self.eigenvector

    @property
    def total(self) -> Tensor | NDArray:
        return self.symmetric + self.antisymmetric

    @property
    def share(self) -> Tensor | NDArray:
        """Of the symmetric part, what the eigenvalue part has; NaN where there is none."""
        return self.eigenvalue / self._symmetric_or_nan()

    @property
    def odd_share(self) -> Tensor | NDArray:
        """Of all, what the antisymmetric part has; NaN where there is nothing."""
        return 1 - self._symmetric_or_nan() / self.total

    def _symmetric_or_nan(self) -> Tensor | NDArray:
        where = torch.where if isinstance(self.symmetric, Tensor) else np.where
        nothing = self.symmetric * 0 + float("nan")
        return where(self.symmetric > 0, self.symmetric, nothing)

    def array(self) -> Parts:
        return Parts(*(points.array(getattr(self, part.name)) for part in fields(self)))

    def columns(self, axes: dict[str, Sequence]) -> dict[str, NDArray]:
        """Tidy columns, axes (name → labels) being those of the arrays, in order."""
        named = {part.name: getattr(self, part.name) for part in fields(self)}
        return points.tidy_columns(axes, **named, share=self.share)


def eigen_parts(frame: Frame, D: Tensor) -> Parts:
    """The parts of deviations D (..., P, n, n), tensors (..., P). Raises ValueError where D is not
    finite."""
    if not D.isfinite().all():
        place = (~D.isfinite()).flatten(-2).any(-1).nonzero()[0].tolist()
        raise ValueError(f"deviation {place} is not finite")
    even, odd = _even(D), (D - D.mT) / 2
    squares = frame.turned(even) ** 2
    eigenvalue = (squares * frame.together).sum((-2, -1))
    eigenvector = (squares * ~frame.together).sum((-2, -1))
    return Parts(eigenvalue, eigenvector, odd.pow(2).sum((-2, -1)), frame.random_basis(even))


def angles(frame: Frame, D: Tensor) -> Tensor:
    """First-order rotations θ_ij = (UᵀDU)_ij / (λ_j − λ_i) of D's symmetric part, (..., P, n, n) in
    radians: how far eigenvector j turns towards i; antisymmetric, 0 within a group."""
    gaps = frame.values[:, None, :] - frame.values[:, :, None]
    return frame.turned(_even(D)) / torch.where(frame.together, torch.inf, gaps)


def profile(frame: Frame, D: Tensor) -> Tensor:
    """Squared entries of UᵀDU of D's symmetric part, (P, n, n), as shares of their sum.

    Row and column 0 belong to Y's smallest eigenvalue, the last to its largest (A's smallest)."""
    squares = frame.turned(_even(D)) ** 2
    return squares / squares.sum((-2, -1), keepdim=True)


def touching_largest(profile: Tensor) -> Tensor:
    """Share (P,) of the squared deviation in the row and column of Y's largest eigenvalue.

    Isotropic noise: n of n(n+1)/2 dimensions, 2/(n+1)."""
    last = profile[:, -1]
    return 2 * last.sum(-1) - last[:, -1]


# Over landscapes


def score_of_energy(energy: Energy, A: Tensor) -> Score:
    """∇E as a score."""
    prepared = energy.prepare(A)
    return lambda y, k, epsilon: energy.coordinates.project(energy.gradient(prepared, y, k))


def blind_multiple(y: Tensor, k: int, epsilon: Tensor) -> Tensor:
    """The best multiple of the state, one number for a landscape, fitted to these very points: a
    score that never sees A."""
    return y * ((y * epsilon).sum() / (y * y).sum())


def score_of_answers(energy: Energy, y: Tensor) -> Score:
    """The score of one who takes y (P, d) for the answers."""
    return lambda at, k, epsilon: (at - points.centre(energy, y, k)[:, None]) / points.sigma(energy, k)


@torch.no_grad()
def parts_at_noise(
    energy: Energy,
    score: Score,
    frame: Frame,
    y0: Tensor,
    landscapes: Sequence[int],
    samples: int,
    generator: torch.Generator,
    clip: float = float("inf"),
) -> dict[str, Parts]:
    """Parts at noised answers, arrays (L, P), means over `samples` noised answers of each problem.

    y0 (P, d) are the encoded true answers; energy gives coordinates and schedule, score what is
    looked at. "gradient": ∇E; "score error": ∇E − ε, what is wrong with it (an estimate without a
    clip errs by σ_k/√ᾱ_k times that, with the same shares); "estimate": the clean estimate as the
    sampler makes it, entries clipped to ±clip, minus the truth, in units of the matrices.
    """
    c = energy.coordinates
    quantities = {name: [] for name in ("gradient", "score error", "estimate")}
    for k in landscapes:
        y, epsilon = points.noised(energy, y0, k, samples, generator)
        g = score(y, k, epsilon)
        clean = (y - points.sigma(energy, k) * g) / energy.schedule.sqrt_alpha_bar[k].item()
        wrong = g - epsilon
        # An exact score leaves rounding behind, which has no parts.
        wrong = torch.where(wrong.abs().max() <= 1e-10 * epsilon.abs().max(), 0.0, wrong)
        for name, D in (
            ("gradient", g),
            ("score error", wrong),
            ("estimate", c.scale * (clean.clamp(-clip, clip) - y0[:, None])),
        ):
            parts = eigen_parts(frame, D.transpose(0, 1).unflatten(-1, (c.n, c.n)))
            quantities[name].append([getattr(parts, part.name).mean(0) for part in fields(parts)])
    return {
        name: Parts(*(torch.stack(part) for part in zip(*rows, strict=True))).array()
        for name, rows in quantities.items()
    }


# Over the steps of sampling


@torch.no_grad()
def parts_over_steps(clean: Iterable[Tensor], frame: Frame, Y: Tensor) -> Parts:
    """Parts of (clean − Y) for the matrices (P, n, n) of every step: arrays (S, P)."""
    rows = [eigen_parts(frame, matrices.to(Y) - Y).array() for matrices in clean]
    return Parts(*(np.stack([getattr(row, part.name) for row in rows]) for part in fields(Parts)))


@dataclass(frozen=True)
class Aim:
    """How ∇E at sampled states lies to the displacement from the answer; arrays (S, P).

    gradient: its parts; cosine_eigenvalue, cosine_eigenvector: of ∇E to y − √ᾱ_k y₀ within each part
    (1: straight away from the answer, what the ideal energy has; 0 where either vanishes).
    """

    gradient: Parts
    cosine_eigenvalue: NDArray
    cosine_eigenvector: NDArray


@torch.no_grad()
def aim(energy: Energy, A: Tensor, frame: Frame, y0: Tensor, y: Iterable[Tensor], landscapes: Sequence[int]) -> Aim:
    """∇E at states y, S of (P, d), each in its landscape, beside what leads away from answers y0."""
    prepared, c = energy.prepare(A), energy.coordinates
    rows, cosines = [], []
    for states, k in zip(y, landscapes, strict=True):
        states = states.to(y0)
        g = c.project(energy.gradient(prepared, states, int(k)))
        displacement = c.project(states) - points.centre(energy, y0, int(k))
        rows.append(eigen_parts(frame, g.unflatten(-1, (c.n, c.n))).array())
        a, b = (frame.turned(_even(v.unflatten(-1, (c.n, c.n)))) for v in (g, displacement))
        masks = (frame.together, ~frame.together)
        cosines.append([_cosine(a * mask, b * mask) for mask in masks])
    parts = Parts(*(np.stack([getattr(row, part.name) for row in rows]) for part in fields(Parts)))
    return Aim(parts, *(points.array(torch.stack(cosine)) for cosine in zip(*cosines, strict=True)))


def fallen(values: NDArray, share: float = 0.5, of: NDArray | None = None) -> NDArray:
    """Steps (P,) after row 0 of values (S, P) until each is first at most share × `of` (P,), by default
    its first value.

    S where that never happens: later than every step that was seen."""
    below = values <= share * (values[0] if of is None else of)
    return np.where(below.any(0), below.argmax(0), len(values))


def mean_curves(measures: dict[str, NDArray], rows: dict[str, Sequence], **labels: str) -> list[dict]:
    """Means of measures (R, P) over problems, a record for each measure and row: labels, those of
    `rows` (R values each), measure, mean, low, high (Student's t, 95 %), units.

    Problems where a measure is not defined are left out, rows with fewer than two others too."""
    records = []
    for measure, values in measures.items():
        for row, of_row in enumerate(values):
            of_row = of_row[np.isfinite(of_row)]
            if len(of_row) < 2:
                continue
            interval = student_interval(of_row)
            place = {name: each[row] for name, each in rows.items()}
            records.append(
                {
                    **labels,
                    **place,
                    "measure": measure,
                    "mean": interval.estimate,
                    "low": interval.low,
                    "high": interval.high,
                    "units": len(of_row),
                }
            )
    return records


# Against the condition number


@dataclass(frozen=True)
class AgainstCondition:
    """A measure against the condition number: Spearman's rho over problems, and means in strata.

    strata: rows stratum, condition (geometric mean), mean, low, high (Student's t), units.
    """

    rho: Interval
    strata: list[dict[str, float]]


def against_condition(values: NDArray, condition: NDArray, strata: int = 4) -> AgainstCondition:
    """Of values (P,) and condition numbers (P,); strata of equal size by rank, fewer where they would
    not have two problems each. Problems where the value is not defined are left out."""
    known = np.isfinite(values)
    values, condition = values[known], condition[known]
    rows, order = [], np.argsort(condition, kind="stable")
    for number, stratum in enumerate(np.array_split(order, max(1, min(strata, len(order) // 2)))):
        interval = student_interval(values[stratum])
        rows.append(
            {
                "stratum": number,
                "condition": float(np.exp(np.log(condition[stratum]).mean())),
                "mean": interval.estimate,
                "low": interval.low,
                "high": interval.high,
                "units": len(stratum),
            }
        )
    return AgainstCondition(spearman_interval(values, condition, resamples=999), rows)


def _even(D: Tensor) -> Tensor:
    return (D + D.mT) / 2


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    size = a.pow(2).sum((-2, -1)) * b.pow(2).sum((-2, -1))
    product = (a * b).sum((-2, -1))
    return torch.where(size > 0, product / size.clamp_min(torch.finfo(a.dtype).tiny).sqrt(), 0.0)
