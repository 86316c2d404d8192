"""Figures of error bars: calibration, sharpness, coverage, ranking of problems."""

from __future__ import annotations

from collections.abc import Iterable
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from pandas import DataFrame

from ired.plotting.axes import landscape_axis, plain_ticks
from ired.plotting.plots import dots, interval_ends
from ired.plotting.style import COLOURS, LABELS, MARKERS, canvas

SPARE = ("#cc78bc", "#56b4e9", "#ca9161", "#d55e00", "#4d4d4d")
KINDS = {"entries": "-", "functionals": "--"}


def error_bar_colours(energies: Iterable[str]) -> dict[str, str]:
    """A colour for each energy: the project's where it has one; the usual energies come first where two share it."""
    names, spare = list(dict.fromkeys(energies)), iter(SPARE * 10)
    colours: dict[str, str] = {}
    for name in sorted(names, key=lambda name: name not in MARKERS):
        known = COLOURS.get(name)
        colours[name] = known if known and known not in colours.values() else next(spare)
    return {name: colours[name] for name in names}


def plot_error_bars(
    calibration: DataFrame, coverage: DataFrame, ranking: DataFrame, landscape: int = 0, title: str = ""
) -> Figure:
    """Calibration, sharpness and impossible variances by landscape; coverage, at every nominal level in one
    `landscape`, and of the highest by landscape; rank correlations by landscape.

    The tables of `study.error_bar_tables`. Rows with a note have no number and are not drawn; their energies are named
    in the panel.
    """
    colours = error_bar_colours(calibration["energy"])
    figure, axes = canvas(2, 3, (4.6, 3.7), title=title or "Does curvature tell how wrong an answer is?")
    _draw_ratios(axes[0, 0], calibration, colours)
    for axis, value, name in (
        (axes[0, 1], "sharpness", "predicted error / that of y/√ᾱ"),
        (axes[0, 2], "negative", "share of variances below 0"),
    ):
        for energy, rows in calibration.groupby("energy", sort=False):
            front = 3 if energy == "trained" else 2
            marker = MARKERS.get(energy, "o")
            axis.plot(rows["landscape"], rows[value], color=colours[energy], marker=marker, zorder=front)
        axis.set_ylabel(name)
    axes[0, 1].set_title("Sharpness (1: knows nothing)")
    axes[0, 1].axhline(1, color="0.4", linewidth=1, linestyle=":")
    axes[0, 2].set_title("Impossible variances")
    axes[0, 2].set_ylim(-0.03, 1.03)
    _draw_reliability(axes[1, 0], coverage[coverage["landscape"] == landscape], colours)
    axes[1, 0].set_title(f"Coverage at k = {landscape}")
    _draw_coverage(axes[1, 1], coverage, colours)
    _draw_ranks(axes[1, 2], ranking, colours)
    count = int(calibration["landscape"].max()) + 1
    for axis in (*axes[0], axes[1, 1], axes[1, 2]):
        landscape_axis(axis, count)
    _legend(figure, colours)
    return figure


def _draw_ratios(axis: Axes, table: DataFrame, colours: dict[str, str]) -> None:
    known = table[table["note"] == ""]
    _draw_curves(axis, known, "ratio", colours)
    axis.axhline(1, color="0.4", linewidth=1, linestyle=":")
    axis.set_title("Calibration (1: right)")
    axis.set_ylabel("actual / predicted squared error")
    axis.set_yscale("log")
    if len(known):
        low, high = (np.asarray(ends) for ends in interval_ends(known, "ratio"))
        low = np.where(low > 0, low, known["ratio"])
        axis.set_ylim(min(0.8, low.min() / 1.2), max(1.25, high.max() * 1.2))
    plain_ticks(axis, "y")
    _name_absent(axis, table[table["note"] != ""], "no ratio", table["landscape"].nunique())


