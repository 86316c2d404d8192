"""The energy as a sum over its outputs, and attribution graphs between sparse dictionaries (Marks et al. 2024, arXiv
2403.19647), as P5-04 looks at them: tables and verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pandas import DataFrame
from torch import Tensor

from ired.instruments.circuits import energy_outputs, feature_paths, output_entries
from ired.instruments.circuits.dictionary_graphs import CodedNetwork, Graphs
from ired.instruments.circuits.energy_outputs import Frames
from ired.instruments.circuits.feature_paths import LAYERS
from ired.instruments.core import states
from ired.instruments.core.states import array
from ired.instruments.dictionaries.features import Places
from ired.instruments.statistics.intervals import mean_interval, paired_interval, ratio_interval
from ired.model.protocol import Energy


def noised_answers(energy: Energy, A: Tensor, y0: Tensor, draws: int, generator: torch.Generator) -> Places:
    """`draws` noised answers in every landscape of problems A (P, n, n), a problem's side by side."""
    K, P = energy.schedule.K, len(A)
    problem = torch.arange(P, device=A.device).repeat_interleave(K * draws)
    k = torch.arange(K, device=A.device).repeat_interleave(draws).repeat(P)
    noise = states.noise(energy, len(k), generator=generator, like=A)
    root, sigma = (energy.schedule.at(name, k, noise) for name in ("sqrt_alpha_bar", "sigma"))
    home = root * y0[problem]
    return Places(A=A[problem], y=home + sigma * noise, reference=home, k=k, problem=problem)


# Outputs


def outputs(
    energies: Mapping[str, Energy],
    A: Tensor,
    y0: Tensor,
    landscapes: Sequence[int],
    states: int,
    draws: int,
    generator: torch.Generator,
) -> tuple[dict[str, DataFrame], dict[str, NDArray]]:
    """Tables participation, diagonal, parts, own, fairness (a row an energy and landscape …), by_problem (energy,
    landscape, problem; needed: share of the outputs for 80 % of its gap; own: share of the gap of output i from
    coordinate i), and
    shares of gap, score and what is beyond its blind part as matrices (n, n) that sum to 1, by
    "energy.k.measure.basis", with "energy.k.carried", mean |gap of output i from coordinate j|.

    A (P, n, n) with answers y0 (P, d), at `states` noised answers of each in each landscape; draws: random turns.
    """
    rows = {name: [] for name in ("participation", "diagonal", "parts", "own", "fairness", "by_problem")}
    pictures, state = {}, generator.get_state()
    for name, energy in energies.items():
        generator.set_state(state)  # the same states and turns for all
        n, size = energy.coordinates.n, energy.coordinates.size
        frames = Frames.of(energy, A, draws, generator)
        on_diagonal = array(energy_outputs.from_matrix(energy, torch.eye(n))) > 0
        for k in landscapes:
            cell = {"energy": name, "landscape": k}
            split = energy_outputs.split_by_output(energy, A, y0, k, frames, states, generator)
            carry = {(t.measure, t.basis): energy_outputs.output_participation(t) for t in split.terms}
            for terms in split.terms:
                measure, basis = terms.measure, terms.basis
                of_terms = cell | {"measure": measure, "basis": basis}
                carried = carry[measure, basis]
                chance = carry[measure, "foreign" if basis == "eigen" else "turned"]
                rows["participation"].append(
                    of_terms
                    | carried.interval.columns("share")
                    | carried.beside(chance).columns("beside")
                    | {"fewest_turn": carry[measure, "turned"].fewest}
                )
                if basis in ("entry", "eigen"):
                    share = terms.share(on_diagonal)
                    rows["diagonal"].append(of_terms | share.columns("share") | {"chance": n / size})
                    mean = torch.from_numpy(terms.signed.sum(0) / terms.whole.sum())
                    pictures[f"{name}.{k}.{measure}.{basis}"] = array(energy_outputs.as_matrix(energy, mean))
            parts = dict(zip(energy_outputs.PARTS, split.parts.T, strict=True)) | {"along": split.along}
            for part, value in parts.items():
                share = ratio_interval(value * split.gap, split.gap**2)
                rows["parts"].append(cell | {"part": part} | share.columns("share") | {"constant": split.constant})
            entries = output_entries.carried(energy, A, y0, k, frames, generator)
            pictures[f"{name}.{k}.carried"] = entries.matrix
            for basis in energy_outputs.BASES:
                share = mean_interval(entries.diagonal[basis])
                beside = paired_interval(entries.diagonal[basis], entries.diagonal["turned"])
                rows["own"].append(
                    cell
                    | {"basis": basis}
                    | share.columns("share")
                    | beside.columns("beside")
                    | {"largest_turn": float(entries.turns.max()), "error": float(np.median(entries.error))}
                )
            needed = next(t.size for t in split.terms if (t.measure, t.basis) == ("gap", "entry"))
            rows["by_problem"] += [
                cell | {"problem": problem, "needed": share, "own": of_own}
                for problem, (share, of_own) in enumerate(
                    zip(energy_outputs.share_needed(needed), entries.diagonal["entry"], strict=True)
                )
            ]
            fair = output_entries.fairness(energy, A, y0, k, generator)
            for what, pairs in (("outputs", fair.outputs), ("other", fair.chance), ("gap", fair.gap)):
                share = ratio_interval(*pairs.T)
                rows["fairness"].append(cell | {"what": what} | share.columns("share"))
    return {name: DataFrame(table) for name, table in rows.items()}, pictures


