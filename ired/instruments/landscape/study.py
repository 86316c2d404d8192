"""Slices, gradient fields and minima of several energies at once, compared problem by problem (Phase 1).

What a bowl around a plain prediction m(A) must show (`PredictorEnergy`: its Hessian H is the same for all problems, its
errors e = y₀ − m have variances v along their principal axes). Slices are exactly quadratic, of curvatures σDHDᵀ and
slopes √ᾱDHe at the answer. The gradient at √ᾱy₀ + x is H(√ᾱe + x), and errs as a score by the mean of ᾱv/(ᾱv + σ²)
per direction. Every segment is convex. There is one minimum, √ᾱ‖e‖ from the answer, and all descents end in it.

Tables are tidy, with columns energy, landscape and problem. What is drawn at random is the same for every energy:
a stream is asked anew for its generator before each of them, so that comparisons are paired.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pandas import DataFrame, concat
from torch import Tensor

from ired.instruments.core import states
from ired.instruments.core.trajectories import Paths
from ired.instruments.landscape import gradient_field, metrics, minima, slices
from ired.instruments.statistics.intervals import Interval, mean_interval, median_interval, proportion_interval
from ired.instruments.statistics.tables import per_unit, summarise
from ired.model.protocol import Energy

Stream = Callable[[str], torch.Generator]
"""stream(purpose): a generator that always begins alike for the same purpose."""
AskedMeasure = tuple[str, dict[str, NDArray], bool]
"""What is asked beside controls in plain words, its values (P,) by energy, and whether a claim says more of it."""
BY = ("energy", "landscape")
NOWHERE = 1e9  # noise radii to a minimum that does not exist
FARTHEST = 10.0  # noise radii that a farther minimum counts for, and one that does not exist, beside controls


def slice_tables(
    energies: Mapping[str, Energy],
    A: Tensor,
    y0: Tensor,
    walked: Paths,
    extent: float,
    resolution: int,
    generator: torch.Generator,
    done: Callable[[], Any] = lambda: None,
) -> tuple[DataFrame, dict[str, NDArray]]:
    """Slices through answers y0 (P, d) of problems A (P, n, n), in all landscapes and along three kinds of planes.

    Planes are random, along the principal axes of the first energy's gradients, and along its sampling paths; the
    last are wide enough to hold nine paths in ten. walked: paths of the first energy, and the answers at their ends;
    extent in σ_k and resolution as in `slices.energy_slices`; done() is called after each landscape. Gives the shapes
    of all slices, and pictures of those of three problems, "energy.plane.k…" (see `Slices.picture`).
    """
    model = next(iter(energies.values()))
    tables, pictures = [], {}
    for k in range(model.schedule.K):
        path = within(walked, k)
        marks = {"model answer": states.centre(model, walked.end, k), "path": path}
        planes = (
            slices.random_directions(model, y0, generator),
            slices.gradient_directions(model, A, y0, k, generator),
            slices.path_directions(model, y0, k, path, generator),
        )
        for plane in planes:
            width = extent
            if plane.kind == "path":
                u, v, _ = slices.in_plane(model, y0, k, plane, path)
                width = max(extent, 1.2 * np.quantile(np.maximum(abs(u), abs(v)).max(-1), 0.9))
            for name, energy in energies.items():
                measured = slices.energy_slices(
                    energy, A, y0, k, plane, extent=width, resolution=resolution, marks=marks
                )
                shape = DataFrame(slices.shape_of(measured).columns())
                tables.append(shape.assign(energy=name))
                pictures |= measured.picture(f"{name}.{plane.kind}.k{k}", problems=3)
        done()
    return concat(tables, ignore_index=True), pictures


def within(walked: Paths, k: int) -> Tensor:
    """States (P, T, d) of sampling paths after each of the T steps that they take in landscape k."""
    steps = [i for i, stage in enumerate(walked.stage) if stage != "start" and walked.landscape[i] == k]
    return walked.y[steps].transpose(0, 1).contiguous()


def field_tables(
    energies: Mapping[str, Energy],
    A: Tensor,
    y0: Tensor,
    distances: Sequence[float],
    count: int,
    steps: int,
    stream: Stream,
    done: Callable[[], Any] = lambda: None,
) -> dict[str, DataFrame]:
    """Tables "field", "score" and "descents" of the gradient fields around answers y0 (P, d), see `gradient_field`.

    count points at each of the distances (noise radii), 64 noised answers, one descent of at most so many steps
    from each distance.
    """

    def measure(energy: Energy, landscapes: Sequence[int]) -> dict[str, Any]:
        return {
            "field": gradient_field.gradient_field(
                energy, A, y0, landscapes, distances=distances, count=count, generator=stream("field")
            ),
            "score": gradient_field.score_error(energy, A, y0, landscapes, samples=64, generator=stream("score")),
            "descents": gradient_field.descents(
                energy, A, y0, landscapes, distances=distances, count=1, generator=stream("descent"), steps=steps
            ),
        }

    return _compared(energies, measure, done)


def derivative_tables(energy: Energy, A: Tensor, y0: Tensor, stream: Stream) -> dict[str, DataFrame]:
    """Tables "conservation" and "divergence" of a gradient field at noised answers of y0 (P, d), float64."""
    landscapes = range(energy.schedule.K)
    conservation = gradient_field.conservation(energy, A, y0, landscapes, stream("conservation"))
    generator = stream("divergence")
    noised = [states.noised(energy, y0, k, 1, generator)[0][:, 0] for k in landscapes]
    divergence = gradient_field.divergence(energy, A, torch.stack(noised), landscapes)
    return {"conservation": DataFrame(conservation.columns()), "divergence": DataFrame(divergence.columns())}


def field_summary(tables: Mapping[str, DataFrame]) -> DataFrame:
    """Means of what `field_tables` gave with intervals over problems, `end` being the distance of a descent's end."""
    by = ["energy", "distance", "landscape"]
    descents = tables["descents"].rename(columns={"distance": "end", "start": "distance"})
    parts = [
        summarise(tables["field"], by, ["cosine", "radial"]),
        summarise(tables["score"], BY, ["relative", "relative_shrunk"]),
        summarise(descents, by, ["end", "converged"]),
    ]
    return concat(parts, ignore_index=True)


