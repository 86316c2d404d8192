"""Learning curves: what a model has learned so far, point by point."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ired.model.protocol import Energy


@torch.no_grad()
def snapshot(energy: Energy, A: Tensor, Y: Tensor, sampled: Tensor, generator: torch.Generator) -> dict[str, float]:
    """Figures of merit on problems A with inverses Y and sampled inverses, all (B, n, n).

    sampled_mse: mean squared error per entry after sampling. residual: ‖AŶ − I‖_F/√n, root mean
    square over problems. energy, gradient_norm: of noised answers. energy_gap: energy of another
    problem's answer, equally noised, minus that of the right one. These three are means over
    landscapes and problems. score_error, blind_error: mean squared error per dimension of ∇E, and of
    the best multiple of y_k, which never sees A, to the noise, at k = 0. "Denoising loss", sampled MSE
    and the error of the clean estimate are three metrics and never compared with each other.
    """
    n = A.shape[-1]
    schedule, coordinates = energy.schedule, energy.coordinates
    eye = torch.eye(n, dtype=Y.dtype, device=Y.device)
    result = {
        "sampled_mse": (sampled - Y).pow(2).mean(),
        "residual": ((A @ sampled - eye).pow(2).sum((-2, -1)) / n).mean().sqrt(),
    }
    y0 = coordinates.encode(Y)
    noise = coordinates.noise(len(A), generator=generator, dtype=y0.dtype, device=y0.device)
    prepared = energy.prepare(A)
    sums = torch.zeros(3, dtype=y0.dtype, device=y0.device)
    for k in reversed(range(schedule.K)):
        root, sigma = (schedule.at(name, k, y0) for name in ("sqrt_alpha_bar", "sigma"))
        right = root * y0 + sigma * noise
        wrong = root * y0.roll(1, 0) + sigma * noise
        value, gradient = energy.energy_and_gradient(prepared, right, k)
        gap = energy.energy(prepared, wrong, k) - value
        sums += torch.stack((value.mean(), gradient.norm(dim=-1).mean(), gap.mean()))
    scale = len(A) * coordinates.size  # the loop ends at k = 0
    result |= dict(zip(("energy", "gradient_norm", "energy_gap"), sums / schedule.K, strict=True))
    result["score_error"] = (gradient - noise).pow(2).sum() / scale
    blind = (right * noise).sum() / right.pow(2).sum() * right
    result["blind_error"] = (blind - noise).pow(2).sum() / scale
    return {name: value.item() for name, value in result.items()}


def smooth(history: Tensor, names: Sequence[str], points: int = 200) -> dict[str, list[float]]:
    """Means of losses (steps, len(names)) over some `points` windows, with the step that ends each."""
    window = max(1, len(history) // points)
    count = len(history) // window
    means = history[: count * window].double().unflatten(0, (count, window)).mean(1)
    columns = dict(zip(names, means.T.tolist(), strict=True))
    return {"step": [(i + 1) * window for i in range(count)]} | columns
