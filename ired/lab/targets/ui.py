"""The MLflow UI on this project's store: loopback only, one worker, no job execution."""

from __future__ import annotations

import argparse
import os
import socket
import sys

from ired.lab.content_keys import Keys
from ired.lab.errors import UserError, in_one_line
from ired.lab.tracking.opening import open_tracking
from ired.lab.tracking.store import Store

HOST = "127.0.0.1"


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", default="5000")
    port = parser.parse_args(argv).port
    store = Store()
    if store.uri.startswith("http"):
        raise UserError(f"the store is a server with a UI of its own: open {store.shown}")
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise UserError(f"PORT '{port}' is not a number from 1 to 65535")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, int(port)))
        except OSError as error:
            raise UserError(f"port {port}: {error.strerror}; try make ui PORT={int(port) + 1}") from None
    store.check()
    tracking = open_tracking(store, Keys())  # makes the store if there is none, and puts its paths right
    if tracking.held:
        os.set_inheritable(tracking.held.fileno(), True)  # no `make server` while this runs
    print(f"The notebook is at http://{HOST}:{port} (Ctrl-C ends it)", flush=True)
    # The default server starts 15 processes and runs jobs that people submit to it.
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    # Not in the command line, where everybody on this machine could read a password.
    os.environ["MLFLOW_BACKEND_STORE_URI"] = store.uri
    os.execv(
        sys.executable,
        [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--default-artifact-root",
            str(store.artifacts),
            "--host",
            HOST,
            "--port",
            port,
            "--workers",
            "1",
        ],
    )


if __name__ == "__main__":
    with in_one_line():
        main(sys.argv[1:])
