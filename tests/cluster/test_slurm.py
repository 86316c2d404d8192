"""The Slurm that tests use keeps to itself."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cluster.slurm import Slurm

PROGRAM = Path(__file__).with_name("slurm.py")


def processes(folder):
    """What runs with the configuration in a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"SLURM_CONF={folder}/".encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:  # it has ended
            continue
    return found


@pytest.mark.slow
def test_a_second_one_on_the_same_machine(slurm, tmp_path):
    with Slurm(tmp_path / "second", accounting=False) as second:
        assert processes(second.folder)
        held = second.submit("--hold", "--wrap", "true")
        number = second.submit("--output=/dev/null", "--wrap", "sleep 60")
        second.until(number, lambda job: job["JobState"] == "RUNNING")
        assert second.ask("squeue", "--noheader", "--format=%i").split() == [held, number]
        assert slurm.run("squeue", "--noheader", "--name=wrap").stdout == ""
    assert processes(second.folder) == []
    assert slurm.ask("sinfo", "--noheader", "--Node", "--partition=gpu", "--format=%N %G") == ("n1 gpu:1\nn2 gpu:1\n")


def test_accounting_answers(slurm):
    number = slurm.submit("--output=/dev/null", "--gres=gpu:1", "--wrap", "exit 7")
    slurm.wait(number)
    words = ("sacct", "-nXP", "-j", number, "--format=State,ExitCode,AllocTRES")
    for _ in range(100):  # it comes a few seconds late
        if "FAILED" in (said := slurm.ask(*words)):
            break
        time.sleep(0.2)
    assert said.startswith("FAILED|7:0|") and "gres/gpu=1" in said


@pytest.mark.slow
def test_one_to_try_ends_at_ctrl_c(slurm, tmp_path):
    words = [sys.executable, str(PROGRAM), str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if export := re.search(r"export SLURM_CONF=(\S+)", line):
                break
        env = os.environ | {"SLURM_CONF": export[1]}
        done = subprocess.run(["sinfo", "-h", "-o", "%P"], env=env, capture_output=True, text=True)
        assert done.stdout.split() == ["cpu*", "gpu_test", "gpu"]
        mine = subprocess.Popen(["sleep", "60"], env=env)  # as from that terminal
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(30) == 0
    assert processes(tmp_path) == [mine.pid] and mine.poll() is None
    mine.kill()
    mine.wait()


def test_a_killed_one_leaves_no_daemon(slurm, tmp_path):
    program = (
        "import sys; sys.path.insert(0, sys.argv[2]); from slurm import Slurm, Path\n"
        "Slurm(Path(sys.argv[1]), accounting=False).start(); print('up', flush=True); input()"
    )
    words = [sys.executable, "-c", program, str(tmp_path), str(PROGRAM.parent)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "up\n" and processes(tmp_path)
        process.kill()
    for _ in range(100):
        if not processes(tmp_path):
            break
        time.sleep(0.1)
    assert processes(tmp_path) == []
