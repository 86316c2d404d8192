"""Figures of P2-07: features and properties."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from pandas import DataFrame

from ired.plotting.plots import dots, heat_map, ink, legend_below, row_names
from ired.plotting.style import COLOURS, SEQUENTIAL, canvas

# Colour, marker and name of each kind of units.
KINDS = {
    "sae": (COLOURS["trained"], "o", "SAE features"),
    "neuron": (COLOURS["algebraic"], "D", "neurons"),
    "pca": (COLOURS["ideal"], "^", "principal components"),
    "frozen": (COLOURS["least_squares_squared"], "v", "random decoder, trained encoder"),
    "random": (COLOURS["untrained"], "s", "random dictionary"),
    "untrained": ("0.35", "x", "neurons of an untrained network"),
    "input": (COLOURS["least_squares"], "P", "the input: A (and y)"),
    "input squared": (COLOURS["path"], "X", "the input and its squares"),
}
SHORT = {"sae": "SAE", "neuron": "neurons", "pca": "PCA", "frozen": "frozen", "random": "random"}


def best_correlations(best: DataFrame, level: float = 0.95) -> Figure:
    """Largest |ρ| of each kind with each property, a panel a layer.

    best: columns layer, kind, property, rho, limit. Under each number, what the kind's largest stays
    below by chance; numbers that do not reach it are struck out by brackets.
    """
    best = best[best["property"] != "any"]
    layers, properties = (list(best[c].unique()) for c in ("layer", "property"))
    kinds = [k for k in KINDS if k in set(best["kind"])]
    figure, axes = canvas(
        1, len(layers), (0.95 * len(kinds) + 0.9, 0.52 * len(properties) + 1.2),
        title="Best correlation with each property", sharey=True,
    )  # fmt: skip
    for axis, layer in zip(axes[0], layers, strict=True):
        rows = best[best["layer"] == layer]
        size, limit = (
            rows.pivot(index="property", columns="kind", values=c).loc[properties, kinds].to_numpy()
            for c in ("rho", "limit")
        )
        size = np.abs(size)
        image = heat_map(axis, size, SEQUENTIAL, Normalize(0, 1))
        for (i, j), value in np.ndenumerate(size):
            text = f"{value:.2f}" if value > limit[i, j] else f"({value:.2f})"
            look = {"ha": "center", "va": "center", "color": ink(image, value)}
            axis.text(j, i - 0.12, text, fontsize=11, **look)
            axis.text(j, i + 0.26, f"chance {limit[i, j]:.2f}", fontsize=8, **look)
        axis.set_title(layer)
        axis.set_xticks(range(len(kinds)), [SHORT.get(k, k) for k in kinds])
        axis.set_yticks(range(len(properties)), [_words(p) for p in properties])
    figure.colorbar(image, ax=axes[0, -1], label="largest |ρ| over units", shrink=0.8)
    return figure


def held_out(selected: DataFrame) -> Figure:
    """Correlation of the chosen units on problems that did not choose them, with 95 % intervals.

    selected: columns layer, kind, property, rho, low, high.
    """
    return _dots(
        selected, "rho", "Best unit, measured on the other half", "held-out ρ", zero=True
    )


def predictability(ridge: DataFrame) -> Figure:
    """What a linear map of all units explains of each property, with 95 % intervals.

    ridge: columns layer, kind, property, r2, low, high.
    """
    return _dots(ridge, "r2", "All units together: ridge regression", "cross-validated R²", floor=-0.25)


def _dots(
    table: DataFrame, value: str, title: str, label: str, zero: bool = False,
    floor: float | None = None,
) -> Figure:
    """A panel a layer, a row a property, a dot with its interval for each kind."""
    layers, properties = (list(table[c].unique()) for c in ("layer", "property"))
    kinds = [k for k in KINDS if k in set(table["kind"])]
    figure, axes = canvas(
        1, len(layers), (3.7, 0.62 * len(properties) + 1.3), title=title, sharey=True, sharex=True
    )
    for axis, layer in zip(axes[0], layers, strict=True):
        for place, kind in enumerate(kinds):
            rows = table[(table["layer"] == layer) & (table["kind"] == kind)]
            rows = rows.set_index("property").loc[properties]
            y = np.arange(len(properties)) + (place - (len(kinds) - 1) / 2) * 0.8 / len(kinds)
            _row(axis, rows, value, y, kind, floor)
        axis.axvline(0, color="0.4", linewidth=1)
        axis.set(title=layer, xlabel=label)
        row_names(axis, [_words(p) for p in properties], between=True)
    low = table["low"].min() if floor is None else max(floor, table["low"].min())
    axes[0, 0].set_xlim(min(low, 0) - 0.04, 1.04)
    legend_below(figure, [axes[0, 0]], -(-len(kinds) // -(-len(kinds) // 5)), handletextpad=0.2)
    return figure


def _row(
    axis: Axes, rows: DataFrame, value: str, y: np.ndarray, kind: str, floor: float | None
) -> None:
    colour, marker, name = KINDS[kind]
    x = rows[value].to_numpy()
    shown = x >= (-np.inf if floor is None else floor)
    dots(axis, rows[shown], y[shown], value, colour, marker, label=name, size=5.5, width=1.6)
    for at, real in zip(y[~shown], x[~shown], strict=True):  # far below: written, not drawn
        axis.text(floor, at, f"← {real:.1f}", fontsize=7, color=colour, va="center")


def _words(name: str) -> str:
    return name.replace("_", " ").replace(" at one ", "\nat one ")
