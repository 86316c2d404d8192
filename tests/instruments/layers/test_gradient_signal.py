"""Gradients through the layers: both losses' against autograd through the energy itself."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ired.instruments.core import states
from ired.instruments.layers import gradient_signal
from ired.instruments.layers.gradient_signal import EVERY, KINDS, PLACES, WEIGHTS, WHOLE


def negatives(energy):
    def wrong(y0, noise, k):
        root, sigma = (getattr(energy.schedule, name)[k][:, None] for name in ("sqrt_alpha_bar", "sigma"))
        return (y0 + 3 * sigma / root * noise).clamp(-2, 2)

    return wrong


@pytest.fixture
def seen(network, problems, generator):
    y0 = states.answers(network, problems)
    state = generator.get_state()
    found = gradient_signal.flow(network, problems, y0, negatives(network), 2, generator)
    generator.set_state(state)
    return found, y0


def test_shapes_and_columns(seen, problems):
    found, P = seen[0], len(problems)
    assert list(found.landscapes) == [*range(10), EVERY]
    assert found.norm.shape == found.bare.shape == (11, 3, 5, P)
    assert found.weights.shape == (11, 3, 4, P, P) and found.between.shape == (11, 4, P, P)
    columns = found.columns()
    assert len(columns["norm"]) == 11 * 3 * 5 * P
    assert found.decades().shape == (11, 3, P)
    rows = found.signals()
    assert len(rows) == 11 * 3 * (4 + 1 + 5) and {r["layer"] for r in rows} == {
        *WEIGHTS,
        *PLACES,
        WHOLE,
    }
    assert all(np.isfinite([r["snr"], r["low"], r["high"], r["norm"]]).all() for r in rows)
    assert all(-1.5 < r["cosine"] < 1.5 for r in found.agreement())


def test_gradients_are_those_of_the_energy(seen, network, problems, generator):
    """The whole class's own gradient, in a loop of autograd over problems."""
    found, y0 = seen
    k, size = 0, network.coordinates.size
    trained = copy.deepcopy(network).requires_grad_()
    noise, other = (states.noise(network, len(y0), 2, generator=generator, like=y0) for _ in range(2))
    root, sigma = network.schedule.sqrt_alpha_bar[k], network.schedule.sigma[k]
    wrong = root * negatives(network)(y0[:, None], other, torch.zeros(2, dtype=torch.long)) + sigma * other
    right, y = (root * y0[:, None] + sigma * e for e in (other, noise))
    score = trained.gradient(problems, y, k)
    gap = trained.energy(problems, right, k) - trained.energy(problems, wrong, k)
    losses = {
        "denoising": (score - noise).pow(2).sum(-1) / size,
        "contrastive": F.softplus(gap),
        "score": trained.energy(problems, y, k),
    }
    for i, kind in enumerate(KINDS):
        per_problem = losses[kind].mean(1)
        if kind != "score":
            assert np.allclose(found.losses[k, i], states.array(per_problem), rtol=1e-10)
        for j, layer in enumerate(WEIGHTS):
            own = getattr(trained, layer)
            g = torch.stack(
                [
                    torch.cat(
                        [x.flatten() for x in torch.autograd.grad(one, (own.weight, own.bias), retain_graph=True)]
                    )
                    for one in per_problem
                ]
            )
            unit = found.unit[k] if kind == "contrastive" else 1.0
            assert np.allclose(unit**2 * found.weights[k, i, j], states.array(g @ g.mT), rtol=1e-8)
    assert np.allclose(found.pull[k], states.array(torch.sigmoid(gap).mean(1)), rtol=1e-9)


@pytest.mark.parametrize("layer", ["fc1", "fc2", "fc3"])
def test_activations_of_the_score_are_those_of_the_network_resumed(seen, network, problems, generator, layer):
    found, y0 = seen
    noise = states.noise(network, len(y0), 2, generator=generator, like=y0)
    y = network.schedule.sqrt_alpha_bar[0] * y0[:, None] + network.schedule.sigma[0] * noise
    h = network.activations(problems, y, 0)[layer].detach().requires_grad_()
    (g,) = torch.autograd.grad(network.resume(layer, h, problems, 0).sum(), h)
    norm = found.norm[0, KINDS.index("score"), PLACES.index(layer)]
    assert np.allclose(norm, states.array(g.pow(2).sum(-1).mean(1).sqrt()), rtol=1e-9)


