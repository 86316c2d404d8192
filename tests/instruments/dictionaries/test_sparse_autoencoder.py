"""Dictionaries: by hand, on planted directions, and their gradients against autograd."""

import json

import numpy as np
import pytest
import torch

from ired.instruments.core.random_directions import covariance_matched
from ired.instruments.dictionaries import sparse_autoencoder as dictionaries, study
from ired.instruments.dictionaries.sparse_autoencoder import Dictionary, DictionaryError
from ired.instruments.dictionaries.training import DictionaryTrainer, Member, Plan, train_dictionaries

ARCHITECTURES = dictionaries.ARCHITECTURES


def by_hand(kind="relu", k=0):
    """Two features along the axes of the plane, the second with threshold 0.5."""
    eye = torch.eye(2, dtype=torch.float64)
    nothing = eye.new_zeros(2)
    return Dictionary(
        kind, eye, nothing, eye, nothing, eye.new_tensor([1.0, 2.0]), eye.new_tensor(2.0), eye.new_tensor([0.0, 0.5]), k
    )


def test_quality_by_hand():
    x = torch.tensor([[3.0, 2.0], [1.0, 6.0], [-1.0, 2.0], [3.0, 4.0]], dtype=torch.float64)
    # Standardised: (1, 0), (0, 2), (−1, 0), (1, 1). relu drops the −1: it misses 2² of 4+16+4+8.
    landscape, means = torch.tensor([0, 0, 1, 1]), torch.tensor([[2.0, 4.0], [1.0, 3.0]])
    seen = dictionaries.quality(by_hand(), [x[:3], x[3:]], landscape, means)
    assert seen.explained == pytest.approx(1 - 4 / 32)
    # Around the landscapes' means: (1, −2), (−1, 2), (−2, −1), (2, 1).
    assert seen.explained_within == pytest.approx(1 - 4 / 20)
    assert seen.l0 == pytest.approx(4 / 4)
    np.testing.assert_allclose(seen.rates, [0.5, 0.5])
    assert (seen.dead, seen.dense) == (0, 0)
    one = dictionaries.quality(by_hand("topk", 1), [x], landscape, means)
    assert one.l0 == pytest.approx(3 / 4) and one.explained == pytest.approx(1 - (4 + 4) / 32)
    large = dictionaries.quality(by_hand("largest", 1), [x], landscape, means)
    assert large.explained == pytest.approx(1 - 4 / 32)
    x[3, 1] = 2.8  # 0.4, below the threshold of 0.5
    seen = dictionaries.quality(by_hand("threshold"), [x], landscape, means)
    assert seen.l0 == pytest.approx(3 / 4)
    with pytest.raises(DictionaryError, match="width 2 was given width 3"):
        by_hand().encode(torch.ones(1, 3))


def test_given_directions_rebuild_what_they_span():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(500, 6, generator=generator) @ torch.randn(6, 6, generator=generator) + 3
    mean, covariance = x.mean(0), torch.cov(x.mT)
    mean, scale = dictionaries.activation_standardisation(mean, covariance)
    landscape, means = torch.zeros(500, dtype=torch.long), mean[None]

    def explained(d):
        return dictionaries.quality(d, [x], landscape, means).explained

    assert explained(dictionaries.neurons(mean, scale, 6)) == pytest.approx(1)
    found = dictionaries.pca_dictionaries(covariance, mean, scale, 2)
    values = torch.linalg.eigvalsh(covariance).flip(0)
    expected = (values[:2].sum() / values.sum()).item()
    assert explained(found["pca, first"]) == pytest.approx(expected, abs=1e-4)
    assert expected < explained(found["pca"]) < 1
    assert explained(dictionaries.independent(x, mean, scale, 6)) == pytest.approx(1, abs=1e-5)
    matched = covariance_matched(covariance, 20000, generator)
    shape = (matched.mT @ matched / len(matched)).double()
    leading = torch.linalg.eigh(covariance.double()).eigenvectors[:, -1]
    assert (leading @ shape @ leading) > 2 / 6
    with pytest.raises(DictionaryError, match="do not vary"):
        dictionaries.activation_standardisation(mean, torch.zeros(6, 6))


