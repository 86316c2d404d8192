"""Rank correlation of energies with transport distances: how far would an answer have to be carried to the truth?

To each problem candidate answers Ŷ are made around the true one Y, and at a fixed landscape k their
energy gap to the truth, in units of σ_k, is ranked against five distances:

    spectra             W2 between the eigenvalues, exact in one dimension          transport
    Bures-Wasserstein   W2 between N(0, Y) and N(0, Ŷ)                              transport
    L2                  ‖Ŷ − Y‖_F
    spectral norm       ‖Ŷ − Y‖_2
    affine-invariant    ‖log Y^(−½)ŶY^(−½)‖_F, the geodesic distance

The number is Spearman's ρ within each problem, so that an energy's free offset and the problem's
scale make no correlation; within one landscape, so that the noise's level makes none; the unit is the
problem, and distances are compared paired. All measure how far Ŷ is from Y, so with candidates at
several distances all correlate with anything that grows: what a distance knows *beyond* L2 is ρ's
partial correlation given L2. The ideal energy is a function of L2: ρ = 1 there, exactly. The energy of a prediction
m(A) with errors of equal variance in all directions ranks candidates by ‖Ŷ − m‖: by L2 where m is right.

Four kinds of candidates, each at first-order L2 distances t‖Y‖ with t log-uniform, so that no kind is
nearer:

    noised      Y + E, E isotropic and symmetric: what training shows, often not SPD
    blended     Y + s(Y' − Y), Y' the answer of another problem
    congruent   Y^½ exp(S) Y^½, S isotropic: isotropic noise of the affine-invariant metric
    turned      QYQᵀ, Q a rotation: no distance of spectra sees it

Candidates that are not SPD have no geodesic distance and are left out of every ranking; their share
is given.

Places: "noised", E at √ᾱ_k·encode(Ŷ) ± σ_k ε, averaged over pairs ±ε that all candidates of a problem
share (as the real and the negative sample share their noise in training; pairs cancel what is linear
in ε, so that a quadratic energy has no noise in its gaps); and "clean", without noise, as the sampler
sees it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pandas import DataFrame, concat
from torch import Tensor

from ired.instruments.core import states
from ired.instruments.core.energy_gap import above_first
from ired.instruments.core.states import array, symmetric
from ired.instruments.geometry import metrics
from ired.instruments.statistics.intervals import Interval, mean_interval, paired_interval
from ired.instruments.statistics.tables import per_unit, summarise
from ired.model.protocol import Energy

TRANSPORT = ("spectra", "Bures-Wasserstein")
COMPETITORS = ("L2", "spectral norm", "affine-invariant")
DISTANCES = TRANSPORT + COMPETITORS
KINDS = ("noised", "blended", "congruent", "turned")
PLACES = ("noised", "clean")
FEWEST = 8  # candidates that a rank correlation is taken from


@dataclass(frozen=True)
class Candidates:
    """Candidate answers.

    Y: (P, n, n) true answers; C: (P, M, n, n) candidates; kind: (M,) place in `KINDS`; definite: bool
    (P, M), SPD.
    """

    Y: Tensor
    C: Tensor
    kind: NDArray
    definite: NDArray


def candidates(
    Y: Tensor, each: int, generator: torch.Generator, nearest: float = 0.02, farthest: float = 0.5
) -> Candidates:
    """`each` candidates of every kind around SPD answers Y (P, n, n), `nearest` to `farthest` of ‖Y‖_F away."""
    metrics.require_spd(Y, "true answer")
    P, n = Y.shape[:2]
    if P < 2:
        raise ValueError("blended candidates need the answer of another problem")

    source = {"generator": generator, "dtype": torch.float64, "device": generator.device}
    t = torch.rand(len(KINDS), P, each, **source).to(Y)
    t = nearest * (farthest / nearest) ** t * _size(Y)[:, None]
    middle, root, G = Y[:, None], metrics.power(Y, 0.5)[:, None], torch.randn(3, P, each, n, n, **source).to(Y)
    E, S, turn = symmetric(G[0]), symmetric(G[1]), (G[2] - G[2].mT) / 2
    # Each of the other problems' answers in turn, and no further than to itself.
    toward = torch.stack([Y.roll(i % (P - 1) + 1, 0) - Y for i in range(each)], 1)
    share = (t[1] / _size(toward)).clamp_max(1)
    S = S * (t[2] / _size(root @ S @ root))[..., None, None]
    Q = torch.linalg.matrix_exp(turn * (t[3] / _size(turn @ middle - middle @ turn))[..., None, None])
    kinds = (
        middle + E * (t[0] / _size(E))[..., None, None],
        middle + share[..., None, None] * toward,
        symmetric(root @ metrics.expm(S) @ root),
        symmetric(Q @ middle @ Q.mT),
    )
    C = torch.cat(kinds, 1)
    kind = np.repeat(np.arange(len(KINDS)), each)
    return Candidates(Y, C, kind, array(torch.linalg.cholesky_ex(C).info == 0))


def candidate_distances(made: Candidates) -> dict[str, NDArray]:
    """Distances (P, M) of candidates to the truth by name; NaN where a candidate is not SPD."""
    ok = torch.as_tensor(made.definite, device=made.Y.device)
    Y = made.Y[:, None].expand_as(made.C)
    C, error = torch.where(ok[..., None, None], made.C, Y), made.C - Y
    values = [torch.linalg.eigvalsh(M) for M in (made.Y, made.C, error)]
    spectra = (values[1] - values[0][:, None]).pow(2).mean(-1).sqrt()
    # Rotations change eigenvalues by rounding, which must not be ranked.
    measured = {
        "spectra": torch.where(spectra > 1e-12 * values[0][:, None, -1], spectra, 0.0),
        "Bures-Wasserstein": metrics.METRICS["Bures-Wasserstein"].distance(Y, C),
        "L2": _size(error),
        "spectral norm": values[2].abs().amax(-1),
        "affine-invariant": metrics.METRICS["affine-invariant"].distance(Y, C),
    }
    return {name: np.where(made.definite, array(measured[name]), np.nan) for name in DISTANCES}


@torch.no_grad()
def candidate_gaps(
    energy: Energy,
    A: Tensor,
    made: Candidates,
    k: int,
    pairs: int,
    generator: torch.Generator,
    states_per_call: int = 16384,
) -> dict[str, NDArray]:
    """Energy gaps (P, M) of candidates to the truth in σ_k by place, with `pairs` of noises ±ε."""
    states.demand_double(made.C, "energy gaps")
    answers = torch.cat([made.Y[:, None], made.C], 1)
    y = states.centre(energy, energy.coordinates.encode(answers), k)
    epsilon = states.noise(energy, len(A), pairs, generator=generator, like=y) * states.sigma(energy, k)
    shifts = [torch.zeros_like(epsilon[:, 0]), *(e for pair in epsilon.unbind(1) for e in (pair, -pair))]
    chunk, parts = max(1, states_per_call // y.shape[1]), []
    for start in range(0, len(A), chunk):
        part = slice(start, start + chunk)
        prepared = energy.prepare(A[part])
        E = [energy.energy(prepared, y[part] + shift[part, None], k) for shift in shifts]
        parts.append(torch.stack([above_first(e)[:, 1:] / states.sigma(energy, k) for e in E]))
    gap = torch.cat(parts, 1)
    return {"noised": array(gap[1:].mean(0)), "clean": array(gap[0])}


def correlate_gaps(gap: NDArray, distances: dict[str, NDArray], made: Candidates) -> DataFrame:
    """Spearman's ρ within each problem, for all kinds together ("all") and for each alone.

    gap (P, M), distances by name (P, M). Columns kind, problem, distance, rho, partial (given L2's ranks),
    of (candidates ranked); a problem with less than `FEWEST` SPD candidates of a kind has no row.
    """
    l2, tables = DISTANCES.index("L2"), []
    for number, kind in enumerate(("all", *KINDS)):
        chosen = np.ones(len(made.kind), bool) if kind == "all" else made.kind == number - 1
        ok = made.definite[:, chosen]
        enough = ok.sum(1) >= FEWEST
        if not enough.any():
            continue
        ok = ok[enough]
        x = np.stack([_ranks(distances[name][enough][:, chosen], ok) for name in DISTANCES])
        y = _ranks(gap[enough][:, chosen], ok)
        rho, between = (x * y).sum(-1), (x * x[l2]).sum(-1)
        tables.append(
            states.tidy_columns(
                {"distance": DISTANCES, "problem": np.flatnonzero(enough)},
                kind=np.full(rho.shape, kind),
                rho=rho,
                partial=_partial(rho, rho[l2], between),
                of=np.broadcast_to(ok.sum(1), rho.shape),
            )
        )
    return concat([DataFrame(columns) for columns in tables], ignore_index=True)


def correlate_energies(
    energies: Mapping[str, Energy],
    A: Tensor,
    made: Candidates,
    landscapes: Sequence[int],
    pairs: int,
    generator: torch.Generator,
) -> DataFrame:
    """`correlate_gaps` of all energies in these landscapes, at both places, with the same noise for all."""
    measured, tables = candidate_distances(made), []
    for k in landscapes:
        seed = generator.get_state()
        for name, energy in energies.items():
            generator.set_state(seed)
            for place, gap in candidate_gaps(energy, A, made, k, pairs, generator).items():
                tables.append(correlate_gaps(gap, measured, made).assign(place=place, landscape=k, energy=name))
    return concat(tables, ignore_index=True)


def condense(table: DataFrame) -> DataFrame:
    """Means of ρ and partial ρ with intervals over problems; of single kinds at k = 0 only."""
    shown = table[(table["kind"] == "all") | (table["landscape"] == 0)]
    return summarise(shown, ["place", "landscape", "energy", "kind", "distance"], ["rho", "partial"])


def margins(table: DataFrame, first: str, energy: str, landscape: int = 0) -> tuple[Interval, DataFrame]:
    """Mean ρ of distance `first`, and how much it is above each of `COMPETITORS`, paired: over, mean, low, high.

    At noised candidates of all kinds in one landscape.
    """
    where = {"place": "noised", "kind": "all", "energy": energy, "landscape": landscape}
    rho = {name: per_unit(table, "rho", distance=name, **where) for name in (first, *COMPETITORS)}
    gains = {name: paired_interval(rho[first], rho[name]) for name in COMPETITORS}
    rows = [{"over": name.replace(" ", "_")} | gain.row("mean") for name, gain in gains.items()]
    return mean_interval(rho[first]), DataFrame(rows)


def _ranks(values: NDArray, ok: NDArray) -> NDArray:
    """Ranks (P, M) among candidates that are `ok`, centred, of norm 1; 0 elsewhere and of constants."""
    from scipy.stats import rankdata

    # What is left out comes last, where it moves nobody's rank.
    ranks = rankdata(np.where(ok, values, np.inf), axis=-1)
    ranks = np.where(ok, ranks - ranks.mean(-1, where=ok, keepdims=True), 0.0)
    least, most = values.min(-1, where=ok, initial=np.inf), values.max(-1, where=ok, initial=-np.inf)
    flat = most - least <= 1e-10 * np.maximum(abs(least), abs(most))  # as in `intervals.rank_correlation`
    size = np.sqrt((ranks**2).sum(-1))
    return ranks * np.divide(1.0, size, out=np.zeros_like(size), where=~flat & (size > 0))[:, None]


def _partial(x: NDArray, z: NDArray, between: NDArray) -> NDArray:
    """Partial correlation given z, from correlations with a third and between; 0 if nothing is left."""
    left = (1 - z**2) * (1 - between**2)
    root = np.sqrt(np.maximum(left, 0))
    return np.divide(x - z * between, root, out=np.zeros_like(x), where=left > 1e-9)


def _size(M: Tensor) -> Tensor:
    return M.flatten(-2).norm(dim=-1)
