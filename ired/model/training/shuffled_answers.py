"""Label randomisation: short trainings, how they are set, and one on answers that mean nothing."""

from __future__ import annotations

from dataclasses import replace

import torch

from ired.model import problems
from ired.model.energies.architectures import Config, LearnedEnergy
from ired.model.energies.mlp import EnergyConfig
from ired.model.training.graph_trainer import GraphTrainer
from ired.model.training.trainer import Trainer, TrainingConfig


def brief(config: TrainingConfig, steps: int, batch: int) -> TrainingConfig:
    """The configuration of a training of so few steps, of so many problems each.

    A constant rate is one for very many steps. So few learn nothing at it, and what longer ones learn at a rate of
    ten times that which decays (docs/notebook.md, "Short trainings").
    """
    rate = config.learning_rate if config.decay else 10 * config.learning_rate
    return replace(config, steps=steps, batch=batch, learning_rate=rate, decay=True)


class _ShuffledAnswers(Trainer):
    def _one_step(self) -> torch.Tensor:
        c, n = self.config, self.model.config.n
        A = problems.draw(c.batch, n, c.c, self.streams["train"])
        if "shuffle" not in self.streams:
            self.streams["shuffle"] = problems.generator(self.seed, "shuffle", self.device)
        order = torch.randperm(len(A), generator=self.streams["shuffle"], device=self.device)
        return self.learn(A, problems.inverse(A, check=False)[order])


class Shuffled(_ShuffledAnswers):
    """A `Trainer` whose answers belong to other problems of the same batch.

    Weights, problems, noise and landscapes are those of a `Trainer` of the same seed, step by step:
    nothing differs but which answer goes with which problem. A permutation leaves one answer in its
    place in the mean, one in a batch.
    """


class ShuffledGraph(_ShuffledAnswers, GraphTrainer):
    """The same of a `GraphTrainer`."""


def shuffled(energy: Config, config: TrainingConfig, seed: int, device: str = "cpu") -> Trainer:
    """The fastest trainer of an energy on shuffled answers."""
    kind = Shuffled if type(energy) is EnergyConfig else ShuffledGraph
    return kind(energy, config, seed, device)


def finished(trainer: Trainer) -> LearnedEnergy:
    """The network after all steps of its configuration, in float64, its gradients off.

    The weights themselves: after so few steps their average lags behind. Raises Diverged.
    """
    trainer.advance(trainer.config.steps - trainer.step)
    return trainer.model.to(torch.float64).requires_grad_(False)
