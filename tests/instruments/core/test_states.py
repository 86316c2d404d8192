"""Points lie where they claim to lie."""

import numpy as np
import torch

from ired.instruments.core import states


def test_answers_invert_the_problem(ideal, problems):
    Y = ideal.coordinates.decode(states.answers(ideal, problems))
    eye = torch.eye(4, dtype=torch.float64).expand_as(problems)
    torch.testing.assert_close(problems @ Y, eye, rtol=0, atol=1e-10)


def test_points_around_have_the_stated_distance_and_stay_in_the_space(ideal, problems, generator):
    y0 = states.answers(ideal, problems)
    found = states.around(ideal, y0, 3, 2.5, 7, generator)
    away = found - states.centre(ideal, y0, 3)[:, None]
    size = ideal.coordinates.size
    expected = 2.5 * ideal.schedule.sigma[3] * size**0.5
    torch.testing.assert_close(away.norm(dim=-1), expected.expand(6, 7))
    torch.testing.assert_close(ideal.coordinates.project(away), away)


def test_noised_answers_are_one_noise_radius_away_on_average(ideal, problems, generator):
    y0 = states.answers(ideal, problems)
    y, epsilon = states.noised(ideal, y0, 2, 4000, generator)
    away = (y - states.centre(ideal, y0, 2)[:, None]) / states.noise_radius(ideal, 2)
    assert abs(away.pow(2).sum(-1).mean().item() - 1) < 0.02
    torch.testing.assert_close(away * ideal.coordinates.size**0.5, epsilon)


def test_matrix_bases_are_orthonormal_and_complete(problems):
    S, K = states.symmetric_basis(4, problems), states.antisymmetric_basis(4, problems)
    assert S.shape == (10, 16) and K.shape == (6, 16)
    Q = torch.cat([S, K])
    torch.testing.assert_close(Q @ Q.T, torch.eye(16, dtype=torch.float64))
    assert states.antisymmetric(S, 4).abs().max() == 0
    torch.testing.assert_close(states.antisymmetric(K, 4), K)


def test_columns_are_tidy():
    found = states.tidy_columns(
        {"landscape": [0, 4], "problem": range(3)},
        kappa=np.array([5.0, 6.0]),
        x=np.arange(6).reshape(2, 3),
    )
    np.testing.assert_array_equal(found["landscape"], [0, 0, 0, 4, 4, 4])
    np.testing.assert_array_equal(found["problem"], [0, 1, 2, 0, 1, 2])
    np.testing.assert_array_equal(found["kappa"], [5, 5, 5, 6, 6, 6])
    np.testing.assert_array_equal(found["x"], range(6))


def test_forms_on_states_are_restricted_to_the_space(algebraic, problems):
    basis = states.state_basis(algebraic, problems)
    H = torch.arange(2 * 16 * 16.0, dtype=torch.float64).reshape(2, 16, 16).sin()
    torch.testing.assert_close(states.in_basis(algebraic, H), basis @ H @ basis.mT)
