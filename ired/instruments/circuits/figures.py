"""Figures of P5-04: what the energy is composed of, output by output and feature by feature."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from pandas import DataFrame

from ired.plotting.axes import named_ticks
from ired.plotting.plots import dots, legend_below
from ired.plotting.style import COLOURS, DIVERGING, LABELS, MARKERS, canvas, centred_norm

GRAPHS = {
    "features": (COLOURS["algebraic"], "--", "directions shuffled over features"),
    "weights": (COLOURS["least_squares"], "-.", "weights shuffled over inputs"),
    "random": (COLOURS["mean"], ":", "random dictionaries"),
    "untrained": (COLOURS["untrained"], "-", "dictionaries of an untrained network"),
    "relearned": (COLOURS["path"], "--", "the trained one's, made as those"),
    "own": (COLOURS["trained"], "-", "the dictionaries studied"),
}
BASES = {
    "entry": (COLOURS["trained"], "o", "entries"),
    "turned": ("0.55", "x", "turned at random"),
    "eigen": (COLOURS["ideal"], "^", "eigenbasis of A⁻¹"),
    "foreign": (COLOURS["least_squares"], "v", "eigenbasis of another problem"),
}
PARTS = {
    "constant": (COLOURS["trained"], "f's constant · ripple"),
    "problem": (COLOURS["algebraic"], "what depends on A · ripple"),
    "ripple": (COLOURS["ideal"], "ripple alone"),
}
MEASURES = {"gap": "energy gap", "score": "score"}
PROPERTIES = {
    "condition_number": "κ",
    "smallest_eigenvalue": "λ min",
    "largest_eigenvalue": "λ max",
    "log_determinant": "log det",
    "inverse_peak": "peak of A⁻¹",
    "norm": "‖A‖",
    "trace": "trace",
}
LAYERS = ("fc1", "fc2", "fc3")
UP, DOWN = COLOURS["least_squares"], COLOURS["trained"]
DRAWN = 24  # chains
NETWORKS = ("trained", "untrained")


def composition_figures(tables: Mapping[str, DataFrame], pictures: Mapping[str, np.ndarray]) -> list[tuple]:
    """Name, figure and caption of each, from the tables and matrices of P5-04."""
    return [
        (
            "graph",
            plot_graph(tables["chains"], tables["features"]),
            f"The {DRAWN} strongest chains of features; line width: mean |effect| on the energy gap of "
            "the chains through it. At each feature what it goes with, if anything does (p < 0.05 after "
            "correction), and the mean landscape where it fires.",
        ),
        (
            "sparsity",
            plot_sparsity(tables["curves"], tables["graphs"]),
            "How much of the effect the strongest edges carry; and, beside chance, the share of sources "
            "that carry 80 % of a target's, and of the edges between features that fire on a token: 95 % "
            "intervals of paired differences.",
        ),
        (
            "verification",
            plot_verification(tables["edges"], tables["chains"]),
            "Strongest edges, and chains, by gradient × activation and by ablating them alone.",
        ),
        (
            "terms",
            plot_terms(pictures),
            "What each output adds to gap and score, as a matrix that sums to 1: 1/n² everywhere would be "
            "all alike. Where states are symmetric, an output off the diagonal is shown in two halves.",
        ),
        (
            "outputs",
            plot_outputs(tables),
            "Trained (full lines) and untrained network (thin, open marks); 95 % intervals over problems.",
        ),
        (
            "controls",
            plot_outputs_beside_controls(tables["participation"], tables["own"]),
            "Outputs themselves, not turned; of the bowls around least squares and a regression network's answers "
            "those that lie nearest to entries. 95 % intervals over problems.",
        ),
    ]


# Graph


def plot_graph(chains: DataFrame, features: DataFrame) -> Figure:
    """chains: fc1, fc2, fc3, size, link_1, link_2, signed, the strongest first; features: layer,
    feature, landscape, property, rho, p."""
    shown = chains.head(DRAWN)
    described = features.set_index(["layer", "feature"])
    places = _places(shown)
    rows = max(len(nodes) for nodes in places.values())
    figure, ((axis,),) = canvas(
        1, 1, (11.5, 0.34 * rows + 1.7), title="Strongest chains of features from fc1 to the energy gap"
    )
    whole = shown["size"].sum()
    for n, layer in enumerate(LAYERS):
        after = LAYERS[n + 1] if n < 2 else None
        keys = [layer, after] if after else [layer]
        for key, part in shown.groupby(keys):
            node = (layer, key[0])
            y = places[layer][node[1]], places[after][key[1]] if after else 0.5
            sign = part[f"link_{n + 1}"].iloc[0] if after else part["signed"].sum()
            _flow(axis, n, *y, part["size"].sum() / whole, UP if sign > 0 else DOWN)
        for feature, y in places[layer].items():
            axis.plot(n, y, "o", color="0.2", markersize=5, zorder=4)
            right = n == 2
            axis.annotate(
                _name(described, layer, feature),
                (n, y),
                xytext=(7 if right else -7, 0 if n != 1 else 6),
                textcoords="offset points",
                ha="left" if right else "right",
                va="center",
                fontsize=9,
                zorder=5,
                bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 0.6},
            )
    axis.plot(3, 0.5, "s", color="0.2", markersize=9, zorder=4)
    axis.annotate(
        "energy gap", (3, 0.5), xytext=(9, 0), textcoords="offset points", va="center", fontsize=11, fontweight="bold"
    )
    for n, layer in enumerate(LAYERS):
        axis.annotate(layer, (n, 1.06), ha="center", fontsize=12, fontweight="bold")
    for colour, words in ((UP, "raises"), (DOWN, "lowers")):
        axis.plot([], [], color=colour, linewidth=4, alpha=0.6, label=f"{words} what it leads to")
    axis.set(xlim=(-0.55, 3.35), ylim=(-0.06, 1.12))
    axis.set_axis_off()
    axis.legend(loc="lower right", fontsize=10)
    return figure


def _places(shown: DataFrame) -> dict[str, dict[int, float]]:
    """Heights of the features: each layer's in the order of the heights of what they lead to."""
    places: dict[str, dict[int, float]] = {}
    for n in (2, 1, 0):
        layer = LAYERS[n]
        if n == 2:
            order = shown.groupby(layer)["size"].sum().sort_values(ascending=False).index
        else:
            lead = shown[LAYERS[n + 1]].map(places[LAYERS[n + 1]]) * shown["size"]
            mean = lead.groupby(shown[layer]).sum() / shown.groupby(layer)["size"].sum()
            order = mean.sort_values(ascending=False, kind="stable").index
        heights = np.linspace(1, 0, len(order)) if len(order) > 1 else [0.5]
        places[layer] = {int(f): float(y) for f, y in zip(order, heights, strict=True)}
    return places


