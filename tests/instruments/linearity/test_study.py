"""Linearity of several energies is one table, paired by its streams."""

import numpy as np
import pytest
import torch

from ired.instruments.linearity import study
from ired.model import problems as model_problems
from ired.model.reference import PredictorEnergy


def measured(energies):
    A = model_problems.draw(60, 4, 0.5, model_problems.generator(0, "linear"), torch.float64)
    return study.linearity_tables(energies, A, (0, 9), lambda purpose: model_problems.generator(0, purpose), bent=6)


def test_energies_stand_side_by_side(ideal, network):
    bowl = PredictorEnergy.with_errors(
        ideal.coordinates, ideal.schedule, torch.linalg.inv, torch.eye(ideal.coordinates.size, dtype=torch.float64)
    )
    tables = measured({"trained": network, "again": network, "ideal": ideal, "affine": bowl})
    table = tables["linearity"]
    assert len(table) == 4 * 2 * len(study.MEASURES)
    assert table[["value", "low", "high"]].notna().all().all()
    twice = [table[table["energy"] == name]["value"] for name in ("trained", "again")]
    assert np.array_equal(*twice)
    ideal_rows = table[table["energy"] == "ideal"].set_index(["measure", "landscape"])["value"]
    assert np.allclose(ideal_rows["spread"], 0, atol=1e-8) and np.allclose(ideal_rows["curvature"], 1)
    assert np.allclose(ideal_rows[study.LOSS], 0, atol=1e-20)
    # Of errors of variance 1 the bowl is round, and in σ² + ᾱ = 1 parts σ² are noise.
    rows = tables["hessian_spread"].merge(table[table["measure"] == "round"], on=["energy", "landscape"])
    closed = ideal.schedule.sigma[[0, 9]].numpy() ** 2
    assert np.allclose(rows["gaussian"], np.tile(closed, 4)) and np.allclose(rows["value"], np.tile(closed, 4))


def test_nothing_stands_beside_nothing(network):
    with pytest.raises(KeyError, match="is what others stand beside"):
        measured({"trained": network})
