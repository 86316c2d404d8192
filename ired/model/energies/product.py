"""An energy of learned matrix products: a small network of (A, Y, I) that can express the inverse.

Channels of A alone grow by stages of products of learned mixtures, H ← (H, normal((U·H)(V·H))) from
(I, normal(A)), where `standardised_spectrum` takes off mean and deviation of the eigenvalues by traces. Then the
state passes stages in which those channels multiply it from both sides,
Z ← Z + √ᾱ_k (Σ_r L_r Z R_r − W), with L, R, W mixtures of the channels by weights that a small
network makes of k and of invariants of A; and E = ‖Z‖²/(2σ_k), a sum of squares like the published
energy, of what is affine in the state. No polynomial basis, no inverse and no defining equation of
one is given.
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

_TINY = 1e-8  # variance of a matrix that is as good as a multiple of I


@dataclass(frozen=True)
class ProductConfig:
    """What a checkpoint needs besides its weights.

    channels: products in each of the `stages` of A; passes: stages of the state; terms: two-sided
    products in each of them; width: of the network of the mixtures. c names the training
    distribution, whose moments scale that network's inputs; shift, scale and symmetric are those of
    `Coordinates`.
    """

    n: int
    landscapes: int = 10
    shift: float = 0.0
    scale: float = 1.0
    symmetric: bool = False
    c: float = 0.5
    stages: int = 3
    channels: int = 4
    passes: int = 3
    terms: int = 2
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
    ) -> ProductConfig:
        """For one training distribution. A profile's `hidden` is ignored: it sizes the MLP, whose
        units are numbers where these channels are matrices."""
        shift, scale = problems.standardisation(n, c) if standardised else (0.0, 1.0)
        return cls(n=n, landscapes=landscapes, shift=shift, scale=scale, symmetric=symmetric, c=c)

    @property
    def grown(self) -> int:
        """Channels of A after the last stage."""
        return 2 + self.stages * self.channels


@dataclass
class _Prepared:
    """Channels (B, grown, n, n), and mixtures (B, K, passes, 2·terms + 1, grown) of each landscape.

    `landscape` holds what was last asked for without autograd.
    """

    H: Tensor
    mixtures: Tensor
    landscape: tuple[int, Tensor] | None = field(default=None, repr=False)


def standardised_spectrum(Q: Tensor) -> Tensor:
    """Symmetric matrices (..., n, n) with their eigenvalues' mean taken off, their variance 1."""
    eye = torch.eye(Q.shape[-1], dtype=Q.dtype, device=Q.device)
    Q = Q - Q.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None] * eye
    return Q * (Q.square().sum((-2, -1), keepdim=True) / Q.shape[-1] + _TINY).rsqrt()


