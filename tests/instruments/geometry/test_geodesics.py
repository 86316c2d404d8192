"""Energies along geodesics: equal distances, lowest points, convexity."""

import numpy as np
import pytest
import torch

from ired.instruments.core import states
from ired.instruments.core.random_directions import rotations
from ired.instruments.geometry import geodesics, spd_states
from ired.instruments.geometry.known_answers_geodesics import symmetric_inverse
from ired.instruments.geometry.metrics import METRICS

LINE = np.linspace(0, 1, 9)


@pytest.fixture
def answers(problems):
    return symmetric_inverse(problems)


def test_curves_end_at_a_near_target(answers, generator):
    X = spd_states.perturbed(answers, 0.3, 1, generator)[0][:, 0]
    drawn = geodesics.geodesic_curves("X", answers, X, np.inf, LINE)
    assert drawn.points.shape == (4, 6, 9, 4, 4) and drawn.metrics == tuple(METRICS)
    torch.testing.assert_close(drawn.points[:, :, -1], X.expand(4, -1, -1, -1), atol=1e-8, rtol=0)
    torch.testing.assert_close(drawn.points[:, :, 0], answers.expand(4, -1, -1, -1), atol=1e-12, rtol=0)
    np.testing.assert_allclose(drawn.t[..., -1], 1, atol=1e-8)
    for name, length in zip(drawn.metrics, drawn.length, strict=True):
        np.testing.assert_allclose(length, METRICS[name].distance(answers, X), atol=1e-7)


def test_no_metric_gets_further_than_another(answers, problems):
    drawn = geodesics.geodesic_curves("A", answers, problems, 0.4, LINE**2)
    away = (drawn.points - answers[:, None]).flatten(-2).norm(dim=-1)
    np.testing.assert_allclose(away, np.broadcast_to(0.4 * LINE**2, away.shape), atol=1e-9)
    assert (np.diff(drawn.t) > 0).all()
    straight = drawn.metrics.index("Euclidean")
    np.testing.assert_allclose(drawn.departure[straight], 0, atol=1e-8)
    # The curves are different ones all the same.
    assert (drawn.departure[:straight] > 0.01).all()


def test_points_lie_on_the_geodesic(answers, problems):
    drawn = geodesics.geodesic_curves("A", answers, problems, 1.0, LINE)
    for i, name in enumerate(drawn.metrics):
        times = torch.as_tensor(drawn.t[i, 2])
        path = METRICS[name].geodesic(answers[2], problems[2], times)
        torch.testing.assert_close(drawn.points[i, 2], path, atol=1e-9, rtol=1e-9)


def test_what_is_not_positive_definite_is_named(answers):
    wrong = answers.clone()
    wrong[3] -= 10 * torch.eye(4)
    with pytest.raises(ValueError, match="3 is not positive definite"):
        geodesics.geodesic_curves("wrong", answers, wrong, 0.1, LINE)


def test_straight_profiles_are_those_of_the_energy(network, problems, answers):
    k, target = 1, problems
    drawn = geodesics.geodesic_curves("A", answers, target, 0.5, LINE)
    seen = geodesics.profiles(network, problems, drawn, [k])
    way = (target - answers) / (target - answers).flatten(1).norm(dim=1)[:, None, None]
    Y = answers[:, None] + 0.5 * torch.as_tensor(LINE)[:, None, None] * way[:, None]
    y = network.schedule.sqrt_alpha_bar[k] * network.coordinates.encode(Y)
    E = network.energy(problems, y, k)
    gap = (E - E[:, :1]) / states.sigma(network, k)
    straight = drawn.metrics.index("Euclidean")
    np.testing.assert_allclose(seen.gap[0, straight], gap.detach(), atol=1e-8)
    assert seen.rise.shape == (1, 4, 6)
    assert len(seen.columns()["rise"]) == 24 and set(seen.columns()["metric"]) == set(METRICS)


def test_profiles_do_not_depend_on_how_many_are_seen_at_once(network, problems, answers, monkeypatch):
    drawn = geodesics.geodesic_curves("A", answers, problems, 0.5, LINE)
    whole = geodesics.profiles(network, problems, drawn, [0])
    monkeypatch.setattr(spd_states, "STATES", 50)
    np.testing.assert_allclose(geodesics.profiles(network, problems, drawn, [0]).gap, whole.gap, atol=1e-9)


