"""What Phase 1's instruments show on a bowl around a plain prediction, in closed form: no finding about energies."""

import numpy as np
import pandas
import pytest
import torch

from ired.instruments.core import states
from ired.instruments.landscape import gradient_field, metrics, minima, slices, study
from ired.model.reference import PredictorEnergy

LANDSCAPES = (0, 4, 9)


def prediction(A):
    """A linear map of the problem."""
    return 2 * torch.eye(A.shape[-1], dtype=A.dtype) - A / 4


@pytest.fixture
def bowl(coordinates, schedule, generator):
    size = coordinates.size
    axes = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64)).Q
    return PredictorEnergy(coordinates, schedule, prediction, axes, torch.linspace(0.01, 1, size, dtype=torch.float64))


@pytest.fixture
def missed(bowl, problems):
    """Answers y₀ (P, d), and what the prediction misses of them in landscape k: √ᾱ_k (y₀ − m)."""
    y0 = states.answers(bowl, problems)
    e = y0 - bowl.coordinates.encode(prediction(problems))
    return y0, lambda k: states.centre(bowl, e, k)


def hessian(bowl, like, k):
    return bowl.hessian(None, like[:1], k)[0]


def test_slices_are_quadratic_of_one_curvature_and_tilted_by_what_is_missed(bowl, problems, missed, generator):
    y0, off = missed
    for k in LANDSCAPES:
        plane = slices.random_directions(bowl, y0[:1], generator)
        chosen = slices.Directions("random", plane.axes.expand(6, -1, -1), plane.share.expand(6, -1))
        shape = slices.shape_of(slices.energy_slices(bowl, problems, y0, k, chosen, extent=3.0, resolution=9))
        D, H = plane.axes[0], hessian(bowl, y0, k)
        curvature = np.linalg.eigvalsh(states.array(states.sigma(bowl, k) * D @ H @ D.mT))
        np.testing.assert_allclose(shape.curvature, np.tile(curvature, (6, 1)), rtol=1e-6)
        np.testing.assert_allclose(shape.fit, 1, rtol=1e-9)
        np.testing.assert_allclose(shape.slope, states.array((off(k) @ H @ D.mT).norm(dim=-1)), rtol=1e-6)


def test_the_gradient_is_one_linear_map_of_what_is_missed_and_of_the_way_from_the_answer(
    bowl, problems, missed, generator
):
    y0, off = missed
    for k in LANDSCAPES:
        state = generator.get_state()
        field = gradient_field.gradient_field(bowl, problems, y0, (k,), (0.5,), 4, generator)
        generator.set_state(state)
        u = states.unit_directions(bowl, 6, 4, generator=generator, like=y0)
        reach = 0.5 * states.noise_radius(bowl, k)
        g = (off(k)[:, None] + reach * u) @ hessian(bowl, y0, k)
        along = (g * u).sum(-1)
        np.testing.assert_allclose(field.cosine[0, 0], states.array(along / g.norm(dim=-1)), rtol=1e-9)
        np.testing.assert_allclose(field.radial[0, 0], states.array(along * states.sigma(bowl, k) / reach), rtol=1e-9)


def test_the_score_misses_what_the_prediction_leaves_unknown(bowl, problems, generator):
    """The mean of ᾱv/(ᾱv + σ²) over directions, where errors have the variances v that the bowl is told."""
    v, size = bowl.variances, bowl.coordinates.size
    A = problems[torch.arange(size) % 6]
    e = bowl.coordinates.from_basis((size * v).sqrt()[:, None] * bowl.axes.mT)  # their mean square is C, exactly
    y0 = bowl.coordinates.encode(prediction(A)) + e
    score = gradient_field.score_error(bowl, A, y0, LANDSCAPES, 400, generator)
    for error, k in zip(score.error.mean(-1), LANDSCAPES, strict=True):
        bar, sigma = bowl.schedule.alpha_bar[k].item(), states.sigma(bowl, k)
        # Means over size · 400 draws of a sum over size directions: spread by less than a hundredth.
        assert error == pytest.approx((bar * v / (bar * v + sigma**2)).mean().item(), rel=0.04)


def test_all_is_convex_and_every_descent_ends_in_the_prediction(bowl, problems, missed, generator):
    y0, off = missed
    convexity = metrics.convexity(bowl, problems, y0, LANDSCAPES, (0.3, 3.0), 8, generator)
    assert convexity.share.min() == convexity.rays.min() == convexity.positive.min() == 1
    sharpness = metrics.sharpness(bowl, problems, y0, LANDSCAPES, generator, radii=(1.0,))
    plain = gradient_field.descents(bowl, problems, y0, LANDSCAPES, (1.0,), 2, generator, steps=500, tolerance=1e-9)
    ends = minima.find_minima(bowl, problems, y0, LANDSCAPES, distances=(1.0, 30.0), starts=2, generator=generator)
    assert (ends.minima == 1).all() and (ends.saddles == 0).all() and (ends.basin == 1).all()
    assert ends.lowest_is_nearest.all()
    for i, k in enumerate(LANDSCAPES):
        known = states.array(off(k).norm(dim=-1)) / states.noise_radius(bowl, k)
        np.testing.assert_allclose(ends.nearest_distance[i], known, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(plain.distance[i, 0], np.tile(known[:, None], 2), rtol=1e-4, atol=1e-5)
        steep = states.sigma(bowl, k) * hessian(bowl, y0, k).trace().item() / bowl.coordinates.size
        np.testing.assert_allclose(sharpness.curvature[i], steep, rtol=1e-9)


def test_a_wrong_answer_costs_more_where_it_lies_farther_from_the_prediction(bowl, problems, missed, generator):
    y0, off = missed
    wrong = metrics.other_answers(y0, 2)
    gaps = metrics.energy_gaps(bowl, problems, y0, LANDSCAPES, {"other": wrong}, generator)
    for i, k in enumerate(LANDSCAPES):
        H = hessian(bowl, y0, k)
        away = states.centre(bowl, wrong - y0[:, None], k) + off(k)[:, None]
        rise = (((away @ H) * away).sum(-1) - ((off(k) @ H) * off(k)).sum(-1)[:, None]) / 2
        np.testing.assert_allclose(gaps.gap["other"][i], states.array(rise) / states.sigma(bowl, k), rtol=1e-8)


def ends_of(energy, minima=1, basin=1.0, nearest=(0.5, 0.5)):
    rows = [
        {"energy": energy, "landscape": k, "problem": p, "minima": minima, "basin_1": basin, "nearest_distance": d}
        for k in (0, 1)
        for p, d in enumerate(nearest)
    ]
    return pandas.DataFrame(rows)


def test_a_minimum_far_off_counts_as_one_that_does_not_exist():
    ends = pandas.concat([ends_of("trained", nearest=(0.5, 25.0, np.nan)), ends_of("affine", nearest=(3.0, 4.0, 5.0))])
    nearest = study.nearest_by_energy(ends)
    assert {name: values.tolist() for name, values in nearest.items()} == {
        "trained": [0.5, study.FARTHEST, study.FARTHEST],
        "affine": [3, 4, 5],
    }
    assert study.sharpest_means({"nearest": ("how near", nearest, False)})["nearest.affine"] == 4


def test_energies_with_one_basin_are_those_where_no_descent_ends_elsewhere():
    """Neither those with a second minimum, nor those with descents that did not end."""
    parts = [ends_of("trained", minima=2), ends_of("affine"), ends_of("untrained", basin=0.9), ends_of("regression")]
    assert study.with_one_basin(pandas.concat(parts)) == ["affine", "regression"]
