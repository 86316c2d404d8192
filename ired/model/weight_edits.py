"""Weight ablation and randomisation: copies of an energy with a part of its weights taken out or drawn anew."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch

from ired.model.energies.mlp import LAYERS, MLPEnergy

MODULATED = ("fc2", "fc3")  # the layers whose pre-activations the landscape scales and shifts


def without_film(energy: MLPEnergy, layer: str) -> MLPEnergy:
    """A copy in which landscapes no longer modulate `layer`: gain 1 and bias 0 in all of them.

    Raises ValueError for a layer that has no modulation (only "fc2" and "fc3" have one).
    """
    if layer not in MODULATED:
        raise ValueError(f"only {' and '.join(MODULATED)} are modulated, not '{layer}'")
    changed = copy.deepcopy(energy)
    modulation = getattr(changed, f"t_map_{layer}")
    with torch.no_grad():
        # Gain and bias are linear in the landscape's code; the gain counts from 1.
        modulation.weight.zero_()
        modulation.bias.zero_()
    return changed


def truncated(energy: MLPEnergy, layer: str, rank: int) -> MLPEnergy:
    """A copy in which the weight matrix of `layer` ("fc1" … "fc4") is the nearest one of at most `rank`.

    Nearest in Frobenius norm: the largest singular values are kept (Eckart & Young 1936). The bias
    stays; with rank 0 nothing else does. From the full rank on the weights are the given ones, digit
    for digit. Raises ValueError for another layer or a negative rank.
    """
    if layer not in LAYERS or rank < 0:
        raise ValueError(f"a layer of {', '.join(LAYERS)} and a rank from 0, not '{layer}', {rank}")
    changed = copy.deepcopy(energy)
    weight = getattr(changed, layer).weight
    if rank < min(weight.shape):
        with torch.no_grad():
            left, values, right = torch.linalg.svd(weight.double(), full_matrices=False)
            weight.copy_((left[:, :rank] * values[:rank]) @ right[:rank])
    return changed


def full_rank(energy: MLPEnergy, layer: str) -> int:
    """The largest rank that the weight matrix of `layer` can have: min of its two sides."""
    return min(getattr(energy, layer).weight.shape)


def low_rank(energy: MLPEnergy, layer: str, share: float) -> MLPEnergy:
    """`truncated` to the nearest rank to a share of the largest one, but to 1 at least."""
    return truncated(energy, layer, max(1, round(share * full_rank(energy, layer))))


def randomised(energy: MLPEnergy, layers: Sequence[str], generator: torch.Generator) -> MLPEnergy:
    """A copy whose `layers` ("fc1" … "fc4") have fresh weights and biases, of PyTorch's default law.

    A modulated layer gets a fresh map from the landscape's code to gain and bias with it: they are one
    block. What embeds the landscape's number stays, and knows of no problem. Weights are drawn in
    float32 on the generator's device, so that one seed means the same network everywhere. Raises
    ValueError for another layer.
    """
    if unknown := [layer for layer in layers if layer not in LAYERS]:
        raise ValueError(f"layers are {', '.join(LAYERS)}, not '{unknown[0]}'")
    changed = copy.deepcopy(energy)
    for layer in layers:
        names = (layer, f"t_map_{layer}") if layer in MODULATED else (layer,)
        for module in (getattr(changed, name) for name in names):
            bound = module.in_features**-0.5
            for weight in (module.weight, module.bias):
                fresh = torch.rand(weight.shape, generator=generator, device=generator.device)
                with torch.no_grad():
                    weight.copy_((2 * fresh - 1) * bound)
    return changed


def shuffled_weights(energy: MLPEnergy, generator: torch.Generator) -> MLPEnergy:
    """A copy in which the entries of every weight matrix and every bias are in random order: what is
    left is their distribution."""
    changed = copy.deepcopy(energy)
    with torch.no_grad():
        for weight in changed.parameters():
            order = torch.randperm(weight.numel(), generator=generator).to(weight.device)
            weight.copy_(weight.flatten()[order].view_as(weight))
    return changed
