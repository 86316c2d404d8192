"""Damage by ablation: what an ablated energy has lost of the order of its energies, its score, its answers.

Order: at the answer, around it and at other problems' answers, within one problem and landscape (the
free offset of the energy cancels). Score: against the whole network's, and against the true noise.
Answers: sampled from the same start noise as the whole network's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pandas import DataFrame, concat
from torch import Tensor

from ired.instruments.core import states
from ired.instruments.core.energy_gap import above_first
from ired.instruments.core.patching import DISTANCES, blind_score
from ired.instruments.core.sampler import Sampler
from ired.instruments.core.states import array
from ired.instruments.layers.ablation import Ablation, path
from ired.instruments.statistics.intervals import (
    mean_interval,
    paired_interval,
    rank_correlation,
    ratio_interval,
    student_interval,
)
from ired.model.protocol import Energy

TERMS = ("order", "spearman", "lowest", "score", "noise_pooled")
MEASURES = ("order", "score", "mse")  # by which layers are ranked: more is worse
KEYS = ["kind", "layer", "share"]
# What is ablated in one landscape alone; a layer's mean there stands for all layers: no network at all.
ALONE = ("mean", "resample_half", "problem_mean", "identity", "linear", "film_off", "rank_weights")
# Energies that differ by less than this part of their size are equal: rounding in float64.
TIE = 1e-12


@dataclass(frozen=True)
class AblationBench:
    """Where ablations are judged, on problems A (P, n, n) with answers Y (P, n, n).

    near (K, P, M, d): the answer, states around it, and other problems' answers; noised, noise
    (K, P, d): noised answers and their ε; entering (K, P, d): the states with which the whole network's
    sample enters each landscape; gaps (K, P, M): its energies above the answer's; score (K, P, d), mse
    (P,): the whole network's; blind (K,): mean squared error to ε of the best multiple of the state.
    """

    A: Tensor
    Y: Tensor
    near: Tensor
    noised: Tensor
    noise: Tensor
    entering: Tensor
    gaps: Tensor
    score: Tensor
    blind: NDArray
    mse: NDArray
    sampler: Sampler

    def sampled(self, energy: Energy, first: int | None = None) -> NDArray:
        """Squared errors per entry (P,) of inverses sampled from the start, or from where the whole
        network's sample enters landscape `first`."""
        last = len(self.entering) - 1
        first = last if first is None else first
        with torch.no_grad():
            end = self.sampler(energy, self.A, self.entering[first], first=first)
        return self.error(energy, end)

    def error(self, energy: Energy, end: Tensor) -> NDArray:
        """Squared errors per entry (P,) of the inverses that states `end` (P, d) stand for."""
        return array((energy.coordinates.decode(end) - self.Y).pow(2).mean((-2, -1)))


@torch.no_grad()
def ablation_bench(
    energy: Energy, A: Tensor, sampler: Sampler, generator: torch.Generator, strangers: int = 4
) -> AblationBench:
    """On problems A (P, n, n); strangers: how many other problems' answers lie among the wrong ones (fewer if
    P is small)."""
    y0, prepared, K = states.answers(energy, A), energy.prepare(A), range(energy.schedule.K)
    start = states.noise(energy, len(A), generator=generator, like=A)
    others = [y0.roll(shift, 0) for shift in range(1, min(strangers, len(A) - 1) + 1)]
    near, noised, noise, blind = [], [], [], []
    for k in K:
        shells = [states.around(energy, y0, k, far, 2 if far else 1, generator) for far in DISTANCES]
        shells += [states.centre(energy, other, k)[:, None] for other in others]
        y, epsilon = (t[:, 0] for t in states.noised(energy, y0, k, 1, generator))
        near.append(torch.cat(shells, 1))
        noised.append(y)
        noise.append(epsilon)
        blind.append((blind_score(energy, y, epsilon) - epsilon).pow(2).sum(1).mean().item())
    gaps = torch.stack([_gaps(energy.energy(prepared, near[k], k)) for k in K])
    score = torch.stack([energy.gradient(prepared, noised[k], k) for k in K])
    sampled, Y = path(energy, A, sampler, start), torch.linalg.inv(A)
    error = (energy.coordinates.decode(sampled.end) - Y).pow(2).mean((-2, -1))
    return AblationBench(
        A=A,
        Y=Y,
        near=torch.stack(near),
        noised=torch.stack(noised),
        noise=torch.stack(noise),
        entering=sampled.entering,
        gaps=gaps,
        score=score,
        blind=np.array(blind),
        mse=array(error),
        sampler=sampler,
    )


def damage_terms(energy: Energy, bench: AblationBench) -> dict[str, NDArray]:
    """Of an ablated energy, by landscape and problem, (K, P) each.

    order: the share of pairs of states that it does not order as the whole network does (0.5: by chance;
    a tie counts half); spearman: rank correlation of its gaps with the whole network's; lowest: the share
    of wrong states with more energy than the answer; score: squared error to the whole network's score,
    in units of that score's mean square over problems (1: no score at all); noise: squared error to ε in
    units of the best A-blind guess's; noise_pooled: in units of that guess's mean over landscapes, so
    that a mean over landscapes is a ratio of means.
    """
    prepared, K = energy.prepare(bench.A), range(len(bench.near))
    with torch.no_grad():
        gaps = torch.stack([_gaps(energy.energy(prepared, bench.near[k], k)) for k in K])
    score = torch.stack([energy.gradient(prepared, bench.noised[k], k).detach() for k in K])
    signs, expected = (torch.sign(g[..., :, None] - g[..., None, :]) for g in (gaps, bench.gaps))
    pairs = expected.abs().sum((-2, -1)).clamp_min(1)
    wrong = gaps[..., 1:]
    size = bench.score.pow(2).sum(-1).mean(1, keepdim=True).clamp_min(torch.finfo(gaps.dtype).tiny)
    off = (score - bench.noise).pow(2).sum(-1)
    return {
        "order": array((1 - (signs * expected).sum((-2, -1)) / pairs) / 2),
        "spearman": rank_correlation(array(gaps), array(bench.gaps)),
        "lowest": array(((wrong > 0).double() + (wrong == 0).double() / 2).mean(-1)),
        "score": array((score - bench.score).pow(2).sum(-1) / size),
        "noise": array(off) / bench.blind[:, None],
        "noise_pooled": array(off) / bench.blind.mean(),
    }


