"""Concept activation vectors (CAVs): directions in the layers that carry a concept, and what E makes of
them.

A concept is shown by *pairs* of states that differ in it and in as little else as can be had: problems
matched on their other properties, the same problem with more or less noise, the answer of this problem
or of one like it. A CAV is a direction that tells the two sides of held-out pairs apart (Kim et al.,
ICML 2018). It can be the weights of a classifier (*filter*) or how the activations differ (*pattern*:
covariance times weights of Fisher's discriminant, Haufe et al. 2014), each also with the confounders
regressed out (*partialled*). Filters read a concept best; where the concept lies is the pattern:
along a planted direction, in noise that has directions of its own, patterns point, and filters do not;
with a confounder planted beside it, plain patterns follow that and partialled ones do not. So
`PRIMARY` is the partialled pattern: planted data alone choose it (`known_answers.chosen`).

Arrays of pairs (G, 2, …) hold the state without the concept at [:, 0] and that with it at [:, 1].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from pandas import DataFrame
from torch import Tensor

from ired.instruments.core import states as points
from ired.instruments.core.directions import CONCEPTS, OF_PROBLEMS, Direction
from ired.instruments.core.states import array
from ired.instruments.statistics import intervals
from ired.instruments.statistics.auroc import placements
from ired.instruments.statistics.intervals import Interval, student_interval
from ired.model.protocol import Energy

METHODS = ("filter", "pattern", "filter_partialled", "pattern_partialled")
PRIMARY = "pattern_partialled"
INPUT = "input"  # the layer before the first: A and y
NEAR, MIDDLE, FAR = 0.25, 1.0, 1.75  # noise radii: a less noisy state lies below the middle
STRENGTH = 0.02  # C of the logistic regression on standardised activations
ALPHAS = tuple(10.0**power for power in range(-1, 6))
_CHUNK = 2048


# Which states show a concept


@dataclass(frozen=True)
class Population:
    """Problems that pairs are made of.

    measures (P, 4): one column for each of OF_PROBLEMS, standardised; fold (P,): pairs never cross
    folds, so that no classifier meets a problem of its test pairs, whichever concept they show.
    """

    measures: NDArray
    fold: NDArray

    @classmethod
    def of(
        cls, A: Tensor, properties: Mapping[str, Tensor], folds: int, rng: np.random.Generator
    ) -> Population:
        """Of problems A (P, n, n) with their condition_number, norm and smallest_eigenvalue (P,)."""
        A = A.double()
        diagonal = A.diagonal(dim1=-2, dim2=-1).pow(2).sum(-1) / A.pow(2).sum((-2, -1))
        columns = (
            properties["condition_number"].log(), properties["norm"].log(),
            -properties["smallest_eigenvalue"].log(), diagonal,
        )  # fmt: skip
        values = np.stack([array(column) for column in columns], 1)
        values = (values - values.mean(0)) / values.std(0)
        return cls(values, rng.permutation(len(A)) % folds)


@dataclass(frozen=True)
class Pairs:
    """G pairs of states that show a concept.

    problem, answer (G, 2): rows of the problem that the network is asked about and of the one whose
    answer the state is; noise (G, 2, d): the state's noise in units of σ_k, the same in all landscapes;
    confounders (G, 2, C): standardised; unit (G,): pairs that share problems; fold (G,).
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


def matched(value: NDArray, confounders: NDArray, fold: NDArray, caliper: float) -> NDArray:
    """Pairs (G, 2) of problems, low and high in `value` (P,), alike in `confounders` (P, C).

    From the lower and the upper third of what a quadratic in the confounders leaves of the value,
    within folds by optimal assignment (Euclidean, standardised columns); pairs farther apart than
    `caliper`, or with the values the other way round, are dropped.
    """
    left = value - _quadratic(confounders, value)
    low, high = np.quantile(left, [1 / 3, 2 / 3])
    pairs = _assigned(left <= low, left >= high, confounders, fold, caliper)
    return pairs[value[pairs[:, 1]] > value[pairs[:, 0]]]


def _assigned(
    first: NDArray, second: NDArray, z: NDArray, fold: NDArray, caliper: float
) -> NDArray:
    """Rows (G, 2) of z, of `first` (P,) and of `second`, within folds and the caliper."""
    from scipy.optimize import linear_sum_assignment

    pairs = []
    for f in np.unique(fold):
        one, two = (np.flatnonzero((fold == f) & side) for side in (first, second))
        apart = np.linalg.norm(z[one][:, None] - z[two], axis=-1)
        # Beyond the caliper all are equally bad, so that as many as possible lie within it.
        near = apart <= caliper
        rows, columns = linear_sum_assignment(np.where(near, apart, 100 * caliper))
        kept = near[rows, columns]
        pairs.append(np.stack([one[rows[kept]], two[columns[kept]]], 1))
    return np.concatenate(pairs)


