"""Departures from SPD by hand, noise of matched size, comparisons with what is infinitely far."""

import math

import numpy as np
import pytest
import torch

from ired.instruments.core.sampler import denoised
from ired.instruments.core.states import symmetric
from ired.instruments.geometry import answer_errors, metrics
from ired.instruments.geometry.metrics import METRICS
from ired.model.reference import PredictorEnergy


@pytest.fixture
def answers(problems):
    return metrics.power(problems, -1)


@pytest.fixture
def epsilon(generator):
    return torch.randn(3, 6, 4, 4, generator=generator, dtype=torch.float64)


def test_departures_by_hand():
    M = torch.zeros(4, 2, 2, dtype=torch.float64)
    M[0] = torch.diag(torch.tensor([2.0, 1.0]))
    M[1] = torch.diag(torch.tensor([4.0, -3.0]))
    M[2] = torch.tensor([[1.0, 1.0], [1.0, 1.0]])  # on the boundary
    M[3] = torch.tensor([[1.0, 1.0], [-1.0, 1.0]])  # its symmetric part is I
    seen = answer_errors.departure(M)
    np.testing.assert_allclose(seen.asymmetry, [0, 0, 0, math.sqrt(0.5)])
    assert seen.negative.tolist() == [0, 1, 1, 0] and seen.definite.tolist() == [True, False, False, True]
    np.testing.assert_allclose(seen.lowest, [0.5, -0.75, 0, 1], atol=1e-15)
    np.testing.assert_allclose(seen.distance, [0, 0.6, 0, math.sqrt(0.5)], atol=1e-15)


def test_the_distance_is_that_to_the_nearest_matrix(epsilon):
    seen = answer_errors.departure(epsilon)
    away = (epsilon - metrics.nearest(epsilon)).flatten(-2).norm(dim=-1) / epsilon.flatten(-2).norm(dim=-1)
    np.testing.assert_allclose(seen.distance, away, rtol=1e-12)
    assert seen.distance.shape == (3, 6) and len(seen.columns()["negative"]) == 18


def test_what_is_not_finite_is_named(epsilon):
    epsilon[1, 4, 0, 2] = torch.inf
    with pytest.raises(ValueError, match=r"matrix \(1, 4\) is not finite"):
        answer_errors.departure(epsilon)


def test_zero_has_no_departure_that_is_not_a_number():
    seen = answer_errors.departure(torch.zeros(1, 3, 3))
    assert not seen.definite[0] and seen.distance[0] == 0 and np.isfinite(seen.lowest[0])


def test_noise_is_as_large_as_the_error(answers, epsilon):
    M = answers + 0.3 * epsilon[0]
    noise = answer_errors.matched_noise(answers, M, epsilon)
    sizes = (noise - answers).flatten(-2).norm(dim=-1)
    torch.testing.assert_close(sizes, (M - answers).flatten(-2).norm(dim=-1).expand(3, -1))
    torch.testing.assert_close(answer_errors.matched_noise(answers, M, epsilon[0]), M)


def test_distances_are_the_metrics_and_infinite_outside(answers):
    M = answers.clone()
    M[2] = -M[2]
    M[4] += torch.ones(4, 4, dtype=M.dtype).triu(1) - torch.ones(4, 4, dtype=M.dtype).tril(-1)
    away = answer_errors.spd_distances(M, answers.roll(1, 0))
    inside = [0, 1, 3, 4, 5]
    for name, metric in METRICS.items():
        expected = metric.distance(answers.roll(1, 0)[inside], answers[inside])
        np.testing.assert_allclose(away[name][inside], expected, rtol=1e-10)
        assert np.isinf(away[name][2]) == (name != "Euclidean")


def test_all_outside_have_no_distance(answers):
    away = answer_errors.spd_distances(-answers, answers)
    assert np.isinf(away["affine-invariant"]).all() and np.isfinite(away["Euclidean"]).all()


def test_infinitely_far_loses_and_two_of_them_tie():
    noise = np.array([[2.0, 3.0, np.inf, np.inf, 2.0], [1.0, np.inf, np.inf, 3.0, 2.0 + 1e-12]])
    seen = answer_errors.compare_with_noise([1.5, np.inf, np.inf, 1.0, 2.0], noise)
    assert seen.wins.tolist() == [0.5, 0.25, 0.5, 1.0, 0.5]
    expected = [math.log(1.5 / math.sqrt(2)), np.nan, np.nan, math.log(1 / 3), 0]
    np.testing.assert_allclose(seen.log_ratio, expected, atol=1e-9)


