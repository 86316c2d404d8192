"""The gradient field ∇_y E: where it points, whether it is one, and where following it leads.

Distances are in noise radii σ_k·√size (see `states`), gradients in units of the ideal landscape's,
r/σ_k at distance r from the answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ired.instruments.core import states as points
from ired.instruments.landscape.descent import descend
from ired.model.protocol import Energy


@dataclass(frozen=True)
class GradientField:
    """Gradients at M points on spheres around the answers; arrays (L, R, P, M).

    landscapes: (L,) k; distances: (R,) in noise radii; cosine: between −∇E and the direction to
    the answer (1 ideal, 0 where the gradient vanishes); radial: the gradient's component away from
    the answer relative to the ideal r/σ_k (1 ideal; negative: pushes away); tangential: size of
    the rest relative to r/σ_k (0 ideal); antisymmetric: share of ‖∇E‖² in antisymmetric directions
    (0 by construction when states are symmetric).
    """

    landscapes: NDArray
    distances: NDArray
    cosine: NDArray
    radial: NDArray
    tangential: NDArray
    antisymmetric: NDArray

    def columns(self) -> dict[str, NDArray]:
        """Tidy columns, one row per point."""
        _, _, P, M = self.cosine.shape
        return points.tidy_columns(
            {"landscape": self.landscapes, "distance": self.distances, "problem": range(P), "point": range(M)},
            cosine=self.cosine,
            radial=self.radial,
            tangential=self.tangential,
            antisymmetric=self.antisymmetric,
        )


@dataclass(frozen=True)
class ScoreError:
    """Mean squared error of ∇E to the noise ε, per direction; arrays (L, P).

    error: of the energy; blind: of the A-blind predictor y_k/σ_k; shrunk: of the best multiple of
    it, c_k y_k with one c_k per landscape fitted to these very points (an energy that does no
    better than this has learned nothing about A); relative: error/blind; relative_shrunk:
    error/shrunk; symmetric, antisymmetric: error per symmetric and per antisymmetric direction
    (the latter 0 when states are symmetric).
    """

    landscapes: NDArray
    error: NDArray
    blind: NDArray
    shrunk: NDArray
    symmetric: NDArray
    antisymmetric: NDArray

    @property
    def relative(self) -> NDArray:
        return self.error / self.blind

    @property
    def relative_shrunk(self) -> NDArray:
        return self.error / self.shrunk

    def columns(self) -> dict[str, NDArray]:
        """Tidy columns, one row per landscape and problem."""
        return points.tidy_columns(
            {"landscape": self.landscapes, "problem": range(self.error.shape[1])},
            error=self.error,
            blind=self.blind,
            shrunk=self.shrunk,
            relative=self.relative,
            relative_shrunk=self.relative_shrunk,
            symmetric=self.symmetric,
            antisymmetric=self.antisymmetric,
        )


@dataclass(frozen=True)
class Conservation:
    """Whether a closed-form gradient is the gradient of its energy; arrays (L, P), 0 when it is.

    asymmetry: ‖J − Jᵀ‖_F / ‖J‖_F of the gradient's Jacobian J, estimated on random pairs;
    loop: |∮∇E·dl| / ∮‖∇E‖dl on a circle; path: |∫∇E·dl − ΔE| / ∫‖∇E‖dl on a straight segment;
    hessian: ‖Hv − Jv‖ / ‖Jv‖ of the closed-form Hessian, over random v. J by central differences.
    """

    landscapes: NDArray
    asymmetry: NDArray
    loop: NDArray
    path: NDArray
    hessian: NDArray

    def columns(self) -> dict[str, NDArray]:
        """Tidy columns, one row per landscape and problem."""
        return points.tidy_columns(
            {"landscape": self.landscapes, "problem": range(self.loop.shape[1])},
            asymmetry=self.asymmetry,
            loop=self.loop,
            path=self.path,
            hessian=self.hessian,
        )


@dataclass(frozen=True)
class Divergence:
    """Trace of the Hessian per direction in units of 1/σ_k (1 ideal); arrays (L, P).

    total: over the space of states; symmetric, antisymmetric: over the directions of that kind
    alone (antisymmetric is 0 when states are symmetric).
    """

    landscapes: NDArray
    total: NDArray
    symmetric: NDArray
    antisymmetric: NDArray

    def columns(self) -> dict[str, NDArray]:
        """Tidy columns, one row per landscape and problem."""
        return points.tidy_columns(
            {"landscape": self.landscapes, "problem": range(self.total.shape[1])},
            total=self.total,
            symmetric=self.symmetric,
            antisymmetric=self.antisymmetric,
        )


@dataclass(frozen=True)
class Descents:
    """Where plain gradient descent ends; arrays (L, R, P, M).

    landscapes: (L,); distances: (R,) of the starts from the answer in noise radii; distance: of the
    end from the answer in noise radii; gap: (E(end) − E(answer))/σ_k; gradient: ‖∇E‖/√size at the
    end; converged: bool, gradient within the tolerance (see `descent`); steps: evaluations taken.
    """

    landscapes: NDArray
    distances: NDArray
    distance: NDArray
    gap: NDArray
    gradient: NDArray
    converged: NDArray
    steps: NDArray

    def columns(self) -> dict[str, NDArray]:
        """Tidy columns, one row per descent."""
        _, _, P, M = self.distance.shape
        return points.tidy_columns(
            {"landscape": self.landscapes, "start": self.distances, "problem": range(P), "point": range(M)},
            distance=self.distance,
            gap=self.gap,
            gradient=self.gradient,
            converged=self.converged,
            steps=self.steps,
        )


@torch.no_grad()
def gradient_field(
    energy: Energy,
    A: Tensor,
    y0: Tensor,
    landscapes: Sequence[int],
    distances: Sequence[float],
    count: int,
    generator: torch.Generator,
) -> GradientField:
    """Gradients at `count` random points at each distance from each answer y₀ (P, d)."""
    prepared, n = energy.prepare(A), energy.coordinates.n
    parts = {name: [] for name in ("cosine", "radial", "tangential", "antisymmetric")}
    for k in landscapes:
        middle, s = points.centre(energy, y0, k)[:, None], points.sigma(energy, k)
        for distance in distances:
            y = points.around(energy, y0, k, distance, count, generator)
            out = torch.nn.functional.normalize(y - middle, dim=-1)
            g = energy.coordinates.project(energy.gradient(prepared, y, k))
            ideal = distance * points.noise_radius(energy, k) / s
            along = (g * out).sum(-1)
            size = g.norm(dim=-1).clamp_min(torch.finfo(g.dtype).tiny)
            parts["cosine"].append(along / size)
            parts["radial"].append(along / ideal)
            parts["tangential"].append((g - along[..., None] * out).norm(dim=-1) / ideal)
            parts["antisymmetric"].append((points.antisymmetric(g, n).norm(dim=-1) / size) ** 2)
    shape = (len(landscapes), len(distances), len(y0), count)
    return GradientField(
        np.array(landscapes),
        np.array(distances, dtype=np.float64),
        **{name: points.array(torch.stack(values)).reshape(shape) for name, values in parts.items()},
    )


@torch.no_grad()
def score_error(
    energy: Energy,
    A: Tensor,
    y0: Tensor,
    landscapes: Sequence[int],
    samples: int,
    generator: torch.Generator,
) -> ScoreError:
    """Error of ∇E as a denoiser's score at `samples` noised answers of each problem."""
    prepared, c = energy.prepare(A), energy.coordinates
    odd = 0 if c.symmetric else c.n * (c.n - 1) // 2
    parts = {name: [] for name in ("error", "blind", "shrunk", "symmetric", "antisymmetric")}
    for k in landscapes:
        y, epsilon = points.noised(energy, y0, k, samples, generator)
        y = c.project(y)
        wrong = c.project(energy.gradient(prepared, y, k)) - epsilon
        twisted = points.antisymmetric(wrong, c.n).pow(2).sum(-1).mean(-1)
        whole = wrong.pow(2).sum(-1).mean(-1)
        blind = y / points.sigma(energy, k) - epsilon
        multiple = (y * epsilon).sum() / (y * y).sum()
        parts["error"].append(whole / c.size)
        parts["blind"].append(blind.pow(2).sum(-1).mean(-1) / c.size)
        parts["shrunk"].append((multiple * y - epsilon).pow(2).sum(-1).mean(-1) / c.size)
        parts["symmetric"].append((whole - twisted) / (c.size - odd))
        parts["antisymmetric"].append(twisted / max(odd, 1))
    return ScoreError(
        np.array(landscapes),
        **{name: points.array(torch.stack(values)) for name, values in parts.items()},
    )


