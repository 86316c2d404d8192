"""Figures of influence: axes can be read whatever the problems."""

import numpy as np
import pytest

from ired.instruments.influence import figures


@pytest.mark.parametrize("low, high", [(67, 115), (3, 4000)])
def test_an_axis_of_condition_numbers_has_ticks_that_can_be_read(low, high):
    kappa = np.geomspace(low, high, 24)
    figure = figures.plot_pulls(np.zeros((6, 24)), kappa, kappa[:6])
    ticks = figure.axes[1].get_xticks()
    assert 3 <= len(ticks) <= 12 and ((ticks >= low / 1.2) & (ticks <= 1.2 * high)).all()
