"""Losses are compared on the same states; the best affine denoiser loses what linear estimation says."""

import pytest
import torch

from ired.instruments.accuracy.predictors import affine_predictors
from ired.instruments.linearity import affine_score, denoising_loss
from ired.model import problems as model_problems
from ired.model.coordinates import Coordinates
from ired.model.reference import IdealEnergy, PredictorEnergy
from ired.model.schedule import Schedule

LANDSCAPES = (0, 3, 8)


def many(count, purpose):
    return model_problems.draw(count, 4, 0.5, model_problems.generator(0, purpose), torch.float64)


def test_the_best_affine_denoiser_loses_what_linear_estimation_says(coordinates, schedule, ideal, network, generator):
    A, test = many(3000, "fit"), many(3000, "judge")
    predict = affine_predictors([(A, torch.linalg.inv(A))])["least_squares"]
    affine = PredictorEnergy.of(coordinates, schedule, predict, A)
    losses = denoising_loss.denoising_losses(
        {"affine": affine, "ideal": ideal, "network": network}, test, LANDSCAPES, generator
    )
    measured = losses.loss("affine")
    for i, k in enumerate(LANDSCAPES):
        width, missed = measured.high[i] - measured.low[i], schedule.alpha_bar[k] * affine.variances
        known = (missed / (missed + schedule.sigma[k] ** 2)).mean().item()
        assert measured.estimate[i] == pytest.approx(known, abs=2 * width)
    # It is what an affine map leaves of the ideal score, which is the noise.
    left = 1 - affine_score.affine_score(ideal, test, LANDSCAPES, generator).best("A, y")
    assert measured.estimate == pytest.approx(left, rel=0.1)
    assert (losses.difference("network", "affine").low > 0).all()
    assert (losses.difference("ideal", "affine").high < 0).all()


def test_differences_are_paired(ideal, generator):
    """Two energies that differ little are told apart by far fewer problems than their losses would take."""

    class Blind(IdealEnergy):
        def gradient(self, A, y, k):
            return y / self.schedule.at("sigma", k, y)

    class Less(Blind):
        def gradient(self, A, y, k):
            return 0.999 * super().gradient(A, y, k)

    c, s = ideal.coordinates, ideal.schedule
    losses = denoising_loss.denoising_losses(
        {"blind": Blind(c, s), "less": Less(c, s)}, many(60, "pairs"), (0,), generator
    )
    difference, loss = losses.difference("less", "blind"), losses.loss("blind")
    assert difference.high[0] - difference.low[0] < 0.01 * (loss.high[0] - loss.low[0])
    assert losses.table("blind").query("energy == 'blind'")["difference"].eq(0).all()


@pytest.mark.parametrize("other", [Coordinates(4, scale=0.7), Coordinates(4, symmetric=True)])
def test_other_coordinates_are_refused(schedule, other, generator):
    energies = {"one": IdealEnergy(Coordinates(4), schedule), "other": IdealEnergy(other, schedule)}
    with pytest.raises(ValueError, match="'other' has other coordinates or landscapes"):
        denoising_loss.denoising_losses(energies, many(4, "few"), (0,), generator)


def test_other_landscapes_are_refused(generator):
    energies = {f"{K}": IdealEnergy(Coordinates(4), Schedule(K)) for K in (10, 5)}
    with pytest.raises(ValueError, match="'5' has other coordinates or landscapes"):
        denoising_loss.denoising_losses(energies, many(4, "few"), (0,), generator)
