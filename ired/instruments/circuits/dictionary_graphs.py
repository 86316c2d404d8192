"""Attribution graphs between sparse dictionaries (Marks et al. 2024, arXiv 2403.19647) beside graphs of chance and of
an untrained network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from pandas import DataFrame, concat
from torch import Tensor

from ired.instruments.circuits import feature_graph
from ired.instruments.circuits.energy_outputs import share_needed
from ired.instruments.circuits.feature_graph import Edges, Layer, Sparser, Verified
from ired.instruments.circuits.feature_paths import LAYERS
from ired.instruments.core.states import array
from ired.instruments.dictionaries import features
from ired.instruments.dictionaries.features import Agreement, FeatureEffects, Places
from ired.instruments.dictionaries.sparse_autoencoder import Dictionary
from ired.instruments.statistics.intervals import Interval
from ired.model.protocol import Energy

STEPS = ("fc1 → fc2", "fc2 → fc3")
# What the criterion holds the graph of the studied dictionaries against. Beside these stand the trained
# network's dictionaries made as those of the untrained one ("relearned").
JUDGED = ("features", "weights", "random", "untrained")


@torch.no_grad()
def layer_activations(energy: Energy, tokens: Places, chunk: int = 4096) -> list[Tensor]:
    """Of LAYERS, each (T, width)."""
    parts = [energy.activations(part.A, part.y, part.k) for part in tokens.split(chunk)]
    return [torch.cat([part[layer] for part in parts]) for layer in LAYERS]


@dataclass(frozen=True)
class CodedNetwork:
    """A network, its layers fc2 and fc3 as maps, a dictionary for each of LAYERS, and its activations
    on the tokens."""

    energy: Energy
    layers: Sequence[Layer]
    dictionaries: Sequence[Dictionary]
    h: Sequence[Tensor]

    def edges(self, k: Tensor, directions: Sequence[Tensor] | None = None, cut: bool = False) -> list[Edges]:
        """Of both steps, on tokens in landscapes k (T,); see `feature_graph.edges`."""
        return [
            feature_graph.edges(
                layer,
                self.dictionaries[n],
                self.dictionaries[n + 1],
                self.h[n],
                k,
                directions=None if directions is None else directions[n],
                cut=cut,
            )
            for n, layer in enumerate(self.layers)
        ]


def networks(
    energies: Mapping[str, Energy],
    learned: Sequence[Dictionary],
    tokens: Places,
    training: Places,
    steps: int,
    batch: int,
    generator: torch.Generator,
    on_layer: Callable[[int], None] = lambda n: None,
) -> dict[str, CodedNetwork]:
    """The "trained" network with its dictionaries `learned`, and "relearned" and "untrained": the trained and the
    untrained one with dictionaries made alike (`relearned`) of their activations on tokens for training.
    """
    h = {name: layer_activations(energy, tokens) for name, energy in energies.items()}
    made = {
        name: relearned(
            learned,
            h["trained"],
            layer_activations(energy, training),
            steps=steps,
            batch=batch,
            generator=generator,
            on_layer=on_layer,
        )
        for name, energy in energies.items()
    }

    def coded(name: str, dictionaries: Sequence[Dictionary]) -> CodedNetwork:
        return CodedNetwork(energies[name], feature_graph.film_layers(energies[name]), dictionaries, h[name])

    return {
        "trained": coded("trained", learned),
        "relearned": coded("trained", made["trained"]),
        "untrained": coded("untrained", made["untrained"]),
    }


@dataclass(frozen=True)
class Graphs:
    """Edges of both steps: of the dictionaries studied, and by name of what they are held against; gap: effects of
    the last layer's features on energy gaps, checked: the same ablated; reach: what they add to the score;
    ends: the share of the features that carry 80 % of these, a row a graph; problem (T,): of the
    tokens. In tables the graph of the dictionaries studied is called "own".
    """

    studied: list[Edges]
    chance: dict[str, list[Edges]]
    gap: FeatureEffects
    checked: FeatureEffects
    reach: feature_graph.Reach
    ends: DataFrame
    problem: NDArray

    @cached_property
    def verified(self) -> list[Verified]:
        """The studied graph's edges against edges ablated, step by step."""
        return [feature_graph.verified(step) for step in self.studied]

    @cached_property
    def agreement(self) -> Agreement:
        """Of the features of the last layer that change the gap."""
        alive = np.flatnonzero(self.gap.size)
        return features.agreement(self.gap, _rows(self.checked, alive), alive)

    @cached_property
    def sparser(self) -> dict[tuple[str, str], Sparser]:
        """By step and chance; and how "relearned" stands beside the untrained network's."""
        compared = {}
        for n, step in enumerate(STEPS):
            for name, graph in self.chance.items():
                same = name in ("features", "weights")
                compared[step, name] = feature_graph.sparser(self.studied[n], graph[n], self.problem, same)
            compared[step, "relearned beside untrained"] = feature_graph.sparser(
                self.chance["relearned"][n], self.chance["untrained"][n], self.problem, False
            )
        return compared

    def nearest(self) -> Interval:
        """By how much the studied graph's targets need a smaller share of sources, beside the chance (and
        step) where that is least sure."""
        margins = [sparser.parents for (_, name), sparser in self.sparser.items() if name in JUDGED]
        return max(margins, key=lambda margin: margin.high)

    @cached_property
    def table(self) -> DataFrame:
        """A row a step and graph, with how much sparser the studied one is."""
        rows = []
        for n, step in enumerate(STEPS):
            graph = {"own": self.studied[n]} | {name: steps[n] for name, steps in self.chance.items()}
            table = DataFrame(feature_graph.graph_summary(graph)).assign(step=step)
            for what in ("parents", "edges"):
                ends = [
                    {} if name == "own" else getattr(self.sparser[step, name], what).columns(f"{what}_beside")
                    for name in table["graph"]
                ]
                table = table.join(DataFrame(ends))
            rows += table.to_dict("records")
        return DataFrame(rows)

    def curves(self, shares: NDArray) -> DataFrame:
        """The part of the effect that the largest edges carry, at `shares` of all edges."""
        return DataFrame(
            [
                {"step": step, "graph": name, "edges": share, "effect": effect}
                for n, step in enumerate(STEPS)
                for name, graph in ({"own": self.studied} | self.chance).items()
                for share, effect in zip(shares, graph[n].curve(shares), strict=True)
            ]
        )

    def strongest(self, count: int = 2000) -> DataFrame:
        """The strongest edges of each step, predicted and ablated."""
        tables = []
        for step, edges in zip(STEPS, self.studied, strict=True):
            order = np.argsort(-edges.size, axis=None, kind="stable")[:count]
            i, j = np.unravel_index(order, edges.size.shape)
            values = {name: getattr(edges, name)[i, j] for name in ("size", "signed", "cut", "cut_signed")}
            tables.append(DataFrame({"source": i, "target": j} | values).assign(step=step))
        return concat(tables, ignore_index=True)

    def tables(self) -> dict[str, DataFrame]:
        """graphs, ends, edges (the strongest) and curves (at shares from 0.0001 to 1)."""
        return {
            "graphs": self.table,
            "ends": self.ends,
            "edges": self.strongest(),
            "curves": self.curves(np.geomspace(1e-4, 1, 200)),
        }


