"""Long tables of measurements, one row a point, condensed to means with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from numpy.typing import NDArray
from pandas import DataFrame, concat

from ired.instruments.statistics.intervals import (
    FEW,
    Interval,
    bootstrap_interval,
    paired_interval,
    student_interval,
)


def summarise(
    table: DataFrame,
    by: Sequence[str],
    measures: Sequence[str],
    unit: str = "problem",
    level: float = 0.95,
) -> DataFrame:
    """Means of `measures` in each cell of `by`, with intervals over `unit`.

    Points of one unit are averaged first: they share a matrix (or a seed) and are not independent.
    Columns: those of `by`, measure, mean, low, high, units; cells in order of appearance. A cell
    with a single unit knows no interval and is left out.
    """
    units = table.groupby([*by, unit], sort=False)[list(measures)].mean()
    rows = []
    for cell, values in units.groupby(list(by), sort=False):
        if len(values) < 2:
            continue
        for measure in measures:
            x = values[measure].to_numpy(dtype=float)
            few = len(x) < FEW
            interval = student_interval(x, level) if few else bootstrap_interval(x, level, resamples=1999)
            rows.append((*cell, measure, interval.estimate, interval.low, interval.high, len(x)))
    return DataFrame(rows, columns=[*by, "measure", "mean", "low", "high", "units"])


def stacked(tables: Mapping[str, DataFrame], label: str) -> DataFrame:
    """Tables one below the other, each with its name in a column `label`."""
    return concat([table.assign(**{label: name}) for name, table in tables.items()], ignore_index=True)


def per_unit(table: DataFrame, measure: str, unit: str = "problem", **at) -> NDArray:
    """The values (units,) of `measure` where columns equal `at`, averaged within units, in order."""
    for column, value in at.items():
        table = table[table[column] == value]
    if table.empty:
        raise ValueError(f"no rows with {at}")
    return table.groupby(unit)[measure].mean().to_numpy()


def weakest_margin(table: DataFrame, measure: str, first: str, second: str, level: float = 0.95, **at) -> Interval:
    """How much higher energy `first` lies than `second`, where it does so least surely.

    Paired differences over problems in every landscape of `table` where columns equal `at`, at a
    Bonferroni-corrected level; the interval with the lowest lower end is returned. If that lies above
    0, `first` is higher in every landscape.
    """
    landscapes = table["landscape"].unique()
    margins = [
        paired_interval(
            per_unit(table, measure, energy=first, landscape=k, **at),
            per_unit(table, measure, energy=second, landscape=k, **at),
            1 - (1 - level) / len(landscapes),
        )
        for k in landscapes
    ]
    return min(margins, key=lambda margin: margin.low)
