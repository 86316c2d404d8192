"""Figures of P4-02: the energy on the manifold of SPD matrices, beside straight lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pandas import DataFrame

from ired.instruments.geometry.figures import METRICS, SHAPES
from ired.plotting.plots import dots, legend_below
from ired.plotting.style import COLOURS, DIVERGING, LABELS, MARKERS, canvas

ENERGIES = ("trained", "untrained", "ideal", "algebraic", "affine", "regression")
KINDS = {"perturbed": "a perturbed inverse", "A": "A", "I": "I", "start": "start of sampling", "end": "end of sampling"}
SHORT = {
    "affine-invariant": "affine-\ninvariant",
    "log-Euclidean": "log-\nEuclidean",
    "Bures-Wasserstein": "Bures-W.",
    "Euclidean": "Euclidean",
}
TURNED = "0.55"  # the control: bent as much, elsewhere
PLANES = {"random": "random plane", "gradient": "gradient PCA", "path": "sampling path"}


def geodesic_figures(
    shapes: DataFrame, means: Mapping[str, DataFrame], pictures: Mapping[str, NDArray], problems: int, pairs: int
) -> dict[str, tuple[Figure, str]]:
    """P4-02's figures by name, each with its caption.

    shapes: of `study.geodesic_profiles`; means: of `study.table_means`, by the name of the table; pictures: of
    `study.all_redrawn`; problems: how many; pairs: how many of a kind and problem.
    """
    return {
        "profiles": (
            plot_profiles(shapes),
            f"k = 0; medians and middle halves over {problems} problems. Every metric's points are equally far "
            "from the answer, at most one noise radius (reach) but for the last row. The affine-invariant "
            "geodesic to A passes I.",
        ),
        "comparison": (
            plot_comparison(means["profiles"]),
            "As far as the reach, k = 0; means over problems, 95 % intervals. Ties count half. ×: bent as much "
            "as the affine-invariant one, elsewhere.",
        ),
        "slices": (
            plot_slices(pictures),
            "Gap to the answer's energy of one problem in P1-01's planes, trained energy, at equal distance from "
            "the answer. Hatched: straight lines have left the cone.",
        ),
        "conditioning": (
            plot_conditioning(means["curvature"]),
            "Means over problems, 95 % intervals, k = 0. Known at the answer: ideal 0 and 2 log κ, algebraic "
            "2 log κ and log (κ + 1/κ)/2.",
        ),
        "convexity": (
            plot_convexity(means["convexity"]),
            f"{pairs} pairs of a kind and problem, the same under all metrics; 95 % intervals over problems. "
            "Bend: how far the middle lies below.",
        ),
    }


def plot_profiles(shapes: DataFrame) -> Figure:
    """Energy against distance from the answer at k = 0, a column a kind of target.

    shapes: `geodesics.Profiles.shape` of every kind, with energy and view.
    """
    shapes = shapes[(shapes["landscape"] == 0) & (shapes["energy"] == "trained")]
    kinds = [kind for kind in KINDS if kind in set(shapes["kind"])]
    rows = (
        ("near", ("low", "middle", "high"), "gap"),
        ("near", ("apart_low", "apart", "apart_high"), "gap − straight line's"),
        ("whole", ("low", "middle", "high"), "all the way: gap"),
    )
    figure, axes = canvas(3, len(kinds), (3.1, 2.6), title="Trained energy on the way to …")
    for row, (view, (low, middle, high), label) in enumerate(rows):
        for column, kind in enumerate(kinds):
            axis, here = axes[row, column], shapes[(shapes["view"] == view) & (shapes["kind"] == kind)]
            for metric, colour in (METRICS | ({"turned": TURNED} if row == 1 else {})).items():
                of_metric, dashed = here[here["metric"] == metric], metric in ("Euclidean", "turned")
                # The affine-invariant and the log-Euclidean one are the same towards A and I.
                width = 3.6 if metric == "affine-invariant" else 1.6
                style = {"linestyle": "--" if dashed else "-", "linewidth": width}
                axis.plot(of_metric["fraction"], of_metric[middle], color=colour, label=metric, **style)
                reach = of_metric["fraction"], of_metric[low], of_metric[high]
                axis.fill_between(*reach, color=colour, alpha=0.13, linewidth=0)
            grid = np.unique(here["fraction"])
            if row != 1:
                style = {"color": "black", "linewidth": 1.4}
                axis.plot(grid, grid**2, ":", label="ideal energy, all metrics", **style)
            axis.axhline(0, color="0.6", linewidth=0.8)
            axis.locator_params(nbins=4)
            if row == 0:
                axis.set_title(KINDS[kind])
            if row > 0:
                axis.set_xlabel("distance / the target's" if view == "whole" else "distance / reach")
        axes[row, 0].set_ylabel(f"{label}\n(ideal gap at the end)")
    handles = dict(zip(*(axes[0, 0].get_legend_handles_labels()[::-1]), strict=True))
    handles["affine-invariant, bent at random"] = dict(
        zip(*(axes[1, 0].get_legend_handles_labels()[::-1]), strict=True)
    )["turned"]
    ncols = 6 if len(kinds) > 3 else 3
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=ncols)
    return figure


def plot_comparison(means: DataFrame) -> Figure:
    """Whether curves lie lower than straight lines, and where they are lowest; k = 0, near.

    means: `tables.summarise` of profiles by kind, view, energy, landscape and metric.
    """
    means = means[(means["landscape"] == 0) & (means["view"] == "near")]
    kinds = [kind for kind in KINDS if kind in set(means["kind"])]
    figure, (axes,) = canvas(1, 3, (4.6, 3.8), title="Geodesics against straight lines, equally far")
    lower = means[(means["measure"] == "lower") & (means["metric"] == "affine-invariant")]
    groups = {name: (lower[lower["energy"] == name], COLOURS[name], MARKERS[name]) for name in ENERGIES}
    bent = means.query("measure == 'lower' and metric == 'turned' and energy == 'trained'")
    _groups(axes[0], groups | {"trained, bent at random": (bent, "black", "x")}, "kind", kinds)
    axes[0].set(title="affine-invariant", ylabel="share below the straight line", ylim=(-0.03, 1.03))
    axes[0].axhline(0.5, color="0.4", linewidth=1, linestyle=":")
    for axis, measure, label in (
        (axes[1], "rise", "mean gap / ideal mean gap"),
        (axes[2], "minimum", "lowest point at  (noise radii)"),
    ):
        trained = means[(means["measure"] == measure) & (means["energy"] == "trained")]
        groups = {m: (trained[trained["metric"] == m], c, SHAPES[m]) for m, c in METRICS.items()}
        _groups(axis, groups, "kind", kinds)
        axis.axhline(1.0 if measure == "rise" else 0.0, color="0.4", linewidth=1, linestyle=":")
        axis.set(title="trained", ylabel=label)
    for axis in axes:
        labels = [KINDS[k].replace(" of ", "\nof ").replace("d i", "d\ni") for k in kinds]
        axis.set_xticks(range(len(kinds)), labels)
        axis.tick_params(axis="x", labelsize=8)
    legend_below(figure, axes[:2], 6)
    return figure


def plot_slices(pictures: Mapping[str, NDArray], energy: str = "trained", problem: int = 0) -> Figure:
    """Straight and bent slices of one problem, a column a plane; arrays of `study.redrawn`."""
    kinds = [kind for kind in PLANES if f"{kind}.line" in pictures]
    metrics = {"Euclidean": "straight"} | {m: m for m in ("affine-invariant", "log-Euclidean")}
    figure, axes = canvas(3, len(kinds), (3.3, 2.9), title="Slices: straight, and bent by geodesics")
    for place, (kind, column) in enumerate(zip(kinds, axes.T, strict=True)):
        line = np.asarray(pictures[f"{kind}.line"])
        gaps = [np.asarray(pictures[f"{kind}.{energy}.{metric}"])[problem] for metric in metrics]
        top = min(float(line[-1]) ** 2, max(float(np.abs(gap).max()) for gap in gaps)) or 1.0
        for (metric, label), gap, axis in zip(metrics.items(), gaps, column, strict=True):
            image = axis.pcolormesh(
                line, line, gap, cmap=DIVERGING, norm=TwoSlopeNorm(0, -top, top), shading="nearest", rasterized=True
            )
            if np.ptp(inside := np.clip(gap, -2 * top, 2 * top)) > 0:
                axis.contour(line, line, inside, levels=8, colors="0.25", linewidths=0.5)
            low = np.asarray(pictures[f"{kind}.smallest"])[problem]
            if metric == "Euclidean" and low.min() < 0:
                beyond = {"levels": [low.min() - 1, 0], "colors": "none", "hatches": ["////"]}
                out = axis.contourf(line, line, low, **beyond)
                out.set(edgecolor="0.35", linewidth=0)
                axis.contour(line, line, low, levels=[0], colors="black", linewidths=1.4)
            axis.plot(0, 0, marker="+", color="black", markersize=10, markeredgewidth=1.6)
            axis.set(aspect="equal", title=PLANES[kind] if axis is column[0] else "")
            axis.grid(False)
            if place == 0:
                axis.set_ylabel(f"{label}\nv  (σₖ)")
        column[-1].set_xlabel("u  (σₖ)")
        figure.colorbar(
            image, ax=column, location="bottom", shrink=0.8, extend="both", label="energy gap to the answer  (σₖ)"
        )
    return figure


def plot_conditioning(means: DataFrame) -> Figure:
    """Condition numbers by metric, and what a metric saves; k = 0.

    means: `tables.summarise` of curvature by place, energy, landscape and metric.
    """
    means = means[means["landscape"] == 0]
    figure, (axes,) = canvas(1, 3, (4.6, 3.8), title="Is the Hessian better conditioned on the manifold?")
    panels = (
        (axes[0], "answer", "log_condition", "log₁₀ condition number of |eigenvalues|"),
        (axes[1], "answer", "saved", "log₁₀ saved, against Euclidean"),
        (axes[2], "perturbed", "saved", "log₁₀ saved, against Euclidean"),
    )
    for axis, place, measure, label in panels:
        here = means[(means["measure"] == measure) & (means["place"] == place)]
        metrics = [m for m in METRICS if measure == "log_condition" or m != "Euclidean"]
        groups = {n: (here[here["energy"] == n], COLOURS[n], MARKERS[n]) for n in ENERGIES}
        _groups(axis, groups, "metric", metrics)
        axis.set_xticks(range(len(metrics)), [SHORT[m] for m in metrics])
        axis.axhline(0, color="0.4", linewidth=1, linestyle=":")
        axis.set(ylabel=label, title="at the answer" if place == "answer" else "at a perturbed inverse")
    legend_below(figure, [axes[0]], 6)
    return figure


def plot_convexity(means: DataFrame) -> Figure:
    """Share of convex pairs, and how convex they are, by metric; k = 0, a column a kind of pair.

    means: `tables.summarise` of convexity by kind, energy, landscape and metric.
    """
    means = means[means["landscape"] == 0]
    kinds = list(dict.fromkeys(means["kind"]))
    rows = {"share": "share of pairs, convex", "bend": "bend  (ideal, straight: 1)"}
    figure, axes = canvas(
        2, len(kinds), (4.8, 2.9), title="Midpoint convexity between equal pairs, k = 0", sharey="row"
    )
    for row, (measure, label) in enumerate(rows.items()):
        for column, kind in enumerate(kinds):
            axis, here = axes[row, column], means[(means["kind"] == kind) & (means["measure"] == measure)]
            groups = {n: (here[here["energy"] == n], COLOURS[n], MARKERS[n]) for n in ENERGIES}
            _groups(axis, groups, "metric", list(METRICS))
            axis.set_xticks(range(len(METRICS)), [SHORT[m] for m in METRICS])
            axis.set_title(f"pairs: {kind}" if row == 0 else "")
        axes[row, 0].set_ylabel(label)
    axes[0, 0].set_ylim(-0.04, 1.06)
    if means.loc[means["measure"] == "bend", "mean"].abs().max() > 20:  # an algebraic energy of raw matrices
        axes[1, 0].set_yscale("symlog", linthresh=1.0)
        axes[1, 0].autoscale(axis="y")
    legend_below(figure, [axes[0, 0]], 6)
    return figure


def _groups(axis: Axes, groups: Mapping[str, tuple[DataFrame, str, str]], column: str, places: Sequence[str]) -> None:
    """Means with intervals: a place a value of column, a dot a group (rows, colour, marker)."""
    for i, (name, (rows, colour, marker)) in enumerate(groups.items()):
        rows = rows[rows[column].isin(places)]
        x = rows[column].map(list(places).index).to_numpy() + 0.12 * (i - (len(groups) - 1) / 2)
        dots(axis, rows, x, "mean", colour, marker, upright=True, label=LABELS.get(name, name), size=5)
    axis.set_xlim(-0.6, len(places) - 0.4)
