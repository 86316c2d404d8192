"""P5-02 on one network under two names, and on one of another size."""

import copy
import math

import pytest
import torch

from ired.instruments.core import states
from ired.instruments.layers import forward_backward, gradient_signal, study_gradient_signal as study
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
