"""Causal verdicts on directions: does what goes with a property cause it?

The verdict follows a rule that was settled on rehearsals with stand-in directions, before one that was found had been
seen; only that differences below 1e-7, which sampling does not resolve, count as none came later. `effects` says what
*beyond random* means.

causal and specific              the property's growth is beyond random, and specific
causal                           it is beyond random; without a concept: the answer's change is
moves its property backwards     its growth is as far beyond random in the other direction
moves things, not its property   the answer's change is beyond random, its property's is not
not beyond random                neither is

necessary, mediates: the loss under ablation and the share mediated have an interval above 0, differ from
the random draws' mean (sign flips, corrected over directions with a concept), and exceed each single
draw; for the share mediated also those of the covariance. sufficient: it mediates, and the interval of the share is
above one half. Where answers have no property to follow, necessary is that the error under ablation is beyond
random. Directions without a concept have no pairs made for them: specificity, sufficiency and mediation are left
empty.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame

from ired.instruments.interventions.responses import LEVEL
from ired.instruments.statistics.intervals import adjust

SPECIFIC = "causal and specific"
CAUSAL = "causal"
BACKWARDS = "moves its property backwards"
OTHERWISE = "moves things, not its property"
NOTHING = "not beyond random"
VERDICTS = (SPECIFIC, CAUSAL, BACKWARDS, OTHERWISE, NOTHING)
PARTS = ("moved", "carried", "error")
MARKS = {"lost": "follows_less", "mediates": "mediates"}  # by their p-values


def verdict(concept: str, beyond: bool, carries: bool, backwards: bool, specific: bool) -> str:
    """One of VERDICTS, by the rule of this module's docstring."""
    if not concept:
        return CAUSAL if beyond else NOTHING
    if carries:
        return SPECIFIC if specific else CAUSAL
    if backwards:
        return BACKWARDS
    return OTHERWISE if beyond else NOTHING


def direction_verdicts(
    directions: DataFrame, moved: DataFrame, carried: DataFrame, error: DataFrame, examined: DataFrame
) -> DataFrame:
    """One row a direction: correlational evidence, causal evidence, marks, verdict.

    directions: columns name, source, space, landscape, concept, evidence, measure; moved, error: of
    `effects`, all directions; carried: of those with a concept; examined: rows of `examine_direction`.
    """
    table = directions.rename(columns={"name": "direction"})
    for prefix, part in zip(PARTS, (moved, carried, error), strict=True):
        columns = {c: f"{prefix}_{c}" for c in part.columns if c != "direction"}
        table = table.merge(part.rename(columns=columns), on="direction", how="left")
    if len(examined):
        table = table.merge(examined, on="direction", how="left")
    missing = {"specific_low", "mediated", "mediated_low", "lost", *MARKS.values()}
    missing |= {f"{name}_p" for name in MARKS}
    table = table.assign(**dict.fromkeys(missing - {*table}, np.nan))
    for name, of in MARKS.items():
        table[f"{name}_p_adjusted"] = p = _adjusted(table[f"{name}_p"].to_numpy(float))
        table[of] = table[of].eq(True) & (p < LEVEL)
    for part in PARTS:
        table[f"{part}_beyond"] = table[f"{part}_beyond"].eq(True)
    backwards = (table["carried_p_adjusted"] < LEVEL) & (table["carried_difference"] < 0) & (table["carried_rank"] == 1)
    table["sufficient"] = table["mediates"] & (table["mediated_low"] > 0.5)
    table["is_specific"] = (table["specific_low"] > 0).to_numpy()
    table["necessary"] = np.where(table["lost"].notna(), table["follows_less"], table["error_beyond"])
    grounds = zip(
        table["concept"], table["moved_beyond"], table["carried_beyond"], backwards, table["is_specific"], strict=True
    )
    table["verdict"] = [verdict(*row) for row in grounds]
    return table


def _adjusted(p: NDArray) -> NDArray:
    """`adjust` of those (N,) that are numbers."""
    finite, adjusted = np.isfinite(p), np.full(len(p), np.nan)
    if finite.any():
        adjusted[finite] = adjust(p[finite])
    return adjusted
