"""Delivers the runs that wait in mlruns/staging to the store, each once.

Whatever was delivered before this was killed is found again there, so it can be called again at any
time; two calls at once follow one another.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ired.lab.content_keys import Keys
from ired.lab.errors import UserError, in_one_line
from ired.lab.queue import RunCoordinates
from ired.lab.tracking.opening import open_tracking
from ired.lab.tracking.store import ENDED, WHOSE, Store, is_alive

if TYPE_CHECKING:
    from ired.lab.tracking.mlflow_client import Tracking

SILENT_SECONDS = 24 * 3600  # after which a run on another machine that writes nothing counts as killed


def sync(store: Store, keys: Keys) -> list[str]:
    """Deliver what can be delivered; what was done and what was not, in lines."""
    if not store.staging.is_dir():
        return ["Nothing waits in staging."]
    # The folder of staging is this project's own, whatever store it delivers to.
    with store.lock("sync", "another make sync is at work: waiting for it to end", store.folder):
        ready, lines = _sorted_out(store)
        if ready:
            store.check()
            tracking = open_tracking(store, keys)
            for folder in ready:
                lines += _deliver(folder, tracking, keys)
    return lines or ["Nothing waits in staging."]


def _sorted_out(store: Store) -> tuple[list[Path], list[str]]:
    """Folders that are ready to be delivered to this store, in the order in which their runs ended,
    and what is to be said about the others."""
    ready, lines = {}, []
    for folder in sorted(store.staging.glob("[!.]*/")):
        name = folder.relative_to(store.root)
        try:
            whose = json.loads((folder / WHOSE).read_text())
        except FileNotFoundError:
            continue  # being made, or removed
        ended, kept = folder / ENDED, folder / "mlflow.db"
        process = f"process {whose['pid']} on {whose['host']}"
        elsewhere = whose["host"] != socket.gethostname()
        # A process of this machine that is gone will not say that it has ended.
        over = ended.exists() or (not elsewhere and not is_alive(whose["pid"]))
        if not over and elsewhere and kept.exists():
            # Of another machine we cannot ask that: what its run says of itself is all we have.
            running, silence = _is_running(store, kept), time.time() - kept.stat().st_mtime
            over = not running or silence > SILENT_SECONDS
            if over and running:
                lines.append(f"{name}: {process} has logged nothing for a day, so its run was killed")
        if not over:
            if kept.exists():
                lines.append(
                    f"{name}: {process} has not ended its run: wait for that or, if it is "
                    f"gone, `touch '{name}/{ENDED}'` and `make sync` again"
                )
        elif not kept.exists():
            shutil.rmtree(folder)  # its server was there to the end
        elif store.database and whose["store"] != store.id:
            lines.append(f"{name} waits for {whose['shown']}: start that server, or name it in MLFLOW_TRACKING_URI")
        else:
            ready[folder] = ended.stat().st_mtime if ended.exists() else float("inf")
    return sorted(ready, key=lambda folder: ready[folder]), lines


def _is_running(store: Store, kept: Path) -> bool:
    """Whether the run in a folder of staging (not those nested under it) has not ended."""
    try:
        states = Store(store.root, f"sqlite:///{kept}").query(
            "SELECT status FROM runs WHERE run_uuid NOT IN (SELECT run_uuid FROM tags WHERE key = 'mlflow.parentRunId')"
        )
    except UserError:  # somebody writes in it
        return True
    return not states or ("RUNNING",) in states


def _deliver(folder: Path, tracking: Tracking, keys: Keys) -> list[str]:
    from ired.lab.tracking.mlflow_client import MLFLOW_PARENT_RUN_ID, Tracking, staged_in

    store = tracking.store
    ids: dict[str, str] = {}
    lines: list[str] = []
    place = Tracking(staged_in(store, folder.name), keys.queue.phases)
    # Whoever is built on another is delivered after it.
    runs = sorted(place.search(""), key=lambda run: (MLFLOW_PARENT_RUN_ID in run.data.tags, run.info.start_time))
    for run in runs:
        here = ids[run.info.run_id] = tracking.receive(place, run.info.run_id, ids)
        tags = run.data.tags
        if MLFLOW_PARENT_RUN_ID in tags:
            continue
        words = [tags.get(name, "") for name in ("exp_id", "profile", "seed", "variant", "key")]
        exp_id, profile, seed, variant, key = words
        tracking.point_to(f"upstream.{exp_id}.s{seed}.{variant}", run.info.run_id, here)
        there = tracking.run(here)
        if key and there.info.status == "FINISHED" and exp_id in {exp.id for exp in keys.queue.experiments}:
            store.write_stamp(
                keys.queue[exp_id], RunCoordinates(profile, int(seed), variant), key, tracking.stamp(there)
            )
        lines.append(f"{run.info.run_name}: delivered as run {here} ({there.info.status.lower()})")
    # In one step, so that nobody reads half of it.
    gone = folder.with_name(f".{folder.name}")
    os.replace(folder, gone)
    shutil.rmtree(gone)
    return lines


def main() -> None:
    store = Store()
    lines = sync(store, Keys())
    print("\n".join(lines))
    if any(": delivered as " in line for line in lines):
        print(f"They are in {store.shown}.")


if __name__ == "__main__":
    with in_one_line():
        if sys.argv[1:]:
            raise UserError("make sync takes no arguments")
        main()
