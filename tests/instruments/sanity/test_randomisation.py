"""Sanity checks let through what is real, and flag what does not look at the network."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ired.instruments.core import random_directions, states
from ired.instruments.core.directions import Direction
from ired.instruments.core.states import array
from ired.instruments.dictionaries.sparse_autoencoder import given_dictionary
from ired.instruments.eigen_decomposition.eigen_split import Frame
from ired.instruments.geometry import answer_errors
from ired.instruments.sanity import (
    findings_answers,
    findings_geometry as later,
    findings_layers,
    known_answers as planted,
    randomisation,
    study,
    survival_table,
)
from ired.instruments.sanity.findings_answers import Networks
from ired.instruments.sanity.findings_layers import PushCheck, StatesAround
from ired.instruments.sanity.survival_table import CHECKS, FAILED, NEITHER, SURVIVED, SurvivalCell
from ired.instruments.statistics.intervals import student_interval
from ired.model import problems as model_problems, weight_edits


def normal(*shape, generator):
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def by_windows(a, b, side):
    """SSIM of two maps as it is written down, window by window."""
    a, b = ((m / m.abs().max() + 1) / 2 for m in (a, b))
    values = []
    for i in range(len(a) - side + 1):
        for j in range(len(a) - side + 1):
            x, y = (m[i : i + side, j : j + side].flatten() for m in (a, b))
            mx, my, both = x.mean(), y.mean(), ((x - x.mean()) * (y - y.mean())).mean()
            top = (2 * mx * my + 1e-4) * (2 * both + 9e-4)
            spread = x.var(correction=0) + y.var(correction=0)
            values.append(top / ((mx**2 + my**2 + 1e-4) * (spread + 9e-4)))
    return torch.stack(values).mean()


@pytest.mark.parametrize("n, side", [(3, 3), (6, 3), (9, 7)])
def test_ssim_is_what_is_written_down(n, side, generator):
    a, b = normal(2, 4, n, n, generator=generator)
    assert randomisation.window(n) == side
    known = [by_windows(x, y, side) for x, y in zip(a, b, strict=True)]
    assert torch.allclose(randomisation.ssim(a, b), torch.stack(known), rtol=1e-9)
    assert torch.allclose(randomisation.ssim(a, 2 * a), torch.ones(4).double())
    assert (randomisation.ssim(a, -a) < 0).all()
    with pytest.raises(ValueError, match="too small"):
        randomisation.ssim(a[:, :2, :2], a[:, :2, :2])


def test_an_edge_detector_does_not_decay(generator):
    A = normal(20, 5, 5, generator=generator)
    A = A + A.mT
    maps = [(own, planted.edge_detector(A)) for own in planted.cascade()]
    rows = randomisation.map_decay("edges", planted.edge_detector(A), maps)
    left = randomisation.Left.of(rows, "edges, signed rank")
    assert left.likeness.estimate == pytest.approx(1) and not left.decayed()
    assert randomisation.decay_curves(rows)["mean"].to_numpy() == pytest.approx(1)


def test_random_against_random_is_centred_at_nothing(generator):
    maps = [(own, planted._symmetric(40, 6, generator)) for own in planted.cascade()]
    rows = randomisation.map_decay("noise", planted._symmetric(40, 6, generator), maps)
    null = rows[(rows["order"] == randomisation.NULL) & (rows["measure"] == "noise, signed rank")]["value"]
    assert abs(null.mean()) < 4 * (20 * 120) ** -0.5
    left = randomisation.Left.of(rows, "noise, signed rank")
    assert left.decayed()
    assert rows[rows["measure"] == "noise, absolute rank"]["value"].abs().mean() < 0.3


def test_steps_of_both_orders():
    assert randomisation.steps("cascade")[-1] == ("fc1", ("fc4", "fc3", "fc2", "fc1"))
    assert randomisation.steps("independent")[1] == ("fc3", ("fc3",))
    with pytest.raises(ValueError, match="cascade"):
        randomisation.steps("sideways")


def test_gaussian_data_have_mean_covariance_and_span(generator):
    x = 3 + normal(30, 2, generator=generator) @ normal(2, 4, generator=generator)
    many = torch.cat([randomisation.gaussian_like(x, generator) for _ in range(300)])
    assert torch.allclose(many.mean(0), x.mean(0), atol=0.15)
    own = torch.cov(x.mT)
    assert torch.allclose(torch.cov(many.mT), own, atol=0.12 * float(own.norm()))
    assert torch.linalg.matrix_rank(many - many.mean(0)) == 2


def test_directions_orthogonal_to_one(generator):
    x, v = normal(50, 8, generator=generator), torch.eye(8, dtype=torch.float64)[0]
    for some in randomisation.directions_like(x, 4, generator).values():
        left = random_directions.without(some, v[None])
        assert (left @ v).abs().max() < 1e-12
        assert torch.allclose(left.norm(dim=1), torch.ones(4).double())
    field = normal(4, 3, 8, generator=generator)
    assert torch.allclose(randomisation.share_in_subspace(field, torch.eye(8).double()), torch.ones(4).double())


# The table


def cell(check, own, left, name="f"):
    return SurvivalCell(name, check, np.asarray(own, float), np.asarray(left, float))


def judged(*cells):
    return survival_table.survival_table(cells, {"f": "here"}, {("f", check): "no" for check in CHECKS})


def test_rules_of_survival():
    rng = np.random.default_rng(0)
    own = 1 + 0.1 * rng.standard_normal(50)
    table = judged(
        cell("weights", own, 0.3 * own),
        cell("labels", own, 0.6 * own),
        cell("linear", own, 0.1 * own),
        cell("pairs", own, own + rng.standard_normal(50)),
    ).set_index("check")
    seen = table["verdict"]
    assert seen["weights"] == SURVIVED and seen["labels"] == FAILED and seen["linear"] == SURVIVED
    assert seen["pairs"] == FAILED and seen["noise"] == NEITHER
    assert table["rest"][["weights", "labels"]].to_numpy() == pytest.approx([0.3, 0.6])
    assert table["reason"]["noise"] == "no"
    assert table["low"]["pairs"] < 1 < table["high"]["pairs"]


def test_what_is_not_there_cannot_survive():
    noise = np.random.default_rng(1).standard_normal(60)
    table = judged(cell("weights", noise - noise.mean(), 0 * noise), cell("labels", 0 * noise, noise))
    assert (table["verdict"] == NEITHER).all()
    assert survival_table.survived(table).units == 0
    there = 1 + noise - noise.mean()
    table = judged(cell("weights", there, 0 * noise), cell("labels", 0 * noise, noise))
    table = table.set_index("check")
    assert table["verdict"]["weights"] == SURVIVED and "control" in table["reason"]["labels"]


def test_cells_are_of_known_checks_and_equal_units():
    with pytest.raises(ValueError, match="unknown check"):
        cell("luck", [1], [1])
    with pytest.raises(ValueError, match="f, weights"):
        cell("weights", [1, 2], [1])
    with pytest.raises(KeyError):
        survival_table.survival_table([], {"f": "here"}, {})


def test_false_alarms_of_the_rule():
    """Exactly half is left: not more than 2.5 % of such cells survive, and correction makes it
    fewer."""
    rng, count = np.random.default_rng(2), 400
    own = 1 + 0.3 * rng.standard_normal((count, 40))
    left = 0.5 * own + 0.3 * rng.standard_normal((count, 40))
    p = np.array([cell("weights", a, b).p() for a, b in zip(own, left, strict=True)])
    assert (p < survival_table.LEVEL).mean() < 0.025 + 3 * (0.025 / count) ** 0.5


# Findings on networks


@pytest.fixture
def networks(network):
    streams = [model_problems.generator(i, "fresh") for i in range(2)]
    fresh = [weight_edits.randomised(network, randomisation.LAYERS, stream) for stream in streams]
    return Networks(network, fresh, network, fresh[0])


def pairs_of(network, generator, count=240):
    A = model_problems.draw(count, 4, 0.5, generator, torch.float64)
    properties = model_problems.properties(A)
    directions = [
        Direction(f"{c} {layer}", "concept", layer, 1, c, 0.9, "auroc", torch.ones(32).double())
        for c, layer in (("near_singular", "fc2"), ("noisy_answer", "fc2"))
    ]
    return study.shown_concepts(network, A, properties, directions, 60, generator)


def test_a_planted_concept_is_told_and_vanishes(network, generator):
    own = pairs_of(network, generator).pairs["noisy_answer"]
    axis = torch.eye(10, dtype=torch.float64)[0]
    h = normal(len(own), 2, 10, generator=generator).numpy()
    assert abs(findings_layers.told(own, h).mean()) < 0.25
    h[:, 1] += 3 * axis.numpy()
    assert findings_layers.told(own, h).mean() > 0.4
    swaps = [findings_layers.random_side_labels(own, generator) for _ in range(5)]
    assert abs(np.mean([findings_layers.told(own, h, swap) for swap in swaps])) < 0.25
    both = [findings_layers.told_by(own, h, way).mean() for way in (axis[None], -axis[None])]
    assert both[0] == pytest.approx(both[1])
    beside = random_directions.without(normal(4, 10, generator=generator), axis[None])
    assert findings_layers.told_by(own, h, beside).mean() < 0.2


def test_concepts_get_a_cell_for_every_check(network, networks, generator):
    shown = pairs_of(network, generator)
    cells = {c.check: c for c in findings_layers.concept_cells(networks, shown, "fc2", generator)}
    assert set(cells) == set(CHECKS)
    assert np.array_equal(cells["labels"].whole, cells["weights"].whole)
    assert all(np.isfinite(c.left).all() and abs(c.left).max() <= 1.5 for c in cells.values())


def test_few_pairs_are_held_against_a_map_of_other_problems(ideal, generator):
    """Of activations that are affine in A and y nothing is left, though fewer pairs than features show the concept."""
    W = normal(16 + ideal.coordinates.size, 12, generator=generator)

    class Affine(type(ideal)):
        def activations(self, A, y, k):
            return {"fc2": torch.cat([A.flatten(-2), self.coordinates.to_basis(y)], -1) @ W + 1}

    network = Affine(ideal.coordinates, ideal.schedule)
    many = pairs_of(network, generator).pairs["noisy_answer"]
    few = {name: value[:12] for name, value in vars(many).items() if name != "concept"}
    A, beside = (model_problems.draw(count, 4, 0.5, generator, torch.float64) for count in (240, 400))
    pairs = {"noisy_answer": replace(many, **few)}
    shown = findings_layers.ShownConcepts(A, states.answers(network, A), pairs, [("noisy_answer", "fc2", 1)])
    place = shown.places[0]
    h = shown.activations(network, place)
    assert 2 * 0.75 * len(h) < shown.inputs(network, place).shape[1]  # of four folds three
    background = study.background(
        network,
        beside,
        lambda energy, A, start, callback: (
            callback(SimpleNamespace(stage="denoise", landscape=0, inner=0, y=start)) or start
        ),
        generator,
    )
    alone, held = (shown.beyond_affine(network, place, h, given) for given in (None, background))
    assert abs(held).max() < 1e-3 * h.std() and abs(alone).max() > 0.1 * h.std()


def test_a_push_moves_answers_by_what_it_is(network, networks, generator):
    shown = pairs_of(network, generator)
    A = shown.A[:8]

    def answer(energy, A, start):
        """One step down: enough to feel what is added to a layer."""
        return start - 0.1 * energy.gradient(A, start, 1)

    start = states.noise(network, 8, generator=generator, like=A)
    push = PushCheck(answer, A, start, shown, ("near_singular", "fc2", 1))
    assert push.raised(network, np.zeros(32)) == pytest.approx(0, abs=1e-12)
    cells = findings_layers.push_cells(networks, push, generator)
    assert {c.check for c in cells} == set(CHECKS)
    by_check = {c.check: c for c in cells}
    assert (by_check["random"].left >= 0).all()
    assert np.ptp([c.whole.sum() for c in cells if c.check not in ("labels",)]) < 1e-9


def test_gaps_are_kept_by_a_whole_dictionary_and_lost_by_none(network, networks, problems, generator):
    at = StatesAround.of(network, problems, states.answers(network, problems), (0, 5), generator)
    h = findings_layers.activations_around(network, at, "fc2")
    assert findings_layers.gaps_kept(network, at, "fc2", h, h).mean() == pytest.approx(1)
    mean = h.mean((0, 1, 2))
    constant = findings_layers.gaps_kept(network, at, "fc2", h, mean.expand_as(h))
    assert constant == pytest.approx(0, abs=1e-9)
    whole = given_dictionary("all", torch.eye(32).double(), mean, mean.new_ones(()))
    assert array(findings_layers.explained_variance(whole, h)).mean() == pytest.approx(1)
    cells = findings_layers.dictionary_cells(networks, "fc2", whole, at, generator)
    by_check = {c.check: c for c in cells}
    assert set(by_check) == set(CHECKS) - {"labels"}
    for check in ("weights", "orthogonal", "noise", "random"):  # all of any layer is kept
        assert by_check[check].left.mean() == pytest.approx(1)
    assert by_check["weights"].whole.mean() == pytest.approx(1)


def test_a_frame_is_followed_only_by_its_own_problem(ideal, generator):
    A = model_problems.draw(30, 4, 0.5, generator, torch.float64)
    y = 0.1 * states.answers(ideal, A)[:, None]

    def see(energy):
        return ideal.coordinates.to_basis(torch.linalg.inv(A).flatten(1))[:, None]

    found = findings_answers.gradient_in_frame(ideal, A, y, generator)
    seen = see(ideal)
    size = ideal.coordinates.size
    assert found.agree(seen, found.known) == pytest.approx(1 - 4 / size)
    assert found.agree(seen, found.known.roll(1, 0)).mean() < 0.9 * (1 - 4 / size)
    assert found.left(seen).shape == (30,)


def test_a_constant_jacobian_is_nothing_beyond_an_affine_map(ideal, generator):
    A = model_problems.draw(12, 4, 0.5, generator, torch.float64)
    start = states.noise(ideal, 12, generator=generator, like=A)
    W = normal(16, ideal.coordinates.d, generator=generator)

    def affine(energy, A, start):
        return A.flatten(1) @ W

    found = findings_answers.answers_turn(ideal, affine, A, start, 4, generator)
    seen = found.see(ideal)
    assert (seen - seen.mean(0)).abs().max() < 1e-9
    assert abs(found.left(seen)).mean() < 0.35 and set(found.others) == {"random", "orthogonal"}


# Findings of Phases 4 and 5


def inverses(generator, count=80, n=4):
    A = model_problems.draw(count, n, 0.5, generator, torch.float64)
    Y = torch.linalg.inv(A)
    return A, (Y + Y.mT) / 2


def test_definite_answers_are_told_from_moved_truths(generator):
    _, Y = inverses(generator)
    epsilon, other = (normal(16, *Y.shape, generator=generator) for _ in range(2))
    assert later.definite_beyond(1.6 * Y, Y, epsilon).mean() > 0.3
    moved = answer_errors.matched_noise(Y, 1.6 * Y, other[0] + other[0].mT)
    assert abs(later.definite_beyond(moved, Y, epsilon).mean()) < 0.15
    assert later.definite_beyond(-Y, Y, epsilon).max() <= 0
    assert (later.definite_beyond(Y, Y, epsilon) == 0).all()  # there is no noise to be ahead of


def test_eigenvalue_errors_are_told_from_noise_and_other_bases(generator):
    _, Y = inverses(generator)
    frame = Frame.of(Y)
    D = Y @ Y
    own = later.in_eigenvalues(D, frame)
    assert own == pytest.approx(1 - array(frame.random_basis(D))) and own.min() > 0
    assert abs(later.in_eigenvalues(D.roll(1, 0), frame).mean()) < 0.1
    z = normal(*Y.shape, generator=generator)
    assert abs(later.in_eigenvalues(z + z.mT, frame).mean()) < 0.06
    assert (later.in_eigenvalues(0 * Y, frame) == 0).all()


def test_a_planted_reading_is_told_from_what_the_input_gives(network, generator):
    A, _ = inverses(generator, 200)
    y = states.noised(network, states.answers(network, A), 0, 1, generator)[0][:, 0]
    found = later.linearised(network, A, y)
    assert found.agree(found.see(network), found.known).shape == (200,)
    seen = normal(200, 6, generator=generator)
    assert found.agree(seen, found.known).mean() < 0  # it says less than the input
    assert abs(found.agree(seen, normal(200, 1, generator=generator)).mean()) < 0.15
    given = found.agree(torch.cat([seen, found.known], 1), found.known)
    assert student_interval(given).low > 0


def test_gaps_along_one_output_are_told_from_others(generator):
    size = 6
    axis = torch.nn.functional.normalize(normal(size, generator=generator), dim=0)
    ripple = 0.1 * normal(30, 5, size, generator=generator)
    ripple[:, 0] = 0
    along = ripple[..., :1] * axis
    assert later.along_axis(axis + along) == pytest.approx(1)
    Q = torch.linalg.qr(torch.cat([axis[None], normal(5, size, generator=generator)]).mT).Q.mT
    each = np.stack([later.along_axis(axis + ripple, one) for one in Q])
    assert each.sum(0) == pytest.approx(0, abs=1e-9)  # the mean over axes is nothing
    beside = axis + ripple[..., :1] * Q[1]
    assert later.along_axis(beside) == pytest.approx(-1 / (size - 1))


def test_later_findings_have_cells_where_they_apply(network, networks, generator):
    A, _ = inverses(generator, 60)
    y0 = states.answers(network, A)
    start = states.noise(network, len(A), generator=generator, like=A)

    def answer(energy, A, start):
        return start - 0.1 * energy.gradient(A, start, 1)

    findings = [
        *later.answer_findings(network, answer, A, start, generator),
        later.linearised(network, A, states.noised(network, y0, 0, 1, generator)[0][:, 0]),
        later.along_constant(network, A, y0, generator),
    ]
    cells = later.applicable_cells(findings, networks, generator)
    places = {(c.finding, c.check) for c in cells}
    every = {(finding, check) for finding in later.SOURCES for check in CHECKS}
    assert places == every - set(later.REASONS) and len(places) == len(cells)
    assert all(np.isfinite(c.left).all() and np.isfinite(c.whole).all() for c in cells)
    by_place = {(c.finding, c.check): c for c in cells}
    turned = by_place[later.EIGENVALUES, "random"]
    assert abs(turned.left.mean()) < 0.1


def test_every_finding_has_a_cell_or_a_reason():
    names = set(study.SOURCES)
    assert {finding for finding, _ in study.REASONS} <= names
    assert {check for _, check in study.REASONS} <= set(CHECKS)
    allowed = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-. :/")
    assert all(set(name) <= allowed for name in names)  # MLflow's, for names of metrics


def test_few_problems_are_held_against_a_map_of_others(ideal, generator):
    """Of an affine network nothing is left, though there are fewer problems than A has features."""
    A, beside = (model_problems.draw(count, 4, 0.5, generator, torch.float64) for count in (8, 200))
    W = normal(16, 16, generator=generator)

    def affine(energy, A, start, callback=None):
        y = ideal.coordinates.project(A.flatten(1) @ W)
        if callback:
            callback(SimpleNamespace(stage="denoise", landscape=0, inner=0, y=y))
        return y

    background = study.background(ideal, beside, affine, generator, chunk=150)
    assert background.near.shape == (4, 200, 16) and background.path.shape == (200, 16)
    start = states.noise(ideal, 8, generator=generator, like=A)
    alone, held = (
        findings_answers.answers_follow(ideal, affine, A, states.answers(ideal, A), start, one)
        for one in (None, background)
    )
    assert abs(held.left(held.see(ideal))).max() == 0
    assert abs(alone.left(alone.see(ideal))).max() > 0.1
    _, errors = later.answer_findings(ideal, affine, A, start, generator, background)
    path = states.answers(ideal, A)[:, None]
    frame = findings_answers.gradient_in_frame(ideal, A, path, generator, background)
    for finding in (errors, frame):
        assert np.isfinite(finding.left(finding.see(ideal))).all()
