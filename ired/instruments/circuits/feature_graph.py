"""Attribution graph between dictionaries: how the features of one layer make those of the next.

An edge from feature i of a layer to feature j of the next is what i adds to j's pre-activation u_j
through the layer between: by gradient × activation, f_i ⟨∂u_j/∂h, d_i⟩ (the edges of attribution
graphs: Ge et al. 2024, arXiv 2405.13868; Marks et al. 2024, arXiv 2403.19647), and by ablation of this
edge alone, u_j(h) − u_j(h − f_i d_i), while j keeps all its other inputs and i all its other targets.
Both are averaged over the tokens on which j fires. What a dictionary leaves over is a source too
(`rest`), so that nothing passes unseen.

How sparse a graph is says little by itself: features fire rarely, and a few of anything carry most of
its sum (half of the values of a Gaussian have 80 % of its mean size). Chance here is the same
features, firing as they do, but writing into the next layer with weights that are permuted or in each
other's directions; and dictionaries of directions nobody learned, and of networks nobody trained.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import silu

from ired.instruments.circuits.energy_outputs import share_needed
from ired.instruments.core.random_directions import covariance_matched
from ired.instruments.core.states import array
from ired.instruments.dictionaries import training
from ired.instruments.dictionaries.features import Places
from ired.instruments.dictionaries.sparse_autoencoder import (
    Dictionary,
    DictionaryError,
    activation_standardisation,
    given_dictionary,
)
from ired.instruments.layers.forward_backward import Network
from ired.instruments.statistics.intervals import (
    Interval,
    mean_interval,
    paired_interval,
    rank_correlation,
    ratio_interval,
    unit_means,
)
from ired.model.protocol import Energy

# From the activations h (T, width) of a layer in landscapes k (T,) to those of the next.
Layer = Callable[[Tensor, Tensor], Tensor]
LEAST = 10  # tokens that a target fires on, or it has no edges


@dataclass(frozen=True)
class Edges:
    """Edges from F sources to G targets.

    size, signed (F, G): mean |effect| and mean effect of gradient × activation, over the tokens on
    which the target fires, in units of its pre-activation; cut, cut_signed (F, G): the same by ablation
    of the edge (None, and so is signed, where it was not asked for); rest (G,): mean |effect| of what
    the source's dictionary leaves over; fires (F,), count (G,): tokens on which source and target fire;
    within (T,): on each token, the share of the edges between features that fire which carry MOST of
    their |effect|, NaN where there are none.
    """

    size: NDArray
    signed: NDArray | None
    cut: NDArray | None
    cut_signed: NDArray | None
    rest: NDArray
    fires: NDArray
    count: NDArray
    within: NDArray

    @property
    def sources(self) -> NDArray:
        """Those that fire on any token."""
        return np.flatnonzero(self.fires)

    @property
    def targets(self) -> NDArray:
        """Those that fire on at least LEAST tokens, those that fire most often first."""
        often = np.argsort(-self.count, kind="stable")
        return often[self.count[often] >= LEAST]

    @property
    def alive(self) -> NDArray:
        """size (sources, targets) among features that fire."""
        return self.size[np.ix_(self.sources, self.targets)]

    def parents(self) -> NDArray:
        """The share of the sources that carry MOST of the effect on each target."""
        return share_needed(self.alive.T)

    def share(self) -> float:
        """The share of all edges between features that fire that carry MOST of the sum of sizes."""
        return float(share_needed(self.alive.ravel()))

    def curve(self, shares: NDArray) -> NDArray:
        """The part of the sum that the largest edges carry, at `shares` of all edges."""
        sizes = -np.sort(-self.alive.ravel())
        sums = np.r_[0, sizes.cumsum()] / max(sizes.sum(), 1e-300)
        return np.interp(shares, np.arange(len(sums)) / len(sizes), sums)

    def left_over(self) -> float:
        """The rest's part in the sum of mean |effects| on a target, all targets together."""
        rest = self.rest[self.targets].sum()
        return float(rest / max(rest + self.alive.sum(), 1e-300))


def film_layers(network: Network) -> list[Layer]:
    """fc2 and fc3 of a network with their modulation by the landscape."""
    scale2, shift2, scale3, shift3 = network.film()
    return [
        lambda h, k: silu(network.fc2(h) * scale2[k] + shift2[k]),
        lambda h, k: silu(network.fc3(h) * scale3[k] + shift3[k]),
    ]


