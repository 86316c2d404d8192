"""Figures of P6-03: which findings survive being doubted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from pandas import DataFrame

from ired.instruments.sanity.randomisation import LAYERS, NULL, TRAINED
from ired.instruments.sanity.survival_table import ABSENT, CHECKS, FAILED, NEITHER, NO_CONTROL, SURVIVED
from ired.plotting.plots import dots, row_names
from ired.plotting.style import COLOURS, canvas

VERDICTS = {SURVIVED: "#8ecbe8", FAILED: "#f2a65a", NEITHER: "0.94"}
HEADS = {
    "weights": "random\nweights",
    "labels": "shuffled\nanswers",
    "pairs": "problems\npermuted",
    "random": "random\ndirections",
    "orthogonal": "orthogonal\ndirections",
    "noise": "Gaussian\nnoise",
    "linear": "affine part\ntaken out",
}
FEATURES = {"A": COLOURS["least_squares"], "A, A²": COLOURS["least_squares_squared"], "A, y": COLOURS["trained"]}
_INK = 11


def sanity_figures(table: DataFrame, curves: DataFrame, linear: Any) -> list[tuple[str, Figure, str]]:
    """Name, figure and caption of each. linear: shares, directions, ordering (DataFrames)."""
    return [
        (
            "table",
            plot_survival_table(table),
            "What a check leaves of each finding (1: all, 0: nothing), with "
            "95 % intervals over problems. Survived: less than half is left (last column: something is), "
            "corrected over all cells. In brackets: the finding itself. Grey: does not apply.",
        ),
        (
            "decay",
            plot_decay(curves),
            "Means over draws and problems, 95 % intervals over problems. Dashed: "
            "two networks whose weights are both random.",
        ),
        (
            "surrogate",
            plot_surrogate(linear.shares, linear.directions, linear.ordering),
            "Cross-fitted over problems; 95 % intervals. Directions: one dot each, below −0.05 there.",
        ),
    ]


def plot_survival_table(table: DataFrame) -> Figure:
    """The table of `ired.instruments.sanity.survival_table.survival_table`."""
    rows = list(dict.fromkeys(table["finding"]))
    cells = table.set_index(["finding", "check"])
    figure, ((axis,),) = canvas(1, 1, (13.2, 0.52 * len(rows) + 1.9), title="Finding × check")
    for i, finding in enumerate(rows):
        for j, check in enumerate(CHECKS):
            cell = cells.loc[finding, check]
            axis.add_patch(Rectangle((j - 0.48, i - 0.46), 0.96, 0.92, color=VERDICTS[cell["verdict"]], linewidth=0))
            if cell["verdict"] == NEITHER:
                short = {ABSENT: "not there", NO_CONTROL: "not in control"}.get(cell["reason"], "–")
                axis.text(j, i, short, ha="center", va="center", color="0.45", fontsize=_INK - 1)
                continue
            axis.text(
                j,
                i - 0.14,
                _short(cell["rest"]),
                ha="center",
                va="center",
                fontsize=_INK + 1,
                fontweight="bold",
                color="0.1",
            )
            axis.text(
                j,
                i + 0.24,
                f"{_short(cell['low'])} … {_short(cell['high'])}",
                ha="center",
                va="center",
                fontsize=_INK - 2,
                color="0.2",
            )
    names = []
    for finding in rows:
        values = cells.loc[finding]
        there = values.loc[["random", "pairs", "weights"], "own"].dropna()
        names.append(f"{finding}  ({_short(there.iloc[0])})" if len(there) else finding)
    axis.set_yticks(range(len(rows)), names, fontsize=_INK)
    axis.set_xticks(range(len(CHECKS)), [HEADS[check] for check in CHECKS], fontsize=_INK)
    axis.xaxis.tick_top()
    axis.axvline(len(CHECKS) - 1.5, color="0.3", linewidth=1.2)
    axis.set(xlim=(-0.5, len(CHECKS) - 0.5), ylim=(len(rows) - 0.5, -0.5))
    axis.grid(False)
    axis.spines[:].set_visible(False)
    figure.legend(
        handles=[Patch(color=colour, label=name) for name, colour in VERDICTS.items()],
        loc="outside lower center",
        ncols=3,
        fontsize=_INK,
    )
    return figure


def _short(value: float) -> str:
    text = f"{value:.2f}" if abs(value) < 10 else f"{value:.0f}" if abs(value) < 1e4 else f"{value:.0e}"
    return text.replace("-0.00", "0.00").replace("-", "−")


def plot_decay(curves: DataFrame) -> Figure:
    """What instruments show while weights are drawn anew: `ired.instruments.sanity.randomisation.decay_curves`."""
    figure, axes = canvas(2, 4, (3.9, 3.3), title="Weights drawn anew, from the last layer down")
    blue, orange, green = "#0173b2", "#de8f05", "#029e73"
    maps = ("signed rank", "absolute rank", "SSIM")
    for axis, kind in zip(axes[0, :2], ("score gradient", "integrated gradients"), strict=True):
        kinds = [(f"{kind}, {m}", m, c) for m, c in zip(maps, (blue, orange, green), strict=True)]
        _lines(axis, curves, "cascade", kinds)
        axis.set(title=f"{kind.capitalize()}: cascade", ylabel="likeness to the trained one's")
    axes[0, 0].legend(fontsize=8.5, loc="upper right")
    _lines(
        axes[0, 2],
        curves,
        "independent",
        [(f"score gradient, {m}", m, c) for m, c in zip(maps, (blue, orange, green), strict=False)],
    )
    axes[0, 2].set(title="Score gradient: one layer", ylabel="likeness to the trained one's")
    _lines(
        axes[0, 3],
        curves,
        "cascade",
        [
            ("CAVs, cosine", "CAVs, cosine", blue),
            ("gradient in the subspace", "gradient in the trained\none's subspace, share", orange),
        ],
    )
    axes[0, 3].set(title="Directions: cascade", ylabel="likeness to the trained one's")
    axes[0, 3].legend(fontsize=8.5, loc="upper right")
    for axis in (axes[0, 0], axes[0, 3]):
        axis.set_ylim(top=1.5)  # room for the legend
    layers = (("fc1", blue), ("fc2", orange), ("fc3", green))
    for axis, what, title, order in (
        (axes[1, 0], "concepts, AUROC − ½", "Concepts: cascade", "cascade"),
        (axes[1, 1], "concepts, AUROC − ½", "Concepts: one layer", "independent"),
        (axes[1, 2], "dictionary, gaps kept", "Dictionaries, gaps: cascade", "cascade"),
        (axes[1, 3], "dictionary, variance", "Dictionaries, variance: cascade", "cascade"),
    ):
        _lines(axis, curves, order, [(f"{layer}: {what}", layer, c) for layer, c in layers])
        axis.set(title=title, ylabel={"c": "AUROC − ½", "d": "share left (−1 at least)"}[what[0]])
        axis.legend(fontsize=8.5)
    for axis in axes.flat:
        axis.title.set_fontsize(10.5)
    return figure


def _lines(axis: Axes, curves: DataFrame, order: str, kinds: Sequence[tuple[str, str, str]]) -> None:
    """Lines of measures with label and colour, from the trained network on; dashed: the null."""
    ticks = (TRAINED, *LAYERS)
    axis.axhline(0, color="0.6", linewidth=1)
    for place, (measure, label, colour) in enumerate(kinds):
        rows = curves[curves["measure"] == measure]
        steps = rows[rows["order"] == order].set_index("step").reindex(LAYERS)
        first = rows[rows["order"] == "trained"]
        top = first[["mean", "low", "high"]].to_numpy() if len(first) else np.ones((1, 3))
        values = np.concatenate([top[:1], steps[["mean", "low", "high"]].to_numpy()])
        x = np.arange(len(ticks)) + 0.07 * (place - (len(kinds) - 1) / 2)
        reach = np.abs(values[:, 1:] - values[:, :1]).T
        joined = "-" if order == "cascade" else "none"
        axis.errorbar(x, values[:, 0], reach, color=colour, fmt="o", linestyle=joined, label=label)
        null = rows[rows["order"] == NULL]
        if len(null):
            axis.axhline(null["mean"].iloc[0], color=colour, linestyle="--", linewidth=1.1)
    plus = "+ " if order == "cascade" else ""
    axis.set_xticks(range(len(ticks)), ["trained", LAYERS[0], *(f"{plus}{s}" for s in LAYERS[1:])])
    axis.set_xlabel("layers with fresh weights")


def plot_surrogate(shares: DataFrame, directions: DataFrame, ordering: DataFrame) -> Figure:
    """How much an affine map of the problem explains."""
    figure, (axes,) = canvas(
        1, 3, (5.2, 4.2), title="How much is an affine map of the problem?", width_ratios=[1.25, 1, 0.9]
    )
    names = list(dict.fromkeys(shares["what"]))
    for place, (kind, colour) in enumerate(FEATURES.items()):
        rows = shares[shares["features"] == kind]
        y = rows["what"].map(names.index).to_numpy() + 0.22 * (place - 1)
        dots(axes[0], rows, y, value="share", colour=colour, label=f"map of [{kind}]", size=5)
    row_names(axes[0], names, between=True)
    axes[0].set(title="Variance explained", xlabel="share")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower left", ncols=3)
    sources = list(dict.fromkeys(directions["source"]))
    rng = np.random.default_rng(0)  # where dots lie beside each other says nothing
    for place, (kind, colour) in enumerate(FEATURES.items()):
        rows = directions[directions["features"] == kind]
        spot = rows["source"].map(sources.index) + 0.24 * (place - 1)
        spot = spot + 0.07 * rng.uniform(-1, 1, len(spot))
        share = rows["share"].clip(lower=-0.05)
        axes[1].plot(share, spot, "o", color=colour, markersize=4.5, alpha=0.75)
    row_names(axes[1], [f"{s}\ndirections" for s in sources], between=True)
    axes[1].set(title="Along directions", xlabel="share explained")
    labels = {
        "truth": "energy, distance\nto the inverse",
        "surrogate": "energy, distance to\nthe affine map's",
        "surrogate_truth": "the two distances",
        "left": "energy and inverse,\naffine map's out",
    }
    dots(axes[2], ordering, range(len(ordering)), value="share", colour=COLOURS["trained"], size=7)
    row_names(axes[2], [labels[what] for what in ordering["what"]], between=True)
    axes[2].set(title="Ranks of states, k = 0", xlabel="rank correlation")
    for axis in axes:
        axis.axvline(0, color="0.5", linewidth=1)
        axis.set_xlim(right=1.04)
    return figure
