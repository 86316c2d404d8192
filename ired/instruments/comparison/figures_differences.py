"""Figures of P7-04: forest plot and heat map of paired differences; and what is said below all its figures."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from pandas import DataFrame

from ired.instruments.comparison.figures import (
    looks,
    plot_consistency,
    plot_nothing_to_compare,
    plot_variant_accuracy,
    plot_variants_by_landscape,
    unique,
)
from ired.instruments.comparison.paired_seeds import LARGEST
from ired.instruments.comparison.study import VariantStudy
from ired.plotting.axes import signed_log
from ired.plotting.plots import heat_map
from ired.plotting.style import DIVERGING, canvas


def mining_figures(
    comparison: VariantStudy, accuracy: DataFrame, references: DataFrame, landscapes: DataFrame
) -> list[tuple[str, Figure, str]]:
    """Name, figure and caption of each figure of P7-04.

    accuracy: as `study.accuracy_rows` makes it; references: columns family, predictor, mse; landscapes: columns metric,
    landscape, value, variant, seed.
    """
    several = landscapes.groupby("metric")["landscape"].transform("nunique") > 1
    return [
        (
            "accuracy",
            plot_variant_accuracy(accuracy, references),
            "Small dots are seeds, large ones means with Student's 95 % intervals. Dashed: reference predictors.",
        ),
        *(
            (
                name,
                plot_differences(rows),
                "Differences to none, paired by seed, in their own deviations. Filled: significant after correction "
                "over all cells. Grey: what so few seeds cannot see with 80 % power.",
            )
            for name, rows in comparison.cells()
        ),
        (
            "changes",
            plot_difference_heatmap(comparison.changed()),
            "Differences to none in units of the deviation between seeds; metrics that are the same in all models are "
            "left out.",
        ),
        (
            "consistency",
            plot_consistency(comparison.pairs),
            "What two models share, from 0 to 1, beside a copy, a model with its weights shuffled, an untrained one "
            "and the ideal energy.",
        ),
        ("landscapes", plot_variants_by_landscape(landscapes[several]), "Means over seeds with the range of seeds."),
    ]


def plot_differences(table: DataFrame, measure: str = "d_z", reference: str = "none", title: str = "") -> Figure:
    """Forest plot of the paired differences, metrics by phase.

    table: rows of `paired_seeds.Comparison.table`; measure: "d_z" or "relative" (metrics without a share
    of the reference are left out). Filled: significant after correction. Grey: smaller than the least
    effect that this number of seeds sees with 80 % power, for relative differences each cell's own.
    Dotted: an interval without bounds.
    """
    table = table.assign(**_scaled(table, measure))
    table = table[np.isfinite(table["x"])]
    if table.empty:
        return plot_nothing_to_compare(title)
    variants = unique(table, "variant")
    look = looks([reference, *variants])
    step = max(0.29, 0.075 * len(variants) + 0.05)  # inches of a metric
    head = 0.27 / step  # metrics' heights of half a headline
    columns = _columns(_grouped(table), 2 * head, 8.5 / step)
    heights = [sum(len(metrics) + 2 * head for _, metrics in column) for column in columns]
    wide = 6.6 if len(columns) < 3 else 5.6
    figure, axes = canvas(1, len(columns), (wide, 1.3 + step * max(heights)), title=title)
    size = 5.5 if len(variants) < 6 else 4.5
    for axis, column in zip(axes[0], columns, strict=True):
        y, ticks = 0.0, []
        for name, metrics in column:
            y += 1.15 * head
            axis.annotate(
                name,
                (0, y),
                xycoords=("axes fraction", "data"),
                xytext=(-4, 0),
                textcoords="offset points",
                ha="right",
                va="center",
                fontweight="bold",
                fontsize=10,
            )
            y += 0.85 * head
            for metric in metrics:
                y += 0.5
                ticks.append((y, metric))
                rows = table[table["metric"] == metric].set_index("variant")
                if len(ticks) % 2:
                    axis.axhspan(y - 0.5, y + 0.5, color="0.965", zorder=0, linewidth=0)
                for name in (v for v in variants if v in rows.index):
                    row, shade = rows.loc[name], look[name].colour
                    at = y + 0.8 * ((variants.index(name) + 0.5) / len(variants) - 0.5)
                    if measure != "d_z":
                        axis.plot(
                            [-row["grey"], row["grey"]],
                            [at, at],
                            color="0.8",
                            linewidth=4,
                            solid_capstyle="butt",
                            zorder=1,
                        )
                    if np.isfinite(row["x_low"]):
                        axis.plot([row["x_low"], row["x_high"]], [at, at], color=shade, linewidth=1.4)
                    else:
                        axis.axhline(at, color=shade, linewidth=1.4, linestyle=":")
                    axis.plot(
                        row["x"],
                        at,
                        look[name].marker,
                        color=shade,
                        markersize=size,
                        markerfacecolor=shade if row["significant"] else "white",
                        markeredgewidth=1.3,
                        zorder=3,
                    )
                y += 0.5
        axis.axvline(0, color="0.3", linewidth=1)
        if measure == "d_z":
            grey = float(table["grey"].max())
            axis.axvspan(-grey, grey, color="0.88", zorder=0.5, linewidth=0)
        _signed_axis(axis, table)
        axis.set_yticks([at for at, _ in ticks], [name for _, name in ticks])
        axis.set_ylim(max(heights), 0)
        axis.grid(False, axis="y")
        unit = "deviations over seeds (d_z)" if measure == "d_z" else "share of its mean"
        axis.set_xlabel(f"difference to {reference}, {unit}")
    handles = [
        Line2D([], [], color=look[name].colour, marker=look[name].marker, label=name, linewidth=1.4)
        for name in variants
    ]
    dot = {"color": "0.3", "marker": "o", "linestyle": ""}
    handles += [
        Line2D([], [], **dot, label="significant (BH)"),
        Line2D([], [], **dot, markerfacecolor="white", label="not"),
        Line2D([], [], color="0.8", linewidth=7, label="too small to be seen, 80 % power"),
    ]
    most = 3 if len(columns) < 2 else 7
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), most))
    return figure


def plot_difference_heatmap(table: DataFrame, reference: str = "none", title: str = "") -> Figure:
    """Metrics × variants: differences in deviations between seeds; framed: significant.

    table: rows of `paired_seeds.Comparison.table`. Colours end at the deviations that one in twenty cells
    exceeds; the number stands in the cell. Grey: the variant has no such metric.
    """
    if table.empty:
        return plot_nothing_to_compare(title)
    variants, groups = unique(table, "variant"), _grouped(table)
    metrics = [metric for _, names in groups for metric in names]
    grid, marked = (
        table.pivot(index="metric", columns="variant", values=name).reindex(metrics, columns=variants)
        for name in ("seed_deviations", "significant")
    )
    values, marked = grid.to_numpy(dtype=float), marked.fillna(False).to_numpy(dtype=bool)
    sizes = np.abs(values[np.isfinite(values)])
    bound = max(float(np.quantile(sizes, 0.95)) if len(sizes) else 1.0, 1.0)
    width = max(0.62 * len(variants), 2.2)
    figure, axes = canvas(1, 1, (width + 4.0, 1.6 + 0.27 * max(len(metrics), 3)), title=title)
    axis = axes[0, 0]
    image = heat_map(axis, values, DIVERGING, Normalize(-bound, bound), _deviations, 8, marked)
    axis.set_xticks(range(len(variants)), variants, rotation=40, ha="right", rotation_mode="anchor")
    axis.set_yticks(range(len(metrics)), metrics)
    at = -0.5
    for head, names in groups:
        axis.axhline(at, color="0.2", linewidth=1.5, clip_on=False)
        if head:
            axis.annotate(
                head,
                (1, at + 0.5),
                xycoords=("axes fraction", "data"),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
                fontsize=9,
                fontweight="bold",
                annotation_clip=False,
            )
        at += len(names)
    bar = figure.colorbar(image, ax=axis, location="bottom", shrink=0.9, aspect=30, pad=0.02, extend="both")
    bar.set_label(f"difference to {reference}, in deviations between seeds\n(framed: significant after correction)")
    bar.ax.grid(False)
    return figure


def _grouped(table: DataFrame) -> list[tuple[str, list[str]]]:
    """Metrics by phase, both as they first appear; one group without a name where there are none."""
    if "phase" not in table:
        return [("", unique(table, "metric"))]
    parts = table.groupby("phase", sort=False)
    return [(_phase(phase), unique(part, "metric")) for phase, part in parts]


def _phase(phase) -> str:
    if isinstance(phase, str):
        return phase
    return f"Phase {phase:g}" if phase else "Accuracy"


def _columns(groups: list[tuple[str, list[str]]], head: float, room: float) -> list[list[tuple[str, list[str]]]]:
    """Groups in up to three columns of about equal height; a headline is `head` metrics high, and
    `room` of them fit one column."""
    heights = np.array([len(metrics) + head for _, metrics in groups])
    count = int(min(3, len(groups), np.ceil(heights.sum() / room)))
    if count < 2:
        return [groups]
    best = min(
        combinations(range(1, len(groups)), count - 1),
        key=lambda cuts: max(part.sum() for part in np.split(heights, cuts)),
    )
    ends = [0, *best, len(groups)]
    return [groups[i:j] for i, j in pairwise(ends)]


def _scaled(table: DataFrame, measure: str) -> dict[str, np.ndarray]:
    """x, x_low, x_high and grey, in deviations or as shares of the reference's mean."""
    names = ("x", "x_low", "x_high", "grey")
    if measure == "relative":
        grey = table["detectable"] / table["reference_mean"].where(table["reference_mean"] > 0)
        ends = table["relative_low"], table["relative_high"]
        return dict(zip(names, (table["relative"], *ends, grey), strict=True))
    varies = table["deviation"] > 0
    scale = table["deviation"].where(varies, 1.0)
    ends = (
        (table[name] / scale).where(varies & (table["d_z"].abs() < LARGEST), table["d_z"]) for name in ("low", "high")
    )
    return dict(zip(names, (table["d_z"], *ends, table["detectable_d"]), strict=True))


def _signed_axis(axis: Axes, table: DataFrame) -> None:
    """Linear around 0 and logarithmic beyond where values are far apart; the same for all columns."""
    ends = np.abs(table[["x", "x_low", "x_high"]].to_numpy(dtype=float))
    largest, usual = float(np.nanmax(ends)), float(np.nanmedian(ends))
    if largest <= 8 * usual or not usual:
        axis.set_xlim(-1.08 * largest or -1, 1.08 * largest or 1)
        return
    signed_log(axis, 10.0 ** np.round(np.log10(usual)), "x", most=3, ends=(-largest, largest))


def _deviations(value: float) -> str:
    if abs(value) >= LARGEST:
        return "≫" if value > 0 else "≪"
    if abs(value) < 0.05:
        return "0"
    return f"{value:.0f}" if abs(value) >= 10 else f"{value:.1f}"
