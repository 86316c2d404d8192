"""Paired t-tests and sign-flip tests over seeds: do variants of training differ?

Networks trained from one seed share their problems, their first weights and their batches, whatever
their negatives: the difference to the reference within a seed is freed from what that seed does to all
of them. The seed is the unit. At the five that are affordable

- Student's t interval decides, since percentile and BCa bootstrap intervals cover 86-87 % there and not
  95 % (`statistics`); the bootstrap interval stands beside it;
- the exact sign-flip test (Fisher 1935: without an effect which of two networks bears which name is a
  coin, for each seed) assumes no normality, but cannot go below 2/2^S, 0.0625 at five seeds: it is
  given with this floor;
- all p-values of a comparison are corrected as one family (Benjamini and Hochberg 1995);
- what is not seen is no equality: `statistics.power.detectable` is the effect that this number of seeds sees with 80 %
  power (two-sided t-test at 5 %; noncentral t, Cohen 1988).

d_z is the mean difference over the standard deviation of differences. No number is infinite: where
differences are the same at all seeds, d_z is ±`LARGEST`, and where they are 0, it is 0 and p is 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pandas import DataFrame, Series
from scipy import special

from ired.instruments.statistics import intervals
from ired.instruments.statistics.intervals import Interval, sign_flip
from ired.instruments.statistics.power import detectable

COLUMNS = ("variant", "seed", "metric", "value")
LARGEST = 99.0  # deviations: what has none is not infinitely far, and figures and logs want a number
ALL = 14  # seeds up to which all signs are tried: 16384 of them, and as many at random beyond
ROUNDING = 1e-12  # of the values: sums in another order differ by as much


@dataclass(frozen=True)
class Paired:
    """What `difference` (..., S) says over its last axis, the seeds; all others are arrays (...).

    mean, deviation (of differences, S − 1 below), low, high: in the metric's unit; d_z, t; p_t: of the
    two-sided t-test; p_flip: of the sign-flip test; floor: the least that p_flip can be.
    """

    difference: NDArray
    mean: NDArray
    deviation: NDArray
    low: NDArray
    high: NDArray
    d_z: NDArray
    t: NDArray
    p_t: NDArray
    p_flip: NDArray
    floor: float
    seeds: int
    level: float


def paired(first: ArrayLike, second: ArrayLike = 0.0, level: float = 0.95, seed: int = 0) -> Paired:
    """The tests of first − second (..., S), pairs along the last axis.

    Differences within rounding of the values count as 0, and as equal where they differ by no more.
    ValueError: fewer than two pairs, or a value that is not finite.
    """
    first, second = np.broadcast_arrays(*(np.asarray(v, dtype=np.float64) for v in (first, second)))
    count = first.shape[-1] if first.ndim else 0
    if count < 2:
        raise ValueError(f"a comparison needs at least two seeds, not {count}")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("values must be finite")
    rounding = ROUNDING * np.maximum(np.abs(first), np.abs(second)).max(-1, keepdims=True)
    difference = first - second
    difference = np.where(np.abs(difference) <= rounding, 0.0, difference)
    mean, deviation = difference.mean(-1), difference.std(-1, ddof=1)
    deviation = np.where(np.ptp(difference, -1) <= rounding[..., 0], 0.0, deviation)
    d_z = _in_deviations(mean, deviation)
    t = d_z * np.sqrt(count)
    reach = special.stdtrit(count - 1, (1 + level) / 2) * deviation / np.sqrt(count)
    return Paired(
        difference=difference,
        mean=mean,
        deviation=deviation,
        low=mean - reach,
        high=mean + reach,
        d_z=d_z,
        t=t,
        p_t=2 * special.stdtr(count - 1, -np.abs(t)),
        p_flip=_flips(difference, seed),
        floor=floor(count),
        seeds=count,
        level=level,
    )


def floor(seeds: int) -> float:
    """The least p-value of a sign-flip test: own signs and their opposite among all, or own alone
    beside random ones."""
    return 2.0 / 2**seeds if seeds <= ALL else 1.0 / (2**ALL + 1)


# A table of variants, metrics and seeds


@dataclass(frozen=True)
class Comparison:
    """A row of `table` for each cell, variant (without the reference) and metric:

    variant, metric, phase (if it was given), seeds; mean, reference_mean, difference: of the metric;
    low, high: Student's t interval of the difference; deviation: of the differences over seeds; d_z, t;
    bootstrap_low, bootstrap_high: of the difference, beside and never deciding; p_t, p_flip and both
    corrected over the table, p_t_adjusted, p_flip_adjusted; floor: of p_flip; significant: p_t_adjusted
    below 1 − level; identical: equal at all seeds; detectable_d, detectable: the least effect seen with
    80 % power, in d_z and in the metric's unit (from the deviation found); seed_deviation: between
    seeds within a variant, mean square of both; seed_deviations: difference in this unit; relative,
    relative_low, relative_high: difference over the reference's mean with Fieller's (1954) interval.
    These three are NaN where the reference's mean is not positive, and the ends alone where it cannot
    be told from 0; all other numbers are finite.

    absent: cells that do not exist, since the variant has the metric at no seed.
    """

    table: DataFrame
    reference: str
    seeds: tuple[int, ...]
    level: float
    floor: float
    detectable_d: float
    absent: tuple[tuple[str, str], ...]

    def cell(self, variant: str, metric: str) -> Series:
        """One row; ValueError where there is none."""
        rows = self.table[(self.table["variant"] == variant) & (self.table["metric"] == metric)]
        if rows.empty:
            raise ValueError(f"{metric!r} of variant {variant!r} was not compared")
        return rows.iloc[0]

    def interval(self, variant: str, metric: str) -> Interval:
        """Student's t interval of the mean difference to the reference."""
        row = self.cell(variant, metric)
        ends = (float(row[name]) for name in ("difference", "low", "high"))
        method = "t" if row["deviation"] else "constant"
        return Interval(*ends, self.level, len(self.seeds), method)

    def numbers(self) -> dict[str, float]:
        """What is logged: variant.metric.statistic → a finite number."""
        names = ("difference", "low", "high", "d_z", "p_t_adjusted", "p_flip", "detectable", "relative")
        rows = self.table.to_dict("records")
        numbers = {f"{r['variant']}.{r['metric']}.{n}": float(r[n]) for r in rows for n in names}
        return {name: value for name, value in numbers.items() if np.isfinite(value)}


