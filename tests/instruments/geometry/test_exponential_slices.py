"""Slices through exponential maps, beside straight ones."""

import numpy as np
import pytest
import torch

from ired.instruments.core import states
from ired.instruments.geometry import exponential_slices
from ired.instruments.geometry.known_answers_geodesics import symmetric_inverse
from ired.instruments.landscape import slices


@pytest.fixture
def answers(problems):
    return symmetric_inverse(problems)


def bent(energy, problems, answers, *how):
    return exponential_slices.energy_on_sheets(energy, problems, exponential_slices.sheet(energy, answers, *how))


@pytest.fixture
def plane(network, problems, generator):
    chosen = slices.random_directions(network, states.answers(network, problems), generator)
    return exponential_slices.symmetric_plane(network, chosen)[0]


def test_axes_are_symmetric_and_stay_if_they_were(network, problems, generator):
    chosen = slices.random_directions(network, states.answers(network, problems), generator)
    plane, size = exponential_slices.symmetric_plane(network, chosen)
    V = plane.axes.unflatten(-1, (4, 4))
    torch.testing.assert_close(V, V.mT)
    torch.testing.assert_close(plane.axes @ plane.axes.mT, torch.eye(2).double().expand(6, 2, 2))
    if network.coordinates.symmetric:
        torch.testing.assert_close(plane.axes, chosen.axes)
        np.testing.assert_allclose(size, 1)
    else:
        assert (size < 1).all() and plane.kind == chosen.kind


@pytest.mark.parametrize("equal", [True, False])
def test_the_euclidean_slice_is_the_straight_one(network, problems, answers, plane, equal):
    y0 = states.answers(network, problems)
    extent = 0.5 * torch.linalg.eigvalsh(answers)[:, 0].min().item() / 0.085
    flat = slices.energy_slices(network, problems, y0, 0, plane, extent, 5)
    seen = bent(network, problems, answers, 0, plane, "Euclidean", extent, 5, equal)
    np.testing.assert_allclose(seen.gap, flat.gap, atol=1e-8 * np.abs(flat.gap).max())
    np.testing.assert_allclose(seen.u, flat.u)
    assert seen.kind == "random" and seen.sigma == flat.sigma


def test_slices_agree_near_the_answer_and_part_far_from_it(network, problems, answers, plane):
    y0 = states.answers(network, problems)

    def apart(extent):
        flat = slices.energy_slices(network, problems, y0, 0, plane, extent, 5).gap
        other = bent(network, problems, answers, 0, plane, "affine-invariant", extent, 5).gap
        return np.abs(flat - other).max() / np.abs(flat).max()

    assert apart(1e-4) < 1e-3 < apart(2.0)


@pytest.mark.parametrize("metric", ["affine-invariant", "log-Euclidean"])
def test_equal_distance_reaches_beyond_the_cone(ideal, problems, answers, metric, generator):
    y0 = states.answers(ideal, problems)
    plane, _ = exponential_slices.symmetric_plane(ideal, slices.random_directions(ideal, y0, generator))
    low = exponential_slices.smallest(ideal, answers, 1, plane, 3.0, 5)
    assert low.shape == (6, 5, 5) and (low < 0).any()
    np.testing.assert_allclose(low[:, 2, 2], torch.linalg.eigvalsh(answers)[:, 0], atol=1e-12)
    seen = bent(ideal, problems, answers, 1, plane, metric, 3.0, 5)
    u = np.linspace(-3, 3, 5)
    bowl = np.broadcast_to((u**2 + u[:, None] ** 2) / 2, seen.gap.shape)
    np.testing.assert_allclose(seen.gap, bowl, atol=1e-6)


def test_straight_lines_that_leave_the_cone_are_refused(ideal, problems, answers, generator):
    y0 = states.answers(ideal, problems)
    plane, _ = exponential_slices.symmetric_plane(ideal, slices.random_directions(ideal, y0, generator))
    with pytest.raises(ValueError, match="end of a straight line"):
        bent(ideal, problems, answers, 1, plane, "Euclidean", 3.0, 5)


def test_the_answer_is_on_odd_grids_only(ideal, problems, answers, plane):
    with pytest.raises(ValueError, match="odd"):
        bent(ideal, problems, answers, 0, plane, "affine-invariant", 3.0, 4)


def test_the_exponential_map_itself_stretches(ideal, problems, answers, generator):
    y0 = states.answers(ideal, problems)
    plane, _ = exponential_slices.symmetric_plane(ideal, slices.random_directions(ideal, y0, generator))
    how = (ideal, answers, 1, plane, "affine-invariant", 3.0, 5)
    np.testing.assert_allclose(exponential_slices.sheet(*how).stretch, 1, atol=1e-8)
    plain = exponential_slices.sheet(*how, equal=False)
    assert (plain.stretch > 1).all() and (torch.linalg.eigvalsh(plain.points)[..., 0] > 0).all()
