"""A perfect denoiser has the learning curve that theory gives it."""

import math

import torch

from ired.instruments.accuracy.learning_curve import smooth, snapshot
from ired.model import problems
from ired.model.coordinates import Coordinates
from ired.model.reference import IdealEnergy
from ired.model.schedule import Schedule


def test_the_ideal_energy_scores_perfectly():
    energy = IdealEnergy(Coordinates(4, 0.6, 0.3, symmetric=True), Schedule())
    A = problems.draw(4000, 4, 0.5, problems.generator(0, "A"), torch.float64)
    Y = problems.inverse(A)
    seen = snapshot(energy, A, Y, Y + 0.1, problems.generator(0, "noise"))
    assert math.isclose(seen["sampled_mse"], 0.01)
    assert seen["score_error"] < 1e-20
    # E = σ‖ε‖²/2 and ‖∇E‖ = ‖ε‖ with ε standard normal in 10 dimensions.
    sigma = energy.schedule.sigma.mean().item()
    assert math.isclose(seen["energy"], sigma * 10 / 2, rel_tol=0.03)
    norm = math.sqrt(2) * math.gamma(5.5) / math.gamma(5)
    assert math.isclose(seen["gradient_norm"], norm, rel_tol=0.01)
    # The wrong answer is √ᾱ(y' − y) away, independent of the noise.
    y = energy.coordinates.encode(Y)
    away = (y.roll(1, 0) - y).pow(2).sum(-1).mean().item()
    expected = (energy.schedule.alpha_bar / energy.schedule.sigma).mean().item() * away / 2
    assert math.isclose(seen["energy_gap"], expected, rel_tol=0.02)
    # Of the variance ᾱ·signal + σ² of y_k, the noise is what a multiple of it can tell.
    signal = (energy.schedule.alpha_bar[0] * y.pow(2).sum(-1).mean() / 10).item()
    expected = signal / (signal + energy.schedule.sigma[0].item() ** 2)
    assert math.isclose(seen["blind_error"], expected, rel_tol=0.01)


def test_the_exact_inverse_leaves_no_residual():
    energy = IdealEnergy(Coordinates(4), Schedule())
    A = problems.draw(50, 4, 0.5, problems.generator(0, "A"), torch.float64)
    Y = problems.inverse(A)
    right = snapshot(energy, A, Y, Y, problems.generator(0, "noise"))
    wrong = snapshot(energy, A, Y, torch.zeros_like(Y), problems.generator(0, "noise"))
    assert right["residual"] < 1e-12 and math.isclose(wrong["residual"], 1.0)


def test_losses_are_averaged_over_windows_of_steps():
    history = torch.stack((torch.arange(1000.0), torch.ones(1000)), dim=1)
    seen = smooth(history, ("rising", "flat"), points=100)
    assert seen["step"] == list(range(10, 1001, 10)) and set(seen["flat"]) == {1.0}
    assert seen["rising"][0] == 4.5 and seen["rising"][-1] == 994.5
    assert smooth(history[:7], ("rising", "flat"))["step"] == list(range(1, 8))