@pytest.mark.parametrize(("kind", "k"), [("relu", 0), ("threshold", 0), ("topk", 1), ("largest", 1), ("all", 0)])
def test_decoding_what_fires_is_decoding_all(kind, k):
    one, x = by_hand(kind, k), torch.randn(7, 2, dtype=torch.float64) * 4
    f = one.encode(x)
    torch.testing.assert_close(one.decode_active(f), one.decode(f))
    torch.testing.assert_close(one.decode_active(0 * f), one.decode(0 * f))


def test_a_constant_is_what_it_says():
    mean, value = torch.tensor([1.0, 2.0]), torch.tensor([0.5, -3.0])
    one = study.constant_dictionary(value, mean, torch.tensor(2.0))
    torch.testing.assert_close(one(torch.randn(5, 2)), value.expand(5, 2))
    assert not one.encode(torch.randn(5, 2)).any()


def test_a_dictionary_survives_its_packing():
    tensors, note = by_hand("topk", 1).pack("one")
    again = Dictionary.unpack("one", tensors, note)
    x = torch.randn(4, 2, dtype=torch.float64)
    assert again.k == 1 and torch.equal(again(x), by_hand("topk", 1)(x))
    with pytest.raises(DictionaryError, match="no dictionary 'two'"):
        Dictionary.unpack("two", tensors, note)
    chosen = {"layer": "fc1", "primary": "one", "source": "a run"}
    assert dictionaries.chosen_dictionary(chosen, (tensors, note), "a run").k == 1
    with pytest.raises(DictionaryError, match="of the model of run a run, not of another"):
        dictionaries.chosen_dictionary(chosen, (tensors, note), "another")


