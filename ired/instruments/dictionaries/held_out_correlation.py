"""Split-half selection and cross-validated ridge: what units say of properties on problems not seen in choosing.

The best of two kinds of units are compared on problems that did not choose them; ridge regression says what
all units of a kind know together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame, concat

from ired.instruments.dictionaries.property_correlation import (
    CONFOUNDED,
    FEWEST,
    Property,
    Units,
    correlate_units,
    differing,
    held_against_the_same,
    rank_scores,
)
from ired.instruments.statistics.intervals import Interval, adjust
from ired.instruments.statistics.regression import ridge

ALPHAS = tuple(10.0**power for power in range(-3, 7))
_CHUNK = 2**22  # resampled numbers held at once


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
        the number of properties that are not confounded."""
        count = sum(name not in CONFOUNDED for name in self.properties)
        parts = []
        for place, other in enumerate(self.kinds):
            rho = self.rho(other, level)
            gain = self.ahead(kind, other, 1 - (1 - level) / count)
            parts.append(
                {
                    "kind": other,
                    "property": self.properties,
                    "first": self.chosen[0, place],
                    "second": self.chosen[1, place],
                    "rho": rho.estimate,
                    "low": rho.low,
                    "high": rho.high,
                    "ahead": gain.estimate,
                    "ahead_low": gain.low,
                    "ahead_high": gain.high,
                }
            )
        names = list(parts[0])
        values = {n: np.concatenate([np.broadcast_to(p[n], len(self.properties)) for p in parts]) for n in names}
        return DataFrame(values)

    def difference(self, kind: str, of: str) -> NDArray:
        return self.draws[:, self.kinds.index(kind)] - self.draws[:, self.kinds.index(of)]

    def _interval(self, draws: NDArray, level: float) -> Interval:
        return _percentiles(draws, level, self.problems)


def select(units: Sequence[Units], properties: Sequence[Property], seed: int = 0, resamples: int = 4000) -> Selected:
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
        resampled, targets = weights[:, test], {}
        for place, kind in enumerate(units):
            for columns, x, strata in held_against_the_same(kind, properties):
                y = np.stack([properties[q].values for q in columns], 1)
                rho = rank_scores(x[choose], strata[choose]).T @ rank_scores(y[choose], strata[choose])
                best = np.abs(rho).argmax(0)
                chosen[turn, place, columns] = best
                for i, (q, unit) in enumerate(zip(columns, best, strict=True)):
                    if q not in targets:
                        targets[q] = resampled_ranks(y[test, i], resampled, strata[test])
                    ranks = resampled_ranks(x[test, unit], resampled, strata[test])
                    measured = _weighted_cosine(ranks, targets[q], resampled)
                    draws[:, place, q] += np.sign(rho[unit, i]) * measured / 2
    names = tuple(u.kind for u in units), tuple(q.name for q in properties)
    return Selected(*names, chosen, draws, P)


def mean_advantage(layers: Iterable[Selected], kind: str, of: str, level: float = 0.95) -> Interval:
    """By how much `kind` is ahead `of` another on average over layers, which were given the same
    problems and seed, and over properties that are not confounded."""
    layers = list(layers)
    fair = [name not in CONFOUNDED for name in layers[0].properties]
    draws = np.mean([layer.difference(kind, of)[:, fair].mean(1) for layer in layers], axis=0)
    return _percentiles(draws, level, layers[0].problems)


def decided_units(selected: DataFrame, tests: DataFrame, kind: str = "sae") -> DataFrame:
    """Selected.table() of one layer with what decides: p_adjusted, the larger one of the two chosen
    units; fair: whether the property is not confounded; beaten: whether it is fair, and `kind` survives
    correction and is ahead of the row's kind. tests: kind, unit, property, p_adjusted of the layer."""
    p = tests.set_index(["kind", "unit", "property"])["p_adjusted"]
    both = [
        p.reindex(list(zip(selected["kind"], selected[way], selected["property"], strict=True)))
        for way in ("first", "second")
    ]
    selected = selected.assign(p_adjusted=np.maximum(*(v.to_numpy() for v in both)))
    corrected = selected[selected["kind"] == kind].set_index("property")["p_adjusted"]
    sure = selected["property"].map(corrected) < 0.05
    fair = ~selected["property"].isin(CONFOUNDED)
    return selected.assign(fair=fair, beaten=sure & fair & (selected["ahead_low"] > 0))


def _percentiles(draws: NDArray, level: float, problems: int) -> Interval:
    tail = (1 - level) / 2
    low, high = np.quantile(draws[1:], [tail, 1 - tail], axis=0)
    return Interval(estimate=draws[0], low=low, high=high, level=level, units=problems, method="percentile")


def resampled_ranks(x: NDArray, weights: NDArray, strata: NDArray) -> NDArray:
    """Mid-ranks (R, P) of x (P,) in resamples that hold each problem `weights` (R, P) times, within
    strata, as shares of them around 0. What ranking each resample anew would give, from one sort."""
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
    product, square_a, square_b = (np.einsum("rp,rp,rp->r", weights, u, v) for u, v in ((a, b), (a, a), (b, b)))
    # Ties leave rounding where there should be 0.
    size = np.where((square_a > 1e-6) & (square_b > 1e-6), np.sqrt(square_a * square_b), np.inf)
    return np.clip(product / size, -1, 1)


