"""Do features follow properties of the problem, and better than neurons do?

The problem is the unit: tokens of one problem share its matrix. Properties of the matrix are held
against a unit's mean activation over the problem's tokens, properties of a token against its
activation at one token drawn from each problem. Features, neurons, principal components and random
dictionaries stand side by side; what has more units has a larger best correlation by chance, so
each kind gets a null of its own (the maximum over its units with problems permuted), and the best of
two kinds are compared on problems that did not choose them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from pandas import DataFrame
from torch import Tensor

from ired.instruments.accuracy.predictors import features
from ired.instruments.core.random_directions import covariance_matched
from ired.instruments.core.states import array
from ired.instruments.dictionaries.dictionary import Dictionary, given
from ired.instruments.statistics.intervals import Interval, rank_p_values
from ired.instruments.statistics.regression import ridge
from ired.instruments.statistics.spectra import entropy_rank
from ired.model.protocol import Energy

MATRIX = (
    "condition_number", "trace", "norm", "log_determinant", "smallest_eigenvalue", "effective_rank",
)  # fmt: skip
# Spread over orders of magnitude: their logarithm is what ridge predicts. Ranks do not care.
LOGARITHMIC = ("condition_number", "smallest_eigenvalue", "error")
# Noise is larger in blurrier landscapes: without them held fixed, error is the landscape's shadow.
CONFOUNDED = ("error",)
FEWEST = 5  # problems at which a unit must differ from its median to be correlated at all
ALPHAS = tuple(10.0**power for power in range(-3, 7))
_CHUNK = 2**22  # resampled numbers held at once


@dataclass(frozen=True)
class Units:
    """What U units of one kind say about P problems.

    mean (P, U): mean activation over a problem's tokens; single (P, U): at its one drawn token.
    """

    kind: str
    mean: NDArray
    single: NDArray

    def of(self, what: str) -> NDArray:
        return self.mean if what == "problem" else self.single


@dataclass(frozen=True)
class Property:
    """A property of P problems, or of their drawn tokens.

    values (P,) float64; of: "problem" or "token"; strata (P,): problems are compared with those of
    their stratum alone, so that what defines strata explains nothing.
    """

    name: str
    values: NDArray
    of: str
    strata: NDArray

    @property
    def target(self) -> NDArray:
        """What a linear map is asked to predict."""
        spread = self.name.split(" at ")[0] in LOGARITHMIC
        return np.log(np.maximum(self.values, 1e-12)) if spread else self.values


def effective_rank(A: Tensor) -> Tensor:
    """exp of the entropy of the normalised spectrum (Roy & Vetterli 2007) of SPD A (B, n, n): (B,)."""
    return torch.from_numpy(entropy_rank(array(torch.linalg.eigvalsh(A.double()))))


def one_token_each(problem: ArrayLike, rng: np.random.Generator) -> NDArray:
    """A random token of every problem, as row numbers (P,), from the problem (N,) of each token."""
    problem = np.asarray(problem)
    order = np.lexsort((rng.random(len(problem)), problem))
    return order[np.unique(problem[order], return_index=True)[1]]


def problem_properties(values: Mapping[str, ArrayLike]) -> list[Property]:
    """Properties (P,) of the matrices, by name."""
    found = []
    for name, value in values.items():
        value = np.asarray(value, dtype=np.float64)
        found.append(Property(name, value, "problem", np.zeros(len(value), dtype=int)))
    return found


def token_properties(distance: ArrayLike, landscape: ArrayLike, kind: ArrayLike) -> list[Property]:
    """The landscape of the drawn tokens, and their distance (P,) from the answer in noise radii: as
    it is, at equal landscape, and at equal landscape and kind (noised answer or sampling path)."""  # fmt: skip
    distance, landscape, kind = (np.asarray(v) for v in (distance, landscape, kind))
    distance, together = distance.astype(np.float64), np.zeros(len(landscape), dtype=int)
    cells = np.unique(np.stack([landscape, kind]), axis=1, return_inverse=True)[1].ravel()
    return [
        Property("landscape", landscape.astype(np.float64), "token", together),
        Property("error", distance, "token", together),
        Property("error at one landscape", distance, "token",
                 np.unique(landscape, return_inverse=True)[1]),
        Property("error at one landscape and kind", distance, "token", cells),
    ]  # fmt: skip


def between(properties: Sequence[Property]) -> DataFrame:
    """Spearman's ρ of all pairs of properties, rows first, second, rho: who follows one follows the
    others too. Strata play no part here."""  # fmt: skip
    x = np.stack([q.values for q in properties], 1)
    z, names = _scores(x, np.zeros(len(x), dtype=int)), [q.name for q in properties]
    return DataFrame({
        "first": np.repeat(names, len(names)), "second": np.tile(names, len(names)),
        "rho": (z.T @ z).clip(-1, 1).ravel(),
    })  # fmt: skip


# Kinds of units


def inputs(A: Tensor, y: Tensor) -> list[Units]:
    """What the network is given, as units: the upper triangle of A (P, n, n), beside it the state y
    (P, d) for token properties; and the same with A² and squared entries of y."""  # fmt: skip
    found, y = [], y.double()
    for degree, name in ((1, "input"), (2, "input squared")):
        of_A, of_y = features(A, degree), [y**power for power in range(1, degree + 1)]
        found.append(Units(name, array(of_A), array(torch.cat([of_A, *of_y], 1))))
    return found


def encoders(
    sae: Dictionary, frozen: Dictionary, mean: Tensor, covariance: Tensor, generator: torch.Generator
) -> dict[str, Callable[[Tensor], Tensor]]:
    """From activations to units, by kind: features of `sae`; neurons; all principal components; `frozen`,
    whose decoder is random and whose encoder was trained; random directions of the data's covariance,
    as many as there are features, of which as many fire."""  # fmt: skip
    main, mean = components(covariance).to(sae.decoder), mean.to(sae.decoder)
    drawn = covariance_matched(covariance, sae.features, generator).to(sae.decoder)
    random = given("topk", drawn, sae.mean, sae.scale, sae.k)
    return {
        "sae": sae.encode, "neuron": lambda x: x, "pca": lambda x: (x - mean) @ main.mT,
        "frozen": frozen.encode, "random": random.encode,
    }  # fmt: skip


def activations_of(
    energy: Energy, A: Tensor, columns: Mapping[str, Tensor], layer: str, chunk: int = 4096
) -> Iterator[Tensor]:
    """Activations (chunk, width) of another network at the same tokens: columns problem, y and landscape
    of all tokens, in order, and the problems A (P, n, n)."""  # fmt: skip
    for rows in torch.arange(len(columns["y"])).split(chunk):
        own = A[columns["problem"][rows]]
        yield energy.activations(own, columns["y"][rows], columns["landscape"][rows])[layer]


def components(covariance: Tensor, cutoff: float = 1e-10) -> Tensor:
    """Principal directions (m, width), the largest first; those that carry less than `cutoff` of the
    largest variance are rounding and left out."""  # fmt: skip
    values, vectors = torch.linalg.eigh(covariance.double())
    return vectors[:, values > cutoff * values.max()].flip(1).mT


@torch.no_grad()
def gather(
    kinds: Mapping[str, Callable[[Tensor], Tensor]], shards: Iterable[Tensor], problem: ArrayLike,
    token: NDArray, chunk: int = 8192,
) -> list[Units]:
    """Units of every kind from activations (N, width) that come in shards.

    kinds: from activations to units (…, U), by name; problem (N,) of each token, numbered 0..P−1;
    token (P,): the row of the token that stands for each problem.
    """  # fmt: skip
    problem, place = torch.as_tensor(np.asarray(problem)), 0
    count, drawn = torch.bincount(problem), torch.as_tensor(token)
    total: dict[str, Tensor] = {}
    single: dict[str, Tensor] = {}
    for x in (part for shard in shards for part in shard.split(chunk)):
        own = problem[place : place + len(x)]
        here = ((drawn >= place) & (drawn < place + len(x))).nonzero()[:, 0]
        for kind, encode in kinds.items():
            f = encode(x).cpu()
            if kind not in total:
                total[kind] = torch.zeros(len(count), f.shape[1], dtype=torch.float64)
                single[kind] = f.new_zeros(len(count), f.shape[1])
            total[kind].index_add_(0, own, f.double())
            single[kind][here] = f[drawn[here] - place]
        place += len(x)
    return [Units(k, array(total[k] / count[:, None]), array(single[k])) for k in kinds]


# Correlations


@dataclass(frozen=True)
class Correlations:
    """Spearman's correlation of every unit with every property, and what chance would give.

    rho, p (U, Q): two-sided p-values of the t-approximation; units that hardly ever differ have rho
    0 and p 1. null (R, Q): the largest |rho| over the kind's units with problems permuted.
    """

    kind: str
    properties: tuple[str, ...]
    rho: NDArray
    p: NDArray
    null: NDArray

    def table(self) -> DataFrame:
        """One row a test: kind, unit, property, rho, p."""
        count, Q = self.rho.shape
        return DataFrame({
            "kind": self.kind, "unit": np.repeat(np.arange(count), Q),
            "property": np.tile(self.properties, count),
            "rho": self.rho.ravel(), "p": self.p.ravel(),
        })  # fmt: skip

    def best(self, level: float = 0.95) -> DataFrame:
        """The unit of the largest |rho| for each property: kind, property, unit, rho, limit (what the
        largest stays below by chance, with probability `level`) and chance (the p-value of that).
        Last, as property "any", the largest over properties too."""  # fmt: skip
        size = np.abs(self.rho)
        unit = size.argmax(0)
        rho = self.rho[unit, np.arange(len(unit))]
        column = int(np.abs(rho).argmax())
        unit, rho = (np.append(v, v[column]) for v in (unit, rho))
        null = np.column_stack([self.null, self.null.max(1)])
        # Rounding must not make a permutation that changes nothing look smaller than what is seen.
        reached = (null >= np.abs(rho) - 1e-6).sum(0)
        return DataFrame({
            "kind": self.kind, "property": [*self.properties, "any"], "unit": unit, "rho": rho,
            "limit": np.quantile(null, level, axis=0), "chance": (1 + reached) / (1 + len(null)),
        })  # fmt: skip


def correlate(
    units: Units, properties: Sequence[Property], rng: np.random.Generator, permutations: int = 300
) -> Correlations:
    """All units of a kind with all properties."""
    shape = units.mean.shape[1], len(properties)
    rho, p, null = np.zeros(shape), np.ones(shape), np.zeros((permutations, len(properties)))
    for columns, x, strata in _together(units, properties):
        z = _scores(x, strata)
        y = _scores(np.stack([properties[q].values for q in columns], 1), strata)
        rho[:, columns] = np.clip(z.T @ y, -1, 1)
        freedom = len(x) - len(np.unique(strata)) - 1
        p[:, columns] = rank_p_values(rho[:, columns], freedom)
        narrow = z.astype(np.float32)
        for q, column in zip(columns, y.T, strict=True):
            null[:, q] = np.abs(_permuted(column, strata, permutations, rng) @ narrow).max(1)
    return Correlations(units.kind, tuple(q.name for q in properties), rho, p, null)


def _together(
    units: Units, properties: Sequence[Property]
) -> Iterator[tuple[list[int], NDArray, NDArray]]:
    """Properties that are held against the same activations within the same strata."""
    groups: dict[tuple, list[int]] = {}
    for q, prop in enumerate(properties):
        groups.setdefault((prop.of, prop.strata.tobytes()), []).append(q)
    for columns in groups.values():
        first = properties[columns[0]]
        yield columns, units.of(first.of), first.strata


def _scores(x: NDArray, strata: NDArray) -> NDArray:
    """Ranks (P, U) within strata as shares of them, around 0 and of length 1; 0 for a unit that hardly
    ever differs from its median."""
    from scipy.stats import rankdata  # a second to import: only where it is used

    ranks, differ = np.zeros(x.shape), np.zeros(x.shape[1])
    for stratum in np.unique(strata):
        own = strata == stratum
        ranks[own] = (rankdata(x[own], axis=0) - 0.5) / own.sum() - 0.5
        differ += _differing(x[own])
    length = np.sqrt((ranks * ranks).sum(0))
    seen = (differ >= FEWEST) & (length > 0)
    return np.where(seen, ranks / np.where(seen, length, 1), 0)


def _differing(x: NDArray) -> NDArray:
    """At how many of P problems each unit of x (P, U) differs from its median: (U,)."""
    middle = np.sort(x, axis=0)[(len(x) - 1) // 2]
    return (np.abs(x - middle) > 1e-10 * np.abs(x).max(0)).sum(0)


def _permuted(y: NDArray, strata: NDArray, count: int, rng: np.random.Generator) -> NDArray:
    """(count, P) float32: y with problems permuted within strata."""
    base = np.argsort(strata, kind="stable")
    order = np.argsort(rng.random((count, len(y))) + strata, axis=1)
    shuffled = np.empty((count, len(y)), dtype=np.float32)
    shuffled[:, base] = y[order]
    return shuffled


# The best of each kind, on problems that did not choose it


@dataclass(frozen=True)
class Selected:
    """The best unit of each kind and property, chosen on one half of the problems and measured on the
    other, both ways round.

    chosen (2, kinds, Q): the unit that each half chose; draws (1 + R, kinds, Q): correlation, with
    the sign that it was chosen for, averaged over the two measuring halves; row 0 as measured, the
    others with problems resampled. Choices are not repeated in resamples: intervals are of these
    units. Simulated with two kinds that are equally good, one is called better in 1-4 % of the cases
    (2.5 % are promised), but in 6-8 % where correlations are as weak as the largest by chance, since
    a half then may choose badly.
    """

    kinds: tuple[str, ...]
    properties: tuple[str, ...]
    chosen: NDArray
    draws: NDArray
    problems: int

    def rho(self, kind: str, level: float = 0.95) -> Interval:
        """Held-out correlation of the chosen units: arrays (Q,)."""
        return self._interval(self.draws[:, self.kinds.index(kind)], level)

    def ahead(self, kind: str, of: str, level: float = 0.95) -> Interval:
        """By how much `kind` is ahead `of` another on the same problems: arrays (Q,)."""
        return self._interval(self.difference(kind, of), level)

    def table(self, kind: str = "sae", level: float = 0.95) -> DataFrame:
        """Rows of kind, property, first, second (the units that were chosen), rho, low, high; ahead,
        ahead_low, ahead_high: of `kind` against the row's, with the level corrected (Bonferroni) for
        the number of properties that are not confounded."""  # fmt: skip
        count = sum(name not in CONFOUNDED for name in self.properties)
        parts = []
        for place, other in enumerate(self.kinds):
            rho = self.rho(other, level)
            gain = self.ahead(kind, other, 1 - (1 - level) / count)
            parts.append({
                "kind": other, "property": self.properties, "first": self.chosen[0, place],
                "second": self.chosen[1, place], "rho": rho.estimate, "low": rho.low,
                "high": rho.high, "ahead": gain.estimate, "ahead_low": gain.low,
                "ahead_high": gain.high,
            })  # fmt: skip
        names = list(parts[0])
        values = {n: np.concatenate([np.broadcast_to(p[n], len(self.properties)) for p in parts])
                  for n in names}  # fmt: skip
        return DataFrame(values)

    def difference(self, kind: str, of: str) -> NDArray:
        return self.draws[:, self.kinds.index(kind)] - self.draws[:, self.kinds.index(of)]

    def _interval(self, draws: NDArray, level: float) -> Interval:
        return _percentiles(draws, level, self.problems)


def select(
    units: Sequence[Units], properties: Sequence[Property], seed: int = 0, resamples: int = 4000
) -> Selected:
    """Choose and measure. Kinds, properties and layers given the same seed share halves and resamples,
    so that they can be compared in pairs."""
    rng = np.random.default_rng(seed)
    P, Q = len(properties[0].values), len(properties)
    weights = rng.multinomial(P, np.full(P, 1 / P), resamples)
    weights = np.concatenate([np.ones((1, P)), weights]).astype(np.float32)
    chosen = np.zeros((2, len(units), Q), dtype=int)
    draws = np.zeros((1 + resamples, len(units), Q))
    # More splits would use every problem for choosing and for measuring: their mean looks surer than
    # it is (tried: twice the false alarms that one split gives).
    halves = np.array_split(rng.permutation(P), 2)
    for turn, (choose, test) in enumerate((halves, halves[::-1])):
        own, targets = weights[:, test], {}
        for place, kind in enumerate(units):
            for columns, x, strata in _together(kind, properties):
                y = np.stack([properties[q].values for q in columns], 1)
                rho = _scores(x[choose], strata[choose]).T @ _scores(y[choose], strata[choose])
                best = np.abs(rho).argmax(0)
                chosen[turn, place, columns] = best
                for i, (q, unit) in enumerate(zip(columns, best, strict=True)):
                    if q not in targets:
                        targets[q] = resampled_ranks(y[test, i], own, strata[test])
                    seen = resampled_ranks(x[test, unit], own, strata[test])
                    measured = _weighted_cosine(seen, targets[q], own)
                    draws[:, place, q] += np.sign(rho[unit, i]) * measured / 2
    names = tuple(u.kind for u in units), tuple(q.name for q in properties)
    return Selected(*names, chosen, draws, P)


def mean_advantage(
    layers: Iterable[Selected], kind: str, of: str, level: float = 0.95
) -> Interval:
    """By how much `kind` is ahead `of` another on average over layers, which were given the same
    problems and seed, and over properties that are not confounded."""  # fmt: skip
    layers = list(layers)
    open_ = [name not in CONFOUNDED for name in layers[0].properties]
    draws = np.mean([layer.difference(kind, of)[:, open_].mean(1) for layer in layers], axis=0)
    return _percentiles(draws, level, layers[0].problems)


def decided(selected: DataFrame, tests: DataFrame, kind: str = "sae") -> DataFrame:
    """Selected.table() of one layer with what decides: p_adjusted, the larger one of the two chosen
    units; fair: whether the property is not confounded; beaten: whether it is fair, and `kind` survives
    correction and is ahead of the row's kind. tests: kind, unit, property, p_adjusted of the layer."""  # fmt: skip
    p = tests.set_index(["kind", "unit", "property"])["p_adjusted"]
    both = [
        p.reindex(list(zip(selected["kind"], selected[way], selected["property"], strict=True)))
        for way in ("first", "second")
    ]
    selected = selected.assign(p_adjusted=np.maximum(*(v.to_numpy() for v in both)))
    own = selected[selected["kind"] == kind].set_index("property")["p_adjusted"]
    sure = selected["property"].map(own) < 0.05
    fair = ~selected["property"].isin(CONFOUNDED)
    return selected.assign(fair=fair, beaten=sure & fair & (selected["ahead_low"] > 0))


