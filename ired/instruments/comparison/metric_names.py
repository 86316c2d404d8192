"""Names of a portrait's metrics: what they are called, what they mean and which way is better."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

LOWER, HIGHER, NEITHER = "lower", "higher", "neither"


@dataclass(frozen=True)
class Metric:
    """phase: whose instrument measures it; unit: "" for shares and ratios; better: LOWER, HIGHER or
    NEITHER, in which case the meaning says what an ideal landscape has."""

    phase: int
    meaning: str
    unit: str
    better: str


METRICS: dict[str, Metric] = {
    "accuracy.affine": Metric(0, "share of the answers' variance that an affine map of A explains", "", NEITHER),
    "accuracy.recovered": Metric(
        0, "share of what an affine map of A misses of the truth that the answers have", "", HIGHER
    ),
    "landscape.convexity": Metric(
        1, "share of segments between noised answers that are midpoint convex, k = 0", "", HIGHER
    ),
    "landscape.sharpness": Metric(1, "mean curvature × σ at the answer, k = 0 (ideal: 1)", "1/σ", NEITHER),
    "landscape.radius": Metric(
        1, "distance at which the energy has risen as the ideal one does at 1, k = 0", "noise radii", NEITHER
    ),
    "landscape.wrong_costs_more": Metric(
        1, "share of other problems' answers with higher energy than the right one, k = 0", "", HIGHER
    ),
    "landscape.curvature": Metric(
        1, "mean curvature × σ at noised answers, symmetric directions, k = 0 (ideal: 1)", "1/σ", NEITHER
    ),
    "landscape.anisotropy": Metric(
        1, "distance of the Hessian to the best multiple of I, by its size, at noised answers, k = 0", "", LOWER
    ),
    "landscape.negative": Metric(1, "share of negative Hessian eigenvalues at noised answers, k = 0", "", LOWER),
    "landscape.condition": Metric(
        1, "log₁₀ of the Hessian's largest eigenvalue over the smallest, in size, at noised answers, k = 0", "", LOWER
    ),
    "landscape.algebraic": Metric(
        1,
        "cosine of the Hessian to A² ⊗ I, multiples of I out of both, at noised answers, k = 0 (ideal: 0)",
        "",
        NEITHER,
    ),
    "landscape.cosine_home": Metric(
        1, "cosine of −∇E to the way to the answer, one noise radius away, k = 0", "", HIGHER
    ),
    "landscape.score_error": Metric(
        1, "score's squared error by that of the best multiple of y, which never sees A, k = 0", "", LOWER
    ),
    "landscape.offset": Metric(1, "log₁₀ of the energy's size at the answer, k = 0 (ideal: none)", "σ", NEITHER),
    "landscape.score_size": Metric(
        1, "size of ∇E at noised answers per direction, k = 0 (ideal: 1; dead: 0)", "", NEITHER
    ),
    "landscape.nearest_minimum": Metric(
        1,
        "distance of the nearest minimum to the answer, at most that of the farthest start, k = 0",
        "noise radii",
        LOWER,
    ),
    "landscape.lowest_is_nearest": Metric(
        1, "share of problems whose nearest minimum is the lowest one found, k = 0", "", HIGHER
    ),
    "landscape.minima": Metric(1, "distinct minima that descents found (a lower bound), k = 0 (ideal: 1)", "", LOWER),
    "landscape.minimum_found": Metric(1, "share of problems where descents found a minimum, k = 0", "", HIGHER),
    "landscape.basin": Metric(1, "share of descents that end in the minimum nearest to the answer, k = 0", "", HIGHER),
    "landscape.escaped": Metric(1, "share of descents given up far away, still descending, k = 0", "", LOWER),
    "landscape.unconverged": Metric(1, "share of descents that ended without a vanishing gradient, k = 0", "", LOWER),
    "attribution.score_cosine": Metric(3, "cosine of the score's derivative by A to the exact one, k = 0", "", HIGHER),
    "attribution.score_other": Metric(
        3, "cosine of the score's derivative by A to another problem's exact one, k = 0", "", NEITHER
    ),
    "attribution.score_slope": Metric(
        3, "score's derivative by A along the exact one, by its size, k = 0 (ideal: 1)", "", NEITHER
    ),
    "attribution.answers_cosine": Metric(3, "cosine of the answers' Jacobian by A to dY = −Y dA Y", "", HIGHER),
    "attribution.answers_other": Metric(
        3, "cosine of the answers' Jacobian by A to another problem's exact one", "", NEITHER
    ),
    "attribution.answers_slope": Metric(
        3, "answers' Jacobian by A along the exact one, by its size (ideal: 1)", "", NEITHER
    ),
    "geometry.definite": Metric(4, "share of answers that are positive definite", "", HIGHER),
    "geometry.asymmetry": Metric(4, "antisymmetric part of the answers, by their size", "", LOWER),
    "geometry.nearer": Metric(
        4,
        "share of noise of equal size that answers are nearer to the truth than, affine-invariant (chance: 1/2)",
        "",
        HIGHER,
    ),
    "geometry.distance_ratio": Metric(
        4,
        "affine-invariant distance of answers to the truth by that of noise of equal size, small eigenvalues lifted",
        "",
        LOWER,
    ),
    "geometry.eigenvalue_share": Metric(
        4, "eigenvalue part of the squared error, first order (isotropic noise: 2/(n+1))", "", NEITHER
    ),
    "geometry.spectrum_error": Metric(4, "squared error of the eigenvalues by that of the mean spectrum", "", LOWER),
    "geometry.directions_error": Metric(4, "squared error of the eigenvectors by that of random ones", "", LOWER),
    "geometry.directions_first": Metric(
        4,
        "share of problems whose eigenvectors are half right before the eigenvalues, less the share of the opposite",
        "",
        NEITHER,
    ),
    "sanity.alarm": Metric(
        6, "AUROC of the energy at the answer, harder problems against test (chance: 1/2)", "", HIGHER
    ),
    "sanity.linear_answers": Metric(
        6, "share of the answers' variance that ridge regression on A explains", "", NEITHER
    ),
    "sanity.quadratic_answers": Metric(
        6, "share of the answers' variance that ridge regression on A and A² explains", "", NEITHER
    ),
    "sanity.linear_score": Metric(
        6, "share of the score's variance that ridge regression on A and y explains, k = 0", "", NEITHER
    ),
    "equivariance.rotated_gap": Metric(
        6, "error of energy gaps when problem and state are rotated, by their size, k = 0", "", LOWER
    ),
    "equivariance.rotated_score": Metric(
        6, "error of the score when problem and state are rotated, by its size, k = 0", "", LOWER
    ),
    "equivariance.rotated_answer": Metric(
        6, "error of answers when problem and start are rotated, by the truth's spread", "", LOWER
    ),
    "equivariance.permuted_gap": Metric(
        6, "error of energy gaps when axes are permuted and turned round, by their size, k = 0", "", LOWER
    ),
    "equivariance.permuted_score": Metric(
        6, "error of the score when axes are permuted and turned round, by its size, k = 0", "", LOWER
    ),
    "equivariance.permuted_answer": Metric(
        6, "error of answers when axes are permuted and turned round, by the truth's spread", "", LOWER
    ),
}
"""By name, but for the errors in every family of problems, which `metrics` adds."""


def metrics(families: Iterable[str]) -> dict[str, Metric]:
    """All metrics of a portrait with answers in these families of problems."""
    errors = {}
    for family in families:
        names = f"accuracy.mse.{family}", f"accuracy.mse_denoised.{family}"
        errors[names[0]] = Metric(0, f"sampled MSE per entry, {family}", "", LOWER)
        errors[names[1]] = Metric(0, f"MSE per entry, sampled without descent, {family}", "", LOWER)
    return errors | METRICS
