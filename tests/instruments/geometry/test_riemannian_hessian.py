"""Riemannian gradients and Hessians of energies, against differences along geodesics."""

import numpy as np
import pytest
import torch

from ired.instruments.core import states
from ired.instruments.geometry import riemannian_hessian, spd_states
from ired.instruments.geometry.known_answers_geodesics import symmetric_inverse
from ired.instruments.geometry.metrics import METRICS
from ired.instruments.landscape import hessian
from ired.model.reference import PredictorEnergy

METRIC_ROW = {name: row for row, name in enumerate(METRICS)}


@pytest.fixture
def answers(problems):
    return symmetric_inverse(problems)


@pytest.fixture
def places(answers, generator):
    return spd_states.perturbed(answers, 0.2, 1, generator)[0][:, 0]


@pytest.mark.parametrize("name", METRICS)
def test_hessians_are_second_differences_along_geodesics(network, problems, places, name, generator):
    metric, k, h = METRICS[name], 1, 2e-3
    V = spd_states.symmetric_noise(places, 1, generator)[:, 0]
    V = V / metric.inner(places, V, V).sqrt()[:, None, None]
    times = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0], dtype=torch.float64) * h
    line = metric.exp(places[:, None], times[:, None, None] * V[:, None])
    E = spd_states.energies(network, problems, line, k).detach() / states.sigma(network, k)
    second = (E @ torch.tensor([-1.0, 16.0, -30.0, 16.0, -1.0]).double()) / (12 * h**2)
    first = (E @ torch.tensor([1.0, -8.0, 0.0, 8.0, -1.0]).double()) / (12 * h)
    with torch.no_grad():
        G, H, _ = riemannian_hessian.derivatives(network, problems, places, k)
    H = metric.hessian(places, G, H)
    v = metric.inner(places[:, None], V[:, None], metric.basis(places))
    scale = second.abs().max().item()
    np.testing.assert_allclose((v[:, None] @ H @ v[..., None])[:, 0, 0], second, atol=1e-6 * scale)
    slope = metric.inner(places, metric.raise_index(places, G), V)
    np.testing.assert_allclose(slope, first, atol=1e-8 * first.abs().max().item())


def test_the_euclidean_metric_gives_the_plain_hessian(network, problems, answers):
    landscapes = [0, 2]
    y = states.at_answers(network, network.coordinates.encode(answers), landscapes)
    plain = hessian.hessian_spectra(network, problems, y, landscapes).symmetric
    seen = riemannian_hessian.curvature(network, problems, answers, landscapes, "answer", ["Euclidean"])
    # Plain spectra count in states and are multiplied by σ_k, these count in matrices.
    unit = [spd_states.noise_scale(network, k) ** 2 for k in landscapes]
    values = seen.eigenvalues[:, 0] * np.array(unit)[:, None, None]
    np.testing.assert_allclose(values, plain, atol=1e-8 * np.abs(plain).max())
    np.testing.assert_array_equal(seen.connection, 0)


def test_shapes_columns_and_what_is_undefined(network, problems, answers, places):
    here = riemannian_hessian.curvature(network, problems, answers, [0, 4], "answer")
    there = riemannian_hessian.curvature(network, problems, places, [0, 4], "noised")
    assert here.eigenvalues.shape == (2, 4, 6, 10) and here.gradient.shape == (2, 4, 6)
    assert np.isnan(here.cosine).all() and np.isfinite(there.cosine).all()
    assert (np.abs(there.cosine) <= 1 + 1e-12).all()
    columns = there.columns()
    assert len(columns["log_condition"]) == 48 and set(columns["place"]) == {"noised"}
    assert set(columns["metric"]) == set(METRICS)
    for name in ("log_condition", "log_spread", "negative", "connection", "gradient", "asymmetric"):
        assert np.isfinite(columns[name]).all(), name
    assert (there.log_condition >= there.log_spread).all() and (there.log_spread >= 0).all()
    if network.coordinates.symmetric:
        assert (there.asymmetric < 1e-20).all()
    else:
        assert (there.asymmetric > 1e-3).all() and (there.asymmetric < 1).all()


def test_memory_does_not_change_what_is_seen(network, problems, places):
    whole = riemannian_hessian.curvature(network, problems, places, [0, 1], "noised")
    parts = riemannian_hessian.curvature(network, problems, places, [0, 1], "noised", memory=2**18)
    np.testing.assert_allclose(whole.eigenvalues, parts.eigenvalues, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(whole.cosine, parts.cosine, rtol=1e-9)


def test_a_matrix_outside_the_cone_and_single_precision_are_refused(network, problems, places):
    places = places.clone()
    places[2] -= 5 * torch.eye(4)
    with pytest.raises(ValueError, match="2 is not positive definite"):
        riemannian_hessian.curvature(network, problems, places, [0], "wrong")
    with pytest.raises(ValueError, match="float64"):
        riemannian_hessian.curvature(network, problems.float(), places.float(), [0], "single")


def test_negative_eigenvalues_are_counted(references, problems):
    size = references.ideal.coordinates.size
    steep = torch.ones(size, dtype=torch.float64)
    saddle = references.planted(-steep)
    Y = symmetric_inverse(references.A)
    seen = riemannian_hessian.curvature(saddle, references.A, Y, [0], "saddle", ["Euclidean"])
    assert (seen.negative == 1).all() and (seen.log_condition < 1e-9).all()


def test_the_curvature_of_a_round_bowl_around_a_prediction(coordinates, schedule, problems, answers):
    """m(A) = I/2 + A/10 shares A's eigenvectors: λᵢλⱼ + (λᵢ(λᵢ − mᵢ) + λⱼ(λⱼ − mⱼ))/2 by pairs, 1 without a metric."""
    units = torch.eye(coordinates.size, dtype=torch.float64)
    spread = torch.full((len(units),), 0.3).double()
    bowl = PredictorEnergy(coordinates, schedule, lambda A: torch.eye(4).to(A) / 2 + A / 10, units, spread)
    seen = riemannian_hessian.curvature(bowl, problems, answers, [0, 3], "answer")
    values = torch.linalg.eigvalsh(answers)
    pulled = values * (values - 0.5 - 1 / (10 * values))
    pairs = values[:, :, None] * values[:, None, :] + (pulled[:, :, None] + pulled[:, None, :]) / 2
    i, j = torch.triu_indices(4, 4)
    known = pairs[:, i, j].sort(-1).values.numpy()
    affine = seen.eigenvalues[:, METRIC_ROW["affine-invariant"]]
    steep = seen.eigenvalues[:, METRIC_ROW["Euclidean"]]
    np.testing.assert_allclose(steep, np.broadcast_to(steep[:, :1, :1], steep.shape), rtol=1e-9)
    np.testing.assert_allclose(affine / steep, np.broadcast_to(known, affine.shape), rtol=1e-7, atol=1e-9)
