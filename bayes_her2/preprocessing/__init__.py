"""The shared step: cohort tables -> eligible tumours -> the analysis set of one model.

Small pure functions, one file per rule. Both the Bayesian and the frequentist side start here,
and every tumour that leaves is logged with its reason.
"""

from __future__ import annotations

from bayes_her2.preprocessing.analysis_set import analysis_set
from bayes_her2.preprocessing.prepare import prepare

__all__ = ["analysis_set", "prepare"]
