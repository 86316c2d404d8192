"""Problems unlike those of training: families of shifts, and matrices that no inverse helps with.

Beside `problems.FAMILIES`: condition numbers that are set, ranks that are nearly lost, inputs that
are disturbed. All in float64 on the generator's device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ired.model import problems
from ired.model.energies.architectures import LearnedEnergy, configured, trained
from ired.model.training.graph_trainer import trainer
from ired.model.training.shuffled_answers import brief
from ired.model.training.trainer import TrainingConfig


@dataclass(frozen=True)
class Family:
    """Problems A (B, n, n) as a model sees them and their inverses Y (B, n, n).

    clean: inverses of what A was before it was disturbed, where it was; exists: whether Y is an
    inverse (False: the pseudo-inverse stands for one).
    """

    A: Tensor
    Y: Tensor
    clean: Tensor | None = None
    exists: bool = True


Make = Callable[[int, int, float, torch.Generator], Family]


def _known(name: str) -> Make:
    def make(count: int, n: int, c: float, g: torch.Generator) -> Family:
        A = problems.FAMILIES[name](count, n, c, g)
        return Family(A, torch.linalg.inv(A))

    return make


def conditioned(low: float, high: float) -> Make:
    """Condition numbers log-uniform in [low, high], exactly those of the spectrum.

    Random eigenvectors; the eigenvalues between the outer two are log-uniform between them; each
    matrix has the trace that training problems have on average.
    """

    def make(count: int, n: int, c: float, g: torch.Generator) -> Family:
        def uniform(*shape: int) -> Tensor:
            return torch.rand(*shape, generator=g, dtype=torch.float64, device=g.device)

        kappa = low * (high / low) ** uniform(count)
        places = uniform(count, n)
        places[:, 0], places[:, -1] = 0.0, 1.0
        spectrum = kappa[:, None] ** places
        spectrum *= n * problems.mean_diagonal(n, c) / spectrum.sum(1, keepdim=True)
        Q = problems._rotation(count, n, g, torch.float64)
        return _of(spectrum, Q)

    return make


def near_rank(lost: int, value: float) -> Make:
    """Training problems whose `lost` smallest eigenvalues are set to `value`."""

    def make(count: int, n: int, c: float, g: torch.Generator) -> Family:
        spectrum, Q = torch.linalg.eigh(problems.draw(count, n, c, g, torch.float64))
        spectrum[:, :lost] = value
        return _of(spectrum, Q)

    return make


def noisy(share: float) -> Make:
    """Training problems plus symmetric Gaussian noise of spectral norm share·c.

    Eigenvalues of training problems are at least c, so that for a share below 1 what is seen stays
    positive definite, with eigenvalues of at least (1 − share)·c (Weyl).
    """

    def make(count: int, n: int, c: float, g: torch.Generator) -> Family:
        A = problems.draw(count, n, c, g, torch.float64)
        E = torch.randn(count, n, n, generator=g, dtype=torch.float64, device=g.device)
        E = E + E.mT
        E *= share * c / torch.linalg.matrix_norm(E, 2)[:, None, None]
        return Family(A + E, torch.linalg.inv(A + E), torch.linalg.inv(A))

    return make


SHIFTED: dict[str, Make] = {
    "same": _known("same"),
    "same again": _known("same"),
    "c = 0.1": _known("harder"),
    "κ 100–300": conditioned(100, 300),
    "κ 300–1000": conditioned(300, 1000),
    "rank n−1, 0.02": near_rank(1, 0.02),
    "rank n−2, 0.02": near_rank(2, 0.02),
    "rank n−1, 0.002": near_rank(1, 0.002),
    "noise 0.2c": noisy(0.2),
    "noise 0.8c": noisy(0.8),
    "smaller": _known("smaller"),
}
"""By name. "same" is the training distribution, "same again" a fresh draw of it: the null of every
comparison; all others are shifted."""

IN, NULL = "same", "same again"


def _scaled(factor: float) -> Make:
    def make(count: int, n: int, c: float, g: torch.Generator) -> Family:
        A = factor * problems.draw(count, n, c, g, torch.float64)
        return Family(A, torch.linalg.inv(A))

    return make


def _identity(count: int, n: int, c: float, g: torch.Generator) -> Family:
    eye = torch.eye(n, dtype=torch.float64, device=g.device).repeat(count, 1, 1)
    return Family(eye, eye.clone())


def _diagonal(count: int, n: int, c: float, g: torch.Generator) -> Family:
    """The diagonals of training problems, zero elsewhere."""
    A = problems.draw(count, n, c, g, torch.float64)
    A = torch.diag_embed(A.diagonal(dim1=-2, dim2=-1))
    return Family(A, torch.linalg.inv(A))


def _singular(count: int, n: int, c: float, g: torch.Generator) -> Family:
    """Training problems whose smallest eigenvalue is 0 (to rounding); Y is the pseudo-inverse."""
    spectrum, Q = torch.linalg.eigh(problems.draw(count, n, c, g, torch.float64))
    spectrum[:, 0] = 0.0
    inverse = torch.where(spectrum == 0, spectrum, 1 / spectrum.clamp_min(1e-300))
    return Family((Q * spectrum[:, None]) @ Q.mT, (Q * inverse[:, None]) @ Q.mT, exists=False)


def _zero(count: int, n: int, c: float, g: torch.Generator) -> Family:
    """A = 0; its pseudo-inverse is 0."""
    nothing = torch.zeros(count, n, n, dtype=torch.float64, device=g.device)
    return Family(nothing, nothing.clone(), exists=False)


def _indefinite(count: int, n: int, c: float, g: torch.Generator) -> Family:
    """Training problems with the sign of their smallest eigenvalue turned."""
    spectrum, Q = torch.linalg.eigh(problems.draw(count, n, c, g, torch.float64))
    spectrum[:, 0] *= -1
    return _of(spectrum, Q)


def _not_symmetric(count: int, n: int, c: float, g: torch.Generator) -> Family:
    """Training problems plus an antisymmetric part with the deviation that they have off the diagonal.

    Always invertible: xᵀAx is that of the symmetric part. A model on symmetric coordinates is blind to
    the antisymmetric part and sees a training problem.
    """
    A = problems.draw(count, n, c, g, torch.float64)
    N = torch.randn(count, n, n, generator=g, dtype=torch.float64, device=g.device)
    A = A + problems.deviations(n)[1] * (N - N.mT) / 2**0.5
    return Family(A, torch.linalg.inv(A))


PATHOLOGICAL: dict[str, Make] = {
    "identity": _identity,
    "diagonal": _diagonal,
    "1000 · A": _scaled(1e3),
    "A / 1000": _scaled(1e-3),
    "singular": _singular,
    "zero": _zero,
    "indefinite": _indefinite,
    "not symmetric": _not_symmetric,
}
"""Inputs that the task does not mean, by name; they are reported apart from the shifts."""


def _of(spectrum: Tensor, Q: Tensor) -> Family:
    """Matrices with eigenvalues (B, n) and eigenvectors (B, n, n), inverted through them."""
    return Family((Q * spectrum[:, None]) @ Q.mT, (Q / spectrum[:, None]) @ Q.mT)


def draw_families(
    table: Mapping[str, Make], count: int, n: int, c: float, stream: Callable[[str], torch.Generator]
) -> dict[str, Family]:
    """`count` problems of every family of a table, each from a stream of its own name."""
    return {name: make(count, n, c, stream(name)) for name, make in table.items()}


# Another n


def problems_of_other_side(
    side: int, count: int, c: float, stream: Callable[[str], torch.Generator]
) -> dict[str, tuple[Tensor, Tensor]]:
    """Problems and inverses (count, side, side) of the training distribution and of c = 0.1."""
    names = {f"n = {side}": c, f"n = {side}, c = 0.1": 0.1}
    drawn = {name: problems.draw(count, side, k, stream(name), torch.float64) for name, k in names.items()}
    return {name: (A, problems.inverse(A)) for name, A in drawn.items()}


def embedded_problems(A: Tensor, n: int) -> Tensor:
    """Problems (B, m, m) in the leading block of problems (B, n, n) that are the identity elsewhere."""
    larger = torch.eye(n, dtype=A.dtype, device=A.device).repeat(len(A), 1, 1)
    larger[:, : A.shape[-1], : A.shape[-1]] = A
    return larger


def short_model(
    side: int,
    c: float,
    model: Mapping[str, Any],
    training: Mapping[str, Any],
    steps: int,
    variant: str,
    seed: int,
    device: str = "cpu",
    batch: int = 256,
) -> LearnedEnergy:
    """An energy of a variant for problems of another side, trained for so few steps.

    Float64, its gradients off; the weights themselves, since after so few steps their average lags behind.
    model and training: sections of a profile, whose number of steps, larger batches and constant rate are
    replaced (`shuffled_answers.brief`).
    """
    config = brief(TrainingConfig(c=c, **trained(variant, training)), steps, min(batch, training["batch"]))
    made = trainer(configured(variant, {"n": side, "c": c}, model), config, seed, device)
    made.advance(steps)
    return made.model.double().requires_grad_(False)
