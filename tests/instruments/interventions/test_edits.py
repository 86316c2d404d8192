"""Edits of nothing change nothing; a whole layer of the twin is the twin."""

import pytest
import torch

from ired.instruments.core import states
from ired.instruments.core.directions import EVERYWHERE, STATE
from ired.instruments.core.sampler import denoised
from ired.instruments.interventions import counterfactuals, edits
from ired.instruments.interventions.edits import Place, Twins, UndisturbedRuns
from ired.instruments.interventions.known_answers_causality import PlantedMediator, planted_twins
from ired.model.sampling import SamplingConfig, sample


def walk(energy, A, start, first=None, callback=None):
    return sample(energy, A, SamplingConfig(), start=start, first=first, callback=callback)


@pytest.fixture
def path(network, problems, generator):
    start = states.noise(network, 6, generator=generator, like=problems)
    return UndisturbedRuns.of(network, walk, problems, start)


def test_a_path_can_be_entered_anywhere(network, path):
    for k in (9, 4, 0):
        answers = walk(network, path.A, path.states[k], first=k)
        torch.testing.assert_close(answers, path.answers, atol=1e-8, rtol=1e-8)


@pytest.mark.parametrize("place", [Place("fc2", 3), Place("fc1", EVERYWHERE), Place(STATE, 3)])
def test_edits_of_nothing_change_nothing(network, path, place, generator):
    width = path.y0.shape[1] if place.space == STATE else 32
    V = torch.randn(2, width, generator=generator, dtype=torch.float64)
    V = torch.nn.functional.normalize(V, dim=1)
    same = Twins.problems(path, path, place.first(10))
    for answers in (
        edits.added(network, walk, path, place, V, 0.0),
        edits.swapped(network, walk, same, place, V, back=False),
    ):
        assert answers.shape == (2, *path.answers.shape)
        torch.testing.assert_close(answers, path.answers.expand(2, -1, -1), atol=1e-6, rtol=1e-6)
    moved = edits.added(network, walk, path, place, V, 0.5) - path.answers
    assert moved.norm(dim=-1).min() > 1e-6


def test_a_whole_layer_of_the_twin_is_the_twin(network, problems, path, generator):
    """A meets the network in fc1 alone: with all of a layer from the twin, in all landscapes, the answer
    is the twin's; in one landscape of many, it is not."""
    other = UndisturbedRuns.of(network, walk, problems.flip(0), path.states[-1])
    for layer in ("fc1", "fc3"):
        twins = Twins.problems(path, other, 9)
        whole = edits.swapped(network, walk, twins, Place(layer, EVERYWHERE), None, back=False)
        torch.testing.assert_close(whole[0], other.answers, atol=1e-6, rtol=1e-6)
        back = edits.swapped(network, walk, twins, Place(layer, EVERYWHERE), None, back=True)
        torch.testing.assert_close(back[0], path.answers, atol=1e-6, rtol=1e-6)
    twins = Twins.problems(path, other, 4)
    late = edits.swapped(network, walk, twins, Place("fc1", 4), None, back=False)[0]
    assert (late - path.answers).norm() > 1e-4 and (late - other.answers).norm() > 1e-4
    state = edits.swapped(network, walk, twins, Place(STATE, 4), None, back=False)[0]
    torch.testing.assert_close(state, walk(network, path.A, other.states[4], first=4))


def test_a_direction_and_what_is_orthogonal_to_it_make_up_the_difference(network, path, problems):
    other = UndisturbedRuns.of(network, walk, problems.flip(0), path.states[-1])
    twins, place = Twins.problems(path, other, 4), Place(STATE, 4)
    starts = []
    edits.swapped(
        network,
        lambda e, A, y, first: starts.append(y) or y,
        twins,
        place,
        torch.eye(16, dtype=torch.float64),
        back=False,
    )
    steps = starts[0].unflatten(0, (16, 6)) - path.states[4]
    torch.testing.assert_close(steps.sum(0), other.states[4] - path.states[4])


def test_states_that_differ_are_swapped_in_their_landscape_only(network, path, generator):
    less, more = counterfactuals.state_pairs(network, path.y0, 4, "noisy_answer", generator)
    twins = Twins.states(path, less, more, 4)
    ends = []

    def look(energy, A, start, first):
        ends.append([energy.gradient(A, start, k) for k in (4, 3)])
        return start

    edits.swapped(network, look, twins, Place("fc1", EVERYWHERE), None, back=False)
    torch.testing.assert_close(ends[0][0], network.gradient(path.A, more, 4))
    torch.testing.assert_close(ends[0][1], network.gradient(path.A, less, 3))


def test_ablation_hides_the_problem_from_what_hangs_on_the_coordinate(ideal, generator):
    energy = PlantedMediator(ideal, through=1.0, direct=0.0)
    base, _ = planted_twins(energy, 8, generator)
    V = torch.stack([energy.axis(0, base.A), energy.axis(1, base.A)])
    gone = edits.ablated(energy, denoised, base, Place("fc1", EVERYWHERE), V)[..., 0]
    mean = base.A[:, 0, 0].mean().tanh().expand(8)
    torch.testing.assert_close(gone[0], mean)
    torch.testing.assert_close(gone[1], base.answers[:, 0])
