"""Families of shifts: spectra, truths and definiteness are as claimed."""

import math
from functools import partial

import pytest
import torch

from ired.model import problems, shifted_problems


def made(name, count=60, n=5, c=0.5, table=None):
    table = shifted_problems.SHIFTED | shifted_problems.PATHOLOGICAL
    return table[name](count, n, c, problems.generator(0, name))


@pytest.mark.parametrize("name", shifted_problems.SHIFTED)
def test_shifted_problems_are_definite_and_have_their_inverse(name):
    family, eye = made(name), torch.eye(5, dtype=torch.float64)
    assert family.exists and family.A.shape == (60, 5, 5) and family.A.dtype == torch.float64
    assert torch.allclose(family.A, family.A.mT, atol=1e-10)
    assert torch.linalg.eigvalsh(family.A).min() > 0
    assert torch.allclose(family.A @ family.Y, eye.expand_as(family.A), atol=1e-8)


@pytest.mark.parametrize("name, low, high", [("κ 100–300", 100, 300), ("κ 300–1000", 300, 1000)])
def test_condition_numbers_are_those_that_were_set(name, low, high):
    seen = problems.properties(made(name, 200).A)
    kappa = seen["condition_number"]
    assert kappa.min() >= low * (1 - 1e-6) and kappa.max() <= high * (1 + 1e-6)
    middle = math.log(low * high) / 2
    assert abs(kappa.log().mean() - middle) < 0.1 * math.log(high / low)
    trace = torch.full_like(kappa, 5 * problems.mean_diagonal(5, 0.5))
    assert torch.allclose(seen["trace"], trace)
    assert seen["norm"].std() > 0  # properties vary: correlations with them are defined


@pytest.mark.parametrize(
    "name, lost, value",
    [
        ("rank n−1, 0.02", 1, 0.02),
        ("rank n−2, 0.02", 2, 0.02),
        ("rank n−1, 0.002", 1, 0.002),
    ],
)
def test_so_many_eigenvalues_are_near_zero_and_the_others_are_those_of_training(name, lost, value):
    spectrum = torch.linalg.eigvalsh(made(name).A)
    assert torch.allclose(spectrum[:, :lost], torch.full_like(spectrum[:, :lost], value), atol=1e-9)
    assert spectrum[:, lost:].min() >= 0.5 - 1e-9


@pytest.mark.parametrize("name, share", [("noise 0.2c", 0.2), ("noise 0.8c", 0.8)])
def test_noise_has_its_size_and_leaves_both_truths(name, share):
    family = made(name)
    before = torch.linalg.inv(family.clean)
    size = torch.linalg.matrix_norm(family.A - before, 2)
    assert torch.allclose(size, torch.full_like(size, share * 0.5), atol=1e-8)
    assert torch.linalg.eigvalsh(family.A).min() >= (1 - share) * 0.5 - 1e-8


@pytest.mark.parametrize("name", shifted_problems.PATHOLOGICAL)
def test_pathological_inputs_are_finite_and_repeat(name):
    family, eye = made(name), torch.eye(5, dtype=torch.float64)
    assert torch.equal(family.A, made(name).A)
    assert family.A.isfinite().all() and family.Y.isfinite().all()
    if family.exists:
        assert torch.allclose(family.A @ family.Y, eye.expand_as(family.A), atol=1e-6)
    else:  # Penrose's first condition
        assert torch.allclose(family.A @ family.Y @ family.A, family.A, atol=1e-8)


def test_pathological_inputs_are_what_they_say():
    spectrum = {name: torch.linalg.eigvalsh(made(name).A) for name in ("singular", "indefinite")}
    assert spectrum["singular"][:, 0].abs().max() < 1e-12 and spectrum["singular"][:, 1].min() >= 0.5
    assert spectrum["indefinite"][:, 0].max() <= -0.5 + 1e-9
    A = made("not symmetric").A
    assert not torch.allclose(A, A.mT)
    draws = (made("same", 500).A, made("same again", 500).A)
    assert not torch.equal(*draws)
    assert abs(draws[0].mean() - draws[1].mean()) < 0.1


def test_embedding_keeps_the_inverse_of_the_block():
    A = made("same", 3, n=2).A
    larger = shifted_problems.embedded_problems(A, 4)
    assert torch.allclose(torch.linalg.inv(larger)[:, :2, :2], torch.linalg.inv(A))
    assert torch.equal(larger[:, 2:, 2:], torch.eye(2, dtype=A.dtype).expand(3, 2, 2))


def test_a_short_model_is_one_of_the_other_side():
    sections = (
        {"hidden": 16, "landscapes": 10, "symmetric": True, "standardised": True},
        {"steps": 100, "batch": 16, "learning_rate": 1e-3},
    )
    model = shifted_problems.short_model(2, 0.5, *sections, 3, "none", 0)
    assert model.coordinates.n == 2 and next(model.parameters()).dtype == torch.float64


def test_problems_of_another_side_have_their_inverses():
    found = shifted_problems.problems_of_other_side(2, 5, 0.5, lambda name: problems.generator(0, name))
    assert list(found) == ["n = 2", "n = 2, c = 0.1"]
    for A, Y in found.values():
        assert torch.allclose(A @ Y, torch.eye(2, dtype=A.dtype).expand(5, 2, 2))
    stream = partial(problems.generator, 0)
    families = shifted_problems.draw_families(shifted_problems.PATHOLOGICAL, 2, 3, 0.5, stream)
    assert list(families) == list(shifted_problems.PATHOLOGICAL)
