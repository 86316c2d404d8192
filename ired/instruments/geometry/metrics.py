"""Geometry of symmetric positive definite (SPD) matrices by geomstats (Miolane et al. 2020), in batches.

Four metrics:

    affine-invariant     ⟨V, W⟩ = tr P⁻¹VP⁻¹W                     Pennec et al. 2006
    log-Euclidean        ⟨V, W⟩ = ⟨D log_P V, D log_P W⟩          Arsigny et al. 2007
    Bures-Wasserstein    ⟨V, W⟩ = ½ tr L_P(V) W, LP + PL = V      Bhatia et al. 2019
    Euclidean            ⟨V, W⟩ = tr VW

geomstats has their distances, exponentials, logarithms, geodesics, parallel transport, inner products and
means (`geomstats_manifold`). Ours is what it lacks: gradients, orthonormal bases and Hessians. In the eigenbasis of
P, with eigenvalues λ, each metric is Σ V_ij W_ij / w_ij² with weights w(λ) (a kernel metric, Thanwerdas and Pennec
2023), and a geodesic γ through P with velocity V has γ̈_ij = 2 Σ_l b_ilj V_il V_lj: they are written once, for w and b.

Matrices are (..., n, n) tensors, float64 where digits matter; leading dimensions are batches and
broadcast. What is not finite, not symmetric or not positive definite raises ValueError with its
index and its smallest eigenvalue (geomstats would go on): nothing is projected.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ired.instruments.core import states
from ired.instruments.core.states import symmetric
from ired.instruments.geometry.geomstats_manifold import (
    ask,
    ask_in_a_row,
    exponential_quotients,
    library,
    space,
    sums,
)

ASYMMETRY = 1e-9  # of the largest entry: more than rounding
ROUNDS = 500  # of gradient descent for Karcher means
STILL = 1e-12  # norm of the mean logarithm at which it stops


def require_spd(M: Tensor, what: str = "matrix", tolerance: float = ASYMMETRY) -> Tensor:
    """M (..., n, n) as it is, if all its matrices are finite, symmetric and positive definite.

    Raises ValueError naming the first that is not, with its smallest eigenvalue; asymmetry counts
    relative to the matrix' largest entry.
    """
    _cholesky(M, what, tolerance)
    return M


def logm(P: Tensor) -> Tensor:
    """The symmetric logarithm of P."""
    return symmetric(ask(library().logmh, require_spd(P)))


def expm(S: Tensor) -> Tensor:
    """The exponential of symmetric matrices S, which is SPD."""
    return symmetric(ask(library().expmh, _symmetric(S, "matrix")))


def power(P: Tensor, exponent: float) -> Tensor:
    """The SPD power P^exponent."""
    return symmetric(ask(lambda matrix: library().powermh(matrix, exponent), require_spd(P)))


def nearest(M: Tensor, floor: float = 0.0) -> Tensor:
    """The nearest matrix to M in Frobenius norm that is symmetric with eigenvalues ≥ floor.

    Higham 1988: the symmetric part with its spectrum clipped. With floor 0 this is the distance to
    the cone's closure; the answer is then in general only semidefinite. geomstats' projection knows one
    floor, 1e-12.
    """
    values, vectors = torch.linalg.eigh(symmetric(M))
    return (vectors * values.clamp_min(floor)[..., None, :]) @ vectors.mT


def border(P: Tensor, V: Tensor) -> Tensor:
    """How far (...) the straight lines from P along V and −V both stay in the cone, in units of V."""
    ends = ask(space("SPDEuclideanMetric", P.shape[-1]).metric.exp_domain, V, require_spd(P))
    return ends.abs().amin(-1)  # of a line that never leaves it, geomstats puts both ends at −∞


@dataclass(frozen=True)
class RiemannianMetric:
    """A Riemannian metric on SPD(n). Tangent vectors are symmetric matrices; m = n(n+1)/2.

    name: ours; kind: the name of geomstats' class.
    """

    name: str
    kind: str

    def distance(self, P: Tensor, Q: Tensor) -> Tensor:
        """Geodesic distance (...)."""
        return ask(self._peer(P).squared_dist, require_spd(P), require_spd(Q)).clamp_min(0).sqrt()

    def log(self, P: Tensor, Q: Tensor) -> Tensor:
        """Velocity at P of the geodesic that reaches Q at time 1."""
        return symmetric(ask(self._peer(P).log, require_spd(Q), require_spd(P)))

    def exp(self, P: Tensor, V: Tensor) -> Tensor:
        """Where the geodesic from P with velocity V is at time 1.

        Raises ValueError where it has left the cone by then (Bures-Wasserstein, Euclidean).
        """
        return symmetric(ask(self._peer(P).exp, _symmetric(V, "tangent vector"), require_spd(P)))

    def transport(self, P: Tensor, Q: Tensor, V: Tensor) -> Tensor:
        """V, tangent at P, transported in parallel along the geodesic from P to Q."""
        _symmetric(V, "tangent vector")
        move = self._peer(P).parallel_transport
        return symmetric(ask_in_a_row(lambda v, p, q: move(v, p, end_point=q), V, require_spd(P), require_spd(Q)))

    def geodesic(self, P: Tensor, Q: Tensor, t: Tensor) -> Tensor:
        """Points (..., T, n, n) at times t (T,) in [0, 1] on the geodesic with P at 0 and Q at 1.

        Raises ValueError for other times, at which it may have left the cone.
        """
        if not ((t >= 0) & (t <= 1)).all():
            raise ValueError(f"a geodesic leads from time 0 to time 1, not to {t.tolist()}")
        line, times = self._peer(P).geodesic, t.to(P).cpu().numpy()
        return symmetric(ask_in_a_row(lambda p, q: line(p, end_point=q)(times), require_spd(P), require_spd(Q)))

    def mean(self, X: Tensor) -> Tensor:
        """Karcher mean (n, n) of X (N, n, n): where the logarithms of X sum to 0.

        Raises RuntimeError where their mean's norm is above 1e-8 after `ROUNDS` rounds: geomstats only warns.
        """
        from geomstats.learning.frechet_mean import FrechetMean

        fit = FrechetMean(space(self.kind, X.shape[-1]))
        points = require_spd(X).cpu().numpy()
        if hasattr(fit, "set"):  # what has a closed form (the Euclidean mean) has nothing to set
            # It stops at a squared norm of epsilon times the manifold's dimension, and epsilon is 1e-4 unless set.
            fit.set(init_point=points.mean(0), max_iter=ROUNDS, epsilon=STILL**2 / fit.space.dim)
        P = symmetric(torch.from_numpy(fit.fit(points).estimate_).to(X))
        V = self.log(P, X).mean(0)
        left = self.inner(P, V, V).sqrt().item()
        if not left < 1e-8:
            raise RuntimeError(f"the {self.name} mean has not converged: gradient norm {left:.1e}")
        return P

    def inner(self, P: Tensor, V: Tensor, W: Tensor) -> Tensor:
        """⟨V, W⟩ (...) at P."""
        return ask(self._peer(P).inner_product, V, W, require_spd(P))

    def raise_index(self, P: Tensor, G: Tensor) -> Tensor:
        """The Riemannian gradient at P of a function whose Euclidean gradient there is symmetric G."""
        values, U = _spectrum(P)
        return U @ (self._weights(values) ** 2 * (U.mT @ G @ U)) @ U.mT

    def basis(self, P: Tensor) -> Tensor:
        """Orthonormal tangent vectors (..., m, n, n) at P."""
        values, U = _spectrum(P)
        U = U[..., None, :, :]
        return U @ self._frame(values) @ U.mT

    def hessian(self, P: Tensor, G: Tensor, H: Tensor) -> Tensor:
        """The Riemannian Hessian (..., m, m) in `basis(P)`, of a function of Euclidean derivatives.

        G (..., n, n) symmetric gradient, H (..., n·n, n·n) Hessian, row-major. The quadratic form is
        d²/dt² f(γ(t)) at t = 0: vᵀHv + ⟨G, γ̈⟩ along the geodesic γ with velocity v.
        """
        values, U = _spectrum(P)
        frame, n = self._frame(values), P.shape[-1]
        straight = (U[..., None, :, :] @ frame @ U.mT[..., None, :, :]).flatten(-2)
        bent = (U.mT @ G @ U)[..., :, None, :] * self._bend(values)
        # ⟨G, γ̈⟩ as a form on pairs of flattened vectors: entry (il, lj) is G_ij b_ilj.
        form = torch.einsum("...ilj,lm->...ilmj", bent, torch.eye(n, dtype=P.dtype, device=P.device))
        form = form.flatten(-4, -3).flatten(-2)
        frame = frame.flatten(-2)
        return straight @ H @ straight.mT + frame @ (form + form.mT) @ frame.mT

    def _peer(self, P: Tensor) -> Any:
        return space(self.kind, P.shape[-1]).metric

    def _weights(self, values: Tensor) -> Tensor:
        """w (..., n, n) at eigenvalues (..., n)."""
        raise NotImplementedError

    def _bend(self, values: Tensor) -> Tensor:
        """b (..., n, n, n) at eigenvalues (..., n)."""
        raise NotImplementedError

    def _frame(self, values: Tensor) -> Tensor:
        n = values.shape[-1]
        unit = states.symmetric_basis(n, values).unflatten(-1, (n, n))
        return self._weights(values)[..., None, :, :] * unit


class AffineInvariant(RiemannianMetric):
    def _weights(self, values: Tensor) -> Tensor:
        root = values.sqrt()
        return root[..., :, None] * root[..., None, :]

    def _bend(self, values: Tensor) -> Tensor:
        n = values.shape[-1]
        return (0.5 / values)[..., None, :, None].expand(*values.shape[:-1], n, n, n)


class LogEuclidean(RiemannianMetric):
    def _weights(self, values: Tensor) -> Tensor:
        return exponential_quotients(values.log())

    def _bend(self, values: Tensor) -> Tensor:
        # Second divided differences of exp, as an entry of the exponential of a bidiagonal matrix
        # (Opitz 1964): no digits lost where eigenvalues are close.
        x = values.log()
        i, l, j = torch.broadcast_tensors(x[..., :, None, None], x[..., None, :, None], x[..., None, None, :])
        chain = torch.diag_embed(torch.stack([i, l, j], -1))
        chain[..., 0, 1] = chain[..., 1, 2] = 1.0
        second, w = torch.linalg.matrix_exp(chain)[..., 0, 2], self._weights(values)
        return second / (w[..., :, :, None] * w[..., None, :, :])


class BuresWasserstein(RiemannianMetric):
    def distance(self, P: Tensor, Q: Tensor) -> Tensor:
        """Geodesic distance (...), ours.

        geomstats' tr P + tr Q − 2 tr(P^½QP^½)^½ under a root loses half of the digits where P ≈ Q, and leaves P
        1e-7 away from itself.
        """
        # With P = LLᵀ, the optimal map from N(0, P) to N(0, Q) is T = L⁻ᵀ(LᵀQL)^½L⁻¹: this is ‖(T − I)L‖.
        L = _cholesky(P)
        values, U = _spectrum(symmetric(L.mT @ require_spd(Q) @ L))
        middle = symmetric((U * values.sqrt()[..., None, :]) @ U.mT)
        return (torch.linalg.solve_triangular(L.mT, middle, upper=True) - L).flatten(-2).norm(dim=-1)

    def exp(self, P: Tensor, V: Tensor) -> Tensor:
        """As in `RiemannianMetric`. geomstats goes on beyond the cone's border, where I + L is no longer definite."""
        values, U = _spectrum(P)
        lift = U @ ((U.mT @ _symmetric(V, "tangent vector") @ U) / sums(values)) @ U.mT
        require_spd(symmetric(torch.eye(P.shape[-1]).to(P) + lift), "end of a Bures-Wasserstein geodesic")
        return super().exp(P, V)

    def _weights(self, values: Tensor) -> Tensor:
        return (2 * sums(values)).sqrt()

    def _bend(self, values: Tensor) -> Tensor:
        pairs = sums(values)
        return values[..., None, :, None] / (pairs[..., :, :, None] * pairs[..., None, :, :])


