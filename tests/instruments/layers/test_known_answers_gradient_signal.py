"""Calibration of gradient flow names the instrument that is broken."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ired.instruments.layers import (
    gradient_signal,
    jacobians,
    known_answers_gradient_signal as calibration,
    score_decomposition,
    unit_activity,
)

CHECKS = {
    "gradient_flow": calibration.check_gradient_flow,
    "jacobians": calibration.check_jacobians,
    "score_paths": calibration.check_score_paths,
    "unit_census": calibration.check_unit_census,
}


def missed(checks):
    return {check.instrument for check in checks if not check.passed}


def spoiled(instrument, name, spoil, monkeypatch):
    own = getattr(instrument, name)
    monkeypatch.setattr(instrument, name, lambda *a, **k: spoil(own(*a, **k)))


@pytest.mark.parametrize(
    "room, instrument, name, spoil",
    [
        ("jacobians", jacobians, "jacobians", lambda maps: {n: 1.001 * J for n, J in maps.items()}),
        ("score_paths", score_decomposition, "unit_shares", lambda s: {n: x.abs() for n, x in s.items()}),
        ("score_paths", score_decomposition, "_routes", lambda routes: routes[:1] * 4),
        ("unit_census", unit_activity, "_squared_correlation", lambda r: 0.9 * r),
        ("gradient_flow", gradient_signal, "_with", lambda x: x[..., :-1]),  # forgets the biases
        ("gradient_flow", gradient_signal, "_join", lambda pair: tuple(x[:, :2] for x in pair)),
    ],
    ids=["jacobians", "signs", "routes", "straightness", "biases", "second use"],
)
def test_a_broken_instrument_is_named(references, monkeypatch, room, instrument, name, spoil):
    spoiled(instrument, name, spoil, monkeypatch)
    assert missed(CHECKS[room](references, torch.Generator().manual_seed(3))) == {room}


def test_noise_that_counts_as_signal_is_named(monkeypatch):
    def plain(gram, level=0.95):
        value = gram.mean() / (np.trace(gram) / len(gram) - gram.mean())
        return replace(own(gram, level), estimate=float(value))

    own = gradient_signal.signal_to_noise
    monkeypatch.setattr(gradient_signal, "signal_to_noise", plain)
    assert missed(calibration.check_signals(torch.Generator().manual_seed(3)))
