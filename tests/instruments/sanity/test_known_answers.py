"""Calibration of sanity checks names the instrument that is broken."""

from dataclasses import replace

import pytest

from ired.instruments.accuracy import linear_surrogate
from ired.instruments.sanity import (
    findings_answers,
    findings_geometry,
    known_answers as calibration,
    randomisation,
    survival_table,
)
from ired.model import problems as model_problems


def stream():
    return model_problems.generator(0, "sanity")


def missed(checks):
    return {check.instrument for check in checks if not check.passed}


def spoiled(monkeypatch, instrument, name, spoil):
    own = getattr(instrument, name)
    monkeypatch.setattr(instrument, name, lambda *a, **k: spoil(own(*a, **k)))


@pytest.mark.parametrize(
    "instrument, name, spoil, room",
    [
        (randomisation, "ssim", lambda s: 0.9 * s, {"sanity"}),
        (randomisation, "rank_correlation", lambda rho: abs(rho), {"sanity"}),
        (randomisation, "gaussian_like", lambda x: 2 * x, {"sanity"}),
        (randomisation.Left, "decayed", lambda said: True, {"sanity"}),
        (survival_table, "adjust", lambda p: 0 * p, {"sanity_table"}),
        (survival_table.SurvivalCell, "rest", lambda seen: replace(seen, estimate=0.0), {"sanity_table"}),
    ],
)
def test_a_broken_instrument_is_named_on_planted_data(monkeypatch, instrument, name, spoil, room):
    spoiled(monkeypatch, instrument, name, spoil)
    assert missed(calibration.check_sanity(stream())) == room


@pytest.mark.parametrize(
    "name, spoil",
    [
        ("cross_fitted", lambda T: 0.9 * T),
        ("other_fold_means", lambda T: 0 * T + 9),
        ("rank_correlation", lambda rho: 0.9 * rho),
    ],
)
def test_a_broken_surrogate_is_named(references, monkeypatch, name, spoil):
    spoiled(monkeypatch, linear_surrogate, name, spoil)
    assert missed(calibration.check_surrogate(references, stream())) == {"surrogate"}


@pytest.mark.parametrize(
    "name, spoil",
    [
        ("cosines", lambda c: 0.5 * c),
        ("exact_changes", lambda c: c.roll(1, 1)),
        ("rank_correlation", lambda rho: 0.5 * rho),
    ],
)
def test_broken_findings_are_named(references, monkeypatch, name, spoil):
    spoiled(monkeypatch, findings_answers, name, spoil)
    assert missed(calibration.check_sanity_findings(references, stream())) == {"sanity_findings"}


@pytest.mark.parametrize(
    "name, spoil",
    [
        ("definite_beyond", lambda v: 0 * v),
        ("in_eigenvalues", lambda v: v + 0.2),
        ("along_axis", lambda v: 0.9 * v),
        ("read_share", lambda v: v - 0.5),
    ],
)
def test_broken_later_findings_are_named(references, monkeypatch, name, spoil):
    spoiled(monkeypatch, findings_geometry, name, spoil)
    assert missed(calibration.check_sanity_findings(references, stream())) == {"sanity_findings"}
