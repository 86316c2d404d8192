"""Gradient fields of known energies, and gradients that are none."""

import math

import numpy as np
import pytest
import torch

from ired.instruments.core import states
from ired.instruments.landscape import gradient_field
from ired.model.coordinates import Coordinates
from ired.model.reference import IdealEnergy, Quadratic

LANDSCAPES = (0, 5, 9)


class Rotational(IdealEnergy):
    """The ideal energy with a divergence-free part added to its gradient: no energy has it."""

    strength = 0.5

    def turn(self, like):
        """Antisymmetric R with R e_0 = strength e_1 / σ, R e_1 = −strength e_0 / σ, ..."""
        m = self.coordinates.size
        R = torch.zeros(m, m, dtype=like.dtype)
        for i in range(0, m - 1, 2):
            R[i, i + 1], R[i + 1, i] = -self.strength, self.strength
        return R

    def energy_and_gradient(self, A, y, k):
        E, g = super().energy_and_gradient(A, y, k)
        z = self.coordinates.to_basis(y) @ self.turn(y).T
        return E, g + self.coordinates.from_basis(z) / self.schedule.at("sigma", k, y)


class Doubled(IdealEnergy):
    """A gradient twice too long."""

    def energy_and_gradient(self, A, y, k):
        E, g = super().energy_and_gradient(A, y, k)
        return E, 2 * g


def test_the_ideal_gradient_points_to_the_answer_with_unit_slope(ideal, problems, generator):
    y0 = states.answers(ideal, problems)
    found = gradient_field.gradient_field(ideal, problems, y0, LANDSCAPES, (0.1, 1, 10), 5, generator)
    assert found.cosine.shape == (3, 3, 6, 5)
    np.testing.assert_allclose(found.cosine, 1, rtol=1e-10)
    np.testing.assert_allclose(found.radial, 1, rtol=1e-9)
    np.testing.assert_allclose(found.tangential, 0, atol=1e-6)


def test_the_algebraic_cosine_is_that_of_its_hessian(algebraic, problems, generator):
    y0 = states.answers(algebraic, problems)
    state = generator.get_state()
    found = gradient_field.gradient_field(algebraic, problems, y0, (3,), (2.0,), 4, generator)
    generator.set_state(state)
    u = states.unit_directions(algebraic, 6, 4, generator=generator, like=y0)
    g = u @ algebraic.hessian(problems, y0, 3)
    cosine = (g * u).sum(-1) / g.norm(dim=-1)
    np.testing.assert_allclose(found.cosine[0, 0], cosine.numpy(), rtol=1e-9)
    radial = (g * u).sum(-1) * states.sigma(algebraic, 3)
    np.testing.assert_allclose(found.radial[0, 0], radial.numpy(), rtol=1e-9)
    tangential = (g.pow(2).sum(-1) - (g * u).sum(-1) ** 2).sqrt() * states.sigma(algebraic, 3)
    np.testing.assert_allclose(found.tangential[0, 0], tangential.numpy(), rtol=1e-8)


def test_antisymmetric_share_is_what_is_planted(problems, generator, schedule):
    coordinates = Coordinates(4)
    S = states.symmetric_basis(4, problems)
    only_symmetric = Quadratic(coordinates, schedule, S.T @ S, torch.zeros(16))
    y0 = torch.zeros(6, 16, dtype=torch.float64)
    found = gradient_field.gradient_field(only_symmetric, problems, y0, (0,), (1.0,), 3, generator)
    np.testing.assert_allclose(found.antisymmetric, 0, atol=1e-12)
    # Isotropic gradients: 6 of 16 directions.
    isotropic = Quadratic(coordinates, schedule, torch.eye(16), torch.zeros(16))
    found = gradient_field.gradient_field(isotropic, problems, y0, (0,), (1.0,), 2000, generator)
    assert abs(found.antisymmetric.mean() - 6 / 16) < 0.01


def test_a_perfect_denoiser_has_no_score_error_and_the_blind_one_its_own(ideal, problems, generator):
    y0 = states.answers(ideal, problems)
    found = gradient_field.score_error(ideal, problems, y0, LANDSCAPES, 500, generator)
    np.testing.assert_allclose(found.error, 0, atol=1e-20)
    for i, k in enumerate(LANDSCAPES):
        bar = ideal.schedule.alpha_bar[k].item()
        mean_square = (y0**2).sum(-1).numpy() / ideal.coordinates.size
        blind = bar * mean_square / (1 - bar)
        np.testing.assert_allclose(found.blind[i], blind, rtol=1e-9)
        pooled = blind.mean()
        # Shrinking the blind predictor to its best multiple leaves s/(1+s) of an error s.
        np.testing.assert_allclose(found.shrunk[i].mean(), pooled / (1 + pooled), rtol=0.05)


