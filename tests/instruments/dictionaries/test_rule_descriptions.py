"""Rules whose words and worth are known."""

import numpy as np
import pytest
import torch

from ired.instruments.dictionaries import rule_descriptions


def test_planted_rules_are_found_and_shuffled_ones_are_not(described):
    tokens, columns = described
    k, distance = columns["landscape"].numpy(), columns["distance"].numpy()
    found = rule_descriptions.describe_firing(k <= 2, tokens)
    assert found.text == "k ≤ 2" and found.auroc.estimate == found.auroc.low == 1
    assert (found.inside, found.outside, found.landscape) == (1, 0, 1)
    assert found.within == 0.5  # no landscape has tokens of both kinds
    both = rule_descriptions.describe_firing((k <= 2) & (distance > 0.8), tokens)
    first, second = both.text.split(" and ")
    assert first.startswith("distance > 0.") and second == "k ≤ 2"
    assert both.auroc.estimate > 0.99 and both.within > 0.99 and both.landscape < 0.95
    either = rule_descriptions.describe_firing((k <= 2) | (distance > 0.8), tokens).text.split(", or ")
    assert sorted(part.split(" > ")[0] for part in either) == ["distance", "k ≤ 2"]
    away = rule_descriptions.describe_firing((k > 3) & (k <= 6), tokens)
    assert away.text == "3 < k ≤ 6" and away.auroc.estimate == 1
    path = rule_descriptions.describe_firing(columns["kind"].numpy() == 0, tokens)
    assert path.text == "at a noised answer"
    rng = np.random.default_rng(2)
    shuffled = [rule_descriptions.shuffled_auroc(k <= 2, tokens, rng) for _ in range(10)]
    assert abs(np.mean(shuffled) - 0.5) < 0.03
    noise = rule_descriptions.describe_firing(rng.random(len(k)) < 0.3, tokens)
    assert noise.auroc.low < 0.53 and abs(noise.auroc.estimate - 0.5) < 0.08


def test_no_problem_is_on_both_sides_and_a_rule_about_problems_does_not_carry_over(described):
    tokens, _ = described
    fitting, testing = (set(tokens.problem[part]) for part in (tokens.fitting, tokens.testing))
    assert len(fitting) == len(testing) == 20 and not fitting & testing
    assert tokens.fitting.sum() == tokens.testing.sum() == 800
    # Firing drawn problem by problem: what the tree learns by heart is worth nothing elsewhere.
    rng = np.random.default_rng(3)
    found = [rule_descriptions.describe_firing((rng.random(40) < 0.5)[tokens.problem], tokens) for _ in range(8)]
    assert abs(np.mean([rule.auroc.estimate for rule in found]) - 0.5) < 0.12
    width = [rule.auroc.high - rule.auroc.low for rule in found]
    assert min(width) > 0.2  # the problem is the unit: 800 tokens would give 0.08


def test_a_feature_that_always_or_never_fires_has_no_rule(described):
    tokens, _ = described
    always = rule_descriptions.describe_firing(np.ones(len(tokens.problem), bool), tokens)
    assert always.text == "fires on every token: there is no rule to find" and always.auroc is None
    rare = np.zeros(len(tokens.problem), bool)
    assert rule_descriptions.describe_firing(rare, tokens).text.startswith("never fires")
    rare[:3] = True
    assert "0.2%" in rule_descriptions.describe_firing(rare, tokens).text
    assert np.isnan(rule_descriptions.shuffled_auroc(rare, tokens, np.random.default_rng(0)))


def test_firing_by_what_there_is(tokens):
    k, problem, kind, distance = (tokens[c] for c in ("landscape", "problem", "kind", "distance"))
    steep = np.arange(40.0)
    f = np.stack([2.0 * (k <= 2), (distance > 0.6) * 1.0, kind * steep[problem], np.zeros(len(k))], 1)
    found = rule_descriptions.firing(f, tokens, {"size": steep, "other": np.arange(40) % 2})
    np.testing.assert_array_equal(found.by_landscape[0], np.arange(10) <= 2)
    np.testing.assert_array_equal(found.by_kind[2], [0, 39 / 40])
    assert found.by_distance[1, :2].max() == 0 and found.by_distance[1, -1] == 1
    np.testing.assert_allclose(found.rate[[0, 3]], [0.3, 0])
    np.testing.assert_allclose(found.strength[[0, 3]], [2, 0])
    assert found.rho[2, 0] == pytest.approx(1) and found.p[2, 0] < 1e-6
    assert abs(found.rho[2, 1]) < 0.1 and found.p[2, 1] > 0.5
    assert found.rho[0, 0] == 0 and found.p[0, 0] > 0.9  # the same mean in every problem


def test_strongest_tokens_are_of_different_problems():
    problem = np.repeat(np.arange(3), 3)
    f = np.array([[1, 9, 8, 2, 7, 0, 0, 0, 0]]).T
    assert rule_descriptions.strongest(f, problem, 3).tolist() == [[1, 4, -1]]


def test_null_directions_fire_as_often_as_asked(generator):
    x = torch.randn(500, 6, generator=generator) * torch.tensor([9.0, 1, 1, 1, 1, 1])
    fires, directions = rule_descriptions.null_firing(x, torch.cov(x.T), [0.0, 0.1, 0.5], generator)
    np.testing.assert_allclose(fires.mean(0), [0, 0.1, 0.5])
    assert directions.shape == (3, 6)
    along = x @ directions[1]
    assert along[fires[:, 1]].min() > along[~fires[:, 1]].max()
