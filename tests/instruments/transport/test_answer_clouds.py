"""Clouds of answers against true ones: what is seen, what is not, and who is left out."""

import numpy as np
import pytest
import scipy.linalg
import torch

from ired.instruments.core.states import symmetric
from ired.instruments.geometry import metrics
from ired.instruments.transport import answer_clouds, distances
from ired.instruments.transport.answer_clouds import AFFINE, EUCLIDEAN, MEASURES, Yardstick


@pytest.fixture
def Y(generator):
    R = torch.randn(20 * 30, 3, 3, generator=generator, dtype=torch.float64)
    return (R @ R.mT / 3 + 0.3 * torch.eye(3)).unflatten(0, (20, 30))


@pytest.fixture(params=["Euclidean", "affine-invariant"])
def rule(request, Y):
    flat = request.param == "Euclidean"
    ground = answer_clouds.euclidean() if flat else answer_clouds.affine_invariant(Y[1])
    return Yardstick.of(ground, Y[0], Y[1], 2, 0.5, 30)


def test_affine_invariant_costs_are_the_metric_and_congruence_leaves_them(Y, generator):
    X, Z = Y[0, :6], Y[1, :8]
    cost = answer_clouds.affine_squared(X, Z, pairs=16)
    known = [[(np.log(scipy.linalg.eigvalsh(z, x)) ** 2).sum() for z in Z.numpy()] for x in X.numpy()]
    np.testing.assert_allclose(cost, known, atol=1e-10)
    G = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    again = answer_clouds.affine_squared(G @ X @ G.mT, G @ Z @ G.mT)
    np.testing.assert_allclose(again, cost, atol=1e-8)
    assert distances.exact(again) == pytest.approx(distances.exact(cost), abs=1e-9)


def test_logarithms_at_the_mean_are_isometric_from_there(Y):
    ground = answer_clouds.affine_invariant(Y[1])
    mean = metrics.METRICS["affine-invariant"].mean(Y[1])
    seen = ground.points(Y[0]).norm(dim=-1)
    torch.testing.assert_close(seen, metrics.METRICS["affine-invariant"].distance(mean, Y[0]))
    assert ground.points(Y[1]).mean(0).abs().max() < 1e-9


def test_the_same_cloud_is_at_no_distance(rule):
    seen = rule.distances(rule.truths)
    assert list(seen) == list(MEASURES)
    np.testing.assert_allclose(list(seen.values()), 0, atol=2e-5)


def test_a_shift_is_the_distance_of_every_euclidean_measure(Y):
    rule = Yardstick.of(answer_clouds.euclidean(), Y[0], Y[1], 9, 0.5, 30)
    seen = rule.distances(Y[0] + 2 * torch.eye(3))
    # Every eigenvalue moves by 2, the matrix by 2‖I‖ = 2√3.
    assert seen["spectra"] == pytest.approx(2, abs=1e-9)
    for measure in MEASURES[1:]:
        assert seen[measure] == pytest.approx(2 * 3**0.5, abs=1e-5), measure
    np.testing.assert_allclose(rule.ranks(Y[0] + 2 * torch.eye(3)), 2, atol=1e-9)


def test_a_scaling_is_the_distance_of_affine_invariant_measures(Y):
    rule = Yardstick.of(answer_clouds.affine_invariant(Y[1]), Y[0], Y[1], 6, 0.5, 30)
    seen = rule.distances(np.e * Y[0])
    assert seen["spectra"] == pytest.approx(1, abs=1e-9)
    for measure in MEASURES[1:]:
        assert seen[measure] == pytest.approx(3**0.5, abs=1e-5), measure


def test_the_null_tells_a_change_from_none(rule, Y):
    rows = answer_clouds.compare_clouds(rule, {"scaled": 1.7 * Y[2], "same": Y[3]}, Y[4:])
    seen = {(row["answers"], row["measure"]): row for row in rows}
    for measure in MEASURES:
        scaled, same = seen["scaled", measure], seen["same", measure]
        assert scaled["p"] == pytest.approx(1 / 17) and scaled["distance"] > scaled["high"]
        assert scaled["null"] == same["null"] and scaled["ratio"] > same["ratio"]
        assert scaled["adjusted"] >= scaled["p"]
    assert np.mean([seen["same", m]["p"] for m in MEASURES]) > 0.1
    ranks = answer_clouds.by_rank(rule, {"same": Y[3]}, Y[4:])
    assert [row["rank"] for row in ranks] == [0, 1, 2]
    assert all(row["low"] <= row["null"] <= row["high"] for row in ranks)


def test_what_is_not_spd_is_counted_and_left_out_where_it_has_no_distance(Y):
    cloud = Y[2].clone()
    cloud[3] -= 9 * torch.eye(3)
    cloud[5] += torch.tensor([[0.0, 0.1, 0], [-0.1, 0, 0], [0, 0, 0]])
    assert answer_clouds.definite(cloud).tolist() == [i != 3 for i in range(30)]
    assert 0 < answer_clouds.asymmetry(cloud) < 0.1
    found = answer_clouds.answer_cloud_tables({"cloud": cloud, "none": -Y[3]}, Y[0], Y[1], Y[4:8], 2)
    table = found["answers"].set_index(["cost", "answers"])
    assert set(table.loc[EUCLIDEAN].index) == {"cloud", "none"}
    assert set(table.loc[AFFINE].index) == {"cloud"}
    assert set(table.loc[(EUCLIDEAN, "cloud"), "left_out"]) == {0}
    assert set(table.loc[(AFFINE, "cloud"), "left_out"]) == {1}
    assert set(table.loc[(AFFINE, "cloud"), "points"]) == {29}
    assert set(found["ranks"]["cost"]) == set(found["entropy"]["cost"]) == {EUCLIDEAN, AFFINE}
    assert (found["entropy"]["entropic"] > found["entropy"]["exact"]).all()
    with pytest.raises(ValueError, match="true answer 3 is not positive definite"):
        answer_clouds.affine_invariant(symmetric(cloud))