def _quadratic(z: NDArray, value: NDArray) -> NDArray:
    """Least squares of value (P,) on the monomials of z (P, C) up to degree 2."""
    i, j = np.triu_indices(z.shape[1])
    X = np.column_stack([np.ones(len(z)), z, z[:, i] * z[:, j]])
    return X @ np.linalg.lstsq(X, value, rcond=None)[0]


def pairs(
    energy: Energy, population: Population, most: int, caliper: float, generator: torch.Generator
) -> list[Pairs]:
    """At most `most` pairs of each of CONCEPTS, in this order.

    Raises ValueError where a fold is left with less than two pairs of a concept.
    """
    shown = [
        *(property_pairs(energy, population, name, most, caliper, generator) for name in OF_PROBLEMS),
        noisy_pairs(energy, population, most, generator),
        correct_pairs(energy, population, most, caliper, generator),
    ]
    for own in shown:
        if np.bincount(own.fold, minlength=population.fold.max() + 1).min() < 2:
            few = f"too few matched pairs of '{own.concept}' ({len(own)})"
            raise ValueError(f"{few}: more problems, or a wider caliper")
    return shown


def property_pairs(
    energy: Energy, population: Population, concept: str, most: int, caliper: float,
    generator: torch.Generator,
) -> Pairs:
    """Noised answers of matched problems, low and high in a property of the matrix."""  # fmt: skip
    place = OF_PROBLEMS.index(concept)
    others = np.delete(population.measures, place, 1)
    found = matched(population.measures[:, place], others, population.fold, caliper)
    found = found[_some(len(found), most, generator)]
    noise = _noise(energy, len(found), generator)
    fold = population.fold[found[:, 0]]
    return Pairs(concept, found, found, noise, others[found], np.arange(len(found)), fold)


def noisy_pairs(
    energy: Energy, population: Population, most: int, generator: torch.Generator
) -> Pairs:
    """Two states of one problem: nearer to its answer than MIDDLE noise radii, and farther from it."""
    problem = _some(len(population.fold), most, generator)[:, None].repeat(2, 1)
    share = torch.rand(
        len(problem), 2, generator=generator, dtype=torch.float64, device=generator.device
    )
    low, high = torch.tensor([[NEAR, MIDDLE], [MIDDLE, FAR]], dtype=torch.float64)
    radii = (low + (high - low) * share.cpu()) * energy.coordinates.size**0.5
    u = torch.nn.functional.normalize(_noise(energy, len(problem), generator), dim=-1)
    return Pairs(
        "noisy_answer", problem, problem, radii[..., None] * u, population.measures[problem],
        np.arange(len(problem)), population.fold[problem[:, 0]],
    )  # fmt: skip


