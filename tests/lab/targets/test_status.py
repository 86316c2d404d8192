"""make status: every state that an experiment can be in, and the sums."""

import io
import json
import os
import re
import socket
import subprocess
import sys
from dataclasses import replace

import pytest

from ired.lab.content_keys import Keys
from ired.lab.queue import Measured, RunCoordinates, load
from ired.lab.targets.measured import filled, taken
from ired.lab.targets.status import duration, phase_table, queue_table
from ired.lab.tracking.history import recorded, row
from ired.lab.tracking.mlflow_client import Tracking
from ired.lab.tracking.results import Shelf
from ired.lab.tracking.store import Store
from small_project import one_line

AT = RunCoordinates("tiny")


def states(project) -> dict[str, str]:
    keys, store = Keys(project.root, load(project.root)), Store(project.root)
    runs = recorded(store, keys)
    return {exp.id: row(exp, AT, keys, store, runs).state for exp in keys.queue.experiments}


def end(project, exp_id: str, status: str, pid: int = 0) -> None:
    """Make the newest run of an experiment look as if it had ended this way, with another key."""
    (run_id,) = project.sql("SELECT run_uuid FROM tags WHERE key = 'exp_id' AND value = ?", exp_id)[0]
    project.sql("UPDATE runs SET status = ? WHERE run_uuid = ?", status, run_id)
    for name, value in (("key", "of other contents"), ("pid", str(pid)), ("host", socket.gethostname())):
        project.sql("UPDATE tags SET value = ? WHERE key = ? AND run_uuid = ?", value, name, run_id)


@pytest.mark.slow
def test_a_queue_that_was_begun(project):
    assert states(project) == {
        "SETUP-1": "done",
        "SETUP-2": "done",
        "P1-01": "done",
        "P1-02": "pending",
        "P2-01": "not built",
    }


@pytest.mark.slow
def test_every_other_state(project):
    for stamp in Store(project.root).stamps.glob("P1-01.*"):
        stamp.unlink()
    for status, pid, state in (
        ("FINISHED", 0, "stale"),
        ("FAILED", 0, "failed"),
        ("KILLED", 0, "killed"),
        ("RUNNING", os.getpid(), "running"),
        ("RUNNING", 2**22 + 1, "killed"),
    ):
        end(project, "P1-01", status, pid)
        assert states(project)["P1-01"] == state, status


def test_what_finished_later_outlives_a_run_that_another_machine_lost(project, inside):
    """It was killed there without a word, so that the store has it running for ever."""
    end(project, "P1-01", "RUNNING")
    project.sql(
        "UPDATE tags SET value = 'node17' WHERE key = 'host' AND run_uuid IN"
        " (SELECT run_uuid FROM tags WHERE value = 'P1-01')"
    )
    assert states(project)["P1-01"] == "running"
    assert inside("11_look").returncode == 0
    assert states(project)["P1-01"] == "done"
    project.sql("UPDATE runs SET start_time = start_time + 10000000 WHERE status = 'RUNNING'")
    assert states(project)["P1-01"] == "running"  # the same again, by somebody else


def test_an_edit_makes_stale_what_uses_it(project):
    project.edit("ired/constants.py", "4", "5")
    assert states(project) == {
        "SETUP-1": "done",
        "SETUP-2": "stale",
        "P1-01": "stale",
        "P1-02": "pending",
        "P2-01": "not built",
    }


def test_a_result_counts_without_its_stamp(project):
    for stamp in (project.root / "mlruns" / "stamps" / "local").iterdir():
        stamp.unlink()
    assert states(project)["P1-01"] == "done"


def test_the_table(project, inside):
    keys, store = Keys(project.root, load(project.root)), Store(project.root)
    lines = queue_table(keys, store, AT)
    text = "\n".join(lines)
    look = next(line for line in lines if line.startswith("P1-01")).split()
    assert look[:3] == ["P1-01", "Look", "done"] and look[-4:-1] == ["seen", "12", "(run"]
    took, memory = look[5:8], float(look[7])
    assert look[3:5] == ["1", "h"] and took[1] == "s" and 0.01 < memory < 20, look
    assert "Phase 1: first things" in text and "1 of 2" in text and "3 of 5" in text
    assert "2.25 h" in text and "5.25 h" in text  # the queue's estimates
    assert "Milestone ahead (phases 1 to 1): first things known" in text
    assert inside("12_again").returncode == 0
    assert "Milestone reached" in "\n".join(queue_table(keys, store, AT))


class Terminal(io.StringIO):
    """Standard output that somebody looks at."""

    def isatty(self):
        return True


@pytest.mark.parametrize("wide", [80, 100, 200])
def test_everything_fits_a_terminal(project, monkeypatch, wide):
    keys, store = Keys(project.root, load(project.root)), Store(project.root)
    assert max(map(len, queue_table(keys, store, AT))) > 80, "a pipe gets all of it"
    title = "A title that says more than there is room for"
    object.__setattr__(keys.queue["P1-01"], "title", title)
    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.setenv("COLUMNS", str(wide))
    for lines in (queue_table(keys, store, AT), phase_table(keys, store, AT, 0)):
        fit = [line for text in lines for line in text.splitlines() if not line.startswith("Store ")]
        assert max(map(len, fit)) <= wide, "only an address is not cut"
    look = next(line for line in queue_table(keys, store, AT) if line.startswith("P1-01"))
    assert look.startswith(f"P1-01   {title[:20]}") and " done " in look and "seen 12" in look
    assert ("(run " in look) == (wide > 80)


