"""Integrated gradients (Sundararajan, Taly & Yan, ICML 2017), by captum: which entries of the problem and of the state
a number of the network comes from.

From several baselines, because the choice matters; expected gradients (Erion et al. 2021) are their mean over random
problems. A problem and its state move together along a path, from (A′, y′) to (A, y), so that the attributions of
both add up to one difference. The energy carries a free offset that depends on A alone, hence what is explained is a
gap to the answer's energy, or the score, never the energy itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from ired.instruments.core import states
from ired.instruments.core.energy_gap import above_first
from ired.model.protocol import Energy

Pair = tuple[Tensor, Tensor]  # of a problem A and its state y, or of what belongs to both
Answer = Callable[..., Tensor]  # (A (B, n, n), start=(B, d)), a problem and a start, to answers (B, d)
Case = tuple[str, str, int]  # target, baseline, landscape

WITHIN, SHARE = 0.01, 0.95  # completeness errors below WITHIN, in a SHARE of all cases
FLOOR = 0.01  # the least denominator of such an error, in medians of the difference explained
ROWS = 1024  # rows that go through a network at once


# What is explained


@dataclass(frozen=True)
class Target:
    """A number of each problem, value(A (B, n, n), y (B, d), *given) -> (B,), differentiable by both.

    given: tensors (B, …) of each problem that stay as they are along every path.
    """

    name: str
    value: Callable[..., Tensor]
    given: tuple[Tensor, ...] = ()

    def __call__(self, A: Tensor, y: Tensor) -> Tensor:
        return self.value(A, y, *self.given)

    def repeated(self, times: int, together: bool = False) -> Target:
        """For all problems `times` over, or `together`: for each problem `times` in a row."""
        given = tuple(g.repeat_interleave(times, 0) if together else g.repeat(times, 1) for g in self.given)
        return Target(self.name, self.value, given)


def gap(energy: Energy, k: int, y0: Tensor) -> Target:
    """E_k(A, y) − E_k(A, y*), y* = √ᾱ_k y₀ the answer (P, d) of the problem that is explained.

    y* stays the same along a path: on the way from zero A is singular and has no answer, and a gap to a moving answer
    would credit A with what inversion does, which the network is not asked for.
    """

    def value(A: Tensor, y: Tensor, answer: Tensor) -> Tensor:
        return above_first(energy.energy(A, torch.stack((answer, y), 1), k))[:, 1]

    return Target("gap", value, (states.centre(energy, y0, k),))


def score_entry(energy: Energy, k: int, entry: tuple[int, int]) -> Target:
    """One entry of ∇_y E_k(A, y), as an n×n matrix."""
    place = entry[0] * energy.coordinates.n + entry[1]
    kind = "diagonal" if entry[0] == entry[1] else "off-diagonal"
    return Target(f"{kind} score", lambda A, y: energy.gradient(A, y, k)[:, place])


def sampled_error(answer: Answer, y0: Tensor) -> Target:
    """The mean squared error per entry of the sampled answer to y₀ (P, d), which is held fixed, as a function of the
    problem and of the state that sampling starts from."""
    return Target("sampled error", lambda A, y, y0: (answer(A, start=y) - y0).pow(2).mean(-1), (y0,))


# Where paths begin


@dataclass(frozen=True)
class Baseline:
    """R beginnings for each of P problems: A (R, P, n, n), y (R, P, d)."""

    name: str
    A: Tensor
    y: Tensor


def baselines(
    energy: Energy, k: int, A: Tensor, mean: float, background: Tensor, generator: torch.Generator
) -> dict[str, Baseline]:
    """The beginnings of paths to problems A (P, n, n) in landscape k, by name.

    zero: A′ = 0, y′ = 0, in the coordinates of the landscapes (where they are standardised, y = 0 is a multiple of
    I). identity: A′ = I and its answer there, √ᾱ_k·encode(I). mean: A′ = mean·I, what training problems are on
    average, and √ᾱ_k times the mean answer of the background. random: the background's problems (R, P, n, n) with
    noised answers, as in training; the mean over them is expected gradients. All but zero are positive definite, and
    so are all problems on their paths.
    """
    eye = torch.eye(A.shape[-1]).to(A)
    zero = A.new_zeros(len(A), energy.coordinates.d)
    answers = states.answers(energy, background.flatten(0, 1))
    noised = states.noised(energy, answers, k, count=1, generator=generator)[0][:, 0]

    def same(name: str, problem: Tensor, state: Tensor) -> Baseline:
        return Baseline(name, problem.expand_as(A)[None], state.expand_as(zero)[None])

    begins = (
        same("zero", 0 * eye, zero),
        same("identity", eye, states.centre(energy, energy.coordinates.encode(eye), k)),
        same("mean", mean * eye, states.centre(energy, answers.mean(0), k)),
        Baseline("random", background, noised.unflatten(0, background.shape[:2])),
    )
    return {begin.name: begin for begin in begins}


@dataclass(frozen=True)
class AttributionScene:
    """P problems A (P, n, n) with answers y₀ (P, d) at states y (P, d) of landscape k, and where the paths to them
    begin."""

    k: int
    A: Tensor
    y0: Tensor
    y: Tensor
    begins: dict[str, Baseline]

    def first(self, count: int) -> AttributionScene:
        """Of the first `count` problems."""
        begins = {name: Baseline(name, begin.A[:, :count], begin.y[:, :count]) for name, begin in self.begins.items()}
        return replace(self, A=self.A[:count], y0=self.y0[:count], y=self.y[:count], begins=begins)

    def definite(self) -> AttributionScene:
        """Without the baseline on whose paths problems are singular."""
        begins = {name: begin for name, begin in self.begins.items() if name != "zero"}
        return replace(self, begins=begins)


def attribution_scene(
    energy: Energy, k: int, A: Tensor, mean: float, background: Tensor, generator: torch.Generator
) -> AttributionScene:
    """Problems at noised answers, as in training, with all `baselines`."""
    y0 = states.answers(energy, A)
    y = states.noised(energy, y0, k, count=1, generator=generator)[0][:, 0]
    begins = baselines(energy, k, A, mean=mean, background=background, generator=generator)
    return AttributionScene(k=k, A=A, y0=y0, y=y, begins=begins)


# Integrals along paths


@dataclass(frozen=True)
class PathIntegrals:
    """Integrated gradients of P problems from R baselines each.

    gradients: by every part of the input ((A, y), or (activations,)) the gradient's mean along the path, (R, P, …);
    steps: what x − x′ was, of the same shapes; change (R, P): F(x) − F(x′); count: places on the path where the
    gradient was taken.
    """

    gradients: tuple[Tensor, ...]
    steps: tuple[Tensor, ...]
    change: Tensor
    count: int

    def attributions(self) -> tuple[Tensor, ...]:
        """(x − x′) ∘ gradient of every part, the mean over baselines, (P, …)."""
        return tuple((g * s).mean(0) for g, s in zip(self.gradients, self.steps, strict=True))

    def error(self) -> Tensor:
        """|Σ attributions − change| / |change|, (R, P); the denominator is at least FLOOR times the median |change|,
        for where nothing changes nothing can be a share of it."""
        total = sum((g * s).flatten(2).sum(2) for g, s in zip(self.gradients, self.steps, strict=True))
        size = self.change.abs()
        floor = max(FLOOR * size.median().item(), torch.finfo(size.dtype).tiny)
        return (total - self.change).abs() / size.clamp_min(floor)

    def complete(self) -> bool:
        return (self.error() < WITHIN).double().mean().item() >= SHARE


def until_complete(integral: Callable[..., PathIntegrals], first: int = 8, most: int = 128) -> PathIntegrals:
    """integral(count=…) with the count doubled from `first` until it is complete, up to `most`."""
    count = first
    while not (paths := integral(count=count)).complete() and 2 * count <= most:
        count *= 2
    return paths


def integrate(target: Target, A: Tensor, y: Tensor, baseline: Baseline, count: int, rows: int = ROWS) -> PathIntegrals:
    """Integrated gradients by Gauss–Legendre quadrature with `count` places, all problems of A at once.

    captum's weights are float32: sums are right to about 1e-7 of their terms.
    """
    from captum.attr import IntegratedGradients

    times, number = baseline.A.shape[:2]
    begin = baseline.A.flatten(0, 1), baseline.y.flatten(0, 1)
    end = A.repeat(times, 1, 1), y.repeat(times, 1)
    target = target.repeated(times)
    gradients = IntegratedGradients(target.value, multiply_by_inputs=False).attribute(
        end,
        begin,
        additional_forward_args=target.given or None,
        n_steps=count,
        method="gausslegendre",
        internal_batch_size=max(rows, times * number),
    )
    with torch.no_grad():
        change = target(*end) - target(*begin)
    parts = (v.detach().unflatten(0, (times, number)) for v in (*gradients, change))
    *gradients, change = parts
    steps = tuple((x - x_).unflatten(0, (times, number)) for x, x_ in zip(end, begin, strict=True))
    return PathIntegrals(tuple(gradients), steps, change, count)


def targets_explained(
    targets: Sequence[Target], at: AttributionScene, most: int = 128, rows: int = ROWS
) -> dict[Case, PathIntegrals]:
    """Every target from every baseline, each with as many places as completeness asks for."""
    return {
        (target.name, name, at.k): until_complete(
            partial(integrate, target, at.A, at.y, baseline=begin, rows=rows), most=most
        )
        for target in targets
        for name, begin in at.begins.items()
    }


def all_explained(
    energies: Mapping[str, Energy],
    scenes: Sequence[AttributionScene],
    entries: Sequence[tuple[int, int]],
    gaps: Sequence[str] = ("trained",),
) -> dict[str, dict[Case, PathIntegrals]]:
    """By energy: the chosen entries of its score; and of those that `gaps` names the gap. Only their paths begin at
    zero too: the ideal energy has to invert what is on them."""
    cases: dict[str, dict[Case, PathIntegrals]] = {name: {} for name in energies}
    for at in scenes:
        for name, energy in energies.items():
            targets = [score_entry(energy, at.k, entry) for entry in entries]
            if name in gaps:
                cases[name] |= targets_explained([gap(energy, at.k, at.y0), *targets], at)
            else:
                cases[name] |= targets_explained(targets, at.definite())
    return cases


# Integrals by the activations of a layer


class Tapped(nn.Module):
    """The gap E_k(A, y) − E_k(A, y*) with the activations of one layer passing through `tap`, where captum can take
    hold of them."""

    def __init__(self, energy: Energy, layer: str, k: int):
        super().__init__()
        self.tap = nn.Identity()
        self._given = energy, layer, k  # in a tuple: the energy is no part of this module

    def forward(self, A: Tensor, y: Tensor, answer: Tensor) -> Tensor:
        energy, layer, k = self._given
        prepared = energy.prepare(A)
        h = self.tap(energy.activations(prepared, y, k)[layer])
        return energy.resume(layer, h, prepared, k) - energy.energy(prepared, answer, k)


def integrate_layer(
    energy: Energy, layer: str, k: int, A: Tensor, y: Tensor, y0: Tensor, count: int, rows: int = ROWS
) -> PathIntegrals:
    """Layer integrated gradients of the gap, one part: the layer's activations (1, P, width).

    The path leads from the activations at the answer y* to those at the state y (P, d), of the same problem in the
    same landscape: what it explains is the gap itself and no offset between problems.
    """
    from captum.attr import LayerIntegratedGradients

    tapped, answer = Tapped(energy, layer, k), states.centre(energy, y0, k)
    gradient = LayerIntegratedGradients(tapped, tapped.tap, multiply_by_inputs=False).attribute(
        (A, y),
        (A, answer),
        additional_forward_args=(answer,),
        n_steps=count,
        method="gausslegendre",
        internal_batch_size=max(rows, len(A)),
    )
    with torch.no_grad():
        here, there = (energy.activations(A, state, k)[layer] for state in (y, answer))
        change = tapped(A, y, answer)
    return PathIntegrals((gradient.detach()[None],), ((here - there)[None],), change[None], count)


def layers_explained(energy: Energy, layers: Sequence[str], at: AttributionScene) -> dict[Case, PathIntegrals]:
    """The gap by the activations of every layer, baseline "answer"."""
    return {
        (f"gap by {layer}", "answer", at.k): until_complete(
            partial(integrate_layer, energy, layer, k=at.k, A=at.A, y=at.y, y0=at.y0)
        )
        for layer in layers
    }


# The direction that gradients share


def leading_direction(gradients: Tensor) -> tuple[Tensor, float]:
    """The unit vector (m,) that most of gradients (P, m) lie along, not centred, and the share of their squared norm
    that it explains; most gradients grow along it and not against it."""
    _, sizes, vectors = torch.linalg.svd(gradients, full_matrices=False)
    direction = vectors[0] * (1.0 if (gradients @ vectors[0]).sum() >= 0 else -1.0)
    return direction, (sizes[0].square() / sizes.square().sum()).item()


def chance_share(gradients: Tensor, generator: torch.Generator, draws: int = 20) -> float:
    """The mean share that `leading_direction` explains of gradients (P, m) with every row's entries shuffled."""
    orders = torch.rand(draws, *gradients.shape, generator=generator, dtype=torch.float64).argsort(-1)
    return float(np.mean([leading_direction(gradients.gather(1, order.to(gradients.device)))[1] for order in orders]))
