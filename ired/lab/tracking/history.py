"""Runs as the store has them, of whatever code, and what follows from them for the state of an experiment."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from ired.lab.content_keys import Keys
from ired.lab.queue import Experiment, RunCoordinates
from ired.lab.tracking.opening import open_tracking
from ired.lab.tracking.store import Stamp, Store, is_alive


@dataclass(frozen=True)
class Recorded:
    """One run as the store has it, whatever its key."""

    run_id: str
    status: str
    started: int  # milliseconds
    ended: int | None
    tags: dict[str, str]
    memory_gib: float = 0.0

    @property
    def state(self) -> str:
        """'done', 'failed', 'killed' or 'running'; one whose process is gone was killed."""
        if self.status == "RUNNING":
            here = self.tags.get("host") == socket.gethostname()
            return "killed" if here and not is_alive(int(self.tags.get("pid", 0))) else "running"
        return {"FINISHED": "done", "KILLED": "killed"}.get(self.status, "failed")

    def stamp(self) -> Stamp:
        seconds = (self.ended - self.started) / 1000 if self.ended else 0.0
        return Stamp(self.run_id, self.tags.get("headline", ""), seconds=seconds, memory_gib=self.memory_gib)


@dataclass(frozen=True)
class QueueRow:
    exp: Experiment
    state: str
    stamp: Stamp | None
    note: str = ""  # what Slurm knows about it
    last: Stamp | None = None  # of the last run that finished, of whatever code


def recorded(store: Store, keys: Keys) -> dict[tuple, list[Recorded]]:
    """All runs that are not deleted, newest first, by experiment and coordinates.

    The embedded store is read directly, which takes milliseconds and needs no environment.
    """
    if store.database is None:
        tracking = open_tracking(store, keys)
        runs = [
            Recorded(
                run_id=r.info.run_id,
                status=r.info.status,
                started=r.info.start_time,
                ended=r.info.end_time,
                tags=r.data.tags,
                memory_gib=r.data.metrics.get("peak_memory_gib", 0.0),
            )
            for r in tracking.search("tags.exp_id LIKE '%'")
        ]
    else:
        tags: dict[str, dict[str, str]] = {}
        for run_id, name, value in store.query("SELECT run_uuid, key, value FROM tags"):
            tags.setdefault(run_id, {})[name] = value
        memory = dict(store.query("SELECT run_uuid, value FROM latest_metrics WHERE key = 'peak_memory_gib'"))
        runs = [
            Recorded(
                run_id=run_id,
                status=status,
                started=started,
                ended=ended,
                tags=tags.get(run_id, {}),
                memory_gib=memory.get(run_id, 0.0),
            )
            for run_id, status, started, ended in store.query(
                "SELECT run_uuid, status, start_time, end_time FROM runs"
                " WHERE lifecycle_stage = 'active' ORDER BY start_time DESC"
            )
        ]
    runs_of: dict[tuple, list[Recorded]] = {}
    for run in runs:
        where = tuple(run.tags.get(name) for name in ("exp_id", "profile", "seed", "variant"))
        runs_of.setdefault(where, []).append(run)
    return runs_of


def row(exp: Experiment, at: RunCoordinates, keys: Keys, store: Store, runs: dict) -> QueueRow:
    """The state of one experiment at some coordinates."""
    at = exp.at(at)
    if keys.missing(exp, at):
        return QueueRow(exp, "not built", None)
    key = keys.key(exp, at)
    mine = runs.get((exp.id, at.profile, str(at.seed), at.variant), [])
    fresh = next((run for run in mine if run.state == "done" and run.tags.get("key") == key), None)
    # One that began before another finished was killed on a machine of which we cannot ask that.
    running = next(
        (run for run in mine if run.state == "running" and not (fresh and fresh.started > run.started)), None
    )
    last = next((run.stamp() for run in mine if run.state == "done"), None)
    if running:
        return QueueRow(exp, "running", Stamp(running.run_id), last=last)
    if stamp := store.stamp(exp, at, key) or (fresh.stamp() if fresh else None):
        return QueueRow(exp, "done", stamp, last=stamp)
    if mine:
        state = "stale" if mine[0].state == "done" else mine[0].state
        return QueueRow(exp, state, mine[0].stamp(), last=last)
    return QueueRow(exp, "pending", None)
