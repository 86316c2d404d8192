"""Transport along the annealing path: straight lines, detours, crossings, and the sampler itself."""

import numpy as np
import pytest
import torch

from ired.instruments.core import states, trajectories
from ired.instruments.transport import annealing, distances
from ired.model.sampling import AnnealedSampler


def measured(Z, truths=None, blocks=2, largest=100):
    truths = Z[-1] if truths is None else truths
    axes = distances.principal_axes(truths, Z.shape[-1])
    return annealing.annealing_transport(np.arange(len(Z))[::-1], Z, truths, axes, blocks, largest)


@pytest.fixture
def X(generator):
    return torch.randn(24, 3, generator=generator, dtype=torch.float64)


def test_moving_outwards_is_straight_and_optimal(X):
    seen = measured(torch.stack([X, 2 * X, 2.5 * X, 4 * X]), truths=5 * X)
    assert seen.straightness == pytest.approx(1) and seen.gaussian_straightness == pytest.approx(1)
    assert seen.optimality == pytest.approx(1)
    np.testing.assert_allclose(seen.particle_straightness, 1)
    size = X.pow(2).sum(1).mean().sqrt().item()
    np.testing.assert_allclose(seen.steps, np.array([1, 0.5, 1.5]) * size)
    assert seen.matrix[-1, 0] == pytest.approx(4 * size)
    np.testing.assert_allclose(seen.cost, seen.optimal)
    assert seen.interval().low == pytest.approx(1)


def test_a_detour_is_not_straight(X):
    east, north = 3 * torch.eye(3).double()[0], 4 * torch.eye(3).double()[1]
    seen = measured(torch.stack([X, X + east, X + east + north]))
    assert seen.straightness == pytest.approx(5 / 7) and seen.gaussian_straightness == pytest.approx(5 / 7)
    np.testing.assert_allclose(seen.blocks, 5 / 7)
    np.testing.assert_allclose(seen.particle_straightness, 5 / 7)
    assert seen.optimality == pytest.approx(1)


def test_particles_may_go_straight_and_cross(X):
    turned = X.roll(5, 0)
    seen = measured(torch.stack([X, (X + turned) / 2, turned]))
    np.testing.assert_allclose(seen.particle_straightness, 1)
    # The cloud is where it was: nothing had to be carried.
    assert seen.straightness == pytest.approx(0, abs=1e-6) and seen.optimality < 0.7
    assert seen.cost[-1] > seen.optimal[-1]


def test_what_does_not_move_is_straight(X):
    seen = measured(X.expand(4, -1, -1))
    assert seen.straightness == seen.optimality == 1
    np.testing.assert_array_equal(seen.particle_straightness, 1)
    assert seen.interval().low == 1


def test_too_little_is_refused(X):
    with pytest.raises(ValueError, match="at least three stations, not 2"):
        measured(torch.stack([X, 2 * X]))
    with pytest.raises(ValueError, match="13 blocks need at least 26 particles, not 24"):
        measured(torch.stack([X, 2 * X, 3 * X]), blocks=13)


def walked(energy, A, start):
    return trajectories.record(AnnealedSampler(inner_steps=2, clip=9.0), energy, A, start)


@pytest.fixture
def start(ideal, problems, generator):
    return states.noise(ideal, len(problems), generator=generator, like=problems)


def test_stations_are_where_landscapes_are_left(ideal, problems, start):
    found = walked(ideal, problems, start)
    at = annealing.stations(ideal, found)
    assert found.landscape[at].tolist() == [8, 7, 6, 5, 4, 3, 2, 1, 0]  # √ᾱ_9 = 0.005 is not readable
    assert {found.inner[i] for i in at} == {2}
    state, clean = (annealing.clouds(ideal, found, scale) for scale in ("state", "clean"))
    torch.testing.assert_close(clean[-1], ideal.coordinates.to_basis(found.end))
    torch.testing.assert_close(state[0], clean[0] * ideal.schedule.sqrt_alpha_bar[8])
    with pytest.raises(ValueError, match="one of clean, state, not log"):
        annealing.clouds(ideal, found, "log")


def test_the_ideal_energys_path_is_straight(ideal, network, problems, start):
    ways = {"ideal": walked(ideal, problems, start), "network": walked(network, problems, start)}
    y0 = states.answers(ideal, problems)
    axes = distances.principal_axes(ideal.coordinates.to_basis(y0), 2)
    found = annealing.annealing_by_scale(ideal, ways, y0, axes, 2, 6)
    table = annealing.straightness_table(found).set_index(["answers", "scale"])
    own = table.loc["ideal"]
    for column in ("straightness", "gaussian", "particle", "optimality", "low", "high"):
        np.testing.assert_allclose(own[column], 1, atol=1e-6, err_msg=column)
    assert own.loc["clean", "length"] < 1e-9 < own.loc["state", "length"]
    assert own.loc["clean", "to_the_truth"] < 1e-9
    assert (table.loc["network", "straightness"] < 1 - 1e-4).all()
    steps = annealing.step_table(found)
    assert len(steps) == 4 * 8 and set(steps["from"] - steps["to"]) == {1}
    assert (steps["particles"] >= steps["optimal"] - 1e-9).all()
