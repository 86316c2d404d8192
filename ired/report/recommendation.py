"""Which negatives to train with, for which goal: a rule on P7-04's table, nothing measured anew.

A kind of negatives is better at a goal where Student's interval of the difference to none, paired by
seed, lies on the better side of 0 and p < 0.05 after Benjamini and Hochberg's correction over the kinds
of this goal (the rule of P7-04's own criteria); perhaps better where only the interval does; worse in the
same two steps. What is neither is no equality: the smallest difference that so many seeds see with 80 %
power stands beside it. Other energies are a family of their own and are never taken: they are no kind of
negatives. What follows from it in sentences: `advice_sentences`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from pandas import DataFrame, Series

from ired.instruments.statistics.intervals import adjust

BETTER, PERHAPS_BETTER, NO_DIFFERENCE = "better", "perhaps better", "no difference seen"
PERHAPS_WORSE, WORSE, MISSING, MEASURED = "perhaps worse", "worse", "not measured", "measured"
LOWER, HIGHER, NEARER = "lower", "higher", "nearer"
NONE, KINDS = "none", ("random", "adversarial", "property")
# What is taken where no kind is: no negatives, nothing that does the task, or nothing known.
ENOUGH, NOTHING, UNKNOWN, CHEAPEST = "none is enough", "no kind does", "not known", "none is cheapest"
COST = "training.seconds"
_NUMBERS = ["seeds", "mean", "reference_mean", "difference", "low", "high", "p_t", "d_z", "detectable"]
_SHARES = ["relative", "relative_low", "relative_high"]
_NAN = float("nan")


@dataclass(frozen=True)
class Goal:
    """name; metric; better: LOWER, HIGHER or NEARER (to `ideal`, which an ideal landscape has: higher is
    better while below it); when: ends "train with X when …"; chance: what a metric must pass to be of
    any use, NaN if nothing."""

    name: str
    metric: str
    better: str
    when: str
    ideal: float = _NAN
    chance: float = _NAN

    def works(self, mean: float) -> bool:
        """Whether a mean passes chance; True of goals that know none."""
        return not (mean >= self.chance if self.better == LOWER else mean <= self.chance)

    def gains(self, reference: float, low: float, high: float) -> tuple[float, float]:
        """Least and most that is gained by differences between low and high, in the metric's unit."""
        if self.better != NEARER:
            return (-high, -low) if self.better == LOWER else (low, high)
        distance = abs(reference - self.ideal)
        ends = [distance - abs(reference + end - self.ideal) for end in (low, high)]
        return min(ends), distance if low <= self.ideal - reference <= high else max(ends)

    def gain(self, cell: GoalCell) -> float:
        """What a cell gains by its mean, in the metric's unit."""
        return self.gains(cell.reference, *2 * [cell.mean - cell.reference])[0]


GOALS = (
    Goal(
        "answers after descent",
        "accuracy.mse.test",
        LOWER,
        "answers are found by descent on problems like those of training",
    ),
    Goal("answers by denoising alone", "accuracy.mse_denoised.test", LOWER, "answers are found by denoising alone"),
    Goal("harder problems", "accuracy.mse.harder", LOWER, "problems are harder, c = 0.1"),
    Goal("ill-conditioned problems", "accuracy.mse.kappa_100_300", LOWER, "problems are ill-conditioned, κ 100 to 300"),
    Goal("one minimum", "landscape.minima", LOWER, "a landscape with a single minimum is wanted"),
    Goal("minimum near the answer", "landscape.nearest_minimum", LOWER, "the minimum is to lie at the answer"),
    Goal("curvature near 1/σ", "landscape.curvature", NEARER, "curvature is to be the ideal one", ideal=1.0),
    Goal(
        "energy as an alarm",
        "sanity.alarm",
        HIGHER,
        "the energy is to be higher at wrong answers to harder problems",
        chance=0.5,
    ),
)
TRAINING = Goal("cost of training", COST, LOWER, "training has to be cheap")