def test_what_was_measured_last_is_shown_and_marked(project, inside):
    """As long as nothing newer is there: of a stale one, one that failed, one that runs."""
    tables = []
    for state in ("done", "stale", "failed"):
        if state == "stale":
            project.edit("scripts/01_train.py", "as asked", "as wished")
        if state == "failed":
            assert inside("01_train", "--behave", "raise").returncode == 1
        keys = Keys(project.root, load(project.root))
        lines = queue_table(keys, Store(project.root), AT)
        train = next(line for line in lines if line.startswith("SETUP-2")).split()
        assert train[2] == state
        tables.append(train[5:8])
    (seconds, unit, memory), *later = tables
    assert unit == "s" and later == [[f"~{seconds}", "s", f"~{memory}"]] * 2


def test_a_state_may_be_long(project, monkeypatch):
    keys = Keys(project.root, load(project.root))
    monkeypatch.setattr(
        "ired.lab.targets.status.with_job",
        lambda row, *_: replace(row, state="out of memory", note="job 5: out of memory"),
    )
    lines = queue_table(keys, Store(project.root), AT)
    train = next(line for line in lines if line.startswith("SETUP-2"))
    assert "out of memory   2 h " in train
    assert train.index("2 h") + 3 == lines[3].index("estimate") + len("estimate")


def test_what_was_measured_is_the_estimate(project):
    """Written from the store; a text that somebody laid out stays as it is."""
    path = project.root / "pipeline.json"
    text = json.dumps(json.loads(path.read_text()), indent=1)
    path.write_text(text)
    keys = Keys(project.root, load(project.root))
    shelf = Shelf(Tracking(Store(project.root), keys.queue.phases), keys)
    found = taken(shelf, AT)
    assert set(found) == {"SETUP-2", "P1-01"}, "SETUP-1 has no profile"
    took = shelf.find(keys.queue["P1-01"], AT).metrics
    assert took["cpu_seconds"] != took["wall_seconds"]
    assert 60 * found["P1-01"]["minutes"] == pytest.approx(min(took["cpu_seconds"], took["wall_seconds"]), rel=0.05)
    once = filled(text, "tiny", found | {"P1-01": {"minutes": 90.0, "memory_gib": 2.4}})
    assert once.startswith(text.rstrip("}\n ")) and filled(once, "tiny", {}) == once
    twice = filled(once, "paper", {"P1-01": {"minutes": 1.0, "memory_gib": 0.5}})
    path.write_text(filled(twice, "tiny", {"SETUP-2": {"minutes": 0.0, "memory_gib": 0.25}}))
    keys = Keys(project.root, load(project.root))
    assert keys.queue.measured["paper"] == {"P1-01": Measured(1.0, 0.5)}
    assert keys.queue.measured["tiny"] == {"P1-01": Measured(90.0, 2.4), "SETUP-2": Measured(0.0, 0.25)}
    lines = queue_table(keys, Store(project.root), AT)
    look, train = (next(line for line in lines if line.startswith(name)).split() for name in ("P1-01", "SETUP-2"))
    assert look[2:5] == ["done", "1.5", "h"] and train[2:5] == ["done", "0", "s"]
    done = project.make("status", "PROFILE=small")
    assert re.search("P1-01 +Look +pending +1 h", done.stdout)


@pytest.mark.slow
def test_nothing_that_was_measured_is_one_line(fresh):
    done = subprocess.run(
        [sys.executable, "-m", "ired.lab.targets.measured", "--profile", "tiny"],
        cwd=fresh.root,
        env=fresh.env,
        capture_output=True,
        text=True,
    )
    one_line(done, "no finished runs of this code under tiny")


def test_a_stamp_that_does_not_say_where_its_files_are(project):
    for path in Store(project.root).stamps.iterdir():
        path.write_text(json.dumps({"run_id": json.loads(path.read_text())["run_id"]}))
    keys, store = Keys(project.root, load(project.root)), Store(project.root)
    assert phase_table(keys, store, AT, 1)[-1] == "Figures and tables: make ui"


def test_a_project_in_which_nothing_ran_has_a_status(fresh):
    done = fresh.make("status")
    assert done.returncode == 0 and done.stdout.count("pending") == 4 + 1  # and the legend
    assert not (fresh.root / "mlruns" / "mlflow.db").exists()


def test_a_reader_who_leaves_early_is_no_error(fresh):
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", "make status | true"],
        cwd=fresh.root,
        env=fresh.env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and done.stderr == ""


def test_durations_read_well():
    assert [duration(s) for s in (0.3, 12, 99, 100, 3599, 3600, 37800)] == [
        "0 s",
        "12 s",
        "99 s",
        "2 min",
        "60 min",
        "1 h",
        "10.5 h",
    ]