def basin_tables(
    energies: Mapping[str, Energy],
    A: Tensor,
    y0: Tensor,
    distances: Sequence[float],
    starts: int,
    patience: int,
    clip: float,
    stream: Stream,
    done: Callable[[], Any] = lambda: None,
) -> dict[str, DataFrame]:
    """Tables "convexity", "sharpness", "gaps" and "minima" of landscapes around answers y0 (P, d).

    Descents begin at so many random starts at each of the distances (noise radii); patience is that of
    `descent.descend`, clip the sampler's. Wrong answers are those of up to eight other problems.
    """
    wrong = {"other": metrics.other_answers(y0, min(8, len(A) - 1))}

    def measure(energy: Energy, landscapes: Sequence[int]) -> dict[str, Any]:
        return {
            "convexity": metrics.convexity(
                energy, A, y0, landscapes, scales=(0.3, 1.0, 3.0), segments=64, generator=stream("convexity")
            ),
            "sharpness": metrics.sharpness(energy, A, y0, landscapes, stream("sharpness")),
            "gaps": metrics.energy_gaps(energy, A, y0, landscapes, wrong=wrong, generator=stream("gaps")),
            "minima": minima.find_minima(
                energy,
                A,
                y0,
                landscapes,
                distances=distances,
                starts=starts,
                generator=stream("minima"),
                clip=clip,
                patience=patience,
            ),
        }

    return _compared(energies, measure, done)


def basin_summary(tables: Mapping[str, DataFrame]) -> DataFrame:
    """Means of what `basin_tables` gave with intervals over problems: convexity at the scale of the noise, and where
    the minima lie in problems that have any. Inside the sampler's box and outside: shares of problems with a minimum
    there, whose lowest is inside, and whose nearest inside is the lowest there; `…_median` are medians of distances
    over the problems that have one. Intervals of shares and medians are exact."""
    convexity, ends = tables["convexity"], tables["minima"]
    ends = ends.assign(inside_found=ends["inside_minima"] > 0, outside_found=ends["outside_minima"] > 0)
    shares = [name for name in ends if name.startswith("basin_")]
    parts = [
        summarise(convexity[convexity["scale"] == 1.0], BY, ["share", "rays", "curvature"]),
        summarise(tables["sharpness"], BY, ["radius"]),
        summarise(tables["gaps"], BY, ["other_gap", "other_rate", "noised_gap", "noised_rate"]),
        summarise(ends, BY, ["minima", "saddles", "flat", "unconverged", "escaped", *shares]),
        summarise(ends[ends["found"]], BY, ["nearest_distance", "lowest_distance"]),
        *(_over_problems(ends, name, _share) for name in ("inside_found", "outside_found")),
        *(_over_problems(ends[ends["found"]], name, _share) for name in ("lowest_is_nearest", "lowest_inside")),
        _over_problems(ends[ends["inside_found"]], "inside_lowest_is_nearest", _share),
        *(
            _over_problems(ends, name, median_interval, "_median")
            for name in ("nearest_distance", "inside_distance", "outside_distance")
        ),
    ]
    return concat(parts, ignore_index=True)


