"""One landscape, seen through ten lenses: its gradient vanishes at one clean state, and its loss is equilibrium
matching's."""

import pytest
import torch

from ired.model import problems
from ired.model.energies.equilibrium import NARROWEST, EquilibriumConfig, EquilibriumEnergy
from ired.model.energies.mlp import LAYERS
from ired.model.training.graph_trainer import trainer
from ired.model.training.trainer import TrainingConfig

N, B = 3, 5


def stream(purpose="tests"):
    return problems.generator(0, purpose)


@pytest.fixture(params=[False, True], ids=["all", "symmetric"])
def energy(request):
    config = EquilibriumConfig(N, 24, shift=0.3, scale=0.7, symmetric=request.param)
    return EquilibriumEnergy(config, stream()).double()


def drawn(energy):
    A = problems.draw(B, N, 0.5, stream(), torch.float64)
    return A, energy.coordinates.encode(torch.linalg.inv(A))


def lens(energy, k):
    return energy.schedule.sqrt_alpha_bar[k].clamp_min(NARROWEST), energy.schedule.sigma[k]


def test_all_landscapes_are_one(energy):
    """No noise level is told: at r_k·x every landscape has the same gradient, curvature and layers, up to scale."""
    A, x = drawn(energy)
    views = []
    for k in range(energy.schedule.K):
        r, sigma = lens(energy, k)
        value, gradient = energy.energy_and_gradient(A, r * x, k)
        H = energy.hessian(A, r * x, k)
        layers = energy.activations(A, r * x, k)
        assert torch.allclose(energy.resume("fc2", layers["fc2"], A, k), value)
        views.append((value * sigma / r**2, gradient * sigma / r, H * sigma, *(layers[name] for name in LAYERS)))
    for view in views[1:]:
        for mine, first in zip(view, views[0], strict=True):
            assert torch.allclose(mine, first)


def test_its_denoising_loss_is_that_of_equilibrium_matching(energy):
    """∇E_k − ε is (∇F − (x − y₀))/s: the target is 0 at the answer."""
    A, y0 = drawn(energy)
    noise = energy.coordinates.noise(B, generator=stream("noise"), dtype=torch.float64)
    for k in range(energy.schedule.K - 1):
        r, sigma = lens(energy, k)
        assert r == energy.schedule.sqrt_alpha_bar[k], "only the noisiest landscape is seen through another lens"
        s = sigma / r
        x = y0 + s * noise
        r0, sigma0 = lens(energy, 0)
        plain = energy.gradient(A, r0 * x, 0) * sigma0 / r0  # ∇F(x), whatever the landscape
        missed = energy.gradient(A, r * y0 + sigma * noise, k) - noise
        assert torch.allclose(missed, (plain - (x - y0)) / s)


def test_states_of_several_points_and_of_one_agree(energy):
    A, x = drawn(energy)
    k = torch.tensor([0, 2, 4, 8, 9])
    several = x[:, None] + torch.randn(B, 3, x.shape[-1], generator=stream(), dtype=x.dtype)
    value, gradient = energy.energy_and_gradient(A, several, k)
    for m in range(3):
        one, slope = energy.energy_and_gradient(A, several[:, m], k)
        assert torch.allclose(value[:, m], one) and torch.allclose(gradient[:, m], slope)


def test_it_learns_where_the_answer_is():
    """After a short training the landscape's gradient is smaller at the answer than at another problem's."""
    config = EquilibriumConfig.for_problems(N, 0.5, True, hidden=32, symmetric=True)
    training = trainer(config, TrainingConfig(steps=150, batch=256, learning_rate=5e-3), 0)
    losses = training.advance(150)[:, 0]
    assert losses[-20:].mean() < 0.5 * losses[:5].mean()
    A = problems.draw(200, N, 0.5, stream(), torch.float32)
    y0 = training.model.coordinates.encode(torch.linalg.inv(A))
    at_the_answer, elsewhere = (training.model.gradient(A, y, 0).norm(dim=-1).mean() for y in (y0, y0.roll(1, 0)))
    assert at_the_answer < 0.5 * elsewhere
