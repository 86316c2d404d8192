"""Figures of P6-02: whether influences hold, which matrices help and hurt, what their removal does."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from pandas import DataFrame

from ired.instruments.influence.gradients import METHODS
from ired.instruments.influence.outcomes import OUTCOMES
from ired.instruments.influence.removal import ARMS
from ired.plotting.axes import plain_ticks
from ired.plotting.plots import dots, heat_map, legend_below, matrix
from ired.plotting.style import COLOURS, DIVERGING, canvas, centred_norm

NAMES = {
    "gauss_newton": "Gauss–Newton",
    "fisher": "empirical Fisher",
    "tracin": "TracIn",
    "product": "gradient product",
    "cosine": "gradient cosine",
}
SHADES = {
    "gauss_newton": COLOURS["trained"],
    "fisher": COLOURS["algebraic"],
    "tracin": COLOURS["ideal"],
    "product": COLOURS["least_squares_squared"],
    "cosine": COLOURS["least_squares"],
}
MARKS = dict(zip(METHODS, "osD^v", strict=True))
TITLES = {
    "score_error": "Score error",
    "energy_gap": "Energy gap to a wrong answer",
    "sampled_error": "Sampled error",
}
SHOWN = 3  # matrices of each sort beside a test problem


def influence_figures(
    tables: dict[str, DataFrame],
    A: np.ndarray,
    helps: np.ndarray,
    kappa: list[np.ndarray],
    cosines: np.ndarray,
) -> list[tuple[str, Figure, str]]:
    """Name, figure and caption of each. A (N + T, n, n); helps (T, N); kappa: condition numbers of
    training and test problems, then of fresh and test problems of the project's own model, cosines
    (T, N')."""
    T, N = helps.shape
    return [
        (
            "validation",
            plot_validation(tables["lds"], tables["sweep"]),
            f"{T} test problems, networks "
            f"trained on random halves of {N}; 95 % intervals over test problems and halves, dampings "
            "judged where they were not chosen. Hollow: networks from other first weights. Dashed: what "
            "retrainings of the same half agree on. Below: all halves.",
        ),
        (
            "matrices",
            plot_influential_matrices(A[N:], A[:N], helps, (kappa[1], kappa[0])),
            "Gauss–Newton influence on "
            "the score error; numbers: help over the largest |help| for this test problem. κ: condition "
            "number.",
        ),
        (
            "properties",
            plot_helpful_properties(helps, kappa[0], tables["matter"]),
            "Help: Gauss–Newton influence "
            "that lowers the score error. 95 % intervals; filled: q < 0.05 (Benjamini–Hochberg).",
        ),
        (
            "removal",
            plot_removal(tables["removed"], tables["removal"]),
            "Retrained without a share of the "
            f"training problems; 95 % intervals over {T} test problems, means over seeds.",
        ),
        (
            "pulls",
            plot_pulls(cosines, kappa[2], kappa[3]),
            "SETUP-3's network: gradients of its score "
            f"error by all its weights, {cosines.shape[1]} fresh and {cosines.shape[0]} test problems.",
        ),
    ]


def plot_validation(table: DataFrame, sweep: DataFrame) -> Figure:
    """Above: LDS by method with intervals beside the ceiling; below: against the damping.

    table: columns outcome, method, lds, low, high, ceiling, other_weights; sweep: outcome, method,
    damping, lds.
    """
    figure, axes = canvas(
        2, len(OUTCOMES), (4.1, 3.0), sharex="row", sharey="row", title="Do influences predict what retraining does?"
    )
    for outcome, above, below in zip(OUTCOMES, *axes, strict=True):
        by_method = table[table["outcome"] == outcome].set_index("method").loc[list(METHODS)]
        places = np.arange(len(METHODS))[::-1]
        for place, method in zip(places, by_method.index, strict=True):
            dots(
                above,
                by_method.loc[[method]],
                place,
                value="lds",
                colour=SHADES[method],
                marker=MARKS[method],
                size=7,
                width=2.4,
            )
            above.plot(
                by_method.loc[method, "other_weights"],
                place,
                MARKS[method],
                color=SHADES[method],
                markersize=7,
                fillstyle="none",
            )
        ceiling = by_method["ceiling"].iloc[0]
        above.axvline(0, color="0.4", linewidth=1)
        above.axvline(ceiling, color="0.25", linestyle="--", linewidth=1.4)
        above.text(ceiling, len(METHODS) - 0.35, "ceiling ", ha="right", va="center", fontsize=9)
        above.set_yticks(places, [NAMES[m] for m in METHODS])
        above.set(title=TITLES[outcome], xlabel="linear datamodeling score", ylim=(-0.6, len(METHODS)))
        by_damping = sweep[sweep["outcome"] == outcome]
        for method in METHODS:
            line = by_damping[by_damping["method"] == method].sort_values("damping")
            if len(line) > 1:
                below.plot(
                    line["damping"],
                    line["lds"],
                    MARKS[method],
                    linestyle="-",
                    color=SHADES[method],
                    label=NAMES[method],
                )
            else:
                below.axhline(
                    line["lds"].iloc[0], color=SHADES[method], linestyle=":", linewidth=1.8, label=NAMES[method]
                )
        below.set(xscale="log", xlabel="damping / largest eigenvalue")
        below.minorticks_off()
        below.axhline(0, color="0.4", linewidth=1)
    axes[1, 0].set_ylabel("linear datamodeling score")
    legend_below(figure, [axes[1, 0]], len(METHODS))
    return figure


def plot_influential_matrices(
    test: np.ndarray, train: np.ndarray, helps: np.ndarray, kappa: tuple[np.ndarray, np.ndarray]
) -> Figure:
    """A row each test problem: the test A, the training A that help it most, those that hurt most.

    test (T, n, n), train (N, n, n), helps (T, N); kappa: condition numbers (T,), (N,). Rows are the
    test problems of smallest, middle and largest condition number.
    """
    order = np.argsort(kappa[0])
    rows = [order[0], order[len(order) // 2], order[-1]]
    columns = 1 + 2 * SHOWN
    figure, axes = canvas(len(rows), columns, (1.55, 1.85), title="Which matrices help, which hurt")
    norm = centred_norm(np.concatenate((test[rows].ravel(), train.ravel())))
    for line, t in zip(axes, rows, strict=True):
        ranked = np.argsort(-helps[t])
        chosen = [*ranked[:SHOWN], *ranked[::-1][:SHOWN]]
        pictures = [(test[t], f"κ = {kappa[0][t]:.3g}")]
        scale = np.abs(helps[t]).max()
        pictures += [(train[i], f"κ = {kappa[1][i]:.3g}\n{helps[t, i] / scale:+.2f}") for i in chosen]
        for axis, (A, words) in zip(line, pictures, strict=True):
            image = matrix(axis, A, DIVERGING, norm)
            axis.set_xlabel(words, fontsize=9)
            axis.spines[:].set_visible(False)
    axes[0, 0].set_title("test problem", fontsize=10)
    for j in range(SHOWN):
        axes[0, 1 + j].set_title(f"helps {j + 1}", fontsize=10, color=COLOURS["trained"])
        axes[0, 1 + SHOWN + j].set_title(f"hurts {j + 1}", fontsize=10, color=COLOURS["least_squares"])
    figure.colorbar(image, ax=axes, label="entry of A", pad=0.01, shrink=0.7)
    return figure


def plot_helpful_properties(helps: np.ndarray, kappa: np.ndarray, rows: DataFrame) -> Figure:
    """Left: mean help of each training problem against its condition number. Right: rank
    correlations of help and of its size with properties; filled where q < 0.05.

    rows: columns measure, trait, rho, low, high, p_adjusted.
    """
    figure, (axes,) = canvas(1, 2, (5.4, 4.4), width_ratios=(1.1, 1), title="What helpful problems have in common")
    mean, spread = helps.mean(0), helps.std(0)
    unit = np.abs(helps).mean()
    axes[0].scatter(
        kappa, mean / unit, s=10 + 12 * spread / spread.mean(), color=COLOURS["trained"], alpha=0.5, linewidth=0
    )
    axes[0].axhline(0, color="0.4", linewidth=1)
    axes[0].set(
        xscale="log",
        xlabel="condition number of the training problem",
        ylabel="mean help / mean |help|",
        title="Size: spread over test problems",
    )
    plain_ticks(axes[0], most=8)
    traits = list(dict.fromkeys(rows["trait"]))
    looks = {"help": (COLOURS["trained"], "o", 0.14), "weight": (COLOURS["least_squares"], "s", -0.14)}
    words = {"help": "with help", "weight": "with |help|"}
    for measure, (colour, mark, shift) in looks.items():
        part = rows[rows["measure"] == measure].set_index("trait").loc[traits[::-1]]
        dots(
            axes[1],
            part,
            np.arange(len(part)) + shift,
            value="rho",
            colour=colour,
            marker=mark,
            filled=part["p_adjusted"] < 0.05,
            label=words[measure],
        )
    axes[1].axvline(0, color="0.4", linewidth=1)
    axes[1].set_yticks(range(len(traits)), [t.replace("_", " ") for t in traits[::-1]])
    axes[1].set(xlabel="rank correlation", title="With properties")
    figure.legend(*axes[1].get_legend_handles_labels(), loc="outside lower right", ncols=2)
    return figure


def plot_removal(problems: DataFrame, arms: DataFrame) -> Figure:
    """Left: each test problem without its top problems, beside random ones. Right: every arm's mean.

    problems: columns by arm; arms: arm, mean, low, high. In percent of the mean outcome.
    """
    figure, (axes,) = canvas(1, 2, (4.6, 3.7), title="What becomes of the score error without them")
    both = 100 * problems[["random", ARMS[0]]].to_numpy()
    low, high = min(both.min(), 0), max(both.max(), 0)
    room = 0.06 * (high - low)
    axes[0].plot([low - room, high + room], [low - room, high + room], color="0.5", linestyle="--", label="equal")
    axes[0].plot(both[:, 0], both[:, 1], "o", color=COLOURS["trained"], alpha=0.75)
    axes[0].legend(loc="upper left")
    axes[0].set(
        xlabel="rise without random problems, %",
        ylabel="rise without the most helpful, %",
        title="Each test problem",
        ylim=(low - room, high + room),
    )
    spread = np.ptp(both[:, 0]) or 1.0
    axes[0].set_xlim(both[:, 0].min() - 0.15 * spread, both[:, 0].max() + 0.15 * spread)
    places = np.arange(len(arms))[::-1]
    drawn = arms["arm"].str.contains("random")
    for part, colour in ((drawn, COLOURS["untrained"]), (~drawn, COLOURS["trained"])):
        percent = 100 * arms.loc[part, ["mean", "low", "high"]]
        dots(axes[1], percent, places[part], value="mean", colour=colour, size=7, width=2.4)
    axes[1].axvline(0, color="0.4", linewidth=1)
    axes[1].set_yticks(places, arms["arm"])
    axes[1].set(xlabel="mean rise of the score error, %", title="Taken away", ylim=(-0.6, len(arms) - 0.4))
    return figure


def plot_pulls(cosines: np.ndarray, train: np.ndarray, test: np.ndarray) -> Figure:
    """Cosines of score error gradients, (T, N), in the order of condition numbers `test`, `train`."""
    figure, (axes,) = canvas(
        1, 2, (5.4, 3.6), width_ratios=(1.35, 1), title="Which problems pull this model's score the same way"
    )
    rows, columns = np.argsort(test), np.argsort(train)
    image = heat_map(axes[0], cosines[rows][:, columns], DIVERGING, centred_norm(cosines), interpolation="nearest")
    axes[0].set(
        xlabel="fresh problem, by condition number →",
        ylabel="test problem, by κ →",
        title="Cosine of gradients",
        xticks=[],
        yticks=[],
    )
    figure.colorbar(image, ax=axes[0], pad=0.02)
    third = np.array_split(rows, 3)
    for part, words, shade in zip(third, ("low", "middle", "high"), (0.75, 0.45, 0.0), strict=True):
        mean = cosines[part].mean(0)[columns]
        bins = np.array_split(np.arange(len(columns)), 8)
        x = [np.median(train[columns][b]) for b in bins]
        axes[1].plot(x, [mean[b].mean() for b in bins], "o-", color=str(shade), label=f"{words} κ")
    axes[1].axhline(0, color="0.4", linewidth=1)
    axes[1].set(
        xscale="log",
        xlabel="condition number of the fresh problem",
        ylabel="mean cosine",
        title="By thirds of test problems",
    )
    plain_ticks(axes[1], most=8)
    axes[1].legend()
    return figure
