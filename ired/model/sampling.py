"""Annealed inference: a guess walks down ten landscapes to the answer (Du et al. 2024, alg. 2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ired.model.protocol import Energy
from ired.model.schedule import Schedule


class NoSuchLandscape(ValueError):
    """A sample is to stop at a landscape that its path does not pass; the message says which ones there are."""

    exit_status = 2  # the user's to mend


@dataclass(frozen=True)
class SamplingConfig:
    """How a sample descends. The defaults do what is right; `published` what the release does.

    clip bounds every entry of a state at ±clip·√ᾱ_k (the release: 2). later_step_factor is 2 in the
    release, where the clamp's scale overwrites the step's after the first inner step. scaled_output
    returns √ᾱ_0 times the estimate, as the release does. stop_at is the last landscape to be passed,
    descents included (None: all, as 0 does); the answer is then the clean estimate y/√ᾱ_k with which the
    path leaves it, and √ᾱ_0 times that for `scaled_output`: stopping changes the path and not the scale.
    """

    inner_steps: int = 5
    clip: float = 2.0
    later_step_factor: float = 1.0
    scaled_output: bool = False
    stop_at: int | None = None

    @classmethod
    def published(cls, inner_steps: int = 5) -> SamplingConfig:
        return cls(inner_steps, clip=2.0, later_step_factor=2.0, scaled_output=True)

    def unscaled(self, y: Tensor, schedule: Schedule) -> Tensor:
        """What `sample` returned, (B, d), without the release's factor √ᾱ_0: an answer at noise zero."""
        return y / schedule.sqrt_alpha_bar[0].item() if self.scaled_output else y

    def last_landscape(self, first: int) -> int:
        """The landscape after which a path from landscape `first` on ends; NoSuchLandscape where there is none."""
        last = 0 if self.stop_at is None else self.stop_at
        if not 0 <= last <= first:
            raise NoSuchLandscape(f"a sample cannot stop at landscape {last}: its path has landscapes {first} to 0")
        return last


@dataclass(frozen=True)
class Step:
    """What a callback sees: the state after one step of a sample.

    stage is "start", "denoise", "descend" or "end"; landscape is k; inner counts the descent
    steps (1 …). y (B, d) is the state; energy (B,) and accepted (B,) exist where they were computed.
    """

    stage: str
    landscape: int
    inner: int
    y: Tensor
    energy: Tensor | None = None
    accepted: Tensor | None = None


def monotone_descent(
    look: Callable[[Tensor, bool], tuple[Tensor, Tensor | None]],
    y: Tensor,
    step_size: Tensor,
    bound: Tensor,
    steps: int,
    later_step_factor: float = 1.0,
    on_step: Callable[[int, Tensor, Tensor, Tensor], None] | None = None,
) -> Tensor:
    """Gradient steps y − η∇E, clamped to ±bound, each kept per sample only if E does not rise.

    y (B, m); step_size and bound broadcast against it. look(state, further) gives the energy (B,)
    and, where `further`, the gradient (B, m). An accepted step's serve the next one, so each step
    costs one look, the last without a gradient.
    """
    if steps == 0:
        return y
    energy, gradient = look(y, True)
    assert gradient is not None
    for i in range(steps):
        size, further = step_size if i == 0 else step_size * later_step_factor, i + 1 < steps
        proposal = torch.addcmul(y, size, gradient, value=-1).clamp_(-bound, bound)
        new_energy, new_gradient = look(proposal, further)
        # The release rejects only what is strictly worse; a NaN is kept there and is refused here.
        accepted = new_energy <= energy
        y = torch.where(accepted[:, None], proposal, y)
        energy = torch.where(accepted, new_energy, energy)
        if further:
            assert new_gradient is not None
            gradient = torch.where(accepted[:, None], new_gradient, gradient)
        if on_step is not None:
            on_step(i + 1, y, energy, accepted)
    return y


def denoise(schedule: Schedule, y: Tensor, score: Tensor, k: int, clip: float) -> Tensor:
    """The clean estimate (y − σ_k·score)/√ᾱ_k, entries clamped to ±clip."""
    clean = (y - schedule.at("sigma", k, y) * score) / schedule.at("sqrt_alpha_bar", k, y)
    return clean.clamp(-clip, clip)


