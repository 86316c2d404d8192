"""Short trainings on answers that mean nothing, beside equally long ones on the true answers."""

from __future__ import annotations

import torch

from ired.model import problems
from ired.model.energy import MLPEnergy
from ired.model.training import Trainer


class Shuffled(Trainer):
    """A `Trainer` whose answers belong to other problems of the same batch.

    Weights, problems, noise and landscapes are those of a `Trainer` of the same seed, step by step:
    nothing differs but which answer goes with which problem. A permutation leaves one answer in its
    place in the mean, one in a batch.
    """

    def _one_step(self) -> torch.Tensor:
        c, n = self.config, self.model.config.n
        A = problems.draw(c.batch, n, c.c, self.streams["train"])
        if "shuffle" not in self.streams:
            self.streams["shuffle"] = problems.generator(self.seed, "shuffle", self.device)
        order = torch.randperm(len(A), generator=self.streams["shuffle"], device=self.device)
        return self.learn(A, problems.inverse(A, check=False)[order])


def finished(trainer: Trainer) -> MLPEnergy:
    """The network after all steps of its configuration, in float64, its gradients off.

    The weights themselves: after so few steps their average lags behind. Raises Diverged.
    """
    trainer.advance(trainer.config.steps - trainer.step)
    return trainer.model.to(torch.float64).requires_grad_(False)
