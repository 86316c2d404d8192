"""Phase 2's calibration passes on sound instruments, and names the one that is broken."""

from dataclasses import replace

import pytest
import torch

from ired.instruments.core.patching import Spliced
from ired.instruments.dictionaries import (
    features,
    known_answers,
    property_correlation,
    recovery,
    rule_descriptions,
    sparse_autoencoder,
)
from ired.model import problems as model_problems


def on_energies(references):
    generator = torch.Generator().manual_seed(3)
    return known_answers.check_splice(references, generator) + known_answers.check_features(references, generator)


def on_planted_data():
    generator = model_problems.generator(0, "planted")
    return known_answers.check_dictionary(generator) + known_answers.check_correlation(generator)


def missed(checks):
    return {check.instrument for check in checks if not check.passed}


def test_sound_instruments_pass(references):
    checks = on_energies(references)
    assert [str(check) for check in checks if not check.passed] == []
    assert {check.instrument for check in checks} == {"splice", "features"}


def test_planted_data_are_found():
    checks = on_planted_data()
    assert [str(check) for check in checks if not check.passed] == []
    assert {check.instrument for check in checks} == {"dictionary", "correlation"}


def spoiled(instrument, name, spoil, monkeypatch):
    own = getattr(instrument, name)
    monkeypatch.setattr(instrument, name, lambda *a, **k: spoil(own(*a, **k)))


@pytest.mark.parametrize(
    "instrument, name, spoil, room",
    [
        (Spliced, "_energy", lambda energy: 1.1 * energy, "splice"),
        (recovery, "centred", lambda energies: energies.relu(), "splice"),
        (features, "attribute_features", lambda found: replace(found, size=1.1 * found.size), "features"),
        (rule_descriptions, "shuffled_auroc", lambda auroc: 1.0, "features"),
    ],
    ids=["splice", "gaps", "attribution", "shuffling"],
)
def test_a_broken_instrument_is_named(references, monkeypatch, instrument, name, spoil, room):
    spoiled(instrument, name, spoil, monkeypatch)
    assert missed(on_energies(references)) == {room}


@pytest.mark.slow
@pytest.mark.parametrize(
    "instrument, name, spoil, room",
    [
        (sparse_autoencoder, "matched_cosines", lambda cosines: cosines * 0.8, "dictionary"),
        (property_correlation, "correlate_units", lambda found: replace(found, rho=found.rho * 0.5), "correlation"),
    ],
    ids=["matching", "rho"],
)
def test_a_broken_instrument_is_named_on_planted_data(monkeypatch, instrument, name, spoil, room):
    spoiled(instrument, name, spoil, monkeypatch)
    seen = missed(on_planted_data())
    assert seen == {room}
