"""Out-of-distribution detection and accuracy: what becomes of a model on problems unlike those of its training?

Families differ in the size of their answers, so errors are given per entry and relative to the answer
(‖Ŷ − Y‖²/‖Y‖², 1 for the answer 0), beside predictors fitted on the training distribution.

Does the energy say that a problem is a strange one? Detectors are numbers of a problem that need no
truth; a detector's AUROC is the probability that a shifted problem has the higher one (½: it tells
nothing). Which way counts as strange was fixed before: energy and score norm at the sampled answer
high (Liu et al. 2020, arXiv 2010.03759, for classifiers), the basin around it flat (its energy gap
small), few steps accepted. Beside them what the input alone says: ‖A‖, condition number, and the
Mahalanobis distance of A's entries. Intervals: DeLong et al. 1988, over problems.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from pandas import DataFrame
from scipy import special
from torch import Tensor

from ired.instruments.accuracy.predictors import power_features
from ired.instruments.core import states
from ired.instruments.core.sampler import Sampler
from ired.instruments.statistics.auroc import delong
from ired.instruments.statistics.intervals import (
    Interval,
    mean_interval,
    paired_interval,
    proportion_interval,
)
from ired.model.protocol import Energy

INPUTS = ("norm", "mahalanobis", "condition_number")
ENTRIES = INPUTS[:2]  # what needs no spectrum of A
ENERGIES = ("energy", "score_norm", "flatness", "rejections")
CONTROL = "energy, untrained"


# Accuracy


def squared_errors(answers: Tensor, Y: Tensor) -> dict[str, NDArray]:
    """Of answers to true ones, both (P, n, n): "mse" per entry and "relative" ‖Ŷ − Y‖²/‖Y‖², (P,).

    Where Y is 0 the relative error is 0 for the answer 0, else that to a Y of 1 per entry.
    """
    mse = states.array((answers - Y).pow(2).mean((-2, -1)))
    size = states.array(Y.pow(2).mean((-2, -1)))
    return {"mse": mse, "relative": mse / np.where(size > 0, size, 1.0)}


def shift_accuracy(family: str, answers: Mapping[str, Tensor], Y: Tensor) -> DataFrame:
    """Rows family, predictor, measure, mean, low, high: 95 % intervals over problems of `squared_errors`."""
    rows = []
    for name, answer in answers.items():
        for measure, values in squared_errors(answer, Y).items():
            interval = mean_interval(values)
            rows.append({"family": family, "predictor": name, "measure": measure, **interval.row("mean")})
    return DataFrame(rows)


def relative_gain(answers: Tensor, others: Tensor, Y: Tensor, level: float = 0.95) -> Interval:
    """How much smaller the MSE of answers is than that of others, over that of others: paired over
    problems (P, n, n), both errors divided by the others' mean. 1 for exact answers, 0 for no gain."""
    first, second = (squared_errors(v, Y)["mse"] for v in (answers, others))
    scale = max(second.mean(), np.finfo(np.float64).tiny)
    return paired_interval(second / scale, first / scale, level)


# Detectors


@dataclass(frozen=True)
class Sampled:
    """What a model makes of P problems, and what its energy says of that.

    y (P, d): sampled answers at noise zero; Y (P, n, n): the matrices that were returned; scores:
    each of ENERGIES, (P,), growing with strangeness, of k = 0: energy E; score_norm ‖∇E‖/√size;
    flatness, minus the mean gap of states one noise radius away, in σ; rejections, the share of
    descent steps on the way that were refused.
    """

    y: Tensor
    Y: Tensor
    scores: dict[str, NDArray]


