"""Inputs of a fingerprint: what models are asked on when they are held against one another, the same for all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ired.instruments.core import states
from ired.instruments.core.patching import DISTANCES
from ired.instruments.robustness import rediscovery
from ired.instruments.sanity import findings_answers
from ired.model.protocol import Energy


@dataclass(frozen=True)
class Size:
    """How much is looked at; anything with these attributes will do."""

    problems: int = 48  # whose gaps, attributions and answers are taken
    changes: int = 21  # orthonormal changes of A, all there are at n = 6
    natural: int = 300  # whose noised answers are the tokens of dictionaries
    states: int = 2  # noised answers of each in a landscape
    matched: int = 150  # of them, whose tokens features are matched on
    expansion: int = 2  # features per neuron
    sparsity: int = 32  # features active per token
    steps: int = 200  # training steps of a dictionary
    rate: float = 5e-3
    batch: int = 128  # tokens of a step
    spliced: int = 12  # problems on which dictionaries are put into the network, and halves ablated
    shown: int = 1200  # that concepts' pairs are made of
    pairs: int = 150  # of each concept, at most
    caliper: float = 0.3  # distance of matched confounders in deviations, at most
    folds: int = 2
    landscapes: tuple[int, ...] = (0, 2)  # in which concepts are looked for and moved
    tried: int = 12  # problems that directions are moved along
    draws: int = 2  # isotropic random directions beside each
    random: int = 200  # random CAVs beside each


TINY = Size(
    problems=16,
    changes=6,
    natural=60,
    states=1,
    matched=60,
    sparsity=8,
    steps=12,
    spliced=2,
    shown=240,
    pairs=40,
    caliper=0.6,
    landscapes=(0,),
    tried=5,
    draws=1,
    random=100,
)


def problems_needed(size: Any) -> int:
    """Problems that `ground` asks for."""
    return size.problems + size.natural + size.shown + size.tried


@dataclass(frozen=True)
class FingerprintGround:
    """What all models are asked on.

    A (P, n, n), y0 (P, d): problems and answers; near (K, P, M, d): states around the answers, at
    `patching.DISTANCES`; noised (P, d): noised answers of landscape 0; moves (m, n, n): orthonormal
    symmetric changes of A; start (P, d): noise that answers are sampled from; layers: tokens, pairs
    that show concepts, and problems to move along directions, as P6-01 has them; seed: of what is
    drawn for each model, the same for all.
    """

    A: Tensor
    y0: Tensor
    near: Tensor
    noised: Tensor
    moves: Tensor
    start: Tensor
    layers: rediscovery.RediscoveryGround
    seed: int

    def generator(self, purpose: int) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed + purpose)


@torch.no_grad()
def ground(
    energy: Energy, A: Tensor, properties: Mapping[str, Tensor], size: Any, generator: torch.Generator
) -> FingerprintGround:
    """Of `problems_needed` problems A (N, n, n) with their properties (N,); energy: for its coordinates and
    schedule alone.

    Raises ValueError for another number of problems, or where A is not float64.
    """
    states.demand_double(A, "fingerprints")
    if len(A) != problems_needed(size):
        raise ValueError(f"a ground of this size needs {problems_needed(size)} problems, not {len(A)}")
    counts = size.problems, size.natural, size.shown, size.tried
    problems, natural, shown, tried = A.split(counts)
    at = slice(size.problems + size.natural, size.problems + size.natural + size.shown)
    measures = {name: values[at] for name, values in properties.items()}
    y0 = states.answers(energy, problems)
    near = torch.stack(
        [
            torch.cat([states.around(energy, y0, k, far, 2 if far else 1, generator) for far in DISTANCES], 1)
            for k in range(energy.schedule.K)
        ]
    )
    noised = states.noised(energy, y0, 0, 1, generator)[0][:, 0]
    moves = findings_answers.random_changes(problems, size.changes, generator)
    start = states.noise(energy, len(problems), generator=generator, like=problems)
    (layers,) = rediscovery.grounds(energy, natural, [shown], [measures], [tried], size, generator)
    seed = int(torch.randint(2**31, (), generator=generator))
    return FingerprintGround(
        A=problems, y0=y0, near=near, noised=noised, moves=moves, start=start, layers=layers, seed=seed
    )