def relearned(
    like: Sequence[Dictionary],
    h: Sequence[Tensor],
    x: Sequence[Tensor],
    steps: int,
    batch: int,
    generator: torch.Generator,
    on_layer: Callable[[int], None] = lambda n: None,
) -> list[Dictionary]:
    """TopK dictionaries of activations x, a layer each, as large as those `like` and as sparse as these
    are on the activations h that they were made for."""
    made = []
    for dictionary, own_h, of_layer in zip(like, h, x, strict=True):
        fires = dictionary.to(own_h).encode(own_h) != 0
        active = max(1, round(fires.sum(1).double().mean().item()))
        seed = int(torch.randint(2**31, (), generator=generator))
        made.append(
            feature_graph.learned_dictionary(
                dictionary, active, of_layer, steps=steps, batch=batch, seed=seed, generator=generator
            )
        )
        on_layer(1)
    return made


def graphs(networks: Mapping[str, CodedNetwork], tokens: Places, generator: torch.Generator) -> Graphs:
    """Of the "trained" network beside chance; networks: those of `networks`, whose activations are on the tokens."""
    trained = networks["trained"]
    random = replace(
        trained,
        dictionaries=[
            feature_graph.random_dictionary(d, h, generator)
            for d, h in zip(trained.dictionaries, trained.h, strict=True)
        ],
    )
    written = [feature_graph.shuffled_directions(d, generator) for d in trained.dictionaries]
    rivals = {"random": random, "untrained": networks["untrained"], "relearned": networks["relearned"]}
    chance = {name: trained.edges(tokens.k, [w[name] for w in written]) for name in ("features", "weights")}
    chance |= {name: network.edges(tokens.k) for name, network in rivals.items()}
    last, ends = trained.dictionaries[2].to(tokens.y), []
    gap = features.attribute_features(trained.energy, LAYERS[2], last, tokens)
    reach = feature_graph.score_reach(trained.energy, LAYERS[2], last, tokens)
    for name, network in ({"own": trained} | rivals).items():
        sizes = {"gap": gap.size, "score": reach.size}
        if name != "own":
            place = network.energy, LAYERS[2], network.dictionaries[2].to(tokens.y), tokens
            sizes = {
                "gap": features.attribute_features(*place).size,
                "score": feature_graph.score_reach(*place).size,
            }
        shares = {what: float(share_needed(size[size > 0])) if size.any() else 0.0 for what, size in sizes.items()}
        ends.append({"graph": name} | shares)
    return Graphs(
        studied=trained.edges(tokens.k, cut=True),
        chance=chance,
        gap=gap,
        checked=features.ablate(trained.energy, LAYERS[2], last, tokens, torch.arange(last.features)),
        reach=reach,
        ends=DataFrame(ends),
        problem=array(tokens.problem),
    )


def _rows(effects: FeatureEffects, chosen: NDArray) -> FeatureEffects:
    return FeatureEffects(effects.size[chosen], effects.signed[chosen])
