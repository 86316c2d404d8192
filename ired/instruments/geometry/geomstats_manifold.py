"""geomstats' manifold of SPD matrices (Miolane et al. 2020), asked with tensors and answering with tensors.

geomstats 2.8 runs on its backend of numpy: that of torch makes float64 the default of the whole process. Tensors on
a CPU are shared with it; those of a GPU pass through the host and back. No caller differentiates these functions by
autograd, and none can: a tensor that requires a gradient raises RuntimeError.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

STEPS = 100  # of Runge and Kutta's fourth order, for Bures-Wasserstein transport: about nine digits


@cache
def library() -> Any:
    """geomstats' module of SPD matrices. Its import takes a second, hence not before it is needed, and says which
    backend it takes: logging is left as it was."""
    root = logging.getLogger()
    level, handlers, disabled = root.level, list(root.handlers), logging.root.manager.disable
    os.environ["GEOMSTATS_BACKEND"] = "numpy"
    try:
        logging.disable(logging.INFO)
        from geomstats.geometry import spd_matrices
    finally:
        logging.disable(disabled)
        root.setLevel(level)
        root.handlers[:] = handlers
    return spd_matrices


@cache
def space(kind: str, n: int) -> Any:
    """SPD(n) of geomstats with a metric of that class."""
    manifold = library().SPDMatrices(n, equip=False)
    manifold.equip_with_metric(getattr(library(), kind))
    if kind == "SPDLogEuclideanMetric":
        manifold.metric.diffeo = _logarithm()
    if kind == "SPDBuresWassersteinMetric":  # its own ten steps leave five digits
        manifold.metric.parallel_transport = partial(manifold.metric.parallel_transport, n_steps=STEPS)
    return manifold


@cache
def _logarithm() -> Any:
    """geomstats' matrix logarithm with a differential that keeps its digits.

    Its own takes (log λ − log μ)/(λ − μ) wherever |λ − μ| > 1e-12: an error of 2e-8 where two eigenvalues are 5 and
    5 + 1e-9, and of a half where all are 1e4 up to rounding.
    """

    class Logarithm(library().SymMatrixLog):
        @classmethod
        def tangent(cls, tangent_vec: NDArray, base_point: Any, image_point: NDArray) -> NDArray:
            U, weights = _weighted(image_point)
            return U @ ((U.swapaxes(-1, -2) @ tangent_vec @ U) / weights) @ U.swapaxes(-1, -2)

        @classmethod
        def inverse_tangent(cls, image_tangent_vec: NDArray, image_point: NDArray, base_point: Any) -> NDArray:
            U, weights = _weighted(image_point)
            return U @ ((U.swapaxes(-1, -2) @ image_tangent_vec @ U) * weights) @ U.swapaxes(-1, -2)

    return Logarithm()


def _weighted(logarithm: NDArray) -> tuple[NDArray, NDArray]:
    """Eigenvectors of log P, and the differential of exp there in their basis."""
    values, U = np.linalg.eigh(logarithm)
    return U, exponential_quotients(torch.from_numpy(values)).numpy()


def exponential_quotients(x: Tensor) -> Tensor:
    """(eˣ − eʸ)/(x − y) (..., n, n) between all x (..., n)."""
    # e^((x+y)/2) sinh(h)/h, h = (x − y)/2: no digits lost where x ≈ y.
    h = (x[..., :, None] - x[..., None, :]) / 2
    ratio = torch.where(h == 0, 1.0, h.sinh() / torch.where(h == 0, 1.0, h))
    return (sums(x) / 2).exp() * ratio


def ask(function: Callable[..., NDArray], first: Tensor, *matrices: Tensor) -> Tensor:
    """What a function of geomstats gives for matrices (..., n, n). It takes the shape of the batch from the first."""
    first = first.expand(torch.broadcast_shapes(first.shape, *(M.shape for M in matrices)))
    answer = function(*(M.cpu().numpy() for M in (first, *matrices)))
    return torch.from_numpy(np.array(answer)).to(first)


def ask_in_a_row(function: Callable[..., NDArray], *matrices: Tensor) -> Tensor:
    """The same where it wants matrices (N, n, n), all of one shape: geodesics, Bures-Wasserstein transport."""
    matrices = torch.broadcast_tensors(*matrices)
    answer = ask(function, *(M.reshape(-1, *M.shape[-2:]) for M in matrices))
    return answer.reshape(matrices[0].shape[:-2] + answer.shape[1:])


def sums(values: Tensor) -> Tensor:
    """λ_i + λ_j (..., n, n) of values λ (..., n)."""
    return values[..., :, None] + values[..., None, :]
