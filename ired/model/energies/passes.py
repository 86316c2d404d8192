"""The passes of the energy E = ‖f‖², written out: no autograd graph, no allocation.

Four passes through the same weights. *Forward* computes f and, on the way, every swish's slope and
bend. The *gradient* pass runs back from f to ∇_y E. A loss of that gradient is differentiated by
the weights in two more: up again against the gradient pass, then back down against the forward
pass. Autograd does the same with a graph of a graph, about three times the memory traffic, and
twice the arithmetic for what depends on the landscape alone.

Notation, for layers l = 1, 2, 3: u_l pre-activation, h_l = swish(u_l), v_l what FiLM modulates
(u_l = gain·v_l + bias, l > 1), d_l = ∂(½E)/∂h_l, e_l = ∂(½E)/∂v_l. An upper-case or `_bar` name is the
derivative of the loss by the lower-case one. States are in basis coordinates z (B, size).
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ired.model.coordinates import Coordinates
from ired.model.schedule import Schedule

PRECISIONS = ("float32", "bfloat16")
ENERGY, GRADIENT, DERIVATIVE = range(3)  # what a forward pass is to be followed by
ROWS_IN_CACHE = 1024  # on a CPU more at a time are a tenth slower


class FilmNetwork(Protocol):
    """What of `ired.model.energies.mlp.MLPEnergy` the passes read."""

    coordinates: Coordinates
    schedule: Schedule
    fc1: nn.Linear
    fc2: nn.Linear
    fc3: nn.Linear
    fc4: nn.Linear


def _grad(weight: Tensor) -> Tensor:
    """Where a weight's derivative goes: a tensor that is there before the first pass."""
    if weight.grad is None:
        raise ValueError("a weight without a gradient to add to: lay it out first, as Trainer does")
    return weight.grad


class Gradients:
    """The derivative of a loss by every weight, added up in the weights' `grad`."""

    def __init__(self, energy: FilmNetwork, precision: str = "float32"):
        size = energy.coordinates.size
        self._round = rounding(precision)
        both = _grad(energy.fc1.weight)
        self.weights = {"a": both[:, :size], "y": both[:, size:]}
        self.biases = {"a": _grad(energy.fc1.bias)}
        for name in ("fc2", "fc3", "fc4"):
            self.weights[name] = _grad(getattr(energy, name).weight)
            self.biases[name] = _grad(getattr(energy, name).bias)
        tables = energy.schedule.K, energy.fc2.out_features
        self.film = tuple(energy.fc2.weight.new_zeros(tables) for _ in range(4))

    def start(self, k: Tensor) -> None:
        """Begin a batch whose rows are in landscapes k (B,); the FiLM tables start at 0."""
        self._member = F.one_hot(k, len(self.film[0])).to(self.film[0].dtype).T
        for table in self.film:
            table.zero_()

    def add(self, name: str, left: Tensor, right: Tensor, bias: bool = False) -> None:
        """leftᵀ·right to a weight, the sum of left to its bias."""
        if self._round is None:
            self.weights[name].addmm_(left.T, right)
        else:
            self.weights[name].add_(left.to(self._round).T @ right.to(self._round))
        if bias:
            self.biases[name].add_(left.sum(0))

    def gain(self, layer: int, rows: Tensor) -> None:
        self.film[2 * layer - 2].addmm_(self._member, rows)

    def bias(self, layer: int, rows: Tensor) -> None:
        self.film[2 * layer - 1].addmm_(self._member, rows)


class _Memory:
    """Tensors by name and number of rows, allocated at their first use and overwritten ever after."""

    def __init__(self, like: Tensor, memory: dict[tuple[str, int], Tensor] | None = None):
        self._like, self.memory = like, {} if memory is None else memory

    def _at(self, name: str, rows: int, width: int) -> Tensor:
        memory = self.memory.get((name, rows))
        if memory is None:
            memory = self.memory[name, rows] = self._like.new_empty(rows, width)
        return memory