def _flow(axis: Axes, x: int, start: float, end: float, share: float, colour: str) -> None:
    curve = Path([(x, start), (x + 0.5, start), (x + 0.5, end), (x + 1, end)], [Path.MOVETO, *[Path.CURVE4] * 3])
    axis.add_patch(
        PathPatch(curve, fill=False, edgecolor=colour, linewidth=0.8 + 40 * share, alpha=0.5, capstyle="butt")
    )


def _name(described: DataFrame, layer: str, feature: int) -> str:
    row = described.loc[(layer, feature)]
    with_it = f"{PROPERTIES.get(row.property, row.property)} {row.rho:+.2f}, " if row.p < 0.05 else ""
    return f"{feature}: {with_it}k≈{row.landscape:.1f}".replace("-", "−")


def plot_sparsity(curves: DataFrame, graphs: DataFrame) -> Figure:
    """curves: step, graph, edges, effect; graphs: step, graph, and parents_beside and edges_beside with
    their _low and _high."""
    steps = list(dict.fromkeys(curves["step"]))
    figure, ((*lines, right),) = canvas(1, 3, (4.6, 4.3), title="How few edges carry the effect")
    for axis, step in zip(lines, steps, strict=True):
        for name, (colour, style, words) in GRAPHS.items():
            curve = curves[(curves["step"] == step) & (curves["graph"] == name)]
            axis.plot(
                curve["edges"],
                curve["effect"],
                color=colour,
                linestyle=style,
                label=words,
                linewidth=2.4 if name == "own" else 1.5,
            )
        axis.axhline(0.8, color="0.5", linewidth=0.8)
        axis.set_xscale("log")
        named_ticks(axis, "x", [1e-3, 1e-2, 0.1, 1], ["0.1 %", "1 %", "10 %", "all"])
        axis.set(
            xlim=(8e-4, 1),
            ylim=(0, 1.02),
            title=step,
            xlabel="strongest edges, share of all",
            ylabel="their share of the effect",
        )
    names = [name for name in GRAPHS if name != "own"]
    place = {name: n for n, name in enumerate(names)}
    marks = {("parents", 0): "o", ("parents", 1): "s", ("edges", 0): "^", ("edges", 1): "v"}
    kinds = ("parents", "sources of a target"), ("edges", "edges of a token")
    for n, (what, words) in enumerate(kinds):
        for m, step in enumerate(steps):
            rivals = graphs[(graphs["step"] == step) & (graphs["graph"] != "own")]
            y = rivals["graph"].map(place) + (2 * n + m - 1.5) * 0.17
            dots(
                right,
                rivals,
                y,
                f"{what}_beside",
                (COLOURS["trained"], COLOURS["ideal"])[n],
                marks[what, m],
                filled=not m,
                label=f"{words}, {step}",
                size=4.5,
                width=1.3,
            )
    right.axvline(0, color="0.3", linewidth=1)
    right.set_yticks(
        range(len(names)),
        [
            GRAPHS[name][2].replace(" of an ", "\nof an ").replace(" over ", "\nover ").replace(", ", ",\n")
            for name in names
        ],
    )
    right.set(
        title="Sparser than chance",
        ylim=(len(names) - 0.5, -0.5),
        xlabel="share needed for 80 %, own − theirs\n(left of 0: sparser)",
    )
    for axis, side in ((lines[0], "left"), (right, "right")):
        ends = axis.get_legend_handles_labels()
        figure.legend(*ends, loc=f"outside lower {side}", ncols=2, fontsize=8.5)
    return figure