@torch.no_grad()
def conservation(
    energy: Energy,
    A: Tensor,
    y0: Tensor,
    landscapes: Sequence[int],
    generator: torch.Generator,
    pairs: int = 8,
    radius: float = 1.0,
) -> Conservation:
    """Tests ∇E at one noised answer of each problem (float64 only: differences need digits).

    Circles of `radius` noise radii in random planes are integrated by the trapezoidal rule,
    segments between two noised answers by Gauss–Legendre quadrature, each on as many nodes as
    settle the result: what is left is the field's fault and not the quadrature's.
    """
    points.demand_double(y0, "finite differences")
    prepared, c = energy.prepare(A), energy.coordinates
    tiny = torch.finfo(y0.dtype).tiny
    parts = {name: [] for name in ("asymmetry", "loop", "path", "hessian")}

    def gradient(y: Tensor) -> Tensor:
        return c.project(energy.gradient(prepared, y, k))

    for k in landscapes:
        reach = points.noise_radius(energy, k)
        y = points.noised(energy, y0, k, 2, generator)[0]
        here, there = y[:, :1], y[:, 1:]

        u = points.unit_directions(energy, len(y0), 2 * pairs, generator=generator, like=y0)
        h = 1e-5 * reach
        Ju = (gradient(here + h * u) - gradient(here - h * u)) / (2 * h)
        a, b = u.split(pairs, dim=1)
        Ja, Jb = Ju.split(pairs, dim=1)
        # For independent uniform unit a, b: E(aᵀ(J − Jᵀ)b)² = ‖J − Jᵀ‖²/m², E‖Jb‖² = ‖J‖²/m.
        skew = ((a * Jb).sum(-1) - (b * Ja).sum(-1)).pow(2).mean(-1)
        size = Ju.pow(2).sum(-1).mean(-1).clamp_min(tiny)
        parts["asymmetry"].append((c.size * skew / size).sqrt())
        Hu = c.project(u @ energy.hessian(prepared, here[:, 0], k).mT)
        parts["hessian"].append(((Hu - Ju).pow(2).sum(-1).mean(-1) / size).sqrt())

        p, q = a[:, :1], b[:, :1] - (a[:, :1] * b[:, :1]).sum(-1, keepdim=True) * a[:, :1]
        q = torch.nn.functional.normalize(q, dim=-1)

        def loop(nodes: int, here=here, p=p, q=q, reach=reach) -> Tensor:
            turn = torch.arange(nodes).to(y0) * (2 * math.pi / nodes)
            cos, sin = turn.cos()[:, None], turn.sin()[:, None]
            g = gradient(here + radius * reach * (cos * p + sin * q))
            size = g.norm(dim=-1).mean(-1).clamp_min(tiny)
            return (g * (cos * q - sin * p)).sum(-1).mean(-1).abs() / size

        E = energy.energy(prepared, y, k)

        def path(nodes: int, here=here, along=there - here, rise=E[:, 1] - E[:, 0]) -> Tensor:
            x, w = _panels(nodes, y0)
            g = gradient(here + x[:, None] * along)
            work = ((g * along).sum(-1) * w).sum(-1)
            size = (g.norm(dim=-1) * along.norm(dim=-1) * w).sum(-1)
            return (work - rise).abs() / size.clamp_min(tiny)

        parts["loop"].append(_settled(loop))
        parts["path"].append(_settled(path))
    return Conservation(
        np.array(landscapes),
        **{name: points.array(torch.stack(values)) for name, values in parts.items()},
    )


