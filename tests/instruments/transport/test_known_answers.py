"""Calibration of transport names the instrument that is broken."""

from dataclasses import replace

import pytest

from ired.instruments.transport import (
    annealing,
    answer_clouds,
    distances,
    energy_ranking,
    known_answers as calibration,
)
from ired.model import problems as model_problems

PLANTED = {
    "transport": calibration.check_transport,
    "transport_answers": calibration.check_transport_answers,
    "transport_path": calibration.check_transport_path,
}


def stream():
    return model_problems.generator(0, "transport")


@pytest.mark.slow
@pytest.mark.parametrize(
    "room, instrument, name, spoil",
    [
        ("transport", distances, "exact", lambda w: 1.1 * w),
        ("transport", distances, "entropic", lambda cost: 1.1 * cost),
        ("transport", distances, "bures", lambda w: 1.1 * w),
        ("transport_answers", answer_clouds, "affine_squared", lambda c: c**0.5),
        ("transport_answers", answer_clouds, "null", lambda d: {m: v + 9 for m, v in d.items()}),
        ("transport_path", annealing, "_between", lambda w: w**2),
    ],
)
def test_a_broken_instrument_is_named(monkeypatch, room, instrument, name, spoil):
    own = getattr(instrument, name)
    monkeypatch.setattr(instrument, name, lambda *a, **k: spoil(own(*a, **k)))
    assert {check.instrument for check in PLANTED[room](stream()) if not check.passed} == {room}


@pytest.mark.parametrize(
    "name, spoil",
    [
        ("candidate_gaps", lambda found: {place: abs(gap) ** 0.5 for place, gap in found.items()}),
        ("correlate_gaps", lambda rows: rows.assign(rho=0.9 * rows["rho"])),
        ("candidates", lambda made: replace(made, kind=made.kind[::-1].copy())),
    ],
)
def test_broken_correlations_are_named(references, monkeypatch, name, spoil):
    own = getattr(energy_ranking, name)
    monkeypatch.setattr(energy_ranking, name, lambda *a, **k: spoil(own(*a, **k)))
    missed = [c for c in calibration.check_transport_energy(references, stream()) if not c.passed]
    assert {check.instrument for check in missed} == {"transport_energy"}
