"""The published algorithm as one would first write it: autograd through autograd, nothing reused.

What the rows compare with where the official release is not given. It makes the same training step
and draws the same kind of samples (Du et al. 2024, alg. 1 and 2).
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from ired.model import problems
from ired.model.energies.mlp import EnergyConfig, MLPEnergy
from ired.model.schedule import Schedule


class Plain:
    """A model, its optimiser, `step(A, Y)` and `sample(A)`."""

    name = "plain autograd"

    def __init__(
        self,
        n: int,
        mining: str = "none",
        weights: dict | None = None,
        rate: float = 1e-4,
        seed: int = 0,
        hidden: int = 512,
    ):
        """Weights and noise are those of `Trainer` with the same seed."""
        first = problems.generator(seed, "weights")
        self.model, self.average = (MLPEnergy(EnergyConfig(n, hidden), first) for _ in range(2))
        self.noise, self.negatives = (problems.generator(seed, s) for s in ("noise", "negatives"))
        if weights:
            self.model.load_state_dict(weights)
        self.average.load_state_dict(self.model.state_dict())
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=rate, betas=(0.9, 0.99))
        self.mining, self.count = mining, 0
        schedule = Schedule()
        self.root, self.sigma, self.step_size = (
            getattr(schedule, name).float()[:, None] for name in ("sqrt_alpha_bar", "sigma", "step_size")
        )

    def energy(self, a, y, k):
        m = self.model
        code = m.time_mlp(m.time_code[k])
        gain2, bias2 = m.t_map_fc2(code).chunk(2, dim=-1)
        gain3, bias3 = m.t_map_fc3(code).chunk(2, dim=-1)
        h = F.silu(m.fc1(torch.cat((a, y), dim=-1)))
        h = F.silu(m.fc2(h) * (1 + gain2) + bias2)
        h = F.silu(m.fc3(h) * (1 + gain3) + bias3)
        return m.fc4(h).square().sum(-1)

    def score(self, a, y, k):
        with torch.enable_grad():
            y = y.detach().requires_grad_()
            energy = self.energy(a, y, k)
            return energy, torch.autograd.grad(energy.sum(), y, create_graph=True)[0]

    def descend(self, a, y, k, steps):
        bound = 2 * self.root[k[:1]]
        for i in range(steps):
            energy, score = self.score(a, y, k)
            moved = y - (1 if i == 0 else 2) * self.step_size[k] * score
            moved = moved.detach().clamp(-bound, bound)
            with torch.no_grad():
                worse = self.energy(a, moved, k) > energy
            y = torch.where(worse[:, None], y, moved)
        return y

    def step(self, A, Y):
        a, y0 = A.flatten(1), Y.flatten(1)
        k = torch.randint(10, (len(a),), generator=self.noise)
        root, sigma = self.root[k], self.sigma[k]
        noise = torch.randn(y0.shape, generator=self.noise)
        loss = F.mse_loss(self.score(a, root * y0 + sigma * noise, k)[1], noise)
        if self.mining != "none":
            noise = torch.randn(y0.shape, generator=self.negatives)
            y = root * y0 + 3 * sigma * noise
            if self.mining == "adversarial":
                y = self.descend(a, y, k, 2)
            wrong = (y / root).clamp(-2, 2)
            energies = [self.energy(a, root * y + sigma * noise, k) for y in (y0, wrong)]
            target = torch.zeros(len(a), dtype=torch.long)
            loss = loss + 0.5 * F.cross_entropy(-torch.stack(energies, dim=1), target)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.count += 1
        if self.count % 10 == 0:
            with torch.no_grad():
                late = self.count - 100
                weight = max((1 + late) ** (-2 / 3), 0.005) if late > 0 else 1.0
                for slow, fast in zip(self.average.parameters(), self.model.parameters(), strict=True):
                    slow.lerp_(fast, weight)

    def sample(self, A):
        a = A.flatten(1)
        y = torch.randn(len(a), a.shape[1])
        for landscape in reversed(range(10)):
            k = torch.full((len(a),), landscape)
            clean = (y - self.sigma[k] * self.score(a, y, k)[1].detach()) / self.root[k]
            y = self.descend(a, clean.clamp(-2, 2) * self.root[k], k, 5)
            if landscape:
                y = y / self.root[k] * self.root[k - 1]
        return y

    @staticmethod
    def draw(count: int, n: int):
        """Problems drawn and inverted one at a time."""
        drawn = [torch.rand(n, n, dtype=torch.float64) * 2 - 1 for _ in range(count)]
        A = [2 * R @ R.T + 0.5 * torch.eye(n) for R in drawn]
        return torch.stack(A), torch.stack([torch.linalg.inv(M) for M in A])
