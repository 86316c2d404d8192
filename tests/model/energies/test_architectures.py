"""Variants mean what they are called, and every energy survives training and the disk."""

import pytest
import torch

from ired.model import checkpoint, problems
from ired.model.energies.architectures import ARCHITECTURES, architecture, build, configured, parse, trained
from ired.model.sampling import SamplingConfig, solve
from ired.model.training.graph_trainer import GraphTrainer, trainer
from ired.model.training.trainer import Trainer, TrainingConfig

PROBLEM, MODEL = {"n": 3, "c": 0.5}, {"hidden": 16, "landscapes": 10, "symmetric": True, "standardised": True}
TRAINING = {"steps": 4000, "batch": 64, "learning_rate": 1e-4, "decay": False}


def test_names_are_an_energy_and_its_negatives():
    assert parse("adversarial") == ("mlp", "adversarial")
    assert parse("product") == ("product", "none")
    assert parse("polynomial-property") == ("polynomial", "property")


def test_the_network_has_the_profiles_budget_and_the_others_their_own():
    assert trained("random", TRAINING) == TRAINING | {"mining": "random"}
    brief = trained("product-random", TRAINING)
    assert brief["mining"] == "random" and brief["batch"] == 64 and brief["decay"] is True
    assert brief["steps"] < 4000 and trained("product", TRAINING | {"steps": 5})["steps"] == 5
    TrainingConfig(**brief)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_energy_trains_and_survives_the_disk(tmp_path, name):
    variant = "none" if name == "mlp" else name
    config = configured(variant, PROBLEM, MODEL)
    assert architecture(config) == name
    options = {"steps": 30, "batch": 64, "learning_rate": 5e-3}
    made = trainer(config, TrainingConfig(**options, mining="adversarial"), 0)
    assert type(made) is (Trainer if name == "mlp" else GraphTrainer)
    losses = made.advance(30)[:, 0]
    assert losses[-5:].mean() < losses[:3].mean()
    path = tmp_path / "m.safetensors"
    checkpoint.save_energy(path, made.model)
    again = checkpoint.load_energy(path, like=config)
    assert type(again) is type(made.model) and again.config == config
    A = problems.draw(4, 3, 0.5, problems.generator(0, "A"), torch.float64)
    answers = [
        solve(energy, A, SamplingConfig(2, clip=6.0), problems.generator(0, "start")) for energy in (made.model, again)
    ]
    assert torch.allclose(*answers, atol=1e-5)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_one_seed_gives_one_energy(name):
    config = configured("none" if name == "mlp" else name, PROBLEM, MODEL)
    first, second = (build(config, problems.generator(3, "weights")) for _ in range(2))
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
