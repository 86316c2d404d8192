"""Known answers of predictors: planted affine and quadratic maps of A."""

from __future__ import annotations

import torch
from torch import Tensor

from ired.instruments.accuracy import predictors
from ired.instruments.core import states
from ired.instruments.core.check import Check, compare
from ired.instruments.core.reference_energies import References


def check_predictors(references: References, generator: torch.Generator) -> list[Check]:
    """Least squares and the network find a planted map of A, least squares also one of A² that it may see."""
    n = references.A.shape[-1]
    batches = []
    for _ in range(4):
        R = torch.randn(4 * n * n, n, n, generator=generator, dtype=torch.float64, device=generator.device)
        A = R @ R.mT / n + torch.eye(n, dtype=R.dtype, device=R.device)
        batches.append((A, 2 * A - 3, A @ A))
    A = batches[0][0]
    fitted = predictors.affine_predictors((a, linear) for a, linear, _ in batches)
    checks = [
        compare(
            "predictors",
            "error of least squares on a planted affine map",
            0,
            states.array((fitted["least_squares"](A) - (2 * A - 3)).abs().amax()),
            1e-7,
        ),
        compare(
            "predictors",
            "training mean",
            states.array(torch.cat([linear for _, linear, _ in batches]).mean(0)),
            states.array(fitted["mean"](A[:1])[0]),
            1e-9,
        ),
    ]
    fitted = predictors.affine_predictors((a, squared) for a, _, squared in batches)
    worst = states.array((fitted["least_squares_squared"](A) - A @ A).abs().amax())
    checks.append(
        Check("predictors", "error on a planted map of A²", expected=0, measured=float(worst), tolerance=1e-6)
    )
    blind = fitted["zero"].mse(A, A).mean() / A.pow(2).mean()
    checks.append(Check("predictors", "relative error of zero", expected=1, measured=float(blind), tolerance=1e-12))

    columns = torch.randn(n, 2, generator=generator, dtype=A.dtype, device=A.device)

    def planted(A: Tensor) -> Tensor:
        """An affine map that sees three directions of A: few enough for a network that is quick to train."""
        return columns @ (2 * A[:, :2, :2] - 3) @ columns.mT

    def fresh(count: int):
        while True:
            R = torch.randn(count, n, n, generator=generator, dtype=A.dtype, device=A.device)
            problems = R @ R.mT / n + torch.eye(n, dtype=R.dtype, device=R.device)
            yield problems, planted(problems)

    network = predictors.RegressionNetwork(fresh(predictors.BATCH), hidden=64, steps=300)
    problems, answer = next(fresh(1000))
    missed = network.mse(problems, answer).mean() / answer.var(0).mean()
    checks.append(
        Check(
            "predictors",
            "relative error of the network on a planted affine map",
            expected=0,
            measured=float(missed),
            tolerance=0.02,
        )
    )
    return checks
