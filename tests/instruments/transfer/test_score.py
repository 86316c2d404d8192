"""The transfer score on planted findings."""

import numpy as np
import pytest

from ired.instruments.transfer import score
from ired.instruments.transfer.known_answers import planted_findings
from ired.instruments.transfer.score import Block


def rng(seed=0):
    return np.random.default_rng(seed)


def test_what_holds_everywhere_transfers_and_what_holds_inside_alone_does_not():
    r = rng()
    inside = [planted_findings(r, 40, 12, (2.0, 0.0))]
    outside = {"a": [planted_findings(r, 40, 12, (2.0, 0.0))], "b": [planted_findings(r, 40, 12, (0.0, 0.0))]}
    found = score.transfer_score(inside, outside)
    assert (found["a"].estimate, found["b"].estimate, found["all"].estimate) == (1, 0, 0.5)
    assert found["a"].low == 1 and found["b"].high == 0
    rows = score.transfer_table(inside, outside)
    assert rows.groupby("family")["transfers"].mean().tolist() == [1, 0]
    assert not rows["placebo"].any()


def test_a_finding_that_does_not_hold_is_not_counted():
    r = rng(1)
    values = np.column_stack([r.standard_normal(50) + 2, r.standard_normal(50) * 5])
    inside = [Block("k", ("real", "noise"), values, 0 * values)]
    assert score.holding(inside[0]).tolist() == [True, False]
    assert score.transfer_score(inside, {"same": inside})["same"].estimate == 1
    nothing = [Block("k", ("noise",), values[:, 1:], values[:, 1:])]
    with pytest.raises(ValueError, match="no finding holds"):
        score.transfer_score(nothing, {"same": nothing})
    rows = score.transfer_summary(nothing, {"same": nothing, "f": nothing}, ("same",)).set_index("family")
    assert rows.loc["shifted", ["score", "low", "high"]].tolist() == [0, 0, 1]


def test_a_kind_that_claims_more_than_the_null_has_no_findings_below_it():
    values = rng(7).standard_normal((30, 2)) + [3.0, -3.0]
    assert score.holding(Block("k", ("a", "b"), values, values)).tolist() == [True, True]
    block = Block("k", ("a", "b"), values, values, positive=True)
    assert score.holding(block).tolist() == [True, False]


def test_signs_sizes_and_p_values_decide():
    inside = np.array([1.0, 1.0, 1.0, -1.0, 1.0, 0.0])
    mean = np.array([0.6, 0.4, -2.0, -0.7, np.nan, 1.0])
    p = np.array([0.01, 0.01, 0.01, 0.01, np.nan, 0.01])
    assert score.passing(inside, mean, p).tolist() == [True, False, False, True, False, False]
    assert not score.passing(inside, mean, p + 0.1).any()


def test_kinds_count_alike_and_what_was_not_measured_is_left_out():
    r = rng(2)
    many, one = planted_findings(r, 30, 20, (3.0, 0.0)), planted_findings(r, 30, 1, (3.0, 0.0))
    inside = [many, Block("other", one.names, one.values, one.placebo)]
    failing = Block("other", one.names, -one.values, one.placebo)
    assert score.transfer_score(inside, {"f": [many, failing]})["f"].estimate == 0.5
    missing = np.full_like(one.values, np.nan)
    unseen = Block("other", one.names, missing, missing)
    assert score.transfer_score(inside, {"f": [many, unseen]})["f"].estimate == 1
    assert not score.transfer_table(inside, {"f": [many, unseen]}).query("kind == 'other'")["measured"].any()


def test_intervals_narrow_with_findings_and_the_summary_has_everything():
    r = rng(3)

    def mixed(count):
        """Half of the findings transfer."""
        means = np.where(np.arange(count) % 2, 2.0, 0.0)
        values = r.standard_normal((40, count)) + means
        return [Block("k", tuple(map(str, range(count))), values, values - means)]

    widths = []
    for count in (6, 60):
        inside = [planted_findings(r, 40, count, (2.0, 0.0))]
        inside = [Block("k", inside[0].names, inside[0].values, inside[0].placebo)]
        seen = score.transfer_score(inside, {"f": mixed(count)})["f"]
        assert seen.estimate == 0.5 and seen.low < 0.5 < seen.high
        widths.append(seen.high - seen.low)
    assert widths[1] < widths[0] / 2
    rows = score.transfer_summary(inside, {"null": inside, "f": mixed(60)}, null=("null",))
    all_kinds = rows[rows["kind"] == "all"].set_index("family")
    assert set(all_kinds.index) == {"null", "f", "shifted"}
    assert all_kinds.loc["shifted", "score"] == all_kinds.loc["f", "score"] == 0.5
    assert all_kinds.loc["null", "score"] == 1 and all_kinds.loc["f", "findings"] == 60
    assert (rows["low"] <= rows["score"]).all() and (rows["chance"] < 0.2).all()


def test_blocks_that_do_not_match_are_refused():
    block = planted_findings(rng(), 10, 2, (1.0, 0.0))
    with pytest.raises(ValueError, match="not the same"):
        score.transfer_table([block], {"f": [Block("planted", ("x", "y"), block.values, block.placebo)]})
    with pytest.raises(ValueError, match="names"):
        Block("k", ("a",), block.values, block.placebo)
