"""Known answers of layer ablations: a planted chain of layers, and rankings counted by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise, permutations, product
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ired.instruments.core import states as points
from ired.instruments.core.check import Check, compare
from ired.instruments.core.reference_energies import Layered, References, WrappedEnergy
from ired.instruments.core.sampler import denoised
from ired.instruments.layers import ablation, ablation_damage, ablation_ranking
from ired.instruments.layers.ablation import LAYERS, Ablated, Habits, instead
from ired.instruments.statistics.regression import least_squares
from ired.model.protocol import Energy

NAME = "layer_ablation"
WIDTH, IDLE, RANK = 12, 4, 2


class Chain(WrappedEnergy):
    """E = ‖f‖² of three swish layers of [a, y] and a linear one, on the coordinates of an energy.

    fc2 is bent little enough to be affine to the last digit (its biases are 60); the landscape scales
    its pre-activations by 1 + k/20; its last IDLE units are read by nothing; f has RANK dimensions.
    """

    def __init__(self, like: Energy, generator: torch.Generator):
        super().__init__(like)
        n, size = like.coordinates.n, like.coordinates.size
        widths = [n * (n + 1) // 2 + size, WIDTH, WIDTH, WIDTH, size]

        def drawn(rows: int, columns: int) -> Tensor:
            shape = rows, columns
            return torch.randn(shape, generator=generator, dtype=torch.float64) / math.sqrt(columns)

        self.W = [drawn(b, a) for a, b in pairwise(widths)]
        self.W[2][:, -IDLE:] = 0
        self.W[3] = drawn(size, RANK) @ drawn(RANK, WIDTH)
        self.b = [torch.full((len(W),), b, dtype=torch.float64) for W, b in zip(self.W, (0, 60, 0, 1), strict=False)]
        # The affine layer's bias must not drown what the next one sees.
        self.b[2] = -60.0 * self.W[2].sum(1)

    def prepare(self, A: Tensor) -> Tensor:
        return A

    def activations(self, A: Tensor, y: Tensor, k: int) -> dict[str, Tensor]:
        h, layers = ablation.network_inputs(self, A, y), {}
        for place, layer in enumerate(LAYERS):
            h = layers[layer] = self._layer(place, h, k)
        return layers

    def resume(self, layer: str, h: Tensor, A: Tensor, k: int) -> Tensor:
        for place in range(LAYERS.index(layer) + 1, len(LAYERS)):
            h = self._layer(place, h, k)
        return h.pow(2).sum(-1)

    def _layer(self, place: int, h: Tensor, k: int) -> Tensor:
        u = F.linear(h, self.W[place].to(h.device)) * (1 + k / 20 if place == 1 else 1)
        u = u + self.b[place].to(h.device)
        return u if place == 3 else F.silu(u)

    def energy(self, A: Tensor, y: Tensor, k: int) -> Tensor:
        return self.resume("fc4", self.activations(A, y, k)["fc4"], A, k)

    def energy_and_gradient(self, A: Tensor, y: Tensor, k: int) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            y = y.detach().requires_grad_()
            energy = self.energy(A, y, k)
            return energy.detach(), torch.autograd.grad(energy.sum(), y)[0]

    def gradient(self, A: Tensor, y: Tensor, k: int) -> Tensor:
        return self.energy_and_gradient(A, y, k)[1]


class Upside(WrappedEnergy):
    """An energy times a factor."""

    def __init__(self, energy: Energy, factor: float):
        super().__init__(energy)
        self.factor = factor

    def energy(self, A: Any, y: Tensor, k: int) -> Tensor:
        return self.factor * self._energy.energy(A, y, k)

    def gradient(self, A: Any, y: Tensor, k: int) -> Tensor:
        return self.factor * self._energy.gradient(A, y, k)


def walk(
    energy: Energy,
    A: Any,
    start: Tensor,
    first: int | None = None,
    callback: Callable[[Any], None] = lambda step: None,
    clip: float = float("inf"),
) -> Tensor:
    """`denoised`, a sampler of one denoising step in every landscape, that shows where it starts."""
    last = energy.schedule.K - 1 if first is None else first
    callback(SimpleNamespace(stage="start", landscape=last, inner=0, y=start))
    return denoised(energy, A, start, first, callback, clip)


def background_problems(like: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Problems (count, n, n) beside those that are given, (P, n, n)."""
    R = 2 * torch.rand(count, *like.shape[1:], generator=generator, dtype=torch.float64) - 1
    eye = torch.eye(like.shape[-1], dtype=torch.float64)
    return (2 * R @ R.mT + 0.5 * eye).to(like)


