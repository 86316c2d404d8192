"""Stacked networks: each learns as if it were alone, and answers as the published energy does."""

import pytest
import torch

from ired.model import problems
from ired.model.energies.mlp import EnergyConfig, MLPEnergy
from ired.model.sampling import SamplingConfig, sample
from ired.model.training.ensemble import Ensemble, Recipe, TableEnergy, as_function, draw_batches, retrain

DOUBLE = torch.zeros(1, dtype=torch.float64)
QUICK = Recipe(steps=6, each=2, learning_rate=1e-2)


@pytest.fixture(params=[False, True], ids=["all", "symmetric"])
def config(request):
    return EnergyConfig(3, 8, landscapes=4, shift=0.2, scale=0.5, symmetric=request.param)


def draw(what):
    return problems.generator(0, what)


def some(count=10):
    return problems.draw(count, 3, 0.5, draw("problems"), torch.float64)


def masks_and_seeds():
    masks = torch.ones(3, 10, dtype=torch.bool)
    masks[1, ::2], masks[2, :7] = False, False
    return masks, torch.tensor([0, 0, 1])


def test_members_learn_as_if_each_were_alone(config):
    A, (masks, seeds) = some(), masks_and_seeds()
    weights = torch.tensor([0, 1, 0])
    members, _ = retrain(config, A, masks, seeds, weights, QUICK, draw, DOUBLE)
    for m in range(3):
        alone = TableEnergy(config, draw(f"weights {weights[m]}")).to(DOUBLE)
        y0 = alone.coordinates.encode(torch.linalg.inv(A))
        optimiser = torch.optim.Adam(alone.parameters(), 1.0, betas=(0.9, 0.99))
        batches = draw_batches(masks, seeds, QUICK, alone.coordinates.size, 4, draw("batches"))
        k = torch.arange(4).repeat(QUICK.each)
        root, sigma = (getattr(alone.schedule, name)[k, None] for name in ("sqrt_alpha_bar", "sigma"))
        for step, (index, noise) in enumerate(batches):
            noise = alone.coordinates.from_basis(noise[m].double())
            y = root * y0[index[m]] + sigma * noise
            y.requires_grad_()
            energy = alone.energy(A[index[m]], y, k)
            (score,) = torch.autograd.grad(energy.sum(), y, create_graph=True)
            loss = alone.coordinates.to_basis(score - noise).square().mean()
            optimiser.param_groups[0]["lr"] = QUICK.rate(step)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        for name, weight in alone.named_parameters():
            assert torch.allclose(members.weights[name][m], weight, rtol=1e-9, atol=1e-11), name


def test_members_see_nothing_but_their_own_problems_each_equally_often():
    masks, seeds = masks_and_seeds()
    recipe = Recipe(steps=600, each=2)
    seen = torch.zeros(3, 10)
    alike = 0
    for index, noise in draw_batches(masks, seeds, recipe, 6, 4, draw("batches")):
        seen.scatter_add_(1, index, torch.ones_like(index, dtype=seen.dtype))
        assert torch.equal(noise[0], noise[1]) and not torch.equal(noise[0], noise[2])
        alike += (index[0] == index[1]).double().mean().item() / recipe.steps
    assert not seen[~masks].any()
    share = seen / seen.sum(1, keepdim=True) * masks.sum(1, keepdim=True)
    assert (share[masks] - 1).abs().max() < 0.15
    assert 0.5 < alike < 0.7  # members of one seed get the same problem where both have it


def test_a_member_without_problems_is_refused():
    with pytest.raises(ValueError, match="without training problems"):
        next(draw_batches(torch.zeros(1, 3, dtype=torch.bool), torch.zeros(1), QUICK, 6, 4, draw("b")))


def test_tables_start_as_the_published_energy(config):
    own, theirs = TableEnergy(config, draw("w")).double(), MLPEnergy(config, draw("w")).double()
    A, k = some(5), torch.tensor([0, 1, 2, 3, 0])
    y = own.coordinates.project(torch.randn(5, 9, generator=draw("y"), dtype=torch.float64))
    assert torch.allclose(own.gradient(A, y, k), theirs.gradient(A, y, k), rtol=0, atol=1e-7)
    theta = torch.nn.utils.parameters_to_vector(own.parameters())
    score = as_function(own)(theta, A, y, k)
    assert torch.allclose(own.coordinates.from_basis(score), own.gradient(A, y, k), atol=1e-12)


def test_an_ensemble_samples_as_its_members_do(config):
    masks, seeds = masks_and_seeds()
    members, past = retrain(config, some(), masks, seeds, seeds, QUICK, draw, DOUBLE, keep=(0, 3))
    assert [rate for rate, _ in past] == [QUICK.rate(0), QUICK.rate(3)]
    A, descent = some(2), SamplingConfig(2, 6.0)
    start = members.coordinates.noise(2, generator=draw("start"), dtype=torch.float64)
    together = sample(members, A.repeat(3, 1, 1), descent, start=start.repeat(3, 1)).view(3, 2, -1)
    for m in range(3):
        alone = members.member(m)
        assert torch.allclose(together[m], sample(alone, A, descent, start=start), atol=1e-10)
        energy = members.energy(A.repeat(3, 1, 1), start.repeat(3, 1), 1).view(3, 2)[m]
        assert torch.allclose(energy, alone.energy(A, start, 1), atol=1e-10)
    first = members.member(0, past[0][1])
    assert torch.equal(first.fc1.weight, TableEnergy(config, draw("weights 0")).to(DOUBLE).fc1.weight)


def test_what_cannot_be_stacked_is_refused(config):
    with pytest.raises(ValueError, match="one configuration"):
        Ensemble([])
    with pytest.raises(ValueError, match="one configuration"):
        Ensemble([TableEnergy(config), TableEnergy(EnergyConfig(2, 8))])


def test_divergence_is_told(config):
    far = Recipe(steps=4, each=1, learning_rate=1e200)
    with pytest.raises(FloatingPointError, match="diverged"):
        retrain(config, some(), *masks_and_seeds(), torch.zeros(3), far, draw, DOUBLE)


class Kept:
    """A checkpoint in memory, always due."""

    found = None

    def load(self):
        return self.found

    def due(self):
        return True

    def save(self, tensors, notes):
        self.found = {name: value.detach().clone() for name, value in tensors.items()}, dict(notes)


def test_an_interrupted_retraining_ends_as_an_undisturbed_one(config):
    """Bit for bit, with what was kept on the way before and after the interruption."""
    asked = config, some(), *masks_and_seeds(), torch.tensor([0, 1, 0]), QUICK, draw, DOUBLE, (1, 4)
    whole, past = retrain(*asked)
    kept, made = Kept(), []

    def stop(steps):
        made.append(steps)
        if len(made) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        retrain(*asked, stop, kept)
    assert kept.found[1]["step"] == 3
    made = []
    again, resumed = retrain(*asked, made.append, kept)
    assert made == [3, 1, 1, 1] and [rate for rate, _ in resumed] == [rate for rate, _ in past]
    for name, weight in whole.weights.items():
        assert torch.equal(again.weights[name], weight)
        for (_, ours), (_, theirs) in zip(resumed, past, strict=True):
            assert torch.equal(ours[name], theirs[name])
