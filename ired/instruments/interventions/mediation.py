"""What a direction causes: effects beyond chance, necessity, sufficiency, specificity, mediation.

A direction that goes with a property need not carry it. Five questions, each beside random directions
of the same space (Pearl 2001, "Direct and indirect effects", UAI; Vig et al. 2020, arXiv 2004.12265,
for networks), with the problem as the unit:

effect        moving along it changes the sampled answer more than moving along random directions;
              of a direction with a concept, also: the answer's property grows along it
necessity     with its coordinate set to the mean over problems, the answer's property follows that of
              the true answer less (the error grows, where there is no such property)
sufficiency   with its coordinate taken from the twin problem that has more of the property and is else
              alike, the answer's property goes this share of the way to the twin's (`mediated`)
mediation     that share is the natural indirect effect over the total effect; `held` is what the
              twin's own answer loses of the total effect with the coordinate held at the first's
specificity   moving along it changes its own property more than each other one, in deviations

The verdict follows a rule that was settled on rehearsals with stand-in directions, before one that was
found had been seen; only that differences below 1e-7, which sampling does not resolve, count as none
came later. A measure *is beyond random* where its difference to the mean of the random draws is above
that, has p < LEVEL in a sign-flip test over problems after Benjamini-Hochberg correction over
directions, and is larger than with each single draw: with many problems, half of all random directions
beat the mean of the others, so p alone says little (the share of random draws that pass as well is
given as `placebo`).

causal and specific              the property's growth is beyond random, and specific
causal                           it is beyond random; without a concept: the answer's change is
moves its property backwards     its growth is as far beyond random in the other direction
moves things, not its property   the answer's change is beyond random, its property's is not
not beyond random                neither is

necessary, mediates: the loss under ablation and the share mediated have an interval above 0, differ from
the random draws' mean (sign flips, corrected over directions with a concept), and exceed each single
draw; for the share mediated also those of the covariance, as an isotropic direction of a wide layer
carries next to nothing of anything. sufficient: it mediates, and the interval of the share is above one
half. Where answers have no property to follow, necessary is that the error under ablation is beyond
random. Shares are of total effects that are there (`Mediation.present`). Directions without a concept
have no pairs made for them: specificity, sufficiency and mediation are left empty.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pandas import DataFrame
from torch import Tensor

from ired.instruments.core import random_directions, states as points
from ired.instruments.core.directions import EVERYWHERE, OF_STATES, STATE, Direction
from ired.instruments.core.patching import Spliced
from ired.instruments.core.sampler import Sampler
from ired.instruments.interventions.counterfactuals import Pairs, states
from ired.instruments.interventions.pushes import RESOLUTION, entering, properties
from ired.instruments.statistics.intervals import (  # fmt: skip
    Interval,
    adjust,
    mean_interval,
    mean_intervals,
    ratio_interval,
    sign_flip,
    student_interval,
)
from ired.model.protocol import Energy

LEVEL = 0.05
DOSE = 2.0
SPECIFIC = "causal and specific"
CAUSAL = "causal"
BACKWARDS = "moves its property backwards"
OTHERWISE = "moves things, not its property"
NOTHING = "not beyond random"
VERDICTS = (SPECIFIC, CAUSAL, BACKWARDS, OTHERWISE, NOTHING)
PARTS = ("moved", "carried", "error")
MARKS = {"lost": "follows_less", "mediates": "mediates"}  # by their p-values
# Rows that are sampled at once, at most (with autograd's graph of one evaluation).
_ROWS = 4096
_NAN = float("nan")

Read = Callable[[Tensor, Tensor], Mapping[str, Tensor]]
"""read(answers (B, d), y0 (B, d)): the property (B,) that each concept is about, of sampled answers."""


# Tests over problems


def values(responses: DataFrame, names: Sequence[str], control: str, edit: str, dose: float,
           column: str) -> NDArray:
    """One column of the responses of directions `names` under one control, (D, draws, P)."""  # fmt: skip
    rows = responses[
        (responses["control"] == control) & (responses["edit"] == edit) & (responses["dose"] == dose)
    ]
    table = rows.pivot(index=["direction", "draw"], columns="problem", values=column)
    if not len(names):
        return np.zeros((0, 1, table.shape[1]))
    return np.stack([table.loc[name].to_numpy() for name in names])


def measured(responses: DataFrame, names: Sequence[str], control: str, measure: str) -> NDArray:
    """(D, draws, P): "moved", the mean over DOSE and its opposite; "carried", the property's slope
    between the two, in its standard deviations over the problems' undisturbed answers per unit of dose;
    "mse" and "residual", under ablation."""
    if measure in ("mse", "residual"):
        return values(responses, names, control, "ablate", 0.0, measure)
    up, down = (values(responses, names, control, "add", way * DOSE, measure) for way in (1, -1))
    if measure == "moved":
        return (up + down) / 2
    spread = values(responses, names, "own", "add", 0.0, measure).std(-1, ddof=1, keepdims=True)
    return (up - down) / (2 * DOSE * np.maximum(spread, 1e-12))


def contrast(own: NDArray, draws: NDArray, signed: bool = False) -> dict[str, NDArray]:
    """Directions (D, P) against their random draws (D, R, P): columns of D numbers.

    value, random, largest: means of own, of the draws, of the largest draw; difference, low, high: own −
    mean of the draws, mean over problems; d: the paired standardised effect size; p, p_adjusted: of sign
    flips; rank: of own among the R + 1 means, 1 the largest (in size where `signed`); beyond: whether it is
    beyond random; placebo: the share of the draws that would have passed against the others (NaN for
    fewer than three).
    """
    gap = own - draws.mean(1)
    interval = mean_intervals(gap)
    p = sign_flip(gap)
    mean, null = own.mean(-1), draws.mean(-1)
    rank = 1 + ((np.abs(null) >= np.abs(mean)[:, None]) if signed else null >= mean[:, None]).sum(1)
    p_adjusted = adjust(p) if len(p) else p
    return {
        "value": mean, "random": null.mean(1), "largest": (np.abs(null) if signed else null).max(1),
        "difference": interval.estimate, "low": interval.low,
        "high": interval.high, "d": standardised(gap), "p": p, "p_adjusted": p_adjusted, "rank": rank,
        "draws": np.full(len(own), draws.shape[1]),
        "beyond": (p_adjusted < LEVEL) & (interval.estimate >= RESOLUTION) & (rank == 1),
        "placebo": placebo(draws, signed),
    }  # fmt: skip


def placebo(draws: NDArray, signed: bool = False) -> NDArray:
    """(D,): the share of random draws (D, R, P) that the rule finds beyond the R − 1 others."""
    count = draws.shape[1]
    if count < 3 or not len(draws):
        return np.full(len(draws), _NAN)
    means = draws.mean(-1)
    gap = draws - (draws.sum(1, keepdims=True) - draws) / (count - 1)
    size = np.abs(means) if signed else means
    first = size.argmax(1)[:, None] == np.arange(count)
    p = np.stack([adjust(sign_flip(gap[:, j])) for j in range(count)], 1)
    return ((p < LEVEL) & (gap.mean(-1) >= RESOLUTION) & first).mean(1)


def standardised(differences: NDArray) -> NDArray:
    """Paired d: mean over standard deviation of differences (..., P); 0 where all are 0."""
    mean, spread = differences.mean(-1), differences.std(-1, ddof=1)
    return np.divide(mean, spread, out=np.zeros_like(mean), where=spread > 1e-12 * np.abs(mean))


def effects(responses: DataFrame, names: Sequence[str], measure: str) -> DataFrame:
    """`contrast` of directions with random ones, a row each; covariance_*: the same against draws of
    the data's covariance, where there are such."""
    own = measured(responses, names, "own", measure)[:, 0]
    signed = measure == "carried"
    table = {"direction": list(names)}
    table |= contrast(own, measured(responses, names, "random", measure), signed)
    if (responses["control"] == "covariance").any():
        other = contrast(own, measured(responses, names, "covariance", measure), signed)
        kept = ("random", "largest", "difference", "low", "high", "p_adjusted", "rank", "beyond")
        table |= {f"covariance_{name}": other[name] for name in kept}
    return DataFrame(table)


