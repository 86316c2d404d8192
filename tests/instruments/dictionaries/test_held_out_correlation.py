"""Selection on one half and ridge regression: what holds on problems that were not seen is found, chance is not."""

import numpy as np
import pandas
import pytest
from scipy import stats

from ired.instruments.dictionaries import held_out_correlation, property_correlation
from ired.instruments.dictionaries.property_correlation import Units
from ired.instruments.statistics import intervals
from tests.instruments.dictionaries.test_property_correlation import P, plain, units


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def test_a_monotone_relation_has_rho_one_at_its_unit_and_property(rng):
    planted, properties = units(rng), plain(rng, "trace", "norm")
    planted.mean[:, 7] = -np.exp(properties[1].values)
    found = property_correlation.correlate_units(planted, properties, rng, 50)
    assert found.rho[7, 1] == pytest.approx(-1)
    assert np.abs(np.delete(found.rho, 7, 0)).max() < 0.5
    best = found.best().set_index("property")
    assert best.loc["norm", "unit"] == best.loc["any", "unit"] == 7
    assert best.loc["norm", "chance"] == pytest.approx(1 / 51)
    picked = held_out_correlation.select([planted, units(rng, "neuron")], properties, resamples=200)
    assert picked.chosen[:, 0, 1].tolist() == [7, 7]
    assert picked.rho("sae").estimate[1] == pytest.approx(1)
    assert picked.ahead("sae", "neuron").low[1] > 0.5


def test_units_that_hardly_ever_fire_are_not_correlated(rng):
    x = np.zeros((P, 3))
    properties = plain(rng, "trace")
    top = np.argsort(properties[0].values)[::-1]
    x[:, 1] = 4.2
    x[top[: property_correlation.FEWEST - 1], 0] = 1
    x[top[: property_correlation.FEWEST], 2] = 1
    found = property_correlation.correlate_units(Units("sae", x, x), properties, rng, 10)
    assert found.rho[:2].tolist() == [[0], [0]] and found.p[:2].tolist() == [[1], [1]]
    assert found.rho[2, 0] > 0.2
    assert np.isfinite(held_out_correlation.select([Units("sae", x[:, :2], x)], properties).draws).all()


def test_a_confounder_disappears_at_equal_landscape(rng):
    count = 400
    landscape, kind = rng.integers(0, 10, count), rng.integers(0, 2, count)
    distance = np.exp(0.5 * landscape + 0.3 * rng.normal(size=count))
    single = np.stack([np.sqrt(landscape + rng.random(count)), distance**2], 1)
    seen = Units("sae", single, single)
    properties = property_correlation.token_properties(distance, landscape, kind)
    found = property_correlation.correlate_units(seen, properties, rng, 1)
    at = {name: i for i, name in enumerate(found.properties)}
    assert abs(found.rho[0, at["error"]]) > 0.9
    for fixed in ("error at one landscape", "error at one landscape and kind"):
        assert abs(found.rho[0, at[fixed]]) < 0.15 and found.p[0, at[fixed]] > 0.01
        assert found.rho[1, at[fixed]] == pytest.approx(1)
    r2 = held_out_correlation.predictability([seen], properties, resamples=50).set_index("property")["r2"]
    assert r2["landscape"] > 0.9 and r2["error"] > 0.9
    alone = Units("sae", single, single[:, :1])
    r2 = held_out_correlation.predictability([alone], properties, resamples=50).set_index("property")["r2"]
    assert r2["error"] > 0.8 and r2["error at one landscape"] < 0.05


