"""The wrappers of sbatch/ as a person uses them by hand, in a real Slurm."""

import re
import shutil
import sys
import time
from pathlib import Path

import pytest

from cluster.slurm import Slurm

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = {
    # Says what it was given, on both streams.
    "say": """
import os, sys
print("words:", sys.argv[1:], "of", os.getcwd())
for name in ("IRED_THREADS", "CUDA_VISIBLE_DEVICES", "TMPDIR", "LOADED", "PYTHONPATH"):
    print(f"{name}={os.environ.get(name)}")
print("on stderr", file=sys.stderr)
sys.exit(3 if "fail" in sys.argv else 0)
""",
    # Counts to a number, keeps its place when it is asked to end, and goes on from there. What it
    # prints reaches the log although nothing flushes it.
    "count": """
import pathlib, signal, sys, time
place = pathlib.Path("mlruns/place")
done = int(place.read_text()) if place.exists() else 0
print("begins at", done)
def stop(*_):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(1)
    place.write_text(str(done))
    print("kept", done)
    sys.exit(143)
signal.signal(signal.SIGTERM, stop)
while done < int(sys.argv[1]):
    time.sleep(0.1)
    done += 1
print("counted to", done)
""",
    # Is asked to end and has its own mind.
    "deaf": """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(int(sys.argv[1])))
print("ready")
time.sleep(60)
""",
}
QUICK = ["--cpus-per-task=1", "--mem=100M"]


class Project:
    def __init__(self, root: Path, slurm: Slurm) -> None:
        self.root, self.slurm = root, slurm
        for folder in ("scripts", "logs", "mlruns", ".venv/bin"):
            (root / folder).mkdir(parents=True)
        for name, text in SCRIPTS.items():
            (root / "scripts" / f"{name}.py").write_text(text.lstrip())
        shutil.copytree(ROOT / "sbatch", root / "sbatch")
        for name in ("pipeline.json", "Makefile"):
            (root / name).touch()
        python = root / ".venv" / "bin" / "python"
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        python.chmod(0o755)

    def submit(self, wrapper: str, *words: str, sbatch: tuple = (), cwd: Path | None = None, **env: str) -> str:
        env = {"PYTHONPATH": "", "IRED_THREADS": ""} | env
        return self.slurm.submit(
            *QUICK, *sbatch, f"{self.root}/sbatch/{wrapper}.sh", *words, cwd=cwd or self.root, env=env
        )

    def run(self, *words: str, **options) -> tuple[dict[str, str], str]:
        """A job that was run to its end, and its log."""
        number = self.submit(*words, **options)
        job = self.slurm.wait(number)
        logs = list((options.get("cwd", self.root) / "logs").glob(f"*-{number}.out"))
        return job, logs[0].read_text() if logs else "no log"

    def log(self, number: str) -> str:
        (path,) = (self.root / "logs").glob(f"*-{number}.out")
        return path.read_text()


@pytest.fixture(scope="module")
def project(slurm, tmp_path_factory):
    return Project(tmp_path_factory.mktemp("wrappers") / "project", slurm)


@pytest.fixture
def other(slurm, tmp_path):
    """A project to change, with a space in its name."""
    return Project(tmp_path / "the project", slurm)


@pytest.fixture(scope="module", autouse=True)
def out_of_time(slurm, tmp_path_factory):
    """A job that is stopped by its time limit and goes on: started first, since it takes a minute."""
    project = Project(tmp_path_factory.mktemp("limit") / "project", slurm)
    # Limits are whole minutes, and the signal comes up to 25 s before it is due.
    limit = ("--time=1", "--signal=B:USR1@30", "--job-name=limited")
    return project, project.submit("gpu_short", "scripts/count.py", "300", sbatch=limit)


# A job


@pytest.mark.parametrize(
    "wrapper, partition, gpu", [("cpu", "cpu", "None"), ("gpu_short", "gpu_test", "0"), ("gpu_long", "gpu", "0")]
)
def test_a_job_runs_a_script_with_its_words(project, wrapper, partition, gpu):
    words = ["two words", "$HOME", "a'quote", "*", ""]
    job, log = project.run(wrapper, "scripts/say.py", *words, sbatch=("--cpus-per-task=3",))
    assert (job["JobState"], job["Partition"]) == ("COMPLETED", partition)
    assert f"words: {words} of {project.root}\n" in log
    assert "on stderr\n" in log and "IRED_THREADS=3\n" in log and "PYTHONPATH=.\n" in log
    assert f"CUDA_VISIBLE_DEVICES={gpu}\n" in log
    first = rf"[-\d]+ [:\d]+ job {job['JobId']} on \S+, 0 restarts: scripts/say.py two words "
    assert re.match(first, log)


