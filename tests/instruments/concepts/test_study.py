"""A study of a network's concepts, from pairs to what is handed on."""

import numpy as np
import pytest
import torch

from ired.instruments.concepts import study
from ired.instruments.concepts.cav import PRIMARY
from ired.instruments.concepts.pairs import INPUT, noisy_pairs
from ired.instruments.concepts.regions import regions
from ired.instruments.concepts.regression import regress
from ired.instruments.concepts.tcav import all_slopes
from ired.instruments.core import directions, states as points
from ired.instruments.core.directions import CONCEPTS

LAYERS = ("fc1", "fc3")


@pytest.mark.slow
def test_a_study_of_a_network(network, shown):
    A, population, pairs = shown
    y0, landscapes = points.answers(network, A), (0, 6)
    generator = torch.Generator().manual_seed(0)
    slopes = all_slopes(network, A[:30], y0[:30], landscapes=landscapes, layers=LAYERS, generator=generator)
    rng = np.random.default_rng(0)
    concepts = study.study_concepts(
        network, A, y0, shown=pairs, layers=(INPUT, *LAYERS), slopes=slopes, random=39, rng=rng
    )
    cells = len(CONCEPTS) * len(LAYERS) * len(landscapes)
    assert len(concepts.tcav) == 2 * cells and len(concepts.agreement) == cells
    assert len(concepts.confusion) == 2 * len(CONCEPTS) * cells
    for table in concepts.tables().values():
        assert np.isfinite(table.select_dtypes("number")).all(axis=None)
    confusion, auroc = (table.query(f"method == '{PRIMARY}'") for table in (concepts.confusion, concepts.auroc))
    same_pairs = confusion.query("concept == pairs")["auroc"].to_numpy()
    assert np.allclose(same_pairs, auroc.query("labels == 'own' and layer != @INPUT")["auroc"])

    handed = concepts.handed_on()
    assert len(handed) == len(CONCEPTS) * len(LAYERS)
    again = directions.unpack_directions(*directions.pack_directions(handed))
    assert all(d.source == "concept" and d.vector.norm() == pytest.approx(1) for d in again)
    assert {d.evidence for d in handed} == set(concepts.best()["auroc"])
    assert len(concepts.told_apart()) == len(handed)
    ahead = concepts.ahead(concepts)
    assert (ahead.query("of == 'untrained'")["gain"] == 0).all()
    mean = concepts.mean_auroc()
    assert mean.estimate == pytest.approx(concepts.best()["auroc"].mean())
    assert mean.low < mean.estimate < mean.high
    assert set(concepts.beyond_random("fc1")) == {"by_score", "by_mean", "tests"}

    states = noisy_pairs(network, population, 60, torch.Generator().manual_seed(0))
    degrees = regress(network, A, y0, population=population, pairs=states, layers=(INPUT, *LAYERS), slopes=slopes)
    assert len(degrees) == 5 * 3 * 2 and (degrees["r2"] <= 1).all()
    table = regions(network, A, y0, shown=pairs, at=concepts.best()[:2])
    assert len(table) == 4 and table["accuracy"].between(0, 1).all()
