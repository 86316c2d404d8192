"""Where results are kept, as far as it can be known without importing mlflow (milliseconds).

The store is MLflow's, at MLFLOW_TRACKING_URI; without one it is the file mlruns/mlflow.db of this
project. Beside it lie *stamps*: small files that repeat what MLflow knows about finished runs, so
that make can tell in milliseconds that there is nothing to do. A stamp counts only while MLflow
still has its run; where the store is a file this is looked up in it each time.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import socket
import sqlite3
import tempfile
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Iterator
from urllib.parse import urlsplit

from ired.lab.errors import Mistake, one_line
from ired.lab.queue import ROOT, At, Experiment

FREE_BYTES_NEEDED = 20 * 2**20
PATIENCE_SECONDS = 5
WORK_DONE = "finished"  # marks a work folder whose run has finished
_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}


@dataclass(frozen=True)
class Stamp:
    """What is worth knowing about a finished run at a glance."""

    run_id: str
    headline: str = ""
    criteria: dict[str, bool] = field(default_factory=dict)
    seconds: float = 0.0
    artifacts: str = ""

    @staticmethod
    def read(path: Path) -> Stamp:
        return Stamp(**json.loads(path.read_text()))

    def verdict(self) -> str:
        """'2 of 3 criteria met (not: name)', or '' where there are none."""
        if not self.criteria:
            return ""
        unmet = [name for name, met in self.criteria.items() if not met]
        met = f"{len(self.criteria) - len(unmet)} of {len(self.criteria)} criteria met"
        return met + (f" (not: {', '.join(unmet)})" if unmet else "")


class Store:
    """The store that this process uses, with its stamps and locks."""

    def __init__(self, root: Path = ROOT, uri: str | None = None) -> None:
        self.root = root
        self.folder = root / "mlruns"
        default = self.folder / "mlflow.db"
        uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{default}"
        self.database: Path | None = None
        if uri.startswith("sqlite:///"):
            self.database = Path(uri.removeprefix("sqlite:///").partition("?")[0]).resolve()
            uri = f"sqlite:///{self.database}"
        self.uri = uri
        self.shown = re.sub(r"//[^/@]*@", "//", uri)  # without a password
        self.id = ("local" if self.database == default
                   else blake2b(self.shown.encode(), digest_size=4).hexdigest())
        self.stamps = self.folder / "stamps" / self.id
        self.artifacts = (self.database.parent if self.database else self.folder) / "artifacts"

    # Stamps

    def stamp_path(self, exp: Experiment, at: At, key: str) -> Path:
        at = exp.at(at)
        return self.stamps / f"{exp.id}.{at.profile}.s{at.seed}.{at.variant}.{key}"

    def stamp(self, exp: Experiment, at: At, key: str) -> Stamp | None:
        """The stamp of a finished run with this key. One whose run is gone is removed."""
        path = self.stamp_path(exp, at, key)
        try:
            stamp = Stamp.read(path)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):  # not written by this version: MLflow knows better
            stamp = None
        if stamp and self._is_finished(stamp.run_id):
            return stamp
        try:
            path.unlink(missing_ok=True)
        except OSError:  # a read-only store: whoever wants to run will be told
            pass
        return None

    def write_stamp(self, exp: Experiment, at: At, key: str, stamp: Stamp) -> None:
        path = self.stamp_path(exp, at, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(asdict(stamp), indent=1) + "\n")

    # Looking into the embedded store

    def query(self, sql: str, *values: object) -> list[tuple]:
        """Rows of the embedded store; none if it does not exist yet."""
        if self.database is None or not self.database.exists():
            return []
        try:
            # mode=rw creates nothing, rolls back what a killed writer left half-done, and still
            # reads where writing is not allowed.
            uri = f"{self.database.as_uri()}?mode=rw"
            with closing(sqlite3.connect(uri, uri=True, timeout=20)) as db:
                return db.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            if "no such table" in str(error):
                return []
            raise Mistake(f"the store {self.shown} cannot be read: {error}") from None

    def _is_finished(self, run_id: str) -> bool:
        if self.database is None:
            return True  # a server is not asked about each stamp; that would cost a second for each
        return bool(self.query(
            "SELECT 1 FROM runs WHERE run_uuid = ? AND status = 'FINISHED'"
            " AND lifecycle_stage = 'active'", run_id))

    # Whether work can start

    def check(self) -> None:
        """Raise a Mistake if the store cannot be reached or written, or the disk is full."""
        if self.database and set(f"{self.folder}{self.database}") & set("#%?'\"\\"):
            raise Mistake(f"MLflow cannot keep a store in {self.folder}, whose path has one of "
                          "# % ? ' \" \\ in it: rename the folder, or set MLFLOW_TRACKING_URI")
        folders = {self.folder, self.database.parent if self.database else self.folder}
        for folder in folders:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryFile(dir=folder) as probe:
                    probe.write(b"x" * 4096)
                free = shutil.disk_usage(folder).free
            except OSError as error:
                raise Mistake(f"{folder}: {one_line(error) or error}") from None
            if free < FREE_BYTES_NEEDED:
                raise Mistake(f"{folder}: the disk is full ({free / 2**20:.0f} MB left, "
                              f"{FREE_BYTES_NEEDED // 2**20} MB needed): free some space")
        if self.database is None:
            self._check_server()
        elif self.database.exists() and not os.access(self.database, os.W_OK):
            raise Mistake(f"{self.database} is read-only")

    def _check_server(self) -> None:
        """Ask the tracking server for a sign of life before mlflow's own minutes of retries."""
        parts = urlsplit(self.uri)
        scheme = parts.scheme.partition("+")[0]
        if scheme not in _PORTS or not parts.hostname:
            return  # a kind of address that mlflow knows better than we do
        unreachable = f"the tracking server {self.shown} cannot be reached"
        try:
            address = (parts.hostname, parts.port or _PORTS[scheme])
            if scheme in ("http", "https"):
                from urllib.error import HTTPError
                from urllib.request import urlopen
                try:
                    urlopen(self.uri.rstrip("/") + "/health", timeout=PATIENCE_SECONDS).close()
                except HTTPError:
                    pass  # it answers; what it makes of us is mlflow's to find out
            else:
                socket.create_connection(address, PATIENCE_SECONDS).close()
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise Mistake(f"{unreachable} ({reason}): start it, or unset MLFLOW_TRACKING_URI "
                          "to use mlruns/ of this project") from None

    # Locks

    @contextmanager
    def lock(self, name: str, waiting: str = "") -> Iterator[None]:
        """Hold the lock `name`; the system frees it however the process ends."""
        folder = self.folder / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / f"{name}.lock", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if waiting:
                    print(waiting, flush=True)
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    # Moving house

    def relocate(self) -> None:
        """Make the embedded store point at its own folder again after it was moved or copied.

        MLflow keeps artifact locations as absolute paths. Ours are all below the folder of the
        database, so a location with another beginning tells where the project used to be.
        """
        if self.database is None:
            return
        here = str(self.database.parent)
        rows = self.query("SELECT artifact_location FROM experiments"
                          " WHERE artifact_location LIKE '%/artifacts/phase_'")
        before = {row[0].rpartition("/artifacts/")[0] for row in rows} - {here}
        if not before:
            return
        columns = {"experiments": "artifact_location", "runs": "artifact_uri",
                   "logged_models": "artifact_location"}
        with self.lock("store"), closing(sqlite3.connect(self.database, timeout=20)) as db, db:
            for old in before:
                for table, column in columns.items():
                    db.execute(f"UPDATE {table} SET {column} = ? || substr({column}, ?)"
                               f" WHERE substr({column}, 1, ?) = ?",
                               (here, len(old) + 1, len(old) + 1, old + "/"))


def write_whole(path: Path, text: str) -> None:
    """Write a file that is either there as a whole or not at all."""
    file = tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".", delete=False)
    try:
        with file:
            file.write(text)
        os.chmod(file.name, 0o644)
        os.replace(file.name, path)
    except BaseException:
        os.unlink(file.name)
        raise
