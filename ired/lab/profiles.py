"""The sizes at which the whole pipeline can run, and nothing else.

tiny       seconds for everything: the tests
small      the default: minutes on a laptop with two cores
paper      the published setting, its oddities included (docs: METHODS 4), at a batch that two cores can train;
           models are kept
paper-std  `paper` but for standardised, symmetric inputs and outputs and the learning rate
paper-gpu  `paper` with nothing kept, trained as long as replications are at the published batch, larger samples
small-published  the published setting at the sizes of `small`: what a laptop can say about it
tiny-published   `paper-std` with the samples of `tiny`, trained for nothing: does every script run at 20 × 20?

The weights that are studied are a moving average. It reaches back ema_every/(1 − ema_decay) steps: the release's
2000, nothing to its 1.3 M steps, but half of a short training, whose models would lag behind what was trained. So it
is at most a twentieth of the steps in every profile but `paper`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any


class Section(Mapping[str, Any]):
    """What a section of a profile has besides its typed fields: `AnnealedSampler(**profile.sampling)` unpacks it by
    name."""

    def __getitem__(self, name: str) -> Any:
        return vars(self)[name]

    def __iter__(self) -> Iterator[str]:
        return iter(vars(self))

    def __len__(self) -> int:
        return len(vars(self))


@dataclass(frozen=True)
class ProblemSection(Section):
    """n: side of the matrices; c: what is added to their diagonal."""

    n: int
    c: float


@dataclass(frozen=True)
class ModelSection(Section):
    """Of `EnergyConfig.for_problems`."""

    hidden: int
    landscapes: int
    symmetric: bool
    standardised: bool


@dataclass(frozen=True)
class TrainingSection(Section):
    """Of `TrainingConfig`."""

    steps: int
    batch: int
    learning_rate: float
    decay: bool
    clip: float
    later_step_factor: float
    clamp_by_first: bool
    ema_decay: float
    ema_every: int


@dataclass(frozen=True)
class SamplingSection(Section):
    """Of `SamplingConfig`."""

    inner_steps: int
    clip: float
    later_step_factor: float
    scaled_output: bool


@dataclass(frozen=True)
class EvaluationSection(Section):
    """problems: how many each test set has."""

    problems: int


@dataclass(frozen=True)
class Profile:
    """One size.

    sizes: which of a parameter's sizes it takes, "tiny", "default", "paper" or "gpu".
    """

    name: str
    sizes: str
    problem: ProblemSection
    model: ModelSection
    training: TrainingSection
    sampling: SamplingSection
    evaluation: EvaluationSection

    def sections(self) -> dict[str, dict[str, Any]]:
        """The sections without the name, in the order in which they are logged."""
        values = asdict(self)
        del values["name"], values["sizes"]
        return values


PAPER = Profile(
    name="paper",
    sizes="paper",
    problem=ProblemSection(n=20, c=0.5),
    model=ModelSection(hidden=512, landscapes=10, symmetric=False, standardised=False),
    # A batch of 512, where 2048 is published, ends at the same error after as many steps, and 15 000 of them at
    # the same as 10 000 (docs/notebook.md).
    training=TrainingSection(
        steps=10_000,
        batch=512,
        learning_rate=1e-4,
        decay=False,
        clip=2.0,
        later_step_factor=2.0,
        clamp_by_first=True,
        ema_decay=0.995,
        ema_every=10,
    ),
    sampling=SamplingSection(inner_steps=5, clip=2.0, later_step_factor=2.0, scaled_output=True),
    evaluation=EvaluationSection(problems=10_000),
)
PAPER_STD = replace(
    PAPER,
    name="paper-std",
    model=replace(PAPER.model, symmetric=True, standardised=True),
    training=replace(
        PAPER.training,
        steps=80_000,  # a quarter of them ends at a worse sample than a thousand steps do (docs/notebook.md)
        learning_rate=1e-3,
        decay=True,
        clip=6.0,
        later_step_factor=1.0,
        clamp_by_first=False,
        ema_every=1,
    ),
    sampling=replace(PAPER.sampling, clip=6.0, later_step_factor=1.0, scaled_output=False),
)
SMALL = replace(
    PAPER_STD,
    name="small",
    sizes="default",
    problem=replace(PAPER_STD.problem, n=6),
    model=replace(PAPER_STD.model, hidden=256),
    training=replace(PAPER_STD.training, steps=4000, batch=512, learning_rate=6e-3),
    evaluation=EvaluationSection(problems=4000),
)
TINY = replace(
    SMALL,
    name="tiny",
    sizes="tiny",
    problem=replace(SMALL.problem, n=3),
    model=replace(SMALL.model, hidden=64),
    training=replace(SMALL.training, steps=400, batch=128, ema_decay=0.95),
    evaluation=EvaluationSection(problems=400),
)
TINY_PUBLISHED = replace(
    PAPER_STD,
    name="tiny-published",
    sizes="tiny",
    training=replace(PAPER_STD.training, steps=40, batch=64, ema_decay=0.5),
    evaluation=TINY.evaluation,
)
SMALL_PUBLISHED = replace(
    PAPER,
    name="small-published",
    sizes="default",
    problem=SMALL.problem,
    model=replace(PAPER.model, hidden=SMALL.model.hidden),
    training=replace(
        PAPER.training,
        steps=SMALL.training.steps,
        batch=SMALL.training.batch,
        ema_decay=SMALL.training.ema_decay,
        ema_every=SMALL.training.ema_every,
    ),
    evaluation=SMALL.evaluation,
)
# 100 k steps are what public replications train; the paper's own runs are 1.3 M.
PAPER_GPU = replace(PAPER, name="paper-gpu", sizes="gpu", training=replace(PAPER.training, steps=100_000, batch=2048))
PROFILES = {p.name: p for p in (TINY, SMALL, PAPER, PAPER_STD, PAPER_GPU, SMALL_PUBLISHED, TINY_PUBLISHED)}
