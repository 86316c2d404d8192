"""Stored activations are the model's own, and what is broken is named."""

import pytest
import torch

from ired.instruments.core import states
from ired.instruments.dictionaries import activations
from ired.instruments.dictionaries.activations import BadActivations, Moments, Shards, ShardWriter
from ired.model.sampling import AnnealedSampler


@pytest.fixture
def tokens(network, problems, generator):
    y0 = states.answers(network, problems)
    start = states.noise(network, len(problems), generator=torch.Generator().manual_seed(0), like=problems)
    return activations.collect(network, problems, y0, AnnealedSampler(inner_steps=3), start, 2, generator, first=5)


def test_what_is_collected_equals_what_the_model_computes(network, problems, tokens):
    assert len(tokens.y) == 6 * 10 * (2 + 2)
    assert tokens.problem.unique().tolist() == [5, 6, 7, 8, 9, 10]
    own = network.activations(problems[tokens.problem - 5], tokens.y.double(), tokens.landscape)
    for layer in activations.LAYERS:
        torch.testing.assert_close(tokens.activations[layer], own[layer].float(), atol=1e-5, rtol=1e-5)
        assert tokens.activations[layer].dtype == torch.float32


def test_a_changed_token_is_noticed(network, problems, tokens, generator):
    index = {"widths": dict.fromkeys(activations.LAYERS, 32), "tokens": {"train": [240], "held_out": [240]}}
    kept = {Shards.name("train", 0, layer): {"x": x} for layer, x in tokens.activations.items()}
    kept[Shards.name("train", 0, "tokens")] = tokens.columns() | {"problem": tokens.problem - 5}
    kept |= {name.replace("train", "held_out"): value for name, value in kept.items()}
    shards = Shards(index, kept.__getitem__)
    sets = {f"{split}.A": problems.float() for split in activations.SPLITS}
    network.float()
    assert activations.disagreement(shards, network, sets, generator) < 1e-5
    kept["train-0000-fc2"]["x"][17] *= 1.001
    kept["train-0000-fc2"]["x"][200, 3] += 0.1
    assert activations.disagreement(shards, network, sets, generator) > 1e-3


def test_tokens_lie_where_they_say(network, problems, tokens):
    y0 = states.answers(network, problems)
    for k in (0, 9):
        here = tokens.landscape == k
        centre = states.centre(network, y0[tokens.problem[here] - 5], k)
        away = (tokens.y[here].double() - centre).norm(dim=1) / states.noise_radius(network, k)
        torch.testing.assert_close(tokens.distance[here], away.float())
    noised = tokens.kind == 0
    assert tokens.distance[noised].mean() == pytest.approx(1, abs=0.1)
    assert set(tokens.step[~noised].tolist()) == {0, 3} and not tokens.step[noised].any()


def test_moments_of_shards_are_those_of_all(generator):
    x = torch.randn(300, 4, generator=generator) * torch.tensor([1.0, 2.0, 3.0, 0.1]) + 1
    k = torch.arange(300) % 3
    x[k == 2] += 5
    moments = Moments(3)
    for part, landscape in zip(x.split(77), k.split(77), strict=True):
        moments.add(part, landscape)
    torch.testing.assert_close(moments.mean, x.double().mean(0))
    torch.testing.assert_close(moments.covariance, torch.cov(x.double().mT, correction=0))
    torch.testing.assert_close(moments.means[2], x[k == 2].double().mean(0))
    seen = moments.summary()
    flat = x.double() - moments.mean
    between = torch.stack([x[k == i].double().mean(0) for i in range(3)]) - moments.mean
    assert seen["between_landscapes"] == pytest.approx(float(between.pow(2).sum() * 100 / flat.pow(2).sum()))
    assert seen["positive"] == pytest.approx((x > 0).double().mean().item())
    assert seen["mean_square"] == pytest.approx(x.double().pow(2).mean().item())
    assert 1 < seen["participation"] < 4


