"""The calibration of probes passes on sound ones, and names what is broken."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ired.instruments.probing import description_length, known_answers, logistic, ridge


def missed(checks):
    return {check.what for check in checks if not check.passed}


def planted(seed=3):
    return missed(known_answers.check_probes(torch.Generator().manual_seed(seed)))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_sound_probes_pass(seed):
    assert planted(seed) == set()


def test_folds_that_tear_problems_apart_are_named(monkeypatch):
    own = ridge.grouped_folds
    monkeypatch.setattr(ridge, "grouped_folds", lambda groups, *a: own(np.arange(len(groups)), *a))
    assert planted() == {"R² of problems' random labels, states kept together"}


def test_probes_that_read_what_they_were_fitted_to_are_named(monkeypatch):
    def fitted(sums, left_out=frozenset()):
        return own(sums)

    own = ridge.Sums.fit
    monkeypatch.setattr(ridge.Sums, "fit", fitted)
    assert "predictions of scikit-learn's ridge" in planted()


def test_a_control_that_is_the_property_is_named(monkeypatch):
    monkeypatch.setattr(ridge, "permuted_problems", lambda values, *rest: values)
    assert planted() == {"R² of its control task"}


def test_an_area_over_all_folds_is_named(monkeypatch):
    own = logistic.auroc_within_folds
    monkeypatch.setattr(
        logistic,
        "auroc_within_folds",
        lambda label, score, fold, level=0.95: own(label, -score, np.zeros_like(fold), level),
    )
    assert "AUROC of a planted label" in planted()


def test_codes_that_promise_too_much_are_named(monkeypatch):
    own = description_length.of_values
    monkeypatch.setattr(description_length, "of_values", lambda *a: replace(c := own(*a), bits=c.bits - 0.5))
    assert "bits saved on random values" in planted()


def test_distances_in_other_units_are_named(references, monkeypatch):
    own = ridge.distance
    monkeypatch.setattr(ridge, "distance", lambda *a: 2 * own(*a))
    found = known_answers.check_probed_states(references, torch.Generator().manual_seed(3))
    assert missed(found) == {"distance in noise radii"}
