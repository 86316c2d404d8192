"""Linearity of several energies as one table: affine share, spread, curvature, loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from pandas import DataFrame, concat
from torch import Tensor

from ired.instruments.linearity.affine_score import affine_score
from ired.instruments.linearity.denoising_loss import denoising_losses
from ired.instruments.linearity.hessian_spread import hessian_spread
from ired.instruments.statistics.tables import stacked
from ired.model.protocol import Energy

Stream = Callable[[str], torch.Generator]
"""stream(purpose): a generator that always begins alike for the same purpose."""
LOSS = "loss ratio"  # of the denoising loss to that of the affine denoiser
MEASURES = ("affine", "beyond y", "spread", "between", "curvature", "round", LOSS)
CONTROL = "affine"  # least squares seen as an energy


def linearity_tables(
    energies: Mapping[str, Energy],
    A: Tensor,
    landscapes: Sequence[int],
    stream: Stream,
    bent: int = 40,
    done: Callable[[], None] = lambda: None,
) -> dict[str, DataFrame]:
    """Of energies on problems A (P, n, n), float64, that least squares was not fitted to, at one noised answer each;
    Hessians of the first `bent` of them, at two.

    energies: CONTROL is among them, beside which all stand, on the same states. "linearity" has rows of energy,
    landscape, measure (one of MEASURES), value, low, high (of the closed form "round": it); "affine_score",
    "hessian_spread" and "denoising_loss" all that was measured. done() is called after each energy. Raises KeyError
    without CONTROL.
    """
    if CONTROL not in energies:
        raise KeyError(f"'{CONTROL}', least squares seen as an energy, is what others stand beside")
    scores, spreads = {}, {}
    for name, energy in energies.items():
        scores[name] = affine_score(energy, A, landscapes, stream("affine score")).table()
        spreads[name] = hessian_spread(energy, A[:bent], landscapes, stream("hessian spread"))
        done()
    losses = denoising_losses(energies, A, landscapes, stream("denoising loss"))
    ratios = {name: losses.ratios(name, CONTROL).assign(landscape=landscapes, measure=LOSS) for name in energies}
    tables = {
        "affine_score": stacked(scores, "energy"),
        "hessian_spread": stacked({name: h.table(spreads[CONTROL]) for name, h in spreads.items()}, "energy"),
    }
    long = concat([_long(**tables), stacked(ratios, "energy")], ignore_index=True)
    return {"linearity": long} | tables | {"denoising_loss": losses.table(CONTROL)}


def _long(affine_score: DataFrame, hessian_spread: DataFrame) -> DataFrame:
    columns = ["energy", "landscape", "measure", "value", "low", "high"]
    parts = []
    for inputs, measure in (("A, y", "affine"), ("beyond y", "beyond y")):
        rows = affine_score[affine_score["inputs"] == inputs]
        parts.append(rows.assign(measure=measure, value=rows["share"])[columns])
    for measure in ("spread", "between", "curvature", "round"):
        value = hessian_spread[measure]
        ends = {end: hessian_spread.get(f"{measure}_{end}", value) for end in ("low", "high")}
        parts.append(hessian_spread.assign(measure=measure, value=value, **ends)[columns])
    return concat(parts, ignore_index=True)
