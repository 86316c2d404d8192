"""Calibration as a whole: the known answers of all instruments as one table, and a verdict on each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pandas import DataFrame

from ired.instruments.core.check import Check


class Miscalibrated(Exception):
    """Instruments missed known answers (which must not be believed then): which, with the two numbers."""

    exit_status = 1


def checks(answers: Mapping[str, Sequence[Check]]) -> DataFrame:
    """A row a known answer, from the checks made in every setting: setting, instrument, what, expected, measured,
    tolerance, passed, share_of_tolerance."""
    return DataFrame(
        {
            "setting": setting,
            "instrument": check.instrument,
            "what": check.what,
            "expected": float(check.expected),
            "measured": float(check.measured),
            "tolerance": check.tolerance,
            "passed": bool(check.passed),
            "share_of_tolerance": float(check.share),
        }
        for setting, of_setting in answers.items()
        for check in of_setting
    )


def calibration_verdicts(table: DataFrame) -> dict[str, tuple[bool, dict[str, int]]]:
    """SETUP-4's criteria, an instrument each: whether all its known answers are recovered, of how many, and how many
    are missed."""
    return {
        name: (group.passed.all(), {"checks": len(group), "missed": (~group.passed).sum()})
        for name, group in table.groupby("instrument")
    }


def demand_all(answers: Mapping[str, Sequence[Check]]) -> None:
    """Raises Miscalibrated where a known answer is missed, and names all that are."""
    missed = [str(check) for of_setting in answers.values() for check in of_setting if not check.passed]
    if missed:
        raise Miscalibrated("; ".join(missed))
