"""Paths of the ideal energy's problems: answers, states, baselines."""

import pytest
import torch

from ired.instruments.accuracy.predictors import Predictor
from ired.instruments.attribution import integrated_gradients
from ired.instruments.attribution.integrated_gradients import AttributionScene
from ired.instruments.core import states
from ired.model.reference import PredictorEnergy


@pytest.fixture
def y0(ideal, problems):
    return states.answers(ideal, problems)


@pytest.fixture
def begins(ideal, problems, generator):
    background = torch.stack((problems.roll(1, 0), problems.roll(2, 0)))
    return integrated_gradients.baselines(ideal, 0, problems, 3.0, background, generator)


@pytest.fixture
def y(ideal, y0, generator):
    return states.noised(ideal, y0, 0, 1, generator)[0][:, 0]


@pytest.fixture
def at(ideal, problems, y0, y, begins):
    return AttributionScene(0, problems, y0, y, begins)


@pytest.fixture
def affine(coordinates, schedule, generator):
    """The bowl around an affine map of A with planted errors."""
    size = coordinates.n * (coordinates.n + 1) // 2
    weights, intercept = (
        torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((size,) * 2, (size,))
    )
    spread = torch.randn((coordinates.size,) * 2, generator=generator, dtype=torch.float64)
    predict = Predictor(name="affine", n=coordinates.n, degree=1, weights=0.1 * weights, intercept=intercept)
    return PredictorEnergy.with_errors(coordinates, schedule, predict, spread @ spread.mT / coordinates.size)
