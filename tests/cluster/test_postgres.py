"""The tracking server on a real PostgreSQL: many writers, a password that stays one, an outage."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.postgres import Postgres, Unavailable
from cluster.test_staging import serving
from ired.lab.tracking.store import Store
from ired.lab.usage import METERS
from small_project import Project, build, one_line

WRITERS = 4
WRITE = """
import os, sys, traceback
from multiprocessing import Barrier
from pathlib import Path
import ired.lab.tracking.mlflow_client  # once for all writers
from ired.lab.content_keys import Keys
from ired.lab.tracking.opening import open_tracking
from ired.lab.tracking.store import Store

def child(seed):
    tracking = open_tracking(Store(), Keys(), lasting=True)
    together.wait(60)
    run = tracking.start(1, f"run {seed}", {"exp_id": "P1-01", "seed": str(seed)}, {"seed": seed})
    tracking.metrics(run, [(f"m{i}", i, 0) for i in range(1100)])
    for step in range(20):
        tracking.metrics(run, [("loss", seed + step, step)])
        tracking.tags(run, {"at": step})
    for i in range(5):
        together.wait(60)
        tracking.dataset(run, f"data {i}", "digest", "test", "note")
    file = Path(f"file {seed}")
    file.write_text(str(seed) * 1000)
    tracking.upload(run, file)
    tracking.end(run, "FINISHED")
    tracking.close()

children, together = [], Barrier(int(sys.argv[1]))
for seed in range(int(sys.argv[1])):
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
assert not any(os.waitpid(child, 0)[1] for child in children)
"""


@pytest.fixture(scope="module")
def postgres():
    # Not in pytest's own folder, which the user postgres may not enter.
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        try:
            with Postgres(Path(folder)) as running:
                yield running
        except Unavailable as why:
            pytest.skip(str(why))


@pytest.fixture(scope="module")
def served(postgres, tmp_path_factory) -> Iterator[Project]:
    """A project whose `make server` keeps everything in that PostgreSQL."""
    project = build(tmp_path_factory.mktemp("served") / "fresh project")
    with serving(project, STORE=postgres.address()):
        yield project


def test_many_writers_lose_nothing(postgres, served):
    """Also: one server with one worker, artifacts through it, and no password in sight."""
    store = Store(served.root)
    assert store.uri.startswith("http://127.0.0.1:") and store.id not in ("local", "")
    words = [sys.executable, "-c", WRITE, str(WRITERS)]
    done = subprocess.run(words, cwd=served.root, env=served.env, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert "staging" not in done.stdout
    count = {
        name: int(postgres.ask(f"SELECT count(*) FROM {name}"))
        for name in (
            "runs WHERE status = 'FINISHED'",
            "latest_metrics",
            "metrics WHERE key = 'loss'",
            "datasets",
            "inputs WHERE destination_type = 'RUN'",
            "experiments WHERE name LIKE 'Phase 1%'",
        )
    }
    assert list(count.values()) == [WRITERS, WRITERS * 1101, WRITERS * 20, 5, WRITERS * 5, 1]
    files = sorted(path.read_text()[:1] for path in (served.root / "mlruns").rglob("file ?"))
    assert files == [str(seed) for seed in range(WRITERS)]
    assert postgres.ask("SELECT DISTINCT split_part(artifact_uri, '/', 1) FROM runs") == "mlflow-artifacts:"
    assert "runs already" in served.make("server", STORE=postgres.address()).stderr
    seen = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    assert postgres.password[:16] not in seen
    for path in served.root.rglob("*"):
        if path.is_file():
            assert postgres.password[:16].encode() not in path.read_bytes(), path
    assert not (served.root / "mlruns" / "mlflow.db").exists()


def test_a_wrong_password_is_one_line_without_it(postgres, tmp_path):
    fresh = build(tmp_path / "fresh project")
    done = fresh.make("server", "PORT=5999", STORE=postgres.address("not it, 7h3 s3cr3t"))
    assert done.returncode == 2 and "password authentication failed" in done.stderr
    assert "s3cr3t" not in done.stderr + done.stdout and len(done.stderr.splitlines()) == 2  # make's own
    typed = fresh.make("server", "PORT=5999", f"STORE={postgres.address('7h3-s3cr3t')}")
    assert "everybody on this machine can read" in typed.stderr and "s3cr3t" not in typed.stderr
    one_line(
        subprocess.run(
            [sys.executable, "-m", "ired.cluster.server"],
            cwd=fresh.root,
            text=True,
            env=fresh.env | {"STORE": "http://elsewhere"},
            capture_output=True,
        ),
        "STORE is a database",
    )


def test_an_outage_of_the_database_itself(postgres, served):
    """The server answers all the time, but takes nothing: runs wait, and are delivered afterwards."""
    env = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
    assert served.run_forked("00_prepare", **env).returncode == 0
    postgres.stop()
    train = served.run_forked("01_train", **env)
    assert train.returncode == 2 and "needs SETUP-1" in train.stderr, train.stdout + train.stderr
    prepared = served.run_forked("00_prepare", "--force", **env)
    assert prepared.returncode == 0 and "make sync" in prepared.stdout, prepared.stderr
    train = served.run_forked("01_train", **env)
    assert train.returncode == 0 and "make sync" in train.stdout, train.stderr
    postgres.start_again()
    done = served.make("sync")
    assert done.returncode == 0 and done.stdout.count("delivered as") == 2, done.stderr
    look = served.run_forked("11_look", **env)
    assert look.returncode == 0 and "staging" not in look.stdout, look.stderr
    assert "Nothing waits" in served.make("sync").stdout
    rows = postgres.ask(
        "SELECT m.key, m.value FROM latest_metrics m JOIN tags t USING (run_uuid) WHERE"
        f" t.key = 'exp_id' AND t.value IN ('SETUP-2', 'P1-01') AND m.key NOT IN {METERS}"
        " AND m.key NOT LIKE 'm%' AND m.key <> 'loss'"
    ).splitlines()
    assert sorted((key, float(value)) for key, value in (row.split("|") for row in rows)) == [
        ("criterion.good", 1),
        ("criterion.good.x", 4),
        ("headline", 4),
        ("headline", 12),
        ("headline.high", 99),
        ("headline.low", 1),
    ]
