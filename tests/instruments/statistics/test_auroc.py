"""One area under the ROC curve, whichever way it is counted."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ired.instruments.statistics.auroc import auroc, delong, of_tally, placements, tally


def test_auroc_counts_pairs():
    score, labels = np.array([0.1, 0.4, 0.4, 0.9]), np.array([0, 0, 1, 1], dtype=bool)
    assert auroc(score, labels) == (1 + 1 + 0.5 + 1) / 4
    assert auroc(score, labels, np.array([0, 1, 1, 0])) == (1 + 0.5) / 2
    assert auroc(score, np.ones(4, bool)) == 0.5


def test_all_ways_agree_with_scikit_learn():
    rng = np.random.default_rng(0)
    score, labels = rng.integers(0, 5, 200), rng.random(200) < 0.3
    known = roc_auc_score(labels, score)
    above, below = placements(score[labels], score[~labels])
    estimate, covariance = delong(score[None, labels], score[None, ~labels])
    summed = of_tally(tally(score, labels, rng.integers(0, 7, 200)).sum(0))
    for one in (auroc(score, labels), above.mean(), below.mean(), estimate[0], summed):
        assert one == pytest.approx(known, abs=1e-14)
    assert covariance.shape == (1, 1) and covariance[0, 0] > 0
