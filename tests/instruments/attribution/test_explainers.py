"""Other explainers, and what they are judged by."""

import numpy as np
import torch

from ired.instruments.attribution import explainers, integrated_gradients
from ired.instruments.attribution.integrated_gradients import Target


def test_shapley_of_symmetric_pairs(ideal, problems, y, begins):
    pairs, entries = explainers.feature_masks(ideal)
    assert (pairs == pairs.T).all() and pairs.max() == 9 and entries.min() == 10
    assert entries.max() == 9 + ideal.coordinates.size
    ones = torch.ones_like(problems), torch.zeros_like(y)
    counts = explainers.grouped(ones, (pairs, entries))[0]
    assert sorted(counts[:10].tolist()) == [1] * 4 + [2] * 6
    target = Target("products", lambda A, y: A[:, 0, 1] * A[:, 2, 2] * y[:, 3] + A[:, 0, 0])
    sampled = explainers.shapley(target, problems, y, begins["mean"], (pairs, entries), 40, 0)
    change = target(problems, y) - target(begins["mean"].A[0], begins["mean"].y[0])
    torch.testing.assert_close(sampled.values.sum(1), change, rtol=1e-4, atol=1e-4)
    assert not sampled.exact and (sampled.error[:, 1] > 0).any()
    again = explainers.shapley(target, problems, y, begins["mean"], (pairs, entries), 40, 0)
    assert torch.equal(sampled.values, again.values)


def test_sampled_shapley_values_lie_within_their_errors(problems, y, begins):
    few = torch.arange(16).reshape(4, 4) % 4, 4 + torch.arange(16) % 4
    target = Target("mixed", lambda A, y: (A.sum(2) * y[:, :4].exp()).prod(1).tanh())
    exact = explainers.shapley(target, problems, y, begins["mean"], few, 2, 0)
    guess = explainers.shapley(target, problems, y, begins["mean"], few, 60, 0, enumerated=0)
    assert exact.exact and not guess.exact
    deviations = (exact.values - guess.values).abs() / (guess.error + 1e-6)
    assert (deviations < 3).double().mean() > 0.95


def test_enumerated_shapley_values_are_those_of_all_orders(problems, y, begins):
    from captum.attr import ShapleyValues

    few = torch.arange(16).reshape(4, 4) % 2, 2 + torch.arange(16) % 2
    target = Target("mixed", lambda A, y: (A.sum(2) * y[:, :4].exp()).prod(1).tanh())
    begin = begins["mean"].A[0], begins["mean"].y[0]
    masks = tuple(f[None] for f in few)
    of_A, of_y = ShapleyValues(target.value).attribute((problems, y), begin, feature_mask=masks)
    by_orders = torch.cat([of_A[:, 0, :2], of_y[:, :2]], 1)
    enumerated = explainers.shapley(target, problems, y, begins["mean"], few, samples=2, seed=0)
    assert enumerated.exact
    torch.testing.assert_close(enumerated.values, by_orders.double(), rtol=1e-5, atol=1e-6)


def test_every_method_is_judged(network, at):
    target = integrated_gradients.score_entry(network, 0, (0, 1))
    table = explainers.judged_by_target(network, [target], at, 8, 4, 0)
    assert len(table) == 6 * 7 and np.isfinite(table.select_dtypes("number")).all().all()
    means = table.groupby("method")[["infidelity_small", "sensitivity", "shapley_cosine"]].mean()
    # Close by, nothing beats the gradient itself.
    assert means["infidelity_small"].idxmin() in ("gradient", "input × gradient", "SmoothGrad")
    assert means.loc["IG mean", "shapley_cosine"] > 0.5
    assert table.equals(explainers.judged_by_target(network, [target], at, 8, 4, 0))
