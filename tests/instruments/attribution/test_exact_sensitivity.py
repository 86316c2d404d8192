"""The exact sensitivity of the inverse, and what agrees with it."""

import numpy as np
import pytest
import torch
from pandas import concat

from ired.instruments.attribution import exact_sensitivity, integrated_gradients
from ired.instruments.core import states
from ired.instruments.core.random_directions import orthonormal
from ired.instruments.core.states import symmetric
from ired.model.sampling import SamplingConfig, sample


def test_exact_sensitivity_is_what_autograd_finds_through_the_inverse(ideal, problems, y):
    for k, entry in ((0, (0, 0)), (4, (1, 3))):
        target = integrated_gradients.score_entry(ideal, k, entry)
        A = problems.clone().requires_grad_()
        by_autograd = torch.autograd.grad(target(A, y).sum(), A)[0]
        exact = exact_sensitivity.exact_score_sensitivity(ideal, problems, k, entry)
        torch.testing.assert_close(symmetric(by_autograd), exact)
        torch.testing.assert_close(exact_sensitivity.gradients_by_problem(target, problems, y), exact)


def test_sampling_the_ideal_landscape_has_the_jacobian_of_the_inverse(ideal, problems, generator):
    config = SamplingConfig(inner_steps=1, clip=50.0)
    A, start = problems[:2], states.noise(ideal, 2, generator=generator, like=problems)

    def answer(A, start):
        return sample(ideal, A, config, start=start, differentiable=True)

    J = exact_sensitivity.jacobian(ideal, answer, A, start, rows=7)
    torch.testing.assert_close(J, exact_sensitivity.exact_jacobian(ideal, A), rtol=1e-6, atol=1e-8)
    target = integrated_gradients.sampled_error(answer, states.answers(ideal, A) + 1)
    torch.testing.assert_close(target(A, start), torch.ones(2, dtype=torch.float64))


def test_agreement_and_its_shuffled_control(ideal, problems):
    exact = exact_sensitivity.exact_jacobian(ideal, problems)
    table = exact_sensitivity.sensitivity_agreement(exact, exact, energy="ideal")
    np.testing.assert_allclose(table["cosine"], 1)
    np.testing.assert_allclose(exact_sensitivity.sensitivity_agreement(-3 * exact, exact)["slope"], -3)
    assert (table["shuffled"] < 0.999).all() and len(table) == 6


def test_the_ideal_score_agrees_with_what_is_known_and_the_algebraic_one_less(ideal, algebraic, at):
    energies, entries = {"ideal": ideal, "algebraic": algebraic}, ((0, 0), (0, 1))
    rows = exact_sensitivity.gradient_agreement(energies, at.A, (0, 5), entries, torch.Generator())
    means = rows.groupby("energy")["cosine"].mean()
    assert len(rows) == 2 * 2 * 2 * 6
    assert means["ideal"] == pytest.approx(1) and means["algebraic"] < 0.9
    at, by_energy = at.definite(), {}
    for name, energy in energies.items():
        by_energy[name] = integrated_gradients.targets_explained(
            [integrated_gradients.score_entry(energy, 0, (0, 0))], at
        )
    rows = exact_sensitivity.integral_agreement(by_energy, by_energy["ideal"])
    means = rows.groupby("energy")["cosine"].mean()
    assert means["ideal"] == pytest.approx(1) and means["algebraic"] < 0.9
    assert (rows.query("energy == 'ideal'")["shuffled"] < 1 - 1e-6).all()


def test_margins_compare_with_the_untrained_network_and_other_problems(ideal, problems, generator):
    exact = exact_sensitivity.exact_jacobian(ideal, problems)
    blind = torch.randn(exact.shape, generator=generator, dtype=torch.float64)
    tables = {"trained": 0.5 * exact, "untrained": blind}
    rows = [exact_sensitivity.sensitivity_agreement(J, exact, energy=name) for name, J in tables.items()]
    margins = exact_sensitivity.Margins.of(concat(rows))
    assert margins.surely() and margins.slope == pytest.approx(0.5)
    assert margins.cosine.estimate == pytest.approx(1)
    swapped = [rows[0].assign(energy="untrained"), rows[1].assign(energy="trained")]
    assert not exact_sensitivity.Margins.of(concat(swapped)).surely()


def test_the_operator_says_the_same_and_knows_what_captures_most(ideal, problems, generator):
    rows = orthonormal(4, ideal.coordinates.size, generator)
    S = exact_sensitivity.mean_sensitivity(ideal, problems, chunk=4)
    captured = exact_sensitivity.captured(ideal, problems, rows).mean(0)
    torch.testing.assert_close(((rows @ S) * rows).sum(1), captured)
    assert torch.linalg.eigvalsh(S).sum() == pytest.approx(1)
    best = torch.linalg.eigh(S).eigenvectors.mT[-4:]
    drawn = exact_sensitivity.captured_by_chance(S, 4, 200, generator)
    assert exact_sensitivity.captured(ideal, problems, best).sum(1).mean() > drawn.max()
    error = drawn.std() / np.sqrt(200)
    assert drawn.mean() == pytest.approx(4 / ideal.coordinates.size, abs=4 * error)
