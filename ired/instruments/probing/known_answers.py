"""Known answers of probes: planted properties, labels that belong to nothing, the trace of A."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ired.instruments.core import random_directions, states
from ired.instruments.core.check import Check, compare
from ired.instruments.core.reference_energies import References
from ired.instruments.core.states import array
from ired.instruments.probing import description_length, logistic, ridge, scores as probe_scores

NAME = "probes"


def check_probes(generator: torch.Generator) -> list[Check]:
    """Planted linear properties, random labels, scikit-learn's ridge, and lengths of codes."""
    P, F = 200, 10
    rng = np.random.default_rng(generator.initial_seed())

    normal = partial(random_directions.normal, generator=generator)
    x = 3 + normal(P, F) * torch.logspace(-2, 2, F, dtype=torch.float64)
    linear = (x - x.mean(0)) / x.std(0) @ normal(F)
    fold = ridge.grouped_folds(np.arange(P), 4, rng)
    asked = ridge.probe_targets({"linear": linear}, {"linear": x}, generator)
    planted_reading = ridge.ridge_probe(x, asked.values, fold)
    r2 = dict(zip(asked.cells, array(planted_reading.shares(asked).mean(0)), strict=True))
    checks = [
        Check(NAME, "R² of a planted linear property", expected=1, measured=r2["linear", "property"], tolerance=1e-6),
        Check(NAME, "R² of its control task", expected=0, measured=r2["linear", "permuted"], tolerance=0.15),
        compare(
            NAME,
            "predictions of scikit-learn's ridge",
            _by_scikit_learn(x, asked.values, fold, planted_reading),
            array(planted_reading.predicted),
            1e-8,
        ),
    ]

    problem = np.repeat(np.arange(P // 4), 4)
    repeated = normal(P // 4, 200)[problem] + 0.02 * normal(P, 200)
    labels = ridge.Targets(normal(P // 4)[problem][:, None], {("labels", "property"): slice(0, 1)})
    for groups, what, expected in ((problem, "kept together", 0), (np.arange(P), "torn apart", 1)):
        reading = ridge.ridge_probe(repeated, labels.values, ridge.grouped_folds(groups, 4, rng))
        # Worse than the mean is no leakage.
        above_mean = max(reading.shares(labels).mean().item(), 0.0)
        checks.append(
            Check(
                NAME,
                f"R² of problems' random labels, states {what}",
                expected=expected,
                measured=above_mean,
                tolerance=0.4,
            )
        )

    flat, chance = array(x), rng.permutation(P) < P // 2
    nothing = logistic.logistic_probe(flat, chance, fold, (1e-5, 1e-1)).auroc(level=0.9999)
    planted = logistic.logistic_probe(flat, array(linear) > 0, fold).auroc()
    checks += [
        Check(
            NAME,
            "AUROC of random labels",
            expected=0.5,
            measured=nothing.estimate,
            tolerance=(nothing.high - nothing.low) / 2,
        ),
        Check(NAME, "AUROC of a planted label", expected=1, measured=planted.estimate, tolerance=0.05),
    ]

    half = linear / linear.std() + normal(P) / 3**0.5  # three quarters are explained: one bit
    code = description_length.of_values(x, torch.stack([normal(P), half], 1), rng.permutation(P), rng)
    costs = description_length.of_labels(flat, chance, rng.permutation(P), rng)
    return [
        *checks,
        Check(
            NAME, "bits saved on random values", expected=0, measured=code.saved(slice(0, 1)).estimate, tolerance=0.2
        ),
        Check(
            NAME,
            "bits saved where 3/4 are explained",
            expected=1,
            measured=code.curve(slice(1, 2))[1][-1],
            tolerance=0.6,
        ),
        Check(NAME, "bits of a random label", expected=1, measured=costs.length[0] / P, tolerance=0.15),
    ]


def check_probed_states(references: References, generator: torch.Generator) -> list[Check]:
    """The trace and, without noise, the inverse are linear in what the network is given; tr A² is in
    [A, A²] alone; distances in noise radii."""
    ideal, k = references.ideal, 1
    n = ideal.coordinates.n
    # Half of them are left inside the inner folds: twice as many as the longest input is wide.
    P = 200 + 4 * (n * (n + 1) // 2 + ideal.coordinates.size)
    R = 2 * torch.rand(P, n, n, generator=generator, dtype=torch.float64).to(references.A) - 1
    A = 2 * R @ R.mT + torch.eye(n, dtype=R.dtype, device=R.device) / 2
    y0 = states.answers(ideal, A)
    y = states.centre(ideal, y0, k)
    inverse = ideal.coordinates.to_basis(y0)
    trace, square = A.diagonal(dim1=1, dim2=2).sum(1), A.pow(2).sum((1, 2))
    values = torch.cat([trace[:, None], square[:, None], inverse], 1)
    places = {"trace": slice(0, 1), "square": slice(1, 2), "inverse": slice(2, None)}
    asked = ridge.Targets(values, {(name, "property"): columns for name, columns in places.items()})
    representations = ridge.representations({"trained": ideal}, A, y, k)
    fold = ridge.grouped_folds(np.arange(P), 4, np.random.default_rng(generator.initial_seed()))
    linear, scores = (("trace", "A"), ("square", "A, A²"), ("inverse", "A, y")), probe_scores.Scores(4)
    for _, layer in linear:
        x = representations["input", layer]
        scores.add("input", layer, k, ridge.ridge_probe(x, values, fold), asked)
    moved = states.around(ideal, y0, k, 0.7, 1, generator)[:, 0]
    distances = array(ridge.distance(ideal, y0, moved, k))
    return [
        *(
            Check(
                NAME,
                f"R² of the {name} from [{layer}]",
                expected=1,
                measured=scores.of("input", layer, name).mean(),
                tolerance=1e-6,
            )
            for name, layer in linear
        ),
        compare(NAME, "distance in noise radii", 0.7, distances, 1e-9),
    ]


def _by_scikit_learn(x: Tensor, values: Tensor, fold: NDArray, reading: ridge.Reading) -> NDArray:
    """Out-of-fold predictions (N, T) at the strengths that were chosen."""
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    X, Y = array(x), array(values)
    predicted = np.empty_like(Y)
    for f, alpha in enumerate(array(reading.alpha)):
        train = fold != f
        line = make_pipeline(StandardScaler(), Ridge(alpha)).fit(X[train], Y[train])
        predicted[~train] = line.predict(X[~train])
    return predicted
