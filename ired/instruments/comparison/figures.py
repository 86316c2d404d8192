"""Figures of P7-04: accuracy, landscapes and consistency of variants that learned from different negatives.

A variant's hue stands for its negatives, its marker, line and shade for the energy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from pandas import DataFrame, Series

from ired.instruments.comparison.similarity import BOTH, GENERAL, MINING, PARTS, SEEDS
from ired.instruments.statistics.intervals import student_interval
from ired.plotting.axes import reference_lines, reference_stroke, value_axis
from ired.plotting.plots import heat_map
from ired.plotting.style import COLOURS, LABELS, SEQUENTIAL, canvas

HUES = {"none": "#4d4d4d", "random": "#0173b2", "adversarial": "#cc78bc", "property": "#029e73"}
SPARE = ("#ca9161", "#56b4e9", "#ece133", "#949494", "#fbafe4", "#de8f05", "#0173b2", "#029e73", "#cc78bc", "#4d4d4d")
MARKS = (("o", "-", 0.0), ("s", "--", -0.4), ("^", ":", 0.35))
TOTALS = {"score": "all parts", "without_layers": "without layers"}
BEYOND = "landscape.beyond_blind"
CONTROLS = ("v", "P", "x", "*")
GROUPS = {
    SEEDS: ("two seeds, one variant (its colour)", "0.3"),
    MINING: ("one seed, two variants", "#8c6bb1"),
    BOTH: ("two seeds, two variants", "0.55"),
}


@dataclass(frozen=True)
class Look:
    colour: str
    marker: str
    line: str


def looks(variants: Iterable[str]) -> dict[str, Look]:
    """Colour, marker and line of each; "product-random" is the energy "product" with random negatives.

    Names that are no such thing get a colour each."""
    variants = list(dict.fromkeys(variants))
    parts = [_parts(name) for name in variants]
    energies = list(dict.fromkeys(["", *(energy for energy, _ in parts)]))
    if len(energies) > len(MARKS):
        return {
            name: Look(SPARE[i % len(SPARE)], *MARKS[i // len(SPARE) % len(MARKS)][:2])
            for i, name in enumerate(variants)
        }
    marks = dict(zip(energies, MARKS, strict=False))
    look = {}
    for name, (energy, mining) in zip(variants, parts, strict=True):
        marker, line, shade = marks[energy]
        look[name] = Look(_shaded(HUES[mining], shade), marker, line)
    return look


def plot_variant_accuracy(table: DataFrame, references: DataFrame, title: str = "") -> Figure:
    """Sampled error of each variant, a panel a family.

    table: columns variant, seed, family, steps (optimisation steps; the fewest are drawn open, the most
    filled), mse; references: family, predictor, mse. Small dots are seeds, large ones their mean with
    Student's t interval.
    """
    variants, families = unique(table, "variant"), unique(table, "family")
    look, steps = looks(variants), sorted(set(table["steps"]))
    steps = [steps[0], steps[-1]] if len(steps) > 1 else steps
    columns = min(4, len(families))
    rows = -(-len(families) // columns)
    height = 1.3 + 0.37 * len(variants)
    width = 13.0 / columns if columns > 2 else 5.2
    figure, axes = canvas(rows, columns, (width, height), title=title, sharey=True)
    for axis, family in zip(axes.flat, families, strict=False):
        part = table[(table["family"] == family) & table["steps"].isin(steps)]
        known = references[references["family"] == family].groupby("predictor")["mse"].mean()
        shown = np.append(part["mse"].to_numpy(dtype=float), known.to_numpy(dtype=float))
        floor = value_axis(axis, shown, "x")
        for (variant, step), seeds in part.groupby(["variant", "steps"], sort=False):
            y = variants.index(variant) + 0.34 * (steps.index(step) - (len(steps) - 1) / 2)
            _dots(axis, seeds["mse"], y, look[variant], filled=step == steps[-1], floor=floor)
        reference_lines(axis, known.to_dict(), across=False)
        axis.set_title(family)
        axis.set_ylim(len(variants) - 0.5, -0.5)
        axis.grid(False, axis="y")
    for axis in axes[:, 0]:
        axis.set_yticks(range(len(variants)), variants)
    for i, axis in enumerate(axes.flat):
        if i >= len(families):
            axis.set_axis_off()
        elif i + columns >= len(families):
            axis.set_xlabel("MSE per entry of A⁻¹")
    handles = [
        Line2D(
            [],
            [],
            color="0.3",
            marker="o",
            markersize=8,
            linewidth=2,
            markerfacecolor="0.3" if step == steps[-1] else "white",
            label=f"{step} optimisation steps",
        )
        for step in steps
    ] + [
        Line2D([], [], color=COLOURS.get(name, "0.4"), linestyle=reference_stroke(name), label=LABELS.get(name, name))
        for name in unique(references, "predictor")
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 4))
    return figure


def plot_consistency(table: DataFrame, title: str = "") -> Figure:
    """What pairs of models share: by variant, and by part.

    table: rows of `similarity.similarity_table`. Pairs of a model and itself are drawn as copies; kinds that
    `similarity.model_pairs` does not make (a pair with an untrained network, say) are controls by that name.
    Totals stand in a matrix of means over pairs of seeds, the diagonal between seeds of one variant;
    where most pairs of variants were not held against each other, as dots of each variant's own pairs
    and those with the first one. Dotted: chance, the score against another problem of the other model.
    """
    kinds = _kinds(table)
    # A score of fewer parts is another score: pairs without layers have the second total alone.
    complete = table[[part for part in PARTS if part in table]].notna().all(axis=1)
    table = table.assign(kind=kinds, score=table["score"].where(complete))
    pairs = table[kinds.isin(list(GROUPS))]
    if pairs.empty:
        return plot_nothing_to_compare(title)
    variants = list(dict.fromkeys([*pairs["first"], *pairs["second"]]))
    look, levels = looks(variants), _levels(pairs)
    totals = [name for name in TOTALS if name in pairs and pairs[name].notna().any()]
    rows = [name for name in (*totals, PARTS[0], BEYOND, *PARTS[1:]) if name in pairs and pairs[name].notna().any()]
    shown = {total: pairs[pairs[total].notna()] for total in totals}
    known = {
        total: [v for v in variants if (part[["first", "second"]] == v).any(axis=None)] for total, part in shown.items()
    }
    grids = {total: _matrix(part, known[total], total) for total, part in shown.items()}
    full = {total: np.isfinite(grid).mean() > 0.5 for total, grid in grids.items()}
    widths = [2.3 + 0.42 * max(len(known[t]), 3) if full[t] else 5.2 for t in totals] + [5.8]
    heights = [2.4 + 0.42 * len(known[t]) if full[t] else 1.4 + 0.62 * len(known[t]) for t in totals]
    size = sum(widths) / len(widths), max(*heights, 1.4 + 0.62 * len(rows), 3)
    figure, axes = canvas(1, len(widths), size, title, gridspec_kw={"width_ratios": widths})
    marks = {
        kind: (CONTROLS[i % len(CONTROLS)], COLOURS["algebraic"])
        for i, kind in enumerate(k for k in dict.fromkeys(kinds) if k not in (*GROUPS, "copy"))
    }
    marks = {"copy": ("D", COLOURS["ideal"])} | marks
    bounds = _limits([x for grid in grids.values() for x in grid[np.isfinite(grid)]])
    for axis, total in zip(axes[0], totals, strict=False):
        names = known[total]
        axis.set_title(TOTALS[total].capitalize())
        if full[total]:
            heat_map(axis, grids[total], SEQUENTIAL, Normalize(*bounds), "{:.2f}", 8, aspect="equal")
            axis.set_anchor("N")
            axis.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")
            axis.set_yticks(range(len(names)), names)
            continue
        for y, name in enumerate(names):
            # Pairs of two variants stand beside the second one: the first is the same throughout.
            _strip(axis, y, table[table["second"] == name], total, levels[total], look, marks)
        _strips(axis, names)
    axis = axes[0, -1]
    for y, name in enumerate(rows):
        _strip(axis, y, table, name, levels[name], look, marks)
    words = TOTALS | {BEYOND: "landscape beyond\na blind bowl"}
    _strips(axis, [words.get(name, name) for name in rows])
    axis.set_title("By part")
    dot = {"linestyle": "", "marker": "o", "markersize": 5}
    handles = [Line2D([], [], **dot, color=colour, label=name) for name, colour in GROUPS.values()]
    handles += [
        Line2D([], [], linestyle="", marker="|", markersize=11, markeredgewidth=2.2, color="0.05", label="mean"),
        Line2D([], [], linestyle=":", linewidth=2, color=COLOURS["least_squares"], label="chance"),
    ]
    for kind, (marker, colour) in marks.items():
        if (kinds == kind).any():
            handles.append(
                Line2D(
                    [],
                    [],
                    linestyle="",
                    marker=marker,
                    markersize=6,
                    color=colour,
                    label="a model's copy" if kind == "copy" else kind,
                )
            )
    figure.legend(handles=handles, loc="outside lower right", ncols=min(len(handles), 4))
    return figure


def plot_variants_by_landscape(
    table: DataFrame, references: Mapping[str, float] | None = None, title: str = ""
) -> Figure:
    """By landscape: each variant's mean over seeds, and the range of seeds.

    table: columns variant, seed, landscape, measure (or metric), value; references: measure → what an
    ideal landscape has, drawn dotted.
    """
    column = "measure" if "measure" in table else "metric"
    measures, variants = unique(table, column), unique(table, "variant")
    look = looks(variants)
    columns = min(3 if len(measures) in (3, 5, 6, 9) else 4, max(len(measures), 1))
    size = (4.0 if columns < 4 else 3.5, 3.0)
    figure, axes = canvas(-(-len(measures) // columns) or 1, columns, size, title=title)
    for axis, measure in zip(axes.flat, measures, strict=False):
        part = table[table[column] == measure]
        ideal = (references or {}).get(measure)
        shown = part["value"].to_numpy(dtype=float)
        floor = value_axis(axis, shown if ideal is None else np.append(shown, ideal), "y")
        if ideal is not None:
            axis.axhline(ideal, color="0.3", linestyle=":", linewidth=1.4, zorder=1)
        for variant, rows in part.groupby("variant", sort=False):
            over = rows.groupby("landscape")["value"].agg(["mean", "min", "max"]).clip(lower=floor)
            style = look[variant]
            axis.fill_between(
                over.index,
                over["min"],
                over["max"],
                color=style.colour,
                linewidth=0,
                alpha=min(0.15, 0.7 / len(variants)),
                zorder=1.5,
            )
            axis.plot(
                over.index,
                over["mean"],
                style.marker,
                color=style.colour,
                linestyle=style.line,
                markersize=4,
                linewidth=1.5,
            )
        axis.set_xticks(sorted(set(table["landscape"])))
        axis.set_xlabel("landscape k  (0 sharpest)")
        axis.set_title(str(measure), fontsize=10)
    for axis in axes.flat[len(measures) :]:
        axis.set_axis_off()
    handles = [
        Line2D([], [], color=style.colour, marker=style.marker, linestyle=style.line, label=name)
        for name, style in look.items()
    ] + ([Line2D([], [], color="0.3", linestyle=":", label="ideal landscape")] if references else [])
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 2 * columns))
    return figure


# What they are made of


def plot_nothing_to_compare(title: str) -> Figure:
    """What stands in place of a figure that has no rows."""
    figure, axes = canvas(1, 1, (4.0, 1.5), title=title)
    axes[0, 0].set_axis_off()
    axes[0, 0].text(0.5, 0.5, "nothing to compare", ha="center", va="center")
    return figure


def _parts(name: str) -> tuple[str, str]:
    energy, _, mining = name.rpartition("-")
    return (energy, mining) if mining in HUES else (name, "none")


def _shaded(colour: str, shade: float) -> str:
    """Towards white (shade > 0) or black (shade < 0)."""
    rgb = np.array(to_rgb(colour))
    rgb = rgb + shade * (1 - rgb) if shade > 0 else rgb * (1 + shade)
    return "#" + "".join(f"{round(255 * c):02x}" for c in rgb)


def unique(table: DataFrame, column: str) -> list:
    """The values of a column in the order in which they appear."""
    return list(dict.fromkeys(table[column]))


def _dots(axis: Axes, values, y: float, look: Look, filled: bool, floor: float | None) -> None:
    """Seeds as small dots, their mean and its interval."""
    values = np.asarray(values, dtype=float)
    values = values[np.isfinite(values)]
    if not len(values):
        return
    drawn = values if floor is None else np.maximum(values, floor)
    axis.plot(
        drawn, np.full(len(drawn), y), "o", color=look.colour, markersize=3.2, alpha=0.55, markeredgewidth=0, zorder=2
    )
    low, high = values.mean(), values.mean()
    if len(values) > 1:
        ends = student_interval(values)
        low, high = float(ends.low), float(ends.high)
    low, mean, high = (v if floor is None else max(v, floor) for v in (low, values.mean(), high))
    axis.plot([low, high], [y, y], color=look.colour, linewidth=2, alpha=0.8)
    axis.plot(
        mean,
        y,
        look.marker,
        color=look.colour,
        markersize=7.5,
        markeredgewidth=1.5,
        markerfacecolor=look.colour if filled else "white",
        zorder=3,
    )


def _limits(values) -> tuple[float, float]:
    """Tenths that hold the values: what differs is to be seen, and the numbers stand in the cells."""
    if not len(values):
        return 0.0, 1.0
    low, high = np.floor(10 * np.min(values)) / 10, np.ceil(10 * np.max(values)) / 10
    return float(low), float(max(high, low + 0.1))


def _matrix(pairs: DataFrame, variants: Sequence[str], column: str) -> np.ndarray:
    """Means over pairs of seeds (V, V), whichever of two variants stands first."""
    place = {name: i for i, name in enumerate(variants)}
    total, count = np.zeros((2, len(variants), len(variants)))
    for first, second, value in pairs[["first", "second", column]].itertuples(index=False, name=None):
        i, j = place[first], place[second]
        for at in {(i, j), (j, i)}:
            total[at] += value
            count[at] += 1
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def _kinds(table: DataFrame) -> Series:
    """One of `GROUPS`, "copy", or a control's name."""
    same_variant, same_seed = table["first"] == table["second"], table["first_seed"] == table["second_seed"]
    kinds = np.select([same_variant & same_seed, same_variant, same_seed], ["copy", SEEDS, MINING], BOTH)
    if "kind" not in table:
        return Series(kinds, index=table.index)
    return table["kind"].where(table["kind"].notna() & ~table["kind"].isin(list(GROUPS)), kinds)


