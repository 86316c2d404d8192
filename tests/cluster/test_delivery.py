"""What waits in staging is delivered once, whoever is killed on the way."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

from cluster.staged_project import delivered, lost, runs_of
from ired.lab.tracking.store import Store
from small_project import Project

pytestmark = pytest.mark.usefixtures("quick_stores")


# Delivering once


def stages(project: Project, inside) -> Path:
    """P1-01 and what it needs, in staging; the file that leads there."""
    project.edit("ired/constants.py", "4", "5")
    file = lost(project)
    for script in ("00_prepare", "01_train", "11_look"):
        assert inside(script, "--force").returncode == 0
    return file


class Killed(BaseException):
    """As by a signal that nobody can catch."""


CALLS = ("create_run", "log_batch", "log_inputs", "log_artifacts", "set_terminated", "get_run")


def test_sync_that_is_killed_anywhere_goes_on_where_it_was(rich, inside, monkeypatch):
    """Killed before the first of its steps, then before the second of the next call, and so on; what is
    delivered shortens the next call, so that in the end one comes through."""
    stages(rich, inside).unlink()
    steps = 0

    def counted(call):
        def counting(*args, **named):
            nonlocal steps
            steps += 1
            if steps > kills:
                raise Killed
            return call(*args, **named)

        return counting

    places = [(MlflowClient, name) for name in CALLS]
    for place, name in [*places, (Store, "write_stamp"), (os, "replace"), (shutil, "rmtree")]:
        monkeypatch.setattr(place, name, counted(getattr(place, name)))
    for kills in range(100):  # noqa: B007, told after the loop
        steps = 0
        try:
            delivered(rich)
            break
        except Killed:
            pass
    assert 25 < kills < 99
    assert rich.runs("P1-01") == ["FINISHED"] * 2 and rich.runs("SETUP-2") == ["FINISHED"] * 2
    assert rich.sql("SELECT count(*) FROM tags WHERE key = 'staged_from'") == [(6,)]
    staged = runs_of(rich)
    monkeypatch.undo()
    assert len(staged) == 4 and len(staged[0]["metrics"]["loss"]) == 1201


def test_two_at_once(rich, inside):
    stages(rich, inside).unlink()
    words = [sys.executable, "-m", "ired.cluster.sync"]
    both = [
        subprocess.Popen(
            words, cwd=rich.root, env=rich.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        for _ in range(2)
    ]
    said = "".join(process.communicate(timeout=60)[0] for process in both)
    assert [process.returncode for process in both] == [0, 0], said
    assert said.count(": delivered as run") == 3 and said.count("Nothing waits") == 1
    assert rich.runs("P1-01") == ["FINISHED"] * 2


def test_a_run_that_was_killed_in_staging_is_delivered_as_killed(project):
    """Killed without a word, so that nothing says that it has ended; what never left its server goes."""
    file = lost(project)
    assert project.run_forked("00_prepare", "--force").returncode == 0
    asleep = project.start("01_train", "--behave", "sleep")
    while "asleep" not in asleep.stdout.readline():
        assert asleep.poll() is None, asleep.stderr.read()
    file.unlink()
    lines = delivered(project)
    assert "SETUP-1: delivered" in lines[-1] and f"process {asleep.pid} on" in lines[0]
    asleep.kill()
    asleep.communicate()
    assert "(killed)" in "".join(delivered(project)) and project.runs("SETUP-2")[-1] == "KILLED"


@pytest.mark.parametrize("running, told", [(False, "(finished)"), (True, "(killed)")])
def test_a_run_whose_job_was_killed_on_another_machine_is_delivered(running, told, project, inside):
    """When it had ended and could not say so any more; or when nothing has come of it for a day."""
    file = lost(project)
    assert inside("00_prepare", "--force").returncode == 0
    file.unlink()
    (folder,) = (project.root / "mlruns" / "staging").iterdir()
    (folder / "ended").unlink()
    whose = json.loads((folder / "whose.json").read_text())
    (folder / "whose.json").write_text(json.dumps(whose | {"host": "node17", "pid": 4}))
    if running:
        with closing(sqlite3.connect(folder / "mlflow.db")) as db, db:
            db.execute("UPDATE runs SET status = 'RUNNING', end_time = NULL")
        (line,) = delivered(project)
        assert "process 4 on node17 has not ended" in line
        assert f"touch '{folder.relative_to(project.root)}" in line
        a_day_ago = time.time() - 25 * 3600
        os.utime(folder / "mlflow.db", (a_day_ago, a_day_ago))
    lines = delivered(project)
    assert len(lines) == 1 + running and told in lines[-1]
    assert not running or "has logged nothing for a day" in lines[0]
    assert not folder.exists() and delivered(project) == ["Nothing waits in staging."]
