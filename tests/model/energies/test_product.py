"""Weights planted by hand make the product network iterate Newton and Schulz's inverse."""

import pytest
import torch

from ired.model import problems
from ired.model.energies.equivariant import scaled
from ired.model.energies.product import _TINY, ProductConfig, ProductEnergy
from ired.model.reference import IdealEnergy

N, B = 5, 7


def stream(purpose="tests"):
    return problems.generator(0, purpose)


def newton_schulz(symmetric, stages):
    """Channels G = (I − X)^(2^s) and P = X⁻¹(I − G): G ← G·G, P ← P(I + G). W is P/s in states.

    A channel is its matrix with mean and deviation of the eigenvalues taken off: these are planted in
    the next mixture, which is possible because all the problems have one spectrum.
    """
    config = ProductConfig(N, 10, 0.3, 0.7, symmetric, stages=stages, channels=2, passes=1, terms=1)
    energy = ProductEnergy(config, stream()).double()
    spectrum = torch.tensor([1.0, 1.2, 1.5, 2, 3], dtype=torch.float64)
    Q = torch.linalg.qr(torch.randn(B, N, N, generator=stream(), dtype=torch.float64)).Q
    A = (Q * spectrum) @ Q.mT
    size = scaled(A)[1][0].item()

    def mixture(values, channel):
        """What makes a matrix with these eigenvalues of I and of the channel that it became."""
        weights = torch.zeros(config.grown, dtype=torch.float64)
        weights[0], weights[channel] = values.mean(), (values.var(correction=0) + _TINY).sqrt()
        return weights

    eye = torch.eye(config.grown, dtype=torch.float64)[0]
    x = spectrum / size
    g, p = 1 - x, torch.ones_like(x)
    G, P = eye - mixture(x, 1), eye
    with torch.no_grad():
        energy.both[-1].weight.zero_(), energy.both[-1].bias.zero_(), energy.start.zero_()
        for stage, mix in enumerate(energy.mix):
            pairs = torch.stack((torch.stack((G, P)), torch.stack((G, eye + G))))
            mix.copy_(pairs[..., : mix.shape[-1]])
            g, p = g * g, p * (1 + g)
            G, P = mixture(g, 2 + 2 * stage), mixture(p, 3 + 2 * stage)
        energy.start[0, -1] = (P / size - config.shift * eye) / config.scale
    return energy, A, size


@pytest.mark.parametrize("symmetric", [False, True])
def test_seven_stages_are_the_ideal_landscape(symmetric):
    energy, A, _ = newton_schulz(symmetric, 7)
    ideal = IdealEnergy(energy.coordinates, energy.schedule)
    y = energy.coordinates.noise(B, generator=stream(), dtype=torch.float64)
    for k in (0, 4, 9):
        for method in ("energy", "gradient", "hessian"):
            assert torch.allclose(getattr(energy, method)(A, y, k), getattr(ideal, method)(A, y, k), atol=1e-6)
        gauss_newton, residual = energy.hessian_parts(A, y, k)
        assert torch.equal(residual, torch.zeros_like(residual))
        assert torch.allclose(gauss_newton, energy.hessian(A, y, k))


def test_one_stage_is_one_step():
    energy, A, size = newton_schulz(True, 1)
    X = A / size
    eye = torch.eye(N, dtype=torch.float64)
    step = (eye @ (2 * eye - X @ eye) / size - 0.3 * eye) / 0.7
    lowest = energy.gradient(A, energy.schedule.sqrt_alpha_bar[0] * step.flatten(-2), 0)
    assert lowest.abs().max() < 1e-9


def test_passes_go_on_from_activations():
    config = ProductConfig(N, 10, 0.3, 0.7, False, passes=3)
    energy = ProductEnergy(config, stream()).double()
    A = problems.draw(B, N, 0.5, stream(), torch.float64)
    many = energy.coordinates.noise(B, 2, generator=stream(), dtype=torch.float64)
    for y in (many[:, 0], many):
        for k in (2, torch.arange(B)):
            seen = energy.activations(A, y, k)
            assert list(seen) == ["pass1", "pass2", "pass3"]
            for name, h in seen.items():
                assert h.shape == y.shape
                assert torch.allclose(energy.resume(name, h, A, k), energy.energy(A, y, k))


def test_the_energy_is_a_sum_of_squares():
    energy = ProductEnergy(ProductConfig(N, symmetric=True), stream()).double()
    A = problems.draw(B, N, 0.5, stream(), torch.float64)
    y = energy.coordinates.noise(B, generator=stream(), dtype=torch.float64)
    last = energy.activations(A, y, 3)["pass3"]
    expected = last.square().sum(-1) / (2 * energy.schedule.sigma[3])
    assert torch.allclose(energy.energy(A, y, 3), expected)
    assert torch.linalg.eigvalsh(energy.hessian(A, y, 3)).min() > -1e-9
