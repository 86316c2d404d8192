"""Known answers of causal mediation: sign flips by hand, a planted mediator, twins that differ in one thing."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ired.instruments.core import states as points
from ired.instruments.core.check import Check, compare
from ired.instruments.core.directions import EVERYWHERE, Direction
from ired.instruments.core.reference_energies import References
from ired.instruments.core.sampler import denoised
from ired.instruments.interventions import counterfactuals, mediation
from ired.instruments.interventions.counterfactuals import MOVED, matrix_properties
from ired.instruments.interventions.edits import Place, Twins, UndisturbedRuns
from ired.instruments.interventions.study import InterventionBench, examine_direction
from ired.instruments.statistics import intervals
from ired.model.protocol import Energy


class PlantedMediator:
    """An ideal landscape around an answer that a layer has a part in.

    The layer "fc1" holds diagonal and trace of A, the state, and 64 zeros, so that no random direction is
    near the mediator by chance: h = (A_11 … A_nn, tr A, y, 0 …). The answer is
    through·tanh(w·h)·e + direct·tr A·e with w the first diagonal entry's axis and e = (1, 0 …) or, for
    symmetric coordinates, the state that has its first entry alone; tr A reaches it past the layer.
    """

    def __init__(self, like: Energy, through: float, direct: float):
        self.coordinates, self.schedule = like.coordinates, like.schedule
        self.through, self.direct = through, direct
        self.width = self.coordinates.n + 1 + self.coordinates.d + 64

    def prepare(self, A: Any) -> Any:
        return A

    def activations(self, A: Tensor, y: Tensor, k: int) -> dict[str, Tensor]:
        diagonal = A.diagonal(dim1=-2, dim2=-1)
        nothing = y.new_zeros(*y.shape[:-1], 64)
        return {"fc1": torch.cat([diagonal, diagonal.sum(-1, keepdim=True), y, nothing], -1)}

    def resume(self, layer: str, h: Tensor, A: Tensor, k: int) -> Tensor:
        n, root, sigma = self.coordinates.n, self.schedule.sqrt_alpha_bar[k], self.schedule.sigma[k]
        past = self.direct * A.diagonal(dim1=-2, dim2=-1).sum(-1)
        y = h[:, n + 1 : n + 1 + self.coordinates.d]
        answer = torch.zeros_like(y)
        answer[:, 0] += self.through * h[:, 0].tanh() + past
        return (y - root * answer).pow(2).sum(-1) / (2 * sigma)

    def energy(self, A: Tensor, y: Tensor, k: int) -> Tensor:
        return self.resume("fc1", self.activations(A, y, k)["fc1"], A, k)

    def gradient(self, A: Tensor, y: Tensor, k: int) -> Tensor:
        with torch.enable_grad():
            y = y.detach().requires_grad_()
            return torch.autograd.grad(self.energy(A, y, k).sum(), y)[0]

    def axis(self, place: int, like: Tensor) -> Tensor:
        return torch.nn.functional.one_hot(torch.tensor(place), self.width).to(like)


def planted_twins(
    energy: PlantedMediator, count: int, generator: torch.Generator
) -> tuple[UndisturbedRuns, UndisturbedRuns]:
    """Runs of `count` random problems and of the same ones with a larger first entry."""
    n = energy.coordinates.n
    A = 0.3 * torch.rand(count, n, n, generator=generator, dtype=torch.float64)
    A = A @ A.mT + torch.eye(n, dtype=torch.float64)
    more = A.clone()
    more[:, 0, 0] += 0.2 + 0.5 * torch.rand(count, generator=generator, dtype=torch.float64)
    start = points.noise(energy, count, generator=generator, like=A)
    return tuple(UndisturbedRuns.of(energy, denoised, matrix, start) for matrix in (A, more))


def first_entry(y: Tensor, y0: Tensor) -> Tensor:
    """A property of answers (B, d)."""
    return y[:, 0]


def check_causality(references: References, generator: torch.Generator) -> list[Check]:
    """A planted mediator has its share, an axis beside it none, the layer what does not pass it by."""
    name, energy = "causality", PlantedMediator(references.ideal, through=1.0, direct=0.4)
    base, changed = planted_twins(energy, 24, generator)
    twins = Twins.problems(base, changed, energy.schedule.K - 1)
    mediator, beside = energy.axis(0, base.A), energy.axis(1, base.A)
    V = torch.stack([mediator, beside, energy.axis(energy.coordinates.n, base.A)])
    everywhere = Place("fc1", EVERYWHERE)
    effects = mediation.mediation(energy, denoised, first_entry, twins=twins, place=everywhere, V=V)
    less, more = (run.A[:, 0, 0] for run in (base, changed))
    through = points.array(more.tanh() - less.tanh())
    total = through + 0.4 * points.array(more - less)
    share = through.mean() / total.mean()
    last = Place("fc1", 0)  # that landscape decides alone what a denoiser of ideal landscapes answers
    twins = Twins.problems(base, changed, 0)
    late = mediation.mediation(energy, denoised, first_entry, twins=twins, place=last, V=V)
    read = {"near_singular": first_entry, "large_norm": lambda y, y0: y[:, 1]}
    bench = InterventionBench(
        energy=energy,
        sampler=denoised,
        read=lambda y, y0: {concept: of(y, y0) for concept, of in read.items()},
        path=base,
        runs={"near_singular": (base, changed)},
        draws=3,
    )
    planted = Direction(
        name="planted",
        source="concept",
        space="fc1",
        landscape=EVERYWHERE,
        concept="near_singular",
        evidence=1.0,
        measure="planted",
        vector=mediator,
    )
    row = examine_direction(bench, planted, 0.1, generator)
    return [
        compare(name, "total effect of a planted cause", total, effects.total, 1e-9),
        compare(name, "indirect effect through the planted mediator", through, effects.indirect[0], 1e-9),
        compare(name, "indirect effect through directions beside it", 0, effects.indirect[1:], 1e-9),
        compare(name, "direct effect past it", total - through, effects.direct[0], 1e-9),
        compare(name, "direct effect past the others", total, effects.direct[1], 1e-9),
        compare(name, "effect through the whole layer", through, effects.whole, 1e-9),
        Check(
            name, "share mediated", expected=share, measured=effects.share(effects.indirect[0]).estimate, tolerance=1e-9
        ),
        compare(name, "indirect effect in the last landscape", through, late.indirect[0], 1e-9),
        Check(name, "share mediated, of a whole examination", expected=share, measured=row["mediated"], tolerance=1e-9),
        Check(name, "whether it is found to mediate", expected=1, measured=row["mediates"], tolerance=0),
        Check(name, "whether it is specific", expected=1, measured=row["specific_low"] > 0, tolerance=0),
        *_flips(generator),
    ]


def _flips(generator: torch.Generator) -> list[Check]:
    """Sign flips by hand, and their share of false alarms in 200 trials without an effect."""
    name, rng = "causality", np.random.default_rng(int(torch.randint(2**31, (), generator=generator)))
    # Of the 8 signs of (1, 2, 3) two reach |6|; of those of (3, 2, −1) four reach |4|.
    p = intervals.sign_flip([[1.0, 2.0, 3.0], [3.0, 2.0, -1.0]])
    null = intervals.sign_flip(rng.standard_normal((200, 30)), resamples=999)
    planted = intervals.sign_flip(rng.standard_normal((20, 30)) + 1.0, resamples=999)
    return [
        compare(name, "p-values by hand", [0.25, 0.5], p, 1e-12),
        # Four standard deviations of a share of 0.05 in 200 trials.
        Check(
            name,
            "share of p < 0.05 without an effect",
            expected=0.05,
            measured=float((null < 0.05).mean()),
            tolerance=0.062,
        ),
        Check(name, "share of p < 0.05 with one", expected=1, measured=float((planted < 0.05).mean()), tolerance=0.1),
    ]


def check_counterfactuals(references: References, generator: torch.Generator) -> list[Check]:
    """Within pairs, what was promised is held and what was aimed at is met."""
    name, n = "counterfactuals", references.A.shape[-1]
    R = 2 * torch.rand(60, n, n, generator=generator, dtype=torch.float64) - 1
    pool = 2 * R @ R.mT + 0.5 * torch.eye(n, dtype=torch.float64)
    checks = []
    for concept, (moved, sign) in MOVED.items():
        pairs = counterfactuals.problem_pairs(pool, concept, 10)
        before, after = matrix_properties(pairs.base), matrix_properties(pairs.changed)
        held = [points.array(after[p] - before[p]) for p in counterfactuals.HELD[concept]]
        checks.append(compare(name, f"what pairs of {concept} hold", 0, np.stack(held), 1e-8))
        up = float((sign * (after[moved] - before[moved]) > 0).double().mean())
        checks.append(
            Check(name, f"share of pairs of {concept} that differ in it", expected=1, measured=up, tolerance=0)
        )
    energy = references.ideal
    y0 = points.answers(energy, references.A)
    states = counterfactuals.state_pairs(energy, y0, 3, "noisy_answer", generator)
    home, radius = points.centre(energy, y0, 3), points.noise_radius(energy, 3)
    distances = torch.stack([(y - home).norm(dim=1) / radius for y in states])
    aimed = np.repeat([[counterfactuals.NEAR], [counterfactuals.FAR]], len(y0), 1)
    return [*checks, compare(name, "distances of clean and noisy states", aimed, distances, 1e-9)]
