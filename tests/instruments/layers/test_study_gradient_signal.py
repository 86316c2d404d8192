"""P5-02 on one network under two names, and on one of another size."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from ired.instruments.core import states
from ired.instruments.layers import (
    forward_backward,
    gradient_signal,
    score_decomposition,
    study_gradient_signal as study,
)
from ired.model import problems as model_problems
from ired.model.reference import AlgebraicEnergy, PredictorEnergy
from ired.model.weight_edits import without_film


def test_a_network_beside_itself(network, problems, generator):
    network.requires_grad_(False)
    y0 = states.answers(network, problems)
    z, noise = forward_backward.noised_by_landscape(network, y0, 2, generator)
    altered = {"both off": without_film(without_film(network, "fc2"), "fc3")}
    negatives = gradient_signal.random_negatives(network, 3.0, math.inf)
    signals = study.measure_signals(
        network, altered, problems, y0, z, noise, negatives=negatives, decomposed=2, generator=generator
    )
    measured = {"untrained": signals, "trained": signals}
    tables = study.gradient_signal_tables(measured)
    for table in tables.values():
        assert (table["energy"].value_counts() == len(table) / 2).all() and table.notna().all(axis=None)
    assert set(study.gradient_signal_summaries(tables)) == {"roots", "routes", "film", "units", "spectra"}
    values = study.singular_values(measured)
    assert values["trained.state → f"].shape[:2] == (network.schedule.K, 2)
    verdicts = study.gradient_signal_verdicts(signals, tables)
    assert verdicts["film_matters"] == (False, {"weakest": 0.0, "low": 0.0})
    cosines = [row["cosine"] for row in signals.flow.agreement() if row["layer"] == gradient_signal.WHOLE][:-1]
    assert verdicts["losses_agree"][1]["lowest"] == pytest.approx(min(cosines))


def test_rescaled_weights_have_the_sizes_of_another_network(network):
    sized = copy.deepcopy(network).requires_grad_(False)
    for factor, weight in enumerate(sized.parameters(), 2):
        weight.mul_(factor)
    changed = forward_backward.rescaled(sized, like=network)
    for name, weight in changed.named_parameters():
        torch.testing.assert_close(weight, network.get_parameter(name))
        assert not torch.equal(weight, sized.get_parameter(name))


def test_the_constant_of_a_bowl_is_its_mean_score(coordinates, schedule, problems, generator):
    """Closed form: nothing where predictions are right, all where every prediction is far off alike."""
    A = model_problems.draw(200, 4, 0.5, generator, torch.float64)
    z, _ = forward_backward.noised_by_landscape(
        AlgebraicEnergy(coordinates, schedule), _answers(coordinates, A), 2, generator
    )
    right = PredictorEnergy.of(coordinates, schedule, torch.linalg.inv, A)
    shares = score_decomposition.constant_share_of_bowl(right, A, z)
    assert shares.shape == (10, 200) and np.abs(shares.mean(1)).max() < 0.03
    off = replace(right, predict=lambda A: torch.linalg.inv(A) + 1e4)
    assert (score_decomposition.constant_share_of_bowl(off, A, z)[0] > 0.999).all()
    # The same from its outputs: f's mean led back through slopes that are the same everywhere.
    y = coordinates.from_basis(z[3])
    f = right.outputs(A, y, 3)
    J = torch.func.jacrev(lambda v: right.outputs(A[:1], v[None], 3)[0])(y[0, 0])
    score = right.gradient(A, y, 3)
    part = 2 * f.mean((0, 1)) @ J
    by_hand = ((score * part).sum(-1) / score.pow(2).sum(-1)).mean(1)
    np.testing.assert_allclose(shares[3], by_hand, atol=1e-9)


def _answers(coordinates, A):
    return coordinates.encode(torch.linalg.inv(A))


def test_traits_are_means_over_landscapes_and_networks(network, problems, generator):
    network.requires_grad_(False)
    y0 = states.answers(network, problems)
    z, noise = forward_backward.noised_by_landscape(network, y0, 2, generator)
    unmodulated = without_film(without_film(network, "fc2"), "fc3")
    traits = study.ScoreTraits.measured(network, unmodulated, problems, z, noise)
    paths = score_decomposition.paths(network, problems, z)
    np.testing.assert_allclose(traits.constant, paths.share[:, 0].sum((0, 1)) / 10)
    unchanged = study.ScoreTraits.measured(network, network, problems, z, noise)
    assert (unchanged.film == 0).all() and (traits.film > 0).all()
    values, metrics = study.traits_beside(traits, [traits, unchanged], bowls={"affine": np.zeros((10, 6))})
    np.testing.assert_allclose(values[study.TRAITS["film"]]["untrained"], traits.film / 2)
    constant = values[study.TRAITS["constant"]]
    assert list(constant) == ["trained", "untrained", "affine"] and len(constant["affine"]) == 6
    assert metrics["untrained.film.least"] == 0 and metrics["untrained.film.most"] == pytest.approx(traits.film.mean())
