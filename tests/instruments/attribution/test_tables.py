"""What tables of attributions say, of planted ones and of networks'."""

import numpy as np
import pytest
import torch
from pandas import DataFrame

from ired.instruments.attribution import integrated_gradients, tables
from ired.instruments.attribution.integrated_gradients import PathIntegrals
from ired.instruments.core.states import symmetric


def test_attributions_turned_into_eigen_directions_keep_their_sum(network, problems, y, y0, begins):
    paths = integrated_gradients.integrate(integrated_gradients.gap(network, 0, y0), problems, y, begins["random"], 8)
    for turned, plain in zip(tables.attributions_in_eigenbasis(paths, problems), paths.attributions(), strict=True):
        torch.testing.assert_close(turned.sum((1, 2)), plain.flatten(1).sum(1))
    ranks = tables.by_eigenvalue({("gap", "random", 0): paths}, problems)
    total = ranks.groupby("problem")[["A_absolute", "y_absolute"]].sum()
    np.testing.assert_allclose(total, 1)


def test_shares_of_a_planted_attribution():
    A = torch.tensor([[[2.0, -1.0], [-1.0, 0.0]]]).double()
    y = torch.tensor([[0.0, 0.5, 0.5, -1.0]]).double()
    paths = PathIntegrals(
        (A[None], y[None]), (torch.ones_like(A)[None], torch.ones_like(y)[None]), torch.ones(1, 1).double(), 1
    )
    row = tables.attribution_shares({("gap", "zero", 0): paths}).iloc[0]
    assert row["problem_share"] == pytest.approx(4 / 6)
    assert row["A_diagonal"] == row["A_diagonal_signed"] == pytest.approx(0.5)
    assert row["A_off_diagonal_signed"] == pytest.approx(-0.5)
    assert row["y_diagonal_signed"] == pytest.approx(-0.5)


def test_tables_have_a_row_for_every_case(ideal, algebraic, network, at):
    at = at.definite()
    targets = integrated_gradients.gap(network, 0, at.y0), integrated_gradients.score_entry(network, 0, (0, 1))
    cases = integrated_gradients.targets_explained(targets, at)
    errors = tables.completeness(cases)
    assert len(errors) == 2 * (1 + 1 + 2) * 6
    assert set(errors["steps"]) <= {8, 16, 32, 64, 128}
    assert (errors["error"] < 0.01).mean() >= 0.95
    assert len(tables.attribution_shares(cases)) == 2 * 3 * 6
    maps = tables.heatmaps(cases)
    A = cases["gap", "mean", 0].attributions()[0]
    torch.testing.assert_close(maps["gap", "mean", 0, "A"], symmetric(A).mean(0))
    between = tables.between_baselines(cases)
    assert len(between) == 2 * 3 * 3
    np.testing.assert_allclose(between.query("first == second")["cosine"], 1)


def test_numbers_of_completeness():
    errors = DataFrame(
        {"target": ["gap", "gap"], "baseline": ["zero", "mean"], "steps": [8, 16], "error": [0.001, 0.5]}
    )
    numbers = tables.completeness_numbers(errors)
    assert numbers == {"steps.gap.zero": 8, "steps.gap.mean": 16, "complete.gap": 0.5}
