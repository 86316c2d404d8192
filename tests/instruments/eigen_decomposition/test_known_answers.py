"""The eigenvalue/eigenvector known_answers passes on sound instruments, and names broken ones."""

from dataclasses import replace

import pytest
import torch

from ired.instruments.eigen_decomposition import eigen_exchange, eigen_split, known_answers
from ired.model import problems as model_problems


def missed(checks):
    return {check.instrument for check in checks if not check.passed}


@pytest.mark.parametrize("seed", [3, 4])
def test_sound_instruments_pass(references, seed):
    checks = known_answers.check_eigenparts(references, torch.Generator().manual_seed(seed))
    assert [str(check) for check in checks if not check.passed] == []
    assert {check.instrument for check in checks} == {"eigenparts"}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_planted_data_are_found(seed):
    checks = known_answers.check_planted_eigenparts(model_problems.generator(seed, "planted"))
    assert [str(check) for check in checks if not check.passed] == []
    assert {check.instrument for check in checks} == {"eigenparts", "eigenswap"}


def spoiled(instrument, name, spoil, monkeypatch):
    own = getattr(instrument, name)
    monkeypatch.setattr(instrument, name, lambda *a, **k: spoil(own(*a, **k)))


def test_a_broken_instrument_is_named(references, monkeypatch):
    spoiled(eigen_split, "_cosine", lambda cosine: 0.9 * cosine, monkeypatch)
    generator = torch.Generator().manual_seed(3)
    assert missed(known_answers.check_eigenparts(references, generator)) == {"eigenparts"}


@pytest.mark.parametrize(
    "instrument, name, spoil, room",
    [
        (eigen_split, "angles", lambda theta: theta.mT, "eigenparts"),
        (eigen_exchange, "swap", lambda s: replace(s, vectors_error=s.values_error), "eigenswap"),
        (eigen_exchange, "eigenvector_alignment", lambda squares: squares.sqrt(), "eigenswap"),
        (eigen_exchange, "principal_angles", lambda theta: theta.sin(), "eigenswap"),
    ],
    ids=["angles", "swap", "alignment", "principal"],
)
def test_a_broken_instrument_is_named_on_planted_data(monkeypatch, instrument, name, spoil, room):
    spoiled(instrument, name, spoil, monkeypatch)
    seen = missed(known_answers.check_planted_eigenparts(model_problems.generator(0, "planted")))
    assert seen == {room}


def test_a_wrong_split_is_found(monkeypatch):
    spoiled(eigen_split, "eigen_parts", lambda p: replace(p, eigenvalue=1.1 * p.eigenvalue), monkeypatch)
    checks = known_answers.check_planted_eigenparts(model_problems.generator(0, "planted"))
    assert "eigenparts" in missed(checks)


def test_forgotten_groups_are_found(monkeypatch):
    monkeypatch.setattr(eigen_split.Frame.of.__func__, "__defaults__", (-1.0,))
    checks = known_answers.check_planted_eigenparts(model_problems.generator(0, "planted"))
    assert "eigenparts" in missed(checks)
