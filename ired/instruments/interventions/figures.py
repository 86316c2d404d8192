"""Figures of P3-04: what follows a push along a direction."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from pandas import DataFrame

from ired.instruments.core.directions import SOURCES
from ired.plotting.axes import plain_ticks
from ired.plotting.plots import legend_below
from ired.plotting.style import DIRECTIONS, canvas

SHAPES = {"attribution": "D", "concept": "o", "gradient": "^", "feature": "s"}
CHANCE, COVARIANCE = "0.55", "0.3"
WORDS = {
    "ill_conditioned": "log κ",
    "large_norm": "log ‖A‖",
    "near_singular": "log μ_max",
    "dominant_diagonal": "share on\ndiagonal",
    "noisy_answer": "log₁₀ error",
    "correct_answer": "−log₁₀ error",
}
UNIT = "dose in natural spreads"
_INK = 10
_NOTHING = 1e-7  # changes below it are none


def plot_dose_response(summary: DataFrame, directions: DataFrame, source: str, measure: str, most: int = 24) -> Figure:
    """A panel a direction of one source: `measure` by added dose, own with its interval, the draws of
    random directions as a grey range and those of the covariance hatched, orthogonal dashed.

    summary: that of `responses.summarised`; directions: columns name, source, concept, evidence.
    `measure` is moved or changed. Of more directions than `most`, those with the strongest evidence.
    """
    shown = directions[directions["source"] == source]
    shown = shown.loc[shown["evidence"].abs().nlargest(most).sort_index().index]
    rows = summary[(summary["measure"] == measure) & (summary["edit"] == "add")]
    count = -(-len(shown) // 6)
    columns = -(-len(shown) // count)
    title = {"moved": "How far the answer moves", "changed": "Change of what it carries"}[measure]
    figure, axes = canvas(count, columns, (2.5, 2.3), title=f"{title}: {source} directions", sharex=True)
    for axis, direction in zip(axes.flat, shown.itertuples(), strict=False):
        _curves(axis, rows[rows["direction"] == direction.name], DIRECTIONS[source])
        axis.set_title(short(direction.name), fontsize=_INK)
        axis.yaxis.set_major_locator(MaxNLocator(3))
        if rows.loc[rows["direction"] == direction.name, "mean"].abs().max() < 10 * _NOTHING:
            axis.set(ylim=(-1, 1), yticks=[])
            axis.text(0, 0.3, "no change", color="0.45", fontsize=_INK, ha="center")
        if measure == "changed":
            axis.set_ylabel(WORDS.get(direction.concept, direction.concept), fontsize=_INK)
    for axis in axes.flat[len(shown) :]:
        axis.set_visible(False)
    if measure == "moved":
        for axis in axes[:, 0]:
            axis.set_ylabel("RMS change of Ŷ", fontsize=_INK)
    for place in range(columns):
        last = axes[[place + columns * row < len(shown) for row in range(len(axes))], place][-1]
        last.set_xlabel(UNIT, fontsize=_INK)
        last.tick_params(labelbottom=True)
    legend_below(figure, [axes.flat[0]], 2 if columns < 3 else 4)
    return figure


def dose_responses(summary: DataFrame, directions: DataFrame, most: int) -> dict[str, Figure]:
    """`plot_dose_response` by name: how far answers move, for every source that has directions; and what they
    carry, for concept directions."""
    sources = [source for source in SOURCES if source in set(directions["source"])]
    drawn = [("moved", source) for source in sources]
    if "concept" in sources:
        drawn.append(("changed", "concept"))
    return {
        f"{measure}_{source}": plot_dose_response(summary, directions, source, measure, most)
        for measure, source in drawn
    }


def _curves(axis: Axes, rows: DataFrame, colour: str) -> None:
    still = rows[(rows["control"] == "own") & (rows["dose"] == 0)]
    looks = {
        "random": {"color": CHANCE, "alpha": 0.35, "label": "random, range of draws"},
        "covariance": {
            "facecolor": "none",
            "edgecolor": COVARIANCE,
            "alpha": 0.6,
            "hatch": "////",
            "label": "of the covariance",
        },
    }
    for control, look in looks.items():
        band = _with_zero(rows[rows["control"] == control], still)
        axis.fill_between(band["dose"], band["least"], band["most"], linewidth=0.8, **look)
    band = _with_zero(rows[rows["control"] == "orthogonal"], still)
    axis.plot(band["dose"], band["mean"], color="0.3", linestyle="--", linewidth=1.2, label="orthogonal to all found")
    curve = rows[rows["control"] == "own"].sort_values("dose")
    axis.plot(curve["dose"], curve["mean"], "o-", color=colour, markersize=3.5, label="the direction")
    axis.fill_between(curve["dose"], curve["low"], curve["high"], color=colour, alpha=0.3, linewidth=0)


def _with_zero(rows: DataFrame, still: DataFrame) -> DataFrame:
    """Controls share the unedited sample."""
    zero = still.assign(least=still["mean"], most=still["mean"])
    return DataFrame(
        {column: np.r_[rows[column], zero[column]] for column in ("dose", "mean", "least", "most")}
    ).sort_values("dose")


def plot_movement(movement: DataFrame, directions: DataFrame) -> Figure:
    """Left: effect against the distance from the manifold, own and random (grey, joined by a line);
    right: own over random with its interval, a row a direction.

    movement: that of `responses.movement`; directions: columns name, source.
    """
    rows = movement.merge(directions[["name", "source"]], left_on="direction", right_on="name")
    rows["unmoved"] = rows[["moved", "random"]].max(axis=1) < _NOTHING
    # What does not move the answer has no place on a logarithmic axis but its foot.
    rows[["moved", "random"]] = rows[["moved", "random"]].clip(lower=_NOTHING)
    size = (6.2, max(4.5, 0.21 * len(rows) + 1.6))
    figure, ((left, right),) = canvas(1, 2, size, "At the largest dose")
    _distances(left, rows)
    _margins(right, rows)
    return figure


def _distances(axis: Axes, rows: DataFrame) -> None:
    moved, off = rows[["moved", "random"]], rows[["off_manifold", "random_off"]]
    axis.plot(off.T, moved.T, color="0.85", linewidth=0.8, zorder=1)
    axis.plot(off["random_off"], moved["random"], "o", color=CHANCE, markersize=4, label="random")
    for source, colour in DIRECTIONS.items():
        of_source = rows["source"] == source
        if of_source.any():
            axis.plot(
                rows.loc[of_source, "off_manifold"],
                rows.loc[of_source, "moved"],
                SHAPES[source],
                color=colour,
                markersize=6,
                label=source,
            )
    axis.set(
        xscale="log",
        yscale="log",
        ylabel="RMS change of the sampled inverse, per entry",
        xlabel="Mahalanobis distance of the edited activation / unedited",
    )
    axis.set_title("Effect and distance from the manifold")
    plain_ticks(axis)
    axis.legend()


def _margins(axis: Axes, rows: DataFrame) -> None:
    rows = rows.assign(order=rows["source"].map(list(DIRECTIONS).index))
    rows = rows.sort_values("order", kind="stable")
    places = np.arange(len(rows)) + 0.7 * rows["order"].to_numpy()
    for y, row in zip(places, rows.itertuples(), strict=True):
        if row.unmoved:
            axis.text(1, y, " no change", color="0.45", fontsize=8, va="center")
            continue
        colour, ends = DIRECTIONS[row.source], (row.random + row.low, row.random + row.high)
        low, high = (max(end / row.random, 0.03) for end in ends)
        axis.hlines(y, low, high, color=colour)
        axis.plot(row.most / row.random, y, "|", color=CHANCE, markersize=9, markeredgewidth=2)
        axis.plot(row.covariance / row.random, y, "x", color=COVARIANCE, markersize=5)
        axis.plot(
            row.moved / row.random,
            y,
            marker=SHAPES[row.source],
            color=colour,
            markersize=5.5,
            mfc=colour if row.beyond else "white",
        )
    axis.axvline(1, color="0.3", linewidth=1)
    axis.set(xscale="log", xlabel="own / random, of equal norm", ylim=(places[-1] + 1, -1))
    axis.set_title("Effect beside random directions")
    plain_ticks(axis)
    names = [short(name).replace("\n", " ") for name in rows["direction"]]
    axis.set_yticks(places, names, fontsize=8)
    axis.grid(False, axis="y")


def short(name: str) -> str:
    """A direction's name without its source, in two lines: "ill conditioned⏎fc2 k=3"."""
    words = name.split(" ")[1:]
    if len(words) > 2:
        return f"{' '.join(words[:-2]).replace('_', ' ')}\n{' '.join(words[-2:])}"
    return " ".join(words).replace("_", " ")
