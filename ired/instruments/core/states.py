"""Where the instruments look: answers, points around them, bases of the space that states live in.

Lengths are counted in *noise radii*: the noise radius of landscape k is σ_k·√size, the distance of
a typical noised state √ᾱ_k y₀ + σ_k ε from √ᾱ_k y₀ (size = dimensions that states can move in).
Randomness is drawn where the generator lives and then moved, so that a seed means the same points
on every device.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ired.model.protocol import Energy


def array(tensor: Tensor) -> NDArray:
    """A tensor as a numpy array of the same shape, floats as float64."""
    tensor = tensor.detach().cpu()
    return (tensor.double() if tensor.is_floating_point() else tensor).numpy()


def answers(energy: Energy, A: Tensor) -> Tensor:
    """The true answers y₀ = encode(A⁻¹), (P, d), of problems A (P, n, n); inverted in float64."""
    return energy.coordinates.encode(torch.linalg.inv(A.double())).to(A.dtype)


def centre(energy: Energy, y0: Tensor, k: int) -> Tensor:
    """√ᾱ_k y₀: where landscape k has the answer y₀ (..., d)."""
    return energy.schedule.sqrt_alpha_bar[k].item() * y0


def sigma(energy: Energy, k: int) -> float:
    """σ_k, the standard deviation of landscape k's noise along each direction."""
    return energy.schedule.sigma[k].item()


def noise_radius(energy: Energy, k: int) -> float:
    """σ_k·√size, the unit of length in landscape k."""
    return sigma(energy, k) * math.sqrt(energy.coordinates.size)


def noise(energy: Energy, *shape: int, generator: torch.Generator, like: Tensor) -> Tensor:
    """Standard normal states (*shape, d) of like's dtype on its device."""
    drawn = energy.coordinates.noise(*shape, generator=generator, dtype=torch.float64, device=generator.device)
    return drawn.to(like)


def unit_directions(energy: Energy, *shape: int, generator: torch.Generator, like: Tensor) -> Tensor:
    """Unit vectors (*shape, d), uniform on the sphere of the space that states live in."""
    return torch.nn.functional.normalize(noise(energy, *shape, generator=generator, like=like), dim=-1)


def around(energy: Energy, y0: Tensor, k: int, distance: float, count: int, generator: torch.Generator) -> Tensor:
    """Points (P, count, d) at exactly `distance` noise radii from the answers y₀ (P, d)."""
    u = unit_directions(energy, len(y0), count, generator=generator, like=y0)
    return centre(energy, y0, k)[:, None] + distance * noise_radius(energy, k) * u


def noised(
    energy: Energy, y0: Tensor, k: int, count: int, generator: torch.Generator, scale: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Noised answers √ᾱ_k y₀ + scale·σ_k ε, (P, count, d), and their ε."""
    epsilon = noise(energy, len(y0), count, generator=generator, like=y0)
    return centre(energy, y0, k)[:, None] + scale * sigma(energy, k) * epsilon, epsilon


def at_answers(energy: Energy, y0: Tensor, landscapes: Sequence[int]) -> Tensor:
    """Where each landscape has the answers y₀ (P, d), without noise: (L, P, d)."""
    return torch.stack([centre(energy, y0, k) for k in landscapes])


def at_noise(energy: Energy, y0: Tensor, landscapes: Sequence[int], generator: torch.Generator) -> Tensor:
    """One noised answer of each problem in each landscape, as in training: (L, P, d)."""
    return torch.stack([noised(energy, y0, k, 1, generator)[0][:, 0] for k in landscapes])


def demand_double(y: Tensor, what: str) -> None:
    """Raises ValueError where `what` cannot be told apart from rounding in y's precision."""
    if y.dtype != torch.float64:
        raise ValueError(f"{what} need float64 states, not {y.dtype}")


def hessians_per_call(energy: Energy, memory: int) -> int:
    """How many Hessians fit into `memory` bytes with the float64 derivatives they are made of.

    Six arrays of d × (d + 1024) numbers are allowed for each: products of layers up to 1024 wide.
    """
    d = energy.coordinates.d
    return max(1, memory // (6 * 8 * d * (d + 1024)))


def state_basis(energy: Energy, like: Tensor) -> Tensor:
    """Orthonormal rows (size, d) that span the space of states; row i has basis coordinates e_i."""
    eye = torch.eye(energy.coordinates.size, dtype=like.dtype, device=like.device)
    return energy.coordinates.from_basis(eye)


def in_basis(energy: Energy, H: Tensor) -> Tensor:
    """Bilinear forms on states, (B, d, d), as ones on basis coordinates, (B, size, size)."""
    return energy.coordinates.to_basis(energy.coordinates.to_basis(H).mT).mT


def symmetric_basis(n: int, like: Tensor) -> Tensor:
    """Orthonormal rows (n(n+1)/2, n·n): the flattened symmetric matrices."""
    return _matrix_basis(n, like, 0, 1.0)


def antisymmetric_basis(n: int, like: Tensor) -> Tensor:
    """Orthonormal rows (n(n−1)/2, n·n): the flattened antisymmetric matrices."""
    return _matrix_basis(n, like, 1, -1.0)


def symmetric(M: Tensor) -> Tensor:
    """The symmetric part (M + Mᵀ)/2 of matrices (..., n, n); of a gradient by A, what it says about symmetric A."""
    return (M + M.mT) / 2


def antisymmetric(y: Tensor, n: int) -> Tensor:
    """The antisymmetric part of flattened matrices (..., n·n)."""
    Y = y.unflatten(-1, (n, n))
    return ((Y - Y.mT) / 2).flatten(-2)


def tidy_columns(axes: dict[str, Sequence], **arrays: NDArray) -> dict[str, NDArray]:
    """Tidy columns of arrays whose leading dimensions are `axes` (name → labels), in order.

    An array with fewer dimensions than the longest is repeated along the missing ones.
    """
    depth = max(np.ndim(a) for a in arrays.values())
    labels = [np.asarray(values) for values in axes.values()][:depth]
    shape = tuple(len(values) for values in labels)
    grid = np.meshgrid(*labels, indexing="ij")
    tidy = {name: g.ravel() for name, g in zip(axes, grid, strict=False)}
    for name, a in arrays.items():
        a = np.asarray(a)
        a = a.reshape(a.shape + (1,) * (depth - a.ndim))
        tidy[name] = np.broadcast_to(a, shape).ravel()
    return tidy


def _matrix_basis(n: int, like: Tensor, offset: int, sign: float) -> Tensor:
    rows, cols = torch.triu_indices(n, n, offset, device=like.device)
    basis = torch.zeros(len(rows), n, n, dtype=like.dtype, device=like.device)
    place = torch.arange(len(rows), device=like.device)
    basis[place, rows, cols] += math.sqrt(0.5)
    basis[place, cols, rows] += sign * math.sqrt(0.5)
    basis[place[rows == cols], rows[rows == cols], cols[rows == cols]] = 1.0
    return basis.flatten(-2)
