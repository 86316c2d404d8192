"""Least squares, a regression network and other predictors that know no landscapes: what a model has to beat.

Zero, the training mean, ordinary least squares on A and on [A, A²] (upper triangles and an
intercept), and a plain regression network. The published energy model is about as accurate as the
third, so they stand in every table of accuracy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import copy
from dataclasses import dataclass
from itertools import islice, pairwise

import torch
from torch import Tensor, nn

from ired.instruments.statistics.regression import least_squares

NAMES = ("zero", "mean", "least_squares", "least_squares_squared", "regression")
# Directions of standardised features with less than this share of the largest variance are
# rounding, and get no weight (the least-norm solution).
CUTOFF = 1e-12
# Of the regression network. Tried at n = 6 (hidden 256, 3000 steps): rates 3e-3, 6e-3, 1e-2, with and without a
# warm-up, second beta 0.99 and 0.999, batches of 256 and 512; at n = 20 (hidden 512, 307 200 problems): rates 1e-3,
# 3e-3, 6e-3, batches of 128, 256, 512. All with seed 0, judged on 10 000 problems that no experiment draws. At
# n = 6 MSE 0.000325 (0.000310 at 1e-2 with a warm-up, the best; 0.00081 the worst, 1500 steps of 512 at 3e-3).
RATE, BETAS, BATCH = 6e-3, (0.9, 0.99), 256


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
        upper = power_features(A, self.degree) @ self.weights.to(A.device) + self.intercept.to(A.device)
        return matrices(upper, self.n).to(A.dtype)

    def mse(self, A: Tensor, Y: Tensor) -> Tensor:
        """Squared error of each matrix, averaged over its n·n entries: (B,)."""
        return (self(A) - Y).pow(2).mean((-2, -1))

    def tensors(self) -> dict[str, Tensor]:
        """What it was fitted to."""
        return {"weights": self.weights, "intercept": self.intercept}


class RegressionNetwork:
    """A network of three hidden layers from the upper triangle of A to that of Y, standardised.

    Adam makes one step on each of the first `steps` batches (A, Y), at a rate that falls to 0 along a
    cosine. Problems should be fresh in every batch: then nothing is there to overfit. The first batch
    gives every entry's mean and deviation. Raises ValueError where there are fewer batches.
    """

    name = "regression"

    def __init__(
        self, batches: Iterable[tuple[Tensor, Tensor]], hidden: int, steps: int, rate: float = RATE, seed: int = 0
    ):
        done = 0
        for done, (A, Y) in enumerate(islice(batches, steps), 1):
            x, y = power_features(A, 1), power_features(Y, 1)
            if done == 1:
                self._x, self._y = ((v.mean(0), v.std(0)) for v in (x, y))
                self._network = _network(x.shape[1], hidden, seed).to(A.device)
                adam = torch.optim.Adam(self._network.parameters(), lr=rate, betas=BETAS, fused=True)
                falling = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
            x, y = (((v - m) / s).float() for v, (m, s) in ((x, self._x), (y, self._y)))
            adam.zero_grad()
            (self._network(x) - y).pow(2).mean().backward()
            adam.step()
            falling.step()
        if done < steps or not steps:
            raise ValueError(f"a network of {steps} steps cannot be trained on {done} batches")
        self._network.requires_grad_(False)

    @classmethod
    def restored(cls, tensors: Mapping[str, Tensor], dtype: torch.dtype = torch.float32) -> RegressionNetwork:
        """From what `tensors` gave; it computes in `dtype`."""
        network = cls.__new__(cls)
        network._x, network._y = ((tensors[f"{v}.mean"].double(), tensors[f"{v}.std"].double()) for v in "xy")
        weights = {name: values for name, values in tensors.items() if name[0] not in "xy"}
        network._network = _network(len(tensors["x.mean"]), len(weights["0.bias"]), seed=0)
        network._network.load_state_dict(weights)
        network._network.to(device=tensors["x.mean"].device, dtype=dtype).requires_grad_(False)
        return network

    def tensors(self) -> dict[str, Tensor]:
        """All that was learned: weights by layer, means and deviations of inputs x and outputs y."""
        scales = {
            f"{v}.{what}": value
            for v in "xy"
            for what, value in zip(("mean", "std"), getattr(self, f"_{v}"), strict=True)
        }
        return scales | self._network.state_dict()

    def __call__(self, A: Tensor) -> Tensor:
        """Predictions (B, n, n), symmetric, in A's type; computed in the network's."""
        y = self._network(self._inputs(A)).double() * self._y[1] + self._y[0]
        return matrices(y, A.shape[-1]).to(A)

    def layers(self, A: Tensor) -> dict[str, Tensor]:
        """What its layers hold, float64: "fc1", "fc2", "fc3" (B, hidden) past their swish, as an energy's activations,
        and "f" (B, n(n+1)/2), the answer's upper triangle, standardised."""
        h, held = self._inputs(A), {}
        for number, layer in enumerate(self._network):
            h = layer(h)
            if number % 2:
                held[f"fc{number // 2 + 1}"] = h.double()
        return held | {"f": h.double()}

    def made_linear(self, layer: str, A: Tensor) -> RegressionNetwork:
        """With the affine map that fits "fc1", "fc2" or "fc3" best, from its input on problems A (N, n, n), in its
        place. Raises ValueError for no more problems than the fit has coefficients."""
        place = 2 * (int(layer.removeprefix("fc")) - 1)
        before, linear = self._network[:place], self._network[place]
        x = before(self._inputs(A)).double()
        if len(x) <= x.shape[1] + 1:
            raise ValueError(f"{len(x)} problems do not fix {x.shape[1] + 1} coefficients")
        fit = least_squares(x, self._network[place + 1](linear(x.to(linear.weight))).double())
        replaced = nn.Linear(x.shape[1], linear.out_features, dtype=linear.weight.dtype, device=x.device)
        replaced.load_state_dict({"weight": fit.weights.mT, "bias": fit.offset - fit.centre @ fit.weights})
        other = copy(self)
        other._network = nn.Sequential(*before, replaced, nn.Identity(), *self._network[place + 2 :]).requires_grad_(
            False
        )
        return other

    def mse(self, A: Tensor, Y: Tensor) -> Tensor:
        """Squared error of each matrix, averaged over its n·n entries: (B,)."""
        return (self(A) - Y).pow(2).mean((-2, -1))

    def _inputs(self, A: Tensor) -> Tensor:
        """What the first layer takes: standardised, in the network's type and place."""
        x = (power_features(A.to(self._x[0].device), 1) - self._x[0]) / self._x[1]
        return x.to(self._network[0].weight.dtype)


