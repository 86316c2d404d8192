"""When a feature fires, in numbers and in words: a shallow decision tree, judged on problems it has not seen.

A rule is judged beside three others: labels shuffled over all tokens, the landscape alone, and a random
direction that fires as often, since nearly anything in these networks can be told from the landscape.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ired.instruments.core.random_directions import covariance_matched
from ired.instruments.core.states import array
from ired.instruments.statistics.auroc import auroc, of_tally, tally
from ired.instruments.statistics.intervals import (
    Interval,
    adjust,
    bootstrap_interval,
    rank_correlation,
    rank_p_values,
)

DEPTH, LEAVES = 3, 4  # questions in a row that a rule may ask, and how many cases it may tell apart
FEWEST = 10  # tokens that fire, and that do not, which a rule needs in either half
WHOLE = ("landscape", "step")  # descriptors that are whole numbers
SHORT = {"landscape": "k"}


@dataclass(frozen=True)
class Firing:
    """When m features fire, on N tokens.

    rate (m,); by_landscape (m, K), by_distance (m, bins), by_kind (m, kinds): rates there; edges
    (bins + 1,): quantiles of the distance, in noise radii; strength (m,): mean activation where it
    fires; rho, p (m, Q): Spearman's correlation of the mean activation of a problem with Q properties
    of its matrix, and its p-value, Benjamini-Hochberg adjusted over all of them; properties: names.
    """

    rate: NDArray
    by_landscape: NDArray
    by_distance: NDArray
    by_kind: NDArray
    edges: NDArray
    strength: NDArray
    rho: NDArray
    p: NDArray
    properties: tuple[str, ...]


def firing(f: NDArray, columns: Mapping[str, NDArray], properties: Mapping[str, NDArray], bins: int = 5) -> Firing:
    """f (N, m) on tokens with columns problem, landscape, kind, distance (N,); properties (P,) each."""
    fires = f != 0
    edges = np.quantile(columns["distance"], np.linspace(0, 1, bins + 1))
    near = np.searchsorted(edges[1:-1], columns["distance"], side="right")
    count, problems = fires.sum(0), np.unique(columns["problem"])
    means = group_means(f, columns["problem"])[problems]
    of_matrix = np.stack([np.asarray(values)[problems] for values in properties.values()])
    rho = rank_correlation(means.T[:, None], of_matrix[None])
    return Firing(
        rate=fires.mean(0),
        by_landscape=group_means(fires, columns["landscape"]).T,
        by_distance=group_means(fires, near, bins).T,
        by_kind=group_means(fires, columns["kind"], 2).T,
        edges=edges,
        strength=np.where(fires, f, 0).sum(0) / np.maximum(count, 1),
        rho=rho,
        p=adjust(rank_p_values(rho, len(problems) - 2)),
        properties=tuple(properties),
    )


def strongest(f: NDArray, problem: NDArray, count: int) -> NDArray:
    """Tokens (m, count) on which m features f (N, m) are largest, one of each problem; −1 where
    fewer problems make a feature fire."""
    tokens = np.full((f.shape[1], count), -1)
    for i, values in enumerate(np.abs(f.T)):
        order = np.argsort(-values, kind="stable")
        order = order[: int((values > 0).sum())]
        _, first = np.unique(problem[order], return_index=True)
        best = order[np.sort(first)[:count]]
        tokens[i, : len(best)] = best
    return tokens


def null_firing(
    x: Tensor, covariance: Tensor, rates: Sequence[float], generator: torch.Generator
) -> tuple[NDArray, Tensor]:
    """Firing (N, m) of random directions of the data's covariance on activations x (N, width), each
    as often as its feature, and the directions (m, width). One direction for each of `rates`."""
    directions = covariance_matched(covariance.cpu(), len(rates), generator, x.dtype)
    along = x @ directions.to(x.device).mT
    fires = torch.zeros(along.shape, dtype=torch.bool)
    for i, rate in enumerate(rates):
        count = round(rate * len(x))
        fires[along[:, i].topk(count).indices.cpu(), i] = True
    return fires.numpy(), directions


# A rule in words


@dataclass(frozen=True)
class Described:
    """Tokens as rules see them: names of Q descriptors, values (N, Q) float32, problem and landscape
    (N,) of each token; fitting, testing (N,): which are for what, no problem in both."""

    names: tuple[str, ...]
    values: NDArray
    problem: NDArray
    landscape: NDArray
    fitting: NDArray
    testing: NDArray


def worded(properties: Mapping[str, Tensor]) -> dict[str, NDArray]:
    """Properties of problems (P,) by the names that rules call them; the rank, which is the same for all, is none."""
    return {
        name.replace("norm", "‖A‖").replace("_", " "): array(value)
        for name, value in properties.items()
        if name != "rank"
    }


def described(
    A: Tensor,
    columns: Mapping[str, Tensor],
    properties: Mapping[str, NDArray],
    generator: torch.Generator,
    entries: int = 6,
    most: int = 2500,
) -> Described:
    """Descriptors of tokens: where they are, properties (P,) of their matrix, and, up to a side of
    `entries`, the entries of y and A. Of a random half of the problems at most `most` tokens are for
    fitting, which has three questions to choose; all of the other half are for testing."""
    problem, n = array(columns["problem"]), A.shape[-1]
    descriptors = {
        "landscape": columns["landscape"],
        "distance": columns["distance"],
        "on the sampling path": columns["kind"],
        "step": columns["step"],
        "‖y‖": columns["y"].norm(dim=1),
    }
    descriptors = {name: array(value) for name, value in descriptors.items()}
    descriptors |= {name: np.asarray(value)[problem] for name, value in properties.items()}
    a, y = array(A), array(columns["y"]).reshape(-1, n, n)
    descriptors["largest |A_ij|, i ≠ j"] = np.abs(a * (1 - np.eye(n))).max((1, 2))[problem]
    if n <= entries:
        for r in range(n):
            for c in range(r, n):
                descriptors[f"y[{r},{c}]"] = (y[:, r, c] + y[:, c, r]) / 2
                descriptors[f"A[{r},{c}]"] = a[problem, r, c]
    present = np.unique(problem)
    rng = np.random.default_rng(int(torch.randint(2**31, (), generator=generator)))
    half = np.isin(problem, rng.permutation(present)[: len(present) // 2])
    fitting = np.zeros(len(problem), dtype=bool)
    fitting[rng.permutation(half.nonzero()[0])[:most]] = True
    values = np.stack(list(descriptors.values()), 1).astype(np.float32)
    landscape = array(columns["landscape"]).astype(int)
    return Described(
        names=tuple(descriptors), values=values, problem=problem, landscape=landscape, fitting=fitting, testing=~half
    )


@dataclass(frozen=True)
class Rule:
    """When a feature fires, in words, and how well that holds on problems not seen in fitting.

    auroc: with an interval over the problems tested (the tree being what it is); within: the same
    counting only pairs of tokens of one landscape; landscape: that of knowing the landscape's rate
    alone; inside, outside: firing rates where the rule says that it fires, and elsewhere. All NaN, and
    `auroc` None, without a rule.
    """

    text: str
    auroc: Interval | None = None
    within: float = float("nan")
    landscape: float = float("nan")
    inside: float = float("nan")
    outside: float = float("nan")


def describe_firing(fires: NDArray, tokens: Described, seed: int = 0, resamples: int = 499) -> Rule:
    """A decision tree of depth 3 on half of the problems, judged on the other half; fires (N,) bool."""
    if reason := unruly(fires, tokens):
        return Rule(reason)
    fit, test = tokens.fitting, tokens.testing
    tree = _tree(tokens.values[fit], fires[fit])
    leaves = tree.tree_.apply(tokens.values[test])
    rates = _rates(tree)
    base = fires[fit].mean()
    predicted = rates[leaves] > base
    labels, landscape = fires[test], tokens.landscape[test]
    by_landscape = group_means(fires[fit, None], tokens.landscape[fit], int(landscape.max()) + 1)[:, 0]
    counts = tally(rates[leaves], labels, tokens.problem[test])

    def over_problems(drawn: NDArray, axis: int = -1) -> NDArray:
        return of_tally(counts[drawn.astype(int)].sum(-3))

    interval = bootstrap_interval(np.arange(len(counts)), seed=seed, statistic=over_problems, resamples=resamples)
    inside, outside = (float(labels[part].mean()) if part.any() else float("nan") for part in (predicted, ~predicted))
    return Rule(
        text=_sentence(tree, tokens.names, rates > base),
        auroc=interval,
        within=auroc(rates[leaves], labels, landscape),
        landscape=auroc(by_landscape[landscape], labels),
        inside=inside,
        outside=outside,
    )


def describe_all(fires: NDArray, tokens: Described, seed: int = 0) -> list[Rule]:
    """A rule for each column of fires (N, m), as many at a time as torch has threads."""
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:  # scikit-learn's trees let go of the GIL
        return list(pool.map(lambda firing: describe_firing(firing, tokens, seed), np.ascontiguousarray(fires.T)))


def unruly(fires: NDArray, tokens: Described) -> str:
    """Why there can be no rule for this firing (N,), or nothing."""
    if fires.all():
        return "fires on every token: there is no rule to find"
    if not fires.any():
        return "never fires: there is no rule to find"
    for half in (tokens.fitting, tokens.testing):
        rarer = min(fires[half].sum(), (~fires[half]).sum())
        if rarer < FEWEST:
            return f"fires on {fires.mean():.1%} of tokens: too one-sided for a rule to be tested"
    return ""


def shuffled_auroc(fires: NDArray, tokens: Described, rng: np.random.Generator) -> float:
    """Held-out AUROC of a tree fitted to labels shuffled over all tokens of the fitting half, across
    problems and landscapes: ½ but for chance, or the judging is wrong. NaN without a rule."""
    if unruly(fires, tokens):
        return float("nan")
    fit, test = tokens.fitting, tokens.testing
    tree = _tree(tokens.values[fit], rng.permutation(fires[fit]))
    return auroc(_rates(tree)[tree.tree_.apply(tokens.values[test])], fires[test])


def group_means(values: NDArray, group: NDArray, count: int = 0) -> NDArray:
    """Means (groups, m) of values (N, m) by group (N,); 0 for groups without members."""
    count = max(count, int(group.max()) + 1)
    order = np.argsort(group, kind="stable")
    size = np.bincount(group, minlength=count)
    start = np.concatenate([[0], np.cumsum(size)[:-1]])
    sums = np.zeros((count, values.shape[1]))
    filled = size > 0
    sums[filled] = np.add.reduceat(values[order].astype(np.float64), start[filled], axis=0)
    return sums / np.maximum(size, 1)[:, None]


def _tree(X: NDArray, fires: NDArray) -> Any:
    from sklearn.tree import DecisionTreeClassifier  # a second to import

    smallest = max(5, len(X) // 100)
    tree = DecisionTreeClassifier(max_depth=DEPTH, max_leaf_nodes=LEAVES, min_samples_leaf=smallest, random_state=0)
    return tree.fit(X, fires)


def _rates(tree: Any) -> NDArray:
    """Firing rate of each node of a fitted tree."""
    if len(tree.classes_) == 1:
        return np.full(tree.tree_.node_count, float(tree.classes_[0]))
    values = tree.tree_.value[:, 0]
    return values[:, 1] / values.sum(1)


def _sentence(tree: Any, names: Sequence[str], positive: NDArray) -> str:
    """The leaves whose rate is above the average, as one line; siblings that both are count as one."""
    t = tree.tree_

    def terms(node: int) -> list[tuple[int, dict]]:
        """Conjunctions as (firing tokens, {(descriptor, is upper bound): threshold})."""
        if t.children_left[node] < 0:
            return [(_firing(t, node), {})] if positive[node] else []
        sides = [terms(child[node]) for child in (t.children_left, t.children_right)]
        whole = [len(side) == 1 and not side[0][1] for side in sides]
        if all(whole):
            return [(sides[0][0][0] + sides[1][0][0], {})]
        column, threshold, branches = t.feature[node], t.threshold[node], []
        for upper, side, other in zip((True, False), sides, whole[::-1], strict=True):
            for count, bounds in side:
                # Deeper questions about the same descriptor are the tighter ones; "this, or not this
                # and that" is "this, or that".
                bound = {} if other else {(column, upper): threshold}
                branches.append((count, bound | bounds))
        return branches

    ordered = sorted(terms(0), key=lambda term: -term[0])
    texts = [_conjunction(bounds, names) for _, bounds in ordered]
    return ", or ".join(texts) if texts and all(texts) else "no question tells its tokens apart"


def _firing(tree: Any, node: int) -> float:
    return tree.n_node_samples[node] * tree.value[node, 0, -1]


def _conjunction(bounds: Mapping[tuple[int, bool], float], names: Sequence[str]) -> str:
    parts = []
    for column in dict.fromkeys(column for column, _ in bounds):
        name = names[column]
        low, high = bounds.get((column, False)), bounds.get((column, True))
        if name == "on the sampling path":
            parts.append(name if high is None else "at a noised answer")
            continue
        show = (lambda v: f"{int(np.floor(v))}") if name in WHOLE else (lambda v: f"{v:.3g}")
        name = SHORT.get(name, name)
        if low is None or high is None:
            parts.append(f"{name} > {show(low)}" if high is None else f"{name} ≤ {show(high)}")
        else:
            parts.append(f"{show(low)} < {name} ≤ {show(high)}")
    return " and ".join(parts)
