"""An energy that can express the inverse: quadratic in Y, with polynomials of A as coefficients.

E_k(Y) = 1/σ_k · ( ½‖Y‖² + √ᾱ_k · ( ½ Σ_ij c_ij ⟨K_i Y K_j, Y⟩ − Σ_m d_m ⟨K_m, Y⟩ ) )

with K_m polynomials of A, orthonormal over the spectra of the training distribution, and c and d small
networks of the landscape k and of spectral moments of A. With c = 0 and d = 0 it is the score of
somebody who does not look at A; what it learns beyond that fades where the noise hides the answer.
Nobody tells it what an inverse is: it has products, traces and sums, and learns by score matching.
Where c ≠ 0 its minimum is a ratio of polynomials, reached by descent, which is what carries it to
problems worse conditioned than those of training.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ired.model import problems
from ired.model.energies.equivariant import (
    Invariants,
    QuadraticEnergy,
    dense,
    of_landscape,
    remembered,
    sandwich,
    scaled,
)


@dataclass(frozen=True)
class PolynomialConfig:
    """What a checkpoint needs besides its weights.

    degree: of the polynomials in the linear term; bend: of each of the two in the quadratic term;
    width: of the networks of the coefficients. c names the training distribution, whose mean spectrum
    and moments scale the polynomials and the networks' inputs; shift, scale and symmetric are those
    of `Coordinates`.
    """

    n: int
    landscapes: int = 10
    shift: float = 0.0
    scale: float = 1.0
    symmetric: bool = False
    c: float = 0.5
    degree: int = 8
    bend: int = 6
    width: int = 64

    @classmethod
    def for_problems(
        cls,
        n: int,
        c: float,
        standardised: bool,
        *,
        landscapes: int = 10,
        symmetric: bool = False,
        **_ignored: Any,
    ) -> PolynomialConfig:
        """For one training distribution. A profile's `hidden` is ignored: it sizes the MLP, which
        needs hundreds of units where these coefficients need tens."""
        shift, scale = problems.standardisation(n, c) if standardised else (0.0, 1.0)
        return cls(n=n, landscapes=landscapes, shift=shift, scale=scale, symmetric=symmetric, c=c)


@dataclass
class _Prepared:
    """K_m (B, m, n, n), and d (B, K, m) and c (B, K, b, b) of every landscape.

    `landscape` holds what was last asked for without autograd.
    """

    K: Tensor
    d: Tensor
    c: Tensor
    landscape: tuple[int, tuple[Tensor, Tensor]] | None = field(default=None, repr=False)


class PolynomialEnergy(QuadraticEnergy):
    """Offers `ired.model.protocol.Energy`; has no layers."""

    config: PolynomialConfig
    orthonormal: Tensor

    def __init__(self, config: PolynomialConfig, generator: torch.Generator | None = None):
        super().__init__(config)
        terms, bends, K = config.degree + 1, config.bend + 1, config.landscapes
        X, size = scaled(self.reference_problems())
        T = self._chebyshev(X)
        G = torch.einsum("bixy,bjxy->ij", T, T) / (len(X) * config.n)
        G.diagonal()[1:].add_(1e-9)
        self.register_buffer("orthonormal", torch.linalg.inv(torch.linalg.cholesky(G)).float())
        self.invariants = Invariants(self._moments(T, size))
        F, h = len(self.invariants.mean), config.width
        self.blind = nn.Parameter(torch.zeros(terms))
        self.problem = dense(F, h, h, terms, generator=generator, last=0.01)
        self.seen = dense(F, h, generator=generator)
        self.landscape = nn.Parameter(torch.zeros(K, h))
        self.both = dense(h, h, terms + bends * bends, generator=generator, last=0.01)

    def _chebyshev(self, X: Tensor) -> Tensor:
        """T_0 … T_degree of 2X − 1, (B, degree + 1, n, n), for X with eigenvalues in [0, 1]."""
        eye = torch.eye(self.config.n, dtype=X.dtype, device=X.device)
        U = 2 * X - eye
        T = [eye.expand_as(X), U]
        while len(T) <= self.config.degree:
            T.append(2 * U @ T[-1] - T[-2])
        return torch.stack(T, dim=1)

    def _moments(self, T: Tensor, size: Tensor) -> Tensor:
        """log s and mean eigenvalues of T_1 … T_2·degree, by T_{i+j} = 2 T_i T_j − T_{|i−j|}."""
        n, top = self.config.n, self.config.degree
        low = T.diagonal(dim1=-2, dim2=-1).sum(-1) / n
        products = 2 * (T[:, -1:] * T[:, 1:]).sum((-2, -1)) / n
        high = products - low[:, :-1].flip(1)
        return torch.cat((size.flatten(1).log(), low[:, 1 : top + 1], high), dim=1)

    def prepare(self, A: Tensor | _Prepared) -> _Prepared:
        if isinstance(A, _Prepared):
            return A
        X, size = scaled(A)
        T = self._chebyshev(X)
        invariants = self.invariants(self._moments(T, size))
        alone = self.problem(invariants) + self.blind
        h = nn.functional.gelu(self.seen(invariants)[:, None] + self.landscape)
        d, c = self.both(h).split((len(self.blind), (self.config.bend + 1) ** 2), dim=-1)
        K = (self.orthonormal @ T.flatten(2)).unflatten(-1, T.shape[-2:])
        c = c.unflatten(-1, (self.config.bend + 1, -1))
        return _Prepared(K, alone[:, None] + d, (c + c.mT) / 2)

    def like(self, A: _Prepared) -> Tensor:
        return A.K

    def _terms(self, A: _Prepared, k: int | Tensor) -> tuple[Tensor, Tensor]:
        """Σ_j c_ij K_j (B, b, n, n) and Σ_m d_m K_m (B, n, n)."""
        d, c = of_landscape(A.d, k), of_landscape(A.c, k)
        K = A.K[:, : c.shape[-1]].flatten(2)
        right = (c @ K).unflatten(-1, A.K.shape[-2:])
        D = (d[:, None] @ A.K.flatten(2)).unflatten(-1, A.K.shape[-2:])[:, 0]
        return right, D

    def value_and_gradient(
        self, A: _Prepared, Y: Tensor, k: int | Tensor, value: bool = True
    ) -> tuple[Tensor | None, Tensor]:
        right, D = remembered(A, k, lambda: self._terms(A, k))
        root, sigma = (self.schedule.at(name, k, Y) for name in ("sqrt_alpha_bar", "sigma"))
        if Y.dim() == 4:
            D = D[:, None]
        difference = Y + root * sandwich(A.K[:, : right.shape[1]], Y, right)
        gradient = (difference - root * D) / sigma
        if not value:
            return None, gradient
        return (Y * (difference / 2 - root * D) / sigma).sum((-2, -1)), gradient

    def hessian_parts(self, A: Any, y: Tensor, k: int | Tensor) -> tuple[Tensor, Tensor]:
        """The positive and the negative part of the Hessian, which is no sum of squares by itself."""
        H = self.basis_hessian(self.prepare(A), k, len(y))
        values, vectors = torch.linalg.eigh(H)
        positive, negative = (
            self._lift((vectors * part[:, None]) @ vectors.mT) for part in (values.clamp_min(0), values.clamp_max(0))
        )
        return positive, negative
