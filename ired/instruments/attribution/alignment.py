"""Directions in the layers led back to the state by the layer's Jacobian, and their alignment with components of the
gradient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pandas import DataFrame
from scipy import special
from torch import Tensor

from ired.instruments.core import random_directions, states
from ired.instruments.core.directions import EVERYWHERE, STATE, Direction
from ired.model.protocol import Energy

STEP = 1e-5  # of central differences


def pulled_back(
    energy: Energy, A: Tensor, y: Tensor, k: int, vectors: Mapping[str, Tensor], rows: int = 4096
) -> dict[str, Tensor]:
    """J_y h(y)ᵀ v of directions v (D, width) of each layer, at states y (P, d) of landscape k, in basis coordinates and
    of length 1 (0 where h does not move along v): (P, D, size) by layer.

    J by central differences, which in float64 agree with autograd to 1e-8 and need nothing but activations; `rows`
    states at a time. Raises ValueError in another precision.
    """
    states.demand_double(y, "directions led back by differences")
    basis = states.state_basis(energy, y)
    pulled: dict[str, list[Tensor]] = {layer: [] for layer in vectors}
    chunk = max(1, rows // len(basis))
    for at, problems in zip(y.split(chunk), A.split(chunk), strict=True):
        prepared = energy.prepare(problems)
        ahead, behind = (energy.activations(prepared, at[:, None] + step * basis, k) for step in (STEP, -STEP))
        for layer, v in vectors.items():
            J = (ahead[layer] - behind[layer]) / (2 * STEP)  # (chunk, size, width)
            pulled[layer].append(torch.nn.functional.normalize(v.to(at) @ J.mT, dim=-1))
    return {layer: torch.cat(chunks) for layer, chunks in pulled.items()}


@dataclass(frozen=True)
class Alignment:
    """Cosines of m components with D directions that differ from problem to problem.

    cosine, low, high (D, m): mean over P problems with Student's t interval, its sign that of the component and so
    arbitrary; consistency (D,): length of the mean unit direction, 1 where all problems have the same; chance (D, m):
    p-value of |cosine| for a random component (exact: squared cosines with a fixed direction of the mean's length are
    Beta(1/2, (size − 1)/2)).
    """

    cosine: NDArray
    low: NDArray
    high: NDArray
    consistency: NDArray
    chance: NDArray


def alignment(rows: Tensor, pulled: Tensor, level: float = 0.95) -> Alignment:
    """Of unit rows (m, size) with unit directions pulled (P, D, size)."""
    P, _, size = pulled.shape
    cosines = states.array(pulled @ rows.to(pulled).mT)
    mean, spread = cosines.mean(0), cosines.std(0, ddof=1)
    reach = special.stdtrit(P - 1, (1 + level) / 2) * spread / np.sqrt(P)
    consistency = states.array(pulled.mean(0).norm(dim=-1))
    length = np.maximum(consistency, 1e-12)[:, None]
    # The upper tail as the lower tail of the mirrored law: no rounding to 0.
    rest = (1 - (mean / length) ** 2).clip(0, 1)
    chance = special.betainc((size - 1) / 2, 0.5, rest)
    return Alignment(cosine=mean, low=mean - reach, high=mean + reach, consistency=consistency, chance=chance)


def aligned(
    energy: Energy,
    A: Tensor,
    y: Tensor,
    k: int,
    rows: Tensor,
    directions: Sequence[Direction],
    draws: int,
    generator: torch.Generator,
) -> DataFrame:
    """`alignment` of components (m, size) of landscape k, at states y (P, d), with directions of layers or of the state
    that belong to this landscape or to all; the others are left out.

    Rows of landscape, component, name, source, space, cosine, low, high, consistency, p; limit: what |cosine| stays
    under for 95 % of `draws` random directions of the same layer led back in the same way, or of the state.
    """
    by_space: dict[str, list[Direction]] = {}
    for direction in directions:
        if direction.landscape in (k, EVERYWHERE):
            by_space.setdefault(direction.space, []).append(direction)
    vectors = {}
    for space, here in by_space.items():
        v = torch.stack([direction.vector for direction in here]).to(y)
        v = energy.coordinates.to_basis(v) if space == STATE else v
        vectors[space] = torch.cat([v, random_directions.isotropic(draws, v.shape[1], generator, v)])
    pulled = {}
    if STATE in vectors:
        unit = torch.nn.functional.normalize(vectors.pop(STATE), dim=-1)
        pulled[STATE] = unit.expand(len(y), -1, -1)
    pulled |= pulled_back(energy, A, y, k=k, vectors=vectors)
    table = []
    for space, here in by_space.items():
        cosines, count = alignment(rows, pulled[space]), len(here)
        limit = np.quantile(np.abs(cosines.cosine[count:]), 0.95, axis=0)
        table += [
            {
                "landscape": k,
                "component": component + 1,
                "name": here[d].name,
                "source": here[d].source,
                "space": space,
                "cosine": cosines.cosine[d, component],
                "low": cosines.low[d, component],
                "high": cosines.high[d, component],
                "consistency": cosines.consistency[d],
                "p": cosines.chance[d, component],
                "limit": limit[component],
            }
            for d, component in np.ndindex(count, len(rows))
        ]
    return DataFrame(table)
