"""What single features of a dictionary do, when they fire, and whether a simple rule says when.

Effects are on *gaps*: E(y) − E(√ᾱ_k y₀) of one problem in one landscape, in units of σ_k. The energy
itself carries an offset c(A, k) larger than any gap, and what a feature adds to that says nothing. The
dictionary is put into the network with its error kept, h = decode(f) + (h − decode(encode(h))), so
that the energy stays the model's own and ∂E/∂f_i = ∂E/∂h · direction_i.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ired.instruments.core.random_directions import covariance_matched
from ired.instruments.core.states import array
from ired.instruments.dictionaries.dictionary import Dictionary, DictionaryError
from ired.instruments.dictionaries.rule_descriptions import (
    Described,
    Rule,
    describe_all,
    described,
    group_means,
    shuffled_auroc,
    unruly,
)
from ired.instruments.statistics.auroc import auroc
from ired.instruments.statistics.intervals import (
    Interval,
    adjust,
    mean_interval,
    rank_correlation,
    rank_p_values,
    ratio_interval,
    spearman_interval,
)
from ired.model.protocol import Energy

# What a feature does


@dataclass(frozen=True)
class Places:
    """T tokens with what their energy is compared to.

    A (T, n, n); y, reference (T, d): states and the answer's places √ᾱ_k y₀; k, problem (T,) long.
    """

    A: Tensor
    y: Tensor
    reference: Tensor
    k: Tensor
    problem: Tensor

    def split(self, size: int) -> list[Places]:
        parts = [value.split(size) for value in vars(self).values()]
        return [Places(*part) for part in zip(*parts, strict=True)]


def places(
    energy: Energy, A: Tensor, y0: Tensor, columns: Mapping[str, Tensor], chosen: Tensor
) -> Places:
    """The tokens `chosen` of stored columns; A (P, n, n) and y0 (P, d) by number of problem."""
    problem, k, y = (columns[name][chosen].to(A.device) for name in ("problem", "landscape", "y"))
    problem, k, y = problem.long(), k.long(), y.to(A)
    reference = energy.schedule.at("sqrt_alpha_bar", k, y) * y0[problem]
    return Places(A[problem], y, reference, k, problem)


@dataclass(frozen=True)
class Effects:
    """What each of F features does to the gap, averaged over tokens, in units of σ_k.

    size: mean |effect|; signed: mean effect, above 0 where the feature raises the gap; halves
    (2, F): size on the tokens of even and of odd problems (None for ablations); rate: share of tokens
    that it fires on; together: mean |sum of all effects|; error: the same of what the dictionary leaves
    over, by gradient; error_share
    (2,): Σ‖h − decode‖²/Σ‖h − mean‖² at the states and at the answers' places.
    """

    size: NDArray
    signed: NDArray
    halves: NDArray | None = None
    rate: NDArray | None = None
    together: float = float("nan")
    error: float = float("nan")
    error_share: tuple[float, float] = (float("nan"), float("nan"))

    @property
    def reliability(self) -> float:
        """Rank correlation of the sizes on two halves of the problems, over features that fire."""
        return float(rank_correlation(*self.halves[:, self.rate > 0]))


def attribute(
    energy: Energy, layer: str, dictionary: Dictionary, at: Places, chunk: int = 1024
) -> Effects:
    """Gradient × activation of every feature: f_i ∂E/∂f_i at y minus the same at the reference."""
    dictionary, F = dictionary.to(at.y), dictionary.features
    total = torch.zeros(3, F).to(at.y)  # size of even problems, of odd ones; signed
    fired = torch.zeros(F).to(at.y)
    left, spread, together, error = np.zeros(2), np.zeros(2), 0.0, 0.0
    for part in at.split(chunk):
        sigma = energy.schedule.at("sigma", part.k, part.y)
        effects, errors = [], []
        for place, state in enumerate((part.y, part.reference)):
            h = energy.activations(part.A, state, part.k)[layer].detach().requires_grad_()
            with torch.enable_grad():
                E = energy.resume(layer, h, part.A, part.k).sum()
            (slope,) = torch.autograd.grad(E, h)
            h = h.detach()
            f = dictionary.encode(h)
            rest = h - dictionary.decode(f)
            left[place] += rest.pow(2).sum().item()
            spread[place] += (h - dictionary.mean).pow(2).sum().item()
            effects.append(f * (slope @ dictionary.directions.mT))
            errors.append((rest * slope).sum(1))
            fired += (f != 0).sum(0) if place == 0 else 0
        effect = (effects[0] - effects[1]) / sigma
        odd = (part.problem % 2 == 1)[:, None]
        total += torch.stack(
            [(effect.abs() * ~odd).sum(0), (effect.abs() * odd).sum(0), effect.sum(0)]
        )
        together += effect.sum(1).abs().sum().item()
        error += ((errors[0] - errors[1]) / sigma[:, 0]).abs().sum().item()
    count, odd = len(at.y), int((at.problem % 2).sum())
    even, odds, signed = array(total)
    return Effects(
        (even + odds) / count, signed / count,
        np.stack([even / max(1, count - odd), odds / max(1, odd)]), array(fired) / count,
        together / count, error / count, tuple((left / spread.clip(np.finfo(float).tiny)).tolist()),
    )  # fmt: skip


@torch.no_grad()
def ablate(
    energy: Energy, layer: str, dictionary: Dictionary, at: Places, chosen: Tensor,
    chunk: int = 8192,
) -> Effects:
    """The exact effect of features `chosen` (m,): the gap minus the gap with f_i = 0 at both places.

    Only where a feature fires is there anything to evaluate: `chunk` such (token, feature) pairs
    at a time.
    """  # fmt: skip
    dictionary, chosen = dictionary.to(at.y), chosen.to(at.y.device)
    directions = dictionary.directions[chosen]
    size = signed = 0
    for part in at.split(1024):
        change = torch.zeros(len(part.y), len(chosen)).to(part.y)
        for sign, state in ((1, part.y), (-1, part.reference)):
            h = energy.activations(part.A, state, part.k)[layer]
            E, f = energy.resume(layer, h, part.A, part.k), dictionary.encode(h)[:, chosen]
            for t, i in zip(*(v.split(chunk) for v in f.nonzero(as_tuple=True)), strict=True):
                without = h[t] - f[t, i, None] * directions[i]
                gone = energy.resume(layer, without, part.A[t], part.k[t])
                change[t, i] += sign * (E[t] - gone)
        change /= energy.schedule.at("sigma", part.k, part.y)
        size, signed = size + change.abs().sum(0), signed + change.sum(0)
    return Effects(array(size) / len(at.y), array(signed) / len(at.y))


@dataclass(frozen=True)
class Agreement:
    """Do attributions say what ablations find? Intervals over the features compared.

    size, signed: rank correlations of mean |effect| and of mean effect; slope: of ablation over
    attribution, signed, through 0: 1 where the energy is linear in a feature, ½ where quadratic.
    """

    size: Interval
    signed: Interval
    slope: Interval


def agreement(attribution: Effects, ablation: Effects, chosen: NDArray) -> Agreement:
    """`ablation` of the features `chosen`, which are rows of `attribution`."""
    size, x, y = attribution.size[chosen], attribution.signed[chosen], ablation.signed
    return Agreement(
        spearman_interval(size, ablation.size), spearman_interval(x, y), ratio_interval(x * y, x * x)
    )


def shortlist(
    found: Effects, top: int, others: int, generator: torch.Generator
) -> tuple[NDArray, NDArray]:
    """The `top` features by attribution, strongest first, and these followed by up to `others` of the
    rest, drawn at random, in no order; features whose effect is exactly 0 (dead ones) are left out,
    since they would agree with anything."""
    ranked = np.argsort(-found.size, kind="stable")
    ranked = ranked[found.size[ranked] > 0]
    if len(ranked) < 3:
        raise DictionaryError(
            f"{len(ranked)} of {len(found.size)} features change the energy: there is nothing to rank"
        )
    rng = np.random.default_rng(int(torch.randint(2**31, (), generator=generator)))
    return ranked[:top], np.r_[ranked[:top], rng.permutation(ranked[top:])[:others]]


# When it fires


@dataclass(frozen=True)
class Firing:
    """When m features fire, on N tokens.

    rate (m,); by_landscape (m, K), by_distance (m, bins), by_kind (m, kinds): rates there; edges
    (bins + 1,): quantiles of the distance, in noise radii; strength (m,): mean activation where it
    fires; rho, p (m, Q): Spearman's correlation of the mean activation of a problem with Q properties
    of its matrix, and its p-value, Benjamini-Hochberg adjusted over all of them; properties: names.
    """

    rate: NDArray
    by_landscape: NDArray
    by_distance: NDArray
    by_kind: NDArray
    edges: NDArray
    strength: NDArray
    rho: NDArray
    p: NDArray
    properties: tuple[str, ...]


def firing(
    f: NDArray, columns: Mapping[str, NDArray], properties: Mapping[str, NDArray], bins: int = 5
) -> Firing:
    """f (N, m) on tokens with columns problem, landscape, kind, distance (N,); properties (P,) each."""
    fires = f != 0
    edges = np.quantile(columns["distance"], np.linspace(0, 1, bins + 1))
    near = np.searchsorted(edges[1:-1], columns["distance"], side="right")
    count, problems = fires.sum(0), np.unique(columns["problem"])
    means = group_means(f, columns["problem"])[problems]
    of_matrix = np.stack([np.asarray(values)[problems] for values in properties.values()])
    rho = rank_correlation(means.T[:, None], of_matrix[None])
    return Firing(
        fires.mean(0), group_means(fires, columns["landscape"]).T, group_means(fires, near, bins).T,
        group_means(fires, columns["kind"], 2).T, edges,
        np.where(fires, f, 0).sum(0) / np.maximum(count, 1),
        rho, adjust(rank_p_values(rho, len(problems) - 2)), tuple(properties),
    )  # fmt: skip


def strongest(f: NDArray, problem: NDArray, count: int) -> NDArray:
    """Tokens (m, count) on which m features f (N, m) are largest, one of each problem; −1 where
    fewer problems make a feature fire."""
    found = np.full((f.shape[1], count), -1)
    for i, values in enumerate(np.abs(f.T)):
        order = np.argsort(-values, kind="stable")
        order = order[: int((values > 0).sum())]
        _, first = np.unique(problem[order], return_index=True)
        best = order[np.sort(first)[:count]]
        found[i, : len(best)] = best
    return found


# What it looks like in the space of matrices


@dataclass(frozen=True)
class Pictures:
    """Pictures (m, n, n) of features, means over tokens on which they fire.

    state, problem: ∂u_i/∂y and ∂u_i/∂A, by what the feature's pre-activation u_i grows; score:
    ∂(∇_y E)/∂f_i, what the direction of its decoder does to the score. *_agreement (m,): how much
    one picture says about all tokens, the inner product of the pictures of two different tokens as
    a share of the mean square: 1 if all are alike, about 0 if they have nothing in common (unbiased,
    so it can fall below 0), NaN below two tokens. tokens (m,): how many were looked at.
    """

    state: NDArray
    problem: NDArray
    score: NDArray
    state_agreement: NDArray
    problem_agreement: NDArray
    score_agreement: NDArray
    tokens: NDArray


def pictures(
    energy: Energy, layer: str, encoder: Tensor, directions: Tensor, A: Tensor,
    columns: Mapping[str, Tensor], fires: Tensor, most: int, generator: torch.Generator,
    chunk: int = 2048,
) -> Pictures:
    """Of directions read by `encoder` (m, width) and written along `directions` (m, width), on at most
    `most` tokens of each, drawn from those with fires (N, m); A (P, n, n) by number of problem.
    """  # fmt: skip
    lots = torch.rand(fires.shape, generator=generator).masked_fill(~fires, 2)
    token = lots.topk(min(most, len(lots)), dim=0, largest=False).indices
    token, which = token.flatten(), torch.arange(fires.shape[1]).expand_as(token).flatten()
    kept = fires[token, which]
    token, which = token[kept], which[kept]
    n, m = A.shape[-1], fires.shape[1]
    total = torch.zeros(3, m, n * n).to(A)
    square, count = torch.zeros(3, m).to(A), torch.zeros(m).to(A)
    for t, i in zip(token.split(chunk), which.split(chunk), strict=True):
        k = columns["landscape"][t].long().to(A.device)
        a = A[columns["problem"][t].long().to(A.device)].requires_grad_()
        y = columns["y"][t].to(A).requires_grad_()
        i = i.to(A.device)
        with torch.enable_grad():
            h = energy.activations(a, y, k)[layer]
            u = (h * encoder[i].to(h)).sum()
            E = energy.resume(layer, h, a, k).sum()
            (slope,) = torch.autograd.grad(E, h, create_graph=True)
            along = (slope * directions[i].to(h)).sum()
        for place, J in enumerate((*_slopes(u, (y, a)), *_slopes(along, (y,)))):
            J = J.reshape(len(t), n * n)
            total[place].index_add_(0, i, J)
            square[place].index_add_(0, i, J.pow(2).sum(1))
        count.index_add_(0, i, torch.ones(len(t)).to(A))
    both = (total.pow(2).sum(-1) - square) / (square * (count - 1))
    both[:, count < 2] = float("nan")
    mean = array(total / count.clamp_min(1)[:, None]).reshape(3, m, n, n)
    return Pictures(*mean, *array(both), array(count).astype(int))


def _slopes(value: Tensor, of: Sequence[Tensor]) -> list[Tensor]:
    """Derivatives; 0 where a value does not depend on one of them, as in linear energies."""
    if not value.requires_grad:
        return [torch.zeros_like(v) for v in of]
    found = torch.autograd.grad(value, of, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(v) if g is None else g for v, g in zip(of, found, strict=True)]


# Pictures as descriptions, and chance


def picture_aurocs(
    seen: Pictures, A: Tensor, columns: Mapping[str, Tensor], fires: NDArray, tokens: Described
) -> NDArray:
    """Held-out AUROCs (m,) of what pictures made of the fitting half say, ⟨state, y⟩ + ⟨problem, A⟩:
    a description with n·n numbers each, where a rule has three. NaN where nothing can be tested."""
    test, m = tokens.testing, fires.shape[1]
    y, a = array(columns["y"])[test], array(A.flatten(1))[tokens.problem[test]]
    score = y @ seen.state.reshape(m, -1).T + a @ seen.problem.reshape(m, -1).T
    return np.array([
        float("nan") if unruly(one, tokens) else auroc(along, one[test])
        for one, along in zip(fires.T, score.T, strict=True)
    ])  # fmt: skip


def null_firing(
    x: Tensor, covariance: Tensor, rates: Sequence[float], generator: torch.Generator
) -> tuple[NDArray, Tensor]:
    """Firing (N, m) of random directions of the data's covariance on activations x (N, width), each
    as often as its feature, and the directions (m, width). One direction for each of `rates`."""
    directions = covariance_matched(covariance.cpu(), len(rates), generator, x.dtype)
    along = x @ directions.to(x.device).mT
    fires = torch.zeros(along.shape, dtype=torch.bool)
    for i, rate in enumerate(rates):
        count = round(rate * len(x))
        fires[along[:, i].topk(count).indices.cpu(), i] = True
    return fires.numpy(), directions


# All of it, for the features that matter most


@dataclass(frozen=True)
class Sizes:
    """How many: features interpreted, other features ablated, tokens that effects are averaged
    over, tokens behind a picture, examples of each feature, features whose labels are shuffled."""

    top: int = 50
    others: int = 50
    tokens: int = 1000
    pictures: int = 200
    examples: int = 5
    shuffled: int = 10


@dataclass(frozen=True)
class Interpretation:
    """The m features of a layer with the largest attribution, strongest first.

    features (m,) and checked (m + others,): their numbers in the dictionary; attribution: of all F;
    ablation: of those checked; null_*: the same for m random directions of the data's covariance
    that fire as often; picture_auroc (m,): of `picture_aurocs`; shuffled: AUROCs of the first few
    with shuffled labels; examples (m, e): tokens on which a feature is strongest, −1 for none, and
    their activations.
    """

    features: NDArray
    checked: NDArray
    attribution: Effects
    ablation: Effects
    agreement: Agreement
    firing: Firing
    pictures: Pictures
    null_pictures: Pictures
    picture_auroc: NDArray
    null_picture_auroc: NDArray
    rules: list[Rule]
    null_rules: list[Rule]
    shuffled: NDArray
    examples: NDArray
    activations: NDArray

    def columns(self) -> dict[str, Any]:
        """Tidy columns, one row a feature; NaN where there is no rule."""
        count, rules, nulls = len(self.features), self.rules, self.null_rules
        nothing = Interval(*[float("nan")] * 4, 0, "none")
        held = [rule.auroc or nothing for rule in rules]
        strongest = np.abs(self.firing.rho).argmax(1)
        rows = np.arange(count)
        return {
            "rank": rows + 1, "feature": self.features,
            "attribution": self.attribution.size[self.features],
            "signed": self.attribution.signed[self.features],
            "ablation": self.ablation.size[:count], "ablation_signed": self.ablation.signed[:count],
            "rate": self.firing.rate, "strength": self.firing.strength,
            "property": [self.firing.properties[q] for q in strongest],
            "rho": self.firing.rho[rows, strongest], "p": self.firing.p[rows, strongest],
            "rule": [rule.text for rule in rules],
            "auroc": [v.estimate for v in held], "low": [v.low for v in held],
            "high": [v.high for v in held], "null": [(v.auroc or nothing).estimate for v in nulls],
            "within": [rule.within for rule in rules], "null_within": [v.within for v in nulls],
            "landscape_alone": [rule.landscape for rule in rules],
            "inside": [rule.inside for rule in rules], "outside": [rule.outside for rule in rules],
            "picture_agreement": self.pictures.state_agreement,
            "null_picture_agreement": self.null_pictures.state_agreement,
            "picture_auroc": self.picture_auroc, "null_picture_auroc": self.null_picture_auroc,
            "problem_agreement": self.pictures.problem_agreement,
            "score_agreement": self.pictures.score_agreement,
            "pictured": self.pictures.tokens,
        }  # fmt: skip

    def arrays(self) -> dict[str, NDArray]:
        """What is no column: rates (m, …) and pictures (m, n, n), float32."""
        rates, seen = ("by_landscape", "by_distance", "by_kind"), ("state", "problem", "score")
        found = {name: getattr(self.firing, name) for name in rates}
        found |= {name: getattr(self.pictures, name) for name in seen}
        return {name: value.astype(np.float32) for name, value in found.items()}

    def top_examples(
        self, columns: Mapping[str, Tensor], properties: Mapping[str, NDArray]
    ) -> dict[str, NDArray]:
        """Tidy columns of the tokens on which each feature is strongest, with their matrices'."""
        place, _ = (self.examples >= 0).nonzero()
        token = self.examples[self.examples >= 0]
        problem = array(columns["problem"])[token]
        return {
            "feature": self.features[place], "problem": problem,
            "k": array(columns["landscape"])[token], "distance": array(columns["distance"])[token],
            "activation": self.activations[self.examples >= 0],
        } | {name: np.asarray(values)[problem] for name, values in properties.items()}  # fmt: skip

    def checked_columns(self) -> dict[str, NDArray]:
        """Tidy columns of the features checked: attribution beside ablation."""
        x, y, at = self.attribution, self.ablation, self.checked
        return {
            "feature": at, "top": np.arange(len(at)) < len(self.features), "attribution": x.size[at],
            "ablation": y.size, "attribution_signed": x.signed[at], "ablation_signed": y.signed,
        }  # fmt: skip

    def summary(self) -> dict[str, float]:
        """The layer in a few numbers; NaN where nothing has one."""
        agree, some = self.agreement, [rule for rule in self.rules if rule.auroc]

        def middle(values: Sequence[float]) -> float:
            values = np.asarray(values)[np.isfinite(values)]
            return float(np.median(values)) if len(values) else float("nan")

        return {
            "agreement": agree.size.estimate, "agreement_low": agree.size.low,
            "agreement_high": agree.size.high, "agreement_signed": agree.signed.estimate,
            "slope": agree.slope.estimate, "slope_low": agree.slope.low, "slope_high": agree.slope.high,
            "reliability": self.attribution.reliability, "largest": float(self.attribution.size.max()),
            "together": self.attribution.together, "error": self.attribution.error,
            "error_share": self.attribution.error_share[0],
            "error_share_at_answers": self.attribution.error_share[1],
            "with_rule": len(some) / len(self.rules), "auroc": middle([r.auroc.estimate for r in some]),
            "within": middle([r.within for r in some]),
            "landscape_alone": middle([r.landscape for r in some]),
            "null": middle([r.auroc.estimate for r in self.null_rules if r.auroc]),
            "null_within": middle([r.within for r in self.null_rules]),
            "shuffled": middle(self.shuffled),
            "picture_agreement": middle(self.pictures.state_agreement),
            "null_picture_agreement": middle(self.null_pictures.state_agreement),
            "picture_auroc": middle(self.picture_auroc),
            "null_picture_auroc": middle(self.null_picture_auroc),
            "score_agreement": middle(self.pictures.score_agreement),
        }  # fmt: skip

    def aurocs(self) -> NDArray:
        """AUROCs of the features that have a rule."""
        return np.array([rule.auroc.estimate for rule in self.rules if rule.auroc])

    def beyond_null(self) -> NDArray:
        """AUROC minus that of the random direction, of every feature that has a rule."""
        pairs = zip(self.rules, self.null_rules, strict=True)
        return np.array([a.auroc.estimate - b.auroc.estimate for a, b in pairs if a.auroc and b.auroc])


