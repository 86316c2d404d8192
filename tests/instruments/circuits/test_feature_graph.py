"""Networks whose paths are planted, and graphs that are held against autograd."""

import numpy as np
import pytest
import torch

from ired.instruments.circuits import feature_graph, feature_paths
from ired.instruments.circuits.known_answers import Line, identity, some_tokens
from ired.instruments.dictionaries import features
from ired.instruments.dictionaries.sparse_autoencoder import DictionaryError, given_dictionary

WIDTH = 12


@pytest.fixture
def tokens(generator):
    h = torch.randn(60, WIDTH, generator=generator, dtype=torch.float64)
    return h, torch.randint(3, (60,), generator=generator)


def bent(generator, scale=1.0):
    """A layer that bends, differently in every landscape."""
    W = scale * torch.randn(WIDTH, WIDTH, generator=generator, dtype=torch.float64)
    gain = torch.rand(3, WIDTH, generator=generator, dtype=torch.float64) + 0.5
    return lambda h, k: torch.nn.functional.silu(h @ W.mT * gain[k])


def dictionary(generator, kind="topk", features=20):
    rows = torch.randn(features, WIDTH, generator=generator)
    return given_dictionary(kind, rows, torch.randn(WIDTH, generator=generator), torch.tensor(1.7), 4)


def test_a_planted_path_and_no_other(tokens):
    h, k = tokens
    W = torch.zeros(WIDTH, WIDTH, dtype=torch.float64)
    W[7, 2] = 1.5
    own = identity(WIDTH, "relu")
    found = feature_graph.edges(lambda h, k: (h @ W.mT).tanh(), own, own, h, k)
    assert set(zip(*found.size.nonzero(), strict=True)) == {(2, 7)}
    assert set(zip(*found.cut.nonzero(), strict=True)) == {(2, 7)}
    on = h[:, 2] > 0
    expected = (1.5 * h[on, 2] / (1.5 * h[on, 2]).cosh() ** 2).mean()
    assert found.size[2, 7] == pytest.approx(expected.item())
    assert found.cut[2, 7] == pytest.approx((1.5 * h[on, 2]).tanh().mean().item())
    assert found.targets.tolist() == [7] and found.parents() == [1 / len(found.sources)]
    assert found.share() == pytest.approx(1 / len(found.sources))
    np.testing.assert_allclose(found.within[on.numpy()], 1 / (h[on] > 0).sum(1))
    assert np.isnan(found.within[~on.numpy()]).all()


def test_edges_are_autograds_and_ablations_are_ablations(tokens, generator):
    h, k = tokens
    layer, source, target = bent(generator), dictionary(generator), dictionary(generator)
    found = feature_graph.edges(layer, source, target, h, k, memory=2**14)
    source, target = source.to(h), target.to(h)
    f, fires = source.encode(h), target.encode(layer(h, k)) != 0

    def u(h, k):
        return (layer(h, k) - target.mean) / target.scale @ target.encoder.mT

    J = torch.stack([torch.func.jacrev(u)(x[None], one[None])[0, :, 0] for x, one in zip(h, k, strict=True)])
    effect = f[:, :, None] * (J @ source.directions.mT).mT * fires[:, None]
    count = fires.sum(0).clamp_min(1)
    np.testing.assert_allclose(found.size, effect.abs().sum(0) / count, atol=1e-10)
    np.testing.assert_allclose(found.signed, effect.sum(0) / count, atol=1e-10)
    i, j = 3, int(found.targets[0])
    cut = (u(h, k) - u(h - f[:, i, None] * source.directions[i], k))[:, j] * fires[:, j]
    assert found.cut_signed[i, j] == pytest.approx((cut.sum() / count[j]).item())
    assert found.cut[i, j] == pytest.approx((cut.abs().sum() / count[j]).item())
    left = h - source.decode(f)
    rest = ((J @ left[..., None])[..., 0].abs() * fires).sum(0) / count
    np.testing.assert_allclose(found.rest, rest, atol=1e-10)
    np.testing.assert_array_equal(found.fires, (f != 0).sum(0))
    np.testing.assert_array_equal(found.count, fires.sum(0))
    plain = feature_graph.edges(layer, source, target, h, k, cut=False)
    np.testing.assert_allclose(plain.size, found.size, atol=1e-12)
    np.testing.assert_allclose(plain.within, found.within)
    assert plain.cut is None


def test_on_a_linear_layer_prediction_is_ablation(tokens, generator):
    h, k = tokens
    W = torch.randn(WIDTH, WIDTH, generator=generator, dtype=torch.float64)
    found = feature_graph.edges(lambda h, k: h @ W.mT, dictionary(generator), dictionary(generator), h, k)
    np.testing.assert_allclose(found.size, found.cut, atol=1e-10)
    agree = feature_graph.verified(found, least=3)
    for one in (agree.size, agree.signed, agree.slope):
        assert one.low == pytest.approx(1) and one.high == pytest.approx(1)


