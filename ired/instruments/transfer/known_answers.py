"""Known answers of P6-04: errors in closed form, AUROCs, findings planted to transfer or not."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ired.instruments.accuracy import predictors
from ired.instruments.core.check import Check, compare
from ired.instruments.core.reference_energies import References
from ired.instruments.transfer import ood_detection, score
from ired.instruments.transfer.score import Block


def line(A: Tensor, intercept: float, slope: float) -> Tensor:
    """The linear predictor intercept·I + slope·A of inverses (P, n, n)."""
    return intercept * torch.eye(A.shape[-1], dtype=A.dtype) + slope * A


def spectral(A: Tensor, intercept: float, slope: float) -> NDArray:
    """Its squared error per entry, (P,): Σ(1/λ − intercept − slope·λ)²/n², since it shares A's
    eigenvectors."""
    spectrum = torch.linalg.eigvalsh(A)
    return ((1 / spectrum - intercept - slope * spectrum).pow(2).sum(1) / A.shape[-1] ** 2).numpy()


def planted_findings(rng: np.random.Generator, count: int, findings: int, means: tuple[float, float]) -> Block:
    """Findings with these means, of values and of the placebo, and deviation 1."""
    shape = (count, findings)
    values, placebo = (rng.standard_normal(shape) + mean for mean in means)
    names = tuple(f"{i}" for i in range(findings))
    return Block("planted", names, values, placebo)


def check_transfer(generator: torch.Generator) -> list[Check]:
    """What holds everywhere has score 1, what holds inside alone 0, chance is as it was planted."""
    name = "transfer"
    rng = np.random.default_rng(int(torch.randint(2**31, (), generator=generator)))
    inside = [planted_findings(rng, 60, 40, (3.0, 0.0))]
    outside = {
        "everywhere": [planted_findings(rng, 60, 40, (3.0, 0.0))],
        "weaker": [planted_findings(rng, 60, 40, (0.8, 0.0))],  # sure, but less than half
        "backwards": [planted_findings(rng, 60, 40, (-3.0, 3.0))],
        "inside alone": [planted_findings(rng, 60, 40, (0.0, 0.0))],
    }
    scores, chance = (score.transfer_score(inside, outside, placebo) for placebo in (False, True))
    # A finding that is small beside its noise: pure noise passes the rule in 2.5 % of 4000 cases at
    # most. Four standard deviations of such a share: 0.01.
    faint = [planted_findings(rng, 60, 4000, (0.0, 0.0))]
    t = score.finding_p_values(faint[0].values)
    small = score.passing(np.full(4000, 1e-3), faint[0].values.mean(0), t)
    return [
        Check(name, "score of what holds everywhere", expected=1, measured=scores["everywhere"].estimate, tolerance=0),
        Check(name, "its interval's lower end", expected=1, measured=scores["everywhere"].low, tolerance=1e-9),
        Check(name, "score of what keeps less than half", expected=0, measured=scores["weaker"].estimate, tolerance=0),
        Check(name, "score of what turns round", expected=0, measured=scores["backwards"].estimate, tolerance=0),
        Check(
            name, "score of what holds inside alone", expected=0, measured=scores["inside alone"].estimate, tolerance=0
        ),
        Check(name, "mean over the families", expected=0.25, measured=scores["all"].estimate, tolerance=1e-12),
        Check(name, "chance of noise", expected=0, measured=chance["everywhere"].estimate, tolerance=0),
        Check(
            name, "chance of a null that does as much", expected=1, measured=chance["backwards"].estimate, tolerance=0
        ),
        Check(
            name, "noise that passes, p two-sided of 5 %", expected=0.025, measured=float(small.mean()), tolerance=0.01
        ),
    ]


def check_shift(references: References, generator: torch.Generator) -> list[Check]:
    """A linear predictor's error out of distribution, and AUROCs of separated and of equal samples."""
    name, A = "shift", references.A
    # Least squares of answers that are linear in A find the line, and keep it far away.
    count = 200 + A.shape[-1] ** 2  # about twice as many as the line has coefficients, and more
    matrices = torch.randn(count, *A.shape[1:], generator=generator, dtype=A.dtype)
    matrices = matrices @ matrices.mT
    fitted = predictors.affine_predictors([(matrices, line(matrices, 0.3, -0.02))])["least_squares"]
    far = 5 * A
    measured = ood_detection.squared_errors(fitted(far), torch.linalg.inv(far))["mse"]
    x = np.arange(30.0)
    areas = ood_detection.aurocs({"apart": x, "equal": x}, {"apart": x + 50, "equal": x})
    apart, equal = areas.interval("apart"), areas.interval("equal")
    gaps = areas.margin("apart", ["equal"]), areas.margin("equal", ["apart"])
    # DeLong's variance of equal samples by hand: placements are uniform on i/M.
    spread = 2 * ((x + 0.5) / 30).var(ddof=1) / 30
    return [
        compare(
            name,
            "error of a line out of distribution",
            expected=spectral(far, 0.3, -0.02),
            measured=measured,
            tolerance=1e-8,
        ),
        Check(name, "AUROC of separated samples", expected=1, measured=apart.estimate, tolerance=0),
        Check(name, "its lower end (exact, 30 of 30)", expected=0.025 ** (1 / 30), measured=apart.low, tolerance=1e-9),
        Check(name, "AUROC of equal samples", expected=0.5, measured=equal.estimate, tolerance=1e-12),
        Check(name, "its variance", expected=spread, measured=float(areas.covariance[1, 1]), tolerance=1e-12),
        compare(name, "margins", expected=[0.5, -0.5], measured=[gap.estimate for gap in gaps], tolerance=1e-12),
    ]
