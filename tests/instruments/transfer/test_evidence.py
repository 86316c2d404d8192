"""Findings as numbers of every problem: known ones of ideal landscapes, mediators, dictionaries."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pandas import DataFrame

from ired.instruments.core import states
from ired.instruments.core.directions import EVERYWHERE, Direction
from ired.instruments.core.sampler import denoised
from ired.instruments.dictionaries.sparse_autoencoder import given_dictionary
from ired.instruments.interventions import manifold
from ired.instruments.interventions.known_answers_causality import PlantedMediator
from ired.instruments.statistics.intervals import rank_correlation
from ired.instruments.transfer import evidence, study
from ired.model import problems as model_problems, shifted_problems


def drawn(n, count, purpose="evidence"):
    return model_problems.draw(count, n, 0.5, model_problems.generator(0, purpose), torch.float64)


def dictionary(width, kind="all", k=0, drawn=None):
    eye = torch.eye(width, dtype=torch.float64)
    zero, one = torch.zeros(width, dtype=torch.float64), torch.ones((), dtype=torch.float64)
    return given_dictionary(kind, eye if drawn is None else drawn, zero, one, k)


def bench(energy, untrained, walk=denoised, **rest):
    parts = {"layers": (), "along": (), "landscapes": (0, 3)} | rest
    return evidence.TransferBench(energy, untrained, walk, model_problems.properties, seed=1, **parts)


@pytest.fixture
def mixed(network):
    """The network with a dictionary of all its neurons beside one of a single neuron."""
    whole = dictionary(32)
    poor, chosen, others = dictionary(32, "largest", 1), np.array([0, 3]), np.array([5, 6])
    layer = evidence.Layer("fc2", whole, poor, chosen, others, ("trace", "condition_number"))
    return bench(network, network, layers=(layer,))


def test_products_of_ranks_have_spearmans_rho_as_their_mean():
    rng = np.random.default_rng(0)
    x, y = rng.random((30, 3)), rng.random(30)
    x[:, 1], x[:, 2] = y**3, 7.0
    seen = evidence._products(x, y).mean(0)
    assert seen[:2] == pytest.approx([float(rank_correlation(x[:, 0], y)), 1])
    assert seen[2] == 0  # a unit that never differs tells nothing
    assert np.isnan(evidence._products(x, np.full(30, 2.0))).all()


def test_a_whole_dictionary_recovers_everything_and_a_poor_one_less(mixed):
    n = mixed.energy.coordinates.n
    A = drawn(n, 5)
    found = evidence.recovery_findings(mixed, A, states.answers(mixed.energy, A))
    assert found.names == ("fc2, k = 0", "fc2, k = 3")
    assert np.allclose(found.values.mean(0), 1) and (found.placebo.mean(0) < 0.99).all()


def test_features_fire_and_mean_what_they_did(mixed):
    A = drawn(mixed.energy.coordinates.n, 12)
    y0 = states.answers(mixed.energy, A)
    fires, means = evidence.feature_findings(mixed, A, y0)
    assert fires.names == ("fc2 #0", "fc2 #3")
    assert means.names == ("fc2 #0: trace", "fc2 #3: condition_number")
    assert (np.abs(fires.values) <= 1).all() and fires.placebo.shape == (12, 2)
    assert (np.abs(means.values.mean(0)) <= 1 + 1e-9).all()
    again = evidence.feature_findings(mixed, A, y0)[1]
    assert np.array_equal(means.values, again.values)
    flat = torch.eye(A.shape[-1], dtype=A.dtype).expand_as(A) * torch.ones(12, 1, 1, dtype=A.dtype)
    assert np.isnan(evidence.feature_findings(mixed, flat, states.answers(mixed.energy, flat))[1].values).all()


def test_the_shape_of_an_ideal_landscape(ideal, network):
    A = drawn(ideal.coordinates.n, 5)
    seen = evidence.landscape_measures(bench(ideal, network), ideal, A, states.answers(ideal, A))
    for k in (0, 3):
        for name in ("share", "rays", "curvature", "sharpness", "other_rate", "noised_rate"):
            assert np.allclose(seen[f"{name}, k = {k}"], 1), name
        assert (seen[f"other_gap, k = {k}"] > 0).all()
    block = evidence.landscape(bench(ideal, network), A, states.answers(ideal, A))
    # Around another problem's answer the right one is not lower than others.
    rate = block.names.index("other_rate, k = 0")
    assert block.placebo[:, rate].mean() < block.values[:, rate].mean()


def test_a_planted_mediator_acts_and_a_random_direction_does_not(ideal):
    energy = PlantedMediator(ideal, through=1.0, direct=0.0)
    n = ideal.coordinates.n
    others = 0.3 * torch.rand(60, n, n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    others = others @ others.mT + torch.eye(n, dtype=torch.float64)
    seen = manifold.nature(energy, others, torch.Generator().manual_seed(1))
    cloud = manifold.cloud(energy, "fc1", EVERYWHERE, seen)
    mediator = energy.axis(0, others)
    planted = Direction("planted", "feature", "fc1", EVERYWHERE, "", 1.0, "planted", mediator)
    stream = torch.Generator().manual_seed(2)
    random = torch.randn(4, energy.width, generator=stream, dtype=torch.float64)
    random[:, n + 1 : n + 1 + ideal.coordinates.d] = 0  # a push of the state itself would move things
    random = torch.nn.functional.normalize(random, dim=1)
    one = bench(energy, energy, along=(evidence.Along(planted, mediator, random, cloud),))
    found = evidence.acting(one, others[:6], states.answers(energy, others[:6]))
    assert found.names == ("planted: moves",)
    assert (found.values > 0.2).all() and found.values.mean() > 2 * abs(found.placebo.mean())


def test_directions_are_taken_from_the_verdicts_in_order(network):
    A = drawn(network.coordinates.n, 16)
    seen = manifold.nature(network, A, torch.Generator().manual_seed(0))
    verdicts = DataFrame(
        {
            "direction": [
                "feature fc2 #1",
                "feature fc2 #4",
                "concept large_norm fc3 k=2",
                "gradient k=0 #1",
                "concept noisy_answer fc2 k=0",
            ],
            "source": ["feature", "feature", "concept", "gradient", "concept"],
            "space": ["fc2", "fc2", "fc3", "y", "fc2"],
            "landscape": [-1, -1, 2, 0, 0],
            "concept": ["", "", "large_norm", "", "noisy_answer"],
            "moved_beyond": [False, True, True, True, True],
            "moved_d": [3.0, 1.0, 2.0, 5.0, 9.0],
            "moved_value": [0.1] * 5,
        }
    )
    found = evidence.named(verdicts, {"fc2": dictionary(32)}, network, seen, 1)
    assert [d.name for d in found] == ["concept large_norm fc3 k=2", "feature fc2 #4"]
    assert found[1].vector[4] == 1
    h = network.activations(A, seen.noised[2], 2)["fc3"]
    norm = A.pow(2).sum((1, 2))
    assert rank_correlation(states.array(h @ found[0].vector), states.array(norm)) > 0.5


def test_what_was_recorded_is_counted_from_the_untrained_network():
    rows = [
        ("trained", "share", 0, 0.9),
        ("untrained", "share", 0, 0.6),
        ("trained", "minima", 0, 1.0),
        ("untrained", "minima", 0, 3.0),
    ]
    table = DataFrame(rows, columns=["energy", "measure", "landscape", "mean"])
    assert evidence.recorded_findings(table) == {"share, k = 0": pytest.approx(0.3)}


def test_a_study_of_an_ideal_energy_finds_it_exact_and_its_answers_usual(ideal, network):
    """An ideal energy is exact in every family; its own energy sees no shift; findings are of shape."""
    n = ideal.coordinates.n
    A = drawn(n, 60)

    def stream(purpose):
        return model_problems.generator(0, purpose)

    judge = study.Judge.of(ideal, None, denoised, A, torch.linalg.inv(A), stream)
    names = ("same", "same again", "noise 0.8c")
    families = {f: shifted_problems.SHIFTED[f](16, n, 0.5, stream(f)) for f in names}
    found = study.study_transfer(judge, families, "same", "same again", bench(ideal, network), 8, 4)
    mse = found.accuracy.query("measure == 'mse'").set_index(["family", "predictor"])["mean"]
    assert mse["noise 0.8c", "model"] < 1e-12 < mse["noise 0.8c, clean truth", "model"]
    assert found.finite and set(found.better) == {"noise 0.8c", "noise 0.8c, clean truth"}
    wins = found.wins("same again")
    assert wins["better"]["of"] == 2 and found.better["noise 0.8c"].low > 0
    assert wins["energy_ahead_of_inputs"] == {"count": 0, "of": 1}
    assert wins["null"]["of"] == len(found.null) == 7
    assert {b.kind for b in found.blocks["same"]} == {"landscape"}
    odd = SimpleNamespace(A=A[:3], Y=torch.linalg.inv(A[:3]), clean=None, exists=True)
    table = study.pathologies(judge, {"odd": odd}, found.usual)
    own = table.set_index("predictor").loc["model"]
    assert own["finite"] == 1 and own["residual"] < 1e-8
    sides = {"own": (A[:4], torch.linalg.inv(A[:4]))}
    errors = study.other_side_accuracy(judge, judge, lambda A: A, sides)
    errors = errors.set_index(["predictor", "measure"])
    assert errors.loc[("embedded", "mse"), "mean"] < 1e-12
