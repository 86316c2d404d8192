"""Activation patching: answers sampled with a direction's coordinate moved, ablated, or taken from a twin problem.

An edited layer is an energy of its own, whose gradient is followed: what the edit takes away has no gradient, and
what it brings in knows how it depends on the state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ired.instruments.core import states as points
from ired.instruments.core.directions import EVERYWHERE, STATE
from ired.instruments.core.patching import Spliced
from ired.instruments.core.sampler import Sampler
from ired.instruments.interventions.pushes import entering
from ired.model.protocol import Energy

# Rows that are sampled at once, at most (with autograd's graph of one evaluation).
_ROWS = 4096


class Edited(Spliced):
    """An energy whose activations h of a layer become edit(h, y, k), in one landscape or in all."""

    def __init__(
        self, energy: Energy, layer: str, edit: Callable[[Tensor, Tensor, int], Tensor], landscape: int | None
    ):
        super().__init__(energy, layer, lambda h: h, landscape)
        self.edit = edit

    def replaced(self, h: Tensor, y: Tensor, k: int | Tensor) -> Tensor:
        return self.edit(h, y, k)


@dataclass(frozen=True)
class UndisturbedRuns:
    """Undisturbed runs of P problems A (P, n, n) with true answers y0 (P, d): states (K, P, d) in which
    each landscape was entered, and what was sampled, answers (P, d)."""

    A: Tensor
    y0: Tensor
    states: Tensor
    answers: Tensor

    @classmethod
    def of(cls, energy: Energy, sampler: Sampler, A: Tensor, start: Tensor) -> UndisturbedRuns:
        """From noise start (P, d)."""
        states = entering(energy, A, sampler, start)
        answers = sampler(energy, A, states[0], first=0)
        return cls(A=A, y0=points.answers(energy, A), states=states, answers=answers)


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
    def problems(cls, base: UndisturbedRuns, changed: UndisturbedRuns, first: int) -> Twins:
        """Two problems, each with its own path up to there."""
        return cls(
            first=first,
            A=base.A,
            y=base.states[first],
            y0=base.y0,
            A_more=changed.A,
            y_more=changed.states[first],
            y0_more=changed.y0,
            moved=False,
        )

    @classmethod
    def states(cls, path: UndisturbedRuns, less: Tensor, more: Tensor, first: int) -> Twins:
        """One problem in two states (P, d)."""
        return cls(first=first, A=path.A, y=less, y0=path.y0, A_more=path.A, y_more=more, y0_more=path.y0, moved=True)


def added(energy: Energy, sampler: Sampler, path: UndisturbedRuns, place: Place, V: Tensor, amount: float) -> Tensor:
    """Answers (m, P, d) with amount·v added, for each of the unit vectors V (m, width)."""

    def edit(h: Tensor, v: Tensor) -> Tensor:
        return h + amount * v

    return _sampled(energy, sampler, path, place, V=V, edit=edit)


def ablated(energy: Energy, sampler: Sampler, path: UndisturbedRuns, place: Place, V: Tensor) -> Tensor:
    """Answers (m, P, d) with the coordinate along v set to its mean over the problems, evaluation by
    evaluation: a number on which neither problem nor state has an influence."""
    count = len(path.A)

    def edit(h: Tensor, v: Tensor) -> Tensor:
        along = (h * v).sum(-1).unflatten(0, (-1, count))
        mean = along.mean(1, keepdim=True).detach().expand_as(along)
        return h + (mean - along).flatten()[:, None] * v

    return _sampled(energy, sampler, path, place, V=V, edit=edit)


def _sampled(
    energy: Energy,
    sampler: Sampler,
    path: UndisturbedRuns,
    place: Place,
    V: Tensor,
    edit: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    first, count, parts = place.first(energy.schedule.K), len(path.A), []
    for part in V.split(max(1, _ROWS // count)):
        v, A = part.repeat_interleave(count, 0), path.A.repeat(len(part), 1, 1)
        start = path.states[first].repeat(len(part), 1)
        if place.space == STATE:
            answers = sampler(energy, A, edit(start, v), first=first)
        else:
            k = None if place.landscape == EVERYWHERE else place.landscape
            edited = Edited(energy, place.space, lambda h, y, k, v=v: edit(h, v), k)
            answers = sampler(edited, A, start, first=first)
        parts.append(answers.unflatten(0, (len(part), count)))
    return torch.cat(parts)


def swapped(energy: Energy, sampler: Sampler, twins: Twins, place: Place, V: Tensor | None, back: bool) -> Tensor:
    """Answers (m, P, d) of the first of each pair with the coordinate along v that its twin has; of the
    twin with that of the first, if `back`. V (m, width), or None for all coordinates (m = 1).

    In a layer the coordinate is, at every evaluation, that of the twin's problem in the same state (of
    the same problem in the state as far away as the twins' are, where it is the state that differs): a
    problem patched with itself is undisturbed, and the gradient knows how the coordinate depends on
    the state.
    """
    (A, y), (A_other, y_other) = (twins.A, twins.y), (twins.A_more, twins.y_more)
    if back:
        (A, y), (A_other, y_other) = (A_other, y_other), (A, y)
    count, parts = len(A), []
    for part in [None] if V is None else V.split(max(1, _ROWS // count)):
        m = 1 if part is None else len(part)
        v = None if part is None else part.repeat_interleave(count, 0)
        start, towards = y.repeat(m, 1), (y_other - y).repeat(m, 1)
        if place.space == STATE:
            start = start + _along(towards, v)
            answers = sampler(energy, A.repeat(m, 1, 1), start, first=twins.first)
        else:
            prepared, shift = energy.prepare(A_other.repeat(m, 1, 1)), towards if twins.moved else None

            def edit(h, y, k, v=v, prepared=prepared, shift=shift):
                there = y if shift is None else y + shift
                return h + _along(energy.activations(prepared, there, k)[place.space] - h, v)

            # States that differ are near one another in their own landscape only.
            everywhere = place.landscape == EVERYWHERE and not twins.moved
            edited = Edited(energy, place.space, edit, None if everywhere else twins.first)
            answers = sampler(edited, A.repeat(m, 1, 1), start, first=twins.first)
        parts.append(answers.unflatten(0, (m, count)))
    return torch.cat(parts)


def _along(x: Tensor, v: Tensor | None) -> Tensor:
    """The part of rows x (B, width) along unit vectors v (B, width); all of it for None."""
    return x if v is None else (x * v).sum(-1, keepdim=True) * v
