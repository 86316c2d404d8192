"""Several energies on the same slices, points and starts."""

from functools import partial

import numpy as np
import pytest
import torch
from pandas import DataFrame, concat
from pandas.testing import assert_frame_equal

from ired.instruments.core import states
from ired.instruments.core.sampler import denoised
from ired.instruments.core.trajectories import record
from ired.instruments.landscape import figures, study, study_curvature
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


def test_verdicts_on_curvature_are_those_of_noised_answers_in_the_sharpest_landscape(
    energies, network, problems, generator
):
    energies = {"trained": energies["trained"], "untrained": network, "ideal": energies["ideal"]}
    y0 = states.answers(network, problems)
    places = {
        "answer": states.at_answers(network, y0, range(10)),
        "noised": states.at_noise(network, y0, range(10), generator),
    }
    rows = []
    table, summary, spectra = study_curvature.curvature_tables(
        energies,
        problems,
        places,
        readers={("noised", "ideal"): lambda rows_of, k, H, values: rows.append((k, len(H)))},
    )
    assert rows == [(k, len(problems)) for k in range(10)]
    verdicts = study_curvature.curvature_verdicts(table)
    met, numbers = verdicts["curvature_knows_the_problem"]  # "trained" is the algebraic energy
    assert (
        met
        and numbers["cosine"] == pytest.approx(1)
        and 0 < numbers["inverse"] < numbers["log"] < numbers["linear"] < 1
    )
    assert verdicts["curved_upwards_at_noise"] == (True, {"share": 0})
    distance = table.query("place == 'noised' and landscape == 0").groupby("energy")["ideal_distance"].mean()
    met, numbers = verdicts["nearer_to_the_ideal_than_untrained"]
    assert numbers["difference"] == pytest.approx(distance["trained"] - distance["untrained"])
    measures = study_curvature.curvature_measures(table)
    assert all(set(values) == set(energies) for _, values, _ in measures.values())
    title, values, higher = measures["algebraic_cosine"]
    assert title.startswith("cosine") and higher and values["ideal"] == pytest.approx(0)
    for figure in (
        figures.plot_hessian_spectra(spectra),
        figures.plot_curvature(summary[summary["place"] == "noised"]),
        figures.plot_curvature_functions(summary[summary["place"] == "noised"]),
    ):
        assert [text.get_text() for text in figure.legends[0].get_texts()] == list(energies)


def test_minima_inside_the_box_and_outside_are_summed_up_apart():
    """Of ten problems six have a minimum inside, eight one outside, and two none at all."""
    inside, outside = np.arange(10) < 6, (np.arange(10) >= 2) & (np.arange(10) < 10)
    near = np.where(inside, 1.0 + np.arange(10), np.nan)
    table = DataFrame(
        {
            "energy": "trained",
            "landscape": 0,
            "problem": range(10),
            "minima": inside.astype(int) + outside,
            "saddles": 0,
            "flat": 0,
            "unconverged": 0,
            "escaped": 0,
            "found": inside | outside,
            "nearest_distance": np.nan_to_num(near, nan=20.0),
            "lowest_distance": 20.0,
            "lowest_is_nearest": inside,
            "inside_minima": inside.astype(int),
            "outside_minima": outside.astype(int),
            "inside_distance": near,
            "outside_distance": np.where(outside, 20.0, np.nan),
            "lowest_inside": np.arange(10) < 2,
            "inside_lowest_is_nearest": inside,
        }
    )
    other = {"convexity": ("share", "rays", "curvature"), "sharpness": ("radius",)}
    other["gaps"] = ("other_gap", "other_rate", "noised_gap", "noised_rate")
    tables = {
        name: table[["energy", "landscape", "problem"]].assign(scale=1.0, **dict.fromkeys(columns, 0.5))
        for name, columns in other.items()
    }
    summary = study.basin_summary(tables | {"minima": table}).set_index("measure")
    expected = {
        "inside_found": 0.6,
        "outside_found": 0.8,
        "lowest_inside": 0.2,
        "inside_lowest_is_nearest": 1,
        "inside_distance_median": 3.5,
        "outside_distance_median": 20,
    }
    assert summary.loc[list(expected), "mean"].to_dict() == pytest.approx(expected)
    assert tuple(summary.loc["inside_distance_median", ["low", "high"]]) == (1, 6)
    # Six of six are no certainty: the exact lower end is 0.025^(1/6).
    assert summary.loc["inside_lowest_is_nearest", "low"] == pytest.approx(0.025 ** (1 / 6))
    untrained = {name: rows.assign(energy="untrained") for name, rows in (tables | {"minima": table}).items()}
    both = {name: concat([(tables | {"minima": table})[name], rows]) for name, rows in untrained.items()}
    verdicts = study.basin_verdicts(both)
    numbers = verdicts["bottom_at_the_answer"][1]
    assert (numbers["inside_found"], numbers["outside_found"], numbers["inside_median"]) == (0.6, 0.8, 3.5)
    assert verdicts["no_lower_minimum"][1]["lowest_inside"] == pytest.approx(0.2)
    without = table.assign(outside_minima=0, outside_distance=np.nan)
    figure = figures.plot_minima_by_box(study.basin_summary(tables | {"minima": without}))
    assert figure.axes[4].texts[0].get_text() == "none"
