"""All probes of P5-01 together, on one network under two names."""

import numpy as np
import pytest
import torch

from ired.instruments.accuracy.predictors import power_features
from ired.instruments.core import states
from ired.instruments.probing import ridge, study
from ired.model import problems as model_problems


@pytest.mark.slow
@pytest.mark.parametrize("coordinates", [False], indirect=True)
def test_a_study_reads_everything_everywhere(network, generator):
    A = model_problems.draw(36, 4, 0.5, generator, torch.float64)
    y0 = states.answers(network, A)
    errors = 7 * torch.arange(36) % 36  # half of them below the median
    properties = study.asked_for(model_problems.properties(A), A, y0, errors)
    plain = {"regression": lambda A: dict.fromkeys(ridge.LAYERS, power_features(A, 1))}
    energies = {"trained": network, "untrained": network}
    probes = study.ProbeStudy.of(
        energies,
        plain=plain,
        untrained={"untrained 2": network},
        A=A,
        y0=y0,
        properties=properties,
        folds=3,
        generator=generator,
    )
    for k in (0, 4):
        probes.read(states.noised(network, y0, k, 1, generator)[0][:, 0], k, describe=k == 0)
    tables = probes.tables()
    r2 = tables["r2"]
    assert r2.notna().all(axis=None)
    assert len(r2) == (len(ridge.INPUTS) + 12) * 3 * len(probes.asked.cells)
    tasks = r2.groupby("task")["property"].nunique()
    assert tasks.to_dict() == {"property": 7, "permuted": 7, "function": 7, "beyond others": 4}
    one = r2.query("layer == 'A' and property == 'trace' and task == 'property'")
    assert one["r2"].tolist() == pytest.approx([1] * 3, abs=1e-6)
    assert len(tables["success"]) == len(study.DESCRIBED) + 3 and set(tables["lengths"]["landscape"]) == {0}
    assert (tables["lengths"].groupby(["source", "layer"]).size() == 7).all()
    assert tables["curves"].notna().all(axis=None)
    # One network under two names: no layer is ahead of itself.
    assert (tables["ahead"]["untrained"] == 0).all()
    area, fewer = probes.foreseen(("trained", "fc3", 0), ("untrained", "fc3", 0))
    assert area.low < area.estimate < area.high and fewer.estimate == 0
    assert not tables["rises"]["beyond"].any() and len(tables["rises"]) == 7
    met, numbers = study.probe_verdicts(probes, tables)["rises_with_depth_beyond_controls"]
    assert not met and numbers["of"] == 7 and numbers["above_untrained"] == 0
    metrics = study.probe_metrics(r2, tables["untrained_networks"])
    places = (*ridge.LAYERS, "given", "affine", "regression")
    asked = {f"r2.{place}.{name}" for place in places for name in ridge.PROPERTIES}
    assert set(metrics) == asked | {"r2.untrained.least", "r2.untrained.most"}
    # A network that gives its input back, with the state beside it, is [A, y]; two networks that are one read alike.
    beside = probes.beside(study.OF_PROBLEM)
    assert np.allclose(beside["regression"], beside["affine"]) and np.allclose(beside["untrained"], beside["trained"])
    assert metrics["r2.untrained.least"] == pytest.approx(metrics["r2.untrained.most"])
    assert metrics["r2.regression.trace"] == pytest.approx(metrics["r2.affine.trace"])
    assert set(probes.bits()) == set(study.READ_AT) and len(probes.bits()["affine"]) == 36
