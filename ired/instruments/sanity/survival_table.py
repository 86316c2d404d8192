"""Sanity checks as one table: finding × check, survived, failed, or not applicable, with the numbers behind each.

A finding is a number for each problem (or other unit) that is 0 where there is nothing to find. A
check takes away what the finding is said to be about and measures the same number again: `left`. The
rule, the same for all, stated here before anything is seen:

- The finding is there if the 95 % interval of its mean over units lies above 0, in the trained network
  and, for shuffled answers, in their control, too. Where it is not, the check does not apply.
- It survives a check of DESTROYING if less than HALF of it is left. Tested is the mean over units
  of left − HALF·whole, below 0 by Student's t.
- It survives the check LINEAR (what an affine map of the input explains is taken out) if something is
  left: mean above 0.
- One-sided p-values of all cells are corrected together (Benjamini-Hochberg), and have to be below
  LEVEL; the intervals that are shown are not corrected.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame
from scipy import special

from ired.instruments.statistics.intervals import Interval, adjust, proportion_interval, student_interval

HALF = 0.5
LEVEL = 0.025
DESTROYING = {
    "weights": "all layers' weights drawn anew",
    "labels": "trained on shuffled answers",
    "pairs": "problems permuted",
    "random": "random directions",
    "orthogonal": "orthogonal directions",
    "noise": "Gaussian of equal covariance",
}
LINEAR = "linear"
CHECKS = (*DESTROYING, LINEAR)
ABSENT = "the finding is not there"
NO_CONTROL = "it is not there in the control either, which was trained as briefly"
SURVIVED, FAILED, NEITHER = "survived", "failed", "not applicable"


@dataclass(frozen=True)
class SurvivalCell:
    """One check of one finding: the whole of it and what is left, both (N,), of the same units.

    whole may differ between the checks of a finding: shuffled answers are held against a network that
    was trained equally long on the true ones. For LINEAR, whole is the finding with the affine part in.
    """

    finding: str
    check: str
    whole: NDArray
    left: NDArray

    def __post_init__(self) -> None:
        if self.check not in CHECKS:
            raise ValueError(f"unknown check '{self.check}': {', '.join(CHECKS)}")
        if self.whole.shape != self.left.shape or self.whole.ndim != 1:
            raise ValueError(f"{self.finding}, {self.check}: {self.whole.shape} and {self.left.shape}")

    @property
    def there(self) -> Interval:
        return student_interval(self.whole)

    def rest(self) -> Interval:
        """Mean left over mean whole, with the interval of its linearisation over units."""
        size = float(self.whole.mean())
        ratio = float(self.left.mean()) / size
        deviation = student_interval((self.left - ratio * self.whole) / size)
        return Interval(
            estimate=ratio,
            low=ratio + deviation.low - deviation.estimate,
            high=ratio + deviation.high - deviation.estimate,
            level=deviation.level,
            units=deviation.units,
            method=deviation.method,
        )

    def p(self) -> float:
        """One-sided: that less than half is left, or, where linear parts were taken out, something."""
        values = self.left if self.check == LINEAR else HALF * self.whole - self.left
        error = values.std(ddof=1) / np.sqrt(len(values))
        if error <= 1e-12 * np.abs(values).max(initial=0):  # one value stands for all
            return 0.0 if values.mean() > 0 else 1.0
        return float(special.stdtr(len(values) - 1, -values.mean() / error))


def survival_table(
    cells: Sequence[SurvivalCell], findings: Mapping[str, str], reasons: Mapping[tuple[str, str], str]
) -> DataFrame:
    """The table: a row for every finding and check.

    findings: by name, where it was stated; reasons: why a check does not apply to a finding, for those
    that have no cell. Columns finding, source, check, own, own_low, own_high, left, rest, low, high, p,
    p_adjusted, units, verdict, reason (numbers NaN where not applicable, but for own). Raises KeyError
    where there is neither a cell nor a reason.
    """
    by_place, rows = {(cell.finding, cell.check): cell for cell in cells}, []
    absent = {cell.finding for cell in cells if cell.check != "labels" and not cell.there.low > 0}
    nothing = dict.fromkeys(("left", "rest", "low", "high", "p"), float("nan"))
    for finding, source in findings.items():
        for check in CHECKS:
            row = {"finding": finding, "source": source, "check": check, "units": 0, "reason": ""}
            cell = by_place.get((finding, check))
            if cell is None:
                row |= {"verdict": NEITHER, "reason": reasons[finding, check]}
                rows.append(row | nothing)
                continue
            whole = cell.there
            row |= {"own": whole.estimate, "own_low": whole.low, "own_high": whole.high, "units": whole.units}
            if finding in absent or not whole.low > 0:
                row |= {"verdict": NEITHER, "reason": ABSENT if finding in absent else NO_CONTROL}
                rows.append(row | nothing)
                continue
            rest = cell.rest()
            row |= {
                "left": float(cell.left.mean()),
                "rest": rest.estimate,
                "low": rest.low,
                "high": rest.high,
                "p": cell.p(),
                "verdict": "",
            }
            rows.append(row)
    table = DataFrame(rows)
    tested = table["p"].notna()
    table["p_adjusted"] = float("nan")
    if tested.any():
        table.loc[tested, "p_adjusted"] = adjust(table.loc[tested, "p"])
    sure = table.loc[tested, "p_adjusted"] < LEVEL
    table.loc[tested, "verdict"] = np.where(sure, SURVIVED, FAILED)
    return table


def survived(table: DataFrame, level: float = 0.95) -> Interval:
    """The share of applicable cells that survived, exact interval (as if cells were independent)."""
    applicable = table[table["verdict"] != NEITHER]
    if applicable.empty:
        return Interval(estimate=0.0, low=0.0, high=1.0, level=level, units=0, method="none")
    return proportion_interval(int((applicable["verdict"] == SURVIVED).sum()), len(applicable), level)


def cell_verdict(table: DataFrame, finding: str, check: str) -> str:
    """What became of one cell."""
    rows = table[(table["finding"] == finding) & (table["check"] == check)]
    return rows["verdict"].iloc[0]


def survival_metrics(table: DataFrame) -> dict[str, float]:
    """What is left, by finding and check, of the applicable cells; and how many of each verdict."""
    applicable = table[table["verdict"] != NEITHER]
    rest = {f"rest.{row.finding}.{row.check}": row.rest for row in applicable.itertuples()}
    counts = {f"cells.{v.replace(' ', '_')}": int((table["verdict"] == v).sum()) for v in (SURVIVED, FAILED, NEITHER)}
    return rest | counts
