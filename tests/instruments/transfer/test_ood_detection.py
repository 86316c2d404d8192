"""Shifted problems: errors in closed form, AUROCs that are known, detectors on ideal landscapes."""

import numpy as np
import pytest
import torch

from ired.instruments.accuracy import predictors
from ired.instruments.core import states
from ired.instruments.core.sampler import denoised
from ired.instruments.transfer import ood_detection
from ired.instruments.transfer.known_answers import line, spectral
from ired.model import problems as model_problems, shifted_problems


def test_the_error_of_a_linear_predictor_is_known_in_closed_form():
    A = shifted_problems.SHIFTED["κ 100–300"](20, 4, 0.5, model_problems.generator(0, "k")).A
    expected = spectral(A, 0.2, -0.01)
    Y = torch.linalg.inv(A)
    assert np.allclose(ood_detection.squared_errors(line(A, 0.2, -0.01), Y)["mse"], expected)
    assert np.allclose(ood_detection.squared_errors(torch.zeros_like(Y), Y)["relative"], 1)
    zero = predictors.affine_predictors([(A, Y)])["zero"](A)
    assert np.allclose(ood_detection.squared_errors(zero, Y)["mse"], spectral(A, 0.0, 0.0))


def test_relative_errors_of_nothing_are_finite():
    nothing = torch.zeros(3, 2, 2)
    assert (ood_detection.squared_errors(nothing, nothing)["relative"] == 0).all()
    assert np.allclose(ood_detection.squared_errors(nothing + 2, nothing)["relative"], 4)


def test_who_is_ahead_is_paired_and_relative():
    A = model_problems.draw(30, 3, 0.5, model_problems.generator(0, "a"), torch.float64)
    Y = torch.linalg.inv(A)
    exact = ood_detection.relative_gain(Y, torch.zeros_like(Y), Y)
    none = ood_detection.relative_gain(torch.zeros_like(Y), torch.zeros_like(Y), Y)
    assert exact.estimate == pytest.approx(1) and exact.low > 0
    assert none.estimate == none.low == none.high == 0
    table = ood_detection.shift_accuracy("f", {"exact": Y, "zero": torch.zeros_like(Y)}, Y)
    assert len(table) == 4 and (table.query("predictor == 'exact'")["mean"] == 0).all()


def test_aurocs_of_separated_identical_and_reversed_samples():
    x = np.arange(20.0)
    found = ood_detection.aurocs({"far": x, "same": x, "low": x}, {"far": x + 100, "same": x, "low": x - 100})
    assert np.allclose(found.estimate, [1, 0.5, 0])
    far, same, low = (found.interval(name) for name in found.names)
    assert far.high == 1 and 0.8 < far.low < 1 and low.low == 0 and 0 < low.high < 0.2
    assert same.low < 0.5 < same.high
    # A baseline may look either way: the reversed one is as good as a perfect one.
    assert found.margin("far", ["low"]).estimate == 0
    assert found.margin("far", ["same"]).low > 0
    assert found.margin("far", ["same", "low"]).low <= 0
    values = dict.fromkeys((*ood_detection.ENERGIES, *ood_detection.INPUTS), x)
    seen = ood_detection.aurocs(values, values | {"energy": x + 100})
    rows = ood_detection.detection("f", seen).set_index("detector")
    assert rows.loc["energy", "ahead_inputs_low"] > 0 >= rows.loc["flatness", "ahead_entries_low"]
    assert np.isnan(rows.loc["norm", "ahead_inputs"])


def test_aurocs_agree_with_scikit_learn_and_cover():
    from sklearn.metrics import roc_auc_score

    rng, hit, true = np.random.default_rng(0), 0, 0.7602  # Φ(1/√2)
    for _ in range(100):
        x, y = rng.standard_normal(40) + 1, rng.standard_normal(50)
        found = ood_detection.aurocs({"a": y}, {"a": x})
        seen = found.interval("a")
        hit += seen.low <= true <= seen.high
    labels = np.repeat([0, 1], [50, 40])
    assert found.estimate[0] == pytest.approx(roc_auc_score(labels, np.concatenate([y, x])))
    assert hit >= 88
    with pytest.raises(ValueError):
        ood_detection.aurocs({"a": [1.0]}, {"a": [1.0, 2.0]})


def test_detectors_of_an_ideal_landscape(ideal, problems):
    found = ood_detection.sampled_with_scores(ideal, problems, denoised, torch.Generator().manual_seed(0))
    assert torch.allclose(found.y, states.answers(ideal, problems), atol=1e-8)
    assert np.allclose(found.scores["energy"], 0, atol=1e-12)
    assert np.allclose(found.scores["score_norm"], 0, atol=1e-6)
    # One noise radius away the ideal gap is size/2, in units of σ.
    assert np.allclose(-found.scores["flatness"], ideal.coordinates.size / 2)
    assert (found.scores["rejections"] == 0).all()


def test_input_scores():
    training = model_problems.draw(400, 3, 0.5, model_problems.generator(0, "t"), torch.float64)
    A = torch.diag_embed(torch.tensor([[1.0, 2.0, 4.0], [3.0, 4.0, 0.0]], dtype=torch.float64))
    found = ood_detection.input_scores(A, training)
    assert np.allclose(found["norm"], [21**0.5, 5])
    kappa = found["condition_number"]
    assert kappa[0] == pytest.approx(4) and np.isfinite(kappa[1])
    own = ood_detection.input_scores(training, training)["mahalanobis"]
    assert (own**2).mean() == pytest.approx(6, rel=0.01)  # six entries of the upper triangle


def test_pathologies_are_reported_and_do_not_crash():
    A = torch.zeros(4, 3, 3, dtype=torch.float64)
    broken = torch.full_like(A, float("nan"))
    table = ood_detection.pathology(
        "zero", A, A, False, {"model": A, "broken": broken}, np.full(4, 5.0), np.arange(10.0)
    ).set_index("predictor")
    assert table.loc["model", "residual"] == 1 and table.loc["model", "relative"] == 0
    assert table.loc["model", "higher"] == 0.5 and table.loc["broken", "finite"] == 0
