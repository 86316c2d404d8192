"""Fingerprints for representational similarity: what is taken of one model so that it can be held against another.

Every model is asked on the same fresh problems, states, noise, starts and random directions (`FingerprintGround`):

gaps          energies of states around the answers, in every landscape
attributions  how the score of landscape 0 follows small changes of A (central differences)
errors        sampled answers less the true ones, from the same starts

which exist for every energy, and where there are layers fc1 to fc3

features      codes of one shortly trained TopK dictionary a layer on common tokens, and those of random
              dictionaries of the activations' covariance (P6-01's instrument)
directions    of every concept, layer and chosen landscape: its direction (partialled pattern of matched
              pairs, as in P3-02), how well it tells held-out pairs apart, and its signed effects: on
              the concept's property in sampled answers (moved along in that layer, P3-04), and on the
              gap of the energy to the answer (the mean derivative along it, P3-02's TCAV)

The same work gives numbers of each model alone, `METRICS`. Nothing here is a new method: it is the
instruments of Phases 2, 3, 5 and 6 at small sizes, treated alike for all models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, TypeVar

import torch
from numpy.typing import NDArray
from pandas import DataFrame
from torch import Tensor

from ired.instruments.comparison import representation_layers
from ired.instruments.comparison.metric_names import HIGHER, LOWER, NEITHER, Metric
from ired.instruments.comparison.representation_inputs import TINY, FingerprintGround, Size, ground, problems_needed
from ired.instruments.comparison.representation_layers import MatchedCodes
from ired.instruments.core.energy_gap import centred
from ired.instruments.core.sampler import Sampler
from ired.instruments.core.states import array
from ired.instruments.robustness import rediscovery
from ired.instruments.robustness.rediscovery import LAYERS
from ired.instruments.sanity import findings_answers
from ired.model.protocol import Energy

__all__ = [
    "METRICS",
    "TINY",
    "Fingerprint",
    "FingerprintGround",
    "Size",
    "beyond_untrained",
    "fingerprint",
    "ground",
    "problems_needed",
]

Found = TypeVar("Found")


def _metrics() -> dict[str, Metric]:
    metrics = {
        "concepts.answers_beyond": Metric(
            3,
            "share of concept directions along which answers surely change in the concept, beyond random directions",
            "",
            NEITHER,
        ),
        "concepts.energy_beyond": Metric(
            3,
            "share of concept directions along which the energy gap changes beyond random CAVs (0.05 by chance)",
            "",
            NEITHER,
        ),
    }
    for layer in LAYERS:
        metrics |= {
            f"sae.{layer}.explained": Metric(
                2, f"variance within landscapes that a dictionary of {layer} explains", "", HIGHER
            ),
            f"sae.{layer}.gap": Metric(
                2, f"share of the energy gaps left with the dictionary in {layer}'s place", "", HIGHER
            ),
            f"sae.{layer}.score": Metric(2, "share of the score left so, beyond the A-blind one", "", HIGHER),
            f"sae.{layer}.l0": Metric(2, f"features of {layer} that fire on a token", "", NEITHER),
            f"sae.{layer}.dead": Metric(2, f"share of the features of {layer} that never fire", "", LOWER),
            f"concepts.{layer}.auroc": Metric(3, f"held-out AUROC of concept directions of {layer}", "", HIGHER),
            f"concepts.{layer}.answers": Metric(
                3,
                f"growth of the concept in answers, moved along its direction in {layer} by its spread",
                "deviations",
                HIGHER,
            ),
            f"concepts.{layer}.answers_size": Metric(
                3, f"the same, root mean square over directions of {layer}", "deviations", NEITHER
            ),
            f"concepts.{layer}.answers_random": Metric(
                3, f"the same of random directions of equal norm in {layer}", "deviations", NEITHER
            ),
            f"concepts.{layer}.energy_size": Metric(
                3,
                f"change of the energy gap along concept directions of {layer}, root mean square",
                "deviations",
                NEITHER,
            ),
            f"concepts.{layer}.energy_random": Metric(
                3, f"the same along CAVs of {layer} with random labels", "deviations", NEITHER
            ),
            f"layers.{layer}.disordered": Metric(
                5, f"share of pairs of states out of order with half of {layer} at its mean", "", NEITHER
            ),
        }
    return metrics


METRICS: dict[str, Metric] = _metrics()
"""Numbers of a model alone, which `Fingerprint.scalars` holds where there are layers."""
BEYOND: dict[str, Metric] = {
    f"sanity.{layer}.gap": Metric(
        6, f"gaps kept with the dictionary in {layer}'s place beyond those of an untrained network", "", HIGHER
    )
    for layer in LAYERS
}
"""What `beyond_untrained` adds."""


@dataclass(frozen=True)
class Fingerprint:
    """What was taken of one model, on P problems.

    gaps (K, P, M): energies, centred within each (landscape, problem); attributions (P, m, size):
    derivatives of the score at k = 0 along the ground's changes of A; errors (P, size): of sampled
    answers, basis coordinates; blind (K, P, M): centred ½‖y‖² of the same states, the bowl of a
    model that does not look at A. Where there are layers: codes by layer, fit (T,) the tokens that
    choose matches, directions (a row for each concept, layer, landscape: auroc, spread, answers,
    answers_random, energy, energy_random, and answers_beyond, energy_beyond: whether beyond random),
    scalars (`METRICS`). seconds by part.
    """

    gaps: NDArray
    attributions: NDArray
    errors: NDArray
    blind: NDArray
    codes: dict[str, MatchedCodes] = field(default_factory=dict)
    fit: Tensor | None = None
    directions: DataFrame | None = None
    scalars: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


@torch.no_grad()
def fingerprint(energy: Energy, ground: FingerprintGround, sampler: Sampler, size: Any) -> Fingerprint:
    """Of one model in float64."""
    seconds: dict[str, float] = {}

    def timed(part: str, made: Callable[[], Found]) -> Found:
        begin = perf_counter()
        result = made()
        seconds[part] = perf_counter() - begin
        return result

    taken = {
        "gaps": timed("landscape", lambda: ground_energies(energy, ground)),
        "attributions": timed("attributions", lambda: attributions(energy, ground)),
        "errors": timed("answers", lambda: answer_deviations(energy, ground, sampler)),
        "blind": array(centred(ground.near.pow(2).sum(-1) / 2)),
        "seconds": seconds,
    }
    if not layered(energy, ground):
        return Fingerprint(**taken)
    tokens = timed("tokens", lambda: rediscovery.ground_activations(energy, ground.layers))
    dictionaries = timed(
        "dictionaries",
        lambda: {layer: rediscovery.dictionary_of(x, ground.layers.tokens, size) for layer, x in tokens.items()},
    )
    matched = ground.layers.tokens.problem < size.matched
    codes = timed("codes", lambda: representation_layers.coded(tokens, dictionaries, matched, ground))
    table = timed("directions", lambda: representation_layers.concept_effects(energy, ground, sampler, size))
    scalars = timed("quality", lambda: representation_layers.kept(energy, tokens, dictionaries, ground, size))
    scalars |= timed("layers", lambda: representation_layers.damaged(energy, tokens, ground, sampler, size))
    return Fingerprint(
        **taken,
        codes=codes,
        fit=ground.layers.tokens.fit[matched],
        directions=table,
        scalars=scalars | representation_layers.concept_metrics(table),
    )


def layered(energy: Energy, ground: FingerprintGround) -> bool:
    """Whether there are layers fc1 to fc3 to look at."""
    activations = energy.activations(energy.prepare(ground.A[:1]), ground.y0[:1], 0)
    return all(layer in activations for layer in LAYERS)


def beyond_untrained(scalars: Mapping[str, float], untrained: Mapping[str, float]) -> dict[str, float]:
    """Numbers of BEYOND, of a model's scalars and of an untrained network's of the same widths; none
    where there are no layers."""
    if not scalars:
        return {}
    return {f"sanity.{layer}.gap": scalars[f"sae.{layer}.gap"] - untrained[f"sae.{layer}.gap"] for layer in LAYERS}


# Of every energy


def ground_energies(energy: Energy, ground: FingerprintGround) -> NDArray:
    """(K, P, M)"""
    prepared = energy.prepare(ground.A)
    return array(centred(torch.stack([energy.energy(prepared, y, k) for k, y in enumerate(ground.near)])))


def attributions(energy: Energy, ground: FingerprintGround) -> NDArray:
    """(P, m, size); by differences, so that nothing is asked of the energy but its gradient."""

    def score(energy: Energy, A: Tensor, y: Tensor) -> Tensor:
        return energy.gradient(A, y, 0).detach()

    return array(findings_answers.changes(energy, score, ground.A, ground.noised, ground.moves))


def answer_deviations(energy: Energy, ground: FingerprintGround, sampler: Sampler) -> NDArray:
    """(P, size)"""
    sampled = sampler(energy, ground.A, ground.start)
    return array(energy.coordinates.to_basis(sampled - ground.y0))
