"""Integrated gradients of energies whose integrals are known."""

import numpy as np
import pytest
import torch

from ired.instruments.attribution import integrated_gradients
from ired.instruments.attribution.integrated_gradients import PathIntegrals


def test_ideal_paths_are_complete_from_every_spd_baseline(ideal, problems, y, y0, begins):
    for target in (integrated_gradients.gap(ideal, 0, y0), integrated_gradients.score_entry(ideal, 0, (1, 1))):
        for name in ("identity", "mean", "random"):
            paths = integrated_gradients.integrate(target, problems, y, begins[name], 64)
            assert paths.error().max() < 1e-6, name
            assert paths.change.shape == (2 if name == "random" else 1, 6)


def test_few_places_are_exact_where_the_energy_is_a_polynomial(algebraic, problems, y, y0, begins):
    target = integrated_gradients.gap(algebraic, 3, y0)
    few, many = (integrated_gradients.integrate(target, problems, y, begins["zero"], m) for m in (2, 20))
    assert few.error().max() < 1e-6
    for a, b in zip(few.attributions(), many.attributions(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)


def test_chunks_change_nothing(network, problems, y, y0, begins):
    target = integrated_gradients.gap(network, 2, y0)
    whole = integrated_gradients.integrate(target, problems, y, begins["random"], 8)
    parts = integrated_gradients.integrate(target, problems, y, begins["random"], 8, rows=12)
    torch.testing.assert_close(whole.gradients, parts.gradients)


def test_captum_multiplies_by_the_same_steps(network, problems, y, y0, begins):
    from captum.attr import IntegratedGradients

    target = integrated_gradients.gap(network, 1, y0)
    ours = integrated_gradients.integrate(target, problems, y, begins["mean"], 8).attributions()
    begin = begins["mean"].A[0], begins["mean"].y[0]
    theirs = IntegratedGradients(target.value).attribute(
        (problems, y), begin, additional_forward_args=target.given, n_steps=8
    )
    torch.testing.assert_close(ours, theirs)


def test_places_are_doubled_until_complete():
    tried = []

    def paths(count):
        tried.append(count)
        change = torch.ones(1, 20)
        gradient = (1 + 1 / count**2) * change[..., None]
        return PathIntegrals((gradient,), (torch.ones(1, 20, 1),), change, count)

    assert integrated_gradients.until_complete(paths, 2, 64).count == 16
    assert tried == [2, 4, 8, 16]
    assert integrated_gradients.until_complete(paths, 2, 8).count == 8
    assert not integrated_gradients.until_complete(paths, 2, 8).complete()


def test_errors_have_a_floor():
    gradient = torch.tensor([1.1, 1.0, 1.0, 0.1])
    change = torch.tensor([1.0, 1.0, 1.0, 0.0])
    paths = PathIntegrals((gradient[None, :, None],), (torch.ones(1, 4, 1),), change[None], 1)
    np.testing.assert_allclose(paths.error()[0], [0.1, 0, 0, 0.1 / 0.01], atol=1e-6)


@pytest.mark.parametrize("layer", ["fc1", "fc2", "fc3"])
def test_layers_share_out_the_gap(network, problems, y, y0, layer):
    paths = integrated_gradients.integrate_layer(network, layer, 2, problems, y, y0, 64, rows=60)
    gap = integrated_gradients.gap(network, 2, y0)(problems, y)
    torch.testing.assert_close(paths.change[0], gap)
    assert paths.error().max() < 1e-5
    torch.testing.assert_close(paths.attributions()[0].sum(1), gap, rtol=1e-5, atol=1e-6)


def test_scenes_are_cut_and_drawn_anew(ideal, network, problems, at):
    few = at.first(2).definite()
    assert set(few.begins) == {"identity", "mean", "random"} and len(few.A) == len(few.y) == 2
    assert few.begins["random"].A.shape == (2, 2, 4, 4)
    background = torch.stack((problems, problems))
    first, second = (
        integrated_gradients.attribution_scene(ideal, 3, problems, 3.0, background, torch.Generator().manual_seed(1))
        for _ in range(2)
    )
    assert torch.equal(first.y, second.y) and first.k == 3
    torch.testing.assert_close(first.begins["mean"].A[0, 0], 3 * torch.eye(4).double())
