"""Replication over seeds, all of P6-01: networks, matchings, effects, and what is said of them.

See `procrustes_matching` (matching and chance), `rediscovery` (what is found again in a network),
`findings` (findings as effects), `score` (score and rule).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pandas import DataFrame, Series, concat

from ired.instruments.core.sampler import Sampler
from ired.instruments.robustness import (
    effects as robustness_effects,
    findings,
    procrustes_matching as robustness,
    rediscovery,
    score,
)
from ired.instruments.robustness.findings import Findings
from ired.instruments.robustness.rediscovery import LAYERS, NetworkFindings, RediscoveryGround
from ired.instruments.statistics.intervals import Interval, proportion_interval, student_interval
from ired.instruments.statistics.power import detectable
from ired.model.protocol import Energy

BLIND = 200  # pairs of random directions behind a chance level
PERMUTED = 50  # ways to exchange findings within networks


@dataclass(frozen=True)
class RobustnessStudy:
    """tables: "findings" (`score.robustness_table` and columns effect_0 …, one a network), "matching",
    "alignment", "likeness", "strata", "verdicts", "chance"; networks: how many."""

    tables: dict[str, DataFrame]
    networks: int

    @property
    def claimed(self) -> DataFrame:
        table = self.tables["findings"]
        return table[table["claimed"] != 0]

    def share_robust(self) -> Interval:
        """Of the findings claimed, exact over findings (which share networks: see `score.without_one`)."""
        robust = self.claimed["robust"]
        return proportion_interval(int(robust.sum()), len(robust))

    def keeping(self) -> Interval:
        """Share of the claimed signs that each of the other networks shows, over these networks."""
        claimed = self.claimed
        effects = claimed[[f"effect_{s}" for s in range(1, self.networks)]].to_numpy()
        return student_interval((np.sign(effects) == claimed[["claimed"]].to_numpy()).mean(0))

    def matching(self) -> DataFrame:
        """A row for each layer and chance level: own, chance, gain with its interval over networks."""
        rows = []
        for layer, pairs in self.tables["matching"].groupby("layer", sort=False):
            records = pairs.to_dict("records")
            matched = robustness.table_of_pairs(records, "own", self.networks)
            for null in ("shuffled", "random"):
                other = robustness.table_of_pairs(records, null, self.networks)
                gain = robustness.pair_interval(matched - other)
                rows.append(
                    {
                        "layer": layer,
                        "null": null,
                        "own": pairs["own"].mean(),
                        "chance": pairs[null].mean(),
                        "gain": gain.estimate,
                        "low": gain.low,
                        "high": gain.high,
                    }
                )
        return DataFrame(rows)

    def verdicts(self) -> dict[str, tuple[bool, dict[str, float]]]:
        """By criterion whether it is met, and the numbers behind it."""
        share, keep, gains = self.share_robust(), self.keeping(), self.matching()
        chance = self.tables["chance"].set_index("of")
        moves = self.claimed[self.claimed["kind"].isin(findings.KINDS[:2])]
        robust = _share(moves["robust"])
        random = chance.loc["random directions"]
        return {
            "most_findings_robust": (
                share.estimate > score.SHARE,
                {"share": share.estimate, "low": share.low, "high": share.high, "claimed": share.units},
            ),
            "effects_keep_sign": (keep.low > score.SHARE, {"share": keep.estimate, "low": keep.low, "high": keep.high}),
            "features_match_beyond_chance": (
                bool((gains["low"] > 0).all()),
                {f"{row.layer}.{row.null}": row.gain for row in gains.itertuples()},
            ),
            "robust_beyond_random_directions": (
                random["low"] <= score.LEVEL and robust.low > random["high"],
                {
                    "claimed": robust.estimate,
                    "claimed_low": robust.low,
                    "random": random["robust"],
                    "random_low": random["low"],
                    "random_high": random["high"],
                },
            ),
        }

    def numbers(self) -> dict[str, float]:
        """Further numbers by name."""
        chance, claimed = self.tables["chance"].set_index("of"), self.claimed
        numbers = {
            "detectable_d": detectable(self.networks),
            "score.claimed": claimed["score"].mean(),
            "score.chance": claimed["chance"].mean(),
            "score.random_directions": chance.loc["random directions", "score"],
            "score.findings_exchanged": chance.loc["findings exchanged", "score"],
            "robust.without_first": chance.loc["without the first network", "robust"],
            "robust.least_without_one": chance.loc["without one network, least", "robust"],
            "robust.most_without_one": chance.loc["without one network, most", "robust"],
            "verdicts_alike": self.tables["verdicts"]["alike"].mean(),
            "verdicts_alike_by_chance": self.tables["verdicts"]["chance"].mean(),
        }
        for kind, rows in claimed.groupby("kind", sort=False):
            numbers |= {f"robust.{kind}": rows["robust"].mean(), f"claimed.{kind}": len(rows)}
        table = self.tables["findings"]
        new = table[(table["claimed"] == 0) & table["robust"]]
        numbers |= {"robust.not_claimed": len(new), "not_claimed": int((table["claimed"] == 0).sum())}
        aligned = self.tables["alignment"].groupby("layer", sort=False)[["share", "shuffled"]].mean()
        for layer, share, shuffled in aligned.itertuples():
            numbers |= {f"aligned.{layer}": share, f"aligned.{layer}.shuffled": shuffled}
        return numbers


def study_robustness(
    energies: Sequence[Energy],
    grounds: Sequence[RediscoveryGround],
    verdicts: DataFrame,
    dictionaries: Mapping[tuple[str, str], tuple[float, float]],
    condition: Sequence[NDArray],
    sampler: Sampler,
    size: Any,
    generator: torch.Generator,
    done: Callable[[int], None] = lambda count: None,
) -> RobustnessStudy:
    """verdicts: P3-05's of the first network; dictionaries: what Phase 2 said of its dictionaries;
    condition (P,): condition numbers of each ground's `tried`; size: as `rediscovery.found_in`'s,
    and `spliced` and `draws`; done(i) is called after i networks or directions."""
    looked_for, networks = rediscovery.wanted(verdicts), []
    for energy, ground in zip(energies, grounds, strict=True):
        networks.append(rediscovery.found_in(energy, ground, looked_for, size))
        done(1)
    ground = grounds[0]  # its tokens are everyone's
    pairs, matchings = match_features(networks, ground, generator)
    aligned, rotations = align(networks, ground, generator)
    shared, directions = findings.shared_directions(networks, looked_for, matchings)
    names = {asked.name for asked in shared}
    said = verdicts[[asked.name in names for asked in looked_for]].reset_index(drop=True)
    alike = findings.direction_likeness(
        networks, shared, directions, tokens=ground.tokens, rotations=rotations, draws=BLIND, generator=generator
    )
    effects, kept = [], []
    # Problems and random directions of its own for each: shared ones would make shared effects.
    for network, own_directions, ground in zip(networks, directions, grounds, strict=True):
        kept.append(
            robustness_effects.recovered_shares(
                network.energy, network.dictionaries, ground.tried[: size.spliced], generator
            )
        )
        effects.append(
            robustness_effects.effects_of(
                network.energy,
                own_directions,
                ground,
                sampler=sampler,
                draws=size.draws,
                generator=generator,
                done=done,
            )
        )
    stratum = [score.strata(values) for values in condition]
    every = findings.findings(
        shared, said, networks, effects=effects, kept=kept, dictionaries=dictionaries, stratum=stratum
    )
    rng = np.random.default_rng(int(torch.randint(2**31, (), generator=generator)))
    table = score.robustness_table(every.table, every.effects, every.significant)
    columns = [f"effect_{s}" for s in range(len(energies))]
    table = table.join(DataFrame(every.effects, columns=columns))
    claimed = every.table["claimed"].to_numpy()
    moving = claimed[every.moves]
    tables = {
        "findings": table,
        "matching": pairs,
        "alignment": aligned,
        "likeness": alike,
        "strata": score.by_stratum({s: effect[moving != 0] for s, effect in every.strata.items()}, moving[moving != 0]),
        "verdicts": DataFrame(
            [
                {"network": s} | score.verdict_agreement(said["verdict"], effect.verdicts, rng)
                for s, effect in enumerate(effects)
            ]
        ),
        "verdicts_by_direction": said[["direction", "verdict"]].assign(
            name=[asked.name for asked in shared],
            **{f"verdict_{s}": effect.verdicts for s, effect in enumerate(effects)},
        ),
        "chance": chances(every, rng),
    }
    return RobustnessStudy(tables, len(energies))


def match_features(
    networks: Sequence[NetworkFindings], ground: RediscoveryGround, generator: torch.Generator
) -> tuple[DataFrame, dict[str, dict]]:
    """`procrustes_matching.compare_dictionaries` of every layer: its rows with a column layer, and the matchings by
    layer."""
    tables, matchings = [], {}
    for layer in LAYERS:
        codes, blind = [], []
        for network in networks:
            x, dictionary = network.tokens[layer], network.dictionaries[layer]
            covariance = torch.cov(x[ground.tokens.fit].T)
            codes.append(dictionary.encode(x))
            blind.append(robustness.random_like(dictionary, covariance, generator).encode(x))
        rows, matchings[layer] = robustness.compare_dictionaries(codes, blind, ground.tokens, generator)
        tables.append(DataFrame(rows).assign(layer=layer))
    return concat(tables, ignore_index=True), matchings


def align(
    networks: Sequence[NetworkFindings], ground: RediscoveryGround, generator: torch.Generator
) -> tuple[DataFrame, dict[tuple[str, int], robustness.Rotation]]:
    """Every network's layers turned onto the first one's: rows of layer, second, share, shuffled, and
    the rotations by (layer, second)."""
    rows, rotations = [], {}
    for layer in LAYERS:
        first = networks[0].tokens[layer]
        for s, network in enumerate(networks[1:], 1):
            x = network.tokens[layer]
            share, rotations[layer, s] = robustness.procrustes_alignment(x, first, ground.tokens)
            shuffled, _ = robustness.procrustes_alignment(x, first, ground.tokens, generator)
            rows.append({"layer": layer, "second": s, "share": share, "shuffled": shuffled})
    return DataFrame(rows), rotations


def chances(every: Findings, rng: np.random.Generator) -> DataFrame:
    """What the score and the rule give where there is nothing to find, and with networks left out.

    Rows `of`: claimed findings as they are; random directions (a draw in the direction's place, beside
    the other draws; not corrected, so that 5 % is what is promised); findings exchanged (within kinds
    and networks, effects counted in the claimed sense); without the first network; without the one
    that changes most. Columns findings, score, robust, low, high (exact, over findings).
    """
    claimed = every.table["claimed"].to_numpy()
    effects = every.effects[claimed != 0]
    signs = claimed[claimed != 0]
    mixed = score.permuted_findings(effects * signs[:, None], every.table["kind"][claimed != 0], PERMUTED, rng)
    without = score.without_one(effects, signs)
    rows = []

    def add(of: str, count: int, score: float, robust: float) -> None:
        share = proportion_interval(round(robust * count), count)
        rows.append(
            {"of": of, "findings": count, "score": score, "robust": robust, "low": share.low, "high": share.high}
        )

    robust = score.judged_rule(effects, signs)
    add("claimed", len(effects), score.robustness_score(effects).mean(), robust.mean())
    random = every.placebo
    add(
        "random directions",
        len(random),
        score.robustness_score(random).mean(),
        score.judged_rule(random, corrected=False).mean(),
    )
    add("findings exchanged", len(effects), mixed["score_permuted"], mixed["robust_permuted"])
    add("without the first network", len(effects), score.robustness_score(effects[:, 1:]).mean(), without[0])
    for name, value in (("least", without.min()), ("most", without.max())):
        left = np.delete(effects, int(np.flatnonzero(without == value)[0]), 1)
        add(f"without one network, {name}", len(effects), score.robustness_score(left).mean(), value)
    return DataFrame(rows)


def _share(robust: Series) -> Interval:
    """Exact interval of a share; from 0 to 1 where there is nothing to share."""
    if not len(robust):
        return Interval(estimate=0.0, low=0.0, high=1.0, level=0.95, units=0, method="none")
    return proportion_interval(int(robust.sum()), len(robust))
