"""Figures of error bars: calibration, sharpness, coverage, ranking of problems."""

from __future__ import annotations

from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas import DataFrame

from ired.instruments.landscape.figures import draw_by_landscape
from ired.plotting.axes import plain_ticks
from ired.plotting.plots import dots, interval_ends, legend_below
from ired.plotting.style import COLOURS, LABELS, MARKERS, canvas


def plot_error_bars(calibration: DataFrame, coverage: DataFrame, ranking: DataFrame) -> Figure:
    """Calibration, sharpness and impossible variances by landscape; coverage of the answer's entries, at every nominal
    level in landscape 0, and of the highest by landscape; rank correlations by landscape.

    The tables of `study.error_bar_tables`. Rows with a note have no number and are not drawn; their energies are named
    in the panel, in all panels for which it holds.
    """
    figure, axes = canvas(2, 3, (4.6, 3.7), title="Does curvature tell how wrong an answer is?")
    coverage = coverage[coverage["kind"] == "entries"]
    _draw_ratios(axes[0, 0], calibration)
    known = calibration[calibration["note"] == ""]
    _draw(axes[0, 1], known, "sharpness", "predicted / error of y/√ᾱₖ", 1)
    axes[0, 1].set_title("Sharpness (1: knows nothing)")
    _draw(axes[0, 2], calibration, "negative", "share of variances below 0")
    axes[0, 2].set_title("Impossible variances")
    axes[0, 2].set_ylim(-0.03, 1.03)
    _draw_reliability(axes[1, 0], coverage[coverage["landscape"] == 0])
    _draw_coverage(axes[1, 1], coverage)
    _draw_ranks(axes[1, 2], ranking)
    legend_below(figure, [axes[0, 2]], calibration["energy"].nunique())
    return figure


def _draw(axis: Axes, table: DataFrame, value: str, label: str, line: float | None = None) -> None:
    """A column by landscape, with its interval where it has one."""
    middle = table[value]
    low, high = interval_ends(table, value) if value not in ("sharpness", "negative") else (middle, middle)
    shown = table[["energy", "landscape"]].assign(mean=middle, low=low, high=high)
    if len(shown):
        draw_by_landscape(axis, shown, label, line)


def _draw_ratios(axis: Axes, table: DataFrame) -> None:
    known = table[table["note"] == ""]
    _draw(axis, known, "ratio", "actual / predicted error", 1)
    axis.set_title("Calibration (1: right)")
    axis.set_yscale("log")
    if len(known):
        low, high = interval_ends(known, "ratio")
        low = np.where(low > 0, low, known["ratio"])
        axis.set_ylim(min(0.8, low.min() / 1.2), max(1.25, high.max() * 1.2))
    plain_ticks(axis, "y")
    _name_absent(axis, table, "no ratio")


def _draw_reliability(axis: Axes, table: DataFrame) -> None:
    """Observed against nominal coverage; table: rows of one landscape."""
    axis.plot([0, 1], [0, 1], color="0.4", linewidth=1, linestyle=":")
    energies = list(table["energy"].unique())
    for energy, rows in table[table["note"] == ""].groupby("energy", sort=False):
        beside = 0.008 * (energies.index(energy) - (len(energies) - 1) / 2)  # so that no interval hides another
        at = rows["nominal"] + beside
        axis.plot(at, rows["coverage"], color=COLOURS[energy], linewidth=1)
        look = {"marker": MARKERS.get(energy, "o"), "width": 1.2, "size": 4.5}
        dots(axis, rows, at, "coverage", COLOURS[energy], upright=True, **look)
    axis.set(xlabel="nominal", ylabel="share of entries inside", xlim=(0.4, 1.02), ylim=(-0.03, 1.03))
    axis.set_title("Coverage at k = 0")
    _name_absent(axis, table, "no intervals")


def _draw_coverage(axis: Axes, table: DataFrame) -> None:
    nominal = table["nominal"].max()
    table = table[table["nominal"] == nominal]
    _draw(axis, table[table["note"] == ""], "coverage", "share of entries inside", nominal)
    axis.set_title(f"Coverage of {100 * nominal:g} % intervals")
    axis.set_ylim(-0.03, 1.03)
    _name_absent(axis, table, "no intervals")


def _draw_ranks(axis: Axes, table: DataFrame) -> None:
    _draw(axis, table[table["note"] == ""], "spearman", "rank correlation with the actual error", 0)
    for energy, rows in table.groupby("energy", sort=False):
        axis.plot(rows["landscape"], rows["kappa"], ":", color=COLOURS[energy], linewidth=1.2)
    axis.set_title("Ranking of problems (dotted: κ(A))")
    axis.set_ylim(-1.03, 1.03)
    _name_absent(axis, table, "nothing to rank")


def _name_absent(axis: Axes, table: DataFrame, what: str) -> None:
    """Names the energies of rows with a note, with their landscapes where these are not all."""
    parts, landscapes = [], table["landscape"].nunique()
    for energy, absent in table[table["note"] != ""].groupby("energy", sort=False):
        which = sorted(set(absent["landscape"]))
        part = f" (k = {', '.join(map(str, which))})" if len(which) < landscapes else ""
        parts.append(LABELS.get(energy, energy) + part)
    if parts:
        text = fill(f"{what}: {', '.join(parts)}", 48, break_on_hyphens=False)
        axis.text(0.02, 0.03, text, transform=axis.transAxes, fontsize=8, color="0.3", va="bottom")
