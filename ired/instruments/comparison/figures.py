"""Figures of P7-04: what variants differ in that learned from different negatives.

A variant's hue stands for its negatives, its marker, line and shade for the energy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from pandas import DataFrame, Series

from ired.instruments.comparison.paired_seeds import LARGEST
from ired.instruments.comparison.similarity import BOTH, GENERAL, MINING, PARTS, SEEDS
from ired.instruments.statistics.intervals import student_interval
from ired.plotting.axes import reference_lines, reference_stroke, signed_log, value_axis
from ired.plotting.plots import heat_map
from ired.plotting.style import COLOURS, DIVERGING, LABELS, SEQUENTIAL, canvas

HUES = {"none": "#4d4d4d", "random": "#0173b2", "adversarial": "#cc78bc", "property": "#029e73"}
SPARE = ("#ca9161", "#56b4e9", "#ece133", "#949494", "#fbafe4", "#de8f05", "#0173b2", "#029e73",
         "#cc78bc", "#4d4d4d")  # fmt: skip
MARKS = (("o", "-", 0.0), ("s", "--", -0.4), ("^", ":", 0.35))
TOTALS = {"score": "all parts", "without_layers": "without layers"}
BEYOND = "landscape.beyond_blind"
CONTROLS = ("v", "P", "x", "*")
GROUPS = {SEEDS: ("two seeds, one variant (its colour)", "0.3"),
          MINING: ("one seed, two variants", "#8c6bb1"),
          BOTH: ("two seeds, two variants", "0.55")}  # fmt: skip


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
        return {name: Look(SPARE[i % len(SPARE)], *MARKS[i // len(SPARE) % len(MARKS)][:2])
                for i, name in enumerate(variants)}  # fmt: skip
    marks = dict(zip(energies, MARKS, strict=False))
    found = {}
    for name, (energy, mining) in zip(variants, parts, strict=True):
        marker, line, shade = marks[energy]
        found[name] = Look(_shaded(HUES[mining], shade), marker, line)
    return found


def accuracy(table: DataFrame, references: DataFrame, title: str = "") -> Figure:
    """Sampled error of each variant, a panel a family.

    table: columns variant, seed, family, steps (optimisation steps; the fewest are drawn open, the most
    filled), mse; references: family, predictor, mse. Small dots are seeds, large ones their mean with
    Student's t interval.
    """
    variants, families = _unique(table, "variant"), _unique(table, "family")
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
        Line2D([], [], color="0.3", marker="o", markersize=8, linewidth=2,
               markerfacecolor="0.3" if step == steps[-1] else "white",
               label=f"{step} optimisation steps")
        for step in steps
    ] + [
        Line2D([], [], color=COLOURS.get(name, "0.4"), linestyle=reference_stroke(name),
               label=LABELS.get(name, name))
        for name in _unique(references, "predictor")
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 4))
    return figure


def differences(
    table: DataFrame, measure: str = "d_z", reference: str = "none", title: str = ""
) -> Figure:
    """Forest plot of the paired differences, metrics by phase.

    table: rows of `paired_seeds.Comparison.table`; measure: "d_z" or "relative" (metrics without a share
    of the reference are left out). Filled: significant after correction. Grey: smaller than the least
    effect that this number of seeds sees with 80 % power, for relative differences each cell's own.
    Dotted: an interval without bounds.
    """
    table = table.assign(**_scaled(table, measure))
    table = table[np.isfinite(table["x"])]
    if table.empty:
        return _nothing(title)
    variants = _unique(table, "variant")
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
            axis.annotate(name, (0, y), xycoords=("axes fraction", "data"), xytext=(-4, 0),
                          textcoords="offset points", ha="right", va="center", fontweight="bold",
                          fontsize=10)  # fmt: skip
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
                        axis.plot([-row["grey"], row["grey"]], [at, at], color="0.8", linewidth=4,
                                  solid_capstyle="butt", zorder=1)  # fmt: skip
                    if np.isfinite(row["x_low"]):
                        axis.plot([row["x_low"], row["x_high"]], [at, at], color=shade, linewidth=1.4)
                    else:
                        axis.axhline(at, color=shade, linewidth=1.4, linestyle=":")
                    axis.plot(row["x"], at, look[name].marker, color=shade, markersize=size,
                              markerfacecolor=shade if row["significant"] else "white",
                              markeredgewidth=1.3, zorder=3)  # fmt: skip
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


def heatmap(table: DataFrame, reference: str = "none", title: str = "") -> Figure:
    """Metrics × variants: differences in deviations between seeds; framed: significant.

    table: rows of `paired_seeds.Comparison.table`. Colours end at the deviations that one in twenty cells
    exceeds; the number stands in the cell. Grey: the variant has no such metric.
    """
    if table.empty:
        return _nothing(title)
    variants, groups = _unique(table, "variant"), _grouped(table)
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
            axis.annotate(head, (1, at + 0.5), xycoords=("axes fraction", "data"), xytext=(5, 0),
                          textcoords="offset points", va="center", fontsize=9, fontweight="bold",
                          annotation_clip=False)  # fmt: skip
        at += len(names)
    bar = figure.colorbar(image, ax=axis, location="bottom", shrink=0.9, aspect=30, pad=0.02,
                          extend="both")  # fmt: skip
    bar.set_label(f"difference to {reference}, in deviations between seeds\n"
                  "(framed: significant after correction)")  # fmt: skip
    bar.ax.grid(False)
    return figure


def consistency(table: DataFrame, title: str = "") -> Figure:
    """What pairs of models share: by variant, and by part.

    table: rows of `similarity.table`. Pairs of a model and itself are drawn as copies; kinds that
    `similarity.pairs` does not make (a pair with an untrained network, say) are controls by that name.
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
        return _nothing(title)
    variants = list(dict.fromkeys([*pairs["first"], *pairs["second"]]))
    look, levels = looks(variants), _levels(pairs)
    totals = [name for name in TOTALS if name in pairs and pairs[name].notna().any()]
    rows = [name for name in (*totals, PARTS[0], BEYOND, *PARTS[1:])
            if name in pairs and pairs[name].notna().any()]  # fmt: skip
    shown = {total: pairs[pairs[total].notna()] for total in totals}
    known = {total: [v for v in variants if (part[["first", "second"]] == v).any(axis=None)]
             for total, part in shown.items()}  # fmt: skip
    grids = {total: _matrix(part, known[total], total) for total, part in shown.items()}
    full = {total: np.isfinite(grid).mean() > 0.5 for total, grid in grids.items()}
    widths = [2.3 + 0.42 * max(len(known[t]), 3) if full[t] else 5.2 for t in totals] + [5.8]
    heights = [2.4 + 0.42 * len(known[t]) if full[t] else 1.4 + 0.62 * len(known[t]) for t in totals]
    size = sum(widths) / len(widths), max(*heights, 1.4 + 0.62 * len(rows), 3)
    figure, axes = canvas(1, len(widths), size, title, gridspec_kw={"width_ratios": widths})
    marks = {kind: (CONTROLS[i % len(CONTROLS)], COLOURS["algebraic"])
             for i, kind in enumerate(k for k in dict.fromkeys(kinds) if k not in (*GROUPS, "copy"))}
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
        Line2D([], [], linestyle="", marker="|", markersize=11, markeredgewidth=2.2, color="0.05",
               label="mean"),
        Line2D([], [], linestyle=":", linewidth=2, color=COLOURS["least_squares"], label="chance"),
    ]  # fmt: skip
    for kind, (marker, colour) in marks.items():
        if (kinds == kind).any():
            handles.append(Line2D([], [], linestyle="", marker=marker, markersize=6, color=colour,
                                  label="a model's copy" if kind == "copy" else kind))  # fmt: skip
    figure.legend(handles=handles, loc="outside lower right", ncols=min(len(handles), 4))
    return figure


