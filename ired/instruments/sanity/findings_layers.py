"""Sanity checks (Adebayo et al. 2018) of findings about a network's layers: concepts, a push, dictionaries.

Instruments run on noise here: the activations are replaced by Gaussian numbers of their own mean and
covariance, and the instrument is asked as if nothing had happened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ired.instruments.accuracy import linear_surrogate
from ired.instruments.concepts import cav
from ired.instruments.concepts.pairs import ConceptPairs, pair_activations
from ired.instruments.core import random_directions, states
from ired.instruments.core.energy_gap import centred
from ired.instruments.core.patching import DISTANCES, Spliced
from ired.instruments.core.states import array
from ired.instruments.dictionaries.sparse_autoencoder import Dictionary, given_dictionary
from ired.instruments.sanity import randomisation
from ired.instruments.sanity.findings_answers import DRAWS, Answer, Background, Networks
from ired.instruments.sanity.survival_table import LINEAR, SurvivalCell
from ired.instruments.statistics.intervals import unit_means
from ired.model.protocol import Energy

Place = tuple[str, str, int]  # concept, layer, landscape


# Concepts


@dataclass(frozen=True)
class ShownConcepts:
    """Pairs of states that show concepts, of problems A (P, n, n) with answers y0 (P, d), and where
    each concept is looked for in each layer (one landscape)."""

    A: Tensor
    y0: Tensor
    pairs: Mapping[str, ConceptPairs]
    places: Sequence[Place]

    def layers(self) -> list[str]:
        return list(dict.fromkeys(layer for _, layer, _ in self.places))

    def of(self, layer: str) -> list[Place]:
        return [place for place in self.places if place[1] == layer]

    def activations(self, energy: Energy, place: Place) -> NDArray:
        """(G, 2, width)"""
        return self.everywhere(energy, (place,))[place]

    def everywhere(self, energy: Energy, places: Sequence[Place]) -> dict[Place, NDArray]:
        """(G, 2, width) at each of the places, all layers of a concept and landscape in one pass."""
        layers: dict[tuple[str, int], list[str]] = {}
        for concept, layer, k in places:
            layers.setdefault((concept, k), []).append(layer)
        return {
            (concept, layer, k): h
            for (concept, k), names in layers.items()
            for layer, h in pair_activations(
                energy, self.A, self.y0, pairs=self.pairs[concept], k=k, layers=names
            ).items()
        }

    def inputs(self, energy: Energy, place: Place) -> Tensor:
        """Features of A and y (2·G, F) of the pairs' states."""
        concept, _, k = place
        pairs = self.pairs[concept]
        problem = torch.as_tensor(pairs.problem.ravel(), device=self.A.device)
        y = energy.coordinates.to_basis(pairs.states(energy, self.y0, k).flatten(0, 1))
        return linear_surrogate.surrogate_features(self.A[problem], "A, y", y)

    def beyond_affine(self, energy: Energy, place: Place, h: NDArray, background: Background | None) -> NDArray:
        """What an affine map of A and y leaves of the pairs' activations h (G, 2, width): fitted to the background,
        whose answers are noised as the pairs' are, or where there is none cross-fitted on pairs."""
        concept, layer, k = place
        rows, others = torch.from_numpy(h.reshape(-1, h.shape[2])), None
        if background is not None:
            y = background.noised(energy, k)
            X = linear_surrogate.surrogate_features(background.A, "A, y", energy.coordinates.to_basis(y))
            others = X, energy.activations(background.A, y, k)[layer]
        X, fold = self.inputs(energy, place).cpu(), self.pairs[concept].fold.repeat(2)
        return linear_surrogate.Explained.of(X, rows, fold, others).left.numpy().reshape(h.shape)


def told(pairs: ConceptPairs, h: NDArray, labels: NDArray | None = None) -> NDArray:
    """How well held-out CAVs (`cav.PRIMARY`) tell the sides of pairs with activations h (G, 2,
    width) apart: (G,) values whose mean is AUROC − ½. labels (G,): where True, the sides are
    swapped."""
    z = pairs.confounders
    if labels is not None:
        h, z = (np.where(labels[:, None, None], v[:, ::-1], v) for v in (h, z))
    cavs = cav.held_out(cav.PRIMARY, h, z, pairs.fold)
    return cav.auroc_values(cavs, h, pairs.fold) - 0.5


