"""Eigenvalue and eigenvector parts of scores, of walks to the answer, and of answers (P4-03)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from pandas import DataFrame, concat
from torch import Tensor

from ired.instruments.core import states, trajectories
from ired.instruments.core.sampler import Sampler
from ired.instruments.eigen_decomposition import eigen_exchange, eigen_split
from ired.instruments.eigen_decomposition.eigen_exchange import Swap
from ired.instruments.eigen_decomposition.eigen_split import Aim, Frame, Parts, Score
from ired.instruments.statistics.intervals import Interval, mean_interval, paired_interval, student_interval
from ired.instruments.statistics.tables import per_unit
from ired.model.protocol import Energy


def per_dimension(frame: Frame, eigenvalue: NDArray, eigenvector: NDArray) -> tuple[NDArray, NDArray]:
    """Parts (..., P) by the number of their dimensions: equal for isotropic noise.

    Where all eigenvalues are one group there are no eigenvectors to be wrong about: NaN."""
    whole = frame.n * (frame.n + 1) / 2
    values = states.array(frame.isotropic) * whole
    rest = np.where(whole - values > 0.5, whole - values, np.nan)
    return eigenvalue / values, eigenvector / rest


def score_parts(
    energy: Energy,
    looked_at: dict[str, Score],
    frame: Frame,
    y0: Tensor,
    draws: int,
    generator: torch.Generator,
    clip: float,
) -> tuple[DataFrame, DataFrame]:
    """Parts of every score at the same noised answers of every landscape (`eigen_split.parts_at_noise`).

    Two tables: a row for each score ("energy"; "blind" comes first), quantity, landscape and problem;
    and means with intervals: measures share, random, odd, and eigenvalue, eigenvector: the parts by
    the number of their dimensions.
    """
    landscapes, state = range(energy.schedule.K), generator.get_state()
    tables, rows = [], []
    for name, score in {"blind": eigen_split.blind_multiple, **looked_at}.items():
        generator.set_state(state)  # the same points for every score: comparisons are paired
        by_quantity = eigen_split.parts_at_noise(energy, score, frame, y0, landscapes, draws, generator, clip)
        for quantity, parts in by_quantity.items():
            axes = {"landscape": landscapes, "problem": range(len(y0))}
            tables.append(DataFrame(parts.columns(axes)).assign(energy=name, quantity=quantity))
            eigenvalue, eigenvector = per_dimension(frame, parts.eigenvalue, parts.eigenvector)
            rows += eigen_split.mean_curves(
                {
                    "share": parts.share,
                    "random": parts.random,
                    "odd": parts.odd_share,
                    "eigenvalue": eigenvalue,
                    "eigenvector": eigenvector,
                },
                {"landscape": landscapes},
                energy=name,
                quantity=quantity,
            )
    return concat(tables, ignore_index=True), DataFrame(rows)


@dataclass(frozen=True)
class Walk:
    """Errors of one sampler's answers after each step: parts and swaps with arrays (S, P)."""

    frame: Frame
    parts: Parts
    swap: Swap

    @classmethod
    def of(cls, clean: Tensor, frame: Frame, Y: Tensor) -> Walk:
        """From the matrices (S, P, n, n) that the states stand for."""
        return cls(
            frame, eigen_split.parts_over_steps(clean, frame, Y), eigen_exchange.swap_over_steps(frame, Y, clean)
        )

    def table(self) -> DataFrame:
        """A row for each step and problem."""
        steps, count = self.parts.share.shape
        axes = {"step": range(steps), "problem": range(count)}
        swaps = {name: getattr(self.swap, name) for name in ("values_error", "vectors_error")}
        named = {part.name: getattr(self.parts, part.name) for part in fields(Parts)}
        alignment = self.swap.alignment.mean(-1)
        return DataFrame(states.tidy_columns(axes, **named, **swaps, alignment=alignment))

    def tables(self) -> dict[str, DataFrame | dict[str, NDArray]]:
        """What is worth keeping: steps (see `table`) and halving."""
        return {"steps": self.table(), "halving": self.halving()}

    def curves(self, rows: dict[str, Sequence], **labels: str) -> list[dict]:
        """Means over problems: shares, parts per dimension, and the exchanged halves' errors relative
        to knowing nothing ("spectrum": the mean spectrum's, "directions": random eigenvectors')."""
        parts = self.parts
        eigenvalue, eigenvector = per_dimension(self.frame, parts.eigenvalue, parts.eigenvector)
        spectrum, directions = self._nothing()
        return eigen_split.mean_curves(
            {
                "share": parts.share,
                "random": parts.random,
                "odd": parts.odd_share,
                "eigenvalue": eigenvalue,
                "eigenvector": eigenvector,
                "spectrum": self.swap.values_error / spectrum.mean(),
                "directions": self.swap.vectors_error / directions.mean(),
                "alignment": self.swap.alignment.mean(-1),
            },
            rows,
            **labels,
        )

    def halving(self, share: float = 0.5) -> dict[str, NDArray]:
        """Steps (P,) after the first denoised estimate, row 1, until each error has first fallen to
        `share`: the two parts to that of their value there, the exchanged halves' to that of knowing
        nothing. One more than there are steps where it never happens."""
        spectrum, directions = self._nothing()
        return {
            "eigenvalue": eigen_split.fallen(self.parts.eigenvalue[1:], share),
            "eigenvector": eigen_split.fallen(self.parts.eigenvector[1:], share),
            "spectrum": eigen_split.fallen(self.swap.values_error[1:], share, spectrum),
            "directions": eigen_split.fallen(self.swap.vectors_error[1:], share, directions),
        }

    def stands(self) -> bool:
        """Whether neither part of the error ever halves, for no problem."""
        steps = self.halving()
        return all((steps[part] == len(self.parts.share) - 1).all() for part in ("eigenvalue", "eigenvector"))

    def _nothing(self) -> tuple[NDArray, NDArray]:
        return eigen_exchange.blind_values_error(self.frame), eigen_exchange.random_vectors_error(self.frame)


