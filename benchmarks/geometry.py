"""Rows for the geometry of SPD matrices: batches of pairs at the published side, against geomstats.

Either side takes the same float64 matrices, problems and the next problems, and gives the same numbers
(`metric_laws.libraries` holds them against each other to 1e-8).
"""

from __future__ import annotations

import torch

from benchmarks.harness import Row
from ired.instruments.geometry import metric_laws, metrics
from ired.model import problems

N, PAIRS = 20, 10_000


def rows() -> list[Row]:
    found = [(name, "distance", "≥ 4") for name in metrics.METRICS if name != "Euclidean"]
    found += [("affine-invariant", "log", "≥ 4"), ("affine-invariant", "exp", "≥ 4")]
    return [
        Row(f"{name} {what}, {PAIRS} pairs, n = {N}", "geomstats", _ours(name, what),
            _theirs(name, what), goal)
        for name, what, goal in found
    ]


def _pairs() -> tuple[torch.Tensor, torch.Tensor]:
    A = problems.draw(PAIRS, N, 0.5, problems.generator(0, "bench"), torch.float64)
    return A, A.roll(-1, 0)


def _ours(name: str, what: str):
    def make():
        (P, Q), metric = _pairs(), metrics.METRICS[name]
        if what == "exp":
            Q = metric.log(P, Q)
        return lambda: getattr(metric, what)(P, Q)

    return make


def _theirs(name: str, what: str):
    def make():
        (P, Q), metric = _pairs(), metric_laws.geomstats(N)[name]
        if what == "exp":
            Q = metrics.METRICS[name].log(P, Q)
        p, q = P.numpy(), Q.numpy()
        if what == "distance":
            return lambda: metric.dist(p, q)
        return lambda: getattr(metric, what)(q, p)

    return make
