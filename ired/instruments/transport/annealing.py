"""Straightness of the annealing path (Liu et al. 2022): is the way from guess to answer the shortest transport?

The particles are the sampled answers of P problems. A *station* is where they stand when the sampler
leaves a landscape. A curve of distributions is a geodesic of transport exactly where the distances
between its stations add up to that of its ends (Ambrosio, Gigli and Savaré 2008, 7.2):

    straightness = W2(first, last) / Σ W2(station, next)  ≤ 1
    of a particle: ‖last − first‖ / Σ ‖next − station‖    ≤ 1    (Liu et al. 2022, arXiv 2209.03003)
    optimality   = (C_chance − C_particles) / (C_chance − W2²)

with C the mean squared displacement from the first to the last station: as the particles go, and
under a random pairing of them. Optimality is 1 where each particle goes where transport would send
it, 0 where its partner might be anyone's. Straight and optimal are two things: particles may all go
straight and cross.

Two scales: "clean", what a state stands for (y/√ᾱ_k), and "state", where the schedule stretches all particles by
√ᾱ_k. The ideal energy knows the answer at once: on the clean scale its particles stay where they are, on the state
scale they move outwards in straight lines, an optimal plan. The energy of a prediction m(A) does the same around
m(A), but for what is left of the start: Π c_j of it, c_j = ᾱ_j C/(ᾱ_j C + σ_j²). Where √ᾱ_k < `READABLE` there is
no station: a state is read 1/√ᾱ_k-fold there (204-fold at k = 9 of ten), and what is read is the sampler's clip;
one step from there outweighs all others together. For the same reason the noise at the start is none.

W2 is exact along few principal axes; Bures distances between Gaussians, in all dimensions, stand
beside it. From finite clouds W2 is biased upwards, that of a short step up to the particles' own root
mean square, so that straightness depends on the clouds' size and tends to the particles' as they get
small. Its interval is Student's t over disjoint blocks of problems and holds for clouds of a block's
size; that of the whole cloud and that of Gaussians, which have no such bias, are given too.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from pandas import DataFrame
from torch import Tensor

from ired.instruments.core.states import array
from ired.instruments.core.trajectories import Paths
from ired.instruments.statistics.intervals import Interval, mean_interval, student_interval
from ired.instruments.transport import distances
from ired.model.protocol import Energy

SCALES = ("clean", "state")
READABLE = 0.05  # √ᾱ_k from which a state is read as an answer
STILL = 1e-6  # of the truths' spread: a shorter path, made of rounding, does not move


@dataclass(frozen=True)
class Annealing:
    """Transport between S stations of P particles, in the units of encoded answers.

    landscapes: (S,) k that each station leaves; matrix: (S + 1, S + 1) exact W2 between stations
    along the axes, the true answers last; gaussian: the same of fitted Gaussians, all dimensions;
    particle: (S − 1, P) lengths of the particles' steps in all dimensions; direct: (P,) ‖last −
    first‖; cost, optimal, chance: (S,) mean squared displacements along the axes, of each step and,
    last, from first to last: the particles', the least, a random pairing's; blocks: (B,) straightness
    of disjoint blocks of particles; spread: root mean square of the true answers around their mean,
    in all dimensions.
    """

    landscapes: NDArray
    matrix: NDArray
    gaussian: NDArray
    particle: NDArray
    direct: NDArray
    cost: NDArray
    optimal: NDArray
    chance: NDArray
    blocks: NDArray
    spread: float

    @property
    def steps(self) -> NDArray:
        """W2 of each step, (S − 1,)."""
        return np.diagonal(self.matrix, 1)[:-1]

    @property
    def straightness(self) -> float:
        """W2(first, last)/Σ W2(step) along the axes."""
        return _straight(self.matrix[:-1, :-1], self.spread)

    @property
    def gaussian_straightness(self) -> float:
        """The same of Bures distances between Gaussians, in all dimensions."""
        return _straight(self.gaussian[:-1, :-1], self.spread)

    @property
    def particle_straightness(self) -> NDArray:
        """‖last − first‖/Σ‖step‖ of each particle, (P,)."""
        return _share(self.direct, self.particle.sum(0), self.spread)

    @property
    def optimality(self) -> float:
        """How far from a random pairing towards the optimal one the particles' own is; 1 is optimal."""
        room = self.chance[-1] - self.optimal[-1]
        if self.direct.mean() <= STILL * self.spread or room <= 0:
            return 1.0
        return float((self.chance[-1] - self.cost[-1]) / room)

    def interval(self) -> Interval:
        """Of the straightness: Student's t over blocks."""
        return student_interval(self.blocks)


def stations(energy: Energy, paths: Paths) -> list[int]:
    """Indices of the last step in every readable landscape, from the blurriest to the sharpest."""
    last = {k: i for i, k in enumerate(paths.landscape.tolist()) if paths.stage[i] != "start"}
    root = energy.schedule.sqrt_alpha_bar
    return [last[k] for k in sorted(last, reverse=True) if root[k] >= READABLE]


def clouds(energy: Energy, paths: Paths, scale: str) -> Tensor:
    """Where the particles stand at the stations, (S, P, size), in basis coordinates of `scale`."""
    if scale not in SCALES:
        raise ValueError(f"scale must be one of {', '.join(SCALES)}, not {scale}")
    steps = stations(energy, paths)
    Z = energy.coordinates.to_basis(paths.y[steps])
    if scale == "clean":
        Z = Z / energy.schedule.sqrt_alpha_bar.to(Z)[paths.landscape[steps]][:, None, None]
    return Z


