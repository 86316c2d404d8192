"""Explainers beside integrated gradients, by captum: gradient, input × gradient, SmoothGrad (Smilkov et al. 2017) and
Shapley values, and how far each is to be believed.

All are judged by infidelity and max-sensitivity (Yeh et al., NeurIPS 2019) and by their cosine to Shapley values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from pandas import DataFrame, concat
from torch import Tensor

from ired.instruments.attribution.exact_sensitivity import cosine
from ired.instruments.attribution.integrated_gradients import ROWS, AttributionScene, Baseline, Pair, Target, integrate
from ired.instruments.core import states
from ired.model.protocol import Energy

Explain = Callable[[Pair], Pair]

ENUMERATED = 12  # features whose 2^m subsets are all tried; more are sampled
NEAR, FAR = 0.1, 1.0  # small and large noise for infidelity, in units of the inputs' spread
MOVE, MOVES = 0.02, 4  # how far inputs are moved for max-sensitivity, in the same unit, and how often


@contextmanager
def seeded(seed: int, like: Tensor) -> Iterator[None]:
    """torch's global random numbers, which captum draws from, as after a seed; then as before."""
    with torch.random.fork_rng([like.device] if like.is_cuda else []):
        torch.manual_seed(seed)
        yield


@dataclass(frozen=True)
class Spread:
    """How far inputs spread: A (n, n), each entry's standard deviation over problems, and y, the root mean square of
    states' entries about their mean."""

    A: Tensor
    y: float

    @classmethod
    def of(cls, baseline: Baseline) -> Spread:
        A, y = baseline.A.flatten(0, 1), baseline.y.flatten(0, 1)
        return cls(A.std(0), (y - y.mean(0)).pow(2).mean().sqrt().item())


# The methods


