"""Known answers of active subspaces: energies whose gradients are known, and planted subspaces."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ired.instruments.attribution import active_subspace, alignment, eigenframe, exact_sensitivity
from ired.instruments.core import random_directions, states as points
from ired.instruments.core.check import Check, compare
from ired.instruments.core.reference_energies import References, WrappedEnergy

NAME = "active_subspace"


def check_active_subspace(references: References, generator: torch.Generator) -> list[Check]:
    """Gradients, sensitivities, eigen-directions and pull-backs against closed forms."""
    ideal, A = references.ideal, references.A
    y0, size, to_basis = points.answers(ideal, A), ideal.coordinates.size, ideal.coordinates.to_basis
    states = active_subspace.noised_states(ideal, y0, 4, generator)
    fields = active_subspace.fields(ideal, A, states)
    roots = ideal.schedule.sqrt_alpha_bar.to(A)[:, None, None, None]
    sigmas = ideal.schedule.sigma.to(A)[:, None, None, None]
    z, home = to_basis(states), roots * to_basis(y0)[None, :, None]
    noise = (z - home) / sigmas
    c = (z * noise).sum((1, 2, 3), keepdim=True) / z.pow(2).sum((1, 2, 3), keepdim=True)
    checks = [
        compare(NAME, "the ideal gradient: the noise", *_arrays(noise, fields["raw"]), 1e-9),
        compare(
            NAME,
            "the ideal gradient beyond its blind part",
            *_arrays((1 - c * sigmas) * noise - c * home, fields["beyond"]),
            1e-9,
        ),
    ]

    B = torch.randn(size, size, generator=generator, dtype=torch.float64).to(A)
    H, basis = B + B.mT, points.state_basis(ideal, A)
    curved = references.quadratic(basis.mT @ H @ basis, A.new_zeros(ideal.coordinates.d))
    values, _ = active_subspace.principal_components(active_subspace.fields(curved, A, states)["raw"].flatten(1, 2))
    S = torch.stack([torch.cov(of_landscape.flatten(0, 1).mT, correction=0) for of_landscape in z])
    known = torch.linalg.eigvalsh(H @ S @ H).flip(-1)
    largest = known[:, :1]
    checks.append(
        compare(
            NAME,
            "variances of a quadratic's gradient: those of H S H",
            *_arrays(known / largest, values / largest),
            1e-9,
        )
    )

    everything = random_directions.orthonormal(size, size, generator, z)
    few, step, n = everything[:2], 1e-5, ideal.coordinates.n
    along, total = 0.0, 0.0
    for e in points.symmetric_basis(n, A).unflatten(-1, (n, n)):
        dY = torch.linalg.inv(A + step * e) - torch.linalg.inv(A - step * e)
        dy = to_basis(dY.flatten(-2))
        along, total = along + (dy @ few.mT).pow(2), total + dy.pow(2).sum(1)
    whole = exact_sensitivity.captured(ideal, A, everything).sum(1)
    captured = exact_sensitivity.captured(ideal, A, few)
    checks += [
        compare(NAME, "sensitivity that the whole space captures", 1, points.array(whole), 1e-9),
        compare(
            NAME,
            "sensitivity along random directions, by differences of inverses",
            *_arrays(along / total[:, None], captured),
            1e-6,
        ),
    ]

    unit = A[0] / A[0].norm()
    shares = eigenframe.frame_shares(ideal, A[:1], to_basis(unit.flatten())[None])[0, 0]
    checks.append(
        compare(
            NAME,
            "shares of A along its own eigen-directions",
            *_arrays(torch.linalg.eigvalsh(unit).pow(2), shares),
            1e-9,
        )
    )

    bent, k = _Bent(ideal), 1
    v = torch.randn(2, size, generator=generator, dtype=torch.float64).to(A)
    y = states[k, :, 0]
    pulled = alignment.pulled_back(bent, A, y, k=k, vectors={"fc1": v})["fc1"]
    slope = 1 - torch.tanh(to_basis(y)).pow(2)
    expected = torch.nn.functional.normalize(slope[:, None] * v, dim=-1)
    checks.append(compare(NAME, "directions of tanh(z) led back", *_arrays(expected, pulled), 1e-8))
    return checks


def check_planted_subspace(generator: torch.Generator) -> list[Check]:
    """A planted subspace and its dimension under noise; none in noise; cosines of a known direction."""
    P, size, m = 400, 12, 2

    normal = partial(random_directions.normal, generator=generator)
    noise = normal(40, P // 4, 1, size)
    rows = random_directions.orthonormal(m, size, generator, noise)
    field = normal(1, P, 1, size) + 3 * normal(1, P, 1, m) @ rows
    components = active_subspace.field_components(field, 39, generator)
    blind = active_subspace.field_components(noise, 39, generator)
    stable = active_subspace.subspace_stability(field[0], m, 5, generator)
    directions = torch.nn.functional.normalize(normal(1, 600, size), dim=-1).expand(3, -1, -1)
    p = alignment.alignment(rows[:1], directions).chance
    same = alignment.alignment(rows, rows.expand(3, -1, -1)).cosine
    return [
        Check(NAME, "components of a planted plane", expected=m, measured=float(components.real[0]), tolerance=0),
        Check(
            NAME,
            "its angle to what is found",
            expected=0,
            measured=active_subspace.angle(components.rows[0, :m], rows),
            tolerance=10,
        ),
        Check(
            NAME,
            "angle between halves of the problems",
            expected=0,
            measured=float(np.median(stable.halves)),
            tolerance=15,
        ),
        Check(
            NAME,
            "share of noise with a component",
            expected=0.05,
            measured=float((blind.real > 0).mean()),
            tolerance=0.15,
        ),
        Check(
            NAME,
            "share of p < 0.05 for random directions",
            expected=0.05,
            measured=float((p < 0.05).mean()),
            tolerance=0.04,
        ),
        compare(NAME, "cosines of two components with themselves", np.eye(m), same, 1e-12),
    ]


def _arrays(*tensors: Tensor) -> tuple[Any, ...]:
    return tuple(points.array(tensor) for tensor in tensors)


class _Bent(WrappedEnergy):
    """An energy as a network of one layer, h = tanh of the state's basis coordinates."""

    def activations(self, A: Any, y: Tensor, k: int | Tensor) -> dict[str, Tensor]:
        return {"fc1": torch.tanh(self.coordinates.to_basis(y))}
