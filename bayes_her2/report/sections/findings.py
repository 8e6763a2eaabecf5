"""Results in words, for a manuscript."""

from __future__ import annotations

from bayes_her2.report.findings import findings
from bayes_her2.report.load import Results
from bayes_her2.report.sections import Section


def any_finding(results: Results) -> bool:
    """Whether a paragraph can be written."""
    return bool(findings(results))


SECTION = Section(name="findings", title="Results in words", after="cannot-say", has_content=any_finding)
