"""Figures of P5-03: what a network loses with a layer, or with a part of one."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from pandas import DataFrame

from ired.instruments.layers.ablation import HALF, KINDS, LAYERS, WHOLE
from ired.plotting.axes import named_ticks
from ired.plotting.plots import heat_map
from ired.plotting.style import COLOURS, SEQUENTIAL, canvas

NAMES = dict(zip(LAYERS, ("fc1", "fc2", "fc3", "f"), strict=True))
LOOKS = {
    "fc1": (COLOURS["trained"], "o"),
    "fc2": (COLOURS["algebraic"], "s"),
    "fc3": (COLOURS["ideal"], "^"),
    "fc4": (COLOURS["least_squares_squared"], "D"),
}
WORDS = {
    "mean": "mean, all units",
    "resample": "other problem's, all units",
    "noise": "noise, all units",
    "mean_half": "mean, half",
    "resample_half": "other problem's, half",
    "noise_half": "noise, half",
    "problem_mean": "mean over problems",
    "identity": "identity",
    "linear": "linear fit",
    "linear_stack": "linear fit from [a, y]",
    "film_off": "FiLM off",
    "rank_weights": "weights, low rank",
    "rank_components": "activations, low rank",
    "rounding": "rounding (control)",
    "half": "half the units",
}
TITLES = {"order": "Pairs of states out of order", "score": "Error of the score", "mse": "Sampled MSE"}
UNITS = {"order": "share of pairs (0.5: chance)", "score": "÷ mean square of the score", "mse": "MSE per entry"}
SHORT = {"order": "order", "score": "score", "mse": "sampled MSE"}
_INK = 11


def ablation_figures(
    tables: Mapping[str, DataFrame],
    votes: Mapping[str, DataFrame],
    anchors: Mapping[str, float],
    share: float,
    problems: int,
    background: int,
) -> list[tuple[str, Figure, str]]:
    """Name, figure and caption of each, from what `ired.instruments.layers.study_ablation` gives; problems,
    background: how many there were to judge on and to fit."""
    whole, intervals = anchors["whole"], f"{problems} problems; bands are 95 % intervals over problems."
    titles = {measure: f"by {words}" for measure, words in SHORT.items()} | {"untrained": "untrained,\nby score"}
    return [
        (
            "ablations",
            plot_damage_heatmap(tables["summary"], share, whole),
            f"Means over {problems} problems, all landscapes. "
            "Hatched: not defined. Of all units: the layers cannot differ. Sampled MSE of least squares on A "
            f"{anchors['least_squares']:.2g}, of the mean {anchors['mean']:.2g}.",
        ),
        (
            "ranking",
            plot_ranking({titles[name]: table for name, table in votes.items()}),
            "1: the layer that is missed most. Ranks of mean damages.",
        ),
        (
            "landscapes",
            plot_damage_by_landscape(tables["by_landscape"], tables["alone"], share, whole),
            f"{intervals} Dashed: chance, no score, whole network. Dotted: nothing of the network in that landscape.",
        ),
        ("ranks", plot_rank_curves(tables["summary"], whole), intervals),
        ("linearity", plot_linearity(tables["linear_fits"]), f"{intervals} Fitted on {background} other problems."),
    ]


def plot_damage_heatmap(summary: DataFrame, share: float, whole: float) -> Figure:
    """What is lost by kind (rows) and layer (columns), a panel a measure.

    summary: that of `ablation_damage.damage_summary`; kinds with a rank are shown at `share` of it; whole: the
    whole network's sampled MSE.
    """
    rows = summary[(summary["share"] == 1.0) | (summary["share"] == share)]
    kinds = [kind for kind in KINDS if kind in set(rows["kind"])]
    figure, (axes,) = canvas(1, 3, (3.9, 0.36 * len(kinds) + 1.6), title="What a layer carries", sharey=True)
    for axis, measure in zip(axes, TITLES, strict=True):
        grid = rows.pivot(index="kind", columns="layer", values=measure).reindex(kinds, columns=LAYERS)
        values = grid.to_numpy()
        if measure == "order":
            norm = Normalize(0, max(0.5, np.nanmax(values)))
        else:
            low = whole if measure == "mse" else 1e-3
            norm = LogNorm(low, max(np.nanmax(values), 2 * low), clip=True)
        image = heat_map(axis, values, SEQUENTIAL, norm, _short, _INK - 1)
        for line in (len(WHOLE), len(WHOLE + HALF), len(kinds) - ("rounding" in kinds)):
            axis.axhline(line - 0.5, color="white", linewidth=3)
        axis.set_title(TITLES[measure], fontsize=_INK + 1)
        axis.set_xticks(range(len(LAYERS)), [NAMES[layer] for layer in LAYERS], fontsize=_INK)
        bar = figure.colorbar(image, ax=axis, location="bottom", shrink=0.9, aspect=30)
        bar.set_label(UNITS[measure] + (f"; whole network {whole:.2g}" if measure == "mse" else ""))
    words = [WORDS[k] + (f" ({share:.0%})" if k.startswith("rank") else "") for k in kinds]
    axes[0].set_yticks(range(len(kinds)), words, fontsize=_INK)
    return figure


def plot_damage_by_landscape(curves: DataFrame, alone: DataFrame, share: float, whole: float) -> Figure:
    """Damage by landscape, a column a kind: of order and score there, and of the answer when the layer
    is ablated in that landscape alone.

    curves: that of `ablation_damage.damage_by_landscape`; alone: the same of sampled errors, measure "mse".
    """
    kinds = [k for k in KINDS if k in set(alone["kind"]) and k not in WHOLE]
    figure, axes = canvas(3, len(kinds), (2.35, 2.15), title="Landscape by landscape", sharex=True, sharey="row")
    for column, kind in zip(axes.T, kinds, strict=True):
        for axis, (table, measure) in zip(column, ((curves, "order"), (curves, "score"), (alone, "mse")), strict=True):
            rows = table[(table["kind"] == kind) & table["share"].isin((1.0, share))]
            for layer, line in rows.groupby("layer"):
                if line[measure].max() > 1e-9:  # f's own linear fit: nothing changes
                    _band(axis, line["landscape"], line, measure, layer)
            level = {"order": 0.5, "score": 1.0, "mse": whole}[measure]
            axis.axhline(level, color="0.3", linestyle="--", linewidth=1.2, zorder=1)
            if measure == "mse":
                without = table[table["kind"] == "mean"]
                axis.plot(without["landscape"], without["mse"], ":", color="0.3", linewidth=2)
            if measure != "order":
                axis.set_yscale("log")
        column[0].set_title(WORDS[kind].replace(", ", ",\n", 1) if "rank" in kind else WORDS[kind])
        column[-1].set_xlabel("landscape k", fontsize=_INK)
        column[-1].set_xticks(range(0, int(curves["landscape"].max()) + 1, 3))
    labels = "pairs out of order", "score error", "sampled MSE,\nthis one only"
    for axis, words in zip(axes[:, 0], labels, strict=True):
        axis.set_ylabel(words, fontsize=_INK)
    axes[1, 0].set_ylim(bottom=1e-3)  # what is less is none; once all are drawn, for all share the axis
    for axis in axes.flat:
        axis.tick_params(labelsize=_INK - 1)
    _legend(figure)
    return figure


def plot_rank_curves(summary: DataFrame, whole: float) -> Figure:
    """Score and answers by the share of the rank that is kept, of weights and of activations."""
    measures = ("score", "mse")
    figure, axes = canvas(2, 2, (4.2, 2.9), title="How much rank a layer needs", sharex=True, sharey="row")
    for column, kind in zip(axes.T, ("rank_weights", "rank_components"), strict=True):
        for axis, measure in zip(column, measures, strict=True):
            for layer, line in summary[summary["kind"] == kind].groupby("layer"):
                line = line.sort_values("share")
                _band(axis, line["share"], line, measure, layer)
            level = 1.0 if measure == "score" else whole
            axis.axhline(level, color="0.3", linestyle="--", linewidth=1.2, zorder=1)
            axis.set_yscale("log")
            axis.set_xscale("log", base=2)
        column[0].set_title(
            {"rank_weights": "rank of the weights", "rank_components": "components of the activations"}[kind]
        )
        column[1].set_xlabel("share of the full rank that is kept")
        shares = sorted(summary.loc[summary["kind"] == kind, "share"].unique())
        named_ticks(column[1], "x", shares, [f"1/{round(1 / s)}" for s in shares])
    axes[0, 0].set_ylabel("score error\n(dashed: no score)")
    axes[1, 0].set_ylabel("sampled MSE\n(dashed: whole network)")
    _legend(figure)
    return figure


def plot_linearity(fits: DataFrame) -> Figure:
    """Held-out R² of affine fits by landscape, from the layer's own input and from [a, y].

    fits: columns kind, layer, landscape, where ("noised" or "path"), r2, low, high.
    """
    figure, axes = canvas(2, 2, (4.2, 2.7), title="How much of a layer is affine", sharex=True, sharey="row")
    titles = {"linear": "in its own input", "linear_stack": "in [a, y]: all layers up to it"}
    places = {"noised": "noised answers", "path": "sampling states"}
    for column, (kind, title) in zip(axes.T, titles.items(), strict=True):
        for axis, (where, words) in zip(column, places.items(), strict=True):
            rows = fits[(fits["kind"] == kind) & (fits["where"] == where)]
            for layer, line in rows.groupby("layer"):
                line = line.rename(columns={"low": "r2_low", "high": "r2_high"})
                _band(axis, line["landscape"], line, "r2", layer)
            axis.axhline(1, color="0.3", linestyle="--", linewidth=1.2, zorder=1)
            axis.set_ylabel(f"R², {words}" if kind == "linear" else "")
            axis.set_ylim(max(fits["r2"].min() - 0.05, -1), 1.04)
        column[0].set_title(title)
        column[-1].set_xticks(sorted(fits["landscape"].unique()))
        column[-1].set_xlabel("landscape k  (0 sharpest)")
    _legend(figure)
    return figure


def plot_ranking(votes: dict[str, DataFrame]) -> Figure:
    """Which of the hidden layers is missed most, by kind of ablation: a panel for each table of damages,
    voters × layers; 1 is the layer that is missed most."""
    figure, (axes,) = canvas(1, len(votes), (2.5, 3.1), title="Which layer is missed most", sharey=True)
    for axis, (title, table) in zip(axes, votes.items(), strict=True):
        ranks = table.rank(axis=1, ascending=False).to_numpy()
        heat_map(axis, -ranks, SEQUENTIAL, Normalize(-ranks.shape[1], -1), lambda v: f"{-v:g}", 13)
        axis.set_title(title)
        axis.set_xticks(range(ranks.shape[1]), [NAMES[layer] for layer in table.columns], fontsize=_INK)
        axis.set_yticks(range(len(table)), [WORDS[voter] for voter in table.index], fontsize=_INK)
    return figure


def _band(axis: Axes, x, line: DataFrame, measure: str, layer: str) -> None:
    colour, marker = LOOKS[layer]
    values, low, high = (line[f"{measure}{end}"] for end in ("", "_low", "_high"))
    if measure in ("score", "mse"):  # a logarithmic axis has no place for what reaches below 0
        low = np.maximum(low, values / 3)
    axis.plot(x, values, color=colour, marker=marker, markersize=4.5, label=NAMES[layer])
    axis.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)


def _legend(figure: Figure) -> None:
    marks = [matplotlib.lines.Line2D([], [], color=c, marker=m, label=NAMES[layer]) for layer, (c, m) in LOOKS.items()]
    figure.legend(handles=marks, loc="outside lower center", ncols=4, fontsize=_INK)


def _short(value: float) -> str:
    if value < 5e-4:
        return "0"
    return f"{value:.2g}" if value < 100 else f"{value:.0f}"
