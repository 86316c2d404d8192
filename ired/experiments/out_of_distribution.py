"""Out-of-distribution problems of P6-04, and who is judged on them: a model, what was settled of it on problems of
its training, and a model of another side that is trained for a short time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from pandas import DataFrame
from torch import Tensor

from ired.experiments.controls import panel
from ired.instruments.dictionaries.sparse_autoencoder import Dictionary
from ired.instruments.interventions import manifold
from ired.instruments.transfer import evidence, study
from ired.instruments.transfer.study import Judge
from ired.model import problems, shifted_problems
from ired.model.protocol import Energy
from ired.model.sampling import AnnealedSampler
from ired.model.shifted_problems import Family

if TYPE_CHECKING:
    from ired.lab.run import Run


@dataclass(frozen=True)
class Setting:
    """SETUP-3's model beside an untrained one, the sampler, and `scale`, by which its answers are too large."""

    run: Run
    model: Energy
    untrained: Energy
    sampler: AnnealedSampler
    scale: float

    @classmethod
    def of(cls, run: Run) -> Setting:
        energies = panel(run, "untrained")
        model, sampler = energies["trained"], AnnealedSampler(**run.profile.sampling)
        scale = model.schedule.sqrt_alpha_bar[0].item() if sampler.scaled_output else 1.0
        return cls(run=run, model=model, untrained=energies["untrained"], sampler=sampler, scale=scale)

    def stream(self, purpose: str) -> torch.Generator:
        """Random numbers of their own for each purpose."""
        return problems.generator(self.run.seed, f"P6-04 {purpose}")

    def drawn(self, count: int, purpose: str, side: int) -> Tensor:
        """Problems (count, side, side) of the training distribution."""
        c = self.run.profile.problem.c
        return problems.draw(count, side, c, self.stream(purpose), dtype=torch.float64).to(self.run.device)

    def families(self) -> tuple[dict[str, Family], dict[str, Family]]:
        """Shifted families, noted as the run's data set, and inputs without sense, by name."""
        size, problem = self.run.params, self.run.profile.problem
        shifted, odd = (
            shifted_problems.draw_families(table, count, problem.n, c=problem.c, stream=self.stream)
            for table, count in (
                (shifted_problems.SHIFTED, size.problems),
                (shifted_problems.PATHOLOGICAL, size.odd),
            )
        )
        every = torch.cat([family.A for family in shifted.values()])
        source = "ired.model.shifted_problems.SHIFTED"
        self.run.dataset(f"P6-04 n={problem.n}", problems.problem_digest(every), "fresh, shifted", source)
        return shifted, odd

    def judge(self, energy: Energy, untrained: Energy | None, side: int) -> Judge:
        """An energy beside predictors fitted on training problems of this side."""
        A = self.drawn(self.run.params.fitted, f"fitted {side}", side)
        return Judge.of(
            energy,
            untrained,
            sampler=self.sampler,
            A=A,
            Y=problems.inverse(A),
            stream=self.stream,
            scale=self.scale,
        )

    def bench(self, dictionaries: Mapping[str, Dictionary]) -> evidence.TransferBench:
        """Features of the dictionaries and directions of P3-05's verdicts, settled on training problems."""
        size, n = self.run.params, self.run.profile.problem.n
        nature = manifold.nature(self.model, self.drawn(size.chosen, "chosen", n), self.stream("nature"))
        return evidence.settle(
            self.model,
            self.untrained,
            sampler=self.sampler,
            properties=problems.properties,
            dictionaries=dictionaries,
            verdicts=self.run.upstream("P3-05").table("verdicts"),
            nature=nature,
            features=size.features,
            directions=size.directions,
            landscapes=size.landscapes,
            seed=self.stream("bench").initial_seed(),
        )

    def other_side(self, judge: Judge, side: int) -> DataFrame:
        """Rows of `ood_detection.shift_accuracy` on problems of another side: of a model of that side, trained for
        `other_steps`, and of the judged one on problems embedded into its own."""
        run, size = self.run, self.run.params
        profile, c, n = run.profile, run.profile.problem.c, run.profile.problem.n
        small = shifted_problems.short_model(
            side,
            c,
            model=profile.model,
            training=profile.training,
            steps=size.other_steps,
            variant=run.variant,
            seed=run.seed,
            device=run.device,
        )
        sets = shifted_problems.problems_of_other_side(side, size.problems, c, self.stream)
        return study.other_side_accuracy(
            self.judge(small, None, side), judge, embed=lambda A: shifted_problems.embedded_problems(A, n), sets=sets
        )
