"""Feature attribution (gradient × activation) and ablation: what single features of a dictionary do.

Effects are on *gaps*: E(y) − E(√ᾱ_k y₀) of one problem in one landscape, in units of σ_k. The energy
itself carries an offset c(A, k) larger than any gap, and what a feature adds to that says nothing. The
dictionary is put into the network with its error kept, h = decode(f) + (h − decode(encode(h))), so
that the energy stays the model's own and ∂E/∂f_i = ∂E/∂h · direction_i.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ired.instruments.core.states import array
from ired.instruments.dictionaries.sparse_autoencoder import Dictionary, DictionaryError
from ired.instruments.statistics.intervals import Interval, rank_correlation, ratio_interval, spearman_interval
from ired.model.protocol import Energy


@dataclass(frozen=True)
class Places:
    """T tokens with what their energy is compared to.

    A (T, n, n); y, reference (T, d): states and the answer's places √ᾱ_k y₀; k, problem (T,) long.
    """

    A: Tensor
    y: Tensor
    reference: Tensor
    k: Tensor
    problem: Tensor

    def split(self, size: int) -> list[Places]:
        parts = [value.split(size) for value in vars(self).values()]
        return [Places(*part) for part in zip(*parts, strict=True)]


def places(energy: Energy, A: Tensor, y0: Tensor, columns: Mapping[str, Tensor], chosen: Tensor) -> Places:
    """The tokens `chosen` of stored columns; A (P, n, n) and y0 (P, d) by number of problem."""
    problem, k, y = (columns[name][chosen].to(A.device) for name in ("problem", "landscape", "y"))
    problem, k, y = problem.long(), k.long(), y.to(A)
    reference = energy.schedule.at("sqrt_alpha_bar", k, y) * y0[problem]
    return Places(A=A[problem], y=y, reference=reference, k=k, problem=problem)


@dataclass(frozen=True)
class FeatureEffects:
    """What each of F features does to the gap, averaged over tokens, in units of σ_k.

    size: mean |effect|; signed: mean effect, above 0 where the feature raises the gap; halves
    (2, F): size on the tokens of even and of odd problems (None for ablations); rate: share of tokens
    that it fires on; together: mean |sum of all effects|; error: the same of what the dictionary leaves
    over, by gradient; error_share
    (2,): Σ‖h − decode‖²/Σ‖h − mean‖² at the states and at the answers' places.
    """

    size: NDArray
    signed: NDArray
    halves: NDArray | None = None
    rate: NDArray | None = None
    together: float = float("nan")
    error: float = float("nan")
    error_share: tuple[float, float] = (float("nan"), float("nan"))

    @property
    def reliability(self) -> float:
        """Rank correlation of the sizes on two halves of the problems, over features that fire."""
        return float(rank_correlation(*self.halves[:, self.rate > 0]))


def attribute_features(
    energy: Energy, layer: str, dictionary: Dictionary, at: Places, chunk: int = 1024
) -> FeatureEffects:
    """Gradient × activation of every feature: f_i ∂E/∂f_i at y minus the same at the reference."""
    dictionary, F = dictionary.to(at.y), dictionary.features
    total = torch.zeros(3, F).to(at.y)  # size of even problems, of odd ones; signed
    fired = torch.zeros(F).to(at.y)
    left, spread, together, error = np.zeros(2), np.zeros(2), 0.0, 0.0
    for part in at.split(chunk):
        sigma = energy.schedule.at("sigma", part.k, part.y)
        effects, errors = [], []
        for place, state in enumerate((part.y, part.reference)):
            h = energy.activations(part.A, state, part.k)[layer].detach().requires_grad_()
            with torch.enable_grad():
                E = energy.resume(layer, h, part.A, part.k).sum()
            (slope,) = torch.autograd.grad(E, h)
            h = h.detach()
            f = dictionary.encode(h)
            rest = h - dictionary.decode(f)
            left[place] += rest.pow(2).sum().item()
            spread[place] += (h - dictionary.mean).pow(2).sum().item()
            effects.append(f * (slope @ dictionary.directions.mT))
            errors.append((rest * slope).sum(1))
            fired += (f != 0).sum(0) if place == 0 else 0
        effect = (effects[0] - effects[1]) / sigma
        odd = (part.problem % 2 == 1)[:, None]
        total += torch.stack([(effect.abs() * ~odd).sum(0), (effect.abs() * odd).sum(0), effect.sum(0)])
        together += effect.sum(1).abs().sum().item()
        error += ((errors[0] - errors[1]) / sigma[:, 0]).abs().sum().item()
    count, odd = len(at.y), int((at.problem % 2).sum())
    even, odds, signed = array(total)
    return FeatureEffects(
        size=(even + odds) / count,
        signed=signed / count,
        halves=np.stack([even / max(1, count - odd), odds / max(1, odd)]),
        rate=array(fired) / count,
        together=together / count,
        error=error / count,
        error_share=tuple((left / spread.clip(np.finfo(float).tiny)).tolist()),
    )


@torch.no_grad()
def ablate(
    energy: Energy,
    layer: str,
    dictionary: Dictionary,
    at: Places,
    chosen: Tensor,
    chunk: int = 8192,
) -> FeatureEffects:
    """The exact effect of features `chosen` (m,): the gap minus the gap with f_i = 0 at both places.

    Only where a feature fires is there anything to evaluate: `chunk` such (token, feature) pairs
    at a time.
    """
    dictionary, chosen = dictionary.to(at.y), chosen.to(at.y.device)
    directions = dictionary.directions[chosen]
    size = signed = 0
    for part in at.split(1024):
        change = torch.zeros(len(part.y), len(chosen)).to(part.y)
        for sign, state in ((1, part.y), (-1, part.reference)):
            h = energy.activations(part.A, state, part.k)[layer]
            E, f = energy.resume(layer, h, part.A, part.k), dictionary.encode(h)[:, chosen]
            for t, i in zip(*(v.split(chunk) for v in f.nonzero(as_tuple=True)), strict=True):
                without = h[t] - f[t, i, None] * directions[i]
                gone = energy.resume(layer, without, part.A[t], part.k[t])
                change[t, i] += sign * (E[t] - gone)
        change /= energy.schedule.at("sigma", part.k, part.y)
        size, signed = size + change.abs().sum(0), signed + change.sum(0)
    return FeatureEffects(array(size) / len(at.y), array(signed) / len(at.y))


@dataclass(frozen=True)
class Agreement:
    """Do attributions say what ablations find? Intervals over the features compared.

    size, signed: rank correlations of mean |effect| and of mean effect; slope: of ablation over
    attribution, signed, through 0: 1 where the energy is linear in a feature, ½ where quadratic.
    """

    size: Interval
    signed: Interval
    slope: Interval


def agreement(attribution: FeatureEffects, ablation: FeatureEffects, chosen: NDArray) -> Agreement:
    """`ablation` of the features `chosen`, which are rows of `attribution`."""
    size, x, y = attribution.size[chosen], attribution.signed[chosen], ablation.signed
    return Agreement(spearman_interval(size, ablation.size), spearman_interval(x, y), ratio_interval(x * y, x * x))


def shortlist(effects: FeatureEffects, top: int, others: int, generator: torch.Generator) -> tuple[NDArray, NDArray]:
    """The `top` features by attribution, strongest first, and these followed by up to `others` of the
    rest, drawn at random, in no order; features whose effect is exactly 0 (dead ones) are left out,
    since they would agree with anything."""
    ranked = np.argsort(-effects.size, kind="stable")
    ranked = ranked[effects.size[ranked] > 0]
    if len(ranked) < 3:
        raise DictionaryError(
            f"{len(ranked)} of {len(effects.size)} features change the energy: there is nothing to rank"
        )
    rng = np.random.default_rng(int(torch.randint(2**31, (), generator=generator)))
    return ranked[:top], np.r_[ranked[:top], rng.permutation(ranked[top:])[:others]]
