"""Training and sampling keep everything on one device and do not wait for it.

There need be no such device: tensors are torch's fake ones, which know shape, type and place and hold
no numbers. "meta" stands for a GPU, since a torch built for CPUs alone has no streams for "cuda".
"""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ired.model import coordinates, problems
from ired.model.energies.architectures import ARCHITECTURES, build
from ired.model.sampling import SamplingConfig, sample, solve
from ired.model.schedule import Schedule
from ired.model.training.graph_trainer import GraphTrainer
from ired.model.training.trainer import MINING, Trainer, TrainingConfig

N, B = 3, 8
DEVICE = torch.device("meta")
CONFIGS = {
    name: config.for_problems(N, 0.5, True, hidden=16, symmetric=True, landscapes=2)
    for name, (config, _) in ARCHITECTURES.items()
}
RAW = ARCHITECTURES["mlp"][0](N, 16)  # as published: neither symmetric nor standardised
TRAINING = TrainingConfig(steps=40, batch=B, ema_every=1)
COPIES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)
ASKING = {  # and what a fake tensor on the CPU answers: one is any number, and nothing is infinite
    torch.ops.aten._local_scalar_dense.default: lambda tensor: 1.0,
    torch.ops.aten.nonzero.default: lambda tensor: torch.empty(0, tensor.dim(), dtype=torch.long),
}


class Misplaced(AssertionError):
    """Tensors of two places meet."""


class Watch(TorchDispatchMode):
    """Sees every operation: refuses those on tensors of two places, notes those for which the CPU waits."""

    def __init__(self):
        super().__init__()
        self.waits = Counter()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        tensors = [one for one in tree_leaves((args, kwargs or {})) if isinstance(one, torch.Tensor)]
        # A number may meet a device; a vector may not, be it an index.
        places = {one.device.type for one in tensors if one.dim()}
        if len(places) > 1 and operation not in COPIES:
            raise Misplaced(f"{operation}: {[(tuple(one.shape), one.device.type) for one in tensors]}")
        if operation in ASKING and tensors[0].device.type == "cpu":  # on a device it is refused for fake tensors
            return ASKING[operation](tensors[0])
        made = operation(*args, **(kwargs or {}))
        if operation in COPIES:
            there, here = made.device.type, tensors[-1].device.type
            self.waits["from the device"] += there == "cpu" != here
            self.waits["to the device"] += there != "cpu" == here
        return made


class Stream(torch.Generator):
    """Stands for a device's generator: of fake tensors no number is drawn."""

    device = DEVICE


def moved(module, device):
    """module.to(device), which in torch cannot move fake parameters to "meta"."""
    for part in module.modules():
        for name, weight in part._parameters.items():
            part._parameters[name] = nn.Parameter(weight.detach().to(device))
        for name, buffer in part._buffers.items():
            part._buffers[name] = buffer.to(device)
    return module


@pytest.fixture
def watch(monkeypatch):
    monkeypatch.setattr(nn.Module, "to", moved)
    real = problems.generator
    monkeypatch.setattr(
        problems,
        "generator",
        lambda seed, purpose, device="cpu": Stream() if torch.device(device) == DEVICE else real(seed, purpose, device),
    )
    coordinates._tables.cache_clear()
    with FakeTensorMode(), Watch() as watch:
        yield watch
    coordinates._tables.cache_clear()


FETCHED = {"from the device": 1}


@pytest.mark.parametrize("mining", MINING)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_steps_of_training_stay_on_their_device_and_do_not_wait(watch, mining, precision):
    published = replace(TrainingConfig.published(mining), batch=B, ema_every=1)
    energy, config = (
        (CONFIGS["mlp"], replace(TRAINING, mining=mining))
        if precision == "float32"
        else (RAW, replace(published, precision=precision))
    )
    made = Trainer(energy, config, 0, DEVICE.type)
    watch.waits.clear()
    rows = made.advance(3)
    assert rows.shape == (3, 3) and rows.device.type == "cpu"
    assert +watch.waits == FETCHED, "the losses of all steps at once"
    assert {weight.device for weight in (*made.model.parameters(), *made.average.parameters())} == {DEVICE}


