"""Known answers of linearity see maps that are judged where they were fitted, other noise, sums that forget a part."""

import pytest
import torch

from ired.instruments.core import states
from ired.instruments.linearity import denoising_loss, hessian_spread, known_answers
from ired.instruments.linearity.normal_equations import NormalEquations, RowMoments

pytestmark = pytest.mark.slow


def missed(check, references):
    answers = check(references, torch.Generator().manual_seed(1))
    return {answer.what for answer in answers if not answer.passed}


def test_they_are_recovered(references):
    for check in (known_answers.check_affine_score, known_answers.check_hessian_spread):
        assert missed(check, references) == set()
    assert missed(known_answers.check_denoising_loss, references) == set()


def test_maps_judged_on_what_they_were_fitted_to_are_seen(references, monkeypatch):
    """The rows of the fold that is judged are the ones that are fitted."""

    def only(self, fold):
        count, shift = self._counts[fold], self._totals[fold] / self._counts[fold]
        return RowMoments(count, self._origin + shift, self._products[fold] / count - torch.outer(shift, shift))

    monkeypatch.setattr(NormalEquations, "without", only)
    blamed = missed(known_answers.check_affine_score, references)
    assert "whether noise is explained by more inputs than rows" in blamed


def test_a_map_of_too_little_is_seen(references, monkeypatch):
    fitted = RowMoments._weights

    def half(self, inputs, outputs):
        weights, ridge = fitted(self, inputs, outputs)
        return 0.9 * weights, ridge

    monkeypatch.setattr(RowMoments, "_weights", half)
    assert "R² of an affine score" in missed(known_answers.check_affine_score, references)


def test_hessians_that_are_not_brought_to_the_noise_are_seen(references, monkeypatch):
    monkeypatch.setattr(hessian_spread.states, "sigma", lambda energy, k: 1.0)
    blamed = missed(known_answers.check_hessian_spread, references)
    assert "curvature of the ideal Hessian" in blamed


def test_a_mean_that_forgets_problems_is_seen(references, monkeypatch):
    counts = hessian_spread._counts

    def forgetful(drawn, size):
        often = counts(drawn, size)
        often[..., 1] = 0
        return often

    monkeypatch.setattr(hessian_spread, "_counts", forgetful)
    assert "spread of the algebraic Hessian" in missed(known_answers.check_hessian_spread, references)


def test_noise_that_was_not_added_is_seen(references, monkeypatch):
    noised = states.noised

    def other(*arguments):
        y, epsilon = noised(*arguments)
        return y, -epsilon

    monkeypatch.setattr(denoising_loss.states, "noised", other)
    assert "loss of the ideal energy" in missed(known_answers.check_denoising_loss, references)
