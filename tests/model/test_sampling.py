"""Sampling: exact on energies with known answers, and the published algorithm step by step."""

from dataclasses import replace

import pytest
import torch

from ired.model import problems
from ired.model.coordinates import Coordinates
from ired.model.energies.mlp import EnergyConfig, MLPEnergy
from ired.model.reference import AlgebraicEnergy, IdealEnergy
from ired.model.sampling import AnnealedSampler, NoSuchLandscape, SamplingConfig, monotone_descent, sample, solve
from ired.model.schedule import Schedule

N, B = 4, 7


def stream(purpose="tests"):
    return problems.generator(0, purpose)


def draw():
    return problems.draw(B, N, 0.5, stream(), torch.float64)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("inner_steps", [0, 5])
def test_the_ideal_landscape_is_solved_exactly(symmetric, inner_steps):
    energy = IdealEnergy(Coordinates(N, 0.7, 0.3, symmetric), Schedule())
    A = draw()
    y = sample(energy, A, SamplingConfig(inner_steps, clip=20.0), stream("start"))
    assert torch.allclose(energy.coordinates.decode(y), torch.linalg.inv(A), atol=1e-10)


def test_clip_bounds_the_answer():
    energy = IdealEnergy(Coordinates(N), Schedule())
    y = sample(energy, draw(), SamplingConfig(0, clip=0.2), stream("start"))
    assert y.abs().max() == pytest.approx(0.2)


def test_output_scale_is_the_only_thing_that_scaled_output_changes():
    energy = MLPEnergy(EnergyConfig(N, 16), stream()).double()
    plain = sample(energy, draw(), SamplingConfig(2), stream("start"))
    scaled = sample(energy, draw(), SamplingConfig(2, scaled_output=True), stream("start"))
    assert torch.allclose(scaled, plain * energy.schedule.sqrt_alpha_bar[0])


def test_descent_never_raises_the_energy_and_the_callback_sees_it():
    energy = AlgebraicEnergy(Coordinates(N), Schedule())
    A, steps = draw(), []
    sample(energy, A, SamplingConfig(4), stream("start"), callback=steps.append)
    assert [s.stage for s in steps] == ["start"] + (["denoise"] + ["descend"] * 4) * 10 + ["end"]
    assert [s.landscape for s in steps if s.stage == "denoise"] == list(range(9, -1, -1))
    before = None
    for step in steps:
        if step.stage == "denoise":
            before = energy.energy(A, step.y, step.landscape)
        if step.stage == "descend":
            now = energy.energy(A, step.y, step.landscape)
            assert torch.allclose(now, step.energy) and (now <= before + 1e-12).all()
            before = now
    assert any(s.accepted is not None and not s.accepted.all() for s in steps)


def test_a_step_to_a_number_that_is_not_finite_is_refused():
    def steep(y, further):
        return y.pow(2).sum(-1) / (y.abs() > 0).all(-1), 2 * y

    y = monotone_descent(steep, torch.ones(1, 3), torch.tensor(0.5), torch.tensor(9.0), 1)
    assert torch.equal(y, torch.ones(1, 3))  # the step to 0 has energy 0/0


def published(energy, A, y, inner_steps):
    """METHODS §2 and §4 once more, naively: one sample at a time, autograd, nothing reused."""
    schedule, answers = energy.schedule, []
    for i in range(len(A)):
        state = y[i : i + 1]

        def evaluate(state, k, i=i):
            state = state.detach().requires_grad_()
            value = energy.energy(A[i : i + 1], state, k).sum()
            return value.detach(), torch.autograd.grad(value, state)[0]

        for k in range(9, -1, -1):
            root, sigma = schedule.sqrt_alpha_bar[k], schedule.sigma[k]
            clean = (state - sigma * evaluate(state, k)[1]) / root
            state = clean.clamp(-2, 2) * root
            for step in range(inner_steps):
                factor = 1.0 if step == 0 else 2.0
                value, gradient = evaluate(state, k)
                move = state - factor * schedule.beta[k] / sigma * gradient
                move = move.clamp(-2 * root, 2 * root)
                if evaluate(move, k)[0] <= value:
                    state = move
            if k:
                state = state / root * schedule.sqrt_alpha_bar[k - 1]
        answers.append(state)
    return torch.cat(answers)