def power_features(A: Tensor, degree: int) -> Tensor:
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


def affine_predictors(batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Predictor]:
    """The four affine predictors by name, from batches (A, Y) of (B, n, n), in one pass.

    Sums of products are kept around the first batch's mean, in float64, and solved with features
    standardised. Only the sums are held in memory.
    """
    origin = None
    for A, Y in batches:
        n = A.shape[-1]
        X = torch.cat([power_features(A, 2), power_features((Y + Y.mT) / 2, 1)], dim=1)
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
    predictors = {
        "zero": Predictor(name="zero", n=n, degree=0, weights=none, intercept=torch.zeros_like(mean[target])),
        "mean": Predictor(name="mean", n=n, degree=0, weights=none, intercept=mean[target]),
    }
    for name, degree in (("least_squares", 1), ("least_squares_squared", 2)):
        used = slice(0, degree * half)
        weights = _solve(covariance[used, used], covariance[used, target])
        intercept = mean[target] - mean[used] @ weights
        predictors[name] = Predictor(name=name, n=n, degree=degree, weights=weights, intercept=intercept)
    return predictors


def error_moment(predict: Callable[[Tensor], Tensor], A: Tensor, Y: Tensor) -> Tensor:
    """The mean of products of errors: (n(n+1)/2, n(n+1)/2) over the upper triangles of Y − m(A), float64."""
    missed = power_features(Y - predict(A), 1)
    return missed.mT @ missed / len(missed)


def _network(width: int, hidden: int, seed: int) -> nn.Sequential:
    """Swish layers of widths (width, hidden, hidden, hidden, width), weights by PyTorch's default."""
    widths = (width, hidden, hidden, hidden, width)
    layers = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.SiLU()]
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in layers[::2]:
            for weights in layer.parameters():
                weights.uniform_(-(layer.in_features**-0.5), layer.in_features**-0.5, generator=generator)
    return nn.Sequential(*layers[:-1])


def _solve(covariance: Tensor, cross: Tensor) -> Tensor:
    """Regression weights from covariances, with features brought to unit variance first."""
    size = covariance.diagonal().clamp_min(torch.finfo(covariance.dtype).tiny).sqrt()
    correlation = covariance / size[:, None] / size
    inverse = torch.linalg.pinv(correlation, rtol=CUTOFF, hermitian=True)
    return inverse @ (cross / size[:, None]) / size[:, None]
