"""Concept regression's R²."""

import numpy as np
import pytest

from ired.instruments.concepts import regression


def test_r2_values_average_to_r2():
    rng = np.random.default_rng(0)
    error, spread = rng.random(40), 1 + rng.random(40)
    values = regression.explained_values(error, spread)
    assert values.mean() == pytest.approx(1 - error.sum() / spread.sum())
