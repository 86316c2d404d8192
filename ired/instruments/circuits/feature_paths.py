"""Path patching of chains of features, fc1 → fc2 → fc3 → energy gap: the strongest, and whether they do what they say.

A chain's effect is the product of its links, f_i ⟨∂u_j/∂h₁, d_i⟩ ⟨∂u_m/∂h₂, d_j⟩ ⟨∂E/∂h₃, d_m⟩, on
tokens where all of its features fire, as a gap: at the state minus at the answer, in units of σ_k.
Ablated, feature i is taken away for j alone, what j loses by that for m alone, and what m loses from
the energy (path patching: Goldowsky-Dill et al. 2023, arXiv 2304.05969). Which features fire is kept;
none falls below 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ired.instruments.circuits.feature_graph import Edges, Layer
from ired.instruments.core.states import array
from ired.instruments.dictionaries.features import FeatureEffects, Places
from ired.instruments.dictionaries.sparse_autoencoder import Dictionary
from ired.instruments.statistics.intervals import (
    Interval,
    adjust,
    rank_correlation,
    rank_p_values,
    ratio_interval,
    spearman_interval,
)
from ired.model.protocol import Energy

LAYERS = ("fc1", "fc2", "fc3")


def candidate_chains(
    graph: Sequence[Edges], gap: FeatureEffects, ends: int, parents: int
) -> list[tuple[int, int, int]]:
    """Chains (i, j, m): the `ends` features of the last layer with the largest effect on the gap, and
    the `parents` strongest edges into each feature, layer by layer; graph: edges of the two steps."""
    first, second = graph
    chains = []
    for m in np.argsort(-gap.size, kind="stable")[:ends]:
        for j in _strongest(second.size[:, m], parents):
            chains += [(int(i), int(j), int(m)) for i in _strongest(first.size[:, j], parents)]
    return chains


def _strongest(sizes: NDArray, count: int) -> NDArray:
    order = np.argsort(-sizes, kind="stable")[:count]
    return order[sizes[order] > 0]


@torch.no_grad()
def chain_effects(
    energy: Energy,
    layers: Sequence[Layer],
    dictionaries: Sequence[Dictionary],
    tokens: Places,
    chains: Sequence[tuple[int, int, int]],
) -> dict[str, NDArray]:
    """Tidy columns of chains (C,): fc1, fc2, fc3; size, signed: mean |effect| and mean effect on the
    gap over all tokens; cut, cut_signed: by ablation; together: share of tokens with all three.
    """
    placed = [d.to(tokens.y) for d in dictionaries]
    sigma = energy.schedule.at("sigma", tokens.k, tokens.y)[:, 0]
    totals = torch.zeros(2, len(chains), len(tokens.y)).to(tokens.y)
    together = np.zeros(len(chains))
    for sign, state in ((1, tokens.y), (-1, tokens.reference)):
        activations = energy.activations(tokens.A, state, tokens.k)
        h = [activations[layer] for layer in LAYERS]
        f = [d.encode(x) for d, x in zip(placed, h, strict=True)]
        with torch.enable_grad():
            last = h[2].detach().requires_grad_()
            E = energy.resume(LAYERS[2], last, tokens.A, tokens.k)
            (slope,) = torch.autograd.grad(E.sum(), last)
        for place, chain in enumerate(chains):
            t = torch.stack([f[n][:, c] != 0 for n, c in enumerate(chain)]).all(0).nonzero()[:, 0]
            together[place] += len(t) / len(tokens.y) if sign == 1 else 0
            if not len(t):
                continue
            push, lost = f[0][t, chain[0]], f[0][t, chain[0]]
            for n, layer in enumerate(layers):
                d, read = placed[n].directions[chain[n]], placed[n + 1].encoder[chain[n + 1]]
                read, x, k = read / placed[n + 1].scale, h[n][t], tokens.k[t]
                moved = torch.func.jvp(lambda v, layer=layer, k=k: layer(v, k), (x,), (d.expand_as(x).clone(),))[1]
                push = push * (moved @ read)
                lost = (h[n + 1][t] - layer(x - lost[:, None] * d, k)) @ read
                if placed[n + 1].kind in ("relu", "threshold", "topk"):
                    lost = torch.minimum(lost, f[n + 1][t, chain[n + 1]])
            d = placed[2].directions[chain[2]]
            gone = energy.resume(LAYERS[2], h[2][t] - lost[:, None] * d, tokens.A[t], tokens.k[t])
            totals[0, place, t] += sign * push * (slope[t] @ d)
            totals[1, place, t] += sign * (E.detach()[t] - gone)
    predicted, cut = totals / sigma
    columns = dict(zip(LAYERS, np.transpose(np.array(chains).reshape(-1, 3)), strict=True))
    return columns | {
        "size": array(predicted.abs().mean(1)),
        "signed": array(predicted.mean(1)),
        "cut": array(cut.abs().mean(1)),
        "cut_signed": array(cut.mean(1)),
        "together": together,
    }


def chain_agreement(chains: Mapping[str, NDArray]) -> tuple[Interval, Interval]:
    """Rank correlation of predicted and ablated sizes over chains, and the slope of ablated over
    predicted mean effects. Chains share features and tokens: the intervals are optimistic."""
    x, y = chains["signed"], chains["cut_signed"]
    return spearman_interval(chains["size"], chains["cut"]), ratio_interval(x * y, x * x)


def described_features(
    dictionary: Dictionary,
    h: Tensor,
    chosen: Sequence[int],
    k: Tensor,
    problem: Tensor,
    properties: Mapping[str, NDArray],
) -> dict[str, Any]:
    """Tidy columns of features `chosen` (m,): how often they fire, the mean landscape where they do,
    and the property of the matrix that their mean activation over a problem goes with best (Spearman's
    rho, p adjusted over all features and properties). h (T, width), k, problem (T,), properties (P,).
    """
    f = dictionary.to(h).encode(h)[:, list(chosen)]
    fires = (f != 0).double()
    count = fires.sum(0)
    sums = torch.zeros(int(problem.max()) + 1, f.shape[1]).to(f).index_add_(0, problem, f)
    means = sums / torch.bincount(problem).clamp_min(1)[:, None]
    names = list(properties)
    values = np.stack([np.asarray(properties[name])[: len(means)] for name in names])
    rho = rank_correlation(array(means).T[:, None], values[None])
    best = np.abs(rho).argmax(1)
    rows = np.arange(len(best))
    p = adjust(rank_p_values(rho, len(means) - 2))
    return {
        "feature": list(chosen),
        "rate": array(fires.mean(0)),
        "landscape": array((fires * k[:, None]).sum(0) / count.clamp_min(1)),
        "property": [names[q] for q in best],
        "rho": rho[rows, best],
        "p": p[rows, best],
    }
