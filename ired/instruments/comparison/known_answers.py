"""Known answers of the comparison of variants: copies, planted shifts, relabelled seeds."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from numpy.typing import NDArray
from pandas import DataFrame

from ired.instruments.comparison import paired_seeds
from ired.instruments.core.check import Check, compare
from ired.instruments.statistics import intervals, power

SEEDS, DRAWS = 5, 20000


def check_comparison(generator: torch.Generator) -> list[Check]:
    """Copies are equal, a shift has its size, rates of error and of discovery are those stated."""
    rng = np.random.default_rng(int(torch.randint(2**31, (), generator=generator)))
    return [*_tables(rng), *_relabelled(rng), *_rates(rng)]


def _tables(rng: np.random.Generator) -> list[Check]:
    name, metrics, shift = "comparison", 8, -4.0
    base = 10 + 2 * rng.standard_normal((metrics, SEEDS))  # what a seed does to all variants
    moved = base + 0.5 * rng.standard_normal(base.shape)
    moved[0] += shift - (moved[0] - base[0]).mean()
    table = _long({"none": base, "copy": base, "moved": moved})
    compared = paired_seeds.compare_variants(table, resamples=99)
    copy = compared.table[compared.table["variant"] == "copy"]
    nothing = copy[["difference", "low", "high", "d_z", "bootstrap_low", "detectable"]]
    row = compared.cell("moved", "0")
    step = np.linspace(0, 12, 7)
    added = {str(v): base[:1] + height for v, height in enumerate(step)}
    shares = paired_seeds.spread(_long(added)).iloc[0]
    left = paired_seeds.against_constant(0.93 * base[0], base[0])
    other = paired_seeds.against_constant(0.97 * base[0], base[0])
    variances = np.var(step, ddof=1), np.var(base[0], ddof=1)
    return [
        compare(name, "p-values of a copy", 1, copy[["p_t", "p_flip", "p_t_adjusted"]].to_numpy(), 0),
        compare(name, "differences of a copy, and their intervals", 0, nothing.to_numpy(), 0),
        Check(name, "a planted shift", expected=shift, measured=row["difference"], tolerance=1e-12),
        Check(
            name,
            "its deviations",
            expected=shift / np.std(moved[0] - base[0], ddof=1),
            measured=row["d_z"],
            tolerance=1e-9,
        ),
        Check(
            name,
            "its p-value by sign flips is the floor",
            expected=2 / 2**SEEDS,
            measured=row["p_flip"],
            tolerance=1e-12,
        ),
        Check(
            name,
            "its share of the reference",
            expected=shift / base[0].mean(),
            measured=row["relative"],
            tolerance=1e-9,
        ),
        Check(name, "whether it is significant", expected=1, measured=row["significant"], tolerance=0),
        Check(
            name,
            "share of variants in planted variances",
            expected=variances[0] / sum(variances),
            measured=shares["variant"],
            tolerance=1e-9,
        ),
        Check(name, "7 % below a constant, and 3 %", expected=1, measured=left.beats and not other.beats, tolerance=0),
        Check(
            name,
            "7 % below a constant that differs between seeds",
            expected=-0.07,
            measured=left.relative.low,
            tolerance=1e-9,
        ),
    ]


def _relabelled(rng: np.random.Generator) -> list[Check]:
    """Labels swapped within seeds in all ways: whatever the data, p ≤ k/2^S holds k times."""
    first, second = rng.standard_normal((2, SEEDS)) + np.array([[1.0], [0.0]])
    swap = np.array(list(itertools.product([False, True], repeat=SEEDS)))
    p = paired_seeds.paired(np.where(swap, second, first), np.where(swap, first, second)).p_flip
    even = 2 * np.arange(1, 2 ** (SEEDS - 1) + 1)
    return [
        compare("comparison", "p-values over all relabelled seeds", np.repeat(even, 2) / 2**SEEDS, np.sort(p), 1e-12)
    ]


def _rates(rng: np.random.Generator) -> list[Check]:
    """Tolerances: five standard deviations of a share among the draws."""
    name, least = "comparison", power.detectable(SEEDS)
    base = 20 + 3 * rng.standard_normal((DRAWS, SEEDS))
    noise = rng.standard_normal(base.shape)
    swap = rng.random(base.shape) < 0.5
    null = paired_seeds.paired(np.where(swap, base, base + noise), np.where(swap, base + noise, base))
    effect = paired_seeds.paired(base + noise + least, base)
    low, high = intervals.fieller(0.8 * base + noise, base, 0.95)[1:]
    shares = {
        "share of p < 0.05 over relabelled seeds, t-test": (0.05, null.p_t < 0.05),
        "share of p at the floor over relabelled seeds, sign flips": (2 / 2**SEEDS, null.p_flip <= null.floor + 1e-12),
        "share of 95 % intervals that hold the effect": (0.95, (effect.low <= least) & (least <= effect.high)),
        "share of 95 % intervals that hold a ratio": (0.95, (low <= -0.2) & (-0.2 <= high)),
        "power at the smallest detectable effect": (0.8, effect.p_t < 0.05),
    }
    return [
        Check(
            name,
            what,
            expected=share,
            measured=float(np.mean(hits)),
            tolerance=5 * float(np.sqrt(share * (1 - share) / DRAWS)),
        )
        for what, (share, hits) in shares.items()
    ] + [
        # 1.682 and 0.996, solved with scipy.stats.nct; METHODS §6 has the first one, from simulations.
        Check(
            name,
            "smallest detectable effects at 5 and 10 seeds",
            expected=1.682 + 0.996,
            measured=least + power.detectable(10),
            tolerance=0.01,
        )
    ]


def _long(values: dict[str, NDArray]) -> DataFrame:
    """variant → (metrics, S) as a table; metrics are called by their numbers."""
    rows = [
        (variant, seed, str(metric), value)
        for variant, grid in values.items()
        for (metric, seed), value in np.ndenumerate(grid)
    ]
    return DataFrame(rows, columns=["variant", "seed", "metric", "value"])
