"""What follows from advice on negatives, in sentences: recommendations, and what to train next.

Every sentence has a condition on verdicts (`advice`); none stands there whatever was found.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ired.instruments.statistics.power import power_of_paired_t_test
from ired.report.recommendation import (
    BETTER,
    COST,
    ENOUGH,
    LOWER,
    MEASURED,
    MISSING,
    NO_DIFFERENCE,
    NONE,
    NOTHING,
    PERHAPS_BETTER,
    PERHAPS_WORSE,
    WORSE,
    Advice,
    digits,
)

MOST = 50  # seeds beyond which nobody trains
DESCENDED, DENOISED = "accuracy.mse.test", "accuracy.mse_denoised.test"


def seeds_needed(d_z: float, level: float = 0.95, power: float = 0.8, most: int = MOST) -> int | None:
    """Seeds with which the paired t-test, two-sided at 1 − level, sees a true d_z with this power
    (noncentral t); None beyond `most`."""
    return next((count for count in range(2, most + 1) if power_of_paired_t_test(d_z, count, level) >= power), None)


def recommendations(advice: Sequence[Advice]) -> tuple[str, ...]:
    """Which negatives, when and why: what to take, what is open, what to leave, other energies."""
    tested = _tested(advice)
    price = {
        kind: cell
        for goal in advice
        if goal.goal.metric == COST
        for kind, cell in goal.cells.items()
        if cell.verdict == MEASURED
    }
    lines = []
    for kind in _kinds(tested):
        taken = [goal for goal in tested if goal.take == kind]
        if taken:
            cost = f" Training takes {digits(price[kind].mean)} times as long." if kind in price else ""
            lines.append(f"Take {kind} negatives when {_when(taken, kind)}.{cost}")
        worse = [goal for goal in tested if goal.take in goal.cells and goal.cells[kind].verdict == WORSE]
        if worse:
            lines.append(f"Leave {kind} negatives when {_when(worse, kind)}.")
    lines += [line for goal in tested for line in _without(goal)]
    lines += _descent(tested)
    for energy in dict.fromkeys(goal.instead for goal in tested if goal.instead):
        told = "; ".join(_beyond(goal, energy) for goal in tested if goal.instead == energy)
        worse = [goal for goal in tested if goal.others[energy].verdict == WORSE]
        but = "; ".join(f"{goal.goal.when} ({goal.others[energy].text})" for goal in worse)
        lines.append(
            f"Changing the energy to {energy} gains more than any negatives when {told}."
            + f" It is worse when {but}." * bool(but)
        )
    lost = "; ".join(f"{kinds} ({goals})" for kinds, goals in _lost(tested).items())
    return (*lines, *[f"Not measured, and so not recommended: {lost}."] * bool(lost))


def next_trainings(advice: Sequence[Advice]) -> tuple[str, ...]:
    """What one would train next: what is undecided (fewest seeds first), divided, untried or missing.

    Seeds see the effect as it was found with 80 % power. Effects that just passed a threshold were
    found too large on average: these numbers are rather too small.
    """
    tested = _tested(advice)
    counted = sorted((pair for goal in tested for pair in _undecided(goal)), key=lambda pair: pair[0])
    lines, divided, useful = [line for _, line in counted], {}, []
    for kind in _kinds(tested):
        good = tuple(
            goal.goal.name
            for goal in tested
            if goal.goal.works(goal.cells[kind].mean) and goal.cells[kind].verdict in (BETTER, PERHAPS_BETTER)
        )
        bad = tuple(goal.goal.name for goal in tested if goal.cells[kind].verdict in (WORSE, PERHAPS_WORSE))
        useful += [kind] * bool(good)
        if good and bad:
            divided.setdefault((_listed(good), _listed(bad)), []).append(kind)
    for (good, bad), kinds in divided.items():
        lines.append(
            f"{_listed(kinds, 'or')} with smaller weights of the contrastive loss: better at "
            f"{good}, worse at {bad}; is there a weight that only gains?"
        )
    known = {name for goal in tested for name, cell in goal.others.items() if cell.verdict != MISSING}
    for energy in dict.fromkeys(goal.instead for goal in tested if goal.instead):
        untried = [kind for kind in useful if f"{energy}-{kind}" not in known]
        if untried and not any(energy.endswith(f"-{kind}") for kind in _kinds(tested)):
            lines.append(f"{energy} with {_listed(untried, 'or')} negatives: do they gain anything there?")
    return (*lines, *(f"{kinds}, not measured yet: {goals}." for kinds, goals in _lost(tested).items()))


def _undecided(goal: Advice) -> list[tuple[int, str]]:
    """Seeds and a sentence for each "perhaps", and where no kind is better at all for the one that looks
    most like it."""
    open_ = goal.having(PERHAPS_BETTER, PERHAPS_WORSE)
    gaining = [cell for cell in goal.having(NO_DIFFERENCE) if goal.goal.gain(cell) > 0]
    if gaining and not goal.having(BETTER, PERHAPS_BETTER):
        open_.append(max(gaining, key=lambda cell: abs(cell.d_z)))
    family, undecided = len(goal.cells) - len(goal.having(MISSING)), []
    for cell in open_:
        # The strictest that the correction can ask: all of it falls on this kind.
        count, strict = seeds_needed(cell.d_z), seeds_needed(cell.d_z, 1 - 0.05 / family)
        corrected = f" ({_seeds(strict)} if corrected for {family} kinds)" if family > 1 else ""
        undecided.append(
            (
                count or MOST + 1,
                f"{cell.kind} and {NONE} with {_seeds(count)} seeds{corrected} in "
                f"place of {cell.seeds}: {goal.goal.name}, {cell.verdict}, {cell.text}.",
            )
        )
    return undecided


def _without(goal: Advice) -> list[str]:
    """A goal for which no kind is taken."""
    if goal.take in goal.cells:
        return []
    when, parts = f"When {goal.goal.when}, ", []
    perhaps = [cell for cell in goal.having(PERHAPS_BETTER) if goal.goal.works(cell.mean)]
    known = [cell for cell in goal.cells.values() if cell.verdict != MISSING]
    if not known:
        return []
    if perhaps:
        told = _listed(f"{cell.kind} ({cell.text}, p {digits(cell.p)})" for cell in perhaps)
        parts.append(f"{when}perhaps {told}: corrected for the kinds, {perhaps[0].seeds} seeds do not show it")
    elif goal.take == NOTHING:
        told = ", ".join(f"{cell.kind} {digits(cell.mean)}" for cell in known)
        parts.append(
            f"{when}no kind of negatives does: chance is {goal.goal.chance:g}, {NONE} "
            f"{digits(known[0].reference)}, {told}"
        )
    elif goal.having(WORSE, PERHAPS_WORSE):
        parts.append(f"{when}train without negatives: no kind is better")
    elif goal.take == ENOUGH:
        told = ", ".join(
            f"{cell.kind} {cell.smallest}" if cell.smallest else f"{cell.kind} is the same" for cell in known
        )
        seen_ = f"no kind is seen to differ, where so much would have been: {told}"
        alike = "with every kind it is the same at all seeds"
        parts.append(f"{when}none is enough: {seen_ if any(c.smallest for c in known) else alike}")
    if goal.take != NOTHING:
        parts += [f"{cell.kind} is {cell.verdict}, {cell.text}" for cell in goal.having(PERHAPS_WORSE, WORSE)]
    return ["; ".join(parts) + "."] if parts else []


def _descent(tested: Sequence[Advice]) -> list[str]:
    """Whether answers need descent at all: negatives may mend no more than it breaks. Means, no test."""
    errors = {goal.goal.metric: _means(goal) for goal in tested}
    descended, denoised = errors.get(DESCENDED), errors.get(DENOISED)
    if not descended or NONE not in (denoised or {}):
        return []
    best = min(descended, key=descended.__getitem__)
    if denoised[NONE] >= descended[best]:
        return []
    return [
        "On problems like those of training, denoising alone without negatives has the smaller error: "
        f"{digits(denoised[NONE])}; the best after descent has {digits(descended[best])} ({best}; means, "
        "not tested)."
    ]


def _means(goal: Advice) -> dict[str, float]:
    """Of none and every kind that was measured."""
    known = [cell for cell in goal.cells.values() if cell.verdict != MISSING]
    return {NONE: known[0].reference} | {cell.kind: cell.mean for cell in known} if known else {}


def _beyond(goal: Advice, energy: str) -> str:
    """What another energy has beside the best of none and all kinds."""
    cell = goal.others[energy]
    best = max((cell for cell in goal.cells.values() if cell.verdict != MISSING), key=goal.goal.gain)
    name, value = (best.kind, best.mean) if goal.goal.gain(best) > 0 else (NONE, best.reference)
    if goal.goal.better == LOWER and 0 < cell.mean < value:
        return f"{goal.goal.when} ({digits(value / cell.mean)} times less than {name})"
    return f"{goal.goal.when} ({digits(cell.mean)}, {name} {digits(value)})"


def _lost(tested: Sequence[Advice]) -> dict[str, str]:
    """Goals that the same kinds were not measured for."""
    lost: dict[str, list[str]] = {}
    for goal in tested:
        kinds = [cell.kind for cell in goal.having(MISSING)]
        if kinds:
            word = "every kind" if len(kinds) == len(goal.cells) else _listed(kinds)
            lost.setdefault(word, []).append(goal.goal.name)
    return {kinds: ", ".join(goals) for kinds, goals in lost.items()}


def _tested(advice: Sequence[Advice]) -> list[Advice]:
    return [goal for goal in advice if goal.goal.metric != COST]


def _kinds(tested: Sequence[Advice]) -> list[str]:
    return list(dict.fromkeys(kind for goal in tested for kind in goal.cells))


def _when(goals: Sequence[Advice], kind: str) -> str:
    return "; ".join(f"{goal.goal.when} ({goal.cells[kind].text})" for goal in goals)


def _seeds(count: int | None) -> str:
    return f"more than {MOST}" if count is None else str(count)


def _listed(parts: Iterable[str], last: str = "and") -> str:
    *head, tail = parts
    return f"{', '.join(head)} {last} {tail}" if head else tail
