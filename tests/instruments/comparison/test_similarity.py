"""Two models held against each other: copies, equivalents, shuffled weights, strangers, chance."""

import copy
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch

from ired.instruments.comparison import known_answers_similarity as calibration, representation, similarity
from ired.instruments.comparison.similarity import BOTH, GENERAL, MINING, PARTS, SEEDS, Pair
from ired.instruments.core.reference_energies import WrappedEnergy
from ired.model.reference import AlgebraicEnergy, IdealEnergy
from tests.instruments.comparison.test_representation import SIZE, a_ground, a_network, walk


def permuted(energy, generator):
    """The same function, with the neurons of every hidden layer in another order."""
    found, hidden = copy.deepcopy(energy), energy.fc2.weight.shape[0]
    one, two, three = (torch.randperm(hidden, generator=generator) for _ in range(3))
    for layer, rows in ((found.fc1, one), (found.fc2, two), (found.fc3, three)):
        layer.weight.data, layer.bias.data = layer.weight.data[rows], layer.bias.data[rows]
    for layer, columns in ((found.fc2, one), (found.fc3, two), (found.fc4, three)):
        layer.weight.data = layer.weight.data[:, columns]
    for film, rows in ((found.t_map_fc2, two), (found.t_map_fc3, three)):
        both = torch.cat([rows, rows + hidden])  # gains, then biases
        film.weight.data, film.bias.data = film.weight.data[both], film.bias.data[both]
    return found


def shuffled(energy, generator):
    """The entries of the weights of every layer in another order."""
    found = copy.deepcopy(energy)
    for name, weight in found.named_parameters():
        if name.startswith("fc"):
            order = torch.randperm(weight.numel(), generator=generator)
            weight.data = weight.data.flatten()[order].view_as(weight)
    return found


@pytest.fixture(scope="module")
def network():
    return a_network(0)


@pytest.fixture(scope="module")
def ground(network):
    return a_ground(network)


@pytest.fixture(scope="module")
def taken(network, ground):
    """Fingerprints by name; of strangers by number."""
    source = torch.Generator().manual_seed(1)
    c, schedule = network.coordinates, network.schedule
    energies = {
        "own": network,
        "copy": copy.deepcopy(network),
        "permuted": permuted(network, source),
        "shuffled": shuffled(network, source),
        "ideal": IdealEnergy(c, schedule),
        "algebraic": AlgebraicEnergy(c, schedule),
    } | {seed: a_network(seed) for seed in (1, 2, 3)}
    return {name: representation.fingerprint(energy, ground, walk, SIZE) for name, energy in energies.items()}


@pytest.mark.slow
def test_two_copies_are_one(taken):
    found = similarity.compare_fingerprints(taken["own"], taken["copy"])
    assert set(found.parts) == set(PARTS)
    for part in PARTS:
        assert found.raw[part] == pytest.approx(1, abs=1e-6)
    assert found.score == pytest.approx(1, abs=1e-6)
    assert found.without_layers == pytest.approx(1, abs=1e-12)


def test_neurons_in_another_order_change_no_function(taken):
    found = similarity.compare_fingerprints(taken["own"], taken["permuted"])
    for part in (*GENERAL, "directions"):
        assert found.raw[part] == pytest.approx(1, abs=1e-5)
    # Its dictionary is trained from another start, and need not find the same features again.
    assert found.raw["features"] < 1


def test_shuffled_weights_are_told_apart(taken):
    found = similarity.compare_fingerprints(taken["own"], taken["shuffled"])
    assert found.score < 0.2
    assert max(found.parts.values()) < 0.6


def test_strangers_share_nothing(taken):
    """Independent random networks: near 0 on average; what their energies share is the bowl."""
    pairs = [similarity.compare_fingerprints(taken[a], taken[b]) for a, b in combinations(("own", 1, 2, 3), 2)]
    for part in PARTS:
        assert abs(np.mean([one.raw[part] for one in pairs])) < 0.2, part
    assert abs(np.mean([one.controls["landscape.beyond_blind"] for one in pairs])) < 0.1
    assert np.mean([one.score for one in pairs]) < 0.2


