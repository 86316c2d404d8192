"""Errors and affine shares of planted answers."""

import pytest
import torch

from ired.instruments.accuracy import predictors
from ired.instruments.accuracy.metrics import accuracy
from ired.model import problems


@pytest.mark.slow
@pytest.mark.parametrize("gain", [0.0, 0.3, 1.0])
def test_planted_answers_have_the_shares_that_were_planted(generator, gain):
    """Answers that are the best affine map of A plus a share `gain` of what that misses."""
    A = problems.draw(4000, 3, 0.5, generator, torch.float64)
    Y = problems.inverse(A)
    best = predictors.affine_predictors([(A, Y)])["least_squares"](A)
    seen = accuracy(lambda A, steps: best + gain * (Y - best) + 0.1 * (1 - steps), A, Y, (0, 1))
    missed, varied = ((M.pow(2)).mean((1, 2)).mean().item() for M in (Y - best, best - best.mean(0)))
    expected = varied / (gain**2 * missed + varied)
    assert seen.affine.estimate == pytest.approx(expected, rel=0.02)
    assert seen.affine.low <= seen.affine.estimate <= seen.affine.high
    assert seen.recovered.estimate == pytest.approx(gain, rel=0.02, abs=1e-9)
    assert seen.mse[1].estimate == pytest.approx((1 - gain) ** 2 * missed, abs=1e-12)
    assert seen.errors[0].mean() - seen.errors[1].mean() == pytest.approx(0.01, rel=0.05, abs=2e-3)
    assert [(row["steps"], row["mse"]) for row in seen.rows()] == [(10 * k, seen.mse[k].estimate) for k in (0, 1)]
    numbers = seen.numbers("test")
    assert numbers["mse.test.steps_10"] == seen.mse[1].estimate and numbers["recovered.test"] == seen.recovered.estimate
    assert numbers["affine_share.test.low"] == seen.affine.low and len(numbers) == 8
