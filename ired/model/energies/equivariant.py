"""What energies made of matrix products share: invariant scaling of A, and the protocol's methods.

Every such energy is quadratic in the state, E(Y) = ½⟨Y, C_k(A)[Y]⟩ − ⟨D_k(A), Y⟩ + const, with C and D
made of products, traces and sums of A: no inverse, no solve, no factorisation of A (the only ones are
of averages over a fixed training sample, which scale inputs and bases). Since every scalar in them is
invariant under A → QAQᵀ, the energy is exactly equivariant in states Y → QYQᵀ.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ired.model import problems
from ired.model.coordinates import Coordinates
from ired.model.schedule import Schedule

_REFERENCE = 1024  # problems whose invariants say what is usual
_RIDGE = 1e-5  # of the mean variance: invariants that hardly vary are not blown up to noise


def scaled(A: Tensor) -> tuple[Tensor, Tensor]:
    """X = A/s with eigenvalues in (0, 1], and s (B, 1, 1), by products and traces alone.

    s = (tr A⁸)^⅛ is at least the largest eigenvalue of a positive definite A, at most n^⅛ times it.
    Only A's symmetric part counts.
    """
    A = (A + A.mT) / 2
    mean = A.diagonal(dim1=-2, dim2=-1).mean(-1)[:, None, None]
    A = A / mean
    square = A @ A
    fourth = square @ square
    size = fourth.square().sum((-2, -1), keepdim=True) ** 0.125
    return A / size, size * mean


def sandwich(L: Tensor, Y: Tensor, R: Tensor) -> Tensor:
    """Σ_r L_r Y R_r for L, R (B, r, n, n) and Y (B, n, n) or (B, M, n, n), as two large products."""
    if Y.dim() == 3:
        return sandwich(L, Y[:, None], R)[:, 0]
    n, M = Y.shape[-1], Y.shape[1]
    LY = L.flatten(1, 2) @ Y.transpose(1, 2).flatten(2)
    LY = LY.unflatten(1, (-1, n)).unflatten(-1, (M, n)).permute(0, 3, 2, 1, 4)
    return (LY.flatten(3).flatten(1, 2) @ R.flatten(1, 2)).unflatten(1, (M, n))


def of_landscape(table: Tensor, k: int | Tensor) -> Tensor:
    """The entries (B, …) of a table (B, K, …) at one landscape, or at one for each problem."""
    if isinstance(k, int):
        return table[:, k]
    return table[torch.arange(len(k), device=k.device), k]


def remembered(prepared: Any, k: int | Tensor, make: Callable[[], Any]) -> Any:
    """What `make` makes of prepared problems; without autograd the last landscape's is kept."""
    single = isinstance(k, int) and not torch.is_grad_enabled()
    if single and prepared.landscape is not None and prepared.landscape[0] == k:
        return prepared.landscape[1]
    made = make()
    if single:
        prepared.landscape = k, made
    return made


class Invariants(nn.Module):
    """Invariants (B, F) of problems as a network likes them: mean 0, uncorrelated, variance ≤ 1.

    Mean and covariance are those of the training distribution, as a fixed sample of it has them. Far
    from it they saturate at ±`BOUND`, so that coefficients stay within what training has seen.
    """

    BOUND = 4.0
    mean: Tensor
    whiten: Tensor

    def __init__(self, sample: Tensor):
        super().__init__()
        sample = sample.double()
        mean = sample.mean(0)
        covariance = (sample - mean).mT @ (sample - mean) / len(sample)
        covariance.diagonal().add_(_RIDGE * covariance.diagonal().mean() + 1e-12)
        whiten = torch.linalg.inv(torch.linalg.cholesky(covariance))
        self.register_buffer("mean", mean.float())
        self.register_buffer("whiten", whiten.float())

    def forward(self, invariants: Tensor) -> Tensor:
        z = (invariants - self.mean) @ self.whiten.mT
        return self.BOUND * torch.tanh(z / self.BOUND)


