"""Energies along geodesics of SPD matrices, beside straight lines.

A matrix Y is the state √ᾱ_k·encode(Y) of landscape k, so a curve of matrices is a curve of states. A
metric gives a curve from the answer to a target. Metrics are compared at *equal distance*: the points
that are compared lie equally far from the answer in Frobenius norm, where the energy lives, whatever
the metrics' own lengths are. An energy that is a function of that distance, as the ideal one is, then
has the same profile along all of them: differences between metrics are the energy's shape. A round bowl around a
prediction that is off by δ is convex along straight lines, whatever the pair, and differs between metrics by −⟨δ, bend⟩
alone: what the prediction misses.

Curves consist of symmetric matrices. Where states may be asymmetric too, the antisymmetric directions
are not visited, and lengths are in *symmetric noise radii*: τ_k √(n(n+1)/2) with τ_k = σ_k·scale/√ᾱ_k,
the Frobenius norm that the symmetric part of landscape k's noise has as a matrix. Energies are gaps
within one problem and landscape, in units of σ_k.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ired.instruments.core import states
from ired.instruments.core.energy_gap import above_first
from ired.instruments.geometry import spd_states
from ired.instruments.geometry.metrics import METRICS, RiemannianMetric
from ired.model.protocol import Energy

EUCLIDEAN, TURNED = "Euclidean", "turned"


@dataclass(frozen=True)
class Curves:
    """Points on the geodesics from P answers towards P targets, T of them, under M metrics.

    kind: what the targets are; metrics: M names; fraction: (T,) of `reach`; reach: (P,) Frobenius
    distance from the answer at the end; t: (M, P, T) times at which the geodesic, at the target at
    time 1, is at distance fraction·reach; points: tensor (M, P, T, n, n); departure: (M, P) largest
    distance to the point of the straight line that is as far from the answer, over reach;
    length: (M, P), of the curve in its own metric.
    """

    kind: str
    metrics: tuple[str, ...]
    fraction: NDArray
    reach: NDArray
    t: NDArray
    points: Tensor
    departure: NDArray
    length: NDArray


@dataclass(frozen=True)
class Profiles:
    """The energy along curves in L landscapes; arrays (L, M, P) unless noted.

    gap: (L, M, P, T), (E − E(answer))/σ_k; ideal: (L, P, T), that of the ideal energy, the same under
    all metrics; rise: mean gap over the curve divided by the ideal one's (1 ideal); lower: share of the
    curve's points whose energy is below that of the straight line's point at the same distance, ties
    counting half (½ for the ideal energy); minimum: where on the curve the energy is lowest, as distance
    from the answer in symmetric noise radii (0: at the answer); position: the geodesic's time there, 1 at
    the target; depth: gap there, ≤ 0; at_answer: bool, whether the lowest point is the answer.
    """

    curves: Curves
    landscapes: NDArray
    gap: NDArray
    ideal: NDArray
    rise: NDArray
    lower: NDArray
    minimum: NDArray
    position: NDArray
    depth: NDArray
    at_answer: NDArray

    def columns(self) -> dict[str, NDArray]:
        """Tidy columns, one row per landscape, metric and problem."""
        shape, c = self.rise.shape, self.curves
        tidy = states.tidy_columns(
            {"landscape": self.landscapes, "metric": c.metrics, "problem": range(shape[-1])},
            **{name: getattr(self, name) for name in ("rise", "lower", "minimum", "position", "depth", "at_answer")},
            **{name: np.broadcast_to(getattr(c, name), shape) for name in ("departure", "length", "reach")},
        )
        return {"kind": np.full(math.prod(shape), c.kind)} | tidy

    def shape(self) -> dict[str, NDArray]:
        """Quartiles over problems of gap / ideal gap at the end; one row per landscape, metric, point.

        low, middle, high; apart_low, apart, apart_high: of the difference to the Euclidean metric's.
        """
        relative = self.gap / self.ideal[..., -1:].clip(1e-300)[:, None]
        straight = relative[:, [self.curves.metrics.index(EUCLIDEAN)]]
        shapes = {}
        for names, values in (
            (("low", "middle", "high"), relative),
            (("apart_low", "apart", "apart_high"), relative - straight),
        ):
            shapes |= zip(names, np.quantile(values, (0.25, 0.5, 0.75), axis=2), strict=True)
        c = self.curves
        axes = {"landscape": self.landscapes, "metric": c.metrics, "fraction": c.fraction}
        columns = states.tidy_columns(axes, **shapes)
        return {"kind": np.full(shapes["low"].size, c.kind)} | columns


@dataclass(frozen=True)
class GeodesicConvexity:
    """Midpoint convexity between pairs of SPD matrices under M metrics; arrays (L, M, P).

    share: of the pairs with E(middle) ≤ (E(X) + E(Z))/2, up to rounding; bend: mean over pairs of
    ((E(X) + E(Z))/2 − E(middle))/σ_k divided by ‖X − Z‖²/(8τ_k²), 1 for the ideal energy under the
    Euclidean metric and negative where the energy is not convex on average.
    """

    kind: str
    metrics: tuple[str, ...]
    landscapes: NDArray
    share: NDArray
    bend: NDArray

    def columns(self) -> dict[str, NDArray]:
        """Tidy columns, one row per landscape, metric and problem."""
        problems = range(self.share.shape[-1])
        axes = {"landscape": self.landscapes, "metric": self.metrics, "problem": problems}
        tidy = states.tidy_columns(axes, share=self.share, bend=self.bend)
        return {"kind": np.full(self.share.size, self.kind)} | tidy


def at_distance(metric: RiemannianMetric, P: Tensor, V: Tensor, r: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Times t (...) in [low, high] with ‖exp_P(tV) − P‖_F = r, to 1e-10 of r's largest.

    By the Illinois rule on the displacement, which is ≤ r at low and ≥ r at high (or is taken to be).
    P, V (..., n, n); r, low, high (...).
    """

    def miss(t: Tensor) -> Tensor:
        return displacement(metric, P, V, t) - r

    below, above = miss(low).clamp_max(0), miss(high).clamp_min(0)
    tolerance, side = 1e-10 * float(r.max()), torch.zeros_like(r)
    t = high
    for _ in range(60):
        span = above - below
        t = torch.where(span > 0, (low * above - high * below) / span.clamp_min(1e-300), high)
        off = miss(t)
        if float(off.abs().max()) <= tolerance:
            break
        right = off > 0
        # The end that stays twice in a row counts half: the other one then moves as well.
        below = torch.where(right, torch.where(side > 0, below / 2, below), off)
        above = torch.where(right, off, torch.where(side < 0, above / 2, above))
        low, high = torch.where(right, low, t), torch.where(right, t, high)
        side = torch.where(right, 1.0, -1.0).to(r)
    return t


