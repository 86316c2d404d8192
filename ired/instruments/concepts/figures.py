"""Figures of P3-02: concepts in the layers, and what the energy makes of them."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from pandas import DataFrame

from ired.instruments.concepts.cav import PRIMARY
from ired.instruments.concepts.study import Concepts
from ired.plotting.plots import dots, heat_map, legend_below, row_names
from ired.plotting.style import COLOURS, DIVERGING, canvas

_SHADE, _PALE = "0.85", "#8fbfe0"
# Colour, marker and name of what AUROCs are shown of.
_READERS = {
    "filter": (COLOURS["trained"], "o", "classifier (filter CAV)"),
    "primary": (COLOURS["algebraic"], "D", "CAV handed on (partialled pattern)"),
    "regression": (COLOURS["regression"], "P", "classifier, regression network"),
    "untrained": (COLOURS["untrained"], "s", "classifier, untrained network"),
    "affine": (COLOURS["affine"], "v", "classifier, affine denoiser"),
    "input": (COLOURS["path"], "d", "classifier on the input [A, y]"),
    "random": ("0.35", "x", "classifier, random labels"),
}


def concept_figures(concepts: Concepts, fresh: int) -> list[tuple[str, Figure, str]]:
    """Name, figure and caption of each; fresh: how many problems derivatives are averaged over."""
    trained, untrained = concepts.trained, concepts.untrained
    best = trained.best()
    return [
        (
            "tcav",
            plot_scores(trained.tcav),
            f"Share of {fresh} new problems at which the gap of E to the answer grows along the CAV "
            "(partialled pattern).",
        ),
        (
            "confusion",
            plot_confusion(trained.confusion, best, PRIMARY),
            "0.5 tells nothing, 0 the other way round. Landscapes: where the CAV handed on tells its own "
            "pairs apart best.",
        ),
        (
            "auroc",
            plot_readers(trained.auroc, untrained.auroc, concepts.tables["auroc_controls"], best, PRIMARY),
            "Held-out pairs of matched problems; 95 % intervals over pairs, too narrow near 0.5. "
            "Regression network: the layer of the same name, which sees no state; affine denoiser: its answer beside "
            "the state.",
        ),
    ]


def plot_scores(tcav: DataFrame) -> Figure:
    """TCAV scores of the energy gap with 95 % intervals, beside the central 95 % of random CAVs.

    tcav: columns of `study.ConceptStudy.tcav`; a panel for each landscape (rows) and layer.
    """
    tcav = tcav[tcav["of"] == "gap"]
    layers, landscapes, concepts = (list(tcav[c].unique()) for c in ("layer", "landscape", "concept"))
    figure, axes = canvas(
        len(landscapes),
        len(layers),
        (3.4, 0.3 * len(concepts) + 0.55),
        title="TCAV of the energy gap to the answer",
        sharex=True,
        sharey=True,
    )
    for (i, k), (j, layer) in _grid(landscapes, layers):
        axis = axes[i, j]
        rows = tcav[(tcav["layer"] == layer) & (tcav["landscape"] == k)]
        rows = rows.set_index("concept").loc[concepts]
        y = np.arange(len(rows))
        null = rows["null_high"] - rows["null_low"]
        axis.barh(y, null, 0.92, left=rows["null_low"], color=_SHADE, linewidth=0)
        sure = (rows["adjusted_score"] < 0.05).to_numpy()
        colours = np.where(sure, COLOURS["trained"], _PALE)
        axis.barh(y, rows["score"] - 0.5, 0.45, left=0.5, color=colours)
        axis.hlines(y, rows["low"], rows["high"], color="0.1", linewidth=1.2)
        along = y[(rows["adjusted_mean"] < 0.05).to_numpy()]
        axis.plot(np.full(len(along), 1.06), along, "D", color=COLOURS["least_squares"], markersize=4)
        axis.axvline(0.5, color="0.4", linewidth=1)
        axis.set_xlim(-0.02, 1.11)
        axis.set_xticks((0, 0.25, 0.5, 0.75, 1), ("0", "¼", "½", "¾", "1"))
        row_names(axis, [_words(c) for c in concepts])
        axis.set_title(f"{layer}, k = {k}")
    for axis in axes[-1]:
        axis.set_xlabel("share of positive derivatives")
    figure.legend(
        [
            Patch(color=COLOURS["trained"]),
            Patch(color=_PALE),
            Line2D([], [], color="0.1"),
            Patch(color=_SHADE),
            Line2D([], [], linestyle="none", marker="D", color=COLOURS["least_squares"], markersize=4),
        ],
        [
            "beyond the random CAVs (5 % after correction)",
            "not beyond them",
            "95 % interval",
            "95 % of random CAVs",
            "mean derivative beyond theirs",
        ],
        loc="outside lower center",
        ncols=3,
    )
    return figure


def plot_confusion(table: DataFrame, best: DataFrame, primary: str) -> Figure:
    """AUROC of every concept's CAV on the held-out pairs of every concept, at the landscape that `best`
    (columns concept, layer, landscape) names for the row; above, the `primary` CAVs, below, filters."""
    layers, concepts = (list(best[c].unique()) for c in ("layer", "concept"))
    rows = {"what is handed on": primary, "classifiers": "filter"}
    figure, axes = canvas(
        2,
        len(layers),
        (0.62 * len(concepts) + 1.5, 0.48 * len(concepts) + 0.75),
        title="Every concept's CAV on every concept's pairs",
    )
    at = best.set_index(["layer", "concept"])["landscape"]
    for (i, (words, method)), (j, layer) in _grid(list(rows.items()), layers):
        axis, values = axes[i, j], np.empty((len(concepts),) * 2)
        for r, concept in enumerate(concepts):
            row = table[
                (table["layer"] == layer)
                & (table["concept"] == concept)
                & (table["method"] == method)
                & (table["landscape"] == at[layer, concept])
            ].set_index("pairs")
            values[r] = row["auroc"].loc[concepts]
        image = heat_map(axis, values, DIVERGING, Normalize(0, 1), "{:.2f}", framed=np.eye(len(concepts), dtype=bool))
        axis.set_title(f"{layer}: {words}")
        names = [f"{_words(c)}, k={at[layer, c]}" if j == 0 else f"k={at[layer, c]}" for c in concepts]
        axis.set_yticks(range(len(concepts)), names)
        ticks = [_words(c) if i else "" for c in concepts]
        axis.set_xticks(range(len(concepts)), ticks, rotation=40, ha="right", rotation_mode="anchor")
    for axis in axes[:, 0]:
        axis.set_ylabel("CAV of")
    for axis in axes[-1]:
        axis.set_xlabel("pairs of")
    figure.colorbar(image, ax=list(axes[:, -1]), label="held-out AUROC", shrink=0.7)
    return figure


def plot_readers(auroc: DataFrame, untrained: DataFrame, controls: DataFrame, best: DataFrame, primary: str) -> Figure:
    """Held-out AUROC with 95 % intervals, at the landscape that `best` names: of the network's CAVs, of
    the classifier on an untrained network, on what controls hold, on the input, and with random labels."""
    layers, concepts = (list(best[c].unique()) for c in ("layer", "concept"))
    figure, axes = canvas(
        1,
        len(layers),
        (3.5, 0.8 * len(concepts) + 1.3),
        title="Can the concept be read?",
        sharex=True,
        sharey=True,
    )
    least = min(0.4, auroc["low"].min(), untrained["low"].min())
    for axis, layer in zip(axes[0], layers, strict=True):
        for r, concept in enumerate(concepts):
            here = best[(best["layer"] == layer) & (best["concept"] == concept)]
            k = int(here["landscape"].iloc[0])
            for place, name in enumerate(_READERS):
                source = untrained if name == "untrained" else auroc
                if name in ("affine", "regression"):
                    source = controls[controls["of"] == name]
                place_of = (source["concept"] == concept) & (source["landscape"] == k)
                row = source[place_of & (source["layer"] == ("input" if name == "input" else layer))]
                if "method" in row:
                    row = row[row["method"] == (primary if name == "primary" else "filter")]
                    row = row[row["labels"] == ("random" if name == "random" else "own")].iloc[:1]
                colour, marker, label = _READERS[name]
                y = r + (place - (len(_READERS) - 1) / 2) * 0.11
                dots(axis, row, y, "auroc", colour, marker, label=label if r == 0 else None, size=5, width=1.6)
            axis.text(1.03, r, f"k={k}", fontsize=9, va="center")
        axis.axvline(0.5, color="0.4", linewidth=1)
        axis.set(title=layer, xlabel="held-out AUROC", xlim=(least - 0.02, 1.13))
        row_names(axis, [_words(c) for c in concepts], between=True)
        axis.set_xticks([t for t in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0) if t >= least - 0.02])
    legend_below(figure, [axes[0, 0]], 3)
    return figure


def _grid(rows: list, columns: list):
    """Pairs of numbered rows and numbered columns."""
    return ((row, column) for row in enumerate(rows) for column in enumerate(columns))


def _words(name: str) -> str:
    return name.replace("_", " ")
