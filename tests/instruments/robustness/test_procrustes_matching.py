"""Matching of networks, the robustness score, and findings over planted networks."""

from types import SimpleNamespace

import numpy as np
import pandas
import pytest
import torch

from ired.instruments.dictionaries.sparse_autoencoder import given_dictionary
from ired.instruments.robustness import (
    effects,
    findings,
    procrustes_matching,
    rediscovery,
    score,
    study as study_module,
)
from ired.instruments.robustness.known_answers import planted_tokens
from ired.instruments.statistics.power import detectable
from ired.model import problems as model_problems
from ired.model.coordinates import Coordinates
from ired.model.energies.mlp import EnergyConfig, MLPEnergy
from ired.model.sampling import SamplingConfig, sample


@pytest.fixture
def rng():
    return np.random.default_rng(3)


# Matching


def test_halves_share_no_problem_and_tokens_are_in_the_states_order():
    tokens = procrustes_matching.MatchingTokens.of(2, 5, 3)
    assert tokens.landscape.reshape(2, 5, 3)[1].eq(1).all()
    assert tokens.problem.reshape(2, 5, 3)[:, 4].eq(4).all()
    fitted, judged = (set(tokens.problem[tokens.half(side)].tolist()) for side in (True, False))
    assert fitted == {0, 2, 4} and judged == {1, 3}


def test_shuffling_stays_within_landscapes_and_halves(generator):
    tokens = procrustes_matching.MatchingTokens.of(3, 8, 2)
    order = tokens.shuffled(generator)
    assert sorted(order.tolist()) == list(range(48)) and (order != torch.arange(48)).any()
    assert (tokens.landscape[order] == tokens.landscape).all()
    assert (tokens.fit[order] == tokens.fit).all()


def test_means_of_landscapes_are_those_of_the_fitted_half(generator):
    tokens, x = planted_tokens(5, generator)
    left = tokens.within(x)
    for k in range(3):
        rows = tokens.fit & (tokens.landscape == k)
        assert left[rows].mean(0).abs().max() < 1e-12


def test_a_planted_rotation_is_found_exactly(generator):
    tokens, x = planted_tokens(7, generator)
    Q = torch.linalg.qr(torch.randn(7, 7, generator=generator, dtype=torch.float64)).Q
    share, rotation = procrustes_matching.procrustes_alignment(x @ Q + 3, x, tokens)
    assert share == pytest.approx(1)
    torch.testing.assert_close(rotation.matrix, Q.mT)
    wrong, _ = procrustes_matching.procrustes_alignment(x @ Q + 3, x, tokens, generator)
    assert abs(wrong) < 0.1


def test_a_permuted_dictionary_is_matched_back(generator):
    tokens, x = planted_tokens(6, generator)
    codes = (x @ torch.randn(6, 15, generator=generator, dtype=torch.float64)).relu()
    order = torch.randperm(15, generator=generator)
    found = procrustes_matching.match(codes, codes[:, order], tokens.fit)
    assert (order[found.second].numpy() == found.first).all() and found.mean == pytest.approx(1)
    feature, correlation = found.partner(int(found.first[2]))
    assert feature == found.second[2] and correlation == pytest.approx(1)


def test_silent_features_are_left_out(generator):
    tokens, x = planted_tokens(6, generator)
    codes = x.relu()
    codes[:, 2] = 0
    found = procrustes_matching.match(codes, codes, tokens.fit)
    assert 2 not in found.first and len(found.first) == 5
    with pytest.raises(KeyError, match="feature 2 has no partner"):
        found.partner(2)


def test_correlations_are_numpys(rng):
    one, two = rng.standard_normal((40, 3)), rng.standard_normal((40, 4))
    two[:, 1] = 2.0
    found = procrustes_matching.correlations(*map(torch.from_numpy, (one, two))).numpy()
    expected = np.corrcoef(one.T, two[:, [0, 2, 3]].T)[:3, 3:]
    np.testing.assert_allclose(found[:, [0, 2, 3]], expected, atol=1e-12)
    assert (found[:, 1] == 0).all()


