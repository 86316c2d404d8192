"""Which entries of the problem and of the state a number of the network comes from.

Integrated gradients (Sundararajan, Taly & Yan, ICML 2017) by captum, from several baselines, because
the choice matters; expected gradients (Erion et al. 2021) are their mean over random problems. Beside
them the simple methods, Shapley values, infidelity and sensitivity (Yeh et al., NeurIPS 2019), and
what attributions can be held against here: the exact sensitivity of the inverse, dY = −Y dA Y.

A problem and its state move together along a path, from (A′, y′) to (A, y), so that the attributions
of both add up to one difference. The energy carries a free offset that depends on A alone, hence
what is explained is a gap to the answer's energy, or the score, never the energy itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from pandas import DataFrame, Series
from torch import Tensor, nn

from ired.instruments.core import states as points
from ired.instruments.core.directions import STATE, Direction
from ired.instruments.core.energy_gap import above_first
from ired.instruments.statistics.intervals import Interval, mean_interval, paired_interval
from ired.instruments.statistics.tables import per_unit, summarise
from ired.model.protocol import Energy

Pair = tuple[Tensor, Tensor]
Answer = Callable[..., Tensor]  # (A (B, n, n), start=(B, d)), a problem and a start, to answers (B, d)
Explain = Callable[[Pair], Pair]
Case = tuple[str, str, int]  # target, baseline, landscape

WITHIN, SHARE = 0.01, 0.95  # completeness errors below WITHIN, in a SHARE of all cases
FLOOR = 0.01  # the least denominator of such an error, in medians of the difference explained
ENUMERATED = 12  # features whose 2^m subsets are all tried; more are sampled
ROWS = 1024  # rows that go through a network at once


# What is explained


@dataclass(frozen=True)
class Target:
    """A number of each problem, value(A (B, n, n), y (B, d), *given) -> (B,), differentiable by both.

    given: tensors (B, …) of each problem that stay as they are along every path.
    """

    name: str
    value: Callable[..., Tensor]
    given: tuple[Tensor, ...] = ()

    def __call__(self, A: Tensor, y: Tensor) -> Tensor:
        return self.value(A, y, *self.given)

    def repeated(self, times: int, together: bool = False) -> Target:
        """For all problems `times` over, or `together`: for each problem `times` in a row."""
        given = tuple(
            g.repeat_interleave(times, 0) if together else g.repeat(times, 1) for g in self.given
        )
        return Target(self.name, self.value, given)


def gap(energy: Energy, k: int, y0: Tensor) -> Target:
    """E_k(A, y) − E_k(A, y*), y* = √ᾱ_k y₀ the answer (P, d) of the problem that is explained.

    y* stays the same along a path: on the way from zero A is singular and has no answer, and a gap to
    a moving answer would credit A with what inversion does, which the network is not asked for.
    """

    def value(A: Tensor, y: Tensor, answer: Tensor) -> Tensor:
        return above_first(energy.energy(A, torch.stack((answer, y), 1), k))[:, 1]

    return Target("gap", value, (points.centre(energy, y0, k),))


def score(energy: Energy, k: int, entry: tuple[int, int]) -> Target:
    """One entry of ∇_y E_k(A, y), as an n×n matrix."""
    place = entry[0] * energy.coordinates.n + entry[1]
    kind = "diagonal" if entry[0] == entry[1] else "off-diagonal"
    return Target(f"{kind} score", lambda A, y: energy.gradient(A, y, k)[:, place])


def sampled_error(answer: Answer, y0: Tensor) -> Target:
    """The mean squared error per entry of the sampled answer to y₀ (P, d), which is held fixed, as a
    function of the problem and of the state that sampling starts from."""
    return Target("sampled error", lambda A, y, y0: (answer(A, start=y) - y0).pow(2).mean(-1), (y0,))


# Where paths begin


@dataclass(frozen=True)
class Baseline:
    """R beginnings for each of P problems: A (R, P, n, n), y (R, P, d)."""

    name: str
    A: Tensor
    y: Tensor


def baselines(
    energy: Energy, k: int, A: Tensor, mean: float, background: Tensor, generator: torch.Generator
) -> dict[str, Baseline]:
    """The beginnings of paths to problems A (P, n, n) in landscape k, by name.

    zero: A′ = 0, y′ = 0, in the coordinates of the landscapes (where they are standardised, y = 0 is a
    multiple of I). identity: A′ = I and its answer there, √ᾱ_k·encode(I). mean: A′ = mean·I, what
    training problems are on average, and √ᾱ_k times the mean answer of the background. random: the
    background's problems (R, P, n, n) with noised answers, as in training; the mean over them is
    expected gradients. All but zero are positive definite, and so are all problems on their paths.
    """
    eye = torch.eye(A.shape[-1]).to(A)
    zero = A.new_zeros(len(A), energy.coordinates.d)
    others = points.answers(energy, background.flatten(0, 1))
    states = points.noised(energy, others, k, 1, generator)[0][:, 0]

    def same(name: str, A_: Tensor, y: Tensor) -> Baseline:
        return Baseline(name, A_.expand_as(A)[None], y.expand_as(zero)[None])

    found = (
        same("zero", 0 * eye, zero),
        same("identity", eye, points.centre(energy, energy.coordinates.encode(eye), k)),
        same("mean", mean * eye, points.centre(energy, others.mean(0), k)),
        Baseline("random", background, states.unflatten(0, background.shape[:2])),
    )
    return {baseline.name: baseline for baseline in found}


@dataclass(frozen=True)
class Scene:
    """P problems A (P, n, n) with answers y₀ (P, d) at states y (P, d) of landscape k, and where the
    paths to them begin."""

    k: int
    A: Tensor
    y0: Tensor
    y: Tensor
    begins: dict[str, Baseline]

    def first(self, count: int) -> Scene:
        """Of the first `count` problems."""
        begins = {
            name: Baseline(name, begin.A[:, :count], begin.y[:, :count])
            for name, begin in self.begins.items()
        }
        return Scene(self.k, self.A[:count], self.y0[:count], self.y[:count], begins)

    def definite(self) -> Scene:
        """Without the baseline on whose paths problems are singular."""
        begins = {name: begin for name, begin in self.begins.items() if name != "zero"}
        return replace(self, begins=begins)


def scene(
    energy: Energy, k: int, A: Tensor, mean: float, background: Tensor, generator: torch.Generator
) -> Scene:
    """Problems at noised answers, as in training, with all `baselines`."""
    y0 = points.answers(energy, A)
    y = points.noised(energy, y0, k, 1, generator)[0][:, 0]
    return Scene(k, A, y0, y, baselines(energy, k, A, mean, background, generator))


# Integrated gradients


@dataclass(frozen=True)
class Paths:
    """Integrated gradients of P problems from R baselines each.

    gradients: by every part of the input ((A, y), or (activations,)) the gradient's mean along the
    path, (R, P, …); steps: what x − x′ was, of the same shapes; change (R, P): F(x) − F(x′);
    count: places on the path where the gradient was taken.
    """

    gradients: tuple[Tensor, ...]
    steps: tuple[Tensor, ...]
    change: Tensor
    count: int

    def attributions(self) -> tuple[Tensor, ...]:
        """(x − x′) ∘ gradient of every part, the mean over baselines, (P, …)."""
        return tuple((g * s).mean(0) for g, s in zip(self.gradients, self.steps, strict=True))

    def error(self) -> Tensor:
        """|Σ attributions − change| / |change|, (R, P); the denominator is at least FLOOR times the
        median |change|, for where nothing changes nothing can be a share of it."""
        total = sum((g * s).flatten(2).sum(2) for g, s in zip(self.gradients, self.steps, strict=True))
        size = self.change.abs()
        floor = max(FLOOR * size.median().item(), torch.finfo(size.dtype).tiny)
        return (total - self.change).abs() / size.clamp_min(floor)

    def complete(self) -> bool:
        return (self.error() < WITHIN).double().mean().item() >= SHARE


Integrate = Callable[[int], Paths]


def until_complete(integrate: Integrate, first: int = 8, most: int = 128) -> Paths:
    """integrate(count) with the count doubled from `first` until it is complete, up to `most`."""
    count = first
    while not (found := integrate(count)).complete() and 2 * count <= most:
        count *= 2
    return found


def integrate(
    target: Target, A: Tensor, y: Tensor, baseline: Baseline, count: int, rows: int = ROWS
) -> Paths:
    """Integrated gradients by Gauss–Legendre quadrature with `count` places, all problems of A at once.

    captum's weights are float32: sums are right to about 1e-7 of their terms.
    """
    from captum.attr import IntegratedGradients

    times, number = baseline.A.shape[:2]
    begin = baseline.A.flatten(0, 1), baseline.y.flatten(0, 1)
    end = A.repeat(times, 1, 1), y.repeat(times, 1)
    target = target.repeated(times)
    gradients = IntegratedGradients(target.value, multiply_by_inputs=False).attribute(
        end, begin, additional_forward_args=target.given or None, n_steps=count,
        method="gausslegendre", internal_batch_size=max(rows, times * number),
    )  # fmt: skip
    with torch.no_grad():
        change = target(*end) - target(*begin)
    parts = (v.detach().unflatten(0, (times, number)) for v in (*gradients, change))
    *gradients, change = parts
    steps = tuple(
        (x - x_).unflatten(0, (times, number)) for x, x_ in zip(end, begin, strict=True)
    )
    return Paths(tuple(gradients), steps, change, count)


def explained(
    targets: Sequence[Target], at: Scene, most: int = 128, rows: int = ROWS
) -> dict[Case, Paths]:
    """Every target from every baseline, each with as many places as completeness asks for."""
    return {
        (target.name, name, at.k): until_complete(
            partial(integrate, target, at.A, at.y, begin, rows=rows), most=most
        )
        for target in targets
        for name, begin in at.begins.items()
    }


def all_explained(
    energies: Mapping[str, Energy], scenes: Sequence[Scene], entries: Sequence[tuple[int, int]]
) -> dict[str, dict[Case, Paths]]:
    """By energy: the chosen entries of its score; and of the "trained" one the gap. Only the trained
    one's paths begin at zero too: the ideal energy has to invert what is on them."""
    found: dict[str, dict[Case, Paths]] = {name: {} for name in energies}
    for at in scenes:
        for name, energy in energies.items():
            targets = [score(energy, at.k, entry) for entry in entries]
            if name == "trained":
                found[name] |= explained([gap(energy, at.k, at.y0), *targets], at)
            else:
                found[name] |= explained(targets, at.definite())
    return found


