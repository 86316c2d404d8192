"""Pictures show the numbers that they are given, legibly."""

import numpy as np
import pytest
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from pandas import DataFrame

from ired.plotting import plots


def test_a_heat_map_writes_what_is_known_in_an_ink_that_can_be_read():
    axis = Figure().subplots()
    values = np.array([[0.0, 1.0], [np.nan, 0.5]])
    framed = np.array([[False, True], [False, False]])
    image = plots.heat_map(axis, values, "Greys", Normalize(0, 1), "{:.1f}", framed=framed)
    assert [(t.get_text(), t.get_color()) for t in axis.texts[:2]] == [("0.0", "0.1"), ("1.0", "white")]
    assert len(axis.texts) == 3 and axis.texts[1].get_fontweight() == "bold"
    (frame,) = axis.patches
    assert frame.get_x() + frame.get_width() / 2 == pytest.approx(1)
    assert frame.get_y() + frame.get_height() / 2 == pytest.approx(0)
    assert plots.ink(image, 1.0) == "white"


def test_a_matrix_has_no_ticks():
    axis = Figure().subplots()
    plots.matrix(axis, np.eye(3), "Greys", Normalize(0, 1))
    assert not len(axis.get_xticks()) and not len(axis.get_yticks())


@pytest.mark.parametrize("upright", [False, True])
def test_dots_stand_where_their_rows_say_and_are_hollow_where_asked(upright):
    axis = Figure().subplots()
    rows = DataFrame({"share": [1.0, 2.0, 3.0], "share_low": [0.5, 1.5, 2.5], "share_high": [2, 3, 4], "low": 9.0})
    plots.dots(axis, rows, [5, 6, 7], "share", "black", "s", filled=[True, False, True], upright=upright, label="x")
    filled, hollow, key = axis.lines
    value, place = ("y", "x") if upright else ("x", "y")
    assert list(getattr(filled, f"get_{value}data")()) == [1, 3]
    assert list(getattr(hollow, f"get_{place}data")()) == [6]
    assert (filled.get_markerfacecolor(), hollow.get_markerfacecolor()) == ("black", "white")
    ends = np.array([segment[:, int(upright)] for segment in axis.collections[0].get_segments()])
    np.testing.assert_allclose(ends, [[0.5, 2], [1.5, 3], [2.5, 4]])
    assert axis.get_legend_handles_labels()[1] == ["x"] and not len(key.get_xdata())


def test_the_first_row_is_on_top():
    axis = Figure().subplots()
    plots.row_names(axis, ["a", "b", "c"], between=True)
    assert axis.get_ylim() == (2.5, -0.5) and len(axis.lines) == 2
