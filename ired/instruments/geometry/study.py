"""Does an energy know the manifold? Several energies on the same curves, pairs, points and slices (P4-02).

Rows are tidy, with columns energy and problem; what is drawn once is shown to every energy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pandas import DataFrame, concat
from torch import Tensor

from ired.instruments.core.random_directions import rotations
from ired.instruments.core.sampler import Sampler
from ired.instruments.core.trajectories import Paths
from ired.instruments.geometry import exponential_slices, geodesics, riemannian_hessian, spd_states
from ired.instruments.landscape import slices
from ired.instruments.landscape.slices import Directions
from ired.instruments.statistics.intervals import mean_interval, paired_interval
from ired.instruments.statistics.tables import per_unit, summarise
from ired.model.protocol import Energy

Targets = dict[str, tuple[Tensor, Tensor]]
# Of each table: what its cells are, beside energy, landscape and metric, and what is averaged in them.
MEASURES = {
    "profiles": (["kind", "view"], ["rise", "lower", "minimum", "position"]),
    "convexity": (["kind"], ["share", "bend"]),
    "curvature": (["place"], ["log_condition", "negative", "saved", "saved_spread", "gradient"]),
    "slices": (["kind"], ["ideal_correlation", "below", "minimum_distance", "fit"]),
}
COMPLETE = ("affine-invariant", "log-Euclidean")  # metrics whose exponential map is defined everywhere


def geodesic_targets(energy: Energy, A: Tensor, perturbed: Tensor, walked: Paths) -> tuple[Targets, dict[str, float]]:
    """What geodesics lead to, as (rows of problems (R,), SPD matrices (R, n, n)); and how many.

    perturbed (P, D, n, n). walked: sampling paths of (at least) the P problems. The start of a path is
    noise and not SPD: its first clean estimate with a positive definite symmetric part stands for it
    ("start"); "end" is the answer's symmetric part where that is positive definite. Problems without
    one have no such target, and a target that fewer than two problems have is left out. The numbers say
    how many problems each has, at which step paths enter the cone, and how asymmetric ends are.
    """
    P, D = perturbed.shape[:2]
    rows_of_all = torch.arange(P)
    goals = {
        "perturbed": (rows_of_all.repeat_interleave(D), perturbed.flatten(0, 1)),
        "A": (rows_of_all, A),
        "I": (rows_of_all, torch.eye(A.shape[-1]).to(A).expand_as(A)),
    }
    numbers = {}
    ways = {"start": walked.clean(energy), "end": energy.coordinates.decode(walked.end[None])}
    for kind, way in ways.items():
        step, matrix, askew = spd_states.entered(way[:, :P].to(A))
        there = step >= 0
        goals[kind] = rows_of_all[there.cpu()], matrix[there]
        numbers[f"{kind}.asymmetry"] = askew.mean().item()
        if kind == "start" and there.any():
            numbers["start.step"] = step[there].double().mean().item()
    numbers |= {f"targets.{kind}": float(len(rows.unique())) for kind, (rows, _) in goals.items()}
    return {kind: pair for kind, pair in goals.items() if len(pair[0].unique()) > 1}, numbers


def geodesic_profiles(
    energies: Mapping[str, Energy],
    A: Tensor,
    Y: Tensor,
    goals: Targets,
    reach: Tensor,
    steps: int,
    landscapes: Sequence[int],
    generator: torch.Generator,
) -> tuple[DataFrame, DataFrame]:
    """Profiles from the answers Y (P, n, n) of A towards the goals: per problem, and their quartiles.

    view "near": as far as reach (P,), evenly; "whole": to the goal, denser near the answer. Beside the
    metrics stands the control "turned", affine-invariant geodesics bent as much elsewhere.
    """
    line, table, shape = np.linspace(0, 1, steps), [], []
    for kind, (rows, Q) in goals.items():
        at = rows.to(A.device)
        near = geodesics.geodesic_curves(kind, Y[at], Q, reach[at], line)
        whole = geodesics.geodesic_curves(kind, Y[at], Q, float("inf"), line**2)
        turn = rotations(len(rows), Y.shape[-1], generator).to(Y)
        for view, drawn in (("near", near), ("whole", whole)):
            drawn = geodesics.turned_curves(drawn, turn)
            for name, energy in energies.items():
                along_curves = geodesics.profiles(energy, A[at], drawn, landscapes)
                columns = DataFrame(along_curves.columns()).assign(energy=name, view=view)
                table.append(columns.assign(problem=rows.numpy()[columns["problem"]]))
                shape.append(DataFrame(along_curves.shape()).assign(energy=name, view=view))
    return concat(table, ignore_index=True), concat(shape, ignore_index=True)


def pair_convexity(
    energies: Mapping[str, Energy],
    A: Tensor,
    pairs: Mapping[str, tuple[Tensor, Tensor]],
    landscapes: Sequence[int],
) -> DataFrame:
    """Midpoint convexity between pairs (P, S, n, n), by kind."""
    tables = [
        DataFrame(geodesics.geodesic_convexity(energy, A, kind, X, Z, landscapes).columns()).assign(energy=name)
        for name, energy in energies.items()
        for kind, (X, Z) in pairs.items()
    ]
    return concat(tables, ignore_index=True)


def curved(
    energies: Mapping[str, Energy], A: Tensor, places: Mapping[str, Tensor], landscapes: Sequence[int]
) -> DataFrame:
    """Riemannian gradients and Hessians at places (P, n, n), by name; saved: log₁₀ of the Euclidean
    condition number over the metric's (`log_spread` likewise), positive where the metric helps."""
    tables = [
        DataFrame(riemannian_hessian.curvature(energy, A, at, landscapes, place).columns()).assign(energy=name)
        for name, energy in energies.items()
        for place, at in places.items()
    ]
    table = concat(tables, ignore_index=True)
    cell = ["energy", "place", "landscape", "problem"]
    plain = table[table["metric"] == "Euclidean"].set_index(cell)
    at = [tuple(row) for row in table[cell].itertuples(index=False)]
    for measure, name in (("log_condition", "saved"), ("log_spread", "saved_spread")):
        table[name] = plain.loc[at, measure].to_numpy() - table[measure].to_numpy()
    return table