def test_errors_in_proportion_to_the_answer_beat_noise(generator, epsilon):
    """Y moved along itself by 20 %: no farther than 0.2·√n in affine-invariant distance."""
    spectrum = torch.logspace(-2, 1, 4, dtype=torch.float64)
    Q = torch.linalg.qr(torch.randn(20, 4, 4, generator=generator, dtype=torch.float64)).Q
    Y = symmetric((Q * spectrum) @ Q.mT)
    noise = torch.randn(5, 20, 4, 4, generator=generator, dtype=torch.float64)
    found, wins = answer_errors.compare_all(1.2 * Y, Y, noise)
    assert wins["affine-invariant"].tolist() == [1.0] * 20
    assert found["metric"] == list(METRICS)
    assert found["nearer"][0] == found["nearer"][1] == 1.0 and found["nearer"][3] == 0.5
    assert found["answers"][0] == pytest.approx(2 * math.log(1.2)) and found["answers_without"][0] == 0
    assert 0.3 < found["noise_without"][0] < 1 and found["noise_without"][3] == 0
    assert found["ratio"][3] == pytest.approx(1)


def test_no_pair_with_distances_leaves_no_ratio(answers, epsilon):
    found, _ = answer_errors.compare_all(-answers, answers, epsilon)
    assert found["pairs"][0] == 0 and math.isnan(found["ratio"][0])
    assert found["answers_without"][0] == 1 and 0 <= found["nearer"][0] <= 0.5


