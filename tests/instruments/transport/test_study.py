"""Verdicts of P4-04 on planted tables."""

import pytest
from pandas import DataFrame

from ired.instruments.transport import study


@pytest.mark.parametrize("distance, low, margin", [(2.0, 0.95, 0.1), (1.0, 0.9, -0.1)])
def test_verdicts_read_the_model_and_no_control(distance, low, margin):
    tables = {
        "answers": DataFrame(
            [
                {
                    "answers": name,
                    "cost": "Euclidean",
                    "measure": "principal axes",
                    "distance": d,
                    "high": 1.5,
                    "p": 0.1,
                }
                for name, d in (("untrained", 3 - distance), ("trained", distance))
            ]
        ),
        "straightness": DataFrame(
            [
                {
                    "answers": "trained",
                    "scale": scale,
                    "blocks": 0.97,
                    "low": low if scale == "clean" else 0.92,
                    "optimality": 1.0,
                }
                for scale in ("state", "clean")
            ]
        ),
        "margins": DataFrame({"over": ["L2", "spectral_norm"], "low": [margin, 0.2]}),
    }
    found = study.transport_verdicts(tables)
    assert [met for met, _ in found.values()] == [distance == 2.0] * 3
    assert found["path_is_straight"][1] == {"blocks": 0.97, "low": low, "optimality": 1.0}
    assert found["transport_explains_energy_best"][1]["margin_over_L2.low"] == margin
