"""Model randomisation (Adebayo et al. 2018) and what else findings of a network are doubted with in P6-03:
short trainings on true and on shuffled answers, least squares on the matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ired.experiments.controls import fresh_problems
from ired.instruments.accuracy import predictors
from ired.instruments.sanity import randomisation
from ired.instruments.sanity.randomisation import Altered
from ired.model import problems, weight_edits
from ired.model.energies.architectures import trained
from ired.model.training import shuffled_answers
from ired.model.training.graph_trainer import trainer
from ired.model.training.trainer import TrainingConfig

if TYPE_CHECKING:
    from ired.lab.run import Run
    from ired.model.energies.architectures import LearnedEnergy

CHUNK = 4000  # problems that least squares takes at once


def problem_sets(run: Run) -> tuple[Tensor, Tensor, Tensor]:
    """Fresh problems of all findings, those that pairs are matched from, and those of the linear surrogate; noted
    as the run's data set."""
    sets = tuple(
        fresh_problems(run, getattr(run.params, name), f"sanity {name}") for name in ("problems", "pool", "surrogate")
    )
    name = f"sanity n={run.profile.problem.n}"
    run.dataset(name, problems.problem_digest(torch.cat(sets)), "fresh", "ired.model.problems.draw")
    return sets


def trained_briefly(run: Run, model: LearnedEnergy) -> tuple[LearnedEnergy, LearnedEnergy]:
    """Networks like the model after equal, short trainings on true and on shuffled answers. Raises Diverged."""
    config = TrainingConfig(c=run.profile.problem.c, **trained(run.variant, run.profile.training))
    config = shuffled_answers.brief(config, run.params.steps, run.params.batch)
    true, shuffled = (
        shuffled_answers.finished(made(model.config, config, run.seed, run.device))
        for made in (trainer, shuffled_answers.shuffled)
    )
    return true, shuffled


def with_fresh_weights(run: Run, model: LearnedEnergy) -> list[Altered]:
    """The model with weights drawn anew from the last layer down, several draws, and in each layer alone, one."""
    altered = []
    for order, draws in {"cascade": run.params.draws, "independent": 1}.items():
        for step, layers in randomisation.steps(order):
            for i in range(draws):
                stream = problems.generator(run.seed, f"{order} {step} {i}")
                altered.append(Altered(order, step, i, weight_edits.randomised(model, layers, stream)))
    return altered


def least_squares_answers(run: Run, A: Tensor) -> dict[str, Tensor]:
    """Inverses of A (P, n, n) by least squares on A, and on A and A², fitted on other problems: by name."""
    batches = ((a, problems.inverse(a)) for a in fresh_problems(run, run.params.squares, "sanity squares").split(CHUNK))
    return {name: of(A) for name, of in predictors.affine_predictors(batches).items() if of.degree}
