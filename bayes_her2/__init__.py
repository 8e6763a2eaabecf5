"""HER2 expression and immune infiltration in HER2-negative early breast cancer.

Bayesian hierarchical models with cohort as a random effect, each beside its frequentist twin. The names below are for
scripts and notebooks; they are imported when they are first used, so that ``import bayes_her2`` takes no time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bayes_her2.bayesian.fit import Fit, Sampling, fit_model, read_fit
    from bayes_her2.bayesian.model import load_model
    from bayes_her2.bayesian.priors import Prior
    from bayes_her2.comparison import concordance, recovery
    from bayes_her2.comparison.models import (
        Candidate,
        ModelComparison,
        compare_models,
        compare_refits,
        conclusions,
        stratified_folds,
    )
    from bayes_her2.comparison.scores import Forecast, ProperScores, proper_scores
    from bayes_her2.data import AnalysisSet, TumourData
    from bayes_her2.errors import AnalysisRefusedError, BayesHer2Error, DataError
    from bayes_her2.estimates import Estimates, Rope
    from bayes_her2.frequentist import abundance_twin
    from bayes_her2.inputs import read_cohorts, read_study
    from bayes_her2.preprocessing import prepare
    from bayes_her2.report import render_report
    from bayes_her2.simulation import SEED_DESIGN, CellTypeDesign, Design, simulate_cohorts, write_study
    from bayes_her2.workflow import (
        audit_claims,
        bundle_results,
        calibrate_model,
        check_study,
        compare_study,
        measure_study,
        multiverse_study,
        run_demo,
        run_study,
        sensitivity_study,
    )

__version__ = "0.1.0"

_HOME = {
    "bayesian.fit": ("Fit", "Sampling", "fit_model", "read_fit"),
    "bayesian.model": ("load_model",),
    "bayesian.priors": ("Prior",),
    "comparison": ("concordance", "recovery"),
    "comparison.models": (
        "Candidate",
        "ModelComparison",
        "compare_models",
        "compare_refits",
        "conclusions",
        "stratified_folds",
    ),
    "comparison.scores": ("Forecast", "ProperScores", "proper_scores"),
    "data": ("AnalysisSet", "TumourData"),
    "errors": ("AnalysisRefusedError", "BayesHer2Error", "DataError"),
    "estimates": ("Estimates", "Rope"),
    "frequentist": ("abundance_twin",),
    "inputs": ("read_cohorts", "read_study"),
    "preprocessing": ("prepare",),
    "report": ("render_report",),
    "simulation": ("CellTypeDesign", "Design", "SEED_DESIGN", "simulate_cohorts", "write_study"),
    "workflow": (
        "audit_claims",
        "bundle_results",
        "calibrate_model",
        "check_study",
        "compare_study",
        "measure_study",
        "multiverse_study",
        "run_demo",
        "run_study",
        "sensitivity_study",
    ),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "SEED_DESIGN",
    "AnalysisRefusedError",
    "AnalysisSet",
    "BayesHer2Error",
    "Candidate",
    "CellTypeDesign",
    "DataError",
    "Design",
    "Estimates",
    "Fit",
    "Forecast",
    "ModelComparison",
    "Prior",
    "ProperScores",
    "Rope",
    "Sampling",
    "TumourData",
    "abundance_twin",
    "audit_claims",
    "bundle_results",
    "calibrate_model",
    "check_study",
    "compare_models",
    "compare_refits",
    "compare_study",
    "conclusions",
    "concordance",
    "fit_model",
    "load_model",
    "measure_study",
    "multiverse_study",
    "prepare",
    "proper_scores",
    "read_cohorts",
    "read_fit",
    "read_study",
    "recovery",
    "render_report",
    "run_demo",
    "run_study",
    "sensitivity_study",
    "simulate_cohorts",
    "stratified_folds",
    "write_study",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Public names, imported or not."""
    return sorted({*globals(), *__all__})
