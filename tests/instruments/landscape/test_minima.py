"""Landscape metrics of energies whose shape is known."""

import itertools

import numpy as np
import pytest
import torch

from ired.instruments.core import states
from ired.instruments.landscape import minima
from ired.model.coordinates import Coordinates
from ired.model.reference import DoubleWell, IdealEnergy, Quadratic

LANDSCAPES = (0, 5, 9)


class Offset(IdealEnergy):
    """A bowl with a narrower, deeper one `far` noise radii away along the first direction."""

    depth, width, far = 40.0, 0.5, 6.0

    def energy_and_gradient(self, A, y, k):
        E, g = super().energy_and_gradient(A, y, k)
        away, level, slope = self._hole(A, y, k)
        return E - level, g + slope[..., None] * away

    def _hole(self, A, y, k):
        y0 = self.prepare(A).y0
        if y.dim() == 3:
            y0 = y0[:, None]
        first = self.coordinates.from_basis(torch.eye(self.coordinates.size, dtype=y.dtype)[0])
        s, radius = states.sigma(self, k), states.noise_radius(self, k)
        away = self.coordinates.project(y) - states.centre(self, y0, k) - self.far * radius * first
        level = self.depth * s * self.coordinates.size * torch.exp(
            -(away**2).sum(-1) / (2 * (self.width * radius) ** 2)
        )
        return away, level, level / (self.width * radius) ** 2

    def hessian(self, A, y, k):
        away, _, slope = self._hole(A, y, k)
        H = super().hessian(A, y, k)
        width = self.width * states.noise_radius(self, k)
        outer = away[:, :, None] * away[:, None, :] / width**2
        return H + slope[:, None, None] * (self._projector(y) - outer)


def test_convex_energies_are_convex_on_every_segment(ideal, algebraic, problems, generator):
    for energy in (ideal, algebraic):
        y0 = states.answers(energy, problems)
        found = minima.convexity(energy, problems, y0, LANDSCAPES, (0.1, 1, 20), 30, generator)
        assert found.share.shape == (3, 3, 6)
        assert (found.share == 1).all() and (found.rays == 1).all()
        assert (found.positive == 1).all()
    y0 = states.answers(ideal, problems)
    found = minima.convexity(ideal, problems, y0, (2,), (1,), 9, generator)
    np.testing.assert_allclose(found.curvature, 1, rtol=1e-6)


def test_a_concave_energy_is_convex_on_no_segment(problems, schedule, generator):
    energy = Quadratic(Coordinates(4), schedule, -torch.eye(16), torch.zeros(16))
    y0 = torch.zeros(6, 16, dtype=torch.float64)
    found = minima.convexity(energy, problems, y0, (3,), (1.0,), 20, generator)
    for name in ("share", "rays", "positive"):
        assert (getattr(found, name) == 0).all()
    np.testing.assert_allclose(found.curvature, -states.sigma(energy, 3), rtol=1e-6)


def test_convexity_of_a_saddle_is_the_chance_of_an_upward_direction(schedule, generator):
    """±1 curvatures in equal numbers: a random direction is upward with probability ½."""
    signs = torch.tensor([1.0, -1.0, -1.0, 1.0])
    energy = Quadratic(Coordinates(2), schedule, torch.diag(signs), torch.zeros(4))
    A = torch.eye(2, dtype=torch.float64)[None]
    y0 = torch.zeros(1, 4, dtype=torch.float64)
    found = minima.convexity(energy, A, y0, (3,), (1.0,), 20000, generator)
    for name in ("share", "rays", "positive"):
        assert abs(getattr(found, name).item() - 0.5) < 0.02, name


def test_sharpness_of_the_ideal_landscape_is_one(ideal, problems, generator):
    y0 = states.answers(ideal, problems)
    found = minima.sharpness(ideal, problems, y0, LANDSCAPES, generator)
    np.testing.assert_allclose(found.curvature, 1)
    np.testing.assert_allclose(found.radius, 1, rtol=1e-9)
    assert found.reached.all()
    np.testing.assert_allclose(
        found.profile, np.broadcast_to(found.radii[:, None] ** 2, found.profile.shape), rtol=1e-9
    )


