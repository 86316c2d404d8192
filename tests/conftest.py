"""What all tests share: few threads, no window system, nothing sent anywhere, one order."""

import os

from browser import browser  # noqa: F401, a fixture of several files

# Two workers share the machine (pyproject.toml): one thread each unless somebody says otherwise.
os.environ.setdefault("IRED_THREADS", "1")
os.environ["OMP_NUM_THREADS"] = os.environ["IRED_THREADS"]
os.environ["MPLBACKEND"] = "Agg"
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ.pop("MLFLOW_TRACKING_URI", None)  # a test never writes into somebody's store


def pytest_collection_modifyitems(items):
    """The longest file first, so that two workers end at about the same time."""
    items.sort(key=lambda item: item.path.name != "test_pipeline.py")
