"""Equivariance: turns compose, energies without axes err by 0, planted axes and averages are seen."""

from functools import partial

import pytest
import torch

from ired.instruments.core import states
from ired.instruments.core.random_directions import rotations
from ired.instruments.core.sampler import denoised
from ired.instruments.landscape import equivariance, known_answers as calibration
from ired.instruments.landscape.equivariance import PERMUTATIONS, ROTATIONS
from ired.model import problems as model_problems
from ired.model.energies.mlp import EnergyConfig, MLPEnergy
from ired.model.sampling import SamplingConfig, sample


def stream():
    return model_problems.generator(0, "equivariance")


def test_the_calibration_passes(references):
    checks = calibration.check_equivariance(references, stream())
    assert [str(check) for check in checks if not check.passed] == []
    assert {check.instrument for check in checks} == {"equivariance"}


@pytest.mark.parametrize(
    "name, spoil",
    [
        ("conjugated", lambda own, y, Q: own(y, Q.mT)),
        ("rotations", lambda own, *a: own(*a).abs()),
        ("_alike", lambda own, other, mine, unit: own(other, mine + 0.1, unit)),
    ],
    ids=["wrong way", "not orthogonal", "distance"],
)
def test_a_broken_instrument_is_named(references, monkeypatch, name, spoil):
    broken = partial(spoil, getattr(equivariance, name))
    monkeypatch.setattr(equivariance, name, broken)
    if name == "rotations":
        monkeypatch.setitem(equivariance.TURNS, ROTATIONS, broken)
    assert any(not check.passed for check in calibration.check_equivariance(references, stream()))


def test_rotations_without_the_signs_of_qr_are_found_out(monkeypatch):
    def unsigned(count, n, generator):
        return torch.linalg.qr(torch.randn(count, n, n, generator=generator).double()).Q

    monkeypatch.setitem(equivariance.TURNS, ROTATIONS, unsigned)
    missed = [check.what for check in calibration._turns(4, stream()) if not check.passed]
    assert f"mean entry of {ROTATIONS}" in missed


def test_turns_compose_and_keep_lengths(coordinates, generator):
    n = coordinates.n
    P, Q = rotations(5, n, generator), equivariance.signed_permutations(5, n, generator)
    y = coordinates.noise(5, 3, generator=generator, dtype=torch.float64)
    turned = equivariance.conjugated(equivariance.conjugated(y, P), Q)
    torch.testing.assert_close(turned, equivariance.conjugated(y, Q @ P))
    torch.testing.assert_close(turned.norm(dim=-1), y.norm(dim=-1))
    torch.testing.assert_close(turned, coordinates.project(turned))


def test_answers_of_other_axes_are_turned_answers(coordinates, ideal, problems, generator):
    Q = rotations(len(problems), coordinates.n, generator)
    y0 = states.answers(ideal, problems)
    turned = states.answers(ideal, Q @ problems @ Q.mT)
    torch.testing.assert_close(turned, equivariance.conjugated(y0, Q))


def test_a_clip_of_entries_keeps_permutations_alone(ideal, problems, generator):
    y0 = states.answers(ideal, problems)
    clipped = SamplingConfig(clip=0.9 * float(y0.abs().median(dim=-1).values.mean()))

    def walk(energy, A, start):
        return sample(energy, A, clipped, start=start)

    found = equivariance.measure_equivariance(ideal, problems, y0, generator, sampler=walk).alike
    assert found[ROTATIONS, "answer"].error > 0.01
    assert found[PERMUTATIONS, "answer"].error < 1e-9


def test_a_network_has_axes(network, problems, generator):
    y0 = states.answers(network, problems)
    found = equivariance.measure_equivariance(network, problems, y0, generator, sampler=denoised, sampled=4)
    columns = found.columns()
    assert columns["what"] == ["gap", "score", "answer"] * 2
    assert min(columns["error"]) > 0.05
    assert len(found.alike[ROTATIONS, "answer"].missed) == 4


class Averaged:
    """A network's mean over the eight signed permutations of two axes."""

    def __init__(self, base):
        self.base, self.coordinates, self.schedule = base, base.coordinates, base.schedule
        swap = torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
        eye = torch.eye(2, dtype=torch.float64)
        signs = [torch.diag(eye[0] * a + eye[1] * b) for a in (1, -1) for b in (1, -1)]
        self.group = [S @ M for S in signs for M in (eye, swap)]

    def prepare(self, A):
        return A

    def _each(self, of, A, y, k):
        for Q in self.group:
            Q = Q.expand(len(A), 2, 2)
            yield Q, of(Q @ A @ Q.mT, equivariance.conjugated(y, Q), k)

    def energy(self, A, y, k):
        return sum(E for _, E in self._each(self.base.energy, A, y, k)) / 8

    def gradient(self, A, y, k):
        parts = self._each(self.base.gradient, A, y, k)
        return sum(equivariance.conjugated(g, Q.mT) for Q, g in parts) / 8


@pytest.mark.parametrize("symmetric", [False, True])
def test_a_network_averaged_over_a_group_is_equivariant_under_it_alone(symmetric, generator):
    config = EnergyConfig(2, hidden=16, symmetric=symmetric)
    energy = Averaged(MLPEnergy(config, generator).double().requires_grad_(False))
    A = model_problems.draw(6, 2, 0.5, generator, torch.float64)
    found = equivariance.measure_equivariance(energy, A, states.answers(energy, A), generator).alike
    for what in ("gap", "score"):
        assert found[PERMUTATIONS, what].error < 1e-10
        assert found[ROTATIONS, what].error > 0.01


def test_one_state_has_no_gap(ideal, problems, generator):
    y0 = states.answers(ideal, problems)
    Q = rotations(len(problems), ideal.coordinates.n, generator)
    with pytest.raises(ValueError, match="two at least"):
        equivariance.gap_equivariance(ideal, problems, y0[:, None], 0, Q)


def test_a_dead_score_has_no_error(ideal, problems, generator):
    class Dead:
        coordinates, schedule = ideal.coordinates, ideal.schedule
        prepare = staticmethod(lambda A: A)
        energy = staticmethod(lambda A, y, k: y[..., 0] * 0)
        gradient = staticmethod(lambda A, y, k: y * 0)

    found = equivariance.measure_equivariance(Dead, problems, states.answers(ideal, problems), generator).alike
    assert [alike.error for alike in found.values()] == [0.0] * 4
