"""Altered copies differ where they say, and the energy they are made of does not change."""

import pytest
import torch

from ired.model import problems, weight_edits
from ired.model.energies.mlp import EnergyConfig, MLPEnergy

N = 3


def made(symmetric=False):
    return MLPEnergy(EnergyConfig(N, 16, symmetric=symmetric), stream()).double()


def stream():
    return problems.generator(0, "altered")


def seen(energy, k=4):
    A = problems.draw(5, N, 0.5, stream(), torch.float64)
    return energy.energy(A, energy.coordinates.noise(5, generator=stream(), dtype=torch.float64), k)


@pytest.mark.parametrize("layer", weight_edits.MODULATED)
def test_without_film_the_gain_is_one_and_the_bias_zero_in_one_layer(layer):
    energy = made()
    before = [table.clone() for table in energy.film()]
    off = weight_edits.without_film(energy, layer).film()
    place = 2 * weight_edits.MODULATED.index(layer)
    assert (off[place] == 1).all() and (off[place + 1] == 0).all()
    for i, table in enumerate(before):
        assert torch.equal(energy.film()[i], table)
        if i not in (place, place + 1):
            assert torch.equal(off[i], table)
    assert not torch.allclose(seen(weight_edits.without_film(energy, layer)), seen(energy))


def test_without_film_a_network_without_film_is_the_same():
    energy = weight_edits.without_film(weight_edits.without_film(made(), "fc2"), "fc3")
    for layer in weight_edits.MODULATED:
        assert torch.equal(seen(weight_edits.without_film(energy, layer)), seen(energy))
    assert torch.equal(seen(energy, 0), seen(energy, 9))  # nothing else tells landscapes apart


@pytest.mark.parametrize("layer", ["fc1", "fc2", "fc3", "fc4"])
@pytest.mark.parametrize("symmetric", [False, True])
def test_truncation_has_the_rank_and_the_error_of_eckart_young(layer, symmetric):
    energy = made(symmetric)
    weight = getattr(energy, layer).weight.clone()
    low = weight_edits.truncated(energy, layer, 2)
    assert torch.equal(getattr(energy, layer).weight, weight)
    assert torch.linalg.matrix_rank(getattr(low, layer).weight) == 2
    lost = torch.linalg.svdvals(weight)[2:].norm()
    assert torch.allclose((getattr(low, layer).weight - weight).norm(), lost)
    full = weight_edits.full_rank(energy, layer)
    assert torch.equal(seen(weight_edits.truncated(energy, layer, full)), seen(energy))
    assert torch.allclose(seen(weight_edits.truncated(low, layer, 2)), seen(low), rtol=1e-12)
    assert not getattr(weight_edits.truncated(energy, layer, 0), layer).weight.any()


def weights(energy, layer):
    own = getattr(energy, layer)
    return torch.cat([own.weight.flatten(), own.bias])


@pytest.mark.parametrize("symmetric", [False, True])
def test_randomised_layers_are_fresh_and_the_others_as_they_were(symmetric):
    energy = made(symmetric)
    before = {name: value.clone() for name, value in energy.state_dict().items()}
    changed = weight_edits.randomised(energy, ["fc4", "fc3"], stream())
    fresh = {"fc4.weight", "fc4.bias", "fc3.weight", "fc3.bias", "t_map_fc3.weight", "t_map_fc3.bias"}
    for name, value in before.items():
        assert torch.equal(energy.state_dict()[name], value)
        assert torch.equal(changed.state_dict()[name], value) == (name not in fresh)
    assert not torch.allclose(seen(changed), seen(energy))
    again = weight_edits.randomised(energy, ["fc4", "fc3"], stream())
    assert torch.equal(seen(again), seen(changed))


def test_fresh_weights_follow_the_default_law():
    energy = weight_edits.randomised(made(), ["fc1", "fc2", "fc3", "fc4"], stream())
    for layer in ("fc1", "fc2", "fc3", "fc4", "t_map_fc2"):
        bound = getattr(energy, layer).in_features ** -0.5
        values = weights(energy, layer) / bound
        assert values.abs().max() <= 1
        spread = 3 * (4 / 45 / len(values)) ** 0.5  # of the mean square of U(-1, 1)
        assert abs(values.pow(2).mean() - 1 / 3) < spread


def test_nothing_randomised_is_the_same_network():
    assert torch.equal(seen(weight_edits.randomised(made(), [], stream())), seen(made()))


def test_what_is_not_there_cannot_be_altered():
    with pytest.raises(ValueError, match="modulated"):
        weight_edits.without_film(made(), "fc1")
    with pytest.raises(ValueError, match="fc5"):
        weight_edits.randomised(made(), ["fc1", "fc5"], stream())
    for layer, rank in (("fc5", 1), ("fc1", -1)):
        with pytest.raises(ValueError, match="rank"):
            weight_edits.truncated(made(), layer, rank)


def test_shuffled_weights_keep_their_values_and_lose_their_places():
    energy = made()
    other = weight_edits.shuffled_weights(energy, stream())
    for before, after in zip(energy.parameters(), other.parameters(), strict=True):
        assert torch.equal(before.flatten().sort().values, after.flatten().sort().values)
        assert not torch.equal(before, after)
    assert not torch.allclose(seen(energy), seen(other))
    again = weight_edits.shuffled_weights(energy, stream())
    assert torch.equal(seen(other), seen(again))