@torch.no_grad()
def geodesic_curves(
    kind: str,
    P: Tensor,
    Q: Tensor,
    reach: Tensor | float,
    fraction: Sequence[float],
    metrics: Sequence[str] = tuple(METRICS),
) -> Curves:
    """Geodesics from P (P, n, n) towards Q (P, n, n), as far as distance `reach`, or to Q if nearer.

    reach: (P,) or one number, Frobenius; fraction: (T,) of it, in [0, 1]. Raises ValueError for what is
    not SPD (`metrics.require_spd`).
    """
    whole = (Q - P).flatten(-2).norm(dim=-1)
    reach = torch.minimum(whole, torch.as_tensor(reach).to(whole))
    r = reach[:, None] * torch.as_tensor(fraction).to(whole)
    start, toward = P[:, None], (Q - P) / whole.clamp_min(1e-300)[:, None, None]
    straight = start + r[..., None, None] * toward[:, None]
    parts: dict[str, list[Tensor]] = {name: [] for name in ("t", "points", "departure", "length")}
    for name in metrics:
        metric = METRICS[name]
        V = metric.log(P, Q)[:, None]
        # Denser near the answer: the first time that the distance is reached is wanted.
        grid = (torch.linspace(0, 1, 33).to(P) ** 2).expand(len(P), -1)
        moved = displacement(metric, start, V, grid)
        moved[:, -1] = torch.inf
        after = (moved[:, None, :] >= r[..., None]).double().argmax(-1).clamp_min(1)
        t = at_distance(metric, start, V, r, grid.gather(1, after - 1), grid.gather(1, after))
        t = torch.where(r > 0, t, 0.0)
        at = metric.exp(start, t[..., None, None] * V)
        off = (at - straight).flatten(-2).norm(dim=-1).amax(-1)
        parts["t"].append(t)
        parts["points"].append(at)
        parts["departure"].append(off / reach.clamp_min(1e-300))
        parts["length"].append(t[:, -1] * metric.distance(P, Q))
    stacked = {name: torch.stack(parts) for name, parts in parts.items()}
    return Curves(
        kind,
        tuple(metrics),
        np.asarray(fraction, dtype=np.float64),
        states.array(reach),
        points=stacked.pop("points"),
        **{name: states.array(x) for name, x in stacked.items()},
    )


