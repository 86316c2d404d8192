"""Makes the virtual environment that everything runs in: python -m ired.lab.targets.environment .venv

Called by make when the environment has no mark for the present requirements. Safe against being
killed at any moment and against two calls at once.
"""

from __future__ import annotations

import sys

if sys.version_info < (3, 11):  # before anything that older versions cannot read
    print(
        "error: python 3.11 or newer is needed, and this one is %d.%d: make PYTHON=python3.11" % sys.version_info[:2],
        file=sys.stderr,
    )
    sys.exit(2)

import argparse
import os
import re
import shutil
import subprocess
import time
from hashlib import blake2b
from pathlib import Path

from ired.lab.errors import UserError, in_one_line
from ired.lab.queue import ROOT
from ired.lab.tracking.store import FREE_BYTES_NEEDED, Store

UNFINISHED = ".ired-unfinished"


def make(folder: Path, mark: Path, torch_index: str, root: Path = ROOT) -> None:
    """Make or complete the environment in `folder`, then leave `mark` in it.

    An environment that is there already and was not left half-made by us is somebody's own: what is
    missing is installed into it and nothing is removed. A folder with anything else in it is refused.
    """
    started = time.monotonic()
    name = blake2b(str(folder.resolve()).encode(), digest_size=4).hexdigest()
    with Store(root).lock(f"environment-{name}", "waiting for another make to finish installing", root / "mlruns"):
        if mark.exists():
            return
        python = folder / "bin" / "python"
        if (folder / UNFINISHED).exists():
            shutil.rmtree(folder)
        new = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
        if not (new or python.exists() or (folder / "pyvenv.cfg").exists()):
            raise UserError(
                f"{folder} is there already and is no environment of Python: nothing was "
                "written into it; give VENV a path that is still free"
            )
        print(f"Installing requirements.txt into {folder}: some minutes the first time", flush=True)
        if not python.exists():
            folder.mkdir(parents=True, exist_ok=True)
            if new:  # what carries this mark is removed when we come back
                (folder / UNFINISHED).touch()
            _quietly([sys.executable, "-m", "venv", str(folder)])
        # From here on it is what no earlier requirements asked for, even if this is interrupted.
        for old in folder.glob(".ired-*"):
            if old.name != UNFINISHED:
                old.unlink()
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        lock = root / "requirements.lock"
        constraints = ["-c", str(lock)] if lock.exists() else []
        requirements = root / "requirements.txt"
        torch = re.search(r"^torch==\S+", requirements.read_text(), re.MULTILINE)
        if torch_index and torch:
            _quietly([*pip, "--index-url", torch_index, torch[0]])
        _quietly([*pip, "-r", str(requirements), *constraints])
        _let_find_the_project(python, root)
        mark.touch()
        (folder / UNFINISHED).unlink(missing_ok=True)
    print(f"Installed in {time.monotonic() - started:.0f} s")


def _let_find_the_project(python: Path, root: Path) -> None:
    """Scripts are run by hand too: let this environment import `ired` from this project.

    The path is relative, so that it still holds after the project with its .venv was moved. An editable
    install (`pip install -e .` works too) writes an absolute one, and needs a setuptools that a new
    environment may lack. In front of either stands PYTHONPATH=., with which make runs this project's code in
    whatever environment.
    """
    where = _quietly([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"])
    packages = Path(where.strip())
    (packages / "ired.pth").write_text(os.path.relpath(root, packages.resolve()) + "\n")


def _quietly(words: list[str]) -> str:
    """Run a command; show what it said only if it failed."""
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        print(done.stdout.rstrip(), file=sys.stderr)
        raise UserError(
            f"`{' '.join(words[1:5])} ...` failed as shown above: mend that (network, "
            "disk, PIP_INDEX_URL, TORCH_INDEX), then run the same make command again"
        )
    return done.stdout


def lock(python: Path, root: Path = ROOT) -> None:
    """Write requirements.lock from what is installed."""
    frozen = _quietly([str(python), "-m", "pip", "freeze", "--exclude-editable"])
    # '+cpu' or '+cu130' names a build, and the lock must fit all of them.
    lines = [re.sub(r"\+\w+$", "", line) for line in frozen.splitlines() if "==" in line]
    (root / "requirements.lock").write_text(
        "\n".join(["# Everything that requirements.txt brings along, as constraints. Made by: make lock", *lines])
        + "\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the environment, or write the lock file.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--mark", type=Path)
    parser.add_argument("--torch-index", default="")
    parser.add_argument("--lock", action="store_true")
    options = parser.parse_args()
    with in_one_line():
        free = shutil.disk_usage(ROOT).free
        if free < FREE_BYTES_NEEDED:
            raise UserError(f"the disk is full ({free / 2**20:.0f} MB left): free some space")
        if options.lock:
            lock(options.folder / "bin" / "python")
        else:
            make(options.folder, options.mark, options.torch_index)


if __name__ == "__main__":
    main()
