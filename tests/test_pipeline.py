"""The whole pipeline as a user runs it: every built script at the tiny profile, twice."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ired.lab import queue

ROOT = Path(__file__).resolve().parents[1]
BUILT = [exp for exp in queue.load().experiments if (ROOT / exp.script).exists()]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """An empty store of its own, so that no earlier run can answer for this one."""
    folder = tmp_path_factory.mktemp("store with a space")
    return f"sqlite:///{folder}/mlflow.db"


def run(store, exp, *words):
    environment = os.environ | {"MLFLOW_TRACKING_URI": store, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, exp.script, "--profile", "tiny", *words],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def test_every_built_script_runs_once_and_then_does_nothing(store):
    for exp in BUILT:
        done = run(store, exp)
        assert done.returncode == 0, f"{exp.id}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        assert "up to date" not in done.stdout
        assert "Warning" not in done.stderr, f"{exp.id} warns:\n{done.stderr[-2000:]}"
    from mlflow import MlflowClient

    def count():
        client = MlflowClient(store)
        names = [e.experiment_id for e in client.search_experiments()]
        return client.search_runs(names, max_results=1000)

    runs = count()
    assert {r.data.tags["exp_id"] for r in runs} == {exp.id for exp in BUILT}
    assert {r.info.status for r in runs} == {"FINISHED"}
    for r in runs:
        declared = {t for t in r.data.tags if t.startswith("criterion.")}
        assert declared and declared <= set(r.data.metrics), r.data.tags["exp_id"]
        pictures = client_artifacts(store, r.info.run_id, "figures")
        number = r.data.tags["exp_id"]
        if number.startswith("P"):
            assert any(name.endswith(".png") for name in pictures), f"{number} has no figure"
    for exp in BUILT:
        started = time.monotonic()
        done = run(store, exp)
        assert done.returncode == 0 and "up to date" in done.stdout, exp.id
        assert time.monotonic() - started < 5  # hung or at work, not slow
    assert len(count()) == len(runs)


def client_artifacts(store, run_id, folder):
    from mlflow import MlflowClient

    return [item.path for item in MlflowClient(store).list_artifacts(run_id, folder)]


@pytest.mark.parametrize("exp", BUILT, ids=lambda exp: exp.id)
def test_help_comes_before_heavy_imports(exp):
    code = (
        "import runpy, sys, json; sys.argv = [sys.argv[1], '--help']\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as end: assert not end.code\n"
        "print(json.dumps([m for m in ('torch', 'mlflow', 'numpy', 'pandas') if m in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, exp.script],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []
    assert exp.id in done.stdout and "--profile" in done.stdout
