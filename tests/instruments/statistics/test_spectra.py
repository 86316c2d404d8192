"""Effective numbers of directions count equal eigenvalues, and inertia counts signs."""

import numpy as np

from ired.instruments.statistics import spectra


def test_equal_eigenvalues_are_counted_by_both_ranks():
    values = np.array([[3.0, -3, 3, 0], [0, 0, 5, 0], [0, 0, 0, 0]])
    np.testing.assert_allclose(spectra.participation_ratio(values), [3, 1, 0])
    np.testing.assert_allclose(spectra.entropy_rank(values), [3, 1, 1])


def test_inertia_is_relative_to_the_largest():
    values = np.array([-1e-9, 1.0, 2.0])
    assert spectra.inertia(values).tolist() == [0, 1, 2]
    assert spectra.inertia(values, 1e-10).tolist() == [1, 0, 2]
