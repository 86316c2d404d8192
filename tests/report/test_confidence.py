"""The rule of confidence on planted evidence: what it must say is known beforehand."""

from dataclasses import replace

import pytest

from ired.report import confidence as rule
from ired.report.confidence import Claim, Criterion, Doubt, Evidence


def logged(**met):
    """Criteria by reference: E1_a=True is E1.a, met."""
    found = [Criterion(*name.split("_"), value) for name, value in met.items()]
    return {one.ref: one for one in found}


def finding(name, *stood):
    return [Doubt("E9", f"{name} {i}", value) for i, value in enumerate(stood)]


CLAIM = Claim(
    "it-is",
    "It is",
    rule.CAUSAL,
    ("E1.a", "E2.b"),
    seeds=("E9: seeds",),
    sanity=("E9: sanity",),
    transfer=("E9: transfer",),
)
BOTH = logged(E1_a=True, E2_b=True)
WELL = (*finding("seeds", True, True), *finding("sanity", True), *finding("transfer", True, True, True))


@pytest.mark.parametrize(
    "met, verdict",
    [
        ({"E1_a": True, "E2_b": True}, rule.SUPPORTED),
        ({"E1_a": False, "E2_b": False}, rule.UNSUPPORTED),
        ({"E1_a": True, "E2_b": False}, rule.DIVIDED),
        ({"E1_a": True}, rule.OPEN),
        ({"E1_a": False}, rule.OPEN),
        ({}, rule.OPEN),
    ],
)
def test_the_verdict_is_that_of_the_criteria(met, verdict):
    found = rule.judge_claim(CLAIM, Evidence(logged(**met), WELL, missing=("E2",)))
    assert found.verdict == verdict
    assert found.confidence == (rule.HIGH if verdict == rule.SUPPORTED else rule.NONE)
    assert {one.ref for one in found.met} == {name.replace("_", ".") for name, yes in met.items() if yes}
    assert {one.ref for one in found.unmet} == {name.replace("_", ".") for name, yes in met.items() if not yes}


def test_what_is_missing_is_named():
    """An experiment that is not there by its id, a criterion that a run never decided by its own name."""
    found = rule.judge_claim(CLAIM, Evidence(logged(E1_other=True), missing=("E2",)))
    assert found.verdict == rule.OPEN and found.missing == ("E1.a", "E2")
    nothing = rule.judge_claim(CLAIM, Evidence(BOTH, missing=("E9",)))
    assert {check.answer for check in nothing.checks.values()} == {rule.UNTESTED}
    assert all(check.missing == ("E9",) for check in nothing.checks.values())
    assert nothing.confidence == rule.LOW


@pytest.mark.parametrize(
    "stood, answer",
    [
        ((), rule.UNTESTED),
        ((True,), rule.YES),
        ((True, True), rule.YES),
        ((False,), rule.NO),
        ((True, False), rule.IN_PART),
        ((True, False, False), rule.NO),
        ((True, True, False), rule.IN_PART),
    ],
)
def test_a_check_answers_by_what_stood(stood, answer):
    check = rule.judge_claim(CLAIM, Evidence(BOTH, tuple(finding("sanity", *stood)))).checks["sanity"]
    assert (check.answer, check.stood, check.asked) == (answer, sum(stood), len(stood))


@pytest.mark.parametrize(
    "seeds, sanity, transfer, kind, expected",
    [
        ((True,), (True,), (True,), rule.CAUSAL, rule.HIGH),
        ((True,), (True,), (True,), rule.DESCRIPTIVE, rule.HIGH),
        ((True,), (True,), (True,), rule.CORRELATIONAL, rule.MODERATE),
        ((True,), (True,), (), rule.CAUSAL, rule.MODERATE),
        ((True,), (), (True,), rule.CAUSAL, rule.MODERATE),
        ((), (True,), (True,), rule.CAUSAL, rule.MODERATE),
        ((True, False), (True,), (True,), rule.CAUSAL, rule.MODERATE),
        ((True,), (True,), (False,), rule.CAUSAL, rule.MODERATE),
        ((False,), (True,), (True,), rule.CAUSAL, rule.LOW),
        ((True,), (False,), (True,), rule.CAUSAL, rule.LOW),
        ((), (), (), rule.CAUSAL, rule.LOW),
        ((True, False), (True, False), (True, False), rule.CAUSAL, rule.LOW),
    ],
)
def test_confidence_follows_the_checks(seeds, sanity, transfer, kind, expected):
    doubts = [*finding("seeds", *seeds), *finding("sanity", *sanity), *finding("transfer", *transfer)]
    assert rule.judge_claim(replace(CLAIM, kind=kind), Evidence(BOTH, tuple(doubts))).confidence == expected


