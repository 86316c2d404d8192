"""Claims, and how sure of them one may be: a rule on what experiments logged, nothing computed anew.

A claim rests on criteria that its experiments fixed before their results were seen. What is asked of it
beyond that: is it the same in other networks (the seed is the unit), does it go away where it should
(sanity checks, after Adebayo et al. 2018), does it hold on other problems. `RULES` says how the answers
make a confidence; the code below is those sentences and no more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

# How a claim was come by.
CAUSAL, CORRELATIONAL, DESCRIPTIVE = "causal", "correlational", "descriptive"
# What the evidence says of it.
SUPPORTED, DIVIDED, UNSUPPORTED, OPEN = "supported", "divided", "not supported", "open"
# What a check says of it.
YES, IN_PART, NO, UNTESTED, NOT_ASKED = "yes", "in part", "no", "not tested", "does not apply"
# How sure.
HIGH, MODERATE, LOW, NONE = "high", "moderate", "low", "none"

OTHER_SEEDS = 2  # other networks whose verdicts on the same criteria say something together
VERDICTS = (SUPPORTED, DIVIDED, UNSUPPORTED, OPEN)
LEVELS = (HIGH, MODERATE, LOW, NONE)
CHECKS = ("seeds", "sanity", "transfer")
RULES = (
    "A claim is supported when every criterion that it rests on is met, not supported when none is, and "
    "divided when some are. When an experiment behind it is missing it is open, whatever the others say.",
    "Three checks are asked of it. Seeds: is it the same in other networks? Sanity: does it go away when "
    "what it is about is taken away? Transfer: does it hold on problems unlike those of training? Each is "
    "'yes' when all that tests it says so, 'no' when less than half does, else 'in part'; 'not tested' "
    "where nothing does. Other seeds' verdicts on the same criteria count when there are two or more; a claim "
    "that compares several networks has one 'yes' from that alone, for its verdict, whatever it is, is theirs.",
    "Confidence is for supported claims alone. Low: other networks or a sanity check say no, no check says "
    "yes, or an assumption of its experiments or of what they were made from, or a known answer of the "
    "instruments, was missed.",
    "High: other networks say yes, sanity and transfer say yes wherever they apply, and the claim is not "
    "merely correlational. Moderate: what is neither.",
    "Causal: something was changed, everything else kept, and the effect measured. Correlational: seen "
    "together. Descriptive: what the model does, or how its energy is shaped.",
)


@dataclass(frozen=True)
class Criterion:
    """A criterion as its experiment logged it; numbers: those behind the decision."""

    experiment: str
    name: str
    met: bool
    asked: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)
    run_id: str = ""

    @property
    def ref(self) -> str:
        return f"{self.experiment}.{self.name}"


@dataclass(frozen=True)
class Claim:
    """What might be said, and what it rests on.

    title: the claim in a few words; sentence: what was measured, true however it came out (a template, for
    whoever writes it out). evidence: criteria as "P1-04.bottom_at_the_answer".
    seeds, sanity, transfer: what tests it, each a criterion or the beginning of a finding's name as
    "P6-03: answers beat least squares"; None where the question makes no sense. over_seeds: the
    evidence has the seed for its unit already.
    """

    name: str
    title: str
    kind: str
    evidence: tuple[str, ...]
    sentence: str = ""
    seeds: tuple[str, ...] | None = ()
    sanity: tuple[str, ...] | None = ()
    transfer: tuple[str, ...] | None = ()
    over_seeds: bool = False

    def experiments(self) -> list[str]:
        """Those whose criteria it rests on, in order."""
        return list(dict.fromkeys(_experiment(ref) for ref in self.evidence))


def criteria_of(names: str, *experiments: str) -> tuple[str, ...]:
    """The same criteria, their names with spaces between, of several experiments: "P2-02.gap_recovered", …"""
    return tuple(f"{experiment}.{name}" for experiment in experiments for name in names.split())


@dataclass(frozen=True)
class Doubt:
    """A finding of an experiment that doubts findings, and whether it stood."""

    experiment: str
    name: str
    stood: bool
    run_id: str = ""

    @property
    def ref(self) -> str:
        return f"{self.experiment}: {self.name}"


@dataclass(frozen=True)
class ClaimCheck:
    """The answer of a check; stood of asked; by: what said so; missing: experiments that are not there."""

    answer: str
    stood: int = 0
    asked: int = 0
    by: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class JudgedClaim:
    """A claim with all that was found about it. missing: experiments not there, or criteria not logged."""

    claim: Claim
    verdict: str
    confidence: str
    met: tuple[Criterion, ...]
    unmet: tuple[Criterion, ...]
    missing: tuple[str, ...]
    checks: Mapping[str, ClaimCheck]
    violated: tuple[str, ...]  # assumptions that were missed


@dataclass(frozen=True)
class Evidence:
    """All that was logged.

    criteria: by ref. others: by seed, for the same criteria of other networks, whether they were met.
    findings: what doubting experiments said. missing: experiments that should be there and are not.
    assumptions: refs of criteria without which an experiment's others mean little; instruments: the
    experiment that all others rest on, every criterion of which is an assumption. upstream: what an
    experiment was made from, near and far.
    """

    criteria: Mapping[str, Criterion]
    findings: tuple[Doubt, ...] = ()
    others: Mapping[int, Mapping[str, bool]] = field(default_factory=dict)
    missing: Collection[str] = ()
    assumptions: Collection[str] = ()
    instruments: str = ""
    upstream: Mapping[str, Collection[str]] = field(default_factory=dict)


def judge_claim(claim: Claim, evidence: Evidence) -> JudgedClaim:
    """What the rules make of a claim."""
    criteria = [evidence.criteria[ref] for ref in claim.evidence if ref in evidence.criteria]
    missing = tuple(
        dict.fromkeys(
            _experiment(ref) if _experiment(ref) in evidence.missing else ref
            for ref in claim.evidence
            if ref not in evidence.criteria
        )
    )
    met = tuple(criterion for criterion in criteria if criterion.met)
    unmet = tuple(criterion for criterion in criteria if not criterion.met)
    if missing or not criteria:
        verdict = OPEN
    else:
        verdict = SUPPORTED if not unmet else UNSUPPORTED if not met else DIVIDED
    checks = {name: _check(getattr(claim, name), evidence) for name in CHECKS}
    checks["seeds"] = _seeds(claim, checks["seeds"], evidence)
    near = {
        other for experiment in claim.experiments() for other in (experiment, *evidence.upstream.get(experiment, ()))
    }
    violated = tuple(
        ref
        for ref, criterion in evidence.criteria.items()
        if not criterion.met
        and ref not in claim.evidence
        and (
            criterion.experiment == evidence.instruments
            or (ref in evidence.assumptions and criterion.experiment in near)
        )
    )
    confidence = _confidence(claim, checks, violated) if verdict == SUPPORTED else NONE
    return JudgedClaim(
        claim=claim,
        verdict=verdict,
        confidence=confidence,
        met=met,
        unmet=unmet,
        missing=missing,
        checks=checks,
        violated=violated,
    )


def _confidence(claim: Claim, checks: Mapping[str, ClaimCheck], violated: tuple[str, ...]) -> str:
    answers = {name: check.answer for name, check in checks.items()}
    if violated or NO in (answers["seeds"], answers["sanity"]) or YES not in answers.values():
        return LOW
    elsewhere = {answers["sanity"], answers["transfer"]} <= {YES, NOT_ASKED}
    return HIGH if answers["seeds"] == YES and elsewhere and claim.kind != CORRELATIONAL else MODERATE


def _check(refs: tuple[str, ...] | None, evidence: Evidence) -> ClaimCheck:
    if refs is None:
        return ClaimCheck(NOT_ASKED)
    rows: list[tuple[str, bool]] = []
    missing = []
    for ref in refs:
        if ":" in ref:
            rows += [(finding.ref, finding.stood) for finding in evidence.findings if finding.ref.startswith(ref)]
        elif ref in evidence.criteria:
            rows.append((ref, evidence.criteria[ref].met))
        if _experiment(ref) in evidence.missing:
            missing.append(_experiment(ref))
    return _answer(rows, missing)


def _seeds(claim: Claim, check: ClaimCheck, evidence: Evidence) -> ClaimCheck:
    """The check of seeds, with other networks' verdicts on the same criteria beside what it has."""
    if check.answer == NOT_ASKED:
        return check
    rows = [(ref, True) for ref in check.by[: check.stood]] + [(ref, False) for ref in check.by[check.stood :]]
    known = {ref: criterion.met for ref, criterion in evidence.criteria.items()}
    if claim.over_seeds and set(claim.evidence) <= set(known):
        rows += [(f"{name} is a comparison of networks", True) for name in claim.experiments()]
    alike = [
        (f"seed {seed}", all(met[ref] == known[ref] for ref in claim.evidence))
        for seed, met in evidence.others.items()
        if set(claim.evidence) <= set(met) & set(known)
    ]
    rows += alike if len(alike) >= OTHER_SEEDS else []
    return _answer(rows, check.missing)


def _answer(rows: Iterable[tuple[str, bool]], missing: Iterable[str]) -> ClaimCheck:
    """What stood first, then what did not."""
    rows = sorted(rows, key=lambda row: not row[1])
    stood = sum(well for _, well in rows)
    if not rows:
        answer = UNTESTED
    else:
        answer = YES if stood == len(rows) else NO if 2 * stood < len(rows) else IN_PART
    return ClaimCheck(
        answer=answer,
        stood=stood,
        asked=len(rows),
        by=tuple(name for name, _ in rows),
        missing=tuple(dict.fromkeys(missing)),
    )


def _experiment(ref: str) -> str:
    """The experiment of a reference to a criterion or to a finding."""
    return ref.partition(":" if ":" in ref else ".")[0]