def sampled_with_scores(
    energy: Energy,
    A: Tensor,
    sampler: Sampler,
    generator: torch.Generator,
    around: int = 16,
    untrained: Energy | None = None,
    scale: float = 1.0,
) -> Sampled:
    """What the sampler gives is `scale` times the answers at noise zero (the release leaves √ᾱ_0 in them, and so
    do the matrices Y here); A (P, n, n) in energy's type.

    Start noise and the directions of the gap are drawn anew, `around` directions for each problem. With
    an untrained energy, its value at the same answers is the further score CONTROL: any function of A
    may see a shift, learned or not.
    """
    refused: list[Tensor] = []

    def see(step) -> None:
        if getattr(step, "accepted", None) is not None:
            refused.append((~step.accepted).double())

    start = states.noise(energy, len(A), generator=generator, like=A)
    end = sampler(energy, A, start, callback=see)
    y = end / scale
    rejections = torch.stack(refused).mean(0) if refused else torch.zeros(len(A))
    home = states.centre(energy, y, 0)
    prepared = energy.prepare(A)
    with torch.no_grad():
        E, score = energy.energy_and_gradient(prepared, home, 0)
        near = states.around(energy, y, k=0, distance=1.0, count=around, generator=generator)
        gap = energy.energy(prepared, near, 0).mean(1) - E
    size = energy.coordinates.size**0.5
    scores = dict(zip(ENERGIES, (E, score.norm(dim=1) / size, -gap / states.sigma(energy, 0), rejections), strict=True))
    if untrained is not None:
        scores[CONTROL] = untrained.energy(A, home, 0).detach()
    return Sampled(y, energy.coordinates.decode(end), {k: states.array(v) for k, v in scores.items()})


def input_scores(A: Tensor, training: Tensor) -> dict[str, NDArray]:
    """INPUTS of problems A (P, n, n), each (P,): Frobenius norm; Mahalanobis distance of the upper
    triangle from the training problems (N, n, n); λ_max/λ_min in size (of the symmetric part, at most
    1/ε)."""
    x, known = (states.array(power_features(v, 1)) for v in (A, training))
    deviation = x - known.mean(0)
    precision = np.linalg.pinv(np.cov(known.T), hermitian=True)
    size = torch.linalg.eigvalsh((A + A.mT).double() / 2).abs()
    floor = (size.amax(1) * torch.finfo(torch.float64).eps).clamp_min(1e-300)
    kappa = size.amax(1) / torch.maximum(size.amin(1), floor)
    distance = np.sqrt(np.einsum("pi,ij,pj->p", deviation, precision, deviation).clip(0))
    values = states.array(A.double().pow(2).sum((1, 2)).sqrt()), distance, states.array(kappa)
    return dict(zip(INPUTS, values, strict=True))


@dataclass(frozen=True)
class Aurocs:
    """AUROCs of D detectors on the same problems: estimate (D,), covariance (D, D) (DeLong), and how
    many problems the smaller side has."""

    names: tuple[str, ...]
    estimate: NDArray
    covariance: NDArray
    units: int

    def interval(self, name: str, level: float = 0.95) -> Interval:
        """Of one detector, within [0, 1]. Where shifted and same are told apart without a mistake the
        variance estimate is 0 and says nothing: then the exact (Clopper-Pearson) bound of as many right
        decisions as the smaller side has problems."""
        i = self.names.index(name)
        a, variance = float(self.estimate[i]), float(self.covariance[i, i])
        if variance <= 1e-15 and min(a, 1 - a) < 1e-12:
            known = proportion_interval(round(a) * self.units, self.units, level)
            return Interval(
                estimate=round(a), low=known.low, high=known.high, level=level, units=self.units, method=known.method
            )
        reach = special.ndtri((1 + level) / 2) * max(variance, 0.0) ** 0.5
        return Interval(
            estimate=a,
            low=max(0.0, a - reach),
            high=min(1.0, a + reach),
            level=level,
            units=self.units,
            method="DeLong",
        )

    def margin(self, name: str, others: Sequence[str], level: float = 0.95) -> Interval:
        """By how much `name` is ahead of the best of the others, where that is least sure.

        The others may look either way, whichever is better (an AUROC a counts as max(a, 1 − a)):
        a bar as high as it can be. Of the paired differences the one with the lowest lower end.
        """
        i, z, margins = self.names.index(name), special.ndtri((1 + level) / 2), []
        for other in others:
            j = self.names.index(other)
            sign = 1.0 if self.estimate[j] >= 0.5 else -1.0
            bar = self.estimate[j] if sign > 0 else 1 - self.estimate[j]
            C = self.covariance
            spread = max(C[i, i] + C[j, j] - 2 * sign * C[i, j], 0.0) ** 0.5
            gap = float(self.estimate[i] - bar)
            margins.append(
                Interval(
                    estimate=gap,
                    low=gap - z * spread,
                    high=gap + z * spread,
                    level=level,
                    units=self.units,
                    method="DeLong",
                )
            )
        return min(margins, key=lambda margin: margin.low)


