"""One finished tiny store for all tests: every script of the queue, run once, in the background.

The worker that begins first starts it in a process of its own, and tests that need no store run meanwhile. Whoever
needs it waits for it, reads it and leaves it as it is: other workers read it too. To change something, take a copy.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import forked
import whole_queue
from ired.lab.tracking.store import is_alive
from ired.lab.usage import METERS

if TYPE_CHECKING:  # it takes seconds, and every worker reads this file
    from mlflow import MlflowClient
    from mlflow.entities import Run

LOCK, LOG, OUTCOME = "lock", "log", "outcome"
PROJECT = Path("a project") / "of mine"  # a folder with a space in its name
_FOLDERS = [whole_queue.ROOT, *(whole_queue.ROOT / name for name in ("tests", "tests/lab"))]


def shared(factory: pytest.TempPathFactory) -> Path:
    """The folder of the store: the same one for all workers of this session."""
    base = factory.getbasetemp()
    return (base.parent if _is_worker() else base) / "tiny store"


def begin(folder: Path) -> None:
    """Start making the store, unless it is there or being made.

    The process that makes it inherits the lock and holds it until it ends, however that comes about.
    """
    folder.mkdir(exist_ok=True)
    with open(folder / LOCK, "w") as lock, open(folder / LOG, "a") as log:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        if (folder / OUTCOME).exists():
            return
        session = os.getppid() if _is_worker() else os.getpid()
        code = f"import pathlib, tiny_store; tiny_store.make(pathlib.Path({str(folder)!r}), {session})"
        # No file as its main module: scripts' processes are forked from it, and would run that file first.
        subprocess.Popen(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, _FOLDERS))},
            pass_fds=[lock.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def finished(folder: Path) -> Path:
    """The project after every script has run once; waits for that."""
    begin(folder)
    with open(folder / LOCK) as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
    failure = (folder / OUTCOME).read_text() if (folder / OUTCOME).exists() else "it was killed"
    if failure:
        pytest.fail(f"the tiny store was not made: {failure}\n{(folder / LOG).read_text()}", pytrace=False)
    return folder / PROJECT


def make(folder: Path, session: int) -> None:
    """Make the store, and leave a word on what went wrong, or an empty one."""
    threading.Thread(target=_end_with, args=(session,), daemon=True).start()
    outcome = ""
    try:
        (folder / "streams").mkdir()
        whole_queue.run(whole_queue.copied(folder / PROJECT), "tiny", folder / "streams")
    except Exception:
        outcome = traceback.format_exc()
    (folder / OUTCOME).write_text(outcome)


def _end_with(session: int) -> None:
    """End, with all scripts that run, when nobody is there any more who waits for them."""
    while is_alive(session):
        time.sleep(1)
    os.killpg(0, signal.SIGKILL)


def _is_worker() -> bool:
    return "PYTEST_XDIST_WORKER" in os.environ


def run(project: Path, script: str, *words: str) -> subprocess.CompletedProcess:
    """`python script --profile tiny words…` in a project, or `python -m` where script is a module."""
    with tempfile.TemporaryDirectory() as streams:
        return forked.run(
            project, script, ["--profile", "tiny", *words], whole_queue.environment(project), f"{streams}/of"
        )


def runs(project: Path, nested: bool = False, seed: int = 0) -> list[Run]:
    """The runs of experiments at one seed without mining, or all those that are nested under them."""
    client = client_of(project)
    everywhere = [e.experiment_id for e in client.search_experiments()]
    logged = client.search_runs(everywhere, max_results=1000)
    logged = [r for r in logged if ("mlflow.parentRunId" in r.data.tags) == nested]
    at = {"seed": str(seed), "variant": "none"}
    return [r for r in logged if nested or at.items() <= r.data.tags.items()]


def runs_of(project: Path, exp_id: str, seed: int = 0) -> list[Run]:
    """Those of one experiment, the oldest first."""
    of_it = [r for r in runs(project, seed=seed) if r.data.tags["exp_id"] == exp_id]
    return sorted(of_it, key=lambda r: r.info.start_time)


def client_of(project: Path) -> MlflowClient:
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{project}/mlruns/mlflow.db")


def numbers(run: Run) -> dict[str, float]:
    """A run's metrics without those that tell what it took."""
    return {name: value for name, value in run.data.metrics.items() if name not in METERS}
