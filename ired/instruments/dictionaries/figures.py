"""Figures of Phase 2: sparse dictionaries of activations."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from pandas import DataFrame

from ired.plotting.axes import landscape_axis, named_ticks, plain_ticks
from ired.plotting.plots import dots, heat_map, ink, legend_below, row_names
from ired.plotting.style import COLOURS, LAYERS, SEQUENTIAL, canvas


def plot_activations(summary: DataFrame, moments: dict[str, tuple]) -> Figure:
    """moments: by layer the landscapes' means (K, width) and the covariance (width, width)."""
    figure, (axes,) = canvas(1, 3, title="What the layers hold")
    for layer, (means, covariance) in moments.items():
        means, covariance = np.asarray(means), np.asarray(covariance)
        deviation = np.sqrt(np.trace(covariance))
        distance = np.linalg.norm(means - means.mean(0), axis=1) / deviation
        axes[0].plot(distance, marker="o", color=LAYERS[layer], label=layer)
        values = np.linalg.eigvalsh(covariance)[::-1]
        share = np.clip(values / values.sum(), 1e-9, None)
        axes[1].loglog(1 + np.arange(len(share)), share, color=LAYERS[layer], label=layer)
    landscape_axis(axes[0], len(means))
    axes[0].set(ylabel="distance of the mean / deviation", ylim=(0, None), title="Landscapes apart")
    axes[1].set(xlabel="principal component", ylabel="share of the variance", title="Spectrum")
    kinds = {
        "between_landscapes": "variance between\nlandscapes",
        "constant": "constant part of\nmean square",
        "positive": "entries\nabove 0",
    }
    place = np.arange(len(kinds))
    for i, row in enumerate(summary.itertuples()):
        values = [getattr(row, name) for name in kinds]
        axes[2].bar(place + 0.27 * (i - 1), values, 0.25, color=LAYERS[row.layer], label=row.layer)
    axes[2].set_xticks(place, kinds.values())
    axes[2].set(ylabel="share", ylim=(0, 1), title="Made of")
    for axis in axes:
        axis.legend()
    return figure


KINDS = {
    "l1": "L1",
    "topk": "TopK",
    "batchtopk": "BatchTopK",
    "jumprelu": "JumpReLU",
    "frozen": "random, trained encoder",
    "pca": "PCA, own largest",
    "pca, first": "PCA, first",
    "ica": "ICA, own largest",
    "neurons": "neurons, own largest",
    "mean": "mean ablation",
    "zero": "zero ablation",
}
ARCHITECTURES = {"l1": "#0173b2", "topk": "#de8f05", "batchtopk": "#029e73", "jumprelu": "#cc78bc"}
BASELINE = "#949494"


def plot_dictionaries(rows: DataFrame, mse: float, layer: str) -> Figure:
    """One line a kind of dictionary, one dot a seed: what is missed; mse: the model's own."""
    rows = rows.assign(kind=rows["architecture"].fillna(rows["name"]))
    place = {kind: -i for i, kind in enumerate(KINDS)}
    shown = (
        ("explained", "explained_within", "variance missed", "● in all, ○ within landscapes"),
        ("gap", None, "energy gap missed", "1: a constant layer"),
        ("score", "through", "score missed", "1: the A-blind score"),
        ("mse", None, "sampled MSE", "dashed: the model's"),
    )
    figure, (axes,) = canvas(1, 4, (3.4, 3.6), title=f"Dictionaries of {layer}", sharey=True)
    for axis, (what, ring, title, label) in zip(axes, shown, strict=True):
        for kind, group in rows.groupby("kind", sort=False):
            y = place[kind] + 0.16 * (np.arange(len(group)) - (len(group) - 1) / 2)
            colour = ARCHITECTURES.get(kind, BASELINE)

            def missed(name: str, group: DataFrame = group) -> np.ndarray:
                return group[name] if name.startswith("mse") else (1 - group[name]).clip(1e-3)

            if f"{what}_low" in group:
                axis.hlines(y, missed(f"{what}_low"), missed(f"{what}_high"), color=colour)
            if ring:
                axis.plot(missed(ring), y, "o", color=colour, mfc="white")
            axis.plot(missed(what), y, "o", color=colour)
        axis.set(title=title, xlabel=label, xscale="log")
        if what == "mse":
            axis.axvline(mse, color="black", linestyle="--", linewidth=1)
        else:
            axis.axvline(1, color="black", linestyle="--", linewidth=1)
        if what in ("gap", "score"):
            axis.axvline(0.1, color="black", linestyle=":", linewidth=1)
        plain_ticks(axis)
    axes[0].set_yticks(list(place.values()), [KINDS[kind] for kind in place])
    return figure


def log_or_linear(axis: Axes) -> str:
    """The scale for a y-axis of positive numbers: on a factor of three a logarithm has ticks like 9.2 × 10⁻¹."""
    low, high = axis.get_ylim()
    return "linear" if 0 < low and high < 3 * low else "log"


