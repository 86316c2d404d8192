"""Outcomes that training has influence on, one number a problem: how right is a score, an energy, a sample?

An energy carries a free offset for each problem and landscape, so that its value at an answer says
nothing: what counts is the gap to a wrong answer. All outcomes are means over fixed draws, the same
for every energy that is compared, and can be differentiated by an energy's weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ired.instruments.core import states as points
from ired.instruments.core.energy_gap import above
from ired.instruments.core.sampler import Sampler
from ired.model.protocol import Energy

OUTCOMES = ("score_error", "energy_gap", "sampled_error")
UNITS = {
    "score_error": "mean squared error of ∇E to ε",
    "energy_gap": "σ·(E(wrong) − E(right)), of the ideal landscape's",
    "sampled_error": "mean squared error of the sample, standardised",
}


@dataclass(frozen=True)
class Draws:
    """P problems with all that is drawn for them, once.

    A (P, n, n); y0 (P, d) answers; wrong (P, d) those of another problem; noise (K, P, R, d) of R
    states in each landscape; start (P, S, d) where samples begin.
    """

    A: Tensor
    y0: Tensor
    wrong: Tensor
    noise: Tensor
    start: Tensor

    @classmethod
    def of(cls, energy: Energy, A: Tensor, states: int, starts: int, generator: torch.Generator) -> Draws:
        """Draw for problems A. A wrong answer is the next problem's right one."""
        y0 = points.answers(energy, A)
        shape = energy.schedule.K, len(A), states
        noise = points.noise(energy, *shape, generator=generator, like=A)
        start = points.noise(energy, len(A), starts, generator=generator, like=A)
        return cls(A=A, y0=y0, wrong=y0.roll(1, 0), noise=noise, start=start)

    def __getitem__(self, rows: slice) -> Draws:
        return Draws(
            A=self.A[rows], y0=self.y0[rows], wrong=self.wrong[rows], noise=self.noise[:, rows], start=self.start[rows]
        )

    def to(self, like: Tensor) -> Draws:
        return Draws(*(getattr(self, name).to(like) for name in self.__dataclass_fields__))

    def repeated(self, members: int) -> Draws:
        """The same for each of `members` networks that answer as one energy: rows member by member."""

        def again(t: Tensor, dim: int = 0) -> Tensor:
            return torch.cat([t] * members, dim)

        A, y0, wrong, start = (again(t) for t in (self.A, self.y0, self.wrong, self.start))
        return Draws(A=A, y0=y0, wrong=wrong, noise=again(self.noise, 1), start=start)


def score_errors(energy: Energy, at: Draws) -> Tensor:
    """Mean squared error of ∇_y E to the noise, per dimension that states move in: (P,).

    Averaged over the landscapes, equally often, as in training.
    """
    P, R = at.noise.shape[1:3]
    A, total = at.A.repeat_interleave(R, 0), 0.0
    for k, noise in enumerate(at.noise):
        y = points.centre(energy, at.y0, k)[:, None] + points.sigma(energy, k) * noise
        error = energy.gradient(A, y.flatten(0, 1), k) - noise.flatten(0, 1)
        total = total + error.square().sum(-1).view(P, R).mean(1)
    return total / (len(at.noise) * energy.coordinates.size)


def relative_energy_gaps(energy: Energy, at: Draws) -> Tensor:
    """Mean of E(wrong) − E(right) over landscapes, in parts of the ideal landscape's gap: (P,).

    Right and wrong share their noise, scaled to σ_k. In the ideal landscape the mean gap is
    ᾱ_k‖wrong − right‖²/(2σ_k); the sum over landscapes of σ_k·gap is divided by the sum of σ_k
    times that.
    """
    P, R = at.noise.shape[1:3]
    A, gap, ideal = at.A.repeat_interleave(R, 0), 0.0, 0.0
    for k, noise in enumerate(at.noise):
        sigma, scaled = points.sigma(energy, k), points.sigma(energy, k) * noise
        right, wrong = ((points.centre(energy, y, k)[:, None] + scaled).flatten(0, 1) for y in (at.y0, at.wrong))
        gap = gap + sigma * above(energy, A, y=wrong, right=right, k=k).view(P, R).mean(1)
        apart = (at.wrong - at.y0).square().sum(-1)
        ideal = ideal + energy.schedule.alpha_bar[k].item() * apart / 2
    return gap / ideal


def sampled_errors(energy: Energy, at: Draws, sampler: Sampler) -> Tensor:
    """Mean squared error per entry of samples, in standardised coordinates, over starts: (P,).

    Differentiable where gradients are enabled.
    """
    P, S = at.start.shape[:2]
    A, start = at.A.repeat_interleave(S, 0), at.start.flatten(0, 1)
    y = sampler.answers(energy, A, start, differentiable=torch.is_grad_enabled())
    return (y.view(P, S, -1) - at.y0[:, None]).square().mean((1, 2))


def measure_outcomes(energy: Energy, at: Draws, sampler: Sampler, members: int = 1) -> dict[str, Tensor]:
    """All outcomes by name, (members, P)."""
    at = at.repeated(members)
    with torch.no_grad():
        values = (score_errors(energy, at), relative_energy_gaps(energy, at), sampled_errors(energy, at, sampler))
    return {name: f.view(members, -1) for name, f in zip(OUTCOMES, values, strict=True)}
