"""The area under the ROC curve (Mann-Whitney): how often what should score higher does, ties counting half.

Intervals by DeLong, DeLong & Clarke-Pearson 1988, from placements by midranks (Sun & Xu 2014).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def auroc(score: NDArray, label: NDArray, within: NDArray | None = None) -> float:
    """P(a score with the label is above one without) + ½ P(equal), score and label (N,).

    With `within` (N,) only pairs of equal `within` are counted. ½ where there is no pair.
    """
    group = np.zeros(len(score), dtype=int) if within is None else within
    counts = tally(score, label, group)
    pairs = _pairs(counts).sum()
    return float(_wins(counts).sum() / pairs) if pairs else 0.5


def tally(score: NDArray, label: NDArray, group: NDArray) -> NDArray:
    """Members (groups, distinct scores ascending, 2) of each group (N,): how many lack the label and how many
    have it. Sums of such tables over groups are again such tables, which makes a bootstrap quick."""
    _, place = np.unique(score, return_inverse=True)
    _, group = np.unique(group, return_inverse=True)
    shape = (group.max() + 1, place.max() + 1, 2)
    flat = (group * shape[1] + place) * 2 + label.astype(int)
    return np.bincount(flat, minlength=np.prod(shape)).reshape(shape).astype(np.float64)


def of_tally(counts: NDArray) -> NDArray:
    """AUROCs (…,) of tables (…, scores, 2); ½ where there is no pair."""
    pairs = _pairs(counts)
    return np.where(pairs > 0, _wins(counts) / np.where(pairs > 0, pairs, 1), 0.5)


def _pairs(counts: NDArray) -> NDArray:
    return counts[..., 0].sum(-1) * counts[..., 1].sum(-1)


def _wins(counts: NDArray) -> NDArray:
    without, having = counts[..., 0], counts[..., 1]
    below = without.cumsum(-1) - without
    return (having * (below + without / 2)).sum(-1)


def placements(higher: NDArray, lower: NDArray) -> tuple[NDArray, NDArray]:
    """Of each of `higher` (…, M) the share of `lower` (…, N) below it, and of each of `lower` the share of
    `higher` above it; ties half. Both have the AUROC as their mean."""
    from scipy.stats import rankdata  # a second to import: only where it is used

    M, N = higher.shape[-1], lower.shape[-1]
    ranks = rankdata(np.concatenate([higher, lower], -1), axis=-1)
    above = (ranks[..., :M] - rankdata(higher, axis=-1)) / N
    below = 1 - (ranks[..., M:] - rankdata(lower, axis=-1)) / M
    return above, below


def delong(higher: NDArray, lower: NDArray) -> tuple[NDArray, NDArray]:
    """AUROCs (D,) and their covariance (D, D), of D scores of the same subjects: M that should be higher (D, M)
    and N that should be lower (D, N), two of each at least."""
    above, below = placements(higher, lower)
    covariance = np.atleast_2d(np.cov(above)) / above.shape[1] + np.atleast_2d(np.cov(below)) / below.shape[1]
    return above.mean(1), covariance
