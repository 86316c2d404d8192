"""The whole pipeline as a user runs it, at the tiny profile, in a copy of the project."""

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas
import pytest
from mlflow import MlflowClient

import whole_queue
from ired.lab import queue
from ired.lab.run import sha256
from ired.lab.usage import METERS
from ired.model import checkpoint
from ired.model.energy import EnergyConfig, MLPEnergy
from ired.report.page import dead_links

ROOT = Path(__file__).resolve().parents[1]
QUEUE = queue.load()
BUILT = [exp for exp in QUEUE.experiments if (ROOT / exp.script).exists()]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy without results, in a folder with a space in its name."""
    return whole_queue.copied(tmp_path_factory.mktemp("a project") / "of mine")


def run(folder, script, *words):
    return subprocess.run(
        [sys.executable, script, "--profile", "tiny", *words],
        cwd=folder, env=whole_queue.environment(folder), capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def runs(folder, nested=False, seed=0):
    """The runs of experiments at one seed without mining, or all those that are nested under them."""
    client = MlflowClient(f"sqlite:///{folder}/mlruns/mlflow.db")
    everywhere = [e.experiment_id for e in client.search_experiments()]
    found = client.search_runs(everywhere, max_results=1000)
    found = [r for r in found if ("mlflow.parentRunId" in r.data.tags) == nested]
    at = {"seed": str(seed), "variant": "none"}
    return client, [r for r in found if nested or at.items() <= r.data.tags.items()]


def numbers(run):
    """A run's metrics without those that tell what it took."""
    return {k: v for k, v in run.data.metrics.items() if k not in METERS}


@pytest.fixture(scope="module")
def finished(project, tmp_path_factory):
    """The project after every built script has run once, two at a time where needs allow it."""
    whole_queue.run(project, "tiny", tmp_path_factory.mktemp("streams"))
    return project


def test_every_built_script_leaves_a_whole_run(finished):
    client, found = runs(finished)
    assert {r.data.tags["exp_id"] for r in found} == {exp.id for exp in BUILT}
    assert {r.info.status for r in found} == {"FINISHED"}
    for r in found:
        exp_id = r.data.tags["exp_id"]
        declared = {t for t in r.data.tags if t.startswith("criterion.")}
        assert declared and declared <= set(r.data.metrics), exp_id
        if exp_id != "SETUP-1":
            assert r.inputs.dataset_inputs, f"{exp_id} names no data"
        pictures = [f.path for f in client.list_artifacts(r.info.run_id, "figures")]
        if exp_id != "SETUP-1" and exp_id != "SETUP-5":
            for suffix in ("png", "svg", "txt"):
                assert any(name.endswith(suffix) for name in pictures), f"{exp_id} {suffix}"


def test_a_sweep_is_nested_and_compares(finished):
    """Every member is a run of its own under that of the sweep, with what tells it from the others."""
    sweep = next(r for r in runs(finished)[1] if r.data.tags["exp_id"] == "P2-05")
    members = [r for r in runs(finished, nested=True)[1] if r.data.tags["part_of"] == "P2-05"]
    assert len(members) == 3 * 4 * 2
    assert {r.data.tags["mlflow.parentRunId"] for r in members} == {sweep.info.run_id}
    assert {r.info.status for r in members} == {"FINISHED"}
    for name, count in {"layer": 3, "architecture": 4, "sparsity": 2}.items():
        assert len({r.data.params[name] for r in members}) == count
    assert all({"l0", "gap", "score", "explained", "dead"} <= set(r.data.metrics) for r in members)


def test_ways_of_mining_compare(finished):
    """A run for each variant, a child for each seed, and what the UI groups by in all of them."""
    _, parents = runs(finished)
    _, members = runs(finished, nested=True)
    for exp_id, variant in (("P7-01", "none"), ("P7-02", "random"), ("P7-03", "adversarial")):
        parent = next(r for r in parents if r.data.tags["exp_id"] == exp_id)
        own = [r for r in members if r.data.tags["part_of"] == exp_id]
        assert {r.data.tags["mlflow.parentRunId"] for r in own} == {parent.info.run_id}
        assert sorted(r.data.params["seed"] for r in own) == ["0", "1", "2"]
        assert {r.data.params["mining"] for r in own} == {r.data.tags["variant"] for r in own} == {variant}
        for r in own:
            assert {"mse.test.steps_50", "mse.harder.steps_50", "sampled_mse"} <= set(r.data.metrics)


