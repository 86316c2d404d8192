"""Transport between clouds: closed forms, POT itself, and what is refused."""

import numpy as np
import ot
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from ired.instruments.geometry import metrics
from ired.instruments.transport import distances


@pytest.fixture
def clouds(generator):
    return torch.randn(2, 40, 3, generator=generator, dtype=torch.float64)


def covariance(*shape, generator):
    R = torch.randn(*shape, generator=generator, dtype=torch.float64)
    return R @ R.mT + 0.1 * torch.eye(shape[-1])


def test_costs_are_squared_distances_and_keep_small_ones(clouds):
    X, Y = clouds
    cost = distances.squared(X, Y)
    np.testing.assert_allclose(cost, ot.dist(X.numpy(), Y.numpy()), rtol=1e-10)
    near = distances.squared(X, X + 1e-9)
    np.testing.assert_allclose(np.diagonal(near), 3e-18, rtol=1e-5)


def test_a_shifted_cloud_is_its_shift_away(clouds):
    X, shift = clouds[0], torch.tensor([3.0, 0.0, 4.0]).double()
    costs = distances.squared(X, X.flip(0) + shift), distances.squared(X, X)
    assert distances.exact(costs[0]) == pytest.approx(5, abs=1e-12)
    assert distances.gaussian(X, X + shift) == pytest.approx(5, abs=1e-8)
    assert distances.debiased(costs[0], costs[1], costs[1], 0.5) == pytest.approx(5, abs=1e-5)


def test_exact_transport_is_the_best_assignment(clouds):
    cost = distances.squared(*clouds)
    rows, columns = linear_sum_assignment(cost)
    assert distances.exact(cost) == pytest.approx(cost[rows, columns].mean() ** 0.5, abs=1e-12)


def test_of_numbers_transport_sorts(clouds):
    x, y = (cloud.numpy() for cloud in clouds)
    seen = distances.sorted_line(x, y)
    np.testing.assert_allclose(seen, np.sqrt(ot.wasserstein_1d(x, y, p=2)), rtol=1e-10)
    line = distances.squared(clouds[0][:, :1], clouds[1][:, :1])
    assert distances.sorted_line(x[:, 0], y[:, 0]) == pytest.approx(distances.exact(line), abs=1e-12)
    # Unequal numbers: one point at 0 to two at 1 and 3.
    assert distances.sorted_line(np.zeros(1), np.array([1.0, 3.0])) == pytest.approx(5**0.5)


@pytest.mark.slow
def test_entropy_falls_to_exact_transport(clouds):
    cost = distances.squared(*clouds)
    own = [distances.squared(cloud, cloud) for cloud in clouds]
    least = distances.exact(cost)
    ladder = [distances.entropic(cost, epsilon) for epsilon in (9.0, 3.0, 1.0, 0.3)]
    assert ladder == sorted(ladder, reverse=True) and ladder[-1] > least**2
    debiased = [distances.debiased(cost, *own, epsilon) for epsilon in (9.0, 1.0, 0.3)]
    errors = [abs(seen - least) for seen in debiased]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.5 * errors[0]
    # Nine points, where the way to no entropy at all is short.
    few = distances.squared(clouds[0][:9], clouds[1][:9])
    assert distances.entropic(few, 0.03) == pytest.approx(distances.exact(few) ** 2, rel=0.1)


@pytest.mark.slow
def test_entropic_costs_are_pots(clouds, monkeypatch):
    cost, X = distances.squared(*clouds), clouds[0]
    known = ot.solve(cost, reg=0.5, reg_type="KL", method=None).value
    assert distances.entropic(cost, 0.5) == pytest.approx(float(known), rel=1e-6)
    plain = distances.entropic(cost, 0.5)
    monkeypatch.setattr(distances, "EXPONENT", 1.0)  # the logarithmic iteration, for costs far above ε
    assert distances.entropic(cost, 0.5) == pytest.approx(plain, abs=1e-9)
    # A shift is its squared length of cost, plus twice its product with the means' difference: however far.
    far, Y = torch.tensor([300.0, 0, 0], dtype=torch.float64), clouds[1]
    more = far.pow(2).sum() + 2 * (far * (Y - X).mean(0)).sum()
    assert distances.entropic(distances.squared(X, Y + far), 0.5) == pytest.approx(plain + more.item())
    own = distances.squared(X, X)
    assert distances.entropic_to_itself(own, 0.5) == pytest.approx(distances.entropic(own, 0.5), abs=1e-8)
    assert distances.debiased(own, own, own, 0.5) == pytest.approx(0, abs=1e-5)


