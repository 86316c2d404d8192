"""Tables of P5-04 on energies and networks whose composition is planted."""

import numpy as np
import pytest
import torch

from ired.instruments.circuits import energy_outputs, study
from ired.instruments.circuits.known_answers import Squares
from ired.instruments.core import states
from ired.instruments.statistics.intervals import mean_interval


def squares(ideal, *outputs):
    """The ideal energy with some of its outputs only."""
    size = ideal.coordinates.size
    J = torch.zeros(size, size, dtype=torch.float64)
    J[outputs, outputs] = 1.0
    return Squares(ideal, J, torch.zeros(size, dtype=torch.float64))


def test_tokens_are_noised_answers(ideal, problems, generator):
    y0 = states.answers(ideal, problems)
    at = study.noised_answers(ideal, problems, y0, 2, generator)
    assert len(at.y) == 6 * 10 * 2 and at.k[:4].tolist() == [0, 0, 1, 1]
    torch.testing.assert_close(at.A, problems[at.problem])
    root, sigma = (ideal.schedule.at(name, at.k, at.y) for name in ("sqrt_alpha_bar", "sigma"))
    torch.testing.assert_close(at.reference, root * y0[at.problem])
    noise = ((at.y - at.reference) / sigma).pow(2).sum(1).mean() / ideal.coordinates.size
    assert noise.item() == pytest.approx(1, abs=0.15)


class Planted:
    """What `circuit_verdicts` asks a graph for."""

    class agreement:
        size = mean_interval([0.9, 0.91, 0.92])

    verified = [agreement]

    @staticmethod
    def nearest():
        return mean_interval([-0.1, -0.11, -0.12])


def test_verdicts_on_planted_outputs(ideal, problems, generator):
    y0 = states.answers(ideal, problems)
    size = ideal.coordinates.size
    energies = {"trained": squares(ideal, 3), "untrained": squares(ideal, *range(size))}
    found, pictures = study.outputs(energies, problems, y0, [0, 4], 2, 2, generator)
    met = {name: yes for name, (yes, _) in study.circuit_verdicts(found, Planted).items()}
    assert met == {
        "few_outputs_carry_the_gap": True,
        "outputs_are_entries": True,
        "gap_follows_eigen_directions": False,
        "edges_verified": True,
        "graph_is_sparser_than_chance": True,
    }
    for name, matrix in pictures.items():
        assert matrix.shape == ((4, 4) if not name.endswith("carried") else (size, size))
        if name.endswith(("gap.entry", "score.eigen")):
            assert matrix.sum() == pytest.approx(1)
    alike = pictures["untrained.4.gap.entry"]
    np.testing.assert_allclose(alike, alike.T if ideal.coordinates.symmetric else alike)
    diagonal = found["diagonal"].query("energy == 'trained' and basis == 'entry'")
    on = float(energy_place_is_diagonal(ideal, 3))
    np.testing.assert_allclose(diagonal["share"], on, atol=1e-9)
    swapped, _ = study.outputs(
        {"trained": energies["untrained"], "untrained": energies["trained"]},
        problems,
        y0,
        [0],
        2,
        2,
        generator,
    )
    assert not study.circuit_verdicts(swapped, Planted)["few_outputs_carry_the_gap"][0]


def energy_place_is_diagonal(energy, output):
    matrix = energy_outputs.as_matrix(energy, torch.eye(energy.coordinates.size))[output]
    return matrix.diagonal().sum() == 1
