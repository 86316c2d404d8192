"""Vanishing gradients (Glorot & Bengio 2010) and gradient noise (McCandlish et al. 2018) in the layers, for two losses.

How large are gradients, how sure, and do the losses agree? Three backward passes are followed: of the
denoising loss (mean squared error of ∇_y E to the noise), of the contrastive loss softplus(E(real) −
E(negative)), and of E itself, which makes the score. By the weights, a problem's gradient is a sum of outer
products, one for every use of a matrix, so that inner products of problems' gradients need no gradient to be
formed. They suffice for everything here:
‖E g‖²/tr Cov g (the inverse of the simple noise scale of McCandlish et al. 2018, arXiv 1812.06162)
and the cosine of two losses' mean gradients (Yu et al. 2020, arXiv 2001.06782). Both take products of
different problems only, so that noise alone looks like no signal. Intervals: jackknife over problems.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special
from torch import Tensor
from torch.nn import functional as F

from ired.instruments.core import states as points
from ired.instruments.layers.forward_backward import Network, Passage, passage
from ired.instruments.statistics import intervals
from ired.instruments.statistics.intervals import Interval
from ired.model.protocol import Energy

KINDS = ("denoising", "contrastive", "score")
PLACES = ("f", "fc3", "fc2", "fc1", "state")  # in the order of a backward pass
WEIGHTS = ("fc1", "fc2", "fc3", "fc4")
WHOLE = "all layers"
EVERY = -1  # in place of a landscape's number: all of them, equally often, as in training
Negatives = Callable[[Tensor, Tensor, Tensor], Tensor]
Terms = dict[str, tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Flow:
    """Of P problems in C cells: each landscape, and all of them together (EVERY), which stands last.

    landscapes: (C,); losses: (C, 2, P) of denoising and contrast; pull: (C, P) mean of
    sigmoid(E(real) − E(negative)), by which the contrastive gradient is multiplied; unit: (C,) the
    largest one, in which the contrastive products below are given; norm: (C, kind, place, P) root
    mean square over draws of the gradient's norm by the activations (of real and negative
    together); bare: the same without `pull`; activations: (C, kind, place, P, P) inner products of
    problems' mean gradients by the activations; weights: (C, kind, layer, P, P) by weights and
    bias; between: (C, layer, P, P), of denoising (rows) with contrast (columns).
    """

    landscapes: NDArray
    losses: NDArray
    pull: NDArray
    unit: NDArray
    norm: NDArray
    bare: NDArray
    activations: NDArray
    weights: NDArray
    between: NDArray

    def decades(self) -> NDArray:
        """log10 of the norm at fc1 over that at f (C, kind, P): −1 where a tenth is left."""
        first, last = PLACES.index("f"), PLACES.index("fc1")
        return np.log10(self.bare[:, :, last] / self.bare[:, :, first])

    def furthest(self, level: float = 0.95) -> Interval:
        """Mean `decades` where their interval reaches furthest from 0, of all kinds and single
        landscapes; the intervals hold together at `level` (Bonferroni)."""
        rows = self.decades()[self.landscapes != EVERY]
        each = 1 - (1 - level) / (len(rows) * len(KINDS))
        means = [intervals.mean_interval(row, each) for row in rows.reshape(-1, rows.shape[-1])]
        return max(means, key=lambda mean: max(abs(mean.low), abs(mean.high)))

    def depth(self, level: float = 0.95) -> list[dict]:
        """Mean log10 of the norm at each place over that at f, with Student's t interval, as rows."""
        decades = np.log10(self.bare / self.bare[:, :, :1])
        rows = []
        for (c, kind, place), _ in np.ndenumerate(decades[..., 0]):
            mean = intervals.student_interval(decades[c, kind, place], level)
            cell = {"landscape": int(self.landscapes[c]), "kind": KINDS[kind], "place": PLACES[place]}
            rows.append(cell | mean.row("decades"))
        return rows

    def columns(self) -> dict[str, NDArray]:
        """Norms as tidy columns, one row per landscape, kind, place and problem."""
        axes = {"landscape": self.landscapes, "kind": KINDS, "place": PLACES}
        return points.tidy_columns(axes | {"problem": range(self.norm.shape[-1])}, norm=self.norm, bare=self.bare)

    def signals(self, level: float = 0.95) -> list[dict]:
        """Signal-to-noise of each gradient by each layer's weights and activations, as rows."""
        rows = []
        for c, k in enumerate(self.landscapes):
            for i, kind in enumerate(KINDS):
                unit = self.unit[c] if kind == "contrastive" else 1.0
                grams = [("weights", name, gram) for name, gram in zip(WEIGHTS, self.weights[c, i], strict=True)]
                grams.append(("weights", WHOLE, self.weights[c, i].sum(0)))
                at_places = zip(PLACES, self.activations[c, i], strict=True)
                grams += [("activations", name, gram) for name, gram in at_places]
                for of, name, gram in grams:
                    snr = signal_to_noise(gram, level)
                    rows.append(
                        {
                            "landscape": int(k),
                            "kind": kind,
                            "of": of,
                            "layer": name,
                            **snr.row("snr"),
                            "norm": float(np.sqrt(gram.mean().clip(0)) * unit),
                            "typical": float(np.sqrt(np.trace(gram) / len(gram)) * unit),
                        }
                    )
        return rows

    def agreement(self, level: float = 0.95) -> list[dict]:
        """Cosine of the denoising with the contrastive gradient by each layer's weights, as rows."""
        rows, (denoising, contrastive) = [], (KINDS.index("denoising"), KINDS.index("contrastive"))
        for c, k in enumerate(self.landscapes):
            for j, layer in enumerate((*WEIGHTS, WHOLE)):
                chosen = slice(None) if layer == WHOLE else slice(j, j + 1)
                grams = (
                    self.weights[c, denoising, chosen],
                    self.between[c, chosen],
                    self.weights[c, contrastive, chosen],
                )
                cosine = mean_cosine(*(gram.sum(0) for gram in grams), level)
                rows.append({"landscape": int(k), "layer": layer} | cosine.row("cosine"))
        return rows


