"""Convexity, sharpness and energy gaps of energies whose shape is known."""

import numpy as np
import pytest
import torch

from ired.instruments.core import states
from ired.instruments.landscape import metrics
from ired.model.coordinates import Coordinates
from ired.model.reference import Quadratic

LANDSCAPES = (0, 5, 9)


def test_convex_energies_are_convex_on_every_segment(ideal, algebraic, problems, generator):
    for energy in (ideal, algebraic):
        y0 = states.answers(energy, problems)
        found = metrics.convexity(energy, problems, y0, LANDSCAPES, (0.1, 1, 20), 30, generator)
        assert found.share.shape == (3, 3, 6)
        assert (found.share == 1).all() and (found.rays == 1).all()
        assert (found.positive == 1).all()
    y0 = states.answers(ideal, problems)
    found = metrics.convexity(ideal, problems, y0, (2,), (1,), 9, generator)
    np.testing.assert_allclose(found.curvature, 1, rtol=1e-6)


def test_a_concave_energy_is_convex_on_no_segment(problems, schedule, generator):
    energy = Quadratic(Coordinates(4), schedule, -torch.eye(16), torch.zeros(16))
    y0 = torch.zeros(6, 16, dtype=torch.float64)
    found = metrics.convexity(energy, problems, y0, (3,), (1.0,), 20, generator)
    for name in ("share", "rays", "positive"):
        assert (getattr(found, name) == 0).all()
    np.testing.assert_allclose(found.curvature, -states.sigma(energy, 3), rtol=1e-6)


def test_convexity_of_a_saddle_is_the_chance_of_an_upward_direction(schedule, generator):
    """±1 curvatures in equal numbers: a random direction is upward with probability ½."""
    signs = torch.tensor([1.0, -1.0, -1.0, 1.0])
    energy = Quadratic(Coordinates(2), schedule, torch.diag(signs), torch.zeros(4))
    A = torch.eye(2, dtype=torch.float64)[None]
    y0 = torch.zeros(1, 4, dtype=torch.float64)
    found = metrics.convexity(energy, A, y0, (3,), (1.0,), 20000, generator)
    for name in ("share", "rays", "positive"):
        assert abs(getattr(found, name).item() - 0.5) < 0.02, name


def test_sharpness_of_the_ideal_landscape_is_one(ideal, problems, generator):
    y0 = states.answers(ideal, problems)
    found = metrics.sharpness(ideal, problems, y0, LANDSCAPES, generator)
    np.testing.assert_allclose(found.curvature, 1)
    np.testing.assert_allclose(found.radius, 1, rtol=1e-9)
    assert found.reached.all()
    np.testing.assert_allclose(
        found.profile, np.broadcast_to(found.radii[:, None] ** 2, found.profile.shape), rtol=1e-9
    )


def test_a_landscape_four_times_as_sharp_rises_in_half_the_distance(problems, schedule, generator):
    energy = Quadratic(Coordinates(4), schedule, 4 * torch.eye(16), torch.zeros(16))
    y0 = torch.zeros(6, 16, dtype=torch.float64)
    found = metrics.sharpness(energy, problems, y0, (5,), generator)
    s = states.sigma(energy, 5)
    np.testing.assert_allclose(found.curvature, 4 * s)
    np.testing.assert_allclose(found.radius, 1 / np.sqrt(4 * s), rtol=1e-9)


def test_a_flat_landscape_never_rises(problems, schedule, generator):
    energy = Quadratic(Coordinates(4), schedule, torch.zeros(16, 16), torch.zeros(16))
    y0 = torch.zeros(6, 16, dtype=torch.float64)
    found = metrics.sharpness(energy, problems, y0, (5,), generator)
    assert not found.reached.any()
    np.testing.assert_allclose(found.radius, found.radii[-1])


def test_energy_gaps_of_the_ideal_landscape(ideal, problems, generator):
    y0 = states.answers(ideal, problems)
    wrong = metrics.other_answers(y0, 3)
    assert wrong.shape == (6, 3, 16)
    assert ((wrong - y0[:, None]).norm(dim=-1) > 1e-6).all()
    found = metrics.energy_gaps(ideal, problems, y0, LANDSCAPES, {"other": wrong}, generator)
    for i, k in enumerate(LANDSCAPES):
        bar = ideal.schedule.alpha_bar[k].item()
        expected = bar / (1 - bar) * (wrong - y0[:, None]).pow(2).sum(-1).numpy() / 2
        np.testing.assert_allclose(found.gap["other"][i], expected, rtol=1e-8)
        noised = found.gap["noised"][i]
        assert abs(noised.mean() / (ideal.coordinates.size / 2) - 1) < 0.25
    assert (found.rate("other") == 1).all() and (found.rate("noised") == 1).all()


def test_gaps_between_equally_noised_answers(ideal, problems, generator):
    """E(wrong + σε) − E(right + σε) = gap without noise + √ᾱ (wrong − y₀)·ε of mean zero."""
    y0 = states.answers(ideal, problems)
    wrong = {"other": metrics.other_answers(y0, 1)}
    exact = metrics.energy_gaps(ideal, problems, y0, (2,), wrong, generator).gap["other"]
    found = metrics.energy_gaps(ideal, problems, y0, (2,), wrong, generator, shared_noise=4000)
    assert found.gap["other"].shape == (1, 6, 4000)
    # Var = |√ᾱ(wrong − y₀)|²/σ² = 2·gap; five standard errors.
    error = np.abs(found.gap["other"].mean(-1) - exact[..., 0])
    assert (error < 5 * np.sqrt(2 * exact[..., 0] / 4000)).all()
    np.testing.assert_allclose(found.gap["other"].std(-1), np.sqrt(2 * exact[..., 0]), rtol=0.06)


def test_a_landscape_upside_down_ranks_every_wrong_answer_first(problems, schedule, generator):
    energy = Quadratic(Coordinates(4), schedule, -torch.eye(16), torch.zeros(16))
    y0 = torch.zeros(6, 16, dtype=torch.float64)
    found = metrics.energy_gaps(energy, problems, y0, (0,), {}, generator)
    assert (found.rate("noised") == 0).all() and (found.gap["noised"] < 0).all()


@pytest.mark.parametrize("count", [0, 6])
def test_other_answers_need_other_problems(problems, ideal, count):
    with pytest.raises(ValueError, match="6 problems"):
        metrics.other_answers(states.answers(ideal, problems), count)
