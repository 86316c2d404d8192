"""Linearity of several energies is one table, paired by its streams."""

import numpy as np
import torch

from ired.instruments.linearity import study
from ired.model import problems as model_problems


def test_energies_stand_side_by_side(ideal, network):
    A = model_problems.draw(60, 4, 0.5, model_problems.generator(0, "linear"), torch.float64)
    tables = study.linearity_tables(
        {"trained": network, "again": network, "ideal": ideal, "affine": network},
        A,
        (0, 9),
        lambda purpose: model_problems.generator(0, purpose),
        bent=6,
    )
    table = tables["linearity"]
    assert len(table) == 4 * 2 * (len(study.MEASURES) + 1)
    ratios = table[table["measure"] == study.LOSS].set_index("energy")["value"]
    assert np.allclose(ratios["trained"], 1) and np.allclose(ratios["ideal"], 0), "of the loss of 'affine'"
    assert table[["value", "low", "high"]].notna().all().all()
    twice = [table[table["energy"] == name]["value"] for name in ("trained", "again")]
    assert np.array_equal(*twice)
    ideal_rows = table[table["energy"] == "ideal"].set_index(["measure", "landscape"])["value"]
    assert np.allclose(ideal_rows["spread"], 0, atol=1e-8) and np.allclose(ideal_rows["curvature"], 1)