def weakest_mean(samples: Sequence[NDArray]) -> Interval | None:
    """Of the means of samples (m_i,), one a layer, the one whose interval over features reaches lowest;
    None where a sample has fewer than two values. Features share tokens: intervals are optimistic."""
    if any(len(values) < 2 for values in samples):
        return None
    return min((mean_interval(values) for values in samples), key=lambda found: found.low)


def interpret(
    energy: Energy, layer: str, dictionary: Dictionary, covariance: Tensor, x: Tensor, A: Tensor,
    y0: Tensor, columns: Mapping[str, Tensor], properties: Mapping[str, NDArray], sizes: Sizes,
    generator: torch.Generator,
) -> Interpretation:
    """x (N, width): activations of N held-out tokens with these columns; covariance (width, width) of
    the training activations; A (P, n, n), answers y0 (P, d) and properties (P,) by number of problem.
    """  # fmt: skip
    rng = np.random.default_rng(int(torch.randint(2**31, (), generator=generator)))
    at = places(energy, A, y0, columns, torch.from_numpy(rng.permutation(len(x))[: sizes.tokens]))
    found = attribute(energy, layer, dictionary, at)
    top, checked = shortlist(found, sizes.top, sizes.others, generator)
    exact = ablate(energy, layer, dictionary, at, torch.from_numpy(checked))

    on = dictionary.to(x)
    f = torch.cat([on.encode(part)[:, top] for part in x.split(8192)]).cpu()
    seen = firing(array(f), {name: array(value) for name, value in columns.items()}, properties)
    null, directions = null_firing(x, covariance, seen.rate.tolist(), generator)
    tokens = described(A, columns, properties, generator)

    def draw(encoder: Tensor, along: Tensor, fires: NDArray) -> Pictures:
        fires = torch.from_numpy(fires & ~tokens.testing[:, None])
        return pictures(
            energy, layer, encoder, along, A, columns, fires, sizes.pictures, generator
        )

    own, fires = dictionary.to(A), (f != 0).numpy()
    examples = strongest(array(f), tokens.problem, sizes.examples)
    read = draw((own.encoder / own.scale)[top], own.directions[top], fires)
    blind = draw(directions.to(A), directions.to(A), null)
    return Interpretation(
        top, checked, found, exact, agreement(found, exact, checked), seen,
        read, blind, picture_aurocs(read, A, columns, fires, tokens),
        picture_aurocs(blind, A, columns, null, tokens),
        describe_all(fires, tokens), describe_all(null, tokens),
        np.array([shuffled_auroc(one, tokens, rng) for one in fires.T[: sizes.shuffled]]),
        examples, np.take_along_axis(array(f), examples.T.clip(0), 0).T,
    )  # fmt: skip
