"""What P5-04 looks at, as tables: outputs of the energy, graphs between dictionaries, chains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pandas import DataFrame
from torch import Tensor

from ired.instruments.circuits import energy_outputs, feature_graph, feature_paths, output_entries
from ired.instruments.circuits.energy_outputs import Frames, needed
from ired.instruments.circuits.feature_graph import Edges, Layer, Sparser, Verified
from ired.instruments.core import states
from ired.instruments.core.states import array
from ired.instruments.dictionaries import features
from ired.instruments.dictionaries.dictionary import Dictionary
from ired.instruments.dictionaries.features import Agreement, Effects, Places
from ired.instruments.statistics.intervals import Interval, mean_interval, paired_interval, ratio_interval
from ired.model.protocol import Energy

LAYERS = feature_paths.LAYERS
STEPS = ("fc1 → fc2", "fc2 → fc3")
# What the criterion holds the graph of the studied dictionaries against. Beside these stand the trained
# network's dictionaries made as those of the untrained one ("relearned").
JUDGED = ("features", "weights", "random", "untrained")


def tokens(energy: Energy, A: Tensor, y0: Tensor, draws: int, generator: torch.Generator) -> Places:
    """`draws` noised answers in every landscape of problems A (P, n, n), a problem's side by side."""
    K, P = energy.schedule.K, len(A)
    problem = torch.arange(P, device=A.device).repeat_interleave(K * draws)
    k = torch.arange(K, device=A.device).repeat_interleave(draws).repeat(P)
    noise = states.noise(energy, len(k), generator=generator, like=A)
    root, sigma = (energy.schedule.at(name, k, noise) for name in ("sqrt_alpha_bar", "sigma"))
    home = root * y0[problem]
    return Places(A[problem], home + sigma * noise, home, k, problem)


@torch.no_grad()
def activations(energy: Energy, at: Places, chunk: int = 4096) -> list[Tensor]:
    """Of LAYERS, each (T, width)."""
    parts = [energy.activations(part.A, part.y, part.k) for part in at.split(chunk)]
    return [torch.cat([part[layer] for part in parts]) for layer in LAYERS]


# Outputs


def outputs(
    energies: Mapping[str, Energy], A: Tensor, y0: Tensor, landscapes: Sequence[int], states: int,
    draws: int, generator: torch.Generator,
) -> tuple[dict[str, DataFrame], dict[str, NDArray]]:
    """Tables participation, diagonal, parts, own, fairness (a row an energy and landscape …), and
    shares of gap, score and what is beyond its blind part as matrices (n, n) that sum to 1, by
    "energy.k.measure.basis", with "energy.k.carried", mean |gap of output i from coordinate j|.
    """  # fmt: skip
    rows = {name: [] for name in ("participation", "diagonal", "parts", "own", "fairness")}
    pictures, state = {}, generator.get_state()
    for name, energy in energies.items():
        generator.set_state(state)  # the same states and turns for all
        n, size = energy.coordinates.n, energy.coordinates.size
        frames = Frames.of(energy, A, draws, generator)
        on = array(energy_outputs.from_matrix(energy, torch.eye(n))) > 0
        for k in landscapes:
            at = {"energy": name, "landscape": k}
            found = energy_outputs.split(energy, A, y0, k, frames, states, generator)
            carry = {(t.measure, t.basis): energy_outputs.participation(t) for t in found.terms}
            for terms in found.terms:
                measure, basis = terms.measure, terms.basis
                of = at | {"measure": measure, "basis": basis}
                own = carry[measure, basis]
                beside = own.beside(carry[measure, "foreign" if basis == "eigen" else "turned"])
                ends = _ends(own.interval, "share") | _ends(beside, "beside")
                ends |= {"fewest_turn": carry[measure, "turned"].fewest}
                rows["participation"].append(of | ends)
                if basis in ("entry", "eigen"):
                    share = terms.share(on)
                    rows["diagonal"].append(of | _ends(share, "share") | {"chance": n / size})
                    mean = torch.from_numpy(terms.signed.sum(0) / terms.whole.sum())
                    pictures[f"{name}.{k}.{measure}.{basis}"] = array(
                        energy_outputs.as_matrix(energy, mean)
                    )
            parts = dict(zip(energy_outputs.PARTS, found.parts.T, strict=True)) | {"along": found.along}
            for part, value in parts.items():
                share = ratio_interval(value * found.gap, found.gap**2)
                rows["parts"].append(at | {"part": part} | _ends(share, "share")
                                     | {"constant": found.constant})  # fmt: skip
            carried = output_entries.carried(energy, A, y0, k, frames, generator)
            pictures[f"{name}.{k}.carried"] = carried.matrix
            for basis in energy_outputs.BASES:
                share = mean_interval(carried.own[basis])
                beside = paired_interval(carried.own[basis], carried.own["turned"])
                rows["own"].append(at | {"basis": basis} | _ends(share, "share")
                                   | _ends(beside, "beside")
                                   | {"largest_turn": float(carried.turns.max()),
                                      "error": float(np.median(carried.error))})  # fmt: skip
            fair = output_entries.fairness(energy, A, y0, k, generator)
            for what in ("outputs", "other", "gap"):
                share = ratio_interval(*getattr(fair, what).T)
                rows["fairness"].append(at | {"what": what} | _ends(share, "share"))
    return {name: DataFrame(own) for name, own in rows.items()}, pictures


