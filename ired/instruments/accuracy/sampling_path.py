"""Error of the clean estimate along the sampling path (x̂₀ of Song et al. 2021, eq. 12): where is the answer lost?

A state y of landscape k stands for the answer decode(y/√ᾱ_k). Its squared error is taken where the path enters a
landscape, after the denoising step, and after the descents (Du et al. 2024, alg. 2). Between landscapes the sampler
does no more than rescale, so what enters one is what left the one before; the start, read so, is noise 1/√ᾱ_{K−1}
times too large (204 times with ten landscapes). A stage that lets the error rise loses what was known before.

*Memory of the start* is the variance of the estimate over independent starts of one problem, as a share of its error:
0 where the start is forgotten, 1 where all error comes from it. Error is bias² + variance, so it is also the share
that the mean over very many starts would be spared.

What controls must show. In a bowl around √ᾱ_k·c_k(A) of curvature s_k/σ_k the denoising step multiplies the distance
to c_k by 1 − s_k and each descent by 1 − β_k·s_k/σ_k². So a *regression network seen as an energy* (c_k = g(A)) tends
to that network's error and stays there; with s_k = 1, as in the *ideal* energy, from the first step on, without memory.
An *affine* energy's estimate is affine in A in every stage (where the clip binds nothing): if the start is forgotten
it is never better than least squares, and a path that goes below least squares has done what no affine energy does.
A *flat* energy, much like an *untrained* network, hands the clipped start through: the memory is v/(v + answer²), v
its variance, and no stage changes anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from pandas import DataFrame
from torch import Tensor

from ired.instruments.core import states
from ired.instruments.core.sampler import Sampler
from ired.instruments.statistics.intervals import Interval, mean_interval, paired_interval, ratio_interval
from ired.model.protocol import Energy

STAGES = ("enter", "denoise", "descend")
MEMORY = 2**27  # bytes of states that are kept at a time
# An error below this share of the answers' own square is rounding (a part in 10⁴ of an entry): it has no memory.
ROUNDING = 1e-8


@dataclass(frozen=True)
class SamplingPath:
    """What the clean estimates of P problems are worth along a path of K landscapes, per entry of A⁻¹.

    errors: (K, 3, P) squared error, by landscape k and stage of `STAGES`, mean over entries and starts; spread: of
    the same shape, the variance over starts (None from a single start); zero: (P,) the error of no answer at all.
    """

    errors: NDArray
    spread: NDArray | None
    zero: NDArray

    @property
    def leaving(self) -> NDArray:
        """Errors (K, P) of the answers that one has by stopping after landscape k, what `stop_at` = k gives."""
        return self.errors[:, STAGES.index("descend")]

    def error_table(self) -> DataFrame:
        """A row a landscape and stage, from the noisiest on, with 95 % intervals over problems.

        Columns: landscape, stage; mse, low, high; change, change_low, change_high: the paired difference to the
        stage before (0 on entering); where there are several starts memory, memory_low, memory_high.
        """
        rows: list[dict[str, Any]] = []
        for k in reversed(range(len(self.errors))):
            for s, stage in enumerate(STAGES):
                known = rows[-1] if stage == "enter" and rows else self._numbers(k, s)
                before = self.errors[k, max(s - 1, 0)]
                change = paired_interval(self.errors[k, s], before)
                rows.append(known | {"landscape": k, "stage": stage} | change.columns("change"))
        columns = ["landscape", "stage"]
        return DataFrame(rows, columns=columns + [name for name in rows[0] if name not in columns])

    def _numbers(self, k: int, s: int) -> dict[str, Any]:
        """Error and memory after one stage, with their intervals."""
        numbers = mean_interval(self.errors[k, s]).row("mse")
        if self.spread is None:
            return numbers
        if self.errors[k, s].mean() <= ROUNDING * self.zero.mean():
            return numbers | {"memory": 0.0, "memory_low": 0.0, "memory_high": 0.0}
        return numbers | ratio_interval(self.spread[k, s], self.errors[k, s]).columns("memory")

    def greatest_loss(self, level: float = 0.95) -> tuple[int, str, Interval]:
        """Landscape and stage at which the mean error rises most, and that change with its interval.

        It is the largest of 2K changes, so its interval has the Bonferroni-corrected level 1 − (1 − level)/2K. One
        that does not lie above 0 says that nothing is lost beyond chance.
        """
        changes = np.diff(self.errors, axis=1)
        k, s = np.unravel_index(changes.mean(-1).argmax(), changes.shape[:2])
        return int(k), STAGES[s + 1], mean_interval(changes[k, s], 1 - (1 - level) / changes[..., 0].size)

    def against(self, references: Mapping[str, ArrayLike], k: int = 0) -> DataFrame:
        """Stopping after landscape k beside predictors, given as squared errors (P,) on the same problems.

        Columns: predictor; mse, low, high; difference, difference_low, difference_high: of the answers to it, paired.
        """
        return DataFrame(
            {"predictor": name}
            | mean_interval(errors).row("mse")
            | paired_interval(self.leaving[k], errors).columns("difference")
            for name, errors in references.items()
        )


@dataclass(frozen=True)
class BestStop:
    """Where to stop, chosen on validation problems, and what it is worth on test problems.

    landscape: k with the lowest validation error; chosen_on: that error; stopped, to_the_end: test errors of stopping
    there and of going through all landscapes; difference: of the first to the second, paired over problems.
    """

    landscape: int
    chosen_on: float
    stopped: Interval
    to_the_end: Interval
    difference: Interval

    def metrics(self, name: str) -> dict[str, Any]:
        """As metrics of a run."""
        numbers = {f"{name}.landscape": self.landscape, f"{name}.mse.validation": self.chosen_on}
        return numbers | self.stopped.metrics(f"{name}.mse.test") | self.difference.metrics(f"{name}.difference")


def best_stop(validation_errors: ArrayLike, test_errors: ArrayLike) -> BestStop:
    """The landscape after which to stop, from errors (K, P) and (K, Q) after each landscape (`leaving`).

    Of equal means the later landscape of the path is taken. The lowest of K means owes part of its lead to chance
    (winner's curse), so what stopping is worth comes from other problems. Raises ValueError where they are the same.
    """
    validation, test = (np.asarray(errors, dtype=np.float64) for errors in (validation_errors, test_errors))
    if validation.ndim != 2 or test.ndim != 2 or len(validation) != len(test):
        raise ValueError(f"errors of all landscapes are needed twice, not of shapes {validation.shape}, {test.shape}")
    if np.array_equal(validation, test):
        raise ValueError("where to stop must be chosen on other problems than it is judged on")
    means = validation.mean(-1)
    k = int(means.argmin())
    return BestStop(
        landscape=k,
        chosen_on=float(means[k]),
        stopped=mean_interval(test[k]),
        to_the_end=mean_interval(test[0]),
        difference=paired_interval(test[k], test[0]),
    )


def sampling_path(
    energy: Energy, sampler: Sampler | Callable[..., Tensor], A: Tensor, start: Tensor, memory: int = MEMORY
) -> SamplingPath:
    """Errors and spread of the clean estimates of problems A (P, n, n) from states `start` (P, M, d), M starts each.

    The sampler runs once over every start, in start's precision and on its device, on as many problems at a time as
    leave their states in `memory` bytes. Estimates are read without the release's factor √ᾱ_0.
    Raises ValueError where shapes do not fit, or where the sampler does not pass all landscapes.
    """
    if start.dim() != 3 or len(start) != len(A) or start.shape[-1] != energy.coordinates.d:
        raise ValueError(f"{len(A)} problems need starts (P, M, {energy.coordinates.d}), not {tuple(start.shape)}")
    kept = 2 * energy.schedule.K * start[0].numel() * start.element_size()
    size = max(1, memory // kept)
    y0 = states.answers(energy, A.double().to(start.device))
    chunks = zip(A.split(size), y0.split(size), start.split(size), strict=True)
    errors, spread = torch.cat([_stages(energy, sampler, *chunk) for chunk in chunks], dim=-1)
    zero = energy.coordinates.decode(y0).pow(2).mean((-2, -1))
    return SamplingPath(
        errors=states.array(errors),
        spread=states.array(spread) if start.shape[1] > 1 else None,
        zero=states.array(zero),
    )


@torch.no_grad()
def _stages(energy: Energy, sampler: Sampler | Callable[..., Tensor], A: Tensor, y0: Tensor, start: Tensor) -> Tensor:
    """Errors and spread (2, K, 3, P) along the paths of a few problems."""
    K, starts = energy.schedule.K, start.shape[1]
    last: dict[tuple[int, str], Tensor] = {}

    def keep(step: Any) -> None:
        if step.stage in STAGES:
            last[step.landscape, step.stage] = step.y.detach()

    sampler(energy, A.to(start).repeat_interleave(starts, 0), start.flatten(0, 1), callback=keep)
    if missing := [k for k in range(K) if (k, "denoise") not in last]:
        raise ValueError(f"a path through all {K} landscapes is needed: the sampler shows no state of {missing}")

    def measured(y: Tensor, k: int) -> Tensor:
        clean = y.double().unflatten(0, (-1, starts)) / energy.schedule.sqrt_alpha_bar[k].item()
        error = (clean - y0[:, None]).pow(2).mean((1, 2))
        return energy.coordinates.scale**2 * torch.stack((error, clean.var(1, correction=min(starts - 1, 1)).mean(-1)))

    of_stages: list[Tensor] = []
    entering = measured(start.flatten(0, 1), K - 1)
    for k in reversed(range(K)):
        denoised = measured(last[k, "denoise"], k)
        left = measured(last[k, "descend"], k) if (k, "descend") in last else denoised
        of_stages.insert(0, torch.stack((entering, denoised, left), dim=1))
        entering = left
    return torch.stack(of_stages, dim=1)
