"""Two copies are equal, a planted shift is found, and error rates over seeds are what they say."""

import itertools

import numpy as np
import pandas
import pytest
from scipy import stats

from ired.instruments.comparison import known_answers, paired_seeds
from ired.instruments.comparison.paired_seeds import (
    LARGEST,
    against_constant,
    compare_variants,
    paired,
    spread,
)
from ired.instruments.statistics import intervals, power
from ired.instruments.statistics.intervals import adjust, student_interval
from ired.model import problems as model_problems


def long(values):
    """A table of values, variant → metric → numbers by seed."""
    rows = [(v, s, m, x) for v, metrics in values.items() for m, xs in metrics.items() for s, x in enumerate(xs)]
    return pandas.DataFrame(rows, columns=["variant", "seed", "metric", "value"])


def planted(rng, shape, seeds, deviation=1.0):
    """A reference (…, S) with effects of seeds that are larger than noise, and the same seeds again."""
    base = 20 + 3 * rng.standard_normal((*shape, seeds))
    return base, base + deviation * rng.standard_normal((*shape, seeds))


# Single cells


@pytest.mark.parametrize("seeds", [2, 5, 9])
def test_single_cells_are_scipys(seeds):
    second, first = planted(np.random.default_rng(seeds), (4,), seeds)
    first[3] = second[3] + np.resize([1.0, -2, 3, 3, -1], seeds)  # ties
    found = paired(first, second)
    for i in range(4):
        theirs = stats.ttest_rel(first[i], second[i])
        flips = stats.permutation_test(
            (first[i], second[i]),
            lambda x, y, axis: np.mean(x - y, axis=axis),
            permutation_type="samples",
            vectorized=True,
            n_resamples=np.inf,
        )
        np.testing.assert_allclose(found.p_t[i], theirs.pvalue, rtol=1e-9)
        np.testing.assert_allclose(found.t[i], theirs.statistic, rtol=1e-9)
        np.testing.assert_allclose(found.p_flip[i], flips.pvalue, rtol=1e-9)
        ends = student_interval(first[i] - second[i])
        np.testing.assert_allclose((found.low[i], found.high[i]), (ends.low, ends.high), rtol=1e-9)
    assert found.floor == 2 / 2**seeds


def test_beyond_fourteen_seeds_signs_are_random_and_seeded():
    second, first = planted(np.random.default_rng(0), (2,), 16)
    first[1] += 100
    found, again = paired(first, second), paired(first, second)
    np.testing.assert_array_equal(found.p_flip, again.p_flip)
    exact = stats.permutation_test(
        (first[0] - second[0],), np.mean, permutation_type="samples", n_resamples=np.inf, vectorized=True
    ).pvalue
    assert abs(found.p_flip[0] - exact) < 0.02
    assert found.p_flip[1] < 3e-4 and found.p_flip[1] >= found.floor == 1 / (2**14 + 1)


def test_numbers_stay_finite_where_nothing_varies():
    found = paired(
        [[1.0, 2.0, 4.0], [1.5, 2.5, 4.5], [0.5, 1.5, 3.5], [0.1 + 0.2, 1.0, 2.0]],
        [[1.0, 2.0, 4.0], [1.0, 2.0, 4.0], [1.0, 2.0, 4.0], [0.3, 1.0, 2.0]],
    )
    assert found.d_z.tolist() == [0, LARGEST, -LARGEST, 0]
    assert found.p_t[[0, 3]].tolist() == found.p_flip[[0, 3]].tolist() == [1, 1]
    assert 0 < found.p_t[1] == found.p_t[2] < 1e-4 and found.p_flip[1] == 0.25
    np.testing.assert_allclose(np.stack([found.low, found.high]), np.stack([found.mean] * 2))
    assert all(np.isfinite(getattr(found, name)).all() for name in ("t", "low", "high", "deviation"))


# Tables


