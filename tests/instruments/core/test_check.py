"""Checks say what was expected, and report the number that is furthest off."""

import numpy as np

from ired.instruments.core.check import Check, compare


def test_checks_say_what_was_expected_and_what_came():
    check = Check("hessian", "ideal eigenvalues", 1.0, 2.0, 1e-9)
    assert not check.passed
    assert str(check) == "hessian: ideal eigenvalues: expected 1, measured 2 (tolerance 1e-09)"
    assert not Check("x", "nan", 1.0, float("nan"), 1.0).passed
    assert Check("x", "exact", 1.0, 1.0, 0.0).passed


def test_the_worst_number_is_the_one_reported():
    worst = compare("x", "w", np.array([1.0, 5.0]), np.array([1.1, 4.0]), 0.5)
    assert (worst.expected, worst.measured) == (5.0, 4.0)
    assert not compare("x", "w", 0.0, np.array([0.0, np.nan]), 1.0).passed
