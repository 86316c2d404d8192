"""Known answers of attribution: what integrals, Shapley values and sensitivities are in closed form."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ired.instruments.attribution import exact_sensitivity, explainers, integrated_gradients, tables
from ired.instruments.attribution.integrated_gradients import Baseline, PathIntegrals, Target
from ired.instruments.core import states
from ired.instruments.core.check import Check, compare, relative, to_scale
from ired.instruments.core.reference_energies import Layered, References
from ired.instruments.core.states import symmetric

NAME = "attribution"


def check_attribution(references: References, generator: torch.Generator) -> list[Check]:
    """Integrated gradients, Shapley values, infidelity, shares and the exact sensitivity of the inverse."""
    ideal, A = references.ideal, references.A[:3]
    y0, n = states.answers(ideal, A), A.shape[-1]
    level = 4 + torch.rand(2, len(A), 1, 1, generator=generator, dtype=torch.float64)
    background = level.to(A) * torch.eye(n).to(A) + A.mean(0) / 4
    checks = []
    for k in references.landscapes[:2]:
        y = states.noised(ideal, y0, k, 1, generator)[0][:, 0]
        begins = integrated_gradients.baselines(ideal, k, A, mean=3.0, background=background, generator=generator)
        worst = [
            _missed(integrated_gradients.integrate(target, A, y, baseline=begins[begin], count=count))
            for energy, names, count in (
                (ideal, ("identity", "mean", "random"), 64),
                (references.algebraic, tuple(begins), 3),  # polynomials: few places are exact
            )
            for target in (integrated_gradients.gap(energy, k, y0), integrated_gradients.score_entry(energy, k, (0, 1)))
            for begin in names
        ]
        checks += [
            Check(NAME, f"incompleteness, k={k}", expected=0, measured=max(worst), tolerance=1e-6),
            *_integrals(ideal, k, A, y, y0),
        ]

    def inverted(A: Tensor, start: Tensor) -> Tensor:
        return ideal.coordinates.encode(torch.linalg.inv(A))

    exact = exact_sensitivity.exact_jacobian(ideal, A)
    by_autograd = exact_sensitivity.jacobian(ideal, inverted, A, y)
    N = torch.randn(n, n, generator=generator, dtype=torch.float64).to(A)
    near = [ideal.coordinates.to_basis(inverted(A + s * (N + N.mT), y)) for s in (1e-6, -1e-6)]
    slope = states.array(near[0] - near[1]) / 2e-6
    along = states.array((exact * (N + N.mT)).sum((2, 3)))
    checks += [
        relative(NAME, "Jacobian of the inverse", states.array(exact), states.array(by_autograd), 1e-9),
        relative(NAME, "differences of the inverse", slope, along, 1e-4),
    ]
    checks += _shapley(ideal, A, y, begins["mean"], generator)
    return checks + _methods(ideal, A, y, begins, generator)


def _missed(paths: PathIntegrals) -> float:
    """The largest |Σ attributions − change| over Σ|attributions|: where terms cancel, captum's float32
    weights leave more of the change itself than 1e-6."""
    terms = torch.cat([(g * s).flatten(2) for g, s in zip(paths.gradients, paths.steps, strict=True)], 2)
    return ((terms.sum(2) - paths.change).abs() / terms.abs().sum(2)).max().item()


def _integrals(ideal: Any, k: int, A: Tensor, y: Tensor, y0: Tensor) -> list[Check]:
    """Integrals along paths of the ideal energy that can be done by hand."""
    size = states.array
    home, sigma = states.centre(ideal, y0, k), states.sigma(ideal, k)
    # The same A with another state: the gap is a quadratic in y.
    other = Baseline("other", A[None], y.roll(1, 0)[None])
    paths = integrated_gradients.integrate(integrated_gradients.gap(ideal, k, y0), A, y, baseline=other, count=2)
    closed = (y - other.y[0]) * ((y + other.y[0]) / 2 - home) / sigma
    # From A/2 to A the inverse is Y/t, whose square averages to 2Y²: twice the plain gradient.
    entry = integrated_gradients.score_entry(ideal, k, (0, 1))
    half = Baseline("half", A[None] / 2, y[None])
    twice = integrated_gradients.integrate(entry, A, y, baseline=half, count=32).gradients[0][0]
    known = exact_sensitivity.exact_score_sensitivity(ideal, A, k, (0, 1))
    here = exact_sensitivity.gradients_by_problem(entry, A, y)
    layered = Layered(ideal)
    h = layered.activations(A, y, k)["fc1"]
    layer = integrated_gradients.integrate_layer(layered, "fc1", k, A=A, y=y, y0=y0, count=2)
    return [
        relative(NAME, f"ideal gap by y, k={k}", size(closed), size(paths.attributions()[1]), 1e-6),
        relative(NAME, f"ideal score by A, k={k}", size(known), size(here), 1e-9),
        relative(NAME, f"ideal score by A from A/2, k={k}", size(2 * known), size(symmetric(twice)), 1e-6),
        relative(NAME, f"gap by a layer, k={k}", size(h * h / (2 * sigma)), size(layer.attributions()[0]), 1e-6),
    ]


def _shapley(ideal: Any, A: Tensor, y: Tensor, begin: Baseline, generator: torch.Generator) -> list[Check]:
    """A sum gives every feature its term, a product of two gives each the half."""
    features, n, size = explainers.feature_masks(ideal), A.shape[-1], states.array
    few = tuple(f % 5 for f in features)
    weight = torch.randn(n, n, generator=generator, dtype=torch.float64).to(A)
    total = Target("sum", lambda A, y: (weight * A.pow(3)).sum((1, 2)) + y.pow(2).sum(1))
    terms = weight * (A.pow(3) - begin.A[0].pow(3)), y.pow(2) - begin.y[0].pow(2)
    checks = [
        to_scale(
            NAME,
            f"Shapley values of a sum, {how}",
            size(explainers.grouped(terms, f)),
            size(explainers.shapley(total, A, y, baseline=begin, features=f, samples=2, seed=0).values),
            within,
        )
        # captum keeps what it has sampled in float32.
        for how, f, within in (("exact", few, 1e-9), ("sampled", features, 1e-6))
    ]
    product = Target("product", lambda A, y: A[:, 0, 0] * A[:, 0, 1])
    zero = Baseline("zero", torch.zeros_like(A)[None], torch.zeros_like(y)[None])
    values = explainers.shapley(product, A, y, baseline=zero, features=few, samples=2, seed=0).values
    known = torch.zeros_like(values)
    known[:, :2] = (product(A, y) / 2)[:, None]
    return [*checks, compare(NAME, "Shapley values of a product", size(known), size(values), 1e-9)]


def _methods(ideal: Any, A: Tensor, y: Tensor, begins: dict[str, Baseline], generator: torch.Generator) -> list[Check]:
    """A linear function hides nothing from its gradient; an eigenvalue's quadratic form lies in one
    eigen-direction; a planted direction leads."""
    size = states.array
    w = ideal.coordinates.project(torch.randn(y.shape[1], generator=generator, dtype=y.dtype).to(y))
    linear = Target("linear", lambda A, y: A.sum((1, 2)) + y @ w)
    at = integrated_gradients.AttributionScene(k=0, A=A, y0=states.answers(ideal, A), y=y, begins=begins)
    table = explainers.judge_explainers(ideal, linear, at, count=2, samples=4, seed=0).set_index("method")
    rows = ["gradient", "SmoothGrad", "IG mean", "IG random"]
    faults = ["infidelity_small", "infidelity_large", "sensitivity"]
    worst = table.loc[rows[:2], faults].abs().to_numpy().max()
    near = table.loc[["gradient", "IG mean"], "shapley_cosine"].min()

    q = torch.linalg.eigh(A).eigenvectors[:, :, 0]
    form = Target("form", lambda A, y, q: ((A @ q[..., None])[..., 0] * q).sum(1) + 0 * y.sum(1), (q,))
    paths = integrated_gradients.integrate(form, A, y, baseline=begins["identity"], count=2)
    ranks = tables.by_eigenvalue({("form", "identity", 0): paths}, A)
    lowest = ranks.loc[ranks["rank"] == 0, "A_absolute"]
    drawn = torch.randn(50, 1, generator=generator, dtype=y.dtype).to(y).abs()
    vector, share = integrated_gradients.leading_direction(drawn * w)
    return [
        Check(
            NAME, "infidelity and sensitivity of a linear gradient", expected=0, measured=float(worst), tolerance=1e-5
        ),
        Check(NAME, "cosine of its attributions to Shapley values", expected=1, measured=float(near), tolerance=1e-5),
        compare(NAME, "share of the smallest eigenvalue's own form", 1, lowest, 1e-9),
        compare(NAME, "leading direction", size(w / w.norm()), size(vector), 1e-9),
        Check(NAME, "share that it explains", expected=1, measured=share, tolerance=1e-9),
    ]
