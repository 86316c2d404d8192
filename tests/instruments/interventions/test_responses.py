"""Movement and steering of planted responses."""

import math

import numpy as np
import pandas
import pytest

from ired.instruments.interventions import responses
from ired.instruments.interventions.pushes import KEYS, MEASURES


def planted(slope, move):
    """Responses by hand: own moves by `move`, random draws by 1, a property by `slope` per dose."""
    rng, rows = np.random.default_rng(0), []
    for control, draws in (("own", 1), ("random", 3), ("covariance", 2), ("orthogonal", 1)):
        for draw in range(draws):
            gain, size = (slope, move) if control == "own" else (0.05 * (-1) ** draw, 1.0)
            for dose in (-2.0, 1.0, 2.0) if control != "own" else (-2.0, 0.0, 1.0, 2.0):
                for problem in range(20):
                    noise = rng.normal(0, 0.1, 4)
                    rows.append(
                        (
                            "v",
                            control,
                            draw,
                            "add",
                            dose,
                            problem,
                            0.0,
                            0.0,
                            1.0,
                            abs(dose) * size + noise[0],
                            1 + noise[1],
                            1.0,
                            3 + gain * dose + noise[2],
                            1 + noise[3],
                            0.5,
                        )
                    )
    return pandas.DataFrame(rows, columns=[*KEYS, *MEASURES])


def test_movement_and_steering_of_planted_responses():
    table = planted(0.3, 1.5)
    moved, steered = responses.movement(table).iloc[0], responses.steering(table).iloc[0]
    assert moved["ahead"] == pytest.approx(1, abs=0.1) and moved["low"] > 0.8 and moved["above_all"]
    assert moved["p_covariance"] < 1e-6 and moved["beyond"] and moved["most"] < 2.1
    assert moved["p_adjusted"] < 1e-6 and moved["random"] == pytest.approx(2, abs=0.1)
    assert steered["slope"] == pytest.approx(0.3, abs=0.05) and steered["low"] > 0
    assert steered["null"] == pytest.approx(0.05, abs=0.04) and steered["ahead_low"] > 0.1
    for slope in (-0.3, 0.02):
        assert responses.steering(planted(slope, 0.5))["p_adjusted"][0] > 0.05
    still = responses.movement(planted(0, 0.5)).iloc[0]
    assert still["ahead"] < 0 and still["p"] > 0.99 and not still["above_all"]
    assert not still["beyond"] and steered["moves"]
    assert responses.steering(table.assign(carried=np.nan)).empty
    np.testing.assert_allclose(responses.farthest(table), 0.5)


def test_summary_counts_problems_not_draws():
    seen = responses.summarised(planted(0.3, 1.5)).set_index(["control", "edit", "dose", "measure"])
    changed = seen.xs("changed", level="measure")["mean"]
    assert changed["own", "add", 0.0] == 0
    assert changed["own", "add", 2.0] == pytest.approx(0.6, abs=0.1)
    one = seen.loc[("random", "add", 2.0, "moved")]
    assert one["units"] == 20 and one["low"] < one["mean"] < one["high"]
    assert one["least"] < one["mean"] < one["most"]
    # Three draws averaged: noise of 0.1/√3 over 20 problems.
    assert one["high"] - one["low"] == pytest.approx(2 * 2.09 * 0.1 / math.sqrt(60), rel=0.5)
    assert responses.p_above([1, 1, 1]) == 0 and responses.p_above([0, 0]) == 1
