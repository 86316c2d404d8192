"""Kendall's W (Kendall & Babington Smith 1939): do several ablations agree on which layer matters most?

Each kind of ablation ranks the layers by what is lost; agreement is W, that of two networks or two
halves of problems the mean of Kendall's τ over kinds. With
three or four layers the usual approximations do not hold, so p-values are exact: every voter's ranks are
permuted in all ways, independently. Voters that do nearly the same would count as several witnesses,
so the replacements of half a layer are one voter.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pandas import DataFrame

from ired.instruments.layers.ablation import HALF, KINDS, LAYERS, WHOLE
from ired.instruments.layers.ablation_damage import KEYS, MEASURES, per_problem
from ired.instruments.statistics.intervals import mean_interval

# f is affine in its input, so "linear" says nothing about it: with it the others vote alone.
VOTERS = {
    "half": HALF,
    "problem_mean": ("problem_mean",),
    "linear": ("linear",),
    "rank_weights": ("rank_weights",),
    "rank_components": ("rank_components",),
}
HIDDEN = LAYERS[:3]
LEVEL = 0.05


@dataclass(frozen=True)
class Concordance:
    """w: 1 where all voters rank alike, about 1/voters by chance; p: exact, for a W as large or larger;
    needed: the least W with p below LEVEL (above 1 where none is); voters, items."""

    w: float
    p: float
    needed: float
    voters: int
    items: int


@dataclass(frozen=True)
class Likeness:
    """tau: Kendall's τ of two rankings, mean over voters; p: exact and one-sided; needed as above."""

    tau: float
    p: float
    needed: float
    voters: int


def damage_ranks(damages: ArrayLike) -> NDArray:
    """Ranks of layers (V, L), 1 for the one that is missed most; ties, up to 1e-9 of the largest damage,
    share their mean rank."""
    from scipy.stats import rankdata  # a second to import: only where it is used

    lost = np.asarray(damages, dtype=np.float64)
    unit = 1e-9 * np.abs(lost).max(axis=-1, keepdims=True).clip(min=1e-300)
    return rankdata(-np.round(lost / unit), axis=-1)


def concordance(damages: ArrayLike) -> Concordance:
    """Of V ≥ 2 voters over L ≥ 2 layers, damages (V, L)."""
    ranked = damage_ranks(damages)
    V, L = ranked.shape
    doubled = np.rint(2 * ranked).astype(int)  # shared ranks are integers too
    null = _sums_by_chance(tuple(sorted(tuple(sorted(row)) for row in doubled.tolist())))
    ties = sum((count**3 - count).sum() for count in (np.unique(r, return_counts=True)[1] for r in ranked))
    largest = V * V * (L**3 - L) - V * ties  # 12 times the largest sum of squares, less for ties

    def w(sums: Iterable[float]) -> float:
        s = np.asarray(sums) / 2 - V * (L + 1) / 2
        return float(12 * (s @ s) / largest) if largest > 0 else 0.0

    p, needed = _tail(((w(sums), chance) for sums, chance in null.items()), w(doubled.sum(0)))
    return Concordance(w=w(doubled.sum(0)), p=p, needed=needed, voters=V, items=L)


@lru_cache
def _sums_by_chance(votes: tuple[tuple[int, ...], ...]) -> dict[tuple[int, ...], float]:
    """Sums of the voters' ranks, each permuted in all ways, with their chances."""
    null = {(0,) * len(votes[0]): 1.0}
    for row in votes:
        orders, step = list(permutations(row)), defaultdict(float)
        for sums, chance in null.items():
            for order in orders:
                step[tuple(a + b for a, b in zip(sums, order, strict=True))] += chance / len(orders)
        null = dict(step)
    return null


def ranking_likeness(first: ArrayLike, second: ArrayLike) -> Likeness:
    """Of two sets of rankings, damages (V, L) each, voter by voter."""
    first_ranks, second_ranks = damage_ranks(first), damage_ranks(second)
    V, L = first_ranks.shape
    pairs = L * (L - 1) // 2

    def shared(a: NDArray, b: NDArray) -> int:
        signs = (np.sign(x[:, None] - x[None]) for x in (a, b))
        return int(np.prod(list(signs), axis=0).sum()) // 2

    null = {0: 1.0}
    for a, b in zip(first_ranks, second_ranks, strict=True):
        orders, step = [shared(a, np.array(o)) for o in permutations(b)], defaultdict(float)
        for total, chance in null.items():
            for order in orders:
                step[total + order] += chance / len(orders)
        null = step
    tau = sum(shared(a, b) for a, b in zip(first_ranks, second_ranks, strict=True)) / (V * pairs)
    p, needed = _tail(((t / (V * pairs), chance) for t, chance in null.items()), tau)
    return Likeness(tau, p, needed, V)


