"""Known answers of the landscape's instruments see every field of every record that is wrong."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ired.instruments.core import states
from ired.instruments.landscape import (
    descent,
    gradient_field,
    hessian,
    known_answers,
    known_answers_curvature,
    known_answers_gradient_field,
    metrics,
    minima,
    slices,
)

CHECKS = {
    slices: ("slices", known_answers.check_slices),
    gradient_field: ("field", known_answers_gradient_field.check_field),
    hessian: ("hessian", known_answers_curvature.check_hessian),
    metrics: ("minima", known_answers_curvature.check_minima),
    minima: ("minima", known_answers_curvature.check_minima),
}


def failing(references, module):
    instrument, check = CHECKS[module]
    answers = check(references, torch.Generator().manual_seed(1))
    assert {answer.instrument for answer in answers} == {instrument}
    return [str(answer) for answer in answers if not answer.passed]


FIELDS = [
    *((slices, "energy_slices", f) for f in ("u", "v", "gap", "marks")),
    *(
        (slices, "shape_of", f)
        for f in (
            "minimum",
            "minimum_distance",
            "minimum_on_border",
            "minimum_gap",
            "below",
            "fit",
            "curvature",
            "slope",
            "anisotropy",
            "ideal_correlation",
        )
    ),
    *((gradient_field, "gradient_field", f) for f in ("cosine", "radial", "tangential", "antisymmetric")),
    *((gradient_field, "score_error", f) for f in ("error", "blind", "shrunk", "symmetric", "antisymmetric")),
    *((gradient_field, "conservation", f) for f in ("asymmetry", "loop", "path", "hessian")),
    *((gradient_field, "divergence", f) for f in ("total", "symmetric", "antisymmetric")),
    *((gradient_field, "descents", f) for f in ("distance", "gap", "gradient", "converged")),
    *(
        (hessian, "hessian_spectra", f)
        for f in (
            "kappa",
            "eigenvalues",
            "gauss_newton",
            "residual",
            "symmetric",
            "coupling",
            "inertia",
            "participation",
            "entropy_rank",
            "condition",
            "ideal_scale",
            "ideal_distance",
            "ideal_distance_raw",
            "algebraic_cosine",
            "algebraic_cosine_centred",
            "linear_cosine_centred",
            "log_cosine_centred",
            "inverse_cosine_centred",
            "algebraic_spearman",
        )
    ),
    *((metrics, "convexity", f) for f in ("share", "rays", "positive", "curvature")),
    *((metrics, "sharpness", f) for f in ("curvature", "profile", "radius", "reached")),
    *((metrics, "energy_gaps", "gap"),),
    *(
        (minima, "find_minima", f)
        for f in (
            "distance",
            "gap",
            "gradient",
            "outcome",
            "label",
            "minima",
            "saddles",
            "flat",
            "unconverged",
            "escaped",
            "found",
            "nearest_distance",
            "nearest_gap",
            "lowest_distance",
            "lowest_gap",
            "lowest_is_nearest",
            "inside_minima",
            "outside_minima",
            "inside_distance",
            "outside_distance",
            "lowest_inside",
            "inside_lowest_is_nearest",
            "basin",
        )
    ),
]


@pytest.fixture(scope="module")
def records(references):
    """What each function returned, call by call, in a sound calibration: spoilt and played again,
    they show what the checks see without measuring everything once more."""
    returned = {}
    with pytest.MonkeyPatch.context() as patch:
        for module, function, _ in FIELDS:
            if (module, function) not in returned:
                calls = returned[module, function] = []
                sound = getattr(module, function)

                def recorded(*arguments, sound=sound, calls=calls, **options):
                    calls.append(sound(*arguments, **options))
                    return calls[-1]

                patch.setattr(module, function, recorded)
        for module in CHECKS:
            assert failing(references, module) == []
    assert all(returned.values())
    return returned


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


@pytest.mark.parametrize(("module", "function", "name"), FIELDS, ids=[f"{CHECKS[m][0]}.{f}.{n}" for m, f, n in FIELDS])
def test_no_field_of_any_record_can_be_wrong_unseen(references, records, monkeypatch, module, function, name):
    for (owner, played), sound in records.items():
        if owner is module:
            if played == function:
                sound = [replace(r, **{name: spoil(getattr(r, name))}) for r in sound]
            monkeypatch.setattr(module, played, lambda *a, left=iter(sound), **o: next(left))
    assert failing(references, module)


def doubled(function):
    return lambda *arguments, **options: 2 * function(*arguments, **options)


@pytest.mark.parametrize(
    ("owner", "attribute", "spoilt", "blamed"),
    [
        (torch.linalg, "eigvalsh", doubled(torch.linalg.eigvalsh), hessian),
        (states, "unit_directions", doubled(states.unit_directions), gradient_field),
        (states, "noise_radius", doubled(states.noise_radius), minima),
        (states, "centre", doubled(states.centre), slices),
    ],
    ids=["eigenvalues", "directions", "radius", "centre"],
)
def test_a_corrupted_part_fails_its_calibration(references, monkeypatch, owner, attribute, spoilt, blamed):
    monkeypatch.setattr(owner, attribute, spoilt)
    assert failing(references, blamed)


def test_a_flipped_gradient_is_blamed_on_the_field(references, monkeypatch):
    normalise = torch.nn.functional.normalize
    monkeypatch.setattr(gradient_field.torch.nn.functional, "normalize", lambda *a, **o: -normalise(*a, **o))
    assert failing(references, gradient_field)


def test_strata_that_are_not_are_seen(references, monkeypatch):
    def simple(kappa, count, generator):
        return torch.randperm(len(kappa), generator=generator)[:count]

    monkeypatch.setattr(hessian, "stratified_by_condition", simple)
    assert failing(references, hessian)


def test_a_descent_that_stops_early_is_seen(references, monkeypatch):
    sound = descent.descend

    def lazy(*arguments, **options):
        ends = sound(*arguments, **(options | {"steps": 2, "newton": 0}))
        return replace(ends, converged=torch.ones_like(ends.converged))

    monkeypatch.setattr(minima, "descend", lazy)
    assert failing(references, minima)
