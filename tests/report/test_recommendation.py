"""Planted differences between variants give the verdicts, advice and seeds that were planted."""

from dataclasses import replace

import numpy as np
import pandas
import pytest
from scipy import stats

from ired.instruments.comparison.paired_seeds import compare_variants, detectable
from ired.report import recommendation as rule
from ired.report.recommendation import Goal, advise
from ired.report.recommendation_sentences import next_trainings, recommendations, seeds_needed

KINDS = rule.KINDS
GOALS = {goal.metric: goal for goal in rule.GOALS}
TEST, HARDER, MINIMA = "accuracy.mse.test", "accuracy.mse.harder", "landscape.minima"
ALARM, CURVATURE = "sanity.alarm", "landscape.curvature"


def exact(mean, deviation, seeds):
    """Differences with exactly this mean and deviation."""
    values = np.linspace(-1, 1, seeds)
    return mean + deviation * values / values.std(ddof=1)


def table(effects, seeds=10, reference=1.0, variants=(*KINDS, "product"), metrics=(TEST,)):
    """The comparison of values that differ from none's by `effects`: (variant, metric) → mean, deviation
    of the differences; what is not there has noise alone."""
    rng = np.random.default_rng(0)
    base = dict.fromkeys(metrics, reference) if isinstance(reference, float) else reference
    rows = []
    for metric in metrics:
        own = np.full(seeds, base[metric])
        rows += [("none", seed, metric, value) for seed, value in enumerate(own)]
        for variant in variants:
            mean, deviation = effects.get((variant, metric), (0.0, 0.01 * abs(base[metric])))
            added = rng.permutation(exact(mean, deviation, seeds))
            rows += [(variant, seed, metric, value) for seed, value in enumerate(own + added)]
    return compare_variants(pandas.DataFrame(rows, columns=["variant", "seed", "metric", "value"]), resamples=20).table


def one(found, metric):
    return next(each for each in found if each.goal.metric == metric)


def verdicts(found, metric):
    return {kind: cell.verdict for kind, cell in one(found, metric).cells.items()}


def test_what_was_planted_is_seen():
    found = advise(table({("adversarial", TEST): (-0.4, 0.05), ("property", TEST): (0.3, 0.05)}))
    cell = one(found, TEST).cells["adversarial"]
    assert verdicts(found, TEST) == {"random": rule.NO_DIFFERENCE, "adversarial": rule.BETTER, "property": rule.WORSE}
    assert one(found, TEST).take == "adversarial"
    reach = stats.t.ppf(0.975, 9) * 0.05 / np.sqrt(10)
    assert cell.relative == pytest.approx(-0.4) and cell.seeds == 10
    assert (cell.low, cell.high) == pytest.approx((-0.4 - reach, -0.4 + reach))
    assert cell.text == "−40 % [−44, −36]"
    assert "better: adversarial −40 % [−44, −36]" in one(found, TEST).why


def test_what_the_interval_shows_and_the_correction_does_not_is_perhaps():
    # One of three kinds with p between 0.05 / 3 and 0.05, the others with none to speak of.
    d_z = stats.t.ppf(1 - 0.03 / 2, 4) / np.sqrt(5)
    effects = {("random", TEST): (0.0, 0.1), ("property", TEST): (0.0, 0.1)}
    for sign, verdict in ((-1, rule.PERHAPS_BETTER), (1, rule.PERHAPS_WORSE)):
        found = advise(table(effects | {("adversarial", TEST): (sign * 0.1 * d_z, 0.1)}, seeds=5))
        cell = one(found, TEST).cells["adversarial"]
        assert cell.verdict == verdict and cell.p == pytest.approx(0.09)
        assert one(found, TEST).take.startswith(rule.ENOUGH)
        assert (one(found, TEST).take == "none is enough (perhaps adversarial)") == (sign < 0)
        assert any(line.startswith("adversarial and none with") for line in next_trainings(found))


