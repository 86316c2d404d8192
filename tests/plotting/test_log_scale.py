"""Ticks of logarithmic axes are named as matplotlib would name them, in plain text."""

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from ired.plotting.log_scale import plain_numbers
from ired.plotting.style import canvas


def named(ends, scale, **options):
    """Names of the ticks of an axis from ends[0] to ends[1]."""
    figure, axes = canvas()
    axis = axes[0, 0]
    axis.set_xscale(scale, **options)
    axis.set_xlim(*ends)
    FigureCanvasAgg(figure).draw()
    labels = [label.get_text() for minor in (False, True) for label in axis.get_xticklabels(minor=minor)]
    return [label for label in labels if label]


def test_numbers_far_from_1_are_powers_of_ten():
    assert plain_numbers([-1e-8, 0, 0.02, 20, 3e7]) == ["−10⁻⁸", "0", "0.02", "20", "3·10⁷"]
    assert plain_numbers([-0.5, 0.001, 1]) == ["−0.5", "0.001", "1"]


@pytest.mark.parametrize(
    "ends, shown",
    [((0.1, 1000), {"0.1", "1", "10", "100", "1000"}), ((1e-9, 1e-3), {"10⁻⁹", "10⁻⁷", "10⁻⁵"}), ((2, 8), {"2", "3"})],
)
def test_a_logarithmic_axis_has_plain_ticks(ends, shown):
    names = named(ends, "log")
    assert shown <= set(names) and not any("$" in name or "mathdefault" in name for name in names)


def test_an_axis_of_both_signs_has_them_too():
    names = named((-100, 100), "symlog", linthresh=1.0)
    assert {"−100", "−10", "0", "10", "100"} <= set(names) and not any("$" in name for name in names)
