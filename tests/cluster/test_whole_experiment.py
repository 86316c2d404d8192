"""The real project on a real Slurm, at the tiny profile: an experiment with what it needs, with the numbers of one
machine."""

import shutil
from pathlib import Path

import pytest

from ired.lab.jobs import records
from ired.lab.usage import METERS
from small_project import Project, build

GOAL = ("P1-03", "ON=slurm", "PROFILE=tiny")
# Run anew: data, a training, what decides on going on, and an analysis in double precision.
ANEW = ["SETUP-2", "SETUP-3", "SETUP-5", "P1-03"]


@pytest.fixture(scope="module")
def project(slurm, finished, tmp_path_factory) -> Project:
    """The finished tiny store without what the goal needs. Its path has a space in it."""
    project = build(tmp_path_factory.mktemp("phase") / "a project")
    for name in ("ired", "scripts"):
        shutil.rmtree(project.root / name)
    for name in ("ired", "scripts", "mlruns"):
        shutil.copytree(finished / name, project.root / name)
    shutil.copy(finished / "pipeline.json", project.root)
    shutil.rmtree(project.root / "mlruns" / "work")
    project.env = {k: v for k, v in slurm.env.items() if not k.startswith("MLFLOW_")}
    project.env |= {"PYTHONPATH": ".", "IRED_THREADS": "1"}
    for exp_id in ANEW:
        project.delete(exp_id)
    return project


def numbers(project: Project, exp_id: str) -> list[tuple]:
    """All that its run without mining at seed 0 measured, every step of it, but for what that took."""
    return project.sql(
        "SELECT m.key, step, m.value FROM metrics m JOIN runs USING (run_uuid) JOIN tags t USING (run_uuid)"
        " JOIN tags s USING (run_uuid) JOIN tags v USING (run_uuid)"
        " WHERE t.key = 'exp_id' AND t.value = ? AND s.key = 'seed' AND s.value = '0'"
        " AND v.key = 'variant' AND v.value = 'none' AND lifecycle_stage = 'active'"
        f" AND m.key NOT IN {METERS} ORDER BY 1, 2",
        exp_id,
    )


def jobs(project: Project) -> dict[str, str]:
    """The last job of each experiment."""
    return {record.exp: record.job for record in records(project.root)}


def test_an_experiment_on_slurm_gives_the_numbers_of_one_machine(slurm, finished, project):
    script = Path("scripts/01_dataset.py")
    project.edit(script, "from ired.lab", "raise OSError('planted')\nfrom ired.lab")
    done = project.make(*GOAL, "EARLY_POLL=10")
    first = jobs(project)
    assert list(first) == ANEW, done.stdout + done.stderr
    assert done.returncode == 2 and "1 failed, 3 cancelled" in done.stdout, done.stdout + done.stderr
    assert f"SETUP-2.tiny.s0.none (job {first['SETUP-2']}): failed (exit status 1)\n" in done.stdout
    assert "    OSError: planted\n" in done.stdout
    assert "needed it: SETUP-3.tiny.s0.none (job" in done.stdout and "P1-03.tiny.s0.none" in done.stdout

    shutil.copy(finished / script, project.root / script)
    done = project.make(*GOAL, "EARLY_POLL=0")
    second = jobs(project)
    assert done.returncode == 0, done.stderr
    assert not set(first.values()) & set(second.values())
    ended = {exp: slurm.wait(second[exp], 400)["JobState"] for exp in ANEW}
    assert ended == dict.fromkeys(ANEW, "COMPLETED"), project.make("logs", "EXP=P1-03").stdout
    assert project.make(*GOAL).stdout == "Nothing to submit: all of it is finished.\n"
    here = Project(finished)
    for exp_id in ANEW:
        assert numbers(project, exp_id) == numbers(here, exp_id) != [], exp_id
