"""Reliability of error bars: are they as large as the errors, do intervals cover, do they rank problems?

Three questions of `tweedie.ErrorBars`, each by landscape with intervals over problems. Calibration: mean actual over
mean predicted squared error, 1 if right. Coverage: how often a nominal interval holds the truth, posteriors taken for
Gaussian; a right covariance of another shape may miss it. Ranking: Spearman's correlation of predicted with actual
error over problems, beside that of κ(A), which needs no energy.
A number that does not exist is named: its row has a note that says why in one line, and no note means that it does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame

from ired.instruments.statistics.intervals import (
    Interval,
    bootstrap_interval,
    mean_interval,
    rank_correlation,
    ratio_interval,
    spearman_interval,
)
from ired.instruments.uncertainty.tweedie import LEVELS, ROUNDING, ErrorBars

CERTAIN = "predicted error is 0: nothing to calibrate"
IMPOSSIBLE = "predicted error is not told from 0 or below: no ratio"
NO_INTERVALS = "no variance is positive: no interval exists"
ALIKE = "predicted error is the same for all problems: nothing to rank"
EXACT = "actual error is the same for all problems: nothing to rank"
SIMILAR = "κ(A) is the same for all problems: no rival"
SAME = 1e-9
"""Relative difference of errors that rounding makes."""


def calibration_ratios(bars: ErrorBars, level: float = 0.95) -> DataFrame:
    """Actual over predicted squared error by landscape.

    Columns: landscape, ratio, low, high (NaN with a note), method, note; means over problems of actual, predicted,
    sharpness and negative. The ratio exists where the interval of the mean predicted error lies above 0.
    """
    rows = []
    for i, k in enumerate(bars.landscapes):
        actual, predicted = bars.actual[i], bars.predicted[i]
        if (np.abs(predicted) <= _floor(bars, i)).all():
            note = CERTAIN
        else:
            note = "" if mean_interval(predicted, level).low > 0 else IMPOSSIBLE
        ratio = _undefined(level, len(actual)) if note else ratio_interval(actual, predicted, level)
        means = {name: getattr(bars, name)[i].mean() for name in ("actual", "predicted", "sharpness", "negative")}
        rows.append({"landscape": k, **ratio.row("ratio"), "method": ratio.method, "note": note, **means})
    return DataFrame(rows)


def interval_coverage(bars: ErrorBars, level: float = 0.95) -> DataFrame:
    """Shares of truths inside nominal Gaussian intervals, by landscape, kind ("entries", "functionals") and nominal.

    Columns: landscape, kind, nominal, coverage, low, high, method, without (the share that has no interval; it counts
    as not covered), note. `level` is that of the intervals of the coverage.
    """
    rows = []
    for i, k in enumerate(bars.landscapes):
        for kind in ("entries", "functionals"):
            without = getattr(bars, f"{kind}_without")[i].mean()
            for nominal, covered in zip(LEVELS, getattr(bars, kind)[:, i], strict=True):
                share = mean_interval(covered, level)
                rows.append(
                    {
                        "landscape": k,
                        "kind": kind,
                        "nominal": nominal,
                        **share.row("coverage"),
                        "method": share.method,
                        "without": without,
                        "note": NO_INTERVALS if without == 1 else "",
                    }
                )
    return DataFrame(rows)


def error_ranking(bars: ErrorBars, level: float = 0.95, seed: int = 0) -> DataFrame:
    """Rank correlations with the actual error over problems, by landscape.

    Columns: landscape; spearman with _low and _high; kappa, that of κ(A); difference (spearman − kappa, paired) with
    _low and _high, NaN with a note; note. What is constant ranks nothing: its correlation is 0 without width, and the
    note says so.
    """
    rows = []
    for i, k in enumerate(bars.landscapes):
        floor = _floor(bars, i)
        actual, predicted = _settled(bars.actual[i], floor), _settled(bars.predicted[i], floor)
        kappa = _settled(bars.kappa, 0.0)
        constant = {note: np.ptp(x) == 0 for note, x in ((ALIKE, predicted), (EXACT, actual), (SIMILAR, kappa))}
        note = "; ".join(name for name, alike in constant.items() if alike)
        ranks, rival = spearman_interval(predicted, actual, level, seed), float(rank_correlation(kappa, actual))
        margin = (
            _undefined(level, len(actual))
            if note
            else rank_difference(predicted, kappa, actual, level=level, seed=seed)
        )
        rows.append(
            {
                "landscape": k,
                **ranks.columns("spearman"),
                "kappa": rival,
                **margin.columns("difference"),
                "difference": ranks.estimate - rival,
                "note": note,
            }
        )
    return DataFrame(rows)


def rank_difference(
    first: NDArray, second: NDArray, values: NDArray, level: float = 0.95, seed: int = 0, resamples: int = 1999
) -> Interval:
    """Spearman's correlation of `first` with values minus that of `second`, all (P,), with a BCa bootstrap interval
    over problems, drawn with all three. A constant one has the correlation 0."""

    def over_problems(drawn: NDArray, axis: int = -1) -> NDArray:
        x, z, v = (array[drawn.astype(int)] for array in (first, second, values))
        return rank_correlation(x, v, axis) - rank_correlation(z, v, axis)

    return bootstrap_interval(np.arange(len(values)), level, seed=seed, statistic=over_problems, resamples=resamples)


def _floor(bars: ErrorBars, i: int) -> float:
    """Errors in landscape number i that are rounding."""
    return ROUNDING * bars.size * float(bars.noise[i])


def _settled(values: NDArray, floor: float) -> NDArray:
    """The values (P,), all equal if they differ by rounding alone."""
    alike = np.ptp(values) <= max(SAME * np.abs(values).max(), floor)
    return np.full_like(values, values.mean()) if alike else values


def _undefined(level: float, units: int) -> Interval:
    return Interval(estimate=np.nan, low=np.nan, high=np.nan, level=level, units=units, method="undefined")
