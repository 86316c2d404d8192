"""Jacobians, paths of the score and the census of units, on networks whose parts are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pandas import DataFrame
from torch.nn import functional as F

from ired.instruments.core import states as points
from ired.instruments.layers import forward_backward, jacobians, score_decomposition, unit_activity
from ired.instruments.layers.forward_backward import LAYERS
from ired.instruments.layers.known_answers_gradient_signal import PlantedNetwork, make_linear, plant_units, planted_path
from ired.model.weight_edits import without_film


@pytest.fixture
def states(network, problems, generator):
    """z and noise (10, 6, 2, size)."""
    return forward_backward.noised_by_landscape(network, points.answers(network, problems), 2, generator)


def test_a_passage_is_the_networks_own(network, problems, states):
    z, k = states[0][4], 4
    p = forward_backward.passage(network, problems, z, k)
    y = network.coordinates.from_basis(z)
    own = network.activations(problems, y, k)
    for name, h in zip((*LAYERS, "fc4"), (*p.h, p.f), strict=True):
        assert torch.allclose(h, own[name], rtol=1e-12)
    E, gradient = network.energy_and_gradient(problems, y, k)
    assert torch.allclose(p.f.pow(2).sum(-1), E, rtol=1e-12)
    assert torch.allclose(network.coordinates.from_basis(p.score), gradient, rtol=1e-10)


def test_one_landscape_a_state_or_one_for_all(network, problems, states):
    z = states[0][4][:, :2]
    both = forward_backward.passage(network, problems, z, torch.tensor([3, 7]))
    for m, k in enumerate((3, 7)):
        one = forward_backward.passage(network, problems, z[:, m : m + 1], k)
        assert torch.allclose(both.score[:, m : m + 1], one.score, rtol=1e-12)


def test_the_slope_of_swish():
    u = torch.linspace(-30, 30, 200, dtype=torch.float64).requires_grad_()
    (slope,) = torch.autograd.grad(F.silu(u).sum(), u)
    assert torch.allclose(forward_backward.swish_slope(u.detach()), slope, atol=1e-12)


def test_spectra_equal_autograd(network, problems, states):
    z = states[0][:, :2, 0]
    found = jacobians.jacobian_spectra(network, problems[:2], z)
    k, i = 6, 1
    half = network.prepare(problems)
    c = network.coordinates

    def run(x, layer):
        return network.activations(problems[i : i + 1], c.from_basis(x)[None], k)[layer][0]

    for name, layer in (("state → fc1", "fc1"), ("state → f", "fc4")):
        J = torch.func.jacrev(lambda x, layer=layer: run(x, layer))(z[k, i])
        assert np.allclose(found.values[name][k, i], points.array(torch.linalg.svdvals(J)), atol=1e-10)
    own = network.activations(problems[i : i + 1], c.from_basis(z[k, i])[None], k)
    scale2, shift2, scale3, shift3 = (table[k] for table in half.film)
    steps = {
        "fc1 → fc2": (own["fc1"][0], lambda h: F.silu(network.fc2(h) * scale2 + shift2)),
        "fc2 → fc3": (own["fc2"][0], lambda h: F.silu(network.fc3(h) * scale3 + shift3)),
        "fc3 → f": (own["fc3"][0], network.fc4),
    }
    for name, (h, step) in steps.items():
        J = torch.func.jacrev(step)(h)
        assert np.allclose(found.values[name][k, i], points.array(torch.linalg.svdvals(J)), atol=1e-10)
    columns = found.columns()
    assert len(columns["gain"]) == 5 * 10 * 2
    assert (columns["rank"] <= columns["full"] + 1e-9).all() and (columns["condition"] >= 1).all()
    assert (columns["antisymmetric"] == 0).all() == c.symmetric


def test_spectra_need_double(network, problems, states):
    with pytest.raises(ValueError, match="float64"):
        jacobians.jacobian_spectra(network, problems, states[0][:, :, 0].float())


def test_a_linear_network_has_the_product_of_its_matrices(ideal, problems, states, generator):
    planted = PlantedNetwork(ideal, 5, generator)
    make_linear(planted)
    found = jacobians.jacobian_spectra(planted, problems[:1], states[0][:, :1, 0])
    s2, _, s3, _ = (table[9][:, None] for table in planted.tables)
    first = planted.fc1.weight[:, ideal.coordinates.size :]
    J = planted.fc4.weight @ (s3 * planted.fc3.weight) @ (s2 * planted.fc2.weight) @ first
    known = points.array(torch.linalg.svdvals(J))
    assert np.allclose(found.values["state → f"][9, 0], known, atol=1e-10)


def test_parts_of_the_score_sum_to_it(network, problems, states):
    found = score_decomposition.paths(network, problems, states[0])
    assert np.allclose(found.share.sum((1, 2)), 1, atol=1e-10)
    assert ((found.constant > 0) & (found.constant <= 1)).all()
    assert ((found.top > 0) & (found.top <= 1)).all() and (found.fixed <= found.top + 1e-12).all()
    p = forward_backward.passage(network, problems, states[0][3], 3)
    for share in score_decomposition.unit_shares(network, p).values():
        assert torch.allclose(share.sum(-1), torch.ones(()).double(), atol=1e-10)
    assert len(found.columns()["share"]) == 10 * 2 * 4 * 6 and len(found.units()["top"]) == 10 * 4 * 6


def test_without_film_nothing_goes_by_its_gains(network, problems, states):
    bare = without_film(without_film(network, "fc2"), "fc3")
    found = score_decomposition.paths(bare, problems, states[0])
    assert np.allclose(found.size[:, :, 1:], 0, atol=1e-20)
    columns = score_decomposition.score_changes(network, {"bare": bare}, problems, *states)
    own = columns["altered"] == "own"
    assert (columns["change"][own] == 0).all() and (columns["change"][~own] > 0).all()


def test_a_planted_path_and_no_other(ideal, problems, states, generator):
    planted = PlantedNetwork(ideal, 10, generator)
    chain = planted_path(planted, (2, 7, 5))
    p = forward_backward.passage(planted, problems, states[0][1], 1)
    for name, i in zip(LAYERS, chain, strict=True):
        share = score_decomposition.unit_shares(planted, p)[name]
        assert torch.allclose(share[..., i], torch.ones(()).double(), atol=1e-10)
        share[..., i] = 0
        assert share.abs().max() < 1e-10
    found = score_decomposition.paths(planted, problems, states[0])
    assert np.allclose(found.participation[:, :3], 0.1, atol=1e-9)
    assert np.allclose(found.top[:, :3], 1) and np.allclose(found.fixed[:, :3], 1)


def test_planted_units_are_named(ideal, problems, generator):
    planted = PlantedNetwork(ideal, 9, generator)
    plant_units(planted)
    shape = 10, len(problems), 20
    z = ideal.coordinates.to_basis(points.noise(ideal, *shape, generator=generator, like=problems))
    seen = unit_activity.census(planted, problems, z)
    for unit, sort in enumerate(("dead", "off", "linear", "straight")):
        assert (seen.sorts()[:, 0, unit] == unit_activity.SORTS.index(sort)).all(), sort
    assert (seen.sorts()[:, 0, 4:] == unit_activity.SORTS.index("bent")).all()
    assert seen.dead()["fc1"].estimate == pytest.approx(1 / 9)
    columns = seen.columns()
    assert len(columns["share"]) == 10 * 3 * 5
    assert columns["share"].reshape(10, 3, 5).sum(-1) == pytest.approx(1)


def test_no_dead_unit_in_few_is_still_uncertain(ideal, problems, generator):
    planted = PlantedNetwork(ideal, 64, generator)
    z, _ = forward_backward.noised_by_landscape(planted, points.answers(ideal, problems), 4, generator)
    dead = unit_activity.census(planted, problems, z).dead()
    assert dead["fc1"].estimate == 0 and dead["fc1"].high == pytest.approx(1 - 0.05 ** (1 / 64))


def test_the_constant_of_f_and_summaries(network, problems, states):
    found = score_decomposition.paths(network, problems, states[0])
    whole = found.share[:, 0].sum(1)
    least = found.least_constant()
    assert least.estimate == pytest.approx(whole.mean(-1)[np.isclose(whole.mean(-1), least.estimate)][0])
    film = score_decomposition.score_changes(network, {"mean": forward_backward.mean_film(network)}, problems, *states)
    tables = {"paths": found.columns(), "units": found.units(), "film": film}
    made = score_decomposition.score_path_summaries({k: DataFrame(t).assign(energy="x") for k, t in tables.items()})
    roots = made["roots"].pivot(index="landscape", columns="root", values="mean")
    assert np.allclose(roots.sum(axis=1), 1) and np.allclose(roots["constant"], whole.mean(-1))
    assert len(made["routes"]) == 40 and set(made["film"]["altered"]) == {"own", "mean"}


def test_the_mean_of_the_landscapes_film_is_the_same_in_all(network, problems, states):
    changed = forward_backward.mean_film(network)
    z = states[0][4]
    one, other = (forward_backward.passage(changed, problems, z, k).f for k in (0, 9))
    assert torch.equal(one, other)
    own = [forward_backward.passage(network, problems, z, k).f for k in (0, 9)]
    assert not torch.allclose(*own)
