"""Known answers of error bars: exact on a planted Gaussian posterior, 0 on the ideal energy, noise on a flat one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ired.instruments.core import states
from ired.instruments.core.check import Check, compare, relative
from ired.instruments.core.reference_energies import References, WrappedEnergy
from ired.instruments.uncertainty import reliability, tweedie
from ired.instruments.uncertainty.tweedie import ErrorBars
from ired.model.protocol import Energy

NAME = "error_bars"
GROUPS = 6  # of problems whose answers are equally hard to know
FACTOR = 3.0  # from one group's variance to the next
SURE = 5.0  # standard errors


class GaussianPosterior(WrappedEnergy):
    """The exact energy of answers y₀ ~ N(m(A), s(A)·C): a linear Gaussian model seen through the landscapes' noise.

    E_k(y) = ½ (y − √ᾱ m)ᵀ H (y − √ᾱ m) with H = σ (ᾱ s C + σ² I)⁻¹; m(A) = A/s(A) and s(A) = tr A/n, so that problems
    differ in how well their answers can be known. axes (size, size): C's eigenvectors by columns, in basis coordinates;
    variances (size,): its eigenvalues.
    """

    def __init__(self, energy: Energy, axes: Tensor, variances: Tensor):
        super().__init__(energy)
        self.axes, self.variances = axes, variances

    @classmethod
    def planted(cls, energy: Energy, generator: torch.Generator, like: Tensor) -> GaussianPosterior:
        """With random axes and variances from 1 down to 1/20: as anisotropic as the errors of least squares."""
        size = energy.coordinates.size
        axes = torch.linalg.qr(
            torch.randn(size, size, generator=generator, dtype=torch.float64, device=generator.device)
        ).Q
        return cls(energy, axes.to(like), torch.logspace(0, -math.log10(20), size, dtype=torch.float64).to(like))

    def prepare(self, A: Tensor) -> Tensor:
        return A

    def spread(self, A: Tensor) -> Tensor:
        """s (B,)."""
        return A.diagonal(dim1=-2, dim2=-1).mean(-1)

    def centre(self, A: Tensor) -> Tensor:
        """m (B, size) in basis coordinates."""
        return self.coordinates.to_basis(A.flatten(-2)) / self.spread(A)[:, None]

    def answers(self, A: Tensor, generator: torch.Generator) -> Tensor:
        """One answer (B, d) for each problem A (B, n, n), drawn from its Gaussian."""
        drawn = torch.randn(
            len(A), len(self.axes), generator=generator, dtype=torch.float64, device=generator.device
        ).to(A)
        around = (drawn * (self.spread(A)[:, None] * self.variances).sqrt()) @ self.axes.mT
        return self.coordinates.from_basis(self.centre(A) + around)

    def energy_and_gradient(self, A: Any, y: Tensor, k: int | Tensor) -> tuple[Tensor, Tensor]:
        middle = self.centre(A)[:, None] if y.dim() == 3 else self.centre(A)
        along = (self.coordinates.to_basis(y) - self.schedule.at("sqrt_alpha_bar", k, y) * middle) @ self.axes
        steep = self._curvature(A, y, k) * along
        return (along * steep).sum(-1) / 2, self.coordinates.from_basis(steep @ self.axes.mT)

    def energy(self, A: Any, y: Tensor, k: int | Tensor) -> Tensor:
        return self.energy_and_gradient(A, y, k)[0]

    def gradient(self, A: Any, y: Tensor, k: int | Tensor) -> Tensor:
        return self.energy_and_gradient(A, y, k)[1]

    def hessian(self, A: Any, y: Tensor, k: int | Tensor) -> Tensor:
        rows = self.coordinates.from_basis(self.axes.mT)
        return rows.mT @ (self._curvature(A, y, k)[..., None] * rows)

    def covariance(self, A: Tensor, k: int) -> Tensor:
        """Of y₀ given y_k, (B, size, size), by Bayes' rule: the inverse of the sum of both precisions."""
        bar = self.schedule.alpha_bar[k].item()
        precision = 1 / (self.spread(A)[:, None] * self.variances) + bar / (1 - bar)
        return (self.axes / precision[:, None]) @ self.axes.mT

    def _curvature(self, A: Tensor, y: Tensor, k: int | Tensor) -> Tensor:
        """Along the axes, to multiply states y (B[, M], size)."""
        bar, sigma = (self.schedule.at(name, k, y) for name in ("alpha_bar", "sigma"))
        prior = self.spread(A)[:, None] * self.variances
        return sigma / (bar * (prior[:, None] if y.dim() == 3 else prior) + sigma**2)


