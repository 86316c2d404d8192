"""What all experiments logged, gathered and judged: the claims table and what follows from it.

Nothing is computed from the model here. Results are found by their keys (`ired.lab.tracking.results`): a run of
other code than the present counts as not there, and is named with the command that makes it anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ired.report import confidence
from ired.report.claims import stated
from ired.report.confidence import Claim, Criterion, Doubt, Evidence, JudgedClaim

if TYPE_CHECKING:
    from pandas import DataFrame

    from ired.lab.queue import Experiment, RunCoordinates
    from ired.lab.tracking.result import Result
    from ired.lab.tracking.results import Shelf

ITSELF = "P7-05"
TRANSFERS = 0.6  # P6-04's own criterion


@dataclass(frozen=True)
class Gathered:
    """Results of one profile, seed and variant by experiment; missing: why the others are not there;
    others: results at other seeds, by seed and experiment."""

    at: RunCoordinates
    experiments: tuple[Experiment, ...]
    results: Mapping[str, Result]
    missing: Mapping[str, str]
    others: Mapping[int, Mapping[str, Result]] = field(default_factory=dict)

    @cached_property
    def criteria(self) -> dict[str, Criterion]:
        """Every criterion that was decided, by "P1-04.bottom_at_the_answer"."""
        criteria = [criterion for exp_id, result in self.results.items() for criterion in run_criteria(exp_id, result)]
        return {criterion.ref: criterion for criterion in criteria}

    @cached_property
    def evidence(self) -> Evidence:
        others = {
            seed: {
                f"{exp_id}.{name}": met for exp_id, result in results.items() for name, met in result.criteria.items()
            }
            for seed, results in self.others.items()
        }
        return Evidence(
            criteria=self.criteria,
            findings=tuple(self.doubted()),
            others=others,
            missing=tuple(self.missing),
            assumptions=stated.ASSUMPTIONS,
            instruments=stated.INSTRUMENTS,
            upstream=self._upstream(),
        )

    def _upstream(self) -> dict[str, set[str]]:
        """What every experiment was made from, near and far."""
        upstream: dict[str, set[str]] = {}
        for experiment in self.experiments:  # each stands after what it needs
            upstream[experiment.id] = {
                far for need in experiment.needs for far in (need.id, *upstream.get(need.id, ()))
            }
        return upstream

    def doubted(self) -> Iterable[Doubt]:
        """What the experiments of Phase 6 said about findings of the others."""
        for exp_id, read in (("P6-01", _networks), ("P6-03", _sanity), ("P6-04", _transfer)):
            if exp_id in self.results:
                result = self.results[exp_id]
                yield from (Doubt(exp_id, name, stood, result.run_id) for name, stood in read(result))

    def judged(self, claims: Sequence[Claim] = stated.CLAIMS) -> list[JudgedClaim]:
        return [confidence.judge_claim(claim, self.evidence) for claim in claims]

    def unclaimed(self, claims: Sequence[Claim] = stated.CLAIMS) -> list[str]:
        """Criteria that no claim and no assumption takes account of: evidence left out."""
        known = {*stated.ASSUMPTIONS, *stated.RECORDS} | {ref for claim in claims for ref in _used(claim)}
        return [
            ref
            for ref, criterion in self.criteria.items()
            if ref not in known and criterion.experiment not in (stated.INSTRUMENTS, ITSELF)
        ]

    def number(self, ref: str) -> tuple[float, Result] | None:
        """A number by "P3-01.headline" (or criterion and name behind it) with its run; None where the
        experiment is missing. KeyError where the experiment never logged it."""
        exp_id, _, name = ref.partition(".")
        if exp_id not in self.results:
            return None
        metrics = self.results[exp_id].metrics
        for full in (f"criterion.{name}", name):
            if full in metrics:
                return metrics[full], self.results[exp_id]
        raise KeyError(f"{exp_id} logged no '{name}'")


def gather(shelf: Shelf, at: RunCoordinates, seeds: Iterable[int] = (), without: str = "") -> Gathered:
    """All that is fresh at `at` but the experiment `without`, and at other `seeds` what varies with them."""
    queue = tuple(exp for exp in shelf.queue.experiments if exp.id != without)
    fresh_results = {exp.id: shelf.find(exp, at) for exp in queue}
    missing = {exp.id: shelf.state(exp, at) for exp in queue if fresh_results[exp.id] is None}
    others = {}
    for seed in seeds:
        if seed != at.seed:
            there = replace(at, seed=seed)
            results = {exp.id: shelf.find(exp, there) for exp in queue if "seed" in exp.varies}
            if fresh := {exp_id: result for exp_id, result in results.items() if result}:
                others[seed] = fresh
    return Gathered(
        at=at, experiments=queue, results={k: v for k, v in fresh_results.items() if v}, missing=missing, others=others
    )


def run_criteria(exp_id: str, result: Result) -> list[Criterion]:
    """The criteria of a run with the numbers behind them."""
    criteria = []
    for name, met in result.criteria.items():
        prefix = f"criterion.{name}."
        numbers = {k.removeprefix(prefix): v for k, v in result.metrics.items() if k.startswith(prefix)}
        asked = result.tags.get(f"criterion.{name}", "")
        criteria.append(
            Criterion(experiment=exp_id, name=name, met=met, asked=asked, numbers=numbers, run_id=result.run_id)
        )
    return criteria


def _used(claim: Claim) -> Iterable[str]:
    yield from claim.evidence
    for name in confidence.CHECKS:
        yield from getattr(claim, name) or ()


def _networks(result: Result) -> Iterable[tuple[str, bool]]:
    """P6-01: findings claimed of the first network, robust over networks or not."""
    for row in result.table("findings").itertuples():
        if row.claimed:
            kind = row.kind if row.claimed > 0 else f"downwards {row.kind}"
            yield f"{kind} {row.name}", bool(row.robust)


def _sanity(result: Result) -> Iterable[tuple[str, bool]]:
    """P6-03: cells of finding × check that apply."""
    for row in result.table("table").itertuples():
        if row.verdict in ("survived", "failed"):
            yield f"{row.finding} ({row.check})", row.verdict == "survived"


def _transfer(result: Result) -> Iterable[tuple[str, bool]]:
    """P6-04: transfer scores of kinds of findings over the shifted families."""
    table = result.table("transfer")
    for row in table[table["family"] == "shifted"].itertuples():
        yield row.kind, bool(row.low > TRANSFERS)


# Tables


def claims_table(judged: Sequence[JudgedClaim], sentences: Sequence[str]) -> DataFrame:
    """The claims table as it is logged, a row for each claim; found: its sentences as plain text."""
    import pandas

    rows = []
    for claim, sentence in zip(judged, sentences, strict=True):
        row = {
            "claim": claim.claim.name,
            "title": claim.claim.title,
            "verdict": claim.verdict,
            "confidence": claim.confidence,
            "kind": claim.claim.kind,
            "found": sentence,
        }
        row |= {
            "evidence_for": "; ".join(c.ref for c in claim.met),
            "evidence_against": "; ".join(c.ref for c in claim.unmet),
            "missing": "; ".join(claim.missing),
            "assumptions_missed": "; ".join(claim.violated),
        }
        for name, check in claim.checks.items():
            row |= {name: check.answer, f"{name}_stood": check.stood, f"{name}_asked": check.asked}
            row[f"{name}_missing"] = "; ".join(check.missing)
        rows.append(row)
    return pandas.DataFrame(rows)


def criteria_table(gathered: Gathered) -> DataFrame:
    """Every criterion of every experiment, met or not, with the numbers behind it."""
    import pandas

    return pandas.DataFrame(
        [
            {
                "experiment": criterion.experiment,
                "criterion": criterion.name,
                "met": criterion.met,
                "asked": criterion.asked,
                "numbers": json.dumps(dict(criterion.numbers)),
                "run_id": criterion.run_id,
            }
            for criterion in gathered.criteria.values()
        ],
        columns=["experiment", "criterion", "met", "asked", "numbers", "run_id"],
    )


def milestones(gathered: Gathered, queue: Any) -> list[tuple[str, tuple[int, ...], list[str]]]:
    """The queue's milestones: meaning, phases, and the experiments that are missing from it."""
    return [
        (meaning, phases, [exp_id for exp_id in gathered.missing if queue[exp_id].phase in phases])
        for phases, meaning in queue.milestones
    ]


