"""Forest plots and heat maps mark what is significant, and what cannot be seen."""

import itertools

import pytest
from matplotlib.colors import same_color
from matplotlib.patches import Rectangle

from ired.instruments.comparison import figures, figures_differences
from tests.instruments.comparison.test_figures import MINING, compared, marks, words


def test_forests_fill_what_is_significant_and_grey_what_cannot_be_seen():
    table = compared(("none", "random", "property"), 5)
    figure = figures_differences.plot_differences(table)
    filled = {}
    for axis, name in itertools.product(figure.axes, ("random", "property")):
        own = figures.looks(MINING)[name].colour
        points = [x for x in marks(axis, "o") if same_color(x.get_color(), own)]
        filled.setdefault(name, []).extend(same_color(x.get_markerfacecolor(), own) for x in points)
    expected = table.groupby("variant")["significant"].sum()
    assert {name: sum(own) for name, own in filled.items()} == expected.to_dict()
    assert expected["property"] >= 1
    (band,) = [p for p in figure.axes[0].patches if same_color(p.get_facecolor(), "0.88")]
    assert band.get_x() == pytest.approx(-table["detectable_d"].iloc[0])
    # A metric that is 0 throughout has no share of the reference.
    assert "metric.2" in words(figure)
    assert "metric.2" not in words(figures_differences.plot_differences(table, "relative"))


def test_the_heat_map_frames_what_is_significant_and_leaves_gaps():
    table = compared(MINING, 4, phases=False)
    figure = figures_differences.plot_difference_heatmap(table)
    axis = figure.axes[0]
    frames = [patch for patch in axis.patches if isinstance(patch, Rectangle) and not patch.get_fill()]
    assert len(frames) == table["significant"].sum() >= 1
    numbers = [t for t in axis.texts if t.get_text()]
    assert len(numbers) == len(table) == 3 * 4 - 1
    assert {"0"} <= set(words(figure))