def test_matched_random_directions_are_at_chance(generator):
    for count in (1, 4):
        own = procrustes_matching.chance_matched(count, 12, 400, generator)
        blind = procrustes_matching.chance_matched(count, 12, 400, generator)
        assert abs(own.mean() - blind.mean()) < 5 * own.std() / 20
    one = procrustes_matching.chance_matched(1, 12, 2000, generator).mean()
    assert one == pytest.approx(procrustes_matching.chance_cosine(12), abs=0.02)
    assert procrustes_matching.chance_cosine(1) == pytest.approx(1)
    assert procrustes_matching.chance_cosine(2) == pytest.approx(2 / np.pi)


def test_axes_are_matched_in_the_sense_of_the_first(generator):
    Q = torch.linalg.qr(torch.randn(8, 3, generator=generator, dtype=torch.float64)).Q.mT
    found, cosines = procrustes_matching.match_axes(Q, -Q[[2, 0, 1]])
    torch.testing.assert_close(found, Q)
    np.testing.assert_allclose(cosines, 1)


def test_random_dictionaries_are_as_sparse(generator):
    mean, scale = torch.zeros(6), torch.tensor(1.0)
    own = given_dictionary("topk", torch.eye(6), mean, scale, 2)
    blind = procrustes_matching.random_like(own, torch.eye(6), generator)
    x = torch.randn(30, 6, generator=generator)
    assert blind.features == 6 and ((blind.encode(x) != 0).sum(1) <= 2).all()


def test_intervals_over_pairs_count_networks(rng):
    """Pairs share networks: the interval covers the mean of a table made of networks' own parts."""
    covered, narrow = [], []
    for _ in range(400):
        own = rng.standard_normal(5)
        table = 0.5 + own[:, None] + own
        found = procrustes_matching.pair_interval(table)
        covered.append(found.low <= 0.5 <= found.high)
        pairs = table[np.triu_indices(5, 1)]
        reach = 2.262 * pairs.std(ddof=1) / 10**0.5  # as if ten pairs were ten units
        narrow.append(abs(pairs.mean() - 0.5) <= reach)
    assert np.mean(covered) > 0.92 and np.mean(narrow) < 0.9
    with pytest.raises(ValueError, match="at least three"):
        procrustes_matching.pair_interval(np.zeros((2, 2)))


# Score and rule


def test_the_score_is_the_mean_of_products_of_pairs(rng):
    effects = rng.standard_normal(5) + 1
    pairs = [effects[i] * effects[j] for i in range(5) for j in range(5) if i != j]
    expected = max(np.mean(pairs) / np.mean(effects**2), 0)
    assert score.robustness_score(effects) == pytest.approx(expected)
    assert score.robustness_score(-3 * effects) == pytest.approx(expected)


def test_scores_lie_between_0_and_1_with_their_intervals(rng):
    for values in (rng.standard_normal(5), np.ones(5), np.zeros(5), np.array([1, -1, 1, -1, 0.0])):
        found = score.score_interval(values)
        assert 0 <= found.low <= found.estimate <= found.high <= 1
    assert score.score_interval(np.ones(5)).low > 0.99


def test_planted_effects_are_robust_and_random_signs_are_not(rng):
    planted = 2 + 0.2 * rng.standard_normal(5)
    mixed = planted * [1, -1, 1, 1, -1]
    found = score.robustness_columns([planted, mixed], [1, 1])
    assert found["robust"].tolist() == [True, False]
    assert found["keeps_sign"].tolist() == [1, 0.6]
    assert found["score"][0] > 0.9 > 0.3 > found["score"][1]


def test_nothing_is_robust_more_often_than_stated(rng):
    null = rng.standard_normal((6000, 5))
    assert score.judged_rule(null, corrected=False).mean() < 0.05
    assert score.chance(null[:500]).mean() == pytest.approx(score.robustness_score(null).mean(), abs=0.02)


