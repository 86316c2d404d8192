"""Influence functions beside TracIn and gradient similarity on the same networks, validated by retraining
(linear datamodeling score), and what the influential problems have in common."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pandas import DataFrame
from torch import Tensor

from ired.instruments.core import states
from ired.instruments.core.sampler import Sampler
from ired.instruments.influence import gradients, problem_properties, validation
from ired.instruments.influence.captum_tracin import captum_tracin
from ired.instruments.influence.gradients import METHODS
from ired.instruments.influence.outcomes import (
    OUTCOMES,
    Draws,
    relative_energy_gaps,
    sampled_errors,
    score_errors,
)
from ired.instruments.influence.removal import Removal
from ired.instruments.influence.validation import HeldOutLds
from ired.model.protocol import Energy

# An outcome that is better when it is larger.
BETTER = {"score_error": -1.0, "energy_gap": 1.0, "sampled_error": -1.0}
ROWS = 512  # points that a Gauss-Newton product handles at once


@dataclass(frozen=True)
class Trained:
    """One trained network as influence sees it.

    parameters: its weights, with gradients; score(θ, A, y, k): its score as a function of them, in
    basis coordinates; past: (learning rate, energy, parameters) along its training, for TracIn.
    """

    energy: Energy
    parameters: Sequence[Tensor]
    score: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
    past: Sequence[tuple[float, Energy, Sequence[Tensor]]]

    @classmethod
    def of(cls, energy: Any, as_function: Callable, past: Sequence[tuple[float, Any]]) -> Trained:
        """Of a torch module, with what makes it a function of its weights, and (rate, module)
        before."""
        older = [(rate, module, list(module.parameters())) for rate, module in past]
        return cls(energy, list(energy.parameters()), as_function(energy), older)


@dataclass
class Influences:
    """Influences by method, each (S, outcome, T, N), S dampings or 1, means over networks.

    dampings: multiples of the largest eigenvalue; solved: a row for each network and damping;
    convergence: ‖mean ∇ℓ‖ over the root mean square of ‖∇ℓ_i‖, one for each network.
    """

    dampings: Sequence[float]
    by: dict[str, NDArray] = field(default_factory=dict)
    solved: list[dict] = field(default_factory=list)
    convergence: list[float] = field(default_factory=list)

    def at(self, method: str, outcome: str) -> NDArray:
        return self.by[method][:, OUTCOMES.index(outcome)]


def outcome_gradients(energy: Energy, parameters: Sequence[Tensor], test: Draws, sampler: Sampler) -> Tensor:
    """∇θ of every outcome of every test problem, (outcomes · T, p)."""
    outcomes = (
        lambda rows: score_errors(energy, test[rows]),
        lambda rows: relative_energy_gaps(energy, test[rows]),
        lambda rows: sampled_errors(energy, test[rows], sampler),
    )
    return torch.cat([gradients.gradients(outcome, parameters, len(test.A)) for outcome in outcomes])


def loss_gradients(energy: Energy, parameters: Sequence[Tensor], train: Draws) -> Tensor:
    """∇θ of the training loss of every problem, (N, p): the error of its score over fixed draws."""
    return gradients.gradients(lambda rows: score_errors(energy, train[rows]), parameters, len(train.A))


def all_points(energy: Energy, draws: Draws) -> tuple[Tensor, Tensor, Tensor]:
    """A, y and k of every draw of every problem in every landscape, problem by problem."""
    K, P, R = draws.noise.shape[:3]
    y = torch.stack(
        [
            states.centre(energy, draws.y0, k)[:, None] + states.sigma(energy, k) * noise
            for k, noise in enumerate(draws.noise)
        ],
        dim=1,
    )
    k = torch.arange(K, device=draws.A.device).repeat_interleave(R).repeat(P)
    return draws.A.repeat_interleave(K * R, 0), y.flatten(0, 2), k


def compute_influences(
    networks: Sequence[Trained],
    train: Draws,
    test: Draws,
    sampler: Sampler,
    dampings: Sequence[float],
    rounds: int,
    tolerance: float = 1e-2,
    tick: Callable[[int], None] = lambda done: None,
) -> Influences:
    """Influences of the training problems on all outcomes of the test problems, by every method."""
    result = Influences(dampings)
    shape = len(OUTCOMES), len(test.A), len(train.A)
    for net in networks:
        F = outcome_gradients(net.energy, net.parameters, test, sampler)
        g = loss_gradients(net.energy, net.parameters, train)
        theta = torch.cat([w.detach().flatten() for w in net.parameters])
        parts = zip(*(t.split(ROWS) for t in all_points(net.energy, train)), strict=True)
        outputs = [lambda th, part=part, net=net: net.score(th, *part) for part in parts]
        product = gradients.gauss_newton(outputs, theta)
        solved = gradients.conjugate_gradients(product, F, dampings=dampings, tolerance=tolerance, limit=rounds)
        past = [(rate, outcome_gradients(e, w, test, sampler), loss_gradients(e, w, train)) for rate, e, w in net.past]
        by = {
            "gauss_newton": gradients.by_gauss_newton(solved, g),
            "fisher": gradients.by_fisher(F, g, dampings)[0],
            "tracin": gradients.by_tracin(*zip(*past, strict=True))[None],
            "product": gradients.by_product(F, g)[None],
            "cosine": gradients.by_cosine(F, g)[None],
        }
        for name, values in by.items():
            mean = states.array(values.view(-1, *shape)) / len(networks)
            result.by[name] = result.by.get(name, 0.0) + mean
        result.convergence.append(float(g.mean(0).norm() / g.square().sum(1).mean().sqrt()))
        result.solved += [
            {
                "damping": d,
                "lambda": used,
                "residual_mean": r.mean().item(),
                "residual_max": r.max().item(),
                "products": solved.products,
                "top": solved.top,
            }
            for d, used, r in zip(dampings, solved.dampings.tolist(), solved.residual, strict=True)
        ]
        tick(1)
    return result


def difference_from_captum(net: Trained, train: Draws, test: Draws) -> float:
    """How far TracIn on score errors is from captum's exact one, as a share of its largest value."""
    past = [(rate, {name: w.detach().clone() for name, w in e.state_dict().items()}) for rate, e, _ in net.past]
    ours = gradients.by_tracin(
        *zip(*[(rate, loss_gradients(e, w, test), loss_gradients(e, w, train)) for rate, e, w in net.past], strict=True)
    )

    def rows(draws: Draws) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        A, y, k = all_points(net.energy, draws)
        basis = net.energy.coordinates.to_basis
        inputs = net.energy.inputs(A), basis(y), k
        noise = basis(draws.noise.transpose(0, 1).flatten(1, 2))
        return (*(t.unflatten(0, (len(draws.A), -1)) for t in inputs), noise)

    theirs = -captum_tracin(copy.deepcopy(net.energy), past, rows(train), rows(test)).to(ours)
    return float((ours - theirs).abs().max() / theirs.abs().max())