def told_by(pairs: ConceptPairs, h: NDArray, directions: Tensor) -> NDArray:
    """The same of fixed directions (D, width), whichever way round each tells better: mean over
    them."""
    count = len(np.unique(pairs.fold))
    by_direction = []
    for v in array(directions):
        values = cav.auroc_values(np.repeat(v[None], count, 0), h, pairs.fold) - 0.5
        by_direction.append(values if values.mean() >= 0 else -values)
    return np.mean(by_direction, axis=0)


def random_side_labels(pairs: ConceptPairs, generator: torch.Generator) -> NDArray:
    """Labels of the sides drawn at random for each unit of pairs: (G,) bool."""
    units = int(pairs.unit.max()) + 1
    return array(torch.randint(2, (units,), generator=generator, device=generator.device))[pairs.unit] > 0


def values_by_problem(shown: ShownConcepts, places: Sequence[Place], values: Sequence[NDArray]) -> NDArray:
    """Values of the pairs of several concepts, averaged over those whose first problem is the same."""
    groups = [shown.pairs[concept].problem[:, 0] for concept, *_ in places]
    return unit_means(np.concatenate(values), np.concatenate(groups))


def concept_values(shown: ShownConcepts, layer: str, by_place: Mapping[Place, NDArray]) -> NDArray:
    """AUROC − ½ of a layer's concepts, by problem, from the activations at their places."""
    places = shown.of(layer)
    return values_by_problem(shown, places, [told(shown.pairs[p[0]], by_place[p]) for p in places])


def concept_cells(
    networks: Networks,
    shown: ShownConcepts,
    layer: str,
    generator: torch.Generator,
    background: Background | None = None,
) -> list[SurvivalCell]:
    """Concepts can be read in a layer: held-out AUROC − ½ of CAVs, fitted anew under each check.

    Pairs: sides swapped at random. Random: directions, isotropic ones and ones of the activations'
    covariance, each the way round in which it tells better. Orthogonal: those of the covariance with
    the CAV's direction taken out. What is left: CAVs of what an affine map of A and y (fitted to the
    background, or where there is none cross-fitted) leaves of the activations.
    """
    name, places, energy = f"concepts in {layer}", shown.of(layer), networks.trained
    kinds = ("whole", "pairs", "noise", "random", "orthogonal", LINEAR)
    by_check: dict[str, list[NDArray]] = {kind: [] for kind in kinds}
    for place in places:
        pairs, h = shown.pairs[place[0]], shown.activations(energy, place)
        rows = torch.from_numpy(h.reshape(-1, h.shape[2]))
        drawn = randomisation.directions_like(rows, DRAWS, generator)
        vector = torch.from_numpy(cav.fit(cav.PRIMARY, h, pairs.confounders))
        noise = [randomisation.gaussian_like(rows, generator).numpy().reshape(h.shape) for _ in range(DRAWS)]
        for check, values in (
            ("whole", told(pairs, h)),
            ("pairs", np.mean([told(pairs, h, random_side_labels(pairs, generator)) for _ in range(DRAWS)], 0)),
            ("noise", np.mean([told(pairs, gaussian) for gaussian in noise], 0)),
            ("random", told_by(pairs, h, torch.cat(list(drawn.values())))),
            ("orthogonal", told_by(pairs, h, random_directions.without(drawn["covariance"], vector[None]))),
            (LINEAR, told(pairs, shown.beyond_affine(energy, place, h, background))),
        ):
            by_check[check].append(values)
    grouped = {check: values_by_problem(shown, places, values) for check, values in by_check.items()}
    whole = grouped.pop("whole")
    return [
        *networks.cells(name, lambda e: concept_values(shown, layer, shown.everywhere(e, places))),
        *(SurvivalCell(name, check, whole, left) for check, left in grouped.items()),
    ]


# A direction that acts


@dataclass(frozen=True)
class PushCheck:
    """Where and on whom a direction acts: problems A (P, n, n), starts (P, d), one dose in a layer and
    landscape; answer(energy, A, start)."""

    answer: Answer
    A: Tensor
    start: Tensor
    shown: ShownConcepts
    place: Place

    def spread(self, h: NDArray, v: NDArray) -> float:
        """The deviation of activations h (G, 2, width) along v: one dose."""
        return float((h.reshape(-1, h.shape[2]) @ v).std())

    def peak(self, energy: Energy, move: Tensor | None = None) -> NDArray:
        """The largest eigenvalue (P,) of sampled answers, with `move` (width,) added to the layer."""
        _, layer, k = self.place
        if move is not None:
            shift = move.to(self.A)
            energy = Spliced(energy, layer, lambda h: h + shift, k)
        Y = energy.coordinates.decode(self.answer(energy, self.A, self.start))
        return array(torch.linalg.eigvalsh((Y + Y.mT) / 2)[:, -1])

    def raised(self, energy: Energy, move: NDArray, base: NDArray | None = None) -> NDArray:
        """By how much `move` raises the largest eigenvalue: (P,), in deviations over problems of the
        true answers'. base: what `peak` is without it, where that is known."""
        base = self.peak(energy) if base is None else base
        unit = float((1 / torch.linalg.eigvalsh(self.A)[:, 0]).std())
        return (self.peak(energy, torch.from_numpy(move)) - base) / unit