def test_a_broken_shard_of_activations_is_one_line(finished, tmp_path):
    copy = tmp_path / "shard"
    shutil.copytree(finished, copy)
    before = len(runs(copy)[1])
    shard = next(copy.glob("mlruns/artifacts/*/*/artifacts/train-0000-fc2.safetensors"))
    shard.write_bytes(shard.read_bytes()[:-100])
    done = run(copy, "scripts/23_sae_fc2.py", "--force")
    assert done.returncode == 2
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and "train-0000-fc2" in lines[0] and "P2-01" in lines[0], done.stderr
    _, found = runs(copy)
    states = [r.info.status for r in found if r.data.tags["exp_id"] == "P2-03"]
    assert sorted(states) == ["FAILED", "FINISHED"] and len(found) == before + 1
    done = run(copy, "scripts/23_sae_fc2.py", "--architecture", "dense")
    assert done.returncode == 2 and "unknown architecture 'dense'" in done.stderr


def report(folder, *words):
    """`make report` in a copy of the project: how it ended, and the page."""
    done = subprocess.run(
        [sys.executable, "-m", "ired.report.build", "--profile", "tiny", *words],
        cwd=folder, env=whole_queue.environment(folder), capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    page = folder / "mlruns/report-tiny-seed0-none.html"
    return done, page.read_text() if page.exists() else ""


def test_the_synthesis_takes_account_of_every_criterion(finished):
    """All claims are judged, and each number in their sentences was logged by a run."""
    last = next(r for r in runs(finished)[1] if r.data.tags["exp_id"] == "P7-05")
    assert last.data.metrics["criterion.everything_is_there"] == 1
    assert last.data.metrics["criterion.nothing_left_out"] == 1
    assert last.data.metrics["verdict.open"] == 0
    folder = finished / f"mlruns/artifacts/phase7/{last.info.run_id}/artifacts"
    claims, criteria = (pandas.read_parquet(folder / f"{name}.parquet") for name in ("claims", "criteria"))
    assert not claims["found"].str.contains("missing").any() and claims["found"].str.contains(r"\d").all()
    logged = [(r.data.tags["exp_id"], name) for r in runs(finished)[1] if r.data.tags["exp_id"] != "P7-05"
              for name in json.loads(r.data.tags["criteria"])]  # fmt: skip
    assert sorted(zip(criteria["experiment"], criteria["criterion"], strict=True)) == sorted(logged)
    for row in criteria.itertuples():
        run = next(r for r in runs(finished)[1] if r.info.run_id == row.run_id)
        assert run.data.metrics[f"criterion.{row.criterion}"] == row.met


def test_the_report_shows_everything_and_opens_in_a_browser(finished, browser):
    done, html = report(finished)
    assert done.returncode == 0 and "39 of 39 experiments" in done.stdout, done.stderr
    assert dead_links(html) == []
    pictures = [f for r in runs(finished)[1] if r.data.tags["exp_id"] != "P7-05"
                for f in MlflowClient(f"sqlite:///{finished}/mlruns/mlflow.db").list_artifacts(r.info.run_id, "figures")
                if f.path.endswith(".png")]  # fmt: skip
    page = browser.new_page()
    said = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("requestfailed", lambda request: said.append(request.url))
    page.goto((finished / "mlruns/report-tiny-seed0-none.html").as_uri())
    sizes = page.eval_on_selector_all("img", "all => all.map(one => one.naturalWidth)")
    assert len(sizes) == len(pictures) + 3 and all(sizes) and said == []
    page.close()


def test_the_report_names_what_is_missing_and_passes_none_of_it(finished, tmp_path):
    copy = tmp_path / "without"
    shutil.copytree(finished, copy)
    client, found = runs(copy)
    gone = next(r for r in found if r.data.tags["exp_id"] == "P3-05")
    client.delete_run(gone.info.run_id)
    done, html = report(copy)
    assert done.returncode == 0 and "missing: P3-05" in done.stdout, done.stderr
    assert "make P3-05 PROFILE=tiny" in html and gone.info.run_id not in html
    assert "✗ not reached" in html and dead_links(html) == []
    done = run(copy, "scripts/75_synthesis.py", "--force")
    assert done.returncode == 2 and "P3-05" in done.stderr and len(done.stderr.strip().splitlines()) == 1
    done, _ = report(copy, "--profile", "small")
    assert done.returncode == 2 and "nothing has been run" in done.stderr


def test_a_second_run_does_nothing(finished):
    before = len(runs(finished)[1])
    for exp in BUILT:
        done = run(finished, exp.script)
        assert done.returncode == 0 and "up to date" in done.stdout, exp.id
    assert len(runs(finished)[1]) == before


def checkpoints(folder):
    """Trainings' last states, and when they were written."""
    states = (folder / "mlruns/work").rglob("training.safetensors")
    return {state: state.stat().st_mtime for state in states}


def test_an_edit_outside_the_training_does_not_train_again(finished, tmp_path):
    """The baseline is measured again, because that may differ, from its last checkpoint."""
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    before = checkpoints(copy)
    with (copy / "ired/instruments/accuracy/metrics.py").open("a") as file:
        file.write("# another thought\n")
    done = run(copy, "scripts/02_train_baseline.py")
    assert done.returncode == 0 and "up to date" not in done.stdout
    assert checkpoints(copy) == before
    _, found = runs(copy)
    trained = [r for r in found if r.data.tags["exp_id"] == "SETUP-3"]
    assert len(trained) == 2 and numbers(trained[0]) == numbers(trained[1])
    assert not list((copy / "mlruns").rglob("*.tmp"))


def test_a_killed_training_ends_as_an_undisturbed_one(finished, tmp_path):
    copy = tmp_path / "killed"
    shutil.copytree(finished, copy, ignore=shutil.ignore_patterns("work"))
    script = next(exp.script for exp in BUILT if exp.id == "SETUP-3")
    whole = next(r for r in runs(copy)[1] if r.data.tags["exp_id"] == "SETUP-3")
    process = subprocess.Popen(
        [sys.executable, script, "--profile", "tiny", "--force"],
        cwd=copy, env=whole_queue.environment(copy), stdout=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not list((copy / "mlruns").rglob("training.safetensors")):
        assert process.poll() is None and time.monotonic() < deadline, "no checkpoint was written"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    done = run(copy, script, "--force")
    assert done.returncode == 0, done.stderr
    _, found = runs(copy)
    states = sorted(r.info.status for r in found if r.data.tags["exp_id"] == "SETUP-3")
    assert states == ["FINISHED", "FINISHED", "KILLED"]
    last = max(found, key=lambda r: r.info.start_time)
    assert numbers(last) == numbers(whole)


def test_training_that_diverges_is_failed(finished, tmp_path):
    copy = tmp_path / "diverged"
    shutil.copytree(finished, copy, ignore=shutil.ignore_patterns("work"))
    training = copy / "ired/model/training.py"
    wild = training.read_text().replace("rate = c.learning_rate", "rate = 1e30")
    assert wild != training.read_text()
    training.write_text(wild)
    done = run(copy, "scripts/02_train_baseline.py")
    assert done.returncode == 1
    assert "diverged at step" in done.stderr
    last = max(runs(copy)[1], key=lambda r: r.info.start_time)
    assert (last.data.tags["exp_id"], last.info.status) == ("SETUP-3", "FAILED")


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-1000]), "not a whole safetensors file"),
        (lambda path: path.unlink(), "model.safetensors"),
    ],
    ids=["truncated", "missing"],
)
def test_a_broken_model_is_one_line(finished, tmp_path, damage, message):
    copy = tmp_path / "broken"
    shutil.copytree(finished, copy)
    _, found = runs(copy)
    trained = next(r for r in found if r.data.tags["exp_id"] == "SETUP-3").info.run_id
    damage(next(copy.glob(f"mlruns/artifacts/*/{trained}/artifacts/model.safetensors")))
    done = run(copy, "scripts/13_hessian.py", "--force")
    assert done.returncode == 2
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and message in lines[0], done.stderr


