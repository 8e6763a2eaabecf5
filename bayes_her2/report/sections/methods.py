"""Methods in words, for a manuscript."""

from __future__ import annotations

from bayes_her2.report.sections import Section

SECTION = Section(name="methods", title="Methods in words", after="cannot-say", of_recorded_methods=True)