def _tail(null: Iterable[tuple[float, float]], measured: float) -> tuple[float, float]:
    """The chance of a value as large as the one measured, and the least value whose chance is below LEVEL
    (1.01 where none is)."""
    chances = defaultdict(float)
    for value, chance in null:
        chances[round(value, 9)] += chance
    tail, needed, p = 0.0, 1.01, 0.0
    for value in sorted(chances, reverse=True):
        tail += chances[value]
        if value >= round(measured, 9):
            p = tail
        if tail < LEVEL:
            needed = value
    return round(min(p, 1.0), 12), needed


def damages(damage: DataFrame, measure: str, share: float, layers: Sequence[str] = HIDDEN) -> DataFrame:
    """Mean damage over problems, a row a voter, a column a layer; kinds that keep a share of the rank at
    `share`. Voters that are not defined, or trivial, for one of the layers are left out."""
    chosen = _at(damage, share)
    means = chosen.groupby(["kind", "layer"])[measure].mean()
    rows = {
        voter: [np.mean([means[kind, layer] for kind in kinds]) for layer in layers]
        for voter, kinds in VOTERS.items()
        if not (voter == "linear" and "fc4" in layers)
    }
    return DataFrame(rows, index=list(layers)).T


def ranking_table(damage: DataFrame, share: float) -> DataFrame:
    """The ranking of layers by each kind and measure: damage with its interval, rank among the layers
    for which the kind is defined. Kinds that cannot tell layers apart are left out."""
    rows = []
    measures = [m for m in MEASURES if m in damage]
    useful = [kind for kind in KINDS if kind not in (*WHOLE, "rounding")]
    means = per_problem(_at(damage, share), measures)
    for measure in measures:
        for kind in (kind for kind in useful if kind in set(means["kind"])):
            of = means[means["kind"] == kind]
            cells = [(n, mean_interval(g[measure])) for n, g in of.groupby("layer")]
            order = damage_ranks([cell.estimate for _, cell in cells])
            rows += [
                {
                    "measure": measure,
                    "kind": kind,
                    "layer": layer,
                    "damage": cell.estimate,
                    "low": cell.low,
                    "high": cell.high,
                    "rank": place,
                    "of": len(cells),
                }
                for (layer, cell), place in zip(cells, order, strict=True)
            ]
    return DataFrame(rows)


def concordances(damage: DataFrame, share: float) -> DataFrame:
    """Agreement of the voters, and likeness of the rankings on two halves of the problems, by measure."""
    rows = []
    even = damage["problem"] % 2 == 0
    for measure in (m for m in MEASURES if m in damage):
        for layers in (HIDDEN, LAYERS):
            votes = damages(damage, measure, share, layers)
            halves = (damages(damage[half], measure, share, layers) for half in (even, ~even))
            agreed, same = concordance(votes), ranking_likeness(*halves)
            rows.append(
                {
                    "measure": measure,
                    "layers": len(layers),
                    "voters": agreed.voters,
                    "w": agreed.w,
                    "p": agreed.p,
                    "needed": agreed.needed,
                    "top": votes.columns[damage_ranks(votes).sum(0).argmin()],
                    "halves_tau": same.tau,
                    "halves_p": same.p,
                    "halves_needed": same.needed,
                }
            )
    return DataFrame(rows)


def tops(damage: DataFrame, measure: str, share: float) -> DataFrame:
    """In each landscape by itself: agreement of the voters, and the hidden layer that is missed most."""
    rows = []
    for k, part in damage.groupby("landscape"):
        votes = damages(part, measure, share)
        agreed = concordance(votes)
        top = votes.columns[damage_ranks(votes).sum(0).argmin()]
        rows.append({"landscape": k, "measure": measure, "w": agreed.w, "p": agreed.p, "top": top})
    return DataFrame(rows)


def compare_rankings(first: DataFrame, second: DataFrame, measure: str, share: float) -> Likeness:
    """Whether two networks rank their hidden layers alike."""
    return ranking_likeness(*(damages(damage, measure, share) for damage in (first, second)))


def _at(damage: DataFrame, share: float) -> DataFrame:
    """Rows of kinds without a rank, and of the others at one share."""
    assert set(KEYS) <= set(damage)
    return damage[(damage["share"] == 1.0) | (damage["share"] == share)]
