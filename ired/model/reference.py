"""Reference energies in closed form: the ideal denoiser and others that every instrument is calibrated on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ired.model import problems
from ired.model.coordinates import Coordinates
from ired.model.energies.architectures import LearnedEnergy, build
from ired.model.protocol import Energy
from ired.model.schedule import Schedule


@dataclass(frozen=True)
class _Reference:
    coordinates: Coordinates
    schedule: Schedule

    def prepare(self, A: Tensor) -> Any:
        return A

    def energy_and_gradient(self, A: Any, y: Tensor, k: int | Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def hessian(self, A: Any, y: Tensor, k: int | Tensor) -> Tensor:
        raise NotImplementedError

    def gradient(self, A: Any, y: Tensor, k: int | Tensor) -> Tensor:
        return self.energy_and_gradient(A, y, k)[1]

    def energy(self, A: Any, y: Tensor, k: int | Tensor) -> Tensor:
        return self.energy_and_gradient(A, y, k)[0]

    def activations(self, A: Any, y: Tensor, k: int | Tensor) -> dict[str, Tensor]:
        return {}

    def resume(self, layer: str, h: Tensor, A: Any, k: int | Tensor) -> Tensor:
        raise KeyError(f"this energy has no layer '{layer}'")

    def _projector(self, like: Tensor) -> Tensor:
        eye = torch.eye(self.coordinates.d, dtype=like.dtype, device=like.device)
        return self.coordinates.project(eye)


@dataclass(frozen=True)
class _Answers:
    """The answers y₀ (B, d) of prepared problems."""

    y0: Tensor


class _Squares(_Reference):
    """Sums of squares of affine maps: the Hessian is all Gauss–Newton."""

    def hessian_parts(self, A: Any, y: Tensor, k: int | Tensor) -> tuple[Tensor, Tensor]:
        H = self.hessian(A, y, k)
        return H, torch.zeros_like(H)


class IdealEnergy(_Squares):
    """The landscape of a perfect denoiser, E_k(y) = ‖y − √ᾱ_k y₀‖² / (2σ_k).

    Its gradient at y_k = √ᾱ_k y₀ + σ_k ε is exactly the noise ε, its Hessian is I/σ_k.
    """

    def prepare(self, A: Tensor | _Answers) -> _Answers:
        if isinstance(A, _Answers):
            return A
        return _Answers(self.coordinates.encode(torch.linalg.inv(A)))

    def energy_and_gradient(self, A: Any, y: Tensor, k: int | Tensor) -> tuple[Tensor, Tensor]:
        y0 = self.prepare(A).y0
        if y.dim() == 3:
            y0 = y0[:, None]
        difference = self.coordinates.project(y) - self.schedule.at("sqrt_alpha_bar", k, y) * y0
        gradient = difference / self.schedule.at("sigma", k, y)
        return (gradient * difference).sum(-1) / 2, gradient

    def hessian(self, A: Any, y: Tensor, k: int | Tensor) -> Tensor:
        sigma = self.schedule.at("sigma", k, y[..., None])
        return (self._projector(y) / sigma).expand(len(y), -1, -1).clone()


class AlgebraicEnergy(_Squares):
    """The residual energy E_k(y) = ½‖A·Y_k − √ᾱ_k I‖²_F, with Y_k = √ᾱ_k·shift·I + scale·y.

    Its one minimum is √ᾱ_k y₀, its Hessian scale²·A² ⊗ I in every landscape (row-major), restricted
    to the symmetric subspace when states are symmetric.
    """

    def energy_and_gradient(self, A: Any, y: Tensor, k: int | Tensor) -> tuple[Tensor, Tensor]:
        n, shift, scale = self.coordinates.n, self.coordinates.shift, self.coordinates.scale
        eye = torch.eye(n, dtype=y.dtype, device=y.device)
        root = self.schedule.at("sqrt_alpha_bar", k, y[..., None])
        if y.dim() == 3:
            A = A[:, None]
        Y = self.coordinates.project(y).unflatten(-1, (n, n)) * scale + root * shift * eye
        residual = A @ Y - root * eye
        gradient = self.coordinates.project((A.mT @ residual).flatten(-2)) * scale
        return residual.pow(2).sum((-2, -1)) / 2, gradient

    def hessian(self, A: Any, y: Tensor, k: int | Tensor) -> Tensor:
        eye = torch.eye(self.coordinates.n, dtype=y.dtype, device=y.device)
        H = self.coordinates.scale**2 * torch.stack([torch.kron(S, eye) for S in A.mT @ A])
        P = self._projector(y)
        return P @ H @ P


@dataclass(frozen=True)
class PredictorEnergy(_Squares):
    """A prediction m(A) of the answer, seen as an energy: one bowl for each landscape,

        E_k(y) = ½ (y − √ᾱ_k m)ᵀ H_k (y − √ᾱ_k m),   H_k = σ_k (ᾱ_k C + σ_k² I)⁻¹,

    C the covariance of what the prediction misses. Its gradient is the best guess of the noise ε that is affine in y
    once m is known (linear minimum mean square error; Kay 1993, ch. 12), and the posterior mean if the errors are
    Gaussian. With the least-squares map as m it is the best denoiser that is affine in (A, y). Whatever an instrument
    shows on it needs no energy that was learned.

    predict: problems (B, n, n) → inverses (B, n, n); axes (size, size): C's eigenvectors by columns, in basis
    coordinates, variances (size,): its eigenvalues.
    """

    predict: Callable[[Tensor], Tensor]
    axes: Tensor
    variances: Tensor

    @classmethod
    def of(
        cls, coordinates: Coordinates, schedule: Schedule, predict: Callable[[Tensor], Tensor], A: Tensor
    ) -> PredictorEnergy:
        """With the mean square C of its errors on problems A (N, n, n) that the prediction was not fitted to.

        Raises ValueError where these are fewer than the coordinates of an answer.
        """
        if len(A) < coordinates.size:
            raise ValueError(f"the covariance of {coordinates.size} errors needs as many problems, not {len(A)}")
        A = A.double()
        missed = coordinates.to_basis(coordinates.encode(torch.linalg.inv(A)) - coordinates.encode(predict(A)))
        return cls.with_errors(coordinates, schedule, predict, missed.mT @ missed / len(A))

    @classmethod
    def with_errors(
        cls, coordinates: Coordinates, schedule: Schedule, predict: Callable[[Tensor], Tensor], C: Tensor
    ) -> PredictorEnergy:
        """With the mean square C (size, size) of its errors, in basis coordinates."""
        variances, axes = torch.linalg.eigh(C)
        return cls(coordinates, schedule, predict, axes, variances.clamp_min(0))

    def prepare(self, A: Tensor | _Answers) -> _Answers:
        if isinstance(A, _Answers):
            return A
        return _Answers(self.coordinates.encode(self.predict(A)))

    def energy_and_gradient(self, A: Any, y: Tensor, k: int | Tensor) -> tuple[Tensor, Tensor]:
        along = self._along(A, y, k)
        steep = self._curvature(k, y) * along
        return (along * steep).sum(-1) / 2, self.coordinates.from_basis(steep @ self.axes.mT.to(y))

    def hessian(self, A: Any, y: Tensor, k: int | Tensor) -> Tensor:
        eye = torch.eye(self.coordinates.size, dtype=y.dtype, device=y.device)
        axes = self.axes.mT.to(y) @ self.coordinates.from_basis(eye)  # (size, d)
        curvature = self._curvature(k, y).expand(len(y), -1)
        return axes.mT @ (curvature[..., None] * axes)

    def outputs(self, A: Any, y: Tensor, k: int | Tensor) -> Tensor:
        """Outputs f (B[, M], size) with E = ‖f‖², an output a coordinate: of all turns of them those that lie nearest
        to the coordinates (the symmetric root of H_k/2; Kessy, Lewin & Strimmer 2018, arXiv 1512.00809)."""
        return (self._curvature(k, y) / 2).sqrt() * self._along(A, y, k) @ self.axes.mT.to(y)

    def _along(self, A: Any, y: Tensor, k: int | Tensor) -> Tensor:
        """How far y is from the centre of the bowl, along the axes: (B[, M], size)."""
        centre = self.prepare(A).y0
        if y.dim() == 3:
            centre = centre[:, None]
        difference = y - self.schedule.at("sqrt_alpha_bar", k, y) * centre
        return self.coordinates.to_basis(difference) @ self.axes.to(y)

    def _curvature(self, k: int | Tensor, y: Tensor) -> Tensor:
        """Along the axes: (size,), or with a landscape for each problem (B[, 1], size)."""
        bar, sigma = (self.schedule.at(name, k, y) for name in ("alpha_bar", "sigma"))
        return sigma / (bar * self.variances.to(y) + sigma**2)


class DoubleWell(_Reference):
    """E(y) = Σ (y_i² − 1)² over basis coordinates: 2^m minima at ±1, saddles where some are 0.

    m is the dimension of the space that states live in; the problem and the landscape play no
    part. A critical point with j zeros has energy j and j negative Hessian eigenvalues.
    """

    def energy_and_gradient(self, A: Any, y: Tensor, k: int | Tensor) -> tuple[Tensor, Tensor]:
        z = self.coordinates.to_basis(y)
        gradient = self.coordinates.from_basis(4 * z * (z * z - 1))
        return (z * z - 1).pow(2).sum(-1), gradient

    def hessian(self, A: Any, y: Tensor, k: int | Tensor) -> Tensor:
        gauss_newton, residual = self.hessian_parts(A, y, k)
        return gauss_newton + residual

    def hessian_parts(self, A: Any, y: Tensor, k: int | Tensor) -> tuple[Tensor, Tensor]:
        # f = z² − 1: 2f'² = 8z² and 2ff'' = 4(z² − 1).
        z = self.coordinates.to_basis(y)
        basis = self.coordinates.from_basis(torch.eye(self.coordinates.size, dtype=y.dtype, device=y.device))
        parts = (8 * z * z, 4 * (z * z - 1))
        gauss_newton, residual = (basis.mT @ (part[..., None] * basis) for part in parts)
        return gauss_newton, residual


@dataclass(frozen=True)
class Quadratic(_Reference):
    """E(y) = ½ (y − centre)ᵀ H (y − centre) with a planted symmetric H (d, d), for every A and k."""

    H: Tensor
    centre: Tensor

    def energy_and_gradient(self, A: Any, y: Tensor, k: int | Tensor) -> tuple[Tensor, Tensor]:
        difference = y - self.centre.to(y)
        gradient = difference @ self.H.to(y)
        return (difference * gradient).sum(-1) / 2, gradient

    def hessian(self, A: Any, y: Tensor, k: int | Tensor) -> Tensor:
        return self.H.to(y).expand(len(y), -1, -1).clone()

    def hessian_parts(self, A: Any, y: Tensor, k: int | Tensor) -> tuple[Tensor, Tensor]:
        # As a difference of sums of squares: H's positive and its negative part.
        values, vectors = torch.linalg.eigh(self.H.to(y))
        positive = (vectors * values.clamp_min(0)) @ vectors.mT
        negative = (vectors * values.clamp_max(0)) @ vectors.mT
        return positive.expand(len(y), -1, -1).clone(), negative.expand(len(y), -1, -1).clone()


def untrained_networks(energy: LearnedEnergy, seed: int, count: int) -> dict[str, LearnedEnergy]:
    """`count` networks like a trained one with fresh weights, "untrained", "untrained 2", …: what one shows may be its
    luck. None of the weights are those that the training of this seed started from."""
    like = next(energy.parameters())
    names = ["untrained", *(f"untrained {number}" for number in range(2, count + 1))]
    networks = {name: build(energy.config, problems.generator(seed, name)) for name in names}
    return {name: network.to(like).requires_grad_(False) for name, network in networks.items()}


def reference_panel(energy: LearnedEnergy, seed: int) -> dict[str, Energy]:
    """Energies that a trained one is held against, in its coordinates and dtype, and that need no data.

    "untrained": the same network with fresh weights; "ideal" and "algebraic": the reference energies.
    """
    return {
        **untrained_networks(energy, seed, 1),
        "ideal": IdealEnergy(energy.coordinates, energy.schedule),
        "algebraic": AlgebraicEnergy(energy.coordinates, energy.schedule),
    }
