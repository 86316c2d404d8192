"""Directions are examined whole, and judged by all that is known of them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ired.instruments.core.directions import STATE, Direction
from ired.instruments.interventions import counterfactuals, study
from ired.model import problems as model_problems
from ired.model.reference import PredictorEnergy
from ired.model.sampling import AnnealedSampler


@pytest.mark.parametrize("space, width", [("fc2", 32), (STATE, 16)])
def test_examination_gives_a_whole_row_in_a_network(network, generator, space, width):
    pool = model_problems.draw(40, 4, 0.5, generator, torch.float64)
    made = {"large_norm": counterfactuals.problem_pairs(pool, "large_norm", 10)}
    bench = study.InterventionBench.of(network, AnnealedSampler(), pool[:16], pairs=made, draws=2, generator=generator)
    for concept in ("large_norm", "noisy_answer"):
        v = torch.randn(width, generator=generator)
        direction = Direction("v", "concept", space, 2, concept, 0.9, "AUROC", v)
        row = study.examine_direction(bench, direction, 0.3, generator)
        assert row["direction"] == "v" and np.isfinite([row["specific"], row["total"]]).all()
        assert np.isnan(row["lost"]) or concept == "large_norm"
    with pytest.raises(KeyError, match="near_singular"):
        bench.twins("near_singular", 2, generator)


def test_a_bowl_gives_way_alike_for_all_problems(network, generator):
    """A push of the state is undone by the same linear map, wherever the bowl's centre is: so many entries of the
    answer move as far in all problems."""
    pool = model_problems.draw(30, 4, 0.5, generator, torch.float64)
    bowl = PredictorEnergy.of(network.coordinates, network.schedule, torch.linalg.inv, pool)
    wide = replace(bowl, variances=bowl.variances + 0.1)
    directions = [
        Direction("state", "gradient", STATE, 0, "", 0.9, "", torch.randn(16, generator=generator)),
        Direction("layer", "concept", "fc2", 0, "", 0.9, "", torch.randn(32, generator=generator)),
    ]
    table = study.state_pushes(
        {"trained": network, "bowl": wide},
        directions,
        pool[:8],
        pool[8:],
        AnnealedSampler(clip=50),
        doses=(-1.0, 0.5, 1.0),
        random=3,
        stream=lambda: model_problems.generator(0, "pushes"),
    )
    assert list(table["energy"]) == ["trained"] * 8 + ["bowl"] * 8 and set(table["direction"]) == {"state"}
    np.testing.assert_allclose(table["beyond"], table["moved"] - table["random"])
    alike = table.query("energy == 'bowl'")["moved"]
    assert alike.min() > 1e-6 and np.ptp(alike) < 1e-6 * alike.mean()
