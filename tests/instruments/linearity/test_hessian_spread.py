"""Hessians are compared the same in whatever portions; what cannot be told apart is refused."""

import numpy as np
import pytest
import torch

from ired.instruments.core import states
from ired.instruments.linearity import hessian_spread


def spread(energy, A, **options):
    return hessian_spread.hessian_spread(energy, A, (0, 9), torch.Generator().manual_seed(3), **options)


def test_portions_change_nothing(network, problems):
    whole, parts = spread(network, problems), spread(network, problems, memory=1)
    assert np.allclose(whole.products, parts.products, atol=1e-12)
    assert np.allclose(whole.within, parts.within)
    assert np.allclose(whole.curvature, parts.curvature)


def test_the_variance_is_that_of_all_hessians(network, problems):
    """Within and between add up to the sums of squares that they are made of."""
    generator = torch.Generator().manual_seed(3)
    y0 = states.answers(network, problems)
    y = states.noised(network, y0, 0, 2, generator)[0]
    H = hessian_spread._hessians(network, problems, y, 0) * states.sigma(network, 0)
    means = H.mean(1)
    within = (H - means[:, None]).pow(2).sum((1, 2, 3)).mean()
    between = ((means - means.mean(0)).pow(2).sum() / (len(means) - 1) - within / 2).clamp_min(0)
    measured = spread(network, problems)
    known = ((within + between).sqrt() / means.mean(0).norm()).item()
    assert measured.spread().estimate[0] == pytest.approx(known)
    assert measured.between().estimate[0] == pytest.approx((between / (between + within)).item())
    assert torch.allclose(measured.mean[0], means.mean(0))
    assert (measured.spread().low <= measured.spread().high).all()


def test_what_cannot_be_told_apart_is_refused(network, problems):
    with pytest.raises(ValueError, match="two states of each"):
        spread(network, problems, count=1)
    with pytest.raises(ValueError, match="need float64"):
        spread(network, problems.float())
