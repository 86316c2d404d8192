"""Landscape metrics of a portrait: Phase 1's instruments at reduced sizes, as means over problems.

Every number is a mean over problems in one landscape; means over landscapes say little, as the high
ones are alike in all models. Hessians are looked at among symmetric directions: where states may be
asymmetric, the others have noise and no data, and any model knows them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from pandas import DataFrame
from torch import Tensor

from ired.instruments.core import states as points
from ired.instruments.landscape import gradient_field, hessian, metrics, minima
from ired.instruments.statistics.spectra import inertia
from ired.model.protocol import Energy

FLOOR = 1e-12  # an energy below this, in σ, counts as this: the ideal one is 0 at the answer
OTHERS = 8  # wrong answers of each problem, at most
RADII = tuple(0.5 * i for i in range(1, 9))  # noise radii at which energies rise

Stream = Callable[[str], torch.Generator]


def landscape_shape(
    energy: Energy,
    A: Tensor,
    landscapes: Sequence[int],
    segments: int,
    states: int,
    curved: int,
    stream: Stream,
) -> DataFrame:
    """Rows metric, landscape, value: of problems A (P, n, n), Hessians of the first `curved` of them.

    segments: whose midpoints are tried, around each answer; states: points and noised answers of each
    problem where gradients and gaps are taken.
    """
    y0, few = points.answers(energy, A), slice(0, curved)
    convex = metrics.convexity(energy, A, y0, landscapes, (1.0,), segments, stream("convexity"))
    sharp = metrics.sharpness(energy, A, y0, landscapes, stream("sharpness"), RADII, states)
    wrong = {"other": metrics.other_answers(y0, min(OTHERS, len(A) - 1))}
    gaps = metrics.energy_gaps(energy, A, y0, landscapes, wrong, stream("gaps"), noised=1)
    home = gradient_field.gradient_field(energy, A, y0, landscapes, (1.0,), states, stream("field"))
    wrongly = gradient_field.score_error(energy, A, y0, landscapes, states, stream("score"))
    y = points.at_noise(energy, y0[few], landscapes, stream("hessian"))
    bent = hessian.hessian_spectra(energy, A[few], y, landscapes)
    eigenvalues = bent.symmetric
    offset, size = _levels(energy, A, y0, landscapes, states, stream("levels"))
    measures = {
        "landscape.convexity": convex.share,
        "landscape.sharpness": sharp.curvature,
        "landscape.radius": sharp.radius,
        "landscape.wrong_costs_more": gaps.rate("other"),
        "landscape.curvature": eigenvalues.mean(-1),
        "landscape.anisotropy": _anisotropy(eigenvalues),
        "landscape.negative": inertia(eigenvalues)[..., 0] / eigenvalues.shape[-1],
        "landscape.condition": _condition(eigenvalues),
        "landscape.algebraic": bent.algebraic_cosine_centred,
        "landscape.cosine_home": home.cosine,
        "landscape.score_error": wrongly.relative_shrunk,
        "landscape.offset": offset,
        "landscape.score_size": size,
    }
    return DataFrame(
        [
            (name, k, float(row.mean()))
            for name, values in measures.items()
            for k, row in zip(landscapes, values, strict=True)
        ],
        columns=["metric", "landscape", "value"],
    )


def _anisotropy(eigenvalues: NDArray) -> NDArray:
    """Distance (L, P) to the best multiple of I, by the size; 0 where there is no curvature."""
    deviation = np.linalg.norm(eigenvalues - eigenvalues.mean(-1, keepdims=True), axis=-1)
    size = np.linalg.norm(eigenvalues, axis=-1)
    return np.divide(deviation, size, out=np.zeros_like(size), where=size > 0)


def _condition(eigenvalues: NDArray) -> NDArray:
    """log10 (L, P) of the largest over the smallest eigenvalue in size, of those above rounding;
    rounding's own where there is no curvature."""
    numbers = hessian.condition(np.abs(eigenvalues))
    return np.log10(np.nan_to_num(numbers, nan=1 / hessian.TOLERANCE))


@torch.no_grad()
def _levels(
    energy: Energy,
    A: Tensor,
    y0: Tensor,
    landscapes: Sequence[int],
    states: int,
    generator: torch.Generator,
) -> tuple[NDArray, NDArray]:
    """log10 of |E|/σ_k at the answers, (L, P), and ‖∇E‖/√size at noised answers, root mean squares
    over states: 1 in ideal landscapes, 0 for a score that has died."""
    prepared, offset, size = energy.prepare(A), [], []
    for k in landscapes:
        E = energy.energy(prepared, points.centre(energy, y0, k), k).abs() / points.sigma(energy, k)
        y, _ = points.noised(energy, y0, k, states, generator)
        g = energy.coordinates.project(energy.gradient(prepared, y, k))
        offset.append(E.clamp_min(FLOOR).log10())
        size.append((g.pow(2).sum(-1).mean(-1) / energy.coordinates.size).sqrt())
    return points.array(torch.stack(offset)), points.array(torch.stack(size))


def basins(
    energy: Energy,
    A: Tensor,
    landscapes: Sequence[int],
    distances: Sequence[float],
    starts: int,
    stream: Stream,
    **options,
) -> DataFrame:
    """Rows metric, landscape, value of the minima that descents from around the answers to A reach.

    The nearest minimum counts as far as the farthest start where there is none, or one further away.
    """
    y0 = points.answers(energy, A)
    reached = minima.find_minima(energy, A, y0, landscapes, distances, starts, stream("minima"), **options)
    descents = len(distances) * starts
    reach = max(distances)
    measures = {
        "landscape.nearest_minimum": np.nan_to_num(reached.nearest_distance, nan=reach).clip(max=reach),
        "landscape.lowest_is_nearest": reached.lowest_is_nearest,
        "landscape.minima": reached.minima,
        "landscape.minimum_found": reached.found,
        "landscape.basin": reached.basin.mean(1),
        "landscape.escaped": reached.escaped / descents,
        "landscape.unconverged": reached.unconverged / descents,
    }
    return DataFrame(
        [
            (name, k, float(row.mean()))
            for name, values in measures.items()
            for k, row in zip(landscapes, values, strict=True)
        ],
        columns=["metric", "landscape", "value"],
    )