@torch.no_grad()
def divergence(
    energy: Energy,
    A: Tensor,
    y: Tensor,
    landscapes: Sequence[int],
    memory: int = 512 * 2**20,
) -> Divergence:
    """Exact divergence of ∇E at states y (L, P, d), one set for each landscape."""
    c = energy.coordinates
    even = c.n * (c.n + 1) // 2
    chunk = points.hessians_per_call(energy, memory)
    S = points.symmetric_basis(c.n, y)
    total, symmetric = [], []
    for states, k in zip(y, landscapes, strict=True):
        for rows in torch.arange(len(A), device=A.device).split(chunk):
            H = energy.hessian(A[rows], states[rows], k) * points.sigma(energy, k)
            total.append(H.diagonal(dim1=-2, dim2=-1).sum(-1))
            symmetric.append(((S @ H) * S).sum((-2, -1)))
    total = torch.cat(total).reshape(len(landscapes), -1)
    symmetric = torch.cat(symmetric).reshape(len(landscapes), -1)
    odd = c.size - even
    twisted = (total - symmetric) / odd if odd else torch.zeros_like(total)
    return Divergence(
        landscapes=np.array(landscapes),
        total=points.array((total if odd else symmetric) / c.size),
        symmetric=points.array(symmetric / even),
        antisymmetric=points.array(twisted),
    )