def test_lowest_point_of_a_straight_line_is_the_projection(ideal, problems, answers, generator):
    X, Z = (spd_states.perturbed(answers, 0.5, 1, generator)[0][:, 0] for _ in range(2))
    drawn = geodesics.geodesic_curves("Z", X, Z, np.inf, np.linspace(0, 1, 33), ["Euclidean"])
    seen = geodesics.profiles(ideal, problems, drawn, [2])
    way = Z - X
    share = ((answers - X) * way).sum((1, 2)) / way.pow(2).sum((1, 2))
    np.testing.assert_allclose(seen.position[0, 0], share, atol=1e-6)
    radius = spd_states.symmetric_noise_radius(ideal, 2)
    np.testing.assert_allclose(seen.minimum[0, 0] * radius, share * way.flatten(1).norm(dim=1), atol=1e-6)


def test_lowest_points_of_planted_profiles():
    r = np.linspace(0, 2, 11)[None, None]
    gap = np.concatenate([(r - 0.73) ** 2 - 0.73**2, r, -r, 1e-14 * np.cos(3 * r)])
    where, depth = geodesics._lowest(np.broadcast_to(r, gap.shape), gap, np.full(gap.shape[:2], 1e-12))
    np.testing.assert_allclose(where[:, 0], [0.73, 0, 2, 0], atol=1e-12)
    np.testing.assert_allclose(depth[:, 0], [-(0.73**2), 0, -2, 0], atol=1e-12)


def test_points_below_the_straight_line_are_counted(ideal, problems, answers):
    drawn = geodesics.geodesic_curves("A", answers, problems, 0.4, LINE)
    seen = geodesics.profiles(ideal, problems, drawn, [0])
    np.testing.assert_array_equal(seen.lower, 0.5)
    gap = seen.gap.copy()
    gap[:, 0, :, 1:] -= 1
    gap[:, 1, :, 5:] -= 1
    below = geodesics._below_straight(drawn, gap)
    np.testing.assert_array_equal(below[:, 0], 1)
    np.testing.assert_array_equal(below[:, 1], 0.75)
    shape = seen.shape()
    assert len(shape["middle"]) == 4 * 9
    np.testing.assert_allclose(shape["middle"], np.tile(LINE**2, 4), atol=1e-8)


def test_straight_convexity_of_the_ideal_energy_is_one(ideal, problems, answers, generator):
    X, _ = spd_states.perturbed(answers, 0.5, 10, generator)
    seen = geodesics.geodesic_convexity(ideal, problems, "noised", X[:, :5], X[:, 5:], [0, 3])
    straight = seen.metrics.index("Euclidean")
    np.testing.assert_allclose(seen.bend[:, straight], 1, atol=1e-9)
    assert seen.share.shape == (2, 4, 6) and (seen.share[:, straight] == 1).all()
    assert len(seen.columns()["share"]) == 48


def test_concave_energies_are_seen(problems, answers, ideal, generator):
    class Upside(type(ideal)):
        def energy(self, A, y, k):
            return -super().energy(A, y, k)

    X, _ = spd_states.perturbed(answers, 0.5, 4, generator)
    seen = geodesics.geodesic_convexity(
        Upside(ideal.coordinates, ideal.schedule), problems, "noised", X[:, :2], X[:, 2:], [0]
    )
    straight = seen.metrics.index("Euclidean")
    assert (seen.share[0, straight] == 0).all()
    np.testing.assert_allclose(seen.bend[0, straight], -1, atol=1e-9)


def test_the_turned_control_is_bent_as_much_and_as_far_away(network, ideal, problems, answers, generator):
    drawn = geodesics.geodesic_curves("A", answers, problems, 0.4, LINE)
    R = rotations(6, 4, generator)
    torch.testing.assert_close(R @ R.mT, torch.eye(4).double().expand(6, 4, 4))
    control = geodesics.turned_curves(drawn, R)
    assert control.metrics == (*METRICS, "turned") and control.points.shape[0] == 5
    away = (control.points[-1] - answers[:, None]).flatten(-2).norm(dim=-1)
    np.testing.assert_allclose(away, np.broadcast_to(0.4 * LINE, away.shape), atol=1e-9)
    same = geodesics.turned_curves(drawn, torch.eye(4).double().expand(6, 4, 4))
    torch.testing.assert_close(same.points[-1], drawn.points[0], atol=1e-9, rtol=0)
    seen = geodesics.profiles(ideal, problems, control, [0])
    np.testing.assert_allclose(seen.rise, 1, atol=1e-6)
    np.testing.assert_array_equal(seen.lower, 0.5)
    assert not np.allclose(*geodesics.profiles(network, problems, control, [0]).gap[0, [0, -1]])
