"""Slices of landscapes that are known in closed form come out exactly."""

import numpy as np
import pytest
import torch

from ired.instruments.core import states
from ired.instruments.landscape import slices
from ired.model.coordinates import Coordinates
from ired.model.reference import Quadratic

LANDSCAPES = [0, 4, 9]


def random(energy, y0, generator):
    return slices.random_directions(energy, y0, generator)


@pytest.mark.parametrize("k", LANDSCAPES)
def test_the_ideal_slice_is_half_the_squared_radius_everywhere(ideal, problems, generator, k):
    y0 = states.answers(ideal, problems)
    found = slices.energy_slices(ideal, problems, y0, k, random(ideal, y0, generator), 2.0, 21)
    assert found.gap.shape == (6, 21, 21)
    expected = (found.u[None, :] ** 2 + found.v[:, None] ** 2) / 2
    np.testing.assert_allclose(found.gap, np.broadcast_to(expected, found.gap.shape), atol=1e-12)


@pytest.mark.parametrize("k", LANDSCAPES)
def test_the_algebraic_slice_is_its_quadratic_form(algebraic, problems, generator, k):
    y0 = states.answers(algebraic, problems)
    chosen = random(algebraic, y0, generator)
    found = slices.energy_slices(algebraic, problems, y0, k, chosen, 3.0, 11)
    H = algebraic.hessian(problems, y0, k)
    M = (chosen.axes @ H @ chosen.axes.mT).numpy() * states.sigma(algebraic, k)
    U, V = np.meshgrid(found.u, found.v)
    uv = np.stack([U, V], -1)
    expected = np.einsum("rci,pij,rcj->prc", uv, M, uv) / 2
    np.testing.assert_allclose(found.gap, expected, rtol=1e-9, atol=1e-10)
    shape = slices.shape_of(found)
    np.testing.assert_allclose(shape.curvature, np.linalg.eigvalsh(M), rtol=1e-8)
    np.testing.assert_allclose(shape.fit, 1)
    np.testing.assert_allclose(shape.slope, 0, atol=1e-9)
    low, high = np.linalg.eigvalsh(M).T
    np.testing.assert_allclose(shape.anisotropy, (high - low) / (high + low), rtol=1e-7)


def test_gap_rows_are_v_and_columns_are_u(algebraic, problems, generator):
    y0 = states.answers(algebraic, problems)
    chosen = random(algebraic, y0, generator)
    found = slices.energy_slices(algebraic, problems, y0, 2, chosen, 1.0, 5)
    s = states.sigma(algebraic, 2)
    y = states.centre(algebraic, y0, 2) + s * chosen.axes[:, 0]  # u = 1, v = 0
    expected = algebraic.energy(problems, y, 2) / s
    np.testing.assert_allclose(found.gap[:, 2, 4], expected.numpy(), rtol=1e-10)


def test_shape_of_the_ideal_slice(ideal, problems, generator):
    y0 = states.answers(ideal, problems)
    shape = slices.shape_of(slices.energy_slices(ideal, problems, y0, 1, random(ideal, y0, generator), 3.0, 15))
    for name, value in [
        ("minimum_distance", 0),
        ("below", 0),
        ("fit", 1),
        ("anisotropy", 0),
        ("ideal_correlation", 1),
    ]:
        np.testing.assert_allclose(getattr(shape, name), value, atol=1e-9, err_msg=name)
    np.testing.assert_allclose(shape.curvature, 1)
    assert not shape.minimum_on_border.any()


def test_a_displaced_minimum_is_found_where_it_is(ideal, problems, generator):
    """The slice of another answer: its minimum is where the true answer projects to."""
    y0 = states.answers(ideal, problems)
    chosen = random(ideal, y0, generator)
    k, s = 3, states.sigma(ideal, 3)
    root = ideal.schedule.sqrt_alpha_bar[k]
    shifted = y0 + s * (1.0 * chosen.axes[:, 0] - 0.5 * chosen.axes[:, 1]) / root
    found = slices.energy_slices(ideal, problems, shifted, k, chosen, 2.0, 17)
    shape = slices.shape_of(found)
    np.testing.assert_allclose(shape.minimum, np.tile([-1.0, 0.5], (6, 1)), atol=1e-12)
    np.testing.assert_allclose(shape.minimum_distance, np.hypot(1, 0.5))
    # Lower than at (0, 0): the open disc of radius |(1, -0.5)| around (-1, 0.5).
    U, V = np.meshgrid(found.u, found.v)
    inside = (U + 1) ** 2 + (V - 0.5) ** 2 < 1.25 - 1e-9
    np.testing.assert_allclose(shape.below, inside.mean())
    np.testing.assert_allclose(shape.minimum_gap, -1.25 / 2)


def test_marks_have_the_coordinates_that_they_were_given(ideal, problems, generator):
    y0 = states.answers(ideal, problems)
    chosen = random(ideal, y0, generator)
    k, s = 5, states.sigma(ideal, 5)
    out = states.unit_directions(ideal, 6, generator=generator, like=y0)
    out = out - (out[:, None] * chosen.axes).sum(-1, keepdim=True).mul(chosen.axes).sum(1)
    out = torch.nn.functional.normalize(out, dim=-1)
    inside = 1.5 * chosen.axes[:, 0] - 0.25 * chosen.axes[:, 1] + 2.0 * out
    state = states.centre(ideal, y0, k) + s * inside
    path = torch.stack([state, states.centre(ideal, y0, k)], 1)
    found = slices.energy_slices(ideal, problems, y0, k, chosen, 2.0, 5, marks={"model": state, "path": path})
    np.testing.assert_allclose(found.marks["model"].u, 1.5)
    np.testing.assert_allclose(found.marks["model"].v, -0.25)
    np.testing.assert_allclose(found.marks["model"].out, 2.0)
    np.testing.assert_allclose(found.marks["model"].gap, (1.5**2 + 0.25**2 + 4) / 2)
    assert found.marks["path"].u.shape == (6, 2)
    np.testing.assert_allclose(found.marks["path"].u[:, 1], 0, atol=1e-12)


