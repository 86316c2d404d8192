"""Controls are the predictors of SETUP-2, seen as energies, and come back from what it logged."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ired.experiments import controls
from ired.instruments.accuracy import predictors
from ired.instruments.statistics.intervals import mean_interval
from ired.model import checkpoint, problems
from ired.model.energies.mlp import EnergyConfig, MLPEnergy
from ired.model.reference import PredictorEnergy, untrained_networks

N, C = 3, 0.5


class FakeRun:
    """Keeps what is logged, and gives it back as the result of every experiment."""

    def __init__(self, folder):
        self.profile = SimpleNamespace(problem=SimpleNamespace(n=N, c=C))
        self.device, self.seed, self.folder = "cpu", 0, folder
        self.logged, self.tables, self.criteria = {}, {}, {}

    def tensors(self, name, tensors=None):
        if tensors is None:
            return self.logged[name]
        self.logged[name] = tensors

    def table(self, name, table):
        self.tables[name] = table

    def criterion(self, name, met, **numbers):
        self.criteria[name] = met, numbers

    def upstream(self, exp_id):
        return self

    def path(self, name):
        return self.folder / name


def drawn(count, purpose):
    A = problems.draw(count, N, C, problems.generator(0, purpose), torch.float64)
    return A, problems.inverse(A)


@pytest.fixture(scope="module")
def fitted():
    batches = [drawn(500, f"batch {i}") for i in range(40)]
    by_name = predictors.affine_predictors(batches)
    return by_name | {"regression": predictors.RegressionNetwork(batches, hidden=16, steps=40)}


@pytest.fixture(params=[False, True], ids=["raw", "standardised"])
def run(request, tmp_path, fitted):
    config = EnergyConfig(N, 16, shift=0.6, scale=0.3, symmetric=True) if request.param else EnergyConfig(N, 16)
    checkpoint.save_energy(tmp_path / "model.safetensors", MLPEnergy(config))
    run = FakeRun(tmp_path)
    controls.log_controls(run, fitted)
    return run


def test_a_panel_holds_the_model_and_all_controls(run):
    energies = controls.panel(run)
    assert list(energies) == ["trained", "untrained", "ideal", "algebraic", "affine", "regression"]
    A, _ = drawn(4, "some")
    y = energies["trained"].coordinates.noise(4, generator=problems.generator(0, "y"), dtype=torch.float64)
    for energy in energies.values():
        assert energy.coordinates == energies["trained"].coordinates
        assert energy.gradient(A, y, 3).dtype == torch.float64
    assert list(controls.panel(run, "ideal")) == ["trained", "ideal"]


def test_controls_answer_as_the_predictors_do(run, fitted):
    A, _ = drawn(7, "some")
    energies = controls.panel(run, "affine", "regression")
    for name, predictor in (("affine", "least_squares"), ("regression", "regression")):
        energy = energies[name]
        answers = energy.coordinates.decode(energy.prepare(A).y0)
        assert torch.allclose(answers, fitted[predictor](A), atol=1e-5)


def test_controls_are_as_sure_as_their_errors_on_other_problems(run, fitted):
    """The covariance that SETUP-2 logs is that of the errors in the coordinates of the model."""
    energy = controls.panel(run, "affine")["affine"]
    A, _ = drawn(controls.PROBLEMS, "others")
    known = PredictorEnergy.of(energy.coordinates, energy.schedule, fitted["least_squares"], A)
    C, asked = ((e.axes * e.variances) @ e.axes.mT for e in (energy, known))
    assert (C - asked).norm() < 0.1 * asked.norm()


def test_a_restored_network_passes_gradients_to_the_problem(run):
    energy = controls.panel(run, "regression")["regression"]
    A, _ = drawn(2, "some")
    A.requires_grad_()
    (slope,) = torch.autograd.grad(energy.prepare(A).y0.sum(), A)
    moved = A.detach() + 1e-6 * torch.eye(N, dtype=A.dtype)
    change = (energy.prepare(moved).y0 - energy.prepare(A.detach()).y0).sum() / 1e-6
    assert torch.allclose(slope.diagonal(dim1=-2, dim2=-1).sum(), change, rtol=1e-4)


@pytest.mark.parametrize("higher", [True, False])
def test_the_model_is_beyond_controls_only_where_it_is_beyond_each(tmp_path, higher):
    noise = np.random.default_rng(0).normal(0, 0.01, (3, 60))
    sign = 1 if higher else -1
    values = {"trained": sign * 1 + noise[0], "affine": noise[1], "regression": sign * 0.9 + noise[2]}
    run = FakeRun(tmp_path)
    controls.log_beside_controls(run, controls.Measure("how much", values, higher))
    met, numbers = run.criteria["beyond_controls"]
    assert met and 0.05 < numbers["regression_low"] < 0.1 < numbers["affine_low"]
    table = run.tables["beside_controls"]
    assert list(table["energy"]) == list(values) and table["margin"].isna().tolist() == [True, False, False]

    values["regression"] = values["trained"] + noise[1]
    controls.log_beside_controls(run, controls.Measure("how much", values, higher))
    assert not run.criteria["beyond_controls"][0]


def test_a_table_alone_where_controls_could_not_refute_and_intervals_as_they_are_given(tmp_path):
    values = {name: np.random.default_rng(i).normal(size=60) for i, name in enumerate(("trained", "affine"))}
    run, plain = FakeRun(tmp_path), FakeRun(tmp_path)

    def twice_as_wide(first, second, level):
        interval = mean_interval(first - second, level)
        half = interval.high - interval.low
        return replace(interval, low=interval.low - half / 2, high=interval.high + half / 2)

    controls.log_beside_controls(plain, controls.Measure("m", values), decides=False)
    controls.log_beside_controls(run, controls.Measure("m", values), decides=False, difference=twice_as_wide)
    assert not run.criteria and not plain.criteria
    for low, high in (("low", "high"), ("margin_low", "margin_high")):
        wide, narrow = ((r.tables["beside_controls"][high] - r.tables["beside_controls"][low]) for r in (run, plain))
        assert np.allclose(wide.dropna(), 2 * narrow.dropna())


def test_untrained_networks_differ_and_the_first_is_that_of_the_panel(run):
    energies = controls.panel(run, "untrained")
    networks = untrained_networks(energies["trained"], run.seed, 3)
    assert list(networks) == ["untrained", "untrained 2", "untrained 3"]
    weights = [torch.cat([p.flatten() for p in energy.parameters()]) for energy in networks.values()]
    assert torch.equal(weights[0], torch.cat([p.flatten() for p in energies["untrained"].parameters()]))
    assert not torch.isclose(weights[0], weights[1]).all() and not torch.isclose(weights[1], weights[2]).all()


def test_no_criterion_is_met_because_a_control_is_missing(tmp_path):
    values = {"trained": np.arange(9.0), "affine": np.zeros(9)}
    with pytest.raises(ValueError, match="affine and regression"):
        controls.log_beside_controls(FakeRun(tmp_path), controls.Measure("how much", values))
