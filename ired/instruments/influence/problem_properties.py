"""Rank correlations of problem properties with influence: what do the problems that matter have in common?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ired.instruments.statistics import intervals


def help_by_problem(helps: NDArray) -> dict[str, NDArray]:
    """Mean help and mean |help| of every training problem, (N,) each, from helps (T, N)."""
    return {"help": helps.mean(0), "weight": np.abs(helps).mean(0)}


def what_matters(helps: NDArray, train: dict[str, NDArray], test: dict[str, NDArray], distance: NDArray) -> list[dict]:
    """Rank correlations, over training problems, of properties with how much they help and how much
    they matter: mean help and mean |help| over test problems, and of closeness to the test problem.

    helps, distance: (T, N); train, test: property → (N,), (T,). Rows: measure, trait, rho, low,
    high, p, p_adjusted (Benjamini-Hochberg over rows). Closeness: one rho for each test problem,
    their mean.
    """
    from scipy.stats import ttest_1samp

    rows = []
    for measure, values in help_by_problem(helps).items():
        for trait, x in train.items():
            rho = intervals.spearman_interval(x, values)
            p = intervals.rank_p_values(np.array([rho.estimate]), len(x) - 2)[0]
            rows.append({"measure": measure, "trait": trait, **rho.row("rho"), "p": float(p)})
    gaps = {"distance ‖A − A_test‖": distance} | {
        f"difference in {name}": np.abs(np.log(train[name])[None] - np.log(test[name])[:, None])
        for name in train
        if name in test
    }
    for measure, values in {"help": helps, "weight": np.abs(helps)}.items():
        for trait, x in gaps.items():
            correlations = intervals.rank_correlation(x, values, axis=1)
            p = float(ttest_1samp(correlations, 0).pvalue)
            rows.append(
                {"measure": measure, "trait": trait, **intervals.mean_interval(correlations).row("rho"), "p": p}
            )
    adjusted = intervals.adjust([row["p"] for row in rows])
    return [row | {"p_adjusted": float(p)} for row, p in zip(rows, adjusted, strict=True)]


def pull_numbers(cosines: NDArray, fresh: NDArray, near: NDArray) -> dict[str, float]:
    """Whether the gradients of problems agree more where condition numbers (N,), (T,) are alike."""
    apart = np.abs(np.log(fresh)[None] - np.log(near)[:, None])
    alike = intervals.mean_interval(intervals.rank_correlation(-apart, cosines, axis=1))
    mean = intervals.mean_interval(cosines.mean(1))
    return mean.metrics("pull.cosine") | alike.metrics("pull.alike")
