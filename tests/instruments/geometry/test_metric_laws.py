"""Laws of SPD geometry: kept by sound metrics, broken by spoiled ones, refused for bad matrices."""

import pytest
import torch

from ired.instruments.geometry import metric_laws, metrics
from ired.instruments.geometry.metric_laws import Law
from ired.model import problems as model_problems


@pytest.fixture(scope="module")
def laws():
    A = model_problems.draw(6, 4, 0.5, model_problems.generator(0, "laws"), torch.float64)
    return metric_laws.spd_laws(A, model_problems.generator(1, "laws"), library=4)


def broken(laws):
    return {(law.metric, law.law) for law in laws if not law.holds}


def test_every_law_holds_on_problems(laws):
    assert [str(law) for law in laws if not law.holds] == []
    assert list(dict.fromkeys(law.metric for law in laws)) == list(metrics.METRICS)
    assert len({(law.metric, law.law) for law in laws}) == len(laws), "a law is told twice"


def test_the_laws_of_each_metric(laws):
    """Inversion and congruence tell the metrics apart (METHODS 5 and 6)."""
    kept = {
        what: {law.metric for law in laws if law.law == what and law.expected}
        for what in (
            "invariant under inversion",
            "invariant under congruence",
            "mean of inverses = inverse of mean",
            "d(A, A⁻¹) = 2‖log A‖",
            "I is midway from A to A⁻¹",
            "invariant under rotation",
        )
    }
    inverting = {"affine-invariant", "log-Euclidean"}
    assert kept.pop("invariant under congruence") == {"affine-invariant"}
    assert kept.pop("invariant under rotation") == set(metrics.METRICS)
    assert all(metrics == inverting for metrics in kept.values())


def test_other_libraries_are_asked(laws):
    asked = {(law.metric, law.law) for law in laws}
    assert {("affine-invariant", "scipy: distance"), ("Bures-Wasserstein", "POT: distance")} <= asked


@pytest.mark.parametrize(
    "method, expected",
    [
        ("distance", "d is the length of log"),
        ("log", "exp undoes log"),
        ("transport", "transport is an isometry"),
        ("geodesic", "geodesics run from P to Q"),
        ("mean", "mean of two is midway"),
    ],
)
@pytest.mark.parametrize("metric", [metrics.AffineInvariant, metrics.BuresWasserstein], ids=lambda kind: kind.__name__)
def test_a_spoiled_metric_breaks_its_laws(problems, generator, monkeypatch, metric, method, expected):
    own = getattr(metric, method)
    monkeypatch.setattr(metric, method, lambda *a, **k: 1.001 * own(*a, **k))
    found = broken(metric_laws.spd_laws(problems, generator, library=0))
    assert expected in {law for _, law in found}
    assert {metrics.METRICS[name].__class__ for name, _ in found} == {metric}


def test_a_law_that_must_not_hold_needs_a_counterexample():
    assert Law("x", "m", 0.2, 1e-3, expected=False).holds
    assert not Law("x", "m", 1e-9, 1e-3, expected=False).holds
    assert Law("x", "m", 1e-9, 1e-8).holds and not Law("x", "m", 1e-7, 1e-8).holds


@pytest.mark.parametrize("expected", [True, False])
def test_what_is_not_a_number_never_holds(expected):
    assert not Law("x", "m", float("nan"), 1e-8, expected).holds


def test_errors_are_relative_and_the_worst_counts():
    expected = torch.tensor([[[3.0, 4.0]], [[0.0, 2.0]]])
    found = expected + torch.tensor([[[0.5, 0.0]], [[0.0, 0.5]]])
    assert metric_laws.worst(found, expected) == 0.25
    assert metric_laws.worst(found[:, 0, 0], expected[:, 0, 0], torch.tensor([1.0, 1.0])) == 0.5


def test_columns_are_a_table(laws):
    table = metric_laws.law_columns(laws)
    assert set(table) == {"law", "metric", "error", "tolerance", "expected", "holds"}
    assert {len(column) for column in table.values()} == {len(laws)} and all(table["holds"])


@pytest.mark.parametrize(
    "spoil, message",
    [
        (
            lambda A: A - 3 * torch.eye(4) * A.new_tensor([0, 0, 1])[:, None, None].repeat(2, 4, 4),
            r"problem 2 is not positive definite: its smallest eigenvalue is -\d",
        ),
        (
            lambda A: torch.cat([A[:1], A[1:2] + torch.ones(4, 4, dtype=A.dtype).triu(1), A[2:]]),
            r"problem 1 is not symmetric.*smallest eigenvalue",
        ),
        (lambda A: torch.cat([A[:5], A[5:] * torch.nan]), "problem 5 is not finite"),
    ],
    ids=["indefinite", "asymmetric", "not finite"],
)
def test_a_bad_problem_is_named(problems, generator, spoil, message):
    with pytest.raises(ValueError, match=message):
        metric_laws.spd_laws(spoil(problems), generator, library=0)


def test_three_problems_are_too_few(problems, generator):
    with pytest.raises(ValueError, match="at least 4 problems, not 3"):
        metric_laws.spd_laws(problems[:3], generator)
