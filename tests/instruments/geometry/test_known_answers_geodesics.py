"""The calibration of geodesics passes on sound instruments, and names the one that is broken."""

from dataclasses import replace

import pytest
import torch

from ired.instruments.geometry import (
    exponential_slices,
    geodesics,
    known_answers_geodesics as known,
    metrics,
    riemannian_hessian,
)

CHECKS = {
    "geodesics": known.check_geodesics,
    "riemannian": known.check_riemannian,
    "tangent": known.check_tangent,
}


def checks(references, room):
    return CHECKS[room](references, torch.Generator().manual_seed(3))


@pytest.mark.parametrize("room", CHECKS)
def test_sound_instruments_pass(references, room):
    found = checks(references, room)
    assert [str(check) for check in found if not check.passed] == []
    assert {check.instrument for check in found} == {room}


def without_bend(self, P, G, H):
    """A Hessian that forgets that geodesics are curved."""
    straight = self.basis(P).flatten(-2)
    return straight @ H @ straight.mT


def in_the_middle(X, Z, metrics):
    """Straight midpoints, whatever the metric."""
    return torch.stack([(X + Z) / 2] * len(metrics))


@pytest.mark.parametrize(
    "room, place, name, broken",
    [
        ("geodesics", geodesics, "at_distance", lambda metric, P, V, r, low, high: high),
        ("geodesics", geodesics, "midpoints", in_the_middle),
        ("riemannian", metrics.RiemannianMetric, "hessian", without_bend),
        ("riemannian", metrics.RiemannianMetric, "raise_index", lambda self, P, G: G),
        ("tangent", exponential_slices, "_equal", lambda metric, P, V: torch.ones(V.shape[:2], dtype=V.dtype)),
    ],
    ids=["distance", "middle", "connection", "gradient", "equal"],
)
def test_a_broken_instrument_is_named(references, monkeypatch, room, place, name, broken):
    monkeypatch.setattr(place, name, broken)
    assert {check.instrument for check in checks(references, room) if not check.passed} == {room}


def test_lowest_points_elsewhere_are_noticed(references, monkeypatch):
    own = geodesics.profiles

    def moved(*a):
        found = own(*a)
        return replace(found, minimum=found.minimum + 0.1)

    monkeypatch.setattr(geodesics, "profiles", moved)
    missed = [check.what for check in checks(references, "geodesics") if not check.passed]
    assert "where the ideal energy is lowest" in missed


def test_condition_numbers_of_an_energy_that_is_not_there_are_noticed(references, monkeypatch):
    own = riemannian_hessian.derivatives

    def tilted(*a):
        G, H, rest = own(*a)
        return G, H + torch.diag(torch.arange(H.shape[-1]).to(H)), rest

    monkeypatch.setattr(riemannian_hessian, "derivatives", tilted)
    assert any(not check.passed for check in checks(references, "riemannian"))
