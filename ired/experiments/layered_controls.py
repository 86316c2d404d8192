"""What a control holds in place of a network's layers, where concepts are looked for as well."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from ired.experiments.controls import CONTROLS
from ired.instruments.accuracy.predictors import RegressionNetwork
from ired.model.protocol import Energy
from ired.model.reference import PredictorEnergy


@dataclass(frozen=True)
class LayeredBowl(PredictorEnergy):
    """The bowl around a prediction, with what stands for layers there."""

    @classmethod
    def around(cls, energy: PredictorEnergy) -> LayeredBowl:
        return cls(**{field.name: getattr(energy, field.name) for field in fields(energy)})

    def activations(self, A: Tensor, y: Tensor, k: int | Tensor) -> dict[str, Tensor]:
        """By layer (B, width): a regression network's, of problems A (B, n, n); of any other prediction its answers
        beside the states y (B, d), "answer"."""
        if isinstance(self.predict, RegressionNetwork):
            return self.predict.layers(A)
        basis = self.coordinates.to_basis
        return {"answer": torch.cat([basis(self.prepare(A).y0), basis(y)], -1)}


def layered_controls(energies: Mapping[str, Energy]) -> dict[str, LayeredBowl]:
    """Those of energies (`controls.panel`) that are controls, with their layers."""
    return {name: LayeredBowl.around(energies[name]) for name in CONTROLS}  # type: ignore[arg-type]  # bowls all