def push_cells(
    networks: Networks, push: PushCheck, generator: torch.Generator, background: Background | None = None
) -> list[SurvivalCell]:
    """One dose along the CAV of a concept raises the answers' largest eigenvalue.

    The CAV is fitted anew under each check: in other networks, to pairs with sides swapped at random,
    to Gaussian activations, to what an affine map of A and y leaves of the activations. Random
    directions, isotropic and of the covariance, and orthogonal ones get the same dose, and the size of
    what they do counts, whichever way it goes.
    """
    name, energy = f"{push.place[0].replace('_', ' ')} raises answers", networks.trained
    pairs = push.shown.pairs[push.place[0]]
    h = push.shown.activations(energy, push.place)
    rows = torch.from_numpy(h.reshape(-1, h.shape[2]))

    def fitted(activations: NDArray, swap: NDArray | None = None) -> NDArray:
        z, sides = pairs.confounders, activations
        if swap is not None:
            sides, z = (np.where(swap[:, None, None], v[:, ::-1], v) for v in (sides, z))
        return cav.fit(cav.PRIMARY, sides, z)

    def measure(e: Energy) -> NDArray:
        own_h = push.shown.activations(e, push.place)
        own_v = fitted(own_h)
        return push.raised(e, push.spread(own_h, own_v) * own_v)

    raised, v, base = measure(energy), fitted(h), push.peak(energy)
    dose, drawn = push.spread(h, v), randomisation.directions_like(rows, DRAWS, generator)
    gaussian = randomisation.gaussian_like(rows, generator).numpy().reshape(h.shape)
    tried = {
        "pairs": [fitted(h, random_side_labels(pairs, generator)) for _ in range(DRAWS)],
        "noise": [fitted(gaussian)],
        "random": [*array(torch.cat(list(drawn.values())))],
        "orthogonal": [*array(random_directions.without(drawn["covariance"], torch.from_numpy(v)[None]))],
    }
    left = {
        check: np.mean([abs(push.raised(energy, dose * move, base)) for move in several], axis=0)
        for check, several in tried.items()
    }
    rest = push.shown.beyond_affine(energy, push.place, h, background)
    left[LINEAR] = push.raised(energy, dose * fitted(rest), base)
    return [
        *networks.cells(name, measure),
        *(SurvivalCell(name, check, raised, change) for check, change in left.items()),
    ]


# Dictionaries


@dataclass(frozen=True)
class StatesAround:
    """States (L, P, M, d) around answers of problems A (P, n, n), at patching.DISTANCES, in
    landscapes."""

    A: Tensor
    y: Tensor
    landscapes: tuple[int, ...]

    @classmethod
    def of(
        cls,
        energy: Energy,
        A: Tensor,
        y0: Tensor,
        landscapes: Sequence[int],
        generator: torch.Generator,
    ) -> StatesAround:
        near = [
            torch.cat(
                [
                    states.around(energy, y0, k=k, distance=far, count=2 if far else 1, generator=generator)
                    for far in DISTANCES
                ],
                1,
            )
            for k in landscapes
        ]
        return cls(A, torch.stack(near), tuple(landscapes))


@torch.no_grad()
def activations_around(energy: Energy, at: StatesAround, layer: str) -> Tensor:
    """(L, P, M, width)"""
    prepared = energy.prepare(at.A)
    return torch.stack([energy.activations(prepared, y, k)[layer] for y, k in zip(at.y, at.landscapes, strict=True)])


