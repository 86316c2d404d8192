"""Transfer score: which findings replicate out of distribution, on problems unlike those that they were made on?

A finding is a number of every problem whose mean is the finding's statistic, counted from the
finding's own null (what a random direction, an untrained network, a permutation gives). Its definition
was fixed before it was used:

holds       its mean on problems of the training distribution differs from 0: Student's t over problems,
            5 % after Benjamini-Hochberg over the findings of its kind; of kinds that claim "more than
            the null" it is above 0 (those that do not hold are no findings)
transfers   it holds, and its mean on the family's problems has the same sign, at least half of the
            size, and a two-sided p below 5 % of its own
score       the share of findings that hold which transfer, averaged over kinds (each counts once,
            however many findings it has); over several families the mean of their scores
chance      the same score where each finding's values on the family are those of a placebo: the null
            itself, measured as if it were the finding. A placebo that is pure noise passes in at most
            2.5 % of cases (p two-sided, the right sign)
ceiling     the score of a fresh draw of the training distribution: below 1 where a finding is noisy

A finding that cannot be measured in a family (a property that is constant there) has NaN there and is
left out. Intervals: bootstrap that resamples problems, of each distribution, and findings within kinds
together (the pigeonhole bootstrap of Owen 2007, Ann. Appl. Stat. 1:386, is conservative), estimate ±
1.96 standard errors, since a share of decisions at thresholds is biased downwards in resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame
from scipy import special

from ired.instruments.statistics.intervals import Interval, adjust

LEVEL = 0.05
KEPT = 0.5  # of its size, that a finding has to keep


@dataclass(frozen=True)
class Block:
    """F findings of one kind on P problems of one distribution.

    values (P, F): counted from the null; placebo (P, F): the null treated as the finding. Columns that
    are NaN could not be measured. positive: whether the kind claims more than the null, and less is
    no finding.
    """

    kind: str
    names: tuple[str, ...]
    values: NDArray
    placebo: NDArray
    positive: bool = False

    def __post_init__(self) -> None:
        if self.values.shape != self.placebo.shape or self.values.shape[1] != len(self.names):
            raise ValueError(
                f"{self.kind}: {len(self.names)} names, values {self.values.shape}, placebo {self.placebo.shape}"
            )
        if len(self.values) < 2:
            raise ValueError(f"{self.kind}: two problems at least, not {len(self.values)}")


Blocks = Sequence[Block]


def finding_p_values(values: NDArray) -> NDArray:
    """Two-sided p (F,) of means of values (P, F) being 0, by Student's t; constants other than 0 have p
    0; NaN where a column is."""
    mean, error = values.mean(0), values.std(0, ddof=1) / len(values) ** 0.5
    return _p(mean, error, len(values))


def holding(block: Block) -> NDArray:
    """Which findings hold where they were made, (F,)."""
    p = finding_p_values(block.values)
    sound = np.isfinite(p)
    holds = np.zeros(len(p), dtype=bool)
    if sound.any():
        holds[sound] = adjust(p[sound]) < LEVEL
    return holds & (block.values.mean(0) > 0) if block.positive else holds


def passing(inside: NDArray, mean: NDArray, p: NDArray) -> NDArray:
    """The rule: means inside and outside (..., F), p of the latter; bool, False where one is NaN."""
    kept = np.abs(mean) >= KEPT * np.abs(inside)
    return (np.sign(mean) == np.sign(inside)) & kept & (p < LEVEL) & (inside != 0)


def transfer_table(inside: Blocks, outside: Mapping[str, Blocks]) -> DataFrame:
    """A row for each finding that holds and family: kind, finding, family, inside, outside, kept (their
    ratio), p, measured, transfers, placebo (whether that passes)."""
    rows = []
    for family, blocks in outside.items():
        for mine, theirs in zip(inside, blocks, strict=True):
            _same(mine, theirs)
            here = holding(mine)
            mean_inside, mean_outside = mine.values.mean(0), theirs.values.mean(0)
            p = finding_p_values(theirs.values)
            passed = passing(mean_inside, mean_outside, p)
            null = passing(mean_inside, theirs.placebo.mean(0), finding_p_values(theirs.placebo))
            for i in np.flatnonzero(here):
                rows.append(
                    {
                        "kind": mine.kind,
                        "finding": mine.names[i],
                        "family": family,
                        "inside": mean_inside[i],
                        "outside": mean_outside[i],
                        "kept": mean_outside[i] / mean_inside[i],
                        "p": p[i],
                        "measured": bool(np.isfinite(mean_outside[i])),
                        "transfers": bool(passed[i]),
                        "placebo": bool(null[i]),
                    }
                )
    columns = ("kind", "finding", "family", "inside", "outside", "kept", "p", "measured", "transfers", "placebo")
    return DataFrame(rows, columns=list(columns))


def transfer_score(
    inside: Blocks,
    outside: Mapping[str, Blocks],
    placebo: bool = False,
    seed: int = 0,
    resamples: int = 400,
) -> dict[str, Interval]:
    """The score of each family and, as "all", their mean; with `placebo` the level of chance.

    Raises ValueError where no finding holds.
    """
    held = [holding(block) for block in inside]
    if not any(h.any() for h in held):
        raise ValueError("no finding holds on the training distribution: nothing can transfer")
    rng, estimates, drawn = np.random.default_rng(seed), {}, {}
    kinds = [i for i, h in enumerate(held) if h.any()]
    weights = {i: _weights(len(inside[i].values), resamples, rng) for i in kinds}
    picks = {i: resamples_of(int(held[i].sum()), resamples, rng) for i in kinds}
    for family, blocks in outside.items():
        point, spread = [], []
        for i in kinds:
            _same(inside[i], blocks[i])
            ours = inside[i].values[:, held[i]]
            theirs = (blocks[i].placebo if placebo else blocks[i].values)[:, held[i]]
            measured = np.isfinite(theirs).all(0)
            if not measured.any():
                continue
            ours, theirs = ours[:, measured], theirs[:, measured]
            equal = np.ones((1, len(ours))), np.ones((1, len(theirs)))
            point.append(_decided(ours, theirs, *equal).mean(1)[0])
            passed = _decided(ours, theirs, weights[i], _weights(len(theirs), resamples, rng))
            pick = picks[i][:, measured]
            total = pick.sum(1)
            share = (passed * pick).sum(1) / np.maximum(total, 1)
            spread.append(np.where(total > 0, share, point[-1]))
        if point:
            estimates[family], drawn[family] = float(np.mean(point)), np.mean(spread, 0)
    intervals = {f: _interval(estimates[f], drawn[f], inside) for f in estimates}
    total = np.mean([drawn[f] for f in drawn], 0)
    return intervals | {"all": _interval(float(np.mean(list(estimates.values()))), total, inside)}


def transfer_summary(inside: Blocks, outside: Mapping[str, Blocks], null: Sequence[str], seed: int = 0) -> DataFrame:
    """Rows family, kind ("all", or one alone), score, low, high, chance, findings (that hold).

    Family "shifted" is the mean over all families but those in `null`. Where no finding holds, scores are
    0 and their intervals know nothing.
    """
    rows = []
    if not any(holding(block).any() for block in inside):
        nothing = {"kind": "all", "score": 0.0, "low": 0.0, "high": 1.0, "chance": 0.0, "findings": 0}
        return DataFrame([{"family": family} | nothing for family in (*outside, "shifted")])
    shifted = {f: b for f, b in outside.items() if f not in null}
    plans = [("all", range(len(inside)))]
    plans += [(block.kind, [i]) for i, block in enumerate(inside) if holding(block).any()]
    for kind, places in plans:
        mine = [inside[i] for i in places]
        count = int(sum(holding(block).sum() for block in mine))
        for families in (outside, shifted):
            theirs = {f: [blocks[i] for i in places] for f, blocks in families.items()}
            scores, chance = (transfer_score(mine, theirs, placebo, seed) for placebo in (False, True))
            for family in scores if families is outside else ("all",):
                if (family == "all") == (families is shifted):
                    s, c = scores[family], chance.get(family)
                    rows.append(
                        {
                            "family": "shifted" if family == "all" else family,
                            "kind": kind,
                            "score": s.estimate,
                            "low": s.low,
                            "high": s.high,
                            "chance": c.estimate if c else np.nan,
                            "findings": count,
                        }
                    )
    return DataFrame(rows)


def by_family(scores: DataFrame) -> DataFrame:
    """Rows of `transfer_summary` of all kinds together, by family."""
    return scores[scores["kind"] == "all"].set_index("family")


def resamples_of(count: int, resamples: int, rng: np.random.Generator) -> NDArray:
    """How often each of `count` findings is drawn, (resamples, count)."""
    return rng.multinomial(count, np.full(count, 1 / count), resamples).astype(float)


def _weights(count: int, resamples: int, rng: np.random.Generator) -> NDArray:
    return rng.multinomial(count, np.full(count, 1 / count), resamples).astype(float)


def _decided(ours: NDArray, theirs: NDArray, w: NDArray, v: NDArray) -> NDArray:
    """Decisions (R, F) of resamples with weights w (R, P) inside and v (R, P') outside."""
    count = v.sum(1, keepdims=True)
    inside = w @ ours / w.sum(1, keepdims=True)
    # Around the sample's mean, so that squares do not cancel.
    middle = theirs.mean(0)
    deviation = theirs - middle
    first, second = v @ deviation / count, v @ deviation**2 / count
    variance = np.maximum(second - first**2, 0) * count / np.maximum(count - 1, 1)
    # What is left of equal numbers after rounding is no variance.
    variance[variance < 1e-24 * (middle**2 + 1e-300)] = 0
    mean = middle + first
    return passing(inside, mean, _p(mean, np.sqrt(variance / count), theirs.shape[0]))


def _p(mean: NDArray, error: NDArray, count: int) -> NDArray:
    still = error <= 1e-12 * np.abs(mean)
    t = np.divide(mean, error, out=np.zeros_like(mean), where=error > 0)
    p = 2 * special.stdtr(count - 1, -np.abs(t))
    p = np.where(still, np.where(mean == 0, 1.0, 0.0), p)
    return np.where(np.isfinite(mean), p, np.nan)


def _interval(estimate: float, drawn: NDArray, inside: Blocks) -> Interval:
    reach = special.ndtri(0.975) * float(drawn.std(ddof=1))
    units = min(len(block.values) for block in inside)
    low, high = max(0.0, estimate - reach), min(1.0, estimate + reach)
    return Interval(estimate=estimate, low=low, high=high, level=0.95, units=units, method="pigeonhole bootstrap")


def _same(mine: Block, theirs: Block) -> None:
    if (mine.kind, mine.names) != (theirs.kind, theirs.names):
        raise ValueError(f"findings of {mine.kind} and of {theirs.kind} are not the same ones")
