"""One style for every figure: colour-blind-safe, readable at half size."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from ired.plotting.log_scale import register_plain_scales

matplotlib.use("Agg")

# seaborn's "colorblind" palette and "whitegrid" style, written out: importing seaborn takes longer
# than most figures. One colour for one meaning in the whole project.
_PALETTE = (
    "#0173b2",
    "#de8f05",
    "#029e73",
    "#d55e00",
    "#cc78bc",
    "#ca9161",
    "#fbafe4",
    "#949494",
    "#ece133",
    "#56b4e9",
)
COLOURS = {
    "trained": _PALETTE[0],
    "untrained": _PALETTE[7],
    "ideal": _PALETTE[2],
    "algebraic": _PALETTE[1],
    "zero": _PALETTE[7],
    "mean": _PALETTE[5],
    "least_squares": _PALETTE[3],
    "least_squares_squared": _PALETTE[4],
    "regression": "#6a3d9a",
    "affine": _PALETTE[3],
    "path": _PALETTE[9],
}
LABELS = {
    "least_squares": "least squares",
    "least_squares_squared": "least squares on [A, A²]",
    "regression": "regression network",
    "affine": "affine denoiser",
}
# What directions were found by, and hidden layers, where they are told apart.
DIRECTIONS = {"attribution": _PALETTE[1], "concept": _PALETTE[0], "gradient": _PALETTE[2], "feature": _PALETTE[4]}
LAYERS = {"fc1": _PALETTE[0], "fc2": _PALETTE[1], "fc3": _PALETTE[2]}
MARKERS = {"trained": "o", "untrained": "s", "ideal": "^", "algebraic": "D", "affine": "v", "regression": "P"}
DIVERGING = "RdBu_r"
SEQUENTIAL = "cividis"

_RC = {
    "axes.axisbelow": True,
    "axes.edgecolor": "0.8",
    "axes.grid": True,
    "axes.labelcolor": "0.15",
    "font.sans-serif": ["Arial", "DejaVu Sans", "Liberation Sans", "Bitstream Vera Sans", "sans-serif"],
    "lines.solid_capstyle": "round",
    "patch.edgecolor": "white",
    "patch.force_edgecolor": True,
    "text.color": "0.15",
    "xtick.bottom": False,
    "xtick.color": "0.15",
    "ytick.color": "0.15",
    "ytick.left": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titley": 1.0,  # left to matplotlib, a tenth of a figure's time goes into where titles stand
    "axes.labelsize": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "grid.color": "0.9",
    "svg.fonttype": "none",
    "svg.hashsalt": "ired",
}
matplotlib.rcParams.update(_RC)
register_plain_scales()


def canvas(
    rows: int = 1, columns: int = 1, size: tuple[float, float] = (4.4, 3.4), title: str = "", **grid
) -> tuple[Figure, np.ndarray]:
    """A figure and its axes (rows, columns), each panel `size` inches."""
    figure = Figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **grid)
    if title:
        figure.suptitle(title, fontsize=13, fontweight="bold", x=0.01, ha="left")
    return figure, axes


def band(axis: Axes, x, middle, low, high, name: str, colour: str | None = None) -> None:
    """A line with its interval."""
    colour = colour or COLOURS[name]
    # The trained energy is what the reader came for: nothing covers it.
    front = 3 if name == "trained" else 2
    axis.plot(x, middle, color=colour, label=LABELS.get(name, name), marker=MARKERS.get(name, "o"), zorder=front)
    axis.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0, zorder=front - 1)


def centred_norm(values: np.ndarray) -> TwoSlopeNorm:
    """A colour scale whose middle is 0, for values of both signs."""
    bound = max(float(np.nanmax(np.abs(values))), 1e-12)
    return TwoSlopeNorm(0.0, -bound, bound)
