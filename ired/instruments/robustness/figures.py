"""Figures of P6-01: what independently trained networks have in common."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from pandas import DataFrame

from ired.plotting.axes import signed_log
from ired.plotting.plots import dots
from ired.plotting.style import COLOURS, DIRECTIONS, canvas

ROBUST, NOT, CHANCE = COLOURS["trained"], COLOURS["least_squares"], "0.55"
LABELS = {
    "moved": ("Moves answers", "log₂ of movement over\nrandom directions'"),
    "carried": ("Its property grows", "growth per dose beyond random,\ndeviations"),
    "read": ("Concept can be read", "held-out AUROC − 0.5"),
    "gap": ("Dictionary: energy gaps", "share kept\n(below 0: worse than a constant)"),
    "score": ("Dictionary: score", "share kept\n(below 0: worse than a score blind to A)"),
}
_INK = 11


def plot_effects_by_network(table: DataFrame, kinds: tuple[str, ...], title: str) -> Figure:
    """Each finding's effect in every network, its mean with interval over networks, and its score."""
    parts = [table[table["kind"] == kind] for kind in kinds]
    parts = [part.sort_values("mean", ascending=False) for part in parts if len(part)]
    rows = max(sum(map(len, parts)) + len(parts), 4)
    figure, axes = _grid(parts, rows, title)
    effects = [name for name in table if name.startswith("effect_")]
    for (left, right), part in zip(axes, parts, strict=True):
        y, kind = np.arange(len(part)), part["kind"].iloc[0]
        colour = np.where(part["robust"], ROBUST, NOT)
        left.axvline(0, color="0.4", linewidth=1)
        for s, name in enumerate(effects):
            first = s == 0
            left.plot(
                part[name],
                y,
                "D" if first else "o",
                color="0.25" if first else "0.6",
                markersize=4.5,
                alpha=0.9,
                markeredgewidth=0,
                zorder=2,
            )
        left.hlines(y, part["low"], part["high"], color=colour, linewidth=2.4, alpha=0.75, zorder=1)
        right.hlines(y, part["score_low"], part["score_high"], color=colour, linewidth=2)
        for axis, x in ((left, part["mean"]), (right, part["score"])):
            face = np.where(part["claimed"] != 0, colour, "white")
            axis.scatter(x, y, 40, face, "s", edgecolors=list(colour), linewidths=1.2, zorder=3)
            axis.set_ylim(len(part) - 0.4, -0.6)
            axis.grid(False, axis="y")
            axis.tick_params(labelsize=_INK - 1)
        right.plot(part["chance"], y, "|", color=CHANCE, markersize=9, markeredgewidth=1.6)
        right.set(xlim=(-0.03, 1.03))
        left.set_yticks(y, [_name(row) for row in part.itertuples()], fontsize=_INK - 0.5)
        right.set_yticks(y, [""] * len(y))
        title, label = LABELS[kind]
        ends = _seen(part)
        if kind == "carried":  # over orders of magnitude, since late edits do more
            signed_log(left, 1e-3, "x", most=3, ends=ends)
        else:
            room = 0.12 * max(ends[1] - ends[0], 1e-9)
            left.set_xlim(ends[0] - room, ends[1] + room)
        left.set_title(title)
        left.set_xlabel(label, fontsize=_INK - 0.5)
        right.set_title("Robustness score")
        right.set_xlabel("share of the mean square\nthat networks share", fontsize=_INK - 0.5)
    marks = [
        Line2D([], [], marker="s", color=ROBUST, label="robust"),
        Line2D([], [], marker="s", color=NOT, label="not robust"),
        Line2D([], [], marker="s", color="0.4", mfc="white", linestyle="", label="not claimed before"),
        Line2D([], [], marker="D", color="0.25", linestyle="", label="first network"),
        Line2D([], [], marker="o", color="0.6", linestyle="", label="the others"),
        Line2D([], [], marker="|", color=CHANCE, linestyle="", markersize=9, label="score by chance"),
    ]
    figure.legend(handles=marks, loc="outside lower center", ncols=3, fontsize=_INK - 0.5)
    return figure


