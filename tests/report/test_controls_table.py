"""Measures on the model and on its controls become rows of the findings, with the controls that it lies beyond."""

import pandas

from ired.report.controls_table import COLUMNS, rows_beside_controls


class Finished:
    def __init__(self, tables):
        self._tables = tables

    def names(self):
        return [f"{name}.parquet" for name in self._tables]

    def table(self, name):
        return self._tables[name]


def cell(measure, energy, value, higher=True, margin=(None, None, None)):
    ends = dict(zip(("margin", "margin_low", "margin_high"), margin, strict=True))
    row = {"measure": measure, "higher": higher, "energy": energy, "value": value, "low": value - 0.5}
    return row | {"high": value + 0.5} | ends


BESIDE = pandas.DataFrame(
    [
        cell("cosine", "trained", 0.75),
        cell("cosine", "affine", 0.5, margin=(0.25, 0.125, 0.375)),
        cell("cosine", "regression", 0.75, margin=(0.0, -0.125, 0.125)),
        cell("distance", "trained", 2.0, higher=False),
        cell("distance", "affine", 1.0, higher=False, margin=(-1.0, -1.5, -0.5)),
        cell("spread", "trained", 3.0),
        cell("spread", "untrained", 4.0),
    ]
)


def test_rows_name_the_controls_that_the_model_lies_beyond():
    results = {"P1-01": Finished({"slices": None}), "P1-02": Finished({"beside_controls": BESIDE})}
    cosine, distance, spread = rows_beside_controls(results)
    assert {row.experiment for row in (cosine, distance, spread)} == {"P1-02"}
    assert cosine.cells == dict.fromkeys(COLUMNS, "") | {
        "trained": "0.75 [0.25, 1.25]",
        "affine": "0.5 [0, 1]",
        "regression": "0.75 [0.25, 1.25]",
    }
    assert (cosine.beyond, distance.beyond, spread.beyond) == ("affine", "none", "")
    assert (cosine.measure, distance.measure) == ("cosine ↑", "distance ↓")


def test_experiments_without_controls_give_no_rows():
    assert rows_beside_controls({"P2-01": Finished({})}) == ()