def _ends(interval: Interval, name: str) -> dict[str, float]:
    return {
        name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high
    }  # fmt: skip


# Graphs


@dataclass(frozen=True)
class Network:
    """A network, its layers fc2 and fc3 as maps, a dictionary for each of LAYERS, and its activations
    on the tokens."""

    energy: Energy
    layers: Sequence[Layer]
    dictionaries: Sequence[Dictionary]
    h: Sequence[Tensor]

    def edges(
        self, k: Tensor, directions: Sequence[Tensor] | None = None, cut: bool = False
    ) -> list[Edges]:
        one = self.dictionaries
        return [
            feature_graph.edges(layer, one[n], one[n + 1], self.h[n], k,
                              None if directions is None else directions[n], cut)
            for n, layer in enumerate(self.layers)
        ]  # fmt: skip


@dataclass(frozen=True)
class Graphs:
    """Edges of both steps: own, and by name of what they are held against; gap: effects of the last
    layer's features on energy gaps, checked: the same ablated; reach: what they add to the score;
    ends: the share of the features that carry 80 % of these, a row a graph; problem (T,): of the
    tokens.
    """

    own: list[Edges]
    chance: dict[str, list[Edges]]
    gap: Effects
    checked: Effects
    reach: feature_graph.Reach
    ends: DataFrame
    problem: NDArray

    @cached_property
    def verified(self) -> list[Verified]:
        return [feature_graph.verified(step) for step in self.own]

    @cached_property
    def agreement(self) -> Agreement:
        """Of the features of the last layer that change the gap."""
        alive = np.flatnonzero(self.gap.size)
        return features.agreement(self.gap, _rows(self.checked, alive), alive)

    @cached_property
    def sparser(self) -> dict[tuple[str, str], Sparser]:
        """By step and chance; and how "relearned" stands beside the untrained network's."""
        found = {}
        for n, step in enumerate(STEPS):
            for name, graph in self.chance.items():
                same = name in ("features", "weights")
                found[step, name] = feature_graph.sparser(self.own[n], graph[n], self.problem, same)
            found[step, "relearned beside untrained"] = feature_graph.sparser(
                self.chance["relearned"][n], self.chance["untrained"][n], self.problem, False
            )
        return found

    def nearest(self) -> Interval:
        """By how much the own graph's targets need a smaller share of sources, beside the chance (and
        step) where that is least sure."""
        found = [one.parents for (_, name), one in self.sparser.items() if name in JUDGED]
        return max(found, key=lambda one: one.high)

    @cached_property
    def table(self) -> DataFrame:
        """A row a step and graph, with how much sparser the own one is."""
        beside, tables = self.sparser, []
        for n, step in enumerate(STEPS):
            of = {"own": self.own[n]} | {name: graph[n] for name, graph in self.chance.items()}
            table = DataFrame(feature_graph.summary(of)).assign(step=step)
            for what in ("parents", "edges"):
                ends = [_ends(getattr(beside[step, name], what), f"{what}_beside")
                        if name != "own" else {} for name in table["graph"]]  # fmt: skip
                table = table.join(DataFrame(ends))
            tables.append(table)
        return DataFrame([row for table in tables for row in table.to_dict("records")])

    def curves(self, at: NDArray) -> DataFrame:
        """The part of the effect that the largest edges carry, at shares `at` of all edges."""
        rows = []
        for n, step in enumerate(STEPS):
            for name, graph in ({"own": self.own} | self.chance).items():
                rows += [{"step": step, "graph": name, "edges": x, "effect": y}
                         for x, y in zip(at, graph[n].curve(at), strict=True)]  # fmt: skip
        return DataFrame(rows)

    def strongest(self, count: int = 2000) -> DataFrame:
        """The strongest edges of each step, predicted and ablated."""
        tables = []
        for step, one in zip(STEPS, self.own, strict=True):
            order = np.argsort(-one.size, axis=None, kind="stable")[:count]
            i, j = np.unravel_index(order, one.size.shape)
            tables.append({"step": step, "source": i, "target": j, "size": one.size[i, j],
                           "signed": one.signed[i, j], "cut": one.cut[i, j],
                           "cut_signed": one.cut_signed[i, j]})  # fmt: skip
        columns = {name: [np.broadcast_to(table[name], table["size"].shape) for table in tables]
                   for name in tables[0]}  # fmt: skip
        return DataFrame({name: np.concatenate(parts) for name, parts in columns.items()})


