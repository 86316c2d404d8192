"""Verdicts of P5-03 on planted tables."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pandas import DataFrame

from ired.instruments.accuracy.predictors import RegressionNetwork, affine_predictors
from ired.instruments.layers import study_ablation as study
from ired.instruments.layers.ablation_ranking import Likeness
from ired.model import problems as model_problems


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


def test_what_a_linear_layer_adds_stands_beside_a_regression_network(generator):
    A = model_problems.draw(900, 3, 0.5, generator, torch.float64)
    batches = list(zip(A.split(90), torch.linalg.inv(A).split(90), strict=True))
    regression = RegressionNetwork(batches, hidden=16, steps=10)
    affine = affine_predictors(batches)["least_squares"]
    bench = SimpleNamespace(A=A[:5], Y=torch.linalg.inv(A[:5]), mse=np.arange(5.0))
    rows = [
        {"kind": kind, "layer": layer, "landscape": k, "problem": problem, "mse": problem + n + (kind == "mean")}
        for kind in ("mean", "linear")
        for n, layer in enumerate(("fc1", "fc2", "fc3", "fc4"))
        for k in (0, 1)
        for problem in range(5)
    ]
    added = study.linear_beside(DataFrame(rows), bench, regression=regression, affine=affine, A=A[5:])
    assert list(added) == ["whole", "fc1", "fc2", "fc3"]
    for n, layer in enumerate(("fc1", "fc2", "fc3")):
        np.testing.assert_allclose(added[layer]["trained"], n)
        np.testing.assert_allclose(added[layer]["affine"], 0)
        changed = regression.made_linear(layer, A[5:]).mse(bench.A, bench.Y)
        np.testing.assert_allclose(added[layer]["regression"] + added["whole"]["regression"], changed)
    np.testing.assert_allclose(added["whole"]["affine"], affine.mse(bench.A, bench.Y))
