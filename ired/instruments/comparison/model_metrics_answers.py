"""Accuracy, sensitivity and SPD geometry of answers: how right they are, what they hang on, how they miss.

What a sampler returns, (B, d), is `scale` times the answers at noise zero (the release leaves √ᾱ_0 in them).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from ired.instruments.accuracy import linear_surrogate
from ired.instruments.accuracy.metrics import affine_share
from ired.instruments.attribution import exact_sensitivity
from ired.instruments.core import states, trajectories
from ired.instruments.core.sampler import Sampler
from ired.instruments.core.states import array, symmetric
from ired.instruments.eigen_decomposition import eigen_exchange, eigen_split, study as eigen_study
from ired.instruments.geometry import answer_errors, metrics
from ired.instruments.transfer import ood_detection
from ired.model.protocol import Energy

Family = tuple[Tensor, Tensor, Tensor]  # A (N, n, n), Y (N, n, n), start (N, d)

TEST, HARDER = "test", "harder"
ROWS = 2048  # problems sampled at once
ENTRIES = ((0, 0), (0, 1))  # of the score: one on the diagonal, one beside it
LIFTED = 0.1  # of the answers' smallest eigenvalue: the least one that a lifted matrix has


# Accuracy


@torch.no_grad()
def sampled_states(
    energy: Energy,
    sampler: Sampler,
    A: Tensor,
    start: Tensor,
    inner_steps: int | None,
    dtype: torch.dtype,
) -> Tensor:
    """What the sampler returns, (N, d), in float64; sampled in `dtype`, in parts."""
    parts = zip(A.to(dtype).split(ROWS), start.to(dtype).split(ROWS), strict=True)
    return torch.cat([sampler(energy, a, s, inner_steps=inner_steps) for a, s in parts]).to(A)


def answer_accuracy(
    energy: Energy, sampler: Sampler, families: Mapping[str, Family], dtype: torch.dtype
) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Errors of answers in every family at no inner steps and at the sampler's own, and what of those
    of the family TEST is affine in A. Also the states (N, d) that the sampler returned, by family."""
    A, _, start = map(torch.cat, zip(*families.values(), strict=True))  # sampled together
    counts, numbers, states = [len(family[0]) for family in families.values()], {}, {}
    for label, steps in (("mse_denoised", 0), ("mse", None)):
        walked = sampled_states(energy, sampler, A, start, steps, dtype).split(counts)
        states = dict(zip(families, walked, strict=True))
        for name, (_, Y, _) in families.items():
            error = ood_detection.squared_errors(energy.coordinates.decode(states[name]), Y)["mse"]
            numbers[f"accuracy.{label}.{name}"] = float(error.mean())
    A, Y, _ = families[TEST]
    share = affine_share(A, energy.coordinates.decode(states[TEST]), Y)
    left = share.unexplained.mean() / max(share.total.mean(), np.finfo(float).tiny)
    numbers["accuracy.affine"] = float(1 - left)
    numbers["accuracy.recovered"] = float(share.gained.mean() / share.missed.mean())
    return numbers, states


# Attribution


def sensitivity(
    energy: Energy,
    sampler: Sampler,
    A: Tensor,
    few: int,
    rows: int,
    scale: float,
    stream: Callable[[str], torch.Generator],
) -> dict[str, float]:
    """Derivatives of the score at k = 0, and of sampled answers of the first `few` problems, by A (P,
    n, n), beside the exact ones; `rows` samples at once, whose steps autograd keeps."""

    def answer(A: Tensor, start: Tensor) -> Tensor:
        return sampler(energy, A, start, differentiable=True) / scale

    start = states.noise(energy, few, generator=stream("jacobians"), like=A)
    tables = {
        "score": exact_sensitivity.gradient_agreement({"own": energy}, A, (0,), ENTRIES, stream("gradients")),
        "answers": exact_sensitivity.jacobian_agreement({"own": answer}, energy, A[:few], start, rows),
    }
    numbers = {}
    for what, table in tables.items():
        numbers[f"attribution.{what}_cosine"] = float(table["cosine"].mean())
        numbers[f"attribution.{what}_other"] = float(table["shuffled"].mean())
        numbers[f"attribution.{what}_slope"] = float(table["slope"].mean())
    return numbers


# Geometry


