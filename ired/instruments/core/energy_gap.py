"""Energy gaps: the energy of states above that of the right answer, or above their own mean.

An energy carries a free offset for each problem and landscape, so that only differences within one problem and
one landscape mean anything. Everything is in the energy's own units: divide by σ_k to compare landscapes.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ired.model.protocol import Energy


def above(energy: Energy, A: Any, y: Tensor, right: Tensor, k: int) -> Tensor:
    """E(A, y) − E(A, right) in landscape k: (B,), or (B, M) for M states, of which one side may have only one."""
    return energy.energy(A, y, k) - energy.energy(A, right, k)


def above_first(energies: Tensor) -> Tensor:
    """Energies (..., M) of M states of a problem, the right answer first, less the first one's: (..., M)."""
    return energies - energies[..., :1]


def centred(energies: Tensor) -> Tensor:
    """Energies (..., M) of M states of a problem less their mean: (..., M). No state is special."""
    return energies - energies.mean(-1, keepdim=True)