def test_predicting_the_blind_score_has_relative_error_one(problems, schedule, coordinates, generator):
    class Blind(IdealEnergy):
        def energy_and_gradient(self, A, y, k):
            s = self.schedule.at("sigma", k, y)
            return (y * y).sum(-1) / 2 / s.squeeze(-1), y / s

    energy = Blind(coordinates, schedule)
    y0 = states.answers(energy, problems)
    found = gradient_field.score_error(energy, problems, y0, LANDSCAPES, 50, generator)
    np.testing.assert_allclose(found.relative, 1, rtol=1e-9)
    np.testing.assert_allclose(found.error, found.blind)


def test_gradients_of_energies_are_conservative(ideal, algebraic, problems, generator):
    for energy in (ideal, algebraic):
        y0 = states.answers(energy, problems)
        found = gradient_field.conservation(energy, problems, y0, LANDSCAPES, generator)
        for name in ("asymmetry", "loop", "path", "hessian"):
            assert getattr(found, name).shape == (3, 6)
            np.testing.assert_allclose(getattr(found, name), 0, atol=1e-7, err_msg=name)


def test_the_double_well_is_conservative(well, generator):
    A = torch.eye(2, dtype=torch.float64).expand(3, 2, 2)
    y0 = torch.full((3, 4), 0.4, dtype=torch.float64)
    found = gradient_field.conservation(well, A, y0, (4,), generator)
    for name in ("asymmetry", "loop", "path", "hessian"):
        np.testing.assert_allclose(getattr(found, name), 0, atol=1e-6, err_msg=name)


def test_a_rotational_part_is_caught_with_its_size(problems, coordinates, schedule, generator):
    energy = Rotational(coordinates, schedule)
    y0 = states.answers(energy, problems)
    found = gradient_field.conservation(energy, problems, y0, (2, 6), generator, pairs=400)
    m = coordinates.size
    # J = (I + R)/σ: ‖J − Jᵀ‖/‖J‖ = 2c/√(1 + c²) for c = strength on all m (even) dimensions.
    expected = 2 * energy.strength / math.sqrt(1 + energy.strength**2)
    assert m % 2 == 0
    np.testing.assert_allclose(found.asymmetry.mean(), expected, rtol=0.1)
    assert found.loop.min() > 1e-3 and found.path.min() > 1e-4 and found.hessian.min() > 0.1


def test_a_gradient_of_the_wrong_length_is_caught_by_paths(problems, coordinates, schedule, generator):
    energy = Doubled(coordinates, schedule)
    y0 = states.answers(energy, problems)
    found = gradient_field.conservation(energy, problems, y0, (2,), generator)
    assert found.asymmetry.max() < 1e-7 and found.loop.max() < 1e-7
    assert found.path.min() > 1e-3
    np.testing.assert_allclose(found.hessian, 0.5, rtol=1e-6)


def test_divergence_is_the_trace(ideal, algebraic, problems):
    y0 = states.answers(ideal, problems)
    y = torch.stack([states.centre(ideal, y0, k) for k in LANDSCAPES])
    np.testing.assert_allclose(gradient_field.divergence(ideal, problems, y, LANDSCAPES).total, 1, rtol=1e-12)
    found = gradient_field.divergence(algebraic, problems, y, LANDSCAPES)
    c = algebraic.coordinates
    # tr (A² ⊗ I) on all matrices, and on symmetric ones, where it is (A² ⊗ I + I ⊗ A²)/2.
    trace = problems.pow(2).sum((-1, -2)) * c.scale**2
    symmetric = trace * (c.n + 1) / 2
    total = symmetric if c.symmetric else trace * c.n
    s = algebraic.schedule.sigma[list(LANDSCAPES)]
    np.testing.assert_allclose(found.total, (s[:, None] * total / c.size).numpy(), rtol=1e-10)
    np.testing.assert_allclose(found.symmetric, (s[:, None] * symmetric / (c.n * (c.n + 1) / 2)).numpy(), rtol=1e-10)


@pytest.mark.parametrize("distance", [0.5, 5.0])
def test_plain_descent_on_known_bowls_ends_at_the_answer(ideal, algebraic, problems, generator, distance):
    for energy in (ideal, algebraic):
        y0 = states.answers(energy, problems)
        found = gradient_field.descents(
            energy, problems, y0, (1, 8), (distance,), 3, generator, steps=3000, tolerance=1e-6
        )
        assert found.converged.all()
        np.testing.assert_allclose(found.distance, 0, atol=1e-4)
        np.testing.assert_allclose(found.gap, 0, atol=1e-7)
        assert found.gradient.max() <= 1e-6


def test_descent_that_runs_out_of_steps_says_so(algebraic, problems, generator):
    y0 = states.answers(algebraic, problems)
    found = gradient_field.descents(algebraic, problems, y0, (1,), (2.0,), 3, generator, steps=3)
    assert not found.converged.any()
    assert (found.gap > 0).all() and (found.gradient > 1e-6).all()