def test_gaussians_are_at_the_bures_distance(generator, clouds):
    C, D = covariance(2, 5, 4, 4, generator=generator)
    known = metrics.METRICS["Bures-Wasserstein"].distance(C, D)
    torch.testing.assert_close(distances.bures(C, D), known, rtol=0, atol=1e-8)
    X, Y = clouds[0], 0.5 * clouds[1] + 1
    moments = [(Z.mean(0).numpy(), np.cov(Z.numpy().T)) for Z in (X, Y)]
    (m, S), (l, T) = moments
    assert distances.gaussian(X, Y) == pytest.approx(
        float(ot.gaussian.bures_wasserstein_distance(m, l, S, T)), abs=1e-8
    )


def test_samples_of_gaussians_are_near_it(generator):
    roots = torch.linalg.cholesky(covariance(2, 2, 2, generator=generator))
    draws = torch.randn(2, 800, 2, generator=generator, dtype=torch.float64)
    X, Y = draws[0] @ roots[0].mT, draws[1] @ roots[1].mT + torch.tensor([2.0, 0.0])
    known = (distances.bures(*(root @ root.mT for root in roots)) ** 2 + 4).sqrt().item()
    assert distances.exact(distances.squared(X, Y)) == pytest.approx(known, rel=0.1)


def test_singular_covariances_have_a_distance(clouds):
    flat = torch.cat([clouds, torch.zeros(2, 40, 2)], -1)
    assert distances.gaussian(*flat) == pytest.approx(distances.gaussian(*clouds), abs=1e-9)
    C = torch.diag(torch.tensor([1.0, 0.0])).double()
    assert distances.bures(C, C.flip(0, 1)).item() == pytest.approx(2**0.5)


def test_axes_are_fitted_once_and_say_what_they_miss(generator):
    X = torch.randn(500, 4, generator=generator, dtype=torch.float64)
    X = X * torch.tensor([9.0, 3.0, 1.0, 0.0]) + 5
    axes = distances.principal_axes(X, 2)
    torch.testing.assert_close(axes.rows @ axes.rows.mT, torch.eye(2, dtype=torch.float64))
    assert axes.rows[0, 0].abs() > 0.99
    assert axes.outside(X) == pytest.approx(1 - axes.share.sum())
    assert axes(X).shape == (500, 2) and len(distances.principal_axes(X, 9).rows) == 4
    assert distances.principal_axes(X, 4).outside(X) == pytest.approx(0, abs=1e-9)


def test_what_cannot_be_transported_is_refused(clouds):
    cost = distances.squared(*clouds)
    broken = cost.copy()
    broken[3, 5] = np.nan
    with pytest.raises(ValueError, match="between points 3 and 5 is not finite"):
        distances.exact(broken)
    with pytest.raises(ValueError, match="at most 1000 points, not 1001"):
        distances.exact(np.zeros((2, 1001)))
    with pytest.raises(ValueError, match="rows and columns"):
        distances.exact(np.zeros((0, 3)))
    with pytest.raises(ValueError, match="above 0"):
        distances.entropic(cost, 0.0)


def test_an_iteration_without_end_is_named(clouds, monkeypatch):
    cost = distances.squared(*clouds)
    monkeypatch.setattr(distances, "SINKHORN_STEPS", 5)
    with pytest.raises(RuntimeError, match="misplaces .* of the mass after 5 steps"):
        distances.entropic(cost, 0.01)
    with pytest.raises(RuntimeError, match="not converged after 5 steps"):
        distances.entropic_to_itself(distances.squared(clouds[0], clouds[0]), 0.1)
