"""What an energy offers, so that every instrument works on every energy."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from ired.model.coordinates import Coordinates
from ired.model.schedule import Schedule


class Energy(Protocol):
    """A family of K landscapes E(A, y, k) over states y, for each problem A.

    Shapes: A (B, n, n); y (B, d), or (B, M, d) for M states of each problem; k an int or a long
    tensor (B,). States are in diffusion coordinates: around √ᾱ_k · coordinates.encode(A⁻¹).
    Wherever A is asked for, what `prepare(A)` returned may be given instead, which saves the part
    of the work that depends on A alone.
    """

    @property
    def coordinates(self) -> Coordinates:
        """Of states."""

    @property
    def schedule(self) -> Schedule:
        """Of the landscapes."""

    def prepare(self, A: Tensor) -> Any:
        """All that depends on A alone, computed once and accepted in place of A."""

    def energy(self, A: Any, y: Tensor, k: int | Tensor) -> Tensor:
        """E, of shape (B,) or (B, M)."""

    def gradient(self, A: Any, y: Tensor, k: int | Tensor) -> Tensor:
        """∇_y E, of y's shape."""

    def energy_and_gradient(self, A: Any, y: Tensor, k: int | Tensor) -> tuple[Tensor, Tensor]:
        """Both in one pass."""

    def hessian(self, A: Any, y: Tensor, k: int | Tensor) -> Tensor:
        """∇²_y E, (B, d, d), for y (B, d)."""

    def hessian_parts(self, A: Any, y: Tensor, k: int | Tensor) -> tuple[Tensor, Tensor]:
        """The Gauss–Newton part (positive semidefinite) and the residual part; they sum to ∇²E."""

    def activations(self, A: Any, y: Tensor, k: int | Tensor) -> dict[str, Tensor]:
        """Activations by layer name, (B[, M], width); empty where there are no layers."""

    def resume(self, layer: str, h: Tensor, A: Any, k: int | Tensor) -> Tensor:
        """E, (B,) or (B, M), of the network that goes on from activations h of a layer."""
