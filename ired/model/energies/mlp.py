"""IRED's energy for matrix inversion, with its gradient and Hessian in closed form.

Du, Mao & Tenenbaum, "Learning Iterative Reasoning through Energy Diffusion", ICML 2024
(arXiv 2406.11179). E(A, y, k) = ‖f(a, y, k)‖², f an MLP of three swish layers whose second and third
are modulated by the landscape k (FiLM). Layer names follow the official release.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ired.model import problems
from ired.model.coordinates import Coordinates
from ired.model.energies.passes import Landscape
from ired.model.schedule import Schedule

LAYERS = ("fc1", "fc2", "fc3", "fc4")
_TIME = 128  # width of the code of k and of its embedding, as published


@dataclass(frozen=True)
class EnergyConfig:
    """What a checkpoint needs besides its weights.

    `standardise_c` names the training distribution whose mean and deviation the input layer takes
    off A entry by entry (None: raw matrices, as published); shift, scale and symmetric are those
    of `Coordinates`.
    """

    n: int
    hidden: int = 512
    landscapes: int = 10
    shift: float = 0.0
    scale: float = 1.0
    symmetric: bool = False
    standardise_c: float | None = None

    @classmethod
    def for_problems(cls, n: int, c: float, standardised: bool, **rest: Any) -> EnergyConfig:
        """For one training distribution; standardised inputs and answers have mean 0, variance 1."""
        if not standardised:
            return cls(n, **rest)
        shift, scale = problems.standardisation(n, c)
        return cls(n, shift=shift, scale=scale, standardise_c=c, **rest)


@dataclass
class _Prepared:
    """The part of fc1 that sees A alone, bias included, (B, hidden), and the FiLM tables.

    `landscape` is the one that was last asked for without autograd.
    """

    half: Tensor
    film: tuple[Tensor, Tensor, Tensor, Tensor]
    landscape: Landscape | None = None


@dataclass(frozen=True)
class _Pass:
    """One forward pass: pre-activations u, activations h, FiLM slopes, and f (all (B[, M], …))."""

    u: tuple[Tensor, Tensor, Tensor]
    h: tuple[Tensor, Tensor, Tensor]
    slope: tuple[Tensor, Tensor]
    f: Tensor


def _swish_slope(u: Tensor, h: Tensor) -> Tensor:
    """swish'(u) = s + h(1 − s), with s = sigmoid(u) and h = swish(u)."""
    s = torch.sigmoid(u)
    return s + h * (1 - s)


def _swish_bend(u: Tensor) -> Tensor:
    """swish''(u) = s(1 − s)(2 + u(1 − 2s))."""
    s = torch.sigmoid(u)
    return s * (1 - s) * (2 + u * (1 - 2 * s))


