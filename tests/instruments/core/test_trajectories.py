"""Recorded sampling paths: every step once, and back from a file."""

from types import SimpleNamespace

import pytest
import torch

from ired.instruments.core import states, trajectories
from ired.model import problems
from ired.model.sampling import AnnealedSampler, sample


def test_a_path_holds_every_step_and_ends_where_sampling_does(network):
    A = problems.draw(3, network.coordinates.n, 0.5, problems.generator(0, "paths"), torch.float64)
    start = states.noise(network, 3, generator=problems.generator(0, "start"), like=A)
    sampler = AnnealedSampler(inner_steps=2)
    walked = trajectories.record(sampler, network, A, start)
    K = network.schedule.K
    assert walked.stage == ("start", *("denoise", "descend", "descend") * K)
    assert walked.landscape.tolist() == [K - 1] + [k for k in reversed(range(K)) for _ in range(3)]
    assert walked.inner.tolist() == [0] + [0, 1, 2] * K
    torch.testing.assert_close(walked.y[0], start, rtol=0, atol=0)
    torch.testing.assert_close(walked.end, sample(network, A, sampler, start=start), rtol=0, atol=0)
    clean = walked.clean(network)
    torch.testing.assert_close(clean[-1], network.coordinates.decode(walked.end))
    torch.testing.assert_close(walked.denoised()[3], walked.y[1 + 3 * (K - 1 - 3)], rtol=0, atol=0)
    torch.testing.assert_close(walked.leaving()[0], walked.y[-1], rtol=0, atol=0)
    assert walked.leaving().shape == (K, 3, network.coordinates.d)
    root = network.schedule.sqrt_alpha_bar[K - 1].item()
    torch.testing.assert_close(clean[0], network.coordinates.decode(start / root))


def test_a_file_brings_back_what_was_written():
    steps = [
        SimpleNamespace(stage="start", landscape=1, inner=0, y=torch.ones(2, 4, dtype=torch.float64)),
        SimpleNamespace(stage="end", landscape=0, inner=0, y=torch.zeros(2, 4)),
    ]

    def sampler(energy, A, start, callback):
        for step in steps:
            callback(step)
        return torch.full((2, 4), 0.5, dtype=torch.float64)

    found = trajectories.record(sampler, None, None, None)
    tensors, note = trajectories.pack_paths(found)
    assert tensors["states"].dtype == torch.float32
    again = trajectories.unpack_paths(tensors, note)
    assert again.stage == ("start",) and again.landscape.tolist() == [1] and again.inner.tolist() == [0]
    torch.testing.assert_close(again.y, found.y, rtol=0, atol=0)
    torch.testing.assert_close(again.end, found.end, rtol=0, atol=0)


def test_a_silent_sampler_is_refused():
    with pytest.raises(ValueError, match="shown no step"):
        trajectories.record(lambda energy, A, start, callback: torch.zeros(1, 4), None, None, None)
