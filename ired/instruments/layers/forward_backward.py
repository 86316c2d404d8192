"""Forward and backward pass (backpropagation) through the network, to f and back to the score, every step kept.

E = ‖f‖² (Du et al. 2024, arXiv 2406.11179): v_l = W_l h_{l−1} + b_l, u_l = s_l·v_l + t_l (s and t
are the landscape's scale and shift of fc2 and fc3, FiLM), h_l = swish(u_l), f = v_4. Backwards e_l
= ∂E/∂v_l and d_l = ∂E/∂h_l: e_4 = 2f, d_{l−1} = e_l W_l, e_l = d_l·swish'(u_l)·s_l, and the score
is e_1 W_1 restricted to the state. States are in basis coordinates z here. Everything is
differentiable by autograd.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from ired.instruments.core import states as points
from ired.model.protocol import Energy

LAYERS = ("fc1", "fc2", "fc3")
Film = tuple[Tensor, Tensor]


class Network(Energy, Protocol):
    """An energy ‖f‖² whose weights can be read: each fc has weight (out, in) and bias (out,).

    fc1 reads the problem's inputs, then the state's basis coordinates.
    """

    fc1: Any
    fc2: Any
    fc3: Any
    fc4: Any

    def inputs(self, A: Tensor) -> Tensor:
        """Problems (P, n, n) as fc1 sees them, (P, size)."""

    def film(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Scale and shift of fc2, then of fc3, each (K, width)."""


@dataclass(frozen=True)
class Passage:
    """Of states z (P, M, size); layers' tensors (P, M, width).

    x: inputs (P, M, 2·size) of fc1; v, u, h, bend: of fc1, fc2, fc3, bend being swish'(u); film:
    scales of fc2 and fc3, (width,) or (M, width); f: (P, M, size); d: ∂E/∂h of fc1 … fc3; e: ∂E/∂v
    of fc1 … fc4; score: ∂E/∂z (P, M, size).
    """

    x: Tensor
    v: tuple[Tensor, Tensor, Tensor]
    u: tuple[Tensor, Tensor, Tensor]
    h: tuple[Tensor, Tensor, Tensor]
    bend: tuple[Tensor, Tensor, Tensor]
    film: Film
    f: Tensor
    d: tuple[Tensor, Tensor, Tensor]
    e: tuple[Tensor, Tensor, Tensor, Tensor]
    score: Tensor


def passage(network: Network, A: Tensor, z: Tensor, k: int | Tensor) -> Passage:
    """For problems A (P, n, n) at states z (P, M, size), in landscape k or one each (M,)."""
    a = network.inputs(A)
    x = torch.cat([a[:, None].expand(-1, z.shape[1], -1), z], -1)
    scale2, shift2, scale3, shift3 = (table[k] for table in network.film())
    v1 = F.linear(x, network.fc1.weight, network.fc1.bias)
    h1 = F.silu(v1)
    v2 = F.linear(h1, network.fc2.weight, network.fc2.bias)
    u2 = v2 * scale2 + shift2
    h2 = F.silu(u2)
    v3 = F.linear(h2, network.fc3.weight, network.fc3.bias)
    u3 = v3 * scale3 + shift3
    h3 = F.silu(u3)
    f = F.linear(h3, network.fc4.weight, network.fc4.bias)
    u, bend, film = (
        (v1, u2, u3),
        (swish_slope(v1), swish_slope(u2), swish_slope(u3)),
        (scale2, scale3),
    )
    d, e, score = _back(network, 2 * f, bend, film)
    return Passage(x=x, v=(v1, v2, v3), u=u, h=(h1, h2, h3), bend=bend, film=film, f=f, d=d, e=e, score=score)


def swish_slope(u: Tensor) -> Tensor:
    """swish'(u), between −0.0998 and 1.0998."""
    s = torch.sigmoid(u)
    return s * (1 + u * (1 - s))


def back(network: Network, kept: Passage, start: Tensor, film: Film | None = None) -> Tensor:
    """`start` (P, M, size) at f led back to the state, startᵀ ∂f/∂z (P, M, size).

    film: what the backward pass multiplies by at fc2 and fc3, instead of the landscape's scales.
    """
    return _back(network, start, kept.bend, film or kept.film)[2]


def directional_derivatives(network: Network, kept: Passage, t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Derivatives of h of fc1, fc2, fc3 and of f when the state moves along t (P, M, size)."""
    t1 = (t @ _of_state(network).mT) * kept.bend[0]
    t2 = (t1 @ network.fc2.weight.mT) * kept.film[0] * kept.bend[1]
    t3 = (t2 @ network.fc3.weight.mT) * kept.film[1] * kept.bend[2]
    return t1, t2, t3, t3 @ network.fc4.weight.mT


def jacobians(network: Network, kept: Passage) -> dict[str, Tensor]:
    """Derivatives by name, (P, M, out, in): each layer's by the one before it, and f's by the state."""
    maps = {
        "state → fc1": kept.bend[0][..., None] * _of_state(network),
        "fc1 → fc2": (kept.bend[1] * kept.film[0])[..., None] * network.fc2.weight,
        "fc2 → fc3": (kept.bend[2] * kept.film[1])[..., None] * network.fc3.weight,
        "fc3 → f": network.fc4.weight.expand(*kept.f.shape[:2], -1, -1),
    }
    first, second, third, last = maps.values()
    return maps | {"state → f": last @ (third @ (second @ first))}


def mean_film(network: Network) -> Network:
    """A copy that scales and shifts in every landscape as the landscapes' mean would."""
    changed = copy.deepcopy(network)
    tables = tuple(table.mean(0, keepdim=True).expand_as(table) for table in network.film())
    changed.film = lambda: tables
    return changed


@torch.no_grad()
def rescaled(network: Network, like: Network) -> Network:
    """A copy in which every matrix and vector of weights has the Frobenius norm that it has in another network of
    the same shape."""
    changed = copy.deepcopy(network)
    for weight, other in zip(changed.parameters(), like.parameters(), strict=True):
        weight.mul_(other.norm() / weight.norm())
    return changed


def noised_by_landscape(energy: Energy, y0: Tensor, draws: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Noised answers of y0 (P, d) in every landscape and their noise: z and ε, (K, P, draws, size)."""
    pairs = [points.noised(energy, y0, k, draws, generator) for k in range(energy.schedule.K)]
    states, noise = (torch.stack(parts) for parts in zip(*pairs, strict=True))
    return energy.coordinates.to_basis(states), energy.coordinates.to_basis(noise)


def _back(
    network: Network, start: Tensor, bend: tuple[Tensor, ...], film: Film
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], Tensor]:
    d3 = start @ network.fc4.weight
    e3 = d3 * bend[2] * film[1]
    d2 = e3 @ network.fc3.weight
    e2 = d2 * bend[1] * film[0]
    d1 = e2 @ network.fc2.weight
    e1 = d1 * bend[0]
    return (d1, d2, d3), (e1, e2, e3, start), e1 @ _of_state(network)


def _of_state(network: Network) -> Tensor:
    """The part of fc1's weights that reads the state, (width, size)."""
    return network.fc1.weight[:, network.coordinates.size :]