def plot_dictionary_training(tables: Mapping[str, DataFrame], layer: str, studied: str) -> Figure:
    """Learning curves, agreement of seeds, and how often the features of the `studied` architecture
    fire. tables: "curves", "stability" and "features"."""
    figure, (axes,) = canvas(1, 4, (3.4, 3.2), title=f"Training on {layer}")
    for member, group in tables["curves"].groupby("member", sort=False):
        kind = "frozen" if "frozen" in member else member.split("-")[0]
        first = kind == "frozen" or member.endswith("seed0")
        line = {"color": ARCHITECTURES.get(kind, BASELINE), "linewidth": 1.2}
        axes[0].plot(group["step"], group["error"], label=KINDS[kind] if first else None, **line)
        axes[1].plot(group["step"], group["l0"], **line)
    axes[0].set(yscale="log", xlabel="step", ylabel="share of variance missed", title="Error")
    # Random directions may begin hundreds of times worse than nothing: they come in from above.
    axes[0].set_ylim(top=min(axes[0].get_ylim()[1], 2))
    axes[0].legend(fontsize=7)
    axes[1].set(yscale=log_or_linear(axes[1]), xlabel="step", ylabel="features active per token", title="L0")
    stability = tables["stability"]
    for place, agreement in enumerate(stability.itertuples()):
        axes[2].bar(place, agreement.null, 0.6, color="0.85")
        axes[2].plot([place - 0.3, place + 0.3], [agreement.isotropic] * 2, color="0.5")
        axes[2].errorbar(
            place,
            agreement.cosine,
            [[agreement.cosine - agreement.low], [agreement.high - agreement.cosine]],
            fmt="o",
            color=ARCHITECTURES[agreement.architecture],
        )
    axes[2].set_xticks(range(len(stability)), stability["architecture"].map(KINDS), rotation=20)
    axes[2].set(ylim=(0, 1.05), ylabel="mean matched cosine", title="Agreement of seeds")
    features = tables["features"]
    rates = features["rate"].clip(1e-5, 1)
    axes[3].scatter(rates, features["stability"], s=8, color=ARCHITECTURES[studied])
    axes[3].set(
        xscale="log",
        xlabel="share of tokens that it fires on",
        title="Studied features",
        ylabel="matched cosine to other seeds",
        ylim=(None, 1.03),
    )
    return figure


def plot_frontier(table: DataFrame, chosen: dict[str, str]) -> Figure:
    """Rows: layers; columns: what is kept, against L0. chosen: by layer the name of a member."""
    shown = {
        "explained_within": "variance missed\nwithin landscapes",
        "gap": "energy gap missed",
        "score": "score missed",
        "dead": "share of features dead",
    }
    layers = list(chosen)
    figure, axes = canvas(len(layers), len(shown), (3.2, 2.7), title="Sparsity against what is kept", sharex=True)
    widths = sorted(table["features"].unique())
    for row, layer in zip(axes, layers, strict=True):
        of_layer = table[table["layer"] == layer]
        for axis, (what, title) in zip(row, shown.items(), strict=True):
            for (kind, features), group in of_layer.groupby(["architecture", "features"], sort=False):
                group = group.sort_values("l0")
                kept = group[what] if what == "dead" else (1 - group[what]).clip(1e-3)
                large = features == widths[-1]
                axis.plot(
                    group["l0"],
                    kept,
                    marker="o",
                    markersize=6 if large else 3.5,
                    linestyle="-" if large else ":",
                    color=ARCHITECTURES[kind],
                    linewidth=1.2,
                    label=KINDS[kind] if large else None,
                )
            at = of_layer[of_layer["name"] == chosen[layer]].iloc[0]
            height = at[what] if what == "dead" else max(1 - at[what], 1e-3)
            axis.plot(at["l0"], height, "o", markersize=12, mfc="none", color="black")
            if what != "explained_within":
                axis.axhline(0.1, color="black", linestyle="--", linewidth=1)
            if what != "dead":
                axis.set_yscale(log_or_linear(axis))
            axis.set_xscale("log")
            aimed = sorted(table["sparsity"].unique())
            named_ticks(axis, "x", aimed)
            if layer == layers[0]:
                axis.set_title(title)
            if layer == layers[-1]:
                axis.set_xlabel("features active per token (L0)")
        row[0].set_ylabel(layer)
    axes[0, 0].legend(fontsize=8)
    return figure


# Units and properties (P2-07)

# Colour, marker and name of each kind of units.
UNITS = {
    "sae": (COLOURS["trained"], "o", "SAE features"),
    "neuron": (COLOURS["algebraic"], "D", "neurons"),
    "pca": (COLOURS["ideal"], "^", "principal components"),
    "frozen": (COLOURS["least_squares_squared"], "v", "random decoder, trained encoder"),
    "random": (COLOURS["untrained"], "s", "random dictionary"),
    "untrained": ("0.35", "x", "neurons of an untrained network"),
    "input": (COLOURS["least_squares"], "P", "the input: A (and y)"),
    "input squared": (COLOURS["path"], "X", "the input and its squares"),
}
UNITS_IN_SHORT = {"sae": "SAE", "neuron": "neurons", "pca": "PCA", "frozen": "frozen", "random": "random"}