def stored(generator):
    """Two shards of training tokens and one held out, as a script stores them."""
    x = {("train", 0): 8, ("train", 1): 12, ("held_out", 0): 5}
    kept = {Shards.name(s, i, "fc1"): {"x": torch.randn(n, 3, generator=generator)} for (s, i), n in x.items()}
    kept |= {Shards.name(s, i, "tokens"): {"problem": torch.arange(n)} for (s, i), n in x.items()}
    index = {"widths": {"fc1": 3}, "tokens": {"train": [8, 12], "held_out": [5]}, "landscapes": 10}
    return Shards(index, kept.__getitem__), kept


@pytest.mark.parametrize("memory", [0, 2**20], ids=["one by one", "all at once"])
def test_batches_visit_every_token_once_a_round(generator, memory):
    shards, kept = stored(generator)
    reads = []
    shards.read = lambda name: reads.append(name) or kept[name]
    batches = shards.batches("fc1", 4, generator, memory)
    first, second = (torch.cat([next(batches) for _ in range(5)]) for _ in range(2))
    parts = [kept[f"train-000{i}-fc1"]["x"] for i in range(2)]
    everything = torch.cat(parts)
    for seen in (first, second):
        assert torch.equal(seen.sort(0).values, everything.sort(0).values)
    assert not torch.equal(first, second)
    if memory:
        assert len(reads) == 2
        # Tokens of both shards meet in one batch.
        homes = [[any((row == x).all() for x in parts[0]) for row in batch] for batch in first.split(4)]
        assert any(0 < sum(home) < 4 for home in homes)
    assert shards.count("train") == 20 and len(shards.columns("held_out")["problem"]) == 5


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda kept: kept.update({"train-0000-fc1": {"x": torch.ones(7, 3)}}), "holds \\(7, 3\\)"),
        (lambda kept: kept["train-0000-fc1"]["x"].__setitem__((2, 1), torch.nan), "in token 2"),
    ],
    ids=["short", "nan"],
)
def test_a_broken_shard_is_named(generator, spoil, message):
    shards, kept = stored(generator)
    spoil(kept)
    with pytest.raises(BadActivations, match=f"train-0000-fc1 holds .*{message.split('holds ')[-1]}"):
        list(shards.activations("train", "fc1"))


def test_a_layer_that_does_not_exist_and_a_batch_too_large_are_named(generator):
    shards, _ = stored(generator)
    with pytest.raises(BadActivations, match="no layer 'fc7' among these activations: fc1"):
        list(shards.activations("train", "fc7"))
    with pytest.raises(BadActivations, match="batch of 9"):
        next(shards.batches("fc1", 9, generator))


def test_shards_that_are_written_can_be_read(network, problems):
    """Three problems a shard: numbered on, drawn from one stream, with the moments of what is learned from."""
    stored, sampler = {}, AnnealedSampler(inner_steps=3)
    writer = ShardWriter(stored.__setitem__, landscapes=10, source="run")
    for split, seed in zip(activations.SPLITS, (1, 2), strict=True):
        generator = torch.Generator().manual_seed(seed)
        for tokens in activations.in_shards(network, problems, sampler, 2, generator, size=3):
            writer.add(split, tokens)
    shards = Shards.of(writer.index, stored.__getitem__, "run")
    assert writer.index["tokens"] == {"train": [120, 120], "held_out": [120, 120]}
    assert shards.columns("train")["problem"].unique().tolist() == list(range(6))
    sets = {f"{split}.A": problems.float() for split in activations.SPLITS}
    assert activations.disagreement(shards, network.float(), sets, torch.Generator()) < 1e-5
    moments = writer.moment_tensors()
    x = torch.cat(list(shards.activations("train", "fc2"))).double()
    torch.testing.assert_close(moments["fc2.mean"], x.mean(0))
    torch.testing.assert_close(moments["fc2.covariance"], torch.cov(x.mT, correction=0))
    assert moments["fc3.means"].shape == (10, 32)
