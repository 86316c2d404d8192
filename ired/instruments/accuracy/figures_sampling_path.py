"""Figure of the sampling path: error, change and memory, stage by stage."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pandas import DataFrame

from ired.plotting.axes import named_ticks, reference_stroke, signed_log, value_axis
from ired.plotting.plots import dots, legend_below
from ired.plotting.style import COLOURS, LABELS, MARKERS, canvas

_SIDES = {"denoise": -0.2, "descend": 0.2}  # of a landscape's tick
_NEAR = 1.6  # times the lowest error: how far the close-up reaches at least; it holds the end


def plot_sampling_path(
    table: DataFrame, references: Mapping[str, float], stop: int | None = None, title: str = "Where is the answer lost?"
) -> Figure:
    """Error of the clean estimate after every stage, with bands; what each stage changes; memory of the start.

    table: rows of `SamplingPath.error_table`, of several energies if a column `energy` names them, the one that is
    studied first; references: predictor → MSE; stop: the landscape that was chosen for stopping. Entering is not
    drawn: it is the stage before, and at the start noise. Errors far below all of the first energy's and the
    references' stand at the lower edge. Without memory there is no panel of it.
    """
    table = table[table["stage"].isin(list(_SIDES))]
    paths = {"trained": table}
    if "energy" in table:
        paths = {str(name): rows for name, rows in table.groupby("energy", sort=False)}
    main, last = next(iter(paths.values())), int(table["landscape"].max())
    remembered = "memory" in table
    levels = list(references.values())
    floor = min([main["mse"].min(), *levels]) / 10
    figure, axes = canvas(2, 2, (5.3, 3.0), title=title, sharex=True)
    (whole, near), (memory, changes) = axes
    for name, rows in paths.items():
        _line(whole, rows.assign(**{end: rows[end].clip(floor) for end in ("mse", "low", "high")}), "mse", name, last)
        _line(near, rows, "mse", name, last)
        if remembered:
            _line(memory, rows, "memory", name, last)
    value_axis(whole, np.concatenate([table["mse"].clip(floor), levels]), "y")
    whole.set_title("Error of the clean estimate")
    lowest, highest = main["low"].min(), max(_NEAR * main["mse"].min(), 1.1 * main["high"].iloc[-1])
    near.set_ylim(lowest - 0.1 * (highest - lowest), highest)
    near.set_title("The same close up, on a linear scale")
    for axis in (whole, near):
        axis.set_ylabel("MSE per entry of A⁻¹")
        _levels(axis, references)
    if remembered:
        memory.set(title="Memory of the start", ylabel="variance over starts / error", ylim=(-0.04, 1.04))
    else:
        memory.set_axis_off()
    _changes(changes, main, next(iter(paths)), last)
    for axis in axes.flat:
        named_ticks(axis, "x", range(last + 1), [str(last - i) for i in range(last + 1)])
        axis.set_xlim(-0.5, last + 0.5)
        axis.tick_params(labelbottom=True)
        if stop is not None and axis.axison:
            label = f"stopping after k = {stop}, as chosen on validation problems"
            axis.axvline(last - stop + 0.4, color="0.35", linestyle="-.", linewidth=1.2, label=label, zorder=1)
    for axis in (memory if remembered else whole, changes):
        axis.set_xlabel("landscape k, from noisy to sharp")
    whole.plot([], [], "o", color="0.3", mfc="white", label="after denoising")
    whole.plot([], [], "o", color="0.3", label="after descents")
    legend_below(figure, [whole], 4)
    return figure


def _places(rows: DataFrame, last: int) -> NDArray:
    """Where stages stand on the x-axis, whose tick of landscape k is last − k."""
    return (last - rows["landscape"] + rows["stage"].map(_SIDES)).to_numpy(dtype=float)


def _line(axis: Axes, rows: DataFrame, value: str, name: str, last: int) -> None:
    """A line through all stages with its band; open marks are denoising steps."""
    x, colour, marker = _places(rows, last), COLOURS.get(name, "0.4"), MARKERS.get(name, "o")
    low, high = (rows[end if value == "mse" else f"{value}_{end}"] for end in ("low", "high"))
    axis.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0, zorder=2)
    axis.plot(x, rows[value], color=colour, linewidth=1.4, zorder=3, label=LABELS.get(name, name))
    for stage, face in (("denoise", "white"), ("descend", colour)):
        at = (rows["stage"] == stage).to_numpy()
        axis.plot(x[at], rows[value].to_numpy()[at], marker, color=colour, mfc=face, markersize=5, zorder=4)


def _levels(axis: Axes, references: Mapping[str, float]) -> None:
    """Predictors' errors across the panel, named at its left, where paths have not come down yet; the lowest below."""
    low, high = axis.get_ylim()
    shown = {name: value for name, value in references.items() if low < value < high}
    for name, value in shown.items():
        colour, below = COLOURS.get(name, "0.4"), len(shown) > 1 and value == min(shown.values())
        axis.axhline(value, color=colour, linestyle=reference_stroke(name), linewidth=1.5, zorder=1)
        axis.annotate(
            LABELS.get(name, name),
            (0.01, value),
            xycoords=("axes fraction", "data"),
            va="top" if below else "bottom",
            fontsize=8.5,
            color=colour,
        )


def _changes(axis: Axes, rows: DataFrame, name: str, last: int) -> None:
    """What each stage changes, in per cent of the error before it, with intervals of the paired difference."""
    before = rows["mse"] - rows["change"]
    percent = rows[["change", "change_low", "change_high"]].mul(100 / before, axis=0)
    filled = (rows["stage"] == "descend").to_numpy()
    dots(axis, percent, _places(rows, last), "change", COLOURS.get(name, "0.4"), filled=filled, upright=True)
    axis.axhline(0, color="0.45", linewidth=1, zorder=1)
    signed_log(axis, 10.0, ends=(float(percent["change_low"].min()), float(percent["change_high"].max())))
    axis.set(title="What each stage changes", ylabel="% of the error before it")
