"""Sound instruments recover the known answers of attribution, and broken ones are named."""

import pytest
import torch

from ired.instruments.attribution import exact_sensitivity, explainers
from ired.instruments.attribution.known_answers import check_attribution


def test_sound_instruments_pass(references):
    checks = check_attribution(references, torch.Generator().manual_seed(3))
    assert [str(check) for check in checks if not check.passed] == []
    assert {check.instrument for check in checks} == {"attribution"}


def doubled(gradient):
    return lambda *a, **k: 2 * gradient(*a, **k)


@pytest.mark.parametrize(
    "module, name",
    [
        (exact_sensitivity, "exact_score_sensitivity"),
        (exact_sensitivity, "exact_jacobian"),
        (exact_sensitivity, "symmetric"),
        (explainers, "_enumerated"),
        (explainers, "grouped"),
    ],
)
def test_a_broken_instrument_is_named(references, monkeypatch, module, name):
    monkeypatch.setattr(module, name, doubled(getattr(module, name)))
    checks = check_attribution(references, torch.Generator().manual_seed(3))
    assert any(not check.passed for check in checks)