def aurocs(same: Mapping[str, ArrayLike], shifted: Mapping[str, ArrayLike]) -> Aurocs:
    """From detectors' values on M problems of the training distribution and N shifted ones."""
    names = tuple(same)
    x, y = (np.array([np.asarray(v[k], dtype=np.float64) for k in names]) for v in (shifted, same))
    N, M = x.shape[1], y.shape[1]
    if min(M, N) < 2:
        raise ValueError(f"an AUROC needs at least two problems of each kind, not {M} and {N}")
    return Aurocs(names, *delong(x, y), min(M, N))


def detection(family: str, areas: Aurocs, level: float = 0.95) -> DataFrame:
    """Rows family, detector, auroc, low, high (95 %).

    Of ENERGIES also ahead_inputs, ahead_inputs_low: margin over the best of INPUTS, at `level`; and
    ahead_entries, ahead_entries_low: over the best of ENTRIES. NaN for the others.
    """
    rows = []
    for name in areas.names:
        row = {"family": family, "detector": name, **areas.interval(name).row("auroc")}
        for what, others in (("inputs", INPUTS), ("entries", ENTRIES)):
            gap = areas.margin(name, others, level) if name in ENERGIES else None
            row |= {f"ahead_{what}": gap.estimate if gap else np.nan, f"ahead_{what}_low": gap.low if gap else np.nan}
        rows.append(row)
    return DataFrame(rows)


# What was never meant


def pathology(
    name: str,
    A: Tensor,
    Y: Tensor,
    exists: bool,
    answers: Mapping[str, Tensor],
    energy: NDArray,
    usual: NDArray,
) -> DataFrame:
    """Answers (P, n, n) by predictor to problems A that the task does not mean, a row a predictor.

    finite: share of answers without NaN or infinity, of which the rest are medians: relative, to Y (the
    inverse, or pseudo-inverse where there is none); residual ‖AŶ − I‖_F/√n (1 for the answer 0);
    size ‖Ŷ‖_F/√n. energy (P,) at the model's answers, usual (N,) those of training problems: `higher`
    is the share of the usual ones that its median exceeds.
    """
    eye, rows = torch.eye(A.shape[-1], dtype=A.dtype, device=A.device), []
    level = energy[np.isfinite(energy)]
    higher = float((usual < np.median(level)).mean()) if len(level) else 1.0
    for predictor, answer in answers.items():
        right = answer.isfinite().flatten(1).all(1)
        row = {
            "input": name,
            "inverse": exists,
            "predictor": predictor,
            "problems": len(A),
            "finite": float(right.double().mean()),
            "higher": higher,
        }
        if right.any():
            a, y, t = A[right], answer[right], Y[right]
            root = len(eye) ** 0.5
            numbers = {
                "relative": squared_errors(y, t)["relative"],
                "residual": states.array((a @ y - eye).flatten(1).norm(dim=1) / root),
                "size": states.array(y.flatten(1).norm(dim=1) / root),
            }
            row |= {k: float(np.median(v)) for k, v in numbers.items()}
        rows.append(row)
    return DataFrame(rows)
