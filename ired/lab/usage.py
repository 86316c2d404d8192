"""What a run uses of the machine, memory and time, and what memory is left for it."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

# Metrics of every run that say how it was made and nothing of what it found.
METERS = ("wall_seconds", "cpu_seconds", "peak_memory_gib", "peak_gpu_memory_gib")
GIB = 2**30
_PROCESS = Path("/proc/self")


class Meter:
    """Counts from its making on.

    The largest memory is that of this process, of what was there when the counting began too. Where
    Linux does not let it begin anew, it may be that of the process which started this one.
    """

    def __init__(self) -> None:
        with suppress(OSError):
            (_PROCESS / "clear_refs").write_text("5")  # the high-water mark is now what there is
        if torch := _cuda():
            torch.cuda.reset_peak_memory_stats()
        self._clock, self._processor = time.monotonic(), _processor_seconds()

    def read(self) -> dict[str, float]:
        """`METERS` so far; that of a GPU, which counts tensors alone, only where one was used."""
        readings = {
            "wall_seconds": time.monotonic() - self._clock,
            "cpu_seconds": _processor_seconds() - self._processor,
            "peak_memory_gib": _peak_bytes() / GIB,
        }
        if torch := _cuda():
            readings["peak_gpu_memory_gib"] = torch.cuda.max_memory_allocated() / GIB
        return readings


def available_gib(system: Path = Path("/")) -> float | None:
    """Memory that this process may have, with what it has already: what the system can give without
    swapping, or what its control groups leave of their limits. None where the system does not say."""
    try:
        meminfo = _numbers(system / "proc/meminfo")
        left = [meminfo["MemAvailable:"] * 1024, *_left_by_groups(system)]
        return (min(left) + _numbers(system / "proc/self/status")["VmRSS:"] * 1024) / GIB
    except (OSError, KeyError):
        return None


def _left_by_groups(system: Path) -> Iterator[int]:
    """Bytes that the limits of this process's control groups leave, pages of files not counted as used."""
    for line in (system / "proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            top, files = system / "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            top = system / "sys/fs/cgroup/memory"
            files = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
        else:
            continue
        group = top / path.lstrip("/")
        for folder in (group, *group.parents):
            # What is not there lies outside of this container; "max" is no limit.
            with suppress(OSError, ValueError):
                limit, used = (int((folder / name).read_text()) for name in files[:2])
                yield limit - used + _numbers(folder / "memory.stat").get(files[2], 0)
            if folder == top:
                break


def _numbers(path: Path) -> dict[str, int]:
    """The whole numbers of a file whose lines are a name and a number."""
    rows = (line.split() for line in path.read_text().splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}


def _processor_seconds() -> float:
    """Of this process and of children that have ended, user's and system's."""
    used = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _peak_bytes() -> int:
    with suppress(OSError, KeyError):
        return _numbers(_PROCESS / "status")["VmHWM:"] * 1024
    # In KiB, but on macOS in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _cuda():
    """torch, if this process has used CUDA."""
    torch = sys.modules.get("torch")
    return torch if torch and torch.cuda.is_initialized() else None
