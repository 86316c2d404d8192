"""A splice of one landscape leaves the others; the score that does not look at A."""

import torch

from ired.instruments.core import patching, states


def test_the_blind_score_is_the_best_multiple_of_the_state(ideal, problems, generator):
    """Of the ideal landscape: at k = 9 the state over σ is nearly all of its score."""
    y0 = states.answers(ideal, problems)
    for k, high, low in ((9, 1e-3, 0), (0, 1, 0.1)):
        noised = states.noised(ideal, y0, k, 1, generator)[0][:, 0]
        score = ideal.gradient(problems, noised, k)
        blind = patching.blind_score(ideal, noised, score)
        assert (blind * (score - blind)).sum().abs() < 1e-9
        assert low <= (score - blind).pow(2).sum() / score.pow(2).sum() < high


def test_a_splice_of_one_landscape_leaves_the_others(network, problems, generator):
    spliced = patching.Spliced(network, "fc2", lambda h: h / 2, landscape=3)
    everywhere = patching.Spliced(network, "fc2", lambda h: h / 2)
    y = states.noise(network, 6, generator=generator, like=problems)
    for k in (2, 3):
        seen = spliced.energy(problems, y, k), spliced.gradient(problems, y, k)
        known = everywhere if k == 3 else network
        torch.testing.assert_close(seen, (known.energy(problems, y, k), known.gradient(problems, y, k)))
    assert (everywhere.energy(problems, y, 2) - network.energy(problems, y, 2)).abs().min() > 1e-6