def correct_pairs(
    energy: Energy, population: Population, most: int, caliper: float, generator: torch.Generator
) -> Pairs:
    """The noised answer of the problem, and of another one that is like it in all OF_PROBLEMS.

    Both problems of a match are asked about, so that neither the problems nor the states tell the two
    sides apart: only how they belong together does.
    """
    side = np.zeros(len(population.fold), dtype=bool)
    side[_some(len(side), len(side) // 2, generator)] = True
    two = _assigned(side, ~side, population.measures, population.fold, caliper)
    two = two[_some(len(two), most // 2, generator)]
    asked = np.concatenate([two, two[:, ::-1]])
    answer = asked[:, ::-1].copy()  # the other's, then its own
    problem = asked[:, :1].repeat(2, 1)
    unit = np.tile(np.arange(len(two)), 2)
    return Pairs(
        "correct_answer", problem, answer, _noise(energy, len(asked), generator),
        population.measures[answer], unit, population.fold[problem[:, 0]],
    )  # fmt: skip


def _some(count: int, most: int, generator: torch.Generator) -> NDArray:
    """At most `most` of `count` rows at random."""
    order = torch.randperm(count, generator=generator, device=generator.device)
    return order[:most].cpu().numpy()


def _noise(energy: Energy, count: int, generator: torch.Generator) -> Tensor:
    like = torch.zeros(0, dtype=torch.float64)
    return points.noise(energy, count, 2, generator=generator, like=like)


def balance(population: Population, shown: Sequence[Pairs]) -> DataFrame:
    """How unlike the two sides are: rows concept, measure, smd_before, smd_after, apart, label_before,
    label_after, pairs.

    smd: mean difference in pooled standard deviations; label: correlation of measure and label; before
    matching the sides are the upper and lower third of the problems (for the last two concepts, draws
    without any choice: 0). apart: mean size of the difference in a pair, in deviations of the problems.
    """
    rows = []
    for own in shown:
        for place, measure in enumerate(OF_PROBLEMS):
            x, before = population.measures[:, place], (0.0, 0.0)
            if own.concept in OF_PROBLEMS:
                value = population.measures[:, OF_PROBLEMS.index(own.concept)]
                low, high = np.quantile(value, [1 / 3, 2 / 3])
                before = difference(x[value <= low], x[value >= high])
            after = difference(*x[own.answer].T)
            apart = float(np.abs(np.diff(x[own.answer])).mean())
            numbers = (before[0], after[0], apart, before[1], after[1], len(own))
            rows.append((own.concept, measure, *numbers))
    names = "concept measure smd_before smd_after apart label_before label_after pairs"
    return DataFrame(rows, columns=names.split())


def difference(low: NDArray, high: NDArray) -> tuple[float, float]:
    """Of a measure of two sides: standardised mean difference, and correlation with the side."""
    spread = np.sqrt((low.var() + high.var()) / 2)
    both, label = np.concatenate([low, high]), np.repeat([0.0, 1.0], [len(low), len(high)])
    return float((high.mean() - low.mean()) / spread), float(np.corrcoef(both, label)[0, 1])


# Activations, and how E depends on them


@torch.no_grad()
def activations(
    energy: Energy, A: Tensor, y0: Tensor, shown: Pairs, k: int, layers: Sequence[str]
) -> dict[str, NDArray]:
    """Activations (G, 2, width) of the pairs in landscape k; of INPUT, coordinates of A and of y."""
    states, found = shown.states(energy, y0, k), {layer: [] for layer in layers}
    for rows in torch.arange(len(shown)).split(_CHUNK):
        # Both states of a pair: one batch, since they may ask about different problems.
        own = A[torch.as_tensor(shown.problem[rows.numpy()].ravel(), device=A.device)]
        y = states[rows.to(states.device)].flatten(0, 1)
        seen = energy.activations(own, y, k)
        if INPUT in layers:
            basis = energy.coordinates.to_basis
            seen = seen | {INPUT: torch.cat([basis(own.flatten(-2)), basis(y)], -1)}
        for layer in layers:
            found[layer].append(array(seen[layer]).reshape(len(rows), 2, -1))
    return {layer: np.concatenate(parts) for layer, parts in found.items()}


@dataclass(frozen=True)
class Slopes:
    """∂E/∂h of a layer's activations at F fresh problems, each (F, width).

    energy: of E at a noised answer; gap: of E there less E at the answer, each at its own activations.
    """

    energy: NDArray
    gap: NDArray


def slopes(
    energy: Energy, A: Tensor, y0: Tensor, k: int, layers: Sequence[str], generator: torch.Generator
) -> dict[str, Slopes]:
    """Of problems A (F, n, n) with answers y0 (F, d), at one noised answer of each in landscape k."""
    y = points.noised(energy, y0, k, 1, generator)[0][:, 0]
    found, prepared = {}, energy.prepare(A)
    at = [energy.activations(prepared, state, k) for state in (y, points.centre(energy, y0, k))]
    for layer in layers:
        g, home = (_slope(energy, layer, seen[layer], prepared, k) for seen in at)
        found[layer] = Slopes(array(g), array(g - home))
    return found


def _slope(energy: Energy, layer: str, h: Tensor, prepared: object, k: int) -> Tensor:
    with torch.enable_grad():
        h = h.detach().requires_grad_()
        return torch.autograd.grad(energy.resume(layer, h, prepared, k).sum(), h)[0]


# CAVs


def fit(method: str, h: NDArray, z: NDArray) -> NDArray:
    """The CAV (width,), of length 1, of pairs with activations h (G, 2, width) and confounders z
    (G, 2, C).

    filter: weights of a logistic regression on standardised activations, mapped back; pattern: mean
    difference of the sides; partialled: activations and labels first lose what a linear map of the
    confounders explains (what is left gives the label's coefficients in a regression on both: Frisch,
    Waugh & Lovell); the filter is then ridge regression, which labels need not be 0 and 1 for.
    """
    if method == "filter":
        found = _logistic(h)
    elif method == "filter_partialled":
        found = _discriminant(*_partial(h, z))
    else:
        found = contributions(h, z if method == "pattern_partialled" else z[..., :0]).mean(0)
    return found / max(np.linalg.norm(found), 1e-300)


def contributions(h: NDArray, z: NDArray) -> NDArray:
    """What each pair adds to the partialled pattern, (G, width): the difference of its sides less what
    the confounders explain. With the sides of pairs swapped at random they add up to random CAVs."""
    left, _ = _partial(h, z)
    return left[:, 1] - left[:, 0]


def random_cavs(parts: NDArray, unit: NDArray, count: int, rng: np.random.Generator) -> NDArray:
    """CAVs (count, width) of the same pairs with their labels swapped at random, a unit at a time."""
    together = np.zeros((unit.max() + 1, parts.shape[1]), dtype=parts.dtype)
    np.add.at(together, unit, parts)
    found = _signs(count, len(together), rng).astype(parts.dtype) @ together
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-300)


def _signs(count: int, units: int, rng: np.random.Generator) -> NDArray:
    return rng.integers(0, 2, (count, units), dtype=np.int8) * 2 - 1


def _partial(h: NDArray, z: NDArray) -> tuple[NDArray, NDArray]:
    """What a linear map of z (G, 2, C) leaves of h (G, 2, width) and of the labels ±1 (G, 2)."""
    X = np.column_stack([np.ones(2 * len(h)), z.reshape(2 * len(h), -1)])
    Q = np.linalg.qr(X)[0] if X.shape[1] < len(X) else X[:, :1] / len(X) ** 0.5
    rows, labels = h.reshape(2 * len(h), -1), _labels(len(h)) * 2.0 - 1
    left = rows - Q @ (Q.T @ rows), labels - Q @ (Q.T @ labels)
    return left[0].reshape(h.shape), left[1].reshape(-1, 2)


def _labels(count: int) -> NDArray:
    return np.tile([0, 1], count)


def _standard(rows: NDArray) -> tuple[NDArray, NDArray]:
    """Standardised columns and the deviations; what hardly varies is left at 0."""
    spread = rows.std(0)
    spread = np.where(spread > 1e-9 * spread.max(initial=1e-300), spread, np.inf)
    return (rows - rows.mean(0)) / spread, spread


def _logistic(h: NDArray) -> NDArray:
    from sklearn.linear_model import LogisticRegression

    x, spread = _standard(h.reshape(2 * len(h), -1))
    found = LogisticRegression(C=STRENGTH, tol=1e-3, max_iter=1000).fit(x, _labels(len(h)))
    return found.coef_[0] / spread


def _discriminant(h: NDArray, labels: NDArray) -> NDArray:
    x, spread = _standard(h.reshape(2 * len(h), -1))
    # The logistic loss bends by 1/4 where it is steepest: the penalty that C stands for there.
    gram = x.T @ x + 4 / STRENGTH * np.eye(x.shape[1])
    return np.linalg.solve(gram, x.T @ labels.ravel()) / spread


def held_out(method: str, h: NDArray, z: NDArray, fold: NDArray) -> NDArray:
    """The CAVs (folds, width) that were fitted without each fold of the pairs (G,)."""
    return np.stack([fit(method, h[fold != f], z[fold != f]) for f in np.unique(fold)])


def auroc_values(cavs: NDArray, h: NDArray, fold: NDArray) -> NDArray:
    """How well CAVs (folds, width) tell the sides of the pairs of their own fold apart, by the
    projection alone: (G,) values whose mean is the AUROC (folds weighted by their pairs).

    Each is what a pair's two states say of the AUROC (placements, DeLong et al. 1988), so that values
    spread, and can be compared between CAVs, as if they were measurements of one pair.
    """
    values = np.empty(len(h))
    for f, cav in zip(np.unique(fold), cavs, strict=True):
        own = fold == f
        low, high = (h[own] @ cav).T
        above, below = placements(high, low)
        values[own] = above + below - above.mean()
    return values


def auroc(values: NDArray, unit: NDArray, level: float = 0.95) -> Interval:
    """Mean and interval of `auroc_values`, over the units of pairs.

    The interval is of these CAVs, which is what matters where there is a concept (simulated: 94.5 %
    cover the truth). Where labels mean nothing it is too narrow (19 % exclude 0.5), since folds that
    train on each other err together: see the rows of random labels.
    """
    return _bounded(student_interval(values, level, unit))


def _bounded(interval: Interval) -> Interval:
    low, high = (float(np.clip(v, 0, 1)) for v in (interval.low, interval.high))
    return Interval(interval.estimate, low, high, interval.level, interval.units, interval.method)


# What the energy makes of them


@dataclass(frozen=True)
class Tcav:
    """Testing with CAVs, for one CAV and R random ones at F problems.

    score (1 + R,): share of the problems at which the derivative along the CAV is positive (0 counts
    half); mean (1 + R,): mean derivative along it, which is of length 1. The first is the concept's.
    """

    score: NDArray
    mean: NDArray
    problems: int

    def interval(self, level: float = 0.95) -> Interval:
        """Of the score, exact over problems."""
        count = round(self.score[0] * self.problems)
        return intervals.proportion_interval(count, self.problems, level)

    def p(self, what: str) -> float:
        """Two-sided, by the rank among the random CAVs, of "score" or "mean"."""
        values = getattr(self, what)
        # What differs by rounding is the same.
        slack = 1e-9 * np.abs(values).max()
        above = (values >= values[0] - slack).sum()
        below = (values <= values[0] + slack).sum()
        return float(min(1.0, 2 * min(above, below) / len(values)))


def tcav(cav: NDArray, random: NDArray, slopes: NDArray) -> Tcav:
    """Derivatives along a CAV (width,) and random ones (R, width), given slopes (F, width).

    The random ones come from the same pairs with labels swapped, so under the null (labels that mean
    nothing) the concept's rank among them is uniform, whatever distribution scores have. That matters
    here: where all slopes nearly agree, every direction scores 0 or 1, and a t-test on the scores, as
    in Kim et al., would not hold. R bounds what can be found: no p is below 2/(R + 1).
    """
    every = np.concatenate([cav[None], random]).astype(slopes.dtype)
    along = every @ slopes.T
    score = ((along > 0).mean(1) + (along >= 0).mean(1)) / 2
    return Tcav(score.astype(np.float64), along.mean(1, dtype=np.float64), len(slopes))


def agreement(
    h: NDArray, z: NDArray, unit: NDArray, fold: NDArray, count: int, rng: np.random.Generator
) -> NDArray:
    """Cosine of the primary CAVs of disjoint halves of the problems, averaged over the ways to halve
    the folds: (1 + count,), the first of the pairs as they are, the others with labels swapped at
    random."""
    names = np.unique(fold)
    signs = _signs(count, unit.max() + 1, rng)[:, unit]
    signs = np.concatenate([np.ones((1, len(fold))), signs])
    cosines = []
    for others in combinations(names[1:], len(names) // 2 - 1):
        one = np.isin(fold, (names[0], *others))
        sides = [signs[:, half] @ contributions(h[half], z[half]) for half in (one, ~one)]
        sizes = [np.maximum(np.linalg.norm(side, axis=1), 1e-300) for side in sides]
        cosines.append((sides[0] * sides[1]).sum(1) / (sizes[0] * sizes[1]))
    return np.mean(cosines, axis=0)


# Concepts by degrees, and by regions


@dataclass(frozen=True)
class Regression:
    """A regression concept vector (Graziani et al. 2018) of one concept.

    vector (width,): of length 1, along which the concept's value grows (ridge regression on
    standardised activations, mapped back); r2: of problems that it was not fitted to.
    """

    vector: NDArray
    r2: Interval

    def relevance(self, slopes: NDArray) -> float:
        """Bidirectional relevance R²·mean/deviation of the derivatives along it at slopes (F, width): 0
        where the concept is not there to be seen."""
        along = slopes @ self.vector
        return float(max(self.r2.estimate, 0.0) * along.mean() / max(along.std(), 1e-300))


def regressions(
    h: NDArray, values: NDArray, unit: NDArray, fold: NDArray
) -> list[Regression]:
    """Of Q concepts with values (N, Q), at activations h (N, width). Folds and units as for pairs."""
    from sklearn.linear_model import RidgeCV

    def ridge(rows: NDArray) -> tuple[NDArray, NDArray]:
        """Slopes (width, Q) and constants."""
        x, spread = _standard(h[rows])
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
        Regression(v, student_interval(_explained(e, s), groups=unit))
        for v, e, s in zip(vectors.T, missed.T, spread.T, strict=True)
    ]


def _explained(missed: NDArray, spread: NDArray) -> NDArray:
    """Values (N,) whose mean is 1 − Σ missed / Σ spread, linearised around it."""
    left = missed.sum() / spread.sum()
    return 1 - left - (missed - left * spread) / spread.mean()


def accuracies(h: NDArray, z: NDArray, unit: NDArray, fold: NDArray) -> dict[str, Interval]:
    """Share of held-out states put on the right side: "linear", by the filter, and "region", by a
    concept activation region (Crabbé & van der Schaar 2022): a support vector classifier with a
    Gaussian kernel, on standardised activations, of scikit-learn's usual width and strength."""
    from sklearn.metrics.pairwise import rbf_kernel
    from sklearn.svm import SVC

    labels, right = _labels(len(h)).reshape(-1, 2), {"linear": [], "region": []}
    for f in np.unique(fold):
        train, test = h[fold != f], h[fold == f]
        mean = train.mean((0, 1))
        cav = fit("filter", train, z[fold != f])
        spread = _standard(train.reshape(-1, h.shape[2]))[1]
        x, new = ((rows - mean).reshape(-1, h.shape[2]) / spread for rows in (train, test))
        width = x.shape[1] * x.var() or 1.0  # scikit-learn's usual one; its own kernels take six times as long
        kernels = (rbf_kernel(rows, x, gamma=1 / width) for rows in (x, new))
        region = SVC(kernel="precomputed").fit(next(kernels), _labels(len(train)))
        region = region.predict(next(kernels)).reshape(-1, 2)
        # The sides are of equal size, so the classes meet halfway between their means.
        line = (test - mean) @ cav > 0
        for name, said in (("linear", line), ("region", region)):
            right[name].append((said == labels[fold == f]).mean(1))
    order = np.concatenate([np.flatnonzero(fold == f) for f in np.unique(fold)])
    return {
        name: _bounded(student_interval(np.concatenate(found), groups=unit[order]))
        for name, found in right.items()
    }


# All concepts, layers and landscapes of one network


Cell = tuple[str, int]  # layer and landscape


@dataclass(frozen=True)
class Study:
    """What CAVs of one network say, one row a concept, layer and landscape.

    auroc: method, labels ("own", or "random": sides swapped), auroc, low, high (also of INPUT).
    confusion: pairs (whose AUROC it is), method ("filter" or PRIMARY), auroc, low, high.
    tcav: of ("gap", "energy"), score, low, high, null_low, null_high (central 95 % of random CAVs'),
    mean, mean_low, mean_high, mean_null (root mean square), p_score, p_mean, adjusted_score and
    adjusted_mean (Benjamini-Hochberg over both p-values of all rows of "gap", and of "energy").
    agreement: cosine, null (mean), null_high (97.5 %), p (one-sided), of PRIMARY.
    cavs: (width,) by concept, layer, landscape and method; values: `auroc_values` by the same.
    """

    auroc: DataFrame
    confusion: DataFrame
    tcav: DataFrame
    agreement: DataFrame
    cavs: dict[tuple[str, str, int, str], NDArray]
    values: dict[tuple[str, str, int, str], NDArray]
    shown: tuple[Pairs, ...]

    def tables(self) -> dict[str, DataFrame]:
        return {name: getattr(self, name) for name in ("auroc", "confusion", "tcav", "agreement")}

    def beyond_random(self, layer: str) -> dict[str, int]:
        """How many of the layer's CAVs are beyond the random ones in what the gap makes of them, at 5 %
        after correction: by_score, by_mean; and of how many (tests)."""
        rows = self.tcav.query("of == 'gap' and layer == @layer")
        sure = {what: rows[f"adjusted_{what}"] < 0.05 for what in ("score", "mean")}
        found = {f"by_{what}": int(seen.sum()) for what, seen in sure.items()}
        return found | {"tests": len(rows)}

    def best(self) -> DataFrame:
        """Of each concept and layer the landscape whose primary CAV has the highest held-out AUROC."""
        rows = self.auroc.query("labels == 'own' and method == @PRIMARY and layer != @INPUT")
        return rows.loc[rows.groupby(["concept", "layer"], sort=False)["auroc"].idxmax()]

    def found(self) -> list[Direction]:
        """Their CAVs, to be handed on."""
        return [
            Direction(
                f"concept {row.concept} {row.layer} k={row.landscape}", "concept", row.layer,
                int(row.landscape), row.concept, float(row.auroc), "held-out AUROC",
                torch.from_numpy(self.cavs[row.concept, row.layer, row.landscape, PRIMARY]),
            ).unit()
            for row in self.best().itertuples()
        ]  # fmt: skip

    def told_apart(self) -> DataFrame:
        """For each CAV of `best`, whether it tells its own pairs apart better than any other concept's,
        in either direction: columns concept, layer, landscape, low, other, other_high, apart. Of the
        two 95 % intervals the lower end of one must lie above the upper end of the other."""
        rows = []
        for row in self.best().itertuples():
            cav = self.confusion.query(
                "concept == @row.concept and layer == @row.layer and landscape == @row.landscape "
                "and method == @PRIMARY and pairs != @row.concept"
            )
            reach = np.maximum(cav["high"], 1 - cav["low"])
            worst = reach.idxmax()
            rows.append((row.concept, row.layer, row.landscape, row.low, cav["pairs"][worst],
                         reach[worst], row.low > reach[worst]))  # fmt: skip
        names = "concept layer landscape low other other_high apart"
        return DataFrame(rows, columns=names.split())

    def ahead(self, untrained: Study, level: float = 0.95) -> DataFrame:
        """By how much the filter's AUROC exceeds that of the same classifier on the input, and on an
        untrained network, on the same held-out pairs: rows of `best`, of, gain, low, high (intervals
        corrected for their number: Bonferroni), sure (low above 0)."""
        best, rows = self.best(), []
        units = {own.concept: own.unit for own in self.shown}
        for row in best.itertuples():
            here = self.values[row.concept, row.layer, row.landscape, "filter"]
            for of, other, layer in (("input", self, INPUT), ("untrained", untrained, row.layer)):
                there = other.values[row.concept, layer, row.landscape, "filter"]
                corrected = 1 - (1 - level) / (2 * len(best))
                gain = student_interval(here - there, corrected, units[row.concept])
                rows.append((row.concept, row.layer, row.landscape, of, *_row(gain)))
        found = DataFrame(rows, columns="concept layer landscape of gain low high".split())
        return found.assign(sure=found["low"] > 0)

    def mean_auroc(self, level: float = 0.95) -> Interval:
        """Mean held-out AUROC of the CAVs of `best`: layers share pairs and are averaged first,
        concepts are drawn separately."""
        best, parts = self.best(), []
        for own in self.shown:
            rows = best[best["concept"] == own.concept]
            keys = rows[["concept", "layer", "landscape"]].itertuples(index=False)
            values = [self.values[*key, PRIMARY] for key in keys]
            parts.append(student_interval(np.mean(values, axis=0), level, own.unit))
        mean = float(np.mean([part.estimate for part in parts]))
        reach = float(np.sqrt(sum((part.high - part.low) ** 2 for part in parts)) / 2 / len(parts))
        units = sum(part.units for part in parts)
        return Interval(mean, mean - reach, mean + reach, level, units, "t")


def study(
    energy: Energy, A: Tensor, y0: Tensor, shown: Sequence[Pairs], layers: Sequence[str],
    sloping: Mapping[Cell, Slopes], random: int, rng: np.random.Generator,
) -> Study:
    """CAVs of all concepts in these layers, of problems A (P, n, n) with answers y0 (P, d), and
    `random` random ones of each. Landscapes are those of `sloping` (see `all_slopes`), which has all
    layers but INPUT."""  # fmt: skip
    landscapes = list(dict.fromkeys(k for _, k in sloping))
    aurocs, confusions, tests, agreements, cavs, values = [], [], [], [], {}, {}
    for k in landscapes:
        seen = [activations(energy, A, y0, own, k, layers) for own in shown]
        for layer in layers:
            h = [one[layer] for one in seen]
            for own, here in zip(shown, h, strict=True):
                key, z = (own.concept, layer, k), own.confounders
                for method in METHODS:
                    folds = held_out(method, here, z, own.fold)
                    values[*key, method] = auroc_values(folds, here, own.fold)
                    aurocs.append((*key, method, "own", *_row(auroc(values[*key, method], own.unit))))
                    if layer == INPUT:
                        continue
                    cavs[*key, method] = fit(method, here, z)
                    if method in ("filter", PRIMARY):
                        confusions += [
                            (*key, other.concept, method,
                             *_row(auroc(auroc_values(folds, there, other.fold), other.unit)))
                            for other, there in zip(shown, h, strict=True)
                        ]  # fmt: skip
                    if method == "filter":
                        swapped = _swapped(own, rng)
                        wrong = held_out(method, here[swapped], z[swapped], own.fold)
                        wrong = auroc_values(wrong, here[swapped], own.fold)
                        aurocs.append((*key, method, "random", *_row(auroc(wrong, own.unit))))
                if layer != INPUT:
                    parts = contributions(here, z).astype(np.float32)
                    drawn = random_cavs(parts, own.unit, random, rng)
                    for of in ("gap", "energy"):
                        slope = getattr(sloping[layer, k], of)
                        tests.append((*key, of, *_tested(cavs[*key, PRIMARY], drawn, slope)))
                    cosines = agreement(here, z, own.unit, own.fold, 199, rng)
                    agreements.append((
                        *key, cosines[0], cosines[1:].mean(), np.quantile(cosines[1:], 0.975),
                        (cosines >= cosines[0]).mean(),
                    ))  # fmt: skip
    key = ["concept", "layer", "landscape"]
    tcavs = DataFrame(tests, columns=[*key, *_TESTED.split()])
    for _, rows in tcavs.groupby("of"):
        adjusted = intervals.adjust(rows[["p_score", "p_mean"]].to_numpy())
        tcavs.loc[rows.index, ["adjusted_score", "adjusted_mean"]] = adjusted
    return Study(
        DataFrame(aurocs, columns=[*key, "method", "labels", "auroc", "low", "high"]),
        DataFrame(confusions, columns=[*key, "pairs", "method", "auroc", "low", "high"]), tcavs,
        DataFrame(agreements, columns=[*key, "cosine", "null", "null_high", "p"]), cavs, values,
        tuple(shown),
    )  # fmt: skip


_TESTED = (
    "of score low high null_low null_high mean mean_low mean_high mean_null p_score p_mean"
)


def _tested(cav: NDArray, random: NDArray, slope: NDArray) -> tuple[float, ...]:
    found = tcav(cav, random, slope.astype(np.float32))
    share, mean = found.interval(), student_interval(slope @ cav)
    null = np.quantile(found.score[1:], [0.025, 0.975])
    return (found.score[0], share.low, share.high, *null, *_row(mean),
            (found.mean[1:] ** 2).mean() ** 0.5, found.p("score"), found.p("mean"))  # fmt: skip


def _row(interval: Interval) -> tuple[float, float, float]:
    return interval.estimate, interval.low, interval.high


def _swapped(own: Pairs, rng: np.random.Generator) -> tuple[NDArray, NDArray]:
    """Index of pairs (G, 2, …) that swaps the sides of half of the units at random."""
    turn = rng.integers(0, 2, own.unit.max() + 1)[own.unit]
    return np.arange(len(own))[:, None], np.stack([turn, 1 - turn], 1)


def all_slopes(
    energy: Energy, A: Tensor, y0: Tensor, landscapes: Sequence[int], layers: Sequence[str],
    generator: torch.Generator,
) -> dict[Cell, Slopes]:
    """`slopes` of all layers in all landscapes."""  # fmt: skip
    found = {}
    for k in landscapes:
        here = slopes(energy, A, y0, k, layers, generator)
        found |= {(layer, k): here[layer] for layer in layers}
    return found


def regress(
    energy: Energy, A: Tensor, y0: Tensor, population: Population, states: Pairs,
    layers: Sequence[str], sloping: Mapping[Cell, Slopes],
) -> DataFrame:
    """Concept regression of the concepts that have degrees, on the states of `noisy_pairs` of many
    problems: rows concept, layer, landscape, r2, low, high, relevance (of the gap; 0 for INPUT, which
    has no slopes here)."""  # fmt: skip
    rows, problem = [], states.problem.ravel()
    distance = array(states.noise.norm(dim=-1)).reshape(-1, 1)
    values = np.column_stack([population.measures[problem], distance])
    fold, unit = (v.repeat(2) for v in (states.fold, states.unit))
    for k in dict.fromkeys(k for _, k in sloping):
        for layer, h in activations(energy, A, y0, states, k, layers).items():
            found = regressions(h.reshape(len(problem), -1), values, unit, fold)
            for concept, one in zip((*OF_PROBLEMS, "noisy_answer"), found, strict=True):
                relevance = one.relevance(sloping[layer, k].gap) if layer != INPUT else 0.0
                rows.append((concept, layer, k, *_row(one.r2), relevance))
    return DataFrame(rows, columns="concept layer landscape r2 low high relevance".split())


def regions(energy: Energy, A: Tensor, y0: Tensor, shown: Sequence[Pairs], at: DataFrame) -> DataFrame:
    """`accuracies` at the rows of `at` (concept, layer, landscape): beside these columns classifier
    ("linear", "region"), accuracy, low, high."""
    rows, pairs_of = [], {own.concept: own for own in shown}
    for concept, layer, k in at[["concept", "layer", "landscape"]].itertuples(index=False):
        own = pairs_of[concept]
        h = activations(energy, A, y0, own, k, (layer,))[layer]
        found = accuracies(h, own.confounders, own.unit, own.fold)
        rows += [(concept, layer, k, name, *_row(one)) for name, one in found.items()]
    return DataFrame(rows, columns="concept layer landscape classifier accuracy low high".split())
