"""The page of the synthesis: what was learned and how sure one may be, one HTML file that needs no other.

Template, styles and script stand beside this file (page.html, page.css, page.js). Text is escaped;
fields said to be safe HTML are written as they are, and so is any text that is a `Markup`. Links inside
the page go to `#run-<first 8 of run_id>`, `#<experiment>`, `#claim-<name>`, `#phase-<number>`.
"""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from ired.report import confidence as rule
from ired.report.confidence import Criterion, JudgedClaim

WIDTH, SCALE = 1500, 0.75  # most pixels across; figures are drawn to be read at half their size
_HERE = Path(__file__).parent
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_ENDS = {"low": "lower end", "high": "upper end"}
_END = re.compile(r"(?:(.+)[._])?(low|high)")
# Words in the order of their meaning, for sorting and for lists to choose from.
_ORDER = {
    "verdict": rule.VERDICTS,
    "confidence": rule.LEVELS,
    "kind": (rule.CAUSAL, rule.CORRELATIONAL, rule.DESCRIPTIVE),
}


@dataclass(frozen=True)
class Picture:
    """png: the file's bytes; size: its width and height in pixels; the caption is its text for those who
    do not see it."""

    name: str
    caption: str
    png: bytes
    size: tuple[int, int]


@dataclass(frozen=True)
class ShownExperiment:
    """An experiment of the queue. title, question, method: from its script's docstring, an empty line between
    paragraphs. state: "done", or why it is not there ("pending", "failed" …); results are shown only
    of what is done. link: the run in the MLflow UI. data: (name, digest, context)."""

    id: str
    title: str
    question: str
    method: str
    phase: int
    state: str
    command: str
    headline: str = ""
    run_id: str = ""
    link: str = ""
    seconds: float = 0.0
    made: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    data: tuple[tuple[str, str, str], ...] = ()
    criteria: tuple[Criterion, ...] = ()
    pictures: tuple[Picture, ...] = ()

    @property
    def done(self) -> bool:
        return self.state == "done"


@dataclass(frozen=True)
class ClaimRow:
    """A claim of the table. sentence: safe HTML."""

    judged: JudgedClaim
    phase: int
    sentence: str


@dataclass(frozen=True)
class Compared:
    """A row beside the published figures, all safe HTML. ratio: MSE over least squares' at the same n."""

    setting: str
    same: str
    harder: str
    ratio: str
    source: str


@dataclass(frozen=True)
class AdviceRow:
    """A goal, what each kind of negatives does for it, what to take, and why."""

    goal: str
    cells: Mapping[str, str]
    take: str
    why: str


@dataclass(frozen=True)
class Milestone:
    """missing: the experiments without which it is not reached."""

    meaning: str
    phases: tuple[int, ...]
    reached: bool
    missing: tuple[str, ...]


@dataclass(frozen=True)
class BesideRow:
    """One measure of one experiment.

    cells: value and 95 % interval by energy, "" where it was not measured; beyond: the controls that the
    trained energy lies beyond, in the direction that its claim says, by the paired interval; "none" or "" (not asked).
    """

    experiment: str
    measure: str
    cells: Mapping[str, str]
    beyond: str


@dataclass(frozen=True)
class Report:
    """All that the page shows. answer, recommendations, next: safe HTML. phases: number → name, a sentence.
    experiments: all of the queue, in order, missing ones too. pictures: "claims", "published",
    "decision", as far as they are there. highlights: five to eight of `rows`."""

    title: str
    setting: str
    answer: str
    highlights: tuple[ClaimRow, ...]
    rows: tuple[ClaimRow, ...]
    rules: tuple[str, ...]
    phases: Mapping[int, tuple[str, str]]
    experiments: tuple[ShownExperiment, ...]
    milestones: tuple[Milestone, ...]
    compared: tuple[Compared, ...]
    comparison_note: str
    advice: tuple[AdviceRow, ...]
    recommendations: tuple[str, ...]
    next: tuple[str, ...]
    pictures: Mapping[str, Picture]
    warnings: tuple[str, ...]
    environment: Mapping[str, str]
    seeds: str
    made_at: str
    beside: tuple[BesideRow, ...] = ()


