"""Held-out R² of the score by the best affine map of the problem and the state (ordinary least squares).

The score ∇_y E of landscape k at noised answers, in basis coordinates, is regressed on the upper triangle of A and the
basis coordinates of y. An energy whose R² is 1 is one paraboloid: its Hessian is the same for all problems, its centre
an affine map of A. Maps of less stand beside it:

- "y": the state alone, which is all that an energy needs to know where there is much noise,
- "A, c·y": both, the state's weight one number for all directions (a round bowl around an affine map of A),
- "A, y": both, with a full matrix of weights.

Since y alone explains nearly everything in noisy landscapes, the share that [A, y] explains of what y alone leaves is
given too (the partial R²; "beyond y"). Maps are cross-fitted: problems are split into folds, and a map is judged on
the fold that it was not fitted to. Of every problem there is one state: more of them would not make more problems. With
N rows and p Gaussian inputs a fitted map leaves about N/(N − p) times what the best one leaves on other rows and
(N − p)/N times that on those that were fitted: their geometric mean is what the best map leaves ("best"), and neither
end is, while p/N is not small.

What others must show. An affine energy (least squares seen as one): 1. A regression network's bowl: what is affine of
its answers, and 1 with much noise. The ideal energy, whose score there is the noise itself: with C the covariance of
what least squares misses of the answer, mean σ²/(ᾱc_i + σ²) over C's eigenvalues c_i for [A, y], σ²/(ᾱ·mean c + σ²)
for [A, c·y] (linear minimum mean square error, Kay 1993, ch. 12). A network with fresh weights has no
closed form: it lies between (0.77 to 0.85 at n = 4, hidden 32 and 256, of which y alone gives 0.14 to 0.57), so that a
middling R² is no sign of learning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pandas import DataFrame
from torch import Tensor

from ired.instruments.accuracy import predictors
from ired.instruments.accuracy.linear_surrogate import FOLDS, alternating_folds
from ired.instruments.core import states
from ired.instruments.linearity.normal_equations import NormalEquations, RowMoments
from ired.instruments.statistics.intervals import Interval, fieller
from ired.instruments.statistics.regression import Affine
from ired.model.protocol import Energy

KINDS = ("y", "A, c·y", "A, y")
CHUNK = 512  # problems whose rows are made at once


@dataclass(frozen=True)
class AffineScore:
    """Of P problems in L landscapes (L,).

    total (L, P): the squared deviation of a problem's score from the mean of the other folds; by kind of map,
    unexplained (L, P): the same from the map, fitted (L,): R² on the rows that were fitted, ridge (L,): the greatest
    penalty (0: none).
    """

    landscapes: NDArray
    total: NDArray
    unexplained: Mapping[str, NDArray]
    fitted: Mapping[str, NDArray]
    ridge: Mapping[str, NDArray]

    def held_out(self, kind: str = "A, y", level: float = 0.95) -> Interval:
        """R² of one of KINDS on problems that it was not fitted to, arrays (L,): Fieller's interval of a ratio of means
        over problems, the fitted maps taken as given."""
        return self._share(self.unexplained[kind], self.total, level)

    def beyond_state(self, level: float = 0.95) -> Interval:
        """The share that [A, y] explains of what y alone leaves, arrays (L,)."""
        return self._share(self.unexplained["A, y"], self.unexplained["y"], level)

    def best(self, kind: str = "A, y") -> NDArray:
        """R² of the best map of a kind, (L,), from what fitted ones leave on other rows and on those fitted.

        Where there are fewer rows than inputs nothing is left of these, and nothing is known of the best (NaN).
        """
        held_out = 1 - self.unexplained[kind].sum(1) / self.total.sum(1)
        product = (1 - held_out) * (1 - self.fitted[kind]).clip(0)
        return np.where(self.ridge[kind] > 0, np.nan, 1 - np.sqrt(product))

    def table(self) -> DataFrame:
        """Rows of landscape, inputs, share, low, high, fitted, best, ridge; "beyond y" has no fit of its own (NaN)."""
        parts = []
        for kind in KINDS:
            extra = {"fitted": self.fitted[kind], "best": self.best(kind), "ridge": self.ridge[kind]}
            parts.append((kind, self.held_out(kind).row("share") | extra))
        nothing = {"fitted": np.nan, "best": np.nan, "ridge": self.ridge["A, y"]}
        parts.append(("beyond y", self.beyond_state().row("share") | nothing))
        columns = ("share", "low", "high", "fitted", "best", "ridge")
        return DataFrame(
            [
                (k, kind, *(float(np.broadcast_to(values[c], self.landscapes.shape)[i]) for c in columns))
                for kind, values in parts
                for i, k in enumerate(self.landscapes)
            ],
            columns=["landscape", "inputs", *columns],
        )

    def _share(self, left: NDArray, whole: NDArray, level: float) -> Interval:
        beyond, low, high = fieller(left, whole, level)
        return Interval(-beyond, -high, -low, level, left.shape[1], "Fieller")


@torch.no_grad()
def affine_score(
    energy: Energy,
    A: Tensor,
    landscapes: Sequence[int],
    generator: torch.Generator,
    folds: int = FOLDS,
) -> AffineScore:
    """Of one noised answer of each problem A (P, n, n), in no particular order, in every landscape.

    The score is taken in A's precision, sums in float64. Held in memory are 2·P·size numbers and the normal equations:
    at n = 20 with 4000 problems 13 MB (float32) and 50 MB. There should be several times as many problems as inputs
    (at n = 20 610, or 420 in symmetric coordinates); `fitted` beside `held_out` shows whether there are, `best` lies
    between. Raises ValueError with fewer than two folds.
    """
    y0, fold = states.answers(energy, A), torch.from_numpy(alternating_folds(len(A), folds)).to(A.device)
    half, size = A.shape[-1] * (A.shape[-1] + 1) // 2, energy.coordinates.size
    measured = [
        _landscape(_Rows(energy, A, y0, fold=fold, k=k, generator=generator), half, size, folds) for k in landscapes
    ]
    total, unexplained, fitted, ridge = zip(*measured, strict=True)

    def by_kind(values: Sequence[Mapping[str, NDArray | float]]) -> dict[str, NDArray]:
        return {kind: np.array([value[kind] for value in values]) for kind in KINDS}

    return AffineScore(
        landscapes=np.array(landscapes),
        total=np.array(total),
        unexplained=by_kind(unexplained),
        fitted=by_kind(fitted),
        ridge=by_kind(ridge),
    )


class _Rows:
    """Rows [upper triangle of A, y, score] of one landscape, made in chunks of problems."""

    def __init__(self, energy: Energy, A: Tensor, y0: Tensor, *, fold: Tensor, k: int, generator: torch.Generator):
        y = states.noised(energy, y0, k, 1, generator)[0][:, 0]
        scores = [energy.gradient(energy.prepare(A[part]), y[part], k) for part in torch.arange(len(A)).split(CHUNK)]
        to_basis = energy.coordinates.to_basis
        self.A, self.fold = A, fold
        self.y, self.score = to_basis(y), torch.cat([to_basis(score) for score in scores])

    def chunks(self, problems: Tensor):
        """Chunks of these problems and their rows, float64."""
        for part in problems.split(CHUNK):
            yield part, torch.cat([predictors.power_features(self.A[part], 1), self.y[part], self.score[part]], 1)


def _landscape(rows: _Rows, half: int, size: int, folds: int):
    problems = torch.arange(len(rows.A), device=rows.A.device)
    sums = NormalEquations(folds)
    for part, chunk in rows.chunks(problems):
        sums.add(chunk, rows.fold[part])
    outputs = slice(half + size, half + 2 * size)
    total = np.empty(len(problems))
    unexplained = {kind: np.empty(len(problems)) for kind in KINDS}
    fitted, ridge = dict.fromkeys(KINDS, 0.0), dict.fromkeys(KINDS, 0.0)
    for f in range(folds):
        moments = sums.without(f)
        maps = {kind: _best_map(moments, kind, half, size) for kind in KINDS}
        for kind, (inputs, affine, penalty) in maps.items():
            fitted[kind] += (1 - moments.unexplained(inputs, outputs, affine) / moments.total(outputs)) / folds
            ridge[kind] = max(ridge[kind], penalty)
        for part, chunk in rows.chunks(problems[rows.fold == f]):
            score, at = chunk[:, outputs], states.array(part)
            total[at] = states.array((score - moments.mean[outputs]).pow(2).sum(1))
            for kind, (inputs, affine, _) in maps.items():
                unexplained[kind][at] = states.array((score - affine(chunk[:, inputs])).pow(2).sum(1))
    return total, unexplained, fitted, ridge


def _best_map(moments: RowMoments, kind: str, half: int, size: int) -> tuple[slice, Affine, float]:
    """Which columns a map of one of KINDS takes, the map, and its ridge."""
    problem, state, score = slice(0, half), slice(half, half + size), slice(half + size, half + 2 * size)
    if kind == "A, c·y":
        return slice(0, half + size), *moments.isotropic_map(problem, state, score)
    inputs = {"y": state, "A, y": slice(0, half + size)}[kind]
    return inputs, *moments.affine_map(inputs, score)
