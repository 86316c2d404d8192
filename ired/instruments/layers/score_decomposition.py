"""Direct attribution of the score to paths: the constant of f or its ripple, with FiLM or past it, which units.

The score is 2 (∂f/∂y)ᵀ f, linear in the f that it starts from and in the scales s = 1 + gain that
the landscape multiplies by at fc2 and fc3. So it is a sum of eight parts, {mean f, f − mean f} ×
{1, gain} at fc2 × {1, gain} at fc3, with the bends of the swishes as they are. It is a sum over the
units of any layer too, of ∂E/∂h_i·∂h_i/∂y. A part's share is ⟨part, score⟩/‖score‖²: shares add up
to 1, may be negative, and cancel where parts are large and opposed, which is why sizes
‖part‖²/‖score‖² stand beside them.

Energies without layers have no such parts. Of a bowl, where ∂f/∂y is the same everywhere, the constant
of f led back is the mean score: 0 for a prediction that is right on average, whatever was learned.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pandas import DataFrame
from torch import Tensor

from ired.instruments.core import states
from ired.instruments.core.patching import blind_score
from ired.instruments.layers.forward_backward import (
    LAYERS,
    Film,
    Network,
    Passage,
    back,
    directional_derivatives,
    passage,
)
from ired.instruments.statistics import intervals
from ired.instruments.statistics.intervals import Interval
from ired.instruments.statistics.spectra import participation_ratio
from ired.instruments.statistics.tables import summarise
from ired.model.protocol import Energy

ROOTS = ("constant", "ripple")
ROUTES = ("past FiLM", "gain of fc2", "gain of fc3", "both gains")
UNITS = (*LAYERS, "f")
TOP = 0.1  # the share of a layer's units that are its top units


@dataclass(frozen=True)
class ScorePaths:
    """Of P problems in L landscapes, averaged over draws.

    share, size: (L, 2 roots, 4 routes, P), see above; root_size: (L, 2, P) of the two roots whole;
    constant: (L,) ‖mean f‖² / mean ‖f‖²; participation: (L, UNITS, P) number of units that carry
    the score, (Σ|share|)²/Σ share², over the layer's width; top: (L, UNITS, P) part of Σ|share|
    that each state's own TOP units carry; fixed: the same by the units that lead on the other half
    of the problems.
    """

    landscapes: NDArray
    share: NDArray
    size: NDArray
    root_size: NDArray
    constant: NDArray
    participation: NDArray
    top: NDArray
    fixed: NDArray

    def least_constant(self, level: float = 0.95) -> Interval:
        """Share of the score that the constant of f carries, in the landscape where its interval
        reaches lowest; the intervals hold together at `level` (Bonferroni)."""
        rows = self.share[:, ROOTS.index("constant")].sum(1)
        shares = [intervals.mean_interval(row, 1 - (1 - level) / len(rows)) for row in rows]
        return min(shares, key=lambda share: share.low)

    def columns(self) -> dict[str, NDArray]:
        """Shares and sizes as tidy columns, one row per landscape, root, route and problem."""
        axes = {"landscape": self.landscapes, "root": ROOTS, "route": ROUTES}
        return states.tidy_columns(axes | {"problem": range(self.share.shape[-1])}, share=self.share, size=self.size)

    def units(self) -> dict[str, NDArray]:
        """How few units carry the score, one row per landscape, layer and problem."""
        axes = {"landscape": self.landscapes, "layer": UNITS, "problem": range(self.top.shape[-1])}
        return states.tidy_columns(axes, participation=self.participation, top=self.top, fixed=self.fixed)


@torch.no_grad()
def paths(network: Network, A: Tensor, z: Tensor) -> ScorePaths:
    """For problems A (P, n, n) at states z (K, P, M, size), in every landscape."""
    collected: dict[str, list[NDArray]] = {name: [] for name in ScorePaths.__dataclass_fields__}
    for k in range(len(z)):
        p = passage(network, A, z[k], k)
        whole = p.score.pow(2).sum(-1).clamp_min(torch.finfo(z.dtype).tiny)
        mean = p.f.mean((0, 1), keepdim=True).expand_as(p.f)
        roots = [[back(network, p, 2 * root, film) for film in _routes(p.film)] for root in (mean, p.f - mean)]
        parts = torch.stack([torch.stack(routes) for routes in roots])  # (2, 4, P, M, size)
        collected["landscapes"].append(np.array(k))
        collected["share"].append(_mean((parts * p.score).sum(-1) / whole))
        collected["size"].append(_mean(parts.pow(2).sum(-1) / whole))
        collected["root_size"].append(_mean(parts.sum(1).pow(2).sum(-1) / whole))
        collected["constant"].append(states.array(mean[0, 0].pow(2).sum() / p.f.pow(2).sum(-1).mean()))
        shares = unit_shares(network, p)
        carried = [_carried(states.array(shares[name].abs())) for name in UNITS]
        for i, name in enumerate(("participation", "top", "fixed")):
            collected[name].append(np.stack([layer_shares[i] for layer_shares in carried]))
    return ScorePaths(**{name: np.stack(parts) for name, parts in collected.items()})


@torch.no_grad()
def constant_share_of_bowl(energy: Energy, A: Tensor, z: Tensor) -> NDArray:
    """What `paths` calls the share of the constant, on an energy whose f is affine in the state with slopes that are
    the same everywhere, as a `PredictorEnergy`'s: (K, P), for problems A (P, n, n) at states z (K, P, M, size)."""
    shares = []
    for k in range(len(z)):
        score = energy.gradient(A, energy.coordinates.from_basis(z[k]), k)
        whole = score.pow(2).sum(-1).clamp_min(torch.finfo(z.dtype).tiny)
        shares.append(_mean((score * score.mean((0, 1))).sum(-1) / whole))
    return np.stack(shares)


