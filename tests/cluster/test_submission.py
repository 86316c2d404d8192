"""What of ON=slurm needs no Slurm: what a job asks for, what is printed, which code may run."""

import json
import re
from dataclasses import asdict

import pytest

from ired.cluster import slurm
from ired.cluster.resources import resources, site
from ired.lab.content_keys import Keys
from ired.lab.errors import UserError
from ired.lab.jobs import Record, fingerprints, folder, how, last_lines, log_of, newest, records
from ired.lab.queue import ROOT, RunCoordinates, load

NONE = {"SLURM_CONF": "/dev/null"}  # where Slurm's commands are installed, they find no cluster
AT = RunCoordinates("tiny")


def test_time_limits_are_read_as_slurm_reads_them():
    for text, hours in (
        ("90", 1.5),
        ("30:00", 0.5),
        ("8:00:00", 8),
        ("2-12", 60),
        ("1-0:30", 24.5),
        ("3-00:00:00", 72),
        ("0:00:30", 1 / 120),
    ):
        assert slurm.hours_of(text) == pytest.approx(hours)
    assert [slurm.limit_of(hours) for hours in (0.5, 2.5, 4, 72)] == ["0:30:00", "2:30:00", "4:00:00", "72:00:00"]
    for text in ("", "8h", "0", "1:2:3:4", "8:00:00; x", "-1"):
        with pytest.raises(UserError, match="is no time limit"):
            slurm.hours_of(text)
    assert slurm.memory_of("32G") == "32G"
    for text in ("", "0G", "32 G", "32GB", "lots"):
        with pytest.raises(UserError, match="is no amount of memory"):
            slurm.memory_of(text)


def test_a_site_has_names_of_its_own_and_nothing_in_it_is_executed(tmp_path):
    assert site(tmp_path)["PARTITION_CPU"] == "cpu"
    (tmp_path / "sbatch").mkdir()
    path = tmp_path / "sbatch" / "site.sh"
    path.write_text(
        "# ours\nPARTITION_CPU='normal'  # so\nexport ACCOUNT=me\nGRES=\nif true; then\n"
        f"SCRATCH=$(touch {tmp_path}/hacked)\n"
    )
    found = site(tmp_path)
    assert (found["PARTITION_CPU"], found["ACCOUNT"], found["GRES"]) == ("normal", "me", "")
    assert not (tmp_path / "hacked").exists()
    path.write_text("SHORT_HOURS=four\n")
    with pytest.raises(UserError, match="SHORT_HOURS is 'four'"):
        site(tmp_path)
    path.write_text("ACCOUNT='open\n")
    with pytest.raises(UserError, match="site.sh, line 1"):
        site(tmp_path)


def test_every_experiment_asks_for_what_pipeline_json_says():
    names = site(ROOT)
    for exp in load(ROOT).experiments:
        partition, limit, memory, *gres, wrapper = resources(exp, names)
        assert partition == f"--partition={exp.partition}" and memory == f"--mem={exp.memory_gb}G"
        assert slurm.hours_of(limit.partition("=")[2]) == max(exp.hours, 0.5)
        assert gres == (["--gres=gpu:1"] if exp.gpu else []) and (ROOT / wrapper).is_file()


def test_more_time_leads_to_the_partition_that_gives_it():
    names = site(ROOT) | {"ACCOUNT": "me"}
    training = load(ROOT)["SETUP-3"]
    assert resources(training, names, "8:00:00", "32G") == [
        "--partition=gpu",
        "--time=8:00:00",
        "--mem=32G",
        "--gres=gpu:1",
        "--account=me",
        "sbatch/gpu_long.sh",
    ]
    assert resources(training, names, "3:59:00")[0] == "--partition=gpu_test"
    assert resources(training, names, "4:00:00")[0] == "--partition=gpu"


