"""What is wrong with this machine, one line each, with what to do about it.

Needs nothing but the standard library, so that it works where the environment does not.
"""

from __future__ import annotations

import sys

if sys.version_info < (3, 11):  # before anything that older versions cannot read
    print("fail  python 3.11 or newer is needed, and this one is %d.%d: make PYTHON=python3.11" % sys.version_info[:2])
    sys.exit(1)

import argparse
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

from ired.lab.content_keys import Keys
from ired.lab.errors import UserError
from ired.lab.lines import wrapped
from ired.lab.queue import ROOT
from ired.lab.tracking.store import Store

GIGABYTE = 2**30
Finding = tuple[str, str]  # ok, warn or fail, and a sentence


def machine() -> Iterator[Finding]:
    yield "ok", f"python {sys.version.split()[0]} ({sys.executable})"
    threads = os.environ.get("IRED_THREADS", "all")
    yield "ok", f"{os.cpu_count()} processors; experiments use {threads} (IRED_THREADS)"
    free = shutil.disk_usage(ROOT).free / GIGABYTE
    if free < 0.5:
        yield "fail", f"disk: {free:.1f} GB free: free some space, or move the project"
    elif free < 5:
        yield "warn", f"disk: {free:.1f} GB free; the environment takes 2 to 6 GB, a phase up to 1"
    else:
        yield "ok", f"disk: {free:.0f} GB free"
    if not shutil.which("git"):
        yield "warn", "git is not installed: runs will not carry the commit they were made from"


def environment(venv: Path, mark: Path) -> Iterator[Finding]:
    python = venv / "bin" / "python"
    if not python.exists():
        yield "warn", f"environment: {venv} is not there yet: make setup"
        return
    answer = _ask(python, "import sysconfig; print(sysconfig.get_path('purelib'))")
    if answer is None:
        yield "fail", f"environment: {python} does not run: rm -r {venv}, then make setup"
        return
    if not mark.exists():
        yield "warn", "environment: requirements have changed since it was made: make setup"
    installed = {_plain(d.name): d.version for d in distributions(path=[answer])}
    pins = re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / "requirements.txt").read_text(), re.M)
    wrong = [(name, pin, installed.get(_plain(name))) for name, pin in pins]
    wrong = [(n, pin, got) for n, pin, got in wrong if (got or "").partition("+")[0] != pin]
    for name, pin, got in wrong:
        yield "fail", f"package {name}: {got or 'missing'}, and {pin} is pinned: rm -f {venv}/.ired-*, then make setup"
    if not wrong:
        yield "ok", f"packages: all {len(pins)} pins of requirements.txt are met in {venv}"
    yield from _gpu(python)


def _gpu(python: Path) -> Iterator[Finding]:
    """A GPU that is there and cannot be used is worth a line; no GPU is nothing wrong."""
    has_driver = any(map(os.path.exists, ("/dev/nvidiactl", "/dev/dxg")))
    if not has_driver:
        yield "ok", "GPU: none here; experiments run on the CPU (profile small is made for that)"
        return
    name = _ask(
        python,
        "import torch; print(torch.cuda.get_device_name(0) "
        "if torch.cuda.is_available() else torch.version.cuda or 'cpu')",
    )
    if name is None:
        yield "warn", "GPU: there is one, and torch does not import: make setup"
    elif name == "cpu":
        yield (
            "warn",
            "GPU: there is one, but torch is a CPU build: rm -r .venv, then make setup "
            "TORCH_INDEX=(the index of a CUDA build)",
        )
    elif re.fullmatch(r"[\d.]+", name):
        yield (
            "warn",
            f"GPU: there is one, but the driver does not suit torch's CUDA {name}: "
            "update the driver or install a torch for an older CUDA (TORCH_INDEX)",
        )
    else:
        yield "ok", f"GPU: {name}"


def notebook() -> Iterator[Finding]:
    try:
        store = Store()
        store.check()
        runs = store.query("SELECT count(*) FROM runs WHERE lifecycle_stage = 'active'")
        count = f", {runs[0][0]} runs" if runs else ""
        yield "ok", f"store: {store.shown} can be reached and written{count}"
    except UserError as mistake:
        yield "fail", f"store: {mistake}"
    try:
        keys = Keys()
        built = sum(keys.built(exp) for exp in keys.queue.experiments)
        yield "ok", f"queue: {len(keys.queue.experiments)} experiments, {built} of them built"
    except UserError as mistake:
        yield "fail", f"queue: {mistake}"


def _ask(python: Path, code: str) -> str | None:
    """What a line of python prints in the environment, or None if it fails."""
    try:
        done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, timeout=120)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--venv", type=Path, required=True)
    parser.add_argument("--mark", type=Path, required=True)
    options = parser.parse_args()
    findings = [*machine(), *environment(options.venv, options.mark), *notebook()]
    for state, sentence in findings:
        print(wrapped(f"{state:6}{sentence}", " " * 6))
    return int(any(state == "fail" for state, _ in findings))


if __name__ == "__main__":
    sys.exit(main())
