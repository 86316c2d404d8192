"""Student's t over seeds: what of an effect is common to independently trained networks, and when it counts as robust.

The unit is the network (the seed); S of them are few. An effect e_s of network s is a number whose
sign means something and whose null is 0, measured in the same way in each, on problems of each one's
own: on shared problems, chance in their draw would be common to all networks.

Score. Say effects are drawn around μ with spread σ from network (and problems) to network. The score
is the share of their mean square that all networks have in common, μ² / (μ² + σ²): 1 where every
network shows the same effect, 0 where they agree on nothing. It is estimated by the mean of e_i·e_j
over pairs of different networks over the mean of e_i², which is (t² − 1) / (t² + S − 1) with Student's
t of the S effects, and cut off at 0. Its interval inverts the distribution of t² (a non-central F with
noncentrality S·μ²/σ²), which is exact where effects are normal: with five networks it is wide, and
honest about it. What a score is by chance is not 0, because of the cut: `chance` is its mean over all
2^S ways to give the effects other signs (about 0.1 for five).

Robust. A finding is *robust* if the effect has the same sign in all networks (the one that was
claimed, where there was a claim) and Student's t of the S effects excludes 0 at 5 % after
Benjamini-Hochberg correction over all findings that are looked at together. Where there is no effect
that happens to no more than 5 % of findings, before correction already. The score says how much is
shared, the rule whether it can be told from nothing. What S networks could have seen is `statistics.power.detectable`.

Strata are thirds of the problems by condition number; the same numbers on each.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pandas import DataFrame
from scipy import special

from ired.instruments.statistics.intervals import Interval, adjust, proportion_interval

LEVEL = 0.05
SHARE = 0.7  # of the findings that have to be robust
STRATA = ("well conditioned", "middle", "ill conditioned")
_CERTAIN = 1e4  # t² from which on a score differs from 1 by less than can be read


# The score


def statistic(effects: ArrayLike) -> NDArray:
    """Student's t squared (...) of effects (..., S): 0 where all are 0, at most _CERTAIN."""
    effects = np.asarray(effects, dtype=np.float64)
    if effects.shape[-1] < 3:
        raise ValueError(f"at least three networks are wanted, not {effects.shape[-1]}")
    if not np.isfinite(effects).all():
        raise ValueError("effects must be finite")
    mean, spread = effects.mean(-1), effects.std(-1, ddof=1)
    size = np.abs(effects).max(-1)
    top, bottom = effects.shape[-1] * mean**2, np.maximum(spread, 1e-9 * size) ** 2
    t2 = np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0)
    return np.minimum(t2, _CERTAIN)


def robustness_score(effects: ArrayLike) -> NDArray:
    """The robustness score (...) of effects (..., S), between 0 and 1."""
    t2, S = statistic(effects), np.shape(effects)[-1]
    return np.clip((t2 - 1) / (t2 + S - 1), 0, 1)


def score_interval(effects: ArrayLike, level: float = 1 - LEVEL) -> Interval:
    """The score of one finding's effects (S,) with its interval (exact for normal effects)."""
    effects = np.asarray(effects, dtype=np.float64)
    t2, S, tail = float(statistic(effects)), len(effects), (1 - level) / 2
    estimate = float(robustness_score(effects))
    if not np.abs(effects).max() > 0:
        return Interval(estimate=0.0, low=0.0, high=0.0, level=level, units=S, method="constant")
    low, high = (_noncentrality(t2, S, p) / S for p in (1 - tail, tail))
    return Interval(
        estimate=estimate, low=low / (1 + low), high=high / (1 + high), level=level, units=S, method="non-central F"
    )


def _noncentrality(t2: float, S: int, p: float) -> float:
    """The λ at which a non-central F(1, S − 1) stays below t² with probability p; 0 where none
    does."""
    if special.fdtr(1, S - 1, t2) <= p:
        return 0.0
    low, high = 0.0, 1.0
    while _below(t2, S, high) > p:
        high *= 2
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if _below(t2, S, middle) > p else (low, middle)
    return (low + high) / 2


