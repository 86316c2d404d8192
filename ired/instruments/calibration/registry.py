"""All known answers, by phase, each in the file of its instrument's calibration."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ired.instruments.attribution import (
    known_answers as calibration_attribution,
    known_answers_active_subspace,
)
from ired.instruments.calibration import checks
from ired.instruments.calibration.checks import Check, References
from ired.instruments.circuits import known_answers as calibration_composition
from ired.instruments.comparison import known_answers as calibration_comparison, known_answers_similarity
from ired.instruments.concepts import known_answers as calibration_concepts
from ired.instruments.dictionaries import known_answers as calibration_phase2
from ired.instruments.geometry import (
    known_answers as calibration_spd,
    known_answers_eigen_split,
    known_answers_geodesics,
)
from ired.instruments.influence import known_answers as calibration_influence
from ired.instruments.interventions import (
    known_answers as calibration_interventions,
    known_answers_causality,
)
from ired.instruments.landscape import known_answers as calibration_equivariance
from ired.instruments.layers import known_answers_ablation, known_answers_gradient_signal
from ired.instruments.probing import known_answers as calibration_probes
from ired.instruments.robustness import known_answers as calibration_robustness
from ired.instruments.sanity import known_answers as calibration_sanity
from ired.instruments.transfer import known_answers as calibration_transfer
from ired.instruments.transport import known_answers as calibration_transport

ON_ENERGIES = {
    1: (checks.calibrate,),
    2: (calibration_phase2.calibrate,),
    3: (
        calibration_attribution.check_attribution,
        calibration_concepts.check_tcav,
        known_answers_active_subspace.check_active_subspace,
        calibration_interventions.check_interventions,
        known_answers_causality.check_causality,
        known_answers_causality.check_counterfactuals,
    ),
    4: (
        known_answers_geodesics.check_geodesics,
        known_answers_geodesics.check_riemannian,
        known_answers_geodesics.check_tangent,
        known_answers_eigen_split.check_eigenparts,
        calibration_transport.check_transport_energy,
    ),
    5: (
        calibration_probes.check_probed_states,
        known_answers_gradient_signal.check_gradient_flow,
        known_answers_gradient_signal.check_jacobians,
        known_answers_gradient_signal.check_score_paths,
        known_answers_gradient_signal.check_unit_census,
        known_answers_ablation.check_layer_ablation,
        calibration_composition.check_energy_terms,
        calibration_composition.check_composition,
    ),
    6: (
        calibration_sanity.check_surrogate,
        calibration_sanity.check_sanity_findings,
        calibration_transfer.check_shift,
    ),
    7: (calibration_equivariance.check_equivariance, known_answers_similarity.check_consistency),
}
ON_PLANTED_DATA = {
    2: (calibration_phase2.calibrate_planted,),
    3: (calibration_concepts.check_concepts, known_answers_active_subspace.check_planted_subspace),
    4: (
        calibration_spd.check_spd_laws,
        calibration_spd.check_spd_answers,
        known_answers_eigen_split.check_planted_eigenparts,
        calibration_transport.check_transport,
        calibration_transport.check_transport_answers,
        calibration_transport.check_transport_path,
    ),
    5: (
        calibration_probes.check_probes,
        known_answers_gradient_signal.check_signals,
        known_answers_ablation.check_layer_ranking,
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
