"""What follows when a network is pushed along a direction, and what follows along any other.

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
from numpy.typing import ArrayLike, NDArray
from pandas import DataFrame, concat
from scipy import special
from torch import Tensor

from ired.instruments.core import random_directions, states
from ired.instruments.core.directions import CONCEPTS, EVERYWHERE, STATE, Direction
from ired.instruments.core.energy_gap import above
from ired.instruments.core.patching import Spliced
from ired.instruments.core.sampler import Sampler
from ired.instruments.core.states import array
from ired.instruments.core.trajectories import record
from ired.instruments.dictionaries import features
from ired.instruments.dictionaries.dictionary import Dictionary
from ired.instruments.statistics.intervals import adjust, paired_interval
from ired.model.protocol import Energy

CONTROLS = ("own", "random", "covariance", "orthogonal")
MEASURES = (
    "energy", "score", "cosine", "moved", "mse", "residual", "carried", "off_manifold", "quantile",
)  # fmt: skip
LEVEL = 0.05
KEYS = ("direction", "control", "draw", "edit", "dose", "problem")
FLOOR = 1e-3  # of a sampled inverse's largest eigenvalue: what A's largest may be read from
# Sampled inverses whose entries differ by less than this, root mean square, are the same: samplers
# round to float32.
RESOLUTION = 1e-7


# What an answer carries


def properties(Y: Tensor, answers: Tensor) -> dict[str, Tensor]:
    """The concepts as they are read off sampled inverses Y (..., n, n), each (...), growing with the
    concept; answers (..., n, n) are the true ones.

    Of Y symmetrised, with eigenvalues μ of at least FLOOR times the largest size, the implied A has
    1/μ: ill_conditioned log(μ_max/μ_min); large_norm log ‖A‖_F; near_singular log μ_max;
    dominant_diagonal the share of ‖A‖²_F on the diagonal; noisy_answer log10 of the mean squared
    error per entry, of Y as it is; correct_answer its negative.
    """
    mu, Q = torch.linalg.eigh((Y + Y.mT) / 2)
    largest = mu.abs().amax(-1, keepdim=True).clamp_min(1e-12)
    mu = torch.maximum(mu, FLOOR * largest)
    squared = mu.pow(-2).sum(-1)
    diagonal = (Q.pow(2) / mu[..., None, :]).sum(-1)
    error = (Y - answers).pow(2).mean((-2, -1)).clamp_min(torch.finfo(Y.dtype).tiny).log10()
    values = (
        (mu[..., -1] / mu[..., 0]).log(), squared.log() / 2, mu[..., -1].log(),
        diagonal.pow(2).sum(-1) / squared, error, -error,
    )  # fmt: skip
    return dict(zip(CONCEPTS, values, strict=True))


def carried(Y: Tensor, answers: Tensor, concept: str) -> Tensor:
    """One of `properties`; NaN for no concept. Raises ValueError for an unknown one."""
    if not concept:
        return torch.full(Y.shape[:-2], float("nan"), dtype=Y.dtype, device=Y.device)
    if concept not in CONCEPTS:
        raise ValueError(f"unknown concept '{concept}': {', '.join(CONCEPTS)}")
    return properties(Y, answers)[concept]


# Where things lie


@dataclass(frozen=True)
class Nature:
    """Noised answers (K, N, d) of N problems A (N, n, n), as a background for others, and the
    standard deviation (K,) of their energy gaps E(y) − E(√ᾱ_k y₀)."""

    A: Tensor
    noised: Tensor
    gap: Tensor


@torch.no_grad()
def nature(energy: Energy, A: Tensor, generator: torch.Generator) -> Nature:
    y0, K = states.answers(energy, A), range(energy.schedule.K)
    noised, prepared = states.at_noise(energy, y0, K, generator), energy.prepare(A)
    home = states.at_answers(energy, y0, K)
    gaps = [above(energy, prepared, noised[k], home[k], k) for k in K]
    return Nature(A, noised, torch.stack(gaps).std(1))


@dataclass(frozen=True)
class Scene:
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
def scene(energy: Energy, A: Tensor, sampler: Sampler, generator: torch.Generator) -> Scene:
    """Problems A (P, n, n) with P ≥ 2, each the donor of the one before it."""
    y0, K = states.answers(energy, A), energy.schedule.K
    noised = states.at_noise(energy, y0, range(K), generator)
    start = states.noise(energy, len(A), generator=generator, like=A)
    donor = torch.arange(1, len(A) + 1, device=A.device) % len(A)
    return Scene(A, y0, noised, entering(energy, A, sampler, start), donor)


def entering(energy: Energy, A: Tensor, sampler: Sampler, start: Tensor) -> Tensor:
    """The states (K, P, d) with which a sample from start (P, d) enters each landscape."""
    left = record(sampler, energy, A, start).leaving()
    root = energy.schedule.sqrt_alpha_bar.tolist()
    into = [left[k + 1] / root[k + 1] * root[k] for k in range(energy.schedule.K - 1)]
    return torch.stack([*into, start])


def located(energy: Energy, space: str, A: Any, y: Tensor, k: int | Tensor) -> Tensor:
    """Where states y (B, d) lie in a space, (B, width): its coordinates in which lengths are those of
    states, or a layer's activations."""
    if space == STATE:
        return energy.coordinates.to_basis(y)
    return energy.activations(A, y, k)[space]


