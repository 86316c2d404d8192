"""The sampling path of energies whose estimates are known, with the sampler that scripts use."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ired.instruments.accuracy import predictors
from ired.instruments.accuracy.sampling_path import SamplingPath, best_stop, sampling_path
from ired.instruments.core.reference_energies import WrappedEnergy
from ired.model import problems as model_problems
from ired.model.sampling import AnnealedSampler

CLIP = 1e6  # that bounds nothing


class Bowl(WrappedEnergy):
    """E = slack·‖y − √ᾱ_k c_k(A)‖²/2σ_k: c_k an affine map of A, a network, or the answer itself."""

    def __init__(self, energy, centre, slack=1.0):
        super().__init__(energy)
        self._centre, self._slack = centre, slack

    def prepare(self, A):
        return A

    def energy(self, A, y, k):
        return self.energy_and_gradient(A, y, k)[0]

    def gradient(self, A, y, k):
        return self.energy_and_gradient(A, y, k)[1]

    def energy_and_gradient(self, A, y, k):
        away_from = y - self.schedule.sqrt_alpha_bar[k].item() * self._centre(A, k)
        gradient = self._slack / self.schedule.sigma[k].item() * away_from
        return (gradient * away_from).sum(-1) / 2, gradient


def starts(energy, A, count=3, dtype=torch.float64):
    return energy.coordinates.noise(len(A), count, generator=torch.Generator().manual_seed(5), dtype=dtype)


def answers(energy):
    return lambda A, k: energy.coordinates.encode(torch.linalg.inv(A))


@pytest.mark.parametrize("inner_steps, factor", [(0, 1.0), (3, 1.0), (3, 1.5)])
def test_a_slack_bowl_is_contracted_as_in_theory(ideal, problems, inner_steps, factor):
    slack, start = 0.6, starts(ideal, problems)
    sampler = AnnealedSampler(inner_steps, clip=CLIP, later_step_factor=factor)
    path = sampling_path(Bowl(ideal, answers(ideal), slack), sampler, problems, start)
    schedule, y0 = ideal.schedule, answers(ideal)(problems, 0)
    left = start / schedule.sqrt_alpha_bar[-1] - y0[:, None]
    for k in reversed(range(10)):
        kept = slack * (schedule.beta[k] / schedule.sigma[k] ** 2).item()
        descents = (1 - kept) ** min(inner_steps, 1) * (1 - factor * kept) ** max(inner_steps - 1, 0)
        for s, by in enumerate((1.0, 1 - slack, descents)):
            left = by * left
            expected = 0.25 * left.pow(2).mean((1, 2))
            np.testing.assert_allclose(path.errors[k, s], expected, rtol=1e-6, atol=1e-24)
            np.testing.assert_allclose(path.spread[k, s], 0.25 * left.var(1).mean(-1), rtol=1e-6, atol=1e-24)


def test_stopping_gives_the_error_that_the_path_promises(network, problems):
    start = starts(network, problems, 1)
    for sampler in (AnnealedSampler(2, clip=3.0), AnnealedSampler.published(2)):
        path = sampling_path(network, sampler, problems, start)
        Y = torch.linalg.inv(problems)
        for k in (0, 4, 9):
            y = replace(sampler, stop_at=k).answers(network, problems, start[:, 0])
            error = (network.coordinates.decode(y) - Y).pow(2).mean((1, 2)).detach()
            np.testing.assert_allclose(path.leaving[k], error, rtol=1e-9)


def test_a_regression_network_as_an_energy_has_its_error_from_the_first_step_on(ideal, problems):
    A = model_problems.draw(2000, 4, 0.5, model_problems.generator(0, "fitted"), torch.float64)
    fitted = predictors.RegressionNetwork(zip(A.split(100), torch.linalg.inv(A).split(100), strict=True), 16, steps=20)
    energy = Bowl(ideal, lambda A, k: ideal.coordinates.encode(fitted(A)))
    path = sampling_path(energy, AnnealedSampler(2, clip=CLIP), problems, starts(ideal, problems))
    errors = fitted.mse(problems, torch.linalg.inv(problems)).numpy()
    np.testing.assert_allclose(path.errors[:, 1:], np.broadcast_to(errors, (10, 2, 6)), rtol=1e-9)
    assert path.error_table()["memory"].iloc[1:].max() < 1e-12
    np.testing.assert_allclose(path.against({"regression": errors})["difference"], 0, atol=1e-12)


def test_an_affine_energy_is_never_better_than_least_squares(ideal, generator):
    """On the problems that least squares was fitted to: there it is the best of all affine maps, chance included."""
    A = model_problems.draw(300, 4, 0.5, model_problems.generator(0, "affine"), torch.float64)
    Y = torch.linalg.inv(A)
    fitted = predictors.affine_predictors([(A, Y)])["least_squares"]
    wrong = 0.3 * torch.randn(10, 16, 16, generator=generator, dtype=torch.float64)

    def centre(A, k):  # of the answer least squares and something else, more and more of it
        return ideal.coordinates.encode(fitted(A)) + k / 9 * ideal.coordinates.project(A.flatten(1) @ wrong[k])

    start = starts(ideal, A[:1], 1).expand(300, -1, -1)  # the same for all: no other affine map hides in it
    for slack in (0.5, 1.0):
        path = sampling_path(Bowl(ideal, centre, slack), AnnealedSampler(1, clip=CLIP), A, start)
        best = fitted.mse(A, Y).mean().item()
        assert path.errors.mean(-1).min() >= best * (1 - 1e-9)
        assert path.leaving[9].mean() > 1.5 * best
    # What knows more than that goes below it.
    path = sampling_path(Bowl(ideal, answers(ideal), 0.9), AnnealedSampler(1, clip=CLIP), A, start)
    assert path.leaving[0].mean() < 0.01 * best


def test_a_flat_energy_hands_the_clipped_start_through(ideal, problems):
    A, clip = problems.repeat(100, 1, 1), 2.0
    path = sampling_path(Bowl(ideal, answers(ideal), 0.0), AnnealedSampler(2, clip=clip), A, starts(ideal, A, 2))
    assert np.ptp(path.errors[:, 1:], axis=(0, 1)).max() < 1e-12
    # Read 204-fold: all but one entry in a hundred is at ±clip.
    variance = 0.25 * clip**2
    expected = variance / (variance + 0.25 * answers(ideal)(problems, 0).pow(2).mean().item())
    memory = path.error_table()["memory"]
    assert memory.iloc[-1] == pytest.approx(expected, rel=0.02)


def test_neither_chunks_nor_the_scale_of_the_output_change_what_is_measured(network, problems):
    sampler, start = AnnealedSampler(1, clip=3.0), starts(network, problems)
    whole = sampling_path(network, sampler, problems, start)
    for other in (
        sampling_path(network, sampler, problems, start, memory=1),
        sampling_path(network, replace(sampler, scaled_output=True), problems, start),
    ):
        np.testing.assert_allclose(other.errors, whole.errors, rtol=1e-9)
        np.testing.assert_allclose(other.spread, whole.spread, rtol=1e-9)
    single = sampling_path(network.float(), sampler, problems, start.float())
    assert single.errors.dtype == np.float64
    np.testing.assert_allclose(single.errors, whole.errors, rtol=1e-3)


def test_the_table_has_a_row_a_stage_from_the_noisiest_on(network, problems):
    path = sampling_path(network, AnnealedSampler(1, clip=3.0), problems, starts(network, problems))
    table = path.error_table()
    assert list(table["landscape"]) == [k for k in range(9, -1, -1) for _ in range(3)]
    assert list(table["stage"])[:3] == ["enter", "denoise", "descend"]
    for name in ("mse", "memory", "change"):
        low, high = ("low", "high") if name == "mse" else (f"{name}_low", f"{name}_high")
        assert (table[low] <= table[name]).all() and (table[name] <= table[high]).all()
    np.testing.assert_allclose(table["mse"].iloc[1:] - table["change"].iloc[1:], table["mse"].iloc[:-1], rtol=1e-9)
    np.testing.assert_allclose(
        table["memory"], np.concatenate([(path.spread[k].mean(-1) / path.errors[k].mean(-1)) for k in range(9, -1, -1)])
    )
    alone = sampling_path(network, AnnealedSampler(1, clip=3.0), problems, starts(network, problems)[:, :1])
    assert alone.spread is None and "memory" not in alone.error_table()


def test_predictions_stand_beside_the_answers(ideal, problems):
    Y = torch.linalg.inv(problems)
    path = sampling_path(ideal, AnnealedSampler(1, clip=CLIP), problems, starts(ideal, problems))
    np.testing.assert_allclose(path.zero, Y.pow(2).mean((1, 2)))
    rows = path.against({"a tenth off": np.full(len(Y), 0.01)}, k=9).set_index("predictor")
    assert rows.loc["a tenth off", "mse"] == pytest.approx(0.01)
    assert rows.loc["a tenth off", "difference"] == pytest.approx(-0.01)


def test_where_to_stop_is_chosen_on_some_problems_and_judged_on_others():
    rng = np.random.default_rng(0)
    validation, test = (2 + 0.1 * rng.standard_normal((10, 50)) for _ in range(2))
    validation[6] -= 1
    test[6] += 1
    stop = best_stop(validation, test)
    assert stop.landscape == 6 and stop.chosen_on == pytest.approx(1, abs=0.1)
    assert stop.difference.low > 0.9 and stop.stopped.estimate == pytest.approx(3, abs=0.1)
    numbers = stop.metrics("stop")
    assert numbers["stop.landscape"] == 6 and numbers["stop.difference.low"] == stop.difference.low
    # Where all are equal the whole path is taken, and nothing is gained for sure.
    even = best_stop(np.ones((10, 20)), test)
    assert even.landscape == 0 and (even.difference.low, even.difference.high) == (0, 0)


def test_what_cannot_be_measured_is_refused(network, problems):
    start, sampler = starts(network, problems), AnnealedSampler(1, clip=3.0)
    for wrong in (start[:, 0], start[:3], start[..., :4]):
        with pytest.raises(ValueError, match="6 problems need starts"):
            sampling_path(network, sampler, problems, wrong)
    with pytest.raises(ValueError, match="through all 10 landscapes"):
        sampling_path(network, replace(sampler, stop_at=3), problems, start)
    errors = np.ones((10, 6))
    with pytest.raises(ValueError, match="other problems"):
        best_stop(errors, errors)
    with pytest.raises(ValueError, match="all landscapes"):
        best_stop(errors, errors[:4])


def test_a_loss_within_chance_is_not_told_from_none():
    rng = np.random.default_rng(1)
    errors = np.abs(1 + 0.1 * rng.standard_normal((10, 3, 40)))
    path = SamplingPath(errors, None, np.ones(40))
    rise = path.greatest_loss()[2]
    assert rise.level == pytest.approx(1 - 0.05 / 20) and rise.low < 0 < rise.estimate
    errors[2, 2] += 1
    assert path.greatest_loss()[:2] == (2, "descend") and path.greatest_loss()[2].low > 0.5
