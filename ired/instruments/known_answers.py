"""All known answers, by phase, each in the file of its instrument's calibration."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ired.instruments import (
    calibration,
    calibration_active_subspace,
    calibration_attribution,
    calibration_causality,
    calibration_comparison,
    calibration_composition,
    calibration_concepts,
    calibration_consistency,
    calibration_eigenparts,
    calibration_equivariance,
    calibration_geodesics,
    calibration_gradient_flow,
    calibration_influence,
    calibration_interventions,
    calibration_layer_ablation,
    calibration_phase2,
    calibration_probes,
    calibration_robustness,
    calibration_sanity,
    calibration_spd,
    calibration_transfer,
    calibration_transport,
)
from ired.instruments.calibration import Check, References

ON_ENERGIES = {
    1: (calibration.calibrate,),
    2: (calibration_phase2.calibrate,),
    3: (
        calibration_attribution.check_attribution,
        calibration_concepts.check_tcav,
        calibration_active_subspace.check_active_subspace,
        calibration_interventions.check_interventions,
        calibration_causality.check_causality,
        calibration_causality.check_counterfactuals,
    ),
    4: (
        calibration_geodesics.check_geodesics,
        calibration_geodesics.check_riemannian,
        calibration_geodesics.check_tangent,
        calibration_eigenparts.check_eigenparts,
        calibration_transport.check_transport_energy,
    ),
    5: (
        calibration_probes.check_probed_states,
        calibration_gradient_flow.check_gradient_flow,
        calibration_gradient_flow.check_jacobians,
        calibration_gradient_flow.check_score_paths,
        calibration_gradient_flow.check_unit_census,
        calibration_layer_ablation.check_layer_ablation,
        calibration_composition.check_energy_terms,
        calibration_composition.check_composition,
    ),
    6: (
        calibration_sanity.check_surrogate,
        calibration_sanity.check_sanity_findings,
        calibration_transfer.check_shift,
    ),
    7: (calibration_equivariance.check_equivariance, calibration_consistency.check_consistency),
}
ON_PLANTED_DATA = {
    2: (calibration_phase2.calibrate_planted,),
    3: (calibration_concepts.check_concepts, calibration_active_subspace.check_planted_subspace),
    4: (
        calibration_spd.check_spd_laws,
        calibration_spd.check_spd_answers,
        calibration_eigenparts.check_planted_eigenparts,
        calibration_transport.check_transport,
        calibration_transport.check_transport_answers,
        calibration_transport.check_transport_path,
    ),
    5: (
        calibration_probes.check_probes,
        calibration_gradient_flow.check_signals,
        calibration_layer_ablation.check_layer_ranking,
    ),
    6: (
        calibration_robustness.check_matching,
        calibration_robustness.check_robust,
        calibration_influence.check_influence,
        calibration_influence.check_datamodel,
        calibration_sanity.check_sanity,
        calibration_transfer.check_transfer,
    ),
    7: (calibration_comparison.check_comparison,),
}


def on_energies(
    references: References, generators: Callable[[int], torch.Generator]
) -> list[Check]:
    """What every instrument finds on energies that are known in closed form.

    generators(phase) gives a phase its randomness, so that a new phase leaves the others' checks alone.
    """
    found = []
    for phase, checks in ON_ENERGIES.items():
        generator = generators(phase)
        found += [one for check in checks for one in check(references, generator)]
    return found


def on_planted_data(generators: Callable[[int], torch.Generator]) -> list[Check]:
    """The same for checks on planted data, which know no energy and no coordinates."""
    found = []
    for phase, checks in ON_PLANTED_DATA.items():
        generator = generators(phase)
        found += [one for check in checks for one in check(generator)]
    return found
