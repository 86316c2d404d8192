"""What a run is said to have used is what it used, whoever its parent is."""

import mmap
import multiprocessing
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from ired.lab import usage
from ired.lab.usage import GIB, METERS, Meter, available_gib

FORK = multiprocessing.get_context("fork")
LARGE = 300 * 2**20  # bytes
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="where a high-water mark can begin anew")


def filled(size: int) -> mmap.mmap:
    """Memory of the system's own: what other tests tell malloc to keep is given back here."""
    memory = mmap.mmap(-1, size)
    for start in range(0, size, mmap.PAGESIZE):
        memory[start] = 1
    return memory


def in_child(work, *arguments):
    """What `work` returns in a process that was forked from this one."""
    ours, theirs = FORK.Pipe()
    process = FORK.Process(target=lambda: theirs.send(work(*arguments)))
    process.start()
    assert ours.poll(60)
    found = ours.recv()
    process.join()
    return found


@LINUX
def test_memory_is_counted_from_the_beginning_and_what_was_given_back_counts():
    del_me = filled(LARGE)
    del del_me
    before = Meter().read()["peak_memory_gib"]
    meter = Meter()
    assert meter.read()["peak_memory_gib"] < before + 0.05
    kept = filled(LARGE)
    del kept
    grown = meter.read()["peak_memory_gib"] - before
    assert 0.8 * LARGE / GIB < grown < 1.3 * LARGE / GIB


@LINUX
@pytest.mark.parametrize("spent", [True, False])
def test_what_a_parent_had_is_not_its_childs(spent):
    """Not that of a forked process, whose parent has given it back, nor of a program it starts."""
    large = filled(LARGE)
    before = Meter().read()["peak_memory_gib"]
    if spent:
        del large
        peak = in_child(lambda: Meter().read()["peak_memory_gib"])
    else:
        code = "from ired.lab.usage import Meter; print(Meter().read()['peak_memory_gib'])"
        peak = float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout)
    assert peak < before - 0.8 * LARGE / GIB


@pytest.mark.parametrize("platform, unit", [("linux", 1024), ("darwin", 1)])
def test_without_proc_the_system_is_asked_in_its_own_units(monkeypatch, tmp_path, platform, unit):
    monkeypatch.setattr(usage, "_PROCESS", tmp_path / "nothing")
    monkeypatch.setattr(usage.sys, "platform", platform)
    seconds = SimpleNamespace(ru_utime=1.0, ru_stime=0.5, ru_maxrss=3 * 2**20)
    monkeypatch.setattr(usage.resource, "getrusage", lambda who: seconds)
    assert Meter().read()["peak_memory_gib"] == 3 * 2**20 * unit / GIB


def test_time_on_the_processors_counts_work_and_not_waiting():
    meter = Meter()
    time.sleep(0.3)
    idle = meter.read()
    assert idle["wall_seconds"] >= 0.3 and idle["cpu_seconds"] < 0.2
    end = time.process_time() + 0.3
    while time.process_time() < end:
        pass
    assert 0.25 < meter.read()["cpu_seconds"] - idle["cpu_seconds"] < 0.6


def test_a_gpu_is_named_where_one_was_used(monkeypatch):
    assert set(Meter().read()) == set(METERS) - {"peak_gpu_memory_gib"}
    asked = []
    cuda = SimpleNamespace(
        is_initialized=lambda: True,
        max_memory_allocated=lambda: 3 * GIB,
        reset_peak_memory_stats=lambda: asked.append("anew"),
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    assert Meter().read()["peak_gpu_memory_gib"] == 3 and asked == ["anew"]


def system(folder, files):
    """A system's root with some files, in GiB where they hold a number alone."""
    files = {
        "proc/meminfo": f"MemTotal: {16 * GIB // 1024} kB\nMemAvailable: {8 * GIB // 1024} kB\n",
        "proc/self/status": f"Name:\tpython\nVmRSS:\t{GIB // 2048} kB\n",
        "proc/self/cgroup": "",
    } | files
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text if isinstance(text, str) else str(text * GIB))
    return folder


V2, V1 = "sys/fs/cgroup", "sys/fs/cgroup/memory"


@pytest.mark.parametrize(
    "files, there",
    [
        ({}, 8.5),
        # The limit of a group, pages of files counted as free, and that of a group which this one is in.
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                f"{V2}/a/b/memory.max": 4,
                f"{V2}/a/b/memory.current": 3,
                f"{V2}/a/b/memory.stat": f"anon 5\ninactive_file {2 * GIB}\n",
            },
            3.5,
        ),
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                f"{V2}/a/b/memory.max": "max\n",
                f"{V2}/a/memory.max": 2,
                f"{V2}/a/memory.current": 1,
                f"{V2}/a/memory.stat": "",
            },
            1.5,
        ),
        # In a container the path is that of the machine outside.
        (
            {
                "proc/self/cgroup": "0::/outside/of/it\n",
                f"{V2}/memory.max": 3,
                f"{V2}/memory.current": 1,
                f"{V2}/memory.stat": "",
            },
            2.5,
        ),
        (
            {
                "proc/self/cgroup": "5:cpu,memory:/job\n4:pids:/\n",
                f"{V1}/job/memory.limit_in_bytes": 2,
                f"{V1}/job/memory.usage_in_bytes": 1,
                f"{V1}/job/memory.stat": f"total_inactive_file {GIB}\n",
                f"{V1}/memory.limit_in_bytes": 9223372036,
                f"{V1}/memory.usage_in_bytes": 9,
            },
            2.5,
        ),
        ({"proc/meminfo": "MemTotal: 5 kB\n"}, None),
    ],
)
def test_what_is_left_is_the_least_that_anybody_allows(tmp_path, files, there):
    assert available_gib(system(tmp_path, files)) == there


def test_a_system_that_does_not_say(tmp_path):
    assert available_gib(tmp_path) is None


@LINUX
def test_this_machine_has_some_left():
    assert 0.05 < available_gib() < 100_000
