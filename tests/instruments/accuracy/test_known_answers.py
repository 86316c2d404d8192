"""Known answers of predictors see weights that are wrong."""

import pytest
import torch

from ired.instruments.accuracy import known_answers, predictors


@pytest.mark.slow
def test_wrong_weights_are_seen(references, monkeypatch):
    solve = predictors._solve
    monkeypatch.setattr(predictors, "_solve", lambda *arguments, **options: 2 * solve(*arguments, **options))
    answers = known_answers.check_predictors(references, torch.Generator().manual_seed(1))
    assert {answer.instrument for answer in answers if not answer.passed} == {"predictors"}
