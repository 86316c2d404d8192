"""A real browser, for pages. Debian's Chromium where there is none and it can be had."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
MINUTES = 5


def _found():
    return next(filter(None, map(shutil.which, NAMES)), None)


def _install():
    """Once, however many workers ask; what goes wrong is for the caller to see: no browser."""
    quiet = {
        "env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        "timeout": 60 * MINUTES,
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
    }
    with (Path(tempfile.gettempdir()) / "ired-chromium.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _found():
            return
        for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", "chromium"]):
            try:
                subprocess.run(["apt-get", *command], check=False, **quiet)
            except (OSError, subprocess.TimeoutExpired):
                return


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium; without one the test is skipped and says why."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    root = os.geteuid() == 0
    if not _found() and root and shutil.which("apt-get"):
        _install()
    place = _found()
    if not place:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed, and none could be")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=place, args=["--no-sandbox"] if root else [])
        yield running
        running.close()
