"""Representations of the layers fc1 to fc3 in a fingerprint: dictionaries, concept directions, ablation.

Each is the instrument of Phase 2, 3, 5 or 6, at a small size and alike for all models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pandas import DataFrame
from torch import Tensor

from ired.instruments.comparison.representation_inputs import FingerprintGround
from ired.instruments.concepts import cav, tcav
from ired.instruments.concepts.pairs import pair_activations
from ired.instruments.core import states
from ired.instruments.core.directions import CONCEPTS, OF_STATES, Direction
from ired.instruments.core.random_directions import isotropic_in
from ired.instruments.core.sampler import Sampler
from ired.instruments.core.states import array
from ired.instruments.dictionaries import recovery
from ired.instruments.dictionaries.sparse_autoencoder import Dictionary, quality
from ired.instruments.interventions import manifold
from ired.instruments.interventions.edits import Place, UndisturbedRuns, added
from ired.instruments.interventions.effects import DOSE, contrast
from ired.instruments.interventions.pushes import RESOLUTION
from ired.instruments.interventions.responses import LEVEL
from ired.instruments.interventions.study import InterventionBench, reading
from ired.instruments.layers import ablation, ablation_damage
from ired.instruments.robustness import effects, procrustes_matching
from ired.instruments.robustness.rediscovery import LAYERS
from ired.model.protocol import Energy

BLIND = 2  # random dictionaries of each layer: those of two models are never the same draw


# Dictionaries, and layers without half of their units


@dataclass(frozen=True)
class MatchedCodes:
    """A dictionary's features on the matched tokens: features (T, F), and blind, of BLIND random
    dictionaries (T, F) each; all sparse, since few features fire."""

    features: Tensor
    blind: tuple[Tensor, ...]


def coded(
    tokens: Mapping[str, Tensor], dictionaries: Mapping[str, Dictionary], matched: Tensor, ground: FingerprintGround
) -> dict[str, MatchedCodes]:
    """Features on `some` (T,) of the tokens, by layer."""
    codes, generator = {}, ground.generator(1)
    for layer, x in tokens.items():
        covariance = torch.cov(x[ground.layers.tokens.fit].T)
        every = (
            dictionaries[layer],
            *(procrustes_matching.random_like(dictionaries[layer], covariance, generator) for _ in range(BLIND)),
        )
        first, *blind = (dictionary.encode(x[matched]).to_sparse() for dictionary in every)
        codes[layer] = MatchedCodes(first, tuple(blind))
    return codes


def kept(
    energy: Energy,
    tokens: Mapping[str, Tensor],
    dictionaries: Mapping[str, Dictionary],
    ground: FingerprintGround,
    size: Any,
) -> dict[str, float]:
    """How good the dictionaries are: on held-out tokens, and put into the network."""
    labels, scores = ground.layers.tokens, {}
    judged, fitted = labels.half(False), labels.half(True)
    for layer, x in tokens.items():
        means = torch.stack([x[fitted & (labels.landscape == k)].mean(0) for k in range(energy.schedule.K)])
        good = quality(dictionaries[layer], [x[judged]], labels.landscape[judged], means)
        scores |= {
            f"sae.{layer}.explained": good.explained_within,
            f"sae.{layer}.l0": good.l0,
            f"sae.{layer}.dead": good.dead,
        }
    A, y0 = (x[: size.spliced] for x in (ground.A, ground.y0))
    at = recovery.situations(energy, A, y0, ground.generator(2))
    for layer, dictionary in dictionaries.items():
        left = recovery.recovery(energy, layer, dictionary.to(y0), A, at)
        scores |= {f"sae.{layer}.{what}": left.share(what) for what in ("gap", "score")}
    return scores


def damaged(
    energy: Energy, tokens: Mapping[str, Tensor], ground: FingerprintGround, sampler: Sampler, size: Any
) -> dict[str, float]:
    """What half of a layer is worth: the share of pairs of states that are no longer in the whole
    network's order with it at its mean in each landscape (a layer without any is at 0.5, whichever it
    is), mean over a random half and the other."""
    labels, generator = ground.layers.tokens, ground.generator(3)
    A = ground.A[: size.spliced]
    at, shares = ablation_damage.ablation_bench(energy, A, sampler, generator), {}
    for layer, x in tokens.items():
        means = [x[labels.landscape == k].mean(0).to(A).expand(len(A), -1) for k in range(energy.schedule.K)]
        half = (torch.randperm(x.shape[1], generator=generator) < x.shape[1] // 2).to(A.device)
        lost = []
        for units in (half, ~half):
            rest = ablation.Ablated(energy, layer, ablation.instead(means, units))
            lost.append(ablation_damage.damage_terms(rest, at)["order"].mean())
        shares[f"layers.{layer}.disordered"] = float(np.mean(lost))
    return shares


# Directions of concepts


@dataclass(frozen=True)
class Concept:
    """A concept's direction in a place, with its held-out AUROC, and random CAVs (R, width)."""

    direction: Direction
    auroc: float
    random: NDArray

    @property
    def place(self) -> Place:
        return Place(self.direction.space, self.direction.landscape)


