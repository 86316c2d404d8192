"""Calibration of influence names the instrument that is broken."""

import numpy as np
import pytest
import torch

from ired.instruments.influence import gradients, known_answers as calibration, removal, validation

CHECKS = {"influence": calibration.check_influence, "datamodel": calibration.check_datamodel}


def missed(name):
    checks = CHECKS[name](torch.Generator().manual_seed(3))
    assert {check.instrument for check in checks} == {name}
    return [str(check) for check in checks if not check.passed]


@pytest.mark.parametrize(
    "room, instrument, name, spoil",
    [
        ("influence", gradients, "by_gauss_newton", lambda found: -found),
        ("influence", gradients, "gradients", lambda g: g.abs()),
        ("influence", gradients, "gauss_newton", lambda product: lambda V: product(V) / 2),
        ("influence", gradients, "by_fisher", lambda found: (found[0] * 2, found[1])),
        ("datamodel", validation, "lds_values", np.abs),
        ("datamodel", validation, "ceiling", lambda top: top**2),
        ("datamodel", validation, "halves", lambda masks: masks[:, :1] | masks),
        ("datamodel", removal, "without_top", lambda masks: ~masks),
    ],
    ids=["sign", "signs", "factor", "Fisher", "absolute", "ceiling", "more than half", "the rest"],
)
def test_a_broken_instrument_is_named(monkeypatch, room, instrument, name, spoil):
    own = getattr(instrument, name)
    monkeypatch.setattr(instrument, name, lambda *a, **k: spoil(own(*a, **k)))
    assert missed(room)
