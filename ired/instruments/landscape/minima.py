"""Minima and their basins: critical points that descents reach, told apart by the inertia of the Hessian.

Distances are in noise radii σ_k·√size (see `states`), energies in units of σ_k. Energies are only ever compared
within one problem and one landscape. Minima beyond the box that a sampler keeps to are told apart from those inside:
no sample ends in them, and mean distances over both mix two questions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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
    inside_minima, outside_minima: distinct ones in the sampler's box |y| ≤ clip·√ᾱ_k, which no sample leaves, and
    beyond it; inside_distance, outside_distance: of the nearest of either (NaN where there is none); lowest_inside:
    bool, whether the lowest of all is inside; inside_lowest_is_nearest: bool, among those inside.

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
    inside_minima: NDArray
    outside_minima: NDArray
    inside_distance: NDArray
    outside_distance: NDArray
    lowest_inside: NDArray
    inside_lowest_is_nearest: NDArray
    basin: NDArray

    def columns(self) -> dict[str, NDArray]:
        """Tidy columns, one row per landscape and problem."""
        names = ["minima", "saddles", "flat", "unconverged", "escaped", "found"]
        names += ["nearest_distance", "nearest_gap", "lowest_distance", "lowest_gap", "lowest_is_nearest"]
        names += ["inside_minima", "outside_minima", "inside_distance", "outside_distance"]
        names += ["lowest_inside", "inside_lowest_is_nearest"]
        return points.tidy_columns(
            {"landscape": self.landscapes, "problem": range(self.minima.shape[1])},
            **{name: getattr(self, name) for name in names},
            **{f"basin_{distance:g}": self.basin[:, i] for i, distance in enumerate(self.distances)},
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
    negative, zeros = counts.unbind(-1)
    outcome = torch.full_like(label, MINIMUM)
    outcome[zeros > 0] = FLAT
    outcome[negative > 0] = SADDLE
    outcome[~ends.converged] = UNCONVERGED
    outcome[ends.escaped] = ESCAPED
    return CriticalPoints(
        y=ends.y,
        energy=ends.energy,
        gradient=ends.gradient,
        outcome=outcome,
        negative=negative,
        zero=zeros,
        label=label,
        first=first,
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
    clip: float = math.inf,
    **options,
) -> Minima:
    """Minima reached from `starts` random starts at each distance (noise radii) from each answer.

    extra: states (L, P, M, d) to start from besides; they count for the minima and not for basins
    or per-descent arrays. clip: of the sampler, see `Minima`; without it the box holds everything.
    Options go to `critical_points` and `descent.descend`.
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
        distance = energy.coordinates.project(c.y - middle[:, None]).norm(dim=-1)
        distance = distance / points.noise_radius(energy, k)
        gap = (c.energy - energy.energy(prepared, middle, k)[:, None]) / s

        # Minima at the same height are all the lowest: rounding must not decide.
        tie = 64 * torch.finfo(gap.dtype).eps * (c.energy.abs().amax(-1) / s + 1)
        distinct = c.first & (c.outcome == MINIMUM)
        within = (c.y.abs() <= clip * energy.schedule.sqrt_alpha_bar[k].item()).all(-1)
        every, inside, outside = (_among(m, distance, gap) for m in (distinct, distinct & within, distinct & ~within))
        in_nearest = (c.label == c.label.gather(1, every["nearest"])) & every["exists"][:, None]

        for name, value in {
            "minima": distinct.sum(-1),
            "saddles": (c.first & (c.outcome == SADDLE)).sum(-1),
            "flat": (c.outcome == FLAT).sum(-1),
            "unconverged": (c.outcome == UNCONVERGED).sum(-1),
            "escaped": (c.outcome == ESCAPED).sum(-1),
            "found": every["exists"],
            "nearest_distance": every["nearest_distance"],
            "nearest_gap": every["nearest_gap"],
            "lowest_distance": every["lowest_distance"],
            "lowest_gap": every["lowest_gap"],
            "lowest_is_nearest": every["drop"] <= tie,
            "inside_minima": (distinct & within).sum(-1),
            "outside_minima": (distinct & ~within).sum(-1),
            "inside_distance": inside["nearest_distance"],
            "outside_distance": outside["nearest_distance"],
            "lowest_inside": inside["lowest_gap"] - every["lowest_gap"] <= tie,
            "inside_lowest_is_nearest": inside["drop"] <= tie,
        }.items():
            per_problem.setdefault(name, []).append(value)
        for name, value in zip(per_descent, (distance, gap, c.gradient, c.outcome, c.label), strict=True):
            per_descent[name].append(value[:, : R * S].unflatten(1, (R, S)).transpose(0, 1))
        basin.append(in_nearest[:, : R * S].double().unflatten(1, (R, S)).mean(-1).T)
    return Minima(
        landscapes=np.array(landscapes),
        distances=np.array(distances, dtype=np.float64),
        **{name: points.array(torch.stack(values)) for name, values in (per_descent | per_problem).items()},
        basin=points.array(torch.stack(basin)),
    )


def _among(chosen: Tensor, distance: Tensor, gap: Tensor) -> dict[str, Tensor]:
    """Of ends (P, M) those chosen: whether there is one (P,), the nearest (P, 1), distance and gap of the nearest and
    of the lowest and how much the nearest lies higher (P,), NaN without any."""
    exists = chosen.any(-1)
    nearest = torch.where(chosen, distance, torch.inf).argmin(-1, keepdim=True)
    lowest = torch.where(chosen, gap, torch.inf).argmin(-1, keepdim=True)
    numbers = {
        f"{name}_{kind}": torch.where(exists, values.gather(1, place)[:, 0], torch.nan)
        for name, place in (("nearest", nearest), ("lowest", lowest))
        for kind, values in (("distance", distance), ("gap", gap))
    }
    drop = numbers["nearest_gap"] - numbers["lowest_gap"]
    return {"exists": exists, "nearest": nearest, "drop": drop} | numbers
