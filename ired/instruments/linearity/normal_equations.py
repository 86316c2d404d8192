"""Least squares by normal equations, summed in chunks and cross-fitted over problems.

Only sums of products are held, 8·(inputs + outputs)² bytes for each fold: at n = 20 the score has 610 inputs and 400
outputs, 8 MB a fold, whatever the number of rows. Sums are taken around the first rows' mean, in float64, and solved by
Cholesky with inputs brought to unit variance. Where inputs are dependent (more of them than rows, say) the least
penalty that gives an answer is added, and the map says so (Hastie, Tibshirani & Friedman 2009, ch. 3).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ired.instruments.statistics.regression import Affine

# Of standardised inputs: an input of which the others leave less than this share is one of them, and then every
# input gets this penalty (in numbers of rows).
SINGULAR, RIDGE = 1e-10, 1e-6
CONSTANT = 1e-13  # of the largest variance: less is rounding


@dataclass(frozen=True)
class RowMoments:
    """Of `count` rows: mean (C,) and covariance (C, C) of their columns."""

    count: int
    mean: Tensor
    covariance: Tensor

    def affine_map(self, inputs: slice, outputs: slice) -> tuple[Affine, float]:
        """The best affine map of some columns to others, and the ridge that it took (0: none)."""
        weights, ridge = self._weights(inputs, outputs)
        return Affine(self.mean[inputs], weights, self.mean[outputs]), ridge

    def isotropic_map(self, features: slice, state: slice, outputs: slice) -> tuple[Affine, float]:
        """The best map of [features, state] to as many outputs as the state has, whose weight on the state is one
        number times I. The columns of both stand side by side."""
        both = slice(state.start, outputs.stop)
        weights, ridge = self._weights(features, both)  # of the state and of the outputs, on the features
        size = state.stop - state.start
        left = self.covariance[both, both] - self.covariance[both, features] @ weights
        on_state, on_outputs = weights[:, :size], weights[:, size:]
        slope = left[:size, size:].trace() / left[:size, :size].trace()
        eye = torch.eye(size, dtype=weights.dtype, device=weights.device)
        weights = torch.cat([on_outputs - slope * on_state, slope * eye])
        return Affine(self.mean[slice(features.start, state.stop)], weights, self.mean[outputs]), ridge

    def unexplained(self, inputs: slice, outputs: slice, fitted: Affine) -> float:
        """What a map leaves of the outputs on the rows that it was fitted to: mean squares, summed over outputs."""
        W, cross = fitted.weights, self.covariance[inputs, outputs]
        explained = 2 * (W * cross).sum() - (W * (self.covariance[inputs, inputs] @ W)).sum()
        return (self.total(outputs) - explained).item()

    def total(self, outputs: slice) -> float:
        """The variance of the outputs, summed over them."""
        return self.covariance[outputs, outputs].trace().item()

    def _weights(self, inputs: slice, outputs: slice) -> tuple[Tensor, float]:
        covariance, cross = self.covariance[inputs, inputs], self.covariance[inputs, outputs]
        variances = covariance.diagonal()
        size = variances.clamp_min(CONSTANT * variances.max()).sqrt()
        correlation = covariance / size[:, None] / size
        target = cross / size[:, None]
        root, failed = torch.linalg.cholesky_ex(correlation)
        ridge = 0.0
        if failed or root.diagonal().min() ** 2 < SINGULAR:
            ridge = RIDGE  # far above rounding, which makes some eigenvalues negative
            correlation.diagonal().add_(ridge)
            root = torch.linalg.cholesky(correlation)
        return torch.cholesky_solve(target, root) / size[:, None], ridge


class NormalEquations:
    """Sums of products of the columns of rows, for each of `folds` folds."""

    def __init__(self, folds: int):
        if folds < 2:
            raise ValueError("a map is judged on problems that it was not fitted to: two folds at least")
        self._counts = [0] * folds
        self._origin: Tensor | None = None

    def add(self, rows: Tensor, fold: Tensor) -> None:
        """Rows (N, C) that belong to these folds (N,)."""
        rows = rows.double()
        if self._origin is None:
            self._origin = rows.mean(0)
            folds, width = len(self._counts), rows.shape[1]
            self._totals = rows.new_zeros(folds, width)
            self._products = rows.new_zeros(folds, width, width)
        rows = rows - self._origin
        for f in range(len(self._counts)):
            part = rows[fold == f]
            self._counts[f] += len(part)
            self._totals[f] += part.sum(0)
            self._products[f].addmm_(part.mT, part)

    def without(self, fold: int) -> RowMoments:
        """Of the rows of all other folds. Raises ValueError where there are none."""
        count = sum(self._counts) - self._counts[fold]
        if self._origin is None or not count:
            raise ValueError("there are no rows to fit a map to")
        kept = [f for f in range(len(self._counts)) if f != fold]
        shift = self._totals[kept].sum(0) / count
        covariance = self._products[kept].sum(0) / count - torch.outer(shift, shift)
        return RowMoments(count, self._origin + shift, covariance)
