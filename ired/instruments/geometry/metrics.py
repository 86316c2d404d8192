"""Geometry of symmetric positive definite (SPD) matrices, in batches.

Four metrics, in the conventions of geomstats 2.8, which the tests hold them against:

    affine-invariant     ⟨V, W⟩ = tr P⁻¹VP⁻¹W                     Pennec et al. 2006
    log-Euclidean        ⟨V, W⟩ = ⟨D log_P V, D log_P W⟩          Arsigny et al. 2007
    Bures-Wasserstein    ⟨V, W⟩ = ½ tr L_P(V) W, LP + PL = V      Bhatia et al. 2019
    Euclidean            ⟨V, W⟩ = tr VW

In the eigenbasis of P, with eigenvalues λ, each is Σ V_ij W_ij / w_ij² with weights w(λ) (a kernel
metric, Thanwerdas and Pennec 2023), and a geodesic γ through P with velocity V has
γ̈_ij = 2 Σ_l b_ilj V_il V_lj. So gradients, orthonormal bases and Hessians are written once, for w and b.

Matrices are (..., n, n) tensors, float64 where digits matter; leading dimensions are batches and
broadcast. What is not finite, not symmetric or not positive definite raises ValueError with its
index and its smallest eigenvalue: nothing is projected.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import wraps

import torch
from torch import Tensor

from ired.instruments.core import states

ASYMMETRY = 1e-9  # of the largest entry: more than rounding
STEPS = 100  # of Runge and Kutta's fourth order, for Bures-Wasserstein transport: about nine digits
ROUNDS = 500  # of the iteration for Karcher means
PART = 500  # matrices that a thread takes at a time: they stay in its cache


def check(M: Tensor, what: str = "matrix", tolerance: float = ASYMMETRY) -> Tensor:
    """M (..., n, n) as it is, if all its matrices are finite, symmetric and positive definite.

    Raises ValueError naming the first that is not, with its smallest eigenvalue; asymmetry counts
    relative to the matrix' largest entry.
    """
    _cholesky(M, what, tolerance)
    return M


def symmetric(M: Tensor) -> Tensor:
    """The symmetric part (M + Mᵀ)/2."""
    return (M + M.mT) / 2


def logm(P: Tensor) -> Tensor:
    """The symmetric logarithm of P."""
    return _of_spectrum(*_spectrum(P), torch.log)


def expm(S: Tensor) -> Tensor:
    """The exponential of symmetric matrices S, which is SPD."""
    return _of_spectrum(*torch.linalg.eigh(_symmetric(S, "matrix")), torch.exp)


def power(P: Tensor, exponent: float) -> Tensor:
    """The SPD power P^exponent."""
    return _of_spectrum(*_spectrum(P), lambda values: values**exponent)


def nearest(M: Tensor, floor: float = 0.0) -> Tensor:
    """The nearest matrix to M in Frobenius norm that is symmetric with eigenvalues ≥ floor.

    Higham 1988: the symmetric part with its spectrum clipped. With floor 0 this is the distance to
    the cone's closure; the answer is then in general only semidefinite.
    """
    values, vectors = torch.linalg.eigh(symmetric(M))
    return (vectors * values.clamp_min(floor)[..., None, :]) @ vectors.mT


def _in_parts(method: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A method of metrics that takes large batches of equal size in parts, as many at a time as there are
    threads: on a CPU a batch of decompositions is otherwise a loop of LAPACK calls on one of them."""

    @wraps(method)
    def shared(self: Metric, *matrices: Tensor) -> Tensor:
        first, threads = matrices[0], torch.get_num_threads()
        batch = first.shape[:-2]
        alike = all(M.shape == first.shape for M in matrices)
        if first.device.type != "cpu" or threads == 1 or not alike or batch.numel() < 2 * PART:
            return method(self, *matrices)
        parts = zip(*(M.flatten(0, -3).split(PART) for M in matrices), strict=True)
        # One thread each inside, in these threads alone.
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            try:
                found = list(pool.map(lambda part: method(self, *part), parts))
            except ValueError:
                return method(self, *matrices)  # names the matrix by its place in the whole batch
        return torch.cat(found).unflatten(0, batch)

    return shared


