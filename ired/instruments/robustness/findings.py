"""Replication of Phase 2's and Phase 3's findings over seeds: effects in several networks, how large, how alike.

kind     finding                                       effect of one network, 0 by chance
moved    a direction moves answers more than random    log2 of its movement over the random draws' mean
carried  its property grows along it                   growth per dose, deviations, less the draws'
read     a concept can be read in a layer              held-out AUROC − 0.5
gap      a dictionary keeps the energy gaps            share kept (0: a constant in the layer's place)
score    … the score                                   share kept (0: the best A-blind score)

Claimed is what the first network's own experiments said at full size, on other problems: P3-05's
verdicts (moved, carried: with its sign), P3-05's AUROC (read), P2-02 to P2-04 (gap, score: where the
interval excluded 0). Features are claimed by rank, since dictionaries here are others. The claims
were picked on the first network, so its own effects may be too large: `study.chances` also
leaves it out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pandas import DataFrame
from torch import Tensor

from ired.instruments.core.directions import STATE, Direction
from ired.instruments.core.random_directions import covariance_matched
from ired.instruments.core.states import array
from ired.instruments.interventions.pushes import RESOLUTION
from ired.instruments.interventions.responses import p_above
from ired.instruments.interventions.verdicts import BACKWARDS
from ired.instruments.robustness import procrustes_matching, score
from ired.instruments.robustness.effects import DirectionEffects
from ired.instruments.robustness.procrustes_matching import Matching, MatchingTokens
from ired.instruments.robustness.rediscovery import LAYERS, NetworkFindings, Wanted
from ired.instruments.statistics.intervals import adjust

KINDS = ("moved", "carried", "read", "gap", "score")


# Which directions


def shared_directions(
    networks: Sequence[NetworkFindings],
    looked_for: Sequence[Wanted],
    matchings: Mapping[str, Mapping[tuple[int, int], Matching]],
) -> tuple[list[Wanted], list[list[Direction]]]:
    """Those of `looked_for` that all networks have, and each network's, in this order.

    Features: the first network's strongest that has a partner in all others, and these partners;
    gradient components: the first network's and those that |cosines| match with them.
    """
    shared, by_network = [], [[] for _ in networks]
    ranked = {
        layer: _partners(networks[0].strongest[layer], pairs, len(networks)) for layer, pairs in matchings.items()
    }
    for asked in looked_for:
        if asked.source == "feature":
            if asked.rank >= len(ranked[asked.space]):
                continue
            vectors = [
                net.dictionaries[asked.space].decoder[i]
                for net, i in zip(networks, ranked[asked.space][asked.rank], strict=True)
            ]
        elif asked.source == "gradient":
            k = asked.landscape
            if asked.rank >= len(networks[0].components[k]):
                continue
            rows = networks[0].components[k]
            back = networks[0].energy.coordinates.from_basis
            vectors = [back(rows[asked.rank])] + [
                back(procrustes_matching.match_axes(rows, net.components[k])[0][asked.rank]) for net in networks[1:]
            ]
        else:
            vectors = [net.directions[asked.name].vector for net in networks]
        shared.append(asked)
        for place, vector in zip(by_network, vectors, strict=True):
            place.append(
                Direction(
                    name=asked.name,
                    source=asked.source,
                    space=asked.space,
                    landscape=asked.landscape,
                    concept=asked.concept,
                    evidence=0.0,
                    measure="",
                    vector=vector.double().cpu(),
                ).unit()
            )
    return shared, by_network


def _partners(strongest: Sequence[int], pairs: Mapping[tuple[int, int], Matching], networks: int) -> list[list[int]]:
    """Features of the first network with their partners in all others, strongest first."""
    others = [
        dict(zip(pairs[0, s].first.tolist(), pairs[0, s].second.tolist(), strict=True)) for s in range(1, networks)
    ]
    return [[i, *(other[i] for other in others)] for i in strongest if all(i in o for o in others)]


# How alike they are


def direction_likeness(
    networks: Sequence[NetworkFindings],
    shared: Sequence[Wanted],
    by_network: Sequence[Sequence[Direction]],
    tokens: MatchingTokens,
    rotations: Mapping[tuple[str, int], procrustes_matching.Rotation],
    draws: int,
    generator: torch.Generator,
) -> DataFrame:
    """Each direction of every other network beside the first one's, rows of name, source, space,
    second.

    Of layers: correlation, of the projections of tokens that are judged, each landscape's mean taken
    off, and cosine after the rotation that `rotations` has for (layer, second); of the state: cosine
    alone (correlation is the same). chance_correlation, chance_cosine: means of |…| over `draws` pairs
    of random directions of each network's covariance, or of the state (for gradients as many as were
    matched).
    """
    rows, null = [], {}
    coordinates, judge = networks[0].energy.coordinates, tokens.half(False)
    layers = {s: {layer: tokens.within(net.tokens[layer]) for layer in LAYERS} for s, net in enumerate(networks)}
    for d, asked in enumerate(shared):
        first = by_network[0][d].vector
        for s in range(1, len(networks)):
            other = by_network[s][d].vector
            if asked.space == STATE:
                cosine = correlation = float(coordinates.project(first) @ coordinates.project(other))
                count = 1
                if asked.source == "gradient":
                    count = len(networks[0].components[asked.landscape])
                if (STATE, count) not in null:
                    level = procrustes_matching.chance_matched(count, coordinates.size, draws, generator).mean()
                    null[STATE, count] = (float(level),) * 2
                by_chance = null[STATE, count]
            else:
                x, z = layers[0][asked.space], layers[s][asked.space]
                turn = rotations[asked.space, s].matrix
                pair = torch.stack([first, other]).to(x)
                correlation, cosine = _compared(x[judge], z[judge], turn=turn, first=pair[:1], second=pair[1:])[0]
                key = asked.space, s
                if key not in null:
                    blind = [covariance_matched(torch.cov(v[~judge].T), draws, generator).to(x) for v in (x, z)]
                    null[key] = tuple(np.abs(_compared(x[judge], z[judge], turn, *blind)).mean(0))
                by_chance = null[key]
            rows.append(
                {
                    "name": asked.name,
                    "source": asked.source,
                    "space": asked.space,
                    "second": s,
                    "correlation": float(correlation),
                    "cosine": float(cosine),
                    "chance_correlation": float(by_chance[0]),
                    "chance_cosine": float(by_chance[1]),
                }
            )
    return DataFrame(rows)


def _compared(x: Tensor, z: Tensor, turn: Tensor, first: Tensor, second: Tensor) -> NDArray:
    """Correlation of projections and cosine after the turn (from z to x), row by row: (m, 2)."""
    ours, theirs = x @ first.mT, z @ second.mT
    ours, theirs = (v - v.mean(0) for v in (ours, theirs))
    along = (ours * theirs).sum(0) / (ours.norm(dim=0) * theirs.norm(dim=0)).clamp_min(1e-30)
    return array(torch.stack([along, ((second @ turn) * first).sum(1)], 1))


# The findings


def kept_intervals(metrics: Mapping[str, Mapping[str, float]]) -> dict[tuple[str, str], tuple[float, float]]:
    """By (layer, "gap" or "score") the interval of what Phase 2's dictionary kept, from its metrics by layer."""
    return {
        (layer, what): (values[f"{what}_low"], values[f"{what}_high"])
        for layer, values in metrics.items()
        for what in ("gap", "score")
    }


