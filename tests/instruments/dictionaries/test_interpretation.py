"""Features whose pictures and rules are known."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from pandas import DataFrame, Series

from ired.instruments.core import states
from ired.instruments.dictionaries import figures_catalogue, interpretation
from ired.instruments.dictionaries.sparse_autoencoder import given_dictionary
from tests.instruments.dictionaries.test_features import LAYER, Layered, tokens_of


def test_pictures_of_a_linear_layer_are_its_weights(ideal, problems, generator):
    c = ideal.coordinates
    energy = Layered(ideal, torch.arange(1.0, c.size + 1), 2)
    at, columns = tokens_of(energy, problems, generator)
    encoder = torch.randn(3, c.size, generator=generator, dtype=torch.float64)
    fires = torch.rand(len(at.y), 3, generator=generator) < 0.5
    fires[:, 2] = False
    found = interpretation.pictures(energy, LAYER, encoder, encoder, problems, columns, fires, 30, generator, chunk=11)
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
    found = interpretation.pictures(network, "fc2", encoder, along, problems, columns, fires, 5, generator)
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
    found = interpretation.pictures(energy, LAYER, encoder, encoder, problems, columns, fires, 10, generator)
    # Ten tokens that are noise would have 1/10 of their mean square in their mean.
    assert abs(found.state_agreement.mean()) < 0.04


def test_a_picture_that_decides_firing_tells_it_and_another_does_not(described, generator):
    tokens, columns = described
    A = torch.randn(40, 3, 3, generator=generator)
    weights = np.random.default_rng(5).normal(size=(2, 2, 3, 3))
    along = columns["y"].numpy() @ weights[0, 0].ravel()
    along = along + (A.numpy() * weights[1, 0]).sum((1, 2))[tokens.problem]
    fires = np.stack([along > 1] * 2 + [along > -1e9], 1)
    state, problem = (np.stack([w[0], w[1], w[0]]) for w in weights)
    nothing = np.zeros(3)
    seen = interpretation.Pictures(state, problem, state, nothing, nothing, nothing, nothing)
    right, wrong, always = interpretation.picture_aurocs(seen, A, columns, fires, tokens)
    assert right == 1 and wrong < 0.8 and np.isnan(always)


def test_the_weakest_layer_decides():
    strong, weak = np.linspace(0.9, 1.0, 20), np.linspace(0.5, 1.0, 20)
    assert interpretation.weakest_mean([strong, weak]).estimate == pytest.approx(0.75)
    assert interpretation.weakest_mean([strong, np.array([1.0])]) is None


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
    random = given_dictionary("threshold", weights, mean, covariance.trace().sqrt())
    always = random.encoder_bias.clone()
    always[0] = 1e3
    dictionary = replace(random, encoder_bias=always)
    properties = {"trace": problems.diagonal(dim1=1, dim2=2).sum(1).numpy()}
    found = interpretation.interpret(
        network,
        "fc2",
        dictionary,
        covariance,
        x,
        problems,
        states.answers(network, problems),
        columns,
        properties,
        interpretation.InterpretationSizes(4, 6, 100, 20, 3, 2),
        generator,
    )
    return found, columns, properties


def test_all_of_it_fits_together(interpreted):
    found, columns, properties = interpreted
    table = DataFrame(found.columns())
    assert len(table) == 4 and table["attribution"].is_monotonic_decreasing
    assert table["feature"][0] == 0 and table["rate"][0] == 1  # the largest activation by far
    assert table["rule"][0].startswith("fires on every token") and np.isnan(table["auroc"][0])
    assert table["auroc"][1:].between(0, 1).all() and len(found.aurocs()) == 3
    np.testing.assert_allclose(found.beyond_null(), (table["auroc"] - table["null"])[1:], atol=1e-12)
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
        "name": "fc2",
        "note": figures_catalogue.note("topk", found.summary(), None, False),
        "table": table,
        "arrays": found.arrays(),
        "examples": DataFrame(found.top_examples(columns, properties)),
    }
    page = figures_catalogue.catalogue_page("A & B", [layer])
    assert "A &amp; B" in page and page.count("<article") == 4 and page.count("<img") == 12
    words = re.sub(r"base64,[^\"]*", "", page)
    assert "fires on every token" in words and not re.search(r"\bnan\b", words)
    assert not re.search(r"https?://|<script|<link", page)
    assert len(page) < 60_000
    swept = {"architecture": "l1", "features": 64, "sparsity": 8, "meets": False}
    other = figures_catalogue.note("topk", found.summary(), swept, False)
    assert "not the operating point of P2-05, l1 with 64 features" in other and "none meets" in other
    layer["arrays"]["state"][:] = 0
    assert figures_catalogue.catalogue_page("x", [layer]).count("<img") == 8


def test_verdicts_are_the_weakest_layers_and_pages_hold_what_is_shown(interpreted):
    found, columns, properties = interpreted
    agreement = interpretation.weakest_agreement([found, found])
    decided = interpretation.interpretation_verdicts([found, found])
    met, numbers = decided["attribution_agrees_with_ablation"]
    assert numbers == {"low": agreement.low} and met == (agreement.low > 0.8)
    assert decided["rules_hold_on_new_problems"][1]["mean"] == pytest.approx(found.aurocs().mean())
    assert decided["rules_beat_random_directions"][1]["mean"] == pytest.approx(found.beyond_null().mean())
    without = replace(found, rules=[replace(rule, auroc=None) for rule in found.rules])
    assert interpretation.interpretation_verdicts([without])["rules_hold_on_new_problems"] == (None, {})
    page = found.page("fc2", Series(0.5, index=found.features[1:]), columns, properties)
    assert page["table"]["layer"].eq("fc2").all() and np.isnan(page["table"]["stability"][0])
    assert page["table"]["stability"][1:].eq(0.5).all() and set(page["arrays"]) == set(found.arrays())
    effects = interpretation.checked_effects({"fc1": found, "fc2": found})
    assert effects["layer"].value_counts().to_dict() == {"fc1": 10, "fc2": 10}
