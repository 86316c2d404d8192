"""A population of problems and pairs of all concepts."""

import numpy as np
import pytest
import torch

from ired.instruments.concepts.pairs import Population, concept_pairs
from ired.model import problems as model_problems


@pytest.fixture
def shown(network):
    """A population of 160 problems and pairs of all concepts."""
    generator = model_problems.generator(0, "concepts")
    A = model_problems.draw(160, network.coordinates.n, 0.5, generator, torch.float64)
    population = Population.of(A, model_problems.properties(A), 2, np.random.default_rng(0))
    pairs = concept_pairs(network, population, 20, caliper=0.8, generator=model_problems.generator(0, "pairs"))
    return A, population, pairs
