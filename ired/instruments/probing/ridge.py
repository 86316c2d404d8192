"""Linear probes (Alain & Bengio 2016, arXiv 1610.01644): what of a property an affine map reads from a layer.

A probe says what is *there* to be read, not what is used, and
only against what else would be read: labels that belong to nothing (control tasks: Hewitt & Liang
2019, arXiv 1909.03368), untrained networks, the input itself, and the layers of a plain regression
network. An energy that is affine in A and y holds nothing but affine maps of [A, y]: no probe of it
reads what [A, y] does not give, which therefore stands for it. Ridge regression of standardised
features; its strength is chosen for every target on folds inside the training part (nested
cross-validation), and folds never divide a problem: states of one problem share its matrix.

All targets and all strengths come from one eigendecomposition per training set, and sums over folds
serve the outer and the inner ones: equal to scikit-learn's Pipeline(StandardScaler, Ridge), which
is tested, in a fraction of its time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ired.instruments.accuracy.predictors import power_features
from ired.instruments.core import random_directions, states
from ired.instruments.statistics.regression import least_squares
from ired.model.protocol import Energy

# The last is so strong that nothing but the mean is predicted: a probe may decline.
ALPHAS = (1e-3, 1e-1, 1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e8)
LAYERS = ("fc1", "fc2", "fc3", "f")
INPUTS = ("A", "A, A²", "A, y", "A, A², y")
GIVEN = "A, A², y"  # the strongest of them: what all the others can be made of
PROPERTIES = (
    "condition_number",
    "smallest_eigenvalue",
    "log_determinant",
    "trace",
    "distance",
    "success",
    "inverse",
)
OF_SPECTRUM = PROPERTIES[:4]
TASKS = ("property", "permuted", "function", "beyond others")
_WAVES = 64


# Representations


@torch.no_grad()
def representations(
    energies: Mapping[str, Energy],
    A: Tensor,
    y: Tensor,
    k: int,
    plain: Mapping[str, Callable[[Tensor], Mapping[str, Tensor]]] = MappingProxyType({}),
    layers: Sequence[str] = LAYERS,
    chunk: int = 4096,
) -> dict[tuple[str, str], Tensor]:
    """Features (N, F), by (source, layer), of states y (N, d) of landscape k and their problems A
    (N, n, n): the `layers` of each energy under its name, f among them, and as source "input" what
    they are given: the upper triangle of A, beside it that of A², beside each the state. An energy
    without layers gives its input alone.

    plain: by name, networks that see A alone, each a function from problems to its layers; beside each
    layer stands the state, which an energy made of that network is given too."""
    by_place: dict[tuple[str, str], Tensor] = {}
    linear, squared = power_features(A, 1), power_features(A, 2)
    state = next(iter(energies.values())).coordinates.to_basis(y).double()
    given = (linear, squared, *(torch.cat([x, state], 1) for x in (linear, squared)))
    by_place |= {("input", name): x for name, x in zip(INPUTS, given, strict=True)}
    for source, energy in energies.items():
        rows = torch.arange(len(y), device=y.device).split(chunk)
        parts = [energy.activations(A[piece], y[piece], k) for piece in rows]
        for layer, name in zip(LAYERS, parts[0], strict=bool(parts[0])):
            if layer in layers:
                by_place[source, layer] = torch.cat([part[name] for part in parts]).double()
    for source, network in plain.items():
        held = network(A)
        by_place |= {(source, layer): torch.cat([held[layer].to(state), state], 1) for layer in layers}
    return by_place


# Targets and their controls


@dataclass(frozen=True)
class Targets:
    """What probes are asked for in N states.

    values (N, T) float64; cells: for each property and task (see TASKS) its columns. An answer of
    several numbers, as the inverse, has several.
    """

    values: Tensor
    cells: dict[tuple[str, str], slice]

    def of_task(self, task: str) -> Targets:
        """What is asked for in one task alone."""
        chosen = {key: cell for key, cell in self.cells.items() if key[1] == task}
        columns, cells, place = [], {}, 0
        for key, cell in chosen.items():
            columns.append(self.values[:, cell])
            cells[key] = slice(place, place := place + columns[-1].shape[1])
        return Targets(torch.cat(columns, 1), cells)

    def pooled(self, columns: Tensor) -> Tensor:
        """(N, T) summed over the columns of each cell: (N, cells)."""
        return torch.stack([columns[:, cell].sum(1) for cell in self.cells.values()], 1)


def probe_targets(
    properties: Mapping[str, Tensor],
    inputs: Mapping[str, Tensor],
    generator: torch.Generator,
    together: Sequence[str] = (),
    groups: ArrayLike | None = None,
) -> Targets:
    """Properties (N,) or (N, m) by name, and what each is held against.

    "permuted": the values of another problem: what is read of them is leakage (groups (N,): the
    problem of each state, where problems have several); "function": a random function of inputs[name]
    (N, F) with the property's own values (`random_function`); "beyond others": for the properties in
    `together`, what an affine map of the others among them leaves.
    """
    parts: dict[tuple[str, str], Tensor] = {}
    columns = {name: value.double().reshape(len(value), -1) for name, value in properties.items()}
    for name, value in columns.items():
        parts[name, "property"] = value
    for name, value in columns.items():
        parts[name, "permuted"] = permuted_problems(value, generator, groups)
        parts[name, "function"] = random_function(inputs[name], value, generator)
    for name in together:
        others = torch.cat([columns[other] for other in together if other != name], 1)
        parts[name, "beyond others"] = beyond(columns[name], others)
    cells, place = {}, 0
    for key, value in parts.items():
        cells[key] = slice(place, place := place + value.shape[1])
    return Targets(torch.cat(list(parts.values()), 1), cells)


def permuted_problems(values: Tensor, generator: torch.Generator, groups: ArrayLike | None = None) -> Tensor:
    """Values (N, m) of other problems, all m together. Raises ValueError where problems (groups (N,),
    each state its own if not given) have different numbers of states."""
    place = np.arange(len(values)) if groups is None else np.unique(groups, return_inverse=True)[1]
    count = np.bincount(place)
    if count.min() != count.max():
        raise ValueError("problems with different numbers of states cannot be permuted")
    rows = torch.as_tensor(np.argsort(place, kind="stable").reshape(len(count), -1))
    givers = rows[torch.randperm(len(rows), generator=generator)]
    shuffled = torch.empty_like(values)
    shuffled[rows.flatten().to(values.device)] = values[givers.flatten().to(values.device)]
    return shuffled


def random_function(x: Tensor, values: Tensor, generator: torch.Generator) -> Tensor:
    """A control task that generalises: functions of x (N, F) that belong to nothing, with the very
    values (N, m) of a property.

    Sums of 64 random waves of the standardised x (Rahimi & Recht 2007), one kernel width long: an
    affine map of normal x explains about 58 % of one. Ranks are filled with the values in their
    order, so that classes and variance are the property's own.
    """
    centred = x - x.mean(0)
    z = centred / _safe(centred.pow(2).mean(0).sqrt(), x.abs().amax(0))

    normal = partial(random_directions.normal, generator=generator, like=z)
    filled = []
    for column in values.mT:
        phase = 2 * torch.pi * torch.rand(_WAVES, generator=generator, dtype=torch.float64).to(z)
        waves = torch.cos(z @ normal(z.shape[1], _WAVES) / z.shape[1] ** 0.5 + phase)
        rank = (waves @ normal(_WAVES)).argsort().argsort()
        filled.append(column.sort().values[rank])
    return torch.stack(filled, 1)


def beyond(values: Tensor, others: Tensor) -> Tensor:
    """What is left of values (N, m) by least squares on others (N, q) and a constant. It is part of
    what the target means: no representation is used here, so nothing leaks."""
    others = others / others.std(0)
    return values - least_squares(others, values)(others)


# Nested cross-validation


def grouped_folds(groups: ArrayLike, count: int, rng: np.random.Generator) -> NDArray:
    """The fold (N,) of each state, the same for all states of one of the problems `groups` (N,).

    Raises ValueError for fewer problems than folds.
    """
    _, place = np.unique(groups, return_inverse=True)
    problems = place.max() + 1
    if problems < count:
        raise ValueError(f"{problems} problems cannot be divided into {count} folds")
    return (rng.permutation(problems) % count)[place]


@dataclass(frozen=True)
class Reading:
    """What probes say about N states that they were not fitted to.

    predicted, mean (N, T): the probe's word and the mean of its training part; alpha (folds, T): the
    strength chosen inside.
    """

    predicted: Tensor
    mean: Tensor
    alpha: Tensor

    def shares(self, asked: Targets) -> Tensor:
        """What every state adds to R² = 1 − Σ(v − v̂)²/Σ(v − m)² of each cell, its columns pooled:
        (N, cells). Their mean is R², and the error of that mean is that of R², a ratio (delta
        method)."""
        missed, from_mean = (asked.pooled((asked.values - guess).pow(2)) for guess in (self.predicted, self.mean))
        whole = from_mean.mean(0)
        ratio = missed.mean(0) / whole
        return 1 - ratio - (missed - ratio * from_mean) / whole


def ridge_probe(x: Tensor, values: Tensor, fold: NDArray, alphas: Sequence[float] = ALPHAS) -> Reading:
    """Probes of features x (N, F) for values (N, T), each state read by one that never saw its fold.

    The strength for a fold is the one with the least squared error on the other folds, each read by
    probes of the rest; of equals the first. Raises ValueError for fewer than three folds.
    """
    sums = Sums.of(x, values, fold)
    count = len(sums.count)
    if count < 3:
        raise ValueError(f"nested cross-validation needs at least three folds, not {count}")
    inner = values.new_zeros(count, len(alphas), values.shape[1])
    for i, j in combinations(range(count), 2):
        fit = sums.fit({i, j})
        for chosen_for, test in ((i, j), (j, i)):
            inner[chosen_for] += fit.misses(sums.rows[test], alphas)
    best = inner.argmin(1)
    alpha = torch.as_tensor(alphas, dtype=values.dtype, device=values.device)[best]
    predicted, mean = torch.empty_like(values), torch.empty_like(values)
    for i, rows in enumerate(sums.rows):
        fit = sums.fit({i})
        predicted[rows.places], mean[rows.places] = fit.predict(rows.x, alpha[i]), fit.level
    return Reading(predicted, mean, alpha)


@dataclass(frozen=True)
class Rows:
    """The states of a fold: their places (n,), features x (n, F) around the overall mean, values."""

    places: Tensor
    x: Tensor
    values: Tensor


@dataclass(frozen=True)
class Sums:
    """Sums of products within each fold: any union of folds is fitted without its states.

    rows: of each fold; count: states in each; x (folds, F), values (folds, T), xx (folds, F, F), xv (folds, F, T):
    sums over its states; size (F,): the largest of each feature, to see what is constant.
    """

    rows: list[Rows]
    count: list[int]
    x: Tensor
    values: Tensor
    xx: Tensor
    xv: Tensor
    size: Tensor

    @classmethod
    def of(cls, x: Tensor, values: Tensor, fold: NDArray) -> Sums:
        """Of features x (N, F) and values (N, T) of states in the folds `fold` (N,), from 0."""
        x, values, size = x.double(), values.double(), x.double().abs().amax(0)
        x, rows = x - x.mean(0), []  # without it sums of a large constant would lose the rest
        for f in range(int(fold.max()) + 1):
            places = torch.as_tensor(np.flatnonzero(fold == f), device=x.device)
            rows.append(Rows(places, x[places], values[places]))
        return cls(
            rows=rows,
            count=[len(r.x) for r in rows],
            x=torch.stack([r.x.sum(0) for r in rows]),
            values=torch.stack([r.values.sum(0) for r in rows]),
            xx=torch.stack([r.x.mT @ r.x for r in rows]),
            xv=torch.stack([r.x.mT @ r.values for r in rows]),
            size=size,
        )

    def fit(self, left_out: set[int] = frozenset()) -> Fit:
        """Ridge regressions of all strengths on the folds that are not left out."""
        chosen = [f for f in range(len(self.count)) if f not in left_out]
        n = sum(self.count[f] for f in chosen)
        x, values, xx, xv = (part[chosen].sum(0) for part in (self.x, self.values, self.xx, self.xv))
        mean, level = x / n, values / n
        xx = xx - n * torch.outer(mean, mean)
        scale = _safe((xx.diagonal() / n).clamp_min(0).sqrt(), self.size)
        spectrum, vectors = torch.linalg.eigh(xx / torch.outer(scale, scale))
        moved = vectors.mT @ ((xv - n * torch.outer(mean, level)) / scale[:, None])
        return Fit(mean=mean, level=level, axes=vectors / scale[:, None], spectrum=spectrum.clamp_min(0), moved=moved)


@dataclass(frozen=True)
class Fit:
    """Ridge regressions of one training set: mean (F,), level (T,), the map (F, F) to principal
    axes, their sums of squares (F,), and their products with the values (F, T)."""

    mean: Tensor
    level: Tensor
    axes: Tensor
    spectrum: Tensor
    moved: Tensor

    def predict(self, x: Tensor, alpha: Tensor) -> Tensor:
        """(n, T) for features x (n, F) at a strength (T,) for each target."""
        weights = self.moved / (self.spectrum[:, None] + alpha)
        return (x - self.mean) @ (self.axes @ weights) + self.level

    def misses(self, rows: Rows, alphas: Sequence[float]) -> Tensor:
        """Summed squared errors (alphas, T) on rows that were not fitted."""
        z, centred = (rows.x - self.mean) @ self.axes, rows.values - self.level
        weights = (self.moved / (self.spectrum[:, None] + alpha) for alpha in alphas)
        if len(z) <= z.shape[1]:
            return torch.stack([(centred - z @ w).pow(2).sum(0) for w in weights])
        # Of many rows, from sums that all strengths share.
        square, zz, zv = centred.pow(2).sum(0), z.mT @ z, z.mT @ centred
        missed = [square + (w * (zz @ w - 2 * zv)).sum(0) for w in weights]
        return torch.stack(missed).clamp_min(0)


def _safe(scale: Tensor, size: Tensor) -> Tensor:
    """Standard deviations (F,), 1 for features that are constant up to rounding at their size (F,)."""
    return torch.where(scale > 1e-12 * size, scale, torch.ones_like(scale))


def distance(energy: Energy, y0: Tensor, y: Tensor, k: int) -> Tensor:
    """How far states y (N, d) of landscape k are from the answers y0 (N, d), in noise radii: (N,)."""
    return (y - states.centre(energy, y0, k)).norm(dim=-1) / states.noise_radius(energy, k)