def plot_matching(table: DataFrame, alignment: DataFrame, likeness: DataFrame) -> Figure:
    """Features by pairs of networks, layers turned onto the first one's, and directions beside
    chance."""
    figure, ((features, spaces, directions),) = canvas(1, 3, (4.6, 4.2), title="Are they the same in other networks?")
    layers = list(dict.fromkeys(table["layer"]))
    kinds = (
        ("own", "matched features", ROBUST, "o", -0.25),
        ("random", "random dictionaries", COLOURS["algebraic"], "^", 0.0),
        ("shuffled", "shuffled tokens", CHANCE, "s", 0.25),
    )
    for name, label, colour, marker, shift in kinds:
        for x, layer in enumerate(layers):
            values = table.loc[table["layer"] == layer, name]
            spread = np.linspace(-0.07, 0.07, len(values))
            features.plot(
                x + shift + spread,
                values,
                marker,
                color=colour,
                markersize=5,
                alpha=0.75,
                label=label if x == 0 else None,
            )
    _layers(features, layers, "Features", "mean correlation as judged,\na mark per pair of networks")
    for name, label, colour, marker in (("share", "own tokens", ROBUST, "o"), ("shuffled", "shuffled", CHANCE, "s")):
        for x, layer in enumerate(layers):
            values = alignment.loc[alignment["layer"] == layer, name]
            spread = np.linspace(-0.1, 0.1, len(values))
            spaces.plot(x + spread, values, marker, color=colour, markersize=6, label=label if x == 0 else None)
    spaces.axhline(0, color="0.4", linewidth=1)
    _layers(spaces, layers, "Layers, turned", "variance explained on the other half\nof the problems")
    ticks = []
    for x, (source, colour) in enumerate(DIRECTIONS.items()):
        rows = likeness[likeness["source"] == source]
        if not len(rows):
            continue
        means = rows.groupby("name", sort=False)[["correlation", "chance_correlation"]].mean()
        spread = np.linspace(-0.28, 0.28, len(means)) if len(means) > 1 else [0.0]
        directions.plot(x + np.array(spread), means["correlation"], "o", color=colour, markersize=6)
        directions.plot(
            x + np.array(spread), means["chance_correlation"], "_", color=CHANCE, markersize=8, markeredgewidth=2
        )
        ticks.append((x, source))
    directions.axhline(0, color="0.4", linewidth=1)
    directions.set_xticks(*zip(*ticks, strict=True), fontsize=_INK - 1)
    directions.set_title("Directions")
    directions.set_ylabel("correlation with the first network's\n(grey: random directions)")
    directions.grid(False, axis="x")
    for axis in (features, spaces):
        low, high = axis.get_ylim()
        axis.set_ylim(low, high + 0.28 * (high - low))
        axis.legend(loc="upper left", fontsize=_INK - 1.5)
    return figure