@dataclass(frozen=True)
class Metric:
    """A Riemannian metric on SPD(n). Tangent vectors are symmetric matrices; m = n(n+1)/2."""

    name: str

    def distance(self, P: Tensor, Q: Tensor) -> Tensor:
        """Geodesic distance (...)."""
        raise NotImplementedError

    def log(self, P: Tensor, Q: Tensor) -> Tensor:
        """Velocity at P of the geodesic that reaches Q at time 1."""
        raise NotImplementedError

    def exp(self, P: Tensor, V: Tensor) -> Tensor:
        """Where the geodesic from P with velocity V is at time 1.

        Raises ValueError where it has left the cone by then (Bures-Wasserstein, Euclidean).
        """
        raise NotImplementedError

    def transport(self, P: Tensor, Q: Tensor, V: Tensor) -> Tensor:
        """V, tangent at P, transported in parallel along the geodesic from P to Q."""
        raise NotImplementedError

    def geodesic(self, P: Tensor, Q: Tensor, t: Tensor) -> Tensor:
        """Points (..., T, n, n) at times t (T,) on the geodesic with P at 0 and Q at 1."""
        V = self.log(P, Q)
        return self.exp(P[..., None, :, :], t[:, None, None].to(V) * V[..., None, :, :])

    def mean(self, X: Tensor, tolerance: float = 1e-12) -> Tensor:
        """Karcher mean (n, n) of X (N, n, n): where the logarithms of X sum to 0.

        Raises RuntimeError where their mean's norm is still above 1e-8 after `ROUNDS` rounds; below
        `tolerance`, or where rounding holds it up, it is done.
        """
        P, step, last = X.mean(0), 1.0, float("inf")
        for _ in range(ROUNDS):
            V = symmetric(self.log(P, X).mean(0))  # a short mean of long vectors is symmetric to their rounding
            norm = self.inner(P, V, V).sqrt().item()
            if norm <= tolerance or (norm >= last / 2 and norm < 1e-10):
                return P
            # A full step overshoots where the points lie far apart.
            step, last = (step / 2 if norm > last else step), norm
            P = self.exp(P, step * V)
        if last < 1e-8:
            return P
        raise RuntimeError(f"the {self.name} mean has not converged: gradient norm {last:.1e}")

    def inner(self, P: Tensor, V: Tensor, W: Tensor) -> Tensor:
        """⟨V, W⟩ (...) at P."""
        values, U = _spectrum(P)
        first = (U.mT @ V @ U) / self._weights(values) ** 2
        # A product of matrices where V and W broadcast against each other: (8, m, m, n, n) would be gigabytes.
        return torch.einsum("...ij,...ij->...", first, U.mT @ W @ U)

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


class AffineInvariant(Metric):
    # With P = LLᵀ, congruence by L⁻¹ is an isometry that takes P to I, where all is elementary.
    @_in_parts
    def distance(self, P: Tensor, Q: Tensor) -> Tensor:
        values = torch.linalg.eigvalsh(self._whitened(_cholesky(P), Q))
        if not (values > 0).all():
            check(Q)
        return values.log().norm(dim=-1)

    @_in_parts
    def log(self, P: Tensor, Q: Tensor) -> Tensor:
        L = _cholesky(P)
        return symmetric(L @ logm(symmetric(self._whitened(L, Q))) @ L.mT)

    @_in_parts
    def exp(self, P: Tensor, V: Tensor) -> Tensor:
        L = _cholesky(P)
        return symmetric(L @ expm(symmetric(self._whitened(L, V))) @ L.mT)

    def geodesic(self, P: Tensor, Q: Tensor, t: Tensor) -> Tensor:
        L = _cholesky(P)
        values, U = _spectrum(symmetric(self._whitened(L, Q)))
        LU = (L @ U)[..., None, :, :]
        stretch = values[..., None, :] ** t[:, None].to(values)
        return symmetric((LU * stretch[..., None, :]) @ LU.mT)

    @_in_parts
    def transport(self, P: Tensor, Q: Tensor, V: Tensor) -> Tensor:
        L = _cholesky(P)
        E = L @ power(symmetric(self._whitened(L, Q)), 0.5)
        return symmetric(E @ self._whitened(L, V) @ E.mT)

    def _whitened(self, L: Tensor, M: Tensor) -> Tensor:
        """L⁻¹ML⁻ᵀ; eigen-decompositions read its lower triangle alone."""
        half = torch.linalg.solve_triangular(L, _symmetric(M, "matrix"), upper=False)
        return torch.linalg.solve_triangular(L.mT, half, upper=True, left=False)

    def _weights(self, values: Tensor) -> Tensor:
        root = values.sqrt()
        return root[..., :, None] * root[..., None, :]

    def _bend(self, values: Tensor) -> Tensor:
        n = values.shape[-1]
        return (0.5 / values)[..., None, :, None].expand(*values.shape[:-1], n, n, n)


