"""Out-of-distribution generalisation of one model: every family through the same mill, what was seen, the verdicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame, concat
from torch import Generator, Tensor

from ired.instruments.accuracy.predictors import Predictor, affine_predictors
from ired.instruments.core.sampler import Sampler
from ired.instruments.statistics.intervals import Interval
from ired.instruments.transfer import evidence, ood_detection
from ired.instruments.transfer.score import Block, by_family
from ired.model.protocol import Energy

LEVEL = 0.05
LEAST = 0.6  # transfer score that is asked for


class ProblemFamily(Protocol):
    """Problems A (P, n, n), their inverses Y (or pseudo-inverses, where none `exists`), and those of
    what A was before it was disturbed, or None."""

    A: Tensor
    Y: Tensor
    clean: Tensor | None
    exists: bool


@dataclass(frozen=True)
class Judge:
    """A model beside predictors fitted on problems `training` (N, n, n) of its distribution.

    sampler and scale: as `ood_detection.sampled_with_scores` takes them; stream(purpose): a generator.
    """

    energy: Energy
    untrained: Energy | None
    sampler: Sampler
    linear: Mapping[str, Predictor]
    training: Tensor
    stream: Callable[[str], Generator]
    scale: float = 1.0

    @classmethod
    def of(
        cls,
        energy: Energy,
        untrained: Energy | None,
        sampler: Sampler,
        A: Tensor,
        Y: Tensor,
        stream: Callable[[str], Generator],
        scale: float = 1.0,
    ) -> Judge:
        """Predictors fitted on problems A with inverses Y (N, n, n)."""
        return cls(
            energy=energy,
            untrained=untrained,
            sampler=sampler,
            linear=affine_predictors([(A, Y)]),
            training=A,
            stream=stream,
            scale=scale,
        )

    def answers(self, A: Tensor, purpose: str) -> tuple[ood_detection.Sampled, dict[str, Tensor]]:
        """What the model makes of A, and all answers (P, n, n) by predictor ("model" first)."""
        sampled = ood_detection.sampled_with_scores(
            self.energy, A, self.sampler, self.stream(purpose), untrained=self.untrained, scale=self.scale
        )
        return sampled, {"model": sampled.Y} | {name: of(A) for name, of in self.linear.items()}


@dataclass
class TransferStudy:
    """What was seen of all families.

    accuracy: rows of `ood_detection.shift_accuracy`, noisy families against either truth; better: by shifted family
    and truth, how far the model is ahead of least squares; detection: rows of `ood_detection.detection`;
    null: by detector, its AUROC on the fresh draw; blocks: findings by family; usual: energies at the
    answers to training problems; finite: whether all answers are. Levels of `better`, `null` and of
    the margins in `detection` are Bonferroni-corrected.
    """

    accuracy: DataFrame = field(default_factory=DataFrame)
    detection: DataFrame = field(default_factory=DataFrame)
    better: dict[str, Interval] = field(default_factory=dict)
    null: dict[str, Interval] = field(default_factory=dict)
    blocks: dict[str, list[Block]] = field(default_factory=dict)
    usual: NDArray = field(default_factory=lambda: np.zeros(0))
    finite: bool = True

    def wins(self, null: str) -> dict[str, dict[str, int]]:
        """In how many cases, and of how many: "better" than least squares; each of ENERGIES surely
        ahead of the inputs, and of the entries, in families other than `null`; "null": intervals there
        that exclude ½."""
        above = {
            "better": [interval.low > 0 for interval in self.better.values()],
            "null": [bool(interval.excludes(0.5)) for interval in self.null.values()],
        }
        shifted = self.detection[self.detection["family"] != null].set_index("detector")
        for name in ood_detection.ENERGIES:
            for what in ("inputs", "entries"):
                above[f"{name}_ahead_of_{what}"] = list(shifted.loc[[name], f"ahead_{what}_low"] > 0)
        return {name: {"count": sum(v), "of": len(v)} for name, v in above.items()}

    def outside(self, same: str) -> dict[str, list[Block]]:
        return {name: blocks for name, blocks in self.blocks.items() if name != same}


def study_transfer(
    judge: Judge,
    families: Mapping[str, ProblemFamily],
    same: str,
    null: str,
    bench: evidence.TransferBench,
    tested: int,
    few: int,
    done: Callable[[int], Any] = lambda _: None,
) -> TransferStudy:
    """families: by name, among them `same`, of the training distribution, which comes first, and
    `null`, a fresh draw of it; tested, few: problems for `evidence.measure_findings`."""
    results, accuracy, detection, usual = TransferStudy(), [], [], {}
    shifted = [name for name in families if name not in (same, null)]
    truths = len(shifted) + sum(families[name].clean is not None for name in shifted)
    for name, made in families.items():
        A = made.A.to(judge.training)
        sampled, answers = judge.answers(A, name)
        results.finite &= bool(sampled.Y.isfinite().all())
        for truth, Y in {name: made.Y, f"{name}, clean truth": made.clean}.items():
            if Y is not None:
                accuracy.append(ood_detection.shift_accuracy(truth, answers, Y.to(A)))
                if name in shifted:
                    level = 1 - LEVEL / truths
                    results.better[truth] = ood_detection.relative_gain(
                        sampled.Y, answers["least_squares"], Y.to(A), level
                    )
        scores = sampled.scores | ood_detection.input_scores(A, judge.training)
        results.blocks[name] = evidence.measure_findings(bench, A[:tested], few)
        if name == same:
            usual, results.usual = scores, scores["energy"]
        else:
            seen_by = ood_detection.aurocs(usual, scores)
            detection.append(ood_detection.detection(name, seen_by, 1 - LEVEL / len(shifted)))
            if name == null:
                level = 1 - LEVEL / len(scores)
                results.null = {d: seen_by.interval(d, level) for d in seen_by.names}
        done(1)
    results.accuracy, results.detection = (concat(t, ignore_index=True) for t in (accuracy, detection))
    return results


def transfer_verdicts(
    study: TransferStudy, scores: DataFrame, odd: DataFrame, null: str
) -> dict[str, tuple[bool, dict[str, float]]]:
    """Whether each criterion of P6-04 is met, with the numbers behind it; scores: rows of `score.transfer_summary`;
    odd: rows of `pathologies`; null: the family that is a fresh draw of the training distribution."""
    wins, whole = study.wins(null), by_family(scores)
    total, ceiling = whole.loc["shifted"], whole.loc[null, "score"]
    shift, better = wins["energy_ahead_of_inputs"], wins["better"]
    least = odd[odd["predictor"] == "model"]["finite"].min()
    return {
        "transfers": (total.low > LEAST, {"score": total.score, "low": total.low, "ceiling": ceiling}),
        "transfers_beyond_chance": (total.low > total.chance, {"chance": total.chance}),
        "energy_detects_shift": (2 * shift["count"] > shift["of"], shift),
        "null_is_not_detected": (wins["null"]["count"] == 0, wins["null"]),
        "still_better_than_linear": (better["count"] == better["of"], better),
        "finite_everywhere": (study.finite and least == 1, {"least": least}),
    }


def pathologies(judge: Judge, families: Mapping[str, ProblemFamily], usual: NDArray) -> DataFrame:
    """Rows of `ood_detection.pathology` for inputs that the task does not mean."""
    rows = []
    for name, made in families.items():
        A = made.A.to(judge.training)
        sampled, answers = judge.answers(A, name)
        E = sampled.scores["energy"]
        rows.append(
            ood_detection.pathology(name, A, made.Y.to(A), exists=made.exists, answers=answers, energy=E, usual=usual)
        )
    return concat(rows, ignore_index=True)


def other_side_accuracy(
    judge: Judge,
    larger: Judge,
    embed: Callable[[Tensor], Tensor],
    sets: Mapping[str, tuple[Tensor, Tensor]],
) -> DataFrame:
    """Rows of `ood_detection.shift_accuracy` for problems (A, Y) of another side m, by name: a model of that side,
    the larger one on the problems embedded into its own (their block of its answer), and predictors.
    """
    rows = []
    for name, (A, Y) in sets.items():
        A, Y = A.to(judge.training), Y.to(judge.training)
        _, answers = judge.answers(A, name)
        whole, _ = larger.answers(embed(A), name)
        answers["embedded"] = whole.Y[:, : A.shape[-1], : A.shape[-1]]
        rows.append(ood_detection.shift_accuracy(name, answers, Y))
    return concat(rows, ignore_index=True)
