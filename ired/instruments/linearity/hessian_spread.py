"""How much Hessians differ between problems, and between states of one problem (one-way variance components).

σ_k H at noised answers, in basis coordinates, is H̄ + (what the problem adds) + (what the state adds). The squared
Frobenius norms of both are estimated without bias from the sums of squares between and within problems (Searle, Casella
& McCulloch 1992, ch. 3), and their root over ‖H̄‖ is the spread: 0 where all Hessians are one matrix. Mean curvature
tr(σH)/size, and H̄ and its spectrum, stand beside a closed form: if least squares of the answer on A misses something
of mean 0 and covariance C, the best guess of the noise that is affine in (A, y) has σH = σ²(ᾱC + σ²I)⁻¹ (linear minimum
mean square error, Kay 1993, ch. 12), and it is the best of all if what is missed is Gaussian. It is the Hessian of
least squares seen as an energy. In coordinates that are not symmetric half of the directions are antisymmetric: nothing
is missed there, and they have curvature 1.

What others must show. Every quadratic energy with a fixed H, such as least squares seen as an energy, a regression
network's bowl, and the ideal energy: 0. The algebraic energy: the spread of A² ⊗ I, all of it between problems. A
network with fresh weights has no closed form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pandas import DataFrame
from torch import Tensor

from ired.instruments.core import states
from ired.instruments.statistics.intervals import Interval, bootstrap_interval, mean_intervals
from ired.model.protocol import Energy

RESAMPLES = 1999


@dataclass(frozen=True)
class HessianSpread:
    """Of P problems with `states` states each, in L landscapes; Hessians times σ_k, in basis coordinates.

    landscapes: (L,); with D_p a problem's mean Hessian less the first of all, O: products (L, P, P) ⟨D_p, D_q⟩, along
    (L, P) ⟨O, D_p⟩, origin (L,) ‖O‖²; within (L, P): squared distances of a problem's Hessians from their mean, summed,
    over states − 1; curvature (L, P): trace/size; mean: (L, size, size) H̄.
    """

    landscapes: NDArray
    states: int
    products: NDArray
    along: NDArray
    origin: NDArray
    within: NDArray
    curvature: NDArray
    mean: Tensor

    def spread(self, level: float = 0.95, seed: int = 0) -> Interval:
        """√(variance between problems + within)/‖H̄‖ of one Hessian, arrays (L,); BCa over problems."""
        return self._over_problems(lambda between, within, size: np.sqrt((between + within) / size), level, seed)

    def between(self, level: float = 0.95, seed: int = 0) -> Interval:
        """The share of the variance that lies between problems, arrays (L,); 0 where nothing varies."""

        def share(between: NDArray, within: NDArray, size: NDArray) -> NDArray:
            whole = between + within
            return np.divide(between, whole, out=np.zeros_like(whole), where=whole > 1e-20 * size)

        return self._over_problems(share, level, seed)

    def mean_curvature(self, level: float = 0.95, seed: int = 0) -> Interval:
        """tr(σH)/size, arrays (L,), over problems."""
        return mean_intervals(self.curvature, level, seed)

    def eigenvalues(self) -> NDArray:
        """Of H̄, (L, size) ascending."""
        return states.array(torch.linalg.eigvalsh(self.mean))

    def table(self, linear: HessianSpread) -> DataFrame:
        """A row a landscape: spread, between, curvature, each with its _low and _high; beside the closed form, what was
        measured of least squares seen as an energy: gaussian: its mean curvature; round: what that would be if all
        directions were alike, σ²/(ᾱ·mean c + σ²), which is the harmonic mean of its eigenvalues σ²/(ᾱc_i + σ²);
        spectrum_distance: ‖λ − λ*‖/‖λ*‖ of the eigenvalues of H̄ and H*, in order; matrix_distance: ‖H̄ − H*‖_F/‖H*‖_F.
        """
        estimates = {"spread": self.spread(), "between": self.between(), "curvature": self.mean_curvature()}
        rows, spectra = [], zip(self.eigenvalues(), linear.eigenvalues(), strict=True)
        for i, (k, (levels, closed)) in enumerate(zip(map(int, self.landscapes), spectra, strict=True)):
            row: dict[str, float] = {"landscape": k}
            for name, interval in estimates.items():
                row |= {column: float(values[i]) for column, values in interval.columns(name).items()}
            size = np.linalg.norm(closed)
            row |= {"gaussian": closed.mean(), "round": 1 / (1 / closed).mean()}
            row |= {"spectrum_distance": np.linalg.norm(levels - closed) / size}
            rows.append(row | {"matrix_distance": (self.mean[i] - linear.mean[i]).norm().item() / size})
        return DataFrame(rows)

    def _over_problems(self, measure, level: float, seed: int) -> Interval:
        """A measure of the variance between problems, within them, and ‖H̄‖², of problems drawn anew."""
        cells = []
        for i in range(len(self.landscapes)):
            products, along, within = self.products[i], self.along[i], self.within[i]
            origin, diagonal = self.origin[i], np.diag(products)

            def statistic(drawn, axis=-1, p=products, a=along, w=within, o=origin, d=diagonal):
                count = drawn.shape[-1]
                often = _counts(drawn.astype(int), len(p)) / count
                middle = ((often @ p) * often).sum(-1)  # ‖D̄‖²
                inside = often @ w
                # Over pairs of different problems: one that is drawn twice does not differ from itself.
                outside = (often @ d - middle) / (1 - (often**2).sum(-1)) - inside / self.states
                return measure(outside.clip(0), inside, o + 2 * often @ a + middle)

            problems = np.arange(len(products))
            cells.append(bootstrap_interval(problems, level, seed=seed, statistic=statistic, resamples=RESAMPLES))
        ends = (np.array([getattr(cell, name) for cell in cells]) for name in ("estimate", "low", "high"))
        return Interval(*ends, level, self.products.shape[1], "BCa")


@torch.no_grad()
def hessian_spread(
    energy: Energy,
    A: Tensor,
    landscapes: Sequence[int],
    generator: torch.Generator,
    count: int = 2,
    memory: int = 2**28,
) -> HessianSpread:
    """Of `count` noised answers of each problem A (P, n, n), float64, in every landscape.

    Held in memory are the mean Hessians of all problems, 8·P·size² bytes (1.3 MB a problem at n = 20, 0.35 MB in
    symmetric coordinates), and `memory` bytes for those that are made at once. Raises ValueError with fewer than two
    states a problem.
    """
    states.demand_double(A, "differences of Hessians")
    if count < 2:
        raise ValueError("what differs within a problem takes two states of each at least")
    y0 = states.answers(energy, A)
    measured = [_of_landscape(energy, A, y0, k=k, count=count, generator=generator, memory=memory) for k in landscapes]
    *numbers, mean = zip(*measured, strict=True)
    products, along, origin, within, curvature = map(np.array, numbers)
    return HessianSpread(
        landscapes=np.array(landscapes),
        states=count,
        products=products,
        along=along,
        origin=origin,
        within=within,
        curvature=curvature,
        mean=torch.stack(mean),
    )


def _of_landscape(energy: Energy, A: Tensor, y0: Tensor, *, k: int, count: int, generator, memory: int):
    """The fields of HessianSpread of one landscape, from `products` to `curvature`, and `mean`."""
    y, _ = states.noised(energy, y0, k, count, generator)
    at_once = max(1, states.hessians_per_call(energy, memory) // count)
    origin, moved, within, curvature = None, [], [], []
    for part in torch.arange(len(A), device=A.device).split(at_once):
        H = states.sigma(energy, k) * _hessians(energy, A[part], y[part], k)
        curvature.append(H.diagonal(dim1=-2, dim2=-1).mean((1, 2)))
        if origin is None:
            origin = H[0, 0].clone()
        H = H - origin
        mean = H.mean(1)
        within.append((H - mean[:, None]).pow(2).sum((1, 2, 3)) / (count - 1))
        moved.append(mean.flatten(1))
    D = torch.cat(moved)
    numbers = (D @ D.mT, D @ origin.flatten(), origin.pow(2).sum(), torch.cat(within), torch.cat(curvature))
    return *map(states.array, numbers), origin + D.mean(0).view_as(origin)


def _hessians(energy: Energy, A: Tensor, y: Tensor, k: int) -> Tensor:
    """Hessians at y (B, M, d) in basis coordinates, (B, M, size, size)."""
    count = y.shape[1]
    H = energy.hessian(energy.prepare(A.repeat_interleave(count, 0)), y.flatten(0, 1), k)
    H = states.in_basis(energy, H)
    return ((H + H.mT) / 2).unflatten(0, (-1, count))


def _counts(drawn: NDArray, size: int) -> NDArray:
    """How often each of 0 … size − 1 stands in the rows of (…, N): (…, size)."""
    rows = drawn.reshape(-1, drawn.shape[-1])
    places = rows + size * np.arange(len(rows))[:, None]
    counts = np.bincount(places.ravel(), minlength=size * len(rows))
    return counts.reshape(*drawn.shape[:-1], size).astype(float)
