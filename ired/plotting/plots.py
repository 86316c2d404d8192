"""The few kinds of picture that all figures are made of."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

# seaborn draws heat maps too, but in other coordinates than the frames, lines and notes of these figures,
# and importing it takes longer than drawing most of them.


def heat_map(
    axis: Axes, values: ArrayLike, colours: str | Colormap, norm: Normalize,
    text: str | Callable[[float], str] | None = None, size: float = 9.0,
    framed: NDArray[np.bool_] | None = None, **image,
) -> AxesImage:  # fmt: skip
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
            axis.text(j, i, write(value), ha="center", va="center", fontsize=size, color=ink(drawn, value),
                      fontweight="bold" if bold else "normal")  # fmt: skip
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
