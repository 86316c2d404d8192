"""Every known answer is recovered at every size and in all coordinates that profiles have.

What is planted has to grow with the problem: probes need more states than features, maps more problems
than coefficients. At n = 20 there are 210 or 400 coordinates, and nothing smaller shows what is missing.
"""

import pytest
import torch

from ired.instruments.calibration import checks, registry
from ired.model import problems
from ired.model.coordinates import Coordinates
from ired.model.energy import EnergyConfig
from ired.model.reference import AlgebraicEnergy, DoubleWell, IdealEnergy, Quadratic

CHECKS = {
    check.__name__: (phase, check)
    for phase, checks in registry.ON_ENERGIES.items()
    for check in checks
}
SETTINGS = {"raw": (False, False), "standardised": (True, True)}  # symmetric, standardised


@pytest.fixture(
    scope="module",
    params=[pytest.param((n, setting), marks=[pytest.mark.slow] * (n > 6)) for n in (3, 6, 20) for setting in SETTINGS],
    ids=lambda case: f"{case[0]}-{case[1]}",
)
def setting(request, schedule):
    n, name = request.param
    symmetric, standardised = SETTINGS[name]
    config = EnergyConfig.for_problems(n, 0.5, symmetric=symmetric, standardised=standardised)
    coordinates = Coordinates(n, config.shift, config.scale, config.symmetric)
    return name, checks.References(
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
    found = check(references, problems.generator(0, f"{coordinates}, {phase}, {name}"))
    assert [str(one) for one in found if not one.passed] == []
