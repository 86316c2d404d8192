"""Random directions have length, place and covariance of what they stand beside, and a seed means the same ones."""

import torch

from ired.instruments.core import random_directions
from ired.instruments.core.directions import STATE


def test_isotropic_directions_stay_where_states_live(ideal, generator):
    like = torch.empty(0, dtype=torch.float64)
    width = ideal.coordinates.n**2
    drawn = random_directions.isotropic_in(ideal, STATE, 5, width, generator, like)
    torch.testing.assert_close(ideal.coordinates.project(drawn), drawn)
    for some in (drawn, random_directions.isotropic_in(ideal, "fc1", 5, width, generator, like)):
        torch.testing.assert_close(some.norm(dim=1), torch.ones(5).double())


def test_mixtures_have_the_covariance_that_is_never_formed(generator):
    x = 3 + random_directions.normal(50, 4, generator=generator) * torch.tensor([3.0, 1.0, 0.3, 0.1])
    both = (
        random_directions.mixtures(random_directions.normal(20000, 50, generator=generator), x),
        random_directions.covariance_matched(torch.cov(x.mT), 20000, generator, torch.float64),
    )
    one, two = (v.mT @ v / len(v) for v in both)
    torch.testing.assert_close(one, two, atol=0.02, rtol=0)


def test_what_is_left_is_orthogonal_to_the_span(generator):
    span = random_directions.orthonormal(3, 8, generator)
    torch.testing.assert_close(span @ span.mT, torch.eye(3).double())
    left = random_directions.without(random_directions.isotropic(5, 8, generator), span)
    assert (left @ span.mT).abs().max() < 1e-12
    torch.testing.assert_close(left.norm(dim=1), torch.ones(5).double())