def relearned(
    like: Sequence[Dictionary], own: Sequence[Tensor], x: Sequence[Tensor], steps: int, batch: int,
    generator: torch.Generator, on_layer: Callable[[int], None] = lambda n: None,
) -> list[Dictionary]:
    """TopK dictionaries of activations x, a layer each, as large as those `like` and as sparse as they
    are on `own` activations."""  # fmt: skip
    found = []
    for d, h, activations in zip(like, own, x, strict=True):
        active = max(1, round((d.to(h).encode(h) != 0).sum(1).double().mean().item()))
        seed = int(torch.randint(2**31, (), generator=generator))
        sizes = active, activations, steps, batch, seed
        found.append(feature_graph.learned_dictionary(d, *sizes, generator))
        on_layer(1)
    return found


def graphs(
    own: Network, untrained: Network, made: Sequence[Dictionary], at: Places,
    generator: torch.Generator,
) -> Graphs:
    """Of `own` beside chance. made: the trained network's dictionaries, made as the untrained one's."""
    random = replace(own, dictionaries=[
        feature_graph.random_dictionary(d, h, generator)
        for d, h in zip(own.dictionaries, own.h, strict=True)
    ])  # fmt: skip
    written = [feature_graph.shuffled(d, generator) for d in own.dictionaries]
    networks = {"random": random, "untrained": untrained,
                "relearned": replace(own, dictionaries=made)}  # fmt: skip
    chance = {name: own.edges(at.k, [w[name] for w in written]) for name in ("features", "weights")}
    chance |= {name: network.edges(at.k) for name, network in networks.items()}
    last, ends = own.dictionaries[2].to(at.y), []
    gap = features.attribute(own.energy, LAYERS[2], last, at)
    every = torch.arange(last.features)
    reach = feature_graph.score_reach(own.energy, LAYERS[2], last, at)
    for name, network in ({"own": own} | networks).items():
        of = network.energy, LAYERS[2], network.dictionaries[2].to(at.y), at
        sizes = gap.size, reach.size
        if name != "own":
            sizes = features.attribute(*of).size, feature_graph.score_reach(*of).size
        shares = [float(needed(size[size > 0])) if size.any() else 0.0 for size in sizes]
        ends.append({"graph": name} | dict(zip(("gap", "score"), shares, strict=True)))
    return Graphs(
        own.edges(at.k, cut=True), chance, gap,
        features.ablate(own.energy, LAYERS[2], last, at, every), reach, DataFrame(ends),
        array(at.problem),
    )  # fmt: skip