def unit_shares(network: Network, p: Passage) -> dict[str, Tensor]:
    """What each unit of each layer hands to the score, (P, M, width); adds up to 1 in every layer.

    Unit i's part is ∂E/∂h_i·∂h_i/∂y, and its product with the score is ∂E/∂h_i times the derivative of
    h_i along the score.
    """
    whole = p.score.pow(2).sum(-1, keepdim=True).clamp_min(torch.finfo(p.f.dtype).tiny)
    moved = directional_derivatives(network, p, p.score)
    return {n: g * t / whole for n, g, t in zip(UNITS, (*p.d, p.e[3]), moved, strict=True)}


def score_changes(
    energy: Energy, others: Mapping[str, Energy], A: Tensor, z: Tensor, noise: Tensor
) -> dict[str, NDArray]:
    """How other energies' scores differ from this one's, as columns per energy, landscape, problem.

    z, noise: (K, P, M, size). change: Σ‖score' − score‖² / Σ‖score‖² over a problem's draws; error:
    mean squared error of score' to the noise, over that of the least-squares multiple of the state,
    which never sees A (1: no better). "own" is the energy itself.
    """
    named, shape = {"own": energy, **others}, (len(others) + 1, *z.shape[:2])
    change, error = np.zeros(shape), np.zeros(shape)
    c = energy.coordinates
    with torch.no_grad():
        for k in range(len(z)):
            y, eps = c.from_basis(z[k]), c.from_basis(noise[k])
            whole = energy.gradient(A, y, k)
            blind = (blind_score(energy, y, eps) - eps).pow(2).sum((1, 2))
            for i, other in enumerate(named.values()):
                score = other.gradient(A, y, k)
                moved = (score - whole).pow(2).sum((1, 2)) / whole.pow(2).sum((1, 2))
                change[i, k], error[i, k] = (states.array(v) for v in (moved, (score - eps).pow(2).sum((1, 2)) / blind))
    axes = {"altered": list(named), "landscape": range(shape[1]), "problem": range(shape[2])}
    return states.tidy_columns(axes, change=change, error=error)


def score_path_summaries(tables: Mapping[str, DataFrame]) -> dict[str, DataFrame]:
    """Means with intervals over problems, by energy and landscape, of "paths", "units" and "film".

    tables: those of `ScorePaths.columns`, `ScorePaths.units` and `score_changes`, with a column energy.
    "paths" becomes "roots" (summed over routes) and "routes" (summed over roots).
    """
    cell, means = ["energy", "landscape"], {}
    for name, part in (("roots", "root"), ("routes", "route")):
        by = tables["paths"].groupby([*cell, part, "problem"], sort=False)
        means[name] = summarise(by["share"].sum().reset_index(), [*cell, part], ["share"])
    means["film"] = summarise(tables["film"], [*cell, "altered"], ["change", "error"])
    measures = ["participation", "top", "fixed"]
    return means | {"units": summarise(tables["units"], [*cell, "layer"], measures)}


def _routes(film: Film) -> list[Film]:
    """What the backward pass multiplies by at fc2 and fc3 on each of ROUTES; they add up to `film`."""
    split = [(torch.ones_like(scale), scale - 1) for scale in film]
    return [(split[0][i], split[1][j]) for j, i in itertools.product((0, 1), repeat=2)]


def _mean(values: Tensor) -> NDArray:
    return states.array(values.mean(-1))


def _carried(size: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Participation over width, part of the own top units, of the other half's top units; each (P,)."""
    P, _, width = size.shape
    total, count = size.sum(-1), max(1, round(TOP * width))
    safe = np.where(total > 0, total, 1.0)
    top = np.sort(size, -1)[..., -count:].sum(-1) / safe
    fixed, middle = np.zeros(P), P // 2
    for here, there in ((slice(0, middle), slice(middle, P)), (slice(middle, P), slice(0, middle))):
        lead = np.argsort((size / safe[..., None])[there].mean((0, 1)))[-count:]
        fixed[here] = (size[here][..., lead].sum(-1) / safe[here]).mean(-1)
    return participation_ratio(size).mean(-1) / width, top.mean(-1), fixed
