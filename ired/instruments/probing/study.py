"""All probes together: every representation, property and control in every landscape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from pandas import DataFrame
from torch import Tensor

from ired.instruments.accuracy.predictors import features
from ired.instruments.core.states import array
from ired.instruments.probing import description_length, logistic, ridge
from ired.instruments.probing.description_length import Code
from ired.instruments.probing.logistic import Judgement
from ired.instruments.probing.ridge import Targets
from ired.instruments.probing.scores import Scores
from ired.instruments.statistics.intervals import Interval
from ired.model.protocol import Energy

Where = tuple[str, str, int]  # source, layer, landscape
# What is also described by logistic probes and codes, which take longer.
DESCRIBED = (
    ("input", "A, y"), ("input", ridge.GIVEN), *(("trained", layer) for layer in ridge.LAYERS),
    ("untrained", "fc1"), ("untrained", "fc3"),
)  # fmt: skip
CONTROLLED = (("input", ridge.GIVEN), ("trained", "fc3"), ("untrained", "fc3"))


@dataclass
class Study:
    """Probes of P problems, each with one state a landscape, so that a row is a problem.

    energies: by name, "trained" and "untrained" among them; A (P, n, n); y0 (P, d): the answers;
    known: the properties that no state changes, (P,) or (P, m), in the unit that is asked for; fold
    (P,); order (P,): in which problems are sent. By place: judged and control, logistic probes of
    success and of other problems' success; sent, codes of every property with their columns.
    """

    energies: Mapping[str, Energy]
    A: Tensor
    y0: Tensor
    known: Mapping[str, Tensor]
    fold: NDArray
    generator: torch.Generator
    scores: Scores
    order: NDArray
    asked: Targets | None = None
    judged: dict[Where, Judgement] = field(default_factory=dict)
    control: dict[Where, Judgement] = field(default_factory=dict)
    sent: dict[Where, dict[str, tuple[Code, slice]]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, energies: Mapping[str, Energy], A: Tensor, y0: Tensor, known: Mapping[str, Tensor],
        folds: int, generator: torch.Generator,
    ) -> Study:
        rng = np.random.default_rng(generator.initial_seed())
        fold, order = ridge.folds(np.arange(len(A)), folds, rng), rng.permutation(len(A))
        return cls(energies, A, y0, known, fold, generator, Scores(folds), order)

    def look(self, y: Tensor, k: int, describe: bool = False) -> None:
        """Reads everything at states y (P, d) of landscape k; with `describe` also `DESCRIBED` by
        logistic probes and as description lengths."""  # fmt: skip
        model = next(iter(self.energies.values()))
        away = ridge.distance(model, self.y0, y, k)
        everything = {"distance": away, **self.known}
        values = {name: everything[name] for name in ridge.PROPERTIES}
        matrix = features(self.A, 1)
        state = torch.cat([matrix, model.coordinates.to_basis(y).double()], 1)
        inputs = {name: state if name == "distance" else matrix for name in values}
        self.asked = ridge.targets(values, inputs, self.generator, ridge.OF_SPECTRUM)
        found = ridge.representations(self.energies, self.A, y, k)
        for (source, layer), x in found.items():
            self.scores.add(source, layer, k, ridge.read(x, self.asked.values, self.fold), self.asked)
            if describe and (source, layer) in DESCRIBED:
                self._describe(x, (source, layer, k))

    def _describe(self, x: Tensor, where: Where) -> None:
        from threadpoolctl import threadpool_limits  # scikit-learn's own

        cells, seed = self.asked.cells, self.generator.initial_seed()
        columns = {name: cells[name, "property"] for name in ridge.PROPERTIES if name != "success"}
        success, other = (
            array(self.asked.values[:, cells["success", task]])[:, 0] > 0.5
            for task in ("property", "permuted")
        )
        last = max(own.stop for own in columns.values())
        code = description_length.of_values(
            x, self.asked.values[:, :last], self.order, np.random.default_rng(seed)
        )
        self.sent[where] = {name: (code, own) for name, own in columns.items()}
        flat, rng = array(x), np.random.default_rng(seed)
        # Products of a matrix with a vector: a second thread is waited for longer than it helps.
        with threadpool_limits(1):
            self.judged[where] = logistic.judge(flat, success, self.fold)
            if where[:2] in CONTROLLED:
                self.control[where] = logistic.judge(flat, other, self.fold)
            labels = description_length.of_labels(flat, success, self.order, rng)
        self.sent[where]["success"] = (labels, slice(0, 1))

    def foreseen(self, first: Where, second: Where) -> tuple[Interval, Interval]:
        """The first's AUROC, and the bits by which its log-loss is below the second's."""
        one, two = self.judged[first], self.judged[second]
        return one.auroc(), self.scores.ahead(two.bits, one.bits)[0]

    def tables(self) -> dict[str, DataFrame]:
        """Tidy tables, each with source, layer, landscape.

        success: task (property, permuted), auroc, low, high, bits, bits_of_base. lengths: property,
        saved (bits per problem and number), low, high, length, uniform (bits in all). curves:
        property, problems (that probes were fitted to), saved (bits per problem, of the next block).
        """
        success, lengths, curves = [], [], []
        for task, judged in (("property", self.judged), ("permuted", self.control)):
            for where, one in judged.items():
                area = one.auroc()
                success.append((*where, task, area.estimate, area.low, area.high, one.bits.mean(),
                                one.bits_of_base.mean()))  # fmt: skip
        for where, codes in self.sent.items():
            for name, (code, own) in codes.items():
                seen = code.saved(own)
                lengths.append((*where, name, seen.estimate, seen.low, seen.high,
                                code.length[own].sum(), code.uniform[:, own].sum()))  # fmt: skip
                grown = zip(*code.curve(own), strict=True)
                curves += [(*where, name, count, saved) for count, saved in grown]
        columns = {
            "success": ("task", "auroc", "low", "high", "bits", "bits_of_base"),
            "lengths": ("property", "saved", "low", "high", "length", "uniform"),
            "curves": ("property", "problems", "saved"),
        }
        return {
            name: DataFrame(rows, columns=["source", "layer", "landscape", *columns[name]])
            for name, rows in zip(columns, (success, lengths, curves), strict=True)
        }
