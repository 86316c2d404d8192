"""The instruments on a learned energy agree with automatic differentiation and one another."""

import numpy as np
import pytest
import torch

from ired.instruments.core import states
from ired.instruments.landscape import descent, gradient_field, hessian, minima


def autograd_hessian(energy, A, y, k):
    def one(a, state):
        return torch.autograd.functional.hessian(lambda s: energy.energy(a[None], s[None], k)[0], state)

    return torch.stack([one(a, state) for a, state in zip(A, y, strict=True)])


def test_spectra_are_those_of_automatic_differentiation(network, problems, generator):
    y = states.at_noise(network, states.answers(network, problems), (1, 6), generator)
    found = hessian.hessian_spectra(network, problems, y, (1, 6))
    basis = states.state_basis(network, y)
    for i, k in enumerate((1, 6)):
        H = basis @ autograd_hessian(network, problems, y[i], k) @ basis.mT
        expected = torch.linalg.eigvalsh(H).detach().numpy() * states.sigma(network, k)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found.eigenvalues[i], expected, rtol=0, atol=1e-10 * scale)
        trace = expected.sum(-1) / network.coordinates.size
        total = gradient_field.divergence(network, problems, y[i : i + 1], (k,)).total[0]
        np.testing.assert_allclose(total, trace, rtol=0, atol=1e-10 * scale)
    assert (found.gauss_newton >= -1e-10 * scale).all()
    assert found.inertia[..., 0].max() > 0  # it bends both ways, or this tests little
    # Traces are additive where eigenvalues are not.
    parts = found.gauss_newton.sum(-1) + found.residual.sum(-1)
    np.testing.assert_allclose(parts, found.eigenvalues.sum(-1), rtol=0, atol=1e-9 * scale)


def test_the_closed_form_gradient_is_conservative(network, problems, generator):
    y0 = states.answers(network, problems)
    found = gradient_field.conservation(network, problems, y0, (0, 9), generator)
    for name in ("asymmetry", "loop", "path", "hessian"):
        np.testing.assert_allclose(getattr(found, name), 0, atol=1e-6, err_msg=name)


@pytest.mark.slow
def test_its_minima_are_minima(network, problems, generator):
    y0 = states.answers(network, problems)
    found = minima.find_minima(network, problems, y0, (5,), (1.0, 5.0), 3, generator)
    assert found.found.any()
    at = found.outcome == minima.MINIMUM
    assert found.gradient[at].max() < 1e-8
    # A minimum is lower than every point that a small step reaches.
    start = states.around(network, y0, 5, 1.0, 3, generator)
    ends = descent.descend(network, problems, start, 5)
    step = 1e-3 * states.unit_directions(network, 6, 3, generator=generator, like=y0)
    near = network.energy(problems, ends.y + step, 5)
    seen = minima.critical_points(network, problems, start, 5)
    lower = (near < ends.energy) & (seen.outcome == minima.MINIMUM)
    assert (seen.outcome == minima.MINIMUM).any() and not lower.any()


def test_float32_is_refused_where_it_would_mislead(network, problems, generator):
    network, A = network.float(), problems.float()
    y0 = states.answers(network, A)
    with pytest.raises(ValueError, match="float64"):
        hessian.hessian_spectra(network, A, states.at_answers(network, y0, (0,)), (0,))
    with pytest.raises(ValueError, match="float64"):
        gradient_field.conservation(network, A, y0, (0,), generator)
    with pytest.raises(ValueError, match="float64"):
        descent.descend(network, A, y0[:, None], 0)
    # What only looks at energies and gradients works.
    found = gradient_field.gradient_field(network, A, y0, (0,), (1.0,), 2, generator)
    assert found.cosine.dtype == np.float64 and np.isfinite(found.cosine).all()