def random_negatives(energy: Energy, times: float, clip: float) -> Negatives:
    """Clean answers moved by `times` the noise of the landscape, entries cut to ±clip: the random negatives of
    training."""

    def negatives(y0: Tensor, noise: Tensor, k: Tensor) -> Tensor:
        root, sigma = (energy.schedule.at(name, k, y0[0])[None] for name in ("sqrt_alpha_bar", "sigma"))
        return (y0 + times * sigma / root * noise).clamp(-clip, clip)

    return negatives


def flow(
    network: Network,
    A: Tensor,
    y0: Tensor,
    negatives: Negatives,
    draws: int,
    generator: torch.Generator,
) -> Flow:
    """Gradients at `draws` noised answers of problems A (P, n, n), answers y0 (P, d), a landscape.

    negatives(y0 (P, 1, d), ε (P, M, d), k (M,)) gives clean wrong answers (P, M, d); they and the right
    ones get the same noise ε. The cell of all landscapes has one draw in each.
    """
    K = network.schedule.K
    cells = [torch.full((draws,), k) for k in range(K)] + [torch.arange(K)]
    measured = [_cell(network, A, y0, k.to(A.device), negatives, generator) for k in cells]
    parts = (np.stack([cell[name] for cell in measured]) for name in measured[0])
    return Flow(np.array([*range(K), EVERY]), *parts)


def signal_to_noise(gram: NDArray, level: float = 0.95) -> Interval:
    """‖E g‖²/tr Cov g of vectors g_p with inner products `gram` (P, P), with its jackknife interval.

    ‖E g‖² is estimated from pairs of different vectors: without a signal the estimate is around 0, and
    may be negative. 0 where all are 0.
    """
    gram = np.asarray(gram, dtype=np.float64)

    def ratio(total: NDArray, diagonal: NDArray, count: int) -> NDArray:
        signal = (total - diagonal) / (count * (count - 1))
        noise = diagonal / count - signal
        return np.divide(signal, noise, out=np.zeros_like(signal), where=noise > 0)

    return _jackknife(ratio, (gram,), level)


