"""Landscape metrics: midpoint convexity, sharpness, and energy gaps between right and wrong answers.

Distances are in noise radii σ_k·√size (see `states`), energies in units of σ_k: on the ideal landscape a state r
noise radii away has gap r²·size/2. Energies are only ever compared within one problem and one landscape.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ired.instruments.core import states as points
from ired.model.protocol import Energy


@dataclass(frozen=True)
class Convexity:
    """Convexity around the answers; arrays (L, S, P), each a share of random draws.

    landscapes: (L,); scales: (S,), endpoints are √ᾱ_k y₀ + scale·σ_k ε; share: midpoint convexity
    E((a+b)/2) ≤ (E(a) + E(b))/2 (up to rounding) between two such endpoints; rays: the same between
    the answer and an endpoint; positive: uᵀHu > 0 at an endpoint along a random direction u;
    curvature: mean σ_k uᵀHu there (1 ideal). In many dimensions random directions see the mean
    curvature: a few negative eigenvalues show in the inertia (`hessian`) and hardly here.
    """

    landscapes: NDArray
    scales: NDArray
    share: NDArray
    rays: NDArray
    positive: NDArray
    curvature: NDArray

    def columns(self) -> dict[str, NDArray]:
        """Tidy columns, one row per landscape, scale and problem."""
        return points.tidy_columns(
            {
                "landscape": self.landscapes,
                "scale": self.scales,
                "problem": range(self.share.shape[-1]),
            },
            share=self.share,
            rays=self.rays,
            positive=self.positive,
            curvature=self.curvature,
        )


@dataclass(frozen=True)
class Sharpness:
    """How steeply the energy rises around the answers.

    landscapes: (L,); radii: (R,) in noise radii; curvature: (L, P), σ_k tr H / size at the answer
    (1 ideal); profile: (L, R, P), mean gap at each radius over random directions, divided by
    size/2 (ideal: radius²); radius: (L, P), where the profile first reaches `level` (ideal:
    √level), the largest radius where it never does; reached: (L, P) bool.
    """

    landscapes: NDArray
    radii: NDArray
    level: float
    curvature: NDArray
    profile: NDArray
    radius: NDArray
    reached: NDArray

    def columns(self) -> dict[str, NDArray]:
        """Tidy columns, one row per landscape and problem."""
        return points.tidy_columns(
            {"landscape": self.landscapes, "problem": range(self.curvature.shape[1])},
            curvature=self.curvature,
            radius=self.radius,
            reached=self.reached,
        )


@dataclass(frozen=True)
class Gaps:
    """Energy of wrong answers above the right one, in units of σ_k.

    landscapes: (L,); gap: by kind of wrong answer, (L, P, W) with W wrong answers (times noise
    draws) of each problem; positive means that the right answer is lower.
    """

    landscapes: NDArray
    gap: dict[str, NDArray]

    def rate(self, kind: str) -> NDArray:
        """P(gap > 0), (L, P): how often the right answer is the lower one."""
        return (self.gap[kind] > 0).mean(-1)

    def columns(self) -> dict[str, NDArray]:
        """Tidy columns, one row per landscape and problem."""
        problems = next(iter(self.gap.values())).shape[1]
        return points.tidy_columns(
            {"landscape": self.landscapes, "problem": range(problems)},
            **{f"{kind}_gap": gap.mean(-1) for kind, gap in self.gap.items()},
            **{f"{kind}_rate": self.rate(kind) for kind in self.gap},
        )


@torch.no_grad()
def convexity(
    energy: Energy,
    A: Tensor,
    y0: Tensor,
    landscapes: Sequence[int],
    scales: Sequence[float],
    segments: int,
    generator: torch.Generator,
) -> Convexity:
    """Midpoint convexity on `segments` random segments around each answer y₀ (P, d)."""
    prepared = energy.prepare(A)
    parts = {name: [] for name in ("share", "rays", "positive", "curvature")}
    for k in landscapes:
        middle, s = points.centre(energy, y0, k)[:, None], points.sigma(energy, k)
        here = energy.energy(prepared, middle, k)
        for scale in scales:
            y, _ = points.noised(energy, y0, k, 2 * segments, generator, scale)
            a, b = y.split(segments, dim=1)
            E = energy.energy(prepared, y, k)
            Ea, Eb = E.split(segments, dim=1)
            rounding = 16 * torch.finfo(E.dtype).eps * E.abs().amax(-1, keepdim=True)
            between = energy.energy(prepared, (a + b) / 2, k)
            halfway = energy.energy(prepared, (a + middle) / 2, k)
            u = points.unit_directions(energy, len(y0), segments, generator=generator, like=y0)
            # A step that is small on the landscape's scale and large beside rounding.
            h = torch.finfo(E.dtype).eps ** (1 / 3) * s
            bend = energy.gradient(prepared, a + h * u, k) - energy.gradient(prepared, a - h * u, k)
            curvature = (bend * u).sum(-1) / (2 * h) * s
            parts["share"].append((between <= (Ea + Eb) / 2 + rounding).double().mean(-1))
            parts["rays"].append((halfway <= (Ea + here) / 2 + rounding).double().mean(-1))
            parts["positive"].append((curvature > 0).double().mean(-1))
            parts["curvature"].append(curvature.mean(-1))
    shape = (len(landscapes), len(scales), len(y0))
    return Convexity(
        landscapes=np.array(landscapes),
        scales=np.array(scales, dtype=np.float64),
        **{name: points.array(torch.stack(values)).reshape(shape) for name, values in parts.items()},
    )


@torch.no_grad()
def sharpness(
    energy: Energy,
    A: Tensor,
    y0: Tensor,
    landscapes: Sequence[int],
    generator: torch.Generator,
    radii: Sequence[float] = tuple(0.125 * i for i in range(1, 33)),
    count: int = 32,
    level: float = 1.0,
    memory: int = 512 * 2**20,
) -> Sharpness:
    """Mean rise of the energy over `count` random directions from each answer y₀ (P, d)."""
    prepared, size = energy.prepare(A), energy.coordinates.size
    chunk = points.hessians_per_call(energy, memory)
    line = torch.as_tensor(radii).to(y0)
    curvature, profile = [], []
    for k in landscapes:
        middle, s = points.centre(energy, y0, k), points.sigma(energy, k)
        u = points.unit_directions(energy, len(y0), count, generator=generator, like=y0)
        base = energy.energy(prepared, middle, k)
        rise = [
            energy.energy(prepared, middle[:, None] + r * points.noise_radius(energy, k) * u, k).mean(-1) - base
            for r in line.tolist()
        ]
        profile.append(torch.stack(rise) / (s * size / 2))
        for rows in torch.arange(len(A), device=A.device).split(chunk):
            H = energy.hessian(A[rows], middle[rows], k)
            curvature.append(s * points.in_basis(energy, H).diagonal(dim1=-2, dim2=-1).sum(-1) / size)
    profile = points.array(torch.stack(profile))
    radius, reached = _first_crossing(np.asarray(radii, dtype=np.float64), profile, level)
    return Sharpness(
        landscapes=np.array(landscapes),
        radii=np.asarray(radii, dtype=np.float64),
        level=level,
        curvature=points.array(torch.cat(curvature)).reshape(len(landscapes), len(A)),
        profile=profile,
        radius=radius,
        reached=reached,
    )


def other_answers(y0: Tensor, count: int) -> Tensor:
    """Answers (P, count, d) of the `count` next problems of the batch: wrong ones, well made."""
    if not 1 <= count < len(y0):
        raise ValueError(f"{len(y0)} problems have {len(y0) - 1} other answers, not {count}")
    return torch.stack([y0.roll(-shift, 0) for shift in range(1, count + 1)], dim=1)


@torch.no_grad()
def energy_gaps(
    energy: Energy,
    A: Tensor,
    y0: Tensor,
    landscapes: Sequence[int],
    wrong: Mapping[str, Tensor],
    generator: torch.Generator,
    noised: int = 16,
    shared_noise: int = 0,
) -> Gaps:
    """Gaps of wrong answers (P, d) or (P, W, d) by kind, in the answers' own coordinates (k-free).

    Landscape k compares √ᾱ_k·wrong with √ᾱ_k·y₀. Kind "noised" is added: `noised` states
    √ᾱ_k y₀ + σ_k ε against the answer. With `shared_noise` draws, each kind but "noised" is
    compared as in contrastive training: both answers under the same noise σ_k ε.
    """
    prepared = energy.prepare(A)
    kinds = {name: w[:, None] if w.dim() == 2 else w for name, w in wrong.items()}
    gap: dict[str, list[Tensor]] = {name: [] for name in (*kinds, "noised")}
    for k in landscapes:
        middle, s = points.centre(energy, y0, k)[:, None], points.sigma(energy, k)
        base = energy.energy(prepared, middle, k)
        blur = points.noise(energy, len(y0), shared_noise, generator=generator, like=y0) * s
        for name, answers in kinds.items():
            states = points.centre(energy, answers, k)
            if shared_noise:
                states = (states[:, :, None] + blur[:, None]).flatten(1, 2)
                right = energy.energy(prepared, middle + blur, k)
                right = right[:, None].expand(-1, answers.shape[1], -1).flatten(1, 2)
            else:
                right = base
            gap[name].append((energy.energy(prepared, states, k) - right) / s)
        states, _ = points.noised(energy, y0, k, noised, generator)
        gap["noised"].append((energy.energy(prepared, states, k) - base) / s)
    return Gaps(
        np.array(landscapes),
        {name: points.array(torch.stack(parts)) for name, parts in gap.items()},
    )


def _first_crossing(radii: NDArray, profile: NDArray, level: float) -> tuple[NDArray, NDArray]:
    """Where profiles (L, R, P) first reach `level`; linear in radius², as a bowl is."""
    squares = np.concatenate([[0.0], radii**2])
    rise = np.concatenate([np.zeros_like(profile[:, :1]), profile], axis=1)
    above = rise >= level
    reached = above.any(1)
    after = np.maximum(above.argmax(1), 1)
    high, low = (np.take_along_axis(rise, index[:, None], axis=1)[:, 0] for index in (after, after - 1))
    part = np.divide(level - low, high - low, out=np.ones_like(low), where=high > low)
    square = squares[after - 1] + part * (squares[after] - squares[after - 1])
    return np.where(reached, np.sqrt(square), radii[-1]), reached
