"""Two-dimensional slices of a landscape through the exponential map of a metric.

A plane of symmetric matrices through the origin is a plane of tangent vectors at the answer P = A⁻¹.
Where `slices.energy_slices` looks at P + τ(u a + v b) (τ = σ_k·scale/√ᾱ_k, so u, v count σ_k), these look at
exp_P(t·τ(u a + v b)): the same plane, bent so that it never leaves the cone. With t = 1 this is the
exponential map; at *equal distance* t > 0 is such that the point is as far from P in Frobenius norm as
the straight slice's, τ √(u² + v²), so that the ideal energy is the bowl (u² + v²)/2 in both.

Straight lines and Bures-Wasserstein geodesics leave the cone: their exponential map raises ValueError
there. The affine-invariant and the log-Euclidean one are defined everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from numpy.typing import NDArray
from torch import Tensor

from ired.instruments.core import states
from ired.instruments.geometry import geodesics, spd_states
from ired.instruments.geometry.metrics import METRICS, RiemannianMetric
from ired.instruments.landscape.slices import Directions, Slices
from ired.model.protocol import Energy

DOUBLINGS = 40


def symmetric_plane(energy: Energy, chosen: Directions) -> tuple[Directions, NDArray]:
    """The plane of the axes' symmetric parts, orthonormal, and how symmetric the axes were (P, 2).

    The second is ‖(V + Vᵀ)/2‖_F for each axis V of norm 1: 1, and the axes as they were, where states
    are symmetric.
    """
    n = energy.coordinates.n
    V = chosen.axes.unflatten(-1, (n, n))
    even = ((V + V.mT) / 2).flatten(-2)
    size = even.norm(dim=-1)
    first, second = even[:, 0] / size[:, :1], even[:, 1] / size[:, 1:]
    for _ in range(2):  # once loses digits where the parts are nearly parallel
        second = second - (second * first).sum(-1, keepdim=True) * first
        second = torch.nn.functional.normalize(second, dim=-1)
    return Directions(chosen.kind, torch.stack([first, second], 1), chosen.share), states.array(size)


@dataclass(frozen=True)
class Sheet:
    """The bent plane of P problems in one landscape.

    landscape: k; plane: its axes; line: tensor (G,) in σ_k; points: tensor (P, G·G, n, n), row by row
    of v; stretch: (P,) root mean square distance from the answer over that of the straight slice, 1 at
    equal distance.
    """

    landscape: int
    plane: Directions
    line: Tensor
    points: Tensor
    stretch: NDArray


@torch.no_grad()
def sheet(
    energy: Energy,
    P: Tensor,
    k: int,
    plane: Directions,
    metric: str,
    extent: float = 3.0,
    resolution: int = 21,
    equal: bool = True,
) -> Sheet:
    """The plane (`symmetric_plane`) of landscape k at the answers P (P, n, n), bent by a metric.

    Grid as in `slices.energy_slices`; equal: at equal distance, else by the exponential map as it is.
    """
    if resolution < 3 or resolution % 2 == 0:
        raise ValueError(f"the answer is on a grid of odd size (at least 3) only, not {resolution}")
    line, V = _vectors(P, spd_states.noise_scale(energy, k), plane, extent, resolution)
    here, t = P[:, None], torch.ones(V.shape[:2], dtype=V.dtype, device=V.device)
    if equal:
        t = _equal(METRICS[metric], here, V)
    Y = METRICS[metric].exp(here, t[..., None, None] * V)
    stretch = (Y - here).flatten(1).norm(dim=1) / V.flatten(1).norm(dim=1)
    return Sheet(landscape=k, plane=plane, line=line, points=Y, stretch=states.array(stretch))


@torch.no_grad()
def energy_on_sheets(energy: Energy, A: Tensor, bent: Sheet) -> Slices:
    """The energy of problems A (P, n, n) on their sheets: gap (P, G, G) to the answer's, in σ_k."""
    k, resolution, s = bent.landscape, len(bent.line), states.sigma(energy, bent.landscape)
    E = spd_states.energies(energy, A, bent.points, k)
    base = E[:, E.shape[1] // 2, None]
    rounding = 8 * torch.finfo(E.dtype).eps * E.abs().amax(-1) / s
    gap = ((E - base) / s).unflatten(-1, (resolution, resolution))
    line, share = states.array(bent.line), states.array(bent.plane.share)
    return Slices(
        kind=bent.plane.kind,
        landscape=k,
        sigma=s,
        u=line,
        v=line,
        gap=states.array(gap),
        rounding=states.array(rounding),
        share=share,
    )


@torch.no_grad()
def smallest(
    energy: Energy, P: Tensor, k: int, plane: Directions, extent: float = 3.0, resolution: int = 21
) -> NDArray:
    """Smallest eigenvalues (P, G, G) on the straight slice's grid: 0 is the cone's border."""
    _, V = _vectors(P, spd_states.noise_scale(energy, k), plane, extent, resolution)
    low = torch.linalg.eigvalsh(P[:, None] + V)[..., 0]
    return states.array(low.unflatten(-1, (resolution, resolution)))


def _vectors(P: Tensor, tau: float, plane: Directions, extent: float, resolution: int) -> tuple[Tensor, Tensor]:
    """The grid's line (G,) and its tangent vectors (P, G·G, n, n)."""
    line = torch.linspace(-extent, extent, resolution, dtype=P.dtype, device=P.device)
    line[resolution // 2] = 0.0
    v, u = torch.meshgrid(line, line, indexing="ij")
    grid = torch.stack([u, v], -1).reshape(-1, 2)
    return line, tau * (grid @ plane.axes).unflatten(-1, P.shape[-2:])


def _equal(metric: RiemannianMetric, P: Tensor, V: Tensor) -> Tensor:
    """Times (P, M) at which geodesics with velocities V are ‖V‖_F from P."""
    r = V.flatten(-2).norm(dim=-1)
    high = torch.ones_like(r)
    for _ in range(DOUBLINGS):
        short = geodesics.displacement(metric, P, V, high) < r * (1 - 1e-9)
        if not short.any():
            return geodesics.at_distance(metric, P, V, r, torch.zeros_like(r), high)
        high = torch.where(short, 2 * high, high)
    raise ValueError(f"a geodesic of the {metric.name} metric never gets as far as {r[short].max():.3g}")