def test_what_a_wrapper_asks_for(project):
    """Everything that it says itself, when nothing is said on the command line."""
    limits = {"cpu": "1-00:00:00", "gpu_short": "04:00:00", "gpu_long": "1-00:00:00"}
    for wrapper, limit in limits.items():
        number = project.slurm.submit("--hold", f"sbatch/{wrapper}.sh", "scripts/say.py", cwd=project.root)
        job = project.slurm.job(number)
        assert (job["TimeLimit"], job["Requeue"], job["CPUs/Task"]) == (limit, "1", "4")
        assert job["StdOut"] == f"{project.root}/logs/{wrapper}.sh-{number}.out"
        assert job["MinMemoryNode"] == "16G" and ("gpu" in job["TRES"]) == (wrapper != "cpu")
        project.slurm.ask("scancel", number)


def test_a_project_whose_path_has_a_space(other):
    job, log = other.run("cpu", "scripts/say.py", "x", IRED_THREADS="2")
    assert job["JobState"] == "COMPLETED", log
    assert f"words: ['x'] of {other.root}" in log and "IRED_THREADS=2\n" in log


def test_a_job_ends_as_its_script_ends(project):
    job, log = project.run("cpu", "scripts/say.py", "fail")
    assert (job["JobState"], job["ExitCode"]) == ("FAILED", "3:0"), log


# What cannot work


def refused(job, log):
    """The one line that a job said before it failed."""
    assert (job["JobState"], job["ExitCode"]) == ("FAILED", "2:0"), log
    (line,) = log.splitlines()
    return line


def test_a_folder_that_is_not_the_project(project, tmp_path):
    (tmp_path / "logs").mkdir()
    line = refused(*project.run("cpu", "scripts/say.py", cwd=tmp_path))
    assert line == f"error: {tmp_path} is not this project: submit from its folder"