def test_ablating_an_edge_without_weight_changes_nothing(tokens, generator):
    h, k = tokens
    source, layer = dictionary(generator, "all", WIDTH), bent(generator)
    blind = layer(torch.zeros(1, WIDTH, dtype=torch.float64), torch.zeros(1, dtype=torch.long))
    found = feature_graph.edges(
        lambda h, k: blind.expand(len(h), -1) + 0 * h, source, dictionary(generator, "all"), h, k
    )
    assert (found.cut == 0).all() and (found.size == 0).all() and found.share() == 0
    with pytest.raises(DictionaryError, match="0 targets"):
        feature_graph.verified(found)


def test_bent_layers_are_verified_less_well_the_more_they_bend(tokens, generator):
    h, k = tokens
    source, target = dictionary(generator), dictionary(generator)
    slight, strong = (
        feature_graph.verified(
            feature_graph.edges(bent(torch.Generator().manual_seed(1), scale), source, target, h, k), 3
        )
        for scale in (0.01, 3.0)
    )
    assert slight.size.low > 0.99 and strong.size.estimate < slight.size.estimate


def test_a_sparse_graph_is_sparser_than_shuffled_ones(tokens, generator):
    h, k = tokens
    own, problem = identity(WIDTH), np.arange(60) // 2
    order = torch.randperm(WIDTH, generator=generator)
    W = torch.eye(WIDTH, dtype=torch.float64)[order]
    rotation = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=generator, dtype=torch.float64))[0]
    # The layer reads what features write: one each. In other directions all features reach all targets.
    source = given_dictionary("all", rotation.float(), torch.zeros(WIDTH), torch.ones(()))

    def layer(h, k):
        return h @ source.to(h).decoder.mT @ W.mT

    found = feature_graph.edges(layer, source, own, h, k)
    np.testing.assert_allclose(found.parents(), 1 / WIDTH)
    other = feature_graph.shuffled_directions(source, generator)
    turned = feature_graph.edges(layer, source, own, h, k, other["weights"], cut=False)
    beside = feature_graph.sparser(found, turned, problem, True)
    assert beside.parents.high < 0 and beside.edges.high < 0
    # Each other's directions are permuted edges: as sparse as before.
    swapped = feature_graph.edges(layer, source, own, h, k, other["features"], cut=False)
    beside = feature_graph.sparser(found, swapped, problem, True)
    assert beside.parents.estimate == pytest.approx(0) and swapped.share() <= 1.01 / WIDTH
    same = feature_graph.sparser(found, found, problem, False)
    assert (same.parents.estimate, same.edges.estimate) == (0, 0)
    at = np.array([0, 1 / WIDTH, 1.0])
    np.testing.assert_allclose(found.curve(at), [0, 1, 1], atol=1e-6)
    assert set(feature_graph.graph_summary({"own": found, "other": turned})) >= {"graph", "edges", "parents"}


def test_shuffling_keeps_lengths(generator):
    own = dictionary(generator)
    for directions in feature_graph.shuffled_directions(own, generator).values():
        assert directions.shape == own.directions.shape
        torch.testing.assert_close(directions.norm(dim=1), own.directions.norm(dim=1), rtol=1e-5, atol=0)


def test_dictionaries_of_chance_are_as_large_and_as_sparse(tokens, generator):
    h, _ = tokens
    own = dictionary(generator)
    found = feature_graph.random_dictionary(own, h, generator)
    assert found.features == own.features
    assert (found.encode(h.float()) != 0).sum(1).float().mean() <= 4
    learned = feature_graph.learned_dictionary(own, 4, h, 20, 32, 0, generator)
    assert (learned.features, learned.k, learned.kind) == (own.features, 4, "topk")
    again = feature_graph.learned_dictionary(own, 4, h, 200, 32, 0, generator)
    left = [(h.float() - one(h.float())).pow(2).sum() for one in (learned, again)]
    assert left[1] < left[0]


def test_the_score_is_the_sum_of_what_passes_through_the_features(network, problems, generator):
    width, at = 32, some_tokens(network, problems, 4, generator)
    own = given_dictionary(
        "topk", torch.randn(40, width, generator=generator), torch.zeros(width), torch.tensor(0.5), 6
    )
    found = feature_graph.score_reach(network, "fc3", own, at, chunk=7)
    assert found.share.sum() + found.rest == pytest.approx(1)
    # All of it by hand: the score of the energy in which one feature is held fixed.
    double, score = own.to(at.y), network.gradient(at.A, at.y, at.k)
    m = int(np.abs(found.share).argmax())

    def energy(y):
        h = network.activations(at.A, y, at.k)["fc3"]
        f = double.encode(h)[:, m, None]
        held = h - (f - f.detach()) * double.directions[m]
        return network.resume("fc3", held, at.A, at.k).sum()

    y = at.y.clone().requires_grad_()
    without = torch.autograd.grad(energy(y), y)[0]
    expected = ((score - without) * score).sum() / score.pow(2).sum()
    assert found.share[m] == pytest.approx(expected.item())


