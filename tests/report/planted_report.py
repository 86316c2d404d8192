"""A report whose every word is known, for tests of the page: all verdicts, nasty text, long words, an empty store."""

import io
from dataclasses import replace

from PIL import Image, ImageDraw

from ired.report.confidence import (
    CAUSAL,
    CHECKS,
    CORRELATIONAL,
    DESCRIPTIVE,
    DIVIDED,
    HIGH,
    IN_PART,
    LOW,
    MODERATE,
    NONE,
    NOT_ASKED,
    OPEN,
    RULES,
    SUPPORTED,
    UNSUPPORTED,
    UNTESTED,
    YES,
    Claim,
    ClaimCheck,
    Criterion,
    JudgedClaim,
)
from ired.report.page import AdviceRow, ClaimRow, Compared, Milestone, Picture, Report, ShownExperiment

NASTY = 'a < b & "c" d\'e <script>alert(1)</script> ⟨Ω⟩ κ(A) ≤ 10⁻³'
LONG = "unbreakable" * 12
RUNS = {name: f"{i:08x}" * 4 for i, name in enumerate(("SETUP-1", "P1-01", "P2-01", "P2-02"), 1)}
LINK = "http://127.0.0.1:5000/#/experiments/1/runs/"


def png(size, mode="RGB"):
    image = Image.new(mode, size, "#de8f05" if mode == "RGB" else (0, 0, 0, 0))
    ImageDraw.Draw(image).line((0, 0, *size), "#0173b2", 3)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def picture(name, caption="A <caption> & more", size=(160, 90), mode="RGB"):
    return Picture(name, caption, png(size, mode), size)


def criterion(experiment, name, met=True, **numbers):
    return Criterion(experiment, name, met, f"whether {name} < {NASTY}", numbers, RUNS.get(experiment, ""))


MET = criterion("P1-01", "bottom_at_the_answer", share=0.10891, high=0.1422)
MORE = criterion("P2-01", "score_recovered", rival=0.0304, difference=-0.026, low=-0.0264, high=-0.0257, null=1e-16)
UNMET = criterion("P2-02", "stable_over_seeds", False, cosine=0.4264)
CHECKED = {
    "seeds": ClaimCheck(YES, 2, 2, ("seed 1", "seed 2")),
    "sanity": ClaimCheck(IN_PART, 1, 2, ("P6-03: attribution", f"P6-03: {NASTY}"), ("P6-03",)),
    "transfer": ClaimCheck(NOT_ASKED),
}


def row(name, title, verdict, confidence, phase, kind, met=(), unmet=(), missing=(), violated=(), checks=CHECKED):
    refs = tuple(one.ref for one in (*met, *unmet)) or ("P7-01.better",)
    judged = JudgedClaim(Claim(name, title, kind, refs), verdict, confidence, met, unmet, missing, checks, violated)
    return ClaimRow(judged, phase, f'Sentence of {name}: <a href="#run-{RUNS["P1-01"][:8]}">0.109</a> &lt; 1.')


NEVER = dict.fromkeys(CHECKS, ClaimCheck(UNTESTED))
ROWS = (
    row("bowl", "Beta is a bowl", SUPPORTED, HIGH, 1, CAUSAL, (MET,)),
    row("nasty", f"Alpha {NASTY}", UNSUPPORTED, NONE, 2, DESCRIPTIVE, (), (UNMET,)),
    row("long", f"Gamma {LONG}", DIVIDED, NONE, 2, CORRELATIONAL, (MET, MORE), (UNMET,)),
    row("open", "Epsilon is not known", OPEN, NONE, 7, CAUSAL, missing=("P7-01",), checks=NEVER),
    row("low", "Delta is weak", SUPPORTED, LOW, 0, DESCRIPTIVE, (MORE,), violated=("SETUP-4.hessian",)),
    row("moderate", "Zeta is likely", SUPPORTED, MODERATE, 7, CORRELATIONAL, (MORE, MET), checks=NEVER),
)
MADE = {"commit": "091dce2a7b3c with edits", "device": "cpu", "key": "8a41085d859dba9c", "seed": "0"}


def shown(name, phase, state="done", **more):
    if state == "done":
        more = {
            "headline": f"headline of {name} 0.1 [0.05, 0.2]",
            "run_id": RUNS[name],
            "link": LINK + RUNS[name],
            "seconds": 12.345,
            "made": MADE,
            "params": {"problems": "40", "problem.n": LONG},
            "data": (("small-test", "a81f03cc", "evaluation"),),
        } | more
    return ShownExperiment(
        name,
        f"Title of {name}",
        f"Question? {NASTY}",
        f"Method.\n\nSecond paragraph {NASTY}",
        phase,
        state,
        f"make {name}",
        **more,
    )


REPORT = Report(
    title="Title <of> it",
    setting="small: 6×6 matrices, seed 0",
    answer=f'It learned <em>this</em>, <a href="#run-{RUNS["P1-01"][:8]}">0.004</a>.',
    highlights=(ROWS[0], ROWS[5], ROWS[2], ROWS[1], ROWS[3]),
    rows=ROWS,
    rules=RULES,
    phases={
        2: ("Features", "Introduces 2."),
        0: ("Setup", "Introduces 0."),
        1: ("Landscape", NASTY),
        7: ("Mining", "Introduces 7."),
    },
    experiments=(
        shown("SETUP-1", 0, criteria=tuple(criterion("SETUP-1", f"instrument_{i}") for i in range(9))),
        shown("P1-01", 1, criteria=(MET,), pictures=(picture("wide", size=(2000, 400)), picture("clear", mode="RGBA"))),
        shown("P2-01", 2, criteria=(MORE,), pictures=(picture("small"),)),
        shown("P2-02", 2, criteria=(UNMET,)),
        shown("P7-01", 7, "pending"),
        shown("P7-02", 7, "stale", headline="an older run's headline"),
    ),
    milestones=(
        Milestone("First insights", (1, 2), True, ()),
        Milestone("Everything", (7,), False, ("P7-01", "P7-02")),
    ),
    compared=(Compared("ours", "<b>0.004</b>", "0.6", "0.14", "this page"),),
    comparison_note=f"Note {NASTY}",
    advice=(
        AdviceRow("accuracy", {"none": "best", "random": f"worse {NASTY}"}, "none", "because"),
        AdviceRow("shape", {"adversarial": "fewer minima"}, "adversarial", "why not"),
    ),
    recommendations=("Take <b>none</b>.",),
    next=("Train <i>this</i>.",),
    pictures={"decision": picture("decision"), "claims": picture("claims")},
    warnings=(f"Beware {NASTY}",),
    environment={"python": "3.11", "packages": LONG},
    seeds="0 for everything",
    made_at="2026-11-23 12:00 UTC",
)
EMPTY = replace(
    REPORT,
    highlights=(),
    rows=(),
    compared=(),
    advice=(),
    recommendations=(),
    next=(),
    pictures={},
    warnings=(),
    milestones=(),
    environment={},
    answer="Nothing has run.",
    experiments=tuple(shown(f"P7-0{i}", 7, "pending") for i in (1, 2, 3, 4)),
)
