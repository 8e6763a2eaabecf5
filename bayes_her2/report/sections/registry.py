"""Every further section of the report, in the order in which those after the same main section stand."""

from __future__ import annotations

from bayes_her2.report.sections import Section

SECTIONS: tuple[Section, ...] = ()
