"""Error bars: shapes, chunks, coordinates and refusals."""

import numpy as np
import pytest
import torch

from ired.instruments.core import states
from ired.instruments.landscape import hessian
from ired.instruments.uncertainty import tweedie


def measure(energy, A, seed=3, **options):
    y0 = states.answers(energy, A)
    return tweedie.error_bars(energy, A, y0, (0, 5, 9), torch.Generator().manual_seed(seed), **options)


def test_a_learned_energy_has_error_bars_of_all_shapes(network, problems):
    bars = measure(network, problems, functionals=7)
    assert bars.actual.shape == bars.predicted.shape == bars.negative.shape == bars.entries_without.shape == (3, 6)
    assert bars.entries.shape == bars.functionals.shape == (3, 3, 6)
    columns = bars.columns()
    assert {len(values) for values in columns.values()} == {3 * 6}
    assert {"entries_50", "functionals_95", "sharpness", "kappa"} <= columns.keys()
    assert all(np.isfinite(values).all() for values in columns.values())


def test_hessians_that_another_instrument_makes_give_the_same(network, problems):
    landscapes, (sound, y0) = (0, 5, 9), (measure(network, problems), states.answers(network, problems))
    generator = torch.Generator().manual_seed(3)
    y = states.at_noise(network, y0, landscapes, generator)
    reader = tweedie.ErrorBarReader(network, problems, y0, y, landscapes, generator=generator)
    hessian.hessian_spectra(network, problems, y, landscapes, memory=2**20, reader=reader)
    for name, values in reader.bars().columns().items():
        np.testing.assert_allclose(values, sound.columns()[name], rtol=1e-9, atol=1e-12, err_msg=name)


def test_the_covariance_stays_in_the_basis_and_agrees_with_autograd(network, problems, generator):
    k, c = 2, network.coordinates
    y0 = states.answers(network, problems)
    y = states.noised(network, y0, k, 1, generator)[0][:, 0]
    covariance = tweedie.posterior_covariance(network, problems, y, k)
    assert covariance.shape == (6, c.size, c.size)

    def estimate(z):
        return tweedie.posterior_mean(network, problems, c.from_basis(z), k).sum(0)

    # The estimate moves with √ᾱ·y as the covariance says: ∂ŷ/∂y = √ᾱ/σ²·Cov.
    J = torch.autograd.functional.jacobian(estimate, c.to_basis(y)).transpose(0, 1)
    bar = network.schedule.alpha_bar[k].item()
    torch.testing.assert_close(covariance, (1 - bar) / bar**0.5 * J)
    torch.testing.assert_close(covariance, covariance.mT)


@pytest.mark.parametrize("which", [0, 1], ids=["network", "algebraic"])
def test_errors_and_predictions_differ_on_average_as_the_scale_of_the_score_is_wrong(
    network, algebraic, problems, which
):
    """Stein's identity, for energies that are no posterior's."""
    energy, k = (network, algebraic)[which], 3
    A = problems.repeat(200, 1, 1)
    y0 = states.answers(energy, A)
    bars = tweedie.error_bars(energy, A, y0, (k,), torch.Generator().manual_seed(4))
    y = states.at_noise(energy, y0, (k,), torch.Generator().manual_seed(4))[0]
    noise = bars.noise[0]
    gradient = states.array(energy.coordinates.to_basis(energy.gradient(A, y, k)).pow(2).sum(-1))
    trace = bars.size - bars.predicted[0] / noise
    left = (bars.actual[0] - bars.predicted[0]) / noise - (gradient - trace)
    assert abs(left.mean()) < 5 * left.std() / len(left) ** 0.5
    assert left.std() > 0


def test_chunks_change_nothing(network, problems):
    whole, small = (measure(network, problems, memory=memory) for memory in (2**30, 1))
    for name, values in whole.columns().items():
        np.testing.assert_allclose(small.columns()[name], values, rtol=1e-9, atol=1e-12, err_msg=name)


def test_entries_have_variances_in_units_of_the_inverse(ideal, generator):
    c = ideal.coordinates
    L = torch.randn(2, c.size, c.size, generator=generator, dtype=torch.float64)
    covariance = L @ L.mT
    covariance[1] *= -1
    variances = tweedie.entry_variances(ideal, covariance)
    basis = c.from_basis(torch.eye(c.size, dtype=torch.float64))
    full = c.scale**2 * basis.mT @ covariance @ basis
    torch.testing.assert_close(variances.flatten(1), full.diagonal(dim1=-2, dim2=-1))
    assert (variances[1] < 0).all()


def test_single_precision_is_refused(ideal, problems):
    y0 = states.answers(ideal, problems)
    with pytest.raises(ValueError, match="error bars need float64"):
        tweedie.error_bars(ideal, problems, y0.float(), (0,), torch.Generator())
