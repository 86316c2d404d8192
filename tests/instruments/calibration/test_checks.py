"""Calibration passes on sound instruments, and names the one that is broken."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ired.instruments.accuracy import predictors
from ired.instruments.calibration import checks as calibration
from ired.instruments.core import states
from ired.instruments.landscape import descent, gradient_field, hessian, minima, slices
from ired.instruments.statistics import intervals


# Checks keep the names that stored runs know.
CHECKED_AS = {gradient_field: "field"}


def checked_as(module):
    return CHECKED_AS.get(module, module.__name__.rpartition(".")[2])


def failing(references, instrument):
    check = getattr(calibration, f"check_{instrument}")
    checks = check(references, torch.Generator().manual_seed(1))
    assert {found.instrument for found in checks} == {instrument}
    return [str(found) for found in checks if not found.passed]


def test_sound_instruments_pass(references):
    checks = calibration.calibrate(references, torch.Generator().manual_seed(3))
    assert [str(check) for check in checks if not check.passed] == []
    assert {check.instrument for check in checks} == {
        "statistics", "slices", "field", "hessian", "minima", "predictors"
    }


def test_checks_say_what_was_expected_and_what_came():
    check = calibration.Check("hessian", "ideal eigenvalues", 1.0, 2.0, 1e-9)
    assert not check.passed
    assert str(check) == "hessian: ideal eigenvalues: expected 1, measured 2 (tolerance 1e-09)"
    assert not calibration.Check("x", "nan", 1.0, float("nan"), 1.0).passed
    assert calibration.Check("x", "exact", 1.0, 1.0, 0.0).passed


def test_the_worst_number_is_the_one_reported():
    worst = calibration.compare("x", "w", np.array([1.0, 5.0]), np.array([1.1, 4.0]), 0.5)
    assert (worst.expected, worst.measured) == (5.0, 4.0)
    assert not calibration.compare("x", "w", 0.0, np.array([0.0, np.nan]), 1.0).passed


FIELDS = [
    *((slices, "measure", f) for f in ("u", "v", "gap", "marks")),
    *(
        (slices, "shape_of", f)
        for f in (
            "minimum", "minimum_distance", "minimum_on_border", "minimum_gap", "below", "fit",
            "curvature", "slope", "anisotropy", "ideal_correlation",
        )
    ),
    *((gradient_field, "gradient_field", f) for f in ("cosine", "radial", "tangential", "antisymmetric")),
    *(
        (gradient_field, "score_error", f)
        for f in ("error", "blind", "shrunk", "symmetric", "antisymmetric")
    ),
    *((gradient_field, "conservation", f) for f in ("asymmetry", "loop", "path", "hessian")),
    *((gradient_field, "divergence", f) for f in ("total", "symmetric", "antisymmetric")),
    *((gradient_field, "descents", f) for f in ("distance", "gap", "gradient", "converged")),
    *(
        (hessian, "spectra", f)
        for f in (
            "kappa", "eigenvalues", "gauss_newton", "residual", "symmetric", "coupling", "inertia",
            "participation", "entropy_rank", "condition", "ideal_scale", "ideal_distance",
            "ideal_distance_raw", "algebraic_cosine", "algebraic_cosine_centred",
            "algebraic_spearman",
        )
    ),
    *((minima, "convexity", f) for f in ("share", "rays", "positive", "curvature")),
    *((minima, "sharpness", f) for f in ("curvature", "profile", "radius", "reached")),
    *((minima, "energy_gaps", "gap"),),
    *(
        (minima, "find_minima", f)
        for f in (
            "distance", "gap", "gradient", "outcome", "label", "minima", "saddles", "flat",
            "unconverged", "escaped", "found", "nearest_distance", "nearest_gap", "lowest_distance",
            "lowest_gap", "lowest_is_nearest", "basin",
        )
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def records(references):
    """What each function returned, call by call, in a sound calibration: spoilt and played again,
    they show what the checks see without measuring everything once more."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        for module, function, _ in FIELDS:
            if (module, function) not in found:
                calls = found[module, function] = []
                sound = getattr(module, function)

                def recorded(*arguments, sound=sound, calls=calls, **options):
                    calls.append(sound(*arguments, **options))
                    return calls[-1]

                patch.setattr(module, function, recorded)
        for module in {module for module, _ in found}:
            assert failing(references, checked_as(module)) == []
    assert all(found.values())
    return found


