"""Two-dimensional slices of an energy landscape through the true answer.

A slice of landscape k shows E(√ᾱ_k y₀ + σ_k (u a + v b)) for orthonormal axes a, b, as a gap to the
energy at the answer in units of σ_k:

    gap(u, v) = (E(√ᾱ_k y₀ + σ_k (u a + v b)) − E(√ᾱ_k y₀)) / σ_k

so that the ideal landscape ‖y − √ᾱ_k y₀‖² / (2σ_k) gives gap = (u² + v²)/2 exactly, in every
landscape and for every problem. A quadratic energy with Hessian H gives the quadratic form
½ (u, v) D σ_k H Dᵀ (u, v)ᵀ with D = [a; b]. A typical noised state lies √2 from the origin within
a random plane and √size from it in all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ired.instruments.core import states as points
from ired.model.protocol import Energy

STATES_PER_CALL = 4096


@dataclass(frozen=True)
class Directions:
    """Planes to slice along.

    kind: "random", "gradient" or "path"; axes: (P, 2, d) orthonormal tensors in the space that
    states live in; share: (P, 2), the part of what defined the plane that lies along each axis
    (gradient: of the gradients' variance; path: of the squared displacement from the answer;
    random: 1/size, which is what chance gives the others).
    """

    kind: str
    axes: Tensor
    share: Tensor


@dataclass(frozen=True)
class Mark:
    """States marked on slices: arrays (P,), or (P, T) for paths of T states.

    u, v: in-plane coordinates in σ_k; out: distance from the plane in σ_k; gap: the state's own
    energy gap to the answer in σ_k (that of the state, not of its shadow in the plane).
    """

    u: NDArray
    v: NDArray
    out: NDArray
    gap: NDArray


@dataclass(frozen=True)
class Slices:
    """Slices of P problems in one landscape.

    kind: how the plane was chosen; landscape: k; sigma: σ_k; u, v: (G,) grid in σ_k;
    gap: (P, G, G), gap[p, row, column] at v[row], u[column], in units of σ_k;
    rounding: (P,) differences of gap below this are rounding; share: (P, 2), see `Directions`;
    marks: by name.
    """

    kind: str
    landscape: int
    sigma: float
    u: NDArray
    v: NDArray
    gap: NDArray
    rounding: NDArray
    share: NDArray
    marks: dict[str, Mark] = field(default_factory=dict)

    def picture(self, name: str, problems: int) -> dict[str, NDArray]:
        """What drawing the first few slices needs, as float32 arrays: "name.gap" (problems, G, G), "name.line" (G,),
        and (u, v) of every mark, "name.mark" (problems, ..., 2)."""
        arrays = {f"{name}.gap": self.gap[:problems], f"{name}.line": self.u}
        for mark, at in self.marks.items():
            arrays[f"{name}.{mark}"] = np.stack((at.u, at.v), -1)[:problems]
        return {key: values.astype(np.float32) for key, values in arrays.items()}


@dataclass(frozen=True)
class SliceShape:
    """What slices look like; arrays (P,) if not said otherwise.

    minimum: (P, 2) (u, v) of the lowest grid point in σ_k; minimum_distance: its distance from the
    answer in σ_k (a lower bound where minimum_on_border); minimum_gap: its gap, ≤ 0;
    below: share of grid points lower than the answer by more than rounding (0 if the answer is
    the minimum); fit: R² of the least-squares quadratic; curvature: (P, 2) ascending eigenvalues
    of that quadratic's Hessian (1, 1 when ideal); slope: norm of its gradient at the answer
    (0 when the answer is critical); anisotropy: |λ₂ − λ₁| / (|λ₁| + |λ₂|) of the curvatures,
    0 round, 1 a valley or a saddle; ideal_correlation: Pearson correlation of the gap with (u² + v²)/2.
    """

    kind: str
    landscape: int
    minimum: NDArray
    minimum_distance: NDArray
    minimum_on_border: NDArray
    minimum_gap: NDArray
    below: NDArray
    fit: NDArray
    curvature: NDArray
    slope: NDArray
    anisotropy: NDArray
    ideal_correlation: NDArray

    def columns(self) -> dict[str, NDArray]:
        """Tidy columns, one row per problem."""
        count = len(self.below)
        return points.tidy_columns(
            {"problem": range(count)},
            landscape=np.full(count, self.landscape),
            kind=np.full(count, self.kind),
            minimum_u=self.minimum[:, 0],
            minimum_v=self.minimum[:, 1],
            curvature_low=self.curvature[:, 0],
            curvature_high=self.curvature[:, 1],
            **{
                name: getattr(self, name)
                for name in (
                    "minimum_distance",
                    "minimum_on_border",
                    "minimum_gap",
                    "below",
                    "fit",
                    "slope",
                    "anisotropy",
                    "ideal_correlation",
                )
            },
        )


@torch.no_grad()
def random_directions(energy: Energy, y0: Tensor, generator: torch.Generator) -> Directions:
    """Uniformly random planes, one for each answer y₀ (P, d)."""
    drawn = points.noise(energy, len(y0), 2, generator=generator, like=y0)
    share = torch.full((len(y0), 2), 1 / energy.coordinates.size).to(y0)
    return Directions("random", _orthonormal(drawn), share)


@torch.no_grad()
def gradient_directions(
    energy: Energy,
    A: Tensor,
    y0: Tensor,
    k: int,
    generator: torch.Generator,
    samples: int = 128,
) -> Directions:
    """First two principal axes of gradients at `samples` noised answers of landscape k.

    On a quadratic energy these are the Hessian's leading eigenvectors. On the ideal landscape all
    directions are equal, so compare `share` with 1/size before reading meaning into the axes.
    """
    y, _ = points.noised(energy, y0, k, samples, generator)
    part = max(1, STATES_PER_CALL // samples)
    z = torch.cat(
        [
            energy.coordinates.to_basis(energy.gradient(energy.prepare(a), states, k))
            for a, states in zip(A.split(part), y.split(part), strict=True)
        ]
    )
    z = z - z.mean(1, keepdim=True)
    # The smaller of the two Gram matrices: many times faster than a singular value decomposition.
    wide = z.shape[1] < z.shape[2]
    values, vectors = torch.linalg.eigh(z @ z.mT if wide else z.mT @ z)
    axes = vectors[..., -2:].flip(-1)
    axes = torch.linalg.qr(z.mT @ axes if wide else axes).Q.mT
    # The sign of a principal axis is free: its largest component is made positive.
    largest = axes.gather(-1, axes.abs().argmax(-1, keepdim=True))
    axes = energy.coordinates.from_basis(axes * largest.sign())
    values = values.clamp_min(0)
    total = values.sum(-1, keepdim=True).clamp_min(torch.finfo(values.dtype).tiny)
    return Directions("gradient", axes, values[:, -2:].flip(-1) / total)


@torch.no_grad()
def path_directions(energy: Energy, y0: Tensor, k: int, path: Tensor, generator: torch.Generator) -> Directions:
    """Planes along paths (P, T, d) through landscape k, the state that enters it first.

    The first axis points from the answer to the entry; the second is the principal axis of what
    the path's displacements from the answer leave orthogonal to the first. A direction that the
    path does not define (it is straight, or starts at the answer) is drawn at random.
    """
    offset = energy.coordinates.project(path - points.centre(energy, y0, k)[:, None])
    spare = points.noise(energy, len(y0), 2, generator=generator, like=y0)
    length = offset.flatten(1).norm(dim=-1)
    scale = torch.maximum(length, points.centre(energy, y0, k).norm(dim=-1))
    tiny = (torch.finfo(y0.dtype).eps ** 0.75 * scale)[:, None]
    first = torch.where(offset[:, 0].norm(dim=-1, keepdim=True) > tiny, offset[:, 0], spare[:, 0])
    first = torch.nn.functional.normalize(first, dim=-1)
    rest = offset - (offset @ first[..., None]) * first[:, None]
    _, size, axes = torch.linalg.svd(rest, full_matrices=False)
    second = torch.where(size[:, :1] > tiny, axes[:, 0], spare[:, 1])
    axes = _orthonormal(torch.stack([first, second], 1))
    along = (offset @ axes.mT).pow(2).sum(1)
    return Directions("path", axes, along / length.pow(2).clamp_min(tiny[:, 0] ** 2)[:, None])


@torch.no_grad()
def in_plane(
    energy: Energy, y0: Tensor, k: int, chosen: Directions, states: Tensor
) -> tuple[NDArray, NDArray, NDArray]:
    """Coordinates u, v and distance from the plane, in σ_k, of states (P, d) or (P, T, d)."""
    single = states.dim() == 2
    offset = (states[:, None] if single else states) - points.centre(energy, y0, k)[:, None]
    offset = energy.coordinates.project(offset) / points.sigma(energy, k)
    uv = offset @ chosen.axes.mT
    out = (offset - uv @ chosen.axes).norm(dim=-1)
    return tuple(points.array(x[:, 0] if single else x) for x in (uv[..., 0], uv[..., 1], out))


@torch.no_grad()
def energy_slices(
    energy: Energy,
    A: Tensor,
    y0: Tensor,
    k: int,
    chosen: Directions,
    extent: float = 3.0,
    resolution: int = 41,
    marks: Mapping[str, Tensor] | None = None,
    states_per_call: int = STATES_PER_CALL,
) -> Slices:
    """Slices of landscape k through answers y₀ (P, d) of problems A (P, n, n).

    The grid has `resolution` (odd, so that the answer is on it) points from −extent to extent σ_k
    on each axis. `marks`: states (P, d) or paths (P, T, d) of landscape k by name.
    """
    if resolution < 3 or resolution % 2 == 0:
        raise ValueError(f"the answer is on a grid of odd size (at least 3) only, not {resolution}")
    s = points.sigma(energy, k)
    line = torch.linspace(-extent, extent, resolution, dtype=y0.dtype, device=y0.device)
    line[resolution // 2] = 0.0
    v, u = torch.meshgrid(line, line, indexing="ij")
    grid = torch.stack([u, v], -1).reshape(-1, 2)
    middle = points.centre(energy, y0, k)
    marks = dict(marks or {})
    marked = {name: m[:, None] if m.dim() == 2 else m for name, m in marks.items()}

    gaps, rounding, at_marks = [], [], {name: [] for name in marks}
    chunk = max(1, states_per_call // len(grid))
    for start in range(0, len(y0), chunk):
        part = slice(start, start + chunk)
        prepared = energy.prepare(A[part])
        states = middle[part, None] + s * (grid @ chosen.axes[part])
        E = energy.energy(prepared, states, k)
        base = energy.energy(prepared, middle[part], k)[:, None]
        gaps.append((E - base) / s)
        rounding.append(8 * torch.finfo(E.dtype).eps * E.abs().amax(-1) / s)
        for name, states in marked.items():
            at_marks[name].append((energy.energy(prepared, states[part], k) - base) / s)

    placed = {}
    for name, states in marks.items():
        gap = torch.cat(at_marks[name])
        gap = gap[:, 0] if states.dim() == 2 else gap
        placed[name] = Mark(*in_plane(energy, y0, k, chosen, states), points.array(gap))
    return Slices(
        kind=chosen.kind,
        landscape=k,
        sigma=s,
        u=points.array(line),
        v=points.array(line),
        gap=points.array(torch.cat(gaps).unflatten(-1, (resolution, resolution))),
        rounding=points.array(torch.cat(rounding)),
        share=points.array(chosen.share),
        marks=placed,
    )


def shape_of(slices: Slices) -> SliceShape:
    """Where each slice's minimum lies, and how much it resembles a bowl around the answer."""
    u, v = (g.ravel() for g in np.meshgrid(slices.u, slices.v))
    gap = slices.gap.reshape(len(slices.gap), -1)
    lowest = gap.argmin(-1)
    minimum = np.stack([u[lowest], v[lowest]], -1)
    border = np.abs(minimum).max(-1) >= slices.u[-1]

    design = np.stack([np.ones_like(u), u, v, u * u / 2, u * v, v * v / 2], -1)
    weights = gap @ np.linalg.pinv(design).T
    left = ((gap - weights @ design.T) ** 2).sum(-1)
    total = ((gap - gap.mean(-1, keepdims=True)) ** 2).sum(-1)
    # A slice without variation is fitted exactly by a constant.
    fit = 1 - np.divide(left, total, out=np.zeros_like(left), where=total > 0)
    H = np.stack([weights[:, [3, 4]], weights[:, [4, 5]]], -2)
    curvature = np.linalg.eigvalsh(H)
    size = np.abs(curvature).sum(-1)
    spread = curvature[:, 1] - curvature[:, 0]
    anisotropy = np.divide(spread, size, out=np.zeros_like(size), where=size > 0)

    ideal = (u * u + v * v) / 2
    ideal = ideal - ideal.mean()
    norm = np.sqrt(total) * np.linalg.norm(ideal)
    correlation = np.divide(gap @ ideal, norm, out=np.zeros_like(norm), where=norm > 0)
    return SliceShape(
        kind=slices.kind,
        landscape=slices.landscape,
        minimum=minimum,
        minimum_distance=np.linalg.norm(minimum, axis=-1),
        minimum_on_border=border,
        minimum_gap=gap[np.arange(len(gap)), lowest],
        below=(gap < -slices.rounding[:, None]).mean(-1),
        fit=fit,
        curvature=curvature,
        slope=np.linalg.norm(weights[:, 1:3], axis=-1),
        anisotropy=anisotropy,
        ideal_correlation=correlation,
    )


def _orthonormal(pair: Tensor) -> Tensor:
    """Gram-Schmidt on (P, 2, d), twice for the second: once loses digits when nearly parallel."""
    first = torch.nn.functional.normalize(pair[:, 0], dim=-1)
    second = torch.nn.functional.normalize(pair[:, 1], dim=-1)
    for _ in range(2):
        second = second - (second * first).sum(-1, keepdim=True) * first
        second = torch.nn.functional.normalize(second, dim=-1)
    return torch.stack([first, second], 1)