def landscapes(
    table: DataFrame, references: Mapping[str, float] | None = None, title: str = ""
) -> Figure:
    """By landscape: each variant's mean over seeds, and the range of seeds.

    table: columns variant, seed, landscape, measure (or metric), value; references: measure → what an
    ideal landscape has, drawn dotted.
    """
    column = "measure" if "measure" in table else "metric"
    measures, variants = _unique(table, column), _unique(table, "variant")
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
            own = look[variant]
            axis.fill_between(over.index, over["min"], over["max"], color=own.colour, linewidth=0,
                              alpha=min(0.15, 0.7 / len(variants)), zorder=1.5)  # fmt: skip
            axis.plot(over.index, over["mean"], own.marker, color=own.colour, linestyle=own.line,
                      markersize=4, linewidth=1.5)  # fmt: skip
        axis.set_xticks(sorted(set(table["landscape"])))
        axis.set_xlabel("landscape k  (0 sharpest)")
        axis.set_title(str(measure), fontsize=10)
    for axis in axes.flat[len(measures) :]:
        axis.set_axis_off()
    handles = [
        Line2D([], [], color=own.colour, marker=own.marker, linestyle=own.line, label=name)
        for name, own in look.items()
    ] + ([Line2D([], [], color="0.3", linestyle=":", label="ideal landscape")] if references else [])
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 2 * columns))
    return figure


# Inside


def _nothing(title: str) -> Figure:
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


def _unique(table: DataFrame, column: str) -> list:
    return list(dict.fromkeys(table[column]))


