"""What axes show is what was drawn."""

import pytest
from matplotlib.figure import Figure

from ired.plotting import style


@pytest.mark.parametrize("values", [(-0.03, 0.5), (0.0, 0.5), (-3.0, 20.0), (0.2, 300.0)])
def test_nothing_lies_outside_an_axis_of_both_signs(values):
    axis = Figure().subplots()
    axis.plot([0, 1], values)
    style.signed_log(axis)
    low, high = axis.get_ylim()
    assert low <= min(values) and max(values) <= high
    assert low <= 0 <= high
