"""SPD matrices as states of a landscape, and noise beside the cone that they form.

A matrix Y is the state √ᾱ_k·encode(Y) of landscape k. Noise of σ_k there is noise of τ_k = σ_k·scale/√ᾱ_k
on the matrix, along each direction of Frobenius norm 1. The border of the cone is λ_min(Y) away, so that
there is a landscape from which on noised answers are hardly ever positive definite: geodesics and
tangent vectors mean something only as far as the cone reaches. Nothing here is projected.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from numpy.typing import NDArray
from torch import Tensor

from ired.instruments.core import states as points
from ired.instruments.geometry import metrics
from ired.model.protocol import Energy

STATES = 16384  # evaluated at a time


def noise_scale(energy: Energy, k: int) -> float:
    """τ_k = σ_k·scale/√ᾱ_k: landscape k's noise along one direction, in the unit of matrices."""
    return points.sigma(energy, k) * energy.coordinates.scale / energy.schedule.sqrt_alpha_bar[k].item()


def symmetric_noise_radius(energy: Energy, k: int) -> float:
    """τ_k √(n(n+1)/2): the Frobenius norm that the symmetric part of noise typically has."""
    n = energy.coordinates.n
    return noise_scale(energy, k) * math.sqrt(n * (n + 1) / 2)


def states_of_matrices(energy: Energy, Y: Tensor, k: int) -> Tensor:
    """What matrices Y (..., n, n) are in landscape k: √ᾱ_k·encode(Y), (..., d)."""
    return points.centre(energy, energy.coordinates.encode(Y), k)


def symmetric_noise(Y: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Standard normal symmetric matrices (P, count, n, n), isotropic in Frobenius norm."""
    n = Y.shape[-1]
    drawn = torch.randn(
        len(Y), count, n * (n + 1) // 2, generator=generator, dtype=torch.float64, device=generator.device
    )
    return (drawn.to(Y) @ points.symmetric_basis(n, Y)).unflatten(-1, (n, n))


def share_inside_cone(
    energy: Energy, Y: Tensor, landscapes: Sequence[int], draws: int, generator: torch.Generator
) -> NDArray:
    """(L, P): share of noised answers Y + τ_k·noise, symmetric parts, that are positive definite."""
    E = symmetric_noise(Y, draws, generator)
    shares = [
        (torch.linalg.eigvalsh(Y[:, None] + noise_scale(energy, k) * E)[..., 0] > 0).double().mean(-1)
        for k in landscapes
    ]
    return points.array(torch.stack(shares))


def perturbed(
    Y: Tensor, radius: float, count: int, generator: torch.Generator, depth: float = 0.8
) -> tuple[Tensor, Tensor]:
    """SPD matrices (P, count, n, n) around Y in random symmetric directions, and their distance (P,).

    All of a problem's lie at one Frobenius distance: `radius`, or less where the cone is narrower:
    `depth` of the way to the cone's border along that direction (or its opposite) among those drawn in
    which it is nearest. So all of them are SPD without any being rejected or projected.
    """
    U = symmetric_noise(Y, count, generator)
    U = U / U.flatten(-2).norm(dim=-1)[..., None, None]
    reach = (depth * metrics.border(Y[:, None], U).amin(-1)).clamp_max(radius)
    return Y[:, None] + reach[:, None, None, None] * U, reach


def energies(energy: Energy, A: Tensor, Y: Tensor, k: int) -> Tensor:
    """E (P, M) of matrices Y (P, M, n, n) in landscape k, a few problems at a time."""
    rows = torch.arange(len(A), device=A.device).split(max(1, STATES // Y.shape[1]))
    parts = [energy.energy(energy.prepare(A[batch]), states_of_matrices(energy, Y[batch], k), k) for batch in rows]
    return torch.cat(parts)


def entered(M: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where paths of matrices (S, P, n, n) first are positive definite: step, matrix, asymmetry.

    By the symmetric part, which is what is returned (P, n, n); asymmetry (P,) is the norm of what that
    leaves out, over the matrix' own. step (P,) is −1 where no step is; the matrix then is the last step's.
    """
    even = (M + M.mT) / 2
    definite = torch.linalg.eigvalsh(even)[..., 0] > 0
    step = torch.where(definite.any(0), definite.double().argmax(0), -1)
    problem = torch.arange(M.shape[1], device=M.device)
    entry, whole = even[step, problem], M[step, problem]
    norm = whole.flatten(1).norm(dim=1).clamp_min(torch.finfo(M.dtype).tiny)
    return step, entry, (whole - entry).flatten(1).norm(dim=1) / norm
