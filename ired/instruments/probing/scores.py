"""Corrected resampled t-tests (Nadeau & Bengio 2003) of probes side by side: which are better than which?

The problem is the unit, and two representations are compared problem by problem, both read by probes
that had never seen it. Probes of different folds share training problems, and each pair of problems
serves twice, once either way round: errors of a mean over problems are too small. For labels that
belong to nothing the variance is twice what single problems say, and intervals without a correction
cover 80 % (measured) where they promise 95 %. So all are widened by Nadeau and Bengio's correction
(2003, Machine Learning 52): by √(1 + J/(J − 1)) for J folds, 1.5 for five.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pandas import DataFrame
from scipy import special

from ired.instruments.core.states import array
from ired.instruments.probing.logistic import widening
from ired.instruments.probing.ridge import GIVEN, Reading, Targets
from ired.instruments.statistics.intervals import Interval, adjust, unit_means

AGAINST = {
    "fc1": ("trained", "fc1"),
    "untrained": ("untrained", "fc3"),
    "input": ("input", "A, y"),
    "given": ("input", GIVEN),
}
BESIDE = ("regression", "fc3")


@dataclass
class Scores:
    """R² of every representation in every landscape.

    folds: J of the cross-validation; cells: (property, task) of the columns; shares[source, layer,
    landscape]: (P, cells), what every problem adds to R², which is their mean.
    """

    folds: int
    cells: tuple[tuple[str, str], ...] = ()
    shares: dict[tuple[str, str, int], NDArray] = field(default_factory=dict)

    def add(
        self,
        source: str,
        layer: str,
        landscape: int,
        reading: Reading,
        asked: Targets,
        groups: ArrayLike | None = None,
    ) -> None:
        """A reading, its states averaged within the problems `groups` (N,)."""
        self.cells = tuple(asked.cells)
        columns = array(reading.shares(asked)).T
        self.shares[source, layer, landscape] = np.stack([unit_means(c, groups) for c in columns], 1)

    @property
    def landscapes(self) -> list[int]:
        """Those that were read, in order."""
        return list(dict.fromkeys(k for *_, k in self.shares))

    def of(self, source: str, layer: str, name: str, task: str = "property", landscape: int | None = None) -> NDArray:
        """Shares (P,) of one property, on average over landscapes if none is named."""
        column = self.cells.index((name, task))
        chosen = self.landscapes if landscape is None else [landscape]
        return np.mean([self.shares[source, layer, k][:, column] for k in chosen], axis=0)

    def mean(self, source: str, layer: str, properties: Sequence[str]) -> NDArray:
        """Shares (P,) on average over properties and landscapes."""
        return np.mean([self.of(source, layer, name) for name in properties], axis=0)

    def ahead(self, first: NDArray, second: NDArray | float = 0.0, level: float = 0.95) -> tuple[Interval, float]:
        """By how much R² of the first shares (P,) exceeds that of the second, with Student's interval
        over problems, and the one-sided p-value of Student's paired test; both widened."""
        gain = np.asarray(first) - second
        units, centre = len(gain), float(gain.mean())
        error = widening(self.folds) * float(gain.std(ddof=1)) / np.sqrt(units)
        reach = float(special.stdtrit(units - 1, (1 + level) / 2)) * error
        interval = Interval(
            estimate=centre, low=centre - reach, high=centre + reach, level=level, units=units, method="t"
        )
        if error == 0:
            return interval, float(centre <= 0)
        return interval, float(special.stdtr(units - 1, -centre / error))

    def margin(self, first: NDArray, second: NDArray | float, level: float) -> Interval:
        """The interval of `ahead`."""
        return self.ahead(first, second, level)[0]

    def table(self, level: float = 0.95) -> DataFrame:
        """R² of all: source, layer, landscape (−1: on average over landscapes), property, task, r2,
        low, high."""
        rows = []
        for source, layer in dict.fromkeys((s, name) for s, name, _ in self.shares):
            for k in (None, *self.landscapes):
                for name, task in self.cells:
                    interval, _ = self.ahead(
                        self.of(source=source, layer=layer, name=name, task=task, landscape=k), level=level
                    )
                    cell = {
                        "source": source,
                        "layer": layer,
                        "landscape": -1 if k is None else k,
                        "property": name,
                        "task": task,
                    }
                    rows.append(cell | interval.row("r2"))
        return DataFrame(rows)


def rises(scores: Scores, properties: Sequence[str], level: float = 0.95) -> DataFrame:
    """Is a property easier to read from fc3 than from fc1, than from the untrained network's fc3, than
    from [A, y] and from [A, A², y]? On average over landscapes.

    A row a property: for each comparison (see AGAINST) the gain in R² with its interval; p: the
    largest of the four, since all must hold (intersection–union test, Berger 1982); p_adjusted:
    corrected over properties (Benjamini–Hochberg); beyond: whether that is below 1 − level. The same
    for how far fc3 is ahead of itself with a random function of the problem: selectivity. regression:
    the gain beside BESIDE, which none of these decisions is about.
    """
    rows = []
    for name in properties:
        fc3, row, p = scores.of("trained", "fc3", name), {"property": name}, []
        rivals = {what: scores.of(*which, name) for what, which in AGAINST.items()}
        rivals["selectivity"] = scores.of("trained", "fc3", name, "function")
        for what, rival in rivals.items():
            gain, chance = scores.ahead(fc3, rival, level)
            p.append(chance)
            row |= gain.columns(what)
        row |= scores.ahead(fc3, scores.of(*BESIDE, name), level)[0].columns(BESIDE[0])
        rows.append(row | {"p": max(p[:-1]), "selective_p": p[-1]})
    table = DataFrame(rows)
    for name, decided in (("p", "beyond"), ("selective_p", "selective")):
        table[f"{name}_adjusted"] = adjust(table[name])
        table[decided] = table[f"{name}_adjusted"] < 1 - level
    return table


def ahead(scores: Scores, layers: Sequence[str], name: str = "inverse", level: float = 0.95) -> DataFrame:
    """By how much the trained network's layers are ahead of [A, A², y], and of the same layer
    untrained and of the regression network, in reading a property in each landscape: layer, landscape,
    given, given_low, given_high, untrained, regression, …_low, …_high, at a level corrected for the
    number of cells (Bonferroni)."""
    corrected, rows = 1 - (1 - level) / (len(layers) * len(scores.landscapes)), []
    for layer in layers:
        for k in scores.landscapes:
            shares = scores.of("trained", layer, name, landscape=k)
            row = {"layer": layer, "landscape": k}
            same = {source: (source, layer) for source in ("untrained", BESIDE[0])}
            for what, which in ({"given": ("input", GIVEN)} | same).items():
                gain, _ = scores.ahead(shares, scores.of(*which, name, landscape=k), corrected)
                row |= gain.columns(what)
            rows.append(row)
    return DataFrame(rows)
