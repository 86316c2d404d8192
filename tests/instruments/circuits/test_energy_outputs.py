"""Sums of squares whose terms are planted, in bases that are known."""

import numpy as np
import pytest
import torch
from scipy import stats

from ired.instruments.circuits import energy_outputs, output_entries
from ired.instruments.circuits.energy_outputs import Frames
from ired.instruments.circuits.known_answers import Squares
from ired.instruments.core import states as points
from ired.model import problems as model_problems
from ired.model.reference import PredictorEnergy


def planted(ideal, J=None, m=None):
    size = ideal.coordinates.size
    J = torch.eye(size, dtype=torch.float64) if J is None else J
    return Squares(ideal, J, torch.zeros(size, dtype=torch.float64) if m is None else m)


def terms_of(energy, A, generator, states=4, k=2, frames=None):
    frames = frames or Frames.of(energy, A, 3, generator)
    found = energy_outputs.split_by_output(energy, A, points.answers(energy, A), k, frames, states, generator)
    return {(terms.measure, terms.basis): terms for terms in found.terms}, found


def test_the_terms_of_a_network_sum_to_gap_and_score(network, problems, generator):
    network.requires_grad_(False)
    y0, k, frames = points.answers(network, problems), 2, Frames.of(network, problems, 3, generator)
    state = generator.get_state()
    found, _ = terms_of(network, problems, generator, states=3, k=k, frames=frames)
    generator.set_state(state)
    y = points.noised(network, y0, k, 3, generator)[0]
    prepared = network.prepare(problems)
    home = network.energy(prepared, points.centre(network, y0, k)[:, None], k)
    gap = (network.energy(prepared, y, k) - home).mean(1) / points.sigma(network, k)
    score = network.gradient(prepared, y, k).pow(2).sum(-1).mean(1)
    for basis in energy_outputs.BASES:
        for measure, whole in (("gap", gap), ("score", score)):
            terms = found[measure, basis]
            np.testing.assert_allclose(terms.whole, whole, rtol=1e-8, atol=1e-9)
            sums = terms.signed.sum(-1)
            np.testing.assert_allclose(sums, np.broadcast_to(whole, sums.shape), rtol=1e-8, atol=1e-9)
            assert (terms.size >= np.abs(terms.signed) - 1e-12).all()
    # Beyond the best multiple of the state, over all states.
    own, along = network.gradient(prepared, y, k), network.coordinates.project(y)
    beyond = own - along * ((along * own).sum() / along.pow(2).sum())
    whole = found["beyond", "entry"].whole
    assert whole.mean() == pytest.approx(beyond.pow(2).sum(-1).mean().item(), rel=1e-9)


def test_one_planted_output_carries_all(ideal, problems, generator):
    size = ideal.coordinates.size
    J = torch.zeros(size, size, dtype=torch.float64)
    J[3] = torch.randn(size, generator=generator, dtype=torch.float64)
    found, _ = terms_of(planted(ideal, J), problems, generator)
    for measure in energy_outputs.MEASURES:
        terms = found[measure, "entry"]
        np.testing.assert_allclose(terms.signed[:, np.arange(size) != 3], 0, atol=1e-12)
        assert terms.share(np.arange(size) == 3).low == pytest.approx(1)
        own, turned = (energy_outputs.output_participation(found[measure, b], 50) for b in ("entry", "turned"))
        assert own.share == 1 / size and own.interval.high == 1 / size
        assert own.beside(turned).high < 0 and own.share < turned.fewest <= turned.share


def test_an_ideal_gap_is_spread_evenly(ideal, problems, generator):
    found, split = terms_of(planted(ideal), problems, generator, states=200)
    shares = found["gap", "entry"].signed.sum(0) / found["gap", "entry"].whole.sum()
    np.testing.assert_allclose(shares, 1 / len(shares), atol=0.02)
    assert energy_outputs.output_participation(found["gap", "entry"]).share > 0.7
    np.testing.assert_allclose(split.parts[:, :2], 0, atol=1e-12)
    np.testing.assert_allclose(split.parts[:, 2], split.gap, rtol=1e-9)


