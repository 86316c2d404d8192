"""What attributions say, as tables: completeness, shares of problem and state, A's eigenvectors, baselines."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pandas import DataFrame, Series, concat
from torch import Tensor

from ired.instruments.attribution.exact_sensitivity import cosine
from ired.instruments.attribution.integrated_gradients import WITHIN, Case, Pair, PathIntegrals
from ired.instruments.core import states
from ired.instruments.core.states import symmetric
from ired.instruments.statistics.tables import stacked, summarise


def completeness(cases: Mapping[Case, PathIntegrals]) -> DataFrame:
    """One row a path: a problem (and draw) of a case, its error, and how many places it took."""
    tables = []
    for (target, baseline, k), paths in cases.items():
        axes = {name: range(n) for name, n in zip(("draw", "problem"), paths.change.shape, strict=True)}
        columns = states.tidy_columns(axes, error=states.array(paths.error()), change=states.array(paths.change))
        tables.append(DataFrame(columns).assign(**_of(target, baseline, k), steps=paths.count))
    return concat(tables, ignore_index=True)


def complete(errors: DataFrame) -> Series:
    """The share of cases within WITHIN, by target, of what `completeness` gives."""
    return errors["error"].lt(WITHIN).groupby(errors["target"], sort=False).mean()


def completeness_numbers(errors: DataFrame) -> dict[str, float]:
    """How many places paths took at most, by target and baseline, and what share was complete."""
    most = errors.groupby(["target", "baseline"], sort=False)["steps"].max()
    places = {f"steps.{target}.{baseline}": int(count) for (target, baseline), count in most.items()}
    return places | {f"complete.{target}": share for target, share in complete(errors).items()}


def attribution_shares(cases: Mapping[Case, PathIntegrals]) -> DataFrame:
    """One row a problem of a case: `problem_share`, the part of Σ|attribution| that lies on A and not on y; for A and y
    the part of their Σ|attribution| on the diagonal, absolute (`A_diagonal`; without any preference 1/n) and signed,
    and off it signed."""
    tables = []
    for (target, baseline, k), paths in cases.items():
        A, y = paths.attributions()
        sizes = [a.abs().flatten(1).sum(1).clamp_min(1e-300) for a in (A, y)]
        columns = {"problem_share": sizes[0] / (sizes[0] + sizes[1])}
        for name, a, size in (("A", A, sizes[0]), ("y", y.view_as(A), sizes[1])):
            diagonal = a.diagonal(dim1=1, dim2=2)
            columns |= {
                f"{name}_diagonal": diagonal.abs().sum(1) / size,
                f"{name}_diagonal_signed": diagonal.sum(1) / size,
                f"{name}_off_diagonal_signed": (a.sum((1, 2)) - diagonal.sum(1)) / size,
            }
        table = DataFrame({name: states.array(values) for name, values in columns.items()})
        tables.append(table.assign(**_of(target, baseline, k), problem=range(len(A))))
    return concat(tables, ignore_index=True)


def attributions_in_eigenbasis(paths: PathIntegrals, A: Tensor) -> Pair:
    """Attributions along the eigenvectors Q of the explained A, (P, n, n) each for A and y.

    (QᵀΔQ) ∘ (QᵀGQ), Δ = x − x′ and G the path's gradient: the same sum as entry by entry. On the diagonal stand changes
    of eigenvalues, beside it rotations; eigenvalues ascend.
    """
    Q = torch.linalg.eigh(A).eigenvectors

    def turned(v: Tensor) -> Tensor:
        return Q.mT @ v.reshape(len(v), *A.shape) @ Q

    pairs = zip(paths.gradients, paths.steps, strict=True)
    return tuple((turned(gradient) * turned(step)).mean(0) for gradient, step in pairs)


def by_eigenvalue(cases: Mapping[Case, PathIntegrals], A: Tensor) -> DataFrame:
    """One row a problem and rank of eigenvalue (0: smallest) of a case: each row of the attributions in A's eigenbasis
    as a part of Σ|attribution| there, `absolute` and `signed`, for A and for y."""
    tables, axes = [], {"problem": range(len(A)), "rank": range(A.shape[-1])}
    for (target, baseline, k), paths in cases.items():
        columns = {}
        for name, M in zip(("A", "y"), attributions_in_eigenbasis(paths, A), strict=True):
            M = symmetric(M)
            size = M.abs().sum((1, 2))[:, None].clamp_min(1e-300)
            columns[f"{name}_absolute"] = states.array(M.abs().sum(2) / size)
            columns[f"{name}_signed"] = states.array(M.sum(2) / size)
        tables.append(DataFrame(states.tidy_columns(axes, **columns)).assign(**_of(target, baseline, k)))
    return concat(tables, ignore_index=True)


def heatmaps(cases: Mapping[Case, PathIntegrals]) -> dict[tuple[str, str, int, str], Tensor]:
    """Attributions (n, n), the mean over problems, by target, baseline, landscape and "A" or "y". Of A's symmetric
    pairs, which are one number, each has the half."""
    maps = {}
    for case, paths in cases.items():
        A, y = paths.attributions()
        maps[*case, "A"] = symmetric(A).mean(0).cpu()
        maps[*case, "y"] = y.view_as(A).mean(0).cpu()
    return maps


def between_baselines(cases: Mapping[Case, PathIntegrals]) -> DataFrame:
    """Mean cosine over problems of the attributions to A of one target and landscape from every two baselines, `first`
    and `second`, symmetric changes of A alone."""
    maps = {case: symmetric(paths.attributions()[0]) for case, paths in cases.items()}
    return DataFrame(
        [
            {
                "target": target,
                "landscape": k,
                "first": first,
                "second": second,
                "cosine": float(cosine(maps[target, first, k], other).mean()),
            }
            for (target, first, k) in maps
            for (other_target, second, other_k), other in maps.items()
            if (other_target, other_k) == (target, k)
        ]
    )


def attribution_tables(
    explained: Mapping[str, Mapping[Case, PathIntegrals]], others: Mapping[Case, PathIntegrals], A: Tensor
) -> dict[str, DataFrame]:
    """What is said of attributions to entries of A (P, n, n) and y, by energy; and of the "trained" one, with `others`,
    how complete all are."""
    trained = explained["trained"]
    return {
        "completeness": completeness({**trained, **others}),
        "shares": stacked({name: attribution_shares(cases) for name, cases in explained.items()}, "energy"),
        "eigenvalues": stacked({name: by_eigenvalue(cases, A) for name, cases in explained.items()}, "energy"),
        "baselines": between_baselines(trained),
    }


def attribution_summaries(tables: Mapping[str, DataFrame], k: int) -> dict[str, DataFrame]:
    """Means with intervals over problems of tables: agreement of "gradients", of "integrals" in landscape k and of
    "jacobians", the gap's "shares", and its "eigenvalues" in landscape k."""

    def rows(name: str, **at: str | int) -> DataFrame:
        table = tables[name]
        for column, value in at.items():
            table = table[table[column] == value]
        return table

    cosines = ["cosine", "slope", "shuffled"]
    shares_of_A, along_eigenvectors = ["problem_share", "A_diagonal"], ["A_signed", "A_absolute"]
    return {
        "gradients": summarise(rows("gradients"), ["energy", "landscape"], cosines),
        "integrals": summarise(rows("integrals", landscape=k), ["energy", "baseline"], cosines),
        "jacobians": summarise(rows("jacobians"), ["energy", "landscape"], cosines),
        "shares": summarise(rows("shares", target="gap"), ["energy", "baseline", "landscape"], shares_of_A),
        "eigenvalues": summarise(
            rows("eigenvalues", target="gap", landscape=k), ["energy", "baseline", "rank"], along_eigenvectors
        ),
    }


def _of(target: str, baseline: str, k: int) -> dict[str, str | int]:
    """A case as columns."""
    return {"target": target, "baseline": baseline, "landscape": k}
