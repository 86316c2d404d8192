"""Active subspaces: planted ones are found, noise has none, what they are compared with is exact."""

import numpy as np
import pytest
import torch

from ired.instruments.attribution import (
    active_subspace as active,
    known_answers_active_subspace as calibration,
)
from ired.instruments.core import states as points
from ired.instruments.core.directions import EVERYWHERE, STATE, Direction
from ired.instruments.core.random_directions import orthonormal
from ired.model.reference import Quadratic
from ired.model.sampling import Sampler


def normal(*shape, generator):
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def rows_of(energy, m, generator):
    return orthonormal(m, energy.coordinates.size, generator)


# Where the gradient is looked at


def test_the_ideal_gradient_is_the_noise_and_its_rest_is_known(ideal, problems, generator):
    y0 = points.answers(ideal, problems)
    states = active.noised_states(ideal, y0, 3, generator)
    assert states.shape == (10, 6, 3, ideal.coordinates.d)
    found = active.fields(ideal, problems, states)
    z = ideal.coordinates.to_basis
    for k in (0, 4, 9):
        sigma, root = points.sigma(ideal, k), ideal.schedule.sqrt_alpha_bar[k].item()
        noise = z(states[k] - points.centre(ideal, y0, k)[:, None]) / sigma
        torch.testing.assert_close(found["raw"][k], noise)
        c = (z(states[k]) * noise).sum() / z(states[k]).pow(2).sum()
        beyond = (1 - c * sigma) * noise - c * root * z(y0)[:, None]
        torch.testing.assert_close(found["beyond"][k], beyond)


def test_states_of_a_path_are_those_of_the_sampler(ideal, problems, generator):
    seen, sampler = [], Sampler(inner_steps=2)
    start = points.noise(ideal, len(problems), generator=generator, like=problems)
    states = active.path_states(ideal, problems, sampler, start)
    sampler(ideal, problems, start, callback=seen.append)
    assert states.shape == (10, 6, 2, ideal.coordinates.d)
    last = [s for s in seen if s.landscape == 3 and s.stage == "descend"][-1]
    first = next(s for s in seen if s.landscape == 3 and s.stage == "denoise")
    assert torch.equal(states[3, :, 0], first.y) and torch.equal(states[3, :, 1], last.y)


def test_a_path_without_descent_has_one_state(ideal, problems, generator):
    start = points.noise(ideal, len(problems), generator=generator, like=problems)
    states = active.path_states(ideal, problems, Sampler(inner_steps=0), start)
    assert states.shape == (10, 6, 1, ideal.coordinates.d)


def test_parts_sum_to_the_whole_and_know_their_matrices(ideal, generator):
    z = normal(5, ideal.coordinates.size, generator=generator)
    seen = active.parts(ideal, z)
    torch.testing.assert_close(seen.sum(-1), z.pow(2).sum(-1))
    n = ideal.coordinates.n
    E = torch.eye(n, dtype=torch.float64)
    one = ideal.coordinates.to_basis(E.flatten())
    torch.testing.assert_close(active.parts(ideal, one), torch.tensor([4.0, 0, 0, 0]).double())
    if not ideal.coordinates.symmetric:
        odd = torch.zeros(n, n, dtype=torch.float64)
        odd[0, 1], odd[1, 0] = 1, -1
        expected = torch.tensor([0.0, 0, 0, 2]).double()
        torch.testing.assert_close(active.parts(ideal, odd.flatten()), expected)


# How many components are real


def planted(P, M, size, m, strength, generator):
    """Noise with m planted orthonormal directions of that deviation: field (1, P, M, size) and rows."""
    rows = orthonormal(m, size, generator)
    signal = strength * normal(P, M, m, generator=generator) @ rows
    return (normal(P, M, size, generator=generator) + signal)[None], rows


def test_a_planted_subspace_and_its_dimension_are_found(generator):
    field, rows = planted(600, 1, 15, 3, 3.0, generator)
    found = active.components(field, 40, generator)
    assert found.real.tolist() == [3]
    assert active.angle(found.leading(0), rows) < 10
    np.testing.assert_allclose(found.values[0, :3], 10, rtol=0.25)
    assert found.chance[0] == pytest.approx(1 / 41)