class Euclidean(RiemannianMetric):
    def exp(self, P: Tensor, V: Tensor) -> Tensor:
        """As in `RiemannianMetric`. geomstats goes on beyond the cone's border."""
        return require_spd(super().exp(P, V), "end of a straight line")

    def _weights(self, values: Tensor) -> Tensor:
        return torch.ones_like(sums(values))

    def _bend(self, values: Tensor) -> Tensor:
        n = values.shape[-1]
        return torch.zeros_like(values)[..., None, None].expand(*values.shape[:-1], n, n, n)


METRICS: dict[str, RiemannianMetric] = {
    metric.name: metric
    for metric in (
        AffineInvariant("affine-invariant", "SPDAffineMetric"),
        LogEuclidean("log-Euclidean", "SPDLogEuclideanMetric"),
        BuresWasserstein("Bures-Wasserstein", "SPDBuresWassersteinMetric"),
        Euclidean("Euclidean", "SPDEuclideanMetric"),
    )
}


def _spectrum(P: Tensor) -> tuple[Tensor, Tensor]:
    values, U = torch.linalg.eigh(_symmetric(P, "matrix"))
    if not (values[..., 0] > 0).all():
        _refuse_indefinite(P, "matrix", values[..., 0] <= 0)
    return values, U


def _symmetric(M: Tensor, what: str, tolerance: float = ASYMMETRY) -> Tensor:
    """M, if finite and symmetric."""
    bad = ~torch.isfinite(M).all(-1).all(-1)
    if bad.any():
        raise ValueError(f"{_named(what, bad)} is not finite")
    off = (M - M.mT).abs().amax((-2, -1))
    bad = off > tolerance * M.abs().amax((-2, -1))
    if bad.any():
        raise ValueError(
            f"{_named(what, bad)} is not symmetric: max |M − Mᵀ| is {_first(off, bad):.3g}; the smallest "
            f"eigenvalue of its symmetric part is {_first(torch.linalg.eigvalsh(symmetric(M))[..., 0], bad):.3g}"
        )
    return M


def _cholesky(P: Tensor, what: str = "matrix", tolerance: float = ASYMMETRY) -> Tensor:
    L, failed = torch.linalg.cholesky_ex(_symmetric(P, what, tolerance))
    if failed.any():
        _refuse_indefinite(P, what, failed > 0)
    return L


def _refuse_indefinite(P: Tensor, what: str, bad: Tensor) -> None:
    smallest = _first(torch.linalg.eigvalsh(symmetric(P))[..., 0], bad)
    raise ValueError(f"{_named(what, bad)} is not positive definite: its smallest eigenvalue is {smallest:.3g}")


def _named(what: str, bad: Tensor) -> str:
    if bad.dim() == 0:
        return what
    index = bad.nonzero()[0].tolist()
    return f"{what} {index[0] if len(index) == 1 else tuple(index)}"


def _first(values: Tensor, bad: Tensor) -> float:
    return values[bad].flatten()[0].item()