def planned(
    chain: Chain, A: Tensor, others: Tensor, habits: Habits, generator: torch.Generator
) -> dict[tuple[str, str], Energy]:
    """Energies by (kind, layer), components at the share that keeps RANK of f's; no altered weights."""
    share = RANK / len(chain.W[3])
    plan = ablation.plan(
        chain,
        A,
        habits,
        others[:3],
        (share,),
        1,
        lambda layer: chain,
        lambda layer, share: chain,
        generator,
    )
    return {(a.kind, a.layer): a.energy for a in plan}


def check_layer_ablation(references: References, generator: torch.Generator) -> list[Check]:
    """What every ablation must leave of a planted chain, and of an ideal denoiser's samples."""
    A, ideal = references.A, replace(references.ideal, schedule=type(references.ideal.schedule)(3))
    chain = Chain(ideal, generator)
    # Three tokens of each: half as many again as an affine map of [a, y] has coefficients.
    others = background_problems(A, 8 + chain.W[0].shape[1] // 2, generator)
    # A chain that was never trained leads nowhere: states are those of the ideal denoiser's samples.
    states = ablation.tokens(ideal, others, walk, generator)
    habits = ablation.habits(chain, others, states)
    bench = ablation_damage.ablation_bench(chain, A, lambda _, *a, **b: walk(ideal, *a, **b), generator)
    ablated = planned(chain, A, others, habits, generator)
    sure = (*ablation.WHOLE, "linear", "rank_components")
    damage = {key: ablation_damage.damage_terms(energy, bench) for key, energy in ablated.items() if key[0] in sure}

    def every(kind: str, term: str) -> np.ndarray:
        return np.stack([f[term] for (name, _), f in damage.items() if name == kind])

    def check(what: str, expected: Any, measured: Any, tolerance: float = 1e-9) -> Check:
        return compare(NAME, what, expected, measured, tolerance)

    checks = [
        check(f"order after {kind} of any whole layer: chance", 0.5, every(kind, "order")) for kind in ablation.WHOLE
    ]
    checks += [
        check(f"score after {kind} of any whole layer: none", 1, every(kind, "score").mean(-1))
        for kind in ablation.WHOLE
    ]
    for kind in ("problem_mean", "linear_stack"):
        k = chain.schedule.K - 1
        third, last = (ablated[kind, layer].energy(A, bench.near[k], k) for layer in ("fc3", "fc4"))
        checks.append(check(f"{kind} of fc3 against f's, an affine map of it", 1, points.array(third / last)))
    for what, key in (
        ("a layer that is affine, by its affine fit", ("linear", "fc2")),
        ("f by its affine fit", ("linear", "fc4")),
        ("f by as many components as it has", ("rank_components", "fc4")),
    ):
        checks += [check(f"{term} lost with {what}", 0, damage[key][term]) for term in ("order", "score")]
    r2 = {
        (layer, kind): 1 - (left.sum() / total.sum()).item()
        for layer, kind, k, left, total in ablation.unexplained(chain, others, states, habits)
        if k == 0
    }
    x = torch.randn(20, WIDTH, generator=generator, dtype=torch.float64)
    bent = least_squares(torch.cat([x, -x]), torch.cat([x, -x]).abs())
    checks += [
        check("R² of an affine layer", 1, r2["fc2", "linear"]),
        check("slopes of |x| on values of both signs", 0, points.array(bent(x) - bent(-x))),
    ]
    units = torch.arange(WIDTH, device=A.device) >= WIDTH - IDLE
    values = [habit.donor[: len(A)] + 7 for habit in habits["fc2"]]
    idle = ablation_damage.damage_terms(Ablated(chain, "fc2", instead(values, units)), bench)
    checks += [check(f"{term} lost with idle units", 0, idle[term]) for term in ("order", "score")]
    return [
        *checks,
        *_donors(chain, A, others, habits, states, ablated, check),
        *_judged(chain, bench, check),
        *_sampled(ideal, A, generator, check),
    ]


def _donors(chain, A, others, habits, states, ablated, check) -> list[Check]:
    """A whole layer of another problem at its own state is that problem's energy, by any layer."""
    checks, k = [], chain.schedule.K // 2
    natural = chain.energy(others, states[k][:, 0], k)
    for layer in LAYERS:
        ablated_energy = ablated["resample", layer].energy(A, states[0][: len(A), 0], k)
        relative = (natural[None] - ablated_energy[:, None]).abs().amin(1) / ablated_energy.abs()
        checks.append(check(f"another problem's {layer} against its energy", 0, points.array(relative)))
    habit = habits["fc3"][k]
    h = chain.activations(others, states[k], k)["fc3"].flatten(0, 1)
    made = (habit.axes * habit.spread**2) @ habit.axes.mT
    return [*checks, check("covariance of the noise", points.array(torch.cov(h.mT)), points.array(made))]


def _judged(chain, bench, check) -> list[Check]:
    """Multiples of an energy: its order stays or turns round, its score errs by what was added."""
    times, turned = (ablation_damage.damage_terms(Upside(chain, factor), bench) for factor in (1.1, -1.0))
    return [
        check("order lost by a multiple", 0, times["order"]),
        check("score error of 1.1 times the energy", 0.01, times["score"].mean(-1)),
        check("order lost by the negative", 1, turned["order"]),
        check("rank correlation with the negative", -1, turned["spearman"]),
        check("score error of the negative", 4, turned["score"].mean(-1)),
    ]


def _sampled(ideal: Energy, A: Tensor, generator: torch.Generator, check) -> list[Check]:
    """An ideal denoiser answers rightly if one landscape is left to it, the last one it passes."""
    bench = ablation_damage.ablation_bench(ideal, A, walk, generator)
    nothing = Ablated(Layered(ideal), "fc1", lambda h, y, k: torch.zeros_like(h))
    root = ideal.schedule.sqrt_alpha_bar[-1].item()
    unmoved = bench.error(ideal, bench.entering[-1] / root)
    alone = ablation.Ablation("mean", "fc1", nothing)
    early = ablation_damage.one_landscape(Layered(ideal), alone, ideal.schedule.K - 1, bench)
    return [
        check("sampled error of an ideal denoiser", 0, bench.mse, 1e-12),
        check("sampled error without a layer, relative", 1, bench.sampled(nothing) / unmoved),
        check("sampled error without a layer in the first landscape passed", 0, early["mse"], 1e-12),
    ]


def check_layer_ranking(generator: torch.Generator) -> list[Check]:
    """Kendall's W and τ by hand, their p-values by enumeration, and no more alarms than promised."""
    name = "layer_ranking"
    alike = ablation_ranking.concordance([[3, 2, 1]] * 3)
    votes = np.array([[3.0, 2.0, 1.0], [3.0, 1.0, 2.0], [2.0, 3.0, 1.0]])
    mixed = ablation_ranking.concordance(votes)
    # Rank sums 4, 6, 8 of 3 voters: S = 8 of 18.
    all_sums = [np.sum(orders, 0) for orders in product(permutations((1, 2, 3)), repeat=3)]
    p = np.mean([((sums - 6) ** 2).sum() >= 8 for sums in all_sums])
    same, reverse = ablation_ranking.ranking_likeness(votes, votes), ablation_ranking.ranking_likeness(votes, -votes)
    rng = np.random.default_rng(int(torch.randint(2**31, (), generator=generator)))
    null = [ablation_ranking.concordance(rng.random((5, 3))).p < 0.05 for _ in range(200)]
    return [
        Check(name, "W of three that agree", expected=1, measured=alike.w, tolerance=1e-12),
        Check(name, "its p", expected=1 / 36, measured=alike.p, tolerance=1e-12),
        Check(name, "W by hand", expected=8 / 18, measured=mixed.w, tolerance=1e-12),
        Check(name, "its p by enumeration", expected=p, measured=mixed.p, tolerance=1e-12),
        Check(name, "tau of rankings with themselves", expected=1, measured=same.tau, tolerance=1e-12),
        Check(name, "its p", expected=1 / 216, measured=same.p, tolerance=1e-12),
        Check(name, "tau with the reverse", expected=-1, measured=reverse.tau, tolerance=1e-12),
        # Four standard deviations of a share of 0.05 in 200 trials.
        Check(
            name,
            "share of p < 0.05 among random rankings",
            expected=0.05,
            measured=float(np.mean(null)),
            tolerance=0.062,
        ),
    ]
