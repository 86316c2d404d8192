"""Representational similarity of two models: how much of what is found in one is found in the other, from 0 to 1.

Two models of the same problems are held against each other by their fingerprints, part by part, each
clipped to [0, 1], 1 for two copies and about 0 where nothing beyond chance is shared:

landscape     cosine of the energy gaps at the same states around the same answers, centred and of unit
              norm within each problem and landscape, mean over both
attributions  cosine of how the score at k = 0 follows changes of A, mean over problems
answers       cosine of the errors of answers sampled from the same starts, mean over problems
features      mean over layers of (matched − chance)/(1 − chance): correlation of Hungarian-matched
              features on tokens that did not choose the matches
              (`ired.instruments.robustness.procrustes_matching`), and that of random dictionaries of the
              activations' covariance, matched alike
directions    Pearson correlation over concepts, layers and landscapes of the concept directions' signed
              effects, each less its mean over the concepts of its layer and landscape, so that with
              concepts shuffled nothing is expected; mean of effects on answers and on the energy,
              without those that neither network has

The score is their plain mean; *without layers* that of the first three, which every energy has.

What is shared need not have been learned together. All energies rise away from the answer, which makes
gaps alike; Jacobians and errors have means over problems that any two models share. So each of the
first three comes with what is left of it against *another problem* of the other model, and the
landscape also *beyond the blind* bowl ½‖y‖²: both models' gaps less their projection on it. Networks
that do nothing keep the starts they sample from, and so make the same errors; their concepts are those
of the inputs, which all see. One concept that moves answers much can decide the correlation of
directions: that *by place* weighs layers and landscapes alike. And of a dictionary trained shortly no
other one need find the features again, not even of the same function with its neurons in another order:
random directions of the covariance, which have the large principal components in common, match better
in trained networks (P6-01), and then features count 0 for all but copies. None of this is subtracted:
the score was defined before. To read it takes the same for pairs of which nothing is expected: with an
untrained network, of two untrained ones, and with the ideal energy.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame
from torch import Tensor

from ired.instruments.comparison.representation import Fingerprint
from ired.instruments.robustness import procrustes_matching

GENERAL = ("landscape", "attributions", "answers")
PARTS = (*GENERAL, "features", "directions")
# Kinds of pairs, each with what differs.
MINING = "mining"
SEEDS = "seeds"
BOTH = "mining and seeds"
TINIEST = 1e-12  # of the other numbers: what is smaller is rounding


# Of two models


@dataclass(frozen=True)
class Consistency:
    """Of two models. raw: parts before clipping (without features and directions where a model has no
    layers, without directions where no direction does anything in either); controls: what to hold them
    against, by name."""

    raw: dict[str, float]
    controls: dict[str, float]

    @property
    def parts(self) -> dict[str, float]:
        return {part: float(np.clip(value, 0, 1)) for part, value in self.raw.items()}

    @property
    def score(self) -> float:
        """The mean of the parts there are."""
        return float(np.mean(list(self.parts.values())))

    @property
    def without_layers(self) -> float:
        return float(np.mean([self.parts[part] for part in GENERAL]))

    def row(self) -> dict[str, float]:
        """Columns for a table."""
        nothing = dict.fromkeys(PARTS, float("nan"))
        return (
            nothing
            | self.parts
            | {"score": self.score, "without_layers": self.without_layers}
            | {f"raw.{part}": value for part, value in self.raw.items()}
            | self.controls
        )


def compare_fingerprints(first: Fingerprint, second: Fingerprint) -> Consistency:
    """Of two models on the same ground; symmetric, but for the draw of random dictionaries. Raises
    ValueError where grounds differ."""
    if first.blind.shape != second.blind.shape or not np.array_equal(first.blind, second.blind):
        raise ValueError("fingerprints can be compared only if they were taken on the same ground")
    pairs = {
        "landscape": (first.gaps, second.gaps),
        "attributions": (_rows(first.attributions), _rows(second.attributions)),
        "answers": (first.errors, second.errors),
    }
    raw = {part: alike(a, b) for part, (a, b) in pairs.items()}
    controls = {f"{part}.other_problem": other_problem(a, b) for part, (a, b) in pairs.items()}
    beyond = (_without(model.gaps, model.blind) for model in (first, second))
    controls["landscape.beyond_blind"] = alike(*beyond)
    if first.codes and second.codes:
        correlations = feature_similarity(first, second)
        raw["features"] = float(
            np.mean([(matching - chance) / max(1 - chance, TINIEST) for matching, chance in correlations.values()])
        )
        for layer, (matching, chance) in correlations.items():
            controls |= {f"features.{layer}.matched": matching, f"features.{layer}.chance": chance}
        tables, effects = (first.directions, second.directions), []
        for what in ("answers", "energy"):
            value = direction_similarity(*tables, what)
            if any(_among_concepts(table, what).any() for table in tables):
                effects.append(value)
            near = by_place(*tables, what)
            controls |= {f"directions.{what}": value, f"directions.{what}.by_place": near}
        if effects:
            raw["directions"] = float(np.mean(effects))
    return Consistency(raw, controls)


def alike(first: NDArray, second: NDArray) -> float:
    """Mean cosine over all rows (..., m): 0 where only one of two is 0; where both are there is
    nothing to compare."""
    sizes = [np.linalg.norm(x, axis=-1) for x in (first, second)]
    nonzero = [size > TINIEST * size.max(initial=0) for size in sizes]
    product = (first * second).sum(-1)
    both, any_ = nonzero[0] & nonzero[1], nonzero[0] | nonzero[1]
    cosine = np.divide(product, sizes[0] * sizes[1], out=np.zeros_like(product), where=both)
    return float(cosine[any_].mean()) if any_.any() else 0.0


def other_problem(first: NDArray, second: NDArray) -> float:
    """The same with the problem before and the problem after it of the other one, problems (..., P, m)
    last but one."""
    return float(np.mean([alike(first, np.roll(second, shift, -2)) for shift in (1, -1)]))


def _rows(x: NDArray) -> NDArray:
    """(P, ...) as (P, m)."""
    return x.reshape(len(x), -1)


def _without(x: NDArray, bowl: NDArray) -> NDArray:
    """Rows (..., m) less their projection on those of a bowl; what is left by rounding is nothing."""
    size = (bowl * bowl).sum(-1, keepdims=True)
    left = x - bowl * (x * bowl).sum(-1, keepdims=True) / np.maximum(size, 1e-300)
    small = np.linalg.norm(left, axis=-1) <= TINIEST * np.linalg.norm(x, axis=-1)
    return np.where(small[..., None], 0, left)


def feature_similarity(first: Fingerprint, second: Fingerprint) -> dict[str, tuple[float, float]]:
    """By layer the mean correlation of matched features as judged, and that of random dictionaries: two
    different draws, since the same one of two copies would match itself."""
    correlations = {}
    for layer, codes in first.codes.items():
        others = second.codes[layer]
        pairs = (codes.features, others.features), (codes.blind[0], others.blind[1])
        matching, chance = (matched_correlation(a.to_dense(), b.to_dense(), first.fit) for a, b in pairs)
        correlations[layer] = matching, chance
    return correlations


def matched_correlation(first: Tensor, second: Tensor, fit: Tensor) -> float:
    """Mean correlation of matched features (T, F) on the tokens that are judged. Pairs of which neither
    fires there have nothing to be judged by, and are left out."""
    matches = procrustes_matching.match(first, second, fit)
    fires = [(x[~fit][:, of] != 0).any(0) for x, of in ((first, matches.first), (second, matches.second))]
    fired = (fires[0] | fires[1]).cpu().numpy()
    return float(matches.judged[fired].mean()) if fired.any() else 0.0


PLACE = ["layer", "landscape"]


def direction_similarity(first: DataFrame, second: DataFrame, what: str) -> float:
    """Correlation of the effects on "answers" or "energy", the mean over each place's concepts out."""
    left, right = (_among_concepts(table, what) for table in (first, second))
    return alike(left[None], right[None])