def test_a_landscape_four_times_as_sharp_rises_in_half_the_distance(problems, schedule, generator):
    energy = Quadratic(Coordinates(4), schedule, 4 * torch.eye(16), torch.zeros(16))
    y0 = torch.zeros(6, 16, dtype=torch.float64)
    found = minima.sharpness(energy, problems, y0, (5,), generator)
    s = states.sigma(energy, 5)
    np.testing.assert_allclose(found.curvature, 4 * s)
    np.testing.assert_allclose(found.radius, 1 / np.sqrt(4 * s), rtol=1e-9)


def test_a_flat_landscape_never_rises(problems, schedule, generator):
    energy = Quadratic(Coordinates(4), schedule, torch.zeros(16, 16), torch.zeros(16))
    y0 = torch.zeros(6, 16, dtype=torch.float64)
    found = minima.sharpness(energy, problems, y0, (5,), generator)
    assert not found.reached.any()
    np.testing.assert_allclose(found.radius, found.radii[-1])


def test_energy_gaps_of_the_ideal_landscape(ideal, problems, generator):
    y0 = states.answers(ideal, problems)
    wrong = minima.other_answers(y0, 3)
    assert wrong.shape == (6, 3, 16)
    assert ((wrong - y0[:, None]).norm(dim=-1) > 1e-6).all()
    found = minima.energy_gaps(ideal, problems, y0, LANDSCAPES, {"other": wrong}, generator)
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
    wrong = {"other": minima.other_answers(y0, 1)}
    exact = minima.energy_gaps(ideal, problems, y0, (2,), wrong, generator).gap["other"]
    found = minima.energy_gaps(ideal, problems, y0, (2,), wrong, generator, shared_noise=4000)
    assert found.gap["other"].shape == (1, 6, 4000)
    # Var = |√ᾱ(wrong − y₀)|²/σ² = 2·gap; five standard errors.
    error = np.abs(found.gap["other"].mean(-1) - exact[..., 0])
    assert (error < 5 * np.sqrt(2 * exact[..., 0] / 4000)).all()
    np.testing.assert_allclose(
        found.gap["other"].std(-1), np.sqrt(2 * exact[..., 0]), rtol=0.06
    )


def test_a_landscape_upside_down_ranks_every_wrong_answer_first(problems, schedule, generator):
    energy = Quadratic(Coordinates(4), schedule, -torch.eye(16), torch.zeros(16))
    y0 = torch.zeros(6, 16, dtype=torch.float64)
    found = minima.energy_gaps(energy, problems, y0, (0,), {}, generator)
    assert (found.rate("noised") == 0).all() and (found.gap["noised"] < 0).all()


def test_convex_energies_have_one_minimum_at_the_answer(ideal, algebraic, problems, generator):
    for energy in (ideal, algebraic):
        y0 = states.answers(energy, problems)
        found = minima.find_minima(energy, problems, y0, LANDSCAPES, (0.1, 1, 20), 3, generator)
        assert found.outcome.shape == (3, 3, 6, 3)
        assert (found.outcome == minima.MINIMUM).all()
        assert (found.minima == 1).all() and (found.saddles == 0).all()
        np.testing.assert_allclose(found.nearest_distance, 0, atol=1e-7)
        np.testing.assert_allclose(found.nearest_gap, 0, atol=1e-9)
        assert found.lowest_is_nearest.all() and (found.basin == 1).all()


def test_all_eight_minima_of_a_double_well_are_counted(well, generator):
    A = torch.eye(2, dtype=torch.float64)[None].repeat(2, 1, 1)
    y0 = torch.zeros(2, 4, dtype=torch.float64)
    found = minima.find_minima(well, A, y0, (3,), (0.5, 1.0), 60, generator)
    assert (found.minima == 2**3).all()
    assert (found.outcome == minima.MINIMUM).all()
    end = np.sqrt(3) / states.noise_radius(well, 3)
    np.testing.assert_allclose(found.distance, end, rtol=1e-7)
    # E = 0 at every minimum and 3 at the origin.
    np.testing.assert_allclose(found.gap, -3 / states.sigma(well, 3), rtol=1e-9)


