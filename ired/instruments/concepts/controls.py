"""Concepts in what a control holds: a regression network's layers, or an affine map's answer.

A network that answers at once has layers, too, and they depend on the problem alone: a property of the problem can be
read there as well as anywhere, while pairs of states of one problem are the same on both sides, AUROC 0.5. An affine
map has no layer but its answer: a CAV there, as a pattern, is the map of the one on A, and a classifier reads no more
there than it could on the input. There is no TCAV of controls: the energy's derivative along a CAV asks for a layer
that the state passes through.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame
from torch import Tensor

from ired.instruments.concepts import cav
from ired.instruments.concepts.pairs import OF_PROBLEMS, ConceptPairs, pair_activations
from ired.model.protocol import Energy


def read_in_controls(
    controls: Mapping[str, Energy], A: Tensor, y0: Tensor, shown: Sequence[ConceptPairs], best: DataFrame
) -> dict[tuple[str, str, str], NDArray]:
    """`cav.auroc_values` of the classifier (filter) on what controls hold, by control, concept and layer.

    Pairs and landscapes are those of `best` (rows of concept, layer, landscape); where a control has no layer of that
    name its first stands for it.
    """
    values, by_name = {}, {pairs.concept: pairs for pairs in shown}
    for name, energy in controls.items():
        held = energy.activations(A[:1], y0[:1], 0)
        for row in best.itertuples():
            pairs, layer = by_name[row.concept], row.layer if row.layer in held else next(iter(held))
            h = pair_activations(energy, A, y0, pairs, k=int(row.landscape), layers=(layer,))[layer]
            folds = cav.held_out("filter", h, pairs.confounders, pairs.fold)
            values[name, row.concept, row.layer] = cav.auroc_values(folds, h, pairs.fold)
    return values


def of_problems(
    values: Mapping[tuple[str, str], NDArray], layers: Sequence[str], concepts: Sequence[str] = OF_PROBLEMS
) -> NDArray:
    """Values by concept and layer, the mean of the layers, of the pairs of all these concepts: (ΣG,)."""
    return np.concatenate([np.mean([values[concept, layer] for layer in layers], axis=0) for concept in concepts])
