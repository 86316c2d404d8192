"""Known answers of Phase 3, each in the file of its instrument's calibration."""

from __future__ import annotations

import torch

from ired.instruments.calibration import Check, References
from ired.instruments.calibration_active_subspace import check_active_subspace, check_planted_subspace
from ired.instruments.calibration_attribution import check_attribution
from ired.instruments.calibration_causality import check_causality, check_counterfactuals
from ired.instruments.calibration_concepts import check_concepts, check_tcav
from ired.instruments.calibration_interventions import check_interventions

ON_ENERGIES = (check_attribution, check_tcav, check_active_subspace, check_interventions,
               check_causality, check_counterfactuals)  # fmt: skip
ON_PLANTED_DATA = (check_concepts, check_planted_subspace)


def calibrate(references: References, generator: torch.Generator) -> list[Check]:
    """All checks on energies of all instruments of the third phase."""
    return [found for check in ON_ENERGIES for found in check(references, generator)]


def calibrate_planted(generator: torch.Generator) -> list[Check]:
    """All checks on planted data, which know no energy and no coordinates."""
    return [found for check in ON_PLANTED_DATA for found in check(generator)]
