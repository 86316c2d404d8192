"""A prediction seen as an energy has the score that linear estimation theory says."""

import math

import pytest
import torch

from ired.model import problems
from ired.model.coordinates import Coordinates
from ired.model.reference import IdealEnergy, PredictorEnergy
from ired.model.schedule import Schedule

SCHEDULE = Schedule(10)


@pytest.fixture(params=[False, True], ids=["all", "symmetric"])
def coordinates(request):
    return Coordinates(3, shift=0.7, scale=0.5, symmetric=request.param)


@pytest.fixture
def stream():
    return torch.Generator().manual_seed(3)


def planted(coordinates, stream, count):
    """A prediction whose errors are Gaussian with variances that fall like r⁻² along random axes, of these problems,
    and the covariance (size, size)."""
    size = coordinates.size
    axes = torch.linalg.qr(torch.randn(size, size, generator=stream, dtype=torch.float64)).Q
    variances = torch.arange(1, size + 1, dtype=torch.float64) ** -2
    A = problems.draw(count, 3, 0.5, stream, torch.float64)
    error = (torch.randn(count, size, generator=stream, dtype=torch.float64) * variances.sqrt()) @ axes.mT
    guess = coordinates.decode(coordinates.encode(torch.linalg.inv(A)) - coordinates.from_basis(error))
    return A, lambda asked: guess[: len(asked)], (axes * variances) @ axes.mT


def test_a_perfect_prediction_is_the_ideal_energy(coordinates, stream):
    A = problems.draw(40, 3, 0.5, stream, torch.float64)
    ideal, energy = (
        IdealEnergy(coordinates, SCHEDULE),
        PredictorEnergy.of(coordinates, SCHEDULE, torch.linalg.inv, A),
    )
    y = coordinates.noise(4, 2, generator=stream, dtype=torch.float64)
    for k in (0, 5, 9):
        for mine, known in zip(
            energy.energy_and_gradient(A[:4], y, k), ideal.energy_and_gradient(A[:4], y, k), strict=True
        ):
            assert torch.allclose(mine, known)
        assert torch.allclose(energy.hessian(A[:4], y[:, 0], k), ideal.hessian(A[:4], y[:, 0], k))


def test_its_derivatives_are_those_of_its_energy(coordinates, stream):
    A, predict, _ = planted(coordinates, stream, 200)
    energy = PredictorEnergy.of(coordinates, SCHEDULE, predict, A)
    y, k = coordinates.noise(4, generator=stream, dtype=torch.float64), torch.tensor([0, 3, 9, 0])
    plain = torch.func.grad(lambda v: energy.energy(A[:4], v, k).sum())
    assert torch.allclose(plain(y), energy.gradient(A[:4], y, k))
    hessian = torch.stack([torch.func.jacrev(plain)(y)[i, :, i] for i in range(4)])
    assert torch.allclose(hessian, energy.hessian(A[:4], y, k))
    assert torch.allclose(sum(energy.hessian_parts(A[:4], y, k)), hessian)
    many = energy.gradient(A[:4], torch.stack([y, -y], 1), k)
    assert torch.allclose(many[:, 0], energy.gradient(A[:4], y, k))


@pytest.mark.parametrize("k", [0, 4, 8])
def test_its_score_is_the_best_guess_of_the_noise(coordinates, stream, k):
    """On planted Gaussian errors it leaves as much of the noise as theory says, and nothing that follows the state."""
    count = 20_000
    A, predict, C = planted(coordinates, stream, count)
    energy = PredictorEnergy.of(coordinates, SCHEDULE, predict, A)
    bar, sigma = SCHEDULE.alpha_bar[k], SCHEDULE.sigma[k]
    noise = coordinates.noise(count, generator=stream, dtype=torch.float64)
    y = bar.sqrt() * coordinates.encode(torch.linalg.inv(A)) + sigma * noise
    left = coordinates.to_basis(noise - energy.gradient(A, y, k))
    variances = torch.linalg.eigvalsh(C)
    known = (bar * variances / (bar * variances + sigma**2)).sum()
    assert left.pow(2).sum(1).mean() == pytest.approx(known.item(), rel=0.03)
    state = coordinates.to_basis(y - bar.sqrt() * coordinates.encode(predict(A)))
    correlations = (left / left.std(0)).mT @ (state / state.std(0)) / count
    assert correlations.abs().max() < 5 / math.sqrt(count)
    H = energy.hessian(A[:1], y[:1], k)[0]
    eye = torch.eye(coordinates.size, dtype=torch.float64)
    planted_curvature = torch.linalg.inv(bar * C + sigma**2 * eye) * sigma
    basis = coordinates.from_basis(eye)
    assert torch.allclose(basis @ H @ basis.mT, planted_curvature, atol=0.05 * planted_curvature.abs().max())


def test_its_outputs_make_its_energy_an_output_a_coordinate(coordinates, stream):
    A, predict, _ = planted(coordinates, stream, 200)
    energy = PredictorEnergy.of(coordinates, SCHEDULE, predict, A)
    y, k = coordinates.noise(4, generator=stream, dtype=torch.float64), torch.tensor([0, 3, 9, 0])
    assert torch.allclose(energy.outputs(A[:4], y, k).pow(2).sum(-1), energy.energy(A[:4], y, k))
    f = energy.outputs(A[:4], torch.stack([y, -y], 1), k)
    assert torch.allclose(f.pow(2).sum(-1), energy.energy(A[:4], torch.stack([y, -y], 1), k))
    # Symmetric, and positive: output i moves with coordinate i.
    basis = coordinates.from_basis(torch.eye(coordinates.size, dtype=torch.float64))
    centre = SCHEDULE.alpha_bar[5].sqrt() * energy.prepare(A[:1]).y0
    J = energy.outputs(A[:1], (centre + basis)[None], 5)[0]
    assert torch.allclose(J, J.mT) and (torch.linalg.eigvalsh(J) > 0).all()


def test_too_few_problems_are_refused(coordinates, stream):
    A = problems.draw(5, 3, 0.5, stream, torch.float64)
    with pytest.raises(ValueError, match="needs as many problems, not 5"):
        PredictorEnergy.of(coordinates, SCHEDULE, torch.linalg.inv, A)
