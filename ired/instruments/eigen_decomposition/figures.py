"""Figures of P4-03: eigenvalues and eigenvectors, where each is wrong."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from pandas import DataFrame

from ired.instruments.eigen_decomposition.study import Finals
from ired.plotting.axes import landscape_axis, named_ticks
from ired.plotting.plots import heat_map
from ired.plotting.style import COLOURS, DIVERGING, LABELS, MARKERS, canvas

EIGENVALUE, EIGENVECTOR = "#999933", "#661100"  # Tol's muted palette: no energy has these colours
WHO = {**COLOURS, "blind": COLOURS["least_squares_squared"]}
NAMES = {**LABELS, "blind": "A-blind", "mean": "mean answer"}
PARTS = {
    "eigenvalue": ("eigenvalue part", EIGENVALUE, "-"),
    "eigenvector": ("eigenvector part", EIGENVECTOR, "--"),
    "spectrum": ("eigenvalues / mean spectrum", EIGENVALUE, "-"),
    "directions": ("eigenvectors / random ones", EIGENVECTOR, "--"),
}
RANK = "rank of Y's eigenvalue  (1: smallest)"


def eigen_figures(
    curves: DataFrame, landscapes: DataFrame, ends: Finals, level: float, counts: Mapping[str, int]
) -> dict[str, tuple[Figure, str]]:
    """P4-03's figures by name, each with its caption.

    curves, landscapes: of `study.walk_curves` and `study.score_parts`; ends: the final answers; level: the share of
    isotropic noise; counts: how many "problems", "controls" (problems, too) and "draws" of noise.
    """
    problems, controls, draws = (counts[name] for name in ("problems", "controls", "draws"))
    return {
        "steps": (
            plot_over_steps(curves, level),
            f"{problems} problems (controls, ∇E: {controls}), 95 % intervals. An answer that has not seen A is a "
            "multiple of I and errs in eigenvalues only, least squares too. (∇E of affine denoiser and regression "
            "network, not drawn: in the table.)",
        ),
        "landscapes": (
            plot_over_landscapes(landscapes, level),
            f"{controls} problems, {draws} noised answers each, 95 % intervals. Affine denoiser and regression network "
            "as energies: a bowl around their answer.",
        ),
        "ranks": (
            plot_ranks(ends.profiles, ends.ranks),
            "Above: mean share of the squared error in each entry of UᵀDU, by isotropic noise's (affine denoiser: not "
            "drawn, lies on the diagonal). Below: 95 % intervals over problems.",
        ),
        "condition": (
            plot_condition(ends.strata, level),
            "Quarters of problems; ρ: Spearman's.",
        ),
    }


def plot_over_steps(curves: DataFrame, isotropic: float) -> Figure:
    """curves: columns who, step, landscape, measure, mean, low, high; isotropic: level of shares."""
    figure, axes = canvas(2, 2, (5.6, 3.6), title="Eigenvalues and eigenvectors on the way")
    drawn = curves[curves["step"] > 0]  # the start is noise, read 204-fold
    share, parts, swaps, aim = axes.flat
    for who in ("untrained", "affine", "regression", "trained"):
        _line(share, _of(drawn, who, "share"), COLOURS[who], NAMES.get(who, who))
    _line(share, _of(drawn, "trained", "random"), "0.25", "trained error, random eigenbases", style=":")
    share.axhline(isotropic, color="0.4", linewidth=1.2, linestyle="--", label="isotropic noise")
    share.set(title="Share of eigenvalues in the error", ylabel="eigenvalue share", ylim=(0, 1.02))
    _legend(share)
    for axis, measures in ((parts, ("eigenvalue", "eigenvector")), (swaps, ("spectrum", "directions"))):
        for measure in measures:
            label, colour, style = PARTS[measure]
            _line(axis, _of(drawn, "trained", measure), colour, label, style=style)
        axis.set_yscale("log")
        _legend(axis)
    parts.set(title="Error of each part", ylabel="squared error per dimension")
    swaps.axhline(1, color="0.4", linewidth=1)
    swaps.axhline(0.5, color="0.4", linewidth=1, linestyle=":")
    swaps.set(title="One half true: errors of any size", ylabel="error / knowing nothing")
    for who, dim in (("trained", 1.0), ("untrained", 0.45)):
        for part in ("eigenvalue", "eigenvector"):
            label, colour, style = PARTS[part]
            rows = _of(drawn, f"gradient {who}", f"cosine_{part}")
            # The untrained network's gradient is a control: paler, without a band.
            _line(aim, rows, colour, label if who == "trained" else f"{label}, untrained", style, dim)
    aim.axhline(0, color="0.4", linewidth=1)
    aim.set(title="∇E at trained states", ylabel="cosine to the displacement", ylim=(-1.05, 1.05))
    _legend(aim)
    for axis in axes.flat:
        _steps(axis, drawn)
    figure.get_layout_engine().set(wspace=0.06)
    return figure


def plot_over_landscapes(table: DataFrame, isotropic: float) -> Figure:
    """table: columns energy, quantity, landscape, measure, mean, low, high."""
    figure, axes = canvas(1, 3, (4.8, 3.9), title="Eigenvalues and eigenvectors in the score")
    count = int(table["landscape"].max()) + 1
    for axis, quantity, who in (
        (axes[0, 0], "gradient", ("trained", "untrained", "ideal", "algebraic", "affine", "regression")),
        (axes[0, 1], "score error", ("trained", "untrained", "blind", "affine", "regression")),
    ):
        of_quantity = table[table["quantity"] == quantity]
        for name in who[::-1]:  # the trained one on top
            rows = of_quantity[(of_quantity["energy"] == name) & (of_quantity["measure"] == "share")]
            _line(axis, rows, WHO[name], NAMES.get(name, name), x="landscape", marker=MARKERS.get(name, "x"))
        axis.axhline(isotropic, color="0.4", linewidth=1.2, linestyle="--", label="isotropic noise")
        title = "∇E itself" if quantity == "gradient" else "What is wrong with it, ∇E − ε"
        axis.set(title=title, ylabel="eigenvalue share", ylim=(0, 1.02))
    axis = axes[0, 2]
    of_quantity = table[table["quantity"] == "estimate"]
    for name, dim in (("trained", 1.0), ("affine", 0.5), ("regression", 0.5)):
        for part in ("eigenvalue", "eigenvector"):
            label, colour, style = PARTS[part]
            rows = of_quantity[(of_quantity["energy"] == name) & (of_quantity["measure"] == part)]
            named = label if name == "trained" else "_"  # one legend for parts, one for whose they are
            _line(axis, rows, colour, named, style, dim, x="landscape", marker=MARKERS[name])
        axis.plot([], [], MARKERS[name], color="0.35", alpha=dim, label=NAMES.get(name, name))
    axis.set_yscale("log")
    axis.set(title="What is wrong with the clean estimate", ylabel="squared error per dimension")
    for axis in axes.flat:
        landscape_axis(axis, count)
        handles, labels = axis.get_legend_handles_labels()
        if axis is not axes[0, 2]:  # drawn last, named first
            handles, labels = ([*each[-2::-1], each[-1]] for each in (handles, labels))
        _legend(axis, handles, labels)
    return figure


def plot_ranks(profiles: Mapping[str, np.ndarray], table: DataFrame) -> Figure:
    """profiles: (n, n) shares of the squared error by who; table: columns who, rank, measure, mean,
    low, high, chance."""
    figure, axes = canvas(2, 2, (5.0, 3.9), title="Which eigenvalue, which eigenvector")
    n = len(next(iter(profiles.values())))
    # A symmetric matrix: isotropic noise has 1 on the diagonal, 1/2 in each of two mirrored entries.
    level = (1 + np.eye(n)) / (n * (n + 1))
    grids = {who: np.asarray(profiles[who]) / level for who in ("trained", "regression")}
    bound = min(100.0, max(max(float(g.max()), 1 / max(float(g.min()), 1e-3)) for g in grids.values()))
    for axis, (who, grid) in zip(axes[0], grids.items(), strict=True):
        image = heat_map(
            axis,
            grid.clip(1e-6),
            DIVERGING,
            LogNorm(1 / bound, bound),
            (lambda v: f"{v:.2g}" if v >= 0.01 else "0") if n <= 8 else None,
            origin="lower",
            aspect="equal",
        )
        axis.set(title=f"Squared error, {NAMES.get(who, who)}", xlabel=RANK, ylabel=RANK.split("  ")[0])
        _rank_ticks(axis.set_xticks, n)
        _rank_ticks(axis.set_yticks, n)
    figure.colorbar(image, ax=axes[0], label="relative to isotropic noise", shrink=0.8, extend="both")
    for axis, measure, label in ((axes[1, 0], "size", "mean |λ̂ − λ| / λ"), (axes[1, 1], "alignment", "mean |u · û|²")):
        for who in ("untrained", "affine", "regression", "trained"):
            rows = table[(table["who"] == who) & (table["measure"] == measure)]
            _line(axis, rows, WHO[who], NAMES.get(who, who), x="rank", marker=MARKERS.get(who, "v"))
        if measure == "alignment":
            rows = table[(table["who"] == "trained") & (table["measure"] == "matched")]
            _line(axis, rows, COLOURS["trained"], "trained, best assignment", "--", 0.6, x="rank")
            axis.plot(
                rows["rank"],
                rows["chance"],
                ":",
                color=COLOURS["trained"],
                linewidth=1.4,
                label="best assignment, chance",
            )
            of_measure = table[(table["who"] == "trained") & (table["measure"] == measure)]
            axis.plot(of_measure["rank"], of_measure["chance"], ":", color="0.25", linewidth=1.4, label="chance")
        _rank_ticks(axis.set_xticks, n)
        axis.set(ylabel=label, xlabel=RANK)
        _legend(axis)
    axes[1, 0].set_yscale("log")
    axes[1, 0].set_title("Error of each eigenvalue")
    axes[1, 1].set(title="Alignment of each eigenvector", ylim=(0, 1.05))
    return figure


def plot_condition(strata: DataFrame, isotropic: float) -> Figure:
    """strata: columns who, measure, condition, mean, low, high, rho, rho_low, rho_high."""
    figure, axes = canvas(1, 3, (4.6, 3.9), title="Against the condition number")
    for axis, measure, label, level in (
        (axes[0, 0], "share", "eigenvalue share of the error", isotropic),
        (axes[0, 1], "touching", "share in the row and column\nof Y's largest eigenvalue", isotropic),
        (axes[0, 2], "mse", "squared error per entry", None),
    ):
        for who in ("untrained", "affine", "regression", "trained"):
            rows = strata[(strata["who"] == who) & (strata["measure"] == measure)]
            if not len(rows):
                continue
            row = rows.iloc[0]
            rho = "ρ = {:.2f} [{:.2f}, {:.2f}]".format(*row[["rho", "rho_low", "rho_high"]])
            named = f"{NAMES.get(who, who)}: {rho}".replace("-", "−")
            _line(axis, rows, WHO[who], named, x="condition", marker=MARKERS.get(who, "v"))
        axis.set_xscale("log")
        named_ticks(axis, "x", [float(f"{tick:.2g}") for tick in np.geomspace(*axis.dataLim.intervalx, 5)])
        axis.set(xlabel="condition number of A", ylabel=label)
        if level is None:
            axis.set_yscale("log")
        else:
            axis.axhline(level, color="0.4", linewidth=1.2, linestyle="--", label="isotropic noise")
            axis.set_ylim(0, 1.02)
        _legend(axis, ncols=1)
    axes[0, 0].set_title("Eigenvalues or eigenvectors")
    axes[0, 1].set_title("A's smallest eigenvalue")
    axes[0, 2].set_title("All of the error")
    return figure


def _of(curves: DataFrame, who: str, measure: str) -> DataFrame:
    return curves[(curves["who"] == who) & (curves["measure"] == measure)]


def _line(
    axis: Axes,
    rows: DataFrame,
    colour: str,
    label: str,
    style: str = "-",
    dim: float = 1.0,
    x: str = "step",
    marker: str = "",
) -> None:
    axis.plot(rows[x], rows["mean"], style, color=colour, label=label, alpha=dim, marker=marker)
    low = rows["low"].clip(lower=1e-3 * rows["mean"].abs()) if (rows["mean"] > 0).all() else rows["low"]
    axis.fill_between(rows[x], low, rows["high"], color=colour, alpha=0.2 * dim, linewidth=0)


def _steps(axis: Axes, curves: DataFrame) -> None:
    """Landscapes under the steps: a tick where each begins, at its denoised estimate."""
    steps = curves.drop_duplicates("step").sort_values("step")
    begin = steps[steps["landscape"].diff().fillna(-1) != 0]
    axis.set_xticks(begin["step"], begin["landscape"].astype(int))
    axis.set_xlabel("landscape k, denoised once and then descended  →")
    axis.set_xlim(steps["step"].min(), steps["step"].max())


def _rank_ticks(setter, n: int) -> None:
    shown = np.unique(np.linspace(0, n - 1, min(n, 7)).round().astype(int))
    setter(shown, [str(rank + 1) for rank in shown])


def _legend(axis: Axes, *entries, ncols: int = 2) -> None:
    axis.legend(*entries, loc="upper center", ncols=ncols, bbox_to_anchor=(0.5, -0.2), fontsize=9)
