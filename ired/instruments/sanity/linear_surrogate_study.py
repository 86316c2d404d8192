"""Linear surrogate of a trained network: how much an affine map of its problems explains, answers to directions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from numpy.typing import NDArray
from pandas import DataFrame, concat
from torch import Tensor

from ired.instruments.accuracy import linear_surrogate
from ired.instruments.core import states as points
from ired.instruments.core.directions import EVERYWHERE, STATE, Direction
from ired.instruments.core.states import array
from ired.instruments.dictionaries.sparse_autoencoder import Dictionary
from ired.instruments.sanity import findings_answers
from ired.instruments.sanity.findings_answers import Answer
from ired.instruments.statistics.intervals import Interval, ratio_interval
from ired.model.protocol import Energy

STATES = 20  # that energies rank, of each of RANKED problems
RANKED = 500


@dataclass(frozen=True)
class Surrogate:
    """shares: rows of what, features, share, low, high; directions: the same of the coordinate along
    each direction, with its source, space and landscape; ordering: rank correlations of
    `linear_surrogate.Ordering`; unexplained, total (N,): of the answers, by a map of A, as in
    `linear_surrogate.Explained`."""

    shares: DataFrame
    directions: DataFrame
    ordering: DataFrame
    unexplained: NDArray
    total: NDArray

    def beyond(self) -> Interval:
        """The share of the answers' variance that an affine map of A does not explain."""
        return ratio_interval(self.unexplained, self.total)

    def tables(self) -> dict[str, DataFrame]:
        """Its tables by the names under which they are kept."""
        return {"surrogate": self.shares, "surrogate_directions": self.directions, "ordering": self.ordering}


def affine_surrogate(
    energy: Energy,
    answer: Answer,
    A: Tensor,
    dictionaries: Mapping[str, Dictionary],
    directions: Sequence[Direction],
    generator: torch.Generator,
) -> Surrogate:
    """How much an affine map explains, of problems A (N, n, n), all cross-fitted over problems."""
    to_basis, y0 = energy.coordinates.to_basis, points.answers(energy, A)
    start = points.noise(energy, len(A), generator=generator, like=A)
    given, fold = answer(energy, A, start), linear_surrogate.alternating_folds(len(A))
    y = points.noised(energy, y0, k=0, count=1, generator=generator)[0][:, 0]
    with torch.no_grad():
        h = energy.activations(A, y, 0)
        score = to_basis(energy.gradient(A, y, 0))
    whole = {"the inverse": y0, "answers": given, "answers − inverse": given - y0}
    whole = {what: to_basis(states) for what, states in whole.items()}
    tables = [linear_surrogate.explained_shares(whole, A)]
    at_state = {"score, k = 0": score}
    for layer, dictionary in dictionaries.items():
        at_state[f"{layer} activations"] = h[layer]
        at_state[f"{layer} features"] = dictionary.encode(h[layer])
    tables.append(linear_surrogate.explained_shares(at_state, A, to_basis(y)))
    X = linear_surrogate.surrogate_features(A, "A")
    map_of = energy.coordinates.from_basis(linear_surrogate.cross_fitted(X, to_basis(given), fold))
    states = findings_answers.states_between_answers(energy, y0[:RANKED], k=0, count=STATES, generator=generator)
    with torch.no_grad():
        energies = energy.energy(energy.prepare(A[:RANKED]), states, 0)
    far = (linear_surrogate.answer_distances(energy, states, to[:RANKED], 0) for to in (y0, map_of))
    ranks = linear_surrogate.ordering(array(energies), *map(array, far))
    explained = linear_surrogate.Explained.of(X, whole["answers"], fold)
    return Surrogate(
        shares=concat(tables, ignore_index=True),
        directions=direction_shares(energy, A, y0, directions=directions, generator=generator),
        ordering=ranks.table(),
        unexplained=explained.unexplained,
        total=explained.total,
    )


@torch.no_grad()
def direction_shares(
    energy: Energy, A: Tensor, y0: Tensor, directions: Sequence[Direction], generator: torch.Generator
) -> DataFrame:
    """Shares of the coordinates along directions, of activations at noised answers of the landscape
    that they were found in (0, where that is everywhere); of the score for directions of the state."""
    by_landscape: dict[int, list[Direction]] = {}
    for d in directions:
        by_landscape.setdefault(0 if d.landscape == EVERYWHERE else d.landscape, []).append(d)
    tables = []
    for k, members in sorted(by_landscape.items()):
        y = points.noised(energy, y0, k=k, count=1, generator=generator)[0][:, 0]
        by_space = energy.activations(A, y, k) | {STATE: energy.gradient(A, y, k)}
        T = torch.stack([by_space[d.space] @ d.vector.to(by_space[d.space]) for d in members], 1)
        names = [d.name for d in members]
        table = linear_surrogate.column_shares(names, T, A, energy.coordinates.to_basis(y))
        notes = {d.name: d for d in members}
        tables.append(
            table.assign(
                source=[notes[n].source for n in table["what"]],
                space=[notes[n].space for n in table["what"]],
                landscape=k,
            )
        )
    return concat(tables, ignore_index=True)