# Interventions


class Edited(Spliced):
    """An energy whose activations h of a layer become edit(h, y, k), in one landscape or in all."""

    def __init__(
        self, energy: Energy, layer: str, edit: Callable[[Tensor, Tensor, int], Tensor],
        landscape: int | None,
    ):  # fmt: skip
        super().__init__(energy, layer, lambda h: h, landscape)
        self.edit = edit

    def replaced(self, h: Tensor, y: Tensor, k: int | Tensor) -> Tensor:
        return self.edit(h, y, k)


@dataclass(frozen=True)
class Path:
    """Undisturbed runs of P problems A (P, n, n) with true answers y0 (P, d): states (K, P, d) in which
    each landscape was entered, and what was sampled, answers (P, d)."""

    A: Tensor
    y0: Tensor
    states: Tensor
    answers: Tensor

    @classmethod
    def of(cls, energy: Energy, sampler: Sampler, A: Tensor, start: Tensor) -> Path:
        """From noise start (P, d)."""
        states = entering(energy, A, sampler, start)
        return cls(A, points.answers(energy, A), states, sampler(energy, A, states[0], first=0))


@dataclass(frozen=True)
class Place:
    """Where directions are edited: STATE, or a layer in one landscape or EVERYWHERE. A state is edited
    once, on entering its landscape (the middle one, for EVERYWHERE)."""

    space: str
    landscape: int

    def first(self, K: int) -> int:
        """The landscape in which a run has to begin."""
        if self.landscape != EVERYWHERE:
            return self.landscape
        return K // 2 if self.space == STATE else K - 1