@dataclass(frozen=True)
class Cloud:
    """How noised answers lie in a space, in L landscapes.

    mean (L, width); covariance (width, width) within landscapes; factor (width, width): Cholesky
    factor of the inverse of that covariance, shrunk as Ledoit & Wolf (2004) do; natural (H,): sorted
    Mahalanobis distances of held-out answers.
    """

    landscapes: tuple[int, ...]
    mean: Tensor
    covariance: Tensor
    factor: Tensor
    natural: Tensor

    def spread(self, v: Tensor) -> float:
        """Standard deviation along v (width,), within landscapes."""
        return (v @ self.covariance @ v).clamp_min(0).sqrt().item()

    def place(self, k: int | Tensor) -> int | Tensor:
        """Which of the L landscapes k is."""
        return k if len(self.landscapes) > 1 else 0

    def distance(self, x: Tensor, k: int | Tensor) -> Tensor:
        """Mahalanobis distance (B,) of x (B, width) from the mean of landscape k."""
        return ((x - self.mean[self.place(k)]) @ self.factor).norm(dim=-1)

    def quantile(self, distance: Tensor) -> Tensor:
        """The share of held-out answers that lie nearer."""
        return torch.searchsorted(self.natural, distance.contiguous()) / len(self.natural)


@torch.no_grad()
def cloud(energy: Energy, space: str, landscape: int, seen: Nature) -> Cloud:
    """Three quarters of the problems make the covariance, the others the distances."""
    from sklearn.covariance import ledoit_wolf  # a second to import

    landscapes = tuple(range(energy.schedule.K)) if landscape == EVERYWHERE else (landscape,)
    prepared = energy.prepare(seen.A)
    x = torch.stack([located(energy, space, prepared, seen.noised[k], k) for k in landscapes])
    fit = 3 * x.shape[1] // 4
    mean = x[:, :fit].mean(1)
    away = (x - mean[:, None]).double()
    within = away[:, :fit].flatten(0, 1)
    shrunk = torch.from_numpy(ledoit_wolf(array(within), assume_centered=True)[0]).to(x)
    factor = torch.linalg.cholesky(torch.linalg.inv(shrunk))
    natural = (away[:, fit:].to(x) @ factor).norm(dim=-1).flatten().sort().values
    return Cloud(landscapes, mean, (within.mT @ within / len(within)).to(x), factor, natural)


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
    energy: Energy, layer: str, dictionary: Dictionary, seen: Nature, count: int
) -> list[Direction]:
    """The `count` features with the largest mean |gradient × activation| on energy gaps (in σ_k), one
    noised answer of each problem, landscapes in turn."""
    N, K = len(seen.A), energy.schedule.K
    problem = torch.arange(N, device=seen.A.device)
    k, y0 = problem % K, states.answers(energy, seen.A)
    y = seen.noised[k, problem]
    home = energy.schedule.at("sqrt_alpha_bar", k, y) * y0
    places = features.Places(seen.A, y, home, k, problem)
    size = features.attribute(energy, layer, dictionary, places).size
    ranked = [i for i in np.argsort(-size, kind="stable")[:count].tolist() if size[i] > 0]
    words = "mean |gradient × activation|, σ"
    return [
        Direction(f"feature {layer} #{i}", "feature", layer, EVERYWHERE, "", float(size[i]), words,
                  dictionary.decoder[i].double()).unit()
        for i in ranked
    ]  # fmt: skip


