"""Activations of an energy's layers: where they are taken, how they are kept, what they look like.

A *token* is one evaluation of the network: a problem, a landscape and a state. Tokens come in shards
small enough for any memory; a problem's tokens all lie in one shard, and train and held-out shards
share no problem.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ired.instruments.core import states as points
from ired.instruments.core.sampler import Sampler
from ired.instruments.statistics.spectra import participation_ratio
from ired.model.protocol import Energy

LAYERS = ("fc1", "fc2", "fc3")
SPLITS = ("train", "held_out")
KINDS = ("noised", "path")


class BadActivations(ValueError):
    """Activations cannot be used; the message says which, why, and what to do."""

    exit_status = 2


@dataclass(frozen=True)
class Tokens:
    """N tokens, those of one problem next to each other.

    problem (N,): row of its problem in the split; landscape (N,); kind (N,): index into KINDS;
    step (N,): descent steps made in this landscape (0 for noised answers); y (N, d): the state;
    distance (N,): ‖y − √ᾱ_k y₀‖ in noise radii; activations: (N, width) by layer, float32.
    """

    problem: Tensor
    landscape: Tensor
    kind: Tensor
    step: Tensor
    y: Tensor
    distance: Tensor
    activations: dict[str, Tensor]

    def columns(self) -> dict[str, Tensor]:
        """All but the activations, for storing."""
        return {name: value for name, value in vars(self).items() if name != "activations"}


@torch.no_grad()
def collect(
    energy: Energy,
    A: Tensor,
    y0: Tensor,
    sampler: Sampler,
    start: Tensor,
    draws: int,
    generator: torch.Generator,
    first: int = 0,
) -> Tokens:
    """Tokens of problems A (P, n, n) with answers y0 (P, d): 2·K + draws·K of each.

    In every landscape: `draws` noised answers √ᾱ_k y₀ + σ_k ε, and the states of a sampling path
    from `start` (P, d) after denoising and after the last descent step. `first` numbers the problems.
    """
    K, path = energy.schedule.K, {}

    def see(step: Any) -> None:
        if step.stage in ("denoise", "descend"):
            path[step.landscape, min(step.inner, 1)] = (step.inner, step.y)  # the last one stays

    sampler(energy, A, start, callback=see)
    prepared, parts = energy.prepare(A), []
    for k in range(K):
        noised, _ = points.noised(energy, y0, k, draws, generator)
        steps, states = zip(*(path[k, late] for late in (0, 1) if (k, late) in path), strict=True)
        y = torch.cat([noised, torch.stack(states, 1)], 1)
        distance = (y - points.centre(energy, y0, k)[:, None]).norm(dim=-1)
        kind = torch.tensor([0] * draws + [1] * len(steps))
        parts.append(
            (
                torch.full((y.shape[1],), k),
                kind,
                torch.tensor([0] * draws + list(steps)),
                y,
                distance / points.noise_radius(energy, k),
                energy.activations(prepared, y, k),
            )
        )
    landscape, kind, step, y, distance, activations = zip(*parts, strict=True)
    count = sum(map(len, landscape))

    def rows(parts: tuple[Tensor, ...]) -> Tensor:
        return torch.cat(parts, 1).flatten(0, 1).float().cpu()

    return Tokens(
        problem=torch.arange(first, first + len(A)).repeat_interleave(count),
        landscape=torch.cat(landscape).repeat(len(A)),
        kind=torch.cat(kind).repeat(len(A)),
        step=torch.cat(step).repeat(len(A)),
        y=rows(y),
        distance=rows(distance),
        activations={layer: rows(tuple(a[layer] for a in activations)) for layer in LAYERS},
    )


def in_shards(
    energy: Energy, A: Tensor, sampler: Sampler, draws: int, generator: torch.Generator, size: int
) -> Iterator[Tokens]:
    """`collect` of problems A (P, n, n), `size` of them at a time, sampled from noise: a shard each."""
    for first in range(0, len(A), size):
        part = A[first : first + size]
        start = energy.coordinates.noise(len(part), generator=generator).to(part)
        y0 = points.answers(energy, part)
        yield collect(energy, part, y0, sampler, start, draws, generator, first)


@dataclass
class Moments:
    """Sums over tokens (…, width) of one layer, added shard by shard in float64."""

    landscapes: int
    count: Tensor | None = None  # (K,)
    total: Tensor | None = None  # (K, width)
    products: Tensor | None = None  # (width, width)
    positive: Tensor | None = None  # (width,)

    def add(self, x: Tensor, landscape: Tensor) -> None:
        x, width = x.double(), x.shape[1]
        if self.count is None:
            self.count = torch.zeros(self.landscapes, dtype=torch.float64)
            self.total = torch.zeros(self.landscapes, width, dtype=torch.float64)
            self.products = torch.zeros(width, width, dtype=torch.float64)
            self.positive = torch.zeros(width, dtype=torch.float64)
        self.count += torch.bincount(landscape, minlength=self.landscapes)
        self.total.index_add_(0, landscape, x)
        self.products += x.mT @ x
        self.positive += (x > 0).sum(0)

    @property
    def mean(self) -> Tensor:
        """(width,), over all landscapes."""
        return self.total.sum(0) / self.count.sum()

    @property
    def means(self) -> Tensor:
        """(K, width): the mean of each landscape."""
        return self.total / self.count[:, None]

    @property
    def covariance(self) -> Tensor:
        """(width, width), around the overall mean."""
        return self.products / self.count.sum() - torch.outer(self.mean, self.mean)

    def summary(self) -> dict[str, float]:
        """What a layer's activations look like in a few numbers.

        between_landscapes: share of the variance that the landscape's mean explains; participation:
        (Σλ)²/Σλ² of the covariance's eigenvalues, the number of directions that carry it;
        constant: ‖mean‖² as a share of the mean squared norm; positive: share of entries above 0.
        """
        covariance, mean = self.covariance, self.mean
        variance = covariance.trace()
        weights = self.count / self.count.sum()
        between = (weights[:, None] * (self.means - mean).pow(2)).sum()
        values = torch.linalg.eigvalsh(covariance).clamp_min(0)
        return {
            "between_landscapes": (between / variance).item(),
            "participation": float(participation_ratio(points.array(values))),
            "constant": (mean.pow(2).sum() / (mean.pow(2).sum() + variance)).item(),
            "positive": (self.positive.mean() / self.count.sum()).item(),
            "mean_square": ((mean.pow(2).sum() + variance) / len(mean)).item(),
        }


class ShardWriter:
    """Writes tokens shard by shard through `write(name, tensors)`, and notes what is needed to read them.

    index: see `Shards`; moments: of the split "train", by layer.
    """

    def __init__(self, write: Callable[[str, dict[str, Tensor]], None], landscapes: int, source: str):
        self.write = write
        self.index: dict[str, Any] = {
            "widths": {},
            "tokens": {split: [] for split in SPLITS},
            "landscapes": landscapes,
            "source": source,
        }
        self.moments = {layer: Moments(landscapes) for layer in LAYERS}

    def add(self, split: str, tokens: Tokens) -> None:
        """The next shard of a split."""
        counts = self.index["tokens"][split]
        self.write(Shards.name(split, len(counts), "tokens"), tokens.columns())
        for layer, x in tokens.activations.items():
            self.write(Shards.name(split, len(counts), layer), {"x": x})
            self.index["widths"][layer] = x.shape[1]
            if split == "train":
                self.moments[layer].add(x, tokens.landscape)
        counts.append(len(tokens.y))

    def moment_tensors(self) -> dict[str, Tensor]:
        """mean, covariance and means of every layer, as "layer.name": what later experiments need of them."""
        names = ("mean", "covariance", "means")
        return {f"{layer}.{n}": getattr(of_layer, n) for layer, of_layer in self.moments.items() for n in names}


@dataclass
class Shards:
    """Stored activations, read one shard at a time.

    index: what was noted when they were written ({"widths": {layer: width}, "tokens": {split: [N of
    each shard]}, "landscapes": K, "source": the model's run}); read(name): the tensors stored under
    that name. Raises BadActivations where what is read is not what the index promises.
    """

    index: Mapping[str, Any]
    read: Callable[[str], dict[str, Tensor]]
    _kept: dict[str, Tensor] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, index: Mapping, read: Callable[[str], dict[str, Tensor]], source: str) -> Shards:
        """Those of the model whose run is `source`, and of no other."""
        if index["source"] != source:
            raise BadActivations(
                f"these activations are those of the model of run {index['source']}, not of {source}: "
                "collect them anew (P2-01 with ARGS=--force, at the same coordinates)"
            )
        return cls(index, read)

    @staticmethod
    def name(split: str, number: int, what: str) -> str:
        return f"{split}-{number:04d}-{what}"

    def width(self, layer: str) -> int:
        if layer not in self.index["widths"]:
            known = ", ".join(self.index["widths"])
            raise BadActivations(f"there is no layer '{layer}' among these activations: {known}")
        return self.index["widths"][layer]

    def count(self, split: str) -> int:
        return sum(self.index["tokens"][split])

    def activations(self, split: str, layer: str) -> Iterator[Tensor]:
        """(N, width) of every shard."""
        for number in range(len(self.index["tokens"][split])):
            yield self._shard(split, layer, number)

    def tokens(self, split: str) -> Iterator[dict[str, Tensor]]:
        """The columns of the tokens of every shard."""
        for number in range(len(self.index["tokens"][split])):
            yield self.read(self.name(split, number, "tokens"))

    def columns(self, split: str) -> dict[str, Tensor]:
        """The columns of all tokens of a split, in the order of the shards."""
        parts = list(self.tokens(split))
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def batches(self, layer: str, size: int, generator: torch.Generator, memory: int = 2**28) -> Iterator[Tensor]:
        """Training activations (size, width) without end, in random order.

        As many shards as fit into `memory` bytes, at least one, are drawn and shuffled together: the
        tokens of a shard share problems, and training on one after the other would follow them. What
        is left of them in the end is dropped. Shards that all fit are read once.
        """
        counts = self.index["tokens"]["train"]
        if min(counts) < size:
            raise BadActivations(f"a batch of {size} tokens is larger than a shard of activations")
        together = max(1, memory // (4 * self.width(layer) * max(counts)))
        drawn: list[int] = []
        while True:
            order = torch.randperm(len(counts), generator=generator)
            for numbers in order.split(together):
                if sorted(numbers.tolist()) != sorted(drawn):
                    drawn = numbers.tolist()
                    x = torch.cat([self._shard("train", layer, number) for number in drawn])
                places = torch.randperm(len(x), generator=generator)
                for chosen in places[: len(x) // size * size].split(size):
                    yield x[chosen]

    def _shard(self, split: str, layer: str, number: int) -> Tensor:
        name = self.name(split, number, layer)
        if name in self._kept:
            return self._kept[name]
        expected = (self.index["tokens"][split][number], self.width(layer))
        x = self.read(name)["x"]
        if tuple(x.shape) != expected:
            raise BadActivations(
                f"{name} holds {tuple(x.shape)} activations where its index says {expected}: "
                "collect them anew (P2-01 with ARGS=--force, at the same coordinates)"
            )
        if not bool(x.isfinite().all()):
            bad = int((~x.isfinite()).any(1).nonzero()[0])
            raise BadActivations(
                f"{name} holds a number that is not finite, in token {bad}: collect the activations "
                f"anew with ARGS=--force"
            )
        self._kept = {name: x}  # one shard at a time
        return x


@torch.no_grad()
def disagreement(
    shards: Shards,
    energy: Energy,
    problems: Mapping[str, Tensor],
    generator: torch.Generator,
    tokens: int = 256,
) -> float:
    """The largest difference between stored activations and those that the energy computes from the
    stored problem, state and landscape, as a share of the largest activation of the shard.

    problems: {"train.A": (P, n, n), "held_out.A": …}; so many random tokens of every shard are tried.
    """
    worst, device = 0.0, next(iter(problems.values())).device
    for split in SPLITS:
        stored = (shards.tokens(split), *(shards.activations(split, layer) for layer in LAYERS))
        for columns, *xs in zip(*stored, strict=True):
            tried = torch.randperm(len(xs[0]), generator=generator)[:tokens]
            problem, y, k = (columns[name][tried] for name in ("problem", "y", "landscape"))
            computed = energy.activations(problems[f"{split}.A"][problem], y.to(device), k.to(device))
            for layer, x in zip(LAYERS, xs, strict=True):
                difference = (x[tried] - computed[layer].cpu()).abs().max() / x.abs().max()
                worst = max(worst, difference.item())
    return worst