@pytest.mark.slow
@pytest.mark.parametrize("mining", MINING)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_steps_of_training_by_autograd_stay_there(watch, mining, name):
    made = GraphTrainer(CONFIGS[name], replace(TRAINING, mining=mining), 0, DEVICE.type)
    watch.waits.clear()
    made.advance(2)
    assert +watch.waits == FETCHED


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("config", [SamplingConfig(2, clip=6.0), SamplingConfig.published(2)])
def test_sampling_stays_there(watch, name, config):
    energy = build(CONFIGS[name]).to(DEVICE).requires_grad_(False)
    stream = problems.generator(0, "start", DEVICE)
    watch.waits.clear()
    A = problems.draw(B, N, 0.5, problems.generator(0, "test"), torch.float64)
    Y = solve(energy, A, config, stream)
    assert Y.device.type == "cpu" and Y.dtype == torch.float64
    assert +watch.waits == {"to the device": 1} | FETCHED, "the problems, the answers"
    watch.waits.clear()
    A, steps = problems.draw(B, N, 0.5, stream), []
    y = sample(energy, A, config, stream, callback=steps.append)
    assert y.device == DEVICE == steps[-1].y.device and len(steps) == 2 + 2 * 3
    sample(energy, A, config, stream, differentiable=True)
    assert not +watch.waits


# These tests can fail


def left(made, name):
    """A tensor of a trainer that somebody forgot to move."""
    owner = made.model if name.startswith("input") else made
    setattr(owner, name, getattr(owner, name).to("cpu"))


@pytest.mark.parametrize("name", ["root", "sigma", "step_size", "bound", "input_mean", "_gradient"])
@pytest.mark.parametrize("kind", [Trainer, GraphTrainer])
def test_a_tensor_left_behind_is_seen(watch, name, kind):
    made = kind(CONFIGS["mlp"], replace(TRAINING, mining="adversarial"), 0, DEVICE.type)
    left(made, name)
    with pytest.raises((Misplaced, RuntimeError), match="meta.*cpu|cpu.*meta"):
        made.advance(1)


def test_noise_that_was_drawn_elsewhere_is_seen(watch):
    energy = build(CONFIGS["mlp"]).to(DEVICE).requires_grad_(False)
    A = problems.draw(B, N, 0.5, problems.generator(0, "A", DEVICE))
    with pytest.raises((Misplaced, RuntimeError), match="meta.*cpu|cpu.*meta"):
        sample(energy, A, SamplingConfig(1), start=energy.coordinates.noise(B))


@pytest.mark.parametrize("ask", [lambda loss: loss.cpu(), lambda loss: loss + loss.new_zeros(3, device="cpu").to(loss)])
def test_a_copy_at_every_step_is_seen(watch, monkeypatch, ask):
    learn = Trainer.learn
    monkeypatch.setattr(Trainer, "learn", lambda self, A, Y: ask(learn(self, A, Y)).to(DEVICE))
    made = Trainer(RAW, TRAINING, 0, DEVICE.type)
    watch.waits.clear()
    made.advance(2)
    assert +watch.waits != FETCHED and watch.waits.total() > 2


@pytest.mark.parametrize(
    "ask",
    [
        lambda loss: loss.max().item(),
        lambda loss: bool(loss.isfinite().all()),
        lambda loss: loss[loss > 0],
        lambda loss: loss.nonzero(),
    ],
)
def test_a_question_at_every_step_is_seen(watch, monkeypatch, ask):
    learn = Trainer.learn
    monkeypatch.setattr(Trainer, "learn", lambda self, A, Y: ask(learn(self, A, Y)))
    with pytest.raises((DataDependentOutputException, DynamicOutputShapeException)):
        Trainer(RAW, TRAINING, 0, DEVICE.type).advance(1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["sqrt_alpha_bar", "sigma", "step_size"])
def test_what_the_schedule_fills_in_is_what_it_would_move(name, dtype):
    schedule, like = Schedule(), torch.zeros(3, 5, dtype=dtype)
    k = torch.tensor([0, 9, 4])
    filled = torch.stack([schedule.at(name, int(one), like) for one in k])
    assert torch.equal(filled, getattr(schedule, name).to(dtype)[k]) and filled.dtype == dtype
    assert torch.equal(filled[:, None], schedule.at(name, k, like))
