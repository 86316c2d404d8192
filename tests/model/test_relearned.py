"""A training on shuffled answers differs in the answers alone, and learns nothing of A."""

import torch

from ired.model import problems
from ired.model.energy import EnergyConfig
from ired.model.relearned import Shuffled, finished
from ired.model.training import Trainer, TrainingConfig

ENERGY = EnergyConfig.for_problems(3, 0.5, True, hidden=32, symmetric=True)


def config(steps, **rest):
    return TrainingConfig(steps=steps, batch=64, learning_rate=3e-3, **rest)


def seen(kind, steps=1):
    """What a training of two steps is given."""
    trainer, given = kind(ENERGY, config(2), seed=0), []
    trainer.learn = lambda A, Y: given.append((A, Y)) or torch.zeros(3)
    trainer.advance(2)
    return given


def test_only_the_order_of_the_answers_differs():
    for (A, Y), (other, shuffled) in zip(seen(Trainer), seen(Shuffled), strict=True):
        assert torch.equal(A, other)
        assert not torch.equal(Y, shuffled)
        sums = [some.flatten(1).sum(1).sort().values for some in (Y, shuffled)]
        assert torch.allclose(*sums)
        assert (Y == shuffled).flatten(1).all(1).sum() < 6


def test_two_steps_use_two_permutations():
    (one, first), (two, second) = seen(Shuffled)
    own = [problems.inverse(A) for A in (one, two)]
    places = [torch.cdist(Y.flatten(1), S.flatten(1)).argmin(1) for Y, S in zip(own, (first, second))]
    assert not torch.equal(*places)


def test_a_shuffled_training_does_not_look_at_the_problem():
    networks = [finished(kind(ENERGY, config(150), seed=0)) for kind in (Trainer, Shuffled)]
    A = problems.draw(40, 3, 0.5, problems.generator(0, "relearned"), torch.float64)
    y0 = networks[0].coordinates.encode(problems.inverse(A))
    stream = problems.generator(1, "relearned")
    noise = networks[0].coordinates.noise(40, generator=stream, dtype=y0.dtype)
    y = 0.94 * y0 + 0.35 * noise
    depends = [(e.gradient(A, y, 1) - e.gradient(A.roll(1, 0), y, 1)).norm() for e in networks]
    assert depends[1] < 0.5 * depends[0]
    assert not any(p.requires_grad for p in networks[1].parameters())