def test_an_adopted_checkpoint_is_checked(finished, tmp_path):
    script = "scripts/02_train_baseline.py"
    foreign = tmp_path / "foreign.safetensors"
    foreign.write_bytes(b"not a model")
    done = run(finished, script, "--checkpoint", str(foreign))
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1
    trained = [r for r in runs(finished)[1] if r.data.tags["exp_id"] == "SETUP-3"]
    own = min(trained, key=lambda r: r.info.start_time)
    model = next(finished.glob(f"mlruns/artifacts/*/{own.info.run_id}/artifacts/model.safetensors"))
    done = run(finished, script, "--checkpoint", str(model))
    assert done.returncode == 0, done.stderr
    adopted = max(runs(finished)[1], key=lambda r: r.info.start_time)
    for name in ("mse.test.steps_50", "mse.harder.steps_10"):
        assert adopted.data.metrics[name] == own.data.metrics[name]


@pytest.mark.parametrize("kept", [False, True], ids=["given", "kept"])
def test_a_model_of_another_size_is_one_line(finished, tmp_path, kept):
    copy = tmp_path / "other"
    shutil.copytree(finished, copy)
    path = copy / "checkpoints/tiny-none-seed0.safetensors"
    standard = EnergyConfig.for_problems(3, 0.5, True, hidden=64, symmetric=True)
    for other, said in (({"n": 4}, "its n is 4, not 3"), ({"hidden": 32}, "its hidden is 32, not 64"),
                        ({"landscapes": 5}, "its landscapes is 5, not 10"),
                        ({"symmetric": False}, "its symmetric is False, not True"),
                        ({"standardise_c": None}, "its standardise_c is None, not 0.5")):  # fmt: skip
        checkpoint.save_energy(path, MLPEnergy(replace(standard, **other)))
        provenance = path.with_suffix(".json")
        provenance.unlink()
        if kept:
            provenance.write_text(json.dumps({"sha256": sha256(path), "steps": 1}))
        done = run(copy, "scripts/02_train_baseline.py", *([] if kept else ["--checkpoint", str(path)]))
        lines = done.stderr.splitlines()
        assert done.returncode == 2 and len(lines) == 1 and said in lines[0], done.stderr


