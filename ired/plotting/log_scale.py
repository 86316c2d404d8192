"""Logarithmic scales whose ticks are plain text: 0.5, 200, 3·10⁷.

Matplotlib writes them as mathematics, whose parser takes as long as the rest of a small figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axis import Axis
from matplotlib.scale import LogScale, SymmetricalLogScale, register_scale
from matplotlib.ticker import LogFormatter, LogLocator

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def plain_numbers(ticks: Sequence[float]) -> list[str]:
    """Numbers as people write them; where any is very small or large, powers of ten."""
    sizes = [abs(tick) for tick in ticks if tick]
    few, many = (1e-2, 1e4) if sizes and (min(sizes) < 1e-4 or max(sizes) >= 1e6) else (0.0, np.inf)
    names = []
    for tick in ticks:
        if not tick or few <= abs(tick) < many:
            names.append(f"{tick:g}".replace("-", "−"))
            continue
        power = int(np.floor(np.log10(abs(tick)) + 1e-9))
        head = f"{tick / 10.0**power:g}".replace("-", "−")
        head = {"1": "", "−1": "−"}.get(head, f"{head}·")
        names.append(f"{head}10{str(power).translate(_RAISED)}")
    return names


class PlainLogFormatter(LogFormatter):
    """Names the ticks that matplotlib would name on a logarithmic axis, as plain numbers."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return plain_numbers([x])[0] if super().__call__(x, pos) else ""

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        self.set_locs(values)
        named = [value for value in values if self(value)]
        names = dict(zip(named, plain_numbers(named), strict=True))
        return [names.get(value, "") for value in values]


class NamedMinorLocator(LogLocator):
    """Minor ticks where `PlainLogFormatter` names them: with at most one power of ten in sight. Our style draws no
    marks, so that elsewhere they would show nothing and take as long as all else on the axis."""

    def tick_values(self, vmin: float, vmax: float) -> np.ndarray:
        low, high = np.log10(sorted((vmin, vmax)))
        return super().tick_values(vmin, vmax) if np.floor(high) - np.ceil(low) < 1 else np.array([])


class PlainLogScale(LogScale):
    """Takes the place of "log"."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)  # without the axis, which matplotlib 3.11 asks for no more

    def set_default_locators_and_formatters(self, axis: Axis) -> None:
        super().set_default_locators_and_formatters(axis)
        axis.set_major_formatter(PlainLogFormatter(self.base))
        axis.set_minor_formatter(PlainLogFormatter(self.base, labelOnlyBase=self.subs is not None))
        axis.set_minor_locator(NamedMinorLocator(self.base, self.subs or "auto"))


class PlainSymmetricalLogScale(SymmetricalLogScale):
    """Takes the place of "symlog"."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)  # without the axis, which matplotlib 3.11 asks for no more

    def set_default_locators_and_formatters(self, axis: Axis) -> None:
        super().set_default_locators_and_formatters(axis)
        axis.set_major_formatter(PlainLogFormatter(self.base))


def register_plain_scales() -> None:
    """From now on "log" and "symlog" are these."""
    for scale in (PlainLogScale, PlainSymmetricalLogScale):
        register_scale(scale)
