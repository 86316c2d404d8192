"""This machine as a run finds it: cores, threads, memory, devices, and what git says of the project."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
import time
from functools import cache
from pathlib import Path

from ired.lab.errors import UserError
from ired.lab.queue import ROOT


def device_for(wanted: str) -> str:
    """'cpu' or 'cuda'. torch is asked only where there may be a GPU at all."""
    if wanted == "cpu":
        return "cpu"
    if wanted == "auto" and not may_have_gpu():
        return "cpu"
    try:
        import torch

        has_gpu = torch.cuda.is_available()
    except ImportError:
        has_gpu = False
    if wanted == "cuda" and not has_gpu:
        raise UserError("--device cuda: torch sees no CUDA device here; `make doctor` says why, or choose --device cpu")
    return "cuda" if has_gpu else "cpu"


def may_have_gpu() -> bool:
    """Whether it is worth asking torch."""
    return any(map(os.path.exists, ("/dev/nvidiactl", "/dev/dxg")))


def cores() -> int:
    """How many this process may use."""
    return len(getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))(0))


def set_threads(best: int | None = None) -> None:
    """Sums differ with the number of threads, so it is set, logged and the same everywhere: to
    IRED_THREADS, else `best`, else all. Done before anything that reads these variables is
    imported."""
    text = os.environ.get("IRED_THREADS") or str(best or cores())
    if not text.isdigit() or int(text) < 1:
        raise UserError(f"IRED_THREADS is '{text}', not a whole number of 1 or more")
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = text
    # Threads that wait by spinning for long (GNU OpenMP's default) make small models many times
    # slower as soon as anything else runs on the machine; threads that never spin, twice as slow
    # even alone.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    os.environ.setdefault("MPLBACKEND", "Agg")


@cache  # one process, one thread that gives back
def keep_memory() -> None:
    """Let this process keep what it frees. Tensors of megabytes otherwise come from the system as
    fresh pages each time, which costs up to a third of what is computed with them."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim"):  # glibc's
        trim_threshold, mmap_threshold = -1, -3
        libc.mallopt(trim_threshold, 2**31 - 1)
        libc.mallopt(mmap_threshold, 2**30)
        threading.Thread(target=_give_back, args=(libc,), daemon=True).start()


def _give_back(libc: ctypes.CDLL) -> None:
    """Return fragments to the system where they have grown to a gigabyte.

    What is kept is cut to pieces by small things that stay, and large ones no longer fit between
    them: in minutes a process of one gigabyte grew to thirteen.
    """
    needed = 0
    while True:
        time.sleep(2)
        if _resident() > needed + 2**30:
            libc.malloc_trim(0)
            needed = max(needed, _resident())


def _resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def git(*words: str) -> str:
    """What git answers about this project, or '' where it is no repository."""
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(ROOT), *words], capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
