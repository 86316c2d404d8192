"""Training: denoising score matching, and contrast between real and mined negative samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ired.model import checkpoint, problems
from ired.model.energy import EnergyConfig, MLPEnergy
from ired.model.sampling import descend

MINING = ("none", "random", "adversarial")
LOSSES = ("denoising", "contrastive", "weight_gradient")


class Diverged(Exception):
    """A loss was not finite: the message says at which step."""


@dataclass(frozen=True)
class TrainingConfig:
    """How an energy is trained on problems of one distribution.

    `published()` gives the official release's values, its oddities included: the clamp of a mined
    negative's state uses the first sample's landscape for the whole batch (`clamp_by_first`), and
    later mining steps are twice as long (`later_step_factor`).
    """

    c: float = 0.5
    steps: int = 4000
    batch: int = 512
    learning_rate: float = 3e-3
    decay: bool = True  # cosine to zero; constant otherwise
    mining: str = "none"
    contrast_weight: float = 0.5
    negative_noise: float = 3.0
    mining_steps: int = 2
    clip: float = 2.0
    later_step_factor: float = 1.0
    clamp_by_first: bool = False
    betas: tuple[float, float] = (0.9, 0.99)
    gradient_clip: float = 1.0
    ema_decay: float = 0.995
    ema_every: int = 10
    ema_start: int = 100

    def __post_init__(self):
        if self.mining not in MINING:
            raise ValueError(f"mining is one of {', '.join(MINING)}, not {self.mining!r}")

    @classmethod
    def published(cls, mining: str = "none", steps: int = 1_300_000) -> TrainingConfig:
        return cls(
            steps=steps,
            batch=2048,
            learning_rate=1e-4,
            decay=False,
            mining=mining,
            later_step_factor=2.0,
            clamp_by_first=True,
        )


class Trainer:
    """One model in training: `advance()` makes steps, `save` and `resume` lose none of them.

    Problems, noise and negatives come from three random streams, so models of one seed see the
    same problems and the same noise whatever their mining. `history` holds the losses of every
    step so far: float32 (steps, 3), columns `LOSSES`.
    """

    def __init__(
        self, energy: EnergyConfig, config: TrainingConfig, seed: int, device: str = "cpu"
    ):
        self.config, self.seed, self.device = config, seed, torch.device(device)
        # Weights are drawn on the CPU: one seed gives one initial model on every machine.
        self.model = MLPEnergy(energy, problems.generator(seed, "weights")).to(device)
        self.average = MLPEnergy(energy).to(device).requires_grad_(False)
        self.average.load_state_dict(self.model.state_dict())
        self.optimizer = torch.optim.Adam(
            self.model.parameters(),
            lr=config.learning_rate,
            betas=config.betas,
            fused=True,
        )
        self.streams = {
            name: problems.generator(seed, name, self.device)
            for name in ("train", "noise", "negatives")
        }
        schedule, coordinates = self.model.schedule, self.model.coordinates
        self.root, self.sigma, self.step_size = (
            getattr(schedule, name).float().to(device)[:, None]
            for name in ("sqrt_alpha_bar", "sigma", "step_size")
        )
        # An entry of a symmetric matrix counts √2 in basis coordinates off the diagonal.
        ones = torch.ones(coordinates.d, device=device)
        self.bound = config.clip * coordinates.to_basis(ones)
        self.step = 0
        self._rows: list[Tensor] = []

    @property
    def history(self) -> Tensor:
        if len(self._rows) > 1:
            self._rows = [torch.cat(self._rows)]
        return self._rows[0] if self._rows else torch.zeros(0, len(LOSSES))

    def advance(self, steps: int) -> Tensor:
        """Make `steps` training steps; their losses (steps, 3). Raises Diverged."""
        rows = torch.stack([self._one_step() for _ in range(steps)]).cpu()
        bad = (~rows.isfinite().all(dim=1)).nonzero()
        if len(bad):
            at = self.step - steps + int(bad[0]) + 1
            raise Diverged(
                f"training diverged at step {at}: {dict(zip(LOSSES, rows[bad[0, 0]].tolist()))}"
            )
        self._rows.append(rows)
        return rows

    def complete(
        self,
        path: Path,
        observe: Callable[[MLPEnergy], dict[str, float]],
        tick: Callable[[int, Tensor], None] = lambda steps, losses: None,
        points: int = 20,
    ) -> list[dict[str, float]]:
        """Train to the end, from the checkpoint at `path` if there is one.

        At `points` equal distances the averaged model is observed and everything is saved, so that
        a killed training loses a stretch at most. tick(steps, losses (3,)) follows the steps made.
        Returns the learning curve: one dict a point, "step" and what `observe` returned.
        """
        curve = self.resume(path) if path.exists() else []
        if self.step:
            tick(self.step, self.history[-1])
        stretch = -(-self.config.steps // points)
        while self.step < self.config.steps:
            target = min((self.step // stretch + 1) * stretch, self.config.steps)
            while self.step < target:
                losses = self.advance(min(10, target - self.step))
                tick(len(losses), losses[-1])
            curve.append({"step": self.step} | observe(self.average))
            self.save(path, notes=curve)
        return curve

    def _one_step(self) -> Tensor:
        c, model = self.config, self.model
        rate = c.learning_rate
        if c.decay:
            rate *= 0.5 * (1 + math.cos(math.pi * self.step / c.steps))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        A = problems.draw(c.batch, model.config.n, c.c, self.streams["train"])
        z0 = model.coordinates.to_basis(model.coordinates.encode(problems.inverse(A)))
        denoising, contrastive = self._losses(A, z0)
        (denoising + c.contrast_weight * contrastive).backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), c.gradient_clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._update_average()
        self.step += 1
        return torch.stack((denoising.detach(), contrastive.detach(), norm))

    def _losses(self, A: Tensor, z0: Tensor) -> tuple[Tensor, Tensor]:
        """Mean squared error of the score, and cross-entropy of real against negative samples."""
        k = torch.randint(
            self.model.schedule.K, (len(A),), generator=self.streams["noise"], device=self.device
        )
        root, sigma = self.root[k], self.sigma[k]
        noise = torch.randn(z0.shape, generator=self.streams["noise"], device=self.device)
        prepared = self.model.prepare(A)
        _, score = self.model.basis_energy_and_gradient(prepared, root * z0 + sigma * noise, k)
        denoising = F.mse_loss(score, noise)
        if self.config.mining == "none":
            return denoising, torch.zeros_like(denoising)
        # The same noise serves the real and the negative sample, as in the release: only the
        # clean estimates differ.
        noise = torch.randn(z0.shape, generator=self.streams["negatives"], device=self.device)
        wrong = self._negatives(prepared, z0, noise, k)
        pair = torch.stack((root * z0 + sigma * noise, root * wrong + sigma * noise), dim=1)
        energies = self.model.basis_energy(prepared, pair, k)
        target = torch.zeros(len(A), dtype=torch.long, device=self.device)
        return denoising, F.cross_entropy(-energies, target)

    @torch.no_grad()
    def _negatives(self, prepared, z0: Tensor, noise: Tensor, k: Tensor) -> Tensor:
        """Clean estimates of wrong answers (B, size): noised threefold, perhaps descended."""
        c, root = self.config, self.root[k]
        z = root * z0 + self.sigma[k] * c.negative_noise * noise
        if c.mining == "adversarial":
            z = descend(
                lambda state: self.model.basis_energy_and_gradient(prepared, state, k),
                z,
                self.step_size[k],
                self.bound * (root[:1] if c.clamp_by_first else root),
                c.mining_steps,
                c.later_step_factor,
            )
        return (z / root).clamp(-self.bound, self.bound)

    @torch.no_grad()
    def _update_average(self) -> None:
        """EMA as in ema_pytorch: a copy during the first steps, then a power-2/3 warm-up."""
        c = self.config
        if self.step % c.ema_every:
            return
        late = self.step - c.ema_start
        decay = min(1 - (1 + late) ** (-2 / 3), c.ema_decay) if late > 0 else 0.0
        torch._foreach_lerp_(
            list(self.average.parameters()), list(self.model.parameters()), 1 - decay
        )

    # Checkpoints

    def _state(self) -> Iterator[tuple[str, Tensor]]:
        for name, tensor in self.model.state_dict().items():
            yield f"model.{name}", tensor
        for name, tensor in self.average.state_dict().items():
            yield f"average.{name}", tensor
        for name, parameter in self.model.named_parameters():
            for slot, tensor in self.optimizer.state[parameter].items():
                yield f"adam.{slot}.{name}", tensor
        for name, stream in self.streams.items():
            yield f"stream.{name}", stream.get_state()
        yield "history", self.history

    def _identity(self) -> dict:
        return {
            "format": "ired-training-1",
            "config": self.model.describe(),
            "training": asdict(self.config) | {"betas": list(self.config.betas)},
            "seed": self.seed,
            "device": self.device.type,
        }

    def save(self, path: Path, notes: Any = None) -> None:
        """Everything that the next step depends on, written atomically; notes are JSON values."""
        meta = self._identity() | {"step": self.step, "notes": notes}
        checkpoint.write(path, dict(self._state()), meta)

    def resume(self, path: Path) -> Any:
        """Continue bit for bit from a file that `save` made, and return its notes.

        Raises CheckpointError where the file is broken or belongs to another training.
        """
        tensors, meta = checkpoint.read(path)
        step, notes = meta.pop("step", None), meta.pop("notes", None)
        if meta != self._identity():
            differs = [key for key, value in self._identity().items() if meta.get(key) != value]
            raise checkpoint.CheckpointError(
                f"{path} belongs to another training (its {' and '.join(differs)} differ): "
                "delete it to start afresh"
            )
        groups: dict[str, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            group, _, rest = name.partition(".")
            groups.setdefault(group, {})[rest] = tensor
        self.model.load_state_dict(groups["model"])
        self.average.load_state_dict(groups["average"])
        slots: dict[str, dict[str, Tensor]] = {}
        for name, tensor in groups.get("adam", {}).items():
            slot, _, parameter = name.partition(".")
            slots.setdefault(parameter, {})[slot] = tensor
        for name, parameter in self.model.named_parameters():
            if name in slots:
                self.optimizer.state[parameter] = {
                    slot: tensor.to(self.device) for slot, tensor in slots[name].items()
                }
        for name, state in groups["stream"].items():
            self.streams[name].set_state(state)
        self._rows = [groups["history"][""]]
        self.step = step
        return notes
