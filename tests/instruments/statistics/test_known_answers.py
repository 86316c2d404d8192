"""Known answers of intervals see an interval that is too narrow."""

import torch

from ired.instruments.statistics import intervals, known_answers


def test_a_wrong_standard_error_is_seen(references, monkeypatch):
    monkeypatch.setattr(intervals.special, "stdtrit", lambda df, q: 0.7)
    answers = known_answers.check_statistics(references, torch.Generator().manual_seed(1))
    assert {answer.instrument for answer in answers if not answer.passed} == {"statistics"}