def verdicts(
    terms: Mapping[str, DataFrame], found: Graphs
) -> dict[str, tuple[bool, dict[str, float]]]:
    """What the criteria of P5-04 come to, with the numbers behind them; terms: those of `outputs`."""
    entry, eigen = (
        terms["participation"].query(
            f"energy == 'trained' and landscape == 0 and measure == 'gap' and basis == '{basis}'"
        ).iloc[0] for basis in ("entry", "eigen")
    )  # fmt: skip
    own = terms["own"].query("energy == 'trained' and landscape == 0 and basis == 'entry'").iloc[0]
    agree = [*(step.size for step in found.verified), found.agreement.size]
    least, worst = min(agree, key=lambda one: one.low), found.nearest()
    return {
        "few_outputs_carry_the_gap": (
            entry.share_high < 0.25 and entry.beside_high < 0 and entry.share < entry.fewest_turn,
            {"share": entry.share, "high": entry.share_high, "beside_high": entry.beside_high,
             "fewest_turn": entry.fewest_turn},
        ),
        "outputs_are_entries": (
            own.beside_low > 0 and own.share > own.largest_turn,
            {"share": own.share, "beside": own.beside, "low": own.beside_low,
             "largest_turn": own.largest_turn},
        ),
        "gap_follows_eigen_directions": (
            eigen.beside_high < 0,
            {"share": eigen.share, "beside": eigen.beside, "high": eigen.beside_high},
        ),
        "edges_verified": (
            least.low > 0.8, {"rank_correlation": least.estimate, "low": least.low}
        ),
        "graph_is_sparser_than_chance": (
            worst.high < 0, {"nearest": worst.estimate, "high": worst.high}
        ),
    }  # fmt: skip


def _rows(effects: Effects, chosen: NDArray) -> Effects:
    return Effects(effects.size[chosen], effects.signed[chosen])


# Chains


def strongest_chains(
    found: Graphs, own: Network, at: Places, properties: Mapping[str, NDArray], ends: int, parents: int
) -> tuple[DataFrame, DataFrame]:
    """Chains, the strongest first, with each link's mean effect; and the features in them."""
    some = feature_paths.candidates(found.own, found.gap, ends, parents)
    table = DataFrame(feature_paths.effects(own.energy, own.layers, own.dictionaries, at, some))
    for n, one in enumerate(found.own):
        table[f"link_{n + 1}"] = one.signed[table[LAYERS[n]], table[LAYERS[n + 1]]]
    table["score_share"] = found.reach.share[table[LAYERS[2]]]
    table["share_of_gap"] = table["size"] / found.gap.together
    table = table.sort_values("size", ascending=False, kind="stable", ignore_index=True)
    nodes: list[dict[str, Any]] = []
    for layer, d, h in zip(LAYERS, own.dictionaries, own.h, strict=True):
        chosen = sorted(set(table[layer]))
        of = feature_paths.described(d, h, chosen, at.k, at.problem, properties)
        nodes += DataFrame(of).assign(layer=layer).to_dict("records")
    return table, DataFrame(nodes)


def numbers(
    terms: Mapping[str, DataFrame], found: Graphs, strongest: DataFrame
) -> dict[str, float]:
    """What is worth a metric: the gap along the constant output, verification, sparsity, chains."""
    parts = terms["parts"].query("part == 'along'")
    own = {f"{row.energy}.k{row.landscape}.gap_along_constant": row.share for row in parts.itertuples()}
    for step, checked in zip(("fc2", "fc3"), found.verified, strict=True):
        own |= {f"{step}.edges.{name}": getattr(checked, name).estimate
                for name in ("size", "signed", "slope")}  # fmt: skip
    end = found.agreement
    own |= {f"gap.edges.{name}": getattr(end, name).estimate for name in ("size", "signed", "slope")}
    for row in found.table.itertuples():
        layer = row.step[-3:]
        own |= {f"{layer}.{row.graph}.{what}": getattr(row, what)
                for what in ("edges", "parents", "within", "rest")}  # fmt: skip
    size, slope = feature_paths.agreement(strongest)
    return own | {"chains.agreement": size.estimate, "chains.slope": slope.estimate,
                  "score.past_the_features": found.reach.rest}  # fmt: skip