def _dots(axis: Axes, values, y: float, look: Look, filled: bool, floor: float | None) -> None:
    """Seeds as small dots, their mean and its interval."""
    values = np.asarray(values, dtype=float)
    values = values[np.isfinite(values)]
    if not len(values):
        return
    seen = values if floor is None else np.maximum(values, floor)
    axis.plot(seen, np.full(len(seen), y), "o", color=look.colour, markersize=3.2, alpha=0.55,
              markeredgewidth=0, zorder=2)  # fmt: skip
    low, high = values.mean(), values.mean()
    if len(values) > 1:
        ends = student_interval(values)
        low, high = float(ends.low), float(ends.high)
    low, mean, high = (v if floor is None else max(v, floor) for v in (low, values.mean(), high))
    axis.plot([low, high], [y, y], color=look.colour, linewidth=2, alpha=0.8)
    axis.plot(mean, y, look.marker, color=look.colour, markersize=7.5, markeredgewidth=1.5,
              markerfacecolor=look.colour if filled else "white", zorder=3)  # fmt: skip


def _grouped(table: DataFrame) -> list[tuple[str, list[str]]]:
    """Metrics by phase, both as they first appear; one group without a name where there are none."""
    if "phase" not in table:
        return [("", _unique(table, "metric"))]
    parts = table.groupby("phase", sort=False)
    return [(_phase(phase), _unique(part, "metric")) for phase, part in parts]


def _phase(phase) -> str:
    if isinstance(phase, str):
        return phase
    return f"Phase {phase:g}" if phase else "Accuracy"


def _columns(
    groups: list[tuple[str, list[str]]], head: float, room: float
) -> list[list[tuple[str, list[str]]]]:
    """Groups in up to three columns of about equal height; a headline is `head` metrics high, and
    `room` of them fit one column."""
    heights = np.array([len(metrics) + head for _, metrics in groups])
    count = int(min(3, len(groups), np.ceil(heights.sum() / room)))
    if count < 2:
        return [groups]
    best = min(combinations(range(1, len(groups)), count - 1),
               key=lambda cuts: max(part.sum() for part in np.split(heights, cuts)))  # fmt: skip
    ends = [0, *best, len(groups)]
    return [groups[i:j] for i, j in zip(ends, ends[1:], strict=False)]


def _scaled(table: DataFrame, measure: str) -> dict[str, np.ndarray]:
    """x, x_low, x_high and grey, in deviations or as shares of the reference's mean."""
    names = ("x", "x_low", "x_high", "grey")
    if measure == "relative":
        grey = table["detectable"] / table["reference_mean"].where(table["reference_mean"] > 0)
        ends = table["relative_low"], table["relative_high"]
        return dict(zip(names, (table["relative"], *ends, grey), strict=True))
    varies = table["deviation"] > 0
    scale = table["deviation"].where(varies, 1.0)
    ends = ((table[name] / scale).where(varies & (table["d_z"].abs() < LARGEST), table["d_z"])
            for name in ("low", "high"))  # fmt: skip
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
    one, same = table["first"] == table["second"], table["first_seed"] == table["second_seed"]
    own = np.select([one & same, one, same], ["copy", SEEDS, MINING], BOTH)
    if "kind" not in table:
        return Series(own, index=table.index)
    return table["kind"].where(table["kind"].notna() & ~table["kind"].isin(list(GROUPS)), own)


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
    axis: Axes, y: int, table: DataFrame, column: str, level: float, look: Mapping[str, Look],
    marks: Mapping[str, tuple[str, str]],
) -> None:  # fmt: skip
    """The pairs of each group under each other, with their mean; copies, controls and chance."""
    rng, table = np.random.default_rng(y), table[table[column].notna()]
    for (kind, (_, colour)), shift in zip(GROUPS.items(), (-0.25, 0.0, 0.25), strict=True):
        seen = table[table["kind"] == kind]
        if seen.empty:
            continue
        colours = [look[v].colour for v in seen["first"]] if kind == SEEDS else colour
        jitter = rng.uniform(-0.07, 0.07, len(seen))
        axis.scatter(seen[column], y + shift + jitter, 9, colours, alpha=0.6, linewidths=0)
        axis.plot(seen[column].mean(), y + shift, "|", color="0.05", markersize=12, markeredgewidth=2.2,
                  zorder=4)  # fmt: skip
    for kind, (marker, colour) in marks.items():
        x = table.loc[table["kind"] == kind, column]
        if len(x):  # an empty line that is not clipped takes up room
            axis.plot(x, np.full(len(x), y), marker, color=colour, markersize=6, clip_on=False)
    axis.vlines(level, y - 0.42, y + 0.42, COLOURS["least_squares"], ":", linewidth=2, zorder=3)


def _strips(axis: Axes, names: Sequence[str]) -> None:
    for y in np.arange(len(names) + 1) - 0.5:
        axis.axhline(y, color="0.85", linewidth=1)
    low, high = axis.dataLim.intervalx
    axis.set_yticks(range(len(names)), names)
    axis.set(xlim=(min(low, 0) - 0.04, 1.04), ylim=(len(names) - 0.5, -0.5), xlabel="score")
    axis.grid(False, axis="y")