class QuadraticEnergy(nn.Module):
    """The protocol of `ired.model.protocol.Energy` for energies that are quadratic in the state.

    A subclass gives `prepare` and `value_and_gradient`. States are projected onto the space that the
    coordinates allow, so that antisymmetric parts count only where states may have them.
    """

    def __init__(self, config: Any):
        super().__init__()
        self.config = config
        self.coordinates = Coordinates(config.n, config.shift, config.scale, config.symmetric)
        self.schedule = Schedule(config.landscapes)

    def describe(self) -> dict[str, Any]:
        """The configuration as plain values, for a checkpoint."""
        return asdict(self.config)

    def reference_problems(self) -> Tensor:
        """A fixed sample of the training distribution, float64 (B, n, n)."""
        stream = problems.generator(0, "invariants")
        return problems.draw(_REFERENCE, self.config.n, self.config.c, stream, torch.float64)

    # What a subclass gives

    def prepare(self, A: Any) -> Any:
        raise NotImplementedError

    def value_and_gradient(
        self, A: Any, Y: Tensor, k: int | Tensor, value: bool = True
    ) -> tuple[Tensor | None, Tensor]:
        """E (B[, M]), if it is asked for, and ∇E, for states Y (B[, M], n, n)."""
        raise NotImplementedError

    # The protocol

    def energy(self, A: Any, y: Tensor, k: int | Tensor) -> Tensor:
        return self.energy_and_gradient(A, y, k)[0]

    def gradient(self, A: Any, y: Tensor, k: int | Tensor) -> Tensor:
        return self._flat(self.value_and_gradient(self.prepare(A), self._square(y), k, False)[1])

    def energy_and_gradient(self, A: Any, y: Tensor, k: int | Tensor) -> tuple[Tensor, Tensor]:
        energy, gradient = self.value_and_gradient(self.prepare(A), self._square(y), k)
        assert energy is not None
        return energy, self._flat(gradient)

    def hessian(self, A: Any, y: Tensor, k: int | Tensor) -> Tensor:
        return self._lift(self.basis_hessian(self.prepare(A), k, len(y)))

    def basis_hessian(self, A: Any, k: int | Tensor, count: int) -> Tensor:
        """∇²E on basis coordinates, (B, size, size), the same at every state."""
        size, like = self.coordinates.size, self.like(A)
        steps = torch.eye(size, dtype=like.dtype, device=like.device).expand(count, -1, -1)
        rows = self.basis_energy_and_gradient(A, steps, k)[1]
        rows = rows - self.basis_energy_and_gradient(A, torch.zeros_like(steps[:, :1]), k)[1]
        return (rows + rows.mT) / 2

    def like(self, A: Any) -> Tensor:
        """Some tensor of prepared problems, for its dtype and device."""
        raise NotImplementedError

    def resume(self, layer: str, h: Tensor, A: Any, k: int | Tensor) -> Tensor:
        raise KeyError(f"this energy has no layer '{layer}'")

    def activations(self, A: Any, y: Tensor, k: int | Tensor) -> dict[str, Tensor]:
        return {}

    # The same on basis coordinates z (B[, M], size), an isometry

    def basis_energy(self, A: Any, z: Tensor, k: int | Tensor) -> Tensor:
        return self.basis_energy_and_gradient(A, z, k)[0]

    def basis_energy_and_gradient(self, A: Any, z: Tensor, k: int | Tensor) -> tuple[Tensor, Tensor]:
        Y = self.coordinates.from_basis(z).unflatten(-1, (self.config.n, self.config.n))
        energy, gradient = self.value_and_gradient(self.prepare(A), Y, k)
        assert energy is not None
        return energy, self.coordinates.to_basis(gradient.flatten(-2))

    def _square(self, y: Tensor) -> Tensor:
        return self.coordinates.project(y).unflatten(-1, (self.config.n, self.config.n))

    def _flat(self, gradient: Tensor) -> Tensor:
        return self.coordinates.project(gradient.flatten(-2))

    def _lift(self, H: Tensor) -> Tensor:
        """A bilinear form on basis coordinates (B, size, size) as one on states (B, d, d)."""
        return self.coordinates.from_basis(self.coordinates.from_basis(H).mT).mT


def dense(*widths: int, generator: torch.Generator | None = None, last: float = 1.0) -> nn.Sequential:
    """Linear layers with GELUs between; PyTorch's default weights from `generator`, `last`'s factor last."""
    layers: list[nn.Module] = []
    for i, (fan_in, fan_out) in enumerate(pairwise(widths)):
        layer = nn.Linear(fan_in, fan_out)
        bound = (last if i == len(widths) - 2 else 1.0) / math.sqrt(fan_in)
        with torch.no_grad():
            layer.weight.uniform_(-bound, bound, generator=generator)
            layer.bias.uniform_(-bound, bound, generator=generator)
        layers += [layer, nn.GELU()]
    return nn.Sequential(*layers[:-1])
