"""Sanity checks (Adebayo et al. 2018) of one trained network: cascades, the cells of the table, the verdicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pandas import DataFrame, concat
from torch import Tensor

from ired.instruments.attribution import active_subspace, exact_sensitivity, integrated_gradients
from ired.instruments.concepts import cav
from ired.instruments.concepts.pairs import Population, concept_pairs
from ired.instruments.core import states
from ired.instruments.core.directions import Direction
from ired.instruments.core.states import symmetric
from ired.instruments.core.trajectories import record
from ired.instruments.dictionaries.sparse_autoencoder import Dictionary
from ired.instruments.sanity import (
    findings_answers,
    findings_geometry,
    findings_layers,
    randomisation,
    survival_table,
)
from ired.instruments.sanity.findings_answers import Answer, Background, Networks
from ired.instruments.sanity.findings_layers import PushCheck, ShownConcepts, StatesAround
from ired.instruments.sanity.linear_surrogate_study import STATES, Surrogate
from ired.instruments.sanity.randomisation import Altered
from ired.instruments.sanity.survival_table import SurvivalCell
from ired.model.protocol import Energy

ENTRIES = ((0, 0), (0, 1))  # of the score: one on the diagonal, one beside it
PLACES = 16  # of integrated gradients: complete to 1 % in P3-01 nearly everywhere
MAPS = ("score gradient", "integrated gradients")
CALIPERS = (0.3, 0.5, 0.8, 1.5)  # of matched pairs, in deviations
FOLDS = 4
PUSHED = ("near_singular", "fc2")  # the concept direction that P3-05 found to do what its name says
_ONE_NETWORK = "a dictionary belongs to one network"
_NO_DIRECTION = "no direction is claimed"
_FIXED = "a fixed subspace has no problems to permute"
SOURCES = {
    "answers follow the inverse": "SETUP-3",
    "answers beat least squares": "SETUP-3",
    "answers follow the exact Jacobian": "P3-01",
    "score follows the exact gradient": "P3-01",
    "energy ranks states": "P1-01",
    "gradient follows eigenvectors": "P3-03",
    "gradient keeps to few directions": "P3-03",
    "dictionary of fc1 keeps gaps": "P2-02",
    "dictionary of fc2 keeps gaps": "P2-03",
    "dictionary of fc3 keeps gaps": "P2-04",
    "concepts in fc1": "P3-02",
    "concepts in fc2": "P3-02",
    "concepts in fc3": "P3-02",
    "near singular raises answers": "P3-05",
    **findings_geometry.SOURCES,
}
REASONS = {
    **{(f, c): _NO_DIRECTION for c in ("random", "orthogonal") for f in list(SOURCES)[:2]},
    **{("energy ranks states", c): _NO_DIRECTION for c in ("random", "orthogonal")},
    ("score follows the exact gradient", "random"): _NO_DIRECTION,
    ("gradient follows eigenvectors", "orthogonal"): "what is off the axes is the rest of the same",
    **{(f"dictionary of {fc} keeps gaps", "labels"): _ONE_NETWORK for fc in ("fc1", "fc2", "fc3")},
    ("gradient keeps to few directions", "pairs"): _FIXED,
    ("gradient keeps to few directions", "noise"): "noise of equal covariance has the same subspace",
    ("gradient keeps to few directions", "linear"): "an affine map has no subspace of its own",
    **findings_geometry.REASONS,
}


@dataclass(frozen=True)
class SanityBench:
    """What checks need: problems A (P, n, n) with answers y0, noised answers y of k = 0, and starts (P,
    d) of sampling; answer(energy, A, start); path (P, M, d): states of k = 0 on sampling paths of the
    trained network; predictions of A by least squares, (P, d) by name; subspace: what P3-03 handed on
    of the gradient at k = 0, orthonormal rows (m, size); dictionaries by layer, and where they are
    judged; background: the problems that affine maps are fitted to."""

    networks: Networks
    altered: Sequence[Altered]
    A: Tensor
    y0: Tensor
    y: Tensor
    start: Tensor
    path: Tensor
    answer: Answer
    predictions: Mapping[str, Tensor]
    subspace: Tensor
    dictionaries: Mapping[str, Dictionary]
    around: StatesAround
    shown: ShownConcepts
    push: PushCheck
    background: Background

    @property
    def energy(self) -> Energy:
        return self.networks.trained

    def field(self, energy: Energy) -> Tensor:
        """The gradient of k = 0 beyond its blind part at noised answers, (P, 1, size)."""
        return active_subspace.fields(energy, self.A, self.y[None, :, None])["beyond"][0]


def survival_cells(
    bench: SanityBench,
    moves: int,
    generator: torch.Generator,
    tick: Callable[[int], None] = lambda done: None,
) -> list[SurvivalCell]:
    """Every check of every finding that it applies to; `moves`: small changes of A for Jacobians."""
    b, networks, energy = bench, bench.networks, bench.energy
    y = findings_answers.states_between_answers(energy, b.y0, k=0, count=STATES, generator=generator)
    affine = b.predictions["least_squares"]
    all_cells: list[SurvivalCell] = []
    for make in (
        lambda: findings_answers.answers_follow(energy, b.answer, b.A, y0=b.y0, start=b.start, background=b.background),
        lambda: findings_answers.answers_beat(energy, b.answer, b.A, y0=b.y0, start=b.start, predictions=b.predictions),
        lambda: findings_answers.answers_turn(energy, b.answer, b.A, start=b.start, count=moves, generator=generator),
        lambda: findings_answers.score_turns(energy, b.A, b.y, ENTRIES),
        lambda: findings_answers.energy_ranks(energy, b.A, y0=b.y0, y=y, affine=affine),
        lambda: findings_answers.gradient_in_frame(energy, b.A, y=b.path, generator=generator, background=b.background),
    ):
        all_cells += make().cells(networks, generator)
        tick(1)
    all_cells += findings_answers.subspace(
        energy, networks, A=b.A, field_of=b.field, directions=b.subspace, generator=generator
    )
    for layer, dictionary in b.dictionaries.items():
        all_cells += findings_layers.dictionary_cells(
            networks, layer, dictionary, at=b.around, generator=generator, background=b.background
        )
        tick(1)
    for layer in b.shown.layers():
        all_cells += findings_layers.concept_cells(networks, b.shown, layer, generator, b.background)
        tick(1)
    all_cells += findings_layers.push_cells(networks, b.push, generator, b.background)
    tick(1)
    pool = b.shown  # probes need many problems
    near = states.noised(energy, pool.y0, k=0, count=1, generator=generator)[0][:, 0]
    for findings in (
        findings_geometry.answer_findings(
            energy, b.answer, b.A, start=b.start, generator=generator, background=b.background
        ),
        [findings_geometry.linearised(energy, pool.A, near)],
        [findings_geometry.along_constant(energy, b.A, b.y0, generator)],
    ):
        all_cells += findings_geometry.applicable_cells(findings, networks, generator)
        tick(1)
    return all_cells


# Where things are looked at


def shown_concepts(
    energy: Energy,
    A: Tensor,
    properties: Mapping[str, Tensor],
    directions: Sequence[Direction],
    most: int,
    generator: torch.Generator,
) -> ShownConcepts:
    """Matched pairs of all concepts of problems A (P, n, n), at the places of the CAVs among
    directions.

    The caliper is the narrowest of CALIPERS with which every fold has pairs of every concept. Raises
    ValueError where none has.
    """
    for caliper in CALIPERS:
        seed = int(torch.randint(2**31, (), generator=generator, device=generator.device))
        population = Population.of(A, properties, FOLDS, np.random.default_rng(seed))
        try:
            matched = concept_pairs(energy, population, most, caliper=caliper, generator=generator)
            break
        except ValueError:
            if caliper == CALIPERS[-1]:
                raise
    places = [(d.concept, d.space, d.landscape) for d in directions if d.source == "concept"]
    return ShownConcepts(A, states.answers(energy, A), {pairs.concept: pairs for pairs in matched}, places)


def sanity_bench(
    energy: Energy,
    altered: Sequence[Altered],
    briefly: tuple[Energy, Energy],
    A: Tensor,
    answer: Answer,
    squares: Mapping[str, Tensor],
    directions: Sequence[Direction],
    dictionaries: Mapping[str, Dictionary],
    shown: ShownConcepts,
    background: Background,
    generator: torch.Generator,
) -> SanityBench:
    """briefly: networks trained on true and on shuffled answers; answer also takes a callback, as a
    sampler does; squares: inverses (P, n, n) predicted by least squares, by name."""
    y0, coordinates = states.answers(energy, A), energy.coordinates
    start = states.noise(energy, len(A), generator=generator, like=A)
    path = active_subspace.path_states(energy, A, answer, start)[0]
    gradient = [d.vector for d in directions if d.source == "gradient" and d.landscape == 0]
    place = next(
        (d.concept, d.space, d.landscape) for d in directions if d.concept == PUSHED[0] and d.space == PUSHED[1]
    )
    return SanityBench(
        networks=Networks(energy, [network.energy for network in altered if network.fully], *briefly),
        altered=altered,
        A=A,
        y0=y0,
        y=states.noised(energy, y0, k=0, count=1, generator=generator)[0][:, 0],
        start=start,
        path=path,
        answer=answer,
        predictions={name: coordinates.encode(Y) for name, Y in squares.items()},
        subspace=coordinates.to_basis(torch.stack(gradient).to(A)),
        dictionaries=dictionaries,
        around=StatesAround.of(energy, A, y0=y0, landscapes=_landscapes(energy), generator=generator),
        shown=shown,
        push=PushCheck(answer=answer, A=A, start=start, shown=shown, place=place),
        background=background,
    )


def background(energy: Energy, A: Tensor, answer: Answer, generator: torch.Generator, chunk: int = 500) -> Background:
    """Problems A (N, n, n) as affine maps are fitted to them; answer as `sanity_bench` takes it."""
    chunks = []
    for problems in A.split(chunk):
        start = states.noise(energy, len(problems), generator=generator, like=problems)
        walked = record(answer, energy, problems, start)
        path = torch.stack([walked.denoised()[0], walked.leaving()[0]], 1)[None]
        near = StatesAround.of(
            energy, problems, y0=states.answers(energy, problems), landscapes=_landscapes(energy), generator=generator
        ).y
        row = torch.arange(len(problems), device=A.device)
        at_random = (states[:, row, row % states.shape[2]] for states in (path, near))
        chunks.append((walked.end[None], *at_random))
    (answers,), (path,), near = (torch.cat(parts, 1) for parts in zip(*chunks, strict=True))
    noise = states.noise(energy, len(A), generator=generator, like=A)
    return Background(A=A, y0=states.answers(energy, A), answers=answers, path=path, near=near, noise=noise)


def _landscapes(energy: Energy) -> range:
    """In which dictionaries are judged."""
    return range(0, energy.schedule.K, 3)


# Cascades


def maps(bench: SanityBench, energy: Energy, problems: int) -> dict[str, Tensor]:
    """Signed attributions to A at k = 0, symmetric, (P', n, n): the gradient of a diagonal entry of the
    score, and integrated gradients of the gap to the answer, from the mean problem."""
    A, y, y0 = (v[:problems] for v in (bench.A, bench.y, bench.y0))
    mean = bench.A.mean(0, keepdim=True)
    start = states.centre(energy, bench.y0.mean(0, keepdim=True), 0)
    begin = integrated_gradients.Baseline("mean", mean.expand_as(A)[None], start.expand_as(y)[None])
    paths = integrated_gradients.integrate(integrated_gradients.gap(energy, 0, y0), A, y, baseline=begin, count=PLACES)
    score = integrated_gradients.score_entry(energy, 0, ENTRIES[0])
    return {
        "score gradient": exact_sensitivity.gradients_by_problem(score, A, y),
        "integrated gradients": symmetric(paths.attributions()[0]),
    }


def decay(bench: SanityBench, problems: int, tick: Callable[[int], None] = lambda done: None) -> DataFrame:
    """How what instruments show falls while weights are drawn anew: rows as in `randomisation.map_decay`.

    Measures: attributions of `problems` problems; CAVs (AUROC − ½, and the cosine to the trained
    network's CAV of the same place); dictionaries (variance explained, energy gaps kept); the share of
    the gradient in the trained network's leading subspace.
    """
    trained = bench.energy
    attributions = {network: maps(bench, network.energy, problems) for network in bench.altered}
    home, tables = maps(bench, trained, problems), []
    for name in home:
        tables.append(randomisation.map_decay(name, home[name], [(o, m[name]) for o, m in attributions.items()]))
    places = bench.shown.places
    first = Altered("trained", randomisation.TRAINED, 0, trained)
    vectors, spans, fields = {}, {}, {}
    for network in (first, *bench.altered):
        active = bench.shown.everywhere(network.energy, places)
        vectors[network] = torch.stack([_cav(bench.shown, place, active[place]) for place in places])
        fields[network] = bench.field(network.energy)
        spans[network] = findings_answers.leading_components(fields[network], len(bench.subspace))
        here = {}
        for layer in bench.shown.layers():
            values = findings_layers.concept_values(bench.shown, layer, active)
            here[f"{layer}: concepts, AUROC − ½"] = values
        for layer, dictionary in bench.dictionaries.items():
            h = findings_layers.activations_around(network.energy, bench.around, layer)
            kept = findings_layers.gaps_kept(network.energy, bench.around, layer, h=h, put=dictionary(h))
            here[f"{layer}: dictionary, gaps kept"] = kept
            here[f"{layer}: dictionary, variance"] = findings_layers.explained_variance(dictionary, h)
        for measure, values in here.items():
            values = torch.as_tensor(values)
            tables.append(
                randomisation.values_of(
                    measure, order=network.order, step=network.step, draw=network.draw, values=values
                )
            )
        tick(1)
    random = [network for network in bench.altered if network.fully]
    compared = [(o.order, o.step, o.draw, first, o) for o in (first, *bench.altered)]
    compared += [
        (randomisation.NULL, randomisation.NULL, i, o, random[(i + 1) % len(random)]) for i, o in enumerate(random)
    ]
    for order, step, draw, reference, other in compared:
        cosine = (vectors[reference] * vectors[other]).sum(1)
        tables.append(randomisation.values_of("CAVs, cosine", order=order, step=step, draw=draw, values=cosine))
        inside = randomisation.share_in_subspace(fields[other], spans[reference])
        tables.append(
            randomisation.values_of("gradient in the subspace", order=order, step=step, draw=draw, values=inside)
        )
    return concat(tables, ignore_index=True)


def _cav(shown: ShownConcepts, place: findings_layers.Place, h: NDArray) -> Tensor:
    """The CAV of a place with activations h, padded to nothing: layers are equally wide."""
    return torch.from_numpy(cav.fit(cav.PRIMARY, h, shown.pairs[place[0]].confounders))


# The verdicts


def sanity_verdicts(table: DataFrame, rows: DataFrame, linear: Surrogate) -> dict[str, tuple[bool, dict[str, float]]]:
    """Whether each criterion of P6-03 is met, with the numbers behind it: from the table of
    `survival_table.survival_table`, the rows of `decay`, and the linear surrogate."""
    left = [randomisation.Left.of(rows, f"{name}, signed rank") for name in MAPS]
    highest = {
        "likeness": max(after.likeness.high for after in left),
        "excess": max(after.excess.high for after in left),
    }
    criteria = {"attributions_decay": (all(after.decayed() for after in left), highest)}
    for name, about in (
        ("dictionaries", [finding for finding in SOURCES if finding.startswith("dictionary")]),
        ("concepts", ["concepts in fc2", "concepts in fc3"]),
    ):
        fine = [survival_table.cell_verdict(table, f, "weights") == survival_table.SURVIVED for f in about]
        criteria[f"{name}_decay"] = all(fine), {"decayed": sum(fine), "of": len(fine)}
    beyond = linear.beyond()
    beats = table[table["finding"] == "answers beat least squares"].iloc[0]
    criteria["more_than_linear"] = (
        beyond.low > 0 and beats["own_low"] > 0,
        {
            "unexplained": beyond.estimate,
            "low": beyond.low,
            "advantage": beats["own"],
            "advantage_low": beats["own_low"],
        },
    )
    share = survival_table.survived(table)
    numbers = {"share": share.estimate, "low": share.low, "high": share.high, "cells": share.units}
    return criteria | {"most_findings_survive": (share.estimate > 0.7, numbers)}
