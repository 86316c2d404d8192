"""Training: denoising score matching, and contrast between real and mined negative samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.adam import adam

from ired.model import checkpoint, problems
from ired.model.energies.architectures import Config, LearnedEnergy, build
from ired.model.energies.mlp import MLPEnergy
from ired.model.energies.passes import DERIVATIVE, ENERGY, GRADIENT, Gradients, Passes, rounding
from ired.model.sampling import monotone_descent

MINING = ("none", "random", "adversarial", "property")
LOSSES = ("denoising", "contrastive", "weight_gradient")


class Diverged(Exception):
    """A loss was not finite: the message says at which step."""


@dataclass(frozen=True)
class TrainingConfig:
    """How an energy is trained on problems of one distribution.

    `published()` gives the official release's values, its oddities included: the clamp of a mined
    negative's state uses the first sample's landscape for the whole batch (`clamp_by_first`), and
    later mining steps are twice as long (`later_step_factor`). `precision` "bfloat16" rounds matrix
    products (see `Passes`): faster on processors that multiply in it, slower on others.
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
    precision: str = "float32"

    def __post_init__(self):
        rounding(self.precision)
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

    def __init__(self, energy: Config, config: TrainingConfig, seed: int, device: str = "cpu"):
        self.config, self.seed, self.device = config, seed, torch.device(device)
        # Weights are drawn on the CPU: one seed gives one initial model on every machine.
        self.model = build(energy, problems.generator(seed, "weights")).to(device)
        self.average = build(energy).to(device).requires_grad_(False)
        self.average.load_state_dict(self.model.state_dict())
        # Weights and averages as one vector each: clipping, Adam and averaging are one step each.
        self._weights, self._average = _flatten(self.model), _flatten(self.average)
        self._gradient = torch.zeros_like(self._weights)
        for name, view in _named(self.model, self._gradient).items():
            self.model.get_parameter(name).grad = view
        self._moments = {
            "exp_avg": torch.zeros_like(self._weights),
            "exp_avg_sq": torch.zeros_like(self._weights),
        }
        self._updates = torch.zeros((), device=device)
        self._make_room()
        self.streams = {name: problems.generator(seed, name, self.device) for name in ("train", "noise", "negatives")}
        schedule, coordinates = self.model.schedule, self.model.coordinates
        self.root, self.sigma, self.step_size = (
            getattr(schedule, name).float().to(device)[:, None] for name in ("sqrt_alpha_bar", "sigma", "step_size")
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
                f"training diverged at step {at}: {dict(zip(LOSSES, rows[bad[0, 0]].tolist(), strict=True))}"
            )
        self._rows.append(rows)
        return rows

    def complete(
        self,
        path: Path,
        observe: Callable[[LearnedEnergy], dict[str, float]],
        tick: Callable[[int, Tensor], None] = lambda steps, losses: None,
        points: int = 20,
        until: int | None = None,
    ) -> list[dict[str, float]]:
        """Train to the end, or to step `until`, from the checkpoint at `path` if there is one.

        At `points` equal distances the averaged model is observed and everything is saved, so that
        a killed training loses a stretch at most. tick(steps, losses (3,)) follows the steps made.
        Returns the learning curve: one dict a point, "step" and what `observe` returned. Raises
        CheckpointError where the checkpoint is beyond `until`.
        """
        curve = self.resume(path) if path.exists() else []
        if self.step:
            tick(self.step, self.history[-1])
        stretch = -(-self.config.steps // points)
        end = min(until or self.config.steps, self.config.steps)
        if self.step > end:
            raise checkpoint.CheckpointError(f"{path} is at step {self.step}, beyond {end}: delete it to begin anew")
        while self.step < end:
            target = min((self.step // stretch + 1) * stretch, end)
            while self.step < target:
                losses = self.advance(min(10, target - self.step))
                tick(len(losses), losses[-1])
            curve.append({"step": self.step} | observe(self.average))
            self.save(path, notes=curve)
        return curve

    def _one_step(self) -> Tensor:
        c, n = self.config, self.model.config.n
        A = problems.draw(c.batch, n, c.c, self.streams["train"])
        return self.learn(A, problems.inverse(A, check=False))

    @torch.no_grad()
    def learn(self, A: Tensor, Y: Tensor) -> Tensor:
        """One step on problems (B, n, n) and their inverses; its losses (3,), on the device."""
        c = self.config
        denoising, contrastive = self._differentiate(A, Y)
        norm = torch.linalg.vector_norm(self._gradient)
        self._gradient.mul_((c.gradient_clip / (norm + 1e-6)).clamp(max=1.0))
        rate = c.learning_rate
        if c.decay:
            rate *= 0.5 * (1 + math.cos(math.pi * self.step / c.steps))
        adam(
            [self._weights],
            [self._gradient],
            [self._moments["exp_avg"]],
            [self._moments["exp_avg_sq"]],
            [],
            [self._updates],
            fused=True,
            amsgrad=False,
            beta1=c.betas[0],
            beta2=c.betas[1],
            lr=rate,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )
        self._update_average()
        self.step += 1
        return torch.stack((denoising, contrastive, norm))

    @property
    def _network(self) -> MLPEnergy:
        """The model: the passes are written out for this kind alone."""
        assert isinstance(self.model, MLPEnergy)
        return self.model

    def _make_room(self) -> None:
        """What `_differentiate` writes into, step after step."""
        precision, mined = self.config.precision, self.config.mining != "none"
        self._gradients = Gradients(self._network, precision)
        self._passes = [Passes(self._network, precision) for _ in range(1 + mined)]

    def _differentiate(self, A: Tensor, Y: Tensor) -> tuple[Tensor, Tensor]:
        """Both losses, and their weighted sum's derivative in `_gradient`.

        They are the mean squared error of the score, and the cross-entropy of real against
        negative samples.
        """
        c, model, into = self.config, self._network, self._gradients
        a, z0 = model.inputs(A), model.coordinates.to_basis(model.coordinates.encode(Y))
        k = torch.randint(model.schedule.K, (len(A),), generator=self.streams["noise"], device=self.device)
        root, sigma = self.root[k], self.sigma[k]
        self._gradient.zero_()
        into.start(k)
        with torch.enable_grad():
            tables = model.film()
        for passes in self._passes:
            passes.refresh()
            passes.film(tuple(table.detach() for table in tables), k)

        passes = self._passes[0]
        half = passes.half(a)
        noise = torch.randn(z0.shape, generator=self.streams["noise"], device=self.device)
        passes.forward(half, torch.addcmul(sigma * noise, root, z0), DERIVATIVE)
        error = passes.gradient().mul_(2).sub_(noise)
        denoising = torch.linalg.vector_norm(error).square() / error.numel()
        error.mul_(4 / error.numel())
        half_bar = passes.reverse_forward(into, *passes.reverse_gradient(into, error))
        contrastive = torch.zeros_like(denoising)
        if c.mining != "none":
            contrastive = self._contrast(half, half_bar, z0, k)
        into.add("a", half_bar, a, bias=True)
        torch.autograd.backward(tables, into.film)
        return denoising, contrastive

    def _contrast(self, half: Tensor, half_bar: Tensor, z0: Tensor, k: Tensor) -> Tensor:
        """The loss −log softmax(−E)[real] = softplus(E_real − E_negative), differentiated too."""
        c, root, sigma, (real, wrong) = self.config, self.root[k], self.sigma[k], self._passes
        # The same noise serves the real and the negative sample, as in the release: only the
        # clean estimates differ.
        noise = torch.randn(z0.shape, generator=self.streams["negatives"], device=self.device)

        def look(state: Tensor, further: bool) -> tuple[Tensor, Tensor | None]:
            f = wrong.forward(half, state, GRADIENT if further else ENERGY)
            return f.pow(2).sum(-1), 2 * wrong.gradient() if further else None

        negative = self._negatives(look, z0, noise, k)
        scaled = sigma * noise
        real.forward(half, torch.addcmul(scaled, root, z0), GRADIENT)
        wrong.forward(half, scaled.addcmul_(root, negative), GRADIENT)
        gap = (real.f.pow(2) - wrong.f.pow(2)).sum(-1, keepdim=True)
        emphasis = self._emphasis(z0)
        weight = torch.sigmoid(gap).mul_(emphasis).mul_(2 * c.contrast_weight / len(gap))
        half_bar += real.reverse_forward(self._gradients, weight * real.f)
        half_bar += wrong.reverse_forward(self._gradients, -weight * wrong.f)
        return (emphasis * F.softplus(gap)).mean()

    def _negatives(self, look: Callable[[Tensor, bool], Any], z0: Tensor, noise: Tensor, k: Tensor) -> Tensor:
        """Clean estimates of wrong answers (B, size): noised threefold, perhaps descended."""
        c, root = self.config, self.root[k]
        direction = self._along_soft(z0, noise) if c.mining == "property" else noise
        z = torch.addcmul(self.sigma[k] * c.negative_noise * direction, root, z0)
        if c.mining == "adversarial":
            z = monotone_descent(
                look,
                z,
                self.step_size[k],
                self.bound * (root[:1] if c.clamp_by_first else root),
                c.mining_steps,
                c.later_step_factor,
            )
        return (z / root).clamp_(-self.bound, self.bound)

    # Property-guided mining, our own: negatives where the landscapes were found weak. The sampler
    # settles the largest eigenvalues of an inverse last, and is worst where A is nearly singular.

    def _along_soft(self, z0: Tensor, noise: Tensor) -> Tensor:
        """Noise (B, size) of the same length, turned towards what decides an inverse's size.

        With Y = LLᵀ and symmetric isotropic G, L G Lᵀ is isotropic noise of the affine-invariant
        metric at Y: along v_i v_jᵀ it has deviation √(μ_i μ_j), μ the eigenvalues of Y.
        """
        coordinates = self.model.coordinates
        L = torch.linalg.cholesky_ex(coordinates.decode(coordinates.from_basis(z0))).L
        G = coordinates.from_basis(noise).unflatten(-1, L.shape[-2:])
        G = L @ (G + G.mT) @ L.mT
        turned = coordinates.to_basis(G.flatten(-2))
        return turned * (noise.norm(dim=-1, keepdim=True) / turned.norm(dim=-1, keepdim=True))

    def _emphasis(self, z0: Tensor) -> Tensor:
        """What a problem's contrast counts (B, 1), 1 on average: under property-guided mining from 0 to
        2 by its rank in ‖Y‖_F, the size of the inverse."""
        if self.config.mining != "property":
            return z0.new_ones(len(z0), 1)
        coordinates = self.model.coordinates
        size = coordinates.decode(coordinates.from_basis(z0)).flatten(-2).norm(dim=-1)
        ranks = size.argsort().argsort().to(z0)
        return (2 * ranks / max(len(z0) - 1, 1))[:, None]

    def _update_average(self) -> None:
        """EMA as in ema_pytorch: a copy during the first steps, then a power-2/3 warm-up."""
        c = self.config
        if self.step % c.ema_every:
            return
        late = self.step - c.ema_start
        decay = min(1 - (1 + late) ** (-2 / 3), c.ema_decay) if late > 0 else 0.0
        self._average.lerp_(self._weights, 1 - decay)

    # Checkpoints

    def _state(self) -> Iterator[tuple[str, Tensor]]:
        for name, tensor in self.model.state_dict().items():
            yield f"model.{name}", tensor
        for name, tensor in self.average.state_dict().items():
            yield f"average.{name}", tensor
        for slot, moments in self._moments.items():
            for name, tensor in _named(self.model, moments).items():
                yield f"adam.{slot}.{name}", tensor
        yield "adam.step", self._updates
        for name, stream in self.streams.items():
            yield f"stream.{name}", stream.get_state()
        yield "history", self.history

    def _identity(self) -> dict:
        return {
            "format": "ired-training-2",
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
                f"{path} belongs to another training (its {' and '.join(differs)} differ): delete it to start afresh"
            )
        groups: dict[str, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            group, _, rest = name.partition(".")
            groups.setdefault(group, {})[rest] = tensor
        self.model.load_state_dict(groups["model"])
        self.average.load_state_dict(groups["average"])
        adam_state = groups["adam"]
        self._updates.copy_(adam_state["step"])
        for slot, moments in self._moments.items():
            for name, view in _named(self.model, moments).items():
                view.copy_(adam_state[f"{slot}.{name}"])
        for name, state in groups["stream"].items():
            self.streams[name].set_state(state)
        self._rows = [groups["history"][""]]
        self.step = step
        return notes


def _flatten(model: nn.Module) -> Tensor:
    """All parameters of a model as one vector, of which they become views."""
    flat = nn.utils.parameters_to_vector(model.parameters()).detach().clone()
    for name, view in _named(model, flat).items():
        model.get_parameter(name).data = view
    return flat


def _named(model: nn.Module, flat: Tensor) -> dict[str, Tensor]:
    """Views of a vector as the parameters of a model."""
    parts = flat.split([parameter.numel() for parameter in model.parameters()])
    return {
        name: part.view_as(parameter) for (name, parameter), part in zip(model.named_parameters(), parts, strict=True)
    }