@pytest.mark.parametrize("tied, strata", [(False, 1), (True, 1), (True, 3)])
def test_resampled_ranks_are_those_of_the_resample(rng, tied, strata):
    x, y = rng.normal(size=(2, 30))
    x = np.round(x).clip(0) if tied else x
    strata = rng.integers(0, strata, 30)
    weights = rng.multinomial(30, np.full(30, 1 / 30), 20).astype(np.float32)
    a, b = (held_out_correlation.resampled_ranks(v, weights, strata) for v in (x, y))
    found = held_out_correlation._weighted_cosine(a, b, weights)
    for row, value in zip(weights.astype(int), found, strict=True):
        again = np.repeat(np.arange(30), row)
        ranks = [np.zeros(30), np.zeros(30)]
        for stratum in np.unique(strata[again]):
            own = again[strata[again] == stratum]
            for r, v in zip(ranks, (x, y), strict=True):
                r[strata[again] == stratum] = (stats.rankdata(v[own]) - 0.5) / len(own) - 0.5
        expected = (ranks[0] * ranks[1]).sum() / np.sqrt((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum())
        assert value == pytest.approx(expected, abs=1e-5)


def test_selection_does_not_make_a_kind_win():
    """Both kinds follow equally well; the one with many more units has a larger maximum, and wins on
    held-out problems no more often than its level allows."""
    wins, naive = 0, []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        prop = plain(rng, "trace", problems=80)
        sae, neuron = units(rng, "sae", 200, 80), units(rng, "neuron", 5, 80)
        picked = held_out_correlation.select([sae, neuron], prop, seed, resamples=200)
        wins += picked.ahead("sae", "neuron").low[0] > 0
        best = [np.abs(property_correlation.correlate_units(u, prop, rng, 1).rho).max() for u in (sae, neuron)]
        naive.append(best[0] - best[1])
    assert wins <= 5
    assert np.mean(naive) > 0.1


def test_ridge_finds_a_linear_property_and_nothing_in_noise(rng):
    seen = units(rng, count=20)
    properties = property_correlation.problem_properties(
        {
            "trace": seen.mean @ rng.normal(size=20),
            "norm": rng.normal(size=P),
            "condition_number": np.exp(3 * seen.mean[:, 0]),
        }
    )
    found = held_out_correlation.predictability([seen], properties, resamples=200).set_index("property")
    assert found.loc["trace", "r2"] > 0.999
    assert found.loc["condition_number", "r2"] > 0.99  # its logarithm is linear
    assert found.loc["norm", "r2"] < 0.05
    assert (found["low"] <= found["r2"]).all() and (found["r2"] <= found["high"]).all()
    assert found.loc["norm", "low"] < 0


def test_a_feature_that_fired_once_in_training_does_not_shout(rng):
    x = rng.normal(size=(P, 3))
    rare = np.zeros((P, 4))
    rare[:4] = np.diag([1e-6, 1, 1e-6, 1])
    rare[4:8] = np.diag([1, 1e-6, 1, 1e-6])
    properties = property_correlation.problem_properties({"trace": x.sum(1) + rng.normal(size=P)})
    without, beside, alone = (
        held_out_correlation.predictability([Units("sae", u, u)], properties, resamples=10)["r2"][0]
        for u in (x, np.hstack([x, rare[:, :1] + rare[:, 2:3]]), rare[:, :1])
    )
    assert beside == pytest.approx(without) and abs(alone) < 0.1


def test_tables_hold_every_test(rng):
    properties = plain(rng, "trace", "norm") + property_correlation.token_properties(
        rng.random(P), rng.integers(0, 3, P), rng.integers(0, 2, P)
    )
    kinds = [units(rng, "sae", 9), units(rng, "neuron", 4)]
    tables = [property_correlation.correlate_units(u, properties, rng, 5).table() for u in kinds]
    assert [len(t) for t in tables] == [9 * 6, 4 * 6]
    row = tables[0].query("unit == 3 and property == 'landscape'").iloc[0]
    assert row.rho == pytest.approx(stats.spearmanr(kinds[0].single[:, 3], properties[2].values)[0])
    picked = held_out_correlation.select(kinds, properties, resamples=100)
    table = picked.table()
    assert len(table) == 12 and (table.query("kind == 'sae'")["ahead"] == 0).all()
    mean = held_out_correlation.mean_advantage([picked, picked], "sae", "neuron")
    assert mean.low <= mean.estimate <= mean.high
    gains = table[(table["kind"] == "neuron") & (table["property"] != "error")]["ahead"]
    assert mean.estimate == pytest.approx(gains.mean())


def test_a_feature_beats_neurons_only_if_it_survives_and_is_not_confounded(rng):
    landscape = rng.integers(0, 10, P)
    distance = landscape + 0.1 * rng.random(P)
    properties = plain(rng, "trace", "norm") + property_correlation.token_properties(distance, landscape, np.zeros(P))
    sae, neuron = units(rng, "sae", 9), units(rng, "neuron", 9)
    sae.mean[:, 2], sae.single[:, 5] = properties[0].values, landscape + rng.random(P)
    found = held_out_correlation.select([sae, neuron], properties, resamples=300).table()
    tests = pandas.concat(property_correlation.correlate_units(u, properties, rng, 1).table() for u in (sae, neuron))
    tests["p_adjusted"] = intervals.adjust(tests["p"])
    table = held_out_correlation.decided_units(found, tests).query("kind == 'neuron'").set_index("property")
    assert table["ahead_low"]["error"] > 0 and not table["beaten"]["error"]
    assert table["beaten"].to_dict() == {
        "trace": True,
        "norm": False,
        "landscape": True,
        "error": False,
        "error at one landscape": False,
        "error at one landscape and kind": False,
    }
    tests["p_adjusted"] = 0.06
    assert not held_out_correlation.decided_units(found, tests)["beaten"].any()


def test_layers_are_corrected_together_and_decided_one_by_one(rng):
    planted, neuron = units(rng), units(rng, "neuron")
    properties = property_correlation.problem_properties(
        {"trace": np.exp(planted.mean[:, 4]), "norm": rng.normal(size=P)}
    )
    layers = [
        held_out_correlation.of_layer(layer, kinds, [units(rng, "untrained")], properties, rng, 5, 0)
        for layer, kinds in (("fc1", [planted, neuron]), ("fc2", [units(rng), neuron]))
    ]
    inputs = held_out_correlation.predictability([units(rng, "input")], properties, resamples=10)
    tables = held_out_correlation.correlation_tables(layers, inputs)
    tests = tables["correlations"]
    np.testing.assert_array_equal(tests["p_adjusted"], intervals.adjust(tests["p"]))
    assert len(tests) == 2 * 2 * 30 * 2 and set(tables["ridge"]["kind"]) == {"sae", "neuron", "untrained", "input"}
    decisions = held_out_correlation.correlation_verdicts(tests, tables["selected"])
    assert decisions["some_feature_survives"] == (True, {"surviving": 1, "tests": 120})
    assert decisions["fc1_says_more_than_neurons"][0] and decisions["fc1_says_more_than_neurons"][1]["ahead"] > 0.5
    assert not decisions["fc2_says_more_than_neurons"][0]
