"""The store: made once by many, moved, copied, full, read-only, out of reach."""

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import sqlalchemy

from ired.lab.errors import UserError
from ired.lab.queue import RunCoordinates, load
from ired.lab.tracking.mlflow_client import Tracking
from ired.lab.tracking.store import Stamp, Store, write_whole
from small_project import Project, one_line

COLD_START = """
import os, sys, traceback
from multiprocessing import Barrier
import mlflow.store.tracking.sqlalchemy_store  # once for all that start
from ired.lab.queue import load
from ired.lab.tracking.store import Store
from ired.lab.tracking.mlflow_client import Tracking

def child(seed):
    tracking = Tracking(Store(), load().phases)
    run = tracking.start(1, f"run {seed}", {"exp_id": "P1-01"}, {"seed": seed})
    tracking.metrics(run, [(f"m{i}", i, 0) for i in range(1100 if seed == 0 else 3)])
    for i in range(10):
        together.wait(60)
        tracking.dataset(run, f"data {i}", "digest", "test", "note")
    tracking.end(run, "FINISHED")

children, together = [], Barrier(8)
for seed in range(8):
    children.append(os.fork())
    if not children[-1]:
        status = 1
        try:
            child(seed)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
assert [os.waitpid(child, 0)[1] for child in children] == [0] * 8
"""