def test_what_is_constant_reads_the_gap(ideal, problems, generator):
    size = ideal.coordinates.size
    m = torch.randn(size, generator=generator, dtype=torch.float64) * 1e3
    energy = planted(ideal, m=m)
    _, found = terms_of(energy, problems, generator)
    np.testing.assert_allclose(found.parts.sum(1), found.gap, rtol=1e-8)
    assert np.abs(found.parts[:, 0]).sum() > 50 * np.abs(found.parts[:, 1:]).sum()
    np.testing.assert_allclose(found.along, found.gap, rtol=0.5, atol=20)
    assert found.constant == pytest.approx(1)


def test_turns_and_eigenbases_keep_lengths(coordinates, ideal, problems, generator):
    frames = Frames.of(ideal, problems, 3, generator)
    z = torch.randn(6, 2, coordinates.size, generator=generator, dtype=torch.float64)
    for basis in energy_outputs.BASES:
        length = frames.view(ideal, basis, z).norm(dim=-1)
        torch.testing.assert_close(length, z.norm(dim=-1).expand_as(length))
    Y = torch.linalg.inv(problems)
    torch.testing.assert_close(frames.vectors @ torch.diag_embed(frames.values) @ frames.vectors.mT, Y)
    assert (frames.values.diff(dim=-1) > 0).all()
    diagonal = frames.view(ideal, "eigen", coordinates.to_basis(Y.flatten(-2))[:, None])
    torch.testing.assert_close(coordinates.from_basis(diagonal)[:, 0], torch.diag_embed(frames.values).flatten(-2))


def test_matrices_of_terms_keep_their_sum(ideal, generator):
    terms = torch.randn(5, ideal.coordinates.size, generator=generator, dtype=torch.float64)
    matrix = energy_outputs.as_matrix(ideal, terms)
    torch.testing.assert_close(matrix.sum((-2, -1)), terms.sum(-1))
    torch.testing.assert_close(energy_outputs.from_matrix(ideal, matrix), terms)