def mean_cosine(first: NDArray, between: NDArray, second: NDArray, level: float = 0.95) -> Interval:
    """Cosine of the means of vectors g_p and h_p, given ⟨g, g⟩, ⟨g, h⟩ and ⟨h, h⟩, each (P, P).

    The means' product is estimated from g and h of different problems, so that what one problem does to
    both does not count as agreement; their lengths from all pairs: noise in them draws the cosine
    towards 0 and never turns its sign. 0 where a mean is 0; cut to [−1, 1], which noise can leave.
    """

    def cosine(
        g: NDArray, g_own: NDArray, gh: NDArray, gh_own: NDArray, h: NDArray, h_own: NDArray, count: int
    ) -> NDArray:
        product = (gh - gh_own) / (count * (count - 1))
        lengths = np.sqrt(g.clip(0)) * np.sqrt(h.clip(0)) / count**2
        return np.divide(product, lengths, out=np.zeros_like(product), where=lengths > 0)

    interval = _jackknife(cosine, (first, between, second), level)
    estimate, low, high = (float(np.clip(x, -1, 1)) for x in (interval.estimate, interval.low, interval.high))
    return replace(interval, estimate=estimate, low=low, high=high)


def _jackknife(statistic: Callable[..., NDArray], grams: Sequence[NDArray], level: float) -> Interval:
    """Of a statistic of each Gram matrix's sum and trace, leaving out one problem at a time.

    The first value is the estimate; Student's t with the jackknife's standard error (Efron & Stein
    1981).
    """
    parts, count = [], len(grams[0])
    if count < 3:
        raise ValueError(f"a jackknife needs at least three problems, not {count}")
    for gram in grams:
        total, diagonal = gram.sum(), np.diagonal(gram)
        parts += [(total, total - gram.sum(0) - gram.sum(1) + diagonal), (diagonal.sum(), diagonal.sum() - diagonal)]
    estimate = float(statistic(*(np.atleast_1d(whole) for whole, _ in parts), count)[0])
    without = statistic(*(less for _, less in parts), count - 1)
    error = np.sqrt((count - 1) * np.mean((without - without.mean()) ** 2))
    reach = float(special.stdtrit(count - 1, (1 + level) / 2) * error)
    return Interval(
        estimate=estimate, low=estimate - reach, high=estimate + reach, level=level, units=count, method="jackknife"
    )


