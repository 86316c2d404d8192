"""Layer ablation (resample ablation: Chan et al. 2022) of a trained and an untrained network, as P5-03 does it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from pandas import DataFrame, concat
from torch import Tensor

from ired.instruments.accuracy import predictors
from ired.instruments.accuracy.predictors import Predictor, RegressionNetwork
from ired.instruments.core.sampler import Sampler
from ired.instruments.core.states import array
from ired.instruments.layers import ablation, ablation_damage, ablation_ranking
from ired.instruments.layers.ablation import Ablation, Habits
from ired.instruments.layers.ablation_damage import AblationBench
from ired.instruments.layers.ablation_ranking import HIDDEN, MEASURES, VOTERS, Likeness
from ired.instruments.statistics.intervals import adjust
from ired.instruments.statistics.tables import stacked
from ired.model.protocol import Energy

VOTING = {kind for kinds in VOTERS.values() for kind in kinds}


@dataclass(frozen=True)
class Ablations:
    """A network with all its ablations, what its layers do on other problems, and where it is judged."""

    energy: Energy
    habits: Habits
    bench: AblationBench
    plan: list[Ablation]

    def voting(self, share: float) -> Ablations:
        """With what ranks layers alone: kinds that keep a share of the rank at `share`, the first draw."""
        plan = [a for a in self.plan if a.kind in VOTING and a.share in (1.0, share) and a.draw == 0]
        return replace(self, plan=plan)

    def judged(self, sampling: bool, done: Callable[[int], None] = lambda n: None) -> DataFrame:
        """`ablation_damage.damage_of_plan` of the whole plan."""
        return ablation_damage.damage_of_plan(self.plan, self.bench, sampling, done)


def prepare(
    energy: Energy,
    A: Tensor,
    background: Tensor,
    averaged: int,
    sampler: Sampler,
    shares: Sequence[float],
    draws: int,
    without_film: Callable[[Energy, str], Energy],
    low_rank: Callable[[Energy, str, float], Energy],
    generator: torch.Generator,
) -> Ablations:
    """All ablations of a network, judged on problems A (P, n, n).

    background (N, n, n): other problems for means and fits, the first `averaged` of them for means over problems;
    shares, draws: see `ablation.plan`; without_film(energy, layer), low_rank(energy, layer, share): networks with
    altered weights. Raises ValueError where the background does not fix the fits.
    """
    tokens = ablation.tokens(energy, background, sampler, generator)
    habits = ablation.habits(energy, background, tokens)
    bench = ablation_damage.ablation_bench(energy, A, sampler, generator)
    plan = ablation.plan(
        energy,
        A,
        habits,
        others=background[:averaged],
        shares=shares,
        draws=draws,
        unmodulated=lambda layer: without_film(energy, layer),
        truncated=lambda layer, share: low_rank(energy, layer, share),
        generator=generator,
    )
    return Ablations(energy, habits, bench, plan)


def ablation_tables(
    ablations: Ablations,
    damage: Mapping[str, DataFrame],
    landscapes: Sequence[int],
    share: float,
    generator: torch.Generator,
) -> dict[str, DataFrame]:
    """Tables of P5-03: `ablations` are the trained network's; damage by network, "trained" among them, is what
    `Ablations.judged` found; `landscapes`: in which layers are ablated alone; kinds that keep a share of the rank
    count at `share`.

    effects, summary, by_landscape, tops: of the trained network; one_landscape, alone: ablated in one landscape alone,
    by problem and in the mean; linear_fits: held-out R² of the layers' affine fits on the bench's problems; ranking,
    agreement: of all networks, with a column network.
    """
    energy, bench, trained = ablations.energy, ablations.bench, damage["trained"]
    tokens = ablation.tokens(energy, bench.A, bench.sampler, generator)
    residuals = ablation.unexplained(energy, bench.A, tokens, ablations.habits)
    one_landscape = ablation_damage.judged_alone(energy, ablations.plan, landscapes, share, bench)
    return {
        "effects": trained,
        "summary": ablation_damage.damage_summary(trained, bench.mse),
        "by_landscape": ablation_damage.damage_by_landscape(trained, ("order", "score", "noise")),
        "one_landscape": one_landscape,
        "alone": ablation_damage.damage_by_landscape(one_landscape, ("mse", "rise")),
        "linear_fits": ablation_damage.linear_fit_r2(residuals),
        "ranking": stacked({n: ablation_ranking.ranking_table(d, share) for n, d in damage.items()}, "network"),
        "agreement": stacked({n: ablation_ranking.concordances(d, share) for n, d in damage.items()}, "network"),
        "tops": ablation_ranking.tops(trained, "score", share),
    }


def anchors(fit: tuple[Tensor, Tensor], bench: AblationBench) -> dict[str, float]:
    """Mean squared errors on the bench's problems: of the mean and of least squares on A, fitted to `fit`, problems
    and answers (N, n, n), and of the whole network's samples."""
    fitted = predictors.affine_predictors([fit])
    errors = {name: float(fitted[name].mse(bench.A, bench.Y).mean()) for name in ("mean", "least_squares")}
    return errors | {"whole": float(bench.mse.mean())}


