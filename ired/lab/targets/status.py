"""The queue as a table: what is done, what it took beside the estimate, what it found."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path

from ired.cluster.slurm import ALIVE, Job
from ired.lab.arguments import Parser, add_coordinates, take_coordinates
from ired.lab.content_keys import Keys
from ired.lab.errors import UserError, in_one_line
from ired.lab.jobs import Record, how, newest
from ired.lab.lines import cut, terminal_width, wrapped
from ired.lab.queue import Queue, RunCoordinates
from ired.lab.tracking.history import QueueRow, recorded, row
from ired.lab.tracking.store import SERVED, Stamp, Store

SHOWN = ("queued", "running", "suspended", "failed", "timed out", "out of memory", "cancelled")
STATES = "done, stale (its code or what it needs has changed since), running, failed, killed, pending, not built"


def duration(seconds: float) -> str:
    """'2.5 h', '3 min', '12 s'."""
    if seconds >= 3600:
        return f"{seconds / 3600:.3g} h"
    return f"{seconds / 60:.0f} min" if seconds >= 100 else f"{seconds:.0f} s"


def with_job(row: QueueRow, at: RunCoordinates, keys: Keys, jobs: dict[str, tuple[Record, Job]]) -> QueueRow:
    """A row with the state of its last job on Slurm, where that says more than the store does."""
    if row.state in ("done", "not built") or row.exp.id not in jobs:
        return row
    record, job = jobs[row.exp.id]
    present = record.key == keys.key(row.exp, at)
    sentence = how(job, keys.root)
    state = next((state for state in SHOWN if sentence.startswith(state)), None)
    if state is None or (not present and job.state not in ALIVE):
        return row
    note = f"job {job.id}: {sentence}" + ("" if present else " (other code or parameters)")
    return replace(row, state=state, note=note)


def queue_table(keys: Keys, store: Store, at: RunCoordinates) -> list[str]:
    """Lines that fit the terminal: titles are shorter there, and results are cut."""
    queue, runs, note = keys.queue, recorded(store, keys), ""
    try:
        jobs = newest(keys.root, [(exp.id, exp.at(at)) for exp in queue.experiments])
    except UserError as mistake:  # results can be shown without it
        jobs, note = {}, f"Slurm cannot be asked ({mistake})."
    wide = terminal_width()
    title = min(40, max(25, (wide or 120) - 70))

    def line(name: str, what: str, state: str, hours: float, taken: str, memory: str, rest: str = "") -> str:
        estimate = f" {duration(hours * 3600)}"
        return cut(
            f"{name:8}{cut(what, title - 1):{title}}{state}{estimate:>{19 - len(state)}}{taken:>8}"
            f"{memory:>6}  {rest}".rstrip(),
            wide,
        )

    lines = [
        f"Profile {at.profile}, seed {at.seed}, variant {at.variant}",
        f"Store {store.shown}",
        "",
        f"{'':8}{'':{title}}{'state':11}{'estimate':>8}{'took':>8}{'GiB':>6}  result",
    ]
    done: dict[int, tuple[int, int]] = {}
    everything: list[QueueRow] = []
    for number, name in enumerate(queue.phases):
        rows = [with_job(row(exp, at, keys, store, runs), at, keys, jobs) for exp in queue.phase(number)]
        for r in rows:
            stamp, last, mark = r.stamp or Stamp(""), r.last, "" if r.state == "done" else "~"
            result = f"{stamp.headline or '-'} (run {stamp.run_id[:8]})" if stamp.run_id else ""
            lines.append(
                line(
                    r.exp.id,
                    r.exp.title,
                    r.state,
                    queue.hours(r.exp, at),
                    mark + duration(last.seconds) if last else "",
                    mark + _memory(last) if last and last.memory_gib else "",
                    r.note or result,
                )
            )
        done[number] = sum(r.state == "done" for r in rows), len(rows)
        everything += rows
        name = f"Phase {number}: {name.lower()}" if number else name
        lines += [line("", name, "{} of {}".format(*done[number]), *_sums(rows, queue, at)), ""]
    count = tuple(sum(part) for part in zip(*done.values(), strict=True))
    lines += [line("", "All experiments", "{} of {}".format(*count), *_sums(everything, queue, at)), ""]
    for phases, meaning in queue.milestones:
        reached = all(done[p][0] == done[p][1] for p in phases)
        span = f"phases {phases[0]} to {phases[-1]}"
        lines.append(wrapped(f"Milestone {'reached' if reached else 'ahead'} ({span}): {meaning}"))
    lines.append(wrapped(f"States: {STATES}."))
    lines.append(wrapped("took, GiB: time and largest memory of the run; ~ of an earlier run."))
    lines += [wrapped(f"On Slurm: {', '.join(SHOWN)}.")] if jobs else []
    return [*lines, wrapped(note)] if note else lines


def _memory(stamp: Stamp) -> str:
    return f"{stamp.memory_gib:.1f}"


def _sums(rows: list[QueueRow], queue: Queue, at: RunCoordinates) -> tuple[float, str, str]:
    """Estimated hours, the time that finished runs took, and the largest memory of these."""
    finished = [r.stamp for r in rows if r.stamp and r.state == "done"]
    largest = max(finished, key=lambda stamp: stamp.memory_gib, default=None)
    return (
        sum(queue.hours(r.exp, at) for r in rows),
        duration(sum(stamp.seconds for stamp in finished)),
        _memory(largest) if largest and largest.memory_gib else "",
    )


def phase_table(keys: Keys, store: Store, at: RunCoordinates, number: int) -> list[str]:
    """The short table that ends make phaseN, from the stamps alone."""
    lines, run_folders = [""], []
    for exp in keys.queue.phase(number):
        where = exp.at(at)
        stamp = None if keys.missing(exp, where) else store.stamp(exp, where, keys.key(exp, where))
        if stamp is None:
            lines.append(f"{exp.id:8}not there: {exp.target(at)}")
            continue
        run_folders.append(
            (
                exp.id,
                stamp.headline or "-",
                stamp.verdict() or "no criteria",
                f"run {stamp.run_id[:8]}",
                stamp.artifacts,
            )
        )
    widths = [max(map(len, column)) for column in zip(*run_folders, strict=True)][:-1]
    if sum(width + 2 for width in widths) - 2 > (terminal_width() or math.inf):
        lines += [wrapped(f"{name:8}{'; '.join(rest)}", " " * 8) for name, *rest, _ in run_folders]
    else:
        lines += [
            "  ".join(f"{text:{width}}" for text, width in zip(line, widths, strict=False)) for line in run_folders
        ]
    if run_folders:
        folder = run_folders[0][-1]
        known = folder and not folder.startswith(SERVED)
        folders = f", or {Path(folder).parents[1]}/RUN*/artifacts" if known else ""
        lines += ["", wrapped(f"Figures and tables: make ui{folders}")]
    return lines


def main(argv: list[str]) -> None:
    parser = Parser(prog="status", allow_abbrev=False)
    add_coordinates(parser)
    parser.add_argument("--phase", type=int)
    options = vars(parser.parse_args(argv))
    keys, store = Keys(), Store()
    at = take_coordinates(options, keys.queue)
    if options["phase"] is None:
        lines = queue_table(keys, store, at)
    else:
        lines = phase_table(keys, store, at, options["phase"])
    print("\n".join(lines))


if __name__ == "__main__":
    with in_one_line():
        main(sys.argv[1:])
