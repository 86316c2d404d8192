"""Replication over seeds: the directions of Phase 3 and the features of Phase 2, found again in another network.

Features and directions are looked for, and matched, on the same problems and states in every network.
What they do is measured on problems of each network's own: on shared ones, chance in their draw would
be common to all networks, and look like a robust effect. What was found in the first one (the rows of
P3-05's verdicts) says *which* directions are looked for: the concept's in this layer and landscape,
the attribution's, the component of the gradient with this number, the layer's features with the
largest effect. They are computed by the instruments of their own experiments, from fewer problems,
also in the first network, so that all are treated alike:

concept      partialled pattern of matched pairs (`cav.fit`), with its held-out AUROC
attribution  leading direction of path-integrated gradients of the gap (`integrated_gradients.integrate…`)
gradient     components of the gradient beyond its blind part (`active_subspace.principal_components`)
feature      one TopK dictionary a layer, trained shortly (`training.train_dictionaries`)
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
from ired.instruments.concepts.pairs import ConceptPairs, Population, concept_pairs, pair_activations
from ired.instruments.core import states as points
from ired.instruments.core.directions import STATE, Direction
from ired.instruments.dictionaries.features import Places, attribute_features
from ired.instruments.dictionaries.sparse_autoencoder import Dictionary, activation_standardisation
from ired.instruments.dictionaries.training import Member, Plan, train_dictionaries
from ired.instruments.robustness.procrustes_matching import MatchingTokens
from ired.model.protocol import Energy

LAYERS = ("fc1", "fc2", "fc3")
QUADRATURE = 16  # places on a path of integrated gradients


@dataclass(frozen=True)
class RediscoveryGround:
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
    tokens: MatchingTokens
    B: Tensor
    shown: Mapping[str, ConceptPairs]
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
) -> list[RediscoveryGround]:
    """One for each network. energy: for its coordinates and schedule alone; measures: properties of
    each B; size: with draws of noise `states`, `pairs`, `caliper`, `folds`."""
    y0 = points.answers(energy, A)
    states = active_subspace.noised_states(energy, y0, size.states, generator)
    tokens, by_network = MatchingTokens.of(*states.shape[:3]), []
    for pool, values, problems in zip(B, measures, tried, strict=True):
        rng = np.random.default_rng(int(torch.randint(2**31, (), generator=generator)))
        population = Population.of(pool, values, size.folds, rng)
        shown = concept_pairs(energy, population, size.pairs, caliper=size.caliper, generator=generator)
        start = points.noise(energy, len(problems), generator=generator, like=problems)
        by_network.append(
            RediscoveryGround(
                A=A,
                y0=y0,
                states=states,
                tokens=tokens,
                B=pool,
                shown={s.concept: s for s in shown},
                tried=problems,
                start=start,
            )
        )
    return by_network


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
    asked, counts = [], {}
    for row in verdicts.itertuples():
        home = (row.source, row.space, row.landscape)
        rank = counts[home] = counts.get(home, -1) + 1
        name = row.direction
        if row.source in ("feature", "gradient"):
            name = f"{re.sub(r' #.*', '', name)} #{rank + 1}"
        else:
            rank = 0
        asked.append(
            Wanted(
                name=name,
                source=row.source,
                space=row.space,
                landscape=int(row.landscape),
                concept=row.concept,
                rank=rank,
            )
        )
    return asked


@dataclass(frozen=True)
class NetworkFindings:
    """What was found in one network.

    tokens: activations (T, width) by layer, in float32; directions: by name, without features;
    components: the gradient's leading rows (m, size) by landscape; read: AUROC values (units) by name
    of concept direction, less one half; dictionaries by layer; strongest: features by layer, by
    effect.
    """

    energy: Energy
    tokens: dict[str, Tensor]
    directions: dict[str, Direction]
    components: dict[int, Tensor]
    read: dict[str, NDArray]
    dictionaries: dict[str, Dictionary]
    strongest: dict[str, list[int]]


@torch.no_grad()
def found_in(energy: Energy, ground: RediscoveryGround, looked_for: Sequence[Wanted], size: Any) -> NetworkFindings:
    """size: `integrated` problems, `expansion`, `sparsity`, `steps`, `rate`, `batch`, `leading`."""
    tokens = ground_activations(energy, ground)
    directions, read = _concepts(energy, ground, looked_for)
    directions |= _attributions(energy, ground, looked_for, size.integrated)
    landscapes = {asked.landscape for asked in looked_for if asked.source == "gradient"}
    field = active_subspace.fields(energy, ground.A, ground.states)["beyond"]
    components = {
        k: active_subspace.principal_components(field[k].flatten(0, 1))[1][: size.leading] for k in landscapes
    }
    dictionaries = {layer: dictionary_of(x, ground.tokens, size) for layer, x in tokens.items()}
    strongest = {layer: _strongest(energy, layer, dictionary, ground) for layer, dictionary in dictionaries.items()}
    return NetworkFindings(
        energy=energy,
        tokens=tokens,
        directions=directions,
        components=components,
        read=read,
        dictionaries=dictionaries,
        strongest=strongest,
    )


def ground_activations(energy: Energy, ground: RediscoveryGround) -> dict[str, Tensor]:
    """Of every token, by layer: (T, width) in float32 on the CPU."""
    by_layer: dict[str, list[Tensor]] = {layer: [] for layer in LAYERS}
    prepared = energy.prepare(ground.A)
    for k, y in enumerate(ground.states):
        hidden = energy.activations(prepared, y, k)
        for layer, parts in by_layer.items():
            parts.append(hidden[layer].flatten(0, 1).float().cpu())
    return {layer: torch.cat(parts) for layer, parts in by_layer.items()}


def _concepts(
    energy: Energy, ground: RediscoveryGround, looked_for: Sequence[Wanted]
) -> tuple[dict[str, Direction], dict[str, NDArray]]:
    y0, directions, read = points.answers(energy, ground.B), {}, {}
    by_place: dict[tuple[str, int], dict[str, NDArray]] = {}
    for asked in looked_for:
        if asked.source != "concept":
            continue
        shown, at = ground.shown[asked.concept], (asked.concept, asked.landscape)
        if at not in by_place:
            by_place[at] = pair_activations(energy, ground.B, y0, pairs=shown, k=asked.landscape, layers=LAYERS)
        h, z = by_place[at][asked.space], shown.confounders
        folds = cav.held_out(cav.PRIMARY, h, z, shown.fold)
        values = cav.auroc_values(folds, h, shown.fold) - 0.5
        read[asked.name] = np.bincount(shown.unit, values) / np.bincount(shown.unit)
        vector = torch.from_numpy(cav.fit(cav.PRIMARY, h, z))
        directions[asked.name] = _direction(asked, vector, float(values.mean()), "held-out AUROC − 0.5")
    return directions, read


def _attributions(
    energy: Energy, ground: RediscoveryGround, looked_for: Sequence[Wanted], count: int
) -> dict[str, Direction]:
    directions, A, y0 = {}, ground.A[:count], ground.y0[:count]
    for asked in looked_for:
        if asked.source != "attribution":
            continue
        k = asked.landscape
        y = ground.states[k, :count, 0]
        if asked.space == STATE:
            begin = ground.A[None, -count:], ground.states[k, None, -count:, -1]
            baseline = integrated_gradients.Baseline("random", *begin)
            paths = integrated_gradients.integrate(
                integrated_gradients.gap(energy, k, y0), A, y, baseline=baseline, count=QUADRATURE
            )
            gradients = energy.coordinates.project(paths.gradients[1].mean(0))
        else:
            paths = integrated_gradients.integrate_layer(energy, asked.space, k, A=A, y=y, y0=y0, count=QUADRATURE)
            gradients = paths.gradients[0][0]
        vector, share = integrated_gradients.leading_direction(gradients)
        directions[asked.name] = _direction(asked, vector, share, "share of squared norm")
    return directions


def _direction(asked: Wanted, vector: Tensor, evidence: float, measure: str) -> Direction:
    return Direction(
        name=asked.name,
        source=asked.source,
        space=asked.space,
        landscape=asked.landscape,
        concept=asked.concept,
        evidence=evidence,
        measure=measure,
        vector=vector.double().cpu(),
    ).unit()


def dictionary_of(x: Tensor, tokens: MatchingTokens, size: Any) -> Dictionary:
    """A TopK dictionary of activations (T, width), shortly trained on the tokens that are fitted
    on."""
    x = x[tokens.fit]
    mean, scale = activation_standardisation(x.mean(0), torch.cov(x.T))
    member = Member("topk", size.expansion * x.shape[1], size.sparsity)
    generator = torch.Generator().manual_seed(1)
    batch = min(size.batch, len(x))

    def batches():
        while True:
            yield from x[torch.randperm(len(x), generator=generator)].split(batch)[: len(x) // batch]

    return train_dictionaries([member], Plan(size.steps, size.rate), batches=batches(), mean=mean, scale=scale)[0][
        member
    ]


def _strongest(energy: Energy, layer: str, dictionary: Dictionary, ground: RediscoveryGround) -> list[int]:
    """Features by mean |gradient × activation| on energy gaps, the largest first."""
    K, N = ground.states.shape[:2]
    problem = torch.arange(N, device=ground.A.device)
    k = problem % K
    y = ground.states[k, problem, 0]
    home = energy.schedule.at("sqrt_alpha_bar", k, y) * ground.y0
    size = attribute_features(
        energy, layer, dictionary, Places(A=ground.A, y=y, reference=home, k=k, problem=problem)
    ).size
    return np.argsort(-size, kind="stable").tolist()
