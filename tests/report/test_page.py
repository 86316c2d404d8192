"""The page of the synthesis says what it was given, needs nothing from outside, and works in a browser."""

import base64
import io
import re
from html.parser import HTMLParser

import pytest
from PIL import Image

from ired.report import page as form
from ired.report.confidence import LEVELS, RULES, SUPPORTED
from report.planted_report import EMPTY, LONG, NASTY, REPORT, ROWS, RUNS


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
