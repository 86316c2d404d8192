"""Rows for several seeds of one training, at the size of the small profile.

Three ways: one after the other, with every core at each (theirs); side by side, with one core each, as
make runs them; and as one program whose weights are stacked, where products are batched.
"""

from __future__ import annotations

import multiprocessing

import torch

from benchmarks.harness import Row
from ired.lab.machine import cores, keep_memory
from ired.lab.profiles import PROFILES
from ired.model import problems
from ired.model.energies.mlp import EnergyConfig
from ired.model.training.ensemble import Ensemble, Recipe, draw_batches
from ired.model.training.trainer import MINING, Trainer, TrainingConfig

SEEDS, STEPS = 5, 40
SMALL = PROFILES["small"]


def rows() -> list[Row]:
    found = [
        Row(f"{SEEDS} seeds side by side, {mining} mining", "one after the other", _together(mining), _in_turn(mining))
        for mining in MINING
    ]
    stacked = Row(f"{SEEDS} seeds in one batched program, no mining", "one after the other", _stacked, _in_turn("none"))
    return [*found, stacked]


def _trainer(mining: str, seed: int) -> Trainer:
    config = TrainingConfig(c=SMALL.problem.c, mining=mining, **SMALL.training)
    return Trainer(EnergyConfig.for_problems(**SMALL.problem, **SMALL.model), config, seed)


def _in_turn(mining: str):
    def make():
        trainers = [_trainer(mining, seed) for seed in range(SEEDS)]

        def work():
            for trainer in trainers:
                trainer.advance(STEPS)

        return work

    return make


_worker: dict[int, Trainer] = {}  # of one process: those seeds that it has met


def _prepare() -> None:
    torch.set_num_threads(1)
    keep_memory()


def _advance(job: tuple[str, int]) -> None:
    mining, seed = job
    if seed not in _worker:
        _worker[seed] = _trainer(mining, seed)
    _worker[seed].advance(STEPS)


def _together(mining: str):
    def make():
        pool = multiprocessing.get_context("spawn").Pool(min(cores(), SEEDS), _prepare)
        jobs = [(mining, seed) for seed in range(SEEDS)]
        for _ in range(3):  # every process has met most seeds before anything is timed
            pool.map(_advance, jobs, chunksize=1)
        return lambda: pool.map(_advance, jobs, chunksize=1)

    return make


def _stacked():
    config = EnergyConfig.for_problems(**SMALL.problem, **SMALL.model)
    K, seeds = config.landscapes, torch.arange(SEEDS)
    recipe = Recipe(steps=STEPS, each=SMALL.training.batch // K)
    like = torch.zeros(())
    members = Ensemble.drawn(config, seeds, lambda s: problems.generator(s, "weights"), like)
    A = problems.draw(4096, config.n, SMALL.problem.c, problems.generator(0, "bench"))
    y0 = members.coordinates.encode(problems.inverse(A))
    masks = torch.ones(SEEDS, len(A), dtype=torch.bool)

    def work():
        batches = draw_batches(masks, seeds, recipe, members.coordinates.size, K, problems.generator(0, "batches"))
        members.train(A, y0, batches, recipe)

    return work
