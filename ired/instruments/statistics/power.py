"""Power of the paired t-test (noncentral t, Cohen 1988), and the effect that so many units see."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import special


@lru_cache
def detectable(seeds: int, power: float = 0.8, level: float = 0.95) -> float:
    """The d_z that a two-sided t-test at 1 − level sees with this power."""
    from scipy.optimize import brentq

    high = 1.0
    while power_of_paired_t_test(high, seeds, level) < power:
        high *= 2
    return float(brentq(lambda d: power_of_paired_t_test(d, seeds, level) - power, 0.0, high))


def power_of_paired_t_test(d_z: float, seeds: int, level: float = 0.95) -> float:
    """Power of the two-sided t-test of `seeds` differences whose true mean is d_z deviations."""
    freedom, shift = seeds - 1, abs(d_z) * np.sqrt(seeds)
    critical = special.stdtrit(freedom, (1 + level) / 2)
    # The other tail is not found by scipy where it is below 1e-9.
    wrong = np.nan_to_num(special.nctdtr(freedom, shift, -critical), nan=0.0)
    return float(1 - special.nctdtr(freedom, shift, critical) + wrong)
