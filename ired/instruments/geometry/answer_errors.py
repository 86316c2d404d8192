"""How far answers are from being SPD, and from the truth in the metrics of SPD matrices.

A matrix is positive definite when its symmetric part is: xᵀMx > 0 for every x. What is antisymmetric
is reported as a share of its own. The distance to the cone is that to the nearest symmetric matrix
without negative eigenvalues (Higham 1988); matrices that are not positive definite have no Riemannian
distance to anything: they are counted, and lie infinitely far. The control of every number is
isotropic noise: the truth, moved in a random direction exactly as far (in Frobenius norm) as the
answer is off.

Controls that could refute: the same of whatever else answers. On the energy of a prediction m(A) (one bowl for each
landscape) sampling is m(A) from its first step on, but for what is left of the start: after denoising in landscapes
K − 1 to k, Π c_j·(y/√ᾱ_{K−1} − m) with c_j = ᾱ_j C/(ᾱ_j C + σ_j²). So all that is seen there is the prediction's own
error: what it shares with a learned energy is no work of an energy. Larger errors have noise that leaves the cone more
often, so that "nearer than noise" favours who errs more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pandas import DataFrame, Series, concat
from torch import Tensor

from ired.instruments.core import trajectories
from ired.instruments.core.sampler import Sampler
from ired.instruments.core.states import array, symmetric
from ired.instruments.core.trajectories import Paths
from ired.instruments.geometry import metrics
from ired.instruments.geometry.metrics import METRICS
from ired.instruments.statistics import intervals
from ired.model.protocol import Energy

TIE = 1e-9  # distances that differ by less, relatively, are equal


@dataclass(frozen=True)
class Departure:
    """How far matrices (...) are from SPD, arrays (...).

    asymmetry: ‖(M − Mᵀ)/2‖/‖M‖; negative: number of eigenvalues of the symmetric part that are not
    above rounding; lowest: its smallest eigenvalue over its largest in size; distance: to the nearest
    positive semidefinite matrix, over ‖M‖; definite: bool, no eigenvalue is counted in `negative`.
    """

    asymmetry: NDArray
    negative: NDArray
    lowest: NDArray
    distance: NDArray
    definite: NDArray

    def columns(self) -> dict[str, NDArray]:
        """Tidy columns, one row per matrix."""
        return {name: value.ravel() for name, value in vars(self).items()}


def departure(M: Tensor) -> Departure:
    """Of matrices M (..., n, n). Raises ValueError for one that is not finite."""
    bad = ~torch.isfinite(M).all(-1).all(-1)
    if bad.any():
        raise ValueError(f"matrix {tuple(bad.nonzero()[0].tolist())} is not finite")
    M = M.double()
    values = torch.linalg.eigvalsh(symmetric(M))
    size = M.flatten(-2).norm(dim=-1)
    turned = ((M - M.mT) / 2).flatten(-2).norm(dim=-1)
    below = values.clamp(max=0).norm(dim=-1)
    largest = values.abs().amax(-1)
    tiny = torch.finfo(M.dtype).tiny
    rounding = M.shape[-1] * torch.finfo(M.dtype).eps * largest
    negative = (values <= rounding[..., None]).sum(-1)
    return Departure(
        asymmetry=array(turned / size.clamp_min(tiny)),
        negative=array(negative),
        lowest=array(values[..., 0] / largest.clamp_min(tiny)),
        distance=array(torch.hypot(turned, below) / size.clamp_min(tiny)),
        definite=array(negative == 0),
    )


def matched_noise(Y: Tensor, M: Tensor, epsilon: Tensor) -> Tensor:
    """Y + ε·‖M − Y‖/‖ε‖: the truths Y (P, n, n), off by as much as M (..., P, n, n), in ε's directions."""
    size = (M - Y).flatten(-2).norm(dim=-1) / epsilon.flatten(-2).norm(dim=-1)
    return Y + size[..., None, None] * epsilon


def spd_distances(M: Tensor, Y: Tensor, names: Sequence[str] = tuple(METRICS)) -> dict[str, NDArray]:
    """Distances of M (..., n, n) to SPD matrices Y (..., n, n) by metric, of M's symmetric part.

    Infinite where M is not positive definite; the Euclidean one, which knows no cone, is always finite.
    """
    S, Y = torch.broadcast_tensors(symmetric(M.double()), Y)
    definite = torch.as_tensor(departure(S).definite, device=S.device)
    by_metric = {}
    for name in names:
        metric = METRICS[name]
        distance = torch.full(S.shape[:-2], torch.inf, dtype=S.dtype, device=S.device)
        if name == "Euclidean":
            distance = (S - Y).flatten(-2).norm(dim=-1)
        elif definite.any():
            distance[definite] = metric.distance(Y[definite], S[definite])
        by_metric[name] = array(distance)
    return by_metric


