"""Dictionaries of a layer put beside each other: floors and ceilings, agreement, the rule that chooses."""

import numpy as np
import pytest
import torch
from pandas import DataFrame

from ired.instruments.core import states
from ired.instruments.dictionaries import sparse_autoencoder, study
from ired.instruments.dictionaries.activations import Moments, Shards
from ired.instruments.dictionaries.study import DictionaryBench, operating_point
from ired.instruments.dictionaries.training import Plan
from ired.model.sampling import SamplingConfig, sample


@pytest.fixture
def bench(network, problems, generator):
    """fc2 of a network of width 32, 400 tokens to learn from and 60 held out."""
    network = network.float()
    A = problems.float()
    y0 = states.answers(network, A)
    kept, moments = {}, Moments(10)
    for split, draws in (("train", 40), ("held_out", 1)):
        xs = []
        for k in range(10):
            y, _ = states.noised(network, y0, k, draws, generator)
            xs.append(network.activations(A, y, k)["fc2"].flatten(0, 1).detach())
        landscape = torch.arange(10).repeat_interleave(6 * draws)
        kept[Shards.name(split, 0, "fc2")] = {"x": torch.cat(xs)}
        kept[Shards.name(split, 0, "tokens")] = {"landscape": landscape}
    moments.add(kept["train-0000-fc2"]["x"], kept["train-0000-tokens"]["landscape"])
    index = {"widths": {"fc2": 32}, "tokens": {"train": [2400], "held_out": [60]}}

    def answer(energy):
        start = network.coordinates.noise(6, generator=torch.Generator().manual_seed(0))
        found = sample(energy, A, SamplingConfig(inner_steps=2), start=start)
        return (found - y0).pow(2).mean(1)

    own = {f"fc2.{name}": getattr(moments, name) for name in ("mean", "covariance", "means")}
    return DictionaryBench.of(network, "fc2", Shards(index, kept.__getitem__), own, A, y0, answer, 0)


def test_everything_kept_is_the_network_and_nothing_kept_the_floor(bench):
    mean, scale = bench.standard
    judged = bench.judge(
        {
            "all": sparse_autoencoder.neurons(mean, scale, 32),
            "mean": study.constant_dictionary(mean, mean, scale),
            "zero": study.constant_dictionary(0 * mean, mean, scale),
        }
    )
    rows = study.dictionary_table(judged).set_index("name")
    own = bench.answer(bench.energy).mean().item()
    assert rows.loc["all", "mse"] == pytest.approx(own, rel=1e-3)
    for what in ("explained", "gap", "score", "through", "score_of_constant"):
        assert rows.loc["all", what] == pytest.approx(1, abs=1e-3)
    for name in ("mean", "zero"):
        assert rows.loc[name, "gap"] == pytest.approx(0, abs=1e-3)
        assert rows.loc[name, "score_of_constant"] == pytest.approx(0, abs=1e-6)
        assert rows.loc[name, "l0"] == 0
        assert rows.loc[name, "gap_low"] <= rows.loc[name, "gap"] <= rows.loc[name, "gap_high"]
    x = bench.shards.read("held_out-0000-fc2")["x"]
    expected = 1 - x.pow(2).sum() / (x - mean).pow(2).sum()
    assert rows.loc["zero", "explained"] == pytest.approx(expected.item(), abs=1e-5)


@pytest.mark.slow
def test_a_study_holds_all_it_promises(bench):
    found = study.study_dictionaries(bench, "batchtopk", 48, 6, 2, Plan(30, rate=1e-2), 64, lambda n: None)
    assert found.chosen == {
        "layer": "fc2",
        "primary": "batchtopk-48-l0_6-seed0",
        "seeds": ["batchtopk-48-l0_6-seed0", "batchtopk-48-l0_6-seed1"],
    }
    assert set(found.named) == {
        *(f"{kind}-48-l0_6-seed{seed}" for kind in sparse_autoencoder.ARCHITECTURES for seed in range(2)),
        "frozen",
        "pca",
        "pca, first",
        "ica",
        "neurons",
        "mean",
        "zero",
    }
    packed = found.pack()
    for name, one in found.named.items():
        again = sparse_autoencoder.Dictionary.unpack(name, *packed)
        assert torch.equal(again.decoder, one.decoder) and again.kind == one.kind
    tables = found.tables()
    assert len(tables["dictionaries"]) == 15 and len(tables["features"]) == 48
    assert set(tables["stability"]["architecture"]) == set(sparse_autoencoder.ARCHITECTURES)
    own = tables["dictionaries"].set_index("name").loc["batchtopk-48-l0_6-seed0"]
    verdicts = found.verdicts()
    assert verdicts["gap_recovered"] == (own.gap_low >= 0.9, {"share": own.gap, "low": own.gap_low})
    assert verdicts["few_dead_features"][0] == (own.dead < 0.1)
    null = tables["stability"].set_index("architecture").loc["batchtopk"]
    assert verdicts["stable_over_seeds"][0] == (null.low > null.highest_null)


def test_a_features_stability_is_its_own(bench):
    mean, scale = bench.standard
    generator = torch.Generator().manual_seed(0)
    D = torch.randn(20, 32, generator=generator)
    one = sparse_autoencoder.given_dictionary("topk", D, mean, scale, 3)
    other = sparse_autoencoder.given_dictionary("topk", D[torch.randperm(20, generator=generator)], mean, scale, 3)
    np.testing.assert_allclose(study.feature_stability(one, [other, other]), 1, atol=1e-6)
    changed = D.clone()
    changed[4] = torch.randn(32, generator=generator)
    seen = study.feature_stability(one, [sparse_autoencoder.given_dictionary("topk", changed, mean, scale, 3)])
    assert seen[4] < 0.6 and np.delete(seen, 4).min() > 0.999


def rows(*members):
    return DataFrame(members, columns=["name", "l0", "features", "dead", "gap", "score"])


def test_the_rule_chooses_the_sparsest_that_meets_all():
    good = rows(
        ("dense", 60.0, 100, 0.0, 0.99, 0.99),
        ("sparse", 20.0, 200, 0.0, 0.95, 0.90),
        ("smaller", 20.0, 100, 0.0, 0.95, 0.90),
        ("dead", 10.0, 100, 0.1, 0.95, 0.95),
        ("blind", 9.0, 100, 0.0, 0.95, 0.89),
    )
    assert operating_point(good) == ("smaller", True)
    bad = rows(("one", 5.0, 10, 0.0, 0.99, 0.2), ("two", 50.0, 10, 0.5, 0.6, 0.5))
    assert operating_point(bad) == ("two", False)
