"""Known answers of error bars are recovered, and every way of getting them wrong misses them."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from ired.instruments.core import states
from ired.instruments.uncertainty import known_answers, tweedie


def failing(references, seed=1):
    answers = known_answers.check_error_bars(references, torch.Generator().manual_seed(seed))
    assert {answer.instrument for answer in answers} == {"error_bars"}
    return [str(answer) for answer in answers if not answer.passed]


def sigma_doubled(H, noise):
    return 4 * SOUND(2 * H, noise)


def alpha_bar_left_out(H, noise):
    return SOUND(H, noise / (1 + noise))


def no_curvature(H, noise):
    return SOUND(torch.zeros_like(H), noise)


def clipped(H, noise):
    values, vectors = torch.linalg.eigh(SOUND(H, noise))
    return (vectors * values.clamp_min(0)[:, None]) @ vectors.mT


SOUND = tweedie.covariance_of
EVERYWHERE = {"planted covariance", "Gaussian: actual over", "Gaussian: coverage"}
BROKEN = {
    sigma_doubled: EVERYWHERE,
    alpha_bar_left_out: EVERYWHERE,
    no_curvature: EVERYWHERE,
    clipped: {"negative variances are kept"},
}


@pytest.mark.slow
def test_known_answers_are_recovered(references):
    assert failing(references) == []


@pytest.mark.slow
@pytest.mark.parametrize("spoilt", BROKEN, ids=lambda spoilt: spoilt.__name__)
def test_a_broken_covariance_misses_them(references, monkeypatch, spoilt):
    monkeypatch.setattr(tweedie, "covariance_of", spoilt)
    missed = failing(references)
    assert [what for what in BROKEN[spoilt] if not any(what in line for line in missed)] == []


@pytest.mark.slow
def test_a_broken_estimate_misses_the_actual_error(references, monkeypatch):
    sound = tweedie.posterior_mean
    monkeypatch.setattr(tweedie, "posterior_mean", lambda *a: 1.5 * sound(*a))
    missed = failing(references)
    assert any("Gaussian: actual over" in line for line in missed)
    assert any("Gaussian: coverage" in line for line in missed)


@pytest.mark.slow
def test_no_field_of_the_record_can_be_wrong_unseen(references, monkeypatch):
    sound, calls = tweedie.error_bars, []
    monkeypatch.setattr(tweedie, "error_bars", lambda *a, **o: calls.append(sound(*a, **o)) or calls[-1])
    assert failing(references) == []
    measured = [f.name for f in fields(tweedie.ErrorBars) if f.name not in ("landscapes", "noise", "size")]
    for name in measured:
        spoilt = [replace(bars, **{name: 1.2 * getattr(bars, name) + 0.1}) for bars in calls]
        monkeypatch.setattr(tweedie, "error_bars", lambda *a, left=iter(spoilt), **o: next(left))
        assert failing(references), name


@pytest.mark.slow
def test_the_planted_energy_is_a_posterior(references, generator):
    """Its gradient is the expected noise, and its Hessian the gradient's derivative."""
    energy = known_answers.GaussianPosterior.planted(references.ideal, generator, references.A)
    A = references.A[:2]
    y = states.noised(energy, energy.answers(A, generator), 4, 1, generator)[0][:, 0]
    J = torch.autograd.functional.jacobian(lambda v: energy.gradient(A, v, 4).sum(0), y).transpose(0, 1)
    torch.testing.assert_close(J, energy.hessian(A, y, 4))
    v = y.clone().requires_grad_(True)
    (g,) = torch.autograd.grad(energy.energy(A, v, 4).sum(), v)
    torch.testing.assert_close(g, energy.gradient(A, y, 4))
    several, each = torch.stack([y, 2 * y], 1), torch.full((len(A),), 4)
    torch.testing.assert_close(energy.gradient(A, several, each)[:, 1], energy.gradient(A, 2 * y, 4))
    # The mean of the posterior by Bayes' rule: its precisions weigh the centre and the observation.
    bar = energy.schedule.alpha_bar[4].item()
    C = energy.covariance(A, 4)
    prior = torch.linalg.inv(C) - bar / (1 - bar) * torch.eye(C.shape[-1], dtype=C.dtype)
    precise = (prior @ energy.centre(A)[..., None])[..., 0] + bar**0.5 / (1 - bar) * energy.coordinates.to_basis(y)
    torch.testing.assert_close((C @ precise[..., None])[..., 0], tweedie.posterior_mean(energy, A, y, 4))


def test_groups_of_problems_keep_their_condition():
    A = torch.diag_embed(torch.tensor([[1.0, 2, 3], [4, 1, 1]], dtype=torch.float64))
    groups = known_answers.planted_groups(A, 2)
    assert groups.shape == (12, 3, 3)
    scale = groups.diagonal(dim1=-2, dim2=-1).mean(-1)
    np.testing.assert_allclose(scale, np.repeat(3.0 ** np.arange(-2, 4), 2))
    np.testing.assert_allclose(torch.linalg.cond(groups), np.repeat(np.tile([3, 4], 3), 2))
