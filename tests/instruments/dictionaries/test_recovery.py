"""Splices with known outcomes: nothing changed, everything hidden, half of it."""

import numpy as np
import pytest
import torch

from ired.instruments.core import patching, states
from ired.instruments.dictionaries import recovery
from ired.model.sampling import SamplingConfig, sample


@pytest.fixture
def at(network, problems, generator):
    return recovery.situations(network, problems, states.answers(network, problems), generator)


@pytest.mark.parametrize("layer", ["fc1", "fc2", "fc3", "fc4"])
def test_the_layers_own_activations_change_nothing(network, problems, at, layer):
    seen = recovery.recovery(network, layer, lambda h: h, problems, at)
    for what in ("gap", "score", "through", "score_of_constant"):
        error, floor = seen.parts(what)
        assert (error <= 1e-12 * floor.max()).all() and seen.share(what) == pytest.approx(1, abs=1e-12)
    start = network.coordinates.noise(6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    own, spliced = (
        sample(e, problems, SamplingConfig(), start=start)
        for e in (network, patching.Spliced(network, layer, lambda h: h))
    )
    torch.testing.assert_close(own, spliced, atol=1e-6, rtol=1e-6)


def test_a_constant_leaves_no_gap_and_no_score(network, problems, at):
    for value in (torch.zeros(32), torch.ones(32)):
        seen = recovery.recovery(network, "fc2", patching.constant_replacement(value), problems, at)
        assert seen.share("gap") == pytest.approx(0, abs=1e-12)
        assert seen.share("score_of_constant") == 0
        np.testing.assert_allclose(seen.by_landscape("gap"), 0, atol=1e-12)


def test_a_known_loss_is_measured_as_such(network, problems, at):
    """f halved at the last layer is an energy and a score of a quarter: 1 − (3/4)² is left."""
    seen = recovery.recovery(network, "fc4", lambda h: h / 2, problems, at)
    for what in ("gap", "score_of_constant"):
        assert seen.share(what) == pytest.approx(1 - 0.75**2)
        np.testing.assert_allclose(seen.by_landscape(what), 1 - 0.75**2)
        error, floor = seen.per_problem(what)
        assert 1 - error.mean() / floor.mean() == pytest.approx(1 - 0.75**2)


def test_a_replacement_that_is_flat_still_passes_gradients_through(network, problems, at):
    """Rounded activations have no slope: the spliced gradient is 0, the one through is nearly right."""
    seen = recovery.recovery(network, "fc2", lambda h: (h * 1e4).round() / 1e4, problems, at)
    assert seen.share("score_of_constant") == 0 and seen.share("gap") > 0.999
    assert seen.share("through") > 0.999
