"""Predictors of A⁻¹ that know no landscapes: what every accuracy is measured against.

Zero, the training mean, and ordinary least squares on A and on [A, A²] (upper triangles and an
intercept). The published energy model is about as accurate as the third, so all four stand in
every table of accuracy.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

NAMES = ("zero", "mean", "least_squares", "least_squares_squared")
# Directions of standardised features with less than this share of the largest variance are
# rounding, and get no weight (the least-norm solution).
CUTOFF = 1e-12


@dataclass(frozen=True)
class Predictor:
    """An affine map from features of A to the upper triangle of Y.

    degree: 0 (no features), 1 (A) or 2 ([A, A²]); weights: (features, n(n+1)/2), intercept:
    (n(n+1)/2,) float64 tensors.
    """

    name: str
    n: int
    degree: int
    weights: Tensor
    intercept: Tensor

    def __call__(self, A: Tensor) -> Tensor:
        """Predictions (B, n, n), symmetric, in A's type; computed in float64."""
        rows, cols = torch.triu_indices(self.n, self.n, device=A.device)
        upper = features(A, self.degree) @ self.weights.to(A.device) + self.intercept.to(A.device)
        Y = upper.new_empty(len(A), self.n, self.n)
        Y[:, rows, cols] = upper
        Y[:, cols, rows] = upper
        return Y.to(A.dtype)

    def mse(self, A: Tensor, Y: Tensor) -> Tensor:
        """Squared error of each matrix, averaged over its n·n entries: (B,)."""
        return (self(A) - Y).pow(2).mean((-2, -1))


def features(A: Tensor, degree: int) -> Tensor:
    """Upper triangles of A, …, A^degree side by side: (B, degree·n(n+1)/2), float64."""
    rows, cols = torch.triu_indices(A.shape[-1], A.shape[-1], device=A.device)
    A = A.double()
    powers, power = [A.new_empty(len(A), 0)], None
    for _ in range(degree):
        power = A if power is None else power @ A
        powers.append(power[:, rows, cols])
    return torch.cat(powers, dim=1)


def fit(batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Predictor]:
    """The four predictors by name, from batches (A, Y) of (B, n, n), in one pass.

    Sums of products are kept around the first batch's mean, in float64, and solved with features
    standardised. Only the sums are held in memory.
    """
    origin = None
    for A, Y in batches:
        n = A.shape[-1]
        X = torch.cat([features(A, 2), features((Y + Y.mT) / 2, 1)], dim=1)
        if origin is None:
            origin = X.mean(0)
            count, total = 0, torch.zeros_like(origin)
            products = X.new_zeros(X.shape[1], X.shape[1])
        X = X - origin
        count += len(X)
        total += X.sum(0)
        products += X.mT @ X
    if origin is None:
        raise ValueError("there are no problems to fit predictors to")
    half = n * (n + 1) // 2
    shift = total / count
    mean = origin + shift
    covariance = products / count - torch.outer(shift, shift)
    target = slice(2 * half, 3 * half)
    none = mean.new_zeros(0, half)
    found = {
        "zero": Predictor("zero", n, 0, none, torch.zeros_like(mean[target])),
        "mean": Predictor("mean", n, 0, none, mean[target]),
    }
    for name, degree in (("least_squares", 1), ("least_squares_squared", 2)):
        used = slice(0, degree * half)
        weights = _solve(covariance[used, used], covariance[used, target])
        intercept = mean[target] - mean[used] @ weights
        found[name] = Predictor(name, n, degree, weights, intercept)
    return found


def _solve(covariance: Tensor, cross: Tensor) -> Tensor:
    """Regression weights from covariances, with features brought to unit variance first."""
    size = covariance.diagonal().clamp_min(torch.finfo(covariance.dtype).tiny).sqrt()
    correlation = covariance / size[:, None] / size
    inverse = torch.linalg.pinv(correlation, rtol=CUTOFF, hermitian=True)
    return inverse @ (cross / size[:, None]) / size[:, None]