def controls(
    own: Tensor, others: Sequence[Tensor], seen: Cloud, draws: Mapping[str, int],
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Unit vectors (draws, width) by name of control. Orthogonal ones are so to the first
    of `others`, sets (m, width) of directions found, that leaves a direction over."""  # fmt: skip
    width, covariance = len(own), seen.covariance.cpu()
    span = next(Q for Q in map(_span, (*others, own[None])) if len(Q) < width).cpu().double()
    drawn = {
        "random": random_directions.isotropic(draws["random"], width, generator),
        "covariance": random_directions.covariance_matched(
            covariance, draws["covariance"], generator, torch.float64
        ),
        "orthogonal": random_directions.without(
            random_directions.normal(draws["orthogonal"], width, generator=generator), span
        ),
    }
    return {"own": own[None]} | {name: v.to(own) for name, v in drawn.items()}


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
    return [Condition("own", 0, "add", 0.0, vectors["own"][0])] + [
        Condition(name, draw, *way, along) for way in ways for name, draw, along in every
    ]


@dataclass(frozen=True)
class Push:
    """Displacements of R rows along (R, width), in the landscapes of a cloud.

    Each by shift (R,), and where `ablated` (R,) is 1 by what the component along `read` (width,) lacks
    to reach its mean; the last rows, `patched` in number, by what it lacks to reach a given one.
    """

    seen: Cloud
    read: Tensor
    along: Tensor
    shift: Tensor
    ablated: Tensor
    patched: int

    @classmethod
    def of(cls, seen: Cloud, read: Tensor, ways: Sequence[Condition], problems: int) -> Push:
        """Every way for each of so many problems, ways slowest."""
        rows = [[way.dose * seen.spread(read), float(way.edit == "ablate")] for way in ways]
        along = torch.stack([way.along for way in ways]).repeat_interleave(problems, 0)
        numbers = torch.tensor(rows, dtype=read.dtype, device=read.device)
        patched = sum(way.edit == "patch" for way in ways) * problems
        return cls(seen, read, along, *numbers.repeat_interleave(problems, 0).T, patched)

    def __call__(self, x: Tensor, k: int | Tensor, given: Tensor) -> Tensor:
        """x (R, width) displaced, in landscape k; given (patched, width): where patches come from."""
        own, mean = component(x, self.read), component(self.seen.mean[self.seen.place(k)], self.read)
        amount = self.shift + self.ablated * (mean - own)
        lacking = component(given, self.read) - own[len(x) - self.patched :]
        amount = torch.cat([amount[: len(x) - self.patched], lacking])
        return x + amount[:, None] * self.along


def component(x: Tensor, v: Tensor) -> Tensor:
    """x·v (...), by a sum that does not depend on how many rows there are."""
    return (x * v).sum(-1)


class Pushed(Spliced):
    """An energy whose activations of a layer are displaced, row by row of the batch, in all landscapes
    or in one; donors (patched, n, n): the problems that the last rows are patched from."""

    def __init__(
        self, energy: Energy, layer: str, push: Push, donors: Any, landscape: int | None = None
    ):
        super().__init__(energy, layer, lambda h: h, landscape)
        self.push, self.donors = push, energy.prepare(donors)

    def replaced(self, h: Tensor, y: Tensor, k: int | Tensor) -> Tensor:
        last = slice(len(y) - self.push.patched, None)
        of = k if isinstance(k, int) else k[last]
        return self.push(h, k, self.inner.activations(self.donors, y[last], of)[self.layer])


# What follows


def respond(
    energy: Energy, found: Sequence[Direction], at: Scene, seen: Nature, sampler: Sampler,
    doses: Sequence[float], draws: Mapping[str, int], generator: torch.Generator, rows: int = 8192,
    done: Callable[[int], None] = lambda count: None,
) -> tuple[DataFrame, NDArray]:
    """What every push does, and each direction's spread (D,).

    doses in spreads; draws: how many controls, {"random", "covariance", "orthogonal"}; about `rows`
    rows are pushed at once; done(i) is called after i directions. Columns: KEYS; energy: change of
    the gap E(y) − E(√ᾱ_k y₀) in standard deviations of that landscape's gaps; score: ‖Δ∇E‖²/‖∇E‖²,
    cosine: of the two; moved: root mean square change of the sampled inverse's entries (0 below
    RESOLUTION); mse and residual ‖AŶ − I‖_F/√n of the sampled inverse; carried: the direction's concept
    as `properties` reads it (NaN without one); off_manifold: Mahalanobis distance relative to the
    unedited one, quantile: its place among natural ones; and all of CONCEPTS. Changes are relative
    to the dose of 0 in the same batch. EVERYWHERE, energy and score are those of one landscape a
    problem, in turn. Raises ValueError where A is not float64.
    """  # fmt: skip
    states.demand_double(at.A, "pushes along directions")
    axes = [axis(energy, direction, at.A) for direction in found]
    clouds, tables, spreads = {}, [], []
    for i, (direction, v) in enumerate(zip(found, axes, strict=True)):
        home = direction.space, direction.landscape
        if home not in clouds:
            clouds[home] = cloud(energy, *home, seen)
        here = [u for d, u in zip(found, axes, strict=True) if (d.space, d.landscape) == home]
        there = [u for d, u in zip(found, axes, strict=True) if d.space == direction.space]
        others = (torch.stack(there), torch.stack(here))
        ways = conditions(controls(v, others, clouds[home], draws, generator), doses)
        size = max(1, rows // len(ways))
        for some in torch.arange(len(at.A), device=at.A.device).split(size):
            numbers = _measured(energy, direction, clouds[home], v, ways, at, seen.gap, sampler, some)
            tables.append(_keyed(direction.name, ways, array(some)).assign(**numbers))
        spreads.append(clouds[home].spread(v))
        done(i + 1)
    return concat(tables, ignore_index=True), np.array(spreads)


def _keyed(name: str, ways: Sequence[Condition], problems: NDArray) -> DataFrame:
    columns = {key: np.repeat([getattr(way, key) for way in ways], len(problems))
               for key in ("control", "draw", "edit", "dose")}  # fmt: skip
    return DataFrame({"direction": name} | columns | {"problem": np.tile(problems, len(ways))})


@torch.no_grad()
def _measured(
    energy: Energy, direction: Direction, seen: Cloud, v: Tensor, ways: Sequence[Condition],
    at: Scene, gaps: Tensor, sampler: Sampler, some: Tensor,
) -> dict[str, NDArray]:
    """Columns without keys, of `some` of the scene's problems (P,), ways slowest."""  # fmt: skip
    C, space, K = len(ways), direction.space, energy.schedule.K
    fixed = None if direction.landscape == EVERYWHERE else direction.landscape
    A, y0, p = at.A[some].repeat(C, 1, 1), at.y0[some].repeat(C, 1), some.repeat(C)
    moving = Push.of(seen, v, ways, len(some))
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
        edited = Pushed(energy, space, moving, at.A[donor], fixed)
        x = edited.replaced(energy.activations(prepared, y, k)[space], y, k)
    E, score = edited.energy_and_gradient(prepared, y, k)
    home = energy.schedule.at("sqrt_alpha_bar", k, y) * y0
    gap = (E - edited.energy(prepared, home, k)) / gaps[k]
    distance, unedited = seen.distance(x, k), score[: len(some)].repeat(C, 1)
    size = unedited.pow(2).sum(1).clamp_min(torch.finfo(score.dtype).tiny)

    sampled = sampler(edited, prepared, start, first=first)
    Y, truth = energy.coordinates.decode(sampled), energy.coordinates.decode(y0)
    eye = torch.eye(A.shape[-1]).to(A)
    plain = Y[: len(some)].repeat(C, 1, 1)
    moved_by = (Y - plain).pow(2).mean((1, 2)).sqrt()
    same = moved_by < RESOLUTION
    Y = torch.where(same[:, None, None], plain, Y)
    read = properties(Y, truth)
    found = {
        "energy": gap - gap[: len(some)].repeat(C),
        "score": (score - unedited).pow(2).sum(1) / size,
        "cosine": torch.nn.functional.cosine_similarity(score, unedited, dim=1),
        "moved": moved_by.masked_fill(same, 0),
        "mse": (Y - truth).pow(2).mean((1, 2)),
        "residual": (A @ Y - eye).pow(2).sum((1, 2)).sqrt() / len(eye) ** 0.5,
        "carried": read[direction.concept] if direction.concept else carried(Y, truth, ""),
        "off_manifold": distance / distance[: len(some)].repeat(C),
        "quantile": seen.quantile(distance),
    }
    return {name: array(value) for name, value in (found | read).items()}