def _draw_reliability(axis: Axes, table: DataFrame, colours: dict[str, str]) -> None:
    """Observed against nominal coverage; table: rows of one landscape."""
    axis.plot([0, 1], [0, 1], color="0.4", linewidth=1, linestyle=":")
    energies = list(colours)
    for (energy, kind), rows in table[table["note"] == ""].groupby(["energy", "kind"], sort=False):
        beside = 0.006 * (energies.index(energy) - (len(energies) - 1) / 2)  # so that no interval hides another
        look = {"colour": colours[energy], "marker": MARKERS.get(energy, "o")}
        at = rows["nominal"] + beside
        axis.plot(at, rows["coverage"], color=colours[energy], linestyle=KINDS[kind], linewidth=1.2)
        dots(axis, rows, at, "coverage", filled=kind == "entries", upright=True, **look, width=1.2, size=4.5)
    axis.set(xlabel="nominal", ylabel="share of truths inside", xlim=(0.4, 1.02), ylim=(-0.03, 1.03))
    _name_absent(axis, table[table["note"] != ""], "no intervals", table["landscape"].nunique())


def _draw_coverage(axis: Axes, table: DataFrame, colours: dict[str, str]) -> None:
    nominal = table["nominal"].max()
    rows = table[(table["nominal"] == nominal) & (table["note"] == "")]
    for kind, stroke in KINDS.items():
        _draw_curves(axis, rows[rows["kind"] == kind], "coverage", colours, stroke)
    axis.axhline(nominal, color="0.4", linewidth=1, linestyle=":")
    axis.set_title(f"Coverage of {100 * nominal:g} % intervals")
    axis.set_ylabel("share of truths inside")
    axis.set_ylim(-0.03, 1.03)
    _name_absent(axis, table[table["note"] != ""], "no intervals", table["landscape"].nunique())


def _draw_ranks(axis: Axes, table: DataFrame, colours: dict[str, str]) -> None:
    _draw_curves(axis, table[table["note"] == ""], "spearman", colours)
    _draw_curves(axis, table, "kappa", colours, ":", shaded=False)
    axis.axhline(0, color="0.4", linewidth=1)
    axis.set_title("Ranking of problems (dotted: κ(A))")
    axis.set_ylabel("rank correlation with\nthe actual error")
    axis.set_ylim(-1.03, 1.03)
    _name_absent(axis, table[table["note"] != ""], "nothing to rank", table["landscape"].nunique())


def _draw_curves(
    axis: Axes, table: DataFrame, value: str, colours: dict[str, str], stroke: str = "-", shaded: bool = True
) -> None:
    """A line for each energy against the landscape, with its interval."""
    for energy, rows in table.groupby("energy", sort=False):
        marker = MARKERS.get(energy, "o") if shaded else ""
        front = 3 if energy == "trained" else 2  # nothing covers what the reader came for
        look = {"color": colours[energy], "marker": marker, "markersize": 4.5, "zorder": front}
        axis.plot(rows["landscape"], rows[value], stroke, **look)
        if shaded:
            low, high = interval_ends(rows, value)
            axis.fill_between(rows["landscape"], low, high, color=colours[energy], alpha=0.2, linewidth=0)


def _name_absent(axis: Axes, rows: DataFrame, what: str, landscapes: int) -> None:
    """Names the energies of rows without a number, with their landscapes where these are not all."""
    parts = []
    for energy, absent in rows.groupby("energy", sort=False):
        which = sorted(set(absent["landscape"]))
        where = "" if len(which) == landscapes else f" (k = {', '.join(map(str, which))})"
        parts.append(f"{LABELS.get(energy, energy)}{where}")
    if parts:
        text = fill(f"{what}: {', '.join(parts)}", 48, break_on_hyphens=False)
        axis.text(0.02, 0.03, text, transform=axis.transAxes, fontsize=8, color="0.3", va="bottom")


def _legend(figure: Figure, colours: dict[str, str]) -> None:
    handles = [
        Line2D([], [], color=colour, marker=MARKERS.get(name, "o"), label=LABELS.get(name, name))
        for name, colour in colours.items()
    ]
    handles += [
        Line2D([], [], color="0.3", linestyle=stroke, label=name)
        for name, stroke in (("entries", KINDS["entries"]), ("random functionals", KINDS["functionals"]))
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(8, len(handles)))