@pytest.mark.slow
def test_eight_cold_starts_at_once(fresh):
    """Without a guard none or one of eight succeeds with MLflow 3.17; nor do all, when they note
    one dataset at one time."""
    done = subprocess.run(
        [sys.executable, "-c", COLD_START], cwd=fresh.root, env=fresh.env, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert fresh.runs("P1-01") == ["FINISHED"] * 8
    assert fresh.sql("SELECT count(*) FROM latest_metrics") == [(1121,)]
    assert fresh.sql("SELECT count(*) FROM experiments") == [(4,)]
    assert fresh.sql("SELECT count(*) FROM datasets") == [(10,)]
    assert fresh.sql("SELECT count(*) FROM inputs WHERE destination_type = 'RUN'") == [(80,)]


@pytest.mark.slow
def test_a_store_whose_creation_was_killed_does_not_stand_in_the_way(fresh, inside):
    first = fresh.start("00_prepare")
    half = fresh.root / "mlruns" / "creating" / "mlflow.db"
    while not (half.exists() and half.stat().st_size):
        assert first.poll() is None, first.stderr.read()
        time.sleep(0.001)
    first.kill()
    first.communicate()
    assert half.exists() and not (fresh.root / "mlruns" / "mlflow.db").exists()
    done = inside("00_prepare", project=fresh)
    assert done.returncode == 0, done.stderr
    assert fresh.runs("SETUP-1") == ["FINISHED"] and not half.parent.exists()


@pytest.mark.parametrize("how", [shutil.copytree, shutil.move])
def test_a_project_that_was_copied_or_moved_is_on_its_own(how, project, tmp_path, inside):
    """Reads and writes go to the new place, for us and for whoever asks MLflow itself."""
    old, new = project.root, tmp_path / "a new place"
    how(old, new)
    before = sorted(old.rglob("*")) if old.exists() else None
    if old.exists():
        for answer in old.rglob("answer.json"):
            answer.write_text('{"value": "of the original"}')
    moved = Project(new)
    done = inside("11_look", "--points", "3", project=moved)
    assert done.returncode == 0, done.stderr
    assert "seen 7" in done.stdout
    for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
        places = moved.sql(f"SELECT {column} FROM {table}")
        assert places and all(place.startswith(f"{new}/mlruns/artifacts/") for (place,) in places)
    assert "P1-01   Look" in moved.make("status", "PROFILE=tiny").stdout
    assert before is None or sorted(old.rglob("*")) == before


def test_stamps_are_whole_and_only_count_while_mlflow_has_the_run(project):
    store, queue = Store(project.root), load(project.root)
    exp, at = queue["P1-01"], RunCoordinates("tiny")
    (path,) = store.stamps.glob("P1-01.tiny.s0.none.*")
    key = path.name.rpartition(".")[2]
    assert store.stamp(exp, at, key).headline == "seen 12"
    path.write_text("{")
    assert store.stamp(exp, at, key) is None and not path.exists()
    store.write_stamp(exp, at, key, Stamp("a run that never was"))
    assert store.stamp(exp, at, key) is None and not path.exists()


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    (tmp_path / "a").write_text("before")
    with pytest.raises(TypeError):
        write_whole(tmp_path / "a", 3)
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "before"


def test_stores_do_not_share_stamps(fresh, monkeypatch):
    elsewhere = fresh.root / "elsewhere.db"
    ids = {
        Store(fresh.root).id,
        Store(fresh.root, f"sqlite:///{elsewhere}").id,
        Store(fresh.root, "http://127.0.0.1:5000").id,
    }
    assert len(ids) == 3 and "local" in ids
    monkeypatch.chdir(fresh.root)
    assert Store(fresh.root, "sqlite:///mlruns/mlflow.db").id == "local"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{elsewhere}")
    assert Store(fresh.root).database == elsewhere


@pytest.mark.parametrize(
    "uri",
    [
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///?mode=memory",
        "sqlite:///file::memory:?uri=true",
        "sqlite+pysqlite:///a.db",
    ],
)
def test_a_store_in_memory_is_one_line(fresh, inside, monkeypatch, uri):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.chdir(fresh.root)
    before = sorted(fresh.root.iterdir())
    one_line(inside("00_prepare", project=fresh), "is no file that keeps results", "mlflow.db")
    assert sorted(fresh.root.iterdir()) == before


def test_a_store_behind_a_link_is_the_projects_own(fresh):
    (fresh.root / "large disk").mkdir()
    (fresh.root / "mlruns").symlink_to("large disk")
    assert Store(fresh.root).id == "local"
    assert Store(fresh.root, f"sqlite:///{fresh.root}/large disk/mlflow.db").id == "local"


def test_copies_of_a_project_share_the_locks_of_a_store(fresh, tmp_path, capfd):
    uri, order = f"sqlite:///{tmp_path}/shared/mlflow.db", []
    one, other = (Store(root, uri) for root in (fresh.root, tmp_path / "another"))

    def second():
        with other.lock("a key", "waiting"):
            order.append("second")

    thread = threading.Thread(target=second)
    with one.lock("a key"):
        thread.start()
        thread.join(0.3)
        order.append("first")
    thread.join(20)
    assert order == ["first", "second"] and capfd.readouterr().out == "waiting\n"


def tracking_of(project, uri: str | None = None) -> Tracking:
    return Tracking(Store(project.root, uri), load(project.root).phases)


def test_a_store_that_is_locked_for_a_while_is_waited_for(project, monkeypatch, capfd):
    """MLflow gives up after 20 s, which is shortened here; a run goes on where it was."""
    monkeypatch.setattr("sqlalchemy.sql.text", shortened(sqlalchemy.sql.text))
    tracking = tracking_of(project)
    run_id = tracking.create(1, "waits", {})
    locking = sqlite3.connect(project.root / "mlruns" / "mlflow.db", check_same_thread=False)
    locking.execute("BEGIN EXCLUSIVE")
    threading.Timer(1, locking.close).start()
    tracking.metrics(run_id, [("loss", 0.5, 0), ("loss", 0.25, 1)])
    tracking.end(run_id, "FINISHED")
    run = tracking.run(run_id)
    assert run.info.status == "FINISHED" and run.data.metrics == {"loss": 0.25}
    told = capfd.readouterr()
    assert told.out.count("is locked by another process") == 1 and told.err == ""


def shortened(text):
    return lambda sql: text(sql.replace("busy_timeout = 20000", "busy_timeout = 50"))


def test_a_store_that_stays_locked_is_one_line(project, inside, monkeypatch):
    monkeypatch.setattr("sqlalchemy.sql.text", shortened(sqlalchemy.sql.text))
    for module in ("store", "stand_ins"):
        monkeypatch.setattr(f"ired.lab.tracking.{module}.LOCKED_SECONDS", 0.2)
    with closing(sqlite3.connect(project.root / "mlruns" / "mlflow.db")) as locking:
        locking.execute("BEGIN EXCLUSIVE")
        one_line(inside("11_look"), "another process has locked the store")
        locking.rollback()
        project.edit(
            "scripts/11_look.py",
            "    run.headline",
            f"""    import sqlite3
    locking = sqlite3.connect("{project.root}/mlruns/mlflow.db")
    locking.execute("BEGIN EXCLUSIVE")
    run.headline""",
        )
        one_line(inside("11_look"), "another process has locked the store")


PLACES = ("s3://bucket/artifacts/phase1", "/elsewhere/artifacts/phase1", "mlflow-artifacts:/phase1", "relative")


@pytest.mark.parametrize("ours", [False, True])
def test_what_others_keep_in_a_store_stays_where_it_is(ours, project, tmp_path):
    """In a database of theirs that we open, publish and take back, and in one of ours that was moved."""
    uri, shared = None, project.root / "mlruns" / "mlflow.db"
    if not ours:
        shared = Path(shutil.copy(shared, tmp_path / "theirs.db"))
        uri = f"sqlite:///{shared}"
    with closing(sqlite3.connect(shared)) as db, db:
        for number, place in enumerate(PLACES):
            db.execute(
                "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage)"
                " VALUES (?, ?, ?, 'active')",
                (70 + number, f"theirs {number}", place),
            )
            db.execute(
                "INSERT INTO runs (run_uuid, artifact_uri, status, lifecycle_stage, experiment_id)"
                " VALUES (?, ?, 'FINISHED', 'active', ?)",
                (f"{number:032}", f"{place}/r", 70 + number),
            )
    store = tracking_of(project, uri).store
    store.publish()
    store.relocate()
    theirs = store.query("SELECT artifact_location FROM experiments WHERE name LIKE 'theirs%' ORDER BY name")
    runs = store.query("SELECT artifact_uri FROM runs WHERE experiment_id >= 70 ORDER BY experiment_id")
    kept = [place for place in PLACES if not ours or "mlflow-artifacts" not in place]
    assert [place for (place,) in theirs if place in PLACES] == kept
    assert [place.removesuffix("/r") for (place,) in runs if place.removesuffix("/r") in PLACES] == kept
    own = store.query("SELECT artifact_location FROM experiments WHERE name LIKE 'Phase %'")
    assert own == [(f"{store.artifacts}/phase1",), (f"{store.artifacts}/phase2",)]


def test_a_deleted_experiment_is_restored(project, inside):
    tracking = tracking_of(project)
    tracking.client.delete_experiment(tracking._experiments["Phase 1: first things"])
    done = inside("11_look")
    assert done.returncode == 0 and "'Phase 1: first things' was deleted: it is restored" in done.stdout
    assert project.runs("P1-01") == ["FINISHED"] * 2


def test_all_runs_are_found_page_by_page(project, monkeypatch):
    tracking = tracking_of(project)
    for _ in range(3):
        tracking.create(1, "nested", {"part_of": "P1-01"})
    monkeypatch.setattr("ired.lab.tracking.mlflow_client._RUNS_A_CALL", 2)
    assert len(tracking.search("")) == 6 and len(tracking.search("", 3)) == 3
    assert {run.data.tags["exp_id"] for run in tracking.search("tags.exp_id LIKE '%'")} == {
        "SETUP-1",
        "SETUP-2",
        "P1-01",
    }


def test_a_name_and_a_password_are_no_part_of_the_host(fresh):
    class Answers(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(401)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        Store(fresh.root, f"http://me:secret@127.0.0.1:{server.server_port}").check()


def test_a_password_is_never_shown(fresh):
    store = Store(fresh.root, "postgresql://me:secret@127.0.0.1:1/db")
    assert "secret" not in store.shown
    with pytest.raises(UserError) as mistake:
        store.check()
    assert "secret" not in str(mistake.value) and "cannot be reached" in str(mistake.value)


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.mark.parametrize(
    "uri, told",
    [
        ("http://127.0.0.1:{port}", "cannot be reached"),
        ("postgresql://127.0.0.1:{port}/db", "cannot be reached"),
        ("http://127.0.0.1:notaport", "cannot be reached"),
        ("http://[::1", "cannot be reached"),
        ("pigeon://coop", "cannot be opened"),
    ],
)
def test_a_store_out_of_reach_is_one_line(project, inside, monkeypatch, uri, told):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.format(port=closed_port()))
    one_line(inside("00_prepare"), told)


@pytest.mark.parametrize("name", ["50%", "a#1", "why?", "it's"])
def test_a_path_that_mlflow_cannot_take_is_one_line(tmp_path, name):
    with pytest.raises(UserError, match="rename the folder"):
        Store(tmp_path / name).check()
    Store(tmp_path / "größer (2) & more").check()


def test_a_server_that_never_answers_is_given_up(fresh, monkeypatch):
    monkeypatch.setattr("ired.lab.tracking.store.PATIENCE_SECONDS", 0.2)
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        with pytest.raises(UserError, match="cannot be reached"):
            Store(fresh.root, f"http://127.0.0.1:{mute.getsockname()[1]}").check()


def test_a_server_that_answers_anything_is_reached(fresh):
    class NotFound(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(404)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), NotFound) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        Store(fresh.root, f"http://127.0.0.1:{server.server_port}").check()


