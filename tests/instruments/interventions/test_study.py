"""Directions are examined whole, and judged by all that is known of them."""

import numpy as np
import pytest
import torch

from ired.instruments.core.directions import STATE, Direction
from ired.instruments.interventions import counterfactuals, study
from ired.model import problems as model_problems
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
