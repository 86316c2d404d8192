"""Pairs differ in what they promise and in nothing that they promise to hold."""

import numpy as np
import pytest
import torch

from ired.instruments.core import states
from ired.instruments.interventions import counterfactuals
from ired.instruments.interventions.counterfactuals import HELD, MOVED, matrix_properties
from ired.model import problems as model_problems

COUNT = 20


@pytest.fixture(scope="module", params=[3, 5])
def pool(request):
    n = request.param
    return model_problems.draw(100, n, 0.5, model_problems.generator(0, "pool"), torch.float64)


@pytest.mark.parametrize("concept", MOVED)
def test_a_pair_differs_in_what_was_moved_and_holds_what_it_promises(pool, concept):
    found = counterfactuals.problem_pairs(pool, concept, COUNT)
    before, after = matrix_properties(found.base), matrix_properties(found.changed)
    name, sign = MOVED[concept]
    assert (sign * (after[name] - before[name]) > 0).all()
    for held in HELD[concept]:
        torch.testing.assert_close(after[held], before[held], atol=1e-9, rtol=1e-9)
    assert (found.quantile_base < 0.5).all()
    assert (found.quantile_changed > found.quantile_base).all()
    if concept != "ill_conditioned":  # where norm and determinant may not allow it
        target = (sign * matrix_properties(pool)[name]).quantile(0.9)
        torch.testing.assert_close(sign * after[name], target.expand(COUNT), atol=1e-6, rtol=1e-6)
    assert (found.quantile_changed < 0.95).all()
    torch.testing.assert_close(found.changed, found.changed.mT, atol=0, rtol=0)
    # Base problems are problems of the pool, untouched.
    assert all((pool == A).all((-2, -1)).any() for A in found.base)


def test_only_the_promised_part_of_the_eigendecomposition_moves(pool):
    for concept in ("near_singular", "large_norm", "ill_conditioned"):
        found = counterfactuals.problem_pairs(pool, concept, COUNT)
        product = found.base @ found.changed
        torch.testing.assert_close(product, product.mT, atol=1e-9, rtol=1e-9)  # they commute
    near = counterfactuals.problem_pairs(pool, "near_singular", COUNT)
    before, after = (torch.linalg.eigvalsh(A) for A in (near.base, near.changed))
    torch.testing.assert_close(before[:, 1:], after[:, 1:])
    known = before[:, 0] ** 2 - after[:, 0] ** 2
    squares = [A.pow(2).sum((-2, -1)) for A in (near.base, near.changed)]
    torch.testing.assert_close(squares[0] - squares[1], known)
    diagonal = counterfactuals.problem_pairs(pool, "dominant_diagonal", COUNT)
    torch.testing.assert_close(*(torch.linalg.eigvalsh(A) for A in (diagonal.base, diagonal.changed)))


def test_a_full_turn_ends_on_the_axes(pool):
    turned = counterfactuals.nearer_diagonal(pool[:5], torch.tensor(2.0, dtype=torch.float64))
    diagonal = torch.diag_embed(turned.diagonal(dim1=-2, dim2=-1))
    torch.testing.assert_close(turned, diagonal, atol=1e-6, rtol=0)


def test_differences_are_in_deviations_of_the_pool(pool):
    found = counterfactuals.problem_pairs(pool, "large_norm", COUNT)
    rows = counterfactuals.differences(pool, found)
    place = rows["property"].index("log_norm")
    drawn = matrix_properties(pool)["log_norm"]
    gap = matrix_properties(found.changed)["log_norm"] - matrix_properties(found.base)["log_norm"]
    assert rows["difference"][place] == pytest.approx((gap.mean() / drawn.std()).item())
    assert rows["role"][place] == "moved"
    held = [size for role, size in zip(rows["role"], rows["size"], strict=True) if role == "held"]
    assert held and max(held) < 1e-9


def test_states_differ_in_distance_or_in_whose_answer_they_are_near(ideal, problems, generator):
    y0 = states.answers(ideal, problems)
    near, far = counterfactuals.state_pairs(ideal, y0, 4, "noisy_answer", generator)
    radius, home = states.noise_radius(ideal, 4), states.centre(ideal, y0, 4)
    for state, distance in ((near, counterfactuals.NEAR), (far, counterfactuals.FAR)):
        np.testing.assert_allclose(states.array((state - home).norm(dim=1)) / radius, distance)
    wrong, right = counterfactuals.state_pairs(ideal, y0, 4, "correct_answer", generator)
    torch.testing.assert_close(right - wrong, home - home.roll(1, 0))


def test_what_cannot_be_made_is_refused(ideal, problems, generator, pool):
    with pytest.raises(ValueError, match="noisy_answer"):
        counterfactuals.problem_pairs(pool, "noisy_answer", 3)
    with pytest.raises(ValueError, match="pool of more than 100"):
        counterfactuals.problem_pairs(pool, "large_norm", 100)
    with pytest.raises(ValueError, match="large_norm"):
        counterfactuals.state_pairs(ideal, states.answers(ideal, problems), 0, "large_norm", generator)
    with pytest.raises(ValueError, match="n ≥ 3"):
        counterfactuals.worse_conditioned(pool[:, :2, :2], torch.tensor(5.0), torch.tensor(0.0))
