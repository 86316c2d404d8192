"""Spectra of Hessians that are known: identity, A² ⊗ I, and planted ones."""

import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from ired.instruments.core import states
from ired.instruments.landscape import hessian
from ired.instruments.statistics import intervals
from ired.instruments.statistics.spectra import inertia
from ired.model import problems as model_problems
from ired.model.coordinates import Coordinates
from ired.model.reference import Quadratic

LANDSCAPES = (0, 5, 9)


def measure(energy, A, landscapes=LANDSCAPES, **options):
    y = states.at_answers(energy, states.answers(energy, A), landscapes)
    return hessian.hessian_spectra(energy, A, y, landscapes, **options)


def algebraic_eigenvalues(A, coordinates):
    """Ascending eigenvalues (P, size) of scale² A² ⊗ I on the space of states."""
    squares = torch.linalg.eigvalsh(A) ** 2
    pair = (squares[:, :, None] + squares[:, None, :]) / 2
    if coordinates.symmetric:
        rows, cols = torch.triu_indices(coordinates.n, coordinates.n)
        found = pair[:, rows, cols]
    else:
        found = squares.repeat_interleave(coordinates.n, dim=1)
    return (found * coordinates.scale**2).sort(-1).values.numpy()


def test_the_ideal_spectrum_is_all_ones(ideal, problems):
    found = measure(ideal, problems)
    m = ideal.coordinates.size
    assert found.eigenvalues.shape == (3, 6, m)
    np.testing.assert_allclose(found.eigenvalues, 1)
    np.testing.assert_allclose(found.gauss_newton, 1)
    np.testing.assert_allclose(found.residual, 0)
    np.testing.assert_array_equal(found.inertia, np.broadcast_to([0, 0, m], (3, 6, 3)))
    for name, value in [
        ("participation", m),
        ("entropy_rank", m),
        ("condition", 1),
        ("ideal_scale", 1),
        ("ideal_distance", 0),
        ("ideal_distance_raw", 0),
        ("coupling", 0),
        *((f"{function}_cosine_centred", 0) for function in hessian.FUNCTIONS),
        ("algebraic_spearman", 0),
    ]:
        np.testing.assert_allclose(getattr(found, name), value, atol=1e-9, err_msg=name)
    # ⟨I, G⟩ / (‖I‖ ‖G‖) is far from 0 for every G: hence the centred cosine.
    G = algebraic_eigenvalues(problems, ideal.coordinates)
    expected = G.sum(-1) / np.sqrt(m * (G**2).sum(-1))
    np.testing.assert_allclose(found.algebraic_cosine, np.tile(expected, (3, 1)), rtol=1e-9)


def test_the_algebraic_spectrum_is_that_of_a_squared(algebraic, problems):
    found = measure(algebraic, problems)
    s = algebraic.schedule.sigma[list(LANDSCAPES)].numpy()[:, None, None]
    expected = s * algebraic_eigenvalues(problems, algebraic.coordinates)
    np.testing.assert_allclose(found.eigenvalues, expected, rtol=1e-9)
    np.testing.assert_allclose(found.condition, np.tile(found.kappa**2, (3, 1)), rtol=1e-8)
    np.testing.assert_allclose(found.kappa, torch.linalg.cond(problems).numpy(), rtol=1e-9)
    for name in ("algebraic_cosine", "algebraic_cosine_centred", "algebraic_spearman"):
        np.testing.assert_allclose(getattr(found, name), 1, rtol=1e-9, err_msg=name)
    p = expected / expected.sum(-1, keepdims=True)
    np.testing.assert_allclose(found.participation, 1 / (p**2).sum(-1), rtol=1e-9)
    np.testing.assert_allclose(found.entropy_rank, np.exp(-(p * np.log(p)).sum(-1)), rtol=1e-9)
    mean = expected.mean(-1)
    np.testing.assert_allclose(found.ideal_scale, mean, rtol=1e-9)
    away = np.linalg.norm(expected - mean[..., None], axis=-1)
    np.testing.assert_allclose(found.ideal_distance, away / np.linalg.norm(expected, axis=-1), rtol=1e-8)
    raw = np.linalg.norm(expected - 1, axis=-1) / np.sqrt(expected.shape[-1])
    np.testing.assert_allclose(found.ideal_distance_raw, raw, rtol=1e-8)


