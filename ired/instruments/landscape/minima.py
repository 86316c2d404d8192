"""Landscape metrics: convexity, sharpness, energy gaps, minima and their basins.

Distances are in noise radii σ_k·√size (see `points`), energies in units of σ_k: on the ideal
landscape a state r noise radii away has gap r²·size/2. Energies are only ever compared within one
problem and one landscape.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ired.instruments.core import states as points
from ired.instruments.landscape.descent import basis_hessian, descend
from ired.instruments.statistics.spectra import inertia
from ired.model.protocol import Energy

UNCONVERGED, MINIMUM, SADDLE, FLAT, ESCAPED = range(5)


@dataclass(frozen=True)
class Convexity:
    """Convexity around the answers; arrays (L, S, P), each a share of random draws.

    landscapes: (L,); scales: (S,), endpoints are √ᾱ_k y₀ + scale·σ_k ε; share: midpoint convexity
    E((a+b)/2) ≤ (E(a) + E(b))/2 (up to rounding) between two such endpoints; rays: the same between
    the answer and an endpoint; positive: uᵀHu > 0 at an endpoint along a random direction u;
    curvature: mean σ_k uᵀHu there (1 ideal). In many dimensions random directions see the mean
    curvature: a few negative eigenvalues show in the inertia (`hessian`) and hardly here.
    """

    landscapes: NDArray
    scales: NDArray
    share: NDArray
    rays: NDArray
    positive: NDArray
    curvature: NDArray

    def columns(self) -> dict[str, NDArray]:
        """Tidy columns, one row per landscape, scale and problem."""
        return points.columns(
            {
                "landscape": self.landscapes,
                "scale": self.scales,
                "problem": range(self.share.shape[-1]),
            },
            share=self.share,
            rays=self.rays,
            positive=self.positive,
            curvature=self.curvature,
        )


@dataclass(frozen=True)
class Sharpness:
    """How steeply the energy rises around the answers.

    landscapes: (L,); radii: (R,) in noise radii; curvature: (L, P), σ_k tr H / size at the answer
    (1 ideal); profile: (L, R, P), mean gap at each radius over random directions, divided by
    size/2 (ideal: radius²); radius: (L, P), where the profile first reaches `level` (ideal:
    √level), the largest radius where it never does; reached: (L, P) bool.
    """

    landscapes: NDArray
    radii: NDArray
    level: float
    curvature: NDArray
    profile: NDArray
    radius: NDArray
    reached: NDArray

    def columns(self) -> dict[str, NDArray]:
        """Tidy columns, one row per landscape and problem."""
        return points.columns(
            {"landscape": self.landscapes, "problem": range(self.curvature.shape[1])},
            curvature=self.curvature,
            radius=self.radius,
            reached=self.reached,
        )


@dataclass(frozen=True)
class Gaps:
    """Energy of wrong answers above the right one, in units of σ_k.

    landscapes: (L,); gap: by kind of wrong answer, (L, P, W) with W wrong answers (times noise
    draws) of each problem; positive means that the right answer is lower.
    """

    landscapes: NDArray
    gap: dict[str, NDArray]

    def rate(self, kind: str) -> NDArray:
        """P(gap > 0), (L, P): how often the right answer is the lower one."""
        return (self.gap[kind] > 0).mean(-1)

    def columns(self) -> dict[str, NDArray]:
        """Tidy columns, one row per landscape and problem."""
        problems = next(iter(self.gap.values())).shape[1]
        return points.columns(
            {"landscape": self.landscapes, "problem": range(problems)},
            **{f"{kind}_gap": gap.mean(-1) for kind, gap in self.gap.items()},
            **{f"{kind}_rate": self.rate(kind) for kind in self.gap},
        )


@dataclass(frozen=True)
class CriticalPoints:
    """Ends of descents in one landscape: tensors (P, M) on the energy's device.

    y: (P, M, d); energy; gradient: ‖∇E‖/√size; outcome: UNCONVERGED (out of steps, or stalled at
    the precision of E), MINIMUM (all eigenvalues positive), SADDLE (some negative; maxima too),
    FLAT (some zero, none negative) or ESCAPED (given up far away, still descending); negative,
    zero: numbers of such eigenvalues (−1 where not converged); label: number of the distinct
    critical point within its problem (−1 where not converged); first: bool, one end per label.
    """

    y: Tensor
    energy: Tensor
    gradient: Tensor
    outcome: Tensor
    negative: Tensor
    zero: Tensor
    label: Tensor
    first: Tensor


@dataclass(frozen=True)
class Minima:
    """Minima that descents from around the answers found.

    Per descent, arrays (L, R, P, S) for S starts at each of R distances:
    distance: of its end from the answer in noise radii; gap: (E(end) − E(answer))/σ_k; gradient:
    ‖∇E‖/√size at the end; outcome: UNCONVERGED, MINIMUM, SADDLE, FLAT or ESCAPED (see
    `CriticalPoints`); label: which distinct critical point of its problem (−1: none).

    Per problem, arrays (L, P): minima, saddles: distinct ones found (a lower bound of how many
    there are); flat, unconverged, escaped: descents that ended so; found: bool, whether there is a
    minimum; nearest_distance, nearest_gap: of the minimum nearest to the answer; lowest_distance,
    lowest_gap: of the lowest minimum (NaN where none was found); lowest_is_nearest: bool.

    basin: (L, R, P), share of the starts at each distance that ended in the nearest minimum.
    """

    landscapes: NDArray
    distances: NDArray
    distance: NDArray
    gap: NDArray
    gradient: NDArray
    outcome: NDArray
    label: NDArray
    minima: NDArray
    saddles: NDArray
    flat: NDArray
    unconverged: NDArray
    escaped: NDArray
    found: NDArray
    nearest_distance: NDArray
    nearest_gap: NDArray
    lowest_distance: NDArray
    lowest_gap: NDArray
    lowest_is_nearest: NDArray
    basin: NDArray

    def columns(self) -> dict[str, NDArray]:
        """Tidy columns, one row per landscape and problem."""
        names = (
            "minima", "saddles", "flat", "unconverged", "escaped", "found", "nearest_distance",
            "nearest_gap", "lowest_distance", "lowest_gap", "lowest_is_nearest",
        )  # fmt: skip
        return points.columns(
            {"landscape": self.landscapes, "problem": range(self.minima.shape[1])},
            **{name: getattr(self, name) for name in names},
            **{
                f"basin_{distance:g}": self.basin[:, i]
                for i, distance in enumerate(self.distances)
            },
        )


@torch.no_grad()
def convexity(
    energy: Energy,
    A: Tensor,
    y0: Tensor,
    landscapes: Sequence[int],
    scales: Sequence[float],
    segments: int,
    generator: torch.Generator,
) -> Convexity:
    """Midpoint convexity on `segments` random segments around each answer y₀ (P, d)."""
    prepared = energy.prepare(A)
    found = {name: [] for name in ("share", "rays", "positive", "curvature")}
    for k in landscapes:
        middle, s = points.centre(energy, y0, k)[:, None], points.sigma(energy, k)
        here = energy.energy(prepared, middle, k)
        for scale in scales:
            y, _ = points.noised(energy, y0, k, 2 * segments, generator, scale)
            a, b = y.split(segments, dim=1)
            E = energy.energy(prepared, y, k)
            Ea, Eb = E.split(segments, dim=1)
            rounding = 16 * torch.finfo(E.dtype).eps * E.abs().amax(-1, keepdim=True)
            between = energy.energy(prepared, (a + b) / 2, k)
            halfway = energy.energy(prepared, (a + middle) / 2, k)
            u = points.directions(energy, len(y0), segments, generator=generator, like=y0)
            # A step that is small on the landscape's scale and large beside rounding.
            h = torch.finfo(E.dtype).eps ** (1 / 3) * s
            bend = energy.gradient(prepared, a + h * u, k) - energy.gradient(prepared, a - h * u, k)
            curvature = (bend * u).sum(-1) / (2 * h) * s
            found["share"].append((between <= (Ea + Eb) / 2 + rounding).double().mean(-1))
            found["rays"].append((halfway <= (Ea + here) / 2 + rounding).double().mean(-1))
            found["positive"].append((curvature > 0).double().mean(-1))
            found["curvature"].append(curvature.mean(-1))
    shape = (len(landscapes), len(scales), len(y0))
    return Convexity(
        np.array(landscapes),
        np.array(scales, dtype=np.float64),
        **{name: points.array(torch.stack(parts)).reshape(shape) for name, parts in found.items()},
    )


@torch.no_grad()
def sharpness(
    energy: Energy,
    A: Tensor,
    y0: Tensor,
    landscapes: Sequence[int],
    generator: torch.Generator,
    radii: Sequence[float] = tuple(0.125 * i for i in range(1, 33)),
    count: int = 32,
    level: float = 1.0,
    memory: int = 512 * 2**20,
) -> Sharpness:
    """Mean rise of the energy over `count` random directions from each answer y₀ (P, d)."""
    prepared, size = energy.prepare(A), energy.coordinates.size
    chunk = points.hessians_per_call(energy, memory)
    line = torch.as_tensor(radii).to(y0)
    curvature, profile = [], []
    for k in landscapes:
        middle, s = points.centre(energy, y0, k), points.sigma(energy, k)
        u = points.directions(energy, len(y0), count, generator=generator, like=y0)
        base = energy.energy(prepared, middle, k)
        rise = [
            energy.energy(
                prepared, middle[:, None] + r * points.noise_radius(energy, k) * u, k
            ).mean(-1)
            - base
            for r in line.tolist()
        ]
        profile.append(torch.stack(rise) / (s * size / 2))
        for rows in torch.arange(len(A), device=A.device).split(chunk):
            H = energy.hessian(A[rows], middle[rows], k)
            curvature.append(s * points.in_basis(energy, H).diagonal(dim1=-2, dim2=-1).sum(-1) / size)
    profile = points.array(torch.stack(profile))
    radius, reached = _first_crossing(np.asarray(radii, dtype=np.float64), profile, level)
    return Sharpness(
        np.array(landscapes),
        np.asarray(radii, dtype=np.float64),
        level,
        points.array(torch.cat(curvature)).reshape(len(landscapes), len(A)),
        profile,
        radius,
        reached,
    )


def other_answers(y0: Tensor, count: int) -> Tensor:
    """Answers (P, count, d) of the `count` next problems of the batch: wrong ones, well made."""
    if not 1 <= count < len(y0):
        raise ValueError(f"{len(y0)} problems have {len(y0) - 1} other answers, not {count}")
    return torch.stack([y0.roll(-shift, 0) for shift in range(1, count + 1)], dim=1)


@torch.no_grad()
def energy_gaps(
    energy: Energy,
    A: Tensor,
    y0: Tensor,
    landscapes: Sequence[int],
    wrong: Mapping[str, Tensor],
    generator: torch.Generator,
    noised: int = 16,
    shared_noise: int = 0,
) -> Gaps:
    """Gaps of wrong answers (P, d) or (P, W, d) by kind, in the answers' own coordinates (k-free).

    Landscape k compares √ᾱ_k·wrong with √ᾱ_k·y₀. Kind "noised" is added: `noised` states
    √ᾱ_k y₀ + σ_k ε against the answer. With `shared_noise` draws, each kind but "noised" is
    compared as in contrastive training: both answers under the same noise σ_k ε.
    """
    prepared = energy.prepare(A)
    kinds = {name: w[:, None] if w.dim() == 2 else w for name, w in wrong.items()}
    gap: dict[str, list[Tensor]] = {name: [] for name in (*kinds, "noised")}
    for k in landscapes:
        middle, s = points.centre(energy, y0, k)[:, None], points.sigma(energy, k)
        base = energy.energy(prepared, middle, k)
        blur = points.noise(energy, len(y0), shared_noise, generator=generator, like=y0) * s
        for name, answers in kinds.items():
            states = points.centre(energy, answers, k)
            if shared_noise:
                states = (states[:, :, None] + blur[:, None]).flatten(1, 2)
                right = energy.energy(prepared, middle + blur, k)
                right = right[:, None].expand(-1, answers.shape[1], -1).flatten(1, 2)
            else:
                right = base
            gap[name].append((energy.energy(prepared, states, k) - right) / s)
        states, _ = points.noised(energy, y0, k, noised, generator)
        gap["noised"].append((energy.energy(prepared, states, k) - base) / s)
    return Gaps(
        np.array(landscapes),
        {name: points.array(torch.stack(parts)) for name, parts in gap.items()},
    )


@torch.no_grad()
def critical_points(
    energy: Energy,
    A: Tensor,
    start: Tensor,
    k: int,
    *,
    merge: float = 0.01,
    zero: float = 1e-8,
    memory: int = 512 * 2**20,
    **options,
) -> CriticalPoints:
    """Descends from start (P, M, d), merges ends closer than `merge` noise radii, classifies them.

    A distinct end is classified by the exact Hessian at its member of smallest gradient; an
    eigenvalue is zero when |λ| ≤ zero·max|λ|. Options go to `descent.descend`.
    """
    ends = descend(energy, A, start, k, memory=memory, **options)
    z = energy.coordinates.to_basis(ends.y)
    label = cluster(z, ends.converged, merge * points.noise_radius(energy, k))
    same = (label[:, :, None] == label[:, None, :]) & ends.converged[:, None, :]
    best = torch.where(same, ends.gradient[:, None, :], torch.inf).argmin(-1)
    itself = torch.arange(z.shape[1], device=z.device)
    first = ends.converged & (best == itself)

    counts = torch.full((*label.shape, 2), -1, dtype=torch.long, device=z.device)
    owner, member = first.nonzero(as_tuple=True)
    chunk = points.hessians_per_call(energy, memory)
    for rows in torch.arange(len(owner), device=z.device).split(chunk):
        p, m = owner[rows], member[rows]
        values = torch.linalg.eigvalsh(basis_hessian(energy, A[p], z[p, m], k))
        counts[p, m] = torch.from_numpy(inertia(points.array(values), zero)[:, :2]).to(counts)
    counts = counts.gather(1, best[..., None].expand(-1, -1, 2))
    counts[~ends.converged] = -1
    negative, none = counts.unbind(-1)
    outcome = torch.full_like(label, MINIMUM)
    outcome[none > 0] = FLAT
    outcome[negative > 0] = SADDLE
    outcome[~ends.converged] = UNCONVERGED
    outcome[ends.escaped] = ESCAPED
    return CriticalPoints(
        ends.y, ends.energy, ends.gradient, outcome, negative, none, label, first
    )


def cluster(z: Tensor, valid: Tensor, reach: float) -> Tensor:
    """Labels (P, M) of single-linkage clusters of points z (P, M, m) within `reach`; −1: not valid.

    Labels count from 0 in the order of first appearance.
    """
    near = torch.cdist(z, z, compute_mode="donot_use_mm_for_euclid_dist") <= reach
    near = near & valid[:, :, None] & valid[:, None, :]
    length = 1
    while length < z.shape[1]:  # paths of twice the length at each turn
        step = near.to(z.dtype)
        near, length = (step @ step) > 0, 2 * length
    root = near.to(torch.uint8).argmax(-1)
    is_root = valid & (root == torch.arange(z.shape[1], device=z.device))
    number = is_root.long().cumsum(-1) - 1
    return torch.where(valid, number.gather(1, root), -1)


@torch.no_grad()
def find_minima(
    energy: Energy,
    A: Tensor,
    y0: Tensor,
    landscapes: Sequence[int],
    distances: Sequence[float],
    starts: int,
    generator: torch.Generator,
    extra: Tensor | None = None,
    **options,
) -> Minima:
    """Minima reached from `starts` random starts at each distance (noise radii) from each answer.

    extra: states (L, P, M, d) to start from besides; they count for the minima and not for basins
    or per-descent arrays. Options go to `critical_points` and `descent.descend`.
    """
    prepared = energy.prepare(A)
    R, S = len(distances), starts
    per_descent = {name: [] for name in ("distance", "gap", "gradient", "outcome", "label")}
    per_problem: dict[str, list[Tensor]] = {}
    basin = []
    for i, k in enumerate(landscapes):
        middle, s = points.centre(energy, y0, k), points.sigma(energy, k)
        start = [points.around(energy, y0, k, r, S, generator) for r in distances]
        if extra is not None:
            start.append(extra[i].to(y0))
        c = critical_points(energy, A, torch.cat(start, dim=1), k, **options)
        away = energy.coordinates.project(c.y - middle[:, None]).norm(dim=-1)
        away = away / points.noise_radius(energy, k)
        gap = (c.energy - energy.energy(prepared, middle, k)[:, None]) / s

        distinct = c.first & (c.outcome == MINIMUM)
        exists = distinct.any(-1)
        nearest = torch.where(distinct, away, torch.inf).argmin(-1, keepdim=True)
        lowest = torch.where(distinct, gap, torch.inf).argmin(-1, keepdim=True)
        # Minima at the same height are all the lowest: rounding must not decide.
        tie = 64 * torch.finfo(gap.dtype).eps * (c.energy.abs().amax(-1) / s + 1)
        drop = (gap.gather(1, nearest) - gap.gather(1, lowest))[:, 0]
        in_nearest = (c.label == c.label.gather(1, nearest)) & exists[:, None]

        def chosen(values: Tensor, where: Tensor, exists: Tensor = exists) -> Tensor:
            return torch.where(exists, values.gather(1, where)[:, 0], torch.nan)

        for name, value in {
            "minima": distinct.sum(-1),
            "saddles": (c.first & (c.outcome == SADDLE)).sum(-1),
            "flat": (c.outcome == FLAT).sum(-1),
            "unconverged": (c.outcome == UNCONVERGED).sum(-1),
            "escaped": (c.outcome == ESCAPED).sum(-1),
            "found": exists,
            "nearest_distance": chosen(away, nearest),
            "nearest_gap": chosen(gap, nearest),
            "lowest_distance": chosen(away, lowest),
            "lowest_gap": chosen(gap, lowest),
            "lowest_is_nearest": exists & (drop <= tie),
        }.items():
            per_problem.setdefault(name, []).append(value)
        for name, value in zip(
            per_descent, (away, gap, c.gradient, c.outcome, c.label), strict=True
        ):
            per_descent[name].append(value[:, : R * S].unflatten(1, (R, S)).transpose(0, 1))
        basin.append(in_nearest[:, : R * S].double().unflatten(1, (R, S)).mean(-1).T)
    return Minima(
        np.array(landscapes),
        np.array(distances, dtype=np.float64),
        **{name: points.array(torch.stack(v)) for name, v in (per_descent | per_problem).items()},
        basin=points.array(torch.stack(basin)),
    )


def _first_crossing(radii: NDArray, profile: NDArray, level: float) -> tuple[NDArray, NDArray]:
    """Where profiles (L, R, P) first reach `level`; linear in radius², as a bowl is."""
    squares = np.concatenate([[0.0], radii**2])
    rise = np.concatenate([np.zeros_like(profile[:, :1]), profile], axis=1)
    above = rise >= level
    reached = above.any(1)
    after = np.maximum(above.argmax(1), 1)
    high, low = (
        np.take_along_axis(rise, index[:, None], axis=1)[:, 0] for index in (after, after - 1)
    )
    part = np.divide(level - low, high - low, out=np.ones_like(low), where=high > low)
    square = squares[after - 1] + part * (squares[after] - squares[after - 1])
    return np.where(reached, np.sqrt(square), radii[-1]), reached
