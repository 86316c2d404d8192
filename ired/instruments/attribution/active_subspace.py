"""Active subspaces (Constantine, Dow & Wang, SIAM J. Sci. Comput. 2014): which directions the gradient of an energy
keeps to.

They are spanned by the leading eigenvectors of the second moment of the gradient; taken around the mean that is the
PCA of the gradient. How many components are real is decided by parallel analysis (Horn 1965): they are compared with
those of data whose entries have lost each other. Entries are basis coordinates of the space that states live in, each
keeps its variance, and what counts is that entries move together. They lose each other in two ways, and a component
is real if it exceeds both:

*shuffled*: every entry is permuted over the problems by itself (Horn's null; Buja & Eyuboglu 1992). *flipped*: every
entry of every problem gets a random sign (Hong, Sheng & Dobriban 2020). Problems differ in how large their gradients
are, and all entries of one problem share that: shuffling breaks it, so that data of independent entries with a common
size look like more than noise. Flipping keeps it.

A problem's states share its matrix: they stay together in both, and problems are what is resampled.

What to expect: conjugating all problems by a signed permutation of the axes leaves their distribution as it is. A
network that is as fair varies alike along all traceless diagonal matrices, and along all off-diagonal ones: the
identity is the only single direction that can stand out, all others are turns within equals. `parts` says how much of
a component lies in each of these.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from pandas import DataFrame
from torch import Tensor

from ired.instruments.core import random_directions, states as points
from ired.instruments.core.patching import blind_score
from ired.instruments.core.sampler import Sampler
from ired.instruments.core.trajectories import record
from ired.model.protocol import Energy

PARTS = ("identity", "diagonal", "off_diagonal", "antisymmetric")
NULLS = ("shuffled", "flipped")


# Where the gradient is looked at


def noised_states(energy: Energy, y0: Tensor, draws: int, generator: torch.Generator) -> Tensor:
    """Noised answers of y0 (P, d) in every landscape, as in training: (K, P, draws, d)."""
    K = energy.schedule.K
    return torch.stack([points.noised(energy, y0, k, count=draws, generator=generator)[0] for k in range(K)])


def path_states(energy: Energy, A: Tensor, sampler: Sampler, start: Tensor) -> Tensor:
    """States of sampling paths from `start` (P, d) in every landscape, (K, P, 2, d): after denoising and after the last
    step of descent (1 instead of 2 where there is no descent)."""
    walked = record(sampler, energy, A, start)
    descended = (walked.inner > 0).any()
    return torch.stack([walked.denoised(), walked.leaving()][: 1 + descended], 2)


@torch.no_grad()
def fields(energy: Energy, A: Tensor, states: Tensor) -> dict[str, Tensor]:
    """Gradients at states (K, P, M, d) of problems A (P, n, n), in basis coordinates: (K, P, M, size).

    "raw": as they are; "beyond": what is left when the best multiple of the state, which needs no A, is taken off in
    each landscape. A perfect denoiser's gradient at noised answers is the noise, and has no component at all; beyond
    its blind part it is (1 − cσ_k)ε − c√ᾱ_k y₀ with that multiple c.
    """
    prepared, raw, beyond = energy.prepare(A), [], []
    for k, y in enumerate(states):
        gradient = energy.gradient(prepared, y, k)
        raw.append(energy.coordinates.to_basis(gradient))
        beyond.append(energy.coordinates.to_basis(gradient - blind_score(energy, y, gradient)))
    return {"raw": torch.stack(raw), "beyond": torch.stack(beyond)}


def parts(energy: Energy, z: Tensor) -> Tensor:
    """Squared length of z (…, size) in each of PARTS: (…, 4). Traceless diagonal matrices, off-diagonal symmetric ones;
    antisymmetric ones only where states are not symmetric."""
    n = energy.coordinates.n
    Z = energy.coordinates.from_basis(z).unflatten(-1, (n, n))
    diagonal = Z.diagonal(dim1=-2, dim2=-1)
    identity = diagonal.sum(-1).pow(2) / n
    on_diagonal, total = diagonal.pow(2).sum(-1), Z.pow(2).sum((-2, -1))
    odd = ((Z - Z.mT) / 2).pow(2).sum((-2, -1))
    return torch.stack([identity, on_diagonal - identity, total - on_diagonal - odd, odd], -1)


# How many components are real


@dataclass(frozen=True)
class Components:
    """PCA of fields in L landscapes, beside the same without relations between entries.

    values (L, size): variance along each component, largest first; rows (L, size, size): unit components, their
    largest entry positive; nulls (2, R, L, size): values of each of NULLS.
    """

    values: NDArray
    rows: Tensor
    nulls: NDArray

    @property
    def share(self) -> NDArray:
        """Of the variance: (L, size)."""
        return self.values / self.values.sum(1, keepdims=True)

    def limits(self, level: float = 0.95) -> NDArray:
        """What each component's share stays under by chance, for each of NULLS: (2, L, size)."""
        return np.quantile(self.nulls, level, axis=1) / self.values.sum(1, keepdims=True)

    @property
    def real(self) -> NDArray:
        """How many leading components exceed both nulls: (L,)."""
        above = (self.share > self.limits()).all(0)
        return np.cumprod(above, axis=1).sum(1)

    @property
    def chance(self) -> NDArray:
        """p-value of the first component, the larger of both nulls': (L,)."""
        reached = (self.nulls[..., 0] >= self.values[:, 0]).sum(1)
        return ((1 + reached) / (1 + self.nulls.shape[1])).max(0)

    def leading(self, landscape: int, most: int | None = None) -> Tensor:
        """The real components of a landscape, at most so many; the first where none is: (m, size)."""
        count = max(int(self.real[landscape]), 1)
        return self.rows[landscape, : count if most is None else min(count, most)]

    def table(self) -> DataFrame:
        """Rows of landscape, component (from 1), share, what it stays under by chance (shuffled, flipped) and whether
        it is real."""
        L, size = self.values.shape
        component, (shuffled, flipped) = np.arange(1, size + 1), self.limits()
        axes = {"landscape": range(L), "component": component}
        real = component <= self.real[:, None]
        columns = points.tidy_columns(axes, share=self.share, shuffled=shuffled, flipped=flipped, real=real)
        return DataFrame(columns)


