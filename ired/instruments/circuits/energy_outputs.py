"""Direct attribution of an energy E = Σ_i f_i² to its outputs: what each carries of its gaps, what of its score.

E itself carries an offset that depends on the problem alone, so what is split is the gap of a state to
the answer, in units of σ_k, and the score:

    E(y) − E(√ᾱ_k y₀) = Σ_i (f_i(y)² − f_i(√ᾱ_k y₀)²)        ‖∇E‖² = Σ_i 2 f_i ⟨∇f_i, ∇E⟩

"beyond" splits the part of the score that the best multiple of the state, which needs no A, does not
give. There are as many outputs as a state has basis coordinates, which suggests that output i belongs
to coordinate i. Nothing in the energy says so: ‖Qf‖² is the same for every orthogonal Q. So what
outputs show is held against outputs turned at random ("turned"). Besides the entries of the matrix F
that f would stand for ("entry"), its entries in the eigenbasis of the true inverse are looked at,
Vᵀ F V ("eigen"), beside those in another problem's ("foreign").

The bowl around a prediction has outputs too, ½H's symmetric root of the displacement, which lie as near to
entries as any of its turns (`ired.model.reference.PredictorEnergy`). Where H is a multiple of I and the
prediction is right, they are the noise itself: as many of them carry the gap as of squares of normal
numbers, each from its own coordinate alone, in every basis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ired.instruments.core import states as points
from ired.instruments.core.energy_gap import above
from ired.instruments.core.patching import blind_score
from ired.instruments.core.random_directions import rotations
from ired.instruments.core.states import array
from ired.instruments.statistics.intervals import Interval, ratio_interval
from ired.model.protocol import Energy

OUTPUT = "fc4"
MEASURES = ("gap", "score", "beyond")
BASES = ("entry", "eigen", "foreign", "turned")
PARTS = ("constant", "problem", "ripple")
MOST = 0.8  # of an effect: how many carry that much


# Bases of the outputs


@dataclass(frozen=True)
class Frames:
    """Eigenbases of P true inverses and random turns of all outputs.

    values (P, n) ascending and vectors (P, n, n), in columns, of A⁻¹; turns (D, size, size) orthogonal.
    """

    values: Tensor
    vectors: Tensor
    turns: Tensor

    @staticmethod
    def of(energy: Energy, A: Tensor, draws: int, generator: torch.Generator) -> Frames:
        """Of problems A (P, n, n). Turns are Haar-distributed."""
        values, vectors = torch.linalg.eigh(A.double())
        size = energy.coordinates.size
        return Frames(1 / values.flip(-1), vectors.flip(-1), rotations(draws, size, generator).to(A))

    def view(self, energy: Energy, basis: str, z: Tensor) -> Tensor:
        """Outputs z (P, M, size) in a basis: (P, M, size), or (D, P, M, size) turned."""
        if basis == "entry":
            return z
        if basis == "turned":
            return torch.einsum("dij,pmj->dpmi", self.turns, z)
        V = self.vectors if basis == "eigen" else self.vectors.roll(1, 0)
        return in_eigenbasis(energy, z, V)


def in_eigenbasis(energy: Energy, z: Tensor, V: Tensor) -> Tensor:
    """Basis coordinates of Vᵀ Z V, (P, M, size), for z (P, M, size) and V (P, n, n)."""
    n = energy.coordinates.n
    Z = energy.coordinates.from_basis(z).unflatten(-1, (n, n))
    return energy.coordinates.to_basis((V.mT[:, None] @ Z @ V[:, None]).flatten(-2))


def as_matrix(energy: Energy, terms: Tensor) -> Tensor:
    """Terms (..., size) of a sum at the places they belong to, (..., n, n): the terms of a symmetric
    pair of entries are halved, so that the sum is the same."""
    n = energy.coordinates.n
    if energy.coordinates.size == n * n:
        return terms.unflatten(-1, (n, n))
    rows, columns = torch.triu_indices(n, n, device=terms.device)
    matrix = terms.new_zeros(*terms.shape[:-1], n, n)
    matrix[..., rows, columns] = terms / 2
    return matrix + matrix.mT


def from_matrix(energy: Energy, matrix: Tensor) -> Tensor:
    """The way back: terms (..., size)."""
    n = energy.coordinates.n
    if energy.coordinates.size == n * n:
        return matrix.flatten(-2)
    rows, columns = torch.triu_indices(n, n, device=matrix.device)
    weight = torch.where(rows == columns, 1.0, 2.0).to(matrix)
    return matrix[..., rows, columns] * weight


def pooled(energy: Energy, terms: Tensor, values: Tensor, tolerance: float = 1e-8) -> Tensor:
    """Terms (P, M, size) in an eigenbasis, averaged over the blocks of eigenvalues (P, n) that are
    equal up to `tolerance` of the largest: within a block eigenvectors are a matter of taste, and no
    other split is the same for all of them."""
    # Ascending: a new block begins where a value is further from the one before.
    far = values.diff(dim=-1) > tolerance * values.abs().amax(-1, keepdim=True)
    if far.all():
        return terms
    block = torch.nn.functional.pad(far.cumsum(-1), (1, 0))
    same = (block[:, :, None] == block[:, None, :]).to(terms)
    mean = (same / same.sum(-1, keepdim=True))[:, None]
    return from_matrix(energy, mean @ as_matrix(energy, terms) @ mean)


# The split


class SumOfSquares(Energy, Protocol):
    """An energy without layers that is ‖f‖² none the less."""

    def outputs(self, A: Any, y: Tensor, k: int) -> Tensor:
        """f, of y's shape but for the last axis, (size,)."""


