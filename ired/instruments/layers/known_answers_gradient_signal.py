"""Known answers of gradient flow: planted networks whose derivatives autograd gives, planted noise."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ired.instruments.core import states
from ired.instruments.core.check import Check, compare, relative
from ired.instruments.core.reference_energies import References
from ired.instruments.layers import gradient_signal, jacobians, score_decomposition, unit_activity
from ired.instruments.layers.forward_backward import LAYERS, noised_by_landscape, passage
from ired.model.protocol import Energy

FLOW, JACOBIANS, PATHS, CENSUS = "gradient_flow", "jacobians", "score_paths", "unit_census"
_FAR = 100.0  # swish is the identity there, to the last digit of float64


class PlantedNetwork:
    """A network ‖f‖² with random weights on the coordinates of another energy, for all problems alike.

    `forward` says what it computes, in other words than the instruments' own.
    """

    def __init__(self, like: Energy, width: int, generator: torch.Generator, device: Any = "cpu"):
        self.coordinates, self.schedule, self.width = like.coordinates, like.schedule, width

        def draw(*shape: int) -> Tensor:
            values = torch.randn(*shape, generator=generator, dtype=torch.float64, device=generator.device)
            return values.to(device)

        size = self.coordinates.size
        for name, reads, makes in (
            ("fc1", 2 * size, width),
            ("fc2", width, width),
            ("fc3", width, width),
            ("fc4", width, size),
        ):
            layer = SimpleNamespace(weight=1.5 * draw(makes, reads) / reads**0.5, bias=draw(makes))
            setattr(self, name, layer)
        self.tables = [start + 0.5 * draw(self.schedule.K, width) for start in (1.0, 0.0, 1.0, 0.0)]

    def inputs(self, A: Tensor) -> Tensor:
        return self.coordinates.to_basis(A.flatten(-2))

    def film(self) -> tuple[Tensor, ...]:
        return tuple(self.tables)

    def forward(self, a: Tensor, z: Tensor, k: int) -> list[Tensor]:
        """h of fc1, fc2, fc3, and f, at one problem's inputs a (size,) and state z (size,)."""
        scale2, shift2, scale3, shift3 = (table[k] for table in self.tables)
        h1 = F.silu(self.fc1.weight @ torch.cat([a, z]) + self.fc1.bias)
        h2 = F.silu((self.fc2.weight @ h1 + self.fc2.bias) * scale2 + shift2)
        h3 = F.silu((self.fc3.weight @ h2 + self.fc3.bias) * scale3 + shift3)
        return [h1, h2, h3, self.fc4.weight @ h3 + self.fc4.bias]

    def gradient(self, A: Tensor, y: Tensor, k: int) -> Tensor:
        z = self.coordinates.to_basis(y)
        return self.coordinates.from_basis(passage(self, A, z, k).score)


def check_jacobians(references: References, generator: torch.Generator) -> list[Check]:
    """Closed forms equal autograd's; a linear network has the product of its matrices."""
    A = references.A[:2]
    network = PlantedNetwork(references.ideal, 7, generator, A.device)
    z, _ = _states(network, A, 1, generator)
    spectra, k = jacobians.jacobian_spectra(network, A, z[:4, :, 0]), 3
    a, checks = network.inputs(A), []
    for place, name in ((0, "state → fc1"), (3, "state → f")):
        J = torch.stack(
            [
                torch.func.jacrev(lambda x, i=i, p=place: network.forward(a[i], x, k)[p])(z[k, i, 0])
                for i in range(len(A))
            ]
        )
        singular_values = states.array(torch.linalg.svdvals(J))
        checks.append(
            compare(
                JACOBIANS, f"singular values of {name}: autograd's", singular_values, spectra.values[name][k], 1e-10
            )
        )
    kept = passage(network, A, z[k], k)
    score = torch.stack(
        [torch.func.grad(lambda x, i=i: network.forward(a[i], x, k)[3].pow(2).sum())(z[k, i, 0]) for i in range(len(A))]
    )
    checks.append(compare(JACOBIANS, "score: autograd's", *_arrays(score, kept.score[:, 0]), 1e-9))

    make_linear(network)
    spectra = jacobians.jacobian_spectra(network, A, z[:4, :, 0])
    first = network.fc1.weight[:, network.coordinates.size :]
    scale2, _, scale3, _ = (table[k][:, None] for table in network.tables)
    product = network.fc4.weight @ (scale3 * network.fc3.weight) @ (scale2 * network.fc2.weight) @ first
    expected = np.broadcast_to(states.array(torch.linalg.svdvals(product)), spectra.values["state → f"][k].shape)
    return [
        *checks,
        compare(
            JACOBIANS, "a linear network: the product of its matrices", expected, spectra.values["state → f"][k], 1e-9
        ),
    ]