def test_a_database_that_is_none_is_one_line(fresh, inside):
    (fresh.root / "mlruns").mkdir()
    (fresh.root / "mlruns" / "mlflow.db").write_bytes(b"no database" * 1000)
    one_line(inside("00_prepare", project=fresh), "mlflow.db", "file is not a database")


@contextmanager
def mounted(place: Path, options: str):
    """A small file system of its own at `place`."""
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("mounting a small file system needs root")
    place.mkdir(exist_ok=True)
    words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_one_line(fresh):
    with mounted(fresh.root / "mlruns", "size=4m"):
        one_line(fresh.run_forked("00_prepare"), "the disk is full (4 MB left", "free some space")


@pytest.mark.slow
def test_a_disk_that_fills_up_while_running_is_one_line(project):
    """The store has room at first; then the run fills the disk with what it logs."""
    project.edit(
        "scripts/00_prepare.py", "    run.headline", '    run.text("large", "x" * 30_000_000)\n    run.headline'
    )
    kept = shutil.move(project.root / "mlruns", project.root / "kept")
    with mounted(project.root / "mlruns", "size=24m"):
        shutil.copytree(kept, project.root / "mlruns", dirs_exist_ok=True)
        done = project.run_forked("00_prepare")
        one_line(done, "the disk is full", "run the same command again")
        assert project.runs("SETUP-1")[-1] in ("FAILED", "RUNNING")
        assert project.runs("SETUP-1")[0] == "FINISHED"


@pytest.mark.slow
def test_a_read_only_store_still_says_what_is_done(project):
    kept = shutil.move(project.root / "mlruns", project.root / "kept")
    with mounted(project.root / "mlruns", "size=40m"):
        shutil.copytree(kept, project.root / "mlruns", dirs_exist_ok=True)
        subprocess.run(["mount", "-o", "remount,ro", str(project.root / "mlruns")], check=True)
        one_line(project.run_forked("11_look", "--points", "3"), "read-only")
        done = project.run_forked("11_look")
        assert done.returncode == 0 and "is up to date: seen 12" in done.stdout
        assert "done" in project.make("status", "PROFILE=tiny").stdout