def outputs_of(energy: Energy, A: Any, y: Tensor, k: int) -> Tensor:
    """The outputs f (P, M, size) at states y (P, M, d): of a network's last layer, or those of a `SumOfSquares`."""
    held = energy.activations(A, y, k)
    return held[OUTPUT] if held else cast("SumOfSquares", energy).outputs(A, y, k)


@dataclass(frozen=True)
class Terms:
    """What each output adds, in one landscape, of P problems; averaged over their states.

    measure, basis: of MEASURES, BASES; signed (P, size): terms, which sum to whole (P,): the gap
    in units of σ_k, or the squared length of the score; size (P, size): mean |term|. Turned outputs:
    (D, P, size).
    """

    landscape: int
    measure: str
    basis: str
    signed: NDArray
    size: NDArray
    whole: NDArray

    def share(self, chosen: NDArray) -> Interval:
        """The part of the whole that outputs `chosen` (size,) bool add: interval over problems."""
        return ratio_interval(self.signed[..., chosen].sum(-1), self.whole)


@dataclass(frozen=True)
class Split:
    """One landscape taken apart: terms, and the gap by what f is made of.

    parts (P, 3): the gap from what is constant in f, from what depends on the problem, and from the
    ripple alone, 2⟨m, r⟩, 2⟨p, r⟩ and ‖r‖² for f = m + p(A) + r(y); they sum to gap (P,); along
    (P,): from the one output along m, were the outputs turned so that there is one; constant: the
    part of the mean ‖f‖² at answers that is ‖m‖².
    """

    terms: list[Terms]
    parts: NDArray
    along: NDArray
    gap: NDArray
    constant: float


