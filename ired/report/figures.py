"""Figures of P7-05: which negatives for which goal, all claims at once, and what was published beside.

A cell's meaning stands in it as a glyph and a word; its colour says the same.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from pandas import DataFrame

from ired.plotting.axes import plain_ticks
from ired.plotting.style import canvas
from ired.report import confidence as sure, recommendation as rule
from ired.report.confidence import JudgedClaim
from ired.report.recommendation import Advice, GoalCell

# Colour (fill), ink and glyph of each word. Blue to orange, the middle grey: apart for every kind of
# colour vision; dashed: nothing is known.
EFFECTS = {
    rule.BETTER: ("#0173b2", "white", "▲"),
    rule.PERHAPS_BETTER: ("#b5d7ec", "0.1", "△"),
    rule.NO_DIFFERENCE: ("#ededed", "0.25", "○"),
    rule.PERHAPS_WORSE: ("#fbdcae", "0.1", "▽"),
    rule.WORSE: ("#de8f05", "0.05", "▼"),
    rule.MEASURED: ("#ededed", "0.1", ""),
    rule.MISSING: ("white", "0.45", "–"),
}
VERDICTS = {
    sure.SUPPORTED: ("#0173b2", "white", "●"),
    sure.DIVIDED: ("#f3d27a", "0.05", "◐"),
    sure.UNSUPPORTED: ("#c4560a", "white", "✕"),
    sure.OPEN: ("white", "0.3", "?"),
}
ANSWERS = {
    sure.YES: ("#a9cfe8", "0.05", "●"),
    sure.IN_PART: ("#f6e7bd", "0.05", "◐"),
    sure.NO: ("#efb48a", "0.05", "✕"),
    sure.UNTESTED: ("white", "0.5", "·"),
    sure.NOT_ASKED: ("white", "0.62", ""),
}
KINDS = {
    sure.CAUSAL: ("#ededed", "0.05", "→"),
    sure.CORRELATIONAL: ("#ededed", "0.05", "~"),
    sure.DESCRIPTIVE: ("#ededed", "0.05", "▫"),
}
CONFIDENCES = {
    sure.HIGH: ("#0173b2", "white", "▮▮▮"),
    sure.MODERATE: ("#6aaed6", "0.05", "▮▮"),
    sure.LOW: ("#d3e6f2", "0.05", "▮"),
    sure.NONE: ("white", "0.5", ""),
}
DASHED = {rule.MISSING, sure.OPEN}
# Colour, marker and word of what the figure of published errors holds.
SOURCES = {
    "published": ("#c4560a", "D", "published"),
    "reference": ("0.45", "s", "reference"),
    "ours": ("#0173b2", "o", "ours"),
}
FAMILIES = {"test": "same difficulty, c = 0.5", "harder": "harder, c = 0.1"}
_LINE = 0.165  # inches of a line of text


def plot_decision(advice: Sequence[Advice], title: str = "Which negatives, for what?") -> Figure:
    """Goals × kinds of negatives and other energies against none: verdict, difference, interval.

    The last column: what the rule takes; its cell is framed, and the energy that is beyond all kinds.
    """
    kinds = _unique(name for goal_advice in advice for name in goal_advice.cells)
    others = _unique(name for goal_advice in advice for name in goal_advice.others)
    wide, name, gap, tall = 1.66, 2.6, 0.18, 0.66
    starts = [name + i * wide for i in range(len(kinds))]
    starts += [name + len(kinds) * wide + gap + i * wide for i in range(len(others))]
    last = name + (len(kinds) + len(others)) * wide + gap * (1 + bool(others))
    figure, axis = _sheet(last + 2.35, tall * max(len(advice), 1) + 0.62, title, foot=0.5)
    _heads(axis, [(at + wide / 2, each) for at, each in zip(starts, (*kinds, *others), strict=True)], 0.46)
    _heads(axis, [(last + 0.08, "take")], 0.46, ha="left")
    groups = [(0, len(kinds), "negatives"), (len(kinds), len(starts), "another energy")]
    for first, end, word in groups:
        if end > first:
            ends = starts[first] + 0.05, starts[end - 1] + wide - 0.05
            axis.plot(ends, [0.24, 0.24], color="0.6", linewidth=1)
            axis.text(sum(ends) / 2, 0.12, word, ha="center", va="center", fontsize=8.5, color="0.35")
    for i, goal_advice in enumerate(advice):
        y = 0.62 + i * tall
        useful = f", of use beyond {goal_advice.goal.chance:g}" if np.isfinite(goal_advice.goal.chance) else ""
        axis.text(0, y + 0.24, goal_advice.goal.name, va="center", fontsize=10.5, fontweight="bold")
        axis.text(0, y + 0.44, goal_advice.goal.metric + useful, va="center", fontsize=7.5, color="0.45")
        cells = [goal_advice.cells.get(kind) for kind in kinds] + [goal_advice.others.get(energy) for energy in others]
        for x, cell in zip(starts, cells, strict=True):
            cell = cell or GoalCell(goal_advice.goal.name, "", rule.MISSING)
            chosen = cell.verdict != rule.MISSING and cell.kind in (goal_advice.take, goal_advice.instead)
            _effect(axis, x, y, wide, tall, cell, goal_advice.goal.works(cell.mean), chosen)
        known = goal_advice.take in kinds
        lines = [f"▲ {goal_advice.take}" if known else goal_advice.take.replace(" (", "\n(")]
        lines += [f"or the energy {goal_advice.instead}"] * bool(goal_advice.instead)
        axis.text(
            last + 0.08,
            y + tall / 2,
            "\n".join(lines),
            va="center",
            fontsize=9,
            linespacing=1.15,
            fontweight="bold" if known else "normal",
        )
    _foot(
        axis,
        "Against none, paired by seed: share of none's mean with Student's 95 % interval; ÷ and ×: "
        "factors. ▲ ▼ p < 0.05 after correction over the row's kinds; △ ▽ the interval alone. Framed: "
        "taken, or beyond all kinds. No difference: what so many seeds see with 80 % power stands "
        "below.",
    )
    return figure


def plot_claims(
    judged: Sequence[JudgedClaim],
    phases: Sequence[int],
    names: Mapping[int, str] | None = None,
    title: str = "Claims",
) -> Figure:
    """All claims, grouped by phase (one number a claim; names: phase → its name): verdict, seeds, sanity,
    transfer, kind and confidence. The title of a claim that is not supported is grey and slanted."""
    heads = ("verdict", *sure.CHECKS, "kind", "confidence")
    widths = (1.3, 1.2, 1.2, 1.2, 1.22, 1.16)
    name = 4.75
    starts = name + np.concatenate([[0], np.cumsum(widths)])
    order = sorted(range(len(judged)), key=lambda i: phases[i])
    if len(phases) != len(judged):
        raise ValueError(f"{len(phases)} phases for {len(judged)} claims")
    wrapped = [textwrap.wrap(claim.claim.title, 66) or [""] for claim in judged]
    tall = [_LINE * max(len(lines), 1) + 0.13 for lines in wrapped]
    shown = _unique(phases[i] for i in order)
    figure, axis = _sheet(starts[-1] + 0.05, 0.34 + 0.36 * len(shown) + sum(tall), title, foot=0.3)
    _heads(axis, [((a + b) / 2, word) for a, b, word in zip(starts, starts[1:], heads, strict=False)], 0.17)
    y, phase = 0.34, None
    for i in order:
        claim = judged[i]
        if phases[i] != phase:
            phase = phases[i]
            word = f"Phase {phase}" + (f" · {names[phase]}" if names and phase in names else "")
            axis.plot([0, starts[-1]], [y + 0.08] * 2, color="0.55", linewidth=1)
            axis.text(0, y + 0.23, word, va="center", fontsize=10, fontweight="bold")
            y += 0.36
        stands = claim.verdict == sure.SUPPORTED
        axis.text(
            0.12,
            y + tall[i] / 2,
            "\n".join(wrapped[i]),
            va="center",
            fontsize=9,
            linespacing=1.15,
            color="0.1" if stands else "0.4",
            fontstyle="normal" if stands else "italic",
        )
        checks = [claim.checks.get(check, sure.ClaimCheck(sure.UNTESTED)) for check in sure.CHECKS]
        shares = [f" {c.stood}/{c.asked}" * (c.answer != sure.UNTESTED and c.asked > 1) for c in checks]
        cells = [(VERDICTS, claim.verdict, "")]
        cells += [(ANSWERS, check.answer, share) for check, share in zip(checks, shares, strict=True)]
        cells += [(KINDS, claim.claim.kind, ""), (CONFIDENCES, claim.confidence, "")]
        for x, wide, (words, word, more) in zip(starts, widths, cells, strict=False):
            fill, ink, glyph = words[word]
            _box(axis, x, y, wide, tall[i], fill, word in DASHED)
            told = "" if word == sure.NOT_ASKED else f"{glyph} {word}{more}".strip()
            axis.text(
                x + wide / 2,
                y + tall[i] / 2,
                told,
                ha="center",
                va="center",
                fontsize=8.5,
                color=ink,
                fontweight="bold" if words is VERDICTS else "normal",
            )
        y += tall[i]
    counts = [(word, sum(claim.verdict == word for claim in judged)) for word in VERDICTS]
    told = ", ".join(f"{count} {word}" for word, count in counts if count)
    _foot(axis, f"{len(judged)} claims: {told or 'none'}. Empty: the check does not apply.")
    return figure


def plot_published(rows: DataFrame, title: str = "Beside the published figures") -> Figure:
    """Errors over those of least squares at the same n, a panel for each family.

    rows: setting, family ("test" or "harder"), ratio, low, high (NaN where there is none), kind
    ("published", "reference" or "ours"). Settings stand in the order in which they first occur.
    """
    settings = _unique(rows["setting"])
    families = [family for family in FAMILIES if family in set(rows["family"])]
    names = ["\n".join(textwrap.wrap(setting, 44)) for setting in settings]
    lines = [1 + name.count("\n") for name in names]
    size = (3.9 + 2.6 / max(len(families), 1), 1.45 + 0.19 * sum(lines) + 0.15 * len(lines))
    figure, axes = canvas(1, max(len(families), 1), size, title=title, sharey=True)
    places = np.cumsum([0.19 * count + 0.15 for count in lines])
    middles = places - 0.5 * np.diff(places, prepend=0)
    for axis, family in zip(axes[0], families, strict=False):
        part = rows[rows["family"] == family]
        values = part[["ratio", "low", "high"]].to_numpy(dtype=float)
        values = np.append(values[np.isfinite(values) & (values > 0)], 1.0)
        floor, top = values.min() / 1.6, values.max() * 2.4
        axis.set_xscale("log")
        axis.set_xlim(floor, top)
        for setting, y in zip(settings, middles, strict=True):
            points = part[part["setting"] == setting]
            colour = SOURCES[rows.loc[rows["setting"] == setting, "kind"].iloc[0]][0]
            good = points[np.isfinite(points["ratio"]) & (points["ratio"] > 0)]
            if good.empty:
                axis.text(
                    0.98,
                    y,
                    "not given",
                    transform=axis.get_yaxis_transform(),
                    ha="right",
                    va="center",
                    fontsize=8.5,
                    color="0.5",
                )
            for _, row in good.iterrows():
                _, marker, _ = SOURCES[row["kind"]]
                if np.isfinite([row["low"], row["high"]]).all():
                    # An interval that reaches 0 or below has no place on this axis: it ends at its edge.
                    axis.plot([max(row["low"], floor), row["high"]], [y, y], color=colour, linewidth=2.2)
                axis.plot(row["ratio"], y, marker, color=colour, markersize=7, zorder=3)
                right = np.nanmax([row["ratio"], row["high"]])
                axis.annotate(
                    _ratio(row["ratio"]),
                    (right, y),
                    xytext=(7, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=8.5,
                    color="0.2",
                    bbox={"facecolor": "white", "linewidth": 0, "pad": 1},
                )
        axis.axvline(1, color="0.3", linestyle="--", linewidth=1.3, zorder=1)
        axis.set_title(FAMILIES[family])
        axis.set_xlabel("MSE over that of least squares, same n")
        plain_ticks(axis)
        axis.grid(False, axis="y")
        axis.set_ylim(places[-1] + 0.05 if len(places) else 1, -0.05)
    if families:
        axes[0, 0].set_yticks(middles, names)
    else:
        axes[0, 0].set_axis_off()
    used = [source for source in SOURCES if (rows["kind"] == source).any()]
    handles = [
        Line2D(
            [],
            [],
            color=SOURCES[source][0],
            marker=SOURCES[source][1],
            markersize=7,
            linestyle="",
            label=SOURCES[source][2],
        )
        for source in used
    ]
    handles.append(Line2D([], [], color="0.3", linestyle="--", linewidth=1.3, label="least squares"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    return figure


def _effect(
    axis: Axes, x: float, y: float, wide: float, tall: float, cell: GoalCell, works: bool, chosen: bool
) -> None:
    """A cell of the decision: verdict, number, and for no difference what would have been seen."""
    fill, ink, glyph = EFFECTS[cell.verdict]
    lines = [(f"{glyph} {cell.verdict}", 9), (cell.text, 8.5)]
    if cell.verdict == rule.NO_DIFFERENCE:
        lines[0] = (f"{glyph} no difference", 9)
        lines += [(f"seen from {cell.smallest} on", 7.5)] if cell.smallest else []
    if cell.verdict == rule.MISSING:
        lines = [(cell.verdict, 9)]
    if cell.verdict == rule.MEASURED:
        lines = [(cell.text, 9)]
    if cell.verdict == rule.BETTER and not works:  # and no better than chance: not the colour of success
        fill, ink, _ = EFFECTS[rule.PERHAPS_BETTER]
        lines.append((f"and still {rule.digits(cell.mean)}", 7.5))
    _box(axis, x, y, wide, tall, fill, cell.verdict in DASHED)
    if chosen:
        axis.add_patch(
            Rectangle((x + 0.06, y + 0.06), wide - 0.12, tall - 0.12, fill=False, edgecolor=ink, linewidth=1.3)
        )
    strong = cell.verdict in (rule.BETTER, rule.WORSE)
    for i, (line, size) in enumerate(lines):
        at = y + tall / 2 + 0.175 * (i - (len(lines) - 1) / 2)
        axis.text(
            x + wide / 2,
            at,
            line,
            ha="center",
            va="center",
            fontsize=size,
            color=ink,
            fontweight="bold" if strong and not i else "normal",
        )


# Sheets in inches from the upper left corner: text and cells then have the sizes that they were given.


def _sheet(width: float, height: float, title: str, foot: float) -> tuple[Figure, Axes]:
    edge, head = 0.14, 0.42
    figure = Figure(figsize=(width + 2 * edge, head + height + foot + edge))
    whole_width, whole_height = figure.get_size_inches()
    axis = figure.add_axes(
        (edge / whole_width, edge / whole_height, width / whole_width, (height + foot) / whole_height)
    )
    axis.set(xlim=(0, width), ylim=(height + foot, 0))
    axis.set_axis_off()
    figure.text(edge / whole_width, 1 - 0.24 / whole_height, title, fontsize=13, fontweight="bold", va="center")
    return figure, axis


def _heads(axis: Axes, heads: Sequence[tuple[float, str]], y: float, ha: str = "center") -> None:
    for x, word in heads:
        axis.text(x, y, word, ha=ha, va="center", fontsize=10, fontweight="bold")


def _box(axis: Axes, x: float, y: float, width: float, height: float, fill: str, dashed: bool) -> None:
    axis.add_patch(
        Rectangle(
            (x + 0.02, y + 0.02),
            width - 0.04,
            height - 0.04,
            facecolor=fill,
            edgecolor="0.75" if dashed else fill,
            linewidth=0.8,
            linestyle="--" if dashed else "-",
        )
    )


def _foot(axis: Axes, text: str) -> None:
    low, width = axis.get_ylim()[0], int(14.5 * axis.get_xlim()[1])
    axis.text(0, low, "\n".join(textwrap.wrap(text, width)), va="bottom", fontsize=8, color="0.35")


def _ratio(value: float) -> str:
    if 0.1 <= value < 10:
        return f"{value:.2f}"
    return np.format_float_positional(value, 2, unique=False, fractional=False, trim="-")


def _unique(values) -> list:
    return list(dict.fromkeys(values))