def test_two_copies_of_one_variant_are_equal():
    rng = np.random.default_rng(1)
    metrics = {f"m{i}": rng.standard_normal(5) for i in range(6)} | {"constant": np.zeros(5)}
    found = compare_variants(long({"none": metrics, "copy": metrics}))
    table = found.table
    assert not table["significant"].any() and table["identical"].all()
    for name in ("difference", "d_z", "seed_deviations", "detectable", "low", "high", "bootstrap_low"):
        assert (table[name] == 0).all()
    assert (table[["p_t", "p_flip", "p_t_adjusted", "p_flip_adjusted"]] == 1).all(axis=None)
    assert found.interval("copy", "m0").method == "constant" and found.floor == 0.0625


def test_a_planted_shift_is_found_with_its_size():
    rng = np.random.default_rng(2)
    second, first = planted(rng, (), 10)
    none = {f"m{i}": planted(rng, (), 10)[0] for i in range(9)}
    other = {name: x + rng.standard_normal(10) for name, x in none.items()}
    found = compare_variants(long({"none": none | {"moved": second}, "other": other | {"moved": first - 5.0}}))
    row = found.cell("other", "moved")
    assert row["low"] < -5 < row["high"] and row["significant"] and row["p_flip_adjusted"] < 0.05
    assert found.table["p_t"].idxmin() == found.table["p_flip"].idxmin() == row.name
    assert row["d_z"] == pytest.approx(row["difference"] / np.std(first - second, ddof=1))
    assert row["relative"] == pytest.approx(row["difference"] / row["reference_mean"])
    assert row["relative_low"] < -5 / 20 < row["relative_high"] < 0
    within = np.sqrt((first.var(ddof=1) + second.var(ddof=1)) / 2)
    assert row["seed_deviations"] == pytest.approx(row["difference"] / within)
    assert row["bootstrap_low"] < row["difference"] < row["bootstrap_high"]
    assert row["detectable"] == pytest.approx(power.detectable(10) * row["deviation"])
    np.testing.assert_allclose(found.table["p_t_adjusted"], adjust(found.table["p_t"]))
    np.testing.assert_allclose(found.table["p_flip_adjusted"], adjust(found.table["p_flip"]))
    ours = found.interval("other", "moved")
    assert (ours.low, ours.high, ours.units) == (row["low"], row["high"], 10)
    assert found.numbers()["other.moved.difference"] == row["difference"]


