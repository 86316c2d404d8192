"""Concept activation vectors (CAVs; Kim et al., ICML 2018): directions in the layers that tell the two sides of
held-out pairs apart.

A CAV can be the weights of a classifier (*filter*) or how the activations differ (*pattern*: covariance times weights
of Fisher's discriminant, Haufe et al. 2014), each also with the confounders regressed out (*partialled*). Filters read
a concept best; where the concept lies is the pattern: along a planted direction, in noise that has directions of its
own, patterns point, and filters do not; with a confounder planted beside it, plain patterns follow that and partialled
ones do not. So `PRIMARY` is the partialled pattern: planted data alone choose it (`known_answers.chosen`).

Activations h (G, 2, width) and confounders z (G, 2, C) of pairs are as in `pairs.ConceptPairs`.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ired.instruments.statistics.auroc import placements
from ired.instruments.statistics.intervals import Interval, student_interval

METHODS = ("filter", "pattern", "filter_partialled", "pattern_partialled")
PRIMARY = "pattern_partialled"
STRENGTH = 0.02  # C of the logistic regression on standardised activations


# The methods


def fit(method: str, h: NDArray, z: NDArray) -> NDArray:
    """The CAV (width,), of length 1, of pairs with activations h (G, 2, width) and confounders z (G, 2, C).

    filter: weights of a logistic regression on standardised activations, mapped back; pattern: mean difference of the
    sides; partialled: activations and labels first lose what a linear map of the confounders explains (what is left
    gives the label's coefficients in a regression on both: Frisch, Waugh & Lovell); the filter is then ridge
    regression, which labels need not be 0 and 1 for.
    """
    if method == "filter":
        vector = _logistic(h)
    elif method == "filter_partialled":
        vector = _discriminant(*_partial(h, z))
    else:
        vector = contributions(h, z if method == "pattern_partialled" else z[..., :0]).mean(0)
    return vector / max(np.linalg.norm(vector), 1e-300)


def contributions(h: NDArray, z: NDArray) -> NDArray:
    """What each pair adds to the partialled pattern, (G, width): the difference of its sides less what the confounders
    explain. With the sides of pairs swapped at random they add up to random CAVs."""
    left, _ = _partial(h, z)
    return left[:, 1] - left[:, 0]


def random_cavs(parts: NDArray, unit: NDArray, count: int, rng: np.random.Generator) -> NDArray:
    """CAVs (count, width) of the same pairs with their labels swapped at random, a unit at a time."""
    together = np.zeros((unit.max() + 1, parts.shape[1]), dtype=parts.dtype)
    np.add.at(together, unit, parts)
    vectors = _signs(count, len(together), rng).astype(parts.dtype) @ together
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-300)


def side_labels(count: int) -> NDArray:
    """0 and 1 (2·count,) for the two sides of pairs."""
    return np.tile([0, 1], count)


def standardised_columns(rows: NDArray) -> tuple[NDArray, NDArray]:
    """Standardised columns and the deviations; what hardly varies is left at 0."""
    spread = rows.std(0)
    spread = np.where(spread > 1e-9 * spread.max(initial=1e-300), spread, np.inf)
    return (rows - rows.mean(0)) / spread, spread


def _signs(count: int, units: int, rng: np.random.Generator) -> NDArray:
    return rng.integers(0, 2, (count, units), dtype=np.int8) * 2 - 1


def _partial(h: NDArray, z: NDArray) -> tuple[NDArray, NDArray]:
    """What a linear map of z (G, 2, C) leaves of h (G, 2, width) and of the labels ±1 (G, 2)."""
    X = np.column_stack([np.ones(2 * len(h)), z.reshape(2 * len(h), -1)])
    Q = np.linalg.qr(X)[0] if X.shape[1] < len(X) else X[:, :1] / len(X) ** 0.5
    rows, labels = h.reshape(2 * len(h), -1), side_labels(len(h)) * 2.0 - 1
    left = rows - Q @ (Q.T @ rows), labels - Q @ (Q.T @ labels)
    return left[0].reshape(h.shape), left[1].reshape(-1, 2)


def _logistic(h: NDArray) -> NDArray:
    from sklearn.linear_model import LogisticRegression

    x, spread = standardised_columns(h.reshape(2 * len(h), -1))
    model = LogisticRegression(C=STRENGTH, tol=1e-3, max_iter=1000).fit(x, side_labels(len(h)))
    return model.coef_[0] / spread


def _discriminant(h: NDArray, labels: NDArray) -> NDArray:
    x, spread = standardised_columns(h.reshape(2 * len(h), -1))
    # The logistic loss bends by 1/4 where it is steepest: the penalty that C stands for there.
    gram = x.T @ x + 4 / STRENGTH * np.eye(x.shape[1])
    return np.linalg.solve(gram, x.T @ labels.ravel()) / spread


# How well they tell the sides of held-out pairs apart


def held_out(method: str, h: NDArray, z: NDArray, fold: NDArray) -> NDArray:
    """The CAVs (folds, width) that were fitted without each fold of the pairs (G,)."""
    return np.stack([fit(method, h[fold != f], z[fold != f]) for f in np.unique(fold)])


def auroc_values(cavs: NDArray, h: NDArray, fold: NDArray) -> NDArray:
    """How well CAVs (folds, width) tell the sides of the pairs of their fold apart, by the projection alone: (G,)
    values whose mean is the AUROC (folds weighted by their pairs).

    Each is what a pair's two states say of the AUROC (placements, DeLong et al. 1988), so that values spread, and can
    be compared between CAVs, as if they were measurements of one pair.
    """
    values = np.empty(len(h))
    for f, cav in zip(np.unique(fold), cavs, strict=True):
        here = fold == f
        low, high = (h[here] @ cav).T
        above, below = placements(high, low)
        values[here] = above + below - above.mean()
    return values


def auroc_interval(values: NDArray, unit: NDArray, level: float = 0.95) -> Interval:
    """Mean and interval of `auroc_values`, over the units of pairs.

    The interval is of these CAVs, which is what matters where there is a concept (simulated: 94.5 % cover the truth).
    Where labels mean nothing it is too narrow (19 % exclude 0.5), since folds that train on each other err together:
    see the rows of random labels.
    """
    return within_0_and_1(student_interval(values, level, unit))


def within_0_and_1(interval: Interval) -> Interval:
    """The same interval, its ends clipped: of a share."""
    low, high = (float(np.clip(v, 0, 1)) for v in (interval.low, interval.high))
    return Interval(interval.estimate, low, high, level=interval.level, units=interval.units, method=interval.method)


def half_agreement(
    h: NDArray, z: NDArray, unit: NDArray, fold: NDArray, count: int, rng: np.random.Generator
) -> NDArray:
    """Cosine of the primary CAVs of disjoint halves of the problems, averaged over the ways to halve the folds:
    (1 + count,), the first of the pairs as they are, the others with labels swapped at random."""
    names = np.unique(fold)
    signs = _signs(count, unit.max() + 1, rng)[:, unit]
    signs = np.concatenate([np.ones((1, len(fold))), signs])
    cosines = []
    for others in combinations(names[1:], len(names) // 2 - 1):
        first = np.isin(fold, (names[0], *others))
        sides = [signs[:, half] @ contributions(h[half], z[half]) for half in (first, ~first)]
        sizes = [np.maximum(np.linalg.norm(side, axis=1), 1e-300) for side in sides]
        cosines.append((sides[0] * sides[1]).sum(1) / (sizes[0] * sizes[1]))
    return np.mean(cosines, axis=0)
