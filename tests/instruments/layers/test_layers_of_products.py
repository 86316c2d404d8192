"""Instruments that look into layers take them by name: those of an energy of products, too.

Its passes are affine in the state (E = ‖Z‖²/2σ, Z the state after the last pass), so answers are known.
"""

import numpy as np
import pytest
import torch

from ired.instruments.concepts import tcav
from ired.instruments.core import patching, states
from ired.instruments.dictionaries import recovery
from ired.instruments.dictionaries.sparse_autoencoder import neurons
from ired.instruments.interventions import manifold
from ired.model import problems
from ired.model.energies.architectures import build, configured
from ired.model.sampling import SamplingConfig, sample

LAYERS = ("pass1", "pass2", "pass3")
N, LAST = 3, LAYERS[-1]


@pytest.fixture(scope="module")
def energy():
    config = configured(
        "product", {"n": N, "c": 0.5}, {"hidden": 1, "landscapes": 10, "symmetric": True, "standardised": True}
    )
    return build(config, problems.generator(0, "products")).double().requires_grad_(False)


@pytest.fixture(scope="module")
def A():
    return problems.draw(6, N, 0.5, problems.generator(0, "A"), torch.float64)


def generator(purpose="x"):
    return problems.generator(0, purpose)


@pytest.mark.parametrize("layer", LAYERS)
def test_splices(energy, A, layer):
    at = recovery.situations(energy, A, states.answers(energy, A), generator())
    own = recovery.recovery(energy, layer, lambda h: h, A, at)
    for what in ("gap", "score", "through"):
        assert own.share(what) == pytest.approx(1, abs=1e-12)
    hidden = recovery.recovery(energy, layer, patching.constant_replacement(torch.ones(N * N)), A, at)
    assert hidden.share("gap") == pytest.approx(0, abs=1e-9)
    start = energy.coordinates.noise(6, generator=generator(), dtype=torch.float64)
    spliced = patching.Spliced(energy, layer, lambda h: h)
    answers = [sample(e, A, SamplingConfig(), start=start) for e in (energy, spliced)]
    torch.testing.assert_close(*answers, atol=1e-7, rtol=1e-7)


def test_the_last_pass_halved_leaves_a_quarter_of_energy_and_score(energy, A):
    at = recovery.situations(energy, A, states.answers(energy, A), generator())
    seen = recovery.recovery(energy, LAST, lambda h: h / 2, A, at)
    assert seen.share("gap") == pytest.approx(1 - 0.75**2, abs=1e-9)
    assert seen.share("score_of_constant") == pytest.approx(1 - 0.75**2, abs=1e-9)


def test_a_dictionary_of_all_neurons_keeps_everything(energy, A):
    at = recovery.situations(energy, A, states.answers(energy, A), generator())
    whole = neurons(torch.zeros(N * N), torch.ones(()), N * N).to(at.noised)
    seen = recovery.recovery(energy, LAYERS[0], whole, A, at)
    assert seen.share("gap") == pytest.approx(1, abs=1e-6)


def test_slopes_at_the_last_pass_are_known(energy, A):
    """E = ‖h‖²/2σ there: its slope is h/σ."""
    y0, k = states.answers(energy, A), 2
    found = tcav.slopes(energy, A, y0, k, LAYERS, generator())
    y = states.noised(energy, y0, k, 1, generator())[0][:, 0]
    h = energy.activations(A, y, k)[LAST]
    np.testing.assert_allclose(found[LAST].energy, h / states.sigma(energy, k), atol=1e-10)
    assert {layer: slope.gap.shape for layer, slope in found.items()} == dict.fromkeys(LAYERS, (6, N * N))


def test_noised_answers_lie_in_their_own_cloud(energy):
    many = problems.draw(40, N, 0.5, generator(), torch.float64)
    seen = manifold.nature(energy, many, generator())
    for layer in LAYERS:
        own = manifold.cloud(energy, layer, 0, seen)
        x = manifold.located(energy, layer, energy.prepare(many), seen.noised[0], 0)
        assert own.covariance.shape == (N * N, N * N) and own.quantile(own.distance(x, 0)).mean() > 0.2