@dataclass(frozen=True)
class Twins:
    """P pairs of runs that differ in one thing, both entered in landscape `first`: problems A (P, n, n)
    and states y (P, d) of the first ones, A_more and y_more of those with more of it, true answers y0
    and y0_more (P, d). moved: whether it is the state that differs."""

    first: int
    A: Tensor
    y: Tensor
    y0: Tensor
    A_more: Tensor
    y_more: Tensor
    y0_more: Tensor
    moved: bool

    @classmethod
    def problems(cls, base: Path, changed: Path, first: int) -> Twins:
        """Two problems, each with its own path up to there."""
        less, more = ((run.A, run.states[first], run.y0) for run in (base, changed))
        return cls(first, *less, *more, moved=False)

    @classmethod
    def states(cls, path: Path, less: Tensor, more: Tensor, first: int) -> Twins:
        """One problem in two states (P, d)."""
        return cls(first, path.A, less, path.y0, path.A, more, path.y0, moved=True)


def added(
    energy: Energy, sampler: Sampler, path: Path, place: Place, V: Tensor, amount: float
) -> Tensor:
    """Answers (m, P, d) with amount·v added, for each of the unit vectors V (m, width)."""
    def edit(h: Tensor, v: Tensor) -> Tensor:
        return h + amount * v

    return _sampled(energy, sampler, path, place, V, edit)  # fmt: skip


def ablated(energy: Energy, sampler: Sampler, path: Path, place: Place, V: Tensor) -> Tensor:
    """Answers (m, P, d) with the coordinate along v set to its mean over the problems, evaluation by
    evaluation: a number on which neither problem nor state has an influence."""
    count = len(path.A)

    def edit(h: Tensor, v: Tensor) -> Tensor:
        along = (h * v).sum(-1).unflatten(0, (-1, count))
        mean = along.mean(1, keepdim=True).detach().expand_as(along)
        return h + (mean - along).flatten()[:, None] * v

    return _sampled(energy, sampler, path, place, V, edit)