@dataclass(frozen=True)
class Validated:
    """table: a row each method and outcome (lds, low, high, beside gauss_newton: ahead, ahead_low,
    ahead_high); sweep: a row each method, outcome and damping; problems: LDS of every test problem;
    judged[method, outcome]."""

    table: list[dict]
    sweep: list[dict]
    problems: list[dict]
    judged: dict[tuple[str, str], HeldOutLds]

    def row(self, method: str, outcome: str) -> dict:
        return next(r for r in self.table if (r["method"], r["outcome"]) == (method, outcome))


def validate(influences: Influences, masks: NDArray, outcomes: dict[str, NDArray]) -> Validated:
    """LDS of every method for every outcome.

    masks (M, N) subsets; outcomes: name → (3, M, T) of two retrainings on each subset, and of a
    third from other first weights, which is judged with the damping that was chosen on the first
    two.
    """
    table, sweep, problems, judged = [], [], [], {}
    for outcome in OUTCOMES:
        actual = outcomes[outcome][:2].mean(0)
        top = validation.ceiling(outcomes[outcome][:2].swapaxes(0, 1))
        ours = influences.at(METHODS[0], outcome)
        for method in METHODS:
            values = influences.at(method, outcome)
            judgement = judged[method, outcome] = validation.held_out_lds(values, masks, actual)
            lds = validation.lds_interval(values, judgement, masks, actual)
            elsewhere = validation.lds_values(values[judgement.chosen[0]], masks, outcomes[outcome][2])
            row = {
                "outcome": outcome,
                "method": method,
                "lds": lds.estimate,
                "low": lds.low,
                "high": lds.high,
                "ceiling": top,
                "other_weights": float(elsewhere.mean()),
                "damping": influences.dampings[judgement.chosen[0]] if len(values) > 1 else 0.0,
            }
            if method != METHODS[0]:
                lead = validation.lds_interval(
                    ours, judged[METHODS[0], outcome], masks, actual, against=(values, judgement)
                )
                row |= {"ahead": lead.estimate, "ahead_low": lead.low, "ahead_high": lead.high}
            table.append(row)
            problems += [
                {"outcome": outcome, "method": method, "problem": t, "lds": float(s)}
                for t, s in enumerate(judgement.scores)
            ]
            every = validation.lds_values(values, masks, actual)
            sweep += [
                {
                    "outcome": outcome,
                    "method": method,
                    "lds": float(s.mean()),
                    "damping": influences.dampings[i] if len(values) > 1 else 0.0,
                }
                for i, s in enumerate(every)
            ]
    return Validated(table, sweep, problems, judged)


