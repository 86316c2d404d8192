"""The noise schedule of the annealed landscapes: how far landscape k is from the clean answer."""

from __future__ import annotations

import math
from functools import cached_property

import torch
from torch import Tensor


class Schedule:
    """Cosine ᾱ schedule over K landscapes (Nichol & Dhariwal 2021, eq. 17; s = 0.008, β ≤ 0.999).

    k = 0 is the sharpest landscape, K − 1 almost pure noise:
    y_k = √ᾱ_k y₀ + σ_k ε with σ_k = √(1 − ᾱ_k). All attributes are float64 tensors (K,).
    """

    def __init__(self, landscapes: int = 10):
        if landscapes < 1:
            raise ValueError(f"a schedule needs at least one landscape, not {landscapes}")
        self.K = landscapes
        t = torch.linspace(0, landscapes, landscapes + 1, dtype=torch.float64) / landscapes
        bar = torch.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2
        self.beta = (1 - bar[1:] / bar[:-1]).clamp(0, 0.999)
        self.alpha_bar = torch.cumprod(1 - self.beta, dim=0)

    @cached_property
    def sqrt_alpha_bar(self) -> Tensor:
        """Scale of the clean answer in each landscape."""
        return self.alpha_bar.sqrt()

    @cached_property
    def sigma(self) -> Tensor:
        """Standard deviation of the noise in each landscape."""
        return (1 - self.alpha_bar).sqrt()

    @cached_property
    def step_size(self) -> Tensor:
        """Descent step η_k = β_k / σ_k of the official sampler."""
        return self.beta / self.sigma

    def at(self, name: str, k: int | Tensor, like: Tensor) -> Tensor:
        """Values of one attribute at landscape(s) k, shaped to multiply states `like` (B[, M], d).

        k is an int, or a tensor (B,) with one landscape for each problem.
        """
        values, dtype, device = getattr(self, name), like.dtype, like.device
        # Filled in on a GPU, which would make the CPU wait for a copy.
        if isinstance(k, int):
            return torch.full((), values.tolist()[k], dtype=dtype, device=device)
        if device.type == "cpu":
            values = values.to(dtype)
        else:
            values = torch.stack([torch.full((), value, dtype=dtype, device=device) for value in values.tolist()])
        picked = values[k]
        return picked.reshape(-1, *[1] * (like.dim() - 1)) if picked.dim() else picked
