"""Dictionaries of one layer trained, put beside baselines of equal sparsity, and judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pandas import DataFrame
from torch import Tensor

from ired.instruments.core.patching import Spliced
from ired.instruments.core.random_directions import covariance_matched
from ired.instruments.dictionaries import recovery, sparse_autoencoder
from ired.instruments.dictionaries.activations import Shards
from ired.instruments.dictionaries.recovery import Recovery
from ired.instruments.dictionaries.sparse_autoencoder import Dictionary, DictionaryStability, Quality
from ired.instruments.dictionaries.training import Member, Plan, train_dictionaries
from ired.instruments.statistics.intervals import Interval, mean_interval, ratio_interval
from ired.model.protocol import Energy

Answer = Callable[[Energy], Tensor]
ICA_TOKENS = 4000
SHARES = ("gap", "score", "through", "score_of_constant")


@dataclass(frozen=True)
class DictionaryBench:
    """What dictionaries of a layer are trained on and judged with.

    moments: mean (width,), covariance (width, width) and means (K, width) of the training tokens;
    A (P, n, n), y0 (P, d): held-out problems and their answers, for splices; answer(energy): squared
    error (P,) of the inverses that it samples; seed: of everything that is drawn here.
    """

    energy: Energy
    layer: str
    shards: Shards
    mean: Tensor
    covariance: Tensor
    means: Tensor
    A: Tensor
    y0: Tensor
    answer: Answer
    seed: int

    @classmethod
    def of(
        cls,
        energy: Energy,
        layer: str,
        shards: Shards,
        moments: Mapping[str, Tensor],
        A: Tensor,
        y0: Tensor,
        answer: Answer,
        seed: int,
    ) -> DictionaryBench:
        """moments: those of all layers, under "layer.name"."""
        shards.width(layer)  # a layer that is not there is named here
        of_layer = {name: moments[f"{layer}.{name}"] for name in ("mean", "covariance", "means")}
        return cls(energy, layer, shards, **of_layer, A=A, y0=y0, answer=answer, seed=seed)

    def generator(self, purpose: int) -> torch.Generator:
        return torch.Generator().manual_seed(1000 * self.seed + purpose)

    @property
    def standard(self) -> tuple[Tensor, Tensor]:
        return sparse_autoencoder.activation_standardisation(self.mean, self.covariance)

    def train(
        self,
        members: Sequence[Member],
        plan: Plan,
        batch: int,
        on_step: Callable[[int], None],
        checkpoint: Any = None,
    ) -> tuple[dict[Member, Dictionary], DataFrame]:
        """All members at once, on the same batches; frozen ones on directions of the data's covariance.
        checkpoint: see `training.train_dictionaries`."""
        batches = self.shards.batches(self.layer, batch, self.generator(1))
        device = self.A.device
        mean, scale = (v.to(device) for v in self.standard)
        decoders = {
            m: covariance_matched(self.covariance, m.features, self.generator(2 + m.seed)) for m in members if m.frozen
        }
        trained, curve = train_dictionaries(
            members,
            plan,
            (x.to(device) for x in batches),
            mean,
            scale,
            decoders,
            on_step,
            checkpoint=checkpoint,
        )
        return trained, DataFrame(curve)

    def baselines(self, sparsity: int, tokens: int) -> dict[str, Dictionary]:
        """PCA, ICA (fitted on so many tokens) and neurons, with `sparsity` active for each token; and
        the floors, a layer that is its mean or nothing at all."""
        mean, scale = self.standard
        x = next(self.shards.activations("train", self.layer))
        sample = torch.randperm(len(x), generator=self.generator(99))[:tokens]
        dictionaries = sparse_autoencoder.pca_dictionaries(self.covariance, mean, scale, sparsity) | {
            "ica": sparse_autoencoder.independent(x[sample], mean, scale, sparsity, self.seed),
            "neurons": sparse_autoencoder.neurons(mean, scale, sparsity),
            "mean": constant_dictionary(mean, mean, scale),
            "zero": constant_dictionary(torch.zeros_like(mean), mean, scale),
        }
        return {name: d.to(self.A) for name, d in dictionaries.items()}

    def judge(self, dictionaries: Mapping[str, Dictionary]) -> dict[str, JudgedDictionary]:
        """Each on held-out tokens and spliced into the network, all at the same places."""
        landscape = self.shards.columns("held_out")["landscape"]
        at = recovery.situations(self.energy, self.A, self.y0, self.generator(3))
        return {
            name: JudgedDictionary(
                sparse_autoencoder.quality(
                    dictionary, self.shards.activations("held_out", self.layer), landscape, self.means
                ),
                recovery.recovery(self.energy, self.layer, dictionary, self.A, at),
                self.answer(Spliced(self.energy, self.layer, dictionary)).cpu().numpy(),
            )
            for name, dictionary in dictionaries.items()
        }


def constant_dictionary(value: Tensor, mean: Tensor, scale: Tensor) -> Dictionary:
    """The dictionary whose reconstruction is always `value` (width,): one feature that never fires."""
    constant_row, nothing = torch.eye(len(mean))[:1], torch.zeros(1)
    return Dictionary(
        kind="all",
        encoder=0 * constant_row,
        encoder_bias=nothing,
        decoder=constant_row,
        bias=(value - mean) / scale,
        mean=mean,
        scale=scale,
        threshold=nothing,
    )


@dataclass(frozen=True)
class JudgedDictionary:
    """One dictionary: its quality on held-out tokens, what is left of the network under its splice, and
    the squared errors (P,) of the inverses sampled with it."""

    quality: Quality
    recovery: Recovery
    errors: NDArray

    def share(self, what: str) -> Interval:
        """The recovered share with its 95 % interval over problems."""
        return ratio_interval(*self.recovery.per_problem(what)).complement()

    def row(self) -> dict[str, float]:
        """What compares: numbers, those that need it with the ends of their intervals."""
        q, mse = self.quality, mean_interval(self.errors)
        row = {
            "explained": q.explained,
            "explained_within": q.explained_within,
            "l0": q.l0,
            "dead": q.dead,
            "dense": q.dense,
        }
        for name, interval in (*((what, self.share(what)) for what in SHARES), ("mse", mse)):
            row |= {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}
        return row


def dictionary_table(judged: Mapping[str, JudgedDictionary], members: Mapping[str, Member] | None = None) -> DataFrame:
    """One row a dictionary: its name, what it is, and how it does."""
    rows = []
    for name, result in judged.items():
        member = (members or {}).get(name)
        rows.append({"name": name} | (asdict(member) if member else {}) | result.row())
    return DataFrame(rows)


def alive(dictionary: Dictionary, judged: JudgedDictionary) -> Tensor:
    """Decoder rows (F', width) of the features that fire on held-out tokens."""
    return dictionary.decoder.cpu()[torch.from_numpy(judged.quality.rates > 0)]


def seeds_agree(
    bench: DictionaryBench, trained: Mapping[Member, Dictionary], judged: Mapping[str, JudgedDictionary]
) -> dict[str, DictionaryStability]:
    """Stability over the seeds of every architecture that was trained with several."""
    kinds: dict[str, list[Member]] = {}
    for member in trained:
        if not member.frozen:
            kinds.setdefault(member.architecture, []).append(member)
    return {
        architecture: sparse_autoencoder.dictionary_stability(
            [alive(trained[m], judged[m.name]) for m in members], bench.covariance, bench.generator(4)
        )
        for architecture, members in kinds.items()
        if len(members) > 1
    }


def feature_stability(dictionary: Dictionary, others: Sequence[Dictionary]) -> NDArray:
    """For every feature of `dictionary` its matched cosine to the others' decoders, averaged: (F,)."""
    from scipy.optimize import linear_sum_assignment

    total = np.zeros(dictionary.features)
    for other in others:
        cosines = (dictionary.decoder.double() @ other.decoder.double().mT).cpu().numpy()
        rows, columns = linear_sum_assignment(cosines, maximize=True)
        total[rows] += cosines[rows, columns]
    return total / max(1, len(others))


@dataclass(frozen=True)
class DictionaryStudy:
    """All dictionaries of a layer at one sparsity.

    named: by name, baselines included; primary: the member that is studied further, siblings: those of
    its architecture with the other seeds; rows, curves: tables of results and of training; agreement:
    by architecture.
    """

    layer: str
    named: dict[str, Dictionary]
    primary: Member
    siblings: list[Member]
    judged: dict[str, JudgedDictionary]
    rows: DataFrame
    curves: DataFrame
    agreement: dict[str, DictionaryStability]

    @property
    def chosen(self) -> dict[str, object]:
        """Which of the dictionaries later experiments take."""
        names = [m.name for m in (self.primary, *self.siblings)]
        return {"layer": self.layer, "primary": names[0], "seeds": names}

    @property
    def studied_row(self) -> dict[str, float]:
        """The studied dictionary's row."""
        return self.judged[self.primary.name].row()

    def pack(self) -> tuple[dict[str, Tensor], dict[str, object]]:
        """All dictionaries as tensors and notes."""
        packed = [dictionary.pack(name) for name, dictionary in self.named.items()]
        return (
            {k: v for tensors, _ in packed for k, v in tensors.items()},
            {k: v for _, note in packed for k, v in note.items()},
        )

    def tables(self) -> dict[str, DataFrame]:
        """What is worth keeping: results, curves, agreement of seeds, the studied features."""
        agreement = [
            {
                "architecture": name,
                "cosine": s.cosine.estimate,
                "low": s.cosine.low,
                "high": s.cosine.high,
                "null": s.null,
                "highest_null": s.highest_null,
                "isotropic": s.isotropic,
            }
            for name, s in self.agreement.items()
        ]
        studied_dictionary = self.named[self.primary.name]
        features = {
            "feature": range(studied_dictionary.features),
            "rate": self.judged[self.primary.name].quality.rates,
            "stability": feature_stability(studied_dictionary, [self.named[m.name] for m in self.siblings]),
        }
        return {
            "dictionaries": self.rows,
            "curves": self.curves,
            "stability": DataFrame(agreement),
            "features": DataFrame(features),
        }

    def verdicts(self) -> dict[str, tuple[bool, dict[str, float]]]:
        """Criteria on the studied dictionary: met or not, and the numbers behind that."""
        row, seeds = self.studied_row, self.agreement[self.primary.architecture]
        return {
            "few_dead_features": (row["dead"] < 0.1, {"dead": row["dead"]}),
            **{
                f"{what}_recovered": (row[f"{what}_low"] >= 0.9, {"share": row[what], "low": row[f"{what}_low"]})
                for what in ("gap", "score")
            },
            "stable_over_seeds": (
                seeds.cosine.low > seeds.highest_null,
                {"cosine": seeds.cosine.estimate, "low": seeds.cosine.low, "null": seeds.highest_null},
            ),
        }


def study_dictionaries(
    bench: DictionaryBench,
    architecture: str,
    features: int,
    sparsity: int,
    seeds: int,
    plan: Plan,
    batch: int,
    on_step: Callable[[int], None],
    checkpoint: Any = None,
) -> DictionaryStudy:
    """All architectures with `seeds` seeds each, a frozen random dictionary, and the baselines;
    the first seed of `architecture` is the one that is studied further. checkpoint: see
    `training.train_dictionaries`."""
    members = [
        Member(kind, features, sparsity, seed) for kind in sparse_autoencoder.ARCHITECTURES for seed in range(seeds)
    ]
    frozen = Member("topk", features, sparsity, frozen=True)
    trained, curves = bench.train([*members, frozen], plan, batch, on_step, checkpoint)
    named = {m.name: trained[m] for m in members}
    named |= {"frozen": trained[frozen]} | bench.baselines(sparsity, ICA_TOKENS)
    judged = bench.judge(named)
    primary, *siblings = [m for m in members if m.architecture == architecture]
    rows = dictionary_table(judged, {m.name: m for m in members})
    agreement = seeds_agree(bench, trained, judged)
    return DictionaryStudy(
        layer=bench.layer,
        named=named,
        primary=primary,
        siblings=siblings,
        judged=judged,
        rows=rows,
        curves=curves,
        agreement=agreement,
    )


def operating_point(rows: DataFrame, dead: float = 0.1, recovered: float = 0.9) -> tuple[str, bool]:
    """The name of the member that the rule chooses, and whether it meets all that was asked for.

    The rule: of all members with fewer than `dead` of their features dead and at least `recovered` of
    energy gaps and score, the one with the lowest L0 on held-out tokens, of equal ones the smaller.
    Where none has all of that, the one whose smaller share of the two is largest.
    """
    good = rows[(rows["dead"] < dead) & (rows["gap"] >= recovered) & (rows["score"] >= recovered)]
    if len(good):
        return good.sort_values(["l0", "features"]).iloc[0]["name"], True
    return rows.loc[rows[["gap", "score"]].min(axis=1).idxmax(), "name"], False
