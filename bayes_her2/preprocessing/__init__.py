"""The shared step: cohort tables -> eligible tumours -> the analysis set of one model.

Small pure functions, one file per rule. Both the Bayesian and the frequentist side start here,
and every tumour that leaves is logged with its reason.
"""

from __future__ import annotations

from bayes_her2.preprocessing.analysis_set import analysis_set
from bayes_her2.preprocessing.cell_composition import cell_composition, macrophage_ratio
from bayes_her2.preprocessing.prepare import prepare
from bayes_her2.preprocessing.receptors import classify_her2, ihc_level
from bayes_her2.preprocessing.table_one import table_one

__all__ = [
    "analysis_set",
    "cell_composition",
    "classify_her2",
    "ihc_level",
    "macrophage_ratio",
    "prepare",
    "table_one",
]
