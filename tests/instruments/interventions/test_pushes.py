"""Pushes along directions: nothing, known amounts, planted mediators."""

import numpy as np
import pandas
import pytest
import torch

from ired.instruments.core import patching, states
from ired.instruments.core.directions import EVERYWHERE, STATE, Direction
from ired.instruments.dictionaries.sparse_autoencoder import given_dictionary
from ired.instruments.interventions import answer_properties, manifold, pushes
from ired.instruments.interventions.known_answers import check_interventions
from ired.model import problems as model_problems
from ired.model.sampling import SamplingConfig, sample

DRAWS = {"random": 2, "covariance": 1, "orthogonal": 1}
DOSES = (-2.0, 2.0)


def walk(energy, A, start, first=None, callback=None):
    return sample(energy, A, SamplingConfig(clip=6.0), start=start, first=first, callback=callback)


@pytest.fixture
def still(network):
    return network.requires_grad_(False)


@pytest.fixture
def at(still, problems, generator):
    return pushes.push_scene(still, problems, walk, generator)


@pytest.fixture
def seen(still, generator):
    A = model_problems.draw(60, 4, 0.5, generator, torch.float64)
    return manifold.nature(still, A, generator)


def direction(space, landscape, width, concept=""):
    torch.manual_seed(0)
    v = torch.randn(width, dtype=torch.float64)
    return Direction(f"{space} {landscape}", "concept", space, landscape, concept, 1.0, "", v)


@pytest.fixture
def found(still):
    v = still.coordinates.project(direction(STATE, 4, 16).vector)
    state = Direction("state", "gradient", STATE, 4, "", 1.0, "", v)
    return [state, direction("fc2", 2, 32, "large_norm"), direction("fc3", EVERYWHERE, 32)]


def test_known_answers(references):
    checks = check_interventions(references, torch.Generator().manual_seed(3))
    assert [str(check) for check in checks if not check.passed] == []


@pytest.mark.parametrize(
    "owner, name, broken",
    [
        (pushes.Push, "__call__", lambda p, x, k, given: x + p.shift[:, None] * p.along),
        (manifold.Cloud, "spread", lambda self, v: 1.0),
        (pushes, "component", lambda x, v: 1.1 * (x * v).sum(-1)),
        (pushes, "_span", lambda vectors: vectors[:0]),
        (answer_properties, "FLOOR", 0.5),
    ],
    ids=["ablation", "spread", "component", "orthogonal", "floor"],
)
def test_a_broken_instrument_is_named(references, monkeypatch, owner, name, broken):
    monkeypatch.setattr(owner, name, broken)
    checks = check_interventions(references, torch.Generator().manual_seed(3))
    assert {check.instrument for check in checks if not check.passed} == {"interventions"}


def test_the_rows_are_as_agreed(still, found, at, seen, generator):
    counted = []
    table, spreads = pushes.respond(still, found, at, seen, walk, DOSES, DRAWS, generator, rows=64, done=counted.append)
    assert counted == [1, 2, 3] and spreads.shape == (3,) and (spreads > 0).all()
    assert tuple(table.columns[:6]) == ("direction", "control", "draw", "edit", "dose", "problem")
    assert not table.duplicated(list(pushes.KEYS)).any()
    # 5 vectors, 2 doses and 2 other edits, and one row of nothing; 6 problems.
    assert len(table) == 3 * (5 * 4 + 1) * 6
    assert np.isfinite(table.drop(columns=["direction", "control", "edit", "carried"])).all().all()
    assert (table["carried"].isna() == (table["direction"] != "fc2 2")).all()
    nothing = table[(table["dose"] == 0) & (table["edit"] == "add")]
    assert (nothing[["energy", "score", "moved"]] == 0).all().all()
    assert (nothing["off_manifold"] == 1).all() and len(nothing) == 18
    rest = table.drop(nothing.index)
    assert (rest["moved"] > 0).mean() > 0.99 and (rest["score"] > 0).all()
    # What leaves the answer where it is leaves it as it is.
    same = rest[rest["moved"] == 0].merge(nothing, on=["direction", "problem"])
    assert (same["mse_x"] == same["mse_y"]).all()


