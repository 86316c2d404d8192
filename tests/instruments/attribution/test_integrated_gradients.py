"""Attributions on energies and functions whose attributions are known."""

import numpy as np
import pytest
import torch
from pandas import DataFrame

from ired.instruments.attribution import integrated_gradients
from ired.instruments.attribution.integrated_gradients import Baseline, Paths, Target
from ired.instruments.attribution.known_answers import check_attribution
from ired.instruments.core import directions, states
from ired.model.sampling import SamplingConfig, sample


@pytest.fixture
def y0(ideal, problems):
    return states.answers(ideal, problems)


@pytest.fixture
def begins(ideal, problems, generator):
    background = torch.stack((problems.roll(1, 0), problems.roll(2, 0)))
    return integrated_gradients.baselines(ideal, 0, problems, 3.0, background, generator)


@pytest.fixture
def y(ideal, y0, generator):
    return states.noised(ideal, y0, 0, 1, generator)[0][:, 0]


def test_sound_instruments_pass(references):
    checks = check_attribution(references, torch.Generator().manual_seed(3))
    assert [str(check) for check in checks if not check.passed] == []
    assert {check.instrument for check in checks} == {"attribution"}


def doubled(gradient):
    return lambda *a, **k: 2 * gradient(*a, **k)


@pytest.mark.parametrize(
    "name", ["exact_score_sensitivity", "exact_jacobian", "_enumerated", "symmetric", "grouped"]
)
def test_a_broken_instrument_is_named(references, monkeypatch, name):
    monkeypatch.setattr(integrated_gradients, name, doubled(getattr(integrated_gradients, name)))
    checks = check_attribution(references, torch.Generator().manual_seed(3))
    assert any(not check.passed for check in checks)


def test_ideal_paths_are_complete_from_every_spd_baseline(ideal, problems, y, y0, begins):
    for target in (integrated_gradients.gap(ideal, 0, y0), integrated_gradients.score(ideal, 0, (1, 1))):
        for name in ("identity", "mean", "random"):
            paths = integrated_gradients.integrate(target, problems, y, begins[name], 64)
            assert paths.error().max() < 1e-6, name
            assert paths.change.shape == (2 if name == "random" else 1, 6)