def trials(draw, generator, count=60):
    """Share of spectra with a component above each null, and above both."""
    field = torch.cat([draw() for _ in range(count)])
    found = active.components(field, 39, generator)
    above = found.share[:, 0] > found.limits()[..., 0]
    return *above.mean(1), (found.real > 0).mean()


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
    field = active.fields(energy, problems, ideal.coordinates.from_basis(z))["raw"]
    S = torch.cov(z.flatten(0, 2).mT, correction=0)
    expected = torch.linalg.eigvalsh((B + B.mT) @ S @ (B + B.mT)).flip(0)
    values, rows = active.principal(field.flatten(1, 2))
    torch.testing.assert_close(values[0], expected)
    C = (rows[0].mT * values[0]) @ rows[0]
    torch.testing.assert_close(C, (B + B.mT) @ S @ (B + B.mT))


# Stability


def test_a_strong_subspace_is_stable_and_noise_has_none(generator):
    strong, _ = planted(300, 1, 10, 2, 5.0, generator)
    seen = active.stability(strong[0], 2, 20, generator)
    assert np.median(seen.halves) < 15 and np.median(seen.bootstrap) < 12
    assert np.median(seen.expected) < 15 and np.median(seen.chance) > 45
    noise = active.stability(normal(300, 1, 10, generator=generator), 2, 20, generator)
    assert np.median(noise.halves) > 45
    assert set(seen.columns()) >= {"halves", "halves_low", "halves_high", "chance"}


def test_the_whole_space_is_the_same_in_all_halves(generator):
    seen = active.stability(normal(40, 2, 3, generator=generator), 3, 3, generator)
    assert max(np.max(v) for v in vars(seen).values()) < 1e-4


def test_odd_numbers_of_problems_can_be_halved(generator):
    field = normal(21, 2, 3, generator=generator)
    field[..., 0] *= 30  # one axis that both halves, 11 and 10 problems, must find
    found = active.stability(field, 1, 2, generator)
    assert len(found.halves) == 2 and max(found.halves) < 10


# The inverse's exact sensitivity


def test_the_whole_space_captures_all_of_the_sensitivity(ideal, problems, generator):
    rows = rows_of(ideal, ideal.coordinates.size, generator)
    seen = active.captured(ideal, problems, rows).sum(1)
    torch.testing.assert_close(seen, torch.ones(6).double())


def test_captured_shares_are_those_of_differences_of_inverses(ideal, problems, generator):
    n, step = ideal.coordinates.n, 1e-5
    rows, E = rows_of(ideal, 3, generator), points.symmetric_basis(n, problems)
    along, total = 0, 0
    for e in E.unflatten(-1, (n, n)):
        dY = (torch.linalg.inv(problems + step * e) - torch.linalg.inv(problems - step * e)) / step
        dy = ideal.coordinates.to_basis(dY.flatten(-2))
        along, total = along + (dy @ rows.mT).pow(2), total + dy.pow(2).sum(1)
    expected = along / total[:, None]
    torch.testing.assert_close(active.captured(ideal, problems, rows), expected, rtol=1e-6, atol=1e-9)


def test_the_operator_says_the_same_and_knows_what_captures_most(ideal, problems, generator):
    rows = rows_of(ideal, 4, generator)
    S = active.sensitivity(ideal, problems, chunk=4)
    own = active.captured(ideal, problems, rows).mean(0)
    torch.testing.assert_close(((rows @ S) * rows).sum(1), own)
    assert torch.linalg.eigvalsh(S).sum() == pytest.approx(1)
    best = torch.linalg.eigh(S).eigenvectors.mT[-4:]
    drawn = active.by_chance(S, 4, 200, generator)
    assert active.captured(ideal, problems, best).sum(1).mean() > drawn.max()
    error = drawn.std() / np.sqrt(200)
    assert drawn.mean() == pytest.approx(4 / ideal.coordinates.size, abs=4 * error)


# Eigen-directions


def test_the_frame_shares_of_the_identity_and_of_a_matrix_itself(ideal, problems, generator):
    n = ideal.coordinates.n
    eye = torch.eye(n, dtype=torch.float64).flatten() / 2
    shares = active.frame_shares(ideal, problems, ideal.coordinates.to_basis(eye)[None])
    torch.testing.assert_close(shares, torch.full((6, 1, n), 0.25).double())
    one = problems[0] / problems[0].norm()
    own = active.frame_shares(ideal, problems, ideal.coordinates.to_basis(one.flatten())[None])[0, 0]
    values = torch.linalg.eigvalsh(one)
    torch.testing.assert_close(own, values**2)


