"""Error bars by the second-order Tweedie formula: the curvature of an energy as the covariance of its answer.

A perfect denoiser's energy has the gradient E[ε | y]. Its Hessian H then says how sure it is of the answer
(Miyasawa 1961, Efron 2011; second order: Meng et al. 2021, arXiv 2111.04726, Manor & Michaeli 2024,
arXiv 2309.13598):

    E[y₀ | y] = (y − σ∇E)/√ᾱ,   Cov(y₀ | y) = (σ²/ᾱ)·(I − σH).

Both are exact for the energy of the posterior, whatever its shape. That of another energy is a claim, and `error_bars`
measures what comes of it at noised answers, in basis coordinates (`size` dimensions, an isometry of states): the trace
is the squared error that the denoised estimate should have. Estimates are not clamped, as a sampler's are.

I − σH has negative eigenvalues where the energy is steeper than the noise allows, σH > 1. No distribution has such a
score. They are counted and never clipped: the trace keeps their sign; what has no positive variance has no interval.

What must be seen. The ideal energy, H = I/σ, knows the answer: covariance and error are 0, and 0/0 is no calibration.
A flat one, H = 0, claims the noise σ²/ᾱ in every direction and has it: calibrated, and knows nothing, hence
`sharpness` (Gneiting, Balabdaoui & Raftery 2007). So does an untrained network as far as it is flat. An affine energy,
and a prediction seen as a bowl around √ᾱ_k·m(A), have one Hessian for all problems: calibrated on average at best,
they rank none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special
from torch import Tensor

from ired.instruments.core import states as points
from ired.instruments.landscape.descent import basis_hessian
from ired.model.protocol import Energy

LEVELS = (0.5, 0.8, 0.95)
ROUNDING = 1e-12
"""What is left of I − σH by rounding, over the larger of 1 and ‖σH‖: a thousand times float64's."""


@dataclass(frozen=True)
class ErrorBars:
    """Predicted and actual errors at M noised answers of each of P problems in L landscapes.

    Arrays (L, P, M) unless noted, squares in the energy's coordinates (times scale² in those of A⁻¹).
    landscapes: (L,) k; noise: (L,) σ²/ᾱ, the variance of y/√ᾱ along each direction; size: directions;
    levels: (Q,) nominal; kappa: (P,) condition numbers of A; actual: ‖ŷ − y₀‖² of the denoised estimate;
    predicted: its expectation, the trace of the covariance, negative eigenvalues included; negative: share of the
    covariance's eigenvalues below 0; negative_mass: their part of Σ|λ| (0 where all are 0); entries, functionals:
    (Q, L, P, M) shares of the answer's distinct entries, and of random linear functionals of it, that lie in their
    central Gaussian interval; entries_without, functionals_without: shares that have no interval because no positive
    variance is predicted. These count as not covered.
    """

    landscapes: NDArray
    noise: NDArray
    size: int
    levels: NDArray
    kappa: NDArray
    actual: NDArray
    predicted: NDArray
    negative: NDArray
    negative_mass: NDArray
    entries: NDArray
    entries_without: NDArray
    functionals: NDArray
    functionals_without: NDArray

    @property
    def sharpness(self) -> NDArray:
        """Predicted error over that of y/√ᾱ: 1 for an energy that knows nothing, 0 for one that knows the answer."""
        return self.predicted / (self.size * self.noise[:, None, None])

    def columns(self) -> dict[str, NDArray]:
        """Tidy columns, one row per point."""
        _, P, M = self.actual.shape
        covered = {
            f"{kind}_{100 * level:g}": getattr(self, kind)[i]
            for kind in ("entries", "functionals")
            for i, level in enumerate(self.levels)
        }
        names = ("actual", "predicted", "sharpness", "negative", "negative_mass")
        return points.tidy_columns(
            {"landscape": self.landscapes, "problem": range(P), "point": range(M)},
            kappa=np.broadcast_to(self.kappa[:, None], self.actual.shape),
            **{name: getattr(self, name) for name in (*names, "entries_without", "functionals_without")},
            **covered,
        )


def posterior_covariance(energy: Energy, A: Tensor, y: Tensor, k: int) -> Tensor:
    """Cov(y₀ | y) = (σ²/ᾱ)(I − σH), (B, size, size) in basis coordinates, as the energy has it at states y (B, d) of
    landscape k. Symmetric, and positive semidefinite only if the energy is that of a posterior."""
    s, noise = points.sigma(energy, k), noise_variance(energy, k)
    left = -s * basis_hessian(energy, A, energy.coordinates.to_basis(y), k)
    left.diagonal(dim1=-2, dim2=-1).add_(1)
    return noise * left


def noise_variance(energy: Energy, k: int) -> float:
    """σ²/ᾱ: the variance along each direction of y/√ᾱ around the answer."""
    return points.sigma(energy, k) ** 2 / energy.schedule.alpha_bar[k].item()


