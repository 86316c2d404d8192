"""What an answer carries is what a known matrix has."""

import math

import pytest
import torch

from ired.instruments.interventions import answer_properties


def test_what_an_answer_carries():
    Q, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)).double())
    Y = Q @ torch.diag(torch.tensor([2.0, 0.5, 0.25]).double()) @ Q.mT
    A = torch.linalg.inv(Y)
    values = {k: v.item() for k, v in answer_properties.answer_properties(Y, Y + 0.01).items()}
    assert values["ill_conditioned"] == pytest.approx(math.log(8))
    assert values["large_norm"] == pytest.approx(A.norm().log().item())
    assert values["near_singular"] == pytest.approx(math.log(2))
    share = A.diagonal().pow(2).sum() / A.pow(2).sum()
    assert values["dominant_diagonal"] == pytest.approx(share.item())
    assert values["noisy_answer"] == pytest.approx(-4) == -values["correct_answer"]
    # Answers that are no inverse of anything, and right ones, still have finite values.
    for odd in (-Y, 0 * Y, Y):
        assert all(v.isfinite() for v in answer_properties.answer_properties(odd, Y).values())
    assert answer_properties.answer_property(Y[None], Y[None], "").isnan().all()
    with pytest.raises(ValueError, match="unknown concept"):
        answer_properties.answer_property(Y, Y, "beauty")
