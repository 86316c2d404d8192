"""Mahalanobis distance from the activation manifold: where activations of noised answers lie.

Covariances are shrunk as Ledoit & Wolf (2004, "A well-conditioned estimator for large-dimensional covariance
matrices") do, and distances are held against those of answers that had no part in them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ired.instruments.core import states
from ired.instruments.core.directions import EVERYWHERE, STATE
from ired.instruments.core.energy_gap import above
from ired.instruments.core.states import array
from ired.model.protocol import Energy


@dataclass(frozen=True)
class Nature:
    """Noised answers (K, N, d) of N problems A (N, n, n), as a background for others, and the
    standard deviation (K,) of their energy gaps E(y) − E(√ᾱ_k y₀)."""

    A: Tensor
    noised: Tensor
    gap: Tensor


@torch.no_grad()
def nature(energy: Energy, A: Tensor, generator: torch.Generator) -> Nature:
    """One noised answer of each problem A (N, n, n) in every landscape."""
    y0, K = states.answers(energy, A), range(energy.schedule.K)
    noised, prepared = states.at_noise(energy, y0, K, generator), energy.prepare(A)
    home = states.at_answers(energy, y0, K)
    gaps = [above(energy, prepared, noised[k], home[k], k) for k in K]
    return Nature(A, noised, torch.stack(gaps).std(1))


def located(energy: Energy, space: str, A: Any, y: Tensor, k: int | Tensor) -> Tensor:
    """Where states y (B, d) lie in a space, (B, width): its coordinates in which lengths are those of
    states, or a layer's activations."""
    if space == STATE:
        return energy.coordinates.to_basis(y)
    return energy.activations(A, y, k)[space]


@dataclass(frozen=True)
class Cloud:
    """How noised answers lie in a space, in L landscapes.

    mean (L, width); covariance (width, width) within landscapes; factor (width, width): Cholesky
    factor of the inverse of that covariance, shrunk as Ledoit & Wolf (2004) do; natural (H,): sorted
    Mahalanobis distances of held-out answers.
    """

    landscapes: tuple[int, ...]
    mean: Tensor
    covariance: Tensor
    factor: Tensor
    natural: Tensor

    def spread(self, v: Tensor) -> float:
        """Standard deviation along v (width,), within landscapes."""
        return (v @ self.covariance @ v).clamp_min(0).sqrt().item()

    def place(self, k: int | Tensor) -> int | Tensor:
        """Which of the L landscapes k is."""
        return k if len(self.landscapes) > 1 else 0

    def distance(self, x: Tensor, k: int | Tensor) -> Tensor:
        """Mahalanobis distance (B,) of x (B, width) from the mean of landscape k."""
        return ((x - self.mean[self.place(k)]) @ self.factor).norm(dim=-1)

    def quantile(self, distance: Tensor) -> Tensor:
        """The share of held-out answers that lie nearer."""
        return torch.searchsorted(self.natural, distance.contiguous()) / len(self.natural)


@torch.no_grad()
def cloud(energy: Energy, space: str, landscape: int, background: Nature) -> Cloud:
    """Three quarters of the problems make the covariance, the others the distances."""
    from sklearn.covariance import ledoit_wolf  # a second to import

    landscapes = tuple(range(energy.schedule.K)) if landscape == EVERYWHERE else (landscape,)
    prepared = energy.prepare(background.A)
    x = torch.stack([located(energy, space, prepared, background.noised[k], k) for k in landscapes])
    fit = 3 * x.shape[1] // 4
    mean = x[:, :fit].mean(1)
    centred = (x - mean[:, None]).double()
    within = centred[:, :fit].flatten(0, 1)
    shrunk = torch.from_numpy(ledoit_wolf(array(within), assume_centered=True)[0]).to(x)
    factor = torch.linalg.cholesky(torch.linalg.inv(shrunk))
    natural = (centred[:, fit:].to(x) @ factor).norm(dim=-1).flatten().sort().values
    return Cloud(
        landscapes=landscapes,
        mean=mean,
        covariance=(within.mT @ within / len(within)).to(x),
        factor=factor,
        natural=natural,
    )