@torch.no_grad()
def split_by_output(
    energy: Energy,
    A: Tensor,
    y0: Tensor,
    k: int,
    frames: Frames,
    states: int,
    generator: torch.Generator,
) -> Split:
    """At `states` noised answers of each problem A (P, n, n) with answer y0 (P, d), as in training.

    Jacobians are not needed: 2 f_i ⟨∇f_i, v⟩ takes one product of the Jacobian with v.
    """
    prepared, sigma = energy.prepare(A), points.sigma(energy, k)
    y = points.noised(energy, y0, k, states, generator)[0]

    def outputs(y: Tensor) -> Tensor:
        return outputs_of(energy, prepared, y, k)

    at_home = points.centre(energy, y0, k)[:, None]
    f, home = outputs(y), outputs(at_home)
    score = energy.gradient(prepared, y, k)
    along = {"score": score, "beyond": score - blind_score(energy, y, score)}
    gap = above(energy, prepared, y, at_home, k) / sigma
    whole = {"gap": gap} | {name: (score * v).sum(-1) for name, v in along.items()}
    whole = {name: array(value.mean(1)) for name, value in whole.items()}
    split_terms = []
    pushed = {name: torch.func.jvp(outputs, (y,), (v,))[1] for name, v in along.items()}
    for basis in BASES:
        viewed = frames.view(energy, basis, f)
        terms = {"gap": (viewed**2 - frames.view(energy, basis, home) ** 2) / sigma}
        terms |= {name: 2 * viewed * frames.view(energy, basis, v) for name, v in pushed.items()}
        for measure, value in terms.items():
            if basis in ("eigen", "foreign"):
                values = frames.values if basis == "eigen" else frames.values.roll(1, 0)
                value = pooled(energy, value, values)
            mean, size = array(value.mean(-2)), array(value.abs().mean(-2))
            split_terms.append(
                Terms(landscape=k, measure=measure, basis=basis, signed=mean, size=size, whole=whole[measure])
            )
    m, r = home.mean((0, 1)), f - home
    of_parts = torch.stack([2 * r @ m, 2 * (r * (home - m)).sum(-1), r.pow(2).sum(-1)], -1)
    axis = m / m.norm().clamp_min(1e-300)
    return Split(
        terms=split_terms,
        parts=array(of_parts.mean(1) / sigma),
        along=array((((f @ axis) ** 2 - (home @ axis) ** 2) / sigma).mean(1)),
        gap=array(gap.mean(1)),
        constant=float(m.pow(2).sum() / home.pow(2).sum(-1).mean()),
    )


# How many carry it


def share_needed(sizes: NDArray, part: float = MOST) -> NDArray:
    """The share of the terms (..., S) that is needed, largest first, for `part` of their sum: (...).

    0 where there is nothing to carry.
    """
    order = -np.sort(-np.abs(sizes), axis=-1)
    sums = order.cumsum(-1)
    whole = sums[..., -1:]
    count = (sums < part * whole * (1 - 1e-12)).sum(-1) + 1
    return np.where(whole[..., 0] > 0, count, 0) / sizes.shape[-1]


@dataclass(frozen=True)
class Participation:
    """The share of the outputs that carry MOST of an effect, all problems together, and what it is
    in resamples of the problems (R,), the same ones for all bases; fewest: of single turns."""

    share: float
    resampled: NDArray
    fewest: float

    @property
    def interval(self) -> Interval:
        """Of the share: the middle 95 % of the resamples."""
        return _percentiles(self.share, self.resampled)

    def beside(self, other: Participation) -> Interval:
        """By how much it is more than the other's, paired over problems."""
        return _percentiles(self.share - other.share, self.resampled - other.resampled)


def output_participation(terms: Terms, resamples: int = 400, seed: int = 0) -> Participation:
    """Turned outputs: the mean over turns."""
    sizes = terms.size.reshape(-1, *terms.size.shape[-2:])
    count = sizes.shape[1]
    weights = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), resamples)
    drawn = np.stack([share_needed(weights @ of_turn) for of_turn in sizes])
    each = share_needed(sizes.mean(1))
    return Participation(float(each.mean()), drawn.mean(0), float(each.min()))


def _percentiles(estimate: float, values: NDArray) -> Interval:
    low, high = np.quantile(values, [0.025, 0.975])
    return Interval(
        estimate=estimate, low=float(low), high=float(high), level=0.95, units=len(values), method="percentile"
    )
