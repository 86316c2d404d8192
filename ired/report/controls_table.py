"""What experiments measured on the model and on its controls, side by side: the table "Beside controls" of findings.

An experiment that holds its model against controls logs a table "beside_controls" (`ired.experiments.controls`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ired.report.page import BesideRow

if TYPE_CHECKING:
    from pandas import DataFrame

    from ired.lab.tracking.result import Result

TABLE = "beside_controls"
ROUNDING = 1e-12
COLUMNS = ("trained", "affine", "regression", "untrained", "ideal", "algebraic")


def rows_beside_controls(results: Mapping[str, Result]) -> tuple[BesideRow, ...]:
    """Of all finished experiments that have such a table, in their order."""
    return tuple(
        row
        for name, result in results.items()
        if f"{TABLE}.parquet" in result.names()
        for row in _of_experiment(name, result.table(TABLE))
    )


def _of_experiment(name: str, table: DataFrame) -> Iterator[BesideRow]:
    for measure, rows in table.groupby("measure", sort=False):
        by_energy = rows.set_index("energy")
        cells = {
            energy: _cell(*by_energy.loc[energy, ["value", "low", "high"]]) if energy in by_energy.index else ""
            for energy in COLUMNS
        }
        asked = by_energy[by_energy["margin"].notna()] if "margin" in by_energy else by_energy[:0]
        beyond = ", ".join(asked.index[asked["margin_low"] > 0]) or ("none" if len(asked) else "")
        yield BesideRow(name, f"{measure} {'↑' if rows['higher'].iloc[0] else '↓'}", cells, beyond)


def _cell(*ends: float) -> str:
    value, low, high = (0.0 if abs(end) < ROUNDING else end for end in ends)
    return f"{value:.3g} [{low:.3g}, {high:.3g}]".replace("-", "−")