@pytest.mark.parametrize("inner_steps", [1, 5])
def test_the_published_sampler(inner_steps):
    energy = MLPEnergy(EnergyConfig(N, 32), stream()).double()
    with torch.no_grad():
        for layer in (energy.fc1, energy.fc2, energy.fc3, energy.fc4):
            layer.weight.mul_(3)  # rough enough that some steps are rejected
    A, start = draw(), torch.randn(B, N * N, dtype=torch.float64, generator=stream("start"))
    seen = []
    config = SamplingConfig.published(inner_steps)
    got = sample(energy, A, config, start=start, callback=seen.append)
    assert torch.allclose(got, published(energy, A, start, inner_steps), rtol=1e-10, atol=1e-10)
    accepted = torch.stack([s.accepted for s in seen if s.stage == "descend"])
    assert accepted.any() and not accepted.all()


@pytest.fixture
def network():
    return MLPEnergy(EnergyConfig(N, 16, symmetric=True), stream()).double().requires_grad_(False)


@pytest.mark.parametrize("first", [0, 4, 8])
def test_a_path_can_be_taken_up_in_any_landscape(network, first):
    A, seen = draw(), []
    whole = sample(network, A, SamplingConfig(3), stream("start"), callback=seen.append)
    before = [s for s in seen if s.landscape == first + 1][-1].y
    roots = network.schedule.sqrt_alpha_bar
    entering = before / roots[first + 1] * roots[first]
    rest = []
    again = sample(network, A, SamplingConfig(3), start=entering, first=first, callback=rest.append)
    assert torch.allclose(again, whole, rtol=1e-12, atol=1e-12)
    assert rest[0].landscape == first and len(rest) == 2 + 4 * (first + 1)


def test_a_differentiable_sample_is_the_same_and_has_the_slope_of_finite_differences(network):
    A, config = draw(), SamplingConfig(2, clip=50.0)
    start = network.coordinates.noise(B, generator=stream("start"), dtype=torch.float64)
    plain = sample(network, A, config, start=start)
    assert not plain.requires_grad
    A.requires_grad_()
    y = sample(network, A, config, start=start, differentiable=True)
    assert torch.allclose(y, plain, rtol=1e-9, atol=1e-9)
    (slope,) = torch.autograd.grad(y[:, 0].sum(), A)
    towards, step = torch.randn(A.shape, generator=stream("towards"), dtype=torch.float64), 1e-6
    with torch.no_grad():
        ends = [sample(network, A + s * step * towards, config, start=start)[:, 0] for s in (1, -1)]
    measured = (ends[0] - ends[1]) / (2 * step)
    assert torch.allclose((slope * towards).sum((1, 2)), measured, rtol=1e-5, atol=1e-7)
    assert measured.abs().max() > 1e-3


def test_the_release_scales_what_it_returns_and_this_is_undone():
    coordinates, schedule = Coordinates(3), Schedule(10)
    energy = IdealEnergy(coordinates, schedule)
    A = problems.draw(4, 3, 0.5, problems.generator(0, "unscaled"), torch.float64)
    start = coordinates.noise(4, generator=problems.generator(0, "start"), dtype=torch.float64)
    right, release = SamplingConfig(scaled_output=False), SamplingConfig(scaled_output=True)
    plain, scaled = (sample(energy, A, config, start=start) for config in (right, release))
    assert not torch.allclose(plain, scaled)
    torch.testing.assert_close(release.unscaled(scaled, schedule), plain)
    torch.testing.assert_close(right.unscaled(plain, schedule), plain, rtol=0, atol=0)


