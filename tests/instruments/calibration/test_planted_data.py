"""Every known answer on planted data, which knows no size, is recovered; those on energies are in the file beside."""

import pytest

from ired.instruments.calibration import registry
from ired.model import problems


@pytest.mark.slow
@pytest.mark.parametrize("phase", registry.ON_PLANTED_DATA)
def test_known_answers_are_recovered(phase):
    """With the random numbers of SETUP-4, where the checks of a phase share one stream."""
    stream = problems.generator(0, f"planted, {phase}")
    checks = [found for check in registry.ON_PLANTED_DATA[phase] for found in check(stream)]
    assert checks and [str(check) for check in checks if not check.passed] == []
