"""What P3-03 measures and hands on."""

import numpy as np
import pytest
import torch

from ired.instruments.attribution import active_subspace, active_subspace_study, exact_sensitivity
from ired.instruments.core import states as points
from ired.instruments.core.directions import EVERYWHERE, Direction
from ired.instruments.core.random_directions import normal, orthonormal
from ired.model import problems as model_problems


def test_what_is_handed_on(ideal, generator):
    size = ideal.coordinates.size
    field = normal(2, 200, 1, size, generator=generator)
    row = orthonormal(1, field.shape[-1], generator, field)
    field[1] += 4 * normal(200, 1, 1, generator=generator) * row
    components = active_subspace.field_components(field, 40, generator)
    assert components.real[1] == 1
    first, second = active_subspace_study.active_directions(ideal, components, [0, 1], 2)
    assert first.name == "gradient k=0 #1" and "within chance" in first.measure
    assert second.measure == "share of variance" and second.vector.shape == (ideal.coordinates.d,)
    assert abs(ideal.coordinates.to_basis(second.vector) @ row[0]) > 0.95
    assert second.evidence == pytest.approx(components.share[1, 0])


def test_features_most_used_come_first(generator):
    decoder = 2 * normal(4, 8, generator=generator)
    features = active_subspace_study.most_used("fc1", decoder, {0: 0.1, 1: 0.5, 2: 0.0, 3: 0.5}, 3)
    assert [f.name for f in features] == ["feature fc1 #1", "feature fc1 #3", "feature fc1 #0"]
    assert features[0].vector.norm() == pytest.approx(1)


def test_a_survey_says_where_each_number_is_from(network, ideal, problems, generator):
    y0 = points.answers(network, problems)
    states = {
        ("trained", "noised"): active_subspace.noised_states(network, y0, 2, generator),
        ("ideal", "noised"): active_subspace.noised_states(network, y0, 2, generator),
    }
    energies = {"trained": network, "ideal": ideal}
    components, tables = active_subspace_study.survey(energies, problems, states, draws=3, generator=generator)
    assert list(components) == [(*of, field) for of in states for field in ("raw", "beyond")]
    rows = tables["spectra"].query("energy == 'ideal' and field == 'raw' and landscape == 4")
    np.testing.assert_allclose(rows["share"], components["ideal", "noised", "raw"].share[4])
    assert len(tables["framed"]) == 4 * 10


def test_all_of_it(network, problems, generator):
    y0 = points.answers(network, problems)
    states = active_subspace.noised_states(network, y0, 3, generator)
    field = active_subspace.fields(network, problems, states)["beyond"]
    components = active_subspace.field_components(field, 5, generator)
    by_name = {"trained": components, "ideal": components}
    tables = active_subspace_study.spans(
        network, problems, y0, field=field, by_name=by_name, resamples=3, generator=generator
    )
    assert tables["angles"]["dimension"].tolist() == np.maximum(components.real, 1).tolist()
    captures = tables["captures"].pivot(index="landscape", columns="source", values="share")
    assert (captures["trained"] == captures["ideal"]).all()
    assert (captures["best"] >= captures["answers"] - 1e-12).all()

    v = normal(32, generator=generator)
    other = Direction("a", "concept", "fc2", EVERYWHERE, "", 0.0, "", v).unit()
    tables = active_subspace_study.comparisons(network, problems, components, [1, 4], 2, [other], 8, generator)
    table, matrices = active_subspace_study.described_components(network, {"trained": components}, [1, 4], 2)
    assert all(len(rows) == len(table) == len(matrices) for rows in tables.values())
    np.testing.assert_allclose(table[list(active_subspace.PARTS)].sum(axis=1), 1)
    np.testing.assert_allclose((matrices**2).sum((1, 2)), 1)


def test_a_bowl_around_a_prediction_varies_along_the_axes_of_its_errors(affine, generator):
    """The covariance of its gradient at noised answers is σ_k H_k, if its errors are what it says they are."""
    count, size = 4000, affine.coordinates.size
    A = model_problems.draw(count, affine.coordinates.n, 0.5, generator, torch.float64)
    errors = normal(count, size, generator=generator) * affine.variances.sqrt() @ affine.axes.mT
    y0 = affine.prepare(A).y0 + affine.coordinates.from_basis(errors)
    field = active_subspace.fields(affine, A, active_subspace.noised_states(affine, y0, 1, generator))["raw"]
    for k in (0, 5):
        sigma, bar = affine.schedule.sigma[k], affine.schedule.alpha_bar[k]
        known = sigma**2 / (bar * affine.variances + sigma**2)
        values, rows = active_subspace.principal_components(field[k].flatten(0, 1))
        along = (field[k, :, 0] @ affine.axes).var(0)
        np.testing.assert_allclose(along, known, rtol=6 * (2 / count) ** 0.5)
        assert values.sum() == pytest.approx(known.sum().item(), rel=0.05)
        # Most of all along the axis on which it errs least.
        assert rows[0] @ torch.cov(field[k, :, 0].mT) @ rows[0] >= along.max() * (1 - 1e-9)
        assert known.argmax() == affine.variances.argmin()


def test_what_the_sharpest_landscape_holds(network, ideal, affine, problems, generator):
    energies = {"trained": network, "ideal": ideal, "affine": affine}
    states = active_subspace.noised_states(network, points.answers(network, problems), 2, generator)
    places = {(name, "noised"): states for name in energies}
    components, _ = active_subspace_study.survey(energies, problems, places, draws=3, generator=generator)
    values = active_subspace_study.sharpest_by_problem(energies, components, problems, problems[:4], states[0])
    count = len(components["trained", "noised", "beyond"].leading(0))
    for name in energies:
        rows = components[name, "noised", "beyond"].rows[0, :count]
        S = exact_sensitivity.mean_sensitivity(network, problems[:4])
        assert values["captured"][name].mean() == pytest.approx(((rows @ S) * rows).sum().item())
        assert values["held"][name].shape == (6,) and (values["held"][name] <= 1 + 1e-12).all()
