"""What axes show is what was drawn, with few ticks in plain numbers."""

import pytest
from matplotlib.figure import Figure

from ired.plotting import axes


@pytest.mark.parametrize("which", ["x", "y"])
@pytest.mark.parametrize("values", [(-0.03, 0.5), (0.0, 0.5), (-3.0, 20.0), (0.2, 300.0)])
def test_nothing_lies_outside_an_axis_of_both_signs(values, which):
    axis = Figure().subplots()
    axis.plot(*((values, [0, 1]) if which == "x" else ([0, 1], values)))
    axes.signed_log(axis, which=which)
    low, high = axis.get_xlim() if which == "x" else axis.get_ylim()
    assert low <= min(values) and max(values) <= high
    assert low <= 0 <= high


@pytest.mark.parametrize("most", [3, 8])
@pytest.mark.parametrize("ends", [(0.9, 2), (60, 110), (0.5, 40), (1e-17, 1e2), (3e-7, 2e5)])
def test_ticks_of_a_logarithmic_axis_are_few_and_inside(ends, most):
    axis = Figure().subplots()
    axis.set(xscale="log", xlim=ends)
    axes.plain_ticks(axis, most=most)
    ticks = axis.get_xticks()
    assert 1 <= len(ticks) <= most and ends[0] <= min(ticks) and max(ticks) <= ends[1]
    assert not len(axis.get_xticks(minor=True))
