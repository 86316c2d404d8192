"""Attribution of energy gaps to outputs and entries by the midpoint rule: has output i anything to do with entry i?

Nothing in the energy asks for it (`ired.instruments.circuits.energy_outputs`). If output i is about coordinate i,
its gap comes from the displacement of that coordinate, more than that of outputs turned at random
does; and if outputs are entries of a matrix at all, they are permuted as problem and state are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from ired.instruments.circuits.energy_outputs import BASES, Frames, outputs_of
from ired.instruments.core import states
from ired.instruments.core.states import array
from ired.model.protocol import Energy


@dataclass(frozen=True)
class Carried:
    """The gap of output i from the displacement of coordinate j, 2 f_i (∂f_i/∂z_j) Δz_j half way, in
    units of σ_k: what the midpoint rule gives, exact for linear f.

    diagonal (P,): share of Σ_ij |·| that lies on i = j, by basis of BASES (of outputs and, but for turned
    outputs, of displacements); turns (D,): the mean share of each turn, which tells what a single
    network of the same energies has by luck; matrix (size, size): mean |·| of entries; error (P,): of
    the sum of all from the gap, as a share of it.
    """

    diagonal: dict[str, NDArray]
    turns: NDArray
    matrix: NDArray
    error: NDArray


@torch.no_grad()
def carried(
    energy: Energy,
    A: Tensor,
    y0: Tensor,
    k: int,
    frames: Frames,
    generator: torch.Generator,
    memory: int = 2**27,
) -> Carried:
    """At one noised answer of each problem A (P, n, n) with answer y0 (P, d); frames of the same
    problems. `memory`: bytes that Jacobians are made in at a time."""
    size, sigma = energy.coordinates.size, states.sigma(energy, k)
    basis = states.state_basis(energy, y0)
    home = states.centre(energy, y0, k)
    y = states.noised(energy, y0, k, 1, generator)[0][:, 0]
    diagonal, turns, error, matrix = {name: [] for name in BASES}, [], [], 0
    # Six layers of up to 1024 numbers for every direction, or three Jacobians for every turn.
    chunk = max(1, memory // (8 * size * max(6 * 1024, 3 * len(frames.turns) * size)))
    for rows in torch.arange(len(A)).split(chunk):
        prepared = energy.prepare(A[rows])
        part = Frames(frames.values[rows], frames.vectors[rows], frames.turns)
        foreign = Frames(part.values, frames.vectors.roll(1, 0)[rows], frames.turns)
        middle = ((y[rows] + home[rows]) / 2)[:, None]

        def outputs(y: Tensor, prepared: Any = prepared) -> Tensor:
            return outputs_of(energy, prepared, y, k)

        def pushed(v: Tensor, outputs: Any = outputs, middle: Tensor = middle) -> Tensor:
            return torch.func.jvp(outputs, (middle,), (v.expand_as(middle),))[1]

        f = outputs(middle)
        J = torch.func.vmap(pushed, out_dims=-1)(basis)[:, 0]  # J[p, i, j] = ∂f_i/∂z_j
        displacement = energy.coordinates.to_basis(y[rows] - home[rows])[:, None]
        terms = 2 * f.mT * J * displacement / sigma
        diagonal["entry"].append(_diagonal_share(terms))
        matrix = matrix + terms.abs().sum(0)
        for name, frame in (("eigen", part), ("foreign", foreign)):
            g, dz = (frame.view(energy, "eigen", v) for v in (f, displacement))
            # Rows of Jᵀ are turned as outputs, then rows of J as displacements.
            turned = frame.view(energy, "eigen", frame.view(energy, "eigen", J.mT).mT)
            diagonal[name].append(_diagonal_share(2 * g.mT * turned * dz))
        g = torch.einsum("dij,pqj->pdiq", frames.turns, f)
        turned = g * torch.einsum("dil,plj->pdij", frames.turns, J) * displacement[:, None]
        turns.append(_diagonal_share(turned))
        gap = _gap(energy, prepared, y[rows], home[rows], k) / sigma
        error.append((terms.sum((1, 2)) - gap).abs() / gap.abs().clamp_min(1e-300))
    by_turn = torch.cat(turns)
    diagonal["turned"].append(by_turn.mean(1))
    return Carried(
        diagonal={name: array(torch.cat(values)) for name, values in diagonal.items()},
        turns=array(by_turn.mean(0)),
        matrix=array(matrix / len(A)),
        error=array(torch.cat(error)),
    )


def _gap(energy: Energy, prepared: Any, y: Tensor, home: Tensor, k: int) -> Tensor:
    f, g = (outputs_of(energy, prepared, v, k) for v in (y, home))
    return f.pow(2).sum(-1) - g.pow(2).sum(-1)


def _diagonal_share(terms: Tensor) -> Tensor:
    size = terms.abs()
    return size.diagonal(dim1=-2, dim2=-1).sum(-1) / size.sum((-2, -1)).clamp_min(1e-300)


@dataclass(frozen=True)
class Fairness:
    """What signed permutations S of the axes, which leave the distribution of problems as it is, do.

    Inversion goes along with them: (SAS)⁻¹ = S A⁻¹ S. Of P problems: outputs: (P, 2) ⟨Δf(Sx), S Δf(x)⟩
    and the mean of ‖Δf‖² at both, whose ratio is 1 for outputs that are entries of a matrix; chance:
    the same with another S on the outputs; gap (P, 2): squared difference of the
    gaps at x and at Sx, and the sum of their squares.
    """

    outputs: NDArray
    chance: NDArray
    gap: NDArray


@torch.no_grad()
def fairness(energy: Energy, A: Tensor, y0: Tensor, k: int, generator: torch.Generator) -> Fairness:
    """One permutation for each problem A (P, n, n) at one noised answer of each."""
    n, home = energy.coordinates.n, states.centre(energy, y0, k)
    y = states.noised(energy, y0, k, 1, generator)[0][:, 0]
    order = torch.rand(len(A), n, generator=generator, dtype=torch.float64).argsort(1).to(A.device)
    sign = torch.randint(2, (len(A), 1, n), generator=generator).to(A) * 2 - 1
    S = torch.nn.functional.one_hot(order, n).to(A) * sign

    def moved(y: Tensor, S: Tensor) -> Tensor:
        return (S @ y.unflatten(-1, (n, n)) @ S.mT).flatten(-2)

    def ripple(A: Tensor, y: Tensor, home: Tensor) -> tuple[Tensor, Tensor]:
        prepared = energy.prepare(A)
        f, g = (outputs_of(energy, prepared, v, k) for v in (y, home))
        return energy.coordinates.from_basis(f - g), f.pow(2).sum(-1) - g.pow(2).sum(-1)

    here, gap = ripple(A, y, home)
    there, gap_there = ripple(S @ A @ S.mT, moved(y, S), moved(home, S))
    size = (here.pow(2).sum(-1) + there.pow(2).sum(-1)) / 2
    pairs = [torch.stack([(there * moved(here, by)).sum(-1), size], -1) for by in (S, S.roll(1, 0))]
    gaps = torch.stack([(gap - gap_there) ** 2, gap**2 + gap_there**2], -1)
    return Fairness(*map(array, (*pairs, gaps)))
