"""Activation patching: a layer's activations replaced by something else, the rest of the network as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ired.model.protocol import Energy

Replace = Callable[[Tensor], Tensor]
# Where gaps are measured: noise radii away from the answer, in two random directions each.
DISTANCES = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0)


class Spliced:
    """An energy whose activations h (…, width) of one layer are replaced by replace(h), in all landscapes
    or in one.

    Offers the protocol but for Hessians; the gradient is that of the spliced energy, replacement
    included, by autograd.
    """

    def __init__(self, energy: Energy, layer: str, replace: Replace, landscape: int | None = None):
        self.inner, self.layer, self.replace, self.landscape = energy, layer, replace, landscape
        self.coordinates, self.schedule = energy.coordinates, energy.schedule

    def prepare(self, A: Any) -> Any:
        return self.inner.prepare(A)

    def energy(self, A: Any, y: Tensor, k: int | Tensor) -> Tensor:
        if self.landscape not in (None, k):
            return self.inner.energy(A, y, k)
        return self._energy(A, y, k, False)

    def replaced(self, h: Tensor, y: Tensor, k: int | Tensor) -> Tensor:
        """What the network goes on from, of its own activations h at states y in landscape k."""
        return self.replace(h)

    def _energy(self, A: Any, y: Tensor, k: int | Tensor, through: bool) -> Tensor:
        prepared = self.inner.prepare(A)
        activations = self.inner.activations(prepared, y, k)[self.layer]
        h = self.replaced(activations, y, k)
        if through:
            h = activations + (h - activations).detach()
        return self.inner.resume(self.layer, h, prepared, k)

    def energy_and_gradient(self, A: Any, y: Tensor, k: int | Tensor, through: bool = False) -> tuple[Tensor, Tensor]:
        if self.landscape not in (None, k):
            return self.inner.energy_and_gradient(A, y, k)
        with torch.enable_grad():
            y = y.detach().requires_grad_()
            energy = self._energy(A, y, k, through)
            if not energy.requires_grad:  # what was replaced hides the state altogether
                return energy, torch.zeros_like(y)
            (gradient,) = torch.autograd.grad(energy.sum(), y, allow_unused=True, materialize_grads=True)
        return energy.detach(), gradient

    def gradient(self, A: Any, y: Tensor, k: int | Tensor, through: bool = False) -> Tensor:
        """With `through`, the replacement counts as the identity on the way back: the network's own
        backward pass, from where the replacement led."""
        return self.energy_and_gradient(A, y, k, through)[1]


def constant_replacement(value: Tensor) -> Replace:
    """The replacement of all activations by one vector (width,)."""
    return lambda h: value.to(h).expand_as(h)


def blind_score(energy: Energy, y: Tensor, scores: Tensor) -> Tensor:
    """The best guess (P, d) of the scores (P, d) that does not look at A: a multiple of the state, the
    least-squares one. For answers that are small beside the noise it is y/σ_k."""
    y = energy.coordinates.project(y)
    return y * ((y * scores).sum() / y.pow(2).sum())