class LogEuclidean(Metric):
    @_in_parts
    def distance(self, P: Tensor, Q: Tensor) -> Tensor:
        return (logm(P) - logm(Q)).flatten(-2).norm(dim=-1)

    @_in_parts
    def log(self, P: Tensor, Q: Tensor) -> Tensor:
        return self._push(P, logm(Q) - logm(P))

    @_in_parts
    def exp(self, P: Tensor, V: Tensor) -> Tensor:
        return expm(logm(P) + self._pull(P, V))

    def geodesic(self, P: Tensor, Q: Tensor, t: Tensor) -> Tensor:
        start, end, t = logm(P)[..., None, :, :], logm(Q)[..., None, :, :], t[:, None, None].to(P)
        return expm(start + t * (end - start))

    @_in_parts
    def transport(self, P: Tensor, Q: Tensor, V: Tensor) -> Tensor:
        return self._push(Q, self._pull(P, V))

    def mean(self, X: Tensor, tolerance: float = 1e-12) -> Tensor:
        return expm(logm(X).mean(0))

    def _push(self, P: Tensor, S: Tensor) -> Tensor:
        """D exp at log P, along S."""
        values, U = _spectrum(P)
        return symmetric(U @ (self._weights(values) * (U.mT @ S @ U)) @ U.mT)

    def _pull(self, P: Tensor, V: Tensor) -> Tensor:
        """D log at P, along V."""
        values, U = _spectrum(P)
        return symmetric(U @ ((U.mT @ _symmetric(V, "tangent vector") @ U) / self._weights(values)) @ U.mT)

    def _weights(self, values: Tensor) -> Tensor:
        # (eˣ − eʸ)/(x − y) = e^((x+y)/2) sinh(h)/h, h = (x − y)/2: no digits lost where x ≈ y.
        x = values.log()
        h = (x[..., :, None] - x[..., None, :]) / 2
        root = values.sqrt()
        ratio = torch.where(h == 0, 1.0, h.sinh() / torch.where(h == 0, 1.0, h))
        return root[..., :, None] * root[..., None, :] * ratio

    def _bend(self, values: Tensor) -> Tensor:
        # Second divided differences of exp, as an entry of the exponential of a bidiagonal matrix
        # (Opitz 1964): no digits lost where eigenvalues are close.
        x = values.log()
        i, l, j = torch.broadcast_tensors(x[..., :, None, None], x[..., None, :, None], x[..., None, None, :])
        chain = torch.diag_embed(torch.stack([i, l, j], -1))
        chain[..., 0, 1] = chain[..., 1, 2] = 1.0
        second, w = torch.linalg.matrix_exp(chain)[..., 0, 2], self._weights(values)
        return second / (w[..., :, :, None] * w[..., None, :, :])


