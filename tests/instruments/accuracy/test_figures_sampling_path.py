"""The figure of the sampling path shows what stands in its table."""

import numpy as np
import pytest

from ired.instruments.accuracy.figures_sampling_path import plot_sampling_path
from ired.instruments.accuracy.sampling_path import SamplingPath
from ired.instruments.statistics.tables import stacked

pytestmark = pytest.mark.usefixtures("no_warnings")

REFERENCES = {"least_squares": 0.0096, "regression": 0.0078}
LEFT = np.array([0.0101, 0.0101, 0.0102, 0.0105, 0.0107, 0.0106, 0.0100, 0.0093, 0.0096, 0.2])  # k = 0 … 9


def planted(left, memory=0.7, problems=40, seed=0):
    """A path whose errors after the landscapes are `left`, a tenth larger after denoising, forgotten by two thirds."""
    left, rng = np.asarray(left, dtype=float), np.random.default_rng(seed)
    stages = np.stack([np.append(left[1:], 300.0), 1.1 * left, left], axis=1)
    errors = stages[..., None] * np.exp(0.2 * rng.standard_normal(problems))
    forgotten = memory / 3.0 ** np.arange(len(left))[::-1]
    return SamplingPath(errors, errors * forgotten[:, None, None], np.full(problems, 0.02))


def words(figure):
    figure.draw_without_rendering()
    texts = [text.get_text() for axis in figure.axes for text in axis.texts]
    return texts + [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def line(axis, label):
    (curve,) = [curve for curve in axis.lines if curve.get_label() == label]
    return curve


def test_every_stage_is_drawn_with_levels_and_the_stop():
    table = planted(LEFT).error_table()
    figure = plot_sampling_path(table, REFERENCES, stop=7)
    said = words(figure)
    whole, near, memory, changes = figure.axes
    rows = table[table["stage"] != "enter"]
    for axis, column in ((whole, "mse"), (near, "mse"), (memory, "memory")):
        x, y = line(axis, "trained").get_data()
        np.testing.assert_allclose(y, rows[column])
        assert (np.diff(x) > 0).all() and len(x) == 20
    assert {"least squares", "regression network", "after denoising", "after descents"} <= set(said)
    assert sum("stopping after k = 7" in text for text in said) == 1
    # The chosen landscape is the one with the lowest error, and the line stands behind its descents.
    stop = changes.lines[-1].get_xdata()[0]
    after = np.asarray(line(whole, "trained").get_xdata())
    assert after[np.argmin(rows["mse"])] < stop < after[np.argmin(rows["mse"]) + 1]
    assert [text.get_text() for text in changes.get_xticklabels()] == [str(k) for k in range(9, -1, -1)]
    assert whole.get_yscale() == "log" and near.get_yscale() == "linear"
    assert near.get_ylim()[0] < rows["low"].min() and near.get_ylim()[1] == pytest.approx(1.6 * rows["mse"].min())


def test_changes_are_shares_of_the_error_before():
    figure = plot_sampling_path(planted(LEFT).error_table(), {})
    drawn = np.sort(
        np.concatenate([curve.get_ydata() for curve in figure.axes[3].lines if len(curve.get_ydata()) == 10])
    )
    before = np.append(LEFT[1:], 300.0)
    expected = np.sort(np.concatenate([110 * LEFT / before - 100, np.full(10, 100 / 1.1 - 100)]))
    np.testing.assert_allclose(drawn, expected, rtol=1e-6)


def test_controls_stand_beside_the_model_and_a_single_start_has_no_memory():
    tables = {
        "trained": planted(LEFT).error_table(),
        "untrained": planted(np.full(10, 0.9), 3.0**9, seed=1).error_table(),
        "ideal": planted(np.full(10, 1e-30), 0.0, seed=2).error_table(),
    }
    figure = plot_sampling_path(stacked(tables, "energy"), REFERENCES)
    assert set(tables) <= set(words(figure))
    alone = planted(LEFT)
    single = SamplingPath(alone.errors, None, alone.zero)
    figure = plot_sampling_path(single.error_table(), REFERENCES, stop=7)
    words(figure)
    assert [axis.axison for axis in figure.axes] == [True, True, False, True]