def test_steps_of_a_path(answers, epsilon):
    M = torch.stack([-answers, answers, 1.5 * answers])
    seen = answer_errors.step_errors(M, answers)
    assert seen["indefinite"] == [1, 0, 0] and seen["negative"] == [4, 0, 0]
    np.testing.assert_allclose(seen["distance"], [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(seen["error"], [2, 0, 0.5], atol=1e-12)
    assert seen["indefinite_low"][0] < 1 < seen["indefinite_high"][0] + 1e-9
    noise = answer_errors.step_errors(M, answers, epsilon[0])
    np.testing.assert_allclose(noise["error"], [2, 0, 0.5], atol=1e-12)
    assert noise["asymmetry"][0] > 0.2 and noise["asymmetry"][1] == 0


def test_makers_are_examined_one_by_one(answers, epsilon):
    found = answer_errors.examine_answers({"trained": 1.1 * answers, "bad": -answers}, answers, epsilon)
    assert found.closeness["who"] == ["trained"] * 4 + ["bad"] * 4
    assert {len(column) for column in found.closeness.values()} == {8}
    assert found.noise["trained"].distance.shape == (3, 6)
    assert set(found.numbers()) >= {"negative.trained", "asymmetry.bad.noise"}
    assert found.columns()["bad.definite"].tolist() == [False] * 6


def test_means_of_answers_and_problems(problems):
    spectra, table = answer_errors.karcher_means({"problems": problems, "answers": metrics.power(problems, -1)})
    rows = {(g, m): i for i, (g, m) in enumerate(zip(table["group"], table["metric"], strict=True))}
    for name in METRICS:
        inversion, swelling = (table[what][rows["answers", name]] for what in ("inversion", "swelling"))
        if name in ("affine-invariant", "log-Euclidean"):
            assert inversion < 1e-8 and abs(swelling) < 1e-8
        else:
            assert inversion > 0.01 and swelling > 0.01
        assert table["halves"][rows["answers", name]] > 0.01
        assert math.isnan(table["inversion"][rows["problems", name]])
    assert len(spectra["eigenvalue"]) == 2 * 4 * 4 and min(spectra["eigenvalue"]) > 0


def test_verdicts_and_headline_of_answers(answers, epsilon):
    near = answer_errors.examine_answers({"trained": 1.01 * answers}, answers, epsilon)
    decided = answer_errors.spd_verdicts(near)
    assert decided["samples_are_spd"][1]["share"] == 1 and decided["closer_than_noise"][1]["nearer"] == 1
    assert answer_errors.spd_headline(near)[:2] == ("nearer to the truth than noise of equal size, affine-invariant", 1)
    outside = answer_errors.examine_answers({"trained": -answers}, answers, epsilon)
    assert not any(met for met, _ in answer_errors.spd_verdicts(outside).values())
    assert answer_errors.spd_headline(outside)[:2] == ("sampled answers that are positive definite", 0)
    assert set(answer_errors.groups(answers, answers, -answers)) == {"problems", "answers"}
    mixed = torch.cat([answers[:2], -answers[2:]])
    torch.testing.assert_close(answer_errors.groups(answers, answers, mixed)["sampled"], answers[:2])


def test_walks_of_everybody_and_of_noise(ideal, algebraic, problems, answers, epsilon):
    start = ideal.coordinates.noise(6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    walked = answer_errors.walk_all(
        {"trained": algebraic, "other": ideal}, denoised, problems, start, truth=answers, epsilon=epsilon[0]
    )
    steps = walked.steps
    assert steps.groupby("who", sort=False).size().to_dict() == {"trained": 10, "noise": 10, "other": 10}
    assert steps["landscape"].tolist() == 3 * list(range(9, -1, -1))
    by = steps.set_index(["who", "landscape"])["error"]
    assert by["noise"].to_numpy() == pytest.approx(by["trained"].to_numpy())
    assert by["other"].max() < 1e-9 and walked.trained.y.shape[:2] == (10, 6)
    torch.testing.assert_close(walked.answers["other"], answers)
    with pytest.raises(ValueError, match="trained"):
        answer_errors.walk_all({"other": ideal}, denoised, problems, start, truth=answers, epsilon=epsilon[0])


def test_a_prediction_keeps_its_own_errors_on_the_way(coordinates, schedule, problems, answers, epsilon):
    """The answer of a linear map m(A), from the first step on, but for Π c_j·(start/√ᾱ_9 − m), c = ᾱC/(ᾱC + σ²)."""
    predict, spread = (lambda A: 2 * torch.eye(4, dtype=A.dtype) - A / 4), 0.3
    units = torch.eye(coordinates.size, dtype=torch.float64)
    energy = PredictorEnergy(coordinates, schedule, predict, units, torch.full((len(units),), spread).double())
    start = coordinates.noise(6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    walked = answer_errors.walk_all({"trained": energy}, denoised, problems, start, truth=answers, epsilon=epsilon[0])
    m = coordinates.encode(predict(problems))
    left, bar = start / schedule.sqrt_alpha_bar[9].item() - m, schedule.alpha_bar
    for k in reversed(range(10)):
        left = left * (bar[k] * spread / (bar[k] * spread + schedule.sigma[k] ** 2)).item()
        states = walked.trained.y[9 - k] / schedule.sqrt_alpha_bar[k].item()
        torch.testing.assert_close(states, m + left, rtol=0, atol=1e-6)
    torch.testing.assert_close(walked.answers["trained"], coordinates.decode(m + left), rtol=0, atol=1e-6)


def test_the_claim_is_asked_problem_by_problem(answers, epsilon):
    examined = answer_errors.examine_answers({"trained": 1.1 * answers, "bad": -answers}, answers, epsilon)
    nearer, at_size, closer, definite = examined.by_problem().values()
    assert nearer["trained"].tolist() == [1] * 6 and nearer["trained"].mean() == examined.numbers()["nearer.trained"]
    np.testing.assert_array_equal(at_size["trained"], nearer["trained"])
    assert nearer["bad"].mean() == pytest.approx(examined.closest("bad")["nearer"])
    assert (closer["trained"] >= 0).all() and (closer["bad"] < 0).all()
    assert definite["trained"].tolist() == [1] * 6 and definite["bad"].tolist() == [0] * 6


def test_errors_of_one_direction_are_alike_whatever_their_size(answers, epsilon):
    """Scaled to the size of the trained energy's, an error that is ten times as large is that error."""
    direction = symmetric(epsilon[0])
    makers = {"trained": answers + 0.01 * direction, "larger": answers + 0.1 * direction}
    at_size = answer_errors.examine_answers(makers, answers, epsilon[1:]).at_size
    np.testing.assert_array_equal(at_size["larger"], at_size["trained"])