@dataclass(frozen=True)
class GoalCell:
    """What a kind of negatives (or another energy) does to a goal, against none.

    relative, low, high, detectable: shares of the reference's mean where `share`, else in the metric's
    unit; p: corrected over the kinds; detectable: NaN where all seeds agree; mean, reference: of the
    metric; d_z: mean difference over its deviation between seeds.
    """

    goal: str
    kind: str
    verdict: str
    relative: float = _NAN
    low: float = _NAN
    high: float = _NAN
    p: float = _NAN
    detectable: float = _NAN
    mean: float = _NAN
    reference: float = _NAN
    d_z: float = _NAN
    seeds: int = 0
    share: bool = True

    @property
    def text(self) -> str:
        """The number as it is printed: "−41 % [−58, −11]", from 10 times less or 3 times as much on as a
        factor, "÷ 150 [81, 220]"."""
        if self.verdict == MISSING:
            return "–"
        if self.verdict == MEASURED:
            return f"× {digits(1 + self.relative)}"
        return _change(self.relative, self.low, self.high, self.share)

    @property
    def smallest(self) -> str:
        """The smallest difference that would have been seen: "44 %"; "" where all seeds agree."""
        if not np.isfinite(self.detectable):
            return ""
        return f"{digits(100 * self.detectable)} %" if self.share else digits(self.detectable)

    def gains(self, goal: Goal) -> tuple[float, float]:
        """Least and most gain within the interval, in the metric's unit."""
        scale = self.reference if self.share else 1.0
        return goal.gains(self.reference, scale * self.low, scale * self.high)


@dataclass(frozen=True)
class Advice:
    """cells: by kind of negatives; others: by other energy; take: a kind, ENOUGH (with "perhaps …"),
    NOTHING or UNKNOWN; why: every kind by its verdict; instead: another energy that is beyond all kinds,
    interval from interval, or ""."""

    goal: Goal
    cells: Mapping[str, GoalCell]
    take: str
    why: str
    others: Mapping[str, GoalCell] = field(default_factory=dict)
    instead: str = ""

    def having(self, *verdicts: str) -> list[GoalCell]:
        """Cells of the kinds with one of these verdicts."""
        return [cell for cell in self.cells.values() if cell.verdict in verdicts]


def advise(
    table: DataFrame,
    costs: DataFrame | None = None,
    kinds: Sequence[str] = KINDS,
    goals: Sequence[Goal] = GOALS,
) -> tuple[Advice, ...]:
    """What to take for each goal, and at last what training costs.

    table: rows of `paired_seeds.Comparison.table` against none; variants that are no kind are other
    energies. costs: variant and either seconds (none among them) or ratio; means of several rows. Kinds
    count as tied with the best where their interval has its number within; of tied ones the cheapest is
    taken, the best where a cost is not known. Rows with a number that is not finite are as missing.
    ValueError: a column is missing, a row stands twice.
    """
    lost = [name for name in ("variant", "metric", *_NUMBERS, *_SHARES) if name not in table]
    if lost:
        raise ValueError(f"the comparison has no column {lost[0]!r}")
    if table.duplicated(["variant", "metric"]).any():
        raise ValueError("a variant's metric stands twice in the comparison")
    others = [name for name in dict.fromkeys(table["variant"]) if name not in (*kinds, NONE)]
    ratios = _ratios(costs)
    advice = []
    for goal in goals:
        rows = table[table["metric"] == goal.metric].set_index("variant")
        rows = rows[np.isfinite(rows[_NUMBERS].to_numpy(dtype=float)).all(1)]
        share = bool(np.isfinite(rows[_SHARES].to_numpy(dtype=float)).all())
        of_kinds, of_energies = (_cells(goal, rows, names, share) for names in (kinds, others))
        take = _take(goal, of_kinds, ratios)
        advice.append(
            Advice(
                goal=goal,
                cells=of_kinds,
                take=take,
                why=_why(of_kinds),
                others=of_energies,
                instead=_instead(goal, of_kinds, of_energies),
            )
        )
    of_kinds, of_energies = ({name: _cost(name, ratios) for name in names} for names in (kinds, others))
    known = {name: cell.relative for name, cell in of_kinds.items() if cell.verdict == MEASURED}
    least = min(known, key=known.__getitem__, default="")
    take = UNKNOWN if not known else least if known[least] < 0 else CHEAPEST
    return *advice, Advice(goal=TRAINING, cells=of_kinds, take=take, why=_why(of_kinds), others=of_energies)


def _cells(goal: Goal, rows: DataFrame, names: Iterable[str], share: bool) -> dict[str, GoalCell]:
    """A cell a name; p-values are corrected over those that are there."""
    names = list(names)
    there = [name for name in names if name in rows.index]
    p = dict(zip(there, adjust(rows.loc[there, "p_t"]), strict=True)) if there else {}
    return {
        name: _cell(goal, name, rows.loc[name], float(p[name]), share)
        if name in p
        else GoalCell(goal.name, name, MISSING)
        for name in names
    }


