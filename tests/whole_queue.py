"""Every script of the queue, run as a user runs them, in a copy of the project."""

import os
import shutil
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path

import forked
from ired.lab import queue

ROOT = Path(__file__).resolve().parents[1]
QUEUE = queue.load()
BUILT = [exp for exp in QUEUE.experiments if (ROOT / exp.script).exists()]


def copied(folder, *more):
    """The project without results, made in `folder`; `more` names further files and folders of it."""
    folder.mkdir(parents=True)
    for name in ("ired", "scripts", "pipeline.json", "requirements.txt", *more):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder)
    return folder


def environment(folder):
    ours = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    return ours | {"PYTHONPATH": str(folder), "IRED_THREADS": "1"}


def run(folder, profile, captured, limit=300):
    """Run all scripts at a profile once, two at a time where needs allow it, each for `limit` seconds at most.

    Raises AssertionError with the ends of all that failed; what needs them is left out.
    """
    everything = [(exp, queue.RunCoordinates(profile=profile)) for exp in QUEUE.experiments]
    # Some need models of other seeds and variants.
    waiting = list(dict.fromkeys(job for exp, at in everything for job in QUEUE.upstream(exp, at)))
    done, running, failures = set(), {}, []

    def start(exp, at):
        words = [word for name in exp.varies for word in (f"--{name}", str(getattr(at, name)))]
        streams = captured / f"{exp.id}-{at.seed}-{at.variant}"
        return forked.run(folder, exp.script, words, environment(folder), streams, limit)

    with ThreadPoolExecutor(2) as pool:
        while True:
            for job in [job for job in waiting if set(QUEUE.needed(*job)) <= done]:
                running[pool.submit(start, *job)] = job
                waiting.remove(job)
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                (exp, at), ended = running.pop(future), future.result()
                text = f"{exp.name(at)}:\n{ended.stdout[-2000:]}\n{ended.stderr[-4000:]}"
                if ended.returncode or "up to date" in ended.stdout or "Warning" in ended.stderr:
                    failures.append(text)
                else:
                    done.add((exp, at))
    assert not failures, "\n\n".join(failures)
