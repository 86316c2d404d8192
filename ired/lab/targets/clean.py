"""Removes what can be made again in moments: caches, generated rules, finished work folders.

Results (the store, its artifacts, stamps) and work that an unfinished run will resume stay.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from ired.lab.queue import ROOT
from ired.lab.tracking.store import WORK_DONE


def clean(root: Path = ROOT) -> list[Path]:
    """Remove, and return what was removed."""
    ours = [root / "ired", root / "scripts", root / "tests", root / "benchmarks"]
    caches = [cache for folder in ours for cache in folder.rglob("__pycache__")]
    work = root / "mlruns" / "work"
    done = [mark.parent for mark in work.glob(f"*/{WORK_DONE}")]
    gone = [*caches, root / "mlruns" / "rules", *done]
    gone += [root / f".{name}_cache" for name in ("pytest", "mypy", "ruff")]
    gone = [path for path in gone if path.exists()]
    for path in gone:
        shutil.rmtree(path)
    return gone


if __name__ == "__main__":
    print(f"Removed {len(clean())} folders of caches, rules and finished work. Results stay.")