def _over_problems(ends: DataFrame, measure: str, of: Callable[[NDArray], Interval], suffix: str = "") -> DataFrame:
    """Rows of a summary: an interval of a measure over the problems of each cell that have it, two at least."""
    rows = []
    for (energy, landscape), values in ends.groupby(list(BY), sort=False)[measure]:
        values = values.dropna().to_numpy(dtype=float)
        if len(values) > 1:
            row = {"energy": energy, "landscape": landscape, "measure": f"{measure}{suffix}", "units": len(values)}
            rows.append(row | of(values).row("mean"))
    return DataFrame(rows)


def _share(held: NDArray) -> Interval:
    return proportion_interval(int(held.sum()), len(held))


def basin_verdicts(tables: Mapping[str, DataFrame]) -> dict[str, tuple[bool, dict[str, float]]]:
    """P1-04's criteria, decided in the sharpest landscape (k = 0) of "trained", and the numbers behind them."""
    convexity, ends = tables["convexity"], tables["minima"]
    share = mean_interval(sharpest(convexity, "share", scale=1.0))
    untrained_share = sharpest(convexity, "share", "untrained", scale=1.0).mean()
    rate = mean_interval(sharpest(tables["gaps"], "other_rate"))
    untrained_rate = sharpest(tables["gaps"], "other_rate", "untrained").mean()
    exists = sharpest(ends, "found").mean()
    distance, high = nearest_minimum(sharpest(ends, "nearest_distance"))
    lowest = sharpest(ends, "lowest_is_nearest")
    right = proportion_interval(int(lowest.sum()), len(lowest))
    inside = sharpest(ends, "inside_minima") > 0
    near = sharpest(ends, "inside_distance")[inside]
    box = {
        "inside_found": inside.mean(),
        "outside_found": (sharpest(ends, "outside_minima") > 0).mean(),
        "inside_median": np.median(near) if len(near) else NOWHERE,
    }
    return {
        "convex_at_the_noise": (
            share.low >= 0.95,
            {"share": share.estimate, "low": share.low, "untrained": untrained_share},
        ),
        "wrong_answers_cost_more": (
            rate.low >= 0.95,
            {"rate": rate.estimate, "low": rate.low, "untrained": untrained_rate},
        ),
        "bottom_at_the_answer": (
            exists >= 0.9 and high < 0.5,
            {"found": exists, "distance": distance, "high": high, **box},
        ),
        "no_lower_minimum": (
            right.low >= 0.95,
            {
                "share": right.estimate,
                "low": right.low,
                "lowest_inside": sharpest(ends[ends["found"]], "lowest_inside").mean() if exists else 0.0,
            },
        ),
    }


def sharpest(table: DataFrame, measure: str, energy: str = "trained", **at: Any) -> NDArray:
    """A measure of an energy's landscape k = 0 by problem (P,), of a table of `basin_tables`."""
    return per_unit(table, measure, energy=energy, landscape=0, **at)


def sharpest_by_energy(table: DataFrame, measure: str, **at: Any) -> dict[str, NDArray]:
    """`sharpest` of every energy in a table, by name in order of appearance."""
    return {name: sharpest(table, measure, name, **at) for name in table["energy"].unique()}


def sharpest_means(beside: Mapping[str, AskedMeasure]) -> dict[str, float]:
    """Means over problems of what is asked beside controls, by "measure.energy"."""
    return {
        f"{measure}.{energy}": float(values.mean())
        for measure, (_, by_energy, _) in beside.items()
        for energy, values in by_energy.items()
    }


