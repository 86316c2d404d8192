"""Replication out of distribution: findings of Phases 1 to 3 as numbers of every problem, alike on any family.

fires       a strong feature's firing rate, counted from the mean rate of the layer's features: it goes
            on firing more (or less) than others do; placebo: another feature of the layer
means       Spearman's ρ of its mean activation with the property that it followed best on other
            problems, as products of standardised ranks, one a problem; placebo: problems permuted
recovers    the energy gaps that a dictionary keeps, share of what a constant layer loses (`patching`);
            placebo: random directions of the data's covariance, as many and as sparse
acts        by how much more a push along a direction moves the sampled answer than pushes of equal
            norm along random ones, relative to these; of a concept, too, by how much more its
            property grows; placebo: one more random direction
landscape   P1-04's measures: midpoint convexity, curvature, sharpness, gaps to wrong and to noised
            answers, counted from an untrained network's on the same problem; placebo: the landscape of
            another problem around this one's answer

Of "recovers" and "acts" only what is above 0 is a finding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from pandas import DataFrame
from torch import Tensor

from ired.instruments.core import random_directions, states, trajectories
from ired.instruments.core.directions import EVERYWHERE, OF_PROBLEMS, STATE, Direction
from ired.instruments.core.energy_gap import centred
from ired.instruments.core.patching import DISTANCES, Spliced
from ired.instruments.core.sampler import Sampler
from ired.instruments.dictionaries.property_correlation import MATRIX, effective_rank
from ired.instruments.dictionaries.sparse_autoencoder import Dictionary, given_dictionary
from ired.instruments.interventions import manifold, pushes
from ired.instruments.interventions.answer_properties import answer_property
from ired.instruments.interventions.manifold import Cloud, Nature
from ired.instruments.interventions.pushes import Condition, Push, Pushed
from ired.instruments.landscape import metrics
from ired.instruments.transfer.score import Block
from ired.model.protocol import Energy

MEASURES = ("share", "rays", "curvature", "sharpness", "other_gap", "other_rate", "noised_gap", "noised_rate")
DOSE = 2.0  # spreads
DRAWS = 3  # random directions beside each, the placebo not counted
Properties = Callable[[Tensor], Mapping[str, Tensor]]


@dataclass(frozen=True)
class Layer:
    """A layer's dictionary, a random one, and features: their numbers (F,), those that stand in as
    placebos (F,), and the property (F,) that each followed best."""

    name: str
    dictionary: Dictionary
    random: Dictionary
    features: NDArray
    others: NDArray
    meaning: tuple[str, ...]


@dataclass(frozen=True)
class Along:
    """A direction, its unit vector, DRAWS + 1 random ones, and where its space's activations lie."""

    direction: Direction
    v: Tensor
    random: Tensor
    cloud: Cloud


@dataclass(frozen=True)
class TransferBench:
    """Everything that was fixed on problems of the training distribution, before any is judged."""

    energy: Energy
    untrained: Energy
    sampler: Sampler
    properties: Properties
    layers: tuple[Layer, ...]
    along: tuple[Along, ...]
    landscapes: tuple[int, ...]
    seed: int

    def stream(self) -> torch.Generator:
        """The same random numbers for every family: comparisons are paired as far as they can be."""
        return torch.Generator().manual_seed(self.seed)


def named(
    verdicts: DataFrame,
    dictionaries: Mapping[str, Dictionary],
    energy: Energy,
    nature: Nature,
    count: int,
) -> list[Direction]:
    """`count` directions of P3-05's verdicts and of either source, those first that were beyond random
    and then by standardised effect: features, by their number in the dictionary, and concepts of
    problems in a layer. A concept's vector is not part of the verdicts: it is the difference of means,
    at noised answers, between the quarters of `nature` with the most and the least of the property."""
    order = verdicts.sort_values(["moved_beyond", "moved_d"], ascending=False, kind="stable")
    directions: list[Direction] = []
    for row in order.itertuples():
        if row.source == "feature":
            vector = dictionaries[row.space].decoder[int(row.direction.split("#")[1])].double()
        elif row.source == "concept" and row.concept in OF_PROBLEMS and row.space != STATE:
            vector = mean_difference(energy, nature, space=row.space, landscape=int(row.landscape), concept=row.concept)
        else:
            continue
        if sum(d.source == row.source for d in directions) < count:
            directions.append(
                Direction(
                    name=row.direction,
                    source=row.source,
                    space=row.space,
                    landscape=int(row.landscape),
                    concept=row.concept,
                    evidence=float(row.moved_value),
                    measure="moved",
                    vector=vector,
                ).unit()
            )
    return directions


