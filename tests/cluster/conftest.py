"""A real Slurm for the tests of this folder, and small projects to submit."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.slurm import Slurm, Unavailable, install
from cluster.staged_project import quick_stores, rich  # noqa: F401, fixtures
from projects import fresh, inside, mother, project  # noqa: F401, fixtures

HERE = Path(__file__).parent
REAL = ("test_postgres", "test_slurm", "test_submit", "test_whole_experiment", "test_wrappers")
SERVED = ("test_delivery", "test_server", "test_staging")


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents:
            if item.path.stem in REAL:
                item.add_marker(pytest.mark.cluster)
            if item.path.stem in (*REAL, *SERVED):
                item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    """One that runs, with accounting; started once for all tests of a process."""
    # Not in pytest's own folder: the path of a socket may have 107 characters.
    with tempfile.TemporaryDirectory(prefix="slurm-", ignore_cleanup_errors=True) as folder:
        try:
            install()
            with Slurm(Path(folder)) as running:
                yield running
        except Unavailable as why:
            pytest.skip(str(why))