class Tapped(nn.Module):
    """The gap E_k(A, y) − E_k(A, y*) with the activations of one layer passing through `tap`, where
    captum can take hold of them."""

    def __init__(self, energy: Energy, layer: str, k: int):
        super().__init__()
        self.tap = nn.Identity()
        self._given = energy, layer, k  # in a tuple: the energy is no part of this module

    def forward(self, A: Tensor, y: Tensor, answer: Tensor) -> Tensor:
        energy, layer, k = self._given
        prepared = energy.prepare(A)
        h = self.tap(energy.activations(prepared, y, k)[layer])
        return energy.resume(layer, h, prepared, k) - energy.energy(prepared, answer, k)


def integrate_layer(
    energy: Energy, layer: str, k: int, A: Tensor, y: Tensor, y0: Tensor, count: int, rows: int = ROWS
) -> Paths:
    """Layer integrated gradients of the gap, one part: the layer's activations (1, P, width).

    The path leads from the activations at the answer y* to those at the state y (P, d), of the same
    problem in the same landscape: what it explains is the gap itself and no offset between problems.
    """
    from captum.attr import LayerIntegratedGradients

    tapped, answer = Tapped(energy, layer, k), points.centre(energy, y0, k)
    gradient = LayerIntegratedGradients(tapped, tapped.tap, multiply_by_inputs=False).attribute(
        (A, y), (A, answer), additional_forward_args=(answer,), n_steps=count,
        method="gausslegendre", internal_batch_size=max(rows, len(A)),
    )  # fmt: skip
    with torch.no_grad():
        here, there = (energy.activations(A, state, k)[layer] for state in (y, answer))
        change = tapped(A, y, answer)
    return Paths((gradient.detach()[None],), ((here - there)[None],), change[None], count)


