"""Rows for what surrounds an experiment: its command, and make with nothing to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.harness import Row
from ired.lab.queue import ROOT

# An experiment whose work is nothing: what is left is imports, keys, the store and the run.
_EMPTY = '''from ired.lab.command import command


@command("SETUP-1")
def main(run):
    run.headline("nothing", 0.0)


main()
'''


def rows() -> list[Row]:
    return [
        Row("an experiment around its work", "import mlflow", _experiment, _import_mlflow, "< 3 s"),
        Row("make phase1, nothing to do", "", _warm_make, None, "< 2 s"),
    ]


def _project() -> Path:
    """A copy of the project without results, removed when this process ends."""
    folder = tempfile.TemporaryDirectory(prefix="ired-bench-")
    _kept.append(folder)
    root = Path(folder.name)
    for name in ("ired", "scripts"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pipeline.json", "requirements.txt", "Makefile"):
        shutil.copy(ROOT / name, root)
    return root


_kept: list[tempfile.TemporaryDirectory] = []


def _quietly(*words: str, cwd: Path = ROOT) -> None:
    ended = subprocess.run(
        words, cwd=cwd, env={**_environment(), "PYTHONPATH": str(cwd)}, capture_output=True, text=True
    )
    if ended.returncode:
        raise RuntimeError(f"{' '.join(words)}: {ended.stderr[-2000:]}")


def _environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "MAKE"))}


def _experiment():
    root = _project()
    (root / "scripts" / "00_setup.py").write_text(_EMPTY)
    return lambda: _quietly(sys.executable, "scripts/00_setup.py", "--force", cwd=root)


def _import_mlflow():
    return lambda: _quietly(sys.executable, "-c", "import mlflow")


def _warm_make():
    """In a copy, at the tiny profile: what is fresh is found the same way at every size."""
    root = _project()
    words = ("make", "phase1", "PROFILE=tiny", f"VENV={Path(sys.prefix)}")
    _quietly(*words, cwd=root)
    return lambda: _quietly(*words, cwd=root)
