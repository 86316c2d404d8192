"""Several energies on the same curves, pairs, points and slices."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pandas import DataFrame

from ired.instruments.core import states, trajectories
from ired.instruments.geometry import geodesics, spd_states, study
from ired.instruments.geometry.known_answers_geodesics import symmetric_inverse
from ired.instruments.landscape import slices
from ired.model.reference import PredictorEnergy


@pytest.fixture
def answers(problems):
    return symmetric_inverse(problems)


@pytest.fixture
def energies(ideal, algebraic):
    return {"trained": algebraic, "ideal": ideal}


def walked(energy, answers):
    """Paths of two steps: outside the cone, then at the answer; problem 5's never gets inside."""
    inside = energy.coordinates.encode(answers)
    outside = energy.coordinates.encode(answers - 10 * torch.eye(4))
    inside[5] = outside[5]
    root = energy.schedule.sqrt_alpha_bar
    return trajectories.Paths(
        ("start", "descend"),
        np.array([3, 0]),
        np.array([0, 1]),
        torch.stack([root[3] * outside, root[0] * inside]),
        inside,
    )


def test_targets_are_positive_definite_and_counted(ideal, problems, answers, generator):
    near, _ = spd_states.perturbed(answers, 0.2, 3, generator)
    goals, numbers = study.geodesic_targets(ideal, problems, near, walked(ideal, answers))
    assert {kind: len(rows) for kind, (rows, _) in goals.items()} == {
        "perturbed": 18,
        "A": 6,
        "I": 6,
        "start": 5,
        "end": 5,
    }
    for rows, Q in goals.values():
        assert (torch.linalg.eigvalsh(Q)[:, 0] > 0).all() and len(rows) == len(Q)
    torch.testing.assert_close(goals["end"][1], answers[:5])
    assert goals["perturbed"][0][:4].tolist() == [0, 0, 0, 1]
    torch.testing.assert_close(goals["perturbed"][1][4], near[1, 1])
    assert numbers["targets.end"] == 5 and numbers["start.step"] == 1 and numbers["end.asymmetry"] < 1e-9


def test_targets_that_nobody_reaches_are_left_out(ideal, problems, answers, generator):
    way = walked(ideal, answers - 10 * torch.eye(4))
    near, _ = spd_states.perturbed(answers, 0.2, 1, generator)
    goals, numbers = study.geodesic_targets(ideal, problems, near, way)
    assert set(goals) == {"perturbed", "A", "I"} and numbers["targets.start"] == 0
    assert "start.step" not in numbers


def test_profiles_name_the_problems_that_they_belong_to(energies, problems, answers, generator):
    near, reach = spd_states.perturbed(answers, 0.2, 2, generator)
    rows = torch.tensor([4, 4, 1])
    goals = {"perturbed": (rows, near[rows, [0, 1, 0]])}
    table, shape = study.geodesic_profiles(energies, problems, answers, goals, reach, 5, [0, 2], generator)
    assert set(table["problem"]) == {1, 4} and set(table["metric"]) == {*geodesics.METRICS, "turned"}
    assert len(table) == 2 * 2 * 2 * 5 * 3 and len(shape) == 2 * 2 * 2 * 5 * 5
    straight = table[(table["metric"] == "Euclidean") & (table["energy"] == "ideal")]
    np.testing.assert_allclose(straight["rise"], 1, atol=1e-9)
    assert (shape[shape["metric"] == "Euclidean"]["apart"] == 0).all()


def test_others_are_never_the_problems_own_answer(generator):
    Y = torch.arange(5.0)[:, None, None] * torch.eye(2)
    X, Z = study.others(Y, 4, 200, generator)
    first, second = X[..., 0, 0], Z[..., 0, 0]
    own = torch.arange(4.0)[:, None]
    assert (first != own).all() and (second != own).all() and (first != second).all()
    assert all(set(row.tolist()) == set(range(5)) - {p} for p, row in enumerate(second))
    with pytest.raises(ValueError, match="three problems"):
        study.others(Y[:2], 2, 3, generator)


def test_what_a_metric_saves_is_known(energies, problems, answers):
    table = study.curved(energies, problems, {"answer": answers}, [0])
    table = table.set_index(["energy", "metric", "problem"]).sort_index()
    kappa = torch.linalg.cond(problems).numpy()
    ideal = table.loc[("ideal", "affine-invariant"), "saved"]
    np.testing.assert_allclose(ideal, -2 * np.log10(kappa), atol=1e-6)
    own = table.loc[("trained", "affine-invariant"), "saved"]
    np.testing.assert_allclose(own, 2 * np.log10(kappa) - np.log10((kappa + 1 / kappa) / 2), atol=1e-6)
    assert (table.xs("Euclidean", level="metric")["saved"] == 0).all()


def test_convexity_of_every_energy_and_kind(energies, problems, answers, generator):
    X, _ = spd_states.perturbed(answers, 0.2, 6, generator)
    pairs = {"perturbed": X.chunk(2, 1), "others": study.others(answers, 6, 3, generator)}
    table = study.pair_convexity(energies, problems, pairs, [0, 1])
    assert len(table) == 2 * 2 * 2 * 4 * 6
    assert (table[table["metric"] == "Euclidean"]["share"] == 1).all()


