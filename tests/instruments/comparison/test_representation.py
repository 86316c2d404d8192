"""What is taken of a model: known values on energies in closed form, P6-01's where there are layers."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ired.instruments.attribution import exact_sensitivity, integrated_gradients
from ired.instruments.comparison import representation, representation_layers
from ired.instruments.comparison.metric_names import METRICS as OF_PORTRAITS
from ired.instruments.comparison.representation import METRICS, Size
from ired.instruments.core import states
from ired.instruments.core.directions import CONCEPTS
from ired.instruments.core.reference_energies import WrappedEnergy
from ired.instruments.interventions import manifold
from ired.instruments.robustness import effects
from ired.model import problems as model_problems
from ired.model.energies.mlp import EnergyConfig, MLPEnergy
from ired.model.reference import IdealEnergy
from ired.model.sampling import SamplingConfig, sample

SIZE = Size(
    problems=8,
    changes=6,
    natural=24,
    states=1,
    matched=24,
    sparsity=4,
    steps=8,
    batch=64,
    spliced=3,
    shown=160,
    pairs=30,
    caliper=1.5,
    landscapes=(0, 2),
    tried=5,
    draws=2,
    random=40,
)
WALK = SamplingConfig(inner_steps=1)


def walk(energy, A, start, first=None, callback=None):
    return sample(energy, A, WALK, start=start, first=first, callback=callback)


def a_network(seed, hidden=16):
    """With weights so large that its score does something: one that does nothing keeps its start."""
    energy = MLPEnergy(
        EnergyConfig(3, hidden=hidden, symmetric=True), model_problems.generator(seed, "network")
    ).double()
    for weight in energy.parameters():
        weight.requires_grad_(False).mul_(2.5)
    return energy


def a_ground(energy, size=SIZE, seed=0):
    source = model_problems.generator(seed, "fingerprint")
    A = model_problems.draw(representation.problems_needed(size), 3, 0.5, source, torch.float64)
    return representation.ground(energy, A, model_problems.properties(A), size, source)


class Offset(WrappedEnergy):
    """A free offset of each problem and landscape."""

    def energy(self, A, y, k):
        own = self._energy.energy(A, y, k)
        return own + 1e3 * torch.arange(1.0, len(y) + 1)[:, None].to(own) * (k + 1)


@pytest.fixture(scope="module")
def network():
    return a_network(0)


@pytest.fixture(scope="module")
def ground(network):
    return a_ground(network)


@pytest.fixture(scope="module")
def own(network, ground):
    return representation.fingerprint(network, ground, walk, SIZE)


@pytest.fixture(scope="module")
def ideal(network):
    return IdealEnergy(network.coordinates, network.schedule)


def test_the_ideal_energy_has_known_numbers(ideal, ground):
    found = representation.fingerprint(ideal, ground, walk, SIZE)
    for k in (0, 4, 9):
        away = ground.near[k] - states.centre(ideal, ground.y0, k)[:, None]
        bowl = away.pow(2).sum(-1).numpy() / (2 * states.sigma(ideal, k))
        np.testing.assert_allclose(found.gaps[k], bowl - bowl.mean(1, keepdims=True), atol=1e-9)
    slope = -states.centre(ideal, 1.0, 0) / states.sigma(ideal, 0)
    exact = slope * exact_sensitivity.exact_jacobian(ideal, ground.A)
    exact = torch.einsum("psij,mij->pms", exact, ground.moves).numpy()
    np.testing.assert_allclose(found.attributions, exact, atol=1e-4 * np.abs(exact).max())
    np.testing.assert_allclose(found.errors, 0, atol=1e-9)
    assert not found.codes and found.directions is None and not found.scalars


def test_all_changes_of_a_are_there(ground):
    flat = ground.moves.flatten(1)
    torch.testing.assert_close(flat @ flat.mT, torch.eye(6).double())
    torch.testing.assert_close(ground.moves, ground.moves.mT)


def test_a_free_offset_changes_no_gap(ideal, ground):
    offset = representation.ground_energies(Offset(ideal), ground)
    np.testing.assert_allclose(offset, representation.ground_energies(ideal, ground), atol=1e-8)


def test_attributions_are_autograds(network, ground):
    target = integrated_gradients.score_entry(network, 0, (0, 1))
    exact = exact_sensitivity.gradients_by_problem(target, ground.A, ground.noised)
    along = torch.einsum("pij,mij->pm", exact, ground.moves)
    seen = network.coordinates.from_basis(torch.from_numpy(representation.attributions(network, ground)))
    torch.testing.assert_close(seen[..., 1], along, rtol=1e-4, atol=1e-6)


def test_the_same_model_twice_gives_the_same(network, ground, own):
    again = representation.fingerprint(network, ground, walk, SIZE)
    for part in ("gaps", "attributions", "errors"):
        np.testing.assert_array_equal(getattr(own, part), getattr(again, part))
    for layer, codes in own.codes.items():
        torch.testing.assert_close(codes.features.to_dense(), again.codes[layer].features.to_dense())
        # The two random dictionaries of a model are two draws.
        assert not torch.allclose(*(blind.to_dense() for blind in codes.blind))
    assert own.directions.equals(again.directions) and own.scalars == again.scalars


def test_numbers_have_names_and_are_finite(own):
    assert set(own.scalars) == set(METRICS)
    assert all(np.isfinite(value) for value in own.scalars.values())
    assert not (set(METRICS) | set(representation.BEYOND)) & set(OF_PORTRAITS)
    shares = [own.scalars[f"sae.{layer}.dead"] for layer in ("fc1", "fc2", "fc3")]
    assert all(0 <= value <= 1 for value in [*shares, own.scalars["concepts.answers_beyond"]])
    assert all(own.scalars[f"sae.{layer}.l0"] <= SIZE.sparsity for layer in ("fc1", "fc2", "fc3"))


def test_every_concept_layer_and_landscape_has_a_row(own):
    table = own.directions
    assert len(table) == len(CONCEPTS) * 3 * 2
    assert not table.duplicated(["concept", "layer", "landscape"]).any()
    assert table["auroc"].between(0, 1).all() and (table["spread"] > 0).all()


def test_effects_on_answers_are_those_of_p6_01(network, ground):
    table = representation_layers.concept_effects(network, ground, walk, SIZE)
    found = [one.direction for one in representation_layers.located_concepts(network, ground, SIZE)]
    known = effects.effects_of(network, found[:6], ground.layers, walk, SIZE.draws, torch.Generator().manual_seed(3))
    np.testing.assert_allclose(table["answers"][:6], known.carried.mean(1), rtol=1e-6, atol=1e-9)


def test_effects_on_the_energy_are_derivatives(network, ground):
    """Against differences of the gap, with the activations of both ends pushed."""
    table = representation_layers.concept_effects(network, ground, walk, SIZE)
    one = representation_layers.located_concepts(network, ground, SIZE)[1].direction
    y = states.noised(network, ground.y0, 0, 1, ground.generator(5))[0][:, 0]
    home, step = states.centre(network, ground.y0, 0), 1e-5
    prepared, ends = network.prepare(ground.A), []
    for state in (y, home):
        h = network.activations(prepared, state, 0)[one.space]
        up, down = (network.resume(one.space, h + way * one.vector, prepared, 0) for way in (step, -step))
        ends.append((up - down) / (2 * step))
    deviation = manifold.nature(network, ground.A, ground.generator(4)).gap[0]
    expected = (ends[0] - ends[1]).mean() * table["spread"][1] / deviation
    assert table["energy"][1] == pytest.approx(expected.item(), rel=1e-5)


def test_beyond_untrained(own):
    other = {name: value - 0.25 for name, value in own.scalars.items()}
    found = representation.beyond_untrained(own.scalars, other)
    assert set(found) == set(representation.BEYOND)
    assert all(value == pytest.approx(0.25) for value in found.values())
    assert representation.beyond_untrained({}, other) == {}


def test_wrong_problems_are_refused(network):
    source = model_problems.generator(0, "fingerprint")
    A = model_problems.draw(20, 3, 0.5, source, torch.float64)
    with pytest.raises(ValueError, match="needs 197 problems, not 20"):
        representation.ground(network, A, model_problems.properties(A), SIZE, source)
    with pytest.raises(ValueError, match="float64"):
        representation.ground(network, A.float(), model_problems.properties(A), SIZE, source)


def test_all_coordinates(ground):
    """States that are not symmetric, other widths, one landscape."""
    energy = MLPEnergy(EnergyConfig(3, hidden=12), model_problems.generator(1, "network"))
    energy = energy.double().requires_grad_(False)
    size = replace(SIZE, landscapes=(0,), draws=1)
    found = representation.fingerprint(energy, a_ground(energy, size), walk, size)
    assert found.errors.shape == (8, 9) and len(found.directions) == 18
    assert all(np.isfinite(value) for value in found.scalars.values())
