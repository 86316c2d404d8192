"""How a benchmark begins and what it leaves: a run in MLflow, a section of a document."""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from collections.abc import Iterable
from pathlib import Path

from ired.lab.errors import UserError
from ired.lab.machine import set_threads
from ired.lab.queue import ROOT
from ired.lab.tracking.store import Store


def arguments(name: str, description: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog=f'make {name} ARGS="..."', description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def begin() -> Store:
    """A store that can be written, and torch with the threads that experiments have."""
    store = Store(ROOT)
    store.check()
    set_threads()

    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    return store


def machine() -> dict[str, str | int]:
    import torch

    return {
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": "cpu",
    }


def _processor() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    return names[0] if names else platform.machine()


def log(
    store: Store,
    name: str,
    params: dict,
    metrics: Iterable[tuple[str, float, int]],
    files: dict[str, str | bytes],
) -> str:
    """One run of the MLflow experiment Benchmarks: (metric, value, step), files by name; its id."""
    from ired.lab.tracking.mlflow_client import Tracking

    tracking = Tracking(store, ("Benchmarks",))
    run_id = tracking.start(0, name, {}, params)
    tracking.metrics(run_id, metrics)
    with tempfile.TemporaryDirectory() as folder:
        for file, content in files.items():
            path = Path(folder) / file
            path.write_bytes(content.encode() if isinstance(content, str) else content)
            tracking.upload(run_id, path)
    tracking.end(run_id, "FINISHED")
    return run_id


def filled(text: str, name: str, content: str) -> str:
    """A document with what stands between <!-- name --> and <!-- /name --> replaced."""
    begins, ends = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, found, rest = text.partition(begins)
    _, closed, after = rest.partition(ends)
    if not (found and closed):
        raise UserError(f"the document has no section between {begins} and {ends}")
    return f"{before}{begins}\n\n{content.strip()}\n\n{ends}{after}"