def explainers(
    target: Target,
    number: int,
    begins: Mapping[str, Baseline],
    spread: Spread,
    count: int,
    samples: int,
    seed: int,
    noise: float = 0.15,
) -> dict[str, Explain]:
    """Methods by name: inputs (A, y), each of `number` problems any times in a row, to attributions.

    gradient; input × gradient; SmoothGrad, the mean gradient over `samples` noisy copies with `noise` of the inputs'
    spread, the same noise each time (drawn where the inputs are: other numbers on a GPU); "IG <baseline>": integrated
    gradients with `count` places.
    """
    from captum.attr import InputXGradient, NoiseTunnel, Saliency

    level = noise * spread.A.pow(2).mean().sqrt().item(), noise * spread.y

    def of(inputs: Pair) -> Target:
        return target.repeated(len(inputs[0]) // number, together=True)

    def simple(method: Callable, **options) -> Explain:
        def explain(inputs: Pair) -> Pair:
            here = of(inputs)
            leaves = tuple(x.detach().requires_grad_() for x in inputs)  # captum warns otherwise
            with seeded(seed, inputs[0]):
                attributions = method(here.value).attribute(
                    leaves, additional_forward_args=here.given or None, **options
                )
            return tuple(a.detach() for a in attributions)

        return explain

    def integrated(begin: Baseline) -> Explain:
        def explain(inputs: Pair) -> Pair:
            times = len(inputs[0]) // number
            many = Baseline(begin.name, *(v.repeat_interleave(times, 1) for v in (begin.A, begin.y)))
            return integrate(of(inputs), *inputs, many, count).attributions()

        return explain

    return {
        "gradient": simple(Saliency, abs=False),
        "input × gradient": simple(InputXGradient),
        "SmoothGrad": simple(
            lambda value: NoiseTunnel(Saliency(value)),
            nt_type="smoothgrad",
            nt_samples=samples,
            nt_samples_batch_size=4,
            stdevs=level,
            abs=False,
        ),
    } | {f"IG {name}": integrated(begin) for name, begin in begins.items()}


# Infidelity and max-sensitivity


def jitter(energy: Energy, spread: Spread, radius: float, generator: torch.Generator) -> Explain:
    """Normal noise for inputs (A, y), `radius` times their spread: A's stays symmetric, y's where states live."""

    def draw(inputs: Pair) -> Pair:
        A, y = inputs
        N = torch.randn(A.shape, generator=generator, dtype=torch.float64).to(A).triu()
        eps = states.noise(energy, len(y), generator=generator, like=y)
        return radius * spread.A * (N + N.triu(1).mT), radius * spread.y * eps

    return draw


def infidelity(
    energy: Energy,
    target: Target,
    A: Tensor,
    y: Tensor,
    gradients: Mapping[str, Pair],
    spread: Spread,
    radius: float,
    samples: int,
    seed: int,
) -> dict[str, Tensor]:
    """The share (P,) of what noise of `radius` spreads does to F that a linear rule does not predict.

    gradients: by method the rule's slopes ((P, n, n), (P, d)). Infidelity of Yeh et al. with their optimal scaling,
    over the mean squared change: 0 is a perfect rule, 1 none. The same noise for all.
    """
    from captum.metrics import infidelity as measure

    def missed(slopes: Pair, normalise: bool) -> Tensor:
        draw = jitter(energy, spread, radius, torch.Generator().manual_seed(seed))

        def perturb(inputs: Pair) -> tuple[Pair, Pair]:
            moves = draw(inputs)
            return moves, tuple(x - m for x, m in zip(inputs, moves, strict=True))

        return measure(
            target.value,
            perturb,
            (A, y),
            slopes,
            additional_forward_args=target.given or None,
            n_perturb_samples=samples,
            normalize=normalise,
        )

    none = missed((torch.zeros_like(A), torch.zeros_like(y)), False)
    none = none.clamp_min(1e-300)
    return {name: missed(slopes, True) / none for name, slopes in gradients.items()}


def max_sensitivity(
    energy: Energy,
    A: Tensor,
    y: Tensor,
    methods: Mapping[str, Explain],
    spread: Spread,
    radius: float,
    samples: int,
    seed: int,
) -> dict[str, Tensor]:
    """The largest relative change (P,) of each method's attributions under `samples` moves of `radius` spreads
    (Yeh et al.). The same moves for all methods."""
    from captum.metrics import sensitivity_max

    def measured(explain: Explain) -> Tensor:
        draw = jitter(energy, spread, radius, torch.Generator().manual_seed(seed))

        def perturb(inputs: Pair) -> Pair:
            return tuple(x + m for x, m in zip(inputs, draw(inputs), strict=True))

        return sensitivity_max(explain, (A, y), perturb, n_perturb_samples=samples).detach()

    return {name: measured(explain) for name, explain in methods.items()}


# Shapley values


def feature_masks(energy: Energy) -> Pair:
    """Features as numbers 0 … m − 1 of the entries of A (n, n) and of y (d,): A's symmetric pairs are one feature, as
    are y's where states are symmetric."""
    n = energy.coordinates.n
    rows, columns = torch.triu_indices(n, n)
    pairs = torch.empty(n, n, dtype=torch.long)
    pairs[rows, columns] = pairs[columns, rows] = torch.arange(len(rows))
    entries = pairs.flatten() if energy.coordinates.symmetric else torch.arange(n * n)
    return pairs, len(rows) + entries


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
    target: Target,
    A: Tensor,
    y: Tensor,
    baseline: Baseline,
    features: Pair,
    samples: int,
    seed: int,
    enumerated: int = ENUMERATED,
) -> Shapley:
    """Shapley values of m features that are either as in the input or as in the (one) baseline.

    Up to `enumerated` features by all 2^m subsets, where captum has only all m! orders; beyond, by captum's sampled
    orders, whose standard error comes from `samples` single orders.
    """
    count = int(features[1].max()) + 1
    begin = baseline.A[0], baseline.y[0]
    features = tuple(f.to(A.device) for f in features)
    if count <= enumerated:
        values = _enumerated(target, (A, y), begin, features=features, count=count)
        return Shapley(values, torch.zeros_like(values), True)
    from captum.attr import ShapleyValueSampling

    sampler, many = ShapleyValueSampling(target.value), max(1, ROWS // len(A))
    masks = tuple(f[None] for f in features)
    orders = []
    with seeded(seed, A), torch.no_grad():
        for _ in range(samples):
            attributions = sampler.attribute(
                (A, y),
                begin,
                additional_forward_args=target.given or None,
                feature_mask=masks,
                n_samples=1,
                perturbations_per_eval=min(many, count),
            )
            orders.append(grouped(attributions, features))
    # captum gives every entry its feature's value: of a sum over entries that is too many.
    orders = torch.stack(orders) / grouped((torch.ones_like(A[:1]), torch.ones_like(y[:1])), features)
    return Shapley(orders.mean(0), orders.std(0) / math.sqrt(samples), False)


@torch.no_grad()
def _enumerated(target: Target, here: Pair, there: Pair, features: Pair, count: int) -> Tensor:
    """φ_i = Σ over S without i of |S|!(m − |S| − 1)!/m! · (F(S + i) − F(S)), (P, m)."""
    number, like = len(here[0]), here[0]
    subsets = torch.arange(2**count, device=like.device)
    inside = (subsets[:, None] >> torch.arange(count, device=like.device)) & 1
    values = []
    for members in inside.bool().split(max(1, ROWS // number)):
        mixed = tuple(
            torch.where(members[:, f][:, None], x, x_).flatten(0, 1)
            for f, x, x_ in zip(features, here, there, strict=True)
        )
        values.append(target.repeated(len(members))(*mixed).unflatten(0, (len(members), number)))
    values, size = torch.cat(values), inside.sum(1)
    weight = like.new_tensor([1 / (count * math.comb(count - 1, s)) for s in range(count)])
    contributions = []
    for i in range(count):
        without = subsets[inside[:, i] == 0]
        gain = values[without + 2**i] - values[without]
        contributions.append((weight[size[without], None] * gain).sum(0))
    return torch.stack(contributions, 1)


# All of them, judged


def judged_by_target(
    energy: Energy, targets: Sequence[Target], at: AttributionScene, count: int, samples: int, seed: int
) -> DataFrame:
    """`judge_explainers` of several targets."""
    tables = [judge_explainers(energy, target, at, count=count, samples=samples, seed=seed) for target in targets]
    return concat(tables, ignore_index=True)


def judge_explainers(
    energy: Energy, target: Target, at: AttributionScene, count: int, samples: int, seed: int
) -> DataFrame:
    """One row a problem and method: infidelity at small (NEAR) and large (FAR) noise, max-sensitivity to MOVES moves,
    and the cosine to Shapley values from the mean baseline, feature by feature (for slopes: of slopes times the step
    from there).

    shapley_error: the standard error of the Shapley values, all features, relative to their size; `samples` are those
    of noise and of Shapley orders. The slopes of input × gradient are the gradient's, so their infidelity is too.
    """
    A, y, begins = at.A, at.y, at.begins
    spread, home = Spread.of(begins["random"]), begins["mean"]
    methods = explainers(target, len(A), begins, spread=spread, count=count, samples=samples, seed=seed)
    attributions = {name: explain((A, y)) for name, explain in methods.items()}
    moved = max_sensitivity(energy, A, y, methods, spread=spread, radius=MOVE, samples=MOVES, seed=seed)

    slopes = {name: attributions[name] for name in ("gradient", "SmoothGrad")}
    step = A - home.A[0], y - home.y[0]
    attributions |= {name: tuple(map(torch.mul, slope, step)) for name, slope in slopes.items()}
    slopes["input × gradient"] = slopes["gradient"]
    for name, begin in begins.items():
        paths = integrate(target, A, y, baseline=begin, count=count)
        slopes[f"IG {name}"] = tuple(g.mean(0) for g in paths.gradients)
    small, large = (
        infidelity(energy, target, A, y, gradients=slopes, spread=spread, radius=radius, samples=samples, seed=seed)
        for radius in (NEAR, FAR)
    )

    features = feature_masks(energy)
    exact = shapley(target, A, y, baseline=home, features=features, samples=samples, seed=seed)
    noise = exact.error.norm(dim=1) / exact.values.norm(dim=1).clamp_min(1e-300)
    near = {name: cosine(grouped(a, features), exact.values) for name, a in attributions.items()}
    tables = [
        DataFrame(
            {
                "infidelity_small": states.array(small[name]),
                "infidelity_large": states.array(large[name]),
                "sensitivity": states.array(moved[name]),
                "shapley_cosine": states.array(near[name]),
                "method": name,
                "target": target.name,
                "problem": range(len(A)),
                "shapley_error": states.array(noise),
                "shapley_exact": exact.exact,
            }
        )
        for name in methods
    ]
    return concat(tables, ignore_index=True)
