"""How much of a network is left when a layer is a dictionary's reconstruction: recovered gaps and scores.

What a dictionary explains of the variance says nothing about what the network makes of it. So its
reconstruction is put back into the network, and what counts is measured there: gaps of the energy
within one problem and landscape (the energy itself carries a free offset), and the score. 1 is the network as
it is; 0 is the floor that is named.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from numpy.typing import NDArray
from torch import Tensor

from ired.instruments.core import states
from ired.instruments.core.energy_gap import centred
from ired.instruments.core.patching import DISTANCES, Replace, Spliced, blind_score
from ired.model.protocol import Energy


@dataclass(frozen=True)
class Situations:
    """Where splices are judged, in every landscape k of K.

    near: (K, P, M, d) states around the answers, at DISTANCES; noised: (K, P, d) noised answers;
    true gaps (K, P, M) and scores (K, P, d) are the whole network's.
    """

    near: Tensor
    noised: Tensor
    gaps: Tensor
    scores: Tensor


@torch.no_grad()
def situations(energy: Energy, A: Tensor, y0: Tensor, generator: torch.Generator) -> Situations:
    """For problems A (P, n, n) with answers y0 (P, d)."""
    prepared, near, noised, gaps, scores = energy.prepare(A), [], [], [], []
    for k in range(energy.schedule.K):
        at = [states.around(energy, y0, k, far, 2 if far else 1, generator) for far in DISTANCES]
        near.append(torch.cat(at, 1))
        noised.append(states.noised(energy, y0, k, 1, generator)[0][:, 0])
        gaps.append(centred(energy.energy(prepared, near[-1], k)))
        scores.append(energy.gradient(prepared, noised[-1], k))
    return Situations(*map(torch.stack, (near, noised, gaps, scores)))


@dataclass(frozen=True)
class Recovery:
    """How much of the network is left under a splice.

    gap_error, gap_floor (K, P): squared error of the energy gaps and their own squares, the error of
    any constant in place of the layer (zero or mean ablation: the gaps are 0 then);
    score_error, through_error, score_floor, score_size (K, P): squared error of the spliced energy's
    gradient, of the backward pass with the replacement taken as the identity, of the A-blind score,
    and the score's own square, the error of a constant.
    """

    gap_error: NDArray
    gap_floor: NDArray
    score_error: NDArray
    through_error: NDArray
    score_floor: NDArray
    score_size: NDArray

    def share(self, what: str) -> float:
        """1 − error/floor, errors of all landscapes and problems summed: "gap"; "score" and "through",
        against the A-blind score; or "score_of_constant", against no score at all."""
        error, floor = self.parts(what)
        return float(1 - error.sum() / floor.sum())

    def per_problem(self, what: str) -> tuple[NDArray, NDArray]:
        """Error and floor (P,), summed over landscapes: 1 minus the ratio of their means is the share."""
        error, floor = self.parts(what)
        return error.sum(0), floor.sum(0)

    def by_landscape(self, what: str) -> NDArray:
        """(K,)"""
        error, floor = self.parts(what)
        return 1 - error.sum(1) / floor.sum(1)

    def parts(self, what: str) -> tuple[NDArray, NDArray]:
        return {
            "gap": (self.gap_error, self.gap_floor),
            "score": (self.score_error, self.score_floor),
            "through": (self.through_error, self.score_floor),
            "score_of_constant": (self.score_error, self.score_size),
        }[what]


def recovery(energy: Energy, layer: str, replace: Replace, A: Tensor, at: Situations) -> Recovery:
    """The splice of `replace` into `layer`, judged on problems A (P, n, n)."""
    spliced = Spliced(energy, layer, replace)
    prepared, rows = energy.prepare(A), []
    for k in range(energy.schedule.K):
        with torch.no_grad():
            gaps = centred(spliced.energy(prepared, at.near[k], k))
        score = spliced.gradient(prepared, at.noised[k], k)
        through = spliced.gradient(prepared, at.noised[k], k, through=True)
        blind = blind_score(energy, at.noised[k], at.scores[k])
        rows.append(
            [
                (gaps - at.gaps[k]).pow(2).sum(1),
                at.gaps[k].pow(2).sum(1),
                *((v - at.scores[k]).pow(2).sum(1) for v in (score, through, blind, torch.zeros_like(blind))),
            ]
        )
    return Recovery(*(states.array(torch.stack(column)) for column in zip(*rows, strict=True)))
