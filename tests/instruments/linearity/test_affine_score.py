"""An affine score is known as one, in whatever chunks; too little to fit a map is said or refused."""

import numpy as np
import pytest
import torch

from ired.instruments.accuracy.predictors import affine_predictors
from ired.instruments.linearity import affine_score, hessian_spread
from ired.instruments.linearity.affine_score import KINDS
from ired.model import problems as model_problems
from ired.model.energies.mlp import EnergyConfig, MLPEnergy
from ired.model.reference import PredictorEnergy

LANDSCAPES = (0, 4, 9)


def many(count, purpose="linear"):
    return model_problems.draw(count, 4, 0.5, model_problems.generator(0, purpose), torch.float64)


@pytest.fixture
def least_squares(coordinates, schedule):
    A, others = many(500), many(500, "errors")
    predict = affine_predictors([(A, torch.linalg.inv(A))])["least_squares"]
    return PredictorEnergy.of(coordinates, schedule, predict, others)


def test_least_squares_seen_as_an_energy_is_one_bowl(least_squares, generator):
    """R² 1, one Hessian, and the curvature of linear estimation, to rounding."""
    A, schedule = many(200, "other"), least_squares.schedule
    score = affine_score.affine_score(least_squares, A, LANDSCAPES, generator)
    assert score.held_out().estimate == pytest.approx(1, abs=1e-8)
    assert score.beyond_state().estimate == pytest.approx(1, abs=1e-8)
    measured = hessian_spread.hessian_spread(least_squares, A[:10], LANDSCAPES, generator)
    assert measured.spread().estimate == pytest.approx(0, abs=1e-8)
    known = [
        (schedule.sigma[k] ** 2 / (schedule.alpha_bar[k] * least_squares.variances + schedule.sigma[k] ** 2))
        for k in LANDSCAPES
    ]
    assert measured.mean_curvature().estimate == pytest.approx([v.mean().item() for v in known], abs=1e-8)
    assert np.allclose(measured.eigenvalues(), np.sort(torch.stack(known).numpy()), rtol=0, atol=1e-8)


def test_a_round_bowl_is_told_from_an_oval_one(least_squares, ideal, generator):
    A = many(300, "other")
    oval = affine_score.affine_score(least_squares, A, [0], generator).held_out("A, c·y")
    assert oval.high[0] < 0.999
    # A perfect prediction's bowl is round, but its centre is not affine in A.
    perfect = affine_score.affine_score(ideal, A, [9], generator)
    assert perfect.held_out("A, c·y").estimate == pytest.approx(perfect.held_out().estimate, abs=0.02)


@pytest.mark.parametrize("hidden, least", [(32, 0.5), (256, 0.5)])
def test_fresh_weights_are_in_between(coordinates, generator, hidden, least):
    """A network that has learned nothing is mostly affine, and not quite: a middling R² is no sign of learning."""
    c = coordinates
    config = EnergyConfig(c.n, hidden=hidden, shift=c.shift, scale=c.scale, symmetric=c.symmetric)
    energy = MLPEnergy(config, model_problems.generator(0, "network")).double()
    score = affine_score.affine_score(energy, many(300), [0, 9], generator)
    assert (score.held_out().estimate > least).all() and (score.best() < 0.98).all()


def test_chunks_and_order_of_landscapes_change_nothing(network, generator, monkeypatch):
    A, state = many(40), generator.get_state()
    whole = affine_score.affine_score(network, A, LANDSCAPES, generator)
    generator.set_state(state)
    monkeypatch.setattr(affine_score, "CHUNK", 7)
    parts = affine_score.affine_score(network, A, LANDSCAPES, generator)
    for kind in KINDS:
        assert np.allclose(whole.unexplained[kind], parts.unexplained[kind], rtol=1e-6)
    assert np.allclose(whole.total, parts.total)


def test_rows_of_a_table_are_whole(network, generator):
    table = affine_score.affine_score(network, many(40), LANDSCAPES, generator).table()
    assert len(table) == len(LANDSCAPES) * (len(KINDS) + 1)
    assert (table["low"] <= table["share"]).all() and (table["share"] <= table["high"]).all()


def test_more_inputs_than_rows_are_said(network, generator):
    few = affine_score.affine_score(network, many(6), [0], generator)
    assert few.ridge["A, y"] > 0 and np.isnan(few.best("A, y")).all()
    enough = affine_score.affine_score(network, many(60), [0], generator)
    assert enough.ridge["A, y"] == 0
    assert enough.held_out().estimate < enough.best() < enough.fitted["A, y"]


def test_what_is_too_little_is_refused(network, generator):
    with pytest.raises(ValueError, match="two folds at least"):
        affine_score.affine_score(network, many(6), [0], generator, folds=1)
