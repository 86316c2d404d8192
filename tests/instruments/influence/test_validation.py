"""Linear datamodeling score and removals: planted linear models, noise, choices that do not look."""

import numpy as np
import pytest
import torch

from ired.instruments.influence import removal, validation

RNG = np.random.default_rng(0)
N, T, M = 40, 6, 80


@pytest.fixture
def masks(generator):
    return validation.halves(M, N, generator)


@pytest.fixture
def true():
    return np.random.default_rng(1).standard_normal((T, N))


def test_halves_are_halves_and_all_problems_are_in_half_of_them(masks):
    assert (masks.sum(1) == N // 2).all()
    assert 0.2 < masks.double().mean(0).min() and masks.double().mean(0).max() < 0.8
    assert len(torch.unique(masks, dim=0)) == M


def test_true_influences_score_one_wrong_ones_nothing(masks, true):
    outcomes = masks.numpy() @ true.T
    assert np.allclose(validation.lds_values(true, masks.numpy(), outcomes), 1)
    assert np.allclose(validation.lds_values(-true, masks.numpy(), outcomes), -1)
    random = np.random.default_rng(2).standard_normal((50, T, N))
    chance = validation.lds_values(random, masks.numpy(), outcomes)
    assert chance.shape == (50, T) and abs(chance.mean()) < 0.03
    # What is the same for all problems says nothing about subsets of one size.
    assert np.allclose(validation.lds_values(np.ones((T, N)), masks.numpy(), outcomes), 0)


def test_the_ceiling_is_what_true_influences_reach_under_noise(true, generator):
    masks = validation.halves(400, N, generator).numpy()
    clean = masks @ true.T
    for noise in (0.5, 1.0, 2.0):
        repeats = clean[:, None] + noise * clean.std() * RNG.standard_normal((400, 2, T))
        reached = validation.lds_values(true, masks, repeats.mean(1)).mean()
        assert validation.ceiling(repeats) == pytest.approx(reached, abs=0.05)
    assert validation.ceiling(RNG.standard_normal((400, 2, T))) < 0.35


def test_damping_is_chosen_where_it_is_not_judged(masks, true):
    outcomes, masks = masks.numpy() @ true.T, masks.numpy()
    judged = validation.held_out_lds(np.stack([-true, true, 0 * true]), masks, outcomes)
    assert judged.chosen == (1, 1) and np.allclose(judged.scores, 1)
    # Of many random candidates the best looks good where it was chosen, and like nothing elsewhere.
    noise = RNG.standard_normal((M, 1)) * np.ones(T)
    many = RNG.standard_normal((200, T, N))
    best = validation.lds_values(many, masks, noise).mean(-1).max()
    honest = np.mean([validation.held_out_lds(many[i : i + 50], masks, noise).scores.mean() for i in range(0, 200, 50)])
    assert best > 0.1 and abs(honest) < 0.09


def test_intervals_hold_what_they_should(true, generator):
    masks = validation.halves(M, N, generator).numpy()
    clean = masks @ true.T
    noisy = clean + 2 * clean.std() * RNG.standard_normal((M, T))
    influence, other = true[None], RNG.standard_normal((1, T, N))
    judged, chance = (validation.held_out_lds(i, masks, noisy) for i in (influence, other))
    own = validation.lds_interval(influence, judged, masks, noisy)
    assert own.low > 0 and own.low < own.estimate < own.high
    assert own.estimate == pytest.approx(judged.scores.mean())
    none = validation.lds_interval(other, chance, masks, noisy)
    assert not none.excludes(0)
    ahead = validation.lds_interval(influence, judged, masks, noisy, (other, chance))
    assert ahead.low > 0 and ahead.estimate == pytest.approx(own.estimate - none.estimate)
    level = validation.lds_interval(influence, judged, masks, noisy, (influence, judged))
    assert (level.low, level.high) == (0, 0)
    assert own == validation.lds_interval(influence, judged, masks, noisy)  # the same seed


def test_shared_noise_of_retrainings_widens_the_interval(generator):
    """One noise that all test problems share is one piece of luck and not T."""
    masks = validation.halves(30, N, generator).numpy()
    influence = np.ones((1, 24, 1)) * RNG.standard_normal((1, 1, N))
    outcomes = RNG.standard_normal((30, 1)) * np.ones(24)
    judged = validation.held_out_lds(influence, masks, outcomes)
    found = validation.lds_interval(influence, judged, masks, outcomes)
    assert found.high - found.low > 0.4


def test_planted_helpers_are_taken_away(generator):
    helps = torch.randn(T, N, generator=generator)
    helps[:, 4] += 100
    kept = removal.without_top(helps, 0.05)
    assert (kept.sum(1) == N - 2).all() and not kept[:, 4].any()
    assert (removal.without_top(helps, 1e-6).sum(1) == N - 1).all()
    masks = removal.arms(helps, 0.05, 3, generator)
    assert masks.shape == (T + 2 + 3 + 1, N) and masks[-1].all()
    assert torch.equal(masks[:T], kept) and (masks[:-1].sum(1) == N - 2).all()
    assert not masks[T, 4] and masks[T + 1, 4]


def test_removal_is_compared_with_random_sets_and_the_whole():
    tests, sets, seeds = 20, 4, 3
    outcomes = np.full((seeds, tests + 2 + sets + 1, tests), 2.0)
    each = np.arange(tests)
    outcomes[:, each, each] = 3.0  # without its own best: half as much again
    outcomes[:, tests], outcomes[:, tests + 1] = 2.2, 1.9
    outcomes[:, tests + 2 : -1] = 2.1
    # Seeds differ, and no arm more than another.
    outcomes += np.array([-0.1, 0.0, 0.1])[:, None, None]
    found = removal.compare_arms(outcomes, tests)
    means = {row["arm"]: row["mean"] for row in found.rows()}
    assert [means[arm] for arm in removal.ARMS] == pytest.approx([0.5, 0.1, -0.05, 0.05])
    assert found.paired().estimate == pytest.approx(0.45)
    assert found.noise == pytest.approx(0.05)
