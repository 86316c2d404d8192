"""Rank correlations (Spearman) of units with properties of the problem: do features follow them better than neurons?

The problem is the unit: tokens of one problem share its matrix. Properties of the matrix are held
against a unit's mean activation over the problem's tokens, properties of a token against its
activation at one token drawn from each problem. Features, neurons, principal components and random
dictionaries stand side by side; what has more units has a larger best correlation by chance, so
each kind gets a null of its own (the maximum over its units with problems permuted).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from pandas import DataFrame
from torch import Tensor

from ired.instruments.accuracy.predictors import power_features
from ired.instruments.core.random_directions import covariance_matched
from ired.instruments.core.states import array
from ired.instruments.dictionaries.sparse_autoencoder import Dictionary, given_dictionary
from ired.instruments.statistics.intervals import rank_p_values
from ired.instruments.statistics.spectra import entropy_rank
from ired.model.protocol import Energy

MATRIX = (
    "condition_number",
    "trace",
    "norm",
    "log_determinant",
    "smallest_eigenvalue",
    "effective_rank",
)
# Spread over orders of magnitude: their logarithm is what ridge predicts. Ranks do not care.
LOGARITHMIC = ("condition_number", "smallest_eigenvalue", "error")
# Noise is larger in blurrier landscapes: without them held fixed, error is the landscape's shadow.
CONFOUNDED = ("error",)
FEWEST = 5  # problems at which a unit must differ from its median to be correlated at all


@dataclass(frozen=True)
class Units:
    """What U units of one kind say about P problems.

    mean (P, U): mean activation over a problem's tokens; single (P, U): at its one drawn token.
    """

    kind: str
    mean: NDArray
    single: NDArray

    def of(self, what: str) -> NDArray:
        return self.mean if what == "problem" else self.single


@dataclass(frozen=True)
class Property:
    """A property of P problems, or of their drawn tokens.

    values (P,) float64; of: "problem" or "token"; strata (P,): problems are compared with those of
    their stratum alone, so that what defines strata explains nothing.
    """

    name: str
    values: NDArray
    of: str
    strata: NDArray

    @property
    def target(self) -> NDArray:
        """What a linear map is asked to predict."""
        spread = self.name.split(" at ")[0] in LOGARITHMIC
        return np.log(np.maximum(self.values, 1e-12)) if spread else self.values


def effective_rank(A: Tensor) -> Tensor:
    """exp of the entropy of the normalised spectrum (Roy & Vetterli 2007) of SPD A (B, n, n): (B,)."""
    return torch.from_numpy(entropy_rank(array(torch.linalg.eigvalsh(A.double()))))


def one_token_each(problem: ArrayLike, rng: np.random.Generator) -> NDArray:
    """A random token of every problem, as row numbers (P,), from the problem (N,) of each token."""
    problem = np.asarray(problem)
    order = np.lexsort((rng.random(len(problem)), problem))
    return order[np.unique(problem[order], return_index=True)[1]]


def problem_properties(values: Mapping[str, ArrayLike]) -> list[Property]:
    """Properties (P,) of the matrices, by name."""
    properties = []
    for name, value in values.items():
        value = np.asarray(value, dtype=np.float64)
        properties.append(Property(name, value, "problem", np.zeros(len(value), dtype=int)))
    return properties


def token_properties(distance: ArrayLike, landscape: ArrayLike, kind: ArrayLike) -> list[Property]:
    """The landscape of the drawn tokens, and their distance (P,) from the answer in noise radii: as
    it is, at equal landscape, and at equal landscape and kind (noised answer or sampling path)."""
    distance, landscape, kind = (np.asarray(v) for v in (distance, landscape, kind))
    distance, all_alike = distance.astype(np.float64), np.zeros(len(landscape), dtype=int)
    cells = np.unique(np.stack([landscape, kind]), axis=1, return_inverse=True)[1].ravel()
    return [
        Property("landscape", landscape.astype(np.float64), "token", all_alike),
        Property("error", distance, "token", all_alike),
        Property("error at one landscape", distance, "token", np.unique(landscape, return_inverse=True)[1]),
        Property("error at one landscape and kind", distance, "token", cells),
    ]


def properties_of(
    A: Tensor, of_matrix: Mapping[str, ArrayLike], columns: Mapping[str, Tensor], token: NDArray
) -> list[Property]:
    """MATRIX of problems A (P, n, n), all but the effective rank given, and what their drawn tokens are."""
    values = {**of_matrix, "effective_rank": effective_rank(A)}
    drawn = (columns[name][token] for name in ("distance", "landscape", "kind"))
    return problem_properties({name: values[name] for name in MATRIX}) + token_properties(*drawn)


def property_correlations(properties: Sequence[Property]) -> DataFrame:
    """Spearman's ρ of all pairs of properties, rows first, second, rho: who follows one follows the
    others too. Strata play no part here."""
    x = np.stack([q.values for q in properties], 1)
    z, names = rank_scores(x, np.zeros(len(x), dtype=int)), [q.name for q in properties]
    return DataFrame(
        {
            "first": np.repeat(names, len(names)),
            "second": np.tile(names, len(names)),
            "rho": (z.T @ z).clip(-1, 1).ravel(),
        }
    )


# Kinds of units


def input_units(A: Tensor, y: Tensor) -> list[Units]:
    """What the network is given, as units: the upper triangle of A (P, n, n), beside it the state y
    (P, d) for token properties; and the same with A² and squared entries of y."""
    units, y = [], y.double()
    for degree, name in ((1, "input"), (2, "input squared")):
        of_A, of_y = power_features(A, degree), [y**power for power in range(1, degree + 1)]
        units.append(Units(name, array(of_A), array(torch.cat([of_A, *of_y], 1))))
    return units


def encoders(
    sae: Dictionary, frozen: Dictionary, mean: Tensor, covariance: Tensor, generator: torch.Generator
) -> dict[str, Callable[[Tensor], Tensor]]:
    """From activations to units, by kind: features of `sae`; neurons; all principal components; `frozen`,
    whose decoder is random and whose encoder was trained; random directions of the data's covariance,
    as many as there are features, of which as many fire."""
    main, mean = principal_directions(covariance).to(sae.decoder), mean.to(sae.decoder)
    drawn = covariance_matched(covariance, sae.features, generator).to(sae.decoder)
    random = given_dictionary("topk", drawn, sae.mean, sae.scale, sae.k)
    return {
        "sae": sae.encode,
        "neuron": lambda x: x,
        "pca": lambda x: (x - mean) @ main.mT,
        "frozen": frozen.encode,
        "random": random.encode,
    }


def activations_of(
    energy: Energy, A: Tensor, columns: Mapping[str, Tensor], layer: str, chunk: int = 4096
) -> Iterator[Tensor]:
    """Activations (chunk, width) of another network at the same tokens: columns problem, y and landscape
    of all tokens, in order, and the problems A (P, n, n)."""
    for rows in torch.arange(len(columns["y"])).split(chunk):
        problems = A[columns["problem"][rows]]
        yield energy.activations(problems, columns["y"][rows], columns["landscape"][rows])[layer]


def principal_directions(covariance: Tensor, cutoff: float = 1e-10) -> Tensor:
    """Principal directions (m, width), the largest first; those that carry less than `cutoff` of the
    largest variance are rounding and left out."""
    values, vectors = torch.linalg.eigh(covariance.double())
    return vectors[:, values > cutoff * values.max()].flip(1).mT


@torch.no_grad()
def gather_units(
    kinds: Mapping[str, Callable[[Tensor], Tensor]],
    shards: Iterable[Tensor],
    problem: ArrayLike,
    token: NDArray,
    chunk: int = 8192,
) -> list[Units]:
    """Units of every kind from activations (N, width) that come in shards.

    kinds: from activations to units (…, U), by name; problem (N,) of each token, numbered 0..P−1;
    token (P,): the row of the token that stands for each problem.
    """
    problem, place = torch.as_tensor(np.asarray(problem)), 0
    count, drawn = torch.bincount(problem), torch.as_tensor(token)
    total: dict[str, Tensor] = {}
    single: dict[str, Tensor] = {}
    for x in (part for shard in shards for part in shard.split(chunk)):
        of_token = problem[place : place + len(x)]
        here = ((drawn >= place) & (drawn < place + len(x))).nonzero()[:, 0]
        for kind, encode in kinds.items():
            f = encode(x).cpu()
            if kind not in total:
                total[kind] = torch.zeros(len(count), f.shape[1], dtype=torch.float64)
                single[kind] = f.new_zeros(len(count), f.shape[1])
            total[kind].index_add_(0, of_token, f.double())
            single[kind][here] = f[drawn[here] - place]
        place += len(x)
    return [Units(k, array(total[k] / count[:, None]), array(single[k])) for k in kinds]


# Correlations


@dataclass(frozen=True)
class Correlations:
    """Spearman's correlation of every unit with every property, and what chance would give.

    rho, p (U, Q): two-sided p-values of the t-approximation; units that hardly ever differ have rho
    0 and p 1. null (R, Q): the largest |rho| over the kind's units with problems permuted.
    """

    kind: str
    properties: tuple[str, ...]
    rho: NDArray
    p: NDArray
    null: NDArray

    def table(self) -> DataFrame:
        """One row a test: kind, unit, property, rho, p."""
        count, Q = self.rho.shape
        return DataFrame(
            {
                "kind": self.kind,
                "unit": np.repeat(np.arange(count), Q),
                "property": np.tile(self.properties, count),
                "rho": self.rho.ravel(),
                "p": self.p.ravel(),
            }
        )

    def best(self, level: float = 0.95) -> DataFrame:
        """The unit of the largest |rho| for each property: kind, property, unit, rho, limit (what the
        largest stays below by chance, with probability `level`) and chance (the p-value of that).
        Last, as property "any", the largest over properties too."""
        size = np.abs(self.rho)
        unit = size.argmax(0)
        rho = self.rho[unit, np.arange(len(unit))]
        column = int(np.abs(rho).argmax())
        unit, rho = (np.append(v, v[column]) for v in (unit, rho))
        null = np.column_stack([self.null, self.null.max(1)])
        # Rounding must not make a permutation that changes nothing look smaller than what is seen.
        reached = (null >= np.abs(rho) - 1e-6).sum(0)
        return DataFrame(
            {
                "kind": self.kind,
                "property": [*self.properties, "any"],
                "unit": unit,
                "rho": rho,
                "limit": np.quantile(null, level, axis=0),
                "chance": (1 + reached) / (1 + len(null)),
            }
        )


def correlate_units(
    units: Units, properties: Sequence[Property], rng: np.random.Generator, permutations: int = 300
) -> Correlations:
    """All units of a kind with all properties."""
    shape = units.mean.shape[1], len(properties)
    rho, p, null = np.zeros(shape), np.ones(shape), np.zeros((permutations, len(properties)))
    for columns, x, strata in held_against_the_same(units, properties):
        z = rank_scores(x, strata)
        y = rank_scores(np.stack([properties[q].values for q in columns], 1), strata)
        rho[:, columns] = np.clip(z.T @ y, -1, 1)
        freedom = len(x) - len(np.unique(strata)) - 1
        p[:, columns] = rank_p_values(rho[:, columns], freedom)
        narrow = z.astype(np.float32)
        for q, column in zip(columns, y.T, strict=True):
            null[:, q] = np.abs(_permuted(column, strata, permutations, rng) @ narrow).max(1)
    return Correlations(kind=units.kind, properties=tuple(q.name for q in properties), rho=rho, p=p, null=null)


def held_against_the_same(units: Units, properties: Sequence[Property]) -> Iterator[tuple[list[int], NDArray, NDArray]]:
    """Properties that are held against the same activations within the same strata."""
    groups: dict[tuple, list[int]] = {}
    for q, prop in enumerate(properties):
        groups.setdefault((prop.of, prop.strata.tobytes()), []).append(q)
    for columns in groups.values():
        first = properties[columns[0]]
        yield columns, units.of(first.of), first.strata


def rank_scores(x: NDArray, strata: NDArray) -> NDArray:
    """Ranks (P, U) within strata as shares of them, around 0 and of length 1; 0 for a unit that hardly
    ever differs from its median."""
    from scipy.stats import rankdata  # a second to import: only where it is used

    ranks, differ = np.zeros(x.shape), np.zeros(x.shape[1])
    for stratum in np.unique(strata):
        inside = strata == stratum
        ranks[inside] = (rankdata(x[inside], axis=0) - 0.5) / inside.sum() - 0.5
        differ += differing(x[inside])
    length = np.sqrt((ranks * ranks).sum(0))
    varies = (differ >= FEWEST) & (length > 0)
    return np.where(varies, ranks / np.where(varies, length, 1), 0)


def differing(x: NDArray) -> NDArray:
    """At how many of P problems each unit of x (P, U) differs from its median: (U,)."""
    middle = np.sort(x, axis=0)[(len(x) - 1) // 2]
    return (np.abs(x - middle) > 1e-10 * np.abs(x).max(0)).sum(0)


def _permuted(y: NDArray, strata: NDArray, count: int, rng: np.random.Generator) -> NDArray:
    """(count, P) float32: y with problems permuted within strata."""
    base = np.argsort(strata, kind="stable")
    order = np.argsort(rng.random((count, len(y))) + strata, axis=1)
    shuffled = np.empty((count, len(y)), dtype=np.float32)
    shuffled[:, base] = y[order]
    return shuffled
