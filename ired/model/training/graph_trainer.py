"""Training of energies whose passes nobody has written out: autograd differentiates the losses."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ired.model.energies.architectures import Config
from ired.model.energies.mlp import EnergyConfig
from ired.model.training.trainer import Trainer, TrainingConfig


class GraphTrainer(Trainer):
    """A `Trainer` for any energy that is differentiable in its weights: the same losses, problems,
    noise and negatives, step for step, about twice as slow on `MLPEnergy`. float32 only."""

    def _make_room(self) -> None:
        if self.config.precision != "float32":
            raise ValueError(f"only the mlp energy is trained in {self.config.precision}")

    def _differentiate(self, A: Tensor, Y: Tensor) -> tuple[Tensor, Tensor]:
        c, model = self.config, self.model
        z0 = model.coordinates.to_basis(model.coordinates.encode(Y))
        k = torch.randint(model.schedule.K, (len(A),), generator=self.streams["noise"], device=self.device)
        root, sigma = self.root[k], self.sigma[k]
        noise = torch.randn(z0.shape, generator=self.streams["noise"], device=self.device)
        self._gradient.zero_()
        with torch.enable_grad():
            prepared: Any = model.prepare(A)
            state = torch.addcmul(sigma * noise, root, z0)
            score = model.basis_energy_and_gradient(prepared, state, k)[1]
            denoising = (score - noise).square().mean()
            contrastive = torch.zeros_like(denoising)
            if c.mining != "none":
                contrastive = self._contrasted(prepared, z0, k)
            (denoising + c.contrast_weight * contrastive).backward()
        return denoising.detach(), contrastive.detach()

    def _contrasted(self, prepared: Any, z0: Tensor, k: Tensor) -> Tensor:
        """softplus(E_real − E_negative), see `Trainer`."""
        model, root, sigma = self.model, self.root[k], self.sigma[k]
        noise = torch.randn(z0.shape, generator=self.streams["negatives"], device=self.device)

        def look(state: Tensor, further: bool) -> tuple[Tensor, Tensor | None]:
            if further:
                return model.basis_energy_and_gradient(prepared, state, k)
            return model.basis_energy(prepared, state, k), None

        with torch.no_grad():
            negative = self._negatives(look, z0, noise, k)
        scaled = sigma * noise
        real = model.basis_energy(prepared, torch.addcmul(scaled, root, z0), k)
        wrong = model.basis_energy(prepared, torch.addcmul(scaled, root, negative), k)
        return (self._emphasis(z0)[:, 0] * F.softplus(real - wrong)).mean()


def trainer(energy: Config, config: TrainingConfig, seed: int, device: str = "cpu") -> Trainer:
    """The fastest trainer of an energy."""
    kind = Trainer if type(energy) is EnergyConfig else GraphTrainer
    return kind(energy, config, seed, device)