class MLPEnergy(nn.Module):
    """The learned energy; offers `ired.model.protocol.Energy`.

    The gradient is a second pass through the same weights transposed, so that training on it needs
    one ordinary backward and no graph of a graph.
    """

    time_code: Tensor
    input_mean: Tensor
    input_deviation: Tensor

    def __init__(self, config: EnergyConfig, generator: torch.Generator | None = None):
        """Weights by PyTorch's default for linear layers, drawn from `generator`."""
        super().__init__()
        self.config = config
        self.coordinates = Coordinates(config.n, config.shift, config.scale, config.symmetric)
        self.schedule = Schedule(config.landscapes)
        size, h = self.coordinates.size, config.hidden
        self.time_mlp = nn.Sequential(nn.Identity(), nn.Linear(_TIME, _TIME), nn.GELU(), nn.Linear(_TIME, _TIME))
        self.fc1 = nn.Linear(2 * size, h)
        self.fc2 = nn.Linear(h, h)
        self.fc3 = nn.Linear(h, h)
        self.fc4 = nn.Linear(h, size)
        self.t_map_fc2 = nn.Linear(_TIME, 2 * h)
        self.t_map_fc3 = nn.Linear(_TIME, 2 * h)
        for name, tensor in self._constants().items():
            self.register_buffer(name, tensor, persistent=False)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                bound = 1 / math.sqrt(layer.in_features)
                with torch.no_grad():
                    layer.weight.uniform_(-bound, bound, generator=generator)
                    layer.bias.uniform_(-bound, bound, generator=generator)

    def _constants(self) -> dict[str, Tensor]:
        """The sinusoidal code of each k (K, 128), and the mean and deviation of A's coordinates."""
        half = _TIME // 2
        rates = torch.exp(torch.arange(half) * (-math.log(10000) / (half - 1)))
        angles = torch.arange(self.config.landscapes)[:, None] * rates
        mean, deviation = torch.zeros(()), torch.ones(())
        if self.config.standardise_c is not None:
            n = self.config.n
            diagonal = torch.eye(n, dtype=torch.float64)
            on, off = problems.deviations(n)
            mean = diagonal * problems.mean_diagonal(n, self.config.standardise_c)
            mean = self.coordinates.to_basis(mean.flatten())
            # Basis coordinates of symmetric matrices carry √2 off the diagonal.
            weight = math.sqrt(2) if self.coordinates.symmetric else 1.0
            deviation = torch.where(diagonal.bool(), on, off * weight)
            if self.coordinates.symmetric:
                deviation = deviation[tuple(torch.triu_indices(n, n))]
            deviation = deviation.flatten()
        return {
            "time_code": torch.cat((angles.sin(), angles.cos()), dim=-1).float(),
            "input_mean": mean.float(),
            "input_deviation": deviation.float(),
        }

    def describe(self) -> dict[str, Any]:
        """The configuration as plain values, for a checkpoint."""
        return asdict(self.config)

    # The protocol

    def prepare(self, A: Tensor | _Prepared) -> _Prepared:
        if isinstance(A, _Prepared):
            return A
        half = F.linear(self.inputs(A), self.fc1.weight[:, : self.coordinates.size], self.fc1.bias)
        return _Prepared(half, self.film())

    def inputs(self, A: Tensor) -> Tensor:
        """Problems (B, n, n) as the first layer sees them, (B, size)."""
        a = self.coordinates.to_basis(A.flatten(-2))
        if self.config.standardise_c is None:
            return a
        return (a - self.input_mean) / self.input_deviation

    def energy(self, A: Any, y: Tensor, k: int | Tensor) -> Tensor:
        return self.basis_energy(self.prepare(A), self.coordinates.to_basis(y), k)

    def gradient(self, A: Any, y: Tensor, k: int | Tensor) -> Tensor:
        return self.energy_and_gradient(A, y, k)[1]

    def energy_and_gradient(self, A: Any, y: Tensor, k: int | Tensor) -> tuple[Tensor, Tensor]:
        z = self.coordinates.to_basis(y)
        energy, gradient = self.basis_energy_and_gradient(self.prepare(A), z, k)
        return energy, self.coordinates.from_basis(gradient)

    def activations(self, A: Any, y: Tensor, k: int | Tensor) -> dict[str, Tensor]:
        p = self._forward(self.prepare(A), self.coordinates.to_basis(y), k)
        return dict(zip(LAYERS, (*p.h, p.f), strict=True))

    def resume(self, layer: str, h: Tensor, A: Any, k: int | Tensor) -> Tensor:
        film = [table[k] for table in self.prepare(A).film]
        if h.dim() == 3 and film[0].dim() == 2:
            film = [t[:, None] for t in film]
        slope2, bias2, slope3, bias3 = film
        place = LAYERS.index(layer)
        if place < 1:
            h = F.silu(self.fc2(h) * slope2 + bias2)
        if place < 2:
            h = F.silu(self.fc3(h) * slope3 + bias3)
        return (h if place == 3 else self.fc4(h)).pow(2).sum(-1)

    def hessian(self, A: Any, y: Tensor, k: int | Tensor) -> Tensor:
        gauss_newton, residual = self.hessian_parts(A, y, k)
        return gauss_newton + residual

    def hessian_parts(self, A: Any, y: Tensor, k: int | Tensor) -> tuple[Tensor, Tensor]:
        """2JᵀJ and 2 Σ_i f_i ∇²f_i, layer by layer.

        With U_l = ∂u_l/∂y and δ_l = ∂(½‖f‖²)/∂h_l, the residual part is
        2 Σ_l U_lᵀ diag(δ_l ∘ swish''(u_l)) U_l: only the swishes bend.
        """
        p = self._forward(self.prepare(A), self.coordinates.to_basis(y), k)
        _, delta = self._backward(p)
        # U_lᵀ, (B, size, hidden), so that every layer is one product of two matrices.
        U = self.fc1.weight[:, self.coordinates.size :].mT.expand(len(y), -1, -1)
        residual = U.new_zeros(())
        weights = (self.fc2.weight, self.fc3.weight)
        for layer, (u, h, d) in enumerate(zip(p.u, p.h, delta, strict=True)):
            if layer > 0:
                W, slope = weights[layer - 1], p.slope[layer - 1]
                U = F.linear(U, W) * slope.reshape(-1, 1, len(W))
            residual = residual + (U * (d * _swish_bend(u))[:, None]) @ U.mT
            U = U * _swish_slope(u, h)[:, None]
        J = F.linear(U, self.fc4.weight)
        return self._lift(2 * J @ J.mT), self._lift(2 * residual)

    def _lift(self, H: Tensor) -> Tensor:
        """A bilinear form on basis coordinates (B, size, size) as one on states (B, d, d)."""
        return self.coordinates.from_basis(self.coordinates.from_basis(H).mT).mT

    # The same on basis coordinates z (B[, M], size): training stays in them.

    def basis_energy(self, A: _Prepared, z: Tensor, k: int | Tensor) -> Tensor:
        if landscape := self._landscape(A, z, k):
            return landscape.energy(A.half, z)
        return self._forward(A, z, k).f.pow(2).sum(-1)

    def basis_energy_and_gradient(self, A: _Prepared, z: Tensor, k: int | Tensor) -> tuple[Tensor, Tensor]:
        if landscape := self._landscape(A, z, k):
            return landscape.energy_and_gradient(A.half, z)
        p = self._forward(A, z, k)
        gradient, _ = self._backward(p)
        return p.f.pow(2).sum(-1), 2 * gradient

    def film(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(1 + gain, bias) of fc2, then of fc3, each (K, hidden): once per landscape."""
        code = self.time_mlp(self.time_code)
        gain2, bias2 = self.t_map_fc2(code).chunk(2, dim=-1)
        gain3, bias3 = self.t_map_fc3(code).chunk(2, dim=-1)
        return 1 + gain2, bias2, 1 + gain3, bias3

    def _landscape(self, A: _Prepared, z: Tensor, k: int | Tensor) -> Landscape | None:
        """The shorter way, where there is one landscape, one state a problem, and no autograd."""
        if torch.is_grad_enabled() or z.dim() != 2 or not isinstance(k, int):
            return None
        if A.landscape is None or A.landscape.k != k:
            memory = A.landscape.memory if A.landscape else {}
            A.landscape = Landscape(self, A.film, k, memory)
        return A.landscape

    def _forward(self, A: _Prepared, z: Tensor, k: int | Tensor) -> _Pass:
        half = A.half
        slope2, bias2, slope3, bias3 = (table[k] for table in A.film)
        if z.dim() == 3:
            half = half[:, None]
            if slope2.dim() == 2:
                slope2, bias2, slope3, bias3 = (t[:, None] for t in (slope2, bias2, slope3, bias3))
        u1 = half + F.linear(z, self.fc1.weight[:, self.coordinates.size :])
        h1 = F.silu(u1)
        u2 = self.fc2(h1) * slope2 + bias2
        h2 = F.silu(u2)
        u3 = self.fc3(h2) * slope3 + bias3
        h3 = F.silu(u3)
        return _Pass((u1, u2, u3), (h1, h2, h3), (slope2, slope3), self.fc4(h3))

    def _backward(self, p: _Pass) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        """½‖f‖² differentiated by z, and by each h."""
        delta3 = p.f @ self.fc4.weight
        delta2 = (delta3 * _swish_slope(p.u[2], p.h[2]) * p.slope[1]) @ self.fc3.weight
        delta1 = (delta2 * _swish_slope(p.u[1], p.h[1]) * p.slope[0]) @ self.fc2.weight
        W1 = self.fc1.weight[:, self.coordinates.size :]
        return (delta1 * _swish_slope(p.u[0], p.h[0])) @ W1, (delta1, delta2, delta3)
