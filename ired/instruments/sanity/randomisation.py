"""Model parameter randomisation test (Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018): does what an
instrument shows go away when what it is said to show is gone?

Weights are drawn anew from the last layer down, one after the other (*cascade*), or each layer alone
(*independent*). A map that stays the
same looks at the input and not at the network. Maps are compared with the trained network's by rank
correlation of signed values (absolute ones stay alike in networks that share nothing, since they
follow the input's size), and by structural similarity (SSIM: Wang et al., IEEE Trans. Image Process.
2004). The level that counts as nothing is that of two independent networks of random weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from pandas import DataFrame, concat
from torch import Tensor

from ired.instruments.core import random_directions
from ired.instruments.core.states import array
from ired.instruments.statistics.intervals import Interval, mean_interval, rank_correlation
from ired.instruments.statistics.tables import per_unit, summarise
from ired.model.protocol import Energy

LAYERS = ("fc4", "fc3", "fc2", "fc1")  # in the order of the cascade
TRAINED = "none"  # the step before the first layer
NULL = "random against random"
LIKENESSES = ("signed rank", "absolute rank", "SSIM")
SLACK = 0.2  # what may be left of a likeness beyond two random networks
WINDOW = 7  # of SSIM, where maps are that large
_LUMINANCE, _CONTRAST = 0.01, 0.03  # Wang et al.'s K₁ and K₂


def steps(order: str) -> list[tuple[str, tuple[str, ...]]]:
    """Names of the steps of "cascade" or "independent" and the layers whose weights are fresh there."""
    if order == "cascade":
        return [(layer, LAYERS[: i + 1]) for i, layer in enumerate(LAYERS)]
    if order == "independent":
        return [(layer, (layer,)) for layer in LAYERS]
    raise ValueError(f"weights are randomised in a 'cascade' or 'independent', not '{order}'")


# How alike two maps are


def window(n: int) -> int:
    """The side of SSIM's windows in n×n maps: WINDOW, or 3 in smaller maps (all of it where n is 3).

    Raises ValueError for n < 3, where there is no structure to compare."""
    if n < 3:
        raise ValueError(f"maps of side {n} are too small for SSIM")
    return WINDOW if n >= WINDOW else 3


def ssim(first: Tensor, second: Tensor) -> Tensor:
    """Mean structural similarity (P,) of maps (P, n, n): 1 for maps that are multiples of each other.

    Each map is divided by its largest size and moved from [−1, 1] to [0, 1], as Adebayo et al. do: SSIM
    is made for pictures, and its factor for brightness would call opposite maps alike where both are
    dark and bright by the same amount. Uniform windows, all that lie within the map; dynamic range 1.
    """
    side = window(first.shape[-1])
    a, b = ((m / m.abs().amax((1, 2), keepdim=True).clamp_min(1e-300) + 1) / 2 for m in (first, second))

    def mean(v: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool2d(v[:, None], side, stride=1)[:, 0]

    ma, mb = mean(a), mean(b)
    va, vb, both = mean(a * a) - ma**2, mean(b * b) - mb**2, mean(a * b) - ma * mb
    luminance, contrast = _LUMINANCE**2, _CONTRAST**2
    alike = (2 * ma * mb + luminance) * (2 * both + contrast) / ((ma**2 + mb**2 + luminance) * (va + vb + contrast))
    return alike.mean((1, 2))


def map_likeness(first: Tensor, second: Tensor) -> dict[str, Tensor]:
    """LIKENESSES (P,) of symmetric maps (P, n, n); ranks are those of the upper triangle."""
    rows, columns = torch.triu_indices(*first.shape[1:], device=first.device)
    a, b = (array(m[:, rows, columns]) for m in (first, second))
    ranks = rank_correlation(a, b), rank_correlation(abs(a), abs(b))
    return dict(zip(LIKENESSES, (*map(torch.from_numpy, ranks), ssim(first, second)), strict=True))


# Networks with fresh weights, and how a measure falls along them


@dataclass(frozen=True)
class Altered:
    """A network with fresh weights: at which step of which order, and which draw of the weights."""

    order: str
    step: str
    draw: int
    energy: Energy

    @property
    def fully(self) -> bool:
        """Whether nothing of the training is left (the end of the cascade)."""
        return self.order == "cascade" and self.step == LAYERS[-1]


def map_decay(measure: str, trained: Tensor, maps: Sequence[tuple[Altered, Tensor]]) -> DataFrame:
    """How alike maps (P, n, n) of altered networks are to the trained one's.

    Rows of measure ("<measure>, <likeness>"), order, step, draw, problem, value; order NULL: the maps
    of two networks whose weights were all drawn anew, of every draw and the next.
    """
    pairs = [(altered.order, altered.step, altered.draw, trained, attribution) for altered, attribution in maps]
    random = [attribution for altered, attribution in maps if altered.fully]
    pairs += [(NULL, NULL, i, random[i], random[(i + 1) % len(random)]) for i in range(len(random))]
    tables = []
    for order, step, draw, reference, other in pairs:
        for name, values in map_likeness(reference, other).items():
            tables.append(values_of(f"{measure}, {name}", order=order, step=step, draw=draw, values=values))
    return concat(tables, ignore_index=True)


def values_of(measure: str, order: str, step: str, draw: int, values: Tensor) -> DataFrame:
    """Rows as in `map_decay` of a measure's values, one a problem (or another unit)."""
    return DataFrame({"problem": range(len(values)), "value": array(values)}).assign(
        measure=measure, order=order, step=step, draw=draw
    )