def _levels(pairs: DataFrame) -> dict[str, float]:
    """What another problem's answers, gaps and attributions would give; the rest has its chance taken
    off."""
    levels = dict.fromkeys((*PARTS, BEYOND), 0.0)
    for part in GENERAL:
        column = f"{part}.other_problem"
        if column in pairs and pairs[column].notna().any():
            levels[part] = float(np.clip(pairs[column].mean(), 0, 1))
    totals = (np.mean([levels[part] for part in parts]) for parts in (PARTS, GENERAL))
    return levels | dict(zip(TOTALS, map(float, totals), strict=True))


def _strip(
    axis: Axes,
    y: int,
    table: DataFrame,
    column: str,
    level: float,
    look: Mapping[str, Look],
    marks: Mapping[str, tuple[str, str]],
) -> None:
    """The pairs of each group under each other, with their mean; copies, controls and chance."""
    rng, table = np.random.default_rng(y), table[table[column].notna()]
    for (kind, (_, colour)), shift in zip(GROUPS.items(), (-0.25, 0.0, 0.25), strict=True):
        group = table[table["kind"] == kind]
        if group.empty:
            continue
        colours = [look[v].colour for v in group["first"]] if kind == SEEDS else colour
        jitter = rng.uniform(-0.07, 0.07, len(group))
        axis.scatter(group[column], y + shift + jitter, 9, colours, alpha=0.6, linewidths=0)
        axis.plot(group[column].mean(), y + shift, "|", color="0.05", markersize=12, markeredgewidth=2.2, zorder=4)
    for kind, (marker, colour) in marks.items():
        x = table.loc[table["kind"] == kind, column]
        if len(x):  # an empty line that is not clipped takes up room
            axis.plot(x, np.full(len(x), y), marker, color=colour, markersize=6, clip_on=False)
    axis.vlines(level, y - 0.42, y + 0.42, COLOURS["least_squares"], ":", linewidth=2, zorder=3)


def _strips(axis: Axes, names: Sequence[str]) -> None:
    for y in np.arange(len(names) + 1) - 0.5:
        axis.axhline(y, color="0.85", linewidth=1)
    low, _high = axis.dataLim.intervalx
    axis.set_yticks(range(len(names)), names)
    axis.set(xlim=(min(low, 0) - 0.04, 1.04), ylim=(len(names) - 0.5, -0.5), xlabel="score")
    axis.grid(False, axis="y")
