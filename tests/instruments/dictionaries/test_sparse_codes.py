"""The largest of many, as sorting finds them."""

import pytest
import torch

from ired.instruments.dictionaries.sparse_codes import largest


@pytest.mark.parametrize("count, k", [(512, 4), (512, 16), (512, 32), (512, 64), (512, 65), (510, 32), (24, 3)])
def test_the_largest_are_found_by_quarters_too(count, k):
    """Also where many are equal, as pre-activations of a dead dictionary are."""
    u = torch.randn(5, 3, count, generator=torch.Generator().manual_seed(0))
    for values in (u, u.round(), torch.zeros_like(u)):
        value, place = largest(values, k)
        assert torch.equal(values.gather(-1, place), value) and value.shape == (5, 3, k)
        assert torch.equal(value.sort(-1).values, values.sort(-1).values[..., -k:])
        assert all(len(set(row)) == k for row in place.flatten(0, 1).tolist())