@dataclass(frozen=True)
class NoiseComparison:
    """Distances of answers to the truth beside those of matched noise, arrays (P,).

    wins: share of the noise draws that the answer is nearer than (a tie, or both infinitely far: ½);
    log_ratio: log of its distance over the geometric mean of the draws', over those that are finite;
    NaN where it or all of them are infinite.
    """

    wins: NDArray
    log_ratio: NDArray


def compare_with_noise(answer: NDArray, noise: NDArray) -> NoiseComparison:
    """Distances answer (P,) beside noise (D, P), infinite where there is none."""
    answer, noise = np.asarray(answer, dtype=np.float64), np.asarray(noise, dtype=np.float64)
    tie = np.isclose(answer, noise, rtol=TIE, atol=0)  # infinite is close to infinite
    wins = np.where(tie, 0.5, answer < noise).mean(0)
    finite = np.isfinite(noise)
    logs = np.where(finite, np.log(np.where(finite, np.maximum(noise, 1e-300), 1.0)), 0.0)
    middle = logs.sum(0) / np.maximum(finite.sum(0), 1)
    usable = finite.any(0) & np.isfinite(answer)
    mine = np.log(np.maximum(np.where(usable, answer, 1.0), 1e-300))
    return NoiseComparison(wins, np.where(usable, mine - middle, np.nan))


def compare_all(M: Tensor, Y: Tensor, epsilon: Tensor) -> tuple[dict[str, list], dict[str, NDArray]]:
    """Answers M (P, n, n) against noise along ε (D, P, n, n): tidy columns, a row per metric; and `wins` (P,) by it.

    Both are compared by their symmetric parts, which are matched in size. answers, noise: median
    distances of those that have one (NaN: none); answers_without, noise_without: shares that have
    none; nearer (with _low, _high): mean of `NoiseComparison.wins` and its interval over problems; ratio
    (…): geometric mean of the ratio of distances, over `pairs` problems (NaN below two).
    """
    S = symmetric(M.double())
    other = matched_noise(Y, S, symmetric(epsilon))
    answer, noise = spd_distances(S, Y), spd_distances(other, Y)
    rows, wins = [], {}
    for name in METRICS:
        beside = compare_with_noise(answer[name], noise[name])
        wins[name] = beside.wins
        usable = beside.log_ratio[np.isfinite(beside.log_ratio)]
        ratio = [np.nan] * 3
        if len(usable) > 1:
            interval = intervals.mean_interval(usable)
            ratio = np.exp([interval.estimate, interval.low, interval.high]).tolist()
        row = {"metric": name}
        for side, values in (("answers", answer[name]), ("noise", noise[name])):
            finite = values[np.isfinite(values)]
            row |= {side: float(np.median(finite)) if len(finite) else np.nan}
            row |= {f"{side}_without": 1 - finite.size / values.size}
        row |= intervals.mean_interval(beside.wins).columns("nearer")
        row |= dict(zip(("ratio", "ratio_low", "ratio_high"), ratio, strict=True))
        rows.append(row | {"pairs": len(usable)})
    return {name: [row[name] for row in rows] for name in rows[0]}, wins


@dataclass(frozen=True)
class Examined:
    """Answers of several makers.

    departures, noise: of each maker's answers (P,) and of noise matched to them (D, P); closeness:
    columns of `compare_all`, with `who`; nearer: (P,) by maker, the share of that noise that an answer is nearer to the
    truth than, in affine-invariant distance; at_size: the same of errors scaled to the size of the trained energy's.
    """

    departures: dict[str, Departure]
    noise: dict[str, Departure]
    closeness: dict[str, list]
    nearer: dict[str, NDArray]
    at_size: dict[str, NDArray]

    def columns(self) -> dict[str, NDArray]:
        """A row per problem: who.measure."""
        errors = {
            f"{who}.{what}": values
            for who, errors in self.departures.items()
            for what, values in errors.columns().items()
        }
        errors |= {f"{who}.nearer": wins for who, wins in self.nearer.items()}
        return errors | {f"{who}.at_size": wins for who, wins in self.at_size.items()}

    def closest(self, who: str, metric: str = "affine-invariant") -> Series:
        """The row of `closeness` of that maker and metric."""
        return DataFrame(self.closeness).set_index(["who", "metric"]).loc[(who, metric)]

    def numbers(self) -> dict[str, float]:
        """Means over problems: measure.who, and measure.who.noise; nearer.who, at_size.who."""
        both = self.departures | {f"{who}.noise": errors for who, errors in self.noise.items()}
        means = {
            f"{what}.{who}": float(values.mean())
            for who, errors in both.items()
            for what, values in vars(errors).items()
        }
        for what, by_maker in (("nearer", self.nearer), ("at_size", self.at_size)):
            means |= {f"{what}.{who}": float(wins.mean()) for who, wins in by_maker.items()}
        return means

    def by_problem(self) -> dict[str, dict[str, NDArray]]:
        """What P4-01's claim rests on, more of it being better: values (P,) by maker, by what they are."""
        closer = {who: self.noise[who].distance.mean(0) - errors.distance for who, errors in self.departures.items()}
        definite = {who: errors.definite.astype(float) for who, errors in self.departures.items()}
        nearer = "share of noise of equal size that an answer is nearer to the truth than, affine-invariant"
        return {
            nearer: self.nearer,
            f"{nearer}; errors scaled to the size of the trained energy's": self.at_size,
            "distance to the cone of noise of equal size, less the answer's": closer,
            "share of answers that are positive definite": definite,
        }


