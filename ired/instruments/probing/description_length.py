"""Minimum description length of probes by online coding (Voita & Titov 2020): how many examples a probe needs.

A sender and a receiver share the representations of N problems; the values are sent block by block,
each block coded with a probe that was fitted to the blocks before it (prequential code: Dawid 1984;
Voita & Titov 2020, arXiv 2003.12298). The total length is short where a property is easy to read *and*
few problems show how, so that it does not reward a probe for its size. The first block is sent with
the code that knows nothing.

Labels: log-loss of logistic probes; the uniform code takes one bit each. Real values, standardised:
Student's t around the ridge probe's prediction, as wide as the error that it made inside (never below
`PRECISION`, to which values are sent); the code that knows nothing is the standard normal density.
One state a problem: states that share one would teach each other.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import special
from torch import Tensor

from ired.instruments.core.states import array
from ired.instruments.probing import logistic
from ired.instruments.probing.logistic import LOG_2
from ired.instruments.probing.ridge import ALPHAS, Sums, grouped_folds
from ired.instruments.statistics.intervals import Interval, mean_interval

SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
FEWEST = 8  # problems of the first block at least
PRECISION = 0.01  # of a standard deviation
STRENGTHS = (1e-4, 1e-2, 1e-1)


@dataclass(frozen=True)
class Code:
    """What the values of N problems cost, in the order in which they were sent.

    bits, uniform (N, T): bits of each value, and of the code that knows nothing; ends (blocks,): how
    many problems had been sent at the end of each block.
    """

    bits: NDArray
    uniform: NDArray
    ends: tuple[int, ...]

    @property
    def length(self) -> NDArray:
        """Total bits (T,)."""
        return self.bits.sum(0)

    @property
    def compression(self) -> NDArray:
        """How many times shorter it is than the code that knows nothing: (T,). For labels this is
        Voita and Titov's figure; for real values it depends on `PRECISION`, which `saved` does not."""
        return self.uniform.sum(0) / np.maximum(self.length, 1e-12)

    def saved(self, columns: slice = slice(None), level: float = 0.95) -> Interval:
        """Bits saved per problem, on average over columns (all are of one property), with an interval
        over problems, given the order in which they came."""
        return mean_interval((self.uniform - self.bits)[:, columns].mean(1), level)

    def curve(self, columns: slice = slice(None)) -> tuple[list[int], list[float]]:
        """Numbers of problems that probes were fitted to, and the bits that they then saved on each
        value of the next block."""
        gain = (self.uniform - self.bits)[:, columns].mean(1)
        blocks = list(zip(self.ends[:-1], self.ends[1:], strict=True))
        return [a for a, _ in blocks], [float(gain[a:b].mean()) for a, b in blocks]


def ends_of(count: int, shares: Sequence[float] = SHARES) -> tuple[int, ...]:
    """How many of `count` problems are sent at the end of each block. Raises ValueError for so few
    that there would be one block alone."""
    ends = tuple(sorted({max(FEWEST, round(share * count)) for share in shares}))
    if len(ends) < 2 or ends[-1] > count:
        raise ValueError(f"{count} problems are too few to be sent in blocks")
    return ends


def of_values(
    x: Tensor,
    values: Tensor,
    order: ArrayLike,
    rng: np.random.Generator,
    shares: Sequence[float] = SHARES,
    alphas: Sequence[float] = ALPHAS,
    inner: int = 3,
) -> Code:
    """Of real values (N, T), sent in the order (N,) by ridge probes of x (N, F).

    As with labels, each block is coded with the mean of what probes of every strength say, weighted by
    their likelihood on `inner` folds of what was sent.
    """
    order = torch.as_tensor(np.asarray(order), device=x.device)
    x, values = x[order].double(), values[order].double()
    deviation = values.std(0, correction=0)
    values = (values - values.mean(0)) / torch.where(deviation > 0, deviation, 1.0)
    ends = ends_of(len(x), shares)
    uniform = _bits(-values.pow(2) / 2 - 0.5 * np.log(2 * np.pi))
    bits = uniform.clone()
    for start, end in itertools.pairwise(ends):
        fold = grouped_folds(np.arange(start), inner, rng)
        sums = Sums.of(x[:start], values[:start], fold)
        misses = sum(sums.fit({f}).misses(sums.rows[f], alphas) for f in range(inner))
        error = (misses / start).sqrt().clamp_min(PRECISION)
        weights = torch.log_softmax(-start * error.log(), 0)
        fit, new = sums.fit(), x[start:end] - x[:start].mean(0)
        each = []
        for strength, width, weight in zip(alphas, error, weights, strict=True):
            guess = fit.predict(new, torch.full_like(weight, strength))
            density = torch.distributions.StudentT(start, guess, width)
            each.append(density.log_prob(values[start:end]) + weight)
        bits[start:end] = _bits(torch.stack(each).logsumexp(0))
    return Code(array(bits), array(uniform), ends)


def of_labels(
    x: NDArray,
    label: ArrayLike,
    order: ArrayLike,
    rng: np.random.Generator,
    shares: Sequence[float] = SHARES,
    strengths: Sequence[float] = STRENGTHS,
    inner: int = 3,
) -> Code:
    """Of labels (N,), sent in the order (N,) by logistic probes of x (N, F).

    A block is coded with the mean of what the rule of succession (Laplace) and probes of every strength
    say, weighted by exp(−loss) of each on inner folds of what was sent: to choose one of them by a
    handful of problems would cost more than is won. No probe may be surer than that rule can be.
    """
    order = np.asarray(order)
    x, label = x[order], np.asarray(label, dtype=bool)[order]
    ends, bits = ends_of(len(x), shares), np.ones(len(x))
    for start, end in itertools.pairwise(ends):
        sent, is_sent = label[:start], np.arange(end) < start
        # Classes dealt out evenly: every inner training part then holds both, if there are two of each.
        fold = np.empty(start, dtype=int)
        for side in (True, False):
            places = rng.permutation(np.flatnonzero(sent == side))
            fold[places] = np.arange(len(places)) % inner
        experts = 1 if min(sent.sum(), start - sent.sum()) < 2 else 1 + len(strengths)
        losses = np.zeros(experts)
        for f in range(inner):
            words = _words(x[:start], sent, fold != f, strengths[: experts - 1])
            losses += [logistic.log_loss(sent, z)[fold == f].sum() for z in words]
        words = _words(x[:end], label[:end], is_sent, strengths[: experts - 1])
        each = np.stack([-logistic.log_loss(label[:end], z)[start:] for z in words])
        weights = special.log_softmax(-losses)[:, None]
        bits[start:end] = -special.logsumexp(each + weights, axis=0) / LOG_2
    return Code(bits[:, None], np.ones((len(x), 1)), ends)


def _words(x: NDArray, label: NDArray, train: NDArray, strengths: Sequence[float]) -> list[NDArray]:
    """Logits (N,) of the rule of succession, and of probes fitted to `train` (N,) that are no surer."""
    count, yes = train.sum(), label[train].sum()
    rule = np.full(len(label), np.log((yes + 1) / (count - yes + 1)))
    probes = logistic.fitted_logits(x, label, train, strengths) if strengths else []
    most = np.log(count + 1)
    return [rule, *(np.clip(z, -most, most) for z in probes)]


def _bits(log_density: Tensor) -> Tensor:
    """Bits of values sent to `PRECISION`, from their log-density in nats."""
    return -(log_density + np.log(PRECISION)) / LOG_2
