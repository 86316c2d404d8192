"""Effects, necessity and specificity of directions, beside random directions of the same space.

A direction that goes with a property need not carry it. Three questions, with the problem as the unit:

effect        moving along it changes the sampled answer more than moving along random directions;
              of a direction with a concept, also: the answer's property grows along it
necessity     with its coordinate set to the mean over problems, the answer's property follows that of
              the true answer less (the error grows, where there is no such property)
specificity   moving along it changes its own property more than each other one, in deviations

A measure *is beyond random* where its difference to the mean of the random draws is above RESOLUTION, has p < LEVEL
in a sign-flip test over problems after Benjamini-Hochberg correction over directions, and is larger than with each
single draw: with many problems, half of all random directions beat the mean of the others, so p alone says little
(the share of random draws that pass as well is given as `placebo`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame

from ired.instruments.core.directions import OF_STATES
from ired.instruments.interventions.pushes import RESOLUTION
from ired.instruments.interventions.responses import LEVEL
from ired.instruments.statistics.intervals import (
    Interval,
    adjust,
    mean_interval,
    mean_intervals,
    ratio_interval,
    sign_flip,
)

DOSE = 2.0
_NAN = float("nan")


def values(responses: DataFrame, names: Sequence[str], control: str, *, edit: str, dose: float, column: str) -> NDArray:
    """One column of the responses of directions `names` under one control, (D, draws, P)."""
    rows = responses[(responses["control"] == control) & (responses["edit"] == edit) & (responses["dose"] == dose)]
    table = rows.pivot(index=["direction", "draw"], columns="problem", values=column)
    if not len(names):
        return np.zeros((0, 1, table.shape[1]))
    return np.stack([table.loc[name].to_numpy() for name in names])


def measured_effects(responses: DataFrame, names: Sequence[str], control: str, measure: str) -> NDArray:
    """(D, draws, P): "moved", the mean over DOSE and its opposite; "carried", the property's slope
    between the two, in its standard deviations over the problems' undisturbed answers per unit of dose;
    "mse" and "residual", under ablation."""
    if measure in ("mse", "residual"):
        return values(responses, names, control, edit="ablate", dose=0.0, column=measure)
    up, down = (values(responses, names, control, edit="add", dose=way * DOSE, column=measure) for way in (1, -1))
    if measure == "moved":
        return (up + down) / 2
    still = values(responses, names, "own", edit="add", dose=0.0, column=measure)
    spread = still.std(-1, ddof=1, keepdims=True)
    return (up - down) / (2 * DOSE * np.maximum(spread, 1e-12))


def contrast(studied: NDArray, draws: NDArray, signed: bool = False) -> dict[str, NDArray]:
    """Directions (D, P) against their random draws (D, R, P): columns of D numbers.

    value, random, largest: means of those studied, of the draws, of the largest draw; difference, low, high: studied −
    mean of the draws, mean over problems; d: the paired standardised effect size; p, p_adjusted: of sign
    flips; rank: of the one studied among the R + 1 means, 1 the largest (in size where `signed`); beyond: whether it is
    beyond random; placebo: the share of the draws that would have passed against the others (NaN for
    fewer than three).
    """
    gap = studied - draws.mean(1)
    interval = mean_intervals(gap)
    p = sign_flip(gap)
    mean, null = studied.mean(-1), draws.mean(-1)
    rank = 1 + ((np.abs(null) >= np.abs(mean)[:, None]) if signed else null >= mean[:, None]).sum(1)
    p_adjusted = adjust(p) if len(p) else p
    return {
        "value": mean,
        "random": null.mean(1),
        "largest": (np.abs(null) if signed else null).max(1),
        "difference": interval.estimate,
        "low": interval.low,
        "high": interval.high,
        "d": paired_d(gap),
        "p": p,
        "p_adjusted": p_adjusted,
        "rank": rank,
        "draws": np.full(len(studied), draws.shape[1]),
        "beyond": (p_adjusted < LEVEL) & (interval.estimate >= RESOLUTION) & (rank == 1),
        "placebo": placebo(draws, signed),
    }


def placebo(draws: NDArray, signed: bool = False) -> NDArray:
    """(D,): the share of random draws (D, R, P) that the rule finds beyond the R − 1 others."""
    count = draws.shape[1]
    if count < 3 or not len(draws):
        return np.full(len(draws), _NAN)
    means = draws.mean(-1)
    gap = draws - (draws.sum(1, keepdims=True) - draws) / (count - 1)
    size = np.abs(means) if signed else means
    first = size.argmax(1)[:, None] == np.arange(count)
    p = np.stack([adjust(sign_flip(gap[:, j])) for j in range(count)], 1)
    return ((p < LEVEL) & (gap.mean(-1) >= RESOLUTION) & first).mean(1)


def paired_d(differences: NDArray) -> NDArray:
    """Paired d: mean over standard deviation of differences (..., P); 0 where all are 0."""
    mean, spread = differences.mean(-1), differences.std(-1, ddof=1)
    return np.divide(mean, spread, out=np.zeros_like(mean), where=spread > 1e-12 * np.abs(mean))


def effects(responses: DataFrame, names: Sequence[str], measure: str) -> DataFrame:
    """`contrast` of directions with random ones, a row each; covariance_*: the same against draws of
    the data's covariance, where there are such."""
    studied = measured_effects(responses, names, "own", measure)[:, 0]
    signed = measure == "carried"
    table = {"direction": list(names)}
    table |= contrast(studied, measured_effects(responses, names, "random", measure), signed)
    if (responses["control"] == "covariance").any():
        beside = contrast(studied, measured_effects(responses, names, "covariance", measure), signed)
        kept = ("random", "largest", "difference", "low", "high", "p_adjusted", "rank", "beyond")
        table |= {f"covariance_{name}": beside[name] for name in kept}
    return DataFrame(table)