def compare_variants(
    table: DataFrame, reference: str = "none", level: float = 0.95, seed: int = 0, resamples: int = 1999
) -> Comparison:
    """Every variant against the reference, paired by seed.

    table: columns variant, seed, metric, value (and phase, one for a metric, which is handed on), one
    value each. A metric that a variant has at no seed (layers of an energy without any) leaves the cell
    out. ValueError, in one sentence: a column, seed or variant that is missing, duplicates, fewer than
    two seeds, a value that is not finite. Bootstrap draws and random signs depend on `seed` alone.
    """
    seeds, grids = _grids(table)
    known = list(dict.fromkeys(table["variant"]))
    if reference not in known:
        raise ValueError(f"the reference {reference!r} is not among the variants {known}")
    if len(known) < 2:
        raise ValueError(f"nothing to compare with {reference!r}: it is the only variant")
    for metric, grid in grids.items():
        if reference not in grid:
            raise ValueError(f"the reference {reference!r} has no values of {metric!r}")
    others = [name for name in known if name != reference]
    every = [(variant, metric) for metric in grids for variant in others]
    cells = [(variant, metric) for variant, metric in every if variant in grids[metric]]
    absent = [cell for cell in every if cell not in cells]
    first = np.stack([grids[metric][variant] for variant, metric in cells])
    second = np.stack([grids[metric][reference] for _, metric in cells])
    tests, within = paired(first, second, level, seed), np.stack([first, second]).var(-1, ddof=1)
    within = np.sqrt(within.mean(0))
    beside = [intervals.bootstrap_interval(row, level, seed=seed, resamples=resamples) for row in tests.difference]
    relative, relative_low, relative_high = intervals.fieller(first, second, level)
    adjusted = intervals.adjust(tests.p_t)
    columns = {
        "variant": [variant for variant, _ in cells],
        "metric": [metric for _, metric in cells],
        "seeds": len(seeds),
        "mean": first.mean(-1),
        "reference_mean": second.mean(-1),
        "difference": tests.mean,
        "low": tests.low,
        "high": tests.high,
        "deviation": tests.deviation,
        "d_z": tests.d_z,
        "t": tests.t,
        "bootstrap_low": [float(b.low) for b in beside],
        "bootstrap_high": [float(b.high) for b in beside],
        "p_t": tests.p_t,
        "p_t_adjusted": adjusted,
        "p_flip": tests.p_flip,
        "p_flip_adjusted": intervals.adjust(tests.p_flip),
        "floor": tests.floor,
        "significant": adjusted < 1 - level,
        "identical": (tests.mean == 0) & (tests.deviation == 0),
        "detectable_d": detectable(len(seeds), level=level),
        "detectable": detectable(len(seeds), level=level) * tests.deviation,
        "seed_deviation": within,
        "seed_deviations": _in_deviations(tests.mean, within),
        "relative": relative,
        "relative_low": relative_low,
        "relative_high": relative_high,
    }
    result = DataFrame(columns)
    if "phase" in table:
        phases = table.drop_duplicates("metric").set_index("metric")["phase"]
        result.insert(2, "phase", result["metric"].map(phases))
    return Comparison(
        table=result,
        reference=reference,
        seeds=seeds,
        level=level,
        floor=tests.floor,
        detectable_d=detectable(len(seeds), level=level),
        absent=tuple(absent),
    )


