"""Integrated gradients from every baseline, other explainers beside them, both held against the exact sensitivity of
the inverse: all that P3-01 measures of one network, and of the energies beside it.

What a bowl around a map m(A) must show (`PredictorEnergy`): the score's gradient by A is −√ᾱ_k H_k ∂m/∂A, whatever the
state; sampled answers are m(A), so their Jacobian is ∂m/∂A. Where m is affine both are the same for all problems, in
the mean as near to another problem's exact sensitivity as to its own, and the score's attributions to A are differences
of A times one fixed map, from every baseline. A regression network's Jacobian may well be nearer to the exact one than
a learned energy's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from numpy.typing import NDArray
from pandas import DataFrame
from torch import Tensor

from ired.instruments.attribution import exact_sensitivity, explainers, integrated_gradients, tables
from ired.instruments.attribution.exact_sensitivity import Margins
from ired.instruments.attribution.integrated_gradients import Case, PathIntegrals
from ired.instruments.core import directions, states
from ired.instruments.core.directions import STATE, Direction
from ired.instruments.core.sampler import Sampler
from ired.instruments.statistics.tables import per_unit
from ired.model.protocol import Energy

ROWS = 64  # samples at once: autograd keeps all their steps
SAMPLED_PLACES = 32  # places on paths of sampled answers, at most
JUDGED_PLACES = 16  # places on paths of integrated gradients as one of the methods that are judged
GAPS = ("trained", "affine", "regression")  # energies whose gap is explained, those of them that there are


@dataclass(frozen=True)
class AttributionStudy:
    """What is said of one network's attributions.

    tables: agreement with the exact sensitivity of plain "gradients", of "integrals" and of sampled answers'
    "jacobians", by energy; "completeness", "shares", "eigenvalues" and "baselines" (`tables.attribution_tables`);
    "methods" (`explainers.judged_by_target`); "directions" with the share that chance would explain. maps and
    ideal_maps: `tables.heatmaps` of the network and of the ideal energy. k: the landscape that layers, methods and
    eigenvectors are looked at in.
    """

    tables: dict[str, DataFrame]
    maps: dict[tuple[str, str, int, str], Tensor]
    ideal_maps: dict[tuple[str, str, int, str], Tensor]
    directions: list[Direction]
    k: int

    def summaries(self) -> dict[str, DataFrame]:
        return tables.attribution_summaries(self.tables, self.k)

    def by_energy(self, table: str, column: str) -> dict[str, NDArray]:
        """A column of a table's sharpest landscape, problem by problem: (P,) by energy."""
        rows = self.tables[table].query("landscape == 0")
        return {name: per_unit(rows, column, energy=name) for name in rows["energy"].unique()}

    def score_margins(self) -> Margins:
        """Of the sharpest landscape's score."""
        return Margins.of(self.tables["gradients"].query("landscape == 0"))

    def answer_margins(self) -> Margins:
        """Of sampled answers."""
        return Margins.of(self.tables["jacobians"])


def study_attribution(
    energies: Mapping[str, Energy],
    sampler: Sampler,
    A: Tensor,
    background: Tensor,
    mean: float,
    entries: Sequence[tuple[int, int]],
    layers: Sequence[str],
    size: Any,
    generator: torch.Generator,
    seed: int,
) -> AttributionStudy:
    """Of the "trained" one of energies, beside the "untrained", the "ideal" and all others, at problems A (P, n, n).

    background (M, n, n): problems that paths begin at; mean: of A's diagonal in training; entries: of the score;
    size: `landscapes`, the numbers of `problems` of paths, `compared`, `sampled` and `judged`, of `random` problems
    that paths to each begin at, and of `samples` for judging methods, with `seed`.
    """
    model = energies["trained"]
    last = model.schedule.K - 1
    scene = partial(
        integrated_gradients.attribution_scene,
        model,
        A=A[: size.problems],
        mean=mean,
        background=background[: size.random * size.problems].unflatten(0, (size.random, size.problems)),
        generator=generator,
    )
    answers = {name: partial(sampler, energy, differentiable=True) for name, energy in energies.items()}

    gradients = exact_sensitivity.gradient_agreement(
        energies, A[: size.compared], landscapes=range(last + 1), entries=entries, generator=generator
    )
    scenes = [scene(k) for k in size.landscapes]
    sharpest = scenes[0]
    cases = integrated_gradients.all_explained(energies, scenes, entries, GAPS)
    ideal, trained = cases.pop("ideal"), cases["trained"]
    explained = {name: cases[name] for name in GAPS if name in cases}
    layered = integrated_gradients.layers_explained(model, layers, sharpest)

    sampling = replace(scene(last), y=states.noise(model, size.problems, generator=generator, like=A))
    jacobians = exact_sensitivity.jacobian_agreement(answers, model, sampling.A, start=sampling.y, rows=ROWS)
    few = sampling.first(size.sampled)
    missed = integrated_gradients.sampled_error(answers["trained"], few.y0)
    sampled = integrated_gradients.targets_explained([missed], few, most=SAMPLED_PLACES, rows=ROWS)

    few = sharpest.first(size.judged)
    gap = integrated_gradients.gap(model, few.k, few.y0)
    score = integrated_gradients.score_entry(model, few.k, entries[1])
    methods = explainers.judged_by_target(
        model, [gap, score], few, count=JUDGED_PLACES, samples=size.samples, seed=seed
    )

    handed, chance = attribution_directions(model, trained | layered, generator)
    by_name = {
        "gradients": gradients,
        "integrals": exact_sensitivity.integral_agreement(cases, ideal),
        "jacobians": jacobians,
        **tables.attribution_tables(explained, layered | sampled, sharpest.A),
        "methods": methods,
        "directions": DataFrame(directions.direction_columns(handed)).assign(chance=chance),
    }
    return AttributionStudy(
        tables=by_name,
        maps=tables.heatmaps(trained | sampled),
        ideal_maps=tables.heatmaps(ideal),
        directions=handed,
        k=sharpest.k,
    )


def attribution_directions(
    energy: Energy, cases: Mapping[Case, PathIntegrals], generator: torch.Generator
) -> tuple[list[Direction], list[float]]:
    """The directions that path-integrated gradients of the gap share over problems, by the state from random problems
    and by a layer from the answer; and the shares that chance would explain."""
    handed, chance = [], []
    for (target, baseline, k), paths in cases.items():
        if (target, baseline) == ("gap", "random"):
            space, gradients = STATE, energy.coordinates.project(paths.gradients[1].mean(0))
        elif baseline == "answer":
            space, gradients = target.removeprefix("gap by "), paths.gradients[0][0]
        else:
            continue
        vector, share = integrated_gradients.leading_direction(gradients)
        direction = Direction(
            name=f"attribution {space} k={k}",
            source="attribution",
            space=space,
            landscape=k,
            concept="",
            evidence=share,
            measure="share of squared norm",
            vector=vector.cpu(),
        )
        handed.append(direction.unit())
        basis = energy.coordinates.to_basis(gradients) if space == STATE else gradients
        chance.append(integrated_gradients.chance_share(basis, generator))
    return handed, chance
