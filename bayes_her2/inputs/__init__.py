"""A user's files -> checked cohort tables. The only code that reads them."""

from __future__ import annotations

from bayes_her2.inputs.cohort import read_cohorts
from bayes_her2.inputs.response import (
    PatientColumns,
    read_response,
    read_response_counts,
    read_response_patients,
)
from bayes_her2.inputs.study import Study, parse_study, read_study, schema_markdown

__all__ = [
    "PatientColumns",
    "Study",
    "parse_study",
    "read_cohorts",
    "read_response",
    "read_response_counts",
    "read_response_patients",
    "read_study",
    "schema_markdown",
]
