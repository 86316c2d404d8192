"""Counterfactual pairs: situations that differ in one thing only, in closed form from a problem's eigenvectors.

What a network makes of "this matrix is nearly singular" is seen where two problems are alike but for
that (Vig et al. 2020, "Investigating gender bias in language models using causal mediation analysis",
arXiv 2004.12265: the swap-gender intervention). A pair is a problem as it was drawn, from the half
that has less of the property, and the same one with the property moved up to a high quantile of the
problems drawn, so that both lie where the network was trained. Some things cannot be held:

concept            moved                              held                              follows
near_singular      smallest eigenvalue                all others, eigenvectors          κ, log-det
large_norm         A times a number                   κ, eigenvectors, diagonal share   spectrum, log-det
ill_conditioned    largest eigenvalue, the middle     norm, smallest eigenvalue,        log-det, trace
                   ones pushed down                   eigenvectors
dominant_diagonal  eigenvectors turned to the axes    spectrum, and all it decides      entries
noisy_answer       the state's distance               problem, direction of the noise   -
correct_answer     whose answer the state is near     problem, noise                    -
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ired.instruments.core import states as points
from ired.instruments.core.directions import OF_STATES
from ired.model.protocol import Energy

# Each concept of a matrix: the property that is moved, and the sign in which the concept grows.
MOVED = {
    "near_singular": ("log_smallest", -1),
    "large_norm": ("log_norm", 1),
    "ill_conditioned": ("log_condition", 1),
    "dominant_diagonal": ("diagonal_share", 1),
}
HELD = {
    "near_singular": ("log_largest",),
    "large_norm": ("log_condition", "diagonal_share"),
    "ill_conditioned": ("log_norm", "log_smallest"),
    "dominant_diagonal": (
        "log_condition",
        "log_smallest",
        "log_largest",
        "log_norm",
        "log_determinant",
        "trace",
    ),
}
# How far from the answer a clean and a noisy state are, in noise radii (1 is what training shows).
NEAR, FAR = 0.5, 1.5
# A pair differs by at least so many standard deviations of the property; determinants stay above this
# quantile of those drawn.
LEAST, LOWEST = 0.1, 0.05
_HALVINGS = 50


@dataclass(frozen=True)
class CounterfactualPairs:
    """P problems without and with more of a concept: base and changed (P, n, n), float64;
    quantile_base and quantile_changed (P,): where their property lies among the problems drawn."""

    concept: str
    base: Tensor
    changed: Tensor
    quantile_base: NDArray
    quantile_changed: NDArray

    def columns(self) -> dict[str, Any]:
        """Tidy columns, a row a pair."""
        return {
            "concept": [self.concept] * len(self.base),
            "pair": np.arange(len(self.base)),
            "quantile_base": self.quantile_base,
            "quantile_changed": self.quantile_changed,
        }


def matrix_properties(A: Tensor) -> dict[str, Tensor]:
    """Properties of symmetric positive definite matrices (P, n, n), each (P,); diagonal_share is the
    part of ‖A‖² that stands on the diagonal."""
    spectrum = torch.linalg.eigvalsh(A)
    diagonal = A.diagonal(dim1=-2, dim2=-1).pow(2).sum(-1)
    return {
        "log_condition": (spectrum[:, -1] / spectrum[:, 0]).log(),
        "log_smallest": spectrum[:, 0].log(),
        "log_largest": spectrum[:, -1].log(),
        "log_norm": spectrum.norm(dim=1).log(),
        "log_determinant": spectrum.log().sum(1),
        "trace": spectrum.sum(1),
        "diagonal_share": diagonal / A.pow(2).sum((-2, -1)),
    }


def problem_pairs(pool: Tensor, concept: str, count: int, quantile: float = 0.9) -> CounterfactualPairs:
    """`count` problems of the pool (N, n, n) that have less of the concept than its median, and their
    twins, in which it stands at this quantile of the pool, or as near as the pool allows.

    Raises ValueError where the concept is none of MOVED or the pool has too few such problems.
    """
    if concept not in MOVED:
        raise ValueError(f"no pairs of problems are made for '{concept}': {', '.join(MOVED)}")
    pool = pool.double()
    (name, sign), drawn = MOVED[concept], matrix_properties(pool)
    values = sign * drawn[name]
    rows = (values < values.median()).nonzero()[:, 0]
    base = pool[rows]
    changed = MOVES[concept](base, sign * values.quantile(quantile), drawn)
    after = sign * matrix_properties(changed)[name]
    moved = (after > values[rows] + LEAST * values.std()).nonzero()[:count, 0]
    if len(moved) < count:
        raise ValueError(f"{count} pairs of {concept} need a pool of more than {len(pool)} problems")
    ranked = points.array(values.sort().values)
    # A little lower, as a quantile that was aimed at is met up to rounding.
    places = [np.searchsorted(ranked, points.array(v[moved]) - 1e-9) / len(ranked) for v in (values[rows], after)]
    return CounterfactualPairs(concept, base[moved], changed[moved], *places)


def less_regular(A: Tensor, log_smallest: Tensor) -> Tensor:
    """The smallest eigenvalue set to this, all else as it is. ‖A‖² changes by the difference of the
    squares of two small numbers."""
    spectrum, Q = torch.linalg.eigh(A)
    spectrum[:, 0] = log_smallest.exp()
    return _with(Q, spectrum)


def larger(A: Tensor, log_norm: Tensor) -> Tensor:
    """A times a number."""
    return A * (log_norm.exp() / A.norm(dim=(-2, -1)))[:, None, None]


def worse_conditioned(A: Tensor, log_condition: Tensor, log_determinant: Tensor) -> Tensor:
    """λ_max raised to κ·λ_min at equal λ_min and ‖A‖: those between become λ_min (λ_i/λ_min)^b with the
    b < 1 that keeps the norm. As far towards κ as the norm allows, and as the determinant, which falls
    fast, stays above this. (At equal determinant instead, λ_min would fall below all that are drawn.)
    Raises ValueError for n < 3, where nothing lies between."""
    if A.shape[-1] < 3:
        raise ValueError("condition numbers at equal norm and smallest eigenvalue need n ≥ 3")
    spectrum, Q = torch.linalg.eigh(A)
    low, top, square = spectrum[:, :1], spectrum[:, -1:], spectrum.pow(2).sum(1, keepdim=True)
    ratio, log_ratio = (spectrum[:, 1:-1] / low).log(), (top / low).log()

    def stretched(t: Tensor) -> Tensor:
        """Spectra with κ a part t of the way; of larger norm where none keeps it."""
        raised = low * (log_ratio + t * (log_condition - log_ratio)).exp()

        def too_large(b: Tensor) -> Tensor:
            middle = (low * (b * ratio).exp()).pow(2).sum(1, keepdim=True)
            return middle + low**2 + raised**2 > square

        b = _bisect(too_large, torch.zeros_like(low))
        return torch.cat([low, low * (b * ratio).exp(), raised], 1)

    def too_far(t: Tensor) -> Tensor:
        spectra = stretched(t)
        kept = spectra.norm(dim=1) <= spectrum.norm(dim=1) * (1 + 1e-12)
        return ~(kept & (spectra.log().sum(1) >= log_determinant))[:, None]

    t = _bisect(too_far, torch.zeros_like(low))
    return _with(Q, torch.where(t > 0, stretched(t), spectrum))


def nearer_diagonal(A: Tensor, diagonal_share: Tensor) -> Tensor:
    """The eigenvectors turned towards the nearest permutation of the axes, until this part of ‖A‖²
    stands on the diagonal: the orthogonal factor of (1 − t) Q + t P."""
    from scipy.optimize import linear_sum_assignment

    spectrum, Q = torch.linalg.eigh(A)
    axes = [linear_sum_assignment(-q)[1] for q in points.array(Q.abs())]
    P = torch.nn.functional.one_hot(torch.from_numpy(np.stack(axes)), Q.shape[-1]).to(Q)
    # The sign of an eigenvector is free: on the side of its axis. Without a reflection between Q and P
    # there is a way from one to the other; where one is left, the least certain sign gives way.
    nearness = (Q * P).sum(1)
    Q = Q * nearness.sign()[:, None]
    mirrored = torch.linalg.det(Q.mT @ P) < 0
    last = torch.nn.functional.one_hot(nearness.abs().argmin(1), Q.shape[-1]).to(Q)
    Q = Q * (1 - 2 * last * mirrored[:, None])[:, None]

    def turned(t: Tensor) -> Tensor:
        U, _, V = torch.linalg.svd((1 - t[..., None]) * Q + t[..., None] * P)
        return _with(U @ V, spectrum)

    def too_large(t: Tensor) -> Tensor:
        return (matrix_properties(turned(t))["diagonal_share"] > diagonal_share)[:, None]

    return turned(_bisect(too_large, torch.zeros_like(spectrum[:, :1])))


MOVES: dict[str, Callable[[Tensor, Tensor, Mapping[str, Tensor]], Tensor]] = {
    "near_singular": lambda A, target, drawn: less_regular(A, target),
    "large_norm": lambda A, target, drawn: larger(A, target),
    "ill_conditioned": lambda A, target, drawn: worse_conditioned(A, target, drawn["log_determinant"].quantile(LOWEST)),
    "dominant_diagonal": lambda A, target, drawn: nearer_diagonal(A, target),
}


def state_pairs(
    energy: Energy, y0: Tensor, landscape: int, concept: str, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """States of problems with answers y0 (P, d) in a landscape, with less and more of one of OF_STATES.

    noisy_answer: NEAR and FAR noise radii from the answer, in one random direction; correct_answer:
    the answer of the next problem and one's own, with the same noise.
    """
    if concept not in OF_STATES:
        raise ValueError(f"no pairs of states are made for '{concept}': {', '.join(OF_STATES)}")
    home = points.centre(energy, y0, landscape)
    if concept == "noisy_answer":
        u = points.unit_directions(energy, len(y0), generator=generator, like=y0)
        radius = points.noise_radius(energy, landscape)
        return home + NEAR * radius * u, home + FAR * radius * u
    noise = points.noise(energy, len(y0), generator=generator, like=y0)
    noise = points.sigma(energy, landscape) * noise
    return home.roll(1, 0) + noise, home + noise


def differences(pool: Tensor, pairs: CounterfactualPairs) -> dict[str, list]:
    """How much every property differs within pairs, in standard deviations of the pool: tidy columns.

    difference: mean of changed − base; size: mean of |changed − base|; role: "moved", "held", or
    "follows" from what was moved.
    """
    drawn, base, changed = (matrix_properties(A.double()) for A in (pool, pairs.base, pairs.changed))
    moved = MOVED[pairs.concept][0]
    rows: dict[str, list] = {name: [] for name in ("concept", "property", "role", "difference", "size")}
    for name, values in drawn.items():
        gap = (changed[name] - base[name]) / values.std()
        held = "held" if name in HELD[pairs.concept] else "follows"
        row = (pairs.concept, name, "moved" if name == moved else held, gap.mean().item(), gap.abs().mean().item())
        for column, value in zip(rows.values(), row, strict=True):
            column.append(value)
    return rows


def _with(Q: Tensor, spectrum: Tensor) -> Tensor:
    A = (Q * spectrum[:, None, :]) @ Q.mT
    return (A + A.mT) / 2


def _bisect(too_large: Callable[[Tensor], Tensor], low: Tensor) -> Tensor:
    """The largest x (P, 1) between low and 1 that is not too large, up to 2⁻⁵⁰."""
    high = torch.ones_like(low)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        over = too_large(middle)
        low, high = torch.where(over, low, middle), torch.where(over, middle, high)
    return low