def posterior_mean(energy: Energy, A: Tensor, y: Tensor, k: int) -> Tensor:
    """E[y₀ | y] = (y − σ∇E)/√ᾱ, (B, size) in basis coordinates, as the energy has it (Tweedie's formula)."""
    c = energy.coordinates
    return (
        c.to_basis(y - points.sigma(energy, k) * energy.gradient(A, y, k)) / energy.schedule.alpha_bar[k].item() ** 0.5
    )


def entry_variances(energy: Energy, covariance: Tensor) -> Tensor:
    """Variances (B, n, n) of the entries of A⁻¹, in its own units, from a covariance (B, size, size) in basis
    coordinates. Negative ones, of energies that are no posterior's, stay so."""
    c = energy.coordinates
    weights = c.from_basis(torch.ones_like(covariance[0, 0]))
    variances = c.from_basis(covariance.diagonal(dim1=-2, dim2=-1)) * weights * c.scale**2
    return variances.unflatten(-1, (c.n, c.n))


@torch.no_grad()
def error_bars(
    energy: Energy,
    A: Tensor,
    y0: Tensor,
    landscapes: Sequence[int],
    generator: torch.Generator,
    count: int = 1,
    functionals: int = 64,
    levels: Sequence[float] = LEVELS,
    memory: int = 2**30,
) -> ErrorBars:
    """Error bars of an energy at `count` noised answers y₀ (P, d) of each problem A (P, n, n), beside the errors.

    functionals: how many random unit directions the answer is read along, the same for all points. `memory` bounds the
    bytes that Hessians take at once. Raises ValueError for states that are not float64 (rounding would look like
    negative variance) and levels outside (0, 1).
    """
    points.demand_double(y0, "error bars")
    if not all(0 < level < 1 for level in levels):
        raise ValueError(f"levels of intervals lie between 0 and 1, not {list(levels)}")
    c = energy.coordinates
    along = c.to_basis(points.unit_directions(energy, functionals, generator=generator, like=y0))
    reach = special.ndtri((1 + np.asarray(levels, dtype=np.float64)) / 2)
    owners = torch.arange(len(A), device=A.device).repeat_interleave(count)
    chunk = points.hessians_per_call(energy, memory)
    parts: dict[str, list[Tensor]] = {}
    for k in landscapes:
        y = points.noised(energy, y0, k, count, generator)[0].flatten(0, 1)
        for rows, owner in zip(y.split(chunk), owners.split(chunk), strict=True):
            covariance = posterior_covariance(energy, A[owner], rows, k)
            missed = posterior_mean(energy, A[owner], rows, k) - c.to_basis(y0[owner])
            for name, value in _look(covariance, missed, noise_variance(energy, k), along, reach).items():
                parts.setdefault(name, []).append(value)
    shape = (len(landscapes), len(A), count)
    arrays = {
        name: points.array(torch.cat(values)).reshape(*shape, *values[0].shape[1:]) for name, values in parts.items()
    }
    kappa = torch.linalg.svdvals(A.double())
    return ErrorBars(
        landscapes=np.array(landscapes),
        noise=np.array([noise_variance(energy, k) for k in landscapes]),
        size=c.size,
        levels=np.asarray(levels, dtype=np.float64),
        kappa=points.array(kappa[:, 0] / kappa[:, -1]),
        entries=np.moveaxis(arrays.pop("entries"), -1, 0),
        functionals=np.moveaxis(arrays.pop("functionals"), -1, 0),
        **arrays,
    )


def _look(covariance: Tensor, missed: Tensor, noise: float, along: Tensor, reach: NDArray) -> dict[str, Tensor]:
    """What a chunk of covariances (B, size, size) claims of errors (B, size), and what is true: arrays (B[, Q])."""
    values = torch.linalg.eigvalsh(covariance) / noise
    # ‖σH‖ is at most 1 more than the largest |eigenvalue| of I − σH.
    floor = ROUNDING * (1 + values.abs().amax(-1, keepdim=True))
    values = torch.where(values.abs() > floor, values, 0)
    mass = values.abs().sum(-1)
    numbers = {
        "actual": missed.pow(2).sum(-1),
        "predicted": covariance.diagonal(dim1=-2, dim2=-1).sum(-1),
        "negative": (values < 0).double().mean(-1),
        "negative_mass": -values.clamp_max(0).sum(-1) / torch.where(mass > 0, mass, 1),
    }
    looked_at = {
        "entries": (missed, covariance.diagonal(dim1=-2, dim2=-1)),
        "functionals": (missed @ along.mT, ((along @ covariance) * along).sum(-1)),
    }
    for name, (error, variance) in looked_at.items():
        known = variance > floor * noise
        inside = [(known & (error.pow(2) <= q**2 * variance)).double().mean(-1) for q in reach]
        numbers[name] = torch.stack(inside, -1)
        numbers[f"{name}_without"] = (~known).double().mean(-1)
    return numbers