def test_matching_finds_a_permutation_and_chance_is_known():
    generator = torch.Generator().manual_seed(0)
    D = torch.randn(40, 30, generator=generator)
    order = torch.randperm(40, generator=generator)
    np.testing.assert_allclose(dictionaries.matched_cosines(D, D[order]), 1)
    np.testing.assert_allclose(dictionaries.matched_cosines(D, D[order[:25]]), 1)
    seen = dictionaries.dictionary_stability([D, D[order], D], torch.eye(30), generator)
    assert seen.cosine.estimate == pytest.approx(1)
    assert seen.null < 0.6 and abs(seen.null - seen.isotropic) < 0.03
    steep = torch.diag(torch.logspace(0, -4, 30))
    assert dictionaries.dictionary_stability([D, D], steep, generator).null > seen.null + 0.2


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gradients_agree_with_autograd(architecture):
    """Two members of different sizes, one of them with dead features, in float64."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(12, 5, generator=generator, dtype=torch.float64)
    members = [Member(architecture, 9, 2, seed=3), Member(architecture, 7, 3, seed=4)]
    plan = Plan(10, patience=3, auxiliary=0.5)
    trainer = DictionaryTrainer(members, plan, x.new_zeros(5), x.new_ones(()), x)
    trainer.encoder.add_(0.1 * torch.randn(16, 5, generator=generator, dtype=torch.float64))
    trainer.since[[0, 4, 11]] = 9
    codes, u = trainer.encode(x)
    since = trainer.since.clone()
    trainer.differentiate(x, u, codes)

    W, b, D, theta, c = (
        v.clone().requires_grad_()
        for v in (trainer.encoder, trainer.encoder_bias, trainer.decoder, trainer.threshold, trainer.bias)
    )
    loss = 0
    for place, (member, own) in enumerate(zip(members, trainer.slices, strict=True)):
        u = x @ W[own].mT + b[own]
        active = torch.zeros_like(u)
        if architecture == "topk":
            active.scatter_(1, u.topk(member.sparsity, dim=1).indices, 1.0)
        elif architecture == "batchtopk":
            kept = u.flatten().topk(member.sparsity * len(x)).indices
            active.view(-1)[kept] = 1.0
        else:
            active = (u > theta[own]).double()
        f = u * active * (u > 0)
        fires = (f > 0).double()
        if architecture == "jumprelu":
            near = ((u - theta[own]).abs() < plan.bandwidth / 2).double() / plan.bandwidth
            # Numerically 0, with the gradients of eq. 11 and 12 of Rajamanoharan et al. 2024.
            step = -(theta[own] - theta[own].detach()) * near.detach()
            f = f + theta[own].detach() * step
            l0 = (fires + step).sum(1).mean()
            loss = loss + plan.pressure * (l0 / member.sparsity - 1) ** 2
        if architecture == "l1":
            loss = loss + trainer.price[place] * f.sum(1).mean()
        error = f @ D[own] + c[place] - x
        loss = loss + error.pow(2).mean()
        gone = (since[own] + 1 > plan.patience) & (fires.sum(0) == 0)
        if gone.any():
            kept = u[:, gone].topk(min(2 * member.sparsity, int(gone.sum())), dim=1)
            spare = torch.zeros_like(u[:, gone]).scatter(1, kept.indices, kept.values.relu())
            loss = loss - 1e-2 * plan.auxiliary * b[own][gone].sum()
            loss = loss + plan.auxiliary * (spare @ D[own][gone] + error.detach()).pow(2).mean()
    loss.backward()
    on_sphere = D.grad - (D.grad * D).sum(1, keepdim=True) * D
    for ours, theirs in (
        (trainer.encoder, W.grad),
        (trainer.encoder_bias, b.grad),
        (trainer.decoder, on_sphere),
        (trainer.threshold, theta.grad if theta.grad is not None else torch.zeros(16)),
        (trainer.bias, c.grad),
    ):
        torch.testing.assert_close(ours.grad, theirs.detach().to(ours), atol=1e-12, rtol=1e-10)


def planted(generator, count=96, width=16, active=3):
    """A dictionary (count, width) of unequal frequencies and a stream of batches of it."""
    D = torch.nn.functional.normalize(torch.randn(count, width, generator=generator), dim=1)
    rates = torch.logspace(0, -1, count)
    rates *= active / rates.sum()

    def batches(size=256):
        while True:
            on = torch.rand(size, count, generator=generator) < rates
            s = on * (0.5 + torch.rand(size, count, generator=generator))
            yield s @ D + 0.01 * torch.randn(size, width, generator=generator)

    return D, batches()


@pytest.mark.slow
def test_a_planted_dictionary_is_recovered_at_the_right_sparsity_and_not_at_a_wrong_one():
    """At a wrong one more variance is explained, and less of the truth is found."""
    generator = torch.Generator().manual_seed(0)
    D, batches = planted(generator)
    x = torch.cat([next(batches) for _ in range(8)])
    mean, scale = dictionaries.activation_standardisation(x.mean(0), torch.cov(x.mT))
    members = [*(Member(a, 128, 3) for a in ARCHITECTURES), Member("topk", 128, 128)]
    found, curve = train_dictionaries(members, Plan(500, rate=4e-3), batches, mean, scale)
    cosine, sure, explained = [], [], []
    for member, learned in found.items():
        seen = dictionaries.quality(learned, [x], torch.zeros(len(x), dtype=torch.long), mean[None])
        alive = learned.decoder[torch.from_numpy(seen.rates > 0)]
        cosines = dictionaries.matched_cosines(D, alive)
        cosine.append(cosines.mean())
        sure.append((cosines > 0.97).sum() / len(D))
        explained.append(seen.explained)
        if member != members[-1]:
            assert seen.l0 == pytest.approx(3, rel=0.35), member.name
    chance = dictionaries.matched_cosines(D, torch.randn(128, 16, generator=generator)).mean()
    assert sum(c >= 0.9 for c in cosine[:4]) >= 2 and min(cosine[:4]) > chance + 0.2
    wrong, right = len(members) - 1, 1
    assert explained[wrong] > 0.95 > explained[right]
    assert sure[wrong] < 0.2 and sure[right] > 0.75, (cosine, sure, explained)
    assert {row["member"] for row in curve} == {m.name for m in members}


@pytest.mark.slow
def test_dead_features_are_revived():
    """Of features that start out of reach fewer stay dead than without the help."""
    generator = torch.Generator().manual_seed(0)
    _, batches = planted(generator)
    x = next(batches)
    mean, scale = dictionaries.activation_standardisation(x.mean(0), torch.cov(x.mT))
    dead = {}
    for auxiliary in (0.0, 1 / 32):
        plan = Plan(500, rate=1e-2, auxiliary=auxiliary, patience=10)
        trainer = DictionaryTrainer([Member("topk", 96, 3)], plan, mean, scale, x)
        trainer.encoder_bias[:48] = -2.5
        for _ in range(plan.steps):
            trainer.learn(next(batches))
        learned = trainer.dictionaries()[trainer.members[0]]
        dead[auxiliary] = ((learned.encode(x) != 0).sum(0) == 0).float().mean()
    assert dead[0.0] > 0.15 and dead[1 / 32] < 0.6 * dead[0.0], dead


def test_members_trained_together_are_those_trained_alone():
    generator = torch.Generator().manual_seed(0)
    _, batches = planted(generator)
    data = [next(batches) for _ in range(21)]
    mean, scale = dictionaries.activation_standardisation(data[0].mean(0), torch.cov(data[0].mT))
    members = [Member(a, 32 + 8 * i, 3, seed=i) for i, a in enumerate(ARCHITECTURES)]
    together, _ = train_dictionaries(members, Plan(20), iter(data), mean, scale)
    for member in members:
        alone, _ = train_dictionaries([member], Plan(20), iter(data), mean, scale)
        pairs = zip(together[member].pack("")[0].values(), alone[member].pack("")[0].values(), strict=True)
        for ours, theirs in pairs:
            torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


class Kept:
    """A checkpoint in memory, always due."""

    def __init__(self):
        self.found = None

    def load(self):
        return self.found

    def due(self):
        return True

    def save(self, tensors, notes):
        self.found = {name: value.clone() for name, value in tensors.items()}, json.loads(json.dumps(notes))


def test_an_interrupted_training_ends_as_an_undisturbed_one():
    """Bit for bit, wherever it was interrupted, learning curves included."""
    generator = torch.Generator().manual_seed(0)
    _, batches = planted(generator)
    data = [next(batches) for _ in range(31)]
    mean, scale = dictionaries.activation_standardisation(data[0].mean(0), torch.cov(data[0].mT))
    members = [Member(a, 40, 3, seed=i) for i, a in enumerate(ARCHITECTURES)]
    plan = Plan(30, patience=5)
    whole, curve = train_dictionaries(members, plan, iter(data), mean, scale, every=4)
    kept, made = Kept(), []

    def stop(steps):
        made.append(steps)
        if len(made) == 13:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_dictionaries(members, plan, iter(data), mean, scale, on_step=stop, every=4, checkpoint=kept)
    assert kept.found[1]["step"] == 13
    made = []
    again, resumed = train_dictionaries(
        members, plan, iter(data), mean, scale, on_step=made.append, every=4, checkpoint=kept
    )
    assert made == [13, *[1] * 17] and resumed == curve
    for member in members:
        for ours, theirs in zip(again[member].pack("")[0].values(), whole[member].pack("")[0].values(), strict=True):
            assert torch.equal(ours, theirs)


def test_a_frozen_decoder_stays_and_wrong_members_are_named():
    generator = torch.Generator().manual_seed(0)
    D, batches = planted(generator)
    x = next(batches)
    mean, scale = dictionaries.activation_standardisation(x.mean(0), torch.cov(x.mT))
    member = Member("topk", 96, 3, frozen=True)
    found, _ = train_dictionaries([member], Plan(5), batches, mean, scale, {member: D})
    torch.testing.assert_close(found[member].decoder, D)
    assert not torch.equal(found[member].encoder, D)
    with pytest.raises(ValueError, match="unknown architecture 'sparse'"):
        Member("sparse", 8, 2)
    with pytest.raises(ValueError, match="9 of 8 features"):
        Member("topk", 8, 9)
