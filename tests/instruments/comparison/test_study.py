"""What P7-04 decides: planted tables give exactly the verdicts that were planted."""

import numpy as np
import pytest
from pandas import DataFrame

from ired.instruments.comparison import similarity, study
from ired.instruments.statistics.intervals import student_interval

NETWORKS, OTHERS, SEEDS = ("none", "random", "adversarial", "property"), ("product",), range(5)
METRICS = (study.SAMPLED, study.DENOISED, study.HARDER, "landscape.sharpness", "landscape.nearest_minimum")


def models(shift=None, others=OTHERS):
    """All variants alike up to seeds and a little noise, but for (variant, metric) → factor."""
    rng = np.random.default_rng(1)  # in which chance finds nothing, as it does in one of twenty
    numbers = {}
    own = 1 + 0.1 * rng.standard_normal(len(SEEDS))
    for variant in (*NETWORKS, *others):
        for seed in SEEDS:
            numbers[variant, seed] = {
                metric: 0.004
                * own[seed]
                * (1 + 0.01 * rng.standard_normal())
                * (shift or {}).get((variant, metric), 1.0)
                for metric in METRICS
            }
    return numbers


def pairs(mining=0.60, seeds=0.60, copy=1.0, shuffled=0.01):
    rows = [
        {
            "kind": one.kind,
            "first": one.first[0],
            "first_seed": one.first[1],
            "second": one.second[0],
            "second_seed": one.second[1],
            "score": (mining if one.kind == similarity.MINING else seeds) + 0.002 * one.first[1],
        }
        for one in similarity.model_pairs(NETWORKS, list(SEEDS))
    ]
    beside = {study.COPY: copy, study.SHUFFLED: shuffled, study.UNTRAINED: 0.1}
    rows += [
        {"kind": name, "first": "none", "first_seed": 0, "second": name, "second_seed": 0, "score": score}
        for name, score in beside.items()
    ]
    return DataFrame(rows)


def decided(numbers=None, alike=None, linear=0.004, recipes=None, others=OTHERS):
    numbers = numbers or models(others=others)
    recipes = recipes or dict.fromkeys(numbers, {"steps": 4000})
    return study.VariantStudy.of(
        study.long(numbers), pairs() if alike is None else alike, NETWORKS, others, linear, recipes
    )


def met(found):
    return {name for name, (yes, _) in found.verdicts().items() if yes}


def test_where_nothing_differs_nothing_is_claimed():
    assert met(decided()) == {"only_negatives_differ", "told_apart", "findings_persist"}


@pytest.mark.parametrize(
    "metric, factor, name",
    [
        (study.SAMPLED, 0.5, "mining_helps"),
        (study.DENOISED, 0.5, "mining_helps_without_descent"),
        (study.HARDER, 0.5, "mining_helps_harder"),
        ("landscape.sharpness", 2.0, "landscapes_sharpen"),
        ("landscape.nearest_minimum", 0.5, "minima_come_nearer"),
    ],
)
def test_a_planted_difference_is_found_and_its_opposite_is_not(metric, factor, name):
    nothing = met(decided())
    better = met(decided(models({("adversarial", metric): factor})))
    extra = {"beats_least_squares"} if metric == study.SAMPLED else set()
    assert better == nothing | {name} | extra
    assert met(decided(models({("adversarial", metric): 1 / factor}))) == nothing


def test_the_interval_is_that_of_paired_differences():
    found = decided(models({("random", study.SAMPLED): 0.9}))
    values = [found.values(variant, study.SAMPLED) for variant in ("random", "none")]
    seen = student_interval(values[0] - values[1])
    _, numbers = found.lower(study.SAMPLED)
    assert numbers["random.low"] == pytest.approx(seen.low)
    assert numbers["random.high"] == pytest.approx(seen.high)


def test_least_squares_must_be_beaten_by_more_than_five_percent():
    assert "beats_least_squares" not in met(decided(linear=0.0041))
    assert "beats_least_squares" in met(decided(linear=0.008))


def test_products_must_be_better_on_both_sets():
    one = {("product", study.SAMPLED): 0.1}
    both = one | {("product", study.HARDER): 0.1}
    assert "products_beat_networks" not in met(decided(models(one)))
    assert "products_beat_networks" in met(decided(models(both)))
    assert "products_beat_networks" not in met(decided(models(both, others=()), others=()))


def test_findings_persist_if_mining_changes_no_more_than_a_seed_does():
    assert "findings_persist" in met(decided(alike=pairs(mining=0.57)))
    assert "findings_persist" not in met(decided(alike=pairs(mining=0.5)))
    assert "told_apart" not in met(decided(alike=pairs(shuffled=0.3)))
    assert "told_apart" not in met(decided(alike=pairs(copy=0.99)))


def test_another_recipe_is_seen():
    numbers = models()
    recipes = dict.fromkeys(numbers, {"steps": 4000}) | {("random", 3): {"steps": 3999}}
    assert "only_negatives_differ" not in met(decided(numbers, recipes=recipes))
    recipes = dict.fromkeys(numbers, {"steps": 4000}) | {("product", 3): {"steps": 300}}
    assert "only_negatives_differ" in met(decided(numbers, recipes=recipes))


def test_rounding_of_exact_equivariance_is_no_difference():
    table = study.long({("product", 0): {"equivariance.rotated_score": 3e-16, "landscape.radius": 3e-16}})
    assert table["value"].tolist() == [3e-16, 0.0]
    assert table["phase"].tolist() == [1, 6]


def test_numbers_and_headline_are_finite():
    found = decided(models({("random", study.SAMPLED): 0.8}))
    label, *numbers = found.headline()
    assert label.startswith("sampled MSE, random") and numbers[0] == pytest.approx(-0.2, abs=0.02)
    assert numbers[1] < numbers[0] < numbers[2]
    assert np.isfinite(list(found.numbers().values())).all()
    assert found.numbers()["consistency.seeds"] == pytest.approx(0.604)
    accuracy = study.accuracy_rows(found.table, 50)
    assert set(accuracy["family"]) == {"test", "harder"} and set(accuracy["steps"]) == {0, 50}


def test_other_energies_do_not_make_negatives_significant():
    """All cells of "product" differ by far; those of the kinds of negatives are corrected as without it."""
    far = {("product", metric): 100.0 for metric in METRICS}
    alone, beside = decided(others=()), decided(models(far))
    kinds = list(NETWORKS[1:])
    for found in (alone, beside):
        assert set(found.compared.table["variant"]) == set(kinds) | set(found.others)
    ours = beside.compared.table
    own = ours[ours["variant"].isin(kinds)].reset_index(drop=True)
    # Seeds are drawn variant by variant, "product" last: the networks' numbers are the same.
    assert own["p_t_adjusted"].to_numpy() == pytest.approx(alone.compared.table["p_t_adjusted"].to_numpy())
    assert ours.loc[~ours["variant"].isin(kinds), "significant"].all()
