"""A small project in a temporary folder: the real notebook and Makefile around tiny scripts."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

import forked

ROOT = Path(__file__).resolve().parents[2]
RESOURCES = {"gpu": False, "memory_gb": 16}
ALL = ["profile", "seed", "variant"]
PIPELINE = {
    "variants": ["none", "random"],
    "phases": ["Setup", "First things", "Second things"],
    "milestones": [{"phases": [1], "meaning": "first things known"}],
    "experiments": [
        {
            "id": "SETUP-1",
            "phase": 0,
            "title": "Prepare",
            "script": "scripts/00_prepare.py",
            "hours": 0.25,
            "resources": RESOURCES,
            "varies": [],
            "needs": [],
        },
        {
            "id": "SETUP-2",
            "phase": 0,
            "title": "Train",
            "script": "scripts/01_train.py",
            "hours": 2,
            "resources": RESOURCES,
            "varies": ALL,
            "needs": ["SETUP-1"],
        },
        {
            "id": "P1-01",
            "phase": 1,
            "title": "Look",
            "script": "scripts/11_look.py",
            "hours": 1,
            "resources": RESOURCES,
            "varies": ALL,
            "needs": ["SETUP-2"],
        },
        {
            "id": "P1-02",
            "phase": 1,
            "title": "Look again",
            "script": "scripts/12_again.py",
            "hours": 1,
            "resources": RESOURCES,
            "varies": ALL,
            "needs": ["SETUP-2"],
        },
        {
            "id": "P2-01",
            "phase": 2,
            "title": "Not there",
            "script": "scripts/21_missing.py",
            "hours": 1,
            "resources": RESOURCES,
            "varies": ALL,
            "needs": ["P1-01"],
        },
    ],
}
SCRIPTS = {
    "00_prepare": '''
"""Prepares."""
from ired.lab.command import command


@command("SETUP-1")
def main(run):
    run.headline("prepared", 1)


if __name__ == "__main__":
    main()
''',
    "01_train": '''
"""Does as it is told."""
from ired.lab.arguments import Param
from ired.lab.command import command


@command("SETUP-2", behave=Param("well", choices=("well", "nan", "raise", "forget", "sleep",
                                                  "full", "undeclared")),
         criteria={"good": "x is above zero"})
def main(run):
    import time

    behave = run.params.behave
    if behave == "nan":
        run.metrics({"loss": float("nan")}, step=7)
    if behave == "raise":
        raise ValueError("as asked")
    if behave == "full":
        raise OSError(28, "No space left on device")
    if behave == "undeclared":
        run.criterion("unheard_of", True)
    if behave == "forget":
        return
    from ired.science import value
    if behave == "sleep":
        print("asleep", flush=True)
        time.sleep(60)
    run.criterion("good", True, x=value())
    run.json("answer", {"value": value(), "seed": run.seed})
    run.headline("value", value() + run.seed, 1, 99)


if __name__ == "__main__":
    main()
''',
    "11_look": '''
"""Looks at what was trained."""
from ired.lab.arguments import Param
from ired.lab.command import command


@command("P1-01", points=Param(100, tiny=8, help="how many"))
def main(run):
    answer = run.upstream("SETUP-2").json("answer")
    run.headline("seen", answer["value"] + run.params.points)


if __name__ == "__main__":
    main()
''',
    "12_again": '''
"""Looks again."""
from ired.lab.command import command


@command("P1-02")
def main(run):
    run.headline("seen again", run.upstream("SETUP-2").metrics["headline"])


if __name__ == "__main__":
    main()
''',
}
SCIENCE = '''
"""What the scripts use."""


def value():
    from ired.constants import FOUR
    return FOUR
'''


class Project:
    """A folder with a notebook, and what tests do with it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        # Whoever runs the tests with make has nothing to say to the make of this project.
        makes = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES")
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_") and k not in makes}
        self.env |= {"PYTHONPATH": ".", "IRED_THREADS": "1"}

    def command(self, script: str, *words: str) -> list[str]:
        return [sys.executable, f"scripts/{script}.py", "--profile", "tiny", *words]

    def start(self, script: str, *words: str, **env: str) -> subprocess.Popen:
        return subprocess.Popen(
            self.command(script, *words),
            cwd=self.root,
            text=True,
            env=self.env | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, script: str, *words: str, **env: str) -> subprocess.CompletedProcess:
        return self._wait(self.command(script, *words), env)

    def run_forked(self, script: str, *words: str, **env: str) -> subprocess.CompletedProcess:
        """The same where the libraries are imported already: a quarter of the time for who needs them."""
        _, path, *words = self.command(script, *words)
        with tempfile.TemporaryDirectory() as streams:
            return forked.run(self.root, path, words, self.env | env, f"{streams}/of", limit=120)

    def make(self, *words: str, **env: str) -> subprocess.CompletedProcess:
        return self._wait(["make", f"PYTHON={sys.executable}", *words], env)

    def _wait(self, words: list[str], env: dict) -> subprocess.CompletedProcess:
        return subprocess.run(words, cwd=self.root, env=self.env | env, text=True, capture_output=True, timeout=120)

    def sql(self, query: str, *values: object) -> list[tuple]:
        with closing(sqlite3.connect(self.root / "mlruns" / "mlflow.db")) as db, db:
            return db.execute(query, values).fetchall()

    def runs(self, exp_id: str) -> list[str]:
        """How the runs of an experiment ended, in the order in which they started."""
        return [
            row[0]
            for row in self.sql(
                "SELECT status FROM runs JOIN tags USING (run_uuid)"
                " WHERE key = 'exp_id' AND value = ? ORDER BY start_time",
                exp_id,
            )
        ]

    def delete(self, exp_id: str) -> None:
        """Delete the runs of an experiment, as the UI does."""
        self.sql(
            "UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid IN"
            " (SELECT run_uuid FROM tags WHERE key = 'exp_id' AND value = ?)",
            exp_id,
        )

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.root / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def copy(self, root: Path) -> Project:
        shutil.copytree(self.root, root, symlinks=True)
        return Project(root)


def build(root: Path) -> Project:
    (root / "scripts").mkdir(parents=True)
    for name, text in SCRIPTS.items():
        (root / "scripts" / f"{name}.py").write_text(text.lstrip())
    for room in ("lab", "cluster"):
        shutil.copytree(ROOT / "ired" / room, root / "ired" / room, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "ired" / "__init__.py").touch()
    (root / "ired" / "science.py").write_text(SCIENCE.lstrip())
    (root / "ired" / "constants.py").write_text("FOUR = 4\n")
    (root / "pipeline.json").write_text(json.dumps(PIPELINE))
    shutil.copy(ROOT / "Makefile", root)
    shutil.copytree(ROOT / "sbatch", root / "sbatch")
    (root / "requirements.txt").write_text("pytest==" + pytest.__version__ + "\n")
    # An environment that is ready: this python, under the name and with the mark make expects.
    python = root / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    pins = subprocess.run(
        ["cksum"], stdin=open(root / "requirements.txt"), text=True, capture_output=True, check=True
    ).stdout.split()[0]
    (root / ".venv" / f".ired-{pins}").touch()
    return Project(root)


def one_line(done: subprocess.CompletedProcess, *words: str) -> None:
    """The mistake was told in one line on stderr, with status 2 and these words."""
    assert done.returncode == 2, done.stdout + done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and "error: " in lines[0], done.stderr
    for word in words:
        assert word in lines[0]
