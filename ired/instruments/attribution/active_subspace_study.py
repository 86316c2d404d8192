"""Active subspaces of several energies, and what they are directions of: all that P3-03 measures.

What a bowl around a prediction must show (`PredictorEnergy`): its gradient at noised answers has covariance σ_k H_k,
so its components are the axes of the prediction's errors, first those along which it errs least, and what stands out
most, where it errs most, comes last. A spectrum that is not flat is no sign of an energy that was learned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from pandas import DataFrame, concat
from torch import Tensor

from ired.instruments.attribution import active_subspace, eigenframe, exact_sensitivity
from ired.instruments.attribution.active_subspace import PARTS, Components, principal_components
from ired.instruments.attribution.alignment import aligned
from ired.instruments.core import states as points
from ired.instruments.core.directions import STATE, Direction, of_feature
from ired.instruments.core.sampler import Sampler
from ired.instruments.statistics.intervals import adjust
from ired.model.protocol import Energy


@dataclass(frozen=True)
class ActiveSubspaces:
    """components: by energy, states and field; tables: "spectra" and "framed" (`survey`), "angles" and "captures"
    (`spans`), "axes", "single" and "cosines" (`comparisons`), "components" (`described_components`), whose rows are
    also matrices (rows, n, n); directions: what is handed on of the trained network; by_problem:
    `sharpest_by_problem`."""

    components: dict[tuple[str, str, str], Components]
    tables: dict[str, DataFrame]
    matrices: NDArray
    directions: list[Direction]
    by_problem: dict[str, dict[str, NDArray]]

    @property
    def trained(self) -> Components:
        """Of the field beyond the blind part at noised answers."""
        return self.components["trained", "noised", "beyond"]


def active_subspaces(
    energies: Mapping[str, Energy],
    sampler: Sampler,
    A: Tensor,
    fresh: Tensor,
    others: Sequence[Direction],
    size: Any,
    generator: torch.Generator,
) -> ActiveSubspaces:
    """Of energies, the "trained" one first, at problems A (P, n, n), what they are directions of at fresh problems
    (F, n, n), others among them.

    size: noised `states` of each problem in each landscape, `draws` of the nulls, `resamples` of the problems, and the
    `landscapes` of which `most` components each are compared and handed on, at most.
    """
    model, y0 = energies["trained"], points.answers(energies["trained"], A)
    landscapes = [k for k in size.landscapes if k < model.schedule.K]
    noised = active_subspace.noised_states(model, y0, size.states, generator)
    states = {(energy, "noised"): noised for energy in energies}
    start = points.noise(model, len(A), generator=generator, like=A)
    states["trained", "path"] = active_subspace.path_states(model, A, sampler, start)
    components, tables = survey(energies, A, states, draws=size.draws, generator=generator)
    trained = components["trained", "noised", "beyond"]
    by_name = {"trained": trained, "paths": components["trained", "path", "beyond"]}
    by_name |= {name: components[name, "noised", "beyond"] for name in list(energies)[1:]}
    field = active_subspace.fields(model, A, noised)["beyond"]
    values = sharpest_by_problem(energies, components, A=A, fresh=fresh, states=noised[0])
    tables |= spans(model, fresh, y0, field=field, by_name=by_name, resamples=size.resamples, generator=generator)
    tables |= comparisons(
        model,
        fresh,
        trained,
        landscapes=landscapes,
        most=size.most,
        others=others,
        draws=size.draws,
        generator=generator,
    )
    tables["components"], matrices = described_components(model, by_name, landscapes, size.most)
    handed = active_directions(model, trained, landscapes, size.most)
    return ActiveSubspaces(components, tables, matrices, handed, by_problem=values)


def survey(
    energies: Mapping[str, Energy],
    A: Tensor,
    states: Mapping[tuple[str, str], Tensor],
    draws: int,
    generator: torch.Generator,
) -> tuple[dict[tuple[str, str, str], Components], dict[str, DataFrame]]:
    """Components of the fields of energies at states (K, P, M, d), by the names of both, by energy, states and field;
    and tables with these as columns: "spectra" of `Components.table`, "framed" of `eigenframe.framed_field`."""
    every: dict[tuple[str, str, str], Components] = {}
    tables: dict[str, list[DataFrame]] = {"spectra": [], "framed": []}
    for (energy, where), at in states.items():
        for name, field in active_subspace.fields(energies[energy], A, at).items():
            every[energy, where, name] = active_subspace.field_components(field, draws, generator)
            labels = {"energy": energy, "states": where, "field": name}
            tables["spectra"].append(every[energy, where, name].table().assign(**labels))
            tables["framed"].append(eigenframe.framed_field(energies[energy], A, field).assign(**labels))
    return every, {name: concat(parts, ignore_index=True) for name, parts in tables.items()}


def sharpest_by_problem(
    energies: Mapping[str, Energy],
    components: Mapping[tuple[str, str, str], Components],
    A: Tensor,
    fresh: Tensor,
    states: Tensor,
) -> dict[str, dict[str, NDArray]]:
    """Of each energy's own leading components in the sharpest landscape, as many as the trained one has real ones, by
    energy: "captured", their share of the exact sensitivity of fresh problems (F,), and "held", their share of the
    field's squared norm around its mean, at states (P, M, d) of problems A (P,)."""
    count = len(components["trained", "noised", "beyond"].leading(0))
    by_problem: dict[str, dict[str, NDArray]] = {"captured": {}, "held": {}}
    for name, energy in energies.items():
        rows = components[name, "noised", "beyond"].rows[0, :count]
        by_problem["captured"][name] = points.array(exact_sensitivity.captured(energy, fresh, rows).sum(1))
        field = active_subspace.fields(energy, A, states[None])["beyond"][0]
        field = field - field.mean((0, 1))
        held = (field @ rows.mT).square().sum((1, 2)) / field.square().sum((1, 2)).clamp_min(1e-300)
        by_problem["held"][name] = points.array(held)
    return by_problem


