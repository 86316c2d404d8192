"""Several energies on the same slices, points and starts."""

from functools import partial

import numpy as np
import pytest
import torch
from pandas.testing import assert_frame_equal

from ired.instruments.core import states
from ired.instruments.core.sampler import denoised
from ired.instruments.core.trajectories import record
from ired.instruments.landscape import study
from ired.model import problems as model_problems

stream = partial(model_problems.generator, 0)


@pytest.fixture
def energies(ideal, algebraic):
    return {"trained": algebraic, "ideal": ideal, "again": algebraic}


@pytest.mark.slow
def test_the_same_energy_is_measured_the_same_twice(energies, problems):
    """What is drawn is drawn anew, and alike, for every energy."""
    y0 = states.answers(energies["ideal"], problems)
    tables = study.field_tables(energies, problems, y0, (1.0,), count=2, steps=5, stream=stream)
    tables |= study.basin_tables(energies, problems, y0, (1.0,), starts=1, patience=0, clip=2.0, stream=stream)
    assert set(tables) == {"field", "score", "descents", "convexity", "sharpness", "gaps", "minima"}
    for table in tables.values():
        first, again = (table[table["energy"] == name].drop(columns="energy") for name in ("trained", "again"))
        assert_frame_equal(first.reset_index(drop=True), again.reset_index(drop=True), check_exact=True)
        assert sorted(table["landscape"].unique()) == list(range(10)) and table["problem"].nunique() == 6


def test_slices_are_taken_along_three_kinds_of_planes(energies, problems, generator):
    model = energies["trained"]
    y0 = states.answers(model, problems)
    start = states.noise(model, 6, generator=generator, like=y0)
    walked, counted = record(partial(denoised, clip=2.0), model, problems, start), []
    table, pictures = study.slice_tables(
        energies, problems, y0, walked, extent=3.0, resolution=5, generator=generator, done=lambda: counted.append(1)
    )
    assert len(counted) == 10 and len(table) == 10 * 3 * 3 * 6
    assert pictures["ideal.path.k4.gap"].shape == (3, 5, 5) and pictures["ideal.path.k4.path"].shape == (3, 1, 2)
    assert pictures["trained.random.k0.line"].max() == 3
    widths = [pictures[f"trained.path.k{k}.line"].max() for k in range(10)]
    assert min(widths) >= 3


def test_a_path_is_cut_where_landscapes_change(energies, problems, generator):
    start = states.noise(energies["ideal"], 6, generator=generator, like=problems)
    walked = record(denoised, energies["ideal"], problems, start)
    parts = [study.within(walked, k) for k in range(10)]
    assert all(part.shape == (6, 1, 16) for part in parts)
    torch.testing.assert_close(torch.cat(parts[::-1], 1), walked.y.transpose(0, 1))


def test_a_minimum_that_does_not_exist_is_nowhere():
    assert study.nearest_minimum(np.array([np.nan, np.nan])) == (study.NOWHERE, study.NOWHERE)
    assert study.nearest_minimum(np.array([np.nan, 2.0])) == (2.0, study.NOWHERE)
    mean, high = study.nearest_minimum(np.array([1.0, 2.0, np.nan, 3.0]))
    assert mean == 2 and 3 < high < study.NOWHERE
