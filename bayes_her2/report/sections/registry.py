"""Every further section of the report, in the order in which those after the same main section stand."""

from __future__ import annotations

from bayes_her2.report.sections import (
    Section,
    audit,
    checklist,
    claims,
    clinical,
    descriptives,
    evidence_synthesis,
    findings,
    high_abundance,
    left_out,
    marginal_effect,
    methods,
    rank_correlation,
    treatment_response,
)

SECTIONS: tuple[Section, ...] = (
    claims.SECTION,
    audit.SECTION,
    evidence_synthesis.SECTION,
    treatment_response.SECTION,
    descriptives.SECTION,
    left_out.SECTION,
    high_abundance.SECTION,
    rank_correlation.SECTION,
    marginal_effect.SECTION,
    clinical.SECTION,
    findings.SECTION,
    methods.SECTION,
    checklist.SECTION,
)
