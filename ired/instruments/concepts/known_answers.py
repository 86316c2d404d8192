"""Known answers of P3-02: planted concepts, confounders, regressions and heads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ired.instruments.concepts import cav, pairs, regions, regression, tcav
from ired.instruments.concepts.cav import METHODS, PRIMARY
from ired.instruments.core import states
from ired.instruments.core.check import Check, compare
from ired.instruments.core.reference_energies import References, WrappedEnergy

NAME = "concepts"


@dataclass(frozen=True)
class PlantedConcept:
    """Pairs h (G, 2, width), confounder z (G, 2, 1); directions of concept and confounder (width,)."""

    h: NDArray
    z: NDArray
    concept: NDArray
    confounder: NDArray

    def cosines(self, method: str) -> tuple[float, float]:
        """|cosine| of the method's CAV to the concept's direction and to the confounder's."""
        vector = cav.fit(method, self.h, self.z)
        return abs(float(vector @ self.concept)), abs(float(vector @ self.confounder))


def planted_concept(rng: np.random.Generator, confounded: float, pairs: int = 1000, width: int = 48) -> PlantedConcept:
    """A concept along one direction and a confounder, three times as strong, along another, in noise
    whose deviations differ tenfold between directions of its own. `confounded`: how far, in deviations,
    the confounder differs between the sides."""
    axes, _ = np.linalg.qr(rng.normal(size=(width, width)))
    noise = rng.normal(size=(pairs, 2, width)) * np.geomspace(1, 0.1, width) @ axes.T
    u, v = np.linalg.qr(rng.normal(size=(width, 2)))[0].T
    z = rng.normal(size=(pairs, 2, 1)) + confounded * np.array([-0.5, 0.5])[:, None]
    label = np.array([-0.5, 0.5])[:, None]
    return PlantedConcept(noise + label * u + z * v, z, u, v)


def chosen(rng: np.random.Generator) -> tuple[str, dict[str, tuple[float, float, float]]]:
    """The method that is to be primary, and for every method its cosine to the concept where nothing
    confounds, then with a confounder to the concept and to the confounder: of those that find the
    concept to 0.95 the one that is nearest to it, counted from the confounder."""
    plain, confounded = planted_concept(rng, 0.0), planted_concept(rng, 1.5)
    cosines = {m: (plain.cosines(m)[0], *confounded.cosines(m)) for m in METHODS}
    sound = [m for m in METHODS if cosines[m][0] >= 0.95]
    return max(sound, key=lambda m: cosines[m][1] - cosines[m][2], default=""), cosines


def check_concepts(generator: torch.Generator) -> list[Check]:
    """Planted data: directions, matching, chance, regressions, regions."""
    rng = np.random.default_rng(int(torch.randint(2**31, (), generator=generator)))
    primary, cosines = chosen(rng)
    plain, concept, confounder = cosines[PRIMARY]
    checks = [
        Check(NAME, "cosine of the primary CAV to a planted concept", expected=1, measured=plain, tolerance=0.05),
        Check(NAME, "the same with a confounder", expected=1, measured=concept, tolerance=0.05),
        Check(NAME, "its cosine to the confounder", expected=0, measured=confounder, tolerance=0.3),
        Check(
            NAME,
            "whether planted data choose the primary method",
            expected=1,
            measured=float(primary == PRIMARY),
            tolerance=0,
        ),
        Check(
            NAME,
            "cosine of the plain pattern to the confounder",
            expected=0.8,
            measured=cosines["pattern"][2],
            tolerance=0.2,
        ),
    ]

    # A property and a shadow of it, with only the shadow's direction in the activations.
    value = rng.normal(size=1200)
    shadow = 0.7 * value + 0.7 * rng.normal(size=(1200, 1))[:, 0]
    problem = pairs.matched_pairs(value, shadow[:, None], np.arange(1200) % 4, 0.3)
    before = pairs.side_difference(shadow[value < -0.43], shadow[value > 0.43])[0]
    after, contrast = (pairs.side_difference(*x[problem].T)[0] for x in (shadow, value))
    checks += [
        Check(NAME, "mean difference of a confounder before matching", expected=1.8, measured=before, tolerance=0.4),
        Check(NAME, "and after it", expected=0, measured=after, tolerance=0.1),
        Check(NAME, "contrast that is left", expected=1.9, measured=contrast, tolerance=0.6),
    ]
    # 200 sets of random labels: 10 are significant at 5 %, and at most 19 with probability 0.998.
    p = np.array([_chance(rng) for _ in range(200)])
    checks += [
        Check(NAME, f"share of random labels with p < 0.05 ({what})", expected=0.045, measured=share, tolerance=0.05)
        for what, share in zip(("score", "mean", "agreement"), (p < 0.05).mean(0), strict=True)
    ]
    head = planted_concept(rng, 1.5)
    parts = cav.contributions(head.h, head.z)
    random = cav.random_cavs(parts, np.arange(len(parts)), 199, rng)
    slopes = head.concept + 0.3 * rng.normal(size=(100, len(head.concept)))
    test = tcav.tcav(cav.fit(PRIMARY, head.h, head.z), random, slopes)
    checks.append(
        Check(
            NAME,
            "p of the mean derivative of a head that reads the concept",
            expected=0.01,
            measured=test.p("mean"),
            tolerance=1e-9,
        )
    )

    x = rng.normal(size=(400, 30))
    w = np.eye(30)[0]
    values = np.stack([x @ w + 0.3 * rng.normal(size=400), rng.normal(size=400)], 1)
    linear, nothing = regression.regressions(x, values, np.arange(400), np.arange(400) % 4)
    checks += [
        Check(
            NAME,
            "cosine of a concept regression to a planted one",
            expected=1,
            measured=abs(linear.vector @ w),
            tolerance=0.05,
        ),
        Check(NAME, "its R²", expected=1 / 1.09, measured=linear.r2.estimate, tolerance=0.06),
        Check(
            NAME, "R² of noise, where it exceeds 0", expected=0, measured=max(nothing.r2.estimate, 0.0), tolerance=0.05
        ),
    ]
    ball = rng.normal(size=(200, 2, 5)) * np.array([0.5, 1.5])[:, None]
    right = regions.accuracies(ball, np.zeros((200, 2, 0)), np.arange(200), np.arange(200) % 4)
    return [
        *checks,
        Check(
            NAME,
            "accuracy of a plane on a ball in a shell",
            expected=0.5,
            measured=right["linear"].estimate,
            tolerance=0.2,
        ),
        Check(NAME, "accuracy of a region on it", expected=1, measured=right["region"].estimate, tolerance=0.1),
    ]


