"""A missed known answer is counted by its instrument, and stops the run with its name and both numbers."""

import pytest

from ired.instruments.calibration import study
from ired.instruments.core.check import Check

RIGHT = Check("probes", "slope", expected=1, measured=1.0, tolerance=0)
WRONG = Check("probes", "offset", expected=0, measured=2.0, tolerance=0.5)


def test_every_setting_has_its_rows_and_every_instrument_its_verdict():
    table = study.checks({"raw": [RIGHT, WRONG], "planted data": [RIGHT]})
    assert list(table["setting"]) == ["raw", "raw", "planted data"]
    assert list(table["share_of_tolerance"]) == [0, 4, 0]
    met, numbers = study.calibration_verdicts(table)["probes"]
    assert not met and numbers == {"checks": 3, "missed": 1}


def test_a_missed_answer_is_named():
    study.demand_all({"raw": [RIGHT]})
    with pytest.raises(study.Miscalibrated, match="probes: offset: expected 0, measured 2"):
        study.demand_all({"raw": [RIGHT], "planted data": [WRONG]})
