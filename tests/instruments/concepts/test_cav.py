"""Concept vectors find what was planted, and nothing where nothing was."""

import numpy as np
import pytest
import torch

from ired.instruments.concepts import cav as concepts, known_answers as calibration
from ired.instruments.concepts.cav import INPUT, METHODS, PRIMARY
from ired.instruments.core import directions, states as points
from ired.instruments.core.directions import CONCEPTS, OF_PROBLEMS
from ired.model import problems as model_problems

LAYERS = ("fc1", "fc3")


def missed(checks):
    return [str(check) for check in checks if not check.passed]


def test_planted_data_are_found():
    assert missed(calibration.check_concepts(torch.Generator().manual_seed(0))) == []


def test_heads_have_their_exact_scores(references):
    assert missed(calibration.check_tcav(references, torch.Generator().manual_seed(0))) == []


@pytest.mark.parametrize(
    "name, spoil, what",
    [
        ("fit", lambda cav: np.roll(cav, 1), "primary CAV"),
        ("random_cavs", lambda cavs: np.abs(cavs), "random labels"),
        ("accuracies", lambda right: right | {"region": right["linear"]}, "region"),
        ("matched", lambda pairs: pairs[np.argsort(pairs[:, 0])] * 0 + [[0, 1]], "after it"),
    ],
    ids=["direction", "null", "region", "matching"],
)
def test_a_broken_instrument_is_named(monkeypatch, name, spoil, what):
    own = getattr(concepts, name)
    monkeypatch.setattr(concepts, name, lambda *a, **k: spoil(own(*a, **k)))
    with np.errstate(all="ignore"):
        found = missed(calibration.check_concepts(torch.Generator().manual_seed(0)))
    assert any(what in line for line in found)


def test_broken_slopes_are_named(references, monkeypatch):
    own = concepts._slope
    monkeypatch.setattr(concepts, "_slope", lambda *a: 1.1 * own(*a))
    assert missed(calibration.check_tcav(references, torch.Generator().manual_seed(0)))


def test_planted_data_choose_the_method():
    for seed in range(4):
        primary, seen = calibration.chosen(np.random.default_rng(seed))
        assert primary == PRIMARY
        # What the others do: filters turn away from noise and bend less to the confounder; a plain
        # pattern goes after it.
        assert seen["filter"][0] < 0.95 and seen["filter"][1] > seen["filter"][2]
        assert seen["pattern"][0] >= 0.95 and seen["pattern"][2] > seen["pattern"][1]


@pytest.mark.parametrize("method", METHODS)
def test_a_cav_is_of_length_1_and_grows_with_the_concept(method):
    data = calibration.planted(np.random.default_rng(0), 0.0, pairs=60)
    cav = concepts.fit(method, data.h, data.z)
    assert np.linalg.norm(cav) == pytest.approx(1)
    assert cav @ data.concept > 0.5
    assert concepts.fit(method, data.h[:, ::-1], data.z[:, ::-1]) @ cav == pytest.approx(-1, abs=1e-3)


def test_auroc_by_hand():
    # Low sides 0, 2; high sides 1, 3: three of four comparisons are right.
    h = np.array([[[0.0], [1.0]], [[2.0], [3.0]]])
    values = concepts.auroc_values(np.ones((1, 1)), h, np.zeros(2, dtype=int))
    assert values.mean() == pytest.approx(0.75)
    assert concepts.auroc_values(np.zeros((1, 1)), h, np.zeros(2, dtype=int)).mean() == 0.5


def test_auroc_is_that_of_scikit_learn():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    h = rng.normal(size=(50, 2, 3))
    cav = rng.normal(size=3)
    known = roc_auc_score(np.tile([0, 1], 50), (h @ cav).ravel())
    assert concepts.auroc_values(cav[None], h, np.zeros(50)).mean() == pytest.approx(known)


def test_p_values_by_hand():
    found = concepts.Tcav(np.array([0.9, 0.1, 0.5, 0.4]), np.array([0.0, 0.0, 0.0, 0.0]), 10)
    assert found.p("score") == 0.5
    assert found.p("mean") == 1.0


def test_r2_values_average_to_r2():
    rng = np.random.default_rng(0)
    error, spread = rng.random(40), 1 + rng.random(40)
    values = concepts._explained(error, spread)
    assert values.mean() == pytest.approx(1 - error.sum() / spread.sum())


@pytest.fixture
def shown(network):
    """A population of 160 problems and pairs of all concepts."""
    A = model_problems.draw(160, network.coordinates.n, 0.5, model_problems.generator(0, "concepts"),
                            torch.float64)  # fmt: skip
    rng = np.random.default_rng(0)
    population = concepts.Population.of(A, model_problems.properties(A), 2, rng)
    pairs = concepts.pairs(network, population, 20, 0.8, model_problems.generator(0, "pairs"))
    return A, population, pairs


