"""Least squares and ridge regression, by the libraries' solvers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


@dataclass(frozen=True)
class Affine:
    """x ↦ (x − centre) @ weights + offset."""

    centre: Tensor
    weights: Tensor
    offset: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return (x - self.centre) @ self.weights + self.offset


def least_squares(x: Tensor, h: Tensor) -> Affine:
    """Least squares of h (N, outputs) on x (N, inputs) with an intercept; inputs may be dependent."""
    from scipy.linalg import lstsq

    centre, offset = x.mean(0), h.mean(0)
    # Many rows are few after a plain QR, which is products of matrices; pivoted QR is not.
    Q, R = torch.linalg.qr(x - centre)
    a, b = (v.cpu().numpy() for v in (R, Q.mT @ (h - offset)))
    # By pivoted QR, which bears dependent inputs. scipy's: torch's now and then keeps a dependent column (it
    # hands LAPACK pivots that nobody has set), and the fit is then far off.
    solved = lstsq(a, b, cond=max(x.shape) * np.finfo(a.dtype).eps, lapack_driver="gelsy")[0]
    return Affine(centre, torch.from_numpy(solved).to(x), offset)


def ridge(x: NDArray, values: NDArray, alphas: Sequence[float]) -> Pipeline:
    """Ridge regression of values (N, T) on standardised features x (N, F), fitted: `predict` takes features.

    For each target the strength of `alphas` that does best when single rows are left out.
    """
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), RidgeCV(alphas, alpha_per_target=True)).fit(x, values)