def test_a_sampler_is_sample_with_its_settings():
    energy, A, sampler = MLPEnergy(EnergyConfig(N, 16), stream()).double(), draw(), AnnealedSampler.published(3)
    start = energy.coordinates.noise(B, generator=stream("start"), dtype=torch.float64)
    for steps in (None, 1):
        config = SamplingConfig.published(3 if steps is None else steps)
        torch.testing.assert_close(sampler(energy, A, start, inner_steps=steps), sample(energy, A, config, start=start))
    root = energy.schedule.sqrt_alpha_bar[0].item()
    torch.testing.assert_close(sampler.answers(energy, A, start) * root, sampler(energy, A, start))


@pytest.mark.parametrize("inner_steps", [0, 3])
@pytest.mark.parametrize("stop_at", [0, 4, 9])
def test_stopping_gives_the_clean_estimate_with_which_the_whole_path_leaves_that_landscape(
    network, stop_at, inner_steps
):
    A, config, whole, part = draw(), SamplingConfig(inner_steps), [], []
    sample(network, A, config, stream("start"), callback=whole.append)
    stopped = sample(network, A, replace(config, stop_at=stop_at), stream("start"), callback=part.append)
    left = [step.y for step in whole if step.landscape == stop_at and step.stage != "end"][-1]
    assert torch.equal(stopped, left / network.schedule.sqrt_alpha_bar[stop_at])
    assert all(torch.equal(a.y, b.y) for a, b in zip(part[:-1], whole, strict=False))
    assert len(part) == 2 + (1 + inner_steps) * (10 - stop_at)
    assert (part[-1].stage, part[-1].landscape) == ("end", stop_at) and torch.equal(part[-1].y, stopped)


@pytest.mark.parametrize("config", [SamplingConfig(2), SamplingConfig.published(2)])
def test_stopping_nowhere_and_after_the_last_landscape_are_one(network, config):
    A, streams = draw(), [stream("start") for _ in range(3)]
    answers = [sample(network, A, replace(config, stop_at=k), s) for k, s in zip((None, 0), streams, strict=False)]
    assert torch.equal(*answers)
    sample(network, A, replace(config, stop_at=5), streams[2])
    # What is drawn after a sample does not depend on where it stopped.
    assert len({torch.rand(1, generator=s).item() for s in streams}) == 1


@pytest.mark.parametrize("stop_at", [0, 6])
def test_the_scale_of_an_answer_does_not_depend_on_where_the_path_stops(network, stop_at):
    release = replace(SamplingConfig.published(1), stop_at=stop_at)
    plain, scaled = (
        sample(network, draw(), config, stream("start")) for config in (replace(release, scaled_output=False), release)
    )
    torch.testing.assert_close(scaled, plain * network.schedule.sqrt_alpha_bar[0], rtol=1e-14, atol=0)
    torch.testing.assert_close(release.unscaled(scaled, network.schedule), plain, rtol=1e-14, atol=0)
    sampler = AnnealedSampler.published(1)
    start = network.coordinates.noise(B, generator=stream("start"), dtype=torch.float64)
    torch.testing.assert_close(replace(sampler, stop_at=stop_at).answers(network, draw(), start), plain)


@pytest.mark.parametrize("stop_at, first", [(10, None), (-1, None), (5, 4)])
def test_a_landscape_that_the_path_does_not_pass_is_refused_in_one_line(network, stop_at, first):
    start = network.coordinates.noise(B, generator=stream("start"), dtype=torch.float64)
    with pytest.raises(NoSuchLandscape, match=f"cannot stop at landscape {stop_at}: .* {first or 9} to 0$") as error:
        sample(network, draw(), SamplingConfig(1, stop_at=stop_at), start=start, first=first)
    assert error.value.exit_status == 2


def test_inverses_are_those_of_where_the_path_stops():
    energy = IdealEnergy(Coordinates(N, 0.7, 0.3, True), Schedule())
    inverses = solve(energy, draw(), SamplingConfig(1, clip=20.0, stop_at=7), stream("start"))
    assert torch.allclose(inverses, torch.linalg.inv(draw()), atol=1e-4)