def test_a_claim_the_other_way_is_not_robust():
    effects = np.array([[2.0, 2.1, 1.9, 2.2, 2.0]])
    assert score.robustness_columns(effects)["robust"][0]
    assert not score.robustness_columns(effects, [-1])["robust"][0]


def test_what_five_networks_can_see():
    assert detectable(5) == pytest.approx(1.68, abs=0.005)
    assert detectable(50) < 0.5


def test_claimed_and_other_findings_are_corrected_apart(rng):
    findings = pandas.DataFrame({"claimed": [1, 0, -1]})
    effects = np.array([[1, 1.1, 0.9, 1, 1.2], [0.1, -1, 1, 0.5, -2], [-1, -1.2, -0.9, -1, -1]])
    table = score.robustness_table(findings, effects, np.sign(effects))
    assert table["robust"].tolist() == [True, False, True]
    assert table["significant"].tolist() == [1, 0.4, 1]
    assert table["p_adjusted"][1] == table["p"][1]


def test_exchanged_findings_lose_what_was_their_own(rng):
    own = 4 * rng.choice([-1, 1], (30, 1)) + 0.3 * rng.standard_normal((30, 5))
    found = score.permuted_findings(own, ["a"] * 30, 20, rng)
    assert found["robust"] == 1 and found["robust_permuted"] < 0.1
    assert found["score"] > 0.9 > 0.4 > found["score_permuted"]


def test_without_one_network(rng):
    effects = np.array([[1, 1.1, 0.9, 1, -1.2]])
    assert score.without_one(effects, [1]).tolist() == [0, 0, 0, 0, 1]


def test_strata_are_thirds_by_condition_number():
    assert score.strata([5, 900, 20, 7, 300, 30]).tolist() == [0, 2, 1, 0, 2, 1]


def test_verdicts_alike_beyond_chance(rng):
    said = np.array(["a"] * 10 + ["b"] * 10)
    found = score.verdict_agreement(said, said, rng)
    assert found["alike"] == 1 and found["p"] == 0.001 and abs(found["chance"] - 0.5) < 0.05


# Networks


WALK = SamplingConfig(inner_steps=1)


def walk(energy, A, start, first=None, callback=None):
    return sample(energy, A, WALK, start=start, first=first, callback=callback)


@pytest.fixture(scope="module")
def small():
    """Four untrained networks on a small ground, and what is looked for in them."""
    coordinates = Coordinates(3, symmetric=True)
    config = EnergyConfig(3, hidden=16, symmetric=True)
    energies = []
    for seed in range(4):
        energy = MLPEnergy(config, model_problems.generator(seed, "network")).double()
        for weight in energy.parameters():
            weight.requires_grad_(False).mul_(1.5)
        energies.append(energy)
    assert energies[0].coordinates.size == coordinates.size
    size = SimpleNamespace(
        states=1,
        pairs=30,
        caliper=1.5,
        folds=2,
        integrated=6,
        leading=3,
        expansion=2,
        sparsity=4,
        steps=5,
        rate=5e-3,
        batch=64,
        spliced=3,
        draws=2,
    )
    source = model_problems.generator(0, "ground")
    A, *others = model_problems.draw(24 + 4 * 166, 3, 0.5, source, torch.float64).split([24, *[160] * 4, *[6] * 4])
    measures = [model_problems.properties(B) for B in others[:4]]
    ground = rediscovery.grounds(energies[0], A, others[:4], measures, others[4:], size, source)
    rows = [
        ("attribution y k=0", "attribution", "y", 0, ""),
        ("attribution fc2 k=0", "attribution", "fc2", 0, ""),
        ("concept near_singular fc1 k=0", "concept", "fc1", 0, "near_singular"),
        ("concept noisy_answer fc3 k=2", "concept", "fc3", 2, "noisy_answer"),
        ("gradient k=2 #1", "gradient", "y", 2, ""),
        ("gradient k=2 #2", "gradient", "y", 2, ""),
        ("feature fc2 #7", "feature", "fc2", -1, ""),
        ("feature fc2 #3", "feature", "fc2", -1, ""),
    ]
    names = "direction source space landscape concept".split()
    verdicts = pandas.DataFrame(rows, columns=names).assign(
        moved_beyond=True, carried_beyond=False, verdict="causal", evidence=0.8
    )
    return energies, ground, verdicts, size


