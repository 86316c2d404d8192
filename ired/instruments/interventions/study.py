"""Interventions and causal mediation step by step (P3-04, P3-05): directions are pushed, then examined.

What a bowl around a prediction must show (`PredictorEnergy`): a state that is moved on entering a landscape comes
back by the same linear map for all problems, so that what is left of a push says how steep the bowl is along it and
nothing of what the direction means. Layers it has none, and a regression network's see no state and would need
directions of their own: of what is edited in layers there is no control but random directions of the same layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pandas import DataFrame, concat
from torch import Tensor

from ired.instruments.core import directions as core_directions, random_directions, states as points
from ired.instruments.core.directions import OF_STATES, STATE, Direction
from ired.instruments.core.sampler import Sampler
from ired.instruments.interventions import counterfactuals, effects, manifold, pushes, responses, verdicts
from ired.instruments.interventions.answer_properties import answer_properties
from ired.instruments.interventions.counterfactuals import CounterfactualPairs
from ired.instruments.interventions.edits import Place, Twins, UndisturbedRuns, ablated, added
from ired.instruments.interventions.effects import DOSE, following, specificity
from ired.instruments.interventions.manifold import Nature
from ired.instruments.interventions.mediation import mediated, mediation
from ired.instruments.interventions.pushes import PushScene
from ired.model.protocol import Energy

Read = Callable[[Tensor, Tensor], Mapping[str, Tensor]]
"""read(answers (B, d), y0 (B, d)): the property (B,) that each concept is about, of sampled answers."""


def push_tables(
    energy: Energy,
    directions: Sequence[Direction],
    scene: PushScene,
    background: Nature,
    sampler: Sampler,
    doses: Sequence[float],
    draws: Mapping[str, int],
    generator: torch.Generator,
    done: Callable[[], Any] = lambda: None,
) -> dict[str, DataFrame]:
    """Tables of what pushes along directions do: "responses" (see `pushes.respond`), "directions" with their spreads,
    "summary", "movement" and "steering" (see `responses`). done() is called after each direction."""
    table, spreads = pushes.respond(
        energy,
        directions,
        scene,
        background,
        sampler=sampler,
        doses=doses,
        draws=draws,
        generator=generator,
        done=lambda count: done(),
    )
    return {
        "responses": table,
        "directions": DataFrame(core_directions.direction_columns(directions) | {"spread": spreads}),
        "summary": responses.summarised(table),
        "movement": responses.movement(table),
        "steering": responses.steering(table),
    }


def state_pushes(
    energies: Mapping[str, Energy],
    directions: Sequence[Direction],
    A: Tensor,
    others: Tensor,
    sampler: Sampler,
    doses: Sequence[float],
    random: int,
    stream: Callable[[], torch.Generator],
) -> DataFrame:
    """Pushes of the state along those of directions that are the state's, on every energy at problems A (P, n, n).

    others (N, n, n): problems that doses' spreads are from; random: isotropic random directions beside each; stream:
    the same random numbers for each energy. Rows of energy, direction, problem: `moved`, the root mean square change of
    the sampled inverse's entries at the largest doses; `random`, the same of the random directions, the mean; `beyond`,
    the difference.
    """
    of_states, tables = [direction for direction in directions if direction.space == STATE], []
    strongest = [dose for dose in doses if abs(dose) == max(map(abs, doses))]
    draws = {"random": random, "covariance": 1, "orthogonal": 1}
    for name, energy in energies.items():
        generator = stream()
        background = manifold.nature(energy, others, generator)
        scene = pushes.push_scene(energy, A, sampler, generator)
        table, _ = pushes.respond(
            energy, of_states, scene, background, sampler=sampler, doses=strongest, draws=draws, generator=generator
        )
        tables.append(responses.moved_beyond_random(table).assign(energy=name))
    return concat(tables, ignore_index=True)


def reading(energy: Energy) -> Read:
    """The properties of `answer_properties.answer_properties`, read off states."""
    decode = energy.coordinates.decode
    return lambda answers, y0: answer_properties(decode(answers), decode(y0))


@dataclass(frozen=True)
class InterventionBench:
    """What directions are tried on: an energy with its way of sampling and a reader of answers,
    undisturbed runs of P problems, pairs of runs by concept (`CounterfactualPairs.base` and `.changed`), and how many
    random directions of each kind stand beside each (2 at least)."""

    energy: Energy
    sampler: Sampler
    read: Read
    path: UndisturbedRuns
    runs: Mapping[str, tuple[UndisturbedRuns, UndisturbedRuns]]
    draws: int

    @classmethod
    def of(
        cls,
        energy: Energy,
        sampler: Sampler,
        A: Tensor,
        pairs: Mapping[str, CounterfactualPairs],
        draws: int,
        generator: torch.Generator,
    ) -> InterventionBench:
        """For problems A (P, n, n) and pairs of problems by concept; the runs of all begin with the same noise."""
        most = max(len(A), *(len(made.base) for made in pairs.values()))
        start = points.noise(energy, most, generator=generator, like=A)

        def run(problems: Tensor) -> UndisturbedRuns:
            return UndisturbedRuns.of(energy, sampler, problems.to(A), start[: len(problems)])

        runs = {concept: (run(made.base), run(made.changed)) for concept, made in pairs.items()}
        return cls(energy=energy, sampler=sampler, read=reading(energy), path=run(A), runs=runs, draws=draws)

    def properties(self, answers: Tensor) -> dict[str, NDArray]:
        """Of answers (m, P, d): (m, P) by concept."""
        read = self.read(answers.flatten(0, 1), self.path.y0.repeat(len(answers), 1))
        return {name: points.array(v).reshape(answers.shape[:2]) for name, v in read.items()}

    def twins(self, concept: str, first: int, generator: torch.Generator) -> Twins:
        """Pairs that differ in a concept, entered in landscape `first`."""
        if concept in OF_STATES:
            less, more = counterfactuals.state_pairs(
                self.energy, self.path.y0, landscape=first, concept=concept, generator=generator
            )
            return Twins.states(self.path, less, more, first)
        return Twins.problems(*self.runs[concept], first)


def random_controls(bench: InterventionBench, place: Place, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Random unit vectors of a place, (draws, width) each: isotropic ones, and ones of the covariance
    over problems of what is there when its landscape begins."""
    energy, path, first = bench.energy, bench.path, place.first(bench.energy.schedule.K)
    here = path.states[first]
    if place.space != STATE:
        here = energy.activations(energy.prepare(path.A), here, first)[place.space]
    isotropic = random_directions.isotropic_in(
        energy, place.space, count=bench.draws, width=here.shape[-1], generator=generator, like=here
    )
    normals = random_directions.normal(bench.draws, len(here), generator=generator, like=here)
    return isotropic, random_directions.mixtures(normals, here)


