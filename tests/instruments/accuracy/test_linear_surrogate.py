"""An affine map explains what is affine, on problems that it was not fitted to, and nothing else."""

import numpy as np
import pytest
import torch

from ired.instruments.accuracy import linear_surrogate
from ired.instruments.core.directions import EVERYWHERE, STATE, Direction
from ired.instruments.core.states import array
from ired.instruments.dictionaries.sparse_autoencoder import given_dictionary
from ired.instruments.sanity import linear_surrogate_study


def drawn(count, generator, n=4):
    R = torch.rand(count, n, n, generator=generator, dtype=torch.float64) * 2 - 1
    return 2 * R @ R.mT + 0.5 * torch.eye(n, dtype=torch.float64)


def test_an_affine_model_is_fully_explained_and_nothing_is_left(generator):
    A = drawn(100, generator)
    X = linear_surrogate.surrogate_features(A, "A")
    T = X @ torch.randn(X.shape[1], 3, generator=generator, dtype=torch.float64) + 5
    seen = linear_surrogate.Explained.of(X, T, linear_surrogate.alternating_folds(100))
    share = seen.share()
    assert share.estimate == pytest.approx(1, abs=1e-9) and share.high - share.low < 1e-8
    assert seen.left.abs().max() < 1e-5 * T.std()


def test_folds_are_not_fitted_to(generator):
    """As many features as problems fit anything: only problems left out tell."""
    X = torch.randn(30, 29, generator=generator, dtype=torch.float64)
    T = torch.randn(30, 2, generator=generator, dtype=torch.float64)
    assert linear_surrogate.Explained.of(X, T, linear_surrogate.alternating_folds(30)).share().estimate < 0.3
    with pytest.raises(ValueError, match="two folds"):
        linear_surrogate.cross_fitted(X, T, np.zeros(30))


def test_a_map_of_other_problems_needs_no_more_than_one_of_these(generator):
    W = torch.randn(29, 2, generator=generator, dtype=torch.float64)
    X, others = (torch.randn(count, 29, generator=generator, dtype=torch.float64) for count in (5, 60))
    alone = linear_surrogate.Explained.of(X, X @ W, linear_surrogate.alternating_folds(5))
    held = linear_surrogate.Explained.of(X, X @ W, linear_surrogate.alternating_folds(5), (others, others @ W))
    assert held.left.abs().max() < 1e-5 < 1 < alone.left.abs().max()


def test_rows_of_a_problem_share_a_fold_when_told_so(generator):
    """Two equal rows of each problem: a map with free entries for each problem would know the other."""
    T = torch.randn(20, 1, generator=generator, dtype=torch.float64).repeat_interleave(2, 0)
    X = torch.eye(20, dtype=torch.float64).repeat_interleave(2, 0)
    fold = linear_surrogate.alternating_folds(20).repeat(2)
    assert linear_surrogate.Explained.of(X, T, fold).share().estimate < 0.1
    assert linear_surrogate.Explained.of(X, T, np.arange(40) % 2).share().estimate > 0.9


def test_the_mean_is_that_of_the_other_folds(generator):
    T = torch.arange(6.0, dtype=torch.float64)[:, None]
    fold = np.array([0, 1, 2, 0, 1, 2])
    assert array(linear_surrogate.other_fold_means(T, fold)).ravel() == pytest.approx([3, 2.5, 2, 3, 2.5, 2])


def test_features_need_what_they_are_of(generator):
    A = drawn(3, generator)
    assert linear_surrogate.surrogate_features(A, "A").shape == (3, 10)
    assert linear_surrogate.surrogate_features(A, "A, A²").shape == (3, 20)
    assert linear_surrogate.surrogate_features(A, "A, y", torch.zeros(3, 7)).shape == (3, 17)
    with pytest.raises(ValueError, match="states"):
        linear_surrogate.surrogate_features(A, "A, y")


def test_targets_that_do_not_vary_are_not_explained(generator):
    A = drawn(20, generator)
    X, T = linear_surrogate.surrogate_features(A, "A"), torch.ones(20, 2, dtype=torch.float64)
    seen = linear_surrogate.Explained.of(X, T, linear_surrogate.alternating_folds(20))
    assert seen.share().estimate == 0


def test_columns_have_shares_of_their_own(generator):
    A = drawn(80, generator)
    X, noise = linear_surrogate.surrogate_features(A, "A"), torch.randn(80, generator=generator, dtype=torch.float64)
    T = torch.stack([X[:, 0] + X[:, 3], noise, X[:, 1] + 0 * noise], 1)
    table = linear_surrogate.column_shares(["one", "noise", "two"], T, A)
    table = table[table["features"] == "A"].set_index("what")
    assert table["share"][["one", "two"]].to_numpy() == pytest.approx(1, abs=1e-6)
    assert table["share"]["noise"] < 0.3


def test_ranks_beyond_the_surrogate(generator):
    rng = np.random.default_rng(0)
    truth, other = rng.standard_normal((2, 50, 30))
    near = linear_surrogate.ordering(truth, truth, other)
    assert near.truth == pytest.approx(1) and near.left == pytest.approx(1)
    copied = linear_surrogate.ordering(other, truth, other)
    assert copied.surrogate == pytest.approx(1) and abs(copied.left).max() == 0
    mixed = linear_surrogate.ordering(truth + other, truth, other)
    assert mixed.left.mean() > mixed.truth.mean() > 0.5
    assert set(mixed.table()["what"]) == {"truth", "surrogate", "surrogate_truth", "left"}


def test_distances_are_from_where_a_landscape_has_its_answer(ideal, generator):
    y0 = torch.randn(2, ideal.coordinates.d, generator=generator, dtype=torch.float64)
    y = ideal.schedule.sqrt_alpha_bar[3] * y0[:, None].expand(-1, 3, -1)
    assert linear_surrogate.answer_distances(ideal, y, y0, 3).max() < 1e-12


def test_a_whole_study_of_a_network(network, generator):
    """Answers that are an affine map are found out; every direction and layer gets its rows."""
    A = drawn(60, generator)
    d = network.coordinates.d
    W = torch.randn(linear_surrogate.surrogate_features(A, "A").shape[1], d, generator=generator, dtype=torch.float64)
    axis = torch.eye(32, dtype=torch.float64)[0]
    directions = [
        Direction("one", "concept", "fc2", EVERYWHERE, "", 1.0, "", axis),
        Direction("two", "gradient", STATE, 3, "", 1.0, "", torch.ones(d, dtype=torch.float64)),
    ]
    mean = torch.zeros(32, dtype=torch.float64)
    whole = {"fc1": given_dictionary("all", torch.eye(32, dtype=torch.float64), mean, mean.new_ones(()))}
    found = linear_surrogate_study.affine_surrogate(
        network,
        lambda e, A, start: e.coordinates.project(linear_surrogate.surrogate_features(A, "A") @ W),
        A,
        whole,
        directions,
        generator,
    )
    share = found.shares.set_index(["what", "features"])["share"]
    assert share["answers", "A"] == pytest.approx(1, abs=1e-6) and found.beyond().high < 1e-6
    assert share["the inverse", "A"] < 0.99
    assert share["fc1 features", "A, y"] == pytest.approx(share["fc1 activations", "A, y"])
    assert sorted(set(found.directions["what"])) == ["one", "two"] and len(found.directions) == 6
    assert found.directions["share"].max() <= 1
