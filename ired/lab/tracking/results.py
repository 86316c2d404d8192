"""Finished runs of this checkout's code, found by experiment: what is fresh, what is not there and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ired.lab.content_keys import Keys
from ired.lab.queue import Experiment, RunCoordinates
from ired.lab.tracking.history import recorded, row
from ired.lab.tracking.result import Result

if TYPE_CHECKING:
    from ired.lab.tracking.mlflow_client import Tracking

UI = "http://127.0.0.1:5000"  # where `make ui` serves


class Shelf:
    """What is in a store, as far as it is the result of the present code."""

    def __init__(self, tracking: Tracking, keys: Keys) -> None:
        self.tracking, self.keys, self.queue = tracking, keys, keys.queue
        self._runs: dict | None = None

    def find(self, exp: Experiment, at: RunCoordinates) -> Result | None:
        """The newest finished run of an experiment with its present key, if there is one."""
        at, store = exp.at(at), self.tracking.store
        if self.keys.missing(exp, at):
            return None
        key = self.keys.key(exp, at)
        stamp = store.stamp(exp, at, key)
        run = None if stamp else self.tracking.finished(key)
        if run:
            stamp = self.tracking.stamp(run)
            store.write_stamp(exp, at, key, stamp)
        if stamp and stamp.staged:
            self.tracking.expect_staged(stamp)
        return Result(self.tracking, stamp.run_id, exp.name(at), exp.target(at)) if stamp else None

    def state(self, exp: Experiment, at: RunCoordinates) -> str:
        """Why there is no fresh run: 'pending', 'stale', 'failed' … (`ired.lab.tracking.history`)."""
        if self._runs is None:
            self._runs = recorded(self.tracking.store, self.keys)
        return row(exp, at, self.keys, self.tracking.store, self._runs).state

    def seeds(self, exp: Experiment, at: RunCoordinates) -> list[int]:
        """Seeds at which an experiment has been run under this profile and variant, fresh or not."""
        if self._runs is None:
            self._runs = recorded(self.tracking.store, self.keys)
        return sorted(
            {
                int(seed)
                for exp_id, profile, seed, variant in self._runs
                if exp_id == exp.id and (profile, variant) == (at.profile, at.variant)
            }
        )

    def link(self, result: Result) -> str:
        """The address of a run in the MLflow UI."""
        uri = self.tracking.store.uri
        base = uri.rstrip("/") if uri.startswith("http") else UI
        return f"{base}/#/experiments/{result.experiment}/runs/{result.run_id}"