def others(Y: Tensor, problems: int, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Pairs (problems, count, n, n) of two other problems' answers among Y (N, n, n): SPD whatever the
    metric, and as far from a problem's own answer as answers are."""
    if len(Y) < 3:
        raise ValueError(f"answers of two other problems need three problems, not {len(Y)}")
    device = generator.device
    first = torch.randint(1, len(Y), (problems, count), generator=generator, device=device)
    # Any of the others but the first one chosen.
    apart = torch.randint(1, len(Y) - 1, (problems, count), generator=generator, device=device)
    second = (first - 1 + apart) % (len(Y) - 1) + 1
    problem = torch.arange(problems, device=device)[:, None]
    X, Z = (Y[((problem + shift) % len(Y)).to(Y.device)] for shift in (first, second))
    return X, Z


def planes(
    energy: Energy,
    A: Tensor,
    y0: Tensor,
    sampler: Sampler,
    generator: torch.Generator,
) -> tuple[Directions, ...]:
    """P1-01's planes of landscape 0 through the answers y0 (P, d): random, gradient, path.

    The same where A, the energy and the generator are, whose numbers are drawn in P1-01's order.
    """
    start = energy.coordinates.noise(len(A), generator=generator, dtype=A.dtype).to(A.device)
    last: list[Tensor] = []

    def see(step: Any) -> None:
        if step.landscape == 0 and step.stage in ("denoise", "descend"):
            last.append(step.y)

    sampler(energy, A, start, callback=see)
    return (
        slices.random_directions(energy, y0, generator),
        slices.gradient_directions(energy, A, y0, 0, generator),
        slices.path_directions(energy, y0, 0, torch.stack(last, 1), generator),
    )


def redrawn(
    energies: Mapping[str, Energy],
    A: Tensor,
    Y: Tensor,
    plane: Directions,
    known: Mapping[str, Tensor],
    pictured: int = 3,
) -> tuple[DataFrame, dict[str, NDArray], float]:
    """Straight and bent slices of landscape 0 along planes (P, 2, d): their shapes, and arrays to draw.

    known: P1-01's "gap" and "line" of these planes and the first energy. The last of what is returned is
    how much the straight slices differ from it: the largest difference over the largest gap.

    Columns as in `slices.SliceShape`, with metric ("Euclidean": straight) and symmetric, the norm of the
    axes' symmetric part, which the slices are made of. Arrays: "kind.line" (G,), "kind.smallest" and
    "kind.energy.metric" (pictured, G, G).
    """
    reference, then = next(iter(energies.values())), known["gap"].numpy()[: len(A)]
    y0, extent, resolution = reference.coordinates.encode(Y), float(known["line"][-1]), len(known["line"])
    now = slices.energy_slices(reference, A, y0, 0, plane, extent, resolution).gap[: len(then)]
    difference = float(np.abs(now - then[: len(now)]).max() / np.abs(then).max())
    plane, size = exponential_slices.symmetric_plane(reference, plane)
    sheets = {m: exponential_slices.sheet(reference, Y, 0, plane, m, extent, resolution) for m in COMPLETE}
    low = exponential_slices.smallest(reference, Y[:pictured], 0, _first(plane, pictured), extent, resolution)
    pictures, tables = {f"{plane.kind}.smallest": low.astype(np.float32)}, []
    for name, energy in energies.items():
        measured = {metric: exponential_slices.energy_on_sheets(energy, A, sheet) for metric, sheet in sheets.items()}
        measured["Euclidean"] = slices.energy_slices(energy, A, y0, 0, plane, extent, resolution)
        for metric, gaps in measured.items():
            shape = DataFrame(slices.shape_of(gaps).columns())
            tables.append(shape.assign(energy=name, metric=metric, symmetric=size.mean(-1)))
            pictures[f"{plane.kind}.{name}.{metric}"] = gaps.gap[:pictured].astype(np.float32)
            pictures[f"{plane.kind}.line"] = gaps.u.astype(np.float32)
    return concat(tables, ignore_index=True), pictures, difference


def all_redrawn(
    energies: Mapping[str, Energy],
    A: Tensor,
    Y: Tensor,
    planes: Sequence[Directions],
    pictures: Mapping[str, Tensor],
) -> tuple[DataFrame, dict[str, NDArray], dict[str, float]]:
    """`redrawn` slices of the first problems A (P, n, n) along every plane, with the differences by kind.

    planes: of at least P problems; pictures: P1-01's, "trained.kind.k0.gap" and "….line" of each plane.
    """
    tables, arrays, differences = [], {}, {}
    for plane in planes:
        known = {what: pictures[f"trained.{plane.kind}.k0.{what}"] for what in ("gap", "line")}
        table, drawn, differences[plane.kind] = redrawn(energies, A, Y, _first(plane, len(A)), known)
        tables.append(table)
        arrays |= drawn
    return concat(tables, ignore_index=True), arrays, differences


def table_means(name: str, table: DataFrame) -> DataFrame:
    """Means over problems, with intervals, of the table that MEASURES has by that name."""
    cell, measures = MEASURES[name]
    return summarise(table, [*cell, "energy", "landscape", "metric"], measures)


SAVED = "log₁₀ of the condition number that the affine-invariant metric saves, k=0"
LOWER = "share of points of geodesics below those of straight lines equally far, k=0"
CONVEX = "share of pairs that are midpoint convex along geodesics, less that along straight lines"


def manifold_measures(profiles: DataFrame, convexity: DataFrame, curvature: DataFrame) -> dict[str, dict[str, NDArray]]:
    """What P4-02's claim rests on, more of it being better: values (P,) by energy, by what they are.

    SAVED (at the answer), LOWER and CONVEX."""
    geodesic, straight = (_by_energy(convexity, "share", metric) for metric in ("affine-invariant", "Euclidean"))
    return {
        SAVED: _by_energy(curvature, "saved", place="answer", landscape=0),
        LOWER: _by_energy(profiles, "lower", view="near", landscape=0),
        CONVEX: {name: geodesic[name] - straight[name] for name in geodesic},
    }


def geodesic_headline(measured: Mapping[str, Mapping[str, NDArray]]) -> tuple[str, float, float, float]:
    """What the metric saves the trained energy at the answers of k = 0, on average, with its interval."""
    saved = mean_interval(measured[SAVED]["trained"])
    return SAVED, saved.estimate, saved.low, saved.high


def geodesic_verdicts(
    measured: Mapping[str, Mapping[str, NDArray]], profiles: DataFrame
) -> dict[str, tuple[bool, dict[str, float]]]:
    """P4-02's criteria on the trained energy, each with the numbers behind it: from `manifold_measures`, and from the
    profiles of curves that are bent elsewhere."""
    turned = per_unit(profiles, "lower", energy="trained", metric="turned", view="near", landscape=0)
    return {
        "geodesically_convex_rather_than_euclidean": _beyond(measured[CONVEX], 0, "ideal"),
        "lower_along_geodesics": _beyond({**measured[LOWER], "turned": turned}, 0.5, "untrained", "turned"),
        "better_conditioned_on_manifold": _beyond(measured[SAVED], 0, "untrained"),
    }


def _by_energy(table: DataFrame, measure: str, metric: str = "affine-invariant", **at: Any) -> dict[str, NDArray]:
    """A measure of every energy under one metric, problem by problem (P,)."""
    return {name: per_unit(table, measure, energy=name, metric=metric, **at) for name in table["energy"].unique()}


def _beyond(values: Mapping[str, NDArray], level: float, *controls: str) -> tuple[bool, dict[str, float]]:
    """Whether "trained" (P,) is above a level on average, and in pairs above each control: all 95 %
    intervals above 0. With lower ends, and everybody's mean."""
    trained = mean_interval(values["trained"])
    margins = {name: paired_interval(values["trained"], values[name]) for name in controls}
    met = trained.low > level and all(margin.low > 0 for margin in margins.values())
    numbers = {f"beyond_{name}.low": margin.low for name, margin in margins.items()}
    return met, {"low": trained.low} | numbers | {name: mine.mean() for name, mine in values.items()}


def _first(plane: Directions, count: int) -> Directions:
    return Directions(plane.kind, plane.axes[:count], plane.share[:count])