def test_directions_are_called_by_rank(small):
    names = [one.name for one in rediscovery.wanted(small[2])]
    assert names[4:] == ["gradient k=2 #1", "gradient k=2 #2", "feature fc2 #1", "feature fc2 #2"]


def test_one_network_three_times_agrees_with_itself(small):
    energies, ground, verdicts, size = small
    same = [energies[0]] * 2
    looked_for, ground = rediscovery.wanted(verdicts), ground[0]
    networks = [rediscovery.found_in(energy, ground, looked_for, size) for energy in same]
    source = torch.Generator().manual_seed(0)
    pairs, matchings = study_module.match_features(networks, ground, source)
    np.testing.assert_allclose(pairs["own"], 1, atol=1e-5)
    aligned, rotations = study_module.align(networks, ground, source)
    np.testing.assert_allclose(aligned["share"], 1, atol=1e-5)
    shared, found = findings.shared_directions(networks, looked_for, matchings)
    alike = findings.direction_likeness(networks, shared, found, ground.tokens, rotations, 10, source)
    np.testing.assert_allclose(alike[["correlation", "cosine"]], 1, atol=1e-4)
    assert (alike[["chance_correlation", "chance_cosine"]] < 0.95).all(axis=None)
    for first, second in zip(found[0], found[1], strict=True):
        torch.testing.assert_close(first.vector, second.vector)


def test_pushed_together_is_pushed_alone(small):
    """Directions of one place go through one batch: the same answers as each by itself."""
    from ired.instruments.interventions.edits import Place, UndisturbedRuns, added
    from ired.instruments.interventions.effects import DOSE

    energies, ground, verdicts, size = small
    looked_for = [one for one in rediscovery.wanted(verdicts) if one.source == "concept"]
    ground = ground[0]
    network = rediscovery.found_in(energies[0], ground, looked_for, size)
    one = network.directions["concept near_singular fc1 k=0"]
    source = torch.Generator().manual_seed(1)
    found = effects.effects_of(energies[0], [one], ground, walk, 2, source)
    path = UndisturbedRuns.of(energies[0], walk, ground.tried, ground.start)
    amount = DOSE * effects.spread_of(energies[0], one, ground)
    place, V = Place("fc1", 0), one.vector[None].double()
    decode, sizes = energies[0].coordinates.decode, []
    for way in (1, -1):
        answers = added(energies[0], walk, path, place, V, way * amount)[0]
        sizes.append((decode(answers) - decode(path.answers)).pow(2).mean((1, 2)).sqrt())
    np.testing.assert_allclose(found.moved[0], (sizes[0] + sizes[1]).numpy() / 2, atol=1e-9)
    assert found.moved_draws.shape == (1, 2, 6) and found.carried.shape == (1, 6)


@pytest.mark.slow
def test_the_whole_study(small):
    energies, ground, verdicts, size = small
    kept = {("fc1", "gap"): (0.1, 0.2), ("fc1", "score"): (-0.2, 0.1)}
    calls = []
    found = study_module.study_robustness(
        energies,
        ground,
        verdicts,
        kept,
        [np.arange(6.0)] * 4,
        walk,
        size,
        torch.Generator().manual_seed(2),
        calls.append,
    )
    table = found.tables["findings"]
    counts = {"moved": 8, "carried": 2, "read": 2, "gap": 1, "score": 1}
    assert table.groupby("kind").size().to_dict() == counts
    assert found.claimed["kind"].isin(["moved", "read", "gap"]).all()
    assert set(found.verdicts()) == {
        "most_findings_robust",
        "effects_keep_sign",
        "features_match_beyond_chance",
        "robust_beyond_random_directions",
    }
    assert all(np.isfinite(value) for value in found.numbers().values())
    assert sum(calls) == 4 * (len(verdicts) + 1)
    assert list(found.tables["strata"]["stratum"]) == list(score.STRATA)