# Sentences


class Words:
    """Writes templates of claims out: numbers from runs, each through `link`(text, result)."""

    def __init__(self, gathered: Gathered, link: Any, autoescape: bool) -> None:
        from jinja2 import Environment, StrictUndefined

        self._gathered, self._link = gathered, link
        self._environment = Environment(autoescape=autoescape, undefined=StrictUndefined)
        self._environment.globals |= {"n": self.number, "i": self.interval, "p": self.share}

    def written(self, template: str, **names: Any) -> str:
        """A template as text of one line."""
        return " ".join(self._environment.from_string(template).render(**names).split())

    def number(self, ref: str, form: str = ".3g") -> Any:
        known = self._gathered.number(ref)
        return _absent(ref) if known is None else self._link(formed(known[0], form), known[1])

    def share(self, ref: str, form: str = ".0%") -> Any:
        return self.number(ref, form)

    def interval(self, ref: str, form: str = ".3g") -> Any:
        """A number and its 95 % interval, as far as one was logged beside it."""
        known = self._gathered.number(ref)
        if known is None:
            return _absent(ref)
        text = formed(known[0], form)
        for low, high in ((".low", ".high"), ("_low", "_high")):
            try:
                ends = [self._gathered.number(ref + end)[0] for end in (low, high)]
            except KeyError:
                continue
            text += f" [{', '.join(formed(end, form) for end in ends)}]"
            break
        return self._link(text, known[1])


def formed(value: float, form: str) -> str:
    """As Python writes it, with a true minus: −0.41, 78 %, 1.9 × 10⁻¹⁶."""
    mantissa, _, power = format(value, form).partition("e")
    if power:
        mantissa += " × 10" + str(int(power)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return mantissa.replace("-", "−").replace("%", "\N{NO-BREAK SPACE}%")


def _absent(ref: str) -> str:
    return f"(missing: {ref.partition('.')[0]})"


def answer(judged: Sequence[JudgedClaim], words: Words) -> str:
    """What IRED learned, as far as it is known."""
    by_name = {claim.claim.name: claim for claim in judged}
    verdicts = {confidence.SUPPORTED: True, confidence.UNSUPPORTED: False}

    def stands(name: str) -> bool | None:
        return verdicts.get(by_name[name].verdict) if name in by_name else None

    def perhaps(name: str) -> str:
        return "perhaps " if by_name[name].confidence == confidence.LOW else ""

    def divided(name: str) -> bool:
        return name in by_name and by_name[name].verdict == confidence.DIVIDED

    return words.written(stated.ANSWER, stands=stands, perhaps=perhaps, divided=divided)
