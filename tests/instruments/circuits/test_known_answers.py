"""The calibration of P5-04 names the instrument that is broken."""

from dataclasses import replace

import pytest
import torch

from ired.instruments.circuits import (
    energy_outputs,
    feature_graph,
    feature_paths,
    known_answers as calibration,
)

CHECKS = (calibration.check_energy_terms, calibration.check_composition)


def missed(references):
    generator = torch.Generator().manual_seed(3)
    checks = [check for run in CHECKS for check in run(references, generator)]
    return {check.instrument for check in checks if not check.passed}


@pytest.mark.parametrize(
    "instrument, name, spoil, room",
    [
        (energy_outputs, "in_eigenbasis", lambda z: 1.1 * z, "energy_terms"),
        (energy_outputs, "share_needed", lambda share: share * 2, "energy_terms"),
        (feature_graph, "_pushed", lambda u: 1.1 * u, "composition"),
        (feature_graph, "score_reach", lambda found: replace(found, rest=0.1), "composition"),
        (feature_paths, "candidate_chains", lambda some: [c[::-1] for c in some], "composition"),
    ],
    ids=["basis", "participation", "gradient", "score", "chains"],
)
def test_a_broken_instrument_is_named(references, monkeypatch, instrument, name, spoil, room):
    own = getattr(instrument, name)
    monkeypatch.setattr(instrument, name, lambda *a, **k: spoil(own(*a, **k)))
    assert missed(references) == {room}
