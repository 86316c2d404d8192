"""Problems: distributions, exact moments, properties and separate random streams."""

import math

import pytest
import torch

from ired.model import problems
from ired.model.coordinates import Coordinates


def draw(count, n=6, c=0.5, purpose="tests"):
    return problems.draw(count, n, c, problems.generator(0, purpose), torch.float64)


def test_problems_are_symmetric_with_eigenvalues_above_c():
    A = draw(200)
    assert torch.equal(A, A.mT)
    assert torch.linalg.eigvalsh(A).min() >= 0.5 - 1e-12


def test_closed_form_moments_match_a_sample():
    A = draw(40_000)
    on, off = problems.deviations(6)
    diagonal, corner = A.diagonal(dim1=-2, dim2=-1), A[:, 0, 1]
    assert math.isclose(diagonal.mean(), problems.mean_diagonal(6, 0.5), rel_tol=0.005)
    assert math.isclose(diagonal.std(), on, rel_tol=0.02)
    assert abs(corner.mean()) < 0.03 and math.isclose(corner.std(), off, rel_tol=0.02)


def test_inverse_is_the_inverse_and_refuses_what_has_none():
    A = draw(50)
    Y = problems.inverse(A)
    assert torch.allclose(A @ Y, torch.eye(6, dtype=A.dtype).expand_as(A), atol=1e-10)
    assert torch.equal(Y, Y.mT)
    with pytest.raises(torch.linalg.LinAlgError):
        problems.inverse(-A)


def test_standardised_answers_have_mean_zero_and_unit_size():
    shift, scale = problems.standardisation(6, 0.5)
    y = Coordinates(6, shift, scale, True).encode(problems.inverse(draw(40_000)))
    assert y.mean(0).abs().max() < 0.02
    assert math.isclose(y.pow(2).mean().sqrt(), 1.0, rel_tol=0.01)


def test_streams_differ_by_purpose_and_seed_and_repeat():
    same = [draw(3), draw(3)]
    assert torch.equal(*same)
    assert not torch.equal(draw(3), draw(3, purpose="other"))
    other = problems.draw(3, 6, 0.5, problems.generator(1, "tests"), torch.float64)
    assert not torch.equal(same[0], other)


@pytest.mark.parametrize("name", problems.FAMILIES)
def test_families_are_positive_definite_and_what_they_say(name):
    A = problems.FAMILIES[name](300, 6, 0.5, problems.generator(0, name))
    seen = problems.properties(A)
    assert A.shape == (300, 6, 6) and A.dtype == torch.float64
    assert torch.allclose(A, A.mT, atol=1e-12)
    assert seen["smallest_eigenvalue"].min() > 0 and (seen["rank"] == 6).all()
    if name == "harder":
        assert seen["smallest_eigenvalue"].min() < 0.15
    if name == "ill_conditioned":
        assert torch.allclose(seen["condition_number"], torch.tensor(1000.0).double(), rtol=1e-6)
        assert torch.allclose(seen["trace"] / 6, torch.tensor(4.5).double())
    if name == "near_singular":
        assert torch.allclose(seen["smallest_eigenvalue"], torch.tensor(0.02).double())
    if name == "smaller":
        assert torch.equal(A[:, 3:, 3:], torch.eye(3).double().expand(300, 3, 3))
        assert not A[:, :3, 3:].any()


def test_properties_of_a_known_matrix():
    A = torch.diag(torch.tensor([4.0, 1.0, 0.25]))[None]
    seen = {name: value.item() for name, value in problems.properties(A).items()}
    assert seen == pytest.approx(
        {
            "condition_number": 16.0,
            "smallest_eigenvalue": 0.25,
            "largest_eigenvalue": 4.0,
            "trace": 5.25,
            "norm": math.sqrt(16 + 1 + 1 / 16),
            "log_determinant": 0.0,
            "rank": 3.0,
            "inverse_peak": 4.0,
        }
    )


def test_basis_coordinates_are_isometric_and_noise_is_isotropic():
    c = Coordinates(5, symmetric=True)
    y = c.noise(20_000, generator=problems.generator(0, "noise"), dtype=torch.float64)
    z = c.to_basis(y)
    assert torch.allclose(c.from_basis(z), y) and torch.allclose(c.project(y), y)
    assert torch.allclose(z.pow(2).sum(-1), y.pow(2).sum(-1))
    covariance = torch.cov(z.mT)
    assert (covariance - torch.eye(15)).abs().max() < 0.06
    v = torch.randn(3, 25, dtype=torch.float64)
    assert torch.allclose(c.from_basis(c.to_basis(v)), c.project(v))
