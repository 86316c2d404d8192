"""The closed-form gradient and Hessian of every energy agree with autograd in float64."""

from dataclasses import asdict

import pytest
import torch

from ired.model import problems
from ired.model.coordinates import Coordinates
from ired.model.energies.equilibrium import EquilibriumConfig, EquilibriumEnergy
from ired.model.energies.mlp import EnergyConfig, MLPEnergy
from ired.model.reference import AlgebraicEnergy, DoubleWell, IdealEnergy, Quadratic, reference_panel
from ired.model.schedule import Schedule

N, B = 4, 6


def energies():
    made = []
    for symmetric in (False, True):
        coordinates, schedule = Coordinates(N, 0.3, 0.7, symmetric), Schedule()
        config = EnergyConfig(N, 24, 10, 0.3, 0.7, symmetric, 0.5 if symmetric else None)
        planted = torch.randn(N * N, N * N, dtype=torch.float64, generator=stream())
        made += [
            MLPEnergy(config, stream()).double(),
            IdealEnergy(coordinates, schedule),
            AlgebraicEnergy(coordinates, schedule),
            DoubleWell(coordinates, schedule),
            Quadratic(coordinates, schedule, planted + planted.mT, planted[0]),
        ]
    networks = [energy for energy in made if isinstance(energy, MLPEnergy)]
    return made + [
        EquilibriumEnergy(EquilibriumConfig(**asdict(network.config)), stream()).double() for network in networks
    ]


def stream():
    return problems.generator(0, "tests")


def points(energy):
    A = problems.draw(B, N, 0.5, stream(), torch.float64)
    y = energy.coordinates.noise(B, generator=stream(), dtype=torch.float64)
    return A, y, torch.tensor([0, 1, 4, 7, 8, 9])


def label(energy):
    return f"{type(energy).__name__}-{'symmetric' if energy.coordinates.symmetric else 'full'}"


@pytest.mark.parametrize("energy", energies(), ids=label)
def test_gradient_is_autograds(energy):
    A, y, k = points(energy)
    y.requires_grad_()
    value, gradient = energy.energy_and_gradient(A, y, k)
    (expected,) = torch.autograd.grad(energy.energy(A, y, k).sum(), y)
    assert torch.allclose(value, energy.energy(A, y, k), rtol=1e-12, atol=0)
    assert torch.allclose(gradient, expected, rtol=1e-10, atol=1e-10)
    assert gradient.abs().max() > 1e-3


@pytest.mark.parametrize("energy", energies(), ids=label)
def test_hessian_is_autograds(energy):
    A, y, k = points(energy)
    expected = torch.stack(
        [
            torch.autograd.functional.hessian(
                lambda v, i=i: energy.energy(A[i : i + 1], v[None], k[i : i + 1]).sum(), y[i]
            )
            for i in range(B)
        ]
    )
    hessian = energy.hessian(A, y, k)
    assert torch.allclose(hessian, expected, rtol=1e-10, atol=1e-10)
    gauss_newton, residual = energy.hessian_parts(A, y, k)
    assert torch.allclose(gauss_newton + residual, hessian, rtol=1e-12, atol=1e-12)
    assert torch.linalg.eigvalsh(gauss_newton).min() > -1e-10 * hessian.abs().max()