def test_slices_are_those_that_were_drawn_before(energies, ideal, problems, answers):
    y0, sampled = states.answers(ideal, problems), torch.Generator().manual_seed(1)
    start = ideal.coordinates.noise(6, generator=sampled, dtype=torch.float64)
    before = slices.random_directions(ideal, y0, sampled)

    def walk(energy, A, given, callback):
        torch.testing.assert_close(given, start)
        for k in (1, 0):
            callback(SimpleNamespace(stage="denoise", landscape=k, y=given + k))
            callback(SimpleNamespace(stage="descend", landscape=k, y=given / 2))

    again = study.planes(ideal, problems, y0, walk, torch.Generator().manual_seed(1))
    torch.testing.assert_close(again[0].axes, before.axes)
    assert [plane.kind for plane in again] == ["random", "gradient", "path"]
    seen = slices.energy_slices(energies["trained"], problems, y0, 0, before, 1.0, 5)
    known = {"gap": torch.as_tensor(seen.gap[:2]), "line": torch.as_tensor(seen.u)}
    table, pictures, off = study.redrawn(energies, problems, answers, again[0], known)
    assert off < 1e-9 and len(table) == 2 * 3 * 6
    assert pictures["random.smallest"].shape == (3, 5, 5)
    bent, straight = (pictures[f"random.ideal.{metric}"] for metric in ("affine-invariant", "Euclidean"))
    np.testing.assert_allclose(bent, straight, atol=1e-5)


def test_verdicts_need_every_control_to_lie_below():
    """The trained energy gains 2 to 3, everybody else what is given."""
    rng = np.random.default_rng(0)

    def rows(measure, gains, metric="affine-invariant", **at):
        return [
            {
                "energy": name,
                "metric": metric,
                "problem": p,
                "landscape": 0,
                **at,
                measure: (2 + rng.random() if name == "trained" else gains[name]),
            }
            for name in ("trained", *gains)
            for p in range(12)
        ]

    def decided(gains):
        curvature = DataFrame(rows("saved", gains, place="answer"))
        flat = [{**row, "metric": "Euclidean", "share": 0.0} for row in rows("share", gains)]
        turned = [{**row, "lower": 0.5} for row in rows("lower", gains, "turned", view="near")]
        profiles = DataFrame(rows("lower", gains, view="near") + turned)
        measured = study.manifold_measures(profiles, DataFrame(rows("share", gains) + flat), curvature)
        words, saved, low, high = study.geodesic_headline(measured)
        assert low < saved < high and saved == pytest.approx(2.5, abs=0.3) and "condition number" in words
        assert [set(values) for values in measured.values()] == [{"trained", *gains}] * 3
        return study.geodesic_verdicts(measured, profiles)

    found = decided({"untrained": 1.0, "ideal": 0.0})
    assert all(met for met, _ in found.values())
    numbers = found["lower_along_geodesics"][1]
    margins = {"beyond_untrained.low", "beyond_turned.low"}
    assert set(numbers) == {"low", "trained", "untrained", "ideal", "turned"} | margins
    assert numbers["turned"] == 0.5 and numbers["untrained"] == 1 and numbers["trained"] == pytest.approx(2.5, abs=0.3)
    found = decided({"untrained": 3.0, "ideal": 0.0})
    assert [met for met, _ in found.values()] == [True, False, False]


def test_a_bowl_around_the_answers_knows_no_manifold(ideal, problems, answers, generator):
    """Round, and with its minima at the answers, the energy of a prediction gains what the ideal energy gains."""
    units = torch.eye(ideal.coordinates.size, dtype=torch.float64)
    spread = torch.full((len(units),), 0.2).double()
    bowl = PredictorEnergy(ideal.coordinates, ideal.schedule, torch.linalg.inv, units, spread)
    near, reach = spd_states.perturbed(answers, 0.2, 2, generator)
    goals = {"perturbed": (torch.arange(6), near[:, 0])}
    energies = {"trained": bowl, "untrained": bowl, "ideal": ideal}
    profiles, _ = study.geodesic_profiles(energies, problems, answers, goals, reach, 5, [0], generator)
    pairs = {"perturbed": near.chunk(2, 1)}
    convexity = study.pair_convexity(energies, problems, pairs, [0])
    curvature = study.curved(energies, problems, {"answer": answers}, [0])
    measured = study.manifold_measures(profiles, convexity, curvature)
    kappa = torch.linalg.cond(problems).numpy()
    np.testing.assert_allclose(measured[study.SAVED]["trained"], -2 * np.log10(kappa), atol=1e-6)
    np.testing.assert_array_equal(measured[study.LOWER]["trained"], 0.5)
    assert (measured[study.CONVEX]["trained"] <= 0).all()
    assert not any(met for met, _ in study.geodesic_verdicts(measured, profiles).values())