def by_place(first: DataFrame, second: DataFrame, what: str) -> float:
    """Mean of the correlations within each layer and landscape, so that no one place decides; 0 where
    neither network has effects anywhere."""
    left, right = (_among_concepts(table, what) for table in (first, second))
    places = first.groupby(PLACE, sort=False).indices.values()
    near = [alike(left[None, rows], right[None, rows]) for rows in places if left[rows].any() or right[rows].any()]
    return float(np.mean(near)) if near else 0.0


def _among_concepts(table: DataFrame, what: str) -> NDArray:
    return (table[what] - table.groupby(PLACE)[what].transform("mean")).to_numpy()


# Which pairs


Model = tuple[str, int]  # variant and seed


@dataclass(frozen=True)
class Pair:
    """kind: MINING (two variants of one seed, from the same first weights), SEEDS (one variant, two
    seeds), or BOTH; first, second: which models."""

    kind: str
    first: Model
    second: Model


def model_pairs(variants: Sequence[str], seeds: Sequence[int], base: str | None = None) -> list[Pair]:
    """Each variant against `base` (the first one, if none is named) by seed; each variant, base too,
    between neighbouring seeds, the last beside the first; and each variant at the next seed against
    base: what differs with mining stands beside what differs anyway. (3V − 2)·S pairs for V variants
    and S > 2 seeds."""
    base = variants[0] if base is None else base
    others, seeds = [v for v in variants if v != base], list(seeds)
    following = list(zip(seeds, seeds[1:] + seeds[:1], strict=True))[: None if len(seeds) > 2 else -1]
    return [
        *(Pair(MINING, (base, s), (v, s)) for v in others for s in seeds),
        *(Pair(SEEDS, (v, s), (v, t)) for v in (base, *others) for s, t in following),
        *(Pair(BOTH, (base, s), (v, t)) for v in others for s, t in following),
    ]


def similarity_table(taken: Mapping[Hashable, Fingerprint], chosen: Sequence[Pair]) -> DataFrame:
    """A row for each pair: kind, first, first_seed, second, second_seed, `PARTS` (NaN where a model has
    no layers), score, without_layers, raw.<part> and controls. taken: by (variant, seed)."""
    return DataFrame(
        [
            {
                "kind": pair.kind,
                "first": pair.first[0],
                "first_seed": pair.first[1],
                "second": pair.second[0],
                "second_seed": pair.second[1],
            }
            | compare_fingerprints(taken[pair.first], taken[pair.second]).row()
            for pair in chosen
        ]
    )