def concept_effects(energy: Energy, ground: FingerprintGround, sampler: Sampler, size: Any) -> DataFrame:
    """A row for each concept, layer and landscape, in a fixed order: see `Fingerprint`."""
    concepts = located_concepts(energy, ground, size)
    spreads = [effects.spread_of(energy, concept.direction, ground.layers) for concept in concepts]
    table = DataFrame(
        [
            {
                "concept": concept.direction.concept,
                "layer": concept.direction.space,
                "landscape": concept.direction.landscape,
                "auroc": concept.auroc,
                "spread": spread,
            }
            for concept, spread in zip(concepts, spreads, strict=True)
        ]
    )
    return table.assign(
        **on_energy(energy, concepts, spreads, ground),
        **on_answers(energy, concepts, spreads, ground, sampler, size),
    )


def located_concepts(energy: Energy, ground: FingerprintGround, size: Any) -> list[Concept]:
    shown, concepts = ground.layers.shown, []
    rng, y0 = np.random.default_rng(ground.seed), states.answers(energy, ground.layers.B)
    for k, concept in product(size.landscapes, CONCEPTS):
        pairs = shown[concept]
        activations = pair_activations(energy, ground.layers.B, y0, pairs=pairs, k=k, layers=LAYERS)
        for layer, h in activations.items():
            z = pairs.confounders
            folds = cav.held_out(cav.PRIMARY, h, z, pairs.fold)
            auroc = float(cav.auroc_values(folds, h, pairs.fold).mean())
            v = torch.from_numpy(cav.fit(cav.PRIMARY, h, z))
            name, measure = f"{concept} {layer} k={k}", "held-out AUROC − 0.5"
            direction = Direction(
                name=name,
                source="concept",
                space=layer,
                landscape=k,
                concept=concept,
                evidence=auroc - 0.5,
                measure=measure,
                vector=v,
            ).unit()
            parts = cav.contributions(h, z)
            concepts.append(Concept(direction, auroc, cav.random_cavs(parts, pairs.unit, size.random, rng)))
    return concepts


def on_energy(
    energy: Energy, concepts: list[Concept], spreads: list[float], ground: FingerprintGround
) -> dict[str, NDArray]:
    """Mean derivative of the gap to the answer along each, a spread's worth, in standard deviations of
    that landscape's gaps; random: root mean square of random CAVs'; beyond: by rank, 5 % by chance."""
    deviation = manifold.nature(energy, ground.A, ground.generator(4)).gap
    slopes = {
        k: tcav.slopes(energy, ground.A, ground.y0, k, layers=LAYERS, generator=ground.generator(5))
        for k in dict.fromkeys(concept.direction.landscape for concept in concepts)
    }
    rows = []
    for concept, spread in zip(concepts, spreads, strict=True):
        k = concept.direction.landscape
        v, slope = array(concept.direction.vector), slopes[k][concept.direction.space].gap
        test = tcav.tcav(v, concept.random, slope)
        effect, *others = test.mean * spread / deviation[k].clamp_min(1e-300).item()
        rows.append((effect, np.square(others).mean() ** 0.5, test.p("mean") < LEVEL))
    names = "energy", "energy_random", "energy_beyond"
    return dict(zip(names, map(np.array, zip(*rows, strict=True)), strict=True))


