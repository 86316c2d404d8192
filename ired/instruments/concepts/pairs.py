"""Matched pairs of states that show a concept: they differ in it and in as little else as can be had.

Problems matched on their other properties (optimal assignment within a caliper), the same problem with more or less
noise, the answer of this problem or of one like it. Arrays of pairs (G, 2, …) hold the state without the concept at
[:, 0] and that with it at [:, 1].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pandas import DataFrame
from torch import Tensor

from ired.instruments.core import states as points
from ired.instruments.core.directions import OF_PROBLEMS
from ired.instruments.core.states import array
from ired.model.protocol import Energy

INPUT = "input"  # the layer before the first: A and y
NEAR, MIDDLE, FAR = 0.25, 1.0, 1.75  # noise radii: a less noisy state lies below the middle
_CHUNK = 2048


@dataclass(frozen=True)
class Population:
    """Problems that pairs are made of.

    measures (P, 4): one column for each of OF_PROBLEMS, standardised; fold (P,): pairs never cross folds, so that no
    classifier meets a problem of its test pairs, whichever concept they show.
    """

    measures: NDArray
    fold: NDArray

    @classmethod
    def of(cls, A: Tensor, properties: Mapping[str, Tensor], folds: int, rng: np.random.Generator) -> Population:
        """Of problems A (P, n, n) with their condition_number, norm and smallest_eigenvalue (P,)."""
        A = A.double()
        diagonal = A.diagonal(dim1=-2, dim2=-1).pow(2).sum(-1) / A.pow(2).sum((-2, -1))
        columns = (
            properties["condition_number"].log(),
            properties["norm"].log(),
            -properties["smallest_eigenvalue"].log(),
            diagonal,
        )
        values = np.stack([array(column) for column in columns], 1)
        values = (values - values.mean(0)) / values.std(0)
        return cls(values, rng.permutation(len(A)) % folds)


@dataclass(frozen=True)
class ConceptPairs:
    """G pairs of states that show a concept.

    problem, answer (G, 2): rows of the problem that the network is asked about and of the one whose answer the state
    is; noise (G, 2, d): the state's noise in units of σ_k, the same in all landscapes; confounders (G, 2, C):
    standardised; unit (G,): pairs that share problems; fold (G,).
    """

    concept: str
    problem: NDArray
    answer: NDArray
    noise: Tensor
    confounders: NDArray
    unit: NDArray
    fold: NDArray

    def __len__(self) -> int:
        return len(self.problem)

    def states(self, energy: Energy, y0: Tensor, k: int) -> Tensor:
        """The states (G, 2, d) in landscape k, given the answers y0 (P, d)."""
        centre = points.centre(energy, y0, k)[torch.as_tensor(self.answer, device=y0.device)]
        return centre + points.sigma(energy, k) * self.noise.to(centre)

    def swapped(self, rng: np.random.Generator) -> tuple[NDArray, NDArray]:
        """Index of pairs (G, 2, …) that swaps the sides of half of the units at random."""
        turn = rng.integers(0, 2, self.unit.max() + 1)[self.unit]
        return np.arange(len(self))[:, None], np.stack([turn, 1 - turn], 1)


def matched_pairs(value: NDArray, confounders: NDArray, fold: NDArray, caliper: float) -> NDArray:
    """Pairs (G, 2) of problems, low and high in `value` (P,), alike in `confounders` (P, C).

    From the lower and the upper third of what a quadratic in the confounders leaves of the value, within folds by
    optimal assignment (Euclidean, standardised columns); pairs farther apart than `caliper`, or with the values the
    other way round, are dropped.
    """
    left = value - _quadratic(confounders, value)
    low, high = np.quantile(left, [1 / 3, 2 / 3])
    pairs = _assigned(left <= low, left >= high, confounders, fold=fold, caliper=caliper)
    return pairs[value[pairs[:, 1]] > value[pairs[:, 0]]]


def _assigned(first: NDArray, second: NDArray, z: NDArray, fold: NDArray, caliper: float) -> NDArray:
    """Rows (G, 2) of z, of `first` (P,) and of `second`, within folds and the caliper."""
    from scipy.optimize import linear_sum_assignment

    pairs = []
    for f in np.unique(fold):
        here, there = (np.flatnonzero((fold == f) & side) for side in (first, second))
        apart = np.linalg.norm(z[here][:, None] - z[there], axis=-1)
        # Beyond the caliper all are equally bad, so that as many as possible lie within it.
        near = apart <= caliper
        rows, columns = linear_sum_assignment(np.where(near, apart, 100 * caliper))
        kept = near[rows, columns]
        pairs.append(np.stack([here[rows[kept]], there[columns[kept]]], 1))
    return np.concatenate(pairs)


def _quadratic(z: NDArray, value: NDArray) -> NDArray:
    """Least squares of value (P,) on the monomials of z (P, C) up to degree 2."""
    i, j = np.triu_indices(z.shape[1])
    X = np.column_stack([np.ones(len(z)), z, z[:, i] * z[:, j]])
    return X @ np.linalg.lstsq(X, value, rcond=None)[0]


def concept_pairs(
    energy: Energy, population: Population, most: int, caliper: float, generator: torch.Generator
) -> list[ConceptPairs]:
    """At most `most` pairs of each of CONCEPTS, in this order.

    Raises ValueError where a fold is left with less than two pairs of a concept.
    """
    shown = [
        *(
            property_pairs(energy, population, name, most=most, caliper=caliper, generator=generator)
            for name in OF_PROBLEMS
        ),
        noisy_pairs(energy, population, most, generator),
        correct_pairs(energy, population, most, caliper=caliper, generator=generator),
    ]
    for pairs in shown:
        if np.bincount(pairs.fold, minlength=population.fold.max() + 1).min() < 2:
            few = f"too few matched pairs of '{pairs.concept}' ({len(pairs)})"
            raise ValueError(f"{few}: more problems, or a wider caliper")
    return shown


def property_pairs(
    energy: Energy, population: Population, concept: str, most: int, caliper: float, generator: torch.Generator
) -> ConceptPairs:
    """Noised answers of matched problems, low and high in a property of the matrix."""
    place = OF_PROBLEMS.index(concept)
    others = np.delete(population.measures, place, 1)
    problem = matched_pairs(population.measures[:, place], others, population.fold, caliper)
    problem = problem[_sample(len(problem), most, generator)]
    return ConceptPairs(
        concept=concept,
        problem=problem,
        answer=problem,
        noise=_noise(energy, len(problem), generator),
        confounders=others[problem],
        unit=np.arange(len(problem)),
        fold=population.fold[problem[:, 0]],
    )


def noisy_pairs(energy: Energy, population: Population, most: int, generator: torch.Generator) -> ConceptPairs:
    """Two states of one problem: nearer to its answer than MIDDLE noise radii, and farther from it."""
    problem = _sample(len(population.fold), most, generator)[:, None].repeat(2, 1)
    share = torch.rand(len(problem), 2, generator=generator, dtype=torch.float64, device=generator.device)
    low, high = torch.tensor([[NEAR, MIDDLE], [MIDDLE, FAR]], dtype=torch.float64)
    radii = (low + (high - low) * share.cpu()) * energy.coordinates.size**0.5
    u = torch.nn.functional.normalize(_noise(energy, len(problem), generator), dim=-1)
    return ConceptPairs(
        concept="noisy_answer",
        problem=problem,
        answer=problem,
        noise=radii[..., None] * u,
        confounders=population.measures[problem],
        unit=np.arange(len(problem)),
        fold=population.fold[problem[:, 0]],
    )


def correct_pairs(
    energy: Energy, population: Population, most: int, caliper: float, generator: torch.Generator
) -> ConceptPairs:
    """The noised answer of the problem, and of another one that is like it in all OF_PROBLEMS.

    Both problems of a match are asked about, so that neither the problems nor the states tell the two sides apart: only
    how they belong together does.
    """
    side = np.zeros(len(population.fold), dtype=bool)
    side[_sample(len(side), len(side) // 2, generator)] = True
    matches = _assigned(side, ~side, population.measures, fold=population.fold, caliper=caliper)
    matches = matches[_sample(len(matches), most // 2, generator)]
    asked = np.concatenate([matches, matches[:, ::-1]])
    answer = asked[:, ::-1].copy()  # the other's, then the right one
    problem = asked[:, :1].repeat(2, 1)
    return ConceptPairs(
        concept="correct_answer",
        problem=problem,
        answer=answer,
        noise=_noise(energy, len(asked), generator),
        confounders=population.measures[answer],
        unit=np.tile(np.arange(len(matches)), 2),
        fold=population.fold[problem[:, 0]],
    )


def _sample(count: int, most: int, generator: torch.Generator) -> NDArray:
    """At most `most` of `count` rows at random."""
    order = torch.randperm(count, generator=generator, device=generator.device)
    return order[:most].cpu().numpy()


def _noise(energy: Energy, count: int, generator: torch.Generator) -> Tensor:
    like = torch.zeros(0, dtype=torch.float64)
    return points.noise(energy, count, 2, generator=generator, like=like)


def balance(population: Population, shown: Sequence[ConceptPairs]) -> DataFrame:
    """How unlike the two sides are: rows concept, measure, smd_before, smd_after, apart, label_before, label_after,
    pairs.

    smd: mean difference in pooled standard deviations; label: correlation of measure and label; before matching the
    sides are the upper and lower third of the problems (for the last two concepts, draws without any choice: 0).
    apart: mean size of the difference in a pair, in deviations of the problems.
    """
    rows = []
    for pairs in shown:
        for place, measure in enumerate(OF_PROBLEMS):
            x = population.measures[:, place]
            smd_before, label_before = 0.0, 0.0
            if pairs.concept in OF_PROBLEMS:
                value = population.measures[:, OF_PROBLEMS.index(pairs.concept)]
                low, high = np.quantile(value, [1 / 3, 2 / 3])
                smd_before, label_before = side_difference(x[value <= low], x[value >= high])
            smd_after, label_after = side_difference(*x[pairs.answer].T)
            rows.append(
                {
                    "concept": pairs.concept,
                    "measure": measure,
                    "smd_before": smd_before,
                    "smd_after": smd_after,
                    "apart": float(np.abs(np.diff(x[pairs.answer])).mean()),
                    "label_before": label_before,
                    "label_after": label_after,
                    "pairs": len(pairs),
                }
            )
    return DataFrame(rows)


def side_difference(low: NDArray, high: NDArray) -> tuple[float, float]:
    """Of a measure of two sides: standardised mean difference, and correlation with the side."""
    spread = np.sqrt((low.var() + high.var()) / 2)
    both, label = np.concatenate([low, high]), np.repeat([0.0, 1.0], [len(low), len(high)])
    return float((high.mean() - low.mean()) / spread), float(np.corrcoef(both, label)[0, 1])


@torch.no_grad()
def pair_activations(
    energy: Energy, A: Tensor, y0: Tensor, pairs: ConceptPairs, k: int, layers: Sequence[str]
) -> dict[str, NDArray]:
    """Activations (G, 2, width) of the pairs in landscape k; of INPUT, coordinates of A and of y."""
    states = pairs.states(energy, y0, k)
    chunks: dict[str, list[NDArray]] = {layer: [] for layer in layers}
    for rows in torch.arange(len(pairs)).split(_CHUNK):
        # Both states of a pair: one batch, since they may ask about different problems.
        problem = A[torch.as_tensor(pairs.problem[rows.numpy()].ravel(), device=A.device)]
        y = states[rows.to(states.device)].flatten(0, 1)
        h = energy.activations(problem, y, k)
        if INPUT in layers:
            basis = energy.coordinates.to_basis
            h = h | {INPUT: torch.cat([basis(problem.flatten(-2)), basis(y)], -1)}
        for layer in layers:
            chunks[layer].append(array(h[layer]).reshape(len(rows), 2, -1))
    return {layer: np.concatenate(parts) for layer, parts in chunks.items()}
