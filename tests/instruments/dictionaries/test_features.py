"""Features whose effects are known."""

import numpy as np
import pytest
import torch

from ired.instruments.core import states
from ired.instruments.dictionaries import features
from ired.instruments.dictionaries.sparse_autoencoder import DictionaryError, given_dictionary

LAYER = "fc1"


class Layered:
    """E = Σ c_i h_i^power / power + 1000·tr A with the layer h = basis coordinates of y − √ᾱ_k y₀.

    With one feature a coordinate, attribution is c_i h_i^power and ablation that over power.
    """

    def __init__(self, ideal, weights, power):
        self.coordinates, self.schedule = ideal.coordinates, ideal.schedule
        self.weights, self.power = weights, power

    def activations(self, A, y, k):
        home = self.schedule.at("sqrt_alpha_bar", k, y) * states.answers(self, A)
        return {LAYER: self.coordinates.to_basis(y - home)}

    def resume(self, layer, h, A, k):
        offset = 1000 * A.diagonal(dim1=-2, dim2=-1).sum(-1)
        return (self.weights * h**self.power).sum(-1) / self.power + offset


def identity(size, kind="all"):
    return given_dictionary(kind, torch.eye(size), torch.zeros(size), torch.ones(()), 5)


def tokens_of(energy, A, generator, each=20):
    """Noised answers in random landscapes: places and columns."""
    y0 = states.answers(energy, A)
    problem = torch.arange(len(A)).repeat_interleave(each)
    k = torch.randint(energy.schedule.K, (len(problem),), generator=generator)
    noise = states.noise(energy, len(problem), generator=generator, like=A)
    root, sigma = (energy.schedule.at(name, k, noise) for name in ("sqrt_alpha_bar", "sigma"))
    y = root * y0[problem] + sigma * noise
    columns = {
        "problem": problem,
        "landscape": k,
        "y": y,
        "kind": torch.zeros_like(k),
        "step": torch.zeros_like(k),
        "distance": noise.norm(dim=1) / energy.coordinates.size**0.5,
    }
    return features.places(energy, A, y0, columns, torch.arange(len(y))), columns


@pytest.mark.parametrize("power", [1, 2, 4])
def test_effects_on_an_energy_that_is_a_power_of_every_feature(power, ideal, problems, generator):
    size = ideal.coordinates.size
    weights = torch.arange(size, dtype=torch.float64)  # the first feature does nothing
    energy = Layered(ideal, weights, power)
    at, _ = tokens_of(energy, problems, generator)
    dictionary, chosen = identity(size), torch.arange(size)
    found = features.attribute_features(energy, LAYER, dictionary, at, chunk=7)
    exact = features.ablate(energy, LAYER, dictionary, at, chosen, chunk=13)
    h = energy.activations(at.A, at.y, at.k)[LAYER]
    expected = weights * h**power / ideal.schedule.sigma[at.k, None]
    np.testing.assert_allclose(found.size, expected.abs().mean(0), atol=1e-9)
    np.testing.assert_allclose(found.signed, expected.mean(0), atol=1e-9)
    odd = at.problem % 2 == 1
    for half, rows in zip(found.halves, (~odd, odd), strict=True):
        np.testing.assert_allclose(half, expected[rows].abs().mean(0), atol=1e-9)
    np.testing.assert_allclose(exact.signed, expected.mean(0) / power, atol=1e-8)
    assert found.size[0] == 0 and exact.size[0] < 1e-9 and found.rate.min() == 1
    assert found.error == 0 and found.error_share[0] == 0
    agree = features.agreement(found, exact, chosen.numpy())
    assert agree.slope.estimate == pytest.approx(1 / power, abs=1e-6)
    assert agree.size.estimate == pytest.approx(1) and found.reliability > 0.7


def test_the_difference_to_the_answer_is_what_counts(network, problems, generator):
    at, _ = tokens_of(network, problems, generator)
    dictionary = given_dictionary(
        "largest", torch.randn(9, 32, generator=generator), torch.zeros(32), torch.ones(()), 5
    )
    same = features.Places(at.A, at.y, at.y, at.k, at.problem)
    assert features.attribute_features(network, "fc2", dictionary, same).size.max() == 0
    assert features.ablate(network, "fc2", dictionary, same, torch.arange(9)).size.max() == 0


@pytest.mark.parametrize("layer", ["fc1", "fc2", "fc3"])
def test_effects_on_a_network_are_those_of_the_dictionary_put_into_it(layer, network, problems, generator):
    """The construction written out: f a leaf, the error kept."""
    network.requires_grad_(False)
    at, _ = tokens_of(network, problems, generator, each=4)
    weights = torch.randn(9, 32, generator=generator)
    dictionary = given_dictionary("largest", weights, torch.full((32,), 0.1), torch.tensor(0.7), 5)
    d = dictionary.to(at.y)
    expected, ablated, sigma = 0, 0, network.schedule.sigma[at.k]
    for sign, state in ((1, at.y), (-1, at.reference)):
        h = network.activations(at.A, state, at.k)[layer]
        f = d.encode(h).requires_grad_()
        error = (h - d(h)).detach()
        E = network.resume(layer, d.decode(f) + error, at.A, at.k)
        np.testing.assert_allclose(E.detach(), network.energy(at.A, state, at.k).detach())
        expected = expected + sign * torch.autograd.grad(E.sum(), f)[0] * f.detach()
        for i in range(9):
            kept = torch.arange(9) != i
            gone = network.resume(layer, d.decode(f * kept) + error, at.A, at.k)
            ablated = ablated + sign * torch.outer(E - gone, (~kept).double()).detach()
    found = features.attribute_features(network, layer, dictionary, at, chunk=5)
    np.testing.assert_allclose(found.size, (expected / sigma[:, None]).abs().mean(0), rtol=1e-6)
    np.testing.assert_allclose(found.signed, (expected / sigma[:, None]).mean(0), rtol=1e-6)
    chosen = torch.tensor([7, 2, 4])
    exact = features.ablate(network, layer, dictionary, at, chosen, chunk=6)
    exactly = (ablated / sigma[:, None])[:, chosen]
    np.testing.assert_allclose(exact.size, exactly.abs().mean(0), rtol=1e-5)
    np.testing.assert_allclose(exact.signed, exactly.mean(0), rtol=1e-5)
    assert 0 < found.error_share[0] < 1 and found.error > 0


def test_dead_features_are_not_compared(generator):
    size = np.array([0.0, 3, 0, 1, 2, 0.5])
    found = features.FeatureEffects(size, size)
    top, checked = features.shortlist(found, 2, 10, generator)
    assert top.tolist() == [1, 4] and checked[:2].tolist() == [1, 4]
    assert sorted(checked[2:]) == [3, 5]
    with pytest.raises(DictionaryError, match="2 of 6 features"):
        features.shortlist(features.FeatureEffects(size * (size > 1), size), 2, 10, generator)