def test_dose_0_is_the_unedited_sample(still, found, at, seen, problems, generator):
    table, _ = pushes.respond(still, found, at, seen, walk, DOSES, DRAWS, generator)
    Y = still.coordinates.decode(walk(still, problems, at.entering[-1]))
    mse = (Y - still.coordinates.decode(at.y0)).pow(2).mean((1, 2)).numpy()
    nothing = table[(table["dose"] == 0) & (table["edit"] == "add")]
    for _, rows in nothing.groupby("direction"):
        np.testing.assert_allclose(rows["mse"], mse, rtol=1e-6)


def test_a_landscape_is_entered_where_the_path_left_the_one_before(still, at, problems):
    whole = walk(still, problems, at.entering[9])
    for k in (0, 4):
        torch.testing.assert_close(walk(still, problems, at.entering[k], first=k), whole)


def test_a_push_in_one_landscape_is_a_splice_there(still, found, at, seen, problems, generator):
    """Against Spliced with the same vector added, sampled from the start noise."""
    table, spreads = pushes.respond(still, found, at, seen, walk, DOSES, DRAWS, generator)
    plain = walk(still, problems, at.entering[9])
    for one, spread, landscape in zip(found[1:], spreads[1:], (2, None), strict=True):
        by = 2 * spread * one.unit().vector
        edited = patching.Spliced(still, one.space, lambda h, by=by: h + by, landscape)
        moved = walk(edited, problems, at.entering[9]) - plain
        rms = moved.pow(2).mean(1).sqrt() * still.coordinates.scale
        rows = table.query("direction == @one.name and control == 'own' and dose == 2")
        np.testing.assert_allclose(rows["moved"], rms.numpy(), rtol=1e-5)


def test_batches_do_not_matter(still, found, at, seen):
    tables = [
        pushes.respond(still, found[:2], at, seen, walk, DOSES, DRAWS, torch.Generator().manual_seed(1), rows=rows)[0]
        .sort_values(list(pushes.KEYS))
        .reset_index(drop=True)
        for rows in (1, 10_000)
    ]
    pandas.testing.assert_frame_equal(*tables, rtol=1e-5)


def test_controls_are_what_they_are_called(still, seen, generator):
    cloud = manifold.cloud(still, "fc2", EVERYWHERE, seen)
    own = torch.nn.functional.normalize(torch.randn(3, 32, generator=generator).double(), dim=1)
    draws = {"random": 300, "covariance": 300, "orthogonal": 5}
    drawn = pushes.control_directions(own[0], (own,), cloud, draws, generator)
    assert all(len(v) == count for v, count in zip(drawn.values(), (1, 300, 300, 5), strict=True))
    for vectors in drawn.values():
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(len(vectors)).double())
    assert (drawn["orthogonal"] @ own.mT).abs().max() < 1e-12
    variance = {name: ((v @ cloud.covariance) * v).sum(1).mean() for name, v in drawn.items()}
    mean = cloud.covariance.trace() / 32
    assert variance["random"] == pytest.approx(mean.item(), rel=0.3)
    assert variance["covariance"] > 2 * mean
    # Where the directions found leave nothing over, those found in the same place are avoided.
    full = torch.eye(32).double()
    drawn = pushes.control_directions(own[0], (full, own), cloud, draws, generator)
    assert (drawn["orthogonal"] @ own.mT).abs().max() < 1e-12


def test_features_are_found_by_their_effect(still, seen):
    nothing = torch.zeros(32).double()
    dictionary = given_dictionary("all", torch.eye(32).double(), nothing, torch.ones(()).double())
    found = pushes.strongest_features(still, "fc2", dictionary, seen, 4)
    assert len({one.name for one in found}) == 4 and found[0].name.startswith("feature fc2 #")
    sizes = [one.evidence for one in found]
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] > 0
    assert all(one.landscape == EVERYWHERE and one.vector.norm() == 1 for one in found)


def test_directions_that_cannot_be_pushed_are_refused(still, problems):
    with pytest.raises(ValueError, match="no landscape"):
        pushes.axis(still, direction(STATE, EVERYWHERE, 16), problems)
    if still.coordinates.symmetric:
        odd = states.antisymmetric(direction(STATE, 1, 16).vector, 4)
        one = Direction("odd", "gradient", STATE, 1, "", 1.0, "", odd)
        with pytest.raises(ValueError, match="does not lie"):
            pushes.axis(still, one, problems)