def test_order_of_rows_phases_and_absent_cells():
    rng = np.random.default_rng(3)
    values = {v: {m: rng.standard_normal(3) for m in "zab"} for v in ("random", "none", "adversarial")}
    del values["random"]["a"]
    table = long(values)
    table["phase"] = table["metric"].map({"z": "P1", "a": "P2", "b": "P3"})
    found, mixed = compare_variants(table), compare_variants(table.sample(frac=1, random_state=0))
    assert found.absent == (("random", "a"),)
    cells = found.table[["metric", "variant", "phase"]].itertuples(index=False, name=None)
    assert list(cells) == [
        ("z", "random", "P1"),
        ("z", "adversarial", "P1"),
        ("b", "random", "P3"),
        ("b", "adversarial", "P3"),
        ("a", "adversarial", "P2"),
    ]
    for row in found.table.itertuples():
        assert mixed.cell(row.variant, row.metric)["difference"] == row.difference
    # Standard normal references have means that may be 0: no share of them, and no NaN in the log.
    assert np.isfinite(list(found.numbers().values())).all()
    with pytest.raises(ValueError, match="'a' of variant 'random' was not compared"):
        found.cell("random", "a")


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda t: t.drop(columns="seed"), "no column 'seed'"),
        (lambda t: t.drop(index=4), "variant 'other' has no 'm' at seed 1, which others have"),
        (lambda t: pandas.concat([t, t.iloc[[2]]]), "'m' of variant 'none' at seed 2 has more than one"),
        (lambda t: t[t["seed"] == 0], "at least two seeds, not 1"),
        (lambda t: t.assign(value=[0, 1, 2, np.inf, 4, 5]), "'m' of variant 'other' at seed 0 is not fin"),
        (lambda t: t.assign(variant=["a"] * 3 + ["b"] * 3), "reference 'none' is not among"),
        (lambda t: t[t["variant"] == "none"], "the only variant"),
        (lambda t: t.assign(metric=["m"] * 3 + ["k"] * 3), "the reference 'none' has no values of 'k'"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(spoil, message):
    table = long({"none": {"m": [1.0, 2, 3]}, "other": {"m": [1.0, 2, 4]}})
    with pytest.raises(ValueError, match=message) as found:
        compare_variants(spoil(table))
    assert "\n" not in str(found.value)


# Error rates, power, coverage


@pytest.mark.parametrize("seeds", [4, 5, 8])
def test_over_all_relabelled_seeds_the_permutation_test_is_exact(seeds):
    # Whatever the data, an effect included: swapping labels within seeds is the test's own null.
    second, first = planted(np.random.default_rng(seeds), (), seeds)
    first = first + 2.0
    swap = np.array(list(itertools.product([False, True], repeat=seeds)))
    p = paired(np.where(swap, second, first), np.where(swap, first, second)).p_flip
    for k in range(0, 2**seeds + 1, 2):
        assert (p <= k / 2**seeds + 1e-12).sum() == k
    for level in (0.01, 0.05, 0.1, 0.33):
        assert (p <= level).mean() <= level


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_over_randomly_relabelled_seeds_error_rates_are_nominal(seeds):
    rng = np.random.default_rng(10 + seeds)
    second, first = planted(rng, (20000,), seeds)
    swap = rng.random(first.shape) < 0.5
    found = paired(np.where(swap, second, first), np.where(swap, first, second))
    # Four standard deviations of a share of 0.05 among 20000.
    assert abs((found.p_t < 0.05).mean() - 0.05) < 0.0062
    assert abs(((found.low > 0) | (found.high < 0)).mean() - 0.05) < 0.0062
    for k in (2, 4):
        rate = k / 2**seeds
        assert abs((found.p_flip <= rate + 1e-12).mean() - rate) < 4 * np.sqrt(rate / 20000)


@pytest.mark.slow
def test_a_relabelled_table_has_few_false_alarms():
    rng = np.random.default_rng(4)
    false = []
    for _ in range(40):
        second, first = planted(rng, (20,), 5)
        swap = rng.random(5) < 0.5  # the same labels for all metrics of a seed
        sides = (np.where(swap, first, second), np.where(swap, second, first))
        named = {
            name: {f"m{i}": x for i, x in enumerate(side)} for name, side in zip(("none", "b"), sides, strict=True)
        }
        false.append(compare_variants(long(named), resamples=20).table["significant"].any())
    # At most one in twenty tables should raise any alarm; 40 tables: 2, and four deviations more.
    assert sum(false) <= 7


@pytest.mark.parametrize("seeds, about", [(3, 3.26), (5, 1.68), (10, 1.0)])
def test_power_at_the_smallest_detectable_effect_is_eighty_percent(seeds, about):
    rng = np.random.default_rng(20 + seeds)
    least = power.detectable(seeds)
    assert least == pytest.approx(about, abs=0.01)
    second, first = planted(rng, (20000,), seeds, deviation=2.0)
    found = paired(first + 2.0 * least, second)
    assert abs((found.p_t < 0.05).mean() - 0.8) < 0.015
    np.testing.assert_allclose(power.power_of_paired_t_test(least, seeds), 0.8, atol=1e-9)


def test_detectable_effects_shrink_with_seeds_and_exist_for_two():
    assert power.detectable(2) == pytest.approx(11.5, abs=0.3)
    falling = [power.detectable(s) for s in (2, 3, 4, 5, 10, 30, 100)]
    assert falling == sorted(falling, reverse=True)


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_intervals_cover_what_they_promise(seeds):
    second, first = planted(np.random.default_rng(30 + seeds), (10000,), seeds)
    found = paired(first + 1.5, second)
    assert abs(((found.low <= 1.5) & (1.5 <= found.high)).mean() - 0.95) < 0.015
    # The ratio of means, 0.8: both sides vary, and their seeds are the same.
    base = 20 + 2 * np.random.default_rng(40 + seeds).standard_normal((10000, seeds))
    less = 0.8 * base + 0.5 * np.random.default_rng(50 + seeds).standard_normal(base.shape)
    _, low, high = intervals.fieller(less, base, 0.95)
    bounded = np.isfinite(low)
    covered = ((low <= -0.2) & (-0.2 <= high))[bounded].mean()
    assert abs(covered - 0.95) < 0.02 and (bounded.mean() > 0.99 or seeds == 2)


# Against a number, and variants beside seeds


def test_a_constant_is_beaten_by_more_than_the_margin_or_not():
    values = np.array([0.90, 0.91, 0.89, 0.90, 0.92])
    near, far = against_constant(values, 1.0), against_constant(values, 1.0, margin=0.2)
    assert near.beats and not far.beats and near.p_t < 0.05
    ends = student_interval(values)
    assert (near.relative.low, near.relative.high) == pytest.approx((ends.low - 1, ends.high - 1))
    assert (near.difference.low, near.difference.high) == pytest.approx((ends.low - 1, ends.high - 1))
    assert near.row()["beats"] == 1 and near.floor == 0.0625
    assert not against_constant(values, 0.94).beats  # by 4 %
    assert not against_constant(2 - values, 1.0).beats  # above
    # A constant of each seed's own: what the seed does to both drops out.
    moving = np.array([1.0, 2.0, 0.5, 4.0, 3.0])
    own = against_constant(0.9 * moving * (1 + 0.01 * values), moving)
    assert own.beats and own.relative.high < -0.08
    assert not against_constant(0.9 * moving, moving.mean()).beats
    with pytest.raises(ValueError, match="positive"):
        against_constant(values, 0.0)
    with pytest.raises(ValueError, match="two seeds"):
        against_constant([1.0], 1.0)


def test_planted_shares_of_variants_and_seeds_are_found():
    rng = np.random.default_rng(5)
    V, S = 8, 6
    shares = []
    for parts in ((1.0, 4.0, 1.0), (9.0, 1.0, 1.0), (0.0, 1.0, 1.0)):
        root = np.sqrt(parts)
        x = (
            root[0] * rng.standard_normal((150, V, 1))
            + root[1] * rng.standard_normal((150, 1, S))
            + root[2] * rng.standard_normal((150, V, S))
        )
        table = long({str(v): {f"m{i}": x[i, v] for i in range(150)} for v in range(V)})
        found = spread(table)
        shares.append(found["variant"].mean())
        np.testing.assert_allclose(found[["variant", "seed", "rest"]].sum(axis=1), 1)
        if parts[0] == 0:
            assert (found["p"] < 0.05).mean() < 0.13 and not found["larger"].any()
    # Shares of noisy components lean towards the middle.
    assert shares[0] == pytest.approx(1 / 6, abs=0.08)
    assert shares[1] == pytest.approx(9 / 11, abs=0.08) and shares[2] < 0.05


def test_spread_where_nothing_varies_is_finite():
    same, step = [0.3, 0.3, 0.3], [1.0, 1.0, 1.0]
    first = {"same": same, "step": same, "only": same}
    found = spread(long({"a": first, "b": {"same": same, "step": step}}))
    assert found["metric"].tolist() == ["same", "step"]
    assert np.isfinite(found.drop(columns="metric").to_numpy(dtype=float)).all()
    assert found["larger"].tolist() == [False, True] and found["p"][0] == 1
    with pytest.raises(ValueError, match="two variants"):
        spread(long({"a": {"m": same}}))


# Calibration


@pytest.mark.parametrize(
    "name, spoil",
    [
        ("_flips", lambda p: np.minimum(p, 1 - p)),
        ("sign_flip", lambda p: p / 2),
        ("_in_deviations", lambda d: 0.8 * d),
        ("_in_deviations", lambda d: 1.2 * d),
        ("detectable", lambda d: 0.8 * d),
        ("power_of_paired_t_test", lambda p: p**2),
        ("fieller", lambda ends: (ends[0], 1.2 * ends[1], 1.2 * ends[2])),
    ],
)
def test_a_broken_statistic_is_named(monkeypatch, name, spoil):
    power.detectable.cache_clear()
    module = next(module for module in (power, paired_seeds, intervals) if hasattr(module, name))
    sound = getattr(module, name)
    monkeypatch.setattr(module, name, lambda *a, **k: spoil(sound(*a, **k)))
    checks = known_answers.check_comparison(model_problems.generator(0, "comparison"))
    assert {check.instrument for check in checks if not check.passed} == {"comparison"}
    monkeypatch.undo()
    power.detectable.cache_clear()
