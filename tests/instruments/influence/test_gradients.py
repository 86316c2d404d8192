"""Influence: exact curvature of a loss on a gradient, solutions to tolerance, and all methods on
one network."""

import numpy as np
import pytest
import torch

from ired.instruments.influence import gradients, outcomes, study
from ired.instruments.influence.known_answers import leave_one_out_ridge, twice_used
from ired.model import problems
from ired.model.energies.mlp import EnergyConfig
from ired.model.reference import IdealEnergy
from ired.model.sampling import AnnealedSampler
from ired.model.training.ensemble import TableEnergy, as_function

SAMPLER = AnnealedSampler(1, 6.0)


def trained(hidden=6, symmetric=True):
    config = EnergyConfig(3, hidden, landscapes=3, scale=0.5, symmetric=symmetric)
    one = TableEnergy(config, problems.generator(0, "network")).double()
    with torch.no_grad():
        for weight in one.parameters():
            weight.mul_(1.5)
    return one


def some(energy, count, generator, states=1):
    A = problems.draw(count, 3, 0.5, generator, torch.float64)
    return outcomes.Draws.of(energy, A, states, 1, generator)


def whole_jacobian(energy, at):
    score, parts = as_function(energy), study.all_points(energy, at)
    theta = torch.nn.utils.parameters_to_vector(energy.parameters()).detach()
    return theta, torch.func.jacrev(lambda th: score(th, *parts).flatten())(theta)


def test_ridge_regression_gives_leave_one_out(generator):
    found, exact = leave_one_out_ridge(generator)
    for a, b in zip(found, exact, strict=True):
        assert np.corrcoef(a, b)[0, 1] > 0.999
    assert np.allclose(found, exact, atol=0.1 * np.abs(exact).max())


