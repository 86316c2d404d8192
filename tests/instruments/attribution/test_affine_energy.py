"""What attributions must say of the bowl around an affine map of A: in closed form, and nothing of the problem."""

from functools import partial

import pytest
import torch

from ired.instruments.attribution import exact_sensitivity, integrated_gradients
from ired.instruments.core import states
from ired.model.sampling import AnnealedSampler


@pytest.fixture
def J(affine, problems):
    """∂m/∂A in basis coordinates, (size, n, n), for symmetric changes of A."""
    eye = torch.eye(affine.coordinates.n, dtype=torch.float64)
    entries = states.symmetric(torch.einsum("ki,lj->klij", eye, eye)).flatten(0, 1)
    there, here = (affine.coordinates.encode(affine.predict(A)) for A in (problems[:1] + entries, problems[:1]))
    return affine.coordinates.to_basis(there - here).mT.unflatten(-1, eye.shape)


@pytest.mark.parametrize("k", [0, 6])
def test_its_score_depends_on_every_problem_alike(affine, problems, y, J, k):
    """By −√ᾱ H ∂m/∂A: as near to another problem's exact sensitivity as to its own, in the mean exactly."""
    for place in ((0, 0), (1, 2)):
        target = integrated_gradients.score_entry(affine, k, place)
        gradients = exact_sensitivity.gradients_by_problem(target, problems, y)
        row = affine.hessian(problems[:1], y[:1], k)[0, place[0] * 4 + place[1]]
        known = -states.centre(affine, 1.0, k) * torch.einsum("s,sij->ij", affine.coordinates.to_basis(row), J)
        torch.testing.assert_close(gradients, known.expand_as(problems))
        exact = exact_sensitivity.exact_score_sensitivity(affine, problems, k, place)
        table = exact_sensitivity.sensitivity_agreement(gradients, exact)
        assert table["cosine"].mean() == pytest.approx(table["shuffled"].mean(), abs=1e-12)


def test_its_answers_jacobian_is_the_map(affine, problems, J, generator):
    """From any start, which is forgotten."""
    start = states.noise(affine, len(problems), generator=generator, like=problems)
    answer = partial(AnnealedSampler(clip=50), affine, differentiable=True)
    measured = exact_sensitivity.jacobian(affine, answer, problems, start=start)
    assert exact_sensitivity.cosine(measured, J.expand_as(measured)).min() > 0.999
    table = exact_sensitivity.sensitivity_agreement(measured, J.expand_as(measured))
    assert (table["slope"] - 1).abs().max() < 0.02


def test_its_gap_is_attributed_by_the_middle_of_the_path(affine, problems, y0, y, begins):
    """The gap is linear in A: its mean gradient on a path is −√ᾱ (∂m/∂A)ᵀ H (ȳ − y*), ȳ the middle of the states."""

    def slope(v):
        """−√ᾱ (∂m/∂A)ᵀ v."""
        return torch.func.grad(lambda A: -(states.centre(affine, affine.prepare(A).y0, 0) * v).sum())(problems)

    H, home = affine.hessian(problems, y, 0), states.centre(affine, y0, 0)
    for begin in begins.values():
        gap = integrated_gradients.gap(affine, 0, y0)
        paths = integrated_gradients.integrate(gap, problems, y, baseline=begin, count=8)
        assert paths.complete()
        for measured, first in zip(paths.gradients[0], begin.y, strict=True):
            known = slope((H @ ((y + first) / 2 - home)[..., None])[..., 0])
            torch.testing.assert_close(*map(states.symmetric, (measured, known)), rtol=1e-5, atol=1e-5)


def test_its_score_is_attributed_to_differences_by_the_same_map(affine, problems, y, begins):
    gradients = []
    for begin in begins.values():
        target = integrated_gradients.score_entry(affine, 3, (0, 1))
        paths = integrated_gradients.integrate(target, problems, y, baseline=begin, count=8)
        gradients.append(states.symmetric(paths.gradients[0]).flatten(0, 1))
    gradients = torch.cat(gradients)
    torch.testing.assert_close(gradients, gradients[:1].expand_as(gradients), rtol=1e-5, atol=1e-6)
