"""A script's command line: what it takes, how it refuses, how its runs end."""

import json
import os
import re
import signal

import pytest

from ired.lab import command
from small_project import one_line


def test_help_explains_the_parameters(fresh):
    done = fresh.run("11_look", "--help")
    assert done.returncode == 0
    for words in ("Looks at what was trained.", "--points", "how many (default: 100; tiny: 8)"):
        assert words in done.stdout


@pytest.mark.parametrize(
    "words, told",
    [
        (["--profile", "huge"], ["unknown profile 'huge'", "tiny, small, paper, paper-std"]),
        (["--seed", "three"], ["seed 'three' is not a whole number from 0 to 999999999"]),
        (["--seed", "-1"], ["seed '-1' is not a whole number"]),
        (["--variant", "odd"], ["unknown variant 'odd'", "none, random"]),
        (["--device", "tpu"], ["unknown device 'tpu'", "auto, cpu, cuda"]),
        (["--device", "cuda"], ["--device cuda", "make doctor"]),
        (["--points", "many"], ["points 'many' is not a whole number"]),
        (["--points", "-1"], ["points '-1' is not a whole number of 1 or more"]),
        (["--points", "0"], ["points '0' is not a whole number of 1 or more"]),
        (["--point", "1"], ["unrecognized arguments: --point 1"]),
    ],
)
def test_a_mistake_in_the_arguments_is_one_line(fresh, words, told):
    one_line(fresh.run("11_look", *words, CUDA_VISIBLE_DEVICES=""), *told)


def test_threads_that_are_no_number(fresh):
    one_line(fresh.run("00_prepare", IRED_THREADS="many"), "IRED_THREADS")


@pytest.mark.slow
def test_what_took_more_memory_than_there_is_does_not_start(inside, project, monkeypatch):
    small = ("--profile", "small")
    assert inside("01_train", *small).returncode == 0
    monkeypatch.setenv("IRED_MEMORY", "0.01")
    refused = inside("01_train", *small, "--force")
    one_line(
        refused,
        "SETUP-2 small seed 0 needs about ",
        " GiB of memory, as run ",
        "0.0 GiB are free: close other programs, give it a smaller size by ARGS",
        "set IRED_MEMORY=",
    )
    needed, proposed = (float(re.search(f"{words}([0-9.]+)", refused.stderr)[1]) for words in ("about ", "MEMORY="))
    assert needed <= proposed + 0.05 and proposed < needed + 1.05, "the next whole number; what is needed is rounded"
    assert "up to date" in inside("01_train", *small).stdout
    assert inside("01_train", *small, "--seed", "1").returncode == 2, "whatever the seed"
    for other in (("--behave", "raise"), ("--variant", "random")):
        assert inside("01_train", *small, *other).returncode != 2, "of another size nothing is known"
    assert inside("01_train", "--force").returncode == 0, "tiny always fits"
    monkeypatch.setenv("IRED_MEMORY", "20")
    assert inside("01_train", *small, "--force").returncode == 0
    monkeypatch.setenv("IRED_MEMORY", "all")
    one_line(inside("01_train", *small, "--force"), "IRED_MEMORY is 'all', not a number of GiB")


def test_what_was_measured_elsewhere_counts_for_the_sizes_of_the_profile(inside, project, monkeypatch):
    path = project.root / "pipeline.json"
    measured = {"small": {name: {"minutes": 1, "memory_gib": 10_000} for name in ("SETUP-2", "P1-01")}}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"measured": measured}))
    one_line(inside("01_train", "--profile", "small"), "needs about 10000.0 GiB", "measured on another machine")
    monkeypatch.setattr("ired.lab.command.available_gib", lambda: None)
    assert inside("01_train", "--profile", "small").returncode == 0, "where nobody knows what is free"
    monkeypatch.undo()
    assert inside("11_look", "--profile", "small").returncode == 2
    assert inside("11_look", "--profile", "small", "--points", "3").returncode == 0


def test_an_upstream_result_that_is_missing_names_its_target(inside):
    one_line(
        inside("11_look", "--seed", "2"),
        "P1-01 tiny seed 2 needs SETUP-2 tiny seed 2",
        "`make SETUP-2 PROFILE=tiny SEED=2`",
    )


