"""Known answers of the eigenvalue/eigenvector split: planted, isotropic, ideal, exchanged."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ired.instruments.core import states
from ired.instruments.core.check import Check, compare, relative
from ired.instruments.core.reference_energies import References
from ired.instruments.eigen_decomposition import eigen_exchange, eigen_split
from ired.instruments.eigen_decomposition.eigen_split import Frame

SPECTRA = {"distinct": (1.0, 2.0, 4.0, 7.0), "repeated": (1.0, 3.0, 3.0, 7.0)}


def planted_spectrum(values: tuple[float, ...], count: int, generator: torch.Generator) -> Tensor:
    """Symmetric matrices (count, n, n) with these eigenvalues and uniformly drawn eigenvectors."""
    n = len(values)
    Q = torch.linalg.qr(torch.randn(count, n, n, generator=generator, dtype=torch.float64)).Q
    Y = (Q * torch.tensor(values, dtype=torch.float64)) @ Q.mT
    return (Y + Y.mT) / 2


def rotated(frame: Frame, Y: Tensor, Omega: Tensor) -> Tensor:
    """e^Ω Y e^{−Ω} with antisymmetric Ω (P, n, n) given in the eigenbasis."""
    R = torch.linalg.matrix_exp(frame.vectors @ Omega @ frame.vectors.mT)
    return R @ Y @ R.mT


def check_eigenparts(references: References, generator: torch.Generator) -> list[Check]:
    """The ideal gradient is split as its displacement, its score is exact, wrong answers are found."""
    name, energy = "eigenparts", references.ideal
    A, n = references.A, energy.coordinates.n
    y0, frame = states.answers(energy, A), Frame.of(torch.linalg.inv(A))
    landscapes = references.landscapes
    y = torch.stack([states.noised(energy, y0, k, 1, generator)[0][:, 0] for k in landscapes])
    home = torch.stack([states.centre(energy, y0, k) for k in landscapes])
    displacement = energy.coordinates.project(y - home).unflatten(-1, (n, n))
    displaced = eigen_split.eigen_parts(frame, displacement).array()
    aimed = eigen_split.aim(energy, A, frame, y0, y, landscapes)
    wrong = states.noise(energy, len(y0), generator=generator, like=y0)
    taken = eigen_split.score_of_answers(energy, y0 + wrong)
    exact, mistaken = (
        eigen_split.parts_at_noise(energy, score, frame, y0, landscapes, 200, generator)
        for score in (eigen_split.score_of_energy(energy, A), taken)
    )
    error = eigen_split.eigen_parts(frame, energy.coordinates.scale * wrong.unflatten(-1, (n, n))).array()
    isotropic = states.array(frame.isotropic).mean()
    return [
        compare(name, "share of the ideal gradient", displaced.share, aimed.gradient.share, 1e-9),
        compare(name, "its cosine within the eigenvalue part", 1, aimed.cosine_eigenvalue, 1e-9),
        compare(name, "its cosine within the eigenvector part", 1, aimed.cosine_eigenvector, 1e-9),
        compare(name, "its score error", 0, exact["score error"].total, 0),
        # A thousand points: five standard errors.
        Check(
            name,
            "its mean share at noise",
            expected=isotropic,
            measured=float(exact["gradient"].share.mean()),
            tolerance=0.03,
        ),
        compare(name, "score error's share of planted answers", error.share, mistaken["score error"].share, 1e-9),
        relative(name, "estimate's error of planted answers", error.total, mistaken["estimate"].total, 1e-9),
    ]


def check_planted_eigenparts(generator: torch.Generator) -> list[Check]:
    """Planted changes of eigenvalues, small rotations, eigenspaces, noise, exchanged halves."""
    name, checks = "eigenparts", []
    for kind, values in SPECTRA.items():
        Y = planted_spectrum(values, 200, generator)
        frame, n = Frame.of(Y), len(values)
        G = torch.randn(20, 200, n, n, generator=generator, dtype=torch.float64)
        K = (G - G.mT)[0] * ~frame.together
        shift = torch.diag_embed(G[1, :, 0]) + (G + G.mT)[0] * frame.together
        changed = eigen_split.eigen_parts(frame, frame.vectors @ shift @ frame.vectors.mT)
        turned = rotated(frame, Y, 1e-6 * K) - Y
        noise = eigen_split.eigen_parts(frame, (G + G.mT) / 2)
        level = {"distinct": 2 / (n + 1), "repeated": (1 + 3 + 1) / (n * (n + 1) / 2)}[kind]
        small = eigen_split.eigen_parts(frame, 1e-6 * G[2])
        swapped = eigen_exchange.swap(frame, Y, Y + 1e-6 * G[2])
        hybrid = eigen_exchange.swap(frame, Y, rotated(frame, Y, K))
        chance = eigen_exchange.swap(frame, Y, eigen_exchange.random_answers(frame, generator))
        pooled = float(noise.eigenvalue.sum() / noise.symmetric.sum())
        by_basis = float((noise.random * noise.symmetric).sum() / noise.symmetric.sum())
        checks += [
            compare(name, f"share of changed eigenvalues, {kind}", 1, changed.share, 1e-12),
            compare(name, f"share of small rotations, {kind}", 0, eigen_split.eigen_parts(frame, turned).share, 1e-8),
            compare(name, f"their angles, {kind}", K, 1e6 * eigen_split.angles(frame, turned), 1e-3),
            compare(name, f"isotropic level, {kind}", level, frame.isotropic, 1e-12),
            # 4000 matrices of 10 dimensions: five standard errors.
            Check(name, f"share of isotropic noise, {kind}", expected=level, measured=pooled, tolerance=0.01),
            Check(name, f"its share in random eigenbases, {kind}", expected=level, measured=by_basis, tolerance=0.01),
            compare(
                "eigenswap",
                f"error of sampled eigenvalues, {kind}",
                1,
                swapped.values_error / states.array(small.eigenvalue),
                1e-2,
            ),
            compare(
                "eigenswap",
                f"error of sampled eigenvectors, {kind}",
                1,
                swapped.vectors_error / states.array(small.eigenvector),
                1e-2,
            ),
            compare("eigenswap", f"eigenvalues' error of a rotation, {kind}", 0, hybrid.values_error, 1e-9),
            relative(
                "eigenswap", f"eigenvectors' error of a rotation, {kind}", hybrid.error, hybrid.vectors_error, 1e-9
            ),
            # 200 drawn bases: five standard errors.
            compare(
                "eigenswap",
                f"chance of alignment, {kind}",
                eigen_exchange.chance_alignment(frame)[0],
                chance.alignment.mean(0),
                0.1,
            ),
            Check(
                "eigenswap",
                f"error of random eigenvectors, {kind}",
                expected=1.0,
                measured=float(chance.vectors_error.mean() / eigen_exchange.random_vectors_error(frame).mean()),
                tolerance=0.15,
            ),
        ]
    return [*checks, *_angles(generator)]


def _angles(generator: torch.Generator) -> list[Check]:
    """Principal angles beside scipy's, and of a planted rotation out of a leading eigenspace."""
    from scipy.linalg import subspace_angles

    Y = planted_spectrum(SPECTRA["distinct"], 5, generator)
    frame, Omega = Frame.of(Y), torch.zeros(5, 4, 4, dtype=torch.float64)
    Omega[:, 3, 0], Omega[:, 0, 3] = 0.3, -0.3
    out = eigen_exchange.leading_angles(frame, rotated(frame, Y, Omega), 2)
    other = Frame.of(planted_spectrum(SPECTRA["distinct"], 5, generator)).vectors
    pairs = zip(frame.vectors[..., :2].numpy(), other[..., :2].numpy(), strict=True)
    angles = eigen_exchange.principal_angles(frame.vectors[..., :2], other[..., :2])
    return [
        compare("eigenswap", "angles of a planted rotation", np.tile([0.3, 0.0], (5, 1)), out, 1e-7),
        compare(
            "eigenswap", "principal angles of scipy", np.stack([subspace_angles(*pair) for pair in pairs]), angles, 1e-8
        ),
    ]