def test_what_makes_no_sense_is_not_held_against_a_claim():
    claim = replace(CLAIM, sanity=None, transfer=None)
    found = rule.judge_claim(claim, Evidence(BOTH, tuple(finding("seeds", True))))
    assert found.checks["sanity"].answer == rule.NOT_ASKED and found.confidence == rule.HIGH


def test_other_seeds_count_from_two_on():
    """Each is asked for the same verdict on every criterion of the claim."""
    claim = replace(CLAIM, seeds=())
    same, other = {"E1.a": True, "E2.b": True}, {"E1.a": True, "E2.b": False}
    for others, answer in (
        ({1: same}, rule.UNTESTED),
        ({1: same, 2: same}, rule.YES),
        ({1: same, 2: other}, rule.IN_PART),
        ({1: other, 2: other}, rule.NO),
        ({1: same, 2: {"E1.a": True}}, rule.UNTESTED),
    ):
        assert rule.judge_claim(claim, Evidence(BOTH, others=others)).checks["seeds"].answer == answer, others
    unmet = rule.judge_claim(claim, Evidence(logged(E1_a=True, E2_b=False), others={1: other, 2: other}))
    assert unmet.verdict == rule.DIVIDED and unmet.checks["seeds"].answer == rule.YES


def test_comparisons_of_networks_have_the_seed_for_their_unit():
    claim = replace(CLAIM, seeds=(), over_seeds=True)
    assert rule.judge_claim(claim, Evidence(BOTH)).checks["seeds"].answer == rule.YES
    assert rule.judge_claim(claim, Evidence(logged(E1_a=True), missing=("E2",))).checks["seeds"].answer == rule.UNTESTED


def test_a_missed_assumption_or_known_answer_lowers_what_rests_on_it():
    sound = logged(E1_a=True, E2_b=True, E1_holds=True, E3_holds=False, E0_probe=True)
    evidence = Evidence(sound, WELL, assumptions=("E1.holds", "E3.holds"), instruments="E0")
    assert rule.judge_claim(CLAIM, evidence).confidence == rule.HIGH  # E3 is none of its experiments
    for ref in ("E1.holds", "E0.probe"):
        broken = replace(evidence, criteria=sound | {ref: replace(sound[ref], met=False)})
        found = rule.judge_claim(CLAIM, broken)
        assert (found.verdict, found.confidence, found.violated) == (rule.SUPPORTED, rule.LOW, (ref,))
    rests = replace(evidence, upstream={"E2": {"E3"}})
    assert rule.judge_claim(CLAIM, rests).violated == ("E3.holds",)
    assert rule.judge_claim(CLAIM, replace(evidence, upstream={"E3": {"E2"}})).violated == ()


def test_a_check_may_be_a_criterion():
    claim = replace(CLAIM, transfer=("E5.goes_far",))
    for met, answer in ((True, rule.YES), (False, rule.NO)):
        found = rule.judge_claim(claim, Evidence(BOTH | logged(**{"E5_goes": met}), WELL))
        assert found.checks["transfer"].answer == rule.UNTESTED  # another criterion
        criteria = BOTH | {"E5.goes_far": Criterion("E5", "goes_far", met)}
        assert rule.judge_claim(claim, Evidence(criteria, WELL)).checks["transfer"].answer == answer
