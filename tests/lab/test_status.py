"""make status: every state that an experiment can be in, and the sums."""

import json
import os
import socket
import subprocess

from ired.lab.keys import Keys
from ired.lab.queue import At, load
from ired.lab.status import duration, phase_table, queue_table, recorded, row
from ired.lab.store import Store

AT = At("tiny")


def states(project) -> dict[str, str]:
    keys, store = Keys(project.root, load(project.root)), Store(project.root)
    runs = recorded(store, keys)
    return {exp.id: row(exp, AT, keys, store, runs).state for exp in keys.queue.experiments}


def end(project, exp_id: str, status: str, pid: int = 0) -> None:
    """Make the newest run of an experiment look as if it had ended this way, with another key."""
    run_id, = project.sql("SELECT run_uuid FROM tags WHERE key = 'exp_id' AND value = ?", exp_id)[0]
    project.sql("UPDATE runs SET status = ? WHERE run_uuid = ?", status, run_id)
    for name, value in (("key", "of other contents"), ("pid", str(pid)),
                        ("host", socket.gethostname())):
        project.sql("UPDATE tags SET value = ? WHERE key = ? AND run_uuid = ?",
                    value, name, run_id)


def test_a_queue_that_was_begun(project):
    assert states(project) == {"SETUP-1": "done", "SETUP-2": "done", "P1-01": "done",
                               "P1-02": "pending", "P2-01": "not built"}


def test_every_other_state(project):
    for stamp in Store(project.root).stamps.glob("P1-01.*"):
        stamp.unlink()
    for status, pid, state in (
            ("FINISHED", 0, "stale"), ("FAILED", 0, "failed"), ("KILLED", 0, "killed"),
            ("RUNNING", os.getpid(), "running"), ("RUNNING", 2**22 + 1, "killed")):
        end(project, "P1-01", status, pid)
        assert states(project)["P1-01"] == state, status


def test_what_finished_later_outlives_a_run_that_another_machine_lost(project, inside):
    """It was killed there without a word, so that the store has it running for ever."""
    end(project, "P1-01", "RUNNING")
    project.sql("UPDATE tags SET value = 'node17' WHERE key = 'host' AND run_uuid IN"
                " (SELECT run_uuid FROM tags WHERE value = 'P1-01')")
    assert states(project)["P1-01"] == "running"
    assert inside("11_look").returncode == 0
    assert states(project)["P1-01"] == "done"
    project.sql("UPDATE runs SET start_time = start_time + 10000000 WHERE status = 'RUNNING'")
    assert states(project)["P1-01"] == "running"  # the same again, by somebody else


def test_an_edit_makes_stale_what_uses_it(project):
    project.edit("ired/constants.py", "4", "5")
    assert states(project) == {"SETUP-1": "done", "SETUP-2": "stale", "P1-01": "stale",
                               "P1-02": "pending", "P2-01": "not built"}


def test_a_result_counts_without_its_stamp(project):
    for stamp in (project.root / "mlruns" / "stamps" / "local").iterdir():
        stamp.unlink()
    assert states(project)["P1-01"] == "done"


def test_the_table(project, inside):
    keys, store = Keys(project.root, load(project.root)), Store(project.root)
    lines = queue_table(keys, store, AT)
    text = "\n".join(lines)
    look = next(line for line in lines if line.startswith("P1-01")).split()
    assert look[:2] == ["P1-01", "Look"] and look[2] == "done" and look[-2:] == ["seen", "12"]
    assert "Phase 1: first things" in text and "1 of 2" in text and "3 of 5" in text
    assert "2.25 h" in text and "5.25 h" in text  # the queue's estimates
    assert "Milestone ahead (phases 1 to 1): first things known" in text
    assert inside("12_again").returncode == 0
    assert "Milestone reached" in "\n".join(queue_table(keys, store, AT))


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
    done = subprocess.run(["bash", "-o", "pipefail", "-c", "make status | true"], cwd=fresh.root,
                          env=fresh.env, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == ""


def test_durations_read_well():
    assert [duration(s) for s in (0.3, 12, 99, 100, 3599, 3600, 37800)] == [
        "0 s", "12 s", "99 s", "2 min", "60 min", "1 h", "10.5 h"]
