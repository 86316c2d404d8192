"""The figure of linearity shows what the table says: a panel a question, and one closed form."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from pandas import DataFrame

from ired.instruments.linearity import figures, study

LANDSCAPES = range(10)


def planted(energies=("trained", "ideal", "untrained")):
    """A table with values that tell their energy, measure and landscape."""
    rows = []
    for e, energy in enumerate(energies):
        for m, measure in enumerate(study.MEASURES):
            for k in LANDSCAPES:
                value = {"spread": 0.02 * 10**e, "round": 0.75 + 0.025 * k}.get(measure, 0.9 - 0.2 * e - 0.01 * k)
                rows.append((energy, k, measure, value, value - 0.01 * (m != 2), value + 0.01))
    return DataFrame(rows, columns=["energy", "landscape", "measure", "value", "low", "high"])


def lines(axis):
    return {line.get_label(): line for line in axis.get_lines()}


def test_every_panel_shows_its_measure():
    table = planted()
    figure = figures.plot_energy_linearity(table, "Linearity (planted, n = 4)")
    FigureCanvasAgg(figure).draw()
    affine, spread, curvature, loss = figure.axes
    for axis, measure in ((affine, "affine"), (spread, "spread"), (curvature, "curvature"), (loss, study.LOSS)):
        for energy, rows in table[table["measure"] == measure].groupby("energy"):
            assert np.allclose(lines(axis)[energy].get_ydata(), rows["value"])
    assert spread.get_yscale() == "log"
    dashed = [line for line in curvature.get_lines() if line.get_linestyle() == "--"]
    assert len(dashed) == 1 and dashed[0].get_label() == figures.CLOSED_FORM
    assert len(affine.collections) == 3, "a band for each energy"


@pytest.mark.parametrize("level", [0.0, 0.5])
def test_no_spread_can_be_drawn(level):
    table = planted(("trained", "ideal"))
    table.loc[table["measure"] == "spread", ["value", "low", "high"]] = 0.0
    table.loc[(table["measure"] == "spread") & (table["energy"] == "trained"), ["value", "low", "high"]] = level
    FigureCanvasAgg(figures.plot_energy_linearity(table, "")).draw()