def principal_components(field: Tensor) -> tuple[Tensor, Tensor]:
    """Variances (…, size), largest first, and unit rows (…, size, size) of the PCA of (…, N, size)."""
    deviations = field - field.mean(-2, keepdim=True)
    values, vectors = torch.linalg.eigh(deviations.mT @ deviations / deviations.shape[-2])
    rows = vectors.flip(-1).mT
    signs = rows.gather(-1, rows.abs().argmax(-1, keepdim=True)).sign()
    return values.flip(-1).clamp_min(0), rows * signs


def field_components(field: Tensor, draws: int, generator: torch.Generator) -> Components:
    """PCA of a field (L, P, M, size) with `draws` of each null, the same for all landscapes.

    Nulls are multiplied in float32, which is all that the quantiles of chance need.
    """
    _, P, _, size = field.shape
    values, rows = principal_components(field.flatten(1, 2))
    deviations = (field - field.mean((1, 2), keepdim=True)).float()

    def spectrum(data: Tensor) -> Tensor:
        data = data.flatten(1, 2)
        return torch.linalg.eigvalsh((data.mT @ data).double() / data.shape[1]).flip(-1)

    shuffled, flipped = [], []
    for _ in range(draws):
        order = torch.rand(P, size, generator=generator, device=generator.device).argsort(0)
        signs = torch.randint(2, (P, size), generator=generator, device=generator.device) * 2 - 1
        order = order.to(field.device)[None, :, None].expand_as(deviations)
        shuffled.append(spectrum(deviations.gather(1, order)))
        flipped.append(spectrum(deviations * signs.to(deviations)[:, None]))
    nulls = torch.stack([torch.stack(shuffled), torch.stack(flipped)])
    return Components(values=points.array(values), rows=rows, nulls=points.array(nulls))


# Whether they are the same on other problems


def angle(first: Tensor, second: Tensor) -> float:
    """The largest principal angle in degrees between the spans of rows (m, size) and (m', size)."""
    from scipy.linalg import subspace_angles

    return float(np.rad2deg(subspace_angles(points.array(first).T, points.array(second).T)[0]))


@dataclass(frozen=True)
class SubspaceStability:
    """Largest principal angles, in degrees, of the span of m leading components: (R,) each.

    bootstrap: problems resampled, against all of them; halves: a random half of the problems against the other;
    expected: the same of Gaussian data with the spectrum that was found, which is what halves would show if it were
    the true one; chance: two random subspaces.
    """

    bootstrap: NDArray
    halves: NDArray
    expected: NDArray
    chance: NDArray

    def columns(self) -> dict[str, float]:
        """Median of each and where the middle 95 % lie."""
        return {
            f"{name}{suffix}": float(np.quantile(value, q))
            for name, value in vars(self).items()
            for suffix, q in (("", 0.5), ("_low", 0.025), ("_high", 0.975))
        }


def subspace_stability(field: Tensor, m: int, resamples: int, generator: torch.Generator) -> SubspaceStability:
    """Of the m leading components of a field (P, M, size) in one landscape."""
    P, _, size = field.shape
    values, rows = principal_components(field.flatten(0, 1))
    angles: dict[str, list[float]] = {name: [] for name in SubspaceStability.__dataclass_fields__}

    drawn = partial(random_directions.normal, generator=generator, like=field)

    def leading(chosen: Tensor) -> Tensor:
        return principal_components(chosen.flatten(0, -2))[1][:m]

    for _ in range(resamples):
        again = torch.randint(P, (P,), generator=generator, device=generator.device)
        order = torch.randperm(P, generator=generator, device=generator.device).to(field.device)
        angles["bootstrap"].append(angle(leading(field[again.to(field.device)]), rows[:m]))
        angles["halves"].append(angle(*(leading(field[half]) for half in order.chunk(2))))
        normal = drawn(2, P // 2 * field.shape[1], size) * values.sqrt()
        angles["expected"].append(angle(*map(leading, normal)))
        angles["chance"].append(angle(*drawn(2, m, size)))
    return SubspaceStability(**{name: np.array(value) for name, value in angles.items()})