def test_axes_are_orthonormal_and_in_the_space_of_states(algebraic, problems, generator):
    y0 = states.answers(algebraic, problems)
    path = states.around(algebraic, y0, 2, 1.0, 8, generator)
    for chosen in (
        slices.random_directions(algebraic, y0, generator),
        slices.gradient_directions(algebraic, problems, y0, 2, generator, 32),
        slices.path_directions(algebraic, y0, 2, path, generator),
    ):
        eye = torch.eye(2, dtype=torch.float64).expand(6, 2, 2)
        torch.testing.assert_close(chosen.axes @ chosen.axes.mT, eye)
        torch.testing.assert_close(algebraic.coordinates.project(chosen.axes), chosen.axes)


def test_gradient_axes_find_the_steepest_directions(algebraic, problems, generator):
    """Gradients of the algebraic energy at noise ε are σ H ε: the axes are H's first two."""
    y0 = states.answers(algebraic, problems)
    chosen = slices.gradient_directions(algebraic, problems, y0, 6, generator, 4000)
    H = algebraic.hessian(problems, y0, 6)
    curvature = torch.linalg.eigvalsh(H)
    along = ((chosen.axes @ H) * chosen.axes).sum(-1)
    torch.testing.assert_close(along[:, 0], curvature[:, -1], rtol=0.01, atol=0)
    share = curvature[:, -1] ** 2 / (curvature**2).sum(-1)
    torch.testing.assert_close(chosen.share[:, 0], share, rtol=0.1, atol=0)


def test_few_gradients_have_the_axes_of_their_singular_vectors(algebraic, problems, generator):
    y0 = states.answers(algebraic, problems)
    state = generator.get_state()
    chosen = slices.gradient_directions(algebraic, problems, y0, 6, generator, 7)
    generator.set_state(state)
    y, _ = states.noised(algebraic, y0, 6, 7, generator)
    g = algebraic.gradient(problems, y, 6)
    _, size, axes = torch.linalg.svd(g - g.mean(1, keepdim=True), full_matrices=False)
    overlap = (chosen.axes * axes[:, :2]).sum(-1).abs()
    torch.testing.assert_close(overlap, torch.ones(6, 2, dtype=torch.float64))
    share = size[:, :2] ** 2 / size.pow(2).sum(-1, keepdim=True)
    torch.testing.assert_close(chosen.share, share)


def test_a_dead_gradient_still_has_a_plane(problems, schedule, generator):
    flat = Quadratic(Coordinates(4), schedule, torch.zeros(16, 16), torch.zeros(16))
    y0 = torch.zeros(6, 16, dtype=torch.float64)
    for samples in (4, 64):
        axes = slices.gradient_directions(flat, problems, y0, 2, generator, samples).axes
        torch.testing.assert_close(axes @ axes.mT, torch.eye(2).double().expand(6, 2, 2))


def test_path_axes_contain_entry_and_bend(ideal, problems, generator):
    y0 = states.answers(ideal, problems)
    basis = slices.random_directions(ideal, y0, generator).axes
    s = states.sigma(ideal, 4)
    middle = states.centre(ideal, y0, 4)
    entry, bend = middle + 3 * s * basis[:, 0], middle + s * (basis[:, 0] + 2 * basis[:, 1])
    path = torch.stack([entry, bend, middle], 1)
    chosen = slices.path_directions(ideal, y0, 4, path, generator)
    u, v, out = slices.in_plane(ideal, y0, 4, chosen, path)
    np.testing.assert_allclose(out, 0, atol=1e-9)
    np.testing.assert_allclose(u[:, 0], 3)
    np.testing.assert_allclose(np.abs(v[:, 1]), 2)
    torch.testing.assert_close(chosen.share.sum(-1), torch.ones(6, dtype=torch.float64))


def test_a_straight_or_resting_path_still_has_a_plane(ideal, problems, generator):
    y0 = states.answers(ideal, problems)
    middle = states.centre(ideal, y0, 4)
    straight = torch.stack([middle + 0.1, middle + 0.05, middle], 1)
    resting = middle[:, None].expand(-1, 3, -1)
    for path in (straight, resting):
        chosen = slices.path_directions(ideal, y0, 4, path, generator)
        eye = torch.eye(2, dtype=torch.float64).expand(6, 2, 2)
        torch.testing.assert_close(chosen.axes @ chosen.axes.mT, eye)


def test_problems_come_out_the_same_in_small_batches(algebraic, problems, generator):
    y0 = states.answers(algebraic, problems)
    chosen = random(algebraic, y0, generator)
    whole = slices.energy_slices(algebraic, problems, y0, 1, chosen, 2.0, 9)
    parts = slices.energy_slices(algebraic, problems, y0, 1, chosen, 2.0, 9, states_per_call=100)
    np.testing.assert_allclose(whole.gap, parts.gap, rtol=1e-12, atol=1e-12)


def test_an_even_grid_has_no_centre(ideal, problems, generator):
    y0 = states.answers(ideal, problems)
    with pytest.raises(ValueError, match="odd"):
        slices.energy_slices(ideal, problems, y0, 1, random(ideal, y0, generator), 2.0, 10)
