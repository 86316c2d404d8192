"""Condensing tables: units are averaged first, cells stay apart, empty selections are refused."""

import numpy as np
import pandas
import pytest

from ired.instruments.statistics.tables import per_unit, summarise, weakest_margin


def clustered():
    rng = np.random.default_rng(0)
    rows = [
        {"energy": e, "landscape": k, "problem": p, "x": shift + k + effect + 0.01 * rng.normal()}
        for e, shift in (("b", 10), ("a", 0))
        for k in (1, 0)
        for p, effect in enumerate(rng.normal(size=20))
        for _ in range(8)
    ]
    return pandas.DataFrame(rows)


def test_cells_keep_their_order_and_their_units():
    seen = summarise(clustered(), ["energy", "landscape"], ["x"])
    assert list(zip(seen.energy, seen.landscape, strict=True)) == [("b", 1), ("b", 0), ("a", 1), ("a", 0)]
    assert (seen.units == 20).all() and (seen.measure == "x").all()
    assert ((seen.low < seen["mean"]) & (seen["mean"] < seen.high)).all()
    # Problems differ by ±1, points of a problem by ±0.01: an interval over 160 "independent"
    # points would be about 0.3 wide, over 20 problems about 0.9.
    assert (seen.high - seen.low).min() > 0.5


def test_a_cell_with_one_unit_is_left_out():
    table = clustered()
    table = table[(table.energy == "a") | (table.problem == 0)]
    assert set(summarise(table, ["energy", "landscape"], ["x"]).energy) == {"a"}


def test_per_unit_selects_and_averages():
    table = clustered()
    x = per_unit(table, "x", energy="a", landscape=1)
    rows = table[(table.energy == "a") & (table.landscape == 1) & (table.problem == 3)]
    assert len(x) == 20 and x[3] == pytest.approx(rows.x.mean())
    with pytest.raises(ValueError, match="no rows"):
        per_unit(table, "x", energy="c")


def test_the_weakest_margin_is_that_of_the_landscape_where_it_is_least_sure():
    rng = np.random.default_rng(1)
    effect = rng.normal(size=30)
    rows = [
        {"energy": e, "landscape": k, "problem": p, "x": effect[p] + up + 0.1 * rng.normal()}
        for k, gain in ((0, 3.0), (1, 0.5), (2, 2.0))
        for e, up in (("first", gain), ("second", 0.0))
        for p in range(30)
    ]
    seen = weakest_margin(pandas.DataFrame(rows), "x", "first", "second")
    assert seen.estimate == pytest.approx(0.5, abs=0.1) and seen.low > 0.3
    assert seen.level == pytest.approx(1 - 0.05 / 3)
    turned = weakest_margin(pandas.DataFrame(rows), "x", "second", "first")
    assert turned.estimate == pytest.approx(-3.0, abs=0.1)