def check_error_bars(references: References, generator: torch.Generator) -> list[Check]:
    """Where the posterior is Gaussian, certain or flat, and where there is none; rank correlations that are planted."""
    return [
        *_on_a_posterior(references, generator),
        *_on_certainty(references, generator),
        *_on_nothing_known(references, generator),
        *_on_no_posterior(references, generator),
        *_on_planted_ranks(np.random.default_rng(0)),
    ]


def planted_groups(A: Tensor, count: int) -> Tensor:
    """`count` problems for each of GROUPS, (GROUPS·count, n, n), group by group, of mean diagonals 1/9 to 27."""
    chosen = A[torch.arange(GROUPS, device=A.device) % len(A)]
    scale = FACTOR ** torch.arange(-2.0, GROUPS - 2, dtype=A.dtype, device=A.device)
    chosen = chosen * (scale / chosen.diagonal(dim1=-2, dim2=-1).mean(-1))[:, None, None]
    return chosen.repeat_interleave(count, 0)


def _on_a_posterior(references: References, generator: torch.Generator) -> list[Check]:
    energy = GaussianPosterior.planted(references.ideal, generator, references.A)
    size, landscapes = energy.coordinates.size, references.landscapes
    count = max(8, 300 // size)
    A = planted_groups(references.A, count)
    y0 = energy.answers(A, generator)
    bars = tweedie.error_bars(energy, A, y0, landscapes, generator, functionals=32)
    groups = A[::count]
    checks, exact = [], torch.stack([energy.covariance(groups, k) for k in landscapes])
    for i, k in enumerate(landscapes):
        y = states.noised(energy, y0[::count], k, 1, generator)[0][:, 0]
        predicted = tweedie.posterior_covariance(energy, groups, y, k)
        largest = exact[i].abs().amax((-2, -1), keepdim=True)
        checks.append(
            compare(
                NAME, "planted covariance", states.array(exact[i] / largest), states.array(predicted / largest), 1e-8
            )
        )
    c = energy.coordinates
    basis = states.state_basis(energy, A)
    entries = (basis.mT @ predicted @ basis).diagonal(dim1=-2, dim2=-1) * c.scale**2
    checks += [
        relative(
            NAME,
            "its entries",
            states.array(entries),
            states.array(tweedie.entry_variances(energy, predicted).flatten(1)),
            1e-8,
        ),
        relative(NAME, "condition number", states.array(torch.linalg.cond(A)), bars.kappa, 1e-7),
        compare(NAME, "negative eigenvalues of a posterior", 0, bars.negative, 0),
        compare(NAME, "planted directions without an interval", 0, bars.entries_without + bars.functionals_without, 0),
    ]
    trace = states.array(exact.diagonal(dim1=-2, dim2=-1).sum(-1)).repeat(count, -1)
    checks += [
        relative(NAME, "planted error", trace, bars.predicted, 1e-6),
        relative(NAME, "planted sharpness", trace / (size * _noise(energy, landscapes)), bars.sharpness, 1e-6),
    ]
    # Errors are normal with the covariance C of the posterior: ‖e‖² has variance 2 tr C².
    C = states.array(exact)
    spread = np.sqrt(2 * (C**2).sum((1, 2, 3)) / count) / np.trace(C, axis1=2, axis2=3).sum(1)
    checks += _calibration(bars, spread, "Gaussian")
    # Squares of normal numbers of correlation ρ lie within limits together with a correlation of at most ρ².
    variance = np.diagonal(C, axis1=2, axis2=3)
    correlation = (C**2 / (variance[..., None] * variance[..., None, :])).mean((2, 3))
    # For random directions E ρ² is tr C²/(tr C)², and 1 for each with itself.
    random = 1 / 32 + (C**2).sum((2, 3)) / np.trace(C, axis1=2, axis2=3) ** 2
    checks += _coverage(bars, correlation.mean(1) / len(A), random.mean(1) / len(A), "Gaussian")
    # Means over a group differ by far more than they vary, where the noise says nothing of the answer.
    grouped = bars.actual[-1].reshape(GROUPS, count).mean(1), bars.predicted[-1].reshape(GROUPS, count).mean(1)
    checks.append(
        compare(NAME, "groups in the order of their errors", np.argsort(grouped[0]), np.argsort(grouped[1]), 0)
    )
    return checks


def _on_certainty(references: References, generator: torch.Generator) -> list[Check]:
    energy, A = references.ideal, references.A
    y0 = states.answers(energy, A)
    bars = tweedie.error_bars(energy, A, y0, references.landscapes, generator, functionals=8)
    ratios = reliability.calibration_ratios(bars)
    ranks = reliability.error_ranking(bars)
    whole = bars.size * bars.noise[:, None]
    return [
        compare(NAME, "covariance of the ideal energy", 0, bars.sharpness, tweedie.ROUNDING),
        compare(NAME, "error of the ideal energy", 0, bars.actual / whole, tweedie.ROUNDING),
        compare(NAME, "negative eigenvalues of the ideal energy", 0, bars.negative, 0),
        compare(NAME, "certain directions without an interval", 1, bars.entries_without, 0),
        compare(NAME, "certain functionals without an interval", 1, bars.functionals_without, 0),
        compare(NAME, "calibration of certainty is undefined", 1, ratios["note"] == reliability.CERTAIN, 0),
        compare(NAME, "certainty ranks nothing", 0, ranks["spearman"], 0),
    ]


def _on_nothing_known(references: References, generator: torch.Generator) -> list[Check]:
    A = references.A
    d = references.ideal.coordinates.d
    flat = references.quadratic(A.new_zeros(d, d), A.new_zeros(d))
    size = flat.coordinates.size
    A = A.repeat(max(4, 200 // size), 1, 1)
    bars = tweedie.error_bars(flat, A, states.answers(flat, A), references.landscapes, generator, functionals=32)
    ranks = reliability.error_ranking(bars)
    checks = [
        compare(NAME, "sharpness of a flat energy", 1, bars.sharpness, tweedie.ROUNDING),
        compare(NAME, "rank correlation of a constant Hessian", 0, ranks[["spearman", "spearman_low"]], 0),
        compare(NAME, "a constant Hessian is named", 1, ranks["note"].str.contains(reliability.ALIKE), 0),
    ]
    checks += _calibration(bars, np.full(len(bars.noise), np.sqrt(2 / (size * len(A)))), "flat")
    # Independent errors; random directions have squared cosines of 1/size.
    each = np.full(len(bars.noise), 1 / len(A))
    return checks + _coverage(bars, each / size, each * (1 / 32 + 1 / size), "flat")


def _on_no_posterior(references: References, generator: torch.Generator) -> list[Check]:
    """The algebraic energy: σH = σ·scale²·A² ⊗ I is above 1 in steep directions."""
    energy, A, landscapes = references.algebraic, references.A, references.landscapes
    c, s = energy.coordinates, energy.schedule.sigma[list(landscapes)].to(A)
    squares = torch.linalg.svdvals(A) ** 2
    if c.symmetric:
        rows, columns = torch.triu_indices(c.n, c.n, device=A.device)
        squares = (squares[:, rows] + squares[:, columns]) / 2
    left = 1 - c.scale**2 * s[:, None, None] * squares
    bars = tweedie.error_bars(energy, A, states.answers(energy, A), landscapes, generator, functionals=8)
    mean, negative = states.array(left.mean(-1)), states.array((left < 0).double().mean(-1))
    scale = np.abs(mean).max()
    checks = [
        compare(NAME, "share of variances below 0", negative, bars.negative, 0),
        compare(NAME, "negative variances are kept", mean / scale, bars.sharpness / scale, 1e-9),
    ]
    steep = references.planted(A.new_full((c.size,), 2 / energy.schedule.sigma[0].item()))
    bars = tweedie.error_bars(steep, A, states.answers(steep, A), landscapes[:1], generator, functionals=8)
    ratio = reliability.calibration_ratios(bars)
    coverage = reliability.interval_coverage(bars)
    return checks + [
        compare(NAME, "variances of a bowl twice as steep as the ideal", -1, bars.sharpness, 1e-9),
        compare(NAME, "share of its variances below 0", 1, bars.negative, 0),
        compare(NAME, "its calibration is undefined", 1, ratio["note"] == reliability.IMPOSSIBLE, 0),
        compare(NAME, "it has no intervals", 1, coverage["note"] == reliability.NO_INTERVALS, 0),
        compare(NAME, "no interval covers nothing", 0, coverage["coverage"], 0),
    ]


def _on_planted_ranks(rng: np.random.Generator) -> list[Check]:
    """Normal numbers of correlation r have Spearman's correlation 6/π·asin(r/2), with the standard error of Bonett &
    Wright (2000). Here the predicted errors' is 0.8 and the condition numbers' 0.5."""
    count, given = 400, np.array([0.8, 0.5])
    actual, *others = rng.standard_normal((3, count))
    predicted, kappa = (r * actual + np.sqrt(1 - r**2) * other for r, other in zip(given, others, strict=True))
    ones = np.ones((1, count))
    covered = np.ones((len(tweedie.LEVELS), 1, count))
    bars = ErrorBars(
        landscapes=np.array([0]),
        noise=np.ones(1),
        size=1,
        kappa=np.exp(kappa),
        actual=np.exp(actual)[None],
        predicted=np.exp(predicted)[None],
        negative=0 * ones,
        entries=covered,
        entries_without=0 * ones,
        functionals=covered,
        functionals_without=0 * ones,
    )
    ranks = reliability.error_ranking(bars).iloc[0]
    rho = 6 / np.pi * np.arcsin(given / 2)
    error = SURE * (1 - rho**2) * np.sqrt((1 + rho**2 / 2) / (count - 3))
    return [
        compare(NAME, "planted rank correlation", rho[0], ranks["spearman"], error[0]),
        compare(NAME, "planted rank correlation of κ", rho[1], ranks["kappa"], error[1]),
        compare(NAME, "planted difference of both", rho[0] - rho[1], ranks["difference"], error.sum()),
        compare(NAME, "the difference is told from 0", 1, ranks["difference_low"] > 0, 0),
    ]


def _calibration(bars: ErrorBars, spread: NDArray, what: str) -> list[Check]:
    """Ratios are 1 within SURE of their standard errors (L,)."""
    ratios = reliability.calibration_ratios(bars)
    off = (ratios["ratio"] - 1) / spread
    return [
        compare(NAME, f"{what}: actual over predicted error (standard errors from 1)", 0, off, SURE),
        compare(NAME, f"{what}: the ratio exists", 1, ratios["note"] == "", 0),
    ]


def _coverage(bars: ErrorBars, entries: NDArray, functionals: NDArray, what: str) -> list[Check]:
    """Coverage is nominal within SURE standard errors. entries, functionals (L,): a share's variance over p(1 − p)."""
    table = reliability.interval_coverage(bars)
    checks = []
    for kind, variance in (("entries", entries), ("functionals", functionals)):
        rows = table[table["kind"] == kind]
        nominal = rows["nominal"].to_numpy()
        error = np.sqrt(nominal * (1 - nominal) * np.repeat(variance, len(tweedie.LEVELS)))
        off = (rows["coverage"] - nominal) / error
        checks.append(compare(NAME, f"{what}: coverage of {kind} (standard errors from nominal)", 0, off, SURE))
    return checks


def _noise(energy: Energy, landscapes: tuple[int, ...]) -> NDArray:
    """σ²/ᾱ of the schedule (L, 1)."""
    bar = np.array([energy.schedule.alpha_bar[k].item() for k in landscapes])
    return ((1 - bar) / bar)[:, None]