class BuresWasserstein(Metric):
    # With P = LLᵀ, the optimal map from N(0, P) to N(0, Q) is T = L⁻ᵀ(LᵀQL)^½L⁻¹.
    @_in_parts
    def distance(self, P: Tensor, Q: Tensor) -> Tensor:
        # ‖(T − I)L‖, which keeps its digits where P ≈ Q; tr P + tr Q − 2 tr(…)^½ loses half of them.
        L = _cholesky(P)
        middle = power(symmetric(L.mT @ _symmetric(Q, "matrix") @ L), 0.5)
        return (torch.linalg.solve_triangular(L.mT, middle, upper=True) - L).flatten(-2).norm(dim=-1)

    @_in_parts
    def log(self, P: Tensor, Q: Tensor) -> Tensor:
        away = self._map(P, Q) - _eye(P)
        return away @ P + P @ away

    @_in_parts
    def exp(self, P: Tensor, V: Tensor) -> Tensor:
        T = _eye(P) + self._lift(P, V)
        check(T, "end of a Bures-Wasserstein geodesic")
        return symmetric(T @ P @ T)

    @_in_parts
    def transport(self, P: Tensor, Q: Tensor, V: Tensor) -> Tensor:
        # The lifts S of a parallel field V = SP + PS along γ(t) = (I + tM) P (I + tM) satisfy
        # Ṡγ + γṠ = −(SKγ + γKS) with K = M(I + tM)⁻¹ (O'Neill 1966, for AAᵀ as a submersion).
        P, Q, V = torch.broadcast_tensors(P, Q, V)
        M, h = self._map(P, Q) - _eye(P), 1 / STEPS

        def at(t: float) -> tuple[Tensor, Tensor, Tensor]:
            away = _eye(P) + t * M
            values, U = _spectrum(symmetric(away @ P @ away))
            return values, U, U.mT @ M @ torch.linalg.solve(away, U)

        def slope(where: tuple[Tensor, Tensor, Tensor], S: Tensor) -> Tensor:
            values, U, K = where
            half = (U.mT @ S @ U) @ K * values[..., None, :]
            return U @ (-(half + half.mT) / _sums(values)) @ U.mT

        S, here = self._lift(P, V), at(0.0)
        for i in range(STEPS):
            middle, there = at((i + 0.5) * h), at((i + 1) * h)
            a = slope(here, S)
            b = slope(middle, S + h / 2 * a)
            c = slope(middle, S + h / 2 * b)
            d = slope(there, S + h * c)
            S, here = S + h / 6 * (a + 2 * b + 2 * c + d), there
        return S @ Q + Q @ S

    def _map(self, P: Tensor, Q: Tensor) -> Tensor:
        L = _cholesky(P)
        middle = power(symmetric(L.mT @ _symmetric(Q, "matrix") @ L), 0.5)
        half = torch.linalg.solve_triangular(L.mT, middle, upper=True)
        return symmetric(torch.linalg.solve_triangular(L.mT, half.mT, upper=True))

    def _lift(self, P: Tensor, V: Tensor) -> Tensor:
        """L with LP + PL = V."""
        values, U = _spectrum(P)
        return symmetric(U @ ((U.mT @ _symmetric(V, "tangent vector") @ U) / _sums(values)) @ U.mT)

    def _weights(self, values: Tensor) -> Tensor:
        return (2 * _sums(values)).sqrt()

    def _bend(self, values: Tensor) -> Tensor:
        sums = _sums(values)
        return values[..., None, :, None] / (sums[..., :, :, None] * sums[..., None, :, :])


class Euclidean(Metric):
    def distance(self, P: Tensor, Q: Tensor) -> Tensor:
        return (check(P) - check(Q)).flatten(-2).norm(dim=-1)

    def log(self, P: Tensor, Q: Tensor) -> Tensor:
        return check(Q) - check(P)

    def exp(self, P: Tensor, V: Tensor) -> Tensor:
        return check(P + V, "end of a straight line")

    def transport(self, P: Tensor, Q: Tensor, V: Tensor) -> Tensor:
        return V

    def mean(self, X: Tensor, tolerance: float = 1e-12) -> Tensor:
        return check(X).mean(0)

    def _weights(self, values: Tensor) -> Tensor:
        return torch.ones_like(_sums(values))

    def _bend(self, values: Tensor) -> Tensor:
        n = values.shape[-1]
        return torch.zeros_like(values)[..., None, None].expand(*values.shape[:-1], n, n, n)


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        AffineInvariant("affine-invariant"),
        LogEuclidean("log-Euclidean"),
        BuresWasserstein("Bures-Wasserstein"),
        Euclidean("Euclidean"),
    )
}


def _eye(P: Tensor) -> Tensor:
    return torch.eye(P.shape[-1], dtype=P.dtype, device=P.device)


def _sums(values: Tensor) -> Tensor:
    return values[..., :, None] + values[..., None, :]


def _of_spectrum(values: Tensor, U: Tensor, function) -> Tensor:
    return symmetric((U * function(values)[..., None, :]) @ U.mT)


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
