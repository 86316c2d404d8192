"""Sparse codes: the features that are active, as the entries of a sparse matrix, and products with it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

# What is used of it here is tested here.
warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")


@dataclass(frozen=True)
class SparseCodes:
    """The entries of a sparse matrix of features, sorted by row; there is a row for every member and
    token, and for every member whose dead features are being revived and token.

    row, token, member, column: long (E,); value (E,): what is decoded; slope (E,): its derivative by
    the pre-activation; near (E,): how strongly a JumpReLU threshold is felt, 0 elsewhere.
    """

    row: Tensor
    token: Tensor
    member: Tensor
    column: Tensor
    value: Tensor
    slope: Tensor
    near: Tensor

    def joined(self, other: SparseCodes) -> SparseCodes:
        return SparseCodes(*map(torch.cat, zip(vars(self).values(), vars(other).values(), strict=True)))


def largest(u: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of u (..., F) along its last dimension, in no order: values and places (..., k).

    torch on a CPU is fast for k ≤ F/64. Beyond, what is largest lies where the largest of the four
    entries F/4 apart are, so that most need no second look.
    """
    count = u.shape[-1]
    if u.device.type != "cpu" or count % 4 or not count / 64 < k <= count / 8:
        return u.topk(k, dim=-1, sorted=False)
    quarters = u.unflatten(-1, (4, -1))
    places = quarters.amax(-2, keepdim=True).topk(k, dim=-1, sorted=False).indices
    places = places.expand(*quarters.shape[:-1], k)
    value, which = quarters.gather(-1, places).flatten(-2).topk(k, dim=-1, sorted=False)
    places = places + torch.arange(0, count, count // 4, device=u.device)[:, None]
    return value, places.flatten(-2).gather(-1, which)


def starts_of(rows: Tensor, count: int) -> Tensor:
    """Where each of `count` rows begins among row numbers that are, or shall be, sorted: (count + 1,)."""
    starts = torch.zeros(count + 1, dtype=torch.long, device=rows.device)
    torch.cumsum(torch.bincount(rows, minlength=count), 0, out=starts[1:])
    return starts


def sparse_product(starts: Tensor, column: Tensor, value: Tensor, dense: Tensor) -> Tensor:
    """A sparse matrix times a dense one: weighted sums of rows, for which this is the fast way."""
    return torch.nn.functional.embedding_bag(
        column, dense, starts, mode="sum", per_sample_weights=value, include_last_offset=True
    )


def sampled_product(starts: Tensor, column: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """⟨rows[r], columns[c]⟩ for every entry (r, c) of a sparse matrix: (E,)."""
    pattern = torch.sparse_csr_tensor(
        starts, column, rows.new_zeros(len(column)), (len(rows), len(columns)), check_invariants=False
    )
    return torch.sparse.sampled_addmm(pattern, rows, columns.mT, beta=0.0).values()
