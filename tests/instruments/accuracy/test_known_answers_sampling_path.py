"""Known answers of the sampling path see instruments that are broken."""

from dataclasses import replace

import pytest
import torch

from ired.instruments.accuracy import sampling_path
from ired.instruments.accuracy.known_answers_sampling_path import check_sampling_path
from ired.instruments.statistics import intervals

BROKEN = {
    "biased variance": ("_stages", lambda f: lambda *a: f(*a) * torch.tensor([1.0, 0.5]).view(2, 1, 1, 1)),
    "units of states": ("_stages", lambda f: lambda energy, *a: f(energy, *a) / energy.coordinates.scale**2),
    "the next landscape": ("_stages", lambda f: lambda *a: f(*a).roll(1, 1)),
    "stages exchanged": ("_stages", lambda f: lambda *a: f(*a)[:, :, [0, 2, 1]]),
    "judged where chosen": (
        "best_stop",
        lambda f: lambda v, t: replace(f(v, t), stopped=intervals.mean_interval(v[f(v, t).landscape])),
    ),
    "chosen on test problems": ("best_stop", lambda f: lambda v, t: f(t, v)),
    "stops at the worst": ("best_stop", lambda f: lambda v, t: f(-v, t)),
    "memory in all errors": ("_stages", lambda f: lambda *a: f(*a)[[0, 0]]),
}


def missed(references):
    answers = check_sampling_path(references, torch.Generator().manual_seed(1))
    return {answer.instrument for answer in answers if not answer.passed}


def test_the_instrument_recovers_them(references):
    assert missed(references) == set()


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_instrument_is_named(references, monkeypatch, how):
    name, broken = BROKEN[how]
    monkeypatch.setattr(sampling_path, name, broken(getattr(sampling_path, name)))
    assert missed(references) == {"sampling_path"}


def test_a_loss_that_is_named_by_its_level_is_seen(references, monkeypatch):
    def highest(path, level=0.95):
        k, s = divmod(int(path.errors[:, 1:].mean(-1).argmax()), 2)
        return k, sampling_path.STAGES[s + 1], intervals.mean_interval(path.errors[k, s + 1])

    monkeypatch.setattr(sampling_path.SamplingPath, "greatest_loss", highest)
    assert missed(references) == {"sampling_path"}
