"""Figures of attribution: heatmaps of A and y, and what they are held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pandas import DataFrame

from ired.instruments.attribution.study import AttributionStudy
from ired.plotting.plots import dots, matrix
from ired.plotting.style import COLOURS, DIVERGING, LABELS, MARKERS, band, canvas, centred_norm

Place = tuple[str, str, int, str]
BASELINES = {"zero": "#0173b2", "identity": "#de8f05", "mean": "#029e73", "random": "#cc78bc"}
NAMES = {"random": "random problems"}
SHUFFLED = "black"


def attribution_figures(study: AttributionStudy, problems: int, n: int) -> list[tuple[str, Figure, str]]:
    """Name, figure and caption of each; problems: whose attributions are averaged; n: the matrix side."""
    means = study.summaries()
    errors, methods = study.tables["completeness"], study.tables["methods"]
    drawn = f"Mean of {problems} problems; colours from − to + the number beside a row."
    over, at = "95 % intervals over problems.", f"k={study.k}"
    return [
        ("gap", plot_heatmaps(study.maps, study.ideal_maps, "gap"), drawn),
        ("score", plot_heatmaps(study.maps, study.ideal_maps, "off-diagonal score"), drawn),
        (
            "agreement",
            plot_sensitivity_agreement(means, errors),
            f"{over} Integrated: {at}, both entries of the score. Dashed: 1 % of what is explained.",
        ),
        (
            "reading",
            plot_reading(means, methods, n),
            f"{over} Lines: the trained energy, and its controls from random problems. Eigenvectors, methods: {at}; "
            "methods of the trained energy, filled the gap, hollow the score. Infidelity 1: blind.",
        ),
    ]


def plot_heatmaps(maps: Mapping[Place, NDArray], ideal: Mapping[Place, NDArray], target: str) -> Figure:
    """Rows: landscapes; columns: A from each baseline, A of the ideal landscape where there is one, y.

    maps, ideal: (n, n) by (target, baseline, landscape, "A" or "y"); one scale for a row's network, and
    one for its ideal.
    """
    landscapes = sorted({k for aim, _, k, _ in maps if aim == target})
    groups = [("A", maps, "A"), ("A, ideal landscape", ideal, "A"), ("y", maps, "y")]
    groups = [group for group in groups if any(place[0] == target for place in group[1])]
    wide = [[name for name in BASELINES if (target, name, landscapes[0], part) in source] for _, source, part in groups]
    figure, axes = canvas(
        len(landscapes),
        len(groups),
        (4.3, 1.25),
        title=f"Attributions of the {target}",
        width_ratios=[len(names) for names in wide],
    )
    figure.get_layout_engine().set(wspace=0.05)
    for k, row in zip(landscapes, axes, strict=True):
        for axis, (title, source, part), names in zip(row, groups, wide, strict=True):
            arrays = [np.asarray(v) for (aim, _, j, _), v in source.items() if (aim, j) == (target, k)]
            scale, n = centred_norm(np.stack(arrays)), len(arrays[0])
            tiles = np.full((n, len(names) * (n + 1) - 1), np.nan)
            for i, name in enumerate(names):
                tiles[:, i * (n + 1) : i * (n + 1) + n] = source[target, name, k, part]
            matrix(axis, tiles, DIVERGING, scale)
            axis.spines[:].set_visible(False)
            axis.set_ylabel(f"k = {k}\n±{scale.vmax:.2g}" if part == "A" else "", fontsize=9)
            if k == landscapes[0]:
                axis.set_title(title)
            if k == landscapes[-1]:
                axis.set_xticks([i * (n + 1) + (n - 1) / 2 for i in range(len(names))], names)
    return figure


def plot_sensitivity_agreement(means: Mapping[str, DataFrame], errors: DataFrame) -> Figure:
    """Cosines to the exact sensitivity by landscape, by baseline, of answers; and completeness errors.

    means: `tables.attribution_summaries`; errors: `tables.completeness`.
    """
    gradients, integrals, jacobians = (means[name] for name in ("gradients", "integrals", "jacobians"))
    figure, (axes,) = canvas(1, 4, (3.9, 3.4), title="Attributions against dY = −Y dA Y")
    cosine = gradients[gradients["measure"] == "cosine"]
    for name, rows in cosine.groupby("energy", sort=False):
        band(axes[0], rows["landscape"], rows["mean"], rows["low"], rows["high"], name)
    rows = gradients.query("measure == 'shuffled' and energy == 'trained'")
    line = {"color": SHUFFLED, "label": "trained, to another problem's"}
    axes[0].plot(rows["landscape"], rows["mean"], "--x", **line)
    ticks = sorted(cosine["landscape"].unique())
    axes[0].set_xticks(ticks, [f"{k}" for k in ticks])
    axes[0].set(xlabel="landscape k  (0 sharpest)", ylabel="cosine to the exact one", title="∂score/∂A")
    names = list(dict.fromkeys(integrals["baseline"]))
    _dots(axes[1], integrals.rename(columns={"baseline": "at"}), names)
    axes[1].set(title="Score by A, integrated", ylabel="cosine to the ideal score's")
    _dots(axes[2], jacobians.assign(at="through all landscapes"), ["through all landscapes"])
    axes[2].set(title="∂answer/∂A, sampled", ylabel="cosine to the exact one")
    for axis in axes[:3]:
        axis.axhline(0, color="0.6", linewidth=1)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, [LABELS.get(name, name) for name in names], loc="outside lower left", ncols=4)
    targets = list(dict.fromkeys(errors["target"]))
    for place, target in enumerate(targets):
        sizes = np.sort(errors.loc[errors["target"] == target, "error"].clip(lower=1e-9))
        spot = -place + 0.6 * (np.linspace(0, 1, len(sizes)) - 0.5)
        axes[3].plot(sizes, spot, ".", color=COLOURS["trained"], markersize=2)
    axes[3].axvline(0.01, color="black", linestyle="--", linewidth=1)
    axes[3].set_yticks([-i for i in range(len(targets))], targets)
    axes[3].set(xscale="log", xlabel="|sum − difference| / |difference|", title="Completeness error")
    return figure


def _dots(axis: Axes, table: DataFrame, places: Sequence[str]) -> None:
    """Means with intervals, one group a place, one dot an energy and the shuffled control."""
    kinds = [(name, "cosine") for name in dict.fromkeys(table["energy"])] + [("trained", "shuffled")]
    for i, (name, measure) in enumerate(kinds):
        rows = table[(table["energy"] == name) & (table["measure"] == measure)]
        x = rows["at"].map(places.index).to_numpy() + 0.8 / len(kinds) * (i - (len(kinds) - 1) / 2)
        colour, marker = (SHUFFLED, "x") if measure == "shuffled" else (COLOURS[name], MARKERS[name])
        dots(axis, rows, x, "mean", colour, marker, upright=True, size=5)
    axis.set_xticks(range(len(places)), places)
    axis.set_xlim(-0.6, len(places) - 0.4)


def _read_lines(means: DataFrame) -> DataFrame:
    """The rows that are drawn, with name and colour of their line: the trained energy from every baseline, the others
    from random problems."""
    rows = means[means["energy"].eq("trained") | means["baseline"].eq("random")]
    trained = rows["energy"].eq("trained")
    line = rows["baseline"].map(NAMES).fillna(rows["baseline"]).where(trained, rows["energy"].map(LABELS))
    colour = rows["baseline"].map(BASELINES).where(trained, rows["energy"].map(COLOURS))
    return rows.assign(line=line, colour=colour)


def plot_reading(means: Mapping[str, DataFrame], methods: DataFrame, n: int) -> Figure:
    """Where attributions of the gap lie, and how far methods are to be believed.

    means: `tables.attribution_summaries`; methods: `explainers.judged_by_target`, the gap's filled and the score's not;
    n: the matrix side.
    """
    shares, ranks = (_read_lines(means[name]) for name in ("shares", "eigenvalues"))
    figure, axes = canvas(2, 3, (4.3, 3.2), title="What attributions of the energy gap say")
    for axis, measure, title in (
        (axes[0, 0], "problem_share", "Share on A, not on y"),
        (axes[0, 1], "A_diagonal", "Share of A's on the diagonal"),
    ):
        for (name, colour), rows in shares[shares["measure"] == measure].groupby(["line", "colour"], sort=False):
            band(axis, rows["landscape"], rows["mean"], rows["low"], rows["high"], name, colour)
        ticks = sorted(shares["landscape"].unique())
        axis.set_xticks(ticks, [f"{k}" for k in ticks])
        axis.set(title=title, xlabel="landscape k  (0 sharpest)", ylabel="share of Σ|attribution|", ylim=(0, 1.03))
    axes[0, 1].axhline(1 / n, color="black", linestyle=":", linewidth=1, label="all entries alike")
    axes[0, 1].legend(fontsize=8)
    for axis, measure, title in (
        (axes[0, 2], "A_signed", "Along A's eigenvectors, signed"),
        (axes[1, 0], "A_absolute", "Along A's eigenvectors, absolute"),
    ):
        for (name, colour), rows in ranks[ranks["measure"] == measure].groupby(["line", "colour"], sort=False):
            band(axis, rows["rank"] + 1, rows["mean"], rows["low"], rows["high"], name, colour)
        axis.set(title=title, xlabel="eigenvalue, smallest first", ylabel="share of Σ|attribution|")
        axis.axhline(0, color="0.6", linewidth=1)
        axis.xaxis.get_major_locator().set_params(integer=True)
    names = list(dict.fromkeys(methods["method"]))
    y = -np.arange(len(names))
    for target, rows in methods.groupby("target", sort=False):
        rows = rows.groupby("method").mean(numeric_only=True).loc[names]
        for axis, column, marker, colour, label in (
            (axes[1, 1], "infidelity_small", "o", "#0173b2", "small noise"),
            (axes[1, 1], "infidelity_large", "s", "#de8f05", "large noise"),
            (axes[1, 2], "sensitivity", "D", "#029e73", "max-sensitivity"),
            (axes[1, 2], "shapley_cosine", "^", "#cc78bc", "cosine to Shapley"),
        ):
            inside = colour if target == "gap" else "white"
            axis.plot(rows[column], y, marker, color=colour, mfc=inside, label=label if target == "gap" else None)
    axes[1, 1].set(title="Infidelity", xlabel="share of change not predicted", xlim=(-0.03, 1.06))
    axes[1, 2].set(title="Stability and Shapley values", xlabel="relative change; cosine")
    for axis in axes[1, 1:]:
        axis.set_yticks(y, names)
        axis.set_ylim(y[-1] - 0.5, 1.9)
        axis.legend(fontsize=8, loc="upper left", ncols=2, columnspacing=1)
    return figure
