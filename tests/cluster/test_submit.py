"""make ... ON=slurm against a real Slurm: graphs, refusals, deaths, memory, other code, cancelling."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ired.lab.content_keys import Keys
from ired.lab.queue import load
from small_project import Project, build

PARTITIONS = ("cpu", "gpu_test", "gpu")
GPU = {"gpu": True, "memory_gb": 8}
LAST = '''
"""Reads what was seen."""
from ired.lab.command import command


@command("P2-01")
def main(run):
    run.headline("last", run.upstream("P1-01").metrics["headline"])


if __name__ == "__main__":
    main()
'''


def configure(project: Project) -> None:
    """GPUs short and long, a need at two seeds, a gate, and a phase after the first."""
    pipeline = json.loads((project.root / "pipeline.json").read_text())
    one = {exp["id"]: exp for exp in pipeline["experiments"]}
    one["SETUP-2"] |= {"resources": GPU}
    one["P1-01"] |= {"resources": GPU, "hours": 4}
    one["P1-02"] |= {
        "varies": ["profile", "variant"],
        "needs": [{"id": "SETUP-2", "seeds": [0, 1]}, {"id": "SETUP-1", "gate": True}],
    }
    (project.root / "pipeline.json").write_text(json.dumps(pipeline))
    project.edit("scripts/12_again.py", '"SETUP-2")', '"SETUP-2", seed=1)')
    (project.root / "scripts" / "21_missing.py").write_text(LAST.lstrip())


@pytest.fixture(scope="module")
def mother(slurm, tmp_path_factory) -> Project:
    """A project whose first phase was submitted as a whole and has run. Its path has a space in it."""
    project = build(tmp_path_factory.mktemp("cluster") / "the mother")
    configure(project)
    project.env = {k: v for k, v in slurm.env.items() if not k.startswith("MLFLOW_")}
    project.env |= {"PYTHONPATH": ".", "IRED_THREADS": "1"}
    project.said = project.make("phase1", "ON=slurm", "PROFILE=tiny", "EARLY_POLL=0")
    project.ended = {name: slurm.wait(job, 180) for name, job in numbers(project.said).items()}
    return project


@pytest.fixture
def project(slurm, mother, tmp_path):
    copy = mother.copy(tmp_path / "a copy")
    shutil.rmtree(copy.root / "mlruns" / "jobs")
    copy.env = dict(mother.env)
    yield copy
    slurm.cancel_all()


@pytest.fixture
def closed(slurm):
    """Partitions that take jobs and start none, until this is called."""

    def turn(state: str) -> None:
        for name in PARTITIONS:
            slurm.ask("scontrol", "update", f"PartitionName={name}", f"State={state}")

    turn("DOWN")
    yield lambda: turn("UP")
    turn("UP")


def numbers(done) -> dict[str, str]:
    """Jobs by name, from what a submission prints."""
    assert done.returncode in (0, 2), done.stdout + done.stderr
    return dict(re.findall(r"^(\S+) +job +(\d+)  ", done.stdout, re.MULTILINE))


def queued(slurm) -> dict[str, str]:
    return dict(line.split() for line in slurm.ask("squeue", "-h", "-o", "%j %i").splitlines())


def test_a_phase_is_one_graph_and_ends_as_make_would(slurm, mother):
    names = [
        "SETUP-1.small.s0.none",
        "SETUP-2.tiny.s0.none",
        "P1-01.tiny.s0.none",
        "SETUP-2.tiny.s1.none",
        "P1-02.tiny.s0.none",
    ]
    assert mother.said.returncode == 0, mother.said.stderr
    assert list(numbers(mother.said)) == names
    assert {name: job["JobState"] for name, job in mother.ended.items()} == dict.fromkeys(names, "COMPLETED")
    assert mother.runs("SETUP-2") == ["FINISHED"] * 2 and mother.runs("P1-02") == ["FINISHED"]
    again = mother.make("P1-01", "P1-02", "PROFILE=tiny")  # without Slurm: the same keys
    assert "P1-01 tiny seed 0 is up to date: seen 12" in again.stdout
    assert "P1-02 tiny is up to date: seen again 5" in again.stdout
    nothing = mother.make("phase1", "ON=slurm", "PROFILE=tiny").stdout
    assert nothing == "Nothing to submit: all of it is finished.\n"
    log = mother.make("logs", "EXP=P1-01").stdout
    assert f"(job {numbers(mother.said)['P1-01.tiny.s0.none']})" in log and "seen 12; " in log
    jobs = dict(
        mother.sql(
            "SELECT e.value, j.value FROM tags e JOIN tags j USING (run_uuid)"
            " WHERE e.key = 'exp_id' AND j.key = 'slurm_job' AND e.value LIKE 'P%'"
        )
    )
    assert jobs["P1-02"] == numbers(mother.said)["P1-02.tiny.s0.none"]


def test_what_is_submitted_waits_for_what_it_needs(slurm, project, closed):
    words = ("phase1", "P2-01", "ON=slurm", "PROFILE=tiny", "VARIANT=random", "EARLY_POLL=0")
    for git in ("init -q", "add scripts", "-c user.name=x -c user.email=x commit -q -m x"):
        subprocess.run(["git", *git.split()], cwd=project.root, check=True)
    planned = project.make("-n", *words)
    assert planned.returncode == 0 and queued(slurm) == {}
    lines = [line for line in planned.stdout.splitlines() if line.startswith("sbatch ")]
    done = project.make(*words)
    ids = numbers(done)
    assert len(lines) == len(ids) == 5 and queued(slurm) == ids  # SETUP-1 is there
    jobs = {name: slurm.job(number) for name, number in ids.items()}
    needs = {name: re.findall(r"afterok:(\d+)", job["Dependency"]) for name, job in jobs.items()}
    first, second = ids["SETUP-2.tiny.s0.random"], ids["SETUP-2.tiny.s1.random"]
    assert needs == {
        "SETUP-2.tiny.s0.random": [],
        "SETUP-2.tiny.s1.random": [],
        "P1-01.tiny.s0.random": [first],
        "P1-02.tiny.s0.random": [first, second],
        "P2-01.tiny.s0.random": [ids["P1-01.tiny.s0.random"]],
    }
    assert {
        name.split(".")[0]: (
            job["Partition"],
            job["TimeLimit"],
            job["TresPerNode"].rpartition(":")[2] if "TresPerNode" in job else "",
        )
        for name, job in jobs.items()
    } == {
        "SETUP-2": ("gpu_test", "02:00:00", "1"),
        "P1-01": ("gpu", "04:00:00", "1"),
        "P1-02": ("cpu", "01:00:00", ""),
        "P2-01": ("cpu", "01:00:00", ""),
    }
    assert jobs["P1-01.tiny.s0.random"]["MinMemoryNode"] == "8G"
    keys = Keys(project.root, load(project.root))
    for path in (project.root / "mlruns" / "jobs").iterdir():
        record = json.loads(path.read_text())
        assert len(record["commit"]) == 40 and record["dirty"]
        assert jobs[record["name"]]["Comment"] == f"ired:{record['key']}"
        assert (
            record["files"]["ired/constants.py"]
            == keys.sources(project.root / "ired/constants.py")["ired/constants.py"]
        )
    # Submitting again adds only what is neither finished nor queued.
    assert project.make(*words).stdout == "0 submitted, 5 in the queue already.\n"
    slurm.ask("scancel", ids["P2-01.tiny.s0.random"])
    more = numbers(project.make(*words))
    assert list(more) == ["P2-01.tiny.s0.random"]
    assert ids["P1-01.tiny.s0.random"] in slurm.job(more["P2-01.tiny.s0.random"])["Dependency"]
    # What waits for a job that is gone is submitted anew, though Slurm has not noticed yet.
    slurm.ask("scancel", second)
    more = numbers(project.make(*words))
    assert list(more) == ["SETUP-2.tiny.s1.random", "P1-02.tiny.s0.random"]
    ids = queued(slurm)
    assert len(ids) == 5 and more.items() <= ids.items()
    second = more["SETUP-2.tiny.s1.random"]
    status = project.make("status", "PROFILE=tiny", "VARIANT=random").stdout
    assert re.search(r"P1-01 +Look +queued +4 h +job \d+: queued", status), status
    # Cancelling takes with it what can never start.
    cancelled = project.make("cancel", "EXP=SETUP-2", "SEED=1").stdout
    assert cancelled == (
        f"Cancelled: SETUP-2.tiny.s1.random (job {second})\n"
        f"and what needed them: P1-02.tiny.s0.random (job {ids['P1-02.tiny.s0.random']})\n"
    )
    assert set(queued(slurm)) == set(ids) - {"SETUP-2.tiny.s1.random", "P1-02.tiny.s0.random"}
    assert "P2-01.tiny.s0.random" in project.make("cancel", "PHASE=1").stdout
    assert set(queued(slurm)) == {"SETUP-2.tiny.s0.random"}
    assert "Nothing to cancel" in project.make("cancel", "PHASE=1").stdout


def test_jobs_of_another_folder_are_not_ours(slurm, project, closed):
    words = ("SETUP-2", "ON=slurm", "PROFILE=tiny", "SEED=4", "EARLY_POLL=0")
    other = project.copy(project.root.parent / "another")
    other.env = project.env
    assert len(numbers(project.make(*words))) == len(numbers(other.make(*words))) == 1
    assert "Nothing to cancel" in other.make("cancel", "EXP=P1-01").stdout
    assert "Cancelled" in other.make("cancel", "EXP=SETUP-2").stdout
    assert len(queued(slurm)) == 1


@pytest.mark.parametrize(
    "words, site, told",
    [
        ((), "PARTITION_CPU=nowhere", "nvalid partition name"),
        (("TIME=9-00:00:00",), "", "time limit"),
        (("MEM=900G",), "", "not available"),
        ((), "GRES=gpu:7", "not available"),
    ],
)
def test_what_a_partition_refuses_is_told_before_anything_is_submitted(slurm, project, words, site, told):
    with open(project.root / "sbatch" / "site.sh", "a") as file:
        file.write(f"\n{site}\n")
    done = project.make("phase1", "ON=slurm", "PROFILE=tiny", "SEED=7", "VARIANT=random", *words)
    first = done.stderr.splitlines()[0]
    assert done.returncode == 2 and told in first and "nothing was submitted" in first, done.stderr
    assert queued(slurm) == {} and not list((project.root / "mlruns" / "jobs").glob("*"))


def at_the_third(project, words: str) -> dict[str, str]:
    """An environment in which `words` of bash are run before the third job is given to sbatch."""
    folder = project.root / "bin"
    folder.mkdir()
    (project.root / "count").touch()
    (folder / "sbatch").write_text(f"""#!/bin/bash
