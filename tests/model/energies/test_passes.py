"""The passes written out by hand, against autograd through autograd, in float64."""

import pytest
import torch

from ired.model import problems
from ired.model.energies.mlp import EnergyConfig, MLPEnergy
from ired.model.energies.passes import DERIVATIVE, ENERGY, GRADIENT, Gradients, Landscape, Passes

B = 7


@pytest.fixture(params=[False, True], ids=["raw", "symmetric"])
def setting(request):
    """An energy whose every part bends, problems, states, landscapes."""
    config = EnergyConfig(3, hidden=16, symmetric=request.param)
    energy = MLPEnergy(config, problems.generator(0, "weights")).double()
    random = problems.generator(1, "states")
    with torch.no_grad():
        for parameter in energy.parameters():
            parameter.mul_(2)
    A = problems.draw(B, 3, 0.5, random, torch.float64)
    z = torch.randn(B, energy.coordinates.size, dtype=torch.float64, generator=random)
    return energy, A, z, torch.randint(10, (B,), generator=random), random


def test_a_loss_of_energies_and_gradients_is_differentiated_by_every_weight(setting):
    energy, A, z, k, random = setting
    weight = torch.randn(B, dtype=torch.float64, generator=random)
    direction = torch.randn(z.shape, dtype=torch.float64, generator=random)

    leaf = z.clone().requires_grad_()
    value = energy.basis_energy(energy.prepare(A), leaf, k)
    score = torch.autograd.grad(value.sum(), leaf, create_graph=True)[0]
    loss = (weight * value).sum() + (direction * score).pow(3).sum()
    names = [name for name, _ in energy.named_parameters()]
    expected = torch.autograd.grad(loss, list(energy.parameters()))

    for parameter in energy.parameters():
        parameter.grad = torch.zeros_like(parameter)
    tables = energy.film()
    into, passes = Gradients(energy), Passes(energy)
    with torch.no_grad():
        into.start(k)
        passes.film(tuple(table.detach() for table in tables), k)
        a = energy.inputs(A)
        half = passes.half(a)
        f = passes.forward(half, z, DERIVATIVE)
        assert torch.allclose(f.pow(2).sum(-1), value, rtol=1e-12)
        q = passes.gradient()
        assert torch.allclose(2 * q, score, rtol=1e-10, atol=1e-12)
        q_bar = 2 * 3 * direction * (direction * 2 * q).pow(2)
        f_bar, u_bar = passes.reverse_gradient(into, q_bar)
        f_bar = f_bar + 2 * weight[:, None] * f
        half_bar = passes.reverse_forward(into, f_bar, u_bar)
        into.add("a", half_bar, a, bias=True)
    torch.autograd.backward(tables, into.film)
    for name, parameter, theirs in zip(names, energy.parameters(), expected, strict=True):
        scale = theirs.abs().max()
        assert (parameter.grad - theirs).abs().max() < 1e-10 * scale, name


def test_each_order_of_a_forward_pass_gives_the_same_f(setting):
    energy, A, z, k, _ = setting
    passes = Passes(energy)
    with torch.no_grad():
        passes.film(energy.film(), k)
        half = passes.half(energy.inputs(A)).clone()
        found = [passes.forward(half, z, order).clone() for order in (ENERGY, GRADIENT, DERIVATIVE)]
    assert torch.allclose(found[0], found[1], rtol=1e-12)
    assert torch.equal(found[1], found[2])


def test_one_landscape_folded_is_the_same_energy(setting, monkeypatch):
    energy, A, z, _, _ = setting
    monkeypatch.setattr("ired.model.energies.passes.ROWS_IN_CACHE", 3)  # B is no multiple of it
    prepared = energy.prepare(A)
    for k in (0, 4, 9):
        value, gradient = energy.basis_energy_and_gradient(prepared, z, k)
        with torch.no_grad():
            again, slope = energy.basis_energy_and_gradient(prepared, z, k)
            assert isinstance(prepared.landscape, Landscape) and prepared.landscape.k == k
            alone = energy.basis_energy(prepared, z, k)
        assert torch.allclose(again, value, rtol=1e-10) and torch.allclose(alone, value, rtol=1e-12)
        assert torch.allclose(slope, gradient, rtol=1e-10, atol=1e-12)
        assert slope.data_ptr() != energy.basis_energy_and_gradient(prepared, z, k)[1].data_ptr()


def test_bfloat16_rounds_products_and_nothing_else(setting):
    energy, A, z, k, _ = setting
    results = {}
    for precision in ("float32", "bfloat16"):
        passes = Passes(energy.float(), precision)
        with torch.no_grad():
            passes.film(energy.film(), k)
            f = passes.forward(passes.half(energy.inputs(A.float())), z.float(), GRADIENT)
            results[precision] = f.clone(), passes.gradient().clone()
    for exact, rounded in zip(*results.values(), strict=True):
        error = (exact - rounded).norm() / exact.norm()
        assert 1e-4 < error < 3e-2 and rounded.dtype == torch.float32
    with pytest.raises(ValueError, match="precision is one of float32, bfloat16, not 'fp8'"):
        Passes(energy, "fp8")
