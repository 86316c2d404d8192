"""make: what its targets promise, and how it refuses."""

import os
import re
import shutil
import subprocess

import pytest

from ired.lab.machine import cores, may_have_gpu
from ired.lab.queue import ROOT
from small_project import one_line


def test_help_is_the_default_and_lists_every_target(fresh):
    done = fresh.make()
    assert done.returncode == 0
    targets = re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {"help", "setup", "test", "status", "ui", "doctor", "lock", "clean"} <= set(targets)
    for target in [*targets, "phase1 ... phase7", "P1-03", "PROFILE", "TORCH_INDEX"]:
        assert target in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert not (fresh.root / "mlruns").exists()


def test_a_second_call_does_nothing_at_once(project):
    (project.root / "scripts" / "01_train.py").touch()
    for path in (project.root / "mlruns" / "stamps").rglob("*.*"):
        path.touch()
    done = project.make("P1-01", "PROFILE=tiny")
    assert done.returncode == 0
    assert re.fullmatch(r"P1-01 tiny seed 0 is up to date: seen 12 \(run \w+\)\n", done.stdout)


def test_a_dry_run_shows_and_does_nothing(fresh):
    done = fresh.make("-n", "P1-01", "PROFILE=tiny", "SEED=4", "DEVICE=cpu")
    assert done.stdout.splitlines() == [
        ".venv/bin/python scripts/00_prepare.py --device cpu",
        ".venv/bin/python scripts/01_train.py --profile tiny --seed 4 --variant none --device cpu",
        ".venv/bin/python scripts/11_look.py --profile tiny --seed 4 --variant none --device cpu",
    ]
    assert not (fresh.root / "mlruns" / "mlflow.db").exists()


@pytest.mark.slow
def test_args_go_to_the_named_experiment_as_words(project):
    planned = project.make("-n", "P1-01", "PROFILE=tiny", "SEED=1", "ARGS=--points 3").stdout
    assert "01_train.py --profile tiny --seed 1 --variant none\n" in planned
    assert "11_look.py --profile tiny --seed 1 --variant none --points 3\n" in planned
    assert project.make("P1-01", "PROFILE=tiny", "ARGS=--points 8").stdout.startswith(
        "P1-01 tiny seed 0 is up to date"
    )  # which is the default at tiny
    assert "--force" in project.make("-n", "P1-01", "PROFILE=tiny", "ARGS=--force").stdout
    one_line(project.make("P1-01", "ARGS=--points 3; touch hacked"), "points '3;'")
    one_line(project.make("P1-01", "ARGS=--points $(touch hacked)"), "points '$(touch'")
    one_line(project.make("SETUP-2", "ARGS=--behave 'sl"), "ARGS: No closing quotation")
    one_line(project.make("P1-01", "ARGS=--seed 4"), "are given to make, not in ARGS")
    one_line(project.make("P1-01", "ARGS=--help"), "python scripts/11_look.py --help")
    one_line(project.make("phase1", "ARGS=--points 3"), "ARGS goes to one experiment")
    assert not (project.root / "hacked").exists()


def test_several_seeds_of_one_experiment(fresh):
    planned = fresh.make("-n", "P1-01", "PROFILE=tiny", "SEEDS=2 0 2").stdout
    for seed in (0, 2):
        for script in ("01_train", "11_look"):
            assert f"{script}.py --profile tiny --seed {seed} --variant none\n" in planned
    assert planned.count("11_look") == 2 and "make" not in planned  # IRED_THREADS is set: no groups
    one_line(fresh.make("phase1", "SEEDS=0 1"), "SEEDS is for one experiment")
    one_line(fresh.make("P1-01", "SEEDS=0 x"), "seed 'x' is not a whole number")


