"""Linearity of several energies as one table: affine share of the score, spread of Hessians, curvature, loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from pandas import DataFrame, concat
from torch import Tensor

from ired.instruments.linearity import affine_score, denoising_loss, gaussian_curvature, hessian_spread
from ired.model.protocol import Energy

Stream = Callable[[str], torch.Generator]
"""stream(purpose): a generator that always begins alike for the same purpose."""
MEASURES = ("affine", "beyond y", "spread", "between", "curvature", "round")
LOSS = "loss ratio"  # of the denoising loss to that of the affine denoiser


def linearity_tables(
    energies: Mapping[str, Energy],
    A: Tensor,
    landscapes: Sequence[int],
    stream: Stream,
    bent: int = 40,
    count: int = 2,
    probes: int | None = None,
    done: Callable[[], None] = lambda: None,
) -> dict[str, DataFrame]:
    """Of problems A (P, n, n), float64, at one noised answer each; Hessians of the first `bent` of them, at `count`.

    All energies of the same coordinates see the same states. "linearity" has rows of energy, landscape, measure (one
    of MEASURES, or LOSS where one of the energies is "affine"), value, low, high; "affine_score", "hessian_spread" and
    "denoising_loss" all that was measured. done() is called after each energy.
    """
    affine, spreads, closed = [], [], {}
    for name, energy in energies.items():
        key = energy.coordinates, energy.schedule.K
        if key not in closed:
            closed[key] = gaussian_curvature.linear_prediction(energy, A)
        score = affine_score.affine_score(energy, A, landscapes, stream("affine score"))
        affine.append(score.table().assign(energy=name))
        measured = hessian_spread.hessian_spread(
            energy, A[:bent], landscapes, stream("hessian spread"), count=count, probes=probes
        )
        spreads.append(measured.table(closed[key]).assign(energy=name))
        done()
    tables = {"affine_score": concat(affine, ignore_index=True), "hessian_spread": concat(spreads, ignore_index=True)}
    long = _long(**tables)
    if "affine" in energies:
        losses = denoising_loss.denoising_losses(energies, A, landscapes, stream("denoising loss"))
        tables["denoising_loss"] = losses.table("affine")
        ratios = [
            losses.ratios(name, "affine").assign(energy=name, landscape=landscapes, measure=LOSS) for name in energies
        ]
        long = concat([long, *ratios], ignore_index=True)
    return {"linearity": long} | tables


def _long(affine_score: DataFrame, hessian_spread: DataFrame) -> DataFrame:
    columns = ["energy", "landscape", "measure", "value", "low", "high"]
    parts = []
    for inputs, measure in (("A, y", "affine"), ("beyond y", "beyond y")):
        rows = affine_score[affine_score["inputs"] == inputs]
        parts.append(rows.assign(measure=measure, value=rows["share"])[columns])
    for measure in MEASURES[2:]:
        ends = {f"{measure}_low": "low", f"{measure}_high": "high", measure: "value"}
        parts.append(hessian_spread.rename(columns=ends).assign(measure=measure)[columns])
    return concat(parts, ignore_index=True)
