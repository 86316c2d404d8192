"""Models that are given, kept, or broken."""

import json
import shutil
from dataclasses import replace

import pytest

from ired.lab.run import sha256
from ired.model import checkpoint
from ired.model.energies.mlp import EnergyConfig, MLPEnergy
from tiny_store import run, runs, runs_of

SCRIPT = "scripts/02_train_baseline.py"
KEEP = "ired.lab.targets.keep_model"


def model_of(folder, trained):
    """The model that a run has logged."""
    return next(folder.glob(f"mlruns/artifacts/*/{trained.info.run_id}/artifacts/model.safetensors"))


def test_a_broken_shard_of_activations_is_one_line(copy):
    before = len(runs(copy))
    shard = next(copy.glob("mlruns/artifacts/*/*/artifacts/train-0000-fc2.safetensors"))
    shard.write_bytes(shard.read_bytes()[:-100])
    done = run(copy, "scripts/23_sae_fc2.py", "--force")
    assert done.returncode == 2
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and "train-0000-fc2" in lines[0] and "P2-01" in lines[0], done.stderr
    states = [r.info.status for r in runs_of(copy, "P2-03")]
    assert sorted(states) == ["FAILED", "FINISHED"] and len(runs(copy)) == before + 1
    done = run(copy, "scripts/23_sae_fc2.py", "--architecture", "dense")
    assert done.returncode == 2 and "unknown architecture 'dense'" in done.stderr


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-1000]), "not a whole safetensors file"),
        (lambda path: path.unlink(), "model.safetensors"),
    ],
    ids=["truncated", "missing"],
)
def test_a_broken_model_is_one_line(copy, damage, message):
    [trained] = runs_of(copy, "SETUP-3")
    damage(model_of(copy, trained))
    done = run(copy, "scripts/13_hessian.py", "--force")
    assert done.returncode == 2
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and message in lines[0], done.stderr


def test_an_adopted_checkpoint_is_checked(copy, tmp_path):
    foreign = tmp_path / "foreign.safetensors"
    foreign.write_bytes(b"not a model")
    done = run(copy, SCRIPT, "--checkpoint", str(foreign))
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1
    trained = runs_of(copy, "SETUP-3")[0]
    done = run(copy, SCRIPT, "--checkpoint", str(model_of(copy, trained)))
    assert done.returncode == 0, done.stderr
    adopted = max(runs(copy), key=lambda r: r.info.start_time)
    for name in ("mse.test.steps_50", "mse.harder.steps_10"):
        assert adopted.data.metrics[name] == trained.data.metrics[name]


def test_stopping_early_changes_the_answers_and_nothing_of_the_model(copy):
    [whole] = runs_of(copy, "SETUP-3")
    done = run(copy, SCRIPT, "--stop-at", "4", "--checkpoint", str(model_of(copy, whole)))
    assert done.returncode == 0, done.stderr
    stopped = max(runs(copy), key=lambda r: r.info.start_time)
    ours, theirs = (r.data.metrics for r in (stopped, whole))
    assert ours["mse.test.steps_50"] != theirs["mse.test.steps_50"]
    for kind in ("stop.", "linearity."):
        of_model = {name: theirs[name] for name in theirs if name.startswith(kind)}
        assert {name: ours[name] for name in ours if name.startswith(kind)} == of_model != {}
    assert all(theirs[f"linearity.affine.k{k}"] <= 1 and theirs[f"linearity.spread.k{k}"] > 0 for k in range(10))
    assert 0 < theirs["stop.mse.test"] and 0 <= theirs["stop.landscape"] <= 9
    done = run(copy, SCRIPT, "--stop-at", "10")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and "stop_at '10'" in done.stderr


@pytest.mark.parametrize("kept", [False, True], ids=["given", "kept"])
def test_a_model_of_another_size_is_one_line(copy, kept):
    path = copy / "checkpoints/tiny-none-seed0.safetensors"
    standard = EnergyConfig.for_problems(3, 0.5, True, hidden=64, symmetric=True)
    for other, said in (
        ({"n": 4}, "its n is 4, not 3"),
        ({"hidden": 32}, "its hidden is 32, not 64"),
        ({"landscapes": 5}, "its landscapes is 5, not 10"),
        ({"symmetric": False}, "its symmetric is False, not True"),
        ({"standardise_c": None}, "its standardise_c is None, not 0.5"),
    ):
        checkpoint.save_energy(path, MLPEnergy(replace(standard, **other)))
        provenance = path.with_suffix(".json")
        provenance.unlink()
        if kept:
            provenance.write_text(json.dumps({"sha256": sha256(path), "steps": 1}))
        done = run(copy, SCRIPT, *([] if kept else ["--checkpoint", str(path)]))
        lines = done.stderr.splitlines()
        assert done.returncode == 2 and len(lines) == 1 and said in lines[0], done.stderr


