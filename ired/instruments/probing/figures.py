"""Figures of P5-01: what can be read off each layer."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from pandas import DataFrame

from ired.plotting.axes import landscape_axis
from ired.plotting.plots import dots, heat_map
from ired.plotting.style import COLOURS, DIVERGING, LABELS, MARKERS, SEQUENTIAL, canvas, centred_norm

LAYERS = ("fc1", "fc2", "fc3", "f")
STATE, GIVEN = "A, y", "A, A², y"
NAMES = {
    "condition_number": "log condition number",
    "smallest_eigenvalue": "log smallest eigenvalue",
    "log_determinant": "log-determinant",
    "trace": "trace",
    "distance": "distance to the answer",
    "success": "will sampling succeed",
    "inverse": "entries of the inverse",
}
FLOOR = -0.1  # R² is drawn from here: a probe that is worse than the mean is of no use
CONTROL = COLOURS["least_squares_squared"]


def probing_figures(tables: Mapping[str, DataFrame]) -> list[tuple[str, Figure, str]]:
    """Name, figure and caption of each, from the tables of P5-01."""
    return [
        (
            "depth",
            plot_probes_by_depth(tables["r2"], tables["untrained_networks"]),
            "Out-of-fold R², means over landscapes. [A, y] is what an affine denoiser is given; the regression "
            "network's layers see A alone and have the state beside them. Bar at fc3: all untrained networks.",
        ),
        (
            "inverse",
            plot_inverse(tables["r2"], tables["ahead"]),
            "All entries together. Framed: interval of the difference above 0, Bonferroni over cells.",
        ),
        ("gains", plot_gains(tables["rises"]), "Means over landscapes. ✓: above the first four, corrected."),
        ("success", plot_success(tables["success"]), "Hollow: labels of other problems."),
        ("data", plot_data(tables["curves"]), "Bits saved per number on the next problems."),
    ]


def plot_probes_by_depth(r2: DataFrame, networks: DataFrame | None = None, landscape: int = -1) -> Figure:
    """R² of each property against depth, with controls.

    r2: columns source, layer, landscape (−1: on average over them), property, task, r2, low, high; networks, if
    given: columns energy, property, r2, of several untrained networks at fc3, whose range is shown.
    """
    r2 = r2[r2["landscape"] == landscape].set_index(["source", "layer", "property", "task"])
    where = "on average over landscapes" if landscape < 0 else f"at noised answers of k = {landscape}"
    figure, axes = canvas(2, 4, (3.3, 2.9), title=f"What an affine map reads, {where}", sharex=True)
    for axis, (name, title) in zip(axes.flat, NAMES.items(), strict=False):

        def line(source: str, task: str = "property", name: str = name) -> DataFrame:
            places = [("input", STATE), *((source, layer) for layer in LAYERS)]
            rows = [(*place, name, task) for place in places]
            return r2.loc[rows, ["r2", "low", "high"]].clip(FLOOR)

        given = max(r2.loc[("input", GIVEN, name, "property"), "r2"], FLOOR)
        axis.axhline(given, color=COLOURS["algebraic"], linewidth=1.6, label="[A, A², y]")
        _line(axis, line("untrained"), COLOURS["untrained"], "s", "--", "untrained")
        if networks is not None:
            at_fc3 = networks.loc[networks["property"] == name, "r2"].clip(FLOOR)
            axis.vlines(3, at_fc3.min(), at_fc3.max(), color=COLOURS["untrained"], linewidth=5, alpha=0.6)
        _line(axis, line("regression"), COLOURS["regression"], MARKERS["regression"], "-", LABELS["regression"])
        _line(axis, line("trained", "function"), CONTROL, "v", ":", "random function of the problem")
        axis.plot(
            line("trained", "permuted")["r2"].to_numpy(),
            color="0.3",
            linewidth=1,
            linestyle=(0, (1, 3)),
            label="another problem's value",
        )
        if ("trained", "fc3", name, "beyond others") in r2.index:
            _line(
                axis, line("trained", "beyond others"), COLOURS["path"], "x", "-.", "what the other three do not tell"
            )
        _line(axis, line("trained"), COLOURS["trained"], "o", "-", "trained")
        axis.set_title(title)
        axis.set_ylim(FLOOR - 0.04, 1.04)
        axis.set_xticks(range(5), ["A, y", *LAYERS])
    for row in axes:
        row[0].set_ylabel("out-of-fold R²")
    axes[0, -1].tick_params(labelbottom=True)
    _legend(axes.flat[-1], axes.flat[0])
    return figure


def plot_inverse(r2: DataFrame, ahead: DataFrame) -> Figure:
    """R² of the inverse's entries, a row a representation, a column a landscape; below by how much trained layers
    are ahead of [A, A², y] and of the same layer in other networks, with frames where the interval lies above 0.

    r2: as for `plot_probes_by_depth`; ahead: columns layer, landscape, given, untrained, regression, …_low.
    """
    r2 = r2.query("property == 'inverse' and task == 'property' and landscape >= 0")
    figure, axes = canvas(2, 3, (4.3, 3.0), title="Entries of the true inverse, read by an affine map")
    for axis, source in zip(axes[0], ("trained", "untrained", "regression"), strict=True):
        cells = r2[(r2["source"] == source) | (r2["source"] == "input")]
        rows = [("input", name) for name in ("A", "A, A²", STATE, GIVEN)]
        rows += [(source, layer) for layer in LAYERS]
        table = cells.pivot(index=["source", "layer"], columns="landscape", values="r2").loc[rows]
        image = heat_map(axis, table.clip(0), SEQUENTIAL, Normalize(0, 1))
        labels = [f"[{layer}]" if place == "input" else layer for place, layer in rows]
        axis.set_yticks(range(len(rows)), labels)
        axis.axhline(3.5, color="white", linewidth=2)
        axis.set_title(LABELS.get(source, source))
        landscape_axis(axis, table.shape[1])
    figure.colorbar(image, ax=axes[0], label="out-of-fold R²", shrink=0.85)
    # f is narrow and far behind: on its scale the others' differences could not be seen.
    rivals = {"given": "[A, A², y]", "untrained": "untrained", "regression": LABELS["regression"]}
    limits = centred_norm(ahead.loc[ahead["layer"] != "f", list(rivals)].to_numpy())
    for axis, (what, words) in zip(axes[1], rivals.items(), strict=True):
        table = ahead.pivot(index="layer", columns="landscape", values=what).loc[list(LAYERS)]
        sure = ahead.pivot(index="layer", columns="landscape", values=f"{what}_low").loc[list(LAYERS)]
        image = heat_map(axis, table, DIVERGING, limits, framed=sure.to_numpy() > 0)
        axis.set_yticks(range(len(LAYERS)), LAYERS)
        axis.set_title(f"trained − {words}")
        landscape_axis(axis, table.shape[1])
    figure.colorbar(image, ax=axes[1], label="difference of R²", shrink=0.85, extend="both")
    return figure


def plot_gains(rises: DataFrame) -> Figure:
    """How much better fc3 reads each property than each rival; filled where the interval is above 0.

    rises: columns property and, for fc1, untrained, input, given, selectivity and regression, the gain, _low and
    _high; beyond: whether the first four rivals are beaten after correction.
    """
    rivals = {
        "fc1": ("trained fc1", COLOURS["trained"], "o"),
        "untrained": ("untrained fc3", COLOURS["untrained"], "s"),
        "input": ("[A, y]: affine", COLOURS["affine"], MARKERS["affine"]),
        "given": ("[A, A², y]", COLOURS["algebraic"], "D"),
        "selectivity": ("fc3, random function", CONTROL, "X"),
        "regression": ("regression network", COLOURS["regression"], MARKERS["regression"]),
    }
    figure, axes = canvas(1, 1, (8.2, 5.2), title="R² at fc3 less that of its rivals")
    axis = axes[0, 0]
    for place, (what, (label, colour, marker)) in enumerate(rivals.items()):
        height = np.arange(len(rises)) + 0.13 * (place - 2.5)
        dots(axis, rises, height, what, colour, marker, filled=rises[f"{what}_low"] > 0, label=label, size=5, width=1.6)
    axis.axvline(0, color="0.3", linewidth=1)
    marks = [" ✓" if beyond else "" for beyond in rises["beyond"]]
    labels = [NAMES[name] + mark for name, mark in zip(rises["property"], marks, strict=True)]
    axis.set_yticks(range(len(rises)), labels)
    axis.invert_yaxis()
    axis.set_xlabel("difference of out-of-fold R², mean over landscapes (right: fc3 is better)")
    axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), title="less that of")
    return figure


def plot_success(table: DataFrame) -> Figure:
    """AUROC of logistic probes of sampling success; hollow, grey: labels of other problems.

    table: columns source, layer, landscape, task, auroc, low, high.
    """
    landscapes = list(table["landscape"].unique())
    figure, axes = canvas(1, len(landscapes), (5.6, 4.6), title="Will sampling succeed? Logistic probes", sharey=True)
    for axis, k in zip(axes[0], landscapes, strict=True):
        here = table[table["landscape"] == k]
        probes = here[here["task"] == "property"].reset_index(drop=True)
        chance = here[here["task"] == "permuted"]
        place = {name: i for i, name in enumerate(zip(probes["source"], probes["layer"], strict=True))}
        for shift, rows, ink in ((-0.12, probes, None), (0.2, chance, "0.55")):
            for source, part in rows.groupby("source", sort=False):
                heights = np.array([place[source, layer] for layer in part["layer"]]) + shift
                colour = ink or COLOURS.get(source, COLOURS["algebraic"])
                dots(axis, part, heights, "auroc", colour, filled=ink is None, size=5, width=1.6)
        axis.axvline(0.5, color="0.3", linewidth=1)
        labels = [
            f"[{x}]" if s == "input" else f"{s} {x}" for s, x in zip(probes["source"], probes["layer"], strict=False)
        ]
        axis.set_yticks(range(len(probes)), labels)
        axis.set_title(f"k = {k}")
        axis.set_xlabel("AUROC (hollow: another problem's label)")
    axes[0, 0].invert_yaxis()
    return figure


def plot_data(curves: DataFrame) -> Figure:
    """Bits that probes save on the next block of problems, against how many they were fitted to, in the
    first landscape of the table.

    curves: columns source, layer, landscape, property, problems, saved.
    """
    curves = curves[curves["landscape"] == curves["landscape"].iloc[0]]
    lines = {
        ("input", STATE): ("[A, y]: affine", COLOURS["affine"], MARKERS["affine"], "-"),
        ("input", GIVEN): ("[A, A², y]", COLOURS["algebraic"], "D", "-"),
        ("untrained", "fc1"): ("untrained fc1", COLOURS["untrained"], "s", "--"),
        ("untrained", "fc3"): ("untrained fc3", "0.35", "x", "--"),
        ("trained", "fc1"): ("trained fc1", COLOURS["path"], "^", "-"),
        ("trained", "fc3"): ("trained fc3", COLOURS["trained"], "o", "-"),
        ("trained", "f"): ("trained f", COLOURS["ideal"], "*", "-"),
        ("regression", "fc3"): ("regression fc3", COLOURS["regression"], MARKERS["regression"], "-"),
    }
    figure, axes = canvas(2, 4, (3.3, 2.9), title=f"Data efficiency at k = {curves['landscape'].iloc[0]}", sharex=True)
    for axis, (name, title) in zip(axes.flat, NAMES.items(), strict=False):
        for (source, layer), (label, colour, marker, dash) in lines.items():
            of_layer = (curves["source"] == source) & (curves["layer"] == layer)
            rows = curves[of_layer & (curves["property"] == name)]
            axis.plot(
                range(len(rows)), rows["saved"], color=colour, marker=marker, linestyle=dash, label=label, markersize=4
            )
        axis.axhline(0, color="0.3", linewidth=1)
        low, high = axis.get_ylim()
        axis.set_ylim(min(low, -0.1), max(high, 0.3))
        axis.set_xticks(range(len(rows)), [str(count) for count in rows["problems"]])
        axis.set_title(title)
    for axis in (*axes[1, :3], axes[0, 3]):
        axis.set_xlabel("problems fitted to")
        axis.tick_params(labelbottom=True)
    for row in axes:
        row[0].set_ylabel("bits saved a number")
    _legend(axes.flat[-1], axes.flat[0])
    return figure


def _line(axis: Axes, rows: DataFrame, colour: str, marker: str, dash: str, label: str) -> None:
    x = np.arange(len(rows))
    axis.plot(x, rows["r2"].to_numpy(), color=colour, marker=marker, linestyle=dash, label=label)
    axis.fill_between(x, rows["low"], rows["high"], color=colour, alpha=0.15, linewidth=0)


def _legend(axis: Axes, of: Axes) -> None:
    """The legend of one panel in the place of another."""
    axis.axis("off")
    handles, labels = of.get_legend_handles_labels()
    axis.legend(handles[::-1], labels[::-1], loc="center")