# Against a number


@dataclass(frozen=True)
class AgainstConstant:
    """An error (smaller is better) over seeds against a number that is given.

    mean, constant: of both; difference, relative: mean − constant and its share of the constant, t
    intervals over seeds (Fieller's where the constant differs between seeds); margin: the share asked
    for; beats: the t interval of values − (1 − margin)·constant lies below 0; p_t, p_flip: of that
    difference, two-sided; floor: of p_flip; detectable_d, detectable: as in `Comparison`.
    """

    mean: float
    constant: float
    difference: Interval
    relative: Interval
    margin: float
    beats: bool
    p_t: float
    p_flip: float
    floor: float
    detectable_d: float
    detectable: float

    def row(self) -> dict[str, float]:
        """Plain finite numbers, for tables and logs."""
        ends = {
            f"{name}{end}": float(getattr(getattr(self, name), at))
            for name in ("difference", "relative")
            for end, at in (("", "estimate"), ("_low", "low"), ("_high", "high"))
        }
        plain = ("mean", "constant", "margin", "p_t", "p_flip", "floor", "detectable_d", "detectable")
        return ends | {name: float(getattr(self, name)) for name in (*plain, "beats")}


def against_constant(
    values: ArrayLike, constant: ArrayLike, margin: float = 0.05, level: float = 0.95, seed: int = 0
) -> AgainstConstant:
    """Whether values (S,), one a seed, are below the constant, a positive number or one a seed, by more
    than the share `margin` of it: "beats least squares by more than 5 %"."""
    values = np.asarray(values, dtype=np.float64)
    constant = np.broadcast_to(np.asarray(constant, dtype=np.float64), values.shape)
    plain, beyond = (paired(values, share * constant, level, seed) for share in (1.0, 1 - margin))
    if constant.mean() <= 0:
        raise ValueError(f"a share of a constant needs a positive one, not {constant.mean():g}")
    share, low, high = (float(v) for v in intervals.fieller(values, constant, level))
    if not np.isfinite(low):
        raise ValueError("the constant differs so much between seeds that no share of it is known")
    least, count = detectable(len(values), level=level), len(values)
    method = "t" if plain.deviation else "constant"
    return AgainstConstant(
        mean=float(values.mean()),
        constant=float(constant.mean()),
        difference=Interval(
            estimate=float(plain.mean),
            low=float(plain.low),
            high=float(plain.high),
            level=level,
            units=count,
            method=method,
        ),
        relative=Interval(estimate=share, low=low, high=high, level=level, units=count, method=method),
        margin=margin,
        beats=bool(beyond.high < 0),
        p_t=float(beyond.p_t),
        p_flip=float(beyond.p_flip),
        floor=beyond.floor,
        detectable_d=least,
        detectable=least * float(beyond.deviation),
    )


# Variants or seeds?


