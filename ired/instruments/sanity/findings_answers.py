"""Sanity checks (Adebayo et al. 2018) of findings about a network's answers, score and energy.

They are of one kind: what the network shows for a problem (`see`) goes with what is known of the same
problem (`known`), by a number that is 0 where the two have nothing to do with each other (`agree`). So
one check asks other networks, another gives each problem the known of the next one, another puts
Gaussian numbers of equal covariance in the place of what is observed. What takes the affine part out
(`left`), and what random and orthogonal directions are, each finding says itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ired.instruments.accuracy import linear_surrogate
from ired.instruments.attribution import active_subspace, exact_sensitivity, integrated_gradients
from ired.instruments.core import random_directions, states
from ired.instruments.core.states import array
from ired.instruments.sanity import randomisation
from ired.instruments.sanity.survival_table import LINEAR, SurvivalCell
from ired.instruments.statistics.intervals import rank_correlation
from ired.model.protocol import Energy

Answer = Callable[[Energy, Tensor, Tensor], Tensor]  # an energy, A (B, n, n), start (B, d): (B, d)
DRAWS = 3  # random numbers are drawn so often, and results averaged within problems
ROUNDING = 1e-5
STEP = 1e-3  # of differences of sampled answers by A


@dataclass(frozen=True)
class Networks:
    """The network a finding is about; ones whose weights were all drawn anew; and two of equal, short
    training, one on the true answers and one on answers of other problems."""

    trained: Energy
    random: Sequence[Energy]
    control: Energy
    shuffled: Energy

    def cells(self, finding: str, measure: Callable[[Energy], NDArray]) -> list[SurvivalCell]:
        """The checks by other networks, of measure(energy) -> (N,)."""
        control, shuffled = measure(self.control), measure(self.shuffled)
        left = np.mean([measure(energy) for energy in self.random], axis=0)
        return [
            SurvivalCell(finding, "weights", measure(self.trained), left),
            SurvivalCell(finding, "labels", control, shuffled),
        ]


@dataclass(frozen=True)
class Finding:
    """see(energy) -> (P, …); known (P, …); agree(observed, known) -> (P,), 0 for nothing; left(observed) ->
    (P,): the same once an affine map's part is out; others: observed (P, …), to (P,) by check, of random
    and orthogonal directions."""

    name: str
    see: Callable[[Energy], Tensor]
    known: Tensor
    agree: Callable[[Tensor, Tensor], NDArray]
    left: Callable[[Tensor], NDArray]
    others: Mapping[str, Callable[[Tensor], NDArray]] = field(default_factory=dict)

    def cells(self, networks: Networks, generator: torch.Generator) -> list[SurvivalCell]:
        observed = self.see(networks.trained)
        agreement = self.agree(observed, self.known)
        shifts = range(1, min(DRAWS, len(agreement) - 1) + 1)
        pairs = [self.agree(observed, self.known.roll(shift, 0)) for shift in shifts]
        noise = [self.agree(randomisation.gaussian_like(observed, generator), self.known) for _ in range(DRAWS)]
        remaining = {"pairs": np.mean(pairs, axis=0), "noise": np.mean(noise, axis=0), LINEAR: self.left(observed)}
        remaining |= {check: other(observed) for check, other in self.others.items()}
        return [
            *networks.cells(self.name, lambda energy: self.agree(self.see(energy), self.known)),
            *(SurvivalCell(self.name, check, agreement, left) for check, left in remaining.items()),
        ]


@dataclass(frozen=True)
class Background:
    """Problems that affine maps are fitted to: none of those that are looked at, which are fewer than
    the features of A at the published size.

    A (N, n, n) with y0 (N, d); of the trained network answers (N, d) and path (N, d), a state of k = 0 on
    the way to each; near (L, N, d): states around the true answers, in the landscapes where
    dictionaries are judged; noise (N, d), of which noised answers in any landscape are made.
    """

    A: Tensor
    y0: Tensor
    answers: Tensor
    path: Tensor
    near: Tensor
    noise: Tensor

    def noised(self, energy: Energy, k: int) -> Tensor:
        """The true answers, noised as landscape k is trained on (N, d)."""
        return states.centre(energy, self.y0, k) + states.sigma(energy, k) * self.noise

    def rows(self, targets: Tensor) -> linear_surrogate.Rows:
        """Features of A beside targets (N, …)."""
        return linear_surrogate.surrogate_features(self.A, "A"), targets


def cosines(first: Tensor, second: Tensor) -> NDArray:
    return array(exact_sensitivity.cosine(first, second))


def centred_cosines(first: Tensor, second: Tensor) -> NDArray:
    """Cosines once means over problems are out. Of derivatives by A the mean is all that an affine map
    has."""
    return cosines(first - first.mean(0), second - second.mean(0))


# Answers


def answers_follow(
    energy: Energy,
    answer: Answer,
    A: Tensor,
    y0: Tensor,
    start: Tensor,
    background: Background | None = None,
) -> Finding:
    """Sampled answers go with the true ones: cosine of ŷ − mean to y₀ − mean, in basis coordinates.
    What is left: the same of what their affine maps of A leave of both (fitted to the background, or
    where there is none cross-fitted); an answer of which rounding alone is left (ROUNDING of the
    answers' deviation) has nothing left."""
    to_basis, fold = energy.coordinates.to_basis, linear_surrogate.alternating_folds(len(A))
    known, X = to_basis(y0), linear_surrogate.surrogate_features(A, "A")
    true = given = None
    if background is not None:
        true, given = (background.rows(to_basis(y)) for y in (background.y0, background.answers))
    missed = linear_surrogate.Explained.of(X, known, fold, true).left

    def left(observed: Tensor) -> NDArray:
        affine = linear_surrogate.Explained.of(X, observed, fold, given)
        beyond_rounding = affine.unexplained > ROUNDING**2 * affine.total.mean()
        return np.where(beyond_rounding, cosines(affine.left, missed), 0.0)

    return Finding(
        name="answers follow the inverse",
        see=lambda e: to_basis(answer(e, A, start)),
        known=known,
        agree=centred_cosines,
        left=left,
    )


def answers_beat(
    energy: Energy,
    answer: Answer,
    A: Tensor,
    y0: Tensor,
    start: Tensor,
    predictions: Mapping[str, Tensor],
) -> Finding:
    """Sampled answers err less than least squares on A: squared error saved per entry, as a share of
    least squares' own mean error. What is left: the same against least squares on [A, A²].

    predictions: "least_squares" and "least_squares_squared" (P, d), fitted to other problems.
    """
    to_basis, size = energy.coordinates.to_basis, energy.coordinates.size
    true, first, second = map(to_basis, (y0, predictions["least_squares"], predictions["least_squares_squared"]))
    scale = float((first - true).pow(2).sum(1).mean())

    def saved(observed: Tensor, truth: Tensor, rival: Tensor) -> NDArray:
        return array((rival - truth).pow(2).sum(1) - (observed - truth).pow(2).sum(1)) / scale

    def agree(observed: Tensor, known: Tensor) -> NDArray:
        return saved(observed, *known.split(size, 1))

    return Finding(
        name="answers beat least squares",
        see=lambda e: to_basis(answer(e, A, start)),
        known=torch.cat([true, first], 1),
        agree=agree,
        left=lambda observed: saved(observed, true, second),
    )


def random_changes(A: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Orthonormal symmetric matrices (count, n, n), the same for all problems A (P, n, n)."""
    basis = states.symmetric_basis(A.shape[-1], A)
    rows = random_directions.orthonormal(min(count, len(basis)), len(basis), generator, A)
    return (rows @ basis).unflatten(1, A.shape[1:])


def exact_changes(energy: Energy, A: Tensor, moves: Tensor) -> Tensor:
    """−Y dA Y in basis coordinates (P, m, size), for moves dA (m, n, n)."""
    Y = torch.linalg.inv(A)[:, None]
    return energy.coordinates.to_basis(-(Y @ moves @ Y).flatten(-2) / energy.coordinates.scale)


def changes(energy: Energy, answer: Answer, A: Tensor, start: Tensor, moves: Tensor) -> Tensor:
    """The same of sampled answers, by central differences of STEP, from the same start."""
    count = len(moves)
    begin = start.repeat_interleave(count, 0)
    ahead, behind = (answer(energy, (A[:, None] + step * moves).flatten(0, 1), begin) for step in (STEP, -STEP))
    return energy.coordinates.to_basis((ahead - behind) / (2 * STEP)).unflatten(0, (len(A), count))


def answers_turn(
    energy: Energy, answer: Answer, A: Tensor, start: Tensor, count: int, generator: torch.Generator
) -> Finding:
    """Where `count` small changes of A move sampled answers, dY = −Y dA Y: cosine over all of them.

    Random directions: the exact effect of other changes; orthogonal ones: of the next of these, which
    are orthogonal. What is left: the cosine once means over problems are out, since an affine map has
    the same derivative at all of them.
    """
    moves, other = (random_changes(A, count, generator) for _ in range(2))
    known, blind = (exact_changes(energy, A, dA) for dA in (moves, other))
    return Finding(
        name="answers follow the exact Jacobian",
        see=lambda e: changes(e, answer, A, start=start, moves=moves),
        known=known,
        agree=cosines,
        left=lambda observed: centred_cosines(observed, known),
        others={
            "random": lambda observed: cosines(observed, blind),
            "orthogonal": lambda observed: cosines(observed, known.roll(1, 1)),
        },
    )


# Score and energy


def score_turns(energy: Energy, A: Tensor, y: Tensor, entries: Sequence[tuple[int, int]]) -> Finding:
    """∂/∂A of entries of the score at noised answers y (P, d) of k = 0, beside the ideal score's: mean
    cosine. Orthogonal directions: the exact gradient of another entry."""
    known = torch.stack([exact_sensitivity.exact_score_sensitivity(energy, A, 0, e) for e in entries], 1)

    def see(e: Energy) -> Tensor:
        targets = [integrated_gradients.score_entry(e, 0, entry) for entry in entries]
        return torch.stack([exact_sensitivity.gradients_by_problem(t, A, y) for t in targets], 1)

    def agree(observed: Tensor, known: Tensor) -> NDArray:
        return np.mean([cosines(observed[:, i], known[:, i]) for i in range(len(entries))], axis=0)

    return Finding(
        name="score follows the exact gradient",
        see=see,
        known=known,
        agree=agree,
        left=lambda observed: agree(observed - observed.mean(0), known - known.mean(0)),
        others={"orthogonal": lambda observed: agree(observed, known.roll(1, 1))},
    )


def states_between_answers(energy: Energy, y0: Tensor, k: int, count: int, generator: torch.Generator) -> Tensor:
    """States (P, count, d) of landscape k on the way from each problem's answer to other problems'
    ones, a random part of the way each, noised: how far from its answer a state is says its number
    nothing."""

    def drawn(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64, device=generator.device).to(y0)

    part = drawn(len(y0), count, 1)
    other = y0[(drawn(len(y0), count) * len(y0)).long().clamp_max(len(y0) - 1)]
    mixed = (1 - part) * y0[:, None] + part * other
    noise = states.noise(energy, len(y0), count, generator=generator, like=y0)
    return states.centre(energy, mixed, k) + states.sigma(energy, k) * noise


def energy_ranks(energy: Energy, A: Tensor, y0: Tensor, y: Tensor, affine: Tensor) -> Finding:
    """The energy of k = 0 ranks states y (P, M, d) of a problem by their distance to its answer.

    Rank correlation within problems. What is left: the ranks of the distance to the answer of an affine
    map of A (P, d) taken out of both (partial correlation).
    """
    known, other = (linear_surrogate.answer_distances(energy, y, target, 0) for target in (y0, affine))

    @torch.no_grad()
    def see(e: Energy) -> Tensor:
        return e.energy(e.prepare(A), y, 0)

    def agree(observed: Tensor, known: Tensor) -> NDArray:
        return rank_correlation(array(observed), array(known))

    return Finding(
        name="energy ranks states",
        see=see,
        known=known,
        agree=agree,
        left=lambda observed: linear_surrogate.ordering(*map(array, (observed, known, other))).left,
    )


def gradient_in_frame(
    energy: Energy,
    A: Tensor,
    y: Tensor,
    generator: torch.Generator,
    background: Background | None = None,
) -> Finding:
    """The gradient of k = 0 beyond its blind part, at states y (P, M, d) of sampling paths, lies along
    q qᵀ of A's own eigenvectors: its share there beyond an isotropic field's, n/size.

    Random directions: axes of a random frame. What is left: the field beyond an affine map of A and y.
    """
    n, size, to_basis = energy.coordinates.n, energy.coordinates.size, energy.coordinates.to_basis
    frames = torch.linalg.eigh(A).eigenvectors

    def see(e: Energy) -> Tensor:
        return active_subspace.fields(e, A, y[None])["beyond"][0]

    def agree(observed: Tensor, frames: Tensor) -> NDArray:
        G = energy.coordinates.from_basis(observed).unflatten(-1, (n, n))
        G = frames.mT[:, None] @ G @ frames[:, None]
        along = G.diagonal(dim1=-2, dim2=-1).pow(2).sum((1, 2))
        return array(along / G.pow(2).sum((1, 2, 3)).clamp_min(1e-300)) - n / size

    def left(observed: Tensor) -> NDArray:
        many = y.shape[1]
        z = to_basis(y).flatten(0, 1)
        X = linear_surrogate.surrogate_features(A.repeat_interleave(many, 0), "A, y", z)
        fold, given = linear_surrogate.alternating_folds(len(A)).repeat(many), None
        if background is not None:
            # Less the same multiple of the state as is taken off the field itself.
            raw, there = (
                active_subspace.fields(energy, *at)["raw"][0].flatten(0, 1)
                for at in ((A, y[None]), (background.A, background.path[None, :, None]))
            )
            multiple = ((raw - observed.flatten(0, 1)) * z).sum() / (z * z).sum()
            state = to_basis(background.path)
            given = linear_surrogate.surrogate_features(background.A, "A, y", state), there - multiple * state
        rest = linear_surrogate.Explained.of(X, observed.flatten(0, 1), fold, given).left
        return agree(rest.view_as(observed), frames)

    def turned(observed: Tensor) -> NDArray:
        drawn = [torch.cat([random_directions.rotations(1, n, generator).to(A) for _ in A]) for _ in range(DRAWS)]
        return np.mean([agree(observed, frame) for frame in drawn], axis=0)

    return Finding(
        name="gradient follows eigenvectors", see=see, known=frames, agree=agree, left=left, others={"random": turned}
    )


def subspace(
    energy: Energy,
    networks: Networks,
    A: Tensor,
    field_of: Callable[[Energy], Tensor],
    directions: Tensor,
    generator: torch.Generator,
) -> list[SurvivalCell]:
    """Fixed directions of the gradient (orthonormal rows (m, size)) capture the inverse's exact
    sensitivity at problems A: the share beyond a random subspace's, m/size.

    field_of(energy) -> (P, M, size): the field whose leading components other networks' subspaces are.
    Orthogonal: random directions in what `directions` leave. Permuting problems, or Gaussian fields of
    equal covariance, change no fixed subspace, and an affine map has none of its own.
    """
    name, m = "gradient keeps to few directions", len(directions)

    def captured(rows: Tensor) -> NDArray:
        return array(exact_sensitivity.captured(energy, A, rows).sum(1)) - m / directions.shape[1]

    def measure(e: Energy) -> NDArray:
        trained = e is networks.trained
        return captured(directions if trained else leading_components(field_of(e), m))

    blind = [random_directions.orthonormal(m, directions.shape[1], generator, directions) for _ in range(DRAWS)]
    beside = [torch.linalg.qr(random_directions.without(rows, directions).mT).Q.mT for rows in blind]
    return [
        *networks.cells(name, measure),
        *(
            SurvivalCell(name, check, captured(directions), np.mean([captured(rows) for rows in several], axis=0))
            for check, several in (("random", blind), ("orthogonal", beside))
        ),
    ]


def leading_components(field: Tensor, m: int) -> Tensor:
    """The m leading components (m, size) of a field (P, M, size)."""
    return active_subspace.principal_components(field.flatten(0, 1))[1][:m]
