"""Intervals cover what they promise, and the problem is the unit."""

import warnings

import numpy as np
import pytest
from scipy import stats

from ired.instruments.statistics import intervals


def coverage(interval, draw, truth, rounds, rng):
    hits = 0
    for _ in range(rounds):
        found = interval(draw(rng))
        hits += found.low <= truth <= found.high
    return hits / rounds


@pytest.mark.slow
def test_student_interval_covers_at_five_units_where_bca_does_not():
    rng = np.random.default_rng(0)

    def draw(rng):
        return rng.normal(3, 2, 5)

    student = coverage(intervals.student_interval, draw, 3, 1500, rng)
    assert 0.93 < student < 0.97
    bca = coverage(lambda v: intervals.bootstrap_interval(v, resamples=499), draw, 3, 400, rng)
    assert bca < 0.915


@pytest.mark.slow
def test_bca_interval_covers_at_forty_skewed_units():
    rng = np.random.default_rng(1)
    found = coverage(
        lambda v: intervals.bootstrap_interval(v, resamples=799),
        lambda rng: rng.gamma(4.0, 1.0, 40),
        4.0,
        500,
        rng,
    )
    assert 0.915 < found < 0.975


def test_the_level_is_heeded():
    values = np.random.default_rng(2).normal(size=60)
    wide = intervals.bootstrap_interval(values, 0.99)
    narrow = intervals.bootstrap_interval(values, 0.8)
    assert wide.low < narrow.low < narrow.estimate < narrow.high < wide.high
    assert wide.level == 0.99 and wide.units == 60


def test_points_of_one_problem_are_no_independent_units():
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(30), 20)
    values = rng.normal(size=30)[groups] + 0.1 * rng.normal(size=600)
    naive = intervals.bootstrap_interval(values)
    clustered = intervals.bootstrap_interval(values, groups=groups)
    assert clustered.units == 30 and naive.units == 600
    # Within-group correlation near 1: the naive interval is too narrow by about sqrt(20) = 4.5.
    assert 3.5 < (clustered.high - clustered.low) / (naive.high - naive.low) < 5.5
    np.testing.assert_allclose(clustered.estimate, values.mean())


def test_unequal_groups_are_averaged_first():
    np.testing.assert_allclose(intervals.unit_means([1.0, 3.0, 10.0], ["b", "b", "a"]), [10.0, 2.0])


@pytest.mark.parametrize("count", [5, 50])
def test_constant_data_have_zero_width_and_no_warning(count):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for make in (
            intervals.mean_interval,
            intervals.bootstrap_interval,
            intervals.student_interval,
        ):
            found = make(np.full(count, 0.7))
            assert (found.low, found.estimate, found.high) == (0.7, 0.7, 0.7)


def test_undefined_bca_falls_back_without_nan():
    values = np.array([0.0] * 3 + [1.0] * 0 + [1e-300])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = intervals.bootstrap_interval(values, statistic=np.max)
    assert np.isfinite([found.low, found.high]).all()


def test_few_units_get_student_and_many_get_bca():
    rng = np.random.default_rng(4)
    assert intervals.mean_interval(rng.normal(size=14)).method == "t"
    assert intervals.mean_interval(rng.normal(size=15)).method == "BCa"
    cells = intervals.mean_intervals(rng.normal(size=(2, 3, 20)))
    assert cells.low.shape == cells.estimate.shape == (2, 3)
    assert (cells.low < cells.estimate).all()


def test_student_interval_is_the_textbook_one():
    values = np.array([1.0, 2.0, 4.0, 7.0])
    found = intervals.student_interval(values)
    low, high = stats.t.interval(0.95, 3, loc=values.mean(), scale=stats.sem(values))
    np.testing.assert_allclose([found.low, found.high], [low, high])


def test_pairing_removes_what_pairs_share():
    rng = np.random.default_rng(5)
    shared = rng.normal(size=40) * 10
    first, second = shared + 0.5 + 0.1 * rng.normal(size=40), shared + 0.1 * rng.normal(size=40)
    found = intervals.paired_interval(first, second)
    assert found.low > 0.4 and found.high < 0.6
    assert found.excludes(0.0) and not found.excludes(0.5)