def test_the_correction_is_over_the_kinds_of_a_goal_and_other_energies_are_apart():
    # p = 0.03 for each of three kinds stays 0.03, whatever other energies and goals have.
    d_z = stats.t.ppf(1 - 0.03 / 2, 4) / np.sqrt(5)
    effects = {(kind, TEST): (-0.1 * d_z, 0.1) for kind in KINDS} | {("product", TEST): (0.0, 0.1)}
    found = advise(table(effects, seeds=5, metrics=(TEST, HARDER)))
    assert [cell.p for cell in one(found, TEST).cells.values()] == pytest.approx([0.03] * 3)
    assert set(verdicts(found, TEST).values()) == {rule.BETTER}
    assert one(found, TEST).others["product"].verdict == rule.NO_DIFFERENCE
    assert one(found, TEST).others["product"].p == pytest.approx(1.0)


def test_where_nothing_differs_the_smallest_visible_difference_is_named():
    found = advise(table({("random", TEST): (0.0, 0.2)}, seeds=5, reference=2.0))
    cell = one(found, TEST).cells["random"]
    assert cell.verdict == rule.NO_DIFFERENCE
    assert cell.detectable == pytest.approx(detectable(5) * 0.2 / 2.0)
    assert cell.smallest == "17 %"
    assert one(found, TEST).take == rule.ENOUGH
    text = " ".join(recommendations(found))
    assert "random 17 %" in text and "Take" not in text


def test_which_way_is_better_is_the_goals():
    metrics = {TEST: 1.0, ALARM: 0.55, CURVATURE: 0.6}
    up = {("random", metric): (0.2, 0.01) for metric in metrics}
    found = advise(table(up, reference=metrics, metrics=tuple(metrics)))
    assert verdicts(found, TEST)["random"] == rule.WORSE
    assert verdicts(found, ALARM)["random"] == verdicts(found, CURVATURE)["random"] == rule.BETTER


@pytest.mark.parametrize(
    "reference, change, verdict",
    [
        (0.6, 0.2, rule.BETTER),
        (0.6, -0.2, rule.WORSE),
        (1.4, -0.2, rule.BETTER),
        (1.4, 0.2, rule.WORSE),
        (0.9, 0.5, rule.WORSE),
        (0.8, 0.4, rule.NO_DIFFERENCE),
    ],
)
def test_nearer_means_nearer_to_the_ideal_from_either_side(reference, change, verdict):
    found = advise(table({("random", CURVATURE): (change, 0.02)}, reference=reference, metrics=(CURVATURE,)))
    assert verdicts(found, CURVATURE)["random"] == verdict


def test_better_than_nothing_may_still_be_no_better_than_chance():
    effects = {("adversarial", ALARM): (0.1, 0.01), ("product", ALARM): (0.7, 0.01)}
    found = advise(table(effects, reference=0.2, metrics=(ALARM,)))
    alarm = one(found, ALARM)
    assert alarm.cells["adversarial"].verdict == rule.BETTER
    assert alarm.take == rule.NOTHING and alarm.instead == "product"
    assert any("no kind of negatives does: chance is 0.5" in line for line in recommendations(found))
    assert not any("Take" in line for line in recommendations(found))


def test_ties_go_to_the_cheaper():
    effects = {
        ("adversarial", MINIMA): (-0.45, 0.1),
        ("property", MINIMA): (-0.42, 0.1),
        ("random", MINIMA): (-0.1, 0.01),
    }
    found = table(effects, metrics=(MINIMA,))
    seconds = pandas.DataFrame(
        {"variant": ["none", "random", "adversarial", "property", "none"], "seconds": [9.0, 12.0, 23.0, 20.0, 11.0]}
    )
    priced = advise(found, seconds)
    assert one(advise(found), MINIMA).take == "adversarial"
    assert one(priced, MINIMA).take == "property"  # not random: the best lies outside its interval
    assert one(advise(found, seconds[seconds["variant"] != "property"]), MINIMA).take == "adversarial"
    assert one(advise(found, seconds[seconds["variant"] != "none"]), MINIMA).take == "adversarial"
    cost = priced[-1]
    assert cost.cells["adversarial"].text == "× 2.3" and cost.take == rule.CHEAPEST
    assert any("Training takes 2 times as long" in line for line in recommendations(priced))
    same = advise(found, pandas.DataFrame({"variant": ["adversarial"], "ratio": [0.9]}))
    assert same[-1].take == "adversarial" and same[-1].cells["property"].verdict == rule.MISSING


