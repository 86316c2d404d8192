"""The tracking server of this project: for several jobs at once, on this machine or on others.

It serves the embedded store (or what STORE names), hands out the artifacts itself, and says in
mlruns/server where it is, where scripts and jobs of this project look. MLflow asks nobody for a
password, so it listens on this machine alone unless told otherwise. A password of the database never
enters a command line of ours or a file.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, build_opener

from ired.lab.content_keys import Keys
from ired.lab.errors import UserError, in_one_line
from ired.lab.queue import ROOT
from ired.lab.tracking.opening import open_tracking
from ired.lab.tracking.store import LOOPBACK, SERVED, Server, Store

STARTS_WITHIN = 120  # seconds
MAKES = ("MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES")  # what was typed after make, STORE among it
EVERYWHERE = ("0.0.0.0", "::", "*")


class Ended(BaseException):
    """Somebody asked the server to end."""


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", default="5000")
    parser.add_argument("--host", default="")
    options = parser.parse_args(argv)
    host, port = options.host or LOOPBACK[0], options.port
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise UserError(f"PORT '{port}' is not a number from 1 to 65535")
    folder = ROOT / "mlruns"
    # From the environment, where make puts it: everybody can read command lines.
    store = Store(ROOT, os.environ.pop("STORE", "") or f"sqlite:///{folder / 'mlflow.db'}")
    if "STORE=" in os.environ.get("MAKEFLAGS", "") and re.search("//[^/]*:[^/]*@", store.uri):
        print(
            "warning: everybody on this machine can read a password in a command line: put STORE into "
            "the environment, or the password into ~/.pgpass",
            file=sys.stderr,
            flush=True,
        )
    if store.uri.startswith("http") or "://" not in store.uri:
        raise UserError("STORE is a database: sqlite:///path or postgresql://user@host/name")
    alone(folder)
    claim(host, port)
    store.check()
    if not (store.database and store.database.exists()):
        open_tracking(store, Keys()).close()  # makes the store, or says what is wrong with the database
    held = store.hold(alone=True)
    try:
        store.relocate()  # it may have been moved
        serve(store, folder, host, port)
    finally:
        store.relocate()
        if held:
            held.close()


def alone(folder: Path) -> None:
    """Refuse where this project has a server already."""
    server = Server.of(folder)
    if server is None:
        return
    try:
        Store(ROOT, server.address).reach()
    except UserError:
        return  # it ended without a word
    raise UserError(f"a server runs already at {server.address} (process {server.pid} on {server.host})")


def claim(host: str, port: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("" if host in EVERYWHERE else host, int(port)))
        except OSError as error:
            if (
                host not in (*LOOPBACK, *EVERYWHERE)
                and not isinstance(error, PermissionError)
                and ("in use" not in str(error))
            ):
                raise UserError(f"HOST {host}: {error.strerror or error}") from None
            raise UserError(f"port {port}: {error.strerror}; try make server PORT={int(port) + 1}") from None


def serve(store: Store, folder: Path, host: str, port: str) -> None:
    """Run MLflow's server until somebody ends it, and say meanwhile where it is."""
    name = socket.gethostname() if host in EVERYWHERE else host
    server = Server(
        address=f"http://{name}:{port}",
        host=socket.gethostname(),
        pid=os.getpid(),
        store=store.id,
        folder=folder.stat().st_ino,
    )
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_") and key not in MAKES
    }
    environment |= {
        "MLFLOW_BACKEND_STORE_URI": store.uri,
        "MLFLOW_REGISTRY_STORE_URI": store.uri,
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": f"{SERVED}/",
        "PYTHONWARNINGS": "ignore",
        "MLFLOW_ARTIFACTS_DESTINATION": str(store.artifacts),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # Otherwise it starts 15 processes and runs jobs that people submit to it.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    words = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        host,
        "--port",
        port,
        "--workers",
        "1",
        "--uvicorn-opts",
        "--log-level warning",
        "--allowed-hosts",
        ",".join(allowed(name, host)),
    ]
    if host not in LOOPBACK:
        print(
            f"warning: whoever can reach {name}:{port} can read and change this store, without a password",
            file=sys.stderr,
            flush=True,
        )
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _end)
    store.publish()
    process = None
    try:
        # A session of its own: Ctrl-C reaches us, and we end it.
        process = subprocess.Popen(words, env=environment, start_new_session=True, preexec_fn=_with_us)
        wait_for(process, f"http://{LOOPBACK[0] if host in EVERYWHERE else host}:{port}/health")
        server.write(folder)
        print(
            f"The tracking server is at {server.address} (Ctrl-C ends it); jobs and scripts of this "
            f"project find it by themselves",
            flush=True,
        )
        status = process.wait()
        raise UserError(f"the server ended by itself, with status {status}: see above")
    except Ended:
        pass
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # what follows takes a moment
        if Server.of(folder) == server:
            (folder / "server").unlink(missing_ok=True)
        if process:
            end(process)


def allowed(name: str, host: str) -> list[str]:
    """Names under which the server may be asked for; it refuses requests for any other, which a web
    page that lies about its own address would send."""
    names = {name, *LOOPBACK}
    if host not in LOOPBACK:
        names |= {socket.gethostname(), socket.getfqdn()}
        with suppress(OSError):  # this machine does not know its own name
            names |= set(socket.gethostbyname_ex(socket.gethostname())[2])
    return sorted(names | {f"{name}:*" for name in names})


def wait_for(process: subprocess.Popen, address: str) -> None:
    opener = build_opener(ProxyHandler({}))
    for _ in range(STARTS_WITHIN * 5):
        if process.poll() is not None:
            raise UserError(f"the server did not start (status {process.returncode}): see above")
        try:
            opener.open(address, timeout=5).close()
            return
        except (URLError, OSError):
            time.sleep(0.2)
    raise UserError(f"the server did not answer at {urlsplit(address).netloc} in {STARTS_WITHIN} s")


def end(process: subprocess.Popen) -> None:
    """End MLflow's process, which ends its own; after a while all of them."""
    for number, patience in ((signal.SIGTERM, 15), (signal.SIGKILL, 5)):
        try:
            os.killpg(process.pid, number)
            process.wait(patience)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def _with_us() -> None:
    """In the server's process: end when we are gone, were it without a word."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def _end(number: int, _: object) -> None:
    raise Ended


if __name__ == "__main__":
    with in_one_line():
        main(sys.argv[1:])