def test_energies_that_are_known_are_in_the_expected_order(taken):
    def landscape(first, second):
        return similarity.compare_fingerprints(taken[first], taken[second]).raw["landscape"]

    assert landscape("ideal", "ideal") == pytest.approx(1)
    assert 0.5 < landscape("ideal", "algebraic") < 0.999
    assert landscape("ideal", "own") < landscape("ideal", "algebraic")


def test_for_multiples_of_the_identity_ideal_and_algebraic_rise_alike(taken, ground):
    A = torch.eye(3, dtype=torch.float64) * torch.linspace(1, 4, len(ground.A)).double()[:, None, None]
    c = AlgebraicEnergy(*(getattr(a_network(0), name) for name in ("coordinates", "schedule")))
    y0 = c.coordinates.encode(torch.linalg.inv(A))
    # The same states around these answers.
    root = c.schedule.sqrt_alpha_bar.double()[:, None, None, None]
    near = ground.near + root * (y0 - ground.y0)[:, None]
    there = replace(ground, A=A, y0=y0, near=near)
    ideal, algebraic = (
        representation.ground_energies(energy, there) for energy in (IdealEnergy(c.coordinates, c.schedule), c)
    )
    assert similarity.alike(ideal, algebraic) == pytest.approx(1, abs=1e-12)


def test_a_part_is_symmetric_and_within_bounds(taken):
    for one, two in combinations(taken.values(), 2):
        there, back = similarity.compare_fingerprints(one, two), similarity.compare_fingerprints(two, one)
        for part in (*GENERAL, *(["directions"] if one.codes and two.codes else [])):
            assert there.raw[part] == pytest.approx(back.raw[part], abs=1e-12)
        for value in (*there.parts.values(), there.score, there.without_layers):
            assert 0 <= value <= 1
        assert all(np.isfinite(value) for value in there.controls.values())


def test_what_has_no_layers_is_compared_without(taken):
    found = similarity.compare_fingerprints(taken["own"], taken["ideal"])
    assert set(found.parts) == set(GENERAL) and found.score == found.without_layers
    assert np.isnan(found.row()["features"]) and np.isnan(found.row()["directions"])


def test_what_opposes_counts_as_nothing(taken):
    own = taken["ideal"]
    found = similarity.compare_fingerprints(own, replace(own, gaps=-own.gaps))
    assert found.raw["landscape"] == pytest.approx(-1) and found.parts["landscape"] == 0


def test_beyond_the_blind_bowl(taken):
    """A model that does not look at A has nothing beyond it, but rises as others do."""
    ideal = taken["ideal"]
    blind = replace(ideal, gaps=ideal.blind)
    found = similarity.compare_fingerprints(ideal, blind)
    assert found.raw["landscape"] > 0.7
    assert found.controls["landscape.beyond_blind"] == pytest.approx(0, abs=1e-9)


def test_where_both_are_nothing_there_is_nothing_to_compare():
    one = np.array([[1.0, -1], [0, 0], [0, 0]])
    two = np.array([[2.0, -2], [0, 0], [1, -1]])
    assert similarity.alike(one, two) == pytest.approx(0.5)  # 1, left out, 0
    assert similarity.alike(0 * one, 0 * two) == 0


def test_effects_that_neither_network_has_are_left_out(taken):
    """Where no direction moves the answers of either, two copies are still one."""
    own = taken["own"]
    still = replace(own, directions=own.directions.assign(answers=0.0))
    found = similarity.compare_fingerprints(still, still)
    assert found.raw["directions"] == pytest.approx(1, abs=1e-6)
    assert found.controls["directions.answers"] == found.controls["directions.answers.by_place"] == 0
    assert similarity.compare_fingerprints(own, still).raw["directions"] == pytest.approx(0.5, abs=1e-6)
    nothing = replace(still, directions=still.directions.assign(energy=0.0))
    assert "directions" not in similarity.compare_fingerprints(nothing, nothing).raw
    assert np.isnan(similarity.compare_fingerprints(nothing, nothing).row()["directions"])