def test_a_folder_without_logs_runs_nothing(project, tmp_path):
    """Slurm cannot open the log there, so that the job dies without a word: known, and harmless."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "say.py").write_text("open('it ran', 'w')")
    job, log = project.run("cpu", "scripts/say.py", cwd=tmp_path)
    assert (job["JobState"], job["ExitCode"], log) == ("FAILED", "0:53", "no log")
    assert not (tmp_path / "it ran").exists()


def test_a_checkout_has_the_log_folder():
    assert (ROOT / "logs" / ".gitkeep").exists()
    assert "!/logs/.gitkeep" in (ROOT / ".gitignore").read_text().splitlines()


def test_what_is_missing_is_named(project, other):
    shutil.rmtree(other.root / ".venv")
    assert "which script? sbatch sbatch/cpu.sh scripts/" in refused(*project.run("cpu"))
    line = refused(*project.run("cpu", "scripts/sya.py"))
    assert line == f"error: there is no script scripts/sya.py in {project.root}"
    line = refused(*other.run("cpu", "scripts/say.py"))
    assert line == "error: there is no .venv/bin/python: run 'make setup' first, or set IRED_PYTHON"
    job, log = other.run("cpu", "scripts/say.py", IRED_PYTHON=sys.executable)
    assert job["JobState"] == "COMPLETED", log


@pytest.mark.parametrize(
    "wrapper, option, why",
    [
        ("gpu_short", "--time=4:01:00", "Requested time limit is invalid"),
        ("gpu_long", "--time=3-00:01:00", "Requested time limit is invalid"),
        ("gpu_long", "--partition=gpus", "invalid partition specified: gpus"),
        ("gpu_long", "--gres=gpu:2", "Requested node configuration is not available"),
    ],
)
def test_what_a_partition_refuses_is_said_at_once(project, wrapper, option, why):
    done = project.slurm.run("sbatch", option, f"sbatch/{wrapper}.sh", "scripts/say.py", cwd=project.root)
    assert done.returncode == 1 and why in done.stderr
    assert len([line for line in done.stderr.splitlines() if "Batch job submission failed" in line]) == 1


# What a site changes


def edit(project, **values):
    path = project.root / "sbatch" / "site.sh"
    text = path.read_text()
    for name, value in values.items():
        text, count = re.subn(rf"^{name}=.*", f"{name}={value}", text, flags=re.MULTILINE)
        assert count == 1
    path.write_text(text)


def test_modules_and_scratch(other, tmp_path):
    edit(other, MODULES='"one/1.0 two"', SCRATCH=f"'{tmp_path}/fast disk'")
    module = {"BASH_FUNC_module%%": '() { export LOADED="$*"; [ "$2" = one/1.0 ]; }'}
    job, log = other.run("cpu", "scripts/say.py", **module)
    assert "LOADED=load one/1.0 two\n" in log
    assert f"TMPDIR={tmp_path}/fast disk/ired-{job['JobId']}\n" in log
    assert list((tmp_path / "fast disk").iterdir()) == []
    edit(other, MODULES="three")
    line = refused(*other.run("cpu", "scripts/say.py", **module))
    assert line == "error: module load three: see MODULES in sbatch/site.sh"


def test_wrappers_name_no_place():
    for path in (ROOT / "sbatch").iterdir():
        code = re.sub(r"/dev/null|/etc/profile|#!/usr/bin/env bash", "", path.read_text())
        assert not re.search(r"""(^|[\s"'=:])/\w""", code), path.name


# Being stopped


def started(project, *words, says, **options):
    """A job whose script has said something."""
    number = project.submit("cpu", *words, **options)
    project.slurm.until(number, lambda job: job["JobState"] == "RUNNING")
    for _ in range(100):
        logs = list((project.root / "logs").glob(f"*-{number}.out"))
        if logs and says in logs[0].read_text():
            return number
        time.sleep(0.1)
    raise AssertionError(f"{words} did not say {says}: {project.log(number)}")


def signalled(project, *words, says):
    """The end of a job whose shell got what Slurm sends before the limit."""
    number = started(project, *words, says=says)
    project.slurm.ask("scancel", "--signal=USR1", "--batch", number)
    return project.slurm.wait(number), project.log(number)


def test_a_cancelled_job_has_time_to_write_it_down(project):
    number = started(project, "scripts/count.py", "1000", says="begins at 0")
    project.slurm.ask("scancel", number)
    assert project.slurm.wait(number)["JobState"] == "CANCELLED"
    assert re.search(r"^kept \d+$", project.log(number), re.MULTILINE)
    (project.root / "mlruns" / "place").unlink()


@pytest.mark.parametrize("status, state", [(0, "COMPLETED"), (1, "FAILED")])
def test_a_script_that_ends_by_itself_is_not_requeued(project, status, state):
    job, log = signalled(project, "scripts/deaf.py", str(status), says="ready")
    assert (job["JobState"], job["ExitCode"], job["Restarts"]) == (state, f"{status}:0", "0"), log
    assert "requeued" not in log


def test_restarts_come_to_an_end(other):
    edit(other, RESTARTS=0)
    job, log = signalled(other, "scripts/count.py", "1000", says="begins at 0")
    assert (job["JobState"], job["ExitCode"], job["Restarts"]) == ("FAILED", "2:0", "0"), log
    assert "error: stopped before its time limit after 0 restarts: submit it again with a longer" in log


def test_a_job_goes_on_after_its_time_limit(out_of_time):
    """Slow: a minute and a half in real time, most of it while the tests above run."""
    project, number = out_of_time
    job = project.slurm.wait(number, 120)
    log = project.log(number)
    assert (job["JobState"], job["ExitCode"]) == ("COMPLETED", "0:0"), log
    kept = re.findall(r"^kept (\d+)$", log, re.MULTILINE)
    restarts = int(job["Restarts"])  # one, and more where the machine is busy
    assert restarts == len(kept) and 1 <= restarts <= 3 and 0 < int(kept[0]) < 300, log
    said = ["0 restarts: scripts/count.py 300", "begins at 0"]
    for number, place in enumerate(kept, 1):
        said += [f"kept {place}", "requeued, to go on"]
        said += [f"{number} restarts: scripts/count.py 300", f"begins at {place}"]
    said.append("counted to 300")
    assert re.findall("|".join(said), log) == said  # appended, in this order
    assert "TIME LIMIT" not in log
