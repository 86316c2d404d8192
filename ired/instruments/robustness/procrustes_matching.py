"""Orthogonal Procrustes and one-to-one matching: are the directions of independently trained networks the same?

Hidden layers of two networks have no basis in common: neuron 7 of one is not neuron 7 of the other,
and a cosine between their directions means nothing. What they share are inputs. So layers are compared
by what they do on the same *tokens* (a problem, a landscape, a state):

rotation   the orthogonal map that carries one network's activations best onto the other's (orthogonal
           Procrustes: Schönemann 1966, as in Ding et al. 2021, arXiv 2108.01661), after each
           landscape's own mean has been taken off;
matching   one to one between features, so that the sum of correlations of their activations over
           tokens is largest (Hungarian; Li et al. 2016, "Convergent learning", arXiv 1511.07543);
cosines    of directions of the state, which all networks share, in the same way.

Whatever is fitted is fitted on one half of the problems and judged on the other: a best match among
hundreds would look good on the tokens that chose it. Chance levels undergo the same: *shuffled*, the
other network's tokens permuted within landscapes (two networks that have only the landscape in
common); *random*, dictionaries of random directions of each network's own covariance, which have the
inputs in common and have learned nothing (the harder one).

Units are networks. Each pair of S networks is no unit of its own, since pairs share networks:
`pair_interval` counts S and not S(S − 1)/2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special
from torch import Tensor

from ired.instruments.core import random_directions
from ired.instruments.core.states import array
from ired.instruments.dictionaries.sparse_autoencoder import Dictionary, given_dictionary
from ired.instruments.statistics.intervals import Interval

FIRES = 10  # tokens on which a feature has to fire to be matched


# Tokens


@dataclass(frozen=True)
class MatchingTokens:
    """What tokens are: landscape and problem (T,), and which half of the problems is fitted on."""

    landscape: Tensor
    problem: Tensor
    fit: Tensor

    @classmethod
    def of(cls, landscapes: int, problems: int, states: int) -> MatchingTokens:
        """Of states (K, P, M) flattened in this order; even problems are fitted on."""
        k, p, _ = torch.meshgrid(torch.arange(landscapes), torch.arange(problems), torch.arange(states), indexing="ij")
        problem = p.flatten()
        return cls(k.flatten(), problem, problem % 2 == 0)

    def half(self, fit: bool) -> Tensor:
        """Mask (T,) of the tokens that are fitted on, or judged on."""
        return self.fit if fit else ~self.fit

    def shuffled(self, generator: torch.Generator) -> Tensor:
        """A permutation (T,) of tokens within landscapes and within halves."""
        order, groups = torch.arange(len(self.landscape)), 2 * self.landscape + self.fit.long()
        for group in groups.unique().tolist():
            rows = (groups == group).nonzero()[:, 0]
            order[rows] = rows[torch.randperm(len(rows), generator=generator)]
        return order

    def within(self, x: Tensor) -> Tensor:
        """Activations (T, width) less each landscape's own mean, that of the tokens fitted on."""
        K, fit = int(self.landscape.max()) + 1, self.fit
        total = torch.zeros(K, x.shape[1], dtype=x.dtype).index_add_(0, self.landscape[fit], x[fit])
        counts = torch.bincount(self.landscape[fit], minlength=K).to(x)
        return x - (total / counts[:, None])[self.landscape]


# Rotations


@dataclass(frozen=True)
class Rotation:
    """x ↦ scale·(x @ matrix): matrix (width, width) orthogonal, scale a number."""

    matrix: Tensor
    scale: float

    def __call__(self, x: Tensor) -> Tensor:
        return self.scale * (x @ self.matrix)


def procrustes(source: Tensor, target: Tensor) -> Rotation:
    """The rotation (and scale) of source (T, width) that comes nearest to target (T, width)."""
    U, S, V = torch.linalg.svd(source.double().mT @ target.double(), full_matrices=False)
    scale = S.sum() / source.double().pow(2).sum().clamp_min(1e-300)
    return Rotation((U @ V).to(source), scale.item())