def test_few_places_are_exact_where_the_energy_is_a_polynomial(algebraic, problems, y, y0, begins):
    target = integrated_gradients.gap(algebraic, 3, y0)
    few, many = (integrated_gradients.integrate(target, problems, y, begins["zero"], m) for m in (2, 20))
    assert few.error().max() < 1e-6
    for a, b in zip(few.attributions(), many.attributions(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)


def test_chunks_change_nothing(network, problems, y, y0, begins):
    target = integrated_gradients.gap(network, 2, y0)
    whole = integrated_gradients.integrate(target, problems, y, begins["random"], 8)
    parts = integrated_gradients.integrate(target, problems, y, begins["random"], 8, rows=12)
    torch.testing.assert_close(whole.gradients, parts.gradients)


def test_captum_multiplies_by_the_same_steps(network, problems, y, y0, begins):
    from captum.attr import IntegratedGradients

    target = integrated_gradients.gap(network, 1, y0)
    own = integrated_gradients.integrate(target, problems, y, begins["mean"], 8).attributions()
    begin = begins["mean"].A[0], begins["mean"].y[0]
    theirs = IntegratedGradients(target.value).attribute(
        (problems, y), begin, additional_forward_args=target.given, n_steps=8
    )
    torch.testing.assert_close(own, theirs)


def test_places_are_doubled_until_complete():
    tried = []

    def paths(count):
        tried.append(count)
        change = torch.ones(1, 20)
        gradient = (1 + 1 / count**2) * change[..., None]
        return Paths((gradient,), (torch.ones(1, 20, 1),), change, count)

    assert integrated_gradients.until_complete(paths, 2, 64).count == 16
    assert tried == [2, 4, 8, 16]
    assert integrated_gradients.until_complete(paths, 2, 8).count == 8
    assert not integrated_gradients.until_complete(paths, 2, 8).complete()


def test_errors_have_a_floor():
    gradient = torch.tensor([1.1, 1.0, 1.0, 0.1])
    change = torch.tensor([1.0, 1.0, 1.0, 0.0])
    paths = Paths((gradient[None, :, None],), (torch.ones(1, 4, 1),), change[None], 1)
    np.testing.assert_allclose(paths.error()[0], [0.1, 0, 0, 0.1 / 0.01], atol=1e-6)


@pytest.mark.parametrize("layer", ["fc1", "fc2", "fc3"])
def test_layers_share_out_the_gap(network, problems, y, y0, layer):
    paths = integrated_gradients.integrate_layer(network, layer, 2, problems, y, y0, 64, rows=60)
    gap = integrated_gradients.gap(network, 2, y0)(problems, y)
    torch.testing.assert_close(paths.change[0], gap)
    assert paths.error().max() < 1e-5
    torch.testing.assert_close(paths.attributions()[0].sum(1), gap, rtol=1e-5, atol=1e-6)


def test_exact_sensitivity_is_what_autograd_finds_through_the_inverse(ideal, problems, y):
    for k, entry in ((0, (0, 0)), (4, (1, 3))):
        target = integrated_gradients.score(ideal, k, entry)
        A = problems.clone().requires_grad_()
        seen = torch.autograd.grad(target(A, y).sum(), A)[0]
        exact = integrated_gradients.exact_score_sensitivity(ideal, problems, k, entry)
        torch.testing.assert_close(integrated_gradients.symmetric(seen), exact)
        torch.testing.assert_close(integrated_gradients.gradients_by_problem(target, problems, y, 4), exact)


def test_exact_jacobian_is_a_finite_difference_of_the_inverse(ideal, problems, generator):
    N = torch.randn(4, 4, generator=generator, dtype=torch.float64) * 1e-6
    N = N + N.mT
    J = integrated_gradients.exact_jacobian(ideal, problems)
    basis = ideal.coordinates.to_basis
    ahead, behind = (basis(states.answers(ideal, problems + s * N)) for s in (0.5, -0.5))
    torch.testing.assert_close((J * N).sum((2, 3)), ahead - behind, rtol=1e-5, atol=1e-12)


def test_sampling_the_ideal_landscape_has_the_jacobian_of_the_inverse(ideal, problems, generator):
    config = SamplingConfig(inner_steps=1, clip=50.0)
    A, start = problems[:2], states.noise(ideal, 2, generator=generator, like=problems)

    def answer(A, start):
        return sample(ideal, A, config, start=start, differentiable=True)

    J = integrated_gradients.jacobian(ideal, answer, A, start, rows=7)
    torch.testing.assert_close(J, integrated_gradients.exact_jacobian(ideal, A), rtol=1e-6, atol=1e-8)
    target = integrated_gradients.sampled_error(answer, states.answers(ideal, A) + 1)
    torch.testing.assert_close(target(A, start), torch.ones(2, dtype=torch.float64))


def test_agreement_and_its_shuffled_control(ideal, problems):
    exact = integrated_gradients.exact_jacobian(ideal, problems)
    table = integrated_gradients.agreement(exact, exact, energy="ideal")
    np.testing.assert_allclose(table["cosine"], 1)
    np.testing.assert_allclose(integrated_gradients.agreement(-3 * exact, exact)["slope"], -3)
    assert (table["shuffled"] < 0.999).all() and len(table) == 6


def test_shapley_of_symmetric_pairs(ideal, problems, y, begins):
    pairs, own = integrated_gradients.joined(ideal)
    assert (pairs == pairs.T).all() and pairs.max() == 9 and own.min() == 10
    assert own.max() == 9 + ideal.coordinates.size
    ones = torch.ones_like(problems), torch.zeros_like(y)
    counts = integrated_gradients.grouped(ones, (pairs, own))[0]
    assert sorted(counts[:10].tolist()) == [1] * 4 + [2] * 6
    target = Target("products", lambda A, y: A[:, 0, 1] * A[:, 2, 2] * y[:, 3] + A[:, 0, 0])
    found = integrated_gradients.shapley(target, problems, y, begins["mean"], (pairs, own), 40, 0)
    change = target(problems, y) - target(begins["mean"].A[0], begins["mean"].y[0])
    torch.testing.assert_close(found.values.sum(1), change, rtol=1e-4, atol=1e-4)
    assert not found.exact and (found.error[:, 1] > 0).any()
    again = integrated_gradients.shapley(target, problems, y, begins["mean"], (pairs, own), 40, 0)
    assert torch.equal(found.values, again.values)


def test_sampled_shapley_values_lie_within_their_errors(problems, y, begins):
    few = torch.arange(16).reshape(4, 4) % 4, 4 + torch.arange(16) % 4
    target = Target("mixed", lambda A, y: (A.sum(2) * y[:, :4].exp()).prod(1).tanh())
    exact = integrated_gradients.shapley(target, problems, y, begins["mean"], few, 2, 0)
    guess = integrated_gradients.shapley(target, problems, y, begins["mean"], few, 60, 0, enumerated=0)
    assert exact.exact and not guess.exact
    away = (exact.values - guess.values).abs() / (guess.error + 1e-6)
    assert (away < 3).double().mean() > 0.95


def test_attributions_turned_into_eigen_directions_keep_their_sum(network, problems, y, y0, begins):
    paths = integrated_gradients.integrate(integrated_gradients.gap(network, 0, y0), problems, y, begins["random"], 8)
    for turned, plain in zip(
        integrated_gradients.in_eigenbasis(paths, problems), paths.attributions(), strict=True
    ):
        torch.testing.assert_close(turned.sum((1, 2)), plain.flatten(1).sum(1))
    ranks = integrated_gradients.by_eigenvalue({("gap", "random", 0): paths}, problems)
    total = ranks.groupby("problem")[["A_absolute", "y_absolute"]].sum()
    np.testing.assert_allclose(total, 1)


def test_shares_of_a_planted_attribution():
    A = torch.tensor([[[2.0, -1.0], [-1.0, 0.0]]]).double()
    y = torch.tensor([[0.0, 0.5, 0.5, -1.0]]).double()
    paths = Paths((A[None], y[None]), (torch.ones_like(A)[None], torch.ones_like(y)[None]),
                  torch.ones(1, 1).double(), 1)  # fmt: skip
    row = integrated_gradients.shares({("gap", "zero", 0): paths}).iloc[0]
    assert row["problem_share"] == pytest.approx(4 / 6)
    assert row["A_diagonal"] == row["A_diagonal_signed"] == pytest.approx(0.5)
    assert row["A_off_diagonal_signed"] == pytest.approx(-0.5)
    assert row["y_diagonal_signed"] == pytest.approx(-0.5)


@pytest.fixture
def at(ideal, problems, y0, y, begins):
    return integrated_gradients.Scene(0, problems, y0, y, begins)


def test_every_method_is_judged(network, at):
    target = integrated_gradients.score(network, 0, (0, 1))
    table = integrated_gradients.judged(network, [target], at, 8, 4, 0)
    assert len(table) == 6 * 7 and np.isfinite(table.select_dtypes("number")).all().all()
    means = table.groupby("method")[["infidelity_small", "sensitivity", "shapley_cosine"]].mean()
    # Close by, nothing beats the gradient itself.
    assert means["infidelity_small"].idxmin() in ("gradient", "input × gradient", "SmoothGrad")
    assert means.loc["IG mean", "shapley_cosine"] > 0.5
    assert table.equals(integrated_gradients.judged(network, [target], at, 8, 4, 0))


def test_scenes_are_cut_and_drawn_anew(ideal, network, problems, at):
    few = at.first(2).definite()
    assert set(few.begins) == {"identity", "mean", "random"} and len(few.A) == len(few.y) == 2
    assert few.begins["random"].A.shape == (2, 2, 4, 4)
    background = torch.stack((problems, problems))
    first, second = (
        integrated_gradients.scene(ideal, 3, problems, 3.0, background, torch.Generator().manual_seed(1))
        for _ in range(2)
    )
    assert torch.equal(first.y, second.y) and first.k == 3
    torch.testing.assert_close(first.begins["mean"].A[0, 0], 3 * torch.eye(4).double())


def test_tables_have_a_row_for_every_case(ideal, algebraic, network, at):
    at = at.definite()
    targets = integrated_gradients.gap(network, 0, at.y0), integrated_gradients.score(network, 0, (0, 1))
    found = integrated_gradients.explained(targets, at)
    errors = integrated_gradients.completeness(found)
    assert len(errors) == 2 * (1 + 1 + 2) * 6
    assert set(errors["steps"]) <= {8, 16, 32, 64, 128}
    assert (errors["error"] < 0.01).mean() >= 0.95
    assert len(integrated_gradients.shares(found)) == 2 * 3 * 6
    maps = integrated_gradients.heatmaps(found)
    A = found["gap", "mean", 0].attributions()[0]
    torch.testing.assert_close(maps["gap", "mean", 0, "A"], integrated_gradients.symmetric(A).mean(0))
    between = integrated_gradients.between_baselines(found)
    assert len(between) == 2 * 3 * 3
    np.testing.assert_allclose(between.query("first == second")["cosine"], 1)


def test_the_ideal_score_agrees_with_what_is_known_and_the_algebraic_one_less(ideal, algebraic, at):
    energies, entries = {"ideal": ideal, "algebraic": algebraic}, ((0, 0), (0, 1))
    rows = integrated_gradients.gradient_agreement(energies, at.A, (0, 5), entries, torch.Generator())
    means = rows.groupby("energy")["cosine"].mean()
    assert len(rows) == 2 * 2 * 2 * 6
    assert means["ideal"] == pytest.approx(1) and means["algebraic"] < 0.9
    at, found = at.definite(), {}
    for name, energy in energies.items():
        found[name] = integrated_gradients.explained([integrated_gradients.score(energy, 0, (0, 0))], at)
    rows = integrated_gradients.integral_agreement(found, found["ideal"])
    means = rows.groupby("energy")["cosine"].mean()
    assert means["ideal"] == pytest.approx(1) and means["algebraic"] < 0.9
    assert (rows.query("energy == 'ideal'")["shuffled"] < 1 - 1e-6).all()


def test_margins_compare_with_the_untrained_network_and_other_problems(ideal, problems, generator):
    exact = integrated_gradients.exact_jacobian(ideal, problems)
    blind = torch.randn(exact.shape, generator=generator, dtype=torch.float64)
    tables = {"trained": 0.5 * exact, "untrained": blind}
    rows = [integrated_gradients.agreement(J, exact, energy=name) for name, J in tables.items()]
    seen = integrated_gradients.Margins.of(integrated_gradients.stacked(rows))
    assert seen.surely() and seen.slope == pytest.approx(0.5)
    assert seen.cosine.estimate == pytest.approx(1)
    swapped = [rows[0].assign(energy="untrained"), rows[1].assign(energy="trained")]
    assert not integrated_gradients.Margins.of(integrated_gradients.stacked(swapped)).surely()


def test_numbers_of_completeness():
    errors = DataFrame({"target": ["gap", "gap"], "baseline": ["zero", "mean"], "steps": [8, 16],
                        "error": [0.001, 0.5]})  # fmt: skip
    seen = integrated_gradients.numbers(errors)
    assert seen == {"steps.gap.zero": 8, "steps.gap.mean": 16, "complete.gap": 0.5}


def test_directions_are_those_that_gradients_share(ideal, generator):
    d = ideal.coordinates.d
    planted = ideal.coordinates.project(torch.randn(d, generator=generator, dtype=torch.float64))
    planted = planted / planted.norm()
    noise = 0.1 * torch.randn(30, d, generator=generator, dtype=torch.float64)
    zero = torch.zeros(1, 30, d)
    found = {
        ("gap", "random", 3): Paths((zero, (noise - planted)[None]), (zero, zero), zero, 1),
        ("gap by fc1", "answer", 0): Paths((noise[None],), (zero,), zero, 1),
        ("gap", "zero", 3): None,
    }
    (state, layer), chance = integrated_gradients.handed_on(ideal, found, generator)
    assert (state.name, state.space) == ("attribution y k=3", directions.STATE)
    assert 0.5 < state.evidence < 1 and state.vector @ planted < -0.99
    torch.testing.assert_close(ideal.coordinates.project(state.vector), state.vector)
    assert (layer.name, layer.space) == ("attribution fc1 k=0", "fc1")
    # Where nothing is shared, chance explains as much.
    assert chance[0] < 0.5 * state.evidence and abs(chance[1] - layer.evidence) < 0.1
