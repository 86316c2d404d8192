"""A layer's activations replaced by something else: what is left of energy, score and answers.

What a dictionary explains of the variance says nothing about what the network makes of it. So its
reconstruction is put back into the network, and what counts is measured there: gaps of the energy
within one problem and landscape (the energy itself carries a free offset), the score, and the sampled
inverse. 1 is the network as it is; 0 is the floor that is named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from ired.instruments.core import states
from ired.instruments.core.energy_gap import centred
from ired.model.protocol import Energy

Replace = Callable[[Tensor], Tensor]
# Where gaps are measured: noise radii away from the answer, in two random directions each.
DISTANCES = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0)


class Spliced:
    """An energy whose activations h (…, width) of one layer are replaced by replace(h), in all landscapes
    or in one.

    Offers the protocol but for Hessians; the gradient is that of the spliced energy, replacement
    included, by autograd.
    """

    def __init__(self, energy: Energy, layer: str, replace: Replace, landscape: int | None = None):
        self.inner, self.layer, self.replace, self.landscape = energy, layer, replace, landscape
        self.coordinates, self.schedule = energy.coordinates, energy.schedule

    def prepare(self, A: Any) -> Any:
        return self.inner.prepare(A)

    def energy(self, A: Any, y: Tensor, k: int | Tensor) -> Tensor:
        if self.landscape not in (None, k):
            return self.inner.energy(A, y, k)
        return self._energy(A, y, k, False)

    def replaced(self, h: Tensor, y: Tensor, k: int | Tensor) -> Tensor:
        """What the network goes on from, of its own activations h at states y in landscape k."""
        return self.replace(h)

    def _energy(self, A: Any, y: Tensor, k: int | Tensor, through: bool) -> Tensor:
        prepared = self.inner.prepare(A)
        activations = self.inner.activations(prepared, y, k)[self.layer]
        h = self.replaced(activations, y, k)
        if through:
            h = activations + (h - activations).detach()
        return self.inner.resume(self.layer, h, prepared, k)

    def energy_and_gradient(
        self, A: Any, y: Tensor, k: int | Tensor, through: bool = False
    ) -> tuple[Tensor, Tensor]:
        if self.landscape not in (None, k):
            return self.inner.energy_and_gradient(A, y, k)
        with torch.enable_grad():
            y = y.detach().requires_grad_()
            energy = self._energy(A, y, k, through)
            if not energy.requires_grad:  # what was replaced hides the state altogether
                return energy, torch.zeros_like(y)
            (gradient,) = torch.autograd.grad(energy.sum(), y, allow_unused=True, materialize_grads=True)
        return energy.detach(), gradient

    def gradient(self, A: Any, y: Tensor, k: int | Tensor, through: bool = False) -> Tensor:
        """With `through`, the replacement counts as the identity on the way back: the network's own
        backward pass, from where the replacement led."""
        return self.energy_and_gradient(A, y, k, through)[1]


def constant(value: Tensor) -> Replace:
    """The replacement of all activations by one vector (width,)."""
    return lambda h: value.to(h).expand_as(h)


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
        rows.append([
            (gaps - at.gaps[k]).pow(2).sum(1), at.gaps[k].pow(2).sum(1),
            *((v - at.scores[k]).pow(2).sum(1) for v in (score, through, blind, torch.zeros_like(blind))),
        ])  # fmt: skip
    return Recovery(*(
        torch.stack([row[i] for row in rows]).double().cpu().numpy() for i in range(6)
    ))  # fmt: skip


def blind_score(energy: Energy, y: Tensor, scores: Tensor) -> Tensor:
    """The best guess (P, d) of the scores (P, d) that does not look at A: a multiple of the state, the
    least-squares one. For answers that are small beside the noise it is y/σ_k."""
    y = energy.coordinates.project(y)
    return y * ((y * scores).sum() / y.pow(2).sum())


def recoveries(
    energy: Energy, layer: str, replacements: Mapping[str, Replace], A: Tensor, y0: Tensor,
    generator: torch.Generator,
) -> dict[str, Recovery]:
    """Many splices judged at the same places."""  # fmt: skip
    at = situations(energy, A, y0, generator)
    return {
        name: recovery(energy, layer, replace, A, at) for name, replace in replacements.items()
    }
