"""Figures of the synthesis say what the records say, and nothing in them stands on anything else."""

import itertools
import textwrap

import numpy as np
import pandas
import pytest
from matplotlib.colors import same_color
from matplotlib.patches import Rectangle

from ired.report import confidence as sure, figures, recommendation as rule
from ired.report.confidence import Claim, ClaimCheck, JudgedClaim
from ired.report.recommendation import Advice, GoalCell

pytestmark = pytest.mark.usefixtures("no_warnings")

LONG = (
    "Removing the product of A and y from the first layer costs all of the accuracy, and more than "
    "removing any random part of the same size does"
)
VERDICTS = (sure.SUPPORTED, sure.DIVIDED, sure.UNSUPPORTED, sure.OPEN)
ANSWERS = (sure.YES, sure.IN_PART, sure.NO, sure.UNTESTED, sure.NOT_ASKED)


def texts(figure):
    """Every text that is drawn, after the layout."""
    figure.draw_without_rendering()
    found = [text for axis in figure.axes for text in axis.texts] + list(figure.texts)
    for axis in figure.axes:
        found += axis.get_yticklabels() if axis.axison else []
    return [text for text in found if text.get_text()]


def words(figure):
    return [" ".join(text.get_text().split()) for text in texts(figure)]


def assert_apart(figure):
    """No two texts overlap, and none leaves the figure."""
    shown = texts(figure)
    boxes = [text.get_window_extent() for text in shown]
    low, high = figure.bbox.min - 1, figure.bbox.max + 1
    for text, box in zip(shown, boxes, strict=True):
        assert (box.min >= low).all() and (box.max <= high).all(), f"{text.get_text()!r} leaves the figure"
    for (a, first), (b, second) in itertools.combinations(zip(shown, boxes, strict=True), 2):
        wide = min(first.x1, second.x1) - max(first.x0, second.x0)
        tall = min(first.y1, second.y1) - max(first.y0, second.y0)
        assert wide < 1 or tall < 1, f"{a.get_text()!r} over {b.get_text()!r}"


def under(figure, text):
    """Colour of the smallest cell that a text stands on; it must not stick out of it."""
    axis = figure.axes[0]
    x, y = text.get_position()
    box = text.get_window_extent()
    cells = [
        patch
        for patch in axis.patches
        if isinstance(patch, Rectangle)
        and patch.get_fill()
        and patch.get_x() <= x <= patch.get_x() + patch.get_width()
        and patch.get_y() <= y <= patch.get_y() + patch.get_height()
    ]
    (cell,) = cells
    around = cell.get_window_extent()
    assert around.x0 < box.x0 and box.x1 < around.x1, f"{text.get_text()!r} sticks out of its cell"
    return cell.get_facecolor()


def advice(kinds=rule.KINDS, others=("polynomial", "product"), goals=rule.GOALS):
    """Every verdict in turn, with the widest numbers that real tables have."""
    turn = itertools.cycle(
        (rule.BETTER, rule.PERHAPS_BETTER, rule.NO_DIFFERENCE, rule.PERHAPS_WORSE, rule.WORSE, rule.MISSING)
    )
    numbers = itertools.cycle(
        (
            (-0.41, -0.58, -0.11),
            (-0.99956, -0.99968, -0.99934),
            (3.7, 3.1, 4.6),
            (0.065, 0.022, 0.103),
            (-0.00012, -0.00026, 0.000014),
        )
    )

    def cell(goal, kind):
        verdict = next(turn)
        if verdict == rule.MISSING:
            return GoalCell(goal.name, kind, verdict)
        share = verdict != rule.PERHAPS_WORSE
        return GoalCell(goal.name, kind, verdict, *next(numbers), 0.03, 0.19, 0.2, 0.3, 1.5, 5, share)

    found = [
        Advice(goal, {k: cell(goal, k) for k in kinds}, rule.ENOUGH, "", {o: cell(goal, o) for o in others})
        for goal in goals
    ]
    cost = {kind: GoalCell("cost", kind, rule.MEASURED, 1.3, mean=2.3, reference=1.0) for kind in kinds}
    return [*found, Advice(rule.TRAINING, cost, rule.CHEAPEST, "")]


