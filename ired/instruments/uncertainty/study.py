"""Error bars of several energies, compared problem by problem.

Tables are tidy, with a column energy. What is drawn at random is the same for every energy, so that comparisons are
paired.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from pandas import DataFrame
from torch import Tensor

from ired.instruments.statistics.tables import stacked
from ired.instruments.uncertainty import reliability, tweedie
from ired.model.protocol import Energy


def error_bar_tables(
    energies: Mapping[str, Energy],
    A: Tensor,
    y0: Tensor,
    stream: Callable[[str], torch.Generator],
    count: int = 1,
    functionals: int = 64,
    done: Callable[[], Any] = lambda: None,
) -> dict[str, DataFrame]:
    """Tables "points", "calibration", "coverage" and "ranking" of energies in all of their landscapes.

    A (P, n, n), y0 (P, d) float64; count, functionals as in `tweedie.error_bars`; stream(purpose): a generator that
    always begins alike for the same purpose; done() is called after each energy. See `tweedie.ErrorBars.columns` for
    points, and `reliability` for the other three.
    """
    tables: dict[str, dict[str, DataFrame]] = {"points": {}, "calibration": {}, "coverage": {}, "ranking": {}}
    for name, energy in energies.items():
        bars = tweedie.error_bars(
            energy,
            A,
            y0,
            range(energy.schedule.K),
            generator=stream("error bars"),
            count=count,
            functionals=functionals,
        )
        tables["points"][name] = DataFrame(bars.columns())
        tables["calibration"][name] = reliability.calibration_ratios(bars)
        tables["coverage"][name] = reliability.interval_coverage(bars)
        tables["ranking"][name] = reliability.error_ranking(bars)
        done()
    return {kind: stacked(parts, "energy") for kind, parts in tables.items()}
