"""Figures of P3-05: what directions cause."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from pandas import DataFrame

from ired.plotting.axes import plain_ticks, signed_log
from ired.plotting.plots import dots, heat_map, row_names
from ired.plotting.style import COLOURS, DIRECTIONS, DIVERGING, canvas, centred_norm

CHANCE = "0.55"
VERDICTS = {
    "causal and specific": COLOURS["ideal"],
    "causal": COLOURS["trained"],
    "moves its property backwards": COLOURS["least_squares"],
    "moves things, not its property": COLOURS["algebraic"],
    "not beyond random": "0.45",
}
CAPTIONS = {
    "verdicts": "{directions} directions; 95 % intervals over problems. Filled: beyond random directions by the rule "
    "of the instrument.",
    "mediation": "Share of a property's total effect on the answer, {pairs} pairs that differ in it, 95 % bootstrap "
    "intervals. Missing: directions whose property does not surely differ. Negative, of states: what the layer undoes.",
    "counterfactuals": "Mean change within pairs, in standard deviations of the problems drawn. Framed: what was "
    "moved; hatched: what was held.",
}
_ROW, _INK = 0.3, 12  # inches; points


def plot_verdicts(table: DataFrame) -> Figure:
    """One row a direction, grouped by source: evidence, effects beside random directions, verdict.

    table: that of `ired.instruments.interventions.verdicts.direction_verdicts`.
    """
    rows, places, heads = _grouped(table)
    figure, (axes,) = canvas(
        1, 5, (3.9, _ROW * (places.max() + 1) + 2.3), title="What the directions cause", sharey=True
    )
    _times(axes[0], places, rows)
    drawn = ("random", "largest", "covariance_random")
    rows = rows.assign(**{f"own_{end}": rows[f"carried_{end}"] + rows["carried_random"] for end in ("low", "high")})
    for axis, title, label, linear, passed, parts in (
        (
            axes[1],
            "Its own property",
            "growth per dose,\ndeviations",
            0.1,
            "carried_beyond",
            ("carried_value", "own_low", "own_high", *(f"carried_{name}" for name in drawn)),
        ),
        (
            axes[2],
            "Lost without it",
            "share of following\nthe true property",
            0.1,
            "follows_less",
            ("lost", "lost_low", "lost_high", "lost_random", "", ""),
        ),
        (
            axes[3],
            "Mediated",
            "share of the\ntotal effect",
            0.01,
            "mediates",
            ("mediated", "mediated_low", "mediated_high", "mediated_random", "largest_random", "mediated_covariance"),
        ),
        (
            axes[4],
            "Specific",
            "own property − largest\nother, deviations",
            0.1,
            "is_specific",
            ("specific", "specific_low", "specific_high", "", "", ""),
        ),
    ):
        nothing = np.full(len(rows), np.nan)
        _dots(axis, places, rows, 0.0, rows[passed], *(rows.get(name, nothing) for name in parts))
        signed_log(axis, linear, "x", most=1)
        axis.set_title(title)
        axis.set_xlabel(label)
    for axis in axes:
        axis.set_ylim(places.max() + 0.8, -0.8)
        axis.grid(False, axis="y")
        for y in places[::2]:
            axis.axhspan(y - 0.5, y + 0.5, color="0.96", zorder=0, linewidth=0)
        axis.title.set_fontsize(_INK + 1)
        axis.xaxis.label.set_fontsize(_INK)
        axis.tick_params(labelsize=_INK - 1)
    axes[0].set_yticks(places, [_label(row) for row in rows.itertuples()], fontsize=_INK)
    for y, source in heads:
        axes[0].annotate(
            f"{source} directions (evidence)",
            (0, y),
            xycoords=("axes fraction", "data"),
            xytext=(-8, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=_INK,
            fontweight="bold",
            color=DIRECTIONS[source],
            annotation_clip=False,
        )
    right = axes[4].secondary_yaxis("right")
    right.spines["right"].set_visible(False)
    right.tick_params(length=0)
    right.set_yticks(places, [_words(row) for row in rows.itertuples()], fontsize=_INK)
    for text, word in zip(right.get_yticklabels(), rows["verdict"], strict=True):
        text.set_color(VERDICTS[word])
    figure.legend(handles=_legend(), loc="outside lower center", ncols=5, fontsize=_INK)
    return figure


def plot_mediation(table: DataFrame) -> Figure:
    """Shares mediated, the direction's beside random ones' and its whole layer's, a row a direction."""
    rows = table[table["mediated"].notna()] if "mediated" in table else table[:0]
    figure, ((axis,),) = canvas(1, 1, (9.5, 0.36 * max(len(rows), 1) + 2.0), title="Through the direction")
    if not len(rows):
        axis.text(
            0.5,
            0.5,
            "no property differs surely within pairs",
            ha="center",
            va="center",
            transform=axis.transAxes,
            fontsize=12,
        )
        axis.set_axis_off()
        return figure
    y = np.arange(len(rows))
    kinds = (
        ("mediated", "the direction (filled: beyond random)", COLOURS["trained"], "o", -0.24),
        ("mediated_random", "random directions, mean", CHANCE, "s", -0.08),
        ("mediated_covariance", "directions of the covariance, mean", COLOURS["algebraic"], "^", 0.08),
        ("whole", "all of the layer (or state) there", "0.25", "D", 0.24),
    )
    for name, label, colour, marker, shift in kinds:
        filled = rows["mediates"] if name == "mediated" else True
        dots(axis, rows, y + shift, name, colour, marker, filled=filled, label=label, size=6.5)
    axis.axvline(0, color="0.4", linewidth=1)
    axis.axvline(1, color="0.4", linewidth=1, linestyle=":")
    signed_log(axis, 0.01, "x")
    axis.set_xlabel("share of the total effect (1: all of it)")
    row_names(axis, [name.replace("_", " ") for name in rows["direction"]], between=True, fontsize=10.5)
    figure.legend(loc="outside lower center", ncols=2, fontsize=10.5)
    return figure