def test_power_in_the_frame_of_what_lies_in_it(ideal, problems):
    Q = torch.linalg.eigh(problems).eigenvectors
    states = ideal.coordinates.to_basis((Q[:, :, :1] * Q[:, :, :1].mT).flatten(-2))
    seen = active.frame_power(ideal, problems, states[None, :, None])
    expected = torch.zeros(4, 4).double()
    expected[0, 0] = 1
    torch.testing.assert_close(seen, expected.expand(1, 6, 4, 4))


# Directions led back


def test_pulling_back_is_autograd(network, problems, generator):
    y = points.noised(network, points.answers(network, problems), 2, 1, generator)[0][:, 0]
    vectors = {layer: normal(2, 32, generator=generator) for layer in ("fc1", "fc3")}
    pulled = active.pulled_back(network, problems, y, 2, vectors, rows=40)
    for layer, v in vectors.items():
        at = y.clone().requires_grad_()
        h = network.activations(problems, at, 2)[layer]
        (g,) = torch.autograd.grad((h @ v[1]).sum(), at)
        g = torch.nn.functional.normalize(network.coordinates.to_basis(g), dim=-1)
        torch.testing.assert_close(pulled[layer][:, 1], g, rtol=0, atol=1e-8)


def test_cosines_and_their_chance(generator):
    size = 12
    rows = orthonormal(2, size, generator)
    pulled = torch.stack([rows[0], normal(size, generator=generator)]).expand(9, -1, -1)
    pulled = torch.nn.functional.normalize(pulled, dim=-1)
    seen = active.alignment(rows, pulled)
    np.testing.assert_allclose(seen.cosine[0], [1, 0], atol=1e-12)
    np.testing.assert_allclose(seen.consistency, 1)
    assert seen.chance[0, 0] < 1e-12 and seen.chance[0, 1] > 0.999
    assert (seen.low <= seen.cosine + 1e-12).all() and (seen.high >= seen.cosine - 1e-12).all()
    blind = orthonormal(1, size, generator)
    random = torch.nn.functional.normalize(normal(3, 2000, size, generator=generator), dim=-1)
    p = active.alignment(blind, random).chance
    assert (p < 0.05).mean() == pytest.approx(0.05, abs=0.02)


def test_directions_of_other_landscapes_are_left_out(network, problems, generator):
    y = points.noised(network, points.answers(network, problems), 2, 1, generator)[0][:, 0]
    size, d = network.coordinates.size, network.coordinates.d
    state = network.coordinates.from_basis(normal(size, generator=generator))
    found = [
        Direction(name, source, space, k, "", 0.0, "", v).unit()
        for name, source, space, k, v in (
            ("here", "concept", "fc2", 2, normal(32, generator=generator)),
            ("elsewhere", "concept", "fc2", 3, normal(32, generator=generator)),
            ("all", "feature", "fc1", EVERYWHERE, normal(32, generator=generator)),
            ("state", "attribution", STATE, 2, state),
        )
    ]
    rows = network.coordinates.to_basis(found[-1].vector)[None]
    table = active.aligned(network, problems, y, 2, rows, found, 8, generator)
    assert sorted(table["name"]) == ["all", "here", "state"]
    assert found[-1].vector.shape == (d,)
    assert table.set_index("name")["cosine"]["state"] == pytest.approx(1)
    assert np.isfinite(table[["cosine", "low", "high", "p", "limit"]]).all(axis=None)
    assert active.aligned(network, problems, y, 2, rows, [], 8, generator).empty


# Handed on


def test_what_is_handed_on(ideal, generator):
    size = ideal.coordinates.size
    field = normal(2, 200, 1, size, generator=generator)
    row = orthonormal(1, field.shape[-1], generator, field)
    field[1] += 4 * normal(200, 1, 1, generator=generator) * row
    found = active.components(field, 40, generator)
    assert found.real[1] == 1
    first, second = active.handed_on(ideal, found, [0, 1], 2)
    assert first.name == "gradient k=0 #1" and "within chance" in first.measure
    assert second.measure == "share of variance" and second.vector.shape == (ideal.coordinates.d,)
    assert abs(ideal.coordinates.to_basis(second.vector) @ row[0]) > 0.95
    assert second.evidence == pytest.approx(found.share[1, 0])


