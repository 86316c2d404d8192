"""Graphs between dictionaries of networks whose composition is planted, and the chains in them."""

import numpy as np
import pytest
import torch

from ired.instruments.circuits import dictionary_graphs, figures, study
from ired.instruments.circuits.known_answers import Line, identity
from ired.instruments.core import states


def planted_networks(ideal, A, generator):
    """A network whose layers pass single coordinates on, and one whose layers mix all of them."""
    size = ideal.coordinates.size
    orders = [torch.randperm(size, generator=generator) for _ in range(2)]
    turns = [torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))[0] for _ in range(2)]
    w = torch.ones(size, dtype=torch.float64)
    at = study.noised_answers(ideal, A, states.answers(ideal, A), 1, generator)
    made = []
    for weights in ([torch.eye(size, dtype=torch.float64)[order] for order in orders], turns):
        energy = Line(ideal, *weights, w)
        h = dictionary_graphs.layer_activations(energy, at)
        made.append(dictionary_graphs.CodedNetwork(energy, energy.layers, [identity(size)] * 3, h))
    return at, *made


def test_a_planted_graph_is_found_verified_and_sparser(ideal, problems, generator):
    at, own, other = planted_networks(ideal, problems, generator)
    networks = {"trained": own, "untrained": other, "relearned": own}
    found = dictionary_graphs.graphs(networks, at, generator)
    size = ideal.coordinates.size
    for step in found.studied:
        np.testing.assert_allclose(step.parents(), 1 / size)
    beside = found.sparser
    for step in dictionary_graphs.STEPS:
        assert beside[step, "untrained"].parents.high < 0
        assert beside[step, "untrained"].edges.high < 0
        # Permuted permutations are permutations.
        assert beside[step, "weights"].parents.estimate == pytest.approx(0)
    assert found.nearest().high >= 0
    assert found.agreement.slope.estimate == pytest.approx(1)
    table = found.table
    assert set(table["graph"]) == {"own", *dictionary_graphs.JUDGED, "relearned"}
    assert len(table) == 12 and (table["rest"] < 1e-9)[table["graph"] == "own"].all()
    curves = found.curves(np.array([0.0, 1 / size, 1.0]))
    own_curve = curves.query("graph == 'own' and step == @dictionary_graphs.STEPS[0]")["effect"]
    np.testing.assert_allclose(own_curve, [0, 1, 1], atol=1e-6)
    traits = {"chance": np.random.default_rng(0).random(len(problems))}
    chains, nodes = study.strongest_chains(found, own, at, traits, 3, 2)
    assert len(chains) == 3  # one source each
    np.testing.assert_allclose(chains["size"], chains["cut"])
    assert set(nodes["layer"]) == set(study.LAYERS)
    figures.plot_graph(chains, nodes)


def test_dictionaries_are_made_as_large_and_sparse(ideal, problems, generator):
    _at, own, _ = planted_networks(ideal, problems, generator)
    size, seen = ideal.coordinates.size, []
    made = dictionary_graphs.relearned(own.dictionaries, own.h, own.h, 3, 16, generator, seen.append)
    assert [(d.features, d.k) for d in made] == [(size, size)] * 3 and seen == [1, 1, 1]