def plot_counterfactuals(differences: DataFrame) -> Figure:
    """Mean change of every property within pairs, in deviations: a row a concept.

    differences: columns concept, property, role, difference.
    """
    concepts, properties = (list(differences[c].unique()) for c in ("concept", "property"))
    size = (1.05 * len(properties) + 2.6, 0.62 * len(concepts) + 1.6)
    figure, ((axis,),) = canvas(1, 1, size, title="What pairs of problems differ in")
    grid = differences.pivot(index="concept", columns="property", values="difference")
    grid = grid.loc[concepts, properties].to_numpy()
    roles = differences.pivot(index="concept", columns="property", values="role")
    roles = roles.loc[concepts, properties].to_numpy()
    image = heat_map(
        axis,
        grid,
        DIVERGING,
        centred_norm(grid),
        lambda v: f"{v:.2f}".replace("-0.00", "0.00"),
        11,
        framed=roles == "moved",
    )
    for i, j in np.argwhere(roles == "held"):
        axis.add_patch(
            Rectangle((j - 0.47, i - 0.45), 0.94, 0.9, fill=False, edgecolor="0.8", linewidth=0, hatch="///")
        )
    axis.set_xticks(range(len(properties)), [p.replace("_", "\n") for p in properties], fontsize=10.5)
    axis.set_yticks(range(len(concepts)), [c.replace("_", " ") for c in concepts], fontsize=11)
    figure.colorbar(image, ax=axis, label="change, deviations", shrink=0.9)
    return figure


def _grouped(table: DataFrame) -> tuple[DataFrame, np.ndarray, list[tuple[float, str]]]:
    """Rows by source, their places with a line left free above each group, and these lines."""
    rows, places, heads, line = [], [], [], 0
    for source in DIRECTIONS:
        group = table[table["source"] == source]
        if len(group):
            heads.append((line, source))
            places += range(line + 1, line + 1 + len(group))
            rows += list(group.index)
            line += len(group) + 1
    return table.loc[rows], np.array(places), heads


def _times(axis: Axes, y: np.ndarray, rows: DataFrame) -> None:
    """The change of the answer as a multiple of the random directions', on a logarithmic axis."""
    unit = rows["moved_random"]
    other = rows.get("moved_covariance_random", np.nan * unit) / unit
    value, largest = rows["moved_value"] / unit, rows["moved_largest"] / unit
    low, high = (1 + rows[f"moved_{end}"] / unit for end in ("low", "high"))
    values = np.concatenate([v[np.isfinite(v)] for v in (value, largest, other, high)])
    least, most = 0.7 * min(values.min(), 1), 1.4 * values.max()
    _dots(axis, y, rows, 1.0, rows["moved_beyond"], value, low.clip(lower=least), high, 0 * unit + 1, largest, other)
    axis.set(xscale="log", xlim=(least, most), title="Change of the answer")
    axis.set_xlabel("times that of\nrandom directions")
    plain_ticks(axis, most=5)


def _dots(axis: Axes, y, rows: DataFrame, nothing: float, passed, value, low, high, random, largest, other) -> None:
    """Own values with intervals, beside random draws' mean and largest and the covariance's mean."""
    axis.axvline(nothing, color="0.4", linewidth=1, zorder=1)
    axis.plot(random, y, "|", color=CHANCE, markersize=10, markeredgewidth=1.8)
    axis.plot(largest, y, ">", color=CHANCE, markersize=6, markeredgewidth=0)
    axis.plot(other, y, "o", mfc="none", color=CHANCE, markersize=7, markeredgewidth=1.3)
    colours = [DIRECTIONS[source] for source in rows["source"]]
    axis.hlines(y, low, high, color=colours, linewidth=2)
    for x, at, colour, full in zip(value, y, colours, passed, strict=True):
        axis.plot(x, at, "o", color=colour, mfc=colour if full else "white", markersize=7)


def _label(row) -> str:
    return f"{row.direction.replace('_', ' ')}  ({row.measure} {row.evidence:.2g})"


def _words(row) -> str:
    marks = [name for name in ("necessary", "mediates", "sufficient") if getattr(row, name)]
    return row.verdict + (f"; {', '.join(marks)}" if marks else "")


def _legend() -> list[Line2D]:
    def mark(marker: str, label: str, **style) -> Line2D:
        return Line2D([], [], linestyle="none", marker=marker, markersize=7, label=label, **style)

    return [
        mark("o", "beyond random", color="0.25"),
        mark("o", "not", color="0.25", mfc="white"),
        mark("|", "random directions, mean", color=CHANCE, markeredgewidth=1.6),
        mark(">", "the largest of them", color=CHANCE),
        mark("o", "directions of the covariance, mean", color=CHANCE, mfc="none"),
    ]