# All units of a kind together


def predictability(
    units: Sequence[Units],
    properties: Sequence[Property],
    seed: int = 0,
    folds: int = 5,
    resamples: int = 2000,
    level: float = 0.95,
) -> DataFrame:
    """How much of each property a linear map of all units of a kind explains, on problems that it was
    not fitted to: rows of kind, property, r2, low, high.

    Ridge regression of standardised units (scikit-learn), its strength chosen by leave-one-out within
    each training part; units that hardly ever differ there are left out. R² = 1 − Σ(y − ŷ)²/Σ(y − m)²,
    with m the mean of the training problems of the same stratum: what strata tell is no merit.
    Percentile bootstrap over problems.
    """
    from sklearn.model_selection import KFold

    rng = np.random.default_rng(seed)
    P = len(properties[0].values)
    splits = list(KFold(folds, shuffle=True, random_state=seed).split(np.zeros(P)))
    spread = np.zeros((P, len(properties)))
    excess = np.zeros((P, len(properties)))  # from the mean of the stratum in training
    missed = np.zeros((len(units), P, len(properties)))
    for train, test in splits:
        for q, prop in enumerate(properties):
            excess[:, q] = prop.target - _stratum_means(prop.target, prop.strata, train)
        spread[test] = excess[test] ** 2
        for place, kind in enumerate(units):
            for what in dict.fromkeys(q.of for q in properties):
                columns = [i for i, q in enumerate(properties) if q.of == what]
                x = kind.of(what)
                # Standardised, what next to never fired in training would shout when it fires.
                x = x[:, differing(x[train]) >= FEWEST]
                if not x.shape[1]:
                    x = np.zeros((P, 1))
                line = ridge(x[train], excess[np.ix_(train, columns)], ALPHAS)
                guess = line.predict(x[test]).reshape(len(test), -1)
                missed[place][np.ix_(test, columns)] = (excess[np.ix_(test, columns)] - guess) ** 2
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
    present = np.flatnonzero(count)
    means[present] = total[present] / count[present]
    return means[strata]


# Layer by layer (P2-07)


@dataclass(frozen=True)
class OfLayer:
    """What the units of one layer say of properties.

    tests, best: of `Correlations`, all kinds; selected: the best of each kind, held out; ridge:
    `predictability` of all kinds and of controls.
    """

    layer: str
    tests: DataFrame
    best: DataFrame
    selected: Selected
    ridge: DataFrame


def of_layer(
    layer: str,
    units: Sequence[Units],
    controls: Sequence[Units],
    properties: Sequence[Property],
    rng: np.random.Generator,
    permutations: int,
    seed: int,
) -> OfLayer:
    """Units of every kind of one layer against all properties; controls are predicted from alone."""
    correlations = [correlate_units(kind, properties, rng, permutations) for kind in units]
    return OfLayer(
        layer=layer,
        tests=concat([kind.table() for kind in correlations], ignore_index=True).assign(layer=layer),
        best=concat([kind.best() for kind in correlations], ignore_index=True).assign(layer=layer),
        selected=select(units, properties, seed),
        ridge=predictability([*units, *controls], properties, seed),
    )


def correlation_tables(layers: Sequence[OfLayer], inputs: DataFrame) -> dict[str, DataFrame]:
    """All layers, tests corrected (Benjamini-Hochberg) over all of them: correlations, best, selected
    (see `decided_units`), and ridge, which has what the `inputs` predict beside every layer."""
    tests = concat([each.tests for each in layers], ignore_index=True)
    tests["p_adjusted"] = adjust(tests["p"])
    selected = [
        decided_units(each.selected.table(), tests[tests["layer"] == each.layer]).assign(layer=each.layer)
        for each in layers
    ]
    ridge = [concat([each.ridge, inputs]).assign(layer=each.layer) for each in layers]
    return {
        "correlations": tests,
        "best": concat([each.best for each in layers], ignore_index=True),
        "selected": concat(selected, ignore_index=True),
        "ridge": concat(ridge, ignore_index=True),
    }


def correlation_verdicts(correlations: DataFrame, selected: DataFrame) -> dict[str, tuple[bool, dict[str, float]]]:
    """P2-07's criteria, of the tables of that name: met or not, and the numbers behind that."""
    fair = correlations[~correlations["property"].isin(CONFOUNDED) & (correlations["kind"] == "sae")]
    surviving = (fair["p_adjusted"] < 0.05).sum()
    decisions = {"some_feature_survives": (surviving > 0, {"surviving": surviving, "tests": len(fair)})}
    for layer, rows in selected.query("kind == 'neuron' and fair").groupby("layer", sort=False):
        most = rows.loc[rows["ahead_low"].idxmax()]
        numbers = {"properties": rows["beaten"].sum(), "ahead": most["ahead"], "low": most["ahead_low"]}
        decisions[f"{layer}_says_more_than_neurons"] = (rows["beaten"].any(), numbers)
    return decisions
