"""Metrics of one model, its portrait: what the instruments of all phases say of it, at reduced sizes, as plain numbers.

Portraits are there to be compared. So all models are asked about the same problems and random points
(`PortraitScene`), every number is defined for every model (a minimum that was not found counts as far away, an
answer that is not positive definite as lifted into the cone), and nothing needs layers: any energy will
do. Intervals are left to the comparison, whose unit is the seed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from pandas import DataFrame, concat
from torch import Tensor

from ired.instruments.comparison import model_metrics_answers, model_metrics_landscape
from ired.instruments.comparison.metric_names import metrics
from ired.instruments.comparison.model_metrics_answers import HARDER, TEST, Family
from ired.instruments.comparison.model_metrics_landscape import Stream
from ired.instruments.core import states as points
from ired.instruments.core.sampler import Sampler
from ired.instruments.landscape import equivariance
from ired.instruments.landscape.equivariance import PERMUTATIONS, ROTATIONS
from ired.model.protocol import Energy

TURNED = {ROTATIONS: "rotated", PERMUTATIONS: "permuted"}


@dataclass(frozen=True)
class PortraitSizes:
    """How much of everything. Problems are the first ones of those that a part looks at.

    landscapes: whose shape is seen, k = 0 among them (None: all); problems: for shapes and for
    derivatives by A; curved, descended: of them, for Hessians and for descents; segments, states:
    random ones of each problem; distances: of descents' starts in noise radii, `starts` at each;
    bottoms: landscapes that are descended, k = 0 among them; jacobians: problems of answers'
    derivatives (two at least: each is held against another's exact one), `rows` samples at once;
    followed: test problems followed to their answers, beside `draws` of noise each; linear: test and
    harder problems of the alarm and the linear surrogate; rotated: problems that are turned, and of
    them those that are sampled anew.
    """

    landscapes: tuple[int, ...] | None = None
    problems: int = 16
    curved: int = 8
    segments: int = 16
    states: int = 16
    descended: int = 12
    distances: tuple[float, ...] = (1.0, 10.0, 30.0)
    starts: int = 1
    bottoms: tuple[int, ...] = (0,)
    jacobians: int = 4
    rows: int = 64
    followed: int = 48
    draws: int = 8
    linear: int = 500
    rotated: tuple[int, int] = (48, 16)

    def __post_init__(self) -> None:
        if min(self.problems, self.jacobians) < 2:
            raise ValueError("one problem alone has no other one to be compared with: two at least")
        if 0 not in self.bottoms or 0 not in (self.landscapes or (0,)):
            raise ValueError("a portrait's numbers are those of k = 0, which must be looked at")


TINY = PortraitSizes(
    landscapes=(0, 4, 9),
    problems=4,
    curved=3,
    descended=2,
    distances=(1.0, 10.0),
    jacobians=2,
    followed=12,
    draws=4,
    linear=60,
    rotated=(12, 6),
)
PAPER = PortraitSizes(problems=8, curved=4, descended=3, jacobians=2, rotated=(24, 8))


@dataclass(frozen=True)
class PortraitScene:
    """What all models are shown.

    families: problems A (N, n, n), inverses Y (N, n, n) and starts (N, d) by name, "test" and "harder"
    among them; names become parts of metrics' names. A (P, n, n): problems for all that is not
    accuracy. All float64. stream(purpose) gives every purpose its random numbers, each time the same.
    scale: what a sampler multiplies answers by (the release: √ᾱ_0).
    """

    families: Mapping[str, Family]
    A: Tensor
    stream: Stream
    scale: float = 1.0

    def __post_init__(self) -> None:
        for name in (TEST, HARDER):
            if name not in self.families:
                raise ValueError(f"a scene needs problems of the family '{name}'")


@dataclass(frozen=True)
class Portrait:
    """numbers: by metric; tables: "landscapes" (metric, landscape, value) and "equivariance" (turns,
    what, error, unrelated: the level of things that have nothing to do with each other); seconds: by
    part."""

    numbers: dict[str, float]
    tables: dict[str, DataFrame]
    seconds: dict[str, float]

    def missing(self, families: Iterable[str]) -> list[str]:
        """Metrics without a finite number."""
        numbers = ((name, self.numbers.get(name, math.nan)) for name in metrics(families))
        return [name for name, value in numbers if not math.isfinite(value)]


def take(
    energy: Energy,
    sampler: Sampler,
    scene: PortraitScene,
    sizes: PortraitSizes | None = None,
    bulk: Energy | None = None,
) -> Portrait:
    """The portrait of an energy in float64.

    bulk: the same energy in float32, if accuracy is to be sampled in that. Raises ValueError naming the
    metrics that have no finite number.
    """
    sizes, seconds = sizes or PortraitSizes(), {}
    tables: dict[str, DataFrame] = {}

    def landscape() -> dict[str, float]:
        ks = sizes.landscapes or range(energy.schedule.K)
        A, stream = scene.A[: sizes.problems], scene.stream
        shapes = model_metrics_landscape.landscape_shape(
            energy, A, ks, sizes.segments, sizes.states, sizes.curved, stream
        )
        bottoms = model_metrics_landscape.basins(
            energy, A[: sizes.descended], sizes.bottoms, sizes.distances, sizes.starts, stream
        )
        tables["landscapes"] = concat([shapes, bottoms], ignore_index=True)
        sharpest = tables["landscapes"][tables["landscapes"]["landscape"] == 0]
        return dict(zip(sharpest["metric"], sharpest["value"].tolist(), strict=True))

    def accuracy() -> dict[str, float]:
        model, dtype = (energy, torch.float64) if bulk is None else (bulk, torch.float32)
        numbers, sampled = model_metrics_answers.answer_accuracy(model, sampler, scene.families, dtype)
        states.update(sampled)
        return numbers

    def geometry() -> dict[str, float]:
        A, Y, start = (given[: sizes.followed] for given in scene.families[TEST])
        return model_metrics_answers.geometry(
            energy, sampler, A, Y, start, sizes.draws, scene.scale, scene.stream("geometry")
        )

    def turns() -> dict[str, float]:
        many, few = sizes.rotated
        A = scene.families[TEST][0][:many]
        turned = equivariance.measure_equivariance(
            energy,
            A,
            points.answers(energy, A),
            scene.stream("equivariance"),
            sampled=few,
            sampler=lambda *given: sampler(*given) / scene.scale,
        )
        tables["equivariance"] = DataFrame(turned.columns())
        return {f"equivariance.{TURNED[turns]}_{what}": alike.error for (turns, what), alike in turned.alike.items()}

    states: dict[str, Tensor] = {}
    numbers: dict[str, float] = {}
    for name, part in {
        "accuracy": accuracy,
        "landscape": landscape,
        "attribution": lambda: model_metrics_answers.sensitivity(
            energy,
            sampler,
            scene.A[: sizes.problems],
            sizes.jacobians,
            sizes.rows,
            scene.scale,
            scene.stream,
        ),
        "geometry": geometry,
        "sanity": lambda: model_metrics_answers.sanity(
            energy, scene.families, states, sizes.linear, scene.scale, scene.stream("sanity")
        ),
        "equivariance": turns,
    }.items():
        began = time.perf_counter()
        numbers |= part()
        seconds[name] = time.perf_counter() - began
    portrait = Portrait(numbers, tables, seconds)
    if missing := portrait.missing(scene.families):
        raise ValueError(f"the portrait has no finite {', '.join(missing)}")
    return portrait
