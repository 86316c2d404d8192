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

What must be seen. On average the trace is right for every score that no factor would improve, learned or not: by
Stein's identity (1981)

    E‖ŷ − y₀‖² − E tr Cov = σ²/ᾱ·(E‖∇E‖² − σ·E tr H),

and the right side is 0 where a·∇E denoises best with a = 1, to which the denoising loss leads. So calibration on
average checks a training, and finds nothing in an energy: an untrained network as far as it is flat, an affine energy
and a prediction seen as a bowl have it too. Their Hessian is the same for all problems, so they rank none. What is
calibrated may know nothing, hence `sharpness` (Gneiting, Balabdaoui & Raftery 2007). The ideal energy, H = I/σ, knows
the answer: covariance and error are 0, and 0/0 is no calibration. At a sample, which comes from states without noise,
none of this holds: the formula is for y with the noise of its landscape.
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
"""Nominal, of central intervals."""
REACH = special.ndtri((1 + np.array(LEVELS)) / 2)  # standard deviations
ROUNDING = 1e-12
"""What is left of I − σH by rounding, over the larger of 1 and ‖σH‖: a thousand times float64's."""


@dataclass(frozen=True)
class ErrorBars:
    """Predicted and actual errors at one noised answer of each of P problems in L landscapes.

    Arrays (L, P) unless noted, squares in the energy's coordinates (times scale² in those of A⁻¹).
    landscapes: (L,) k; noise: (L,) σ²/ᾱ, the variance of y/√ᾱ along each direction; size: directions;
    kappa: (P,) condition numbers of A; actual: ‖ŷ − y₀‖² of the denoised estimate; predicted: its expectation, the
    trace of the covariance, negative eigenvalues included; negative: share of the covariance's eigenvalues below 0;
    entries, functionals: (Q, L, P) shares of the answer's distinct entries, and of random linear functionals of it,
    that lie in their central Gaussian intervals of LEVELS; entries_without, functionals_without: shares that have no
    interval because no positive variance is predicted. These count as not covered.
    """

    landscapes: NDArray
    noise: NDArray
    size: int
    kappa: NDArray
    actual: NDArray
    predicted: NDArray
    negative: NDArray
    entries: NDArray
    entries_without: NDArray
    functionals: NDArray
    functionals_without: NDArray

    @property
    def sharpness(self) -> NDArray:
        """Predicted error over that of y/√ᾱ: 1 for an energy that knows nothing, 0 for one that knows the answer."""
        return self.predicted / (self.size * self.noise[:, None])

    def columns(self) -> dict[str, NDArray]:
        """Tidy columns, one row per landscape and problem."""
        names = ("actual", "predicted", "sharpness", "negative", "entries_without", "functionals_without")
        covered = {
            f"{kind}_{100 * level:g}": getattr(self, kind)[i]
            for kind in ("entries", "functionals")
            for i, level in enumerate(LEVELS)
        }
        return points.tidy_columns(
            {"landscape": self.landscapes, "problem": range(len(self.kappa))},
            kappa=np.broadcast_to(self.kappa, self.actual.shape),
            **{name: getattr(self, name) for name in names},
            **covered,
        )


def posterior_covariance(energy: Energy, A: Tensor, y: Tensor, k: int) -> Tensor:
    """Cov(y₀ | y) = (σ²/ᾱ)(I − σH), (B, size, size) in basis coordinates, as the energy has it at states y (B, d) of
    landscape k. Symmetric, and positive semidefinite only if the energy is that of a posterior."""
    H = points.sigma(energy, k) * basis_hessian(energy, A, energy.coordinates.to_basis(y), k)
    return covariance_of(H, noise_variance(energy, k))


def covariance_of(H: Tensor, noise: float) -> Tensor:
    """The same from Hessians times σ, (B, size, size) in basis coordinates, and σ²/ᾱ."""
    return noise * (torch.eye(H.shape[-1], dtype=H.dtype, device=H.device) - H)


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


