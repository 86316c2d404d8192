"""What is said to Slurm and what it answers; nothing here knows of experiments."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ired.lab.errors import UserError

PATIENCE_SECONDS = 120
# As a person would say it. What is none of these has failed.
STATES = {
    "PENDING": "queued",
    "REQUEUED": "queued",
    "CONFIGURING": "queued",
    "RUNNING": "running",
    "COMPLETING": "running",
    "SUSPENDED": "suspended",
    "STOPPED": "suspended",
    "COMPLETED": "finished",
    "TIMEOUT": "timed out",
    "DEADLINE": "timed out",
    "OUT_OF_MEMORY": "out of memory",
    "CANCELLED": "cancelled",
    "REVOKED": "cancelled",
}
ALIVE = ("queued", "running", "suspended", "finished")
# A dry run counts nodes that are down or busy as a failure; a job would simply wait for them.
_WAITS = re.compile(r"busy|not available \(")
_OVER_MEMORY = re.compile(r"exceeded .*memory limit|oom[-_ ]kill|out of memory", re.IGNORECASE)
_TIME = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")


@dataclass(frozen=True)
class Queued:
    """A job of this user that waits or runs."""

    id: str
    state: str
    name: str
    comment: str
    needs: tuple[str, ...]  # ids of jobs that it still waits for


@dataclass(frozen=True)
class Job:
    """A job as accounting has it."""

    id: str
    name: str
    state: str  # one of the values of STATES, or 'failed'
    exit: str = ""
    node: str = ""
    elapsed: str = ""


def is_here() -> bool:
    return shutil.which("squeue") is not None


def call(*words: str, folder: Path | None = None) -> str:
    """What a command of Slurm prints. One that fails is a UserError with its reason."""
    # A job is not part of this call of make.
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    try:
        done = subprocess.run(words, capture_output=True, text=True, cwd=folder, env=env, timeout=PATIENCE_SECONDS)
    except FileNotFoundError:
        raise UserError(f"there is no Slurm here: {words[0]} is not on the PATH") from None
    except subprocess.TimeoutExpired:
        raise UserError(f"Slurm does not answer: {words[0]} took more than {PATIENCE_SECONDS} s") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        why = re.sub(r"^\w+: (error: )?", "", lines[-1]) if lines else f"status {done.returncode}"
        raise UserError(f"{words[0]}: {why}")
    return done.stdout


def queue(folder: Path) -> list[Queued]:
    """This user's jobs that were submitted from `folder` and are neither ended nor ending."""
    jobs = []
    for line in call("squeue", "--me", "--noheader", "--format=%i|%T|%j|%k|%E|%Z").splitlines():
        number, state, name, comment, needs, place = line.split("|", 5)
        # One that is COMPLETING has done what it will do.
        if Path(place).resolve() == folder.resolve() and state != "COMPLETING":
            ids = tuple(re.findall(r"afterok:(\d+)", needs))
            jobs.append(Queued(id=number, state=STATES.get(state, "queued"), name=name, comment=comment, needs=ids))
    return jobs


def jobs(ids: Iterable[str]) -> dict[str, Job]:
    """The state of jobs by id, from accounting in one call. What that does not know, because it lags
    behind or is off, the controller is asked in another; what both have forgotten is left out."""
    wanted = set(ids)
    try:
        states = _read(
            call(
                "sacct",
                "--allocations",
                "--noheader",
                "--parsable2",
                f"--jobs={','.join(sorted(wanted))}",
                "--format=JobID,JobName,State,ExitCode,NodeList,Elapsed",
            ),
            wanted,
        )
    except UserError:
        states = {}
    if states.keys() != wanted:
        states = (
            _read(call("squeue", "--me", "--noheader", "--states=all", "--format=%i|%j|%T||%N|%M"), wanted) | states
        )
    return states


def _read(text: str, wanted: set[str]) -> dict[str, Job]:
    rows = {}
    for line in text.splitlines():
        number, _, rest = line.partition("|")
        name, state, code, node, elapsed = rest.rsplit("|", 4)  # a job may be called x|y
        state = STATES.get(state.partition(" ")[0], "failed")  # "CANCELLED by 1000"
        node = "" if node == "None assigned" else node
        # For its first seconds accounting knows a job as 'allocation', and nothing true of it.
        if number in wanted and name != "allocation":
            rows[number] = Job(id=number, name=name, state=state, exit=code, node=node, elapsed=elapsed)
    return rows


def refusal(words: list[str], folder: Path) -> str:
    """Why Slurm would not take this sbatch command, or ''."""
    try:
        call("sbatch", "--test-only", *words[1:], folder=folder)
    except UserError as mistake:
        return "" if _WAITS.search(str(mistake)) else str(mistake)
    return ""


def ran_out_of_memory(log: str) -> bool:
    """Where memory is not watched by cgroups, Slurm says so in the log alone."""
    return bool(_OVER_MEMORY.search(log))


def hours_of(text: str) -> float:
    """A time limit in one of Slurm's ways of writing it, in hours."""
    match = _TIME.fullmatch(text)
    if match:
        days, *parts = match.groups()
        numbers = [int(part) for part in parts if part is not None]
        if days is None and len(numbers) < 3:  # minutes, or minutes:seconds
            numbers.insert(0, 0)
        total = int(days or 0) * 24 + sum(n / 60**i for i, n in enumerate(numbers))
        if total > 0:
            return total
    raise UserError(f"TIME '{text}' is no time limit: write 8:00:00, 2-12:00:00 or minutes")


def limit_of(hours: float) -> str:
    """Hours as sbatch reads them: 2:30:00."""
    minutes = round(hours * 60)
    return f"{minutes // 60}:{minutes % 60:02}:00"


def memory_of(text: str) -> str:
    if not re.fullmatch(r"[1-9]\d*[KMGT]?", text, re.IGNORECASE):
        raise UserError(f"MEM '{text}' is no amount of memory: write 32G")
    return text
