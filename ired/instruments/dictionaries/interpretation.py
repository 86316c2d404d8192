"""Feature interpretation: what single features read and write, and whether a simple rule says when they fire.

All of it beside random directions of the data's covariance that fire as often.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pandas import DataFrame, Series, concat
from torch import Tensor

from ired.instruments.core.states import array
from ired.instruments.dictionaries.features import (
    Agreement,
    FeatureEffects,
    ablate,
    agreement,
    attribute_features,
    places,
    shortlist,
)
from ired.instruments.dictionaries.rule_descriptions import (
    Described,
    Firing,
    Rule,
    describe_all,
    described,
    firing,
    null_firing,
    shuffled_auroc,
    strongest,
    unruly,
)
from ired.instruments.dictionaries.sparse_autoencoder import Dictionary
from ired.instruments.statistics.auroc import auroc
from ired.instruments.statistics.intervals import Interval, mean_interval
from ired.model.protocol import Energy

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
    energy: Energy,
    layer: str,
    encoder: Tensor,
    directions: Tensor,
    A: Tensor,
    columns: Mapping[str, Tensor],
    fires: Tensor,
    most: int,
    generator: torch.Generator,
    chunk: int = 2048,
) -> Pictures:
    """Of directions read by `encoder` (m, width) and written along `directions` (m, width), on at most
    `most` tokens of each, drawn from those with fires (N, m); A (P, n, n) by number of problem.
    """
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
    slopes = torch.autograd.grad(value, of, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(v) if g is None else g for v, g in zip(of, slopes, strict=True)]


def picture_aurocs(
    shown: Pictures, A: Tensor, columns: Mapping[str, Tensor], fires: NDArray, tokens: Described
) -> NDArray:
    """Held-out AUROCs (m,) of what pictures made of the fitting half say, ⟨state, y⟩ + ⟨problem, A⟩:
    a description with n·n numbers each, where a rule has three. NaN where nothing can be tested."""
    test, m = tokens.testing, fires.shape[1]
    y, a = array(columns["y"])[test], array(A.flatten(1))[tokens.problem[test]]
    score = y @ shown.state.reshape(m, -1).T + a @ shown.problem.reshape(m, -1).T
    return np.array(
        [
            float("nan") if unruly(fired, tokens) else auroc(along, fired[test])
            for fired, along in zip(fires.T, score.T, strict=True)
        ]
    )


# All of it, for the features that matter most


@dataclass(frozen=True)
class InterpretationSizes:
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
    attribution: FeatureEffects
    ablation: FeatureEffects
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
            "rank": rows + 1,
            "feature": self.features,
            "attribution": self.attribution.size[self.features],
            "signed": self.attribution.signed[self.features],
            "ablation": self.ablation.size[:count],
            "ablation_signed": self.ablation.signed[:count],
            "rate": self.firing.rate,
            "strength": self.firing.strength,
            "property": [self.firing.properties[q] for q in strongest],
            "rho": self.firing.rho[rows, strongest],
            "p": self.firing.p[rows, strongest],
            "rule": [rule.text for rule in rules],
            "auroc": [v.estimate for v in held],
            "low": [v.low for v in held],
            "high": [v.high for v in held],
            "null": [(v.auroc or nothing).estimate for v in nulls],
            "within": [rule.within for rule in rules],
            "null_within": [v.within for v in nulls],
            "landscape_alone": [rule.landscape for rule in rules],
            "inside": [rule.inside for rule in rules],
            "outside": [rule.outside for rule in rules],
            "picture_agreement": self.pictures.state_agreement,
            "null_picture_agreement": self.null_pictures.state_agreement,
            "picture_auroc": self.picture_auroc,
            "null_picture_auroc": self.null_picture_auroc,
            "problem_agreement": self.pictures.problem_agreement,
            "score_agreement": self.pictures.score_agreement,
            "pictured": self.pictures.tokens,
        }

    def page(
        self, layer: str, stability: Series, columns: Mapping[str, Tensor], properties: Mapping[str, NDArray]
    ) -> dict[str, Any]:
        """What the catalogue shows of a layer: its name, table (a row a feature, with the stability that its
        number has), examples and arrays."""
        table = DataFrame(self.columns()).assign(layer=layer)
        table["stability"] = stability.reindex(table["feature"]).to_numpy(dtype=float)
        examples = DataFrame(self.top_examples(columns, properties))
        return {"name": layer, "table": table, "examples": examples, "arrays": self.arrays()}

    def arrays(self) -> dict[str, NDArray]:
        """What is no column: rates (m, …) and pictures (m, n, n), float32."""
        rates, shown = ("by_landscape", "by_distance", "by_kind"), ("state", "problem", "score")
        values = {name: getattr(self.firing, name) for name in rates}
        values |= {name: getattr(self.pictures, name) for name in shown}
        return {name: value.astype(np.float32) for name, value in values.items()}

    def top_examples(self, columns: Mapping[str, Tensor], properties: Mapping[str, NDArray]) -> dict[str, NDArray]:
        """Tidy columns of the tokens on which each feature is strongest, with their matrices'."""
        place, _ = (self.examples >= 0).nonzero()
        token = self.examples[self.examples >= 0]
        problem = array(columns["problem"])[token]
        return {
            "feature": self.features[place],
            "problem": problem,
            "k": array(columns["landscape"])[token],
            "distance": array(columns["distance"])[token],
            "activation": self.activations[self.examples >= 0],
        } | {name: np.asarray(values)[problem] for name, values in properties.items()}

    def checked_columns(self) -> dict[str, NDArray]:
        """Tidy columns of the features checked: attribution beside ablation."""
        x, y, at = self.attribution, self.ablation, self.checked
        return {
            "feature": at,
            "top": np.arange(len(at)) < len(self.features),
            "attribution": x.size[at],
            "ablation": y.size,
            "attribution_signed": x.signed[at],
            "ablation_signed": y.signed,
        }

    def summary(self) -> dict[str, float]:
        """The layer in a few numbers; NaN where nothing has one."""
        agree, ruled = self.agreement, [rule for rule in self.rules if rule.auroc]

        def middle(values: Sequence[float]) -> float:
            values = np.asarray(values)[np.isfinite(values)]
            return float(np.median(values)) if len(values) else float("nan")

        return {
            "agreement": agree.size.estimate,
            "agreement_low": agree.size.low,
            "agreement_high": agree.size.high,
            "agreement_signed": agree.signed.estimate,
            "slope": agree.slope.estimate,
            "slope_low": agree.slope.low,
            "slope_high": agree.slope.high,
            "reliability": self.attribution.reliability,
            "largest": float(self.attribution.size.max()),
            "together": self.attribution.together,
            "error": self.attribution.error,
            "error_share": self.attribution.error_share[0],
            "error_share_at_answers": self.attribution.error_share[1],
            "with_rule": len(ruled) / len(self.rules),
            "auroc": middle([r.auroc.estimate for r in ruled]),
            "within": middle([r.within for r in ruled]),
            "landscape_alone": middle([r.landscape for r in ruled]),
            "null": middle([r.auroc.estimate for r in self.null_rules if r.auroc]),
            "null_within": middle([r.within for r in self.null_rules]),
            "shuffled": middle(self.shuffled),
            "picture_agreement": middle(self.pictures.state_agreement),
            "null_picture_agreement": middle(self.null_pictures.state_agreement),
            "picture_auroc": middle(self.picture_auroc),
            "null_picture_auroc": middle(self.null_picture_auroc),
            "score_agreement": middle(self.pictures.score_agreement),
        }

    def aurocs(self) -> NDArray:
        """AUROCs of the features that have a rule."""
        return np.array([rule.auroc.estimate for rule in self.rules if rule.auroc])

    def beyond_null(self) -> NDArray:
        """AUROC minus that of the random direction, of every feature that has a rule."""
        pairs = zip(self.rules, self.null_rules, strict=True)
        return np.array([a.auroc.estimate - b.auroc.estimate for a, b in pairs if a.auroc and b.auroc])