@pytest.mark.slow
def test_spearman_interval_covers_a_known_rank_correlation():
    rng = np.random.default_rng(6)
    rho = 0.6
    truth = 6 / np.pi * np.arcsin(rho / 2)  # of a bivariate normal
    hits = 0
    for _ in range(200):
        x = rng.normal(size=80)
        y = rho * x + np.sqrt(1 - rho**2) * rng.normal(size=80)
        found = intervals.spearman_interval(x, y, resamples=399)
        np.testing.assert_allclose(found.estimate, stats.spearmanr(x, y).statistic)
        hits += found.low <= truth <= found.high
    assert 0.9 < hits / 200 < 0.99
    assert intervals.spearman_interval(np.arange(9.0), np.ones(9)).estimate == 0


def test_exact_proportion_of_all_successes():
    found = intervals.proportion_interval(50, 50)
    assert found.estimate == found.high == 1
    np.testing.assert_allclose(found.low, 0.025 ** (1 / 50))
    for hits in (0, 1, 17, 49):
        found = intervals.proportion_interval(hits, 50, 0.9)
        exact = stats.binomtest(hits, 50).proportion_ci(0.9)
        np.testing.assert_allclose((found.low, found.high), (exact.low, exact.high), atol=1e-12)


def test_sign_flips_are_exact_for_few_units():
    rng = np.random.default_rng(0)
    differences = rng.normal(0.4, 1, (6, 8)).round(1)  # rounded: ties
    own = intervals.sign_flip(differences)
    for p, row in zip(own, differences, strict=True):
        theirs = stats.permutation_test(
            (row, np.zeros(8)),
            lambda x, y, axis: (x - y).mean(axis),
            permutation_type="samples",
            n_resamples=np.inf,
            vectorized=True,
        )
        assert p == pytest.approx(theirs.pvalue)


def test_sign_flips_are_uniform_without_an_effect_and_small_with_one():
    rng = np.random.default_rng(1)
    p = intervals.sign_flip(rng.standard_normal((200, 40)), resamples=999)
    for level in (0.05, 0.25, 0.5):
        assert abs((p < level).mean() - level) < 4 * np.sqrt(level * (1 - level) / 200)
    assert (intervals.sign_flip(rng.standard_normal((20, 40)) + 1, resamples=999) < 0.01).all()
    assert intervals.sign_flip(np.zeros((2, 40))).tolist() == [1, 1]
    # A sum of the same numbers in another order reaches itself.
    assert intervals.sign_flip(np.full((1, 3), 0.1)) == 0.25


def test_benjamini_hochberg_by_hand():
    np.testing.assert_allclose(
        intervals.adjust([[0.01, 0.04], [0.03, 0.5]]),
        [[0.04, 0.04 * 4 / 3], [0.04 * 4 / 3, 0.5]],
    )


def test_bad_values_are_named():
    with pytest.raises(ValueError, match="two independent units"):
        intervals.mean_interval([1.0])
    with pytest.raises(ValueError, match="finite"):
        intervals.mean_interval([1.0, np.nan, 2.0])
    with pytest.raises(ValueError, match="group labels"):
        intervals.mean_interval([1.0, 2.0], groups=[1])


def test_ratio_interval_covers_a_ratio_of_means():
    random = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        size = random.uniform(1, 3, 60)
        hits += not intervals.ratio_interval(0.4 * size + random.normal(0, 0.3, 60), size, resamples=399).excludes(0.4)
    assert 180 <= hits <= 199
    with pytest.raises(ValueError, match="mean of 0"):
        intervals.ratio_interval([1.0, 2.0], [-1.0, 1.0])


def test_a_complement_is_the_interval_of_what_is_left():
    share = intervals.proportion_interval(9, 10)
    left = share.complement()
    assert (left.estimate, left.low, left.high) == (1 - share.estimate, 1 - share.high, 1 - share.low)
    assert left.low < left.estimate < left.high and (left.units, left.method) == (10, share.method)


def test_the_interval_of_a_median_lies_between_two_of_the_values_and_covers():
    rng = np.random.default_rng(3)
    interval = intervals.median_interval(np.arange(10.0))
    assert (interval.estimate, interval.low, interval.high, interval.units) == (4.5, 1, 8, 10)
    covered = 0
    for values in rng.exponential(size=(400, 25)):
        drawn = intervals.median_interval(values)
        assert drawn.low in values and drawn.high in values
        covered += drawn.low <= np.log(2) <= drawn.high
    assert covered / 400 > 0.95 - 3 * np.sqrt(0.05 * 0.95 / 400)
    few = intervals.median_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert few.estimate == 3 and np.isnan([few.low, few.high]).all()
