"""Tables of P5-04 on energies and networks whose composition is planted."""

import numpy as np
import pytest
import torch

from ired.instruments.circuits import figures, study as tables
from ired.instruments.circuits.known_answers import Line, Squares, identity
from ired.instruments.core import states


def squares(ideal, *outputs):
    """The ideal energy with some of its outputs only."""
    size = ideal.coordinates.size
    J = torch.zeros(size, size, dtype=torch.float64)
    J[outputs, outputs] = 1.0
    return Squares(ideal, J, torch.zeros(size, dtype=torch.float64))


def test_tokens_are_noised_answers(ideal, problems, generator):
    y0 = states.answers(ideal, problems)
    at = tables.tokens(ideal, problems, y0, 2, generator)
    assert len(at.y) == 6 * 10 * 2 and at.k[:4].tolist() == [0, 0, 1, 1]
    torch.testing.assert_close(at.A, problems[at.problem])
    root, sigma = (ideal.schedule.at(name, at.k, at.y) for name in ("sqrt_alpha_bar", "sigma"))
    torch.testing.assert_close(at.reference, root * y0[at.problem])
    noise = ((at.y - at.reference) / sigma).pow(2).sum(1).mean() / ideal.coordinates.size
    assert noise.item() == pytest.approx(1, abs=0.15)


class Planted:
    """What `verdicts` asks a graph for."""

    class agreement:
        size = tables.mean_interval([0.9, 0.91, 0.92])

    verified = [agreement]

    @staticmethod
    def nearest():
        return tables.mean_interval([-0.1, -0.11, -0.12])


def test_verdicts_on_planted_outputs(ideal, problems, generator):
    y0 = states.answers(ideal, problems)
    size = ideal.coordinates.size
    energies = {"trained": squares(ideal, 3), "untrained": squares(ideal, *range(size))}
    found, pictures = tables.outputs(energies, problems, y0, [0, 4], 2, 2, generator)
    met = {name: yes for name, (yes, _) in tables.verdicts(found, Planted).items()}
    assert met == {
        "few_outputs_carry_the_gap": True, "outputs_are_entries": True,
        "gap_follows_eigen_directions": False, "edges_verified": True,
        "graph_is_sparser_than_chance": True,
    }  # fmt: skip
    for name, matrix in pictures.items():
        assert matrix.shape == ((4, 4) if not name.endswith("carried") else (size, size))
        if name.endswith(("gap.entry", "score.eigen")):
            assert matrix.sum() == pytest.approx(1)
    alike = pictures["untrained.4.gap.entry"]
    np.testing.assert_allclose(alike, alike.T if ideal.coordinates.symmetric else alike)
    diagonal = found["diagonal"].query("energy == 'trained' and basis == 'entry'")
    on = float(energy_place_is_diagonal(ideal, 3))
    np.testing.assert_allclose(diagonal["share"], on, atol=1e-9)
    swapped, _ = tables.outputs(
        {"trained": energies["untrained"], "untrained": energies["trained"]}, problems, y0, [0], 2,
        2, generator,
    )  # fmt: skip
    assert not tables.verdicts(swapped, Planted)["few_outputs_carry_the_gap"][0]


def energy_place_is_diagonal(energy, output):
    matrix = tables.energy_outputs.as_matrix(energy, torch.eye(energy.coordinates.size))[output]
    return matrix.diagonal().sum() == 1


def planted_networks(ideal, A, generator):
    """A network whose layers pass single coordinates on, and one whose layers mix all of them."""
    size = ideal.coordinates.size
    orders = [torch.randperm(size, generator=generator) for _ in range(2)]
    turns = [torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))[0]
             for _ in range(2)]  # fmt: skip
    w = torch.ones(size, dtype=torch.float64)
    at = tables.tokens(ideal, A, states.answers(ideal, A), 1, generator)
    made = []
    for weights in ([torch.eye(size, dtype=torch.float64)[order] for order in orders], turns):
        energy = Line(ideal, *weights, w)
        made.append(tables.Network(energy, energy.layers, [identity(size)] * 3,
                                   tables.activations(energy, at)))  # fmt: skip
    return at, *made


def test_a_planted_graph_is_found_verified_and_sparser(ideal, problems, generator):
    at, own, other = planted_networks(ideal, problems, generator)
    found = tables.graphs(own, other, own.dictionaries, at, generator)
    size = ideal.coordinates.size
    for step in found.own:
        np.testing.assert_allclose(step.parents(), 1 / size)
    beside = found.sparser
    for step in tables.STEPS:
        assert beside[step, "untrained"].parents.high < 0
        assert beside[step, "untrained"].edges.high < 0
        # Permuted permutations are permutations.
        assert beside[step, "weights"].parents.estimate == pytest.approx(0)
    assert found.nearest().high >= 0
    assert found.agreement.slope.estimate == pytest.approx(1)
    table = found.table
    assert set(table["graph"]) == {"own", *tables.JUDGED, "relearned"}
    assert len(table) == 12 and (table["rest"] < 1e-9)[table["graph"] == "own"].all()
    curves = found.curves(np.array([0.0, 1 / size, 1.0]))
    own_curve = curves.query("graph == 'own' and step == @tables.STEPS[0]")["effect"]
    np.testing.assert_allclose(own_curve, [0, 1, 1], atol=1e-6)
    traits = {"chance": np.random.default_rng(0).random(len(problems))}
    chains, nodes = tables.strongest_chains(found, own, at, traits, 3, 2)
    assert len(chains) == 3  # one source each
    np.testing.assert_allclose(chains["size"], chains["cut"])
    assert set(nodes["layer"]) == set(tables.LAYERS)
    figures.graph(chains, nodes)


def test_dictionaries_are_made_as_large_and_sparse(ideal, problems, generator):
    _, own, _ = planted_networks(ideal, problems, generator)
    size, seen = ideal.coordinates.size, []
    made = tables.relearned(own.dictionaries, own.h, own.h, 3, 16, generator, seen.append)
    assert [(d.features, d.k) for d in made] == [(size, size)] * 3 and seen == [1, 1, 1]