def _cell(
    network: Network,
    A: Tensor,
    y0: Tensor,
    k: Tensor,
    negatives: Negatives,
    generator: torch.Generator,
) -> dict[str, NDArray]:
    """All of a Flow in one cell with landscapes k (M,), one for each draw."""
    root, sigma = (getattr(network.schedule, name).to(y0)[k][:, None] for name in ("sqrt_alpha_bar", "sigma"))
    to_basis, draws = network.coordinates.to_basis, len(k)
    noise, contrast_noise = (points.noise(network, len(A), draws, generator=generator, like=y0) for _ in range(2))
    wrong = negatives(y0[:, None], contrast_noise, k)
    states = (
        root * y0[:, None] + sigma * noise,
        root * y0[:, None] + sigma * contrast_noise,
        root * wrong + sigma * contrast_noise,
    )
    z, right, wrong = (to_basis(y) for y in states)
    losses, places, terms = _denoising(network, A, z, to_basis(noise), k)
    with torch.no_grad():
        score_pass, real, negative = (passage(network, A, y, k) for y in (z, right, wrong))
        gap = real.f.pow(2).sum(-1) - negative.f.pow(2).sum(-1)
        pull = torch.sigmoid(gap)[..., None]
        # A contrast that is learned pulls by e^−300: its squares would vanish, its direction is there.
        unit = F.logsigmoid(gap).max()
        relative = (F.logsigmoid(gap) - unit).exp()[..., None]
        apart = [torch.cat([g, -h], -1) for g, h in zip(_places(real), _places(negative), strict=True)]
        bare = [places, apart, _places(score_pass)]
        pulled = [places, [pull * g for g in apart], _places(score_pass)]
        scaled = [places, [relative * g for g in apart], _places(score_pass)]
        of_real, of_negative = _of_energy(real, relative), _of_energy(negative, -relative)
        by_kind = [terms, {n: _join(of_real[n], of_negative[n]) for n in WEIGHTS}, _of_energy(score_pass, 1.0)]
    means = [[g.mean(1) for g in gradients] for gradients in scaled]
    return {
        "losses": points.array(torch.stack([losses.mean(1), F.softplus(gap).mean(1)])),
        "pull": points.array(pull.mean((1, 2))),
        "unit": points.array(unit.exp()),
        "norm": _norms(pulled),
        "bare": _norms(bare),
        "activations": np.stack([[points.array(g @ g.mT) for g in gradients] for gradients in means]),
        "weights": np.stack([[_gram(factors[n], factors[n], draws) for n in WEIGHTS] for factors in by_kind]),
        "between": np.stack([_gram(terms[n], by_kind[1][n], draws) for n in WEIGHTS]),
    }


def _denoising(network: Network, A: Tensor, z: Tensor, noise: Tensor, k: Tensor) -> tuple[Tensor, list[Tensor], Terms]:
    """The loss (P, M), its gradients by the activations, and the factors of those by the weights.

    A matrix acts twice, forward and in the pass that makes the score, and so has two products.
    """
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        p = passage(network, A, z, k)
        loss = (p.score - noise).pow(2).mean(-1)
        wanted = (*p.v, p.f, *p.d, p.score, *p.h, z)
        gradients = [g.detach() for g in torch.autograd.grad(loss.sum(), wanted)]
    v, d, score, h, state = gradients[:4], gradients[4:7], gradients[7], gradients[8:11], gradients[11]
    inputs = (p.x, *p.h)
    back = (F.pad(score, (p.x.shape[-1] - score.shape[-1], 0)), *d)
    terms = {
        name: _join((v[i], _with(inputs[i].detach(), 1.0)), (p.e[i].detach(), _with(back[i], 0.0)))
        for i, name in enumerate(WEIGHTS)
    }
    return loss.detach(), [v[3], *h[::-1], state], terms


def _of_energy(p: Passage, weight: Tensor | float) -> Terms:
    """The outer product of weight·∂E by each matrix."""
    inputs = (p.x, *p.h)
    return {name: (weight * p.e[i], _with(inputs[i], 1.0)) for i, name in enumerate(WEIGHTS)}


def _places(p: Passage) -> list[Tensor]:
    """∂E by the activations at PLACES."""
    return [p.e[3], *p.d[::-1], p.score]


def _with(x: Tensor, last: float) -> Tensor:
    """Inputs with the bias's 1 beside them, or 0 where the bias plays no part."""
    return F.pad(x, (0, 1), value=last)


def _join(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return tuple(torch.cat(pair, 1) for pair in zip(first, second, strict=True))


def _gram(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor], draws: int) -> NDArray:
    """Inner products (P, P) of Σ_t left_t right_tᵀ / draws, given left and right (P, T, …)."""
    left, right = (a.flatten(0, 1) @ b.flatten(0, 1).mT for a, b in zip(first, second, strict=True))
    product = (left * right).unflatten(1, second[0].shape[:2]).unflatten(0, first[0].shape[:2])
    return points.array(product.sum((1, 3)) / draws**2)


def _norms(kinds: list[list[Tensor]]) -> NDArray:
    """(kind, place, P)"""
    return np.stack([[points.array(g.pow(2).sum(-1).mean(1).sqrt()) for g in gradients] for gradients in kinds])