def sample(
    energy: Energy,
    A: Any,
    config: SamplingConfig,
    generator: torch.Generator | None = None,
    start: Tensor | None = None,
    callback: Callable[[Step], None] | None = None,
    first: int | None = None,
    differentiable: bool = False,
) -> Tensor:
    """Estimates (B, d) of the answers, in diffusion coordinates (`coordinates.decode` gives Y).

    A (B, n, n); start (B, d) defaults to standard normal noise from `generator`. For k = K−1 … 0, or
    from `first`, where `start` is then a state: denoise, rescale to √ᾱ_k, `inner_steps`
    accepted-if-lower descent steps, rescale to k − 1; `config.stop_at` may end that sooner. The callback
    sees every step and cannot change the path. `differentiable` keeps autograd's graph of all steps, which
    steps are accepted held fixed. Raises NoSuchLandscape where the path does not pass `stop_at`.
    """
    with torch.set_grad_enabled(differentiable):
        return _sample(energy, A, config, generator, start, callback, first)


def _sample(
    energy: Energy,
    A: Any,
    config: SamplingConfig,
    generator: torch.Generator | None,
    start: Tensor | None,
    callback: Callable[[Step], None] | None,
    first: int | None,
) -> Tensor:
    schedule, coordinates = energy.schedule, energy.coordinates
    first = schedule.K - 1 if first is None else first
    last = config.last_landscape(first)
    if start is None:
        start = coordinates.noise(len(A), generator=generator, dtype=A.dtype, device=A.device)
    prepared = energy.prepare(A)
    see = callback or (lambda step: None)
    y = start
    see(Step("start", first, 0, y))
    for k in range(first, last - 1, -1):
        root = schedule.at("sqrt_alpha_bar", k, y)
        score = energy.gradient(prepared, y, k)
        y = denoise(schedule, y, score, k, config.clip) * root
        see(Step("denoise", k, 0, y))

        def look(state: Tensor, further: bool, k: int = k) -> tuple[Tensor, Tensor | None]:
            if further:
                return energy.energy_and_gradient(prepared, state, k)
            return energy.energy(prepared, state, k), None

        def told(inner: int, state: Tensor, value: Tensor, accepted: Tensor, k: int = k) -> None:
            see(Step(stage="descend", landscape=k, inner=inner, y=state, energy=value, accepted=accepted))

        y = monotone_descent(
            look,
            y,
            schedule.at("step_size", k, y),
            config.clip * root,
            config.inner_steps,
            config.later_step_factor,
            told,
        )
        if k > last:
            y = y / root * schedule.at("sqrt_alpha_bar", k - 1, y)
    if not config.scaled_output:
        y = y / root
    elif last > 0:
        y = y / root * schedule.at("sqrt_alpha_bar", 0, y)
    see(Step("end", last, 0, y))
    return y


@dataclass(frozen=True)
class AnnealedSampler(SamplingConfig):
    """`sample` with its settings fixed: what instruments are handed in order to sample from any energy."""

    def __call__(
        self,
        energy: Energy,
        A: Any,
        start: Tensor,
        inner_steps: int | None = None,
        first: int | None = None,
        callback: Callable[[Step], None] | None = None,
        differentiable: bool = False,
    ) -> Tensor:
        """What `sample` gives, (B, d), in `inner_steps` of descent a landscape where they are given."""
        config = self if inner_steps is None else replace(self, inner_steps=inner_steps)
        return sample(energy, A, config, start=start, first=first, callback=callback, differentiable=differentiable)

    def answers(self, energy: Energy, A: Any, start: Tensor, **how: Any) -> Tensor:
        """The same as answers (B, d) at noise zero: without the release's factor √ᾱ_0."""
        return self.unscaled(self(energy, A, start, **how), energy.schedule)


def solve(energy: Energy, A: Tensor, config: SamplingConfig, generator: torch.Generator) -> Tensor:
    """Sampled inverses (B, n, n) of A (B, n, n): float32 on the generator's device, float64 out."""
    y = sample(energy, A.to(generator.device, torch.float32), config, generator)
    return energy.coordinates.decode(y).double().to(A.device)
