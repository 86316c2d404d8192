"""Optimal transport (Peyré and Cuturi 2019), three times: clouds of answers, the way to them, their energies."""

from __future__ import annotations

from collections.abc import Mapping

from pandas import DataFrame
from torch import Tensor

from ired.instruments.core import states
from ired.instruments.core.trajectories import Paths
from ired.instruments.transport import annealing, answer_clouds, distances
from ired.instruments.transport.annealing import Annealing
from ired.instruments.transport.energy_ranking import KINDS, Candidates
from ired.model.protocol import Energy


def anneal(
    energy: Energy, walked: Mapping[str, Paths], A: Tensor, further: Tensor, axes: int, blocks: int, particles: int
) -> dict[tuple[str, str], Annealing]:
    """`annealing.annealing_by_scale` of sampling paths, by (whose, scale), along principal axes of true answers.

    walked: paths of the first problems of A (P, n, n), by whose they are; further (F, n, n): true answers of
    further problems, on which as many `axes` are fitted; particles: at most, of a matrix and of a control.
    """
    coordinates = energy.coordinates
    fitted = distances.principal_axes(coordinates.to_basis(coordinates.encode(further)), axes)
    return annealing.annealing_by_scale(energy, walked, states.answers(energy, A), fitted, blocks, particles)


def transport_verdicts(tables: Mapping[str, DataFrame]) -> dict[str, tuple[bool, dict[str, float]]]:
    """The criteria of P4-04, met or not, with the numbers behind them.

    tables: "answers" of `answer_clouds.answer_cloud_tables`, "straightness" of `annealing.straightness_table`,
    "margins" of `energy_ranking.margins`.
    """
    answers = tables["answers"].set_index(["answers", "cost", "measure"])
    cloud = answers.loc[("trained", answer_clouds.EUCLIDEAN, "principal axes")]
    way = tables["straightness"].set_index(["answers", "scale"]).loc[("trained", "clean")]
    margins = tables["margins"].set_index("over")["low"]
    return {
        "sampled_differs_from_true": (
            cloud["distance"] > cloud["high"],
            {name: cloud[name] for name in ("distance", "high", "p")},
        ),
        "path_is_straight": (
            way["low"] > 0.9,
            {name: way[name] for name in ("blocks", "low", "optimality")},
        ),
        "transport_explains_energy_best": (
            margins.min() > 0,
            {f"margin_over_{name}.low": low for name, low in margins.items()},
        ),
    }


def transport_metrics(answers: DataFrame, cloud: Tensor, made: Candidates) -> dict[str, float]:
    """Metrics of P4-04: distances of sampled answers in units of their null's mean, and what is not SPD.

    answers: the table of `answer_clouds.answer_cloud_tables`; cloud (N, n, n): the sampled answers; made: the
    candidates whose energies are ranked.
    """
    sampled = answers[answers["answers"] == "trained"]
    measured = zip(sampled["cost"], sampled["measure"], sampled["ratio"], strict=True)
    noised = made.kind == KINDS.index("noised")
    return {f"{cost}.{measure}".replace(",", ""): ratio for cost, measure, ratio in measured} | {
        "asymmetry": answer_clouds.asymmetry(cloud),
        "not_definite": 1 - answer_clouds.definite(cloud).mean(),
        "noised_not_definite": 1 - made.definite[:, noised].mean(),
    }
