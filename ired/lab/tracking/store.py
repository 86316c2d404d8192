"""Where results are kept, as far as it can be known without importing mlflow (milliseconds).

The store is MLflow's, at MLFLOW_TRACKING_URI; without one at the address that a running `make server`
of this project wrote into mlruns/server; without that it is the file mlruns/mlflow.db. Beside it lie
*stamps*: small files that repeat what MLflow knows about finished runs, so that make can tell in
milliseconds that there is nothing to do. A stamp counts only while MLflow still has its run, or while
the run waits in mlruns/staging for its server; where the store is a file this is looked up each time.
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
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import cached_property
from hashlib import blake2b
from http.client import HTTPException
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from ired.lab.errors import UserError, one_line
from ired.lab.queue import ROOT, Experiment, RunCoordinates, load

FREE_BYTES_NEEDED = 20 * 2**20
PATIENCE_SECONDS = 5
LOCKED_SECONDS = 60  # how long an embedded store that somebody else has locked is waited for
WORK_DONE = "finished"  # marks a work folder whose run has finished
WHOSE, ENDED = "whose.json", "ended"  # files in a folder of staging
DATABASES = ("postgresql", "mysql", "mssql")  # how addresses of databases that are servers begin
LOOPBACK = ("127.0.0.1", "localhost")
SERVED = "mlflow-artifacts:"  # how MLflow begins locations of artifacts that its server hands out
_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}


@dataclass(frozen=True)
class Stamp:
    """What is worth knowing about a finished run at a glance."""

    run_id: str
    headline: str = ""
    criteria: dict[str, bool] = field(default_factory=dict)
    seconds: float = 0.0
    artifacts: str = ""
    memory_gib: float = 0.0  # the largest
    staged: str = ""  # the folder of mlruns/staging that the run is in until `make sync`

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


@dataclass(frozen=True)
class Server:
    """What a running `make server` says about itself in mlruns/server."""

    address: str
    host: str
    pid: int
    store: str  # the id of the store that it serves
    folder: int  # the inode of mlruns, so that a copy of the project has no server

    @staticmethod
    def of(folder: Path) -> Server | None:
        """The server of this project, if there is one or should be one."""
        try:
            server = Server(**json.loads((folder / "server").read_text()))
            mine = server.folder == folder.stat().st_ino
        except (OSError, ValueError, TypeError):
            return None
        # The embedded store of this project can be used again as soon as its server is gone.
        gone = server.store == "local" and server.host == socket.gethostname() and not is_alive(server.pid)
        return server if mine and not gone else None

    def write(self, folder: Path) -> None:
        write_whole(folder / "server", json.dumps(asdict(self), indent=1) + "\n")


class Unreachable(UserError):
    """A store that does not answer. It may do so later."""


class Store:
    """The store that this process uses, with its stamps and locks."""

    def __init__(self, root: Path = ROOT, uri: str | None = None) -> None:
        self.root = root
        self.folder = root / "mlruns"
        default = self.folder / "mlflow.db"
        told = uri or os.environ.get("MLFLOW_TRACKING_URI")
        self.server = None if uri else Server.of(self.folder)
        if self.server and told and told.rstrip("/") != self.server.address:
            self.server = None
        uri = told or (self.server.address if self.server else f"sqlite:///{default}")
        uri = re.sub("^postgres(ql)?://", "postgresql+psycopg://", uri)  # the driver in requirements.txt
        self.database: Path | None = None
        if uri.startswith("sqlite"):
            name = uri.removeprefix("sqlite:///").partition("?")[0]
            # Results in memory would be gone with this process, and their stamps would stay.
            if not uri.startswith("sqlite:///") or not name or ":memory:" in name:
                raise UserError(
                    f"the store {uri} is no file that keeps results: write "
                    "sqlite:///path/to/mlflow.db, or unset MLFLOW_TRACKING_URI to use "
                    "mlruns/ of this project"
                )
            self.database = Path(name).resolve()
            uri = f"sqlite:///{self.database}"
        self.uri = uri
        self.shown = re.sub(r"//[^/]*@", "//", uri)  # without a password
        if self.database is None:
            self.shown = self.shown.partition("?")[0]
        self.id = (
            self.server.store
            if self.server
            else "local"
            if self.database == default.resolve()
            else blake2b(self.shown.encode(), digest_size=4).hexdigest()
        )
        # Whether what a run logs goes to staging where the server is out of reach from the start:
        # a job has waited for its turn, and a server of this project will be back. Whoever types
        # a wrong address wants to hear that instead.
        self.stages = uri.startswith("http") and bool(self.server or "SLURM_JOB_ID" in os.environ)
        self.stamps = self.folder / "stamps" / self.id
        self.artifacts = (self.database.parent if self.database else self.folder) / "artifacts"
        self.staging = self.folder / "staging"

    # Stamps

    def stamp_path(self, exp: Experiment, at: RunCoordinates, key: str) -> Path:
        at = exp.at(at)
        return self.stamps / f"{exp.id}.{at.profile}.s{at.seed}.{at.variant}.{key}"

    def stamp(self, exp: Experiment, at: RunCoordinates, key: str) -> Stamp | None:
        """The stamp of a finished run with this key. One whose run is gone is removed."""
        path = self.stamp_path(exp, at, key)
        try:
            stamp = Stamp.read(path)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):  # not written by this version: MLflow knows better
            stamp = None
        if stamp and self._is_finished(stamp):
            return stamp
        with suppress(OSError):  # a read-only store: whoever wants to run will be told
            path.unlink(missing_ok=True)
        return None

    def write_stamp(self, exp: Experiment, at: RunCoordinates, key: str, stamp: Stamp) -> None:
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
            with closing(sqlite3.connect(uri, uri=True, timeout=LOCKED_SECONDS)) as db:
                return db.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            if "no such table" in str(error):
                return []
            raise UserError(f"the store {self.shown} cannot be read: {one_line(error) or error}") from None

    def _is_finished(self, stamp: Stamp) -> bool:
        if stamp.staged:
            return (self.staging / stamp.staged / "mlflow.db").exists()
        if self.database is None:
            return True  # a server is not asked about each stamp; that would cost a second for each
        return bool(
            self.query(
                "SELECT 1 FROM runs WHERE run_uuid = ? AND status = 'FINISHED' AND lifecycle_stage = 'active'",
                stamp.run_id,
            )
        )

    # Whether work can start

    def check(self, reach: bool = True) -> None:
        """Raise a UserError if the disk is full, or the store cannot be written or (unless it may be
        out of reach) reached."""
        if self.database and set(f"{self.folder}{self.database}") & set("#%?'\"\\"):
            raise UserError(
                f"MLflow cannot keep a store in {self.folder}, whose path has one of "
                "# % ? ' \" \\ in it: rename the folder, or set MLFLOW_TRACKING_URI"
            )
        folders = {self.folder, self.database.parent if self.database else self.folder}
        for folder in folders:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryFile(dir=folder) as probe:
                    probe.write(b"x" * 4096)
                free = shutil.disk_usage(folder).free
            except OSError as error:
                raise UserError(f"{folder}: {one_line(error) or error}") from None
            if free < FREE_BYTES_NEEDED:
                raise UserError(
                    f"{folder}: the disk is full ({free / 2**20:.0f} MB left, "
                    f"{FREE_BYTES_NEEDED // 2**20} MB needed): free some space"
                )
        if self.database is None:
            if reach:
                self.reach()
        elif self.database.exists() and not os.access(self.database, os.W_OK):
            raise UserError(f"{self.database} is read-only")

    def reach(self) -> None:
        """Ask the tracking server for a sign of life before mlflow's own minutes of retries."""
        unreachable = f"the tracking server {self.shown} cannot be reached"
        advice = "start it, or unset MLFLOW_TRACKING_URI to use mlruns/ of this project"
        try:
            parts = urlsplit(self.uri)
            scheme = parts.scheme.partition("+")[0]
            port = parts.port or _PORTS.get(scheme)
        except ValueError as error:  # no address at all
            raise UserError(f"{unreachable} ({error}): {advice}") from None
        if scheme not in _PORTS or not parts.hostname:
            return  # a kind of address that mlflow knows better than we do
        if self.server:
            advice = "start it again with `make server`"
            if parts.hostname in LOOPBACK and self.server.host != socket.gethostname():
                raise Unreachable(
                    f"{unreachable} from {socket.gethostname()}: it listens on "
                    f"{self.server.host} alone; `make server HOST=0.0.0.0` lets others in"
                )
            # A proxy between us and a machine of the same cluster would not find it.
            for name in ("no_proxy", "NO_PROXY"):
                names = os.environ.get(name, "")
                if parts.hostname not in names.split(","):
                    os.environ[name] = f"{names},{parts.hostname}".lstrip(",")
        try:
            if scheme in ("http", "https"):
                from urllib.error import HTTPError
                from urllib.request import urlopen

                with suppress(HTTPError):  # it answers; what it makes of us is mlflow's to find out
                    # As it is shown: urlopen would take a name and password for a part of the host's.
                    urlopen(self.shown.rstrip("/") + "/health", timeout=PATIENCE_SECONDS).close()
            else:
                socket.create_connection((parts.hostname, port), PATIENCE_SECONDS).close()
        except ValueError as error:  # a name that cannot be one
            raise UserError(f"{unreachable} ({error}): {advice}") from None
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise Unreachable(f"{unreachable} ({reason}): {advice}") from None

    # Locks

    @contextmanager
    def lock(self, name: str, waiting: str = "", folder: Path | None = None) -> Iterator[None]:
        """Hold the lock `name`; the system frees it however the process ends. It lies beside the
        database, which several copies of the project may use, or in `folder`."""
        folder = (folder or (self.database.parent if self.database else self.folder)) / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / f"{name}.lock", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if waiting:
                    print(waiting, flush=True)
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def hold(self, alone: bool = False) -> IO | None:
        """While the file that this returns is open, an embedded store is used directly by whoever
        holds it (many may), or served by the one who holds it alone: locations differ."""
        if self.database is None:
            return None
        try:
            path = self.database.parent / "locks" / "serving.lock"
            path.parent.mkdir(parents=True, exist_ok=True)
            file = open(path, "a+")
            fcntl.flock(file, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            why = (
                "is in use: a run or `make ui` works on it directly; wait for that to end"
                if alone
                else "is being served: run this again without MLFLOW_TRACKING_URI, and the server is found"
            )
            raise UserError(f"the store {self.shown} {why}") from None
        except OSError:  # read-only, so nobody can serve it
            return None
        return file

    # Moving house

    def relocate(self) -> None:
        """Make the embedded store point at its own folder again after it was moved, copied or served.

        MLflow keeps artifact locations as absolute paths. Ours are all below the folder of the
        database, so a location with another beginning tells where the project used to be.
        """
        if self.database is None:
            return
        here, homes = f"{self.database.parent}/artifacts", set()
        for (place,) in self.query(
            f"SELECT artifact_location FROM experiments WHERE name IN ({_marks(self._titles)})", *self._titles
        ):
            home, _, phase = place.rpartition("/artifacts/")
            if place.startswith("/") and re.fullmatch("phase.", phase):
                homes.add(f"{home}/artifacts")
            elif place.startswith(f"{SERVED}/"):
                homes.add(SERVED)
        self._rename(homes - {here}, here)

    def publish(self) -> None:
        """Make the embedded store point at its server, which hands out the artifacts."""
        if self.database:
            self._rename({str(self.artifacts)}, SERVED)

    @cached_property
    def _titles(self) -> tuple[str, ...]:
        return titles(load(self.root).phases)

    def _rename(self, olds: set[str], new: str) -> None:
        """Replace the beginnings of artifact locations: of all that the project's own store has, of
        our experiments alone where the database may be somebody else's too."""
        if not olds or self.database is None:
            return
        columns = {"experiments": "artifact_location", "runs": "artifact_uri", "logged_models": "artifact_location"}
        ours, names = "", tuple[str, ...]()
        if self.id != "local":
            names = self._titles
            ours = f" AND experiment_id IN (SELECT experiment_id FROM experiments WHERE name IN ({_marks(names)}))"
        with self.lock("store"), closing(sqlite3.connect(self.database, timeout=LOCKED_SECONDS)) as db, db:
            for old in olds:
                for table, column in columns.items():
                    db.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?)"
                        f" WHERE substr({column}, 1, ?) = ?{ours}",
                        (new, len(old) + 1, len(old) + 1, old + "/", *names),
                    )


def titles(phases: Iterable[str]) -> tuple[str, ...]:
    """How the MLflow experiments of the phases are called."""
    return tuple(f"Phase {number}: {name.lower()}" if number else name for number, name in enumerate(phases))


def _marks(values: tuple) -> str:
    """Places for values in SQL: '?, ?, ?'."""
    return ", ".join("?" * len(values))


def is_alive(pid: int) -> bool:
    """Whether a process with this number runs on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return pid > 0


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