def check_score_paths(references: References, generator: torch.Generator) -> list[Check]:
    """Parts sum to the score; a planted path carries all of it, and no other unit any."""
    A = references.A[:2]
    network = PlantedNetwork(references.ideal, 20, generator, A.device)
    z, noise = _states(network, A, 3, generator)
    paths = score_decomposition.paths(network, A, z)
    shares = score_decomposition.unit_shares(network, passage(network, A, z[2], 2))
    sums = np.stack([states.array(share.sum(-1)) for share in shares.values()])
    y = network.coordinates.from_basis(z[2])
    changes = score_decomposition.score_changes(network, {"twice": Times(network, 2.0)}, A, z, noise)["change"]
    chain = planted_path(network, (4, 11, 6))
    by_unit = score_decomposition.unit_shares(network, passage(network, A, z[2], 2))
    carried = np.stack([states.array(by_unit[name][..., i]) for name, i in zip(LAYERS, chain, strict=True)])
    rest = np.stack(
        [states.array(by_unit[n].abs().sum(-1) - by_unit[n][..., i].abs()) for n, i in zip(LAYERS, chain, strict=True)]
    )
    planted = score_decomposition.paths(network, A, z)
    network.tables[0], network.tables[2] = (torch.ones_like(network.tables[0]) for _ in range(2))
    plain = score_decomposition.paths(network, A, z)
    return [
        compare(PATHS, "shares of all parts of the score", 1, paths.share.sum((1, 2)), 1e-10),
        compare(PATHS, "shares of all units of a layer", 1, sums, 1e-10),
        compare(PATHS, "change of the score that is doubled", 1, changes.reshape(2, -1)[1], 1e-10),
        compare(PATHS, "change of the score that is kept", 0, changes.reshape(2, -1)[0], 0),
        compare(PATHS, "share of a planted path", 1, carried, 1e-10),
        compare(PATHS, "share of all other units", 0, rest, 1e-10),
        compare(PATHS, "units that carry the score of a planted path", 1 / 20, planted.participation[:, :3], 1e-9),
        compare(PATHS, "share past FiLM where gains are 0", 1, plain.share[:, :, 0].sum(1), 1e-10),
        compare(
            PATHS,
            "the score itself",
            *_arrays(network.gradient(A, y, 2), network.coordinates.from_basis(passage(network, A, z[2], 2).score)),
            1e-12,
        ),
    ]


def check_unit_census(references: References, generator: torch.Generator) -> list[Check]:
    """Planted units are named: constant, always off, always linear, barely moving."""
    A = references.A
    network = PlantedNetwork(references.ideal, 9, generator, A.device)
    plant_units(network)
    shape = network.schedule.K, len(A), 30
    z = network.coordinates.to_basis(states.noise(network, *shape, generator=generator, like=A))
    census = unit_activity.census(network, A, z)
    sorts = [unit_activity.SORTS[i] for i in census.sorts()[:, 0, :4].T.ravel()]
    K = len(z)
    named = sum(a == b for a, b in zip(sorts, np.repeat(["dead", "off", "linear", "straight"], K), strict=True))
    bent = float((census.sorts()[:, 0, 4:] == unit_activity.SORTS.index("bent")).mean())
    dead = census.dead()
    return [
        Check(CENSUS, "planted units named", expected=4 * K, measured=named, tolerance=0),
        Check(CENSUS, "share of the others that bend", expected=1, measured=bent, tolerance=0),
        Check(
            CENSUS,
            "share of dead units, one planted in nine",
            expected=1 / 9,
            measured=dead["fc1"].estimate,
            tolerance=1e-12,
        ),
        Check(CENSUS, "its exact upper limit at 95 %", expected=0.429, measured=dead["fc1"].high, tolerance=0.001),
    ]


