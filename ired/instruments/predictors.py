"""Predictors of A⁻¹ that know no landscapes: what every accuracy is measured against.

Zero, the training mean, ordinary least squares on A and on [A, A²] (upper triangles and an
intercept), and a plain regression network. The published energy model is about as accurate as the
third, so they stand in every table of accuracy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

NAMES = ("zero", "mean", "least_squares", "least_squares_squared", "regression")
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
        upper = features(A, self.degree) @ self.weights.to(A.device) + self.intercept.to(A.device)
        return matrices(upper, self.n).to(A.dtype)

    def mse(self, A: Tensor, Y: Tensor) -> Tensor:
        """Squared error of each matrix, averaged over its n·n entries: (B,)."""
        return (self(A) - Y).pow(2).mean((-2, -1))


class Regression:
    """A network of three hidden layers from the upper triangle of A to that of Y, standardised.

    scikit-learn's MLPRegressor; it makes one step of Adam on each batch (A, Y), all of one size.
    The first batch gives every entry's mean and deviation.
    """

    name = "regression"

    def __init__(self, batches: Iterable[tuple[Tensor, Tensor]], hidden: int, seed: int = 0):
        from sklearn.neural_network import MLPRegressor

        self._network = None
        for A, Y in batches:
            x, y = features(A, 1), features(Y, 1)
            if self._network is None:
                self._network = MLPRegressor(
                    hidden_layer_sizes=(hidden,) * 3, alpha=0.0, batch_size=len(A), random_state=seed
                )
                self._x, self._y = ((v.mean(0), v.std(0)) for v in (x, y))
            x, y = ((v - m) / s for v, (m, s) in ((x, self._x), (y, self._y)))
            self._network.partial_fit(x.float().numpy(), y.float().numpy())

    def __call__(self, A: Tensor) -> Tensor:
        """Predictions (B, n, n), symmetric, in A's type; computed in float32."""
        x = (features(A, 1) - self._x[0]) / self._x[1]
        y = torch.from_numpy(self._network.predict(x.float().numpy())).double()
        return matrices(y * self._y[1] + self._y[0], A.shape[-1]).to(A.dtype)

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


def matrices(upper: Tensor, n: int) -> Tensor:
    """Symmetric matrices (B, n, n) from their upper triangles (B, n(n+1)/2)."""
    rows, cols = torch.triu_indices(n, n, device=upper.device)
    Y = upper.new_empty(len(upper), n, n)
    Y[:, rows, cols] = upper
    Y[:, cols, rows] = upper
    return Y


def fit(batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Predictor]:
    """The four affine predictors by name, from batches (A, Y) of (B, n, n), in one pass.

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


def reproduce(
    recorded: Mapping[str, float], digit: float, batches: Iterable[tuple[Tensor, Tensor]], A: Tensor,
    Y: Tensor,
) -> list[dict[str, str | float | bool]]:
    """Errors on record beside those of predictors fitted anew, on problems A and answers Y (N, n, n).

    recorded: MSE by name of a predictor; digit: one unit of its last digit. A figure counts as
    reproduced if it is that near to the measured one, or within three standard errors more.
    """
    fitted, rows = fit(batches), []
    for name, value in recorded.items():
        error = fitted[name].mse(A, Y)
        measured, deviation = error.mean().item(), error.std().item() / len(error) ** 0.5
        rows.append({
            "side": A.shape[-1], "predictor": name, "recorded": value, "measured": measured,
            "standard_error": deviation,
            "reproduced": abs(measured - value) <= digit + 3 * deviation,
        })  # fmt: skip
    return rows


def _solve(covariance: Tensor, cross: Tensor) -> Tensor:
    """Regression weights from covariances, with features brought to unit variance first."""
    size = covariance.diagonal().clamp_min(torch.finfo(covariance.dtype).tiny).sqrt()
    correlation = covariance / size[:, None] / size
    inverse = torch.linalg.pinv(correlation, rtol=CUTOFF, hermitian=True)
    return inverse @ (cross / size[:, None]) / size[:, None]
