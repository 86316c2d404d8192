"""Known answers of the gradient field: ideal gradients point home, planted faults are caught with their size."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ired.instruments.core import states
from ired.instruments.core.check import Check, compare, relative
from ired.instruments.core.reference_energies import References, WrappedEnergy
from ired.instruments.landscape import gradient_field
from ired.model.protocol import Energy


def check_field(references: References, generator: torch.Generator) -> list[Check]:
    """Ideal gradients point home; twisted and stretched ones are caught with their size."""
    name, A, ideal, algebraic = "field", references.A, references.ideal, references.algebraic
    c, landscapes = ideal.coordinates, references.landscapes
    y0 = states.answers(ideal, A)
    measured = gradient_field.gradient_field(ideal, A, y0, landscapes, (0.1, 1.0, 10.0), 4, generator)
    odd = 0 if c.symmetric else c.n * (c.n - 1) // 2
    checks = [
        compare(name, "cosine of the ideal gradient with the way home", 1, measured.cosine, 1e-9),
        compare(name, "its radial size", 1, measured.radial, 1e-8),
        compare(name, "its tangential size", 0, measured.tangential, 1e-6),
    ]
    measured = gradient_field.gradient_field(ideal, A, y0, landscapes[:1], (1.0,), 1000, generator)
    checks.append(
        Check(
            name,
            "its antisymmetric share",
            expected=odd / c.size,
            measured=measured.antisymmetric.mean(),
            tolerance=0.03,
        )
    )

    measured = gradient_field.score_error(ideal, A, y0, landscapes, 200, generator)
    bar = np.array([ideal.schedule.alpha_bar[k].item() for k in landscapes])[:, None]
    power = states.array(y0.pow(2).sum(-1)) / c.size
    blind = bar / (1 - bar) * power
    pooled = blind.mean(-1)
    checks += [
        compare(
            name,
            "score error of the ideal landscape",
            0,
            [measured.error, measured.symmetric, measured.antisymmetric],
            1e-12,
        ),
        relative(name, "error of y_k/σ_k", blind, measured.blind, 1e-8),
        relative(name, "error of the best multiple of y_k", pooled / (1 + pooled), measured.shrunk.mean(-1), 0.15),
    ]
    measured = gradient_field.score_error(_Stretched(ideal, 2.0), A, y0, landscapes, 500, generator)
    checks += [
        compare(name, "score error of twice the gradient", 1, measured.error.mean(-1), 0.12),
        compare(name, "its symmetric part", 1, measured.symmetric.mean(-1), 0.12),
        compare(name, "its antisymmetric part", 1.0 if odd else 0.0, measured.antisymmetric.mean(-1), 0.15),
    ]

    for energy, label in ((ideal, "ideal"), (algebraic, "algebraic")):
        measured = gradient_field.conservation(energy, A, y0, landscapes, generator)
        checks += [
            compare(name, f"{label} {part}", 0, getattr(measured, part), 1e-6)
            for part in ("asymmetry", "loop", "path", "hessian")
        ]
    strength, turned = 0.5, 2 * (c.size // 2)
    twisted = _Twisted(ideal, strength)
    measured = gradient_field.conservation(twisted, A, y0, landscapes, generator, pairs=100)
    size = math.sqrt(c.size + strength**2 * turned)
    checks += [
        relative(
            name,
            "asymmetry of a twisted gradient",
            2 * strength * math.sqrt(turned) / size,
            measured.asymmetry.mean(),
            0.15,
        ),
        relative(name, "its distance from the Hessian", strength * math.sqrt(turned) / size, measured.hessian, 0.1),
        Check(
            name, "share of loops that see the twist", expected=1, measured=(measured.loop > 1e-5).mean(), tolerance=0
        ),
    ]
    measured = gradient_field.conservation(_Stretched(ideal, 2.0), A, y0, landscapes, generator)
    checks += [
        Check(
            name,
            "share of paths that see a stretched gradient",
            expected=1,
            measured=(measured.path > 1e-5).mean(),
            tolerance=0,
        ),
        compare(name, "its Hessian against its Jacobian", 0.5, measured.hessian, 1e-6),
    ]

    measured = gradient_field.divergence(ideal, A, states.at_answers(ideal, y0, landscapes), landscapes)
    checks += [
        compare(name, "ideal divergence", 1, measured.total, 1e-9),
        compare(name, "ideal symmetric divergence", 1, measured.symmetric, 1e-9),
        compare(name, "ideal antisymmetric divergence", 1.0 if odd else 0.0, measured.antisymmetric, 1e-9),
    ]
    measured = gradient_field.descents(ideal, A, y0, landscapes, (0.5, 5.0), 2, generator, steps=200, tolerance=1e-8)
    checks += [
        compare(name, "share of ideal descents that converge", 1, measured.converged, 0),
        compare(name, "distance of their ends from the answer", 0, measured.distance, 1e-6),
        compare(name, "gap of their ends", 0, measured.gap, 1e-6),
        compare(name, "gradient at their ends", 0, measured.gradient, 1e-8),
    ]
    return checks


class _Stretched(WrappedEnergy):
    """A gradient that is a multiple of what it should be."""

    def __init__(self, energy: Energy, factor: float):
        super().__init__(energy)
        self.factor = factor

    def gradient(self, A: Any, y: Tensor, k: int | Tensor) -> Tensor:
        return self.factor * self._energy.gradient(A, y, k)


class _Twisted(WrappedEnergy):
    """The ideal gradient with Ry/σ_k added, R antisymmetric: the gradient of no energy."""

    def __init__(self, energy: Energy, strength: float):
        super().__init__(energy)
        self.strength = strength

    def gradient(self, A: Any, y: Tensor, k: int | Tensor) -> Tensor:
        z = self.coordinates.to_basis(y)
        turned = torch.zeros_like(z)
        last = 2 * (z.shape[-1] // 2)
        turned[..., 0:last:2] = -z[..., 1:last:2]
        turned[..., 1:last:2] = z[..., 0:last:2]
        added = self.coordinates.from_basis(turned) / self.schedule.at("sigma", k, y)
        return self._energy.gradient(A, y, k) + self.strength * added
