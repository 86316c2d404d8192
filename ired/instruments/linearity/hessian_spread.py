"""How much Hessians differ between problems, and between states of one problem (one-way variance components).

σ_k H at noised answers, in basis coordinates, is H̄ + (what the problem adds) + (what the state adds). The squared
Frobenius norms of both are estimated without bias from the sums of squares between and within problems (Searle, Casella
& McCulloch 1992, ch. 3), and their root over ‖H̄‖ is the spread: 0 where all Hessians are one matrix. Mean curvature
tr(σH)/size, and the spectrum of H̄, stand beside the closed form of `gaussian_curvature`.

Full Hessians are taken where `probes` is None. Else they are multiplied with that many random orthonormal vectors, the
same for all states, by central differences of the gradient: norms, inner products and traces are then unbiased
estimates (Hutchinson 1990), exact for a multiple of I and where there are as many vectors as dimensions, and H̄ has no
spectrum.

What others must show. Every quadratic energy with a fixed H, such as least squares seen as an energy, a regression
network's bowl, and the ideal energy: 0. The algebraic energy: the spread of A² ⊗ I, all of it between problems. A
network with fresh weights has no closed form.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pandas import DataFrame
from torch import Tensor

from ired.instruments.core import states
from ired.instruments.core.random_directions import normal
from ired.instruments.linearity.gaussian_curvature import LinearPrediction
from ired.instruments.statistics.intervals import Interval, bootstrap_interval, mean_intervals
from ired.model.protocol import Energy

STEP = 1e-3  # of central differences, in σ_k
RESAMPLES = 1999


@dataclass(frozen=True)
class HessianSpread:
    """Of P problems with `states` states each, in L landscapes; Hessians times σ_k, in basis coordinates.

    landscapes: (L,); probes: how many vectors they were multiplied with, None: all; with D_p a problem's mean Hessian
    less the first of all, O: products (L, P, P) ⟨D_p, D_q⟩, along (L, P) ⟨O, D_p⟩, origin (L,) ‖O‖²; within (L, P):
    squared distances of a problem's Hessians from their mean, summed, over states − 1; curvature (L, P): trace/size;
    mean: (L, size, size) H̄, or (L, size, probes) what it makes of the vectors.
    """

    landscapes: NDArray
    probes: int | None
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
        """Of H̄, (L, size) ascending. Raises ValueError where only products with vectors are known."""
        if self.probes is not None:
            raise ValueError("products with random vectors do not give a spectrum: take full Hessians (probes=None)")
        return states.array(torch.linalg.eigvalsh(self.mean))

    def table(self, linear: LinearPrediction) -> DataFrame:
        """A row a landscape: spread, between, curvature, each with its _low and _high; round (with ends): the closed
        form were all directions alike; gaussian: the mean of its spectrum; spectrum_distance: ‖λ − λ*‖/‖λ*‖ of the
        eigenvalues of H̄ and of the closed form, in order; matrix_distance: ‖H̄ − H*‖_F/‖H*‖_F (both NaN with probes).
        """
        estimates = {"spread": self.spread(), "between": self.between(), "curvature": self.mean_curvature()}
        rows = []
        for i, k in enumerate(map(int, self.landscapes)):
            row: dict[str, float] = {"landscape": k}
            for name, interval in estimates.items():
                row |= {column: float(values[i]) for column, values in interval.columns(name).items()}
            closed = linear.spectrum(k)
            row |= linear.round_curvature(k).columns("round") | {"gaussian": float(closed.mean())}
            row |= {"spectrum_distance": math.nan, "matrix_distance": math.nan}
            if self.probes is None:
                H = linear.hessian(k)
                row["spectrum_distance"] = float(
                    np.linalg.norm(self.eigenvalues()[i] - closed) / np.linalg.norm(closed)
                )
                row["matrix_distance"] = ((self.mean[i] - H.to(self.mean)).norm() / H.norm()).item()
            rows.append(row)
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
    probes: int | None = None,
    memory: int = 2**28,
) -> HessianSpread:
    """Of `count` noised answers of each problem A (P, n, n), float64, in every landscape.

    Held in memory are the mean Hessians of all problems, 8·P·size² bytes (1.3 MB a problem at n = 20, 0.35 MB in
    symmetric coordinates; with probes a size-th of that for each), and `memory` bytes for those that are made at once.
    Raises ValueError with fewer than two states a problem, and for more probes than dimensions.
    """
    states.demand_double(A, "differences of Hessians")
    size = energy.coordinates.size
    if count < 2:
        raise ValueError("what differs within a problem takes two states of each at least")
    if probes is not None and not 0 < probes <= size:
        raise ValueError(f"there are 1 to {size} orthonormal vectors to multiply Hessians with, not {probes}")
    frame = None
    if probes is not None:  # scaled so that the mean of VVᵀ is I
        frame = torch.linalg.qr(normal(size, probes, generator=generator, like=A)).Q * (size / probes) ** 0.5
    y0 = states.answers(energy, A)
    measured = [
        _of_landscape(energy, A, y0, k=k, count=count, generator=generator, frame=frame, memory=memory)
        for k in landscapes
    ]
    *numbers, mean = zip(*measured, strict=True)
    products, along, origin, within, curvature = map(np.array, numbers)
    return HessianSpread(
        landscapes=np.array(landscapes),
        probes=probes,
        states=count,
        products=products,
        along=along,
        origin=origin,
        within=within,
        curvature=curvature,
        mean=torch.stack(mean),
    )


def _of_landscape(energy: Energy, A: Tensor, y0: Tensor, *, k: int, count: int, generator, frame, memory: int):
    """The fields of HessianSpread of one landscape, from `products` to `curvature`, and `mean`."""
    y, _ = states.noised(energy, y0, k, count, generator)
    at_once = max(1, states.hessians_per_call(energy, memory) // count)
    origin, moved, within, curvature = None, [], [], []
    for part in torch.arange(len(A), device=A.device).split(at_once):
        H = states.sigma(energy, k) * _hessians(energy, A[part], y[part], k, frame)
        traces = H.diagonal(dim1=-2, dim2=-1).sum(-1) if frame is None else (frame * H).sum((-2, -1))
        curvature.append(traces.mean(1) / energy.coordinates.size)
        if origin is None:
            origin = H[0, 0].clone()
        H = H - origin
        mean = H.mean(1)
        within.append((H - mean[:, None]).pow(2).sum((1, 2, 3)) / (count - 1))
        moved.append(mean.flatten(1))
    D = torch.cat(moved)
    numbers = (D @ D.mT, D @ origin.flatten(), origin.pow(2).sum(), torch.cat(within), torch.cat(curvature))
    return *map(states.array, numbers), origin + D.mean(0).view_as(origin)


def _hessians(energy: Energy, A: Tensor, y: Tensor, k: int, frame: Tensor | None) -> Tensor:
    """Hessians at y (B, M, d) in basis coordinates, (B, M, size, size), or times the frame (B, M, size, probes)."""
    B, M, _ = y.shape
    A, at = A.repeat_interleave(M, 0), y.flatten(0, 1)
    if frame is None:
        H = states.in_basis(energy, energy.hessian(energy.prepare(A), at, k))
        return ((H + H.mT) / 2).unflatten(0, (B, M))
    step = STEP * states.sigma(energy, k)
    moves = step * energy.coordinates.from_basis(frame.mT)
    both = torch.cat([at[:, None] + moves, at[:, None] - moves], 1)
    up, down = energy.coordinates.to_basis(energy.gradient(energy.prepare(A), both, k)).chunk(2, 1)
    return ((up - down) / (2 * step)).mT.unflatten(0, (B, M))


def _counts(drawn: NDArray, size: int) -> NDArray:
    """How often each of 0 … size − 1 stands in the rows of (…, N): (…, size)."""
    rows = drawn.reshape(-1, drawn.shape[-1])
    places = rows + size * np.arange(len(rows))[:, None]
    counts = np.bincount(places.ravel(), minlength=size * len(rows))
    return counts.reshape(*drawn.shape[:-1], size).astype(float)