def test_a_model_that_is_given_counts_by_what_is_in_it(copy, tmp_path):
    given = tmp_path / "given.safetensors"
    models = copy.glob("mlruns/artifacts/**/model.safetensors")  # those of energies that multiply matrices too
    network = next(path for path in models if "architecture" not in json.loads(path.with_suffix(".json").read_text()))
    for part in (network, network.with_suffix(".json")):
        shutil.copyfile(part, given.with_suffix(part.suffix))
    words = SCRIPT, "--checkpoint", str(given)
    first, again = run(copy, *words), run(copy, *words)
    assert first.returncode == 0 and "up to date" in again.stdout, first.stderr
    tensors, meta = checkpoint.read(given)
    checkpoint.write(given, {name: 0.5 * tensor for name, tensor in tensors.items()}, meta)
    changed = run(copy, *words)
    assert changed.returncode == 0 and "up to date" not in changed.stdout, changed.stderr
    given.unlink()
    gone = run(copy, *words)
    assert gone.returncode == 2 and f"--checkpoint {given}: No such file" in gone.stderr


def test_a_kept_model_is_found_checked_and_not_trained_again(copy):
    done = run(copy, KEEP)
    assert done.returncode == 0, done.stderr
    provenance = json.loads((copy / "checkpoints/tiny-none-seed0.json").read_text())
    assert provenance["steps"] == 400 and provenance["training"]["batch"] == 128
    done = run(copy, SCRIPT)
    assert done.returncode == 0 and "trained for 400 steps" in done.stdout, done.stderr
    trained, *_, kept = runs_of(copy, "SETUP-3")
    assert kept.data.tags["key"] != trained.data.tags["key"]
    assert kept.data.metrics["mse.test.steps_50"] == trained.data.metrics["mse.test.steps_50"]
    model = copy / "checkpoints/tiny-none-seed0.safetensors"
    model.write_bytes(model.read_bytes() + b" ")
    done = run(copy, SCRIPT, "--force")
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1
    assert "not the file that" in done.stderr
    nothing = run(copy, KEEP, "--seed", "7")
    assert nothing.returncode == 2 and "make retrain PROFILE=tiny SEED=7" in nothing.stderr
    others = run(copy, KEEP, "--retrain", "--steps", "10")
    assert others.returncode == 2, "it keeps what was run with these arguments and nothing else"


def test_a_replication_is_kept_in_half_the_space(copy):
    done = run(copy, KEEP, "--seed", "1")
    assert done.returncode == 0, done.stderr
    assert json.loads((copy / "checkpoints/tiny-none-seed1.json").read_text())["stored_as"] == "float16"
    done = run(copy, SCRIPT, "--seed", "1")
    assert done.returncode == 0 and "trained for 400 steps" in done.stdout, done.stderr
    whole, *_, halved = runs_of(copy, "SETUP-3", seed=1)
    errors = [r.data.metrics["mse.test.steps_50"] for r in (halved, whole)]
    assert errors[0] == pytest.approx(errors[1], rel=1e-2) and errors[0] != errors[1]
    size = model_of(copy, whole).stat().st_size
    assert model_of(copy, halved).stat().st_size == size, "what reads it computes in single precision"
    half = (copy / "checkpoints/tiny-none-seed1.safetensors").stat()
    assert half.st_size < 0.6 * size and half.st_mode & 0o777 == 0o644


def test_a_small_replication_is_kept_whole(copy):
    """Rounding would cost an energy of matrix products what it is good at."""
    at = ("--seed", "1", "--variant", "product")
    done = run(copy, KEEP, *at)
    assert done.returncode == 0, done.stderr
    record = json.loads((copy / "checkpoints/tiny-product-seed1.json").read_text())
    trained = next(copy.glob(f"mlruns/artifacts/*/{record['run_id']}/artifacts/model.safetensors"))
    kept = copy / "checkpoints/tiny-product-seed1.safetensors"
    assert record["stored_as"] == "float32" and kept.read_bytes() == trained.read_bytes()
