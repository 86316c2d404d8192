"""Error bars of several energies: paired, and without a number that is not named."""

from functools import partial

import numpy as np
import pytest
import torch

from ired.instruments.core import states
from ired.instruments.uncertainty import reliability, study, tweedie
from ired.model import problems as model_problems
from ired.model.reference import PredictorEnergy, Quadratic

PROBLEMS = 32


@pytest.fixture
def tables(ideal, algebraic, network, coordinates, schedule):
    A = model_problems.draw(PROBLEMS, coordinates.n, 0.5, model_problems.generator(0, "error bars"), torch.float64)
    d = coordinates.d
    energies = {
        "trained": network,
        "ideal": ideal,
        "algebraic": algebraic,
        "flat": Quadratic(coordinates, schedule, torch.zeros(d, d), torch.zeros(d)),
        "prediction": PredictorEnergy.of(coordinates, schedule, lambda A: A, A.repeat(4, 1, 1)),
    }
    y0, stream = states.answers(ideal, A), partial(model_problems.generator, 0, "error bars")
    bars = {name: tweedie.error_bars(energy, A, y0, range(10), stream()) for name, energy in energies.items()}
    return study.error_bar_tables(bars)


@pytest.mark.slow
def test_what_is_not_a_number_is_named(tables):
    assert {name: len(table) for name, table in tables.items()} == {
        "points": 5 * 10 * PROBLEMS,
        "calibration": 5 * 10,
        "coverage": 5 * 10 * 6,
        "ranking": 5 * 10,
    }
    for name, table in tables.items():
        numbers = table.select_dtypes("number")
        unnamed = numbers.isna().any(axis=1) & (table["note"] == "" if "note" in table else True)
        assert not unnamed.any(), name
    for kind, energy, note in (
        ("calibration", "ideal", reliability.CERTAIN),
        ("coverage", "ideal", reliability.NO_INTERVALS),
        ("ranking", "ideal", f"{reliability.ALIKE}; {reliability.EXACT}"),
        ("ranking", "flat", reliability.ALIKE),
        ("ranking", "prediction", reliability.ALIKE),  # a bowl has one Hessian for all problems
    ):
        table = tables[kind]
        assert (table.loc[table["energy"] == energy, "note"] == note).all(), (kind, energy)


@pytest.mark.slow
def test_energies_are_asked_at_the_same_points(tables, coordinates):
    points = tables["points"].set_index("energy")
    flat, ideal = points.loc["flat"], points.loc["ideal"]
    # A flat energy errs by the noise itself: the ideal one takes all of it away.
    np.testing.assert_allclose(ideal["actual"], 0, atol=1e-20 * flat["actual"].max())
    by_landscape = flat.groupby("landscape")[["actual", "predicted"]].mean()
    spread = np.sqrt(2 / (coordinates.size * PROBLEMS))
    assert (abs(by_landscape["actual"] / by_landscape["predicted"] - 1) < 5 * spread).all()


@pytest.mark.slow
def test_verdicts_are_those_of_the_sharpest_landscape_and_may_have_no_ratio(tables):
    def as_trained(name):
        return {kind: table[table["energy"] == name].assign(energy="trained") for kind, table in tables.items()}

    met, numbers = study.error_bar_verdicts(tables)["error_bars_calibrated"]
    row = tables["calibration"].query("energy == 'trained' and landscape == 0").iloc[0]
    assert numbers["ratio"] == row["ratio"] and met == (0.8 <= row["low"] and row["high"] <= 1.25)
    verdicts = study.error_bar_verdicts(as_trained("ideal"))
    assert verdicts["error_bars_calibrated"][0] is False
    assert verdicts["error_bars_calibrated"][1]["ratio"] == study.NO_RATIO
    met, numbers = study.error_bar_verdicts(as_trained("prediction"))["error_bars_rank_problems"]
    assert not met and numbers["spearman"] == 0 and np.isfinite(list(numbers.values())).all()
    title, values, higher = study.error_bar_measures(tables)["denoised_error"]
    assert title == "squared error of the denoised estimate, k = 0" and not higher
    assert {name: len(x) for name, x in values.items()} == dict.fromkeys(tables["points"]["energy"], PROBLEMS)