def test_an_energy_beyond_all_kinds_is_said_with_its_factor():
    effects = {("adversarial", TEST): (-0.5, 0.01), ("product", TEST): (-0.999, 0.0005)}
    found = advise(table(effects))
    assert one(found, TEST).instead == "product" and one(found, TEST).take == "adversarial"
    assert one(found, TEST).others["product"].text.startswith("÷ 1000 [")
    assert any(
        "Changing the energy to product" in line and "(500 times less than adversarial)" in line
        for line in recommendations(found)
    )
    assert "product with adversarial negatives: do they gain anything there?" in next_trainings(found)
    # As good as a kind is not beyond it.
    level = advise(table(effects | {("product", TEST): (-0.5, 0.01)}))
    assert one(level, TEST).instead == ""
    assert not any("Changing the energy" in line for line in recommendations(level))


def test_what_is_missing_is_named_and_never_recommended():
    found = advise(table({("adversarial", TEST): (-0.4, 0.05)}, variants=("adversarial",)))
    assert verdicts(found, TEST) == {"random": rule.MISSING, "adversarial": rule.BETTER, "property": rule.MISSING}
    assert one(found, HARDER).take == rule.UNKNOWN
    assert one(found, HARDER).why == "not measured: random, adversarial, property"
    told = recommendations(found)
    assert sum("harder" in line for line in told) == 1
    assert told[-1].startswith("Not measured, and so not recommended: random and property (answers after ")
    assert "random and property, not measured yet: answers after descent." in next_trainings(found)
    nothing = advise(table({}).iloc[:0])
    assert {each.take for each in nothing} == {rule.UNKNOWN}
    assert len(recommendations(nothing)) == 1


@pytest.mark.parametrize("column", ["p_t", "difference", "mean"])
def test_numbers_that_are_not_finite_are_as_missing(column):
    rows = table({("adversarial", TEST): (-0.4, 0.05)})
    rows.loc[rows["variant"] == "adversarial", column] = np.nan
    assert verdicts(advise(rows), TEST)["adversarial"] == rule.MISSING


def test_without_a_share_the_metrics_unit_is_told():
    found = advise(table({("adversarial", TEST): (-0.4, 0.05)}, reference=-1.0))
    cell = one(found, TEST).cells["adversarial"]
    assert cell.verdict == rule.BETTER and not cell.share
    assert cell.text == "−0.4 [−0.44, −0.36]"


def test_what_is_the_same_at_all_seeds_differs_in_nothing():
    found = advise(table({(kind, MINIMA): (0.0, 0.0) for kind in KINDS}, metrics=(MINIMA,)))
    cell = one(found, MINIMA).cells["random"]
    assert cell.verdict == rule.NO_DIFFERENCE and cell.p == 1 and cell.smallest == ""
    assert cell.text == "0.0 % [0.0, 0.0]"
    assert any("every kind it is the same at all seeds" in line for line in recommendations(found))
    assert not any(line.startswith("random and none") for line in next_trainings(found))
    # A difference without any deviation is one.
    sure = advise(table({("random", MINIMA): (-0.5, 0.0)}, metrics=(MINIMA,)))
    assert verdicts(sure, MINIMA)["random"] == rule.BETTER