@torch.no_grad()
def turned_curves(drawn: Curves, rotations: Tensor, metric: str = "affine-invariant") -> Curves:
    """The same with one more row, "turned": a metric's curves, bent as much towards somewhere else.

    What leads from the straight line's point to the metric's is conjugated with rotations (P, n, n), and
    the result moved along its ray from the answer to the same distance. It keeps its spectrum, so its size
    and its trace, and loses what the metric knows of the answer's eigenvectors. It need not be SPD; times
    and lengths are those of the curve that it is made from.
    """
    straight, bent = (drawn.points[drawn.metrics.index(name)] for name in (EUCLIDEAN, metric))
    start, R = straight[:, :1], rotations[:, None]
    displacement = straight + R @ (bent - straight) @ R.mT - start
    displacement = (displacement + displacement.mT) / 2
    r, size = (path.flatten(-2).norm(dim=-1)[..., None, None] for path in (straight - start, displacement))
    displacement = displacement * (r / size.clamp_min(1e-300))
    reach = torch.as_tensor(drawn.reach).to(displacement).clamp_min(1e-300)
    off = (start + displacement - straight).flatten(-2).norm(dim=-1).amax(-1) / reach
    row = drawn.metrics.index(metric)
    return replace(
        drawn,
        metrics=(*drawn.metrics, TURNED),
        points=torch.cat((drawn.points, (start + displacement)[None])),
        t=np.concatenate((drawn.t, drawn.t[[row]])),
        length=np.concatenate((drawn.length, drawn.length[[row]])),
        departure=np.concatenate((drawn.departure, states.array(off)[None])),
    )


@torch.no_grad()
def profiles(energy: Energy, A: Tensor, drawn: Curves, landscapes: Sequence[int]) -> Profiles:
    """The energy of problems A (P, n, n) along their curves; the first point is the answer."""
    T = drawn.points.shape[2]
    per_problem = drawn.points.transpose(0, 1).flatten(1, 2)
    distance = drawn.reach[:, None] * drawn.fraction
    gaps, ideals, ends = [], [], []
    for k in landscapes:
        s, tau = states.sigma(energy, k), spd_states.noise_scale(energy, k)
        E = spd_states.energies(energy, A, per_problem, k).unflatten(1, (-1, T)).transpose(0, 1)
        rounding = 8 * torch.finfo(E.dtype).eps * E.abs().amax(-1) / s
        gap = states.array(above_first(E) / s)
        gaps.append(gap)
        ideals.append(distance**2 / (2 * tau**2))
        where, depth = _lowest(np.broadcast_to(distance, gap.shape), gap, states.array(rounding))
        ends.append((where / spd_states.symmetric_noise_radius(energy, k), _times(distance, drawn.t, where), depth))
    gap, ideal = np.stack(gaps), np.stack(ideals)
    minimum, position, depth = (np.stack(parts) for parts in zip(*ends, strict=True))
    rise = gap.mean(-1) / ideal.mean(-1).clip(1e-300)[:, None]
    return Profiles(
        curves=drawn,
        landscapes=np.array(landscapes),
        gap=gap,
        ideal=ideal,
        rise=rise,
        lower=_below_straight(drawn, gap),
        minimum=minimum,
        position=position,
        depth=depth,
        at_answer=minimum == 0,
    )


@torch.no_grad()
def midpoints(X: Tensor, Z: Tensor, metrics: Sequence[str] = tuple(METRICS)) -> Tensor:
    """Geodesic midpoints (M, ..., n, n) of SPD matrices X and Z (..., n, n)."""
    half = torch.full((1,), 0.5, dtype=X.dtype, device=X.device)
    return torch.stack([METRICS[name].geodesic(X, Z, half)[..., 0, :, :] for name in metrics])