@pytest.mark.parametrize("exp", BUILT, ids=lambda exp: exp.id)
def test_help_comes_before_heavy_imports(exp):
    code = (
        "import runpy, sys, json; sys.argv = [sys.argv[1], '--help']\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as end: assert not end.code\n"
        "print(json.dumps([m for m in ('torch', 'mlflow', 'numpy', 'pandas') if m in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, exp.script],
        cwd=ROOT, env=whole_queue.environment(ROOT), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []
    assert exp.id in done.stdout and "--profile" in done.stdout


def test_a_kept_model_is_found_checked_and_not_trained_again(finished, tmp_path):
    copy = tmp_path / "keeper"
    shutil.copytree(finished, copy)
    keep = [sys.executable, "-m", "ired.lab.keep_model", "--profile", "tiny"]
    done = subprocess.run(keep, cwd=copy, env=whole_queue.environment(copy), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    provenance = json.loads((copy / "checkpoints/tiny-none-seed0.json").read_text())
    assert provenance["steps"] == 400 and provenance["training"]["batch"] == 128
    script = "scripts/02_train_baseline.py"
    done = run(copy, script)
    assert done.returncode == 0 and "trained for 400 steps" in done.stdout, done.stderr
    found = [r for r in runs(copy)[1] if r.data.tags["exp_id"] == "SETUP-3"]
    kept, own = (f(found, key=lambda r: r.info.start_time) for f in (max, min))
    assert kept.data.tags["key"] != own.data.tags["key"]
    assert kept.data.metrics["mse.test.steps_50"] == own.data.metrics["mse.test.steps_50"]
    model = copy / "checkpoints/tiny-none-seed0.safetensors"
    model.write_bytes(model.read_bytes() + b" ")
    done = run(copy, script, "--force")
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1
    assert "not the file that" in done.stderr
    nothing = subprocess.run([*keep, "--seed", "7"], cwd=copy, env=whole_queue.environment(copy),
                             capture_output=True, text=True)  # fmt: skip
    assert nothing.returncode == 2 and "make retrain PROFILE=tiny SEED=7" in nothing.stderr
    others = subprocess.run([*keep, "--retrain", "--steps", "10"], cwd=copy, env=whole_queue.environment(copy),
                            capture_output=True, text=True)  # fmt: skip
    assert others.returncode == 2, "it keeps what was run with these arguments and nothing else"


def test_a_replication_is_kept_in_half_the_space(finished, tmp_path):
    copy = tmp_path / "half"
    shutil.copytree(finished, copy)
    keep = [sys.executable, "-m", "ired.lab.keep_model", "--profile", "tiny", "--seed", "1"]
    done = subprocess.run(keep, cwd=copy, env=whole_queue.environment(copy), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads((copy / "checkpoints/tiny-none-seed1.json").read_text())["stored_as"] == "float16"
    done = run(copy, "scripts/02_train_baseline.py", "--seed", "1")
    assert done.returncode == 0 and "trained for 400 steps" in done.stdout, done.stderr
    found = [r for r in runs(copy, seed=1)[1] if r.data.tags["exp_id"] == "SETUP-3"]
    halved, whole = (f(found, key=lambda r: r.info.start_time) for f in (max, min))
    errors = [r.data.metrics["mse.test.steps_50"] for r in (halved, whole)]
    assert errors[0] == pytest.approx(errors[1], rel=1e-2) and errors[0] != errors[1]
    model, own = (next(copy.glob(f"mlruns/artifacts/**/{r.info.run_id}/**/model.safetensors")) for r in (halved, whole))
    assert model.stat().st_size == own.stat().st_size, "what reads it computes in single precision"
    half = (copy / "checkpoints/tiny-none-seed1.safetensors").stat()
    assert half.st_size < 0.6 * own.stat().st_size and half.st_mode & 0o777 == 0o644


def test_a_model_that_is_given_counts_by_what_is_in_it(finished, tmp_path):
    copy, given = tmp_path / "taker", tmp_path / "given.safetensors"
    shutil.copytree(finished, copy)
    models = copy.glob("mlruns/artifacts/**/model.safetensors")  # those of energies that multiply matrices too
    own = next(path for path in models if "architecture" not in json.loads(path.with_suffix(".json").read_text()))
    for part in (own, own.with_suffix(".json")):
        shutil.copyfile(part, given.with_suffix(part.suffix))
    words = "scripts/02_train_baseline.py", "--checkpoint", str(given)
    first, again = run(copy, *words), run(copy, *words)
    assert first.returncode == 0 and "up to date" in again.stdout, first.stderr
    tensors, meta = checkpoint.read(given)
    checkpoint.write(given, {name: 0.5 * tensor for name, tensor in tensors.items()}, meta)
    changed = run(copy, *words)
    assert changed.returncode == 0 and "up to date" not in changed.stdout, changed.stderr
    given.unlink()
    gone = run(copy, *words)
    assert gone.returncode == 2 and f"--checkpoint {given}: No such file" in gone.stderr


def test_a_training_that_went_further_is_not_taken_for_a_shorter_one(finished, tmp_path):
    copy = tmp_path / "shorter"
    shutil.copytree(finished, copy)
    done = run(copy, "scripts/02_train_baseline.py", "--until", "100")
    assert done.returncode == 2 and "is at step 400, beyond 100" in done.stderr
