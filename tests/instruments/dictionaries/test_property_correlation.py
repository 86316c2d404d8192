"""Correlations with properties: planted ones are found, chance ones are not."""

import numpy as np
import pytest
import torch
from scipy import stats

from ired.instruments.dictionaries import property_correlation
from ired.instruments.dictionaries.property_correlation import Property, Units
from ired.instruments.statistics import intervals

P = 120


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def units(rng, kind="sae", count=30, problems=P):
    return Units(kind, rng.normal(size=(problems, count)), rng.normal(size=(problems, count)))


def plain(rng, *names, problems=P):
    return property_correlation.problem_properties({name: rng.normal(size=problems) for name in names})


def test_rho_and_p_are_those_of_scipy(rng):
    x = np.round(rng.normal(size=(40, 5)), 1).clip(0)  # ties
    properties = plain(rng, "trace", problems=40)
    found = property_correlation.correlate_units(Units("sae", x, x), properties, rng, 1)
    expected = [stats.spearmanr(column, properties[0].values) for column in x.T]
    np.testing.assert_allclose(found.rho[:, 0], [e.statistic for e in expected], atol=1e-12)
    np.testing.assert_allclose(found.p[:, 0], [e.pvalue for e in expected], atol=1e-12)


def test_independent_data_give_what_chance_gives(rng):
    properties = plain(rng, *property_correlation.MATRIX)
    found = property_correlation.correlate_units(units(rng, count=400), properties, rng, 200)
    assert 0.03 < (found.p < 0.05).mean() < 0.07
    assert (intervals.adjust(found.p) < 0.05).sum() <= 1
    best = found.best()
    assert (best["rho"].abs() < best["limit"]).mean() >= 0.6
    assert best["chance"].min() > 0.005


def test_the_null_of_the_maximum_covers_the_largest_correlation():
    hits = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        found = property_correlation.correlate_units(
            units(rng, count=20, problems=30), plain(rng, "trace", problems=30), rng, 60
        ).best()
        hits.append(found["chance"][0] <= 0.05)
    assert 0 < np.mean(hits) < 0.1


def test_more_units_reach_higher_by_chance(rng):
    properties = plain(rng, "trace")
    few, many = (property_correlation.correlate_units(units(rng, count=c), properties, rng, 100) for c in (5, 500))
    assert many.best()["limit"][0] > few.best()["limit"][0] + 0.05


def test_copies_of_tokens_change_nothing(rng):
    problem = np.repeat(np.arange(P), 4)
    x = torch.from_numpy(rng.normal(size=(len(problem), 6)))
    properties = plain(rng, "trace", "norm")
    p = []
    for copies in (1, 5):
        who, h = np.repeat(problem, copies), x.repeat_interleave(copies, 0)
        token = property_correlation.one_token_each(who, rng)
        seen = property_correlation.gather_units({"sae": torch.relu}, h.split(77 * 4), who, token, chunk=50)
        p.append(property_correlation.correlate_units(seen[0], properties, rng, 1).p)
    np.testing.assert_allclose(*p, atol=1e-12)


def test_units_are_gathered_from_shards(rng):
    problem = np.repeat(np.arange(5), 6)
    x = torch.from_numpy(rng.normal(size=(30, 3)))
    token = property_correlation.one_token_each(problem, rng)
    assert problem[token].tolist() == list(range(5))
    encoders = {"sae": torch.relu, "neuron": lambda h: h}
    sae, neuron = property_correlation.gather_units(encoders, x.split(12), problem, token, chunk=5)
    np.testing.assert_allclose(sae.mean, x.relu().view(5, 6, 3).mean(1))
    np.testing.assert_allclose(neuron.single, x[token])
    drawn = np.concatenate([property_correlation.one_token_each(problem, rng) % 6 for _ in range(300)])
    assert np.bincount(drawn, minlength=6).min() > 180  # of 250 each


def test_p_values_within_strata_are_right():
    seen = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        strata = rng.integers(0, 8, 60)
        prop = Property("error at one landscape", rng.normal(size=60) + strata, "token", strata)
        found = property_correlation.correlate_units(units(rng, count=20, problems=60), [prop], rng, 1)
        seen.append(found.p)
    assert 0.03 < (np.concatenate(seen) < 0.05).mean() < 0.07


def test_effective_rank_counts_equal_eigenvalues():
    spectrum = torch.tensor([[1.0, 1, 1, 1], [2.0, 2, 1e-12, 1e-12]], dtype=torch.float64)
    rank = property_correlation.effective_rank(torch.diag_embed(spectrum))
    torch.testing.assert_close(rank, torch.tensor([4.0, 2.0], dtype=torch.float64))


def test_components_leave_out_rounding():
    basis = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64))[0]
    spread = torch.tensor([1e-12, 0.1, 3, 1e-15, 1.0], dtype=torch.float64)
    found = property_correlation.principal_directions(basis * spread @ basis.mT)
    torch.testing.assert_close((found @ basis).abs(), torch.eye(5, dtype=torch.float64)[[2, 4, 1]])


def test_properties_that_say_the_same_are_seen(rng):
    x = rng.normal(size=P)
    properties = property_correlation.problem_properties({"trace": x, "norm": np.exp(x), "other": -x})
    table = property_correlation.property_correlations(properties).set_index(["first", "second"])["rho"]
    assert table["trace", "norm"] == pytest.approx(1)
    assert table["norm", "other"] == pytest.approx(-1)