@torch.no_grad()
def geodesic_convexity(
    energy: Energy,
    A: Tensor,
    kind: str,
    X: Tensor,
    Z: Tensor,
    landscapes: Sequence[int],
    metrics: Sequence[str] = tuple(METRICS),
) -> GeodesicConvexity:
    """Midpoint convexity between S equal pairs X, Z (P, S, n, n) under each metric."""
    count = X.shape[1]
    middles = midpoints(X, Z, metrics).transpose(0, 1).flatten(1, 2)
    squares = states.array((X - Z).pow(2).sum((-2, -1)))
    share, bend = [], []
    for k in landscapes:
        E = spd_states.energies(energy, A, torch.cat((X, Z, middles), 1), k)
        rounding = 16 * torch.finfo(E.dtype).eps * E.abs().amax(-1)
        E = E.unflatten(1, (-1, count)).transpose(0, 1)
        slack = (E[0] + E[1]) / 2 - E[2:]
        share.append((slack >= -rounding[:, None]).double().mean(-1))
        unit = squares / (8 * spd_states.noise_scale(energy, k) ** 2)
        bend.append(states.array(slack / states.sigma(energy, k)).mean(-1) / unit.mean(-1))
    return GeodesicConvexity(
        kind=kind,
        metrics=tuple(metrics),
        landscapes=np.array(landscapes),
        share=states.array(torch.stack(share)),
        bend=np.stack(bend),
    )


def displacement(metric: RiemannianMetric, P: Tensor, V: Tensor, t: Tensor) -> Tensor:
    """‖exp_P(tV) − P‖_F (...)."""
    return (metric.exp(P, t[..., None, None] * V) - P).flatten(-2).norm(dim=-1)


def _below_straight(drawn: Curves, gap: NDArray) -> NDArray:
    """Share (L, M, P) of gaps (L, M, P, T) below the Euclidean curve's; the answer itself left out."""
    if EUCLIDEAN not in drawn.metrics:
        return np.full(gap.shape[:-1], np.nan)
    above = gap - gap[:, [drawn.metrics.index(EUCLIDEAN)]]
    # Points are equally far to ten digits, not more.
    tie = np.abs(above) <= 1e-8 * np.abs(gap).max((1, 3), keepdims=True)
    return np.where(tie, 0.5, above < 0)[..., 1:].mean(-1)


def _lowest(r: NDArray, gap: NDArray, rounding: NDArray) -> tuple[NDArray, NDArray]:
    """Where (...) profiles (..., T) at places r are lowest, by the parabola through three points.

    The start counts as lowest where nothing lies below it by more than rounding.
    """
    place = gap.argmin(-1)
    here = np.clip(place, 1, gap.shape[-1] - 2)

    def at(values: NDArray, shift: int) -> NDArray:
        return np.take_along_axis(values, (here + shift)[..., None], -1)[..., 0]

    x, y = [at(r, i) for i in (-1, 0, 1)], [at(gap, i) for i in (-1, 0, 1)]
    left, right = x[1] - x[0], x[2] - x[1]
    slopes = (y[1] - y[0]) / np.maximum(left, 1e-300), (y[2] - y[1]) / np.maximum(right, 1e-300)
    bend = slopes[1] - slopes[0]
    middle = (slopes[0] * right + slopes[1] * left) / np.maximum(left + right, 1e-300)
    offset = -middle * (left + right) / 2 / np.where(bend > 0, bend, 1.0)
    vertex = np.clip(x[1] + offset, x[0], x[2])
    depth = y[1] + middle * offset + bend / (left + right).clip(1e-300) * offset**2
    depth = np.minimum(depth, gap.min(-1))
    inner = (place == here) & (bend > 0)
    where = np.where(inner, vertex, np.take_along_axis(r, place[..., None], -1)[..., 0])
    depth = np.where(inner, depth, gap.min(-1))
    still = gap.min(-1) >= -rounding
    return np.where(still, 0.0, where), np.where(still, 0.0, depth)


def _times(r: NDArray, t: NDArray, where: NDArray) -> NDArray:
    """The times (M, P) at distances `where`, between the known ones r (P, T), t (M, P, T)."""
    return np.array(
        [[np.interp(w, r[p], times[p]) for p, w in enumerate(row)] for row, times in zip(where, t, strict=True)]
    )
