"""Minima of energies whose critical points are known."""

import itertools

import numpy as np
import torch

from ired.instruments.core import states
from ired.instruments.landscape import minima
from ired.model.coordinates import Coordinates
from ired.model.reference import IdealEnergy, Quadratic

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
        level = (
            self.depth * s * self.coordinates.size * torch.exp(-(away**2).sum(-1) / (2 * (self.width * radius) ** 2))
        )
        return away, level, level / (self.width * radius) ** 2

    def hessian(self, A, y, k):
        away, _, slope = self._hole(A, y, k)
        H = super().hessian(A, y, k)
        width = self.width * states.noise_radius(self, k)
        outer = away[:, :, None] * away[:, None, :] / width**2
        return H + slope[:, None, None] * (self._projector(y) - outer)


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
    short = minima.find_minima(energy, problems, y0, (1,), (1.0,), 2, generator, steps=5, newton=5, turns=2)
    assert (short.outcome == minima.UNCONVERGED).all() and (short.unconverged == 2).all()


def test_a_spurious_deeper_minimum_is_found_and_told_apart(problems, generator, schedule):
    energy = Offset(Coordinates(4), schedule)
    y0 = states.answers(energy, problems)
    k = 4
    # Started near each of the two: find_minima meets the far one by chance only.
    first = energy.coordinates.from_basis(torch.eye(16, dtype=torch.float64)[0])
    hole = states.centre(energy, y0, k) + energy.far * states.noise_radius(energy, k) * first
    found = minima.find_minima(energy, problems, y0, (k,), (0.1,), 2, generator, extra=hole[None, :, None])
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
