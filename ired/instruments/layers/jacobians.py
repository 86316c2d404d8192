"""Singular values of the layers' Jacobians, in closed form: how every layer stretches.

∂h_l/∂h_{l−1} = diag(swish'(u_l)·s_l) W_l, with s_l the landscape's scale. A network whose singular
values are all near 1 hands gradients on unchanged ("dynamical isometry": Pennington, Schoenholz &
Ganguli 2017, arXiv 1711.04735); few large ones mean that the score is made in few directions.
Effective rank: exp of the entropy of the squares' shares (Roy & Vetterli 2007).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ired.instruments.core import states
from ired.instruments.layers.forward_backward import Network, jacobians, passage
from ired.instruments.statistics.spectra import entropy_rank

MAPS = ("state → fc1", "fc1 → fc2", "fc2 → fc3", "fc3 → f", "state → f")


@dataclass(frozen=True)
class JacobianSpectra:
    """Of P problems in L landscapes, at one state each.

    landscapes: (L,); values: singular values by map, (L, P, rank) descending; antisymmetric: (L, P)
    share of ‖∂f/∂y‖²_F on antisymmetric directions (0 where states are symmetric).
    """

    landscapes: NDArray
    values: dict[str, NDArray]
    antisymmetric: NDArray

    def columns(self) -> dict[str, NDArray]:
        """Tidy columns, one row per map, landscape and problem.

        gain: root mean square of the singular values, the stretch of a random vector of the narrower
        side; condition: largest over smallest, at most 1e16; rank: effective, of `full` possible.
        """
        stack = list(self.values.values())
        largest, smallest = (np.stack([s[..., i] for s in stack]) for i in (0, -1))
        tiny = 1e-16 * largest.clip(np.finfo(float).tiny)
        return states.tidy_columns(
            {
                "map": list(self.values),
                "landscape": self.landscapes,
                "problem": range(largest.shape[-1]),
            },
            gain=np.stack([np.sqrt((s**2).mean(-1)) for s in stack]),
            largest=largest,
            smallest=smallest,
            condition=largest / np.maximum(smallest, tiny),
            rank=np.stack([entropy_rank(s**2) for s in stack]),
            full=np.array([s.shape[-1] for s in stack]),
            antisymmetric=np.broadcast_to(self.antisymmetric, largest.shape),
        )


@torch.no_grad()
def jacobian_spectra(network: Network, A: Tensor, z: Tensor, chunk: int = 8) -> JacobianSpectra:
    """Of problems A (P, n, n) at states z (K, P, size) in all landscapes, `chunk` problems at once."""
    states.demand_double(z, "small singular values")
    K, P = z.shape[:2]
    values: dict[str, list[Tensor]] = {name: [] for name in MAPS}
    antisymmetric: list[Tensor] = []
    last = torch.linalg.svdvals(network.fc4.weight)
    for k in range(K):
        for rows in torch.arange(P, device=A.device).split(chunk):
            maps = jacobians(network, passage(network, A[rows], z[k, rows][:, None], k))
            for name in MAPS:
                if name == "fc3 → f":  # the weight itself, at every state
                    values[name].append(last.expand(len(rows), -1))
                else:
                    values[name].append(torch.linalg.svdvals(maps[name][:, 0]))
            antisymmetric.append(_antisymmetric(network, maps["state → f"][:, 0]))
    return JacobianSpectra(
        np.arange(K),
        {name: states.array(torch.cat(parts)).reshape(K, P, -1) for name, parts in values.items()},
        states.array(torch.cat(antisymmetric)).reshape(K, P),
    )


def _antisymmetric(network: Network, J: Tensor) -> Tensor:
    """Share (P,) of ‖J‖²_F, J (P, size, size), on antisymmetric directions of the state."""
    c = network.coordinates
    if c.symmetric:
        return J.new_zeros(len(J))
    part, whole = (m.pow(2).sum((-2, -1)) for m in (states.antisymmetric(J, c.n), J))
    return part / whole.clamp_min(torch.finfo(J.dtype).tiny)