def decay_curves(rows: DataFrame) -> DataFrame:
    """Means over draws and problems with 95 % intervals over problems: columns measure, order, step,
    mean, low, high, units."""
    rows = rows.rename(columns={"measure": "what"})
    means = summarise(rows, ["what", "order", "step"], ["value"])
    return means.drop(columns="measure").rename(columns={"what": "measure"})


@dataclass(frozen=True)
class Left:
    """What is left of a likeness to the trained network at the end of the cascade: `likeness` itself,
    and `excess`, by how much more it is than that of two random networks (paired over problems).

    Both are needed: a map that does not look at the network is as much alike in two random ones.
    """

    likeness: Interval
    excess: Interval

    @classmethod
    def of(cls, rows: DataFrame, measure: str) -> Left:
        """Of rows of `map_decay`."""
        rows = rows[rows["measure"] == measure]
        end = per_unit(rows, "value", order="cascade", step=LAYERS[-1])
        null = per_unit(rows, "value", order=NULL)
        return cls(mean_interval(end), mean_interval(end - null))

    def decayed(self) -> bool:
        """Surely less than half alike, and less than SLACK above two random networks."""
        return bool(self.likeness.high < 0.5 and self.excess.high < SLACK)


# What nothing looks like


def gaussian_like(x: Tensor, generator: torch.Generator) -> Tensor:
    """Normal draws (N, …) with the mean and covariance of x (N, …), entries taken together.

    Gaussian mixtures of the deviations of x: no covariance is formed, and what spans less than all
    dimensions stays in its span.
    """
    flat = x.flatten(1)
    mean, count = flat.mean(0), len(flat)
    z = random_directions.normal(count, count, generator=generator, like=flat)
    return (mean + z @ (flat - mean) / (count - 1) ** 0.5).view_as(x)


def directions_like(x: Tensor, count: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Random directions (count, width), of length 1: "isotropic", and of the covariance of x (N,
    width)."""
    z = random_directions.normal(count, len(x) + x.shape[1], generator=generator, like=x)
    return {
        "isotropic": random_directions.unit(z[:, len(x) :]),
        "covariance": random_directions.mixtures(z[:, : len(x)], x),
    }


def share_in_subspace(field: Tensor, rows: Tensor) -> Tensor:
    """The share (P,) of the square of a field (P, M, size) that lies in a subspace, orthonormal rows
    (m, size): m/size for a field without preference."""
    return (field @ rows.mT).pow(2).sum((1, 2)) / field.pow(2).sum((1, 2)).clamp_min(1e-300)
