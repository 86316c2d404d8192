"""Directions led back to the state, and their cosines with components."""

import numpy as np
import pytest
import torch

from ired.instruments.attribution import alignment
from ired.instruments.core import states as points
from ired.instruments.core.directions import EVERYWHERE, STATE, Direction
from ired.instruments.core.random_directions import normal, orthonormal


def test_pulling_back_is_autograd(network, problems, generator):
    y = points.noised(network, points.answers(network, problems), 2, 1, generator)[0][:, 0]
    vectors = {layer: normal(2, 32, generator=generator) for layer in ("fc1", "fc3")}
    pulled = alignment.pulled_back(network, problems, y, 2, vectors, rows=40)
    for layer, v in vectors.items():
        at = y.clone().requires_grad_()
        h = network.activations(problems, at, 2)[layer]
        (g,) = torch.autograd.grad((h @ v[1]).sum(), at)
        g = torch.nn.functional.normalize(network.coordinates.to_basis(g), dim=-1)
        torch.testing.assert_close(pulled[layer][:, 1], g, rtol=0, atol=1e-8)


def test_cosines_and_their_chance(generator):
    size = 12
    rows = orthonormal(2, size, generator)
    pulled = torch.stack([rows[0], normal(size, generator=generator)]).expand(9, -1, -1)
    pulled = torch.nn.functional.normalize(pulled, dim=-1)
    cosines = alignment.alignment(rows, pulled)
    np.testing.assert_allclose(cosines.cosine[0], [1, 0], atol=1e-12)
    np.testing.assert_allclose(cosines.consistency, 1)
    assert cosines.chance[0, 0] < 1e-12 and cosines.chance[0, 1] > 0.999
    assert (cosines.low <= cosines.cosine + 1e-12).all() and (cosines.high >= cosines.cosine - 1e-12).all()
    blind = orthonormal(1, size, generator)
    random = torch.nn.functional.normalize(normal(3, 2000, size, generator=generator), dim=-1)
    p = alignment.alignment(blind, random).chance
    assert (p < 0.05).mean() == pytest.approx(0.05, abs=0.02)


def test_directions_of_other_landscapes_are_left_out(network, problems, generator):
    y = points.noised(network, points.answers(network, problems), 2, 1, generator)[0][:, 0]
    size, d = network.coordinates.size, network.coordinates.d
    state = network.coordinates.from_basis(normal(size, generator=generator))
    directions = [
        Direction(name, source, space, k, "", 0.0, "", v).unit()
        for name, source, space, k, v in (
            ("here", "concept", "fc2", 2, normal(32, generator=generator)),
            ("elsewhere", "concept", "fc2", 3, normal(32, generator=generator)),
            ("all", "feature", "fc1", EVERYWHERE, normal(32, generator=generator)),
            ("state", "attribution", STATE, 2, state),
        )
    ]
    rows = network.coordinates.to_basis(directions[-1].vector)[None]
    table = alignment.aligned(network, problems, y, 2, rows, directions, 8, generator)
    assert sorted(table["name"]) == ["all", "here", "state"]
    assert directions[-1].vector.shape == (d,)
    assert table.set_index("name")["cosine"]["state"] == pytest.approx(1)
    assert np.isfinite(table[["cosine", "low", "high", "p", "limit"]]).all(axis=None)
    assert alignment.aligned(network, problems, y, 2, rows, [], 8, generator).empty