def plot_robust_shares(tables: Mapping[str, DataFrame]) -> Figure:
    """Shares robust by kind and stratum, what chance gives, and how alike verdicts are."""
    figure, ((kinds, strata, verdicts),) = canvas(1, 3, (4.6, 3.9), title="What survives other seeds")
    table, chance = tables["findings"], tables["chance"].set_index("of")
    claimed = table[table["claimed"] != 0]
    rows = [
        (LABELS[kind][0].lower(), part["robust"].mean(), len(part), ROBUST)
        for kind, part in claimed.groupby("kind", sort=False)
    ]
    rows += [
        (name, chance.loc[of, "robust"], int(chance.loc[of, "findings"]), CHANCE)
        for of, name in (("findings exchanged", "exchanged"), ("random directions", "random directions"))
    ]
    y = np.arange(len(rows))
    kinds.barh(y, [row[1] for row in rows], color=[row[3] for row in rows], height=0.62)
    for at, (_, share, count, _) in zip(y, rows, strict=True):
        kinds.text(1.04, at, f"{share:.2f} of {count}", va="center", fontsize=_INK - 1)
    kinds.axvline(0.7, color="0.4", linestyle=":", linewidth=1.5)
    kinds.set_yticks(y, [row[0] for row in rows])
    kinds.set(xlim=(0, 1.32), ylim=(len(rows) - 0.4, -0.6), xlabel="share robust  (dotted: asked for)")
    kinds.set_xticks([0, 0.25, 0.5, 0.75, 1])
    kinds.set_title("Claimed findings")
    kinds.grid(False, axis="y")
    part = tables["strata"]
    x = np.arange(len(part))
    dots(strata, part, x - 0.12, value="share_robust", colour=ROBUST, upright=True, label="robust", size=7, width=2)
    strata.plot(x, part["keeps_sign"], "^", color=COLOURS["algebraic"], markersize=8, label="keep sign")
    strata.plot(x + 0.12, part["score"], "s", color=COLOURS["ideal"], markersize=7, label="score")
    strata.set_xticks(x, [s.replace(" ", "\n") for s in part["stratum"]])
    strata.set(ylim=(0, 1.38), xlim=(-0.5, len(part) - 0.5), ylabel="share of claimed interventions")
    strata.set_yticks([0, 0.25, 0.5, 0.75, 1])
    strata.legend(loc="upper center", ncols=3, fontsize=_INK - 1.5, columnspacing=1, handletextpad=0.3)
    strata.set_title("By conditioning of A")
    said = tables["verdicts"]
    verdicts.bar(said["network"], said["alike"], color=ROBUST, width=0.6)
    verdicts.plot(
        said["network"],
        said["chance"],
        "_",
        color="0.2",
        markersize=26,
        markeredgewidth=2.2,
        label="permuted over directions",
    )
    verdicts.set(ylim=(0, 1.2), xlabel="network (0: the one that P3-05 judged)", ylabel="share")
    verdicts.set_xticks(said["network"])
    verdicts.legend(loc="upper right", fontsize=_INK - 1.5)
    verdicts.set_title("Verdict as in P3-05")
    verdicts.grid(False, axis="x")
    return figure


def robustness_figures(tables: Mapping[str, DataFrame]) -> list[tuple[str, Figure, str]]:
    """Names, figures and captions."""
    table = tables["findings"]
    points = (
        "A dot a network; bars are 95 % intervals over networks (Student's t; non-central F for "
        "the score). Filled: claimed of the first network before."
    )
    concepts = ("carried", "read", "gap", "score")
    return [
        (
            "overview",
            plot_robust_shares(tables),
            "Findings claimed of the first network that all networks show; "
            "exact intervals over findings. Random directions: in the place of those found, uncorrected.",
        ),
        ("moved", plot_effects_by_network(table, ("moved",), "Directions that move answers"), points),
        ("others", plot_effects_by_network(table, concepts, "Properties, readers, dictionaries"), points),
        (
            "matching",
            plot_matching(tables["matching"], tables["alignment"], tables["likeness"]),
            "Matched on one half of the problems, judged on the other. Directions: mean over the other "
            "networks, tokens within landscapes; of the state, cosines.",
        ),
    ]


def _grid(parts: list[DataFrame], rows: int, title: str):
    """Two columns of panels, as high as their rows."""
    figure, axes = canvas(
        len(parts),
        2,
        (5.4, (0.27 * rows + 1.1 * len(parts) + 1.2) / len(parts)),
        title=title,
        gridspec_kw={"height_ratios": [len(part) + 2.0 for part in parts], "width_ratios": [1.5, 1]},
    )
    return figure, axes


def _name(row) -> str:
    return row.name.replace("_", " ").replace("concept ", "").replace("attribution", "attribution by")


def _seen(part: DataFrame) -> tuple[float, float]:
    """From where to where all networks are; an interval of few may be much longer than that."""
    values = part[[name for name in part if name.startswith("effect_")]].to_numpy()
    return min(values.min(), 0), max(values.max(), 0)


def _layers(axis: Axes, layers: list[str], title: str, label: str) -> None:
    axis.set_xticks(range(len(layers)), layers)
    axis.set_title(title)
    axis.set_ylabel(label)
    axis.grid(False, axis="x")