def examine_answers(answers: dict[str, Tensor], Y: Tensor, epsilon: Tensor) -> Examined:
    """Answers (P, n, n) by maker, "trained" among them, where Y (P, n, n) is true, and noise along ε (D, P, n, n)."""
    departures = {who: departure(M) for who, M in answers.items()}
    noise = {who: departure(matched_noise(Y, M, epsilon)) for who, M in answers.items()}
    closeness: dict[str, list] = {}
    nearer = {}
    for who, M in answers.items():
        columns, wins = compare_all(M, Y, epsilon)
        nearer[who] = wins["affine-invariant"]
        for name, values in columns.items():
            closeness.setdefault(name, []).extend(values)
    closeness["who"] = [who for who in answers for _ in METRICS]
    return Examined(departures, noise, closeness, nearer, _nearer_at_size(answers, Y, epsilon))


def _nearer_at_size(
    answers: dict[str, Tensor], Y: Tensor, epsilon: Tensor, sized: str = "trained", metric: str = "affine-invariant"
) -> dict[str, NDArray]:
    """`NoiseComparison.wins` (P,) by maker, errors scaled, problem by problem, to the size that one maker's have."""
    even = {who: symmetric(M.double()) for who, M in answers.items()}
    noise = spd_distances(matched_noise(Y, even[sized], symmetric(epsilon)), Y, [metric])[metric]
    scaled = {who: matched_noise(Y, even[sized], M - Y) for who, M in even.items()}
    return {who: compare_with_noise(spd_distances(M, Y, [metric])[metric], noise).wins for who, M in scaled.items()}


def step_errors(M: Tensor, Y: Tensor, epsilon: Tensor | None = None) -> dict[str, list]:
    """Columns, a row per step: departures and errors of M (S, P, n, n), answers to Y (P, n, n).

    With ε (P, n, n), of Y moved in direction ε as far as M is off at each step, instead of M. Means
    over problems with 95 % intervals (_low, _high). indefinite: share of problems with an eigenvalue
    not above 0 (exact interval); distance, asymmetry: those of `Departure`; error: ‖M − Y‖/‖Y‖
    (Student's t); negative, lowest: means alone.
    """
    rows, size = [], Y.flatten(-2).norm(dim=-1)
    for step in M:
        step = step if epsilon is None else matched_noise(Y, step, epsilon)
        departed = departure(step)
        error = array((step - Y).flatten(-2).norm(dim=-1) / size)
        by_measure = {"indefinite": intervals.proportion_interval(int((~departed.definite).sum()), len(step))}
        shown = {"distance": departed.distance, "asymmetry": departed.asymmetry, "error": error}
        by_measure |= {name: intervals.student_interval(values) for name, values in shown.items()}
        row = {"negative": float(departed.negative.mean()), "lowest": float(departed.lowest.mean())}
        for name, interval in by_measure.items():
            row |= {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}
        rows.append(row)
    return {name: [row[name] for row in rows] for name in rows[0]}


@dataclass(frozen=True)
class Walked:
    """Answers that a sampler got from several energies, from the same starts.

    answers: (P, n, n) by energy; steps: `step_errors` with stage, landscape, inner and who, and those of "noise":
    truths that are off by as much as the trained energy's states at each step; trained: its paths.
    """

    answers: dict[str, Tensor]
    steps: DataFrame
    trained: Paths


