"""The few kinds of picture that all figures are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray
from pandas import DataFrame

# seaborn draws heat maps too, but in other coordinates than the frames, lines and notes of these figures,
# and importing it takes longer than drawing most of them.


def interval_ends(rows: DataFrame, value: str) -> tuple[NDArray, NDArray]:
    """Lower and upper ends of a column of a table: its `_low` and `_high`, or "low" and "high"."""
    names = [f"{value}_{end}" if f"{value}_{end}" in rows else end for end in ("low", "high")]
    low, high = (np.asarray(rows[name], dtype=float) for name in names)
    return low, high


def dots(
    axis: Axes,
    rows: DataFrame,
    at: ArrayLike,
    value: str,
    colour: str,
    marker: str = "o",
    *,
    filled: ArrayLike = True,
    upright: bool = False,
    label: str | None = None,
    size: float = 6.0,
    width: float = 1.8,
) -> None:
    """A point with its interval for each row, at heights `at`; `upright`: above places `at` of the x-axis.

    rows: columns `value` and its `interval_ends`; filled: which points (one for all, or one a row) are filled.
    """
    middle, (low, high) = np.asarray(rows[value], dtype=float), interval_ends(rows, value)
    at, filled = np.broadcast_to(at, middle.shape), np.broadcast_to(np.asarray(filled, dtype=bool), middle.shape)
    (axis.vlines if upright else axis.hlines)(at, low, high, color=colour, linewidth=width)
    look = {"linestyle": "none", "marker": marker, "markersize": size, "color": colour}
    for shown, face in ((filled, colour), (~filled, "white")):
        if shown.any():
            places = (at[shown], middle[shown]) if upright else (middle[shown], at[shown])
            axis.plot(*places, markerfacecolor=face, **look)
    if label:
        axis.plot([], [], label=label, **look)


def row_names(axis: Axes, names: Sequence[str], between: bool = False, **text) -> None:
    """A row for each name, the first on top, and no lines across but those `between` rows, if asked for."""
    axis.set_yticks(range(len(names)), names, **text)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.grid(False, axis="y")
    for y in range(len(names) - 1 if between else 0):
        axis.axhline(y + 0.5, color="0.85", linewidth=0.8)


def legend_below(figure: Figure, axes: Sequence[Axes], ncols: int, **style) -> None:
    """One legend of several axes, each name once, under the figure."""
    handles: dict = {}
    for axis in axes:
        for handle, name in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(name, handle)
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=ncols, **style)


def heat_map(
    axis: Axes,
    values: ArrayLike,
    colours: str | Colormap,
    norm: Normalize,
    text: str | Callable[[float], str] | None = None,
    size: float = 9.0,
    framed: NDArray[np.bool_] | None = None,
    **image,
) -> AxesImage:
    """A heat map of `values` (rows, columns) with its numbers in black or white, as is read better.

    text: a format or a function of a value; framed: which cells (rows, columns) are framed, their numbers
    bold. Values that are not finite leave their cells grey.
    """
    values = np.asarray(values, dtype=float)
    drawn = axis.imshow(np.ma.masked_invalid(values), cmap=colours, norm=norm, **({"aspect": "auto"} | image))
    axis.set_facecolor("0.85")
    axis.grid(False)
    write = text.format if isinstance(text, str) else text
    for (i, j), value in np.ndenumerate(values):
        bold = framed is not None and bool(framed[i, j])
        if bold:
            axis.add_patch(Rectangle((j - 0.46, i - 0.44), 0.92, 0.88, fill=False, edgecolor="0.05", linewidth=1.6))
        if write is not None and np.isfinite(value):
            axis.text(
                j,
                i,
                write(value),
                ha="center",
                va="center",
                fontsize=size,
                color=ink(drawn, value),
                fontweight="bold" if bold else "normal",
            )
    return drawn


def ink(image: AxesImage, value: float) -> str:
    """What is read better on the colour of a value: black or white."""
    red, green, blue, _ = image.cmap(image.norm(value))
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.5 else "0.1"


def matrix(axis: Axes, values: ArrayLike, colours: str, norm: Normalize) -> AxesImage:
    """A matrix as a picture without ticks."""
    drawn = axis.imshow(np.asarray(values), cmap=colours, norm=norm)
    axis.grid(False)
    axis.set(xticks=[], yticks=[])
    return drawn
