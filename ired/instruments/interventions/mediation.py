"""Causal mediation analysis: which share of a property's total effect on the answer runs through a direction.

Pearl 2001, "Direct and indirect effects" (UAI); Vig et al. 2020 (arXiv 2004.12265) for networks. Two questions, each
beside random directions of the same space, with a pair of problems as the unit:

sufficiency   with its coordinate taken from the twin problem that has more of the property and is else
              alike, the answer's property goes this share of the way to the twin's (`mediated`)
mediation     that share is the natural indirect effect over the total effect; `held` is what the
              twin's own answer loses of the total effect with the coordinate held at the first's

Shares are of total effects that are there (`Mediation.present`). They are held against isotropic directions and
against ones of the covariance, as an isotropic direction of a wide layer carries next to nothing of anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ired.instruments.core import states as points
from ired.instruments.core.sampler import Sampler
from ired.instruments.interventions.edits import Place, Twins, swapped
from ired.instruments.interventions.effects import beyond_draws, undefined
from ired.instruments.interventions.responses import LEVEL
from ired.instruments.statistics.intervals import Interval, mean_interval, ratio_interval, student_interval
from ired.model.protocol import Energy

_NAN = float("nan")


@dataclass(frozen=True)
class Mediation:
    """Effects on a property of the answers of P pairs, for m directions (row 0 is the one studied).

    total (P,): the twin's minus the first's; indirect (m, P): of the first with the twin's coordinate;
    direct (m, P): of the twin with the first's coordinate; whole (P,): of the first with all
    coordinates of the place from the twin (a part can do more, where others work against it). Where it is
    the state that differs, what undoes the difference has a negative share.
    """

    total: NDArray
    indirect: NDArray
    direct: NDArray
    whole: NDArray

    @property
    def present(self) -> bool:
        """Whether the property differs so surely within pairs that shares of the total effect are stable:
        its interval excludes 0 at a level of 99.99 %."""
        return bool(student_interval(self.total, 0.9999).excludes(0.0))

    def share(self, part: NDArray) -> Interval:
        """Mean of a part (P,) over the mean total effect; NaN where there is no total effect."""
        if not self.present:
            return undefined(len(self.total))
        return ratio_interval(part, self.total)


def mediation(
    energy: Energy,
    sampler: Sampler,
    property_of: Callable[[Tensor, Tensor], Tensor],
    twins: Twins,
    place: Place,
    V: Tensor,
) -> Mediation:
    """For directions V (m, width); property_of(answers (B, d), y0 (B, d)) -> (B,)."""
    before = sampler(energy, twins.A, twins.y, first=twins.first)
    after = sampler(energy, twins.A_more, twins.y_more, first=twins.first)

    def values(answers: Tensor, y0: Tensor) -> NDArray:
        """(m, P) of answers (m, P, d)."""
        read = property_of(answers.flatten(0, 1), y0.repeat(len(answers), 1))
        return points.array(read).reshape(answers.shape[:2])

    base = values(before[None], twins.y0)[0]
    patch = swapped(energy, sampler, twins, place, V, back=False)
    held = swapped(energy, sampler, twins, place, V, back=True)
    whole = swapped(energy, sampler, twins, place, None, back=False)
    return Mediation(
        total=values(after[None], twins.y0_more)[0] - base,
        indirect=values(patch, twins.y0) - base,
        direct=values(held, twins.y0_more) - base,
        whole=values(whole, twins.y0)[0] - base,
    )


def mediated(effects: Mediation, random: slice, covariance: slice) -> dict[str, Any]:
    """Numbers of the direction in row 0; `random` and `covariance` are the rows of the controls.

    Shares of the total effect, each with its bootstrap interval over pairs; excess: direction − mean of the
    draws, mediates_p: the larger p-value of the two excesses; largest: of the draws. mediated_placebo: how
    many of the covariance's draws are as surely beyond all other draws, as a share.
    """
    studied, chance = effects.indirect[0], {"random": random, "covariance": covariance}
    parts = {"mediated": studied, "held": effects.total - effects.direct[0], "whole": effects.whole}
    row: dict[str, Any] = {}
    for name, rows in chance.items():
        draws = effects.indirect[rows]
        parts |= {f"mediated_{name}": draws.mean(0), f"excess_{name}": studied - draws.mean(0)}
        row[f"largest_{name}"] = max(effects.share(draw).estimate for draw in draws)
    total = mean_interval(effects.total)
    row |= {"total": total.estimate, "total_low": total.low, "total_high": total.high}
    for name, part in parts.items():
        share = effects.share(part)
        row |= {name: share.estimate, f"{name}_low": share.low, f"{name}_high": share.high}
    sign = np.sign(effects.total.mean())
    kinds = [sign * effects.indirect[rows] for rows in chance.values()]
    row["mediates_p"] = beyond_draws(sign * studied, *kinds) if effects.present else _NAN
    row["mediates"] = effects.present and bool(row["mediated_low"] > 0 and row["mediates_p"] < 1)
    draws = kinds[1]
    tried = [beyond_draws(draw, kinds[0], np.delete(draws, j, 0)) for j, draw in enumerate(draws)]
    row["mediated_placebo"] = float(np.mean(np.array(tried) < LEVEL)) if effects.present else _NAN
    return row