def plot_verification(edges: DataFrame, chains: DataFrame) -> Figure:
    """edges: step, signed, cut_signed; chains: signed, cut_signed."""
    steps = list(dict.fromkeys(edges["step"]))
    figure, (axes,) = canvas(1, 3, (4.0, 3.7), title="Gradient × activation against ablation")
    parts = [(step, edges[edges["step"] == step], "of the pre-activation") for step in steps]
    parts += [("chains", chains, "of the gap, σ_k")]
    for axis, (title, rows, unit) in zip(axes, parts, strict=True):
        bound = 1.05 * max(rows["signed"].abs().max(), rows["cut_signed"].abs().max(), 1e-12)
        axis.plot([-bound, bound], [-bound, bound], color="0.6", linewidth=1, zorder=1)
        axis.plot(
            rows["signed"],
            rows["cut_signed"],
            "o",
            color=COLOURS["trained"],
            markersize=3,
            alpha=0.35,
            markeredgewidth=0,
            rasterized=True,
        )
        axis.set(
            title=title,
            xlim=(-bound, bound),
            ylim=(-bound, bound),
            aspect="equal",
            xlabel=f"predicted mean effect\n{unit}",
            ylabel="ablated alone",
        )
        axis.locator_params(nbins=5)
    return figure


# Outputs


def plot_terms(pictures: Mapping[str, np.ndarray]) -> Figure:
    """pictures: (n, n) by "trained.0.measure.basis", sums 1: the sharpest landscape, in two bases."""
    bases = {"entry": "entries", "eigen": "eigenbasis of A⁻¹"}
    places = [(measure, basis) for measure in MEASURES for basis in bases]
    shown = [pictures[f"trained.0.{measure}.{basis}"] for measure, basis in places]
    title = "What each output adds, as a matrix (k = 0)"
    figure, (axes,) = canvas(1, len(shown), (2.9, 3.4), title=title)
    norm = centred_norm(np.stack(shown))
    for axis, (measure, basis), matrix in zip(axes, places, shown, strict=True):
        image = axis.imshow(matrix, cmap=DIVERGING, norm=norm)
        axis.grid(False)
        diagonal = f"diagonal {np.trace(matrix):.0%}".replace("-", "−")
        axis.set_title(f"{MEASURES[measure]}, {bases[basis]}", fontsize=10)
        n, turned = len(matrix), basis == "eigen"
        ends = ([0, n - 1], ["small λ", "large λ"] if turned else [1, n])
        axis.set_xticks(*ends)
        axis.set_yticks(*ends, rotation=90 if turned else 0, va="center")
        if turned:  # words reach inwards, or they meet in the corner
            for label, side in zip(axis.get_xticklabels(), ("left", "right"), strict=True):
                label.set_ha(side)
            for label, side in zip(axis.get_yticklabels(), ("top", "bottom"), strict=True):
                label.set_va(side)
        axis.set_xlabel(diagonal)
    figure.colorbar(image, ax=axes, shrink=0.7, label="share", pad=0.01)
    return figure


