"""Comparison of negative mining (P7-04): models of several variants and seeds, measured alike and compared.

A model's numbers are its portrait (`model_metrics`) and, where it has layers, those of its fingerprint
(`representation`); what pairs of models share is their consistency (`similarity`); the statistics are
those of `paired_seeds`. Criteria are decided here and worded in the script.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pandas import DataFrame, Series, concat

from ired.instruments.comparison import paired_seeds, representation, similarity
from ired.instruments.comparison.metric_names import METRICS
from ired.instruments.comparison.paired_seeds import Comparison
from ired.instruments.comparison.representation import Fingerprint
from ired.instruments.statistics.intervals import Interval, adjust, student_interval

NONE = "none"
# Not tested: what says what accuracy.affine says, what is set and not found, and controls.
UNTESTED = r"sanity\.linear_answers|sae\.fc\d\.l0|concepts\.fc\d\.\w+_random|attribution\.\w+_other"
EXACT = 1e-9  # errors of equivariance below are rounding
COPY, SHUFFLED, UNTRAINED, IDEAL = "copy", "shuffled", "untrained", "ideal"
SAMPLED, DENOISED = "accuracy.mse.test", "accuracy.mse_denoised.test"
HARDER, HARDER_DENOISED = "accuracy.mse.harder", "accuracy.mse_denoised.harder"
AS_CONSISTENT = 0.05  # by how much less consistent mining may make models than another seed does
ROUNDING = 1e-6  # features of dictionaries are float32
APART = 0.2  # the consistency that a model without its weights' order stays below

Model = tuple[str, int]


def long(numbers: Mapping[Model, Mapping[str, float]]) -> DataFrame:
    """Numbers of every model (variant, seed) as rows variant, seed, metric, phase, value."""
    known = METRICS | representation.METRICS | representation.BEYOND
    rows = [
        (
            variant,
            seed,
            metric,
            known[metric].phase if metric in known else 0,
            0.0 if metric.startswith("equivariance.") and value < EXACT else float(value),
        )
        for (variant, seed), values in numbers.items()
        for metric, value in values.items()
    ]
    table = DataFrame(rows, columns=["variant", "seed", "metric", "phase", "value"])
    return table.sort_values("phase", kind="stable", ignore_index=True)


def accuracy_rows(table: DataFrame, steps: int) -> DataFrame:
    """Errors as rows variant, seed, family, steps (0 or `steps`), mse, of rows as `long` makes them."""
    rows = table[table["metric"].str.startswith("accuracy.mse")]
    parts = rows["metric"].str.split(".", n=2, expand=True)
    return DataFrame(
        {
            "variant": rows["variant"],
            "seed": rows["seed"],
            "family": parts[2],
            "steps": parts[1].map({"mse": steps, "mse_denoised": 0}),
            "mse": rows["value"],
        }
    ).reset_index(drop=True)


def held_against(
    taken: Mapping[Model, Fingerprint],
    networks: Sequence[str],
    others: Sequence[str],
    controls: Mapping[str, Fingerprint],
) -> DataFrame:
    """Consistency of all pairs that P7-04 looks at, and of controls with the first model without
    negatives: rows of `similarity.similarity_table`.

    networks: variants with layers, NONE first; others: variants of other energies.
    """
    seeds = sorted({seed for _, seed in taken})
    chosen = similarity.model_pairs(networks, seeds)
    if others:
        chosen += [pair for pair in similarity.model_pairs([NONE, *others], seeds) if pair not in chosen]
    table = similarity.similarity_table(taken, chosen)
    first = taken[NONE, seeds[0]]
    rows = [
        {"kind": name, "first": NONE, "first_seed": seeds[0], "second": name, "second_seed": seeds[0]}
        | similarity.compare_fingerprints(first, control).row()
        for name, control in controls.items()
    ]
    return DataFrame([*table.to_dict("records"), *rows])


@dataclass(frozen=True)
class VariantStudy:
    """table: as `long` makes it; pairs: as `held_against`; linear: error of least squares on A on the
    test set, the one on which SAMPLED was measured; recipes: by model, what training had in common."""

    table: DataFrame
    pairs: DataFrame
    compared: Comparison
    networks: tuple[str, ...]
    others: tuple[str, ...]
    linear: float
    recipes: Mapping[Model, Any]

    @classmethod
    def of(
        cls,
        table: DataFrame,
        pairs: DataFrame,
        networks: Sequence[str],
        others: Sequence[str],
        linear: float,
        recipes: Mapping[Model, Any],
    ) -> VariantStudy:
        tested = table[~table["metric"].str.fullmatch(UNTESTED)]
        # Two families of p-values: other energies differ in nearly everything, and corrected with them
        # negatives would seem to differ in more than they do.
        families = [networks, *([[NONE, *others]] if others else [])]
        parts = [paired_seeds.compare_variants(tested[tested["variant"].isin(names)], NONE) for names in families]
        whole = concat([part.table for part in parts], ignore_index=True)
        absent = tuple(cell for part in parts for cell in part.absent)
        compared = replace(parts[0], table=whole, absent=absent)
        return cls(
            table=table,
            pairs=pairs,
            compared=compared,
            networks=tuple(networks),
            others=tuple(others),
            linear=linear,
            recipes=recipes,
        )

    def values(self, variant: str, metric: str) -> np.ndarray:
        """Of every seed, in order."""
        rows = self.table[(self.table["variant"] == variant) & (self.table["metric"] == metric)]
        return rows.sort_values("seed")["value"].to_numpy()

    def lower(self, metric: str, sign: int = 1) -> tuple[bool, dict[str, float]]:
        """Whether some kind of negatives has less of a metric than none (more of it: sign −1): interval
        below 0 and p < 0.05 after correction over the kinds."""
        cells = [self.compared.cell(kind, metric) for kind in self.networks[1:]]
        p = adjust([cell["p_t"] for cell in cells])
        won, numbers = False, {}
        for kind, cell, value in zip(self.networks[1:], cells, p, strict=True):
            end = cell["high"] if sign > 0 else -cell["low"]
            won |= bool(end < 0 and value < 0.05)
            numbers |= {
                f"{kind}.difference": cell["difference"],
                f"{kind}.low": cell["low"],
                f"{kind}.high": cell["high"],
                f"{kind}.p": value,
            }
        return won, numbers

    def verdicts(self) -> dict[str, tuple[bool, dict[str, float]]]:
        """Every criterion of P7-04, and the numbers behind it."""
        alike = [self.recipes[model] for model in self.recipes if model[0] in self.networks]
        return {
            "only_negatives_differ": (all(recipe == alike[0] for recipe in alike), {"models": len(alike)}),
            "told_apart": self._told_apart(),
            "mining_helps": self.lower(SAMPLED),
            "mining_helps_without_descent": self.lower(DENOISED),
            "mining_helps_harder": self.lower(HARDER),
            "landscapes_sharpen": self.lower("landscape.sharpness", -1),
            "minima_come_nearer": self.lower("landscape.nearest_minimum"),
            "beats_least_squares": self._beats_linear(),
            "products_beat_networks": self._products(),
            "findings_persist": self._persist(),
        }

    @property
    def seeds(self) -> int:
        return len(self.compared.seeds)

    def cells(self) -> list[tuple[str, DataFrame]]:
        """Rows of the comparison, networks apart from other energies, with a name for either."""
        table = self.compared.table
        of_networks = table["variant"].isin(self.networks)
        return [("differences", table[of_networks]), *([("energies", table[~of_networks])] if self.others else [])]

    def changed(self) -> DataFrame:
        """Rows of the comparison without metrics that are the same in all models."""
        table = self.compared.table
        return table[~table.groupby("metric")["identical"].transform("all")]

    def spread(self) -> DataFrame:
        """Whether networks differ more by their negatives than by their seeds (`paired_seeds.spread`)."""
        return paired_seeds.spread(self.table[self.table["variant"].isin(self.networks)])

    def numbers(self) -> dict[str, float]:
        """What is logged beside the criteria."""
        cells = self.compared.table
        of_networks = cells[cells["variant"].isin(self.networks)]
        # Energies without layers have three parts of five: their pairs are means of other things.
        known = (*self.networks, COPY, SHUFFLED, UNTRAINED)
        alike = self.pairs[self.pairs["second"].isin(known)]
        scores = {f"consistency.{kind}": float(rows["score"].mean()) for kind, rows in alike.groupby("kind")}
        return (
            scores
            | {
                "seeds": float(self.seeds),
                "cells": float(len(of_networks)),
                "significant": float(of_networks["significant"].sum()),
                "detectable_d": self.compared.detectable_d,
                "flip_floor": self.compared.floor,
                "larger_than_seeds": float(self.spread()["larger"].mean()),
            }
            | {
                f"{variant}.mse.relative": float(self.compared.cell(variant, SAMPLED)["relative"])
                for variant in (*self.networks[1:], *self.others)
            }
        )

    def best(self) -> Series:
        """The cell of the kind of negatives with the smallest sampled error, against none."""
        cells = [self.compared.cell(kind, SAMPLED) for kind in self.networks[1:]]
        return min(cells, key=lambda cell: cell["mean"])

    def headline(self) -> tuple[str, float, float, float]:
        """What the best kind of negatives does to the sampled error: label, estimate, interval."""
        best = self.best()
        known = np.isfinite([best["relative_low"], best["relative_high"]]).all()
        label = "over none, less 1" if known else "minus none"
        names = ("relative", "relative_low", "relative_high") if known else ("difference", "low", "high")
        return (f"sampled MSE, {best['variant']} {label}", *(float(best[name]) for name in names))

    def between_seeds(self) -> np.ndarray:
        """Consistency of neighbouring seeds without negatives."""
        rows = self.pairs[(self.pairs["kind"] == similarity.SEEDS) & (self.pairs["first"] == NONE)]
        return rows["score"].to_numpy()

    def _told_apart(self) -> tuple[bool, dict[str, float]]:
        scores = self.pairs.set_index("kind")["score"]
        copy, shuffled = float(scores[COPY]), float(scores[SHUFFLED])
        return copy > 1 - ROUNDING and shuffled < APART, {"copy": copy, "shuffled": shuffled}

    def _beats_linear(self) -> tuple[bool, dict[str, float]]:
        variants = (*self.networks, *self.others)
        level = 1 - 0.05 / len(variants)
        met, numbers = False, {}
        for variant in variants:
            against = paired_seeds.against_constant(self.values(variant, SAMPLED), self.linear, level=level)
            met |= against.beats
            numbers |= {
                f"{variant}.relative": against.relative.estimate,
                f"{variant}.high": float(against.relative.high),
            }
        return met, numbers

    def _products(self) -> tuple[bool, dict[str, float]]:
        """Some other energy against every network by seed, on both sets."""
        if not self.others:
            return False, {"energies": 0}
        met, numbers = False, {"energies": len(self.others)}
        level = 1 - 0.05 / len(self.others)
        for variant in self.others:
            beaten = True
            for name, metric in (("test", SAMPLED), ("harder", HARDER)):
                rivals = np.min([self.values(kind, metric) for kind in self.networks], axis=0)
                margin = student_interval(self.values(variant, metric) - rivals, level)
                beaten &= bool(margin.high < 0)
                numbers |= {f"{variant}.{name}.difference": margin.estimate, f"{variant}.{name}.high": margin.high}
            met |= beaten
        return met, numbers

    def _persist(self) -> tuple[bool, dict[str, float]]:
        """Consistency with none's model of the same seed less that of none's neighbouring seeds."""
        seeds, met = self.between_seeds(), True
        numbers = {"between_seeds": float(seeds.mean())}
        for kind in self.networks[1:]:
            rows = self.pairs[(self.pairs["kind"] == similarity.MINING) & (self.pairs["second"] == kind)]
            scores = rows.sort_values("first_seed")["score"].to_numpy()
            low = _difference(scores, seeds).low
            met &= bool(low > -AS_CONSISTENT)
            numbers |= {f"{kind}.score": float(scores.mean()), f"{kind}.difference_low": float(low)}
        return met, numbers


def _difference(first: np.ndarray, second: np.ndarray, level: float = 0.95) -> Interval:
    """Welch's interval of the difference of two means: pairs of seeds have no natural partners."""
    from scipy import stats

    difference = float(first.mean() - second.mean())
    if np.ptp(first) == 0 and np.ptp(second) == 0:
        return Interval(
            estimate=difference, low=difference, high=difference, level=level, units=len(first), method="constant"
        )
    ends = stats.ttest_ind(first, second, equal_var=False).confidence_interval(level)
    return Interval(
        estimate=difference, low=float(ends.low), high=float(ends.high), level=level, units=len(first), method="t"
    )
