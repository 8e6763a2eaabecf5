"""Jobs that call the other rooms: check a study, run it, resume it, show the demo."""

from __future__ import annotations

from bayes_her2.workflow.audit import AuditResult, audit_claims, claims_tables
from bayes_her2.workflow.bundle import Bundled, bundle_results
from bayes_her2.workflow.calibrate import Calibrated, calibrate_model
from bayes_her2.workflow.check import Checked, check_study
from bayes_her2.workflow.compare import ComparedModels, compare_study
from bayes_her2.workflow.measure import Measured, measure_study
from bayes_her2.workflow.multiverse import MultiverseResult, multiverse_study
from bayes_her2.workflow.progress import Bars
from bayes_her2.workflow.run import RunResult, run_demo, run_study
from bayes_her2.workflow.sensitivity import sensitivity_study

__all__ = [
    "AuditResult",
    "Bars",
    "Bundled",
    "Calibrated",
    "Checked",
    "ComparedModels",
    "Measured",
    "MultiverseResult",
    "RunResult",
    "audit_claims",
    "bundle_results",
    "calibrate_model",
    "check_study",
    "claims_tables",
    "compare_study",
    "measure_study",
    "multiverse_study",
    "run_demo",
    "run_study",
    "sensitivity_study",
]
