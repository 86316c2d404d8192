"""Energies whose landscapes are known in closed form, on which instruments are calibrated.

They come from the caller (`References`), so that what is calibrated is what will be used: its coordinates, its
landscapes, its machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ired.instruments.core import states
from ired.model.protocol import Energy


@dataclass(frozen=True)
class References:
    """Energies with known landscapes, in float64.

    ideal: E = ‖y − √ᾱ_k y₀‖²/(2σ_k); algebraic: Hessian scale²·A² ⊗ I and minimum √ᾱ_k y₀;
    well: Σ(y_i² − 1)² over few (at most 5) basis coordinates; quadratic(H, centre): the planted
    quadratic on the same coordinates as ideal; A: (P, n, n) problems, 2 ≤ P.
    """

    ideal: Energy
    algebraic: Energy
    well: Energy
    quadratic: Callable[[Tensor, Tensor], Energy]
    A: Tensor

    @property
    def landscapes(self) -> tuple[int, ...]:
        """The sharpest, a middle and the blurriest landscape."""
        last = self.ideal.schedule.K - 1
        return tuple(sorted({0, last // 2, last}))

    def planted(self, diagonal: Tensor) -> Energy:
        """The quadratic with these curvatures (size,) along basis coordinates, around 0."""
        basis = states.state_basis(self.ideal, self.A)
        H = basis.mT @ (diagonal.to(basis)[:, None] * basis)
        return self.quadratic(H, H.new_zeros(len(H)))


class WrappedEnergy:
    """An energy with one thing changed."""

    def __init__(self, energy: Energy):
        self._energy = energy
        self.coordinates, self.schedule = energy.coordinates, energy.schedule

    def __getattr__(self, name: str) -> Any:
        return getattr(self._energy, name)


class Layered(WrappedEnergy):
    """The ideal energy as a network of one layer: h = basis coordinates of y − √ᾱ_k y₀, E = ‖h‖²/2σ_k."""

    def prepare(self, A: Tensor) -> Tensor:
        return A

    def activations(self, A: Any, y: Tensor, k: int | Tensor) -> dict[str, Tensor]:
        y0 = states.answers(self, A)
        y0 = y0[:, None] if y.dim() == 3 else y0
        home = self.schedule.at("sqrt_alpha_bar", k, y) * y0
        return {"fc1": self.coordinates.to_basis(y - home)}

    def resume(self, layer: str, h: Tensor, A: Any, k: int | Tensor) -> Tensor:
        return (h * h / self.schedule.at("sigma", k, h)).sum(-1) / 2
