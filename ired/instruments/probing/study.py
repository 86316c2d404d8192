"""Linear probes with control tasks (Alain & Bengio 2016; Hewitt & Liang 2019) of all representations and properties
in every landscape, as P5-01 asks for them, with its verdicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from pandas import DataFrame
from torch import Tensor

from ired.instruments.accuracy.predictors import power_features
from ired.instruments.core.states import array, symmetric_basis
from ired.instruments.probing import description_length, logistic, ridge, scores
from ired.instruments.probing.description_length import Code
from ired.instruments.probing.logistic import Judgement
from ired.instruments.probing.ridge import Targets
from ired.instruments.probing.scores import Scores
from ired.instruments.statistics.intervals import Interval
from ired.model.protocol import Energy

Where = tuple[str, str, int]  # source, layer, landscape
Layers = Callable[[Tensor], Mapping[str, Tensor]]  # of a network that sees problems alone
# What a problem has, whatever the state.
OF_PROBLEM = tuple(name for name in ridge.PROPERTIES if name != "distance")
# The energies of a comparison, and where each is read: an affine denoiser's best is what it is given.
READ_AT = {
    "trained": ("trained", "fc3"),
    "affine": ("input", "A, y"),
    "regression": scores.BESIDE,
    "untrained": ("untrained", "fc3"),
}
# What is also described by logistic probes and codes, which take longer.
DESCRIBED = (
    ("input", "A, y"),
    ("input", ridge.GIVEN),
    *(("trained", layer) for layer in ridge.LAYERS),
    ("untrained", "fc1"),
    ("untrained", "fc3"),
    scores.BESIDE,
)
CONTROLLED = (("input", ridge.GIVEN), ("trained", "fc3"), ("untrained", "fc3"))


def asked_for(properties: Mapping[str, Tensor], A: Tensor, y0: Tensor, errors: Tensor) -> dict[str, Tensor]:
    """What no state changes of P problems A (P, n, n), (P,) or (P, m) each, in the unit that probes are asked for.

    properties: those of the matrices (P,), of which condition number and smallest eigenvalue become logarithms;
    y0 (P, d): the answers, whose entries are "inverse", each once; errors (P,) of sampled answers, which
    "success" says to lie below their median.
    """
    logarithms = {name: properties[name].log() for name in ("condition_number", "smallest_eigenvalue")}
    entries = y0 @ symmetric_basis(A.shape[-1], y0).mT  # each once, in raw coordinates too
    return dict(properties) | logarithms | {"success": errors < errors.median(), "inverse": entries}


@dataclass
class ProbeStudy:
    """Probes of P problems, each with one state a landscape, so that a row is a problem.

    energies: by name, "trained" and "untrained" among them; plain: by name, "regression" among them,
    networks that see A alone (`ridge.representations`); untrained: further networks, read in fc3 alone,
    into `others`; A (P, n, n); y0 (P, d): the answers; properties: those that no state changes, (P,) or
    (P, m), in the unit that is asked for; fold (P,); order (P,): in which problems are sent. By place:
    judged and control, logistic probes of success and of other problems' success; sent, codes of every
    property with their columns.
    """

    energies: Mapping[str, Energy]
    plain: Mapping[str, Layers]
    untrained: Mapping[str, Energy]
    A: Tensor
    y0: Tensor
    properties: Mapping[str, Tensor]
    fold: NDArray
    generator: torch.Generator
    scores: Scores
    others: Scores
    order: NDArray
    asked: Targets | None = None
    judged: dict[Where, Judgement] = field(default_factory=dict)
    control: dict[Where, Judgement] = field(default_factory=dict)
    sent: dict[Where, dict[str, tuple[Code, slice]]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        energies: Mapping[str, Energy],
        plain: Mapping[str, Layers],
        untrained: Mapping[str, Energy],
        A: Tensor,
        y0: Tensor,
        properties: Mapping[str, Tensor],
        folds: int,
        generator: torch.Generator,
    ) -> ProbeStudy:
        """Before any state is read. Raises ValueError for fewer problems than folds."""
        rng = np.random.default_rng(generator.initial_seed())
        fold, order = ridge.grouped_folds(np.arange(len(A)), folds, rng), rng.permutation(len(A))
        return cls(
            energies=energies,
            plain=plain,
            untrained=untrained,
            A=A,
            y0=y0,
            properties=properties,
            fold=fold,
            generator=generator,
            scores=Scores(folds),
            others=Scores(folds),
            order=order,
        )

    def read(self, y: Tensor, k: int, describe: bool = False) -> None:
        """Reads everything at states y (P, d) of landscape k; with `describe` also `DESCRIBED` by
        logistic probes and as description lengths."""
        model = next(iter(self.energies.values()))
        everything = {"distance": ridge.distance(model, self.y0, y, k), **self.properties}
        values = {name: everything[name] for name in ridge.PROPERTIES}
        matrix = power_features(self.A, 1)
        state = torch.cat([matrix, model.coordinates.to_basis(y).double()], 1)
        inputs = {name: state if name == "distance" else matrix for name in values}
        self.asked = ridge.probe_targets(values, inputs, self.generator, ridge.OF_SPECTRUM)
        representations = ridge.representations(self.energies, self.A, y, k, self.plain)
        for (source, layer), x in representations.items():
            self.scores.add(source, layer, k, ridge.ridge_probe(x, self.asked.values, self.fold), self.asked)
            if describe and (source, layer) in DESCRIBED:
                self._describe(x, (source, layer, k))
        properties = self.asked.of_task("property")
        further = ridge.representations(self.untrained, self.A, y, k, layers=("fc3",)) if self.untrained else {}
        for (source, layer), x in further.items():
            if source != "input":
                self.others.add(source, layer, k, ridge.ridge_probe(x, properties.values, self.fold), properties)

    def _describe(self, x: Tensor, where: Where) -> None:
        from threadpoolctl import threadpool_limits  # scikit-learn's own

        cells, seed = self.asked.cells, self.generator.initial_seed()
        columns = {name: cells[name, "property"] for name in ridge.PROPERTIES if name != "success"}
        success, permuted = (
            array(self.asked.values[:, cells["success", task]])[:, 0] > 0.5 for task in ("property", "permuted")
        )
        last = max(place.stop for place in columns.values())
        code = description_length.of_values(x, self.asked.values[:, :last], self.order, np.random.default_rng(seed))
        self.sent[where] = {name: (code, place) for name, place in columns.items()}
        flat, rng = array(x), np.random.default_rng(seed)
        # Products of a matrix with a vector: a second thread is waited for longer than it helps.
        with threadpool_limits(1):
            self.judged[where] = logistic.logistic_probe(flat, success, self.fold)
            if where[:2] in CONTROLLED:
                self.control[where] = logistic.logistic_probe(flat, permuted, self.fold)
            labels = description_length.of_labels(flat, success, self.order, rng)
        self.sent[where]["success"] = (labels, slice(0, 1))

    def foreseen(self, first: Where, second: Where) -> tuple[Interval, Interval]:
        """The first's AUROC of success, and the bits by which its log-loss is below the second's."""
        judged, beside = self.judged[first], self.judged[second]
        return judged.auroc(), self.scores.ahead(beside.bits, judged.bits)[0]

    def gain_over_given(self) -> Interval:
        """By how much R² at the trained fc3 exceeds that of [A, A², y], mean over properties and landscapes."""
        fc3, given = (
            self.scores.mean(*which, ridge.PROPERTIES) for which in (("trained", "fc3"), ("input", ridge.GIVEN))
        )
        return self.scores.ahead(fc3, given)[0]

    def beside(self, properties: Sequence[str]) -> dict[str, NDArray]:
        """What every problem adds to R², mean over `properties` and landscapes, (P,) by energy of READ_AT; of untrained
        networks the mean over all."""
        shares = {name: self.scores.mean(*place, properties) for name, place in READ_AT.items()}
        further = [self.others.mean(name, "fc3", properties) for name in self.untrained]
        return shares | {"untrained": np.mean([shares["untrained"], *further], axis=0)}

    def bits(self, landscape: int = 0) -> dict[str, NDArray]:
        """Log-loss (P,) in bits of the logistic probes of success, by energy of READ_AT; one untrained network."""
        return {name: self.judged[*place, landscape].bits for name, place in READ_AT.items()}

    def untrained_networks(self) -> DataFrame:
        """R² of each property at fc3 of every untrained network, means over landscapes: energy, property, r2."""
        read = {"untrained": self.scores} | dict.fromkeys(self.untrained, self.others)
        return DataFrame(
            {"energy": network, "property": name, "r2": of.of(network, "fc3", name).mean()}
            for network, of in read.items()
            for name in ridge.PROPERTIES
        )

    def tables(self) -> dict[str, DataFrame]:
        """Tidy tables: r2 (`Scores.table`), rises, ahead (`ired.instruments.probing.scores`), and with source, layer,
        landscape:

        success: task (property, permuted), auroc, low, high, bits, bits_of_base. lengths: property,
        saved (bits per problem and number), low, high, length, uniform (bits in all). curves:
        property, problems (that probes were fitted to), saved (bits per problem, of the next block).
        untrained_networks: see there.
        """
        success, lengths, curves = [], [], []
        for task, judged in (("property", self.judged), ("permuted", self.control)):
            for where, judgement in judged.items():
                bits = {"bits": judgement.bits.mean(), "bits_of_base": judgement.bits_of_base.mean()}
                success.append(_named(where) | {"task": task} | judgement.auroc().row("auroc") | bits)
        for where, codes in self.sent.items():
            for name, (code, place) in codes.items():
                of_property = _named(where) | {"property": name}
                total = {"length": code.length[place].sum(), "uniform": code.uniform[:, place].sum()}
                lengths.append(of_property | code.saved(place).row("saved") | total)
                curves += [
                    of_property | {"problems": count, "saved": saved}
                    for count, saved in zip(*code.curve(place), strict=True)
                ]
        return {
            "r2": self.scores.table(),
            "rises": scores.rises(self.scores, ridge.PROPERTIES),
            "ahead": scores.ahead(self.scores, ridge.LAYERS),
            "success": DataFrame(success),
            "lengths": DataFrame(lengths),
            "curves": DataFrame(curves),
            "untrained_networks": self.untrained_networks(),
        }


def probe_verdicts(study: ProbeStudy, tables: Mapping[str, DataFrame]) -> dict[str, tuple[bool, dict[str, float]]]:
    """The criteria of P5-01, met or not, with the numbers behind them, of a study with its `ProbeStudy.tables`."""
    rises, ahead = tables["rises"], tables["ahead"]
    best = ahead.loc[ahead["given_low"].idxmax()]
    area, fewer = study.foreseen(("trained", "fc3", 0), ("input", ridge.GIVEN, 0))
    above = {f"above_{rival}": (rises[f"{rival}_low"] > 0).sum() for rival in scores.AGAINST}
    return {
        "rises_with_depth_beyond_controls": (
            rises["beyond"].mean() > 0.5,
            {"of": len(rises), "beyond": rises["beyond"].sum()} | above,
        ),
        "inverse_is_linear_somewhere": (
            best["given_low"] > 0,
            {
                "gain": best["given"],
                "low": best["given_low"],
                "landscape": best["landscape"],
                "cells": (ahead["given_low"] > 0).sum(),
                "above_untrained": (ahead["untrained_low"] > 0).sum(),
            },
        ),
        "selective": (rises["selective"].mean() > 0.5, {"selective": rises["selective"].sum()}),
        "success_is_foreseen": (
            area.low > 0.5 and fewer.low > 0,
            {
                "auroc": area.estimate,
                "low": area.low,
                "fewer_bits": fewer.estimate,
                "fewer_bits_low": fewer.low,
            },
        ),
    }


def probe_metrics(r2: DataFrame, networks: DataFrame) -> dict[str, float]:
    """Metrics of P5-01: R² of every property at the trained network's layers, from [A, A², y] and [A, y] ("affine":
    the most that an affine denoiser holds), and at fc3 of the regression network, mean over landscapes; of untrained
    networks (`ProbeStudy.untrained_networks`) the least and the most, mean over properties of a problem."""
    means = r2[(r2["landscape"] < 0) & (r2["task"] == "property")].set_index(["source", "layer", "property"])["r2"]
    places = {layer: ("trained", layer) for layer in ridge.LAYERS} | {
        "given": ("input", ridge.GIVEN),
        "affine": READ_AT["affine"],
        "regression": READ_AT["regression"],
    }
    metrics = {f"r2.{label}.{name}": means[*at, name] for label, at in places.items() for name in ridge.PROPERTIES}
    by_network = networks[networks["property"].isin(OF_PROBLEM)].groupby("energy")["r2"].mean()
    return metrics | {"r2.untrained.least": by_network.min(), "r2.untrained.most": by_network.max()}


def _named(where: Where) -> dict[str, str | int]:
    return dict(zip(("source", "layer", "landscape"), where, strict=True))
