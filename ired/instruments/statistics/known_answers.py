"""Known answers of intervals and corrections: coverage on simulated data, numbers by hand."""

from __future__ import annotations

import numpy as np
import torch

from ired.instruments.core.check import Check, compare
from ired.instruments.core.reference_energies import References
from ired.instruments.statistics import intervals


def check_statistics(references: References, generator: torch.Generator) -> list[Check]:
    """Intervals cover what they promise on simulated data; the problem is the unit."""
    rng = np.random.default_rng(int(torch.randint(2**31, (), generator=generator)))
    rounds = 1000
    hits = 0
    for _ in range(rounds):
        interval = intervals.mean_interval(rng.normal(1, 3, 5))
        hits += interval.low <= 1 <= interval.high
    # Four binomial standard errors of 0.95 over 1000 rounds are 0.028.
    checks = [
        Check("statistics", "Student t coverage at 5 units", expected=0.95, measured=hits / rounds, tolerance=0.03)
    ]
    rounds, hits = 300, 0
    for _ in range(rounds):
        interval = intervals.bootstrap_interval(rng.normal(1, 3, 40), resamples=499)
        hits += interval.low <= 1 <= interval.high
    checks.append(
        Check("statistics", "BCa coverage at 40 units", expected=0.94, measured=hits / rounds, tolerance=0.055)
    )
    groups = np.repeat(np.arange(40), 25)
    values = rng.normal(size=40)[groups]
    spread = [
        interval.high - interval.low
        for interval in (
            intervals.bootstrap_interval(values, groups=groups),
            intervals.bootstrap_interval(values),
        )
    ]
    checks.append(
        Check(
            "statistics",
            "clustered over naive width for 25 equal points per problem",
            expected=5.0,
            measured=spread[0] / spread[1],
            tolerance=1.0,
        )
    )
    p = intervals.adjust([0.01, 0.04, 0.03, 0.5])
    checks.append(compare("statistics", "Benjamini-Hochberg", [0.04, 0.16 / 3, 0.16 / 3, 0.5], p, 1e-12))
    constant = intervals.mean_interval(np.full(30, 0.7))
    checks.append(
        Check("statistics", "width for constant data", expected=0, measured=constant.high - constant.low, tolerance=0)
    )
    return checks
