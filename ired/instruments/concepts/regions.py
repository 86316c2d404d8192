"""Concept activation regions (Crabbé & van der Schaar 2022): whether a concept is a region rather than a direction."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame
from torch import Tensor

from ired.instruments.concepts.cav import fit, side_labels, standardised_columns, within_0_and_1
from ired.instruments.concepts.pairs import ConceptPairs, pair_activations
from ired.instruments.statistics.intervals import Interval, student_interval
from ired.model.protocol import Energy


def accuracies(h: NDArray, z: NDArray, unit: NDArray, fold: NDArray) -> dict[str, Interval]:
    """Share of held-out states put on the right side: "linear", by the filter, and "region", by a support vector
    classifier with a Gaussian kernel, on standardised activations, of scikit-learn's usual width and strength."""
    from sklearn.metrics.pairwise import rbf_kernel
    from sklearn.svm import SVC

    labels, right = side_labels(len(h)).reshape(-1, 2), {"linear": [], "region": []}
    for f in np.unique(fold):
        train, test = h[fold != f], h[fold == f]
        mean = train.mean((0, 1))
        cav = fit("filter", train, z[fold != f])
        spread = standardised_columns(train.reshape(-1, h.shape[2]))[1]
        x, new = ((rows - mean).reshape(-1, h.shape[2]) / spread for rows in (train, test))
        width = x.shape[1] * x.var() or 1.0  # scikit-learn's usual one; its own kernels take six times as long
        of_train, of_test = (rbf_kernel(rows, x, gamma=1 / width) for rows in (x, new))
        classifier = SVC(kernel="precomputed").fit(of_train, side_labels(len(train)))
        region = classifier.predict(of_test).reshape(-1, 2)
        # The sides are of equal size, so the classes meet halfway between their means.
        line = (test - mean) @ cav > 0
        for name, said in (("linear", line), ("region", region)):
            right[name].append((said == labels[fold == f]).mean(1))
    order = np.concatenate([np.flatnonzero(fold == f) for f in np.unique(fold)])
    return {
        name: within_0_and_1(student_interval(np.concatenate(shares), groups=unit[order]))
        for name, shares in right.items()
    }


def regions(energy: Energy, A: Tensor, y0: Tensor, shown: Sequence[ConceptPairs], at: DataFrame) -> DataFrame:
    """`accuracies` at the rows of `at` (concept, layer, landscape): beside these columns classifier ("linear",
    "region"), accuracy, low, high."""
    rows, pairs_of = [], {pairs.concept: pairs for pairs in shown}
    for concept, layer, k in at[["concept", "layer", "landscape"]].itertuples(index=False):
        pairs = pairs_of[concept]
        h = pair_activations(energy, A, y0, pairs, k=k, layers=(layer,))[layer]
        for name, share in accuracies(h, pairs.confounders, pairs.unit, pairs.fold).items():
            cell = {"concept": concept, "layer": layer, "landscape": k, "classifier": name}
            rows.append(cell | {"accuracy": share.estimate, "low": share.low, "high": share.high})
    return DataFrame(rows)