@torch.no_grad()
def examine_direction(
    bench: InterventionBench, direction: Direction, spread: float, generator: torch.Generator
) -> dict[str, Any]:
    """Necessity, specificity and mediation of one direction with a concept: a row of numbers. `spread`
    is the direction's natural one, the unit of doses."""
    place = Place(direction.space, direction.landscape)
    twins = bench.twins(direction.concept, place.first(bench.energy.schedule.K), generator)
    isotropic, mixed = random_controls(bench, place, generator)
    studied = direction.unit().vector.to(isotropic)[None]
    if place.space == STATE:
        studied = torch.nn.functional.normalize(bench.energy.coordinates.project(studied), dim=1)
    V, concept = torch.cat([studied, isotropic]), direction.concept
    run = (bench.energy, bench.sampler)
    base = bench.properties(bench.path.answers[None])
    truth = bench.properties(bench.path.y0[None])
    # The error of a true answer is 0, its logarithm a matter of rounding: nothing to spread or follow.
    spreads = {name: (base if name in OF_STATES else truth)[name].std() for name in base}
    true = np.zeros_like(truth[concept][0]) if concept in OF_STATES else truth[concept][0]
    up, down = (bench.properties(added(*run, bench.path, place, V=V, amount=way * DOSE * spread)) for way in (1, -1))
    changes = {name: (up[name] - down[name]) / max(spreads[name], 1e-12) for name in base}
    without = bench.properties(ablated(*run, bench.path, place, V))[concept]
    shares = mediation(
        *run, lambda y, y0: bench.read(y, y0)[concept], twins=twins, place=place, V=torch.cat([V, mixed])
    )
    random, covariance = slice(1, len(V)), slice(len(V), None)
    return {
        "direction": direction.name,
        **specificity(changes, concept),
        **following(true, base[concept][0], without),
        **mediated(shares, random, covariance),
    }


def verdict_table(known: DataFrame, pushed: DataFrame, examined: Sequence[Mapping[str, Any]]) -> DataFrame:
    """`verdicts.direction_verdicts` on directions, a row each: all that are known (table "directions" of `push_tables`)
    by what followed pushes along them (its table "responses"), and those with a concept by what `examine_direction`
    said of them."""
    every = list(known["name"])
    named = list(known.loc[known["concept"] != "", "name"])
    return verdicts.direction_verdicts(
        known,
        moved=effects.effects(pushed, every, "moved"),
        carried=effects.effects(pushed, named, "carried"),
        error=effects.effects(pushed, every, "mse"),
        examined=DataFrame(examined),
    )
