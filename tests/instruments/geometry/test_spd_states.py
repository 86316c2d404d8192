"""Noise beside the cone of SPD matrices."""

import numpy as np
import pytest
import torch

from ired.instruments.geometry import spd_states
from ired.instruments.geometry.known_answers_geodesics import symmetric_inverse


@pytest.fixture
def answers(problems):
    return symmetric_inverse(problems)


def test_perturbed_answers_are_positive_definite_and_equally_far(answers, generator):
    X, reach = spd_states.perturbed(answers, 100.0, 20, generator)
    assert (torch.linalg.eigvalsh(X)[..., 0] > 0).all()
    away = (X - answers[:, None]).flatten(-2).norm(dim=-1)
    torch.testing.assert_close(away, reach[:, None].expand(-1, 20))
    # Four fifths of the way to the border: a bit more of the worst direction leaves the cone.
    worst = answers[:, None] + (X - answers[:, None]) * 1.3
    opposite = answers[:, None] - (X - answers[:, None]) * 1.3
    low = torch.minimum(torch.linalg.eigvalsh(worst), torch.linalg.eigvalsh(opposite))[..., 0]
    assert (low.amin(1) < 0).all()
    near = spd_states.perturbed(answers, 1e-3, 20, generator)[1]
    assert (near == 1e-3).all()


def test_where_a_path_enters_the_cone(answers):
    outside, askew = answers - 10 * torch.eye(4), torch.zeros(4, 4).double()
    askew[0, 1], askew[1, 0] = 0.1, -0.1
    path = torch.stack([outside, answers + askew, 2 * answers])
    path[:, 5] = outside[5]
    step, first, off = spd_states.entered(path)
    assert step.tolist() == [1, 1, 1, 1, 1, -1]
    torch.testing.assert_close(first[:5], answers[:5])
    expected = 0.02**0.5 / (answers + askew)[:5].flatten(1).norm(dim=1)
    torch.testing.assert_close(off[:5], expected)


def test_share_of_noise_that_stays_in_the_cone_falls(ideal, answers, generator):
    share = spd_states.share_inside_cone(ideal, answers, range(10), 64, generator)
    assert share.shape == (10, 6) and share[0].mean() > share[4].mean() >= share[-1].mean()
    # Symmetric matrices of pure noise: an even spread of signs is positive definite 0.2 % of the time.
    assert share[-1].mean() < 0.05


def test_noise_has_the_radius_it_is_said_to_have(ideal, generator):
    noise = spd_states.symmetric_noise(torch.eye(4, dtype=torch.float64)[None], 4000, generator)
    assert torch.equal(noise, noise.mT)
    norm = noise.pow(2).sum((-2, -1)).mean().sqrt() * spd_states.noise_scale(ideal, 3)
    np.testing.assert_allclose(norm, spd_states.symmetric_noise_radius(ideal, 3), rtol=0.02)
