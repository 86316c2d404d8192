"""The directions of Phase 3 and the features of Phase 2, found again in another network.

Features and directions are looked for, and matched, on the same problems and states in every network.
What they do is measured on problems of each network's own: on shared ones, chance in their draw would
be common to all networks, and look like a robust effect. What was found in the first one (the rows of
P3-05's verdicts) says *which* directions are looked for: the concept's in this layer and landscape,
the attribution's, the component of the gradient with this number, the layer's features with the
largest effect. They are computed by the instruments of their own experiments, from fewer problems,
also in the first network, so that all are treated alike:

concept      partialled pattern of matched pairs (`cav.fit`), with its held-out AUROC
attribution  leading direction of path-integrated gradients of the gap (`integrated_gradients.integrate…`)
gradient     components of the gradient beyond its blind part (`active_subspace.principal`)
feature      one TopK dictionary a layer, trained shortly (`training.train`)
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pandas import DataFrame
from torch import Tensor

from ired.instruments.attribution import active_subspace, integrated_gradients
from ired.instruments.concepts import cav
from ired.instruments.concepts.pairs import Pairs, Population, concept_pairs, pair_activations
from ired.instruments.core import states as points
from ired.instruments.core.directions import STATE, Direction
from ired.instruments.dictionaries.features import Places, attribute
from ired.instruments.dictionaries.sparse_autoencoder import Dictionary, standardisation
from ired.instruments.dictionaries.training import Member, Plan, train
from ired.instruments.robustness.procrustes_matching import Tokens
from ired.model.protocol import Energy

LAYERS = ("fc1", "fc2", "fc3")
QUADRATURE = 16  # places on a path of integrated gradients


@dataclass(frozen=True)
class Ground:
    """What a network is asked on.

    A (N, n, n), y0 (N, d), states (K, N, M, d), tokens: problems whose noised answers are the tokens,
    the same for all networks; integrals of the first problems of A begin at the last ones. Of each
    network's own: B (G, n, n), shown: problems, and the pairs of them that show concepts; tried
    (P, n, n), start (P, d): problems that directions are moved along, and the noise they are sampled
    from.
    """

    A: Tensor
    y0: Tensor
    states: Tensor
    tokens: Tokens
    B: Tensor
    shown: Mapping[str, Pairs]
    tried: Tensor
    start: Tensor


def grounds(
    energy: Energy,
    A: Tensor,
    B: Sequence[Tensor],
    measures: Sequence[Mapping[str, Tensor]],
    tried: Sequence[Tensor],
    size: Any,
    generator: torch.Generator,
) -> list[Ground]:
    """One for each network. energy: for its coordinates and schedule alone; measures: properties of
    each B; size: with draws of noise `states`, `pairs`, `caliper`, `folds`."""
    y0 = points.answers(energy, A)
    states = active_subspace.noised_states(energy, y0, size.states, generator)
    tokens, found = Tokens.of(*states.shape[:3]), []
    for own, values, problems in zip(B, measures, tried, strict=True):
        rng = np.random.default_rng(int(torch.randint(2**31, (), generator=generator)))
        population = Population.of(own, values, size.folds, rng)
        shown = concept_pairs(energy, population, size.pairs, caliper=size.caliper, generator=generator)
        start = points.noise(energy, len(problems), generator=generator, like=problems)
        found.append(Ground(A, y0, states, tokens, own, {s.concept: s for s in shown}, problems, start))
    return found


@dataclass(frozen=True)
class Wanted:
    """Which direction: as the row of P3-05's verdicts says; rank: which of its kind (gradients: of its
    landscape, features: of its layer), from 0."""

    name: str
    source: str
    space: str
    landscape: int
    concept: str
    rank: int


def wanted(verdicts: DataFrame) -> list[Wanted]:
    """Rows of P3-05's verdicts, features and gradients renamed by rank: their number is one
    network's."""
    found, seen = [], {}
    for row in verdicts.itertuples():
        home = (row.source, row.space, row.landscape)
        rank = seen[home] = seen.get(home, -1) + 1
        name = row.direction
        if row.source in ("feature", "gradient"):
            name = f"{re.sub(r' #.*', '', name)} #{rank + 1}"
        else:
            rank = 0
        found.append(Wanted(name, row.source, row.space, int(row.landscape), row.concept, rank))
    return found


@dataclass(frozen=True)
class Network:
    """What was found in one network.

    tokens: activations (T, width) by layer, in float32; own: directions by name, without features;
    components: the gradient's leading rows (m, size) by landscape; read: AUROC values (units) by name
    of concept direction, less one half; dictionaries by layer; strongest: features by layer, by
    effect.
    """

    energy: Energy
    tokens: dict[str, Tensor]
    own: dict[str, Direction]
    components: dict[int, Tensor]
    read: dict[str, NDArray]
    dictionaries: dict[str, Dictionary]
    strongest: dict[str, list[int]]


