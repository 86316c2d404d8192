"""How much of a matrix-valued direction or field lies along the eigenvectors of each problem's A, q_i q_iᵀ.

PCA over problems cannot see this, since axes turn from problem to problem.
"""

from __future__ import annotations

import torch
from pandas import DataFrame
from torch import Tensor

from ired.instruments.attribution.exact_sensitivity import RANDOM, beside_chance
from ired.instruments.core import random_directions
from ired.instruments.core.states import array
from ired.instruments.statistics.intervals import student_interval
from ired.model.protocol import Energy


def frame_shares(energy: Energy, A: Tensor, rows: Tensor) -> Tensor:
    """Shares (P, m, n) of unit rows (m, size) along q_i q_iᵀ, A's eigenvectors, eigenvalues ascending.

    They sum to the share in matrices that commute with A, in the mean 2/(n + 1) for a random symmetric direction, and
    1 for the identity.
    """
    n = energy.coordinates.n
    V = energy.coordinates.from_basis(rows).unflatten(-1, (n, n))
    Q = torch.linalg.eigh(A).eigenvectors.to(V)
    return torch.einsum("pai,mab,pbi->pmi", Q, V, Q).pow(2)


def framed(energy: Energy, A: Tensor, k: int, rows: Tensor, generator: torch.Generator) -> DataFrame:
    """The share of components (m, size) in matrices that commute with A (P, n, n).

    Rows of landscape, component, share with its interval over problems (low, high); rank: of the eigenvalue that most
    of it belongs to, 1 the smallest; limit: what 95 % of RANDOM random directions stay under, of the same mean; p: how
    often a random one reaches the share.
    """
    width = rows.shape[-1]
    blind = torch.cat([random_directions.orthonormal(1, width, generator, rows) for _ in range(RANDOM)])
    null = array(frame_shares(energy, A, blind).sum(-1).mean(0))
    by_component = array(frame_shares(energy, A, rows)).transpose(1, 0, 2)
    return DataFrame(
        [
            {"landscape": k, "component": component, "rank": int(shares.mean(0).argmax()) + 1}
            | beside_chance(shares.sum(-1), null)
            for component, shares in enumerate(by_component, 1)
        ]
    )


def frame_power(energy: Energy, A: Tensor, field: Tensor) -> Tensor:
    """Where in each problem's eigenvectors a field (L, P, M, size) is: shares (L, P, n, n) of its square along
    q_i q_jᵀ, eigenvalues ascending."""
    n = energy.coordinates.n
    Q = torch.linalg.eigh(A).eigenvectors.to(field)[:, None]
    power = []
    for landscape in field:
        G = energy.coordinates.from_basis(landscape).unflatten(-1, (n, n))
        power.append((Q.mT @ G @ Q).pow(2).sum(1))
    power = torch.stack(power)
    return power / power.sum((-2, -1), keepdim=True)


def framed_field(energy: Energy, A: Tensor, field: Tensor) -> DataFrame:
    """The share of a field (L, P, M, size) along q_i q_iᵀ of each problem's A: rows of landscape, share with Student's
    t interval over problems (low, high), chance: n/size, an isotropic field's."""
    power = array(frame_power(energy, A, field).diagonal(dim1=-2, dim2=-1).sum(-1))
    chance = energy.coordinates.n / energy.coordinates.size
    return DataFrame(
        [
            {"landscape": k, "share": mean.estimate, "low": mean.low, "high": mean.high, "chance": chance}
            for k, mean in enumerate(map(student_interval, power))
        ]
    )
