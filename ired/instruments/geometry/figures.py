"""Figures of P4-01: laws of SPD geometry, and how far answers are from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from pandas import DataFrame

from ired.plotting.axes import plain_ticks, signed_log
from ired.plotting.plots import dots, legend_below
from ired.plotting.style import COLOURS, LABELS, MARKERS, canvas

# Tol's muted palette: none of them means anything else in this project.
METRICS = {
    "affine-invariant": "#332288",
    "log-Euclidean": "#44aa99",
    "Bures-Wasserstein": "#882255",
    "Euclidean": "#ddaa33",
}
SHAPES = dict(zip(METRICS, "os^D", strict=False))
WHO = {
    "trained": (COLOURS["trained"], "trained model"),
    "untrained": (COLOURS["untrained"], "untrained"),
    "algebraic": (COLOURS["algebraic"], "algebraic energy"),
    "affine": (COLOURS["affine"], LABELS["affine"]),
    "regression": (COLOURS["regression"], LABELS["regression"]),
    "noise": ("0.15", "truth + noise of equal size"),
}
DRAWN = [who for who in WHO if who != "algebraic"]


def spd_figures(
    steps: DataFrame,
    laws_table: Mapping[str, Sequence],
    spectra: DataFrame,
    mean_table: DataFrame,
    closeness_table: DataFrame,
    counts: Mapping[str, int],
) -> dict[str, tuple[Figure, str]]:
    """P4-01's figures by name, each with its caption; counts: how many "problems", "laws" (problems that
    these are checked on) and "draws" of noise."""
    return {
        "path": (
            plot_spd_steps(steps),
            f"Every step of sampling {counts['problems']} problems, read as an answer; means, 95 % intervals. "
            "Dashed: the truth with isotropic noise of the size of each trained state's error. The controls have "
            "their answer from the first step on. (Not drawn: the algebraic energy, see the table.)",
        ),
        "laws": (
            plot_laws(laws_table),
            f"Largest relative error over {counts['laws']} test problems; 0 stands at the left end. Hollow: must "
            "not hold under that metric.",
        ),
        "means": (
            plot_means(spectra, mean_table),
            "Karcher means: spectra (with log det of the mean minus mean log det, over n), and how far means of "
            "answers are from the inverse of the mean problem.",
        ),
        "closeness": (
            plot_closeness(closeness_table),
            f"Symmetric parts beside {counts['draws']} draws of noise of equal Frobenius norm each; 95 % intervals "
            "over problems. Ratios: where both are definite. (Not drawn: the algebraic energy, see the table.)",
        ),
    }


def plot_spd_steps(steps: DataFrame) -> Figure:
    """Distance from the cone, share of indefinite matrices and asymmetry over the steps of sampling.

    steps: `answer_errors.Walked.steps`.
    """
    steps = steps[steps["who"].isin(DRAWN)]
    shown = ["error", "distance", "indefinite"] + ["asymmetry"] * bool(steps["asymmetry"].max() > 1e-9)
    figure, axes = canvas(1, len(shown), (4.6, 4.2), title="How far every step of sampling is from SPD")
    titles = {
        "error": "Error",
        "distance": "To the nearest semidefinite matrix",
        "indefinite": "Problems with λ ≤ 0",
        "asymmetry": "Antisymmetric part",
    }
    labels = {
        "error": "‖M − A⁻¹‖ / ‖A⁻¹‖",
        "distance": "distance / ‖M‖",
        "indefinite": "share of problems",
        "asymmetry": "‖(M − Mᵀ)/2‖ / ‖M‖",
    }
    for axis, what in zip(axes[0], shown, strict=True):
        for who, rows in steps.groupby("who", sort=False):
            colour, label = WHO[who]
            x = np.arange(len(rows))
            style = "--" if who == "noise" else "-"
            axis.plot(x, rows[what], style, color=colour, label=label, linewidth=2)
            ends = rows[f"{what}_low"], rows[f"{what}_high"]
            axis.fill_between(x, *ends, color=colour, alpha=0.2, linewidth=0)
        _steps(axis, steps[steps["who"] == steps["who"].iloc[0]])
        axis.set(title=titles[what], ylabel=labels[what])
        if what == "error":
            axis.set_yscale("log")
        elif what == "distance":
            signed_log(axis, 1e-4)
            axis.set_ylim(bottom=0.0)
        else:
            axis.set_ylim(-0.03, max(1.05 * axis.get_ylim()[1], 0.1))
    legend_below(figure, [axes[0, 0]], 6, fontsize=11)
    return figure


def plot_laws(table: dict[str, list]) -> Figure:
    """A row a law, a panel a metric: worst relative error against its tolerance.

    table: `metric_laws.law_columns`.
    """
    rows = DataFrame(table)
    names = list(dict.fromkeys(rows["law"]))
    figure, axes = canvas(1, len(METRICS), (3.3, 0.27 * len(names) + 1.5), title="Laws of SPD geometry", sharey=True)
    place = rows["law"].map({name: y for y, name in enumerate(names)})
    shown = rows["error"].fillna(np.inf).clip(1e-17, 1e2)
    for axis, (metric, colour) in zip(axes[0], METRICS.items(), strict=True):
        of_metric = rows["metric"] == metric
        axis.vlines(
            rows["tolerance"][of_metric], place[of_metric] - 0.4, place[of_metric] + 0.4, color="0.35", linewidth=1.6
        )
        for holds, marker in ((True, "o"), (False, "X")):
            for expected, face in ((True, colour), (False, "white")):
                shown_here = of_metric & (rows["holds"] == holds) & (rows["expected"] == expected)
                if not shown_here.any():  # without points, what is not clipped has no extent
                    continue
                axis.plot(
                    shown[shown_here],
                    place[shown_here],
                    marker,
                    color=colour,
                    mfc=face,
                    mec=colour,
                    markersize=7,
                    clip_on=False,
                    zorder=4,
                )
        axis.set(xscale="log", xlim=(1e-17, 1e2), title=metric, xlabel="relative error")
        plain_ticks(axis, most=5)
        axis.tick_params(labelsize=10)
        axis.set_ylim(len(names) - 0.4, -0.6)
    axes[0, 0].set_yticks(range(len(names)), names, fontsize=10.5)
    handles = [
        Line2D([], [], linestyle="none", marker=marker, color="0.25", mfc=face, label=label, markersize=7)
        for marker, face, label in (
            ("o", "0.25", "holds"),
            ("o", "white", "does not hold, as it must not"),
            ("X", "0.25", "not as expected"),
        )
    ]
    handles.append(Line2D([], [], color="0.35", linewidth=1.6, label="tolerance"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=11)
    return figure


def plot_means(spectra: DataFrame, table: DataFrame) -> Figure:
    """Spectra of Karcher means under each metric, a panel per group of matrices, and how means invert.

    spectra, table: `answer_errors.karcher_means`.
    """
    groups = list(dict.fromkeys(spectra["group"]))
    titles = {"problems": "Problems A", "answers": "Answers A⁻¹", "sampled": "Sampled answers"}
    figure, axes = canvas(1, len(groups) + 1, (4.1, 4.6), title="Karcher means of matrices")
    for axis, group in zip(axes[0], groups, strict=False):
        for metric, colour in METRICS.items():
            spectrum = spectra[(spectra["group"] == group) & (spectra["metric"] == metric)]
            swelling = table[(table["group"] == group) & (table["metric"] == metric)]["swelling"].iloc[0]
            behind = metric == "affine-invariant"  # so close to log-Euclidean that it would be hidden
            axis.plot(
                spectrum["rank"] + 1,
                spectrum["eigenvalue"],
                marker=SHAPES[metric],
                color=colour,
                label=f"{metric}  {swelling + 0:+.2f}".replace("-0.00", "+0.00"),
                markerfacecolor="none" if behind else colour,
                markersize=10 if behind else 6,
            )
        axis.set(yscale="log", title=titles[group], xlabel="rank of the eigenvalue")
        count = int(spectra["rank"].max()) + 1
        axis.set_xticks(range(1, count + 1, max(1, count // 6)))
        axis.legend(title="metric, swelling per dimension", loc="upper left")
        low, high = axis.get_ylim()
        high *= (high / low) ** 0.8  # room for the legend
        axis.set_ylim(low, high)
        plain_ticks(axis, "y", most=8)
    axes[0, 0].set_ylabel("eigenvalue of the mean")
    axis = axes[0, -1]
    y = np.arange(len(METRICS))
    kinds = (("answers", "o", "means of A⁻¹", "full"), ("sampled", "D", "means of sampled answers", "none"))
    kinds = [kind for kind in kinds if kind[0] in groups]
    for group, marker, _label, filled in kinds:
        rows = table[table["group"] == group].set_index("metric").reindex(list(METRICS))
        axis.scatter(
            rows["inversion"].clip(lower=1e-16),
            y,
            marker=marker,
            s=70,
            zorder=4,
            edgecolors=list(METRICS.values()),
            linewidths=1.8,
            facecolors="none" if filled == "none" else list(METRICS.values()),
        )
    rows = table[table["group"] == "answers"].set_index("metric").loc[list(METRICS)]
    axis.plot(rows["halves"], y, "|", color="0.35", markersize=16, markeredgewidth=2)
    axis.set(
        xscale="log",
        xlim=(1e-16, 1e2),
        ylim=(len(y) - 0.5, -1.9),
        title="Against the mean A, inverted",
        xlabel="affine-invariant distance",
    )
    axis.set_yticks(y, [name.replace("-", "-\n") for name in METRICS], fontsize=10)
    plain_ticks(axis, most=5)
    axis.grid(False, axis="y")
    handles = [
        Line2D([], [], linestyle="none", marker=marker, color="0.25", markersize=8, fillstyle=filled, label=label)
        for _, marker, label, filled in kinds
    ]
    handles.append(
        Line2D(
            [],
            [],
            linestyle="none",
            marker="|",
            color="0.35",
            markersize=12,
            markeredgewidth=2,
            label="halves of all A⁻¹ apart",
        )
    )
    axis.legend(handles=handles, loc="upper left", bbox_to_anchor=(0.0, 1.0))
    return figure


def plot_closeness(table: DataFrame) -> Figure:
    """Distances to the truth over those of matched noise, how often they are smaller, and definiteness.

    table: `answer_errors.Examined.closeness`.
    """
    table = table[table["who"].isin(DRAWN)]
    figure, axes = canvas(1, 3, (4.6, 4.4), title="Errors beside noise of equal size")
    makers, y = list(dict.fromkeys(table["who"])), np.arange(len(METRICS))
    for axis, what, nothing, title, label in (
        (axes[0, 0], "ratio", 1.0, "Distance to the truth", "times that of noise (geometric mean)"),
        (axes[0, 1], "nearer", 0.5, "Nearer than noise", "share of pairs (indefinite: loses)"),
    ):
        axis.axvline(nothing, color="0.35", linewidth=1.2)
        for i, who in enumerate(makers):
            rows = table[table["who"] == who].set_index("metric").loc[list(METRICS)]
            at, (colour, name) = y + 0.19 * (i - (len(makers) - 1) / 2), WHO[who]
            dots(axis, rows, at, what, colour, MARKERS.get(who, "D"), label=name, size=7, width=2.4)
        axis.set(title=title, xlabel=label, ylim=(len(y) - 0.5, -0.5))
        axis.grid(False, axis="y")
    known = table.groupby("metric")["ratio"].count().reindex(list(METRICS))
    for place in np.flatnonzero(known == 0):
        axes[0, 0].text(
            0.97,
            place,
            "too few that are positive definite",
            ha="right",
            va="center",
            color="0.35",
            fontsize=10,
            transform=axes[0, 0].get_yaxis_transform(),
        )
    axes[0, 0].set_yticks(y, [name.replace("-", "-\n") for name in METRICS], fontsize=11)
    axes[0, 1].set_yticks([])
    axes[0, 1].set_xlim(-0.03, 1.03)
    axis = axes[0, 0]
    low, high = axis.get_xlim()
    low, high = 0.8 * min(low, 0.8), 1.2 * max(high, 1.2)
    axis.set(xscale="log", xlim=(low, high))
    plain_ticks(axis)

    axis, rows = axes[0, 2], table[table["metric"] == "affine-invariant"].set_index("who")
    for i, who in enumerate(makers):
        colour, name = WHO[who]
        definite, noise = 1 - rows.loc[who, "answers_without"], 1 - rows.loc[who, "noise_without"]
        axis.plot([definite, noise], [i, i], color=colour, linewidth=1.5, zorder=1)
        axis.plot(
            noise,
            i,
            "o",
            mfc="white",
            mec="0.15",
            mew=1.6,
            markersize=9,
            clip_on=False,
            label="noise of the same size" if i == 0 else None,
        )
        axis.plot(definite, i, MARKERS.get(who, "D"), color=colour, markersize=8, clip_on=False)
    axis.set(title="Positive definite", xlabel="share", xlim=(0, 1), ylim=(len(makers) - 0.5, -0.5))
    axis.set_yticks(range(len(makers)), [WHO[who][1].replace(" ", "\n") for who in makers], fontsize=11)
    axis.grid(False, axis="y")
    legend_below(figure, [axes[0, 0], axis], 5, fontsize=11)
    return figure


def _steps(axis, rows: DataFrame) -> None:
    """The x axis of a sampling path: landscapes, with a faint line where each begins."""
    first = [i for i, stage in enumerate(rows["stage"]) if stage == "denoise"]
    ks = rows["landscape"].to_numpy()[first]
    for i in first:
        axis.axvline(i - 0.5, color="0.88", linewidth=0.8, zorder=0)
    axis.set_xticks([i + 2.5 for i in first], ks)
    axis.grid(False, axis="x")
    axis.set_xlabel("step, by landscape k (each: denoise, then descend)")
