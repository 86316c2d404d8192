"""The verdicts on linearity are those of the model, in the landscapes that the criteria name."""

import pytest
from pandas import DataFrame, concat

from ired.experiments.linearity import _verdicts
from ired.instruments.linearity.study import LOSS


def planted(share, differences):
    """Tables of a trained and an untrained energy in two landscapes; differences: of losses, by landscape."""
    rows = [
        (energy, k, measure, value + 0.1 * k, value + 0.1 * k - 0.02, value + 0.1 * k + 0.02)
        for energy, value in (("trained", share), ("untrained", 0.8))
        for measure in ("affine", LOSS)
        for k in (0, 1)
    ]
    losses = [
        DataFrame({"energy": name, "landscape": [0, 1], "difference": by, "difference_high": by}).assign(
            difference_high=lambda t: t["difference"] + 0.01
        )
        for name, by in (("trained", differences), ("untrained", [-1.0, -1.0]))
    ]
    return DataFrame(rows, columns=["energy", "landscape", "measure", "value", "low", "high"]), concat(losses)


@pytest.mark.parametrize("share, met", [(0.92, True), (0.94, False), (0.999, False)])
def test_a_score_is_not_affine_where_its_interval_ends_below(share, met):
    decided, numbers = _verdicts(*planted(share, [0.0, 0.0]))["more_than_affine_score"]
    assert decided == met and numbers["share"] == share and numbers["untrained"] == 0.8


@pytest.mark.parametrize("differences, met, landscape", [([0.2, -0.1], True, 1), ([0.0, 0.1], False, 0)])
def test_one_landscape_below_the_affine_denoiser_is_enough(differences, met, landscape):
    decided, numbers = _verdicts(*planted(0.5, differences))["beats_affine_denoiser"]
    assert decided == met and numbers["landscape"] == landscape
    assert numbers["difference"] == differences[landscape] and numbers["ratio"] == pytest.approx(0.5 + 0.1 * landscape)