def test_pairs_show_one_concept(network, shown):
    A, population, pairs = shown
    y0 = points.answers(network, A)
    assert [own.concept for own in pairs] == list(CONCEPTS)
    for own in pairs:
        assert 4 <= len(own) <= 20
        # No fold lends a problem to another.
        assert (population.fold[own.problem] == own.fold[:, None]).all()
        assert (population.fold[own.answer] == own.fold[:, None]).all()
    for place, own in enumerate(pairs[: len(OF_PROBLEMS)]):
        assert (np.diff(population.measures[own.problem, place]) > 0).all()
        assert (np.linalg.norm(np.diff(own.confounders, axis=1), axis=-1) <= 0.8).all()
        assert len(np.unique(own.problem)) == own.problem.size
    noisy, correct = pairs[-2:]
    k = 4
    away = noisy.states(network, y0, k) - points.centre(network, y0, k)[noisy.problem]
    radii = away.norm(dim=-1) / points.noise_radius(network, k)
    assert (radii[:, 0] <= 1).all() and (radii[:, 1] >= 1).all()
    assert (correct.answer[:, 1] == correct.problem[:, 1]).all()
    assert (correct.answer[:, 0] != correct.problem[:, 0]).all()
    # Each answer is as often right as wrong.
    for problem in np.unique(correct.problem):
        assert (correct.answer[:, 0] == problem).sum() == (correct.answer[:, 1] == problem).sum() == 1


def test_too_few_pairs_are_refused(network, shown):
    with pytest.raises(ValueError, match="a wider caliper"):
        concepts.pairs(network, shown[1], 20, 1e-6, torch.Generator().manual_seed(0))


def test_activations_belong_to_their_pairs(network, shown):
    A, _, pairs = shown
    y0, own, k = points.answers(network, A), pairs[-1], 3
    h = concepts.activations(network, A, y0, own, k, (INPUT, "fc2"))
    y = own.states(network, y0, k)[5, 1][None]
    known = network.activations(A[own.problem[5, 1]][None], y, k)["fc2"]
    assert np.allclose(h["fc2"][5, 1], points.array(known)[0])
    assert h[INPUT].shape == (len(own), 2, 2 * network.coordinates.size)


def test_a_study_of_a_network(network, shown):
    A, population, pairs = shown
    y0, landscapes = points.answers(network, A), (0, 6)
    slopes = concepts.all_slopes(network, A[:30], y0[:30], landscapes, LAYERS,
                                 torch.Generator().manual_seed(0))  # fmt: skip
    rng = np.random.default_rng(0)
    found = concepts.study(network, A, y0, pairs, (INPUT, *LAYERS), slopes, 39, rng)
    cells = len(CONCEPTS) * len(LAYERS) * len(landscapes)
    assert len(found.tcav) == 2 * cells and len(found.agreement) == cells
    assert len(found.confusion) == 2 * len(CONCEPTS) * cells
    for table in found.tables().values():
        assert np.isfinite(table.select_dtypes("number")).all(axis=None)
    own = found.confusion.query("concept == pairs and method == @PRIMARY")["auroc"].to_numpy()
    same = found.auroc.query("method == @PRIMARY and labels == 'own' and layer != @INPUT")["auroc"]
    assert np.allclose(own, same)

    handed = found.found()
    assert len(handed) == len(CONCEPTS) * len(LAYERS)
    again = directions.unpack(*directions.pack(handed))
    assert all(d.source == "concept" and d.vector.norm() == pytest.approx(1) for d in again)
    assert {d.evidence for d in handed} == set(found.best()["auroc"])
    assert len(found.told_apart()) == len(handed)
    ahead = found.ahead(found)
    assert (ahead.query("of == 'untrained'")["gain"] == 0).all()
    mean = found.mean_auroc()
    assert mean.estimate == pytest.approx(found.best()["auroc"].mean())
    assert mean.low < mean.estimate < mean.high
    assert set(found.beyond_random("fc1")) == {"by_score", "by_mean", "tests"}

    states = concepts.noisy_pairs(network, population, 60, torch.Generator().manual_seed(0))
    degrees = concepts.regress(network, A, y0, population, states, (INPUT, *LAYERS), slopes)
    assert len(degrees) == 5 * 3 * 2 and (degrees["r2"] <= 1).all()
    regions = concepts.regions(network, A, y0, pairs, found.best()[:2])
    assert len(regions) == 4 and regions["accuracy"].between(0, 1).all()
