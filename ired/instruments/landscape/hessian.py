"""Hessian spectra: the curvature of the energy, exact, in units of the ideal landscape's 1/σ_k.

Every Hessian is multiplied by σ_k, so that the ideal landscape has all eigenvalues 1, and taken in
orthonormal coordinates of the space that states live in (`size` dimensions). Two references: the
ideal one, I, and the algebraic one, A² ⊗ I (on symmetric matrices its part there, with eigenvectors
u_i u_jᵀ + u_j u_iᵀ and eigenvalues (λ_i² + λ_j²)/2 for A u_i = λ_i u_i). Which function f of A curvature
follows is asked with f(A) ⊗ I likewise, for all of FUNCTIONS: without the multiples of I, which every isotropic
Hessian has, and which the ideal energy is. One Hessian for all problems, as that of an affine energy or of a
prediction's bowl, follows none: cosines are 0 on average over problems with permuted rows and flipped signs, which
are drawn as often.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ired.instruments.core import states as points
from ired.instruments.statistics import intervals
from ired.instruments.statistics.intervals import Interval
from ired.instruments.statistics.spectra import TOLERANCE, entropy_rank, inertia, participation_ratio
from ired.model.protocol import Energy

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "algebraic": torch.square,
    "linear": lambda values: values,
    "log": torch.log,
    "inverse": lambda values: -1 / values,
}
"""Of A's eigenvalues, all rising."""
FUNCTION_LABELS = {"algebraic": "A²", "linear": "A", "log": "log A", "inverse": "−A⁻¹"}
HessianReader = Callable[[Tensor, int, Tensor, Tensor], None]
"""reader(rows, k, H, eigenvalues): what else looks at Hessians H (B, size, size), times σ_k in basis coordinates, of
problems `rows` in landscape k."""


@dataclass(frozen=True)
class HessianSpectra:
    """Hessians at one point of each of P problems in L landscapes; arrays (L, P) unless noted.

    landscapes: (L,); sigma: (L,); kappa: (P,) condition numbers of A;
    eigenvalues: (L, P, size) ascending, times σ_k; gauss_newton, residual: (L, P, size) those of
    the two parts (which do not share eigenvectors); symmetric: (L, P, n(n+1)/2), antisymmetric:
    (L, P, n(n−1)/2, or 0 when states are symmetric) those of the diagonal blocks; coupling: share
    of ‖H‖_F in the off-diagonal blocks; inertia: (L, P, 3) counts of negative, zero and positive
    eigenvalues, zero meaning |λ| ≤ tolerance·max|λ|; participation: (Σ|λ|)²/Σλ², entropy_rank:
    exp of the entropy of |λ|/Σ|λ| (Roy & Vetterli 2007), effective numbers of directions;
    condition: largest over smallest positive eigenvalue (NaN where none is positive);
    ideal_scale: c = tr(σH)/size, the best multiple of I; ideal_distance: ‖σH − cI‖_F/‖σH‖_F;
    ideal_distance_raw: ‖σH − I‖_F/‖I‖_F; algebraic_cosine: ⟨H, G⟩/(‖H‖‖G‖) with G = A² ⊗ I (large
    for every isotropic H); algebraic_cosine_centred: the same after taking the multiple of I off
    both (0 when H is isotropic); linear_, log_, inverse_cosine_centred: the same with A, log A and −A⁻¹ in the place
    of A² (FUNCTIONS); algebraic_spearman: rank correlation of vᵀHv with G's eigenvalues
    over G's eigenvectors v among symmetric matrices (0 when vᵀHv is constant).
    """

    landscapes: NDArray
    sigma: NDArray
    tolerance: float
    kappa: NDArray
    eigenvalues: NDArray
    gauss_newton: NDArray
    residual: NDArray
    symmetric: NDArray
    antisymmetric: NDArray
    coupling: NDArray
    inertia: NDArray
    participation: NDArray
    entropy_rank: NDArray
    condition: NDArray
    ideal_scale: NDArray
    ideal_distance: NDArray
    ideal_distance_raw: NDArray
    algebraic_cosine: NDArray
    algebraic_cosine_centred: NDArray
    linear_cosine_centred: NDArray
    log_cosine_centred: NDArray
    inverse_cosine_centred: NDArray
    algebraic_spearman: NDArray

    def columns(self) -> dict[str, NDArray]:
        """Tidy columns, one row per landscape and problem; spectra by their extremes."""
        L, P = self.condition.shape
        single = (
            "coupling",
            "participation",
            "entropy_rank",
            "condition",
            "ideal_scale",
            "ideal_distance",
            "ideal_distance_raw",
            "algebraic_cosine",
            *(f"{name}_cosine_centred" for name in FUNCTIONS),
            "algebraic_spearman",
        )
        return points.tidy_columns(
            {"landscape": self.landscapes, "problem": range(P)},
            kappa=np.broadcast_to(self.kappa, (L, P)),
            lowest=self.eigenvalues[..., 0],
            highest=self.eigenvalues[..., -1],
            negative=self.inertia[..., 0],
            zero=self.inertia[..., 1],
            positive=self.inertia[..., 2],
            symmetric_mean=self.symmetric.mean(-1),
            antisymmetric_mean=self.antisymmetric.sum(-1) / max(1, self.antisymmetric.shape[-1]),
            gauss_newton_trace=self.gauss_newton.sum(-1),
            residual_trace=self.residual.sum(-1),
            **{name: getattr(self, name) for name in single},
        )