# What the responses say


def summarised(responses: DataFrame, level: float = 0.95) -> DataFrame:
    """Means of MEASURES by direction, control, edit and dose, with Student's t intervals over problems,
    draws averaged first; least, most: the lowest and the highest mean of a draw. Beside `carried`,
    `changed`: by how much it differs from that of the unedited sample.
    """
    still = responses[responses["edit"].eq("add") & responses["dose"].eq(0)]
    still = still.set_index(["direction", "problem"])["carried"].rename("still")
    rows = responses.join(still, on=["direction", "problem"])
    rows = rows.assign(changed=rows["carried"] - rows["still"])
    by = ["direction", "control", "edit", "dose", "measure"]
    long = rows.melt([*KEYS], [*MEASURES, "changed"], "measure").dropna()
    units = long.groupby([*by, "problem"], sort=False)["value"].mean()
    found = units.groupby(by, sort=False).agg(["mean", "std", "count"])
    reach = special.stdtrit(found["count"] - 1, (1 + level) / 2) * found["std"] / found["count"] ** 0.5
    drawn = long.groupby([*by, "draw"], sort=False)["value"].mean().groupby(by, sort=False)
    return DataFrame({
        "mean": found["mean"], "low": found["mean"] - reach, "high": found["mean"] + reach,
        "units": found["count"], "least": drawn.min(), "most": drawn.max(),
    }).reset_index()  # fmt: skip


