"""Linear surrogates by ridge regression: how much of a network is an affine map of the problem?

The published model is as accurate as least squares on A. So whatever is found in a network is asked
for here: how much of it does an affine map of the upper triangle of A explain on problems that the map
was not fitted to, and does the finding survive in what is left? Maps of [A, A²] and of [A, y] stand
beside it. The map is ridge regression on standardised features with the weakest penalty of ALPHAS that
does best when single rows are left out: least squares where there are enough problems (Hastie,
Tibshirani & Friedman 2009, ch. 3 and 7). Folds are problems: rows that share one are never on both
sides. Where the problems that are looked at are few, maps are fitted to others: one that has seen fewer
problems than it has features (A alone has 210 at n = 20) explains little, and leaves what is affine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pandas import DataFrame
from torch import Tensor

from ired.instruments.accuracy import predictors
from ired.instruments.core import states
from ired.instruments.core.states import array
from ired.instruments.statistics.intervals import (
    Interval,
    mean_interval,
    rank_correlation,
    student_interval,
)
from ired.instruments.statistics.regression import ridge
from ired.model.protocol import Energy

ALPHAS = tuple(10.0**power for power in (-6, -3, -1, 0, 1, 2, 3))
FOLDS = 5
FEATURES = ("A", "A, A²", "A, y")
Rows = tuple[Tensor, Tensor]  # features (N, F) and targets (N, …) of other problems


def surrogate_features(A: Tensor, kind: str, y: Tensor | None = None) -> Tensor:
    """One of FEATURES of problems A (N, n, n), the last with states y (N, size) in basis
    coordinates."""
    if kind == "A, y":
        if y is None:
            raise ValueError("features of A and y need states")
        return torch.cat([predictors.power_features(A, 1), y.double()], 1)
    return predictors.power_features(A, {"A": 1, "A, A²": 2}[kind])


def alternating_folds(count: int, number: int = FOLDS) -> NDArray:
    """A fold (count,) for each of `count` problems that come in no particular order."""
    return np.arange(count) % number


def cross_fitted(X: Tensor, T: Tensor, fold: NDArray, others: Rows | None = None) -> Tensor:
    """Predictions (N, …) of targets T (N, …) by the affine map of X (N, F) of the other folds; or, where
    rows of other problems are given, by the one map of these.

    Raises ValueError where there is but one fold.
    """
    if len(np.unique(fold)) < 2:
        raise ValueError("a map is judged on problems that it was not fitted to: two folds at least")
    x, t = array(X), array(T.flatten(1))
    if others is None:
        parts = [(fold == f, x[fold != f], t[fold != f]) for f in np.unique(fold)]
    else:
        parts = [(np.full(len(x), True), array(others[0]), array(others[1].flatten(1)))]
    predictions = np.empty_like(t)
    for test, inputs, values in parts:
        predictions[test] = ridge(inputs, values, ALPHAS).predict(x[test]).reshape(test.sum(), -1)
    return torch.from_numpy(predictions).to(T).view_as(T)


@dataclass(frozen=True)
class Explained:
    """What an affine map explains of targets (N, …): squared deviations of each row from the map and
    from the mean of the other folds, (N,), and what is left, (N, …)."""

    unexplained: NDArray
    total: NDArray
    left: Tensor

    @classmethod
    def of(cls, X: Tensor, T: Tensor, fold: NDArray, others: Rows | None = None) -> Explained:
        left, around = T - cross_fitted(X, T, fold, others), T - other_fold_means(T, fold)
        squares = (array(v.flatten(1).pow(2).sum(1)) for v in (left, around))
        return cls(*squares, left)

    def share(self) -> Interval:
        """Of the targets' variance, with Student's t interval over rows of its linearisation; 0 of
        targets that do not vary."""
        size = self.total.mean()
        if not size > 0:
            return Interval(estimate=0.0, low=0.0, high=0.0, level=0.95, units=len(self.total), method="constant")
        rest = self.unexplained.mean() / size
        return student_interval(1 - rest - (self.unexplained - rest * self.total) / size)


def other_fold_means(T: Tensor, fold: NDArray) -> Tensor:
    """The mean of the other folds for every row of T (N, …)."""
    fold = torch.as_tensor(fold, device=T.device)
    means = torch.stack([T[fold != f].mean(0) for f in range(int(fold.max()) + 1)])
    return means[fold]


# What is explained


def explained_shares(targets: Mapping[str, Tensor], A: Tensor, y: Tensor | None = None) -> DataFrame:
    """Rows of what, features, share, low, high: of targets (N, …) of problems A (N, n, n), by maps of
    A, of [A, A²], and, where they were taken at states y (N, size), of [A, y]."""
    fold, rows = alternating_folds(len(A)), []
    for kind in FEATURES if y is not None else FEATURES[:2]:
        X = surrogate_features(A, kind, y)
        for what, T in targets.items():
            share = Explained.of(X, T, fold).share()
            rows.append((what, kind, share.estimate, share.low, share.high))
    return DataFrame(rows, columns=["what", "features", "share", "low", "high"])


def column_shares(names: Sequence[str], T: Tensor, A: Tensor, y: Tensor | None = None) -> DataFrame:
    """The same of every column of T (N, len(names)) by itself."""
    fold, tables = alternating_folds(len(A)), []
    for kind in FEATURES if y is not None else FEATURES[:2]:
        missed = T - cross_fitted(surrogate_features(A, kind, y), T, fold), T - other_fold_means(T, fold)
        both = zip(*(array(v.pow(2)).T for v in missed), strict=True)
        shares = [Explained(left, around, T).share() for left, around in both]
        tables += [(name, kind, s.estimate, s.low, s.high) for name, s in zip(names, shares, strict=True)]
    return DataFrame(tables, columns=["what", "features", "share", "low", "high"])


@dataclass(frozen=True)
class Ordering:
    """How energies rank states of their problem: rank correlations of each problem, (P,).

    truth: with the distance to the answer; surrogate: with the distance to the affine map's answer;
    surrogate_truth: of the two distances; left: of the energy with the distance to the answer,
    the surrogate's ranks taken out of both (partial rank correlation).
    """

    truth: NDArray
    surrogate: NDArray
    surrogate_truth: NDArray
    left: NDArray

    def table(self) -> DataFrame:
        """Rows of what, share, low, high: mean correlations over problems."""
        rows = [(name, mean_interval(values)) for name, values in vars(self).items()]
        return DataFrame(
            [(name, interval.estimate, interval.low, interval.high) for name, interval in rows],
            columns=["what", "share", "low", "high"],
        )


def ordering(energies: NDArray, truth: NDArray, surrogate: NDArray) -> Ordering:
    """Of energies and distances (P, M)."""
    to_truth, to_surrogate, between = (
        rank_correlation(a, b) for a, b in ((energies, truth), (energies, surrogate), (surrogate, truth))
    )
    rest = np.sqrt(((1 - to_surrogate**2) * (1 - between**2)).clip(0))
    partial = np.divide(to_truth - to_surrogate * between, rest, out=np.zeros_like(to_truth), where=rest > 1e-6)
    return Ordering(to_truth, to_surrogate, between, partial.clip(-1, 1))


def answer_distances(energy: Energy, y: Tensor, answers: Tensor, k: int) -> Tensor:
    """‖y − √ᾱ_k answer‖ (P, M) of states y (P, M, d) from each problem's answer (P, d)."""
    return (y - states.centre(energy, answers, k)[:, None]).norm(dim=-1)
