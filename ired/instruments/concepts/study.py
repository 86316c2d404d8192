"""Concepts in all layers and landscapes of a network, by CAVs, TCAV, regression and regions, beside an untrained
network: all that P3-02 measures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pandas import DataFrame
from torch import Tensor

from ired.instruments.concepts import cav, tcav
from ired.instruments.concepts.cav import METHODS, PRIMARY
from ired.instruments.concepts.controls import of_problems, read_in_controls
from ired.instruments.concepts.pairs import (
    INPUT,
    ConceptPairs,
    Population,
    balance,
    concept_pairs,
    noisy_pairs,
    pair_activations,
)
from ired.instruments.concepts.regions import regions
from ired.instruments.concepts.regression import regress
from ired.instruments.concepts.tcav import Cell, Slopes, all_slopes
from ired.instruments.core import directions, states
from ired.instruments.core.directions import Direction
from ired.instruments.statistics.intervals import Interval, adjust, student_interval
from ired.model.protocol import Energy

SWAPS = 199  # random labels that the agreement of halves stands beside


@dataclass(frozen=True)
class ConceptStudy:
    """What CAVs of one network say, one row a concept, layer and landscape.

    auroc: method, labels ("own", or "random": sides swapped), auroc, low, high (also of INPUT). confusion: pairs (whose
    AUROC it is), method ("filter" or PRIMARY), auroc, low, high. tcav: of ("gap", "energy"), score, low, high,
    null_low, null_high (central 95 % of random CAVs'), mean, mean_low, mean_high, mean_null (root mean square),
    p_score, p_mean, adjusted_score and adjusted_mean (Benjamini-Hochberg over both p-values of all rows of "gap", and
    of "energy"). agreement: cosine, null (mean), null_high (97.5 %), p (one-sided), of PRIMARY. cavs: (width,) by
    concept, layer, landscape and method; values: `cav.auroc_values` by the same.
    """

    auroc: DataFrame
    confusion: DataFrame
    tcav: DataFrame
    agreement: DataFrame
    cavs: dict[tuple[str, str, int, str], NDArray]
    values: dict[tuple[str, str, int, str], NDArray]
    shown: tuple[ConceptPairs, ...]

    def tables(self) -> dict[str, DataFrame]:
        return {name: getattr(self, name) for name in ("auroc", "confusion", "tcav", "agreement")}

    def beyond_random(self, layer: str) -> dict[str, int]:
        """How many of the layer's CAVs are beyond the random ones in what the gap makes of them, at 5 % after
        correction: by_score, by_mean; and of how many (tests)."""
        rows = self.tcav.query("of == 'gap' and layer == @layer")
        counts = {f"by_{what}": int((rows[f"adjusted_{what}"] < 0.05).sum()) for what in ("score", "mean")}
        return counts | {"tests": len(rows)}

    def best(self) -> DataFrame:
        """Of each concept and layer the landscape whose primary CAV has the highest held-out AUROC."""
        rows = self.auroc.query("labels == 'own' and method == @PRIMARY and layer != @INPUT")
        return rows.loc[rows.groupby(["concept", "layer"], sort=False)["auroc"].idxmax()]

    def handed_on(self) -> list[Direction]:
        """The CAVs of `best`."""
        return [
            Direction(
                name=f"concept {row.concept} {row.layer} k={row.landscape}",
                source="concept",
                space=row.layer,
                landscape=int(row.landscape),
                concept=row.concept,
                evidence=float(row.auroc),
                measure="held-out AUROC",
                vector=torch.from_numpy(self.cavs[row.concept, row.layer, row.landscape, PRIMARY]),
            ).unit()
            for row in self.best().itertuples()
        ]

    def told_apart(self) -> DataFrame:
        """For each CAV of `best`, whether it tells its pairs apart better than any other concept's, in either
        direction: columns concept, layer, landscape, low, other, other_high, apart. Of the two 95 % intervals the lower
        end of one must lie above the upper end of the other."""
        rows = []
        for row in self.best().itertuples():
            others = self.confusion.query(
                "concept == @row.concept and layer == @row.layer and landscape == @row.landscape "
                "and method == @PRIMARY and pairs != @row.concept"
            )
            reach = np.maximum(others["high"], 1 - others["low"])
            worst = reach.idxmax()
            rows.append(
                {
                    "concept": row.concept,
                    "layer": row.layer,
                    "landscape": row.landscape,
                    "low": row.low,
                    "other": others["pairs"][worst],
                    "other_high": reach[worst],
                    "apart": row.low > reach[worst],
                }
            )
        return DataFrame(rows)

    def ahead(self, untrained: ConceptStudy, level: float = 0.95) -> DataFrame:
        """By how much the filter's AUROC exceeds that of the same classifier on the input, and on an untrained network,
        on the same held-out pairs: rows of `best`, of, gain, low, high (intervals corrected for their number:
        Bonferroni), sure (low above 0)."""
        best, rows = self.best(), []
        units = {pairs.concept: pairs.unit for pairs in self.shown}
        corrected = 1 - (1 - level) / (2 * len(best))
        for row in best.itertuples():
            here = self.values[row.concept, row.layer, row.landscape, "filter"]
            for of, other, layer in (("input", self, INPUT), ("untrained", untrained, row.layer)):
                there = other.values[row.concept, layer, row.landscape, "filter"]
                gain = student_interval(here - there, corrected, units[row.concept])
                cell = {"concept": row.concept, "layer": row.layer, "landscape": row.landscape}
                rows.append(cell | {"of": of} | _ends(gain, "gain", "low", "high"))
        table = DataFrame(rows)
        return table.assign(sure=table["low"] > 0)

    def mean_auroc(self, level: float = 0.95) -> Interval:
        """Mean held-out AUROC of the CAVs of `best`: layers share pairs and are averaged first, concepts are drawn
        separately."""
        best, parts = self.best(), []
        for pairs in self.shown:
            rows = best[best["concept"] == pairs.concept]
            keys = rows[["concept", "layer", "landscape"]].itertuples(index=False)
            values = [self.values[*key, PRIMARY] for key in keys]
            parts.append(student_interval(np.mean(values, axis=0), level, pairs.unit))
        mean = float(np.mean([part.estimate for part in parts]))
        reach = float(np.sqrt(sum((part.high - part.low) ** 2 for part in parts)) / 2 / len(parts))
        units = sum(part.units for part in parts)
        return Interval(mean, mean - reach, mean + reach, level=level, units=units, method="t")


def study_concepts(
    energy: Energy,
    A: Tensor,
    y0: Tensor,
    shown: Sequence[ConceptPairs],
    layers: Sequence[str],
    slopes: Mapping[Cell, Slopes],
    random: int,
    rng: np.random.Generator,
) -> ConceptStudy:
    """CAVs of all concepts in these layers, of problems A (P, n, n) with answers y0 (P, d), and `random` random ones of
    each. Landscapes are those of `slopes` (see `tcav.all_slopes`), which has all layers but INPUT."""
    landscapes = dict.fromkeys(k for _, k in slopes)
    auroc, confusion, tests, agreement = [], [], [], []
    cavs, values = {}, {}
    for k in landscapes:
        activations = [pair_activations(energy, A, y0, pairs, k=k, layers=layers) for pairs in shown]
        for layer in layers:
            h = [by_layer[layer] for by_layer in activations]
            for pairs, here in zip(shown, h, strict=True):
                key, z = (pairs.concept, layer, k), pairs.confounders
                cell = {"concept": pairs.concept, "layer": layer, "landscape": k}
                for method in METHODS:
                    folds = cav.held_out(method, here, z, pairs.fold)
                    values[*key, method] = cav.auroc_values(folds, here, pairs.fold)
                    read = _auroc(values[*key, method], pairs)
                    auroc.append(cell | {"method": method, "labels": "own"} | read)
                    if layer == INPUT:
                        continue
                    cavs[*key, method] = cav.fit(method, here, z)
                    if method in ("filter", PRIMARY):
                        for other, there in zip(shown, h, strict=True):
                            read = _auroc(cav.auroc_values(folds, there, other.fold), other)
                            confusion.append(cell | {"pairs": other.concept, "method": method} | read)
                    if method == "filter":
                        read = _with_random_labels(method, here, pairs, rng)
                        auroc.append(cell | {"method": method, "labels": "random"} | read)
                if layer == INPUT:
                    continue
                parts = cav.contributions(here, z).astype(np.float32)
                drawn = cav.random_cavs(parts, pairs.unit, random, rng)
                for of in ("gap", "energy"):
                    slope = getattr(slopes[layer, k], of)
                    tests.append(cell | {"of": of} | _tested(cavs[*key, PRIMARY], drawn, slope))
                agreement.append(cell | _halves(here, pairs, rng))
    return ConceptStudy(
        auroc=DataFrame(auroc),
        confusion=DataFrame(confusion),
        tcav=_adjusted(DataFrame(tests)),
        agreement=DataFrame(agreement),
        cavs=cavs,
        values=values,
        shown=tuple(shown),
    )


def _auroc(values: NDArray, pairs: ConceptPairs) -> dict[str, float]:
    return _ends(cav.auroc_interval(values, pairs.unit), "auroc", "low", "high")


def _with_random_labels(method: str, h: NDArray, pairs: ConceptPairs, rng: np.random.Generator) -> dict[str, float]:
    """`_auroc` of CAVs fitted to the same pairs with the sides of half of them swapped."""
    swapped = pairs.swapped(rng)
    folds = cav.held_out(method, h[swapped], pairs.confounders[swapped], pairs.fold)
    return _auroc(cav.auroc_values(folds, h[swapped], pairs.fold), pairs)


def _tested(vector: NDArray, random: NDArray, slope: NDArray) -> dict[str, float]:
    """TCAV of a CAV (width,) beside random ones (R, width), at slopes (F, width)."""
    test = tcav.tcav(vector, random, slope.astype(np.float32))
    share, mean = test.interval(), student_interval(slope @ vector)
    null_low, null_high = np.quantile(test.score[1:], [0.025, 0.975])
    return {
        "score": test.score[0],
        "low": share.low,
        "high": share.high,
        "null_low": null_low,
        "null_high": null_high,
        **_ends(mean, "mean", "mean_low", "mean_high"),
        "mean_null": (test.mean[1:] ** 2).mean() ** 0.5,
        "p_score": test.p("score"),
        "p_mean": test.p("mean"),
    }


def _adjusted(tests: DataFrame) -> DataFrame:
    """With p-values corrected over both kinds and all rows of "gap", and of "energy"."""
    for _, rows in tests.groupby("of"):
        adjusted = adjust(rows[["p_score", "p_mean"]].to_numpy())
        tests.loc[rows.index, ["adjusted_score", "adjusted_mean"]] = adjusted
    return tests


def _halves(h: NDArray, pairs: ConceptPairs, rng: np.random.Generator) -> dict[str, float]:
    cosines = cav.half_agreement(h, pairs.confounders, pairs.unit, pairs.fold, count=SWAPS, rng=rng)
    return {
        "cosine": cosines[0],
        "null": cosines[1:].mean(),
        "null_high": np.quantile(cosines[1:], 0.975),
        "p": (cosines >= cosines[0]).mean(),
    }


def _ends(interval: Interval, estimate: str, low: str, high: str) -> dict[str, float]:
    return {estimate: interval.estimate, low: interval.low, high: interval.high}


# A trained network beside an untrained one


@dataclass(frozen=True)
class Concepts:
    """What CAVs of a trained and of an untrained network say, and classifiers on what controls hold, on the same pairs,
    so that comparisons are paired.

    tables: "balance" of the pairs; `ConceptStudy.tables` and "regression" of the trained network, and with "_untrained"
    behind their names of the other; of the CAVs of `ConceptStudy.best` "regions", "told_apart", "ahead",
    "directions" and "auroc_controls" (of, concept, layer, landscape, auroc, low, high). of_problems: by energy the
    values of the classifier's held-out AUROC, of all pairs that show a property of the problem, mean of the layers.
    """

    trained: ConceptStudy
    untrained: ConceptStudy
    tables: dict[str, DataFrame]
    directions: list[Direction]
    of_problems: dict[str, NDArray]


def compare_concepts(
    energies: Mapping[str, Energy],
    A: Tensor,
    properties: Mapping[str, Tensor],
    fresh: Tensor,
    layers: Sequence[str],
    size: Any,
    stream: Callable[[str], torch.Generator],
    controls: Mapping[str, Energy],
) -> Concepts:
    """Of the "trained" and the "untrained" one of energies, with pairs of problems A (P, n, n) and derivatives at fresh
    problems (F, n, n); and what can be read in controls, whose activations are what they hold.

    size: `landscapes`, at most so many `pairs` within a `caliper` in `folds`, `regressed` problems, `random` CAVs;
    stream: random numbers by a name.
    """
    model = energies["trained"]
    y0, fresh_y0 = states.answers(model, A), states.answers(model, fresh)
    rng = np.random.default_rng(stream("concepts").initial_seed())
    generator = stream("pairs")
    population = Population.of(A, properties, size.folds, rng)
    shown = concept_pairs(model, population, size.pairs, caliper=size.caliper, generator=generator)
    many = noisy_pairs(model, population, size.regressed, generator)

    tables, studies = {"balance": balance(population, shown)}, {}
    for name, kinds, suffix in (("trained", (INPUT, *layers), ""), ("untrained", layers, "_untrained")):
        energy = energies[name]
        slopes = all_slopes(
            energy, fresh, fresh_y0, landscapes=size.landscapes, layers=layers, generator=stream("slopes")
        )
        studies[name] = study_concepts(
            energy, A, y0, shown=shown, layers=kinds, slopes=slopes, random=size.random, rng=rng
        )
        regression = regress(energy, A, y0, population=population, pairs=many, layers=kinds, slopes=slopes)
        for what, table in (studies[name].tables() | {"regression": regression}).items():
            tables[what + suffix] = table
    trained = studies["trained"]
    handed = trained.handed_on()
    tables |= {
        "regions": regions(model, A, y0, shown=shown, at=trained.best()),
        "told_apart": trained.told_apart(),
        "ahead": trained.ahead(studies["untrained"]),
        "directions": DataFrame(directions.direction_columns(handed)),
    }
    best = trained.best()
    read = read_in_controls(controls, A, y0, shown=shown, best=best)
    cells = list(zip(best["concept"], best["layer"], best["landscape"], strict=True))
    for name, study in studies.items():
        read |= {(name, concept, layer): study.values[concept, layer, k, "filter"] for concept, layer, k in cells}
    values = {
        name: of_problems({key[1:]: here for key, here in read.items() if key[0] == name}, layers)
        for name in (*studies, *controls)
    }
    tables["auroc_controls"] = DataFrame(
        [
            {"of": name, "concept": pairs.concept, "layer": layer, "landscape": k}
            | _auroc(read[name, pairs.concept, layer], pairs)
            for name in controls
            for pairs in shown
            for concept, layer, k in cells
            if concept == pairs.concept
        ]
    )
    return Concepts(
        trained=trained, untrained=studies["untrained"], tables=tables, directions=handed, of_problems=values
    )