def on_answers(
    energy: Energy,
    concepts: list[Concept],
    spreads: list[float],
    ground: FingerprintGround,
    sampler: Sampler,
    size: Any,
) -> dict[str, NDArray]:
    """Growth of the concept's property in sampled answers, in its deviations per spread, mean over
    problems; random: root mean square over isotropic draws; beyond: surely so, by P3-05's rule
    (`interventions.effects`), in either direction."""
    tried, generator = ground.layers, ground.generator(6)
    path = UndisturbedRuns.of(energy, sampler, tried.tried, tried.start)
    bench = InterventionBench(
        energy=energy, sampler=sampler, read=reading(energy), path=path, runs={}, draws=size.draws
    )
    base, truth = (bench.properties(y[None]) for y in (path.answers, path.y0))
    spread_of = {name: (base if name in OF_STATES else truth)[name].std() for name in base}
    grown: dict[str, NDArray] = {}
    for place in dict.fromkeys(concept.place for concept in concepts):
        here = [(concept, s) for concept, s in zip(concepts, spreads, strict=True) if concept.place == place]
        V = torch.stack(
            [
                DOSE
                * spread
                * torch.cat(
                    [
                        effects.axis_of(energy, concept.direction, path.y0)[None],
                        isotropic_in(
                            energy,
                            concept.direction.space,
                            count=size.draws,
                            width=len(concept.direction.vector),
                            generator=generator,
                            like=path.y0,
                        ),
                    ]
                )
                for concept, spread in here
            ]
        )
        # All at once, up and down; what is added is the row itself (as in P6-01).
        pushed = added(energy, sampler, path, place, torch.cat([V, -V]).flatten(0, 1), 1.0)
        up, down = pushed.unflatten(0, (2, len(here), 1 + size.draws))
        for (concept, _), *sides in zip(here, up, down, strict=True):
            name = concept.direction.concept
            more, less = (bench.properties(y)[name] for y in sides)
            still = array((sides[0] - sides[1]).pow(2).mean(-1).sqrt() < RESOLUTION)
            grown[concept.direction.name] = np.where(still, 0, more - less) / (2 * DOSE * max(spread_of[name], 1e-12))
    every = np.stack([grown[concept.direction.name] for concept in concepts])  # (D, 1 + draws, P)
    beside = contrast(every[:, 0], every[:, 1:], signed=True)
    sure = (beside["p_adjusted"] < LEVEL) & (beside["rank"] == 1)
    sure &= np.abs(beside["difference"]) >= RESOLUTION
    random = np.sqrt(np.square(every[:, 1:].mean(-1)).mean(1))
    return {"answers": every[:, 0].mean(-1), "answers_random": random, "answers_beyond": sure}


def concept_metrics(table: DataFrame) -> dict[str, float]:
    """The numbers of METRICS that directions give."""
    numbers = {
        "concepts.answers_beyond": float(table["answers_beyond"].mean()),
        "concepts.energy_beyond": float(table["energy_beyond"].mean()),
    }
    for layer, rows in table.groupby("layer", sort=False):
        # Effects along the concept, and sizes of either sign beside random ones.
        numbers |= {
            f"concepts.{layer}.auroc": rows["auroc"].mean(),
            f"concepts.{layer}.answers": rows["answers"].mean(),
            f"concepts.{layer}.answers_size": _size(rows["answers"]),
            f"concepts.{layer}.answers_random": _size(rows["answers_random"]),
            f"concepts.{layer}.energy_size": _size(rows["energy"]),
            f"concepts.{layer}.energy_random": _size(rows["energy_random"]),
        }
    return {name: float(value) for name, value in numbers.items()}


def _size(values: Any) -> float:
    return float(np.sqrt(np.square(values).mean()))
