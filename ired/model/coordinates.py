"""Diffusion coordinates: how an inverse matrix becomes the vector that the landscapes are made for, and back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor


@dataclass(frozen=True)
class Coordinates:
    """Diffusion coordinates y0 = (Y − shift·I) / scale, flattened row-major to d = n·n numbers.

    The published model has shift 0 and scale 1. Conjugating A = 2RRᵀ + cI by a sign flip or a
    permutation leaves its distribution unchanged, so E[A⁻¹] is a multiple of I: one number of
    shift and one of scale standardise Y and keep its geometry.

    With `symmetric`, states live in the n(n+1)/2-dimensional space of symmetric matrices: noise is
    drawn there (unit variance along every direction of an orthonormal basis) and gradients of
    energies have no antisymmetric part. "Basis" coordinates are then the isometric half
    vectorisation (off-diagonal entries times √2); otherwise they are y itself.
    """

    n: int
    shift: float = 0.0
    scale: float = 1.0
    symmetric: bool = False

    @property
    def d(self) -> int:
        """Entries of a flattened matrix."""
        return self.n * self.n

    @property
    def size(self) -> int:
        """Dimensions that states can move in: d, or n(n+1)/2 when symmetric."""
        return self.n * (self.n + 1) // 2 if self.symmetric else self.d

    def encode(self, Y: Tensor) -> Tensor:
        """Matrices (..., n, n) to states at noise zero (..., d)."""
        eye = torch.eye(self.n, dtype=Y.dtype, device=Y.device)
        return ((Y - self.shift * eye) / self.scale).flatten(-2)

    def decode(self, y: Tensor) -> Tensor:
        """States at noise zero (..., d) to matrices (..., n, n)."""
        eye = torch.eye(self.n, dtype=y.dtype, device=y.device)
        return y.unflatten(-1, (self.n, self.n)) * self.scale + self.shift * eye

    def project(self, v: Tensor) -> Tensor:
        """Orthogonal projection of (..., d) onto the space that states live in."""
        if not self.symmetric:
            return v
        V = v.unflatten(-1, (self.n, self.n))
        return ((V + V.mT) / 2).flatten(-2)

    def noise(
        self,
        *shape: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Tensor:
        """Standard normal states (*shape, d), isotropic in the space that states live in."""
        z = torch.randn(*shape, self.size, generator=generator, dtype=dtype, device=device)
        return self.from_basis(z)

    def to_basis(self, y: Tensor) -> Tensor:
        """Orthonormal coordinates (..., size) of the projection of y (..., d)."""
        if not self.symmetric:
            return y
        upper, lower, half, _, _ = _tables(self.n, y.dtype, y.device)
        return (y[..., upper] + y[..., lower]).mul_(half)

    def from_basis(self, z: Tensor) -> Tensor:
        """The state (..., d) with orthonormal coordinates z (..., size)."""
        if not self.symmetric:
            return z
        *_, place, weight = _tables(self.n, z.dtype, z.device)
        return z[..., place] * weight


@lru_cache(maxsize=64)
def _tables(n: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
    """Which entries make a basis coordinate and with what weight, and the way back."""
    rows, columns = torch.triu_indices(n, n, device=device)
    half = torch.full_like(rows, math.sqrt(0.5), dtype=dtype)
    half[rows == columns] = 0.5
    place = torch.empty(n, n, dtype=torch.long, device=device)
    place[rows, columns] = torch.arange(len(rows), device=device)
    place[columns, rows] = place[rows, columns]
    weight = torch.full((n, n), math.sqrt(0.5), dtype=dtype, device=device).fill_diagonal_(1.0)
    return rows * n + columns, columns * n + rows, half, place.flatten(), weight.flatten()
