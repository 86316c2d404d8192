"""What a run uses of the machine: its largest memory, its time by the clock and on the processors."""

from __future__ import annotations

import resource
import sys
import time
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
        found = {"wall_seconds": time.monotonic() - self._clock,
                 "cpu_seconds": _processor_seconds() - self._processor,
                 "peak_memory_gib": _peak_bytes() / GIB}
        if torch := _cuda():
            found["peak_gpu_memory_gib"] = torch.cuda.max_memory_allocated() / GIB
        return found


def _processor_seconds() -> float:
    """Of this process and of children that have ended, user's and system's."""
    used = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def _peak_bytes() -> int:
    with suppress(OSError):
        for line in (_PROCESS / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    # In KiB, but on macOS in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _cuda():
    """torch, if this process has used CUDA."""
    torch = sys.modules.get("torch")
    return torch if torch and torch.cuda.is_initialized() else None
