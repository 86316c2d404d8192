"""A real PostgreSQL of Debian's package: a cluster of its own in a temporary folder, ended by its pid."""

from __future__ import annotations

import fcntl
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cluster.slurm import no_services


class Unavailable(Exception):
    """Why there can be no PostgreSQL on this machine."""


def programs() -> Path | None:
    """Where Debian keeps them: the newest version that is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    return found[-1].parent if found else None


def install() -> Path:
    """The folder of the programs, installed if they are missing."""
    if sys.platform != "linux" or os.geteuid() != 0:
        raise Unavailable("only root can install a PostgreSQL and start it as another user")
    if found := programs():
        return found
    if not shutil.which("apt-get"):
        raise Unavailable("PostgreSQL is not installed, and there is no apt-get to install it with")
    # Debian makes a cluster and starts it when the package is installed, unless told not to.
    with open(Path(tempfile.gettempdir()) / "ired-apt.lock", "w") as lock, no_services():
        fcntl.flock(lock, fcntl.LOCK_EX)
        get = ["apt-get", "-qq", "-y", "-o", "DPkg::Lock::Timeout=300"]
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for words in (["update"], ["install", "--no-install-recommends", "postgresql"]):
            done = subprocess.run([*get, *words], env=environment, capture_output=True, text=True)
    if not programs():
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise Unavailable(f"apt-get could not install Debian's PostgreSQL: {last}")
    return programs()


class Postgres:
    """A cluster whose user 'scientist' needs a password; `address` names its one database."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bin = folder, install()
        self.owner = pwd.getpwnam("postgres")
        self.password = secrets.token_hex(8) + "@%"  # what has to be escaped in an address
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    def __enter__(self) -> Postgres:
        self.folder.chmod(0o711)
        secret = self.folder / "secret"
        secret.touch(0o600)
        secret.write_text(self.password)
        for path in (self.folder / "data", self.folder / "socket", secret):
            path.exists() or path.mkdir()
            os.chown(path, self.owner.pw_uid, self.owner.pw_gid)
        done = subprocess.run(
            [
                self.bin / "initdb",
                "-D",
                self.folder / "data",
                "-A",
                "scram-sha-256",
                "--no-sync",
                f"--pwfile={secret}",
                "-U",
                "scientist",
            ],
            user="postgres",
            group="postgres",
            extra_groups=[],
            cwd="/",
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        secret.unlink()
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End it at once, as when its machine is taken down for a while."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(60)

    def start_again(self) -> None:
        self._start()

    def address(self, password: str | None = None) -> str:
        from urllib.parse import quote

        password = quote(self.password if password is None else password, safe="")
        return f"postgresql://scientist:{password}@127.0.0.1:{self.port}/postgres"

    def ask(self, sql: str) -> str:
        done = subprocess.run(
            [
                self.bin / "psql",
                "-XAtq",
                "-h",
                "127.0.0.1",
                "-p",
                str(self.port),
                "-U",
                "scientist",
                "-d",
                "postgres",
                "-c",
                sql,
            ],
            env=os.environ | {"PGPASSWORD": self.password},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def _start(self) -> None:
        with open(self.folder / "log", "a") as log:
            self.process = subprocess.Popen(
                [
                    self.bin / "postgres",
                    "-D",
                    self.folder / "data",
                    "-h",
                    "127.0.0.1",
                    "-p",
                    str(self.port),
                    "-k",
                    self.folder / "socket",
                    "-c",
                    "fsync=off",
                ],
                user="postgres",
                group="postgres",
                extra_groups=[],
                cwd="/",
                stdout=log,
                stderr=log,
            )
        ready = [self.bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        for _ in range(300):
            if self.process.poll() is not None:
                break
            if subprocess.run(ready).returncode == 0:
                return
            time.sleep(0.1)
        self.stop()
        raise RuntimeError(f"PostgreSQL did not start: {(self.folder / 'log').read_text()[-500:]}")