def linear_beside(
    damage: DataFrame, bench: AblationBench, regression: RegressionNetwork, affine: Predictor, A: Tensor
) -> dict[str, dict[str, NDArray]]:
    """Squared error (P,) on the bench's problems by energy, of the "whole", and what a best affine map in place of
    "fc1", "fc2", "fc3" adds to it.

    damage: of the trained network; regression: has hidden layers of the same names, whose affine maps are fitted on
    problems A (N, n, n). An affine denoiser is one affine map: nothing can be added.
    """
    trained = damage[(damage["kind"] == "linear") & (damage["landscape"] == 0)]
    by_layer = {layer: rows.set_index("problem")["mse"].sort_index() for layer, rows in trained.groupby("layer")}
    whole = {"trained": bench.mse} | {
        name: array(predict.mse(bench.A, bench.Y)) for name, predict in (("affine", affine), ("regression", regression))
    }
    added = {"whole": whole}
    for layer in HIDDEN:
        changed = array(regression.made_linear(layer, A).mse(bench.A, bench.Y))
        added[layer] = {
            "trained": by_layer[layer].to_numpy() - bench.mse,
            "affine": np.zeros(len(bench.mse)),
            "regression": changed - whole["regression"],
        }
    return added


def votes(damage: Mapping[str, DataFrame], share: float) -> dict[str, DataFrame]:
    """Mean damages, voters × hidden layers: the trained network's by measure, and "untrained" by score."""
    by_measure = {measure: ablation_ranking.damages(damage["trained"], measure, share) for measure in MEASURES}
    return by_measure | {"untrained": ablation_ranking.damages(damage["untrained"], "score", share)}


def network_likeness(damage: Mapping[str, DataFrame], share: float) -> dict[str, Likeness]:
    """Whether both networks rank their hidden layers alike, by order and by score."""
    networks = damage["trained"], damage["untrained"]
    return {measure: ablation_ranking.compare_rankings(*networks, measure, share) for measure in ("order", "score")}


def least_missed(summary: DataFrame) -> tuple[str, tuple[float, float, float]]:
    """The hidden layer whose affine fit raises the sampled error least; the rise, its lower and upper end."""
    hidden = _linear(summary).loc[list(HIDDEN)]
    layer = hidden["rise"].idxmin()
    return layer, tuple(hidden.loc[layer, ["rise", "rise_low", "rise_high"]])


def ablation_verdicts(
    tables: Mapping[str, DataFrame], likeness: Mapping[str, Likeness], whole: float
) -> dict[str, tuple[bool, dict[str, float]]]:
    """The criteria of P5-03, met or not, with the numbers behind them.

    tables: of `ablation_tables`; likeness: of the untrained network's ranking to the trained one's by order and by
    score; whole: the whole network's sampled error.
    """
    agreement = _trained(tables["agreement"])
    p = {name: adjust(agreement[name]) for name in ("p", "halves_p")}
    summary = tables["summary"]
    hidden = _linear(summary).loc[list(HIDDEN)]
    idle = concat([summary[summary["kind"] == "rounding"], _linear(summary).loc[["fc4"]]])
    return {
        "ranking_agrees_across_ablations": (
            (p["p"] < 0.05).all(),
            {"needed": agreement["needed"].max()} | dict(agreement["w"].add_prefix("w_")),
        ),
        "ranking_holds_over_halves": (
            (p["halves_p"] < 0.05).all(),
            dict(agreement["halves_tau"].add_prefix("tau_")),
        ),
        "ranking_is_learned": (
            all(like.p >= 0.05 for like in likeness.values()),
            {"needed": likeness["score"].needed} | {measure: like.tau for measure, like in likeness.items()},
        ),
        "every_layer_is_nonlinear": ((hidden["rise_low"] > 0).all(), dict(hidden["rise"])),
        "idle_ablation_changes_nothing": (
            (idle["order"] < 0.01).all() and (idle["rise"].abs() < 0.01 * whole).all(),
            {"order": idle["order"].max(), "rise": idle["rise"].abs().max()},
        ),
    }


def ablation_metrics(agreement: DataFrame, anchors: Mapping[str, float]) -> dict[str, float]:
    """Metrics of P5-03: `anchors`, and by each measure the number of the layer that is missed most."""
    tops = _trained(agreement)["top"]
    return {f"mse.{name}": error for name, error in anchors.items()} | {
        f"top.{measure}": HIDDEN.index(layer) + 1 for measure, layer in tops.items()
    }


def _trained(agreement: DataFrame) -> DataFrame:
    """Agreement on the trained network's hidden layers, by measure."""
    rows = agreement[(agreement["network"] == "trained") & (agreement["layers"] == len(HIDDEN))]
    return rows.set_index("measure")


def _linear(summary: DataFrame) -> DataFrame:
    """Layers replaced by the affine fit of their input, by layer."""
    return summary[summary["kind"] == "linear"].set_index("layer")