def page(report: Report) -> str:
    """The whole page."""
    shown = [
        *report.pictures.values(),
        *(p for experiment in report.experiments if experiment.done for p in experiment.pictures),
    ]
    with ThreadPoolExecutor() as pool:  # pillow encodes without the interpreter's lock
        encoded = dict(zip(shown, pool.map(embedded_picture, shown), strict=True))
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"words": words, "numbers": numbers, "number": number}
    return environment.get_template("page.html").render(
        report=report,
        order=_ORDER,
        encoded=encoded,
        tally=count_verdicts(row.judged for row in report.rows),
        style=(_HERE / "page.css").read_text(),
        script=(_HERE / "page.js").read_text(),
        runs={experiment.run_id[:8] for experiment in report.experiments if experiment.run_id},
    )


def dead_links(html: str) -> list[str]:
    """Links inside the page that lead nowhere."""
    ids = set(re.findall(r'\sid="([^"]*)"', html))
    return sorted({to for to in re.findall(r'\shref="#([^"]*)"', html) if to not in ids})


def embedded_picture(picture: Picture) -> tuple[str, int, int]:
    """A data URI (WebP), and the width and height to show it at: on white, as wide as screens are."""
    image = Image.open(io.BytesIO(picture.png)).convert("RGBA")
    image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    if image.width > WIDTH:
        image = image.resize((WIDTH, round(image.height * WIDTH / image.width)), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=85, method=2)  # more effort takes twice as long for a few per cent
    uri = f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return uri, round(SCALE * image.width), round(SCALE * image.height)


def count_verdicts(claims: Iterable[JudgedClaim]) -> list[tuple[str, str, int]]:
    """(verdict, confidence or "", how many), best supported first, zeros too."""
    kinds_of = [(claim.verdict, claim.confidence if claim.verdict == rule.SUPPORTED else "") for claim in claims]
    supported = [(rule.SUPPORTED, level) for level in _ORDER["confidence"][:3]]
    kinds = supported + [(verdict, "") for verdict in _ORDER["verdict"][1:]]
    return [(*kind, kinds_of.count(kind)) for kind in kinds]


def words(name: str) -> str:
    """bottom_at_the_answer → bottom at the answer."""
    return name.replace("_", " ")


def number(value: float) -> str:
    """Three significant digits, whole numbers in full: 0.109, −12.3, 44,000, 1.95 × 10⁻¹⁶."""
    if not math.isfinite(value):
        return str(value).replace("-", "−").replace("inf", "∞")
    mantissa, power = f"{value:.2e}".split("e")
    if value == int(value) and abs(value) < 1e6:
        text = f"{value:,.0f}"
    elif -4 <= int(power) < 6:
        text = f"{value:.3g}" if int(power) < 3 else f"{float(f'{value:.3g}'):,.0f}"
    else:
        text = f"{float(mantissa):g} × 10{str(int(power)).translate(_RAISED)}"
    return text.replace("-", "−")


def numbers(values: Mapping[str, float]) -> list[str]:
    """Each number with its name, the ends of its interval behind it where it is certain whose they are: x_low and
    x_high are of x, low and high of the difference or of the only other number. What is left stands for itself."""
    ends = {name: match.groups("") for name in values if (match := _END.fullmatch(name))}
    plain = [name for name in values if name not in ends]
    owned: dict[str, dict[str, float]] = {name: {} for name in plain}
    for name, (stem, end) in ends.items():
        owners = [stem, f"{stem}.difference".lstrip("."), *([] if stem or len(plain) > 1 else plain)]
        owner = next((name_ for name_ in owners if name_ in plain), f"{stem} 95 %")
        owned.setdefault(owner, {})[end] = values[name]
    parts = []
    for name, ends_of in owned.items():
        text = words(name).strip() + (f" {number(values[name])}" if name in plain else "")
        if len(ends_of) == 2:
            text += f" [{number(ends_of['low'])}, {number(ends_of['high'])}]"
        else:
            text_of_ends = "".join(f"{_ENDS[end]} {number(value)}" for end, value in ends_of.items())
            text += (
                f" ({text_of_ends})" if text_of_ends and name in plain else f" {text_of_ends}" if text_of_ends else ""
            )
        parts.append(text)
    return parts
