"""Gradient and Hessian of an energy on the manifold of SPD matrices: is it better conditioned there?

f(Y) = E_k(√ᾱ_k·encode(Y))/σ_k as a function of symmetric matrices. Its Riemannian gradient is the
Euclidean one with its index raised, its Riemannian Hessian the second derivative along geodesics,
d²/dt² f(γ(t)) = vᵀHv + ⟨∇f, γ̈⟩, in a basis that is orthonormal under the metric at Y (Absil, Mahony &
Sepulchre 2008, ch. 5; conventions of geomstats by `metrics`). A condition number is the largest over the
smallest |eigenvalue|.

What is known at the answer P = A⁻¹ (κ the condition number of A, which is P's): the ideal energy has
condition 1 in the Euclidean metric and κ² in the affine-invariant one (eigenvalues λ_i λ_j of P). The
algebraic one, ½‖AY − I‖², has κ² in the Euclidean metric and (κ + 1/κ)/2 in the affine-invariant one:
the metric takes out what makes inverting ill-conditioned. So an energy gains on the manifold as far as
its curvature knows the problem's, and loses as far as it is isotropic.

The energy of a prediction m(A) is such a control: its curvature is the same for all problems. Where it is round (errors
of equal variance in all directions) and m shares A's eigenvectors, as least squares does, the Euclidean condition is 1
everywhere, and in the affine-invariant metric the eigenvalues at P are those of pairs i ≤ j, in proportion

    λ_i λ_j + (λ_i (λ_i − m_i) + λ_j (λ_j − m_j))/2:

the metric costs 2 log κ, but for what the bowl's being elsewhere adds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ired.instruments.core import states
from ired.instruments.geometry import spd_states
from ired.instruments.geometry.metrics import METRICS
from ired.instruments.landscape.hessian import TOLERANCE
from ired.model.protocol import Energy


@dataclass(frozen=True)
class Curvature:
    """At one SPD matrix of each of P problems, in L landscapes, under M metrics; arrays (L, M, P).

    place: what the matrices are; metrics: M names; eigenvalues: (L, M, P, n(n+1)/2) of the Riemannian
    Hessian of E/σ_k, ascending; log_condition: log₁₀ of max|λ|/min|λ| (min at least 1e-12 of max);
    log_spread: log₁₀ of the 0.9 to the 0.1 quantile of |λ|, which one eigenvalue near 0 does not decide;
    negative: share of eigenvalues < 0 by more than 1e-8 of the largest; connection: ‖what ⟨∇f, γ̈⟩ adds‖_F
    over ‖Hessian‖_F, 0 in the Euclidean metric; gradient: norm of the Riemannian gradient of E/σ_k;
    cosine: between the descent direction and the geodesic to the answer, under the metric (NaN at
    the answer); asymmetric: share of ‖∇E‖² in antisymmetric directions, the same for all metrics (rounding
    where the gradient is 0).
    """

    place: str
    metrics: tuple[str, ...]
    landscapes: NDArray
    eigenvalues: NDArray
    log_condition: NDArray
    log_spread: NDArray
    negative: NDArray
    connection: NDArray
    gradient: NDArray
    cosine: NDArray
    asymmetric: NDArray

    def columns(self) -> dict[str, NDArray]:
        """Tidy columns, one row per landscape, metric and problem."""
        names = (
            "log_condition",
            "log_spread",
            "negative",
            "connection",
            "gradient",
            "cosine",
            "asymmetric",
        )
        shape = self.gradient.shape
        axes = {"landscape": self.landscapes, "metric": self.metrics, "problem": range(shape[-1])}
        tidy = states.tidy_columns(axes, **{name: getattr(self, name) for name in names})
        return {"place": np.full(self.gradient.size, self.place)} | tidy


@torch.no_grad()
def curvature(
    energy: Energy,
    A: Tensor,
    Y: Tensor,
    landscapes: Sequence[int],
    place: str,
    metrics: Sequence[str] = tuple(METRICS),
    memory: int = 512 * 2**20,
) -> Curvature:
    """Gradients and Hessians of problems A (P, n, n) at SPD matrices Y (P, n, n).

    Float64 only. `memory` bounds the bytes that Euclidean Hessians take at once. Raises ValueError for
    what is not SPD (`metrics.require_spd`).
    """
    states.demand_double(Y, "signs of eigenvalues")
    P0 = torch.linalg.inv(A)
    P0 = (P0 + P0.mT) / 2
    parts: dict[str, list[Tensor]] = {}
    for k in landscapes:
        for rows in torch.arange(len(A), device=A.device).split(states.hessians_per_call(energy, memory)):
            G, H, asymmetric = derivatives(energy, A[rows], Y[rows], k)
            looks = [_look(name, Y[rows], P0[rows], G, H) for name in metrics]
            for name in looks[0]:
                parts.setdefault(name, []).append(torch.stack([look[name] for look in looks]))
            parts.setdefault("asymmetric", []).append(asymmetric.expand(len(metrics), -1))
    stacked = {name: _joined(parts, len(landscapes), len(A)) for name, parts in parts.items()}
    values = np.abs(stacked["eigenvalues"])
    top = values.max(-1)
    low, high = np.quantile(values, (0.1, 0.9), axis=-1)
    return Curvature(
        place,
        tuple(metrics),
        np.array(landscapes),
        log_condition=_decades(top, values.min(-1)),
        log_spread=_decades(high, low),
        negative=(stacked["eigenvalues"] < -TOLERANCE * top[..., None]).mean(-1),
        **stacked,
    )


def derivatives(energy: Energy, A: Tensor, Y: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of E_k(√ᾱ_k·encode(Y))/σ_k by matrices Y (P, n, n): symmetric gradient (P, n, n), Hessian (P, d, d).

    The third, (P,), is the share of the gradient's square in antisymmetric directions, which the first
    leaves out: symmetric matrices do not move there.
    """
    y, n = spd_states.states_of_matrices(energy, Y, k), Y.shape[-1]
    factor = energy.schedule.sqrt_alpha_bar[k].item() / energy.coordinates.scale
    s = states.sigma(energy, k)
    whole = energy.gradient(energy.prepare(A), y, k) * (factor / s)
    H = energy.hessian(A, y, k) * (factor**2 / s)
    G = whole.unflatten(-1, (n, n))
    even = (G + G.mT) / 2
    square = whole.pow(2).sum(-1)
    left = states.antisymmetric(whole, n).pow(2).sum(-1)
    return even, (H + H.mT) / 2, left / square.clamp_min(torch.finfo(square.dtype).tiny)