class ProductEnergy(QuadraticEnergy):
    """Offers `ired.model.protocol.Energy`; its layers are "pass1", "pass2", …, states as they go on."""

    config: ProductConfig

    def __init__(self, config: ProductConfig, generator: torch.Generator | None = None):
        super().__init__(config)
        self.mix = nn.ParameterList(
            torch.randn(2, config.channels, 2 + stage * config.channels, generator=generator)
            / (2 + stage * config.channels) ** 0.5
            for stage in range(config.stages)
        )
        self.invariants = Invariants(self._invariants(*scaled(self.reference_problems())))
        F, h = len(self.invariants.mean), config.width
        self._shape = (config.passes, 2 * config.terms + 1, config.grown)
        size = config.passes * (2 * config.terms + 1) * config.grown
        self.seen = dense(F, h, generator=generator)
        self.landscape = nn.Parameter(torch.zeros(config.landscapes, h))
        self.both = dense(h, h, size, generator=generator, last=0.1)
        # One side of every product starts away from zero: at zero in both nothing would be learned.
        start = torch.randn(self._shape, generator=generator) * config.grown**-0.5
        start[:, config.terms :] = 0
        self.start = nn.Parameter(start)

    def _invariants(self, X: Tensor, size: Tensor) -> Tensor:
        """log s and the mean powers 1 to 6 of A/s's eigenvalues, (B, 7)."""
        square = X @ X
        fourth = square @ square
        eye = torch.eye(X.shape[-1], dtype=X.dtype, device=X.device)
        pairs = ((X, eye), (X, X), (square, X), (square, square), (fourth, X), (fourth, square))
        powers = [(P * Q).sum((-2, -1)) / self.config.n for P, Q in pairs]
        return torch.stack((size.flatten().log(), *powers), dim=1)

    def prepare(self, A: Tensor | _Prepared) -> _Prepared:
        if isinstance(A, _Prepared):
            return A
        X, size = scaled(A)
        eye = torch.eye(X.shape[-1], dtype=X.dtype, device=X.device)
        H = torch.cat((eye.expand_as(X)[:, None], standardised_spectrum(X[:, None])), dim=1)
        for mix in self.mix:
            left, right = (mix.flatten(0, 1) @ H.flatten(2)).unflatten(-1, X.shape[-2:]).chunk(2, 1)
            H = torch.cat((H, standardised_spectrum(left @ right)), dim=1)
        invariants = self.invariants(self._invariants(X, size))
        h = nn.functional.gelu(self.seen(invariants)[:, None] + self.landscape)
        return _Prepared(H, self.both(h).unflatten(-1, self._shape) + self.start)

    def like(self, A: _Prepared) -> Tensor:
        return A.H

    def _factors(self, A: _Prepared, k: int | Tensor) -> Tensor:
        """L_1 … L_r, R_1 … R_r, W of each pass: (B, passes, 2·terms + 1, n, n)."""
        return remembered(A, k, lambda: self._mixed(A, of_landscape(A.mixtures, k)))

    def _mixed(self, A: _Prepared, mixtures: Tensor) -> Tensor:
        n = self.config.n
        factors = (mixtures.flatten(1, 2) @ A.H.flatten(2)).unflatten(-1, (n, n))
        return factors.unflatten(1, self._shape[:2])

    def _seen(self, factors: Tensor, Z: Tensor) -> Tensor:
        """Σ_r L_r Z R_r of one pass, in the space of states; its own adjoint there."""
        terms = self.config.terms
        out = sandwich(factors[:, :terms], Z, factors[:, terms:-1])
        return (out + out.mT) / 2 if self.config.symmetric else out

    def _forward(self, factors: Tensor, Z: Tensor, root: Tensor, passed: int = 0) -> list[Tensor]:
        """The state after each pass from number `passed` on."""
        out = []
        for stage in factors[:, passed:].unbind(1):
            W = stage[:, -1]
            Z = Z + root * (self._seen(stage, Z) - (W[:, None] if Z.dim() == 4 else W))
            out.append(Z)
        return out

    def value_and_gradient(
        self, A: _Prepared, Y: Tensor, k: int | Tensor, value: bool = True
    ) -> tuple[Tensor | None, Tensor]:
        factors = self._factors(A, k)
        root, sigma = (self.schedule.at(name, k, Y) for name in ("sqrt_alpha_bar", "sigma"))
        Z = self._forward(factors, Y, root)[-1]
        gradient = Z / sigma
        energy = (Z * gradient).sum((-2, -1)) / 2 if value else None
        for stage in reversed(factors.unbind(1)):
            gradient = gradient + root * self._seen(stage, gradient)
        return energy, gradient

    def hessian_parts(self, A: Any, y: Tensor, k: int | Tensor) -> tuple[Tensor, Tensor]:
        """All of it is Gauss–Newton: E is a sum of squares of what is affine in the state."""
        H = self.hessian(A, y, k)
        return H, torch.zeros_like(H)

    @property
    def _names(self) -> list[str]:
        return [f"pass{t + 1}" for t in range(self.config.passes)]

    def activations(self, A: Any, y: Tensor, k: int | Tensor) -> dict[str, Tensor]:
        Y = self._square(y)
        root = self.schedule.at("sqrt_alpha_bar", k, Y)
        Z = self._forward(self._factors(self.prepare(A), k), Y, root)
        return {name: z.flatten(-2) for name, z in zip(self._names, Z, strict=True)}

    def resume(self, layer: str, h: Tensor, A: Any, k: int | Tensor) -> Tensor:
        if layer not in self._names:
            return super().resume(layer, h, A, k)
        Z = h.unflatten(-1, (self.config.n, self.config.n))
        root, sigma = (self.schedule.at(name, k, Z) for name in ("sqrt_alpha_bar", "sigma"))
        passed = self._names.index(layer) + 1
        Z = [Z, *self._forward(self._factors(self.prepare(A), k), Z, root, passed)][-1]
        return (Z.pow(2) / sigma).sum((-2, -1)) / 2
