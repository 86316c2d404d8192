"""Optimal transport (Peyré and Cuturi 2019), three times: clouds of answers, the way to them, their energies."""

from __future__ import annotations

from collections.abc import Mapping

from numpy.typing import NDArray
from pandas import DataFrame
from torch import Tensor

from ired.instruments.core import states
from ired.instruments.core.trajectories import Paths
from ired.instruments.statistics.tables import per_unit
from ired.instruments.transport import annealing, answer_clouds, distances
from ired.instruments.transport.annealing import Annealing
from ired.instruments.transport.energy_ranking import KINDS, Candidates
from ired.model.protocol import Energy

HARDLY = 0.01  # of the truths' spread: clouds that go less far stand


def anneal(
    energy: Energy, walked: Mapping[str, Paths], A: Tensor, further: Tensor, axes: int, blocks: int, particles: int
) -> dict[tuple[str, str], Annealing]:
    """`annealing.annealing_by_scale` of sampling paths, by (whose, scale), along principal axes of true answers.

    walked: paths of the first problems of A (P, n, n), by whose they are; further (F, n, n): true answers of
    further problems, on which as many `axes` are fitted; particles: at most, of a matrix and of a control.
    """
    coordinates = energy.coordinates
    fitted = distances.principal_axes(coordinates.to_basis(coordinates.encode(further)), axes)
    ways = annealing.annealing_by_scale(energy, walked, states.answers(energy, A), fitted, blocks, particles)
    standing = [who for who in walked if ways[who, "clean"].steps.sum() < HARDLY * ways[who, "clean"].spread]
    if standing:
        print(
            f"{', '.join(standing)}: the clouds stand where the first landscape left them, there is no way to measure"
        )
    return ways


BEYOND = "Spearman's ρ of the energy and the Bures cost, less that of the energy and L2, noised candidates, k=0"
BURES = "Spearman's ρ of the energy and the Bures cost, noised candidates, k=0"
STRAIGHT = "straightness of particles' ways on the clean scale (1 where they stand)"


def transport_measures(
    correlations: DataFrame, ways: Mapping[tuple[str, str], Annealing]
) -> dict[str, dict[str, NDArray]]:
    """What P4-04's claim rests on, more of it being better: values (P,) by energy, by what they are.

    BEYOND and BURES from `energy_ranking.correlate_energies`, STRAIGHT from `anneal`, of as many particles as all have.
    """
    where = {"place": "noised", "kind": "all", "landscape": 0}
    bures, plain = (
        {
            who: per_unit(correlations, "rho", distance=name, energy=who, **where)
            for who in correlations["energy"].unique()
        }
        for name in ("Bures-Wasserstein", "L2")
    )
    straight = {who: way.particle_straightness for (who, scale), way in ways.items() if scale == "clean"}
    few = min(map(len, straight.values()), default=0)
    return {
        BEYOND: {who: rho - plain[who] for who, rho in bures.items()},
        BURES: bures,
        STRAIGHT: {who: particles[:few] for who, particles in straight.items()},
    }


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


def transport_metrics(
    answers: DataFrame, cloud: Tensor, made: Candidates, measured: Mapping[str, Mapping[str, NDArray]]
) -> dict[str, float]:
    """Metrics of P4-04: distances of sampled answers in units of their null's mean, and what is not SPD.

    answers: the table of `answer_clouds.answer_cloud_tables`; cloud (N, n, n): the sampled answers; made: the
    candidates whose energies are ranked; measured: `transport_measures`, of which means are given by energy.
    Distances of others' answers than the trained model's have their name before them.
    """
    numbers = {}
    for row in answers.itertuples():
        name = f"{row.cost}.{row.measure}".replace(",", "")
        numbers[name if row.answers == "trained" else f"{row.answers}.{name}"] = row.ratio
    for name, title in (("bures", BURES), ("bures_beyond_L2", BEYOND), ("straight", STRAIGHT)):
        numbers |= {f"{name}.{who}": values.mean() for who, values in measured[title].items()}
    noised = made.kind == KINDS.index("noised")
    return numbers | {
        "asymmetry": answer_clouds.asymmetry(cloud),
        "not_definite": 1 - answer_clouds.definite(cloud).mean(),
        "noised_not_definite": 1 - made.definite[:, noised].mean(),
    }
