"""All known answers, by phase: the list of what every room's known_answers check."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ired.instruments.accuracy import known_answers as accuracy, known_answers_sampling_path as sampling_path
from ired.instruments.attribution import (
    known_answers as attribution,
    known_answers_active_subspace as active_subspace,
)
from ired.instruments.circuits import known_answers as circuits
from ired.instruments.comparison import known_answers as comparison, known_answers_similarity as similarity
from ired.instruments.concepts import known_answers as concepts
from ired.instruments.core.check import Check
from ired.instruments.core.reference_energies import References
from ired.instruments.dictionaries import known_answers as dictionaries
from ired.instruments.eigen_decomposition import known_answers as eigen_decomposition
from ired.instruments.geometry import known_answers as geometry, known_answers_geodesics as geodesics
from ired.instruments.influence import known_answers as influence
from ired.instruments.interventions import (
    known_answers as interventions,
    known_answers_causality as causality,
)
from ired.instruments.landscape import (
    known_answers as landscape,
    known_answers_curvature as curvature,
    known_answers_gradient_field as gradient_field,
)
from ired.instruments.layers import (
    known_answers_ablation as ablation,
    known_answers_gradient_signal as gradient_signal,
)
from ired.instruments.linearity import known_answers as linearity
from ired.instruments.probing import known_answers as probing
from ired.instruments.robustness import known_answers as robustness
from ired.instruments.sanity import known_answers as sanity
from ired.instruments.statistics import known_answers as statistics
from ired.instruments.transfer import known_answers as transfer
from ired.instruments.transport import known_answers as transport
from ired.instruments.uncertainty import known_answers as uncertainty

# Checks of a phase share one stream of random numbers: their order decides what each is handed.
ON_ENERGIES = {
    1: (
        statistics.check_statistics,
        landscape.check_slices,
        gradient_field.check_field,
        curvature.check_hessian,
        curvature.check_minima,
        accuracy.check_predictors,
        sampling_path.check_sampling_path,
        linearity.check_affine_score,
        linearity.check_hessian_spread,
        linearity.check_denoising_loss,
        uncertainty.check_error_bars,
    ),
    2: (dictionaries.check_splice, dictionaries.check_features),
    3: (
        attribution.check_attribution,
        concepts.check_tcav,
        active_subspace.check_active_subspace,
        interventions.check_interventions,
        causality.check_causality,
        causality.check_counterfactuals,
    ),
    4: (
        geodesics.check_geodesics,
        geodesics.check_riemannian,
        geodesics.check_tangent,
        eigen_decomposition.check_eigenparts,
        transport.check_transport_energy,
    ),
    5: (
        probing.check_probed_states,
        gradient_signal.check_gradient_flow,
        gradient_signal.check_jacobians,
        gradient_signal.check_score_paths,
        gradient_signal.check_unit_census,
        ablation.check_layer_ablation,
        circuits.check_energy_terms,
        circuits.check_composition,
    ),
    6: (sanity.check_surrogate, sanity.check_sanity_findings, transfer.check_shift),
    7: (landscape.check_equivariance, similarity.check_consistency),
}
ON_PLANTED_DATA = {
    2: (dictionaries.check_dictionary, dictionaries.check_correlation),
    3: (concepts.check_concepts, active_subspace.check_planted_subspace),
    4: (
        geometry.check_spd_laws,
        geometry.check_spd_answers,
        eigen_decomposition.check_planted_eigenparts,
        transport.check_transport,
        transport.check_transport_answers,
        transport.check_transport_path,
    ),
    5: (probing.check_probes, gradient_signal.check_signals, ablation.check_layer_ranking),
    6: (
        robustness.check_matching,
        robustness.check_robust,
        influence.check_influence,
        influence.check_datamodel,
        sanity.check_sanity,
        transfer.check_transfer,
    ),
    7: (comparison.check_comparison,),
}


def on_energies(references: References, generators: Callable[[int], torch.Generator]) -> list[Check]:
    """What every instrument finds on energies that are known in closed form.

    generators(phase) gives a phase its randomness, so that a new phase leaves the others' checks alone.
    """
    return [
        answer for phase, checks in ON_ENERGIES.items() for answer in of_phase(checks, generators(phase), references)
    ]


def on_planted_data(generators: Callable[[int], torch.Generator]) -> list[Check]:
    """The same for checks on planted data, which know no energy and no coordinates."""
    return [answer for phase, checks in ON_PLANTED_DATA.items() for answer in of_phase(checks, generators(phase))]


def of_phase(
    checks: tuple[Callable[..., list[Check]], ...], generator: torch.Generator, *references: References
) -> list[Check]:
    """The known answers of one phase, whose checks draw from one generator in turn."""
    return [answer for check in checks for answer in check(*references, generator)]
