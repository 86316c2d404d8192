"""What P4-04 asks: verdicts on planted tables, measures of every energy, and of a prediction in closed form."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pandas import DataFrame

from ired.instruments.core import trajectories
from ired.instruments.transport import energy_ranking, study
from ired.model.reference import PredictorEnergy
from ired.model.sampling import AnnealedSampler


@pytest.mark.parametrize("distance, low, margin", [(2.0, 0.95, 0.1), (1.0, 0.9, -0.1)])
def test_verdicts_read_the_model_and_no_control(distance, low, margin):
    tables = {
        "answers": DataFrame(
            [
                {
                    "answers": name,
                    "cost": "Euclidean",
                    "measure": "principal axes",
                    "distance": d,
                    "high": 1.5,
                    "p": 0.1,
                }
                for name, d in (("untrained", 3 - distance), ("trained", distance))
            ]
        ),
        "straightness": DataFrame(
            [
                {
                    "answers": "trained",
                    "scale": scale,
                    "blocks": 0.97,
                    "low": low if scale == "clean" else 0.92,
                    "optimality": 1.0,
                }
                for scale in ("state", "clean")
            ]
        ),
        "margins": DataFrame({"over": ["L2", "spectral_norm"], "low": [margin, 0.2]}),
    }
    found = study.transport_verdicts(tables)
    assert [met for met, _ in found.values()] == [distance == 2.0] * 3
    assert found["path_is_straight"][1] == {"blocks": 0.97, "low": low, "optimality": 1.0}
    assert found["transport_explains_energy_best"][1]["margin_over_L2.low"] == margin


def test_measures_are_those_of_every_energy(ideal, algebraic, problems, generator):
    made = energy_ranking.candidates(torch.linalg.inv(problems), 8, generator)
    energies = {"trained": algebraic, "ideal": ideal}
    correlations = energy_ranking.correlate_energies(energies, problems, made, [0], 1, generator)
    ways = {
        ("trained", "clean"): SimpleNamespace(particle_straightness=np.full(5, 0.9)),
        ("trained", "state"): SimpleNamespace(particle_straightness=np.ones(5)),
        ("ideal", "clean"): SimpleNamespace(particle_straightness=np.ones(3)),
    }
    measured = study.transport_measures(correlations, ways)
    beyond, bures, straight = measured.values()
    assert (beyond["ideal"] <= 0).all() and bures["ideal"] == pytest.approx(1 + beyond["ideal"])
    assert len(beyond["trained"]) == 6
    assert straight["trained"].tolist() == [0.9] * 3 and straight["ideal"].tolist() == [1] * 3
    answers = DataFrame(
        [
            {"answers": name, "cost": "Euclidean", "measure": "principal axes, Sinkhorn", "ratio": ratio}
            for name, ratio in (("trained", 1.5), ("affine", 2.0))
        ]
    )
    numbers = study.transport_metrics(answers, torch.linalg.inv(problems), made, measured)
    assert numbers["Euclidean.principal axes Sinkhorn"] == 1.5
    assert numbers["affine.Euclidean.principal axes Sinkhorn"] == 2
    assert numbers["bures.ideal"] == pytest.approx(bures["ideal"].mean()) and numbers["straight.trained"] == 0.9
    assert numbers["not_definite"] == 0


def test_a_prediction_ranks_by_the_distance_to_itself(coordinates, schedule, problems, generator):
    """A round bowl around m(A): ranks of ‖Ŷ − m‖, those of L2 where m is right; noise cancels in pairs."""
    units = torch.eye(coordinates.size, dtype=torch.float64)
    made = energy_ranking.candidates(torch.linalg.inv(problems), 8, generator)
    for predict in (torch.linalg.inv, lambda A: 2 * torch.eye(4).to(A) - A / 4):
        bowl = PredictorEnergy(coordinates, schedule, predict, units, torch.full((len(units),), 0.2).double())
        gap = energy_ranking.candidate_gaps(bowl, problems, made, 0, 2, generator)["noised"]
        far = (made.C - predict(problems)[:, None]).flatten(-2).norm(dim=-1).numpy()
        assert (gap.argsort(1) == far.argsort(1)).all()
    right = PredictorEnergy(coordinates, schedule, torch.linalg.inv, units, torch.full((len(units),), 0.2).double())
    table = energy_ranking.correlate_energies({"trained": right}, problems, made, [0], 1, generator)
    beyond, _, _ = study.transport_measures(table, {}).values()
    assert table[table["distance"] == "L2"]["rho"].to_numpy() == pytest.approx(1)
    assert (beyond["trained"] < 0).all()


def test_clouds_of_a_prediction_stand(coordinates, schedule, problems, generator, capsys):
    """Where a prediction is sure of itself, sampling is at m(A) from the first station on."""
    units = torch.eye(coordinates.size, dtype=torch.float64)
    bowl = PredictorEnergy(coordinates, schedule, lambda A: A / 4, units, torch.zeros(len(units)).double())
    start = coordinates.noise(6, generator=generator, dtype=torch.float64)
    walked = {"affine": trajectories.record(AnnealedSampler(clip=100.0), bowl, problems, start)}
    ways = study.anneal(bowl, walked, problems, further=problems, axes=2, blocks=2, particles=6)
    assert "affine: the clouds stand" in capsys.readouterr().out
    assert ways["affine", "clean"].straightness == 1
    np.testing.assert_array_equal(ways["affine", "clean"].particle_straightness, 1)