@dataclass(frozen=True)
class Findings:
    """F findings in S networks: table (kind, name, source, space, landscape, concept, claimed),
    effects (F, S), significant (F, S): the sign that each network is sure of by itself, else 0;
    strata: effects (F', S) of the rows `moves` (moved and carried) by stratum; placebo (F', S): random
    draws' instead."""

    table: DataFrame
    effects: NDArray
    significant: NDArray
    moves: NDArray
    strata: dict[int, NDArray]
    placebo: NDArray


def findings(
    shared: Sequence[Wanted],
    verdicts: DataFrame,
    networks: Sequence[NetworkFindings],
    effects: Sequence[DirectionEffects],
    kept: Sequence[Mapping[tuple[str, str], NDArray]],
    dictionaries: Mapping[tuple[str, str], tuple[float, float]],
    stratum: Sequence[NDArray],
) -> Findings:
    """verdicts: P3-05's, a row for each of `shared`; kept: `effects.recovered_shares` of each
    network; dictionaries: by (layer, "gap" or "score") the interval that Phase 2 gave; stratum (P,) of
    each
    network's problems."""
    rows, values, sure = [], [], []

    def add(kind: str, asked: Wanted, claimed: float, effect: Sequence, known: Sequence) -> None:
        rows.append(
            {
                "kind": kind,
                "name": asked.name,
                "source": asked.source,
                "space": asked.space,
                "landscape": asked.landscape,
                "concept": asked.concept,
                "claimed": claimed,
            }
        )
        values.append(effect)
        sure.append(known)

    every = slice(None)
    moved = np.stack([_moved(e.moved, e.moved_draws, every) for e in effects], 1)
    grown = np.stack([_carried(e.carried, e.carried_draws, every) for e in effects], 1)
    claims = verdicts.to_dict("records")
    for d, (asked, said) in enumerate(zip(shared, claims, strict=True)):
        add(
            "moved",
            asked,
            claimed=float(said["moved_beyond"]),
            effect=moved[d],
            known=[e.sure_moved[d] for e in effects],
        )
    with_concept = [(asked, said) for asked, said in zip(shared, claims, strict=True) if asked.concept]
    for d, (asked, said) in enumerate(with_concept):
        claimed = float(said["carried_beyond"]) - float(said["verdict"] == BACKWARDS)
        add("carried", asked, claimed=claimed, effect=grown[d], known=[e.sure_carried[d] for e in effects])
    readers = [(asked, said) for asked, said in with_concept if asked.name in networks[0].read]
    p = adjust([[p_above(net.read[asked.name]) for asked, _ in readers] for net in networks])
    for d, (asked, said) in enumerate(readers):
        read = [net.read[asked.name].mean() for net in networks]
        add("read", asked, claimed=float(said["evidence"] > 0.5), effect=read, known=p[:, d] < score.LEVEL)
    for (layer, what), (low, high) in dictionaries.items():
        asked = Wanted(name=f"dictionary {layer}", source="feature", space=layer, landscape=-1, concept="", rank=0)
        parts = [net[layer, what] for net in kept]
        known = [int(p_above(x) < 0.025) - int(p_above(-x) < 0.025) for x in parts]
        add(what, asked, claimed=float(low > 0) - float(high < 0), effect=[x.mean() for x in parts], known=known)
    strata = {
        int(s): np.concatenate(
            [
                np.stack(
                    [_moved(e.moved, e.moved_draws, thirds == s) for e, thirds in zip(effects, stratum, strict=True)], 1
                ),
                np.stack(
                    [
                        _carried(e.carried, e.carried_draws, thirds == s)
                        for e, thirds in zip(effects, stratum, strict=True)
                    ],
                    1,
                ),
            ]
        )
        for s in np.unique(stratum[0])
    }
    placebo = np.concatenate(
        [
            np.stack([_moved(e.moved_draws[:, 0], e.moved_draws[:, 1:], every) for e in effects], 1),
            np.stack([_carried(e.carried_draws[:, 0], e.carried_draws[:, 1:], every) for e in effects], 1),
        ]
    )
    table = DataFrame(rows)
    moves = table["kind"].isin(KINDS[:2]).to_numpy()
    return Findings(
        table=table,
        effects=np.array(values, float),
        significant=np.array(sure, float),
        moves=moves,
        strata=strata,
        placebo=placebo,
    )


def _moved(movement: NDArray, draws: NDArray, problems) -> NDArray:
    """log2 of the mean movement (D, P) over that of draws (D, R, P), in some of the problems."""
    mean, random = movement[:, problems].mean(1), draws[..., problems].mean((1, 2))
    return np.log2((mean + RESOLUTION) / (random + RESOLUTION))


def _carried(growth: NDArray, draws: NDArray, problems) -> NDArray:
    beyond = growth[:, problems].mean(1) - draws[..., problems].mean((1, 2))
    return np.where(np.abs(beyond) < RESOLUTION, 0, beyond)
