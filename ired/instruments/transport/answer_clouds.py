"""Two-sample tests by optimal transport: are sampled answers distributed as true ones?

A cloud of answers is held against a cloud of true answers of *other* problems, in six measures and
under two ground costs:

                             Euclidean                     affine-invariant
    spectra                  eigenvalues, pooled           their logarithms, pooled
    eigenvalues by rank      √Σ W2² over ranks             of logarithms
    principal axes           of the matrices               of logarithms at the truths' Karcher mean
    the same, with entropy   debiased Sinkhorn             debiased Sinkhorn
    Gaussians                Bures, all entries            Bures, all of the logarithm
    all entries              ‖X − Y‖                       ‖log X^(−½)YX^(−½)‖, exactly

The eigenvalues' logarithms are the affine-invariant cost between commuting matrices; logarithms at
the Karcher mean (principal geodesic analysis: Fletcher et al. 2004) keep that metric near it. Axes
are fitted on true answers alone. W2 from finite clouds is biased: the null is that of further clouds
of true answers, of the same size, against the same truths, so that under "distributed alike" the
answers' distance is one more draw of the null and p = (1 + #{null ≥ seen})/(draws + 1) is exact. "All
entries" shows why axes are needed: in many dimensions the null is nearly as far as anything.

The affine-invariant cost knows SPD matrices only: others are counted and left out there, and the null
has as many points as are left. Spectra are those of the symmetric part; what is antisymmetric counts
in the Euclidean Gaussians and in all entries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from pandas import DataFrame
from torch import Tensor

from ired.instruments.core.states import array, symmetric, symmetric_basis
from ired.instruments.geometry import metrics
from ired.instruments.statistics.intervals import adjust
from ired.instruments.transport import distances as transport

EUCLIDEAN, AFFINE = "Euclidean", "affine-invariant"
SINKHORN = "principal axes, Sinkhorn"
MEASURES = ("spectra", "eigenvalues by rank", "principal axes", SINKHORN, "Gaussians", "all entries")
FEW = 150  # matrices of a cloud that transport in all entries is taken from
ENTROPY = 0.3  # Sinkhorn's ε, of the truths' median squared distance along the axes
SHARES = (3.0, 1.0, ENTROPY, 0.1)  # what its bias is shown at
FEWEST = 20  # SPD matrices of a cloud that the affine-invariant cost is asked about


def definite(Y: Tensor) -> NDArray:
    """Which matrices (N, n, n) have a positive definite symmetric part, bool (N,)."""
    return array(torch.linalg.cholesky_ex(symmetric(Y)).info == 0)


def asymmetry(Y: Tensor) -> float:
    """Mean share ‖(Y − Yᵀ)/2‖/‖Y‖ of matrices (N, n, n)."""
    turned = (Y - Y.mT).flatten(-2).norm(dim=-1) / 2
    return (turned / Y.flatten(-2).norm(dim=-1).clamp_min(torch.finfo(Y.dtype).tiny)).mean().item()


@dataclass(frozen=True)
class GroundCost:
    """What it costs to move a matrix: where matrices are points, and what is between them.

    name; points: matrices (N, n, n) → (N, m), whose squared distances are the cost or come near it;
    spectra: → (N, n) ascending; squared: (N, n, n), (M, n, n) → (N, M) the cost itself.
    """

    name: str
    points: Callable[[Tensor], Tensor]
    spectra: Callable[[Tensor], NDArray]
    squared: Callable[[Tensor, Tensor], NDArray]


def euclidean() -> GroundCost:
    """‖X − Y‖²_F."""
    return GroundCost(
        EUCLIDEAN,
        lambda Y: Y.flatten(-2),
        _eigenvalues,
        lambda X, Y: transport.squared(X.flatten(-2), Y.flatten(-2)),
    )


def affine_invariant(truths: Tensor) -> GroundCost:
    """‖log X^(−½)YX^(−½)‖²_F, with logarithms taken at the Karcher mean of `truths` (N, n, n)."""
    metrics.require_spd(truths, "true answer")
    white = metrics.power(metrics.METRICS[AFFINE].mean(truths), -0.5)
    basis = symmetric_basis(truths.shape[-1], truths)

    def points(Y: Tensor) -> Tensor:
        return metrics.logm(symmetric(white @ symmetric(Y) @ white)).flatten(-2) @ basis.mT

    return GroundCost(AFFINE, points, lambda Y: np.log(_eigenvalues(Y)), affine_squared)


def affine_squared(X: Tensor, Y: Tensor, pairs: int = 2**16) -> NDArray:
    """Squared affine-invariant distances (N, M) of SPD matrices' symmetric parts, `pairs` at a time."""
    X, Y = symmetric(X), symmetric(Y)
    rows = X[:, None].split(max(1, pairs // len(Y)))
    return array(torch.cat([metrics.METRICS[AFFINE].distance(part, Y) for part in rows]) ** 2)


@dataclass
class Yardstick:
    """Distances of clouds to one cloud of true answers under one ground cost.

    truths (M, n, n); axes, fitted on further true answers; epsilon: the entropy's weight; few: how many
    matrices of either cloud "all entries" is taken from.
    """

    ground: GroundCost
    truths: Tensor
    axes: transport.Axes
    epsilon: float
    few: int
    _cache: dict[str, object] = field(default_factory=dict)

    @classmethod
    def of(cls, ground: GroundCost, truths: Tensor, fit: Tensor, axes: int, share: float, few: int) -> Yardstick:
        """Axes fitted on `fit` (F, n, n); ε is `share` of the truths' median cost along the axes."""
        fitted = transport.principal_axes(ground.points(fit), axes)
        yardstick = cls(ground=ground, truths=truths, axes=fitted, epsilon=0.0, few=few)
        yardstick.epsilon = share * float(np.median(yardstick.within))
        return yardstick

    @property
    def along(self) -> Tensor:
        """The truths along the axes."""
        return self._kept("along", lambda: self.axes(self._points))

    @property
    def within(self) -> NDArray:
        """Squared distances between truths along the axes."""
        return self._kept("within", lambda: transport.squared(self.along, self.along))

    def distances(self, Y: Tensor) -> dict[str, float]:
        """W2 of matrices Y (N, n, n) to the truths in every one of `MEASURES`."""
        points, spectra = self.ground.points(Y), self.ground.spectra(Y)
        true_spectra = self._kept("spectra", lambda: self.ground.spectra(self.truths))
        along = self.axes(points)
        between = transport.squared(along, self.along)
        ranks = transport.sorted_line(spectra, true_spectra)
        everything = self.ground.squared(Y[: self.few], self.truths[: self.few])
        # √S_ε with the truths' own term computed once.
        itself = transport.entropic_to_itself
        halves = itself(transport.squared(along, along), self.epsilon)
        halves += self._kept("entropy", lambda: itself(self.within, self.epsilon))
        divergence = transport.entropic(between, self.epsilon) - halves / 2
        return {
            "spectra": float(transport.sorted_line(spectra.ravel(), true_spectra.ravel())),
            "eigenvalues by rank": float(np.sqrt((ranks**2).sum())),
            "principal axes": transport.exact(between),
            SINKHORN: float(np.sqrt(max(divergence, 0.0))),
            "Gaussians": transport.gaussian(points, self._points),
            "all entries": transport.exact(everything),
        }

    def ranks(self, Y: Tensor) -> NDArray:
        """W2 between the eigenvalues of each rank, (n,), ascending."""
        true_spectra = self._kept("spectra", lambda: self.ground.spectra(self.truths))
        return transport.sorted_line(self.ground.spectra(Y), true_spectra)

    @property
    def _points(self) -> Tensor:
        return self._kept("points", lambda: self.ground.points(self.truths))

    def _kept(self, name: str, make: Callable[[], object]) -> object:
        if name not in self._cache:
            self._cache[name] = make()
        return self._cache[name]


def null(yardstick: Yardstick, draws: Tensor) -> dict[str, NDArray]:
    """Distances (R,) by measure of R clouds of true answers (R, N, n, n)."""
    measured = [yardstick.distances(cloud) for cloud in draws]
    return {measure: np.array([row[measure] for row in measured]) for measure in MEASURES}


def compare_clouds(yardstick: Yardstick, clouds: dict[str, Tensor], draws: Tensor) -> list[dict]:
    """Rows of every cloud (N, n, n) in every measure, beside the null of draws (R, N, n, n).

    cost, answers (the cloud's name), measure; distance; null, low, high: the null's mean and middle
    95 %; ratio: distance over the null's mean; p, adjusted (Benjamini-Hochberg over the measures);
    points; left_out: matrices of the cloud that are not SPD and that the affine-invariant cost does
    not know. A cloud of which less than `FEWEST` are left has no rows.
    """
    rows, nulls = [], {}
    for name, kept, left_out in _kept(yardstick.ground, clouds):
        if len(kept) not in nulls:
            nulls[len(kept)] = null(yardstick, draws[:, : len(kept)])
        null_distances, measured = nulls[len(kept)], yardstick.distances(kept)
        p = {m: (1 + (null_distances[m] >= measured[m]).sum()) / (len(draws) + 1) for m in MEASURES}
        for measure, q in zip(MEASURES, adjust(list(p.values())), strict=True):
            mean, low, high = _middle(null_distances[measure])
            rows.append(
                {
                    "cost": yardstick.ground.name,
                    "answers": name,
                    "measure": measure,
                    "distance": measured[measure],
                    "null": mean,
                    "low": low,
                    "high": high,
                    "ratio": measured[measure] / mean if mean else 1.0,
                    "p": p[measure],
                    "adjusted": q,
                    "points": len(kept),
                    "left_out": left_out,
                }
            )
    return rows


def by_rank(yardstick: Yardstick, clouds: dict[str, Tensor], draws: Tensor) -> list[dict]:
    """Rows of W2 between the eigenvalues of each rank (0 the smallest), beside the null."""
    rows = []
    for name, kept, _ in _kept(yardstick.ground, clouds):
        null_distances = np.stack([yardstick.ranks(cloud[: len(kept)]) for cloud in draws], -1)
        for rank, distance in enumerate(yardstick.ranks(kept)):
            mean, low, high = _middle(null_distances[rank])
            rows.append(
                {
                    "cost": yardstick.ground.name,
                    "answers": name,
                    "rank": rank,
                    "distance": distance,
                    "null": mean,
                    "low": low,
                    "high": high,
                }
            )
    return rows


def bias(yardstick: Yardstick, Y: Tensor, shares: Sequence[float]) -> list[dict]:
    """What entropy adds to Y's distance to the truths along the axes, at ε = share of the median cost.

    Rows of cost, share, entropic (√OT_ε), debiased (√S_ε) and exact (W2).
    """
    along = yardstick.axes(yardstick.ground.points(Y))
    between, within = transport.squared(along, yardstick.along), transport.squared(along, along)
    exact, median, rows = transport.exact(between), float(np.median(yardstick.within)), []
    for share in shares:
        epsilon = share * median
        rows.append(
            {
                "cost": yardstick.ground.name,
                "share": share,
                "entropic": np.sqrt(max(transport.entropic(between, epsilon), 0.0)),
                "debiased": transport.debiased(between, within, yardstick.within, epsilon),
                "exact": exact,
            }
        )
    return rows


def answer_cloud_tables(
    clouds: dict[str, Tensor], truths: Tensor, fit: Tensor, draws: Tensor, axes: int
) -> dict[str, DataFrame]:
    """Tables "answers", "ranks", "entropy": `compare_clouds`, `by_rank`, `bias` of the first draw; both ground costs.

    clouds: (N, n, n) by name; truths (M, n, n); fit (F, n, n): true answers that axes and the Karcher
    mean are fitted on; draws (R, N, n, n): the null; axes: how many.
    """
    rows: dict[str, list] = {"answers": [], "ranks": [], "entropy": []}
    for ground in (euclidean(), affine_invariant(fit)):
        yardstick = Yardstick.of(ground=ground, truths=truths, fit=fit, axes=axes, share=ENTROPY, few=FEW)
        rows["answers"] += compare_clouds(yardstick, clouds, draws)
        rows["ranks"] += by_rank(yardstick, clouds, draws)
        rows["entropy"] += bias(yardstick, draws[0], SHARES)
    return {name: DataFrame(table) for name, table in rows.items()}


def _kept(ground: GroundCost, clouds: dict[str, Tensor]) -> Iterator[tuple[str, Tensor, int]]:
    """Clouds without, and number of, matrices that the ground cost does not know; none below `FEWEST`."""
    for name, cloud in clouds.items():
        kept = cloud
        if ground.name == AFFINE:
            kept = cloud[torch.as_tensor(definite(cloud), device=cloud.device)]
        if len(kept) >= min(FEWEST, len(cloud)):
            yield name, kept, len(cloud) - len(kept)


def _middle(draws: NDArray) -> tuple[float, float, float]:
    """Mean and middle 95 %."""
    return draws.mean(), *np.quantile(draws, [0.025, 0.975])


def _eigenvalues(Y: Tensor) -> NDArray:
    return array(torch.linalg.eigvalsh(symmetric(Y)))
