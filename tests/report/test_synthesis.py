"""The synthesis on a store whose runs are planted: the claims table is known beforehand."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pandas
import pytest

from ired.lab.content_keys import Keys
from ired.lab.queue import ROOT, RunCoordinates, load
from ired.lab.tracking.opening import open_tracking
from ired.lab.tracking.results import Shelf
from ired.lab.tracking.store import Store
from ired.report import synthesis
from ired.report.claims import stated
from ired.report.confidence import CAUSAL, CORRELATIONAL, DESCRIPTIVE, Claim

AT = RunCoordinates("tiny")
NAMES = ("SETUP-4", "P1-01", "P1-02", "P2-01", "P3-01", "P5-01", "P6-01", "P6-03", "P6-04", "P7-05")
# Of each claim: verdict, confidence, and answers of seeds, sanity and transfer.
CLAIMS = {
    Claim(
        "met",
        "All is met",
        CAUSAL,
        ("P1-01.up", "P1-02.down"),
        sentence='{{ i("P1-01.up.share", ".2f") }}',
        seeds=("P6-01: moved",),
        sanity=("P6-03: it is so",),
        transfer=("P6-04: acts",),
    ): ("supported", "high", "yes", "yes", "yes"),
    Claim(
        "seen",
        "Seen together",
        CORRELATIONAL,
        ("P1-01.up",),
        seeds=("P6-01: moved",),
        sanity=("P6-03: it is so",),
        transfer=("P6-04: acts",),
    ): ("supported", "moderate", "yes", "yes", "yes"),
    Claim(
        "doubtful",
        "Met, but it does not go away",
        DESCRIPTIVE,
        ("P1-01.up",),
        sanity=("P6-03: only partly",),
        transfer=("P6-04: fires",),
    ): ("supported", "low", "not tested", "no", "no"),
    Claim("failed", "Failed", CAUSAL, ("P2-01.never",), sentence='{{ n("P2-01.never.share") }}'): (
        "not supported",
        "none",
        "not tested",
        "not tested",
        "not tested",
    ),
    Claim("contradictory", "Met and failed", CAUSAL, ("P1-01.up", "P2-01.never"), seeds=("P6-01: shaky",)): (
        "divided",
        "none",
        "in part",
        "not tested",
        "not tested",
    ),
    Claim("missing", "Not run", CAUSAL, ("P1-01.up", "P3-01.unseen"), sentence='{{ n("P3-01.unseen.share") }}'): (
        "open",
        "none",
        "not tested",
        "not tested",
        "not tested",
    ),
    Claim("died", "Its run failed", CAUSAL, ("P5-01.would",)): (
        "open",
        "none",
        "not tested",
        "not tested",
        "not tested",
    ),
    Claim("undecided", "A criterion nobody decided", CAUSAL, ("P1-01.unheard",)): (
        "open",
        "none",
        "not tested",
        "not tested",
        "not tested",
    ),
}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """A project of ten experiments and a store with planted runs."""
    root = tmp_path_factory.mktemp("planted")
    entries = [
        {
            "id": name,
            "phase": 0 if name == "SETUP-4" else int(name[1]),
            "title": name,
            "hours": 1,
            "script": f"scripts/{('0' if name == 'SETUP-4' else name[1]) + name[-1]}_x.py",
            "needs": [],
            "resources": {"gpu": False, "memory_gb": 1},
            "varies": ["profile", "seed", "variant"],
        }
        for name in NAMES
    ]
    (root / "pipeline.json").write_text(
        json.dumps(
            {
                "variants": ["none"],
                "phases": [f"phase {i}" for i in range(8)],
                "experiments": entries,
                "milestones": [{"phases": [1, 2], "meaning": "a draft"}, {"phases": [1, 2, 3], "meaning": "more"}],
            }
        )
    )
    for entry in entries:
        (root / entry["script"]).parent.mkdir(exist_ok=True)
        (root / entry["script"]).write_text(f'"""{entry["id"]}: a question?\n\nA method.\n"""\n')
    queue = load(root)
    keys, store = Keys(root, queue), Store(root, f"sqlite:///{root}/mlruns/mlflow.db")
    store.folder.mkdir()
    tracking = open_tracking(store, keys)

    def plant(exp_id, met, numbers=None, tables=None, seed=0, status="FINISHED", key=None):
        exp, at = queue[exp_id], RunCoordinates("tiny", seed)
        tags = {
            "exp_id": exp_id,
            "profile": "tiny",
            "seed": str(seed),
            "variant": "none",
            "key": key or keys.key(exp, at),
            "criteria": json.dumps(sorted(met)),
            "headline": "a number 1",
        }
        run_id = tracking.start(exp.phase, exp_id, tags | {f"criterion.{name}": "asked" for name in met}, {})
        values = {f"criterion.{name}": float(yes) for name, yes in met.items()} | (numbers or {})
        tracking.metrics(run_id, [(name, value, 0) for name, value in values.items()])
        for name, rows in (tables or {}).items():
            path = root / f"{name}.parquet"
            pandas.DataFrame(rows).to_parquet(path)
            tracking.upload(run_id, path)
        tracking.end(run_id, status)
        return run_id

    plant("SETUP-4", {"probe": True})
    plant(
        "P1-01",
        {"up": True, "extra": False},
        {f"criterion.up.{k}": v for k, v in (("share", 0.5), ("share_low", 0.25), ("share_high", 0.75))},
    )
    plant("P1-02", {"down": True})
    plant("P2-01", {"never": False}, {"criterion.never.share": 1e-3})
    plant("P3-01", {"unseen": True}, key="of other code")
    plant("P5-01", {"would": True}, status="FAILED")
    robust = [
        ("moved", "concept", 1.0, True),
        ("moved", "feature", 0.0, False),
        ("shaky", "one", 1.0, True),
        ("shaky", "two", -1.0, False),
        ("shaky", "three", 1.0, False),
    ]
    names = ("kind", "name", "claimed", "robust")
    plant("P6-01", {}, tables={"findings": [dict(zip(names, r, strict=True)) for r in robust]})
    cells = [
        ("it is so", "weights", "survived"),
        ("it is so", "noise", "not applicable"),
        ("only partly", "weights", "survived"),
        ("only partly", "noise", "failed"),
        ("only partly", "labels", "failed"),
    ]
    plant("P6-03", {}, tables={"table": [dict(zip(("finding", "check", "verdict"), r, strict=True)) for r in cells]})
    scores = [("shifted", "acts", 0.7), ("shifted", "fires", 0.5), ("same again", "fires", 0.9)]
    plant("P6-04", {}, tables={"transfer": [dict(zip(("family", "kind", "low"), r, strict=True)) for r in scores]})
    for seed in (1, 2):
        plant("P2-01", {"never": seed == 1}, seed=seed)
    return Shelf(tracking, keys)


@pytest.fixture(scope="module")
def gathered(shelf):
    return synthesis.gather(shelf, AT, without="P7-05")


@pytest.mark.slow
def test_the_claims_table_is_exactly_what_was_planted(gathered):
    judged = gathered.judged(tuple(CLAIMS))
    table = synthesis.claims_table(judged, ["" for _ in judged])
    found = {
        row.claim: (row.verdict, row.confidence, row.seeds, row.sanity, row.transfer) for row in table.itertuples()
    }
    assert found == {claim.name: expected for claim, expected in CLAIMS.items()}
    rows = table.set_index("claim")
    assert rows.loc["contradictory", ["evidence_for", "evidence_against"]].tolist() == ["P1-01.up", "P2-01.never"]
    assert rows.loc["missing", ["evidence_for", "missing"]].tolist() == ["P1-01.up", "P3-01"]
    assert rows.loc["died", "missing"] == "P5-01" and rows.loc["undecided", "missing"] == "P1-01.unheard"
    assert rows.loc["doubtful", ["sanity_stood", "sanity_asked"]].tolist() == [1, 3]


def test_a_missing_experiment_is_named_with_its_reason_and_never_passed(gathered, shelf):
    assert gathered.missing == {"P3-01": "stale", "P5-01": "failed"}
    assert set(gathered.results) == set(NAMES) - {"P3-01", "P5-01", "P7-05"}
    assert not any(ref.startswith(("P3-01", "P5-01")) for ref in gathered.criteria)
    draft, more = synthesis.milestones(gathered, shelf.queue)
    assert draft == ("a draft", (1, 2), []) and more == ("more", (1, 2, 3), ["P3-01"])


def test_every_criterion_is_collected_with_its_numbers(gathered):
    table = synthesis.criteria_table(gathered).set_index(["experiment", "criterion"])
    assert table["met"].to_dict() == {
        ("SETUP-4", "probe"): True,
        ("P1-01", "up"): True,
        ("P1-01", "extra"): False,
        ("P1-02", "down"): True,
        ("P2-01", "never"): False,
    }
    assert json.loads(table.loc[("P1-01", "up"), "numbers"]) == {"share": 0.5, "share_low": 0.25, "share_high": 0.75}
    assert gathered.unclaimed(tuple(CLAIMS)) == ["P1-01.extra"]


def test_other_seeds_are_read_when_they_are_asked_for(shelf):
    claim = next(claim for claim in CLAIMS if claim.name == "failed")
    one = synthesis.gather(shelf, AT, (1, 2)).judged((claim,))[0]
    assert (one.verdict, one.checks["seeds"].answer) == ("not supported", "in part")
    assert synthesis.gather(shelf, AT, (2, 3)).judged((claim,))[0].checks["seeds"].answer == "not tested"


def test_sentences_hold_the_numbers_of_runs_or_say_what_is_missing(gathered):
    words = synthesis.Words(gathered, lambda text, result: f"<{text} of {result.name[:5]}>", autoescape=False)
    by_name = {claim.name: words.written(claim.sentence) for claim in CLAIMS if claim.sentence}
    assert by_name == {
        "met": "<0.50 [0.25, 0.75] of P1-01>",
        "failed": "<0.001 of P2-01>",
        "missing": "(missing: P3-01)",
    }
    with pytest.raises(KeyError, match="P1-01 logged no 'up.shares'"):
        words.written('{{ n("P1-01.up.shares") }}')


def test_the_answer_follows_the_verdicts(gathered):
    """It says nothing of what is open, denies only what is not supported, and hedges what is little sure."""
    words = synthesis.Words(gathered, lambda text, _: text, autoescape=False)
    some = gathered.judged(tuple(CLAIMS))[0]

    def said(level="high", **verdicts):
        named = [
            replace(
                some,
                claim=replace(some.claim, name=name.replace("_", "-")),
                verdict=verdict,
                confidence=level if verdict == "supported" else "none",
            )
            for name, verdict in verdicts.items()
        ]
        return synthesis.answer(named, words)

    linear, inverse = {"more_than_linear": "not supported"}, {"more_than_linear": "supported"}
    assert said().startswith("Nobody knows yet") and said(more_than_linear="open").startswith("Nobody knows yet")
    assert said(**linear) == "Hardly more than an affine map of A."
    assert said(**inverse) == "More than an affine map of A."
    assert said("low", **inverse) == "Perhaps more than an affine map of A."
    assert said(**inverse, transfers="divided", bottom_at_answer="divided") == (
        "More than an affine map of A. What is found holds in part on other kinds of problems. Evidence is divided on "
        "whether its minima lie at the answers."
    )
    assert said(**inverse, bottom_at_answer="not supported") == (
        "More than an affine map of A. What it knows is not in minima at the answers."
    )
    assert said(**inverse, bottom_at_answer="not supported", points_home="supported") == (
        "More than an affine map of A. What it knows is in the directions of its gradients and not in minima at "
        "the answers."
    )
    assert said(more_than_linear="divided") == "In some respects more than an affine map of A, in others not."
    lost = said(**inverse, transfers="not supported")
    assert lost.endswith("What is found does not hold on other kinds of problems.")
    assert said(**inverse, features_are_its_own="not supported") == (
        "More than an affine map of A. Inside there are no sparse features that other seeds find beyond chance."
    )
    assert said(**inverse, features_are_its_own="divided", concept_mediates="supported") == (
        "More than an affine map of A. Inside are concept directions that carry part of what they are named after. "
        "Evidence is divided on whether its sparse features are its own."
    )
    assert said(**inverse, features_are_its_own="not supported", concept_mediates="supported") == (
        "More than an affine map of A. Inside there are no sparse features that other seeds find beyond chance, but "
        "concept directions that carry part of what they are named after."
    )
    assert said("low", **inverse, concept_mediates="supported").endswith(
        "Inside are perhaps concept directions that carry part of what they are named after."
    )
    assert said(**inverse, concept_mediates="not supported").endswith(
        "Inside no concept direction both moves and carries what it is named after."
    )
    assert said(**inverse, features_are_its_own="divided", concept_mediates="divided") == (
        "More than an affine map of A. Evidence is divided on whether its sparse features are its own, and on "
        "whether concept directions carry what they are named after."
    )
    assert said(
        **inverse,
        follows_exact_sensitivity="supported",
        features_are_its_own="supported",
        bottom_at_answer="supported",
        transfers="supported",
        structure_is_missing="supported",
    ) == (
        "More than an affine map of A: its answers change with A as the exact inverse does. What it knows is in "
        "minima that lie at the answers. Inside there are sparse features of its own. "
        "What is found holds on other kinds of problems. "
        "An energy that can multiply matrices does far better."
    )


def declared():
    """Criteria as the scripts declare them, by experiment, read from their commands."""
    import importlib.util

    found = {}
    for exp in load(ROOT).experiments:
        spec = importlib.util.spec_from_file_location(Path(exp.script).stem, ROOT / exp.script)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found[exp.id] = set(module.main.criteria)
    return found


def test_every_criterion_of_every_script_belongs_to_a_claim_or_is_an_assumption():
    known = {ref for claim in stated.CLAIMS for ref in claim.evidence} | {*stated.ASSUMPTIONS, *stated.RECORDS}
    known |= {
        ref
        for claim in stated.CLAIMS
        for name in synthesis.confidence.CHECKS
        for ref in getattr(claim, name) or ()
        if ":" not in ref
    }
    criteria = {
        f"{exp_id}.{name}"
        for exp_id, names in declared().items()
        for name in names
        if exp_id not in (stated.INSTRUMENTS, synthesis.ITSELF)
    }
    assert criteria - known == set(), "evidence that no claim takes account of"
    assert known - criteria == set(), "claims that rest on what nobody decides"


def test_every_assumption_can_lower_some_claim():
    """One that no claim's experiments rest on would be a check that cannot fail."""
    queue = load(ROOT)
    gathered = synthesis.Gathered(AT, queue.experiments, {}, {})
    rests = {
        near
        for claim in stated.CLAIMS
        for one in claim.experiments()
        for near in (one, *gathered.evidence.upstream.get(one, ()))
    }
    assert [ref for ref in stated.ASSUMPTIONS if ref.partition(".")[0] not in rests] == []


def test_claims_are_named_once_and_shown_ones_exist():
    names = [claim.name for claim in stated.CLAIMS]
    assert len(set(names)) == len(names) and set(stated.HIGHLIGHTS) <= set(names)
    asked = set(re.findall(r'(?:stands|perhaps|divided)\("([^"]*)"\)', stated.ANSWER))
    assert asked and asked <= set(names)
