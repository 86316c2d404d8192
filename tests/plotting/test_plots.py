"""Pictures show the numbers that they are given, legibly."""

import numpy as np
import pytest
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

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