@torch.no_grad()
def descents(
    energy: Energy,
    A: Tensor,
    y0: Tensor,
    landscapes: Sequence[int],
    distances: Sequence[float],
    count: int,
    generator: torch.Generator,
    steps: int = 500,
    tolerance: float = 1e-6,
) -> Descents:
    """Plain gradient descent (backtracking, see `descent`) from random points at each distance."""
    prepared = energy.prepare(A)
    parts = {name: [] for name in ("distance", "gap", "gradient", "converged", "steps")}
    for k in landscapes:
        middle, s = points.centre(energy, y0, k), points.sigma(energy, k)
        base = energy.energy(prepared, middle, k)[:, None]
        start = torch.cat([points.around(energy, y0, k, r, count, generator) for r in distances], dim=1)
        ends = descend(energy, A, start, k, steps=steps, newton=0, tolerance=tolerance)
        length = energy.coordinates.project(ends.y - middle[:, None]).norm(dim=-1)
        results = {
            "distance": length / points.noise_radius(energy, k),
            "gap": (ends.energy - base) / s,
            "gradient": ends.gradient,
            "converged": ends.converged,
            "steps": ends.steps,
        }
        for name, value in results.items():
            parts[name].append(value.unflatten(1, (len(distances), count)).transpose(0, 1))
    return Descents(
        np.array(landscapes),
        np.array(distances, dtype=np.float64),
        **{name: points.array(torch.stack(values)) for name, values in parts.items()},
    )


def _panels(nodes: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Gauss–Legendre nodes and weights on [0, 1], in panels of 16."""
    x, w = np.polynomial.legendre.leggauss(16)
    panels = nodes // 16
    x = (np.arange(panels)[:, None] + (x + 1) / 2).ravel() / panels
    return torch.as_tensor(x).to(like), torch.as_tensor(np.tile(w / 2, panels) / panels).to(like)


def _settled(integral: Callable[[int], Tensor], change: float = 1e-9, most: int = 4096) -> Tensor:
    """An integral on 32, 64, … nodes until doubling them changes nothing (or there are `most`)."""
    nodes, coarse = 32, integral(32)
    while nodes < most:
        nodes, fine = 2 * nodes, integral(2 * nodes)
        if (fine - coarse).abs().max() <= change:
            return fine
        coarse = fine
    return coarse