def test_a_script_of_another_copy_is_refused(mother, fresh):
    done = fresh.run("00_prepare", PYTHONPATH=str(mother.root))
    one_line(done, "another copy of the project", str(mother.root))


def test_a_finished_run_is_not_repeated_and_force_repeats_it(inside, project):
    again = project.run("11_look")
    assert again.returncode == 0
    assert "P1-01 tiny seed 0 is up to date: seen 12; " in again.stdout
    assert project.runs("P1-01") == ["FINISHED"]
    forced = inside("11_look", "--force")
    assert forced.returncode == 0
    assert f"starts on cpu, {os.environ['IRED_THREADS']} threads" in forced.stdout
    assert project.runs("P1-01") == ["FINISHED", "FINISHED"]


def test_every_run_says_where_it_comes_from(mother):
    tags = dict(
        mother.sql(
            "SELECT t.key, t.value FROM tags t JOIN tags e ON e.run_uuid = t.run_uuid"
            " WHERE e.key = 'exp_id' AND e.value = 'P1-01'"
        )
    )
    upstream = mother.sql("SELECT run_uuid FROM tags WHERE key = 'exp_id' AND value = 'SETUP-2'")
    assert tags["upstream.SETUP-2.s0.none"] == upstream[0][0]
    expected = {
        "profile": "tiny",
        "seed": "0",
        "variant": "none",
        "device": "cpu",
        "threads": "1",
        "mlflow.runName": "P1-01 tiny seed 0",
        "headline": "seen 12",
    }
    assert {name: tags[name] for name in expected} == expected
    assert {"key", "host", "pid", "packages"} < set(tags)
    assert json.loads(tags["packages"])["pytest"] == pytest.__version__
    names = {row[0] for row in mother.sql("SELECT name FROM experiments")}
    assert names == {"Default", "Setup", "Phase 1: first things", "Phase 2: second things"}
    metrics = {row[0] for row in mother.sql("SELECT key FROM latest_metrics")}
    assert {
        "wall_seconds",
        "cpu_seconds",
        "peak_memory_gib",
        "headline",
        "headline.low",
        "criterion.good",
        "criterion.good.x",
    } <= metrics
    params = dict(mother.sql("SELECT key, value FROM params"))
    assert params["points"] == "8" and "problem.n" in params


@pytest.mark.parametrize(
    "way, status, said",
    [
        ("nan", 1, "error: 'loss' is nan at step 7: the run stops here\n"),
        ("raise", 1, "ValueError: as asked"),
        ("forget", 1, "declared but never decided: good"),
        ("undeclared", 1, "criterion 'unheard_of' is not declared"),
        ("full", 2, "error: the disk is full: free some space and run the same command again\n"),
    ],
)
def test_a_run_that_goes_wrong_has_failed(inside, project, way, status, said):
    done = inside("01_train", "--behave", way)
    assert done.returncode == status
    assert done.stderr == said if said.startswith("error") else said in done.stderr
    assert ("Traceback" in done.stderr) != done.stderr.startswith("error")
    assert project.runs("SETUP-2") == ["FINISHED", "FAILED"]
    (traceback,) = project.root.rglob("error.txt")
    assert "Traceback" in traceback.read_text()
    last = project.sql("SELECT run_uuid FROM runs WHERE status = 'FAILED'")[0][0]
    logged = dict(project.sql("SELECT key, value FROM latest_metrics WHERE run_uuid = ?", last))
    assert logged["peak_memory_gib"] > 0.01 and {"wall_seconds", "cpu_seconds"} < set(logged)
    assert len(list((project.root / "mlruns" / "stamps" / "local").iterdir())) == 3