def _chance(rng: np.random.Generator) -> tuple[float, float, float]:
    """p-values of score, mean and agreement where labels mean nothing, but all slopes nearly agree."""
    h = rng.normal(size=(40, 2, 12)) * np.geomspace(1, 0.1, 12)
    slopes = rng.normal(size=12) + rng.normal(size=(30, 12))
    z, unit, fold = rng.normal(size=(40, 2, 2)), np.arange(40), np.arange(40) % 4
    random = cav.random_cavs(cav.contributions(h, z), unit, 199, rng)
    test = tcav.tcav(cav.fit(PRIMARY, h, z), random, slopes)
    cosines = cav.half_agreement(h, z, unit, fold, count=199, rng=rng)
    return test.p("score"), test.p("mean"), float((cosines >= cosines[0]).mean())


def check_tcav(references: References, generator: torch.Generator) -> list[Check]:
    """Linear and quadratic heads, whose derivatives are known."""
    energy, A = _Headed(references.ideal), references.A
    y0, size = states.answers(energy, A), energy.coordinates.size
    k = energy.schedule.K // 2
    state = generator.get_state()
    slopes = tcav.slopes(energy, A, y0, k, layers=("linear", "square"), generator=generator)
    noise = states.array(
        energy.coordinates.to_basis(states.noised(energy, y0, k, 1, generator.set_state(state))[1][:, 0])
    )
    axis, none = np.eye(size)[0], np.zeros((1, size))
    none[0, 1] = 1
    head = energy.head(A).cpu().numpy()
    linear, square = (tcav.tcav(axis, none, part) for part in (slopes["linear"].energy, slopes["square"].gap))
    return [
        compare(NAME, "TCAV score of a linear head", float(head[0] > 0), linear.score[0], 0),
        compare(NAME, "mean derivative of it", head[0], linear.mean[0], 1e-9),
        compare(NAME, "derivative of its gap", 0, slopes["linear"].gap, 1e-9),
        compare(NAME, "score of a quadratic's gap", (noise[:, 0] > 0).mean(), square.score[0], 1e-9),
        compare(NAME, "mean derivative of it", noise[:, 0].mean(), square.mean[0], 1e-9),
    ]


class _Headed(WrappedEnergy):
    """Basis coordinates h of y − √ᾱ_k y₀ as a layer, with heads wᵀh and ‖h‖²/2σ_k."""

    def prepare(self, A: Tensor) -> Tensor:
        return A

    def head(self, like: Tensor) -> Tensor:
        return torch.linspace(-1, 2, self.coordinates.size, dtype=like.dtype, device=like.device)

    def activations(self, A: Any, y: Tensor, k: int | Tensor) -> dict[str, Tensor]:
        home = self.schedule.at("sqrt_alpha_bar", k, y) * states.answers(self, A)
        h = self.coordinates.to_basis(y - home)
        return {"linear": h, "square": h}

    def resume(self, layer: str, h: Tensor, A: Any, k: int | Tensor) -> Tensor:
        if layer == "linear":
            return h @ self.head(h)
        return (h * h / self.schedule.at("sigma", k, h)).sum(-1) / 2