def explained_by_rotation(rotation: Rotation, source: Tensor, target: Tensor) -> float:
    """Share of target's square (T, width) that the rotated source explains; negative: less than
    nothing."""
    missed = (target - rotation(source)).double().pow(2).sum()
    return float(1 - missed / target.double().pow(2).sum().clamp_min(1e-300))


def procrustes_alignment(
    source: Tensor, target: Tensor, tokens: MatchingTokens, generator: torch.Generator | None = None
) -> tuple[float, Rotation]:
    """`explained_by_rotation` on the tokens that are judged, activations (T, width) around landscapes' means, and
    the rotation; with a generator, of source tokens shuffled within landscapes."""
    source, target = tokens.within(source), tokens.within(target)
    source = source if generator is None else source[tokens.shuffled(generator)]
    fit, judge = tokens.half(True), tokens.half(False)
    rotation = procrustes(source[fit], target[fit])
    return explained_by_rotation(rotation, source[judge], target[judge]), rotation


# Matchings


@dataclass(frozen=True)
class Matching:
    """Of features of a first network with those of a second one, paired one to one.

    first, second (m,): which features; fitted, judged (m,): correlation of their activations on the
    tokens that chose the pairs, and on those that did not.
    """

    first: NDArray
    second: NDArray
    fitted: NDArray
    judged: NDArray

    @property
    def mean(self) -> float:
        return float(self.judged.mean()) if len(self.judged) else 0.0

    def partner(self, feature: int) -> tuple[int, float]:
        """The second network's feature and their correlation as judged; raises KeyError for none."""
        place = np.flatnonzero(self.first == feature)
        if not len(place):
            raise KeyError(f"feature {feature} has no partner")
        return int(self.second[place[0]]), float(self.judged[place[0]])


def correlations(first: Tensor, second: Tensor) -> Tensor:
    """Pearson's (F, G) of the columns of (T, F) and (T, G); 0 where a column is constant."""
    ours, theirs = (_standard(x) for x in (first, second))
    return ours.mT @ theirs


def _standard(x: Tensor) -> Tensor:
    centred = x - x.mean(0)
    size = centred.norm(dim=0)
    sure = size > 1e-5 * x.norm(dim=0).clamp_min(1e-30)
    return torch.where(sure, centred / size.clamp_min(1e-30), torch.zeros_like(centred))


def assigned(similarity: Tensor) -> tuple[NDArray, NDArray]:
    """Rows and columns (m,) of a similarity (F, G), one to one, with the largest sum."""
    from scipy.optimize import linear_sum_assignment

    return linear_sum_assignment(similarity.double().cpu().numpy(), maximize=True)


def match(first: Tensor, second: Tensor, fit: Tensor, fires: int = FIRES) -> Matching:
    """Features (T, F) and (T, G) of the same tokens; fit (T,) which of these choose the pairs.
    Features that fire on fewer than `fires` of them are left out."""
    firing = [((x[fit] != 0).sum(0) >= fires).nonzero()[:, 0] for x in (first, second)]
    ours, theirs = (x[:, alive] for x, alive in zip((first, second), firing, strict=True))
    chosen = correlations(ours[fit], theirs[fit])
    rows, columns = assigned(chosen)
    products = _standard(ours[~fit][:, rows]) * _standard(theirs[~fit][:, columns])
    return Matching(
        array(firing[0])[rows], array(firing[1])[columns], array(chosen[rows, columns]), array(products.sum(0))
    )


def random_like(dictionary: Dictionary, covariance: Tensor, generator: torch.Generator) -> Dictionary:
    """As many random directions of the covariance (width, width), as sparse as a TopK dictionary."""
    rows = random_directions.covariance_matched(covariance.cpu(), dictionary.features, generator).to(dictionary.decoder)
    return given_dictionary("topk", directions=rows, mean=dictionary.mean, scale=dictionary.scale, k=dictionary.k)