def check_gradient_flow(references: References, generator: torch.Generator) -> list[Check]:
    """Inner products of problems' gradients, both losses', equal those of autograd's gradients."""
    A = references.A
    y0, network = (
        states.answers(references.ideal, A),
        PlantedNetwork(references.ideal, 6, generator, A.device),
    )
    state, draws, kinds = generator.get_state(), 2, gradient_signal.KINDS
    negatives = gradient_signal.random_negatives(network, 3.0, math.inf)
    flow = gradient_signal.flow(network, A, y0, negatives, draws, generator)
    generator.set_state(state)
    checks, k = [], 0  # the first landscape is drawn first
    gradients = autograd_gradients(network, A, y0, negatives, k, draws, generator)
    for j, layer in enumerate(gradient_signal.WEIGHTS):
        for i, kind in enumerate(kinds):
            g = gradients[kind][layer]
            gram = states.array(g @ g.mT) / (flow.unit[k] ** 2 if kind == "contrastive" else 1.0)
            checks.append(
                compare(
                    FLOW,
                    f"inner products of {kind} gradients by {layer}, relative",
                    gram / np.trace(gram),
                    flow.weights[k, i, j] / np.trace(gram),
                    1e-9,
                )
            )
        cross = states.array(gradients["denoising"][layer] @ gradients["contrastive"][layer].mT) / flow.unit[k]
        size = np.abs(cross).max()
        checks.append(
            compare(
                FLOW,
                f"inner products of the two losses by {layer}, relative",
                cross / size,
                flow.between[k, j] / size,
                1e-9,
            )
        )
    return checks


def check_signals(generator: torch.Generator) -> list[Check]:
    """Planted means in noise: signal-to-noise and cosine are recovered, with intervals that cover."""
    rng = np.random.default_rng(int(torch.randint(2**31, (), generator=generator)))
    D, P, rounds = 40, 30, 300
    mean, second_mean = np.zeros(D), np.zeros(D)
    mean[0], second_mean[:2] = 4.0, (3.0, 4.0)
    ratios, hits, none, cosines, blind = [], 0, [], [], []
    for _ in range(rounds):
        noise, more = rng.standard_normal((2, P, D))
        g, h = mean + noise, second_mean + more
        snr = gradient_signal.signal_to_noise(g @ g.T)
        ratios.append(snr.estimate)
        hits += snr.low <= 16 / D <= snr.high
        none.append(gradient_signal.signal_to_noise(noise @ noise.T).estimate)
        cosines.append(gradient_signal.mean_cosine(g @ g.T, g @ h.T, h @ h.T).estimate)
        # The same noise on both sides, and no mean: nothing to agree about.
        apart = gradient_signal.mean_cosine(
            noise @ noise.T, noise @ (noise + more).T, (noise + more) @ (noise + more).T
        )
        blind.append(apart.estimate)
    # Lengths of means hold the noise of D/P too.
    drawn = 12 / np.sqrt((16 + D / P) * (25 + D / P))
    # Of noise alone they are longest where the product is largest: to first order in 1/D.
    shared = -(2**0.5) / (D - 2)
    return [
        relative(FLOW, "signal-to-noise of a planted mean in noise", 16 / D, np.mean(ratios), 0.03),
        Check(FLOW, "signal-to-noise of noise", expected=0, measured=float(np.mean(none)), tolerance=0.003),
        Check(FLOW, "coverage of its 95 % interval", expected=0.95, measured=hits / rounds, tolerance=0.05),
        Check(FLOW, "cosine of planted means", expected=drawn, measured=float(np.mean(cosines)), tolerance=0.02),
        Check(
            FLOW,
            "cosine of means that share noise alone",
            expected=shared,
            measured=float(np.mean(blind)),
            tolerance=0.05,
        ),
    ]


class Times:
    """An energy's score, times a number."""

    def __init__(self, inner: Any, factor: float):
        self.inner, self.factor, self.coordinates = inner, factor, inner.coordinates

    def gradient(self, A: Tensor, y: Tensor, k: int) -> Tensor:
        return self.factor * self.inner.gradient(A, y, k)


def make_linear(network: PlantedNetwork) -> None:
    """Weights are kept and biases are set where every swish is the identity."""
    for layer in (network.fc1, network.fc2, network.fc3):
        layer.weight = layer.weight * 0.01
        layer.bias = torch.full_like(layer.bias, _FAR)
    for table in network.tables:
        table.copy_(1 + 0.1 * table.tanh())