@torch.no_grad()
def hessian_spectra(
    energy: Energy,
    A: Tensor,
    y: Tensor,
    landscapes: Sequence[int],
    tolerance: float = TOLERANCE,
    memory: int = 2**30,
    reader: HessianReader | None = None,
) -> HessianSpectra:
    """Exact Hessians of problems A (P, n, n) at states y (L, P, d), one set for each landscape.

    `states.at_answers` and `states.at_noise` make such states. Float64 only: float32 rounding
    looks like negative curvature. `memory` bounds the bytes that Hessians take at once. A reader is
    handed every chunk of them, so that they are made once.
    """
    points.demand_double(y, "signs of eigenvalues")
    frame = _Frame(energy, A, reader)
    chunk = points.hessians_per_call(energy, memory)
    per_point: dict[str, list[Tensor]] = {}
    for states, k in zip(y, landscapes, strict=True):
        for rows in torch.arange(len(A), device=A.device).split(chunk):
            for name, value in frame.look(rows, states[rows], k).items():
                per_point.setdefault(name, []).append(value)
    measures = {
        name: points.array(torch.cat(parts)).reshape(len(landscapes), len(A), *parts[0].shape[1:])
        for name, parts in per_point.items()
    }
    values = measures["eigenvalues"]
    size = np.linalg.norm(values, axis=-1).clip(np.finfo(float).tiny)
    mean = values.mean(-1)
    eigenvalues_of_A = torch.linalg.eigvalsh(A.double()).abs()
    rayleigh, reference = measures.pop("rayleigh"), points.array(frame.pairs["algebraic"])
    return HessianSpectra(
        np.array(landscapes),
        np.array([points.sigma(energy, k) for k in landscapes]),
        tolerance,
        points.array(eigenvalues_of_A.amax(-1) / eigenvalues_of_A.amin(-1)),
        inertia=inertia(values, tolerance),
        participation=participation_ratio(values),
        entropy_rank=entropy_rank(values),
        condition=condition(values, tolerance),
        ideal_scale=mean,
        ideal_distance=np.linalg.norm(values - mean[..., None], axis=-1) / size,
        ideal_distance_raw=np.linalg.norm(values - 1, axis=-1) / np.sqrt(values.shape[-1]),
        algebraic_spearman=intervals.rank_correlation(rayleigh, np.broadcast_to(reference, rayleigh.shape)),
        antisymmetric=measures.pop("antisymmetric", np.zeros((len(landscapes), len(A), 0))),
        **measures,
    )


def condition(eigenvalues: NDArray, tolerance: float = TOLERANCE) -> NDArray:
    """Largest over smallest positive eigenvalue (above tolerance·max|λ|); NaN without any."""
    level = tolerance * np.abs(eigenvalues).max(-1, keepdims=True)
    lowest = np.where(eigenvalues > level, eigenvalues, np.inf).min(-1)
    return np.where(np.isfinite(lowest), eigenvalues.max(-1) / lowest, np.nan)


def condition_correlation(spectra: HessianSpectra, level: float = 0.95, seed: int = 0) -> Interval:
    """Spearman correlation of κ(H) with κ(A) over problems, per landscape: arrays (L,).

    Landscapes where fewer than three Hessians have a condition number know nothing: 0 in [−1, 1],
    and the method is then "undefined".
    """
    cells, fewest = [], len(spectra.kappa)
    for row in spectra.condition:
        known = np.isfinite(row)
        # Condition numbers that differ by rounding alone are equal.
        row = np.array([float(f"{value:.9g}") for value in row[known]])
        fewest = min(fewest, int(known.sum()))
        if known.sum() < 3:
            cells.append(
                Interval(estimate=0.0, low=-1.0, high=1.0, level=level, units=int(known.sum()), method="undefined")
            )
        else:
            cells.append(intervals.spearman_interval(row, spectra.kappa[known], level, seed=seed))
    values = (np.array([getattr(c, name) for c in cells]) for name in ("estimate", "low", "high"))
    methods = {cell.method for cell in cells}
    method = "undefined" if "undefined" in methods else "BCa"
    return Interval(*values, level, fewest, method)


