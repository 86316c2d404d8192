"""The finished tiny store, and copies of it to spoil."""

import shutil
from pathlib import Path

import pytest

import tiny_store


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project after every script has run once, for reading: other workers read it too."""
    return tiny_store.finished(tiny_store.shared(tmp_path_factory))


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """The same once more, to do with it what one likes."""
    return Path(shutil.copytree(finished, tmp_path / "a copy"))


@pytest.fixture
def untrained(copy: Path) -> Path:
    """A copy without the states of trainings: who trains begins anew."""
    shutil.rmtree(copy / "mlruns" / "work")
    return copy
