"""Figures of P5-02: gradients against depth, their signal, the layers' stretch, units, ways of the
score."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from pandas import DataFrame

from ired.instruments.layers.forward_backward import LAYERS
from ired.instruments.layers.gradient_signal import EVERY, KINDS, PLACES, WEIGHTS, WHOLE
from ired.instruments.layers.jacobians import MAPS
from ired.instruments.layers.score_decomposition import ROUTES, TOP, UNITS
from ired.instruments.layers.unit_activity import SORTS
from ired.plotting.axes import landscape_axis
from ired.plotting.plots import heat_map, ink
from ired.plotting.style import COLOURS, DIVERGING, MARKERS, SEQUENTIAL, canvas

TITLES = {
    "denoising": "Denoising loss",
    "contrastive": "Contrastive loss",
    "score": "Score (E itself)",
}
# Energies: colour, line and name.
ENERGIES = {
    "trained": (COLOURS["trained"], "-", "trained"),
    "untrained": (COLOURS["untrained"], "--", "untrained"),
    "rescaled": (COLOURS["least_squares"], ":", "trained at initial size"),
}
SHADES = {
    "dead": "0.1",
    "off": COLOURS["least_squares"],
    "linear": COLOURS["algebraic"],
    "straight": "#f3d9a4",
    "bent": COLOURS["path"],
}
SAID = {
    "dead": "dead: no variance",
    "off": "off: slope ≈ 0",
    "linear": "linear: slope ≈ 1",
    "straight": "straight: affine to 1 % of variance",
    "bent": "bends",
}
_WAYS = (COLOURS["trained"], COLOURS["algebraic"], COLOURS["ideal"], COLOURS["least_squares_squared"])


def gradient_signal_figures(
    tables: dict[str, DataFrame],
    summary: dict[str, DataFrame],
    values: dict[str, np.ndarray],
    problems: int,
) -> list[tuple[str, Figure, str]]:
    """Name, figure and caption of each, from the tables of P5-02."""
    over = f"over {problems} problems"
    return [
        (
            "depth",
            plot_gradients_by_depth(tables["depth"]),
            "Gradient by a layer's activations, over that by f: "
            f"geometric means {over}, in the order of the backward pass. Band: within a factor of 10.",
        ),
        (
            "signals",
            plot_signals(tables["signals"], tables["agreement"]),
            "‖mean‖²/tr Cov of gradients by "
            f"the weights {over}, and the cosine of the losses' mean gradients; *: interval without 0. "
            "Below, all layers; right, all landscapes equally often; –: no signal, ·: below .01.",
        ),
        (
            "spectra",
            plot_jacobian_spectra(values, summary["spectra"]),
            "Singular values by rank, medians over "
            "problems at noised answers; below their root mean square. Dashed: untrained.",
        ),
        ("units", plot_units(tables["census"]), f"Units of each layer by what they do over noised answers, {over}."),
        (
            "paths",
            plot_paths(summary),
            "Shares of the score add up to 1; bands: 95 % intervals "
            f"{over}. Last: the {TOP:.0%} of a layer's units that lead on the other problems.",
        ),
    ]


def plot_gradients_by_depth(table: DataFrame) -> Figure:
    """A panel each loss and the score: decades relative to f, a line a landscape.

    table: columns energy, kind, landscape, place, decades.
    """
    figure, (axes,) = canvas(1, len(KINDS), (4.4, 4.0), sharey=True, title="Gradients against depth")
    single = table[table["landscape"] != EVERY]
    last = int(single["landscape"].max())
    shades = _shades(last)
    shown = sorted({0, last // 2, last})
    x = np.arange(len(PLACES))
    for axis, kind in zip(axes, KINDS, strict=True):
        axis.axhspan(-1, 1, color="0.93", zorder=0, linewidth=0)
        for energy, (_, style, _) in ENERGIES.items():
            of_energy = single[(single["kind"] == kind) & (single["energy"] == energy)]
            for k, rows in of_energy.groupby("landscape"):
                if energy != "trained" and k not in shown:
                    continue
                y = rows.set_index("place")["decades"].loc[list(PLACES)]
                front = {"linewidth": 1.8, "marker": "o"} if energy == "trained" else {"linewidth": 1.4}
                axis.plot(x, y, style, color=shades(int(k)), markersize=3.5, **front)
        axis.set_xticks(x, PLACES)
        axis.set(title=TITLES[kind], xlabel="backward pass →")
    axes[0].set_ylabel("‖gradient‖ / ‖gradient by f‖, log₁₀")
    bar = figure.colorbar(
        matplotlib.cm.ScalarMappable(Normalize(0, last), SEQUENTIAL),
        ax=axes,
        label="landscape k",
        pad=0.01,
    )
    bar.set_ticks(range(last + 1))
    lines = [
        Line2D(
            [],
            [],
            color="0.25",
            linestyle=style,
            label=words if name == "trained" else f"{words} (k = {', '.join(map(str, shown))})",
        )
        for name, (_, style, words) in ENERGIES.items()
    ]
    figure.legend(handles=lines, loc="outside lower center", ncols=3)
    return figure


def plot_signals(table: DataFrame, agreement: DataFrame) -> Figure:
    """Heatmaps, a row trained and untrained: signal-to-noise of gradients, cosine of two losses.

    table: columns energy, of, kind, landscape, layer, snr; agreement: energy, landscape, layer,
    cosine, low, high.
    """
    names = ("trained", "untrained")
    table = table[(table["of"] == "weights") & table["energy"].isin(names)]
    columns = [*sorted(k for k in table["landscape"].unique() if k != EVERY), EVERY]
    figure, axes = canvas(
        2,
        4,
        (3.6, 2.5),
        sharex=True,
        sharey=True,
        title="Signal-to-noise of gradients by the weights, and whether the losses agree",
    )
    norm = LogNorm(1e-3, max(1.0, float(table["snr"].max())))
    for line, energy in zip(axes, names, strict=True):
        for axis, kind in zip(line, KINDS, strict=False):
            cells = table[(table["energy"] == energy) & (table["kind"] == kind)]
            grid = cells.pivot(index="layer", columns="landscape", values="snr").loc[[*WEIGHTS, WHOLE], columns]
            grid = grid.to_numpy()
            image = heat_map(axis, grid.clip(norm.vmin), SEQUENTIAL, norm)
            last = len(grid) - 1  # numbers for all layers; of the others only where there is no signal
            for (i, j), value in np.ndenumerate(grid):
                if i == last or value <= 0:
                    axis.text(
                        j,
                        i,
                        _short(value),
                        ha="center",
                        va="center",
                        fontsize=8.5,
                        color=ink(image, max(value, norm.vmin)),
                    )
            axis.set_title(TITLES[kind])
        cells = agreement[agreement["energy"] == energy]
        grids = {
            name: cells.pivot(index="layer", columns="landscape", values=name).loc[[*WEIGHTS, WHOLE], columns]
            for name in ("cosine", "low", "high")
        }
        cosine, sure = grids["cosine"].to_numpy(), (grids["low"] > 0) | (grids["high"] < 0)
        axis = line[-1]
        colours = heat_map(axis, cosine, DIVERGING, Normalize(-1, 1))
        for (i, j), value in np.ndenumerate(cosine):
            if sure.to_numpy()[i, j]:
                axis.text(j, i + 0.1, "*", ha="center", va="center", fontsize=13, color=ink(colours, value))
        axis.set_title("Cosine of the two losses")
        line[0].set_ylabel(energy, fontweight="bold")
    axes[0, 0].set_xticks(range(len(columns)), ["all" if k == EVERY else k for k in columns])
    axes[0, 0].set_yticks(range(len(WEIGHTS) + 1), [*WEIGHTS, "all"])
    for axis in axes[1]:
        axis.set_xlabel("landscape k")
    figure.colorbar(image, ax=axes[:, :3], label="‖mean‖² / tr Cov", pad=0.01, shrink=0.8)
    figure.colorbar(colours, ax=axes[:, 3], label="cosine", pad=0.02, shrink=0.8)
    return figure


def plot_jacobian_spectra(values: dict[str, np.ndarray], summary: DataFrame) -> Figure:
    """Above: singular values by rank, a panel a map; below: root mean square, against the landscape.

    values: "energy.map" to (K, P, rank); summary: columns energy, landscape, map, measure, mean,
    low, high.
    """
    figure, axes = canvas(
        2,
        len(MAPS),
        (3.1, 2.9),
        sharey="row",
        title="How every layer stretches: its Jacobian's singular values",
    )
    K = len(next(iter(values.values())))
    shades, shown = _shades(K - 1), sorted({0, (K - 1) // 2, K - 1})
    top = max(float(v.max()) for v in values.values())
    for name, above, below in zip(MAPS, *axes, strict=True):
        for energy, (colour, style, words) in ENERGIES.items():
            stack = np.median(values[f"{energy}.{name}"], axis=1)
            stack = np.where(stack > 1e-4 * top, stack, np.nan)
            x = np.arange(1, stack.shape[1] + 1)
            for k in shown if energy != "rescaled" else ():
                above.plot(x, stack[k], style, color=shades(k), linewidth=1.6)
            rows = summary[(summary["energy"] == energy) & (summary["map"] == name)]
            rows = rows[rows["measure"] == "gain"]
            below.plot(
                rows["landscape"],
                rows["mean"],
                style,
                color=colour,
                label=words,
                marker=MARKERS.get(energy, "v"),
                markersize=4,
            )
            below.fill_between(rows["landscape"], rows["low"], rows["high"], color=colour, alpha=0.2, linewidth=0)
        above.set(title=name, xlabel="rank", yscale="log")
        below.set_yscale("log")
        for axis in (above, below):
            axis.minorticks_off()
        landscape_axis(below, K)
        below.set_xlabel("landscape k")
    axes[0, 0].set_ylabel("singular value")
    axes[1, 0].set_ylabel("gain (root mean square)")
    handles, labels = axes[1, 0].get_legend_handles_labels()
    first = [Line2D([], [], color=shades(k), label=f"k = {k}", linewidth=3) for k in shown]
    figure.legend(
        [*first, *handles], [line.get_label() for line in first] + labels, loc="outside lower center", ncols=6
    )
    return figure


def plot_units(table: DataFrame) -> Figure:
    """Stacked bars, a column a layer, a row trained and untrained.

    table: columns energy, landscape, layer, sort, share.
    """
    names = ("trained", "untrained")
    figure, axes = canvas(2, len(LAYERS), (4.4, 2.5), sharex=True, sharey=True, title="What the units do")
    for line, energy in zip(axes, names, strict=True):
        for axis, layer in zip(line, LAYERS, strict=True):
            rows = table[(table["energy"] == energy) & (table["layer"] == layer)]
            grid = rows.pivot(index="landscape", columns="sort", values="share")[list(SORTS)]
            under = np.zeros(len(grid))
            for sort in SORTS:
                axis.bar(grid.index, grid[sort], bottom=under, color=SHADES[sort], width=0.85, linewidth=0)
                under += grid[sort].to_numpy()
            axis.axhline(0.05, color="black", linewidth=0.8, linestyle=":")
            axis.set_ylim(0, 1)
            axis.grid(False)
        line[0].set_ylabel(f"{energy}\nshare of units")
    for axis, layer in zip(axes[0], LAYERS, strict=True):
        axis.set_title(layer)
    for axis in axes[-1]:
        landscape_axis(axis, len(grid))
    handles = [Patch(color=SHADES[sort], label=SAID[sort]) for sort in SORTS]
    figure.legend(handles=handles, loc="outside lower center", ncols=5)
    return figure


def plot_paths(summary: dict[str, DataFrame]) -> Figure:
    """Shares of the score by root and by route, its change without FiLM, and its top units.

    summary: "roots", "routes", "film" and "units", each with energy, landscape, what it is named after,
    measure, mean, low, high.
    """
    figure, ((first, second), (third, fourth)) = canvas(2, 2, (5.6, 3.7), title="Which way the score goes")
    roots = summary["roots"][summary["roots"]["root"] == "constant"]
    for energy, (colour, style, words) in ENERGIES.items():
        _line(first, roots[roots["energy"] == energy], colour, style, words)
    first.axhline(0.5, color="0.4", linewidth=1)
    first.axhline(1, color="0.4", linewidth=1, linestyle=":")
    first.set(title="Carried by the constant part of f", ylabel="share of the score")

    routes = summary["routes"]
    for route, colour in zip(ROUTES, _WAYS, strict=True):
        rows = routes[routes["route"] == route]
        _line(second, rows[rows["energy"] == "trained"], colour, "-", route)
        _line(second, rows[rows["energy"] == "untrained"], colour, "--", None)
    second.axhline(0, color="0.4", linewidth=1)
    second.set(title="Past FiLM's gains and through them", ylabel="share of the score")

    film = summary["film"][(summary["film"]["measure"] == "change") & (summary["film"]["altered"] != "own")]
    for name, colour in zip(dict.fromkeys(film["altered"]), _WAYS, strict=True):
        rows = film[film["altered"] == name]
        _line(third, rows[rows["energy"] == "trained"], colour, "-", name)
        if name == "both off":
            _line(third, rows[rows["energy"] == "untrained"], colour, "--", "both off, untrained")
    third.axhline(1, color="0.4", linewidth=1, linestyle=":")
    third.set(title="Without FiLM", ylabel="‖change of the score‖² / ‖score‖²", yscale="log")

    carried = summary["units"][summary["units"]["measure"] == "fixed"]
    for layer, colour in zip(UNITS, _WAYS, strict=True):
        for energy, style in (("untrained", "--"), ("trained", "-")):
            rows = carried[(carried["layer"] == layer) & (carried["energy"] == energy)]
            _line(fourth, rows, colour, style, layer if energy == "trained" else None)
    fourth.axhline(TOP, color="0.4", linewidth=1)
    fourth.set(
        title=f"Carried by the {TOP:.0%} of units that lead elsewhere",
        ylabel="part of Σ|share|",
        ylim=(0, 1),
    )
    K = int(roots["landscape"].max()) + 1
    for axis in (first, second, third, fourth):
        landscape_axis(axis, K)
        handles, labels = axis.get_legend_handles_labels()
        if axis in (second, fourth):
            handles.append(Line2D([], [], color="0.4", linestyle="--"))
            labels.append("untrained")
        axis.legend(handles, labels, loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8.5)
    return figure


def _line(axis: Axes, rows: DataFrame, colour: str, style: str, words: str | None) -> None:
    axis.plot(rows["landscape"], rows["mean"], style, color=colour, label=words)
    axis.fill_between(rows["landscape"], rows["low"], rows["high"], color=colour, alpha=0.18, linewidth=0)


def _shades(last: int):
    """Colour of each landscape; the palest end is left out, which white paper would swallow."""
    map_ = matplotlib.colormaps[SEQUENTIAL]
    return lambda k: map_(0.92 * k / max(last, 1))


def _short(value: float) -> str:
    """One digit below 1; what is not above 0 is no signal."""
    if value < 0.0095:
        return "–" if value <= 0 else "·"
    if value >= 0.95:
        return f"{value:.0f}"
    return f"{value:.2f}"[1:] if value < 0.095 else f"{value:.1f}"[1:]