@pytest.mark.skipif(may_have_gpu() or cores() < 2, reason="side by side needs two cores and no GPU")
@pytest.mark.slow
def test_seeds_run_side_by_side_with_a_share_of_the_cores_each(fresh):
    done = fresh.make("SETUP-2", "PROFILE=tiny", "SEEDS=0 1", IRED_THREADS="")
    assert done.returncode == 0, done.stderr
    assert fresh.runs("SETUP-2") == ["FINISHED"] * 2
    threads = fresh.sql(
        "SELECT t.value FROM tags t JOIN tags e USING (run_uuid) WHERE t.key = 'threads'"
        " AND e.key = 'exp_id' AND e.value = 'SETUP-2'"
    )
    assert [int(row[0]) for row in threads] == [cores() // 2] * 2
    again = fresh.make("SETUP-2", "PROFILE=tiny", "SEEDS=0 1", IRED_THREADS="").stdout
    assert again.count("is up to date") == 2 and fresh.runs("SETUP-2") == ["FINISHED"] * 2


def test_what_needs_layers_refuses_an_energy_without(project):
    pipeline = project.root / "pipeline.json"
    text = pipeline.read_text().replace('"variants"', '"energies": ["product"], "variants"', 1)
    place = text.index('"P1-02"')
    pipeline.write_text(text[:place] + text[place:].replace('"needs"', '"layers": true, "needs"', 1))
    one_line(project.make("P1-02", "PROFILE=tiny", "VARIANT=product-random"), "looks into the layers")
    one_line(project.make("phase1", "PROFILE=tiny", "VARIANT=product"), "P1-02 looks into the layers")
    one_line(project.run("12_again", "--variant", "product"), "--variant: P1-02 looks into the layers")
    assert project.make("-n", "P1-01", "PROFILE=tiny", "VARIANT=product").returncode == 0


@pytest.mark.parametrize(
    "words, told",
    [
        (["P1-01", "PROFILE=huge"], "unknown profile 'huge'"),
        (["P1-01", "SEED=x"], "seed 'x' is not a whole number"),
        (["P1-01", "SEED='; touch hacked #"], "seed '"),
        (["P1-01", "VARIANT=odd"], "unknown variant 'odd'"),
        (["P1-01", "DEVICE=tpu"], "unknown device 'tpu'"),
        (["P1-77"], "unknown experiment 'P1-77'"),
        (["phase9"], "there is no phase9: phases are phase1 to phase2"),
        (["setup", "VENV=a b"], "VENV must be one path without spaces"),
        (["doctor", "VENV="], "VENV must be one path"),
        (["doctor", "VENV=x`>hacked`"], "not 'x`>hacked`'"),
        (["doctor", "VENV=x$(shell touch hacked)"], "not 'x$(shell touch hacked)'"),
        (["-n", "doctor", "VENV=+x"], "not '+x'"),  # make would take the + for its own
        (["P1-01", "ARGS=--points $(shell touch hacked)"], "points '$(shell'"),
        (["P1-01", "ON=$(shell touch hacked)slurm"], "ON is '$(shell touch hacked)slurm'"),
        (["P1-01", "SEEDS=$(shell touch hacked)"], "seed '$(shell' is not"),
        (["test", "ARGS=-k 'a"], "ARGS: a quotation is not closed"),
    ],
)
def test_a_mistake_is_one_line(fresh, words, told):
    one_line(fresh.make(*words), told)
    assert not (fresh.root / "hacked").exists()


@pytest.mark.parametrize(
    "words, told",
    [
        (["status", "PROFILE=$(shell touch hacked)tiny"], "unknown profile '$(shell touch hacked)tiny'"),
        (["logs", "EXP=$(shell touch hacked)"], "unknown experiment '$(shell touch hacked)'"),
        (["cancel", "PHASE=1", "SEED=$(shell touch hacked)"], "seed '$(shell touch hacked)'"),
        (["ui", "PORT=$(shell touch hacked)"], "PORT '$(shell touch hacked)'"),
        (["server", "STORE=http://$(shell touch hacked)"], "STORE is a database"),
    ],
)
def test_make_expands_nothing_of_what_it_is_given(fresh, words, told):
    done = fresh.make(*words)
    assert done.returncode == 2 and told in done.stderr.splitlines()[0]
    assert not (fresh.root / "hacked").exists()


def test_make_expands_nothing_of_the_environment_either(fresh):
    one_line(fresh.make("P1-01", VENV="$(shell touch hacked)x"), "not '$(shell touch hacked)x'")
    shown = fresh.make("-n", "setup", "VENV=new", TORCH_INDEX="$(shell touch hacked)").stdout
    assert "--torch-index '$(shell touch hacked)'" in shown
    assert not (fresh.root / "hacked").exists()


def test_a_dollar_reaches_the_experiment(fresh):
    fresh.edit("scripts/11_look.py", 'points=Param(100, tiny=8, help="how many")', 'points=Param("")')
    fresh.edit("scripts/11_look.py", 'answer["value"] + run.params.points', '1')
    planned = fresh.make("-n", "P1-01", "PROFILE=tiny", "ARGS=--points '/data/$USER/$$/a b'").stdout
    assert "--points '/data/$USER/$$/a b'\n" in planned


def test_retrain_hands_its_words_on_as_they_are(fresh):
    fresh.edit("pipeline.json", "SETUP-2", "SETUP-3")  # which is what it trains
    fresh.edit("scripts/01_train.py", "SETUP-2", "SETUP-3")
    done = fresh.make("retrain", "PROFILE=tiny", "ARGS=--behave $(shell touch hacked)$USER'")
    assert "ARGS: a quotation is not closed" in done.stderr and not (fresh.root / "hacked").exists()
    shown = fresh.make("-n", "retrain", "PROFILE=tiny", "ARGS=--behave '$(shell touch hacked)$USER'")
    assert "behave '$(shell touch hacked)$USER'" in shown.stderr and "choose one of" in shown.stderr
    assert not (fresh.root / "hacked").exists()


@pytest.mark.parametrize("target", ["test", "bench", "growth", "accuracy"])
def test_args_are_words_and_never_commands(fresh, target):
    python = fresh.root / ".venv" / "bin" / "python"
    start, real = python.read_text().splitlines()
    python.write_text(f'{start}\n[ "$1" = -m ] || {real}\nprintf "<%s>" "$@"\n')
    (fresh.root / "benchmarks").mkdir()
    (fresh.root / "benchmarks" / "requirements.txt").touch()
    (fresh.root / ".venv" / ".peers-4294967295").touch()  # the cksum of nothing
    args = "ARGS=-k 'a  b' $HOME; touch hacked \"it's\" `touch hacked` $(touch hacked) *"
    done = fresh.make(target, args)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("<-k><a  b><$HOME;><touch><hacked><it's><`touch><hacked`><$(touch><hacked)><*>")
    assert re.search(r"(pytest|benchmarks[.a-z]*)>$", fresh.make(target).stdout)
    assert not (fresh.root / "hacked").exists()


def test_what_asks_for_nothing_to_be_done_submits_nothing(fresh):
    shutil.copytree(fresh.root / ".venv", fresh.root / "other")
    submitted, slurm = fresh.root / "submitted", fresh.root / "slurm"
    slurm.mkdir()
    sbatch = '[ "$1" = --test-only ] || { echo "$IRED_PYTHON" >> submitted; echo 7; }'
    for name, text in (("squeue", ""), ("sbatch", sbatch)):
        (slurm / name).write_text(f"#!/bin/sh\n{text}\n")
        (slurm / name).chmod(0o755)
    words = ["P1-01", "ON=slurm", "PROFILE=tiny", "EARLY_POLL=0", "VENV=other"]
    path = f"{slurm}:{os.environ['PATH']}"
    for flag in ("-n", "-q", "-t", "-kq"):
        done = fresh.make(flag, *words, PATH=path)
        assert done.returncode == 0 and done.stdout.count("sbatch --parsable") == 3, done.stderr
        assert not submitted.exists()
    done = fresh.make("--trace", *words, PATH=path)
    assert done.returncode == 0, done.stderr
    assert submitted.read_text().splitlines() == ["other/bin/python"] * 3  # where the job starts


def test_a_python_that_is_missing_or_old_is_told(fresh):
    missing = fresh.make("P1-01", "PYTHON=no-such-python")
    assert missing.returncode == 2 and "'no-such-python' could not plan" in missing.stderr
    old = fresh.root / "old-python"
    old.write_text("#!/bin/sh\necho 'error: python 3.11 or newer is needed'; exit 2\n")
    old.chmod(0o755)
    one_line(fresh.make("P1-01", "PYTHON=./old-python"), "python 3.11 or newer")


def test_what_is_not_built_fails_before_anything_long(project):
    for goal in ("P2-01", "phase2", "all"):
        done = project.make(goal, "PROFILE=tiny", "SEED=9")
        assert done.returncode == 2 and "starts on" not in done.stdout
        assert "P2-01 is not built yet: scripts/21_missing.py is missing" in done.stderr
    going_on = project.make("-k", "-n", "all", "PROFILE=tiny", "SEED=9")
    assert "scripts/12_again.py" in going_on.stdout
    (project.root / "scripts" / "11_look.py").unlink()
    done = project.make("P2-01")
    assert "P2-01 needs P1-01: P1-01 is not built yet: scripts/11_look.py" in done.stderr


@pytest.mark.slow
def test_a_phase_in_parallel_runs_what_is_missing_and_ends_with_its_table(project):
    project.delete("SETUP-2")
    project.delete("P1-01")
    done = project.make("-j2", "phase1", "PROFILE=tiny")
    assert done.returncode == 0, done.stderr
    first, *others = re.findall(r"scripts/(\w+)\.py", done.stdout)
    assert first == "01_train" and sorted(others) == ["11_look", "12_again"]
    *_, first, second, _, where = done.stdout.splitlines()
    assert re.fullmatch(r"P1-01  seen 12 +no criteria  run \w{8}", first)
    assert re.fullmatch(r"P1-02  seen again 4 +no criteria  run \w{8}", second)
    assert "mlruns/artifacts/phase1/RUN" in where
    assert project.runs("P1-01") == ["FINISHED", "FINISHED"]
    again = project.make("phase1", "PROFILE=tiny")
    assert again.stdout.splitlines()[-4:-2] == [first, second] and "scripts/" not in again.stdout


@pytest.mark.slow
def test_keep_going_finishes_what_can_be(project):
    project.edit("scripts/11_look.py", "from ired", "raise ValueError('no')\nfrom ired")
    done = project.make("-k", "phase1", "PROFILE=tiny")
    assert done.returncode == 2 and "ValueError: no" in done.stderr
    assert project.runs("P1-02") == ["FINISHED"]


@pytest.mark.slow
def test_two_makes_at_once_do_not_disturb_each_other(project):
    words = ["make", "P1-01", "PROFILE=tiny", "SEED=0"]
    both = [
        subprocess.Popen(
            [*words, *more],
            cwd=project.root,
            env=project.env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for more in ([], [], ["-n", "ARGS=--points 3"], ["-n", "SEED=1"]) * 3
    ]
    said = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0] * 12
    assert all("--points 3" in out for out, _ in said[2::4])
    assert all("--seed 1" in out for out, _ in said[3::4])


def test_clean_keeps_results_and_unfinished_work(project):
    work = project.root / "mlruns" / "work"
    for name in ("done", "open"):
        (work / name).mkdir(parents=True)
    (work / "done" / "finished").touch()
    before = {p for p in project.root.rglob("*") if "artifacts" in p.parts or "stamps" in p.parts}
    assert project.make("clean").returncode == 0
    assert [p.name for p in work.iterdir()] == ["open"]
    assert not (project.root / "mlruns" / "rules").exists()
    assert all(p.exists() for p in before) and (project.root / "mlruns" / "mlflow.db").exists()
    assert (project.root / ".venv" / "bin" / "python").exists()


def test_a_file_named_like_a_target_does_not_shadow_it(project):
    for name in ("phase1", "P1-01", "status", "clean"):
        (project.root / name).touch()
    assert "is up to date: seen 12" in project.make("P1-01", "PROFILE=tiny").stdout
    assert "estimate" in project.make("status").stdout
