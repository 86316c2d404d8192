"""Sound instruments recover the known answers of active subspaces, and broken ones are named."""

import pytest
import torch

from ired.instruments.attribution import (
    active_subspace,
    alignment,
    eigenframe,
    exact_sensitivity,
    known_answers_active_subspace,
)


def missed(checks):
    return [str(check) for check in checks if not check.passed]


def test_sound_instruments_pass(references):
    seed = torch.Generator().manual_seed(3)
    assert missed(known_answers_active_subspace.check_active_subspace(references, seed)) == []
    assert missed(known_answers_active_subspace.check_planted_subspace(seed)) == []


@pytest.mark.parametrize(
    "module, name, spoil",
    [
        (active_subspace, "fields", lambda fields: {k: v * 1.01 for k, v in fields.items()}),
        (exact_sensitivity, "captured", lambda shares: shares * 1.1),
        (eigenframe, "frame_shares", lambda shares: shares.flip(-1)),
        (alignment, "pulled_back", lambda pulled: {k: v.roll(1, -1) for k, v in pulled.items()}),
    ],
)
def test_a_broken_instrument_is_named(references, monkeypatch, module, name, spoil):
    sound = getattr(module, name)
    monkeypatch.setattr(module, name, lambda *a, **k: spoil(sound(*a, **k)))
    seed = torch.Generator().manual_seed(3)
    assert missed(known_answers_active_subspace.check_active_subspace(references, seed))


@pytest.mark.parametrize(
    "name, spoil",
    [
        ("principal_components", lambda pair: (pair[0], pair[1].roll(1, -1))),
        ("angle", lambda degrees: degrees + 20),
    ],
)
def test_a_broken_instrument_is_named_on_planted_data(monkeypatch, name, spoil):
    sound = getattr(active_subspace, name)
    monkeypatch.setattr(active_subspace, name, lambda *a, **k: spoil(sound(*a, **k)))
    assert missed(known_answers_active_subspace.check_planted_subspace(torch.Generator().manual_seed(3)))
