"""Error bars of several energies, compared problem by problem.

Tables are tidy, with a column energy.
"""

from __future__ import annotations

from collections.abc import Mapping

from pandas import DataFrame

from ired.instruments.statistics.tables import stacked
from ired.instruments.uncertainty import reliability
from ired.instruments.uncertainty.tweedie import ErrorBars


def error_bar_tables(bars: Mapping[str, ErrorBars]) -> dict[str, DataFrame]:
    """Tables "points", "calibration", "coverage" and "ranking" of energies' error bars at the same states.

    See `tweedie.ErrorBars.columns` for points, and `reliability` for the other three.
    """
    measures = {
        "points": lambda b: DataFrame(b.columns()),
        "calibration": reliability.calibration_ratios,
        "coverage": reliability.interval_coverage,
        "ranking": reliability.error_ranking,
    }
    return {
        kind: stacked({name: measure(b) for name, b in bars.items()}, "energy") for kind, measure in measures.items()
    }