def planted_path(network: PlantedNetwork, units: tuple[int, int, int]) -> tuple[int, int, int]:
    """All weights between the layers are cut but those along one chain of units, which it returns."""
    first, second, third = units
    for layer, makes, reads in ((network.fc2, second, first), (network.fc3, third, second)):
        weight = torch.zeros_like(layer.weight)
        weight[makes, reads] = 1.0
        layer.weight = weight
    return units


def plant_units(network: PlantedNetwork) -> None:
    """Units 0 to 3 of fc1: constant, always off, always linear, and hardly moving around 0; the
    rest bend."""
    w, b = network.fc1.weight, network.fc1.bias
    # They read the state alone: the check draws standard normal ones.
    w[:, : network.coordinates.size] = 0.0
    w /= w.norm(dim=1, keepdim=True)
    for unit, (length, bias) in enumerate(((0.0, 0.3), (0.3, -2.4), (1.0, _FAR), (0.1, 0.0))):
        w[unit] *= length
        b[unit] = bias
    w[4:] *= 3.0
    b[4:] = 0.0


def autograd_gradients(
    network: PlantedNetwork,
    A: Tensor,
    y0: Tensor,
    negatives: gradient_signal.Negatives,
    k: int,
    draws: int,
    generator: torch.Generator,
) -> dict[str, dict[str, Tensor]]:
    """Gradients (P, weights) of each problem's losses and energy in landscape k, by kind and layer."""
    size = network.coordinates.size
    layers = [getattr(network, name) for name in gradient_signal.WEIGHTS]
    root, sigma = network.schedule.sqrt_alpha_bar[k].item(), network.schedule.sigma[k].item()
    noise, contrast_noise = (states.noise(network, len(A), draws, generator=generator, like=y0) for _ in range(2))
    wrong = negatives(y0[:, None], contrast_noise, torch.full((draws,), k, device=A.device))
    to_basis, a = network.coordinates.to_basis, network.inputs(A)
    z, right, wrong = (
        to_basis(root * c + sigma * e)
        for c, e in ((y0[:, None], noise), (y0[:, None], contrast_noise), (wrong, contrast_noise))
    )
    flat = [t.clone().requires_grad_() for layer in layers for t in (layer.weight, layer.bias)]
    copies = SimpleNamespace(tables=network.tables)
    for name, weight, bias in zip(gradient_signal.WEIGHTS, flat[::2], flat[1::2], strict=True):
        setattr(copies, name, SimpleNamespace(weight=weight, bias=bias))

    def E(i: int, state: Tensor) -> Tensor:
        return PlantedNetwork.forward(copies, a[i], state, k)[3].pow(2).sum()

    def denoising(i: int, m: int) -> Tensor:
        state = z[i, m].clone().requires_grad_()
        (score,) = torch.autograd.grad(E(i, state), state, create_graph=True)
        return (score - to_basis(noise)[i, m]).pow(2).sum() / size

    losses = {
        "denoising": denoising,
        "contrastive": lambda i, m: -F.logsigmoid(E(i, wrong[i, m]) - E(i, right[i, m])),
        "score": lambda i, m: E(i, z[i, m]),
    }
    gradients: dict[str, dict[str, list[Tensor]]] = {kind: {} for kind in losses}
    with torch.enable_grad():
        for kind, loss in losses.items():
            for i in range(len(A)):
                total = sum(loss(i, m) for m in range(draws)) / draws
                grads = torch.autograd.grad(total, flat, allow_unused=True, materialize_grads=True)
                for name, weight, bias in zip(gradient_signal.WEIGHTS, grads[::2], grads[1::2], strict=True):
                    gradients[kind].setdefault(name, []).append(torch.cat([weight.flatten(), bias]))
    return {kind: {n: torch.stack(g) for n, g in by.items()} for kind, by in gradients.items()}


def _states(network: PlantedNetwork, A: Tensor, draws: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    y0 = network.coordinates.encode(torch.linalg.inv(A))
    return noised_by_landscape(network, y0, draws, generator)


def _arrays(*tensors: Tensor) -> tuple[Any, ...]:
    return tuple(states.array(tensor) for tensor in tensors)
