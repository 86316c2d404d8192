"""Active subspaces: planted ones are found, noise has none."""

import numpy as np
import pytest
import torch

from ired.instruments.attribution import active_subspace
from ired.instruments.core import states as points
from ired.instruments.core.random_directions import normal, orthonormal
from ired.model.reference import Quadratic
from ired.model.sampling import AnnealedSampler


def test_states_of_a_path_are_those_of_the_sampler(ideal, problems, generator):
    steps, sampler = [], AnnealedSampler(inner_steps=2)
    start = points.noise(ideal, len(problems), generator=generator, like=problems)
    states = active_subspace.path_states(ideal, problems, sampler, start)
    sampler(ideal, problems, start, callback=steps.append)
    assert states.shape == (10, 6, 2, ideal.coordinates.d)
    last = [s for s in steps if s.landscape == 3 and s.stage == "descend"][-1]
    first = next(s for s in steps if s.landscape == 3 and s.stage == "denoise")
    assert torch.equal(states[3, :, 0], first.y) and torch.equal(states[3, :, 1], last.y)


def test_a_path_without_descent_has_one_state(ideal, problems, generator):
    start = points.noise(ideal, len(problems), generator=generator, like=problems)
    states = active_subspace.path_states(ideal, problems, AnnealedSampler(inner_steps=0), start)
    assert states.shape == (10, 6, 1, ideal.coordinates.d)


def test_parts_sum_to_the_whole_and_know_their_matrices(ideal, generator):
    z = normal(5, ideal.coordinates.size, generator=generator)
    shares = active_subspace.parts(ideal, z)
    torch.testing.assert_close(shares.sum(-1), z.pow(2).sum(-1))
    n = ideal.coordinates.n
    E = torch.eye(n, dtype=torch.float64)
    identity = ideal.coordinates.to_basis(E.flatten())
    torch.testing.assert_close(active_subspace.parts(ideal, identity), torch.tensor([4.0, 0, 0, 0]).double())
    if not ideal.coordinates.symmetric:
        odd = torch.zeros(n, n, dtype=torch.float64)
        odd[0, 1], odd[1, 0] = 1, -1
        expected = torch.tensor([0.0, 0, 0, 2]).double()
        torch.testing.assert_close(active_subspace.parts(ideal, odd.flatten()), expected)


def planted(P, M, size, m, strength, generator):
    """Noise with m planted orthonormal directions of that deviation: field (1, P, M, size) and rows."""
    rows = orthonormal(m, size, generator)
    signal = strength * normal(P, M, m, generator=generator) @ rows
    return (normal(P, M, size, generator=generator) + signal)[None], rows


def test_a_planted_subspace_and_its_dimension_are_found(generator):
    field, rows = planted(600, 1, 15, 3, 3.0, generator)
    components = active_subspace.field_components(field, 40, generator)
    assert components.real.tolist() == [3]
    assert active_subspace.angle(components.leading(0), rows) < 10
    np.testing.assert_allclose(components.values[0, :3], 10, rtol=0.25)
    assert components.chance[0] == pytest.approx(1 / 41)


def trials(draw, generator, count=60):
    """Share of spectra with a component above each null, and above both."""
    field = torch.cat([draw() for _ in range(count)])
    components = active_subspace.field_components(field, 39, generator)
    above = components.share[:, 0] > components.limits()[..., 0]
    return *above.mean(1), (components.real > 0).mean()


def test_noise_has_components_in_the_nominal_share_of_trials(generator):
    shares = trials(lambda: normal(1, 80, 1, 6, generator=generator), generator)
    # 5 %, with what 60 trials scatter at 3 deviations.
    assert max(shares) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 60)


def test_unequal_variances_alone_are_no_component(generator):
    scale = torch.tensor([5.0, 1, 1, 1, 1, 1]).double()
    shares = trials(lambda: scale * normal(1, 80, 1, 6, generator=generator), generator)
    assert shares[2] <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 60)


def test_a_common_size_fools_the_shuffle_and_not_the_flips(generator):
    def draw():
        size = normal(1, 80, 1, 1, generator=generator).exp()
        return size * normal(1, 80, 1, 6, generator=generator)

    shuffled, flipped, both = trials(draw, generator)
    assert shuffled > 0.3 and flipped <= 0.15 and both <= 0.15


def test_repeated_states_of_a_problem_count_once(generator):
    def draw():
        return normal(1, 80, 1, 6, generator=generator).repeat(1, 1, 4, 1)

    assert trials(draw, generator)[2] <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 60)


def test_gradients_of_a_quadratic_have_the_pca_of_its_hessian(ideal, problems, generator):
    d = ideal.coordinates.d
    basis = points.state_basis(ideal, problems)
    B = normal(len(basis), len(basis), generator=generator)
    energy = Quadratic(ideal.coordinates, ideal.schedule, basis.mT @ (B + B.mT) @ basis, torch.zeros(d))
    z = normal(1, 6, 20, len(basis), generator=generator)
    field = active_subspace.fields(energy, problems, ideal.coordinates.from_basis(z))["raw"]
    S = torch.cov(z.flatten(0, 2).mT, correction=0)
    expected = torch.linalg.eigvalsh((B + B.mT) @ S @ (B + B.mT)).flip(0)
    values, rows = active_subspace.principal_components(field.flatten(1, 2))
    torch.testing.assert_close(values[0], expected)
    C = (rows[0].mT * values[0]) @ rows[0]
    torch.testing.assert_close(C, (B + B.mT) @ S @ (B + B.mT))


def test_equal_seeds_give_equal_components(generator):
    field = normal(2, 30, 2, 5, generator=generator)
    first, second = (active_subspace.field_components(field, 5, torch.Generator().manual_seed(1)) for _ in range(2))
    assert np.array_equal(first.nulls, second.nulls) and torch.equal(first.rows, second.rows)


def test_a_strong_subspace_is_stable_and_noise_has_none(generator):
    strong, _rows = planted(300, 1, 10, 2, 5.0, generator)
    stable = active_subspace.subspace_stability(strong[0], 2, 20, generator)
    assert np.median(stable.halves) < 15 and np.median(stable.bootstrap) < 12
    assert np.median(stable.expected) < 15 and np.median(stable.chance) > 45
    noise = active_subspace.subspace_stability(normal(300, 1, 10, generator=generator), 2, 20, generator)
    assert np.median(noise.halves) > 45
    assert set(stable.columns()) >= {"halves", "halves_low", "halves_high", "chance"}


def test_the_whole_space_is_the_same_in_all_halves(generator):
    angles = active_subspace.subspace_stability(normal(40, 2, 3, generator=generator), 3, 3, generator)
    assert max(np.max(v) for v in vars(angles).values()) < 1e-4


def test_odd_numbers_of_problems_can_be_halved(generator):
    field = normal(21, 2, 3, generator=generator)
    field[..., 0] *= 30  # one axis that both halves, 11 and 10 problems, must find
    halves = active_subspace.subspace_stability(field, 1, 2, generator).halves
    assert len(halves) == 2 and max(halves) < 10