def walk_all(
    energies: Mapping[str, Energy],
    sample: Sampler | Callable[..., Tensor],
    A: Tensor,
    start: Tensor,
    *,
    truth: Tensor,
    epsilon: Tensor,
) -> Walked:
    """Sampled from every energy, "trained" among them, for problems A (P, n, n) from starts (P, d).

    truth: the true answers (P, n, n); epsilon (P, n, n): the noise's directions. One energy after the other: only the
    trained one's paths are kept.
    """
    answers, tables, kept = {}, [], None
    for who, energy in energies.items():
        path = trajectories.record(sample, energy, A, start)
        answers[who], clean = energy.coordinates.decode(path.end), path.clean(energy)
        errors = {who: step_errors(clean, truth)}
        if who == "trained":
            kept, errors["noise"] = path, step_errors(clean, truth, epsilon)
        place = {"stage": path.stage, "landscape": path.landscape, "inner": path.inner}
        tables += [DataFrame(place | columns).assign(who=name) for name, columns in errors.items()]
    if kept is None:
        raise ValueError("no energy is the trained one, whose paths are kept")
    return Walked(answers, concat(tables, ignore_index=True), kept)


def spd_verdicts(examined: Examined) -> dict[str, tuple[bool, dict[str, float]]]:
    """P4-01's criteria on the answers of "trained", each with the numbers behind it."""
    trained, noise = examined.departures["trained"], examined.noise["trained"]
    share = intervals.proportion_interval(trained.definite.sum(), len(trained.definite))
    apart = intervals.paired_interval(trained.distance, noise.distance.mean(0))
    closest = examined.closest("trained")
    return {
        "samples_are_spd": (share.low >= 0.95, {"share": share.estimate, "low": share.low}),
        "nearer_to_the_cone_than_noise": (apart.high < 0, {"difference": apart.estimate, "high": apart.high}),
        "closer_than_noise": (closest["nearer_low"] > 0.5, {"nearer": closest["nearer"]}),
    }


def groups(A: Tensor, Y: Tensor, sampled: Tensor) -> dict[str, Tensor]:
    """Matrices to take means of: "problems" A and "answers" Y (P, n, n), and of the "sampled" answers (P, n, n) the
    symmetric parts of those that are positive definite, if there are two."""
    definite = torch.as_tensor(departure(sampled).definite)
    chosen = {"sampled": symmetric(sampled)[definite]} if definite.sum() > 1 else {}
    return {"problems": A, "answers": Y} | chosen


def spd_headline(examined: Examined) -> tuple[str, float, float, float]:
    """What the answers of "trained" come to, with its interval: how often they are nearer to the truth than
    noise, or, where fewer than two are positive definite, how many are."""
    definite = examined.departures["trained"].definite
    if definite.sum() < 2:
        share = intervals.proportion_interval(definite.sum(), len(definite))
        return "sampled answers that are positive definite", share.estimate, share.low, share.high
    closest = examined.closest("trained")
    nearer = (closest[name] for name in ("nearer", "nearer_low", "nearer_high"))
    return ("nearer to the truth than noise of equal size, affine-invariant", *nearer)


def karcher_means(groups: dict[str, Tensor]) -> tuple[dict[str, list], dict[str, list]]:
    """Karcher means of groups of SPD matrices (N, n, n) under each metric, as two sets of columns.

    Spectra: group, metric, rank, eigenvalue (of the mean, ascending). Means: group, metric; swelling:
    log det of the mean minus the mean log det, over n (0: none); halves: affine-invariant distance
    between the means of the group's halves, what chance leaves open; inversion: that between the mean
    of this group and the inverse of the mean of the group "problems" (which are A where these are
    answers).
    """
    spectra: dict[str, list] = {name: [] for name in ("group", "metric", "rank", "eigenvalue")}
    table: dict[str, list] = {name: [] for name in ("group", "metric", "matrices", "swelling", "halves", "inversion")}
    measure = METRICS["affine-invariant"].distance
    for name, metric in METRICS.items():
        of_group = {group: metric.mean(X) for group, X in groups.items()}
        mirrored = metrics.power(of_group["problems"], -1)
        for group, X in groups.items():
            values = torch.linalg.eigvalsh(of_group[group])
            level = torch.linalg.eigvalsh(X).log().mean()
            half = len(X) // 2
            row = (
                group,
                name,
                len(X),
                values.log().mean() - level,
                measure(metric.mean(X[:half]), metric.mean(X[half:])),
                measure(mirrored, of_group[group]) if group != "problems" else float("nan"),
            )
            for column, value in zip(table.values(), row, strict=True):
                column.append(float(value) if isinstance(value, Tensor) else value)
            spectra["group"] += [group] * len(values)
            spectra["metric"] += [name] * len(values)
            spectra["rank"] += range(len(values))
            spectra["eigenvalue"] += values.tolist()
    return spectra, table