def stratified_by_condition(kappa: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Indices (count,) of problems, one drawn from each of `count` equal strata of kappa (N,).

    Strata hold equally many problems, so the choice represents their distribution with less
    variance than a simple sample. Indices come in the order of rising condition number.
    """
    total = len(kappa)
    if not 1 <= count <= total:
        raise ValueError(f"{count} strata cannot be formed from {total} problems")
    edges = torch.arange(count + 1, device=generator.device) * total // count
    drawn = torch.rand(count, generator=generator, dtype=torch.float64, device=generator.device)
    place = edges[:-1] + (drawn * (edges[1:] - edges[:-1])).long()
    return kappa.argsort()[place.to(kappa.device)]


class _Frame:
    """Hessians of problems A, looked at in basis coordinates and among symmetric matrices."""

    def __init__(self, energy: Energy, A: Tensor, reader: HessianReader | None):
        n = energy.coordinates.n
        self.energy, self.A, self.reader = energy, A, reader
        self.even = replace(energy.coordinates, symmetric=True)
        values, vectors = torch.linalg.eigh(A)
        rows, cols = torch.triu_indices(n, n, device=A.device)
        of_A = {name: function(values) for name, function in FUNCTIONS.items()}
        # f(A) ⊗ I is a multiple of I and this, here and among symmetric matrices.
        self.traceless = {
            name: (vectors * (f - f.mean(-1, keepdim=True))[:, None]) @ vectors.mT for name, f in of_A.items()
        }
        self.pairs = {name: (f[:, rows] + f[:, cols]) / 2 for name, f in of_A.items()}
        self.spectrum = (
            self.pairs if energy.coordinates.symmetric else {name: f.repeat(1, n) for name, f in of_A.items()}
        )
        outer = torch.einsum("pai,pbi->piab", vectors[:, :, rows], vectors[:, :, cols])
        self.modes = torch.nn.functional.normalize(self.even.to_basis((outer + outer.mT).flatten(-2)), dim=-1)

    def look(self, rows: Tensor, y: Tensor, k: int) -> dict[str, Tensor]:
        s = points.sigma(self.energy, k)
        parts = self.energy.hessian_parts(self.A[rows], y, k)
        gauss_newton, residual = (points.in_basis(self.energy, part) for part in parts)
        gauss_newton, residual = (s * (part + part.mT) / 2 for part in (gauss_newton, residual))
        H = gauss_newton + residual
        eigenvalues = torch.linalg.eigvalsh(H)
        if self.reader:
            self.reader(rows, k, H, eigenvalues)
        bends = bool(residual.any())  # a sum of squares of affine maps does not
        spectra = {
            "eigenvalues": eigenvalues,
            "gauss_newton": torch.linalg.eigvalsh(gauss_newton) if bends else eigenvalues,
            "residual": torch.linalg.eigvalsh(residual) if bends else torch.zeros_like(eigenvalues),
        }
        size = eigenvalues.norm(dim=-1).clamp_min(torch.finfo(H.dtype).tiny)
        if self.energy.coordinates.symmetric:
            block = H
            spectra["symmetric"] = eigenvalues
            spectra["coupling"] = torch.zeros_like(size)
        else:
            half = self.even.to_basis(H)
            block, off = self.even.to_basis(half.mT), _odd(half.mT, self.even.n)
            spectra["symmetric"] = torch.linalg.eigvalsh(block)
            odd = _odd(H, self.even.n)
            spectra["antisymmetric"] = torch.linalg.eigvalsh(_odd(odd.mT, self.even.n))
            spectra["coupling"] = 2**0.5 * off.flatten(1).norm(dim=-1) / size
        spectra["rayleigh"] = ((self.modes[rows] @ block) * self.modes[rows]).sum(-1)
        return spectra | self.cosines(rows, H, eigenvalues, size)

    def cosines(self, rows: Tensor, H: Tensor, eigenvalues: Tensor, size: Tensor) -> dict[str, Tensor]:
        """Cosines of Hessians H (B, size, size) to f(A) ⊗ I without the multiples of I; to A² ⊗ I also with them.

        ⟨H, S ⊗ I⟩ needs S ⊗ I as little as ⟨H, I⟩ needs I: it is ⟨T, S⟩ with T H's trace over columns.
        """
        c, n, tiny = self.energy.coordinates, self.even.n, torch.finfo(H.dtype).tiny
        H = c.from_basis(c.from_basis(H).mT)
        columns = H.unflatten(1, (n, n)).unflatten(-1, (n, n)).diagonal(dim1=2, dim2=4).sum(-1)
        left = (eigenvalues - eigenvalues.mean(-1, keepdim=True)).norm(dim=-1)
        cosines = {}
        for name in FUNCTIONS:
            G = self.spectrum[name][rows]
            mean = G.mean(-1)
            along = (columns * self.traceless[name][rows]).sum((-2, -1))
            if name == "algebraic":
                both = along + eigenvalues.sum(-1) * mean
                cosines["algebraic_cosine"] = both / (size * G.norm(dim=-1)).clamp_min(tiny)
            # What rounding leaves of a multiple of I has no direction.
            spread = (G - mean[:, None]).norm(dim=-1)
            cosine = along / (left * spread).clamp_min(tiny)
            cosines[f"{name}_cosine_centred"] = torch.where(left > 1e-10 * size, cosine, 0)
        return cosines


def _odd(v: Tensor, n: int) -> Tensor:
    """Orthonormal coordinates (..., n(n−1)/2) of the antisymmetric part of flattened matrices (..., n·n)."""
    rows, cols = torch.triu_indices(n, n, 1, device=v.device)
    return (v[..., rows * n + cols] - v[..., cols * n + rows]) * 0.5**0.5
