"""A training on shuffled answers differs in the answers alone, and learns nothing of A."""

import torch

from ired.model import problems
from ired.model.energies.equilibrium import EquilibriumConfig
from ired.model.energies.mlp import EnergyConfig
from ired.model.training.graph_trainer import GraphTrainer, trainer
from ired.model.training.shuffled_answers import Shuffled, brief, finished, shuffled
from ired.model.training.trainer import Trainer, TrainingConfig

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
    for (A, Y), (other, moved) in zip(seen(Trainer), seen(Shuffled), strict=True):
        assert torch.equal(A, other)
        assert not torch.equal(Y, moved)
        sums = [some.flatten(1).sum(1).sort().values for some in (Y, moved)]
        assert torch.allclose(*sums)
        assert (moved == Y).flatten(1).all(1).sum() < 6


def test_a_brief_training_decays_from_a_rate_at_which_so_few_steps_learn():
    constant = TrainingConfig(steps=10_000, batch=512, learning_rate=1e-4, decay=False)
    assert brief(constant, 100, 64) == TrainingConfig(steps=100, batch=64, learning_rate=1e-3, decay=True)
    decaying = TrainingConfig(steps=4000, batch=512, learning_rate=6e-3, decay=True)
    assert brief(decaying, 100, 64).learning_rate == 6e-3


def test_a_brief_training_learns_what_as_many_steps_at_a_constant_rate_do_not():
    constant = TrainingConfig(steps=150, batch=64, learning_rate=1e-4, decay=False)
    A = problems.draw(400, 3, 0.5, problems.generator(0, "brief"), torch.float64)
    errors = []
    for chosen in (brief(constant, 150, 64), constant):
        network = finished(Trainer(ENERGY, chosen, seed=0))
        y0 = network.coordinates.encode(problems.inverse(A))
        alpha, sigma = (network.schedule.at(name, 3, y0) for name in ("sqrt_alpha_bar", "sigma"))
        noise = network.coordinates.project(torch.randn(y0.shape, generator=problems.generator(1, "n")).to(y0))
        errors.append((network.gradient(network.prepare(A), alpha * y0 + sigma * noise, 3) - noise).pow(2).mean())
    assert errors[0] < 0.9 * errors[1]


def test_two_steps_use_two_permutations():
    (one, first), (two, second) = seen(Shuffled)
    own = [problems.inverse(A) for A in (one, two)]
    places = [torch.cdist(Y.flatten(1), S.flatten(1)).argmin(1) for Y, S in zip(own, (first, second), strict=True)]
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


def test_an_energy_that_autograd_trains_has_its_shuffled_twin():
    energy = EquilibriumConfig.for_problems(3, 0.5, True, hidden=32, symmetric=True)
    plain, other = trainer(energy, config(2), 0), shuffled(energy, config(2), 0)
    assert isinstance(other, GraphTrainer) and type(shuffled(ENERGY, config(2), 0)) is Shuffled
    first, second = (made.advance(1)[0, 0].item() for made in (plain, other))
    assert first != second
    for a, b in zip(seen(lambda *_, seed: trainer(energy, config(2), seed)), seen(Shuffled), strict=True):
        assert torch.equal(a[0], b[0]), "the same problems as any training of this seed"