def helpfulness(influences: Influences, judged: dict, outcome: str = "score_error") -> NDArray:
    """By how much each training problem betters an outcome, (T, N), by Gauss-Newton influence.

    At the damping that was best on the first part of the subsets.
    """
    chosen = judged["gauss_newton", outcome].chosen[0]
    return BETTER[outcome] * influences.at("gauss_newton", outcome)[chosen]


def pull(energy: Energy, parameters: Sequence[Tensor], train: Draws, test: Draws, chunk: int = 16) -> NDArray:
    """Cosines (T, N) of the gradients of score errors: which problems pull a network's score the
    same way.

    Only the test problems' gradients are kept, so that large networks are no trouble.
    """
    directions = torch.nn.functional.normalize(loss_gradients(energy, parameters, test), dim=1)
    cosines = []
    for start in range(0, len(train.A), chunk):
        g = loss_gradients(energy, parameters, train[slice(start, start + chunk)])
        cosines.append(directions @ torch.nn.functional.normalize(g, dim=1).T)
    return states.array(torch.cat(cosines, dim=1))


def influence_verdicts(validated: Validated, removal: Removal) -> dict[str, tuple[bool, dict[str, float]]]:
    """The criteria of P6-02, met or not, with the numbers behind them."""
    ours = [validated.row("gauss_newton", outcome) for outcome in OUTCOMES]
    rivals = [validated.row(m, outcome) for m in ("product", "cosine") for outcome in OUTCOMES]
    hurt = removal.paired()
    return {
        "lds_above_zero": (
            all(row["low"] > 0 for row in ours),
            {"lowest": min(row["lds"] for row in ours), "low": min(row["low"] for row in ours)},
        ),
        "beats_gradient_similarity": (
            all(row["ahead_low"] > 0 for row in rivals),
            {"ahead": min(r["ahead"] for r in rivals), "low": min(r["ahead_low"] for r in rivals)},
        ),
        "removal_hurts_more_than_random": (
            hurt.low > 0,
            {"difference": hurt.estimate, "low": hurt.low, "high": hurt.high},
        ),
    }


def tables(
    influences: Influences,
    validated: Validated,
    helps: NDArray,
    removal: Removal,
    train: dict[str, NDArray],
    test: dict[str, NDArray],
    distances: NDArray,
) -> dict[str, DataFrame]:
    """Tables of P6-02 by name; helps, distances (T, N) and the problems' properties as
    `problem_properties.what_matters` takes them."""
    rows = {
        "lds": validated.table,
        "sweep": validated.sweep,
        "problems": validated.problems,
        "solved": influences.solved,
        "matter": problem_properties.what_matters(helps, train, test, distances),
        "removal": removal.rows(),
        "removed": removal.by,
        "training": train | problem_properties.help_by_problem(helps),
    }
    return {name: DataFrame(table) for name, table in rows.items()}


def influence_metrics(
    influences: Influences,
    validated: Validated,
    removal: Removal,
    whole: dict[str, NDArray],
    halved: dict[str, NDArray],
) -> dict[str, float]:
    """Metrics of P6-02: LDS of every method and outcome, ceilings, convergence, removal; and the mean outcomes
    of networks trained on everything and on halves, whose outcomes `whole` and `halved` hold by name."""
    logged = {f"lds.{r['outcome']}.{r['method']}": r["lds"] for r in validated.table}
    for outcome in OUTCOMES:
        row = validated.row("gauss_newton", outcome)
        logged |= {
            f"ceiling.{outcome}": row["ceiling"],
            f"damping.{outcome}": row["damping"],
            f"other_weights.{outcome}": row["other_weights"],
            f"whole.{outcome}": float(whole[outcome].mean()),
            f"halved.{outcome}": float(halved[outcome].mean()),
        }
    logged |= {f"removal.{r['arm'].replace(' ', '_')}": r["mean"] for r in removal.rows()}
    harm = removal.paired("random", "most harmful to all")
    return logged | {
        "removal.noise": removal.noise,
        "removal.harmful_below_random": harm.estimate,
        "removal.harmful_below_random.low": harm.low,
        "convergence": float(np.mean(influences.convergence)),
        "residual": max(row["residual_max"] for row in influences.solved),
    }