def test_chains_of_a_linear_network(ideal, problems, generator):
    size = ideal.coordinates.size
    weights = torch.randn(2, size, size, generator=generator, dtype=torch.float64)
    w = torch.randn(size, generator=generator, dtype=torch.float64)
    energy, own = Line(ideal, *weights, w), [identity(size)] * 3
    at = some_tokens(energy, problems, 10, generator)
    seen = energy.activations(at.A, at.y, at.k)
    graph = [
        feature_graph.edges(layer, own[0], own[0], seen[f"fc{n + 1}"], at.k) for n, layer in enumerate(energy.layers)
    ]
    gap = features.attribute_features(energy, "fc3", own[0], at)
    some = feature_paths.candidate_chains(graph, gap, 3, 2)
    assert len(some) == 12 and len(set(some)) == 12
    found = feature_paths.chain_effects(energy, energy.layers, own, at, some)
    sigma = energy.schedule.sigma[at.k]
    for place, (i, j, m) in enumerate(some):
        effect = seen["fc1"][:, i] * weights[0, j, i] * weights[1, m, j] * w[m] / sigma
        assert found["signed"][place] == pytest.approx(effect.mean().item())
        assert found["size"][place] == pytest.approx(effect.abs().mean().item())
    np.testing.assert_allclose(found["cut"], found["size"])
    size_of, slope = feature_paths.chain_agreement(found)
    assert size_of.estimate == pytest.approx(1) and slope.estimate == pytest.approx(1)


def test_chains_of_a_network_are_path_patched(network, problems, generator):
    """One chain of the whole network by hand, what no longer fires included."""
    gain2, bias2, gain3, bias3 = network.film()
    silu = torch.nn.functional.silu
    layers = [
        lambda h, k: silu(network.fc2(h) * gain2[k] + bias2[k]),
        lambda h, k: silu(network.fc3(h) * gain3[k] + bias3[k]),
    ]
    own = [
        given_dictionary("topk", torch.randn(16, 32, generator=generator), torch.zeros(32), torch.ones(()), 8).to(
            problems
        )
        for _ in range(3)
    ]
    at = some_tokens(network, problems, 6, generator)
    with torch.no_grad():
        chain = (1, 2, 3)
        found = feature_paths.chain_effects(network, feature_graph.film_layers(network), own, at, [chain])
        expected = 0
        for sign, y in ((1, at.y), (-1, at.reference)):
            h = network.activations(at.A, y, at.k)
            h1, h2, h3 = (h[layer] for layer in feature_paths.LAYERS)
            f1, f2, f3 = (d.encode(x)[:, c] for d, x, c in zip(own, (h1, h2, h3), chain, strict=True))
            d1, d2, d3 = (d.directions[c] for d, c in zip(own, chain, strict=True))
            u2 = layers[0](h1 - f1[:, None] * d1, at.k) @ own[1].encoder[2]
            lost = f2 - (f2 - (h2 @ own[1].encoder[2] - u2)).clamp_min(0)
            u3 = layers[1](h2 - lost[:, None] * d2, at.k) @ own[2].encoder[3]
            lost = f3 - (f3 - (h3 @ own[2].encoder[3] - u3)).clamp_min(0)
            gone = network.resume("fc3", h3 - lost[:, None] * d3, at.A, at.k)
            together = (f1 != 0) & (f2 != 0) & (f3 != 0)
            expected = expected + sign * together * (network.energy(at.A, y, at.k) - gone)
    expected = expected / network.schedule.sigma[at.k]
    assert found["cut_signed"][0] == pytest.approx(expected.mean().item())
    assert found["cut"][0] == pytest.approx(expected.abs().mean().item())


def test_features_are_described(generator):
    problem = torch.arange(30).repeat_interleave(4)
    k = torch.arange(120) % 4
    trait = torch.rand(30, generator=generator, dtype=torch.float64)
    h = torch.stack([trait[problem] + 0.1, (k == 3).double(), torch.zeros(120).double()], 1)
    found = feature_paths.described_features(
        identity(3, "relu"),
        h,
        [0, 1, 2],
        k,
        problem,
        {"other": np.random.default_rng(0).random(30), "trait": trait.numpy()},
    )
    assert found["property"][0] == "trait" and found["rho"][0] == pytest.approx(1)
    assert found["p"][0] < 1e-6 and found["p"][1] > 0.01
    np.testing.assert_allclose(found["rate"], [1, 0.25, 0])
    np.testing.assert_allclose(found["landscape"], [1.5, 3, 0])
