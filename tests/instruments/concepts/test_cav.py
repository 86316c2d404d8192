"""Concept activation vectors and their AUROC."""

import numpy as np
import pytest

from ired.instruments.concepts import cav, known_answers
from ired.instruments.concepts.cav import METHODS


@pytest.mark.parametrize("method", METHODS)
def test_a_cav_is_of_length_1_and_grows_with_the_concept(method):
    data = known_answers.planted_concept(np.random.default_rng(0), 0.0, pairs=60)
    vector = cav.fit(method, data.h, data.z)
    assert np.linalg.norm(vector) == pytest.approx(1)
    assert vector @ data.concept > 0.5
    assert cav.fit(method, data.h[:, ::-1], data.z[:, ::-1]) @ vector == pytest.approx(-1, abs=1e-3)


def test_auroc_by_hand():
    # Low sides 0, 2; high sides 1, 3: three of four comparisons are right.
    h = np.array([[[0.0], [1.0]], [[2.0], [3.0]]])
    values = cav.auroc_values(np.ones((1, 1)), h, np.zeros(2, dtype=int))
    assert values.mean() == pytest.approx(0.75)
    assert cav.auroc_values(np.zeros((1, 1)), h, np.zeros(2, dtype=int)).mean() == 0.5


def test_auroc_is_that_of_scikit_learn():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    h = rng.normal(size=(50, 2, 3))
    vector = rng.normal(size=3)
    known = roc_auc_score(np.tile([0, 1], 50), (h @ vector).ravel())
    assert cav.auroc_values(vector[None], h, np.zeros(50)).mean() == pytest.approx(known)
