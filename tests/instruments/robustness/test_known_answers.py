"""The calibration of P6-01 names the known answer that a broken instrument misses."""

import pytest
import torch

from ired.instruments.robustness import known_answers as calibration, procrustes_matching, score


def missed(checks):
    return [check.what for check in checks if not check.passed]


def generator():
    return torch.Generator().manual_seed(5)


@pytest.mark.parametrize(
    "module, name, spoil, check, named",
    [
        (
            procrustes_matching,
            "procrustes",
            lambda r: procrustes_matching.Rotation(r.matrix.mT, r.scale),
            calibration.check_matching,
            "the planted rotation",
        ),
        (
            procrustes_matching,
            "assigned",
            lambda pairs: (pairs[0], pairs[1][::-1].copy()),
            calibration.check_matching,
            "share of a permuted dictionary matched back",
        ),
        (
            procrustes_matching,
            "chance_matched",
            lambda drawn: drawn * 0.5,
            calibration.check_matching,
            "the same by matching one",
        ),
        (score, "statistic", lambda t2: 4 * t2, calibration.check_robust, "null effects called robust"),
        (score, "robustness_score", lambda score: score**2, calibration.check_robust, "score with many networks"),
    ],
    ids=["rotation", "assignment", "chance", "t", "score"],
)
def test_a_broken_instrument_is_named(monkeypatch, module, name, spoil, check, named):
    own = getattr(module, name)
    monkeypatch.setattr(module, name, lambda *a, **k: spoil(own(*a, **k)))
    assert named in missed(check(generator()))
