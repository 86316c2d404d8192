"""Which energies can be trained, and what a variant's name means.

A variant names how an energy is made and what it learns from: "random" is the published network with
random negatives, "product-random" the energy of matrix products with them, "product" the same without
negatives, "equilibrium" the network that is told no landscape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from ired.model.energies.equilibrium import EquilibriumConfig, EquilibriumEnergy
from ired.model.energies.mlp import EnergyConfig, MLPEnergy
from ired.model.energies.polynomial import PolynomialConfig, PolynomialEnergy
from ired.model.energies.product import ProductConfig, ProductEnergy

MLP = "mlp"
Config = EnergyConfig | PolynomialConfig | ProductConfig
LearnedEnergy = MLPEnergy | PolynomialEnergy | ProductEnergy
ARCHITECTURES: dict[str, tuple[type[Config], Callable[..., LearnedEnergy]]] = {
    MLP: (EnergyConfig, MLPEnergy),
    "equilibrium": (EquilibriumConfig, EquilibriumEnergy),
    "polynomial": (PolynomialConfig, PolynomialEnergy),
    "product": (ProductConfig, ProductEnergy),
}


def parse(variant: str) -> tuple[str, str]:
    """Architecture and mining of a variant: "product-random" is ("product", "random")."""
    first, _, rest = variant.partition("-")
    return (first, rest or "none") if first in ARCHITECTURES else (MLP, variant)


# Energies of matrix products have a hundredth of the network's weights and learn from a hundredth of its
# problems, so their average reaches less far back.
_BUDGETS = {
    "polynomial": {"steps": 600, "batch": 256},
    "product": {"steps": 1500, "batch": 256},
}
_MANNER = {"learning_rate": 5e-3, "decay": True, "ema_decay": 0.95, "ema_every": 1}


def trained(variant: str, training: Mapping[str, Any]) -> dict[str, Any]:
    """A profile's section on training, with the budget of the variant's energy and its kind of negatives
    ("mining")."""
    kind, mining = parse(variant)
    options = dict(training) | {"mining": mining}
    if kind not in _BUDGETS:
        return options
    return options | {name: min(most, training[name]) for name, most in _BUDGETS[kind].items()} | _MANNER


def configured(variant: str, problem: Mapping[str, Any], model: Mapping[str, Any]) -> Config:
    """The energy of a variant for problems {n, c}, from a profile's section on models."""
    kind, _ = ARCHITECTURES[parse(variant)[0]]
    return kind.for_problems(**problem, **model)


def build(config: Config, generator: torch.Generator | None = None) -> LearnedEnergy:
    """An energy with fresh weights, drawn on the CPU."""
    return ARCHITECTURES[architecture(config)][1](config, generator)


def architecture(config: Config) -> str:
    """The name under which a checkpoint is loaded again."""
    return next(name for name, (kind, _) in ARCHITECTURES.items() if type(config) is kind)
