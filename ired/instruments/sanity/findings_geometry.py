"""Sanity checks (Adebayo et al. 2018) of findings of Phases 4 and 5: definiteness, eigenvalues, probes, outputs.

All are made as in `findings_answers`: a number for each problem that is 0 where there is nothing to
find. Where a check has nothing to take away REASONS says why, and its cell is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ired.instruments.accuracy import linear_surrogate
from ired.instruments.circuits.energy_outputs import OUTPUT
from ired.instruments.core import random_directions, states
from ired.instruments.core.states import array, symmetric
from ired.instruments.eigen_decomposition import eigen_split
from ired.instruments.eigen_decomposition.eigen_split import Frame
from ired.instruments.geometry import answer_errors
from ired.instruments.probing import ridge
from ired.instruments.probing.logistic import widening
from ired.instruments.sanity.findings_answers import DRAWS, Answer, Background, Finding, Networks
from ired.instruments.sanity.survival_table import LINEAR, SurvivalCell
from ired.model.protocol import Energy

DEFINITE = "answers are definite beyond noise"
EIGENVALUES = "errors lie in eigenvalues"
LINEARISED = "fc3 makes log lambda_min linear"
CONSTANT = "gaps lie along the constant of f"
NOISE = 32  # draws that an answer's definiteness is held against
RIPPLES = 8  # noised answers of each problem where outputs are looked at
SOURCES = {DEFINITE: "P4-01", EIGENVALUES: "P4-03", LINEARISED: "P5-01", CONSTANT: "P5-02, P5-04"}
REASONS = {
    (DEFINITE, "random"): "errors in random directions are what it is counted from",
    (DEFINITE, "orthogonal"): "no direction is claimed",
    (EIGENVALUES, "orthogonal"): "what is off the axes is the rest of the same",
    (LINEARISED, "random"): "no direction is claimed",
    (LINEARISED, "orthogonal"): "no direction is claimed",
    (LINEARISED, LINEAR): "it is counted from affine maps of the input",
    (CONSTANT, "pairs"): "the constant is the same for all problems",
    (CONSTANT, LINEAR): "the constant belongs to the affine part",
}


def applicable_cells(findings: Sequence[Finding], networks: Networks, generator: torch.Generator) -> list[SurvivalCell]:
    """The checks of all findings, without those that REASONS says do not apply."""
    all_cells = [cell for finding in findings for cell in finding.cells(networks, generator)]
    return [cell for cell in all_cells if (cell.finding, cell.check) not in REASONS]


# Answers


def definite_beyond(M: Tensor, Y: Tensor, epsilon: Tensor) -> NDArray:
    """1 where the symmetric part of M (P, n, n) is positive definite, else 0, minus the share of
    matrices for which that holds that are as far from Y (P, n, n) along ε (D, P, n, n): (P,)."""
    S = symmetric(M.double())
    noise = answer_errors.departure(answer_errors.matched_noise(Y, S, symmetric(epsilon)))
    return answer_errors.departure(S).definite - noise.definite.mean(0)


def in_eigenvalues(D: Tensor, frame: Frame) -> NDArray:
    """The share of deviations D (P, n, n) in the eigenvalue part beyond that of the same deviations in
    random eigenbases: (P,), 0 where there is no deviation."""
    parts = eigen_split.eigen_parts(frame, D).array()
    return np.nan_to_num(parts.share - parts.random)


def answer_findings(
    energy: Energy,
    answer: Answer,
    A: Tensor,
    start: Tensor,
    generator: torch.Generator,
    background: Background | None = None,
) -> list[Finding]:
    """Sampled answers to A (P, n, n) are definite more often than errors of their size would be; and
    their errors lie on the diagonal in the eigenbasis of the true inverse.

    Definite: what is left is how much more often so than their affine map of A (fitted to the
    background, or where there is none cross-fitted), each against noise of its own size. Eigenvalues:
    eigenbases of other problems and Gaussian errors; random directions are random eigenbases; what is
    left, that of the errors that an affine map of A leaves.
    """
    n, Y = A.shape[-1], torch.linalg.inv(A)
    Y = (Y + Y.mT) / 2
    X, fold = linear_surrogate.surrogate_features(A, "A"), linear_surrogate.alternating_folds(len(A))
    given = missed = None
    if background is not None:
        answers = energy.coordinates.decode(background.answers)
        errors = answers - torch.linalg.inv(background.A)
        given, missed = background.rows(answers), background.rows(errors)
    epsilon = torch.randn(NOISE, *A.shape, generator=generator, dtype=torch.float64, device=generator.device).to(A)

    @cache  # both findings are about the same answers
    def sampled(e: Energy) -> Tensor:
        return energy.coordinates.decode(answer(e, A, start))

    def definite(observed: Tensor, known: Tensor) -> NDArray:
        return definite_beyond(observed, known, epsilon)

    def on_diagonal(observed: Tensor, known: Tensor) -> NDArray:
        return in_eigenvalues(observed, Frame.of(known))

    def turned(observed: Tensor) -> NDArray:
        frame = Frame.of(Y)
        drawn = [torch.cat([random_directions.rotations(1, n, generator).to(A) for _ in A]) for _ in range(DRAWS)]
        values = [in_eigenvalues(observed, replace(frame, vectors=vectors)) for vectors in drawn]
        return np.mean(values, axis=0)

    return [
        Finding(
            name=DEFINITE,
            see=sampled,
            known=Y,
            agree=definite,
            left=lambda observed: (
                definite(observed, Y) - definite(linear_surrogate.cross_fitted(X, observed, fold, given), Y)
            ),
        ),
        Finding(
            name=EIGENVALUES,
            see=lambda e: sampled(e) - Y,
            known=Y,
            agree=on_diagonal,
            left=lambda observed: on_diagonal(linear_surrogate.Explained.of(X, observed, fold, missed).left, Y),
            others={"random": turned},
        ),
    ]


# Layers


def read_share(x: Tensor, values: Tensor, fold: NDArray) -> NDArray:
    """What each of N states adds to the R² of a probe of x (N, F) for values (N, 1): (N,)."""
    asked = ridge.Targets(values, {("value", "property"): slice(0, values.shape[1])})
    return array(ridge.ridge_probe(x, values, fold).shares(asked))[:, 0]


def linearised(energy: Energy, A: Tensor, y: Tensor) -> Finding:
    """log λ_min of problems A (P, n, n) is read from fc3 at states y (P, d) of k = 0 with larger R²
    than from [A, A², y]: each problem's part of the difference.

    Problems serve to fit and to judge: deviations from the mean are widened (`logistic.widening`).
    """
    known, fold = torch.linalg.eigvalsh(A)[:, :1].log(), linear_surrogate.alternating_folds(len(A))
    given = ridge.representations({"network": energy}, A, y, 0)["input", ridge.GIVEN]
    base = read_share(given, known, fold)

    def see(e: Energy) -> Tensor:
        return ridge.representations({"network": e}, A, y, 0)["network", "fc3"]

    def agree(observed: Tensor, asked: Tensor) -> NDArray:
        other = base if asked is known else read_share(given, asked, fold)
        gain = read_share(observed, asked, fold) - other
        return gain.mean() + widening(linear_surrogate.FOLDS) * (gain - gain.mean())

    return Finding(name=LINEARISED, see=see, known=known, agree=agree, left=lambda observed: agree(observed, known))


def along_axis(outputs: Tensor, axis: Tensor | None = None) -> NDArray:
    """How much of the gaps one output carries, of outputs (P, 1 + M, size) at each problem's answer,
    first, and at M states: (P,), 1 for all, 0 in the mean over all axes.

    axis (size,): by default the constant of f, its mean over answers. With g a problem's gaps and a the
    part of them along the axis, ⟨a, g⟩/⟨g, g⟩, which adds up to 1 over any orthonormal axes; rescaled
    so that 1/size becomes 0.
    """
    home, size = outputs[:, :1], outputs.shape[-1]
    axis = home.mean((0, 1)) if axis is None else axis
    axis = axis / axis.norm().clamp_min(1e-300)
    f = outputs[:, 1:]
    gap = f.pow(2).sum(-1) - home.pow(2).sum(-1)
    part = (f @ axis) ** 2 - (home @ axis) ** 2
    share = (part * gap).sum(1) / gap.pow(2).sum(1).clamp_min(1e-300)
    return array((share * size - 1) / (size - 1))


def along_constant(energy: Energy, A: Tensor, y0: Tensor, generator: torch.Generator) -> Finding:
    """Gaps at k = 0 of noised answers to the answers y0 (P, d) are carried by the one output along f's
    constant; random and orthogonal directions are other axes of the outputs."""
    y = torch.cat(
        [states.centre(energy, y0, 0)[:, None], states.noised(energy, y0, k=0, count=RIPPLES, generator=generator)[0]],
        1,
    )

    @torch.no_grad()
    def see(e: Energy) -> Tensor:
        return e.activations(e.prepare(A), y, 0)[OUTPUT]

    def drawn(outputs: Tensor, beside: bool) -> NDArray:
        axes = random_directions.rotations(1, outputs.shape[-1], generator)[0, :DRAWS].to(outputs)
        if beside:
            m = outputs[:, 0].mean(0)
            axes = random_directions.without(axes, (m / m.norm())[None])
        return np.mean([along_axis(outputs, axis) for axis in axes], axis=0)

    return Finding(
        name=CONSTANT,
        see=see,
        known=y0,
        agree=lambda outputs, known: along_axis(outputs),
        left=along_axis,
        others={"random": lambda outputs: drawn(outputs, False), "orthogonal": lambda outputs: drawn(outputs, True)},
    )
