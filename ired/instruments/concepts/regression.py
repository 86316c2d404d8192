"""Regression concept vectors (Graziani et al. 2018): concepts by degrees, along which a concept's value grows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame
from torch import Tensor

from ired.instruments.concepts.cav import standardised_columns
from ired.instruments.concepts.pairs import INPUT, ConceptPairs, Population, pair_activations
from ired.instruments.concepts.tcav import Cell, Slopes
from ired.instruments.core.directions import OF_PROBLEMS
from ired.instruments.core.states import array
from ired.instruments.statistics.intervals import Interval, student_interval
from ired.model.protocol import Energy

ALPHAS = tuple(10.0**power for power in range(-1, 6))  # of ridge regression


@dataclass(frozen=True)
class ConceptRegression:
    """A regression concept vector of one concept.

    vector (width,): of length 1, along which the concept's value grows (ridge regression on standardised activations,
    mapped back); r2: of problems that it was not fitted to.
    """

    vector: NDArray
    r2: Interval

    def relevance(self, slopes: NDArray) -> float:
        """Bidirectional relevance R²·mean/deviation of the derivatives along it at slopes (F, width): 0 where the
        concept is not there to be seen."""
        along = slopes @ self.vector
        return float(max(self.r2.estimate, 0.0) * along.mean() / max(along.std(), 1e-300))


def regressions(h: NDArray, values: NDArray, unit: NDArray, fold: NDArray) -> list[ConceptRegression]:
    """Of Q concepts with values (N, Q), at activations h (N, width). Folds and units as for pairs."""
    from sklearn.linear_model import RidgeCV

    def ridge(rows: NDArray) -> tuple[NDArray, NDArray]:
        """Slopes (width, Q) and constants."""
        x, spread = standardised_columns(h[rows])
        line = RidgeCV(ALPHAS, alpha_per_target=True).fit(x, values[rows])
        slope = line.coef_.reshape(values.shape[1], -1).T / spread[:, None]
        return slope, line.intercept_ - h[rows].mean(0) @ slope

    missed, spread = np.empty(values.shape), np.empty(values.shape)
    for f in np.unique(fold):
        test = fold == f
        slope, constant = ridge(~test)
        missed[test] = (values[test] - h[test] @ slope - constant) ** 2
        spread[test] = (values[test] - values[~test].mean(0)) ** 2
    vectors = ridge(np.ones(len(h), dtype=bool))[0]
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=0), 1e-300)
    return [
        ConceptRegression(vector, student_interval(explained_values(error, total), groups=unit))
        for vector, error, total in zip(vectors.T, missed.T, spread.T, strict=True)
    ]


def explained_values(missed: NDArray, spread: NDArray) -> NDArray:
    """Values (N,) whose mean is 1 − Σ missed / Σ spread, linearised around it."""
    left = missed.sum() / spread.sum()
    return 1 - left - (missed - left * spread) / spread.mean()


def regress(
    energy: Energy,
    A: Tensor,
    y0: Tensor,
    population: Population,
    pairs: ConceptPairs,
    layers: Sequence[str],
    slopes: Mapping[Cell, Slopes],
) -> DataFrame:
    """Concept regression of the concepts that have degrees, on the states of `noisy_pairs` of many problems: rows
    concept, layer, landscape, r2, low, high, relevance (of the gap; 0 for INPUT, which has no slopes here)."""
    problem = pairs.problem.ravel()
    distance = array(pairs.noise.norm(dim=-1)).reshape(-1, 1)
    values = np.column_stack([population.measures[problem], distance])
    fold, unit = (v.repeat(2) for v in (pairs.fold, pairs.unit))
    rows = []
    for k in dict.fromkeys(k for _, k in slopes):
        for layer, h in pair_activations(energy, A, y0, pairs, k=k, layers=layers).items():
            by_concept = regressions(h.reshape(len(problem), -1), values, unit, fold)
            for concept, regression in zip((*OF_PROBLEMS, "noisy_answer"), by_concept, strict=True):
                rows.append(
                    {
                        "concept": concept,
                        "layer": layer,
                        "landscape": k,
                        "r2": regression.r2.estimate,
                        "low": regression.r2.low,
                        "high": regression.r2.high,
                        "relevance": regression.relevance(slopes[layer, k].gap) if layer != INPUT else 0.0,
                    }
                )
    return DataFrame(rows)
