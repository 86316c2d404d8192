"""Known answers on the manifold of SPD matrices: energies whose shape along geodesics is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ired.instruments.core import states
from ired.instruments.core.check import Check, compare
from ired.instruments.core.reference_energies import References, WrappedEnergy
from ired.instruments.geometry import exponential_slices, geodesics, riemannian_hessian, spd_states
from ired.instruments.geometry.metrics import METRICS
from ired.instruments.landscape import slices
from ired.model.protocol import Energy

STEP = 1e-5


class OfMatrices(WrappedEnergy):
    """σ_k·f(Y, A⁻¹) of the matrix Y that a state stands for, f and its gradient in closed form.

    The Hessian is that of central differences of the gradient.
    """

    def prepare(self, A: Tensor) -> Tensor:
        return A

    def value(self, Y: Tensor, answer: Tensor) -> Tensor:
        raise NotImplementedError

    def slope(self, Y: Tensor, answer: Tensor) -> Tensor:
        raise NotImplementedError

    def _matrices(self, A: Tensor, y: Tensor, k: int) -> tuple[Tensor, Tensor]:
        answer = symmetric_inverse(A)
        Y = self.coordinates.decode(y / self.schedule.sqrt_alpha_bar[k].item())
        return (Y + Y.mT) / 2, answer if y.dim() == 2 else answer[:, None]

    def energy(self, A: Tensor, y: Tensor, k: int) -> Tensor:
        return states.sigma(self, k) * self.value(*self._matrices(A, y, k))

    def gradient(self, A: Tensor, y: Tensor, k: int) -> Tensor:
        G = self.slope(*self._matrices(A, y, k)).flatten(-2)
        unit = states.sigma(self, k) * self.coordinates.scale / self.schedule.sqrt_alpha_bar[k].item()
        return unit * G

    def hessian(self, A: Tensor, y: Tensor, k: int) -> Tensor:
        steps = STEP * torch.eye(y.shape[-1], dtype=y.dtype, device=y.device)
        ends = (self.gradient(A, y[:, None] + sign * steps, k) for sign in (1, -1))
        return torch.sub(*ends) / (2 * STEP)


class LogDeterminant(OfMatrices):
    """f = log det Y: a straight line along every affine-invariant geodesic."""

    def value(self, Y: Tensor, answer: Tensor) -> Tensor:
        return torch.linalg.slogdet(Y).logabsdet

    def slope(self, Y: Tensor, answer: Tensor) -> Tensor:
        return symmetric_inverse(Y)

    def hessian(self, A: Tensor, y: Tensor, k: int) -> Tensor:
        inner = symmetric_inverse(self._matrices(A, y, k)[0])
        unit = self.coordinates.scale / self.schedule.sqrt_alpha_bar[k].item()
        both = torch.einsum("pij,plm->piljm", inner, inner).flatten(-2).flatten(1, 2)
        return -states.sigma(self, k) * unit**2 * both


class SquaredDistance(OfMatrices):
    """f = ½ d(Y, A⁻¹)², affine-invariant: Riemannian gradient −log_Y(A⁻¹), Hessian I at the answer."""

    def value(self, Y: Tensor, answer: Tensor) -> Tensor:
        return METRICS["affine-invariant"].distance(Y, answer).pow(2) / 2

    def slope(self, Y: Tensor, answer: Tensor) -> Tensor:
        inner = symmetric_inverse(Y)
        G = inner @ METRICS["affine-invariant"].log(Y, answer.expand_as(Y)) @ inner
        return -(G + G.mT) / 2


def symmetric_inverse(A: Tensor) -> Tensor:
    """A⁻¹ without the asymmetry of rounding."""
    Y = torch.linalg.inv(A)
    return (Y + Y.mT) / 2


def check_geodesics(references: References, generator: torch.Generator) -> list[Check]:
    """Equal distance, lowest points and midpoint convexity where they are known."""
    name, ideal, A, k = "geodesics", references.ideal, references.A, 3
    Y = symmetric_inverse(A)
    X, reach = spd_states.perturbed(Y, spd_states.symmetric_noise_radius(ideal, 0), 4, generator)
    departure = (X - Y[:, None]).flatten(-2).norm(dim=-1)
    line = np.linspace(0, 1, 17)
    drawn = geodesics.geodesic_curves("A", Y, A, reach, line)
    walked = (drawn.points - Y[:, None]).flatten(-2).norm(dim=-1)
    along = geodesics.profiles(ideal, A, drawn, [k])
    checks = [
        compare(name, "distance of perturbed answers", states.array(reach)[:, None], states.array(departure), 1e-9),
        compare(
            name,
            "distance along curves of every metric",
            states.array(reach)[:, None] * line,
            states.array(walked),
            1e-8,
        ),
        compare(name, "rise of the ideal energy along every curve", 1, along.rise, 1e-6),
        compare(name, "where the ideal energy is lowest", 0, along.minimum, 0),
        compare(
            name,
            "share of noise far below the cone's width that stays in it",
            1,
            spd_states.share_inside_cone(_Still(ideal), Y, [0], 8, generator),
            0,
        ),
    ]

    # From half the answer to twice the answer, all metrics' geodesics are multiples of it.
    multiples = geodesics.geodesic_curves("multiples", Y / 2, 2 * Y, np.inf, np.linspace(0, 1, 33))
    profiles = geodesics.profiles(ideal, A, multiples, [k])
    half = states.array(Y.flatten(1).norm(dim=1)) / 2 / spd_states.symmetric_noise_radius(ideal, k)
    root = 2**0.5
    known = {
        "affine-invariant": 0.5,
        "log-Euclidean": 0.5,
        "Euclidean": 1 / 3,
        "Bures-Wasserstein": (1 - 1 / root) / (root - 1 / root),
    }
    checks.append(compare(name, "distance of the lowest multiple", half, profiles.minimum, 1e-7))
    checks += [
        compare(name, f"time of the lowest multiple, {metric}", known[metric], times, 2e-3)
        for metric, times in zip(profiles.curves.metrics, profiles.position[0], strict=True)
    ]

    small, large = (c * Y[:, None] for c in (0.05, 0.3))
    bent = geodesics.geodesic_convexity(references.algebraic, A, "multiples", small, large, [0])
    # E is n ᾱ (c − 1)²/2 at cA⁻¹; at the geometric middle it lies above the mean of the ends.
    low, high, middle = ((c - 1) ** 2 for c in (0.05, 0.3, 0.015**0.5))
    expected = {"affine-invariant": ((low + high) / 2 - middle) / (0.25**2 / 4), "Euclidean": 1.0}
    for metric, convex in (("affine-invariant", 0), ("Euclidean", 1)):
        row = bent.metrics.index(metric)
        checks.append(compare(name, f"‖AY − I‖² along cA⁻¹, convex, {metric}", convex, bent.share[0, row], 0))
        straight = bent.bend[0, bent.metrics.index("Euclidean")]
        checks.append(
            compare(
                name,
                f"‖AY − I‖² along cA⁻¹, bend over the straight one, {metric}",
                expected[metric],
                bent.bend[0, row] / straight,
                1e-8,
            )
        )
    flat = geodesics.geodesic_convexity(
        LogDeterminant(ideal), A, "pairs", X[:, :2], X[:, 2:], [k], ["affine-invariant"]
    )
    checks.append(compare(name, "bend of log det between affine-invariant midpoints", 0, flat.bend, 1e-8))
    return checks


def check_riemannian(references: References, generator: torch.Generator) -> list[Check]:
    """Condition numbers of the two reference energies, and functions of which all is known."""
    name, ideal, A, k = "riemannian", references.ideal, references.A, 2
    Y = symmetric_inverse(A)
    values = states.array(torch.linalg.eigvalsh(A))
    kappa = values[:, -1] / values[:, 0]
    both = ["affine-invariant", "Euclidean"]
    checks = []
    for energy, known in (
        ("ideal", (2 * np.log10(kappa), 0 * kappa)),
        ("algebraic", (np.log10((kappa + 1 / kappa) / 2), 2 * np.log10(kappa))),
    ):
        curvature = riemannian_hessian.curvature(getattr(references, energy), A, Y, [k], "answer", both)
        checks += [
            compare(
                name, f"log₁₀ condition of the {energy} energy, {metric}", known[i], curvature.log_condition[0, i], 1e-6
            )
            for i, metric in enumerate(both)
        ]
    X = spd_states.perturbed(Y, spd_states.symmetric_noise_radius(ideal, 0), 1, generator)[0][:, 0]
    level = _affine(LogDeterminant(ideal), A, X, k)
    n = A.shape[-1]
    checks += [
        compare(name, "Hessian of log det, affine-invariant", 0, level.eigenvalues, 1e-8),
        compare(name, "gradient norm of log det, affine-invariant", n**0.5, level.gradient, 1e-8),
    ]
    bowl = SquaredDistance(ideal)
    here, there = (_affine(bowl, A, at, k) for at in (Y, X))
    distance = METRICS["affine-invariant"].distance(X, Y)
    straight = riemannian_hessian.curvature(ideal, A, X, [k], "off", ["Euclidean"])
    return checks + [
        compare(name, "Hessian of ½ d² at the answer", 1, here.eigenvalues, 1e-5),
        compare(name, "gradient norm of ½ d²: the distance", states.array(distance), there.gradient[0, 0], 1e-8),
        compare(name, "its descent leads along the geodesic home", 1, there.cosine, 1e-9),
        compare(name, "the ideal energy's along the straight line", 1, straight.cosine, 1e-9),
    ]


def check_tangent(references: References, generator: torch.Generator) -> list[Check]:
    """Slices through exponential maps whose values are known."""
    name, ideal, A, k = "tangent", references.ideal, references.A, 0
    Y = symmetric_inverse(A)
    y0 = states.answers(ideal, A)
    plane, size = exponential_slices.symmetric_plane(ideal, slices.random_directions(ideal, y0, generator))
    axes = plane.axes @ plane.axes.mT
    checks = [compare(name, "planes of symmetric axes, orthonormal", np.eye(2), states.array(axes), 1e-12)]
    if ideal.coordinates.symmetric:
        checks.append(compare(name, "norms of symmetric axes", 1, size, 1e-12))
    # Within the cone's width in every direction, so that straight lines stay in it too.
    least = torch.linalg.eigvalsh(Y)[:, 0].min().item()
    extent = 0.5 * least / spd_states.noise_scale(ideal, k)
    grid = {"extent": extent, "resolution": 5}
    flat = slices.energy_slices(references.algebraic, A, y0, k, plane, **grid)
    bent = exponential_slices.energy_on_sheets(
        references.algebraic, A, exponential_slices.sheet(ideal, Y, k, plane, "Euclidean", **grid)
    )
    checks.append(compare(name, "the Euclidean slice: the straight one", flat.gap, bent.gap, 1e-8))

    u, v = np.meshgrid(flat.u, flat.u)
    bent = exponential_slices.sheet(ideal, Y, k, plane, "affine-invariant", equal=False, **grid)
    log = exponential_slices.energy_on_sheets(LogDeterminant(ideal), A, bent)
    a, b = (axis.unflatten(-1, Y.shape[-2:]) for axis in plane.axes.unbind(1))
    # log det exp_P(V) = log det P + tr P⁻¹V.
    slope = [states.array((A * axis).sum((-2, -1)))[:, None, None] for axis in (a, b)]
    known = spd_states.noise_scale(ideal, k) * (slope[0] * u + slope[1] * v)
    checks.append(compare(name, "log det through the exponential map: a plane", known, log.gap, 1e-8))

    wide = {"extent": 2.0, "resolution": 5}
    u = np.linspace(-2, 2, 5)
    bowl = (u**2 + u[:, None] ** 2) / 2
    for metric in ("affine-invariant", "log-Euclidean"):
        sheet = exponential_slices.energy_on_sheets(
            ideal, A, exponential_slices.sheet(ideal, Y, k, plane, metric, **wide)
        )
        checks.append(compare(name, f"the ideal bowl at equal distance, {metric}", bowl, sheet.gap, 1e-6))
    return checks


def _affine(energy: Energy, A: Tensor, Y: Tensor, k: int) -> riemannian_hessian.Curvature:
    return riemannian_hessian.curvature(energy, A, Y, [k], "point", ["affine-invariant"])


class _Still(WrappedEnergy):
    """An energy on coordinates so fine that noise hardly moves a matrix."""

    def __init__(self, energy: Energy):
        super().__init__(energy)
        c = energy.coordinates
        self.coordinates: Any = type(c)(c.n, c.shift, 1e-9, c.symmetric)