def movement(responses: DataFrame, level: float = 0.95) -> DataFrame:
    """Does each direction move the sampled answer more than random ones of equal norm?

    At the largest doses of both signs: moved, off_manifold (median) of own; random, covariance,
    orthogonal: moved of these, most: of the random draw that moves most; random_off: their distance;
    ahead, low, high: own − random, paired over problems; p one-sided, p_adjusted by Benjamini-Hochberg
    over directions; p_covariance, p_covariance_adjusted: the same against directions of the
    covariance; above_all: whether it moves more than every single random draw; beyond: above_all at
    p_adjusted < LEVEL, by no less than RESOLUTION.
    """
    strong = responses[(responses["edit"] == "add") & _strongest(responses["dose"])]
    rows = []
    for name, table in strong.groupby("direction", sort=False):
        moved = table.groupby(["control", "problem"])["moved"].mean().unstack("problem")
        draws = table[table["control"] == "random"].groupby("draw")["moved"].mean()
        own, random, usual = (moved.loc[c].to_numpy() for c in ("own", "random", "covariance"))
        gain = paired_interval(own, random, level)
        far = table.groupby("control")["off_manifold"].median()
        rows.append({
            "direction": name, **moved.mean(axis=1).rename({"own": "moved"}), "most": draws.max(),
            "off_manifold": far["own"], "random_off": far["random"],
            "ahead": gain.estimate, "low": gain.low, "high": gain.high, "p": p_above(own - random),
            "p_covariance": p_above(own - usual),
            "above_all": bool(own.mean() > draws.max()),
        })  # fmt: skip
    table = DataFrame(rows)
    for p in ("p", "p_covariance"):
        table[f"{p}_adjusted"] = adjust(table[p])
    sure = table["above_all"] & (table["p_adjusted"] < LEVEL)
    return table.assign(beyond=sure & (table["ahead"] >= RESOLUTION))


