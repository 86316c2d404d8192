"""Calibration of SPD geometry passes on sound instruments, and names the one that is broken."""

from dataclasses import replace

import pytest

from ired.instruments.geometry import answer_errors, known_answers as calibration, metric_laws, metrics
from ired.model import problems as model_problems

CHECKS = {"spd_laws": calibration.check_spd_laws, "spd_answers": calibration.check_spd_answers}


@pytest.mark.slow
@pytest.mark.parametrize("room", CHECKS)
def test_sound_instruments_pass(room):
    for seed in range(3):
        found = CHECKS[room](model_problems.generator(seed, "spd"))
        assert [str(check) for check in found if not check.passed] == []
        assert {check.instrument for check in found} == {room}


def spoiled(place, name, spoil, monkeypatch):
    own = getattr(place, name)
    monkeypatch.setattr(place, name, lambda *a, **k: spoil(own(*a, **k)))


@pytest.mark.parametrize(
    "place, name, spoil, room",
    [
        (metric_laws, "worst", lambda error: 2 * error, "spd_laws"),
        (metrics.LogEuclidean, "mean", lambda mean: 1.001 * mean, "spd_laws"),
        (metrics.BuresWasserstein, "transport", lambda moved: 1.001 * moved, "spd_laws"),
        (answer_errors, "departure", lambda seen: replace(seen, lowest=0.9 * seen.lowest), "spd_answers"),
        (answer_errors, "matched_noise", lambda noise: 1.01 * noise, "spd_answers"),
        (answer_errors, "compare_with_noise", lambda seen: replace(seen, wins=1 - seen.wins), "spd_answers"),
    ],
    ids=["errors", "mean", "transport", "departure", "noise", "comparison"],
)
def test_a_broken_instrument_is_named(monkeypatch, place, name, spoil, room):
    spoiled(place, name, spoil, monkeypatch)
    found = CHECKS[room](model_problems.generator(0, "spd"))
    assert {check.instrument for check in found if not check.passed} == {room}