def test_symmetric_and_antisymmetric_blocks_are_told_apart(problems, schedule):
    n = 4
    S, K = (f(n, problems) for f in (states.symmetric_basis, states.antisymmetric_basis))
    Q = torch.cat([S, K])
    planted = torch.diag(torch.cat([torch.arange(1.0, 11), -torch.arange(1.0, 7)]).double())
    planted[0, 10] = planted[10, 0] = 3.0  # couples one symmetric to one antisymmetric direction
    H = Q.T @ planted @ Q
    energy = Quadratic(Coordinates(n), schedule, H, torch.zeros(16))
    y = torch.zeros(1, 6, 16, dtype=torch.float64)
    found = hessian.hessian_spectra(energy, problems, y, (4,))
    s = states.sigma(energy, 4)
    np.testing.assert_allclose(found.symmetric[0, 0], s * np.arange(1, 11), atol=1e-9)
    np.testing.assert_allclose(found.antisymmetric[0, 0], -s * np.arange(6, 0, -1), atol=1e-9)
    np.testing.assert_allclose(found.coupling, np.sqrt(18) / np.linalg.norm(planted))
    np.testing.assert_allclose(found.eigenvalues[0, 0], s * np.linalg.eigvalsh(planted))


def test_inertia_counts_planted_signs(problems, schedule, generator):
    values = torch.tensor([-3.0, -1e-3, 0, 0, 0, 1e-3] + [2.0] * 10, dtype=torch.float64)
    Q = torch.linalg.qr(torch.randn(16, 16, generator=generator, dtype=torch.float64)).Q
    energy = Quadratic(Coordinates(4), schedule, Q * values @ Q.T, torch.zeros(16))
    y = torch.zeros(1, 6, 16, dtype=torch.float64)
    found = hessian.hessian_spectra(energy, problems, y, (0,))
    np.testing.assert_array_equal(found.inertia[0], np.tile([2, 3, 11], (6, 1)))
    np.testing.assert_allclose(found.condition, 2000, rtol=1e-8)
    coarse = inertia(found.eigenvalues, tolerance=1e-2)
    np.testing.assert_array_equal(coarse[0], np.tile([1, 5, 10], (6, 1)))


def test_a_hessian_without_positive_curvature_has_no_condition(problems, schedule):
    energy = Quadratic(Coordinates(4), schedule, -torch.eye(16), torch.zeros(16))
    y = torch.zeros(1, 6, 16, dtype=torch.float64)
    found = hessian.hessian_spectra(energy, problems, y, (0,))
    assert np.isnan(found.condition).all()
    correlation = hessian.condition_correlation(found)
    assert correlation.method == "undefined"
    assert (correlation.low == -1).all() and (correlation.high == 1).all()


def test_parts_are_split(problems, schedule):
    class Parts(Quadratic):
        def hessian_parts(self, A, y, k):
            H = self.hessian(A, y, k)
            return 3 * H, -2 * H

    energy = Parts(Coordinates(4), schedule, torch.eye(16), torch.zeros(16))
    y = torch.zeros(1, 6, 16, dtype=torch.float64)
    found = hessian.hessian_spectra(energy, problems, y, (2,))
    s = states.sigma(energy, 2)
    for name, value in [("gauss_newton", 3 * s), ("residual", -2 * s), ("eigenvalues", s)]:
        np.testing.assert_allclose(getattr(found, name), value, err_msg=name)


def test_condition_numbers_correlate_where_they_must(algebraic, ideal, problems):
    found = hessian.condition_correlation(measure(algebraic, problems))
    np.testing.assert_allclose(found.estimate, 1)
    assert hessian.condition_correlation(measure(ideal, problems)).estimate.max() == 0


def test_memory_bounds_change_nothing(algebraic, problems):
    whole, parts = measure(algebraic, problems), measure(algebraic, problems, memory=1)
    for name in ("eigenvalues", "symmetric", "algebraic_spearman", "coupling"):
        np.testing.assert_allclose(getattr(whole, name), getattr(parts, name), atol=1e-12)


