"""Figures of P4-04: distances of clouds, the way between them, and what the energy knows of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from pandas import DataFrame

from ired.instruments.transport.annealing import Annealing
from ired.instruments.transport.energy_ranking import DISTANCES, TRANSPORT
from ired.plotting.axes import plain_ticks
from ired.plotting.plots import dots, legend_below, row_names
from ired.plotting.style import COLOURS, LABELS, MARKERS, SEQUENTIAL, canvas

NULL = "0.8"
# What is no energy has colours of Tol's muted palette, which no energy has.
ENTROPIC, DEBIASED = "#999933", "#661100"
STEPS = {"optimal": "black", "particles": "#ddaa33", "gaussian": "#882255"}
SHORT = {"principal axes, Sinkhorn": "principal axes,\nSinkhorn", "eigenvalues by rank": "eigenvalues\nby rank"}
WORDS = {"Bures-Wasserstein": "Bures–Wasserstein*", "spectra": "spectra*"}


def transport_figures(
    tables: Mapping[str, DataFrame], ways: Mapping[tuple[str, str], Annealing], axes: int
) -> list[tuple[str, Figure, str]]:
    """Name, figure and caption of each, from the tables of P4-04 and transport by (answers, scale) along `axes`."""
    return [
        ("answers", plot_answers(tables["answers"]), "Filled: beyond the null's middle 95 %."),
        ("spectra", plot_answer_spectra(tables["ranks"], tables["entropy"]), "W2 of eigenvalues by rank."),
        (
            "matrices",
            plot_transport_matrices(ways),
            f"W2 along {axes} principal axes. Black: next to none. (Affine denoiser and regression network, not "
            "drawn: black on the clean scale, their clouds stand.)",
        ),
        (
            "path",
            plot_annealing(tables["steps"], tables["straightness"]),
            "95 % intervals over blocks. A way is straight that is hardly one: affine denoiser and regression network "
            "stand at their answer, and what is left is next to nothing.",
        ),
        (
            "correlations",
            plot_correlations(tables["summary"]),
            "Means over problems, 95 % intervals; all kinds of candidates, noised states. *: transport. The ideal "
            "energy is a function of L2, the affine denoiser's and the regression network's nearly of L2 to theirs.",
        ),
    ]


def plot_answers(table: DataFrame) -> Figure:
    """Distances of sampled to true answers in units of the null's mean, one panel a ground cost.

    table: rows of `ired.instruments.transport.answer_clouds.compare_clouds`.
    """
    costs, names = list(table["cost"].unique()), list(table["answers"].unique())
    measures = list(table["measure"].unique())
    figure, (axes,) = canvas(
        1,
        len(costs),
        (5.4, 0.62 * len(measures) + 1.9),
        sharex=True,
        sharey=True,
        title="How far sampled answers lie from true ones",
    )
    for axis, cost in zip(axes, costs, strict=True):
        rows = table[table["cost"] == cost].set_index(["answers", "measure"])
        null = rows.groupby("measure")[["low", "high", "null"]].first()
        null = null[["low", "high"]].div(null["null"], axis=0)
        for y, measure in enumerate(measures):
            low, high = null.loc[measure]
            axis.barh(y, high - low, left=low, height=0.8, color=NULL, linewidth=0, zorder=1)
            for i, name in enumerate(names):
                if (name, measure) not in rows.index:
                    continue
                row, height = rows.loc[(name, measure)], y + 0.16 * (i - (len(names) - 1) / 2)
                beyond = row["distance"] > row["high"]
                axis.plot(
                    row["ratio"],
                    height,
                    MARKERS[name],
                    color=COLOURS[name],
                    markersize=7,
                    mfc=COLOURS[name] if beyond else "white",
                )
        axis.axvline(1, color="0.45", linewidth=1, zorder=1)
        axis.set_xscale("log")
        if absent := [name for name in names if name not in rows.index.get_level_values(0)]:
            axis.text(
                0.97,
                0.03,
                f"{', '.join(LABELS.get(name, name) for name in absent)}: too few that are positive definite",
                ha="right",
                color="0.35",
                transform=axis.transAxes,
            )
        axis.set_title(f"{cost} cost")
        axis.set_xlabel("W2, times that of the null")
        axis.grid(False, axis="y")
    plain_ticks(axes[0], "x")
    axes[0].set_yticks(range(len(measures)), [SHORT.get(m, m) for m in measures])
    axes[0].set_ylim(len(measures) - 0.4, -0.6)
    for name in names:
        axes[0].plot([], [], MARKERS[name], color=COLOURS[name], label=LABELS.get(name, name), markersize=8)
    axes[0].bar([np.nan], [np.nan], color=NULL, label="null, middle 95 %")
    figure.legend(loc="outside lower center", ncols=6)
    return figure


def plot_answer_spectra(ranks: DataFrame, entropy: DataFrame) -> Figure:
    """W2 of the eigenvalues of each rank beside its null, and what entropy adds.

    ranks, entropy: rows of `by_rank` and `bias` of `ired.instruments.transport.answer_clouds`.
    """
    costs = list(ranks["cost"].unique())
    figure, (axes,) = canvas(1, len(costs) + 1, (4.3, 3.7), title="Spectra, and the price of entropy")
    for axis, cost in zip(axes, costs, strict=False):
        rows = ranks[ranks["cost"] == cost]
        for i, (name, group) in enumerate(rows.groupby("answers", sort=False)):
            if i == 0:
                axis.fill_between(group["rank"] + 1, group["low"], group["high"], color=NULL, linewidth=0)
                axis.plot(group["rank"] + 1, group["null"], color="0.55", linewidth=1.2)
            axis.plot(
                group["rank"] + 1,
                group["distance"],
                MARKERS[name],
                linestyle="-",
                color=COLOURS[name],
                zorder=3 if name == "trained" else 2,
            )
        axis.set_yscale("log")
        axis.set_title("eigenvalues" if cost == costs[0] else "their logarithms")
        axis.set_xlabel("rank of the eigenvalue (1 smallest)")
        axis.set_ylabel("W2")
        plain_ticks(axis, "y")
        last = int(rows["rank"].max()) + 1
        axis.set_xticks(range(1, last + 1, max(1, last // 6)))
    axis = axes[-1]
    for cost, style in zip(costs, ("-", "--"), strict=False):
        rows = entropy[entropy["cost"] == cost]
        for kind, colour, marker in (
            ("entropic", ENTROPIC, "D"),
            ("debiased", DEBIASED, "X"),
        ):
            axis.plot(rows["share"], rows[kind] / rows["exact"], marker, linestyle=style, color=colour)
    axis.axhline(1, color="0.45", linewidth=1)
    axis.set(
        xscale="log",
        ylim=(0, None),
        title="True answers to true ones",
        xlabel="ε / median squared distance",
        ylabel="times the exact W2",
    )
    plain_ticks(axis, "x")
    for name in ranks["answers"].unique():
        axes[0].plot([], [], MARKERS[name], linestyle="-", color=COLOURS[name], label=LABELS.get(name, name))
    axes[0].bar([np.nan], [np.nan], color=NULL, label="null, middle 95 %")
    axis.plot([], [], "D-", color=ENTROPIC, label="with entropy")
    axis.plot([], [], "X-", color=DEBIASED, label="debiased")
    axis.plot([], [], "--", color="0.4", label="affine-invariant")
    figure.legend(loc="outside lower center", ncols=9)
    return figure


def plot_transport_matrices(ways: Mapping[tuple[str, str], Annealing]) -> Figure:
    """W2 between the clouds of all landscapes and the true answers, by sampler and scale."""
    shown = {
        f"{name}, {scale} scale": ways[name, scale]
        for name, scale in (("trained", "clean"), ("untrained", "clean"), ("ideal", "state"))
    }
    figure, (axes,) = canvas(1, len(shown), (4.3, 4.1), title="Transport between landscapes")
    top = max(way.matrix.max() for way in shown.values())
    colours = colormaps[SEQUENTIAL].with_extremes(bad="black", under="black")
    for axis, (name, way) in zip(axes, shown.items(), strict=True):
        labels = [str(k) for k in way.landscapes] + ["true"]
        image = axis.imshow(
            np.ma.masked_less(way.matrix, 1e-9), cmap=colours, aspect="auto", norm=LogNorm(1e-3 * top, top)
        )
        axis.set_xticks(range(len(labels)), labels)
        axis.set_yticks(range(len(labels)), labels)
        axis.axhline(len(labels) - 1.5, color="white", linewidth=1.5)
        axis.axvline(len(labels) - 1.5, color="white", linewidth=1.5)
        axis.grid(False)
        axis.set_title(name)
        axis.set_xlabel("leaving landscape k")
    axes[0].set_ylabel("leaving landscape k")
    figure.colorbar(image, ax=list(axes), shrink=0.8, label="W2 along the axes")
    return figure


def plot_annealing(steps: DataFrame, straightness: DataFrame, scale: str = "clean") -> Figure:
    """Cost of each step on one scale, and straightness on both.

    steps, straightness: `step_table` and `table` of `ired.instruments.transport.annealing`.
    """
    figure, (axes,) = canvas(1, 3, (4.5, 3.8), title="From the first estimate to the answer")
    for axis, name in zip(axes, ("trained", "untrained"), strict=False):
        rows = steps[(steps["scale"] == scale) & (steps["answers"] == name)]
        x = np.arange(len(rows))
        for kind, label, style, colour, marker, size in (
            ("chance", "random pairing", ":", "0.5", "s", 5),
            ("gaussian", "Bures, all entries", "--", STEPS["gaussian"], "X", 5),
            ("particles", "particles", "-", STEPS["particles"], "o", 9),
            ("optimal", "W2, axes", "-", STEPS["optimal"], "o", 4),
        ):
            axis.plot(x, rows[kind], marker, linestyle=style, color=colour, label=label, markersize=size)
        axis.set_xticks(x, [f"{a}→{b}" for a, b in zip(rows["from"], rows["to"], strict=True)], fontsize=8)
        axis.set_title(f"{name}, {scale} scale")
        axis.set_xlabel("between landscapes")
        axis.set_yscale("log")
        plain_ticks(axis, "y")
    axes[0].set_ylabel("root mean squared step")
    axis, names = axes[2], list(straightness["answers"].unique())
    for j, way in enumerate(straightness["scale"].unique()):
        for i, name in enumerate(names):
            row = straightness[(straightness["answers"] == name) & (straightness["scale"] == way)].iloc[:1]
            y = j * (len(names) + 0.7) + i
            dots(axis, row, y - 0.15, "blocks", COLOURS[name], MARKERS[name], size=8, width=2.2)
            style = {"color": COLOURS[name], "markersize": 8}
            axis.plot(row["particle"], y + 0.2, MARKERS[name], mfc="white", **style)
            axis.plot(row["optimality"], y + 0.2, "|", markeredgewidth=2, **style)
    ticks = [j * (len(names) + 0.7) + i for j in range(2) for i in range(len(names))]
    words = [f"{LABELS.get(name, name)}, {way}" for way in straightness["scale"].unique() for name in names]
    axis.set_yticks(ticks, words)
    axis.set_ylim(ticks[-1] + 0.7, -0.7)
    axis.set_title("Straightness")
    axis.set_xlabel("1: the shortest way")
    axis.axvline(1, color="0.45", linewidth=1)
    axis.grid(False, axis="y")
    axis.plot([], [], "o", color="0.3", label="of the clouds, 95 %")
    axis.plot([], [], "o", color="0.3", mfc="white", label="of particles")
    axis.plot([], [], "|", color="0.3", markersize=12, markeredgewidth=2, label="optimality")
    legend_below(figure, axes[[0, 2]], 7)
    return figure


def plot_correlations(summary: DataFrame, place: str = "noised") -> Figure:
    """Rank correlations of energies with distances, all kinds of candidates, a column a landscape.

    summary: means with intervals of `rho` and `partial` by place, landscape, energy, kind and distance.
    """
    rows = summary[(summary["place"] == place) & (summary["kind"] == "all")]
    landscapes = list(rows["landscape"].unique())
    figure, axes = canvas(
        2,
        len(landscapes),
        (4.3, 3.4),
        sharey="row",
        sharex="row",
        title="What an answer's energy knows of its distance to the truth",
    )
    for column, k in enumerate(landscapes):
        for axis, measure, label in (
            (axes[0, column], "rho", "Spearman's ρ within a problem"),
            (axes[1, column], "partial", "partial ρ given L2"),
        ):
            _distances(
                axis,
                rows[(rows["landscape"] == k) & (rows["measure"] == measure)],
                "energy",
                list(rows["energy"].unique()),
            )
            axis.set_xlabel(label)
        axes[0, column].set_title(f"landscape k = {k}")
    for name in rows["energy"].unique():
        axes[0, 0].plot([], [], MARKERS[name], color=COLOURS[name], label=LABELS.get(name, name))
    figure.legend(loc="outside lower center", ncols=6)
    return figure


def _distances(axis: Axes, rows: DataFrame, by: str, names: list[str]) -> None:
    for i, name in enumerate(names):
        part = rows[rows[by] == name]
        y = part["distance"].map(DISTANCES.index).to_numpy() + 0.14 * (i - (len(names) - 1) / 2)
        dots(axis, part, y, "mean", COLOURS[name], MARKERS[name], width=2)
    axis.axvline(0, color="0.45", linewidth=1)
    axis.axhline(len(TRANSPORT) - 0.5, color="0.75", linewidth=0.8)
    row_names(axis, [WORDS.get(d, d) for d in DISTANCES])