class Passes(_Memory):
    """The passes of one energy. What they return is overwritten by the next call.

    `precision` "bfloat16" rounds the factors and the results of matrix products to it and keeps all
    else as it is. Weights are those at the last `refresh`, which `__init__` calls.
    """

    def __init__(self, energy: FilmNetwork, precision: str = "float32"):
        self.energy = energy
        super().__init__(energy.fc1.bias.detach())
        self._round = rounding(precision)
        self.refresh()

    def refresh(self) -> None:
        """Take the weights as they are now."""
        energy, size = self.energy, self.energy.coordinates.size
        both = energy.fc1.weight.detach()
        self.weights = {"a": both[:, :size], "y": both[:, size:]}
        self.biases = {"a": energy.fc1.bias.detach()}
        for name in ("fc2", "fc3", "fc4"):
            self.weights[name] = getattr(energy, name).weight.detach()
            self.biases[name] = getattr(energy, name).bias.detach()
        if self._round is not None:
            self.weights = {name: W.to(self._round) for name, W in self.weights.items()}

    def half(self, a: Tensor) -> Tensor:
        """The part of u₁ that sees the problem alone, from its standardised coordinates."""
        return self._affine("half", a, "a")

    def film(self, tables: tuple[Tensor, ...], k: Tensor) -> None:
        """Set the rows' landscapes k (B,): tables (gain, bias) of fc2, then of fc3, (K, hidden)."""
        rows = [
            torch.index_select(table, 0, k, out=self._at(f"film{i}", len(k), table.shape[1]))
            for i, table in enumerate(tables)
        ]
        self._gain, self._shift = {1: rows[0], 2: rows[2]}, {1: rows[1], 2: rows[3]}

    def forward(self, half: Tensor, z: Tensor, order: int) -> Tensor:
        """f (B, size), keeping what the passes up to `order` need."""
        self.z = z
        self.h: list[Tensor] = []
        self.v: dict[int, Tensor] = {}
        self.slope: list[Tensor] = []
        self.bend: list[Tensor] = []
        self._swish(self._product("u0", z, self.weights["y"].T).add_(half), order)
        for layer, W in ((1, "fc2"), (2, "fc3")):
            v = self.v[layer] = self._affine(f"v{layer}", self.h[-1], W)
            u = v if order == ENERGY else self._at(f"u{layer}", *v.shape)
            u = torch.addcmul(self._shift[layer], v, self._gain[layer], out=u)
            self._swish(u, order)
        self.f = self._affine("f", self.h[-1], "fc4")
        return self.f

    def gradient(self) -> Tensor:
        """∇_z (½E) (B, size), after a forward pass of order GRADIENT or more."""
        self.pull = [self.slope[0]]  # what e_l is to d_l
        for layer in (1, 2):
            out = self._at(f"pull{layer}", *self.h[layer].shape)
            self.pull.append(torch.mul(self.slope[layer], self._gain[layer], out=out))
        self.d: dict[int, Tensor] = {}
        self.e: dict[int, Tensor] = {}
        below = self._product("d2", self.f, self.weights["fc4"])
        for layer, W, name in ((2, "fc3", "d1"), (1, "fc2", "d0"), (0, "y", "q")):
            self.d[layer] = below
            out = self._at(f"e{layer}", *below.shape)
            self.e[layer] = torch.mul(below, self.pull[layer], out=out)
            below = self._product(name, self.e[layer], self.weights[W])
        return below

    def reverse_gradient(self, into: Gradients, q_bar: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
        """From the derivative by ∇_z (½E) to the weights; returns those by f and by every u_l."""
        into.add("y", self.e[0], q_bar)
        e_bar = self._product("e_bar0", q_bar, self.weights["y"].T)
        u_bar: dict[int, Tensor] = {}
        for layer, W in enumerate(("fc2", "fc3", "fc4")):
            bent = torch.mul(e_bar, self.d[layer], out=self._at(f"u_bar{layer}", *e_bar.shape))
            if layer:
                out = self._at("product", *bent.shape)
                into.gain(layer, torch.mul(bent, self.slope[layer], out=out))
                bent.mul_(self._gain[layer])
            u_bar[layer] = bent.mul_(self.bend[layer])
            d_bar = e_bar.mul_(self.pull[layer])
            into.add(W, self.e[layer + 1] if layer < 2 else self.f, d_bar)
            e_bar = self._product(f"e_bar{layer + 1}", d_bar, self.weights[W].T)
        return e_bar, u_bar

    def reverse_forward(self, into: Gradients, f_bar: Tensor, u_bar: dict[int, Tensor] | None = None) -> Tensor:
        """From the derivative by f, and what is known of those by u_l, to the weights; by `half`."""
        into.add("fc4", f_bar, self.h[2], bias=True)
        h_bar = self._product("h_bar2", f_bar, self.weights["fc4"])
        for layer, W in ((2, "fc3"), (1, "fc2")):
            u = self._through_swish(layer, h_bar, u_bar)
            into.bias(layer, u)
            out = self._at("product", *u.shape)
            into.gain(layer, torch.mul(u, self.v[layer], out=out))
            v_bar = u.mul_(self._gain[layer])
            into.add(W, v_bar, self.h[layer - 1], bias=True)
            h_bar = self._product(f"h_bar{layer - 1}", v_bar, self.weights[W])
        u = self._through_swish(0, h_bar, u_bar)
        into.add("y", u, self.z)
        return u

    def _through_swish(self, layer: int, h_bar: Tensor, u_bar: dict[int, Tensor] | None) -> Tensor:
        if u_bar is None:
            return h_bar.mul_(self.slope[layer])
        return u_bar[layer].addcmul_(h_bar, self.slope[layer])

    def _swish(self, u: Tensor, order: int) -> None:
        """h = u·s with s = σ(u), h′ = s + h(1 − s), h″ = (1 − s)(2h′ − h); u itself is overwritten."""
        layer = len(self.h)
        if order == ENERGY:
            self.h.append(F.silu(u, inplace=True))
            return
        s = torch.sigmoid(u, out=self._at(f"s{layer}", *u.shape))
        h = u.mul_(s)
        slope = torch.add(s, h, out=self._at(f"slope{layer}", *u.shape)).addcmul_(h, s, value=-1)
        if order == DERIVATIVE:
            out = self._at(f"bend{layer}", *u.shape)
            self.bend.append(torch.sub(h, slope, alpha=2, out=out).mul_(s.sub_(1)))
        self.h.append(h)
        self.slope.append(slope)

    def _affine(self, name: str, x: Tensor, layer: str) -> Tensor:
        if self._round is not None:
            return self._product(name, x, self.weights[layer].T).add_(self.biases[layer])
        W = self.weights[layer].T
        return torch.addmm(self.biases[layer], x, W, out=self._at(name, len(x), W.shape[1]))

    def _product(self, name: str, x: Tensor, W: Tensor) -> Tensor:
        out = self._at(name, len(x), W.shape[1])
        if self._round is not None:
            return out.copy_(x.to(self._round) @ W)
        return torch.mm(x, W, out=out)


def rounding(precision: str) -> torch.dtype | None:
    """What matrix products are rounded to, if they are; raises ValueError."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision is one of {', '.join(PRECISIONS)}, not {precision!r}")
    return None if precision == "float32" else torch.bfloat16


class Landscape(_Memory):
    """Energies and gradients of many states in one landscape: what sampling spends its time on.

    There FiLM folds into fc2 and fc3. With W, c those of fc4 and h what comes into it,
    ∂‖f‖²/∂h = 2WᵀW h + 2Wᵀc needs no f: one product of hidden × hidden in place of two with size.
    """

    def __init__(self, energy: FilmNetwork, tables: tuple[Tensor, ...], k: int, memory: dict):
        W, c = energy.fc4.weight.detach(), energy.fc4.bias.detach()
        super().__init__(c, memory)
        self.k = k
        self._last, self._square, self._linear, self._constant = (W, c), 2 * W.T @ W, 2 * c @ W, c @ c
        self._first = energy.fc1.weight.detach()[:, energy.coordinates.size :]
        gain2, bias2, gain3, bias3 = (table[k] for table in tables)
        self._middle = [
            (gain[:, None] * fc.weight.detach(), gain * fc.bias.detach() + bias)
            for fc, gain, bias in ((energy.fc2, gain2, bias2), (energy.fc3, gain3, bias3))
        ]

    def energy(self, half: Tensor, z: Tensor) -> Tensor:
        """‖f‖² (B,) of states z (B, size); half (B, hidden) is the problems' part of u₁."""
        h = F.silu(self._enter(half, z), inplace=True)
        for layer, (W, c) in enumerate(self._middle):
            h = torch.addmm(c, h, W.T, out=self._at(f"u{layer}", *h.shape))
            F.silu(h, inplace=True)
        W, c = self._last
        return torch.addmm(c, h, W.T, out=self._at("f", len(h), len(c))).square_().sum(-1)

    def energy_and_gradient(self, half: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """‖f‖² (B,) and its gradient (B, size), tensors of their own."""
        energy, gradient = z.new_empty(len(z)), torch.empty_like(z)
        rows = ROWS_IN_CACHE if z.device.type == "cpu" else len(z)
        for parts in zip(*(t.split(rows) for t in (half, z, energy, gradient)), strict=True):
            self._energy_and_gradient(*parts)
        return energy, gradient

    def _energy_and_gradient(self, half: Tensor, z: Tensor, energy: Tensor, out: Tensor) -> None:
        h, slopes = self._enter(half, z), []
        for layer in range(len(self._middle) + 1):
            s = torch.sigmoid(h, out=self._at(f"s{layer}", *h.shape))
            h.mul_(s)
            slope = torch.add(s, h, out=self._at(f"slope{layer}", *h.shape))
            slopes.append(slope.addcmul_(h, s, value=-1))
            if layer < len(self._middle):
                W, c = self._middle[layer]
                h = torch.addmm(c, h, W.T, out=self._at(f"u{layer}", *h.shape))
        d = torch.addmm(self._linear, h, self._square, out=self._at("d3", *h.shape))
        torch.linalg.vecdot(h, d + self._linear, out=energy).div_(2).add_(self._constant)
        for layer in (1, 0):
            e = d.mul_(slopes[layer + 1])
            d = torch.mm(e, self._middle[layer][0], out=self._at(f"d{layer + 1}", *e.shape))
        torch.mm(d.mul_(slopes[0]), self._first, out=out)

    def _enter(self, half: Tensor, z: Tensor) -> Tensor:
        return torch.mm(z, self._first.T, out=self._at("u", *half.shape)).add_(half)
