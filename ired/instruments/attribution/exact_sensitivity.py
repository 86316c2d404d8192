"""The exact sensitivity of the inverse, dY = −Y dA Y: the ground truth that attributions and subspaces are held
against.

Completeness says nothing about validity: sums can be right and attributions wrong. Here the derivative of what the
network is trained to give is known in closed form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pandas import DataFrame, concat
from torch import Tensor

from ired.instruments.attribution.integrated_gradients import ROWS, Answer, Case, PathIntegrals, Target, score_entry
from ired.instruments.core import random_directions, states
from ired.instruments.core.states import symmetric
from ired.instruments.statistics.intervals import Interval, mean_interval, paired_interval, student_interval
from ired.instruments.statistics.tables import per_unit
from ired.model.protocol import Energy

RANDOM = 500  # random subspaces or directions that a share is held against


# In closed form, and by autograd


def exact_jacobian(energy: Energy, A: Tensor) -> Tensor:
    """∂(basis coordinates of y₀)/∂A, (P, size, n, n): −(Y E_ij Y)/scale, with dA symmetric."""
    n, scale = energy.coordinates.n, energy.coordinates.scale
    Y = torch.linalg.inv(A)
    by_entry = -torch.einsum("pki,pjl->pklij", Y, Y) / scale
    return symmetric(energy.coordinates.to_basis(by_entry.reshape(len(A), n, n, n * n)).movedim(-1, 1))


def exact_score_sensitivity(energy: Energy, A: Tensor, k: int, entry: tuple[int, int]) -> Tensor:
    """∂/∂A (P, n, n) of entry (i, j) of the ideal score (y − √ᾱ_k y₀)/σ_k: with Y = shift·I + scale·y₀ and
    dY = −Y dA Y it is √ᾱ_k/(σ_k·scale)·Y E_ij Y, with dA symmetric."""
    Y, (i, j) = torch.linalg.inv(A), entry
    size = states.centre(energy, 1.0, k) / (states.sigma(energy, k) * energy.coordinates.scale)
    return symmetric(size * Y[:, :, i, None] * Y[:, None, j, :])


def jacobian(energy: Energy, answer: Answer, A: Tensor, start: Tensor, rows: int = ROWS) -> Tensor:
    """∂(basis coordinates of answer(A, start))/∂A, (P, size, n, n), with dA symmetric; by autograd."""
    unit = states.state_basis(energy, start)
    problems, starts = (v.repeat_interleave(len(unit), 0).split(rows) for v in (A, start))
    gradients = []
    for problem, begin, out in zip(problems, starts, unit.repeat(len(A), 1).split(rows), strict=True):
        problem = problem.clone().requires_grad_()
        gradients.append(torch.autograd.grad((answer(problem, start=begin) * out).sum(), problem)[0])
    return symmetric(torch.cat(gradients).unflatten(0, (len(A), len(unit))))


def gradients_by_problem(target: Target, A: Tensor, y: Tensor) -> Tensor:
    """∂F/∂A (P, n, n) for symmetric changes of A, by captum."""
    from captum.attr import Saliency

    leaf = A.detach().clone().requires_grad_()
    gradient = Saliency(target.value).attribute(leaf, additional_forward_args=(y, *target.given), abs=False)
    return symmetric(gradient.detach())


# How attributions agree with it


def cosine(first: Tensor, second: Tensor) -> Tensor:
    """Cosines (P,) of rows (P, …); 0 where one of them is 0."""
    return torch.nn.functional.cosine_similarity(first.flatten(1), second.flatten(1), dim=1, eps=1e-30)


def sensitivity_agreement(measured: Tensor, exact: Tensor, **labels: str | int) -> DataFrame:
    """One row a problem: the cosine of measured (P, …) to exact; `slope`, the multiple of exact that is nearest to it;
    `shuffled`, the cosine to another problem's exact one. Labels become columns."""
    near = cosine(measured, exact)
    norms = [v.flatten(1).norm(dim=1) for v in (measured, exact)]
    columns = {
        "cosine": states.array(near),
        "slope": states.array(near * norms[0] / norms[1].clamp_min(1e-300)),
        "shuffled": states.array(cosine(measured, exact.roll(1, 0))),
    }
    return DataFrame(columns).assign(problem=range(len(measured)), **labels)