@pytest.mark.slow
def test_a_dry_run_prints_the_commands_and_writes_nothing(project):
    done = project.make("-n", "phase1", "ON=slurm", "PROFILE=tiny", "SEED=1", **NONE)
    assert done.returncode == 0 and "as if nothing were queued" in done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("sbatch ")]
    train, look, again = lines  # SETUP-1 is there
    assert "--job-name=SETUP-2.tiny.s1.none" in train and "--dependency" not in train
    assert train.endswith(" sbatch/cpu.sh scripts/01_train.py --profile tiny --seed 1 --variant none")
    for line in (look, again):
        assert "--dependency=afterok:SETUP-2.tiny.s1.none --kill-on-invalid-dep=yes" in line
    assert "--partition=cpu --time=1:00:00 --mem=16G" in look
    assert not folder(project.root).exists() and not (project.root / "mlruns" / "rules").exists()
    again = project.make(
        "-n",
        "P1-01",
        "ON=slurm",
        "PROFILE=tiny",
        "SEED=1",
        "TIME=8:00:00",
        "MEM=32G",
        "DEVICE=cpu",
        "ARGS=--points 3",
        **NONE,
    ).stdout.splitlines()[-1]
    assert "--time=8:00:00 --mem=32G" in again and again.endswith("--device cpu --points 3")


def test_several_goals_and_seeds_are_one_graph(fresh):
    done = fresh.make("-n", "P1-01", "P1-02", "ON=slurm", "PROFILE=tiny", "SEEDS=0 1", **NONE)
    names = [word for word in done.stdout.split() if word.startswith("--job-name=")]
    assert len(names) == len(set(names)) == 1 + 2 + 2 + 2


@pytest.mark.parametrize(
    "words, told",
    [
        (["P1-01", "ON=pbs"], "ON is 'pbs'"),
        (["retrain", "ON=slurm"], "leave out ON=slurm"),
        (["P1-01", "ON=slurm", "TIME=soon"], "TIME 'soon'"),
        (["P1-01", "ON=slurm", "MEM='; touch hacked #"], "MEM ''; touch hacked #'"),
        (["P1-01", "ON=slurm", "EARLY_POLL=x"], "EARLY_POLL 'x'"),
        (["phase1", "ON=slurm", "SEEDS=0 1"], "SEEDS is for one experiment"),
        (["P1-77", "ON=slurm"], "unknown experiment 'P1-77'"),
        (["phase2", "ON=slurm"], "P2-01 is not built yet: scripts/21_missing.py"),
        (["logs"], "say which"),
        (["cancel", "EXP=P1-01", "PHASE=1"], "say which"),
        (["cancel", "PHASE=7"], "there is no PHASE '7'"),
        (["logs", "EXP=P1-01"], "no job of P1-01 was submitted"),
    ],
)
def test_a_mistake_is_told_and_nothing_submitted(project, words, told):
    done = project.make(*words, **NONE)
    first, *others = done.stderr.splitlines()
    assert done.returncode == 2 and "error: " in first and told in first
    assert all(re.match(r"make(\[\d+\])?: ", line) for line in others)  # of a make within make too
    assert not (project.root / "hacked").exists() and not folder(project.root).exists()


def test_without_slurm_submitting_says_so(project):
    done = project.make("P1-02", "ON=slurm", "PROFILE=tiny", PATH="/usr/bin:/bin", **NONE)
    assert done.returncode == 2 and "squeue" in done.stderr.splitlines()[0]


def test_a_server_that_is_out_of_reach_is_told_before_anything_is_submitted(project):
    done = project.make("P1-02", "ON=slurm", "PROFILE=tiny", MLFLOW_TRACKING_URI="http://127.0.0.1:1", **NONE)
    assert done.returncode == 2 and "http://127.0.0.1:1 cannot be reached" in done.stderr.splitlines()[0]


@pytest.mark.slow
def test_what_is_finished_is_not_submitted(project):
    for stamp in (project.root / "mlruns" / "stamps" / "local").iterdir():
        stamp.unlink()  # the store knows
    done = project.make("P1-01", "ON=slurm", "PROFILE=tiny", **NONE)
    assert done.returncode == 0 and done.stdout == "Nothing to submit: all of it is finished.\n"


def submitted(project, exp_id: str, job: str = "7", **other) -> Record:
    """A record as a submission leaves it."""
    keys = Keys(project.root, load(project.root))
    exp = keys.queue[exp_id]
    at = exp.at(AT)
    values = {"key": keys.key(exp, at), "files": fingerprints(keys, exp, at), "words": [exp.script]}
    record = Record(job, f"{exp_id}.tiny.s0.none", exp_id, *asdict(at).values(), **(values | other))
    folder(project.root).mkdir(exist_ok=True)
    (folder(project.root) / f"{job}.json").write_text(json.dumps(asdict(record)))
    return record


