"""Cohorts with a known truth, in the very form that `bayes_her2.inputs` returns."""

from __future__ import annotations

from bayes_her2.simulation.cohorts import Simulated, simulate_cohorts
from bayes_her2.simulation.demo import write_demo, write_study
from bayes_her2.simulation.design import (
    SEED_DESIGN,
    BetweenCohortSD,
    CellTypeDesign,
    CohortDesign,
    Design,
)
from bayes_her2.simulation.parameters import Parameters, draw_parameters

__all__ = [
    "SEED_DESIGN",
    "BetweenCohortSD",
    "CellTypeDesign",
    "CohortDesign",
    "Design",
    "Parameters",
    "Simulated",
    "draw_parameters",
    "simulate_cohorts",
    "write_demo",
    "write_study",
]