def _cell(goal: Goal, kind: str, row: Series, p: float, share: bool) -> GoalCell:
    names = _SHARES if share else ("difference", "low", "high")
    change, low, high = (float(row[name]) for name in names)
    reference, detectable = float(row["reference_mean"]), float(row["detectable"])
    least, most = goal.gains(reference, float(row["low"]), float(row["high"]))
    verdict = NO_DIFFERENCE
    if least > 0:
        verdict = BETTER if p < 0.05 else PERHAPS_BETTER
    elif most < 0:
        verdict = WORSE if p < 0.05 else PERHAPS_WORSE
    detectable = detectable / (reference if share else 1.0) if detectable > 0 else _NAN
    return GoalCell(
        goal=goal.name,
        kind=kind,
        verdict=verdict,
        relative=change,
        low=low,
        high=high,
        p=p,
        detectable=detectable,
        mean=float(row["mean"]),
        reference=reference,
        d_z=float(row["d_z"]),
        seeds=int(row["seeds"]),
        share=share,
    )


def _take(goal: Goal, cells: Mapping[str, GoalCell], ratios: Mapping[str, float]) -> str:
    known = [cell for cell in cells.values() if cell.verdict != MISSING]
    if not known:
        return UNKNOWN
    better, perhaps = (
        [cell for cell in known if cell.verdict == verdict and goal.works(cell.mean)]
        for verdict in (BETTER, PERHAPS_BETTER)
    )
    if not better:
        base = ENOUGH if goal.works(known[0].reference) else NOTHING
        return f"{base} (perhaps {' or '.join(cell.kind for cell in perhaps)})" if perhaps else base
    best = max(better, key=goal.gain)
    tied = [best, *(c for c in better if c is not best and c.low <= best.relative <= c.high)]
    if all(cell.kind in ratios for cell in tied):
        best = min(tied, key=lambda cell: ratios[cell.kind])
    return best.kind


def _instead(goal: Goal, of_kinds: Mapping[str, GoalCell], of_energies: Mapping[str, GoalCell]) -> str:
    """The best of the other energies that gain more at the least than any kind does at the most."""
    most = [cell.gains(goal)[1] for cell in of_kinds.values() if cell.verdict != MISSING]
    beyond = [
        cell
        for cell in of_energies.values()
        if cell.verdict == BETTER and goal.works(cell.mean) and cell.gains(goal)[0] > max(most, default=np.inf)
    ]
    return max(beyond, key=goal.gain).kind if beyond else ""


def _ratios(costs: DataFrame | None) -> dict[str, float]:
    """Cost of training by variant over that of none; those that are not known are left out."""
    if costs is None or costs.empty:
        return {}
    if "variant" not in costs or not {"ratio", "seconds"} & set(costs):
        raise ValueError("costs need a column variant, and seconds or ratio")
    means = costs.groupby("variant")["ratio" if "ratio" in costs else "seconds"].mean()
    values = means / (1.0 if "ratio" in costs else means.get(NONE, _NAN))
    return {str(kind): float(value) for kind, value in values.items() if np.isfinite(value)}


def _cost(kind: str, ratios: Mapping[str, float]) -> GoalCell:
    if kind not in ratios:
        return GoalCell(TRAINING.name, kind, MISSING)
    return GoalCell(TRAINING.name, kind, MEASURED, ratios[kind] - 1, mean=ratios[kind], reference=1.0)


def _why(cells: Mapping[str, GoalCell]) -> str:
    """Every kind with its number, by verdict."""
    parts = []
    for verdict in (BETTER, PERHAPS_BETTER, NO_DIFFERENCE, PERHAPS_WORSE, WORSE, MEASURED, MISSING):
        alike = [cell for cell in cells.values() if cell.verdict == verdict]
        if alike:
            told = (
                cell.kind
                + ("" if verdict == MISSING else f" {cell.text}")
                + (f" (seen from {cell.smallest} on)" if verdict == NO_DIFFERENCE and cell.smallest else "")
                for cell in alike
            )
            parts.append(f"{verdict}: {', '.join(told)}")
    return "; ".join(parts)


def _change(value: float, low: float, high: float, share: bool) -> str:
    if not share:
        return "{} [{}, {}]".format(*(_signed(digits(abs(v)), v) for v in (value, low, high)))
    if value <= -0.9 and low > -1:
        return "÷ {} [{}, {}]".format(*(digits(1 / (1 + v)) for v in (value, high, low)))
    if value >= 2:
        return "× {} [{}, {}]".format(*(digits(1 + v) for v in (value, low, high)))
    places = 1 if abs(value) < 0.1 and high - low < 0.1 else 0
    parts = (_signed(f"{abs(100 * v):.{places}f}", v) for v in (value, low, high))
    return "{} % [{}, {}]".format(*parts)


def digits(value: float) -> str:
    """Two figures."""
    return ("−" if value < 0 else "") + f"{float(f'{abs(value):.2g}'):.12g}"


def _signed(number: str, value: float) -> str:
    return ("−" if value < 0 else "+") * (float(number) != 0) + number