def beyond_draws(studied: NDArray, *kinds: NDArray) -> float:
    """The largest p-value of studied (P,) against kinds of draws (R, P); 1 where a draw's mean is as large."""
    if studied.mean() <= max(draws.mean(-1).max() for draws in kinds):
        return 1.0
    return max(float(sign_flip(studied - draws.mean(0))) for draws in kinds)


def following(truth: NDArray, base: NDArray, ablated: NDArray) -> dict[str, Any]:
    """How much less the answers' property follows the true one without the direction.

    truth, base (P,): the property of true answers and of undisturbed ones; ablated (m, P): without each
    direction, row 0 the one studied, the others random. lost is the share of the slope of base on truth
    that is gone; lost_excess the same beyond the random draws' mean, lost_p its p-value (1 where one draw
    loses as much). NaN where the truth is the same for all problems or nothing follows it.
    """
    centred = truth - truth.mean()
    weight = centred * (base - base.mean())
    none = np.ptp(truth) == 0 or not mean_interval(weight).low > 0
    gone = base - ablated
    # (m, P): their means over the mean weight are the shares lost.
    gone = centred * (gone - gone.mean(1, keepdims=True))
    random = gone[1:].mean(0)
    row: dict[str, Any] = {}
    for name, part in {"lost": gone[0], "lost_random": random, "lost_excess": gone[0] - random}.items():
        share = undefined(len(truth)) if none else ratio_interval(part, weight)
        row |= {name: share.estimate, f"{name}_low": share.low, f"{name}_high": share.high}
    row["lost_p"] = _NAN if none else beyond_draws(gone[0], gone[1:])
    row["follows_less"] = not none and bool(row["lost_low"] > 0 and row["lost_p"] < 1)
    return row


def specificity(changes: Mapping[str, NDArray], concept: str, seed: int = 0) -> dict[str, Any]:
    """Whether a direction changes its own property more than each other.

    changes: by concept (m, P), the change of that property along the direction in standard deviations,
    row 0 the direction studied, the others random. specific: |mean change| of its own property minus
    the largest of the others, with a percentile bootstrap interval over problems (the largest of
    several noisy numbers is too large: the interval errs towards "not specific"); rival: which that
    is; own_share: of the sum of all |mean changes|, beside random directions' own_share_random.
    Properties of the state's error are one property here.
    """
    from scipy import stats

    rivals = [name for name in changes if name != concept and not {name, concept} <= set(OF_STATES)]
    if concept not in OF_STATES:  # one of the two stands for both
        rivals = [name for name in rivals if name != OF_STATES[1]]
    sizes = {name: np.abs(changes[name].mean(-1)) for name in (concept, *rivals)}

    def margin(studied: NDArray, *others: NDArray, axis: int = -1) -> NDArray:
        return np.abs(studied.mean(axis)) - np.max([np.abs(x.mean(axis)) for x in others], 0)

    rows = [changes[name][0] for name in (concept, *rivals)]
    resampled = stats.bootstrap(
        rows,
        margin,
        paired=True,
        vectorized=True,
        n_resamples=1999,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    share = sizes[concept] / np.maximum(sum(sizes.values()), 1e-300)
    return {
        "own_change": float(changes[concept][0].mean()),
        "specific": float(margin(*rows)),
        "specific_low": float(resampled.low),
        "specific_high": float(resampled.high),
        "rival": max(rivals, key=lambda name: sizes[name][0]),
        "own_share": float(share[0]),
        "own_share_random": float(share[1:].mean()),
    }


def undefined(units: int) -> Interval:
    """The interval of a share that cannot be told: NaN, over so many units."""
    return Interval(_NAN, _NAN, _NAN, level=0.95, units=units, method="none")