def checked_effects(layers: Mapping[str, Interpretation]) -> DataFrame:
    """Attribution beside ablation of the features checked, with a column layer."""
    tables = [DataFrame(of_layer.checked_columns()).assign(layer=layer) for layer, of_layer in layers.items()]
    return concat(tables, ignore_index=True)


def interpretation_verdicts(layers: Collection[Interpretation]) -> dict[str, tuple[bool | None, dict[str, float]]]:
    """P2-06's criteria, decided by the weakest layer, and the numbers behind that; None: undecided."""
    agreement = weakest_agreement(layers)
    decided = {"attribution_agrees_with_ablation": (agreement.low > 0.8, {"low": agreement.low})}
    for criterion, measure, bound in (
        ("rules_hold_on_new_problems", Interpretation.aurocs, 0.8),
        ("rules_beat_random_directions", Interpretation.beyond_null, 0.0),
    ):
        worst = weakest_mean([measure(layer) for layer in layers])
        numbers = {"mean": worst.estimate, "low": worst.low} if worst else {}
        decided[criterion] = (worst and worst.low > bound, numbers)
    return decided


def weakest_agreement(layers: Collection[Interpretation]) -> Interval:
    """Of the layers' agreements of attribution with ablation the one whose interval reaches lowest."""
    return min((layer.agreement.size for layer in layers), key=lambda interval: interval.low)