def annealing_transport(
    landscapes: NDArray, Z: Tensor, truths: Tensor, axes: distances.Axes, blocks: int, largest: int
) -> Annealing:
    """Transport between clouds Z (S, P, m) of the same particles, and to truths (P, m).

    The matrices are taken from the first `largest` particles, the others from all; `blocks` disjoint
    blocks of equally many particles (of at most `largest`) give the interval.
    """
    S, P = Z.shape[:2]
    if S < 3:
        raise ValueError(f"a path needs at least three stations, not {S}")
    if P // blocks < 2:
        raise ValueError(f"{blocks} blocks need at least {2 * blocks} particles, not {P}")
    everything = torch.cat([Z, truths[None]])
    thin = axes(everything)
    count = min(largest, P)
    pairs = [(i, j) for i in range(S + 1) for j in range(i + 1, S + 1)]
    matrix, gaussian = np.zeros((2, S + 1, S + 1))
    for i, j in pairs:
        matrix[i, j] = matrix[j, i] = _between(thin[i, :count], thin[j, :count])
        gaussian[i, j] = gaussian[j, i] = distances.gaussian(everything[i], everything[j])
    ways = [(i, i + 1) for i in range(S - 1)] + [(0, S - 1)]
    costs = [distances.squared(thin[i, :count], thin[j, :count]) for i, j in ways]
    each = min(P // blocks, largest)
    split = [thin[:S, b * each : (b + 1) * each] for b in range(blocks)]
    spread = (truths - truths.mean(0)).pow(2).sum(-1).mean().sqrt().item()
    return Annealing(
        landscapes=np.asarray(landscapes),
        matrix=matrix,
        gaussian=gaussian,
        particle=array((Z[1:] - Z[:-1]).norm(dim=-1)),
        direct=array((Z[-1] - Z[0]).norm(dim=-1)),
        cost=np.array([np.diagonal(cost).mean() for cost in costs]),
        optimal=np.array([matrix[i, j] ** 2 for i, j in ways]),
        chance=np.array([cost.mean() for cost in costs]),
        blocks=np.array([_straightness(part, spread) for part in split]),
        spread=spread,
    )


def annealing_by_scale(
    energy: Energy,
    walked: Mapping[str, Paths],
    y0: Tensor,
    axes: distances.Axes,
    blocks: int,
    largest: int,
) -> dict[tuple[str, str], Annealing]:
    """`annealing_transport` by (name, scale), of paths of the first problems with encoded answers y0 (P, d)."""
    truths, ways = energy.coordinates.to_basis(y0), {}
    for name, paths in walked.items():
        k = paths.landscape[stations(energy, paths)]
        for scale in SCALES:
            Z = clouds(energy, paths, scale).to(axes.mean)
            ways[name, scale] = annealing_transport(k, Z, truths[: Z.shape[1]].to(Z), axes, blocks, largest)
    return ways


def straightness_table(ways: Mapping[tuple[str, str], Annealing]) -> DataFrame:
    """One row for each (answers, scale): straightness with intervals over blocks and over particles."""
    rows = []
    for (name, scale), way in ways.items():
        whole, each = way.interval(), mean_interval(way.particle_straightness)
        rows.append(
            {
                "answers": name,
                "scale": scale,
                "straightness": way.straightness,
                "blocks": whole.estimate,
                "low": whole.low,
                "high": whole.high,
                "gaussian": way.gaussian_straightness,
                "particle": each.estimate,
                "particle_low": each.low,
                "particle_high": each.high,
                "optimality": way.optimality,
                "length": way.steps.sum(),
                "to_the_truth": way.matrix[-2, -1],
            }
        )
    return DataFrame(rows)


def step_table(ways: Mapping[tuple[str, str], Annealing]) -> DataFrame:
    """One row a step: root mean squares of displacements along the axes, and Bures distances."""
    rows = [
        {
            "answers": name,
            "scale": scale,
            "from": way.landscapes[i],
            "to": way.landscapes[i + 1],
            "optimal": way.steps[i],
            "gaussian": way.gaussian[i, i + 1],
            "particles": way.cost[i] ** 0.5,
            "chance": way.chance[i] ** 0.5,
        }
        for (name, scale), way in ways.items()
        for i in range(len(way.landscapes) - 1)
    ]
    return DataFrame(rows)


def _straightness(thin: Tensor, spread: float) -> float:
    """Of clouds (S, P, r)."""
    along = sum(_between(x, y) for x, y in itertools.pairwise(thin))
    return float(_share(_between(thin[0], thin[-1]), along, spread))


def _straight(matrix: NDArray, spread: float) -> float:
    return float(_share(matrix[0, -1], np.diagonal(matrix, 1).sum(), spread))


def _share(direct: ArrayLike, along: ArrayLike, spread: float) -> NDArray:
    direct, along = np.asarray(direct, dtype=float), np.asarray(along, dtype=float)
    share = np.divide(direct, along, out=np.ones_like(direct), where=along > STILL * spread)
    return np.minimum(share, 1.0)  # distances obey the triangle inequality; their rounding does not


def _between(x: Tensor, y: Tensor) -> float:
    return distances.exact(distances.squared(x, y))
