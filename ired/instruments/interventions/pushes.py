"""Activation steering, ablation and patching: what follows along a direction, and what follows along any other.

A direction v of a space (the states themselves, or a layer's activations) is pushed in three ways:

add:    x + t·s·v, s being the direction's natural spread: the standard deviation of x·v over noised
        answers of its landscape (of all landscapes, each around its own mean, for one that holds
        EVERYWHERE);
ablate: the component x·v replaced by its mean over these answers;
patch:  the component replaced by the one that another problem has in the same state, at every
        evaluation; of a state, by that of another problem's path.

An edited layer is an energy of its own, whose gradient is followed: where a component is ablated,
none runs through it any more; a problem patched with itself is undisturbed.

A control undergoes the same displacements along another direction, row by row of equal norm: an
isotropic random one; one drawn from the covariance of what naturally lies there, which is harder to
beat, since it moves where the network is used to being moved; one orthogonal to all directions that
were found in that space. (Zhang & Nanda 2024 on the pitfalls of patching; Makelov et al. 2024 on
directions whose effect comes from leaving the manifold.)

Energy, score and the distance from the manifold are those at a noised answer; a state is moved, or
a layer edited, where the unedited path enters the landscape, and sampling goes on from there.
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

from ired.instruments.core import random_directions, states
from ired.instruments.core.directions import EVERYWHERE, STATE, Direction, of_feature
from ired.instruments.core.patching import Spliced
from ired.instruments.core.sampler import Sampler
from ired.instruments.core.states import array
from ired.instruments.core.trajectories import record
from ired.instruments.dictionaries import features
from ired.instruments.dictionaries.sparse_autoencoder import Dictionary
from ired.instruments.interventions import manifold
from ired.instruments.interventions.answer_properties import answer_properties, answer_property
from ired.instruments.interventions.manifold import Cloud, Nature
from ired.model.protocol import Energy

CONTROLS = ("own", "random", "covariance", "orthogonal")
MEASURES = ("energy", "score", "cosine", "moved", "mse", "residual", "carried", "off_manifold", "quantile")
KEYS = ("direction", "control", "draw", "edit", "dose", "problem")
# Sampled inverses whose entries differ by less than this, root mean square, are the same: samplers
# round to float32.
RESOLUTION = 1e-7


# Where pushes begin


@dataclass(frozen=True)
class PushScene:
    """Problems A (P, n, n) with answers y0 (P, d) on which directions are tried.

    noised (K, P, d): a noised answer of each in every landscape; entering (K, P, d): the states with
    which the unedited sample enters them, entering[K−1] its start noise; donor (P,): the problem
    whose component a patch brings in.
    """

    A: Tensor
    y0: Tensor
    noised: Tensor
    entering: Tensor
    donor: Tensor


@torch.no_grad()
def push_scene(energy: Energy, A: Tensor, sampler: Sampler, generator: torch.Generator) -> PushScene:
    """Problems A (P, n, n) with P ≥ 2, each the donor of the one before it."""
    y0, K = states.answers(energy, A), energy.schedule.K
    noised = states.at_noise(energy, y0, range(K), generator)
    start = states.noise(energy, len(A), generator=generator, like=A)
    donor = torch.arange(1, len(A) + 1, device=A.device) % len(A)
    return PushScene(A=A, y0=y0, noised=noised, entering=entering(energy, A, sampler, start), donor=donor)


def entering(energy: Energy, A: Tensor, sampler: Sampler, start: Tensor) -> Tensor:
    """The states (K, P, d) with which a sample from start (P, d) enters each landscape."""
    left = record(sampler, energy, A, start).leaving()
    root = energy.schedule.sqrt_alpha_bar.tolist()
    into = [left[k + 1] / root[k + 1] * root[k] for k in range(energy.schedule.K - 1)]
    return torch.stack([*into, start])


# What is pushed along, and how far


def axis(energy: Energy, direction: Direction, like: Tensor) -> Tensor:
    """The direction's unit vector (width,) in the coordinates of its space. Raises ValueError where it
    has none, or where states would have to be moved in every landscape."""
    if direction.space == STATE and direction.landscape == EVERYWHERE:
        raise ValueError(f"direction '{direction.name}' of states names no landscape to move them in")
    v = direction.unit().vector.to(like)
    v = energy.coordinates.to_basis(v) if direction.space == STATE else v
    if not v.norm() > 1e-6:
        raise ValueError(f"direction '{direction.name}' does not lie in the space that states live in")
    return v / v.norm()


def strongest_features(
    energy: Energy, layer: str, dictionary: Dictionary, background: Nature, count: int
) -> list[Direction]:
    """The `count` features with the largest mean |gradient × activation| on energy gaps (in σ_k), one
    noised answer of each problem, landscapes in turn."""
    N, K = len(background.A), energy.schedule.K
    problem = torch.arange(N, device=background.A.device)
    k, y0 = problem % K, states.answers(energy, background.A)
    y = background.noised[k, problem]
    home = energy.schedule.at("sqrt_alpha_bar", k, y) * y0
    places = features.Places(A=background.A, y=y, reference=home, k=k, problem=problem)
    size = features.attribute_features(energy, layer, dictionary, places).size
    ranked = [i for i in np.argsort(-size, kind="stable")[:count].tolist() if size[i] > 0]
    words = "mean |gradient × activation|, σ"
    return [
        of_feature(layer, i, evidence=float(size[i]), measure=words, vector=dictionary.decoder[i].double())
        for i in ranked
    ]


def control_directions(
    studied: Tensor, others: Sequence[Tensor], cloud: Cloud, draws: Mapping[str, int], generator: torch.Generator
) -> dict[str, Tensor]:
    """Unit vectors (draws, width) by name of control. Orthogonal ones are so to the first
    of `others`, sets (m, width) of directions found, that leaves a direction over."""
    width, covariance = len(studied), cloud.covariance.cpu()
    span = next(Q for Q in map(_span, (*others, studied[None])) if len(Q) < width).cpu().double()
    drawn = {
        "random": random_directions.isotropic(draws["random"], width, generator),
        "covariance": random_directions.covariance_matched(covariance, draws["covariance"], generator, torch.float64),
        "orthogonal": random_directions.without(
            random_directions.normal(draws["orthogonal"], width, generator=generator), span
        ),
    }
    return {"own": studied[None]} | {name: v.to(studied) for name, v in drawn.items()}


def _span(vectors: Tensor) -> Tensor:
    """Orthonormal rows (rank, width) with the span of vectors (m, width)."""
    _, values, rows = torch.linalg.svd(vectors, full_matrices=False)
    return rows[: int((values > 1e-6 * values.max()).sum())]


@dataclass(frozen=True)
class Condition:
    """One way of pushing: along a unit vector (width,)."""

    control: str
    draw: int
    edit: str
    dose: float
    along: Tensor


def conditions(vectors: Mapping[str, Tensor], doses: Sequence[float]) -> list[Condition]:
    """All of them: first the one that changes nothing, added at dose 0; last all patches."""
    every = [(name, draw, v) for name, several in vectors.items() for draw, v in enumerate(several)]
    ways = [*(("add", float(t)) for t in doses if t), ("ablate", 0.0), ("patch", 0.0)]
    return [Condition(control="own", draw=0, edit="add", dose=0.0, along=vectors["own"][0])] + [
        Condition(name, draw, *way, along) for way in ways for name, draw, along in every
    ]


@dataclass(frozen=True)
class Push:
    """Displacements of R rows along (R, width), in the landscapes of a cloud.

    Each by shift (R,), and where `ablated` (R,) is 1 by what the component along `read` (width,) lacks
    to reach its mean; the last rows, `patched` in number, by what it lacks to reach a given one.
    """

    cloud: Cloud
    read: Tensor
    along: Tensor
    shift: Tensor
    ablated: Tensor
    patched: int

    @classmethod
    def of(cls, cloud: Cloud, read: Tensor, ways: Sequence[Condition], problems: int) -> Push:
        """Every way for each of so many problems, ways slowest."""
        rows = [[way.dose * cloud.spread(read), float(way.edit == "ablate")] for way in ways]
        along = torch.stack([way.along for way in ways]).repeat_interleave(problems, 0)
        numbers = torch.tensor(rows, dtype=read.dtype, device=read.device)
        shift, ablated = numbers.repeat_interleave(problems, 0).T
        patched = sum(way.edit == "patch" for way in ways) * problems
        return cls(cloud=cloud, read=read, along=along, shift=shift, ablated=ablated, patched=patched)

    def __call__(self, x: Tensor, k: int | Tensor, given: Tensor) -> Tensor:
        """x (R, width) displaced, in landscape k; given (patched, width): where patches come from."""
        along, mean = component(x, self.read), component(self.cloud.mean[self.cloud.place(k)], self.read)
        amount = self.shift + self.ablated * (mean - along)
        lacking = component(given, self.read) - along[len(x) - self.patched :]
        amount = torch.cat([amount[: len(x) - self.patched], lacking])
        return x + amount[:, None] * self.along


def component(x: Tensor, v: Tensor) -> Tensor:
    """x·v (...), by a sum that does not depend on how many rows there are."""
    return (x * v).sum(-1)


class Pushed(Spliced):
    """An energy whose activations of a layer are displaced, row by row of the batch, in all landscapes
    or in one; donors (patched, n, n): the problems that the last rows are patched from."""

    def __init__(self, energy: Energy, layer: str, push: Push, donors: Any, landscape: int | None = None):
        super().__init__(energy, layer, lambda h: h, landscape)
        self.push, self.donors = push, energy.prepare(donors)

    def replaced(self, h: Tensor, y: Tensor, k: int | Tensor) -> Tensor:
        last = slice(len(y) - self.push.patched, None)
        of = k if isinstance(k, int) else k[last]
        return self.push(h, k, self.inner.activations(self.donors, y[last], of)[self.layer])


# What follows


def respond(
    energy: Energy,
    directions: Sequence[Direction],
    at: PushScene,
    background: Nature,
    sampler: Sampler,
    doses: Sequence[float],
    draws: Mapping[str, int],
    generator: torch.Generator,
    rows: int = 8192,
    done: Callable[[int], None] = lambda count: None,
) -> tuple[DataFrame, NDArray]:
    """What every push does, and each direction's spread (D,).

    doses in spreads; draws: how many controls, {"random", "covariance", "orthogonal"}; about `rows`
    rows are pushed at once; done(i) is called after i directions. Columns: KEYS; energy: change of
    the gap E(y) − E(√ᾱ_k y₀) in standard deviations of that landscape's gaps; score: ‖Δ∇E‖²/‖∇E‖²,
    cosine: of the two; moved: root mean square change of the sampled inverse's entries (0 below
    RESOLUTION); mse and residual ‖AŶ − I‖_F/√n of the sampled inverse; carried: the direction's concept
    as `answer_properties` reads it (NaN without one); off_manifold: Mahalanobis distance relative to the
    unedited one, quantile: its place among natural ones; and all of CONCEPTS. Changes are relative
    to the dose of 0 in the same batch. EVERYWHERE, energy and score are those of one landscape a
    problem, in turn. Raises ValueError where A is not float64.
    """
    states.demand_double(at.A, "pushes along directions")
    axes = [axis(energy, direction, at.A) for direction in directions]
    clouds, tables, spreads = {}, [], []
    for i, (direction, v) in enumerate(zip(directions, axes, strict=True)):
        home = direction.space, direction.landscape
        if home not in clouds:
            clouds[home] = manifold.cloud(energy, *home, background)
        here = [u for d, u in zip(directions, axes, strict=True) if (d.space, d.landscape) == home]
        there = [u for d, u in zip(directions, axes, strict=True) if d.space == direction.space]
        others = (torch.stack(there), torch.stack(here))
        ways = conditions(control_directions(v, others, clouds[home], draws, generator), doses)
        size = max(1, rows // len(ways))
        for chunk in torch.arange(len(at.A), device=at.A.device).split(size):
            numbers = _measured(
                energy, direction, v, ways, at, cloud=clouds[home], gaps=background.gap, sampler=sampler, rows=chunk
            )
            tables.append(_keyed(direction.name, ways, array(chunk)).assign(**numbers))
        spreads.append(clouds[home].spread(v))
        done(i + 1)
    return concat(tables, ignore_index=True), np.array(spreads)


def _keyed(name: str, ways: Sequence[Condition], problems: NDArray) -> DataFrame:
    keys = ("control", "draw", "edit", "dose")
    columns = {key: np.repeat([getattr(way, key) for way in ways], len(problems)) for key in keys}
    return DataFrame({"direction": name} | columns | {"problem": np.tile(problems, len(ways))})


@torch.no_grad()
def _measured(
    energy: Energy,
    direction: Direction,
    v: Tensor,
    ways: Sequence[Condition],
    at: PushScene,
    cloud: Cloud,
    gaps: Tensor,
    sampler: Sampler,
    rows: Tensor,
) -> dict[str, NDArray]:
    """Columns without keys, of the scene's problems in rows (P,), ways slowest."""
    C, space, K = len(ways), direction.space, energy.schedule.K
    fixed = None if direction.landscape == EVERYWHERE else direction.landscape
    A, y0, p = at.A[rows].repeat(C, 1, 1), at.y0[rows].repeat(C, 1), rows.repeat(C)
    moving = Push.of(cloud, v, ways, len(rows))
    donor = at.donor[p[len(p) - moving.patched :]]

    def moved(states: Tensor, k: int) -> Tensor:
        to, back = energy.coordinates.to_basis, energy.coordinates.from_basis
        return back(moving(to(states[k, p]), k, to(states[k, donor])))

    first, k = (K - 1, p % K) if fixed is None else (fixed, fixed)
    y, start, prepared = at.noised[k, p], at.entering[first, p], energy.prepare(A)
    if space == STATE:
        edited, y, start = energy, moved(at.noised, k), moved(at.entering, k)
        x = energy.coordinates.to_basis(y)
    else:
        edited = Pushed(energy=energy, layer=space, push=moving, donors=at.A[donor], landscape=fixed)
        x = edited.replaced(energy.activations(prepared, y, k)[space], y, k)
    E, score = edited.energy_and_gradient(prepared, y, k)
    home = energy.schedule.at("sqrt_alpha_bar", k, y) * y0
    gap = (E - edited.energy(prepared, home, k)) / gaps[k]
    distance, unedited = cloud.distance(x, k), score[: len(rows)].repeat(C, 1)
    size = unedited.pow(2).sum(1).clamp_min(torch.finfo(score.dtype).tiny)

    sampled = sampler(edited, prepared, start, first=first)
    Y, truth = energy.coordinates.decode(sampled), energy.coordinates.decode(y0)
    eye = torch.eye(A.shape[-1]).to(A)
    plain = Y[: len(rows)].repeat(C, 1, 1)
    moved_by = (Y - plain).pow(2).mean((1, 2)).sqrt()
    same = moved_by < RESOLUTION
    Y = torch.where(same[:, None, None], plain, Y)
    read = answer_properties(Y, truth)
    columns = {
        "energy": gap - gap[: len(rows)].repeat(C),
        "score": (score - unedited).pow(2).sum(1) / size,
        "cosine": torch.nn.functional.cosine_similarity(score, unedited, dim=1),
        "moved": moved_by.masked_fill(same, 0),
        "mse": (Y - truth).pow(2).mean((1, 2)),
        "residual": (A @ Y - eye).pow(2).sum((1, 2)).sqrt() / len(eye) ** 0.5,
        "carried": read[direction.concept] if direction.concept else answer_property(Y, truth, ""),
        "off_manifold": distance / distance[: len(rows)].repeat(C),
        "quantile": cloud.quantile(distance),
    }
    return {name: array(value) for name, value in (columns | read).items()}