def _below(t2: float, S: int, noncentrality: float) -> float:
    """P(|T| < t) of a non-central t with S − 1 degrees of freedom, by quadrature over its spread.

    Of scipy's own functions none is right for both small and large noncentralities.
    """
    u, weights = _spreads(S)
    t, d = np.sqrt(t2), np.sqrt(noncentrality)
    return float(weights @ (special.ndtr(t * u - d) - special.ndtr(-t * u - d)))


@lru_cache
def _spreads(S: int) -> tuple[NDArray, NDArray]:
    """Quadrature over sqrt(χ²/ν), ν = S − 1, by its quantiles, so that its density needs no care."""
    places, weights = np.polynomial.legendre.leggauss(100)
    return np.sqrt(special.gammaincinv((S - 1) / 2, (places + 1) / 2) * 2 / (S - 1)), weights / 2


def chance(effects: ArrayLike) -> NDArray:
    """The mean score (...) of effects (..., S) over all ways to give them other signs, for S ≤ 12."""
    effects = np.asarray(effects, dtype=np.float64)
    S = effects.shape[-1]
    signs = 1.0 - 2 * ((np.arange(2 ** (S - 1))[:, None] >> np.arange(S)) & 1)
    return robustness_score(effects[..., None, :] * signs).mean(-1)


# The rule


def effect_p_values(effects: ArrayLike) -> NDArray:
    """Two-sided p-values (...) of Student's t of effects (..., S); 1 where all are 0."""
    S = np.shape(effects)[-1]
    return 2 * special.stdtr(S - 1, -np.sqrt(statistic(effects)))


def robustness_columns(effects: ArrayLike, claimed: ArrayLike | None = None) -> dict[str, NDArray]:
    """Columns (F,) for F findings with effects (F, S); claimed (F,): signs that were claimed, 0 for
    none.

    mean, low, high (Student's t over networks), d (mean in spreads), p, p_adjusted (one family), sign
    (claimed, or the mean's), keeps_sign (share of networks with it), score, score_low, score_high,
    chance, robust.
    """
    effects = np.atleast_2d(np.asarray(effects, dtype=np.float64))
    F, S = effects.shape
    claimed = np.zeros(F) if claimed is None else np.asarray(claimed, dtype=np.float64)
    mean, spread = effects.mean(1), effects.std(1, ddof=1)
    reach = special.stdtrit(S - 1, 1 - LEVEL / 2) * spread / np.sqrt(S)
    sign = np.where(claimed != 0, np.sign(claimed), np.sign(mean))
    same = (np.sign(effects) == sign[:, None]) & (sign != 0)[:, None]
    p = effect_p_values(effects)
    adjusted = adjust(p) if F else p
    scores = [score_interval(row) for row in effects]
    return {
        "mean": mean,
        "low": mean - reach,
        "high": mean + reach,
        "d": np.divide(mean, spread, out=np.zeros_like(mean), where=spread > 0),
        "p": p,
        "p_adjusted": adjusted,
        "sign": sign,
        "keeps_sign": same.mean(1),
        "score": np.array([s.estimate for s in scores]),
        "score_low": np.array([s.low for s in scores]),
        "score_high": np.array([s.high for s in scores]),
        "chance": chance(effects),
        "robust": same.all(1) & (adjusted < LEVEL),
    }


def robustness_table(findings: DataFrame, effects: NDArray, significant: NDArray) -> DataFrame:
    """`robustness_columns` beside findings (F rows with a column claimed: the sign, 0 for none), corrected over
    those claimed and over the others apart; effects (F, S); significant (F, S): the sign with which
    each network for itself is sure, else 0. Adds `significant`, the share of networks sure of the
    sign."""
    results = findings.reset_index(drop=True).copy()
    for family in (results["claimed"] != 0, results["claimed"] == 0):
        if not family.any():
            continue
        columns = robustness_columns(effects[family], results.loc[family, "claimed"])
        columns["significant"] = (significant[family] == columns["sign"][:, None]).mean(1) * (columns["sign"] != 0)
        for name, values in columns.items():
            results.loc[family, name] = values
    return results.assign(robust=results["robust"].eq(True))


