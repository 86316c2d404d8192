"""Known answers of linearity: affine teachers, planted ripples, the ideal and the algebraic energy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ired.instruments.accuracy import predictors
from ired.instruments.core import states
from ired.instruments.core.check import Check, compare, relative, to_scale
from ired.instruments.core.random_directions import normal
from ired.instruments.core.reference_energies import References, WrappedEnergy
from ired.instruments.layers.known_answers_ablation import background_problems
from ired.instruments.linearity import affine_score, denoising_loss, hessian_spread
from ired.instruments.linearity.affine_score import AffineScore

WAVES = 100.0  # radians for each unit of y: a ripple goes round many times within the noise
NON_AFFINE = 0.3
FITTED = 100  # problems for each input of least squares: it errs by 1/100 more than the best affine map


class Rippled(WrappedEnergy):
    """E = (1 + uneven·s(A))/2 · zᵀHz − zᵀH(b + Wa) − (ripple/ω) Σ cos(ω z_i), z = y in basis coordinates.

    a: the upper triangle of A, s(A) = ±1 the sign of an entry off the diagonal, as often one as the other. The ripple's
    score, ripple·sin(ω z_i), has variance ripple²/2 for each coordinate and is not correlated with A or y.
    """

    def __init__(
        self, like: Any, generator: torch.Generator, problem: Tensor, ripple: float = 0.0, uneven: float = 0.0
    ):
        super().__init__(like)
        n, size = like.coordinates.n, like.coordinates.size
        turn = torch.linalg.qr(normal(size, size, generator=generator, like=problem)).Q
        self.levels = torch.linspace(0.5, 2.0, size, dtype=problem.dtype, device=problem.device)
        self.H = (turn * self.levels) @ turn.mT
        self.W = normal(n * (n + 1) // 2, size, generator=generator, like=problem) / n
        self.b = normal(size, generator=generator, like=problem)
        self.ripple, self.uneven = ripple, uneven

    def prepare(self, A: Tensor) -> Tensor:
        return A

    def scale(self, A: Tensor) -> Tensor:
        """1 + uneven·s(A), (B,)."""
        return 1 + self.uneven * A[:, 0, 1].sign()

    def gradient(self, A: Tensor, y: Tensor, k: int) -> Tensor:
        z, centre = self.coordinates.to_basis(y), predictors.power_features(A, 1) @ self.W + self.b
        scale = self.scale(A)[:, None]
        if y.dim() == 3:
            centre, scale = centre[:, None], scale[:, None]
        bowl = (scale * z - centre) @ self.H
        return self.coordinates.from_basis(bowl + self.ripple * (WAVES * z).sin())

    def hessian(self, A: Tensor, y: Tensor, k: int) -> Tensor:
        basis = states.state_basis(self, y)
        bent = torch.diag_embed(self.ripple * WAVES * (WAVES * self.coordinates.to_basis(y)).cos())
        return basis.mT @ (self.scale(A)[:, None, None] * self.H + bent) @ basis


class Shifted(WrappedEnergy):
    """An energy with the linear term bᵀy added: its gradient is off by b."""

    def __init__(self, energy: Any, b: Tensor):
        super().__init__(energy)
        self.b = b

    def gradient(self, A: Any, y: Tensor, k: int) -> Tensor:
        return self._energy.gradient(A, y, k) + self.b


class Blind(WrappedEnergy):
    """E = ‖y‖²/(2σ_k): what noise there is in y if nothing is known of the problem."""

    def gradient(self, A: Any, y: Tensor, k: int) -> Tensor:
        return self.coordinates.project(y) / self.schedule.at("sigma", k, y)


def _twins(generator: torch.Generator) -> Callable[[], torch.Generator]:
    """Generators that all begin alike, where this one stands: the same states for several energies."""
    seed = int(torch.randint(2**31, (1,), generator=generator))
    return lambda: torch.Generator(device=generator.device).manual_seed(seed)


def _enough(references: References, generator: torch.Generator) -> tuple[Tensor, int]:
    """Eight problems for each input of an affine score, and how many inputs there are."""
    n, size = references.A.shape[-1], references.ideal.coordinates.size
    inputs = n * (n + 1) // 2 + size
    return background_problems(references.A, max(1200, 8 * inputs), generator), inputs


def _missed(references: References, generator: torch.Generator) -> Tensor:
    """Variances (size,) along their axes of what least squares on A misses of answers to problems that it was not
    fitted to."""
    coordinates, n = references.ideal.coordinates, references.A.shape[-1]
    count = FITTED * n * (n + 1) // 2
    A, others = (background_problems(references.A, count, generator) for _ in range(2))
    predict = predictors.affine_predictors([(A, torch.linalg.inv(A))])["least_squares"]
    errors = coordinates.to_basis(states.answers(references.ideal, others) - coordinates.encode(predict(others)))
    return torch.linalg.eigvalsh(errors.mT @ errors / count).clamp_min(0)


def check_affine_score(references: References, generator: torch.Generator) -> list[Check]:
    """An affine score is one; with 30 % of ripples 70 % of it are; the ideal energy's share follows from how affine
    A⁻¹ is in A; nothing is explained where there are more inputs than rows."""
    name, ideal, k = "affine_score", references.ideal, references.landscapes[0]
    A, inputs = _enough(references, generator)
    twin = _twins(generator)

    def measured(energy: Any, A: Tensor = A) -> AffineScore:
        return affine_score.affine_score(energy, A, [k], twin())

    teacher = Rippled(ideal, twin(), A)
    plain = measured(teacher)
    checks = [
        compare(name, "R² of an affine score", 1, plain.held_out().estimate, 1e-8),
        compare(name, "what it has beyond y", 1, plain.beyond_state().estimate, 1e-8),
        compare(name, "ridge that enough rows need", 0, plain.ridge["A, y"], 0),
    ]
    variance = plain.total.sum() / (len(A) * ideal.coordinates.size)
    # Sines reach the share with an error from what they have in common with the rest by chance, 2√(0.3·0.7/rows).
    ripple = math.sqrt(2 * variance * NON_AFFINE / (1 - NON_AFFINE))
    partly, by_chance = measured(Rippled(ideal, twin(), A, ripple=ripple)), 1.2 / math.sqrt(len(A))
    known = 1 - NON_AFFINE
    # What 4/5 of the rows know too little of a weight leaves 1/(N − inputs − 1) more for each.
    held_out = 1 - NON_AFFINE * (1 + inputs / (0.8 * len(A) - inputs - 1))
    checks += [
        compare(name, "R² where 30 % are not affine", known, partly.best(), by_chance),
        compare(name, "the same held out", held_out, partly.held_out().estimate, by_chance),
    ]

    # A set of few problems explains some noise by chance: as many sets as make 120 problems, at least one.
    noise, few = Rippled(ideal, twin(), A, ripple=1e3 * ripple), inputs // 2
    lost = [measured(noise, part) for part in A.split(few)[: max(1, 120 // few)]]
    explained = float(np.mean([score.held_out().estimate for score in lost]))
    checks += [
        compare(name, "whether noise is explained by more inputs than rows", 0, explained > 0.1, 0),
        compare(name, "whether more inputs than rows are said", 1, min(score.ridge["A, y"] for score in lost) > 0, 0),
    ]

    # The ideal energy's score at noised answers is the noise: R² is what linear estimation finds of it.
    score, missed = measured(ideal), _missed(references, generator)
    unknown = ideal.schedule.alpha_bar[k].item() / states.sigma(ideal, k) ** 2 * missed
    for kind, levels in (("A, y", 1 / (1 + unknown)), ("A, c·y", 1 / (1 + unknown.mean()))):
        share, known = score.held_out(kind), levels.mean().item()
        # Four standard errors are the width of a 95 % interval; and what is missed is 1/FITTED too much.
        tolerance = (share.high - share.low).item() + (levels * (1 - levels)).mean().item() / FITTED
        checks.append(compare(name, f"R² of the ideal score by {kind}", known, score.best(kind), tolerance))
    return checks


def check_hessian_spread(references: References, generator: torch.Generator) -> list[Check]:
    """One Hessian has no spread; planted differences between problems and between states have theirs; curvature has
    its closed form."""
    name, ideal, algebraic, k = "hessian_spread", references.ideal, references.algebraic, references.landscapes[0]
    size, sigma = ideal.coordinates.size, states.sigma(ideal, k)
    A, twin = background_problems(references.A, 20, generator), _twins(generator)

    def measured(energy: Any) -> hessian_spread.HessianSpread:
        return hessian_spread.hessian_spread(energy, A, [k], twin())

    teacher = Rippled(ideal, twin(), A)
    plain, levels = measured(teacher), states.array(teacher.levels)
    checks = [
        compare(name, "spread of one Hessian", 0, plain.spread().estimate, 1e-8),
        compare(name, "its mean curvature", sigma * levels.mean(), plain.mean_curvature().estimate, 1e-8),
        compare(name, "its spectrum", sigma * levels, plain.eigenvalues()[0], 1e-8),
        compare(name, "spread of the ideal Hessian", 0, measured(ideal).spread().estimate, 1e-8),
        compare(name, "curvature of the ideal Hessian", 1, measured(ideal).mean_curvature().estimate, 1e-8),
    ]
    uneven, scales = measured(Rippled(ideal, twin(), A, uneven=0.1)), states.array(1 + 0.1 * A[:, 0, 1].sign())
    checks += [
        compare(
            name,
            "spread planted between problems",
            scales.std(ddof=1) / scales.mean(),
            uneven.spread().estimate,
            1e-8,
        ),
        compare(name, "share of it between problems", 1, uneven.between().estimate, 1e-8),
    ]
    # cos²(ωz) is 1/2 with deviation 1/√8; the share within has a problem's own ripples against its neighbours'.
    count = 2 * len(A) * size
    ripple = 0.1 / WAVES
    wavy = measured(Rippled(ideal, twin(), A, ripple=ripple))
    norm = float(np.linalg.norm(levels))
    checks.append(
        relative(
            name,
            "spread planted between states",
            0.1 * math.sqrt(size / 2) / norm,
            wavy.spread().estimate,
            4 * math.sqrt(0.5 / count) + 2 / len(A),
        )
    )
    # Of 20 mean squares within, the share between is off by √(2/19 + 2/20)/2 for each independent direction.
    checks.append(compare(name, "share of it between problems", 0, wavy.between().estimate, 4 * math.sqrt(0.05 / size)))
    checks += _algebraic(name, algebraic, A, measured(algebraic))

    # The teacher beside the bowl of errors with variances c, which has its axes and is steep where the teacher is flat.
    c, noise = levels**2 / 100, sigma**2 / ideal.schedule.alpha_bar[k].item()
    closed = noise / (c + noise)
    H = teacher.H @ teacher.H / 100 + noise * torch.eye(size).to(teacher.H)
    H = _on_states(ideal, noise / sigma * torch.linalg.inv(H))
    row = plain.table(measured(references.quadratic(H, torch.zeros_like(H[0])))).iloc[0]
    apart, ordered = (
        np.linalg.norm(sigma * levels - form) / np.linalg.norm(form) for form in (closed, np.sort(closed))
    )
    return checks + [
        compare(name, "closed form of the mean curvature", closed.mean(), row["gaussian"], 1e-8),
        compare(name, "the same were all directions alike", noise / (c.mean() + noise), row["round"], 1e-8),
        compare(name, "spectrum beside its closed form", ordered, row["spectrum_distance"], 1e-8),
        compare(name, "mean Hessian beside its closed form", apart, row["matrix_distance"], 1e-8),
    ]


def check_denoising_loss(references: References, generator: torch.Generator) -> list[Check]:
    """The ideal energy loses nothing, a planted offset its square, a blind energy what is left of the answer."""
    name, ideal = "denoising_loss", references.ideal
    A, size = references.A, ideal.coordinates.size
    basis, y0 = states.state_basis(ideal, A), states.answers(ideal, A)
    b = normal(size, generator=generator, like=A)
    energies = {
        "ideal": ideal,
        "shifted": Shifted(ideal, b @ basis),
        "blind": Blind(ideal),
        "blind and shifted": Shifted(Blind(ideal), b @ basis),
    }
    losses = denoising_loss.denoising_losses(energies, A, references.landscapes, generator)
    alpha_bar, sigma = (
        states.array(v)[list(references.landscapes)] for v in (ideal.schedule.alpha_bar, ideal.schedule.sigma)
    )
    answers = states.array(ideal.coordinates.to_basis(y0).pow(2).mean(1))
    left = (alpha_bar / sigma**2)[:, None] * answers
    offset = b.pow(2).mean().item()
    cross = states.array(ideal.coordinates.to_basis(y0) @ b)
    both = offset + 2 * (np.sqrt(alpha_bar) / sigma * cross.mean()) / size
    return [
        compare(name, "loss of the ideal energy", 0, losses.loss("ideal").estimate, 1e-8),
        compare(name, "loss of a planted offset", offset, losses.loss("shifted").estimate, 1e-8),
        to_scale(name, "loss of a blind energy", left, losses.losses["blind"], 1e-8),
        compare(name, "what an offset adds", both, losses.difference("blind and shifted", "blind").estimate, 1e-8),
        compare(name, "difference to itself", 0, losses.difference("blind", "blind").high, 0),
    ]


def _algebraic(name: str, energy: Any, A: Tensor, measured: hessian_spread.HessianSpread) -> list[Check]:
    """Of scale²·A² ⊗ I, on symmetric matrices X ↦ scale²·(A²X + XA²)/2, linear in A²."""
    squares = A @ A
    mean = squares.mean(0)

    def norm(S: Tensor) -> Tensor:
        """Squared norms of the maps that belong to matrices (B, n, n)."""
        values = torch.linalg.eigvalsh(S)
        if not energy.coordinates.symmetric:
            return len(mean) * values.pow(2).sum(-1)
        rows, columns = torch.triu_indices(len(mean), len(mean), device=A.device)
        return ((values[:, rows] + values[:, columns]) / 2).pow(2).sum(-1)

    spread = (norm(squares - mean).sum() / (len(A) - 1) / norm(mean[None])[0]).sqrt().item()
    return [
        relative(name, "spread of the algebraic Hessian", spread, measured.spread().estimate, 1e-8),
        compare(name, "share of it between problems", 1, measured.between().estimate, 1e-8),
    ]


def _on_states(energy: Any, H: Tensor) -> Tensor:
    """A matrix on basis coordinates as one on states (d, d)."""
    basis = states.state_basis(energy, H)
    return basis.mT @ H @ basis
