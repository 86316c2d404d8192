"""Timings as ratios: two things measured alternately, in one process, on one machine.

A machine that is shared is now fast, now slow. What both sides of a pair see within a second is
nearly the same, so the ratio of a pair says more than either time; its spread over pairs says how
much it can be trusted.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

Work = Callable[[], object]


@dataclass(frozen=True)
class Row:
    """One line of the table: `theirs` and `ours` make the two pieces of work, once, when needed.

    A row without `theirs` is a time to be held against a limit. `goal`: what the ratio should reach
    ("≥ 1.5"), or the seconds should stay under ("< 60 s").
    """

    name: str
    peer: str
    ours: Callable[[], Work]
    theirs: Callable[[], Work] | None = None
    goal: str = ""
    repeat: int = 1


@dataclass(frozen=True)
class Timing:
    """Seconds of either side (medians) and the ratio theirs/ours: median, lowest, highest pair."""

    name: str
    peer: str
    goal: str
    ours: float
    theirs: float | None
    ratio: float | None
    low: float | None
    high: float | None


def measure(row: Row, pairs: int) -> Timing:
    """Warm both sides up, then time them in turn, `pairs` times."""
    sides = [row.ours()] + ([row.theirs()] if row.theirs else [])
    for work in sides:
        work()
    times = [[_seconds(work, row.repeat) for work in sides] for _ in range(pairs)]
    ours = statistics.median(t[0] for t in times)
    if not row.theirs:
        return Timing(row.name, row.peer, row.goal, ours, None, None, None, None)
    ratios = sorted(t[1] / t[0] for t in times)
    theirs = statistics.median(t[1] for t in times)
    return Timing(row.name, row.peer, row.goal, ours, theirs, statistics.median(ratios), ratios[0], ratios[-1])


def _seconds(work: Work, repeat: int) -> float:
    started = time.perf_counter()
    for _ in range(repeat):
        work()
    return (time.perf_counter() - started) / repeat


HEAD = ("what", "against", "ours s", "theirs s", "ratio", "lowest", "highest", "goal")


def cells(t: Timing) -> tuple[str, ...]:
    numbers = ["–" if v is None else f"{v:.3g}" for v in (t.ours, t.theirs, t.ratio, t.low, t.high)]
    return (t.name, t.peer, *numbers, t.goal)


def table(timings: list[Timing]) -> str:
    """The timings as a Markdown table, columns aligned."""
    rows = [HEAD, *map(cells, timings)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)