def test_rank_correlation_is_scipys():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 5, 30)).round(1)  # with ties
    expected = [stats.spearmanr(a, b).statistic for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(intervals.rank_correlation(x, y), expected)


def test_one_problem_is_chosen_from_each_stratum(generator):
    kappa = torch.randn(1000, generator=generator, dtype=torch.float64).exp()
    chosen = hessian.stratified_by_condition(kappa, 50, generator)
    assert len(chosen) == 50
    rank = kappa.argsort().argsort()[chosen]
    np.testing.assert_array_equal(rank.numpy() // 20, np.arange(50))
    everything = hessian.stratified_by_condition(kappa, 1000, generator)
    assert sorted(everything.tolist()) == list(range(1000))
    with pytest.raises(ValueError, match="1001"):
        hessian.stratified_by_condition(kappa, 1001, generator)
    uneven = hessian.stratified_by_condition(kappa[:10], 4, generator)
    assert len(set(uneven.tolist())) == 4


def test_cosines_are_those_of_the_matrices_written_out(network, problems, generator):
    y = states.at_noise(network, states.answers(network, problems), (4,), generator)
    found = hessian.hessian_spectra(network, problems, y, (4,))
    basis, eye = states.state_basis(network, y), torch.eye(4, dtype=y.dtype)
    even, odd = states.symmetric_basis(4, y), states.antisymmetric_basis(4, y)

    def cosine(G, H):
        return (G * H).sum() / (G.norm() * H.norm())

    def traceless(H):
        return H - H.diagonal().mean() * torch.eye(len(H), dtype=H.dtype)

    H = network.hessian(problems, y[0], 4).detach()
    for i, A in enumerate(problems):
        values, vectors = torch.linalg.eigh(A)
        functions = {
            "algebraic": A @ A,
            "linear": A,
            "log": vectors @ values.log().diag() @ vectors.mT,
            "inverse": -torch.linalg.inv(A).contiguous(),
        }
        inner = basis @ H[i] @ basis.mT
        G = {name: basis @ torch.kron(S, eye) @ basis.mT for name, S in functions.items()}
        expected = {
            "algebraic_cosine": cosine(inner, G["algebraic"]),
            **{f"{name}_cosine_centred": cosine(traceless(inner), traceless(g)) for name, g in G.items()},
            "coupling": 2**0.5 * (even @ H[i] @ odd.mT).norm() / inner.norm(),
        }
        for name, value in expected.items():
            np.testing.assert_allclose(getattr(found, name)[0, i], value, atol=1e-9, err_msg=name)
    blocks = {"symmetric": even, "antisymmetric": odd[: found.antisymmetric.shape[-1]]}
    for name, rows in blocks.items():
        expected = torch.linalg.eigvalsh(rows @ H @ rows.mT) * states.sigma(network, 4)
        np.testing.assert_allclose(getattr(found, name)[0], expected, atol=1e-9, err_msg=name)


def test_one_hessian_for_all_problems_follows_no_function_of_them(coordinates, schedule, generator):
    """Exactly, on average over a problem with its signs flipped and its rows permuted in all 48 ways."""
    A = model_problems.draw(1, 3, 0.5, generator, torch.float64)[0]
    turns = torch.stack(
        [
            torch.diag(torch.tensor(signs)).double()[list(order)]
            for order in itertools.permutations(range(3))
            for signs in itertools.product([1.0, -1.0], repeat=3)
        ]
    )
    L = torch.randn(9, 9, generator=generator, dtype=torch.float64)
    c = Coordinates(3, symmetric=coordinates.symmetric)
    energy = Quadratic(c, schedule, c.project(c.project(L + L.mT).mT), torch.zeros(9))
    measured = hessian.hessian_spectra(energy, turns @ A @ turns.mT, torch.zeros(1, 48, 9, dtype=torch.float64), (2,))
    for name in hessian.FUNCTIONS:
        cosines = getattr(measured, f"{name}_cosine_centred")
        assert abs(cosines).max() > 0.01, name
        np.testing.assert_allclose(cosines.mean(), 0, atol=1e-12, err_msg=name)


def test_a_reader_is_handed_every_hessian_once(network, problems, generator):
    landscapes, rows_of = (1, 6), []
    y = states.at_noise(network, states.answers(network, problems), landscapes, generator)
    values = []

    def reader(rows, k, H, eigenvalues):
        rows_of.append((k, rows.tolist()))
        torch.testing.assert_close(torch.linalg.eigvalsh(H), eigenvalues)
        values.append(eigenvalues)

    plain = hessian.hessian_spectra(network, problems, y, landscapes)
    hessian.hessian_spectra(network, problems, y, landscapes, memory=1, reader=reader)
    assert rows_of == [(k, [row]) for k in landscapes for row in range(len(problems))]
    np.testing.assert_allclose(torch.cat(values).reshape(plain.eigenvalues.shape), plain.eigenvalues, atol=1e-12)
