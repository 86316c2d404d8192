"""What every energy of matrix products owes to the instruments and to the trainer."""

import json
from dataclasses import replace

import pytest
import torch

from ired.model import problems
from ired.model.energies.equivariant import Invariants, scaled
from ired.model.energies.polynomial import PolynomialConfig, PolynomialEnergy
from ired.model.energies.product import ProductConfig, ProductEnergy
from ired.model.sampling import SamplingConfig, sample, solve

N, B = 4, 6
KINDS = {PolynomialConfig: PolynomialEnergy, ProductConfig: ProductEnergy}
K = torch.tensor([0, 1, 4, 7, 8, 9])


def stream(purpose="tests"):
    return problems.generator(0, purpose)


def made(kind, symmetric, dtype=torch.float64):
    """An energy whose every weight plays a part."""
    config = kind(N, 10, 0.3, 0.7, symmetric)
    energy = KINDS[kind](config, stream()).to(dtype)
    noise = stream("weights")
    with torch.no_grad():
        for weight in energy.parameters():
            weight += 0.1 * torch.randn(weight.shape, generator=noise, dtype=dtype)
    return energy


@pytest.fixture(
    params=[(kind, symmetric) for kind in KINDS for symmetric in (False, True)],
    ids=lambda p: f"{KINDS[p[0]].__name__}-{'symmetric' if p[1] else 'full'}",
)
def energy(request):
    return made(*request.param)


def points(energy):
    A = problems.draw(B, N, 0.5, stream(), torch.float64)
    return A, energy.coordinates.noise(B, generator=stream(), dtype=torch.float64)


def rotated(Q, y):
    return (Q @ y.unflatten(-1, (N, N)) @ Q.mT).flatten(-2)


def test_gradient_is_autograds(energy):
    A, y = points(energy)
    y.requires_grad_()
    value, gradient = energy.energy_and_gradient(A, y, K)
    (expected,) = torch.autograd.grad(energy.energy(A, y, K).sum(), y)
    assert torch.allclose(value, energy.energy(A, y, K), rtol=1e-12, atol=0)
    assert torch.allclose(gradient, expected, rtol=1e-10, atol=1e-10)
    assert torch.allclose(energy.gradient(A, y, K), gradient, rtol=1e-12, atol=1e-12)
    assert gradient.abs().max() > 1e-3


def test_antisymmetric_directions_count_only_where_states_have_them(energy):
    A, y = points(energy)
    skew = torch.randn(B, N, N, dtype=torch.float64, generator=stream("skew"))
    skew = (skew - skew.mT).flatten(-2)
    gradient = energy.gradient(A, y + skew, K)
    if energy.coordinates.symmetric:
        assert torch.allclose(gradient, energy.gradient(A, y, K))
        assert torch.allclose(energy.energy(A, y + skew, K), energy.energy(A, y, K))
        assert torch.allclose(energy.coordinates.project(gradient), gradient)
    else:
        moved = (energy.gradient(A, y + 1e-4 * skew, K) * skew).sum(-1)
        slope = (energy.energy(A, y + 1e-4 * skew, K) - energy.energy(A, y, K)) / 1e-4
        assert torch.allclose(slope, moved, rtol=1e-2, atol=1e-2)
        assert not torch.allclose(gradient, energy.gradient(A, y, K))


def test_hessian_is_autograds(energy):
    A, y = points(energy)
    hessian = energy.hessian(A, y, K)
    for i in (0, 3, 5):
        expected = torch.autograd.functional.hessian(
            lambda v, i=i: energy.energy(A[i : i + 1], v[None], K[i : i + 1]).sum(), y[i]
        )
        assert torch.allclose(hessian[i], expected, rtol=1e-9, atol=1e-9)
    gauss_newton, residual = energy.hessian_parts(A, y, K)
    assert torch.allclose(gauss_newton + residual, hessian, rtol=1e-10, atol=1e-10)
    assert torch.linalg.eigvalsh(gauss_newton).min() > -1e-9 * hessian.abs().max()


def test_turning_problem_and_state_turns_the_gradient_and_nothing_else(energy):
    A, y = points(energy)
    Q = torch.linalg.qr(torch.randn(B, N, N, generator=stream("Q"), dtype=torch.float64)).Q
    value, gradient = energy.energy_and_gradient(A, y, K)
    turned, slope = energy.energy_and_gradient(Q @ A @ Q.mT, rotated(Q, y), K)
    assert torch.allclose(turned, value, rtol=1e-10, atol=1e-10)
    assert torch.allclose(slope, rotated(Q, gradient), rtol=1e-10, atol=1e-10)


def test_many_states_and_one_landscape_for_all_equal_one_at_a_time(energy):
    A, y = points(energy)
    many = torch.stack((y, -y, 2 * y), dim=1)
    prepared = energy.prepare(A)
    assert energy.prepare(prepared) is prepared
    for k in (3, K):
        value, gradient = energy.energy_and_gradient(prepared, many, k)
        for j, factor in enumerate((1, -1, 2)):
            one, slope = energy.energy_and_gradient(A, factor * y, k)
            assert torch.allclose(value[:, j], one) and torch.allclose(gradient[:, j], slope)
    full = torch.full((B,), 3)
    with torch.no_grad():
        # Landscape by landscape, the last one remembered or not.
        for k in (3, 3, 5, 3):
            got = energy.energy(prepared, y, k)
            assert torch.allclose(got, energy.energy(prepared, y, torch.full((B,), k)))
            assert torch.allclose(got, energy.energy(A, y, torch.full((B,), k)))
    assert torch.allclose(energy.gradient(A, y, 3), energy.gradient(A, y, full))


