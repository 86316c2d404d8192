"""The page of the synthesis says what it was given, needs nothing from outside, and works in a browser."""

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from PIL import Image, ImageDraw

from ired.report import page as form
from ired.report.confidence import (
    CAUSAL,
    CHECKS,
    CORRELATIONAL,
    DESCRIPTIVE,
    DIVIDED,
    HIGH,
    IN_PART,
    LEVELS,
    LOW,
    MODERATE,
    NONE,
    NOT_ASKED,
    OPEN,
    RULES,
    SUPPORTED,
    UNSUPPORTED,
    UNTESTED,
    VERDICTS,
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


class Read(HTMLParser):
    """What stands in a page: tags with attributes, text by the id of what is around it."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self._ids = [], {}, []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append((tag, attrs))
        if tag not in ("meta", "img", "input", "br", "link"):
            self._ids.append((tag, attrs.get("id")))

    def handle_endtag(self, tag):
        while self._ids and self._ids.pop()[0] != tag:
            pass

    def handle_data(self, data):
        for place in {None} | {name for _, name in self._ids if name}:
            self.text[place] = re.sub(r"\s+", " ", self.text.get(place, "") + data)

    def all(self, name):
        return [attrs[name] for _, attrs in self.tags if name in attrs]


@pytest.fixture(scope="module")
def html():
    return form.page(REPORT)


@pytest.fixture(scope="module")
def read(html):
    return Read(html)


# The text


def test_nothing_comes_from_outside(html, read):
    assert not [tag for tag, _ in read.tags if tag in ("link", "iframe", "object", "base")]
    assert all(src.startswith("data:image/webp;base64,") for src in read.all("src"))
    outside = [attrs for tag, attrs in read.tags if not attrs.get("href", "#").startswith("#")]
    assert outside and all(one["href"].startswith("http://127.0.0.1:") and one["rel"] == "noopener" for one in outside)
    assert "@import" not in html and "url(" not in html and "innerHTML" not in html


def test_every_link_inside_leads_somewhere(html, read):
    ids = read.all("id")
    assert len(ids) == len(set(ids))
    assert form.dead_links(html) == []
    assert {f"run-{run[:8]}" for run in RUNS.values()} | {one.id for one in REPORT.experiments} <= set(ids)
    assert form.dead_links(html.replace('id="P7-01"', "")) == ["P7-01"]


def test_everything_is_there(read):
    for one in REPORT.rows:
        text = read.text[f"claim-{one.judged.claim.name}"]
        assert one.judged.claim.title in text and one.judged.verdict in text and one.judged.claim.kind in text
        assert f"Sentence of {one.judged.claim.name}: 0.109 < 1." in text
    for one in REPORT.experiments:
        assert one.title in read.text[one.id] and one.question in read.text[one.id]
    for text in (
        *RULES,
        NASTY,
        LONG,
        REPORT.seeds,
        REPORT.made_at,
        "Introduces 7.",
        "small-test",
        "a81f03cc",
    ):
        assert text in read.text[None]
    assert len(read.all("src")) == 5 and set(read.all("alt")) == {"A <caption> & more"}


def test_what_is_missing_is_named_and_never_passed(read):
    assert "2 of 6 experiments are not here: P7-01 (make P7-01), P7-02 (make P7-02)." in read.text["top"]
    for name, state in (("P7-01", "pending"), ("P7-02", "stale")):
        assert f"Missing ({state}). To run it: make {name}" in read.text[name]
        assert "met" not in read.text[name].split()
    assert "headline" not in read.text["P7-02"]
    assert "✗ not reached Everything (phase 7); missing: P7-01, P7-02" in read.text["top"]


def test_evidence_stands_on_its_side(read):
    mixed = read.text["claim-long"]
    assert mixed.index("bottom at the answer") < mixed.index("score recovered") < mixed.index("stable over seeds")
    assert "rival 0.0304, difference −0.026 [−0.0264, −0.0257]" in mixed and "null 1 × 10⁻¹⁶" in mixed
    assert "share 0.109 (upper end 0.142)" in mixed
    assert "assumption missed: SETUP-4.hessian" in read.text["claim-low"]
    assert "sanity: in part, 1 of 2 ✓ stood: P6-03: attribution✗ did not:" in mixed and "missing: P6-03" in mixed


def test_an_empty_store_makes_a_page():
    html = form.page(EMPTY)
    assert form.dead_links(html) == []
    assert "0 of 0 claims" in html and html.count("make P7-03") >= 2


def test_tally_counts_every_claim():
    counted = form.count_verdicts(one.judged for one in ROWS)
    assert [(verdict, level) for verdict, level, _ in counted[:3]] == [(SUPPORTED, level) for level in LEVELS[:3]]
    assert [count for *_, count in counted] == [1, 1, 1, 1, 1, 1]


@pytest.mark.parametrize(
    "value, text",
    [
        (0.10891, "0.109"),
        (-12.34, "−12.3"),
        (44000.0, "44,000"),
        (3102.64, "3,100"),
        (1.952e-16, "1.95 × 10⁻¹⁶"),
        (0.0, "0"),
        (1.0, "1"),
        (2.5e7, "2.5 × 10⁷"),
        (999999.6, "1 × 10⁶"),
        (float("nan"), "nan"),
        (-float("inf"), "−∞"),
    ],
)
def test_numbers_have_three_digits(value, text):
    assert form.number(value) == text


@pytest.mark.parametrize(
    "values, texts",
    [
        ({"share": 0.5, "low": 0.4, "high": 0.6}, ["share 0.5 [0.4, 0.6]"]),
        (
            {"claimed": 0.7, "claimed_low": 0.5, "random": 0.1, "random_high": 0.2},
            ["claimed 0.7 (lower end 0.5)", "random 0.1 (upper end 0.2)"],
        ),
        ({"high": 2.0, "low": 1.0, "rate": 1.5}, ["rate 1.5 [1, 2]"]),
        ({"worst": 1.0, "beside_high": 3.0}, ["worst 1", "beside 95 % upper end 3"]),
        ({"share": 0.286, "high": 0.333, "turn": 0.2}, ["share 0.286", "turn 0.2", "95 % upper end 0.333"]),
        ({"rival": 3.0, "difference": 2.0, "low": 1.0}, ["rival 3", "difference 2 (lower end 1)"]),
        ({"x.difference": 2.0, "x.low": 1.0, "x.high": 3.0, "x.p": 0.1}, ["x.difference 2 [1, 3]", "x.p 0.1"]),
        ({"random.p": 0.1, "random.low": -1.0, "random.high": 1.0}, ["random.p 0.1", "random 95 % [−1, 1]"]),
        ({"yellow": 2.0, "shallow_low": 1.0}, ["yellow 2", "shallow 95 % lower end 1"]),
        ({"low": 0.9677}, ["95 % lower end 0.968"]),
        ({"low": 1.0, "high": 2.0}, ["95 % [1, 2]"]),
        ({}, []),
    ],
)
def test_ends_stand_behind_their_number(values, texts):
    assert form.numbers(values) == texts


def test_pictures_shrink_and_lose_no_meaning():
    uri, width, height = form.embedded_picture(REPORT.experiments[1].pictures[0])
    assert (width, height) == (1125, 225) and uri.startswith("data:image/webp;base64,")
    clear = form.embedded_picture(REPORT.experiments[1].pictures[1])[0]
    image = Image.open(io.BytesIO(base64.b64decode(clear.partition(",")[2]))).convert("RGB")
    assert min(image.getpixel((image.width - 1, 0))) > 250  # what was transparent is white


# In a browser


@pytest.fixture(scope="module")
def address(html, tmp_path_factory):
    place = tmp_path_factory.mktemp("a page") / "the report.html"
    place.write_text(html, encoding="utf-8")
    return place.as_uri()


@pytest.fixture
def visit(browser, address):
    """Opens the page, without a network; afterwards nothing may have gone wrong."""
    contexts, wrong = [], []

    def visit(width=1280, height=800, **options):
        context = browser.new_context(viewport={"width": width, "height": height}, offline=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: wrong.append(message.text) if message.type != "log" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("requestfailed", lambda request: wrong.append(request.url))
        page.on("request", lambda request: request.url.startswith(("file:", "data:")) or wrong.append(request.url))
        page.goto(address)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert wrong == []


def visible(page):
    return page.eval_on_selector_all(
        "#table tbody tr", "rows => rows.filter(r => r.offsetParent).map(r => r.id.slice(6))"
    )


def test_images_and_links_work(visit):
    page = visit()
    widths = page.eval_on_selector_all("img", "all => Promise.all(all.map(i => i.decode().then(() => i.naturalWidth)))")
    assert len(widths) == 5 and min(widths) > 0
    assert (
        page.eval_on_selector_all(
            "a[href^='#']", "all => all.filter(a => !document.getElementById(a.hash.slice(1))).length"
        )
        == 0
    )
    page.click(f"#answer a[href='#run-{RUNS['P1-01'][:8]}']")
    assert page.locator(":target").get_attribute("id") == f"run-{RUNS['P1-01'][:8]}"


def test_the_answer_is_on_the_first_screen(visit):
    for size in ((1280, 800), (390, 844)):
        page = visit(*size)
        box = page.locator("#answer").bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] < size[1] / 2
        first = page.locator(".highlights li").first.bounding_box()
        assert first["y"] + first["height"] < size[1]


MEANS = {  # what each column is sorted by
    "claim": lambda one: one.judged.claim.title,
    "phase": lambda one: one.phase,
    "verdict": lambda one: VERDICTS.index(one.judged.verdict),
    "confidence": lambda one: LEVELS.index(one.judged.confidence),
    "evidence for": lambda one: len(one.judged.met),
    "evidence against": lambda one: len(one.judged.unmet) + len(one.judged.violated),
    "kind": lambda one: (CAUSAL, CORRELATIONAL, DESCRIPTIVE).index(one.judged.claim.kind),
    "checks": lambda one: sum(check.stood for check in one.judged.checks.values()),
    "missing": lambda one: len(one.judged.missing),
}


def test_every_column_sorts_both_ways(visit):
    page = visit()
    heads = page.locator("#table thead th")
    assert heads.all_inner_texts() == list(MEANS)
    for i, meaning in enumerate(MEANS.values()):
        for way, falling in (("ascending", False), ("descending", True)):
            heads.nth(i).locator("button").press("Enter" if falling else "Space")
            expected = sorted(ROWS, key=meaning, reverse=falling)
            assert visible(page) == [one.judged.claim.name for one in expected]
            states = page.eval_on_selector_all("#table thead th", "all => all.map(h => h.getAttribute('aria-sort'))")
            assert states == ["none"] * i + [way] + ["none"] * (len(MEANS) - i - 1)


def test_filters_narrow(visit):
    page = visit()
    count = page.locator("#count")
    assert visible(page) == [one.judged.claim.name for one in ROWS] and count.inner_text() == "6 of 6 claims"
    for name, value, left in (
        ("verdict", SUPPORTED, ["bowl", "low", "moderate"]),
        ("confidence", LOW, ["low"]),
        ("phase", "7", []),
        ("phase", "0", ["low"]),
        ("kind", CAUSAL, []),
    ):
        page.select_option(f"select[name={name}]", value)
        assert visible(page) == left and count.inner_text() == f"{len(left)} of 6 claims"
        assert page.locator("#none").is_visible() == (not left)
    page.click("text=Show all")
    page.get_by_text("6 of 6 claims").wait_for()
    page.fill("input[name=text]", "STABLE over")
    assert visible(page) == ["nasty", "long"]
    page.click(".highlights a[href='#claim-bowl']")  # a link to what is filtered out shows it
    assert page.locator("#claim-bowl").is_visible() and page.input_value("input[name=text]") == ""


def test_without_a_script_everything_is_there(visit):
    page = visit(java_script_enabled=False)
    assert page.locator("#table tbody tr").count() == 6 and page.locator("#claim-nasty").is_visible()
    assert not page.locator(".filters").is_visible() and not page.locator("#theme").is_visible()


def test_a_phone_needs_no_sideways_scrolling(visit):
    for width in (390, 320):
        page = visit(width, 844)
        page.eval_on_selector_all("details", "all => all.forEach(d => d.open = true)")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    sizes = page.eval_on_selector_all(
        "body, p, td, th, summary, label", "all => all.map(e => parseFloat(getComputedStyle(e).fontSize))"
    )
    assert min(sizes) >= 14
    labels = page.eval_on_selector_all("#claim-bowl td", "all => all.map(e => getComputedStyle(e, '::before').content)")
    assert labels == [f'"{name}"' for name in list(MEANS)[1:]]


CONTRAST = """selectors => {
  const channels = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (text) => {
    const [r, g, b] = channels(text).slice(0, 3).map(v =>
      (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = (node) => { const own = getComputedStyle(node).backgroundColor;
    return channels(own)[3] === 0 ? behind(node.parentElement) : own; };
  return [...document.querySelectorAll(selectors)].map(node => {
    const pair = [light(getComputedStyle(node).color), light(behind(node))];
    const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    return [node.tagName + "." + node.className, ratio, pair[1]]; }); }"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_suffices(visit, scheme):
    page = visit(color_scheme=scheme)
    found = page.evaluate(
        CONTRAST,
        "body, p, a, .badge, .mark, .kicker, .numbers, td, th, button, select, dt, figcaption, code, label",
    )
    assert {"SPAN.badge verdict " + v.replace(" ", "-") for v in VERDICTS} <= {name for name, *_ in found}
    assert [(name, ratio) for name, ratio, _ in found if ratio < 4.5] == []
    assert (found[0][2] < 0.05) == (scheme == "dark")
    assert set(page.eval_on_selector_all(".sheet", "all => all.map(e => getComputedStyle(e).backgroundColor)")) == {
        "rgb(255, 255, 255)"
    }


def test_the_toggle_turns_the_page_over(visit):
    page = visit(color_scheme="dark")
    colour = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(colour)
    for name in ("Light", "Dark"):
        assert page.locator("#theme").inner_text() == name
        page.click("#theme")
        assert (page.evaluate(colour) == dark) == (name == "Dark")
    page.click("#theme")
    page.emulate_media(color_scheme="light")
    page.emulate_media(color_scheme="dark")  # what was chosen stays
    assert page.evaluate(colour) != dark


def test_paper_shows_everything_and_no_controls(visit):
    page = visit(color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert not any(page.locator(name).is_visible() for name in ("nav", ".filters", "#theme", ".skip", "#table thead"))
    page.locator("details:not([open])").first.wait_for(state="detached")
    assert page.locator(".how dl").first.is_visible() and page.locator("#count").is_visible()
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(29, 33, 38)"
    assert page.evaluate("getComputedStyle(document.querySelector('figure')).breakInside") == "avoid"
    page.emulate_media(media="screen", color_scheme="dark")
    page.locator("details[open]").first.wait_for(state="detached")
    assert page.pdf().startswith(b"%PDF")