@torch.no_grad()
def mean_difference(energy: Energy, nature: Nature, space: str, landscape: int, concept: str) -> Tensor:
    """Mean activation (width,) of the problems with the most of a property minus that of those with the
    least, a quarter each."""
    Y = torch.linalg.inv(nature.A)
    order = answer_property(Y, Y, concept).argsort()
    h = energy.activations(energy.prepare(nature.A), nature.noised[landscape], landscape)[space]
    quarter = max(1, len(order) // 4)
    return h[order[-quarter:]].mean(0) - h[order[:quarter]].mean(0)


@torch.no_grad()
def settle(
    energy: Energy,
    untrained: Energy,
    sampler: Sampler,
    properties: Properties,
    dictionaries: Mapping[str, Dictionary],
    verdicts: DataFrame,
    nature: Nature,
    features: int,
    directions: int,
    landscapes: Sequence[int],
    seed: int,
) -> TransferBench:
    """Chooses `features` of each layer by gradient × activation on energy gaps, their properties,
    `directions` of P3-05's verdicts (see `named`), random directions and dictionaries on problems
    `nature` of the training distribution, used for nothing else."""
    generator = torch.Generator().manual_seed(seed)
    values = _values(properties, nature.A)
    bench = TransferBench(
        energy=energy,
        untrained=untrained,
        sampler=sampler,
        properties=properties,
        layers=(),
        along=(),
        landscapes=tuple(landscapes),
        seed=seed,
    )
    tokens, layers = _tokens(bench, nature.A, states.answers(energy, nature.A), generator), []
    for name, dictionary in dictionaries.items():
        dictionary = dictionary.to(nature.A)
        with torch.enable_grad():
            strong = pushes.strongest_features(energy, name, dictionary, background=nature, count=features)
        chosen = np.array([int(d.name.split("#")[1]) for d in strong], dtype=int)
        rate, mean, _ = _units(energy, dictionary, name, A=nature.A, tokens=tokens)
        alive = np.flatnonzero(rate.mean(0) > 0)
        order = torch.randperm(len(alive), generator=generator).numpy()
        others = np.resize(alive[order], len(chosen)) if len(alive) else chosen
        rho = np.nan_to_num(np.stack([_products(mean[:, chosen], v).mean(0) for v in values.values()]))
        meaning = tuple(list(values)[i] for i in np.abs(rho).argmax(0)) if len(chosen) else ()
        covariance = manifold.cloud(energy, name, EVERYWHERE, nature).covariance
        drawn = random_directions.covariance_matched(covariance.cpu(), dictionary.features, generator).to(
            dictionary.decoder
        )
        active = dictionary.k or max(1, round(float(rate.sum(1).mean())))
        random = given_dictionary("topk", directions=drawn, mean=dictionary.mean, scale=dictionary.scale, k=active)
        layers.append(
            Layer(name=name, dictionary=dictionary, random=random, features=chosen, others=others, meaning=meaning)
        )
    along = []
    for direction in named(verdicts, dictionaries, energy, nature=nature, count=directions):
        v = pushes.axis(energy, direction, nature.A)
        blind = random_directions.isotropic(DRAWS + 1, len(v), generator, v)
        home = manifold.cloud(energy, direction.space, direction.landscape, nature)
        along.append(Along(direction, v, blind, home))
    return replace(bench, layers=tuple(layers), along=tuple(along))


def measure_findings(bench: TransferBench, A: Tensor, few: int) -> list[Block]:
    """All findings on problems A (P, n, n), float64; the first `few` of them where a problem is costly
    (all but features)."""
    states.demand_double(A, "findings")
    y0 = states.answers(bench.energy, A)
    blocks = [*feature_findings(bench, A, y0)]
    A, y0 = A[:few], y0[:few]
    blocks += [recovery_findings(bench, A, y0), acting(bench, A, y0), landscape(bench, A, y0)]
    return [block for block in blocks if block.names]


# The kinds


def feature_findings(bench: TransferBench, A: Tensor, y0: Tensor) -> tuple[Block, Block]:
    """The kinds fires and means: at a noised answer of each landscape, and where a path leaves it."""
    generator = bench.stream()
    tokens = _tokens(bench, A, y0, generator)
    values, shuffled = _values(bench.properties, A), torch.randperm(len(A), generator=generator).numpy()
    names, fires, fires_null, means, means_null = [], [], [], [], []
    for layer in bench.layers:
        rate, mean, usual = _units(bench.energy, layer.dictionary, layer.name, A=A, tokens=tokens)
        names += [f"{layer.name} #{i}" for i in layer.features]
        fires.append(rate[:, layer.features] - usual)
        fires_null.append(rate[:, layer.others] - usual)
        for i, what in zip(layer.features, layer.meaning, strict=True):
            means.append(_products(mean[:, [i]], values[what]))
            means_null.append(_products(mean[:, [i]], values[what][shuffled]))
    words = [word for layer in bench.layers for word in layer.meaning]
    told = [f"{name}: {word}" for name, word in zip(names, words, strict=True)]
    if not names:
        empty = np.zeros((len(A), 0))
        return Block("fires", (), empty, empty), Block("means", (), empty, empty)
    return (
        Block("fires", tuple(names), np.hstack(fires), np.hstack(fires_null)),
        Block("means", tuple(told), np.hstack(means), np.hstack(means_null)),
    )


@torch.no_grad()
def recovery_findings(bench: TransferBench, A: Tensor, y0: Tensor) -> Block:
    """The kind recovers: of every layer's dictionary, in the bench's landscapes."""
    energy, generator, columns = bench.energy, bench.stream(), {}
    prepared = energy.prepare(A)
    for k in bench.landscapes:
        near = torch.cat(
            [
                states.around(energy, y0, k=k, distance=far, count=2 if far else 1, generator=generator)
                for far in DISTANCES
            ],
            1,
        )
        gaps = centred(energy.energy(prepared, near, k))
        floor = gaps.pow(2).sum(1)
        for layer in bench.layers:
            for dictionary in (layer.dictionary, layer.random):
                E = Spliced(energy, layer.name, dictionary).energy(prepared, near, k)
                lost = (centred(E) - gaps).pow(2).sum(1)
                columns.setdefault(f"{layer.name}, k = {k}", []).append((floor - lost) / floor.mean())
    nothing = [np.zeros((len(A), 0))]
    values, null = (np.column_stack([states.array(v[i]) for v in columns.values()] or nothing) for i in (0, 1))
    return Block("recovers", tuple(columns), values, null, positive=True)


@torch.no_grad()
def acting(bench: TransferBench, A: Tensor, y0: Tensor) -> Block:
    """The kind acts: pushes by DOSE spreads, in the direction's landscape or in all of a path."""
    energy, names, excess, null = bench.energy, [], [], []
    start = states.noise(energy, len(A), generator=bench.stream(), like=A)
    entering = pushes.entering(energy, A, bench.sampler, start) if bench.along else None
    for along in bench.along:
        space, k = along.direction.space, along.direction.landscape
        first = energy.schedule.K - 1 if k == EVERYWHERE else k
        ways = [Condition(control="own", draw=0, edit="add", dose=dose, along=along.v) for dose in (0.0, DOSE)]
        ways += [
            Condition(control="random", draw=i, edit="add", dose=DOSE, along=r) for i, r in enumerate(along.random)
        ]
        push = Push.of(along.cloud, along.v, ways, len(A))
        rows = len(ways)
        edited = Pushed(energy=energy, layer=space, push=push, donors=A[:0], landscape=None if k == EVERYWHERE else k)
        y = bench.sampler(edited, A.repeat(rows, 1, 1), entering[first].repeat(rows, 1), first=first)
        Y = energy.coordinates.decode(y).unflatten(0, (rows, len(A)))
        truth = energy.coordinates.decode(y0)
        measured = {"moves": states.array((Y[1:] - Y[:1]).pow(2).mean((2, 3)).sqrt())}
        if along.direction.concept:
            read = answer_property(Y, truth.expand_as(Y), along.direction.concept)
            measured[f"raises {along.direction.concept}"] = states.array(read[1:] - read[:1])
        for what, change in measured.items():
            usual = change[1:-1].mean(0)
            scale = usual.mean() if what == "moves" else 1.0
            scale = scale if scale > pushes.RESOLUTION else np.nan
            names.append(f"{along.direction.name}: {what}")
            excess.append((change[0] - usual) / scale)
            null.append((change[-1] - usual) / scale)
    empty = np.zeros((len(A), 0))
    values, placebo = (np.column_stack(v) if v else empty for v in (excess, null))
    return Block("acts", tuple(names), values, placebo, positive=True)


def landscape_measures(bench: TransferBench, energy: Energy, A: Tensor, y0: Tensor) -> dict[str, NDArray]:
    """P1-04's MEASURES (P,) of an energy of problems A around answers y0, by name and landscape."""
    measures: dict[str, NDArray] = {}
    ks, wrong = bench.landscapes, {"other": metrics.other_answers(y0, min(8, len(y0) - 1))}
    convexity = metrics.convexity(energy, A, y0, ks, scales=(1.0,), segments=16, generator=bench.stream())
    gaps = metrics.energy_gaps(energy, A, y0, ks, wrong=wrong, generator=bench.stream(), noised=8)
    sharp = metrics.sharpness(energy, A, y0, ks, generator=bench.stream(), radii=(1.0,), count=4)
    for i, k in enumerate(ks):
        numbers = (
            convexity.share[i, 0],
            convexity.rays[i, 0],
            convexity.curvature[i, 0],
            sharp.curvature[i],
            gaps.gap["other"][i].mean(-1),
            gaps.rate("other")[i],
            gaps.gap["noised"][i].mean(-1),
            gaps.rate("noised")[i],
        )
        measures |= {f"{name}, k = {k}": v for name, v in zip(MEASURES, numbers, strict=True)}
    return measures


def landscape(bench: TransferBench, A: Tensor, y0: Tensor) -> Block:
    """The kind landscape: of the trained energy, counted from the untrained one's; `other_*` compare
    with other answers of the same family."""
    trained, floor = (landscape_measures(bench, energy, A, y0) for energy in (bench.energy, bench.untrained))
    strange = landscape_measures(bench, bench.energy, A.roll(1, 0), y0)
    values, placebo = (np.column_stack([v[n] - floor[n] for n in trained]) for v in (trained, strange))
    return Block("landscape", tuple(trained), values, placebo)


def recorded_findings(summary: DataFrame) -> dict[str, float]:
    """What P1-04 found, trained minus untrained, by the names that `landscape` gives its findings; from
    its table "summary"."""
    means = summary.set_index(["energy", "measure", "landscape"])["mean"]
    return {
        f"{measure}, k = {k}": float(value - means.get(("untrained", measure, k), np.nan))
        for (measure, k), value in means["trained"].items()
        if measure in MEASURES
    }


# Parts of them


def _values(properties: Properties, A: Tensor) -> dict[str, NDArray]:
    values = {**properties(A), "effective_rank": effective_rank(A)}
    return {name: states.array(values[name]) for name in MATRIX}


def _tokens(bench: TransferBench, A: Tensor, y0: Tensor, generator: torch.Generator) -> list[tuple[int, Tensor]]:
    """(k, states (P, d)): a noised answer of every landscape, and what a path leaves it with."""
    energy, K = bench.energy, range(bench.energy.schedule.K)
    start = states.noise(energy, len(A), generator=generator, like=A)
    left = trajectories.record(bench.sampler, energy, A, start).leaving()
    noised = states.at_noise(energy, y0, K, generator)
    return [(k, states[k]) for states in (noised, left) for k in K]


@torch.no_grad()
def _units(
    energy: Energy, dictionary: Dictionary, layer: str, A: Tensor, tokens: Sequence[tuple[int, Tensor]]
) -> tuple[NDArray, NDArray, NDArray]:
    """Of every problem: firing rates (P, F), mean activations (P, F), and the rate of all features
    (P, 1), over tokens."""
    prepared, fired, total = energy.prepare(A), 0.0, 0.0
    for k, y in tokens:
        f = dictionary.encode(energy.activations(prepared, y, k)[layer])
        fired, total = fired + (f != 0).double(), total + f
    rate, mean = (states.array(v / len(tokens)) for v in (fired, total))
    return rate, mean, rate.mean(1, keepdims=True)


def _products(x: NDArray, values: NDArray) -> NDArray:
    """Products (P, F) of standardised ranks, whose mean is Spearman's ρ of columns x (P, F) and values
    (P,); NaN where the values hardly differ, 0 where a column does not (it tells nothing)."""
    from scipy.stats import rankdata

    if np.ptp(values) <= 1e-8 * np.abs(values).max():
        return np.full(x.shape, np.nan)
    standard = []
    for v in (x, values[:, None]):
        ranks = rankdata(v, axis=0)
        ranks -= ranks.mean(0)
        deviation = ranks.std(0)
        standard.append(np.divide(ranks, deviation, out=np.zeros_like(ranks), where=deviation > 0))
    return standard[0] * standard[1]
