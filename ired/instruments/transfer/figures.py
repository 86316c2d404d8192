"""Figures of P6-04: errors, findings and detectors on shifted problems."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from pandas import DataFrame

from ired.instruments.transfer.ood_detection import CONTROL, ENERGIES, INPUTS
from ired.plotting.plots import dots, heat_map, legend_below, row_names
from ired.plotting.style import COLOURS, DIVERGING, LABELS, SEQUENTIAL, canvas

LOOKS = {
    "model": (COLOURS["trained"], "o", "this model"),
    "embedded": (COLOURS["path"], "D", "the larger model, embedded"),
    "least_squares": (COLOURS["least_squares"], "s", LABELS["least_squares"]),
    "least_squares_squared": (COLOURS["least_squares_squared"], "v", LABELS["least_squares_squared"]),
    "mean": (COLOURS["mean"], "^", "training mean"),
}
WORDS = {
    "energy": "E at the\nanswer",
    "score_norm": "‖∇E‖ there",
    "flatness": "flat basin",
    "rejections": "refused\nsteps",
    "norm": "‖A‖",
    "mahalanobis": "Mahalanobis\nof A",
    "condition_number": "condition\nnumber",
    CONTROL: "E, untrained\n(control)",
}


def transfer_figures(
    tables: dict[str, DataFrame], side: int, steps: int, problems: int, odd: int
) -> list[tuple[str, Figure, str]]:
    """Name, figure and caption of each, from the tables of P6-04 by name.

    side, steps: of the model of another side, and its training; problems, odd: how many of each family, and of each
    input without sense.
    """
    words = f"{problems} problems a family; 95 % intervals over problems."
    return [
        (
            "accuracy",
            plot_shift_accuracy(tables["accuracy"]),
            f"{words} At n = {side} this model is one trained for {steps} steps only. Dotted: the answer 0.",
        ),
        (
            "transfer",
            plot_transfer(tables["transfer"]),
            "Rule, chance, interval: ired.instruments.transfer.score. "
            "'Same again': a fresh draw of the training distribution. Dotted: 0.6. Grey: not measurable.",
        ),
        ("detection", plot_detection(tables["detection"]), f"{words} In brackets: ½ is not excluded."),
        (
            "odd",
            plot_pathologies(tables["odd"]),
            f"Medians over {odd} problems. Dotted: the answer 0; "
            "the median energy of training problems. Without an inverse ‖AŶ − I‖ cannot vanish.",
        ),
    ]


def plot_shift_accuracy(table: DataFrame, predictors: Sequence[str] = tuple(LOOKS)) -> Figure:
    """Errors by family, a panel a measure; table: rows of `ood_detection.shift_accuracy`."""
    families = list(dict.fromkeys(table["family"]))
    figure, axes = canvas(1, 2, size=(5.0, 1.2 + 0.34 * len(families)), sharey=True)
    known = [name for name in predictors if (table["predictor"] == name).any()]
    for axis, (measure, title) in zip(
        axes[0], {"mse": "MSE per entry", "relative": "Relative to ‖Y‖²"}.items(), strict=True
    ):
        low = np.maximum(table["low"], 1e-3 * table["mean"])  # nothing below 0 on a logarithmic axis
        rows = table.assign(low=low)[table["measure"] == measure]
        for j, name in enumerate(known):
            colour, marker, label = LOOKS[name]
            here = rows[rows["predictor"] == name]
            y = here["family"].map(families.index).to_numpy() + 0.13 * (j - (len(known) - 1) / 2)
            dots(axis, here, y, value="mean", colour=colour, marker=marker, label=label, size=4.5, width=1.2)
        axis.set_xscale("log")
        axis.set_title(title)
        axis.set_xlabel("error (log scale)")
        row_names(axis, families, between=True)
    axes[0, 1].axvline(1.0, color="0.4", linestyle=":", linewidth=1.2)
    legend_below(figure, [axes[0, 0]], min(3, len(known)))
    return figure


def plot_transfer(summary: DataFrame) -> Figure:
    """Left: the score of each family with its interval and chance; right: by kind of finding.

    summary: rows of `score.transfer_summary`."""
    families = list(dict.fromkeys(summary["family"]))
    height = 1.2 + 0.36 * len(families)
    figure, axes = canvas(1, 2, size=(4.8, height), sharey=True)
    whole = summary[summary["kind"] == "all"].set_index("family").loc[families]
    left, right = axes[0]
    y = np.arange(len(families))
    dots(left, whole, y, value="score", colour=COLOURS["trained"], label="score, 95 %", size=5)
    left.plot(
        whole["chance"],
        y,
        marker="|",
        markersize=13,
        markeredgewidth=2,
        linestyle="",
        color=COLOURS["least_squares"],
        label="chance (placebo)",
    )
    left.axvline(0.6, color="0.4", linestyle=":", linewidth=1.2)
    left.set_xlim(-0.03, 1.03)
    left.set_title("All kinds")
    left.set_xlabel("transfer score")
    left.legend(loc="lower center", bbox_to_anchor=(0.5, 1.06), ncols=2)
    kinds = [kind for kind in dict.fromkeys(summary["kind"]) if kind != "all"]
    grid = summary[summary["kind"] != "all"].pivot(index="family", columns="kind", values="score")
    grid = grid.reindex(index=families, columns=kinds)
    if kinds:
        heat_map(right, grid, colours=SEQUENTIAL, norm=Normalize(0, 1), text="{:.2f}", size=8)
    counts = summary.drop_duplicates("kind").set_index("kind")["findings"]
    right.set_xticks(range(len(kinds)), [f"{kind}\n({counts[kind]})" for kind in kinds])
    right.set_title("By kind (findings that hold)")
    row_names(left, families)
    return figure


def plot_detection(table: DataFrame) -> Figure:
    """AUROCs, families by detectors, of `ood_detection.detection`. In brackets: ½ is not excluded."""
    families = list(dict.fromkeys(table["family"]))
    detectors = [d for d in (*ENERGIES, CONTROL, *INPUTS) if (table["detector"] == d).any()]
    figure, axes = canvas(1, 1, size=(9.0, 1.5 + 0.36 * len(families)))
    grids = {
        what: table.pivot(index="family", columns="detector", values=what)
        .reindex(index=families, columns=detectors)
        .to_numpy()
        for what in ("auroc", "low", "high")
    }
    open_ = (grids["low"] <= 0.5) & (grids["high"] >= 0.5)
    axis = axes[0, 0]
    heat_map(axis, grids["auroc"], colours=DIVERGING, norm=Normalize(0, 1), text="{:.2f}", size=8)
    for number, unsure in zip(axis.texts, open_[np.isfinite(grids["auroc"])], strict=True):
        if unsure:
            number.set_text(f"({number.get_text()})")
    axis.set_xticks(range(len(detectors)), [WORDS[d] for d in detectors])
    axis.set_title("AUROC, shifted against training distribution (½: not seen)")
    edge = len([d for d in detectors if d in ENERGIES]) - 0.5
    for x in (edge, edge + 1) if CONTROL in detectors else (edge,):
        axis.axvline(x, color="0.2", linewidth=1.5)
    row_names(axis, families)
    return figure


def plot_pathologies(table: DataFrame) -> Figure:
    """Inputs that the task does not mean; table: rows of `ood_detection.pathology`."""
    inputs = list(dict.fromkeys(table["input"]))
    figure, axes = canvas(1, 3, size=(3.7, 1.4 + 0.36 * len(inputs)), sharey=True)
    exists = table.drop_duplicates("input").set_index("input")["inverse"]
    for axis, (measure, title) in zip(axes[0], {"residual": "‖AŶ − I‖ / √n", "size": "‖Ŷ‖ / √n"}.items(), strict=False):
        for j, name in enumerate(("model", "least_squares", "mean")):
            rows = table[table["predictor"] == name].set_index("input").reindex(inputs)
            colour, marker, label = LOOKS[name]
            y = np.arange(len(inputs)) + 0.18 * (j - 1)
            axis.plot(rows[measure].clip(lower=1e-6), y, linestyle="", marker=marker, color=colour, label=label)
        axis.set_xscale("log")
        axis.set_title(title)
        axis.set_xlabel("median (log scale)")
    axes[0, 0].axvline(1.0, color="0.4", linestyle=":", linewidth=1.2)
    model = table[table["predictor"] == "model"].set_index("input").reindex(inputs)
    axes[0, 2].barh(range(len(inputs)), model["higher"], height=0.5, color=COLOURS["trained"])
    axes[0, 2].axvline(0.5, color="0.4", linestyle=":", linewidth=1.2)
    axes[0, 2].set_xlim(0, 1.02)
    axes[0, 2].set_title("Energy's place")
    axes[0, 2].set_xlabel("share of usual energies below")
    row_names(axes[0, 0], [name if exists[name] else f"{name} (no inverse)" for name in inputs])
    legend_below(figure, [axes[0, 0]], 3)
    return figure
