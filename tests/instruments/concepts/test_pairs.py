"""Pairs show one concept and share the rest."""

import numpy as np
import pytest
import torch

from ired.instruments.concepts.pairs import INPUT, concept_pairs, pair_activations
from ired.instruments.core import states as points
from ired.instruments.core.directions import CONCEPTS, OF_PROBLEMS


def test_pairs_show_one_concept(network, shown):
    A, population, every = shown
    y0 = points.answers(network, A)
    assert [pairs.concept for pairs in every] == list(CONCEPTS)
    for pairs in every:
        assert 4 <= len(pairs) <= 20
        # No fold lends a problem to another.
        assert (population.fold[pairs.problem] == pairs.fold[:, None]).all()
        assert (population.fold[pairs.answer] == pairs.fold[:, None]).all()
    for place, pairs in enumerate(every[: len(OF_PROBLEMS)]):
        assert (np.diff(population.measures[pairs.problem, place]) > 0).all()
        assert (np.linalg.norm(np.diff(pairs.confounders, axis=1), axis=-1) <= 0.8).all()
        assert len(np.unique(pairs.problem)) == pairs.problem.size
    noisy, correct = every[-2:]
    k = 4
    moved = noisy.states(network, y0, k) - points.centre(network, y0, k)[noisy.problem]
    radii = moved.norm(dim=-1) / points.noise_radius(network, k)
    assert (radii[:, 0] <= 1).all() and (radii[:, 1] >= 1).all()
    assert (correct.answer[:, 1] == correct.problem[:, 1]).all()
    assert (correct.answer[:, 0] != correct.problem[:, 0]).all()
    # Each answer is as often right as wrong.
    for problem in np.unique(correct.problem):
        assert (correct.answer[:, 0] == problem).sum() == (correct.answer[:, 1] == problem).sum() == 1


def test_too_few_pairs_are_refused(network, shown):
    with pytest.raises(ValueError, match="a wider caliper"):
        concept_pairs(network, shown[1], 20, caliper=1e-6, generator=torch.Generator().manual_seed(0))


def test_activations_belong_to_their_pairs(network, shown):
    A, _, every = shown
    y0, pairs, k = points.answers(network, A), every[-1], 3
    h = pair_activations(network, A, y0, pairs, k=k, layers=(INPUT, "fc2"))
    y = pairs.states(network, y0, k)[5, 1][None]
    known = network.activations(A[pairs.problem[5, 1]][None], y, k)["fc2"]
    assert np.allclose(h["fc2"][5, 1], points.array(known)[0])
    assert h[INPUT].shape == (len(pairs), 2, 2 * network.coordinates.size)
