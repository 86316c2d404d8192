"""Mediators that were planted have their share; where there is no total effect, there is none."""

import numpy as np
import pytest
import torch

from ired.instruments.core.directions import EVERYWHERE
from ired.instruments.core.sampler import denoised
from ired.instruments.interventions import counterfactuals, known_answers_causality, mediation
from ired.instruments.interventions.edits import Place, Twins
from ired.instruments.interventions.known_answers_causality import PlantedMediator, first_entry, planted_twins
from ired.instruments.statistics import intervals


def test_a_planted_mediator_has_its_share(references):
    checks = known_answers_causality.check_causality(references, torch.Generator().manual_seed(0))
    checks += known_answers_causality.check_counterfactuals(references, torch.Generator().manual_seed(0))
    assert [str(check) for check in checks if not check.passed] == []
    assert {check.instrument for check in checks} == {"causality", "counterfactuals"}


@pytest.mark.parametrize(
    "module, name, spoil, room",
    [
        (mediation, "swapped", lambda y: 1.1 * y, "causality"),
        (intervals, "sign_flip", lambda p: p / 2, "causality"),
        (counterfactuals, "_with", lambda A: A + 0.01 * torch.eye(4), "counterfactuals"),
    ],
)
def test_a_broken_instrument_is_named(references, monkeypatch, module, name, spoil, room):
    own = getattr(module, name)
    monkeypatch.setattr(module, name, lambda *a, **k: spoil(own(*a, **k)))
    checks = known_answers_causality.check_causality(references, torch.Generator().manual_seed(0))
    checks += known_answers_causality.check_counterfactuals(references, torch.Generator().manual_seed(0))
    assert {check.instrument for check in checks if not check.passed} == {room}


def test_without_a_total_effect_there_is_no_share(ideal, generator):
    energy = PlantedMediator(ideal, through=0.0, direct=0.0)
    base, changed = planted_twins(energy, 8, generator)
    V = torch.stack([energy.axis(i, base.A) for i in range(4)])
    twins, place = Twins.problems(base, changed, 9), Place("fc1", EVERYWHERE)
    found = mediation.mediation(energy, denoised, first_entry, twins=twins, place=place, V=V)
    row = mediation.mediated(found, slice(1, 2), slice(2, 4))
    assert not found.present and not row["mediates"]
    assert np.isnan([row["mediated"], row["mediates_p"]]).all()
    assert row["total"] == pytest.approx(0, abs=1e-12)
