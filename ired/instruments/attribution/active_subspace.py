"""Which directions does the gradient of an energy keep to, and what are they directions of?

The active subspace of a function is spanned by the leading eigenvectors of the second moment of its
gradient (Constantine, Dow & Wang, SIAM J. Sci. Comput. 2014); taken around the mean that is the PCA
of the gradient. How many components are real is decided by parallel analysis (Horn 1965): they are
compared with those of data whose entries have lost each other. Entries are basis coordinates of the
space that states live in, each keeps its own variance, and what counts is that entries move together.
They lose each other in two ways, and a component is real if it exceeds both:

*shuffled*: every entry is permuted over the problems by itself (Horn's null; Buja & Eyuboglu 1992).
*flipped*: every entry of every problem gets a random sign (Hong, Sheng & Dobriban 2020). Problems
differ in how large their gradients are, and all entries of one problem share that: shuffling breaks it,
so that data of independent entries with a common size look like more than noise. Flipping keeps it.

A problem's states share its matrix: they stay together in both, and problems are what is resampled.

What to expect: conjugating all problems by a signed permutation of the axes leaves their distribution
as it is. A network that is as fair varies alike along all traceless diagonal matrices, and along all
off-diagonal ones: the identity is the only single direction that can stand out, all others are turns
within equals. `parts` says how much of a component lies in each of these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from pandas import DataFrame, concat
from scipy import special
from torch import Tensor

from ired.instruments.core import random_directions, states
from ired.instruments.core.directions import EVERYWHERE, STATE, Direction
from ired.instruments.core.patching import blind_score
from ired.instruments.core.sampler import Sampler
from ired.instruments.core.trajectories import record
from ired.instruments.statistics.intervals import adjust, student_interval
from ired.model.protocol import Energy

PARTS = ("identity", "diagonal", "off_diagonal", "antisymmetric")
NULLS = ("shuffled", "flipped")
STEP = 1e-5  # of central differences
RANDOM = 500  # random subspaces or directions that a share is held against

# Where the gradient is looked at


def noised_states(energy: Energy, y0: Tensor, draws: int, generator: torch.Generator) -> Tensor:
    """Noised answers of y0 (P, d) in every landscape, as in training: (K, P, draws, d)."""
    K = energy.schedule.K
    return torch.stack([states.noised(energy, y0, k, draws, generator)[0] for k in range(K)])


def path_states(energy: Energy, A: Tensor, sampler: Sampler, start: Tensor) -> Tensor:
    """States of sampling paths from `start` (P, d) in every landscape, (K, P, 2, d): after denoising and after
    the last step of descent (1 instead of 2 where there is no descent)."""
    walked = record(sampler, energy, A, start)
    descended = (walked.inner > 0).any()
    return torch.stack([walked.denoised(), walked.leaving()][: 1 + descended], 2)


@torch.no_grad()
def fields(energy: Energy, A: Tensor, states: Tensor) -> dict[str, Tensor]:
    """Gradients at states (K, P, M, d) of problems A (P, n, n), in basis coordinates: (K, P, M, size).

    "raw": as they are; "beyond": what is left when the best multiple of the state, which needs no A,
    is taken off in each landscape. A perfect denoiser's gradient at noised answers is the noise, and
    has no component at all; beyond its blind part it is (1 − cσ_k)ε − c√ᾱ_k y₀ with that multiple c.
    """
    prepared, found = energy.prepare(A), {"raw": [], "beyond": []}
    for k, y in enumerate(states):
        gradient = energy.gradient(prepared, y, k)
        beyond = gradient - blind_score(energy, y, gradient)
        for name, value in (("raw", gradient), ("beyond", beyond)):
            found[name].append(energy.coordinates.to_basis(value))
    return {name: torch.stack(value) for name, value in found.items()}


def parts(energy: Energy, z: Tensor) -> Tensor:
    """Squared length of z (…, size) in each of PARTS: (…, 4). Traceless diagonal matrices,
    off-diagonal symmetric ones; antisymmetric ones only where states are not symmetric."""
    n = energy.coordinates.n
    Z = energy.coordinates.from_basis(z).unflatten(-1, (n, n))
    diagonal = Z.diagonal(dim1=-2, dim2=-1)
    identity = diagonal.sum(-1).pow(2) / n
    on, all_of_it = diagonal.pow(2).sum(-1), Z.pow(2).sum((-2, -1))
    odd = ((Z - Z.mT) / 2).pow(2).sum((-2, -1))
    return torch.stack([identity, on - identity, all_of_it - on - odd, odd], -1)


# How many components are real


@dataclass(frozen=True)
class Components:
    """PCA of fields in L landscapes, beside the same without relations between entries.

    values (L, size): variance along each component, largest first; rows (L, size, size): unit
    components, their largest entry positive; nulls (2, R, L, size): values of each of NULLS;
    mean (L,): share of the mean square that the mean makes up, which PCA leaves out.
    """

    values: NDArray
    rows: Tensor
    nulls: NDArray
    mean: NDArray

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

    @property
    def dimension(self) -> NDArray:
        """(Σλ)²/Σλ² (L,): how many components carry the variance."""
        return 1 / (self.share**2).sum(1)

    def leading(self, landscape: int, most: int | None = None) -> Tensor:
        """The real components of a landscape, at most so many; the first where none is: (m, size)."""
        count = max(int(self.real[landscape]), 1)
        return self.rows[landscape, : count if most is None else min(count, most)]

    def table(self) -> DataFrame:
        """Rows of landscape, component (from 1), share, what it stays under by chance (shuffled,
        flipped) and whether it is real."""
        L, size = self.values.shape
        component, limits = np.arange(1, size + 1), self.limits()
        return DataFrame(states.columns(
            {"landscape": range(L), "component": component}, share=self.share,
            **dict(zip(NULLS, limits, strict=True)), real=component <= self.real[:, None],
        ))  # fmt: skip


def principal(field: Tensor) -> tuple[Tensor, Tensor]:
    """Variances (…, size), largest first, and unit rows (…, size, size) of the PCA of (…, N, size)."""
    away = field - field.mean(-2, keepdim=True)
    values, vectors = torch.linalg.eigh(away.mT @ away / away.shape[-2])
    rows = vectors.flip(-1).mT
    signs = rows.gather(-1, rows.abs().argmax(-1, keepdim=True)).sign()
    return values.flip(-1).clamp_min(0), rows * signs


def components(field: Tensor, draws: int, generator: torch.Generator) -> Components:
    """PCA of a field (L, P, M, size) with `draws` of each null, the same for all landscapes.

    Nulls are multiplied in float32, which is all that the quantiles of chance need.
    """
    _, P, _, size = field.shape
    values, rows = principal(field.flatten(1, 2))
    mean = field.mean((1, 2), keepdim=True)
    away, nulls = (field - mean).float(), ([], [])
    for _ in range(draws):
        order = torch.rand(P, size, generator=generator, device=generator.device).argsort(0)
        signs = torch.randint(2, (P, size), generator=generator, device=generator.device) * 2 - 1
        order = order.to(field.device)[None, :, None].expand_as(away)
        for null, data in zip(
            nulls, (away.gather(1, order), away * signs.to(away)[:, None]), strict=True
        ):
            data = data.flatten(1, 2)
            null.append(torch.linalg.eigvalsh((data.mT @ data).double() / data.shape[1]).flip(-1))
    share = mean.pow(2).sum((1, 2, 3)) / field.pow(2).sum(-1).mean((1, 2))
    nulls = torch.stack([torch.stack(null) for null in nulls])
    return Components(states.array(values), rows, states.array(nulls), states.array(share))


# Whether they are the same on other problems


def angle(first: Tensor, second: Tensor) -> float:
    """The largest principal angle in degrees between the spans of rows (m, size) and (m', size)."""
    from scipy.linalg import subspace_angles

    one, two = (states.array(rows).T for rows in (first, second))
    return float(np.rad2deg(subspace_angles(one, two)[0]))


@dataclass(frozen=True)
class Stability:
    """Largest principal angles, in degrees, of the span of m leading components: (R,) each.

    bootstrap: problems resampled, against all of them; halves: a random half of the problems against
    the other; expected: the same of Gaussian data with the spectrum that was found, which is what
    halves would show if it were the true one; chance: two random subspaces.
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


def stability(field: Tensor, m: int, resamples: int, generator: torch.Generator) -> Stability:
    """Of the m leading components of a field (P, M, size) in one landscape."""
    P, _, size = field.shape
    values, rows = principal(field.flatten(0, 1))
    found: dict[str, list[float]] = {name: [] for name in Stability.__dataclass_fields__}

    drawn = partial(random_directions.normal, generator=generator, like=field)

    def leading(chosen: Tensor) -> Tensor:
        return principal(chosen.flatten(0, -2))[1][:m]

    for _ in range(resamples):
        again = torch.randint(P, (P,), generator=generator, device=generator.device)
        order = torch.randperm(P, generator=generator, device=generator.device).to(field.device)
        found["bootstrap"].append(angle(leading(field[again.to(field.device)]), rows[:m]))
        found["halves"].append(angle(*(leading(field[half]) for half in order.chunk(2))))
        normal = drawn(2, P // 2 * field.shape[1], size) * values.sqrt()
        found["expected"].append(angle(*map(leading, normal)))
        found["chance"].append(angle(*drawn(2, m, size)))
    return Stability(**{name: np.array(value) for name, value in found.items()})


# What they are directions of: the inverse's exact sensitivity


def captured(energy: Energy, A: Tensor, rows: Tensor) -> Tensor:
    """Share of the exact sensitivity of the inverse along each of orthonormal rows (m, size): (P, m).

    dY = −Y E Y for E in all directions of symmetric matrices alike. Along V its square is ‖Y V Y‖² in
    the mean over E, and (tr²(Y²) + tr(Y⁴))/2 in all, so shares of a full basis sum to 1. Each problem
    counts the same: ill-conditioned ones would outweigh all others.
    """
    Y = torch.linalg.inv(A.double())
    square = Y @ Y
    total = (_trace(square) ** 2 + _trace(square @ square)) / 2
    return _moved(energy, Y, rows).pow(2).sum(-1) / total[:, None]


def sensitivity(energy: Energy, A: Tensor, chunk: int = 50) -> Tensor:
    """S (size, size): rᵀ S r is the mean of `captured` along a unit row r, over problems A (P, n, n).
    Its leading eigenvectors are the fixed subspace that captures most."""
    eye = torch.eye(energy.coordinates.size, dtype=torch.float64, device=A.device)
    total = torch.zeros_like(eye)
    for some in A.split(chunk):
        Y = torch.linalg.inv(some.double())
        square = Y @ Y
        size = ((_trace(square) ** 2 + _trace(square @ square)) / 2).sqrt()
        moved = (_moved(energy, Y, eye) / size[:, None, None]).transpose(0, 1).flatten(1)
        total += moved @ moved.mT
    return total / len(A)


def by_chance(S: Tensor, m: int, draws: int, generator: torch.Generator) -> NDArray:
    """Mean shares (draws,) that random m-dimensional subspaces capture, S as of `sensitivity`."""
    rows = [random_directions.orthonormal(m, len(S), generator, S) for _ in range(draws)]
    return np.array([float(((r @ S) * r).sum()) for r in rows])


def captures(
    energy: Energy, A: Tensor, S: Tensor, k: int, spans: Mapping[str, Tensor],
    generator: torch.Generator,
) -> DataFrame:
    """What subspaces of one dimension, orthonormal rows (m, size) by name, capture of the sensitivity
    of problems A (P, n, n), the mean of which is S.

    Rows of landscape, source (the name), dimension, share with its interval over problems (low, high);
    chance: a random subspace's, m/size; limit: what 95 % of RANDOM random ones stay under, of the same
    mean over these problems; p: how often a random one reaches the share.
    """  # fmt: skip
    m = len(next(iter(spans.values())))
    null, rows = by_chance(S, m, RANDOM, generator), []
    for source, span in spans.items():
        row = {"landscape": k, "source": source, "dimension": m}
        share = states.array(captured(energy, A, span).sum(1))
        rows.append(row | _against(share, null) | {"chance": m / len(S)})
    return DataFrame(rows)


def _against(values: NDArray, null: NDArray) -> dict[str, float]:
    """The mean over problems (P,) with Student's t interval, beside means by chance (draws,)."""
    seen = student_interval(values)
    return {
        "share": seen.estimate, "low": seen.low, "high": seen.high,
        "limit": float(np.quantile(null, 0.95)),
        "p": float((1 + (null >= seen.estimate).sum()) / (1 + len(null))),
    }  # fmt: skip


def _moved(energy: Energy, Y: Tensor, rows: Tensor) -> Tensor:
    """Y sym(V) Y of rows (m, size) and inverses Y (P, n, n): (P, m, d)."""
    n = energy.coordinates.n
    V = energy.coordinates.from_basis(rows).unflatten(-1, (n, n)).to(Y)
    return (Y[:, None] @ ((V + V.mT) / 2) @ Y[:, None]).flatten(-2)


def _trace(M: Tensor) -> Tensor:
    return M.diagonal(dim1=-2, dim2=-1).sum(-1)


# … eigen-directions of A


def frame_shares(energy: Energy, A: Tensor, rows: Tensor) -> Tensor:
    """Shares (P, m, n) of unit rows (m, size) along q_i q_iᵀ, A's eigenvectors, eigenvalues ascending.

    They sum to the share in matrices that commute with A, in the mean 2/(n + 1) for a random symmetric
    direction, and 1 for the identity.
    """
    n = energy.coordinates.n
    V = energy.coordinates.from_basis(rows).unflatten(-1, (n, n))
    Q = torch.linalg.eigh(A).eigenvectors.to(V)
    return torch.einsum("pai,mab,pbi->pmi", Q, V, Q).pow(2)


def framed(
    energy: Energy, A: Tensor, k: int, rows: Tensor, generator: torch.Generator
) -> DataFrame:
    """The share of components (m, size) in matrices that commute with A (P, n, n).

    Rows of landscape, component, share with its interval over problems (low, high); rank: of the
    eigenvalue that most of it belongs to, 1 the smallest; limit: what 95 % of RANDOM random directions
    stay under, of the same mean; p: how often a random one reaches the share.
    """
    shares = states.array(frame_shares(energy, A, rows))
    blind = torch.cat([random_directions.orthonormal(1, rows.shape[-1], generator, rows) for _ in range(RANDOM)])
    null = states.array(frame_shares(energy, A, blind).sum(-1).mean(0))
    return DataFrame([
        {"landscape": k, "component": c + 1, "rank": int(one.mean(0).argmax()) + 1}
        | _against(one.sum(-1), null)
        for c, one in enumerate(shares.transpose(1, 0, 2))
    ])  # fmt: skip


def frame_power(energy: Energy, A: Tensor, field: Tensor) -> Tensor:
    """Where in each problem's own eigenvectors a field (L, P, M, size) is: shares (L, P, n, n) of its
    square along q_i q_jᵀ, eigenvalues ascending. PCA over problems cannot see this, since axes turn."""
    n = energy.coordinates.n
    Q = torch.linalg.eigh(A).eigenvectors.to(field)[:, None]
    G = torch.stack([
        (Q.mT @ energy.coordinates.from_basis(one).unflatten(-1, (n, n)) @ Q).pow(2).sum(1)
        for one in field
    ])  # fmt: skip
    return G / G.sum((-2, -1), keepdim=True)


def framed_field(energy: Energy, A: Tensor, field: Tensor) -> DataFrame:
    """The share of a field (L, P, M, size) along q_i q_iᵀ of each problem's own A: rows of landscape,
    share with Student's t interval over problems (low, high), chance: n/size, an isotropic field's."""
    power = states.array(frame_power(energy, A, field).diagonal(dim1=-2, dim2=-1).sum(-1))
    chance = energy.coordinates.n / energy.coordinates.size
    return DataFrame([
        {"landscape": k, "share": seen.estimate, "low": seen.low, "high": seen.high, "chance": chance}
        for k, seen in enumerate(map(student_interval, power))
    ])  # fmt: skip


# … and directions in the layers, led back to the state


def pulled_back(
    energy: Energy, A: Tensor, y: Tensor, k: int, vectors: Mapping[str, Tensor], rows: int = 4096
) -> dict[str, Tensor]:
    """J_y h(y)ᵀ v of directions v (D, width) of each layer, at states y (P, d) of landscape k, in basis
    coordinates and of length 1 (0 where h does not move along v): (P, D, size) by layer.

    J by central differences, which in float64 agree with autograd to 1e-8 and need nothing but
    activations; `rows` states at a time. Raises ValueError in another precision.
    """
    states.demand_double(y, "directions led back by differences")
    basis, found = states.state_basis(energy, y), {layer: [] for layer in vectors}
    chunk = max(1, rows // len(basis))
    for at, some in zip(y.split(chunk), A.split(chunk), strict=True):
        prepared = energy.prepare(some)
        ahead, behind = (
            energy.activations(prepared, at[:, None] + step * basis, k) for step in (STEP, -STEP)
        )
        for layer, v in vectors.items():
            J = (ahead[layer] - behind[layer]) / (2 * STEP)  # (chunk, size, width)
            found[layer].append(torch.nn.functional.normalize(v.to(at) @ J.mT, dim=-1))
    return {layer: torch.cat(value) for layer, value in found.items()}


@dataclass(frozen=True)
class Alignment:
    """Cosines of m components with D directions that differ from problem to problem.

    cosine, low, high (D, m): mean over P problems with Student's t interval, its sign that of the
    component and so arbitrary; consistency (D,): length of the mean unit direction, 1 where all
    problems have the same; chance (D, m): p-value of |cosine| for a random component (exact: squared
    cosines with a fixed direction of the mean's length are Beta(1/2, (size − 1)/2)).
    """

    cosine: NDArray
    low: NDArray
    high: NDArray
    consistency: NDArray
    chance: NDArray


def alignment(rows: Tensor, pulled: Tensor, level: float = 0.95) -> Alignment:
    """Of unit rows (m, size) with unit directions pulled (P, D, size)."""
    P, _, size = pulled.shape
    cosines = states.array(pulled @ rows.to(pulled).mT)
    mean, spread = cosines.mean(0), cosines.std(0, ddof=1)
    reach = special.stdtrit(P - 1, (1 + level) / 2) * spread / np.sqrt(P)
    consistency = states.array(pulled.mean(0).norm(dim=-1))
    length = np.maximum(consistency, 1e-12)[:, None]
    # The upper tail as the lower tail of the mirrored law: no rounding to 0.
    rest = (1 - (mean / length) ** 2).clip(0, 1)
    chance = special.betainc((size - 1) / 2, 0.5, rest)
    return Alignment(mean, mean - reach, mean + reach, consistency, chance)


def aligned(
    energy: Energy, A: Tensor, y: Tensor, k: int, rows: Tensor, found: Sequence[Direction],
    draws: int, generator: torch.Generator,
) -> DataFrame:
    """`alignment` of components (m, size) of landscape k, at states y (P, d), with directions that were
    found in layers or in the state, in this landscape or everywhere; the others are left out.

    Rows of landscape, component, name, source, space, cosine, low, high, consistency, p; limit: what
    |cosine| stays under for 95 % of `draws` random directions of the same layer led back in the same
    way, or of the state.
    """  # fmt: skip
    found = [one for one in found if one.landscape in (k, EVERYWHERE)]
    own = {space: [one for one in found if one.space == space] for space in {v.space: 0 for v in found}}
    vectors, table = {}, []
    for space, here in own.items():
        v = torch.stack([one.vector for one in here]).to(y)
        v = energy.coordinates.to_basis(v) if space == STATE else v
        vectors[space] = torch.cat([v, random_directions.isotropic(draws, v.shape[1], generator, v)])
    pulled = {}
    if STATE in vectors:
        unit = torch.nn.functional.normalize(vectors.pop(STATE), dim=-1)
        pulled[STATE] = unit.expand(len(y), -1, -1)
    pulled |= pulled_back(energy, A, y, k, vectors)
    for space, here in own.items():
        seen, count = alignment(rows, pulled[space]), len(here)
        limit = np.quantile(np.abs(seen.cosine[count:]), 0.95, axis=0)
        table += [
            {"landscape": k, "component": c + 1, "name": here[d].name, "source": here[d].source,
             "space": space, "cosine": seen.cosine[d, c], "low": seen.low[d, c],
             "high": seen.high[d, c], "consistency": seen.consistency[d], "p": seen.chance[d, c],
             "limit": limit[c]}
            for d, c in np.ndindex(count, len(rows))
        ]  # fmt: skip
    return DataFrame(table)


def most_used(
    layer: str, decoder: Tensor, rates: Mapping[int, float], most: int
) -> list[Direction]:
    """The features of a dictionary's decoder (F, width) that fire most often, as directions."""
    order = sorted(rates, key=lambda feature: (-rates[feature], feature))[:most]
    return [
        Direction(f"feature {layer} #{i}", "feature", layer, EVERYWHERE, "", rates[i],
                  "share of tokens", decoder[i]).unit()
        for i in order
    ]  # fmt: skip


def described(
    energy: Energy, found: Mapping[str, Components], landscapes: Sequence[int], most: int
) -> tuple[DataFrame, NDArray]:
    """The leading components of these landscapes, at most so many of each: rows of name, landscape,
    component, share, real and the share of each of PARTS; and the same as matrices (rows, n, n)."""
    table, rows, n = [], [], energy.coordinates.n
    for name, one in found.items():
        for k in landscapes:
            for i, row in enumerate(one.leading(k, most)):
                table.append({
                    "name": name, "landscape": k, "component": i + 1,
                    "share": one.share[k, i], "real": i < one.real[k],
                })  # fmt: skip
                rows.append(row)
    z = torch.stack(rows)
    made = dict(zip(PARTS, states.array(parts(energy, z)).T, strict=True))
    matrices = energy.coordinates.from_basis(z).unflatten(-1, (n, n))
    return DataFrame(table).assign(**made), states.array(matrices)


def handed_on(
    energy: Energy, found: Components, landscapes: Sequence[int], most: int
) -> list[Direction]:
    """The real components of these landscapes, at most so many of each, as directions of the state;
    where none is real the first one, and its measure says so."""

    def measure(k: int) -> str:
        return "share of variance" if found.real[k] else "share of variance, within chance"

    return [
        Direction(f"gradient k={k} #{i + 1}", "gradient", STATE, k, "", float(found.share[k, i]),
                  measure(k), energy.coordinates.from_basis(row)).unit()
        for k in landscapes
        for i, row in enumerate(found.leading(k, most))
    ]  # fmt: skip


# All of it


def survey(
    energies: Mapping[str, Energy], A: Tensor, states: Mapping[tuple[str, str], Tensor], draws: int,
    generator: torch.Generator,
) -> tuple[dict[tuple[str, str, str], Components], dict[str, DataFrame]]:
    """Components of the fields of energies at states (K, P, M, d), by the names of both, by energy,
    states and field; and tables with these as columns: "spectra" of `Components.table`, "framed" of
    `framed_field`."""  # fmt: skip
    found, tables = {}, {"spectra": [], "framed": []}
    for (energy, where), at in states.items():
        for name, field in fields(energies[energy], A, at).items():
            own = found[energy, where, name] = components(field, draws, generator)
            for what, table in (
                ("spectra", own.table()), ("framed", framed_field(energies[energy], A, field))
            ):  # fmt: skip
                tables[what].append(table.assign(energy=energy, states=where, field=name))
    return found, {name: concat(parts, ignore_index=True) for name, parts in tables.items()}


def spans(
    energy: Energy, A: Tensor, answers: Tensor, field: Tensor, found: Mapping[str, Components],
    resamples: int, generator: torch.Generator,
) -> dict[str, DataFrame]:
    """The span of the real components of the first of `found`, landscape by landscape.

    "angles": how stable it is over the problems of its field (K, P, M, size); "captures": what it
    captures of the exact sensitivity of fresh problems A, beside as many components of the others of
    `found`, of the PCA of answers (P, d) ("answers") and of what captures most of it ("best").
    """  # fmt: skip
    S, angles, caught = sensitivity(energy, A), [], []
    known = {
        "answers": principal(energy.coordinates.to_basis(answers))[1],
        "best": torch.linalg.eigh(S).eigenvectors.mT.flip(0),
    }
    first = next(iter(found.values()))
    for k, own in enumerate(field):
        m = len(first.leading(k))
        rows = {name: one.rows[k] for name, one in found.items()} | known
        seen = stability(own, m, resamples, generator).columns()
        angles.append({"landscape": k, "dimension": m} | seen)
        caught.append(captures(energy, A, S, k, {n: v[:m] for n, v in rows.items()}, generator))
    return {"angles": DataFrame(angles), "captures": concat(caught, ignore_index=True)}


def comparisons(
    energy: Energy, A: Tensor, found: Components, landscapes: Sequence[int], most: int,
    others: Sequence[Direction], draws: int, generator: torch.Generator,
) -> dict[str, DataFrame]:
    """The leading components of these landscapes, at most so many of each, on fresh problems A.

    "axes": their share in A's eigen-directions; "single": what each captures of the exact
    sensitivity; "cosines": with other directions.
    p_adjusted: corrected over the rows of a table (Benjamini-Hochberg); agrees: it is below 0.05, and
    the size above its limit.
    """  # fmt: skip
    S, y0 = sensitivity(energy, A), states.answers(energy, A)
    tables: dict[str, list[DataFrame]] = {"axes": [], "single": [], "cosines": []}
    for k in landscapes:
        rows = found.leading(k, most)
        y = states.noised(energy, y0, k, 1, generator)[0][:, 0]
        tables["axes"].append(framed(energy, A, k, rows, generator))
        tables["single"] += [
            captures(energy, A, S, k, {"trained": row[None]}, generator).assign(component=c + 1)
            for c, row in enumerate(rows)
        ]
        tables["cosines"].append(aligned(energy, A, y, k, rows, others, draws, generator))
    done = {name: concat(parts, ignore_index=True) for name, parts in tables.items()}
    for table in done.values():
        size = table["cosine"].abs() if "cosine" in table else table["share"]
        table["p_adjusted"] = adjust(table["p"])
        table["agrees"] = (table["p_adjusted"] < 0.05) & (size > table["limit"])
    return done