def test_basis_coordinates_are_the_same_landscape(energy):
    A, y = points(energy)
    z, prepared = energy.coordinates.to_basis(y), energy.prepare(A)
    value, gradient = energy.energy_and_gradient(A, y, K)
    in_basis, slope = energy.basis_energy_and_gradient(prepared, z, K)
    assert torch.allclose(in_basis, value) and torch.allclose(energy.coordinates.from_basis(slope), gradient)
    assert torch.allclose(energy.basis_energy(prepared, z, K), value)


def test_losses_of_the_gradient_reach_every_weight_and_the_problem(energy):
    A, y = points(energy)
    A.requires_grad_()
    energy.gradient(energy.prepare(A), y, K).square().sum().backward()
    for name, weight in energy.named_parameters():
        assert weight.grad is not None and weight.grad.abs().max() > 0, name
    # ∂/∂A of one entry of the score against a difference.
    way = torch.randn(N, N, generator=stream("way"), dtype=torch.float64)
    with torch.no_grad():
        scores = [energy.gradient(A + t * way, y, K).square().sum().item() for t in (1e-6, -1e-6)]
    assert (A.grad * way).sum().item() == pytest.approx((scores[0] - scores[1]) / 2e-6, rel=1e-4)


def test_single_precision_follows_double(energy):
    A, y = points(energy)
    expected = energy.gradient(A, y, K)
    got = energy.float().gradient(A.float(), y.float(), K)
    assert got.dtype == torch.float32
    assert (got.double() - expected).abs().max() < 1e-3 * expected.abs().max()


def test_without_layers_resuming_says_so(energy):
    with pytest.raises(KeyError, match="no layer 'fc2'"):
        energy.resume("fc2", torch.zeros(B, 5), problems.draw(B, N, 0.5, stream()), 0)


@pytest.mark.parametrize("kind", KINDS)
def test_one_seed_gives_one_model_and_a_checkpoint_gives_it_back(kind):
    config = kind.for_problems(3, 0.5, True, hidden=64, landscapes=10, symmetric=True)
    assert (config.shift, config.scale) == problems.standardisation(3, 0.5)
    first, second = (KINDS[kind](config, stream()) for _ in range(2))
    other = KINDS[kind](kind(**json.loads(json.dumps(first.describe()))))
    assert other.config == config
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name])
    assert not all(map(torch.equal, first.parameters(), other.parameters()))
    other.load_state_dict(first.state_dict())
    A = problems.draw(5, 3, 0.5, stream())
    start = first.coordinates.noise(5, generator=stream())
    config = SamplingConfig(inner_steps=2, clip=6.0)
    assert torch.equal(sample(first, A, config, start=start), sample(other, A, config, start=start))
    assert solve(first, A.double(), config, stream()).dtype == torch.float64


@pytest.mark.parametrize("kind", KINDS)
def test_raw_states_need_no_standardisation(kind):
    config = kind.for_problems(N, 0.5, False, hidden=64, landscapes=4, symmetric=False)
    assert config == replace(config, shift=0.0, scale=1.0, landscapes=4, symmetric=False)


@pytest.mark.parametrize("kind", KINDS)
def test_an_untrained_energy_does_not_look_at_the_problem(kind):
    """Its score is about y/σ, that of somebody who knows only the mean answer."""
    config = kind.for_problems(N, 0.5, True, symmetric=True)
    energy = KINDS[kind](config, stream())
    A, y = (value.float() for value in points(energy))
    score = energy.gradient(A, y, K) * energy.schedule.at("sigma", K, y)
    assert (score - y).norm() < 0.25 * y.norm()


def test_scaling_bounds_the_spectrum_without_looking_at_it():
    for family in problems.FAMILIES.values():
        A = family(20, 8, 0.5, stream())
        X, size = scaled(A)
        assert torch.allclose(X * size, A)
        spectrum = torch.linalg.eigvalsh(X)
        assert spectrum.max() <= 1 + 1e-12 and spectrum[:, -1].min() > 8**-0.125 - 1e-12


def test_invariants_are_white_over_their_sample_and_bounded_away_from_it():
    mixing = torch.tensor([[2.0, 0, 0], [1, 1, 0], [-1, 3, 0.5]], dtype=torch.float64)
    sample = torch.randn(4000, 3, generator=stream(), dtype=torch.float64) @ mixing
    invariants = Invariants(7 + sample).double()
    z = invariants(7 + sample)
    assert z.mean(0).abs().max() < 0.05
    assert torch.allclose(torch.cov(z.T), torch.eye(3).double(), atol=0.2)
    assert invariants(7 + 1e6 * sample).abs().max() <= Invariants.BOUND