def gradient_agreement(
    energies: Mapping[str, Energy],
    A: Tensor,
    landscapes: Sequence[int],
    entries: Sequence[tuple[int, int]],
    generator: torch.Generator,
) -> DataFrame:
    """Plain gradients of score entries by A at noised answers, the same for all energies, against the exact
    sensitivity."""
    tables, first = [], next(iter(energies.values()))
    y0 = states.answers(first, A)
    for k in landscapes:
        y = states.noised(first, y0, k, count=1, generator=generator)[0][:, 0]
        for entry in entries:
            exact = exact_score_sensitivity(first, A, k, entry)
            for name, energy in energies.items():
                target = score_entry(energy, k, entry)
                gradients = gradients_by_problem(target, A, y)
                tables.append(sensitivity_agreement(gradients, exact, energy=name, landscape=k, target=target.name))
    return concat(tables, ignore_index=True)


def integral_agreement(
    by_energy: Mapping[str, Mapping[Case, PathIntegrals]], ideal: Mapping[Case, PathIntegrals]
) -> DataFrame:
    """Attributions to A, by energy, against the ideal score's of the same case: along the same path, which must keep
    to positive definite problems. Symmetric changes of A alone."""
    tables = []
    for name, cases in by_energy.items():
        for (target, baseline, k), exact in ideal.items():
            both = (cases[target, baseline, k], exact)
            maps = (symmetric(paths.attributions()[0]) for paths in both)
            labels = {"energy": name, "target": target, "baseline": baseline, "landscape": k}
            tables.append(sensitivity_agreement(*maps, **labels))
    return concat(tables, ignore_index=True)


def jacobian_agreement(answers: Mapping[str, Answer], energy: Energy, A: Tensor, start: Tensor, rows: int) -> DataFrame:
    """Jacobians of sampled answers, by energy, against the exact one; `energy` has the coordinates."""
    exact = exact_jacobian(energy, A)
    tables = [
        sensitivity_agreement(jacobian(energy, answer, A, start=start, rows=rows), exact, energy=name, landscape=0)
        for name, answer in answers.items()
    ]
    return concat(tables, ignore_index=True)


@dataclass(frozen=True)
class Margins:
    """The trained energy's mean cosine to the exact sensitivity, how far it exceeds the untrained one's and that to
    another problem's exact one (paired, over problems), and the mean slope."""

    cosine: Interval
    above_untrained: Interval
    above_other_problem: Interval
    slope: float

    @classmethod
    def of(cls, table: DataFrame) -> Margins:
        """Of rows of `sensitivity_agreement`."""
        near, other = (per_unit(table, what, energy="trained") for what in ("cosine", "shuffled"))
        untrained = per_unit(table, "cosine", energy="untrained")
        return cls(
            cosine=mean_interval(near),
            above_untrained=paired_interval(near, untrained),
            above_other_problem=paired_interval(near, other),
            slope=float(per_unit(table, "slope", energy="trained").mean()),
        )

    def surely(self) -> bool:
        return self.above_untrained.low > 0 and self.above_other_problem.low > 0

    def numbers(self) -> dict[str, float]:
        """The means, and the lower ends of the differences."""
        return {
            "cosine": self.cosine.estimate,
            "slope": self.slope,
            "above_untrained.low": self.above_untrained.low,
            "above_other_problem.low": self.above_other_problem.low,
        }


# How much of it subspaces capture


