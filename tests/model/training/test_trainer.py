"""Training: the published losses, resuming bit for bit, divergence, and checkpoints that lie."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ired.lab.profiles import PROFILES
from ired.model import checkpoint, problems
from ired.model.energies.architectures import trained
from ired.model.energies.mlp import EnergyConfig, MLPEnergy
from ired.model.energies.product import ProductConfig
from ired.model.training.graph_trainer import GraphTrainer, trainer
from ired.model.training.trainer import MINING, Diverged, Trainer, TrainingConfig

ENERGY = EnergyConfig(3, 16)
QUICK = TrainingConfig(steps=40, batch=32, learning_rate=1e-2)


def naive_losses(trainer):
    """METHODS §2 and §4 with autograd through autograd, the random numbers drawn in its order."""
    c, model = trainer.config, trainer.model
    schedule = model.schedule
    k = torch.randint(10, (c.batch,), generator=trainer.streams["noise"])
    root = schedule.sqrt_alpha_bar.float()[k, None]
    sigma = schedule.sigma.float()[k, None]
    A = problems.draw(c.batch, 3, c.c, trainer.streams["train"])
    y0 = torch.linalg.inv(A).flatten(1)

    def noised(clean, noise):
        return root * clean + sigma * noise

    def score(y):
        y = y.detach().requires_grad_()
        energy = model.energy(A, y, k)
        return energy, torch.autograd.grad(energy.sum(), y, create_graph=True)[0]

    noise = torch.randn(c.batch, 9, generator=trainer.streams["noise"])
    denoising = F.mse_loss(score(noised(y0, noise))[1], noise)
    if c.mining == "none":
        return denoising, torch.zeros(())
    noise = torch.randn(c.batch, 9, generator=trainer.streams["negatives"])
    counts = torch.ones(c.batch)
    if c.mining == "property":
        # One problem after the other, by eigenvectors: along v_i v_jᵀ noise is √(μ_i μ_j) times as large.
        away = torch.empty_like(noise)
        for one, Y in enumerate(y0.view(-1, 3, 3)):
            L = torch.linalg.cholesky(Y)
            G = noise[one].view(3, 3)
            turned = L @ (G + G.T) @ L.T
            away[one] = (turned / turned.norm() * noise[one].norm()).flatten()
        order = y0.norm(dim=1).argsort()
        counts[order] = torch.linspace(0, 2, c.batch)
        y = noised(y0, 3 * away)
    else:
        y = noised(y0, 3 * noise)
    if c.mining == "adversarial":
        for step in range(2):
            factor = 1.0 if step == 0 or not c.clamp_by_first else 2.0
            energy, gradient = score(y)
            move = y - factor * (schedule.beta.float()[k, None] / sigma) * gradient
            limit = 2 * (root[0] if c.clamp_by_first else root)
            move = torch.clamp(move, -limit, limit)
            worse = model.energy(A, move, k) > energy
            y = torch.where(worse[:, None], y, move).detach()
    wrong = torch.clamp(y / root, -2, 2)
    real, fake = model.energy(A, noised(y0, noise), k), model.energy(A, noised(wrong, noise), k)
    return denoising, (counts * F.softplus(real - fake)).mean()  # = −log softmax(−real, −fake)[real]


@pytest.mark.parametrize("mining", MINING)
@pytest.mark.parametrize("published", [True, False])
def test_losses_and_weight_gradients_are_the_published_ones(mining, published):
    config = replace(TrainingConfig.published(mining), batch=64) if published else replace(QUICK, mining=mining)
    ours, theirs = Trainer(ENERGY, config, 0), Trainer(ENERGY, config, 0)
    for either in (ours, theirs):
        with torch.no_grad():
            either.model.fc4.weight.mul_(4)
    A = problems.draw(config.batch, 3, 0.5, ours.streams["train"])
    losses = ours._differentiate(A, torch.linalg.inv(A))
    expected = naive_losses(theirs)
    for a, b in zip(losses, expected, strict=True):
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-6)
    denoising, contrastive = expected
    theirs._gradient.zero_()
    (denoising + 0.5 * contrastive).backward()
    for a, b in zip(ours.model.parameters(), theirs.model.parameters(), strict=True):
        assert torch.allclose(a.grad, b.grad, rtol=1e-3, atol=1e-6)


def test_clamping_by_the_first_sample_changes_the_negatives():
    """Oddity 2 of METHODS §4 is a choice with consequences, not a dead switch."""
    rows = []
    for by_first in (True, False):
        config = replace(QUICK, mining="adversarial", clamp_by_first=by_first, clip=0.5)
        rows.append(Trainer(ENERGY, config, 0).advance(1)[0, 1].item())
    assert rows[0] != rows[1]


def test_the_average_follows_the_weights_and_lags():
    trainer = Trainer(ENERGY, replace(QUICK, steps=400), 0)
    trainer.advance(91)
    assert torch.equal(trainer.average.fc2.weight, trainer.model.fc2.weight)
    trainer.advance(100)
    assert not torch.equal(trainer.average.fc2.weight, trainer.model.fc2.weight)


@pytest.mark.parametrize("decay, every", [(0.9, 1), (0.5, 10)])
def test_averaged_iterates_of_a_quadratic(decay, every):
    """Descent on ½h·w² leaves w_t = r^t, r = 1 − ηh, whose moving average is known in closed form."""
    config = replace(QUICK, steps=400, ema_decay=decay, ema_every=every, ema_start=0)
    trainer, r = Trainer(ENERGY, config, 0), 0.999
    # Averages follow the published warm-up until their decay is reached.
    begin = every * int(np.ceil(((1 / (1 - decay)) ** 1.5 - 1) / every))
    for trainer.step in range(begin, begin + 201, every):
        if trainer.step == begin:
            trainer._average.fill_(1.0)
            continue
        trainer._weights.fill_(r ** (trainer.step - begin))
        trainer._update_average()
    updates, q = 200 // every, r**every
    known = decay**updates + (1 - decay) * q * (q**updates - decay**updates) / (q - decay)
    assert trainer._average[0].item() == pytest.approx(known, rel=1e-4)
    # It is where the weights were `horizon` steps ago, on a curve as flat as this.
    lag = np.log(known / r**200) / -np.log(r)
    assert lag == pytest.approx(every * decay / (1 - decay), rel=0.02)


@pytest.mark.parametrize("name", sorted(set(PROFILES) - {"tiny-published"}))  # trained for nothing
@pytest.mark.parametrize("variant", ("none", "adversarial", "polynomial", "product"))
def test_averages_reach_back_a_twentieth_of_a_training(name, variant):
    """The release's average is kept in `paper` alone: half of a short training would be the average's lag."""
    values = trained(variant, PROFILES[name].training)
    horizon = values["ema_every"] / (1 - values["ema_decay"])
    published = TrainingConfig.published()
    if name == "paper" and variant in MINING:
        assert (values["ema_decay"], values["ema_every"]) == (published.ema_decay, published.ema_every)
        assert horizon < published.steps / 20
    else:
        assert horizon <= values["steps"] / 20 + 1e-9


def test_mining_changes_neither_problems_nor_noise():
    first = [Trainer(ENERGY, replace(QUICK, mining=m), 0).advance(1)[0, 0].item() for m in MINING]
    assert len(set(first)) == 1


def test_soft_directions_are_those_of_large_eigenvalues():
    """Isotropic in the affine-invariant metric: variances μ_i μ_j along v_i v_jᵀ, before the rescaling."""
    trainer = Trainer(ENERGY, replace(QUICK, mining="property"), 0)
    mu = torch.tensor([0.1, 1.0, 3.0])
    Q = torch.linalg.qr(torch.randn(3, 3, generator=problems.generator(0, "Q")))[0]
    z0 = ((Q * mu) @ Q.T).flatten().repeat(20000, 1)
    noise = torch.randn(20000, 9, generator=problems.generator(0, "noise"))
    away = trainer._along_soft(z0, noise)
    assert torch.allclose(away.norm(dim=1), noise.norm(dim=1), rtol=1e-4)
    G = Q.T @ away.view(-1, 3, 3) @ Q
    assert torch.allclose(G, G.mT, atol=1e-4)
    # The length is common to all entries of one matrix, so ratios keep their law: |g/g'| has median 1.
    for one, other in (((0, 1), (0, 2)), ((0, 0), (2, 2)), ((0, 1), (2, 2))):
        kind = [2 if i == j else 1 for i, j in (one, other)]
        expected = (mu[list(one)].prod() * kind[0] / (mu[list(other)].prod() * kind[1])).sqrt()
        ratio = (G[:, *one] / G[:, *other]).abs().median()
        assert ratio == pytest.approx(expected.item(), rel=0.05)


def test_property_guided_contrast_weighs_large_inverses_more():
    trainer = Trainer(ENERGY, replace(QUICK, mining="property"), 0)
    z0 = torch.eye(3).flatten() * torch.tensor([3.0, 1.0, 2.0, 5.0])[:, None]
    assert torch.allclose(trainer._emphasis(z0)[:, 0], torch.tensor([4 / 3, 0, 2 / 3, 2]))
    assert torch.equal(Trainer(ENERGY, QUICK, 0)._emphasis(z0), torch.ones(4, 1))


@pytest.mark.parametrize("mining", MINING)
def test_training_by_autograd_makes_the_same_steps(mining):
    config = replace(QUICK, mining=mining)
    standard = EnergyConfig.for_problems(3, 0.5, True, hidden=16, symmetric=True)
    written, graph = Trainer(standard, config, 2), GraphTrainer(standard, config, 2)
    for trainer_ in (written, graph):
        trainer_.advance(5)
    assert torch.allclose(written.history, graph.history, rtol=1e-3, atol=1e-5)
    assert torch.allclose(written._weights, graph._weights, atol=2e-4)
    assert type(trainer(standard, config, 0)) is Trainer
    with pytest.raises(ValueError, match="bfloat16"):
        GraphTrainer(standard, replace(config, precision="bfloat16"), 0)


@pytest.mark.parametrize("mining", ["none", "adversarial"])
def test_resuming_is_bit_for_bit(tmp_path, mining):
    config = replace(QUICK, mining=mining)
    whole = Trainer(ENERGY, config, 3)
    whole.advance(40)
    first = Trainer(ENERGY, config, 3)
    first.advance(17)
    first.save(tmp_path / "t.safetensors", notes=[{"seen": 17}])
    second = Trainer(ENERGY, config, 3)
    assert second.resume(tmp_path / "t.safetensors") == [{"seen": 17}]
    assert second.step == 17
    second.advance(23)
    assert torch.equal(second.history, whole.history) and len(whole.history) == 40
    for a, b in zip(second.average.parameters(), whole.average.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_training_that_was_cut_off_completes_with_the_same_curve(tmp_path):
    def observe(model):
        return {"weight": model.fc2.weight.abs().sum().item()}

    config = replace(QUICK, steps=45)
    ticks = []
    whole = Trainer(ENERGY, config, 1).complete(
        tmp_path / "whole", observe, lambda steps, losses: ticks.append(steps), points=4
    )
    assert [point["step"] for point in whole] == [12, 24, 36, 45] and sum(ticks) == 45

    class Killed(Exception):
        pass

    def die(model):
        if trainer.step > 30:
            raise Killed
        return observe(model)

    trainer = Trainer(ENERGY, config, 1)
    with pytest.raises(Killed):
        trainer.complete(tmp_path / "cut", die, points=4)
    again = Trainer(ENERGY, config, 1)
    ticks.clear()
    curve = again.complete(tmp_path / "cut", observe, lambda steps, losses: ticks.append(steps), points=4)
    assert curve == whole and ticks[0] == 24 and sum(ticks) == 45
    finished = Trainer(ENERGY, config, 1)
    assert finished.complete(tmp_path / "cut", observe, points=4) == whole
    assert finished.step == 45 and len(finished.history) == 45


def test_a_training_may_stop_and_go_on_another_day(tmp_path):
    def observe(model):
        return {"weight": model.fc2.weight.abs().sum().item()}

    first = Trainer(ENERGY, QUICK, 1)
    curve = first.complete(tmp_path / "t", observe, points=4, until=17)
    assert first.step == 17 and [point["step"] for point in curve] == [10, 17]
    second = Trainer(ENERGY, QUICK, 1)
    curve = second.complete(tmp_path / "t", observe, points=4, until=10**9)
    whole = Trainer(ENERGY, QUICK, 1)
    whole.advance(40)
    assert [point["step"] for point in curve] == [10, 17, 20, 30, 40]
    assert torch.equal(second.history, whole.history)


@pytest.mark.slow
def test_bfloat16_products_train_as_well_and_resume_bit_for_bit(tmp_path):
    config = replace(QUICK, steps=200, precision="bfloat16")
    whole, exact = Trainer(ENERGY, config, 0), Trainer(ENERGY, replace(config, precision="float32"), 0)
    losses, exactly = whole.advance(200), exact.advance(200)
    assert not torch.equal(losses, exactly)
    assert (losses[-50:, 0].mean() / exactly[-50:, 0].mean() - 1).abs() < 0.05
    first = Trainer(ENERGY, config, 0)
    first.advance(100)
    first.save(tmp_path / "t")
    second = Trainer(ENERGY, config, 0)
    second.resume(tmp_path / "t")
    second.advance(100)
    assert torch.equal(second.history, whole.history)


def test_resuming_refuses_another_training_and_a_broken_file(tmp_path):
    path = tmp_path / "t.safetensors"
    Trainer(ENERGY, QUICK, 0).save(path)
    with pytest.raises(checkpoint.CheckpointError, match="seed differ"):
        Trainer(ENERGY, QUICK, 1).resume(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(checkpoint.CheckpointError, match="not a whole safetensors file"):
        Trainer(ENERGY, QUICK, 0).resume(path)


def test_divergence_stops_at_the_step_where_it_appeared():
    trainer = Trainer(ENERGY, QUICK, 0)
    trainer.advance(5)
    with torch.no_grad():
        trainer.model.fc3.weight[0, 0] = torch.inf
    with pytest.raises(Diverged, match="step 6"):
        trainer.advance(10)


def test_training_learns_to_denoise():
    trainer = Trainer(ENERGY, replace(QUICK, steps=300), 0)
    losses = trainer.advance(300)[:, 0]
    assert losses[-50:].mean() < 0.5 * losses[:10].mean()


def test_energies_survive_the_disk(tmp_path):
    energy = MLPEnergy(
        EnergyConfig.for_problems(3, 0.5, True, hidden=16, symmetric=True),
        problems.generator(0, "w"),
    )
    checkpoint.save_energy(tmp_path / "m.safetensors", energy)
    again = checkpoint.load_energy(tmp_path / "m.safetensors")
    assert again.config == energy.config
    A, y = problems.draw(4, 3, 0.5, problems.generator(0, "A")), torch.randn(4, 9)
    assert torch.equal(again.energy(A, y, 2), energy.energy(A, y, 2))
    beside = json.loads((tmp_path / "m.json").read_text())
    assert beside["config"]["n"] == 3 and beside["config"]["symmetric"] is True


def test_the_readable_copy_beside_a_model_is_put_there_in_one_step(tmp_path, monkeypatch):
    energy, put = MLPEnergy(ENERGY), {}
    monkeypatch.setattr("os.replace", lambda old, new: put.update({new.name: Path(old).read_bytes()}))
    checkpoint.save_energy(tmp_path / "m.safetensors", energy)
    assert list(put) == ["m.safetensors", "m.json"] and not (tmp_path / "m.json").exists()
    assert json.loads(put["m.json"])["config"] == energy.describe()


def test_checkpoints_that_lie_are_refused(tmp_path):
    path = tmp_path / "m.safetensors"
    with pytest.raises(checkpoint.CheckpointError, match="no checkpoint at"):
        checkpoint.load_energy(path)
    energy = MLPEnergy(ENERGY, problems.generator(0, "w"))
    checkpoint.save_energy(path, energy)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(checkpoint.CheckpointError, match="not a whole safetensors file"):
        checkpoint.load_energy(path)
    checkpoint.write(path, energy.state_dict(), {"format": "other"})
    with pytest.raises(checkpoint.CheckpointError, match="format 'other'"):
        checkpoint.load_energy(path)
    wide = energy.describe() | {"hidden": 17}
    checkpoint.write(path, energy.state_dict(), {"format": checkpoint.FORMAT, "config": wide})
    with pytest.raises(checkpoint.CheckpointError, match="does not fit"):
        checkpoint.load_energy(path)
    with torch.no_grad():
        energy.fc1.bias[0] = torch.nan
    checkpoint.save_energy(path, energy)
    with pytest.raises(checkpoint.CheckpointError, match="not finite, in fc1.bias"):
        checkpoint.load_energy(path)


@pytest.mark.parametrize(
    "other, said",
    [
        ({"n": 4}, "its n is 3, not 4"),
        ({"hidden": 32}, "its hidden is 16, not 32"),
        ({"n": 4, "hidden": 32}, "its n is 3, not 4; its hidden is 16, not 32"),
        ({"landscapes": 5}, "its landscapes is 10, not 5"),
        ({"symmetric": False}, "its symmetric is True, not False"),
        ({"shift": 0.0, "scale": 1.0, "standardise_c": None}, "standardise_c is 0.5, not None"),
        ({"shift": 0.4}, "its shift is "),
    ],
)
def test_a_model_of_another_size_or_kind_is_refused(tmp_path, other, said):
    config = EnergyConfig.for_problems(3, 0.5, True, hidden=16, symmetric=True)
    path = tmp_path / "m.safetensors"
    checkpoint.save_energy(path, MLPEnergy(config))
    rounded = replace(config, scale=config.scale * (1 + 1e-9))  # of another machine
    assert checkpoint.load_energy(path, like=rounded).config == config
    with pytest.raises(checkpoint.CheckpointError) as error:
        checkpoint.load_energy(path, like=replace(config, **other))
    assert str(error.value).startswith(f"{path} is another model than is wanted here: its ")
    assert said in str(error.value) and error.value.exit_status == 2
    with pytest.raises(checkpoint.CheckpointError, match="its energy is 'mlp', not 'product'"):
        checkpoint.load_energy(path, like=ProductConfig(3))


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "m.safetensors"
    checkpoint.write(path, {"x": torch.ones(2)}, {"step": 1})

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.os, "fsync", full)
    with pytest.raises(OSError):
        checkpoint.write(path, {"x": torch.zeros(2)}, {"step": 2})
    tensors, meta = checkpoint.read(path)
    assert meta == {"step": 1} and torch.equal(tensors["x"], torch.ones(2))
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]