def test_the_eigen_split_does_not_see_rotations_of_a_degenerate_spectrum(network, generator):
    Q, _ = torch.linalg.qr(torch.randn(3, 4, 4, generator=generator, dtype=torch.float64))
    values = torch.tensor([1.0, 2.0, 2.0, 5.0], dtype=torch.float64)
    A = (Q * values) @ Q.mT
    R = torch.eye(4, dtype=torch.float64).repeat(3, 1, 1)
    R[:, 1:3, 1:3] = torch.linalg.qr(torch.randn(3, 2, 2, generator=generator, dtype=torch.float64))[0]
    ascending = (1 / values).flip(-1).expand(3, -1)
    turns = torch.eye(network.coordinates.size, dtype=torch.float64)[None]
    state, found = generator.get_state(), []
    for V in (Q.flip(-1), Q.flip(-1) @ R):
        generator.set_state(state)
        found.append(terms_of(network, A, generator, frames=Frames(ascending, V, turns))[0])
    for measure in energy_outputs.MEASURES:
        first, second = (one[measure, "eigen"] for one in found)
        np.testing.assert_allclose(first.signed, second.signed, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(first.signed.sum(-1), first.whole, rtol=1e-8)


def test_needed():
    assert energy_outputs.share_needed(np.array([0.0, 8.0, -1.0, 1.0])) == 0.25
    assert energy_outputs.share_needed(np.array([8.0, 1.1, 1.0, 1.0])) == 0.5
    assert energy_outputs.share_needed(np.ones(10)) == 0.8
    assert energy_outputs.share_needed(np.zeros(3)) == 0
    many = energy_outputs.share_needed(np.random.default_rng(0).standard_normal((2, 20000)))
    # 80 % of the mean size of a Gaussian lies where exp(−z²/2) = 0.8.
    np.testing.assert_allclose(many, 2 * stats.norm.sf(np.sqrt(-2 * np.log(0.8))), atol=0.01)


def test_outputs_that_are_entries_are_told_from_others(ideal, problems, generator):
    y0, frames = points.answers(ideal, problems), Frames.of(ideal, problems, 4, generator)
    found = output_entries.carried(planted(ideal), problems, y0, 1, frames, generator)
    for basis in ("entry", "eigen", "foreign"):
        np.testing.assert_allclose(found.diagonal[basis], 1)
    assert found.diagonal["turned"].mean() < 0.3
    energy = planted(ideal, frames.turns[0])
    found = output_entries.carried(energy, problems, y0, 1, frames, generator)
    assert found.diagonal["entry"].mean() < 0.3 and found.error.max() < 1e-9
    # In few pieces or many.
    state = generator.get_state()
    whole = output_entries.carried(energy, problems, y0, 1, frames, generator)
    generator.set_state(state)
    pieces = output_entries.carried(energy, problems, y0, 1, frames, generator, memory=1)
    for basis in energy_outputs.BASES:
        np.testing.assert_allclose(whole.diagonal[basis], pieces.diagonal[basis])
    np.testing.assert_allclose(whole.matrix, pieces.matrix)
    np.testing.assert_allclose(whole.turns, pieces.turns)
    assert whole.turns.mean() == pytest.approx(whole.diagonal["turned"].mean())
    assert whole.turns.shape == (4,)


def test_what_carries_a_network_is_autograds(network, problems, generator):
    network.requires_grad_(False)
    y0, frames, k = points.answers(network, problems), Frames.of(network, problems, 2, generator), 4
    state = generator.get_state()
    found = output_entries.carried(network, problems, y0, k, frames, generator)
    generator.set_state(state)
    y = points.noised(network, y0, k, 1, generator)[0][:, 0]
    home, sigma = points.centre(network, y0, k), points.sigma(network, k)
    expected = []
    for p in range(len(y)):
        middle = network.coordinates.to_basis((y[p] + home[p]) / 2)

        def outputs(z, p=p):
            state = network.coordinates.from_basis(z)[None]
            return network.activations(problems[p : p + 1], state, k)["fc4"][0]

        J = torch.func.jacrev(outputs)(middle)
        away = network.coordinates.to_basis(y[p] - home[p])
        expected.append((2 * outputs(middle)[:, None] * J * away / sigma).abs())
    expected = torch.stack(expected)
    np.testing.assert_allclose(found.matrix, expected.mean(0), rtol=1e-9)
    own = expected.diagonal(dim1=1, dim2=2).sum(1) / expected.sum((1, 2))
    np.testing.assert_allclose(found.diagonal["entry"], own, rtol=1e-9)


def test_permutations(ideal, problems, generator):
    y0, frames = points.answers(ideal, problems), Frames.of(ideal, problems, 1, generator)
    fair = output_entries.fairness(planted(ideal), problems, y0, 2, generator)
    np.testing.assert_allclose(fair.outputs[:, 0], fair.outputs[:, 1])
    np.testing.assert_allclose(fair.gap[:, 0], 0, atol=1e-12)
    assert np.abs(fair.chance[:, 0]).sum() < 0.7 * fair.chance[:, 1].sum()
    unfair = planted(ideal, frames.turns[0])
    fair = output_entries.fairness(unfair, problems, y0, 2, generator)
    assert fair.outputs[:, 0].sum() < 0.7 * fair.outputs[:, 1].sum()
    np.testing.assert_allclose(fair.gap[:, 0], 0, atol=1e-12)  # ‖Qf‖² is as fair as ‖f‖²


def test_a_bowl_with_a_right_prediction_is_carried_by_its_noise(coordinates, schedule, generator):
    """Closed form: gaps are squares of normal numbers, all from their own coordinates; no turn is any better."""
    A = model_problems.draw(400, 4, 0.5, generator, torch.float64)
    bowl = PredictorEnergy.of(coordinates, schedule, torch.linalg.inv, A)
    carried, split = terms_of(bowl, A, generator, states=1)
    size, draws = coordinates.size, 20_000
    noise = np.random.default_rng(0).standard_normal((draws, size)) ** 2
    known = energy_outputs.share_needed(noise)
    for basis in ("entry", "turned"):
        needed = energy_outputs.share_needed(carried["gap", basis].size.reshape(-1, size))
        error = known.std() * (1 / len(A) + 1 / draws) ** 0.5
        assert needed.mean() == pytest.approx(known.mean(), abs=5 * error)
    np.testing.assert_allclose(split.gap, carried["gap", "entry"].whole, atol=1e-9)
    frames = Frames.of(bowl, A, 3, generator)
    entries = output_entries.carried(bowl, A, points.answers(bowl, A), 2, frames, generator)
    np.testing.assert_allclose(entries.diagonal["entry"], 1, atol=1e-9)
    np.testing.assert_allclose(entries.error, 0, atol=1e-7)
    assert entries.diagonal["turned"].max() < 0.9