def test_a_weight_of_an_energy_acts_twice_and_hooks_see_once(generator):
    """∇_y‖Wy‖² = 2WᵀWy: what hooks on the layer rebuild from its input and its output's gradient is
    one of two uses of W, and wrong without a warning; the score as a function of θ has both."""
    layer = torch.nn.Linear(3, 4, bias=False, dtype=torch.float64)
    y = torch.randn(5, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    noise, caught = torch.randn(5, 3, generator=generator, dtype=torch.float64), {}

    def hook(module, entered, left):
        caught["in"], caught["out"] = entered[0].detach(), left

    layer.register_forward_hook(hook)
    (score,) = torch.autograd.grad(layer(y).square().sum(), y, create_graph=True)
    loss = (score - noise).square().mean(1).sum()
    true, by_output = torch.autograd.grad(loss, (layer.weight, caught["out"]))
    rebuilt = by_output.T @ caught["in"]
    W = layer.weight.detach()
    error = 2 * (2 * y.detach() @ W.T @ W - noise) / 3
    forward = 2 * (error @ W.T).T @ y.detach()  # through Wy
    backward = 2 * (y.detach() @ W.T).T @ error  # through Wᵀ(…)
    assert torch.allclose(true, forward + backward)
    assert torch.allclose(rebuilt, forward)
    assert (rebuilt - true).norm() > 0.2 * true.norm()

    def losses(rows):
        return (2 * y.detach()[rows] @ layer.weight.T @ layer.weight - noise[rows]).square().mean(1)

    own = gradients.gradients(losses, [layer.weight], 5, chunk=2)
    assert torch.allclose(own.sum(0), true.flatten())


@pytest.mark.parametrize("symmetric", [False, True])
def test_the_product_equals_the_explicit_matrix(generator, symmetric):
    energy = trained(symmetric=symmetric)
    at = some(energy, 3, generator)
    theta, J = whole_jacobian(energy, at)
    parts = zip(*(t.split(4) for t in study.all_points(energy, at)), strict=True)
    score = as_function(energy)
    product = gradients.gauss_newton([lambda th, p=p: score(th, *p) for p in parts], theta)
    V = torch.randn(3, len(theta), generator=generator, dtype=torch.float64)
    assert torch.allclose(product(V), V @ (2 * J.T @ J / len(J)), atol=1e-10)
    # The gradient of the mean loss is that of the mean squared error of the same points.
    grads = study.loss_gradients(energy, list(energy.parameters()), at)
    noise = energy.coordinates.to_basis(at.noise.transpose(0, 1)).flatten()
    error = score(theta, *study.all_points(energy, at)).flatten() - noise
    assert torch.allclose(grads.mean(0), 2 * J.T @ error / len(J), atol=1e-10)


def test_solutions_reach_their_tolerance_and_stop(generator):
    theta, outputs = twice_used(generator)
    product = gradients.gauss_newton(outputs, theta)
    b = torch.randn(4, len(theta), generator=generator, dtype=torch.float64)
    b[3] = 0
    loose = gradients.conjugate_gradients(product, b, (1e-2,), tolerance=1e-2)
    tight = gradients.conjugate_gradients(product, b, (1e-2, 1.0), tolerance=1e-8)
    assert loose.residual.max() < 1e-2 and tight.residual.max() < 1e-8
    assert loose.products < tight.products
    for solved in (loose, tight):
        for x, shift, left in zip(solved.x, solved.dampings, solved.residual, strict=True):
            real = (product(x) + shift * x - b).norm(dim=1)
            assert torch.allclose(real, left * b.norm(dim=1), atol=1e-9)
        assert not solved.x[:, 3].any()


def test_single_precision_solves_too(generator):
    theta, outputs = twice_used(generator)
    outputs = [lambda th, o=o: o(th.double()).float() for o in outputs]
    product = gradients.gauss_newton(outputs, theta.float())
    b = torch.randn(4, len(theta), generator=generator)
    solved = gradients.conjugate_gradients(product, b, (1e-2,), tolerance=1e-3)
    left = product(solved.x[0]) + solved.dampings[0] * solved.x[0] - b
    assert (left.norm(dim=1) / b.norm(dim=1)).max() < 5e-3


def test_outcomes_of_the_ideal_landscape(generator, schedule):
    energy = trained()
    ideal = IdealEnergy(energy.coordinates, energy.schedule)
    at = some(ideal, 4, generator, states=3)
    assert torch.allclose(outcomes.score_errors(ideal, at), torch.zeros(4).double(), atol=1e-20)
    assert outcomes.sampled_errors(ideal, at, SAMPLER).max() < 1e-3
    # One noise serves right and wrong: it adds √ᾱ(y₀ − wrong)·ε to the gap, nothing on average.
    gaps = outcomes.relative_energy_gaps(ideal, some(ideal, 200, generator, states=8))
    assert abs(gaps.mean() - 1) < 0.1


def test_all_methods_on_one_network_have_one_sign_and_their_shapes(generator):
    energy = trained()
    train, test = some(energy, 8, generator, 2), some(energy, 3, generator, 2)
    net = study.Trained.of(energy, as_function, [(0.1, energy)])
    found = study.compute_influences([net, net], train, test, SAMPLER, (1e-2, 1e3), 5)
    for method, values in found.by.items():
        assert values.shape[1:] == (3, 3, 8) and np.isfinite(values).all(), method
    # At a very large damping all curvature is forgotten: gradient products remain.
    product = found.at("product", "score_error")[0]
    top = found.solved[1]["lambda"]
    damped = found.at("gauss_newton", "score_error")[1] * top
    assert np.allclose(damped, product, atol=1e-2 * abs(product).max())
    assert np.allclose(found.at("tracin", "score_error")[0], 0.1 * 8 * product)
    # A problem that is tested on itself is helped most by itself: the product is a squared length.
    self_influence = gradients.by_cosine(*(torch.eye(3),) * 2)
    assert torch.allclose(self_influence.diagonal(), -torch.ones(3))


def test_tracin_is_captums(generator, monkeypatch):
    energies = [trained(), trained()]
    with torch.no_grad():
        energies[1].fc2.weight.add_(0.1)
    train, test = some(energies[0], 5, generator, 2), some(energies[0], 2, generator, 2)
    net = study.Trained.of(energies[1], as_function, list(zip((0.3, 0.1), energies, strict=True)))
    before = [w.clone() for w in net.parameters]
    assert study.difference_from_captum(net, train, test) < 1e-5
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters, strict=True))
    monkeypatch.setattr(gradients, "by_tracin", lambda rates, a, b: -a[0] @ b[0].T)
    assert study.difference_from_captum(net, train, test) > 1e-2  # one checkpoint is not two


def test_pull_is_the_cosine_of_gradients(generator):
    energy = trained()
    at = some(energy, 5, generator)
    cosines = study.pull(energy, list(energy.parameters()), at, at[slice(0, 2)], chunk=2)
    g = study.loss_gradients(energy, list(energy.parameters()), at)
    g = g / g.norm(dim=1, keepdim=True)
    assert cosines.shape == (2, 5) and np.allclose(cosines, (g[:2] @ g.T).numpy())
