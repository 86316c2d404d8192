"""Eigenvalue and eigenvector exchange: which of the two is wrong, for errors of any size.

Eigenvalues and eigenvectors of the answer's symmetric part, Ŷ = Û Λ̂ Ûᵀ, are held against those of the
truth, Y = U Λ Uᵀ, in order of size, and exchanged: U Λ̂ Uᵀ has only the wrong eigenvalues, Û Λ Ûᵀ only
the wrong eigenvectors. ‖Λ̂ − Λ‖² never exceeds ‖Ŷ − Y‖² (Hoffman and Wielandt 1953); for small errors
the two hybrids' squared errors are the eigenvalue and the eigenvector part of `eigen_split`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ired.instruments.core import states
from ired.instruments.core.random_directions import rotations
from ired.instruments.eigen_decomposition.eigen_split import Frame


@dataclass(frozen=True)
class Swap:
    """Answers with one half exchanged for the truth; arrays (..., P), per rank (..., P, n).

    error: ‖Ŷ − Y‖² of the symmetric part Ŷ of an answer; antisymmetric: squared size of the rest;
    values_error: of sampled eigenvalues on true eigenvectors, ‖Λ̂ − Λ‖²; vectors_error: of true
    eigenvalues on sampled eigenvectors; relative: (λ̂ − λ)/λ by rank (Y's smallest first); alignment:
    |u_iᵀû_i|² by rank, for a group of m equal eigenvalues the mean squared cosine of the principal
    angles between its eigenspace and that of the answer's eigenvectors of the same ranks.
    """

    error: NDArray
    antisymmetric: NDArray
    values_error: NDArray
    vectors_error: NDArray
    relative: NDArray
    alignment: NDArray


@torch.no_grad()
def swap(frame: Frame, Y: Tensor, answers: Tensor) -> Swap:
    """Of answers (P, n, n) to the truth Y (P, n, n) whose eigenbases frame holds."""
    answers = answers.to(Y)
    even, odd = (answers + answers.mT) / 2, (answers - answers.mT) / 2
    values, vectors = torch.linalg.eigh(even)
    hybrid = (vectors * frame.values[:, None, :]) @ vectors.mT
    measures = (
        (even - Y).pow(2).sum((-2, -1)),
        odd.pow(2).sum((-2, -1)),
        (values - frame.values).pow(2).sum(-1),
        (hybrid - Y).pow(2).sum((-2, -1)),
        (values - frame.values) / frame.values,
        eigenvector_alignment(frame, vectors),
    )
    return Swap(*(states.array(each) for each in measures))


def swap_over_steps(frame: Frame, Y: Tensor, clean: Iterable[Tensor]) -> Swap:
    """The same for the matrices (P, n, n) of every step: arrays (S, P) and (S, P, n)."""
    rows = [swap(frame, Y, matrices) for matrices in clean]
    return Swap(*(np.stack([getattr(row, part.name) for row in rows]) for part in fields(Swap)))


def eigenvector_alignment(frame: Frame, vectors: Tensor) -> Tensor:
    """Squared overlaps (P, n) of eigenvectors (P, n, n) with those of the truth of the same ranks;
    shared by a group: ‖U_gᵀ Û_g‖²/m, the mean squared cosine of the principal angles."""
    overlap = (frame.vectors.mT @ vectors).pow(2)  # row: true, column: sampled
    together = frame.together.to(overlap)
    within = together @ overlap @ together  # summed over the two groups
    return within.diagonal(dim1=-2, dim2=-1) / together.sum(-1)


def chance_alignment(frame: Frame) -> NDArray:
    """What uniformly drawn eigenvectors have on average, (P, n): m/n for a group of m."""
    return states.array(frame.together.sum(-1).to(frame.values) / frame.n)


def matched_alignment(frame: Frame, answers: Tensor) -> NDArray:
    """|u_iᵀû_j|² (P, n) with j assigned to i so that the sum is largest (Hungarian method).

    Eigenvectors that only changed ranks count as found. By rank of the true eigenvalue; groups are not
    joined."""
    from scipy.optimize import linear_sum_assignment

    vectors = torch.linalg.eigh((answers + answers.mT).to(frame.vectors) / 2).eigenvectors
    overlaps = states.array((frame.vectors.mT @ vectors).pow(2))
    return np.stack([o[linear_sum_assignment(o, maximize=True)] for o in overlaps])


def random_answers(frame: Frame, generator: torch.Generator) -> Tensor:
    """The true eigenvalues on uniformly drawn eigenvectors (P, n, n): what `matched_alignment` finds by
    chance is measured on them (the best of n! assignments exceeds 1/n)."""
    Q = rotations(len(frame.vectors), frame.vectors.shape[-1], generator).to(frame.vectors)
    return (Q * frame.values[:, None, :]) @ Q.mT


def blind_values_error(frame: Frame) -> NDArray:
    """Squared error (P,) of the other problems' mean spectrum: eigenvalues without having seen A."""
    values = states.array(frame.values)
    others = (values.sum(0) - values) / (len(values) - 1)
    return ((others - values) ** 2).sum(-1)


def random_vectors_error(frame: Frame) -> NDArray:
    """Expected squared error (P,) of the true eigenvalues on uniformly drawn eigenvectors:
    E‖QΛQᵀ − Λ‖² = 2(‖Λ‖² − (tr Λ)²/n)."""
    values = states.array(frame.values)
    return 2 * values.shape[-1] * values.var(-1)


def principal_angles(U: Tensor, V: Tensor) -> Tensor:
    """Principal angles (..., m) in radians, largest first, between the spaces that the orthonormal
    columns of U and V (..., n, m) span.

    Cosines are poor for small angles and sines for large ones, so each is used where it is good
    (Björck and Golub 1973; Knyazev and Argentati 2002), as in scipy.linalg.subspace_angles.
    """
    overlap = U.mT @ V
    cosine = torch.linalg.svdvals(overlap).flip(-1).clamp(-1, 1)
    sine = torch.linalg.svdvals(V - U @ overlap).clamp(-1, 1)
    return torch.where(cosine**2 >= 0.5, sine.asin(), cosine.acos())


@torch.no_grad()
def leading_angles(frame: Frame, answers: Tensor, dimension: int) -> Tensor:
    """Principal angles (P, dimension) between the spaces of the `dimension` largest eigenvalues of the
    truth and of the symmetric part of answers (P, n, n).

    Raises ValueError where the truth has no such space: the next eigenvalue belongs to the same group.
    """
    if not 0 < dimension < frame.n:
        raise ValueError(f"a space of {dimension} of {frame.n} dimensions has no angles")
    cut = frame.groups[:, -dimension] == frame.groups[:, -dimension - 1]
    if cut.any():
        place = int(cut.nonzero()[0])
        raise ValueError(f"problem {place}: the space of the {dimension} largest eigenvalues cuts a group")
    vectors = torch.linalg.eigh((answers + answers.mT).to(frame.vectors) / 2).eigenvectors
    return principal_angles(frame.vectors[..., -dimension:], vectors[..., -dimension:])
