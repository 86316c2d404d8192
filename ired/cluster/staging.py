"""Runs whose tracking server is out of reach: what they log waits in mlruns/staging for `make sync`.

A run remembers what it has logged (numbers in memory, files as copies). From the first call that the
server does not take, all of it is repeated in a store of the run's own, mlruns/staging/HOST-PID, and
what follows goes there too: so a staged run is always whole, can be read by what needs it, and is
delivered onto the run that had begun on the server, if one had.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import socket
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from ired.lab.errors import UserError, one_line
from ired.lab.tracking.mlflow_client import (
    BEGAN_AS,
    MlflowException,
    Run,
    Stamp,
    Tracking,
    milliseconds,
    staged_in,
)
from ired.lab.tracking.stand_ins import UnreachableClient
from ired.lab.tracking.store import ENDED, WHOSE, Store, Unreachable, write_whole

_OUR_FAULT = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST")  # what every store refuses
_JOBS_PATIENCE = 60  # seconds: about what a server needs to start again, and nobody watches a job


def open_lasting(store: Store, phases: tuple[str, ...]) -> Tracking:
    """The server of `store`; where it does not answer and may be out of reach, staging."""
    _patience()  # what is wrong with it is no reason for staging
    try:
        _patiently(store, store.reach)
        return Lasting(store, phases)
    except UserError as why:
        if not store.stages:
            raise
        print(why, flush=True)
        return Lasting(store, phases, str(why))


def _patiently(store: Store, call: Callable, *args: Any) -> Any:
    """What `call` returns, asked again for a while where the server does not answer."""
    patience = _patience()
    deadline, said = time.monotonic() + patience, False
    while True:
        try:
            return call(*args)
        except Exception as error:
            lost = isinstance(error, Unreachable) or (not isinstance(error, UserError) and one_line(error))
            if not lost or time.monotonic() > deadline:
                raise
            if not said:
                print(f"the tracking server {store.shown} does not answer: waiting up to {patience:g} s", flush=True)
            said = True
            time.sleep(2)


def _patience() -> float:
    """How many seconds a server that does not answer is waited for."""
    text = os.environ.get("IRED_PATIENCE") or (_JOBS_PATIENCE if "SLURM_JOB_ID" in os.environ else 0)
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise UserError(f"IRED_PATIENCE '{text}' is not a number of seconds")
    return seconds


class Lasting(Tracking):
    """A tracking server for one run, which may lose it."""

    def __init__(self, store: Store, phases: tuple[str, ...], unreachable: str = "") -> None:
        self._calls: list[tuple[str, tuple, dict, Any]] = []  # name, arguments, result
        self._mine: dict[str, str] = {}  # ids that the run knows: the same, or those in staging
        self._moved: Tracking | None = None
        if unreachable:
            self.unreachable, self.client, self.store, self._phases = (
                unreachable,
                UnreachableClient(unreachable),
                store,
                phases,
            )
            self._staged, self._places = {}, {}
        else:
            super().__init__(store, phases)

    @cached_property
    def folder(self) -> Path:
        """This run's folder in staging: empty but for copies of files as long as the server is there."""
        return _new_folder(self.store)

    # Reading

    def search(self, query: str, limit: int | None = None) -> list[Run]:
        if isinstance(self.client, UnreachableClient) and not self._mine:  # before the run: what is there is unknown
            return []
        return _patiently(self.store, super().search, query, limit)

    def run(self, run_id: str) -> Run:
        if run_id in self._mine:
            moved = self._moved
            if moved is None:
                try:
                    return super().run(run_id)
                except Exception as error:
                    self._leave(error)
                    moved = self._move()
            return moved.run(self._mine[run_id])
        return _patiently(self.store, super().run, run_id)

    def stamp(self, run: Run) -> Stamp:
        stamp = super().stamp(run)
        staged = self._moved and stamp.run_id in self._mine.values()
        return Stamp(**vars(stamp) | {"staged": self.folder.name}) if staged else stamp

    def artifact(self, run: Run, name: str) -> Path | None:
        if run.info.run_id not in self._mine:
            return _patiently(self.store, super().artifact, run, name)
        if self._moved:
            return self._moved.artifact(self.run(run.info.run_id), name)
        path = self._kept(run.info.run_id, name)
        return path if path.exists() else None

    def names(self, run: Run, folder: str) -> list[str]:
        if run.info.run_id not in self._mine:
            return _patiently(self.store, super().names, run, folder)
        if self._moved:
            return self._moved.names(self.run(run.info.run_id), folder)
        path = self._kept(run.info.run_id, folder)
        return sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []

    # Writing

    def create(self, phase: int, name: str, tags: dict[str, str], now: int | None = None) -> str:
        return self._do("create", phase, name, tags, now=now or milliseconds())

    def params(self, run_id: str, params: dict) -> None:
        self._do("params", run_id, dict(params))

    def tags(self, run_id: str, tags: dict[str, str]) -> None:
        self._do("tags", run_id, dict(tags))

    def metrics(self, run_id: str, rows: Any, now: int | None = None) -> None:
        self._do("metrics", run_id, list(rows), now=now or milliseconds())

    def inputs(self, run_id: str, inputs: list) -> None:
        self._do("inputs", run_id, list(inputs))

    def upload(self, run_id: str, path: Path, folder: str | None = None) -> None:
        if not self.unreachable:
            kept = self._kept(run_id, folder or "", path.name)
            kept.parent.mkdir(parents=True, exist_ok=True)
            path = Path(shutil.copyfile(path, kept))
        self._do("upload", run_id, path, folder)

    def end(self, run_id: str, status: str, now: int | None = None) -> None:
        self._do("end", run_id, status, now=now or milliseconds())

    def close(self) -> None:
        """Say where the run is, or forget what was kept for the case."""
        if self._moved is None:
            if "folder" in vars(self):
                shutil.rmtree(self.folder, ignore_errors=True)
            return
        shutil.rmtree(self._kept(), ignore_errors=True)
        (self.folder / ENDED).touch()
        print(
            f"This run is kept in {self.folder.relative_to(self.store.root)}, because the tracking "
            f"server could not be reached; `make sync` delivers it",
            flush=True,
        )

    # What makes it last

    def _kept(self, *names: str) -> Path:
        return self.folder.joinpath("kept", *names)

    def _do(self, name: str, *args: Any, **named: Any) -> Any:
        """Write to the server and remember it; or to staging, from the first failure on."""
        if not self.unreachable:
            try:
                result = getattr(Tracking, name)(self, *args, **named)
                self._calls.append((name, args, named, result))
                if name == "create":
                    self._mine[result] = result
                return result
            except Exception as error:
                self._leave(error)
        return self._repeat(self._moved or self._move(), name, args, named)

    def _leave(self, error: Exception) -> None:
        """Leave a server that failed; raise what is not its fault."""
        if isinstance(error, MlflowException) and error.error_code in _OUR_FAULT:
            raise error
        self.unreachable = f"the tracking server {self.store.shown} no longer answers ({type(error).__name__})"
        print(f"{self.unreachable}: the run goes on in {self.folder.relative_to(self.store.root)}", flush=True)

    def _move(self) -> Tracking:
        moved = self._moved = Tracking(staged_in(self.store, self.folder.name), self._phases)
        for name, args, named, result in self._calls:
            self._repeat(moved, name, args, named, result)
        self._calls.clear()
        return moved

    def _repeat(self, moved: Tracking, name: str, args: tuple, named: dict, began: str | None = None) -> Any:
        """Do a call in staging. A run that began on the server goes on under its id there."""
        if name == "create":
            phase, title, tags = args
            tags = {key: self._mine.get(value, value) for key, value in tags.items()}
            made = moved.create(phase, title, tags | ({BEGAN_AS: began} if began else {}), **named)
            self._mine[began or made] = made
            return began or made
        run_id, *rest = args
        return getattr(moved, name)(self._mine[run_id], *rest, **named)


def _new_folder(store: Store) -> Path:
    """A folder that is this process's alone."""
    whose = {"store": store.id, "shown": store.shown, "host": socket.gethostname(), "pid": os.getpid()}
    store.staging.mkdir(parents=True, exist_ok=True)
    name = f"{whose['host']}-{whose['pid']}"
    for suffix in ("", *(f"-{count}" for count in range(1, 1000))):
        folder = store.staging / f"{name}{suffix}"
        try:
            folder.mkdir()
        except FileExistsError:  # of an earlier process with this number
            continue
        write_whole(folder / WHOSE, json.dumps(whose, indent=1) + "\n")
        return folder
    raise UserError(f"{store.staging} is full of runs that wait: `make sync` delivers them")