def weakest_mean(samples: Sequence[NDArray]) -> Interval | None:
    """Of the means of samples (m_i,), one a layer, the one whose interval over features reaches lowest;
    None where a sample has fewer than two values. Features share tokens: intervals are optimistic."""
    if any(len(values) < 2 for values in samples):
        return None
    return min((mean_interval(values) for values in samples), key=lambda interval: interval.low)


def interpret(
    energy: Energy,
    layer: str,
    dictionary: Dictionary,
    covariance: Tensor,
    x: Tensor,
    A: Tensor,
    y0: Tensor,
    columns: Mapping[str, Tensor],
    properties: Mapping[str, NDArray],
    sizes: InterpretationSizes,
    generator: torch.Generator,
) -> Interpretation:
    """x (N, width): activations of N held-out tokens with these columns; covariance (width, width) of
    the training activations; A (P, n, n), answers y0 (P, d) and properties (P,) by number of problem.
    """
    rng = np.random.default_rng(int(torch.randint(2**31, (), generator=generator)))
    at = places(energy, A, y0, columns, torch.from_numpy(rng.permutation(len(x))[: sizes.tokens]))
    attributed = attribute_features(energy, layer, dictionary, at)
    top, checked = shortlist(attributed, sizes.top, sizes.others, generator)
    ablated = ablate(energy, layer, dictionary, at, torch.from_numpy(checked))

    encoding = dictionary.to(x)
    f = torch.cat([encoding.encode(part)[:, top] for part in x.split(8192)]).cpu()
    fired = firing(array(f), {name: array(value) for name, value in columns.items()}, properties)
    null_fires, directions = null_firing(x, covariance, fired.rate.tolist(), generator)
    tokens = described(A, columns, properties, generator)

    def draw(encoder: Tensor, along: Tensor, fires: NDArray) -> Pictures:
        fires = torch.from_numpy(fires & ~tokens.testing[:, None])
        return pictures(energy, layer, encoder, along, A, columns, fires, sizes.pictures, generator)

    features, fires = dictionary.to(A), (f != 0).numpy()
    examples = strongest(array(f), tokens.problem, sizes.examples)
    shown = draw((features.encoder / features.scale)[top], features.directions[top], fires)
    null_shown = draw(directions.to(A), directions.to(A), null_fires)
    return Interpretation(
        features=top,
        checked=checked,
        attribution=attributed,
        ablation=ablated,
        agreement=agreement(attributed, ablated, checked),
        firing=fired,
        pictures=shown,
        null_pictures=null_shown,
        picture_auroc=picture_aurocs(shown, A, columns, fires, tokens),
        null_picture_auroc=picture_aurocs(null_shown, A, columns, null_fires, tokens),
        rules=describe_all(fires, tokens),
        null_rules=describe_all(null_fires, tokens),
        shuffled=np.array([shuffled_auroc(of, tokens, rng) for of in fires.T[: sizes.shuffled]]),
        examples=examples,
        activations=np.take_along_axis(array(f), examples.T.clip(0), 0).T,
    )