def slice_measures(table: DataFrame) -> dict[str, AskedMeasure]:
    """What P1-01's claims rest on, of a table of `slice_tables`: in random planes at k = 0, the bowl first."""
    table = table[table["kind"] == "random"]
    names = {
        "ideal_correlation": ("correlation of random slices with the ideal bowl, k = 0", True),
        "below": ("share of random slices below the answer, k = 0", False),
        "minimum_distance": ("lowest point of random slices from the answer (σ), k = 0", False),
    }
    return {name: (title, sharpest_by_energy(table, name), higher) for name, (title, higher) in names.items()}


def field_measures(tables: Mapping[str, DataFrame]) -> dict[str, AskedMeasure]:
    """What P1-02's claims rest on, of tables of `field_tables` at k = 0: where the gradient points first."""
    cosine = sharpest_by_energy(tables["field"], "cosine", distance=1.0)
    error = sharpest_by_energy(tables["score"], "relative_shrunk")
    end = sharpest_by_energy(tables["descents"], "distance", start=1.0)
    return {
        "cosine": ("cosine to the answer, one noise radius away, k = 0", cosine, True),
        "score_error": ("score error over that of the best multiple of y, k = 0", error, False),
        "end": ("end of a descent from one noise radius (noise radii from the answer), k = 0", end, False),
    }


def nearest_by_energy(ends: DataFrame) -> dict[str, NDArray]:
    """Distance (P,) in noise radii of the minimum nearest to the answer at k = 0, by energy.

    FARTHEST at most, and where none was found: every problem counts, and the farthest minima do not decide."""
    return {name: np.fmin(sharpest(ends, "nearest_distance", name), FARTHEST) for name in ends["energy"].unique()}


def basin_measures(tables: Mapping[str, DataFrame]) -> dict[str, AskedMeasure]:
    """What P1-04's claims rest on, of tables of `basin_tables` at k = 0: how near the bottom is to the answer first."""
    ends = tables["minima"]
    nearest = f"nearest minimum (noise radii from the answer, {FARTHEST:g} where farther or none), k = 0"
    other_rate = sharpest_by_energy(tables["gaps"], "other_rate")
    convex = sharpest_by_energy(tables["convexity"], "share", scale=1.0)
    lowest = sharpest_by_energy(ends, "lowest_is_nearest")
    return {
        "nearest_minimum": (nearest, nearest_by_energy(ends), False),
        "wrong_answers": ("share of other problems' answers that cost more, k = 0", other_rate, True),
        "convex": ("midpoint-convex segments between noised answers, k = 0", convex, True),
        "minima": ("distinct minima found, k = 0", sharpest_by_energy(ends, "minima"), False),
        "lowest_is_nearest": ("the nearest minimum is the lowest, k = 0", lowest, True),
    }


def with_one_basin(ends: DataFrame) -> list[str]:
    """Energies whose descents all ended in one minimum, whatever the problem and the landscape: which minimum is the
    nearest or the lowest is no question there."""
    shares = [name for name in ends if name.startswith("basin_")]
    single = (ends["minima"] == 1) & (ends[shares] == 1).all(axis=1)
    return [name for name, rows in single.groupby(ends["energy"], sort=False) if rows.all()]


def nearest_minimum(distances: NDArray) -> tuple[float, float]:
    """Mean distance of nearest minima and the upper end of its 95 % interval, over the problems (P,) that have one.

    Without one in any problem, or an interval, NOWHERE stands for the number."""
    distances = distances[np.isfinite(distances)]
    mean = distances.mean() if len(distances) else NOWHERE
    return mean, mean_interval(distances).high if len(distances) > 1 else NOWHERE


def _compared(
    energies: Mapping[str, Energy],
    measure: Callable[[Energy, Sequence[int]], Mapping[str, Any]],
    done: Callable[[], Any],
) -> dict[str, DataFrame]:
    """Records that measure(energy, landscapes) gives by name, each as one table of all energies."""
    tables: dict[str, list[DataFrame]] = {}
    for name, energy in energies.items():
        for kind, record in measure(energy, range(energy.schedule.K)).items():
            tables.setdefault(kind, []).append(DataFrame(record.columns()).assign(energy=name))
        done()
    return {kind: concat(parts, ignore_index=True) for kind, parts in tables.items()}
