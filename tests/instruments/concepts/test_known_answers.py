"""Sound instruments recover the known answers of concepts, and broken ones are named."""

import numpy as np
import pytest
import torch

from ired.instruments.concepts import cav, known_answers, pairs, regions, tcav
from ired.instruments.concepts.cav import PRIMARY


def missed(checks):
    return [str(check) for check in checks if not check.passed]


def test_planted_data_are_found():
    assert missed(known_answers.check_concepts(torch.Generator().manual_seed(0))) == []


def test_heads_have_their_exact_scores(references):
    assert missed(known_answers.check_tcav(references, torch.Generator().manual_seed(0))) == []


@pytest.mark.parametrize(
    "module, name, spoil, what",
    [
        (cav, "fit", lambda vector: np.roll(vector, 1), "primary CAV"),
        (cav, "random_cavs", lambda vectors: np.abs(vectors), "random labels"),
        (regions, "accuracies", lambda right: right | {"region": right["linear"]}, "region"),
        (pairs, "matched_pairs", lambda rows: rows[np.argsort(rows[:, 0])] * 0 + [[0, 1]], "after it"),
    ],
    ids=["direction", "null", "region", "matching"],
)
def test_a_broken_instrument_is_named(monkeypatch, module, name, spoil, what):
    sound = getattr(module, name)
    monkeypatch.setattr(module, name, lambda *a, **k: spoil(sound(*a, **k)))
    with np.errstate(all="ignore"):
        lines = missed(known_answers.check_concepts(torch.Generator().manual_seed(0)))
    assert any(what in line for line in lines)


def test_broken_slopes_are_named(references, monkeypatch):
    sound = tcav._slope
    monkeypatch.setattr(tcav, "_slope", lambda *a, **k: 1.1 * sound(*a, **k))
    assert missed(known_answers.check_tcav(references, torch.Generator().manual_seed(0)))


def test_planted_data_choose_the_method():
    for seed in range(4):
        primary, cosines = known_answers.chosen(np.random.default_rng(seed))
        assert primary == PRIMARY
        # What the others do: filters turn away from noise and bend less to the confounder; a plain
        # pattern goes after it.
        assert cosines["filter"][0] < 0.95 and cosines["filter"][1] > cosines["filter"][2]
        assert cosines["pattern"][0] >= 0.95 and cosines["pattern"][2] > cosines["pattern"][1]
