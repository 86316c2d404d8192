"""Known answers of representational similarity: copies, equivalents, shuffled weights, chance."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from pandas import DataFrame
from torch import Tensor

from ired.instruments.attribution import exact_sensitivity
from ired.instruments.comparison import representation, similarity
from ired.instruments.comparison.representation import Fingerprint, FingerprintGround, Size
from ired.instruments.core import states
from ired.instruments.core.check import Check, compare
from ired.instruments.core.reference_energies import References
from ired.instruments.core.states import array
from ired.instruments.layers.known_answers_ablation import Chain, Upside, background_problems, walk
from ired.model.protocol import Energy

NAME = "consistency"
SHUFFLES = 4
FAR = 20.0  # no answer has larger entries, in any coordinates
SIZE = Size(
    problems=10,
    changes=10,
    natural=30,
    states=1,
    matched=30,
    sparsity=4,
    steps=6,
    batch=64,
    spliced=2,
    shown=160,
    pairs=25,
    caliper=1.5,
    landscapes=(0,),
    tried=4,
    draws=1,
    random=20,
)


def a_ground(energy: Energy, like: Tensor, size: Any, generator: torch.Generator) -> FingerprintGround:
    A = background_problems(like, representation.problems_needed(size), generator)
    values = torch.linalg.eigvalsh(A)
    known = {
        "condition_number": values[:, -1] / values[:, 0],
        "norm": A.norm(dim=(1, 2)),
        "smallest_eigenvalue": values[:, 0],
    }
    return representation.ground(energy, A, known, size, generator)


def remade(chain: Chain, W: list[Tensor], b: list[Tensor]) -> Chain:
    """A chain with these weights."""
    copy = Chain(chain, torch.Generator())
    copy.W, copy.b = list(W), list(b)
    return copy


def permuted_neurons(chain: Chain, generator: torch.Generator) -> Chain:
    """The same function: neurons of every hidden layer in another order."""
    other = remade(chain, chain.W, chain.b)
    for place in range(3):
        order = torch.randperm(len(chain.b[place]), generator=generator)
        other.W[place], other.b[place] = other.W[place][order], other.b[place][order]
        other.W[place + 1] = other.W[place + 1][:, order]
    return other


def shuffled_chain(chain: Chain, generator: torch.Generator) -> Chain:
    """The entries of every weight matrix in another order: nothing is left but their distribution."""
    return remade(
        chain, [W.flatten()[torch.randperm(W.numel(), generator=generator)].view_as(W) for W in chain.W], chain.b
    )


def check_consistency(references: References, generator: torch.Generator) -> list[Check]:
    """Copies are one, equivalents too, shuffled weights are told apart, chance is nothing."""
    ideal, algebraic, chain = references.ideal, references.algebraic, Chain(references.ideal, generator)
    ground = a_ground(ideal, references.A, SIZE, generator)

    # What was never trained would run away, until its units are saturated and no direction moves them.
    sampler = partial(walk, clip=FAR)

    def taken(energy: Energy) -> Fingerprint:
        return representation.fingerprint(energy, ground, sampler, SIZE)

    known, mlp = taken(ideal), taken(chain)
    other, thrice, upside = (taken(e) for e in (algebraic, Upside(ideal, 3.0), Upside(ideal, -1.0)))
    same = similarity.compare_fingerprints(mlp, taken(remade(chain, chain.W, chain.b)))
    order = similarity.compare_fingerprints(mlp, taken(permuted_neurons(chain, generator)))
    # In few dimensions one order of the weights may be like the own one by chance: a mean of several.
    mixed = np.mean(
        [similarity.compare_fingerprints(mlp, taken(shuffled_chain(chain, generator))).score for _ in range(SHUFFLES)]
    )
    scaled = similarity.compare_fingerprints(known, thrice)
    turned = similarity.compare_fingerprints(known, upside)
    return [
        *(
            Check(NAME, f"{part} of two copies", expected=1, measured=value, tolerance=1e-6)
            for part, value in same.raw.items()
        ),
        Check(NAME, "score of two copies", expected=1, measured=same.score, tolerance=1e-6),
        *(
            Check(NAME, f"{part} with neurons in another order", expected=1, measured=order.raw[part], tolerance=1e-6)
            for part in (*similarity.GENERAL, "directions")
        ),
        Check(NAME, f"score with weights shuffled, {SHUFFLES} times", expected=0, measured=mixed, tolerance=0.2),
        Check(
            NAME, "landscape of three times the energy", expected=1, measured=scaled.raw["landscape"], tolerance=1e-9
        ),
        Check(
            NAME,
            "attributions of three times the energy",
            expected=1,
            measured=scaled.raw["attributions"],
            tolerance=1e-6,
        ),
        Check(NAME, "landscape upside down", expected=-1, measured=turned.raw["landscape"], tolerance=1e-9),
        Check(NAME, "the same as a part", expected=0, measured=turned.parts["landscape"], tolerance=0),
        *_by_hand(references, ground, known, other),
        *_chance(known, generator),
    ]


def _by_hand(references: References, ground: FingerprintGround, known: Fingerprint, other: Fingerprint) -> list[Check]:
    """Two energies whose landscapes and derivatives are known."""
    c, k0 = references.ideal.coordinates, 0
    offsets = (
        ground.near
        - torch.stack([states.centre(references.ideal, ground.y0, k) for k in range(len(ground.near))])[:, :, None]
    )
    D = c.project(offsets).unflatten(-1, (c.n, c.n))
    bowls = [array(x.pow(2).sum((-2, -1))) for x in (D, ground.A[:, None] @ D)]
    bowls = [x - x.mean(-1, keepdims=True) for x in bowls]
    first, second = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in bowls)
    cosine = (first * second).sum(-1)
    slope = -states.centre(references.ideal, 1.0, k0) / states.sigma(references.ideal, k0)
    exact = slope * exact_sensitivity.exact_jacobian(references.ideal, ground.A)
    exact = array(torch.einsum("psij,mij->pms", exact, ground.moves))
    consistency, size = similarity.compare_fingerprints(known, other), np.abs(exact).max()
    return [
        compare(NAME, "ideal attributions", exact / size, known.attributions / size, 1e-4),
        Check(
            NAME,
            "landscape of ideal and algebraic",
            expected=cosine.mean(),
            measured=consistency.raw["landscape"],
            tolerance=1e-9,
        ),
        compare(NAME, "errors of ideal answers", 0, known.errors, 1e-8),
    ]


def _chance(known: Fingerprint, generator: torch.Generator) -> list[Check]:
    """Of planted numbers that have nothing in common."""

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    first, second = (
        replace(
            known,
            gaps=drawn(10, 100, 11).numpy(),
            attributions=drawn(400, 6, 6).numpy(),
            errors=drawn(400, 10).numpy(),
            blind=np.zeros((10, 100, 11)),
        )
        for _ in range(2)
    )
    consistency = similarity.compare_fingerprints(first, second)
    places = {"layer": np.repeat(["fc1", "fc2", "fc3"], 40), "landscape": 0}
    tables = [DataFrame(places | {"answers": drawn(120).numpy() + 5}) for _ in range(20)]
    effects = [
        similarity.direction_similarity(a, b, "answers") for a, b in zip(tables[::2], tables[1::2], strict=False)
    ]
    fit = torch.arange(400) < 200
    codes = [(drawn(400, 12) - 1).relu() for _ in range(2)]
    correlation = similarity.matched_correlation(*codes, fit)
    order = torch.randperm(12, generator=generator)
    attributions, answers = (consistency.raw[part] for part in ("attributions", "answers"))
    # Four standard deviations of a mean of so many independent cosines.
    return [
        Check(
            NAME,
            "landscape of independent gaps",
            expected=0,
            measured=consistency.raw["landscape"],
            tolerance=4 / 1e4**0.5,
        ),
        Check(
            NAME, "attributions of independent ones", expected=0, measured=attributions, tolerance=4 / (400 * 36) ** 0.5
        ),
        Check(NAME, "answers of independent errors", expected=0, measured=answers, tolerance=4 / 4000**0.5),
        Check(
            NAME,
            "effects of independent directions",
            expected=0,
            measured=float(np.mean(effects)),
            tolerance=4 / 1170**0.5,
        ),
        Check(
            NAME,
            "matched features of independent ones",
            expected=0,
            measured=correlation,
            tolerance=4 / (200 * 12) ** 0.5,
        ),
        Check(
            NAME,
            "features in another order",
            expected=1,
            measured=similarity.matched_correlation(codes[0], codes[0][:, order], fit),
            tolerance=1e-9,
        ),
    ]