@torch.no_grad()
def gaps_kept(energy: Energy, at: StatesAround, layer: str, h: Tensor, put: Tensor) -> NDArray:
    """How much of the energy gaps between the M states of a problem is left when `put` takes the place
    of activations h, both (L, P, M, width): (P,), 1 for all, 0 for none, as shares of the mean squared
    gap.

    Worse than losing everything counts as losing everything twice (−1): where a dictionary is put into
    a foreign network errors have no bound, and one problem would decide.
    """
    prepared, error, floor = energy.prepare(at.A), 0.0, 0.0
    for original, replaced, k in zip(h, put, at.landscapes, strict=True):
        gaps, gaps_left = (centred(energy.resume(layer, values, prepared, k)) for values in (original, replaced))
        error, floor = error + (gaps_left - gaps).pow(2).sum(1), floor + gaps.pow(2).sum(1)
    return array(((floor - error) / floor.mean()).clamp_min(-1))


def explained_variance(dictionary: Dictionary, h: Tensor) -> Tensor:
    """Share (P,) of the variance of activations (L, P, M, width) around each landscape's mean that is
    explained, of the mean problem's; −1 at least."""
    missed = (h - dictionary(h)).pow(2).sum((0, 2, 3))
    spread = (h - h.mean((1, 2), keepdim=True)).pow(2).sum((0, 2, 3)).mean()
    return (1 - missed / spread).clamp_min(-1)


def dictionary_cells(
    networks: Networks,
    layer: str,
    dictionary: Dictionary,
    at: StatesAround,
    generator: torch.Generator,
    background: Background | None = None,
) -> list[SurvivalCell]:
    """A dictionary in a layer's place keeps the energy gaps.

    Weights: the same dictionary in a network with fresh weights. Pairs: the reconstruction of the next
    problem's activations at its own state of the same number. Random: the largest entries along a
    random orthonormal basis, as many as are active; orthogonal: the dictionary turned at random. Noise:
    gaps between Gaussian activations of equal covariance. What is left: how much more is kept than by
    an affine map from A and y to the activations (fitted to the background, or where there is none
    cross-fitted). Labels: none, since a dictionary belongs to one network.
    """
    name, energy = f"dictionary of {layer} keeps gaps", networks.trained
    h = activations_around(energy, at, layer)

    def kept(e: Energy, original: Tensor, put: Tensor) -> NDArray:
        return gaps_kept(e, at, layer, h=original, put=put)

    def foreign(e: Energy) -> NDArray:
        theirs = activations_around(e, at, layer)
        return kept(e, theirs, dictionary(theirs))

    kept_by_it, back = kept(energy, h, dictionary(h)), dictionary(h)
    active = max(1, round(float((dictionary.encode(h) != 0).sum(-1).double().mean())))
    turns = [random_directions.rotations(1, h.shape[-1], generator)[0].to(h) for _ in range(DRAWS)]
    centre = dictionary.mean
    blind = [given_dictionary("largest", directions=Q, mean=centre, scale=dictionary.scale, k=active) for Q in turns]
    noise = torch.stack([randomisation.gaussian_like(values.flatten(0, 1), generator).view_as(values) for values in h])
    basis, fold = energy.coordinates.to_basis, linear_surrogate.alternating_folds(len(at.A)).repeat(h.shape[2])
    problems = at.A.repeat_interleave(h.shape[2], 0)
    rows: list[linear_surrogate.Rows | None] = [None] * len(h)
    if background is not None:
        A = background.A
        beside = activations_around(energy, StatesAround(A, background.near[:, :, None], at.landscapes), layer)
        rows = [
            (linear_surrogate.surrogate_features(A, "A, y", basis(y)), there[:, 0])
            for y, there in zip(background.near, beside, strict=True)
        ]
    affine = torch.stack(
        [
            linear_surrogate.cross_fitted(
                linear_surrogate.surrogate_features(problems, "A, y", basis(y).flatten(0, 1)),
                values.flatten(0, 1),
                fold,
                there,
            ).view_as(values)
            for y, values, there in zip(at.y, h, rows, strict=True)
        ]
    )
    left = {
        "weights": np.mean([foreign(e) for e in networks.random], axis=0),
        "pairs": np.mean([kept(energy, h, back.roll(s, 1)) for s in range(1, DRAWS + 1)], axis=0),
        "random": np.mean([kept(energy, h, sparse(h)) for sparse in blind], axis=0),
        "orthogonal": np.mean(
            [kept(energy, h, centre + (dictionary(centre + (h - centre) @ Q) - centre) @ Q.mT) for Q in turns], axis=0
        ),
        "noise": kept(energy, noise, dictionary(noise)),
        LINEAR: kept_by_it - kept(energy, h, affine).clip(0),  # a constant keeps 0: no map need keep less
    }
    return [SurvivalCell(name, check, kept_by_it, values) for check, values in left.items()]
