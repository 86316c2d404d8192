"""Paths of the ideal energy's problems: answers, states, baselines."""

import pytest
import torch

from ired.instruments.attribution import integrated_gradients
from ired.instruments.attribution.integrated_gradients import AttributionScene
from ired.instruments.core import states


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