def compare_dictionaries(
    codes: Sequence[Tensor], blind: Sequence[Tensor], tokens: MatchingTokens, generator: torch.Generator
) -> tuple[list[dict], dict[tuple[int, int], Matching]]:
    """Dictionaries of S networks on the same tokens: codes, and `blind` of random dictionaries, (T,
    F_s).

    Rows of first, second (networks), matched, own, shuffled, random (mean correlation as judged); and
    the matchings by (first, second) with first < second.
    """
    rows, matchings = [], {}
    for a in range(len(codes)):
        for b in range(a + 1, len(codes)):
            matched = matchings[a, b] = match(codes[a], codes[b], tokens.fit)
            mixed = match(codes[a], codes[b][tokens.shuffled(generator)], tokens.fit)
            random = match(blind[a], blind[b], tokens.fit)
            rows.append(
                {
                    "first": a,
                    "second": b,
                    "matched": len(matched.judged),
                    "own": matched.mean,
                    "shuffled": mixed.mean,
                    "random": random.mean,
                }
            )
    return rows, matchings


# Directions of the state


def chance_cosine(width: int) -> float:
    """Mean |cosine| of two random directions in `width` dimensions: Γ(w/2) / (√π Γ((w+1)/2))."""
    return float(np.exp(special.gammaln(width / 2) - special.gammaln((width + 1) / 2)) / np.sqrt(np.pi))


def chance_matched(count: int, width: int, draws: int, generator: torch.Generator) -> NDArray:
    """Mean matched |cosines| (draws,) of `count` orthonormal random directions with as many others, in
    `width` dimensions: `chance_cosine` for one, more for several, since the best pairs are taken."""
    means = []
    for _ in range(draws):
        first, second = (random_directions.orthonormal(count, width, generator) for _ in range(2))
        means.append(match_axes(first, second)[1].mean())
    return np.array(means)


def match_axes(first: Tensor, second: Tensor) -> tuple[Tensor, NDArray]:
    """For unit rows (m, width), those of second (m', width ≥ m) that |cosines| match with them, in the
    sense of first, and these |cosines|, (m, width) and (m,)."""
    cosine = first.double() @ second.double().mT
    rows, columns = assigned(cosine.abs())
    matched = cosine[rows, columns]
    return second[columns] * torch.where(matched < 0, -1.0, 1.0).to(second)[:, None], array(matched.abs())


# Intervals over pairs of networks


def pair_interval(values: NDArray, level: float = 0.95) -> Interval:
    """Mean of a symmetric table (S, S) over pairs, diagonal left out, with a jackknife interval.

    The units are the S networks: each is left out with all its pairs, and Student's t with S − 1
    degrees of freedom is applied to the pseudo-values (Arvesen 1969, for U-statistics). Raises
    ValueError for fewer than three, or where a pair is not finite.
    """
    values = np.asarray(values, dtype=np.float64)
    S, off = len(values), ~np.eye(len(values), dtype=bool)
    if values.shape != (S, S) or S < 3:
        raise ValueError(f"a table of at least three networks is wanted, not {values.shape}")
    if not np.isfinite(values[off]).all():
        raise ValueError("pairs must be finite")
    rows = np.where(off, values, 0).sum(1)
    total = rows.sum()
    mean = total / (S * (S - 1))
    without = (total - 2 * rows) / ((S - 1) * (S - 2))
    pseudo = S * mean - (S - 1) * without
    if np.ptp(pseudo) <= 1e-12 * max(np.abs(pseudo).max(), 1e-300):
        return Interval(
            estimate=float(mean), low=float(mean), high=float(mean), level=level, units=S, method="constant"
        )
    reach = special.stdtrit(S - 1, (1 + level) / 2) * pseudo.std(ddof=1) / np.sqrt(S)
    return Interval(
        estimate=float(mean),
        low=float(mean - reach),
        high=float(mean + reach),
        level=level,
        units=S,
        method="jackknife",
    )


def table_of_pairs(rows: Sequence[dict], value: str, networks: int) -> NDArray:
    """Rows with first, second and a value as a symmetric table (networks, networks)."""
    table = np.full((networks, networks), np.nan)
    for row in rows:
        table[row["first"], row["second"]] = table[row["second"], row["first"]] = row[value]
    return table