@torch.no_grad()
def found_in(energy: Energy, ground: Ground, looked_for: Sequence[Wanted], size: Any) -> Network:
    """size: `integrated` problems, `expansion`, `sparsity`, `steps`, `rate`, `batch`, `leading`."""
    tokens = activations(energy, ground)
    own, read = _concepts(energy, ground, looked_for)
    own |= _attributions(energy, ground, looked_for, size.integrated)
    landscapes = {one.landscape for one in looked_for if one.source == "gradient"}
    field = active_subspace.fields(energy, ground.A, ground.states)["beyond"]
    components = {k: active_subspace.principal(field[k].flatten(0, 1))[1][: size.leading] for k in landscapes}
    dictionaries = {layer: dictionary_of(x, ground.tokens, size) for layer, x in tokens.items()}
    strongest = {layer: _strongest(energy, layer, one, ground) for layer, one in dictionaries.items()}
    return Network(energy, tokens, own, components, read, dictionaries, strongest)


def activations(energy: Energy, ground: Ground) -> dict[str, Tensor]:
    """Of every token, by layer: (T, width) in float32 on the CPU."""
    found: dict[str, list[Tensor]] = {layer: [] for layer in LAYERS}
    prepared = energy.prepare(ground.A)
    for k, y in enumerate(ground.states):
        seen = energy.activations(prepared, y, k)
        for layer, parts in found.items():
            parts.append(seen[layer].flatten(0, 1).float().cpu())
    return {layer: torch.cat(parts) for layer, parts in found.items()}


def _concepts(
    energy: Energy, ground: Ground, looked_for: Sequence[Wanted]
) -> tuple[dict[str, Direction], dict[str, NDArray]]:
    y0, found, read = points.answers(energy, ground.B), {}, {}
    seen: dict[tuple[str, int], dict[str, NDArray]] = {}
    for one in looked_for:
        if one.source != "concept":
            continue
        shown, at = ground.shown[one.concept], (one.concept, one.landscape)
        if at not in seen:
            seen[at] = pair_activations(energy, ground.B, y0, pairs=shown, k=one.landscape, layers=LAYERS)
        h, z = seen[at][one.space], shown.confounders
        folds = cav.held_out(cav.PRIMARY, h, z, shown.fold)
        values = cav.auroc_values(folds, h, shown.fold) - 0.5
        read[one.name] = np.bincount(shown.unit, values) / np.bincount(shown.unit)
        vector = torch.from_numpy(cav.fit(cav.PRIMARY, h, z))
        found[one.name] = _direction(one, vector, float(values.mean()), "held-out AUROC − 0.5")
    return found, read


def _attributions(energy: Energy, ground: Ground, looked_for: Sequence[Wanted], count: int) -> dict[str, Direction]:
    found, A, y0 = {}, ground.A[:count], ground.y0[:count]
    for one in looked_for:
        if one.source != "attribution":
            continue
        k = one.landscape
        y = ground.states[k, :count, 0]
        if one.space == STATE:
            begin = ground.A[None, -count:], ground.states[k, None, -count:, -1]
            baseline = integrated_gradients.Baseline("random", *begin)
            paths = integrated_gradients.integrate(integrated_gradients.gap(energy, k, y0), A, y, baseline, QUADRATURE)
            gradients = energy.coordinates.project(paths.gradients[1].mean(0))
        else:
            paths = integrated_gradients.integrate_layer(energy, one.space, k, A, y, y0, QUADRATURE)
            gradients = paths.gradients[0][0]
        vector, share = integrated_gradients.leading(gradients)
        found[one.name] = _direction(one, vector, share, "share of squared norm")
    return found


def _direction(one: Wanted, vector: Tensor, evidence: float, measure: str) -> Direction:
    return Direction(
        one.name, one.source, one.space, one.landscape, one.concept, evidence, measure, vector.double().cpu()
    ).unit()


def dictionary_of(x: Tensor, tokens: Tokens, size: Any) -> Dictionary:
    """A TopK dictionary of activations (T, width), shortly trained on the tokens that are fitted
    on."""
    x = x[tokens.fit]
    mean, scale = standardisation(x.mean(0), torch.cov(x.T))
    member = Member("topk", size.expansion * x.shape[1], size.sparsity)
    generator = torch.Generator().manual_seed(1)
    batch = min(size.batch, len(x))

    def batches():
        while True:
            yield from x[torch.randperm(len(x), generator=generator)].split(batch)[: len(x) // batch]

    return train([member], Plan(size.steps, size.rate), batches(), mean, scale)[0][member]


def _strongest(energy: Energy, layer: str, one: Dictionary, ground: Ground) -> list[int]:
    """Features by mean |gradient × activation| on energy gaps, the largest first."""
    K, N = ground.states.shape[:2]
    problem = torch.arange(N, device=ground.A.device)
    k = problem % K
    y = ground.states[k, problem, 0]
    home = energy.schedule.at("sqrt_alpha_bar", k, y) * ground.y0
    size = attribute(energy, layer, one, Places(ground.A, y, home, k, problem)).size
    return np.argsort(-size, kind="stable").tolist()