def _gaps(energies: Tensor) -> Tensor:
    """Energies (P, M) above the first state's; what rounding alone sets apart is made equal."""
    unit = TIE * energies.abs().amax(1, keepdim=True).clamp_min(torch.finfo(energies.dtype).tiny)
    return (above_first(energies) / unit).round() * unit


def damage_table(labels: dict[str, Any], terms: dict[str, NDArray], mse: NDArray | None) -> DataFrame:
    """One row for each landscape and problem of `terms` (K, P) with an ablation's labels; mse (P,), of all
    landscapes together, is repeated."""
    K, P = terms["order"].shape
    axes = {"landscape": range(K), "problem": range(P)}
    rows = DataFrame(states.tidy_columns(axes, **terms))
    if mse is not None:
        rows["mse"] = np.tile(mse, K)
    return rows.assign(**labels)


def one_landscape(whole: Energy, ablation: Ablation, k: int, bench: AblationBench) -> DataFrame:
    """Sampled errors when a layer is ablated in landscape k alone: one row for each problem."""
    mse = bench.sampled(ablation.only_in(whole, k), first=k)
    rows = {"landscape": k, "problem": range(len(mse)), "mse": mse, "rise": mse - bench.mse}
    return DataFrame(rows).assign(**ablation.labels)


def damage_of_plan(
    plan: Sequence[Ablation], bench: AblationBench, sampling: bool, done: Callable[[int], None] = lambda n: None
) -> DataFrame:
    """Every ablation of a plan, sampled from where asked; done(1) is called after each."""
    rows = []
    for ablation in plan:
        mse = bench.sampled(ablation.energy) if sampling else None
        rows.append(damage_table(ablation.labels, damage_terms(ablation.energy, bench), mse))
        done(1)
    return concat(rows, ignore_index=True)


def judged_alone(
    whole: Energy, plan: Sequence[Ablation], landscapes: Sequence[int], share: float, bench: AblationBench
) -> DataFrame:
    """`one_landscape` for the kinds of ALONE at one share, their first draw, in each of the landscapes.

    What is known to be the same is left out: every layer's mean is fc1's, a mean over problems is f's
    where it is fc3's, and f is its own linear fit."""
    chosen = [
        a
        for a in plan
        if a.kind in ALONE
        and a.share in (1.0, share)
        and a.draw == 0
        and (a.kind != "mean" or a.layer == "fc1")
        and not (a.layer == "fc4" and a.kind in ("problem_mean", "linear"))
    ]
    rows = [one_landscape(whole, a, k, bench) for k in landscapes for a in chosen]
    return concat(rows, ignore_index=True)


def linear_fit_r2(
    parts: Iterable[tuple[str, str, int, Tensor, Tensor]],
    names: Sequence[str] = ("noised", "path", "path"),
) -> DataFrame:
    """Held-out R² with 95 % bootstrap intervals over problems, by layer, kind of fit, landscape and sort
    of token, of what `ablation.unexplained` yields."""
    rows = []
    for layer, kind, k, residual, total in parts:
        for where in dict.fromkeys(names):
            these = [i for i, name in enumerate(names) if name == where]
            left, size = (array(t[:, these].sum(1)) for t in (residual, total))
            share = ratio_interval(left, size)
            rows.append(
                {
                    "layer": layer,
                    "kind": kind,
                    "landscape": k,
                    "where": where,
                    "r2": 1 - share.estimate,
                    "low": 1 - share.high,
                    "high": 1 - share.low,
                }
            )
    return DataFrame(rows)


def per_problem(damage: DataFrame, measures: Sequence[str]) -> DataFrame:
    """Means over landscapes and draws: one row for each kind, layer, share and problem."""
    return damage.groupby([*KEYS, "problem"], sort=False)[list(measures)].mean().reset_index()


def damage_summary(damage: DataFrame, whole: NDArray | None = None) -> DataFrame:
    """Means over problems with 95 % intervals of all measures there are, landscapes together.

    With the whole network's errors (P,), `rise` is the paired difference of the sampled errors.
    """
    measures = [m for m in (*TERMS, "mse") if m in damage]
    rows = []
    for key, group in per_problem(damage, measures).groupby(KEYS, sort=False):
        row = dict(zip(KEYS, key, strict=True))
        for measure in measures:
            row |= mean_interval(group[measure]).columns(measure)
        if whole is not None and "mse" in group:
            row |= paired_interval(group["mse"], whole[group["problem"]]).columns("rise")
        rows.append(row)
    return DataFrame(rows)


def damage_by_landscape(damage: DataFrame, measures: Sequence[str]) -> DataFrame:
    """Means over problems in every landscape, with Student's t intervals, for curves."""
    keys, rows = [*KEYS, "landscape"], []
    means = damage.groupby([*keys, "problem"], sort=False)[list(measures)].mean()
    for key, group in means.groupby(keys, sort=False):
        row = dict(zip(keys, key, strict=True))
        for measure in measures:
            row |= student_interval(group[measure].to_numpy()).columns(measure)
        rows.append(row)
    return DataFrame(rows)
