"""A project whose server is lost, what its store holds, and a server that comes and goes."""

import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from cluster.test_server import free_port
from ired.cluster.sync import sync
from ired.lab.content_keys import Keys
from ired.lab.queue import load
from ired.lab.tracking.mlflow_client import Tracking
from ired.lab.tracking.store import Server, Store, Unreachable
from ired.lab.usage import METERS
from small_project import Project

RICH = '''
"""Logs everything that can be logged, and waits on the way if it is told to."""
from ired.lab.command import command


@command("P1-01", criteria={"good": "always"})
def main(run):
    import time
    from pathlib import Path

    answer = run.upstream("SETUP-2").json("answer")
    run.dataset("problems", "d1", "test", "drawn")
    run.series({"loss": [(step, 1 / (step + 1)) for step in range(1200)]})
    run.child("with a curve", {"width": 1}, {"error": 0.5}, series={"curve": [(0, 1.0), (5, 0.5)]})
    run.json("half", [1, 2])
    for name in ("first", "second"):
        if Path(f"wait-{name}").exists():
            print(f"at the {name} place", flush=True)
            while Path(f"wait-{name}").exists():
                time.sleep(0.05)
        run.child(f"at the {name} place", {"width": 2}, {"error": 0.25})
    run.metrics({"loss": 0.0}, step=1200)
    run.text("more", "words")
    assert run.logged().json("half") == [1, 2] and run.logged().names() == ["half.json", "more.txt"]
    run.criterion("good", True, margin=answer["value"])
    run.headline("seen", answer["value"])


if __name__ == "__main__":
    main()
'''


@pytest.fixture
def quick_stores(monkeypatch, tmp_path_factory):
    """Making an empty store takes seconds. One is made, and every other is that one moved elsewhere."""
    empty, create = tmp_path_factory.getbasetemp() / "empty.db", Tracking._create

    def copied(tracking: Tracking) -> None:
        if empty.exists():
            tracking.store.database.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(empty, tracking.store.database)
        else:
            create(tracking)
            shutil.copy(tracking.store.database, empty)

    monkeypatch.setattr(Tracking, "_create", copied)


@pytest.fixture
def rich(project: Project) -> Project:
    (project.root / "scripts" / "11_look.py").write_text(RICH.lstrip())
    return project


def lost(project: Project, store: str = "local", host: str | None = None, pid: int | None = None) -> Path:
    """Make the project believe in a server that does not answer (ours to be alive: pid 1 is)."""
    folder = project.root / "mlruns"
    server = Server(
        f"http://127.0.0.1:{free_port()}", host or socket.gethostname(), pid or 1, store, folder.stat().st_ino
    )
    server.write(folder)
    return folder / "server"


def tracking_of(project: Project) -> Tracking:
    return Tracking(Store(project.root), load(project.root).phases)


def delivered(project: Project) -> list[str]:
    return sync(Store(project.root), Keys(project.root, load(project.root)))


def runs_of(project: Project, exp_id: str = "P1-01") -> list[dict]:
    """All that the store has of the newest run of an experiment and the runs nested under it, as far as
    it does not differ from one time to the next."""
    tracking = tracking_of(project)
    top = tracking.search(f"tags.exp_id = '{exp_id}' and attributes.status = 'FINISHED'")[0]
    nested = tracking.search(f"tags.mlflow.parentRunId = '{top.info.run_id}'")
    found = []
    for run in [top, *sorted(nested, key=lambda run: run.info.run_name)]:
        run = tracking.run(run.info.run_id)
        history = {
            name: sorted((m.step, m.value) for m in tracking.client.get_metric_history(run.info.run_id, name))
            for name in run.data.metrics
            if name not in METERS
        }
        tags = {
            k: v for k, v in run.data.tags.items() if k not in ("pid", "staged_from", "mlflow.parentRunId", "git_dirty")
        }
        data = [(i.dataset.name, i.dataset.digest, i.tags[0].value) for i in run.inputs.dataset_inputs]
        files = {name: tracking.artifact(run, name).read_bytes() for name in tracking.names(run, "")}
        found.append(
            {
                "name": run.info.run_name,
                "status": run.info.status,
                "metrics": history,
                "params": run.data.params,
                "tags": tags,
                "data": data,
                "files": files,
            }
        )
    return found


@contextmanager
def serving(project: Project, port: int | None = None, host: str = "", **env: str):
    """`make server`, once it has said where it is."""
    port = port or free_port()
    with open(project.root / "server.log", "w") as log:
        words = [sys.executable, "-m", "ired.cluster.server", "--port", str(port), "--host", host]
        process = subprocess.Popen(words, cwd=project.root, env=project.env | env, stdout=log, stderr=log)
    try:
        until(
            lambda: "tracking server is at" in (project.root / "server.log").read_text(),
            process,
            project.root / "server.log",
        )
        yield process
    finally:
        process.terminate()
        process.wait(30)


def until(true, process, log):
    for _ in range(1200):
        if true():
            return
        assert process.poll() is None, log.read_text()
        time.sleep(0.05)
    raise TimeoutError(log.read_text())


def until_nobody_serves(project: Project, address: str) -> None:
    for _ in range(200):
        try:
            Store(project.root, address).reach()
            time.sleep(0.1)
        except Unreachable:
            return
    raise AssertionError("it outlives `make server`")