class ErrorBarReader:
    """Reads error bars off Hessians that another instrument makes (`hessian.hessian_spectra(…, reader=…)`).

    y (L, P, d): a noised answer of each y₀ (P, d) of problems A (P, n, n) in every landscape, as `states.at_noise`
    makes them. functionals: how many random unit directions the answer is read along, the same for all points. Raises
    ValueError for states that are not float64: rounding would look like negative variance.
    """

    def __init__(
        self,
        energy: Energy,
        A: Tensor,
        y0: Tensor,
        y: Tensor,
        landscapes: Sequence[int],
        generator: torch.Generator,
        functionals: int = 64,
    ):
        points.demand_double(y, "error bars")
        self.energy, self.A, self.y0, self.y, self.landscapes = energy, A, y0, y, list(landscapes)
        directions = points.unit_directions(energy, functionals, generator=generator, like=y0)
        self.along = energy.coordinates.to_basis(directions)
        self.parts: dict[str, list[Tensor]] = {}

    def __call__(self, rows: Tensor, k: int, H: Tensor, eigenvalues: Tensor) -> None:
        """Looks at problems `rows` in landscape k: H (B, size, size), Hessians times σ_k in basis coordinates, and
        their eigenvalues (B, size). It is called for all rows of a landscape in order, and for one after another."""
        c, noise = self.energy.coordinates, noise_variance(self.energy, k)
        y = self.y[self.landscapes.index(k), rows]
        missed = posterior_mean(self.energy, self.A[rows], y, k) - c.to_basis(self.y0[rows])
        numbers = _look(covariance_of(H, noise), 1 - eigenvalues, missed, noise, self.along)
        for name, value in numbers.items():
            self.parts.setdefault(name, []).append(value)

    def bars(self) -> ErrorBars:
        """What was read, of all problems and landscapes."""
        kappa = torch.linalg.svdvals(self.A.double())
        shape = (len(self.landscapes), len(self.A))
        arrays = {name: points.array(torch.cat(parts, -1)) for name, parts in self.parts.items()}
        return ErrorBars(
            landscapes=np.array(self.landscapes),
            noise=np.array([noise_variance(self.energy, k) for k in self.landscapes]),
            size=self.energy.coordinates.size,
            kappa=points.array(kappa[:, 0] / kappa[:, -1]),
            **{name: values.reshape(*values.shape[:-1], *shape) for name, values in arrays.items()},
        )


@torch.no_grad()
def error_bars(
    energy: Energy,
    A: Tensor,
    y0: Tensor,
    landscapes: Sequence[int],
    generator: torch.Generator,
    functionals: int = 64,
    memory: int = 2**30,
) -> ErrorBars:
    """Error bars of an energy at a noised answer y₀ (P, d) of each problem A (P, n, n), beside the errors.

    functionals as in `ErrorBarReader`; `memory` bounds the bytes that Hessians take at once.
    """
    y = points.at_noise(energy, y0, landscapes, generator)
    reader = ErrorBarReader(energy, A, y0, y, landscapes, generator=generator, functionals=functionals)
    for states, k in zip(y, landscapes, strict=True):
        for rows in torch.arange(len(A), device=A.device).split(points.hessians_per_call(energy, memory)):
            z = energy.coordinates.to_basis(states[rows])
            H = points.sigma(energy, k) * basis_hessian(energy, A[rows], z, k)
            reader(rows, k, H, torch.linalg.eigvalsh(H))
    return reader.bars()


def _look(covariance: Tensor, values: Tensor, missed: Tensor, noise: float, along: Tensor) -> dict[str, Tensor]:
    """What covariances (B, size, size) with eigenvalues noise·values (B, size) claim of errors (B, size), and what is
    true: arrays ([Q,] B)."""
    # ‖σH‖ is at most 1 more than the largest |eigenvalue| of I − σH.
    floor = ROUNDING * (1 + values.abs().amax(-1, keepdim=True))
    variances = covariance.diagonal(dim1=-2, dim2=-1)
    numbers = {
        "actual": missed.pow(2).sum(-1),
        "predicted": variances.sum(-1),
        "negative": (values < -floor).double().mean(-1),
    }
    looked_at = {
        "entries": (missed, variances),
        "functionals": (missed @ along.mT, ((along @ covariance) * along).sum(-1)),
    }
    for name, (error, variance) in looked_at.items():
        known = variance > floor * noise
        inside = [(known & (error.pow(2) <= q**2 * variance)).double().mean(-1) for q in REACH]
        numbers[name] = torch.stack(inside)
        numbers[f"{name}_without"] = (~known).double().mean(-1)
    return numbers