def test_gauss_newton_part_is_twice_the_squared_jacobian():
    energy = energies()[0]
    A, y, k = points(energy)
    J = torch.autograd.functional.jacobian(lambda v: energy.activations(A[:1], v[None], k[:1])["fc4"][0], y[0])
    gauss_newton, _ = energy.hessian_parts(A, y, k)
    assert torch.allclose(gauss_newton[0], 2 * J.mT @ J, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("energy", energies(), ids=label)
def test_many_states_of_a_problem_equal_one_at_a_time(energy):
    A, y, k = points(energy)
    many = torch.stack((y, -y, 2 * y), dim=1)
    prepared = energy.prepare(A)
    for landscape in (3, k):
        value, gradient = energy.energy_and_gradient(prepared, many, landscape)
        for j, factor in enumerate((1, -1, 2)):
            one, slope = energy.energy_and_gradient(A, factor * y, landscape)
            assert torch.allclose(value[:, j], one) and torch.allclose(gradient[:, j], slope)


@pytest.mark.parametrize("energy", energies()[5:9], ids=label)
def test_symmetric_energies_ignore_the_antisymmetric_part(energy):
    A, y, k = points(energy)
    skew = torch.randn(B, N, N, dtype=torch.float64, generator=stream())
    skew = (skew - skew.mT).flatten(-2)
    assert torch.allclose(energy.energy(A, y + skew, k), energy.energy(A, y, k))
    gradient = energy.gradient(A, y + skew, k)
    assert torch.allclose(energy.coordinates.project(gradient), gradient)


def test_activations_are_the_published_forward_pass():
    """Written out once more as the release writes it: concatenated input, FiLM per sample."""
    energy = MLPEnergy(EnergyConfig(N, 24), stream()).double()
    A, y, k = points(energy)
    code = energy.time_mlp(energy.time_code[k])
    gain2, bias2 = energy.t_map_fc2(code).chunk(2, -1)
    gain3, bias3 = energy.t_map_fc3(code).chunk(2, -1)
    h1 = torch.nn.functional.silu(energy.fc1(torch.cat((A.flatten(1), y), dim=1)))
    h2 = torch.nn.functional.silu(energy.fc2(h1) * (gain2 + 1) + bias2)
    h3 = torch.nn.functional.silu(energy.fc3(h2) * (gain3 + 1) + bias3)
    f = energy.fc4(h3)
    seen = energy.activations(A, y, k)
    for name, expected in zip(("fc1", "fc2", "fc3", "fc4"), (h1, h2, h3, f), strict=True):
        assert torch.allclose(seen[name], expected, rtol=1e-10, atol=1e-12)
    assert torch.allclose(energy.energy(A, y, k), f.pow(2).sum(-1))


def test_the_published_model_has_the_published_size():
    parameters = sum(p.numel() for p in MLPEnergy(EnergyConfig(20)).parameters())
    assert 1.43e6 < parameters < 1.45e6  # METHODS: 1.44 M


def test_ideal_energy_gradient_is_the_noise():
    energy = energies()[6]
    A, _, k = points(energy)
    y0 = energy.coordinates.encode(torch.linalg.inv(A))
    noise = energy.coordinates.noise(B, generator=stream(), dtype=torch.float64)
    y = energy.schedule.at("sqrt_alpha_bar", k, y0) * y0 + energy.schedule.at("sigma", k, y0) * noise
    assert torch.allclose(energy.gradient(A, y, k), noise, atol=1e-12)


def test_algebraic_energy_is_zero_and_flat_at_the_answer():
    for energy in (energies()[2], energies()[7]):
        A, _, k = points(energy)
        y = energy.coordinates.encode(torch.linalg.inv(A))
        y = y * energy.schedule.at("sqrt_alpha_bar", k, y)
        value, gradient = energy.energy_and_gradient(A, y, k)
        assert value.abs().max() < 1e-20 and gradient.abs().max() < 1e-10


def test_initial_weights_come_from_the_seed_alone():
    def weights(seed):
        return MLPEnergy(EnergyConfig(N, 24), problems.generator(seed, "weights")).fc2.weight

    assert torch.equal(weights(1), weights(1)) and not torch.equal(weights(1), weights(2))


def test_controls_share_the_setting_and_no_weights():
    energy = energies()[5]
    found = reference_panel(energy, 0)
    assert list(found) == ["untrained", "ideal", "algebraic"]
    A, y, k = points(energy)
    for control in found.values():
        assert control.coordinates == energy.coordinates
        assert control.gradient(A, y, k).dtype == torch.float64
    start = MLPEnergy(energy.config, problems.generator(0, "weights"))
    assert not torch.equal(found["untrained"].fc2.weight, start.fc2.weight.double())
