"""Retraining without the training problems that are said to help an outcome most: what becomes of it?

They are taken away (as by Ilyas et al. 2022, arXiv 2202.00622) and networks trained anew, beside networks
that lack as many random problems and networks that lack none; several seeds each, the same ones for all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ired.instruments.statistics import intervals
from ired.instruments.statistics.intervals import Interval

ARMS = (
    "most helpful to it",
    "most helpful to all",
    "most harmful to all",
    "random",
)


def without_top(helps: Tensor, share: float) -> Tensor:
    """Masks (T, N) of all but the `share` of problems that help most, one at least, by helps (T, N)."""
    count = max(1, round(share * helps.shape[1]))
    masks = torch.ones_like(helps, dtype=torch.bool)
    return masks.scatter(1, helps.topk(count, dim=1).indices, False)


def arms(helps: Tensor, share: float, sets: int, generator: torch.Generator) -> Tensor:
    """Masks (T + 2 + sets + 1, N): without each test problem's most helpful ones, those of all
    together, the most harmful of all, random ones; and everything."""
    mean = helps.mean(0, keepdim=True)
    luck = torch.rand(sets, helps.shape[1], generator=generator, dtype=torch.float64)
    scores = torch.cat((helps, mean, -mean, luck.to(helps)))
    everything = torch.ones(1, helps.shape[1], dtype=torch.bool, device=helps.device)
    return torch.cat((without_top(scores, share), everything))


@dataclass(frozen=True)
class Removal:
    """Rises of T outcomes above those of networks trained on everything, in parts of the mean outcome.

    by: arm → (T,), averaged over seeds, and over sets for "random"; noise: the standard deviation over
    seeds of one network's mean outcome, in the same unit.
    """

    by: dict[str, NDArray]
    noise: float

    def paired(self, arm: str = ARMS[0], other: str = ARMS[3]) -> Interval:
        """How much more one removal raises outcomes than another, over test problems."""
        return intervals.paired_interval(self.by[arm], self.by[other])

    def rows(self) -> list[dict]:
        """arm, mean, low, high, over test problems."""
        by_arm = {arm: intervals.mean_interval(values) for arm, values in self.by.items()}
        return [{"arm": a, "mean": f.estimate, "low": f.low, "high": f.high} for a, f in by_arm.items()]


def compare_arms(outcomes: NDArray, tests: int) -> Removal:
    """From outcomes (C, T + 2 + sets + 1, T) of retrainings with C seeds on the masks of `arms`.

    Outcomes are errors: what is better is smaller.
    """
    whole = outcomes[:, -1]
    rise = (outcomes.mean(0) - whole.mean(0)) / whole.mean()
    values = np.diagonal(rise[:tests]), rise[tests], rise[tests + 1], rise[tests + 2 : -1].mean(0)
    noise = whole.mean(1).std(ddof=1) / whole.mean() if len(whole) > 1 else 0.0
    return Removal({arm: np.array(v) for arm, v in zip(ARMS, values, strict=True)}, float(noise))
