"""Figure of calibration: how well the instruments recover known answers."""

from __future__ import annotations

from matplotlib.figure import Figure
from pandas import DataFrame

from ired.plotting.style import COLOURS, canvas


def plot_calibration(table: DataFrame) -> Figure:
    """table: columns setting, instrument, share_of_tolerance, passed."""
    names = list(table["instrument"].unique())
    size = (7, 1.2 + 0.22 * len(names))
    figure, axes = canvas(1, 1, size, title="Instruments on known answers")
    axis = axes[0, 0]
    for i, name in enumerate(names):
        rows = table[table["instrument"] == name]
        y = [i + 0.6 * (j + 0.5) / len(rows) - 0.3 for j in range(len(rows))]
        shares = rows["share_of_tolerance"].clip(lower=1e-6)
        axis.scatter(shares, y, s=12, color=COLOURS["trained"])
    axis.axvline(1, color=COLOURS["least_squares"], linestyle="--", label="tolerance")
    axis.set_xscale("log")
    axis.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.set_xlabel("error / tolerance  (≤ 10⁻⁶ shown as 10⁻⁶)")
    figure.legend(loc="outside lower right")
    return figure
