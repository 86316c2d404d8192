"""Every known answer is recovered at the sizes and in all coordinates that profiles have.

At n = 3, and on planted data, which know no size, SETUP-4 of the tiny store tries them all. What is planted has to grow
with the problem: probes need more states than features, maps more problems than coefficients. At n = 20 there are 210
or 400 coordinates, and nothing smaller shows what is missing.
"""

import pytest
import torch

from ired.instruments.calibration import registry
from ired.instruments.core import states
from ired.instruments.core.reference_energies import References
from ired.model import problems
from ired.model.coordinates import Coordinates
from ired.model.energies.mlp import EnergyConfig
from ired.model.reference import AlgebraicEnergy, DoubleWell, IdealEnergy, Quadratic

CHECKS = {check.__name__: (phase, check) for phase, checks in registry.ON_ENERGIES.items() for check in checks}
assert len(CHECKS) == sum(map(len, registry.ON_ENERGIES.values())), "two checks of one name: one is not tried"
MARKS = {6: [pytest.mark.slow], 20: [pytest.mark.slow, pytest.mark.published_size]}
SETTINGS = {"raw": (False, False), "standardised": (True, True)}  # symmetric, standardised


@pytest.fixture(
    scope="module",
    params=[pytest.param((n, setting), marks=MARKS[n]) for n in (6, 20) for setting in SETTINGS],
    ids=lambda case: f"{case[0]}-{case[1]}",
)
def setting(request, schedule):
    n, name = request.param
    symmetric, standardised = SETTINGS[name]
    config = EnergyConfig.for_problems(n, 0.5, symmetric=symmetric, standardised=standardised)
    coordinates = Coordinates(n, config.shift, config.scale, config.symmetric)
    return name, References(
        ideal=IdealEnergy(coordinates, schedule),
        algebraic=AlgebraicEnergy(coordinates, schedule),
        well=DoubleWell(Coordinates(2, symmetric=symmetric), schedule),
        quadratic=lambda H, centre: Quadratic(coordinates, schedule, H, centre),
        A=problems.draw(6, n, 0.5, problems.generator(0, "calibration"), torch.float64),
    )


@pytest.mark.parametrize("name", CHECKS)
def test_known_answers_are_recovered(setting, name):
    coordinates, references = setting
    phase, check = CHECKS[name]
    answers = check(references, problems.generator(0, f"{coordinates}, {phase}, {name}"))
    assert [str(answer) for answer in answers if not answer.passed] == []


@pytest.mark.slow
def test_the_checks_of_a_phase_draw_from_one_generator(references):
    answers = registry.of_phase(registry.ON_ENERGIES[1], torch.Generator().manual_seed(3), references)
    assert [str(answer) for answer in answers if not answer.passed] == []
    assert {answer.instrument for answer in answers} == {
        "statistics",
        "slices",
        "field",
        "hessian",
        "minima",
        "predictors",
        "sampling_path",
        "affine_score",
        "hessian_spread",
        "denoising_loss",
        "error_bars",
    }


@pytest.mark.slow
def test_one_broken_instrument_fails_the_whole_calibration_by_name(references, monkeypatch):
    sigma = states.sigma
    monkeypatch.setattr(states, "sigma", lambda energy, k: 2 * sigma(energy, k))
    answers = registry.of_phase(registry.ON_ENERGIES[1], torch.Generator().manual_seed(1), references)
    blamed = {answer.instrument for answer in answers if not answer.passed}
    assert {"slices", "field", "hessian", "minima"} <= blamed
    assert blamed.isdisjoint({"statistics", "predictors"})