@torch.no_grad()
def geometry(
    energy: Energy,
    sampler: Sampler,
    A: Tensor,
    Y: Tensor,
    start: Tensor,
    draws: int,
    scale: float,
    generator: torch.Generator,
) -> dict[str, float]:
    """Of answers to A (P, n, n) with inverses Y from starts (P, d), and of the way to them; beside
    `draws` of noise of equal size each."""
    path = trajectories.record(sampler, energy, A, start)
    answers = energy.coordinates.decode(path.end / scale)
    frame = eigen_split.Frame.of(Y)
    blur = states.noise(energy, draws, len(A), generator=generator, like=A)
    blur = symmetric(blur.unflatten(-1, A.shape[1:]))
    M = symmetric(answers)
    noise = answer_errors.matched_noise(Y, M, blur)
    far = (answer_errors.spd_distances(each, Y)["affine-invariant"] for each in (M, noise))
    floor = LIFTED * float(frame.values[:, 0].min())
    metric = metrics.METRICS["affine-invariant"]
    lifted = (array(metric.distance(*torch.broadcast_tensors(Y, metrics.nearest(each, floor)))) for each in (M, noise))
    parts = eigen_split.eigen_parts(frame, answers - Y).array()
    swap = eigen_exchange.swap(frame, Y, answers)
    first = eigen_study.Walk.of(path.clean(energy), frame, Y).halving()
    sooner = np.sign(first["spectrum"] - first["directions"])
    return {
        "geometry.definite": float(answer_errors.departure(answers).definite.mean()),
        "geometry.asymmetry": float(answer_errors.departure(answers).asymmetry.mean()),
        "geometry.nearer": float(answer_errors.compare_with_noise(*far).wins.mean()),
        "geometry.distance_ratio": float(np.exp(answer_errors.compare_with_noise(*lifted).log_ratio.mean())),
        "geometry.eigenvalue_share": float(parts.eigenvalue.sum() / parts.symmetric.sum()),
        "geometry.spectrum_error": float(swap.values_error.mean() / eigen_exchange.blind_values_error(frame).mean()),
        "geometry.directions_error": float(
            swap.vectors_error.mean() / eigen_exchange.random_vectors_error(frame).mean()
        ),
        "geometry.directions_first": float(sooner.mean()),
    }


# Sanity


@torch.no_grad()
def alarm(energy: Energy, usual: tuple[Tensor, Tensor], odd: tuple[Tensor, Tensor]) -> float:
    """AUROC of the energy in k = 0 at given answers, problems A (N, n, n) and answers (N, d) at noise
    zero: the probability that an odd problem's is the higher one."""
    energies = [array(energy.energy(energy.prepare(A), states.centre(energy, y, 0), 0)) for A, y in (usual, odd)]
    same, shifted = ({"energy": values} for values in energies)
    return float(ood_detection.aurocs(same, shifted).estimate[0])


@torch.no_grad()
def linear_shares(energy: Energy, A: Tensor, y: Tensor, generator: torch.Generator) -> dict[str, float]:
    """Shares of the variance of answers y (N, d) at noise zero to A (N, n, n) that affine maps of A and
    of [A, A²] explain, and of the score's at k = 0 that one of [A, y] explains; cross-fitted."""
    to_basis, fold = energy.coordinates.to_basis, linear_surrogate.alternating_folds(len(A))
    state = states.noised(energy, states.answers(energy, A), 0, 1, generator)[0][:, 0]
    score = to_basis(energy.gradient(energy.prepare(A), state, 0))
    cases = {
        "linear_answers": (linear_surrogate.surrogate_features(A, "A"), to_basis(y)),
        "quadratic_answers": (linear_surrogate.surrogate_features(A, "A, A²"), to_basis(y)),
        "linear_score": (linear_surrogate.surrogate_features(A, "A, y", to_basis(state)), score),
    }
    shares = {}
    for name, (X, T) in cases.items():
        explained = linear_surrogate.Explained.of(X, T, fold)
        size = explained.total.mean()
        shares[f"sanity.{name}"] = float(1 - explained.unexplained.mean() / size) if size > 0 else 0.0
    return shares


def sanity(
    energy: Energy,
    families: Mapping[str, Family],
    states: Mapping[str, Tensor],
    count: int,
    scale: float,
    generator: torch.Generator,
) -> dict[str, float]:
    """Of the first `count` problems of TEST and HARDER and what the sampler returned there."""
    usual, odd = ((families[f][0][:count], states[f][:count] / scale) for f in (TEST, HARDER))
    return {"sanity.alarm": alarm(energy, usual, odd)} | linear_shares(energy, *usual, generator)
