"""make bench: one table of ratios, printed and logged to MLflow.

Every row times two things in turn in this one process (the lab's rows: as processes), at least five
pairs; the ratio is theirs over ours, with the lowest and the highest pair. Rows without a second
thing are times to be held against a limit.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from dataclasses import asdict

from ired.lab.command import set_threads
from ired.lab.errors import Mistake, one_line
from ired.lab.queue import ROOT
from ired.lab.store import Store


def main() -> None:
    parser = argparse.ArgumentParser(
        prog='make bench ARGS="..."', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--official", metavar="PATH", help="a checkout of the official IRED "
                        "release; without it rows compare with plain autograd, and say so")
    parser.add_argument("--pairs", type=int, default=5, help="pairs of every row (default: 5)")
    parser.add_argument("--only", default="", metavar="TEXT", help="rows whose name holds TEXT")
    parser.add_argument("--no-bfloat16", action="store_true", help="leave out the bfloat16 rows")
    options = parser.parse_args()
    if options.pairs < 5:
        raise Mistake("--pairs: a spread over fewer than 5 pairs says nothing")
    store = Store(ROOT)
    store.check()
    set_threads()

    import torch

    from benchmarks import core, lab, official, plain
    from benchmarks.harness import cells, measure, table

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    peer = official.use(options.official) if options.official else plain.Plain
    rows = core.rows(peer, not options.no_bfloat16) + lab.rows()
    rows = [row for row in rows if options.only in row.name]
    if not rows:
        raise Mistake(f"--only: no row's name holds '{options.only}'")
    timings = []
    for row in rows:
        timings.append(measure(row, options.pairs))
        print("  ".join(cells(timings[-1])), flush=True)
    machine = {
        "processor": _processor(), "threads": torch.get_num_threads(), "torch": torch.__version__,
        "python": platform.python_version(), "peer": peer.name, "pairs": options.pairs,
        "device": "cpu",
    }  # fmt: skip
    text = f"{table(timings)}\n\n{', '.join(f'{k} {v}' for k, v in machine.items())}\n"
    print(f"\n{text}")
    print(f"logged as run {_log(store, timings, machine, text)} of experiment Benchmarks")


def _processor() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _log(store: Store, timings: list, machine: dict, text: str) -> str:
    """One run of the MLflow experiment Benchmarks: a metric for every number, the table beside."""
    import tempfile
    from pathlib import Path

    from ired.lab.tracking import Tracking

    tracking = Tracking(store, ("Benchmarks",))
    run_id = tracking.start(0, f"bench against {machine['peer']}", {}, machine)
    metrics = []
    for timing in timings:
        name = "".join(c if c.isalnum() else "_" for c in f"{timing.name} vs {timing.peer}")
        for what in ("ours", "theirs", "ratio", "low", "high"):
            if (value := getattr(timing, what)) is not None:
                metrics.append((f"{name}.{what}", value, 0))
    tracking.metrics(run_id, metrics)
    with tempfile.TemporaryDirectory() as folder:
        for name, content in (
            ("table.md", text), ("timings.json", json.dumps([asdict(t) for t in timings], indent=1))
        ):  # fmt: skip
            path = Path(folder) / name
            path.write_text(content)
            tracking.upload(run_id, path)
    tracking.end(run_id, "FINISHED")
    return run_id


if __name__ == "__main__":
    try:
        main()
    except Exception as error:
        message = one_line(error)
        if message is None:
            raise
        print(f"error: {message}", file=sys.stderr)
        sys.exit(2)