def sooner(walk: Walk, early: str, late: str) -> tuple[bool, dict[str, float]]:
    """Whether one error of a walk halves surely before another, with the numbers: the paired difference
    of steps, shares of problems where each never happened, where the first was sooner and where it was
    later; and the difference of the steps until a tenth is left."""
    half, tenth = (walk.halving(share) for share in (0.5, 0.1))
    first, second, never = half[early], half[late], len(walk.parts.share) - 1
    difference, small = paired_interval(first, second), paired_interval(tenth[early], tenth[late])
    counts = {
        early: first.mean(),
        late: second.mean(),
        f"{early}_never": (first == never).mean(),
        f"{late}_never": (second == never).mean(),
        "sooner": (first < second).mean(),
        "later": (first > second).mean(),
    }
    return difference.high < 0, _numbers(difference) | counts | _numbers(small, "tenth_difference", "tenth_")


def eigen_verdicts(walk: Walk, table: DataFrame, noised: DataFrame) -> dict[str, tuple[bool, dict[str, float]]]:
    """P4-03's criteria, each with the numbers behind it: from the trained model's walk, the table of
    `finals` with "trained" among those who answered, and that of `score_parts`."""
    final = table[table["who"] == "trained"]
    share, isotropic = final["share"].to_numpy(), states.array(walk.frame.isotropic)
    apart, beyond = (paired_interval(share, level) for level in (isotropic, final["random"].to_numpy()))
    error = noised[noised["quantity"] == "score error"]
    k0 = {name: per_unit(error, "share", energy=name, landscape=0) for name in ("trained", "untrained", "blind")}
    less, fresh = (paired_interval(k0[name], k0["blind"]) for name in ("trained", "untrained"))
    touching = mean_interval(final["touching"])
    apart_by = mean_interval((final["share"] - final["swapped_share"]).abs())
    n = walk.frame.n
    return {
        "eigenvalues_first": sooner(walk, "eigenvalue", "eigenvector"),
        "spectrum_before_directions": sooner(walk, "spectrum", "directions"),
        "not_isotropic": (
            apart.excludes(0) and beyond.excludes(0),
            _numbers(apart) | _numbers(beyond, "beyond_random_bases", "beyond_"),
        ),
        "gradient_sees_eigenvalues": (
            less.high < 0,
            _numbers(less) | {"untrained": fresh.estimate, "share": k0["trained"].mean()},
        ),
        "largest_dominates": (touching.low > 0.5, _numbers(touching, "share") | {"isotropic": 2 / (n + 1)}),
        "first_order_holds": (apart_by.high < 0.05, _numbers(apart_by)),
    }


def _numbers(interval: Interval, what: str = "difference", ends: str = "") -> dict[str, float]:
    return {what: interval.estimate, f"{ends}low": interval.low, f"{ends}high": interval.high}


CONTROLLED = ("untrained", "algebraic", "affine", "regression")  # the ideal energy's errors are rounding


