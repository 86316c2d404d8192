"""TCAV's p-values."""

import numpy as np

from ired.instruments.concepts.tcav import Tcav


def test_p_values_by_hand():
    test = Tcav(np.array([0.9, 0.1, 0.5, 0.4]), np.array([0.0, 0.0, 0.0, 0.0]), 10)
    assert test.p("score") == 0.5
    assert test.p("mean") == 1.0