def judged(count=45, title=LONG):
    """All verdicts and answers, each with every other."""
    found = []
    for i in range(count):
        verdict = VERDICTS[i % 4]
        levels = (sure.HIGH, sure.MODERATE, sure.LOW) if verdict == sure.SUPPORTED else (sure.NONE,) * 3
        checks = {name: ClaimCheck(ANSWERS[(i + j) % 5], 10, 12) for j, name in enumerate(sure.CHECKS)}
        kind = (sure.CAUSAL, sure.CORRELATIONAL, sure.DESCRIPTIVE)[i % 3]
        name = f"Claim {i}: {title if i % 3 == 0 else title[: 20 + i].strip()}"
        claim = Claim(f"c{i}", name, kind, ("P1-01.x",))
        found.append(JudgedClaim(claim, verdict, levels[i // 4 % 3], (), (), (), checks, ()))
    return found


# Decision


def test_a_decision_names_every_goal_kind_and_number():
    given = advice()
    figure = figures.plot_decision(given)
    shown = words(figure)
    for one in given:
        assert one.goal.name in shown
        for cell in (*one.cells.values(), *one.others.values()):
            assert cell.kind in shown
            assert cell.verdict == rule.MISSING or cell.text in shown
    assert (
        sum(word == rule.MISSING for word in shown)
        == sum(cell.verdict == rule.MISSING for one in given for cell in (*one.cells.values(), *one.others.values()))
        + 2
    )  # two energies without a cost
    assert_apart(figure)


def test_a_verdict_stands_on_its_own_colour_and_no_other():
    figure = figures.plot_decision(advice())
    seen = set()
    for text in texts(figure):
        glyph, _, word = text.get_text().partition(" ")
        verdict = rule.NO_DIFFERENCE if word == "no difference" else word
        if verdict in figures.EFFECTS and figures.EFFECTS[verdict][2] == glyph:
            fill = under(figure, text)
            own = figures.EFFECTS[verdict][0]
            weak = figures.EFFECTS[rule.PERHAPS_BETTER][0]  # better and still no better than chance
            assert same_color(fill, own) or (verdict == rule.BETTER and same_color(fill, weak))
            seen.add(verdict)
    assert seen == set(figures.EFFECTS) - {rule.MISSING, rule.MEASURED}


def test_better_but_no_better_than_chance_is_not_drawn_as_success():
    goal = next(goal for goal in rule.GOALS if goal.metric == "sanity.alarm")
    for mean, strong in ((0.25, False), (0.75, True)):
        cell = GoalCell(goal.name, "random", rule.BETTER, 0.2, 0.1, 0.3, 0.01, 0.1, mean, 0.2, 2.0, 5)
        figure = figures.plot_decision([Advice(goal, {"random": cell}, rule.NOTHING, "")])
        (text,) = (text for text in texts(figure) if text.get_text() == "▲ better")
        assert same_color(under(figure, text), figures.EFFECTS[rule.BETTER][0]) == strong
        assert ("and still 0.25" in words(figure)) != strong


def test_what_is_taken_is_framed_and_named():
    goal = rule.GOALS[0]
    cells = {
        kind: GoalCell(goal.name, kind, rule.BETTER, -0.4, -0.5, -0.3, 0.01, 0.1, 1.0, 2.0, 2.0, 5)
        for kind in rule.KINDS
    }
    other = {"product": cells["random"]}
    figure = figures.plot_decision([Advice(goal, cells, "property", "", other)])
    assert "▲ property" in words(figure)
    frames = [patch for patch in figure.axes[0].patches if not patch.get_fill()]
    assert len(frames) == 1
    assert (
        len(
            [
                p
                for p in figures.plot_decision([Advice(goal, cells, rule.ENOUGH, "")]).axes[0].patches
                if not p.get_fill()
            ]
        )
        == 0
    )


@pytest.mark.parametrize(
    "given",
    [
        [],
        advice(others=())[:1],
        advice(kinds=("random",), others=("product",))[2:4],
        [Advice(rule.GOALS[0], {}, rule.UNKNOWN, "")],
        [
            Advice(
                rule.GOALS[0],
                {k: GoalCell("g", k, rule.MISSING) for k in rule.KINDS},
                f"{rule.ENOUGH} (perhaps adversarial or property)",
                "",
                {},
                "",
            )
        ],
    ],
)
def test_a_decision_of_little_is_drawn_too(given):
    assert_apart(figures.plot_decision(given))


# Claims


@pytest.mark.parametrize("count", [1, 5, 45])
def test_every_claim_stands_on_the_sheet(count):
    given = judged(count)
    phases = [1 + i % 7 for i in range(count)]
    figure = figures.plot_claims(given, phases, {1: "The landscape"})
    shown = words(figure)
    for one, phase in zip(given, phases, strict=True):
        assert one.claim.title in shown
        assert any(word.startswith(f"Phase {phase}") for word in shown)
    assert "Phase 1 · The landscape" in shown
    width, height = figure.get_size_inches()
    assert height < 24 and width < 13
    assert_apart(figure)


def test_nothing_is_drawn_as_supported_that_is_not():
    given = judged()
    figure = figures.plot_claims(given, [1] * len(given))
    shown = texts(figure)
    found = dict.fromkeys(VERDICTS, 0)
    for one in given:
        (title,) = (t for t in shown if " ".join(t.get_text().split()) == one.claim.title)
        y = title.get_position()[1]
        row = [text for text in shown if text is not title and abs(text.get_position()[1] - y) < 1e-6]
        row.sort(key=lambda text: text.get_position()[0])
        colour, _, glyph = figures.VERDICTS[one.verdict]
        assert row[0].get_text() == f"{glyph} {one.verdict}"
        assert same_color(under(figure, row[0]), colour)
        assert (title.get_fontstyle() == "normal") == (one.verdict == sure.SUPPORTED)
        found[one.verdict] += 1
        for check, text in zip(
            (one.checks[n] for n in sure.CHECKS if one.checks[n].answer != sure.NOT_ASKED), row[1:], strict=False
        ):
            assert check.answer in text.get_text()
            assert same_color(under(figure, text), figures.ANSWERS[check.answer][0])
        assert row[-1].get_text().endswith(one.confidence)
        assert same_color(under(figure, row[-1]), figures.CONFIDENCES[one.confidence][0])
    words_, colours = zip(*((word, look[0]) for word, look in figures.VERDICTS.items()), strict=True)
    assert set(words_) == set(VERDICTS) and len(set(colours)) == 4
    assert any(f"{found[sure.OPEN]} {sure.OPEN}" in word for word in words(figure))


def test_claims_without_checks_and_none_at_all_are_drawn():
    claim = JudgedClaim(Claim("c", "A claim", sure.CAUSAL, ()), sure.OPEN, sure.NONE, (), (), ("P1-01",), {}, ())
    assert f"· {sure.UNTESTED}" in words(figures.plot_claims([claim], [3]))
    assert "0 claims: none. Empty: the check does not apply." in words(figures.plot_claims([], []))
    with pytest.raises(ValueError, match="2 phases for 1 claims"):
        figures.plot_claims([claim], [1, 2])


# Published


def rows():
    nan = np.nan
    return pandas.DataFrame(
        [
            ("published, n = 20, IRED", "test", 0.98, nan, nan, "published"),
            ("published, n = 20, IRED", "harder", 0.92, nan, nan, "published"),
            ("a public replication, n = 20, 100 000 steps", "test", 1.01, nan, nan, "reference"),
            ("n = 20, no negatives", "test", 1.05, 1.0, 1.1, "ours"),
            ("n = 20, no negatives", "harder", nan, nan, nan, "ours"),
            ("n = 6, polynomial, an energy of matrix products in A", "test", 7e-5, -1e-5, 9e-5, "ours"),
            ("n = 6, polynomial, an energy of matrix products in A", "harder", 0.24, 0.2, 0.28, "ours"),
        ],
        columns=["setting", "family", "ratio", "low", "high", "kind"],
    )


def test_every_setting_stands_beside_least_squares():
    given = rows()
    figure = figures.plot_published(given)
    shown = words(figure)
    assert set(given["setting"]) <= set(shown)
    assert shown.count("not given") == 2  # one without a row, one without a number
    assert {"0.98", "1.05", "0.00007", "0.24"} <= set(shown)
    assert_apart(figure)
    for axis in figure.axes:
        assert axis.get_xscale() == "log"
        assert any(list(line.get_xdata()) == [1, 1] and line.get_linestyle() == "--" for line in axis.lines)


def test_points_lie_at_their_ratios_in_their_colours():
    given = rows()
    figure = figures.plot_published(given)
    for axis, family in zip(figure.axes, figures.FAMILIES, strict=True):
        own = given[(given["family"] == family) & given["ratio"].notna()]
        points = [line for line in axis.lines if len(line.get_xdata()) == 1]
        assert [line.get_xdata()[0] for line in points] == pytest.approx(own["ratio"].tolist())
        assert [line.get_color() for line in points] == [figures.SOURCES[kind][0] for kind in own["kind"]]


@pytest.mark.parametrize(
    "given",
    [
        rows().iloc[:1],
        rows()[rows()["family"] == "harder"],
        rows().assign(ratio=np.nan),
        rows().iloc[:0],
    ],
)
def test_few_rows_are_drawn_too(given):
    assert_apart(figures.plot_published(given))


def test_names_are_wrapped_and_not_cut():
    wide = pandas.DataFrame([(LONG, "test", 0.5, 0.4, 0.6, "ours")], columns=rows().columns)
    assert LONG in words(figures.plot_published(wide))
    assert all(len(line) < 70 for line in textwrap.wrap(LONG, 66))