def _sampled(
    energy: Energy, sampler: Sampler, path: Path, place: Place, V: Tensor,
    edit: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:  # fmt: skip
    first, count, found = place.first(energy.schedule.K), len(path.A), []
    for part in V.split(max(1, _ROWS // count)):
        v, A = part.repeat_interleave(count, 0), path.A.repeat(len(part), 1, 1)
        start = path.states[first].repeat(len(part), 1)
        if place.space == STATE:
            answers = sampler(energy, A, edit(start, v), first=first)
        else:
            k = None if place.landscape == EVERYWHERE else place.landscape
            edited = Edited(energy, place.space, lambda h, y, k, v=v: edit(h, v), k)
            answers = sampler(edited, A, start, first=first)
        found.append(answers.unflatten(0, (len(part), count)))
    return torch.cat(found)


def swapped(
    energy: Energy, sampler: Sampler, twins: Twins, place: Place, V: Tensor | None, back: bool
) -> Tensor:
    """Answers (m, P, d) of the first of each pair with the coordinate along v that its twin has; of the
    twin with that of the first, if `back`. V (m, width), or None for all coordinates (m = 1).

    In a layer the coordinate is, at every evaluation, that of the twin's problem in the same state (of
    the same problem in the state as far away as the twins' are, where it is the state that differs): a
    problem patched with itself is undisturbed, and the gradient knows how the coordinate depends on
    the state.
    """
    own, other = (twins.A, twins.y), (twins.A_more, twins.y_more)
    if back:
        own, other = other, own
    (A, y), (A_other, y_other) = own, other
    count, found = len(A), []
    for part in [None] if V is None else V.split(max(1, _ROWS // count)):
        m = 1 if part is None else len(part)
        v = None if part is None else part.repeat_interleave(count, 0)
        start, away = y.repeat(m, 1), (y_other - y).repeat(m, 1)
        if place.space == STATE:
            start = start + _along(away, v)
            answers = sampler(energy, A.repeat(m, 1, 1), start, first=twins.first)
        else:
            prepared, shift = energy.prepare(A_other.repeat(m, 1, 1)), away if twins.moved else None

            def edit(h, y, k, v=v, prepared=prepared, shift=shift):
                there = y if shift is None else y + shift
                return h + _along(energy.activations(prepared, there, k)[place.space] - h, v)

            # States that differ are near one another in their own landscape only.
            everywhere = place.landscape == EVERYWHERE and not twins.moved
            edited = Edited(energy, place.space, edit, None if everywhere else twins.first)
            answers = sampler(edited, A.repeat(m, 1, 1), start, first=twins.first)
        found.append(answers.unflatten(0, (m, count)))
    return torch.cat(found)


def _along(x: Tensor, v: Tensor | None) -> Tensor:
    """The part of rows x (B, width) along unit vectors v (B, width); all of it for None."""
    return x if v is None else (x * v).sum(-1, keepdim=True) * v


# What they say of one direction


@dataclass(frozen=True)
class Mediation:
    """Effects on a property of the answers of P pairs, for m directions (row 0 is the one studied).

    total (P,): the twin's minus the first's; indirect (m, P): of the first with the twin's coordinate;
    direct (m, P): of the twin with the first's coordinate; whole (P,): of the first with all
    coordinates of the place from the twin (a part can do more, where others work against it). Where it is
    the state that differs, what undoes the difference has a negative share.
    """

    total: NDArray
    indirect: NDArray
    direct: NDArray
    whole: NDArray

    @property
    def present(self) -> bool:
        """Whether the property differs so surely within pairs that shares of the total effect are stable:
        its interval excludes 0 at a level of 99.99 %."""
        return bool(student_interval(self.total, 0.9999).excludes(0.0))

    def share(self, part: NDArray) -> Interval:
        """Mean of a part (P,) over the mean total effect; NaN where there is no total effect."""
        if not self.present:
            return _nothing(len(self.total))
        return ratio_interval(part, self.total)


def mediation(
    energy: Energy, sampler: Sampler, property_of: Callable[[Tensor, Tensor], Tensor], twins: Twins,
    place: Place, V: Tensor,
) -> Mediation:
    """For directions V (m, width); property_of(answers (B, d), y0 (B, d)) -> (B,)."""  # fmt: skip
    before = sampler(energy, twins.A, twins.y, first=twins.first)
    after = sampler(energy, twins.A_more, twins.y_more, first=twins.first)

    def seen(answers: Tensor, y0: Tensor) -> NDArray:
        """(m, P) of answers (m, P, d)."""
        read = property_of(answers.flatten(0, 1), y0.repeat(len(answers), 1))
        return points.array(read).reshape(answers.shape[:2])

    base = seen(before[None], twins.y0)[0]
    patch = swapped(energy, sampler, twins, place, V, back=False)
    held = swapped(energy, sampler, twins, place, V, back=True)
    whole = swapped(energy, sampler, twins, place, None, back=False)
    return Mediation(
        seen(after[None], twins.y0_more)[0] - base, seen(patch, twins.y0) - base,
        seen(held, twins.y0_more) - base, seen(whole, twins.y0)[0] - base,
    )  # fmt: skip


def mediated(found: Mediation, random: slice, covariance: slice) -> dict[str, Any]:
    """Numbers of the direction in row 0; `random` and `covariance` are the rows of the controls.

    Shares of the total effect, each with its bootstrap interval over pairs; excess: own − mean of the
    draws, mediates_p: the larger p-value of the two excesses; largest: of the draws. mediated_placebo: how
    many of the covariance's draws are as surely beyond all other draws, as a share.
    """
    own, chance = found.indirect[0], {"random": random, "covariance": covariance}
    parts = {"mediated": own, "held": found.total - found.direct[0], "whole": found.whole}
    row: dict[str, Any] = {}
    for name, rows in chance.items():
        draws = found.indirect[rows]
        parts |= {f"mediated_{name}": draws.mean(0), f"excess_{name}": own - draws.mean(0)}
        row[f"largest_{name}"] = max(found.share(draw).estimate for draw in draws)
    total = mean_interval(found.total)
    row |= {"total": total.estimate, "total_low": total.low, "total_high": total.high}
    for name, part in parts.items():
        share = found.share(part)
        row |= {name: share.estimate, f"{name}_low": share.low, f"{name}_high": share.high}
    sign = np.sign(found.total.mean())
    kinds = [sign * found.indirect[rows] for rows in chance.values()]
    row["mediates_p"] = _beyond_draws(sign * own, *kinds) if found.present else _NAN
    row["mediates"] = found.present and bool(row["mediated_low"] > 0 and row["mediates_p"] < 1)
    draws = kinds[1]
    tried = [_beyond_draws(one, kinds[0], np.delete(draws, j, 0)) for j, one in enumerate(draws)]
    row["mediated_placebo"] = float(np.mean(np.array(tried) < LEVEL)) if found.present else _NAN
    return row


def _beyond_draws(own: NDArray, *kinds: NDArray) -> float:
    """The largest p-value of own (P,) against kinds of draws (R, P); 1 where a draw's mean is as large."""
    if own.mean() <= max(draws.mean(-1).max() for draws in kinds):
        return 1.0
    return max(float(sign_flip(own - draws.mean(0))) for draws in kinds)


def following(truth: NDArray, base: NDArray, ablated: NDArray) -> dict[str, Any]:
    """How much less the answers' property follows the true one without the direction.

    truth, base (P,): the property of true answers and of undisturbed ones; ablated (m, P): without each
    direction, row 0 the one studied, the others random. lost is the share of the slope of base on truth
    that is gone; lost_excess the same beyond the random draws' mean, lost_p its p-value (1 where one draw
    loses as much). NaN where the truth is the same for
    all problems or nothing follows it.
    """
    centred = truth - truth.mean()
    weight = centred * (base - base.mean())
    none = np.ptp(truth) == 0 or not mean_interval(weight).low > 0
    gone = base - ablated
    # (m, P): their means over the mean weight are the shares lost.
    gone = centred * (gone - gone.mean(1, keepdims=True))
    random = gone[1:].mean(0)
    row: dict[str, Any] = {}
    for name, part in {"lost": gone[0], "lost_random": random, "lost_excess": gone[0] - random}.items():
        share = _nothing(len(truth)) if none else ratio_interval(part, weight)
        row |= {name: share.estimate, f"{name}_low": share.low, f"{name}_high": share.high}
    row["lost_p"] = _NAN if none else _beyond_draws(gone[0], gone[1:])
    row["follows_less"] = not none and bool(row["lost_low"] > 0 and row["lost_p"] < 1)
    return row


def specificity(changes: Mapping[str, NDArray], concept: str, seed: int = 0) -> dict[str, Any]:
    """Whether a direction changes its own property more than each other.

    changes: by concept (m, P), the change of that property along the direction in standard deviations,
    row 0 the direction studied, the others random. specific: |mean change| of its own property minus
    the largest of the others, with a percentile bootstrap interval over problems (the largest of
    several noisy numbers is too large: the interval errs towards "not specific"); rival: which that
    is; own_share: of the sum of all |mean changes|, beside random directions' own_share_random.
    Properties of the state's error are one property here.
    """
    from scipy import stats

    rivals = [name for name in changes if name != concept and not {name, concept} <= set(OF_STATES)]
    if concept not in OF_STATES:  # one of the two stands for both
        rivals = [name for name in rivals if name != OF_STATES[1]]
    sizes = {name: np.abs(changes[name].mean(-1)) for name in (concept, *rivals)}

    def margin(own: NDArray, *others: NDArray, axis: int = -1) -> NDArray:
        return np.abs(own.mean(axis)) - np.max([np.abs(x.mean(axis)) for x in others], 0)

    rows = [changes[name][0] for name in (concept, *rivals)]
    found = stats.bootstrap(
        rows, margin, paired=True, vectorized=True, n_resamples=1999, method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    share = sizes[concept] / np.maximum(sum(sizes.values()), 1e-300)
    return {
        "own_change": float(changes[concept][0].mean()), "specific": float(margin(*rows)),
        "specific_low": float(found.low), "specific_high": float(found.high),
        "rival": max(rivals, key=lambda name: sizes[name][0]),
        "own_share": float(share[0]), "own_share_random": float(share[1:].mean()),
    }  # fmt: skip


def reading(energy: Energy) -> Read:
    """The properties of `pushes.properties`, read off states."""
    decode = energy.coordinates.decode
    return lambda answers, y0: properties(decode(answers), decode(y0))


@dataclass(frozen=True)
class Bench:
    """What directions are tried on: an energy with its way of sampling and a reader of answers,
    undisturbed runs of P problems, pairs of runs by concept (`Pairs.base` and `.changed`), and how many
    random directions of each kind stand beside each (2 at least)."""

    energy: Energy
    sampler: Sampler
    read: Read
    path: Path
    runs: Mapping[str, tuple[Path, Path]]
    draws: int

    @classmethod
    def of(
        cls, energy: Energy, sampler: Sampler, A: Tensor, made: Mapping[str, Pairs], draws: int,
        generator: torch.Generator,
    ) -> Bench:
        """For problems A (P, n, n) and pairs of problems; the runs of all begin with the same noise."""
        most = max(len(A), *(len(found.base) for found in made.values()))
        start = points.noise(energy, most, generator=generator, like=A)

        def run(problems: Tensor) -> Path:
            return Path.of(energy, sampler, problems.to(A), start[: len(problems)])

        runs = {concept: (run(found.base), run(found.changed)) for concept, found in made.items()}
        return cls(energy, sampler, reading(energy), run(A), runs, draws)

    def properties(self, answers: Tensor) -> dict[str, NDArray]:
        """Of answers (m, P, d): (m, P) by concept."""
        read = self.read(answers.flatten(0, 1), self.path.y0.repeat(len(answers), 1))
        return {name: points.array(v).reshape(answers.shape[:2]) for name, v in read.items()}

    def twins(self, concept: str, first: int, generator: torch.Generator) -> Twins:
        """Pairs that differ in a concept, entered in landscape `first`."""
        if concept in OF_STATES:
            y0 = self.path.y0
            return Twins.states(self.path, *states(self.energy, y0, first, concept, generator), first)
        return Twins.problems(*self.runs[concept], first)


def controls(bench: Bench, place: Place, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Random unit vectors of a place, (draws, width) each: isotropic ones, and ones of the covariance
    over problems of what is there when its landscape begins."""
    energy, path, first = bench.energy, bench.path, place.first(bench.energy.schedule.K)
    here = path.states[first]
    if place.space != STATE:
        here = energy.activations(energy.prepare(path.A), here, first)[place.space]
    isotropic = random_directions.isotropic_in(
        energy, place.space, count=bench.draws, width=here.shape[-1], generator=generator, like=here
    )
    normals = random_directions.normal(bench.draws, len(here), generator=generator, like=here)
    return isotropic, random_directions.mixtures(normals, here)


@torch.no_grad()
def examine(
    bench: Bench, direction: Direction, spread: float, generator: torch.Generator
) -> dict[str, Any]:
    """Necessity, specificity and mediation of one direction with a concept: a row of numbers. `spread`
    is the direction's natural one, the unit of doses."""
    place = Place(direction.space, direction.landscape)
    twins = bench.twins(direction.concept, place.first(bench.energy.schedule.K), generator)
    isotropic, mixed = controls(bench, place, generator)
    own = direction.unit().vector.to(isotropic)[None]
    if place.space == STATE:
        own = torch.nn.functional.normalize(bench.energy.coordinates.project(own), dim=1)
    V, concept, n = torch.cat([own, isotropic]), direction.concept, bench.draws
    run = (bench.energy, bench.sampler)
    base = bench.properties(bench.path.answers[None])
    truth = bench.properties(bench.path.y0[None])
    # The error of a true answer is 0, its logarithm a matter of rounding: nothing to spread or follow.
    spreads = {name: (base if name in OF_STATES else truth)[name].std() for name in base}
    true = np.zeros_like(truth[concept][0]) if concept in OF_STATES else truth[concept][0]
    up, down = (
        bench.properties(added(*run, bench.path, place, V, way * DOSE * spread)) for way in (1, -1)
    )
    changes = {name: (up[name] - down[name]) / max(spreads[name], 1e-12) for name in base}
    without = bench.properties(ablated(*run, bench.path, place, V))[concept]
    found = mediation(
        *run, lambda y, y0: bench.read(y, y0)[concept], twins, place, torch.cat([V, mixed])
    )
    return {
        "direction": direction.name,
        **specificity(changes, concept),
        **following(true, base[concept][0], without),
        **mediated(found, slice(1, 1 + n), slice(1 + n, None)),
    }


# Verdicts


def verdict(concept: str, beyond: bool, carries: bool, backwards: bool, specific: bool) -> str:
    """The rule of this module's docstring."""
    if not concept:
        return CAUSAL if beyond else NOTHING
    if carries:
        return SPECIFIC if specific else CAUSAL
    if backwards:
        return BACKWARDS
    return OTHERWISE if beyond else NOTHING


def verdicts(
    directions: DataFrame, moved: DataFrame, carried: DataFrame, error: DataFrame, examined: DataFrame
) -> DataFrame:
    """One row a direction: correlational evidence, causal evidence, marks, verdict.

    directions: columns name, source, space, landscape, concept, evidence, measure; moved, error: of
    `effects`, all directions; carried: of those with a concept; examined: rows of `examine`.
    """
    table = directions.rename(columns={"name": "direction"})
    for prefix, part in zip(PARTS, (moved, carried, error), strict=True):
        columns = {c: f"{prefix}_{c}" for c in part.columns if c != "direction"}
        table = table.merge(part.rename(columns=columns), on="direction", how="left")
    if len(examined):
        table = table.merge(examined, on="direction", how="left")
    missing = {"specific_low", "mediated", "mediated_low", "lost", *MARKS.values()}
    missing |= {f"{name}_p" for name in MARKS}
    table = table.assign(**dict.fromkeys(missing - {*table}, _NAN))
    for name, of in MARKS.items():
        table[f"{name}_p_adjusted"] = p = _adjusted(table[f"{name}_p"].to_numpy(float))
        table[of] = table[of].eq(True) & (p < LEVEL)
    for part in PARTS:
        table[f"{part}_beyond"] = table[f"{part}_beyond"].eq(True)
    back = (
        (table["carried_p_adjusted"] < LEVEL) & (table["carried_difference"] < 0)
        & (table["carried_rank"] == 1)
    )  # fmt: skip
    table["sufficient"] = table["mediates"] & (table["mediated_low"] > 0.5)
    table["is_specific"] = (table["specific_low"] > 0).to_numpy()
    table["necessary"] = np.where(table["lost"].notna(), table["follows_less"], table["error_beyond"])
    table["verdict"] = [
        verdict(*row) for row in zip(table["concept"], table["moved_beyond"], table["carried_beyond"],
                                     back, table["is_specific"], strict=True)
    ]  # fmt: skip
    return table


def _adjusted(p: NDArray) -> NDArray:
    """`adjust` of those (N,) that are numbers."""
    there, adjusted = np.isfinite(p), np.full(len(p), _NAN)
    if there.any():
        adjusted[there] = adjust(p[there])
    return adjusted


def _nothing(units: int) -> Interval:
    return Interval(_NAN, _NAN, _NAN, 0.95, units, "none")
