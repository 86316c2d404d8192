"""What one call of each work costs: seconds, bytes, and how they grow.

Seconds: a call warms up, then all points of a curve are timed in turn, a few rounds, so that a
machine which slows down meanwhile slows all of them and not the largest; the median counts. Calls
too short for the clock are timed many at once.

Bytes: the most that torch's tensors take at one moment of the first call, beyond what was there
before it (weights, moments of Adam, problems), from the profiler's record of every allocation.
The buffers which a trainer then keeps for the next step are in it. It is exact and repeats to the
byte, which the resident set of a process does not: there, what libraries take for themselves adds
30 to 60 MiB at every size, and rules where sizes are small.
"""

from __future__ import annotations

import json
import math
import statistics
import tempfile
import time
import timeit
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import torch
from scipy.stats import linregress
from torch.profiler import ProfilerActivity, profile

from benchmarks.harness import Work
from ired.model import problems
from ired.model.energies.mlp import EnergyConfig, MLPEnergy
from ired.model.sampling import SamplingConfig, sample
from ired.model.training.trainer import Trainer, TrainingConfig

SHORTEST = 0.05  # seconds that a timing lasts at least
PATIENCE = 3.0  # seconds that a point is timed for, about


@dataclass(frozen=True)
class Point:
    """One call: its work, what the curve runs over ("n" or "count"), median seconds and bytes."""

    work: str
    over: str
    n: int
    count: int
    seconds: float
    lowest: float
    highest: float
    bytes: int


@dataclass(frozen=True)
class Fit:
    """y = factor·x^power from x = start on; error is the power's standard error."""

    power: float
    error: float
    factor: float
    start: float

    def __str__(self) -> str:
        return f"{self.power:.2f} ± {self.error:.2f}".replace("± 0.00", "± <0.01")


def _step(mining: str) -> Callable[[int, int], Work]:
    def make(n: int, count: int) -> Work:
        trainer = Trainer(EnergyConfig(n), TrainingConfig.published(mining), seed=0)
        A = problems.draw(count, n, 0.5, problems.generator(0, "bench"))
        Y = problems.inverse(A)
        return lambda: trainer.learn(A, Y)

    return make


def _energy(n: int) -> MLPEnergy:
    return MLPEnergy(EnergyConfig(n), problems.generator(0, "weights")).requires_grad_(False)


def _sampling(n: int, count: int) -> Work:
    energy, config = _energy(n), SamplingConfig.published()
    A = problems.draw(count, n, 0.5, problems.generator(0, "bench"))
    return lambda: sample(energy, A, config, problems.generator(0, "start"))


def _hessian(n: int, count: int) -> Work:
    energy = _energy(n).double()
    A = problems.draw(count, n, 0.5, problems.generator(0, "bench"), torch.float64)
    y = energy.coordinates.encode(problems.inverse(A))
    return lambda: energy.hessian(A, y, 0)


WORKS: dict[str, Callable[[int, int], Work]] = {
    "training step": _step("none"),
    "training step, adversarial mining": _step("adversarial"),
    "annealed sampling": _sampling,
    "exact Hessian, float64": _hessian,
}
"""Work by name: from the side n and the number of problems to one call of it; hidden is 512."""


def curve(work: str, over: str, sizes: list[tuple[int, int]], rounds: int) -> list[Point]:
    """One work at sizes (n, count); what takes long gets fewer rounds, but two."""
    calls = [WORKS[work](*size) for size in sizes]
    first = [first_call(call) for call in calls]
    times: list[list[float]] = [[] for _ in calls]
    for i in range(rounds):
        for call, (once, _), seen in zip(calls, first, times, strict=True):
            if i < max(2, PATIENCE / once):
                number = math.ceil(SHORTEST / once)
                seen.append(timeit.timeit(call, number=number) / number)
    return [
        Point(work, over, n, count, statistics.median(seen), min(seen), max(seen), taken)
        for (n, count), (_, taken), seen in zip(sizes, first, times, strict=True)
    ]


def first_call(work: Work) -> tuple[float, int]:
    """Roughly its seconds, and its bytes."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        started = time.perf_counter()
        work()
        seconds = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        events = json.loads(path.read_text())["traceEvents"]
    changes = sorted((e["ts"], e["args"]["Bytes"]) for e in events if e["name"] == "[memory]")
    return seconds, max(accumulate(change for _, change in changes))


def exponent(x: list[float], y: list[float]) -> Fit:
    """The power of x that y grows with, by least squares on logarithms.

    Over the upper half of x's range (of its logarithm), where constants do not rule. The error
    covers noise and bend about the line; it says nothing of what lies beyond the range.
    """
    start = math.sqrt(min(x) * max(x))
    upper = [(math.log(a), math.log(b)) for a, b in zip(x, y, strict=True) if a >= start]
    line = linregress(*zip(*upper, strict=True))
    return Fit(float(line.slope), float(line.stderr), math.exp(line.intercept), start)
