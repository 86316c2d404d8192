"""Batched ensembles: many small score networks trained as one program, their weights stacked.

For questions that only retraining answers ("what if these problems had not been there?"). Members
have IRED's architecture with one change: the FiLM rows of the ten landscapes are weights themselves
and no function of a code of k, which for ten landscapes is the same family of functions with a tenth of
the weights. They learn by denoising alone: the mean squared error of ∇_y E to the noise ε.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ired.model import problems
from ired.model.energies.mlp import EnergyConfig, MLPEnergy, _Prepared

_FILM = 4  # tables: gain and bias of fc2, then of fc3


class TableEnergy(MLPEnergy):
    """`MLPEnergy` whose FiLM tables are weights; at first they are what the code of k would give."""

    def __init__(self, config: EnergyConfig, generator: torch.Generator | None = None):
        super().__init__(config, generator)
        tables = [table.detach().clone() for table in super().film()]
        del self.time_mlp, self.t_map_fc2, self.t_map_fc3
        self.tables = nn.ParameterList(tables)

    def film(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        gain2, bias2, gain3, bias3 = self.tables
        return gain2, bias2, gain3, bias3

    def forward(self, a: Tensor, z: Tensor, k: Tensor) -> Tensor:
        """The score ∇_z E (B, size) of standardised problems a (B, size), states z, landscapes k (B,).

        A function of the weights whose mean squared error is the loss: what Gauss-Newton needs.
        """
        half = F.linear(a, self.fc1.weight[:, : self.coordinates.size], self.fc1.bias)
        return 2 * self._backward(self._forward(_Prepared(half, self.film()), z, k))[0]


@dataclass(frozen=True)
class Recipe:
    """How members are trained: Adam (0.9, 0.99), the rate falling to 0 as a cosine; batches hold
    every landscape equally often, `each` times."""

    steps: int = 1500
    each: int = 4
    learning_rate: float = 5e-3

    def rate(self, step: int) -> float:
        """The learning rate of step 0, 1, …"""
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * step / self.steps))


class _Swish(torch.autograd.Function):
    """swish(u) and its slope together, each differentiated in closed form."""

    @staticmethod
    def forward(ctx, u: Tensor) -> tuple[Tensor, Tensor]:
        s = torch.sigmoid(u)
        h = u * s
        slope = torch.addcmul(s + h, h, s, value=-1)
        ctx.save_for_backward(slope, (1 - s) * (2 * slope - h))
        return h, slope

    @staticmethod
    def backward(ctx, by_h: Tensor, by_slope: Tensor) -> Tensor:
        slope, bend = ctx.saved_tensors
        return torch.addcmul(by_h * slope, by_slope, bend)


class Ensemble:
    """M networks of one shape. Offers `ired.model.protocol.Energy` as far as sampling asks for it.

    There the rows of problems and states are the members' in turn, equally many each: (M·B, …).
    weights: name → (M, …), named as in `TableEnergy`.
    """

    def __init__(self, members: list[TableEnergy]):
        """Stacks copies of the members' weights. Raises ValueError for none, or for unlike ones."""
        if not members or any(member.config != members[0].config for member in members):
            raise ValueError("an ensemble needs members, and all of one configuration")
        self.like, self.count = members[0], len(members)
        self.coordinates, self.schedule = self.like.coordinates, self.like.schedule
        states = [dict(member.named_parameters()) for member in members]
        self.weights = {name: torch.stack([state[name].detach() for state in states]) for name in states[0]}

    @classmethod
    def drawn(
        cls,
        config: EnergyConfig,
        seeds: Tensor,
        draw: Callable[[int], torch.Generator],
        like: Tensor,
    ) -> Ensemble:
        """Members with the first weights of their seeds (M,): equal seeds, equal weights.

        draw(seed) gives the generator (on the CPU); `like` sets dtype and device.
        """
        made = {s: TableEnergy(config, draw(s)).to(like) for s in sorted(set(seeds.tolist()))}
        return cls([made[s] for s in seeds.tolist()])

    def member(self, m: int, weights: dict[str, Tensor] | None = None) -> TableEnergy:
        """One network by itself, with copies of its weights, or of stacked ones given."""
        weights = self.weights if weights is None else weights
        energy = TableEnergy(self.like.config).to(self.like.fc1.weight)
        energy.load_state_dict({name: w[m] for name, w in weights.items()})
        return energy

    # Training

    def score(self, a: Tensor, z: Tensor) -> Tensor:
        """∇_z E (M, B, size) of a and z (M, B, size), row j in landscape j mod K."""
        f, p = self._forward(a, z, slice(None))
        return self._backward(f, p)

    def train(
        self,
        A: Tensor,
        y0: Tensor,
        batches: Iterator[tuple[Tensor, Tensor]],
        recipe: Recipe,
        see: Callable[[int, float, Tensor], None] = lambda step, rate, losses: None,
        checkpoint: Any = None,
    ) -> Tensor:
        """Train all members on problems A (N, n, n) with answers y0 (N, d); losses (steps, M).

        batches: as `draw_batches` gives them. see(step, rate, losses (M,)) follows every step,
        before it is made (step counts from 0). checkpoint: where a state is kept now and then (load()
        → (tensors, notes) or None, due(), save(tensors, notes)); steps that it has seen are not made
        again, and not seen. Raises FloatingPointError where a loss is not finite.
        """
        like = self.like.fc1.weight
        with torch.no_grad():
            a, z0 = self.like.inputs(A.to(like)), self.coordinates.to_basis(y0.to(like))
        K = self.schedule.K
        root, sigma = (
            getattr(self.schedule, name).to(like).repeat(recipe.each)[:, None] for name in ("sqrt_alpha_bar", "sigma")
        )
        weights = [w.requires_grad_() for w in self.weights.values()]
        optimiser = torch.optim.Adam(weights, recipe.learning_rate, betas=(0.9, 0.99), fused=True)
        history, done = [], 0
        if checkpoint is not None and (kept := checkpoint.load()):
            history, done = list(kept[0]["history"].to(like)), kept[1]["step"]
            self._restore(kept[0], optimiser)
        for step, (index, noise) in enumerate(batches):
            if step < done:
                continue
            if index.shape[1] != K * recipe.each:
                raise ValueError(f"{index.shape[1]} rows a batch, not {recipe.each} in {K} landscapes")
            noise = noise.to(like)
            rate = optimiser.param_groups[0]["lr"] = recipe.rate(step)
            index = index.to(like.device)
            error = self.score(a[index], torch.addcmul(sigma * noise, root, z0[index])) - noise
            losses = error.square().mean((1, 2))
            history.append(losses.detach())
            see(step, rate, history[-1])
            optimiser.zero_grad(set_to_none=True)
            losses.sum().backward()
            optimiser.step()
            if checkpoint is not None and checkpoint.due():
                checkpoint.save(self._state(optimiser) | {"history": torch.stack(history)}, {"step": step + 1})
        for w in weights:
            w.requires_grad_(False)
            w.grad = None
        curve = torch.stack(history)
        if not curve.isfinite().all():
            raise FloatingPointError("an ensemble's training diverged: its losses are not finite")
        return curve

    def _state(self, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
        """Weights and the optimiser's moments, by name."""
        state = {f"weight.{name}": w for name, w in self.weights.items()}
        for name, w in self.weights.items():
            state |= {f"adam.{key}.{name}": value for key, value in optimiser.state[w].items()}
        return state

    def _restore(self, state: dict[str, Tensor], optimiser: torch.optim.Optimizer) -> None:
        with torch.no_grad():
            for name, w in self.weights.items():
                w.copy_(state[f"weight.{name}"])
                moments = {
                    key.split(".")[1]: value
                    for key, value in state.items()
                    if key.startswith("adam.") and key.split(".", 2)[2] == name
                }
                optimiser.state[w] = {key: value.to(w.device) for key, value in moments.items()}

    # The protocol, for rows (M·B, …)

    def prepare(self, A: Tensor) -> Tensor:
        """Standardised problems (M·B, size)."""
        return A if A.dim() == 2 else self.like.inputs(A)

    def energy(self, A: Tensor, y: Tensor, k: int) -> Tensor:
        f, _ = self._rows(A, y, k)
        return f.square().sum(-1).flatten()

    def gradient(self, A: Tensor, y: Tensor, k: int) -> Tensor:
        return self.energy_and_gradient(A, y, k)[1]

    def energy_and_gradient(self, A: Tensor, y: Tensor, k: int) -> tuple[Tensor, Tensor]:
        f, p = self._rows(A, y, k)
        gradient = self._backward(f, p).flatten(0, 1)
        return f.square().sum(-1).flatten(), self.coordinates.from_basis(gradient)

    def _rows(self, A: Tensor, y: Tensor, k: int) -> tuple[Tensor, tuple]:
        split = (self.count, -1)
        z = self.coordinates.to_basis(y)
        return self._forward(self.prepare(A).unflatten(0, split), z.unflatten(0, split), slice(k, k + 1))

    def _forward(self, a: Tensor, z: Tensor, landscapes: slice) -> tuple[Tensor, tuple]:
        """f (M, B, size), and what the backward pass needs."""
        w = self.weights
        film = [w[f"tables.{i}"][:, None, landscapes] for i in range(_FILM)]

        def affine(name: str, h: Tensor) -> Tensor:
            return torch.baddbmm(w[f"{name}.bias"][:, None], h, w[f"{name}.weight"].mT)

        h, slope1 = _Swish.apply(affine("fc1", torch.cat((a, z), -1)))
        slopes = [slope1]
        for name, gain, bias in (("fc2", film[0], film[1]), ("fc3", film[2], film[3])):
            v = affine(name, h)
            split = v.unflatten(1, (-1, gain.shape[2]))
            h, slope = _Swish.apply(torch.addcmul(bias, split, gain).view_as(v))
            slopes.append(slope)
        return affine("fc4", h), (slopes, film)

    def _backward(self, f: Tensor, kept: tuple) -> Tensor:
        """∇_z ‖f‖² (M, B, size)."""
        w, (slopes, film) = self.weights, kept
        d = f @ w["fc4.weight"]
        for name, slope, gain in (("fc3", slopes[2], film[2]), ("fc2", slopes[1], film[0])):
            e = d * slope
            d = (e.unflatten(1, (-1, gain.shape[2])) * gain).view_as(e) @ w[f"{name}.weight"]
        return 2 * (d * slopes[0]) @ w["fc1.weight"][:, :, self.coordinates.size :]


def draw_batches(
    masks: Tensor,
    seeds: Tensor,
    recipe: Recipe,
    size: int,
    landscapes: int,
    generator: torch.Generator,
) -> Iterator[tuple[Tensor, Tensor]]:
    """For every step the problems (M, B) of each member and the noise (M, B, size) on them, on the CPU.

    masks (M, N): the training problems that each member has, drawn with replacement, equally often;
    seeds (M,): members of one seed get the same noise, and the same problem wherever both have it, so
    that nothing but what they have sets them apart. B = each · K. Raises ValueError where a member has
    no problem.
    """
    if not masks.any(1).all():
        raise ValueError("a member without training problems")
    masks, seeds = masks.cpu(), seeds.cpu()
    _, stream = torch.unique(seeds, return_inverse=True)
    lists = torch.argsort(~masks, dim=1, stable=True)  # a member's problems first, in their order
    counts = masks.sum(1, keepdim=True)
    streams, rows = int(stream.max()) + 1, recipe.each * landscapes
    for _ in range(recipe.steps):
        # One of all N problems; a member that lacks it takes another of its own, at random.
        first, place = torch.rand(2, streams, rows, generator=generator, dtype=torch.float64)
        noise = torch.randn(streams, rows, size, generator=generator, dtype=torch.float64)
        index = (first * masks.shape[1]).long()[stream]
        chosen = lists.gather(1, (place[stream] * counts).long())
        yield torch.where(masks.gather(1, index), index, chosen), noise.float()[stream]


Past = list[tuple[float, dict[str, Tensor]]]


def retrain(
    config: EnergyConfig,
    A: Tensor,
    masks: Tensor,
    seeds: Tensor,
    weights: Tensor,
    recipe: Recipe,
    draw: Callable[[str], torch.Generator],
    like: Tensor,
    keep: tuple[int, ...] = (),
    tick: Callable[[int], None] = lambda steps: None,
    checkpoint: Any = None,
) -> tuple[Ensemble, Past]:
    """Networks trained on subsets `masks` (M, N) of problems A (N, n, n), and what they were on the
    way.

    seeds (M,): of batches and noise; weights (M,): of the first weights; draw("weights 3") and
    draw("batches") give generators on the CPU; `like` sets dtype and device. keep: steps before which
    (learning rate, stacked weights) is kept. checkpoint: see `Ensemble.train`. Raises FloatingPointError
    where training diverges.
    """
    members = Ensemble.drawn(config, weights, lambda s: draw(f"weights {s}"), like)
    coordinates, past = members.coordinates, []

    def see(step: int, rate: float, losses: Tensor) -> None:
        if step in keep:
            past.append((rate, {name: w.detach().clone() for name, w in members.weights.items()}))
        tick(1)

    y0 = coordinates.encode(problems.inverse(A.double()))
    batches = draw_batches(masks, seeds, recipe, coordinates.size, members.schedule.K, draw("batches"))
    members.train(A, y0, batches, recipe, see, checkpoint and _WithPast(checkpoint, past, tick))
    return members, past


class _WithPast:
    """A checkpoint that holds what was kept on the way as well."""

    def __init__(self, inner: Any, past: Past, tick: Callable[[int], None]):
        self._inner, self._past, self._tick, self.due = inner, past, tick, inner.due

    def load(self) -> tuple[dict[str, Tensor], dict] | None:
        state = self._inner.load()
        if state:
            tensors, notes = state
            for i, rate in enumerate(notes["rates"]):
                past = {name: value for name, value in tensors.items() if name.startswith(f"past.{i}.")}
                self._past.append((rate, {name.split(".", 2)[2]: value for name, value in past.items()}))
            self._tick(notes["step"])
        return state

    def save(self, tensors: dict[str, Tensor], notes: dict) -> None:
        older = {f"past.{i}.{name}": w for i, (_, weights) in enumerate(self._past) for name, w in weights.items()}
        self._inner.save(tensors | older, notes | {"rates": [rate for rate, _ in self._past]})


def as_function(energy: TableEnergy) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """(θ (p,), A (B, n, n), y (B, d), k (B,)) ↦ ∇E in basis coordinates (B, size), for torch.func.

    θ holds the weights in the order of energy.parameters(), one after the other.
    """
    shapes = {name: w.shape for name, w in energy.named_parameters()}
    sizes = [shape.numel() for shape in shapes.values()]

    def score(theta: Tensor, A: Tensor, y: Tensor, k: Tensor) -> Tensor:
        parts = theta.split(sizes)
        weights = {name: w.view(shapes[name]) for name, w in zip(shapes, parts, strict=True)}
        inputs = energy.inputs(A), energy.coordinates.to_basis(y), k
        return torch.func.functional_call(energy, weights, inputs)

    return score
