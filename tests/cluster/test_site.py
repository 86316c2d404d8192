"""make site: what site.sh says comes to stand in the wrappers."""

import os
import re
import subprocess

import pytest

from small_project import one_line


def directives(project, wrapper):
    text = (project.root / "sbatch" / wrapper).read_text()
    return dict(re.findall(r"^#SBATCH --([a-z-]+)=?(.*)", text, re.MULTILINE))


def test_the_wrappers_say_what_site_says(fresh):
    """As they come, so that nobody edits one without the other."""
    done = fresh.make("site")
    assert (done.returncode, done.stdout) == (0, "The wrappers say what site.sh says.\n"), done.stderr


def test_a_site_with_other_names(fresh):
    before = {name: (fresh.root / "sbatch" / name).read_text() for name in ("cpu.sh", "gpu_short.sh", "gpu_long.sh")}
    for old, new in (
        ("PARTITION_CPU=cpu", "PARTITION_CPU=serial"),
        ("GRES=gpu:1", "GRES=gpu:a100:1"),
        ("PARTITION_GPU_SHORT=gpu_test", "PARTITION_GPU_SHORT='debug'  # short ones"),
        ("SHORT_HOURS=4", "SHORT_HOURS=1.5"),
        ("ACCOUNT=", "ACCOUNT=lab7"),
    ):
        fresh.edit("sbatch/site.sh", f"{old}\n", f"{new}\n")
    done = fresh.make("site")
    assert done.stdout == "Written: sbatch/cpu.sh, sbatch/gpu_short.sh, sbatch/gpu_long.sh\n", done.stderr
    assert fresh.make("site").stdout == "The wrappers say what site.sh says.\n"
    cpu, short, long = (directives(fresh, name) for name in before)
    assert [d["partition"] for d in (cpu, short, long)] == ["serial", "debug", "gpu"]
    assert [d.get("gres") for d in (cpu, short, long)] == [None, "gpu:a100:1", "gpu:a100:1"]
    assert {d["account"] for d in (cpu, short, long)} == {"lab7"}
    assert (short["time"], long["time"]) == ("1:30:00", "1-00:00:00")
    assert all((fresh.root / "sbatch" / name).stat().st_mode & 0o111 for name in before)

    (fresh.root / "sbatch" / "site.sh").unlink()  # everything at its default again
    assert fresh.make("site").returncode == 0
    assert {name: (fresh.root / "sbatch" / name).read_text() for name in before} == before


def test_what_no_wrapper_can_say(fresh):
    fresh.edit("sbatch/site.sh", "PARTITION_CPU=cpu\n", "PARTITION_CPU='a b'\n")
    done = fresh.make("site")
    done.returncode, done.stderr = 2, done.stderr.splitlines()[0]  # make adds a line of its own
    one_line(done, "'a b' has a space")


@pytest.mark.parametrize("hours", ["nan", "inf", "-1"])
def test_hours_that_are_no_limit(fresh, hours):
    fresh.edit("sbatch/site.sh", "SHORT_HOURS=4\n", f"SHORT_HOURS={hours}\n")
    done = fresh.make("site")
    done.stderr = done.stderr.splitlines()[0]
    one_line(done, f"sbatch/site.sh: SHORT_HOURS is '{hours}'")


# What a job does, without a Slurm around it


@pytest.fixture
def slow(fresh):
    """A project whose `module load` takes until USR1 comes."""
    fresh.edit("sbatch/site.sh", "MODULES=\n", "MODULES=slow\n")
    (fresh.root / "scripts" / "look.py").write_text("print('started')\n")
    scontrol = fresh.root / "scontrol"
    scontrol.write_text('#!/bin/sh\necho "told: $*"\n')
    scontrol.chmod(0o755)
    return fresh


def job(project, **env):
    env = {
        "BASH_FUNC_module%%": "() { kill -USR1 $$; }",
        "SLURM_JOB_ID": "7",
        **env,
        "PATH": f"{project.root}:{os.environ['PATH']}",
    }
    return subprocess.run(
        ["bash", "sbatch/cpu.sh", "scripts/look.py"],
        cwd=project.root,
        env=project.env | env,
        text=True,
        capture_output=True,
        timeout=60,
    )


def test_a_job_out_of_time_before_its_start_is_requeued_without_it(slow):
    done = job(slow)
    assert done.returncode == 143, done.stderr
    assert "requeued, to go on" in done.stdout and "told: requeue 7\n" in done.stdout
    assert "started" not in done.stdout
    one_line(job(slow, SLURM_RESTART_COUNT="10"), "after 10 restarts")


def test_a_job_whose_site_forgot_its_restarts_ends(slow):
    slow.edit("sbatch/site.sh", "RESTARTS=10\n", "RESTARTS=\n")
    one_line(job(slow, SLURM_RESTART_COUNT="10"), "after 10 restarts")
    slow.edit("sbatch/site.sh", "RESTARTS=\n", "RESTARTS=many\n")
    done = job(slow)
    one_line(done, "RESTARTS is 'many' in sbatch/site.sh, not a whole number")
    assert "told" not in done.stdout
