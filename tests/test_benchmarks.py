"""The benchmarks' arithmetic on known answers: nothing here waits for a real clock."""

import random
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from benchmarks import costs, harness, record
from benchmarks.plain import Plain
from ired.lab.errors import UserError
from ired.model import problems
from ired.model.energies.mlp import EnergyConfig
from ired.model.training.trainer import Trainer, TrainingConfig


@pytest.mark.parametrize("planted", [3.0, 1.5])
def test_a_planted_exponent_is_recovered(planted):
    noise = random.Random(0)
    x = [2.0**i for i in range(20)]
    y = [7 * a**planted * noise.lognormvariate(0, 0.1) for a in x]
    fit = costs.exponent(x, y)
    assert abs(fit.power - planted) < 4 * fit.error < 0.1
    assert fit.factor == pytest.approx(7, rel=0.5)


def test_constants_of_small_sizes_do_not_count():
    x = [2.0**i for i in range(20)]
    y = [1000 + a**3 for a in x]
    fit = costs.exponent(x, y)
    assert fit.power == pytest.approx(3, abs=0.01) and fit.start == pytest.approx(2**9.5)


def test_bytes_of_a_call_are_the_most_at_one_moment():
    def work():
        for _ in range(3):
            first, second = torch.empty(1000), torch.empty(1000)
            del first, second
        return torch.empty(1500)

    assert costs.first_call(work)[1] == 8000


@pytest.fixture
def clock(monkeypatch):
    """A clock that only work moves: clock.now += seconds."""

    class Clock:
        now = 0.0

    monkeypatch.setattr(harness, "time", SimpleNamespace(perf_counter=lambda: Clock.now))
    return Clock


def test_a_planted_ratio_is_reported(clock):
    noise = random.Random(1)

    def side(seconds, made):
        def work():
            clock.now += seconds * noise.lognormvariate(0, 0.05)

        def make():
            made.append(seconds)
            return work

        return make

    made = []
    row = harness.Row("ours", "theirs", side(0.2, made), side(0.6, made), "≥ 2", repeat=3)
    timing = harness.measure(row, pairs=21)
    assert made == [0.2, 0.6], "either side is made once"
    assert timing.ratio == pytest.approx(3, rel=0.05) and timing.low < timing.ratio < timing.high
    assert timing.ours == pytest.approx(0.2, rel=0.05)
    assert timing.theirs == pytest.approx(0.6, rel=0.05)


def test_a_row_without_a_peer_is_a_time(clock):
    def work():
        clock.now += 2.0

    timing = harness.measure(harness.Row("alone", "", lambda: work, goal="< 3 s"), pairs=5)
    assert timing.ours == 2.0 and timing.ratio is None


def test_the_table_is_markdown():
    timings = [
        harness.Timing("a long name of something", "peer", "≥ 2", 0.5, 1.5, 3.0, 2.9, 3.1),
        harness.Timing("alone", "", "< 3 s", 2.0, None, None, None, None),
    ]
    lines = harness.table(timings).splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert tuple(rows[0]) == harness.HEAD and len(lines) == 2 + len(timings)
    assert all(line.startswith("|") and line.endswith("|") for line in lines)
    assert all(re.fullmatch("-{3,}", cell) for cell in rows[1])
    assert {len(row) for row in rows} == {len(harness.HEAD)} and len(set(map(len, lines))) == 1
    assert rows[3] == ["alone", "", "2", "–", "–", "–", "–", "< 3 s"]


def test_a_section_is_renewed_and_the_rest_left():
    text = "before\n<!-- a -->\nold\n<!-- /a -->\nbetween\n<!-- b -->\n<!-- /b -->\nafter\n"
    once = record.filled(text, "a", "new")
    assert once == text.replace("old", "\nnew\n") and record.filled(once, "a", "new") == once
    with pytest.raises(UserError, match="<!-- c -->"):
        record.filled(text, "c", "new")


@pytest.mark.slow
@pytest.mark.parametrize("mining", ["none", "random", "adversarial"])
def test_the_plain_way_makes_the_same_steps(mining):
    """Plain autograd and the passes written out end at the same weights, seed by seed."""
    config = replace(TrainingConfig.published(mining), batch=64, learning_rate=1e-3)
    ours = Trainer(EnergyConfig(3, 64), config, seed=1)
    plain, source = Plain(3, mining, rate=1e-3, seed=1, hidden=64), problems.generator(1, "train")
    for _ in range(120):
        A = problems.draw(64, 3, 0.5, source)
        plain.step(A, problems.inverse(A))
    ours.advance(120)
    for model in ("model", "average"):
        for a, b in zip(*(getattr(t, model).parameters() for t in (ours, plain)), strict=True):
            assert (a - b).norm() < 1e-2 * b.norm()
