"""Figures of P3-03: the directions that the gradient keeps to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas import DataFrame

from ired.plotting.axes import landscape_axis, named_ticks
from ired.plotting.plots import dots, legend_below, matrix, row_names
from ired.plotting.style import COLOURS, DIVERGING, LAYERS, canvas, centred_norm

SOURCES = {
    "trained": (COLOURS["trained"], "o", "trained, at noised answers"),
    "paths": (COLOURS["path"], "<", "trained, on sampling paths, as many"),
    "untrained": (COLOURS["untrained"], "s", "untrained network, as many"),
    "ideal": (COLOURS["ideal"], "^", "ideal energy, as many"),
    "affine": (COLOURS["affine"], "v", "affine denoiser, as many"),
    "regression": (COLOURS["regression"], "P", "regression network, as many"),
    "answers": (COLOURS["algebraic"], "D", "PCA of the answers, as many"),
    "best": ("0.35", "x", "the fixed subspace that captures most"),
}
# Energy and states: colour, marker and name. What is judged stands last, on top.
FIELDS = {
    ("untrained", "noised"): (COLOURS["untrained"], "s", "untrained"),
    ("trained", "path"): (COLOURS["path"], "<", "trained, on sampling paths"),
    ("ideal", "noised"): (COLOURS["ideal"], "^", "ideal"),
    ("affine", "noised"): (COLOURS["affine"], "v", "affine denoiser"),
    ("regression", "noised"): (COLOURS["regression"], "P", "regression network"),
    ("trained", "noised"): (COLOURS["trained"], "o", "trained, at noised answers"),
}
ROWS = {
    "trained": "at noised answers",
    "paths": "on sampling paths",
    "untrained": "untrained",
    "affine": "affine denoiser",
    "regression": "regression network",
}
PARTS = {
    "identity": "identity",
    "diagonal": "diagonal",
    "off_diagonal": "off-diagonal",
    "antisymmetric": "antisymmetric",
}


def active_subspace_figures(tables: dict[str, DataFrame], matrices: np.ndarray) -> list[tuple]:
    """Name, figure and caption of each, from the tables of P3-03 and the components as matrices."""
    beyond = {name: tables[name].query("field == 'beyond'") for name in ("spectra", "framed")}
    return [
        (
            "scree",
            plot_scree(beyond["spectra"]),
            "PCA of the gradient beyond the best multiple of the "
            "state. Marked: above what shuffled and sign-flipped entries give (95 %).",
        ),
        (
            "components",
            plot_pictures(tables["components"], matrices),
            "Leading components, their share of the variance, and what they are made of.",
        ),
        (
            "subspaces",
            plot_subspaces(tables["angles"], tables["captures"], beyond["framed"]),
            "Bands: the middle 95 %; bars: 95 % intervals over problems; m: dimension.",
        ),
        (
            "alignment",
            plot_alignment(tables["axes"], tables["single"], tables["cosines"]),
            "1: what 95 % of random directions stay under, of the state or of the same layer; filled: "
            "above it, and above chance after correction. Bars: 95 % intervals over problems.",
        ),
    ]


def plot_scree(spectra: DataFrame) -> Figure:
    """Spectra of each energy, a panel a landscape, with what the trained one's stays under by chance.

    spectra: columns energy, states, landscape, component, share, shuffled, flipped, real. 1: the mean
    variance. Marked components are real.
    """
    landscapes = sorted(spectra["landscape"].unique())
    columns = -(-len(landscapes) // 2)
    figure, axes = canvas(
        2,
        columns,
        (2.7, 2.4),
        sharex=True,
        sharey=True,
        title="Components of the gradient beyond its A-blind part",
    )
    size = int(spectra["component"].max())
    for axis, k in zip(axes.flat, landscapes, strict=False):
        for (energy, states), (colour, marker, words) in FIELDS.items():
            rows = spectra[(spectra["landscape"] == k) & (spectra["energy"] == energy)]
            rows = rows[rows["states"] == states].sort_values("component")
            x, y, real = rows["component"], rows["share"] * size, rows["real"].to_numpy(dtype=bool)
            axis.plot(x, y, color=colour, linewidth=1.3, label=words)
            axis.plot(x[real], y[real], marker, color=colour, markersize=4)
        limit = rows[["shuffled", "flipped"]].max(axis=1) * size
        axis.plot(x, limit, color="black", linestyle=":", linewidth=1.2, label="95 % of its null")
        axis.set_title(f"k = {k}: {int(real.sum())} of {size} real", fontsize=10)
        axis.set_yscale("log")
    shown = (spectra["share"] * size).clip(lower=0.02)
    ticks = [t for t in (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20) if t <= 1.3 * shown.max()]
    ticks = [t for t in ticks if t >= shown.min() / 1.3]
    named_ticks(axes[0, 0], "y", ticks)
    axes[0, 0].set_ylim(shown.min() / 1.3, 1.3 * shown.max())
    for axis in axes.flat[len(landscapes) :]:
        axis.set_visible(False)
    for axis in axes[-1]:
        axis.set_xlabel("component")
    for axis in axes[:, 0]:
        axis.set_ylabel("variance / mean")
    legend_below(figure, [axes[0, 0]], 4)
    return figure


def plot_pictures(table: DataFrame, matrices: np.ndarray) -> Figure:
    """Components as matrices of length 1, in one scale of colours; a line each of ROWS.

    table: columns name, landscape, component, share, real, identity, diagonal, off_diagonal,
    antisymmetric; matrices (rows, n, n).
    """
    shown = table["name"].isin(ROWS).to_numpy()
    table, matrices = table[shown], matrices[shown]
    names, columns = [name for name in ROWS if name in set(table["name"])], int(table["name"].value_counts().max())
    figure, axes = canvas(len(names), columns, (1.7, 2.4), title="Leading components of the gradient as matrices")
    norm = centred_norm(matrices)
    for line, name in zip(axes, names, strict=True):
        places = np.flatnonzero(table["name"] == name)
        for axis in line[len(places) :]:
            axis.set_visible(False)
        for axis, place in zip(line, places, strict=False):
            row = table.iloc[place]
            image = matrix(axis, matrices[place], DIVERGING, norm)
            axis.set_title(f"k={row.landscape} #{row.component}", fontsize=10)
            notes = [f"{row.share:.1%}, {'real' if row.real else 'within chance'}"]
            notes += [f"{words} {row[part]:.0%}" for part, words in PARTS.items() if row[part] >= 0.005]
            axis.set_xlabel("\n".join(notes), loc="left", fontsize=8)
        line[0].set_ylabel(ROWS[name], fontweight="bold")
    figure.colorbar(image, ax=axes, shrink=0.6, label="entry")
    return figure


def plot_subspaces(stability: DataFrame, captures: DataFrame, power: DataFrame) -> Figure:
    """Whether the subspace is the same on other problems, what it captures of the inverse's exact
    sensitivity, and where in A's own axes the field is.

    stability: landscape, dimension, and median, low and high of each kind of angle; captures:
    landscape, source, share, low, high, chance, limit; power: energy, states, landscape, share, low,
    high, chance.
    """
    figure, ((left, middle, right),) = canvas(1, 3, (4.6, 5.2), title="The span of the real components")
    k = stability["landscape"]
    for name, colour, words in (
        ("chance", COLOURS["untrained"], "two random subspaces"),
        ("halves", COLOURS["trained"], "one half of the problems, the other"),
        ("bootstrap", COLOURS["path"], "problems resampled, all"),
    ):
        left.plot(k, stability[name], marker="o", color=colour, label=words)
        left.fill_between(k, stability[f"{name}_low"], stability[f"{name}_high"], color=colour, alpha=0.2, linewidth=0)
    left.plot(
        k, stability["expected"], color="black", linestyle=":", linewidth=1.3, label="halves, were the spectrum true"
    )
    left.axhline(30, color="0.4", linewidth=1, linestyle="--")
    left.set(ylim=(0, 92), ylabel="largest principal angle, degrees", title="Stability")
    for at, m in zip(k, stability["dimension"], strict=True):
        left.annotate(f"m={m}" if at == k.iloc[0] else str(m), (at, 1), ha="center", fontsize=8)

    for place, (source, (colour, marker, words)) in enumerate(SOURCES.items()):
        rows = captures[captures["source"] == source]
        if rows.empty:
            continue
        x = rows["landscape"] + 0.1 * (place - (len(SOURCES) - 1) / 2)
        times = rows[["share", "low", "high"]].div(rows["chance"], axis=0)
        dots(middle, times, x, "share", colour, marker, upright=True, label=words, size=5)
    middle.step(
        rows["landscape"],
        rows["limit"] / rows["chance"],
        where="mid",
        color="black",
        linestyle=":",
        linewidth=1.3,
        label="95 % of random subspaces",
    )
    middle.axhline(1, color="0.4", linewidth=1)
    middle.set(ylabel="captured / chance", title="Exact sensitivity of the inverse")

    for place, ((energy, states), (colour, marker, words)) in enumerate(FIELDS.items()):
        rows = power[(power["energy"] == energy) & (power["states"] == states)]
        x = rows["landscape"] + 0.1 * (place - (len(FIELDS) - 1) / 2)
        dots(right, rows, x, "share", colour, marker, upright=True, label=words, size=5)
    right.axhline(rows["chance"].iloc[0], color="black", linestyle=":", linewidth=1.3, label="isotropic")
    right.set(ylabel="share of the field along q qᵀ", ylim=(0, 1.05), title="Field in each A's own eigenvectors")
    for axis in (left, middle, right):
        landscape_axis(axis, int(k.max()) + 1)
        handles, labels = axis.get_legend_handles_labels()
        axis.legend(handles, labels, loc="upper center", bbox_to_anchor=(0.5, -0.2), fontsize=8.5)
    return figure


def plot_alignment(axes_of_A: DataFrame, captures: DataFrame, cosines: DataFrame) -> Figure:
    """Each component that is handed on, a line: its share in A's eigen-directions, what it captures
    of the exact sensitivity, and its cosines with directions of the layers led back to the state.

    All are shown as multiples of what 95 % of random directions stay under. axes_of_A, captures:
    landscape, component, share, low, high, limit, agrees; cosines: landscape, component, source, space,
    name, cosine, limit, agrees.
    """
    lines = list(dict.fromkeys(zip(axes_of_A["landscape"], axes_of_A["component"], strict=True)))
    figure, (axes,) = canvas(1, 4, (3.1, 0.45 * len(lines) + 1.5), sharey=True, title="What the components point at")
    for axis, table, title in (
        (axes[0], axes_of_A, "Eigen-directions of A"),
        (axes[1], captures, "Sensitivity −Y dA Y"),
    ):
        rows = table.set_index(["landscape", "component"]).loc[lines]
        times = rows[["share", "low", "high"]].div(rows["limit"], axis=0)
        dots(axis, times, range(len(rows)), "share", COLOURS["trained"], filled=rows["agrees"], size=5)
        axis.set(title=title, xlabel="share")
    for axis, source, title in (
        (axes[2], "concept", "Concepts (CAVs)"),
        (axes[3], "feature", "Features most used"),
    ):
        _cosines(axis, cosines[cosines["source"] == source], lines)
        axis.set(title=title, xlabel="|cosine|")
    for axis in axes:
        axis.axvline(1, color="black", linestyle=":", linewidth=1.3)
        axis.set_xlim(0, max(1.2, 1.08 * axis.dataLim.xmax))
        axis.set_xlabel(f"{axis.get_xlabel()} / 95 % of random")
        row_names(axis, [f"k={k} #{c}" for k, c in lines])
    legend_below(figure, [axes[3]], 5, handletextpad=0.2)
    return figure


def _cosines(axis: Axes, table: DataFrame, lines: Sequence[tuple[int, int]]) -> None:
    """A dot a direction in the colour of its layer, filled where it agrees more than chance would."""
    for layer, colour in LAYERS.items():
        label: str | None = layer
        for place, (k, c) in enumerate(lines):
            rows = table[(table["landscape"] == k) & (table["component"] == c)]
            rows = rows[rows["space"] == layer].sort_values("name")
            if rows.empty:
                continue
            times = (rows["cosine"].abs() / rows["limit"]).to_numpy()
            agrees = rows["agrees"].to_numpy(dtype=bool)
            y = place + 0.24 * (list(LAYERS).index(layer) - 1) + np.zeros(len(rows))
            axis.plot(
                times[~agrees],
                y[~agrees],
                "o",
                color=colour,
                markerfacecolor="none",
                markersize=3.5,
                markeredgewidth=0.8,
                label=label,
            )
            axis.plot(times[agrees], y[agrees], "o", color=colour, markersize=5)
            label = None
            for name, x in zip(rows["name"][agrees], times[agrees], strict=True):
                if x == times[agrees].max():
                    axis.annotate(
                        name, (x, y[0]), xytext=(-6, 0), textcoords="offset points", fontsize=7, va="center", ha="right"
                    )