def layers_explained(energy: Energy, layers: Sequence[str], at: Scene) -> dict[Case, Paths]:
    """The gap by the activations of every layer, baseline "answer"."""
    return {
        (f"gap by {layer}", "answer", at.k): until_complete(
            partial(integrate_layer, energy, layer, at.k, at.A, at.y, at.y0)
        )
        for layer in layers
    }


# The other methods


@contextmanager
def seeded(seed: int, like: Tensor) -> Iterator[None]:
    """torch's own random numbers, which captum draws from, as after a seed; then as before."""
    with torch.random.fork_rng([like.device] if like.is_cuda else []):
        torch.manual_seed(seed)
        yield


@dataclass(frozen=True)
class Spread:
    """How far inputs spread: A (n, n), each entry's standard deviation over problems, and y, the root
    mean square of states' entries about their mean."""

    A: Tensor
    y: float

    @classmethod
    def of(cls, baseline: Baseline) -> Spread:
        A, y = baseline.A.flatten(0, 1), baseline.y.flatten(0, 1)
        return cls(A.std(0), (y - y.mean(0)).pow(2).mean().sqrt().item())


def explainers(
    target: Target, number: int, begins: Mapping[str, Baseline], spread: Spread, count: int,
    samples: int, seed: int, noise: float = 0.15,
) -> dict[str, Explain]:
    """Methods by name: inputs (A, y), each of `number` problems any times in a row, to attributions.

    gradient; input × gradient; SmoothGrad (Smilkov et al. 2017), the mean gradient over `samples` noisy
    copies with `noise` of the inputs' spread, the same noise each time (drawn where the inputs are:
    other numbers on a GPU); "IG <baseline>": integrated gradients with `count` places.
    """  # fmt: skip
    from captum.attr import InputXGradient, NoiseTunnel, Saliency

    level = noise * spread.A.pow(2).mean().sqrt().item(), noise * spread.y

    def of(inputs: Pair) -> Target:
        return target.repeated(len(inputs[0]) // number, together=True)

    def simple(method: Callable, **options) -> Explain:
        def explain(inputs: Pair) -> Pair:
            now = of(inputs)
            leaves = tuple(x.detach().requires_grad_() for x in inputs)  # captum warns otherwise
            with seeded(seed, inputs[0]):
                found = method(now.value).attribute(
                    leaves, additional_forward_args=now.given or None, **options
                )
            return tuple(a.detach() for a in found)

        return explain

    def integrated(begin: Baseline) -> Explain:
        def explain(inputs: Pair) -> Pair:
            times = len(inputs[0]) // number
            many = Baseline(
                begin.name, *(v.repeat_interleave(times, 1) for v in (begin.A, begin.y))
            )
            return integrate(of(inputs), *inputs, many, count).attributions()

        return explain

    return {
        "gradient": simple(Saliency, abs=False),
        "input × gradient": simple(InputXGradient),
        "SmoothGrad": simple(
            lambda value: NoiseTunnel(Saliency(value)), nt_type="smoothgrad", nt_samples=samples,
            nt_samples_batch_size=4, stdevs=level, abs=False,
        ),
    } | {f"IG {name}": integrated(begin) for name, begin in begins.items()}  # fmt: skip


def jitter(energy: Energy, spread: Spread, radius: float, generator: torch.Generator) -> Explain:
    """Normal noise for inputs (A, y), `radius` times their spread: A's stays symmetric, y's where
    states live."""

    def draw(inputs: Pair) -> Pair:
        A, y = inputs
        N = torch.randn(A.shape, generator=generator, dtype=torch.float64).to(A).triu()
        eps = points.noise(energy, len(y), generator=generator, like=y)
        return radius * spread.A * (N + N.triu(1).mT), radius * spread.y * eps

    return draw


def infidelity(
    energy: Energy, target: Target, A: Tensor, y: Tensor, gradients: Mapping[str, Pair],
    spread: Spread, radius: float, samples: int, seed: int,
) -> dict[str, Tensor]:
    """The share (P,) of what noise of `radius` spreads does to F that a linear rule does not predict.

    gradients: by method the rule's slopes ((P, n, n), (P, d)). Infidelity of Yeh et al. with their
    optimal scaling, over the mean squared change: 0 is a perfect rule, 1 none. The same noise for all.
    """  # fmt: skip
    from captum.metrics import infidelity as measure

    def missed(slopes: Pair, normalise: bool) -> Tensor:
        draw = jitter(energy, spread, radius, torch.Generator().manual_seed(seed))

        def perturb(inputs: Pair) -> tuple[Pair, Pair]:
            moves = draw(inputs)
            return moves, tuple(x - m for x, m in zip(inputs, moves, strict=True))

        return measure(
            target.value, perturb, (A, y), slopes, additional_forward_args=target.given or None,
            n_perturb_samples=samples, normalize=normalise,
        )  # fmt: skip

    none = missed((torch.zeros_like(A), torch.zeros_like(y)), False)
    none = none.clamp_min(1e-300)
    return {name: missed(slopes, True) / none for name, slopes in gradients.items()}


def sensitivity(
    energy: Energy, A: Tensor, y: Tensor, methods: Mapping[str, Explain], spread: Spread,
    radius: float, samples: int, seed: int,
) -> dict[str, Tensor]:
    """The largest relative change (P,) of each method's attributions under `samples` moves of `radius`
    spreads (max-sensitivity of Yeh et al.). The same moves for all methods."""  # fmt: skip
    from captum.metrics import sensitivity_max

    def measured(explain: Explain) -> Tensor:
        draw = jitter(energy, spread, radius, torch.Generator().manual_seed(seed))

        def perturb(inputs: Pair) -> Pair:
            return tuple(x + m for x, m in zip(inputs, draw(inputs), strict=True))

        found = sensitivity_max(explain, (A, y), perturb, n_perturb_samples=samples)
        return found.detach()

    return {name: measured(explain) for name, explain in methods.items()}


# Shapley values


def joined(energy: Energy) -> Pair:
    """Features as numbers 0 … m − 1 of the entries of A (n, n) and of y (d,): A's symmetric pairs are
    one feature, as are y's where states are symmetric."""
    n = energy.coordinates.n
    rows, columns = torch.triu_indices(n, n)
    pairs = torch.empty(n, n, dtype=torch.long)
    pairs[rows, columns] = pairs[columns, rows] = torch.arange(len(rows))
    own = pairs.flatten() if energy.coordinates.symmetric else torch.arange(n * n)
    return pairs, len(rows) + own


def grouped(attributions: Pair, features: Pair) -> Tensor:
    """Attributions ((P, n, n), (P, d)) summed over the entries of each feature, (P, m)."""
    flat = torch.cat([a.flatten(1) for a in attributions], 1)
    place = torch.cat([f.flatten() for f in features]).to(flat.device)
    return flat.new_zeros(len(flat), int(place.max()) + 1).index_add(1, place, flat)


@dataclass(frozen=True)
class Shapley:
    """values (P, m) and standard errors (P, m), 0 where all subsets were enumerated (`exact`)."""

    values: Tensor
    error: Tensor
    exact: bool


def shapley(
    target: Target, A: Tensor, y: Tensor, baseline: Baseline, features: Pair, samples: int, seed: int,
    enumerated: int = ENUMERATED,
) -> Shapley:
    """Shapley values of m features that are either as in the input or as in the (one) baseline.

    Up to `enumerated` features by all 2^m subsets; beyond, by captum's sampled orders, whose
    standard error comes from `samples` single orders.
    """  # fmt: skip
    count = int(features[1].max()) + 1
    begin = baseline.A[0], baseline.y[0]
    features = tuple(f.to(A.device) for f in features)
    if count <= enumerated:
        values = _enumerated(target, (A, y), begin, features, count)
        return Shapley(values, torch.zeros_like(values), True)
    from captum.attr import ShapleyValueSampling

    sampler, many = ShapleyValueSampling(target.value), max(1, ROWS // len(A))
    masks = tuple(f[None] for f in features)
    with seeded(seed, A), torch.no_grad():
        orders = torch.stack([
            grouped(sampler.attribute(
                (A, y), begin, additional_forward_args=target.given or None, feature_mask=masks,
                n_samples=1, perturbations_per_eval=min(many, count),
            ), features) for _ in range(samples)
        ])  # fmt: skip
    # captum gives every entry its feature's value: of a sum over entries that is too many.
    orders = orders / grouped((torch.ones_like(A[:1]), torch.ones_like(y[:1])), features)
    return Shapley(orders.mean(0), orders.std(0) / math.sqrt(samples), False)


@torch.no_grad()
def _enumerated(target: Target, here: Pair, there: Pair, features: Pair, count: int) -> Tensor:
    """φ_i = Σ over S without i of |S|!(m − |S| − 1)!/m! · (F(S + i) − F(S)), (P, m)."""
    number, like = len(here[0]), here[0]
    subsets = torch.arange(2**count, device=like.device)
    inside = (subsets[:, None] >> torch.arange(count, device=like.device)) & 1
    values = []
    for some in inside.bool().split(max(1, ROWS // number)):
        mixed = tuple(
            torch.where(some[:, f][:, None], x, x_).flatten(0, 1)
            for f, x, x_ in zip(features, here, there, strict=True)
        )
        values.append(target.repeated(len(some))(*mixed).unflatten(0, (len(some), number)))
    values, size = torch.cat(values), inside.sum(1)
    weight = like.new_tensor([1 / (count * math.comb(count - 1, s)) for s in range(count)])
    found = []
    for i in range(count):
        without = subsets[inside[:, i] == 0]
        gain = values[without + 2**i] - values[without]
        found.append((weight[size[without], None] * gain).sum(0))
    return torch.stack(found, 1)


# What is known: dY = −Y dA Y


def exact_jacobian(energy: Energy, A: Tensor) -> Tensor:
    """∂(basis coordinates of y₀)/∂A, (P, size, n, n): −(Y E_ij Y)/scale, with dA symmetric."""
    n, scale = energy.coordinates.n, energy.coordinates.scale
    Y = torch.linalg.inv(A)
    by_entry = -torch.einsum("pki,pjl->pklij", Y, Y) / scale
    return symmetric(energy.coordinates.to_basis(by_entry.reshape(len(A), n, n, n * n)).movedim(-1, 1))


def exact_score_sensitivity(energy: Energy, A: Tensor, k: int, entry: tuple[int, int]) -> Tensor:
    """∂/∂A (P, n, n) of entry (i, j) of the ideal score (y − √ᾱ_k y₀)/σ_k: with Y = shift·I + scale·y₀
    and dY = −Y dA Y it is √ᾱ_k/(σ_k·scale)·Y E_ij Y, with dA symmetric."""
    Y, (i, j) = torch.linalg.inv(A), entry
    size = points.centre(energy, 1.0, k) / (points.sigma(energy, k) * energy.coordinates.scale)
    return symmetric(size * Y[:, :, i, None] * Y[:, None, j, :])


def jacobian(energy: Energy, answer: Answer, A: Tensor, start: Tensor, rows: int = ROWS) -> Tensor:
    """∂(basis coordinates of answer(A, start))/∂A, (P, size, n, n), with dA symmetric; by autograd."""
    unit = points.state_basis(energy, start)
    problems, starts = (v.repeat_interleave(len(unit), 0).split(rows) for v in (A, start))
    found = []
    for some, begin, out in zip(problems, starts, unit.repeat(len(A), 1).split(rows), strict=True):
        some = some.clone().requires_grad_()
        found.append(torch.autograd.grad((answer(some, start=begin) * out).sum(), some)[0])
    return symmetric(torch.cat(found).unflatten(0, (len(A), len(unit))))


def symmetric(G: Tensor) -> Tensor:
    """What a gradient (…, n, n) by A says about symmetric changes of A."""
    return (G + G.mT) / 2


def cosine(first: Tensor, second: Tensor) -> Tensor:
    """Cosines (P,) of rows (P, …); 0 where one of them is 0."""
    return torch.nn.functional.cosine_similarity(first.flatten(1), second.flatten(1), dim=1, eps=1e-30)


def agreement(found: Tensor, exact: Tensor, **labels: str | int) -> DataFrame:
    """One row a problem: the cosine of found (P, …) to exact; `slope`, the multiple of exact that is
    nearest to it; `shuffled`, the cosine to another problem's exact one. Labels become columns."""
    own, other = cosine(found, exact), cosine(found, exact.roll(1, 0))
    norms = [v.flatten(1).norm(dim=1) for v in (found, exact)]
    slope = own * norms[0] / norms[1].clamp_min(1e-300)
    seen = {"cosine": own, "slope": slope, "shuffled": other}
    columns = {name: points.array(values) for name, values in seen.items()}
    return DataFrame(columns).assign(problem=range(len(found)), **labels)


def gradient_agreement(
    energies: Mapping[str, Energy], A: Tensor, landscapes: Sequence[int],
    entries: Sequence[tuple[int, int]], generator: torch.Generator,
) -> DataFrame:
    """Plain gradients of score entries by A at noised answers, the same for all energies, against the
    exact sensitivity."""  # fmt: skip
    tables, one = [], next(iter(energies.values()))
    y0 = points.answers(one, A)
    for k in landscapes:
        y = points.noised(one, y0, k, 1, generator)[0][:, 0]
        for entry in entries:
            exact = exact_score_sensitivity(one, A, k, entry)
            for name, energy in energies.items():
                target = score(energy, k, entry)
                seen = gradients_by_problem(target, A, y)
                tables.append(
                    agreement(seen, exact, energy=name, landscape=k, target=target.name)
                )
    return stacked(tables)


def integral_agreement(
    found: Mapping[str, Mapping[Case, Paths]], ideal: Mapping[Case, Paths]
) -> DataFrame:
    """Attributions to A, by energy, against the ideal score's of the same case: along the same path,
    which must keep to positive definite problems. Symmetric changes of A alone."""
    tables = []
    for name, cases in found.items():
        for (target, baseline, k), exact in ideal.items():
            both = (cases[target, baseline, k], exact)
            maps = (symmetric(paths.attributions()[0]) for paths in both)
            labels = {"energy": name, "target": target, "baseline": baseline, "landscape": k}
            tables.append(agreement(*maps, **labels))
    return stacked(tables)


def jacobian_agreement(
    answers: Mapping[str, Answer], energy: Energy, A: Tensor, start: Tensor, rows: int
) -> DataFrame:
    """Jacobians of sampled answers, by energy, against the exact one; `energy` has the coordinates."""
    exact = exact_jacobian(energy, A)
    return stacked([
        agreement(jacobian(energy, answer, A, start, rows), exact, energy=name, landscape=0)
        for name, answer in answers.items()
    ])  # fmt: skip


@dataclass(frozen=True)
class Margins:
    """The trained energy's mean cosine to the exact sensitivity, how far it exceeds the untrained one's
    and that to another problem's exact one (paired, over problems), and the mean slope."""

    cosine: Interval
    above_untrained: Interval
    above_other_problem: Interval
    slope: float

    @classmethod
    def of(cls, table: DataFrame) -> Margins:
        """Of rows of `agreement`."""
        own, other = (per_unit(table, what, energy="trained") for what in ("cosine", "shuffled"))
        untrained = per_unit(table, "cosine", energy="untrained")
        slope = float(per_unit(table, "slope", energy="trained").mean())
        above = paired_interval(own, untrained), paired_interval(own, other)
        return cls(mean_interval(own), *above, slope)

    def surely(self) -> bool:
        return self.above_untrained.low > 0 and self.above_other_problem.low > 0

    def numbers(self) -> dict[str, float]:
        """The means, and the lower ends of the differences."""
        ends = {
            "above_untrained.low": self.above_untrained.low,
            "above_other_problem.low": self.above_other_problem.low,
        }
        return {"cosine": self.cosine.estimate, "slope": self.slope} | ends


def gradients_by_problem(target: Target, A: Tensor, y: Tensor, rows: int = ROWS) -> Tensor:
    """∂F/∂A (P, n, n) for symmetric changes of A, for targets without anything given."""
    found = []
    for some, states in zip(A.split(rows), y.split(rows), strict=True):
        some = some.clone().requires_grad_()
        found.append(torch.autograd.grad(target(some, states).sum(), some)[0])
    return symmetric(torch.cat(found))


# What attributions say


def completeness(found: Mapping[Case, Paths]) -> DataFrame:
    """One row a path: a problem (and draw) of a case, its error, and how many places it took."""
    tables = []
    for (target, baseline, k), paths in found.items():
        axes = {name: range(n) for name, n in zip(("draw", "problem"), paths.change.shape, strict=True)}
        seen = points.columns(
            axes, error=points.array(paths.error()), change=points.array(paths.change)
        )
        tables.append(DataFrame(seen).assign(
            target=target, baseline=baseline, landscape=k, steps=paths.count
        ))  # fmt: skip
    return stacked(tables)


def complete(errors: DataFrame) -> Series:
    """The share of cases within WITHIN, by target, of what `completeness` gives."""
    return errors["error"].lt(WITHIN).groupby(errors["target"], sort=False).mean()


def numbers(errors: DataFrame) -> dict[str, float]:
    """How many places paths took at most, by target and baseline, and what share was complete."""
    most = errors.groupby(["target", "baseline"], sort=False)["steps"].max()
    places = {f"steps.{target}.{baseline}": int(count) for (target, baseline), count in most.items()}
    return places | {f"complete.{target}": share for target, share in complete(errors).items()}


def shares(found: Mapping[Case, Paths]) -> DataFrame:
    """One row a problem of a case: `problem_share`, the part of Σ|attribution| that lies on A and not
    on y; for A and y the part of their Σ|attribution| on the diagonal, absolute (`A_diagonal`; without
    any preference 1/n) and signed, and off it signed."""
    tables = []
    for (target, baseline, k), paths in found.items():
        A, y = paths.attributions()
        sizes = [a.abs().flatten(1).sum(1).clamp_min(1e-300) for a in (A, y)]
        seen = {"problem_share": sizes[0] / (sizes[0] + sizes[1])}
        for name, a, size in (("A", A, sizes[0]), ("y", y.view_as(A), sizes[1])):
            on = a.diagonal(dim1=1, dim2=2)
            seen |= {
                f"{name}_diagonal": on.abs().sum(1) / size,
                f"{name}_diagonal_signed": on.sum(1) / size,
                f"{name}_off_diagonal_signed": (a.sum((1, 2)) - on.sum(1)) / size,
            }
        rows = {name: points.array(v) for name, v in seen.items()}
        tables.append(DataFrame(rows).assign(
            target=target, baseline=baseline, landscape=k, problem=range(len(A))
        ))  # fmt: skip
    return stacked(tables)


def in_eigenbasis(paths: Paths, A: Tensor) -> Pair:
    """Attributions along the eigenvectors Q of the explained A, (P, n, n) each for A and y.

    (QᵀΔQ) ∘ (QᵀGQ), Δ = x − x′ and G the path's gradient: the same sum as entry by entry. On the
    diagonal stand changes of eigenvalues, beside it rotations; eigenvalues ascend.
    """
    Q = torch.linalg.eigh(A).eigenvectors
    found = []
    for g, s in zip(paths.gradients, paths.steps, strict=True):
        turned = (Q.mT @ v.reshape(len(v), *A.shape) @ Q for v in (g, s))
        found.append((next(turned) * next(turned)).mean(0))
    return tuple(found)


def by_eigenvalue(found: Mapping[Case, Paths], A: Tensor) -> DataFrame:
    """One row a problem and rank of eigenvalue (0: smallest) of a case: each row of the attributions in
    A's eigenbasis as a part of Σ|attribution| there, `absolute` and `signed`, for A and for y."""
    tables, axes = [], {"problem": range(len(A)), "rank": range(A.shape[-1])}
    for (target, baseline, k), paths in found.items():
        columns = {}
        for name, M in zip(("A", "y"), in_eigenbasis(paths, A), strict=True):
            M = symmetric(M)
            size = M.abs().sum((1, 2))[:, None].clamp_min(1e-300)
            columns[f"{name}_absolute"] = points.array(M.abs().sum(2) / size)
            columns[f"{name}_signed"] = points.array(M.sum(2) / size)
        table = DataFrame(points.columns(axes, **columns))
        tables.append(table.assign(target=target, baseline=baseline, landscape=k))
    return stacked(tables)


def heatmaps(found: Mapping[Case, Paths]) -> dict[tuple[str, str, int, str], Tensor]:
    """Attributions (n, n), the mean over problems, by target, baseline, landscape and "A" or "y". Of
    A's symmetric pairs, which are one number, each has the half."""
    maps = {}
    for case, paths in found.items():
        A, y = paths.attributions()
        maps[*case, "A"] = symmetric(A).mean(0).cpu()
        maps[*case, "y"] = y.view_as(A).mean(0).cpu()
    return maps


def between_baselines(found: Mapping[Case, Paths]) -> DataFrame:
    """Mean cosine over problems of the attributions to A of one target and landscape from every two
    baselines, `first` and `second`, symmetric changes of A alone."""
    maps = {case: symmetric(paths.attributions()[0]) for case, paths in found.items()}
    rows = [
        (target, k, first, second, float(cosine(maps[target, first, k], other).mean()))
        for (target, first, k) in maps
        for (aim, second, j), other in maps.items()
        if (aim, j) == (target, k)
    ]
    return DataFrame(rows, columns=["target", "landscape", "first", "second", "cosine"])


def judged(
    energy: Energy, targets: Sequence[Target], at: Scene, count: int, samples: int, seed: int
) -> DataFrame:
    """`judge` of several targets."""
    return stacked([judge(energy, target, at, count, samples, seed) for target in targets])


def judge(
    energy: Energy, target: Target, at: Scene, count: int, samples: int, seed: int
) -> DataFrame:
    """One row a problem and method: infidelity at small (0.1) and large (1) noise in units of the
    inputs' spread, max-sensitivity to moves of 0.02, and the cosine to Shapley values from the mean
    baseline, feature by feature (for slopes: of slopes times the step from there).

    shapley_error: the standard error of the Shapley values, all features, relative to their size;
    `samples` are those of noise and of Shapley orders. The slopes of input × gradient are the
    gradient's, so their infidelity is too.
    """
    A, y, begins = at.A, at.y, at.begins
    spread, home = Spread.of(begins["random"]), begins["mean"]
    methods = explainers(target, len(A), begins, spread, count, samples, seed)
    given = {name: explain((A, y)) for name, explain in methods.items()}
    slopes = {name: given[name] for name in ("gradient", "SmoothGrad")}
    away = A - home.A[0], y - home.y[0]
    moved = sensitivity(energy, A, y, methods, spread, 0.02, 4, seed)
    given |= {name: tuple(map(torch.mul, seen, away)) for name, seen in slopes.items()}
    slopes["input × gradient"] = slopes["gradient"]
    for name, begin in begins.items():
        paths = integrate(target, A, y, begin, count)
        slopes[f"IG {name}"] = tuple(g.mean(0) for g in paths.gradients)
    small, large = (
        infidelity(energy, target, A, y, slopes, spread, radius, samples, seed) for radius in (0.1, 1.0)
    )
    features = joined(energy)
    exact = shapley(target, A, y, home, features, samples, seed)
    noise = exact.error.norm(dim=1) / exact.values.norm(dim=1).clamp_min(1e-300)
    near = {name: cosine(grouped(seen, features), exact.values) for name, seen in given.items()}
    columns = {"infidelity_small": small, "infidelity_large": large, "sensitivity": moved,
               "shapley_cosine": near}  # fmt: skip
    return stacked([
        DataFrame({column: points.array(values[name]) for column, values in columns.items()}).assign(
            method=name, target=target.name, problem=range(len(A)),
            shapley_error=points.array(noise), shapley_exact=exact.exact,
        ) for name in methods
    ])  # fmt: skip


def tables(
    explained: Mapping[Case, Paths], others: Mapping[Case, Paths], A: Tensor
) -> dict[str, DataFrame]:
    """What is said of attributions to entries of A (P, n, n) and y, and how complete all are."""
    return {
        "completeness": completeness({**explained, **others}),
        "shares": shares(explained),
        "eigenvalues": by_eigenvalue(explained, A),
        "baselines": between_baselines(explained),
    }


def summaries(tables: Mapping[str, DataFrame], k: int) -> dict[str, DataFrame]:
    """Means with intervals over problems of tables: agreement of "gradients", of "integrals" in
    landscape k and of "jacobians", the gap's "shares", and its "eigenvalues" in landscape k."""

    def where(name: str, **at: str | int) -> DataFrame:
        table = tables[name]
        for column, value in at.items():
            table = table[table[column] == value]
        return table

    cosines, turned = ["cosine", "slope", "shuffled"], [f"A_{kind}" for kind in ("signed", "absolute")]
    return {
        "gradients": summarise(where("gradients"), ["energy", "landscape"], cosines),
        "integrals": summarise(where("integrals", landscape=k), ["energy", "baseline"], cosines),
        "jacobians": summarise(where("jacobians"), ["energy", "landscape"], cosines),
        "shares": summarise(where("shares", target="gap"), ["baseline", "landscape"],
                            ["problem_share", "A_diagonal"]),
        "eigenvalues": summarise(where("eigenvalues", target="gap", landscape=k),
                                 ["baseline", "rank"], turned),
    }  # fmt: skip


# Directions for others


def handed_on(
    energy: Energy, found: Mapping[Case, Paths], generator: torch.Generator
) -> tuple[list[Direction], list[float]]:
    """The directions that path-integrated gradients of the gap share over problems, by the state from
    random problems and by a layer from the answer; and the shares that chance would explain."""
    handed, chance = [], []
    for (target, baseline, k), paths in found.items():
        if (target, baseline) == ("gap", "random"):
            space, gradients = STATE, energy.coordinates.project(paths.gradients[1].mean(0))
        elif baseline == "answer":
            space, gradients = target.removeprefix("gap by "), paths.gradients[0][0]
        else:
            continue
        vector, share = leading(gradients)
        handed.append(Direction(
            f"attribution {space} k={k}", "attribution", space, k, "", share,
            "share of squared norm", vector.cpu(),
        ).unit())  # fmt: skip
        basis = energy.coordinates.to_basis(gradients) if space == STATE else gradients
        chance.append(chance_share(basis, generator))
    return handed, chance


def leading(gradients: Tensor) -> tuple[Tensor, float]:
    """The unit vector (m,) that most of gradients (P, m) lie along, not centred, and the share of
    their squared norm that it explains; most gradients grow along it and not against it."""
    _, sizes, vectors = torch.linalg.svd(gradients, full_matrices=False)
    direction = vectors[0] * (1.0 if (gradients @ vectors[0]).sum() >= 0 else -1.0)
    return direction, (sizes[0].square() / sizes.square().sum()).item()


def chance_share(gradients: Tensor, generator: torch.Generator, draws: int = 20) -> float:
    """The mean share that `leading` explains of gradients (P, m) with every row's entries shuffled."""
    shape, found = (draws, *gradients.shape), []
    for order in torch.rand(shape, generator=generator, dtype=torch.float64).argsort(-1):
        found.append(leading(gradients.gather(1, order.to(gradients.device)))[1])
    return float(np.mean(found))


def stacked(tables: Sequence[DataFrame]) -> DataFrame:
    from pandas import concat

    return concat(tables, ignore_index=True)
