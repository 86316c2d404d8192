"""Hessians of several energies at once, compared problem by problem (P1-03).

On a bowl around a prediction the Hessian is the same for all problems: it follows no function of them, its condition
number ranks none, and its eigenvalues are positive.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import NDArray
from pandas import DataFrame, concat
from torch import Tensor

from ired.instruments.landscape import hessian
from ired.instruments.landscape.study import BY, AskedMeasure, sharpest, sharpest_by_energy
from ired.instruments.statistics.intervals import Interval, mean_interval, paired_interval
from ired.instruments.statistics.tables import summarise
from ired.model.protocol import Energy

CURVATURES = (
    "ideal_scale",
    "ideal_distance",
    "negative_share",
    "participation",
    *(f"{name}_cosine_centred" for name in hessian.FUNCTIONS),
    "algebraic_spearman",
)


def curvature_tables(
    energies: Mapping[str, Energy],
    A: Tensor,
    places: Mapping[str, Tensor],
    done: Callable[[], Any] = lambda: None,
    readers: Mapping[tuple[str, str], hessian.HessianReader] | None = None,
) -> tuple[DataFrame, DataFrame, dict[str, NDArray]]:
    """Hessians of all energies at places, states (K, P, d) in all landscapes by name: table, summary, spectra.

    readers: by place and energy, handed its Hessians (see `hessian.hessian_spectra`).

    table: a row per place, energy, landscape and problem; summary: means of CURVATURES with intervals over problems,
    and condition_correlation, the rank correlation with the condition number of A; spectra: float32 arrays
    (K, P, m) by "energy.place.part".
    """
    tables, rows, spectra = [], [], {}
    for place, y in places.items():
        for name, energy in energies.items():
            bent = hessian.hessian_spectra(energy, A, y, range(len(y)), reader=(readers or {}).get((place, name)))
            tables.append(DataFrame(bent.columns()).assign(energy=name, place=place))
            for part in ("eigenvalues", "gauss_newton", "residual", "symmetric", "antisymmetric"):
                spectra[f"{name}.{place}.{part}"] = getattr(bent, part).astype("float32")
            correlation = hessian.condition_correlation(bent)
            rows += [
                {
                    "place": place,
                    "energy": name,
                    "landscape": k,
                    "mean": correlation.estimate[k],
                    "low": correlation.low[k],
                    "high": correlation.high[k],
                    "measure": "condition_correlation",
                }
                for k in range(len(y))
            ]
            done()
    table = concat(tables, ignore_index=True)
    table["negative_share"] = table["negative"] / next(iter(energies.values())).coordinates.size
    summary = summarise(table, ["place", *BY], CURVATURES)
    return table, concat([summary, DataFrame(rows)], ignore_index=True), spectra


def curvature_verdicts(table: DataFrame) -> dict[str, tuple[bool, dict[str, float]]]:
    """P1-03's criteria of curvature, decided at noised answers of "trained" in the sharpest landscape (k = 0) of a
    table of `curvature_tables`, and the numbers behind them."""
    negative = mean_interval(_noised(table, "negative_share"))
    nearer = paired_interval(_noised(table, "ideal_distance"), _noised(table, "ideal_distance", "untrained"))
    aligned = mean_interval(_noised(table, "algebraic_cosine_centred"))
    others = {
        name: _noised(table, f"{name}_cosine_centred").mean() for name in hessian.FUNCTIONS if name != "algebraic"
    }
    return {
        "curved_upwards_at_noise": (negative.high < 0.05, {"share": negative.estimate}),
        "nearer_to_the_ideal_than_untrained": (nearer.high < 0, {"difference": nearer.estimate}),
        "curvature_knows_the_problem": (
            aligned.low > 0,
            {
                "cosine": aligned.estimate,
                "low": aligned.low,
                "untrained": _noised(table, "algebraic_cosine_centred", "untrained").mean(),
                **others,
            },
        ),
    }


def mean_curvature(table: DataFrame) -> Interval:
    """Mean curvature × σ of "trained" at noised answers of k = 0, of a table of `curvature_tables`."""
    return mean_interval(_noised(table, "ideal_scale"))


def curvature_measures(table: DataFrame) -> dict[str, AskedMeasure]:
    """What P1-03's claims rest on, of a table of `curvature_tables` at noised answers of k = 0: alignment first."""
    cosine = "cosine of the Hessian's traceless part to that of {} ⊗ I, k = 0"
    asked = {
        f"{name}_cosine": (cosine.format(label), f"{name}_cosine_centred", True)
        for name, label in hessian.FUNCTION_LABELS.items()
    }
    asked |= {
        "negative_share": ("share of negative eigenvalues, k = 0", "negative_share", False),
        "ideal_distance": ("distance of the Hessian to the best multiple of I, k = 0", "ideal_distance", False),
    }
    return {
        key: (title, sharpest_by_energy(table, measure, place="noised"), higher)
        for key, (title, measure, higher) in asked.items()
    }


def _noised(table: DataFrame, measure: str, energy: str = "trained") -> NDArray:
    return sharpest(table, measure, energy, place="noised")
