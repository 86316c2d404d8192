"""Portraits: known numbers of the reference energies, every metric of every model, what is missing."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ired.instruments.accuracy.metrics import affine_share
from ired.instruments.comparison import model_metrics, model_metrics_answers
from ired.instruments.comparison.metric_names import HIGHER, LOWER, METRICS, NEITHER, metrics
from ired.instruments.comparison.model_metrics import PortraitScene, PortraitSizes, take
from ired.instruments.core import states
from ired.model import problems as model_problems
from ired.model.sampling import SamplingConfig, sample

FAMILIES = {"test": 0.5, "harder": 0.1, "milder": 1.0}
SIZES = PortraitSizes(
    landscapes=(0, 5),
    problems=4,
    curved=3,
    segments=8,
    states=8,
    descended=3,
    distances=(1.0, 10.0),
    jacobians=2,
    followed=8,
    draws=3,
    linear=40,
    rotated=(12, 6),
)
CONFIG = SamplingConfig(inner_steps=2, clip=50.0)


def stream(purpose):
    return model_problems.generator(0, purpose)


def walk(energy, A, start, inner_steps=None, callback=None, differentiable=False):
    config = CONFIG if inner_steps is None else replace(CONFIG, inner_steps=inner_steps)
    return sample(energy, A, config, start=start, callback=callback, differentiable=differentiable)


@pytest.fixture
def scene(ideal):
    families = {}
    for name, c in FAMILIES.items():
        A = model_problems.draw(60, ideal.coordinates.n, c, stream(name), torch.float64)
        start = states.noise(ideal, len(A), generator=stream("start"), like=A)
        families[name] = A, model_problems.inverse(A), start
    A = model_problems.draw(4, ideal.coordinates.n, 0.5, stream("A"), torch.float64)
    return PortraitScene(families, A, stream)


def test_the_ideal_portrait(ideal, scene):
    found = take(ideal, walk, scene, SIZES)
    A, Y, _ = scene.families["test"]
    share = affine_share(A, Y, Y)
    known = {
        **{f"accuracy.{label}.{name}": 0 for label in ("mse", "mse_denoised") for name in FAMILIES},
        "accuracy.affine": 1 - share.unexplained.mean() / share.total.mean(),
        "accuracy.recovered": 1,
        "landscape.convexity": 1,
        "landscape.sharpness": 1,
        "landscape.radius": 1,
        "landscape.wrong_costs_more": 1,
        "landscape.curvature": 1,
        "landscape.anisotropy": 0,
        "landscape.negative": 0,
        "landscape.condition": 0,
        "landscape.algebraic": 0,
        "landscape.cosine_home": 1,
        "landscape.score_error": 0,
        "landscape.offset": -12,
        "landscape.nearest_minimum": 0,
        "landscape.lowest_is_nearest": 1,
        "landscape.minima": 1,
        "landscape.minimum_found": 1,
        "landscape.basin": 1,
        "landscape.escaped": 0,
        "landscape.unconverged": 0,
        "attribution.score_cosine": 1,
        "attribution.score_slope": 1,
        "attribution.answers_cosine": 1,
        "attribution.answers_slope": 1,
        "geometry.definite": 1,
        "geometry.asymmetry": 0,
        "geometry.spectrum_error": 0,
        "geometry.directions_error": 0,
        **{name: 0 for name in METRICS if name.startswith("equivariance.")},
    }
    seen = {name: found.numbers[name] for name in known}
    assert seen == pytest.approx(known, abs=1e-6)
    # A root mean square of normal numbers, at least 8 × 10 of them for each of four problems.
    assert found.numbers["landscape.score_size"] == pytest.approx(1, abs=0.2)
    assert found.numbers["attribution.answers_other"] < 0.9
    table = found.tables["landscapes"]
    rows = table[table["landscape"] == 5].set_index("metric")["value"]
    assert rows["landscape.curvature"] == pytest.approx(1) and len(rows) == 13


def test_the_algebraic_portrait(algebraic, scene):
    found = take(algebraic, walk, scene, SIZES).numbers
    c, spectrum = algebraic.coordinates, torch.linalg.eigvalsh(scene.A[: SIZES.curved])
    kappa = 2 * (spectrum[:, -1] / spectrum[:, 0]).log10().mean().item()
    curvature = states.sigma(algebraic, 0) * c.scale**2 * spectrum.pow(2).mean().item()
    known = {
        "landscape.convexity": 1,
        "landscape.wrong_costs_more": 1,
        "landscape.negative": 0,
        "landscape.algebraic": 1,
        "landscape.condition": kappa,
        "landscape.curvature": curvature,
        "landscape.nearest_minimum": 0,
        "landscape.lowest_is_nearest": 1,
        "landscape.minima": 1,
        "landscape.basin": 1,
        "equivariance.rotated_gap": 0,
        "equivariance.rotated_score": 0,
        "equivariance.permuted_gap": 0,
        "equivariance.permuted_score": 0,
    }
    assert {name: found[name] for name in known} == pytest.approx(known, abs=1e-6)


@pytest.mark.slow
def test_every_metric_of_a_network_is_delivered_and_finite(network, scene):
    found = take(network, walk, scene, SIZES)
    assert set(found.numbers) == set(metrics(FAMILIES))
    assert all(math.isfinite(value) and type(value) is float for value in found.numbers.values())
    assert found.missing(FAMILIES) == []
    assert set(found.seconds) == {name.split(".")[0] for name in METRICS}
    turns = found.tables["equivariance"]
    assert len(turns) == 6 and (turns["unrelated"] > 0).all()
    assert np.isfinite(found.tables["landscapes"]["value"]).all()
    assert take(network, walk, scene, SIZES).numbers == found.numbers


def test_a_dead_score_has_a_portrait(network, scene):
    with torch.no_grad():
        network.fc4.weight.zero_(), network.fc4.bias.zero_()
    found = take(network, walk, scene, SIZES).numbers
    assert found["landscape.score_size"] == 0 and found["landscape.condition"] == pytest.approx(8)
    assert found["landscape.minimum_found"] == 0 and found["landscape.nearest_minimum"] == 10
    assert found["attribution.score_cosine"] == 0


def test_answers_in_single_precision_are_nearly_the_same(ideal, network, scene):
    single = model_metrics_answers.answer_accuracy(ideal, walk, scene.families, torch.float32)[0]
    assert all(single[f"accuracy.mse.{name}"] < 1e-8 for name in FAMILIES)
    assert single["accuracy.recovered"] == pytest.approx(1, abs=1e-4)


def test_the_releases_scale_is_taken_out_of_answers_but_not_of_errors(ideal, scene):
    def scaled(*args, **options):
        return 0.9 * walk(*args, **options)

    found = take(ideal, scaled, replace(scene, scale=0.9), SIZES).numbers
    assert found["accuracy.mse.test"] > 1e-4
    known = {"attribution.answers_slope": 1, "geometry.spectrum_error": 0, "equivariance.rotated_answer": 0}
    assert {name: found[name] for name in known} == pytest.approx(known, abs=1e-6)


def test_the_energy_as_an_alarm(ideal, scene):
    (A, _, start), (B, _, other) = (scene.families[name] for name in ("test", "harder"))
    y, z = states.answers(ideal, A), states.answers(ideal, B)
    assert model_metrics_answers.alarm(ideal, (A, y), (B, z + start)) == 1
    assert model_metrics_answers.alarm(ideal, (A, y + start), (B, z)) == 0
    assert 0.3 < model_metrics_answers.alarm(ideal, (A, y + start), (B, z + other.roll(1, 0))) < 0.7


def test_an_affine_model_is_seen_as_one(ideal, scene):
    """A sampler that answers an affine map of A: nothing recovered, all of it linear."""
    c = ideal.coordinates

    def line(energy, A, start, **options):
        return c.encode(0.6 * torch.eye(c.n).to(A) - 0.03 * A)

    numbers, states = model_metrics_answers.answer_accuracy(ideal, line, scene.families, torch.float64)
    assert numbers["accuracy.affine"] == pytest.approx(1, abs=1e-6)
    assert numbers["accuracy.recovered"] == pytest.approx(0, abs=1e-6)
    found = model_metrics_answers.sanity(ideal, scene.families, states, 60, 1.0, stream("sanity"))
    assert found["sanity.linear_answers"] == pytest.approx(1, abs=1e-6)


def test_metrics_say_what_they_are():
    for name, metric in metrics(["test"]).items():
        assert metric.better in (LOWER, HIGHER, NEITHER) and metric.phase in range(7) and metric.meaning
        assert name.isascii()


def test_what_has_no_number_is_named(ideal, scene, monkeypatch):
    monkeypatch.setattr(model_metrics.model_metrics_answers, "alarm", lambda *given: float("nan"))
    with pytest.raises(ValueError, match="no finite sanity.alarm$"):
        take(ideal, walk, scene, SIZES)
    with pytest.raises(ValueError, match="'harder'"):
        PortraitScene({"test": scene.families["test"]}, scene.A, stream)
    for wrong in ({"jacobians": 1}, {"problems": 1}, {"landscapes": (1, 2)}, {"bottoms": (3,)}):
        with pytest.raises(ValueError, match="two at least|k = 0"):
            PortraitSizes(**wrong)
    blind = model_metrics.Portrait({name: 0.0 for name in METRICS if name != "geometry.nearer"}, {}, {})
    assert blind.missing([]) == ["geometry.nearer"]


def planted(energy, *matrices):
    """A sampler that passes these matrices (P, n, n) in turn, in landscape 0, and answers the last."""
    root = energy.schedule.sqrt_alpha_bar[0].item()
    states = [energy.coordinates.encode(M) for M in matrices]

    def walk(energy, A, start, callback):
        for y in states:
            callback(SimpleNamespace(stage="denoise", landscape=0, inner=0, y=root * y))
        return states[-1]

    return walk


def test_eigenvectors_that_are_right_before_the_eigenvalues(ideal, scene, generator):
    A, Y, start = (given[:20] for given in scene.families["test"])
    values, vectors = torch.linalg.eigh(Y)
    blank = torch.eye(ideal.coordinates.n).to(Y).expand_as(Y)
    spread = (vectors * (0.5 + values.flip(0))[:, None]) @ vectors.mT  # another problem's eigenvalues
    walk = planted(ideal, blank, blank, spread)
    found = model_metrics_answers.geometry(ideal, walk, A, Y, start, 4, 1.0, generator)
    assert found["geometry.eigenvalue_share"] == pytest.approx(1)
    assert found["geometry.directions_error"] == pytest.approx(0, abs=1e-9)
    assert found["geometry.spectrum_error"] > 0.5
    assert found["geometry.directions_first"] > 0.9
    Q = torch.linalg.qr(torch.randn(20, *Y.shape[1:], generator=generator).double()).Q
    walk = planted(ideal, blank, blank, (Q * values[:, None]) @ Q.mT)
    found = model_metrics_answers.geometry(ideal, walk, A, Y, start, 4, 1.0, generator)
    assert found["geometry.spectrum_error"] == pytest.approx(0, abs=1e-9)
    assert found["geometry.directions_error"] == pytest.approx(1, abs=0.3)
    assert found["geometry.directions_first"] < -0.5


def test_answers_that_miss_as_noise_does_are_as_near(ideal, scene, generator):
    A, Y, start = scene.families["test"]
    noise = 0.05 * states.noise(ideal, len(A), generator=generator, like=A).view_as(Y)
    walk = planted(ideal, Y, Y + noise)
    found = model_metrics_answers.geometry(ideal, walk, A, Y, start, 8, 1.0, generator)
    assert found["geometry.nearer"] == pytest.approx(0.5, abs=0.12)
    assert found["geometry.distance_ratio"] == pytest.approx(1, abs=0.3)
    share = found["geometry.eigenvalue_share"]
    assert share == pytest.approx(2 / (ideal.coordinates.n + 1), abs=0.08)
    walk = planted(ideal, Y, -Y)
    found = model_metrics_answers.geometry(ideal, walk, A, Y, start, 4, 1.0, generator)
    assert found["geometry.definite"] == 0 and np.isfinite(list(found.values())).all()
    assert found["geometry.distance_ratio"] > 1
