"""Directions in a network: what one experiment finds and another moves along."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

SOURCES = ("attribution", "concept", "gradient", "feature")
STATE = "y"
EVERYWHERE = -1
# The properties that directions are asked to carry: of a problem, and of a state.
OF_PROBLEMS = ("ill_conditioned", "large_norm", "near_singular", "dominant_diagonal")
OF_STATES = ("noisy_answer", "correct_answer")
CONCEPTS = (*OF_PROBLEMS, *OF_STATES)


@dataclass(frozen=True)
class Direction:
    """One direction that was found.

    name: unique; source: one of SOURCES; space: STATE, or a layer; landscape: the k it was found in, or
    EVERYWHERE; concept: the property that it is supposed to carry, growing along it, or ""; evidence: how
    strongly what was seen speaks for it (correlational), a number that `measure` names; vector: of length
    1, (d,) in STATE, where it lies in the space that states live in, else (width,).
    """

    name: str
    source: str
    space: str
    landscape: int
    concept: str
    evidence: float
    measure: str
    vector: Tensor

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise ValueError(f"unknown source of directions '{self.source}': {', '.join(SOURCES)}")

    def unit(self) -> Direction:
        """The same with a vector of length 1. Raises ValueError where there is no direction."""
        length = self.vector.norm()
        if not (length > 0 and length.isfinite()):
            raise ValueError(f"direction '{self.name}' has length {length.item()}")
        return replace(self, vector=self.vector / length)


def of_feature(layer: str, feature: int, evidence: float, measure: str, vector: Tensor) -> Direction:
    """A dictionary's decoder row (width,) as a direction of its layer, in all landscapes."""
    return Direction(
        name=f"feature {layer} #{feature}",
        source="feature",
        space=layer,
        landscape=EVERYWHERE,
        concept="",
        evidence=evidence,
        measure=measure,
        vector=vector,
    ).unit()


def pack_directions(directions: Sequence[Direction]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and a note from which `unpack_directions` makes them again, in this order."""
    names = [d.name for d in directions]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"two directions are called {', '.join(twice)}")
    notes = [{k: v for k, v in vars(d).items() if k != "vector"} for d in directions]
    return {d.name: d.vector for d in directions}, {"directions": notes}


def unpack_directions(tensors: dict[str, Tensor], meta: dict[str, Any]) -> list[Direction]:
    return [Direction(**note, vector=tensors[note["name"]]) for note in meta["directions"]]


def direction_columns(directions: Sequence[Direction]) -> dict[str, list]:
    """Columns without the vectors, for logging."""
    fields = ("name", "source", "space", "landscape", "concept", "evidence", "measure")
    return {field: [getattr(d, field) for d in directions] for field in fields}


def overlap(first: Tensor, second: Tensor) -> Tensor:
    """|cosine| (N, M) of rows (N, width) and (M, width)."""
    unit = torch.nn.functional.normalize
    return (unit(first, dim=1) @ unit(second, dim=1).mT).abs()
