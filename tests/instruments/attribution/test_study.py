"""What P3-01 hands on."""

import torch

from ired.instruments.attribution import study
from ired.instruments.attribution.integrated_gradients import PathIntegrals
from ired.instruments.core import directions


def test_directions_are_those_that_gradients_share(ideal, generator):
    d = ideal.coordinates.d
    planted = ideal.coordinates.project(torch.randn(d, generator=generator, dtype=torch.float64))
    planted = planted / planted.norm()
    noise = 0.1 * torch.randn(30, d, generator=generator, dtype=torch.float64)
    zero = torch.zeros(1, 30, d)
    cases = {
        ("gap", "random", 3): PathIntegrals((zero, (noise - planted)[None]), (zero, zero), zero, 1),
        ("gap by fc1", "answer", 0): PathIntegrals((noise[None],), (zero,), zero, 1),
        ("gap", "zero", 3): None,
    }
    (state, layer), chance = study.attribution_directions(ideal, cases, generator)
    assert (state.name, state.space) == ("attribution y k=3", directions.STATE)
    assert 0.5 < state.evidence < 1 and state.vector @ planted < -0.99
    torch.testing.assert_close(ideal.coordinates.project(state.vector), state.vector)
    assert (layer.name, layer.space) == ("attribution fc1 k=0", "fc1")
    # Where nothing is shared, chance explains as much.
    assert chance[0] < 0.5 * state.evidence and abs(chance[1] - layer.evidence) < 0.1
