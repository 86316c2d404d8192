"""Spectra in a number: inertia, participation ratio, entropy rank.

All take eigenvalues, or squared singular values, in the last axis.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TOLERANCE = 1e-8


def inertia(eigenvalues: NDArray, tolerance: float = TOLERANCE) -> NDArray:
    """Counts (..., 3) of negative, zero (|λ| ≤ tolerance·max|λ|) and positive eigenvalues."""
    level = tolerance * np.abs(eigenvalues).max(-1, keepdims=True)
    negative, positive = (eigenvalues < -level).sum(-1), (eigenvalues > level).sum(-1)
    return np.stack([negative, eigenvalues.shape[-1] - negative - positive, positive], -1)


def participation_ratio(eigenvalues: NDArray) -> NDArray:
    """(Σ|λ|)²/Σλ²: m for m equal eigenvalues, 1 for a single one (0 for none)."""
    size = np.abs(eigenvalues)
    squares = (size**2).sum(-1)
    return np.divide(size.sum(-1) ** 2, squares, out=np.zeros_like(squares), where=squares > 0)


def entropy_rank(eigenvalues: NDArray) -> NDArray:
    """exp(−Σ p log p) with p = |λ|/Σ|λ|: m for m equal eigenvalues, 1 for a single one."""
    size = np.abs(eigenvalues)
    p = size / size.sum(-1, keepdims=True).clip(np.finfo(float).tiny)
    return np.exp(-(p * np.log(p, out=np.zeros_like(p), where=p > 0)).sum(-1))
