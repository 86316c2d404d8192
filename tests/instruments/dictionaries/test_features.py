"""Features whose effects, pictures and rules are known."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from pandas import DataFrame

from ired.instruments.core import states
from ired.instruments.dictionaries import features, figures_catalogue
from ired.instruments.dictionaries.dictionary import DictionaryError, given

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
    return given(kind, torch.eye(size), torch.zeros(size), torch.ones(()), 5)


def tokens_of(energy, A, generator, each=20):
    """Noised answers in random landscapes: places and columns."""
    y0 = states.answers(energy, A)
    problem = torch.arange(len(A)).repeat_interleave(each)
    k = torch.randint(energy.schedule.K, (len(problem),), generator=generator)
    noise = states.noise(energy, len(problem), generator=generator, like=A)
    root, sigma = (energy.schedule.at(name, k, noise) for name in ("sqrt_alpha_bar", "sigma"))
    y = root * y0[problem] + sigma * noise
    columns = {
        "problem": problem, "landscape": k, "y": y, "kind": torch.zeros_like(k),
        "step": torch.zeros_like(k), "distance": noise.norm(dim=1) / energy.coordinates.size**0.5,
    }  # fmt: skip
    return features.places(energy, A, y0, columns, torch.arange(len(y))), columns


@pytest.mark.parametrize("power", [1, 2, 4])
def test_effects_on_an_energy_that_is_a_power_of_every_feature(power, ideal, problems, generator):
    size = ideal.coordinates.size
    weights = torch.arange(size, dtype=torch.float64)  # the first feature does nothing
    energy = Layered(ideal, weights, power)
    at, _ = tokens_of(energy, problems, generator)
    dictionary, chosen = identity(size), torch.arange(size)
    found = features.attribute(energy, LAYER, dictionary, at, chunk=7)
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
    dictionary = given(
        "largest", torch.randn(9, 32, generator=generator), torch.zeros(32), torch.ones(()), 5
    )
    same = features.Places(at.A, at.y, at.y, at.k, at.problem)
    assert features.attribute(network, "fc2", dictionary, same).size.max() == 0
    assert features.ablate(network, "fc2", dictionary, same, torch.arange(9)).size.max() == 0


@pytest.mark.parametrize("layer", ["fc1", "fc2", "fc3"])
def test_effects_on_a_network_are_those_of_the_dictionary_put_into_it(
    layer, network, problems, generator
):
    """The construction written out: f a leaf, the error kept."""
    network.requires_grad_(False)
    at, _ = tokens_of(network, problems, generator, each=4)
    weights = torch.randn(9, 32, generator=generator)
    dictionary = given("largest", weights, torch.full((32,), 0.1), torch.tensor(0.7), 5)
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
    found = features.attribute(network, layer, dictionary, at, chunk=5)
    np.testing.assert_allclose(found.size, (expected / sigma[:, None]).abs().mean(0), rtol=1e-6)
    np.testing.assert_allclose(found.signed, (expected / sigma[:, None]).mean(0), rtol=1e-6)
    chosen = torch.tensor([7, 2, 4])
    exact = features.ablate(network, layer, dictionary, at, chosen, chunk=6)
    exactly = (ablated / sigma[:, None])[:, chosen]
    np.testing.assert_allclose(exact.size, exactly.abs().mean(0), rtol=1e-5)
    np.testing.assert_allclose(exact.signed, exactly.mean(0), rtol=1e-5)
    assert 0 < found.error_share[0] < 1 and found.error > 0


def test_pictures_of_a_linear_layer_are_its_weights(ideal, problems, generator):
    c = ideal.coordinates
    energy = Layered(ideal, torch.arange(1.0, c.size + 1), 2)
    at, columns = tokens_of(energy, problems, generator)
    encoder = torch.randn(3, c.size, generator=generator, dtype=torch.float64)
    fires = torch.rand(len(at.y), 3, generator=generator) < 0.5
    fires[:, 2] = False
    found = features.pictures(
        energy, LAYER, encoder, encoder, problems, columns, fires, 30, generator, chunk=11
    )
    basis = states.state_basis(energy, problems)
    rows, pushed = ((v @ basis).reshape(3, c.n, c.n) for v in (encoder, encoder * energy.weights))
    np.testing.assert_allclose(found.state[:2], rows[:2], atol=1e-9)
    np.testing.assert_allclose(found.score[:2], pushed[:2], atol=1e-9)
    np.testing.assert_allclose(found.state_agreement[:2], 1)
    assert found.tokens.tolist() == [30, 30, 0] and np.isnan(found.state_agreement[2])


def test_pictures_of_a_network_are_its_derivatives(network, problems, generator):
    at, columns = tokens_of(network, problems, generator, each=1)
    encoder, along = torch.randn(2, 2, 32, generator=generator, dtype=torch.float64)
    fires = torch.zeros(len(at.y), 2, dtype=torch.bool)
    fires[3, 0] = fires[1, 1] = fires[4, 1] = True
    found = features.pictures(
        network, "fc2", encoder, along, problems, columns, fires, 5, generator
    )
    n, k = network.coordinates.n, at.k[3:4]

    def u(A, y):
        return (network.activations(A, y, k)["fc2"] * encoder[0]).sum()

    reads = torch.autograd.functional.jacobian(u, (at.A[3:4], at.y[3:4]))
    np.testing.assert_allclose(found.problem[0], reads[0][0], atol=1e-12)
    np.testing.assert_allclose(found.state[0], reads[1].reshape(n, n), atol=1e-12)

    def score(amount):
        y = at.y[3:4].clone().requires_grad_()
        h = network.activations(at.A[3:4], y, k)["fc2"] + amount * along[0]
        return torch.autograd.grad(network.resume("fc2", h, at.A[3:4], k).sum(), y)[0]

    change = (score(1e-5) - score(-1e-5)) / 2e-5
    np.testing.assert_allclose(found.score[0], change.reshape(n, n), rtol=1e-5, atol=1e-7)
    if network.coordinates.symmetric:
        np.testing.assert_allclose(found.state, found.state.transpose(0, 2, 1), atol=1e-12)
    assert np.isnan(found.state_agreement[0]) and abs(found.state_agreement[1]) < 1
    assert found.tokens.tolist() == [1, 2]


def test_agreement_of_pictures_that_have_nothing_in_common(ideal, problems, generator):
    """h = y²/2 coordinate by coordinate: ∂(e·h)/∂y = e·y, noise that differs from token to token."""

    class Squares(Layered):
        def activations(self, A, y, k):
            return {LAYER: super().activations(A, y, k)[LAYER].pow(2) / 2}

    energy = Squares(ideal, torch.ones(ideal.coordinates.size), 1)
    at, columns = tokens_of(energy, problems, generator, each=100)
    columns["landscape"][:] = 5
    encoder = torch.ones(40, ideal.coordinates.size, dtype=torch.float64)
    fires = torch.ones(len(at.y), 40, dtype=torch.bool)
    found = features.pictures(
        energy, LAYER, encoder, encoder, problems, columns, fires, 10, generator
    )
    # Ten tokens that are noise would have 1/10 of their mean square in their mean.
    assert abs(found.state_agreement.mean()) < 0.04


def test_firing_by_what_there_is(tokens):
    k, problem, kind, distance = (tokens[c] for c in ("landscape", "problem", "kind", "distance"))
    steep = np.arange(40.0)
    f = np.stack(
        [2.0 * (k <= 2), (distance > 0.6) * 1.0, kind * steep[problem], np.zeros(len(k))], 1
    )
    found = features.firing(f, tokens, {"size": steep, "other": np.arange(40) % 2})
    np.testing.assert_array_equal(found.by_landscape[0], np.arange(10) <= 2)
    np.testing.assert_array_equal(found.by_kind[2], [0, 39 / 40])
    assert found.by_distance[1, :2].max() == 0 and found.by_distance[1, -1] == 1
    np.testing.assert_allclose(found.rate[[0, 3]], [0.3, 0])
    np.testing.assert_allclose(found.strength[[0, 3]], [2, 0])
    assert found.rho[2, 0] == pytest.approx(1) and found.p[2, 0] < 1e-6
    assert abs(found.rho[2, 1]) < 0.1 and found.p[2, 1] > 0.5
    assert found.rho[0, 0] == 0 and found.p[0, 0] > 0.9  # the same mean in every problem


def test_strongest_tokens_are_of_different_problems():
    problem = np.repeat(np.arange(3), 3)
    f = np.array([[1, 9, 8, 2, 7, 0, 0, 0, 0]]).T
    assert features.strongest(f, problem, 3).tolist() == [[1, 4, -1]]


def test_a_picture_that_decides_firing_tells_it_and_another_does_not(described, generator):
    tokens, columns = described
    A = torch.randn(40, 3, 3, generator=generator)
    weights = np.random.default_rng(5).normal(size=(2, 2, 3, 3))
    along = columns["y"].numpy() @ weights[0, 0].ravel()
    along = along + (A.numpy() * weights[1, 0]).sum((1, 2))[tokens.problem]
    fires = np.stack([along > 1] * 2 + [along > -1e9], 1)
    state, problem = (np.stack([w[0], w[1], w[0]]) for w in weights)
    nothing = np.zeros(3)
    seen = features.Pictures(state, problem, state, nothing, nothing, nothing, nothing)
    right, wrong, always = features.picture_aurocs(seen, A, columns, fires, tokens)
    assert right == 1 and wrong < 0.8 and np.isnan(always)


def test_null_directions_fire_as_often_as_asked(generator):
    x = torch.randn(500, 6, generator=generator) * torch.tensor([9.0, 1, 1, 1, 1, 1])
    fires, directions = features.null_firing(x, torch.cov(x.T), [0.0, 0.1, 0.5], generator)
    np.testing.assert_allclose(fires.mean(0), [0, 0.1, 0.5])
    assert directions.shape == (3, 6)
    along = x @ directions[1]
    assert along[fires[:, 1]].min() > along[~fires[:, 1]].max()


def test_dead_features_are_not_compared(generator):
    size = np.array([0.0, 3, 0, 1, 2, 0.5])
    found = features.Effects(size, size)
    top, checked = features.shortlist(found, 2, 10, generator)
    assert top.tolist() == [1, 4] and checked[:2].tolist() == [1, 4]
    assert sorted(checked[2:]) == [3, 5]
    with pytest.raises(DictionaryError, match="2 of 6 features"):
        features.shortlist(features.Effects(size * (size > 1), size), 2, 10, generator)


def test_the_weakest_layer_decides():
    strong, weak = np.linspace(0.9, 1.0, 20), np.linspace(0.5, 1.0, 20)
    assert features.weakest_mean([strong, weak]).estimate == pytest.approx(0.75)
    assert features.weakest_mean([strong, np.array([1.0])]) is None


@pytest.fixture
def interpreted(network, generator):
    """Everything about a random dictionary with one feature that always fires, on tiny data."""
    network.requires_grad_(False)
    problems = torch.rand(16, 4, 4, generator=generator, dtype=torch.float64) * 2 - 1
    problems = 2 * problems @ problems.mT + 0.5 * torch.eye(4, dtype=torch.float64)
    _, columns = tokens_of(network, problems, generator)
    at = problems[columns["problem"]]
    x = network.activations(at, columns["y"], columns["landscape"])["fc2"].float()
    mean, covariance = x.mean(0), torch.cov(x.T)
    weights = torch.randn(12, 32, generator=generator)
    random = given("threshold", weights, mean, covariance.trace().sqrt())
    always = random.encoder_bias.clone()
    always[0] = 1e3
    dictionary = replace(random, encoder_bias=always)
    properties = {"trace": problems.diagonal(dim1=1, dim2=2).sum(1).numpy()}
    found = features.interpret(
        network, "fc2", dictionary, covariance, x, problems, states.answers(network, problems),
        columns, properties, features.Sizes(4, 6, 100, 20, 3, 2), generator,
    )  # fmt: skip
    return found, columns, properties


def test_all_of_it_fits_together(interpreted):
    found, columns, properties = interpreted
    table = DataFrame(found.columns())
    assert len(table) == 4 and table["attribution"].is_monotonic_decreasing
    assert table["feature"][0] == 0 and table["rate"][0] == 1  # the largest activation by far
    assert table["rule"][0].startswith("fires on every token") and np.isnan(table["auroc"][0])
    assert table["auroc"][1:].between(0, 1).all() and len(found.aurocs()) == 3
    np.testing.assert_allclose(
        found.beyond_null(), (table["auroc"] - table["null"])[1:], atol=1e-12
    )
    checked = DataFrame(found.checked_columns())
    assert len(checked) == 10 and checked["top"].sum() == 4
    examples = DataFrame(found.top_examples(columns, properties))
    assert (examples.groupby("feature")["problem"].nunique() == 3).all()
    np.testing.assert_array_equal(examples["trace"], properties["trace"][examples["problem"]])
    assert found.arrays()["state"].shape == (4, 4, 4)
    assert found.summary()["with_rule"] == 0.75


def test_the_catalogue_is_one_page_that_needs_nothing_else(interpreted):
    found, columns, properties = interpreted
    table = DataFrame(found.columns()).assign(stability=[0.5, np.nan, 0.1, 0.2])
    layer = {
        "name": "fc2", "note": figures_catalogue.note("topk", found.summary(), None, False), "table": table,
        "arrays": found.arrays(), "examples": DataFrame(found.top_examples(columns, properties)),
    }  # fmt: skip
    page = figures_catalogue.page("A & B", [layer])
    assert "A &amp; B" in page and page.count("<article") == 4 and page.count("<img") == 12
    words = re.sub(r"base64,[^\"]*", "", page)
    assert "fires on every token" in words and not re.search(r"\bnan\b", words)
    assert not re.search(r"https?://|<script|<link", page)
    assert len(page) < 60_000
    swept = {"architecture": "l1", "features": 64, "sparsity": 8, "meets": False}
    other = figures_catalogue.note("topk", found.summary(), swept, False)
    assert "not the operating point of P2-05, l1 with 64 features" in other and "none meets" in other
    layer["arrays"]["state"][:] = 0
    assert figures_catalogue.page("x", [layer]).count("<img") == 8
