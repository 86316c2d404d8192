"""The curvature that linear estimation of the answer has (linear minimum mean square error, Kay 1993, ch. 12).

Where the answer is predicted by least squares on A, and what that misses has mean 0 and covariance C, the best guess of
the noise in y = √ᾱ y₀ + σ ε that is affine in (A, y) is H (y − √ᾱ m(A)) with H = σ (ᾱC + σ²I)⁻¹; it is the best of all
if the errors are Gaussian. Times σ, its eigenvalues are σ²/(ᾱc_i + σ²), and if all directions were alike
σ²/(ᾱv + σ²) with v = tr C/size ("round"; by Jensen's inequality never above the mean of the former).
In coordinates that are not symmetric, half of the directions are antisymmetric: nothing is missed there, and they have
curvature 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ired.instruments.accuracy import predictors
from ired.instruments.accuracy.linear_surrogate import FOLDS, alternating_folds
from ired.instruments.core import states
from ired.instruments.linearity.normal_equations import NormalEquations
from ired.instruments.statistics.intervals import Interval, student_interval
from ired.model.protocol import Energy


@dataclass(frozen=True)
class LinearPrediction:
    """What least squares of the answers on A misses of P problems that it was not fitted to.

    covariance: C (size, size), the mean square of its errors, in basis coordinates; errors: (P,) their mean squares;
    alpha_bar, sigma: of the energy's landscapes (K,).
    """

    covariance: Tensor
    errors: NDArray
    alpha_bar: NDArray
    sigma: NDArray

    def round_curvature(self, k: int, level: float = 0.95) -> Interval:
        """σ²/(ᾱv + σ²), with v's interval over problems."""
        v = student_interval(self.errors, level)
        values = (
            self.sigma[k] ** 2 / (self.alpha_bar[k] * x + self.sigma[k] ** 2) for x in (v.estimate, v.high, v.low)
        )
        return Interval(*map(float, values), level, v.units, v.method)

    def spectrum(self, k: int) -> NDArray:
        """Eigenvalues σ²/(ᾱc_i + σ²) of σH, (size,) ascending."""
        missed = states.array(torch.linalg.eigvalsh(self.covariance)).clip(0)
        return np.sort(self.sigma[k] ** 2 / (self.alpha_bar[k] * missed + self.sigma[k] ** 2))

    def hessian(self, k: int) -> Tensor:
        """σH in basis coordinates, (size, size)."""
        eye = torch.eye(len(self.covariance), dtype=self.covariance.dtype, device=self.covariance.device)
        return self.sigma[k] ** 2 * torch.linalg.inv(self.alpha_bar[k] * self.covariance + self.sigma[k] ** 2 * eye)


def linear_prediction(energy: Energy, A: Tensor, folds: int = FOLDS, chunk: int = 4096) -> LinearPrediction:
    """Least squares of the answers on the upper triangle of problems A (P, n, n), cross-fitted; answers in the energy's
    coordinates. Errors on other problems are brought to those of the best map as in `affine_score`: their mean square
    times √(that on the problems that were fitted/that on others). Wants several times as many problems as inputs,
    n(n+1)/2; raises ValueError where there are fewer.
    """
    to_basis = energy.coordinates.to_basis
    fold = torch.from_numpy(alternating_folds(len(A), folds)).to(A.device)
    problems, sums = torch.arange(len(A), device=A.device), NormalEquations(folds)

    def rows(part: Tensor) -> Tensor:
        answers = to_basis(states.answers(energy, A[part].double()))
        return torch.cat([predictors.power_features(A[part], 1), answers], 1)

    for part in problems.split(chunk):
        sums.add(rows(part), fold[part])
    half, size = A.shape[-1] * (A.shape[-1] + 1) // 2, energy.coordinates.size
    inputs, outputs = slice(0, half), slice(half, half + size)
    if len(A) * (folds - 1) // folds <= half:
        raise ValueError(f"least squares on {half} inputs needs more problems than {len(A)}")
    fitted, products = 0.0, torch.zeros(size, size, dtype=torch.float64, device=A.device)
    errors = np.empty(len(A))
    for f in range(folds):
        moments = sums.without(f)
        predict, _ = moments.affine_map(inputs, outputs)
        fitted += moments.unexplained(inputs, outputs, predict) / size / folds
        for part in problems[fold == f].split(chunk):
            given = rows(part)
            missed = given[:, outputs] - predict(given[:, inputs])
            products.addmm_(missed.mT, missed)
            errors[states.array(part)] = states.array(missed.pow(2).mean(1))
    ratio = (max(fitted, 0.0) / errors.mean()) ** 0.5
    alpha_bar, sigma = states.array(energy.schedule.alpha_bar), states.array(energy.schedule.sigma)
    return LinearPrediction(ratio * products / len(A), ratio * errors, alpha_bar, sigma)
