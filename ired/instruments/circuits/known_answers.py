"""Known answers of outputs, attribution graphs, chains: planted outputs, a planted path, a whole chain."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ired.instruments.circuits import energy_outputs, feature_graph, feature_paths, output_entries
from ired.instruments.circuits.energy_outputs import Frames
from ired.instruments.core import states
from ired.instruments.core.check import Check, compare
from ired.instruments.core.reference_energies import References
from ired.instruments.dictionaries.features import Places, attribute_features
from ired.instruments.dictionaries.sparse_autoencoder import Dictionary, given_dictionary
from ired.model.protocol import Energy


class Squares:
    """E = ‖m + J (z − √ᾱ_k z₀) / √(2σ_k)‖² with z the basis coordinates of y: with J = I and m = 0 the
    ideal landscape. J (size, size), m (size,)."""

    def __init__(self, like: Energy, J: Tensor, m: Tensor):
        self.coordinates, self.schedule, self.J, self.m = like.coordinates, like.schedule, J, m

    def prepare(self, A: Any) -> Any:
        return A if isinstance(A, tuple) else (states.answers(self, A),)

    def activations(self, A: Any, y: Tensor, k: int) -> dict[str, Tensor]:
        (y0,) = self.prepare(A)
        home = states.centre(self, y0 if y.dim() == 2 else y0[:, None], k)
        displacement = self.coordinates.to_basis(y - home) / (2 * states.sigma(self, k)) ** 0.5
        return {"fc4": self.m + displacement @ self.J.mT}

    def energy(self, A: Any, y: Tensor, k: int) -> Tensor:
        return self.activations(A, y, k)["fc4"].pow(2).sum(-1)

    def gradient(self, A: Any, y: Tensor, k: int) -> Tensor:
        f = self.activations(A, y, k)["fc4"]
        return self.coordinates.from_basis(2 * f @ self.J) / (2 * states.sigma(self, k)) ** 0.5


class Line:
    """Three layers, h₁ = z − √ᾱ_k z₀, h₂ = W₂h₁, h₃ = W₃h₂, and E = ⟨w, h₃⟩: all is linear."""

    def __init__(self, like: Energy, second: Tensor, third: Tensor, w: Tensor):
        self.coordinates, self.schedule = like.coordinates, like.schedule
        self.weights, self.w = (second, third), w

    @property
    def layers(self) -> list[feature_graph.Layer]:
        return [lambda h, k, W=W: h @ W.mT for W in self.weights]

    def prepare(self, A: Any) -> Any:
        return A

    def activations(self, A: Tensor, y: Tensor, k: Tensor) -> dict[str, Tensor]:
        home = self.schedule.at("sqrt_alpha_bar", k, y) * states.answers(self, A)
        first = self.coordinates.to_basis(y - home)
        second, third = self.weights
        return {"fc1": first, "fc2": first @ second.mT, "fc3": first @ second.mT @ third.mT}

    def resume(self, layer: str, h: Tensor, A: Any, k: Any) -> Tensor:
        for W in self.weights[int(layer[-1]) - 1 :]:
            h = h @ W.mT
        return h @ self.w

    def gradient(self, A: Any, y: Tensor, k: Any) -> Tensor:
        second, third = self.weights
        return self.coordinates.from_basis(self.w @ third @ second).expand_as(y)


def identity(size: int, kind: str = "all") -> Dictionary:
    """A feature for each coordinate."""
    return given_dictionary(kind, torch.eye(size), torch.zeros(size), torch.ones(()), size)


def some_tokens(energy: Energy, A: Tensor, each: int, generator: torch.Generator) -> Places:
    """Noised answers in random landscapes, `each` of every problem A (P, n, n)."""
    problem = torch.arange(len(A)).repeat_interleave(each)
    k = torch.randint(energy.schedule.K, (len(problem),), generator=generator)
    noise = states.noise(energy, len(problem), generator=generator, like=A)
    root, sigma = (energy.schedule.at(name, k, noise) for name in ("sqrt_alpha_bar", "sigma"))
    home = root * states.answers(energy, A)[problem]
    return Places(A=A[problem], y=home + sigma * noise, reference=home, k=k, problem=problem)


def check_energy_terms(references: References, generator: torch.Generator) -> list[Check]:
    """Terms sum to the whole, a planted output carries it alone, entries are told from turned ones."""
    name, A = "energy_terms", references.A
    size, k = references.ideal.coordinates.size, 3
    eye, nothing = torch.eye(size).to(A), torch.zeros(size).to(A)
    single_output = torch.zeros(size, size).to(A)
    single_output[1, 1] = 2.0
    ideal, single = Squares(references.ideal, eye, nothing), Squares(references.ideal, single_output, nothing)
    y0 = states.answers(ideal, A)
    frames = Frames.of(ideal, A, 3, generator)
    split = energy_outputs.split_by_output(ideal, A, y0, k, frames, 3, generator)
    checks = [
        compare(
            name,
            f"sum of the terms of the {terms.measure}, {terms.basis} basis",
            terms.whole,
            terms.signed.reshape(-1, *terms.signed.shape[-2:]).sum(-1).mean(0),
            1e-9,
        )
        for terms in split.terms
    ]
    alone = energy_outputs.split_by_output(single, A, y0, k, frames, 3, generator)
    by = {(terms.measure, terms.basis): terms for terms in alone.terms}
    chosen = np.arange(size) == 1
    for measure in ("gap", "score"):
        entry = by[measure, "entry"]
        checks.append(
            Check(
                name,
                f"share of the {measure} of the only output",
                expected=1,
                measured=entry.share(chosen).estimate,
                tolerance=1e-9,
            )
        )
        share = energy_outputs.output_participation(entry, 20).share
        checks.append(
            Check(name, f"outputs that carry the {measure}", expected=1 / size, measured=share, tolerance=1e-12)
        )
    spread = [terms for terms in split.terms if (terms.measure, terms.basis) == ("gap", "entry")]
    checks.append(
        Check(
            name,
            "outputs that carry an ideal gap, not few",
            expected=1,
            measured=energy_outputs.output_participation(spread[0], 20).share > 0.4,
            tolerance=0,
        )
    )
    # Beside it the rest of a gap, ‖Jz‖², grows with the outputs.
    offset = Squares(references.ideal, eye, 1e4 * size * eye[0])
    flat = energy_outputs.split_by_output(offset, A, y0, k, frames, 40, generator)
    checks += [
        compare(name, "parts of the gap", flat.gap, flat.parts.sum(1), 1e-6 * np.abs(flat.gap).max()),
        Check(name, "constant part", expected=1, measured=flat.constant, tolerance=1e-9),
        Check(
            name,
            "gap along the constant, of a large one",
            expected=1,
            measured=float((flat.along * flat.gap).sum() / (flat.gap**2).sum()),
            tolerance=1e-2,
        ),
    ]
    carried = output_entries.carried(ideal, A, y0, k, frames, generator)
    fair = output_entries.fairness(ideal, A, y0, k, generator)
    return [
        *checks,
        compare(name, "gap carried by the own entry", 1, carried.diagonal["entry"], 1e-9),
        compare(name, "the same in the eigenbasis", 1, carried.diagonal["eigen"], 1e-9),
        Check(
            name, "the same of outputs turned at random", expected=1, measured=carried.turns.max() < 0.5, tolerance=0
        ),
        compare(name, "midpoint rule on linear outputs", 0, carried.error, 1e-9),
        compare(
            name, "outputs that follow a permutation", fair.outputs[:, 1], fair.outputs[:, 0], 1e-8 * fair.outputs.max()
        ),
        compare(name, "gaps that do not see a permutation", 0, fair.gap[:, 0], 1e-8 * fair.gap[:, 1].max()),
    ]


def check_composition(references: References, generator: torch.Generator) -> list[Check]:
    """A network with one planted path shows that path and no other; where all is linear,
    gradient × activation is what ablation finds."""
    name, A, size = "composition", references.A, references.ideal.coordinates.size
    path, w = (0, 2, 1), torch.zeros(size).to(A)
    weights = torch.zeros(2, size, size).to(A)
    weights[0, path[1], path[0]], weights[1, path[2], path[1]], w[path[2]] = 2.0, -0.5, 3.0
    energy = Line(references.ideal, *weights, w)
    tokens = some_tokens(energy, A, 12, generator)
    activations, dictionary = energy.activations(tokens.A, tokens.y, tokens.k), identity(size)
    graph, checks = [], []
    for n, layer in enumerate(energy.layers):
        edges = feature_graph.edges(layer, dictionary, dictionary, activations[f"fc{n + 1}"], tokens.k)
        graph.append(edges)
        i, j, weight = path[n], path[n + 1], float(weights[n, path[n + 1], path[n]])
        h = states.array(activations[f"fc{n + 1}"][:, i])
        beside = edges.size.copy()
        beside[i, j] = 0
        checks += [
            Check(
                name,
                f"planted edge {n + 1}",
                expected=np.abs(weight * h).mean(),
                measured=edges.size[i, j],
                tolerance=1e-9,
            ),
            Check(name, f"its sign {n + 1}", expected=weight * h.mean(), measured=edges.signed[i, j], tolerance=1e-9),
            compare(name, f"edges beside it {n + 1}", 0, beside, 1e-12),
            compare(name, f"edges ablated {n + 1}", edges.signed, edges.cut_signed, 1e-9),
            compare(name, f"left over {n + 1}", 0, edges.rest, 1e-9),
            Check(
                name,
                f"parents of its end {n + 1}",
                expected=1 / len(edges.sources),
                measured=float(edges.parents()[list(edges.targets).index(j)]),
                tolerance=1e-12,
            ),
        ]
    gap = attribute_features(energy, "fc3", dictionary, tokens)
    chains = feature_paths.candidate_chains(graph, gap, 2, 2)
    table = feature_paths.chain_effects(energy, energy.layers, [dictionary] * 3, tokens, chains)
    sigma = states.array(energy.schedule.at("sigma", tokens.k, tokens.y)[:, 0])
    expected = np.abs(-3.0 * states.array(activations["fc1"][:, path[0]]) / sigma).mean()
    reach = feature_graph.score_reach(energy, "fc3", dictionary, tokens)
    return [
        *checks,
        Check(name, "chains found", expected=1, measured=len(chains), tolerance=0),
        Check(name, "the planted chain", expected=1, measured=chains[0] == path, tolerance=0),
        compare(name, "its effect on the gap", expected, table["size"], 1e-9),
        compare(name, "the same ablated", expected, table["cut"], 1e-9),
        compare(name, "its mean effect ablated", table["signed"], table["cut_signed"], 1e-9),
        Check(name, "score through its last feature", expected=1, measured=float(reach.share[path[2]]), tolerance=1e-9),
        Check(name, "score past the features", expected=0, measured=reach.rest, tolerance=1e-9),
        *_random_layer(generator),
    ]


def _random_layer(generator: torch.Generator) -> list[Check]:
    """A dense linear layer: ablation is exact, its graph is as dense as Gaussian weights are (80 % of
    their size is in 50.4 % of them), and shuffling does not make it denser or sparser."""
    name, size = "composition", 60
    W = torch.randn(size, size, generator=generator, dtype=torch.float64)
    h = torch.ones(40, size, dtype=torch.float64)
    k, dictionary = torch.zeros(40, dtype=torch.long), identity(size)
    graph = feature_graph.edges(lambda h, k: h @ W.mT, dictionary, dictionary, h, k)
    permuted = feature_graph.shuffled_directions(dictionary, generator)["weights"]
    turned = feature_graph.edges(lambda h, k: h @ W.mT, dictionary, dictionary, h, k, permuted, cut=False)
    agree = feature_graph.verified(graph)
    chance = feature_graph.sparser(graph, turned, np.arange(40), True)
    return [
        Check(
            name,
            "share of Gaussian edges for 80 % of their size",
            expected=0.504,
            measured=graph.share(),
            tolerance=0.02,
        ),
        Check(name, "rank correlation with ablation, linear", expected=1, measured=agree.size.low, tolerance=1e-9),
        Check(
            name, "slope of ablation over prediction, linear", expected=1, measured=agree.slope.estimate, tolerance=1e-9
        ),
        Check(
            name,
            "sparser than shuffled weights, where there is no structure",
            expected=0,
            measured=chance.edges.estimate,
            tolerance=1e-9,
        ),
    ]
