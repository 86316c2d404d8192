"""Errors split into eigenvalue and eigenvector parts: planted, isotropic, beyond order one."""

import math
from dataclasses import fields

import numpy as np
import pytest
import torch
from scipy.linalg import expm, subspace_angles

from ired.instruments.core import states
from ired.instruments.eigen_decomposition import eigen_exchange, eigen_split
from ired.instruments.eigen_decomposition.eigen_split import Frame, Parts


def orthogonal(generator, *shape):
    Q, R = torch.linalg.qr(torch.randn(*shape, generator=generator, dtype=torch.float64))
    return Q * R.diagonal(dim1=-2, dim2=-1).sign()[..., None, :]


def matrices(values, U):
    return (U * torch.as_tensor(values, dtype=torch.float64)) @ U.mT


@pytest.fixture
def truth(generator):
    """Three matrices (3, 4, 4) with the eigenvalues 1, 2, 4, 7 and random eigenvectors."""
    return matrices([1.0, 2.0, 4.0, 7.0], orthogonal(generator, 3, 4, 4))


@pytest.fixture
def degenerate(generator):
    """The same with the eigenvalues 1, 3, 3, 7."""
    return matrices([1.0, 3.0, 3.0, 7.0], orthogonal(generator, 3, 4, 4))


def turn(Y, frame, Omega):
    """e^Ω Y e^{−Ω} with Ω given in the eigenbasis."""
    R = torch.as_tensor(np.stack([expm(O) for O in (frame.vectors @ Omega @ frame.vectors.mT).numpy()]))
    return R @ Y @ R.mT


def skew(generator, *shape):
    G = torch.randn(*shape, generator=generator, dtype=torch.float64)
    return (G - G.mT) / 2


# First order