def test_tables_that_cannot_be_read_are_refused():
    rows = table({})
    with pytest.raises(ValueError, match="no column 'p_t'"):
        advise(rows.drop(columns="p_t"))
    with pytest.raises(ValueError, match="twice"):
        advise(pandas.concat([rows, rows]))
    with pytest.raises(ValueError, match="seconds or ratio"):
        advise(rows, pandas.DataFrame({"variant": ["none"], "hours": [1.0]}))


def test_a_kind_that_gains_and_costs_is_asked_for_a_smaller_weight():
    effects = {("adversarial", TEST): (-0.4, 0.05), ("adversarial", HARDER): (0.2, 0.02)}
    found = advise(table(effects, metrics=(TEST, HARDER)))
    asked = (
        "adversarial with smaller weights of the contrastive loss: better at answers after descent, "
        "worse at harder problems; is there a weight that only gains?"
    )
    assert asked in next_trainings(found)
    assert any(
        "train without negatives: no kind is better; adversarial is worse, +20 % [+19, +21]" in line
        for line in recommendations(found)
    )


def test_another_table_gives_other_sentences():
    """Nothing is said whatever was found."""
    effects = {(kind, metric): (-0.4, 0.02) for kind in KINDS for metric in (TEST, HARDER)}
    good, bad = (
        advise(
            table(
                {cell: (sign * mean, deviation) for cell, (mean, deviation) in effects.items()}, metrics=(TEST, HARDER)
            )
        )
        for sign in (1, -1)
    )
    assert not set(recommendations(good)[:-1]) & set(recommendations(bad)[:-1])
    assert recommendations(good)[0].startswith("Take") and "Take" not in " ".join(recommendations(bad))


def test_descent_is_held_against_denoising_alone():
    metrics = {TEST: 0.4, "accuracy.mse_denoised.test": 0.2}
    assert any(
        "denoising alone without" in line
        for line in recommendations(advise(table({}, reference=metrics, metrics=tuple(metrics))))
    )
    metrics[TEST] = 0.1
    assert not any(
        "denoising alone without" in line
        for line in recommendations(advise(table({}, reference=metrics, metrics=tuple(metrics))))
    )


@pytest.mark.parametrize("d_z, level", [(1.565, 0.95), (0.8, 0.95), (0.8, 1 - 0.05 / 3), (-0.5, 0.95)])
def test_seeds_are_the_fewest_with_enough_power(d_z, level):
    count = seeds_needed(d_z, level)

    def power(n):
        critical = stats.t.ppf((1 + level) / 2, n - 1)
        return stats.nct.sf(critical, n - 1, abs(d_z) * np.sqrt(n))

    assert power(count) >= 0.8 > power(count - 1)


def test_seeds_agree_with_a_simulation_and_with_a_book():
    assert seeds_needed(0.5) == 34  # G*Power's example of a paired test, two-sided, 80 % power
    assert seeds_needed(0.1) is None
    values = np.random.default_rng(0).standard_normal((20000, seeds_needed(1.0))) + 1.0
    share = (stats.ttest_1samp(values, 0, axis=1).pvalue < 0.05).mean()
    assert 0.79 < share < 0.86


def test_effects_too_small_for_any_number_of_seeds_are_said_to_be():
    found = advise(table({("random", TEST): (-0.01, 0.1)}, variants=("random",)))
    assert any("with more than 50 seeds" in line for line in next_trainings(found))


def test_goals_know_their_way():
    goal = Goal("g", "m", rule.NEARER, "", ideal=1.0)
    assert goal.gains(0.6, 0.1, 0.3) == pytest.approx((0.1, 0.3))
    assert goal.gains(0.6, 0.1, 0.5) == pytest.approx((0.1, 0.4))  # the ideal lies within
    assert replace(goal, better=rule.LOWER).gains(0.6, 0.1, 0.3) == (-0.3, -0.1)
    assert goal.works(0.0) and not GOALS[ALARM].works(0.5) and GOALS[ALARM].works(0.6)