def plot_outputs(tables: Mapping[str, DataFrame]) -> Figure:
    """tables: participation, parts, own, fairness of P5-04."""
    figure, ((first, second), (third, fourth)) = canvas(2, 2, (5.4, 3.5), title="Which outputs carry the gap")
    tables = {name: table[table["energy"].isin(NETWORKS)] for name, table in tables.items() if "energy" in table}
    carried = tables["participation"].query("measure == 'gap'")
    for name, (colour, marker, words) in BASES.items():
        for axis, table in ((first, carried), (third, tables["own"])):
            _by_landscape(axis, table[table["basis"] == name], colour, marker, words)
    first.axhline(0.25, color="0.4", linestyle=":", linewidth=1)
    first.set(title="Outputs needed for 80 %", ylabel="share of all outputs", ylim=(0, 1.15))
    first.legend(*_once(first), fontsize=8, ncols=2)
    for name, (colour, words) in PARTS.items():
        rows = tables["parts"][tables["parts"]["part"] == name]
        _by_landscape(second, rows, colour, "o", words)
    second.set(title="What f is made of", ylabel="share of the gap")
    along = tables["parts"].query("part == 'along'")
    _by_landscape(second, along, "0.2", "D", "one output, along the constant")
    second.set_ylim(top=1.6)
    second.legend(*_once(second), fontsize=8, ncols=2, loc="upper center")
    third.set(title="From its own coordinate", ylabel="share of the gap of output i\nfrom coordinate i")
    third.set_ylim(bottom=0)
    for name, colour, words in (
        ("outputs", COLOURS["trained"], "outputs that go along"),
        ("other", "0.55", "the same, another permutation"),
        ("gap", COLOURS["least_squares"], "gap that changes (0: fair)"),
    ):
        rows = tables["fairness"][tables["fairness"]["what"] == name]
        _by_landscape(fourth, rows, colour, "o", words)
    fourth.set(title="When axes are permuted", ylabel="share")
    fourth.set_ylim(top=1.6)
    fourth.legend(*_once(fourth), fontsize=8, loc="upper center", ncols=2)
    ticks = sorted(carried["landscape"].unique())
    for axis in (first, second, third, fourth):
        axis.set_xticks(ticks)
        axis.set_xlabel("landscape k")
    return figure


def plot_outputs_beside_controls(participation: DataFrame, coordinates: DataFrame) -> Figure:
    """How few outputs carry the gap, and how far from their own coordinates, of all energies.

    participation, coordinates: tables participation and own of P5-04.
    """
    panels = (
        (
            participation.query("measure == 'gap' and basis == 'entry'"),
            "Outputs needed for 80 %",
            "share of all outputs",
        ),
        (
            coordinates.query("basis == 'entry'"),
            "From its own coordinate",
            "share of the gap of output i\nfrom coordinate i",
        ),
    )
    figure, (axes,) = canvas(1, 2, (4.8, 3.7), title="Outputs of the model and of bowls around predictions")
    for axis, (table, title, words) in zip(axes, panels, strict=True):
        for place, (energy, rows) in enumerate(table.groupby("energy", sort=False)):
            error = [rows["share"] - rows["share_low"], rows["share_high"] - rows["share"]]
            axis.errorbar(
                rows["landscape"] + 0.12 * (place - 1.5),
                rows["share"],
                yerr=np.clip(error, 0, None),
                color=COLOURS[energy],
                marker=MARKERS[energy],
                label=LABELS.get(energy, energy),
                zorder=3 if energy == "trained" else 2,
            )
        axis.set(title=title, ylabel=words, xlabel="landscape k", ylim=(0, 1.05))
        axis.set_xticks(sorted(table["landscape"].unique()))
    legend_below(figure, axes, ncols=4)
    return figure


def _by_landscape(axis: Axes, table: DataFrame, colour: str, marker: str, words: str) -> None:
    """A line for each energy, the untrained one thin and open, with intervals."""
    for energy, rows in table.groupby("energy"):
        trained = energy == "trained"
        x = rows["landscape"] + (-0.06 if trained else 0.06)
        error = [rows["share"] - rows["share_low"], rows["share_high"] - rows["share"]]
        axis.errorbar(
            x,
            rows["share"],
            yerr=np.clip(error, 0, None),
            color=colour,
            marker=marker,
            label=words,
            linewidth=1.8 if trained else 0.8,
            markerfacecolor=colour if trained else "white",
            markersize=5,
            alpha=1 if trained else 0.7,
            zorder=3 if trained else 2,
        )


def _once(axis: Axes) -> tuple[list, list]:
    """Handles and labels of the legend, one of each label."""
    handles = {}
    for handle, words in zip(*axis.get_legend_handles_labels(), strict=True):
        handles.setdefault(words, handle)
    return list(handles.values()), list(handles)