def walk_others(
    energies: Mapping[str, Energy], sampler: Sampler, A: Tensor, start: Tensor, frame: Frame, Y: Tensor
) -> tuple[dict[str, Walk], dict[str, Tensor]]:
    """Walks of CONTROLLED energies, and their answers (P, n, n), to problems A from starts (P, d), with true answers Y.

    The walk of a prediction m(A) is at its answer from the first step on, and nothing halves: a line says so.
    """
    walks, answers = {}, {}
    for who in CONTROLLED:
        clean = trajectories.record(sampler, energies[who], A, start).clean(energies[who])
        walks[who], answers[who] = Walk.of(clean, frame, Y), clean[-1]
    if still := [who for who in CONTROLLED if walks[who].stands()]:
        print(f"{', '.join(still)}: the answer stands from the first step on, and no part of its error halves")
    return walks, answers


def walk_curves(walks: dict[str, Walk], aims: dict[str, Aim], landscapes: Sequence[int]) -> DataFrame:
    """Means over problems at every step of walks, and of how gradients lie to the displacement (who is
    then "gradient …"): columns who, step, landscape, measure, mean, low, high, units."""
    rows = {"step": range(len(landscapes)), "landscape": landscapes}
    means = [row for who, walk in walks.items() for row in walk.curves(rows, who=who)]
    for who, aim in aims.items():
        means += eigen_split.mean_curves(
            {
                "share": aim.gradient.share,
                "cosine_eigenvalue": aim.cosine_eigenvalue,
                "cosine_eigenvector": aim.cosine_eigenvector,
            },
            rows,
            who=f"gradient {who}",
        )
    return DataFrame(means)


TOUCHING = "share of the final squared error in the row and column of the inverse's largest eigenvalue"
SHARE = "share of eigenvalues in the final error"
SOONER = "steps by which the error's eigenvalue part halves before its eigenvector part"
SCORE = "share of eigenvalues in the score's error, by how much it is below the best A-blind score's, k=0"


def eigen_measures(walks: Mapping[str, Walk], table: DataFrame, noised: DataFrame) -> dict[str, dict[str, NDArray]]:
    """What P4-03's claims rest on, more of it being better: values (P,) by energy, by what they are.

    TOUCHING, SHARE: of `finals`; SOONER: of walks, of as many problems as the fewest have; SCORE: of `score_parts`.
    """
    final = {who: table[table["who"] == who] for who in walks}
    few = min(len(walk.frame.values) for walk in walks.values())
    halving = {who: walk.halving() for who, walk in walks.items()}
    error = noised[noised["quantity"] == "score error"]
    share = {who: per_unit(error, "share", energy=who, landscape=0) for who in ("blind", *walks)}
    return {
        TOUCHING: {who: answers["touching"].to_numpy() for who, answers in final.items()},
        SHARE: {who: answers["share"].to_numpy() for who, answers in final.items()},
        SOONER: {who: (each["eigenvector"] - each["eigenvalue"])[:few] for who, each in halving.items()},
        SCORE: {who: share["blind"] - share[who] for who in walks},
    }


@dataclass(frozen=True)
class Finals:
    """Answers of several kinds to the same problems.

    table: a row for each answer: who, problem, condition, the parts, share, random, odd_share, mse and
    the exchanged halves' (squared errors by n²), swapped_share, touching (share in the row and column
    of Y's largest eigenvalue), top_angle (largest principal angle, in radians, between the spaces of
    the ⌊n/2⌋ largest eigenvalues; NaN where they cut a group);
    ranks: who, rank (0: Y's smallest eigenvalue), measure ("relative": (λ̂ − λ)/λ; "size": its size;
    "alignment", "matched"), mean, low, high, chance (NaN where there is none);
    strata: share, touching and mse against the condition number, see `by_condition`;
    profiles: (n, n) by who, mean share of each entry of UᵀDU.
    """

    table: DataFrame
    ranks: DataFrame
    strata: DataFrame
    profiles: dict[str, NDArray]

    def tables(self) -> dict[str, DataFrame]:
        """What is worth keeping: answers, ranks, condition."""
        return {"answers": self.table, "ranks": self.ranks, "condition": self.strata}