@pytest.mark.slow
def test_who_reads_the_output_may_leave_and_a_closed_terminal_may_be_ignored(project):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup has it, for all that it starts
    try:
        run = project.start("01_train", "--seed", "5", "--behave", "sleep")
    finally:
        signal.signal(signal.SIGHUP, before)
    wait_until_asleep(run)
    run.send_signal(signal.SIGHUP)
    run.stdout.close()
    run.send_signal(signal.SIGTERM)
    assert run.wait(timeout=60) == 143 and run.stderr.read() == "error: SETUP-2 was stopped by SIGTERM\n"
    run = project.start("01_train", "--seed", "6")
    run.stdout.close()
    assert run.wait(timeout=60) == 0 and run.stderr.read() == ""
    assert sorted(project.runs("SETUP-2")) == ["FINISHED", "FINISHED", "KILLED"]


def test_a_signal_that_comes_after_the_end_changes_nothing(inside, project, monkeypatch):
    from ired.lab.tracking.mlflow_client import Tracking

    end = Tracking.end

    def ended(self, run_id, status):
        end(self, run_id, status)
        if status == "FINISHED":
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Tracking, "end", ended)
    assert inside("01_train", "--seed", "8").returncode == 143
    monkeypatch.undo()
    assert project.runs("SETUP-2")[-1] == "FINISHED"


@pytest.mark.slow
def test_stopping_and_killing(project):
    started = [project.start("01_train", "--seed", str(seed), "--behave", "sleep") for seed in (5, 6, 7)]
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGKILL)
    for process, number in zip(started, numbers, strict=True):
        wait_until_asleep(process)
        process.send_signal(number)
    said = [process.communicate(timeout=60)[1] for process in started]
    assert [process.returncode for process in started] == [143, 130, -9]
    assert said[0] == "error: SETUP-2 was stopped by SIGTERM\n"
    assert sorted(project.runs("SETUP-2")) == ["FINISHED", "KILLED", "KILLED", "RUNNING"]

    # The run that was killed without a word is marked when its successor starts.
    again = project.start("01_train", "--seed", "7", "--behave", "sleep")
    wait_until_asleep(again)
    assert sorted(project.runs("SETUP-2")) == ["FINISHED", "KILLED", "KILLED", "KILLED", "RUNNING"]
    again.terminate()
    again.communicate(timeout=60)


def wait_until_asleep(process):
    while "asleep" not in process.stdout.readline():
        assert process.poll() is None, process.stderr.read()


@pytest.mark.slow
def test_two_at_once_run_once(project):
    both = [project.start("01_train", "--seed", "1") for _ in range(2)]
    said = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert project.runs("SETUP-2") == ["FINISHED", "FINISHED"]  # the mother's, and one of these
    assert sum("another process is running it" in text for text in said) == 1
    assert sum("is up to date" in text for text in said) == 1


def test_an_edit_while_a_command_starts_is_noticed(inside, project, monkeypatch):
    """The key was taken before the wait for the lock; what runs would be something else."""
    monkeypatch.setattr(command, "mark_dead_runs", lambda *_: project.edit("ired/constants.py", "4", "5"))
    one_line(inside("01_train", "--seed", "3"), "the code was edited while this was starting")
    assert project.runs("SETUP-2") == ["FINISHED"]


def test_results_are_found_without_their_stamps(inside, project):
    for stamp in (project.root / "mlruns" / "stamps" / "local").iterdir():
        stamp.unlink()
    done = inside("11_look")
    assert "is up to date: seen 12" in done.stdout, done.stderr
    assert project.runs("P1-01") == ["FINISHED"]


def test_a_deleted_run_is_made_anew(inside, project):
    project.delete("SETUP-2")
    one_line(inside("11_look", "--force"), "needs SETUP-2", "make SETUP-2 PROFILE=tiny")
    planned = project.make("-n", "SETUP-2", "PROFILE=tiny").stdout
    assert "scripts/01_train.py" in planned
    assert "starts on cpu" in inside("01_train").stdout
    assert project.runs("SETUP-2") == ["FINISHED", "FINISHED"]


def test_a_damaged_artifact_names_its_remedy(inside, project):
    (answer,) = (project.root / "mlruns" / "artifacts" / "phase0").rglob("answer.json")
    answer.write_text(answer.read_text()[:5])
    one_line(
        inside("11_look", "--force"),
        "answer.json of SETUP-2 tiny seed 0",
        "cannot be read",
        "`make SETUP-2 PROFILE=tiny ARGS=--force`",
    )
