"""A real MLflow server: the UI on our store, and a tracking server instead of it."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from urllib.error import URLError
from urllib.request import urlopen


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def serving(project, words: list[str], port: int):
    """The process that `words` start, once it answers; all of it is ended afterwards."""
    with open(project.root / "server.log", "w") as log:
        server = subprocess.Popen(
            words, cwd=project.root, env=project.env, stdout=log, stderr=log, start_new_session=True
        )
    try:
        for _ in range(600):
            assert server.poll() is None, (project.root / "server.log").read_text()
            try:
                urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except URLError:
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


def test_the_ui_shows_a_store_that_was_moved_on_loopback_only(project):
    port = free_port()
    with serving(project, ["make", f"PYTHON={sys.executable}", "ui", f"PORT={port}"], port) as ui:
        assert b"<html" in urlopen(ui).read()
        run_id = project.sql("SELECT run_uuid FROM tags WHERE value = 'SETUP-2'")[0][0]
        answer = urlopen(f"{ui}/get-artifact?path=answer.json&run_uuid={run_id}").read()
        assert b'"value": 4' in answer
        processes = subprocess.run(["ps", "-ewwo", "args"], capture_output=True, text=True).stdout
        assert f"--port {port}" in processes
        assert f"{project.root}/mlruns/mlflow.db" not in processes  # the address may hold a password
        listening = subprocess.run(["ss", "-ltn"], capture_output=True, text=True).stdout
        assert re.findall(rf"(\S+):{port}\s", listening) in (["127.0.0.1"], [])
        taken = project.make("ui", f"PORT={port}")
        assert f"error: port {port}: Address already in use" in taken.stderr


def test_a_tracking_server_serves_as_well(project, inside, monkeypatch):
    """Artifacts travel through the server; nothing is read from the embedded store."""
    port = free_port()
    words = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        "1",
        "--backend-store-uri",
        f"sqlite:///{project.root}/other.db",
        "--artifacts-destination",
        str(project.root / "kept-by-the-server"),
    ]
    project.env |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with serving(project, words, port) as uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        assert "needs SETUP-2" in inside("11_look").stderr
        for script in ("00_prepare", "01_train", "11_look"):
            done = inside(script)
            assert done.returncode == 0 and "starts on" in done.stdout, done.stderr
        assert "seen 12; " in done.stdout and "is up to date" in inside("11_look").stdout
        assert list((project.root / "kept-by-the-server").rglob("answer.json"))
        status = project.make("status", "PROFILE=tiny", MLFLOW_TRACKING_URI=uri)
        assert "3 of 5" in status.stdout and uri in status.stdout, status.stderr
    assert project.runs("P1-01") == ["FINISHED"]  # the embedded store's own
    assert "cannot be reached" in inside("11_look", "--points", "3").stderr
