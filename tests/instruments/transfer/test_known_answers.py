"""P6-04's calibration names the instrument that is broken."""

from dataclasses import replace

import pytest

from ired.instruments.transfer import known_answers as room, ood_detection, score
from ired.model import problems as model_problems


def checks(references):
    return [
        *room.check_shift(references, model_problems.generator(0, "shift")),
        *room.check_transfer(model_problems.generator(0, "transfer")),
    ]


def missed(found):
    return {check.instrument for check in found if not check.passed}


@pytest.mark.parametrize(
    "module, name, spoil, where",
    [
        (ood_detection, "squared_errors", lambda e: {k: 1.1 * v for k, v in e.items()}, "shift"),
        (ood_detection, "aurocs", lambda a: replace(a, estimate=0.9 * a.estimate), "shift"),
        (score, "passing", lambda passed: passed | True, "transfer"),
        (score, "finding_p_values", lambda p: p / 4, "transfer"),
    ],
    ids=["errors", "aurocs", "rule", "p"],
)
def test_a_broken_instrument_is_named(references, monkeypatch, module, name, spoil, where):
    own = getattr(module, name)
    monkeypatch.setattr(module, name, lambda *a, **k: spoil(own(*a, **k)))
    assert missed(checks(references)) == {where}
