"""Error bars of several energies: paired, and without a number that is not named."""

import numpy as np
import pytest
import torch

from ired.instruments.core import states
from ired.instruments.uncertainty import reliability, study
from ired.model import problems as model_problems
from ired.model.reference import Quadratic


@pytest.fixture
def tables(ideal, algebraic, network, coordinates, schedule):
    A = model_problems.draw(16, coordinates.n, 0.5, model_problems.generator(0, "error bars"), torch.float64)
    d = coordinates.d
    flat = Quadratic(coordinates, schedule, torch.zeros(d, d), torch.zeros(d))
    energies = {"trained": network, "ideal": ideal, "algebraic": algebraic, "flat": flat}
    y0 = states.answers(ideal, A)
    return study.error_bar_tables(energies, A, y0, lambda purpose: model_problems.generator(0, purpose), count=2)


@pytest.mark.slow
def test_what_is_not_a_number_is_named(tables):
    assert {name: len(table) for name, table in tables.items()} == {
        "points": 4 * 10 * 16 * 2,
        "calibration": 4 * 10,
        "coverage": 4 * 10 * 6,
        "ranking": 4 * 10,
    }
    for name, table in tables.items():
        numbers = table.select_dtypes("number")
        unnamed = numbers.isna().any(axis=1) & (table["note"] == "" if "note" in table else True)
        assert not unnamed.any(), name
    lines = reliability.notes([tables[name] for name in ("calibration", "coverage", "ranking")])
    everywhere = "(k = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9)"
    for energy, note in (
        ("ideal", reliability.CERTAIN),
        ("ideal", reliability.NO_INTERVALS),
        ("ideal", f"{reliability.ALIKE}; {reliability.EXACT}"),
        ("flat", reliability.ALIKE),
    ):
        assert f"{energy}: {note} {everywhere}" in lines


@pytest.mark.slow
def test_energies_are_asked_at_the_same_points(tables, coordinates):
    points = tables["points"].set_index("energy")
    flat, ideal = points.loc["flat"], points.loc["ideal"]
    # A flat energy errs by the noise itself: the ideal one takes all of it away.
    np.testing.assert_allclose(ideal["actual"], 0, atol=1e-20 * flat["actual"].max())
    by_landscape = flat.groupby("landscape")[["actual", "predicted"]].mean()
    spread = np.sqrt(2 / (coordinates.size * 32))
    assert (abs(by_landscape["actual"] / by_landscape["predicted"] - 1) < 5 * spread).all()
