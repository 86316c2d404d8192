"""What directions and dictionaries do in one network, on its own ground.

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
from ired.instruments.interventions.edits import Path, Place, added
from ired.instruments.interventions.effects import DOSE, contrast, specificity
from ired.instruments.interventions.pushes import RESOLUTION
from ired.instruments.interventions.responses import LEVEL
from ired.instruments.interventions.study import Bench, reading
from ired.instruments.interventions.verdicts import verdict
from ired.instruments.robustness.rediscovery import Ground
from ired.model.protocol import Energy


@dataclass(frozen=True)
class Effects:
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
    found: Sequence[Direction],
    ground: Ground,
    sampler: Sampler,
    draws: int,
    generator: torch.Generator,
    done: Callable[[int], None] = lambda count: None,
) -> Effects:
    """Each direction added at DOSE spreads up and down, beside `draws` isotropic random ones of equal
    norm, on the same runs; verdicts by the rule of `causality`, corrected over the directions."""
    path = Path.of(energy, sampler, ground.tried, ground.start)
    bench = Bench(energy, sampler, reading(energy), path, {}, draws)
    base, truth = (bench.properties(y[None]) for y in (path.answers, path.y0))
    spreads = {name: (base if name in OF_STATES else truth)[name].std() for name in base}
    plain = energy.coordinates.decode(path.answers)
    answers: dict[str, tuple[Tensor, Tensor]] = {}
    for place in dict.fromkeys(Place(one.space, one.landscape) for one in found):
        here = [one for one in found if Place(one.space, one.landscape) == place]
        pushes = []
        for one in here:
            own = axis_of(energy, one, path.y0)[None]
            random = isotropic_in(
                energy, one.space, count=draws, width=len(one.vector), generator=generator, like=path.y0
            )
            pushes.append(DOSE * spread_of(energy, one, ground) * torch.cat([own, random]))
        # All directions of a place at once, up and down: what is added is the row itself.
        V = torch.stack(pushes)  # (here, 1 + draws, width)
        pushed = added(energy, sampler, path, place, torch.cat([V, -V]).flatten(0, 1), 1.0)
        up, down = pushed.unflatten(0, (2, len(here), 1 + draws))
        answers |= dict(zip((one.name for one in here), zip(up, down, strict=True), strict=True))
        done(len(here))
    moved, carried, specific = [], {}, {}
    for one in found:
        sides = answers[one.name]
        away = [(energy.coordinates.decode(y) - plain).pow(2).mean((-2, -1)).sqrt() for y in sides]
        away = [array(torch.where(x < RESOLUTION, 0, x)) for x in away]
        moved.append((away[0] + away[1]) / 2)
        if one.concept:
            up, down = (bench.properties(y) for y in sides)
            still = (away[0] == 0) & (away[1] == 0)
            changes = {name: np.where(still, 0, up[name] - down[name]) / max(spreads[name], 1e-12) for name in CONCEPTS}
            carried[one.name] = changes[one.concept] / (2 * DOSE)
            # Where nothing moves nothing is specific, and there is nothing to resample.
            specific[one.name] = bool(changes[one.concept][0].any()) and (
                specificity(changes, one.concept)["specific_low"] > 0
            )
    names, every = tuple(one.name for one in found), np.stack(moved)
    with_concept = tuple(one.name for one in found if one.concept)
    grown = np.stack([carried[name] for name in with_concept])
    first = contrast(every[:, 0], every[:, 1:])
    second = contrast(grown[:, 0], grown[:, 1:], signed=True)
    sure = (second["p_adjusted"] < LEVEL) & (second["rank"] == 1)
    sure &= np.abs(second["difference"]) >= RESOLUTION
    way = dict(zip(with_concept, np.where(sure, np.sign(second["difference"]), 0), strict=True))
    verdicts = np.array(
        [
            verdict(
                one.concept,
                bool(beyond),
                way.get(one.name, 0) > 0,
                way.get(one.name, 0) < 0,
                specific.get(one.name, False),
            )
            for one, beyond in zip(found, first["beyond"], strict=True)
        ]
    )
    return Effects(
        names,
        every[:, 0],
        every[:, 1:],
        with_concept,
        grown[:, 0],
        grown[:, 1:],
        verdicts,
        first["beyond"].astype(float),
        np.array([way[name] for name in with_concept]),
    )


def axis_of(energy: Energy, one: Direction, like: Tensor) -> Tensor:
    """Its unit vector (width,), within the space that states live in."""
    v = one.unit().vector.to(like)
    v = energy.coordinates.project(v) if one.space == STATE else v
    return v / v.norm()


def spread_of(energy: Energy, one: Direction, ground: Ground) -> float:
    """The standard deviation along it over noised answers, within landscapes: the unit of doses."""
    K = energy.schedule.K
    landscapes = range(K) if one.landscape == EVERYWHERE else (one.landscape,)
    v, squares = axis_of(energy, one, ground.y0), []
    prepared = energy.prepare(ground.A)
    for k in landscapes:
        y = ground.states[k, :, 0]
        x = y if one.space == STATE else energy.activations(prepared, y, k)[one.space]
        squares.append((x @ v).var(correction=0))
    return torch.stack(squares).mean().sqrt().item()


def recovered(
    energy: Energy, dictionaries: Mapping[str, Dictionary], A: Tensor, generator: torch.Generator
) -> dict[tuple[str, str], NDArray]:
    """What each layer's dictionary leaves, by (layer, "gap" or "score"): (P,) values whose mean is the
    share of `recovery.Recovery`, linearised around it."""
    y0, found = states.answers(energy, A), {}
    for layer, one in dictionaries.items():
        at = recovery.situations(energy, A, y0, generator)
        seen = recovery.recovery(energy, layer, one.to(y0), A, at)
        for what in ("gap", "score"):
            error, floor = seen.per_problem(what)
            left = error.sum() / floor.sum()
            found[layer, what] = 1 - left - (error - left * floor) / floor.mean()
    return found