def test_a_job_runs_the_code_that_was_submitted_and_no_other(project, inside, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    record = submitted(project, "P1-02")
    assert set(record.files) == {
        "scripts/12_again.py",
        "scripts/01_train.py",
        "scripts/00_prepare.py",
        "ired/__init__.py",
        "ired/science.py",
        "ired/constants.py",
        "ired/lab/profiles.py",
        "pipeline.json",
    }
    assert inside("12_again").returncode == 0
    assert project.sql("SELECT value FROM tags WHERE key = 'slurm_job'") == [("7",)]
    project.edit("ired/constants.py", "4", "5")
    refused = inside("12_again")
    assert refused.returncode == 2 and "starts" not in refused.stdout
    assert "job 7 was submitted with other code: ired/constants.py has changed" in refused.stderr
    project.edit("scripts/12_again.py", "Looks again", "Looks")
    assert "scripts/12_again.py has changed" in inside("12_again").stderr  # its own before others'
    monkeypatch.setenv("SLURM_JOB_ID", "8")  # submitted by hand: nobody knows with which code
    assert "needs SETUP-2" in inside("12_again").stderr


def test_another_experiment_inside_a_job_is_not_refused(project, inside, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    submitted(project, "P1-01", key="another")
    assert inside("12_again").returncode == 0
    assert "its parameters are others" in inside("11_look").stderr


def test_a_job_with_other_parameters_is_itself(project, inside, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    submitted(project, "P1-01")
    assert "its parameters are others" in inside("11_look", "--points", "3").stderr


def test_how_a_job_ended_in_words(tmp_path):
    (tmp_path / "logs").mkdir()
    log = tmp_path / log_of("P1-01.tiny.s0.none", "7")

    def said(state: str, code: str = "") -> str:
        return how(slurm.Job("7", "P1-01.tiny.s0.none", state, code, "n1", "0:04:10"), tmp_path)

    assert said("running") == "running on n1 for 0:04:10" and said("timed out") == "timed out"
    assert said("failed", "2:0") == "failed (exit status 2)" and said("failed") == "failed"
    log.write_text("starts\n")
    assert said("failed", "0:9") == "failed (signal 9)"
    log.write_text("slurmstepd: error: Step exceeded memory limit (9 > 8), being killed\n")
    assert said("failed", "0:9") == "out of memory"


def test_a_log_is_shown_from_its_end(tmp_path):
    record = Record("7", "P1-01.tiny.s0.none", "P1-01", "tiny", 0, "none", "", [])
    assert "is not there" in last_lines(tmp_path, record.log)[0]
    (tmp_path / "logs").mkdir()
    (tmp_path / record.log).write_text("".join(f"line {n}\n" for n in range(100_000)))
    assert last_lines(tmp_path, record.log, 2) == [f"{record.log} ends with:", "line 99998", "line 99999"]


def test_records_that_cannot_be_read_are_left_out(project):
    submitted(project, "P1-01", "12", submitted="2026-01-02")
    submitted(project, "P1-01", "3", submitted="2026-01-01")
    (folder(project.root) / "4.json").write_text("{")
    assert [record.job for record in records(project.root)] == ["3", "12"]
    logs = project.make("logs", "EXP=P1-01").stdout
    assert "P1-01.tiny.s0.none (job 12)" in logs and "is not there" in logs
    assert "no job of P1-01" in project.make("logs", "EXP=P1-01", "SEED=3").stderr


def test_a_status_does_not_depend_on_slurm(project, monkeypatch):
    monkeypatch.setattr(slurm, "call", lambda *_, **__: pytest.fail("nothing was submitted"))
    assert newest(project.root, [("P1-01", AT)]) == {}
    submitted(project, "P1-02")
    done = project.make("status", "PROFILE=tiny", **NONE)
    assert done.returncode == 0 and "3 of 5" in done.stdout


def test_jobs_of_this_user_may_be_called_anything(monkeypatch):
    """Accounting knows nothing; the controller lists all jobs of the user."""
    answers = {"sacct": "", "squeue": "7|x||RUNNING||n1|0:05\n8|a|b|c|PENDING|||0:00\n9|P1-01||||\n"}
    monkeypatch.setattr(slurm, "call", lambda *words, **_: answers[words[0]])
    found = slurm.jobs(["7", "8", "9"])
    assert [(job.name, job.state, job.node) for job in found.values()] == [
        ("x|", "running", "n1"),
        ("a|b|c", "queued", ""),
        ("P1-01", "failed", ""),
    ]