def finals(answers: dict[str, Tensor], frame: Frame, Y: Tensor, generator: torch.Generator) -> Finals:
    """Of answers (≤ P, n, n) by who gave them, to the first problems of Y (P, n, n).

    "random_vectors" come to them, see `eigen_exchange.random_answers`: what these reach is chance."""
    tables, ranks, profiles = [], [], {}
    answers = answers | {"random_vectors": eigen_exchange.random_answers(frame, generator)}
    matched_chance = eigen_exchange.matched_alignment(frame, answers["random_vectors"]).mean(0)
    half = frame.n // 2
    for who, M in answers.items():
        axes, M, count = frame.first(len(M)), M.to(Y), len(M)
        D, exchanged = M - Y[:count], eigen_exchange.swap(axes, Y[:count], M)
        parts = eigen_split.eigen_parts(axes, D).array()
        profile = eigen_split.profile(axes, D)
        halves = exchanged.values_error + exchanged.vectors_error
        whole = (axes.groups[:, -half] != axes.groups[:, -half - 1]).all()
        angle = torch.full((count,), torch.nan)
        if whole:
            angle = eigen_exchange.leading_angles(axes, M, half)[:, 0]
        columns = parts.columns({"problem": range(count)})
        sizes = {"mse": parts.total, "values_mse": exchanged.values_error, "vectors_mse": exchanged.vectors_error}
        columns |= {name: size / frame.n**2 for name, size in sizes.items()}
        columns |= {
            "who": np.repeat(who, count),
            "condition": axes.condition,
            "odd_share": parts.odd_share,
            "swapped_share": exchanged.values_error / np.where(halves > 0, halves, np.nan),
            "touching": states.array(eigen_split.touching_largest(profile)),
            "top_angle": states.array(angle),
        }
        tables.append(DataFrame(columns))
        profiles[who] = states.array(profile.mean(0))
        by_rank = {
            "relative": (exchanged.relative, None),
            "size": (abs(exchanged.relative), None),
            "alignment": (exchanged.alignment, eigen_exchange.chance_alignment(axes).mean(0)),
            "matched": (eigen_exchange.matched_alignment(axes, M), matched_chance),
        }
        for measure, (values, chance) in by_rank.items():
            for rank, each in enumerate(values.T):
                at = student_interval(each)
                ranks.append(
                    (who, rank, measure, at.estimate, at.low, at.high, np.nan if chance is None else chance[rank])
                )
    ranks = DataFrame(ranks, columns=["who", "rank", "measure", "mean", "low", "high", "chance"])
    table = concat(tables, ignore_index=True)
    given = table[table["who"] != "random_vectors"]
    return Finals(table, ranks, by_condition(given, ("share", "touching", "mse")), profiles)


def by_condition(table: DataFrame, measures: Sequence[str], strata: int = 4) -> DataFrame:
    """Each measure of each who's final answers against the condition number: strata (see
    `eigen_split.AgainstCondition`) with columns who, measure, rho, rho_low, rho_high."""
    rows = []
    for (who,), answers in table.groupby(["who"], sort=False):
        for measure in measures:
            values, condition = answers[measure].to_numpy(), answers["condition"].to_numpy()
            against = eigen_split.against_condition(values, condition, strata)
            labels = {
                "who": who,
                "measure": measure,
                "rho": against.rho.estimate,
                "rho_low": against.rho.low,
                "rho_high": against.rho.high,
            }
            rows += [labels | row for row in against.strata]
    return DataFrame(rows)


def eigen_metrics(ends: Finals) -> dict[str, float]:
    """Numbers to log: means by who, and Spearman's rho of three of them with the condition number."""
    measures = ["share", "swapped_share", "touching", "mse", "values_mse", "vectors_mse", "odd_share", "top_angle"]
    by = ends.table.groupby("who", sort=False)
    numbers = {f"{who}.{measure}": each[measure].mean() for who, each in by for measure in measures}
    for row in ends.strata.drop_duplicates(["who", "measure"]).itertuples():
        name = f"condition.{row.who}.{row.measure}"
        numbers |= {name: row.rho, f"{name}.low": row.rho_low, f"{name}.high": row.rho_high}
    return {name: float(value) for name, value in numbers.items() if np.isfinite(value)}


def shares_by_tolerance(D: Tensor, Y: Tensor, tolerances: Sequence[float]) -> DataFrame:
    """The share of errors D (P, n, n) with eigenvalues joined at each tolerance, beside its isotropic
    level: columns tolerance, share, low, high, isotropic, grouped (share of problems with a group)."""
    rows = []
    for tolerance in tolerances:
        frame = Frame.of(Y, tolerance)
        share = eigen_split.eigen_parts(frame, D).array().share
        interval, level = student_interval(share), states.array(frame.isotropic)
        rows.append(
            {
                "tolerance": tolerance,
                "share": interval.estimate,
                "low": interval.low,
                "high": interval.high,
                "isotropic": level.mean(),
                "grouped": states.array(frame.groups[:, -1] < frame.n - 1).mean(),
            }
        )
    return DataFrame(rows)
