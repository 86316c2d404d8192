"""Figures of Phase 1: energy landscapes."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, TwoSlopeNorm
from matplotlib.figure import Figure
from pandas import DataFrame

from ired.instruments.landscape.hessian import FUNCTION_LABELS
from ired.plotting.axes import landscape_axis, signed_log
from ired.plotting.plots import heat_map, legend_below
from ired.plotting.style import COLOURS, DIVERGING, LABELS, SEQUENTIAL, band, canvas

ENERGIES = ("trained", "untrained", "ideal", "algebraic", "affine", "regression")
SHOWN = (0, 2, 4, 6, 9)  # landscapes that small multiples show


def draw_slice(axis: Axes, pictures: Mapping[str, np.ndarray], name: str, top: float, problem: int = 0):
    """One slice with its marks, on a colour scale from −top to top."""
    gap = np.asarray(pictures[f"{name}.gap"])[problem]
    line = np.asarray(pictures[f"{name}.line"])
    image = axis.pcolormesh(
        line,
        line,
        gap,
        cmap=DIVERGING,
        norm=TwoSlopeNorm(0, -top, top),
        shading="nearest",
        rasterized=True,
    )
    inside = np.clip(gap, -2 * top, 2 * top)
    if np.ptp(inside) > 0:
        axis.contour(line, line, inside, levels=8, colors="0.25", linewidths=0.5)
    path, answer = (np.asarray(pictures[f"{name}.{mark}"])[problem] for mark in ("path", "model answer"))
    axis.plot(*path.T, color="black", linewidth=1, marker=".", markersize=3)
    axis.plot(*answer, marker="x", color="black", markersize=7)
    axis.plot(0, 0, marker="+", color="black", markersize=10, markeredgewidth=1.6)
    axis.set(xlim=(line[0], line[-1]), ylim=(line[0], line[-1]), aspect="equal")
    axis.grid(False)
    return image


def _shown(pictures: Mapping[str, np.ndarray]) -> list[int]:
    present = {int(name.split(".")[2][1:]) for name in pictures}
    return [k for k in SHOWN if k in present]


def _grid(pictures, rows: list[tuple[str, str]], extent: float, title: str, shared: bool = False) -> Figure:
    """Slices with one row per (name, label) and one column per landscape; shared: all of one width.

    The colours span the ideal bowl up to its corner at (extent, extent).
    """
    landscapes = _shown(pictures)
    figure, axes = canvas(len(rows), len(landscapes), (2.5, 2.4), title=title, sharex=shared, sharey=shared)
    for row, (name, label) in zip(axes, rows, strict=True):
        for axis, k in zip(row, landscapes, strict=True):
            image = draw_slice(axis, pictures, f"{name}.k{k}", extent**2)
            if axis in axes[0]:
                axis.set_title(f"k = {k}")
            if axis in axes[-1]:
                axis.set_xlabel("u  (σₖ)")
        row[0].set_ylabel(f"{label}\nv  (σₖ)")
    figure.colorbar(image, ax=axes, label="energy gap to the answer  (σₖ)", shrink=0.6, extend="both")
    return figure


def plot_slices_by_energy(pictures: Mapping[str, np.ndarray], energies: list[str], extent: float) -> Figure:
    rows = [(f"{name}.random", LABELS.get(name, name)) for name in energies]
    return _grid(pictures, rows, extent, "Energy around the answer, and what it is held against", shared=True)


def plot_slices_by_plane(pictures: Mapping[str, np.ndarray], extent: float) -> Figure:
    rows = [
        (f"trained.{kind}", label)
        for kind, label in (
            ("random", "random plane"),
            ("gradient", "gradient PCA"),
            ("path", "sampling path"),
        )
    ]
    return _grid(pictures, rows, extent, "The trained energy along three kinds of planes")


def draw_by_landscape(axis: Axes, table: DataFrame, label: str, line: float | None = None) -> None:
    """Means with intervals against the landscape, one line per energy.

    table: columns energy, landscape, mean, low, high.
    """
    for name, rows in table.groupby("energy", sort=False):
        band(axis, rows["landscape"], rows["mean"], rows["low"], rows["high"], name)
    if line is not None:
        axis.axhline(line, color="0.4", linewidth=1, linestyle=":")
    axis.set_ylabel(textwrap.fill(label, 30))
    landscape_axis(axis, int(table["landscape"].max()) + 1)


def plot_slice_shapes(summary: DataFrame) -> Figure:
    """summary: columns kind, energy, landscape, measure, mean, low, high."""
    figure, axes = canvas(1, 3, title="Slices through the answer in random planes")
    summary = summary[summary["kind"] == "random"]
    for axis, (measure, label) in zip(
        axes[0],
        (
            ("minimum_distance", "distance of lowest point  (σₖ)"),
            ("below", "share of slice below the answer"),
            ("ideal_correlation", "correlation with the ideal bowl"),
        ),
        strict=True,
    ):
        draw_by_landscape(axis, summary[summary["measure"] == measure], label)
    legend_below(figure, axes[0, :1], ncols=len(ENERGIES))
    return figure


def plot_gradient_field(summary: DataFrame) -> Figure:
    """summary: columns energy, distance, landscape, measure, mean, low, high."""
    figure, axes = canvas(2, 2, (5, 3.6), title="Where the gradient points, and where it leads")
    measure = {name: rows for name, rows in summary.groupby("measure")}
    near = measure["cosine"][measure["cosine"]["distance"] == 1.0]
    draw_by_landscape(axes[0, 0], near, "cosine to the answer", 0)
    axes[0, 0].set_title("one noise radius away")
    axis = axes[0, 1]
    trained = measure["cosine"][measure["cosine"]["energy"] == "trained"]
    grid = trained.pivot(index="distance", columns="landscape", values="mean")
    image = heat_map(axis, grid, DIVERGING, TwoSlopeNorm(0, -1, 1), origin="lower")
    axis.set_yticks(range(len(grid)), [f"{r:g}" for r in grid.index])
    axis.set(title="trained, at every distance", ylabel="distance  (noise radii)")
    landscape_axis(axis, grid.shape[1])
    figure.colorbar(image, ax=axis, label="cosine to the answer")
    score = measure["relative_shrunk"]
    draw_by_landscape(axes[1, 0], score[score["energy"] != "algebraic"], "score error / A-blind error", 1)
    axes[1, 0].set_title("denoising, relative to never seeing A")
    signed_log(axes[1, 0], 0.01)
    ends = measure["end"][measure["end"]["distance"] == 1.0]
    draw_by_landscape(axes[1, 1], ends, "end's distance  (noise radii)")
    axes[1, 1].set(title="descent from one noise radius")
    signed_log(axes[1, 1], 0.01)
    legend_below(figure, axes[0, :1], ncols=len(ENERGIES))
    return figure


def plot_hessian_spectra(spectra: Mapping[str, np.ndarray]) -> Figure:
    """Eigenvalues by rank: arrays (K, P, m) by "energy.noised.part"."""
    landscapes = (0, 4, 9)
    energies = dict.fromkeys(name.split(".")[0] for name in spectra)
    figure, axes = canvas(2, len(landscapes), title="Spectra of the Hessian, in units of 1/σₖ")
    for column, k in enumerate(landscapes):
        _ranked(axes[1, column], np.asarray(spectra["trained.noised.eigenvalues"])[k], "trained")
        for name in energies:
            _ranked(axes[0, column], np.asarray(spectra[f"{name}.noised.eigenvalues"])[k], name)
        axes[0, column].set_title(f"k = {k}")
        for part, colour in (("gauss_newton", "path"), ("residual", "mean")):
            values = np.asarray(spectra[f"trained.noised.{part}"])[k]
            _ranked(axes[1, column], values, part.replace("gauss_newton", "Gauss–Newton"), colour)
        axes[1, column].set_xlabel("rank of the eigenvalue")
    for axis in axes.flat:
        signed_log(axis)
    axes[0, 0].set_ylabel("eigenvalue × σₖ")
    axes[1, 0].set_ylabel("its parts, trained × σₖ")
    axes[1, 0].legend()
    legend_below(figure, [axes[0, 0]], len(energies))
    return figure


def _ranked(axis: Axes, values: np.ndarray, label: str, colour: str | None = None) -> None:
    low, middle, high = np.quantile(values, [0.05, 0.5, 0.95], axis=0)
    rank = np.arange(1, len(middle) + 1)
    style = "--" if label == "residual" else "-"  # it often lies on the whole
    axis.plot(rank, middle, style, color=COLOURS[colour or label], label=label)
    axis.fill_between(rank, low, high, color=COLOURS[colour or label], alpha=0.2, linewidth=0)


def plot_curvature(summary: DataFrame) -> Figure:
    """summary: columns energy, landscape, measure, mean, low, high."""
    figure, axes = canvas(2, 3, title="Curvature against the ideal and the algebraic energy")
    panels = (
        ("ideal_scale", "mean curvature × σₖ", 1),
        ("ideal_distance", "distance to the best c·I", 0),
        ("negative_share", "share of negative eigenvalues", 0),
        ("participation", "effective number of directions", None),
        ("algebraic_cosine_centred", "traceless cosine with A² ⊗ I", 0),
        ("condition_correlation", "rank correlation of κ(H), κ(A)", 0),
    )
    for axis, (measure, label, line) in zip(axes.flat, panels, strict=True):
        draw_by_landscape(axis, summary[summary["measure"] == measure], label, line)
    signed_log(axes[0, 0])
    legend_below(figure, [axes[0, 0]], summary["energy"].nunique())
    return figure


def plot_curvature_functions(summary: DataFrame) -> Figure:
    """Traceless cosines with f(A) ⊗ I; summary as in `plot_curvature`."""
    title = "Which function of A does the curvature follow?"
    figure, axes = canvas(2, 2, (5, 3.3), title=title, sharey=True)
    for axis, (name, label) in zip(axes.flat, FUNCTION_LABELS.items(), strict=True):
        rows = summary[summary["measure"] == f"{name}_cosine_centred"]
        draw_by_landscape(axis, rows, "traceless cosine with f(A) ⊗ I", 0)
        axis.set_title(f"f(A) = {label}")
    legend_below(figure, [axes[0, 0]], summary["energy"].nunique())
    return figure


def plot_landscape_metrics(summary: DataFrame) -> Figure:
    """summary: columns energy, landscape, measure, mean, low, high."""
    figure, axes = canvas(2, 3, title="Landscape metrics")
    panels = (
        ("share", "midpoint-convex segments, noise scale", 1),
        ("radius", "radius where gap = σₖ·size/2 (noise radii)", 1),
        ("other_rate", "P(another answer costs more)", 0.5),
        ("minima", "distinct minima found", 1),
        ("nearest_distance_median", "median nearest minimum (radii)", 0),
        ("lowest_is_nearest", "share: nearest is the lowest", 1),
    )
    for axis, (measure, label, line) in zip(axes.flat, panels, strict=True):
        draw_by_landscape(axis, summary[summary["measure"] == measure], label, line)
    signed_log(axes[1, 1], 0.1)
    axes[0, 0].legend()
    return figure


def plot_minima_by_box(summary: DataFrame) -> Figure:
    """Minima in the sampler's box and beyond it; summary as in `plot_landscape_metrics`."""
    figure, axes = canvas(2, 3, title="Minima inside the sampler's box, and outside")
    share, radii = "share of problems", "median (noise radii)"
    panels = (
        ("inside_found", "A minimum inside", share),
        ("outside_found", "A minimum outside", share),
        ("lowest_inside", "The lowest is inside", share),
        ("inside_distance_median", "Distance of the nearest inside", radii),
        ("outside_distance_median", "Distance of the nearest outside", radii),
        ("inside_lowest_is_nearest", "The nearest inside is the lowest there", share),
    )
    everywhere = summary[["energy", "landscape"]].drop_duplicates()
    for axis, (measure, title, label) in zip(axes.flat, panels, strict=True):
        rows = summary[summary["measure"] == measure]
        # Where no problem has a number, a line has a gap.
        draw_by_landscape(axis, everywhere.merge(rows, "left", ["energy", "landscape"]), label)
        axis.set_title(title)
        if label == share:
            axis.set_ylim(-0.03, 1.03)
        elif len(rows):
            signed_log(axis, 0.1)
        else:
            axis.text(0.5, 0.5, "none", transform=axis.transAxes, ha="center", color="0.3")
    legend_below(figure, [axes[0, 0]], summary["energy"].nunique())
    return figure


