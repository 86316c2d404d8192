"""The linear datamodeling score (Park et al. 2023): is what influences say about training data true?

Networks are trained on random halves S of the training problems (arXiv 2303.14186; Ilyas et al. 2022, arXiv
2202.00622). If influences are right, the sum of those of the problems in S predicts the outcome of the network
that was trained on S: Spearman's correlation over halves, for each test problem. Retrainings that differ by
nothing but chance (order and noise of batches) differ too, which no influence can predict: two for each half
tell how much there is to be predicted. The plain test of taking problems away stands in
`ired.instruments.influence.removal`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ired.instruments.statistics import intervals
from ired.instruments.statistics.intervals import Interval


def halves(count: int, of: int, generator: torch.Generator, share: float = 0.5) -> Tensor:
    """Random subsets (count, of) as masks, each of exactly round(share·of) problems."""
    order = torch.rand(count, of, generator=generator, dtype=torch.float64).argsort(1)
    return order.argsort(1) < round(share * of)


def lds_values(influence: NDArray, masks: NDArray, outcomes: NDArray) -> NDArray:
    """LDS (..., T) of influences (..., T, N): rank correlation over subsets of what they add up to with
    outcomes (M, T) of networks trained on subsets `masks` (M, N)."""
    predicted = np.moveaxis(influence @ masks.T.astype(float), -1, 0)  # (M, ..., T)
    actual = outcomes.reshape(len(outcomes), *[1] * (influence.ndim - 2), -1)
    return intervals.rank_correlation(predicted, np.broadcast_to(actual, predicted.shape), axis=0)


def reliability(repeats: NDArray) -> NDArray:
    """How well outcomes (M, C, T) of C retrainings on each subset agree: mean rank correlation (T,)."""
    count = repeats.shape[1]
    pairs = [(i, j) for i in range(count) for j in range(i)]
    return np.mean([intervals.rank_correlation(repeats[:, i], repeats[:, j], axis=0) for i, j in pairs], axis=0)


def ceiling(repeats: NDArray) -> float:
    """The mean LDS that perfect influences would have, from outcomes (M, C, T).

    Retrainings agree with correlation r on average; their mean over C then with their expectation with
    √(C·r/(1 + (C − 1)·r)) (Spearman-Brown, and attenuation). Exact for linear correlations of
    independent errors. 0 where retrainings do not agree at all.
    """
    count, r = repeats.shape[1], max(0.0, float(reliability(repeats).mean()))
    return float(np.sqrt(count * r / (1 + (count - 1) * r)))


@dataclass(frozen=True)
class HeldOutLds:
    """LDS of one method, its damping chosen where it is not judged.

    scores: (T,) means of the two parts' LDS; chosen: index of the damping that was best for the mean
    LDS of the first part, judged on the second, and the other way round; parts: which subsets (M,)
    are in the first.
    """

    scores: NDArray
    chosen: tuple[int, int]
    first: NDArray


def held_out_lds(influence: NDArray, masks: NDArray, outcomes: NDArray) -> HeldOutLds:
    """Choose among S dampings (S, T, N) on every other subset, judge on the rest, and turn it round."""
    first = np.arange(len(masks)) % 2 == 0
    means = [lds_values(influence, masks[part], outcomes[part]).mean(-1) for part in (first, ~first)]
    a, b = (int(np.argmax(mean)) for mean in means)
    on_second = lds_values(influence[a], masks[~first], outcomes[~first])
    on_first = lds_values(influence[b], masks[first], outcomes[first])
    return HeldOutLds((on_first + on_second) / 2, (a, b), first)


def lds_interval(
    influence: NDArray,
    judged: HeldOutLds,
    masks: NDArray,
    outcomes: NDArray,
    against: tuple[NDArray, HeldOutLds] | None = None,
    level: float = 0.95,
    seed: int = 0,
    resamples: int = 400,
) -> Interval:
    """Percentile interval of the mean LDS, or of how far it exceeds that of another method.

    Test problems share their retrainings: neither alone is the unit. So test problems and, within each
    part, subsets are resampled together (the pigeonhole bootstrap, Owen 2007), which errs on the wide
    side. The choice of damping stays as it was.
    """
    rng = np.random.default_rng(seed)
    sides = [(influence, judged, 1.0)]
    if against is not None:
        sides.append((*against, -1.0))
    parts = []
    for part, which in ((judged.first, 1), (~judged.first, 0)):
        predicted = [i[j.chosen[which]] @ masks[part].T.astype(float) for i, j, _ in sides]
        parts.append((predicted, outcomes[part].T))
    tests, means = outcomes.shape[1], np.zeros(resamples)
    rows = rng.integers(tests, size=(resamples, tests, 1))
    for predicted, actual in parts:
        subsets = rng.integers(actual.shape[1], size=(resamples, 1, actual.shape[1]))
        for values, (_, _, sign) in zip(predicted, sides, strict=True):
            rho = intervals.rank_correlation(values[rows, subsets], actual[rows, subsets])
            means += sign * rho.mean(-1) / len(parts)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    centre = sum(sign * j.scores.mean() for _, j, sign in sides)
    return Interval(
        estimate=float(centre), low=float(low), high=float(high), level=level, units=tests, method="percentile"
    )
