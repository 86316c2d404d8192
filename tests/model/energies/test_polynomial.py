"""Coefficients planted by hand make the polynomial energy one that is known in closed form."""

import pytest
import torch

from ired.model import problems
from ired.model.energies.equivariant import scaled
from ired.model.energies.polynomial import PolynomialConfig, PolynomialEnergy
from ired.model.reference import IdealEnergy
from ired.model.sampling import SamplingConfig, solve

N, B = 5, 7


def stream(purpose="tests"):
    return problems.generator(0, purpose)


def planted(symmetric, shift=0.3, scale=0.7):
    """An energy that sees nothing: its networks give their last layer's bias, zero for now."""
    config = PolynomialConfig(N, 10, shift, scale, symmetric, degree=4, bend=2)
    energy = PolynomialEnergy(config, stream()).double()
    with torch.no_grad():
        for network in (energy.problem, energy.both):
            network[-1].weight.zero_(), network[-1].bias.zero_()
        # Polynomials orthonormalised in single precision would be planted no better than that.
        energy.blind.zero_()
    return energy


def in_basis(energy, *powers):
    """Coefficients over the K_m of Σ powers_p X^p, p ≤ 1."""
    constant, slope = powers
    T = torch.zeros(energy.config.degree + 1, dtype=torch.float64)
    T[0], T[1] = constant + slope / 2, slope / 2
    return torch.linalg.solve(energy.orthonormal.mT, T)


def two_valued():
    """Problems with eigenvalues 1, 1, 1, 4, 4: A⁻¹ = (5I − A)/4 and one s for all of them."""
    Q = torch.linalg.qr(torch.randn(B, N, N, generator=stream(), dtype=torch.float64)).Q
    return (Q * torch.tensor([1.0, 1, 1, 4, 4], dtype=torch.float64)) @ Q.mT


@pytest.mark.parametrize("symmetric", [False, True])
def test_where_a_polynomial_is_the_inverse_it_is_the_ideal_landscape(symmetric):
    energy, A = planted(symmetric), two_valued()
    size, scale, shift = scaled(A)[1][0].item(), energy.config.scale, energy.config.shift
    with torch.no_grad():
        energy.blind.copy_(in_basis(energy, (5 / 4 - shift) / scale, -size / 4 / scale))
    ideal = IdealEnergy(energy.coordinates, energy.schedule)
    y = energy.coordinates.noise(B, generator=stream(), dtype=torch.float64)
    for k in (0, 4, 9):
        assert torch.allclose(energy.gradient(A, y, k), ideal.gradient(A, y, k), rtol=1e-9, atol=1e-9)
        assert torch.allclose(energy.hessian(A, y, k), ideal.hessian(A, y, k))
        gap = energy.energy(A, y, k) - energy.energy(A, 0 * y, k)
        assert torch.allclose(gap, ideal.energy(A, y, k) - ideal.energy(A, 0 * y, k))
        positive, negative = energy.hessian_parts(A, y, k)
        assert negative.abs().max() < 1e-9 and torch.allclose(positive, ideal.hessian(A, y, k))
    config = SamplingConfig(inner_steps=1, clip=20.0)
    found = solve(energy.float(), A, config, stream())
    assert torch.allclose(found, torch.linalg.inv(A), atol=1e-4)


def test_quadratic_terms_can_make_it_half_Y_AY_minus_trace():
    """σE = ½⟨Y, XY⟩ − tr Y in one landscape: zero slope at X⁻¹, Hessian (X ⊗ I + I ⊗ X)/2σ."""
    energy, k = planted(True, shift=0.0, scale=1.0), 2
    root, sigma = energy.schedule.sqrt_alpha_bar[k], energy.schedule.sigma[k]
    X_in_basis = in_basis(energy, 0.0, 1.0)  # over K_0 = I and K_1 alone
    assert X_in_basis[2:].abs().max() < 1e-12
    c = torch.zeros(3, 3, dtype=torch.float64)
    c[0, 0] = (X_in_basis[0] - 1) / root
    c[0, 1] = X_in_basis[1] / root  # and, by symmetry, half of it in c[1, 0]
    d = in_basis(energy, 1 / root.item(), 0.0)
    with torch.no_grad():
        energy.both[-1].bias.copy_(torch.cat((d, c.flatten())))
    A = problems.draw(B, N, 0.5, stream(), torch.float64)
    X = scaled(A)[0]
    y = energy.coordinates.noise(B, generator=stream(), dtype=torch.float64)
    Y = y.unflatten(-1, (N, N))
    expected = ((Y * (X @ Y)).sum((-2, -1)) / 2 - Y.diagonal(dim1=-2, dim2=-1).sum(-1)) / sigma
    assert torch.allclose(energy.energy(A, y, k), expected, rtol=1e-9, atol=1e-9)
    there = torch.linalg.inv(X).flatten(-2)
    assert energy.gradient(A, there, k).abs().max() < 1e-9 * there.abs().max()
    spectrum = torch.linalg.eigvalsh(X)
    sums = (spectrum[:, :, None] + spectrum[:, None]) / (2 * sigma)
    rows, columns = torch.triu_indices(N, N)
    H = energy.basis_hessian(energy.prepare(A), k, B)
    assert torch.allclose(torch.linalg.eigvalsh(H), sums[:, rows, columns].sort(-1).values)


def test_an_indefinite_energy_splits_into_its_positive_and_negative_part():
    energy = planted(False)
    with torch.no_grad():
        energy.both[-1].bias.normal_(generator=stream()).mul_(2)
    A = problems.draw(B, N, 0.5, stream(), torch.float64)
    y = energy.coordinates.noise(B, generator=stream(), dtype=torch.float64)
    positive, negative = energy.hessian_parts(A, y, 1)
    assert torch.linalg.eigvalsh(positive).min() > -1e-9
    assert torch.linalg.eigvalsh(negative).max() < 1e-9 and negative.abs().max() > 0.1
    assert (positive @ negative).abs().max() < 1e-8
    assert torch.allclose(positive + negative, energy.hessian(A, y, 1))
    assert energy.activations(A, y, 1) == {}
