"""Barzilai–Borwein gradient descent and Newton's method to critical points, batched over problems and starts.

Gradient descent with Barzilai–Borwein trial steps (1988) and Armijo backtracking, so that the
energy never rises, is followed by Newton's method on the exact Hessian (|λ| in place of λ where it
is indefinite: Dauphin et al. 2014, arXiv 1406.2572), which serves for further steps while each leaves
less than a tenth of the gradient. No step is longer than `stride` noise radii,
so that a descent follows its valley rather than jump to another basin: basins of attraction are
those of this descent, which approximates the gradient flow. Gradients are counted per direction,
‖∇E‖/√size, which is 1 at a typical noised answer of the ideal landscape.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ired.instruments.core import states
from ired.model.protocol import Energy

_ARMIJO = 1e-4


@dataclass(frozen=True)
class Ends:
    """Where descents from (P, M, d) starts ended: tensors.

    y: (P, M, d); energy: (P, M); gradient: (P, M) ‖∇E‖/√size; converged: (P, M) bool, the
    gradient is within the tolerance; escaped: (P, M) bool, given up far from the start, still
    descending; steps: (P, M) evaluations that descents took.
    """

    y: Tensor
    energy: Tensor
    gradient: Tensor
    converged: Tensor
    escaped: Tensor
    steps: Tensor


@torch.no_grad()
def descend(
    energy: Energy,
    A: Tensor,
    start: Tensor,
    k: int,
    *,
    steps: int = 300,
    newton: int = 40,
    tolerance: float = 1e-8,
    handover: float = 1e-2,
    stride: float = 1.0,
    escape: float = 100.0,
    patience: int = 6,
    turns: int = 3,
    states_per_call: int = 8192,
    memory: int = 512 * 2**20,
) -> Ends:
    """Descends landscape k of problems A (P, n, n) from start (P, M, d).

    At most `steps` gradient steps, left early when ‖∇E‖/√size falls below `handover`, then at most
    `newton` Newton steps (0: gradient steps alone, all the way) until it falls below `tolerance`.
    `patience` of them at indefinite Hessians mean that they came too early (0: the first such Hessian
    does, which is quick where nothing is convex, and finds no saddles): there are `turns` such
    turns, each with a hundredth of the handover before. All thresholds are multiplied
    by the problem's largest ‖∇E‖/√size at a start, where that lies between 1e-4 and 1: flat
    landscapes need smaller gradients. A descent is given up `escape` noise radii from its start.
    `memory` bounds the bytes that Hessians take at once.
    """
    states.demand_double(start, "descents to critical points")
    P, M, _ = start.shape
    radius = states.noise_radius(energy, k)
    size = energy.coordinates.size
    slope = energy.gradient(energy.prepare(A), start, k).norm(dim=-1).amax(-1) / size**0.5
    unit = slope.clamp(1e-4, 1.0) * size**0.5
    run = _Run(energy=energy, A=A, k=k, tolerance=tolerance * unit, reach=stride * radius, limit=escape * radius)
    owner = torch.arange(P, device=start.device).repeat_interleave(M)
    origin = energy.coordinates.to_basis(start).flatten(0, 1)
    z = origin.clone()
    e, g = torch.full_like(z[:, 0], torch.inf), torch.full_like(z, torch.inf)
    taken = torch.zeros(len(z), dtype=torch.long, device=z.device)
    per_call = states.hessians_per_call(energy, memory)
    escaped = torch.zeros_like(owner, dtype=torch.bool)

    def unfinished() -> Tensor:
        return ((g.norm(dim=-1) > run.tolerance[owner]) & ~escaped).nonzero()[:, 0]

    for turn in range(turns if newton else 1):
        stop = (handover * 10.0 ** (-2 * turn) * unit).clamp_min(run.tolerance)
        for rows in unfinished().split(states_per_call):
            z[rows], e[rows], g[rows], more = run.gradient_descent(
                owner[rows], origin[rows], z[rows], steps, stop if newton else run.tolerance
            )
            taken[rows] += more
        escaped = (z - origin).norm(dim=-1) > run.limit
        if newton:
            for rows in unfinished().split(per_call):
                z[rows], e[rows], g[rows], more = run.newton(owner[rows], z[rows], e[rows], g[rows], newton, patience)
                taken[rows] += more
            escaped = (z - origin).norm(dim=-1) > run.limit
    slope = g.norm(dim=-1) / size**0.5
    converged = g.norm(dim=-1) <= run.tolerance[owner]
    return Ends(
        y=energy.coordinates.from_basis(z).unflatten(0, (P, M)),
        energy=e.unflatten(0, (P, M)),
        gradient=slope.unflatten(0, (P, M)),
        converged=converged.unflatten(0, (P, M)),
        escaped=(escaped & ~converged).unflatten(0, (P, M)),
        steps=taken.unflatten(0, (P, M)),
    )


class _Run:
    """One landscape in basis coordinates z (B, size); row i belongs to problem owner[i].

    tolerance: (P,) norms of gradients; reach: the longest step; limit: on the whole way.
    """

    def __init__(self, energy: Energy, A: Tensor, k: int, tolerance: Tensor, reach: float, limit: float):
        self.energy, self.A, self.k = energy, A, k
        self.tolerance, self.reach, self.limit = tolerance, reach, limit

    def look(self, prepared, z: Tensor) -> tuple[Tensor, Tensor]:
        coordinates = self.energy.coordinates
        e, g = self.energy.energy_and_gradient(prepared, coordinates.from_basis(z), self.k)
        return e, coordinates.to_basis(g)

    def lower(self, e, g, new_e, new_g, promised) -> Tensor:
        """Armijo's condition; within rounding of E, a shorter gradient decides instead."""
        rounding = 8 * torch.finfo(e.dtype).eps * e.abs()
        shorter = new_g.norm(dim=-1) < g.norm(dim=-1)
        return (new_e <= e - _ARMIJO * promised) | ((new_e <= e + rounding) & shorter)

    def gradient_descent(self, owner: Tensor, origin: Tensor, z: Tensor, steps: int, stop: Tensor):
        """Until the gradient falls to stop (P,)."""
        z, taken = z.clone(), torch.zeros_like(owner)
        prepared = self.energy.prepare(self.A[owner])
        e, g = self.look(prepared, z)
        # The ideal landscape's inverse curvature is the first guess of a step.
        step = torch.full_like(e, states.sigma(self.energy, self.k))
        rows = torch.arange(len(z), device=z.device)  # those under way
        W = (rows, prepared, z.clone(), e.clone(), g.clone(), step)
        for _ in range(steps):
            rows, prepared, wz, we, wg, step = W
            size = wg.norm(dim=-1)
            stalled = step * size < 4 * torch.finfo(z.dtype).eps * (wz.norm(dim=-1) + 1e-300)
            near = (wz - origin[rows]).norm(dim=-1) <= self.limit
            active = (size > stop[owner[rows]]) & ~stalled & near
            count = int(active.sum())
            if count < 0.7 * len(rows) or count == 0:
                z[rows], e[rows], g[rows] = wz, we, wg
                if count == 0:
                    return z, e, g, taken
                rows, wz, we, wg, step = (x[active] for x in (rows, wz, we, wg, step))
                prepared = self.energy.prepare(self.A[owner[rows]])
                size, active = size[active], active[active]
            step = torch.minimum(step, self.reach / size.clamp_min(1e-300))
            new_z = wz - step[:, None] * wg
            new_e, new_g = self.look(prepared, new_z)
            good = active & self.lower(we, wg, new_e, new_g, step * size**2)
            moved, turned = new_z - wz, new_g - wg
            bend = (moved * turned).sum(-1)
            bb = moved.pow(2).sum(-1) / bend
            longer = torch.where(bend > 0, bb, 2 * step)
            step = torch.where(good, longer, torch.where(active, step / 4, step))
            pick = good[:, None]
            wz, wg = torch.where(pick, new_z, wz), torch.where(pick, new_g, wg)
            we = torch.where(good, new_e, we)
            taken[rows] += active
            W = (rows, prepared, wz, we, wg, step)
        rows, _, wz, we, wg, _ = W
        z[rows], e[rows], g[rows] = wz, we, wg
        return z, e, g, taken

    def newton(self, owner: Tensor, z: Tensor, e: Tensor, g: Tensor, steps: int, patience: int):
        """Hessians are factored anew only where the last step left more than a tenth of the gradient."""
        z, e, g, taken = z.clone(), e.clone(), g.clone(), torch.zeros_like(owner)
        indefinite = torch.zeros_like(owner)
        rows = torch.arange(len(z), device=z.device)
        factor = z.new_empty(len(z), z.shape[1], z.shape[1])
        known = torch.zeros_like(owner, dtype=torch.bool)  # whose factor still serves
        for _ in range(steps):
            if not len(rows):
                break
            wz, we, wg = z[rows], e[rows], g[rows]
            reused = known[rows]
            step = torch.empty_like(wg)
            if reused.any():
                old = rows[reused]
                step[reused] = -torch.cholesky_solve(wg[reused, :, None], factor[old])[..., 0]
            if not reused.all():
                new = rows[~reused]
                anew = self.energy.prepare(self.A[owner[new]])
                newton = self._newton_step(anew, wz[~reused], wg[~reused], patience > 0)
                step[~reused], factor[new], known[new] = newton
                indefinite[new] += ~known[new]
            if not patience:
                definite = known[rows]
                rows, wz, we, wg, step, reused = (x[definite] for x in (rows, wz, we, wg, step, reused))
            prepared = self.energy.prepare(self.A[owner[rows]])
            promised = -(wg * step).sum(-1)
            # Newton at rounding level can point uphill: the gradient then points better.
            uphill = promised <= 0
            step = torch.where(uphill[:, None], -states.sigma(self.energy, self.k) * wg, step)
            promised = -(wg * step).sum(-1)
            length = step.norm(dim=-1)
            t = (self.reach / length.clamp_min(1e-300)).clamp_max(1.0)
            open_ = torch.ones_like(uphill)
            for _ in range(30):
                new_z = wz + t[:, None] * step
                new_e, new_g = self.look(prepared, new_z)
                good = open_ & self.lower(we, wg, new_e, new_g, t * promised)
                taken[rows] += open_
                picked = rows[good]
                z[picked], e[picked], g[picked] = new_z[good], new_e[good], new_g[good]
                open_ = open_ & ~good
                if not open_.any():
                    break
                t = torch.where(open_, t / 2, t)
            size = g[rows].norm(dim=-1)
            known[rows] &= size < 0.1 * wg.norm(dim=-1)
            # Rows whose search failed with a Hessian of their own can go no lower at this precision.
            left = (size > self.tolerance[owner[rows]]) & ~(open_ & ~reused)
            rows = rows[left & (indefinite[rows] < max(1, patience))]
        return z, e, g, taken

    def _newton_step(self, prepared, z: Tensor, g: Tensor, indefinite: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Steps, Hessians' Cholesky factors, and where there is one; elsewhere a step only if `indefinite`."""
        H = basis_hessian(self.energy, prepared, z, self.k)
        L, failed = torch.linalg.cholesky_ex(H)
        step = torch.zeros_like(g)
        fine = failed == 0
        if fine.any():
            step[fine] = -torch.cholesky_solve(g[fine, :, None], L[fine])[..., 0]
        if indefinite and not fine.all():
            values, vectors = torch.linalg.eigh(H[~fine])
            size = values.abs()
            size = torch.maximum(size, 1e-8 * size.amax(-1, keepdim=True).clamp_min(1e-300))
            along = (vectors.mT @ g[~fine, :, None])[..., 0] / size
            step[~fine] = -(vectors @ along[..., None])[..., 0]
        return step, L, fine


def basis_hessian(energy: Energy, A, z: Tensor, k: int) -> Tensor:
    """Exact Hessians (B, size, size) in basis coordinates z (B, size), made exactly symmetric."""
    H = states.in_basis(energy, energy.hessian(A, energy.coordinates.from_basis(z), k))
    return (H + H.mT) / 2
