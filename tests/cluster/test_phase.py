"""The real project on a real Slurm, at the tiny profile: an experiment with all that it needs, with the numbers of
one machine."""

import shutil

import pytest

import forked
from ired.lab.jobs import records
from ired.lab.queue import load
from ired.lab.usage import METERS
from small_project import ROOT, Project, build

GOAL = ("P1-03", "ON=slurm", "PROFILE=tiny")
ALL = ["SETUP-2", "SETUP-3", "SETUP-4", "SETUP-5", "P1-03"]
# Run anew here, in this order: data, a training, and an analysis in double precision.
HERE = ("SETUP-2", "SETUP-3", "P1-03")
QUEUE = load()


@pytest.fixture(scope="module")
def project(slurm, tmp_path_factory) -> Project:
    """The real one, SETUP-1 finished. Its path has a space in it."""
    project = build(tmp_path_factory.mktemp("phase") / "a project")
    for name in ("ired", "scripts"):
        shutil.rmtree(project.root / name)
        shutil.copytree(ROOT / name, project.root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pipeline.json", project.root)
    project.env = {k: v for k, v in slurm.env.items() if not k.startswith("MLFLOW_")}
    project.env |= {"PYTHONPATH": ".", "IRED_THREADS": "1"}
    run(project, "SETUP-1")
    return project


def run(project: Project, exp_id: str) -> None:
    """Run an experiment here, without Slurm."""
    streams = project.root / "mlruns" / exp_id
    streams.parent.mkdir(exist_ok=True)
    env = project.env | {"PYTHONPATH": str(project.root)}
    done = forked.run(project.root, QUEUE[exp_id].script, ["--profile", "tiny"], env, streams)
    assert done.returncode == 0 and "starts on" in done.stdout, done.stdout + done.stderr


def numbers(project: Project, exp_id: str) -> list[tuple]:
    """All that its run measured, every step of it, but for what that took."""
    return project.sql(
        "SELECT m.key, step, m.value FROM metrics m JOIN runs USING (run_uuid) JOIN tags t USING (run_uuid)"
        " WHERE t.key = 'exp_id' AND t.value = ? AND lifecycle_stage = 'active'"
        f" AND m.key NOT IN {METERS} ORDER BY 1, 2",
        exp_id,
    )


def jobs(project: Project) -> dict[str, str]:
    """The last job of each experiment."""
    return {record.exp: record.job for record in records(project.root)}


def test_a_phase_on_slurm_gives_the_numbers_of_one_machine(slurm, project, tmp_path):
    sound = (project.root / "scripts/01_dataset.py").read_text()
    project.edit("scripts/01_dataset.py", "from ired.lab", "raise OSError('planted')\nfrom ired.lab")
    done = project.make(*GOAL, "EARLY_POLL=10")
    first = jobs(project)
    assert list(first) == ALL, done.stdout + done.stderr
    assert done.returncode == 2 and "1 failed, 3 cancelled, 1 " in done.stdout, done.stdout + done.stderr
    assert f"SETUP-2.tiny.s0.none (job {first['SETUP-2']}): failed (exit status 1)\n" in done.stdout
    assert "    OSError: planted\n" in done.stdout
    assert "needed it: SETUP-3.tiny.s0.none (job" in done.stdout and "P1-03.tiny.s0.none" in done.stdout

    (project.root / "scripts/01_dataset.py").write_text(sound)
    done = project.make(*GOAL, "EARLY_POLL=0")
    second = jobs(project)
    assert done.returncode == 0, done.stderr
    # The one that did not need it has gone on meanwhile.
    assert [exp for exp in ALL if first[exp] == second[exp]] == ["SETUP-4"]
    ended = {exp: slurm.wait(second[exp], 400)["JobState"] for exp in ALL}
    assert ended == dict.fromkeys(ALL, "COMPLETED"), project.make("logs", "EXP=P1-03").stdout
    assert project.make(*GOAL).stdout == "Nothing to submit: all of it is finished.\n"
    assert {exp: project.runs(exp) for exp in ALL} == dict.fromkeys(ALL, ["FINISHED"])
    here = project.copy(tmp_path / "here")
    shutil.rmtree(here.root / "mlruns" / "work")
    for exp_id in HERE:
        here.delete(exp_id)
    for exp_id in HERE:
        run(here, exp_id)
        assert numbers(project, exp_id) == numbers(here, exp_id) != [], exp_id
