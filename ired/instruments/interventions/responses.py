"""Dose-response curves of directions, and tests against random directions of equal norm.

Responses are those of `pushes.respond`, with the problem as the unit: Student's t over problems, Benjamini-Hochberg
over directions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pandas import DataFrame
from scipy import special

from ired.instruments.interventions.pushes import KEYS, MEASURES, RESOLUTION
from ired.instruments.statistics.intervals import adjust, paired_interval

LEVEL = 0.05


def summarised(responses: DataFrame, level: float = 0.95) -> DataFrame:
    """Means of MEASURES by direction, control, edit and dose, with Student's t intervals over problems,
    draws averaged first; least, most: the lowest and the highest mean of a draw. Beside `carried`,
    `changed`: by how much it differs from that of the unedited sample.
    """
    still = responses[responses["edit"].eq("add") & responses["dose"].eq(0)]
    still = still.set_index(["direction", "problem"])["carried"].rename("still")
    rows = responses.join(still, on=["direction", "problem"])
    rows = rows.assign(changed=rows["carried"] - rows["still"])
    by = ["direction", "control", "edit", "dose", "measure"]
    long = rows.melt([*KEYS], [*MEASURES, "changed"], "measure").dropna()
    units = long.groupby([*by, "problem"], sort=False)["value"].mean()
    over = units.groupby(by, sort=False).agg(["mean", "std", "count"])
    reach = special.stdtrit(over["count"] - 1, (1 + level) / 2) * over["std"] / over["count"] ** 0.5
    drawn = long.groupby([*by, "draw"], sort=False)["value"].mean().groupby(by, sort=False)
    columns = {
        "mean": over["mean"],
        "low": over["mean"] - reach,
        "high": over["mean"] + reach,
        "units": over["count"],
        "least": drawn.min(),
        "most": drawn.max(),
    }
    return DataFrame(columns).reset_index()


def movement(responses: DataFrame, level: float = 0.95) -> DataFrame:
    """Does each direction move the sampled answer more than random ones of equal norm?

    At the largest doses of both signs: moved, off_manifold (median) of the direction; random, covariance,
    orthogonal: moved of these, most: of the random draw that moves most; random_off: their distance;
    ahead, low, high: direction − random, paired over problems; p one-sided, p_adjusted by Benjamini-Hochberg
    over directions; p_covariance, p_covariance_adjusted: the same against directions of the
    covariance; above_all: whether it moves more than every single random draw; beyond: above_all at
    p_adjusted < LEVEL, by no less than RESOLUTION.
    """
    strong = responses[(responses["edit"] == "add") & _strongest(responses["dose"])]
    rows = []
    for name, table in strong.groupby("direction", sort=False):
        moved = table.groupby(["control", "problem"])["moved"].mean().unstack("problem")
        draws = table[table["control"] == "random"].groupby("draw")["moved"].mean()
        studied, random, usual = (moved.loc[c].to_numpy() for c in ("own", "random", "covariance"))
        gain = paired_interval(studied, random, level)
        far = table.groupby("control")["off_manifold"].median()
        row = {
            "direction": name,
            **moved.mean(axis=1).rename({"own": "moved"}),
            "most": draws.max(),
            "off_manifold": far["own"],
            "random_off": far["random"],
            "ahead": gain.estimate,
            "low": gain.low,
            "high": gain.high,
            "p": p_above(studied - random),
            "p_covariance": p_above(studied - usual),
            "above_all": bool(studied.mean() > draws.max()),
        }
        rows.append(row)
    table = DataFrame(rows)
    for p in ("p", "p_covariance"):
        table[f"{p}_adjusted"] = adjust(table[p])
    sure = table["above_all"] & (table["p_adjusted"] < LEVEL)
    return table.assign(beyond=sure & (table["ahead"] >= RESOLUTION))


def moved_beyond_random(responses: DataFrame) -> DataFrame:
    """How far the sampled answer moves at the largest doses of both signs, a row a direction and problem: `moved`,
    `random` (the mean of random directions of equal norm) and `beyond`, the difference."""
    strong = responses[(responses["edit"] == "add") & _strongest(responses["dose"])]
    by = strong.groupby(["direction", "problem", "control"], sort=False)["moved"].mean().unstack("control")
    table = DataFrame({"moved": by["own"], "random": by["random"], "beyond": by["own"] - by["random"]})
    return table.reset_index()


def steering(responses: DataFrame, level: float = 0.95) -> DataFrame:
    """Does a concept direction move its property, in the right sense, and more than a random one?

    slope of `carried` over added doses, by problem; low, high: interval of its mean over problems;
    null: the largest |mean slope| of a random draw, and null_covariance; ahead, ahead_low, ahead_high:
    slope minus that draw's, its sign turned to be positive, paired over problems; p one-sided, the
    larger of slope > 0 and of ahead > 0; p_adjusted over directions (Benjamini-Hochberg); moves:
    p_adjusted < LEVEL, by no less than RESOLUTION. Empty without concepts.
    """
    added, rows = responses[responses["edit"] == "add"].dropna(subset="carried"), []
    for name, table in added[added["dose"] != 0].groupby("direction", sort=False):
        grid = table.pivot(index="dose", columns=["control", "draw", "problem"], values="carried")
        t = grid.index.to_numpy() - grid.index.to_numpy().mean()
        slopes = (grid.mul(t, axis=0).sum() / (t**2).sum()).unstack("problem")
        slopes = slopes.mask(slopes.abs() < RESOLUTION, 0)
        studied = slopes.loc["own"].to_numpy()[0]
        steepest = {
            control: max(slopes.loc[control].to_numpy(), key=lambda s: abs(s.mean()))
            for control in ("random", "covariance")
        }
        null = steepest["random"] * np.sign(steepest["random"].mean())
        mean, gain = paired_interval(studied, 0 * studied, level), paired_interval(studied, null, level)
        row = {
            "direction": name,
            "slope": mean.estimate,
            "low": mean.low,
            "high": mean.high,
            "null": float(null.mean()),
            "null_covariance": float(abs(steepest["covariance"].mean())),
            "ahead": gain.estimate,
            "ahead_low": gain.low,
            "ahead_high": gain.high,
            "p": max(p_above(studied), p_above(studied - null)),
        }
        rows.append(row)
    table = DataFrame(rows)
    if not rows:
        return DataFrame({"direction": [], "moves": []})
    p = adjust(table["p"])
    return table.assign(p_adjusted=p, moves=(p < LEVEL) & (table["ahead"] >= RESOLUTION))


def farthest(responses: DataFrame) -> NDArray:
    """By problem, the median `quantile` of what was pushed farthest along directions found, (P,)."""
    far = responses["edit"].eq("add") & _strongest(responses["dose"])
    studied = responses[far & responses["control"].eq("own")]
    return studied.groupby("problem")["quantile"].median().to_numpy()


def p_above(differences: ArrayLike) -> float:
    """One-sided p-value of Student's t for a mean (N,) above 0; constants decide by their sign."""
    x = np.asarray(differences, dtype=np.float64)
    error = x.std(ddof=1) / len(x) ** 0.5
    if error == 0:
        return float(x[0] <= 0)
    return float(special.stdtr(len(x) - 1, -x.mean() / error))


def _strongest(dose: Any) -> Any:
    return dose.abs() == dose.abs().max()
