"""Verdicts of P5-03 on planted tables."""

import pytest
from pandas import DataFrame

from ired.instruments.layers import study_ablation as study
from ired.instruments.layers.ablation_ranking import Likeness


def planted(p, rise_low, idle):
    agreement = DataFrame(
        [
            {
                "network": network,
                "layers": layers,
                "measure": measure,
                "w": 0.9,
                "p": p if network == "trained" else 0.9,
                "needed": 0.7,
                "top": "fc2",
                "halves_tau": 0.8,
                "halves_p": p,
            }
            for network in ("untrained", "trained")
            for layers in (3, 4)
            for measure in ("order", "score", "mse")
        ]
    )
    rows = [
        ("linear", "fc1", 0.3, rise_low, 0.0),
        ("linear", "fc2", 0.1, 0.05, 0.0),
        ("linear", "fc3", 0.2, 0.1, 0.0),
        ("linear", "fc4", 0.0, 0.0, 0.0),
        ("rounding", "fc1", 0.0, 0.0, idle),
    ]
    summary = DataFrame(rows, columns=["kind", "layer", "rise", "rise_low", "order"]).assign(rise_high=0.4)
    return {"agreement": agreement, "summary": summary}


@pytest.mark.parametrize("holds", [True, False])
def test_verdicts_read_the_trained_network(holds):
    tables = planted(0.01, 0.2, 0.0) if holds else planted(0.2, -0.1, 0.02)
    likeness = {m: Likeness(0.1, 0.4 if holds else 0.01, 0.6, 5) for m in ("order", "score")}
    verdicts = study.ablation_verdicts(tables, likeness, whole=1.0)
    assert [met for met, _ in verdicts.values()] == [holds] * 5
    assert verdicts["ranking_agrees_across_ablations"][1] == {
        "needed": 0.7,
        "w_order": 0.9,
        "w_score": 0.9,
        "w_mse": 0.9,
    }
    assert verdicts["every_layer_is_nonlinear"][1] == {"fc1": 0.3, "fc2": 0.1, "fc3": 0.2}
    assert study.least_missed(tables["summary"]) == ("fc2", (0.1, 0.05, 0.4))
    assert study.ablation_metrics(tables["agreement"], {"whole": 1.0}) == {
        "mse.whole": 1.0,
        "top.order": 2,
        "top.score": 2,
        "top.mse": 2,
    }
