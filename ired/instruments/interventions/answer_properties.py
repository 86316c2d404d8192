"""Properties of answers: condition, norm and the like of the problem that a sampled inverse implies, and its error."""

from __future__ import annotations

import torch
from torch import Tensor

from ired.instruments.core.directions import CONCEPTS

FLOOR = 1e-3  # of a sampled inverse's largest eigenvalue: what A's largest may be read from


def answer_properties(Y: Tensor, answers: Tensor) -> dict[str, Tensor]:
    """The concepts as they are read off sampled inverses Y (..., n, n), each (...), growing with the
    concept; answers (..., n, n) are the true ones.

    Of Y symmetrised, with eigenvalues μ of at least FLOOR times the largest size, the implied A has
    1/μ: ill_conditioned log(μ_max/μ_min); large_norm log ‖A‖_F; near_singular log μ_max;
    dominant_diagonal the share of ‖A‖²_F on the diagonal; noisy_answer log10 of the mean squared
    error per entry, of Y as it is; correct_answer its negative.
    """
    mu, Q = torch.linalg.eigh((Y + Y.mT) / 2)
    largest = mu.abs().amax(-1, keepdim=True).clamp_min(1e-12)
    mu = torch.maximum(mu, FLOOR * largest)
    squared = mu.pow(-2).sum(-1)
    diagonal = (Q.pow(2) / mu[..., None, :]).sum(-1)
    error = (Y - answers).pow(2).mean((-2, -1)).clamp_min(torch.finfo(Y.dtype).tiny).log10()
    values = (
        (mu[..., -1] / mu[..., 0]).log(),
        squared.log() / 2,
        mu[..., -1].log(),
        diagonal.pow(2).sum(-1) / squared,
        error,
        -error,
    )
    return dict(zip(CONCEPTS, values, strict=True))


def answer_property(Y: Tensor, answers: Tensor, concept: str) -> Tensor:
    """One of `answer_properties`; NaN for no concept. Raises ValueError for an unknown one."""
    if not concept:
        return torch.full(Y.shape[:-2], float("nan"), dtype=Y.dtype, device=Y.device)
    if concept not in CONCEPTS:
        raise ValueError(f"unknown concept '{concept}': {', '.join(CONCEPTS)}")
    return answer_properties(Y, answers)[concept]
