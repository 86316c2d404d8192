"""What all tests share: few threads, no window system, nothing sent anywhere, one store, one order."""

import os
import warnings
from pathlib import Path

import pytest

import tiny_store
from browser import browser  # noqa: F401, a fixture of several files

# Two workers share the machine (pyproject.toml): one thread each unless somebody says otherwise.
os.environ.setdefault("IRED_THREADS", "1")
os.environ["OMP_NUM_THREADS"] = os.environ["IRED_THREADS"]
os.environ["MPLBACKEND"] = "Agg"
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ.pop("MLFLOW_TRACKING_URI", None)  # a test never writes into somebody's store


def needs_store(item):
    """Whether a test reads the tiny store."""
    return "finished" in item.fixturenames


def needs_slurm(item):
    return "slurm" in item.fixturenames


def pytest_collection_modifyitems(items):
    """What waits for Slurm comes first, beside the making of the tiny store; what needs the store comes when it is
    there, after other slow tests and those of instruments; the quick rest keeps both workers busy to the end."""
    for item in items:
        if needs_store(item) or "browser" in item.fixturenames:
            item.add_marker(pytest.mark.slow)
    items.sort(key=_turn)


def _turn(item):
    if needs_slurm(item) != needs_store(item):
        return 0 if needs_slurm(item) else 2
    return 1 if item.get_closest_marker("slow") or "instruments" in item.path.parts else 3


@pytest.fixture(scope="session", autouse=True)
def _tiny_store(request, tmp_path_factory):
    """Begun before the first test, if any of them needs it."""
    if any(map(needs_store, request.session.items)):
        tiny_store.begin(tiny_store.shared(tmp_path_factory))


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project after every script has run once, for reading: other workers read it too."""
    return tiny_store.finished(tiny_store.shared(tmp_path_factory))


@pytest.fixture
def no_warnings():
    """What warns while a test runs fails it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ResourceWarning)  # of what other tests left behind, collected now
        yield
