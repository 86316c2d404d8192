"""Mean squared error of a model's answers, and how much of them is an affine map of A."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from numpy.typing import NDArray
from torch import Tensor

from ired.instruments.accuracy import predictors
from ired.instruments.statistics.intervals import Interval, mean_interval, ratio_interval


@dataclass(frozen=True)
class Accuracy:
    """Answers of one model to problems A (N, n, n), at every number of inner steps.

    errors: (N,) squared errors averaged over entries, by inner steps; mse: their means over problems
    with intervals; affine: the share of the last answers' variance that a symmetric affine map of A
    explains (an antisymmetric part counts as unexplained);
    recovered: the share of what an affine map of A misses of the truth that they have (1 for the
    exact inverse, 0 for an affine map).
    """

    errors: dict[int, Tensor]
    mse: dict[int, Interval]
    affine: Interval
    recovered: Interval

    def rows(self, landscapes: int = 10) -> list[dict[str, float]]:
        """A row for every number of optimisation steps, all landscapes together: steps, mse, low and high."""
        return [{"steps": landscapes * inner} | error.row("mse") for inner, error in self.mse.items()]

    def numbers(self, family: str) -> dict[str, float]:
        """As metrics of a run: mse.<family>.steps_<steps>, and both shares with their intervals."""
        errors = {f"mse.{family}.steps_{row['steps']}": row["mse"] for row in self.rows()}
        return errors | self.affine.metrics(f"affine_share.{family}") | self.recovered.metrics(f"recovered.{family}")


def accuracy(answer: Callable[[Tensor, int], Tensor], A: Tensor, Y: Tensor, inner_steps: Iterable[int]) -> Accuracy:
    """answer(A, inner steps) gives matrices (N, n, n), Y are the true ones; all float64."""
    errors = {}
    for steps in inner_steps:
        answers = answer(A, steps)
        errors[steps] = (answers - Y).pow(2).mean((-2, -1))
    share = affine_share(A, answers, Y)
    affine = ratio_interval(share.unexplained, share.total).complement()
    mse = {steps: mean_interval(error) for steps, error in errors.items()}
    return Accuracy(errors, mse, affine, ratio_interval(share.gained, share.missed))


@dataclass(frozen=True)
class AffineShare:
    """What of a model's answers is an affine map of A, on problems that it was not fitted on.

    All arrays (N,), one entry a problem, squared and summed over the entries of a matrix.
    unexplained, total: deviation of the answers from the affine map, and from their mean; 1 minus
    the ratio of their means is the share that is affine. gained, missed: the truth's deviation from
    its own affine map times the answers' from theirs, and its square; the ratio of their means is 1
    for the exact inverse and 0 for an affine map.
    """

    unexplained: NDArray
    total: NDArray
    gained: NDArray
    missed: NDArray


def affine_share(A: Tensor, answers: Tensor, Y: Tensor) -> AffineShare:
    """From problems, a model's answers and the truth, all (N, n, n), cross-fitted in two halves."""
    parts = []
    halves = torch.arange(len(A)).chunk(2)
    for mine, others in (halves, halves[::-1]):
        ours, true = (predictors.affine_predictors([(A[others], target[others])]) for target in (answers, Y))
        left = answers[mine] - ours["least_squares"](A[mine])
        missed = Y[mine] - true["least_squares"](A[mine])
        around = answers[mine] - ours["mean"](A[mine])
        pairs = (left, left), (around, around), (left, missed), (missed, missed)
        parts.append(torch.stack([(a * b).sum((-2, -1)) for a, b in pairs]))
    return AffineShare(*torch.cat(parts, dim=1).double().cpu().numpy())
