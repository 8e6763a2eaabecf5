"""The frequentist twin of each model: data in, `Estimates` out. Never imports PyMC."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from bayes_her2.frequentist.abundance import abundance_twin
from bayes_her2.frequentist.clinical import clinical_twin
from bayes_her2.frequentist.group_tests import group_tests
from bayes_her2.frequentist.her2_by_ihc import her2_by_ihc
from bayes_her2.frequentist.high_abundance import high_abundance_twin
from bayes_her2.frequentist.marginal_effect import (
    ancova_residual_checks,
    ancova_tests,
    marginal_effect_twin,
)
from bayes_her2.frequentist.meta_analysis import meta_analysis_twin, small_study_check
from bayes_her2.frequentist.precision import precision
from bayes_her2.frequentist.rank_correlation import rank_correlation_twin
from bayes_her2.frequentist.rank_tests import rank_tests
from bayes_her2.frequentist.sample_size import sample_size
from bayes_her2.frequentist.treatment_response import treatment_response_twin

TWIN_TABLES: dict[str, dict[str, Callable[[Any], pd.DataFrame]]] = {
    "evidence_synthesis": {"small_study_check": small_study_check},
    "treatment_response": {"sample_size": sample_size},
    "marginal_effect": {"tests": ancova_tests, "residual_checks": ancova_residual_checks},
}
"""Model -> further tables of its twin, by file name (without the model's)."""

__all__ = [
    "TWIN_TABLES",
    "abundance_twin",
    "ancova_residual_checks",
    "ancova_tests",
    "clinical_twin",
    "group_tests",
    "her2_by_ihc",
    "high_abundance_twin",
    "marginal_effect_twin",
    "meta_analysis_twin",
    "precision",
    "rank_correlation_twin",
    "rank_tests",
    "sample_size",
    "small_study_check",
    "treatment_response_twin",
]
