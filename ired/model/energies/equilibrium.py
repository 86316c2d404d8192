"""One landscape whose minima are to be the answers: equilibrium matching (Wang & Du 2025, arXiv 2510.02300).

The published network, which is told the landscape, learns ten bowls around scaled answers √ᾱ_k y₀. This one is told no
noise level: it has a single landscape F(A, x) over clean states x, whose gradient is fitted to x − y₀ wherever the
answer is hidden under noise x = y₀ + sε. The target is 0 at the answer, and so F is in equilibrium there. Since s is
not told, what is learned is x − E[y₀ | x, A], over all noise levels at once.

So that every instrument and the sampler take it as they take the others, landscape k is F seen through a lens:

    E_k(y) = r_k²/σ_k · F(A, y/r_k),   r_k = √ᾱ_k, at least NARROWEST.

Then ∇E_k = (r_k/σ_k)∇F, which is the noise ε where ∇F = x − y₀, and the denoising loss of the ten landscapes is that of
equilibrium matching with a linear target, s = σ_k/√ᾱ_k. The network is F = ‖f‖² as published, its code of k held fixed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ired.model.energies.mlp import EnergyConfig, MLPEnergy

# At √ᾱ_9 = 0.005 noise would be 200 times the answers: the noisiest landscape is seen as the one before it.
NARROWEST = 0.15
_CODE = 0  # of the landscape that the network is always told


@dataclass(frozen=True)
class EquilibriumConfig(EnergyConfig):
    """What a checkpoint needs besides its weights: that of the published network."""


class EquilibriumEnergy(MLPEnergy):
    """Offers `ired.model.protocol.Energy`; layers are those of the published network, at x = y/r_k."""

    def basis_energy(self, A: Any, z: Tensor, k: int | Tensor) -> Tensor:
        r, sigma = self._lens(k, z)
        return _of_state(r.square() / sigma) * super().basis_energy(A, z / r, _CODE)

    def basis_energy_and_gradient(self, A: Any, z: Tensor, k: int | Tensor) -> tuple[Tensor, Tensor]:
        r, sigma = self._lens(k, z)
        energy, gradient = super().basis_energy_and_gradient(A, z / r, _CODE)
        return _of_state(r.square() / sigma) * energy, r / sigma * gradient

    def hessian_parts(self, A: Any, y: Tensor, k: int | Tensor) -> tuple[Tensor, Tensor]:
        r, sigma = self._lens(k, y)
        gauss_newton, residual = super().hessian_parts(A, y / r, _CODE)
        return gauss_newton / sigma[..., None], residual / sigma[..., None]

    def activations(self, A: Any, y: Tensor, k: int | Tensor) -> dict[str, Tensor]:
        return super().activations(A, y / self._lens(k, y)[0], _CODE)

    def resume(self, layer: str, h: Tensor, A: Any, k: int | Tensor) -> Tensor:
        r, sigma = self._lens(k, h)
        return _of_state(r.square() / sigma) * super().resume(layer, h, A, _CODE)

    def _lens(self, k: int | Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """r_k and σ_k, to multiply states."""
        root, sigma = (self.schedule.at(name, k, like) for name in ("sqrt_alpha_bar", "sigma"))
        return root.clamp_min(NARROWEST), sigma


def _of_state(factor: Tensor) -> Tensor:
    """What multiplies states (B, 1[, 1]), or is one number, as what multiplies energies (B[, 1])."""
    return factor.squeeze(-1) if factor.dim() else factor
