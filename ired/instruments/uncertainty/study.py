"""Error bars of several energies, compared problem by problem.

Tables are tidy, with a column energy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from pandas import DataFrame
from torch import Tensor

from ired.instruments.landscape.study import AskedMeasure, sharpest_by_energy
from ired.instruments.statistics.tables import stacked
from ired.instruments.uncertainty import reliability
from ired.instruments.uncertainty.tweedie import ErrorBarReader, ErrorBars
from ired.model.protocol import Energy

NO_RATIO = 1e9  # where no error is predicted
CALIBRATED = (0.8, 1.25)


def readers(
    energies: Mapping[str, Energy], A: Tensor, y0: Tensor, y: Tensor, stream: Callable[[str], torch.Generator]
) -> dict[str, ErrorBarReader]:
    """A reader of each energy's error bars in all landscapes, at states y (K, P, d) around answers y0 (P, d) of
    problems A (P, n, n). stream(purpose): a generator that always begins alike for the same purpose."""
    return {
        name: ErrorBarReader(energy, A, y0, y, range(len(y)), generator=stream("error bars"))
        for name, energy in energies.items()
    }


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


def error_bar_verdicts(tables: Mapping[str, DataFrame]) -> dict[str, tuple[bool, dict[str, float]]]:
    """P1-03's criteria of error bars, decided in the sharpest landscape (k = 0) of "trained", and the numbers behind
    them; NO_RATIO stands for a ratio that does not exist."""
    sharpest = {
        name: table[(table["landscape"] == 0) & (table["energy"] == "trained")] for name, table in tables.items()
    }
    ratio, ranks = sharpest["calibration"].iloc[0], sharpest["ranking"].iloc[0]
    exists = ratio["note"] == ""
    calibration = {name: float(ratio[name]) if exists else NO_RATIO for name in ("ratio", "low", "high")}
    shares = sharpest["coverage"].query("kind == 'entries'")
    coverage = {
        f"coverage_{100 * nominal:g}": float(share)
        for nominal, share in zip(shares["nominal"], shares["coverage"], strict=True)
    }
    ranking = {name: float(ranks[name]) for name in ("spearman", "kappa", "difference")}
    low, high = CALIBRATED
    return {
        "error_bars_calibrated": (
            bool(exists and low <= ratio["low"] and ratio["high"] <= high),
            calibration | {"negative": float(ratio["negative"])} | coverage,
        ),
        "error_bars_rank_problems": (
            bool(ranks["difference_low"] > 0),
            ranking | {"low": float(ranks["difference" if ranks["note"] else "difference_low"])},
        ),
    }


def error_bar_measures(tables: Mapping[str, DataFrame]) -> dict[str, AskedMeasure]:
    """What P1-03 asks of error bars beside controls, of tables of `error_bar_tables` at k = 0."""
    points = tables["points"]
    return {
        "denoised_error": (
            "squared error of the denoised estimate, k = 0",
            sharpest_by_energy(points, "actual"),
            False,
        ),
        "impossible": (
            "share of impossible variances, of I − σH, k = 0",
            sharpest_by_energy(points, "negative"),
            False,
        ),
    }
