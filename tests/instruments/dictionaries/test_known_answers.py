"""Phase 2's calibration passes on sound instruments, and names the one that is broken."""

from dataclasses import replace

import pytest
import torch

from ired.instruments.core import patching
from ired.instruments.dictionaries import (
    dictionary,
    features,
    known_answers as phase2,
    property_correlation,
    recovery,
    rule_descriptions,
)
from ired.model import problems as model_problems


def missed(checks):
    return {check.instrument for check in checks if not check.passed}


def test_sound_instruments_pass(references):
    checks = phase2.calibrate(references, torch.Generator().manual_seed(3))
    assert [str(check) for check in checks if not check.passed] == []
    assert {check.instrument for check in checks} == {"splice", "features"}


def test_planted_data_are_found():
    checks = phase2.calibrate_planted(model_problems.generator(0, "planted"))
    assert [str(check) for check in checks if not check.passed] == []
    assert {check.instrument for check in checks} == {"dictionary", "correlation"}


def spoiled(instrument, name, spoil, monkeypatch):
    own = getattr(instrument, name)
    monkeypatch.setattr(instrument, name, lambda *a, **k: spoil(own(*a, **k)))


@pytest.mark.parametrize(
    "instrument, name, spoil, room",
    [
        (patching.Spliced, "_energy", lambda energy: 1.1 * energy, "splice"),
        (recovery, "centred", lambda energies: energies.relu(), "splice"),
        (features, "attribute", lambda found: replace(found, size=1.1 * found.size), "features"),
        (rule_descriptions, "shuffled_auroc", lambda auroc: 1.0, "features"),
    ],
    ids=["splice", "gaps", "attribution", "shuffling"],
)
def test_a_broken_instrument_is_named(references, monkeypatch, instrument, name, spoil, room):
    spoiled(instrument, name, spoil, monkeypatch)
    assert missed(phase2.calibrate(references, torch.Generator().manual_seed(3))) == {room}


@pytest.mark.parametrize(
    "instrument, name, spoil, room",
    [
        (dictionary, "matched_cosines", lambda cosines: cosines * 0.8, "dictionary"),
        (property_correlation, "correlate", lambda found: replace(found, rho=found.rho * 0.5), "correlation"),
    ],
    ids=["matching", "rho"],
)
def test_a_broken_instrument_is_named_on_planted_data(monkeypatch, instrument, name, spoil, room):
    spoiled(instrument, name, spoil, monkeypatch)
    seen = missed(phase2.calibrate_planted(model_problems.generator(0, "planted")))
    assert seen == {room}
