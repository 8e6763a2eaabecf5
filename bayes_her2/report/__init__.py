"""Results folder -> report. Selects, formats and draws; computes no statistic."""

from __future__ import annotations

from bayes_her2.report.render import DOCUMENTS, Format, printer_of, render_report, require_every_item

__all__ = ["DOCUMENTS", "Format", "printer_of", "render_report", "require_every_item"]