def spread(table: DataFrame) -> DataFrame:
    """What differs more, variants or seeds: the two-way analysis of variance of each metric.

    table: as in `compare_variants`. value = mean + variant + seed + rest, random effects, one value each. A row
    a metric: metric, variants, seeds; variant, seed, rest: shares of the variance (components by the
    method of moments, which takes off what noise adds; below 0 counts as 0; all 0 where nothing
    varies); F, p, p_adjusted: of the variants beside the rest; larger: the variance between variants is
    larger than that between the seeds of one variant (seed and rest), and p_adjusted < 0.05. Metrics
    that only one variant has are left out.
    """
    _seeds, grids = _grids(table)
    rows = []
    for metric, grid in grids.items():
        if len(grid) < 2:
            continue
        x = np.stack(list(grid.values()))
        V, S = x.shape
        if np.ptp(x) <= ROUNDING * np.abs(x).max():
            x = np.zeros_like(x)
        of_variant, of_seed = (x.mean(axis, keepdims=True) - x.mean() for axis in (1, 0))
        left = x - x.mean() - of_variant - of_seed
        mean_squares = [S * (of_variant**2).sum() / (V - 1), V * (of_seed**2).sum() / (S - 1)]
        rest = (left**2).sum() / ((V - 1) * (S - 1))
        rest = 0.0 if rest <= (ROUNDING * np.abs(x).max()) ** 2 else rest
        parts = np.array([max(mean_squares[0] - rest, 0) / S, max(mean_squares[1] - rest, 0) / V, rest])
        parts = parts / parts.sum() if parts.sum() else parts
        most = S * LARGEST**2  # as with d_z: finite without a rest, too
        F = float(min(mean_squares[0] / rest, most) if rest else most * bool(parts[0]))
        p = float(special.fdtrc(V - 1, (V - 1) * (S - 1), F))
        rows.append((metric, V, S, *parts.tolist(), F, p))
    if not rows:
        raise ValueError("no metric has two variants to tell from seeds")
    names = ["metric", "variants", "seeds", "variant", "seed", "rest", "F", "p"]
    result = DataFrame(rows, columns=names)
    result["p_adjusted"] = intervals.adjust(result["p"])
    more = result["variant"] > result["seed"] + result["rest"]
    return result.assign(larger=more & (result["p_adjusted"] < 0.05))


# Inside


def _in_deviations(mean: NDArray, deviation: NDArray) -> NDArray:
    """mean/deviation within ±LARGEST; a mean of 0 is 0 of them."""
    small = np.abs(mean) >= LARGEST * deviation
    return np.where(small, LARGEST * np.sign(mean), mean / np.where(small, 1.0, deviation))


def _flips(difference: NDArray, seed: int) -> NDArray:
    """Sign-flip p-values (...) of differences (..., S), 256 rows at a time: 32 MiB of sums."""
    rows = difference.reshape(-1, difference.shape[-1])
    p = [sign_flip(rows[i : i + 256], 2**ALL, seed) for i in range(0, len(rows), 256)]
    return np.concatenate(p).reshape(difference.shape[:-1])


def _grids(table: DataFrame) -> tuple[tuple[int, ...], dict[str, dict[str, NDArray]]]:
    """Seeds in order, and metric → variant → values (S,); variants as they first appear."""
    for name in COLUMNS:
        if name not in table:
            raise ValueError(f"the table has no column {name!r}, only {list(table)}")
    values = np.asarray(table["value"], dtype=np.float64)
    for row in _rows(table[~np.isfinite(values)]):
        raise ValueError(f"the value of {row} is not finite")
    for row in _rows(table[table.duplicated(["variant", "metric", "seed"])]):
        raise ValueError(f"{row} has more than one value")
    seeds = tuple(sorted(set(table["seed"])))
    if len(seeds) < 2:
        raise ValueError(f"a comparison needs at least two seeds, not {len(seeds)}")
    wide = table.assign(value=values).pivot(index=["metric", "variant"], columns="seed", values="value")
    for (metric, variant), row in wide[wide.isna().any(axis=1)].iterrows():
        lacking = ", ".join(str(s) for s in seeds if np.isnan(row[s]))
        raise ValueError(f"variant {variant!r} has no {metric!r} at seed {lacking}, which others have")
    grids: dict[str, dict[str, NDArray]] = {}
    order = table.drop_duplicates(["metric", "variant"])
    for variant in dict.fromkeys(table["variant"]):
        for metric in order.loc[order["variant"] == variant, "metric"]:
            grids.setdefault(metric, {})[variant] = wide.loc[(metric, variant)].to_numpy()
    grids = {metric: grids[metric] for metric in dict.fromkeys(table["metric"])}
    return seeds, grids


def _rows(table: DataFrame) -> Iterator[str]:
    for row in table.itertuples():
        yield f"{row.metric!r} of variant {row.variant!r} at seed {row.seed}"
