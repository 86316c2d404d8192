"""TracIn (Pruthi et al. 2020, arXiv 2002.08484) by captum, to hold ours against: its slow variant
differentiates each problem's loss by itself.

The fast ones rebuild gradients from what enters and leaves a layer, which misses that here each
weight acts twice; the slow one (`TracInCP` with one backward pass a problem) takes autograd's word
and is exact.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class _Scores(nn.Module):
    """A network of points (a, z, k) that takes all points of a problem as one sample."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, a: Tensor, z: Tensor, k: Tensor) -> Tensor:
        return self.network(a.flatten(0, 1), z.flatten(0, 1), k.flatten()).view_as(z)


def captum_tracin(
    network: nn.Module,
    past: Sequence[tuple[float, dict[str, Tensor]]],
    train: tuple[Tensor, Tensor, Tensor, Tensor],
    test: tuple[Tensor, Tensor, Tensor, Tensor],
) -> Tensor:
    """TracIn (R, N) of N training on R test problems, with captum's sign: positive lowers the loss.

    network(a, z, k) gives scores (B, size); past: learning rate and weights of each checkpoint;
    problems: a (P, m, size), z (P, m, size), k (P, m), noise (P, m, size). The loss of a problem is
    its mean squared error over m points.
    """
    from captum.influence import TracInCP
    from torch.utils.data import TensorDataset

    def load(module: nn.Module, place: int) -> float:
        rate, weights = past[place]
        module.network.load_state_dict(weights)
        return rate

    def losses(scores: Tensor, noise: Tensor) -> Tensor:
        return (scores - noise).square().mean((1, 2))

    losses.reduction = "none"  # what captum asks for; without a word it warns
    tracer = TracInCP(
        _Scores(network),
        TensorDataset(*train),
        list(range(len(past))),
        load,
        loss_fn=losses,
        batch_size=len(train[0]),
        sample_wise_grads_per_batch=False,
    )
    influences = tracer.influence(test, show_progress=False)
    return torch.as_tensor(influences)
