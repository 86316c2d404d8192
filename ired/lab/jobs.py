"""Jobs of Slurm as they were submitted: the code they must run, and what became of them.

What was submitted is written down in mlruns/jobs/, one small file for each job: its command line and a
digest of every file that decides its result, so that a job refuses to run other code than was submitted.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ired.cluster import slurm
from ired.lab.content_keys import Keys
from ired.lab.errors import UserError
from ired.lab.queue import Experiment, RunCoordinates

LAST_LINES = 10
# What decides a key and is no source of an experiment.
OTHERS = ("ired/lab/profiles.py", "pipeline.json")


@dataclass(frozen=True)
class Record:
    """A job as it was submitted."""

    job: str  # Slurm's number
    name: str  # P2-02.small.s0.none
    exp: str
    profile: str
    seed: int
    variant: str
    key: str
    words: list[str]  # the script and its arguments
    needs: list[str] = field(default_factory=list)  # jobs
    files: dict[str, str] = field(default_factory=dict)  # digests of what decides the key
    commit: str = ""
    dirty: bool = False
    submitted: str = ""

    @property
    def at(self) -> RunCoordinates:
        return RunCoordinates(self.profile, self.seed, self.variant)

    @property
    def log(self) -> str:
        return log_of(self.name, self.job)

    def __str__(self) -> str:
        return f"{self.name} (job {self.job})"


def log_of(name: str, job: str) -> str:
    """Where sbatch/*.sh let a job write, relative to the project."""
    return f"logs/{name}-{job}.out"


def folder(root: Path) -> Path:
    return root / "mlruns" / "jobs"


def records(root: Path) -> list[Record]:
    """All that was submitted from this project, oldest first."""
    submitted = [record for path in folder(root).glob("*.json") if (record := _read(path))]
    return sorted(submitted, key=lambda record: (record.submitted, int(record.job)))


def _read(path: Path) -> Record | None:
    try:
        return Record(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):  # not there, or not written by this version
        return None


# The code of a job


def fingerprints(keys: Keys, exp: Experiment, at: RunCoordinates) -> dict[str, str]:
    """Digests of every file that decides the key of `exp`, those of its own script first."""
    nodes = {(exp, exp.at(at)): None}
    waiting = list(nodes)
    while waiting:
        for node in keys.queue.needed(*waiting.pop(), gates=False):
            if node not in nodes:
                nodes[node] = None
                waiting.append(node)
    kept = {name for node in nodes if (name := node[0].provenance(node[1]))}
    paths = {keys.root / name for name in (*(exp.script for exp, _ in nodes), *OTHERS, *kept)}
    return keys.sources(keys.root / exp.script) | keys.sources(*(p for p in paths if p.is_file()))


def check_code(keys: Keys, exp: Experiment, at: RunCoordinates, key: str) -> None:
    """Refuse inside a job of Slurm whose code is not the code that was submitted."""
    job = os.environ.get("SLURM_JOB_ID", "")
    record = _read(folder(keys.root) / f"{job}.json") if job.isdigit() else None
    if not record or (record.exp, record.at) != (exp.id, at) or record.key == key:
        return
    now = fingerprints(keys, exp, at)
    changed = [name for name in {**record.files, **now} if record.files.get(name) != now.get(name)]
    what = f"{changed[0]} has changed" if changed else "its parameters are others"
    raise UserError(f"job {job} was submitted with other code: {what} since; submit it anew: {exp.target(at)} ON=slurm")


# What became of jobs


def how(job: slurm.Job, root: Path) -> str:
    """'failed (exit status 2)', 'running on n1 for 0:04:10', 'out of memory'."""
    if job.state == "running":
        return f"running on {job.node} for {job.elapsed}"
    code, _, number = job.exit.partition(":")
    if job.state != "failed":
        return job.state
    log = root / log_of(job.name, job.id)
    if log.exists() and slurm.ran_out_of_memory("\n".join(_tail(log, LAST_LINES))):
        return "out of memory"
    if number not in ("", "0"):
        return f"failed (signal {number})"
    return f"failed (exit status {code})" if code else "failed"


def last_lines(root: Path, log: str, count: int = LAST_LINES) -> list[str]:
    path = root / log
    if not path.exists():
        return [f"{log} is not there: the job has not started, or could not write"]
    return [f"{log} ends with:" if path.stat().st_size else f"{log} is empty", *_tail(path, count)]


def _tail(path: Path, count: int) -> list[str]:
    """The last lines of a file that may be long."""
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - 400 * count))
        return file.read().decode(errors="replace").splitlines()[-count:]


def newest(root: Path, wanted: Iterable[tuple[str, RunCoordinates]]) -> dict[str, tuple[Record, slurm.Job]]:
    """The last job of each of these experiments, as far as there is one that Slurm remembers."""
    every = {(record.exp, record.at): record for record in records(root)}
    last = {where[0]: every[where] for where in wanted if where in every}
    if not last or not slurm.is_here():
        return {}
    states = slurm.jobs(record.job for record in last.values())
    return {
        exp: (record, states[record.job])
        for exp, record in last.items()
        if record.job in states and states[record.job].name == record.name
    }