def test_saddles_of_a_double_well_have_their_inertia(well):
    grid = torch.tensor(list(itertools.product([-1.0, 0.0, 1.0], repeat=3)), dtype=torch.float64)
    start = well.coordinates.from_basis(grid)[None]
    A = torch.eye(2, dtype=torch.float64)[None]
    found = minima.critical_points(well, A, start, 0)
    zeros = (grid == 0).sum(-1).numpy()
    np.testing.assert_array_equal(found.negative[0].numpy(), zeros)
    np.testing.assert_array_equal(found.zero[0].numpy(), 0)
    outcome = found.outcome[0].numpy()
    np.testing.assert_array_equal(outcome == minima.MINIMUM, zeros == 0)
    np.testing.assert_array_equal(outcome == minima.SADDLE, zeros > 0)
    assert len(set(found.label[0].tolist())) == 27


def test_a_valley_is_flat_and_no_minimum(problems, schedule, generator):
    H = torch.diag(torch.tensor([0.0] * 3 + [1.0] * 13))
    energy = Quadratic(Coordinates(4), schedule, H, torch.zeros(16))
    y0 = torch.zeros(6, 16, dtype=torch.float64)
    found = minima.find_minima(energy, problems, y0, (1,), (1.0,), 4, generator)
    assert (found.outcome == minima.FLAT).all()
    assert (found.minima == 0).all() and (found.flat == 4).all() and not found.found.any()
    assert np.isnan(found.nearest_distance).all() and (found.basin == 0).all()


def test_a_bottomless_slope_is_given_up_far_away(problems, schedule, generator):
    energy = Quadratic(Coordinates(4), schedule, -torch.eye(16), torch.zeros(16))
    y0 = torch.zeros(6, 16, dtype=torch.float64)
    found = minima.find_minima(energy, problems, y0, (1,), (1.0,), 2, generator)
    assert (found.outcome == minima.ESCAPED).all() and (found.minima == 0).all()
    assert (found.escaped == 2).all() and (found.unconverged == 0).all()
    assert ((found.distance > 99) & (found.distance < 105)).all()
    short = minima.find_minima(
        energy, problems, y0, (1,), (1.0,), 2, generator, steps=5, newton=5, turns=2
    )
    assert (short.outcome == minima.UNCONVERGED).all() and (short.unconverged == 2).all()


def test_a_spurious_deeper_minimum_is_found_and_told_apart(problems, generator, schedule):
    energy = Offset(Coordinates(4), schedule)
    y0 = states.answers(energy, problems)
    k = 4
    # Started near each of the two: find_minima meets the far one by chance only.
    first = energy.coordinates.from_basis(torch.eye(16, dtype=torch.float64)[0])
    hole = states.centre(energy, y0, k) + energy.far * states.noise_radius(energy, k) * first
    found = minima.find_minima(
        energy, problems, y0, (k,), (0.1,), 2, generator, extra=hole[None, :, None]
    )
    assert (found.minima == 2).all()
    np.testing.assert_allclose(found.nearest_distance, 0, atol=1e-6)
    assert not found.lowest_is_nearest.any()
    # The deep one is drawn a little towards the answer.
    assert ((found.lowest_distance > 5) & (found.lowest_distance < 6)).all()
    assert (found.lowest_gap < 0).all()
    assert (found.basin == 1).all()  # of the starts at distance 0.1, not of the extra ones


def test_points_are_clustered_by_distance(schedule):
    y = torch.tensor([[0.0], [0.4], [5.0], [0.8], [5.1], [9.0]], dtype=torch.float64)[None]
    valid = torch.tensor([[True, True, True, True, True, False]])
    label = minima.cluster(y, valid, 0.5)
    np.testing.assert_array_equal(label[0].numpy(), [0, 0, 1, 0, 1, -1])


@pytest.mark.parametrize("count", [0, 6])
def test_other_answers_need_other_problems(problems, ideal, count):
    with pytest.raises(ValueError, match="6 problems"):
        minima.other_answers(states.answers(ideal, problems), count)
