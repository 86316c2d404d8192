"""Isotropic, covariance-matched and orthogonal random directions: what a direction that was found stands beside.

Everything is drawn in float64 where the generator lives and moved afterwards, so that a seed means the same
directions on every device.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ired.instruments.core import states
from ired.instruments.core.directions import STATE
from ired.model.protocol import Energy


def normal(*shape: int, generator: torch.Generator, like: Tensor | None = None) -> Tensor:
    """Standard normal numbers of a shape, of like's dtype on its device; without `like` as they were drawn."""
    drawn = torch.randn(*shape, generator=generator, dtype=torch.float64, device=generator.device)
    return drawn if like is None else drawn.to(like)


def unit(vectors: Tensor) -> Tensor:
    """Rows (count, width) scaled to length 1."""
    return torch.nn.functional.normalize(vectors, dim=1)


def isotropic(count: int, width: int, generator: torch.Generator, like: Tensor | None = None) -> Tensor:
    """Unit vectors (count, width), uniform on the sphere."""
    drawn = unit(normal(count, width, generator=generator))
    return drawn if like is None else drawn.to(like)


def isotropic_in(
    energy: Energy, space: str, count: int, width: int, generator: torch.Generator, like: Tensor
) -> Tensor:
    """Unit vectors (count, width), uniform in a space that directions are found in: a layer of that width, or
    STATE, where they lie in the space that states live in."""
    if space == STATE:
        return states.unit_directions(energy, count, generator=generator, like=like)
    return isotropic(count, width, generator, like)


def covariance_matched(
    covariance: Tensor, count: int, generator: torch.Generator, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Unit vectors (count, width), Gaussian with a covariance (width, width): what a dictionary that has learned
    the covariance and nothing else would look like."""
    values, vectors = torch.linalg.eigh(covariance.double())
    root = vectors * values.clamp_min(0).sqrt()
    return unit(normal(count, len(root), generator=generator) @ root.mT).to(dtype)


def mixtures(normals: Tensor, x: Tensor) -> Tensor:
    """Unit vectors (count, width), Gaussian with the covariance of x (N, width), which is never formed: mixtures
    of its rows' deviations from their mean by standard normal numbers (count, N)."""
    return unit(normals @ (x - x.mean(0)))


def orthonormal(count: int, width: int, generator: torch.Generator, like: Tensor | None = None) -> Tensor:
    """Orthonormal rows (count, width) of a uniformly random subspace; count is width at most."""
    Q = torch.linalg.qr(normal(width, count, generator=generator)).Q.mT
    return Q if like is None else Q.to(like)


def without(directions: Tensor, span: Tensor) -> Tensor:
    """Unit vectors (count, width) of what directions (count, width) have outside a span, orthonormal rows
    (m, width)."""
    return unit(directions - directions @ span.mT @ span)


def rotations(count: int, n: int, generator: torch.Generator) -> Tensor:
    """Haar-distributed orthogonal matrices (count, n, n), float64 where the generator lives.

    Mezzadri 2007: QR of a normal matrix with the signs of R's diagonal, without which Q is not uniform.
    """
    Q, R = torch.linalg.qr(normal(count, n, n, generator=generator))
    return Q * R.diagonal(dim1=-2, dim2=-1).sign()[:, None, :]
