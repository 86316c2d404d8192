"""Retraining on parts of a finite training set: what P6-02 holds influence functions against.

Problems to train on, problems to ask about and what is drawn for each are fixed once. Small networks of
P6-02's own are then trained on all problems, on random halves, and without some of them; and SETUP-3's own
model is asked which problems pull its score the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from numpy.typing import NDArray
from torch import Tensor

from ired.instruments.core import states
from ired.instruments.influence import outcomes, study
from ired.instruments.influence.outcomes import Draws
from ired.model import problems
from ired.model.checkpoint import load_energy
from ired.model.energies.mlp import EnergyConfig
from ired.model.sampling import AnnealedSampler
from ired.model.training.ensemble import Ensemble, Past, Recipe, TableEnergy, as_function, retrain

if TYPE_CHECKING:
    from ired.lab.run import Run

ON_EVERYTHING = 2  # networks trained on all problems
PER_HALF = ON_EVERYTHING + 1  # on each half: from the first weights of each of these, and from others
KEPT = (0.1, 0.3, 0.5, 0.7, 0.9)  # parts of a training after which weights are kept, for TracIn


@dataclass(frozen=True)
class FiniteTraining:
    """N problems that networks are trained on, T that they are asked about, and how they are trained.

    A (N, n, n), asked (T, n, n): on the CPU, double; train, test: what is drawn for each of them.
    """

    run: Run
    config: EnergyConfig
    recipe: Recipe
    sampler: AnnealedSampler
    A: Tensor
    asked: Tensor
    train: Draws
    test: Draws

    @classmethod
    def of(cls, run: Run, generator: torch.Generator) -> FiniteTraining:
        """Draw problems and all that is asked of them, and note them as the run's data set."""
        size, c = run.params, run.profile.problem.c
        config = EnergyConfig.for_problems(size.n, c, **{**run.profile.model, "hidden": size.hidden})
        double = torch.zeros(1, device=run.device).double()
        drawn = problems.draw(size.training + size.tests, size.n, c, generator, dtype=torch.float64)
        run.dataset(f"P6-02 n={size.n}", problems.problem_digest(drawn), "finite", "ired.model.problems.draw")
        A, asked = drawn[: size.training], drawn[size.training :]
        untrained = TableEnergy(config).to(double)
        test = Draws.of(untrained, asked.to(double), states=size.draws, starts=size.draws, generator=generator)
        train = Draws.of(untrained, A.to(double), states=1, starts=1, generator=generator)
        return cls(
            run=run,
            config=config,
            recipe=Recipe(size.steps),
            sampler=AnnealedSampler(**run.profile.sampling),
            A=A,
            asked=asked,
            train=train,
            test=test,
        )

    def matrices(self) -> dict[str, Tensor]:
        """Both sets of problems by the names under which they are kept."""
        return {"train.A": self.A, "test.A": self.asked}

    def distances(self) -> NDArray:
        """‖A_test − A‖ (T, N)."""
        return states.array(torch.cdist(self.asked.flatten(1), self.A.flatten(1)))

    def retrained(
        self, name: str, masks: Tensor, seeds: Tensor, weights: Tensor, keep: tuple[int, ...] = ()
    ) -> tuple[Ensemble, Past, dict[str, NDArray]]:
        """M networks trained on the problems of each mask (M, N), what they were before the steps `keep`,
        and their outcomes by name, (M, T).

        seeds, weights (M,): of batches and of first weights; name: of the checkpoint. Raises
        FloatingPointError where training diverges.
        """
        run, single = self.run, torch.zeros(1, device=self.run.device)
        with run.progress(self.recipe.steps, f"steps of {len(masks)} networks") as bar:
            networks, past = retrain(
                self.config,
                self.A,
                masks,
                seeds=seeds,
                weights=weights,
                recipe=self.recipe,
                draw=lambda what: problems.generator(run.seed, f"influence {what}"),
                like=single,
                keep=keep,
                tick=bar.update,
                checkpoint=run.checkpoint(name),
            )
        values = outcomes.measure_outcomes(networks, self.test.to(single), self.sampler, members=len(masks))
        return networks, past, {outcome: states.array(value) for outcome, value in values.items()}

    def on_halves(self, halves: Tensor) -> tuple[list[study.Trained], dict[str, NDArray], dict[str, NDArray]]:
        """Networks trained on everything, as influence sees them; their outcomes by name, (2, T); and those
        of networks trained on halves (M, N), (3, M, T): twice from the same first weights, once from others."""
        everything = torch.ones(ON_EVERYTHING, len(self.A), dtype=torch.bool)
        masks = torch.cat([everything, *[halves] * PER_HALF])
        whole, others = torch.arange(ON_EVERYTHING), ON_EVERYTHING + torch.arange(len(halves))
        seeds = torch.cat([whole, whole.repeat_interleave(len(halves)), others])
        marks = tuple(round(self.recipe.steps * part) for part in KEPT)
        weights = seeds * (seeds >= ON_EVERYTHING)
        ensemble, past, measured = self.retrained("halves", masks, seeds, weights=weights, keep=marks)
        networks = []
        for m in whole.tolist():
            earlier = [(rate, ensemble.member(m, kept).double()) for rate, kept in past]
            networks.append(study.Trained.of(ensemble.member(m).double(), as_function, earlier))
        of_whole = {name: values[:ON_EVERYTHING] for name, values in measured.items()}
        of_halves = {
            name: values[ON_EVERYTHING:].reshape(PER_HALF, len(halves), -1) for name, values in measured.items()
        }
        return networks, of_whole, of_halves

    def without(self, arms: Tensor, seeds: int) -> NDArray:
        """Score errors (seeds, arms, T) of networks trained on the problems of each arm's mask (arms, N), all
        from the same first weights."""
        seed = torch.arange(seeds).repeat_interleave(len(arms))
        *_, measured = self.retrained("removal", arms.repeat(seeds, 1), seed, weights=seed * 0)
        return measured["score_error"].reshape(seeds, len(arms), -1)


def pulls_of_studied_model(run: Run, generator: torch.Generator) -> tuple[NDArray, Tensor, Tensor]:
    """Cosines (T, P) of the gradients of SETUP-3's model, which no finite set made, on fresh problems
    (P, n, n) and on T of its test problems; and these problems."""
    size, single = run.params, torch.zeros(1, device=run.device)
    model = load_energy(run.upstream("SETUP-3").path("model.safetensors"), run.device).requires_grad_()
    near = run.upstream("SETUP-2").tensors("problems")["test.A"][: size.tests].to(single)
    c = run.profile.problem.c
    fresh = problems.draw(size.fresh, model.config.n, c, generator, dtype=torch.float64).to(single)
    draws = [Draws.of(model, A, states=size.draws, starts=1, generator=generator) for A in (fresh, near)]
    return study.pull(model, list(model.parameters()), *draws), fresh, near


def property_arrays(A: Tensor) -> dict[str, NDArray]:
    """Properties of problems (P, n, n) by name, (P,) each, without the rank, which all of them share."""
    return {name: states.array(values) for name, values in problems.properties(A).items() if name != "rank"}