def _percentiles(draws: NDArray, level: float, problems: int) -> Interval:
    tail = (1 - level) / 2
    low, high = np.quantile(draws[1:], [tail, 1 - tail], axis=0)
    return Interval(draws[0], low, high, level, problems, "percentile")


def resampled_ranks(x: NDArray, weights: NDArray, strata: NDArray) -> NDArray:
    """Mid-ranks (R, P) of x (P,) in resamples that hold each problem `weights` (R, P) times, within
    strata, as shares of them around 0. What ranking each resample anew would give, from one sort."""  # fmt: skip
    order = np.lexsort((x, strata))
    s, v = strata[order], x[order]
    new = np.concatenate([[True], s[1:] != s[:-1]])
    fresh = new | np.concatenate([[True], v[1:] != v[:-1]])
    ties = _bounds(fresh)
    whole = _bounds(new)
    ranks = np.empty(weights.shape, dtype=weights.dtype)
    rows = max(1, _CHUNK // len(x))
    for at in range(0, len(weights), rows):
        w = weights[at : at + rows][:, order]
        sums = np.concatenate([np.zeros_like(w[:, :1]), np.cumsum(w, axis=1)], axis=1)
        # Without ties the places of a value are one step apart.
        low, high = (sums[:, :-1], sums[:, 1:]) if fresh.all() else (sums[:, b] for b in ties)
        middle = (low + high) / 2
        if new.sum() == 1:
            share = middle / sums[:, -1:]
        else:
            begin, end = (sums[:, b] for b in whole)
            share = (middle - begin) / np.maximum(end - begin, 1)
        ranks[at : at + rows, order] = share - np.float32(0.5)
    return ranks


def _bounds(starts: NDArray) -> tuple[NDArray, NDArray]:
    """Where the run that each place belongs to begins and ends, from where runs start."""
    first = np.flatnonzero(starts)
    run = np.cumsum(starts) - 1
    return first[run], np.append(first[1:], len(starts))[run]


def _weighted_cosine(a: NDArray, b: NDArray, weights: NDArray) -> NDArray:
    """Σwab/√(Σwa²·Σwb²) of each row, 0 where one side is 0."""
    product, one, two = (np.einsum("rp,rp,rp->r", weights, u, v) for u, v in ((a, b), (a, a), (b, b)))
    # Ties leave rounding where there should be 0.
    size = np.where((one > 1e-6) & (two > 1e-6), np.sqrt(one * two), np.inf)
    return np.clip(product / size, -1, 1)


# All units of a kind together


def predictability(
    units: Sequence[Units], properties: Sequence[Property], seed: int = 0, folds: int = 5,
    resamples: int = 2000, level: float = 0.95,
) -> DataFrame:
    """How much of each property a linear map of all units of a kind explains, on problems that it was
    not fitted to: rows of kind, property, r2, low, high.

    Ridge regression of standardised units (scikit-learn), its strength chosen by leave-one-out within
    each training part; units that hardly ever differ there are left out. R² = 1 − Σ(y − ŷ)²/Σ(y − m)²,
    with m the mean of the training problems of the same stratum: what strata tell is no merit.
    Percentile bootstrap over problems.
    """  # fmt: skip
    from sklearn.model_selection import KFold

    rng = np.random.default_rng(seed)
    P = len(properties[0].values)
    splits = list(KFold(folds, shuffle=True, random_state=seed).split(np.zeros(P)))
    spread = np.zeros((P, len(properties)))
    away = np.zeros((P, len(properties)))  # from the mean of the stratum in training
    missed = np.zeros((len(units), P, len(properties)))
    for train, test in splits:
        for q, prop in enumerate(properties):
            away[:, q] = prop.target - _stratum_means(prop.target, prop.strata, train)
        spread[test] = away[test] ** 2
        for place, kind in enumerate(units):
            for what in dict.fromkeys(q.of for q in properties):
                columns = [i for i, q in enumerate(properties) if q.of == what]
                x = kind.of(what)
                # Standardised, what next to never fired in training would shout when it fires.
                x = x[:, _differing(x[train]) >= FEWEST]
                if not x.shape[1]:
                    x = np.zeros((P, 1))
                line = ridge(x[train], away[np.ix_(train, columns)], ALPHAS)
                guess = line.predict(x[test]).reshape(len(test), -1)
                missed[place][np.ix_(test, columns)] = (away[np.ix_(test, columns)] - guess) ** 2
    weights = np.concatenate([np.ones((1, P)), rng.multinomial(P, np.full(P, 1 / P), resamples)])
    whole = np.maximum(weights @ spread, 1e-300)
    tail = (1 - level) / 2
    parts = []
    for place, kind in enumerate(units):
        r2 = 1 - weights @ missed[place] / whole
        low, high = np.quantile(r2[1:], [tail, 1 - tail], axis=0)
        parts += [(kind.kind, q.name, r2[0, i], low[i], high[i]) for i, q in enumerate(properties)]
    return DataFrame(parts, columns=["kind", "property", "r2", "low", "high"])


def _stratum_means(y: NDArray, strata: NDArray, train: NDArray) -> NDArray:
    """For each of y (P,) the mean of its stratum's training part, or of all where it has none."""
    count, total = np.bincount(strata[train]), np.bincount(strata[train], weights=y[train])
    means = np.full(strata.max() + 1, y[train].mean())
    seen = np.flatnonzero(count)
    means[seen] = total[seen] / count[seen]
    return means[strata]
