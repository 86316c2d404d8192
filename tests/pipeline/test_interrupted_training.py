"""A training that is there, was killed, diverges, or went further than what is asked for."""

import signal
import subprocess
import sys
import time

import whole_queue
from tiny_store import numbers, run, runs, runs_of

SCRIPT = "scripts/02_train_baseline.py"


def checkpoints(folder):
    """Trainings' last states, and when they were written."""
    states = (folder / "mlruns/work").rglob("training.safetensors")
    return {state: state.stat().st_mtime for state in states}


def test_an_edit_outside_the_training_does_not_train_again(copy):
    """The baseline is measured again, because that may differ, from its last checkpoint."""
    before = checkpoints(copy)
    with (copy / "ired/instruments/accuracy/metrics.py").open("a") as file:
        file.write("# another thought\n")
    done = run(copy, SCRIPT)
    assert done.returncode == 0 and "up to date" not in done.stdout
    assert checkpoints(copy) == before
    trained = runs_of(copy, "SETUP-3")
    assert len(trained) == 2 and numbers(trained[0]) == numbers(trained[1])
    assert not list((copy / "mlruns").rglob("*.tmp"))


def test_a_killed_training_ends_as_an_undisturbed_one(untrained):
    [whole] = runs_of(untrained, "SETUP-3")
    process = subprocess.Popen(
        [sys.executable, SCRIPT, "--profile", "tiny", "--force"],
        cwd=untrained,
        env=whole_queue.environment(untrained),
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not list((untrained / "mlruns").rglob("training.safetensors")):
        assert process.poll() is None and time.monotonic() < deadline, "no checkpoint was written"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    done = run(untrained, SCRIPT, "--force")
    assert done.returncode == 0, done.stderr
    trained = runs_of(untrained, "SETUP-3")
    assert [r.info.status for r in trained] == ["FINISHED", "KILLED", "FINISHED"]
    assert numbers(trained[-1]) == numbers(whole)


def test_training_that_diverges_is_failed(untrained):
    training = untrained / "ired/model/training/trainer.py"
    wild = training.read_text().replace("rate = c.learning_rate", "rate = 1e30")
    assert wild != training.read_text()
    training.write_text(wild)
    done = run(untrained, SCRIPT)
    assert done.returncode == 1
    assert "diverged at step" in done.stderr
    last = max(runs(untrained), key=lambda r: r.info.start_time)
    assert (last.data.tags["exp_id"], last.info.status) == ("SETUP-3", "FAILED")


def test_a_training_that_went_further_is_not_taken_for_a_shorter_one(copy):
    done = run(copy, SCRIPT, "--until", "100")
    assert done.returncode == 2 and "is at step 400, beyond 100" in done.stderr