def test_features_that_neither_fires_are_left_out():
    codes = torch.zeros(80, 3)
    codes[:, 0] = torch.arange(80) % 3
    codes[:40, 1] = torch.arange(40) % 2 + torch.arange(40) % 5  # falls silent
    fit = torch.arange(80) < 40
    assert similarity.matched_correlation(codes, codes, fit) == pytest.approx(1, abs=1e-6)


def test_one_large_effect_does_not_decide_by_place(taken):
    """Two tables that share nothing but one row."""
    rng, table = np.random.default_rng(0), taken["own"].directions
    one, two = (table.assign(answers=rng.standard_normal(len(table))) for _ in range(2))
    for own in (one, two):
        own.loc[0, "answers"] = 1000
    assert similarity.direction_similarity(one, two, "answers") > 0.99
    assert similarity.by_place(one, two, "answers") < 0.5
    assert similarity.by_place(one, one, "answers") == pytest.approx(1)


def test_different_grounds_are_refused(network, taken):
    other = representation.fingerprint(network, a_ground(network, seed=1), walk, SIZE)
    with pytest.raises(ValueError, match="same ground"):
        similarity.compare_fingerprints(taken["own"], other)


def test_which_pairs():
    found = similarity.model_pairs(["none", "random", "adversarial", "property"], range(5))
    kinds = [one.kind for one in found]
    assert [kinds.count(kind) for kind in (MINING, SEEDS, BOTH)] == [15, 20, 15]
    assert len(found) == len(set(found)) == 50 <= 12 * 5
    assert Pair(MINING, ("none", 2), ("property", 2)) in found
    assert Pair(SEEDS, ("none", 4), ("none", 0)) in found
    assert Pair(BOTH, ("none", 4), ("random", 0)) in found


def test_pairs_of_few():
    assert similarity.model_pairs(["none"], [0]) == []
    assert similarity.model_pairs(["none"], [0, 1]) == [Pair(SEEDS, ("none", 0), ("none", 1))]
    found = similarity.model_pairs(["none", "product"], [0], base="product")
    assert found == [Pair(MINING, ("product", 0), ("none", 0))]


def test_a_table_has_a_row_for_each_pair(taken):
    models = {("none", 0): taken["own"], ("none", 1): taken[1], ("ideal", 0): taken["ideal"]}
    chosen = [Pair(SEEDS, ("none", 0), ("none", 1)), Pair(MINING, ("none", 0), ("ideal", 0))]
    table = similarity.similarity_table(models, chosen)
    assert list(table["kind"]) == [SEEDS, MINING] and list(table["second"]) == ["none", "ideal"]
    assert {*PARTS, "score", "without_layers", "raw.landscape", "answers.other_problem"} <= {*table}
    assert np.isnan(table["features"][1]) and table[[*GENERAL, "score"]].notna().all(axis=None)


# Calibration


def missed(checks):
    return [check.what for check in checks if not check.passed]


@pytest.mark.parametrize(
    "module, name, broken, named",
    [
        (
            similarity,
            "matched_correlation",
            lambda own: lambda a, b, fit: own(a, b, ~fit) * 0.9,
            "features of two copies",
        ),
        (
            representation,
            "ground_energies",
            lambda own: lambda energy, ground: own(energy, ground) ** 2,
            "landscape of ideal and algebraic",
        ),
        (representation, "attributions", lambda own: lambda energy, ground: -own(energy, ground), "ideal attributions"),
    ],
    ids=["matching", "gaps", "attributions"],
)
@pytest.mark.parametrize("references", [True], indirect=True, ids=["symmetric"])  # one kind of coordinates is enough
@pytest.mark.slow
def test_a_broken_instrument_is_named(monkeypatch, references, module, name, broken, named):
    monkeypatch.setattr(module, name, broken(getattr(module, name)))
    found = missed(calibration.check_consistency(references, torch.Generator().manual_seed(5)))
    assert named in found


def test_an_energy_around_another_counts_as_it(network, ground, taken):
    """Nothing but the protocol is used."""
    found = representation.fingerprint(WrappedEnergy(network), ground, walk, SIZE)
    assert similarity.compare_fingerprints(taken["own"], found).score == pytest.approx(1, abs=1e-6)
