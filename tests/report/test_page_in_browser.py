"""The page of the synthesis works in a browser: sorting, filters, a phone, contrast, paper."""

import pytest

from ired.report import page as form
from ired.report.confidence import CAUSAL, CORRELATIONAL, DESCRIPTIVE, LEVELS, LOW, SUPPORTED, VERDICTS
from report.planted_report import REPORT, ROWS, RUNS


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    place = tmp_path_factory.mktemp("a page") / "the report.html"
    place.write_text(form.page(REPORT), encoding="utf-8")
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
