"""Figure of P7-01 to P7-03: the learning curves of one variant, all seeds beside each other."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from pandas import DataFrame

from ired.plotting.axes import level_note, reference_lines, value_axis
from ired.plotting.style import canvas

_SEEDS = ("#0173b2", "#de8f05", "#029e73", "#cc78bc", "#56b4e9", "#ca9161", "#949494", "#ece133", "#4d4d4d", "#fbafe4")


def plot_seed_learning_curves(
    curves: DataFrame, losses: DataFrame, references: Mapping[str, float] | None = None, title: str = ""
) -> Figure:
    """Learning curves of all seeds of one variant.

    curves: columns seed, step and those of `learning_curve.snapshot`; losses: seed, step, denoising,
    contrastive, weight_gradient (smoothed); references: predictor → MSE. What a table lacks is left
    out; either may be empty. A seed whose score ends no nearer to the noise at k = 0 than the best
    multiple of the state, which is blind to A, is crossed and named; one whose values stop being finite
    is crossed where they do.
    """
    seeds = sorted({seed for table in (curves, losses) if "seed" in table for seed in table["seed"]})
    colours = {seed: _SEEDS[i % len(_SEEDS)] for i, seed in enumerate(seeds)}
    contrast = "contrastive" in losses and losses["contrastive"].abs().max() > 0
    panels = [
        (losses, "denoising", "Denoising loss", "loss"),
        (losses, "contrastive", "Contrastive loss", "loss")
        if contrast
        else (curves, "residual", "Residual", "‖AŶ − I‖ / √n"),
        (losses, "weight_gradient", "Gradient by the weights", "norm"),
        (curves, "sampled_mse", "Sampled MSE", "MSE per entry of A⁻¹"),
        (curves, "energy", "Energy of noised answers", "E, mean over k"),
        (curves, "gradient_norm", "Size of the score there", "‖∇E‖, mean over k"),
        (curves, "energy_gap", "Gap to another answer", "ΔE, mean over k"),
        (curves, "score_error", "Score error, k = 0", "of the noise's square"),
    ]
    panels = [panel for panel in panels if panel[1] in panel[0] and panel[0][panel[1]].notna().any()]
    dead = _dead(curves)
    figure, axes = canvas(2, 4, (3.35, 2.75), title=title)
    for axis, (table, column, name, unit) in zip(axes.flat, panels, strict=False):
        shown = table[column].to_numpy(dtype=float)
        if column == "sampled_mse":
            shown = np.append(shown, list((references or {}).values()))
        if column == "score_error":
            shown = np.append(shown, 1.0)
        # A score that fades is to be seen as such, and one that does not is no drama.
        floor = value_axis(axis, shown, "y", 2.0 if column in ("energy", "gradient_norm") else 0.0)
        for seed, rows in table.groupby("seed"):
            x, y = rows["step"].to_numpy(), rows[column].to_numpy(dtype=float)
            good = np.isfinite(y)
            drawn = np.maximum(y, floor) if floor is not None else y
            axis.plot(x[good], drawn[good], color=colours[seed], linewidth=1.5)
            lost = not good.all()
            if good.any() and (lost or (seed in dead and table is curves)):
                last = np.flatnonzero(good)[-1]
                axis.plot(
                    x[last],
                    drawn[last],
                    "X",
                    color=colours[seed],
                    markersize=10,
                    markeredgecolor="0.1",
                    zorder=5,
                    clip_on=False,
                )
        axis.set_title(name)
        axis.set_xlabel("training step")
        axis.set_ylabel(unit)
        axis.locator_params("x", nbins=4)
        if column == "sampled_mse":
            reference_lines(axis, references or {}, across=True)
        if column == "energy_gap":
            axis.axhline(0, color="0.4", linewidth=1)
        if column == "score_error":
            axis.axhline(1, color="0.4", linewidth=1, linestyle=":")
            if "blind_error" in table:
                blind = table.groupby("step")["blind_error"].mean()
                axis.plot(blind.index, blind, color="0.4", linestyle="--", linewidth=1.2)
                level_note(axis, "blind to A", blind.iloc[-1], "0.3", "top")
            level_note(axis, "score of 0", 1.0, "0.3")
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    handles = [
        Line2D(
            [],
            [],
            color=colours[seed],
            marker="X" if seed in dead else "",
            markersize=8,
            markeredgecolor="0.1",
            label=f"seed {seed}" + ", blind or dead" * (seed in dead),
        )
        for seed in seeds
    ]
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 6))
    return figure


def _dead(curves: DataFrame) -> set[int]:
    """Seeds whose score ends no better than a predictor that never sees A, or than 0."""
    if "score_error" not in curves or curves.empty:
        return set()
    last = curves.sort_values("step").groupby("seed").last()
    blind = last.get("blind_error", 1.0)
    return set(last[~(last["score_error"] < blind)].index)