def test_features_most_used_come_first(generator):
    decoder = 2 * normal(4, 8, generator=generator)
    found = active.most_used("fc1", decoder, {0: 0.1, 1: 0.5, 2: 0.0, 3: 0.5}, 3)
    assert [f.name for f in found] == ["feature fc1 #1", "feature fc1 #3", "feature fc1 #0"]
    assert found[0].vector.norm() == pytest.approx(1)


def test_equal_seeds_give_equal_components(generator):
    field = normal(2, 30, 2, 5, generator=generator)
    one, two = (active.components(field, 5, torch.Generator().manual_seed(1)) for _ in range(2))
    assert np.array_equal(one.nulls, two.nulls) and torch.equal(one.rows, two.rows)


def test_a_survey_says_where_each_number_is_from(network, ideal, problems, generator):
    y0 = points.answers(network, problems)
    states = {
        ("trained", "noised"): active.noised_states(network, y0, 2, generator),
        ("ideal", "noised"): active.noised_states(network, y0, 2, generator),
    }
    energies = {"trained": network, "ideal": ideal}
    found, tables = active.survey(energies, problems, states, 3, generator)
    assert list(found) == [(*of, field) for of in states for field in ("raw", "beyond")]
    own = tables["spectra"].query("energy == 'ideal' and field == 'raw' and landscape == 4")
    np.testing.assert_allclose(own["share"], found["ideal", "noised", "raw"].share[4])
    assert len(tables["framed"]) == 4 * 10


def test_all_of_it(network, problems, generator):
    y0 = points.answers(network, problems)
    states = active.noised_states(network, y0, 3, generator)
    field = active.fields(network, problems, states)["beyond"]
    own = active.components(field, 5, generator)
    seen = active.spans(network, problems, y0, field, {"trained": own, "ideal": own}, 3, generator)
    assert seen["angles"]["dimension"].tolist() == np.maximum(own.real, 1).tolist()
    caught = seen["captures"].pivot(index="landscape", columns="source", values="share")
    assert (caught["trained"] == caught["ideal"]).all()
    assert (caught["best"] >= caught["answers"] - 1e-12).all()

    v = normal(32, generator=generator)
    other = Direction("a", "concept", "fc2", EVERYWHERE, "", 0.0, "", v).unit()
    tables = active.comparisons(network, problems, own, [1, 4], 2, [other], 8, generator)
    table, matrices = active.described(network, {"trained": own}, [1, 4], 2)
    assert all(len(one) == len(table) == len(matrices) for one in tables.values())
    np.testing.assert_allclose(table[list(active.PARTS)].sum(axis=1), 1)
    np.testing.assert_allclose((matrices**2).sum((1, 2)), 1)


# Calibration


def missed(checks):
    return [str(check) for check in checks if not check.passed]


def test_sound_instruments_pass(references):
    seed = torch.Generator().manual_seed(3)
    assert missed(calibration.check_active_subspace(references, seed)) == []
    assert missed(calibration.check_planted_subspace(seed)) == []


@pytest.mark.parametrize(
    "name, spoil",
    [
        ("fields", lambda found: {k: v * 1.01 for k, v in found.items()}),
        ("captured", lambda shares: shares * 1.1),
        ("frame_shares", lambda shares: shares.flip(-1)),
        ("pulled_back", lambda found: {k: v.roll(1, -1) for k, v in found.items()}),
    ],
)
def test_a_broken_instrument_is_named(references, monkeypatch, name, spoil):
    own = getattr(active, name)
    monkeypatch.setattr(active, name, lambda *a, **k: spoil(own(*a, **k)))
    seed = torch.Generator().manual_seed(3)
    assert missed(calibration.check_active_subspace(references, seed))


@pytest.mark.parametrize(
    "name, spoil",
    [
        ("principal", lambda found: (found[0], found[1].roll(1, -1))),
        ("angle", lambda degrees: degrees + 20),
    ],
)
def test_a_broken_instrument_is_named_on_planted_data(monkeypatch, name, spoil):
    own = getattr(active, name)
    monkeypatch.setattr(active, name, lambda *a, **k: spoil(own(*a, **k)))
    assert missed(calibration.check_planted_subspace(torch.Generator().manual_seed(3)))
