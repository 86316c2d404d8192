"""Logistic probes of a yes-or-no label, with nested cross-validation grouped by problem.

scikit-learn's LogisticRegression on standardised features; C is chosen by log-loss on folds inside
the training part. AUROC compares states of one fold only, since they were read by one probe: across
folds a probe that knows nothing says the rate of its training part, which is low where the rate of its
test part is high, and an AUROC over all would be below one half.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from ired.instruments.statistics.auroc import delong
from ired.instruments.statistics.intervals import Interval

STRENGTHS = (1e-5, 1e-3, 1e-1)
LOG_2 = float(np.log(2))


def widening(folds: int) -> float:
    """By how much standard errors over problems grow for what J folds share: √(1 + J/(J − 1)), since
    each test part is 1/(J − 1) of its training part (Nadeau & Bengio 2003)."""
    return float(np.sqrt(1 + folds / (folds - 1)))


@dataclass(frozen=True)
class Judgement:
    """What probes say about N states that they were not fitted to.

    label (N,) bool; logit (N,); base (N,): the rate of "yes" in the probe's training part; fold (N,);
    strength (folds,): the C chosen inside.
    """

    label: NDArray
    logit: NDArray
    base: NDArray
    fold: NDArray
    strength: NDArray

    @property
    def bits(self) -> NDArray:
        """Log-loss (N,) in bits."""
        return log_loss(self.label, self.logit) / LOG_2

    @property
    def bits_of_base(self) -> NDArray:
        """Log-loss (N,) in bits of who says the training part's rate."""
        return log_loss(self.label, special.logit(self.base)) / LOG_2

    def auroc(self, level: float = 0.95) -> Interval:
        """Area under the ROC curve; ½ is chance. See `auroc_within_folds`."""
        return auroc_within_folds(self.label, self.logit, self.fold, level)


def logistic_probe(x: NDArray, label: ArrayLike, fold: NDArray, strengths: Sequence[float] = STRENGTHS) -> Judgement:
    """Probes of features x (N, F) for a label (N,), each state read by one that never saw its fold.

    Raises ValueError where a training part holds one class alone, or there are fewer than 3 folds.
    """
    label, count = np.asarray(label, dtype=bool), int(fold.max()) + 1
    if count < 3:
        raise ValueError(f"nested cross-validation needs at least three folds, not {count}")
    inner = np.zeros((count, len(strengths)))
    for i, j in combinations(range(count), 2):
        logits = fitted_logits(x, label, (fold != i) & (fold != j), strengths)
        for chosen_for, test in ((i, fold == j), (j, fold == i)):
            inner[chosen_for] += [log_loss(label[test], z[test]).sum() for z in logits]
    logit, base = np.empty(len(label)), np.empty(len(label))
    chosen = np.asarray(strengths)[inner.argmin(1)]
    for i in range(count):
        test = fold == i
        logit[test] = fitted_logits(x, label, ~test, [chosen[i]])[0][test]
        base[test] = label[~test].mean()
    return Judgement(label=label, logit=logit, base=base, fold=fold, strength=chosen)


def fitted_logits(x: NDArray, label: NDArray, train: NDArray, strengths: Sequence[float]) -> list[NDArray]:
    """Logits (N,) of all states by probes fitted to those of `train` (N,) bool, for each C."""
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(label[train])) < 2:
        raise ValueError("a probe cannot be fitted to labels that are all the same")
    mean, scale = x[train].mean(0), x[train].std(0)
    z = (x - mean) / np.where(scale > 1e-12 * np.abs(x).max(0), scale, 1.0)
    logits = []
    for C in strengths:
        probe = LogisticRegression(C=C, max_iter=10_000).fit(z[train], label[train])
        logits.append(z @ probe.coef_[0] + probe.intercept_[0])
    return logits


def log_loss(label: NDArray, logit: NDArray) -> NDArray:
    """−log of the probability given to what is, (N,), in nats."""
    return np.logaddexp(0, np.where(label, -logit, logit))


def auroc_within_folds(label: NDArray, score: NDArray, fold: NDArray, level: float = 0.95) -> Interval:
    """The share of pairs of one fold, one of each class, that scores (N,) put in order, ties half.

    Interval by DeLong's variance, summed over folds and widened for what their probes share. Folds without two of
    each class are left out; raises ValueError where none is left.
    """
    areas, variances, pairs = [], [], []
    for f in np.unique(fold):
        yes, no = (score[None, (fold == f) & (label == side)] for side in (True, False))
        if min(yes.size, no.size) < 2:
            continue
        area, covariance = delong(yes, no)
        areas.append(area[0])
        variances.append(covariance[0, 0])
        pairs.append(yes.size * no.size)
    if not areas:
        raise ValueError("no fold holds two states of each class")
    share = np.asarray(pairs) / np.sum(pairs)
    estimate = float(share @ areas)
    error = np.sqrt(share**2 @ np.asarray(variances))
    if len(np.unique(fold)) > 1:
        error *= widening(len(np.unique(fold)))
    reach = float(special.ndtri((1 + level) / 2) * error)
    low, high = max(estimate - reach, 0.0), min(estimate + reach, 1.0)
    return Interval(estimate=estimate, low=low, high=high, level=level, units=len(label), method="DeLong")
