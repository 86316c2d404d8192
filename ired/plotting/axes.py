"""Axes: ticks in plain numbers, values that span decades, rows with names, levels drawn across."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from ired.plotting.log_scale import plain_numbers
from ired.plotting.style import COLOURS, LABELS

_NOTE = 8.5
_STEPS = (
    (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9),
    (1, 1.5, 2, 3, 5, 7),
    (1, 2, 5),
    (1, 3),
    (1,),
)  # ticks within a decade, the more the better


def landscape_axis(axis: Axes, count: int) -> None:
    """Ticks for landscape numbers, with what they mean."""
    axis.set_xticks(range(count))
    axis.set_xlabel("landscape k  (0 sharpest, noise grows →)")


def named_ticks(axis: Axes, which: str, ticks: Sequence[float], names: Sequence[str] | None = None) -> None:
    """Ticks of the axis `which` ("x" or "y") with their names, or as plain numbers, and no others."""
    put = axis.set_xticks if which == "x" else axis.set_yticks
    put(ticks, plain_numbers(ticks) if names is None else names)
    put([], minor=True)


def plain_ticks(axis: Axes, which: str = "x", most: int = 6) -> None:
    """Plain numbers on a logarithmic axis with the limits that it has: as many within a decade as make
    no more than `most` in all, else some of the powers of ten."""
    low, high = axis.get_xlim() if which == "x" else axis.get_ylim()
    powers = np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    for steps, every in (*((steps, 1) for steps in _STEPS), *(((1,), n) for n in range(2, 20))):
        ticks = np.outer(10.0 ** powers[powers % every == 0], steps).ravel()
        ticks = ticks[(ticks >= 0.999 * low) & (ticks <= 1.001 * high)]
        if len(ticks) <= most:
            break
    named_ticks(axis, which, ticks)


def signed_log(
    axis: Axes, linear: float = 1.0, which: str = "y", most: int = 8, ends: tuple[float, float] | None = None
) -> None:
    """An axis that is linear up to `linear` and logarithmic beyond it, on both sides of 0, wide enough
    for `ends` (by default for what is drawn), with at most `most` ticks on a side."""
    low, high = ends or (axis.dataLim.intervalx if which == "x" else axis.dataLim.intervaly)
    low = min(0.0, 1.1 * low) if low > -linear else 1.5 * low
    high = 1.2 * high if high > linear else 1.1 * linear
    if which == "x":  # marks stand at the ends, and shall be whole
        low, high = low - 0.4 * linear, high + 0.2 * linear
    scale, limits = (axis.set_xscale, axis.set_xlim) if which == "x" else (axis.set_yscale, axis.set_ylim)
    scale("symlog", linthresh=linear, linscale=0.6)
    for steps in ((1, 2, 5), (1,)) if max(high, -low) < 20 * linear else ((1,),):
        marked = np.outer(linear * 10.0 ** np.arange(8), steps).ravel()
        marked = marked[marked <= max(high, -low)]
        if len(marked) <= most:
            break
    marked = marked[:: -max(1, -(-len(marked) // most))]
    named_ticks(axis, which, [t for t in (*-marked, 0.0, *marked[::-1]) if low <= t <= high])
    limits(low, high)


def value_axis(axis: Axes, values: np.ndarray, which: str, decades: float = 0.0) -> float | None:
    """The scale of the axis `which` ("x" or "y") for values, and below what nothing can be drawn on it.

    Logarithmic where positive values span a decade (or always, at least so many `decades` high, if
    asked for); with a stretch around 0 where there is a 0 or both signs."""
    values = values[np.isfinite(values)]
    size = np.abs(values[values != 0])
    far = len(size) and (size.max() >= 10 * size.min() or decades)
    if not far:
        return None
    scale, limits = (axis.set_xscale, axis.set_xlim) if which == "x" else (axis.set_yscale, axis.set_ylim)
    low, high = size.min(), size.max()
    if values.min() > 0:
        scale("log")
        room = max(10**decades / (high / low), 1.0) ** 0.5 * (high / low) ** 0.06 * 1.2
        low, high = low / room, high * room
        limits(low, high)
        if high >= 10 * low:
            _decades(axis, which, low, high)
        return float(low)
    both = values.min() < 0
    if both and high < 30 * np.median(size):
        return None  # both signs and no great distances: nothing that a linear axis would hide
    least, most = np.floor(np.log10([low, high]))
    linear = 10.0 ** max(least, most - (3 if both else 8))
    scale("symlog", linthresh=linear, linscale=0.5)
    _decades(axis, which, linear, high * 1.3, (-1, 0, 1) if both else (0, 1))
    limits(1.6 * min(values.min(), 0) - 0.3 * linear, 1.6 * high)
    return None if both else 0.0


def _decades(axis: Axes, which: str, low: float, high: float, sides: Sequence[int] = (1,)) -> None:
    """Ticks at powers of ten, at most five on a side, and no others."""
    powers = 10.0 ** np.arange(np.ceil(np.log10(low) - 1e-9), np.floor(np.log10(high)) + 1)
    powers = powers[:: max(1, -(-len(powers) // 5))]
    if len(powers) == 1 and sides == (1,):
        powers = np.array([f * 10.0 ** np.floor(np.log10(low)) for f in (1, 2, 5, 10, 20, 50, 100)])
        powers = powers[(powers >= low) & (powers <= high)]
    named_ticks(axis, which, [x for side in sides for x in ([0.0] if not side else (side * powers)[::side])])


def reference_lines(axis: Axes, references: Mapping[str, float], across: bool) -> None:
    """Predictors, least squares dashed; `across` the panel with their names, or upright (and named in
    the legend)."""
    for name, value in references.items():
        colour = COLOURS.get(name, "0.4")
        draw = axis.axhline if across else axis.axvline
        draw(value, color=colour, linestyle=reference_stroke(name), linewidth=1.5, zorder=1)
        if across:
            level_note(axis, LABELS.get(name, name), value, colour)


def reference_stroke(predictor: str) -> str:
    return "--" if predictor == "least_squares" else ":"


def level_note(axis: Axes, text: str, y: float, colour: str, side: str = "bottom") -> None:
    """Beside a level, away from where curves end."""
    axis.annotate(
        text, (0.78, y), xycoords=("axes fraction", "data"), ha="right", va=side, fontsize=_NOTE, color=colour, zorder=6
    )