def steering(responses: DataFrame, level: float = 0.95) -> DataFrame:
    """Does a concept direction move its property, in the right sense, and more than a random one?

    slope of `carried` over added doses, by problem; low, high: interval of its mean over problems;
    null: the largest |mean slope| of a random draw, and null_covariance; ahead, ahead_low, ahead_high:
    slope minus that draw's, its sign turned to be positive, paired over problems; p one-sided, the
    larger of slope > 0 and of ahead > 0; p_adjusted over directions (Benjamini-Hochberg); moves:
    p_adjusted < LEVEL, by no less than RESOLUTION. Empty without concepts.
    """
    added, rows = responses[responses["edit"] == "add"].dropna(subset="carried"), []
    for name, table in added[added["dose"] != 0].groupby("direction", sort=False):
        grid = table.pivot(index="dose", columns=["control", "draw", "problem"], values="carried")
        t = grid.index.to_numpy() - grid.index.to_numpy().mean()
        slopes = (grid.mul(t, axis=0).sum() / (t**2).sum()).unstack("problem")
        slopes = slopes.mask(slopes.abs() < RESOLUTION, 0)
        own, other = slopes.loc["own"].to_numpy()[0], {
            control: max(slopes.loc[control].to_numpy(), key=lambda s: abs(s.mean()))
            for control in ("random", "covariance")
        }
        null = other["random"] * np.sign(other["random"].mean())
        mean, gain = paired_interval(own, 0 * own, level), paired_interval(own, null, level)
        rows.append({
            "direction": name, "slope": mean.estimate, "low": mean.low, "high": mean.high,
            "null": float(null.mean()), "null_covariance": float(abs(other["covariance"].mean())),
            "ahead": gain.estimate, "ahead_low": gain.low, "ahead_high": gain.high,
            "p": max(p_above(own), p_above(own - null)),
        })  # fmt: skip
    table = DataFrame(rows)
    if not rows:
        return DataFrame({"direction": [], "moves": []})
    p = adjust(table["p"])
    return table.assign(p_adjusted=p, moves=(p < LEVEL) & (table["ahead"] >= RESOLUTION))


def farthest(responses: DataFrame) -> NDArray:
    """By problem, the median `quantile` of what was pushed farthest along directions found, (P,)."""
    far = responses["edit"].eq("add") & _strongest(responses["dose"])
    own = responses[far & responses["control"].eq("own")]
    return own.groupby("problem")["quantile"].median().to_numpy()


def p_above(differences: ArrayLike) -> float:
    """One-sided p-value of Student's t for a mean (N,) above 0; constants decide by their sign."""
    x = np.asarray(differences, dtype=np.float64)
    error = x.std(ddof=1) / len(x) ** 0.5
    if error == 0:
        return float(x[0] <= 0)
    return float(special.stdtr(len(x) - 1, -x.mean() / error))


def _strongest(dose: Any) -> Any:
    return dose.abs() == dose.abs().max()
