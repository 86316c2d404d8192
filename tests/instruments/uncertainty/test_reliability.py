"""Calibration, coverage and ranking of error bars; what does not exist is named."""

import numpy as np
import pytest
from scipy import stats

from ired.instruments.uncertainty import reliability
from ired.instruments.uncertainty.reliability import ALIKE, CERTAIN, EXACT, IMPOSSIBLE, NO_INTERVALS, SIMILAR
from ired.instruments.uncertainty.tweedie import ErrorBars


def record(actual, predicted, kappa=None, covered=0.9, without=0.0):
    """Error bars of one landscape from errors (P,)."""
    actual, predicted = (np.reshape(v, (1, -1)).astype(float) for v in (actual, predicted))
    shape = actual.shape
    return ErrorBars(
        landscapes=np.array([3]),
        noise=np.array([2.0]),
        size=5,
        kappa=np.arange(1.0, 1 + shape[1]) if kappa is None else kappa,
        actual=actual,
        predicted=predicted,
        negative=np.full(shape, 0.25),
        entries=np.full((3, *shape), covered),
        entries_without=np.full(shape, without),
        functionals=np.full((3, *shape), covered),
        functionals_without=np.full(shape, without),
    )


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def test_the_ratio_is_that_of_means_over_problems(rng):
    predicted = rng.uniform(1, 2, 40)
    actual = 1.5 * predicted * rng.chisquare(8, 40) / 8
    (row,) = reliability.calibration_ratios(record(actual, predicted)).to_dict("records")
    assert row["ratio"] == pytest.approx(actual.mean() / predicted.mean())
    assert row["low"] < row["ratio"] < row["high"] and row["note"] == "" and row["method"] == "BCa"
    assert row["sharpness"] == pytest.approx(predicted.mean() / 10)
    assert (row["landscape"], row["negative"]) == (3, 0.25)


@pytest.mark.parametrize(
    "predicted, note",
    [
        (np.zeros(20), CERTAIN),
        (np.full(20, -1e-13), CERTAIN),
        (np.full(20, -3.0), IMPOSSIBLE),
        (np.linspace(-1, 1.1, 20), IMPOSSIBLE),
    ],
)
def test_a_ratio_that_does_not_exist_is_named(predicted, note):
    (row,) = reliability.calibration_ratios(record(np.arange(20.0), predicted)).to_dict("records")
    assert (row["note"], row["method"]) == (note, "undefined")
    assert np.isnan([row["ratio"], row["low"], row["high"]]).all()
    assert row["predicted"] == pytest.approx(predicted.mean())


def test_coverage_has_a_row_for_each_kind_and_level():
    table = reliability.interval_coverage(record(np.ones(20), np.ones(20), covered=0.75))
    assert list(zip(table["kind"], table["nominal"], strict=True)) == [
        (kind, level) for kind in ("entries", "functionals") for level in (0.5, 0.8, 0.95)
    ]
    assert (table["coverage"] == 0.75).all() and (table["note"] == "").all()
    table = reliability.interval_coverage(record(np.ones(20), np.ones(20), covered=0.0, without=1.0))
    assert (table["note"] == NO_INTERVALS).all() and (table["coverage"] == 0).all() and (table["without"] == 1).all()


def test_the_difference_of_rank_correlations_is_paired(rng):
    actual = rng.standard_normal(60)
    predicted, kappa = actual + 0.5 * rng.standard_normal(60), actual + rng.standard_normal(60)
    own, rival = (stats.spearmanr(v, actual).statistic for v in (predicted, kappa))
    (row,) = reliability.error_ranking(record(actual, predicted, kappa)).to_dict("records")
    assert row["spearman"] == pytest.approx(own) and row["kappa"] == pytest.approx(rival)
    assert row["difference"] == pytest.approx(own - rival) and row["note"] == ""
    assert row["difference_low"] < own - rival < row["difference_high"]
    # Two rivals that say nearly the same differ surely by nearly nothing.
    near = reliability.rank_difference(predicted, predicted + 1e-3 * kappa, actual)
    assert near.high - near.low < 0.05 < row["spearman_high"] - row["spearman_low"]
    swapped = reliability.rank_difference(kappa, predicted, actual)
    assert swapped.estimate == pytest.approx(rival - own)


def test_a_constant_hessian_ranks_nothing_and_says_so(rng):
    actual, kappa = rng.standard_normal(30) ** 2, rng.standard_normal(30)
    alike = 3 + 1e-12 * rng.standard_normal(30)  # rounding is no ranking
    (row,) = reliability.error_ranking(record(actual, alike, kappa)).to_dict("records")
    assert row["note"] == ALIKE
    assert (row["spearman"], row["spearman_low"], row["spearman_high"]) == (0, 0, 0)
    assert row["difference"] == pytest.approx(-row["kappa"]) and row["kappa"] != 0
    (row,) = reliability.error_ranking(record(np.ones(30), alike, np.ones(30))).to_dict("records")
    assert row["note"] == f"{ALIKE}; {EXACT}; {SIMILAR}"
    unknown = {name for name, value in row.items() if name != "note" and not np.isfinite(value)}
    assert unknown == {"difference_low", "difference_high"}
