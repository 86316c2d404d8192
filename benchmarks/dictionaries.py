"""Rows for sparse dictionaries: a training step at the published size, a sweep at small's.

The peer is dictionary-learning 0.1.0 (Marks, Karvonen & Mueller), whose trainers' `update` is a step as
it ships; TopK's: forward, auxiliary loss, gradients along the decoder removed, clipping, Adam, unit rows.
Where it is not installed a plain dense autograd step of TopK stands in, for every member of a sweep, and
the row says so. Neither side has dead features in the few steps that are timed, so that no auxiliary
loss is at work on either.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import ClassVar

import torch
from torch import Tensor, nn

from benchmarks.harness import Row
from ired.instruments.dictionaries.training import DictionaryTrainer, Member, Plan
from ired.lab.machine import keep_memory

WIDTH, BATCH, ONE = 512, 4096, Member("topk", 2048, 32)
# A sweep of small's size: every architecture at four sparsities.
SWEEP_WIDTH, SWEEP_FEATURES, SWEEP_BATCH = 256, 512, 512
SWEEP = tuple(
    Member(architecture, SWEEP_FEATURES, sparsity)
    for architecture in ("l1", "topk", "batchtopk", "jumprelu")
    for sparsity in (4, 8, 16, 32)
)


class Dense:
    """TopK as one would first write it: dense codes, autograd."""

    name = "plain dense autograd"

    def __init__(self, member: Member, first: Tensor):
        features, width, k = member.features, first.shape[1], member.sparsity
        rows = nn.functional.normalize(torch.randn(features, width), dim=1)
        self.decoder, self.encoder = (nn.Parameter(rows.clone()) for _ in range(2))
        self.encoder_bias = nn.Parameter(torch.zeros(features))
        self.bias, self.k = nn.Parameter(first.mean(0)), k
        self.weights = [self.decoder, self.encoder, self.encoder_bias, self.bias]
        self.adam = torch.optim.Adam(self.weights, lr=1e-3)

    def step(self, x: Tensor) -> None:
        u = torch.relu((x - self.bias) @ self.encoder.mT + self.encoder_bias)
        kept = u.topk(self.k, dim=1, sorted=False)
        codes = torch.zeros_like(u).scatter(1, kept.indices, kept.values)
        loss = (codes @ self.decoder + self.bias - x).pow(2).sum(1).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.adam.step()
        self.adam.zero_grad()
        with torch.no_grad():
            self.decoder.div_(self.decoder.norm(dim=1, keepdim=True))


class Public:
    """A trainer of dictionary-learning with its own defaults."""

    name = "dictionary-learning 0.1.0"
    # By architecture: where its trainer is, and what it calls the sparsity that it aims at.
    places: ClassVar = {
        "l1": ("standard", "StandardTrainer", None),
        "topk": ("top_k", "TopKTrainer", "k"),
        "batchtopk": ("batch_top_k", "BatchTopKTrainer", "k"),
        "jumprelu": ("jumprelu", "JumpReluTrainer", "target_l0"),
    }
    trainers: ClassVar[dict[str, type]] = {}

    def __init__(self, member: Member, first: Tensor):
        *_, aim = self.places[member.architecture]
        self.own, self.count = (
            self.trainers[member.architecture](
                steps=10_000,
                activation_dim=first.shape[1],
                dict_size=member.features,
                layer=0,
                lm_name="none",
                seed=0,
                device="cpu",
                **({aim: member.sparsity} if aim else {}),
            ),
            0,
        )

    def step(self, x: Tensor) -> None:
        self.own.update(self.count, x)  # its first step also finds a geometric median: warm-up
        self.count += 1


def peer() -> type:
    """Public where it is installed, else Dense."""
    # Wanted on import by its buffer of language model activations, which is not used here.
    stub = ModuleType("nnsight")
    stub.LanguageModel = None
    added = "nnsight" not in sys.modules
    sys.modules.setdefault("nnsight", stub)
    try:
        for architecture, (module, trainer, _) in Public.places.items():
            found = importlib.import_module(f"dictionary_learning.trainers.{module}")
            Public.trainers[architecture] = getattr(found, trainer)
        return Public
    except ImportError:
        return Dense
    finally:
        if added:
            del sys.modules["nnsight"]


def rows() -> list[Row]:
    other = peer()
    return [
        Row(
            f"TopK dictionary step, {WIDTH} to {ONE.features}, k = {ONE.sparsity}",
            other.name,
            _step,
            lambda: _peer_step(other),
            "≥ 1.5",
        ),
        *(
            Row(
                f"sweep of {len(SWEEP)} dictionaries, {SWEEP_WIDTH} to {SWEEP_FEATURES}",
                f"{name}, one after the other",
                _together,
                theirs,
                "≥ 3",
                repeat=3,
            )
            for name, theirs in ((other.name, lambda: _peer_in_turn(other)), ("ours", _in_turn))
        ),
    ]


def _activations(width: int, batch: int) -> Tensor:
    """Mean square 1 per entry: sparse sums of random directions and a little noise."""
    keep_memory()  # as in an experiment, and for both sides of a row
    source = torch.Generator().manual_seed(0)
    directions = torch.randn(2 * width, width, generator=source)
    codes = torch.rand(batch, 2 * width, generator=source)
    x = (codes * (codes > 0.97)) @ directions + 0.1 * torch.randn(batch, width, generator=source)
    return x / x.pow(2).mean().sqrt()


def _trainer(members: tuple[Member, ...], x: Tensor) -> DictionaryTrainer:
    mean, scale = torch.zeros(x.shape[1]), torch.ones(())
    return DictionaryTrainer(members, Plan(10_000), mean, scale, x)


def _step():
    x = _activations(WIDTH, BATCH)
    trainer = _trainer((ONE,), x)
    return lambda: trainer.learn(x)


def _peer_step(other: type):
    x = _activations(WIDTH, BATCH)
    model = other(ONE, x)
    return lambda: model.step(x)


def _together():
    x = _activations(SWEEP_WIDTH, SWEEP_BATCH)
    trainer = _trainer(SWEEP, x)
    return lambda: trainer.learn(x)


def _in_turn():
    x = _activations(SWEEP_WIDTH, SWEEP_BATCH)
    trainers = [_trainer((member,), x) for member in SWEEP]
    return lambda: [trainer.learn(x) for trainer in trainers]


def _peer_in_turn(other: type):
    x = _activations(SWEEP_WIDTH, SWEEP_BATCH)
    models = [other(member, x) for member in SWEEP]
    return lambda: [model.step(x) for model in models]