def spans(
    energy: Energy,
    A: Tensor,
    answers: Tensor,
    field: Tensor,
    by_name: Mapping[str, Components],
    resamples: int,
    generator: torch.Generator,
) -> dict[str, DataFrame]:
    """The span of the real components of the first of `by_name`, landscape by landscape.

    "angles": how stable it is over the problems of its field (K, P, M, size); "captures": what it captures of the
    exact sensitivity of fresh problems A, beside as many components of the others of `by_name`, of the PCA of answers
    (P, d) ("answers") and of what captures most of it ("best").
    """
    S, angles, captured = exact_sensitivity.mean_sensitivity(energy, A), [], []
    fixed = {
        "answers": principal_components(energy.coordinates.to_basis(answers))[1],
        "best": torch.linalg.eigh(S).eigenvectors.mT.flip(0),
    }
    first = next(iter(by_name.values()))
    for k, field_of_k in enumerate(field):
        m = len(first.leading(k))
        rows = {name: components.rows[k] for name, components in by_name.items()} | fixed
        stability = active_subspace.subspace_stability(field_of_k, m, resamples, generator)
        angles.append({"landscape": k, "dimension": m} | stability.columns())
        leading = {name: v[:m] for name, v in rows.items()}
        captured.append(exact_sensitivity.captures(energy, A, S, k=k, spans=leading, generator=generator))
    return {"angles": DataFrame(angles), "captures": concat(captured, ignore_index=True)}


def comparisons(
    energy: Energy,
    A: Tensor,
    components: Components,
    landscapes: Sequence[int],
    most: int,
    others: Sequence[Direction],
    draws: int,
    generator: torch.Generator,
) -> dict[str, DataFrame]:
    """The leading components of these landscapes, at most so many of each, on fresh problems A.

    "axes": their share in A's eigen-directions; "single": what each captures of the exact sensitivity; "cosines": with
    other directions. p_adjusted: corrected over the rows of a table (Benjamini-Hochberg); agrees: it is below 0.05,
    and the size above its limit.
    """
    S, y0 = exact_sensitivity.mean_sensitivity(energy, A), points.answers(energy, A)
    axes, single, cosines = [], [], []
    for k in landscapes:
        rows = components.leading(k, most)
        y = points.noised(energy, y0, k, count=1, generator=generator)[0][:, 0]
        axes.append(eigenframe.framed(energy, A, k, rows=rows, generator=generator))
        for component, row in enumerate(rows, 1):
            table = exact_sensitivity.captures(energy, A, S, k=k, spans={"trained": row[None]}, generator=generator)
            single.append(table.assign(component=component))
        cosines.append(aligned(energy, A, y, k, rows=rows, directions=others, draws=draws, generator=generator))
    tables = {
        name: concat(parts, ignore_index=True)
        for name, parts in (("axes", axes), ("single", single), ("cosines", cosines))
    }
    for table in tables.values():
        size = table["cosine"].abs() if "cosine" in table else table["share"]
        table["p_adjusted"] = adjust(table["p"])
        table["agrees"] = (table["p_adjusted"] < 0.05) & (size > table["limit"])
    return tables


def described_components(
    energy: Energy, by_name: Mapping[str, Components], landscapes: Sequence[int], most: int
) -> tuple[DataFrame, NDArray]:
    """The leading components of these landscapes, at most so many of each: rows of name, landscape, component, share,
    real and the share of each of PARTS; and the same as matrices (rows, n, n)."""
    table, rows, n = [], [], energy.coordinates.n
    for name, components in by_name.items():
        for k in landscapes:
            for i, row in enumerate(components.leading(k, most)):
                share, real = components.share[k, i], i < components.real[k]
                table.append({"name": name, "landscape": k, "component": i + 1, "share": share, "real": real})
                rows.append(row)
    z = torch.stack(rows)
    shares = dict(zip(PARTS, points.array(active_subspace.parts(energy, z)).T, strict=True))
    matrices = energy.coordinates.from_basis(z).unflatten(-1, (n, n))
    return DataFrame(table).assign(**shares), points.array(matrices)


def most_used(layer: str, decoder: Tensor, rates: Mapping[int, float], most: int) -> list[Direction]:
    """The features of a dictionary's decoder (F, width) that fire most often, as directions."""
    order = sorted(rates, key=lambda feature: (-rates[feature], feature))[:most]
    return [of_feature(layer, i, evidence=rates[i], measure="share of tokens", vector=decoder[i]) for i in order]


def active_directions(energy: Energy, components: Components, landscapes: Sequence[int], most: int) -> list[Direction]:
    """The real components of these landscapes, at most so many of each, as directions of the state; where none is real
    the first one, and its measure says so."""
    return [
        Direction(
            name=f"gradient k={k} #{i + 1}",
            source="gradient",
            space=STATE,
            landscape=k,
            concept="",
            evidence=float(components.share[k, i]),
            measure="share of variance" if components.real[k] else "share of variance, within chance",
            vector=energy.coordinates.from_basis(row),
        ).unit()
        for k in landscapes
        for i, row in enumerate(components.leading(k, most))
    ]
