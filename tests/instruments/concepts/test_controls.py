"""What can be read in controls: on a linear map the map of what is read on A, of states nothing in a regression."""

import numpy as np
import pytest
import torch
from pandas import DataFrame

from ired.experiments.layered_controls import LayeredBowl
from ired.instruments.accuracy.predictors import Predictor, RegressionNetwork
from ired.instruments.concepts import cav, controls
from ired.instruments.concepts.pairs import INPUT, pair_activations
from ired.instruments.core import states
from ired.instruments.core.directions import CONCEPTS, OF_PROBLEMS


def bowl(network, predict, A):
    return LayeredBowl.of(network.coordinates, network.schedule, predict, A)


@pytest.fixture
def affine(network, shown):
    stream, size = torch.Generator().manual_seed(2), network.coordinates.n * (network.coordinates.n + 1) // 2
    weights = torch.randn(size, size, generator=stream, dtype=torch.float64)
    predict = Predictor(name="affine", n=network.coordinates.n, degree=1, weights=weights, intercept=weights[0])
    return bowl(network, predict, shown[0])


@pytest.fixture
def regression(network, shown):
    A = shown[0]
    return bowl(network, RegressionNetwork([(A, torch.linalg.inv(A))] * 5, hidden=16, steps=5), A)


def test_a_pattern_in_an_affine_map_is_the_map_of_the_pattern_on_A(network, affine, shown):
    A, _, pairs = shown
    y0, d = states.answers(network, A), network.coordinates.size
    for concept in pairs[: len(OF_PROBLEMS)]:
        there = pair_activations(affine, A, y0, concept, k=3, layers=("answer", INPUT))
        first, second = (cav.contributions(there[layer], concept.confounders).mean(0) for layer in ("answer", INPUT))
        # Back from the answer's coordinates to A: the map's own differences.
        n = network.coordinates.n
        change = network.coordinates.from_basis(torch.as_tensor(second[:d])).unflatten(-1, (n, n))
        here = [network.coordinates.encode(affine.predict(B[None])) for B in (A[0] + change, A[0])]
        known = network.coordinates.to_basis(here[0] - here[1])[0].numpy()
        np.testing.assert_allclose(first[:d], known, rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(first[d:], second[d:], atol=1e-9)


def test_in_a_regression_network_states_are_not_told_apart(network, affine, regression, shown):
    A, _, pairs = shown
    best = DataFrame([{"concept": name, "layer": "fc2", "landscape": 3} for name in CONCEPTS])
    asked = {"affine": affine, "regression": regression}
    values = controls.read_in_controls(asked, A, states.answers(network, A), shown=pairs, best=best)
    assert list(values) == [(name, concept, "fc2") for name in asked for concept in CONCEPTS]
    for concept in CONCEPTS[len(OF_PROBLEMS) :]:
        np.testing.assert_allclose(values["regression", concept, "fc2"], 0.5)
    assert all(np.ptp(values["regression", concept, "fc2"]) > 0 for concept in OF_PROBLEMS)
    here = {key[1:]: v for key, v in values.items() if key[0] == "regression"}
    every = controls.of_problems(here, ["fc2"])
    assert len(every) == sum(len(p) for p in pairs if p.concept in OF_PROBLEMS)