def plot_basins(summary: DataFrame, distances, without: Collection[str] = ()) -> Figure:
    """Basin shares of each energy but some as heat maps; summary as in `plot_landscape_metrics`."""
    energies = [name for name in ENERGIES if name in set(summary["energy"]) and name not in without]
    names = [f"basin_{distance:g}" for distance in distances]
    figure, axes = canvas(1, len(energies), (3.4, 3.2), title="Basin of the minimum nearest to the answer", sharey=True)
    for axis, name in zip(axes[0], energies, strict=True):
        rows = summary[(summary["energy"] == name) & summary["measure"].isin(names)]
        grid = rows.pivot(index="measure", columns="landscape", values="mean").loc[names]
        image = heat_map(axis, grid, SEQUENTIAL, Normalize(0, 1), origin="lower")
        axis.set_title(LABELS.get(name, name))
        landscape_axis(axis, grid.shape[1])
        axis.set_xlabel("landscape k")
        axis.set_yticks(range(len(names)), [f"{distance:g}" for distance in distances])
    axes[0, 0].set_ylabel("start's distance (noise radii)")
    figure.colorbar(image, ax=axes, label="share of descents\nthat end there")
    return figure


def plot_master(
    pictures: Mapping[str, np.ndarray],
    extent: float,
    field: DataFrame,
    curvature: DataFrame,
    metrics: DataFrame,
    problem: int = 0,
) -> Figure:
    """The phase on one sheet: slices of the model, of a regression network and of the ideal energy above, then field,
    curvature and minima by landscape.

    field, curvature, metrics: summaries of P1-02, P1-03 (noised answers) and P1-04.
    """
    landscapes = _shown(pictures)
    figure = canvas(1, 1, (14, 13), title="What the energy looks like around the answer")[0]
    figure.clear()
    figure.suptitle(
        "What the energy looks like around the answer",
        fontsize=13,
        fontweight="bold",
        x=0.01,
        ha="left",
    )
    upper, lower = figure.subfigures(2, 1, height_ratios=(1.35, 1.1))
    axes = upper.subplots(3, len(landscapes), sharex=True, sharey=True)
    for row, name in zip(axes, ("trained", "regression", "ideal"), strict=True):
        for axis, k in zip(row, landscapes, strict=True):
            image = draw_slice(axis, pictures, f"{name}.random.k{k}", extent**2, problem)
            if name == "trained":
                axis.set_title(f"k = {k}")
        row[0].set_ylabel(f"{LABELS.get(name, name)}\nv  (σₖ)")
    upper.colorbar(image, ax=axes, label="energy gap  (σₖ)", shrink=0.8, extend="both")
    panels = (
        (field[field["distance"] == 1.0], "cosine", "cosine to the answer, 1 noise radius", 0),
        (field, "relative_shrunk", "score error / A-blind error", 1),
        (curvature, "ideal_scale", "mean curvature × σₖ", 1),
        (curvature, "algebraic_cosine_centred", "traceless cosine with A² ⊗ I", 0),
        (metrics, "minima", "distinct minima found", 1),
        (metrics, "nearest_distance_median", "median nearest minimum (radii)", 0),
    )
    lines = {}  # an energy without minima is missing from the last panels
    for axis, (table, measure, label, line) in zip(lower.subplots(2, 3).flat, panels, strict=True):
        rows = table[table["measure"] == measure]
        if measure == "relative_shrunk":
            rows = rows[rows["energy"] != "algebraic"]
        draw_by_landscape(axis, rows, label, line)
        if measure in ("relative_shrunk", "nearest_distance_median"):
            signed_log(axis, 0.1)
        lines = dict(zip(*axis.get_legend_handles_labels()[::-1], strict=False)) | lines
    lower.legend(lines.values(), lines, loc="outside upper center", ncols=len(lines))
    return figure
