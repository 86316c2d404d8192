"""Axes for values that span decades, and levels drawn across them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from ired.plotting.style import COLOURS, LABELS

_NOTE = 8.5


def value_axis(axis: Axes, values: np.ndarray, name: str, decades: float = 0.0) -> float | None:
    """The scale of an axis ("x" or "y") for values, and below what nothing can be drawn on it.

    Logarithmic where positive values span a decade (or always, at least so many `decades` high, if
    asked for); with a stretch around 0 where there is a 0 or both signs."""
    values = values[np.isfinite(values)]
    size = np.abs(values[values != 0])
    far = len(size) and (size.max() >= 10 * size.min() or decades)
    if not far:
        return None
    scale, ticks, limits = ((axis.set_xscale, axis.set_xticks, axis.set_xlim) if name == "x"
                            else (axis.set_yscale, axis.set_yticks, axis.set_ylim))  # fmt: skip
    low, high = size.min(), size.max()
    if values.min() > 0:
        scale("log")
        room = max(10**decades / (high / low), 1.0) ** 0.5 * (high / low) ** 0.06 * 1.2
        low, high = low / room, high * room
        limits(low, high)
        if high >= 10 * low:
            _decades(ticks, low, high)
        return float(low)
    both = values.min() < 0
    if both and high < 30 * np.median(size):
        return None  # both signs and no great distances: nothing that a linear axis would hide
    least, most = np.floor(np.log10([low, high]))
    linear = 10.0 ** max(least, most - (3 if both else 8))
    scale("symlog", linthresh=linear, linscale=0.5)
    _decades(ticks, linear, high * 1.3, (-1, 0, 1) if both else (0, 1))
    limits(1.6 * min(values.min(), 0) - 0.3 * linear, 1.6 * high)
    return None if both else 0.0


def _decades(ticks, low: float, high: float, sides: Sequence[int] = (1,)) -> None:
    """Ticks at powers of ten, at most five on a side, and no others."""
    powers = 10.0 ** np.arange(np.ceil(np.log10(low) - 1e-9), np.floor(np.log10(high)) + 1)
    powers = powers[:: max(1, -(-len(powers) // 5))]
    if len(powers) == 1 and sides == (1,):
        powers = np.array([f * 10.0 ** np.floor(np.log10(low)) for f in (1, 2, 5, 10, 20, 50, 100)])
        powers = powers[(powers >= low) & (powers <= high)]
    at = [x for side in sides for x in ([0.0] if not side else (side * powers)[::side])]
    ticks(at, [f"{x:g}" for x in at])
    ticks([], minor=True)


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
    axis.annotate(text, (0.78, y), xycoords=("axes fraction", "data"), ha="right", va=side,
                  fontsize=_NOTE, color=colour, zorder=6)  # fmt: skip
