"""Figures of the set-up phase: problems, reference predictors, training."""

from __future__ import annotations

from matplotlib.figure import Figure
from pandas import DataFrame

from ired.plotting.style import COLOURS, LABELS, canvas


def plot_problem_properties(table: DataFrame) -> Figure:
    """Distributions of problem properties.

    table: one row a problem, columns family, condition_number, smallest_eigenvalue, norm,
    log_determinant, inverse_peak.
    """
    import seaborn

    panels = {
        "condition_number": ("condition number κ(A)", True),
        "smallest_eigenvalue": ("smallest eigenvalue of A", True),
        "norm": ("Frobenius norm of A", False),
        "log_determinant": ("log det A", False),
        "inverse_peak": ("largest |entry| of A⁻¹", True),
    }
    figure, axes = canvas(2, 3, title="What the problems are like, by family")
    for axis, (column, (label, logarithmic)) in zip(axes.flat, panels.items(), strict=False):
        seaborn.ecdfplot(table, x=column, hue="family", log_scale=logarithmic, ax=axis, palette="colorblind")
        axis.set(xlabel=label, ylabel="share of problems")
        legend = axis.get_legend()
        handles, names = legend.legend_handles, [text.get_text() for text in legend.get_texts()]
        legend.remove()
    axes[1, 2].set_axis_off()
    axes[1, 2].legend(handles, names, loc="center", title="family", fontsize=11)
    return figure


def plot_predictors(table: DataFrame) -> Figure:
    """Error of the reference predictors per family.

    table: columns family, predictor, mse, low, high.
    """
    families = list(table["family"].unique())
    names = list(table["predictor"].unique())
    figure, axes = canvas(1, 1, (9, 4), title="What a model has to beat")
    axis = axes[0, 0]
    width = 0.8 / len(names)
    for i, name in enumerate(names):
        rows = table[table["predictor"] == name].set_index("family").loc[families]
        x = [j + (i - (len(names) - 1) / 2) * width for j in range(len(families))]
        error = [rows["mse"] - rows["low"], rows["high"] - rows["mse"]]
        axis.bar(x, rows["mse"], width, yerr=error, label=LABELS.get(name, name), color=COLOURS[name])
    axis.set_yscale("log")
    axis.set_xticks(range(len(families)), families)
    axis.set(ylabel="mean squared error per entry", xlabel="family of problems")
    axis.legend(ncols=2)
    return figure


def plot_learning_curves(curves: DataFrame, losses: DataFrame, references: dict[str, float]) -> Figure:
    """Learning curves.

    curves: columns step, sampled_mse, residual, energy, gradient_norm, energy_gap, score_error,
    blind_error; losses: step, denoising, contrastive (smoothed); references: predictor → MSE.
    """
    figure, axes = canvas(2, 3, title="Learning curves (averaged weights, validation problems)")
    axis = axes[0, 0]
    axis.plot(losses["step"], losses["denoising"], color=COLOURS["trained"], label="denoising")
    if losses["contrastive"].abs().max() > 0:
        axis.plot(losses["step"], losses["contrastive"], color=COLOURS["path"], label="contrastive")
        axis.legend()
    axis.set(title="training loss", yscale="log", ylabel="loss")
    axis = axes[0, 1]
    axis.plot(curves["step"], curves["sampled_mse"], color=COLOURS["trained"], marker="o")
    for name, value in references.items():
        axis.axhline(value, color=COLOURS[name], linestyle="--")
        axis.annotate(
            LABELS.get(name, name),
            (1, value),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="bottom",
            fontsize=8,
            color=COLOURS[name],
        )
    axis.set(title="sampled MSE", yscale="log", ylabel="MSE per entry of A⁻¹")
    axis = axes[0, 2]
    axis.plot(curves["step"], curves["residual"], color=COLOURS["trained"], marker="o")
    axis.set(title="residual ‖AŶ − I‖ / √n", yscale="log", ylabel="root mean square per row")
    axis = axes[1, 0]
    axis.plot(curves["step"], curves["energy"], color=COLOURS["trained"], marker="o", label="E")
    axis.plot(curves["step"], curves["gradient_norm"], color=COLOURS["path"], marker="s", label="‖∇E‖")
    axis.set(title="energy and score of real samples", yscale="log", ylabel="mean over landscapes")
    axis.legend()
    axis = axes[1, 1]
    axis.plot(curves["step"], curves["energy_gap"], color=COLOURS["trained"], marker="o")
    axis.axhline(0, color="0.5", linewidth=1)
    axis.set(title="energy gap to another problem's answer", ylabel="ΔE, mean over landscapes")
    axis = axes[1, 2]
    axis.plot(curves["step"], curves["score_error"], color=COLOURS["trained"], label="score")
    axis.plot(curves["step"], curves["blind_error"], "--", color="0.4", label="blind to A")
    axis.set(title="score error at k = 0", yscale="log", ylabel="MSE to the noise")
    axis.legend()
    for axis in axes.flat:
        axis.set_xlabel("training step")
    return figure


def plot_accuracy(ladder: DataFrame, references: DataFrame) -> Figure:
    """Sampled error against the number of optimisation steps, on both distributions.

    ladder: columns family, steps, mse, low, high; references: family, predictor, mse.
    """
    families = list(ladder["family"].unique())
    figure, axes = canvas(1, len(families), (5, 3.8), title="Accuracy beside reference predictors")
    for axis, family in zip(axes[0], families, strict=True):
        rows = ladder[ladder["family"] == family]
        error = [rows["mse"] - rows["low"], rows["high"] - rows["mse"]]
        axis.errorbar(
            rows["steps"],
            rows["mse"],
            yerr=error,
            color=COLOURS["trained"],
            marker="o",
            capsize=3,
            label="sampled",
        )
        for _, row in references[references["family"] == family].iterrows():
            axis.axhline(row["mse"], color=COLOURS[row["predictor"]], linestyle="--")
            axis.annotate(
                LABELS.get(row["predictor"], row["predictor"]),
                (1, row["mse"]),
                xycoords=("axes fraction", "data"),
                ha="right",
                va="bottom",
                fontsize=8,
                color=COLOURS[row["predictor"]],
            )
        axis.set(title=family, yscale="log", xlabel="optimisation steps", ylabel="MSE per entry of A⁻¹")
    return figure