def _look(name: str, Y: Tensor, answer: Tensor, G: Tensor, H: Tensor) -> dict[str, Tensor]:
    """Everything under one metric at Y."""
    metric = METRICS[name]
    total = metric.hessian(Y, G, H)
    added = metric.hessian(Y, G, torch.zeros_like(H))
    tiny = torch.finfo(H.dtype).tiny
    size = total.flatten(1).norm(dim=-1).clamp_min(tiny)
    gradient = metric.raise_index(Y, G)
    norm = metric.inner(Y, gradient, gradient).clamp_min(0).sqrt()
    home = metric.log(Y, answer)
    home = (home + home.mT) / 2
    far = metric.inner(Y, home, home).clamp_min(0).sqrt()
    # At the answer itself no direction leads to it: what the logarithm leaves there is rounding.
    there = (Y - answer).flatten(1).norm(dim=-1) <= 1e-9 * answer.flatten(1).norm(dim=-1)
    cosine = -metric.inner(Y, gradient, home) / (norm * far).clamp_min(tiny)
    return {
        "eigenvalues": torch.linalg.eigvalsh((total + total.mT) / 2),
        "connection": added.flatten(1).norm(dim=-1) / size,
        "gradient": norm,
        "cosine": torch.where(there, torch.nan, cosine),
    }


def _joined(parts: list[Tensor], landscapes: int, problems: int) -> NDArray:
    """Chunks (M, rows, …), landscape by landscape, as (L, M, P, …)."""
    whole = states.array(torch.cat(parts, 1))
    whole = whole.reshape(whole.shape[0], landscapes, problems, *whole.shape[2:])
    return np.swapaxes(whole, 0, 1)


def _decades(high: NDArray, low: NDArray) -> NDArray:
    """log₁₀(high/low), at most 12."""
    ratio = np.divide(low, high, out=np.ones_like(low), where=high > 0)
    return np.maximum(-np.log10(ratio.clip(1e-12)), 0.0)
