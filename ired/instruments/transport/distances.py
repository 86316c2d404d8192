"""Optimal transport between clouds of points: W2 exactly, with entropy, and between Gaussians.

    W2²(X, Y) = min over couplings of the mean squared ground cost           Peyré and Cuturi 2019
    between equally many numbers: the mean squared difference of the sorted   (ibid., remark 2.30)
    between Gaussians: ‖m − m'‖² + tr(C + C' − 2 (C^½C'C^½)^½), Bures         (ibid., remark 2.31)
    with entropy: OT_ε = min ⟨P, cost⟩ + ε KL(P | a⊗b), debiased:
    S_ε = OT_ε(X, Y) − ½ OT_ε(X, X) − ½ OT_ε(Y, Y) ≥ 0                        Feydy et al. 2019

Exact and entropic transport between clouds are POT's (Flamary et al. 2021). Points weigh the same.
From finite clouds W2 is biased upwards, in m dimensions by about N^(−1/m): two clouds of one
distribution are not at distance 0. So every distance is to be read beside the same-distribution null
(`ired.instruments.transport.answer_clouds`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ired.instruments.core.states import array

LARGEST = 1000  # points of a cloud: exact transport takes time that grows with the cube
SIMPLEX_STEPS = 10_000_000
SINKHORN_STEPS = 5000
STOP = 1e-7  # of the marginals' error, where Sinkhorn ends
ALLOWED = 1e-3  # mass that may still be misplaced then: the dual value is off by ε times its square
EXPONENT = 600.0  # largest cost/ε at which exp(−cost/ε) is safely above 0


@dataclass(frozen=True)
class Axes:
    """Principal axes of a cloud: mean (m,), orthonormal rows (r, m), their shares of the variance (r,)."""

    mean: Tensor
    rows: Tensor
    share: NDArray

    def __call__(self, X: Tensor) -> Tensor:
        """Coordinates (..., r) of X (..., m) along the axes, counted from the mean."""
        return (X - self.mean) @ self.rows.mT

    def outside(self, X: Tensor) -> float:
        """Share of the squared distances of X (N, m) from the mean that the axes do not see."""
        total = (X - self.mean).pow(2).sum().item()
        return max(0.0, 1 - self(X).pow(2).sum().item() / total) if total else 0.0


def principal_axes(X: Tensor, count: int) -> Axes:
    """The first `count` (at most m) principal axes of X (N, m).

    Axes of equal variance are an arbitrary basis of what they span; distances do not feel it as long as
    a degenerate space is not cut in two.
    """
    mean = X.mean(0)
    values, vectors = torch.linalg.eigh((X - mean).mT @ (X - mean))
    values = values.clamp_min(0).flip(0)
    rows = vectors.mT.flip(0)[:count]
    return Axes(mean, rows, array(values[:count] / values.sum().clamp_min(torch.finfo(X.dtype).tiny)))


def squared(X: Tensor, Y: Tensor) -> NDArray:
    """Squared Euclidean distances (N, M) of X (N, m) to Y (M, m)."""
    # Differences, not products: |x|² + |y|² − 2xy loses half of the digits where x ≈ y.
    rows = max(1, 2**23 // max(1, Y.numel()))
    parts = [(x[:, None] - Y[None]).pow(2).sum(-1) for x in X.split(rows)]
    return array(torch.cat(parts))


def exact(cost: NDArray) -> float:
    """W2 from squared ground costs (N, M), N and M at most `LARGEST`: the network simplex of POT."""
    import ot

    _checked(cost)
    return float(np.sqrt(max(ot.emd2([], [], cost, numItermax=SIMPLEX_STEPS), 0.0)))


def sorted_line(x: NDArray, y: NDArray) -> NDArray:
    """Exact W2 between numbers x (N,) and y (M,), (); of (N, r) and (M, r) that of each column, (r,)."""
    if x.shape == y.shape:
        return np.sqrt(((np.sort(x, 0) - np.sort(y, 0)) ** 2).mean(0))
    import ot

    return np.sqrt(np.maximum(ot.wasserstein_1d(x, y, p=2), 0.0))


def entropic(cost: NDArray, epsilon: float) -> float:
    """OT_ε, a squared distance, from squared ground costs (N, M), by POT's Sinkhorn iteration.

    It is never below W2² and grows with ε. Raises RuntimeError where the iteration has not come near
    its end after `SINKHORN_STEPS` (ε is then too small for these costs).
    """
    import ot

    _checked(cost, epsilon)
    # What all ways out of a point have in common changes no plan, and far clouds overflow without this.
    rows = cost.min(1, keepdims=True)
    columns = (cost - rows).min(0, keepdims=True)
    cost = cost - rows - columns
    fast = cost.max() < EXPONENT * epsilon
    with np.errstate(over="ignore"):  # POT's exponentials of potentials, of which logarithms are used here
        _, log = ot.sinkhorn(
            [],
            [],
            cost,
            epsilon,
            method="sinkhorn" if fast else "sinkhorn_log",
            numItermax=SINKHORN_STEPS,
            stopThr=STOP,
            log=True,
            warn=False,
        )
    misplaced = log["err"][-1] * np.sqrt(cost.shape[1])
    if not misplaced < ALLOWED:
        raise RuntimeError(
            f"Sinkhorn at ε = {epsilon:.3g} misplaces {misplaced:.1e} of the mass after "
            f"{SINKHORN_STEPS} steps: use a larger ε"
        )
    u, v = (np.log(log["u"]), np.log(log["v"])) if fast else (log["log_u"], log["log_v"])
    dual = epsilon * (u.mean() + v.mean() + np.log(cost.size))
    return float(dual + rows.mean() + columns.mean())


def entropic_to_itself(cost: NDArray, epsilon: float) -> float:
    """OT_ε of a cloud to itself, from its own squared ground costs (N, N), symmetric.

    Both potentials are the same one, which averaged steps reach in a few dozen rounds (Feydy et al.
    2019, 3.1), where alternating ones may take thousands for a cloud that falls into groups.
    """
    from scipy.special import logsumexp

    _checked(cost, epsilon)
    K, count = -cost / epsilon, len(cost)
    f = np.zeros(count)
    for _ in range(SINKHORN_STEPS):
        new = np.log(count) - logsumexp(K + f, axis=1)
        if np.abs(new - f).max() < 1e-12:
            return float(2 * epsilon * new.mean())
        f = (f + new) / 2
    raise RuntimeError(f"Sinkhorn at ε = {epsilon:.3g} has not converged after {SINKHORN_STEPS} steps")


def debiased(between: NDArray, within: NDArray, within_other: NDArray, epsilon: float) -> float:
    """√S_ε from squared ground costs X to Y, X to X and Y to Y; 0 where the clouds are the same."""
    halves = (entropic_to_itself(within, epsilon) + entropic_to_itself(within_other, epsilon)) / 2
    return float(np.sqrt(max(entropic(between, epsilon) - halves, 0.0)))


def gaussian(X: Tensor, Y: Tensor) -> float:
    """W2 between the Gaussians with the means and covariances (over N − 1) of X (N, m) and Y (M, m)."""
    covariances = []
    for Z in (X, Y):
        centred = Z - Z.mean(0)
        covariances.append(centred.mT @ centred / (len(Z) - 1))
    return torch.hypot((X.mean(0) - Y.mean(0)).norm(), bures(*covariances)).item()


def bures(C: Tensor, D: Tensor) -> Tensor:
    """W2 between N(0, C) and N(0, D) (...), for positive semidefinite C and D (..., m, m).

    ‖C^½ − U D^½‖ with the rotation U that takes D^½ nearest to C^½ (Bhatia et al. 2019, theorem 1):
    it exists where covariances are singular (POT's square roots are not finite there,
    `ired.instruments.geometry.metrics` refuses them) and keeps its digits where C ≈ D.
    """
    roots = []
    for M in (C, D):
        values, vectors = torch.linalg.eigh(M)
        roots.append((vectors * values.clamp_min(0).sqrt()[..., None, :]) @ vectors.mT)
    U, _, V = torch.linalg.svd(roots[0] @ roots[1])
    return (roots[0] - U @ V @ roots[1]).flatten(-2).norm(dim=-1)


def _checked(cost: NDArray, epsilon: float = 1.0) -> None:
    if cost.ndim != 2 or not cost.size:
        raise ValueError(f"costs must be a matrix with rows and columns, not of shape {cost.shape}")
    if max(cost.shape) > LARGEST:
        raise ValueError(f"clouds of at most {LARGEST} points, not {max(cost.shape)}")
    if not epsilon > 0:
        raise ValueError(f"the entropy's weight must be above 0, not {epsilon}")
    bad = ~np.isfinite(cost)
    if bad.any():
        i, j = np.argwhere(bad)[0].tolist()
        raise ValueError(f"the cost between points {i} and {j} is not finite")
