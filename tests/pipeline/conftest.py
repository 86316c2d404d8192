"""Copies of the finished tiny store, to spoil."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """The same once more, to do with it what one likes."""
    return Path(shutil.copytree(finished, tmp_path / "a copy"))


@pytest.fixture
def untrained(copy: Path) -> Path:
    """A copy without the states of trainings: who trains begins anew."""
    shutil.rmtree(copy / "mlruns" / "work")
    return copy