[[ $1 == --test-only ]] || echo >> count
[[ $(wc -l < count) != 3 ]] || {{ {words}; }}
exec {shutil.which("sbatch")} "$@"
""")
    (folder / "sbatch").chmod(0o755)
    return {"PATH": f"{folder}:{project.env['PATH']}"}


@pytest.mark.parametrize(
    "words, told",
    [
        ('set -- "${@/--partition=*/--partition=gone}"', "nvalid partition name"),
        ("kill -TERM $PPID; sleep 1", "interrupted"),
    ],
)
def test_a_submission_that_fails_in_the_middle_leaves_nothing(slurm, project, closed, words, told):
    done = project.make("phase1", "ON=slurm", "PROFILE=tiny", "VARIANT=random", **at_the_third(project, words))
    first = done.stderr.splitlines()[0]
    assert done.returncode == 2 and told in first
    assert re.search(
        r"cancelled again what had been submitted: SETUP-2.tiny.s0.random \(job \d+\), "
        r"P1-01.tiny.s0.random \(job \d+\)",
        first,
    ), first
    assert queued(slurm) == {}


def test_a_job_that_dies_at_once_is_shown_and_what_needs_it_cancelled(slurm, project):
    project.edit("scripts/01_train.py", "from ired.lab", "raise ValueError('no such luck')\nfrom ired.lab")
    done = project.make("phase1", "P2-01", "ON=slurm", "PROFILE=tiny", "SEED=1", "EARLY_POLL=10")
    ids = numbers(done)
    assert done.returncode == 2 and "2 failed, 3 cancelled" in done.stdout, done.stdout + done.stderr
    assert f"SETUP-2.tiny.s1.none (job {ids['SETUP-2.tiny.s1.none']}): failed (exit status 1)" in done.stdout
    assert "    ValueError: no such luck\n" in done.stdout
    gone = [f"{name} (job {ids[name]})" for name in ids if not name.startswith("SETUP-2")]
    assert f"Cancelled, for they needed it: {', '.join(gone)}\n" in done.stdout
    assert queued(slurm) == {}
    status = project.make("status", "PROFILE=tiny", "SEED=1").stdout
    assert re.search(r"SETUP-2 +Train +failed +2 h .*job \d+: failed \(exit status 1\)", status), status
    assert re.search(r"P1-01 +Look +cancelled ", status)
    # With accounting off, the controller itself is asked.
    conf = Path(project.env["SLURM_CONF"])
    blind = project.root / "slurm.conf"
    blind.write_text(
        re.sub(
            "^AccountingStorageType=.*$",
            "AccountingStorageType=accounting_storage/none",
            conf.read_text(),
            flags=re.MULTILINE,
        )
    )
    same = project.make("status", "PROFILE=tiny", "SEED=1", SLURM_CONF=str(blind)).stdout
    assert re.search(r"SETUP-2 +Train +failed +2 h .*job \d+: failed$", same, re.MULTILINE), same
    # Once mended it is submitted anew.
    project.edit("scripts/01_train.py", "raise ValueError('no such luck')\n", "")
    assert project.make("P1-01", "ON=slurm", "PROFILE=tiny").stdout.startswith("Nothing to submit")


@pytest.mark.slow
def test_a_job_out_of_memory_is_submitted_again_with_more(slurm, project):
    words = ("SETUP-2", "ON=slurm", "PROFILE=tiny", "SEED=6", "EARLY_POLL=0")
    project.edit("scripts/01_train.py", "    if behave", "    held = b'x' * 2**28\n    if behave")
    (number,) = numbers(project.make(*words, "MEM=60M")).values()
    assert slurm.wait(number)["JobState"] in ("FAILED", "OUT_OF_MEMORY")
    status = project.make("status", "PROFILE=tiny", "SEED=6").stdout
    assert re.search(rf"SETUP-2 +Train +out of memory +2 h .*job {number}: out of memory", status), status
    (number,) = numbers(project.make(*words, "MEM=4G")).values()
    assert slurm.job(number)["MinMemoryNode"] == "4G"
    running = slurm.until(number, lambda job: job["JobState"] != "PENDING")
    status = project.make("status", "PROFILE=tiny", "SEED=6").stdout
    if running["JobState"] == "RUNNING":
        assert re.search(r"SETUP-2 +Train +(running .*on n[12] for [\d:]+|done)", status), status
    assert slurm.wait(number)["JobState"] == "COMPLETED"
    status = project.make("status", "PROFILE=tiny", "SEED=6").stdout
    assert re.search(r"SETUP-2 +Train +done .*value 10", status), status


@pytest.mark.slow
def test_other_code_than_was_submitted_does_not_run(slurm, project, closed):
    words = ("P1-01", "ON=slurm", "PROFILE=tiny", "SEED=8", "EARLY_POLL=0")
    ids = numbers(project.make(*words))
    project.edit("ired/constants.py", "4", "5")
    status = project.make("status", "PROFILE=tiny", "SEED=8").stdout
    assert re.search(r"SETUP-2 +Train +queued .* \(other code or parameters\)", status), status
    closed()
    assert slurm.wait(ids["SETUP-2.tiny.s8.none"])["ExitCode"] == "2:0"
    log = project.make("logs", "EXP=SETUP-2", "SEED=8").stdout
    assert "was submitted with other code: ired/constants.py has changed since" in log
    assert "make SETUP-2 PROFILE=tiny SEED=8 ON=slurm" in log and "starts on" not in log
    assert slurm.wait(ids["P1-01.tiny.s8.none"])["JobState"] == "CANCELLED"  # Slurm's own doing
    assert len(numbers(project.make(*words))) == 2