def spoil(value):
    if isinstance(value, dict):
        return {name: spoil(v) for name, v in value.items()}
    if isinstance(value, slices.Mark):
        return replace(value, gap=1.2 * value.gap + 0.1)
    if value.dtype == bool:
        return ~value
    if np.issubdtype(value.dtype, np.integer):
        return value + 1
    return 1.2 * value + 0.1


@pytest.mark.parametrize(
    ("module", "function", "name"), FIELDS, ids=[f"{checked_as(m)}.{f}.{n}" for m, f, n in FIELDS]
)
def test_no_field_of_any_record_can_be_wrong_unseen(
    references, records, monkeypatch, module, function, name
):
    for (owner, played), sound in records.items():
        if owner is module:
            if played == function:
                sound = [replace(r, **{name: spoil(getattr(r, name))}) for r in sound]
            monkeypatch.setattr(module, played, lambda *a, left=iter(sound), **o: next(left))
    assert failing(references, checked_as(module))


def doubled(function):
    return lambda *arguments, **options: 2 * function(*arguments, **options)


@pytest.mark.parametrize(
    ("owner", "attribute", "spoilt", "blamed"),
    [
        (torch.linalg, "eigvalsh", doubled(torch.linalg.eigvalsh), "hessian"),
        (states, "directions", doubled(states.directions), "field"),
        (states, "noise_radius", doubled(states.noise_radius), "minima"),
        (states, "centre", doubled(states.centre), "slices"),
        (intervals.special, "stdtrit", lambda df, q: 0.7, "statistics"),
        (predictors, "_solve", doubled(predictors._solve), "predictors"),
    ],
    ids=["eigenvalues", "directions", "radius", "centre", "standard error", "weights"],
)
def test_a_corrupted_part_fails_its_calibration(
    references, monkeypatch, owner, attribute, spoilt, blamed
):
    monkeypatch.setattr(owner, attribute, spoilt)
    assert failing(references, blamed)


def test_one_broken_instrument_fails_the_whole_calibration_by_name(references, monkeypatch):
    monkeypatch.setattr(states, "sigma", doubled(states.sigma))
    checks = calibration.calibrate(references, torch.Generator().manual_seed(1))
    blamed = {check.instrument for check in checks if not check.passed}
    assert {"slices", "field", "hessian", "minima"} <= blamed
    assert blamed.isdisjoint({"statistics", "predictors"})


def test_a_flipped_gradient_is_blamed_on_the_field(references, monkeypatch):
    normalise = torch.nn.functional.normalize
    monkeypatch.setattr(gradient_field.torch.nn.functional, "normalize", lambda *a, **o: -normalise(*a, **o))
    assert failing(references, "field")


def test_strata_that_are_not_are_seen(references, monkeypatch):
    def simple(kappa, count, generator):
        return torch.randperm(len(kappa), generator=generator)[:count]

    monkeypatch.setattr(hessian, "stratified_by_condition", simple)
    assert failing(references, "hessian")


def test_a_descent_that_stops_early_is_seen(references, monkeypatch):
    sound = descent.descend

    def lazy(*arguments, **options):
        ends = sound(*arguments, **(options | {"steps": 2, "newton": 0}))
        return replace(ends, converged=torch.ones_like(ends.converged))

    monkeypatch.setattr(minima, "descend", lazy)
    assert failing(references, "minima")