def correlation_figures(
    best: DataFrame, selected: DataFrame, ridge: DataFrame, problems: int
) -> dict[str, tuple[Figure, str]]:
    """P2-07's figures by name, each with its caption: of the tables of `held_out_correlation.correlation_tables`, which
    were made of so many held-out problems."""
    figures = {
        "best": (
            plot_best_correlations(best),
            "Largest |ρ| over the units of each kind; below it, what the largest stays under by chance "
            "(95 %). In brackets: not above that.",
        ),
        "held_out": (
            plot_held_out(selected),
            "Units chosen on one half of the problems, measured on the other, both ways; 95 % intervals over problems.",
        ),
        "ridge": (
            plot_predictability(ridge),
            "Cross-validated R² with 95 % intervals over problems; logarithms of condition number, smallest "
            "eigenvalue and error.",
        ),
    }
    return {name: (figure, f"{text} {problems} held-out problems.") for name, (figure, text) in figures.items()}


def plot_best_correlations(best: DataFrame, level: float = 0.95) -> Figure:
    """Largest |ρ| of each kind with each property, a panel a layer.

    best: columns layer, kind, property, rho, limit. Under each number, what the kind's largest stays
    below by chance; numbers that do not reach it are struck out by brackets.
    """
    best = best[best["property"] != "any"]
    layers, properties = (list(best[c].unique()) for c in ("layer", "property"))
    kinds = [k for k in UNITS if k in set(best["kind"])]
    figure, axes = canvas(
        1,
        len(layers),
        (0.95 * len(kinds) + 0.9, 0.52 * len(properties) + 1.2),
        title="Best correlation with each property",
        sharey=True,
    )
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
        axis.set_xticks(range(len(kinds)), [UNITS_IN_SHORT.get(k, k) for k in kinds])
        axis.set_yticks(range(len(properties)), [_property_words(p) for p in properties])
    figure.colorbar(image, ax=axes[0, -1], label="largest |ρ| over units", shrink=0.8)
    return figure


def plot_held_out(selected: DataFrame) -> Figure:
    """Correlation of the chosen units on problems that did not choose them, with 95 % intervals.

    selected: columns layer, kind, property, rho, low, high.
    """
    return _unit_dots(selected, "rho", "Best unit, measured on the other half", "held-out ρ", zero=True)


def plot_predictability(ridge: DataFrame) -> Figure:
    """What a linear map of all units explains of each property, with 95 % intervals.

    ridge: columns layer, kind, property, r2, low, high.
    """
    return _unit_dots(ridge, "r2", "All units together: ridge regression", "cross-validated R²", floor=-0.25)


def _unit_dots(
    table: DataFrame,
    value: str,
    title: str,
    label: str,
    zero: bool = False,
    floor: float | None = None,
) -> Figure:
    """A panel a layer, a row a property, a dot with its interval for each kind."""
    layers, properties = (list(table[c].unique()) for c in ("layer", "property"))
    kinds = [k for k in UNITS if k in set(table["kind"])]
    figure, axes = canvas(1, len(layers), (3.7, 0.62 * len(properties) + 1.3), title=title, sharey=True, sharex=True)
    for axis, layer in zip(axes[0], layers, strict=True):
        for place, kind in enumerate(kinds):
            rows = table[(table["layer"] == layer) & (table["kind"] == kind)]
            rows = rows.set_index("property").loc[properties]
            y = np.arange(len(properties)) + (place - (len(kinds) - 1) / 2) * 0.8 / len(kinds)
            _unit_row(axis, rows, value, y, kind, floor)
        axis.axvline(0, color="0.4", linewidth=1)
        axis.set(title=layer, xlabel=label)
        row_names(axis, [_property_words(p) for p in properties], between=True)
    low = table["low"].min() if floor is None else max(floor, table["low"].min())
    axes[0, 0].set_xlim(min(low, 0) - 0.04, 1.04)
    legend_below(figure, [axes[0, 0]], -(-len(kinds) // -(-len(kinds) // 5)), handletextpad=0.2)
    return figure


def _unit_row(axis: Axes, rows: DataFrame, value: str, y: np.ndarray, kind: str, floor: float | None) -> None:
    colour, marker, name = UNITS[kind]
    x = rows[value].to_numpy()
    shown = x >= (-np.inf if floor is None else floor)
    dots(axis, rows[shown], y[shown], value, colour, marker, label=name, size=5.5, width=1.6)
    for at, real in zip(y[~shown], x[~shown], strict=True):  # far below: written, not drawn
        axis.text(floor, at, f"← {real:.1f}", fontsize=7, color=colour, va="center")


def _property_words(name: str) -> str:
    return name.replace("_", " ").replace(" at one ", "\nat one ")
