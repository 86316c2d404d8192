"""Layer ablation (resample ablation: Chan et al. 2022, causal scrubbing): a layer replaced by something else.

The network is a chain: what lies past a layer sees the problem and the state through it alone. So a
layer replaced as a whole, whatever by, hides everything, and no such ablation can tell layers apart:
the kinds of WHOLE are floors that all layers share. What can rank layers takes away a part:

mean, resample, noise   all of a layer becomes its mean over tokens of the landscape, the activations
                        of another problem at a noised answer of its own (resample), or a draw from a
                        Gaussian of the tokens' mean and covariance; one donor or draw for each problem
                        and landscape, so that what is left is an energy still
…_half                  the same for a random half of the units
problem_mean            the mean over other problems at the own state: only what concerns A goes
identity                h_l := h_{l−1}; undefined where widths differ (fc1, and fc4, which is f)
linear                  the affine map of the layer's input that fits its output best on other
                        problems, in each landscape; f is one itself, so nothing may change there
linear_stack            the same from [a, y]: all layers up to this one become one affine map
film_off                no modulation by the landscape (fc2 and fc3)
rank_weights            the weight matrix at a share of its full rank
rank_components         activations projected on their first principal components around the mean
rounding                activations disturbed by float32's rounding: an ablation that is none

Tokens of a landscape: a noised answer, and the states at which the sampler enters it and to which it
denoises there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ired.instruments.core import states
from ired.instruments.core.patching import Spliced
from ired.instruments.core.sampler import Sampler
from ired.instruments.statistics.regression import Affine, least_squares
from ired.model.protocol import Energy

LAYERS = ("fc1", "fc2", "fc3", "fc4")
INPUT = "input"  # [a, y]: A's upper triangle and the state's basis coordinates
BEFORE = dict(zip(LAYERS, (INPUT, *LAYERS), strict=False))
WHOLE = ("mean", "resample", "noise")
HALF = tuple(f"{kind}_half" for kind in WHOLE)
MODULATED = ("fc2", "fc3")
KINDS = (
    *WHOLE,
    *HALF,
    "problem_mean",
    "identity",
    "linear",
    "linear_stack",
    "film_off",
    "rank_weights",
    "rank_components",
    "rounding",
)
ROUNDING = 1e-7
ROWS_PER_CALL = 8192  # rows of activations that are made at once
# replace(h, y, k): what takes the place of activations h (P[, M], width) at states y, k an int.
Replace = Callable[[Tensor, Tensor, int], Tensor]


class Ablated(Spliced):
    """A spliced energy whose replacement may look at the state and at the landscape."""

    def replaced(self, h: Tensor, y: Tensor, k: int | Tensor) -> Tensor:
        return self.replace(h, y, k)


@dataclass(frozen=True)
class _Both:
    inside: Any
    outside: Any


class InLandscape:
    """One energy in a landscape, another in the rest; no Hessians, no layers, landscapes as ints."""

    def __init__(self, outside: Energy, inside: Energy, landscape: int):
        self.outside, self.inside, self.landscape = outside, inside, landscape
        self.coordinates, self.schedule = outside.coordinates, outside.schedule

    def prepare(self, A: Any) -> _Both:
        if isinstance(A, _Both):
            return A
        return _Both(self.inside.prepare(A), self.outside.prepare(A))

    def _at(self, A: Any, k: int) -> tuple[Energy, Any]:
        both = self.prepare(A)
        if k == self.landscape:
            return self.inside, both.inside
        return self.outside, both.outside

    def energy(self, A: Any, y: Tensor, k: int) -> Tensor:
        energy, prepared = self._at(A, k)
        return energy.energy(prepared, y, k)

    def gradient(self, A: Any, y: Tensor, k: int) -> Tensor:
        return self.energy_and_gradient(A, y, k)[1]

    def energy_and_gradient(self, A: Any, y: Tensor, k: int) -> tuple[Tensor, Tensor]:
        energy, prepared = self._at(A, k)
        return energy.energy_and_gradient(prepared, y, k)


@dataclass(frozen=True)
class SamplePath:
    """A sample's states entering each landscape and denoised there (K, P, d), and its end (P, d), as the
    sampler gives it."""

    entering: Tensor
    denoised: Tensor
    end: Tensor


@torch.no_grad()
def path(energy: Energy, A: Tensor, sampler: Sampler, start: Tensor) -> SamplePath:
    """Samples answers to problems A (P, n, n) from start (P, d), which enters the last landscape."""
    root, entering, denoised = energy.schedule.sqrt_alpha_bar.tolist(), {}, {}
    last = [None]

    def see(step: Any) -> None:
        k = step.landscape
        if step.stage == "start":
            entering[k] = step.y
        elif step.stage == "denoise":
            if k not in entering:
                entering[k] = last[0] / root[k + 1] * root[k]
            denoised[k] = step.y
        last[0] = step.y

    end = sampler(energy, A, start, callback=see)
    ordered = [torch.stack([by_landscape[k] for k in range(len(root))]) for by_landscape in (entering, denoised)]
    return SamplePath(*ordered, end)


@torch.no_grad()
def tokens(energy: Energy, A: Tensor, sampler: Sampler, generator: torch.Generator) -> Tensor:
    """Three states (K, P, 3, d) of each problem A (P, n, n) in every landscape: noised, entering, denoised."""
    y0 = states.answers(energy, A)
    noised = states.at_noise(energy, y0, range(energy.schedule.K), generator)
    sampled = path(energy, A, sampler, states.noise(energy, len(A), generator=generator, like=A))
    return torch.stack([noised, sampled.entering, sampled.denoised], 2)


def network_inputs(energy: Energy, A: Tensor, y: Tensor) -> Tensor:
    """[a, y]: the upper triangle of problems A (P, n, n) and the basis coordinates of y (P[, M], d)."""
    a = A[:, *torch.triu_indices(*A.shape[-2:], device=A.device)]
    if y.dim() == 3:
        a = a[:, None].expand(-1, y.shape[1], -1)
    return torch.cat([a, energy.coordinates.to_basis(y)], -1)


@dataclass(frozen=True)
class Habit:
    """What one layer does on other problems in one landscape.

    mean (width,); axes (width, width): principal components in columns, the strongest first; spread
    (width,): standard deviations along them; donor (N, width): activations at noised answers; linear,
    linear_stack: the affine maps from the layer's input, and from [a, y].
    """

    mean: Tensor
    axes: Tensor
    spread: Tensor
    donor: Tensor
    linear: Affine
    linear_stack: Affine


Habits = dict[str, list[Habit]]  # by layer, then by landscape


@torch.no_grad()
def habits(energy: Energy, A: Tensor, states: Tensor) -> Habits:
    """Of all layers at the states (K, N, S, d) of N problems, the first of each a noised answer: `tokens`.
    Raises ValueError for fewer tokens than a fit has coefficients."""
    prepared, by_layer = energy.prepare(A), {layer: [] for layer in LAYERS}
    for k, y in enumerate(states):
        activations = energy.activations(prepared, y, k) | {INPUT: network_inputs(energy, A, y)}
        flat = {name: h.flatten(0, 1) for name, h in activations.items()}
        widest = max(flat[BEFORE[layer]].shape[1] for layer in LAYERS)
        if len(flat[INPUT]) <= widest + 1:
            raise ValueError(f"{len(flat[INPUT])} tokens do not fix {widest + 1} coefficients")
        for layer in LAYERS:
            h, stack = flat[layer], least_squares(flat[INPUT], flat[layer])
            values, axes = torch.linalg.eigh(torch.cov(h.mT).reshape(h.shape[1], -1))
            by_layer[layer].append(
                Habit(
                    mean=h.mean(0),
                    axes=axes.flip(1),
                    spread=values.flip(0).clamp_min(0).sqrt(),
                    donor=activations[layer][:, 0].clone(),  # not all the other tokens with it
                    linear=stack if BEFORE[layer] == INPUT else least_squares(flat[BEFORE[layer]], h),
                    linear_stack=stack,
                )
            )
    return by_layer


@torch.no_grad()
def unexplained(
    energy: Energy, A: Tensor, states: Tensor, habits: Habits
) -> Iterator[tuple[str, str, int, Tensor, Tensor]]:
    """(layer, "linear" or "linear_stack", k, residual (P, S), total (P, S)): squared errors of the
    affine fits, and of the mean, at states (K, P, S, d) of problems A that were not fitted on."""
    prepared = energy.prepare(A)
    for k, y in enumerate(states):
        activations = energy.activations(prepared, y, k) | {INPUT: network_inputs(energy, A, y)}
        for layer in LAYERS:
            habit, h = habits[layer][k], activations[layer]
            total = (h - habit.mean).pow(2).sum(-1)
            fits = ("linear", BEFORE[layer], habit.linear), ("linear_stack", INPUT, habit.linear_stack)
            for kind, source, fit in fits:
                if kind == "linear" or layer != "fc1":
                    yield layer, kind, k, (fit(activations[source]) - h).pow(2).sum(-1), total


@dataclass(frozen=True)
class Ablation:
    """One way to ablate one layer: `energy` is what is left, in all landscapes.

    share: the part of the full rank that is kept (1 for kinds without a rank); draw: which of several
    random choices.
    """

    kind: str
    layer: str
    energy: Energy
    share: float = 1.0
    draw: int = 0

    def only_in(self, whole: Energy, landscape: int) -> InLandscape:
        """The same in one landscape alone."""
        return InLandscape(whole, self.energy, landscape)

    @property
    def labels(self) -> dict[str, Any]:
        """What a table calls it: kind, layer, share, draw."""
        return {"kind": self.kind, "layer": self.layer, "share": self.share, "draw": self.draw}


def plan(
    energy: Energy,
    A: Tensor,
    habits: Habits,
    others: Tensor,
    shares: Sequence[float],
    draws: int,
    unmodulated: Callable[[str], Energy],
    truncated: Callable[[str, float], Energy],
    generator: torch.Generator,
) -> list[Ablation]:
    """All ablations of a network, for problems A (P, n, n): row i of every later call is problem i.

    habits: from `habits`, of at least P problems; others (m, n, n): problems that "problem_mean" averages
    over; draws: random halves, the second the complement of the first, and so on; unmodulated(layer)
    and truncated(layer, share of full rank): networks with altered weights.
    """
    made = []
    # A donor is another problem at a state of its own, the same for all layers and halves.
    chosen = torch.randperm(len(habits["fc1"][0].donor), generator=generator)[: len(A)]
    for layer in LAYERS:
        by_landscape = habits[layer]
        width = len(by_landscape[0].mean)

        def add(kind: str, replace: Replace, layer: str = layer, **labels: Any) -> None:
            made.append(Ablation(kind, layer, Ablated(energy, layer, replace), **labels))

        def normal(landscapes: int = len(by_landscape), width: int = width) -> Tensor:
            shape = landscapes, len(A), width
            return torch.randn(shape, generator=generator, dtype=torch.float64).to(A)

        donors = [habit.donor[chosen.to(A.device)] for habit in by_landscape]
        gaussian = [h.mean + (z * h.spread) @ h.axes.mT for h, z in zip(by_landscape, normal(), strict=True)]
        floors = dict(zip(WHOLE, ([h.mean.expand(len(A), -1) for h in by_landscape], donors, gaussian), strict=False))
        for kind, values in floors.items():
            add(kind, instead(values))
        for draw in range(draws):
            if draw % 2 == 0:
                order = torch.randperm(width, generator=generator).to(A.device)
            half = torch.zeros(width, dtype=torch.bool, device=A.device)
            half[order[: width // 2] if draw % 2 == 0 else order[width // 2 :]] = True
            for kind, values in floors.items():
                add(f"{kind}_half", instead(values, half), draw=draw)
        add("problem_mean", _over_problems(energy, layer, others))
        if layer in MODULATED:
            add("identity", _from_input(energy, A, BEFORE[layer], lambda k: lambda x: x))
            made.append(Ablation("film_off", layer, unmodulated(layer)))
        add("linear", _from_input(energy, A, BEFORE[layer], lambda k, of=by_landscape: of[k].linear))
        if layer != "fc1":
            add("linear_stack", _from_input(energy, A, INPUT, lambda k, of=by_landscape: of[k].linear_stack))
        for share in shares:
            made.append(Ablation("rank_weights", layer, truncated(layer, share), share=share))
            add("rank_components", _projected(by_landscape, max(1, round(share * width))), share=share)
        add("rounding", _disturbed(normal()))
    return made


def instead(values: Sequence[Tensor], units: Tensor | None = None) -> Replace:
    """Values (P, width) of each landscape, at some units (width,) or at all."""

    def replace(h: Tensor, y: Tensor, k: int) -> Tensor:
        new = (values[k] if h.dim() == 2 else values[k][:, None]).expand_as(h)
        return new if units is None else torch.where(units, new, h)

    return replace


def _over_problems(energy: Energy, layer: str, others: Tensor) -> Replace:
    """The mean of a layer over other problems (m, n, n) at the same states."""
    prepared = energy.prepare(others)

    def replace(h: Tensor, y: Tensor, k: int) -> Tensor:
        rows = y.reshape(-1, y.shape[-1]).split(max(1, ROWS_PER_CALL // len(others)))
        means = [energy.activations(prepared, part.expand(len(others), -1, -1), k)[layer].mean(0) for part in rows]
        return torch.cat(means).reshape(h.shape)

    return replace


def _from_input(energy: Energy, A: Tensor, source: str, to: Callable[[int], Callable[[Tensor], Tensor]]) -> Replace:
    """A function, by landscape, of what an earlier layer (or [a, y]) holds."""
    prepared = energy.prepare(A)

    def replace(h: Tensor, y: Tensor, k: int) -> Tensor:
        if source == INPUT:
            return to(k)(network_inputs(energy, A, y))
        return to(k)(energy.activations(prepared, y, k)[source])

    return replace


def _projected(habits: Sequence[Habit], rank: int) -> Replace:
    def replace(h: Tensor, y: Tensor, k: int) -> Tensor:
        mean, axes = habits[k].mean, habits[k].axes[:, :rank]
        return mean + (h - mean) @ axes @ axes.mT

    return replace


def _disturbed(noise: Tensor) -> Replace:
    def replace(h: Tensor, y: Tensor, k: int) -> Tensor:
        return h * (1 + ROUNDING * (noise[k] if h.dim() == 2 else noise[k][:, None]))

    return replace
