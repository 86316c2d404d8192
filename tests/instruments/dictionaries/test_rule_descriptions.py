"""Rules whose words and worth are known."""

import numpy as np

from ired.instruments.dictionaries import rule_descriptions


def test_planted_rules_are_found_and_shuffled_ones_are_not(described):
    tokens, columns = described
    k, distance = columns["landscape"].numpy(), columns["distance"].numpy()
    found = rule_descriptions.describe(k <= 2, tokens)
    assert found.text == "k ≤ 2" and found.auroc.estimate == found.auroc.low == 1
    assert (found.inside, found.outside, found.landscape) == (1, 0, 1)
    assert found.within == 0.5  # no landscape has tokens of both kinds
    both = rule_descriptions.describe((k <= 2) & (distance > 0.8), tokens)
    first, second = both.text.split(" and ")
    assert first.startswith("distance > 0.") and second == "k ≤ 2"
    assert both.auroc.estimate > 0.99 and both.within > 0.99 and both.landscape < 0.95
    either = rule_descriptions.describe((k <= 2) | (distance > 0.8), tokens).text.split(", or ")
    assert sorted(part.split(" > ")[0] for part in either) == ["distance", "k ≤ 2"]
    away = rule_descriptions.describe((k > 3) & (k <= 6), tokens)
    assert away.text == "3 < k ≤ 6" and away.auroc.estimate == 1
    path = rule_descriptions.describe(columns["kind"].numpy() == 0, tokens)
    assert path.text == "at a noised answer"
    rng = np.random.default_rng(2)
    shuffled = [rule_descriptions.shuffled_auroc(k <= 2, tokens, rng) for _ in range(10)]
    assert abs(np.mean(shuffled) - 0.5) < 0.03
    noise = rule_descriptions.describe(rng.random(len(k)) < 0.3, tokens)
    assert noise.auroc.low < 0.53 and abs(noise.auroc.estimate - 0.5) < 0.08


def test_no_problem_is_on_both_sides_and_a_rule_about_problems_does_not_carry_over(described):
    tokens, _ = described
    fitting, testing = (set(tokens.problem[part]) for part in (tokens.fitting, tokens.testing))
    assert len(fitting) == len(testing) == 20 and not fitting & testing
    assert tokens.fitting.sum() == tokens.testing.sum() == 800
    # Firing drawn problem by problem: what the tree learns by heart is worth nothing elsewhere.
    rng = np.random.default_rng(3)
    found = [rule_descriptions.describe((rng.random(40) < 0.5)[tokens.problem], tokens) for _ in range(8)]
    assert abs(np.mean([rule.auroc.estimate for rule in found]) - 0.5) < 0.12
    width = [rule.auroc.high - rule.auroc.low for rule in found]
    assert min(width) > 0.2  # the problem is the unit: 800 tokens would give 0.08


def test_a_feature_that_always_or_never_fires_has_no_rule(described):
    tokens, _ = described
    always = rule_descriptions.describe(np.ones(len(tokens.problem), bool), tokens)
    assert always.text == "fires on every token: there is no rule to find" and always.auroc is None
    rare = np.zeros(len(tokens.problem), bool)
    assert rule_descriptions.describe(rare, tokens).text.startswith("never fires")
    rare[:3] = True
    assert "0.2%" in rule_descriptions.describe(rare, tokens).text
    assert np.isnan(rule_descriptions.shuffled_auroc(rare, tokens, np.random.default_rng(0)))