def captured(energy: Energy, A: Tensor, rows: Tensor) -> Tensor:
    """Share of the exact sensitivity of the inverse along each of orthonormal rows (m, size): (P, m).

    dY = −Y E Y for E in all directions of symmetric matrices alike. Along V its square is ‖Y V Y‖² in the mean over
    E, and (tr²(Y²) + tr(Y⁴))/2 in all, so shares of a full basis sum to 1. Each problem counts the same:
    ill-conditioned ones would outweigh all others.
    """
    Y = torch.linalg.inv(A.double())
    return _moved(energy, Y, rows).pow(2).sum(-1) / _squared_sensitivity(Y)[:, None]


def mean_sensitivity(energy: Energy, A: Tensor, chunk: int = 50) -> Tensor:
    """S (size, size): rᵀ S r is the mean of `captured` along a unit row r, over problems A (P, n, n). Its leading
    eigenvectors are the fixed subspace that captures most."""
    eye = torch.eye(energy.coordinates.size, dtype=torch.float64, device=A.device)
    total = torch.zeros_like(eye)
    for problems in A.split(chunk):
        Y = torch.linalg.inv(problems.double())
        moved = _moved(energy, Y, eye) / _squared_sensitivity(Y).sqrt()[:, None, None]
        moved = moved.transpose(0, 1).flatten(1)
        total += moved @ moved.mT
    return total / len(A)


def captured_by_chance(S: Tensor, m: int, draws: int, generator: torch.Generator) -> NDArray:
    """Mean shares (draws,) that random m-dimensional subspaces capture, S as of `mean_sensitivity`."""
    subspaces = [random_directions.orthonormal(m, len(S), generator, S) for _ in range(draws)]
    return np.array([float(((rows @ S) * rows).sum()) for rows in subspaces])


def captures(
    energy: Energy, A: Tensor, S: Tensor, k: int, spans: Mapping[str, Tensor], generator: torch.Generator
) -> DataFrame:
    """What subspaces of one dimension, orthonormal rows (m, size) by name, capture of the sensitivity of problems A
    (P, n, n), the mean of which is S.

    Rows of landscape, source (the name), dimension, share with its interval over problems (low, high); chance: a
    random subspace's, m/size; limit: what 95 % of RANDOM random ones stay under, of the same mean over these
    problems; p: how often a random one reaches the share.
    """
    m = len(next(iter(spans.values())))
    null, rows = captured_by_chance(S, m, RANDOM, generator), []
    for source, span in spans.items():
        row = {"landscape": k, "source": source, "dimension": m}
        share = states.array(captured(energy, A, span).sum(1))
        rows.append(row | beside_chance(share, null) | {"chance": m / len(S)})
    return DataFrame(rows)


def beside_chance(values: NDArray, null: NDArray) -> dict[str, float]:
    """The mean share over problems (P,) with Student's t interval (share, low, high), beside means by chance (draws,):
    limit, what 95 % of them stay under, and p, how often one reaches the share."""
    mean = student_interval(values)
    return {
        "share": mean.estimate,
        "low": mean.low,
        "high": mean.high,
        "limit": float(np.quantile(null, 0.95)),
        "p": float((1 + (null >= mean.estimate).sum()) / (1 + len(null))),
    }


def _moved(energy: Energy, Y: Tensor, rows: Tensor) -> Tensor:
    """Y sym(V) Y of rows (m, size) and inverses Y (P, n, n): (P, m, d)."""
    n = energy.coordinates.n
    V = energy.coordinates.from_basis(rows).unflatten(-1, (n, n)).to(Y)
    return (Y[:, None] @ symmetric(V) @ Y[:, None]).flatten(-2)


def _squared_sensitivity(Y: Tensor) -> Tensor:
    """(tr²(Y²) + tr(Y⁴))/2 of inverses Y (P, n, n): (P,)."""
    square = Y @ Y
    trace, trace_of_square = (M.diagonal(dim1=-2, dim2=-1).sum(-1) for M in (square, square @ square))
    return (trace**2 + trace_of_square) / 2