# Verdicts


def outputs_beside(by_problem: DataFrame, measure: str) -> dict[str, NDArray]:
    """A measure of the table by_problem at k = 0, by energy: (P,)."""
    sharpest = by_problem[by_problem["landscape"] == 0]
    return {name: rows[measure].to_numpy() for name, rows in sharpest.groupby("energy", sort=False)}


def circuit_verdicts(terms: Mapping[str, DataFrame], graphs: Graphs) -> dict[str, tuple[bool, dict[str, float]]]:
    """The criteria of P5-04, met or not, with the numbers behind them; terms: the tables of `outputs`."""
    entry, eigen = (
        terms["participation"]
        .query(f"energy == 'trained' and landscape == 0 and measure == 'gap' and basis == '{basis}'")
        .iloc[0]
        for basis in ("entry", "eigen")
    )
    diagonal = terms["own"].query("energy == 'trained' and landscape == 0 and basis == 'entry'").iloc[0]
    correlations = [*(step.size for step in graphs.verified), graphs.agreement.size]
    least, nearest = min(correlations, key=lambda interval: interval.low), graphs.nearest()
    return {
        "few_outputs_carry_the_gap": (
            entry.share_high < 0.25 and entry.beside_high < 0 and entry.share < entry.fewest_turn,
            {
                "share": entry.share,
                "high": entry.share_high,
                "beside_high": entry.beside_high,
                "fewest_turn": entry.fewest_turn,
            },
        ),
        "outputs_are_entries": (
            diagonal.beside_low > 0 and diagonal.share > diagonal.largest_turn,
            {
                "share": diagonal.share,
                "beside": diagonal.beside,
                "low": diagonal.beside_low,
                "largest_turn": diagonal.largest_turn,
            },
        ),
        "gap_follows_eigen_directions": (
            eigen.beside_high < 0,
            {"share": eigen.share, "beside": eigen.beside, "high": eigen.beside_high},
        ),
        "edges_verified": (
            least.low > 0.8,
            {"rank_correlation": least.estimate, "low": least.low},
        ),
        "graph_is_sparser_than_chance": (
            nearest.high < 0,
            {"nearest": nearest.estimate, "high": nearest.high},
        ),
    }


def strongest_chains(
    graphs: Graphs, trained: CodedNetwork, tokens: Places, properties: Mapping[str, NDArray], ends: int, parents: int
) -> tuple[DataFrame, DataFrame]:
    """Chains, the strongest first, with each link's mean effect; and the features in them.

    properties (P,) of the tokens' problems, by name; ends, parents: see `feature_paths.candidate_chains`.
    """
    candidates = feature_paths.candidate_chains(graphs.studied, graphs.gap, ends, parents)
    table = DataFrame(
        feature_paths.chain_effects(trained.energy, trained.layers, trained.dictionaries, tokens, candidates)
    )
    for n, edges in enumerate(graphs.studied):
        table[f"link_{n + 1}"] = edges.signed[table[LAYERS[n]], table[LAYERS[n + 1]]]
    table["score_share"] = graphs.reach.share[table[LAYERS[2]]]
    table["share_of_gap"] = table["size"] / graphs.gap.together
    table = table.sort_values("size", ascending=False, kind="stable", ignore_index=True)
    nodes: list[dict[str, Any]] = []
    for layer, d, h in zip(LAYERS, trained.dictionaries, trained.h, strict=True):
        chosen = sorted(set(table[layer]))
        described = feature_paths.described_features(d, h, chosen, tokens.k, tokens.problem, properties)
        nodes += DataFrame(described).assign(layer=layer).to_dict("records")
    return table, DataFrame(nodes)


def circuit_metrics(terms: Mapping[str, DataFrame], graphs: Graphs, chains: DataFrame) -> dict[str, float]:
    """Metrics of P5-04: the gap along the constant output, verification, sparsity, chains."""
    along = terms["parts"].query("part == 'along'")
    metrics = {f"{row.energy}.k{row.landscape}.gap_along_constant": row.share for row in along.itertuples()}
    checked = dict(zip(("fc2", "fc3"), graphs.verified, strict=True)) | {"gap": graphs.agreement}
    for place, agreement in checked.items():
        metrics |= {f"{place}.edges.{name}": getattr(agreement, name).estimate for name in ("size", "signed", "slope")}
    for row in graphs.table.itertuples():
        layer = row.step[-3:]
        metrics |= {
            f"{layer}.{row.graph}.{what}": getattr(row, what) for what in ("edges", "parents", "within", "rest")
        }
    size, slope = feature_paths.chain_agreement(chains)
    return metrics | {
        "chains.agreement": size.estimate,
        "chains.slope": slope.estimate,
        "score.past_the_features": graphs.reach.rest,
    }