@pytest.mark.parametrize("layer, reader", [("fc1", "fc2"), ("fc2", "fc3"), ("fc3", "fc4")])
def test_activations_of_the_denoising_loss_are_those_of_a_push(network, problems, generator, layer, reader):
    """What is added to a layer's activations is what its reader's bias moves by."""
    y0, k = states.answers(network, problems), 2
    y, noise = states.noised(network, y0, k, 1, generator)
    to_basis, size = network.coordinates.to_basis, network.coordinates.size
    _, places, _ = gradient_signal._denoising(network, problems, to_basis(y), to_basis(noise), k)
    push = torch.randn(network.config.hidden, generator=generator, dtype=torch.float64)
    along = torch.zeros((), dtype=torch.float64, requires_grad=True)
    moved = copy.deepcopy(network)
    bias = getattr(moved, reader).bias.detach()
    delattr(getattr(moved, reader), "bias")
    getattr(moved, reader).bias = bias + along * (getattr(moved, reader).weight.detach() @ push)
    loss = (moved.gradient(problems, y, k) - noise).pow(2).sum() / size
    (slope,) = torch.autograd.grad(loss, along)
    assert (places[PLACES.index(layer)] @ push).sum().item() == pytest.approx(slope.item(), rel=1e-9)


def test_all_landscapes_together_have_one_draw_of_each(seen):
    found = seen[0]
    apart = found.losses[:-1, 0].mean()
    assert 0.3 < found.losses[-1, 0].mean() / apart < 3


def test_a_planted_mean_in_noise_is_recovered():
    rng = np.random.default_rng(0)
    g = rng.standard_normal((400, 20)) + np.eye(20)[0] * 2
    found = gradient_signal.signal_to_noise(g @ g.T)
    assert found.estimate == pytest.approx(4 / 20, rel=0.1) and found.low < 4 / 20 < found.high
    noise = gradient_signal.signal_to_noise((g - g.mean(0)) @ (g - g.mean(0)).T)
    assert abs(noise.estimate) < 0.01


def test_opposed_gradients_have_a_negative_cosine():
    rng = np.random.default_rng(0)
    g = rng.standard_normal((30, 8)) * 0.1 + 1
    h = -3 * g
    found = gradient_signal.mean_cosine(g @ g.T, g @ h.T, h @ h.T)
    assert found.estimate == pytest.approx(-1, abs=1e-2) and found.high < -0.9


def test_no_gradient_at_all_is_no_signal_and_no_agreement():
    none, some = np.zeros((5, 5)), np.eye(5) + 1
    assert gradient_signal.signal_to_noise(none).estimate == 0
    assert gradient_signal.mean_cosine(some, none, none).high == 0
    with pytest.raises(ValueError, match="three problems"):
        gradient_signal.signal_to_noise(np.eye(2))


def test_what_reaches_furthest_from_no_change(seen):
    found, _ = seen
    worst, rows = found.furthest(), found.depth()
    # A single landscape's, in either direction; the rows hold all places, relative to f.
    fc1 = [row for row in rows if row["place"] == "fc1" and row["landscape"] != EVERY]
    assert len(rows) == 11 * 3 * 5 and all(row["decades"] == 0 for row in rows if row["place"] == "f")
    assert np.isclose([row["decades"] for row in fc1], worst.estimate).any()
    reach = max(abs(worst.low), abs(worst.high))
    assert reach >= max(max(abs(row["low"]), abs(row["high"])) for row in fc1)


def test_a_contrast_that_is_learned_still_has_a_direction(network, problems, generator):
    """Gaps of thousands, whose pull is nothing that a square could be taken of."""
    y0 = states.answers(network, problems)

    def far(y0, noise, k):
        return y0 + 300 + noise

    found = gradient_signal.flow(network, problems, y0, far, 2, generator)
    assert found.unit.min() < 1e-200 and np.isfinite(found.weights).all()
    whole = [row for row in found.agreement() if row["layer"] == WHOLE]
    assert all(row["cosine"] != 0 for row in whole)
