"""Known answers of the sampling path: energies that contract by a known factor, samplers that spoil, forget or copy."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from scipy import integrate, special
from torch import Tensor

from ired.instruments.accuracy import sampling_path as paths
from ired.instruments.core import states
from ired.instruments.core.check import Check, compare, relative
from ired.instruments.core.reference_energies import References, WrappedEnergy
from ired.instruments.core.sampler import denoised

NAME = "sampling_path"
SLACK = 0.7  # of the curvature that the ideal energy has: 0.3 of a distance is left after a landscape
BEFORE, AFTER, SPOILT = 0.1, 0.3, 4  # root mean square errors, and the landscape that leads from one to the other
WIDE = 6.0  # standard deviations that chance may be off


class _SlackBowl(WrappedEnergy):
    """The ideal energy with `SLACK` of its gradient."""

    def gradient(self, A: Any, y: Tensor, k: int | Tensor) -> Tensor:
        return SLACK * self._energy.gradient(A, y, k)


def check_sampling_path(references: References, generator: torch.Generator) -> list[Check]:
    """Errors, losses, memory and the choice of where to stop, against closed forms and plants."""
    return [
        *_bowls(references, generator),
        *_spoilt(references, generator),
        *_memories(references, generator),
        *_choices(references.ideal.schedule.K, generator),
    ]


def _bowls(references: References, generator: torch.Generator) -> list[Check]:
    """In the ideal bowl the answer is there at once; in a slack one 0.3 of the distance is left by every landscape."""
    ideal, A = references.ideal, references.A
    start = states.noise(ideal, len(A), 3, generator=generator, like=A)
    K, y0, scale = ideal.schedule.K, states.answers(ideal, A), ideal.coordinates.scale
    read = start / ideal.schedule.sqrt_alpha_bar[-1].item()
    first = states.array(scale**2 * (read - y0[:, None]).pow(2).mean((1, 2)))
    varied = states.array(scale**2 * read.var(1).mean(-1))
    left = (1 - SLACK) ** (2 * (K - np.arange(K)[:, None]))
    path = paths.sampling_path(ideal, denoised, A, start)
    slack = paths.sampling_path(_SlackBowl(ideal), denoised, A, start)
    assert slack.spread is not None
    after = path.errors.mean(-1)[:, 1:] / path.zero.mean()
    return [
        relative(NAME, "error of the start in the ideal energy", first, path.errors[K - 1, 0], 1e-9),
        compare(NAME, "errors after that, times that of zero", 0, after, 1e-16),
        relative(NAME, "errors in a slack bowl: a power of what it leaves", left * first, slack.errors[:, 1], 1e-6),
        relative(NAME, "on entering: those of the landscape before", left[1:] * first, slack.errors[:-1, 0], 1e-6),
        relative(NAME, "variances over starts there", left * varied, slack.spread[:, 1], 1e-6),
        compare(
            NAME, "error of zero", states.array(ideal.coordinates.decode(y0).pow(2).mean((-2, -1))), path.zero, 1e-12
        ),
    ]


def _spoilt(references: References, generator: torch.Generator) -> list[Check]:
    """One stage of one landscape spoils the answer: it is named, with what it costs."""
    ideal, A = references.ideal, references.A
    checks: list[Check] = []
    start = states.noise(ideal, len(A), 2, generator=generator, like=A)
    spoilt, unit = min(SPOILT, ideal.schedule.K - 1), ideal.coordinates.scale**2
    for stage in paths.STAGES[1:]:

        def estimate(k: int, at: str, y0: Tensor, start: Tensor, stage: str = stage) -> Tensor:
            done = k < spoilt or (k == spoilt and at in (stage, "descend"))
            return y0 + (AFTER if done else BEFORE) * _outwards(y0)

        path = paths.sampling_path(ideal, _planted(estimate), A, start)
        k, lost, rise = path.greatest_loss()
        row = path.error_table().set_index(["landscape", "stage"]).loc[spoilt, stage]
        cost = unit * (AFTER**2 - BEFORE**2)
        what = {"denoise": "the denoising step", "descend": "descents"}[stage]
        checks += [
            Check(NAME, f"landscape spoilt by {what}", expected=spoilt, measured=k, tolerance=0),
            Check(NAME, f"1: {what} named", expected=1, measured=float(lost == stage), tolerance=0),
            relative(NAME, f"cost of {what}", cost, rise.estimate, 1e-9),
            relative(NAME, f"cost of {what} in the table", cost, row["change"], 1e-9),
            relative(NAME, f"error after {what}", unit * AFTER**2, row["mse"], 1e-9),
            relative(NAME, f"error at the end, after {what}", unit * AFTER**2, path.leaving[0], 1e-9),
        ]
    return checks


def _memories(references: References, generator: torch.Generator) -> list[Check]:
    """A sampler that forgets the start has memory 0, one whose errors are the start's 1, a mixture what is mixed in."""
    ideal, starts = references.ideal, 2
    size, d, K = ideal.coordinates.size, ideal.coordinates.d, ideal.schedule.K
    # So many problems that two starts each tell the variance well: 4000 numbers and more.
    A = references.A.repeat(-(-4000 // (size * len(references.A))), 1, 1)
    start = states.noise(ideal, len(A), starts, generator=generator, like=A)
    checks = []
    for name, copied, missed in (("forgets", 0.0, 0.2), ("copies", 1.0, 0.0), ("mixes", 0.3, 0.3)):

        def estimate(k: int, at: str, y0: Tensor, start: Tensor, a: float = copied, b: float = missed) -> Tensor:
            return y0 + a * start + b * _outwards(y0)

        path = paths.sampling_path(ideal, _planted(estimate), A, start)
        assert path.spread is not None
        memory = path.spread.mean(-1) / path.errors.mean(-1)
        made = copied**2 * size / d
        deviation = _memory_deviation(copied, missed, size / d, starts, len(A) * size, len(A) * d)
        after = memory.ravel()[np.arange(3 * K) != 3 * (K - 1)]  # in all stages but that of the start itself
        checks.append(
            compare(
                NAME,
                f"memory of a sampler that {name} the start",
                made / (made + missed**2),
                after,
                max(WIDE * deviation, 1e-12),
            )
        )
    return checks


def _choices(K: int, generator: torch.Generator) -> list[Check]:
    """Among landscapes that are equally good the best on few problems flatters itself, and other problems tell."""
    repeats, problems = 300, 10
    drawn = torch.randn(repeats, 2, K, problems, generator=generator, dtype=torch.float64, device=generator.device)
    chosen = [paths.best_stop(*pair) for pair in states.array(drawn)]
    lowest, _ = integrate.quad(lambda x: x * K * _density(x) * special.ndtr(-x) ** (K - 1), -9, 9)
    error = problems**-0.5
    planted = np.zeros((2, K, problems))
    planted[0], planted[0, K - 2], planted[1] = 2.0, 1.0, 3.0 + np.arange(K)[:, None] + 0.1 * np.arange(problems)
    stop = paths.best_stop(*planted)
    return [
        Check(NAME, "landscape with the lowest validation error", K - 2, stop.landscape, 0),
        Check(NAME, "test error of stopping there, to the end's", K - 2, float(stop.difference.estimate), 1e-12),
        Check(
            NAME,
            "lowest validation error of K equal landscapes: that of K normal numbers",
            expected=lowest * error,
            measured=float(np.mean([stop.chosen_on for stop in chosen])),
            tolerance=WIDE * error * repeats**-0.5,
        ),
        Check(
            NAME,
            "test error of stopping there: that of any",
            expected=0,
            measured=float(np.mean([stop.stopped.estimate for stop in chosen])),
            tolerance=WIDE * error * repeats**-0.5,
        ),
    ]


def _planted(estimate: Callable[[int, str, Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """A sampler whose clean estimate after each stage of landscape k is estimate(k, stage, y₀, start)."""

    def sampler(energy: Any, A: Tensor, start: Tensor, callback: Callable[[Any], None]) -> Tensor:
        y0 = states.answers(energy, A)
        for k in reversed(range(energy.schedule.K)):
            for inner, stage in enumerate(("denoise", "descend")):
                clean = estimate(k, stage, y0, start)
                y = energy.schedule.at("sqrt_alpha_bar", k, clean) * clean
                callback(SimpleNamespace(stage=stage, landscape=k, inner=inner, y=y))
        return clean

    return sampler


def _outwards(y0: Tensor) -> Tensor:
    """Steps (B, d) along the answers, of mean square 1 per entry."""
    return y0 / y0.pow(2).mean(-1, keepdim=True).sqrt()


def _memory_deviation(a: float, b: float, unit: float, starts: int, numbers: int, entries: int) -> float:
    """Standard deviation, at most, of the memory of estimates y₀ + a·start + b·(a step of mean square 1).

    unit: mean square of a start per entry; numbers: dimensions of all problems together; entries: their entries. By
    the first derivatives of memory by the variance over starts, by the square of their mean, and by their product
    with the step, whose deviations are those of sums of normal numbers and their squares.
    """
    error = a**2 * unit + b**2
    slope = a**4 * unit / error**2
    variance = abs(a**2 / error - slope * (1 - 1 / starts)) * unit * math.sqrt(2 / ((starts - 1) * numbers))
    centre = slope * unit / starts * math.sqrt(2 / numbers)
    return variance + centre + 2 * a**3 * b * unit / error**2 / math.sqrt(entries * starts)


def _density(x: float) -> float:
    return math.exp(-x * x / 2) / math.sqrt(2 * math.pi)
