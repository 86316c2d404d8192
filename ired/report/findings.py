"""The findings as a page of the documentation: Markdown with a few small pictures."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from ired.report.confidence import Criterion
from ired.report.page import Report, count_verdicts, numbers, words

_HERE = Path(__file__).parent
_COLOURS = 64
_MOST = 12  # criteria of one experiment that are named
_NUMBERS = 6  # numbers of one criterion that are shown


def findings_page(report: Report, stem: str = "findings") -> tuple[str, dict[str, bytes]]:
    """The text of docs/{stem}.md and the pictures that it shows, by file name in docs/figures."""
    files = {name: f"{stem}_{name}.png" for name in report.pictures}
    claims: dict[int, list] = {}
    for row in report.rows:
        claims.setdefault(row.phase, []).append(row)
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
        keep_trailing_newline=True,
    )
    text = environment.get_template("findings.md").render(
        report=report, claims=claims, files=files, met=_met, tally=count_verdicts(row.judged for row in report.rows)
    )
    return text, {files[name]: _small(picture.png) for name, picture in report.pictures.items()}


def _met(criteria: Sequence[Criterion], met: bool) -> str:
    """Criteria that are met, or not, with the numbers behind them; many of them as a count."""
    those = [criterion for criterion in criteria if criterion.met == met]
    if len(those) > _MOST:
        return f"{len(those)}"
    return "<br>".join(
        words(criterion.name) + (f" ({'; '.join(numbers(criterion.numbers)[:_NUMBERS])})" if criterion.numbers else "")
        for criterion in those
    )


def _small(png: bytes) -> bytes:
    """A picture in few colours: drawings lose nothing, and a repository stays small."""
    buffer = io.BytesIO()
    picture = Image.open(io.BytesIO(png)).convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
    picture.save(buffer, format="png", optimize=True)
    return buffer.getvalue()