def test_changed_eigenvalues_are_all_eigenvalue_part(truth, generator):
    frame = Frame.of(truth)
    delta = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    parts = eigen_split.eigen_parts(frame, (frame.vectors * delta[:, None, :]) @ frame.vectors.mT)
    assert torch.allclose(parts.share, torch.ones(3, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(parts.eigenvalue, delta.pow(2).sum(-1))
    assert parts.antisymmetric.max() < 1e-25


def test_small_rotations_are_eigenvector_part_with_their_angles(truth, generator):
    frame, Omega = Frame.of(truth), skew(generator, 3, 4, 4)
    errors = []
    for t in (1e-3, 1e-4):
        D = turn(truth, frame, t * Omega) - truth
        share = eigen_split.eigen_parts(frame, D).share.max().item()
        wrong = (eigen_split.angles(frame, D) / t - Omega).abs().max().item()
        errors.append((share, wrong))
    assert errors[0][0] < 1e-4 and errors[0][1] < 1e-2
    # The share left over falls with t², the angles' error with t.
    assert errors[1][0] == pytest.approx(errors[0][0] / 100, rel=0.1)
    assert errors[1][1] == pytest.approx(errors[0][1] / 10, rel=0.1)


def test_antisymmetric_deviations_are_a_part_of_their_own(truth, generator):
    frame, K = Frame.of(truth), skew(generator, 3, 4, 4)
    D = torch.randn(5, 3, 4, 4, generator=generator, dtype=torch.float64)
    alone, parts = eigen_split.eigen_parts(frame, K), eigen_split.eigen_parts(frame, D)
    assert torch.allclose(alone.antisymmetric, K.pow(2).sum((-2, -1)))
    assert alone.symmetric.max() < 1e-25
    assert parts.share.shape == (5, 3)
    assert torch.allclose(parts.total, D.pow(2).sum((-2, -1)))
    assert torch.allclose(parts.odd_share, parts.antisymmetric / parts.total)


def test_some_problems_of_a_frame(truth):
    frame = Frame.of(truth)
    assert torch.equal(frame.first(2).vectors, frame.vectors[:2]) and frame.first(2).n == 4
    assert frame.condition == pytest.approx([7, 7, 7])


def test_nothing_has_no_share(truth):
    frame = Frame.of(truth)
    assert eigen_split.eigen_parts(frame, 0 * truth).share.isnan().all()
    assert np.isnan(eigen_split.eigen_parts(frame, 0 * truth).array().share).all()


def test_what_is_inside_an_eigenspace_is_eigenvalue_part(degenerate, generator):
    frame = Frame.of(degenerate)
    assert frame.groups[0].tolist() == [0, 1, 1, 2]
    Omega = torch.zeros(3, 4, 4, dtype=torch.float64)
    Omega[:, 1, 2], Omega[:, 2, 1] = 0.7, -0.7
    assert torch.allclose(turn(degenerate, frame, Omega), degenerate, atol=1e-12)
    block = torch.zeros(3, 4, 4, dtype=torch.float64)
    block[:, 1:3, 1:3] = torch.tensor([[1.0, 2.0], [2.0, -1.0]])
    D = frame.vectors @ block @ frame.vectors.mT
    parts = eigen_split.eigen_parts(frame, D)
    assert torch.allclose(parts.eigenvalue, torch.full((3,), 10.0, dtype=torch.float64))
    assert parts.eigenvector.max() < 1e-25
    assert eigen_split.angles(frame, D).abs().max() < 1e-14
    # Without the group it would have been rotations by huge angles.
    assert eigen_split.eigen_parts(Frame.of(degenerate, tolerance=-1.0), D).share.max() < 0.999


def test_nearly_equal_eigenvalues_are_joined_at_the_tolerance(generator):
    Y = matrices([1.0, 1.0 + 1e-3, 10.0], orthogonal(generator, 1, 3, 3))
    assert Frame.of(Y).groups.tolist() == [[0, 1, 2]]
    assert Frame.of(Y, tolerance=1e-3).groups.tolist() == [[0, 0, 1]]


@pytest.mark.parametrize("values, level", [([1, 2, 4, 7], 0.4), ([1, 3, 3, 7], 0.5), ([2, 2, 2, 2], 1.0)])
def test_isotropic_noise_has_the_share_of_its_dimensions(values, level, generator):
    frame = Frame.of(matrices(values, orthogonal(generator, 1, 4, 4)))
    assert frame.isotropic.item() == pytest.approx(level)
    G = torch.randn(20000, 1, 4, 4, generator=generator, dtype=torch.float64)
    parts = eigen_split.eigen_parts(frame, (G + G.mT) / 2)
    drawn = parts.eigenvalue.sum() / parts.symmetric.sum()
    assert drawn.item() == pytest.approx(level, abs=0.01)
    by_basis = (parts.random * parts.symmetric).sum() / parts.symmetric.sum()
    assert by_basis.item() == pytest.approx(level, abs=0.01)


@pytest.mark.parametrize("values", [[1, 2, 4, 7], [1, 3, 3, 7]])
def test_share_in_random_eigenbases(values, generator):
    D = torch.randn(4, 4, generator=generator, dtype=torch.float64)
    D = D + D.mT + 2 * torch.eye(4, dtype=torch.float64)
    frame = Frame.of(matrices(values, orthogonal(generator, 20000, 4, 4)))
    parts = eigen_split.eigen_parts(frame, D.expand(20000, 4, 4))
    assert parts.share.mean().item() == pytest.approx(parts.random[0].item(), abs=0.01)
    assert torch.allclose(parts.random, parts.random[0])


def test_a_multiple_of_one_is_all_eigenvalue_part_in_every_basis(truth):
    frame = Frame.of(truth)
    parts = eigen_split.eigen_parts(frame, torch.eye(4, dtype=torch.float64).expand(3, 4, 4))
    assert torch.allclose(parts.share, torch.ones(3, dtype=torch.float64))
    assert torch.allclose(parts.random, torch.ones(3, dtype=torch.float64))


def test_profile_says_which_eigenvalue(truth):
    frame = Frame.of(truth)
    turned = torch.zeros(4, 4, dtype=torch.float64)
    turned[3, 3], turned[0, 3], turned[3, 0], turned[1, 1] = 2.0, 1.0, 1.0, 1.0
    found = eigen_split.profile(frame, frame.vectors @ turned @ frame.vectors.mT)
    assert torch.allclose(found, (turned**2 / 7).expand(3, 4, 4))
    assert torch.allclose(eigen_split.touching_largest(found), torch.full((3,), 6 / 7).double())


def test_bad_matrices_are_named(truth):
    lopsided = truth.clone()
    lopsided[1, 0, 1] += 1
    with pytest.raises(ValueError, match=r"true inverse.*1.*not symmetric"):
        Frame.of(lopsided)
    with pytest.raises(ValueError, match="eigenvalue"):
        Frame.of(-truth)
    broken = truth.clone()
    broken[2, 0, 0] = math.nan
    with pytest.raises(ValueError, match=r"deviation \[2\] is not finite"):
        eigen_split.eigen_parts(Frame.of(truth), broken)


# Over landscapes and steps


@pytest.fixture
def place(ideal, problems):
    y0 = states.answers(ideal, problems)
    Y = ideal.coordinates.decode(y0)
    return Frame.of((Y + Y.mT) / 2), y0


def test_the_ideal_gradient_is_noise_and_has_no_error(ideal, problems, place, generator):
    frame, y0 = place
    score = eigen_split.score_of_energy(ideal, problems)
    found = eigen_split.parts_at_noise(ideal, score, frame, y0, [0, 9], 400, generator)
    gradient, isotropic = found["gradient"], states.array(frame.isotropic).mean()
    assert gradient.share.mean() == pytest.approx(isotropic, abs=0.01)
    assert gradient.share.shape == (2, 6)
    odd = 0 if ideal.coordinates.symmetric else 6 / 16
    assert gradient.odd_share.mean() == pytest.approx(odd, abs=0.01)
    assert np.isnan(found["score error"].share).all()
    assert found["estimate"].total.max() < 1e-20


def test_an_estimate_errs_as_the_score_does_until_it_is_clipped(network, problems, generator):
    y0 = states.answers(network, problems)
    frame = Frame.of(torch.linalg.inv(problems))
    score = eigen_split.score_of_energy(network, problems)
    found = eigen_split.parts_at_noise(network, score, frame, y0, [3, 9], 4, generator)
    assert np.allclose(found["score error"].share, found["estimate"].share)
    k, c = 3, network.coordinates
    factor = (c.scale * states.sigma(network, k)) ** 2 / network.schedule.alpha_bar[k].item()
    assert np.allclose(found["estimate"].total[0], factor * found["score error"].total[0])
    clipped = eigen_split.parts_at_noise(network, score, frame, y0, [3, 9], 4, generator, clip=1.0)
    assert clipped["estimate"].total[1].max() < found["estimate"].total[1].min()


def test_one_who_takes_wrong_answers_errs_by_them(ideal, problems, place, generator):
    frame, y0 = place
    wrong = torch.randn(y0.shape, generator=generator, dtype=torch.float64)
    score = eigen_split.score_of_answers(ideal, y0 + ideal.coordinates.project(wrong))
    found = eigen_split.parts_at_noise(ideal, score, frame, y0, [2], 3, generator)
    D = ideal.coordinates.project(wrong).unflatten(-1, (4, 4))
    want = eigen_split.eigen_parts(frame, D)
    assert np.allclose(found["score error"].share[0], want.share)
    assert np.allclose(found["estimate"].total[0], ideal.coordinates.scale**2 * want.total)


def test_the_blind_score_is_the_best_multiple(generator):
    y = torch.randn(3, 5, 4, generator=generator, dtype=torch.float64)
    epsilon = 0.5 * y + torch.randn(3, 5, 4, generator=generator, dtype=torch.float64)
    best = eigen_split.blind_multiple(y, 0, epsilon)
    for factor in (0.99, 1.01):
        assert (best - epsilon).norm() < (factor * best - epsilon).norm()


def test_the_ideal_gradient_at_sampled_states_is_their_displacement(ideal, problems, place, generator):
    frame, y0 = place
    y = torch.stack([states.noised(ideal, y0, k, 1, generator, 0.5)[0][:, 0] for k in (4, 0)])
    found = eigen_split.aim(ideal, problems, frame, y0, y, [4, 0])
    away = torch.stack([y[s] - states.centre(ideal, y0, k) for s, k in enumerate((4, 0))])
    want = eigen_split.eigen_parts(frame, away.unflatten(-1, (4, 4)))
    assert np.allclose(found.gradient.share, want.share)
    assert np.allclose(found.cosine_eigenvalue, 1) and np.allclose(found.cosine_eigenvector, 1)


def test_steps_stand_in_their_order(truth, generator):
    frame = Frame.of(truth)
    shift = torch.eye(4, dtype=torch.float64)
    K = frame.vectors @ skew(generator, 3, 4, 4).abs() @ frame.vectors.mT
    found = eigen_split.parts_over_steps([truth + 2 * shift, truth + shift + K, truth], frame, truth)
    assert found.share.shape == (3, 3)
    assert np.allclose(found.eigenvalue, [[16] * 3, [4] * 3, [0] * 3])
    assert np.allclose(found.eigenvector[1], states.array(K.pow(2).sum((-2, -1))))
    assert list(found.columns({"step": range(3), "problem": range(3)})) == [
        "step",
        "problem",
        *(part.name for part in fields(Parts)),
        "share",
    ]


def test_when_a_part_has_fallen():
    values = np.array([[4.0, 4.0, 4.0, 0.0], [3.0, 2.0, 5.0, 0.0], [1.0, 3.0, 4.0, 0.0]])
    assert eigen_split.fallen(values).tolist() == [2, 1, 3, 0]
    assert eigen_split.fallen(values, 0.25).tolist() == [2, 3, 3, 0]
    assert eigen_split.fallen(values, of=np.array([6.0, 2.0, 8.0, 1.0])).tolist() == [1, 3, 0, 0]


def test_curves_leave_out_what_is_not_defined():
    values = np.array([[1.0, 3.0, np.nan], [np.nan, np.nan, 2.0]])
    (row,) = eigen_split.mean_curves({"share": values}, {"step": [4, 5], "landscape": [1, 0]}, who="trained")
    assert (row["who"], row["step"], row["landscape"], row["measure"]) == ("trained", 4, 1, "share")
    assert (row["mean"], row["units"]) == (2, 2) and row["low"] < 1


def test_against_the_condition_number():
    rng = np.random.default_rng(0)
    condition = np.exp(rng.uniform(0, 5, 60))
    rising = np.log(condition) + 0.1 * rng.standard_normal(60)
    rising[3] = np.nan
    found = eigen_split.against_condition(rising, condition, strata=3)
    assert found.rho.low > 0.9
    assert [row["units"] for row in found.strata] == [20, 20, 19]
    means = [row["mean"] for row in found.strata]
    assert means == sorted(means)
    assert found.strata[0]["condition"] < found.strata[-1]["condition"]


# Beyond first order


def test_hybrids_have_one_kind_of_error_each(truth, generator):
    frame = Frame.of(truth)
    values = frame.values + torch.tensor([0.1, -0.2, 0.3, 2.0], dtype=torch.float64)
    turned = turn(truth, frame, skew(generator, 3, 4, 4))
    only_values = eigen_exchange.swap(frame, truth, matrices(values[:, None], frame.vectors))
    only_vectors = eigen_exchange.swap(frame, truth, turned)
    assert np.allclose(only_values.values_error, only_values.error)
    assert only_values.vectors_error.max() < 1e-20
    assert np.allclose(only_values.relative, states.array((values - frame.values) / frame.values))
    assert np.allclose(only_values.alignment, 1)
    assert np.allclose(only_vectors.vectors_error, only_vectors.error)
    assert only_vectors.values_error.max() < 1e-20
    assert only_vectors.alignment.min() < 0.9


@pytest.mark.parametrize("name", ["truth", "degenerate"])
def test_hybrids_agree_with_first_order_where_errors_are_small(name, request, generator):
    Y = request.getfixturevalue(name)
    frame = Frame.of(Y)
    G = 1e-5 * torch.randn(3, 4, 4, generator=generator, dtype=torch.float64)
    parts = eigen_split.eigen_parts(frame, G).array()
    seen = eigen_exchange.swap(frame, Y, Y + G)
    assert seen.values_error == pytest.approx(parts.eigenvalue, rel=1e-3)
    assert seen.vectors_error == pytest.approx(parts.eigenvector, rel=1e-3)
    assert seen.antisymmetric == pytest.approx(parts.antisymmetric)
    assert (seen.values_error <= seen.error).all()
    assert seen.alignment.min() > 1 - 1e-8


def test_alignment_by_chance_and_with_the_best_assignment(degenerate, truth, generator):
    frame = Frame.of(truth[:1].expand(4000, 4, 4))
    random = eigen_exchange.random_answers(frame, generator)
    seen = eigen_exchange.swap(frame, truth[:1].expand(4000, 4, 4), random)
    assert seen.alignment.mean(0) == pytest.approx(eigen_exchange.chance_alignment(frame)[0], abs=0.02)
    expected = eigen_exchange.random_vectors_error(frame)[0]
    assert seen.vectors_error.mean() == pytest.approx(expected, rel=0.03)
    few = Frame.of(truth)
    # The same eigenvectors with ranks reversed.
    reversed_ = (few.vectors * few.values.flip(-1)[:, None, :]) @ few.vectors.mT
    assert eigen_exchange.matched_alignment(few, reversed_) == pytest.approx(1)
    assert eigen_exchange.swap(few, truth, reversed_).alignment.max() < 1e-20
    grouped = Frame.of(degenerate)
    assert eigen_exchange.chance_alignment(grouped)[0].tolist() == [0.25, 0.5, 0.5, 0.25]
    vectors = orthogonal(generator, 3, 4, 4)
    angles = eigen_exchange.principal_angles(grouped.vectors[..., 1:3], vectors[..., 1:3])
    found = eigen_exchange.eigenvector_alignment(grouped, vectors)
    assert torch.allclose(found[:, 1], angles.cos().pow(2).mean(-1))
    assert torch.allclose(found[:, 1], found[:, 2])


def test_principal_angles_are_those_of_scipy(generator):
    U = orthogonal(generator, 5, 6, 6)[..., :3]
    small = torch.linalg.qr(U + 1e-6 * torch.randn(5, 6, 3, generator=generator, dtype=torch.float64)).Q
    for V in (orthogonal(generator, 5, 6, 6)[..., :3], small, U):
        found = eigen_exchange.principal_angles(U, V)
        want = np.stack([subspace_angles(*pair) for pair in zip(U.numpy(), V.numpy(), strict=True)])
        assert found.numpy() == pytest.approx(want, abs=1e-8)


def test_leading_spaces(truth, degenerate, generator):
    frame, Omega = Frame.of(truth), torch.zeros(3, 4, 4, dtype=torch.float64)
    Omega[:, 3, 0], Omega[:, 0, 3] = 0.3, -0.3
    found = eigen_exchange.leading_angles(frame, turn(truth, frame, Omega), 2)
    assert torch.allclose(found, torch.tensor([[0.3, 0.0]]).double().expand(3, 2), atol=1e-7)
    with pytest.raises(ValueError, match="problem 0: the space of the 2 largest"):
        eigen_exchange.leading_angles(Frame.of(degenerate), degenerate, 2)
    with pytest.raises(ValueError, match="4 of 4"):
        eigen_exchange.leading_angles(frame, truth, 4)


def test_eigenvalues_without_the_problem():
    values = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 9.0]], dtype=torch.float64)
    frame = Frame(values, torch.eye(2).double().expand(3, 2, 2), torch.tensor([[0, 1]] * 3))
    assert eigen_exchange.blind_values_error(frame).tolist() == [9 + 20.25, 2.25, 9 + 36]


def test_swaps_over_steps(truth):
    found = eigen_exchange.swap_over_steps(Frame.of(truth), truth, [2 * truth, truth])
    assert found.error.shape == (2, 3) and found.relative.shape == (2, 3, 4)
    assert np.allclose(found.relative[0], 1) and np.allclose(found.relative[1], 0)
