"""Equivariance under orthogonal transformations: is a problem the same one in other axes?

Inversion commutes with a change of axes: (QAQᵀ)⁻¹ = QA⁻¹Qᵀ for orthogonal Q. An energy that knows
that has E(QAQᵀ, QyQᵀ) − E(A, y) depend on A alone and S(QAQᵀ, QyQᵀ) = Q S(A, y) Qᵀ for its score S = ∇E
(Cohen & Welling 2016 on networks with symmetries). States are multiples of matrices plus multiples of
I, so that in diffusion coordinates the same turn applies, and isotropic noise stays what it is.

Two groups are asked. Random rotations (Haar) leave the spectrum of A and change the distribution that
its entries come from: an error may be one out of distribution. Signed permutations (the symmetries of
the cube) leave A = 2RRᵀ + cI, R uniform, as likely as it was: an error is the model's alone.

All errors are root mean squares relative to the size of what is compared, over all problems together:
0 for exactly equivariant. `unrelated` is the same where the turned side belongs to another problem:
what two things have that share nothing but their kind.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ired.instruments.core import states as points
from ired.instruments.core.energy_gap import centred
from ired.instruments.core.random_directions import rotations
from ired.instruments.core.sampler import Sampler
from ired.model.protocol import Energy

ROTATIONS, PERMUTATIONS = "rotations", "signed permutations"


@dataclass(frozen=True)
class Alike:
    """How far turned things are from the turn of things, arrays (P,), each a sum over draws.

    missed: squared distance between the two; unrelated: the same to the next problem's; size: what
    squares are relative to.
    """

    missed: NDArray
    unrelated: NDArray
    size: NDArray

    @property
    def error(self) -> float:
        """√(Σ missed / Σ size) over problems; 0 where there is nothing on either side."""
        return self._of(self.missed)

    @property
    def reference(self) -> float:
        """The same of `unrelated`."""
        return self._of(self.unrelated)

    def _of(self, squares: NDArray) -> float:
        return float(np.sqrt(squares.sum() / max(self.size.sum(), np.finfo(np.float64).tiny)))


# Turns


def signed_permutations(count: int, n: int, generator: torch.Generator) -> Tensor:
    """Uniformly drawn permutation matrices with random signs (count, n, n), float64."""
    shape, device = (count, n), generator.device
    order = torch.rand(*shape, generator=generator, dtype=torch.float64, device=device).argsort(-1)
    sign = torch.rand(*shape, generator=generator, dtype=torch.float64, device=device) - 0.5
    return torch.nn.functional.one_hot(order, n).to(sign) * sign.sign()[..., None]


TURNS: dict[str, Callable[[int, int, torch.Generator], Tensor]] = {
    ROTATIONS: rotations,
    PERMUTATIONS: signed_permutations,
}


def conjugated(y: Tensor, Q: Tensor) -> Tensor:
    """QYQᵀ of flattened matrices y (P, d) or (P, M, d), with Q (P, n, n)."""
    n = Q.shape[-1]
    if y.dim() == 3:
        Q = Q[:, None]
    return (Q @ y.unflatten(-1, (n, n)) @ Q.mT).flatten(-2)


# What is asked


@torch.no_grad()
def score_equivariance(energy: Energy, A: Tensor, y: Tensor, k: int, Q: Tensor) -> Alike:
    """S(QAQᵀ, QyQᵀ) beside Q S(A, y) Qᵀ, relative to ‖S‖, at states y (P, M, d) of landscape k.

    A (P, n, n); Q (P, n, n), one turn a problem. Where states are symmetric, so are scores.
    """
    project = energy.coordinates.project
    expected = conjugated(project(energy.gradient(energy.prepare(A), y, k)), Q)
    of_turned = project(energy.gradient(energy.prepare(Q @ A @ Q.mT), conjugated(y, Q), k))
    return _alike(of_turned, expected, expected)


@torch.no_grad()
def gap_equivariance(energy: Energy, A: Tensor, y: Tensor, k: int, Q: Tensor) -> Alike:
    """E(QAQᵀ, QyQᵀ) beside E(A, y) at the M ≥ 2 states y (P, M, d) of each problem, without the mean
    over the states (the free offset), relative to the deviation of E.

    Raises ValueError for a single state, which has no gap."""
    if y.dim() != 3 or y.shape[1] < 2:
        raise ValueError(f"a gap is one between states: two at least, not {tuple(y.shape)}")
    expected = energy.energy(energy.prepare(A), y, k)
    of_turned = energy.energy(energy.prepare(Q @ A @ Q.mT), conjugated(y, Q), k)
    return _alike(centred(of_turned), centred(expected), centred(expected))


@torch.no_grad()
def answer_equivariance(energy: Energy, sampler: Sampler, A: Tensor, start: Tensor, y0: Tensor, Q: Tensor) -> Alike:
    """Sampled answers (P, d) of turned problems from turned starts beside the turned answers, relative
    to how far true answers y₀ (P, d) spread about their mean: a unit that all models share.

    A sampler that clips entries commutes with signed permutations and not with every rotation: where
    it clips, an equivariant energy has an error too.
    """
    both = torch.cat([A, Q @ A @ Q.mT]), torch.cat([start, conjugated(start, Q)])
    sampled, of_turned = sampler(energy, *both).chunk(2)
    return _alike(of_turned, conjugated(sampled, Q), y0 - y0.mean(0))


def _alike(of_turned: Tensor, expected: Tensor, unit: Tensor) -> Alike:
    squares = (of_turned - expected, of_turned - expected.roll(1, 0), unit)
    return Alike(*(points.array(v.pow(2).flatten(1).sum(1)) for v in squares))


# All of it


@dataclass(frozen=True)
class Equivariance:
    """By group of turns ("rotations", "signed permutations") and what is compared ("gap", "score",
    "answer")."""

    alike: dict[tuple[str, str], Alike]

    def columns(self) -> dict[str, list]:
        """Tidy columns: turns, what, error, unrelated."""
        rows = [(*name, alike.error, alike.reference) for name, alike in self.alike.items()]
        names = ("turns", "what", "error", "unrelated")
        return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))


def measure_equivariance(
    energy: Energy,
    A: Tensor,
    y0: Tensor,
    generator: torch.Generator,
    states: int = 8,
    k: int = 0,
    sampler: Sampler | None = None,
    sampled: int | None = None,
) -> Equivariance:
    """Of problems A (P, n, n) with answers y₀ (P, d), one turn each, at `states` noised answers in
    landscape k; with a sampler, of the answers to the first `sampled` problems too."""
    y, _ = points.noised(energy, y0, k, states, generator)
    start = points.noise(energy, len(A), generator=generator, like=A)
    measured, few = {}, slice(0, sampled)
    for name, draw in TURNS.items():
        Q = draw(len(A), A.shape[-1], generator).to(A)
        measured[name, "gap"] = gap_equivariance(energy, A, y, k, Q)
        measured[name, "score"] = score_equivariance(energy, A, y, k, Q)
        if sampler is not None:
            given = A[few], start[few], y0[few], Q[few]
            measured[name, "answer"] = answer_equivariance(energy, sampler, *given)
    return Equivariance(measured)
