"""Gradient flow (Glorot & Bengio 2010), Jacobians, paths of the score and units of networks, as P5-02 compares them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pandas import DataFrame
from torch import Tensor

from ired.instruments.layers import gradient_signal, jacobians, score_decomposition, unit_activity
from ired.instruments.layers.forward_backward import Network
from ired.instruments.layers.gradient_signal import Flow, Negatives
from ired.instruments.layers.jacobians import JacobianSpectra
from ired.instruments.layers.score_decomposition import ScorePaths
from ired.instruments.layers.unit_activity import Census
from ired.instruments.statistics.tables import per_unit, stacked, summarise, weakest_margin
from ired.model.protocol import Energy


@dataclass(frozen=True)
class Signals:
    """One network: gradients by its layers, its Jacobians' spectra, ways of its score, what its units do, and how
    its score changes where FiLM is altered (columns of `score_decomposition.score_changes`)."""

    flow: Flow
    spectra: JacobianSpectra
    paths: ScorePaths
    census: Census
    film: dict[str, NDArray]

    def tables(self) -> dict[str, DataFrame]:
        """norms, depth, signals, agreement (its intervals corrected over landscapes), spectra, film, paths, units,
        census: see the methods that make them."""
        kinds = {
            "norms": self.flow.columns(),
            "depth": self.flow.depth(),
            "signals": self.flow.signals(),
            "agreement": self.flow.agreement(1 - 0.05 / len(self.paths.landscapes)),
            "spectra": self.spectra.columns(),
            "film": self.film,
            "paths": self.paths.columns(),
            "units": self.paths.units(),
            "census": self.census.columns(),
        }
        return {kind: DataFrame(rows) for kind, rows in kinds.items()}


def measure_signals(
    network: Network,
    altered: Mapping[str, Energy],
    A: Tensor,
    y0: Tensor,
    z: Tensor,
    noise: Tensor,
    negatives: Negatives,
    decomposed: int,
    generator: torch.Generator,
) -> Signals:
    """For problems A (P, n, n) with answers y0 (P, d) at states z with their noise, both (K, P, M, size).

    altered: the network without FiLM, by name; negatives: see `gradient_signal.flow`, which draws M noised answers
    in each landscape; decomposed: problems whose Jacobians are decomposed, at one state in each landscape.
    """
    return Signals(
        flow=gradient_signal.flow(network, A, y0, negatives, draws=z.shape[2], generator=generator),
        spectra=jacobians.jacobian_spectra(network, A[:decomposed], z[:, :decomposed, 0]),
        paths=score_decomposition.paths(network, A, z),
        census=unit_activity.census(network, A, z),
        film=score_decomposition.score_changes(network, altered, A, z, noise),
    )


def gradient_signal_tables(measured: Mapping[str, Signals]) -> dict[str, DataFrame]:
    """`Signals.tables` of all networks, with a column energy."""
    by_network = {name: signals.tables() for name, signals in measured.items()}
    kinds = next(iter(by_network.values()))
    return {kind: stacked({name: made[kind] for name, made in by_network.items()}, "energy") for kind in kinds}


def gradient_signal_summaries(tables: Mapping[str, DataFrame]) -> dict[str, DataFrame]:
    """`score_decomposition.score_path_summaries`, and "spectra": gain and effective rank by energy, landscape and
    map."""
    spectra = summarise(tables["spectra"], ["energy", "landscape", "map"], ["gain", "rank"])
    return score_decomposition.score_path_summaries(tables) | {"spectra": spectra}


def singular_values(measured: Mapping[str, Signals]) -> dict[str, NDArray]:
    """(K, P, rank) by "energy.map"."""
    return {
        f"{name}.{which}": values
        for name, signals in measured.items()
        for which, values in signals.spectra.values.items()
    }


TRAITS = {
    "film": "squared change of the score without FiLM, over its square",
    "constant": "share of the score through the constant of f",
}


@dataclass(frozen=True)
class ScoreTraits:
    """What P5-02 holds beside controls, per problem, means over landscapes: (P,) each.

    film: squared change of the score without both modulations, over its own square; constant: share of the score
    that goes through the constant of f.
    """

    film: NDArray
    constant: NDArray

    @classmethod
    def of(cls, paths: ScorePaths, film: Mapping[str, NDArray]) -> ScoreTraits:
        """film: columns of `score_decomposition.score_changes`, "both off" among the altered ones."""
        through = paths.share[:, score_decomposition.ROOTS.index("constant")].sum(1)
        return cls(per_unit(DataFrame(film), "change", altered="both off"), through.mean(0))

    @classmethod
    def measured(cls, network: Network, unmodulated: Energy, A: Tensor, z: Tensor, noise: Tensor) -> ScoreTraits:
        """The same of a network of which nothing else is asked; unmodulated: it without FiLM."""
        film = score_decomposition.score_changes(network, {"both off": unmodulated}, A, z, noise)
        return cls.of(score_decomposition.paths(network, A, z), film)


def traits_beside(
    trained: ScoreTraits, untrained: Sequence[ScoreTraits], bowls: Mapping[str, NDArray]
) -> tuple[dict[str, dict[str, NDArray]], dict[str, float]]:
    """By the title of each trait (TRAITS) its values (P,) by energy, of untrained networks their mean; and as metrics
    the least and the most of these. bowls: (K, P), `score_decomposition.constant_share_of_bowl` of energies without
    layers, by name."""
    values, metrics = {}, {}
    for trait, title in TRAITS.items():
        of_networks = np.stack([getattr(network, trait) for network in untrained])
        values[title] = {"trained": getattr(trained, trait), "untrained": of_networks.mean(0)}
        means = of_networks.mean(1)
        metrics |= {f"untrained.{trait}.least": means.min(), f"untrained.{trait}.most": means.max()}
    values[TRAITS["constant"]] |= {name: shares.mean(0) for name, shares in bowls.items()}
    return values, metrics


def gradient_signal_verdicts(
    trained: Signals, tables: Mapping[str, DataFrame]
) -> dict[str, tuple[bool, dict[str, float]]]:
    """The criteria of P5-02, met or not, with the numbers behind them, of the trained network and `tables`."""
    furthest, least = trained.flow.furthest(), trained.paths.least_constant()
    dead = trained.census.dead()
    agreement = tables["agreement"]
    agreement = agreement[(agreement["energy"] == "trained") & (agreement["layer"] == gradient_signal.WHOLE)]
    agreement = agreement[agreement["landscape"] != gradient_signal.EVERY]
    margin = weakest_margin(tables["film"], "change", "trained", "untrained", altered="both off")
    return {
        "gradients_keep_their_size": (
            max(-furthest.low, furthest.high) < 1,
            furthest.row("decades"),
        ),
        "no_dead_units": (
            max(share.high for share in dead.values()) < 0.05,
            {layer: share.estimate for layer, share in dead.items()},
        ),
        "losses_agree": (
            (agreement["low"] > 0).all(),
            {
                "agreeing": (agreement["low"] > 0).sum(),
                "opposed": (agreement["high"] < 0).sum(),
                "lowest": agreement["cosine"].min(),
            },
        ),
        "score_through_the_constant": (
            least.low > 0.5,
            {"least": least.estimate, "low": least.low},
        ),
        "film_matters": (
            margin.low > 0,
            {"weakest": margin.estimate, "low": margin.low},
        ),
    }