@torch.no_grad()
def edges(
    layer: Layer,
    source: Dictionary,
    target: Dictionary,
    h: Tensor,
    k: Tensor,
    directions: Tensor | None = None,
    cut: bool = True,
    memory: int = 2**27,
) -> Edges:
    """Of the activations h (T, width) in landscapes k (T,) through `layer`, from the features of
    `source` to those of `target`. directions (F, width): what sources write, if not what they do.
    """
    source, target, after = source.to(h), target.to(h), layer(h, k)
    directions = source.directions if directions is None else directions.to(h)
    f, fires = source.encode(h), target.encode(after) != 0
    reader = target.encoder / target.scale
    F, G, within, rest = source.features, target.features, [], 0
    most = [max(1, int((v != 0).sum(1).max())) for v in (f, fires)]
    total = torch.zeros(4 if cut else 1, F * G).to(h)
    each = 8 * (3 * most[0] * h.shape[1] + most[1] * h.shape[1] + 3 * most[0] * most[1])
    for t in torch.arange(len(h), device=h.device).split(max(1, memory // each)):
        # Only what fires: most[0] sources and most[1] targets of each token.
        value, i = _firing(f[t], most[0])
        on, j = _firing(fires[t].to(h), most[1])
        move = value[..., None] * directions[i]
        read = (reader[j] * on[..., None]).mT
        effects = [_pushed(layer, h[t], k[t], move) @ read]
        if cut:
            x, landscapes = (h[t, None] - move).flatten(0, 1), k[t].repeat_interleave(most[0])
            effects.append((after[t, None] - layer(x, landscapes).view_as(move)) @ read)
        place = (i[..., None] * G + j[:, None]).flatten()
        for n, effect in enumerate(effects):
            total[2 * n].index_add_(0, place, effect.abs().flatten())
            if cut:
                total[2 * n + 1].index_add_(0, place, effect.flatten())
        left = (h[t] - source.decode(f[t]))[:, None]
        left = (_pushed(layer, h[t], k[t], left) @ read)[:, 0].abs()
        rest = rest + torch.zeros(G).to(h).index_add_(0, j.flatten(), left.flatten())
        pairs = (value != 0).sum(1) * on.sum(1)
        count = share_needed(array(effects[0].flatten(1))) * effects[0][0].numel()
        within.append(np.where(count > 0, count / np.maximum(array(pairs), 1), np.nan))
    count = fires.sum(0)
    names = ("size", "signed", "cut", "cut_signed")
    mean = dict.fromkeys(names) | {
        name: array(part.view(F, G) / count.clamp_min(1)) for name, part in zip(names, total, strict=cut)
    }
    return Edges(
        **mean,
        rest=array(rest / count.clamp_min(1)),
        fires=array((f != 0).sum(0)),
        count=array(count),
        within=np.concatenate(within),
    )


def _firing(f: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """The values (T, most) of the features f (T, F) that fire, and which they are; 0 where fewer do."""
    which = f.abs().topk(most, dim=1, sorted=False).indices
    return f.gather(1, which), which


def _pushed(layer: Layer, h: Tensor, k: Tensor, moves: Tensor) -> Tensor:
    """The change of the next layer to first order, (T, m, width), for moves (T, m, width) of h."""

    def push(move: Tensor) -> Tensor:
        return torch.func.jvp(lambda x: layer(x, k), (h,), (move,))[1]

    return torch.func.vmap(push, in_dims=1, out_dims=1)(moves)


# Does it say what ablation finds?


@dataclass(frozen=True)
class Verified:
    """Edges by gradient × activation against edges ablated, target by target.

    size: Spearman's rank correlation of mean |effect| over the sources that reach a target, mean over
    targets; signed: of mean effects; slope: of ablated over predicted mean effects, through 0, all
    edges: 1 where the layer is linear. Intervals over targets (which share tokens: optimistic).
    """

    size: Interval
    signed: Interval
    slope: Interval


def verified(graph: Edges, least: int = 5) -> Verified:
    """Over targets that at least `least` sources reach. DictionaryError where fewer than two are."""
    rho, pairs = [], []
    for j in graph.targets:
        reach = np.flatnonzero(graph.size[:, j])
        if len(reach) >= least:
            x, y = graph.signed[reach, j], graph.cut_signed[reach, j]
            rho.append(
                (
                    rank_correlation(graph.size[reach, j], graph.cut[reach, j]),
                    rank_correlation(x, y),
                )
            )
            pairs.append((np.mean(x * y), np.mean(x * x)))
    if len(rho) < 2:
        raise DictionaryError(f"{len(rho)} targets have {least} sources or more: nothing to verify")
    (size, signed), (xy, xx) = np.transpose(rho), np.transpose(pairs)
    return Verified(mean_interval(size), mean_interval(signed), ratio_interval(xy, xx))


# Chance


def shuffled_directions(source: Dictionary, generator: torch.Generator) -> dict[str, Tensor]:
    """What sources would write (F, width) if they wrote in each other's directions ("features"), or
    if the weights of the next layer were permuted over its inputs ("weights")."""
    features = torch.randperm(source.features, generator=generator)
    inputs = torch.randperm(source.width, generator=generator)
    return {"features": source.directions[features], "weights": source.directions[:, inputs]}


def random_dictionary(like: Dictionary, x: Tensor, generator: torch.Generator) -> Dictionary:
    """As many random directions of the covariance of activations x (N, width), as many of which fire
    on a token as of `like`."""
    mean, covariance, scale = _moments(x)
    active = max(1, round(float((like.to(x).encode(x) != 0).sum(1).double().mean())))
    drawn = covariance_matched(covariance.cpu(), like.features, generator)
    return given_dictionary("topk", drawn, mean, scale, active)


def learned_dictionary(
    like: Dictionary,
    active: int,
    x: Tensor,
    steps: int,
    batch: int,
    seed: int,
    generator: torch.Generator,
) -> Dictionary:
    """A TopK dictionary with as many features as `like`, `active` of them on a token, trained on
    activations x (N, width)."""
    mean, _, scale = _moments(x)
    x = x.float().cpu()

    def batches():
        while True:
            yield x[torch.randint(len(x), (min(batch, len(x)),), generator=generator)]

    member = training.Member("topk", like.features, active, seed)
    plan = training.Plan(steps, 5e-3)
    return training.train_dictionaries([member], plan, batches(), mean, scale)[0][member]


def _moments(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    covariance = torch.cov(x.double().mT)
    mean, scale = activation_standardisation(x.double().mean(0), covariance)
    return mean.cpu(), covariance, scale.cpu()


@dataclass(frozen=True)
class Sparser:
    """A graph beside one of chance. parents: the share of sources that carry MOST of the effect on a
    target, its own minus chance's, over targets; edges: the same of edges between features that
    fire together on a token, over problems. Below 0: sparser than chance."""

    parents: Interval
    edges: Interval


def sparser(graph: Edges, chance: Edges, problem: NDArray, same_targets: bool) -> Sparser:
    """problem (T,): of the tokens, which are the same. Targets are paired with themselves, or, where
    they are others, with those of the same rank in how often they fire."""
    first, second = graph.parents(), chance.parents()
    if not same_targets:
        first, second = _by_rank(first, second)
    both = np.isfinite(graph.within) & np.isfinite(chance.within)
    inside = [unit_means(compared.within[both], problem[both]) for compared in (graph, chance)]
    return Sparser(paired_interval(first, second), paired_interval(*inside))


def _by_rank(first: NDArray, second: NDArray) -> list[NDArray]:
    count = min(len(first), len(second))
    return [v[np.linspace(0, len(v) - 1, count).round().astype(int)] for v in (first, second)]


# From the last layer to the score


@dataclass(frozen=True)
class Reach:
    """What each of F features of a layer adds to the squared length of the score, on T tokens.

    share (F,): its part, which with `rest`, that of what the dictionary leaves over, sums to 1; size
    (F,): mean |part| of a token's.
    """

    share: NDArray
    size: NDArray
    rest: float


def score_reach(energy: Energy, layer: str, dictionary: Dictionary, tokens: Places, chunk: int = 1024) -> Reach:
    """∇E = Σ_m (∂E/∂f_m) ∇f_m + rest, of features that fire, each along ∇E."""
    dictionary, whole, rest, share, size = dictionary.to(tokens.y), 0.0, 0.0, 0, 0
    for part in tokens.split(chunk):
        prepared = energy.prepare(part.A)
        score = energy.gradient(prepared, part.y, part.k)

        def activations(y: Tensor, prepared=prepared, k: Tensor = part.k) -> Tensor:
            return energy.activations(prepared, y, k)[layer]

        h, pushed = torch.func.jvp(activations, (part.y,), (score,))
        h = h.detach().requires_grad_()
        with torch.enable_grad():
            E = energy.resume(layer, h, prepared, part.k).sum()
        (slope,) = torch.autograd.grad(E, h)
        h, pushed = h.detach(), pushed.detach()
        fires = dictionary.encode(h) != 0
        read = pushed / dictionary.scale @ dictionary.encoder.mT
        terms = fires * (slope @ dictionary.directions.mT) * read
        length = score.pow(2).sum(1)
        share, size = share + terms.sum(0), size + (terms.abs() / length[:, None]).sum(0)
        rest += (length.sum() - terms.sum()).item()
        whole += length.sum().item()
    return Reach(array(share) / whole, array(size) / len(tokens.y), rest / whole)


def graph_summary(graphs: Mapping[str, Edges]) -> dict[str, NDArray | list]:
    """Tidy columns, a row a graph: how many edges carry MOST, and how much passes by."""
    return {
        "graph": list(graphs),
        "sources": [len(edges.sources) for edges in graphs.values()],
        "targets": [len(edges.targets) for edges in graphs.values()],
        "edges": [edges.share() for edges in graphs.values()],
        "parents": [float(np.median(edges.parents())) for edges in graphs.values()],
        "parents_count": [float(np.median(edges.parents()) * len(edges.sources)) for edges in graphs.values()],
        "within": [float(np.nanmean(edges.within)) for edges in graphs.values()],
        "rest": [edges.left_over() for edges in graphs.values()],
    }
