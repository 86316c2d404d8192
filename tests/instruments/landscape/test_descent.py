"""Descents end where the energy says that they must."""

import torch

from ired.instruments.core import states
from ired.instruments.landscape.descent import descend
from ired.model.coordinates import Coordinates
from ired.model.reference import Quadratic


def test_every_octant_of_a_double_well_has_its_minimum(well):
    corners = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 3)
    start = well.coordinates.from_basis(corners * torch.tensor([0.3, 0.6, 1.8]).double())
    A = torch.eye(2, dtype=torch.float64)[None]
    ends = descend(well, A, start[None], 0)
    assert ends.converged.all()
    torch.testing.assert_close(well.coordinates.to_basis(ends.y[0]), corners, rtol=0, atol=1e-8)


def test_a_critical_point_is_not_left(well):
    saddle = torch.tensor([0.0, 1.0, -1.0], dtype=torch.float64)
    A = torch.eye(2, dtype=torch.float64)[None]
    ends = descend(well, A, well.coordinates.from_basis(saddle)[None, None], 0)
    assert ends.converged.all()
    torch.testing.assert_close(well.coordinates.to_basis(ends.y[0, 0]), saddle)


def test_newton_leaves_the_neighbourhood_of_a_saddle(well):
    start = torch.tensor([1e-6, 1.0, -1.0], dtype=torch.float64)
    A = torch.eye(2, dtype=torch.float64)[None]
    ends = descend(well, A, well.coordinates.from_basis(start)[None, None], 0)
    assert ends.converged.all()
    expected = torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64)
    torch.testing.assert_close(well.coordinates.to_basis(ends.y[0, 0]), expected)


def test_energy_never_rises_and_no_step_is_longer_than_the_stride(algebraic, problems, generator):
    y0 = states.answers(algebraic, problems)
    start = states.around(algebraic, y0, 2, 6.0, 4, generator)
    before = algebraic.energy(problems, start, 2)
    y = start
    for _ in range(6):
        ends = descend(algebraic, problems, y, 2, steps=1, newton=0, stride=0.5)
        moved = (ends.y - y).norm(dim=-1)
        assert (moved <= 0.5 * states.noise_radius(algebraic, 2) * (1 + 1e-9)).all()
        assert (ends.energy <= before).all()
        y, before = ends.y, ends.energy


def test_newton_finishes_an_ill_conditioned_bowl(algebraic, problems, generator):
    y0 = states.answers(algebraic, problems)
    start = states.around(algebraic, y0, 5, 3.0, 4, generator)
    ends = descend(algebraic, problems, start, 5, steps=20)
    assert ends.converged.all()
    middle = states.centre(algebraic, y0, 5)[:, None].expand_as(start)
    torch.testing.assert_close(ends.y, middle, rtol=0, atol=1e-8)


def test_a_nearly_flat_bowl_is_not_taken_for_its_bottom(problems, schedule, generator):
    """A thousandth of the usual gradients: the tolerance shrinks with them."""
    energy = Quadratic(Coordinates(4), schedule, 1e-3 * torch.eye(16), torch.zeros(16))
    start = torch.randn(6, 2, 16, generator=generator, dtype=torch.float64)
    ends = descend(energy, problems, start, 4, tolerance=1e-3)
    assert ends.converged.all()
    assert (ends.gradient <= 1e-6 * 10).all() and ends.y.abs().max() < 0.05


def test_patience_with_indefinite_hessians_ends(problems, schedule, generator):
    energy = Quadratic(Coordinates(4), schedule, -torch.eye(16), torch.zeros(16))
    start = torch.randn(6, 2, 16, generator=generator, dtype=torch.float64)
    radius = states.noise_radius(energy, 4)
    ends = descend(energy, problems, start, 4, steps=0, newton=50, patience=3, turns=1)
    moved = (ends.y - start).norm(dim=-1) / radius
    assert not ends.converged.any() and not ends.escaped.any()
    assert (moved <= 4 + 1e-9).all() and (moved > 0).all()


def test_small_batches_change_nothing(algebraic, problems, generator):
    y0 = states.answers(algebraic, problems)
    start = states.around(algebraic, y0, 5, 3.0, 4, generator)
    whole = descend(algebraic, problems, start, 5, steps=20)
    parts = descend(algebraic, problems, start, 5, steps=20, states_per_call=7, memory=200_000)
    torch.testing.assert_close(whole.y, parts.y, rtol=0, atol=1e-8)


def test_one_hessian_serves_while_gradients_fall_to_a_tenth(well, monkeypatch):
    asked = []
    hessian = type(well).hessian
    monkeypatch.setattr(type(well), "hessian", lambda self, A, y, k: asked.append(len(y)) or hessian(self, A, y, k))
    # 12z² − 4 changes by 6 % on the way to 1, and by more than a tenth from 1.1.
    A = torch.eye(2, dtype=torch.float64)[None]
    for near, hessians in ((1.02, 1), (1.1, 2)):
        asked.clear()
        start = torch.tensor([near, 1.0, -1.0], dtype=torch.float64)
        ends = descend(well, A, well.coordinates.from_basis(start)[None, None], 0, steps=0)
        assert ends.converged.all() and sum(asked) == hessians


def test_without_patience_the_first_indefinite_hessian_ends_newton(well, monkeypatch):
    start = torch.tensor([[1e-6, 1.0, -1.0], [0.9, 1.1, -1.0]], dtype=torch.float64)
    A = torch.eye(2, dtype=torch.float64)[None]
    monkeypatch.setattr(torch.linalg, "eigh", None)  # no step needs it
    ends = descend(well, A, well.coordinates.from_basis(start)[None], 0, patience=0)
    # Gradients lead the first away from its saddle, Newton finishes both.
    expected = torch.tensor([[1.0, 1.0, -1.0]] * 2, dtype=torch.float64)
    assert ends.converged.all()
    torch.testing.assert_close(well.coordinates.to_basis(ends.y[0]), expected)