def without_one(effects: NDArray, claimed: ArrayLike) -> NDArray:
    """Share of findings robust with each network left out in turn, (S,); effects (F, S), S ≥ 4."""
    S = effects.shape[1]
    return np.array([robustness_columns(np.delete(effects, s, 1), claimed)["robust"].mean() for s in range(S)])


def permuted_findings(effects: NDArray, kind: ArrayLike, draws: int, rng: np.random.Generator) -> dict[str, float]:
    """Networks whose findings were exchanged: in each network effects (F, S) are permuted among the
    findings of a kind (F,), so that what is left in common is the kind's and no finding's own.

    Mean score and share robust over `draws`, beside those of the effects as they are.
    """
    kind, scores, robust = np.asarray(kind), [], []
    for _ in range(draws):
        mixed = effects.copy()
        for each in np.unique(kind):
            rows = np.flatnonzero(kind == each)
            for s in range(effects.shape[1]):
                mixed[rows, s] = effects[rng.permutation(rows), s]
        scores.append(robustness_score(mixed).mean())
        robust.append(judged_rule(mixed).mean())
    return {
        "score": float(robustness_score(effects).mean()),
        "score_permuted": float(np.mean(scores)),
        "robust": float(judged_rule(effects).mean()),
        "robust_permuted": float(np.mean(robust)),
    }


def judged_rule(effects: NDArray, claimed: ArrayLike | None = None, corrected: bool = True) -> NDArray:
    """Only whether each finding (F,) is robust; not corrected, each for itself."""
    sign = np.sign(effects.mean(1)) if claimed is None else np.sign(np.asarray(claimed))
    same = (np.sign(effects) == sign[:, None]).all(1) & (sign != 0)
    p = effect_p_values(effects)
    return same & ((adjust(p) if corrected and len(p) else p) < LEVEL)


# Problems


def strata(condition: ArrayLike) -> NDArray:
    """Thirds (P,) of problems by condition number: 0, 1, 2, the last the worst conditioned."""
    order = np.argsort(np.argsort(np.asarray(condition, dtype=np.float64), kind="stable"))
    return order * len(STRATA) // len(order)


def by_stratum(effects: Mapping[int, NDArray], claimed: ArrayLike) -> DataFrame:
    """One row a stratum: effects (F, S) of the F findings on its problems. share_robust with its
    interval over findings (low, high), keeps_sign and score (means)."""
    rows = []
    for stratum, values in effects.items():
        results = robustness_columns(values, claimed)
        share = proportion_interval(int(results["robust"].sum()), len(values))
        rows.append(
            {
                "stratum": STRATA[stratum],
                "findings": len(values),
                "share_robust": share.estimate,
                "low": share.low,
                "high": share.high,
                "keeps_sign": results["keeps_sign"].mean(),
                "score": results["score"].mean(),
                "size": np.abs(results["mean"]).mean(),
            }
        )
    return DataFrame(rows)


def verdict_agreement(first: ArrayLike, second: ArrayLike, rng: np.random.Generator, draws: int = 999) -> dict:
    """Verdicts (D,) of two networks on the same directions: share alike, by chance (one's verdicts
    permuted over directions), and the p-value of that permutation."""
    first, second = np.asarray(first), np.asarray(second)
    alike = float((first == second).mean())
    null = np.array([(first == rng.permutation(second)).mean() for _ in range(draws)])
    return {"alike": alike, "chance": float(null.mean()), "p": float((1 + (null >= alike - 1e-12).sum()) / (1 + draws))}
