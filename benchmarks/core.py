"""Rows for the model: training, data, sampling, Hessians, at the published size."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from benchmarks.harness import Row
from ired.model import problems
from ired.model.energies.mlp import EnergyConfig, MLPEnergy
from ired.model.sampling import SamplingConfig, sample
from ired.model.training.trainer import Trainer, TrainingConfig

N, BATCH = 20, 2048


def rows(peer: type, bfloat16: bool) -> list[Row]:
    """`peer` is Plain or the official release; bfloat16 rows only where asked for."""
    goals = {"none": "≥ 1.5", "random": "", "adversarial": "≥ 2.0"}
    found = [
        Row(f"training step, {mining} mining", peer.name, _step(mining), _peer_step(peer, mining), goal)
        for mining, goal in goals.items()
    ]
    released = _peer_step(peer, "adversarial")
    name = "training step, random mining"
    found.insert(2, Row(name, f"{peer.name}, with its descent", _step("random"), released, "≥ 2.5"))
    if bfloat16:
        found += [
            Row(
                f"training step, {mining} mining, bfloat16",
                peer.name,
                _step(mining, "bfloat16"),
                _peer_step(peer, mining),
                goal,
            )
            for mining, goal in (("none", "≥ 3.5"), ("random", ""), ("adversarial", "≥ 3.5"))
        ]
    found += [
        Row(f"data, {BATCH} problems", peer.name, _data, lambda: lambda: peer.draw(BATCH, N), "≥ 5"),
        Row("training loop with its data, no mining", peer.name, _loop, _peer_loop(peer)),
    ]
    for count in (256, BATCH):
        weights = MLPEnergy(EnergyConfig(N), problems.generator(0, "weights")).state_dict()
        A = problems.draw(count, N, 0.5, problems.generator(0, "bench"))
        found.append(
            Row(
                f"sampling, {count} problems",
                peer.name,
                _sampling(weights, A),
                _peer_sampling(peer, weights, A),
                "≥ 2.5",
            )
        )
    found.append(
        Row("100 Hessians × 10 landscapes, float64", "torch.func, 1 × 10", _hessians(100), _autograd_hessians, "< 60 s")
    )
    return found


def _problems() -> tuple[torch.Tensor, torch.Tensor]:
    A = problems.draw(BATCH, N, 0.5, problems.generator(0, "bench"))
    return A, problems.inverse(A)


def _trainer(mining: str, precision: str = "float32") -> Trainer:
    config = replace(TrainingConfig.published(mining), precision=precision)
    return Trainer(EnergyConfig(N), config, seed=0)


def _step(mining: str, precision: str = "float32"):
    def make():
        trainer, (A, Y) = _trainer(mining, precision), _problems()
        return lambda: trainer.learn(A, Y)

    return make


def _peer_step(peer: type, mining: str):
    def make():
        model, (A, Y) = peer(N, mining), _problems()
        return lambda: model.step(A, Y)

    return make


def _data():
    source = problems.generator(0, "bench")
    return lambda: problems.inverse(problems.draw(BATCH, N, 0.5, source))


def _loop():
    trainer = _trainer("none")
    return lambda: trainer.advance(1)


def _peer_loop(peer: type):
    def make():
        model = peer(N)
        return lambda: model.step(*(x.float() for x in peer.draw(BATCH, N)))

    return make


def _sampling(weights: dict[str, Any], A: torch.Tensor):
    def make():
        energy = MLPEnergy(EnergyConfig(N)).requires_grad_(False)
        energy.load_state_dict(weights)
        return lambda: sample(energy, A, SamplingConfig.published(), problems.generator(0, "start"))

    return make


def _peer_sampling(peer: type, weights: dict[str, Any], A: torch.Tensor):
    def make():
        model = peer(N, weights=weights)
        return lambda: model.sample(A)

    return make


def _points(count: int):
    energy = MLPEnergy(EnergyConfig(N), problems.generator(0, "weights")).double().requires_grad_(False)
    A = problems.draw(count, N, 0.5, problems.generator(0, "bench"), torch.float64)
    return energy, A, energy.coordinates.encode(problems.inverse(A))


def _hessians(count: int):
    def make():
        energy, A, y = _points(count)
        return lambda: [energy.hessian(A, y, k) for k in range(energy.schedule.K)]

    return make


def _autograd_hessians():
    """One problem: a hundred would take minutes. The table says so."""
    energy, A, y = _points(1)

    def work():
        for k in range(energy.schedule.K):
            torch.func.hessian(lambda state, k=k: energy.energy(A, state[None], k)[0])(y[0])

    return work
