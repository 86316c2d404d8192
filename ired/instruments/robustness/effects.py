"""Interventions along directions, and spliced dictionaries, in one network on its own ground: what do they do?

Interventions are P3-04's and P3-05's (`edits.added`, with its rule and verdicts), at one dose,
beside isotropic random directions of equal norm; dictionaries are put into the network as in Phase 2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ired.instruments.core import states
from ired.instruments.core.directions import CONCEPTS, EVERYWHERE, OF_STATES, STATE, Direction
from ired.instruments.core.random_directions import isotropic_in
from ired.instruments.core.sampler import Sampler
from ired.instruments.core.states import array
from ired.instruments.dictionaries import recovery
from ired.instruments.dictionaries.sparse_autoencoder import Dictionary
from ired.instruments.interventions.edits import Place, UndisturbedRuns, added
from ired.instruments.interventions.effects import DOSE, contrast, specificity
from ired.instruments.interventions.pushes import RESOLUTION
from ired.instruments.interventions.responses import LEVEL
from ired.instruments.interventions.study import InterventionBench, reading
from ired.instruments.interventions.verdicts import verdict
from ired.instruments.robustness.rediscovery import RediscoveryGround
from ired.model.protocol import Energy


@dataclass(frozen=True)
class DirectionEffects:
    """What D directions do in one network, on P problems, beside R random ones each.

    moved (D, P), moved_draws (D, R, P): root mean square change of the sampled inverse's entries;
    carried, carried_draws: of the D' directions with a concept (`concepts`) the growth of their
    property per dose, in its deviations; verdicts (D,); sure_moved (D,), sure_carried (D',): the sign,
    where this network for itself is sure of it by P3-05's rule, else 0.
    """

    names: tuple[str, ...]
    moved: NDArray
    moved_draws: NDArray
    concepts: tuple[str, ...]
    carried: NDArray
    carried_draws: NDArray
    verdicts: NDArray
    sure_moved: NDArray
    sure_carried: NDArray


@torch.no_grad()
def effects_of(
    energy: Energy,
    directions: Sequence[Direction],
    ground: RediscoveryGround,
    sampler: Sampler,
    draws: int,
    generator: torch.Generator,
    done: Callable[[int], None] = lambda count: None,
) -> DirectionEffects:
    """Each direction added at DOSE spreads up and down, beside `draws` isotropic random ones of equal
    norm, on the same runs; verdicts by the rule of `interventions.verdicts`, corrected over the directions."""
    path = UndisturbedRuns.of(energy, sampler, ground.tried, ground.start)
    bench = InterventionBench(energy=energy, sampler=sampler, read=reading(energy), path=path, runs={}, draws=draws)
    base, truth = (bench.properties(y[None]) for y in (path.answers, path.y0))
    spreads = {name: (base if name in OF_STATES else truth)[name].std() for name in base}
    plain = energy.coordinates.decode(path.answers)
    answers: dict[str, tuple[Tensor, Tensor]] = {}
    for place in dict.fromkeys(Place(direction.space, direction.landscape) for direction in directions):
        here = [direction for direction in directions if Place(direction.space, direction.landscape) == place]
        pushes = []
        for direction in here:
            axis = axis_of(energy, direction, path.y0)[None]
            random = isotropic_in(
                energy, direction.space, count=draws, width=len(direction.vector), generator=generator, like=path.y0
            )
            pushes.append(DOSE * spread_of(energy, direction, ground) * torch.cat([axis, random]))
        # All directions of a place at once, up and down: what is added is the row itself.
        V = torch.stack(pushes)  # (here, 1 + draws, width)
        pushed = added(energy, sampler, path, place, V=torch.cat([V, -V]).flatten(0, 1), amount=1.0)
        up, down = pushed.unflatten(0, (2, len(here), 1 + draws))
        answers |= dict(zip((direction.name for direction in here), zip(up, down, strict=True), strict=True))
        done(len(here))
    moved, carried, specific = [], {}, {}
    for direction in directions:
        sides = answers[direction.name]
        shifts = [(energy.coordinates.decode(y) - plain).pow(2).mean((-2, -1)).sqrt() for y in sides]
        shifts = [array(torch.where(x < RESOLUTION, 0, x)) for x in shifts]
        moved.append((shifts[0] + shifts[1]) / 2)
        if direction.concept:
            up, down = (bench.properties(y) for y in sides)
            still = (shifts[0] == 0) & (shifts[1] == 0)
            changes = {name: np.where(still, 0, up[name] - down[name]) / max(spreads[name], 1e-12) for name in CONCEPTS}
            carried[direction.name] = changes[direction.concept] / (2 * DOSE)
            # Where nothing moves nothing is specific, and there is nothing to resample.
            specific[direction.name] = bool(changes[direction.concept][0].any()) and (
                specificity(changes, direction.concept)["specific_low"] > 0
            )
    names, every = tuple(direction.name for direction in directions), np.stack(moved)
    with_concept = tuple(direction.name for direction in directions if direction.concept)
    grown = np.stack([carried[name] for name in with_concept])
    first = contrast(every[:, 0], every[:, 1:])
    second = contrast(grown[:, 0], grown[:, 1:], signed=True)
    sure = (second["p_adjusted"] < LEVEL) & (second["rank"] == 1)
    sure &= np.abs(second["difference"]) >= RESOLUTION
    way = dict(zip(with_concept, np.where(sure, np.sign(second["difference"]), 0), strict=True))
    verdicts = np.array(
        [
            verdict(
                direction.concept,
                beyond=bool(beyond),
                carries=way.get(direction.name, 0) > 0,
                backwards=way.get(direction.name, 0) < 0,
                specific=specific.get(direction.name, False),
            )
            for direction, beyond in zip(directions, first["beyond"], strict=True)
        ]
    )
    return DirectionEffects(
        names=names,
        moved=every[:, 0],
        moved_draws=every[:, 1:],
        concepts=with_concept,
        carried=grown[:, 0],
        carried_draws=grown[:, 1:],
        verdicts=verdicts,
        sure_moved=first["beyond"].astype(float),
        sure_carried=np.array([way[name] for name in with_concept]),
    )


def axis_of(energy: Energy, direction: Direction, like: Tensor) -> Tensor:
    """Its unit vector (width,), within the space that states live in."""
    v = direction.unit().vector.to(like)
    v = energy.coordinates.project(v) if direction.space == STATE else v
    return v / v.norm()


def spread_of(energy: Energy, direction: Direction, ground: RediscoveryGround) -> float:
    """The standard deviation along it over noised answers, within landscapes: the unit of doses."""
    K = energy.schedule.K
    landscapes = range(K) if direction.landscape == EVERYWHERE else (direction.landscape,)
    v, squares = axis_of(energy, direction, ground.y0), []
    prepared = energy.prepare(ground.A)
    for k in landscapes:
        y = ground.states[k, :, 0]
        x = y if direction.space == STATE else energy.activations(prepared, y, k)[direction.space]
        squares.append((x @ v).var(correction=0))
    return torch.stack(squares).mean().sqrt().item()


def recovered_shares(
    energy: Energy, dictionaries: Mapping[str, Dictionary], A: Tensor, generator: torch.Generator
) -> dict[tuple[str, str], NDArray]:
    """What each layer's dictionary leaves, by (layer, "gap" or "score"): (P,) values whose mean is the
    share of `recovery.Recovery`, linearised around it."""
    y0, by_layer = states.answers(energy, A), {}
    for layer, dictionary in dictionaries.items():
        at = recovery.situations(energy, A, y0, generator)
        spliced = recovery.recovery(energy, layer, dictionary.to(y0), A=A, at=at)
        for what in ("gap", "score"):
            error, floor = spliced.per_problem(what)
            left = error.sum() / floor.sum()
            by_layer[layer, what] = 1 - left - (error - left * floor) / floor.mean()
    return by_layer
