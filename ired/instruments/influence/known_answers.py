"""Known answers of influence: leave-one-out of ridge regression, explicit curvature, planted data
models."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ired.instruments.core.check import Check, compare
from ired.instruments.core.random_directions import normal
from ired.instruments.influence import gradients, removal, validation

INFLUENCE, DATAMODEL = "influence", "datamodel"


def check_influence(generator: torch.Generator) -> list[Check]:
    """Ridge regression's leave-one-out; the product beside JᵀJ; solutions beside LU; dependent
    sides."""
    check = []
    influences, exact = leave_one_out_ridge(generator)
    r = [float(np.corrcoef(a, b)[0, 1]) for a, b in zip(influences, exact, strict=True)]
    check.append(
        Check(INFLUENCE, "correlation with exact leave-one-out, ridge", expected=1, measured=min(r), tolerance=1e-3)
    )
    slope = float((influences * exact).sum() / (exact**2).sum())
    check.append(Check(INFLUENCE, "size beside exact leave-one-out, ridge", expected=1, measured=slope, tolerance=0.05))

    theta, outputs = twice_used(generator)
    J = torch.cat([torch.func.jacrev(o)(theta).reshape(-1, len(theta)) for o in outputs])
    G = 2 * J.T @ J / len(J)
    V = normal(5, len(theta), generator=generator)
    product = gradients.gauss_newton(outputs, theta)
    check.append(_near("Gauss-Newton product beside JᵀJ", G @ V.T, product(V).T, 1e-10))
    V[4] = V[0] + V[1]  # right-hand sides that depend on one another
    solved = gradients.conjugate_gradients(product, V, (1e-3, 1e-1), 1e-9, limit=40)
    eye = torch.eye(len(theta), dtype=V.dtype, device=V.device)
    exact = torch.stack([torch.linalg.solve(G + shift * eye, V.T).T for shift in solved.dampings])
    check.append(_near("solutions beside LU, two dampings", exact, solved.x, 1e-7))
    left = torch.stack(
        [
            (product(x) + shift * x - V).norm(dim=1) / V.norm(dim=1)
            for x, shift in zip(solved.x, solved.dampings, strict=True)
        ]
    )
    check.append(Check(INFLUENCE, "residual, demanded 1e-9", expected=0, measured=left.max().item(), tolerance=1e-8))

    # The gradients of a linear model with one output are multiples of its inputs, by its errors: the
    # empirical Fisher matrix then is known as a matrix too.
    g, F = normal(12, 6, generator=generator), normal(3, 6, generator=generator)
    by, used = gradients.by_fisher(F, g, (1e-2,))
    matrix = g.T @ g / len(g) + used * torch.eye(6, dtype=g.dtype, device=g.device)
    check.append(
        _near(
            "empirical Fisher beside its inverse",
            -(F @ torch.linalg.solve(matrix, g.T)) / len(g),
            by[0],
            1e-9,
        )
    )
    return check


def check_datamodel(generator: torch.Generator) -> list[Check]:
    """True influences of a linear model, random ones; the ceiling that noise leaves; removal."""
    N, T, M = 60, 48, 500
    true, other = (normal(T, N, generator=generator).cpu().numpy() for _ in range(2))
    masks = validation.halves(M, N, generator).cpu().numpy()
    clean = masks @ true.T
    noise = normal(M, 2, T, generator=generator).cpu().numpy() * clean.std()
    noisy = clean[:, None] + noise
    perfect, chance = validation.lds_values(true, masks, clean), validation.lds_values(other, masks, clean)
    judged = validation.held_out_lds(np.stack([other, true]), masks, noisy.mean(1))
    reached = float(validation.lds_values(true, masks, noisy.mean(1)).mean())
    helps = torch.zeros(3, N)
    helps[0, 7], helps[1, 3], helps[2, 9] = 1.0, 1.0, 1.0
    kept = removal.without_top(helps, 1 / N)
    named = [int((~row).nonzero()[0]) for row in kept]
    return [
        compare(DATAMODEL, "LDS of true influences", expected=1, measured=perfect, tolerance=1e-12),
        # Random influences on N problems have cosines of 1/√N with the true ones, and M subsets tell
        # those with an error of 1/√M: four standard errors of the mean over T.
        Check(
            DATAMODEL,
            "LDS of random influences",
            expected=0,
            measured=float(chance.mean()),
            tolerance=4 * np.sqrt((1 / N + 1 / M) / T),
        ),
        Check(DATAMODEL, "problems in a half", expected=N / 2, measured=float(masks.sum(1).mean()), tolerance=0),
        Check(
            DATAMODEL,
            "ceiling beside the LDS of true influences under noise",
            expected=reached,
            measured=validation.ceiling(noisy),
            tolerance=0.05,
        ),
        Check(
            DATAMODEL, "true influences chosen over random ones", expected=2, measured=sum(judged.chosen), tolerance=0
        ),
        compare(DATAMODEL, "planted helpers taken away", expected=(7, 3, 9), measured=named, tolerance=0),
    ]


def leave_one_out_ridge(generator: torch.Generator, N: int = 300, p: int = 6, T: int = 5) -> tuple:
    """Influences on T predictions by a ridge regression, and exactly what leaving one out changes.

    Both (T, N), of being there. The penalty is the damping: λ of mean((Xw − t)²) + λ‖w‖²/2.
    """
    X, test = normal(N, p, generator=generator), normal(T, p, generator=generator)
    t = X @ normal(p, generator=generator) + 0.5 * normal(N, generator=generator)
    shift = 0.3

    def fit(X: Tensor, t: Tensor) -> Tensor:
        eye = torch.eye(p, dtype=X.dtype, device=X.device)
        # Losses weigh 1/N whether one is missing or not: leaving out is a weight of 0.
        return torch.linalg.solve(2 * X.mT @ X / N + shift * eye, 2 * X.mT @ t[..., None] / N)[..., 0]

    w = fit(X, t)
    weights = w.clone().requires_grad_()
    train = gradients.gradients(lambda rows: (X[rows] @ weights - t[rows]).square(), [weights], N)
    outcome = gradients.gradients(lambda rows: test[rows] @ weights, [weights], T)
    product = gradients.gauss_newton([lambda theta: X @ theta], w)
    solved = gradients.conjugate_gradients(product, outcome, (shift,), 1e-10, relative=False)
    influences = gradients.by_gauss_newton(solved, train)[0]
    keep = 1 - torch.eye(N, dtype=X.dtype, device=X.device)
    without = fit(keep[..., None] * X, keep * t)
    return influences.cpu().numpy(), (test @ (w - without).T).cpu().numpy()


def twice_used(generator: torch.Generator) -> tuple[Tensor, list]:
    """θ and the scores ∇_y‖V swish(Wy)‖² of two chunks of points: every weight acts twice."""
    width, size = 6, 4
    theta = normal(2 * width * size, generator=generator) / 2
    y = normal(6, size, generator=generator)

    def score(theta: Tensor, y: Tensor) -> Tensor:
        W, V = (part.view(width, size) for part in theta.chunk(2))

        def energy(state: Tensor) -> Tensor:
            return (V.T @ torch.nn.functional.silu(W @ state)).square().sum()

        return torch.func.vmap(torch.func.grad(energy))(y)

    return theta, [lambda th, y=part: score(th, y) for part in y.split(4)]


def _near(what: str, expected: Tensor, measured: Tensor, tolerance: float) -> Check:
    """Relative to the largest number expected."""
    scale = expected.abs().max()
    known, got = ((t / scale).cpu().numpy() for t in (expected, measured))
    return compare(INFLUENCE, what, expected=known, measured=got, tolerance=tolerance)
